"""What a room password is worth: SRP-6a, and who learns what from a recording, a guess, or an impostor.

The known answers are those of RFC 5054. Everything else meets a client, a room and an impostor of another program that
know only the RFC and the wire format (see helpers.py). How well the encryption holds is in test_encryption.py.
"""

from __future__ import annotations

import hashlib
import json
import queue
import re
import socket
import ssl
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import net
from tests.conftest import OpenRoom
from tests.helpers import (
    LIMIT,
    LOOPBACK,
    SRP_PRIME,
    Message,
    Proxy,
    Wire,
    context_of,
    drain,
    expect,
    needs_tls,
    srp_client_secret,
    srp_hex,
    srp_key,
    srp_public,
    srp_public_b,
    srp_room_secret,
    srp_x,
    until,
)
from tests.test_encryption import (
    BARE,
    HELLO,
    PASSWORD,
    SALT,
    SALTY_HELLO,
    A,
    B,
    OtherTls,
    Stranger,
    Visit,
    fake_room,
    key_of_room,
    line,
    read_line,
    read_to_the_end,
    visit,  # noqa: F401 - a fixture
    welcome_line,
)

TITLE = "Mr Lee's room"
# What an attacker tries; the real password is among them.
DICTIONARY = ["123456", "password", "chemistry", "mrlee", "blackboard", BARE, "k7mw3j", "teacher", "school", "summer"]

# Passwords --------------------------------------------------------------------


def test_a_suggested_password_is_six_letters_and_digits_with_a_dash_and_is_not_easy_to_guess() -> None:
    suggested = [net.suggest_password() for _ in range(5000)]
    three = "[2-9a-hjkmnp-tv-z]{3}"  # no 0, 1, i, l, o, u
    assert all(re.fullmatch(f"{three}-{three}", password) for password in suggested)
    assert len(set(suggested)) > 4990
    assert len(set("".join(suggested)) - {"-"}) == 30
    assert not [password for password in suggested if net.is_weak_password(password)]


@pytest.mark.parametrize("typed", ["k7mw3h", "K7M-W3H", " k7m w3h\t", "k-7-m\u00a0w-3h-", "K7Mw3H"])
def test_a_suggested_password_may_be_typed_without_the_dash_with_spaces_and_in_capitals(typed: str) -> None:
    assert net.clean_password(typed) == net.clean_password(PASSWORD) == BARE


@pytest.mark.parametrize("own", ["Open Sesame", " two  spaces ", "with-dashes", "K7M-W30", "K7M-W3HH", "K7M-W3"])
def test_any_other_password_keeps_case_spaces_and_dashes(own: str) -> None:
    assert net.clean_password(own) == own


def test_a_password_is_the_same_however_a_keyboard_writes_its_accents() -> None:
    typed = [unicodedata.normalize(form, "Crème brûlée") for form in ("NFC", "NFD")]
    assert typed[0] != typed[1]
    assert [net.clean_password(each) for each in typed] == ["Crème brûlée"] * 2


def test_half_a_surrogate_pair_in_a_password_does_no_harm() -> None:
    assert net.clean_password("caf\ud83d") == "caf\ufffd"


@pytest.mark.parametrize("weak", ["", "a7", "k7m-w", "12345678", "2345-67", "chemistry", "Chemistry", "königin"])
def test_short_passwords_digits_alone_and_single_words_are_easy_to_guess(weak: str) -> None:
    assert net.is_weak_password(weak)


@pytest.mark.parametrize("strong", ["k7m-w3h", "open sesame", "chem1stry", "red blue 7"])
def test_other_passwords_are_not_easy_to_guess(strong: str) -> None:
    assert not net.is_weak_password(strong)


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


def test_only_a_python_that_can_encrypt_says_so() -> None:
    if sys.version_info < (3, 13):
        assert not net.CAN_ENCRYPT
    else:
        assert net.CAN_ENCRYPT == ssl.HAS_PSK


# Known answers ----------------------------------------------------------------


def number(text: str) -> int:
    return int("".join(text.split()), 16)


