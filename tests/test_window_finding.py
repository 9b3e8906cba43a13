"""The join page and the host's page: rooms that are found, and words that help where one cannot be reached."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import sys
from collections.abc import Callable

import pytest

import chat_gui
import net
from tests.helpers import LOOPBACK, Proxy, needs_tls, port_of
from tests.test_finding import own_ports
from tests.windows import FakeFinder, Open, Person, everybody_sees, feed, port, rows

Words = chat_gui.Words
Joined = list[tuple[str, int, str]]


@pytest.fixture
def ann(person: Open, finders: list[FakeFinder]) -> Person:  # noqa: ARG001 - before the page asks for one
    """Somebody at the join page."""
    someone = person("Ann")
    someone.click(someone.first_page.join)
    return someone


@pytest.fixture
def lee(person: Open) -> Person:
    return person("Mr Lee")


@pytest.fixture
def joined(ann: Person) -> Joined:
    """The addresses, ports and passwords that are joined; nothing else happens then."""
    attempts: Joined = []
    ann.app.join = lambda *where: attempts.append(where)  # type: ignore[method-assign]
    return attempts


@pytest.fixture
def passwords_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the window, whatever this Python can do."""
    monkeypatch.setattr(net, "CAN_ENCRYPT", True)


def room(port: int, title: str = "Mr Lee's room", people: int = 1, password: bool = False) -> net.FoundRoom:
    return net.FoundRoom(f"id of {title}", title, LOOPBACK, port, people, password)


LEE, KIM = room(5252), room(5253, "Ms Kim's room")


def found(person: Person, finders: list[FakeFinder], *rooms: net.FoundRoom) -> None:
    """These rooms answer now, and the join page shows them."""
    finders[-1].found(*rooms)
    person.wait(lambda: person.join_page.rooms == rooms, "the rooms are shown")


def click_room(person: Person, clicked: net.FoundRoom, times: int = 1) -> None:
    person.click_row(person.join_page.list, chat_gui.row_of(clicked), times)


def type_address(person: Person, text: str) -> None:
    """In place of what stands in the box."""
    person.join_page.address.focus_force()
    person.join_page.address.selection_range(0, "end")
    person.type(text)


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


def test_rooms_show_their_title_people_and_password(ann: Person, finders: list[FakeFinder]) -> None:
    shown, heading = ann.join_page.list, ann.join_page.heading
    assert heading.cget("text") == Words.looking
    hostile = room(1, "a{b [exit] \u202e\U0001f600", people=1_000)
    found(ann, finders, hostile, room(2, "Secret", password=True))
    assert rows(shown) == [" a{b [exit] \U0001f600 1,000 people ", " Secret 1 person password"]
    assert heading.cget("text") == Words.found
    found(ann, finders, room(2, "Secret", people=2, password=True))
    assert rows(shown) == [" Secret 2 people password"]


def test_keys_that_come_faster_than_tk_tells_what_is_chosen_join_the_chosen_room(
    ann: Person, finders: list[FakeFinder], joined: Joined
) -> None:
    found(ann, finders, LEE, KIM)
    ann.look_here()
    for key in ("<Down>", "<Return>"):  # both are pressed before the window does anything
        ann.join_page.list.event_generate(key, when="tail")
    ann.root.update()
    assert joined == [(LOOPBACK, 5253, "")]


def test_a_room_that_is_heard_before_the_page_is_drawn_is_joined_by_enter(
    person: Open, finders: list[FakeFinder]
) -> None:
    joined: Joined = []
    ann = person("Ann")
    ann.app.join = lambda *where: joined.append(where)  # type: ignore[method-assign]
    ann.first_page.join.invoke()
    assert finders, "it looks for rooms"
    ann.join_page.show_rooms((LEE,))
    ann.look_here()
    ann.wait(lambda: ann.root.focus_get() is ann.join_page.list, "the list has the keyboard")
    ann.press("Return")
    assert joined == [(LOOPBACK, 5252, "")]


def test_one_click_fills_the_address_box_and_enter_or_the_button_join(
    ann: Person, finders: list[FakeFinder], joined: Joined
) -> None:
    found(ann, finders, LEE, KIM)
    for each in (KIM, LEE, KIM):
        click_room(ann, each)
        assert ann.join_page.address.get() == chat_gui.join_address(LOOPBACK, each.port)
    assert joined == [], "a click joins nothing yet"
    ann.press("Return")
    ann.click(ann.join_page.join)
    assert joined == [(LOOPBACK, 5253, "")] * 2


