"""The promises under load: bad networks, stuck computers, crashes, and too little of everything.

What is random is printed and can be repeated: CHAT_TEST_SEED=123 python -m tests -k storm
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

import net
from tests.conftest import DESCRIPTORS, TOP
from tests.helpers import LIMIT, LOOPBACK, Message, Proxy, Wire, expect, until

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither these signals nor these limits")


class Member(Wire):
    """Somebody in the room, speaking the bare protocol."""

    def __init__(self, port: int, name: str) -> None:
        super().__init__(port)
        self.last_id = 0
        self.join(name)

    def say(self, text: str) -> None:
        self.last_id += 1
        self.send({"type": "say", "id": self.last_id, "text": text})

    def hears(self, text: str) -> None:
        while self.receive_until("said")["text"] != text:
            pass

    def next(self) -> Message:
        message = self.receive()
        assert message is not None, "the connection ended"
        return message


@pytest.fixture
def open_room(stack: contextlib.ExitStack) -> Callable[..., net.Server]:
    def open_one(**settings: Any) -> net.Server:
        return stack.enter_context(net.run_server("Room 7", **{"host": LOOPBACK, "port": 0, "rate": None, **settings}))

    return open_one


Enter = Callable[[int, str], Member]


@pytest.fixture
def enter(stack: contextlib.ExitStack) -> Enter:
    """Lets people in: enter(port, name)."""
    return lambda port, name: stack.enter_context(contextlib.closing(Member(port, name)))


# Bad networks --------------------------------------------------------------------------------------------------------


class Person:
    """Somebody with the program, and all that happened to them."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.events: net.Events = queue.Queue()
        self.seen: list[net.Event] = []
        self.client = net.run_client(LOOPBACK, name, self.events, port=port)

    def lines(self) -> list[net.Said]:
        return [event for event in self.seen if isinstance(event, net.Said)]

    def hears(self, count: int) -> None:
        """Waits for so many lines in all."""
        while len(self.lines()) < count:
            self.seen.append(self.events.get(timeout=LIMIT))

    def close(self) -> None:
        self.client.close()
        assert self.client.join(LIMIT)


