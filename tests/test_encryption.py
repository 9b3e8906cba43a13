"""A room with a password: the key, TLS in memory, who gets in and who does not, and what a man in the middle can do.

What the room and the client say to each other is checked against a client and a room of another program, written here
with nothing but Python's own sockets with TLS. To stretch a password takes a third of a second, so most tests do it in
a cheaper way; those that are about it take the real one.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import hmac
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
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import net
from tests.helpers import LIMIT, LOOPBACK, Message, Proxy, Wire, drain, expect, needs_tls, port_of, skip_or_fail, until
from tests.test_finding import own_ports

PASSWORD = "qw36-q2gw-xmfz"
BARE = b"qw36q2gwxmfz"  # as it goes into the key
TITLE = "Mr Lee's room"
HELLO = b'{"type":"hello","protocol":1,"tls":true}\n'
OLD_HELLO = b'{"type":"hello","protocol":1,"tls":false}\n'
SALT = bytes(range(16)).hex()
SALTY_HELLO = b'{"type":"hello","protocol":1,"tls":true,"salt":"' + SALT.encode() + b'"}\n'
KEY = bytes(range(32))
WRONG_KEY = ("SSLV3_ALERT_ILLEGAL_PARAMETER", "TLSV1_ALERT_DECRYPT_ERROR")  # as a client sees it: older, newer OpenSSL
RECORD_HEADER = 5  # bytes: type, version, and the length in the last two

Stretch = Callable[[str, str], bytes]
Edit = Callable[[bytes], bytes]
really_stretch: Stretch = net.stretch


def cheaply_stretch(password: str, salt: str) -> bytes:
    return hashlib.sha256(bytes.fromhex(salt) + net.clean_password(password).encode()).digest()


@pytest.fixture(autouse=True)
def stretched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stretching is cheap; the passwords that were stretched so far."""
    passwords: list[str] = []

    def count(password: str, salt: str) -> bytes:
        passwords.append(password)
        return cheaply_stretch(password, salt)

    monkeypatch.setattr(net, "stretch", count)
    return passwords


# People, rooms and strangers --------------------------------------------------


class Visitor:
    """Somebody with this program's own client."""

    def __init__(self, port: int, name: str, password: str | None = PASSWORD) -> None:
        self.events: queue.Queue[Any] = queue.Queue()
        self.client = net.run_client(LOOPBACK, name, self.events, port=port, password=password)

    def is_in(self) -> net.Welcome:
        return expect(self.events, net.Welcome)

    def hears(self, *texts: str) -> None:
        """These, and nothing else that was said."""
        assert [expect(self.events, net.Said).text for _ in texts] == [*texts]

    def is_refused(self) -> str:
        """The code; and nothing of the room was shown."""
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
    """Sends somebody to a port; all leave after the test."""
    with contextlib.ExitStack() as stack:

        def send(port: int, name: str, password: str | None = PASSWORD) -> Visitor:
            visitor = Visitor(port, name, password)
            stack.callback(visitor.close)
            return visitor

        yield send


class Room:
    """A room of this program's, with what its host is told."""

    def __init__(self, password: str | None, port: int = 0) -> None:
        self.events: queue.Queue[Any] = queue.Queue()
        self.server = net.run_server(
            TITLE, host_name="Mr Lee", host=LOOPBACK, port=port, password=password, rate=None, events=self.events
        )
        self.port = self.server.port


@pytest.fixture
def room() -> Iterator[Room]:
    opened = Room(PASSWORD)
    with opened.server:
        yield opened


@pytest.fixture
def open_room() -> Iterator[Room]:
    opened = Room(None)
    with opened.server:
        yield opened


def context_of(side: ssl._SSLMethod, key: bytes | None, identity: str = "chat-room") -> ssl.SSLContext:
    """TLS as another program would set it up, from the plan of the wire alone; without a key it offers none."""
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


class Stranger(Wire):
    """A client of another program."""

    def __init__(
        self, port: int, password: str = PASSWORD, stretch: Stretch = cheaply_stretch, own_address: str = LOOPBACK
    ) -> None:
        super().__init__(port)
        if own_address != LOOPBACK:
            self.socket.close()
            self.socket = socket.create_connection((LOOPBACK, port), LIMIT, source_address=(own_address, 0))
        self.password = password
        self.stretch = stretch
        self.key = b""

    def __enter__(self) -> Stranger:
        return self

    def greet(self) -> Message:
        """Says hello; the room's answer, and from that the key."""
        self.send_bytes(HELLO)
        line = self._line()
        assert line is not None, "the connection ended instead of an answer to hello"
        answer: Message = json.loads(line)
        if answer["type"] == "hello":
            self.key = hmac.digest(self.stretch(self.password, answer["salt"]), HELLO + line + b"\n", "sha256")
        return answer

    def encrypt(self, context: ssl.SSLContext | None = None) -> None:
        self.socket = (context or context_of(ssl.PROTOCOL_TLS_CLIENT, self.key)).wrap_socket(self.socket)

    def hello(self) -> Message:
        answer = self.greet()
        if answer["type"] == "hello":
            self.encrypt()
        return answer

    def begin(self) -> bytes:
        """The bytes with which TLS begins, for one who has said hello."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context_of(ssl.PROTOCOL_TLS_CLIENT, self.key).wrap_bio(incoming, outgoing)
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        return outgoing.read()

    def ends(self) -> bytes:
        """What still comes in plain bytes, up to the end of the connection."""
        received = self._received
        with contextlib.suppress(ConnectionError):
            while data := self.socket.recv(4096):
                received += data
        return received


def guess(room: Room, own_address: str = LOOPBACK) -> Message:
    """One wrong password; the room's answer to hello. A guess is counted a moment after the stranger knows of it."""
    with Stranger(room.port, "not it", own_address=own_address) as stranger:
        answer = stranger.greet()
        if answer["type"] == "hello":
            with pytest.raises(ssl.SSLError) as wrong:
                stranger.encrypt()
            assert wrong.value.reason in WRONG_KEY
            until(lambda: not room.server._handshakes, "the room has counted it")
        return answer


