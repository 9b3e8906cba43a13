"""Visitors to a room, and other programs that speak the wire format: what the tests of passwords and attacks share.

    Visitor, visit                 a person with this program's own client
    Clock, stop_the_limits         seconds that pass only when the test says so
    Stranger, OtherTls             a client of another program, and its TLS
    fake_room, room_that_answers,
    OtherRoom                      a room of another program, honest or not
    PASSWORD, HELLO, SALTY_HELLO   what these programs use and say
"""

from __future__ import annotations

import contextlib
import functools
import json
import queue
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import net
from tests.helpers import (
    LIMIT,
    LOOPBACK,
    Message,
    Wire,
    context_of,
    drain,
    expect,
    message,
    port_of,
    srp_client_secret,
    srp_hex,
    srp_key,
    srp_public,
    srp_public_b,
    srp_room_secret,
    srp_x,
)


def line(kind: str, **fields: Any) -> bytes:
    """A message as it travels."""
    return json.dumps(message(kind, **fields)).encode() + b"\n"


def password_hello(salt: str | None = None, b: str | None = None, **other: Any) -> bytes:
    """The hello line of a room with a password; a field that is None is left out."""
    fields = {"protocol": net.PROTOCOL, "tls": True, "salt": salt, "b": b, **other}
    return line("hello", **{name: value for name, value in fields.items() if value is not None})


PASSWORD = "k7m-w3h"
BARE = "k7mw3h"  # as it goes into the key
SALT = bytes(range(16)).hex()
A, B = int("5a" * 32, 16), int("3c" * 32, 16)  # the secret exponents of another program, always the same
HELLO = line("hello", protocol=net.PROTOCOL, tls=True, a=srp_hex(srp_public(A)))
SALTY_HELLO = password_hello(SALT, srp_hex(srp_public_b(B, srp_x(BARE, SALT))))

# This program -----------------------------------------------------------------


class Visitor:
    """A person with this program's own client."""

    def __init__(self, port: int, name: str = "Ann", password: str | None = PASSWORD, **settings: Any) -> None:
        self.events: net.Events = queue.Queue()
        self.client = net.run_client(LOOPBACK, name, self.events, port=port, password=password, **settings)

    def is_in(self) -> net.Welcome:
        return expect(self.events, net.Welcome)

    def hears(self, *texts: str) -> None:
        """The next texts that are said are these."""
        assert [expect(self.events, net.Said).text for _ in texts] == [*texts]

    def is_refused(self) -> str:
        """The code of the refusal, after which the client ended; nothing of the room was shown."""
        assert self.client.join(LIMIT), "the client goes on"
        events = drain(self.events)
        assert {type(event) for event in events} <= {net.Sending, net.Rejected, net.Refused, net.Lost}
        (refused,) = (event for event in events if isinstance(event, net.Refused))
        code: str = refused.code
        return code

    def close(self) -> None:
        self.client.close()
        assert self.client.join(LIMIT), "the client did not end"


def visit(
    stack: contextlib.ExitStack, port: int, name: str = "Ann", password: str | None = PASSWORD, **settings: Any
) -> Visitor:
    """Send a person to this port; they leave when the stack closes."""
    visitor = Visitor(port, name, password, **settings)
    stack.callback(visitor.close)
    return visitor


class Clock:
    """Monotonic seconds that pass only when the test says so."""

    def __init__(self) -> None:
        self._now = 1_000.0

    def __call__(self) -> float:
        return self._now

    def jump(self, seconds: float) -> None:
        self._now += seconds


