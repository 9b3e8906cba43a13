"""Other programs that speak the wire format: what the tests of passwords and attacks share.

    visit, refusal_of              a person with this program's own client
    stop_the_limits                seconds that pass only when the test says so
    Stranger, OtherTls             a client of another program, and its TLS
    srp_x ... srp_key              what another program computes from a password
    answer_hello, begin_tls        what a room of another program does
    Impostor                       a room that does not know the password
    PASSWORD, HELLO, SALTY_HELLO   what these programs use and say
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import hmac
import json
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

import pytest

import net
from tests.helpers import LIMIT, Clock, FakeRoom, Guest, Message, Person, Wire, context_of, drain, message, srp_hex


def line(kind: str, **fields: Any) -> bytes:
    """A message as it travels."""
    return json.dumps(message(kind, **fields)).encode() + b"\n"


def password_hello(salt: str | None = None, b: str | None = None) -> bytes:
    """The hello line of a room with a password; a field that is None is left out."""
    fields = {"protocol": net.PROTOCOL, "tls": True, "salt": salt, "b": b}
    return line("hello", **{name: value for name, value in fields.items() if value is not None})


# A room password, from RFC 5054 and the wire format alone ---------------------

# RFC 5054, appendix A: the 2048-bit group, whose generator is 2.
SRP_PRIME = int(
    "AC6BDB41324A9A9BF166DE5E1389582FAF72B6651987EE07FC3192943DB56050A37329CBB4A099ED8193E0757767A13DD52312AB4B03310D"
    "CD7F48A9DA04FD50E8083969EDB767B0CF6095179A163AB3661A05FBD5FAAAE82918A9962F0B93B855F97993EC975EEAA80D740ADBF4FF74"
    "7359D041D5C33EA71D281E446B14773BCA97B43A23FB801676BD207A436C6481F1D2B9078717461A5B9D32E688F87748544523B524B0D57D"
    "5EA77A2775D2ECFA032CFBDBF52FB3786160279004E57AE6AF874E7303CE53299CCC041C7BC308D82A5698F3A8D0C38271AE35F8E9DBFBB6"
    "94B5C803D89F7AE435DE236D525F54759B65E372FCD68EF20FA7111F9E4AFF73",
    16,
)


def srp_hash(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha256(b"".join(parts)).digest(), "big")


SRP_K = srp_hash(SRP_PRIME.to_bytes(256, "big"), (2).to_bytes(256, "big"))


def srp_x(password: str, salt: str) -> int:
    """x: the password, as 6 letters without a dash or in NFC, and the room's salt."""
    return srp_hash(bytes.fromhex(salt), hashlib.sha256(b"chat-room:" + password.encode()).digest())


def srp_public(exponent: int) -> int:
    """A from a; also v from x."""
    return pow(2, exponent, SRP_PRIME)


def srp_public_b(b: int, x: int) -> int:
    """B."""
    return (SRP_K * srp_public(x) + srp_public(b)) % SRP_PRIME


def srp_u(public_a: int, public_b: int) -> int:
    return srp_hash(public_a.to_bytes(256, "big"), public_b.to_bytes(256, "big"))


def srp_client_secret(a: int, x: int, public_b: int) -> int:
    """S, from what a client knows."""
    base = (public_b - SRP_K * srp_public(x)) % SRP_PRIME
    return pow(base, a + srp_u(srp_public(a), public_b) * x, SRP_PRIME)


def srp_room_secret(b: int, x: int, public_a: int) -> int:
    """S, from what a room knows."""
    u = srp_u(public_a, srp_public_b(b, x))
    return pow(public_a * pow(srp_public(x), u, SRP_PRIME) % SRP_PRIME, b, SRP_PRIME)


def srp_key(secret: int, client_hello: bytes, room_hello: bytes) -> bytes:
    """The pre-shared key of TLS. Both lines with their newline."""
    shared = hashlib.sha256(secret.to_bytes(256, "big")).digest()
    return hmac.digest(shared, client_hello + room_hello, "sha256")


# What these programs use and say ----------------------------------------------

PASSWORD = "k7m-w3h"
BARE = "k7mw3h"  # as it goes into the key
SALT = bytes(range(16)).hex()
A, B = int("5a" * 32, 16), int("3c" * 32, 16)  # the secret exponents of another program, always the same
HELLO = line("hello", protocol=net.PROTOCOL, tls=True, a=srp_hex(srp_public(A)))
SALTY_HELLO = password_hello(SALT, srp_hex(srp_public_b(B, srp_x(BARE, SALT))))