@contextlib.contextmanager
def fake_room(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Something that listens, and talks as `serve` says with one after the other; its port."""
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


class Clock:
    """Stands for the time module: time passes only when the test says so."""

    def __init__(self) -> None:
        self._now = time.monotonic()
        self.time = time.time
        self.time_ns = time.time_ns
        self.perf_counter = time.perf_counter
        self.sleep = time.sleep

    def monotonic(self) -> float:
        return self._now

    def jump(self, seconds: float) -> None:
        self._now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(net, "time", made)
    return made


def read_line(sock: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n") and (byte := sock.recv(1)):
        line += byte
    return line


def read_to_the_end(sock: socket.socket) -> bytes:
    received = b""
    while data := sock.recv(4096):
        received += data
    return received


# Passwords --------------------------------------------------------------------


def test_a_suggested_password_is_twelve_letters_in_groups_of_four_and_never_the_same() -> None:
    suggested = [net.suggest_password() for _ in range(2000)]
    four = "[2-9a-hjkmnp-z]{4}"  # no 0, 1, i, l, o
    assert all(re.fullmatch(f"{four}-{four}-{four}", password) for password in suggested)
    assert len(set(suggested)) == len(suggested)
    assert len(set("".join(suggested)) - {"-"}) == 30


@pytest.mark.parametrize("typed", ["qw36q2gwxmfz", "QW36-Q2GW-XMFZ", " qw36 q2gw\u00a0xmfz\t", "q-w-3 6q2gwXMFZ-"])
def test_a_suggested_password_may_be_typed_without_dashes_with_spaces_and_in_capitals(typed: str) -> None:
    assert net.clean_password(typed) == net.clean_password(PASSWORD) == BARE.decode()


@pytest.mark.parametrize("own", ["Open Sesame", " two  spaces ", "with-dashes", "qw36-q2gw-xmf0", "qw36-q2gw-xmfzz"])
def test_a_password_of_ones_own_keeps_case_spaces_and_dashes(own: str) -> None:
    assert net.clean_password(own) == own


def test_a_password_of_ones_own_is_the_same_however_a_keyboard_writes_its_accents() -> None:
    typed = [unicodedata.normalize(form, "Crème brûlée") for form in ("NFC", "NFD")]
    assert typed[0] != typed[1]
    assert [net.clean_password(each) for each in typed] == ["Crème brûlée"] * 2


def test_half_a_surrogate_pair_in_a_password_does_no_harm() -> None:
    assert net.clean_password("caf\ud83d") == "caf\ufffd"


@needs_tls
@pytest.mark.parametrize("nothing", ["", " ", "\t\u3000"])
def test_an_empty_password_is_refused(nothing: str) -> None:
    with pytest.raises(ValueError, match="expected a password"):
        net.run_server(TITLE, host=LOOPBACK, port=0, password=nothing)
    with pytest.raises(ValueError, match="expected a password"):
        net.run_client(LOOPBACK, "Ann", queue.Queue(), password=nothing)


def test_an_older_python_says_which_one_it_is_and_which_one_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "CAN_ENCRYPT", False)
    mine = ".".join(map(str, sys.version_info[:2]))
    with pytest.raises(ValueError, match=f"Python {mine}; .* 3.13"):
        net.run_server(TITLE, host=LOOPBACK, port=0, password=PASSWORD)
    with pytest.raises(ValueError, match=f"Python {mine}; .* 3.13"):
        net.run_client(LOOPBACK, "Ann", queue.Queue(), password=PASSWORD)


def test_only_a_python_that_can_says_so() -> None:
    if sys.version_info < (3, 13):
        assert not net.CAN_ENCRYPT
    else:
        assert net.CAN_ENCRYPT == ssl.HAS_PSK


# The key ----------------------------------------------------------------------


def test_the_key_is_made_as_the_plan_of_the_wire_says() -> None:
    stretched = really_stretch("QW36 Q2GW XMFZ", SALT)
    memory = 64 * 2**20
    assert stretched == hashlib.scrypt(
        BARE, salt=bytes.fromhex(SALT), n=2**15, r=8, p=3, maxmem=memory, dklen=32
    )
    assert stretched.hex() == "0660d5a024bb502551a2ae258d6dcac82982bb6c4cdbcf10a28826fa0832c0f8"
    key = net.session_key(stretched, HELLO[:-1], SALTY_HELLO[:-1])
    assert key == hmac.new(stretched, HELLO + SALTY_HELLO, hashlib.sha256).digest()
    assert key.hex() == "8f99134ec38296caaf474075f46f6345b9f20a8c09cdf4a775fa4872bf16e742"


def test_a_password_in_any_script_is_stretched_as_utf_8() -> None:
    expected = hashlib.scrypt(
        "пароль 密码".encode(), salt=bytes(16), n=2**15, r=8, p=3, maxmem=64 * 2**20, dklen=32
    )
    assert really_stretch("пароль 密码", "00" * 16) == expected


@needs_tls
def test_both_hello_lines_are_as_the_plan_of_the_wire_has_them(room: Room, visit: Visit) -> None:
    with Proxy(room.port) as proxy:
        visit(proxy.port, "Ann").is_in()
        assert bytes(proxy.to_room).startswith(HELLO + b"\x16\x03")  # and then at once a TLS record
        hello, _, rest = bytes(proxy.from_room).partition(b"\n")
    assert re.fullmatch(rb'{"type":"hello","protocol":1,"tls":true,"salt":"[0-9a-f]{32}"}', hello)
    assert rest.startswith(b"\x16\x03")


@needs_tls
def test_each_room_has_a_salt_of_its_own(room: Room) -> None:
    other = Room(PASSWORD)
    with other.server, Stranger(room.port) as here, Stranger(other.port) as there, Stranger(room.port) as again:
        salts = [stranger.greet()["salt"] for stranger in (here, there, again)]
    assert salts[0] == salts[2] != salts[1]


@needs_tls
def test_a_client_of_another_program_joins(monkeypatch: pytest.MonkeyPatch, visit: Visit) -> None:
    monkeypatch.setattr(net, "stretch", really_stretch)

    def stretch(_password: str, salt: str) -> bytes:
        return hashlib.scrypt(BARE, salt=bytes.fromhex(salt), n=2**15, r=8, p=3, maxmem=64 * 2**20, dklen=32)

    room = Room("QW36Q2GWXMFZ")
    with room.server, Stranger(room.port, stretch=stretch) as stranger:
        assert stranger.join("Ann")["title"] == TITLE
        assert isinstance(stranger.socket, ssl.SSLSocket)
        assert stranger.socket.session_reused, "the password was used, and not a certificate"
        assert stranger.socket.version() == "TLSv1.3"
        bob = visit(room.port, "Bob")
        bob.is_in()
        stranger.send({"type": "say", "id": 1, "text": "hello from elsewhere"})
        bob.hears("hello from elsewhere")
        bob.client.say("hello back")
        assert [stranger.receive_until("said")["text"] for _ in range(2)] == ["hello from elsewhere", "hello back"]


@needs_tls
def test_a_room_of_another_program_is_joined(monkeypatch: pytest.MonkeyPatch, visit: Visit) -> None:
    monkeypatch.setattr(net, "stretch", really_stretch)
    stretched = hashlib.scrypt(BARE, salt=bytes(range(16)), n=2**15, r=8, p=3, maxmem=64 * 2**20, dklen=32)
    heard: queue.SimpleQueue[Message] = queue.SimpleQueue()

    def serve(sock: socket.socket) -> None:
        hello = read_line(sock)
        sock.sendall(SALTY_HELLO)
        key = hmac.digest(stretched, hello + SALTY_HELLO, "sha256")
        context = context_of(ssl.PROTOCOL_TLS_SERVER, key)
        with context.wrap_socket(sock, server_side=True) as tls, tls.makefile("rwb", buffering=0) as lines:
            join = json.loads(lines.readline())
            heard.put(join)
            lines.write(welcome_line(join["name"]))
            say = json.loads(lines.readline())
            heard.put(say)
            said = {"type": "said", "number": 1, "time": 1.0, "who": 2, "name": join["name"]}
            lines.write(json.dumps({**said, "id": say["id"], "text": say["text"]}).encode() + b"\n")
            heard.put(json.loads(lines.readline()))

    with fake_room(serve) as port:
        ann = visit(port, "Ann", "qw36 q2gw xmfz")
        assert ann.is_in().title == "A room from elsewhere"
        ann.client.say("hello")
        ann.hears("hello")
        ann.close()
    assert [heard.get(timeout=LIMIT)["type"] for _ in range(3)] == ["join", "say", "leave"]


def welcome_line(name: str) -> bytes:
    welcome = {"type": "welcome", "room": "1", "title": "A room from elsewhere", "who": 2, "name": name, "host": None}
    welcome |= {"people": [[2, name]], "missed": 0, "history": 0, "last_id": 0}
    welcome |= {"muted": False, "paused": False, "max_file": 1}
    return json.dumps(welcome).encode() + b"\n"


# TLS in memory ----------------------------------------------------------------


def meet(client: net.Tls, room: net.Tls, size: int = 1 << 20) -> None:
    """The whole handshake, carried from one to the other in pieces of at most so many bytes."""
    client_is_done, to_room = client.shake_hands(b"")
    room_is_done = False
    while not (client_is_done and room_is_done):
        assert to_room, "neither has anything more to say"
        to_client = b""
        for piece in cut(to_room, size):
            assert not room_is_done
            room_is_done, answer = room.shake_hands(piece)
            to_client += answer
        to_room = b""
        for piece in cut(to_client, size):
            assert not client_is_done
            client_is_done, answer = client.shake_hands(piece)
            to_room += answer


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def pair(client_key: bytes = KEY, room_key: bytes = KEY) -> tuple[net.Tls, net.Tls]:
    return net.Tls(client_key, is_room=False), net.Tls(room_key, is_room=True)


def met(to_room: bool = True) -> tuple[net.Tls, net.Tls]:
    """Two after their handshake: one to send, and one to receive."""
    client, room = pair()
    meet(client, room)
    return (client, room) if to_room else (room, client)


@needs_tls
def test_nothing_but_the_password_and_nothing_but_the_newest_tls_is_good_enough() -> None:
    client, room = net._tls_context(KEY, is_room=False), net._tls_context(KEY, is_room=True)
    assert client.verify_mode is ssl.CERT_REQUIRED
    assert client.get_ca_certs() == []
    assert not client.check_hostname
    assert client.cert_store_stats() == {"x509": 0, "crl": 0, "x509_ca": 0}
    assert {client.minimum_version, room.minimum_version} == {ssl.TLSVersion.TLSv1_3}
    assert room.num_tickets == 0


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
    _, first = client.shake_hands(b"")
    _, answer = room.shake_hands(first)
    is_done, last = client.shake_hands(answer)
    assert is_done
    assert room.shake_hands(last + client.encrypt(b"join\n")) == (True, b"")
    assert room.decrypt(b"") == b"join\n"


@needs_tls
@pytest.mark.parametrize("to_room", [True, False])
def test_pieces_larger_than_a_record_arrive_whole(to_room: bool) -> None:
    sender, receiver = met(to_room)
    piece = random.Random(1).randbytes(net.MAX_PIECE)
    for size in (4096, 64 * 1024, 1 << 20):
        assert b"".join(receiver.decrypt(part) for part in cut(sender.encrypt(piece), size)) == piece


@needs_tls
def test_two_wrong_keys_do_not_meet_and_both_sides_know_why() -> None:
    client, room = pair(KEY, KEY[::-1])
    _, first = client.shake_hands(b"")
    with pytest.raises(net.HandshakeError, match="BINDER_DOES_NOT_VERIFY") as of_room:
        room.shake_hands(first)
    assert of_room.value.alert
    with pytest.raises(net.HandshakeError) as of_other:
        client.shake_hands(of_room.value.alert)
    assert str(of_other.value) in WRONG_KEY
    assert of_room.value.is_wrong_password
    assert of_other.value.is_wrong_password


@needs_tls
@pytest.mark.parametrize(
    ("key", "identity"), [(None, ""), (KEY, "chat-rooms"), (KEY, "c")], ids=["no key", "a longer name", "a short one"]
)
def test_who_offers_no_key_of_a_chat_room_is_not_let_in_and_has_not_guessed(key: bytes | None, identity: str) -> None:
    room = net.Tls(KEY, is_room=True)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context_of(ssl.PROTOCOL_TLS_CLIENT, key, identity).wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    with pytest.raises(net.HandshakeError, match="NO_SUITABLE_SIGNATURE_ALGORITHM") as refused:
        room.shake_hands(outgoing.read())
    assert not refused.value.is_wrong_password
    incoming.write(refused.value.alert)
    with pytest.raises(ssl.SSLError) as of_client:
        client.do_handshake()
    assert of_client.value.reason == "SSLV3_ALERT_HANDSHAKE_FAILURE"


@needs_tls
@pytest.mark.parametrize(
    ("plain", "reason"),
    [
        (b'{"type":"join","name":"Ann"}\n', "WRONG_VERSION_NUMBER"),
        (b"\n", None),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP_REQUEST"),
        (bytes(100), r"\w"),
        (b"\x16\x03\x01\xff\xff" + b"x" * 100, r"\w"),
    ],
    ids=["a message", "too little", "a browser's request", "zeros", "a record that is too long"],
)
def test_plain_text_where_tls_was_due_ends_it(plain: bytes, reason: str | None) -> None:
    room = net.Tls(KEY, is_room=True)
    if reason is None:  # too short to be told from the beginning of a record
        assert room.shake_hands(plain) == (False, b"")
        return
    with pytest.raises(net.HandshakeError, match=reason) as refused:
        room.shake_hands(plain)
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
@pytest.mark.parametrize("order", [(0, 0), (0, 2), (1, 0)], ids=["said again", "left out", "swapped"])
def test_records_cannot_be_said_again_left_out_or_swapped(order: tuple[int, int]) -> None:
    client, room = met()
    records = [client.encrypt(b"a") for _ in range(3)]
    with pytest.raises(net.ConnectionLost):
        room.decrypt(b"".join(records[number] for number in order))


@needs_tls
def test_what_the_room_says_cannot_be_sent_back_to_it() -> None:
    _, room = met()
    with pytest.raises(net.ConnectionLost):
        room.decrypt(room.encrypt(b"an echo"))


@needs_tls
def test_what_came_before_the_end_of_tls_is_still_read() -> None:
    client, room = met()
    last = client.encrypt(b"goodbye\n")
    with contextlib.suppress(ssl.SSLWantReadError):
        client._object.unwrap()  # as other programs end it: "close_notify"
    assert room.decrypt(last + client._outgoing.read()) == b"goodbye\n"


@needs_tls
def test_what_comes_after_the_end_of_tls_is_not_piled_up() -> None:
    client, room = met()
    with contextlib.suppress(ssl.SSLWantReadError):
        client._object.unwrap()
    with pytest.raises(net.ConnectionLost):
        room.decrypt(client._outgoing.read())
    with pytest.raises(net.ConnectionLost):
        room.decrypt(b"and what I also wanted to say")


@needs_tls
def test_who_asks_for_new_keys_again_and_again_and_reads_no_answer_is_lost() -> None:
    """Python cannot ask for new keys, so the answers are laid where OpenSSL would lay them."""
    client, room = met()
    room._outgoing.write(bytes(net.TLS_PIECE))
    assert room.decrypt(client.encrypt(b"once")) == b"once"
    room._outgoing.write(b"!")
    with pytest.raises(net.ConnectionLost):
        room.decrypt(client.encrypt(b"twice"))


@needs_tls
def test_four_threads_on_two_objects_lose_nothing() -> None:
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
        self.connection = net.Connection(sock, 100, 4096)
        self.lines = lines
        self.read: list[bytes] = []
        self.failed: list[BaseException] = []
        self._tls = net.Tls(KEY, is_room)
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
            self.connection.start_tls(self._tls, lambda: LIMIT)
        except BaseException:
            self.has_read.set()
            raise
        self._writer.start()
        try:
            while len(self.read) < self.lines:
                self.read.append(self._next_line())
        finally:
            self.has_read.set()
            self._writer.join()

    def _next_line(self) -> bytes:
        deadline = time.monotonic() + LIMIT
        while (line := self.connection.next_line(LIMIT)) is None:  # perhaps a part of a record has come
            assert time.monotonic() < deadline, f"nothing came for {LIMIT:g} s after {self.read[-1:]}"
        return line

    def _write(self) -> None:
        for number in range(self.lines):
            self.connection.write(b"%d\n" % number)
            while self.connection.busy and not self.gone.is_set():
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
def test_after_a_record_that_was_changed_nothing_is_written_any_more() -> None:
    with socket.create_server((LOOPBACK, 0)) as listener, socket.create_connection(listener.getsockname()) as other:
        sock, _ = listener.accept()
        connection, tls = net.Connection(sock, 100, 4096), net.Tls(KEY, is_room=False)
        room = threading.Thread(target=connection.start_tls, args=[net.Tls(KEY, is_room=True), lambda: LIMIT])
        room.start()
        is_done, answer = tls.shake_hands(b"")
        other.sendall(answer)
        while not is_done:
            is_done, answer = tls.shake_hands(other.recv(4096))
            other.sendall(answer)
        room.join(LIMIT)
        other.sendall(flipped(-1)(tls.encrypt(b"hello\n")))
        with pytest.raises(net.ConnectionLost):
            connection.next_line(LIMIT)
        assert connection.write(b"too late\n"), "and that waits for nothing"
        assert connection.all_written.is_set()
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
def test_everybody_with_the_password_is_in_one_room(room: Room, visit: Visit) -> None:
    ann, bob = visit(room.port, "Ann"), visit(room.port, "Bob", "QW36 q2gw XMFZ")
    ann.is_in()
    bob.is_in()
    ann.client.say("hi Bob")
    bob.hears("hi Bob")
    bob.client.say("hi Ann")
    ann.hears("hi Bob", "hi Ann")


@needs_tls
def test_a_wrong_password_is_told_as_such(room: Room, visit: Visit) -> None:
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
        assert bytes(proxy.to_room) == HELLO


@needs_tls
def test_a_client_with_a_password_joins_no_open_room_and_says_nothing_to_it(open_room: Room, visit: Visit) -> None:
    with Proxy(open_room.port) as proxy:
        ann = visit(proxy.port, "Ann")
        ann.client.say("a secret")
        assert ann.is_refused() == "open"
        until(lambda: proxy.connections == 0, "the connection has ended")
        assert bytes(proxy.to_room) == HELLO


@needs_tls
def test_an_open_room_stays_plain_for_those_who_can_encrypt(open_room: Room, visit: Visit) -> None:
    with Proxy(open_room.port) as proxy:
        ann = visit(proxy.port, "Ann", None)
        ann.is_in()
        ann.client.say("for everybody")
        ann.hears("for everybody")
        assert bytes(proxy.to_room).startswith(HELLO)
        assert bytes(proxy.from_room).startswith(OLD_HELLO)
        assert b"for everybody" in proxy.to_room


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
        assert bytes(proxy.to_room) == OLD_HELLO


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
        assert received.get(timeout=LIMIT) == OLD_HELLO


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
def test_bytes_that_come_together_with_the_hello_line_belong_to_tls(room: Room) -> None:
    with Stranger(room.port) as first:
        first.greet()
        answer = net.encode(room.server._hello)
        key = hmac.digest(cheaply_stretch(PASSWORD, json.loads(answer)["salt"]), HELLO + answer, "sha256")
    client = net.Tls(key, is_room=False)
    with Wire(room.port) as wire:  # knows the room's hello from before, and does not wait for it
        _, begin = client.shake_hands(b"")
        wire.send_bytes(HELLO + begin)
        assert wire._line() == answer.rstrip(b"\n")
        is_done, finish = False, b""
        while not is_done:
            is_done, finish = client.shake_hands(wire.receive_bytes(1))
        join = {"type": "join", "name": "Ann", "token": "0" * 32, "room": None, "after": 0}
        wire.send_bytes(finish + client.encrypt(json.dumps(join).encode() + b"\n"))
        plain = b""
        while b"\n" not in plain:
            plain += client.decrypt(wire.receive_bytes(1))
        assert json.loads(plain.partition(b"\n")[0])["type"] == "welcome"


@needs_tls
def test_what_a_room_sends_together_with_its_hello_belongs_to_tls(visit: Visit) -> None:
    received: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def serve(sock: socket.socket) -> None:
        read_line(sock)
        sock.sendall(SALTY_HELLO + welcome_line("Ann"))  # would let somebody in who reads it as a line
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
    assert passed.count(b"chat-room") >= 3, "one for each connection: it is the right recording"
    for name in (TITLE, "Mr Lee", "Annabella", "Bartholomew"):
        assert name.encode() not in passed
    for word in (b"question", b"vierte", b"welcome", b"said", b"join", b"leave"):
        assert word not in passed
    assert BARE not in passed
    assert room.server.token.encode() not in passed


@needs_tls
def test_the_password_and_the_keys_are_in_no_log_and_in_no_repr(
    visit: Visit, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    keys: list[bytes] = []
    session_key = net.session_key

    def remember(stretched: bytes, client_hello: bytes, room_hello: bytes) -> bytes:
        keys.extend((stretched, session_key(stretched, client_hello, room_hello)))
        return keys[-1]

    monkeypatch.setattr(net, "session_key", remember)
    tls: list[net.Tls] = []
    start_tls = net.Connection.start_tls

    def watch(connection: net.Connection, begun: net.Tls, patience: Callable[[], float]) -> None:
        tls.append(begun)
        start_tls(connection, begun, patience)

    monkeypatch.setattr(net.Connection, "start_tls", watch)
    room = Room("Sesam, öffne dich!")
    with room.server:
        ann, bob = visit(room.port, "Ann", "Sesam, öffne dich!"), visit(room.port, "Bob", "Sesam, schließe dich!")
        ann.is_in()
        assert bob.is_refused() == "wrong"
        ann.client.say("hello")
        ann.hears("hello")
        shown = [*drain(room.events), *drain(ann.events), *drain(bob.events)]
        shown += [room.server, ann.client, *tls, *room.server._people.values(), *room.server._connections]
        told = "\n".join([*map(repr, shown), *map(str, shown)])
        tokens = [room.server.token, *room.server._people]
        ann.close()
    told += "\n".join(str(vars(record)) for record in caplog.records)
    assert "BINDER_DOES_NOT_VERIFY" in told, "the log is complete"
    assert len(keys) >= 6
    assert len(tls) == 4
    assert "Sesam" not in told
    assert len(tokens) == 2
    assert not [token for token in tokens if token in told]
    for key in keys:
        for written in (key.hex(), repr(key)[2:-1], repr(list(key))):
            assert written not in told


# Failures ---------------------------------------------------------------------


@needs_tls
@pytest.mark.parametrize(
    "plain",
    [
        b'{"type":"join","name":"Ann","token":"00000000000000000000000000000000","room":null,"after":0}\n',
        b"GET / HTTP/1.1\r\nHost: room\r\n\r\n",
        bytes(1000),
    ],
    ids=["a message", "a browser's request", "zeros"],
)
def test_who_goes_on_in_plain_text_is_not_let_in_and_reads_nothing(room: Room, visit: Visit, plain: bytes) -> None:
    with Stranger(room.port) as stranger:
        stranger.greet()
        stranger.send_bytes(plain)
        assert b"welcome" not in stranger.ends()
    assert [name for _, name in visit(room.port, "Bob").is_in().people] == ["Bob"]


@needs_tls
def test_who_offers_no_key_is_not_let_in(room: Room) -> None:
    for _ in range(net.FREE_GUESSES + 1):  # and that is no guess: the next one is heard as the first was
        with Stranger(room.port) as stranger:
            assert stranger.greet()["type"] == "hello"
            with pytest.raises(ssl.SSLError) as refused:
                stranger.encrypt(context_of(ssl.PROTOCOL_TLS_CLIENT, None))
            assert refused.value.reason == "SSLV3_ALERT_HANDSHAKE_FAILURE"


@needs_tls
def test_silence_and_dripping_in_the_handshake_hold_up_nobody_and_end_in_time(room: Room, clock: Clock) -> None:
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
def test_who_goes_away_in_the_middle_of_the_handshake_harms_nobody(room: Room, visit: Visit, part: int) -> None:
    for _ in range(3):
        with Stranger(room.port) as stranger:
            stranger.greet()
            stranger.send_bytes(stranger.begin()[:part])
    until(lambda: not room.server._strangers, "they are gone")
    assert [name for _, name in visit(room.port, "Bob").is_in().people] == ["Bob"]


@needs_tls
@pytest.mark.parametrize("part", [0, 1, 50, 150])
def test_a_room_that_goes_away_in_the_middle_of_the_handshake_is_tried_again(
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
    """A certificate that somebody has written for himself, and its key."""
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
def test_a_handshake_without_the_key_is_none_even_if_tls_is_content(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were the client's context ever to accept certificates: that the key was used is looked at as well."""

    def careless(_key: bytes, is_room: bool) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if is_room else ssl.PROTOCOL_TLS_CLIENT)
        if is_room:
            context.load_cert_chain(certificate)
        else:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    monkeypatch.setattr(net, "_tls_context", careless)
    client, room = pair()
    with pytest.raises(net.HandshakeError, match="no pre-shared key"):
        meet(client, room)


