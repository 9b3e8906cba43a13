"""The room, seen from outside: people who speak the bare protocol to it over real sockets.

What needs no socket (names, the history, who may write) is tested in tests/test_rules.py.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import net
from tests.conftest import OpenRoom, open_sockets
from tests.helpers import LIMIT, LOOPBACK, Member, Message, Wire, message, own_ports, port_of, until

Enter = Callable[..., Member]
FOREVER = 10 * LIMIT  # s; nobody waits so long


@pytest.fixture
def enter(stack: contextlib.ExitStack) -> Enter:
    """Lets people in: enter(room, name)."""
    return lambda *who, **how: stack.enter_context(contextlib.closing(Member(*who, **how)))


@pytest.fixture
def alice(room: net.Server, enter: Enter) -> Member:
    return enter(room, "Alice")


@pytest.fixture
def bob(room: net.Server, enter: Enter) -> Member:
    return enter(room, "Bob")


@pytest.fixture
def long_farewell(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this computer is, everything that is still sent is read and dropped in time."""
    monkeypatch.setattr(net, "LAST_WORDS", LIMIT)


def refusal(port: int, name: str = "Mallory") -> Message:
    """What the room says instead of a welcome; the connection ends after it."""
    with Wire(port) as wire:
        answer = wire.try_to_join(name)
        assert answer["type"] == "refused", answer
        assert answer["reason"]
        assert wire.receive_all() == []
    return answer


def make_reading_slow(*wires: Wire) -> None:
    """What they do not read soon fills all buffers."""
    for wire in wires:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)


def room_threads(room: net.Server) -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("reader ") or t.name.endswith(f" {room.port}")]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The room looks at the clock often, and soon pings."""
    monkeypatch.setattr(net, "TICK", 0.02)
    monkeypatch.setattr(net, "PING_AFTER", 0.1)


# Coming in, and coming back ------------------------------------------------------------------------------------------


def test_a_newcomer_who_is_refused_is_told_why(open_room: OpenRoom, enter: Enter) -> None:
    room = open_room(limit=2, host_name="Mr Lee")
    assert refusal(room.port, "Mr Lée (host)")["code"] == "bad"
    alice, bob = enter(room, "Alice"), enter(room, "Bob")
    assert refusal(room.port)["code"] == "full"
    bob.leave()
    alice.all_up_to("left")
    enter(room, "Ann")


@pytest.mark.parametrize(
    "wrong",
    [
        *[{"title": "\u200b"}, {"host_name": " "}, {"port": -1}, {"port": 65536}, {"history": 0}, {"limit": 0}],
        *[{"limit": net.MAX_PEOPLE + 1}, {"rate": 0}, {"rate": -1.0}, {"max_file": -1}, {"max_store": -1}],
    ],
)
def test_a_room_that_cannot_exist_is_the_callers_mistake(open_room: OpenRoom, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"title|port|above 0|bytes"):
        open_room(**wrong)


@pytest.mark.usefixtures("long_farewell")
@pytest.mark.parametrize("last", [None, message("say", id=1, text="not heard"), message("leave"), message("junk")])
def test_a_person_who_is_back_has_neither_left_nor_joined_and_an_older_connection_is_closed_and_not_listened_to(
    room: net.Server, alice: Member, bob: Member, enter: Enter, last: Message | None
) -> None:
    readers = len(room_threads(room))
    if last is None:
        bob.close()
    again = enter(room, "Bob", bob.token)
    if last is not None:
        bob.send(last)
        assert bob.receive_all()[-1]["type"] == "closed"
        bob.close()
    again.says("from the new one")
    events = alice.all_up_to("said")
    assert [event["type"] for event in events] == ["joined", "joined", "said"]
    assert events[-1]["text"] == "from the new one"
    until(lambda: len(room_threads(room)) == readers, "nobody waits for Bob any longer")


def test_a_leaving_is_seen_at_once_whatever_comes_behind_it(
    alice: Member, bob: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "LAST_WORDS", FOREVER)  # nobody has to wait for the end of Bob's connection,
    monkeypatch.setattr(net, "TICK", FOREVER)  # or for the next time that the sender wakes anyway
    alice.says("the sender wakes")
    bob.send_bytes(net.encode(net.Leave()) + net.encode(net.Ping()))
    alice.receive_until("left")


def test_a_person_who_left_is_not_lost_as_well(
    room: net.Server, alice: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost, back, and gone on purpose: the reader that waits for the return must not report a second departure."""
    monkeypatch.setattr(net, "BACK_WITHIN", FOREVER)
    readers = len(room_threads(room))
    for number in range(20):
        token = f"{number:032x}"
        with Wire(room.port) as bob:
            bob.join("Bob", token)
        with Wire(room.port) as bob:
            bob.hello()
            # In one packet, so that `leave` follows `join` as closely as possible.
            bob.send_bytes(net.encode(net.Join("Bob", token, None, 0)) + net.encode(net.Leave()))
            bob.receive_all()
        assert alice.receive_until("left")["reason"] == "left"
    until(lambda: len(room_threads(room)) == readers, "nobody waits for Bob any longer")
    alice.says("marker")
    assert alice.next()["text"] == "marker"


