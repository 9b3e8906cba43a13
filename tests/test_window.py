"""The window, driven by real key and mouse events: one person alone, then a host and two others in a real room."""

from __future__ import annotations

import time
from typing import Any

import pytest

import chat_gui
import net
from tests.helpers import LIMIT, Proxy
from tests.windows import Open, Person, everybody_sees, feed, said

Words = chat_gui.Words
pytestmark = pytest.mark.usefixtures("finders")  # a room that is found would take the keyboard from the address


def test_the_first_page_offers_the_login_name_and_needs_a_name(person: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "pupil7")
    pupil = person("")
    page = pupil.first_page
    assert page.name.get() == "pupil7"
    for clicked in (page.host, page.join):
        page.name.delete(0, "end")
        page.name.insert(0, " \u200b ")
        pupil.click(clicked)
        assert pupil.status() == Words.name_missing
    page.name.insert(0, "Ann")
    pupil.press_in(page.name, "Return")
    assert pupil.app.session is None, "Enter in the name box opens no room"
    assert pupil.root.focus_get() is page.host


# Leaving ----------------------------------------------------------------------


def test_exit_leaves_to_the_first_page_which_says_so(host: Person, ann: Person) -> None:
    ann.say("exit")
    assert ann.first_page.message.cget("text") == "You left Mr Lee's room."
    assert ann.root.title() == Words.program
    host.wait(lambda: host.people() == ["Mr Lee (host, you)"], "Ann is gone from the list")
    assert "Ann left" in host.log()
    host.say("EXIT")
    assert host.first_page.message.cget("text") == "You closed Mr Lee's room.", "a host alone is not asked"


def test_a_host_with_others_is_asked_first_and_a_second_exit_confirms(host: Person, ann: Person) -> None:
    for way in ("Escape", "button"):
        host.say("exit")
        assert Words.close_question[0] in host.everything()
        host.press("Escape") if way == "Escape" else host.click(host.button(Words.close_no))
        assert Words.close_question[0] not in host.everything()
        assert host.root.focus_lastfor() is host.box
    host.say("still here")
    everybody_sees([ann], "still here")
    host.say("exit")
    host.say("exit")
    assert host.first_page.message.cget("text") == "You closed Mr Lee's room."
    ann.sees("The host closed the room.")


def test_a_window_that_is_closed_while_it_is_minimised_comes_up_with_the_question(host: Person, ann: Person) -> None:
    cross = host.root.tk.splitlist(host.root.protocol("WM_DELETE_WINDOW"))  # in the window's corner
    host.root.withdraw()
    host.settle()
    host.root.tk.call(*cross)
    host.wait(host.root.winfo_viewable, "the window is back")
    host.sees(Words.close_question[0])
    host.root.tk.call(*cross)
    ann.sees("The host closed the room.")


def test_after_the_room_is_closed_the_log_can_be_read_and_nothing_can_be_written(host: Person, ann: Person) -> None:
    ann.say("before")
    everybody_sees([host, ann], "before")
    ann.type("half a thou")
    feed(ann, net.Sending(5, "my long answer"), net.Rejected(5, "unsent", "..."))
    host.click(host.button(Words.leave))
    host.click(host.button(Words.close_yes))
    ann.sees("You can still read and copy what was said.")
    ann.type("ght")
    ann.press("Return")
    ann.click_link(Words.write_again)
    assert ann.said() == ["before", "my long answer"], "it stays where it can be copied"
    assert ann.typed() == "half a thou"


def test_when_the_room_fails_the_host_is_told_and_can_still_read(host: Person) -> None:
    host.say("the last words")
    everybody_sees([host], "the last words")
    feed(host, net.RoomFailed(), net.Closed("The room failed."))
    assert Words.room_failed in host.log()
    assert host.said() == ["the last words"]
    assert host.chat.stage is chat_gui.Stage.OVER


def test_the_window_can_be_closed_while_a_room_opens_or_is_joined(person: Open, host: Person) -> None:
    opening, joining = person("Ann"), person("Bob")
    opening.app.host(port=0)
    joining.app.join("127.0.0.1", host.chat.port)
    assert opening.status() == Words.opening
    for someone in (opening, joining):
        someone.app.close()  # the guards in conftest.py check that nothing is left


# The log ----------------------------------------------------------------------


def test_a_cut_in_the_middle_of_typing_loses_nothing_and_doubles_nothing(host: Person, person: Open) -> None:
    with Proxy(host.chat.port) as proxy:
        ann = person("Ann")
        ann.join(proxy.port)
        ann.say("before")
        everybody_sees([host, ann], "before")
        ann.type("half ")
        proxy.refuse()
        proxy.cut()
        ann.wait(lambda: "was lost" in ann.status(), "the loss is told")
        host.say("meanwhile")
        everybody_sees([host], "meanwhile")
        ann.type("a word")
        assert ann.typed() == "half a word"
        ann.press("Return")
        ann.say("another")
        ann.wait(lambda: ann.on_their_way() == ["half a word", "another"], "both are on their way")
        assert ann.said() == ["before"]
        proxy.refuse(False)
        everybody_sees([ann, host], "before", "meanwhile", "half a word", "another")
        assert ann.status() == Words.connected
        assert "Ann left" not in host.log()
        ann.app.leave("")


