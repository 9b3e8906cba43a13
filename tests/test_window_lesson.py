"""A lesson: what the host can do, what the others see of it, and what is noticed by people who look elsewhere."""

from __future__ import annotations

import gc
import time
import tkinter as tk
from collections.abc import Callable, Iterator
from pathlib import Path
from tkinter import filedialog, font
from typing import Any

import pytest

import chat_gui
import net
from tests.helpers import Display, Proxy, pump_until
from tests.test_window import ann, everybody_sees, feed, host, port, said  # noqa: F401 - fixtures
from tests.windows import Open, Person

Words = chat_gui.Words
WAYS = ["right click", "bar", "Return", "KP_Enter", "Menu", "Shift-F10"]
pytestmark = pytest.mark.usefixtures("unposted")


@pytest.fixture
def lesson(host: Person, ann: Person, person: Open) -> tuple[Person, Person, Person]:  # noqa: F811
    bob = person("Bob")
    bob.join(port(host))
    for someone in (host, ann, bob):
        someone.wait(lambda someone=someone: len(someone.people()) == 3, "all are in")  # type: ignore[misc]
    return host, ann, bob


def line_of(someone: Person, name: str) -> int:
    someone.wait(lambda: any(words.partition(" (")[0] == name for words in someone.people()), f"{name} is in the list")
    return [words.partition(" (")[0] for words in someone.people()].index(name)


def chosen(someone: Person) -> str:
    """Who is chosen in the list of people; "" for nobody."""
    people = someone.chat.people.list
    return "".join(str(people.set(row, "name")) for row in people.selection())


def middle_of(someone: Person, line: int) -> tuple[int, int]:
    """Of a row in the list of people, once it shows."""
    people = someone.chat.people.list
    row = people.get_children()[line]
    people.see(row)
    someone.root.update()
    x, y, width, height = map(int, people.bbox(row))
    return x + width // 2, y + height // 2


def control(someone: Person, name: str, words: str, way: str = "bar") -> None:
    """Does this to somebody in the list of people, once the list shows that there is something to undo."""
    if words == Words.unmute:
        someone.wait(lambda: f"{name} (muted)" in someone.people(), f"{name} is marked as muted")
    people = someone.chat.people.list
    line = line_of(someone, name)
    if way == "right click":
        someone.right_click(people, *middle_of(someone, line))
        someone.choose(words)
    elif way == "bar":
        someone.click(people, *middle_of(someone, line))
        (button,) = (b for b in (someone.chat.people.mute, someone.chat.people.remove) if b.cget("text") == words)
        someone.click(button)
    else:
        people.focus_force()
        someone.press("Home", *["Down"] * line)
        someone.press(way)
        someone.choose(words)


def delete(someone: Person, text: str) -> None:
    assert Words.delete in someone.message_menu(text)
    someone.choose(Words.delete)


def box_says(someone: Person) -> str:
    """What the box for messages says while it is empty."""
    hints = [child for child in someone.chat.composer.text.winfo_children() if child.winfo_ismapped()]
    return "".join(str(hint.cget("text")) for hint in hints)


def blocked(someone: Person, reason: str) -> Callable[[], bool]:
    return lambda: someone.chat.composer.is_blocked and box_says(someone) == reason


def tries_to_write(someone: Person, text: str) -> None:
    someone.focus_composer()
    someone.type(text)
    someone.press("Return")
    someone.click(someone.chat.send)


# Mute -------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_a_muted_person_reads_on_but_cannot_write_until_it_is_undone(
    lesson: tuple[Person, Person, Person], way: str
) -> None:
    lee, ann, bob = lesson  # noqa: F811
    control(lee, "Ann", Words.mute, way)
    ann.wait(blocked(ann, Words.muted), "Ann's box says why")
    lee.wait(lambda: "Ann (muted)" in lee.people(), "it is marked")
    tries_to_write(ann, "nobody reads this")
    assert ann.chat.composer.get() == ""
    assert ann.chat.composer.text.cget("background") == chat_gui.PAGE, "it is greyed"
    assert ann.chat.send.instate(["disabled"])
    assert ann.chat.file.instate(["disabled"])
    bob.say("still to be read")
    everybody_sees([lee, ann, bob], "still to be read")
    control(lee, "Ann", Words.unmute, way)
    ann.wait(lambda: not ann.chat.composer.is_blocked, "Ann may write")
    assert ann.chat.composer.text.cget("background") == chat_gui.CARD
    assert box_says(ann) == Words.hint
    assert ann.chat.file.instate(["!disabled"])
    ann.say("thanks")
    everybody_sees([lee, ann, bob], "still to be read", "thanks")
    lee.wait(lambda: "Ann" in lee.people(), "the mark is gone")
    assert "nobody reads this" not in lee.log()


def test_a_draft_outlives_being_muted_and_the_reason_stands_beside_it(host: Person, ann: Person) -> None:  # noqa: F811
    ann.type("half a thought")
    control(host, "Ann", Words.mute)
    ann.sees(Words.muted)
    ann.press("Return")
    assert ann.chat.composer.get() == "half a thought"
    control(host, "Ann", Words.unmute)
    ann.wait(lambda: not ann.chat.composer.is_blocked, "Ann may write")
    assert Words.muted not in ann.everything()
    ann.focus_composer()
    ann.press("Return")
    everybody_sees([host, ann], "half a thought")
    assert "Not sent" not in ann.log(), "Enter has sent nothing from the blocked box"


