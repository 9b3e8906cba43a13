"""What a room password is worth: SRP-6a, and what an impostor learns, and what a guess costs the room.

The known answers are those of RFC 5054. Everything else meets a client, a room and an impostor of another program that
know only the RFC and the wire format (see strangers.py). How well the encryption holds is in test_encryption.py.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import queue
import re
import secrets
import ssl
import sys
import threading
import time
import types
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import net
from tests import strangers
from tests.conftest import OpenRoom, needs_addresses
from tests.helpers import LIMIT, LOOPBACK, FakeRoom, Proxy, Wire, drain, message, needs_tls, srp_hex, until, welcome
from tests.strangers import BARE, HELLO, PASSWORD, SALT, SRP_PRIME, A, B, Stranger, answer_hello, refusal_of, visit

TITLE = "Mr Lee's room"
Stack = contextlib.ExitStack

# Passwords --------------------------------------------------------------------


def test_a_suggested_password_is_six_letters_and_digits_with_a_dash_and_is_not_easy_to_guess() -> None:
    suggested = [net.suggest_password() for _ in range(5000)]
    three = "[2-9a-hjkmnp-tv-z]{3}"  # no 0, 1, i, l, o, u
    assert all(re.fullmatch(f"{three}-{three}", password) for password in suggested)
    assert len(set(suggested)) > 4990
    assert len(set("".join(suggested)) - {"-"}) == 30
    assert not [password for password in suggested if net.is_weak_password(password)]


@pytest.mark.parametrize("typed", ["k7mw3h", "K7M-W3H", " k7m w3h\t", "k-7-m\u00a0w-3h-"])
def test_a_suggested_password_may_be_typed_without_the_dash_with_spaces_and_in_capitals(typed: str) -> None:
    assert net.clean_password(typed) == net.clean_password(PASSWORD) == BARE


@pytest.mark.parametrize("own", [" Two  spaces ", "with-dashes", "K7M-W30", "K7M-W3HH", "K7M-W3"])
def test_any_other_password_keeps_case_spaces_and_dashes(own: str) -> None:
    assert net.clean_password(own) == own


def test_a_password_is_the_same_however_a_keyboard_writes_its_accents() -> None:
    assert net.clean_password(unicodedata.normalize("NFD", "Crème brûlée")) == "Crème brûlée"
    assert net.clean_password("caf\ud83d") == "caf\ufffd", "half a surrogate pair does no harm"


@pytest.mark.parametrize("weak", ["", "a7", "k7m-w", "12345678", "2345-67", "Chemistry", "königin"])
def test_short_passwords_digits_alone_and_single_words_are_easy_to_guess(weak: str) -> None:
    assert net.is_weak_password(weak)
    for strong in ("k7m-w3h", "open sesame", "chem1stry"):
        assert not net.is_weak_password(strong)


@pytest.mark.parametrize(
    ("can_encrypt", "password"), [(True, ""), (True, "\t\u3000"), (True, "\u200b\u2060"), (False, PASSWORD)]
)
def test_a_password_that_cannot_be_used_is_the_callers_mistake(
    monkeypatch: pytest.MonkeyPatch, can_encrypt: bool, password: str
) -> None:
    monkeypatch.setattr(net, "CAN_ENCRYPT", can_encrypt)
    mine = ".".join(map(str, sys.version_info[:2]))
    complaint = "expected a password" if can_encrypt else f"Python {mine}; .* 3.13"
    with pytest.raises(ValueError, match=complaint):
        net.run_server(TITLE, host=LOOPBACK, port=0, password=password)
    with pytest.raises(ValueError, match=complaint):
        net.run_client(LOOPBACK, "Ann", queue.Queue(), password=password)


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
    assert (srp.k, srp.x(rfc.salt, "password123")) == (rfc.k, rfc.x)
    assert srp.power(rfc.x) == rfc.v
    assert srp.power(rfc.a) == rfc.A
    assert srp.public_b(rfc.v, rfc.b) == rfc.B
    assert srp.u(rfc.A, rfc.B) == rfc.u
    assert srp.client_secret(rfc.a, rfc.x, rfc.A, rfc.B) == rfc.S
    assert srp.room_secret(rfc.b, rfc.v, rfc.A, rfc.B) == rfc.S


ZERO_A = 2**255 + 85  # with BARE and the other fixed values, S begins with a byte of zeros


@pytest.mark.parametrize(("password", "a"), [(BARE, A), (BARE, ZERO_A), ("пароль 密码", A)])
def test_both_sides_compute_what_another_program_computes(password: str, a: int) -> None:
    x = net.SRP.x(bytes.fromhex(SALT), password)
    assert x == strangers.srp_x(password, SALT)
    public_a, public_b = net.SRP.power(a), net.SRP.public_b(net.SRP.power(x), B)
    assert (public_a, public_b) == (strangers.srp_public(a), strangers.srp_public_b(B, x))
    secret = net.SRP.client_secret(a, x, public_a, public_b)
    assert secret == net.SRP.room_secret(B, net.SRP.power(x), public_a, public_b)
    assert secret == strangers.srp_client_secret(a, x, public_b) == strangers.srp_room_secret(B, x, public_a)
    assert (secret.bit_length() <= 2040) == (a == ZERO_A), "the example is right"
    hellos = HELLO, strangers.SALTY_HELLO
    assert net.session_key(secret, *(hello[:-1] for hello in hellos)) == strangers.srp_key(secret, *hellos)


def test_a_u_of_zero_which_would_make_the_secret_known_to_everyone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashlib, "new", lambda *_what: types.SimpleNamespace(digest=lambda: bytes(32)))
    with pytest.raises(ValueError, match="out of range"):
        net.SRP.client_secret(A, 1, 4, 4)
    with pytest.raises(ValueError, match="out of range"):
        net.SRP.room_secret(B, 1, 4, 4)


def test_the_exponent_that_depends_on_the_password_is_another_one_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of `pow` depends on its exponent; the result of blinding is the same, the time is not."""
    powers = Mock(wraps=pow)
    monkeypatch.setattr(net, "pow", powers, raising=False)
    x = strangers.srp_x(BARE, SALT)
    public_b = strangers.srp_public_b(B, x)
    secrets = {net.SRP.client_secret(A, x, strangers.srp_public(A), public_b) for _ in range(5)}
    assert secrets == {strangers.srp_client_secret(A, x, public_b)}
    exponents = [exponent for base, exponent, _ in (call.args for call in powers.call_args_list) if base == 2]
    assert len(set(exponents)) == len(exponents) == 5
    assert {exponent % (SRP_PRIME - 1) for exponent in exponents} == {x}


