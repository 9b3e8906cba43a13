"""What the tests share: waiting for facts, a client that speaks the bare protocol, and a network that misbehaves.

    until, expect, drain           wait for a fact, or for an event; what was seen instead is told when it does not come
    Wire                           a client of plain bytes, to say things to a room that `net.Client` would never say
    Member                         such a client that is in the room
    Person, FakeRoom, Guest        a real client, and a room that the test plays: `fake.accepts().lets_in()`
    Proxy                          a network between client and room that can break in every way that a real one does
    Display, own_screen            a screen for windows
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import random
import re
import secrets
import select
import selectors
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from unittest import mock

import net

T = TypeVar("T")
Test = TypeVar("Test", bound=Callable[..., None])
AnyWire = TypeVar("AnyWire", bound="Wire")
Message = dict[str, Any]

# Seconds to wait for what should come at once. Only a test that fails waits so long; a slow computer may set it higher.
LIMIT = float(os.environ.get("CHAT_TEST_LIMIT", "20"))
LOOPBACK = "127.0.0.1"
# CHAT_TORTURE=long: the tests that torture the program take minutes instead of seconds.
LONG = os.environ.get("CHAT_TORTURE") == "long"
EVERYBODY = LOOPBACK if sys.platform == "darwin" else "127.255.255.255"  # on this computer; macOS has no such address


def skip_or_fail(sentence: str) -> NoReturn:
    """This computer lacks what the test needs: skip it; but CI has everything, so there it is a failure."""
    import pytest  # here, so that the benchmarks and the pictures need nothing but Python

    if os.environ.get("CI") == "true":
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)


def skip_without_namespaces() -> None:
    """A test makes networks of its own: skip it where the system cannot."""
    if sys.platform != "linux" or shutil.which("unshare") is None or shutil.which("ip") is None:
        skip_or_fail("networks of one's own need Linux, unshare and ip (on Debian and Ubuntu: apt install iproute2)")
    if subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode != 0:
        skip_or_fail("only root may make a network of its own")


def needs_tls(test: Test) -> Test:
    """Older Pythons cannot use a key of our own. CI must not have a newer one without it: there the test fails."""
    import pytest

    can = net.CAN_ENCRYPT or (sys.version_info >= (3, 13) and os.environ.get("CI") == "true")
    marked: Test = pytest.mark.skipif(not can, reason="this Python cannot encrypt a room")(test)
    return marked


def nobodys_port(stack: contextlib.ExitStack) -> int:
    """A TCP port at which nobody answers as long as the stack is open: taken, so that nobody else is given it."""
    taken = stack.enter_context(socket.socket())
    taken.bind((LOOPBACK, 0))
    return port_of(taken)


@contextlib.contextmanager
def own_ports() -> Iterator[range]:
    """Ten neighbouring ports for one test alone, also if all of the tests run twice at the same time.

    They are below those that systems choose for outgoing connections, and no other test uses any of them. A test that
    has bound the port in front of them owns all ten: they begin in steps of eleven, so no two tests' ports overlap.
    """
    while True:
        first = random.randrange(10_000, 32_000, 1 + len(net.PORTS)) + 1
        ten = range(first, first + len(net.PORTS))
        try:
            keeper = udp_socket("", first - 1)
        except OSError:
            continue
        with keeper:
            if all(is_free(port) for port in ten):
                yield ten
                return


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


def stay_at_home() -> None:
    """From now on, looking for rooms in this process asks this computer alone: no test speaks to a real network."""
    net.ways_out = lambda own_addresses: [(LOOPBACK, EVERYBODY)]  # noqa: ARG005 - called by its name


def port_of(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


# Waiting ----------------------------------------------------------------------


def until(condition: Callable[[], object], what: str, limit: float = LIMIT) -> None:
    """Wait until the condition holds; `what` says in the failure what was waited for."""
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {limit:g} s: {what}")
        time.sleep(0.002)


def expect(
    events: queue.Queue[Any], kind: type[T], where: Callable[[T], object] = lambda _event: True, limit: float = LIMIT
) -> T:
    """Take events out of the queue up to and with the first of this kind that satisfies `where`."""
    deadline = time.monotonic() + limit
    seen: list[Any] = []
    while True:
        try:
            event = events.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            told = "\n  ".join(["seen:", *map(repr, seen)]) if seen else "nothing was seen"
            raise AssertionError(f"no such {kind.__name__} within {limit:g} s; {told}") from None
        if isinstance(event, kind) and where(event):
            return event
        seen.append(event)


def drain(events: queue.Queue[Any]) -> list[Any]:
    """All events that are in the queue now."""
    taken = []
    with contextlib.suppress(queue.Empty):
        while True:
            taken.append(events.get_nowait())
    return taken


def message(kind: str, **fields: Any) -> Message:
    """One message of this type, as a room or a client reads it: the only place that knows how it is written."""
    return {"type": kind, **fields}


def messages_in(record: bytearray, kind: str) -> list[Message]:
    """The messages of this type that a proxy passed on, also between the bytes of files."""
    return [json.loads(line) for line in re.findall(rb'\{"type":"%s"[^\n]*\}\n' % kind.encode(), bytes(record))]


class Clock:
    """Time passes only when the test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0  # s

    def __call__(self) -> float:
        return self.now