def test_only_the_host_sees_who_is_muted(lesson: tuple[Person, Person, Person]) -> None:
    lee, ann, bob = lesson  # noqa: F811
    control(lee, "Ann", Words.mute)
    ann.wait(lambda: ann.chat.composer.is_blocked, "Ann is muted")
    assert ann.people() == ["Mr Lee (host)", "Ann (you)", "Bob"]
    assert bob.people() == ["Mr Lee (host)", "Ann", "Bob (you)"]


def test_a_muted_person_comes_back_muted(host: Person, ann: Person) -> None:  # noqa: F811
    control(host, "Ann", Words.mute)
    ann.wait(lambda: ann.chat.composer.is_blocked, "Ann is muted")
    ann.app.leave_room()
    host.wait(lambda: host.people() == ["Mr Lee (host, you)"], "Ann has left")
    ann.join(port(host))
    ann.wait(blocked(ann, Words.muted), "Ann's box says why")


def test_what_was_on_its_way_when_they_were_muted_is_told_as_not_sent(host: Person) -> None:  # noqa: F811
    feed(host, net.Muted(True), net.Sending(9, "too late"), net.Rejected(9, "muted", "..."))
    assert "Not sent. The host muted you." in host.log()
    host.click_link(Words.write_again)
    assert "too late" in host.log(), "it would be lost in a box that takes nothing"
    feed(host, net.Muted(False))
    host.chat.log.text.focus_force()
    host.press("Up", "Return")  # a second click so soon after the first would be a double one
    assert "too late" not in host.log()
    assert host.chat.composer.get() == "too late"


# Remove -----------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_a_removed_person_reads_why_and_may_be_let_in_again(lesson: tuple[Person, Person, Person], way: str) -> None:
    lee, ann, bob = lesson  # noqa: F811
    lee.say("before")
    everybody_sees([ann], "before")
    control(lee, "Ann", Words.remove, way)
    ann.wait(lambda: ann.chat.stage is chat_gui.Stage.OVER, "Ann is out")
    assert "The host removed you" in ann.status()
    assert "You can still read and copy what was said." in ann.status()
    assert blocked(ann, Words.over)()
    assert ann.said() == ["before"]
    lee.wait(lambda: lee.people() == ["Mr Lee (host, you)", "Bob", "Ann (removed)"], "the host sees it")
    bob.wait(lambda: bob.people() == ["Mr Lee (host)", "Bob (you)"], "Ann is not in Bob's list")
    assert "Ann was removed by the host" in bob.log()
    assert lee.chat.people.title.cget("text") == "People (2)"
    ann.app.join("127.0.0.1", port(lee))
    ann.wait(lambda: isinstance(ann.app.page, chat_gui.JoinPage) and ann.app.session is None, "Ann is not let in")
    assert "removed you" in str(ann.join_page.message.cget("text"))
    control(lee, "Ann", Words.let_in, way)
    lee.wait(lambda: lee.people() == ["Mr Lee (host, you)", "Bob"], "Ann is forgiven")
    ann.join(port(lee))
    lee.wait(lambda: lee.people() == ["Mr Lee (host, you)", "Ann", "Bob"], "Ann is in again")


def test_a_person_who_was_removed_can_only_be_let_in_again(lesson: tuple[Person, Person, Person]) -> None:
    lee, _, _ = lesson
    control(lee, "Ann", Words.mute)
    control(lee, "Ann", Words.remove)
    lee.wait(lambda: lee.people() == ["Mr Lee (host, you)", "Bob", "Ann (removed)"], "Ann is out")
    lee.right_click(lee.chat.people.list, *middle_of(lee, line_of(lee, "Ann")))
    assert lee.menu() == [Words.let_in]
    assert lee.chat.people.mute.instate(["disabled"])
    assert lee.chat.people.remove.cget("text") == Words.let_in


def test_the_host_cannot_be_muted_or_removed(host: Person, ann: Person) -> None:  # noqa: F811, ARG001
    host.wait(lambda: len(host.people()) == 2, "Ann is in")
    control(host, "Ann", Words.mute)
    host.wait(lambda: host.people()[1] == "Ann (muted)", "a menu would be filled")
    host.chat.menu.delete(0, "end")
    host.right_click(host.chat.people.list, *middle_of(host, 0))
    assert host.menu() == []
    assert host.chat.people.mute.instate(["disabled"])
    assert host.chat.people.remove.instate(["disabled"])


@pytest.mark.usefixtures("ann")
def test_a_right_click_below_the_last_person_is_about_nobody(host: Person, unposted: list[tuple[int, int]]) -> None:  # noqa: F811
    people = host.chat.people.list
    x, y = middle_of(host, 1)
    host.right_click(people, x, people.winfo_height() - 2)
    assert unposted == []
    assert chosen(host) == ""
    host.right_click(people, x, y)
    assert len(unposted) == 1
    assert chosen(host) == "Ann"


def test_only_the_host_has_controls(host: Person, ann: Person) -> None:  # noqa: F811
    assert {Words.mute, Words.remove, Words.pause} <= set(host.everything().split("\n"))
    assert not {Words.mute, Words.remove, Words.pause} & set(ann.everything().split("\n"))
    ann.right_click(ann.chat.people.list, *middle_of(ann, 0))
    assert ann.menu() == []
    ann.click(ann.chat.header.menu_button)
    assert Words.pause not in ann.menu()


