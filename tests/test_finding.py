"""Finding rooms, on this computer alone: questions, answers, and what the finder does with forged ones.

The program's seconds are hundredths here. The questions go to ten ports of the test's own, which it gets from
`own_ports`: tests that run at the same time do not hear each other. Several computers: tests/test_networks.py.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import queue
import random
import select
import socket
import threading
import time
from collections.abc import Iterator
from unittest.mock import Mock

import pytest

import net
from tests.conftest import needs_addresses
from tests.helpers import EVERYBODY, LIMIT, LOOPBACK, Message, Wire, drain, expect, message, udp_socket, until
from tests.helpers import own_ports as own_ports

FIND: Message = message("find", protocol=net.PROTOCOL)
ONE_WAY, ANOTHER_WAY = (LOOPBACK, EVERYBODY), ("", LOOPBACK)  # as two adapters
NO_WAY = ("192.0.2.1", EVERYBODY)  # an address for documentation (RFC 5737): no computer has it to ask from
ELSEWHERE = "127.0.0.2"  # stands for another computer: it is an address of this one, but not one that net looks for
ASK_EVERY, TELL_EVERY = net.ASK_EVERY, net.TELL_EVERY
Address = tuple[str, int]


@pytest.fixture(autouse=True)
def ports(monkeypatch: pytest.MonkeyPatch) -> Iterator[range]:
    """The test's own ports instead of 5252 to 5261, and hundredths of seconds."""
    monkeypatch.setattr(net, "ASK_EVERY", (0.03, 0.03))
    monkeypatch.setattr(net, "TELL_EVERY", 0.02)
    monkeypatch.setattr(net, "ADDRESSES_EVERY", 0.02)
    with own_ports() as ten:
        monkeypatch.setattr(net, "PORT", ten[0])
        monkeypatch.setattr(net, "PORTS", ten)
        yield ten


@contextlib.contextmanager
def finding(*ways: tuple[str, str]) -> Iterator[net.Events]:
    """A finder's events; at the end a wait for its thread, which must not outlive what the test changed in net."""
    events: net.Events = queue.Queue()
    with net.find_rooms(events, ways=list(ways) or None) as finder:
        yield events
    assert finder.join(LIMIT)


@pytest.fixture
def found() -> Iterator[net.Events]:
    """What a finder tells."""
    with finding() as events:
        yield events


def expect_rooms(events: net.Events, *titles: str) -> tuple[net.FoundRoom, ...]:
    """The list of rooms, once it is this one."""
    return expect(events, net.Found, lambda found: [room.title for room in found.rooms] == [*titles]).rooms


def answer(port: int, /, **different: object) -> bytes:
    """What a room answers; a field that is given as ... is left out."""
    fields = {"room": f"room {port}", "title": "Good", "port": port, "people": 1, "password": False}
    fields = message("room", protocol=net.PROTOCOL, **fields) | different
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()


def question(**different: object) -> bytes:
    return json.dumps(FIND | different).encode()


class Peer(contextlib.AbstractContextManager["Peer"]):
    """A UDP socket: an impostor's, which answers questions as the test wants, or that of somebody who asks a room."""

    def __init__(self, port: int = 0, host: str = "") -> None:
        self.socket = udp_socket(host, port)
        self.port: int = self.socket.getsockname()[1]

    def __exit__(self, *_exception: object) -> None:
        self.socket.close()

    def hear(self) -> Address:
        """The next question; from whom."""
        data, asker = self.socket.recvfrom(2048)
        assert json.loads(data) == FIND
        return str(asker[0]), int(asker[1])

    def hear_another(self, known: Address) -> Address:
        """The next question from somebody else."""
        deadline = time.monotonic() + LIMIT
        while (asker := self.hear()) == known:
            assert time.monotonic() < deadline, f"only {known} asked within {LIMIT:g} s"
        return asker

    def say(self, asker: Address, **different: object) -> None:
        self.socket.sendto(answer(self.port, **different), asker)

    def ask(self, port: int, data: bytes = question()) -> Message:
        """The room's answer to a question, proper if it is not another one."""
        self.socket.sendto(data, (LOOPBACK, port))
        message: Message = json.loads(self.socket.recv(2048))
        return message

    def has_a_datagram(self) -> bool:
        """Whether one has come; it is taken."""
        has_come = select.select([self.socket], [], [], 0)[0] != []
        if has_come:
            self.socket.recv(2048)
        return has_come


