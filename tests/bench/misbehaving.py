"""Does a lesson go on undisturbed while somebody misbehaves?    python -m tests.bench.misbehaving [--minutes N]

Thirty people, each of them a `net.Client`, write a message every two seconds. Every two seconds a newcomer arrives from
an address of their own, looks for the room, joins it and leaves again. Meanwhile a pupil, or somebody outside the room,
misbehaves in every way of issue 13: one way after the other, then those from outside together, those from inside
together, and all of them together. Before each of these parts the lesson is quiet for a while.

    silent connections      49 from each of 28 addresses; those that the room cuts are opened again every second
    long hellos             hello lines of 64 kB from outside, 200 a second
    forged answers          140 for each question which rooms are here: with the room's id, with titles of 600 letters
    questions               which rooms are here, 2,000 a second
    slow transfers          twelve for each person, a byte every three seconds; new people as fast as they are let in
    empty files             shared as fast as the room takes them
    declared uploads        ten at once of 100 MiB, of which four bytes come
    emoji                   messages of 4,000 characters outside the basic plane (16 kB), 20 a second
    long pings              ping lines of 64 kB full of numbers, as fast as the room takes them
    names as messages       leaving and joining again under another name, once a second
    returning               joining again with a known token, without waiting for any answer, as fast as possible
    deep json               64 kB of brackets within brackets, from inside and outside, 20 times a second each
    wrong passwords         from 28 addresses, 48 at once, without computing anything     (these three with a password)
    begun logins            hello lines with a valid `a` and nothing after that, 1,000 a second
    key updates             of TLS, in the room and before joining, as fast as the room takes them

The room, the newcomers and those who misbehave have a process of their own each, and the thirty have three. The pupil
has another address in each part, so that no limit is used up before the part begins. The table shows how old each
message was when it was in the others' queues, and the ratio of its 99th percentile to that of the quiet parts (their
median). "Lost" counts `Lost`, `Refused` and `Closed` events of the thirty. The last columns are the slowest newcomer's:
how long it took to find the room, and then to be welcome in it.

It exits with 1 if a 99th percentile is more than twice the quiet one, if one of the thirty lost the connection or a
message, or if a newcomer needed more than two seconds to join. --quick: less than a second of each, and no verdict.
--beside: the pupil has the class's address. --windows 5: five more people sit at real windows (on a screen of their
own, Xvfb); the table then also shows how old messages were when a window had drawn them, and for how long at most a
window did not react. Only on Linux, where this computer has all addresses from 127.0.0.1 on.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import functools
import hashlib
import itertools
import math
import os
import queue
import resource
import secrets
import select
import socket
import ssl
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import net
from tests.bench.files import LOOPBACK, PASSWORD, Worker, enter
from tests.bench.tools import cpu_seconds, machine, memory, percentiles
from tests.helpers import own_screen

CLASS, PROCESSES = 30, 3  # people; in so many processes
SAY_EVERY = 2.0  # s, each of them
NEWCOMER_EVERY = 2.0  # s
PATIENCE = 20.0  # s; a newcomer who has waited that long gives up
AFTERMATH = 2.0  # s after a way ended that still belong to it
QUIET_SHARE = 0.25  # of the time
SHORTEST_STALL = 0.005  # s

MAX_RATIO = 2.0  # of a 99th percentile to the quiet one
MAX_JOIN = 2.0  # s

OUTSIDE = [f"127.0.0.{number}" for number in range(3, 31)]  # 28 addresses
FORGER = OUTSIDE[0]
SILENT_EACH = 49
TRANSFERS_EACH = 12
SLOW_SIZE = 2**20  # bytes of a file
LINE = 65_000  # bytes; the room accepts 65,536
KEY_UPDATE = 27  # bytes of a record
TROUBLE = (net.ConnectionLost, net.ProtocolError, net.Ended, OSError)  # whatever the room does to defend itself


def room(pipe: Pipe, password: str | None, limit: int) -> None:
    with net.run_server("Bench", host=LOOPBACK, port=0, password=password, limit=limit) as server:
        pipe.send(server.port)
        pipe.recv()


# ------------------------------------------------------------------------------------------------------ honest people


@dataclass
class Diary:
    """What some of the thirty experienced. All times are monotonic seconds, which all processes share."""

    said: int = 0
    heard: list[tuple[float, float]] = field(default_factory=list)  # when it was said, and how old it was here
    lost: list[tuple[float, str]] = field(default_factory=list)  # when, and what happened
    stalls: list[tuple[float, float]] = field(default_factory=list)  # of a window: when, and for how many seconds


def pupils(pipe: Pipe, port: int, password: str | None, first: int, count: int) -> None:
    """("begin",), then ("enough",) ends their talking, then ("diary",) -> a Diary."""
    events: net.Events = queue.Queue()
    clients = [enter(port, f"Pupil {first + number}", password, events) for number in range(count)]
    diary = Diary()
    silence = threading.Event()

    def listen() -> None:
        while (event := events.get()) != net.Closed("enough"):
            now = time.monotonic()
            if isinstance(event, net.Said) and event.name.startswith("Pupil"):
                said_at = float(event.text)
                diary.heard.append((said_at, now - said_at))
            elif isinstance(event, (net.Lost, net.Refused, net.Closed)):
                diary.lost.append((now, repr(event)))

    def speak() -> None:
        next_at = time.monotonic()
        for client in itertools.cycle(clients):
            next_at += SAY_EVERY / count
            if silence.wait(max(0.0, next_at - time.monotonic())):
                return
            client.say(repr(time.monotonic()))
            diary.said += 1

    pipe.send("in")
    pipe.recv()
    threads = [threading.Thread(target=listen), threading.Thread(target=speak)]
    for thread in threads:
        thread.start()
    pipe.send("talking")
    pipe.recv()
    silence.set()
    pipe.send("silent")
    pipe.recv()
    events.put(net.Closed("enough"))
    for thread in threads:
        thread.join()
    pipe.send(diary)
    for client in clients:
        client.close()
    pipe.recv()


def window(pipe: Pipe, port: int, password: str | None, number: int) -> None:
    """("begin",), and then ("diary",) -> a Diary of what a person at this window saw."""
    import chat_gui  # here, because nothing else needs a screen
    from tests.bench.feel import work
    from tests.windows import Person

    person = Person(f"Window {number}")
    person.app.join(LOOPBACK, port, password or "")
    person.sees("Pupil 1")
    diary = Diary()
    add = person.chat.log.add

    def note(message: chat_gui.Message) -> None:
        add(message)
        with contextlib.suppress(ValueError):  # not one of the pupils' messages
            drawn.append(float(message.text))

    drawn: list[float] = []
    person.chat.log.add = note  # type: ignore[method-assign]
    pipe.send("in")
    pipe.recv()
    pipe.send("looking")
    while not pipe.poll():
        begin = time.monotonic()
        work(person.root)
        if drawn:
            person.root.update_idletasks()
        now = time.monotonic()
        diary.heard += [(said_at, now - said_at) for said_at in drawn]
        drawn.clear()
        if now - begin > SHORTEST_STALL:
            diary.stalls.append((begin, now - begin))
    pipe.recv()
    pipe.send(diary)
    person.close()
    pipe.recv()


class Dialer(net.Dialer):
    """The way into the room from an address of one's own."""

    def __init__(self, source: str, address: str, port: int, password: str | None) -> None:
        super().__init__(address, port, password)
        self._source = source

    def connect(self, is_wanted: Callable[[], bool]) -> net.Connection:
        del is_wanted  # on this computer connecting takes no time
        return net.Connection(connect(self._source, self.port), net.CLIENT_RECEIVES)