@given(base=st.integers(2, 2**64), exponent=st.integers(0, 2**256 - 1))
@example(base=2, exponent=2**256 - 1)
@settings(max_examples=20)
def test_a_power_of_a_base_that_is_used_often_is_what_pow_computes(base: int, exponent: int) -> None:
    prime = Rfc5054.N
    assert net.fixed_base_power(base, exponent, prime) == pow(base, exponent, prime)


# Other programs ---------------------------------------------------------------


@needs_tls
@pytest.mark.parametrize("password", ["K7MW3H", "Crème brûlée", "пароль 密码"])
def test_a_client_of_another_program_joins(open_room: OpenRoom, stack: Stack, password: str) -> None:
    room = open_room(TITLE, password=unicodedata.normalize("NFD", password))
    bob = visit(stack, room.port, "Bob", password)
    bob.expects(net.Welcome)
    with Stranger(room.port, BARE if password == "K7MW3H" else password) as stranger:
        assert stranger.join("Ann")["title"] == TITLE
        stranger.say(1, "hello from elsewhere")
        bob.hears("hello from elsewhere")
        bob.client.say("hello back")
        assert [stranger.receive_until("said")["text"] for _ in range(2)] == ["hello from elsewhere", "hello back"]


@needs_tls
def test_a_room_of_another_program_is_joined(fake: FakeRoom, stack: Stack) -> None:
    ann = visit(stack, fake.port, "Ann", "k7m w3h")
    guest = strangers.begin_tls(fake)
    guest.expects("join")
    guest.send(welcome(title="A room from elsewhere"))
    assert ann.expects(net.Welcome).title == "A room from elsewhere"
    ann.client.say("hello")
    say = guest.expects("say")
    guest.send(message("said", number=1, time=1.0, who=2, name="Ann", id=say["id"], text=say["text"]))
    ann.hears("hello")
    ann.client.close()
    guest.expects("leave")


