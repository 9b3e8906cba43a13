"""The join page and the host's page: rooms that are found, and words that help where one cannot be reached."""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import socket
import sys
from collections.abc import Callable, Iterator

import pytest

import chat_gui
import net
from tests.helpers import LOOPBACK, Display, Proxy, needs_tls, port_of
from tests.test_finding import own_ports
from tests.windows import FakeFinder, Open, Person

Words = chat_gui.Words


@pytest.fixture
def ann(display: Display, finders: list[FakeFinder]) -> Iterator[Person]:  # noqa: ARG001 - before the first page
    """Somebody at the join page."""
    person = Person("Ann")
    person.click(person.first_page.join)
    yield person
    person.close()


@pytest.fixture
def lee(display: Display) -> Iterator[Person]:  # noqa: ARG001 - windows need a screen
    person = Person("Mr Lee")
    yield person
    person.close()


Joined = list[tuple[str, int, str]]


@pytest.fixture
def joined(ann: Person) -> Joined:
    """The addresses, ports and passwords that are joined; nothing else happens then."""
    rooms: Joined = []
    ann.app.join = lambda *where: rooms.append(where)  # type: ignore[method-assign]
    return rooms


def room(port: int, title: str = "Mr Lee's room", people: int = 1, password: bool = False) -> net.FoundRoom:
    return net.FoundRoom(f"id of {title}", title, "127.0.0.1", port, people, password)


def rows(person: Person) -> list[tuple[str, ...]]:
    page = person.join_page
    return [tuple(str(value).strip() for value in page.list.item(row, "values")) for row in page.list.get_children()]


def shows(person: Person, *expected: tuple[str, ...]) -> None:
    person.wait(lambda: rows(person) == [*expected], f"the rooms {expected}")


# Rooms that are found ---------------------------------------------------------


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> Iterator[range]:
    with own_ports() as ten:
        monkeypatch.setattr(net, "PORTS", ten)
        yield ten


@pytest.mark.usefixtures("display")
def test_host_join_enter_and_they_are_together(lee: Person, ports: range) -> None:
    lee.app.host(port=ports[0])
    lee.wait(lambda: isinstance(lee.app.page, chat_gui.ChatPage), "the room is open")
    ann = Person("Ann")
    try:
        ann.click(ann.first_page.join)
        shows(ann, ("Mr Lee's room", "1 person", ""))
        ann.look_here()
        ann.press("Return")
        ann.wait(lambda: isinstance(ann.app.page, chat_gui.ChatPage), "the room is joined")
        lee.wait(lambda: lee.people() == ["Mr Lee (host, you)", "Ann"], "Ann is in")
    finally:
        ann.close()


def test_rooms_show_their_title_people_and_password(ann: Person, finders: list[FakeFinder]) -> None:
    assert ann.join_page.heading.cget("text") == Words.looking
    finders[0].found(room(1, people=12), room(2, "Secret", people=1, password=True))
    shows(ann, ("Mr Lee's room", "12 people", ""), ("Secret", "1 person", "password"))
    assert ann.join_page.heading.cget("text") == Words.found
    finders[0].found(room(2, "Secret", people=2, password=True))
    shows(ann, ("Secret", "2 people", "password"))


def test_a_hostile_title_and_number_do_no_harm(ann: Person, finders: list[FakeFinder]) -> None:
    finders[0].found(room(1, "a{b [exit] \u202e\U0001f600", people=1_000))
    shows(ann, ("a{b [exit] \U0001f600", "1,000 people", ""))


def test_the_keyboard_alone_joins_the_second_of_two_rooms(
    ann: Person, finders: list[FakeFinder], joined: Joined
) -> None:
    finders[0].found(room(5252), room(5253, "Ms Kim's room"))
    shows(ann, ("Mr Lee's room", "1 person", ""), ("Ms Kim's room", "1 person", ""))
    ann.look_here()
    ann.press("Down", "Return")
    assert joined == [("127.0.0.1", 5253, "")]