# Last words and silence ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("long_farewell")
@pytest.mark.parametrize(("last", "answer"), [("junk", "refused"), ("leave", "left")])
def test_answers_and_last_words_arrive_although_the_other_side_has_shut_down(
    alice: Member, last: str, answer: str
) -> None:
    """She says 2 MB and only then begins to listen, so that most of the answers are still to be written."""
    make_reading_slow(alice)
    for number in range(500):
        alice.says(f"{number} " + "x" * 3900)
    alice.send(message(last))
    alice.socket.shutdown(socket.SHUT_WR)
    messages = alice.receive_all()
    said = [each["text"].split()[0] for each in messages if each["type"] == "said"]
    assert said == [str(number) for number in range(500)]
    assert messages[-1]["type"] == answer


@pytest.mark.usefixtures("long_farewell")
def test_a_closing_room_tells_people_who_are_still_sending(
    open_room: OpenRoom, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "CLOSE_TIME", LIMIT)
    room = open_room(history=10**6)  # however much she has not read yet, she does not fall out of it
    alice = enter(room, "Alice")

    def talk() -> None:
        with contextlib.suppress(OSError):
            while True:
                alice.says("and another thing")

    threads = [threading.Thread(target=talk), threading.Thread(target=room.close, args=["The lesson is over."])]
    threads[0].start()
    alice.hears("and another thing")
    threads[1].start()
    assert alice.receive_until("closed")["reason"] == "The lesson is over."
    alice.socket.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(LIMIT)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("sent", [b"", b"x"])