# Rooms answer and are found ------------------------------------------------------------------------------------------


def test_two_rooms_on_one_computer_are_found_with_all_that_they_tell(ports: range, found: net.Events) -> None:
    secret = "open sesame" if net.CAN_ENCRYPT else None
    with net.run_server("Blue", port=ports[0]) as blue, net.run_server("Red", port=ports[0], password=secret) as red:
        # The port was taken, so the second room got the next one.
        other = net.FoundRoom(red.id, "Red", LOOPBACK, ports[1], people=0, password=net.CAN_ENCRYPT)
        row = net.FoundRoom(blue.id, "Blue", LOOPBACK, ports[0], people=0, password=False)
        expect(found, net.Found, lambda event: sorted(event.rooms, key=lambda room: room.port) == [row, other])
        with Wire(ports[0]) as ann:
            ann.join("Ann")
            expect(found, net.Found, lambda event: dataclasses.replace(row, people=1) in event.rooms)
            ann.leave()
            expect(found, net.Found, lambda event: row in event.rooms)


@pytest.mark.usefixtures("found")
def test_all_ten_ports_are_asked(ports: range, stack: contextlib.ExitStack) -> None:
    for impostor in [stack.enter_context(Peer(port)) for port in ports]:
        impostor.hear()


def test_rooms_come_in_the_order_in_which_they_were_found_with_their_newest_answer(
    ports: range, found: net.Events
) -> None:
    with Peer(ports[8]) as first, Peer(ports[4]) as second:
        first.say(first.hear(), title="Z")
        expect_rooms(found, "Z")
        second.say(second.hear(), title="A")
        expect_rooms(found, "Z", "A")
        first.say(first.hear(), title="Y", people=7)
        assert [room.people for room in expect_rooms(found, "Y", "A")] == [7, 1]


def test_a_room_that_is_heard_on_two_ways_is_one_row(ports: range) -> None:
    """As on a computer with a cable and Wi-Fi in the same network."""
    with finding(ONE_WAY, ANOTHER_WAY) as found, Peer(ports[3]) as impostor:
        first = impostor.hear()
        for number, asker in enumerate((first, impostor.hear_another(first))):
            impostor.say(asker, title=str(number))
            expect_rooms(found, str(number))