def test_a_room_that_is_heard_before_the_page_is_drawn_is_joined_by_enter(
    person: Open, finders: list[FakeFinder]
) -> None:
    joined: list[tuple[str, int, str]] = []
    ann = person("Ann")
    ann.app.join = lambda *where: joined.append(where)  # type: ignore[method-assign]
    ann.first_page.join.invoke()
    assert finders, "it looks for rooms"
    ann.join_page.show_rooms((room(5252),))
    ann.look_here()
    ann.wait(lambda: ann.root.focus_get() is ann.join_page.list, "the list has the keyboard")
    ann.press("Return")
    assert joined == [("127.0.0.1", 5252, "")]


def click_row(person: Person, of_room: net.FoundRoom) -> None:
    x, y, width, height = map(int, person.join_page.list.bbox(chat_gui.row_of(of_room)))
    person.click(person.join_page.list, x + width // 2, y + height // 2)
    # Tk takes clicks that follow quickly for a double click; a person rests in between, or moves.
    person.join_page.list.event_generate("<Motion>", x=0, y=0)
    person.join_page.list.event_generate("<ButtonPress-2>", x=0, y=0)
    person.join_page.list.event_generate("<ButtonRelease-2>", x=0, y=0)
    person.root.update()


def test_one_click_fills_the_address_box_and_enter_joins(
    ann: Person, finders: list[FakeFinder], joined: Joined
) -> None:
    finders[0].found(room(5252), room(5253, "Ms Kim's room"))
    shows(ann, ("Mr Lee's room", "1 person", ""), ("Ms Kim's room", "1 person", ""))
    for on_port, title in ((5253, "Ms Kim's room"), (5252, "Mr Lee's room"), (5253, "Ms Kim's room")):
        click_row(ann, room(on_port, title))
        assert ann.join_page.address.get() == chat_gui.join_address("127.0.0.1", on_port)
    assert joined == [], "a click joins nothing yet"
    ann.press("Return")
    assert joined == [("127.0.0.1", 5253, "")]


def test_one_click_and_the_button_join(ann: Person, finders: list[FakeFinder], joined: Joined) -> None:
    finders[0].found(room(5253))
    shows(ann, ("Mr Lee's room", "1 person", ""))
    click_row(ann, room(5253))
    ann.click(ann.join_page.join)
    assert joined == [("127.0.0.1", 5253, "")]


def double_click(person: Person, y: int) -> None:
    rooms = person.join_page.list
    for _ in range(2):
        rooms.event_generate("<ButtonPress-1>", x=20, y=y)
        rooms.event_generate("<ButtonRelease-1>", x=20, y=y)
    person.root.update()


def test_a_double_click_joins(ann: Person, finders: list[FakeFinder], joined: Joined) -> None:
    finders[0].found(room(5252), room(5253, "Ms Kim's room"))
    shows(ann, ("Mr Lee's room", "1 person", ""), ("Ms Kim's room", "1 person", ""))
    _, y, _, height = map(int, ann.join_page.list.bbox(chat_gui.row_of(room(5253, "Ms Kim's room"))))
    double_click(ann, y + height // 2)
    assert joined == [("127.0.0.1", 5253, "")]
    assert ann.join_page.address.get() == "127.0.0.1:5253"


def test_keys_that_come_faster_than_tk_tells_what_is_chosen_join_the_chosen_room(
    ann: Person, finders: list[FakeFinder], joined: Joined
) -> None:
    finders[0].found(room(5252), room(5253, "Ms Kim's room"))
    shows(ann, ("Mr Lee's room", "1 person", ""), ("Ms Kim's room", "1 person", ""))
    ann.look_here()
    for key in ("<Down>", "<Return>"):  # both are pressed before the window does anything
        ann.join_page.list.event_generate(key, when="tail")
    ann.root.update()
    assert joined == [("127.0.0.1", 5253, "")]


@pytest.mark.parametrize(("key", "on_port"), [("Down", 5252), ("Up", 5253), ("Home", 5252), ("End", 5253)])
def test_the_keyboard_alone_chooses_a_room_where_none_is_chosen(
    ann: Person, finders: list[FakeFinder], key: str, on_port: int
) -> None:
    ann.type("10.0.0.9")
    finders[0].found(room(5252), room(5253, "Ms Kim's room"))
    shows(ann, ("Mr Lee's room", "1 person", ""), ("Ms Kim's room", "1 person", ""))
    assert ann.join_page.list.selection() == ()
    ann.join_page.list.focus_force()
    ann.press(key)
    assert ann.join_page.address.get() == chat_gui.join_address("127.0.0.1", on_port)


@pytest.mark.parametrize("way", ["the list", "the address", "the password", "the button"])
def test_join_always_joins_the_address_in_the_box(
    ann: Person, finders: list[FakeFinder], joined: Joined, way: str
) -> None:
    finders[0].found(room(5253))
    shows(ann, ("Mr Lee's room", "1 person", ""))
    click_row(ann, room(5253))
    page = ann.join_page
    page.address.focus_force()
    page.address.selection_range(0, "end")
    ann.type("10.0.0.9")
    assert page.list.selection() == (), "what is typed replaces what was chosen"
    places = {"the list": page.list, "the address": page.address, "the password": page.password.entry}
    if way in places:
        places[way].focus_force()
        ann.press("Return")
    else:
        ann.click(page.join)
    assert joined == [("10.0.0.9", 5252, "")]


def test_an_id_at_two_addresses_has_a_row_for_each_which_shows_its_address_and_joins_there(
    ann: Person, finders: list[FakeFinder], joined: Joined
) -> None:
    """One of them may be an impostor's."""
    lees = room(5252)
    impostors = dataclasses.replace(lees, address="10.0.0.66", people=30)
    finders[0].found(lees)
    shows(ann, ("Mr Lee's room", "1 person", ""))
    finders[0].found(lees, impostors)
    shows(ann, ("Mr Lee's room (127.0.0.1)", "1 person", ""), ("Mr Lee's room (10.0.0.66)", "30 people", ""))
    for each in (impostors, lees):
        click_row(ann, each)
        ann.press("Return")
    assert joined == [("10.0.0.66", 5252, ""), ("127.0.0.1", 5252, "")]
    finders[0].found(lees)
    shows(ann, ("Mr Lee's room", "1 person", ""))


def test_two_rooms_of_one_title_show_their_addresses(ann: Person, finders: list[FakeFinder]) -> None:
    another = net.FoundRoom("another id", "Mr Lee's room", "10.0.0.66", 5252, 1, False)
    finders[0].found(room(5252), room(5253, "Chess club"), another)
    shows(
        ann,
        ("Mr Lee's room (127.0.0.1)", "1 person", ""),
        ("Chess club", "1 person", ""),
        ("Mr Lee's room (10.0.0.66)", "1 person", ""),
    )


def test_a_room_that_is_chosen_stays_so_when_somebody_else_answers_with_its_id(
    ann: Person, finders: list[FakeFinder], joined: Joined
) -> None:
    lees = room(5252)
    finders[0].found(lees)
    shows(ann, ("Mr Lee's room", "1 person", ""))
    ann.look_here()
    finders[0].found(dataclasses.replace(lees, address="10.0.0.66"), lees)
    ann.wait(lambda: len(rows(ann)) == 2, "both rows are shown")
    ann.press("Return")
    assert joined == [("127.0.0.1", 5252, "")]


def test_a_double_click_beside_the_rooms_joins_none(ann: Person, finders: list[FakeFinder], joined: Joined) -> None:
    finders[0].found(room(5252))
    shows(ann, ("Mr Lee's room", "1 person", ""))
    double_click(ann, ann.join_page.list.winfo_height() - 3)
    assert joined == []


KIM = "127.0.0.1:2"
LEE = "127.0.0.1:1"
TYPED = "10.0.0.9"


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (["click Lee", "choose Kim"], KIM),
        (["type", "click Lee", "choose Kim"], KIM),
        (["type", "try", "choose Kim"], KIM),
        (["choose Kim"], KIM),
        (["click Lee", "choose Kim", "type"], TYPED),
        (["choose Kim", "type"], TYPED),
        (["click Lee", "type"], TYPED),
        (["type", "try"], TYPED),
        (["click Lee"], LEE),
        (["type", "click Lee"], LEE),
        (["click Kim", "Kim is gone"], KIM),
        (["click Kim", "Kim is gone", "Lee is gone"], KIM),
        ([], LEE),
    ],
    ids=lambda value: ", ".join(value) or "nothing" if isinstance(value, list) else "",
)
def test_enter_in_the_password_box_joins_what_was_typed_or_chosen_last(
    ann: Person,
    finders: list[FakeFinder],
    joined: Joined,
    monkeypatch: pytest.MonkeyPatch,
    steps: list[str],
    expected: str,
) -> None:
    monkeypatch.setattr(net, "CAN_ENCRYPT", True)
    ann.click(ann.join_page.back)
    ann.click(ann.first_page.join)
    page = ann.join_page
    lee, kim = room(1, password=True), room(2, "Ms Kim's room", password=True)
    finders[-1].found(lee, kim)
    ann.wait(lambda: len(rows(ann)) == 2, "both rooms are shown")
    for step in steps:
        if step.startswith("click"):
            click_row(ann, lee if "Lee" in step else kim)
        elif step == "choose Kim":
            page.list.focus_force()
            ann.press("End")
        elif step == "type":
            page.address.focus_force()
            page.address.selection_range(0, "end")
            ann.type(TYPED)
        elif step == "try":
            ann.press("Return")
        else:
            finders[-1].found(*((lee,) if step == "Kim is gone" else ()))
            ann.wait(lambda: len(rows(ann)) == (step == "Kim is gone"), "it is gone")  # noqa: B023 - waited for at once
    assert page.address.get() == expected, "it stands in the box"
    joined.clear()
    page.password.entry.focus_force()
    ann.type("secret")
    ann.press("Return")
    assert joined == [(*chat_gui.parse_address(expected), "secret")]