def test_a_double_click_joins_a_room_but_none_beside_them(
    ann: Person, finders: list[FakeFinder], joined: Joined
) -> None:
    found(ann, finders, LEE, KIM)
    page = ann.join_page
    for _ in range(2):
        ann.click(page.list, 20, page.list.winfo_height() - 3)
    assert joined == []
    ann.rest(page.list)
    click_room(ann, KIM, times=2)
    assert joined == [(LOOPBACK, 5253, "")]
    assert page.address.get() == "127.0.0.1:5253"


@pytest.mark.parametrize(("key", "chosen"), [("Down", LEE), ("Up", KIM), ("Home", LEE), ("End", KIM)])
def test_the_keyboard_alone_chooses_a_room_where_none_is_chosen(
    ann: Person, finders: list[FakeFinder], key: str, chosen: net.FoundRoom
) -> None:
    ann.type("10.0.0.9")
    found(ann, finders, LEE, KIM)
    assert ann.join_page.list.selection() == ()
    ann.join_page.list.focus_force()
    ann.press(key)
    assert ann.join_page.address.get() == chat_gui.join_address(LOOPBACK, chosen.port)


def test_join_always_joins_the_address_in_the_box(ann: Person, finders: list[FakeFinder], joined: Joined) -> None:
    found(ann, finders, KIM)
    click_room(ann, KIM)
    type_address(ann, "10.0.0.9")
    page = ann.join_page
    assert page.list.selection() == (), "what is typed replaces what was chosen"
    for place in (page.list, page.address, page.password.entry):
        place.focus_force()
        ann.press("Return")
    ann.click(page.join)
    assert joined == [("10.0.0.9", 5252, "")] * 4


def test_an_id_or_a_title_that_comes_twice_shows_its_addresses_and_each_row_joins_there(
    ann: Person, finders: list[FakeFinder], joined: Joined
) -> None:
    """One of them may be an impostor's."""
    shown = ann.join_page.list
    impostors = dataclasses.replace(LEE, address="10.0.0.66", people=30)
    found(ann, finders, LEE)
    assert rows(shown) == [" Mr Lee's room 1 person "]
    found(ann, finders, LEE, KIM, impostors)
    lees, kims, others = rows(shown)
    assert sorted([lees, others]) == [" Mr Lee's room (10.0.0.66) 30 people ", " Mr Lee's room (127.0.0.1) 1 person "]
    assert kims == " Ms Kim's room 1 person "
    for each in (impostors, LEE):
        click_room(ann, each)
        ann.press("Return")
    assert joined == [("10.0.0.66", 5252, ""), (LOOPBACK, 5252, "")]
    found(ann, finders, LEE, dataclasses.replace(impostors, room="another id"))
    assert rows(shown) == [" Mr Lee's room (127.0.0.1) 1 person ", " Mr Lee's room (10.0.0.66) 30 people "]


def test_a_room_stays_chosen_whatever_else_is_found(ann: Person, finders: list[FakeFinder], joined: Joined) -> None:
    found(ann, finders, LEE, KIM)
    ann.look_here()
    ann.press("Down")
    more = dataclasses.replace(KIM, people=2)
    found(ann, finders, dataclasses.replace(KIM, address="10.0.0.66"), LEE, more, room(3, "Third"))
    assert ann.join_page.list.selection() == (chat_gui.row_of(KIM),)
    ann.press("Return")
    assert joined == [(LOOPBACK, 5253, "")]


KIMS, LEES, TYPED = "127.0.0.1:5253", "127.0.0.1", "10.0.0.9"


@pytest.mark.usefixtures("passwords_work")
@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], LEES),
        (["type", "click Lee", "choose Kim"], KIMS),
        (["type", "try", "choose Kim"], KIMS),
        (["click Lee", "choose Kim", "type"], TYPED),
        (["type", "try"], TYPED),
        (["type", "click Lee"], LEES),
        (["click Kim", "Kim is gone"], KIMS),
        (["click Kim", "Kim is gone", "Lee is gone"], KIMS),
    ],
    ids=lambda value: ", ".join(value) or "nothing" if isinstance(value, list) else "",
)
def test_enter_in_the_password_box_joins_what_was_typed_or_chosen_last(
    ann: Person, finders: list[FakeFinder], joined: Joined, steps: list[str], expected: str
) -> None:
    lee, kim = dataclasses.replace(LEE, password=True), dataclasses.replace(KIM, password=True)

    def choose_kim() -> None:
        ann.join_page.list.focus_force()
        ann.press("End")

    actions: dict[str, Callable[[], None]] = {
        "click Lee": lambda: click_room(ann, lee),
        "click Kim": lambda: click_room(ann, kim),
        "choose Kim": choose_kim,
        "type": lambda: type_address(ann, TYPED),
        "try": lambda: ann.press("Return"),
        "Kim is gone": lambda: found(ann, finders, lee),
        "Lee is gone": lambda: found(ann, finders),
    }
    found(ann, finders, lee, kim)
    for step in steps:
        actions[step]()
    assert ann.join_page.address.get() == expected, "it stands in the box"
    joined.clear()
    ann.join_page.password.entry.focus_force()
    ann.type("secret")
    ann.press("Return")
    assert joined == [(*chat_gui.parse_address(expected), "secret")]


