"""A lesson: what the host can do, what the others see of it, and how a window gets the attention of its person."""

from __future__ import annotations

import time
import tkinter as tk
from tkinter import font
from typing import Any
from unittest.mock import Mock

import pytest

import chat_gui
import net
from tests.windows import Open, Person, everybody_sees, feed, said, shared

Words = chat_gui.Words
LEE, BOB = net.HOST, 77
pytestmark = pytest.mark.usefixtures("unposted", "finders")


@pytest.fixture
def bob(person: Open, host: Person, ann: Person) -> Person:  # noqa: ARG001 - Ann comes first
    return enter(person("Bob"), host)


def enter(someone: Person, host: Person) -> Person:
    """They are in the room, and the host's window shows it."""
    someone.join(host.chat.port)
    host.wait(lambda: someone.app.name in host.people(), f"{someone.app.name} is in the host's list")
    return someone


def row_of(someone: Person, name: str) -> str:
    """The row of this person in the list of people."""
    people = someone.chat.people.list
    (row,) = (row for row in people.get_children() if str(people.set(row, "name")).partition(" (")[0] == name)
    return row


def chosen(someone: Person) -> str:
    """Who is chosen in the list of people; "" for nobody."""
    people = someone.chat.people.list
    return "".join(str(people.set(row, "name")) for row in people.selection())


def control(host: Person, name: str, words: str) -> None:
    """Does this to somebody in the list of people, by the buttons below it."""
    host.click_row(host.chat.people.list, row_of(host, name))
    host.click(host.button(words))


def is_blocked(someone: Person, reason: str) -> None:
    someone.wait(lambda: not someone.may_write() and someone.hint() == reason, f"the composer says: {reason}")
    for each in (someone.chat.send, someone.chat.file):
        assert each.instate(["disabled"])


def can_write_again(someone: Person) -> None:
    someone.wait(someone.may_write, "the composer is open")
    assert someone.hint() == Words.hint
    assert someone.chat.file.instate(["!disabled"])


def try_to_write(someone: Person, text: str) -> None:
    someone.say(text)
    someone.click(someone.chat.send)
    assert someone.chat.composer.get() == ""


def came(who: int, name: str) -> net.Joined:
    return net.Joined(900, 0.0, who, name)


def left(who: int, name: str) -> net.Left:
    return net.Left(901, 0.0, who, name, "left")


# Mute -------------------------------------------------------------------------


def test_a_muted_person_reads_on_but_cannot_write_until_unmuted(host: Person, ann: Person, bob: Person) -> None:
    control(host, "Ann", Words.mute)
    host.wait(lambda: host.people() == ["Mr Lee (host, you)", "Ann (muted)", "Bob"], "the host sees who is muted")
    is_blocked(ann, Words.muted)
    assert ann.people() == ["Mr Lee (host)", "Ann (you)", "Bob"], "only the host sees it"
    assert bob.people() == ["Mr Lee (host)", "Ann", "Bob (you)"]
    try_to_write(ann, "nobody reads this")
    bob.say("go on")
    everybody_sees([host, ann, bob], "go on")
    control(host, "Ann", Words.unmute)
    can_write_again(ann)
    ann.say("thanks")
    everybody_sees([host, ann, bob], "go on", "thanks")
    host.wait(lambda: "Ann" in host.people(), "the mark is gone")
    assert "nobody reads this" not in host.log()


def test_a_draft_outlives_being_muted_and_the_reason_stands_beside_it(ann: Person) -> None:
    ann.type("half a thought")
    feed(ann, net.Muted(True))
    assert Words.muted in ann.everything()
    ann.press("Return")
    feed(ann, net.Muted(False))
    assert Words.muted not in ann.everything()
    assert ann.typed() == "half a thought"