class Rfc5054:
    """Appendix B: SHA-1, the 1024-bit group of appendix A, "alice" and "password123"."""

    N = number("""
        EEAF0AB9 ADB38DD6 9C33F80A FA8FC5E8 60726187 75FF3C0B 9EA2314C 9C256576 D674DF74 96EA81D3 383B4813 D692C6E0
        E0D5D8E2 50B98BE4 8E495C1D 6089DAD1 5DC7D7B4 6154D6B6 CE8EF4AD 69B15D49 82559B29 7BCF1885 C529F566 660E57EC
        68EDBC3C 05726CC0 2FD4CBF4 976EAA9A FD5138FE 8376435B 9FC61D2F C0EB06E3""")
    salt = bytes.fromhex("BEB25379D1A8581EB5A727673A2441EE")
    k = number("7556AA04 5AEF2CDD 07ABAF0F 665C3E81 8913186F")
    x = number("94B7555A ABE9127C C58CCF49 93DB6CF8 4D16C124")
    v = number("""
        7E273DE8 696FFC4F 4E337D05 B4B375BE B0DDE156 9E8FA00A 9886D812 9BADA1F1 822223CA 1A605B53 0E379BA4 729FDC59
        F105B478 7E5186F5 C671085A 1447B52A 48CF1970 B4FB6F84 00BBF4CE BFBB1681 52E08AB5 EA53D15C 1AFF87B2 B9DA6E04
        E058AD51 CC72BFC9 033B564E 26480D78 E955A5E2 9E7AB245 DB2BE315 E2099AFB""")
    a = number("60975527 035CF2AD 1989806F 0407210B C81EDC04 E2762A56 AFD529DD DA2D4393")
    b = number("E487CB59 D31AC550 471E81F0 0F6928E0 1DDA08E9 74A004F4 9E61F5D1 05284D20")
    A = number("""
        61D5E490 F6F1B795 47B0704C 436F523D D0E560F0 C64115BB 72557EC4 4352E890 3211C046 92272D8B 2D1A5358 A2CF1B6E
        0BFCF99F 921530EC 8E393561 79EAE45E 42BA92AE ACED8251 71E1E8B9 AF6D9C03 E1327F44 BE087EF0 6530E69F 66615261
        EEF54073 CA11CF58 58F0EDFD FE15EFEA B349EF5D 76988A36 72FAC47B 0769447B""")
    B = number("""
        BD0C6151 2C692C0C B6D041FA 01BB152D 4916A1E7 7AF46AE1 05393011 BAF38964 DC46A067 0DD125B9 5A981652 236F99D9
        B681CBF8 7837EC99 6C6DA044 53728610 D0C6DDB5 8B318885 D7D82C7F 8DEB75CE 7BD4FBAA 37089E6F 9C6059F3 88838E7A
        00030B33 1EB76840 910440B1 B27AAEAE EB4012B7 D7665238 A8E3FB00 4B117B58""")
    u = number("CE38B959 3487DA98 554ED47D 70A7AE5F 462EF019")
    S = number("""
        B0DC82BA BCF30674 AE450C02 87745E79 90A3381F 63B387AA F271A10D 233861E3 59B48220 F7C4693C 9AE12B0A 6F67809F
        0876E2D0 13800D6C 41BB59B6 D5979B5C 00A172B4 A2A5903A 0BDCAF8A 709585EB 2AFAFA8F 3499B200 210DCC1F 10EB3394
        3CD67FC8 8A2F39A4 BE5BEC4E C0A3212D C346D7E4 74B29EDE 8A469FFE CA686E5A""")


def test_every_value_of_the_example_in_rfc_5054_is_computed() -> None:
    rfc = Rfc5054
    srp = net.Srp(rfc.N, 2, "sha1", "alice")
    assert srp.k == rfc.k
    assert srp.x(rfc.salt, "password123") == rfc.x
    assert srp.power(rfc.x) == rfc.v
    assert srp.power(rfc.a) == rfc.A
    assert srp.public_b(rfc.v, rfc.b) == rfc.B
    assert srp.u(rfc.A, rfc.B) == rfc.u
    assert srp.client_secret(rfc.a, rfc.x, rfc.A, rfc.B) == rfc.S
    assert srp.room_secret(rfc.b, rfc.v, rfc.A, rfc.B) == rfc.S


def test_the_rooms_group_is_the_2048_bit_group_of_rfc_5054() -> None:
    assert (net.SRP.prime, net.SRP.generator) == (SRP_PRIME, 2)
    half = SRP_PRIME // 2
    for base in (2, 3, 5, 7, 11):  # both are prime
        assert pow(base, SRP_PRIME - 1, SRP_PRIME) == 1
        assert pow(base, half - 1, half) == 1


@pytest.mark.parametrize("password", [BARE, "Open Sesame", "пароль 密码"])
def test_both_sides_compute_what_another_program_computes(password: str) -> None:
    x = net.SRP.x(bytes.fromhex(SALT), password)
    assert x == srp_x(password, SALT)
    public_a, public_b = net.SRP.power(A), net.SRP.public_b(net.SRP.power(x), B)
    assert (public_a, public_b) == (srp_public(A), srp_public_b(B, x))
    secret = net.SRP.client_secret(A, x, public_a, public_b)
    assert secret == net.SRP.room_secret(B, net.SRP.power(x), public_a, public_b)
    assert secret == srp_client_secret(A, x, public_b) == srp_room_secret(B, x, public_a)
    assert net.session_key(secret, HELLO[:-1], SALTY_HELLO[:-1]) == srp_key(secret, HELLO, SALTY_HELLO)


ZERO_A = 2**255 + 85  # with the other fixed values, S begins with a byte of zeros