@pytest.mark.usefixtures("passwords_work")
def test_a_room_that_is_found_while_somebody_types_takes_the_keyboard_from_no_box(
    ann: Person, finders: list[FakeFinder]
) -> None:
    for box in (ann.join_page.address, ann.join_page.password.entry):
        found(ann, finders)
        box.focus_force()
        ann.type("192.168.")
        found(ann, finders, LEE)
        ann.type("1.20")
        assert box.get() == "192.168.1.20"


def test_asking_goes_on_while_joining_and_stops_when_the_page_is_left(ann: Person, finders: list[FakeFinder]) -> None:
    with socket.socket() as deaf:  # has a port, so that nobody else can be there, and does not listen
        deaf.bind((LOOPBACK, 0))
        ann.app.join(LOOPBACK, port_of(deaf))
        assert not finders[0].is_closed()
        ann.wait(lambda: ann.app.session is None, "it has failed")
    assert not finders[0].is_closed()
    ann.click(ann.join_page.back)
    assert finders[0].is_closed()
    assert len(finders) == 1
    ann.click(ann.first_page.join)
    ann.app.close()
    assert finders[1].is_closed()


@pytest.mark.parametrize("is_found", [False, True])
def test_when_nothing_is_found_the_page_says_what_else_can_be_done(
    person: Open, finders: list[FakeFinder], monkeypatch: pytest.MonkeyPatch, is_found: bool
) -> None:
    monkeypatch.setattr(chat_gui, "NOTHING_FOUND_AFTER", 100 if is_found else 1)
    ann = person("Ann")
    ann.first_page.join.invoke()
    if is_found:
        ann.join_page.show_rooms((LEE,))
        ann.settle(0.2)
        assert Words.nothing_found not in ann.everything()
    else:
        ann.sees(Words.nothing_found)
        found(ann, finders, LEE)
        assert Words.nothing_found not in ann.everything()


# Saying why -------------------------------------------------------------------


def message(person: Person) -> str:
    return str(person.join_page.message.cget("text"))


def fail(person: Person, trouble: net.Trouble) -> str:
    """The attempt to join ends with this trouble; what the page says then."""
    feed(person, net.Lost(trouble, 1.0))
    assert person.app.session is None
    return message(person)


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


NO_ANSWER, NO_ROUTE = net.Trouble.NO_ANSWER, net.Trouble.NO_ROUTE


@pytest.mark.usefixtures("stuck")
@pytest.mark.parametrize(
    ("address", "trouble", "system", "words"),
    [
        (KIMS, NO_ANSWER, "linux", Words.firewall),
        (KIMS, NO_ROUTE, "darwin", Words.firewall),
        (LEES, NO_ANSWER, "linux", Words.cannot_join[NO_ANSWER]),
        (TYPED, NO_ROUTE, "linux", Words.cannot_join[NO_ROUTE]),
        (TYPED, NO_ROUTE, "darwin", Words.not_allowed),
    ],
)
def test_a_room_that_is_found_but_not_reached_is_behind_a_firewall_and_others_may_be_anything(
    ann: Person,
    finders: list[FakeFinder],
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    trouble: net.Trouble,
    system: str,
    words: str,
) -> None:
    found(ann, finders, KIM)
    type_address(ann, address)
    ann.press("Return")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", system)
        assert fail(ann, trouble) == words.format(address=address)
    assert ann.join_page.rooms == (KIM,), "the list is still there"
    assert ann.join_page.address.get() == address
    assert ann.join_page.join.instate(["!disabled"]), "everything is ready for another try"


# Waiting ----------------------------------------------------------------------