def test_a_removed_person_reads_why_and_stays_out_until_let_in_again(host: Person, ann: Person, bob: Person) -> None:
    host.say("before")
    everybody_sees([ann], "before")
    control(host, "Ann", Words.remove)
    ann.wait(lambda: ann.chat.stage is chat_gui.Stage.OVER, "Ann is out")
    assert Words.refused["removed"] in ann.status()
    assert ann.said() == ["before"]
    is_blocked(ann, Words.over)
    host.wait(lambda: host.people() == ["Mr Lee (host, you)", "Bob", "Ann (removed)"], "the host sees it")
    bob.wait(lambda: bob.people() == ["Mr Lee (host)", "Bob (you)"], "Ann is not in Bob's list")
    assert "Ann was removed by the host" in bob.log()
    assert host.chat.people.title.cget("text") == "People (2)"
    ann.app.join("127.0.0.1", host.chat.port)
    ann.wait(lambda: isinstance(ann.app.page, chat_gui.JoinPage) and ann.app.session is None, "Ann is not let in")
    assert ann.status() == Words.refused["removed"]
    host.right_click(host.chat.people.list, *host.middle_of_row(host.chat.people.list, row_of(host, "Ann")))
    assert host.menu() == [Words.let_in], "nothing else can be done to somebody who is out"
    assert host.chat.people.mute.instate(["disabled"])
    host.choose(Words.let_in)
    host.wait(lambda: host.people() == ["Mr Lee (host, you)", "Bob"], "Ann is let in again")
    ann.join(host.chat.port)
    host.wait(lambda: host.people() == ["Mr Lee (host, you)", "Ann", "Bob"], "Ann is in again")


# The controls -----------------------------------------------------------------


@pytest.mark.parametrize("way", ["right click", "Return", "Menu"])
def test_mouse_and_keyboard_open_the_commands_for_a_person(host: Person, way: str) -> None:
    """The room does not know this person, and the host reads that."""
    people = host.chat.people.list
    feed(host, came(BOB, "Ghost"))
    if way == "right click":
        host.right_click(people, *host.middle_of_row(people, row_of(host, "Ghost")))
        assert host.root.focus_lastfor() is people
    else:
        people.focus_force()
        host.press("Home", "Down", way)
    assert (chosen(host), host.menu()) == ("Ghost", [Words.mute, Words.remove])
    host.choose(Words.mute)
    host.wait(lambda: Words.not_known in host.tagged("wrong"), "it is told")
    assert host.status() == Words.connected, "the status is only about the connection"


def test_only_the_host_has_controls_and_they_concern_the_others(host: Person, ann: Person) -> None:
    controls = {Words.mute, Words.remove, Words.pause}
    assert controls <= set(host.everything().split("\n"))
    assert not controls & set(ann.everything().split("\n"))
    ann.right_click(ann.chat.people.list, *ann.middle_of_row(ann.chat.people.list, row_of(ann, "Mr Lee")))
    assert ann.menu() == []
    ann.click(ann.chat.header.menu_button)
    assert Words.pause not in ann.menu()
    people = host.chat.people
    x, y = host.middle_of_row(people.list, row_of(host, "Mr Lee"))
    for below, name in ((people.list.winfo_height() - 2, ""), (y, "Mr Lee (host, you)")):
        host.right_click(people.list, x, below)
        assert (chosen(host), host.menu()) == (name, [])
        disabled = [each for each in (people.mute, people.remove, people.pause) if each.instate(["disabled"])]
        assert disabled == [people.mute, people.remove]


def test_the_choice_stays_with_the_person_while_others_come_and_go(host: Person) -> None:
    feed(host, *(came(who, name) for who, name in enumerate(["Ann", "Bob", "Cem", "Dan"], 70)))
    host.chat.people.list.focus_force()
    host.press("Home", "Down", "Down")
    assert chosen(host) == "Bob"
    feed(host, came(80, "Aaron"), net.Controls((71,), ()))
    assert chosen(host) == "Bob (muted)"
    host.press("Down")
    assert chosen(host) == "Cem", "the keyboard goes on from there"
    feed(host, left(72, "Cem"))
    assert chosen(host) == ""
    assert host.chat.people.remove.instate(["disabled"]), "not somebody else by mistake"