def test_nobody_is_chosen_at_first_and_the_controls_say_so(host: Person) -> None:  # noqa: F811
    assert host.chat.people.mute.instate(["disabled"])
    assert host.chat.people.remove.instate(["disabled"])
    assert host.chat.people.pause.instate(["!disabled"])


def test_a_person_or_message_that_the_room_no_longer_knows_is_told_in_plain_words(host: Person) -> None:  # noqa: F811
    feed(host, net.Joined(900, 0.0, 77, "Ghost"))
    control(host, "Ghost", Words.mute)
    host.wait(lambda: host.log().count(Words.not_known) == 1, "it is told")
    feed(host, said(10_000, "of a ghost"))
    delete(host, "of a ghost")
    host.wait(lambda: host.log().count(Words.not_known) == 2, "it is told again")
    assert host.status() == Words.connected, "the status is the connection's alone"


def test_the_choice_stays_with_the_person_while_others_come_and_go(host: Person, ann: Person) -> None:  # noqa: F811, ARG001
    feed(host, *(net.Joined(900 + n, 0.0, 70 + n, name) for n, name in enumerate(["Bob", "Cem", "Dan"])))
    host.chat.people.list.focus_force()
    host.press("Home", "Down", "Down")
    assert chosen(host) == "Bob"
    feed(host, net.Joined(910, 0.0, 80, "Aaron"))
    assert chosen(host) == "Bob"
    host.press("Down")
    assert chosen(host) == "Cem", "the keyboard goes on from there"
    feed(host, net.Left(911, 0.0, 71, "Cem", "left"))
    assert chosen(host) == ""
    assert host.chat.people.remove.instate(["disabled"]), "not somebody else by mistake"
    host.press("Home")
    feed(host, net.Joined(912, 0.0, 81, "Zoe"))
    assert chosen(host) == "Mr Lee (host, you)", "one's own line stays chosen too"
    host.press("Down")
    assert chosen(host) == "Aaron"
    feed(host, net.Controls((80,), ()))
    assert chosen(host) == "Aaron (muted)"


@pytest.mark.parametrize(("key", "name"), [("Down", "Mr Lee (host, you)"), ("Up", "Ann"), ("End", "Ann")])
def test_the_keyboard_alone_chooses_a_person(host: Person, ann: Person, key: str, name: str) -> None:  # noqa: F811, ARG001
    """Tk's own keys lead only from one row to the next, and at first none is chosen."""
    host.chat.people.list.focus_force()
    host.press(key)
    assert chosen(host) == name


def test_a_menu_that_is_still_open_when_its_person_has_left_harms_nobody(host: Person, ann: Person) -> None:  # noqa: F811, ARG001
    feed(host, net.Joined(900, 0.0, 70, "Zoe"))
    host.right_click(host.chat.people.list, *middle_of(host, line_of(host, "Zoe")))
    feed(host, net.Left(901, 0.0, 70, "Zoe", "left"))
    host.choose(Words.remove)
    host.say("marker")
    everybody_sees([host], "marker")
    assert host.people() == ["Mr Lee (host, you)", "Ann"]


# Pause ------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["bar", "menu"])
def test_while_the_room_is_paused_only_the_host_writes_and_all_see_it(
    lesson: tuple[Person, Person, Person], way: str, person: Open
) -> None:
    lee, ann, bob = lesson  # noqa: F811

    def switch(words: str) -> None:
        if way == "bar":
            lee.wait(lambda: lee.chat.people.pause.cget("text") == words, "the button says so")
            lee.click(lee.chat.people.pause)
        else:
            lee.click(lee.chat.header.menu_button)
            lee.choose(words)

    switch(Words.pause)
    for pupil in (ann, bob):
        pupil.wait(blocked(pupil, Words.paused), "the box says why")
        assert Words.was_paused in pupil.log()
        tries_to_write(pupil, "psst")
    lee.sees(Words.you_paused)
    lee.say("listen")
    everybody_sees([lee, ann, bob], "listen")
    late = person("Late")
    late.join(port(lee))
    late.wait(blocked(late, Words.paused), "latecomers are told too")
    switch(Words.resume)
    for pupil in (ann, bob, late):
        pupil.wait(lambda pupil=pupil: not pupil.chat.composer.is_blocked, "all write again")  # type: ignore[misc]
        assert Words.was_resumed in pupil.log()
    lee.wait(lambda: Words.you_paused not in lee.everything(), "the host reads no more of it")
    ann.say("now I may")
    everybody_sees([lee, ann, bob, late], "listen", "now I may")
    assert "psst" not in lee.log()


def test_while_the_room_is_paused_people_come_and_go_without_a_note(
    host: Person, ann: Person, person: Open  # noqa: F811
) -> None:
    """Otherwise somebody could talk to the class through names, which the host cannot silence."""
    host.click(host.chat.people.pause)
    ann.wait(lambda: Words.was_paused in ann.log(), "it is paused")
    late = person("Look at me")
    late.join(port(host))
    for someone in (host, ann):
        someone.wait(lambda someone=someone: "Look at me" in someone.people(), "the list shows it")  # type: ignore[misc]
    late.app.leave_room()
    for someone in (host, ann):
        someone.wait(lambda someone=someone: "Look at me" not in someone.people(), "the list shows it")  # type: ignore[misc]
    host.click(host.chat.people.pause)
    ann.wait(lambda: Words.was_resumed in ann.log(), "it goes on")
    person("Cem").join(port(host))
    for someone in (host, ann):
        someone.sees("Cem joined")
        assert "Look at me" not in someone.log()