@needs_tls
@pytest.mark.parametrize("salt", [None, "", "0" * 31, "g" * 32, "0" * 33, "00" * 16 + "\n"])
def test_a_salt_that_is_none_is_not_taken(visit: Visit, stretched: list[str], salt: str | None) -> None:
    hello = {"type": "hello", "protocol": 1, "tls": True} | ({} if salt is None else {"salt": salt})

    def serve(sock: socket.socket) -> None:
        read_line(sock)
        sock.sendall(json.dumps(hello).encode() + b"\n")
        read_to_the_end(sock)

    with fake_room(serve) as port:
        ann = visit(port, "Ann")
        assert expect(ann.events, net.Lost).reason is net.Trouble.NOT_A_ROOM
        ann.close()
    assert not stretched


# A man in the middle ----------------------------------------------------------


def unchanged(data: bytes) -> bytes:
    return data


class _GoAway(Exception):
    """The man in the middle hangs up."""


class Meddler:
    """A man in the middle: `with Meddler(port) as meddler: ... meddler.port ...`

    He passes on what he gets, but for what his edits make of it: `hello` of the first line, `record` of each TLS record
    after it; both for the ways "to room" and "from room". May be told otherwise at any time.
    """

    def __init__(self, port_behind: int) -> None:
        self.port_behind = port_behind
        self.hello: dict[str, Edit] = {"to room": unchanged, "from room": unchanged}
        self.record: dict[str, Edit] = {"to room": unchanged, "from room": unchanged}
        self.connections = 0  # so far
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
        """As an edit: these bytes, and then the end of both connections."""
        raise _GoAway(last)

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            self._sockets.append(client)
            if self._closing:
                return
            room = socket.create_connection((LOOPBACK, self.port_behind))
            self._sockets.append(room)
            self.connections += 1
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
    """An edit of the next piece alone."""

    def __init__(self, edit: Edit) -> None:
        self._edit = edit
        self.done = threading.Event()

    def __call__(self, data: bytes) -> bytes:
        if self.done.is_set():
            return data
        self.done.set()
        return self._edit(data)