# Pause ------------------------------------------------------------------------


def test_in_a_pause_only_the_host_writes_and_all_see_it(host: Person, ann: Person, bob: Person, person: Open) -> None:
    host.click(host.chat.header.menu_button)
    host.choose(Words.pause)
    for pupil in (ann, bob):
        is_blocked(pupil, Words.paused)
        assert Words.was_paused in pupil.log()
        try_to_write(pupil, "psst")
    host.sees(Words.you_paused)
    host.say("listen")
    everybody_sees([host, ann, bob], "listen")
    late = enter(person("Late"), host)
    is_blocked(late, Words.paused)
    assert host.chat.people.pause.cget("text") == Words.resume
    host.click(host.chat.people.pause)
    assert host.root.focus_lastfor() is host.box, "a click on a button does not give it the keyboard"
    for pupil in (ann, bob, late):
        can_write_again(pupil)
        assert Words.was_resumed in pupil.log()
    host.wait(lambda: Words.you_paused not in host.everything(), "the host's notice is gone")
    ann.say("now I may")
    everybody_sees([host, ann, bob, late], "listen", "now I may")
    assert "psst" not in host.log()


def test_while_the_room_is_paused_people_come_and_go_without_a_note(host: Person) -> None:
    """Otherwise somebody could talk to the class through names, which the host cannot mute."""
    feed(host, net.Paused(900, 0.0, True), came(BOB, "Look at me"))
    assert "Look at me" in host.people(), "the list shows them"
    feed(host, left(BOB, "Look at me"), net.Paused(903, 0.0, False), came(78, "Cem"), left(78, "Cem"))
    assert "Look at me" not in host.log()
    assert host.log().endswith(f"{Words.was_resumed}\nCem joined\nCem left")


def test_a_muted_person_stays_muted_when_the_pause_is_over_and_after_a_break(ann: Person) -> None:
    feed(ann, net.Muted(True), net.Paused(900, 0.0, True))
    is_blocked(ann, Words.muted)
    feed(ann, net.Paused(901, 0.0, False))
    is_blocked(ann, Words.muted)
    feed(ann, ann.welcome(muted=False))
    can_write_again(ann)
    feed(ann, ann.welcome(muted=True))
    is_blocked(ann, Words.muted)


# Deleting ---------------------------------------------------------------------


def test_a_deleted_message_is_gone_for_all_and_only_the_host_deletes(host: Person, ann: Person, person: Open) -> None:
    lines = ["line 0", "line 1", "line 2"]
    for number, author in enumerate((ann, host, ann)):
        author.say(lines[number])
        everybody_sees([host, ann], *lines[: number + 1])
    assert Words.delete not in ann.message_menu("line 2")
    assert Words.delete not in host.message_menu("Ann joined")
    host.message_menu("line 0")
    host.choose(Words.delete)
    host.focus(host.log_text)
    host.press("Up", "Menu")  # the keyboard alone chooses the newest message
    host.choose(Words.delete)
    late = enter(person("Late"), host)
    for someone in (host, ann, late):
        everybody_sees([someone], Words.deleted, "line 1", Words.deleted)
        for gone in ("line 0", "line 2"):
            assert gone not in someone.everything()
        assert f"Ann\t{Words.deleted}" in someone.log(), "its author is still shown"
    assert Words.delete not in host.message_menu(Words.deleted)


def test_a_deleted_file_can_no_longer_be_saved(host: Person) -> None:
    feed(host, shared(100, "silly.png"))
    assert {Words.save, Words.delete} <= set(host.message_menu("silly.png"))
    deleted_before_we_came = net.Shared(102, 0.0, 7, "Bob", "0" * 32, "", 0, "", taken_back=True)
    feed(host, net.TakenBack(101, 0.0, 100), deleted_before_we_came)
    assert host.said() == [Words.deleted] * 2
    assert Words.save not in host.tagged("link")
    assert Words.save not in host.message_menu(Words.deleted)