@needs_tls
def test_each_room_has_a_salt_of_its_own_and_each_connection_a_value_of_its_own(open_room: OpenRoom) -> None:
    room, other = open_room(password=PASSWORD), open_room(password=PASSWORD)
    with Stranger(room.port) as here, Stranger(other.port) as there, Stranger(room.port) as again:
        hellos = [stranger.greet() for stranger in (here, there, again)]
    assert hellos[0]["salt"] == hellos[2]["salt"] != hellos[1]["salt"]
    assert len({hello["b"] for hello in hellos}) == 3


# Programs that are not honest -------------------------------------------------

OUT_OF_RANGE = {"0": srp_hex(0), "N": srp_hex(SRP_PRIME), "N + 1": srp_hex(SRP_PRIME + 1), "the largest": "f" * 512}
MALFORMED = "g" * 512  # test_wire.py has the other ways to be malformed


@needs_tls
@pytest.mark.parametrize("a", [*OUT_OF_RANGE.values(), MALFORMED], ids=[*OUT_OF_RANGE, "malformed"])
def test_a_room_refuses_a_client_with_a_bad_value(open_room: OpenRoom, a: str) -> None:
    events: net.Events = queue.Queue()
    room = open_room(password=PASSWORD, events=events)
    with Wire(room.port) as wire:
        answer = wire.hello(tls=True, a=a)
        assert (answer["type"], answer["code"]) == ("refused", "bad")
        assert wire.receive() is None
    with Stranger(room.port) as ann:
        ann.join("Ann")
    assert not [event for event in drain(events) if isinstance(event, net.WrongPassword)]


BAD_HELLOS = {
    **{f"b {what}": strangers.password_hello(SALT, b) for what, b in OUT_OF_RANGE.items()},
    "no b": strangers.password_hello(SALT),
    "no salt": strangers.password_hello(None, srp_hex(4)),
    "malformed b": strangers.password_hello(SALT, MALFORMED),
    "malformed salt": strangers.password_hello("0" * 31, srp_hex(4)),
}


@needs_tls
@pytest.mark.parametrize("what", BAD_HELLOS)
def test_a_client_sends_no_proof_to_a_room_with_a_bad_value(fake: FakeRoom, stack: Stack, what: str) -> None:
    ann = visit(stack, fake.port)
    guest, _ = answer_hello(fake, BAD_HELLOS[what])
    assert guest.receive_to_the_end() == b""
    if "malformed" in what:
        assert ann.expects(net.Lost).reason is net.Trouble.NOT_A_ROOM
    else:
        assert refusal_of(ann) == "unproven"


@needs_tls
def test_a_client_without_a_password_gets_the_salt_and_nothing_to_guess_with(open_room: OpenRoom) -> None:
    with Wire(open_room(password=PASSWORD).port) as wire:
        answer = wire.hello(tls=True)
        assert (answer["type"], answer["tls"]) == ("hello", True)
        assert re.fullmatch("[0-9a-f]{32}", answer["salt"])
        assert "b" not in answer
        assert wire.receive() is None


DICTIONARY = ["password", "chemistry", BARE, "letmein"]


def fits(key: bytes, proof: bytes) -> bool:
    """Whether this key made the proof: anyone who has recorded it can check that."""
    try:
        strangers.OtherTls(ssl.PROTOCOL_TLS_SERVER, key).handshake_step(proof)
    except ssl.SSLError as error:
        return error.reason != "BINDER_DOES_NOT_VERIFY"
    return True


def secrets_without_exponents(x: int, public_a: int, public_b: int) -> list[int]:
    """What a word of the dictionary gives to someone who knows neither a nor b, from the formulas of S.

    With 0 and 1 in place of the exponents, and with the public values in place of what they hide.
    """
    v = strangers.srp_public(x)
    hidden = (public_b - strangers.srp_public_b(0, x) + 1) % SRP_PRIME  # g^b, if the word is right
    found = [strangers.srp_client_secret(a, x, public_b) for a in (0, 1)]
    found += [strangers.srp_room_secret(b, x, public_a) for b in (0, 1)]
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
    record = sent.partition(b"\n")[2]
    proof = record[: 5 + int.from_bytes(record[3:5], "big")]
    assert fits(stranger.key, proof), "with the right key, the attack would succeed"
    for word in DICTIONARY:
        x = strangers.srp_x(word, salt)
        for secret in secrets_without_exponents(x, public_a, public_b):
            assert not fits(strangers.srp_key(secret, hello, answer), proof)
        # Every word explains B equally well: g generates the whole group, so some b leads from this word to this B.
        assert (public_b - strangers.srp_public_b(0, x) + 1) % SRP_PRIME != 0