# A client of plain bytes ------------------------------------------------------


class Wire:
    """A connection to a room on which a test says exactly what it wants to. For one thread; a context manager."""

    def __init__(self, port: int, host: str = LOOPBACK, source: str | None = None) -> None:
        self.socket = socket.create_connection((host, port), LIMIT, None if source is None else (source, 0))
        self.token = secrets.token_hex(16)
        self._received = b""  # what came after the last whole line

    def __enter__(self: AnyWire) -> AnyWire:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def send(self, message: Message) -> None:
        self.send_bytes(json.dumps(message).encode() + b"\n")

    def send_bytes(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self, *, pings: bool = False) -> Message | None:
        """The next message, None at the end. Pings come whenever a computer is slow: they are left out unless asked."""
        while True:
            line = self.receive_line()
            if line is None:
                return None
            message: Message = json.loads(line)
            if pings or message["type"] != "ping":
                return message

    def receive_until(self, kind: str) -> Message:
        """The next message of this type; those before it are dropped."""
        while True:
            received = self.receive(pings=kind == "ping")
            assert received is not None, f"the connection ended instead of {kind!r}"
            if received["type"] == kind:
                return received

    def receive_all(self) -> list[Message]:
        """Every message up to the end of the connection, however it ends."""
        messages = []
        with contextlib.suppress(ConnectionError):
            while (message := self.receive()) is not None:
                messages.append(message)
        return messages

    def receive_bytes(self, size: int) -> bytes:
        """Exactly so many raw bytes (a file's), or fewer at the end."""
        while len(self._received) < size and self._more():
            pass
        data, self._received = self._received[:size], self._received[size:]
        return data

    def receive_to_the_end(self) -> bytes:
        """Every byte up to the end of the connection, however it ends."""
        with contextlib.suppress(ConnectionError):
            while self._more():
                pass
        return self._received

    # Messages. A test that is not about the wire format builds what it sends here, and nowhere else.

    def hello(self, **other: Any) -> Message:
        """Begin in plain text; the room's answer. `other`: fields that differ from an honest hello."""
        self.send(message("hello", **{"protocol": net.PROTOCOL, "tls": False, **other}))
        answer = self.receive()
        assert answer is not None, "the connection ended instead of an answer to hello"
        return answer

    def join(self, name: str, token: str | None = None, room: str | None = None, after: int = 0) -> Message:
        """Say hello, and join; the welcome. Without a token it is a new person's, kept in `self.token`."""
        welcome = self.try_to_join(name, token, room, after)
        assert welcome["type"] == "welcome", welcome
        return welcome

    def try_to_join(self, name: str, token: str | None = None, room: str | None = None, after: int = 0) -> Message:
        """Say hello, and join; whatever the room answers."""
        self.token = token or self.token
        answer = self.hello()
        assert answer["type"] == "hello", answer
        self.send(message("join", name=name, token=self.token, room=room, after=after))
        reply = self.receive()
        assert reply is not None, "the connection ended instead of an answer to join"
        return reply

    def say(self, number: int, text: str) -> None:
        self.send(message("say", id=number, text=text))

    def ping(self) -> None:
        self.send(message("ping"))

    def leave(self) -> None:
        self.send(message("leave"))

    def upload(self, token: str, data: bytes, filename: str = "a.txt", file: str | None = None) -> Message:
        """Say hello, and give the room a whole file; the room's last answer."""
        answer = self.begin_upload(token, len(data), filename, file)
        if answer["type"] == "ready":
            self.send_bytes(data)
            self.send(message("sent", sha256=hashlib.sha256(data).hexdigest()))
            answer = self.receive() or {}
        return answer

    def begin_upload(self, token: str, size: int, filename: str = "a.txt", file: str | None = None) -> Message:
        """Say hello, and ask the room to take a file; its answer."""
        self.hello()
        self.send(message("upload", token=token, file=file or secrets.token_hex(16), filename=filename, size=size))
        return self.receive() or {}

    def download(self, token: str, file: str, offset: int = 0) -> Message:
        """Say hello, and ask for a file; the room's answer. `receive_bytes` then takes the file."""
        self.hello()
        self.send(message("download", token=token, file=file, offset=offset))
        return self.receive() or {}

    def receive_line(self) -> bytes | None:
        """The next line without its end, None at the end of the connection."""
        while b"\n" not in self._received:
            if not self._more():
                assert not self._received, f"the connection ended within a line: {self._received!r}"
                return None
        line, _, self._received = self._received.partition(b"\n")
        return line

    def _more(self) -> bool:
        try:
            data = self.socket.recv(64 * 1024)
        except TimeoutError:
            raise AssertionError(f"nothing came for {LIMIT:g} s after {self._received!r}") from None
        self._received += data
        return bool(data)