def test_deleting_changes_only_the_message_that_was_deleted(host: Person) -> None:
    texts = ["one", "two\nlines of it", "three", "four\nhas\nmore", "five"]
    feed(host, *(said(100 + number, text) for number, text in enumerate(texts)))
    feed(host, net.Sending(8, "on its way"), net.Sending(9, "and\nthis"))
    for which in (1, 4, 2, 0):
        before = host.log()
        feed(host, net.TakenBack(200 + which, 0.0, 100 + which))
        assert host.log() == before.replace(texts[which], Words.deleted)
    host.message_menu("more")
    host.choose(Words.delete)
    host.wait(lambda: Words.not_known in host.log(), "the real room never had that message")
    assert host.on_their_way() == ["on its way", "and"]


def test_a_room_opened_again_counts_from_one_and_deletes_only_its_own_messages(host: Person) -> None:
    feed(host, said(100, "of the first room"), host.welcome(room="another"), net.TakenBack(99, 0.0, 100))
    feed(host, said(100, "of the second room"), net.TakenBack(101, 0.0, 100))
    assert host.said() == ["of the first room", Words.deleted]


# Who is here ------------------------------------------------------------------


def test_the_host_comes_first_then_the_others_in_alphabetical_order(host: Person, person: Open) -> None:
    zoe = enter(person("zoe"), host)
    for someone in (host, zoe):
        feed(someone, *(came(who, name) for who, name in enumerate(["bob", "Cem", "007", "{a} alf"], 70)))
        assert someone.chat.people.title.cget("text") == "People (6)"
    assert host.people() == ["Mr Lee (host, you)", "007", "bob", "Cem", "zoe", "{a} alf"]
    assert zoe.people() == ["Mr Lee (host)", "007", "bob", "Cem", "zoe (you)", "{a} alf"]


# A crowd with unusual names: Tk takes milliseconds to measure one, so each is measured once, and in slices.


def unusual(number: int) -> str:
    """A name of 32 Chinese letters that no other one has."""
    return "".join(chr(0x4E00 + (32 * number + place) % 20_000) for place in range(32))


def crowd(count: int) -> net.Welcome:
    others = tuple((number, unusual(number)) for number in range(2, count + 1))
    return net.Welcome("0" * 32, "Room", 1, "Ann", 1, ((1, "Ann"), *others), 0, 0, 0, 0, False, False, 1)


def test_one_person_among_a_thousand_touches_one_row(host: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_gui, "shortened", lambda text, *_: text)  # so one call of `flush` has time for all names
    people = host.chat.people
    people.begin(crowd(1_000))
    people.flush()
    assert people.title.cget("text") == "People (1,000)"
    table = Mock(wraps=people.list)
    monkeypatch.setattr(people, "list", table)
    people.came(5_000, unusual(5_000))
    people.flush()
    assert [call.kwargs["iid"] for call in table.insert.mock_calls] == ["5000"]
    people.show_controls(net.Controls((500,), ()))
    people.flush()
    assert [call.args for call in table.item.mock_calls] == [("500",)]
    assert table.insert.call_count == 1


