"""The join page and the host's page: rooms that are found, and words that help where one cannot be reached."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from types import SimpleNamespace
from unittest.mock import patch

import pytest

import chat_gui
import net
from tests.helpers import LIMIT, LOOPBACK, Proxy, needs_tls, nobodys_port, own_ports
from tests.windows import FakeFinder, Open, Person, everybody_sees, feed, find, room_at, rows

Words = chat_gui.Words
Joined = list[tuple[str, int, str]]


@pytest.fixture
def ann(person: Open, finders: list[FakeFinder]) -> Person:  # noqa: ARG001 - before the page asks for one
    """Somebody at the join page."""
    someone = person("Ann")
    someone.click(someone.first_page.join)
    return someone


@pytest.fixture
def joined(ann: Person) -> Joined:
    """The addresses, ports and passwords that are joined; nothing else happens then."""
    attempts: Joined = []
    ann.app.join = lambda *where: attempts.append(where)  # type: ignore[method-assign]
    return attempts


LEE, KIM = room_at(5252), room_at(5253, "Ms Kim's room")
LEES, KIMS, TYPED = "127.0.0.1", "127.0.0.1:5253", "10.0.0.9"  # addresses, as they stand in the box


def click_room(person: Person, clicked: net.FoundRoom, times: int = 1) -> None:
    person.click_row(person.join_page.list, chat_gui.join_address(clicked.address, clicked.port), times)


# Rooms that are found ---------------------------------------------------------


def test_host_join_enter_and_they_are_together(person: Open, lee: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    with own_ports() as ports:
        monkeypatch.setattr(net, "PORTS", ports)
        lee.app.host(port=ports[0])
        lee.wait_until_in()
        ann = person("Ann")
        ann.click(ann.first_page.join)
        ann.wait(lambda: rows(ann.join_page.list) == [" Mr Lee's room 1 person "], "the room is found")
        ann.look_here()
        ann.press("Return")
        ann.wait_until_in()
        lee.wait(lambda: lee.people() == ["Mr Lee (host, you)", "Ann"], "Ann is in")


def test_rooms_show_their_title_people_and_password(ann: Person) -> None:
    shown, heading = ann.join_page.list, ann.join_page.heading
    assert heading.cget("text") == Words.looking
    hostile = room_at(1, "a{b [exit] \u202e\U0001f600", people=1_000)
    find(ann, hostile, room_at(2, "Secret", password=True))
    assert rows(shown) == [" a{b [exit] \U0001f600 1,000 people ", " Secret 1 person password"]
    assert heading.cget("text") == Words.found
    find(ann, room_at(2, "Secret", people=2, password=True))
    assert rows(shown) == [" Secret 2 people password"]


def test_keys_that_come_before_the_page_is_drawn_join_the_chosen_room(
    ann: Person, joined: Joined, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann.click(ann.join_page.back)
    monkeypatch.setattr(chat_gui, "NOTHING_FOUND_AFTER", 0.0)
    ann.first_page.join.invoke()
    ann.join_page.show_rooms((LEE, KIM))
    ann.look_here()
    ann.wait(lambda: ann.root.focus_get() is ann.join_page.list, "the list has the keyboard")
    assert Words.nothing_found not in ann.everything()
    for key in ("<Down>", "<Return>"):  # both are pressed before Tk tells what is chosen
        ann.join_page.list.event_generate(key, when="tail")
    ann.root.update()
    assert joined == [(LOOPBACK, 5253, "")]


def test_a_click_fills_the_address_box_and_a_double_click_enter_or_the_button_join(ann: Person, joined: Joined) -> None:
    find(ann, LEE, KIM)
    page = ann.join_page
    for clicked, address in ((KIM, KIMS), (LEE, LEES), (KIM, KIMS)):
        click_room(ann, clicked)
        assert page.address.get() == address
    for _ in range(2):
        ann.click(page.list, 20, page.list.winfo_height() - 3)
    assert joined == [], "one click, and a double click below the rooms, join nothing"
    ann.rest(page.list)
    ann.press("Return")
    ann.click(page.join)
    click_room(ann, KIM, times=2)
    assert joined == [(LOOPBACK, 5253, "")] * 3


def test_the_keyboard_alone_chooses_a_room_where_none_is_chosen(ann: Person) -> None:
    for key, address in (("Down", LEES), ("Up", KIMS)):
        find(ann)
        ann.type_into(ann.join_page.address, TYPED)
        find(ann, LEE, KIM)
        assert ann.join_page.list.selection() == ()
        ann.focus(ann.join_page.list)
        ann.press(key)
        assert ann.join_page.address.get() == address


def test_join_always_joins_the_address_in_the_box(ann: Person, joined: Joined) -> None:
    find(ann, KIM)
    click_room(ann, KIM)
    page = ann.join_page
    ann.type_into(page.address, TYPED)
    assert page.list.selection() == (), "what is typed replaces what was chosen"
    for place in (page.list, page.address, page.password.entry):
        place.focus_force()
        ann.press("Return")
    ann.click(page.join)
    assert joined == [(TYPED, 5252, "")] * 4
    ann.type_into(page.address, "1.2.3.4:0")
    ann.press("Return")
    assert ann.status() == Words.port_wrong.format(text="0")


def test_an_id_or_title_that_comes_twice_shows_addresses_and_each_row_joins_there(ann: Person, joined: Joined) -> None:
    """One of them may be an impostor's."""
    shown = ann.join_page.list
    impostors = dataclasses.replace(LEE, address="10.0.0.66", people=30)
    find(ann, LEE, KIM, impostors)
    lees, kims, others = rows(shown)
    assert sorted([lees, others]) == [" Mr Lee's room (10.0.0.66) 30 people ", " Mr Lee's room (127.0.0.1) 1 person "]
    assert kims == " Ms Kim's room 1 person "
    for each in (impostors, LEE):
        click_room(ann, each)
        ann.press("Return")
    assert joined == [("10.0.0.66", 5252, ""), (LOOPBACK, 5252, "")]
    find(ann, LEE, dataclasses.replace(impostors, room="another id"))
    assert rows(shown) == [" Mr Lee's room (127.0.0.1) 1 person ", " Mr Lee's room (10.0.0.66) 30 people "]