def test_in_a_storm_no_line_is_lost_doubled_or_swapped(
    open_room: Callable[..., net.Server], stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten people write a hundred lines each, while their connections are cut at random."""
    seed = int(os.environ.get("CHAT_TEST_SEED") or random.randrange(2**32))
    print(f"CHAT_TEST_SEED={seed}")  # shown if the test fails
    monkeypatch.setattr(net, "RETRIES", (0.0, 0.01, 0.02))
    room = open_room()
    proxy = stack.enter_context(Proxy(room.port))
    observer = stack.enter_context(contextlib.closing(Person("Observer", room.port)))
    people = [stack.enter_context(contextlib.closing(Person(f"Person {i}", proxy.port))) for i in range(10)]
    proxy.storm(seed, mean_bytes=15_000)
    for tenth in range(10):
        for number in range(10 * tenth, 10 * tenth + 10):
            for person in people:
                person.client.say(f"{person.name}: {number}")
        observer.hears(100 * (tenth + 1))  # not all at once, so that each is in at many different places when cut
    proxy.calm()
    lines = observer.lines()
    for person in people:
        person.hears(1000)
        assert person.lines() == lines
        own = [line.text for line in lines if line.name == person.name]
        assert own == [f"{person.name}: {number}" for number in range(100)]
        assert not any(isinstance(event, net.Rejected | net.Settled | net.Left | net.Closed) for event in person.seen)
    assert sum(isinstance(event, net.Lost) for person in people for event in person.seen) > 20


# Stuck computers -----------------------------------------------------------------------------------------------------


def test_a_client_that_never_reads_costs_nobody_anything(
    open_room: Callable[..., net.Server], enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is cut off once it has fallen out of the history; nobody else waits for it, or falls out with it."""
    monkeypatch.setattr(net, "BACK_WITHIN", 0.05)
    room = open_room(history=50)
    alice, bob = enter(room.port, "Alice"), enter(room.port, "Bob")
    stuck = enter(room.port, "Stuck")
    stuck.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    left: Message = {}
    for number in range(10_000):  # 40 MB: more than any system buffers
        alice.say(f"{number} " + "x" * 3900)
        while (event := alice.next())["type"] != "said":
            left = event if event["type"] == "left" else left
        while (heard := bob.next())["type"] != "said":
            pass
        assert heard["text"] == event["text"]
        if left:
            break
    assert (left["name"], left["reason"]) == ("Stuck", "lost")


def test_what_waits_for_a_client_that_writes_but_never_reads_has_a_limit(
    open_room: Callable[..., net.Server], enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answers to its empty lines are for it alone, and would wait for it for ever."""
    monkeypatch.setattr(net, "BACK_WITHIN", 0.05)
    monkeypatch.setattr(net, "MAX_OWN_LINES", 100)
    room = open_room()
    alice, stuck = enter(room.port, "Alice"), enter(room.port, "Stuck")
    stuck.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with contextlib.suppress(OSError):  # cut off
        for first in range(1, 500_000, 500):
            lines = [b'{"type":"say","id":%d,"text":""}\n' % number for number in range(first, first + 500)]
            stuck.send_bytes(b"".join(lines))
    left = alice.receive_until("left")
    assert (left["name"], left["reason"]) == ("Stuck", "lost")


def test_somebody_cut_off_for_being_slow_comes_back_and_is_told_what_is_missing(
    open_room: Callable[..., net.Server], stack: contextlib.ExitStack, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "RETRIES", (0.0, 0.01))
    room = open_room(history=10)
    proxy = stack.enter_context(Proxy(room.port))
    bob = stack.enter_context(contextlib.closing(Person("Bob", proxy.port)))
    expect(bob.events, net.Joined)
    alice = enter(room.port, "Alice")
    proxy.silence()
    for number in range(3000):  # 12 MB, which the room can hand over only in part
        alice.say(f"{number} " + "x" * 3900)
        alice.hears(f"{number} " + "x" * 3900)
    proxy.speak()
    missed = expect(bob.events, net.Welcome).missed
    assert missed > 0
    expect(bob.events, net.Said, lambda said: said.text.startswith("2999 "))


# Many ----------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not DESCRIPTORS.exists(), reason="only Linux lists a process's descriptors")
def test_two_hundred_rooms_with_somebody_in_them_leave_nothing_behind() -> None:
    threads, descriptors = threading.active_count(), len(os.listdir(DESCRIPTORS))
    for _ in range(200):
        events: net.Events = queue.Queue()
        with net.run_server("Room", host=LOOPBACK, port=0) as room:
            with net.run_client(LOOPBACK, "Ann", events, port=room.port) as client:
                expect(events, net.Joined)
            assert client.join(LIMIT)
    assert threading.active_count() <= threads
    assert len(os.listdir(DESCRIPTORS)) <= descriptors


# A room in a process of its own --------------------------------------------------------------------------------------


class RoomProcess:
    """Runs one of the functions below in a process of its own, and talks with it line by line."""

    def __init__(self, serve: Callable[[int], None], port: int = 0) -> None:
        code = f"from tests import test_torture; test_torture.{serve.__name__}({port})"
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([sys.executable, "-c", code], cwd=TOP, stdin=pipe, stdout=pipe, text=True)
        self._end = threading.Timer(3 * LIMIT, self.process.kill)  # so that nobody waits for its words for ever
        self._end.start()
        self.port = int(self.hears(""))

    def hears(self, text: str) -> str:
        """The next line with this text in it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if text in line:
                return line
        raise AssertionError(f"the room ended without a word of {text!r}")

    def tell(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def close(self) -> None:
        self._end.cancel()
        self.process.kill()
        self.process.communicate()


def serve(port: int) -> None:
    with net.run_server("Room", host=LOOPBACK, port=port, rate=None) as room:
        print(room.port, flush=True)
        input()


def serve_with_few_files(port: int) -> None:
    """Takes all the descriptors that are left when it is told to, and gives them back when it is told to."""
    import resource

    logging.basicConfig(stream=sys.stdout)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    with net.run_server("Room", host=LOOPBACK, port=port, rate=None) as room:
        print(room.port, flush=True)
        input()
        taken = []
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        print("none left", flush=True)
        input()
        for descriptor in taken:
            os.close(descriptor)
        input()


def lasting_port() -> int:
    """A port that stays free while a room is away: below those that the system gives to outgoing connections."""
    while True:
        port = random.randrange(10_000, 30_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind((LOOPBACK, port))
            return port


@pytest.fixture
def start(stack: contextlib.ExitStack) -> Callable[..., RoomProcess]:
    return lambda *what: stack.enter_context(contextlib.closing(RoomProcess(*what)))


@posix
def test_two_hundred_people_who_come_at_once_all_get_in(
    start: Callable[..., RoomProcess], stack: contextlib.ExitStack
) -> None:
    """The room is stopped meanwhile: not one of them is accepted before the last has knocked."""
    room = start(serve)
    os.kill(room.process.pid, signal.SIGSTOP)
    people = [stack.enter_context(Wire(room.port)) for _ in range(200)]
    for wire in people:
        wire.send({"type": "hello", "protocol": 1, "tls": False})
        wire.send({"type": "join", "name": "Ann", "token": wire.token, "room": None, "after": 0})
    os.kill(room.process.pid, signal.SIGCONT)
    assert len({wire.receive_until("welcome")["name"] for wire in people}) == 200


@posix
def test_out_of_files_those_who_are_in_go_on_and_others_come_in_later(
    start: Callable[..., RoomProcess], enter: Enter, stack: contextlib.ExitStack
) -> None:
    room = start(serve_with_few_files)
    alice, bob = enter(room.port, "Alice"), enter(room.port, "Bob")
    room.tell("take them")
    room.hears("none left")
    ann = stack.enter_context(Wire(room.port))
    room.hears("cannot accept")
    alice.say("fine")
    bob.hears("fine")
    room.tell("give them back")
    ann.join("Ann")
    alice.receive_until("joined")


@posix
def test_a_room_opened_again_after_a_crash_is_at_the_same_port(
    start: Callable[..., RoomProcess],
    enter: Enter,
    open_room: Callable[..., net.Server],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = lasting_port()
    room = start(serve, port)
    alice, bob = enter(port, "Alice"), enter(port, "Bob")
    bob.say("hello")
    alice.hears("hello")
    room.process.kill()
    room.process.wait(LIMIT)
    monkeypatch.setattr(net, "PORTS", range(port, port + 2))  # it might go to the next one
    assert open_room(port=port).port == port
    enter(port, "Alice")


@posix
def test_the_people_of_a_room_that_crashed_are_in_the_one_opened_again(
    start: Callable[..., RoomProcess],
    stack: contextlib.ExitStack,
    open_room: Callable[..., net.Server],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(net, "RETRIES", (0.0, 0.01))
    room = start(serve, lasting_port())
    ann = stack.enter_context(contextlib.closing(Person("Ann", room.port)))
    before = expect(ann.events, net.Welcome)
    expect(ann.events, net.Joined)
    room.process.kill()
    assert expect(ann.events, net.Lost).retry_in == 0.0
    room.process.wait(LIMIT)
    open_room(port=room.port)
    after = expect(ann.events, net.Welcome)
    assert before.room != after.room
    assert after.people == ((2, "Ann"),)


@posix
def test_the_room_raises_its_limit_of_open_files(start: Callable[..., RoomProcess]) -> None:
    soft = int(start(serve_after_lowering_the_limit).hears("").split()[0])
    assert soft > 256


def serve_after_lowering_the_limit(port: int) -> None:
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    with net.run_server("Room", host=LOOPBACK, port=port) as room:
        print(room.port)
        print(resource.getrlimit(resource.RLIMIT_NOFILE)[0], flush=True)
        input()


def test_rooms_opened_and_closed_while_somebody_tries_to_get_in_never_hang(
    open_room: Callable[..., net.Server], stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections in every state of getting in meet a room that closes."""
    monkeypatch.setattr(net, "RETRIES", (0.0,))
    proxy = stack.enter_context(Proxy(open_room().port))
    people = [stack.enter_context(contextlib.closing(Person(f"Person {i}", proxy.port))) for i in range(5)]
    for person in people:
        expect(person.events, net.Welcome)
    for _ in range(20):
        room = net.run_server("Room", host=LOOPBACK, port=0)
        proxy.port_behind = room.port
        proxy.cut()
        room.close()
    room = open_room()
    proxy.port_behind = room.port
    newcomer = stack.enter_context(contextlib.closing(Person("Newcomer", proxy.port)))
    until(lambda: not newcomer.events.empty(), "the newcomer hears something")
    expect(newcomer.events, net.Welcome)