def connect(source: str, port: int) -> socket.socket:
    sock = socket.socket()
    try:
        sock.settimeout(net.CONNECT_TIME)
        # IP_BIND_ADDRESS_NO_PORT, see ip(7): only `connect` chooses the port, and then it can be used again at once.
        sock.setsockopt(socket.IPPROTO_IP, 24, 1)
        sock.bind((source, 0))
        sock.connect((LOOPBACK, port))
    except OSError:
        sock.close()
        raise
    return sock


@dataclass(frozen=True)
class Arrival:
    """A newcomer: when they came, and how many seconds it took to find the room, and then to be welcome there."""

    at: float
    find: float
    join: float


def newcomers(pipe: Pipe, port: int, password: str | None) -> None:
    """("begin",), then ("enough",) -> a list of Arrival."""
    net.PORTS = range(port, port + 1)  # where finders ask; no other room of this computer is disturbed
    arrivals: list[Arrival] = []
    pipe.send("ready")
    pipe.recv()
    pipe.send("coming")
    next_at = time.monotonic()
    for number in itertools.count():
        if pipe.poll(max(0.0, next_at - time.monotonic())):
            break
        source = f"127.0.{1 + number // 250}.{1 + number % 250}"
        vars(net)["Dialer"] = functools.partial(Dialer, source)
        arrivals.append(arrive(f"Newcomer {number}", port, password))
        next_at = max(next_at + NEWCOMER_EVERY, time.monotonic())
    pipe.recv()
    pipe.send(arrivals)
    pipe.recv()