def test_a_room_stays_chosen_whatever_else_is_found(ann: Person, joined: Joined) -> None:
    find(ann, LEE, KIM)
    ann.look_here()
    ann.press("Down")
    more = dataclasses.replace(KIM, people=2)
    find(ann, dataclasses.replace(KIM, address="10.0.0.66"), LEE, more, room_at(3, "Third"))
    assert ann.join_page.list.selection() == (KIMS,)
    find(ann, LEE)
    assert ann.join_page.address.get() == KIMS, "it may answer again"
    ann.press("Return")
    assert joined == [(LOOPBACK, 5253, "")]


@needs_tls
def test_a_room_that_is_found_while_somebody_types_takes_the_keyboard_from_no_box(ann: Person) -> None:
    for box in (ann.join_page.password.entry, ann.join_page.address):
        find(ann)
        ann.type_into(box, "192.168.")
        find(ann, LEE)
        ann.type("1.20")
        assert box.get() == "192.168.1.20"


def test_asking_goes_on_while_joining_and_stops_when_the_page_is_left(ann: Person, stack: contextlib.ExitStack) -> None:
    first = FakeFinder.newest
    address = f"{LOOPBACK}:{nobodys_port(stack)}"
    ann.type_into(ann.join_page.address, address)
    ann.press("Return")
    assert not first.is_closed
    ann.wait(lambda: ann.app.session is None, "it has failed")
    assert ann.status() == Words.cannot_join[net.Trouble.NOBODY_LISTENS].format(address=address)
    assert (FakeFinder.newest, first.is_closed) == (first, False)
    ann.click(ann.join_page.back)
    assert FakeFinder.newest.is_closed
    ann.click(ann.first_page.join)
    assert ann.join_page.address.get() == address, "what was typed is still there"
    ann.app.close()
    assert FakeFinder.newest.is_closed