@needs_tls
@pytest.mark.parametrize(("bet", "found"), [(BARE, [BARE]), ("chemistry", [])], ids=["the right word", "a wrong word"])
def test_an_impostor_can_test_one_word_with_each_attempt_to_join(
    fake: FakeRoom, stack: Stack, bet: str, found: list[str]
) -> None:
    """It bets on a word, takes the client's proof, and checks the whole dictionary against it: only the bet counts."""
    ann = visit(stack, fake.port)
    answer = strangers.password_hello(SALT, srp_hex(strangers.srp_public_b(B, strangers.srp_x(bet, SALT))))
    guest, hello = answer_hello(fake, answer)
    proof = guest.receive_bytes(5)
    proof += guest.receive_bytes(int.from_bytes(proof[3:], "big"))
    strangers.say_wrong(guest)
    assert refusal_of(ann) == "wrong"
    public_a, public_b = int(json.loads(hello)["a"], 16), int(json.loads(answer)["b"], 16)
    u = strangers.srp_u(public_a, public_b)
    fitting = []
    for word in DICTIONARY:
        v = strangers.srp_public(strangers.srp_x(word, SALT))
        secret = pow(public_a * pow(v, u, SRP_PRIME) % SRP_PRIME, B, SRP_PRIME)
        if fits(strangers.srp_key(secret, hello, answer), proof):
            fitting.append(word)
    assert fitting == found


# An impostor ------------------------------------------------------------------


@needs_tls
@pytest.mark.parametrize(
    ("ending", "proofs", "code"),
    [
        (strangers.hang_up, 5, "unproven"),
        (strangers.be_silent, 5, "unproven"),
        (strangers.say_wrong, 1, "wrong"),
        (strangers.send_too_much, 1, "unproven"),
        (strangers.use_no_key, 1, "unproven"),
    ],
)
def test_an_impostor_gets_at_most_five_proofs_until_a_first_join_ends(
    fake: FakeRoom, stack: Stack, monkeypatch: pytest.MonkeyPatch, ending: strangers.Ending, proofs: int, code: str
) -> None:
    monkeypatch.setattr(net, "RETRIES", (0.0,))
    if ending is strangers.be_silent:
        monkeypatch.setattr(net, "FIRST_MESSAGE", 0.5)
    impostor = strangers.Impostor(fake, ending)
    ann = visit(stack, fake.port)
    ann.client.say("a secret")
    impostor.take_proofs(proofs)
    assert refusal_of(ann) == code
    assert len({hello for _, hello in impostor.proofs}) == proofs, "each with an `a` of its own"


