"""The promises under load: bad networks, stuck computers, crashes, and too little of everything.

What is random is printed and can be repeated: CHAT_TEST_SEED=123 python -m tests -k storm
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import queue
import random
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import net
from tests import helpers
from tests.conftest import DESCRIPTORS, TOP, OpenRoom, open_sockets
from tests.helpers import LIMIT, LONG, LOOPBACK, Member, Message, Proxy, Wire, expect, message, srp_hex, until

NEEDS_TLS = pytest.mark.skipif(not net.CAN_ENCRYPT, reason="this Python cannot encrypt a room")
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither these signals nor these limits")

PersonEnters = Callable[..., "Person"]


@pytest.fixture
def person_enters(stack: contextlib.ExitStack) -> PersonEnters:
    """Lets people in who have the program."""
    return lambda *who, **how: stack.enter_context(contextlib.closing(Person(*who, **how)))


# Bad networks --------------------------------------------------------------------------------------------------------


class Person(helpers.Person):
    """Somebody with the program, and all that happened to them."""

    def __init__(self, name: str, port: int, password: str | None = None) -> None:
        super().__init__(name, port, password=password)
        self.name = name
        self.seen: list[net.Event] = []
        self.lines: list[net.Said] = []
        self.room = ""
        self.lines_here: list[net.Said] = []  # in this room
        self.written_in: dict[int, str] = {}  # id of a line -> the room, or "" before the first one
        self.answered: list[int] = []  # ids
        self.number = 0  # of the newest event

    def take(self) -> net.Event:
        """The next event."""
        event = self.events.get(timeout=LIMIT)
        self.seen.append(event)
        if isinstance(event, net.Welcome) and event.room != self.room:
            self.room, self.lines_here = event.room, []
        if isinstance(event, net.Sending):
            self.written_in[event.id] = self.room
        if isinstance(event, net.Said):
            self.lines.append(event)
            self.lines_here.append(event)
        if isinstance(event, net.Numbered):
            self.number = event.number
        if isinstance(event, net.Rejected | net.Settled) or (isinstance(event, net.Said) and event.name == self.name):
            self.answered.append(event.id)
            assert isinstance(event, net.Rejected) or self.written_in[event.id] in ("", self.room)
        return event

    def hears_at_last(self, text: str) -> None:
        """Waits for a line with this text, unless it has come already."""
        while all(line.text != text for line in self.lines):
            self.take()


@contextlib.contextmanager
def bad_weather(proxy: Proxy, chance: random.Random, mean_bytes: int) -> Iterator[None]:
    """Something happens to the network every few milliseconds: connections are cut, stalled, split and delayed."""
    over = threading.Event()
    private = random.Random(chance.random())  # of the thread

    def change() -> None:
        while not over.wait(private.uniform(0, 0.05)):
            kind = private.choice(["stall", "split", "delay"])
            if kind == "stall":
                proxy.silence()
                over.wait(private.uniform(0, 0.1))
                proxy.speak(drop=private.random() < 0.2)
            elif kind == "split":
                proxy.chop(private.choice([7, 100, 1500, 65536]))
            else:
                proxy.delay(private.choice([0.0, 0.001, 0.01, 0.05]))

    proxy.storm(chance.randrange(2**32), mean_bytes)
    thread = threading.Thread(target=change, name="bad weather")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(LIMIT)
        proxy.chop()
        proxy.delay()
        proxy.calm()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hardly any wait between two attempts."""
    monkeypatch.setattr(net, "RETRIES", (0.0, 0.01, 0.02))


CLASS = 30  # people
LINES = 200 if LONG else 12  # of each
Record = list[net.Numbered]


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Record:
    """Everything that happens in all rooms of a test."""
    record: Record = []
    broadcast = net.Room.broadcast

    def broadcast_and_record(room: net.Room, event: net.Numbered) -> None:
        broadcast(room, event)
        record.append(event)

    monkeypatch.setattr(net.Room, "broadcast", broadcast_and_record)
    return record


def talk_in_bad_weather(
    room: net.Server, record: Record, chance: random.Random, stack: contextlib.ExitStack
) -> list[Person]:
    """A class in which everyone writes LINES lines, and then learns what happened, or how much is missing."""
    proxy = stack.enter_context(Proxy(room.port))
    people = [stack.enter_context(contextlib.closing(Person(f"Person {i}", proxy.port))) for i in range(CLASS)]
    with bad_weather(proxy, chance, mean_bytes=CLASS * LINES * 20):
        for number in range(LINES):
            for person in people:
                person.client.say(f"{person.name}: {number}")
            if number % 4 == 3:  # not all at once, so that each is cut at many different moments
                until(lambda: len(lines_in(record)) >= CLASS * (number + 1), "all lines are in the room")  # noqa: B023
    for person in people:
        while len(person.answered) < LINES or person.number < record[-1].number:
            event = person.take()
            assert not isinstance(event, net.Lost) or event.reason not in (net.Trouble.GAP, net.Trouble.NOT_A_ROOM)
        assert [line.text for line in lines_in(record) if line.name == person.name] == own_lines(person)
    return people