def test_a_rejected_line_says_why_and_can_be_put_into_the_composer_again(host: Person) -> None:
    feed(host, net.Sending(5, "two\n  lines"), net.Rejected(5, "paused", "..."))
    assert "Not sent. The host paused the room." in host.log()
    host.type("draft")
    host.click_link(Words.write_again)
    assert host.typed() == "draft\ntwo\n  lines"
    assert "two" not in host.log()
    assert "Not sent" not in host.log()
    feed(host, net.Sending(6, "x"), net.Rejected(6, "moon", "The moon is full."))
    assert 'Not sent. The room says: "The moon is full."' in host.log(), "a code of a later version"
    feed(host, net.Sending(7, "long ago"), net.Settled(7))
    assert host.on_their_way() == []
    assert Words.settled in host.log()


def test_a_return_tells_what_was_missed_and_a_new_room_its_title_and_the_name_there(ann: Person) -> None:
    feed(ann, ann.welcome(missed=1234))
    assert "1,234 earlier messages are no longer available." in ann.log()
    feed(ann, ann.welcome(room="another", missed=0))
    assert ann.log().endswith(Words.reopened.format(room="Mr Lee's room"))
    assert ann.log().count("You are in") == 1, "neither the title nor the name has changed"
    feed(ann, ann.welcome(room="third", title="Chess club", name="Ann 2"))
    assert ann.log().endswith("You are in Chess club as Ann 2.\nAnn is taken. You appear as Ann 2.")
    assert ann.chat.header.title.cget("text") == "Chess club"
    assert ann.root.title() == "Chess club - Classroom chat"
    feed(ann, ann.welcome(room="fourth", title="Chess club 2", name="Guest 1", muted=True))
    assert ann.log().endswith("You are in Chess club 2 as Guest 1."), "the room calls every muted newcomer Guest"


# The composer -----------------------------------------------------------------


def test_both_enter_keys_send_all_but_blanks_and_shift_enter_makes_a_new_line(host: Person) -> None:
    host.paste(" \n\t\n ")
    host.press("Return")
    for key in ("Return", "KP_Enter"):
        host.type("if x:\n    print")
        host.press(key)
        assert host.typed() == ""
    host.wait(lambda: host.said() == ["if x:"] * 2, "both have arrived, and no blanks")
    assert host.log().count("if x:\n    print") == 2, "with their indents"


def test_pasted_code_keeps_its_lines_and_indents_and_replaces_what_is_selected(host: Person) -> None:
    host.type("gone")
    host.box.tag_add("sel", "1.0", "end-1c")
    host.paste("def f():\r\n\treturn [\r\n        1,\r\n    ]\x07\x1b[31m")
    assert host.typed() == "def f():\n\treturn [\n        1,\n    ][31m"
    host.press("Return")
    host.wait(lambda: "def f():\n    return [\n        1,\n    ][31m" in host.log(), "it is in the log")


def test_a_text_that_is_too_long_is_kept_and_told_by_how_much(host: Person) -> None:
    host.paste("x" * (net.MAX_TEXT + 1_234))
    host.press("Return")
    assert "1,234 characters over the limit" in host.everything()
    assert len(host.typed()) == net.MAX_TEXT + 1_234
    host.box.delete("1.0", "1.1234")
    host.settle()
    assert "over the limit" not in host.everything()
    host.press("Return")
    host.wait(lambda: host.typed() == "", "it is sent")
    host.paste("x\n" * net.MAX_TEXT_LINES + "x")
    host.press("Return")
    assert "1 line over the limit" in host.everything()
    assert host.typed().count("x") == net.MAX_TEXT_LINES + 1


def test_the_composer_grows_to_six_lines_and_shrinks_again(host: Person) -> None:
    for lines, height in ((1, 1), (4, 4), (6, 6), (30, 6)):
        host.box.delete("1.0", "end")
        host.paste("\n".join("x" * lines))
        host.wait(lambda height=height: host.box.cget("height") == height, f"{height} lines high")  # type: ignore[misc]
    host.press("Return")
    host.wait(lambda: host.box.cget("height") == 1, "one line high")


# Troubles ---------------------------------------------------------------------


def test_a_port_that_is_taken_is_reported_on_the_first_page(person: Open, room: net.Server) -> None:
    ann = person("Ann")
    ann.app.host(port=room.port)
    ann.wait(lambda: "could not be opened" in ann.status(), "it is told")
    assert ann.first_page.host.instate(["!disabled"])


def test_each_trouble_has_its_own_sentence_before_and_after_the_welcome() -> None:
    for table in ({**Words.cannot_join, **Words.waiting}, Words.lost):
        assert set(table) == set(net.Trouble)
        assert len(set(table.values())) == len(net.Trouble)