def arrive(name: str, port: int, password: str | None) -> Arrival:
    begin = time.monotonic()
    # The forger hears the question as well. (With one socket for everyone, his answers would also fill its buffer.)
    found: net.Events = queue.Queue()
    with net.find_rooms(found, ways=[(LOOPBACK, LOOPBACK), (LOOPBACK, FORGER)]):
        await_event(found, lambda event: isinstance(event, net.Found) and has_room(event, port))
    found_at = time.monotonic()
    events: net.Events = queue.Queue()
    with net.run_client(LOOPBACK, name, events, port=port, password=password) as client:
        await_event(events, lambda event: isinstance(event, net.Welcome))
        joined_at = time.monotonic()
    client.join(PATIENCE)
    return Arrival(begin, found_at - begin, joined_at - found_at)


def has_room(found: net.Found, port: int) -> bool:
    return any((row.address, row.port, row.title) == (LOOPBACK, port, "Bench") for row in found.rooms)


def await_event(events: net.Events, is_right: Callable[[net.Event], bool]) -> None:
    """Until it comes, or nobody would wait any longer."""
    end = time.monotonic() + PATIENCE
    with contextlib.suppress(queue.Empty):
        while not is_right(events.get(timeout=max(0.0, end - time.monotonic()))):
            pass


# ------------------------------------------------------------------------------------------------------------ mischief


class Mischief:
    """One part: where the room is, and what those who misbehave have in common. Any thread."""

    def __init__(self, dialer: net.Dialer, pupil: str) -> None:
        self.port = dialer.port
        self.dialer = dialer
        self.pupil = pupil  # the address of the one who is in the room
        self.times = 0  # that something was done, whatever the room said to it
        self.ending = threading.Event()
        self._lock = threading.Lock()  # for `times`
        self._threads: list[threading.Thread] = []

    def start(self, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run)
        self._threads.append(thread)
        thread.start()

    def end(self) -> int:
        """How many times something was done."""
        self.ending.set()
        for thread in self._threads:  # some of them may still start others
            thread.join()
        return self.times

    def is_wanted(self) -> bool:
        return not self.ending.is_set()

    def did(self, times: int = 1) -> None:
        with self._lock:
            self.times += times

    def repeat(self, act: Callable[[], object], every: float) -> None:
        """Until the part ends, at most once in so many seconds, whatever the room does about it."""
        next_at = time.monotonic()
        while not self.ending.wait(max(0.0, next_at - time.monotonic())):
            next_at = max(next_at, time.monotonic() - every) + every
            with contextlib.suppress(*TROUBLE):
                act()

    def deadline(self) -> net.Deadline:
        return net.Deadline(net.SILENCE, is_wanted=self.is_wanted)

    @contextlib.contextmanager
    def begin(self, source: str) -> Iterator[net.Connection]:
        """A connection as far as the first message."""
        with contextlib.closing(net.Connection(connect(source, self.port), net.CLIENT_RECEIVES)) as connection:
            self.dialer.exchange_hellos(connection, self.deadline())
            yield connection

    @contextlib.contextmanager
    def join(self, name: str, token: str | None = None) -> Iterator[net.Connection]:
        """The pupil is in the room."""
        with self.begin(self.pupil) as connection:
            connection.send_unjoined(net.Join(name, token or secrets.token_hex(16), None, 0))
            net.read_reply(connection.wait_for_line(self.deadline()))
            yield connection

    def keep(self, connection: net.Connection) -> None:
        """Nobody reads what comes, but the room does not notice that, and a ping tells it that somebody is there."""
        connection.send_bytes(net.encode(net.Ping()), self.deadline())
        drop_input(connection)

    def be_present(self, name: str, token: str) -> None:
        """Starts a thread that keeps this person in the room."""

        def stay() -> None:
            with self.join(name, token) as connection:
                while not self.ending.wait(1.0):
                    self.keep(connection)

        self.start(lambda: self.repeat(stay, every=1.0))

    def share(self, token: str, data: bytes, declared: int | None = None) -> str:
        """Uploads a file; the room then waits for what is missing of the declared size. Returns its id."""
        file = secrets.token_hex(16)
        with self.begin(self.pupil) as connection:
            connection.send_unjoined(net.Upload(token, file, "file.txt", len(data) if declared is None else declared))
            net.read_reply(connection.wait_for_line(self.deadline()))
            self.did()
            connection.send_bytes(data, self.deadline())
            if declared is None:
                connection.send_unjoined(net.Sent(hashlib.sha256(data).hexdigest()))
            net.read_reply(connection.wait_for_line(self.deadline()))
        return file