def wait_to_join(person: Person, trouble: net.Trouble, seconds: float) -> None:
    """The room tells this person to try again later, and the page says so."""
    person.app.join(TYPED, 5252)
    feed(person, net.Lost(trouble, seconds))
    person.wait(lambda: "Trying again" in message(person), "it waits")
    assert person.join_page.join.instate(["disabled"]), "it is being tried already"


@pytest.mark.usefixtures("stuck")
def test_a_window_that_is_told_to_wait_counts_down_and_gets_in(ann: Person) -> None:
    wait_to_join(ann, net.Trouble.WAIT, 1.5)
    words = Words.waiting[net.Trouble.WAIT].format(address=TYPED)
    assert message(ann).startswith(words)
    ann.wait(lambda: message(ann) == f"{words} Trying again in 1 s.", "it counts down")
    ann.wait(lambda: message(ann) == f"{words} {Words.again_now}", "it tries again")
    feed(ann, net.Lost(net.Trouble.WAIT, 30.0))
    ann.wait(lambda: "Trying again in 30 s." in message(ann), "it is told to wait again")
    people = ((1, "Mr Lee"), (2, "Ann"))
    feed(ann, net.Welcome("0" * 32, "Mr Lee's room", 2, "Ann", 1, people, 0, 0, 0, 0, False, False, 1))
    ann.wait_until_in()


@pytest.mark.usefixtures("stuck")
@pytest.mark.parametrize("by_failure", [True, False])
def test_waiting_ends_with_back_or_a_failure(ann: Person, by_failure: bool) -> None:
    wait_to_join(ann, net.Trouble.FULL, 60.0)
    if by_failure:
        words = Words.cannot_join[net.Trouble.NOBODY_LISTENS].format(address=TYPED)
        assert fail(ann, net.Trouble.NOBODY_LISTENS) == words
    else:
        words = ""
        ann.click(ann.join_page.back)
        assert ann.app.session is None
        ann.click(ann.first_page.join)
    ann.settle(0.1)
    assert message(ann) == words
    assert ann.join_page.join.instate(["!disabled"])


@pytest.mark.usefixtures("stuck")
@pytest.mark.parametrize("end", [net.Refused("moon", "Your account has expired."), net.Closed("Go away.")])
def test_the_words_of_a_room_that_lets_nobody_in_are_told_as_the_rooms(
    ann: Person, end: net.Refused | net.Closed
) -> None:
    ann.app.join(TYPED, 5252)
    feed(ann, end)
    assert message(ann) == f'The room says: "{end.reason}"'


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
    assert ann.root.focus_lastfor() is ann.box, "a person who types is not disturbed"
    ann.click(ann.chat.question.yes)
    assert not is_asked(ann)
    ann.wait_until_in()
    assert ann.chat.header.address.cget("text") == f"{LOOPBACK}:{port(lee)}"
    assert "Not sent. There was no connection to the room." in ann.log(), "an open room may be an impostor's"
    assert finders[-1].is_closed()
    ann.say("here I am")
    lee.wait(lambda: lee.said() == ["here I am"], "the host reads it")
    ann.wait(lambda: ann.said()[-1] == "here I am", "Ann, too")
    ann.say("exit")
    ann.click(ann.first_page.join)
    assert ann.join_page.address.get() == f"{LOOPBACK}:{port(lee)}", "the next time begins there"


