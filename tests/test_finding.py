"""Finding rooms, on this computer alone: questions, answers, and what the finder does with forged ones.

`quick` shortens the program's seconds to hundredths. The questions go to ten ports of the test's own, which it gets
from `own_ports`: tests that run at the same time do not hear each other. Several computers: tests/test_networks.py.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import queue
import random
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import net
from tests.conftest import DESCRIPTORS
from tests.helpers import EVERYBODY, LIMIT, LOOPBACK, Message, Wire, drain, expect, message, port_of, until

FIND: Message = message("find", protocol=net.PROTOCOL)
ONE_WAY, ANOTHER_WAY = (LOOPBACK, EVERYBODY), ("", LOOPBACK)  # as two adapters
NO_WAY = ("192.0.2.1", EVERYBODY)  # an address for documentation (RFC 5737): no computer has it to ask from
ELSEWHERE = "127.0.0.2"  # stands for another computer: it is an address of this one, but not one that net looks for
HAS_ELSEWHERE = pytest.mark.skipif(sys.platform == "darwin", reason="macOS has one loopback address")


TEN = len(net.PORTS)


@contextlib.contextmanager
def own_ports() -> Iterator[range]:
    """Ten neighbouring ports for one test alone, also if all of the tests run twice at the same time.

    They are below those that systems choose for outgoing connections, and nobody else uses any of them. A test that
    has the port in front of them has all ten: these begin in steps of eleven, so no two tests' ports overlap.
    """
    while True:
        first = random.randrange(10_000, 32_000, 1 + TEN) + 1
        ten = range(first, first + TEN)
        try:
            keeper = udp_socket("", first - 1)
        except OSError:
            continue
        with keeper:
            if all(is_free(port) for port in ten):
                yield ten
                return


@pytest.fixture(autouse=True)
def ports(monkeypatch: pytest.MonkeyPatch) -> Iterator[range]:
    """The test's own ports instead of 5252 to 5261."""
    with own_ports() as ten:
        monkeypatch.setattr(net, "PORT", ten[0])
        monkeypatch.setattr(net, "PORTS", ten)
        yield ten


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "ASK_EVERY", (0.03, 0.03))
    monkeypatch.setattr(net, "TELL_EVERY", 0.02)
    monkeypatch.setattr(net, "ADDRESSES_EVERY", 0.02)


@pytest.fixture
def found() -> Iterator[net.Events]:
    """What a finder tells."""
    events: net.Events = queue.Queue()
    with finding(events):
        yield events


@contextlib.contextmanager
def finding(events: net.Events, ways: list[tuple[str, str]] | None = None) -> Iterator[None]:
    """A finder, and at the end a wait for its thread, which must not outlive what the test changed in net."""
    finder = net.find_rooms(events, ways=ways)
    try:
        yield
    finally:
        finder.close()
        assert finder.join(LIMIT)


def is_free(port: int) -> bool:
    try:
        with udp_socket("", port), socket.create_server(("", port)):
            return True
    except OSError:
        return False


def udp_socket(host: str = LOOPBACK, port: int = 0) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(LIMIT)
    try:
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def expect_rooms(events: net.Events, *titles: str) -> tuple[net.FoundRoom, ...]:
    """The list of rooms, once it is this one."""
    return expect(events, net.Found, lambda found: [room.title for room in found.rooms] == [*titles]).rooms


def answer(port: int, /, **different: object) -> bytes:
    """What a room answers; a field that is given as ... is left out."""
    fields = {"room": f"room {port}", "title": "Good", "port": port, "people": 1, "password": False}
    fields = message("room", protocol=net.PROTOCOL, **fields) | different
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()


class Impostor:
    """A UDP socket on a port for rooms: hears the questions, and answers whatever the test wants it to."""

    def __init__(self, port: int, host: str = "") -> None:
        self.socket = udp_socket(host, port)
        self.port = port_of(self.socket)

    def __enter__(self) -> Impostor:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.socket.close()

    def hear(self) -> tuple[str, int]:
        """The next question; from whom."""
        data, asker = self.socket.recvfrom(2048)
        assert json.loads(data) == FIND
        return str(asker[0]), int(asker[1])

    def hear_another(self, known: tuple[str, int]) -> tuple[str, int]:
        """The next question from somebody else."""
        deadline = time.monotonic() + LIMIT
        while (asker := self.hear()) == known:
            assert time.monotonic() < deadline, f"only {known} asked within {LIMIT:g} s"
        return asker

    def forget(self) -> None:
        """All questions that have come."""
        self.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.hear()
        self.socket.settimeout(LIMIT)

    def say(self, asker: tuple[str, int], **different: object) -> None:
        self.socket.sendto(answer(self.port, **different), asker)