def test_a_muted_person_stays_muted_when_the_pause_is_over(host: Person, ann: Person) -> None:  # noqa: F811
    control(host, "Ann", Words.mute)
    host.click(host.chat.people.pause)
    ann.wait(lambda: Words.was_paused in ann.log(), "it is paused")
    assert blocked(ann, Words.muted)()
    host.wait(lambda: host.chat.people.pause.cget("text") == Words.resume, "the button says so")
    host.click(host.chat.people.pause)
    ann.wait(lambda: Words.was_resumed in ann.log(), "it goes on")
    assert blocked(ann, Words.muted)()


# Deleting --------------------------------------------------------------------


def test_a_deleted_message_is_gone_from_all_windows(
    lesson: tuple[Person, Person, Person], person: Open
) -> None:
    everyone = lesson
    for number, someone in enumerate(lesson):
        someone.say(f"line {number}")
        everybody_sees([*everyone], *(f"line {n}" for n in range(number + 1)))
    delete(everyone[0], "line 1")
    late = person("Late")
    late.join(port(everyone[0]))
    for someone in (*everyone, late):
        someone.wait(lambda someone=someone: len(someone.said()) == 3, "all are there")  # type: ignore[misc]
        someone.wait(
            lambda someone=someone: someone.said() == ["line 0", Words.deleted, "line 2"],  # type: ignore[misc]
            "in its place stands what happened",
        )
        assert "line 1" not in someone.everything()
        assert "Ann\tdeleted by the host" in someone.log(), "whose it was is still to be read"
    assert Words.delete not in everyone[0].message_menu(Words.deleted)


def test_a_deleted_file_can_no_longer_be_saved(
    host: Person, ann: Person, person: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path  # noqa: F811
) -> None:
    (tmp_path / "silly.png").write_bytes(b"x" * 100)
    monkeypatch.setattr(filedialog, "askopenfilenames", lambda **_: (str(tmp_path / "silly.png"),))
    ann.click(ann.chat.file)
    for someone in (host, ann):
        someone.sees("shared silly.png")
    ann.wait(lambda: "Sending" not in ann.everything(), "all of it is sent")
    assert Words.save in host.message_menu("silly.png")
    delete(host, "silly.png")
    late = person("Late")
    late.join(port(host))
    for someone in (host, ann, late):
        someone.sees(f"Ann\t{Words.deleted}")
        assert "silly" not in someone.everything()
        assert not someone.find_link(Words.save)
        assert Words.save not in someone.message_menu(Words.deleted)