def test_names_are_measured_in_slices_and_each_one_once(host: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    people = host.chat.people
    measured: list[str] = []
    measure = font.Font.measure

    def note(self: font.Font, text: str, **how: Any) -> int:
        measured.append(text[:3])  # of a name that is being shortened
        return measure(self, text, **how)

    monkeypatch.setattr(font.Font, "measure", note)
    monkeypatch.setattr(time, "perf_counter", lambda: 0.004 * len(measured))  # each measurement takes 4 ms
    people.begin(crowd(100))
    people.went(2)
    before = 0
    while people.flush():
        assert len(set(measured[before:])) <= 3, "a slice ends soon after its time is up"
        if before == 0:
            assert unusual(100) in host.people(), "it shows at once, and is cut off where the column ends"
        before = len(measured)
    assert unusual(2)[:3] not in measured, "somebody who has left is not measured"
    assert all("\u2026" in name for name in host.people()[1:])
    measured.clear()
    people.went(7)
    people.came(7, unusual(7))
    people.flush()
    assert measured == [], "somebody who comes back has been measured already"


# Getting attention ------------------------------------------------------------


@pytest.fixture
def bells(monkeypatch: pytest.MonkeyPatch) -> list[tk.Tk]:
    """The windows whose bell rang."""
    rung: list[tk.Tk] = []
    monkeypatch.setattr(tk.Tk, "bell", lambda root, **_: rung.append(root))
    return rung


def test_while_nobody_looks_the_title_counts_and_one_bell_rings(host: Person, ann: Person, bells: list[tk.Tk]) -> None:
    title = ann.root.title()
    host.look_here()  # Ann's window no longer has the keyboard
    for number in range(1, 4):
        host.say(f"line {number}")
        ann.sees(f"line {number}")
        assert ann.root.title() == f"({number}) {title}"
    assert bells == [ann.root]
    ann.look_here()
    assert ann.root.title() == title
    host.look_here()
    host.say("again")
    ann.sees("again")
    assert (ann.root.title(), bells) == (f"(1) {title}", [ann.root] * 2), "it counts from one"
    assert "(" not in host.root.title(), "the own messages are nothing new"


def test_the_title_counts_what_others_say_and_the_bell_rings_for_the_host_and_mentions_unless_somebody_looks(
    host: Person, ann: Person, bells: list[tk.Tk]
) -> None:
    """Thirty computers that beep at everything would be a nuisance."""
    title = ann.root.title()
    for event, counts, rings in (
        (said(500, "hello", who=BOB), True, False),
        (said(501, "look at this, @Ann", who=BOB), True, True),
        (shared(502, "map.png", who=LEE), True, True),
        (shared(503, "map.png", who=BOB), True, False),
        (said(504, "@Ann is me", who=ann.chat.welcome.who, name="Ann", ident=99), False, False),
        (came(BOB, "Bob"), False, False),
        (left(BOB, "Bob"), False, False),
        (net.Paused(505, 0.0, True), False, False),
    ):
        for looks, someone in ((True, ann), (False, host)):
            someone.look_here()
            bells.clear()
            feed(ann, event)
            assert ann.root.title() == (f"(1) {title}" if counts and not looks else title)
            assert bells == [ann.root] * (rings and not looks)


def test_only_what_was_said_after_joining_or_in_a_break_is_new(host: Person, ann: Person, bells: list[tk.Tk]) -> None:
    host.look_here()
    host.say("hello")
    everybody_sees([host, ann], "hello")
    assert bells == [ann.root]
    ann.app.leave_room()
    assert ann.root.title() == Words.program, "leaving forgets what was not read"
    ann.app.join("127.0.0.1", host.chat.port)
    host.look_here()
    ann.wait_until_in()
    assert (ann.said(), ann.root.title()) == (["hello"], f"Mr Lee's room - {Words.program}")
    feed(ann, ann.welcome(room="another", history=1), said(1, "before it was opened again", who=LEE))
    assert (ann.root.title(), bells) == (f"Mr Lee's room - {Words.program}", [ann.root])
    feed(ann, ann.welcome(history=1), said(2, "during a break", who=LEE))
    assert ann.root.title() == f"(1) Mr Lee's room - {Words.program}"


def test_mentions_stand_out_for_the_person_alone_and_not_in_links(host: Person, ann: Person) -> None:
    text = "two\nlines @Ann http://example.org/@Ann @ann"
    for someone in (ann, host):
        feed(someone, said(500, text))
        assert text in someone.log(), "all of it is drawn, once"
    assert ann.tagged("mention") == ["@Ann", "@ann"]
    assert host.tagged("mention") == []