class Asker:
    """A UDP socket that asks a room, in any words."""

    def __init__(self, port: int) -> None:
        self.socket = udp_socket()
        self._room = (LOOPBACK, port)

    def __enter__(self) -> Asker:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.socket.close()

    def say(self, data: bytes) -> None:
        self.socket.sendto(data, self._room)

    def ask(self) -> Message:
        """Asks properly; the answer."""
        self.say(json.dumps(FIND).encode())
        message: Message = json.loads(self.socket.recv(2048))
        return message

    def ask_again_and_again(self) -> Message:
        """For times when most datagrams are lost."""
        self.socket.settimeout(0.002)
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                return self.ask()
        raise AssertionError(f"no answer within {LIMIT:g} s")

    def has_an_answer(self) -> bool:
        self.socket.setblocking(False)
        try:
            self.socket.recv(2048)
        except BlockingIOError:
            return False
        finally:
            self.socket.settimeout(LIMIT)
        return True


# What is found -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
def test_a_room_is_found_with_all_that_it_tells(ports: range, found: net.Events) -> None:
    with net.run_server("Mr Lee's room", port=ports[0]) as server:
        assert expect(found, net.Found).rooms == (
            net.FoundRoom(server.id, "Mr Lee's room", LOOPBACK, ports[0], people=0, password=False),
        )


@pytest.mark.usefixtures("quick")
def test_two_rooms_on_one_computer_are_both_found(ports: range, found: net.Events) -> None:
    with net.run_server("Blue", port=ports[0]):
        expect_rooms(found, "Blue")
        with net.run_server("Red", port=ports[0]):  # this one is taken, so it gets the next
            rooms = expect_rooms(found, "Blue", "Red")
    assert [(room.address, room.port) for room in rooms] == [(LOOPBACK, ports[0]), (LOOPBACK, ports[1])]


@pytest.mark.usefixtures("quick", "found")
def test_all_ten_ports_are_asked(ports: range) -> None:
    with contextlib.ExitStack() as stack:
        for impostor in [stack.enter_context(Impostor(port)) for port in ports]:
            impostor.hear()


@pytest.mark.usefixtures("quick")
def test_the_number_of_people_follows(ports: range, found: net.Events) -> None:
    def expect_people(number: int) -> None:
        expect(found, net.Found, lambda event: [room.people for room in event.rooms] == [number])

    with net.run_server("Room", port=ports[0]), Wire(ports[0]) as ann:
        expect_people(0)
        ann.join("Ann")
        expect_people(1)
        with Wire(ports[0]) as bob:
            bob.join("Bob")
            expect_people(2)
            bob.leave()
            expect_people(1)


@pytest.mark.usefixtures("quick")
def test_the_newest_answer_counts(ports: range, found: net.Events) -> None:
    with Impostor(ports[0]) as impostor:
        impostor.say(impostor.hear(), title="Old")
        expect_rooms(found, "Old")
        impostor.say(impostor.hear(), title="New", people=7)
        assert expect_rooms(found, "New")[0].people == 7


@pytest.mark.usefixtures("quick")
def test_a_room_that_is_heard_on_two_ways_is_one_row(ports: range) -> None:
    """As on a computer with a cable and Wi-Fi in the same network."""
    events: net.Events = queue.Queue()
    with finding(events, [ONE_WAY, ANOTHER_WAY]), Impostor(ports[3]) as impostor, net.run_server("Room", port=ports[0]):
        askers = {impostor.hear(), impostor.hear()}
        assert len(askers) == 2
        expect_rooms(events, "Room")
        for asker in askers:
            impostor.say(asker, title="Too")
        expect_rooms(events, "Room", "Too")


@HAS_ELSEWHERE
@pytest.mark.usefixtures("quick")
def test_an_id_that_two_addresses_answer_with_has_a_row_for_each_of_them(ports: range) -> None:
    """One of them may be an impostor's: it gets a row of its own, and changes nothing in the other one."""
    events: net.Events = queue.Queue()
    with (
        finding(events, [(LOOPBACK, LOOPBACK)]),
        Impostor(ports[0], LOOPBACK) as room,
        Impostor(ports[0], ELSEWHERE) as impostor,
    ):
        asker = room.hear()
        room.say(asker, room="the same", title="Room")
        expect_rooms(events, "Room")
        impostor.say(asker, room="the same", title="Room", people=99)
        rooms = expect_rooms(events, "Room", "Room")
        assert [(room.address, room.people) for room in rooms] == [(LOOPBACK, 1), (ELSEWHERE, 99)]
        room.say(asker, room="the same", title="Room", people=2)
        rooms = expect_rooms(events, "Room", "Room")
        assert [(room.address, room.people) for room in rooms] == [(LOOPBACK, 2), (ELSEWHERE, 99)]