def test_when_somebody_is_removed_their_files_are_marked_as_deleted(
    lesson: tuple[Person, Person, Person], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lee, ann, bob = lesson  # noqa: F811
    (tmp_path / "silly.png").write_bytes(b"x" * 100)
    monkeypatch.setattr(filedialog, "askopenfilenames", lambda **_: (str(tmp_path / "silly.png"),))
    for sharer in (ann, bob):
        sharer.click(sharer.chat.file)
        lee.wait(lambda sharer=sharer: f"{sharer.app.name}\tshared silly.png" in lee.log(), "it is shared")  # type: ignore[misc]
    ann.say("still to be read")
    everybody_sees([lee, bob], "still to be read")
    control(lee, "Ann", Words.remove)
    for someone in (lee, bob):
        someone.sees(f"Ann\t{Words.deleted}")
        assert "Ann\tshared" not in someone.log()
        assert "Bob\tshared silly.png" in someone.log(), "only the files of the person who was removed"
        assert "still to be read" in someone.said()
        assert Words.save not in someone.message_menu(Words.deleted)


def test_a_message_is_deleted_by_keyboard_alone(host: Person, ann: Person) -> None:  # noqa: F811
    ann.say("oops")
    everybody_sees([host], "oops")
    host.chat.log.text.focus_force()
    host.press("Up")
    host.press("Menu")
    host.choose(Words.delete)
    ann.wait(lambda: ann.said() == [Words.deleted], "it is gone")


def test_nobody_but_the_host_deletes(host: Person, ann: Person) -> None:  # noqa: F811
    ann.say("mine")
    everybody_sees([host, ann], "mine")
    assert Words.delete not in ann.message_menu("mine")
    assert Words.delete not in host.message_menu("Ann joined")


@pytest.mark.parametrize("which", range(5))
def test_what_is_deleted_leaves_the_lines_around_it_alone(host: Person, which: int) -> None:  # noqa: F811
    texts = ["one", "two\nlines of it", "three", "four\nhas\nmore", "five"]
    feed(host, *(said(100 + number, text) for number, text in enumerate(texts)))
    feed(host, net.Sending(8, "on its way"), net.Sending(9, "and\nthis"))
    before = host.log()
    drawn = texts[which]
    feed(host, net.TakenBack(200, 0.0, 100 + which))
    assert host.log() == before.replace(drawn, Words.deleted)
    last = said(300, "after")
    feed(host, last)
    own = f"\n\t{Words.sending}\ton its way"
    after = f"\n{chat_gui.clock(last.time)}\tBob\tafter{own}"
    assert host.log() == before.replace(drawn, Words.deleted).replace(own, after)
    for text in (text for number, text in enumerate(texts) if number != which):
        message = host.chat.log.message_at(host.chat.log.text.search(text.split("\n")[-1], "1.0"))
        assert message is not None
        assert message.text == text


def drawn_messages(someone: Person) -> list[chat_gui.Message]:
    """What is drawn in the log, each message once; without those that are still on their way."""
    log = someone.chat.log
    last = int(log.text.index("end-1c").split(".")[0])
    found = [log.message_at(f"{line}.0") for line in range(1, last + 1)]
    return list(dict.fromkeys(message for message in found if message is not None))


def test_the_first_line_of_all_can_be_removed_while_others_are_on_their_way(host: Person) -> None:  # noqa: F811
    log = host.chat.log
    feed(host, net.Sending(8, "on its way"), said(50, "stays"))
    *before, stays = drawn_messages(host)
    assert before
    for message in before:
        log.remove(message)
    assert drawn_messages(host) == [stays]
    assert host.log() == f"{chat_gui.clock(stays.seconds)}\tBob\tstays\n\t{Words.sending}\ton its way"
    feed(host, said(51, "more"))
    assert [message.text for message in drawn_messages(host)] == ["stays", "more"]
    assert host.said() == ["stays", "more"]
    assert host.on_their_way() == ["on its way"]


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_line_that_was_not_sent_goes_from_between_the_others(host: Person, which: int) -> None:  # noqa: F811
    for number, text in enumerate(["zero\nwith more", "one", "two"]):
        feed(host, net.Sending(number, text), net.Rejected(number, "paused", ""))
    feed(host, net.Sending(9, "on its way"))
    (message,) = (each for each in drawn_messages(host) if each.text.startswith(["zero", "one", "two"][which]))
    assert message.link is not None
    before = host.log()
    message.link[1]()
    head = f"{chat_gui.clock(message.seconds)}\tMr Lee\t{message.text}\n"
    gone = f"{head}Not sent. The host paused the room.   {Words.write_again}\n"
    assert gone in before
    assert host.log() == before.replace(gone, "")
    assert host.chat.composer.get() == message.text


def test_deleting_what_is_no_longer_known_does_no_harm(host: Person) -> None:  # noqa: F811
    feed(host, net.TakenBack(100, 0.0, 5), said(101, "after"))
    assert host.said() == ["after"]


def test_what_was_deleted_before_they_came_is_only_named(host: Person) -> None:  # noqa: F811
    gone = net.Said(100, time.time(), 7, "Bob", 1, "", taken_back=True)
    gone_file = net.Shared(101, time.time(), 7, "Bob", "0" * 32, "", 0, "", taken_back=True)
    feed(host, gone, gone_file)
    assert host.said() == [Words.deleted] * 2
    assert not host.find_link(Words.save)


def test_a_room_opened_again_counts_from_one_and_deletes_its_own_lines(host: Person, ann: Person) -> None:  # noqa: F811, ARG001
    again = ann.welcome(room="another")
    feed(ann, said(100, "of the first room"), again, said(100, "of the second room"), net.TakenBack(101, 0.0, 100))
    assert ann.said() == ["of the first room", Words.deleted]
    feed(ann, said(101, "x"), ann.welcome(room="a third"), net.TakenBack(2, 0.0, 101))
    assert ann.said()[-1] == "x", "a line of the second room has the number, not of this one"


def test_the_reader_keeps_their_place_when_something_above_is_deleted(host: Person) -> None:  # noqa: F811
    feed(host, *(said(100 + i, f"line {i}\nsecond\nthird") for i in range(100)))
    log = host.chat.log.text
    host.scroll("scroll", -40, "units")
    top = log.get("@0,0 linestart", "@0,0 lineend")
    feed(host, net.TakenBack(300, 0.0, 105), said(301, "new"))
    assert log.get("@0,0 linestart", "@0,0 lineend") == top
    assert "1 new" in host.everything()
    (jump,) = (each for each in host.chat.log.frame.winfo_children() if "button" in each.winfo_class().lower())
    host.click(jump)
    feed(host, net.TakenBack(302, 0.0, 106), said(303, "newest"))
    assert log.bbox("end-2c") is not None


# Who is here ------------------------------------------------------------------


def test_the_host_comes_first_then_the_others_in_alphabetical_order(host: Person, person: Open) -> None:  # noqa: F811
    zoe = person("zoe")
    zoe.join(port(host))
    host.wait(lambda: "zoe" in host.people(), "zoe is in")
    feed(host, *(net.Joined(900 + n, 0.0, 70 + n, name) for n, name in enumerate(["bob", "Cem", "Ann", "alf"])))
    feed(zoe, *(net.Joined(900 + n, 0.0, 70 + n, name) for n, name in enumerate(["bob", "Cem", "Ann", "alf"])))
    assert host.people() == ["Mr Lee (host, you)", "alf", "Ann", "bob", "Cem", "zoe"]
    assert zoe.people() == ["Mr Lee (host)", "alf", "Ann", "bob", "Cem", "zoe (you)"]
    for someone in (host, zoe):
        assert someone.chat.people.title.cget("text") == "People (6)"


def test_forty_people_are_counted_and_can_be_scrolled_through(host: Person) -> None:  # noqa: F811
    feed(host, *(net.Joined(900 + n, 0.0, 70 + n, f"Pupil {n:02}") for n in range(39)))
    assert host.chat.people.title.cget("text") == "People (40)"
    people = host.chat.people.list
    people.focus_force()
    host.press("End")
    host.press("Menu")
    assert host.menu() == [Words.mute, Words.remove]
    assert chosen(host) == "Pupil 38"
    where = people.yview()
    assert where[0] > 0
    feed(host, net.Left(990, 0.0, 70, "Pupil 00", "left"))
    assert people.yview()[1] == 1.0, "it stays where it was scrolled to"
    assert host.chat.people.title.cget("text") == "People (39)"


# A crowd with unusual names: measuring the letters of one takes Tk milliseconds, so it must happen once and in slices.

CROWD = 1_000


def unusual(number: int) -> str:
    """A name of 32 Chinese letters that no other one has."""
    return "".join(chr(0x4E00 + (32 * number + place) % 20_000) for place in range(32))


def crowd(count: int = CROWD) -> net.Welcome:
    others = tuple((number, unusual(number)) for number in range(2, count + 1))
    return net.Welcome("0" * 32, "Room", 1, "Ann", 1, ((1, "Ann"), *others), 0, 0, 0, 0, False, False, 1)


@pytest.fixture
def list_of_people(display: Display) -> Iterator[chat_gui.People]:  # noqa: ARG001 - windows need a screen
    root = tk.Tk()
    people = chat_gui.People(root, chat_gui.Looks(root), None, lambda *_: None)
    people.frame.pack()
    yield people
    people.close()
    root.destroy()
    del root, people
    gc.collect()


@pytest.fixture
def touched(list_of_people: chat_gui.People, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The rows that the list is told to make, to change or to delete."""
    rows: list[str] = []
    table = list_of_people.list
    insert, item, delete = table.insert, table.item, table.delete

    def note_insert(parent: str, at: Any, iid: str) -> str:
        rows.append(iid)
        return insert(parent, at, iid)

    def note_item(row: str, *what: Any, **how: Any) -> Any:
        rows.append(row)
        return item(row, *what, **how)

    def note_delete(*gone: str) -> None:
        rows.extend(gone)
        delete(*gone)

    for name, noting in (("insert", note_insert), ("item", note_item), ("delete", note_delete)):
        monkeypatch.setattr(table, name, noting)
    return rows


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts whose width Tk is asked for; each takes 4 ms by a clock that stands still otherwise."""
    texts: list[str] = []
    measure = font.Font.measure

    def note(self: font.Font, text: str, **how: Any) -> int:
        texts.append(text)
        return measure(self, text, **how)

    monkeypatch.setattr(font.Font, "measure", note)
    monkeypatch.setattr(time, "perf_counter", lambda: 0.004 * len(texts))
    return texts


@pytest.fixture
def slices(list_of_people: chat_gui.People, monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """What the list asks to be called for later; the test calls it."""
    asked: list[Callable[[], None]] = []

    def after(_: int, action: Callable[[], None]) -> str:
        asked.append(action)
        return "a slice"

    monkeypatch.setattr(list_of_people.list, "after", after)
    return asked


def names_shown(people: chat_gui.People) -> list[str]:
    return [str(people.list.set(row, "name")) for row in people.list.get_children()]


def test_one_person_among_a_thousand_touches_one_row(
    list_of_people: chat_gui.People, touched: list[str]
) -> None:
    people = list_of_people
    people.begin(crowd())
    assert people.flush()
    assert people.title.cget("text") == "People (1,000)"
    touched.clear()
    people.came(5_000, unusual(5_000))
    people.flush()
    assert set(touched) == {"5000"}
    touched.clear()
    people.show_controls(net.Controls((500,), ()))
    people.flush()
    assert set(touched) == {"500"}
    touched.clear()
    people.show_controls(net.Controls((), ((5_000, unusual(5_000)),)))
    people.flush()
    assert set(touched) == {"500", "removed 5000"}
    touched.clear()
    people.went(5_000)
    people.flush()
    assert set(touched) == {"5000"}
    assert people.title.cget("text") == "People (1,000)"


def test_a_flush_without_news_touches_nothing(list_of_people: chat_gui.People, touched: list[str]) -> None:
    list_of_people.begin(crowd(30))
    list_of_people.flush()
    touched.clear()
    assert not list_of_people.flush()
    assert touched == []


def test_names_are_measured_in_slices_and_each_one_once(
    list_of_people: chat_gui.People, measured: list[str], slices: list[Callable[[], None]]
) -> None:
    names = 100
    list_of_people.begin(crowd(names))
    list_of_people.flush()
    assert measured == [], "nobody waits for it"
    assert unusual(2) in names_shown(list_of_people), "it shows at once, and is cut off where the column ends"
    count = 0
    while slices:
        (one,) = slices
        slices.clear()
        before = len(measured)
        one()
        count += 1
        names_in_slice = {text[:3] for text in measured[before:]}
        assert len(names_in_slice) <= 3, "a slice ends soon after its time is up"
    assert count > names // 4
    assert len(measured) < 10 * names, "by bisection, not letter by letter"
    shown = names_shown(list_of_people)
    assert shown[0] == "Ann (host, you)"
    assert all("\u2026" in name for name in shown[1:])
    for repeat in range(2):  # somebody who comes back has been measured already
        measured.clear()
        list_of_people.went(7)
        list_of_people.came(7, unusual(7))
        list_of_people.flush()
        assert slices == [], f"time {repeat}"
        assert measured == []
    assert "\u2026" in str(list_of_people.list.set("7", "name"))


def test_people_who_leave_before_they_are_measured_are_not_measured(
    list_of_people: chat_gui.People, measured: list[str], slices: list[Callable[[], None]]
) -> None:
    list_of_people.begin(crowd(5))
    for who in range(2, 6):
        list_of_people.went(who)
    for one in slices:
        one()
    assert not {text[:3] for text in measured} & {unusual(who)[:3] for who in range(2, 6)}
    assert names_shown(list_of_people) == ["Ann (host, you)"]


@pytest.mark.parametrize("name", ["W" * 32, "0" * 31 + "7", "1_000_" * 5, "{a} " * 8, "\u4e00" * 32])
def test_a_name_that_is_too_wide_is_shortened_in_its_middle(list_of_people: chat_gui.People, name: str) -> None:
    people = list_of_people
    people.begin(crowd(1))
    people.came(7, name)
    people.flush()
    pump_until(people.list, lambda: "\u2026" in str(people.list.set("7", "name")), "it is shortened")
    start, _, end = str(people.list.set("7", "name")).partition("\u2026")
    assert name.startswith(start)
    assert name.strip().endswith(end)


def test_an_unusual_crowd_comes_and_goes_in_the_window(host: Person) -> None:  # noqa: F811
    feed(host, *(net.Joined(1_000 + n, 0.0, 70 + n, unusual(n)) for n in range(50)))
    assert len(host.people()) == 51
    host.wait(lambda: all("\u2026" in name for name in host.people()[1:]), "all names are shortened")
    feed(host, *(net.Left(2_000 + n, 0.0, 70 + n, unusual(n), "left") for n in range(50)))
    assert host.people() == ["Mr Lee (host, you)"]


# Being noticed ----------------------------------------------------------------


@pytest.fixture
def bells(monkeypatch: pytest.MonkeyPatch) -> list[tk.Tk]:
    rung: list[tk.Tk] = []
    monkeypatch.setattr(tk.Tk, "bell", lambda root, **_: rung.append(root))
    return rung


def test_while_nobody_looks_the_title_counts_and_the_bell_rings_once(
    host: Person, ann: Person, bells: list[tk.Tk]  # noqa: F811
) -> None:
    title = ann.root.title()
    host.look_here()  # Ann's window is behind now
    for number in range(1, 4):
        host.say(f"line {number}")
        ann.wait(lambda number=number: ann.root.title() == f"({number}) {title}", "the title counts")  # type: ignore[misc]
    assert bells == [ann.root]
    ann.look_here()
    assert ann.root.title() == title
    host.look_here()
    host.say("again")
    ann.wait(lambda: ann.root.title() == f"(1) {title}", "it counts from one")
    assert bells == [ann.root, ann.root]
    assert "(" not in host.root.title(), "one's own lines are nothing new"


@pytest.mark.parametrize(
    ("text", "by_host", "rings"),
    [
        ("hello", True, True),
        ("hello", False, False),
        ("look at this, @Ann", False, True),
        ("@ann\u4f60\u597d", False, True),
        ("@Anna", False, False),
        ("Ann", False, False),
    ],
)
def test_the_bell_rings_only_for_the_host_and_for_mentions(
    host: Person, ann: Person, bells: list[tk.Tk], text: str, by_host: bool, rings: bool  # noqa: F811
) -> None:
    """Thirty computers that beep at everything would be a nuisance."""
    title = ann.root.title()
    host.look_here()
    feed(ann, said(500, text, who=ann.chat.welcome.host or 0 if by_host else 77))
    assert ann.root.title() == f"(1) {title}", "the title counts everything"
    assert bells == [ann.root] * rings


def test_a_file_of_the_host_rings_and_one_of_somebody_else_does_not(
    host: Person, ann: Person, bells: list[tk.Tk]  # noqa: F811
) -> None:
    host.look_here()
    feed(ann, net.Shared(505, 0.0, 77, "Bob", "0" * 32, "map.png", 5, "0" * 64))
    assert bells == []
    feed(ann, net.Shared(506, 0.0, ann.chat.welcome.host or 0, "Mr Lee", "1" * 32, "map.png", 5, "0" * 64))
    assert bells == [ann.root]


def test_while_they_look_nothing_rings(host: Person, ann: Person, bells: list[tk.Tk]) -> None:  # noqa: F811
    title = ann.root.title()
    ann.look_here()
    feed(ann, said(500, "hello"))
    assert ann.said() == ["hello"]
    assert ann.root.title() == title
    assert bells == []
    host.look_here()
    feed(ann, net.Joined(501, 0.0, 9, "Bob"), net.Left(502, 0.0, 9, "Bob", "left"), net.Paused(503, 0.0, True))
    feed(ann, said(504, "mine", who=ann.chat.welcome.who, name="Ann", ident=99))
    assert ann.root.title() == title, "only what somebody else said is counted"
    assert bells == []
    feed(ann, net.Shared(505, 0.0, 9, "Bob", "0" * 32, "map.png", 5, "0" * 64))
    assert ann.root.title() == f"(1) {title}", "a file is"


def test_the_history_never_rings(host: Person, person: Open, bells: list[tk.Tk]) -> None:  # noqa: F811
    for text in ("one", "two"):
        host.say(text)
        everybody_sees([host], text) if text == "one" else everybody_sees([host], "one", "two")
    late = person("Late")
    host.look_here()
    late.app.join("127.0.0.1", port(host))
    late.wait(lambda: isinstance(late.app.page, chat_gui.ChatPage) and late.said() == ["one", "two"], "it is joined")
    assert late.root.title() == f"Mr Lee's room - {Words.program}"
    assert bells == []
    host.say("three")
    late.wait(lambda: late.root.title().startswith("(1) "), "what comes after it counts")
    assert bells == [late.root]


def test_what_was_said_during_a_break_counts(host: Person, person: Open, bells: list[tk.Tk]) -> None:  # noqa: F811
    host.say("before")
    everybody_sees([host], "before")
    with Proxy(port(host)) as proxy:
        ann = person("Ann")
        ann.join(proxy.port)
        everybody_sees([ann], "before")
        title = ann.root.title()
        proxy.refuse()
        proxy.cut()
        ann.wait(lambda: "was lost" in ann.status(), "the loss is told")
        host.say("one")
        host.say("two")
        everybody_sees([host], "one", "two")
        proxy.refuse(False)
        everybody_sees([ann], "before", "one", "two")
        assert ann.root.title() == f"(2) {title}"
        assert bells == [ann.root]
        ann.app.leave("")


def test_the_history_of_a_room_that_was_opened_again_is_nothing_new(
    host: Person, person: Open, bells: list[tk.Tk]  # noqa: F811
) -> None:
    title = host.root.title()
    welcome = host.welcome(room="another", history=1)
    person("Ann").look_here()
    feed(host, welcome, said(1, "of its history"))
    assert host.root.title() == title
    assert bells == []


def test_leaving_forgets_what_was_not_read(host: Person, ann: Person, bells: list[tk.Tk]) -> None:  # noqa: F811
    host.look_here()
    feed(ann, said(500, "hello @Ann"))
    assert bells == [ann.root]
    ann.app.leave_room()
    assert ann.root.title() == Words.program
    host.look_here()
    ann.app.join("127.0.0.1", port(host))
    ann.wait(lambda: isinstance(ann.app.page, chat_gui.ChatPage), "the room is joined")
    assert not ann.root.title().startswith("(")


def mentioned(someone: Person) -> list[str]:
    """What stands out in the log."""
    log = someone.chat.log.text
    ranges = [str(index) for index in log.tag_ranges("mention")]
    return [log.get(start, end) for start, end in zip(ranges[::2], ranges[1::2], strict=True)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("@Ann look", ["@Ann"]),
        ("look, @ann!", ["@ann"]),
        ("@ANN, @Ann. (@Ann)", ["@ANN", "@Ann", "@Ann"]),
        ("@Anna and @Ann 2 and @Ann2 and @Ann_b", []),
        ("Ann", []),
        ("two\nlines @Ann", ["@Ann"]),
        ("http://example.org/@Ann", []),
        ("@Ann http://example.org @Ann", ["@Ann", "@Ann"]),
        ("@Ann\u4f60\u597d and \u4f60\u597d@Ann\u3055\u3093", ["@Ann", "@Ann"]),
    ],
)
def test_a_mention_stands_out(host: Person, ann: Person, text: str, found: list[str]) -> None:  # noqa: F811
    for someone in (ann, host):
        feed(someone, said(500, text))
    assert mentioned(ann) == found
    assert mentioned(host) == []
    assert text in ann.log(), "all of it is drawn, once"


def test_a_name_full_of_signs_is_mentioned_like_any_other(host: Person, person: Open) -> None:  # noqa: F811
    someone = person("a.b (c) [d+")
    someone.join(port(host))
    feed(someone, said(500, "@a.b (c) [d+ and @axb (c) [d+"))
    assert mentioned(someone) == ["@a.b (c) [d+"]


def test_a_name_with_a_number_is_mentioned_with_it(host: Person, ann: Person, person: Open) -> None:  # noqa: F811
    other = person("Ann")
    other.join(port(host))
    other.wait(lambda: "Ann 2 (you)" in other.people(), "the room has given a number")
    feed(other, said(500, "@Ann 2: not @Ann"))
    feed(ann, said(500, "@Ann 2: not @Ann"))
    assert mentioned(other) == ["@Ann 2"]
    assert mentioned(ann) == ["@Ann"]


FACES = "".join(map(chr, range(0x1F600, 0x1F620)))  # more kinds than X11 is given to draw


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (f"see https://example.org/{'x' * 2_500}. And more", f"https://example.org/{'x' * 2_500}"),
        ("\u8bf7\u770bhttps://example.org/" + "\u4f60" * 600 + "\u3002\u597d", "https://example.org/" + "\u4f60" * 600),
        (f"{FACES}\thttps://example.org/{FACES} {FACES}", f"https://example.org/{FACES}"),
        ("(https://example.org/Mercury_(planet))", "https://example.org/Mercury_(planet)"),
    ],
    ids=["long", "Chinese", "emoji", "brackets"],
)
def test_a_click_on_a_link_opens_exactly_the_address_that_was_sent(
    host: Person, monkeypatch: pytest.MonkeyPatch, text: str, address: str  # noqa: F811
) -> None:
    """A long one is drawn on several lines, and not every emoji is drawn."""
    opened: list[str] = []
    monkeypatch.setattr(chat_gui, "show_page", opened.append)
    feed(host, said(100, text))
    log = host.chat.log.text
    _, end = log.tag_ranges("link")
    x, y, width, height = log.bbox(f"{end} -1c") or (0, 0, 0, 0)  # its end shows, however long it is
    host.click(log, x + width // 2, y + height // 2)
    assert opened == [address]
    assert log.get("1.0", "end").count(chat_gui.drawable(text)) == 1, "all of it is drawn, once"