def stop_the_limits(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of every RateLimit made from now on, so that no unit comes back while a slow computer thinks."""
    clock = Clock()
    monkeypatch.setattr(net, "RateLimit", functools.partial(net.RateLimit, clock=clock))
    return clock


# Clients of other programs ----------------------------------------------------


class OtherTls:
    """One side of TLS in memory, as another program would write it."""

    def __init__(self, side: ssl._SSLMethod, key: bytes, context: ssl.SSLContext | None = None) -> None:
        """context: instead of the usual one, which has this key."""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        is_room = side is ssl.PROTOCOL_TLS_SERVER
        self.object = (context or context_of(side, key)).wrap_bio(self._incoming, self._outgoing, is_room)

    def handshake_step(self, received: bytes) -> tuple[bool, bytes]:
        self._incoming.write(received)
        try:
            self.object.do_handshake()
        except ssl.SSLWantReadError:
            return False, self.outgoing()
        return True, self.outgoing()

    def encrypt(self, plain: bytes) -> bytes:
        self.object.write(plain)
        return self.outgoing()

    def decrypt(self, received: bytes) -> bytes:
        self._incoming.write(received)
        return self.object.read()

    def end(self) -> bytes:
        """The record with which other programs end TLS ("close_notify")."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.object.unwrap()
        return self.outgoing()

    def outgoing(self) -> bytes:
        return self._outgoing.read()


class Stranger(Wire):
    """A client of another program."""

    def __init__(self, port: int, password: str = BARE, source: str | None = None) -> None:
        super().__init__(port, source=source)
        self.password = password
        self.room_hello = b""

    def __enter__(self) -> Stranger:
        return self

    def greet(self) -> Message:
        """Say hello; the room's answer."""
        self.send_bytes(HELLO)
        received = self._line()
        assert received is not None, "the connection ended instead of an answer to hello"
        self.room_hello = received + b"\n"
        answer: Message = json.loads(received)
        return answer

    @functools.cached_property
    def key(self) -> bytes:
        """The key that follows from both hello lines and the password."""
        answer = json.loads(self.room_hello)
        secret = srp_client_secret(A, srp_x(self.password, answer["salt"]), int(answer["b"], 16))
        return srp_key(secret, HELLO, self.room_hello)

    def encrypt(self, context: ssl.SSLContext | None = None) -> None:
        self.socket = (context or context_of(ssl.PROTOCOL_TLS_CLIENT, self.key)).wrap_socket(self.socket)

    def hello(self, **_other: Any) -> Message:
        answer = self.greet()
        if answer["type"] == "hello":
            self.encrypt()
        return answer

    def proof(self) -> bytes:
        """The bytes with which TLS begins, after hello."""
        return OtherTls(ssl.PROTOCOL_TLS_CLIENT, self.key).handshake_step(b"")[1]

    def ends(self) -> bytes:
        """The plain bytes that still come, up to the end of the connection."""
        received = self._received
        with contextlib.suppress(ConnectionError):
            received += read_to_the_end(self.socket)
        return received


# Rooms of other programs ------------------------------------------------------


def key_of_room(client_hello: bytes) -> bytes:
    """The key of another program's room that has said SALTY_HELLO to this."""
    secret = srp_room_secret(B, srp_x(BARE, SALT), int(json.loads(client_hello)["a"], 16))
    return srp_key(secret, client_hello, SALTY_HELLO)


@contextlib.contextmanager
def fake_room(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Listen, and call `serve` for one connection after the other; the port."""
    closing = threading.Event()

    def run() -> None:
        while True:
            sock, _ = listener.accept()
            sock.settimeout(LIMIT)
            with sock, contextlib.suppress(OSError):
                if closing.is_set():
                    return
                serve(sock)

    with socket.create_server((LOOPBACK, 0)) as listener:
        thread = threading.Thread(target=run, name="fake room")
        thread.start()
        try:
            yield port_of(listener)
        finally:
            closing.set()
            socket.create_connection((LOOPBACK, port_of(listener)), LIMIT).close()
            thread.join(LIMIT)
            assert not thread.is_alive(), "the fake room did not end"


def room_that_answers(stack: contextlib.ExitStack, answer: bytes) -> tuple[int, queue.SimpleQueue[bytes]]:
    """The port of a room that says this after a client's hello, and what the client then sends up to its end."""
    received: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def serve(sock: socket.socket) -> None:
        read_line(sock)
        sock.sendall(answer)
        received.put(read_to_the_end(sock))

    return stack.enter_context(fake_room(serve)), received


class OtherRoom:
    """The room's end of one connection, on which a test says what it wants to."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._file = sock.makefile("rb")

    def receive(self) -> Message:
        """The client's next message; {} at the end."""
        received = self._file.readline()
        return json.loads(received) if received else {}

    def send(self, *messages: Message) -> None:
        lines = [json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in messages]
        self.socket.sendall(b"".join(lines))

    def receive_join(self) -> Message:
        """Say hello as an open room; the client's `join`."""
        self.receive()
        self.send(message("hello", protocol=net.PROTOCOL, tls=False))
        return self.receive()

    def let_in(self, **different: Any) -> None:
        """Say hello and welcome, as an honest open room would apart from these fields."""
        self.receive_join()
        self.send(welcome(**different))

    def until_left(self) -> None:
        """Read until the client is gone."""
        while self._file.read(64 * 1024):
            pass

    def close(self) -> None:
        self._file.close()


def welcome(**different: Any) -> Message:
    """The welcome of another program's room, honest apart from these fields."""
    fields: Message = {"room": "somewhere", "title": "A room from elsewhere", "who": 2, "name": "Ann", "host": None}
    fields |= {"people": [[2, "Ann"]], "files": 0, "missed": 0, "history": 0, "last_id": 0}
    fields |= {"muted": False, "paused": False, "max_file": 100}
    return message("welcome", **{**fields, **different})


def read_line(sock: socket.socket) -> bytes:
    received = b""
    while not received.endswith(b"\n") and (byte := sock.recv(1)):
        received += byte
    return received


def read_to_the_end(sock: socket.socket) -> bytes:
    received = b""
    while data := sock.recv(4096):
        received += data
    return received