def flipped(place: int) -> Edit:
    """One bit of this byte, in a piece of any length."""

    def edit(data: bytes) -> bytes:
        changed = bytearray(data)
        changed[place % len(data)] ^= 1
        return bytes(changed)

    return edit


def replaced(old: bytes, new: bytes) -> Edit:
    def edit(data: bytes) -> bytes:
        assert old in data, data
        return data.replace(old, new)

    return edit


HELLO_EDITS = {
    "to room: cannot": ("to room", replaced(b"true", b"false"), "tls"),
    "to room: a key more": ("to room", replaced(b"}", b',"x":1}'), "wrong"),
    "to room: a space more": ("to room", replaced(b"}", b" }"), "wrong"),
    "to room: a carriage return": ("to room", replaced(b"\n", b"\r\n"), "wrong"),
    "from room: open": ("from room", replaced(b'"tls":true', b'"tls":false'), "open"),
    "from room: open, as open rooms say it": ("from room", lambda _hello: OLD_HELLO, "open"),
    "from room: another salt": ("from room", lambda _hello: SALTY_HELLO, "wrong"),
    "from room: a key more": ("from room", replaced(b"}", b',"x":1}'), "wrong"),
    "from room: a space more": ("from room", replaced(b"}", b" }"), "wrong"),
    "from room: go away": ("from room", lambda _hello: b'{"type":"refused","code":"removed","reason":""}\n', "removed"),
}