def test_a_secret_that_begins_with_a_zero_byte_is_padded() -> None:
    x = srp_x(BARE, SALT)
    public_a, public_b = srp_public(ZERO_A), srp_public_b(B, x)
    secret = srp_client_secret(ZERO_A, x, public_b)
    assert secret.bit_length() <= 2040, "the example is right"
    assert net.SRP.client_secret(ZERO_A, x, public_a, public_b) == secret
    assert net.SRP.room_secret(B, net.SRP.power(x), public_a, public_b) == secret
    assert net.SRP.pad(secret) == secret.to_bytes(256, "big")
    assert net.session_key(secret, HELLO[:-1], SALTY_HELLO[:-1]) == srp_key(secret, HELLO, SALTY_HELLO)


@pytest.mark.parametrize(
    ("public_a", "public_b"),
    [(0, 4), (4, 0), (SRP_PRIME, 4), (4, SRP_PRIME), (2 * SRP_PRIME, 4), (SRP_PRIME + 1, 4), (4, SRP_PRIME + 1)],
)
def test_values_that_would_make_the_secret_known_to_everyone_are_refused(public_a: int, public_b: int) -> None:
    with pytest.raises((ValueError, OverflowError)):
        net.SRP.u(public_a, public_b)
    with pytest.raises((ValueError, OverflowError)):
        net.SRP.client_secret(A, 1, public_a, public_b)
    with pytest.raises((ValueError, OverflowError)):
        net.SRP.room_secret(B, 1, public_a, public_b)


def test_a_u_of_zero_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Zeros:
        def __init__(self, *_what: object) -> None:
            """Of whatever one asks."""

        def digest(self) -> bytes:
            return bytes(32)

    monkeypatch.setattr(hashlib, "new", Zeros)
    with pytest.raises(ValueError, match="out of range"):
        net.SRP.u(4, 4)


def test_the_exponents_of_a_connection_are_256_random_bits() -> None:
    drawn = [net.private_exponent() for _ in range(1000)]
    assert len(set(drawn)) == 1000
    assert max(drawn).bit_length() == 256
    ones = [sum(exponent >> bit & 1 for exponent in drawn) for bit in range(256)]
    assert 300 < min(ones) <= max(ones) < 700, "each bit is 0 as often as 1"