@needs_addresses
def test_a_room_that_answers_from_two_of_this_computers_own_addresses_is_one_row(
    ports: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row keeps the address at which the room was found first, and shows the newest answer."""
    monkeypatch.setattr(net, "local_addresses", lambda: [ELSEWHERE])
    with finding((LOOPBACK, LOOPBACK)) as found, Peer(ports[0], LOOPBACK) as first, Peer(ports[0], ELSEWHERE) as second:
        asker = first.hear()
        second.say(asker, room="the same", people=1)
        assert expect_rooms(found, "Good")[0].address == ELSEWHERE
        first.say(asker, room="the same", people=2)
        (room,) = expect(found, net.Found).rooms
        assert (room.address, room.people) == (ELSEWHERE, 2)


def test_a_room_that_no_longer_answers_goes_and_makes_place_while_the_others_stay(
    ports: range, found: net.Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "MAX_ROOMS", 2)
    with net.run_server("Stays", port=ports[0]), Peer(ports[1]) as impostor:
        expect_rooms(found, "Stays")
        asker = impostor.hear()
        said_at = time.monotonic()
        impostor.say(asker, title="Goes")
        expect_rooms(found, "Stays", "Goes")
        monkeypatch.setattr(net, "ROOM_GONE_AFTER", 0.5)  # only now: a slow computer may show nothing for so long
        expect_rooms(found, "Stays")
        assert time.monotonic() - said_at >= 0.5
        with net.run_server("Comes", port=ports[2]):
            expect(found, net.Found, lambda event: {room.title for room in event.rooms} == {"Stays", "Comes"})


def test_a_room_that_was_closed_and_opened_again_takes_the_place_of_the_old_one(
    ports: range, found: net.Events
) -> None:
    with net.run_server("Room", port=ports[0]):
        (old,) = expect_rooms(found, "Room")
    with net.run_server("Room", port=ports[0]) as server:
        assert server.id != old.room
        (new,) = expect(found, net.Found).rooms  # and not first a list with both
        assert (new.room, new.port) == (server.id, old.port)


def test_the_asker_alone_gets_the_answer(ports: range) -> None:
    with net.run_server("Room", port=ports[0]) as server, Peer() as ann, Peer() as bob:
        expected = json.loads(answer(ports[0], title="Room", room=server.id, people=0))
        assert ann.ask(ports[0]) == bob.ask(ports[0]) == expected
        assert not ann.has_a_datagram()
        newer = question(language="fr") + b"\n"  # it may know more than this version
        assert ann.ask(ports[0], newer) == expected


NO_QUESTIONS: dict[str, bytes] = {
    "nothing": b"",
    "nested": b"[" * 2000,
    "no protocol": json.dumps(message("find")).encode(),
    "an older protocol": question(protocol=net.PROTOCOL - 1),
    "a newer protocol": question(protocol=net.PROTOCOL + 1),
    "a broken protocol": question(protocol=float(net.PROTOCOL)),
    "an answer": answer(5252),
    "a type that is none": question(type={"find": 1}),
    "huge": question(more="x" * 9_000),  # macOS sends no larger ones
}


def test_what_is_no_question_gets_no_answer_and_the_next_question_does(ports: range) -> None:
    with net.run_server("Room", port=ports[0]), Peer() as stranger, Peer() as asker:
        for what, data in NO_QUESTIONS.items():
            stranger.socket.sendto(data, (LOOPBACK, ports[0]))
            assert asker.ask(ports[0])["title"] == "Room"  # it came later, so the other one has been dealt with
            assert not stranger.has_a_datagram(), what


# Answers are not trusted ---------------------------------------------------------------------------------------------

RAW_NOT_ROOMS = [
    b"",
    b"room",
    b"[%s]" % answer(5252),
    answer(5252)[:-1],
    answer(5252).replace(b"Good", b"\xff\xfe"),  # not UTF-8
    answer(5252).replace(b"Good", b"\0"),  # not JSON
    answer(5252).replace(b"false", b"NaN"),
    b'{"a":' * 400,
    answer(5252, more="x" * 9_000),
]
NOT_ROOMS: dict[str, list[object]] = {  # a field, and what it cannot be; ... leaves it out
    "port": [..., 0, -1, 1, 5252, 2**70, "5252"],
    "title": [..., "", 5, "\u200b \u2028\t\u00ad\ufeff\u3164", "x" * 61, "x" + " " * 60],
    "room": [..., "", "\0", 5, None, "x" * 65],
    "people": [..., -1, 1_001, 10**1000, 1.5, True, "many", ["Ann"]],
    "password": [..., 0, "secret"],
    "protocol": [..., net.PROTOCOL - 1, net.PROTOCOL + 1],
    "type": [..., "find", "rooms"],
}


def test_what_cannot_be_a_room_is_not_shown_and_a_room_after_it_is(ports: range, found: net.Events) -> None:
    with Peer(ports[0]) as bad, Peer(ports[1]) as good:
        asker = bad.hear()
        forged = [data.replace(b"5252", str(bad.port).encode()) for data in RAW_NOT_ROOMS]
        forged += [answer(bad.port, **{field: value}) for field, values in NOT_ROOMS.items() for value in values]
        for people, data in enumerate(forged):
            bad.socket.sendto(data, asker)
            good.say(asker, people=people)
            rooms = expect(found, net.Found).rooms
            assert [(room.port, room.people) for room in rooms] == [(good.port, people)], data


TITLES = {  # and what is shown
    "\x1b[31mRed\x00 \u202eroom\u2066": "[31mRed room",
    "  two \r\n lines\t": "two lines",
    "x" * 58 + "\ufdfa": "x" * 58 + "\u0635\u0644",  # one character, which NFKC writes as 18
    "\uff32oom": "Room",
}


def test_a_title_is_shown_clean_and_not_too_long(ports: range, found: net.Events) -> None:
    with Peer(ports[0]) as impostor:
        asker = impostor.hear()
        for title, shown in TITLES.items():
            impostor.say(asker, title=title)
            expect_rooms(found, shown)


@needs_addresses
@pytest.mark.parametrize(
    ("answers", "shown"),
    [
        ("2a 1a 2b 2c 2d 2e 1b", "2a 1a 2b 2c 1b"),
        ("2a 1a 2b 2c 2d 2e 3a", "2a 1a 2b 2c 3a"),
        ("1a 2a 3a 4a 5a 6a 7a", "1a 2a 3a 4a 5a"),  # as answers claim that come from many addresses
    ],
)
def test_a_full_list_loses_the_newest_of_the_address_with_the_most_rooms_or_takes_no_more(
    ports: range, monkeypatch: pytest.MonkeyPatch, answers: str, shown: str
) -> None:
    """So nobody can push another's room off the list, or keep one from getting into it. Room 2a is at 127.0.0.2."""
    monkeypatch.setattr(net, "MAX_ROOMS", 5)
    with finding((LOOPBACK, LOOPBACK)) as found, contextlib.ExitStack() as stack:
        asker = stack.enter_context(Peer(ports[-1], LOOPBACK)).hear()
        peers = []
        for port, title in zip(ports, answers.split(), strict=False):
            peers.append(stack.enter_context(Peer(port, f"127.0.0.{title[0]}")))
            peers[-1].say(asker, title=title)
        peers[0].say(asker, title="still follows")
        expect_rooms(found, "still follows", *shown.split()[1:])


def test_a_flood_of_forged_answers_costs_few_events_and_hides_no_room(
    ports: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "ASK_EVERY", (0.1, 0.1))
    monkeypatch.setattr(net, "TELL_EVERY", TELL_EVERY)
    with net.run_server("Room", port=ports[0]), Wire(ports[0]) as ann, contextlib.ExitStack() as stack:
        impostors = [stack.enter_context(Peer(0, LOOPBACK)) for _ in range(net.MAX_ROOMS + 20)]
        listener = stack.enter_context(Peer(ports[1]))
        found = stack.enter_context(finding())
        expect_rooms(found, "Room")
        asker = listener.hear()
        begin = time.monotonic()
        while time.monotonic() < begin + 2 * net.TELL_EVERY:
            for impostor in impostors:
                noise = f"{random.random()}"
                impostor.say(asker, room=noise, title=noise)
        ann.join("Ann")
        told = [expect(found, net.Found, lambda event: len(event.rooms) == net.MAX_ROOMS)]
        while told[-1].rooms[0].people != 1:
            told.append(expect(found, net.Found))
        assert {(event.rooms[0].title, len(event.rooms)) for event in told} == {("Room", net.MAX_ROOMS)}
        assert len(told) <= 1 + (time.monotonic() - begin) / net.TELL_EVERY


@pytest.mark.parametrize(
    ("first", "asking_for", "seconds"), [(True, 0.0, 2.0), (True, 10.1, 4.0), (False, 10.0, 6.0), (False, 99.0, 12.0)]
)
def test_the_first_port_is_asked_most_often_and_all_of_them_less_after_a_while(
    ports: range, monkeypatch: pytest.MonkeyPatch, first: bool, asking_for: float, seconds: float
) -> None:
    monkeypatch.setattr(net, "ASK_EVERY", ASK_EVERY)
    pauses = [net.question_pause(port, asking_for) for port in (ports[:1] if first else ports[1:]) for _ in range(200)]
    assert 0.8 * seconds <= min(pauses) < 0.9 * seconds  # at random, so that thirty computers do not ask in step
    assert 1.1 * seconds < max(pauses) <= 1.2 * seconds


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


# When and where it asks ----------------------------------------------------------------------------------------------


def test_an_adapter_that_comes_is_asked_and_one_that_goes_is_not(ports: range, monkeypatch: pytest.MonkeyPatch) -> None:
    ways: list[tuple[str, str]] = []
    monkeypatch.setattr(net, "ways_out", lambda _own_addresses: [*ways])
    with Peer(ports[0]) as impostor, finding():
        ways.append(ONE_WAY)
        first = impostor.hear()
        ways.append(ANOTHER_WAY)
        second = impostor.hear_another(first)
        ways.remove(ONE_WAY)
        until(lambda: is_unused(first), "the first one's socket is closed")
        until(lambda: {impostor.hear() for _ in range(5)} == {second}, "only the second one asks")
        ways.append(ONE_WAY)
        impostor.hear_another(second)


def is_unused(address: Address) -> bool:
    try:
        udp_socket(*address).close()
    except OSError:
        return False
    return True


def test_an_answer_that_cannot_be_sent_does_not_disturb_the_others(
    ports: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system lets the room send nothing to one address, as a firewall does."""

    def sendto(sock: socket.socket, data: bytes, address: Address) -> int:
        if address == unreachable:
            tried.set()
            raise PermissionError(errno.EPERM, "Operation not permitted")
        return really_send(sock, data, address)

    tried = threading.Event()
    really_send = socket.socket.sendto
    monkeypatch.setattr(socket.socket, "sendto", sendto)
    with net.run_server("Room", port=ports[0]), Peer(host=LOOPBACK) as stranger, Peer() as asker:
        unreachable = stranger.socket.getsockname()
        stranger.socket.sendto(question(), (LOOPBACK, ports[0]))
        assert tried.wait(LIMIT)
        assert asker.ask(ports[0])["title"] == "Room"


def test_rooms_are_found_again_after_a_time_in_which_the_system_gives_no_socket(
    ports: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It refuses each new UDP socket, as when too many files are open."""

    def refuse(family: int = -1, kind: int = -1, proto: int = -1, fileno: int | None = None) -> socket.socket:
        if kind == socket.SOCK_DGRAM:
            raise OSError(errno.EMFILE, "Too many open files")
        return real(family, kind, proto, fileno)

    real = socket.socket
    ways: list[tuple[str, str]] = []
    monkeypatch.setattr(net, "ways_out", lambda _own_addresses: [*ways])
    looks = Mock(wraps=net.local_addresses)  # of the room and of the finder
    monkeypatch.setattr(net, "local_addresses", looks)
    with net.run_server("Room", port=ports[0]), finding() as found:
        with monkeypatch.context() as patch:
            patch.setattr(socket, "socket", refuse)
            ways[:] = [NO_WAY, ONE_WAY, NO_WAY]  # those that cannot be opened do not disturb the other
            seen = looks.call_count
            until(lambda: looks.call_count > seen + 6, "both try in vain")
        expect_rooms(found, "Room")


# The host is told where others can join ------------------------------------------------------------------------------


def test_the_host_is_told_the_addresses_when_they_change(ports: range, monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = ["10.0.0.1", "10.0.0.2"]
    looks = Mock(side_effect=lambda: [*addresses])
    monkeypatch.setattr(net, "local_addresses", looks)
    events: net.Events = queue.Queue()
    with net.run_server("Room", port=ports[0], events=events):
        assert events.get(timeout=LIMIT) == net.Reachable(("10.0.0.1", "10.0.0.2"), findable=True)
        until(lambda: looks.call_count >= 5, "it looks again")
        assert drain(events) == []
        addresses[:] = []
        assert events.get(timeout=LIMIT) == net.Reachable((), findable=True)


def test_a_room_whose_udp_port_is_taken_opens_all_the_same_and_the_host_is_told(ports: range) -> None:
    events: net.Events = queue.Queue()
    with udp_socket("", ports[0]), net.run_server("Room", port=ports[0], events=events) as server:
        assert not expect(events, net.Reachable).findable
        assert server.port == ports[0]
        with Wire(server.port) as ann:
            assert ann.join("Ann")["title"] == "Room"


def test_if_its_finder_fails_the_room_goes_on_and_the_host_is_told_that_it_cannot_be_found(
    ports: range, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> list[str]:
        raise RuntimeError("a fault of this program")

    monkeypatch.setattr(net, "local_addresses", lambda: ["10.0.0.1"])
    events: net.Events = queue.Queue()
    with net.run_server("Room", port=ports[0], events=events) as server:
        assert events.get(timeout=LIMIT) == net.Reachable(("10.0.0.1",), findable=True)
        monkeypatch.setattr(net, "local_addresses", fail)
        assert events.get(timeout=LIMIT) == net.Reachable(("10.0.0.1",), findable=False)
        with Wire(server.port) as ann:
            ann.join("Ann")
    assert drain(events) == []
    assert "a fault of this program" in caplog.text
    caplog.clear()