# This program -----------------------------------------------------------------


def visit(
    stack: contextlib.ExitStack, port: int, name: str = "Ann", password: str | None = PASSWORD, **settings: Any
) -> Person:
    """Send a person to this port; they leave when the stack closes."""
    return stack.enter_context(contextlib.closing(Person(name, port, password=password, **settings)))


def refusal_of(person: Person) -> str:
    """The code of the refusal with which the client ended; nothing of the room was shown."""
    assert person.client.join(LIMIT), "the client goes on"
    events = drain(person.events)
    assert {type(event) for event in events} <= {net.Sending, net.Rejected, net.Refused, net.Lost}
    (refused,) = (event for event in events if isinstance(event, net.Refused))
    return str(refused.code)


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
            return False, self._outgoing.read()
        return True, self._outgoing.read()

    def encrypt(self, plain: bytes) -> bytes:
        self.object.write(plain)
        return self._outgoing.read()

    def decrypt(self, received: bytes) -> bytes:
        self._incoming.write(received)
        return self.object.read()

    def end(self) -> bytes:
        """The record with which other programs end TLS ("close_notify")."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.object.unwrap()
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
        received = self.receive_line()
        assert received is not None, "the connection ended instead of an answer to hello"
        self.room_hello = received + b"\n"
        return dict(json.loads(received))

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


# Rooms of other programs ------------------------------------------------------


def answer_hello(fake: FakeRoom, answer: bytes) -> tuple[Guest, bytes]:
    """Answer the next client's hello with this line; the client, and its hello line."""
    guest = fake.accepts()
    hello = guest.receive_line()
    assert hello is not None, "the connection ended instead of hello"
    guest.send_bytes(answer)
    return guest, hello + b"\n"


def begin_tls(fake: FakeRoom) -> Guest:
    """Exchange hello lines with the next client, and prove that this room knows the password."""
    guest, hello = answer_hello(fake, SALTY_HELLO)
    secret = srp_room_secret(B, srp_x(BARE, SALT), int(json.loads(hello)["a"], 16))
    context = context_of(ssl.PROTOCOL_TLS_SERVER, srp_key(secret, hello, SALTY_HELLO))
    guest.socket = context.wrap_socket(guest.socket, server_side=True)
    return guest


Ending = Callable[[Guest], object]  # what an impostor does to a client that has sent its proof


class Impostor:
    """A room that does not know the password: it takes clients' proofs, and then does `ending`."""

    def __init__(self, fake: FakeRoom, ending: Ending) -> None:
        self.fake = fake
        self.ending = ending
        self.proofs: list[tuple[float, bytes]] = []  # monotonic s, client's hello

    def take_proofs(self, count: int) -> None:
        while len(self.proofs) < count:
            guest, hello = answer_hello(self.fake, SALTY_HELLO.replace(SALT.encode(), SALT[::-1].encode()))
            if guest.socket.recv(1, socket.MSG_PEEK):
                self.proofs.append((time.monotonic(), hello))
                self.ending(guest)

    def check_that_later_proofs_took_time(self) -> None:
        times = [when for when, _ in self.proofs]
        for earlier, later in zip(times[net.PROOFS - 1 :], times[net.PROOFS :], strict=False):
            assert later - earlier >= net.PROOF_WAIT - 0.01  # a clock may be read a moment before or after the wait


def hang_up(guest: Guest) -> None:
    guest.close()


def be_silent(_guest: Guest) -> None:
    """The connection stays open."""


def say_wrong(guest: Guest) -> None:
    """With the alert that a room sends to a wrong password: whoever answers can send it."""
    guest.send_bytes(b"\x15\x03\x03\x00\x02\x02\x33")  # decrypt_error


def send_too_much(guest: Guest) -> None:
    """More bytes than any handshake has, all at once."""
    with contextlib.suppress(ConnectionError):
        guest.send_bytes(b"\x16\x03\x03\x40\x00" + bytes(128 * 1024))


def use_no_key(guest: Guest) -> None:
    with pytest.raises(ssl.SSLError):
        context_of(ssl.PROTOCOL_TLS_SERVER, None).wrap_socket(guest.socket, server_side=True)