def test_a_person_who_sends_no_complete_line_is_lost(
    alice: Member, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    assert alice.receive_until("joined")
    monkeypatch.setattr(net, "SILENCE", 0.4)  # only now, or a slow computer loses her before she is in
    with contextlib.suppress(OSError):
        while (received := alice.receive(pings=True)) is not None:
            assert received["type"] == "ping"  # nobody tells her to go
            alice.send_bytes(sent)


@pytest.mark.parametrize("sent", [b"", b"{", net.encode(net.Hello(net.PROTOCOL, tls=False))])
def test_a_connection_that_does_not_say_what_it_came_for_is_closed(
    room: net.Server, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(net, "FIRST_MESSAGE", 0.2)
    monkeypatch.setattr(net, "FIRST_MESSAGE_SPREAD", 0.0)
    with Wire(room.port) as wire:
        wire.send_bytes(sent)
        assert "welcome" not in [each["type"] for each in wire.receive_all()]


# Limits per person and per address -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("lines", "size"), [(30, 1), (8, 3900)])
def test_twenty_units_are_free_and_then_a_person_is_read_more_slowly(
    open_room: OpenRoom, enter: Enter, lines: int, size: int
) -> None:
    """A message costs one unit, and each KiB beyond its first another one: both floods cost about 30."""
    alice = enter(open_room(rate=20), "Alice")
    begin = time.monotonic()
    for number in range(lines):
        alice.says(chr(ord("A") + number) * size)
    alice.hears(chr(ord("A") + lines - 1) * size)
    assert time.monotonic() - begin > 0.4  # on a slow computer it takes longer


@pytest.mark.usefixtures("quick")
def test_time_in_which_the_limit_holds_somebody_back_is_not_silence(
    open_room: OpenRoom, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = enter(open_room(rate=1), "Alice")
    for text in ("at once", "a second later"):
        alice.says(text)
    alice.hears("at once")
    now = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + net.SILENCE)  # it passes while the room lets her wait
    alice.hears("a second later")
    for _ in range(3):  # meanwhile the room reads again, and nothing comes
        alice.receive_until("ping")


@pytest.mark.usefixtures("quick")
def test_a_room_that_reads_slowly_gives_a_sign_of_life_all_the_same(open_room: OpenRoom, enter: Enter) -> None:
    """All these lines come at once, and it takes the room a quarter of an hour to read them."""
    alice = enter(open_room(rate=1), "Alice")
    alice.send_bytes(net.encode(net.Ping()) * 1000)
    for _ in range(3):
        alice.receive_until("ping")


def test_the_allowance_is_the_persons_and_not_the_connections(open_room: OpenRoom, enter: Enter) -> None:
    room = open_room(rate=10)
    alice = enter(room, "Alice")
    begin = time.monotonic()
    for number in range(10):
        alice.says(str(number))
    alice.hears("9")
    for _ in range(3):  # each return costs as much as a message
        alice = enter(room, "Alice", alice.token)
    assert alice.may_write() == "said"
    assert time.monotonic() - begin > 0.35  # a new allowance would let it through at once


def test_the_people_of_one_address_share_ten_times_one_persons_allowance(open_room: OpenRoom, enter: Enter) -> None:
    room = open_room(rate=2)
    people = [enter(room, f"Person {number}") for number in range(15)]
    begin = time.monotonic()
    for person in people:
        person.says("one")
        person.says("two")
    for _ in range(30):
        people[0].receive_until("said")
    assert time.monotonic() - begin > 0.4  # 20 lines at once, and then 20 a second; alone, nobody would have to wait


def test_from_one_address_some_new_people_come_at_once_and_the_next_is_told_when_to_come(
    open_room: OpenRoom, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "NEWCOMERS", (3.0, 0.01))
    room = open_room(rate=20)
    for _ in range(50):  # joins that are refused do not count, or one pupil could keep the class out
        assert refusal(room.port, "\u200b")["code"] == "bad"
    first, *_ = [enter(room, f"Pupil {number}") for number in range(3)]
    refused = refusal(room.port)
    assert refused["code"] == "wait"
    assert 1 <= refused["seconds"] <= 100
    assert enter(room, "", room.token).who == net.HOST  # the host is exempt
    assert enter(room, "Pupil 0", first.token).who == first.who  # and so are people whom the room knows
    unlimited = open_room(rate=None)
    for _ in range(5):
        enter(unlimited, "Pupil")


# Ports, and closing --------------------------------------------------------------------------------------------------


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> Iterator[range]:
    """Three ports that are this test's own, instead of those for rooms."""
    with own_ports() as ten:
        monkeypatch.setattr(net, "PORTS", ten[:3])
        yield net.PORTS


def test_rooms_take_the_next_free_port_and_never_share_one(open_room: OpenRoom, ports: range) -> None:
    assert [open_room(port=wanted).port for wanted in (ports[1], ports[0], ports[0])] == [ports[1], ports[0], ports[2]]
    assert open_room(port=ports[0]).port not in ports, "all three are taken"
    with socket.create_server((LOOPBACK, 0)) as other_program, pytest.raises(OSError, match=r"in use|10048|only one"):
        open_room(port=port_of(other_program))


def test_a_port_that_is_reserved_is_passed_over(
    open_room: OpenRoom, ports: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows keeps ranges of ports for itself (error 10013, which Python calls EACCES)."""
    bind_anywhere = socket.socket.bind

    def bind_outside_the_range(sock: socket.socket, address: tuple[str, int]) -> None:
        if address[1] == ports[0]:
            raise PermissionError(errno.EACCES, "reserved")
        bind_anywhere(sock, address)

    monkeypatch.setattr(socket.socket, "bind", bind_outside_the_range)
    assert open_room(port=ports[0]).port == ports[1]


@pytest.mark.parametrize(("rate", "lines"), [(None, 500), (1, 100)])
def test_a_closing_room_waits_for_nobody_whatever_the_others_do(
    open_room: OpenRoom, monkeypatch: pytest.MonkeyPatch, rate: float | None, lines: int
) -> None:
    """Some have said nothing, or too much; some do not read, or have gone; and one is held back by the limit."""
    for wait in ("BACK_WITHIN", "SILENCE", "LAST_WORDS", "FIRST_MESSAGE"):
        monkeypatch.setattr(net, wait, FOREVER)
    monkeypatch.setattr(net, "CLOSE_TIME", 0.3)
    before = open_sockets()
    room = open_room(rate=rate)
    with Wire(room.port), Wire(room.port) as half, Member(room, "Stuck") as stuck, Member(room, "Talker") as talker:
        half.hello()
        make_reading_slow(stuck, talker)
        for number in range(lines):
            talker.says(f"{number} " + "x" * 3900)
        until(lambda: len(room_threads(room)) == 7, "all are there")
        Member(room, "Lost").close()
        started = time.monotonic()
        room.close()
        assert time.monotonic() - started < LIMIT
        assert room_threads(room) == []
    assert open_sockets() <= before
    with pytest.raises(ConnectionRefusedError):
        Wire(room.port)
    room.close()  # closing twice is harmless


def test_when_connections_run_out_those_that_have_not_joined_make_way_the_oldest_first(
    open_room: OpenRoom, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "SPARE_CONNECTIONS", 1)
    room = open_room(limit=2)
    alice = enter(room, "Alice")
    with Wire(room.port) as first, Wire(room.port) as second:
        first.hello()
        second.hello()
        bob = enter(room, "Bob")
        assert first.receive_all() == []
        enter(room, "", room.token)
        assert second.receive_all() == []
    with Wire(room.port) as too_many:  # only people who have joined are left
        assert too_many.receive_all() == []
    assert alice.may_write() == bob.may_write() == "said"