def drop_input(connection: net.Connection) -> None:
    """Raises ConnectionLost at its end, OSError."""
    with contextlib.suppress(BlockingIOError):
        while connection.socket.recv(65_536):
            pass
        raise net.ConnectionLost


# Each way to misbehave goes on until the part ends. What it is, the docstring at the top tells.


def silent_connections(mischief: Mischief) -> None:
    with contextlib.ExitStack() as stack:
        watch = select.poll()
        sockets: dict[int, tuple[str, socket.socket]] = {}
        missing = OUTSIDE * SILENT_EACH
        while not mischief.ending.is_set():
            for source in missing:
                with contextlib.suppress(OSError):
                    sock = stack.enter_context(connect(source, mischief.port))
                    sockets[sock.fileno()] = (source, sock)
                    watch.register(sock, select.POLLIN)
                    mischief.did()
                if mischief.ending.is_set():
                    break
            mischief.ending.wait(1.0)
            missing = []
            for descriptor, _ in watch.poll(0):
                watch.unregister(descriptor)
                source, sock = sockets.pop(descriptor)
                sock.close()
                missing.append(source)


def slow_transfers(mischief: Mischief) -> None:
    owner = secrets.token_hex(16)
    mischief.be_present("Slow", owner)
    files: list[str] = []
    while not files and not mischief.ending.wait(0.2):
        with contextlib.suppress(*TROUBLE):
            files.append(mischief.share(owner, bytes(SLOW_SIZE)))
    with contextlib.ExitStack() as stack:
        people: list[net.Connection] = []
        uploads: list[net.Connection] = []
        downloads: list[net.Connection] = []

        def come() -> None:
            token = secrets.token_hex(16)
            people.append(stack.enter_context(mischief.join("Slow", token)))
            for number in range(TRANSFERS_EACH):
                with contextlib.suppress(*TROUBLE):
                    connection = stack.enter_context(mischief.begin(mischief.pupil))
                    if number % 2:
                        connection.send_unjoined(net.Download(token, files[0], 0))
                        downloads.append(connection)
                    else:
                        connection.send_unjoined(net.Upload(token, secrets.token_hex(16), "slow", SLOW_SIZE))
                        uploads.append(connection)
                    mischief.did()

        def crawl() -> None:
            for connection in uploads.copy():
                with contextlib.suppress(*TROUBLE):
                    connection.send_bytes(b"x", mischief.deadline())
            for connection in downloads.copy():
                with contextlib.suppress(*TROUBLE):
                    connection.socket.recv(1)
            for connection in people.copy():
                with contextlib.suppress(*TROUBLE):
                    mischief.keep(connection)

        crawler = threading.Thread(target=mischief.repeat, args=[crawl, 3.0])
        crawler.start()
        mischief.repeat(come, every=0.25)
        crawler.join()


def empty_files(mischief: Mischief) -> None:
    token = secrets.token_hex(16)
    mischief.be_present("Sharer", token)
    for _ in range(net.TRANSFERS_PER_PERSON):
        mischief.start(lambda: mischief.repeat(lambda: mischief.share(token, b""), every=0.02))


