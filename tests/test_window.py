"""The window, driven by real key and mouse events: one person at first, then a host and two others in a real room."""

from __future__ import annotations

import ast
import queue
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import chat_gui
import net
from tests.conftest import TOP
from tests.helpers import LIMIT, Proxy, Wire, port_of, until
from tests.test_pythons import candidates, version_of
from tests.windows import FakeFinder, Open, Person

Words = chat_gui.Words


@pytest.fixture
def host(person: Open) -> Person:
    someone = person("Mr Lee")
    someone.host()
    return someone


@pytest.fixture
def ann(person: Open, host: Person) -> Person:
    """Ann is in, and the host's window shows it."""
    someone = person("Ann")
    someone.join(port(host))
    host.wait(lambda: "Ann" in host.people(), "Ann is in the host's list")
    return someone


@pytest.fixture(autouse=True)
def alone(finders: list[FakeFinder]) -> list[FakeFinder]:
    """No join page finds a room of somebody else on this network: it would take the keyboard from the address."""
    return finders


def port(host: Person) -> int:
    assert host.app.session is not None
    assert host.app.session.server is not None
    return host.app.session.server.port


def everybody_sees(people: list[Person], *texts: str) -> None:
    for someone in people:
        someone.wait(lambda someone=someone: [t for t in someone.said() if t in texts] == [*texts], f"{texts} is said")  # type: ignore[misc]


def feed(someone: Person, *events: net.Event) -> None:
    """Puts events into the window's queue as the network would."""
    assert someone.app.session is not None
    for event in events:
        someone.app.session.events.put(event)
    events_queue = someone.app.session.events
    someone.wait(events_queue.empty, "the events are taken")
    someone.settle()


def said(number: int, text: str, who: int = 7, name: str = "Bob", ident: int = 1) -> net.Said:
    return net.Said(number, time.time(), who, name, ident, text)


def close_window(someone: Person) -> None:
    """As the cross in its corner does."""
    someone.root.tk.call(*someone.root.tk.splitlist(someone.root.protocol("WM_DELETE_WINDOW")))


# A lesson ---------------------------------------------------------------------


def test_a_host_and_two_joiners_talk(person: Open) -> None:
    lee, ann, bob = person("Mr Lee"), person("Ann"), person("Bob")
    room_port = lee.host()
    for joiner in (ann, bob):
        joiner.click(joiner.first_page.join)
        joiner.type(f"127.0.0.1:{room_port}")
        joiner.press("Return")
        joiner.wait(lambda joiner=joiner: isinstance(joiner.app.page, chat_gui.ChatPage), "the room is joined")  # type: ignore[misc]
    lee.say("good morning")
    everybody_sees([lee, ann, bob], "good morning")
    ann.say("hi")
    everybody_sees([lee, ann, bob], "good morning", "hi")
    bob.say("hello")
    everybody_sees([lee, ann, bob], "good morning", "hi", "hello")
    assert ann.people() == ["Mr Lee (host)", "Ann (you)", "Bob"]
    assert lee.people() == ["Mr Lee (host, you)", "Ann", "Bob"]
    assert "Bob joined" in ann.log()


def test_hosting_is_one_click(person: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "PORTS", range(0))
    monkeypatch.setattr(chat_gui.App.host, "__defaults__", (0,))  # any free port: 5252 may be somebody's
    lee = person("Mr Lee")
    lee.click(lee.first_page.host)
    lee.wait(lambda: isinstance(lee.app.page, chat_gui.ChatPage), "the room is open")
    assert lee.root.title() == "Mr Lee's room - Classroom chat"
    lee.sees(net.get_local_ip())


def test_copy_puts_the_address_on_the_clipboard_with_the_port_where_it_is_not_the_usual_one(
    host: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_gui, "COPIED_TIME", int(LIMIT * 1000))
    host.click(host.chat.header.copy)
    assert host.root.clipboard_get() == f"{net.get_local_ip()}:{port(host)}"
    assert host.chat.header.copy.cget("text") == Words.copied


def test_the_port_is_shown_only_where_it_is_not_the_usual_one() -> None:
    assert chat_gui.join_address("10.0.0.1", net.PORT) == "10.0.0.1"
    assert chat_gui.join_address("10.0.0.1", 5253) == "10.0.0.1:5253"


def test_enter_in_the_name_box_opens_no_room(person: Open) -> None:
    ann = person("Ann")
    ann.first_page.name.focus_force()
    ann.press("Return")
    assert ann.app.session is None
    assert ann.root.focus_get() is ann.first_page.host


def test_a_name_is_asked_for_before_anything_is_tried(person: Open) -> None:
    nobody = person("x")
    for clicked in (nobody.first_page.host, nobody.first_page.join):
        nobody.first_page.name.delete(0, "end")
        nobody.first_page.name.insert(0, " \u200b ")
        nobody.click(clicked)
        assert nobody.first_page.message.cget("text") == Words.name_missing
    assert nobody.app.session is None


