"""What a classmate with a Python prompt tries, from outside the room and from inside it.

Each attack here worked on the first edition, or on this one before it was tried. The others in the room must notice
nothing, and honest people must get in. Some attacks are elsewhere: forged rooms, and a list full of them, in
test_finding.py; muted people with new names, names like the host's, bans that hit neighbours, and worksheets for
latecomers in test_rules.py; classes behind one address in test_room.py; events without end in test_client.py; uploads
that only say how large they are, and transfers that take all connections, in test_files.py; messages that break a
limit, and brackets too deep for a small stack, in test_wire.py.
"""

from __future__ import annotations

import contextlib
import queue
import ssl
import threading
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest

import net
from tests.conftest import OpenRoom, needs_addresses
from tests.helpers import LIMIT, LOOPBACK, FakeRoom, Message, Person, Wire, expect, is_free, message, needs_tls, until
from tests.strangers import Stranger, line, stop_the_limits, visit

# These addresses are all this computer's, but a room takes them for different computers.
ELSEWHERE = "127.0.0.2"
ATTACKER = "127.0.0.3"
SECRET = "horse battery"

Come = Callable[..., Wire]
Enter = Callable[..., Person]


@pytest.fixture
def come(stack: contextlib.ExitStack) -> Come:
    """Connects to a room, perhaps from a given address; closed after the test."""
    return lambda room, source=None: stack.enter_context(Wire(room.port, source=source))


@pytest.fixture
def enter(stack: contextlib.ExitStack) -> Enter:
    """Starts this program's client, without a password; it is closed after the test."""
    return lambda port, name="Ann", password=None, **settings: visit(stack, port, name, password, **settings)


# Tokens -----------------------------------------------------------------------


def test_a_token_that_a_fake_room_learns_is_a_strangers_in_the_real_room(
    room: net.Server, come: Come, enter: Enter, fake: FakeRoom
) -> None:
    enter(fake.port, token=net.room_token(SECRET, LOOPBACK, fake.port))
    learned = fake.accepts().lets_in()["token"]
    ann = enter(room.port, token=net.room_token(SECRET, LOOPBACK, room.port)).expects(net.Welcome)
    thief = come(room).join("Ann", learned)
    assert (thief["who"] != ann.who, thief["name"]) == (True, "Ann 2")


# A hostile room ---------------------------------------------------------------


def test_a_room_that_more_and_more_people_join_is_not_a_chat_room(enter: Enter, fake: FakeRoom) -> None:
    ann = enter(fake.port)
    joined = [line("joined", number=number, time=0, who=number + 2, name="X") for number in range(1, 3_001)]
    guest = fake.accepts()
    guest.lets_in()
    with contextlib.suppress(ConnectionError):
        guest.send_bytes(b"".join(joined))
    seen: list[net.Event] = []
    while not isinstance(event := ann.events.get(timeout=LIMIT), net.Lost):
        seen.append(event)
    assert event.reason is net.Trouble.NOT_A_ROOM
    assert sum(isinstance(each, net.Joined) for each in seen) <= net.ROOM_PEOPLE


def test_a_full_room_in_which_others_were_before_is_a_chat_room(enter: Enter, fake: FakeRoom) -> None:
    """The welcome names those who are in now; the history that follows may begin with a whole other class."""
    people = [[number, "X"] for number in range(2, net.ROOM_PEOPLE + 2)]
    before = range(1, 501)
    joined = [message("joined", number=n, time=0, who=2_000 + n, name="X") for n in before]
    left = [message("left", number=500 + n, time=0, who=2_000 + n, name="X", reason="left") for n in before]
    ann = enter(fake.port)
    fake.accepts().lets_in(*joined, *left, people=people)
    ann.expects(net.Left, lambda event: event.number == 1_000)


def test_a_room_that_uses_up_the_ids_does_not_spoil_the_next_one(enter: Enter, fake: FakeRoom) -> None:
    ann = enter(fake.port)
    guest = fake.accepts()
    guest.lets_in(last_id=net.MAX_SAY_ID)
    ann.expects(net.Welcome)
    guest.close()
    guest = fake.accepts()
    guest.lets_in(room="r2")
    ann.expects(net.Welcome)
    ann.says("Hello")
    assert guest.expects("say")["id"] < net.MAX_SAY_ID


