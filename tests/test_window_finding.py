"""The join page and the host's page: rooms that are found, and words that help where one cannot be reached."""

from __future__ import annotations

import dataclasses
import queue
import socket
import sys
from collections.abc import Callable, Iterator

import pytest

import chat_gui
import net
from tests.helpers import LOOPBACK, Display, port_of
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


def test_the_keyboard_alone_joins_the_second_of_two_rooms(ann: Person, finders: list[FakeFinder]) -> None:
    joined: list[tuple[str, int, str]] = []
    ann.app.join = lambda *where: joined.append(where)  # type: ignore[method-assign]
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


def test_a_click_joins(ann: Person, finders: list[FakeFinder]) -> None:
    joined: list[tuple[str, int, str]] = []
    ann.app.join = lambda *where: joined.append(where)  # type: ignore[method-assign]
    finders[0].found(room(5252))
    shows(ann, ("Mr Lee's room", "1 person", ""))
    click_row(ann, room(5252))
    assert joined == [("127.0.0.1", 5252, "")]


def click_row(person: Person, of_room: net.FoundRoom) -> None:
    x, y, width, height = map(int, person.join_page.list.bbox(chat_gui.row_of(of_room)))
    person.click(person.join_page.list, x + width // 2, y + height // 2)


def test_an_id_at_two_addresses_has_a_row_for_each_which_shows_its_address_and_joins_there(
    ann: Person, finders: list[FakeFinder]
) -> None:
    """One of them may be an impostor's."""
    joined: list[tuple[str, int, str]] = []
    ann.app.join = lambda *where: joined.append(where)  # type: ignore[method-assign]
    lees = room(5252)
    impostors = dataclasses.replace(lees, address="10.0.0.66", people=30)
    finders[0].found(lees)
    shows(ann, ("Mr Lee's room", "1 person", ""))
    finders[0].found(lees, impostors)
    shows(ann, ("Mr Lee's room (127.0.0.1)", "1 person", ""), ("Mr Lee's room (10.0.0.66)", "30 people", ""))
    for each in (impostors, lees):
        click_row(ann, each)
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
    ann: Person, finders: list[FakeFinder]
) -> None:
    joined: list[tuple[str, int, str]] = []
    ann.app.join = lambda *where: joined.append(where)  # type: ignore[method-assign]
    lees = room(5252)
    finders[0].found(lees)
    shows(ann, ("Mr Lee's room", "1 person", ""))
    ann.look_here()
    finders[0].found(dataclasses.replace(lees, address="10.0.0.66"), lees)
    ann.wait(lambda: len(rows(ann)) == 2, "both rows are shown")
    ann.press("Return")
    assert joined == [("127.0.0.1", 5252, "")]


def test_a_click_beside_the_rooms_joins_none(ann: Person, finders: list[FakeFinder]) -> None:
    joined: list[tuple[str, int, str]] = []
    ann.app.join = lambda *where: joined.append(where)  # type: ignore[method-assign]
    finders[0].found(room(5252))
    shows(ann, ("Mr Lee's room", "1 person", ""))
    ann.click(ann.join_page.list, 20, ann.join_page.list.winfo_height() - 3)
    assert joined == []


@pytest.mark.parametrize("where", ["left", "right", "another row", "below"])
def test_who_lets_go_of_the_mouse_somewhere_else_joins_nothing(
    ann: Person, finders: list[FakeFinder], where: str
) -> None:
    joined: list[tuple[str, int, str]] = []
    ann.app.join = lambda *where: joined.append(where)  # type: ignore[method-assign]
    finders[0].found(room(1), room(2, "Ms Kim's room"))
    shows(ann, ("Mr Lee's room", "1 person", ""), ("Ms Kim's room", "1 person", ""))
    rooms = ann.join_page.list
    x, y, *_ = map(int, rooms.bbox(chat_gui.row_of(room(1))))
    _, other, *_ = map(int, rooms.bbox(chat_gui.row_of(room(2, "Ms Kim's room"))))
    right, bottom = rooms.winfo_width(), rooms.winfo_height()
    at = {"left": (-1, y + 1), "right": (right, y + 1), "another row": (x, other + 1), "below": (x, bottom - 1)}
    rooms.event_generate("<ButtonPress-1>", x=x + 1, y=y + 1)
    rooms.event_generate("<B1-Motion>", x=at[where][0], y=at[where][1])
    rooms.event_generate("<ButtonRelease-1>", x=at[where][0], y=at[where][1])
    ann.root.update()
    assert joined == []
    ann.click(rooms, x + 1, y + 1)
    assert joined == [("127.0.0.1", 1, "")]


KIM = ("127.0.0.1", 2)
TYPED = ("10.0.0.9", 5252)


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
        (["click Lee"], ("127.0.0.1", 1)),
        (["type", "click Lee"], ("127.0.0.1", 1)),
        (["click Kim", "Kim is gone"], KIM),
        (["click Kim", "Kim is gone", "Lee is gone"], KIM),
        ([], ("127.0.0.1", 1)),
    ],
    ids=lambda value: ", ".join(value) or "nothing" if isinstance(value, list) else "",
)
def test_enter_in_the_password_box_means_what_was_typed_or_chosen_last(
    ann: Person, finders: list[FakeFinder], monkeypatch: pytest.MonkeyPatch, steps: list[str], expected: tuple[str, int]
) -> None:
    monkeypatch.setattr(net, "CAN_ENCRYPT", True)
    ann.click(ann.join_page.back)
    ann.click(ann.first_page.join)
    page = ann.join_page
    tried: list[tuple[str, int, str]] = []
    ann.app.join = lambda *where: tried.append(where)  # type: ignore[method-assign]
    lee, kim = room(1, password=True), room(2, "Ms Kim's room", password=True)
    finders[-1].found(lee, kim)
    ann.wait(lambda: len(rows(ann)) == 2, "both rooms are shown")
    for step in steps:
        if step.startswith("click"):
            click_row(ann, lee if "Lee" in step else kim)
            assert page.message.cget("text") == Words.password_missing
        elif step == "choose Kim":
            page.list.focus_force()
            ann.press("Down")
        elif step == "type":
            page.address.focus_force()
            ann.type("10.0.0.9")
        elif step == "try":
            ann.press("Return")
        else:
            finders[-1].found(*((lee,) if step == "Kim is gone" else ()))
            ann.wait(lambda: len(rows(ann)) == (step == "Kim is gone"), "it is gone")  # noqa: B023 - waited for at once
    tried.clear()
    page.password.entry.focus_force()
    ann.type("secret")
    ann.press("Return")
    assert tried == [(*expected, "secret")]


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
    return person.chat._client.port


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
    assert lee.chat.address.cget("text") == f"10.0.0.7:{port(lee)}"
    lee.click(lee.chat.copy)
    assert lee.root.clipboard_get() == f"10.0.0.7:{port(lee)}"
    tell(net.Reachable((), True))
    assert lee.chat.address.cget("text") == Words.no_address


def test_other_addresses_are_shown_on_demand(lee: Person, tell: Tell) -> None:
    assert not lee.chat.more.winfo_ismapped()
    tell(net.Reachable(("10.0.0.1", "192.168.5.1", "172.17.0.1"), True))
    assert lee.chat.more.cget("text") == "2 more"
    lee.click(lee.chat.more)
    others = f"192.168.5.1:{port(lee)}, 172.17.0.1:{port(lee)}"
    assert others in lee.everything()
    lee.click(lee.chat.more)
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
        assert not ann.chat.copy.winfo_ismapped()
    finally:
        ann.close()