def test_when_nothing_is_found_the_page_says_what_else_to_do(ann: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_gui, "NOTHING_FOUND_AFTER", 0.0)
    ann.click(ann.join_page.back)
    ann.click(ann.first_page.join)
    ann.sees(Words.nothing_found)
    find(ann, LEE)
    assert Words.nothing_found not in ann.everything()


# Saying why -------------------------------------------------------------------

NO_ANSWER, NO_ROUTE = net.Trouble.NO_ANSWER, net.Trouble.NO_ROUTE


def fail(person: Person, trouble: net.Trouble) -> str:
    """The attempt to join ends with this trouble; what the page says then."""
    feed(person, net.Lost(trouble, 1.0))
    assert person.app.session is None
    return person.status()


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Attempts to join neither succeed nor fail, until the test says so. These are the tokens that were shown."""
    tokens: list[str] = []

    def run_client(*_where: object, token: str, **_more: object) -> SimpleNamespace:
        tokens.append(token)
        return SimpleNamespace(close=lambda: None, join=lambda: True)

    monkeypatch.setattr(net, "run_client", run_client)
    return tokens


@pytest.mark.usefixtures("finders")
def test_each_room_is_shown_a_token_of_its_own_and_the_same_one_again(person: Open, stuck: list[str]) -> None:
    """So no room learns a token that is worth anything in another one."""
    someone = person("Ann")
    for address, on_port in (("10.0.0.9", 5252), ("10.0.0.9", 5253), ("10.0.0.8", 5252)):
        someone.app.join(address, on_port)
    assert len(set(stuck)) == 3
    someone.app.join("10.0.0.9", 5252)
    assert stuck[3] == stuck[0]
    person("Bob").app.join("10.0.0.9", 5252)
    assert stuck[4] not in stuck[:4], "another window is another person"


@pytest.mark.usefixtures("stuck")
def test_a_room_that_is_found_but_not_reached_is_behind_a_firewall_and_others_may_be_anything(ann: Person) -> None:
    find(ann, KIM)
    for address, trouble, system, words in (
        (KIMS, NO_ANSWER, "linux", Words.firewall),
        (LEES, NO_ANSWER, "linux", Words.cannot_join[NO_ANSWER]),
        (TYPED, NO_ROUTE, "linux", Words.cannot_join[NO_ROUTE]),
        (TYPED, NO_ROUTE, "darwin", Words.not_allowed),
    ):
        ann.type_into(ann.join_page.address, address)
        ann.press("Return")
        with patch.object(sys, "platform", system):
            assert fail(ann, trouble) == words.format(address=address)
        assert [*ann.join_page.rooms] == [KIMS], "the list is still there"
        assert ann.join_page.address.get() == address
        assert ann.join_page.join.instate(["!disabled"]), "everything is ready for another try"


@pytest.mark.usefixtures("stuck")
def test_waiting_ends_with_a_failure_or_back_or_escape(ann: Person) -> None:
    for over in ("failure", "back", "Escape"):
        ann.app.join(TYPED, 5252)
        assert ann.status() == Words.connecting.format(address=TYPED)
        feed(ann, net.Lost(net.Trouble.WAIT, 1_000.0))
        assert ann.status().startswith(Words.waiting[net.Trouble.WAIT].format(address=TYPED) + " Trying again in ")
        assert ann.join_page.join.instate(["disabled"]), "it is being tried already"
        if over == "failure":
            assert fail(ann, NO_ANSWER) == Words.cannot_join[NO_ANSWER].format(address=TYPED)
        else:
            ann.look_here()
            ann.click(ann.join_page.back) if over == "back" else ann.press("Escape")
            assert ann.status() == ""
            ann.click(ann.first_page.join)
            assert ann.status() == ""
        assert ann.app.session is None
        assert ann.join_page.join.instate(["!disabled"])


# In the room ------------------------------------------------------------------


def found_again(person: Person, on_port: int) -> net.FoundRoom:
    """The room in which this person is, as it answers from this port."""
    return dataclasses.replace(room_at(on_port), room=person.chat.welcome.room)


@pytest.fixture
def away(ann: Person, lee: Person, stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    """Ann is in Mr Lee's room, but the address that she came to answers no longer."""
    monkeypatch.setattr(chat_gui, "MOVED_AFTER", 0.0)
    proxy = stack.enter_context(Proxy(lee.host()))
    ann.join(proxy.port)
    lose(ann, proxy)
    return proxy