def test_a_room_that_comes_while_an_address_is_typed_takes_nothing_away(
    ann: Person, finders: list[FakeFinder]
) -> None:
    ann.type("192.168.")
    finders[0].found(room(5252))
    shows(ann, ("Mr Lee's room", "1 person", ""))
    ann.type("1.20")
    assert ann.join_page.address.get() == "192.168.1.20"


def test_a_room_that_comes_while_a_password_is_typed_takes_nothing_away(
    ann: Person, finders: list[FakeFinder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "CAN_ENCRYPT", True)
    ann.click(ann.join_page.back)
    ann.click(ann.first_page.join)
    ann.join_page.password.entry.focus_force()
    ann.type("sec")
    finders[-1].found(room(5252, password=True))
    shows(ann, ("Mr Lee's room", "1 person", "password"))
    ann.type("ret")
    assert ann.join_page.password.get() == "secret"


def test_what_is_chosen_stays_chosen(ann: Person, finders: list[FakeFinder]) -> None:
    finders[0].found(room(1), room(2, "Ms Kim's room"))
    shows(ann, ("Mr Lee's room", "1 person", ""), ("Ms Kim's room", "1 person", ""))
    ann.look_here()
    ann.press("Down")
    finders[0].found(room(1, people=2), room(2, "Ms Kim's room"), room(3, "Third"))
    ann.wait(lambda: len(rows(ann)) == 3, "three rooms")
    assert ann.join_page.list.selection() == (chat_gui.row_of(room(2, "Ms Kim's room")),)


def test_asking_goes_on_while_joining_and_stops_when_the_page_is_left(
    ann: Person, finders: list[FakeFinder]
) -> None:
    with socket.socket() as deaf:  # has a port, so that nobody else can be there, and does not listen
        deaf.bind((LOOPBACK, 0))
        ann.app.join(LOOPBACK, port_of(deaf))
        assert not finders[0].is_closed()
        ann.wait(lambda: ann.app.session is None, "it has failed")
    assert not finders[0].is_closed()
    ann.click(ann.join_page.back)
    assert finders[0].is_closed()
    assert len(finders) == 1


def test_closing_the_window_stops_the_asking(display: Display, finders: list[FakeFinder]) -> None:
    del display
    person = Person("Ann")
    person.click(person.first_page.join)
    person.close()
    assert finders[0].is_closed()


# Saying why -------------------------------------------------------------------


def fail(person: Person, trouble: net.Trouble) -> str:
    """The attempt to join ends with this trouble; what the page says then."""
    assert person.app.session is not None
    person.app.session.events.put(net.Lost(trouble, 1.0))
    person.wait(lambda: person.app.session is None, "the attempt has ended")
    return str(person.join_page.message.cget("text"))


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Attempts to join neither succeed nor fail, until the test says so. These are the tokens that were shown."""
    tokens: list[str] = []

    class Nowhere:
        def __init__(
            self, address: str, _name: str, _events: object, *, port: int, token: str, password: str | None
        ) -> None:
            del password
            self.address, self.port = address, port
            tokens.append(token)

        def close(self) -> None:
            pass

        def join(self) -> bool:
            return True

    monkeypatch.setattr(net, "run_client", Nowhere)
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
@pytest.mark.parametrize("trouble", [net.Trouble.NO_ANSWER, net.Trouble.NO_ROUTE])
def test_a_room_that_is_heard_but_not_reached_is_behind_a_firewall(
    ann: Person, finders: list[FakeFinder], trouble: net.Trouble
) -> None:
    finders[0].found(room(5253))
    shows(ann, ("Mr Lee's room", "1 person", ""))
    ann.app.join("127.0.0.1", 5253)
    text = fail(ann, trouble)
    assert text == Words.firewall.format(address="127.0.0.1:5253")
    for step in ("1.", "2.", "3.", "Cancel", "undo"):
        assert step in text
    assert rows(ann) == [("Mr Lee's room", "1 person", "")], "the list is still there"


@pytest.mark.usefixtures("stuck")
def test_a_room_that_is_not_heard_and_not_reached_may_be_anything(ann: Person, finders: list[FakeFinder]) -> None:
    finders[0].found(room(5253))
    shows(ann, ("Mr Lee's room", "1 person", ""))
    ann.app.join("127.0.0.1", 5252)
    text = fail(ann, net.Trouble.NO_ANSWER)
    assert "either the address is wrong, or a firewall" in text.lower()


@pytest.mark.usefixtures("stuck", "finders")
@pytest.mark.parametrize("system", ["linux", "darwin"])
def test_no_route_is_explained_on_macos(ann: Person, monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    ann.app.join("10.0.0.9", 5252)
    monkeypatch.setattr(sys, "platform", system)
    text = fail(ann, net.Trouble.NO_ROUTE)
    assert ("Local Network" in text) == (system == "darwin")


@pytest.mark.usefixtures("stuck", "finders")
def test_after_a_failure_everything_is_ready_for_another_try(ann: Person) -> None:
    ann.type("10.0.0.9")
    ann.press("Return")
    fail(ann, net.Trouble.NO_ANSWER)
    assert ann.join_page.address.get() == "10.0.0.9"
    ann.press("Return")
    assert ann.app.session is not None


def test_when_nothing_is_heard_the_page_says_what_else_can_be_done(
    ann: Person, finders: list[FakeFinder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_gui, "NOTHING_FOUND_AFTER", 1)
    ann.click(ann.join_page.back)
    ann.click(ann.first_page.join)
    ann.sees(Words.nothing_found)
    finders[-1].found(room(5252))
    ann.wait(lambda: Words.nothing_found not in ann.everything(), "that is over when a room is heard")


def test_nothing_is_said_too_early(ann: Person, finders: list[FakeFinder]) -> None:
    del finders
    assert chat_gui.NOTHING_FOUND_AFTER == 10_000
    ann.settle(0.2)
    assert Words.nothing_found not in ann.everything()


# Waiting ----------------------------------------------------------------------


def tell_window(person: Person, event: net.Event) -> None:
    """As its client would."""
    assert person.app.session is not None
    person.app.session.events.put(event)


def message(person: Person) -> str:
    return str(person.join_page.message.cget("text"))


def welcome(title: str = "Mr Lee's room") -> net.Welcome:
    return net.Welcome("0" * 32, title, 2, "Ann", 1, ((1, "Mr Lee"), (2, "Ann")), 0, 0, 0, 0, False, False, 1)


@pytest.mark.usefixtures("stuck", "finders")
@pytest.mark.parametrize("trouble", [net.Trouble.FULL, net.Trouble.WAIT])
def test_a_window_that_is_told_to_wait_counts_down_and_gets_in(ann: Person, trouble: net.Trouble) -> None:
    ann.app.join("10.0.0.9", 5252)
    tell_window(ann, net.Lost(trouble, 1.5))
    words = Words.waiting[trouble].format(address="10.0.0.9")
    for rest in ("Trying again in 2 s.", "Trying again in 1 s.", Words.again_now):
        ann.wait(lambda rest=rest: message(ann) == f"{words} {rest}", f"the page says: {rest}")  # type: ignore[misc]
    assert ann.join_page.join.instate(["disabled"]), "it is being tried already"
    tell_window(ann, net.Lost(trouble, 30.0))
    ann.wait(lambda: "Trying again in 30 s." in message(ann), "it is told to wait again")
    tell_window(ann, welcome())
    ann.wait(lambda: isinstance(ann.app.page, chat_gui.ChatPage), "it got in")


@pytest.mark.usefixtures("stuck", "finders")
def test_waiting_can_be_ended(ann: Person) -> None:
    ann.app.join("10.0.0.9", 5252)
    tell_window(ann, net.Lost(net.Trouble.WAIT, 60.0))
    ann.wait(lambda: "Trying again in" in message(ann), "it waits")
    ann.click(ann.join_page.back)
    assert ann.app.session is None
    ann.click(ann.first_page.join)
    ann.settle(0.1)
    assert message(ann) == ""
    assert ann.join_page.join.instate(["!disabled"])


@pytest.mark.usefixtures("stuck", "finders")
def test_what_ends_the_waiting_is_told(ann: Person) -> None:
    ann.app.join("10.0.0.9", 5252)
    tell_window(ann, net.Lost(net.Trouble.FULL, 60.0))
    ann.wait(lambda: "Trying again in" in message(ann), "it waits")
    assert fail(ann, net.Trouble.NOBODY_LISTENS) == Words.cannot_join[net.Trouble.NOBODY_LISTENS].format(
        address="10.0.0.9"
    )
    ann.settle(0.1)
    assert "Trying again" not in message(ann)
    assert ann.join_page.join.instate(["!disabled"])


@pytest.mark.usefixtures("stuck", "finders")
@pytest.mark.parametrize(
    "end", [net.Refused("moon", "Your account has expired."), net.Closed("Your account has expired.")]
)
def test_the_words_of_a_room_that_lets_nobody_in_are_told_as_the_rooms(ann: Person, end: net.Event) -> None:
    ann.app.join("10.0.0.9", 5252)
    tell_window(ann, end)
    ann.wait(lambda: message(ann) == 'The room says: "Your account has expired."', "it is told")


# The room moved ---------------------------------------------------------------


def found_again(person: Person, address: str, on_port: int) -> net.FoundRoom:
    """The room in which this person is, as it answers from there."""
    here = person.chat.welcome
    return net.FoundRoom(here.room, here.title, address, on_port, 2, False)


def is_asked(person: Person) -> bool:
    return person.chat.question.is_open


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


def moved_words(on_port: int) -> str:
    return Words.moved.format(room="Mr Lee's room", address=f"{LOOPBACK}:{on_port}")


@pytest.mark.usefixtures("away")
def test_a_room_that_moved_is_offered_and_one_click_goes_there(
    ann: Person, lee: Person, finders: list[FakeFinder]
) -> None:
    ann.say("on its way")
    finders[-1].found(found_again(ann, LOOPBACK, port(lee)))
    ann.sees(moved_words(port(lee)))
    assert ann.chat.composer.text is ann.root.focus_lastfor(), "whoever types is not disturbed"
    ann.click(ann.chat.question.yes)
    assert not is_asked(ann)
    ann.wait(lambda: ann.chat.stage is chat_gui.Stage.IN, "Ann is in again")
    assert ann.chat.header.address.cget("text") == f"{LOOPBACK}:{port(lee)}"
    assert "Not sent. There was no connection to the room." in ann.log(), "an open room may be an impostor's"
    assert finders[-1].is_closed()
    ann.say("here I am")
    lee.wait(lambda: lee.said() == ["here I am"], "the host hears it")
    ann.wait(lambda: ann.said()[-1] == "here I am", "Ann, too")
    ann.say("exit")
    ann.click(ann.first_page.join)
    assert ann.join_page.address.get() == f"{LOOPBACK}:{port(lee)}", "the next time begins there"


@needs_tls
def test_a_room_with_a_password_that_moved_goes_on_where_it_was(
    ann: Person,
    lee: Person,
    finders: list[FakeFinder],
    stack: contextlib.ExitStack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chat_gui, "MOVED_AFTER", 0.0)
    lee.app.password = "qw3-6q2"
    proxy = stack.enter_context(Proxy(lee.host()))
    ann.app.join(LOOPBACK, proxy.port, "qw3-6q2")
    ann.wait(lambda: isinstance(ann.app.page, chat_gui.ChatPage), "the room is joined")
    ann.say("before")
    lee.wait(lambda: lee.said() == ["before"], "it is heard")
    lose(ann, proxy)
    ann.say("meanwhile")
    lee.say("missed")
    finders[-1].found(found_again(ann, LOOPBACK, port(lee)))
    ann.sees(moved_words(port(lee)))
    ann.click(ann.chat.question.yes)
    for someone in (ann, lee):
        someone.wait(
            lambda someone=someone: someone.said() == ["before", "missed", "meanwhile"],  # type: ignore[misc]
            "each line is there once",
        )
    assert lee.people() == ["Mr Lee (host, you)", "Ann"], "the same person"


def test_a_room_that_moved_is_not_offered_too_early(
    ann: Person, lee: Person, finders: list[FakeFinder], away: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    del away
    monkeypatch.setattr(chat_gui, "MOVED_AFTER", 20.0)
    finders[-1].found(found_again(ann, LOOPBACK, port(lee)))
    ann.wait(finders[-1].events.empty, "it is taken")
    ann.settle(0.2)
    assert not is_asked(ann)


def test_only_the_same_room_elsewhere_is_offered_and_only_if_it_is_heard_here_no_longer(
    ann: Person, lee: Person, finders: list[FakeFinder], away: Proxy
) -> None:
    elsewhere, here = found_again(ann, LOOPBACK, port(lee)), found_again(ann, LOOPBACK, away.port)
    for rooms in [(), (dataclasses.replace(elsewhere, room="another"),), (here,), (elsewhere, here)]:
        finders[-1].found(*rooms)
        ann.wait(finders[-1].events.empty, "it is taken")
        ann.settle(0.1)
        assert not is_asked(ann)
    finders[-1].found(elsewhere)
    ann.wait(lambda: is_asked(ann), "it is offered")


@pytest.mark.parametrize("way", ["button", "Escape"])
def test_a_person_who_waits_is_not_asked_again_until_the_next_break(
    ann: Person, lee: Person, finders: list[FakeFinder], away: Proxy, way: str
) -> None:
    elsewhere = found_again(ann, LOOPBACK, port(lee))
    finders[-1].found(elsewhere)
    ann.wait(lambda: is_asked(ann), "it is offered")
    if way == "button":
        ann.click(ann.chat.question.no)
    else:
        ann.look_here()
        ann.press("Escape")
    finders[-1].found(dataclasses.replace(elsewhere, people=3))
    ann.settle(0.2)
    assert not is_asked(ann)
    assert ann.root.focus_lastfor() is ann.chat.composer.text
    away.refuse(False)
    ann.wait(lambda: ann.chat.stage is chat_gui.Stage.IN, "the room is back")
    lose(ann, away)
    ann.settle(0.1)
    assert not is_asked(ann), "what was heard during the last break is old"
    finders[-1].found(elsewhere)
    ann.wait(lambda: is_asked(ann), "it is offered again")


def test_when_the_room_answers_again_the_question_goes_and_the_keyboard_is_with_the_composer(
    ann: Person, lee: Person, finders: list[FakeFinder], away: Proxy
) -> None:
    finders[-1].found(found_again(ann, LOOPBACK, port(lee)))
    ann.wait(lambda: is_asked(ann), "it is offered")
    ann.chat.question.yes.focus_force()
    away.refuse(False)
    ann.wait(lambda: ann.chat.stage is chat_gui.Stage.IN, "the room is back")
    assert not is_asked(ann)
    assert ann.root.focus_lastfor() is ann.chat.composer.text
    assert finders[-1].is_closed()


def test_leaving_during_a_break_stops_the_asking(ann: Person, finders: list[FakeFinder], away: Proxy) -> None:
    del away
    assert not finders[-1].is_closed()
    ann.app.leave_room()
    assert finders[-1].is_closed()


# The host's page --------------------------------------------------------------

Tell = Callable[[net.Reachable], None]


@pytest.fixture
def tell(lee: Person, monkeypatch: pytest.MonkeyPatch) -> Tell:
    """Opens Mr Lee's room, and tells his window where it can be reached."""
    monkeypatch.setattr(net, "local_addresses", lambda: ["10.0.0.1"])
    lee.host()
    lee.sees("10.0.0.1")

    def put(reachable: net.Reachable) -> None:
        assert lee.app.session is not None
        lee.app.session.events.put(reachable)
        events: queue.Queue[net.Event] = lee.app.session.events
        lee.wait(events.empty, "it is taken")
        lee.settle()

    return put


def port(person: Person) -> int:
    return person.chat.port


def test_a_host_alone_reads_what_the_others_do(lee: Person, tell: Tell) -> None:
    del tell
    text = lee.chat.notice.cget("text")
    assert text == Words.nobody_yet.format(room="Mr Lee's room", address=f"10.0.0.1:{port(lee)}")
    assert lee.chat.notice.winfo_ismapped()
    assert "Windows asks" in text
    ann = Person("Ann")
    try:
        ann.join(port(lee))
        lee.wait(lambda: not lee.chat.notice.winfo_ismapped(), "that is over when somebody has come")
        ann.say("exit")
    finally:
        ann.close()
    lee.wait(lambda: "Ann left" in lee.log(), "Ann has left")
    assert not lee.chat.notice.winfo_ismapped()


def test_the_header_follows_the_address(lee: Person, tell: Tell) -> None:
    tell(net.Reachable(("10.0.0.7",), True))
    assert lee.chat.header.address.cget("text") == f"10.0.0.7:{port(lee)}"
    lee.click(lee.chat.header.copy)
    assert lee.root.clipboard_get() == f"10.0.0.7:{port(lee)}"
    tell(net.Reachable((), True))
    assert lee.chat.header.address.cget("text") == Words.no_address


def test_other_addresses_are_shown_on_demand(lee: Person, tell: Tell) -> None:
    assert not lee.chat.header.more.winfo_ismapped()
    tell(net.Reachable(("10.0.0.1", "192.168.5.1", "172.17.0.1"), True))
    assert lee.chat.header.more.cget("text") == "2 more"
    lee.click(lee.chat.header.more)
    others = f"192.168.5.1:{port(lee)}, 172.17.0.1:{port(lee)}"
    assert others in lee.everything()
    lee.click(lee.chat.header.more)
    assert others not in lee.everything()


def test_a_room_that_cannot_be_found_says_so(lee: Person, tell: Tell) -> None:
    tell(net.Reachable(("10.0.0.1",), False))
    assert Words.not_findable.format(address=f"10.0.0.1:{port(lee)}") in lee.everything()


@pytest.mark.usefixtures("tell")
def test_a_joiner_reads_none_of_this(lee: Person) -> None:
    ann = Person("Ann")
    try:
        ann.join(port(lee))
        assert not ann.chat.notice.winfo_ismapped()
        assert not ann.chat.header.copy.winfo_ismapped()
    finally:
        ann.close()