def test_a_lost_connection_says_why_and_counts_down_to_the_next_attempt(host: Person) -> None:
    where = f"127.0.0.1:{host.chat.port}"

    def seconds() -> int:
        return int(host.status().removesuffix(" s.").rpartition(" ")[2])

    feed(host, net.Lost(net.Trouble.NO_ANSWER, 1_000.0))
    assert host.status().startswith(f"{where} does not answer. Trying again in ")
    first = seconds()
    assert LIMIT < first <= 1_000
    host.wait(lambda: seconds() < first, "a second less")
    feed(host, net.Lost(net.Trouble.GONE, 0.1))
    lost = f"The connection to {where} was lost. {Words.again_now}"
    host.wait(lambda: host.status() == lost, "the time has come")
    feed(host, net.Lost(net.Trouble.GONE, 1_000.0), host.welcome())
    assert host.status() == Words.connected
    feed(host, net.Lost(net.Trouble.GONE, 1_000.0), net.Closed("The room is over."))
    assert host.status() == Words.closed_you_can_read.format(reason='The room says: "The room is over."')


def test_a_person_in_the_room_reads_that_it_has_a_password_now_since_there_is_no_box_for_one(host: Person) -> None:
    feed(host, net.Refused("password", "This room has a password."))
    assert host.status() == Words.closed_you_can_read.format(reason=Words.password_now)


# The poll ---------------------------------------------------------------------


def test_an_error_in_one_event_costs_only_that_event(host: Person, caplog: pytest.LogCaptureFixture) -> None:
    broken: Any = net.Lost(None, 0.0)  # type: ignore[arg-type]
    feed(host, said(50, "before"), broken, said(52, "after"))
    assert host.said() == ["before", "after"]
    assert "an event could not be shown: L" in caplog.text
    caplog.clear()


def test_a_failing_callback_is_logged_and_told_and_all_goes_on(host: Person, caplog: pytest.LogCaptureFixture) -> None:
    host.root.after(0, lambda: 1 / 0)
    host.wait(lambda: host.status() == Words.failed, "it is told")
    assert "a callback failed" in caplog.text
    caplog.clear()
    host.say("still works")
    everybody_sees([host], "still works")


def step(someone: Person, *texts: str) -> int:
    """How many messages with these texts the window takes in one step; afterwards it has taken all."""
    assert someone.app.session is not None
    waiting = someone.app.session.events
    someone.settle()
    for number, text in enumerate(texts):
        waiting.put(said(100 + number, text))
    deadline = time.monotonic() + LIMIT
    while waiting.qsize() == len(texts) and time.monotonic() < deadline:
        someone.root.tk.dooneevent()
    taken = len(texts) - waiting.qsize()
    someone.wait(waiting.empty, "all are taken")
    return taken


def test_one_step_takes_a_limited_number_of_events_and_bytes(host: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten people at their limits send forty thousand characters at once: far more than the window can draw at once."""
    monkeypatch.setattr(chat_gui, "POLL_TIME", 10.0)
    assert step(host, *["x"] * 1_000) == chat_gui.POLL_EVENTS
    assert step(host, *["\u4e00" * (chat_gui.POLL_BYTES // 3 // 5 + 1)] * 20) == 5
    assert step(host, *["x" * (chat_gui.POLL_BYTES // 5)] * 20) == 5, "Latin letters cost a third"
    assert step(host, *["x" * 2 * chat_gui.POLL_BYTES] * 3) == 1, "one message is always taken"


def test_one_step_takes_a_limited_time(host: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_gui, "POLL_TIME", 0.0)
    assert host.app.session is not None
    host.app.session.events.put(said(100, "x"))
    host.settle(0.1)
    assert host.said() == []
    monkeypatch.undo()
    everybody_sees([host], "x")  # once there is time


HOSTILE = {
    "a lone surrogate": "a\ud800b",
    "control characters": "a\x00b\nc \x1b[31mred\x1b[0m \x07 exe.\u202egnp",
    "a mountain of marks": "o" + "\u0301" * 3_999,
    "thousands of emoji": "".join(chr(0x1F300 + i % 700) for i in range(4_000)),
    "thousands of CJK letters": "".join(chr(0x4E00 + i) for i in range(4_000)),
    "one very long line": "x" * 4_000,
    "a hundred lines": "x\n" * 99,
    "Tcl": "[exit] $x {a \\",
    "tabs": "\t\t\ta\tb",
}


def test_hostile_text_cannot_harm_the_window(host: Person) -> None:
    for number, (kind, text) in enumerate(HOSTILE.items(), 1):
        feed(host, said(50, text), said(51, text, name=text[:32]), net.Joined(52, 1e15, 9, text[:32]))
        feed(host, said(53, f"after {kind}"))
        host.say(f"alive {number}")
        everybody_sees([host], f"after {kind}", f"alive {number}")