EDITS_OF_EACH_KIND = [edit for edit in HELLO_EDITS if edit.endswith((": cannot", "space more", "open", "salt", "away"))]


@needs_tls
@pytest.mark.parametrize("edit", HELLO_EDITS)
def test_whoever_edits_a_hello_line_only_keeps_people_out(room: Room, visit: Visit, edit: str) -> None:
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
def test_a_hello_line_edited_on_the_way_back_into_the_room_costs_nothing_that_was_said(
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
def test_who_is_told_that_an_open_room_has_a_password_does_not_tell_his(open_room: Room, visit: Visit) -> None:
    with Proxy(open_room.port) as proxy, Meddler(proxy.port) as meddler:
        meddler.hello["from room"] = lambda _hello: SALTY_HELLO
        assert visit(meddler.port, "Ann", None).is_refused() == "password"
        assert visit(meddler.port, "Ann").is_refused() in ("unproven", "wrong")
        assert b"join" not in proxy.to_room


@needs_tls
@pytest.mark.parametrize("place", [0, RECORD_HEADER, -1])
@pytest.mark.parametrize("way", ["to room", "from room"])
def test_one_flipped_bit_ends_the_connection_and_everything_arrives_once_after_it(
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


@needs_tls
def test_after_five_wrong_passwords_each_one_more_costs_twice_the_wait(room: Room, clock: Clock) -> None:
    for _ in range(4):
        assert guess(room)["type"] == "hello"
    for times, wait in enumerate([2, 4, 8, 16, 32, 60, 60], 5):
        assert guess(room)["type"] == "hello"
        told = expect(room.events, net.WrongPassword)
        assert told == net.WrongPassword(LOOPBACK, times)
        refused = guess(room)
        assert (refused["type"], refused["code"], refused["seconds"]) == ("refused", "wait", wait)
        clock.jump(wait - 1)
        assert guess(room)["seconds"] == 1, "a try in between makes it no longer, and no shorter"
        clock.jump(1)
    assert not [event for event in drain(room.events) if isinstance(event, net.WrongPassword)]


@needs_tls
def test_the_host_is_not_told_of_a_mistake(room: Room, visit: Visit) -> None:
    for _ in range(net.FREE_GUESSES - 1):
        assert visit(room.port, "Ann", "mistyped").is_refused() == "wrong"
    visit(room.port, "Ann").is_in()
    assert not [event for event in drain(room.events) if isinstance(event, net.WrongPassword)]


@needs_tls
def test_the_right_password_makes_good_for_the_wrong_ones(room: Room) -> None:
    for _ in range(3):
        for _ in range(net.FREE_GUESSES - 1):
            assert guess(room)["type"] == "hello"
        with Stranger(room.port) as stranger:
            stranger.join("Ann")
            stranger.send({"type": "leave"})
            while stranger.receive() is not None:
                pass
    for _ in range(net.FREE_GUESSES):
        assert guess(room)["type"] == "hello"
    assert guess(room)["code"] == "wait"


@needs_tls
@pytest.mark.usefixtures("clock")
def test_guessing_for_days_never_becomes_free(room: Room) -> None:
    for _ in range(3_000):
        room.server._count_guess(LOOPBACK)
    assert guess(room)["seconds"] == 60


@needs_tls
@pytest.mark.usefixtures("clock")
def test_guesses_that_are_made_at_the_same_time_are_counted_too(room: Room) -> None:
    strangers = [Stranger(room.port, "not it") for _ in range(10)]
    for stranger in strangers:
        stranger.greet()
    for stranger in strangers:
        with stranger, pytest.raises((ssl.SSLError, ConnectionError)):
            stranger.encrypt()
    expect(room.events, net.WrongPassword, lambda told: told.times == 10)
    assert guess(room)["seconds"] == 60


@needs_tls
def test_who_is_told_to_wait_comes_in_by_himself_when_the_time_is_over(
    room: Room, visit: Visit, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "GUESS_WAITS", (1, 1))
    for _ in range(net.FREE_GUESSES):
        guess(room)
    expect(room.events, net.WrongPassword)
    ann = visit(room.port, "Ann")
    lost = expect(ann.events, net.Lost)
    assert (lost.reason, lost.retry_in) == (net.Trouble.WAIT, 1.0)
    clock.jump(1)
    ann.is_in()


@needs_tls
@pytest.mark.skipif(sys.platform == "darwin", reason="needs a second address of this computer")
def test_guesses_from_one_computer_hold_up_nobody_else(room: Room, visit: Visit, stretched: list[str]) -> None:
    with Proxy(room.port) as proxy:
        ann, bob = visit(proxy.port, "Ann"), visit(proxy.port, "Bob")
        ann.is_in()
        bob.is_in()
        for _ in range(net.FREE_GUESSES):
            assert guess(room, "127.0.0.2")["type"] == "hello"
        assert guess(room, "127.0.0.2")["code"] == "wait"
        assert expect(room.events, net.WrongPassword).address == "127.0.0.2"
        ann.client.say("did you hear that?")
        bob.hears("did you hear that?")
        proxy.cut()
        bob.client.say("no")
        ann.hears("did you hear that?", "no")
        visit(room.port, "Carl").is_in()
    assert len(stretched) == 1 + 3  # the room, and each of the three once


@needs_tls
def test_who_has_guessed_cannot_try_many_passwords_at_once(room: Room) -> None:
    for _ in range(net.FREE_GUESSES - 1):
        guess(room)
    with contextlib.ExitStack() as stack:
        *first, last = (stack.enter_context(Stranger(room.port, "not it")) for _ in range(net.GUESSES_AT_ONCE + 1))
        assert [stranger.greet()["type"] for stranger in first] == ["hello"] * net.GUESSES_AT_ONCE
        assert last.greet()["code"] == "wait"
    until(lambda: not room.server._handshakes, "no handshake is under way any more")
    assert guess(room)["type"] == "hello"


@needs_tls
def test_guesses_from_a_shared_computer_do_not_keep_those_out_who_were_in(room: Room, visit: Visit) -> None:
    with Proxy(room.port) as proxy:
        ann = visit(proxy.port, "Ann")
        ann.is_in()
        proxy.refuse()
        proxy.cut()
        for _ in range(net.FREE_GUESSES):
            assert guess(room)["type"] == "hello"
        proxy.refuse(False)
        ann.is_in()
        ann.close()


# Breaks -----------------------------------------------------------------------


@needs_tls
def test_coming_back_neither_asks_nor_stretches_again(room: Room, visit: Visit, stretched: list[str]) -> None:
    with Proxy(room.port) as proxy:
        ann = visit(proxy.port, "Ann")
        ann.is_in()
        assert stretched == [PASSWORD, PASSWORD]  # the room's, and the client's
        for number in range(5):
            proxy.cut()
            ann.client.say(f"{number}")
            assert expect(ann.events, net.Lost).reason is net.Trouble.GONE
            ann.is_in()
            ann.hears(f"{number}")
        ann.close()
    assert len(stretched) == 2


@needs_tls
def test_a_room_that_was_opened_again_with_the_same_password_is_joined_again(
    room: Room, visit: Visit, stretched: list[str]
) -> None:
    with Proxy(room.port) as proxy:
        ann = visit(proxy.port, "Ann")
        first = ann.is_in()
        other = Room(PASSWORD)
        with other.server:
            proxy.port_behind = other.port
            proxy.cut()
            assert ann.is_in().room != first.room
            ann.close()
    assert len(stretched) == 4  # twice two: it has a salt of its own


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
            room = net.Tls(hmac.digest(cheaply_stretch(PASSWORD, SALT), hello + SALTY_HELLO, "sha256"), is_room=True)
            is_done = False
            while not is_done and stage != "hello":
                is_done, answer = room.shake_hands(sock.recv(4096))
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
        until(lambda: room.server._strangers, "the room knows of it")
        begin = time.monotonic()
        room.server.close()
        assert time.monotonic() - begin < 2.0
        if not isinstance(stranger.socket, ssl.SSLSocket):
            stranger.ends()


@needs_tls
def test_a_client_that_is_closed_while_it_stretches_is_gone_within_two_seconds(
    room: Room, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    def stretch(password: str, salt: str) -> bytes:
        begun.set()
        return really_stretch(password, salt)

    monkeypatch.setattr(net, "stretch", stretch)
    ann = visit(room.port, "Ann")
    assert begun.wait(LIMIT)
    begin = time.monotonic()
    ann.client.close()
    assert ann.client.join(LIMIT)
    assert time.monotonic() - begin < 2.0


@needs_tls
def test_last_words_travel_encrypted_and_arrive(room: Room, visit: Visit) -> None:
    with Proxy(room.port) as proxy:
        ann = visit(proxy.port, "Ann")
        ann.is_in()
        room.server.close("The lesson is over.")
        assert expect(ann.events, net.Closed).reason == "The lesson is over."
        assert b"lesson" not in proxy.from_room
