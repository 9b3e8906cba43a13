"""A room with a password: the key, TLS in memory, who gets in and who does not, and what a man in the middle can do.

What the room and the client say to each other is checked against a client and a room of another program, written with
nothing but Python's own sockets with TLS and the SRP of helpers.py. What a password is worth is in test_password.py.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import functools
import json
import logging
import queue
import random
import re
import select
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

import net
from tests.helpers import (
    LIMIT,
    LOOPBACK,
    Message,
    Proxy,
    Wire,
    context_of,
    drain,
    expect,
    message,
    needs_tls,
    port_of,
    skip_or_fail,
    srp_client_secret,
    srp_hex,
    srp_key,
    srp_public,
    srp_public_b,
    srp_room_secret,
    srp_x,
    until,
)
from tests.test_finding import own_ports


def line(kind: str, **fields: Any) -> bytes:
    """A message as it travels."""
    return json.dumps(message(kind, **fields)).encode() + b"\n"


PASSWORD = "k7m-w3h"
BARE = "k7mw3h"  # as it goes into the key
TITLE = "Mr Lee's room"
SALT = bytes(range(16)).hex()
A, B = int("5a" * 32, 16), int("3c" * 32, 16)  # the secret exponents of another program, always the same
HELLO = line("hello", protocol=net.PROTOCOL, tls=True, a=srp_hex(srp_public(A)))
SALTY_HELLO = line(
    "hello", protocol=net.PROTOCOL, tls=True, salt=SALT, b=srp_hex(srp_public_b(B, srp_x(BARE, SALT)))
)
OPEN_HELLO = line("hello", protocol=net.PROTOCOL, tls=False)
KEY = bytes(range(32))
WRONG_KEY = ("SSLV3_ALERT_ILLEGAL_PARAMETER", "TLSV1_ALERT_DECRYPT_ERROR")  # as a client sees it: older, newer OpenSSL
RECORD_HEADER = 5  # bytes: type, version, and the length in the last two
RECORD_BEGINS = b"\x16\x03"  # of a TLS handshake
AT_ONCE = int(net.GUESSES[0])  # wrong passwords that an address may enter without waiting

Edit = Callable[[bytes], bytes]


def key_of_room(client_hello: bytes) -> bytes:
    """The key of another program's room that has said SALTY_HELLO to this."""
    secret = srp_room_secret(B, srp_x(BARE, SALT), int(json.loads(client_hello)["a"], 16))
    return srp_key(secret, client_hello, SALTY_HELLO)


def tls_of(key: bytes, is_room: bool) -> net.Tls:
    return net.Tls(lambda: key, is_room)


# People, rooms and strangers --------------------------------------------------


class Visitor:
    """A person with this program's own client."""

    def __init__(self, port: int, name: str, password: str | None = PASSWORD) -> None:
        self.events: queue.Queue[Any] = queue.Queue()
        self.client = net.run_client(LOOPBACK, name, self.events, port=port, password=password)

    def is_in(self) -> net.Welcome:
        return expect(self.events, net.Welcome)

    def hears(self, *texts: str) -> None:
        """The next texts that are said are these."""
        assert [expect(self.events, net.Said).text for _ in texts] == [*texts]

    def is_refused(self) -> str:
        """The code of the refusal, after which nothing of the room was shown."""
        assert self.client.join(LIMIT), "the client goes on"
        events = drain(self.events)
        assert {type(event) for event in events} <= {net.Sending, net.Rejected, net.Refused}
        (refused,) = (event for event in events if isinstance(event, net.Refused))
        code: str = refused.code
        return code

    def close(self) -> None:
        self.client.close()
        assert self.client.join(LIMIT), "the client did not end"


Visit = Callable[..., Visitor]


@pytest.fixture
def visit() -> Iterator[Visit]:
    """Sends a person to a port; everyone leaves after the test."""
    with contextlib.ExitStack() as stack:

        def send(port: int, name: str, password: str | None = PASSWORD) -> Visitor:
            visitor = Visitor(port, name, password)
            stack.callback(visitor.close)
            return visitor

        yield send


class Room:
    """A room of this program, and the events that its host gets."""

    def __init__(self, password: str | None, port: int = 0) -> None:
        self.events: queue.Queue[Any] = queue.Queue()
        self.server = net.run_server(
            TITLE, host_name="Mr Lee", host=LOOPBACK, port=port, password=password, rate=None, events=self.events
        )
        self.port = self.server.port


class Clock:
    """Monotonic seconds that pass only when the test says so."""

    def __init__(self) -> None:
        self._now = 1_000.0

    def __call__(self) -> float:
        return self._now

    def jump(self, seconds: float) -> None:
        self._now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of every RateLimit, so that no guess becomes available while a slow computer thinks."""
    made = Clock()
    monkeypatch.setattr(net, "RateLimit", functools.partial(net.RateLimit, clock=made))
    return made


@pytest.fixture
def room(clock: Clock) -> Iterator[Room]:  # noqa: ARG001 - its limits must be made after the clock
    opened = Room(PASSWORD)
    with opened.server:
        yield opened


@pytest.fixture
def open_room() -> Iterator[Room]:
    opened = Room(None)
    with opened.server:
        yield opened


class Stranger(Wire):
    """A client of another program."""

    def __init__(self, port: int, password: str = BARE, source: str | None = None) -> None:
        super().__init__(port, source=source)
        self.password = password
        self.key = b""

    def __enter__(self) -> Stranger:
        return self

    def greet(self) -> Message:
        """Says hello; returns the room's answer, from which the key follows."""
        self.send_bytes(HELLO)
        received = self._line()
        assert received is not None, "the connection ended instead of an answer to hello"
        self.room_hello = received + b"\n"
        answer: Message = json.loads(received)
        if answer["type"] == "hello":
            secret = srp_client_secret(A, srp_x(self.password, answer["salt"]), int(answer["b"], 16))
            self.key = srp_key(secret, HELLO, self.room_hello)
        return answer

    def encrypt(self, context: ssl.SSLContext | None = None) -> None:
        self.socket = (context or context_of(ssl.PROTOCOL_TLS_CLIENT, self.key)).wrap_socket(self.socket)

    def hello(self, **_other: Any) -> Message:
        answer = self.greet()
        if answer["type"] == "hello":
            self.encrypt()
        return answer

    def begin(self) -> bytes:
        """The bytes with which TLS begins, after hello."""
        is_done, first = OtherTls(ssl.PROTOCOL_TLS_CLIENT, self.key).handshake_step(b"")
        assert not is_done
        return first

    def ends(self) -> bytes:
        """The plain bytes that still come, up to the end of the connection."""
        received = self._received
        with contextlib.suppress(ConnectionError):
            while data := self.socket.recv(4096):
                received += data
        return received


class OtherTls:
    """One side of TLS in memory, as another program would write it."""

    def __init__(self, side: ssl._SSLMethod, key: bytes | None, identity: str = "chat-room") -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        is_room = side is ssl.PROTOCOL_TLS_SERVER
        self.object = context_of(side, key, identity).wrap_bio(self._incoming, self._outgoing, is_room)

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

    def receive(self, received: bytes) -> None:
        self._incoming.write(received)

    def read(self) -> bytes:
        """What can be read now, perhaps nothing."""
        with contextlib.suppress(ssl.SSLWantReadError):
            return self.object.read()
        return b""

    def end(self) -> bytes:
        """The record with which other programs end TLS ("close_notify")."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.object.unwrap()
        return self.outgoing()

    def outgoing(self) -> bytes:
        return self._outgoing.read()


def guess(room: Room, source: str | None = None) -> Message:
    """Enters one wrong password; returns the room's answer to hello. The room counts a guess before it answers it."""
    with Stranger(room.port, "not it", source) as stranger:
        answer = stranger.greet()
        if answer["type"] == "hello":
            with pytest.raises(ssl.SSLError) as wrong:
                stranger.encrypt()
            assert wrong.value.reason in WRONG_KEY
        return answer