def lines_in(record: Record) -> list[net.Said]:
    return [event for event in record.copy() if isinstance(event, net.Said)]


def own_lines(person: Person) -> list[str]:
    return [f"{person.name}: {number}" for number in range(LINES)]


def test_in_a_storm_no_line_is_lost_doubled_or_swapped(
    open_room: OpenRoom, stack: contextlib.ExitStack, record: Record, chance: random.Random
) -> None:
    """Thirty people write, while their connections are cut, stalled, split and delayed at random."""
    people = talk_in_bad_weather(open_room(history=10**5), record, chance, stack)
    for person in people:
        assert [event for event in person.seen if isinstance(event, net.Numbered)] == record
        assert not any(isinstance(event, net.Rejected | net.Settled | net.Closed) for event in person.seen)
    assert not any(isinstance(event, net.Left) for event in record)
    assert sum(isinstance(event, net.Lost) for person in people for event in person.seen) > CLASS


@pytest.mark.slow
def test_in_a_storm_a_room_that_forgets_tells_everyone_exactly_how_much_they_missed(
    open_room: OpenRoom, stack: contextlib.ExitStack, record: Record, chance: random.Random
) -> None:
    """Each event is either seen, in its place, or counted as missed; and no more are missed than necessary."""
    history, missed = 40, 0
    people = talk_in_bad_weather(open_room(history=history), record, chance, stack)
    for person in people:
        last = 0
        for event in person.seen:
            if isinstance(event, net.Welcome):
                last += event.missed
                missed += event.missed
                assert event.missed == 0 or event.history == history
            elif isinstance(event, net.Numbered):
                assert event == record[last]
                last += 1
            assert not isinstance(event, net.Rejected | net.Closed)
        assert len(set(person.answered)) == len(person.answered) == LINES
    assert missed > 0