def declared_uploads(mischief: Mischief) -> None:
    token = secrets.token_hex(16)
    mischief.be_present("Boaster", token)
    for _ in range(10):
        mischief.start(lambda: mischief.repeat(lambda: mischief.share(token, b"four", net.MAX_FILE), every=0.2))


def emoji(mischief: Mischief) -> None:
    ids = itertools.count(1)
    token = secrets.token_hex(16)

    def talk() -> None:
        with mischief.join("Emoji", token) as connection:
            while not mischief.ending.wait(0.05):
                line = net.encode(net.Say(next(ids), "\U0001f600" * net.MAX_TEXT))
                connection.send_bytes(line, mischief.deadline())
                drop_input(connection)
                mischief.did()

    mischief.repeat(talk, every=0.5)


def long_pings(mischief: Mischief) -> None:
    line = b'{"type":"ping","numbers":[' + b",".join([b"1"] * (LINE // 2 - 20)) + b"]}\n"
    token = secrets.token_hex(16)

    def ping() -> None:
        with mischief.join("Pinger", token) as connection:
            while not mischief.ending.is_set():
                connection.send_bytes(line, mischief.deadline())
                drop_input(connection)
                mischief.did()

    mischief.repeat(ping, every=0.5)


def long_hellos(mischief: Mischief) -> None:
    line = b'{"type":"hello","protocol":2,"tls":true,"numbers":[' + b",".join([b"1"] * (LINE // 2 - 50)) + b"]}\n"
    sources = itertools.cycle(OUTSIDE)

    def say_hello() -> None:
        with connect(next(sources), mischief.port) as sock:
            sock.sendall(line)
            mischief.did()
            sock.recv(1)

    mischief.repeat(say_hello, every=0.005)


def key_updates(mischief: Mischief) -> None:
    updates = 16 * 1024 // KEY_UPDATE

    def update_inside() -> None:
        with mischief.join("Updater") as connection:
            update = key_updater()
            while not mischief.ending.is_set():
                update(updates)
                mischief.keep(connection)
                mischief.did(updates)

    def update_outside() -> None:
        with mischief.begin(mischief.pupil) as connection:
            update = key_updater()
            while mischief.is_wanted():
                update(updates)
                connection.send_bytes(b" ", mischief.deadline())  # of a line that never ends
                mischief.did(updates)

    mischief.start(lambda: mischief.repeat(update_inside, every=0.1))
    mischief.repeat(update_outside, every=0.0)


def forged_answers(mischief: Mischief) -> None:
    rooms = [
        net.encode(net.RoomHere(net.PROTOCOL, secrets.token_hex(16), title, mischief.port, 7, password=False))
        for title in ("Bench", "\ufdfa" * net.MAX_TITLE, "\ufdfa" * 600, "Bench")
    ]
    with contextlib.ExitStack() as stack:
        senders = []
        for source in OUTSIDE:
            senders.append(stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)))
            senders[-1].bind((source, mischief.port))
        senders[0].settimeout(0.2)
        while not mischief.ending.is_set():
            with contextlib.suppress(OSError):  # nobody asks
                asker = senders[0].recvfrom(net.MAX_DATAGRAM)[1]
                for sender, answer in itertools.product(senders, [real_answer(mischief.port), *rooms]):
                    sender.sendto(answer, asker)
                    mischief.did()


def real_answer(port: int) -> bytes:
    """What the room itself says, to be repeated from elsewhere."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.2)
        sock.sendto(net.encode(net.Find(net.PROTOCOL)), (LOOPBACK, port))
        return sock.recv(net.MAX_DATAGRAM)


def questions(mischief: Mischief) -> None:
    question = net.encode(net.Find(net.PROTOCOL))
    with contextlib.ExitStack() as stack:
        senders = []
        for source in OUTSIDE[:20]:
            senders.append(stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)))
            senders[-1].bind((source, 0))

        def ask() -> None:
            for sender in senders:
                sender.sendto(question, (LOOPBACK, mischief.port))
                mischief.did()

        mischief.repeat(ask, every=0.01)


def names_as_messages(mischief: Mischief) -> None:
    token = secrets.token_hex(16)
    numbers = itertools.count(1)

    def come_and_go() -> None:
        with mischief.join(f"Ann is a thief, part {next(numbers)}", token) as connection:
            connection.send_bytes(net.encode(net.Leave()), mischief.deadline())
            mischief.did()
            next(connection.receive_bytes(1, mischief.deadline()))

    mischief.repeat(come_and_go, every=1.0)


def returning(mischief: Mischief) -> None:
    token = secrets.token_hex(16)

    def come_back() -> None:
        with mischief.begin(mischief.pupil) as connection:
            connection.send_unjoined(net.Join("Returner", token, None, 0))
            mischief.did()

    for _ in range(4):
        mischief.start(lambda: mischief.repeat(come_back, every=0.0))


def deep_json(mischief: Mischief) -> None:
    token = secrets.token_hex(16)
    sources = itertools.cycle(OUTSIDE)

    def say_inside() -> None:
        with mischief.join("Digger", token) as connection:
            connection.send_bytes(b"[" * LINE + b"\n", mischief.deadline())
            mischief.did()
            for _ in connection.receive_bytes(net.MAX_INTEGER, mischief.deadline()):
                pass

    def say_outside() -> None:
        with connect(next(sources), mischief.port) as sock:
            sock.sendall(b'{"type":"hello","protocol":' + b"[" * (net.MAX_LINE_UNJOINED - 100) + b"\n")
            mischief.did()
            sock.recv(1)

    mischief.start(lambda: mischief.repeat(say_inside, every=0.05))
    mischief.repeat(say_outside, every=0.05)


def cheap_hello() -> bytes:
    """It costs its sender nothing: any number that is small enough may be an `a`."""
    return net.encode(net.Hello(net.PROTOCOL, tls=True, a="0" + secrets.token_hex(256)[1:]))


def wrong_passwords(mischief: Mischief) -> None:
    sources = itertools.cycle(OUTSIDE)  # shared by all threads, so that each address has many guesses under way

    def guess() -> None:
        with connect(next(sources), mischief.port) as sock:
            sock.sendall(cheap_hello())
            mischief.did()
            if b'"b":' in sock.recv(4096):
                proof = net.Tls(lambda: secrets.token_bytes(32), is_room=False).handshake_step(b"")[1]
                sock.sendall(proof)
                sock.recv(1)

    for _ in range(48):
        mischief.start(lambda: mischief.repeat(guess, every=0.05))


def begun_logins(mischief: Mischief) -> None:
    sources = itertools.cycle(OUTSIDE)

    def say_hello() -> None:
        with connect(next(sources), mischief.port) as sock:
            sock.sendall(cheap_hello())
            mischief.did()  # and it does not wait for the answer, which takes the room longest

    for _ in range(10):
        mischief.start(lambda: mischief.repeat(say_hello, every=0.01))


# ------------------------------------------------------------------------------------------------------ TLS key updates


class Traceable(ssl.SSLObject):
    """What net.Tls uses in this process; the newest of each thread can be found."""

    newest = threading.local()

    def __new__(cls, *arguments: Any, **keywords: Any) -> Traceable:
        cls.newest.object = super().__new__(cls, *arguments, **keywords)
        made: Traceable = cls.newest.object
        return made


def openssl() -> Any:
    """OpenSSL as this Python uses it: Python itself cannot ask for new keys. None if it is built in out of reach."""
    library = ctypes.PyDLL(getattr(sys.modules["_ssl"], "__file__", None))
    if not hasattr(library, "SSL_key_update") or sys.implementation.name != "cpython":
        return None
    library.SSL_key_update.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.SSL_do_handshake.argtypes = [ctypes.c_void_p]
    return library


def key_updater() -> Callable[[int], None]:
    """For this thread's newest connection: queues that many key updates, which go out with the next bytes."""
    library = openssl()
    wrapped: Any = Traceable.newest.object
    # In CPython's _ssl.c such an object has two fields after its head: a reference to its socket, and OpenSSL's object.
    place = id(wrapped._sslobj) + object.__basicsize__ + ctypes.sizeof(ctypes.c_void_p)
    pointer = ctypes.c_void_p.from_address(place).value

    def update(times: int) -> None:
        for _ in range(times):
            library.SSL_key_update(pointer, 0)  # 0: the other side need not change its keys
            library.SSL_do_handshake(pointer)

    return update


# -------------------------------------------------------------------------------------------------------------- parts

Way = Callable[[Mischief], None]


def parts(password: str | None) -> dict[str, list[Way]]:
    """The ways to misbehave of each part, under its title."""
    outside: list[Way] = [silent_connections, long_hellos, forged_answers, questions]
    inside: list[Way] = [
        slow_transfers, empty_files, declared_uploads, emoji, long_pings, names_as_messages, returning, deep_json,
    ]  # fmt: skip
    if password is not None:
        outside += [wrong_passwords, begun_logins]
        if openssl() is not None:
            inside.append(key_updates)
    alone = {way.__name__.replace("_", " "): [way] for way in [*outside, *inside]}
    return {**alone, "outside together": outside, "inside together": inside, "all together": outside + inside}


def misbehaving(pipe: Pipe, port: int, password: str | None) -> None:
    """(title of a part, the pupil's address) -> when it begins; then anything -> how many times something was done."""
    os.nice(19)  # these are other computers' processors, and must not compete with the room for this one's
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most if most != resource.RLIM_INFINITY else 10_000, most))
    ssl.SSLContext.sslobject_class = Traceable
    pipe.send("here")
    while (wish := pipe.recv()) is not None:
        title, pupil = wish
        mischief = Mischief(net.Dialer(LOOPBACK, port, password), pupil)
        for way in parts(password)[title]:
            mischief.start(functools.partial(way, mischief))
        pipe.send("begun")
        pipe.recv()
        pipe.send(mischief.end())