def told_of_guesses(room: Room) -> list[net.WrongPassword]:
    """Everything that the host has been told about wrong passwords since the last call."""
    return [event for event in drain(room.events) if isinstance(event, net.WrongPassword)]


@contextlib.contextmanager
def fake_room(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Listens, and calls `serve` for one connection after the other; gives its port."""
    closing = threading.Event()

    def run() -> None:
        while True:
            sock, _ = listener.accept()
            sock.settimeout(LIMIT)
            with sock, contextlib.suppress(ConnectionError):
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


def sent_only_hello(proxy: Proxy, tls: bool = True) -> bool:
    """Whether a client said nothing but hello, and in it whether it can encrypt."""
    sent = [json.loads(each) for each in bytes(proxy.to_room).splitlines()]
    return [(each["type"], each["tls"]) for each in sent] == [("hello", tls)]


# The beginning ----------------------------------------------------------------


@needs_tls
def test_tls_begins_right_after_both_hello_lines(room: Room, visit: Visit) -> None:
    with Proxy(room.port) as proxy:
        visit(proxy.port, "Ann").is_in()
        to_room, _, rest_to_room = bytes(proxy.to_room).partition(b"\n")
        from_room, _, rest_from_room = bytes(proxy.from_room).partition(b"\n")
    assert json.loads(to_room)["tls"] is True
    assert re.fullmatch("[0-9a-f]{512}", json.loads(to_room)["a"])
    hello = json.loads(from_room)
    assert hello["tls"] is True
    assert re.fullmatch("[0-9a-f]{32}", hello["salt"])
    assert re.fullmatch("[0-9a-f]{512}", hello["b"])
    assert rest_to_room.startswith(RECORD_BEGINS)
    assert rest_from_room.startswith(RECORD_BEGINS)


def welcome_line(name: str) -> bytes:
    fields: Message = {"room": "1", "title": "A room from elsewhere", "who": 2, "name": name, "host": None}
    fields |= {"people": [[2, name]], "files": 0, "missed": 0, "history": 0, "last_id": 0}
    return line("welcome", **fields, muted=False, paused=False, max_file=1)


# TLS in memory ----------------------------------------------------------------


class Handshaker(Protocol):
    """One side: net.Tls or OtherTls."""

    def handshake_step(self, received: bytes, /) -> tuple[bool, bytes]: ...


def meet(client: Handshaker, room: Handshaker, size: int = 1 << 20) -> None:
    """The whole handshake, carried from one to the other in pieces of at most so many bytes."""
    client_is_done, to_room = client.handshake_step(b"")
    room_is_done = False
    while not (client_is_done and room_is_done):
        assert to_room, "both sides wait for each other"
        to_client = b""
        for piece in cut(to_room, size):
            assert not room_is_done
            room_is_done, answer = room.handshake_step(piece)
            to_client += answer
        to_room = b""
        for piece in cut(to_client, size):
            assert not client_is_done
            client_is_done, answer = client.handshake_step(piece)
            to_room += answer


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def pair(client_key: bytes = KEY, room_key: bytes = KEY) -> tuple[net.Tls, net.Tls]:
    return tls_of(client_key, is_room=False), tls_of(room_key, is_room=True)


def met(to_room: bool = True) -> tuple[net.Tls, net.Tls]:
    """Both sides after their handshake: first the one that sends, then the one that receives."""
    client, room = pair()
    meet(client, room)
    return (client, room) if to_room else (room, client)


def met_another_program() -> tuple[OtherTls, net.Tls]:
    """A client of another program and this program's room, after their handshake."""
    client, room = OtherTls(ssl.PROTOCOL_TLS_CLIENT, KEY), tls_of(KEY, is_room=True)
    meet(client, room)
    return client, room


@needs_tls
def test_no_older_tls_is_spoken() -> None:
    for side in (ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS_SERVER):
        older = context_of(side, KEY)
        older.minimum_version = older.maximum_version = ssl.TLSVersion.TLSv1_2
        older.set_ciphers("PSK")  # otherwise it would fail for want of a certificate
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        other = older.wrap_bio(incoming, outgoing, server_side=side is ssl.PROTOCOL_TLS_SERVER)
        ours = tls_of(KEY, is_room=side is ssl.PROTOCOL_TLS_CLIENT)
        if side is ssl.PROTOCOL_TLS_SERVER:
            incoming.write(ours.handshake_step(b"")[1])
        with contextlib.suppress(ssl.SSLError):
            other.do_handshake()
        with pytest.raises(net.HandshakeError, match=r"UNSUPPORTED_PROTOCOL|PROTOCOL_VERSION"):
            ours.handshake_step(outgoing.read())


@needs_tls
@pytest.mark.parametrize("size", [1, 2, 7, 100, 1 << 20])
def test_a_handshake_may_be_cut_anywhere(size: int) -> None:
    client, room = pair()
    meet(client, room, size)
    assert room.decrypt(client.encrypt(b"to the room\n")) == b"to the room\n"
    assert client.decrypt(room.encrypt(b"from the room\n")) == b"from the room\n"


@needs_tls
@pytest.mark.parametrize("to_room", [True, False])
def test_a_record_may_be_cut_at_every_byte(to_room: bool) -> None:
    sender, receiver = met(to_room)
    record = sender.encrypt(b"hello\n")
    assert receiver.decrypt(record) == b"hello\n"
    for place in range(1, len(record)):
        record = sender.encrypt(b"hello\n")
        assert receiver.decrypt(record[:place]) == b""
        assert receiver.decrypt(record[place:]) == b"hello\n"


@needs_tls
def test_what_comes_together_with_the_end_of_the_handshake_is_not_lost() -> None:
    client, room = pair()
    _, first = client.handshake_step(b"")
    _, answer = room.handshake_step(first)
    is_done, last = client.handshake_step(answer)
    assert is_done
    assert room.handshake_step(last + client.encrypt(b"join\n")) == (True, b"")
    assert room.decrypt(b"") == b"join\n"


@needs_tls
@pytest.mark.parametrize("to_room", [True, False])
def test_pieces_larger_than_a_record_arrive_whole(to_room: bool) -> None:
    sender, receiver = met(to_room)
    piece = random.Random(1).randbytes(net.MAX_PIECE)
    for size in (4096, 64 * 1024, 1 << 20):
        assert b"".join(receiver.decrypt(part) for part in cut(sender.encrypt(piece), size)) == piece


@needs_tls
def test_different_keys_do_not_fit_and_both_sides_know_why() -> None:
    client, room = pair(KEY, KEY[::-1])
    _, first = client.handshake_step(b"")
    with pytest.raises(net.HandshakeError, match="BINDER_DOES_NOT_VERIFY") as of_room:
        room.handshake_step(first)
    assert of_room.value.alert
    with pytest.raises(net.HandshakeError) as of_other:
        client.handshake_step(of_room.value.alert)
    assert str(of_other.value) in WRONG_KEY
    assert of_room.value.is_wrong_password
    assert of_other.value.is_wrong_password


@needs_tls
@pytest.mark.parametrize(
    ("key", "identity"), [(None, ""), (KEY, "chat-rooms"), (KEY, "c")], ids=["no key", "a longer one", "a short one"]
)
def test_a_client_without_a_chat_rooms_key_is_not_let_in_and_has_not_guessed(key: bytes | None, identity: str) -> None:
    room, client = tls_of(KEY, is_room=True), OtherTls(ssl.PROTOCOL_TLS_CLIENT, key, identity)
    _, first = client.handshake_step(b"")
    with pytest.raises(net.HandshakeError, match="NO_SUITABLE_SIGNATURE_ALGORITHM") as refused:
        room.handshake_step(first)
    assert not refused.value.is_wrong_password
    with pytest.raises(ssl.SSLError) as of_client:
        client.handshake_step(refused.value.alert)
    assert of_client.value.reason == "SSLV3_ALERT_HANDSHAKE_FAILURE"


@needs_tls
@pytest.mark.parametrize(
    ("plain", "reason"),
    [
        (line("join", name="Ann"), "WRONG_VERSION_NUMBER"),
        (b"\n", None),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP_REQUEST"),
        (bytes(100), r"\w"),
        (b"\x16\x03\x01\xff\xff" + b"x" * 100, r"\w"),
    ],
    ids=["a message", "too little", "a browser's request", "zeros", "a record that is too long"],
)
def test_plain_text_instead_of_tls_ends_the_handshake(plain: bytes, reason: str | None) -> None:
    room = tls_of(KEY, is_room=True)
    if reason is None:  # too short to tell it from the beginning of a record
        assert room.handshake_step(plain) == (False, b"")
        return
    with pytest.raises(net.HandshakeError, match=reason) as refused:
        room.handshake_step(plain)
    assert not refused.value.is_wrong_password


@needs_tls
def test_no_bit_of_a_record_can_be_changed() -> None:
    client, room = met()
    length = len(client.encrypt(b"yes"))
    for bit in range(8 * length):
        client, room = met()
        record = bytearray(client.encrypt(b"yes"))
        record[bit // 8] ^= 1 << bit % 8
        received = b""
        with contextlib.suppress(net.ConnectionLost):  # or the changed length makes it wait for more
            received = room.decrypt(bytes(record))
        assert received == b"", f"bit {bit}"


@needs_tls
@pytest.mark.parametrize("order", [(0, 0), (0, 2), (1, 0)], ids=["repeated", "left out", "swapped"])
def test_records_cannot_be_repeated_left_out_or_swapped(order: tuple[int, int]) -> None:
    client, room = met()
    records = [client.encrypt(b"a") for _ in range(3)]
    with pytest.raises(net.ConnectionLost):
        room.decrypt(b"".join(records[number] for number in order))


@needs_tls
def test_the_rooms_own_records_cannot_be_sent_back_to_it() -> None:
    _, room = met()
    with pytest.raises(net.ConnectionLost):
        room.decrypt(room.encrypt(b"an echo"))


@needs_tls
def test_text_that_came_before_the_end_of_tls_is_still_read() -> None:
    client, room = met_another_program()
    assert room.decrypt(client.encrypt(b"goodbye\n") + client.end()) == b"goodbye\n"


@needs_tls
def test_bytes_that_come_after_the_end_of_tls_do_not_pile_up() -> None:
    client, room = met_another_program()
    with pytest.raises(net.ConnectionLost):
        room.decrypt(client.end())
    with pytest.raises(net.ConnectionLost):
        room.decrypt(b"and what I also wanted to say")


def ask_for_new_keys(client: OtherTls) -> bytes:
    """The record with which the client asks the room for new keys.

    OpenSSL can do that but Python cannot, so this finds OpenSSL's object within Python's: in CPython's _ssl.c it is
    the second field after the object's head.
    """
    library = ctypes.PyDLL(getattr(sys.modules["_ssl"], "__file__", None))
    if sys.implementation.name != "cpython" or not hasattr(library, "SSL_key_update"):
        pytest.skip("this Python's OpenSSL is out of reach")
    inner: Any = client.object
    place = id(inner._sslobj) + object.__basicsize__ + ctypes.sizeof(ctypes.c_void_p)
    pointer = ctypes.c_void_p(ctypes.c_void_p.from_address(place).value)
    assert library.SSL_key_update(pointer, 1) == 1  # 1: the other side must change its keys too
    assert library.SSL_do_handshake(pointer) == 1
    return client.outgoing()


@needs_tls
def test_a_client_that_keeps_asking_for_new_keys_and_reads_no_answer_is_disconnected() -> None:
    client, room = met_another_program()
    for _ in range(100):  # a few requests are nothing unusual
        assert room.decrypt(ask_for_new_keys(client) + client.encrypt(b"once more")) == b"once more"
    with pytest.raises(net.ConnectionLost):
        room.decrypt(b"".join(ask_for_new_keys(client) for _ in range(net.TLS_PIECE // RECORD_HEADER)))


@needs_tls
def test_both_sides_can_read_and_write_at_the_same_time_without_loss() -> None:
    client, room = met()
    lines = 100_000
    failed: list[BaseException] = []
    received: dict[net.Tls, bytes] = {}
    threads = []

    def write(sender: net.Tls, pipe: queue.SimpleQueue[bytes | None]) -> None:
        for number in range(lines):
            pipe.put(sender.encrypt(b"%d\n" % number))
        pipe.put(None)

    def read(receiver: net.Tls, pipe: queue.SimpleQueue[bytes | None]) -> None:
        pieces = []
        try:
            while (record := pipe.get(timeout=LIMIT)) is not None:
                pieces.append(receiver.decrypt(record))
        except Exception as error:
            failed.append(error)
        received[receiver] = b"".join(pieces)

    for sender, receiver in ((client, room), (room, client)):
        pipe: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        threads += [threading.Thread(target=write, args=[sender, pipe], name="writer")]
        threads += [threading.Thread(target=read, args=[receiver, pipe], name="reader")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(6 * LIMIT)
        assert not thread.is_alive(), f"the {thread.name} hangs"
    assert not failed
    everything = b"".join(b"%d\n" % number for number in range(lines))
    assert received == {client: everything, room: everything}


# Two connections --------------------------------------------------------------


class End:
    """One end of an encrypted connection, with a thread that reads from it and one that writes to it."""

    def __init__(self, sock: socket.socket, is_room: bool, lines: int) -> None:
        self.connection = net.Connection(sock, 4096)
        self.connection.accept(100)  # the limits before joining are not what this is about
        self.lines = lines
        self.read: list[bytes] = []
        self.failed: list[BaseException] = []
        self._tls = tls_of(KEY, is_room)
        self._writer = threading.Thread(target=self._safely, args=[self._write], name="writer")
        self.reader = threading.Thread(target=self._safely, args=[self._read], name="reader")
        self.gone = threading.Event()
        self.has_read = threading.Event()  # all, or all that comes

    def _safely(self, work: Callable[[], None]) -> None:
        try:
            work()
        except net.ConnectionLost:
            pass
        except Exception as error:
            self.failed.append(error)

    def _read(self) -> None:
        try:
            self.connection.start_tls(self._tls, net.Deadline(LIMIT), self._tls.handshake_step)
        except BaseException:
            self.has_read.set()
            raise
        self._writer.start()
        try:
            deadline = net.Deadline(LIMIT)
            while len(self.read) < self.lines:
                if lines := self.connection.next_lines(deadline.left()):
                    self.read += lines
                    deadline.restart()
        finally:
            self.has_read.set()
            self._writer.join()

    def _write(self) -> None:
        for number in range(self.lines):
            self.connection.write(b"%d\n" % number)
            while self.connection.has_unsent and not self.gone.is_set():
                select.select([], [self.connection.socket], [], 0.1)
                self.connection.flush()


def two_ends(lines: int) -> tuple[End, End]:
    with socket.create_server((LOOPBACK, 0)) as listener:
        client = socket.create_connection(listener.getsockname(), LIMIT)
        room, _ = listener.accept()
    return End(client, False, lines), End(room, True, lines)


@needs_tls
def test_ten_thousand_lines_each_way_at_the_same_time() -> None:
    ends = two_ends(10_000)
    run_to_the_end(*ends)
    for end in ends:
        assert end.read == [b"%d" % number for number in range(10_000)]


@needs_tls
@pytest.mark.parametrize("seed", range(20))
def test_a_connection_that_is_closed_at_any_moment_ends_cleanly(seed: int) -> None:
    chance = random.Random(seed)
    ends = two_ends(2_000)
    closed, lines = chance.choice(ends), int(chance.expovariate(1 / 200))

    def close_it() -> None:
        until(lambda: len(closed.read) >= lines or closed.has_read.is_set(), "so many lines are read")
        for end in ends:
            end.gone.set()
        closed.connection.abort()

    closer = threading.Thread(target=close_it, name="closer")
    closer.start()
    run_to_the_end(*ends)
    closer.join()
    for end in ends:
        assert end.read == [b"%d" % number for number in range(len(end.read))], "all that came is whole and in order"


@needs_tls
def test_after_a_changed_record_nothing_more_is_written() -> None:
    with socket.create_server((LOOPBACK, 0)) as listener, socket.create_connection(listener.getsockname()) as other:
        sock, _ = listener.accept()
        connection, tls = net.Connection(sock, 4096), tls_of(KEY, is_room=False)
        room_tls = tls_of(KEY, is_room=True)
        room = threading.Thread(
            target=connection.start_tls, args=[room_tls, net.Deadline(LIMIT), room_tls.handshake_step]
        )
        room.start()
        is_done, answer = tls.handshake_step(b"")
        other.sendall(answer)
        while not is_done:
            is_done, answer = tls.handshake_step(other.recv(4096))
            other.sendall(answer)
        room.join(LIMIT)
        other.sendall(flipped(-1)(tls.encrypt(b"hello\n")))
        with pytest.raises(net.ConnectionLost):
            connection.wait_for_line(net.Deadline(LIMIT))
        assert connection.write(b"too late\n"), "there is nothing to wait for"
        assert not connection.has_unsent
        assert read_to_the_end(other) == b""
        connection.close()


def run_to_the_end(*ends: End) -> None:
    for end in ends:
        end.reader.start()
    for end in ends:
        end.reader.join(6 * LIMIT)
        assert not end.reader.is_alive(), "the reader hangs"
    for end in ends:
        end.connection.close()
        assert not end.failed


# Who gets in ------------------------------------------------------------------


@needs_tls
def test_everyone_with_the_password_is_in_one_room(room: Room, visit: Visit) -> None:
    ann, bob = visit(room.port, "Ann"), visit(room.port, "Bob", "K7M W3H")
    ann.is_in()
    bob.is_in()
    ann.client.say("hi Bob")
    bob.hears("hi Bob")
    bob.client.say("hi Ann")
    ann.hears("hi Bob", "hi Ann")


@needs_tls
def test_a_person_with_a_wrong_password_is_told_so(room: Room, visit: Visit) -> None:
    ann = visit(room.port, "Ann", "something else")
    ann.client.say("not to be heard")
    assert ann.is_refused() == "wrong"
    bob = visit(room.port, "Bob")
    assert [name for _, name in bob.is_in().people] == ["Bob"]


@needs_tls
def test_a_client_without_a_password_asks_for_it_and_does_not_try(room: Room, visit: Visit) -> None:
    with Proxy(room.port) as proxy:
        assert visit(proxy.port, "Ann", None).is_refused() == "password"
        until(lambda: proxy.connections == 0, "the connection has ended")
        assert sent_only_hello(proxy)


@needs_tls
def test_a_client_with_a_password_joins_no_open_room_and_says_nothing_to_it(open_room: Room, visit: Visit) -> None:
    with Proxy(open_room.port) as proxy:
        ann = visit(proxy.port, "Ann")
        ann.client.say("a secret")
        assert ann.is_refused() == "open"
        until(lambda: proxy.connections == 0, "the connection has ended")
        assert sent_only_hello(proxy)


@needs_tls
def test_an_open_room_stays_plain_for_clients_that_can_encrypt(open_room: Room, visit: Visit) -> None:
    with Proxy(open_room.port) as proxy:
        ann = visit(proxy.port, "Ann", None)
        ann.is_in()
        ann.client.say("for everyone")
        ann.hears("for everyone")
        hellos = [json.loads(bytes(sent).partition(b"\n")[0]) for sent in (proxy.to_room, proxy.from_room)]
        assert [hello["tls"] for hello in hellos] == [True, False]
        assert b"for everyone" in proxy.to_room


@needs_tls
def test_an_older_python_is_told_why_it_cannot_join(room: Room) -> None:
    with Wire(room.port) as wire:
        answer = wire.hello()
        assert (answer["type"], answer["code"]) == ("refused", "tls")
        assert "3.13" in answer["reason"]
        assert wire.receive() is None


@needs_tls
def test_an_older_python_says_that_it_cannot_and_sends_nothing(
    room: Room, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "CAN_ENCRYPT", False)
    with Proxy(room.port) as proxy:
        assert visit(proxy.port, "Ann", None).is_refused() == "tls"
        assert sent_only_hello(proxy, tls=False)


def test_an_older_python_does_not_try_where_a_room_begins_tls_all_the_same(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "CAN_ENCRYPT", False)
    received: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def serve(sock: socket.socket) -> None:
        hello = read_line(sock)
        sock.sendall(SALTY_HELLO)
        received.put(hello + read_to_the_end(sock))

    with fake_room(serve) as port:
        assert visit(port, "Ann", None).is_refused() == "tls"
        assert json.loads(received.get(timeout=LIMIT))["tls"] is False


def test_an_older_python_hosts_and_joins_open_rooms_as_before(
    monkeypatch: pytest.MonkeyPatch, visit: Visit
) -> None:
    monkeypatch.setattr(net, "CAN_ENCRYPT", False)
    room = Room(None)
    with room.server:
        ann = visit(room.port, "Ann", None)
        ann.is_in()
        ann.client.say("hello")
        ann.hears("hello")
        ann.close()


@needs_tls
def test_bytes_that_come_together_with_the_hello_line_belong_to_tls(room: Room, visit: Visit) -> None:
    with Stranger(room.port) as stranger:  # read as a line, the second one would let Ann in
        stranger.send_bytes(HELLO + line("join", name="Ann", token=stranger.token, room=None, after=0))
        assert b"welcome" not in stranger.ends()
    assert [name for _, name in visit(room.port, "Bob").is_in().people] == ["Bob"]


@needs_tls
def test_bytes_that_a_room_sends_together_with_its_hello_belong_to_tls(visit: Visit) -> None:
    received: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def serve(sock: socket.socket) -> None:
        read_line(sock)
        sock.sendall(SALTY_HELLO + welcome_line("Ann"))  # read as a line, it would let Ann in
        received.put(read_to_the_end(sock))

    with fake_room(serve) as port:
        ann = visit(port, "Ann")
        ann.client.say("a secret")
        assert ann.is_refused() == "unproven"
        assert b"secret" not in received.get(timeout=LIMIT)


@needs_tls
def test_others_see_that_a_room_has_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    found: queue.Queue[Any] = queue.Queue()
    with own_ports() as ports:
        monkeypatch.setattr(net, "PORTS", ports)
        room = Room(PASSWORD, ports[0])
        with room.server, net.find_rooms(found, ways=[(LOOPBACK, LOOPBACK)]) as finder:
            rooms = expect(found, net.Found, lambda event: event.rooms).rooms
        assert finder.join(LIMIT)
    assert [(each.title, each.port, each.password) for each in rooms] == [(TITLE, ports[0], True)]


# What can be seen from outside ------------------------------------------------


@needs_tls
def test_nothing_that_travels_can_be_read(room: Room, visit: Visit) -> None:
    with Proxy(room.port) as proxy:
        ann, bob = visit(proxy.port, "Annabella"), visit(proxy.port, "Bartholomew")
        ann.is_in()
        bob.is_in()
        ann.client.say("the answer to question three is seventeen")
        bob.hears("the answer to question three is seventeen")
        proxy.cut()
        bob.client.say("und die vierte?")
        ann.hears("the answer to question three is seventeen", "und die vierte?")
        ann.close()
        expect(bob.events, net.Left)
        passed = bytes(proxy.to_room) + bytes(proxy.from_room)
    assert passed.count(b"chat-room") >= 3, "the recording contains the identity of each connection's key"
    for name in (TITLE, "Mr Lee", "Annabella", "Bartholomew"):
        assert name.encode() not in passed
    for word in (b"question", b"vierte", b"welcome", b"said", b"join", b"leave"):
        assert word not in passed
    assert BARE.encode() not in passed
    assert PASSWORD.encode() not in passed
    assert room.server.token.encode() not in passed


@needs_tls
def test_the_password_and_the_keys_are_in_no_log_and_in_no_repr(
    visit: Visit, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    keys: list[bytes] = []
    secrets: list[int] = []
    session_key = net.session_key

    def remember(secret: int, client_hello: bytes, room_hello: bytes) -> bytes:
        secrets.append(secret)
        keys.append(session_key(secret, client_hello, room_hello))
        return keys[-1]

    monkeypatch.setattr(net, "session_key", remember)
    connections: list[tuple[net.Connection, net.Tls]] = []
    start_tls = net.Connection.start_tls

    def watch(connection: net.Connection, tls: net.Tls, *rest: Any) -> None:
        connections.append((connection, tls))
        start_tls(connection, tls, *rest)

    monkeypatch.setattr(net.Connection, "start_tls", watch)
    room = Room("Sesam, öffne dich!")
    with room.server:
        ann, bob = visit(room.port, "Ann", "Sesam, öffne dich!"), visit(room.port, "Bob", "Sesam, schließe dich!")
        ann.is_in()
        assert bob.is_refused() == "wrong"
        ann.client.say("hello")
        ann.hears("hello")
        shown = [*drain(room.events), *drain(ann.events), *drain(bob.events)]
        shown += [room.server, ann.client, ann.client.dialer, *connections]
        told = "\n".join([*map(repr, shown), *map(str, shown)])
        tokens = [room.server.token, ann.client.token, bob.client.token]
        ann.close()
    told += "\n".join(str(vars(record)) for record in caplog.records)
    assert "BINDER_DOES_NOT_VERIFY" in told, "the log is complete"
    assert len(keys) == 4
    assert len(connections) == 4
    assert "Sesam" not in told
    assert not [token for token in tokens if token in told]
    for key in keys:
        for written in (key.hex(), repr(key)[2:-1], repr(list(key))):
            assert written not in told
    for secret in secrets:
        for written in (str(secret), f"{secret:x}"):
            assert written not in told


def test_a_persons_token_is_not_in_its_repr() -> None:
    token = "0123456789abcdef" * 2
    person = net.Room(TITLE).join(net.Join("Ann", token, None, 0), LOOPBACK, net.Feed())
    assert "Ann" in repr(person)
    assert token not in repr(person)


# Failures ---------------------------------------------------------------------


@needs_tls
@pytest.mark.parametrize(
    "plain",
    [
        line("join", name="Ann", token="0" * 32, room=None, after=0),
        b"GET / HTTP/1.1\r\nHost: room\r\n\r\n",
        bytes(1000),
    ],
    ids=["a message", "a browser's request", "zeros"],
)
def test_someone_who_continues_in_plain_text_does_not_get_in(room: Room, visit: Visit, plain: bytes) -> None:
    with Stranger(room.port) as stranger:
        stranger.greet()
        stranger.send_bytes(plain)
        assert b"welcome" not in stranger.ends()
    assert [name for _, name in visit(room.port, "Bob").is_in().people] == ["Bob"]


@needs_tls
def test_the_first_message_has_at_most_2048_bytes_although_it_is_encrypted(room: Room) -> None:
    for spare in (1, 0):
        with Stranger(room.port) as stranger:
            stranger.hello()
            join = line("join", name="Ann", token=stranger.token, room=None, after=0)
            stranger.send_bytes(join.rjust(2_048 + spare))
            answer = stranger.receive()
            assert answer is not None
            assert answer.get("code") == ("bad" if spare else None)


@needs_tls
def test_silence_and_dripping_in_the_handshake_delay_nobody_and_end_in_time(
    room: Room, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "Deadline", functools.partial(net.Deadline, clock=clock))
    monkeypatch.setattr(net, "TICK", 0.05)
    with contextlib.ExitStack() as stack:
        silent, dripping = (stack.enter_context(Stranger(room.port)) for _ in range(2))
        for stranger in (silent, dripping):
            stranger.greet()
        begun = dripping.begin()
        dripping.send_bytes(begun[:10])
        for number in range(20):
            stack.enter_context(Stranger(room.port)).join(f"Ann {number}")
        assert not has_ended(silent), "all the others are in before"
        assert not has_ended(dripping)
        assert drip(dripping, begun[10:], clock) < len(begun[10:]), "it ends although something comes all the time"
        clock.jump(net.FIRST_MESSAGE_SPREAD)  # by so much the room may wait longer for one than for another
        assert silent.ends() == b""


def has_ended(wire: Wire) -> bool:
    return bool(select.select([wire.socket], [], [], 0)[0])


def drip(wire: Wire, data: bytes, clock: Clock) -> int:
    """Sends a byte every half a second of the clock, until the room ends it; how many it took."""
    for number in range(len(data)):
        if select.select([wire.socket], [], [], 0.05)[0]:
            return number
        wire.send_bytes(data[number : number + 1])
        clock.jump(0.5)
    return len(data)


@needs_tls
@pytest.mark.parametrize("part", [0, 100, 10_000])
def test_someone_who_disconnects_during_the_handshake_harms_nobody(room: Room, visit: Visit, part: int) -> None:
    for _ in range(AT_ONCE + 1):
        with Stranger(room.port) as stranger:
            stranger.greet()
            stranger.send_bytes(stranger.begin()[:part])
    assert [name for _, name in visit(room.port, "Bob").is_in().people] == ["Bob"]


@needs_tls
@pytest.mark.parametrize("part", [0, 1, 50, 150])
def test_a_room_that_disconnects_during_the_handshake_is_tried_again(
    room: Room, visit: Visit, part: int
) -> None:
    with Meddler(room.port) as meddler:
        meddler.record["from room"] = lambda record: meddler.go_away(record[:part])
        ann = visit(meddler.port, "Ann")
        ann.client.say("hello")
        assert expect(ann.events, net.Lost).reason is net.Trouble.GONE
        meddler.record["from room"] = unchanged
        ann.is_in()
        ann.hears("hello")
        ann.close()


@needs_tls
def test_a_room_that_is_silent_in_the_handshake_is_tried_again(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "FIRST_MESSAGE", 0.2)

    def serve(sock: socket.socket) -> None:
        read_line(sock)
        sock.sendall(SALTY_HELLO)
        read_to_the_end(sock)

    with fake_room(serve) as port:
        ann = visit(port, "Ann")
        assert expect(ann.events, net.Lost).reason is net.Trouble.SILENT
        ann.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate and its key."""
    if shutil.which("openssl") is None:
        skip_or_fail("this test needs the openssl command")
    path = tmp_path_factory.mktemp("certificate") / "room.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=room"]
    subprocess.run([*command, "-keyout", path, "-out", path.with_suffix(".crt")], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + path.with_suffix(".crt").read_bytes())
    return path


@needs_tls
def test_a_fake_room_with_a_certificate_and_without_the_password_learns_nothing(
    visit: Visit, certificate: Path
) -> None:
    outcomes: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def serve(sock: socket.socket) -> None:
        read_line(sock)
        sock.sendall(SALTY_HELLO)
        try:
            with context.wrap_socket(sock, server_side=True) as tls:
                outcomes.put(f"it has said {tls.recv(1000)!r}")
        except ssl.SSLError as error:
            outcomes.put(error.reason)

    with fake_room(serve) as port:
        ann = visit(port, "Ann")
        ann.client.say("a secret")
        assert ann.is_refused() == "unproven"
        assert outcomes.get(timeout=LIMIT) == "TLSV1_ALERT_UNKNOWN_CA"


@needs_tls
def test_a_handshake_without_the_key_fails_even_if_tls_accepts_it(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client accepts no certificate; if it ever did, it would still notice that the key was not used."""
    wrap_bio = ssl.SSLContext.wrap_bio

    def wrap_carelessly(context: ssl.SSLContext, *arguments: Any, **keywords: Any) -> ssl.SSLObject:
        without_key: Any = context
        if context.protocol is ssl.PROTOCOL_TLS_SERVER:
            without_key.set_psk_server_callback(None)
            context.load_cert_chain(certificate)
        else:
            without_key.set_psk_client_callback(None)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return wrap_bio(context, *arguments, **keywords)

    monkeypatch.setattr(ssl.SSLContext, "wrap_bio", wrap_carelessly)
    client, room = pair()
    with pytest.raises(net.HandshakeError, match="no pre-shared key"):
        meet(client, room)


# A man in the middle ----------------------------------------------------------


def unchanged(data: bytes) -> bytes:
    return data


class _GoAway(Exception):
    """The man in the middle hangs up."""


class Meddler:
    """A man in the middle: `with Meddler(port) as meddler: ... meddler.port ...`

    He passes on everything, after editing it: `hello` edits the first line, `record` each TLS record after it, both for
    the ways "to room" and "from room". The edits may be replaced at any time.
    """

    def __init__(self, port_behind: int) -> None:
        self.port_behind = port_behind
        self.hello: dict[str, Edit] = {"to room": unchanged, "from room": unchanged}
        self.record: dict[str, Edit] = {"to room": unchanged, "from room": unchanged}
        self._closing = False
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port = port_of(self._listener)
        self._accepter = threading.Thread(target=self._accept, name="meddler")
        self._accepter.start()

    def __enter__(self) -> Meddler:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._closing = True
        socket.create_connection((LOOPBACK, self.port), LIMIT).close()
        self._accepter.join()
        for sock in self._sockets:
            _hang_up(sock)
        for thread in self._threads:
            thread.join(LIMIT)
            assert not thread.is_alive(), f"{thread.name} did not end"
        for sock in (*self._sockets, self._listener):
            sock.close()

    @staticmethod
    def go_away(last: bytes) -> bytes:
        """An edit: passes on these bytes, and then ends both connections."""
        raise _GoAway(last)

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            self._sockets.append(client)
            if self._closing:
                return
            room = socket.create_connection((LOOPBACK, self.port_behind))
            self._sockets.append(room)
            for source, target, way in ((client, room, "to room"), (room, client, "from room")):
                self._threads.append(threading.Thread(target=self._pass_on, args=[source, target, way], name=way))
                self._threads[-1].start()

    def _pass_on(self, source: socket.socket, target: socket.socket, way: str) -> None:
        try:
            with source.makefile("rb") as received:
                target.sendall(self.hello[way](received.readline()))
                while header := received.read(RECORD_HEADER):
                    record = header + received.read(int.from_bytes(header[3:], "big"))
                    target.sendall(self.record[way](record))
            target.shutdown(socket.SHUT_WR)
        except _GoAway as last:
            target.sendall(last.args[0])
            _hang_up(source, target)
        except OSError:
            _hang_up(source, target)


def _hang_up(*sockets: socket.socket) -> None:
    for sock in sockets:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


class Once:
    """An edit that changes only the next piece."""

    def __init__(self, edit: Edit) -> None:
        self._edit = edit
        self.done = threading.Event()

    def __call__(self, data: bytes) -> bytes:
        if self.done.is_set():
            return data
        self.done.set()
        return self._edit(data)


def flipped(place: int) -> Edit:
    """An edit that flips one bit of this byte, in a piece of any length."""

    def edit(data: bytes) -> bytes:
        changed = bytearray(data)
        changed[place % len(data)] ^= 1
        return bytes(changed)

    return edit


def changed(**fields: Any) -> Edit:
    """An edit of a line that says this instead."""
    return lambda data: json.dumps({**json.loads(data), **fields}).encode() + b"\n"


def without(field: str) -> Edit:
    """An edit of a line that says nothing about this."""

    def edit(data: bytes) -> bytes:
        fields = json.loads(data)
        del fields[field]
        return json.dumps(fields).encode() + b"\n"

    return edit


REFUSED = line("refused", code="removed", reason="")
HELLO_EDITS: dict[str, tuple[str, Edit, str]] = {
    "to room: cannot": ("to room", changed(tls=False), "tls"),
    "to room: another a": ("to room", changed(a=srp_hex(4)), "wrong"),
    "to room: no a": ("to room", without("a"), "unproven"),
    "to room: a key more": ("to room", changed(x=1), "wrong"),
    "to room: a space more": ("to room", lambda hello: b" " + hello, "wrong"),
    "to room: a carriage return": ("to room", lambda hello: hello.replace(b"\n", b"\r\n"), "wrong"),
    "from room: open": ("from room", changed(tls=False), "open"),
    "from room: open, as open rooms say it": ("from room", lambda _hello: OPEN_HELLO, "open"),
    "from room: another salt": ("from room", changed(salt=SALT), "wrong"),
    "from room: another b": ("from room", changed(b=srp_hex(4)), "wrong"),
    "from room: no b": ("from room", without("b"), "unproven"),
    "from room: a key more": ("from room", changed(x=1), "wrong"),
    "from room: a space more": ("from room", lambda hello: b" " + hello, "wrong"),
    "from room: go away": ("from room", lambda _hello: REFUSED, "removed"),
}


KINDS = (": cannot", "space more", "open", "salt", "another b", "no b", "away")
EDITS_OF_EACH_KIND = [edit for edit in HELLO_EDITS if edit.endswith(KINDS)]


@needs_tls
@pytest.mark.parametrize("edit", HELLO_EDITS)
def test_editing_a_hello_line_only_keeps_people_out(room: Room, visit: Visit, edit: str) -> None:
    way, change, code = HELLO_EDITS[edit]
    bob = visit(room.port, "Bob")
    bob.is_in()
    with Proxy(room.port) as proxy, Meddler(proxy.port) as meddler:
        meddler.hello[way] = change
        ann = visit(meddler.port, "Ann")
        ann.client.say("once")
        assert ann.is_refused() == code
        assert b"once" not in proxy.to_room
        meddler.hello[way] = unchanged
        again = visit(meddler.port, "Ann")
        again.is_in()
        again.client.say("again")
        bob.hears("again")
        again.close()


@needs_tls
@pytest.mark.parametrize("edit", EDITS_OF_EACH_KIND)
def test_a_hello_line_edited_during_a_return_loses_nothing_that_was_said(
    room: Room, visit: Visit, edit: str
) -> None:
    way, change, _ = HELLO_EDITS[edit]
    bob = visit(room.port, "Bob")
    bob.is_in()
    with Proxy(room.port) as proxy, Meddler(proxy.port) as meddler:
        ann = visit(meddler.port, "Ann")
        ann.is_in()
        ann.client.say("before")
        bob.hears("before")
        once = Once(change)
        meddler.hello[way] = once
        proxy.cut()
        ann.client.say("meanwhile")
        expect(ann.events, net.Lost, lambda lost: lost.reason is net.Trouble.UNPROVEN)
        assert once.done.is_set()
        bob.hears("meanwhile")
        ann.client.say("after")
        bob.hears("after")
        ann.close()


@needs_tls
def test_a_client_told_that_an_open_room_has_a_password_does_not_join_it(open_room: Room, visit: Visit) -> None:
    with Proxy(open_room.port) as proxy, Meddler(proxy.port) as meddler:
        meddler.hello["from room"] = lambda _hello: SALTY_HELLO
        assert visit(meddler.port, "Ann", None).is_refused() == "password"
        assert visit(meddler.port, "Ann").is_refused() in ("unproven", "wrong")
        assert b"join" not in proxy.to_room


@needs_tls
@pytest.mark.parametrize("place", [0, RECORD_HEADER, -1])
@pytest.mark.parametrize("way", ["to room", "from room"])
def test_one_flipped_bit_ends_the_connection_and_afterwards_everything_arrives_once(
    room: Room, visit: Visit, way: str, place: int
) -> None:
    with Meddler(room.port) as meddler:
        ann, bob = visit(meddler.port, "Ann"), visit(room.port, "Bob")
        ann.is_in()
        bob.is_in()
        expect(ann.events, net.Joined, lambda joined: joined.name == "Bob")
        ann.client.say("1")
        ann.hears("1")
        once = Once(flipped(place))
        meddler.record[way] = once
        ann.client.say("2")
        assert once.done.wait(LIMIT)
        assert expect(ann.events, net.Lost).reason is net.Trouble.GONE
        ann.client.say("3")
        ann.is_in()
        ann.hears("2", "3")
        bob.client.say("4")
        for each in (ann, bob):
            each.hears(*(["4"] if each is ann else ["1", "2", "3", "4"]))
        ann.close()


@needs_tls
@pytest.mark.parametrize("way", ["to room", "from room"])
def test_one_flipped_bit_in_the_handshake_lets_nobody_in(room: Room, visit: Visit, way: str) -> None:
    with Meddler(room.port) as meddler:
        meddler.record[way] = Once(flipped(-1))
        ann = visit(meddler.port, "Ann")
        assert ann.is_refused() in ("wrong", "unproven")
        ann = visit(meddler.port, "Ann")
        ann.is_in()
        ann.close()


# Guessing ---------------------------------------------------------------------

ELSEWHERE = "192.0.2.7"


def guesses_of(is_known: Callable[[str], bool], events: net.Events | None = None) -> net.Guesses:
    return net.Guesses(1, is_known, events)  # this verifier belongs to no password: the tests choose the keys


def judged(guesses: net.Guesses, address: str, key: bytes = KEY[::-1]) -> bool:
    """Somebody at this address offers a key, by default a wrong one; returns whether the room checks it."""
    _, proof = tls_of(key, is_room=False).handshake_step(b"")
    try:
        guesses.judge(address, tls_of(KEY, is_room=True), proof)
    except net.HandshakeError as error:
        return error.is_wrong_password
    except net.ConnectionLost:
        return False
    return True


@needs_tls
@pytest.mark.parametrize(("is_known", "seconds"), [(False, 10.0), (True, 1.0)], ids=["nobody is in", "somebody is in"])
def test_an_address_may_enter_five_wrong_passwords_and_then_one_at_a_time(
    clock: Clock, is_known: bool, seconds: float
) -> None:
    guesses = guesses_of(lambda _address: is_known)
    assert [judged(guesses, ELSEWHERE) for _ in range(6)] == [True] * 5 + [False]
    for _ in range(3):
        assert guesses.wait(ELSEWHERE) == pytest.approx(seconds)
        clock.jump(seconds - 0.5)
        assert not judged(guesses, ELSEWHERE)
        assert guesses.wait(ELSEWHERE) == pytest.approx(0.5), "an attempt that was not checked costs nothing"
        clock.jump(0.5)
        assert judged(guesses, ELSEWHERE)
    assert guesses.wait(LOOPBACK) == 0, "each address has its own guesses"


@needs_tls
@pytest.mark.usefixtures("clock")
def test_right_passwords_neither_cost_guesses_nor_give_any_back() -> None:
    guesses = guesses_of(lambda _address: False)
    for _ in range(5):
        assert all(judged(guesses, ELSEWHERE, KEY) for _ in range(3))
        assert judged(guesses, ELSEWHERE)
    assert not judged(guesses, ELSEWHERE, KEY), "a proof is not even checked while the address must wait"


@needs_tls
def test_guesses_made_while_somebody_was_in_leave_no_long_wait_behind(clock: Clock) -> None:
    people_in = {ELSEWHERE}
    guesses = guesses_of(people_in.__contains__)
    for _ in range(600):
        assert judged(guesses, ELSEWHERE)
        clock.jump(1)
    people_in.clear()
    assert guesses.wait(ELSEWHERE) <= 10


@needs_tls
@pytest.mark.usefixtures("clock")
def test_guessing_for_days_never_becomes_free_and_never_blocks_an_address_for_longer() -> None:
    guesses = guesses_of(lambda _address: False)
    for _ in range(200):
        judged(guesses, ELSEWHERE)
    assert guesses.wait(ELSEWHERE) == pytest.approx(10)


@needs_tls
@pytest.mark.usefixtures("clock")
def test_the_host_is_told_about_each_address_and_once_about_twenty_guesses_from_everywhere() -> None:
    events: queue.Queue[Any] = queue.Queue()
    guesses = guesses_of(lambda _address: False, events)
    for number in range(4):
        assert all(judged(guesses, f"192.0.2.{number}") for _ in range(4))
        assert drain(events) == [], "the first four may be mistakes"
    for number in range(3):
        judged(guesses, f"192.0.2.{number}")
        assert drain(events) == [net.WrongPassword(f"192.0.2.{number}", 5)]
    judged(guesses, "192.0.2.3")
    assert drain(events) == [net.WrongPassword("192.0.2.3", 5), net.WrongPassword("", 20)]
    for number in range(4, 24):
        judged(guesses, f"192.0.2.{number}")
    assert drain(events) == []


@needs_tls
def test_an_address_that_must_wait_is_told_how_long_although_the_room_has_no_other_limits(
    room: Room, clock: Clock
) -> None:
    for _ in range(AT_ONCE):
        assert guess(room)["type"] == "hello"
    assert told_of_guesses(room) == [net.WrongPassword(LOOPBACK, AT_ONCE)]
    refused = guess(room)
    assert (refused["type"], refused["code"], refused["seconds"]) == ("refused", "wait", 10)
    clock.jump(9)
    assert guess(room)["seconds"] == 1
    clock.jump(1)
    assert guess(room)["type"] == "hello"
    assert told_of_guesses(room) == [net.WrongPassword(LOOPBACK, AT_ONCE + 1)]


@needs_tls
def test_the_host_is_not_told_about_a_mistake(room: Room, visit: Visit) -> None:
    for _ in range(AT_ONCE - 1):
        assert visit(room.port, "Ann", "mistyped").is_refused() == "wrong"
    visit(room.port, "Ann").is_in()
    assert told_of_guesses(room) == []


def say_nothing(_stranger: Stranger) -> None:
    """Hello, and then nothing."""


def send_half_a_proof(stranger: Stranger) -> None:
    stranger.send_bytes(stranger.begin()[:100])


def send_zeros(stranger: Stranger) -> None:
    stranger.send_bytes(bytes(1000))


def offer_no_key(stranger: Stranger) -> None:
    with pytest.raises(ssl.SSLError) as refused:
        stranger.encrypt(context_of(ssl.PROTOCOL_TLS_CLIENT, None))
    assert refused.value.reason == "SSLV3_ALERT_HANDSHAKE_FAILURE"


def break_off_after_the_proof(stranger: Stranger) -> None:
    stranger.send_bytes(stranger.begin())


def finish(stranger: Stranger) -> None:
    stranger.encrypt()


@needs_tls
@pytest.mark.parametrize(
    "handshake",
    [say_nothing, send_half_a_proof, send_zeros, offer_no_key, break_off_after_the_proof, finish],
    ids=lambda handshake: handshake.__name__,
)
def test_silent_broken_and_right_handshakes_cost_no_guess(room: Room, handshake: Callable[[Stranger], None]) -> None:
    for _ in range(AT_ONCE - 1):
        assert guess(room)["type"] == "hello"
    for _ in range(AT_ONCE + 1):
        with Stranger(room.port) as stranger:
            assert stranger.greet()["type"] == "hello"
            handshake(stranger)
            with contextlib.suppress(OSError):  # TLS may have closed it already
                stranger.socket.shutdown(socket.SHUT_WR)
                stranger.ends()  # the room is done with this connection
    assert told_of_guesses(room) == []
    assert guess(room)["type"] == "hello"
    assert guess(room)["code"] == "wait"


@needs_tls
def test_guesses_that_are_made_at_the_same_time_are_all_counted(room: Room) -> None:
    start = threading.Barrier(4 * AT_ONCE)
    answers: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def try_it(stranger: Stranger) -> None:
        start.wait(LIMIT)
        with stranger:
            try:
                stranger.encrypt()
            except (ssl.SSLError, ConnectionError) as error:
                answers.put(getattr(error, "reason", None) in WRONG_KEY)

    strangers = [Stranger(room.port, "not it") for _ in range(start.parties)]
    assert {stranger.greet()["type"] for stranger in strangers} == {"hello"}, "all of them may try, so far"
    threads = [threading.Thread(target=try_it, args=[stranger], name="guesser") for stranger in strangers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive(), "the guesser hangs"
    assert [answers.get(timeout=LIMIT) for _ in threads].count(True) == AT_ONCE
    assert told_of_guesses(room) == [net.WrongPassword(LOOPBACK, AT_ONCE)]
    assert guess(room)["code"] == "wait"


@needs_tls
def test_a_client_told_to_wait_gets_in_automatically_when_the_time_is_over(
    visit: Visit, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "GUESSES", (5.0, 1.0))  # a client really waits: one second is enough
    room = Room(PASSWORD)
    with room.server:
        for _ in range(AT_ONCE):
            guess(room)
        ann = visit(room.port, "Ann")
        lost = expect(ann.events, net.Lost)
        assert (lost.reason, lost.retry_in) == (net.Trouble.WAIT, 1.0)
        clock.jump(1)
        ann.is_in()
        ann.close()


@needs_tls
@pytest.mark.skipif(sys.platform == "darwin", reason="needs a second address of this computer")
def test_guesses_from_one_computer_delay_nobody_else(room: Room, visit: Visit) -> None:
    with Proxy(room.port) as proxy:
        ann, bob = visit(proxy.port, "Ann"), visit(proxy.port, "Bob")
        ann.is_in()
        bob.is_in()
        for _ in range(AT_ONCE):
            assert guess(room, "127.0.0.2")["type"] == "hello"
        assert guess(room, "127.0.0.2")["seconds"] == 10
        assert [told.address for told in told_of_guesses(room)] == ["127.0.0.2"]
        ann.client.say("did you hear that?")
        bob.hears("did you hear that?")
        proxy.cut()
        bob.client.say("no")
        ann.hears("did you hear that?", "no")
        visit(room.port, "Carl").is_in()


@needs_tls
def test_guesses_from_a_shared_computer_delay_the_return_of_its_people_by_at_most_a_second(
    room: Room, visit: Visit, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "BACK_WITHIN", 10 * LIMIT)  # however slow this computer is, Ann stays in the list
    with Proxy(room.port) as proxy:
        ann = visit(proxy.port, "Ann")
        ann.is_in()
        proxy.refuse()
        proxy.cut()
        for _ in range(AT_ONCE):
            assert guess(room)["type"] == "hello"
        assert guess(room)["seconds"] == 1
        clock.jump(1)
        proxy.refuse(False)
        ann.is_in()
        ann.close()


# Breaks -----------------------------------------------------------------------


@needs_tls
def test_a_room_that_was_opened_again_with_the_same_password_is_joined_again(room: Room, visit: Visit) -> None:
    with Proxy(room.port) as proxy:
        ann = visit(proxy.port, "Ann")
        first = ann.is_in()
        other = Room(PASSWORD)
        with other.server:
            proxy.port_behind = other.port
            proxy.cut()
            assert ann.is_in().room != first.room
            ann.close()


@needs_tls
@pytest.mark.parametrize("seed", range(3))
def test_everything_arrives_once_and_in_order_through_a_storm(room: Room, visit: Visit, seed: int) -> None:
    lines = 40
    with Proxy(room.port) as proxy:
        ann, bob, watcher = visit(proxy.port, "Ann"), visit(proxy.port, "Bob"), visit(room.port, "Watcher")
        for each in (ann, bob, watcher):
            each.is_in()
        proxy.storm(seed, mean_bytes=4_000)
        for number in range(lines):
            ann.client.say(f"Ann {number}")
            bob.client.say(f"Bob {number}")
        heard: dict[str, list[str]] = collections.defaultdict(list)
        for _ in range(lines):
            said = expect(watcher.events, net.Said)
            heard[said.name].append(said.text)
        proxy.calm()
        while sum(map(len, heard.values())) < 2 * lines:
            said = expect(watcher.events, net.Said)
            heard[said.name].append(said.text)
        assert heard == {name: [f"{name} {number}" for number in range(lines)] for name in ("Ann", "Bob")}
        late = visit(room.port, "Late")
        order = [expect(late.events, net.Said).text for _ in range(2 * lines)]
        for each in (ann, bob):
            assert [expect(each.events, net.Said).text for _ in order] == order
            each.close()


@needs_tls
def test_long_texts_arrive_whole_in_large_pieces_and_in_small_ones(room: Room, visit: Visit) -> None:
    texts = [f"{number:04}" + "ä😀"[number % 2] * 3_996 for number in range(150)]  # 1.8 MB
    with Proxy(room.port) as proxy:
        ann = visit(room.port, "Ann")
        ann.is_in()
        for text in texts:
            ann.client.say(text)
        ann.hears(*texts)
        for size in (1_000, 256 * 1024):
            proxy.chop(size)
            late = visit(proxy.port, f"Late {size}")
            late.is_in()
            late.hears(*texts)
            late.close()


# The end, at every stage ------------------------------------------------------

STAGES = ["connected", "hello", "some of the handshake", "handshake"]


@needs_tls
@pytest.mark.parametrize(("stage", "pending"), [*((stage, False) for stage in STAGES), ("hello", True)])
def test_a_client_is_gone_within_two_seconds_wherever_the_room_is_stuck(
    visit: Visit, stage: str, pending: bool
) -> None:
    stuck = threading.Event()

    def serve(sock: socket.socket) -> None:
        hello = read_line(sock)
        if stage != "connected":
            sock.sendall(SALTY_HELLO)
            room = tls_of(key_of_room(hello), is_room=True)
            is_done = False
            while not is_done and stage != "hello":
                is_done, answer = room.handshake_step(sock.recv(4096))
                sock.sendall(answer if stage == "handshake" else answer[:100])
                if stage != "handshake":
                    break
        stuck.set()
        read_to_the_end(sock)

    with fake_room(serve) as port:
        ann = visit(port, "Ann")
        if pending:
            ann.client.say("not to be lost without trying")
        assert stuck.wait(LIMIT)
        begin = time.monotonic()
        ann.client.close()
        assert ann.client.join(LIMIT)
        assert time.monotonic() - begin < 2.0


@needs_tls
@pytest.mark.parametrize("stage", STAGES)
def test_a_room_is_gone_within_two_seconds_wherever_a_client_is_stuck(stage: str) -> None:
    room = Room(PASSWORD)
    with Stranger(room.port) as stranger:
        if stage == "handshake":
            stranger.hello()
        elif stage != "connected":
            stranger.greet()
            stranger.send_bytes(stranger.begin()[:100] if stage == "some of the handshake" else b"")
        until(lambda: any(thread.name.startswith("reader ") for thread in threading.enumerate()), "a reader has begun")
        begin = time.monotonic()
        room.server.close()
        assert time.monotonic() - begin < 2.0
        if not isinstance(stranger.socket, ssl.SSLSocket):
            stranger.ends()


@needs_tls
def test_last_words_travel_encrypted_and_arrive(room: Room, visit: Visit) -> None:
    with Proxy(room.port) as proxy:
        ann = visit(proxy.port, "Ann")
        ann.is_in()
        room.server.close("The lesson is over.")
        assert expect(ann.events, net.Closed).reason == "The lesson is over."
        assert b"lesson" not in proxy.from_room