class Member(Wire):
    """Somebody in the room, with a program of their own."""

    def __init__(self, room: net.Server, name: str, token: str | None = None, *, after: int = 0) -> None:
        super().__init__(room.port)
        self.room = room
        self.welcome = self.join(name, token, room.id, after)
        self.who = int(self.welcome["who"])
        self.last_id = int(self.welcome["last_id"])

    def says(self, text: str) -> None:
        self.last_id += 1
        self.say(self.last_id, text)

    def next(self) -> Message:
        received = self.receive()
        assert received is not None, "the connection ended"
        return received

    def hears(self, text: str) -> Message:
        """The next line with this text; what comes before it is dropped."""
        return self.all_up_to("said", text=text)[-1]

    def all_up_to(self, kind: str, **fields: object) -> list[Message]:
        """What comes, up to and with the first of this kind that has these values."""
        seen = [self.next()]
        while seen[-1]["type"] != kind or any(seen[-1][name] != value for name, value in fields.items()):
            seen.append(self.next())
        return seen

    def may_write(self) -> str:
        """Says something; "said", or the code with which it was rejected."""
        self.says("May I?")
        while True:
            answer = self.next()
            if answer.get("id") == self.last_id and answer.get("who", self.who) == self.who:
                return str(answer.get("code", answer["type"]))