@needs_tls
def test_a_room_with_a_password_that_moved_goes_on_where_it_was(
    ann: Person, lee: Person, finders: list[FakeFinder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_gui, "MOVED_AFTER", 0.0)
    lee.app.password = "qw3-6q2"
    with Proxy(lee.host()) as proxy:
        ann.app.join(LOOPBACK, proxy.port, "qw3-6q2")
        ann.wait_until_in()
        lose(ann, proxy)
        ann.say("meanwhile")
        lee.say("missed")
        lee.wait(lambda: lee.said() == ["missed"], "it is said")
        finders[-1].found(found_again(ann, LOOPBACK, port(lee)))
        ann.sees(moved_words(port(lee)))
        ann.click(ann.chat.question.yes)
        everybody_sees([ann, lee], "missed", "meanwhile")
        assert lee.people() == ["Mr Lee (host, you)", "Ann"], "the same person"


def test_only_the_same_room_elsewhere_is_offered_when_it_has_long_been_silent_here(
    ann: Person, lee: Person, finders: list[FakeFinder], away: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere, here = found_again(ann, LOOPBACK, port(lee)), found_again(ann, LOOPBACK, away.port)

    def is_not_asked(*rooms: net.FoundRoom) -> None:
        finders[-1].found(*rooms)
        ann.wait(finders[-1].events.empty, "it is taken")
        ann.settle(0.1)
        assert not is_asked(ann)

    with monkeypatch.context() as patch:
        patch.setattr(chat_gui, "MOVED_AFTER", 1_000.0)
        is_not_asked(elsewhere)
        is_not_asked()
    is_not_asked(dataclasses.replace(elsewhere, room="another"))
    is_not_asked(here)
    is_not_asked(elsewhere, here)
    finders[-1].found(elsewhere)
    ann.wait(lambda: is_asked(ann), "it is offered")
    assert not finders[-1].is_closed()
    ann.app.leave_room()
    assert finders[-1].is_closed(), "leaving stops the search"


def test_a_person_who_waits_is_not_asked_again_until_the_next_break(
    ann: Person, lee: Person, finders: list[FakeFinder], away: Proxy
) -> None:
    elsewhere = found_again(ann, LOOPBACK, port(lee))
    finders[-1].found(elsewhere)
    ann.wait(lambda: is_asked(ann), "it is offered")
    ann.click(ann.chat.question.no)
    finders[-1].found(dataclasses.replace(elsewhere, people=3))
    ann.settle(0.2)
    assert not is_asked(ann)
    assert ann.root.focus_lastfor() is ann.box
    away.refuse(False)
    ann.wait_until_in()
    lose(ann, away)
    ann.settle(0.1)
    assert not is_asked(ann), "what was found during the last break is old"
    finders[-1].found(elsewhere)
    ann.wait(lambda: is_asked(ann), "it is offered again")
    ann.look_here()
    ann.press("Escape")
    assert not is_asked(ann)


def test_when_the_room_answers_again_the_question_goes_and_the_keyboard_is_with_the_composer(
    ann: Person, lee: Person, finders: list[FakeFinder], away: Proxy
) -> None:
    finders[-1].found(found_again(ann, LOOPBACK, port(lee)))
    ann.wait(lambda: is_asked(ann), "it is offered")
    ann.chat.question.yes.focus_force()
    away.refuse(False)
    ann.wait_until_in()
    assert not is_asked(ann)
    assert ann.root.focus_lastfor() is ann.box
    assert finders[-1].is_closed()


# The host's page --------------------------------------------------------------


@pytest.fixture
def hosting(lee: Person, monkeypatch: pytest.MonkeyPatch) -> str:
    """Mr Lee's room is open, and his computer has one address; the port as it is shown there."""
    monkeypatch.setattr(net, "local_addresses", lambda: ["10.0.0.1"])
    lee.host()
    lee.sees("10.0.0.1")
    return f":{port(lee)}"


def test_a_host_alone_reads_what_the_others_do_and_the_others_do_not(lee: Person, hosting: str, person: Open) -> None:
    text = lee.chat.notice.cget("text")
    assert text == Words.nobody_yet.format(room="Mr Lee's room", address=f"10.0.0.1{hosting}")
    assert lee.chat.notice.winfo_ismapped()
    ann = person("Ann")
    ann.join(port(lee))
    assert not ann.chat.notice.winfo_ismapped()
    assert not ann.chat.header.copy.winfo_ismapped()
    lee.wait(lambda: not lee.chat.notice.winfo_ismapped(), "that is over when somebody has come")
    ann.say("exit")
    lee.wait(lambda: "Ann left" in lee.log(), "Ann has left")
    assert not lee.chat.notice.winfo_ismapped()


def test_the_header_follows_the_addresses_and_shows_the_others_on_demand(lee: Person, hosting: str) -> None:
    header = lee.chat.header
    assert not header.more.winfo_ismapped()
    feed(lee, net.Reachable(("10.0.0.7", "192.168.5.1", "172.17.0.1"), True))
    assert header.address.cget("text") == f"10.0.0.7{hosting}"
    lee.click(header.copy)
    assert lee.root.clipboard_get() == f"10.0.0.7{hosting}"
    assert header.more.cget("text") == "2 more"
    others = f"192.168.5.1{hosting}, 172.17.0.1{hosting}"
    lee.click(header.more)
    assert others in lee.everything()
    lee.click(header.more)
    assert others not in lee.everything()
    feed(lee, net.Reachable((), True))
    assert header.address.cget("text") == Words.no_address


def test_a_room_that_cannot_be_found_says_so(lee: Person, hosting: str) -> None:
    feed(lee, net.Reachable(("10.0.0.1",), False))
    assert Words.not_findable.format(address=f"10.0.0.1{hosting}") in lee.everything()
