"""A lesson: what the host can do, what the others see of it, and who is called while they look elsewhere."""

from __future__ import annotations

import time
import tkinter as tk
from collections.abc import Callable
from pathlib import Path
from tkinter import filedialog

import pytest

import chat_gui
import net
from tests.helpers import Proxy
from tests.test_window import ann, everybody_sees, feed, host, port, said  # noqa: F401 - fixtures
from tests.windows import Open, Person

Words = chat_gui.Words
WAYS = ["right click", "bar", "Return", "KP_Enter", "Menu", "Shift-F10"]


@pytest.fixture(autouse=True)
def unposted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """A posted menu waits for a real mouse; here it is only filled. Where it would have been posted."""
    places: list[tuple[int, int]] = []
    monkeypatch.setattr(tk.Menu, "tk_popup", lambda _, x, y: places.append((x, y)))
    return places


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


def control(someone: Person, name: str, words: str, way: str = "bar") -> None:
    """Does this to somebody in the list of people, once the list shows that there is something to undo."""
    if words == Words.unmute:
        someone.wait(lambda: f"{name} (muted)" in someone.people(), f"{name} is marked as muted")
    people = someone.chat.people.list
    line = line_of(someone, name)
    people.see(line)
    someone.root.update()
    x, y, width, height = people.bbox(line) or (0, 0, 0, 0)
    if way == "right click":
        someone.right_click(people, x + width // 2, y + height // 2)
        someone.choose(words)
    elif way == "bar":
        someone.click(people, x + width // 2, y + height // 2)
        (button,) = (b for b in (someone.chat.people.mute, someone.chat.people.remove) if b.cget("text") == words)
        someone.click(button)
    else:
        people.focus_force()
        someone.press("Home" if line == 0 else "Control-Home", *["Down"] * line)
        someone.press(way)
        someone.choose(words)


def entry_menu(someone: Person, text: str) -> list[str]:
    """The menu of the entry with this text."""
    log = someone.chat.log.text
    place = log.search(text, "1.0")
    assert place, someone.log()
    log.see(place)
    someone.root.update()
    x, y, width, height = log.bbox(place) or (0, 0, 0, 0)
    someone.right_click(log, x + width // 2, y + height // 2)
    return someone.menu()


def take_back(someone: Person, text: str) -> None:
    assert Words.take_it_back in entry_menu(someone, text)
    someone.choose(Words.take_it_back)


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
    assert "Not sent. The host has muted you." in host.log()
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
    ann.wait(lambda: ann.chat.over, "Ann is out")
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


def test_who_was_removed_can_only_be_let_in_again(lesson: tuple[Person, Person, Person]) -> None:
    lee, _, _ = lesson
    control(lee, "Ann", Words.mute)
    control(lee, "Ann", Words.remove)
    lee.wait(lambda: lee.people() == ["Mr Lee (host, you)", "Bob", "Ann (removed)"], "Ann is out")
    people = lee.chat.people.list
    x, y, _, height = people.bbox(line_of(lee, "Ann")) or (0, 0, 0, 0)
    lee.right_click(people, x + 1, y + height // 2)
    assert lee.menu() == [Words.let_in]
    assert lee.chat.people.mute.instate(["disabled"])
    assert lee.chat.people.remove.cget("text") == Words.let_in


def test_the_host_cannot_be_muted_or_removed(host: Person, ann: Person) -> None:  # noqa: F811, ARG001
    host.wait(lambda: len(host.people()) == 2, "Ann is in")
    control(host, "Ann", Words.mute)
    host.wait(lambda: host.people()[1] == "Ann (muted)", "a menu would be filled")
    host.chat.menu.delete(0, "end")
    people = host.chat.people.list
    x, y, _, height = people.bbox(0) or (0, 0, 0, 0)
    host.right_click(people, x + 1, y + height // 2)
    assert host.menu() == []
    assert host.chat.people.mute.instate(["disabled"])
    assert host.chat.people.remove.instate(["disabled"])


@pytest.mark.usefixtures("ann")
def test_a_right_click_below_the_last_person_is_about_nobody(host: Person, unposted: list[tuple[int, int]]) -> None:  # noqa: F811
    people = host.chat.people.list
    x, y, _, height = people.bbox("end") or (0, 0, 0, 0)
    host.right_click(people, x + 1, y + height)
    assert unposted == []
    assert host.chat.people.chosen_line() is None
    host.right_click(people, x + 1, y + height - 1)
    assert len(unposted) == 1
    assert host.people()[host.chat.people.chosen_line() or 0] == "Ann"


def test_only_the_host_has_controls(host: Person, ann: Person) -> None:  # noqa: F811
    assert {Words.mute, Words.remove, Words.pause} <= set(host.everything().split("\n"))
    assert not {Words.mute, Words.remove, Words.pause} & set(ann.everything().split("\n"))
    x, y, _, height = ann.chat.people.list.bbox(0) or (0, 0, 0, 0)
    ann.right_click(ann.chat.people.list, x + 1, y + height // 2)
    assert ann.menu() == []
    ann.click(ann.chat.menu_button)
    assert Words.pause not in ann.menu()


def test_nobody_is_chosen_at_first_and_the_controls_say_so(host: Person) -> None:  # noqa: F811
    assert host.chat.people.mute.instate(["disabled"])
    assert host.chat.people.remove.instate(["disabled"])
    assert host.chat.people.pause.instate(["!disabled"])


def test_somebody_the_room_does_not_know_any_more_is_told_in_plain_words(host: Person) -> None:  # noqa: F811
    feed(host, net.Joined(900, 0.0, 77, "Ghost"))
    control(host, "Ghost", Words.mute)
    host.wait(lambda: host.log().count(Words.not_known) == 1, "it is told")
    feed(host, said(10_000, "of a ghost"))
    take_back(host, "of a ghost")
    host.wait(lambda: host.log().count(Words.not_known) == 2, "it is told again")
    assert host.status() == Words.connected, "the status is the connection's alone"


def test_the_choice_stays_with_the_person_while_others_come_and_go(host: Person, ann: Person) -> None:  # noqa: F811, ARG001
    feed(host, *(net.Joined(900 + n, 0.0, 70 + n, name) for n, name in enumerate(["Bob", "Cem", "Dan"])))
    host.chat.people.list.focus_force()
    host.press("Control-Home", "Down", "Down")
    assert host.people()[host.chat.people.chosen_line() or 0] == "Bob"
    feed(host, net.Joined(910, 0.0, 80, "Aaron"))
    assert host.people()[host.chat.people.chosen_line() or 0] == "Bob"
    host.press("Down")
    assert host.people()[host.chat.people.chosen_line() or 0] == "Cem", "the keyboard goes on from there"
    feed(host, net.Left(911, 0.0, 71, "Cem", "left"))
    assert host.chat.people.chosen_line() is None
    assert host.chat.people.remove.instate(["disabled"]), "not somebody else by mistake"
    host.press("Control-Home")
    feed(host, net.Joined(912, 0.0, 81, "Zoe"))
    assert host.chat.people.chosen_line() == 0, "one's own line stays chosen too"
    host.press("Down")
    assert host.people()[host.chat.people.chosen_line() or 0] == "Aaron"


def test_a_menu_that_is_still_open_when_its_person_has_left_harms_nobody(host: Person, ann: Person) -> None:  # noqa: F811, ARG001
    feed(host, net.Joined(900, 0.0, 70, "Zoe"))
    people = host.chat.people.list
    x, y, _, height = people.bbox(line_of(host, "Zoe")) or (0, 0, 0, 0)
    host.right_click(people, x + 1, y + height // 2)
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
            lee.click(lee.chat.menu_button)
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
    late.wait(blocked(late, Words.paused), "who comes late is told too")
    switch(Words.go_on)
    for pupil in (ann, bob, late):
        pupil.wait(lambda pupil=pupil: not pupil.chat.composer.is_blocked, "all write again")  # type: ignore[misc]
        assert Words.goes_on in pupil.log()
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
    ann.wait(lambda: Words.goes_on in ann.log(), "it goes on")
    person("Cem").join(port(host))
    for someone in (host, ann):
        someone.sees("Cem joined")
        assert "Look at me" not in someone.log()


def test_who_is_muted_stays_so_when_the_pause_is_over(host: Person, ann: Person) -> None:  # noqa: F811
    control(host, "Ann", Words.mute)
    host.click(host.chat.people.pause)
    ann.wait(lambda: Words.was_paused in ann.log(), "it is paused")
    assert blocked(ann, Words.muted)()
    host.wait(lambda: host.chat.people.pause.cget("text") == Words.go_on, "the button says so")
    host.click(host.chat.people.pause)
    ann.wait(lambda: Words.goes_on in ann.log(), "it goes on")
    assert blocked(ann, Words.muted)()


# Taking back ------------------------------------------------------------------


def test_a_message_that_is_taken_back_is_gone_from_all_windows(
    lesson: tuple[Person, Person, Person], person: Open
) -> None:
    everyone = lesson
    for number, someone in enumerate(lesson):
        someone.say(f"line {number}")
        everybody_sees([*everyone], *(f"line {n}" for n in range(number + 1)))
    take_back(everyone[0], "line 1")
    late = person("Late")
    late.join(port(everyone[0]))
    for someone in (*everyone, late):
        someone.wait(lambda someone=someone: len(someone.said()) == 3, "all are there")  # type: ignore[misc]
        someone.wait(
            lambda someone=someone: someone.said() == ["line 0", Words.taken_back, "line 2"],  # type: ignore[misc]
            "in its place stands what happened",
        )
        assert "line 1" not in someone.everything()
        assert "Ann\ttaken back by the host" in someone.log(), "whose it was is still to be read"
    assert Words.take_it_back not in entry_menu(everyone[0], Words.taken_back)


def test_a_file_that_is_taken_back_cannot_be_saved_any_more(
    host: Person, ann: Person, person: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path  # noqa: F811
) -> None:
    (tmp_path / "silly.png").write_bytes(b"x" * 100)
    monkeypatch.setattr(filedialog, "askopenfilenames", lambda **_: (str(tmp_path / "silly.png"),))
    ann.click(ann.chat.file)
    for someone in (host, ann):
        someone.sees("shared silly.png")
    ann.wait(lambda: "Sending" not in ann.everything(), "all of it is sent")
    assert Words.save in entry_menu(host, "silly.png")
    take_back(host, "silly.png")
    late = person("Late")
    late.join(port(host))
    for someone in (host, ann, late):
        someone.sees(f"Ann\t{Words.taken_back}")
        assert "silly" not in someone.everything()
        assert not someone._link(Words.save)
        assert Words.save not in entry_menu(someone, Words.taken_back)


def test_a_message_is_taken_back_by_keyboard_alone(host: Person, ann: Person) -> None:  # noqa: F811
    ann.say("oops")
    everybody_sees([host], "oops")
    host.chat.log.text.focus_force()
    host.press("Up")
    host.press("Menu")
    host.choose(Words.take_it_back)
    ann.wait(lambda: ann.said() == [Words.taken_back], "it is gone")


def test_nobody_but_the_host_takes_back(host: Person, ann: Person) -> None:  # noqa: F811
    ann.say("mine")
    everybody_sees([host, ann], "mine")
    assert Words.take_it_back not in entry_menu(ann, "mine")
    assert Words.take_it_back not in entry_menu(host, "Ann joined")


@pytest.mark.parametrize("which", range(5))
def test_what_is_taken_back_leaves_the_lines_around_it_alone(host: Person, which: int) -> None:  # noqa: F811
    texts = ["one", "two\nlines of it", "three", "four\nhas\nmore", "five"]
    feed(host, *(said(100 + number, text) for number, text in enumerate(texts)))
    feed(host, net.Sending(8, "on its way"), net.Sending(9, "and\nthis"))
    before = host.log()
    drawn = texts[which]
    feed(host, net.TakenBack(200, 0.0, 100 + which))
    assert host.log() == before.replace(drawn, Words.taken_back)
    last = said(300, "after")
    feed(host, last)
    own = f"\n\t{Words.sending}\ton its way"
    after = f"\n{chat_gui.clock(last.time)}\tBob\tafter{own}"
    assert host.log() == before.replace(drawn, Words.taken_back).replace(own, after)
    for text in (text for number, text in enumerate(texts) if number != which):
        entry = host.chat.log.entry_at(host.chat.log.text.search(text.split("\n")[-1], "1.0"))
        assert entry is not None
        assert entry.text == text


def test_the_first_line_of_all_can_be_removed_while_others_are_on_their_way(host: Person) -> None:  # noqa: F811
    log = host.chat.log
    feed(host, net.Sending(8, "on its way"), said(50, "stays"))
    first, stays = log._entries[0], log._entries[-1]
    while log._entries[0] is not stays:
        log.remove(log._entries[0])
    assert first not in log._entries
    assert host.log() == f"{chat_gui.clock(stays.seconds)}\tBob\tstays\n\t{Words.sending}\ton its way"
    feed(host, said(51, "more"))
    assert [entry.text for entry in log._entries] == ["stays", "more"]
    assert host.said() == ["stays", "more"]
    assert host.on_their_way() == ["on its way"]


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_line_that_was_not_sent_goes_from_between_the_others(host: Person, which: int) -> None:  # noqa: F811
    for number, text in enumerate(["zero\nwith more", "one", "two"]):
        feed(host, net.Sending(number, text), net.Rejected(number, "paused", ""))
    feed(host, net.Sending(9, "on its way"))
    (entry,) = (each for each in host.chat.log._entries if each.text.startswith(["zero", "one", "two"][which]))
    assert entry.link is not None
    before = host.log()
    entry.link[1]()
    head = f"{chat_gui.clock(entry.seconds)}\tMr Lee\t{entry.text}\n"
    gone = f"{head}Not sent. The host has paused the room.   {Words.write_again}\n"
    assert gone in before
    assert host.log() == before.replace(gone, "")
    assert host.chat.composer.get() == entry.text


def test_taking_back_what_is_not_known_any_more_does_no_harm(host: Person) -> None:  # noqa: F811
    feed(host, net.TakenBack(100, 0.0, 5), said(101, "after"))
    assert host.said() == ["after"]


def test_what_was_taken_back_before_they_came_is_only_named(host: Person) -> None:  # noqa: F811
    gone = net.Said(100, time.time(), 7, "Bob", 1, "", taken_back=True)
    gone_file = net.Shared(101, time.time(), 7, "Bob", "0" * 32, "", 0, "", taken_back=True)
    feed(host, gone, gone_file)
    assert host.said() == [Words.taken_back] * 2
    assert not host._link(Words.save)


def test_a_room_opened_again_counts_from_one_and_takes_back_its_own_lines(host: Person, ann: Person) -> None:  # noqa: F811, ARG001
    again = net.Welcome(**{**vars(ann.chat._welcome), "room": "another", "history": 0})
    feed(ann, said(100, "of the first room"), again, said(100, "of the second room"), net.TakenBack(101, 0.0, 100))
    assert ann.said() == ["of the first room", Words.taken_back]
    feed(ann, said(101, "x"), net.Welcome(**{**vars(again), "room": "a third"}), net.TakenBack(2, 0.0, 101))
    assert ann.said()[-1] == "x", "a line of the second room has the number, not of this one"


def test_the_reader_keeps_their_place_when_something_above_is_taken_back(host: Person) -> None:  # noqa: F811
    feed(host, *(said(100 + i, f"line {i}\nsecond\nthird") for i in range(100)))
    log = host.chat.log.text
    host.scroll("scroll", -40, "units")
    top = log.get("@0,0 linestart", "@0,0 lineend")
    feed(host, net.TakenBack(300, 0.0, 105), said(301, "new"))
    assert log.get("@0,0 linestart", "@0,0 lineend") == top
    assert "1 new" in host.everything()
    host.click(host.chat.log._jump)
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
    host.press("Control-End")
    host.press("Menu")
    assert host.menu() == [Words.mute, Words.remove]
    assert host.people()[host.chat.people.chosen_line() or 0] == "Pupil 38"
    where = people.yview()
    assert where[0] > 0
    feed(host, net.Left(990, 0.0, 70, "Pupil 00", "left"))
    assert people.yview()[1] == 1.0, "it stays where it was scrolled to"
    assert host.chat.people.title.cget("text") == "People (39)"


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


def test_while_they_look_nothing_rings(host: Person, ann: Person, bells: list[tk.Tk]) -> None:  # noqa: F811
    title = ann.root.title()
    ann.look_here()
    feed(ann, said(500, "hello"))
    assert ann.said() == ["hello"]
    assert ann.root.title() == title
    assert bells == []
    host.look_here()
    feed(ann, net.Joined(501, 0.0, 9, "Bob"), net.Left(502, 0.0, 9, "Bob", "left"), net.Paused(503, 0.0, True))
    feed(ann, said(504, "mine", who=ann.chat._welcome.who, name="Ann", ident=99))
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
    welcome = net.Welcome(**{**vars(host.chat._welcome), "room": "another", "history": 1})
    person("Ann").look_here()
    feed(host, welcome, said(1, "of its history"))
    assert host.root.title() == title
    assert bells == []


def test_leaving_forgets_what_was_not_read(host: Person, ann: Person, bells: list[tk.Tk]) -> None:  # noqa: F811
    host.look_here()
    feed(ann, said(500, "hello"))
    assert bells == [ann.root]
    ann.app.leave_room()
    assert ann.root.title() == Words.program
    host.look_here()
    ann.app.join("127.0.0.1", port(host))
    ann.wait(lambda: isinstance(ann.app.page, chat_gui.ChatPage), "the room is joined")
    assert not ann.root.title().startswith("(")


def called(someone: Person) -> list[str]:
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
    ],
)
def test_a_call_by_name_stands_out(host: Person, ann: Person, text: str, found: list[str]) -> None:  # noqa: F811
    for someone in (ann, host):
        feed(someone, said(500, text))
    assert called(ann) == found
    assert called(host) == []
    assert text in ann.log(), "all of it is drawn, once"


def test_a_name_full_of_signs_is_called_like_any_other(host: Person, person: Open) -> None:  # noqa: F811
    someone = person("a.b (c) [d+")
    someone.join(port(host))
    feed(someone, said(500, "@a.b (c) [d+ and @axb (c) [d+"))
    assert called(someone) == ["@a.b (c) [d+"]


def test_who_was_given_a_number_is_called_with_it(host: Person, ann: Person, person: Open) -> None:  # noqa: F811
    other = person("Ann")
    other.join(port(host))
    other.wait(lambda: "Ann 2 (you)" in other.people(), "the room has given a number")
    feed(other, said(500, "@Ann 2: not @Ann"))
    feed(ann, said(500, "@Ann 2: not @Ann"))
    assert called(other) == ["@Ann 2"]
    assert called(ann) == ["@Ann"]