def lose(person: Person, proxy: Proxy) -> None:
    proxy.refuse()
    proxy.cut()
    person.wait(lambda: person.chat.stage is chat_gui.Stage.AWAY, "the loss is noticed")


@pytest.mark.usefixtures("away")
def test_a_room_that_moved_is_offered_and_one_click_goes_there(ann: Person, lee: Person) -> None:
    ann.say("on its way")
    FakeFinder.newest.found(found_again(ann, lee.chat.port))
    ann.sees(Words.moved.format(room="Mr Lee's room", address=f"{LOOPBACK}:{lee.chat.port}"))
    assert ann.root.focus_lastfor() is ann.box, "a person who types is not disturbed"
    ann.click(ann.chat.question.yes)
    assert not ann.chat.question.is_open
    ann.wait_until_in()
    assert ann.chat.header.address.cget("text") == f"{LOOPBACK}:{lee.chat.port}"
    assert "Not sent. There was no connection to the room." in ann.log(), "an open room may be an impostor's"
    assert FakeFinder.newest.is_closed
    ann.say("here I am")
    lee.wait(lambda: lee.said() == ["here I am"], "the host reads it")
    ann.wait(lambda: ann.said()[-1] == "here I am", "Ann, too")
    ann.say("exit")
    ann.click(ann.first_page.join)
    assert ann.join_page.address.get() == f"{LOOPBACK}:{lee.chat.port}", "the next time begins there"


@needs_tls
def test_a_visit_to_a_locked_room_that_moved_goes_on(ann: Person, lee: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_gui, "MOVED_AFTER", 0.0)
    lee.app.password = "qw3-6q2"
    with Proxy(lee.host()) as proxy:
        ann.app.join(LOOPBACK, proxy.port, "qw3-6q2")
        ann.wait_until_in()
        lose(ann, proxy)
        ann.say("meanwhile")
        lee.say("missed")
        lee.wait(lambda: lee.said() == ["missed"], "it is said")
        FakeFinder.newest.found(found_again(ann, lee.chat.port))
        ann.wait(lambda: ann.chat.question.is_open, "it is offered")
        ann.click(ann.chat.question.yes)
        everybody_sees([ann, lee], "missed", "meanwhile")
        assert lee.people() == ["Mr Lee (host, you)", "Ann"], "the same person"


def test_only_the_same_room_elsewhere_is_offered_after_a_long_silence(ann: Person, lee: Person, away: Proxy) -> None:
    elsewhere, here = found_again(ann, lee.chat.port), found_again(ann, away.port)

    def is_not_asked(*rooms: net.FoundRoom) -> None:
        FakeFinder.newest.found(*rooms)
        ann.wait(FakeFinder.newest.events.empty, "it is taken")
        ann.settle(0.1)
        assert not ann.chat.question.is_open

    with patch.object(chat_gui, "MOVED_AFTER", 1_000.0):
        is_not_asked(elsewhere)
        is_not_asked()
    is_not_asked(dataclasses.replace(elsewhere, room="another"))
    is_not_asked(here)
    is_not_asked(elsewhere, here)
    FakeFinder.newest.found(elsewhere)
    ann.wait(lambda: ann.chat.question.is_open, "it is offered")
    assert not FakeFinder.newest.is_closed
    ann.app.leave_room()
    assert FakeFinder.newest.is_closed, "leaving stops the search"