def test_the_exponent_that_depends_on_the_password_is_another_one_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of `pow` depends on its exponent; the result of blinding is the same, the time is not."""
    exponents: list[int] = []

    def watch(base: int, exponent: int, modulus: int) -> int:
        if base == 2:
            exponents.append(exponent)
        return pow(base, exponent, modulus)

    monkeypatch.setattr(net, "pow", watch, raising=False)
    x = srp_x(BARE, SALT)
    public_b = srp_public_b(B, x)
    secrets = {net.SRP.client_secret(A, x, srp_public(A), public_b) for _ in range(5)}
    assert secrets == {srp_client_secret(A, x, public_b)}
    assert len(set(exponents)) == len(exponents) == 5
    assert {exponent % (SRP_PRIME - 1) for exponent in exponents} == {x}


# Other programs ---------------------------------------------------------------


@needs_tls
def test_each_room_has_a_salt_of_its_own(open_room: OpenRoom) -> None:
    room, other = open_room(password=PASSWORD), open_room(password=PASSWORD)
    with Stranger(room.port) as here, Stranger(other.port) as there, Stranger(room.port) as again:
        salts = [stranger.greet()["salt"] for stranger in (here, there, again)]
    assert salts[0] == salts[2] != salts[1]


@needs_tls
def test_a_client_of_another_program_joins(open_room: OpenRoom, visit: Visit) -> None:  # noqa: F811
    room = open_room(TITLE, password="K7MW3H")
    with Stranger(room.port) as stranger:
        assert stranger.join("Ann")["title"] == TITLE
        assert isinstance(stranger.socket, ssl.SSLSocket)
        assert stranger.socket.session_reused, "the password was used, and not a certificate"
        assert stranger.socket.version() == "TLSv1.3"
        bob = visit(room.port, "Bob")
        bob.is_in()
        stranger.say(1, "hello from elsewhere")
        bob.hears("hello from elsewhere")
        bob.client.say("hello back")
        assert [stranger.receive_until("said")["text"] for _ in range(2)] == ["hello from elsewhere", "hello back"]


@needs_tls
def test_a_room_of_another_program_is_joined(visit: Visit) -> None:  # noqa: F811
    heard: queue.SimpleQueue[Message] = queue.SimpleQueue()

    def serve(sock: socket.socket) -> None:
        hello = read_line(sock)
        sock.sendall(SALTY_HELLO)
        context = context_of(ssl.PROTOCOL_TLS_SERVER, key_of_room(hello))
        with context.wrap_socket(sock, server_side=True) as tls, tls.makefile("rwb", buffering=0) as lines:
            join = json.loads(lines.readline())
            heard.put(join)
            lines.write(welcome_line(join["name"]))
            say = json.loads(lines.readline())
            heard.put(say)
            said = {"number": 1, "time": 1.0, "who": 2, "name": join["name"], "id": say["id"], "text": say["text"]}
            lines.write(line("said", **said))
            heard.put(json.loads(lines.readline()))

    with fake_room(serve) as port:
        ann = visit(port, "Ann", "k7m w3h")
        assert ann.is_in().title == "A room from elsewhere"
        ann.client.say("hello")
        ann.hears("hello")
        ann.close()
    assert [heard.get(timeout=LIMIT)["type"] for _ in range(3)] == ["join", "say", "leave"]


@needs_tls
@pytest.mark.parametrize("password", ["Open Sesame", "Crème brûlée", "пароль 密码"])
def test_a_client_of_another_program_joins_with_a_password_in_any_script(password: str, open_room: OpenRoom) -> None:
    room = open_room(TITLE, password=unicodedata.normalize("NFD", password))
    with Stranger(room.port, password) as stranger:
        assert stranger.join("Ann")["title"] == TITLE


@needs_tls
def test_a_secret_that_begins_with_a_zero_byte_opens_a_room(
    visit: Visit, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    monkeypatch.setattr(net, "private_exponent", lambda: ZERO_A)

    def serve(sock: socket.socket) -> None:
        hello = read_line(sock)
        sock.sendall(SALTY_HELLO)
        context = context_of(ssl.PROTOCOL_TLS_SERVER, key_of_room(hello))
        with context.wrap_socket(sock, server_side=True) as tls, tls.makefile("rwb", buffering=0) as lines:
            lines.write(welcome_line(json.loads(lines.readline())["name"]))
            lines.readline()

    with fake_room(serve) as port:
        ann = visit(port, "Ann")
        ann.is_in()
        ann.close()


@needs_tls
def test_each_connection_has_exponents_of_its_own(
    open_room: OpenRoom, visit: Visit, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    monkeypatch.setattr(net, "RETRIES", (0.0,))
    with Proxy(open_room(password=PASSWORD).port) as proxy:
        ann = visit(proxy.port, "Ann")
        ann.is_in()
        for _ in range(3):
            proxy.cut()
            ann.is_in()
        ann.close()
        sent, received = hellos_in(proxy.to_room), hellos_in(proxy.from_room)
    assert len({hello["a"] for hello in sent}) == len(sent) == 4
    assert len({hello["b"] for hello in received}) == 4
    assert len({hello["salt"] for hello in received}) == 1


def hellos_in(record: bytearray) -> list[Message]:
    return [json.loads(each) for each in re.findall(rb'\{"type":"hello"[^\n]*\}\n', bytes(record))]


# Values that no honest program sends ------------------------------------------

TOO_LARGE = {"N": srp_hex(SRP_PRIME), "N + 1": srp_hex(SRP_PRIME + 1), "the largest": "f" * 512}
MALFORMED = {
    "2 N, which has 513 digits": f"{2 * SRP_PRIME:x}",
    "in capitals": srp_hex(srp_public(A)).upper(),
    "511 digits": srp_hex(4)[1:],
    "513 digits": "0" + srp_hex(4),
    "empty": "",
    "no digits": "g" * 512,
    "a newline more": srp_hex(4) + "\n",
    "a number": 4,
    "a list": [4],
}


@needs_tls
@pytest.mark.parametrize("what", ["0", *TOO_LARGE, *MALFORMED])
def test_a_room_refuses_a_client_with_a_bad_value(open_room: OpenRoom, visit: Visit, what: str) -> None:  # noqa: F811
    values: dict[str, Any] = {"0": srp_hex(0), **TOO_LARGE, **MALFORMED}
    events: net.Events = queue.Queue()
    room = open_room(password=PASSWORD, events=events)
    with Wire(room.port) as wire:
        answer = wire.hello(tls=True, a=values[what])
        assert (answer["type"], answer["code"]) == ("refused", "bad")
        assert wire.receive() is None
    visit(room.port, "Ann").is_in()
    assert not [event for event in drain(events) if isinstance(event, net.WrongPassword)]


BAD_HELLOS: dict[str, tuple[dict[str, Any], bool]] = {  # of a room; and whether it is written as a room writes it
    "b 0": ({"salt": SALT, "b": srp_hex(0)}, True),
    **{f"b {what}": ({"salt": SALT, "b": value}, True) for what, value in TOO_LARGE.items()},
    "no b": ({"salt": SALT}, True),
    "no salt": ({"b": srp_hex(4)}, True),
    "neither": ({}, True),
    **{f"b {what}": ({"salt": SALT, "b": value}, False) for what, value in MALFORMED.items()},
    "salt of 31 digits": ({"salt": "0" * 31, "b": srp_hex(4)}, False),
    "salt of 33 digits": ({"salt": "0" * 33, "b": srp_hex(4)}, False),
    "salt without digits": ({"salt": "g" * 32, "b": srp_hex(4)}, False),
    "salt with a newline": ({"salt": SALT + "\n", "b": srp_hex(4)}, False),
    "empty salt": ({"salt": "", "b": srp_hex(4)}, False),
}


@needs_tls
@pytest.mark.parametrize("what", BAD_HELLOS)
def test_a_client_sends_no_proof_to_a_room_with_a_bad_value(visit: Visit, what: str) -> None:  # noqa: F811
    fields, is_well_formed = BAD_HELLOS[what]
    received: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def serve(sock: socket.socket) -> None:
        read_line(sock)
        sock.sendall(line("hello", protocol=net.PROTOCOL, tls=True, **fields))
        received.put(read_to_the_end(sock))

    with fake_room(serve) as port:
        ann = visit(port, "Ann")
        if is_well_formed:
            assert ann.is_refused() == "unproven"
        else:
            assert expect(ann.events, net.Lost).reason is net.Trouble.NOT_A_ROOM
            ann.close()
        assert received.get(timeout=LIMIT) == b""


@needs_tls
def test_a_client_without_a_password_gets_the_salt_and_nothing_to_guess_with(open_room: OpenRoom) -> None:
    room = open_room(password=PASSWORD)
    with Wire(room.port) as wire:
        answer = wire.hello(tls=True)
        assert (answer["type"], answer["tls"]) == ("hello", True)
        assert re.fullmatch("[0-9a-f]{32}", answer["salt"])
        assert "b" not in answer
        assert wire.receive() is None


# A recording ------------------------------------------------------------------


def proof_of(recording: bytes) -> bytes:
    """TLS's first record after the client's hello: it contains the proof ("binder")."""
    record = recording.partition(b"\n")[2]
    return record[: 5 + int.from_bytes(record[3:5], "big")]


def fits(key: bytes, proof: bytes) -> bool:
    """Whether this key made the proof: what anyone can check with a recording in hand."""
    try:
        OtherTls(ssl.PROTOCOL_TLS_SERVER, key).handshake_step(proof)
    except ssl.SSLError as error:
        return error.reason != "BINDER_DOES_NOT_VERIFY"
    return True


def secrets_without_exponents(x: int, public_a: int, public_b: int) -> list[int]:
    """All that a word of the dictionary gives to someone who knows neither a nor b, from the formulas of S.

    With 0 and 1 in place of the exponents, and with the public values in place of what they hide.
    """
    v = srp_public(x)
    hidden = (public_b - srp_public_b(0, x) + 1) % SRP_PRIME  # g^b, if the word is right
    found = [srp_client_secret(a, x, public_b) for a in (0, 1)] + [srp_room_secret(b, x, public_a) for b in (0, 1)]
    return [*found, v, public_a, public_b, hidden, public_a * v % SRP_PRIME, public_a * hidden % SRP_PRIME]


@needs_tls
def test_nobody_can_find_the_password_from_a_recording(open_room: OpenRoom) -> None:
    with Proxy(open_room(password=PASSWORD).port) as proxy:
        with Stranger(proxy.port) as stranger:
            stranger.join("Ann")
        until(lambda: proxy.connections == 0, "all has been recorded")
        sent, received = bytes(proxy.to_room), bytes(proxy.from_room)
    hello, answer = (recording.partition(b"\n")[0] + b"\n" for recording in (sent, received))
    public_a, public_b = int(json.loads(hello)["a"], 16), int(json.loads(answer)["b"], 16)
    salt = json.loads(answer)["salt"]
    proof = proof_of(sent)
    assert fits(stranger.key, proof), "with the right key, the attack would succeed"
    insider = srp_key(srp_client_secret(A, srp_x(BARE, salt), public_b), hello, answer)
    assert fits(insider, proof), "with the client's exponent, too"
    assert BARE in DICTIONARY
    for word in DICTIONARY:
        x = srp_x(word, salt)
        for secret in secrets_without_exponents(x, public_a, public_b):
            assert not fits(srp_key(secret, hello, answer), proof)
        # Every word explains B equally well: g generates the whole group, so some b leads from this word to this B.
        assert (public_b - srp_public_b(0, x) + 1) % SRP_PRIME != 0
    assert pow(2, SRP_PRIME // 2, SRP_PRIME) == SRP_PRIME - 1, "g generates the whole group"


# An impostor ------------------------------------------------------------------


class Impostor:
    """A room that does not know the password: it bets on a word, takes the client's proof, and does `ending`."""

    def __init__(self, word: str, ending: Callable[[socket.socket], None]) -> None:
        self.word = word
        self.ending = ending
        self.proofs: list[tuple[float, bytes, bytes, bytes]] = []  # monotonic s, client's hello, own hello, proof

    def __call__(self, sock: socket.socket) -> None:
        hello = read_line(sock)
        public_b = srp_public_b(B, srp_x(self.word, SALT))
        answer = line("hello", protocol=net.PROTOCOL, tls=True, salt=SALT, b=srp_hex(public_b))
        sock.sendall(answer)
        head = b""
        while len(head) < 5 and (more := sock.recv(5 - len(head))):
            head += more
        if len(head) < 5:  # nobody: the test ends it
            return
        proof = head
        while len(proof) < 5 + int.from_bytes(head[3:], "big"):
            proof += sock.recv(4096)
        self.proofs.append((time.monotonic(), hello, answer, proof))
        self.ending(sock)

    def words_that_fit(self) -> list[str]:
        """Checks the whole dictionary against the newest proof, as an impostor that knows b can."""
        _, hello, answer, proof = self.proofs[-1]
        public_a, public_b = int(json.loads(hello)["a"], 16), int(json.loads(answer)["b"], 16)
        found = []
        for word in DICTIONARY:
            x = srp_x(word, SALT)
            guessed = [srp_room_secret(B, x, public_a)]  # as if B had been made from this word
            # ... with the u of the B that was really sent
            u = int.from_bytes(hashlib.sha256(bytes.fromhex(srp_hex(public_a) + srp_hex(public_b))).digest(), "big")
            guessed.append(pow(public_a * pow(srp_public(x), u, SRP_PRIME) % SRP_PRIME, B, SRP_PRIME))
            if any(fits(srp_key(secret, hello, answer), proof) for secret in guessed):
                found.append(word)
        return found