def context_of(side: ssl._SSLMethod, key: bytes | None, identity: str = "chat-room") -> ssl.SSLContext:
    """TLS as another program would set it up, from the wire format alone; without a key it offers none."""
    context = ssl.SSLContext(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if side is ssl.PROTOCOL_TLS_CLIENT:
        context.check_hostname = False
    if sys.version_info >= (3, 13) and key is not None:
        if side is ssl.PROTOCOL_TLS_CLIENT:
            context.set_psk_client_callback(lambda _hint: (identity, key))
        else:
            context.num_tickets = 0
            context.set_psk_server_callback(lambda asked: key if asked == identity else b"")
    return context


def srp_hex(value: int) -> str:
    """A public value as the hello lines carry it."""
    return f"{value:0512x}"


# A real client, and a room that the test plays ---------------------------------


def welcome(**changed: Any) -> Message:
    """The first message of a room in which Ann is number 2."""
    fields: Message = {"room": "r1", "title": "Room 7", "max_file": 0}
    fields |= {"who": 2, "name": "Ann", "host": 1, "people": [[1, "Host"], [2, "Ann"]]}
    fields |= {"files": 0, "missed": 0, "history": 0, "last_id": 0, "muted": False, "paused": False}
    return message("welcome", **{**fields, **changed})


class Person:
    """Somebody with the program: a client, and the events that its window would show."""

    def __init__(
        self, name: str, port: int, *, address: str = LOOPBACK, token: str | None = None, password: str | None = None
    ) -> None:
        self.events: net.Events = queue.Queue()
        self.client = net.run_client(address, name, self.events, port=port, token=token, password=password)

    def expects(self, kind: type[T], where: Callable[[T], object] = lambda _event: True) -> T:
        return expect(self.events, kind, where)

    def hears(self, text: str) -> net.Said:
        return self.expects(net.Said, lambda said: said.text == text)

    def says(self, text: str) -> int:
        """The id that the line got."""
        self.client.say(text)
        return self.expects(net.Sending, lambda sending: sending.text == net.clean_text(text)).id

    def gets_back(self, number: int) -> str:
        """The code with which the line with this id returned."""
        return self.expects(net.Rejected, lambda rejected: rejected.id == number).code

    def close(self) -> None:
        self.client.close()
        assert self.client.join(LIMIT), "the client does not end"


class Guest(Wire):
    """A client's connection, as the room sees it; the test plays the room."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.socket.settimeout(LIMIT)
        self._received = b""

    def expects(self, kind: str) -> Message:
        """The next message, which must be of this type."""
        received = self.receive()
        assert received is not None, f"the connection ended instead of {kind!r}"
        assert received["type"] == kind
        return received

    def says_hello(self, **other: Any) -> None:
        """The room's hello line. `other`: fields that differ from an open room's."""
        self.send(message("hello", **{"protocol": net.PROTOCOL, "tls": False, **other}))

    def refuses(self, code: str, reason: str = "because", **other: Any) -> None:
        self.send(message("refused", code=code, reason=reason, **other))

    def lets_in(self, *events: Message, **changed: Any) -> Message:
        """Exchange hello lines, and welcome with these events as the history; returns the `join`."""
        self.expects("hello")
        self.says_hello()
        join = self.expects("join")
        self.send(welcome(**{"history": len(events), **changed}))
        for event in events:
            self.send(event)
        return join


class FakeRoom:
    """A listening socket. The test decides what the room there says."""

    def __init__(self) -> None:
        self._listener = socket.create_server((LOOPBACK, 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)  # soon full if nobody reads
        self._listener.settimeout(LIMIT)
        self.port = port_of(self._listener)
        self._guests: list[Guest] = []

    def accepts(self) -> Guest:
        self._guests.append(Guest(self._listener.accept()[0]))
        return self._guests[-1]

    def close(self) -> None:
        for guest in self._guests:
            guest.close()
        self._listener.close()


# A network that misbehaves ----------------------------------------------------

HELD_AT_MOST = 256 * 1024  # bytes in one direction; a sender then feels that its receiver is slow, as without a proxy
Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)


class _Way:
    """One direction of a connection through the proxy: what came in at one end, and has to go out at the other."""

    def __init__(self, source: socket.socket, target: socket.socket, record: bytearray) -> None:
        self.source = source
        self.target = target
        self.record = record
        self.held: deque[tuple[float, bytes]] = deque()  # when it may go on, and what
        self.size = 0  # of all that is held
        self.passed = 0  # bytes that went on
        self.ended = False  # the source has said its last
        self.closed = False  # and the target has been told so

    def wants_to_read(self) -> bool:
        return not self.ended and self.size < HELD_AT_MOST

    def due(self) -> float | None:
        """When the next bytes may go on."""
        return self.held[0][0] if self.held else None


@dataclass(frozen=True)
class _Rules:
    """How the network behaves."""

    silent: bool = False
    refusing: bool = False
    chop: int = HELD_AT_MOST  # bytes
    stall_after: int = sys.maxsize  # bytes
    delay: float = 0.0  # seconds
    storm: tuple[random.Random, int] | None = None  # and how many bytes a connection lives on average
    running: bool = True


class _Link:
    """One connection through the proxy: the client's socket, the room's, and both ways between them."""

    def __init__(self, client: socket.socket, room: socket.socket, proxy: Proxy) -> None:
        self.sockets = (client, room)
        self.ways = (_Way(client, room, proxy.to_room), _Way(room, client, proxy.from_room))
        self.left: int | None = None  # bytes until the storm cuts it


class Proxy:
    """A TCP proxy in front of a room's port: `with Proxy(server.port) as proxy: ... proxy.port ...`

    All its sockets and rules belong to its one thread. A method hands its wish to that thread and returns when it has
    been carried out; so after `proxy.cut()` the connections *are* cut. Any thread may call any method.
    """

    def __init__(self, port_behind: int) -> None:
        self.port_behind = port_behind  # where new connections are led; may be changed at any time
        self.to_room = bytearray()  # every byte that was passed on, of all connections: look at bytes(...) of it
        self.from_room = bytearray()
        # Proxy thread only:
        self._edits: dict[str, Callable[[bytes], bytes]] = {}
        self._links: list[_Link] = []
        self._rules = _Rules()
        self._listener = socket.create_server((LOOPBACK, 0), backlog=1000)
        self._listener.setblocking(False)
        self.port = port_of(self._listener)
        # Shared:
        self._wishes: queue.SimpleQueue[tuple[Callable[[], None], threading.Event]] = queue.SimpleQueue()
        self._woken, self._waker = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name=f"proxy {self.port}")
        self._thread.start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    # Any thread.

    def cut(self) -> None:
        """Reset all connections that were made before, at both ends. What was held back is lost."""
        self._do(self._cut_all)

    def silence(self) -> None:
        """Pull the cable: nothing passes in either direction, nothing ends, and new connections get no answer."""
        self._change(silent=True)

    def speak(self, *, drop: bool = False) -> None:
        """Put the cable back: go on with what was held back; or, with `drop`, reset the connections of before.

        Those that were begun in the silence go on in either case.
        """
        if drop:
            self.cut()
        self._change(silent=False)

    def refuse(self, on: bool = True) -> None:
        """Close new connections as soon as they come, as it also does when nobody listens on the port behind it."""
        self._change(refusing=on)

    def chop(self, size: int = HELD_AT_MOST) -> None:
        """Pass on at most so many bytes at a time."""
        self._change(chop=size)

    def edit_next(self, way: str, edit: Callable[[bytes], bytes]) -> None:
        """Change the next piece that goes this way, "to room" or "from room": on loopback a hello line is one piece."""
        self._do(lambda: self._edits.update({way: edit}))

    def delay(self, seconds: float = 0.0) -> None:
        """Pass on what comes from now on only after so long, each way."""
        self._change(delay=seconds)

    def stall(self, after: int = sys.maxsize) -> None:
        """Pass on at most so many bytes of each connection each way; the rest waits until this is called again."""
        self._change(stall_after=after)

    def storm(self, seed: int, mean_bytes: int) -> None:
        """Reset each connection after a random number of bytes (both ways together), present ones included."""
        self._change(storm=(random.Random(seed), mean_bytes))

    def calm(self) -> None:
        """End the storm."""
        self._change(storm=None)

    @property
    def connections(self) -> int:
        """How many connections go through it now."""
        return len(self._links)

    def close(self) -> None:
        """Reset all connections, and end. May be called twice."""
        if self._thread.is_alive():
            self._change(running=False)
        self._thread.join(LIMIT)
        assert not self._thread.is_alive(), f"{self._thread.name} did not end"

    def _change(self, **changes: Any) -> None:
        def carry_out() -> None:
            self._rules = replace(self._rules, **changes)

        self._do(carry_out)

    def _do(self, wish: Callable[[], None]) -> None:
        done = threading.Event()
        self._wishes.put((wish, done))
        self._waker.send(b"!")
        assert done.wait(LIMIT), f"{self._thread.name} did not answer"

    # Proxy thread.

    def _run(self) -> None:
        try:
            while self._rules.running:
                self._step()
        finally:
            self._cut_all()
            for opened in (self._listener, self._woken, self._waker):
                opened.close()

    def _step(self) -> None:
        ready = self._wait()
        self._accept()  # whatever woke it: a wish is for the connections of before, so they have to be in
        for link in self._links.copy():
            try:
                if (storm := self._rules.storm) is None:
                    link.left = None
                elif not link.left:
                    link.left = 1 + int(storm[0].expovariate(1 / storm[1]))
                self._forward(link, ready)
            except OSError:  # one end is gone, or was reset: the other hears of it in the same way
                self._cut(link)
        if self._woken in ready:
            self._woken.recv(1)  # one byte for each wish, and one wish in a turn
            wish, done = self._wishes.get()
            wish()
            done.set()

    def _wait(self) -> set[object]:
        """Sleep until something can be done; the sockets that can be read.

        What to wait for is worked out anew each time, which is slow, but never out of step with what is held.
        """
        now = time.monotonic()
        wake_at = None
        events: dict[socket.socket, int] = defaultdict(int)
        events[self._woken] = selectors.EVENT_READ
        ways: list[_Way] = []
        if not self._rules.silent:
            events[self._listener] = selectors.EVENT_READ
            ways = [way for link in self._links for way in link.ways]
        for way in ways:
            if way.wants_to_read():
                events[way.source] |= selectors.EVENT_READ
            if (due := way.due()) is not None and way.passed < self._rules.stall_after:
                if due <= now:
                    events[way.target] |= selectors.EVENT_WRITE
                else:
                    wake_at = min(due, wake_at or due)
        selector = Selector()  # of a kind that needs no descriptor: some tests take all of them
        for sock, mask in events.items():
            selector.register(sock, mask)
        ready = selector.select(None if wake_at is None else max(0.0, wake_at - now))
        return {key.fileobj for key, mask in ready if mask & selectors.EVENT_READ}

    def _accept(self) -> None:
        """Take in all who have come, each with a connection to the room."""
        while not self._rules.silent:
            try:
                client, _ = self._listener.accept()
            except OSError:  # nobody more; or somebody who has gone away again
                return
            try:  # on loopback it is there or not, at once: no need for a connection that is half made
                if self._rules.refusing:
                    raise ConnectionRefusedError
                room = socket.create_connection((LOOPBACK, self.port_behind), LIMIT)
            except OSError:
                client.close()
                continue
            for sock in (client, room):
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a chopped piece travels as it is
            self._links.append(_Link(client, room, self))

    def _forward(self, link: _Link, ready: set[object]) -> None:
        for way in link.ways if not self._rules.silent else ():
            if way.source in ready and way.wants_to_read():
                data = way.source.recv(64 * 1024)
                way.ended = not data
                if data:
                    data = self._edits.pop("to room" if way is link.ways[0] else "from room", bytes)(data)
                    way.held.append((time.monotonic() + self._rules.delay, data))
                    way.size += len(data)
            self._pass_on(link, way)
            if link.left == 0:
                raise ConnectionResetError("the storm")
            if way.ended and not way.held and not way.closed:
                way.closed = True
                way.target.shutdown(socket.SHUT_WR)
        if all(way.closed for way in link.ways):
            self._links.remove(link)
            for sock in link.sockets:
                sock.close()

    def _pass_on(self, link: _Link, way: _Way) -> None:
        """Write one piece, if one is due and there is room for it."""
        due = way.due()
        may_pass = self._rules.stall_after - way.passed
        if due is None or due > time.monotonic() or may_pass <= 0:
            return
        _, data = way.held.popleft()
        size = min(len(data), self._rules.chop, may_pass, HELD_AT_MOST if link.left is None else link.left)
        sent = 0
        way.record += data[:size]  # first: a test that has received it may look for it here at once
        try:
            with contextlib.suppress(BlockingIOError):
                sent = way.target.send(data[:size])
        finally:
            del way.record[len(way.record) - size + sent :]
        way.size -= sent
        way.passed += sent
        if link.left is not None:
            link.left -= sent
        if sent < len(data):
            way.held.appendleft((due, data[sent:]))

    def _cut_all(self) -> None:
        for link in self._links.copy():
            self._cut(link)

    def _cut(self, link: _Link) -> None:
        self._links.remove(link)
        for sock in link.sockets:
            # Lingering for 0 s is how a program asks for a reset: no end of file, and what was on its way is dropped.
            with contextlib.suppress(OSError):
                no_time = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_time)
            sock.close()


# Windows ----------------------------------------------------------------------


@dataclass(frozen=True)
class Display:
    """The screen that the window's tests draw on."""

    file: Path | None  # where the X server keeps what it shows; None: a real screen, which is not looked at


@contextlib.contextmanager
def own_screen(folder: Path, size: str = "1280x900") -> Iterator[Display]:
    """Run an X server that keeps its screen as a file in the folder, and make DISPLAY name it."""
    ready, tell = os.pipe()
    # -displayfd: it takes a number that is free, and tells it when it is ready. -noreset: without it the server starts
    # afresh whenever its last window closes, which is slow, and loses its settings.
    command = ["Xvfb", "-displayfd", str(tell), "-noreset", "-nolisten", "tcp"]
    command += ["-screen", "0", f"{size}x24", "-fbdir", str(folder)]
    log = (folder / "Xvfb.log").open("w+")
    with log, subprocess.Popen(command, pass_fds=[tell], stderr=log) as server, mock.patch.dict(os.environ):
        os.close(tell)  # so that its end without a word is an end of file here
        try:
            with os.fdopen(ready) as answer:
                number = answer.readline().strip() if select.select([answer], [], [], LIMIT)[0] else ""
            if not number:
                log.seek(0)
                raise AssertionError(f"Xvfb did not start: {log.read()}")
            os.environ["DISPLAY"] = f":{number}"
            for name in ("XAUTHORITY", "WAYLAND_DISPLAY"):
                os.environ.pop(name, None)
            yield Display(folder / "Xvfb_screen0")
        finally:
            server.terminate()