@dataclass
class Part:
    title: str
    begin: float  # monotonic s
    end: float
    cpu: float  # of a processor that the room took
    times: int = 0  # that somebody misbehaved


def have_lesson(
    titles: list[str], password: str | None, limit: int, seconds: float, is_beside: bool, windows: int
) -> tuple[list[Part], list[Diary], list[Diary], list[Arrival]]:
    """The parts, the diaries of the thirty and of those at windows, and the newcomers."""
    quiet_time = QUIET_SHARE * seconds / len(titles)
    loud_time = seconds / len(titles) - quiet_time
    done: list[Part] = []
    with contextlib.ExitStack() as stack:
        host = stack.enter_context(Worker(room, password, limit))
        port, size = host.first_word, CLASS // PROCESSES
        groups = [
            stack.enter_context(Worker(pupils, port, password, first, size)) for first in range(0, CLASS, size)
        ]
        if windows:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            stack.enter_context(own_screen(Path(folder)))
        watching = [stack.enter_context(Worker(window, port, password, number)) for number in range(windows)]
        coming = stack.enter_context(Worker(newcomers, port, password))
        mob = stack.enter_context(Worker(misbehaving, port, password))
        for worker in [*watching, *groups, coming]:
            worker.ask("begin")
        time.sleep(min(AFTERMATH, quiet_time))

        def watch(title: str, for_: float) -> Part:
            begin, cpu = time.monotonic(), cpu_seconds(host.pid)
            time.sleep(for_)
            end = time.monotonic()
            return Part(title, begin, end, (cpu_seconds(host.pid) - cpu) / (end - begin))

        for number, title in enumerate(titles):
            done.append(watch("quiet", quiet_time))
            mob.ask(title, LOOPBACK if is_beside else f"127.0.0.{100 + number}")
            part = watch(title, loud_time)
            part.times = mob.ask("enough")
            time.sleep(min(AFTERMATH, quiet_time))
            part.end = time.monotonic()
            done.append(part)
        arrivals = coming.ask("enough")
        for group in groups:
            group.ask("enough")
        time.sleep(AFTERMATH)  # for the last messages to arrive
        diaries = [group.ask("diary") for group in groups]
        seen = [worker.ask("diary") for worker in watching]
        print(f"(The room needed {memory(host.pid, peak=True):.0f} MiB at its peak.)")
    return done, diaries, seen, arrivals