def hang_up(_sock: socket.socket) -> None:
    """The impostor closes the connection without a word."""


def be_silent(sock: socket.socket) -> None:
    read_to_the_end(sock)


def say_wrong(sock: socket.socket) -> None:
    """With the alert that a room sends to a wrong password: whoever answers can send it."""
    sock.sendall(b"\x15\x03\x03\x00\x02\x02\x33")  # decrypt_error
    read_to_the_end(sock)


def send_too_much(sock: socket.socket) -> None:
    """More bytes than the client takes from anyone it does not know, all at once."""
    sock.sendall(b"\x16\x03\x03\x40\x00" + bytes(2 * net.MAX_BYTES_UNJOINED))
    read_to_the_end(sock)


def send_an_unfinished_record(sock: socket.socket) -> None:
    sock.sendall(b"\x16\x03\x03\x40\x00" + bytes(100))


ENDINGS = [hang_up, be_silent, say_wrong, send_too_much, send_an_unfinished_record]


@needs_tls
@pytest.mark.parametrize(("word", "found"), [(BARE, [BARE]), ("chemistry", [])], ids=["the right one", "a wrong one"])
def test_an_impostor_can_test_one_word_with_each_attempt_to_join(
    visit: Visit, word: str, found: list[str]  # noqa: F811
) -> None:
    impostor = Impostor(word, say_wrong)
    with fake_room(impostor) as port:
        assert visit(port, "Ann").is_refused() == "wrong"
    assert len(impostor.proofs) == 1
    assert impostor.words_that_fit() == found