def test_the_window_offers_the_login_name(person: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "pupil\u202e7")
    assert person("").first_page.name.get() == "pupil7"


def test_a_computer_without_login_names_offers_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise OSError

    monkeypatch.setattr("getpass.getuser", nobody)
    assert chat_gui.login_name() == ""


# The start --------------------------------------------------------------------


def test_the_window_is_parsed_by_a_python_that_is_too_old_for_it() -> None:
    """So that it can say so."""
    ast.parse((TOP / "chat_gui.py").read_text(encoding="utf-8"), feature_version=(3, 8))


@pytest.mark.parametrize("version", ["3.8", "3.9"])
def test_a_python_that_is_too_old_says_what_is_needed(version: str) -> None:
    pythons = [python for python in candidates(version) if version_of(python) == version]
    if not pythons:
        pytest.skip(f"this computer has no Python {version}")
    command = [pythons[0], "chat_gui.py"]
    program = subprocess.run(command, cwd=TOP, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert program.returncode == 1
    assert program.stderr == f"chat_gui.py needs Python 3.10 or newer; this is {version}\n"


def test_without_net_py_the_window_says_what_is_missing(tmp_path: Path) -> None:
    shutil.copy(TOP / "chat_gui.py", tmp_path)
    command = [sys.executable, "chat_gui.py"]
    program = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert program.returncode == 1
    assert program.stderr == "chat_gui.py needs net.py in the same folder\n"


# Leaving ----------------------------------------------------------------------


def test_exit_leaves_to_the_first_page_with_a_line_saying_so(host: Person, ann: Person) -> None:
    ann.say("exit")
    assert ann.first_page.message.cget("text") == "You left Mr Lee's room."
    assert ann.root.title() == Words.program
    host.wait(lambda: host.people() == ["Mr Lee (host, you)"], "Ann is gone from the list")
    assert "Ann left" in host.log()


def test_a_host_alone_leaves_without_a_question(host: Person) -> None:
    host.say("EXIT")
    assert host.first_page.message.cget("text") == "You closed Mr Lee's room."


def test_a_host_with_others_is_asked_first_and_a_second_exit_confirms(host: Person, ann: Person) -> None:
    host.wait(lambda: len(host.people()) == 2, "Ann is in")
    host.say("exit")
    assert Words.close_question_1 in host.everything()
    assert host.people() == ["Mr Lee (host, you)", "Ann"]
    host.say("exit")
    assert host.first_page.message.cget("text") == "You closed Mr Lee's room."
    ann.sees("The host closed the room.")


@pytest.mark.usefixtures("ann")
def test_the_question_counts_the_others(host: Person, person: Open) -> None:
    person("Bob").join(port(host))
    host.wait(lambda: len(host.people()) == 3, "both are in")
    host.click(host.chat.header.leave_button)
    assert "Close the room for 2 people?" in host.everything()


@pytest.mark.parametrize("way", ["Escape", "button"])
def test_staying_takes_the_question_away(host: Person, ann: Person, way: str) -> None:
    host.wait(lambda: len(host.people()) == 2, "Ann is in")
    host.click(host.chat.header.leave_button)
    if way == "Escape":
        host.look_here()
        host.press("Escape")
    else:
        host.click(host.chat.question.no)
    assert Words.close_question_1 not in host.everything()
    assert host.root.focus_lastfor() is host.chat.composer.text
    host.say("still here")
    everybody_sees([host, ann], "still here")


def test_closing_the_window_asks_a_host_too_and_the_second_time_closes(host: Person, ann: Person) -> None:
    host.wait(lambda: len(host.people()) == 2, "Ann is in")
    close_window(host)
    assert Words.close_question_1 in host.everything()
    host.click(host.chat.question.yes)
    ann.sees("The host closed the room.")


def test_a_window_that_is_closed_while_it_is_minimised_comes_up_with_the_question(host: Person, ann: Person) -> None:
    host.wait(lambda: len(host.people()) == 2, "Ann is in")
    host.root.withdraw()
    host.settle()
    close_window(host)
    host.wait(host.root.winfo_viewable, "the window is back")
    host.sees(Words.close_question_1)
    close_window(host)
    ann.sees("The host closed the room.")


def test_ctrl_c_also_counts_while_the_window_is_busy(host: Person) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    destroyed: list[object] = []
    host.root.bind("<Destroy>", destroyed.append)
    host.root.after(1, interrupted)
    deadline = time.monotonic() + LIMIT
    while not destroyed and time.monotonic() < deadline:
        host.root.tk.dooneevent()
    assert destroyed


def test_another_room_at_the_same_address_has_its_own_title(host: Person, ann: Person) -> None:  # noqa: ARG001
    other = ann.welcome(room="another", title="Chess club")
    feed(ann, other)
    assert "You are in Chess club as Ann." in ann.log()
    assert ann.chat.header.title.cget("text") == "Chess club"
    assert ann.root.title() == "Chess club - Classroom chat"


def test_after_the_room_is_closed_the_log_can_be_read_and_nothing_can_be_written(host: Person, ann: Person) -> None:
    ann.say("before")
    everybody_sees([host, ann], "before")
    ann.type("half a thou")
    host.click(host.chat.header.leave_button)
    host.click(host.chat.question.yes)
    ann.sees("You can still read and copy what was said.")
    ann.type("ght")
    ann.press("Return")
    assert ann.said() == ["before"]
    assert ann.chat.composer.get() == "half a thou"


def test_when_the_room_fails_the_host_reads_it_and_can_still_read_what_was_said(host: Person) -> None:
    host.say("the last words")
    everybody_sees([host], "the last words")
    feed(host, net.RoomFailed(), net.Closed("The room failed."))
    assert Words.room_failed in host.log()
    assert host.said() == ["the last words"]
    assert host.chat.stage is chat_gui.Stage.OVER


def test_what_was_said_last_is_delivered_when_the_host_leaves_at_once(host: Person, ann: Person) -> None:
    host.wait(lambda: len(host.people()) == 2, "Ann is in")
    host.say("the last word")
    host.app.leave_room()
    everybody_sees([ann], "the last word")


@pytest.mark.parametrize("stage", ["opening", "connecting", "in the room"])
def test_the_window_can_be_closed_at_every_stage(person: Open, stage: str, host: Person) -> None:
    ann = person("Ann")
    if stage == "opening":
        ann.app.host(port=0)
    else:
        ann.app.join("127.0.0.1", port(host))
    if stage == "in the room":
        ann.wait(lambda: isinstance(ann.app.page, chat_gui.ChatPage), "the room is joined")
    ann.app.close()  # the guards see to it that nothing is left


def test_a_room_that_opens_for_somebody_who_has_left_is_closed_again(
    person: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_open = threading.Event()
    opened: queue.SimpleQueue[net.Server] = queue.SimpleQueue()
    run_server = net.run_server

    def slow(*args: Any, **more: Any) -> net.Server:
        may_open.wait()
        opened.put(run_server(*args, **more))
        return opened.get()

    monkeypatch.setattr(net, "run_server", slow)
    ann = person("Ann")
    ann.app.host(port=0)
    ann.app.leave("")
    may_open.set()
    until(lambda: not any("session" in t.name for t in threading.enumerate()), "the session has ended")
    ann.settle()
    assert ann.first_page.message.cget("text") == ""


# The log ----------------------------------------------------------------------


def test_own_lines_show_at_once_as_being_sent_and_firm_when_the_room_has_them(host: Person, person: Open) -> None:
    with Proxy(port(host)) as proxy:
        ann = person("Ann")
        ann.join(proxy.port)
        proxy.silence()
        ann.say("one")
        ann.say("two")
        ann.wait(lambda: ann.on_their_way() == ["one", "two"], "both are on their way")
        assert ann.said() == []
        host.say("meanwhile")
        proxy.speak()
        ann.wait(lambda: not ann.on_their_way() and len(ann.said()) == 3, "all have arrived")
        assert sorted(ann.said()) == ["meanwhile", "one", "two"]
        host.wait(lambda: host.said() == ann.said(), "the same order for both")
        ann.app.leave("")


def test_a_cut_in_the_middle_of_typing_loses_nothing_and_doubles_nothing(host: Person, person: Open) -> None:
    with Proxy(port(host)) as proxy:
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
        assert ann.chat.composer.get() == "half a word"
        ann.press("Return")
        ann.wait(lambda: ann.on_their_way() == ["half a word"], "it is on its way")
        proxy.refuse(False)
        ann.wait(lambda: ann.said() == ["before", "meanwhile", "half a word"], "all is there once")
        host.wait(lambda: host.said() == ["before", "meanwhile", "half a word"], "all is there once")
        assert ann.status() == Words.connected
        assert "Ann left" not in host.log()
        ann.app.leave("")


def test_lines_of_the_history_are_drawn_but_not_who_came_and_went(host: Person, ann: Person, person: Open) -> None:
    ann.say("early")
    everybody_sees([host], "early")
    ann.say("exit")
    host.wait(lambda: "Ann left" in host.log(), "Ann has left")
    bob = person("Bob")
    bob.join(port(host))
    everybody_sees([bob], "early")
    assert "joined" not in bob.log()
    assert "left" not in bob.log()
    assert bob.people() == ["Mr Lee (host)", "Bob (you)"]


def test_a_rejected_line_says_why_and_can_be_put_into_the_composer_again(host: Person) -> None:
    feed(host, net.Sending(5, "two\n  lines"), net.Rejected(5, "paused", "..."))
    assert "Not sent. The host paused the room." in host.log()
    host.type("draft")
    host.chat.log.text.update_idletasks()
    first = host.chat.log.text.tag_ranges("link")[0]
    box = host.chat.log.text.bbox(str(first))
    assert box is not None
    host.click(host.chat.log.text, box[0] + 3, box[1] + 3)
    assert host.chat.composer.get() == "draft\ntwo\n  lines"
    assert "two" not in host.log()
    assert "Not sent" not in host.log()


def test_a_rejection_with_a_code_of_a_later_version_shows_the_rooms_own_reason(host: Person) -> None:
    feed(host, net.Sending(5, "x"), net.Rejected(5, "moon", "The moon is full."))
    assert 'Not sent. The room says: "The moon is full."' in host.log()


def test_a_line_that_the_room_no_longer_keeps_is_told_as_sent(host: Person) -> None:
    feed(host, net.Sending(5, "long ago"), net.Settled(5))
    assert host.on_their_way() == []
    assert host.said() == ["long ago"]
    assert Words.settled in host.log()


def test_missed_lines_are_counted(host: Person) -> None:
    feed(host, host.welcome(missed=1234))
    assert "1,234 earlier messages are no longer available." in host.log()


def test_a_room_opened_again_is_told(host: Person) -> None:
    feed(host, host.welcome(room="another"))
    assert "Mr Lee's room was opened again." in host.log()


@pytest.mark.usefixtures("ann")
def test_somebody_with_a_taken_name_reads_what_they_are_called(host: Person, person: Open) -> None:
    other = person("ann")
    other.join(port(host))
    other.wait(lambda: "ann 2" in other.log(), "the name is told")
    assert "ann is taken. You appear as ann 2." in other.log()
    assert other.people() == ["Mr Lee (host)", "Ann", "ann 2 (you)"]


def test_who_comes_back_under_another_name_reads_it(
    host: Person, person: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "BACK_WITHIN", 0.05)
    with Proxy(port(host)) as proxy:
        ann = person("Ann")
        ann.join(proxy.port)
        proxy.refuse()
        proxy.cut()
        host.wait(lambda: "Ann lost the connection" in host.log(), "Ann's name is free")
        person("Ann").join(port(host))
        proxy.refuse(False)
        ann.wait(lambda: "Ann 2 (you)" in ann.people(), "Ann is back")
        assert ann.log().endswith("You are in Mr Lee's room as Ann 2.\nAnn is taken. You appear as Ann 2.")
        ann.app.leave("")


def test_a_name_is_told_again_only_when_it_is_another_one(host: Person) -> None:
    """For somebody who wanted to be called Mr Lee."""
    in_room, renamed = "You are in Mr Lee's room as {}.", "Mr Lee is taken. You appear as {}."
    told = []
    for room, name in [("1", "Mr Lee 2"), ("1", "Mr Lee 2"), ("1", "Mr Lee"), ("2", "Mr Lee"), ("2", "Mr Lee 3")]:
        before = host.log()
        feed(host, host.welcome(room=room, name=name))
        told.append(host.log()[len(before) :].strip().split("\n"))
    reopened = Words.reopened.format(room="Mr Lee's room")
    assert told == [
        [reopened, in_room.format("Mr Lee 2"), renamed.format("Mr Lee 2")],
        [""],
        [in_room.format("Mr Lee")],
        [reopened],
        [in_room.format("Mr Lee 3"), renamed.format("Mr Lee 3")],
    ]


def test_the_log_follows_the_newest_line(host: Person) -> None:
    for start in range(0, 300, 100):
        feed(host, *(said(100 + start + i, f"line {start + i}") for i in range(100)))
        assert host.chat.log.text.bbox("end-2c") is not None
    host.root.geometry("500x400")
    host.wait(lambda: host.root.winfo_width() == 500, "the window is small")
    host.wait(lambda: host.chat.log.text.bbox("end-2c") is not None, "the end is seen")


def test_the_log_stays_where_the_reader_has_scrolled_to_and_counts_what_is_new(host: Person) -> None:
    feed(host, *(said(100 + i, f"line {i}") for i in range(200)))
    host.scroll("scroll", -30, "units")
    top = host.chat.log.text.index("@0,0")
    host.type("half a thought")
    feed(host, *(said(300 + i, f"new {i}") for i in range(3)))
    assert host.chat.log.text.index("@0,0") == top
    assert "3 new" in host.everything()
    assert host.chat.composer.get() == "half a thought"
    host.click(host.chat.log.jump)
    assert host.chat.log.text.bbox("end-2c") is not None
    assert "3 new" not in host.everything()
    feed(host, said(400, "the newest"))
    assert host.chat.log.text.bbox("end-2c") is not None


def test_saying_something_takes_the_reader_down(host: Person) -> None:
    feed(host, *(said(100 + i, f"line {i}") for i in range(200)))
    host.scroll("moveto", 0)
    host.say("me")
    everybody_sees([host], "me")
    host.settle()
    assert host.chat.log.text.bbox("end-2c") is not None


def test_the_log_keeps_its_newest_5000_lines(host: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_gui, "POLL_TIME", 10.0)
    feed(host, *(said(100 + i, f"line {i}") for i in range(6_000)))
    lines = host.log().split("\n")
    assert 5_000 <= len(lines) <= 5_500
    assert lines[-1].endswith("line 5999")


def test_the_people_keep_their_colours_apart(host: Person) -> None:
    feed(host, said(50, "a", who=2, name="Ann"), said(51, "b", who=3, name="Bob"))
    text = host.chat.log.text
    colours = {name: text.tag_names(text.search(name, "1.0")) for name in ("Ann", "Bob")}
    assert colours["Ann"] != colours["Bob"]


# The composer -----------------------------------------------------------------


@pytest.mark.parametrize("key", ["Return", "KP_Enter"])
def test_both_enter_keys_send(host: Person, key: str) -> None:
    host.type("hello")
    host.press(key)
    everybody_sees([host], "hello")
    assert host.chat.composer.get() == ""


def test_shift_enter_makes_a_new_line_and_code_keeps_its_indents(host: Person) -> None:
    host.type("if x:\n    print")
    host.press("Return")
    host.wait(lambda: "if x:\n    print" in host.log(), "both lines are in the log")


def test_pasted_code_keeps_its_lines_and_indents_and_replaces_what_is_selected(host: Person) -> None:
    host.type("gone")
    host.chat.composer.text.tag_add("sel", "1.0", "end-1c")
    host.paste("def f():\r\n\treturn [\r\n        1,\r\n    ]\x07\x1b[31m")
    assert host.chat.composer.get() == "def f():\n\treturn [\n        1,\n    ][31m"
    host.press("Return")
    host.wait(lambda: "def f():\n    return [\n        1,\n    ][31m" in host.log(), "it is in the log")


def test_too_long_a_text_is_kept_and_told_by_how_much(host: Person) -> None:
    host.paste("x" * (net.MAX_TEXT + 1_234))
    host.press("Return")
    assert "1,234 characters over the limit" in host.everything()
    assert len(host.chat.composer.get()) == net.MAX_TEXT + 1_234
    host.chat.composer.text.delete("1.0", "1.1234")
    host.settle()
    assert "over the limit" not in host.everything()
    host.press("Return")
    host.wait(lambda: host.chat.composer.get() == "", "it is sent")


def test_too_many_lines_are_kept_and_told_by_how_many(host: Person) -> None:
    host.paste("x\n" * 100 + "x")
    host.press("Return")
    assert "1 line over the limit" in host.everything()
    assert host.chat.composer.get().count("x") == 101


def test_a_huge_paste_is_cut_and_told(host: Person) -> None:
    host.paste("x" * 1_000_000)
    assert len(host.chat.composer.get()) == chat_gui.MAX_PASTE


def test_the_composer_grows_to_six_lines_and_shrinks_again(host: Person) -> None:
    for lines, height in ((1, 1), (4, 4), (6, 6), (30, 6)):
        host.chat.composer.text.delete("1.0", "end")
        host.paste("\n".join("x" * lines))
        host.wait(lambda height=height: host.chat.composer.text.cget("height") == height, f"{height} lines high")  # type: ignore[misc]
    host.press("Return")
    host.wait(lambda: host.chat.composer.text.cget("height") == 1, "one line high")


def test_nothing_but_blanks_is_not_sent(host: Person) -> None:
    host.paste(" \n\t\n ")
    host.press("Return")
    host.say("marker")
    everybody_sees([host], "marker")
    assert host.said() == ["marker"]


def test_blank_lines_around_a_text_are_not_sent_but_its_indent_is() -> None:
    assert chat_gui.tidy("\n  \n    indented\n  more\n\n ") == "    indented\n  more"


def test_after_the_room_is_closed_nothing_is_put_into_a_box_that_takes_nothing(host: Person) -> None:
    feed(host, net.Sending(5, "my long answer"), net.Rejected(5, "unsent", "..."), net.Closed("The end."))
    host.click_link(Words.write_again)
    assert "my long answer" in host.log()
    assert host.chat.composer.get() == ""


# Troubles ---------------------------------------------------------------------


def try_to_join(someone: Person, address: str) -> str:
    """Types the address; what the page then says."""
    someone.app.show_join_page()
    someone.join_page.address.focus_force()
    someone.join_page.address.delete(0, "end")
    someone.type(address)
    someone.press("Return")
    someone.wait(
        lambda: str(someone.join_page.message.cget("text")) not in ("", Words.connecting.format(address=address)),
        "the page says why",
    )
    assert someone.join_page.address.get() == address, "what was typed is still there"
    assert someone.app.session is None
    return str(someone.join_page.message.cget("text"))


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def test_nobody_listening_is_told_at_the_join_page(person: Open, listener: socket.socket) -> None:
    address = f"127.0.0.1:{port_of(listener)}"
    listener.close()
    assert try_to_join(person("Ann"), address) == Words.cannot_join[net.Trouble.NOBODY_LISTENS].format(address=address)


def test_a_wrong_address_is_told_at_the_join_page(person: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*_: object) -> None:
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    assert "Nothing on this network is called no-such-room" in try_to_join(person("Ann"), "no-such-room")


def test_something_that_is_not_a_room_is_told_at_the_join_page(person: Open, listener: socket.socket) -> None:
    def speak() -> None:
        connection = listener.accept()[0]
        with connection:
            connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
            connection.recv(1)

    speaker = threading.Thread(target=speak)
    speaker.start()
    assert "it is not a chat room" in try_to_join(person("Ann"), f"127.0.0.1:{port_of(listener)}")
    speaker.join()


def test_a_full_room_is_told_at_the_join_page_which_lets_the_person_in_when_it_can(person: Open) -> None:
    ann = person("Ann")
    with net.run_server("Full", port=0, limit=1) as server:
        address = f"127.0.0.1:{server.port}"
        with Wire(server.port) as bob:
            bob.join("Bob")
            ann.app.join("127.0.0.1", server.port)
            ann.sees(f"The room at {address} is full. Trying again ")
            bob.leave()
        ann.wait(lambda: isinstance(ann.app.page, chat_gui.ChatPage), "there is a place now")
        ann.app.leave("")


@pytest.mark.parametrize("name", ["{Lee}", "{address:>99}", "{0!r}"])
def test_a_rooms_own_words_are_shown_as_they_are(person: Open, name: str) -> None:
    with net.run_server("Room", host_name=name, port=0) as server:
        text = try_to_join(person(name), f"127.0.0.1:{server.port}")
        assert text == f'The room says: "{name} is the host\'s name. Please choose another one."'


def test_a_refusal_is_told_at_the_join_page(person: Open) -> None:
    with net.run_server("Room", host_name="Mr Lee", port=0) as server:
        text = try_to_join(person("mr  LEE"), f"127.0.0.1:{server.port}")
        assert text == 'The room says: "Mr Lee is the host\'s name. Please choose another one."'


@pytest.mark.parametrize(
    "typed", ["", "  ", "192.168.1", "192.168.1.300", "what?", "1.2.3.4:0", "1.2.3.4:65536", "h:x"]
)
def test_nonsense_is_told_at_the_box_before_anything_is_tried(person: Open, typed: str) -> None:
    ann = person("Ann")
    ann.app.show_join_page()
    ann.join_page.address.insert(0, typed)
    ann.click(ann.join_page.join)
    assert ann.join_page.message.cget("text") != ""
    assert ann.join_page.address.get() == typed
    assert ann.app.session is None


@pytest.mark.parametrize(
    ("typed", "address", "on_port"),
    [
        ("192.168.1.20", "192.168.1.20", 5252),
        (" 192.168.1.20:5253 ", "192.168.1.20", 5253),
        ("192.168.001.020", "192.168.1.20", 5252),
        ("192.168.1.20:", "192.168.1.20", 5252),
        ("teacher-pc", "teacher-pc", 5252),
        ("teacher-pc.local : 6000", "teacher-pc.local", 6000),
    ],
)
def test_addresses_are_taken_as_people_type_them(typed: str, address: str, on_port: int) -> None:
    assert chat_gui.parse_address(typed) == (address, on_port)


def test_a_port_that_is_taken_is_told_on_the_first_page(person: Open, listener: socket.socket) -> None:
    ann = person("Ann")
    ann.app.host(port=port_of(listener))
    ann.wait(lambda: "could not be opened" in str(ann.first_page.message.cget("text")), "it is told")
    assert ann.first_page.host.instate(["!disabled"])


def test_each_trouble_has_its_own_sentence_before_and_after_the_welcome() -> None:
    for table in ({**Words.cannot_join, **Words.waiting}, Words.lost):
        assert set(table) == set(net.Trouble)
        assert len(set(table.values())) == len(net.Trouble)


def test_a_lost_connection_says_what_happens_next(host: Person) -> None:
    where = f"127.0.0.1:{port(host)}"
    feed(host, net.Lost(net.Trouble.GONE, 0.0))
    assert host.status() == f"The connection to {where} was lost. Trying again now."
    feed(host, net.Lost(net.Trouble.NO_ANSWER, 1_000.0))
    assert host.status().startswith(f"{where} does not answer. Trying again in ")


def test_the_seconds_until_the_next_attempt_count_down(host: Person) -> None:
    def seconds() -> int:
        return int(host.status().removesuffix(" s.").rpartition(" ")[2])

    feed(host, net.Lost(net.Trouble.NO_ANSWER, 1_000.0))
    first = seconds()
    assert LIMIT < first <= 1_000
    host.wait(lambda: seconds() < first, "a second less")
    feed(host, net.Lost(net.Trouble.GONE, 0.1))
    host.wait(lambda: host.status().endswith(f" was lost. {Words.again_now}"), "the time has come")
    feed(host, net.Lost(net.Trouble.GONE, 1_000.0), host.welcome())
    host.chat.flush()
    assert host.status() == Words.connected
    feed(host, net.Lost(net.Trouble.GONE, 1_000.0), net.Closed("The room is over."))
    host.chat.flush()
    assert host.status() == Words.closed_you_can_read.format(reason='The room says: "The room is over."')


def test_back_gives_up_joining(person: Open, listener: socket.socket) -> None:
    ann = person("Ann")
    ann.app.join("127.0.0.1", port_of(listener))
    ann.sees("Connecting to 127.0.0.1")
    ann.click(ann.join_page.back)
    assert ann.first_page.message.cget("text") == ""


def test_escape_goes_back_from_the_join_page(person: Open, listener: socket.socket) -> None:
    ann = person("Ann")
    ann.app.join("127.0.0.1", port_of(listener))
    ann.sees("Connecting to 127.0.0.1")
    ann.look_here()
    ann.press("Escape")
    assert ann.first_page.message.cget("text") == ""
    assert ann.app.session is None
    ann.look_here()
    ann.press("Escape")
    assert ann.first_page.name.winfo_ismapped(), "there is nothing behind the first page"


def test_the_address_last_typed_is_offered_again(person: Open, listener: socket.socket) -> None:
    address = f"127.0.0.1:{port_of(listener)}"
    listener.close()
    ann = person("Ann")
    try_to_join(ann, address)
    ann.click(ann.join_page.back)
    ann.click(ann.first_page.join)
    assert ann.join_page.address.get() == address


# The poll ---------------------------------------------------------------------


def test_an_error_in_one_event_costs_that_event_only(host: Person, caplog: pytest.LogCaptureFixture) -> None:
    broken: Any = net.Lost(None, 0.0)  # type: ignore[arg-type]
    feed(host, said(50, "before"), broken, said(52, "after"))
    assert host.said() == ["before", "after"]
    assert [record.message[:30] for record in caplog.records if record.levelname == "ERROR"] == [
        "an event could not be shown: L"
    ]
    caplog.clear()


def step(someone: Person, *events: net.Event) -> int:
    """How many of these the window takes in one step; afterwards it has taken all."""
    assert someone.app.session is not None
    waiting = someone.app.session.events
    someone.settle()
    for event in events:
        waiting.put(event)
    deadline = time.monotonic() + LIMIT
    while waiting.qsize() == len(events) and time.monotonic() < deadline:
        someone.root.tk.dooneevent()
    taken = len(events) - waiting.qsize()
    someone.wait(waiting.empty, "all are taken")
    return taken


def test_a_tick_takes_a_bounded_number_of_events(host: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_gui, "POLL_TIME", 10.0)
    assert step(host, *(said(100 + number, "x") for number in range(1_000))) == chat_gui.POLL_EVENTS


@pytest.mark.parametrize("letter", ["x", "\u4e00", "\U0001f600"])
def test_a_tick_takes_a_bounded_number_of_characters(
    host: Person, monkeypatch: pytest.MonkeyPatch, letter: str
) -> None:
    """Ten people at their limits send forty thousand characters at once: far more than the window can draw at once."""
    monkeypatch.setattr(chat_gui, "POLL_TIME", 10.0)
    length = chat_gui.POLL_CHARACTERS // 5
    assert step(host, *(said(100 + number, letter * length) for number in range(100))) == 5
    longer = letter * min(2 * chat_gui.POLL_CHARACTERS, net.MAX_TEXT)
    assert step(host, *(said(300 + number, longer) for number in range(10))) == 1, "one message is always taken"


def test_a_tick_takes_a_bounded_time(host: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_gui, "POLL_TIME", 0.0)
    assert host.app.session is not None
    host.settle()
    for number in range(10):
        host.app.session.events.put(said(100 + number, "x"))
    host.settle(0.1)
    assert host.app.session.events.qsize() == 10
    monkeypatch.undo()
    host.wait(host.app.session.events.empty, "they are taken once there is time")


def waits(someone: Person) -> list[int]:
    """How long the poll waits each time from now on, in ms."""
    found: list[int] = []
    after = someone.root.after

    def note(ms: int, function: Any = None, *arguments: Any) -> str:
        if function == someone.app.poll:
            found.append(ms)
        return after(ms, function, *arguments)

    someone.root.after = note  # type: ignore[assignment]
    return found


def test_the_window_looks_more_often_while_people_talk(host: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_gui, "BUSY_TIME", 0.0)
    feed(host, said(100, "long ago"))
    seen = waits(host)
    host.wait(lambda: seen[-2:] == [chat_gui.POLL] * 2, "nothing happens")
    monkeypatch.setattr(chat_gui, "BUSY_TIME", 1e6)
    feed(host, said(101, "hi"))
    host.wait(lambda: seen[-2:] == [chat_gui.POLL_BUSY] * 2, "somebody said something, so more may come")
    monkeypatch.setattr(chat_gui, "BUSY_TIME", 0.0)
    feed(host, said(102, "hi"))
    host.wait(lambda: seen[-2:] == [chat_gui.POLL] * 2, "and then it rests again")
    assert chat_gui.POLL_BUSY < chat_gui.POLL


def test_the_window_looks_more_often_after_the_person_said_something(
    host: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_gui, "BUSY_TIME", 1e6)
    seen = waits(host)
    host.say("me")
    host.wait(lambda: seen[-2:] == [chat_gui.POLL_BUSY] * 2, "an answer may come")


def test_what_is_left_is_taken_soon_but_after_what_there_is_to_draw(host: Person) -> None:
    seen = waits(host)
    step(host, *(said(100 + number, "x" * chat_gui.POLL_CHARACTERS) for number in range(5)))
    assert chat_gui.POLL_SOON in seen
    assert chat_gui.POLL_SOON > 0


def test_a_failing_callback_is_logged_and_told_and_the_window_goes_on(
    host: Person, caplog: pytest.LogCaptureFixture
) -> None:
    host.root.after(0, lambda: 1 / 0)
    host.wait(lambda: host.status() == Words.failed, "it is told")
    assert "a callback failed" in caplog.text
    caplog.clear()
    host.say("still works")
    everybody_sees([host], "still works")


# Hostile text -----------------------------------------------------------------

HOSTILE = {
    "a lone surrogate": "a\ud800b",
    "NUL": "a\x00b\nc",
    "an escape sequence": "\x1b[31mred\x1b[0m \x07",
    "a direction override": "exe.\u202egnp",
    "a mountain of marks": "o" + "\u0301" * 3_999,
    "thousands of emoji": "".join(chr(0x1F300 + i % 700) for i in range(4_000)),
    "thousands of CJK letters": "".join(chr(0x4E00 + i) for i in range(4_000)),
    "one very long line": "x" * 4_000,
    "a hundred lines": "x\n" * 99,
    "Tcl": "[exit] $x {a \\",
    "tabs": "\t\t\ta\tb",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_text_cannot_harm_the_window(host: Person, kind: str) -> None:
    text = HOSTILE[kind]
    feed(host, said(50, text), said(51, text, name=text[:32]), net.Joined(52, 1e15, 9, text[:32]), said(53, "after"))
    assert host.said()[-1] == "after"
    host.say("alive")
    everybody_sees([host], "after", "alive")


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_drawn_is_harmless(kind: str) -> None:
    drawn = chat_gui.drawable(HOSTILE[kind])
    drawn.encode()  # no halves of surrogate pairs
    assert not set(drawn) & set("\x00\x07\x1b\r\t\u202e")
    assert max(map(len, drawn.split("\n"))) <= chat_gui.LONGEST_LINE
    assert "\u0301" * (chat_gui.MOST_MARKS + 1) not in drawn
    assert sum(character > "\uffff" for character in drawn) <= chat_gui.MOST_EMOJI


@pytest.mark.parametrize("mark", ["\u0301", "\u0e47", "\u0489"])
def test_a_pile_of_marks_is_thinned_whatever_they_are(mark: str) -> None:
    assert chat_gui.drawable(f"a{mark * 50}b") == f"a{mark * chat_gui.MOST_MARKS}b"


@pytest.mark.parametrize(
    "text",
    [
        "\u2764\ufe0f" * 20,  # hearts, with the sign that makes them red
        "1\ufe0f\u20e3",  # a key with a number
        "\u1000\u103b\u103d\u103e\u102d\u102f",  # a Burmese letter with five marks
        "\u05e9\u05c1\u05bc\u05b8\u0591",  # a Hebrew one with four
    ],
)
def test_marks_that_belong_there_are_drawn(text: str) -> None:
    assert chat_gui.drawable(text) == text


def test_all_of_a_long_text_is_drawn() -> None:
    text = "".join(chr(0x4E00 + i) for i in range(4_000))
    assert chat_gui.drawable(text).replace("\n", "") == text


def test_a_room_that_breaks_the_rules_with_endless_words_does_no_harm(host: Person) -> None:
    endless = "W" * 200_000
    feed(host, said(50, "x", name=endless), net.Joined(51, 0.0, 9, endless), net.Left(52, 0.0, 9, endless, endless))
    feed(host, net.Closed(endless))
    assert len(host.status()) < 1_000
    assert host.said() == ["x"]


def test_a_long_name_is_shortened_in_its_middle(host: Person) -> None:
    feed(host, said(50, "x", name="Maximiliana Featherstonehaugh 23"))
    assert "\u2026h 23\t" in host.log()


def test_a_time_beyond_the_calendar_is_no_error() -> None:
    assert chat_gui.clock(1e300) == "--:--"