def test_a_room_cannot_refuse_in_the_words_that_are_the_programs_own(enter: Enter, fake: FakeRoom) -> None:
    """One that says "password" would make the window ask for the password of the real room."""
    ann = enter(fake.port)
    fake.accepts().refuses("password", "Your school account has expired. Open http://example.com")
    assert ann.expects(net.Lost).reason is net.Trouble.NOT_A_ROOM


# Admission --------------------------------------------------------------------


@needs_addresses
def test_silent_connections_from_many_addresses_keep_nobody_out(
    open_room: OpenRoom, come: Come, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "SPARE_CONNECTIONS", 50)
    room = open_room(limit=50, rate=20.0)
    for number in range(5 * 28):
        come(room, f"127.0.1.{1 + number % 28}")
    for _ in range(11):
        come(room).join("Honest")


@needs_addresses
@pytest.mark.parametrize("first", ["join", "upload"])
def test_one_token_that_knocks_again_and_again_keeps_nobody_out(
    open_room: OpenRoom, come: Come, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """Every return and every transfer costs a unit. While somebody waits for theirs, a reader waits with them."""
    monkeypatch.setattr(net, "SPARE_CONNECTIONS", 30)
    room = open_room(limit=10, rate=0.5)
    bob = come(room, ATTACKER)
    bob.join("Bob")
    asks = {
        "join": message("join", name="Bob", token=bob.token, room=None, after=0),
        "upload": message("upload", token=bob.token, file="0" * 32, filename="a", size=9),
    }
    knock(room, come, asks[first], 100)

    def is_in() -> bool:
        with contextlib.suppress(OSError, AssertionError), Wire(room.port, source=ELSEWHERE) as honest:
            return bool(honest.try_to_join("Honest")["type"] == "welcome")
        return False

    until(is_in, "an honest person is in")


def knock(room: net.Server, come: Come, ask: Message, times: int) -> None:
    """Asks for this on one new connection after the other, without waiting for any answer."""
    for _ in range(times):
        connection = come(room, ATTACKER)
        with contextlib.suppress(OSError):  # it may have been cut already
            connection.send(message("hello", protocol=net.PROTOCOL, tls=False))
            connection.send(ask)


@needs_addresses
def test_what_one_person_asks_for_too_often_is_no_debt_of_the_neighbours(open_room: OpenRoom, come: Come) -> None:
    room = open_room(rate=1.0)  # 10 units at once and 10 a second for the whole address
    bob, neighbour = come(room, ATTACKER), come(room, ATTACKER)
    bob.join("Bob")
    neighbour.join("Ann")
    knock(room, come, message("join", name="Bob", token=bob.token, room=None, after=0), 400)
    neighbour.say(1, "Hello")
    neighbour.receive_until("said")


@needs_tls
def test_a_class_with_the_right_password_is_in_at_once(
    open_room: OpenRoom, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of them is told to wait."""
    monkeypatch.setattr(net, "FIRST_MESSAGE", LIMIT)  # however slow this computer is
    room = open_room(rate=20.0, password=SECRET)
    pupils = [enter(room.port, f"Pupil {number}", SECRET) for number in range(30)]
    for pupil in pupils:
        first = pupil.events.get(timeout=LIMIT)
        assert isinstance(first, net.Welcome), first


# Files ------------------------------------------------------------------------


@needs_addresses
def test_one_pupil_cannot_share_so_much_that_others_cannot(open_room: OpenRoom, come: Come) -> None:
    room = open_room(rate=20.0, max_file=250, max_store=1_000)  # an address may fill a quarter of it
    bob, ann = come(room, ATTACKER), come(room, ELSEWHERE)
    for person in (bob, ann):
        person.join("Sharer")
    answers = [come(room).upload(person.token, bytes(250))["type"] for person in (bob, bob, ann)]
    assert answers == ["stored", "refused", "stored"]


# Bytes instead of messages ----------------------------------------------------


def test_after_a_line_that_costs_dozens_of_units_others_are_heard_first(open_room: OpenRoom, come: Come) -> None:
    room = open_room(rate=1.0)
    eve, bob, ann = (come(room) for _ in range(3))
    for person, name in ((eve, "Eve"), (bob, "Bob"), (ann, "Ann")):
        person.join(name)
    eve.say(1, "\U0001f600" * 4_000)
    others_are_heard_first(bob, ann)


def others_are_heard_first(bob: Wire, ann: Wire) -> None:
    """Everyone has one unit a second, so at least a second passes before Bob is heard again."""
    for number in (1, 2):
        bob.say(number, "Hello")
        assert ann.receive_until("said")["name"] == "Bob"


@needs_tls
def test_tls_that_carries_next_to_nothing_costs_units(open_room: OpenRoom, stack: contextlib.ExitStack) -> None:
    """The same as key updates, for which Python has no function: many records, and no message."""
    room = open_room(rate=1.0, password=SECRET)
    eve, bob, ann = (stack.enter_context(Stranger(room.port, SECRET)) for _ in range(3))
    for person, name in ((eve, "Eve"), (bob, "Bob"), (ann, "Ann")):
        person.join(name)
    for _ in range(2_000):
        eve.send_bytes(b" ")
    eve.say(1, "Me first")
    others_are_heard_first(bob, ann)


@needs_tls
def test_an_upload_in_which_tls_carries_next_to_nothing_is_cut(
    open_room: OpenRoom, stack: contextlib.ExitStack
) -> None:
    room = open_room(password=SECRET)
    bob, upload = (stack.enter_context(Stranger(room.port, SECRET)) for _ in range(2))
    bob.join("Bob")
    assert upload.begin_upload(bob.token, 2**20)["type"] == "ready"

    def send_a_byte_in_each_record() -> None:
        for _ in range(2**16):
            upload.send_bytes(b"x")

    with pytest.raises((ConnectionError, ssl.SSLError)):
        send_a_byte_in_each_record()


# Passwords --------------------------------------------------------------------


@needs_tls
def test_guesses_in_parallel_are_counted_one_by_one(
    open_room: OpenRoom, stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_the_limits(monkeypatch)
    told: net.Events = queue.Queue()
    room = open_room(password=SECRET, events=told)
    guessers = [stack.enter_context(Stranger(room.port, "not it")) for _ in range(16)]
    for guesser in guessers:
        assert guesser.greet()["type"] == "hello", "all of them may try, so far"
    for guesser in guessers:
        guesser.send_bytes(guesser.proof())
    answered = [guesser for guesser in guessers if guesser.receive_to_the_end()]
    assert len(answered) == 5, "the others are cut before their proofs are looked at"
    assert expect(told, net.WrongPassword) == net.WrongPassword(LOOPBACK, 5)


# A fault inside ---------------------------------------------------------------


@pytest.mark.parametrize("thread", ["sender", "accept"])
def test_a_thread_without_memory_closes_the_room_and_says_so(
    open_room: OpenRoom, come: Come, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, thread: str
) -> None:
    told: net.Events = queue.Queue()
    room = open_room(events=told)
    ann = come(room)
    ann.join("Ann")
    owner, name = (net.Room, "next_piece") if thread == "sender" else (net, "Connection")
    works = getattr(owner, name)

    def fail_once(*_arguments: object) -> Any:
        monkeypatch.setattr(owner, name, works)
        raise MemoryError

    monkeypatch.setattr(owner, name, fail_once)
    if thread == "sender":
        ann.say(1, "Hello")
    else:
        come(room)
    assert ann.receive_all()[-1]["type"] == "closed"
    expect(told, net.RoomFailed)
    until(lambda: is_free(room.port), "nobody listens any more")  # and takes connections, but says nothing
    caplog.clear()


def test_without_memory_for_another_reader_those_who_are_in_go_on(
    open_room: OpenRoom, come: Come, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = open_room()
    ann = come(room)
    ann.join("Ann")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", Mock(side_effect=MemoryError))
        assert come(room).receive() is None
    ann.say(1, "Hello")
    ann.receive_until("said")
    assert come(room).join("Bob")