# ------------------------------------------------------------------------------------------------------------- figures


def ages_during(some: list[Part], diaries: list[Diary]) -> list[float]:
    """How old the messages were, in s, that were said in these parts."""
    return [
        age
        for diary in diaries
        for said_at, age in diary.heard
        if any(part.begin <= said_at < part.end for part in some)
    ]


def report(done: list[Part], diaries: list[Diary], seen: list[Diary], arrivals: list[Arrival]) -> list[str]:
    """Prints the table, and returns what is wrong."""
    wrong: list[str] = []
    by_title: dict[str, list[Part]] = {}
    for part in done:
        by_title.setdefault(part.title, []).append(part)
    print(f"{'':22} {'times':>9} {'CPU':>5} {'deliveries':>11} {'p50':>9} {'p99':>9} {'longest':>9} "
          f"{'p99 of quiet':>13} {'Lost':>5} {'found after':>12} {'joined after':>13}")  # fmt: skip
    # The median, because a quiet part may still suffer from the one before it.
    quiet = statistics.median(percentiles(ages_during([part], diaries))[98] for part in by_title["quiet"])
    for title, some in by_title.items():
        ages = ages_during(some, diaries)
        percent = percentiles(ages)
        lost = [what for diary in diaries for at, what in diary.lost if any(p.begin <= at < p.end for p in some)]
        came = [arrival for arrival in arrivals if any(part.begin <= arrival.at < part.end for part in some)]
        find, join = (max((getattr(each, what) for each in came), default=math.nan) for what in ("find", "join"))
        cpu = sum(part.cpu for part in some) / len(some)
        print(
            f"{title:22} {sum(part.times for part in some):9,} {cpu:5.0%} {len(ages):11,} {percent[49] * 1000:6.1f} ms "
            f"{percent[98] * 1000:6.1f} ms {max(ages, default=math.nan) * 1000:6.1f} ms {percent[98] / quiet:13.2f} "
            f"{len(lost):5} {find:10.2f} s {join:11.2f} s",
            flush=True,
        )
        if seen:
            drawn = percentiles(ages_during(some, seen))
            stalls = [s for diary in seen for at, s in diary.stalls if any(p.begin <= at < p.end for p in some)]
            print(f"{'  at the windows':50} {drawn[49] * 1000:6.1f} ms {drawn[98] * 1000:6.1f} ms; "
                  f"longest stall {max(stalls, default=0) * 1000:.1f} ms", flush=True)  # fmt: skip
        if percent[98] > MAX_RATIO * quiet:
            wrong.append(f"{title}: the 99th percentile is {percent[98] / quiet:.1f} times the quiet one.")
        if lost:
            wrong.append(f"{title}: {len(lost)} times one of the thirty lost the room, first by {lost[0]}.")
        if join > MAX_JOIN:
            wrong.append(f"{title}: a newcomer needed {join:.1f} s to join.")
        if title != "quiet" and not sum(part.times for part in some):
            wrong.append(f"{title}: nothing was done.")
    missing = CLASS * sum(diary.said for diary in diaries) - sum(len(diary.heard) for diary in diaries)
    if missing:
        wrong.append(f"{missing} messages of the thirty did not reach one of them.")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="half a second of each way: does it run at all?")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the lesson (default: 10)")
    parser.add_argument("--password", action="store_true", help="in an encrypted room (Python 3.13 or newer)")
    parser.add_argument("--limit", type=int, default=net.MAX_PEOPLE, help="people in the room (default: %(default)s)")
    parser.add_argument("--beside", action="store_true", help="the pupil who misbehaves has the class's address")
    parser.add_argument("--windows", type=int, default=0, help="people at real windows (default: none)")
    parser.add_argument("--only", nargs="+", metavar="PART", help="titles of the table")
    arguments = parser.parse_args()
    if arguments.password and not net.CAN_ENCRYPT:
        print("This Python cannot encrypt; 3.13 or newer can.")
        return 0
    password = PASSWORD if arguments.password else None
    titles = arguments.only or list(parts(password))
    if unknown := set(titles) - set(parts(password)):
        parser.error(f"there is no part called {', '.join(sorted(unknown))} in this room")
    seconds = 0.7 * len(titles) if arguments.quick else 60 * arguments.minutes
    print(f"{machine()}; {'an encrypted' if password else 'an open'} room", flush=True)
    lesson = have_lesson(titles, password, arguments.limit, seconds, arguments.beside, arguments.windows)
    wrong = report(*lesson)
    if arguments.quick:
        return 0
    print("\n".join(wrong) or "Nobody was disturbed.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