@needs_tls
def test_an_impostor_where_the_room_was_gets_five_proofs_and_then_one_a_minute_and_cannot_end_the_visit(
    fake: FakeRoom, open_room: OpenRoom, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if it says that the password is wrong, and if the window has been led there because the room moved."""
    assert (net.PROOFS, net.PROOF_WAIT) == (5, 60.0)
    monkeypatch.setattr(net, "PROOF_WAIT", 0.4)
    monkeypatch.setattr(net, "RETRIES", (0.0,))
    impostor = strangers.Impostor(fake, strangers.say_wrong)
    room = open_room(password=PASSWORD)
    ann = visit(stack, room.port)
    ann.expects(net.Welcome)
    ann.client.move(LOOPBACK, fake.port)
    ann.client.say("meanwhile")
    impostor.take_proofs(net.PROOFS + 2)
    impostor.check_that_later_proofs_took_time()
    ann.expects(net.Lost, lambda lost: lost.reason is net.Trouble.UNPROVEN)
    ann.client.move(LOOPBACK, room.port)
    ann.hears("meanwhile")


@needs_tls
def test_transfers_together_give_an_impostor_five_proofs_and_then_one_a_minute(
    fake: FakeRoom, open_room: OpenRoom, stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(net, "PROOF_WAIT", 0.4)
    monkeypatch.setattr(net, "RETRIES", (0.0,))
    (tmp_path / "a.txt").write_text("a file")
    impostor = strangers.Impostor(fake, strangers.say_wrong)
    room = open_room(password=PASSWORD)
    proxy = stack.enter_context(Proxy(room.port))
    ann = visit(stack, proxy.port)
    ann.expects(net.Welcome)
    proxy.port_behind = fake.port  # only new connections meet the impostor
    for _ in range(4):
        ann.client.share(str(tmp_path / "a.txt"))
    impostor.take_proofs(net.PROOFS + 2)
    impostor.check_that_later_proofs_took_time()
    proxy.port_behind = room.port
    proxy.cut()
    for _ in range(4):
        ann.expects(net.Uploaded)


# What it costs the room -------------------------------------------------------


@needs_tls
def test_a_strangers_hello_counts_as_a_newcomer_before_anything_is_computed_and_nobody_elses_does(
    open_room: OpenRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "NEWCOMERS", (4.0, 0.001))  # after four, nobody for longer than any test takes
    room = open_room(password=PASSWORD, rate=20)
    for _ in range(5):
        with Wire(room.port) as wire:
            assert wire.hello(tls=True)["type"] == "hello"  # without a value: it costs nothing
    with Stranger(room.port) as ann:
        ann.join("Ann")
        for _ in range(5):
            with Stranger(room.port) as again, Stranger(room.port) as host, Stranger(room.port) as transfer:
                again.join("Ann", ann.token)
                host.join("Mr Lee", room.token)
                assert transfer.upload(ann.token, b"a file")["type"] == "stored"
    for _ in range(3):  # Ann was the first of four
        with Stranger(room.port) as stranger:
            assert stranger.greet()["type"] == "hello"
    monkeypatch.setattr(secrets, "randbits", None)  # whatever is computed begins with a private exponent
    with Stranger(room.port) as stranger:
        refused = stranger.greet()
    assert (refused["type"], refused["code"]) == ("refused", "wait")
    assert refused["seconds"] > 0


@needs_tls
def test_nothing_is_computed_for_a_stranger_who_does_not_wait_for_the_answer(
    open_room: OpenRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = open_room(password=PASSWORD)
    readers: list[threading.Thread] = []
    is_gone = threading.Event()

    def exponent(_bits: int) -> int:
        readers.append(threading.current_thread())
        assert is_gone.wait(LIMIT)
        return B

    monkeypatch.setattr(secrets, "randbits", exponent)
    power = Mock(wraps=net.fixed_base_power)
    monkeypatch.setattr(net, "fixed_base_power", power)
    with Stranger(room.port) as stranger:
        stranger.send_bytes(HELLO)
        until(lambda: readers, "the room has read the hello")
    is_gone.set()
    readers[0].join(LIMIT)
    assert not power.called
    with Stranger(room.port) as ann:
        ann.join("Ann")
    assert power.called


def test_many_from_one_address_keep_neither_others_nor_a_closing_room_waiting() -> None:
    closing = threading.Event()
    guesses = net.Guesses(lambda _address: False, closing, queue.Queue())
    arrived: list[str] = []
    order: list[str] = []

    def compute(address: str) -> None:
        arrived.append(address)
        with guesses.computing(address):
            order.append(address)
            time.sleep(0.01)  # meanwhile all the others wait

    threads = [threading.Thread(target=compute, args=[address]) for address in ["many"] * 20 + ["one"]]
    with guesses.computing("somebody"):
        for thread in threads:
            thread.start()
        until(lambda: len(arrived) == len(threads), "all wait for their turn")
    for thread in threads:
        thread.join()
    assert order.index("one") < 10, "the one from elsewhere came last"
    closing.set()
    with pytest.raises(net.ConnectionLost), guesses.computing("somebody"):
        pytest.fail("a closing room goes on computing")


@pytest.mark.slow
@needs_tls
@needs_addresses
def test_three_hundred_join_while_others_talk_and_everything_arrives(
    open_room: OpenRoom, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "FIRST_MESSAGE", 6 * LIMIT)  # however slow this computer is
    room = open_room(password=PASSWORD)
    ann, bob = visit(stack, room.port, "Ann"), visit(stack, room.port, "Bob")
    for each in (ann, bob):
        each.expects(net.Welcome)

    def join(number: int) -> str:
        with Stranger(room.port, source=f"127.0.{1 + number // 30}.1") as stranger:
            stranger.socket.settimeout(6 * LIMIT)
            name: str = stranger.join(f"Pupil {number}")["name"]
            stranger.leave()
            return name

    names = [f"Pupil {number}" for number in range(300)]
    with ThreadPoolExecutor(30, thread_name_prefix="pupil") as pool:
        for expected, name in zip(names, pool.map(join, range(300)), strict=True):
            assert name == expected
            ann.client.say(f"{name} is in")
    assert [bob.expects(net.Said).text for _ in names] == [f"{name} is in" for name in names]