@needs_tls
@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.__name__)
def test_an_impostor_gets_at_most_five_proofs_until_a_first_join_ends(
    visit: Visit, ending: Callable[[socket.socket], None], monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    monkeypatch.setattr(net, "RETRIES", (0.0,))
    if ending is be_silent:
        monkeypatch.setattr(net, "FIRST_MESSAGE", 0.5)
    impostor = Impostor("chemistry", ending)
    with fake_room(impostor) as port:
        ann = visit(port, "Ann")
        ann.client.say("a secret")
        assert ann.client.join(LIMIT), "the client gives up"
        (refused,) = (event for event in drain(ann.events) if isinstance(event, net.Refused))
    assert refused.code == ("wrong" if ending is say_wrong else "unproven")
    assert 1 <= len(impostor.proofs) <= net.PROOFS == 5
    assert len({hello for _, hello, _, _ in impostor.proofs}) == len(impostor.proofs), "each with an `a` of its own"


@needs_tls
@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.__name__)
def test_an_impostor_gets_five_proofs_and_then_one_a_minute_while_a_person_returns(
    open_room: OpenRoom,
    visit: Visit,  # noqa: F811
    ending: Callable[[socket.socket], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert net.PROOF_WAIT == 60.0
    monkeypatch.setattr(net, "PROOF_WAIT", 0.4)
    monkeypatch.setattr(net, "RETRIES", (0.0,))
    impostor = Impostor("chemistry", ending)
    with Proxy(open_room(password=PASSWORD).port) as proxy, fake_room(impostor) as port:
        ann = visit(proxy.port, "Ann")
        ann.is_in()
        if ending is be_silent:
            monkeypatch.setattr(net, "FIRST_MESSAGE", 0.3)
        real, proxy.port_behind = proxy.port_behind, port
        proxy.cut()
        ann.client.say("meanwhile")
        until(lambda: len(impostor.proofs) >= net.PROOFS + 3, "the client keeps trying")
        monkeypatch.setattr(net, "FIRST_MESSAGE", LIMIT)
        proxy.port_behind = real
        ann.is_in()
        ann.hears("meanwhile")
        ann.close()
    times = [when for when, _, _, _ in impostor.proofs]
    for earlier, later in zip(times[net.PROOFS - 1 :], times[net.PROOFS :], strict=False):
        assert later - earlier >= 0.39  # a clock may be read a moment before or after the wait


@needs_tls
def test_after_a_success_every_failure_means_that_the_other_side_cannot_prove_it(
    open_room: OpenRoom, visit: Visit, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    """Even one that says "wrong": no other password is asked for, and the visit is not over."""
    monkeypatch.setattr(net, "RETRIES", (0.0,))
    other = open_room(password="another password")
    with Proxy(open_room(password=PASSWORD).port) as proxy:
        ann = visit(proxy.port, "Ann")
        ann.is_in()
        real, proxy.port_behind = proxy.port_behind, other.port
        proxy.cut()
        assert expect(ann.events, net.Lost).reason is net.Trouble.GONE
        assert expect(ann.events, net.Lost).reason is net.Trouble.UNPROVEN
        proxy.port_behind = real
        ann.is_in()
        ann.close()


@needs_tls
def test_an_impostor_at_the_address_to_which_a_room_moved_must_prove_itself_too(
    open_room: OpenRoom, visit: Visit  # noqa: F811
) -> None:
    room = open_room(password=PASSWORD)
    ann = visit(room.port, "Ann")
    ann.is_in()
    with fake_room(Impostor("chemistry", say_wrong)) as port:
        ann.client.move(LOOPBACK, port)
        expect(ann.events, net.Lost, lambda lost: lost.reason is net.Trouble.UNPROVEN)
        ann.client.move(LOOPBACK, room.port)
        ann.is_in()
        ann.close()


@needs_tls
@pytest.mark.parametrize("files", [1, 4])
def test_transfers_together_give_an_impostor_five_proofs_and_then_one_a_minute(
    open_room: OpenRoom, visit: Visit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: int  # noqa: F811
) -> None:
    monkeypatch.setattr(net, "PROOF_WAIT", 0.4)
    monkeypatch.setattr(net, "RETRIES", (0.0,))
    (tmp_path / "a.txt").write_text("a file")
    impostor = Impostor("chemistry", say_wrong)
    with Proxy(open_room(password=PASSWORD).port) as proxy, fake_room(impostor) as port:
        ann = visit(proxy.port, "Ann")
        ann.is_in()
        real, proxy.port_behind = proxy.port_behind, port  # only new connections meet the impostor
        for _ in range(files):
            ann.client.share(str(tmp_path / "a.txt"))
        until(lambda: len(impostor.proofs) >= net.PROOFS + 3, "the transfers keep trying")
        proxy.port_behind = real
        for _ in range(files):
            expect(ann.events, net.Uploaded)
        ann.close()
    times = [when for when, _, _, _ in impostor.proofs]
    for earlier, later in zip(times[net.PROOFS - 1 :], times[net.PROOFS :], strict=False):
        assert later - earlier >= 0.39


# What it costs the room -------------------------------------------------------


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """An entry for each B that a room computed."""
    made: list[int] = []
    really = net.Guesses.public_b

    def count(guesses: net.Guesses, address: str, b: int) -> int:
        made.append(b)
        return really(guesses, address, b)

    monkeypatch.setattr(net.Guesses, "public_b", count)
    return made


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> Iterator[net.Server]:
    """A room that lets four new people in from an address, and then nobody for longer than any test takes."""
    monkeypatch.setattr(net, "NEWCOMERS", (4.0, 0.001))
    with net.run_server(TITLE, host_name="Mr Lee", host=LOOPBACK, port=0, password=PASSWORD) as server:
        yield server


@needs_tls
def test_a_strangers_hello_counts_as_a_newcomer_before_anything_is_computed(
    brisk: net.Server, computed: list[int]
) -> None:
    for _ in range(4):
        with Stranger(brisk.port) as stranger:
            assert stranger.greet()["type"] == "hello"
    for _ in range(3):
        with Stranger(brisk.port) as stranger:
            refused = stranger.greet()
            assert (refused["type"], refused["code"]) == ("refused", "wait")
            assert refused["seconds"] > 0
    assert len(computed) == 4


@needs_tls
def test_hellos_without_a_value_cost_nothing_and_do_not_count(brisk: net.Server, computed: list[int]) -> None:
    for _ in range(6):
        with Wire(brisk.port) as wire:
            assert wire.hello(tls=True)["type"] == "hello"
    assert not computed
    with Stranger(brisk.port) as stranger:
        assert stranger.join("Ann")["name"] == "Ann"


@needs_tls
def test_people_whom_the_room_knows_and_the_host_do_not_count_as_newcomers(brisk: net.Server) -> None:
    with Stranger(brisk.port) as ann:
        ann.join("Ann")
        for _ in range(5):
            with Stranger(brisk.port) as again:
                again.join("Ann", ann.token)
            with Stranger(brisk.port) as host:
                host.join("Mr Lee", brisk.token)
        with Stranger(brisk.port) as again:
            again.join("Ann", ann.token)
            for _ in range(5):
                with Stranger(brisk.port) as carrier:
                    assert carrier.upload(ann.token, b"a file")["type"] == "stored"
            for _ in range(3):  # Ann was the first of four
                with Stranger(brisk.port) as stranger:
                    assert stranger.greet()["type"] == "hello"
            with Stranger(brisk.port) as stranger:
                assert stranger.greet()["code"] == "wait"


@needs_tls
def test_once_a_room_closes_nobody_who_waits_for_a_turn_gets_one() -> None:
    def key() -> bytes:
        raise AssertionError("the key was computed")

    guesses = net.Guesses(1, lambda _address: False, None)
    _, proof = net.Tls(lambda: bytes(32), is_room=False).handshake_step(b"")
    guesses.close()
    with pytest.raises(net.ConnectionLost):
        guesses.public_b(LOOPBACK, B)
    with pytest.raises(net.ConnectionLost):
        guesses.judge(LOOPBACK, net.Tls(key, is_room=True), proof)


def test_many_hellos_from_one_address_do_not_keep_those_from_another_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    many = 40
    everyone_is_here = threading.Event()
    order: list[int] = []

    def compute(_srp: net.Srp, _verifier: int, b: int) -> int:
        assert everyone_is_here.wait(LIMIT)
        order.append(b)
        time.sleep(0.002)  # as long as it really takes: meanwhile all the others wait
        return b

    monkeypatch.setattr(net.Srp, "public_b", compute)
    guesses = net.Guesses(1, lambda _address: False, None)
    threads = [threading.Thread(target=guesses.public_b, args=["192.0.2.1", number]) for number in range(many)]
    threads.append(threading.Thread(target=guesses.public_b, args=["192.0.2.2", many]))
    for thread in threads:
        thread.start()
    everyone_is_here.set()
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive()
    assert sorted(order) == [*range(many + 1)]
    assert order.index(many) < many // 2, "the one from elsewhere came last"


@needs_tls
def test_thirty_pupils_behind_one_address_with_the_right_password_are_in_at_once(
    visit: Visit, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    """With all limits that a lesson has. None of them is told to wait."""
    monkeypatch.setattr(net, "FIRST_MESSAGE", LIMIT)
    with net.run_server(TITLE, host=LOOPBACK, port=0, password=PASSWORD) as room:
        began = time.monotonic()
        pupils = [visit(room.port, f"Pupil {number}") for number in range(30)]
        for pupil in pupils:
            pupil.is_in()
        assert time.monotonic() - began < LIMIT
        for pupil in pupils:
            assert not [event for event in drain(pupil.events) if isinstance(event, net.Lost)]
            pupil.client.close()


@needs_tls
def test_three_hundred_join_while_others_talk_and_everything_arrives(
    open_room: OpenRoom, visit: Visit, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    monkeypatch.setattr(net, "FIRST_MESSAGE", 6 * LIMIT)  # however slow this computer is
    room = open_room(password=PASSWORD)
    ann, bob = visit(room.port, "Ann"), visit(room.port, "Bob")
    ann.is_in()
    bob.is_in()
    all_in = threading.Event()
    said: list[str] = []

    def talk() -> None:
        while not all_in.wait(0.05):
            said.append(f"{len(said)}")
            ann.client.say(said[-1])

    def join(number: int) -> str:
        with Stranger(room.port) as stranger:
            stranger.socket.settimeout(6 * LIMIT)
            name: str = stranger.join(f"Pupil {number}")["name"]
            stranger.leave()
            return name

    talker = threading.Thread(target=talk, name="talker")
    talker.start()
    try:
        with ThreadPoolExecutor(30, thread_name_prefix="pupil") as pool:
            names = list(pool.map(join, range(300)))
    finally:
        all_in.set()
        talker.join()
    assert names == [f"Pupil {number}" for number in range(300)]
    assert said
    bob.hears(*said)


# Both proofs ------------------------------------------------------------------


@needs_tls
def test_people_with_a_wrong_password_are_told_so_and_those_with_the_right_one_are_in(
    open_room: OpenRoom, visit: Visit  # noqa: F811
) -> None:
    room = open_room(password="Open Sesame")
    for wrong in ("open sesame", "Open  Sesame", "OpenSesame", "k7m-w3h"):
        assert visit(room.port, "Ann", wrong).is_refused() == "wrong"
    visit(room.port, "Ann", "Open Sesame").is_in()