@HAS_ELSEWHERE
@pytest.mark.usefixtures("quick")
def test_a_room_that_answers_from_two_of_this_computers_own_addresses_is_one_row(
    ports: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row keeps the address at which the room was found first, and shows the newest answer."""
    monkeypatch.setattr(net, "local_addresses", lambda: [ELSEWHERE])
    events: net.Events = queue.Queue()
    with (
        finding(events, [(LOOPBACK, LOOPBACK)]),
        Impostor(ports[0], LOOPBACK) as first,
        Impostor(ports[0], ELSEWHERE) as second,
    ):
        asker = first.hear()
        second.say(asker, room="the same", people=1)
        assert expect_rooms(events, "Good")[0].address == ELSEWHERE
        first.say(asker, room="the same", people=2)
        (room,) = expect(events, net.Found).rooms
        assert (room.address, room.people) == (ELSEWHERE, 2)


@pytest.mark.usefixtures("quick")
def test_a_room_that_is_not_heard_any_more_goes_and_the_others_stay(
    ports: range, found: net.Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    with net.run_server("Stays", port=ports[0]), Impostor(ports[1]) as impostor:
        expect_rooms(found, "Stays")
        asker = impostor.hear()
        said_at = time.monotonic()
        impostor.say(asker, title="Goes")
        expect_rooms(found, "Stays", "Goes")
        monkeypatch.setattr(net, "ROOM_GONE_AFTER", 0.5)  # only now: a slow computer may show nothing for so long
        expect_rooms(found, "Stays")
        assert time.monotonic() - said_at >= 0.5


@pytest.mark.usefixtures("quick")
def test_a_room_that_was_closed_and_opened_again_takes_the_place_of_the_old_one(
    ports: range, found: net.Events
) -> None:
    with net.run_server("Room", port=ports[0]):
        (old,) = expect_rooms(found, "Room")
    with net.run_server("Room", port=ports[0]) as server:
        assert server.id != old.room
        (new,) = expect(found, net.Found).rooms  # and not first a list with both
        assert (new.room, new.port) == (server.id, old.port)


@pytest.mark.usefixtures("quick")
def test_rooms_come_in_the_order_in_which_they_were_found(ports: range, found: net.Events) -> None:
    with Impostor(ports[8]) as first, Impostor(ports[4]) as second:
        first.say(first.hear(), title="Z")
        expect_rooms(found, "Z")
        second.say(second.hear(), title="A")
        expect_rooms(found, "Z", "A")
        first.say(first.hear(), title="Y")
        expect_rooms(found, "Y", "A")


# The room answers ----------------------------------------------------------------------------------------------------


def test_the_asker_alone_gets_the_answer(ports: range) -> None:
    with net.run_server("Room", port=ports[0]) as server, Asker(ports[0]) as ann, Asker(ports[0]) as bob:
        expected = answer(ports[0], title="Room", room=server.id, people=0)
        assert ann.ask() == json.loads(expected)
        assert bob.ask() == json.loads(expected)
        assert not ann.has_an_answer()


@pytest.mark.parametrize("ending", [b"", b"\n"])
def test_a_question_may_know_more_than_this_version(ports: range, ending: bytes) -> None:
    with net.run_server("Room", port=ports[0]), Asker(ports[0]) as asker:
        asker.say(json.dumps({**FIND, "language": "fr"}).encode() + ending)
        assert json.loads(asker.socket.recv(2048))["title"] == "Room"


def question(**different: object) -> bytes:
    return json.dumps(FIND | different).encode()


NO_QUESTIONS: dict[str, bytes] = {
    "nothing": b"",
    "a newline": b"\n",
    "a word": b"find",
    "bytes": bytes(range(256)),
    "no object": b"[%s]" % question(),
    "nested": b"[" * 2000,
    "two": question() * 2,
    "half": question()[:-2],
    "no protocol": json.dumps(message("find")).encode(),
    "an older protocol": question(protocol=net.PROTOCOL - 1),
    "a newer protocol": question(protocol=net.PROTOCOL + 1),
    "a protocol in words": question(protocol=str(net.PROTOCOL)),
    "true": question(protocol=True),
    "a broken protocol": question(protocol=float(net.PROTOCOL)),
    "a long protocol": question(protocol=int("1" * 1500)),
    "an answer": answer(5252),
    "another message": json.dumps(message("hello", protocol=net.PROTOCOL, tls=False)).encode(),
    "another type": question(type="search"),
    "no type": json.dumps({"protocol": net.PROTOCOL}).encode(),
    "a type that is none": question(type={"find": 1}),
    "huge": question(more="x" * 9_000),  # macOS sends no larger ones
}


@pytest.mark.parametrize("data", NO_QUESTIONS.values(), ids=NO_QUESTIONS.keys())
def test_what_is_no_question_gets_no_answer_and_the_next_question_does(ports: range, data: bytes) -> None:
    with net.run_server("Room", port=ports[0]), Asker(ports[0]) as stranger, Asker(ports[0]) as asker:
        stranger.say(data)
        assert asker.ask()["title"] == "Room"  # it came later, so the other one has been dealt with
        assert not stranger.has_an_answer()


def test_a_room_that_is_closed_answers_no_more_and_gives_its_port_back(ports: range) -> None:
    with net.run_server("Room", port=ports[0]), Asker(ports[0]) as asker:
        asker.ask()
        assert not is_free(ports[0])
    assert is_free(ports[0])


def test_in_a_storm_of_questions_others_are_answered_and_the_chat_goes_on(ports: range) -> None:
    with net.run_server("Room", port=ports[0]), Wire(ports[0]) as ann, Wire(ports[0]) as bob, storm(ports[0]):
        ann.join("Ann")
        bob.join("Bob")
        for number in range(1, 20):
            ann.say(number, f"line {number}")
            assert bob.receive_until("said")["id"] == number
            ann.receive_until("said")
        with Asker(ports[0]) as asker:
            assert asker.ask_again_and_again()["people"] == 2


@contextlib.contextmanager
def storm(port: int) -> Iterator[None]:
    """Somebody asks as fast as it goes, and never reads an answer."""
    over = threading.Event()

    def ask() -> None:
        with Asker(port) as asker:
            while not over.is_set():
                asker.say(json.dumps(FIND).encode())

    thread = threading.Thread(target=ask, name="storm")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


# Answers are not trusted ---------------------------------------------------------------------------------------------


def not_a_room(what: str, **different: object) -> Any:
    return pytest.param(lambda port: answer(port, **different), id=what)


NOT_ROOMS = [
    pytest.param(lambda _: b"", id="nothing"),
    pytest.param(lambda _: b"\n\n", id="newlines"),
    pytest.param(lambda _: b"room", id="a word"),
    pytest.param(lambda port: b"[%s]" % answer(port), id="a list"),
    pytest.param(lambda port: answer(port)[:-1], id="half"),
    pytest.param(lambda port: answer(port).replace(b"Good", b"\xff\xfe"), id="not UTF-8"),
    pytest.param(lambda port: answer(port).replace(b"Good", b"\0"), id="not JSON"),
    pytest.param(lambda port: answer(port).replace(b"false", b"NaN"), id="not a number"),
    pytest.param(lambda _: b'{"a":' * 400, id="nested"),
    not_a_room("too large", more="x" * 9_000),
    not_a_room("another port than it comes from", port=1),
    not_a_room("the port of another room", port=5252),
    not_a_room("no port", port=...),
    not_a_room("port 0", port=0),
    not_a_room("a negative port", port=-1),
    not_a_room("a huge port", port=2**70),
    not_a_room("a port in words", port="5252"),
    not_a_room("no title", title=...),
    not_a_room("an empty title", title=""),
    not_a_room("a title that cannot be seen", title="\u200b \u2028\t\u00ad\ufeff\u3164"),
    not_a_room("a title that is a number", title=5),
    not_a_room("a title that is too long", title="x" * 61),
    not_a_room("a title that is too long until it is cleaned", title="x" + " " * 60),
    not_a_room("no id", room=...),
    not_a_room("an empty id", room=""),
    not_a_room("an id that is too long", room="x" * 65),
    not_a_room("an id that cannot be seen", room="\0"),
    not_a_room("an id that is a number", room=5),
    not_a_room("an id that is null", room=None),
    not_a_room("no people", people=...),
    not_a_room("fewer people than none", people=-1),
    not_a_room("too many people", people=1_001),
    not_a_room("people of 1,000 digits", people=10**1000),
    not_a_room("half a person", people=1.5),
    not_a_room("true people", people=True),
    not_a_room("people in words", people="many"),
    not_a_room("a list of people", people=["Ann"]),
    not_a_room("no word about a password", password=...),
    not_a_room("a password that is a number", password=0),
    not_a_room("a password", password="secret"),
    not_a_room("an older protocol", protocol=net.PROTOCOL - 1),
    not_a_room("a newer protocol", protocol=net.PROTOCOL + 1),
    not_a_room("no protocol", protocol=...),
    not_a_room("a question", type="find"),
    not_a_room("another type", type="rooms"),
    not_a_room("no type", type=...),
]


@pytest.mark.parametrize("make", NOT_ROOMS)
@pytest.mark.usefixtures("quick")
def test_what_cannot_be_a_room_is_not_shown_and_a_room_after_it_is(
    ports: range, found: net.Events, make: Callable[[int], bytes]
) -> None:
    with Impostor(ports[0]) as bad, Impostor(ports[1]) as good:
        asker = bad.hear()
        bad.socket.sendto(make(bad.port), asker)
        good.say(asker)
        (room,) = expect(found, net.Found).rooms
        assert (room.title, room.port) == ("Good", good.port)


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("\x1b[31mRed\x00 \u202eroom\u2066", "[31mRed room"),
        ("  two \r\n lines\t", "two lines"),
        ("x" * 58 + "\ufdfa", "x" * 58 + "\u0635\u0644"),  # one character, which NFKC writes as 18
        ("half \ud83d a smile", "half \ufffd a smile"),
        ("\uff32oom", "Room"),
        ("e\u0301cole", "\u00e9cole"),
    ],
)
@pytest.mark.usefixtures("quick")
def test_a_title_is_shown_clean_and_not_too_long(ports: range, found: net.Events, title: str, shown: str) -> None:
    with Impostor(ports[0]) as impostor:
        impostor.say(impostor.hear(), title=title)
        assert expect(found, net.Found).rooms[0].title == shown


@pytest.mark.parametrize(
    "different",
    [{"room": "x" * 64}, {"people": 0}, {"people": 1_000}, {"password": True}, {"title": "x" * 60}, {"more": [1]}],
    ids=str,
)
@pytest.mark.usefixtures("quick")
def test_what_is_just_right_is_shown(ports: range, found: net.Events, different: dict[str, object]) -> None:
    with Impostor(ports[0]) as impostor:
        impostor.say(impostor.hear(), **different)
        (room,) = expect(found, net.Found).rooms
        for name, value in different.items():
            assert getattr(room, name, value) == value


@pytest.mark.usefixtures("quick")
def test_in_a_full_list_of_one_addresss_rooms_the_older_ones_stay_and_still_follow(
    ports: range, found: net.Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "MAX_ROOMS", 5)
    with contextlib.ExitStack() as stack:
        rooms = [stack.enter_context(Impostor(port)) for port in ports[:8]]
        asker = rooms[0].hear()
        for number, room in enumerate(rooms):
            room.say(asker, title=str(number))
        expect_rooms(found, "0", "1", "2", "3", "4")
        rooms[7].say(asker, title="no place")
        rooms[4].say(asker, title="still follows")
        assert expect(found, net.Found).rooms[4].title == "still follows"


def test_a_hundred_rooms_fit_in_the_list() -> None:
    assert net.MAX_ROOMS == 100


@HAS_ELSEWHERE
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("newcomer", [LOOPBACK, "127.0.0.3"])
def test_a_full_list_loses_the_newest_of_the_address_with_the_most_rooms(
    ports: range, monkeypatch: pytest.MonkeyPatch, newcomer: str
) -> None:
    """So nobody can push another's room off the list, or keep one from getting into it."""
    monkeypatch.setattr(net, "MAX_ROOMS", 5)
    events: net.Events = queue.Queue()
    with finding(events, [(LOOPBACK, LOOPBACK)]), contextlib.ExitStack() as stack:
        room = stack.enter_context(Impostor(ports[0], LOOPBACK))
        crowd = [stack.enter_context(Impostor(port, ELSEWHERE)) for port in ports[1:6]]
        late = stack.enter_context(Impostor(ports[6], newcomer))
        asker = room.hear()
        crowd[0].say(asker, title="0")
        expect_rooms(events, "0")
        room.say(asker, title="Room")
        for number, one in enumerate(crowd[1:4], start=1):
            one.say(asker, title=str(number))
        expect_rooms(events, "0", "Room", "1", "2", "3")
        crowd[4].say(asker, title="4")  # the crowd's own newest has no place
        late.say(asker, title="Late")
        expect_rooms(events, "0", "Room", "1", "2", "Late")


@HAS_ELSEWHERE
@pytest.mark.usefixtures("quick")
def test_in_a_full_list_of_rooms_at_as_many_addresses_the_older_ones_stay(
    ports: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers that claim to come from many addresses, one room at each, push nobody's room off the list."""
    monkeypatch.setattr(net, "MAX_ROOMS", 3)
    events: net.Events = queue.Queue()
    with finding(events, [(LOOPBACK, LOOPBACK)]), contextlib.ExitStack() as stack:
        rooms = [stack.enter_context(Impostor(ports[0], f"127.0.0.{number}")) for number in range(1, 6)]
        asker = rooms[0].hear()
        for number, room in enumerate(rooms):
            room.say(asker, title=str(number))
        rooms[0].say(asker, title="still follows")
        expect_rooms(events, "still follows", "1", "2")


@pytest.mark.usefixtures("quick")
def test_a_room_that_goes_makes_place_for_another(
    ports: range, found: net.Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "MAX_ROOMS", 1)
    with Impostor(ports[0]) as first:
        first.say(first.hear(), title="First")
        expect_rooms(found, "First")
        monkeypatch.setattr(net, "ROOM_GONE_AFTER", 0.2)
        with net.run_server("Second", port=ports[1]):
            expect_rooms(found, "Second")


def test_a_flood_of_forged_answers_costs_few_events_and_hides_no_room(
    ports: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "ASK_EVERY", (0.1, 0.1))
    events: net.Events = queue.Queue()
    with net.run_server("Room", port=ports[0]), Wire(ports[0]) as ann, contextlib.ExitStack() as stack:
        impostors = [stack.enter_context(Impostor(0, LOOPBACK)) for _ in range(net.MAX_ROOMS + 20)]
        listener = stack.enter_context(Impostor(ports[1]))
        stack.enter_context(finding(events))
        expect_rooms(events, "Room")
        asker = listener.hear()
        begin = time.monotonic()
        while time.monotonic() < begin + 1.0:
            for impostor in impostors:
                noise = f"{random.random()}"
                impostor.say(asker, room=noise, title=noise)
        ann.join("Ann")
        told = [expect(events, net.Found, lambda found: len(found.rooms) == net.MAX_ROOMS)]
        while told[-1].rooms[0].people != 1:
            told.append(expect(events, net.Found))
        assert {found.rooms[0].title for found in told} == {"Room"}
        assert {len(found.rooms) for found in told} == {net.MAX_ROOMS}
        assert len(told) <= 1 + (time.monotonic() - begin) / net.TELL_EVERY


# When it asks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "asking_for", "seconds"), [(True, 0.0, 2.0), (True, 10.1, 4.0), (False, 10.0, 6.0), (False, 99.0, 12.0)]
)
def test_the_first_port_is_asked_most_often_and_all_of_them_less_after_a_while(
    ports: range, first: bool, asking_for: float, seconds: float
) -> None:
    pauses = [net.question_pause(port, asking_for) for port in (ports[:1] if first else ports[1:]) for _ in range(200)]
    assert 0.8 * seconds <= min(pauses) < 0.9 * seconds  # at random, so that thirty computers do not ask in step
    assert 1.1 * seconds < max(pauses) <= 1.2 * seconds


@pytest.mark.usefixtures("quick")
def test_the_finder_keeps_to_these_pauses(ports: range, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "question_pause", lambda port, _asking_for: 0.01 if port == ports[0] else 3600)
    with Impostor(ports[0]) as often, Impostor(ports[1]) as once, finding(queue.Queue()):
        for _ in range(10):
            often.hear()
        once.hear()
        once.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            once.hear()


@pytest.mark.usefixtures("quick")
def test_the_finder_knows_how_long_it_has_been_asking(ports: range, monkeypatch: pytest.MonkeyPatch) -> None:
    times: queue.Queue[float] = queue.Queue()

    def pause(port: int, asking_for: float) -> float:
        if port == ports[0]:
            times.put(asking_for)
        return 0.02

    monkeypatch.setattr(net, "question_pause", pause)
    begin = time.monotonic()
    with finding(queue.Queue()):
        asked = [times.get(timeout=LIMIT) for _ in range(5)]
    assert asked == sorted(asked)
    assert 0.079 <= asked[-1] <= time.monotonic() - begin


def test_close_returns_at_once_even_while_the_finder_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    is_busy, may_go_on = threading.Event(), threading.Event()

    def ways_out(_own_addresses: object) -> list[tuple[str, str]]:
        is_busy.set()
        may_go_on.wait(LIMIT)
        return []

    monkeypatch.setattr(net, "ways_out", ways_out)
    finder = net.find_rooms(queue.Queue())
    assert is_busy.wait(LIMIT)
    finder.close()
    assert not finder.join(0.0)
    may_go_on.set()
    assert finder.join(LIMIT)


@pytest.mark.usefixtures("quick")
def test_a_closed_finder_gives_its_socket_back(ports: range) -> None:
    events: net.Events = queue.Queue()
    with Impostor(ports[0]) as impostor:
        finder = net.find_rooms(events)
        asker = impostor.hear()
        finder.close()
        assert finder.join(LIMIT)
        assert is_unused(asker)  # so its socket is gone
        assert drain(events) == []
        finder.close()  # twice is once


# Ways out ------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
def test_an_adapter_that_comes_is_asked_and_one_that_goes_is_not(ports: range, monkeypatch: pytest.MonkeyPatch) -> None:
    ways: list[tuple[str, str]] = []
    monkeypatch.setattr(net, "ways_out", lambda _own_addresses: [*ways])
    with Impostor(ports[0]) as impostor, finding(queue.Queue()):
        ways.append(ONE_WAY)
        first = impostor.hear()
        ways.append(ANOTHER_WAY)
        second = impostor.hear_another(first)
        ways.remove(ONE_WAY)
        until(lambda: is_unused(first), "the first one's socket is closed")
        impostor.forget()
        assert {impostor.hear() for _ in range(5)} == {second}
        ways.append(ONE_WAY)
        impostor.hear_another(second)


def is_unused(address: tuple[str, int]) -> bool:
    try:
        udp_socket(*address).close()
    except OSError:
        return False
    return True


@pytest.mark.usefixtures("quick")
def test_a_way_that_cannot_be_opened_does_not_disturb_the_others(ports: range) -> None:
    events: net.Events = queue.Queue()
    with net.run_server("Room", port=ports[0]), finding(events, [NO_WAY, ONE_WAY, NO_WAY]):
        expect_rooms(events, "Room")


@pytest.mark.usefixtures("quick")
def test_an_answer_that_cannot_be_sent_does_not_disturb_the_others(
    ports: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoWayBack(socket.socket):
        """The system lets this socket send nothing to one address, as a firewall does."""

        def sendto(self, data: Any, address: Any) -> int:  # type: ignore[override]
            if address == unreachable:
                tried.set()
                raise PermissionError(errno.EPERM, "Operation not permitted")
            return super().sendto(data, address)

    tried = threading.Event()
    with Asker(ports[0]) as stranger, Asker(ports[0]) as asker:
        unreachable = stranger.socket.getsockname()
        with monkeypatch.context() as patch:
            patch.setattr(socket, "socket", NoWayBack)
            server = net.run_server("Room", port=ports[0])
        with server:
            stranger.say(question())
            assert tried.wait(LIMIT)
            assert asker.ask()["title"] == "Room"


@contextlib.contextmanager
def no_datagrams(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The system gives nobody a new UDP socket, as when all files are open that it allows."""

    def refuse(family: int = -1, kind: int = -1, proto: int = -1, fileno: int | None = None) -> socket.socket:
        if kind == socket.SOCK_DGRAM:
            raise OSError(errno.EMFILE, "Too many open files")
        return real(family, kind, proto, fileno)

    real = socket.socket
    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", refuse)
        yield


def count_calls(monkeypatch: pytest.MonkeyPatch, name: str) -> list[None]:
    """Grows by one with each call of this function of net's."""
    calls: list[None] = []
    real = getattr(net, name)

    def counted(*arguments: object) -> object:
        calls.append(None)
        return real(*arguments)

    monkeypatch.setattr(net, name, counted)
    return calls


@pytest.mark.usefixtures("quick")
def test_a_finder_asks_again_after_a_time_in_which_it_could_get_no_socket(
    ports: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways: list[tuple[str, str]] = []
    monkeypatch.setattr(net, "ways_out", lambda _own_addresses: [*ways])
    looks = count_calls(monkeypatch, "ways_out")
    with Impostor(ports[0]) as impostor, finding(queue.Queue()):
        with no_datagrams(monkeypatch):
            ways.append(ONE_WAY)
            seen = len(looks)
            until(lambda: len(looks) > seen + 2, "it has tried that way in vain")
        impostor.hear()


@pytest.mark.usefixtures("quick")
def test_a_room_can_be_found_after_a_time_in_which_it_could_get_no_socket(
    ports: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = count_calls(monkeypatch, "local_addresses")
    with net.run_server("Room", port=ports[0], events=queue.Queue()), Asker(ports[0]) as asker:
        asker.ask()
        with no_datagrams(monkeypatch):
            seen = len(looks)
            until(lambda: len(looks) > seen + 1, "it looks at its addresses, twice")
        assert asker.ask()["title"] == "Room"


# The host is told where others can join ------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
def test_the_host_is_told_the_addresses_at_once_and_again_only_when_they_change(
    ports: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = ["10.0.0.1", "10.0.0.2"]
    monkeypatch.setattr(net, "local_addresses", lambda: [*addresses])
    looks = count_calls(monkeypatch, "local_addresses")
    events: net.Events = queue.Queue()
    with net.run_server("Room", port=ports[0], events=events):
        assert events.get(timeout=LIMIT) == net.Reachable(("10.0.0.1", "10.0.0.2"), findable=True)
        until(lambda: len(looks) >= 5, "it looks again")
        assert drain(events) == []
        addresses[:] = []
        assert events.get(timeout=LIMIT) == net.Reachable((), findable=True)
        addresses[:] = ["10.0.0.3"]
        assert events.get(timeout=LIMIT) == net.Reachable(("10.0.0.3",), findable=True)


def test_the_host_is_told_the_addresses_before_anybody_looks_for_the_room(ports: range) -> None:
    """And with the program's own times: long before it looks a second time."""
    events: net.Events = queue.Queue()
    with net.run_server("Room", port=ports[0], events=events):
        assert isinstance(events.get(timeout=net.ADDRESSES_EVERY / 2), net.Reachable)


def test_a_room_whose_udp_port_is_taken_opens_all_the_same_and_the_host_is_told(ports: range) -> None:
    events: net.Events = queue.Queue()
    with udp_socket("", ports[0]), net.run_server("Room", port=ports[0], events=events) as server:
        assert not expect(events, net.Reachable).findable
        assert server.port == ports[0]
        with Wire(server.port) as ann:
            assert ann.join("Ann")["title"] == "Room"


def test_a_room_for_which_there_is_no_udp_socket_opens_all_the_same(
    ports: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    with no_datagrams(monkeypatch), net.run_server("Room", port=ports[0]), Wire(ports[0]) as ann:
        assert ann.join("Ann")["title"] == "Room"


@pytest.mark.usefixtures("quick")
def test_if_its_finder_fails_the_room_goes_on_and_the_host_is_told_that_it_cannot_be_found(
    ports: range, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> list[str]:
        raise RuntimeError("a fault of this program")

    monkeypatch.setattr(net, "local_addresses", lambda: ["10.0.0.1"])
    events: net.Events = queue.Queue()
    with net.run_server("Room", port=ports[0], events=events) as server, Wire(server.port) as ann:
        assert events.get(timeout=LIMIT) == net.Reachable(("10.0.0.1",), findable=True)
        ann.join("Ann")
        monkeypatch.setattr(net, "local_addresses", fail)
        assert events.get(timeout=LIMIT) == net.Reachable(("10.0.0.1",), findable=False)
        ann.say(1, "still here")
        assert ann.receive_until("said")["text"] == "still here"
        with Wire(server.port) as bob:
            bob.join("Bob")
    assert drain(events) == []
    assert "a fault of this program" in caplog.text
    caplog.clear()


# Nothing is left behind ----------------------------------------------------------------------------------------------


def descriptors() -> int:
    return len(os.listdir(DESCRIPTORS)) if DESCRIPTORS.exists() else 0


def test_a_hundred_finders_leave_nothing_behind() -> None:
    before = descriptors(), threading.active_count()
    for _ in range(100):
        finder = net.find_rooms(queue.Queue())
        finder.close()
        assert finder.join(LIMIT)
    assert descriptors() <= before[0]
    assert threading.active_count() <= before[1]


def test_a_hundred_rooms_leave_nothing_behind(ports: range) -> None:
    before = descriptors(), threading.active_count()
    for _ in range(100):
        with net.run_server("Room", port=ports[0], events=queue.Queue()) as server:
            assert server.port == ports[0]
    assert descriptors() <= before[0]
    assert threading.active_count() <= before[1]