def test_a_person_who_waits_is_asked_at_the_next_break_until_it_is_over(ann: Person, lee: Person, away: Proxy) -> None:
    elsewhere = found_again(ann, lee.chat.port)
    FakeFinder.newest.found(elsewhere)
    ann.wait(lambda: ann.chat.question.is_open, "it is offered")
    ann.click(ann.chat.question.no)
    FakeFinder.newest.found(dataclasses.replace(elsewhere, people=3))
    ann.settle(0.2)
    assert not ann.chat.question.is_open
    assert ann.root.focus_lastfor() is ann.box
    away.refuse(False)
    ann.wait_until_in()
    lose(ann, away)
    ann.settle(0.1)
    assert not ann.chat.question.is_open, "what was found during the last break is old"
    FakeFinder.newest.found(elsewhere)
    ann.wait(lambda: ann.chat.question.is_open, "it is offered again")
    ann.focus(ann.chat.question.yes)
    away.refuse(False)
    ann.wait_until_in()
    assert not ann.chat.question.is_open, "the room answers again"
    assert ann.root.focus_lastfor() is ann.box
    assert FakeFinder.newest.is_closed
    lose(ann, away)
    finder = FakeFinder.newest
    assert not finder.is_closed
    feed(ann, net.Refused("removed", ""))
    assert finder.is_closed, "the visit is over"


@pytest.fixture
def hosting(lee: Person, monkeypatch: pytest.MonkeyPatch) -> str:
    """Mr Lee's room is open, and his computer has one address; the port as it is shown there."""
    monkeypatch.setattr(net, "local_addresses", lambda: ["10.0.0.1"])
    lee.host()
    lee.sees("10.0.0.1")
    return f":{lee.chat.port}"


def test_a_host_alone_reads_what_the_others_do_and_the_others_do_not(lee: Person, hosting: str, person: Open) -> None:
    lee.sees(Words.nobody_yet.format(room="Mr Lee's room", address=f"10.0.0.1{hosting}"))
    ann = person("Ann")
    ann.join(lee.chat.port)
    assert not ann.chat.notice.winfo_ismapped()
    assert not ann.chat.header.copy.winfo_ismapped()
    lee.wait(lambda: not lee.chat.notice.winfo_ismapped(), "that is over when somebody has come")
    ann.say("exit")
    lee.wait(lambda: "Ann left" in lee.log(), "Ann has left")
    assert not lee.chat.notice.winfo_ismapped()


def test_the_host_sees_the_addresses_as_they_change_and_whether_others_find_the_room(
    lee: Person, hosting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_gui, "COPIED_TIME", int(LIMIT * 1000))
    header = lee.chat.header
    assert not header.more.winfo_ismapped()
    feed(lee, net.Reachable(("10.0.0.7", "192.168.5.1", "172.17.0.1"), True))
    assert header.address.cget("text") == f"10.0.0.7{hosting}"
    lee.click(header.copy)
    assert lee.root.clipboard_get() == f"10.0.0.7{hosting}"
    assert header.copy.cget("text") == Words.copied
    assert header.more.cget("text") == "2 more"
    others = f"192.168.5.1{hosting}, 172.17.0.1{hosting}"
    lee.click(header.more)
    assert others in lee.everything()
    lee.click(header.more)
    assert others not in lee.everything()
    feed(lee, net.Reachable((), True))
    assert header.address.cget("text") == Words.no_address
    feed(lee, net.Reachable(("10.0.0.1",), False))
    assert Words.not_findable.format(address=f"10.0.0.1{hosting}") in lee.everything()