def test_a_client_that_never_reads_costs_the_others_nothing(
    open_room: OpenRoom, stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is disconnected once it has fallen out of the history; the others neither wait nor fall out with it."""
    monkeypatch.setattr(net, "BACK_WITHIN", 0.05)
    room = open_room(history=50)
    alice, bob, stuck = (stack.enter_context(Member(room, name)) for name in ("Alice", "Bob", "Stuck"))
    stuck.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    left: Message = {}
    for number in range(10_000):  # 40 MB: more than any system buffers
        alice.says(f"{number} " + "x" * 3900)
        while (event := alice.receive() or {})["type"] != "said":
            left = event if event["type"] == "left" else left
        assert bob.receive_until("said")["text"] == event["text"]
        if left:
            break
    assert (left["name"], left["reason"]) == ("Stuck", "lost")


@pytest.mark.skipif(not DESCRIPTORS.exists(), reason="only Linux lists a process's descriptors")
def test_many_rooms_with_somebody_in_them_leave_nothing_behind(disk: Path) -> None:
    """No thread, no descriptor, no file."""
    threads, descriptors = threading.active_count(), len(os.listdir(DESCRIPTORS))
    for _ in range(1000 if LONG else 50):
        events: net.Events = queue.Queue()
        with net.run_server("Room", host=LOOPBACK, port=0) as room:
            with net.run_client(LOOPBACK, "Ann", events, port=room.port) as client:
                expect(events, net.Joined)
                client.share(__file__)
                expect(events, net.Uploaded)
            assert client.join(LIMIT)
        assert list(disk.iterdir()) == []
    until(lambda: threading.active_count() <= threads, "every thread has ended")  # a transfer's last act is an event
    assert len(os.listdir(DESCRIPTORS)) <= descriptors


# Too little of everything --------------------------------------------------------------------------------------------


BEGINNINGS: dict[str, Callable[[], net.Server | net.Client | net.Finder]] = {
    "open a room": lambda: net.run_server("Room", host=LOOPBACK, port=0, events=queue.Queue()),
    "come in": lambda: net.run_client(LOOPBACK, "Ann", queue.Queue(), port=1),
    "look for rooms": lambda: net.find_rooms(queue.Queue()),
}
Leaving = Callable[[int], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def leaving_threads(count: int) -> Iterator[None]:
    """No more threads than so many start."""

    def start(thread: threading.Thread) -> None:
        if len(started) >= count:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        really_start(thread)

    started: list[threading.Thread] = []
    really_start = threading.Thread.start
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        yield


@contextlib.contextmanager
def leaving_descriptors(count: int) -> Iterator[None]:
    """This process can open so many more files and sockets."""
    import resource

    def refuse(*_limit: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        taken = [stack.enter_context(open(os.devnull))]
        resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0].fileno() + 100, hard))
        patch.setattr(resource, "setrlimit", refuse)  # a room would raise the limit, as far as it may
        with contextlib.suppress(OSError):
            while True:
                taken.append(stack.enter_context(open(os.devnull)))
        for file in taken[-count:] if count else []:
            file.close()
        yield


@pytest.mark.parametrize("leaving", [leaving_threads, pytest.param(leaving_descriptors, marks=posix)])
@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_without_threads_or_descriptors_nothing_begins_and_nothing_is_left_behind(
    beginning: str, leaving: Leaving, disk: Path
) -> None:
    """With none left, one left, two ...: it fails with a sentence and leaves nothing behind, until it succeeds."""
    threads, sockets, has_begun = set(threading.enumerate()), open_sockets(), False
    failures: list[OSError] = []
    while not has_begun:
        with leaving(len(failures)):
            try:
                BEGINNINGS[beginning]().close()
                has_begun = True
            except OSError as error:
                failures.append(error)
        until(lambda: set(threading.enumerate()) <= threads, "every thread has ended")
        assert open_sockets() <= sockets
        assert list(disk.iterdir()) == []
    assert failures
    assert all(error.strerror for error in failures)


@posix
def test_without_descriptors_a_client_tries_again_and_gets_in_once_there_are_some(
    proxy: Proxy, person_enters: PersonEnters, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_how: object, **_more: object) -> socket.socket:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    ann = person_enters("Ann", proxy.port)
    expect(ann.events, net.Joined)
    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", refuse)
        proxy.cut()
        for _ in range(3):
            expect(ann.events, net.Lost)
        ann.client.say("here again")
    expect(ann.events, net.Said)


# A room in a process of its own --------------------------------------------------------------------------------------


class RoomProcess:
    """Runs `serve`, or another function below, in a process of its own, and speaks with it line by line."""

    def __init__(self, *arguments: object, function: str = "serve") -> None:
        code = f"from tests import test_torture as t; t.{function}(*{arguments})"
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([sys.executable, "-c", code], cwd=TOP, stdin=pipe, stdout=pipe, text=True)
        self._end = threading.Timer(3 * LIMIT, self.process.kill)  # so that nothing waits for its words forever
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


Start = Callable[..., RoomProcess]


@pytest.fixture
def start(stack: contextlib.ExitStack) -> Start:
    return lambda *arguments, **how: stack.enter_context(contextlib.closing(RoomProcess(*arguments, **how)))


def serve(port: int = 0, rate: float | None = None, password: str | None = None, history: int = 2000) -> None:
    """A room with its host, until the process is killed."""
    net.FIRST_MESSAGE = 60.0
    room = net.run_server("Room", host=LOOPBACK, port=port, rate=rate, password=password, history=history)
    net.run_client(LOOPBACK, "Host", queue.Queue(), port=room.port, token=room.token, password=password)
    print(room.port, flush=True)
    input()


def serve_with_few_files() -> None:
    """Takes all remaining descriptors when it is told to, and gives them back when it is told to."""
    import resource

    logging.basicConfig(stream=sys.stdout)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 256))
    with net.run_server("Room", host=LOOPBACK, port=0, rate=None) as room:
        print(room.port, flush=True)
        print("limit", resource.getrlimit(resource.RLIMIT_NOFILE)[0], flush=True)
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


@posix
def test_two_hundred_people_who_arrive_at_once_all_get_in(start: Start, stack: contextlib.ExitStack) -> None:
    """The room's process is stopped meanwhile, so it accepts none of them before the last has connected."""
    room = start()
    os.kill(room.process.pid, signal.SIGSTOP)
    people = [stack.enter_context(Wire(room.port)) for _ in range(200)]
    for wire in people:
        wire.send(message("hello", protocol=net.PROTOCOL, tls=False))
        wire.send(message("join", name="Ann", token=wire.token, room=None, after=0))
    os.kill(room.process.pid, signal.SIGCONT)
    assert len({wire.receive_until("welcome")["name"] for wire in people}) == 200


@posix
def test_a_room_raises_its_limit_of_open_files_and_without_any_the_people_in_it_go_on_and_others_get_in_later(
    start: Start, stack: contextlib.ExitStack
) -> None:
    room = start(function="serve_with_few_files")
    assert room.hears("limit") == "limit 256\n"
    alice, bob = (stack.enter_context(Wire(room.port)) for _ in range(2))
    alice.join("Alice")
    bob.join("Bob")
    room.tell("take them")
    room.hears("none left")
    ann = stack.enter_context(Wire(room.port))
    room.hears("cannot accept")
    alice.say(1, "fine")
    assert bob.receive_until("said")["text"] == "fine"
    room.tell("give them back")
    ann.join("Ann")
    alice.receive_until("joined")


@pytest.mark.slow
@posix
@pytest.mark.parametrize("password", [None, pytest.param("open sesame", marks=NEEDS_TLS)])
def test_while_some_try_everything_to_slow_a_room_down_the_others_get_everything(
    start: Start, stack: contextlib.ExitStack, person_enters: PersonEnters, password: str | None
) -> None:
    """500 idle connections, 50 handshakes that never end, a person who does not read, and one who floods."""
    port = start(0, net.RATE, password).port
    for _ in range(500):
        stack.enter_context(socket.create_connection((LOOPBACK, port)))
    for number in range(50 if password else 0):  # from elsewhere: newcomers of one address are limited
        wire = stack.enter_context(Wire(port, source=f"127.0.0.{2 + number % 5}"))
        wire.hello(tls=True, a=srp_hex(secrets.randbits(2_000) + 2))
        wire.send_bytes(b"\x16\x03\x01")  # the first bytes of a TLS record
    proxy = stack.enter_context(Proxy(port))
    expect(person_enters("Stuck", proxy.port, password=password).events, net.Welcome)
    proxy.silence()
    flood = person_enters("Flood", port, password=password)
    for _ in range(10_000):
        flood.client.say("flood")
    people = [person_enters(f"Person {number}", port, password=password) for number in range(5)]
    for number in range(10):
        for person in people:
            person.client.say(f"{person.name}: {number}")
        for person in people:
            people[0].hears_at_last(f"{person.name}: {number}")
    people[0].hears_at_last("flood")
    people[0].client.say("the end")
    for person in people:
        person.hears_at_last("the end")
        assert person.lines == people[0].lines
        assert [line.text for line in people[0].lines if line.name == person.name][:10] == own_lines(person)[:10]
        assert not any(isinstance(event, net.Lost | net.Rejected) for event in person.seen)


@pytest.mark.slow
@posix
def test_when_rooms_crash_and_open_again_each_line_gets_one_answer_and_none_appears_in_another_room(
    start: Start, stack: contextlib.ExitStack, person_enters: PersonEnters, chance: random.Random
) -> None:
    """Everyone is back automatically. A line belongs to its room: it was said there, or it returns to its author."""
    port = stack.enter_context(helpers.own_ports())[0]  # it stays free while the room is closed
    room = start(port, None, None, 10**5)
    people = [person_enters(f"Person {number}", port) for number in range(CLASS)]
    for person in people:
        while not person.number:
            person.take()
    said = 0  # lines, by each
    for _ in range(20 if LONG else 3):
        for number in range(said, said + 20):
            for person in people:
                person.client.say(f"{person.name}: {number}")
        said += 20
        witness = chance.choice(people)
        heard = chance.randrange(len(witness.answered), said)
        while len(witness.answered) <= heard:
            witness.take()
        room.close()  # kills it
        room = start(port, None, None, 10**5)
    observer = person_enters("Observer", port)
    while not observer.room:
        observer.take()
    for person in people:
        while len(person.answered) < said or person.room != observer.room:
            person.take()
    observer.client.say("the end")
    for person in [observer, *people]:
        person.hears_at_last("the end")
    appeared = {line.text for person in people for line in person.lines}
    for person in people:
        ids = [event.id for event in person.seen if isinstance(event, net.Sending)]
        assert sorted(person.answered) == ids  # once each
        returned = {event.id: event.code for event in person.seen if isinstance(event, net.Rejected)}
        assert set(returned.values()) <= {"unsent", "unanswered"}
        own = [line.id for line in person.lines if line.name == person.name]
        assert own == sorted(set(ids) - set(returned))  # the others, in order
        assert not {f"{person.name}: {ids.index(each)}" for each in ids if returned.get(each) == "unsent"} & appeared
        assert person.lines_here == observer.lines


def test_rooms_opened_and_closed_while_people_try_to_get_in_never_hang(
    proxy: Proxy, open_room: OpenRoom, person_enters: PersonEnters
) -> None:
    """Connections in every stage of getting in meet a room that closes."""
    for person in [person_enters(f"Person {number}", proxy.port) for number in range(5)]:
        expect(person.events, net.Welcome)
    for _ in range(20):
        room = net.run_server("Room", host=LOOPBACK, port=0)
        proxy.port_behind = room.port
        proxy.cut()
        room.close()
    proxy.port_behind = open_room().port
    expect(person_enters("Newcomer", proxy.port).events, net.Welcome)
