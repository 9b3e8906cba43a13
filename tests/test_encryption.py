"""A room with a password: TLS, who gets in, what a man in the middle can do, and how often one may guess.

The other side is mostly another program, which knows nothing but the wire format (see strangers.py). What a password
is worth is in test_password.py.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import logging
import queue
import random
import select
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

import pytest

import net
from tests import helpers, strangers
from tests.conftest import OpenRoom, needs_addresses
from tests.helpers import LIMIT, LOOPBACK, Clock, FakeRoom, Message, Proxy, Wire, context_of, drain, needs_tls, until
from tests.strangers import BARE, PASSWORD, SALT, SALTY_HELLO, OtherTls, Stranger, answer_hello, line, refusal_of, visit

TITLE = "Mr Lee's room"
KEY = bytes(range(32))
RECORD_BEGINS = b"\x16\x03"  # of a TLS handshake
AT_ONCE = 5  # wrong passwords that an address may enter without waiting

Stack = contextlib.ExitStack
Side = net.Tls | OtherTls  # one side of a TLS connection
Edit = Callable[[bytes], bytes]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return strangers.stop_the_limits(monkeypatch)


@pytest.fixture
def told() -> net.Events:
    """What the host of `room` is told."""
    return queue.Queue()


@pytest.fixture
def room(clock: Clock, told: net.Events, open_room: OpenRoom) -> net.Server:  # noqa: ARG001 - the clock comes first
    return open_room(TITLE, host_name="Mr Lee", password=PASSWORD, events=told)


# TLS in memory ----------------------------------------------------------------


def tls_of(is_room: bool) -> net.Tls:
    return net.Tls(lambda: KEY, is_room)


def meet(client: Side, room: Side, size: int = 1 << 20) -> None:
    """The whole handshake, carried from one to the other in pieces of at most so many bytes; the room ends it."""
    is_done, data = client.handshake_step(b"")
    for side in itertools.cycle([room, client]):
        if not data:
            break
        steps = [side.handshake_step(piece) for piece in cut(data, size)]
        is_done, data = steps[-1][0], b"".join(answer for _, answer in steps)
    assert is_done, "both sides wait for each other"


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def met_another_program() -> tuple[OtherTls, net.Tls]:
    """A client of another program and this program's room, after their handshake."""
    client, room = OtherTls(ssl.PROTOCOL_TLS_CLIENT, KEY), tls_of(is_room=True)
    meet(client, room)
    return client, room


@needs_tls
@pytest.mark.parametrize("size", [1, 100, 1 << 20])
def test_bytes_may_be_cut_anywhere(size: int) -> None:
    client, room = tls_of(is_room=False), tls_of(is_room=True)
    meet(client, room, size)
    text = random.Random(1).randbytes(net.TLS_PIECE + 1)
    for sender, receiver in ((client, room), (room, client)):
        assert b"".join(receiver.decrypt(piece) for piece in cut(sender.encrypt(text), size)) == text


@needs_tls
def test_no_older_tls_is_spoken() -> None:
    older = context_of(ssl.PROTOCOL_TLS_CLIENT, KEY)
    older.minimum_version = older.maximum_version = ssl.TLSVersion.TLSv1_2
    older.set_ciphers("PSK")  # otherwise it would fail because there is no certificate
    _, first = OtherTls(ssl.PROTOCOL_TLS_CLIENT, KEY, older).handshake_step(b"")
    room = tls_of(is_room=True)
    assert room.handshake_step(first)[0]
    assert room.failure in ("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION")


@needs_tls
def test_text_before_the_end_of_tls_is_read_and_bytes_after_it_do_not_pile_up() -> None:
    client, room = met_another_program()
    assert room.decrypt(client.encrypt(b"goodbye\n") + client.end()) == b"goodbye\n"
    with pytest.raises(net.ConnectionLost):
        room.decrypt(b"and what I also wanted to say")


@needs_tls
def test_threads_can_read_and_write_at_the_same_time_without_loss() -> None:
    client, room = tls_of(is_room=False), tls_of(is_room=True)
    meet(client, room)
    numbers = [b"%d\n" % number for number in range(40_000)]
    to_client = [room.encrypt(number) for number in numbers]
    to_room: list[bytes] = []
    writer = threading.Thread(target=lambda: to_room.extend(map(client.encrypt, numbers)), name="writer")
    writer.start()
    read_meanwhile = b"".join(map(client.decrypt, to_client))
    writer.join()
    assert read_meanwhile == b"".join(map(room.decrypt, to_room)) == b"".join(numbers)


@needs_tls
def test_after_a_changed_record_nothing_more_is_written(stack: Stack) -> None:
    client, tls = met_another_program()
    listener = stack.enter_context(socket.create_server((LOOPBACK, 0)))
    other = stack.enter_context(socket.create_connection(listener.getsockname(), LIMIT))
    connection = stack.enter_context(contextlib.closing(net.Connection(listener.accept()[0], 4096)))
    connection.start_tls(tls, net.Deadline(LIMIT), lambda _received: (True, b""))
    other.sendall(flipped(client.encrypt(b"hello\n")))
    with pytest.raises(net.ConnectionLost):
        connection.wait_for_line(net.Deadline(LIMIT))
    assert connection.write(b"too late\n"), "there is nothing to wait for"
    assert not connection.unsent
    assert other.recv(4096) == b""


# Who gets in ------------------------------------------------------------------


@needs_tls
@pytest.mark.parametrize(
    ("password", "typed", "is_older", "code"),
    [(PASSWORD, None, False, "password"), (None, PASSWORD, False, "open"), (PASSWORD, None, True, "tls")],
    ids=["no password typed", "the room is open", "an older Python"],
)
def test_a_client_that_does_not_fit_the_room_sends_nothing_but_hello(
    open_room: OpenRoom,
    stack: Stack,
    monkeypatch: pytest.MonkeyPatch,
    password: str | None,
    typed: str | None,
    is_older: bool,
    code: str,
) -> None:
    proxy = stack.enter_context(Proxy(open_room(password=password).port))
    monkeypatch.setattr(net, "CAN_ENCRYPT", not is_older)
    ann = visit(stack, proxy.port, password=typed)
    ann.client.say("a secret")
    assert refusal_of(ann) == code
    until(lambda: proxy.connections == 0, "the connection has ended")
    (hello,) = bytes(proxy.to_room).splitlines()
    assert json.loads(hello)["type"] == "hello"
    assert json.loads(hello)["tls"] is not is_older


@needs_tls
def test_a_program_that_cannot_encrypt_is_told_why_it_cannot_join(room: net.Server) -> None:
    with Wire(room.port) as wire:
        answer = wire.hello()
        assert (answer["type"], answer["code"]) == ("refused", "tls")
        assert "3.13" in answer["reason"]
        assert wire.receive() is None


@pytest.mark.parametrize("can_encrypt", [True, False])
def test_an_open_room_stays_plain_for_every_python(
    open_room: OpenRoom, stack: Stack, monkeypatch: pytest.MonkeyPatch, can_encrypt: bool
) -> None:
    monkeypatch.setattr(net, "CAN_ENCRYPT", can_encrypt)
    proxy = stack.enter_context(Proxy(open_room().port))
    ann = visit(stack, proxy.port, password=None)
    ann.client.say("for everyone")
    ann.hears("for everyone")
    hellos = [json.loads(bytes(sent).partition(b"\n")[0]) for sent in (proxy.to_room, proxy.from_room)]
    assert [hello["tls"] for hello in hellos] == [can_encrypt, False]
    assert b"for everyone" in proxy.to_room


@needs_tls
def test_bytes_that_come_together_with_the_hello_line_belong_to_tls(room: net.Server) -> None:
    with Stranger(room.port) as stranger, Stranger(room.port) as ann:
        join = line("join", name="Eve", token=stranger.token, room=None, after=0)  # read as a line, it would let Eve in
        stranger.send_bytes(line("hello", protocol=net.PROTOCOL, tls=True, a=helpers.srp_hex(4)) + join)
        assert b"welcome" not in stranger.receive_to_the_end()
        assert [name for _, name in ann.join("Ann")["people"]] == ["Ann"]


@needs_tls
def test_bytes_that_a_room_sends_together_with_its_hello_belong_to_tls(fake: FakeRoom, stack: Stack) -> None:
    ann = visit(stack, fake.port)
    ann.client.say("a secret")
    guest, _ = answer_hello(fake, SALTY_HELLO + json.dumps(helpers.welcome()).encode() + b"\n")  # it would let Ann in
    assert b"secret" not in guest.receive_to_the_end()
    assert refusal_of(ann) == "unproven"


@needs_tls
def test_a_join_that_comes_together_with_the_end_of_the_handshake_is_not_lost(room: net.Server) -> None:
    with Stranger(room.port) as stranger:
        stranger.greet()
        tls = OtherTls(ssl.PROTOCOL_TLS_CLIENT, stranger.key)
        is_done, to_room = tls.handshake_step(b"")
        while not is_done:
            stranger.send_bytes(to_room)
            is_done, to_room = tls.handshake_step(stranger.socket.recv(4096))
        stranger.send_bytes(to_room + tls.encrypt(line("join", name="Ann", token="0" * 32, room=None, after=0)))
        assert b"welcome" in tls.decrypt(stranger.socket.recv(4096))


@needs_tls
def test_dripping_in_the_handshake_delays_nobody_and_ends_in_time(
    room: net.Server, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "Deadline", functools.partial(net.Deadline, clock=clock))
    monkeypatch.setattr(net, "TICK", 0.02)  # so that each wait looks at the clock again and again
    with Stranger(room.port) as dripping, Stranger(room.port) as ann:
        dripping.greet()
        ann.join("Ann")
        for byte in dripping.proof()[:-1]:
            if select.select([dripping.socket], [], [], 0.05)[0]:
                break
            dripping.send_bytes(bytes([byte]))
            clock.now += 1
        else:
            pytest.fail("it goes on because something comes all the time")


@needs_tls
def test_a_client_can_be_closed_while_the_room_is_stuck_in_the_handshake(fake: FakeRoom, stack: Stack) -> None:
    ann = visit(stack, fake.port)
    guest, _ = answer_hello(fake, SALTY_HELLO)
    assert guest.receive_bytes(2) == RECORD_BEGINS
    ann.close()


# A man in the middle ----------------------------------------------------------


@needs_tls
def test_after_the_hello_lines_nothing_that_travels_can_be_read(room: net.Server, proxy: Proxy, stack: Stack) -> None:
    ann, bob = visit(stack, proxy.port, "Annabella"), visit(stack, proxy.port, "Bartholomew")
    ann.client.say("the answer to question three is seventeen")
    bob.hears("the answer to question three is seventeen")
    proxy.cut()
    bob.client.say("und die vierte?")
    ann.hears("und die vierte?")
    room.close("The lesson is over.")
    assert ann.expects(net.Closed).reason == "The lesson is over."
    for record in (bytes(proxy.to_room), bytes(proxy.from_room)):
        assert record.partition(b"\n")[2].startswith((RECORD_BEGINS, b'{"type":"hello"'))
    passed = bytes(proxy.to_room) + bytes(proxy.from_room)
    assert passed.count(b"chat-room") >= 3, "the recording contains the identity of each connection's key"
    for word in (TITLE, "Mr Lee", "Annabella", "Bartholomew", BARE, PASSWORD, room.token):
        assert word.encode() not in passed
    for word in ("question", "vierte", "lesson", "welcome", "said", "join", "closed"):
        assert word.encode() not in passed


@needs_tls
def test_the_password_and_the_keys_are_in_no_log_and_in_no_repr(
    open_room: OpenRoom, stack: Stack, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    keys: list[bytes] = []
    session_key = net.session_key

    def remember(*arguments: Any) -> bytes:
        keys.append(session_key(*arguments))
        return keys[-1]

    monkeypatch.setattr(net, "session_key", remember)
    events: net.Events = queue.Queue()
    room = open_room(password="Sesam, öffne dich!", events=events)
    ann = visit(stack, room.port, "Ann", "Sesam, öffne dich!")
    bob = visit(stack, room.port, "Bob", "Sesam, schließe dich!")
    ann.expects(net.Welcome)
    assert bob.client.join(LIMIT)
    until(lambda: "BINDER_DOES_NOT_VERIFY" in caplog.text, "the log is complete")
    person = net.Room(TITLE).join(net.Join("Ann", ann.client.token, None, 0), LOOPBACK, net.Feed())
    shown = [*drain(events), *drain(ann.events), *drain(bob.events), room, person, ann.client, ann.client.dialer]
    told = "\n".join([*map(repr, shown), *(str(vars(record)) for record in caplog.records)])
    assert len(keys) == 4, "both sides of both connections"
    written = [*(key.hex() for key in keys), *(repr(key)[2:-1] for key in keys)]
    for secret in ("Sesam", room.token, ann.client.token, bob.client.token, *written):
        assert secret not in told


def flipped(data: bytes) -> bytes:
    """With one bit changed at the end."""
    return data[:-1] + bytes([data[-1] ^ 1])


def changed(**fields: Any) -> Edit:
    """An edit of a line that says this instead; a field that is None is left out."""

    def edit(data: bytes) -> bytes:
        both = {**json.loads(data), **fields}
        return json.dumps({name: value for name, value in both.items() if value is not None}).encode() + b"\n"

    return edit


REFUSED = line("refused", code="removed", reason="")
HELLO_EDITS: dict[str, tuple[str, Edit, str]] = {
    "to room: cannot": ("to room", changed(tls=False), "tls"),
    "to room: another a": ("to room", changed(a=helpers.srp_hex(4)), "wrong"),
    "to room: no a": ("to room", changed(a=None), "unproven"),
    "to room: a space more": ("to room", lambda hello: b" " + hello, "wrong"),
    "from room: open": ("from room", changed(tls=False), "open"),
    "from room: another salt": ("from room", changed(salt=SALT), "wrong"),
    "from room: another b": ("from room", changed(b=helpers.srp_hex(4)), "wrong"),
    "from room: go away": ("from room", lambda _hello: REFUSED, "removed"),
}


@needs_tls
@pytest.mark.parametrize("edit", HELLO_EDITS)
def test_editing_a_hello_line_only_keeps_people_out(proxy: Proxy, stack: Stack, edit: str) -> None:
    way, change, code = HELLO_EDITS[edit]
    proxy.edit_next(way, change)
    ann = visit(stack, proxy.port)
    ann.client.say("a secret")
    assert refusal_of(ann) == code
    assert b"secret" not in proxy.to_room
    people = visit(stack, proxy.port, "Bob").expects(net.Welcome).people
    assert [name for _, name in people] == ["Bob"]


@needs_tls
@pytest.mark.parametrize("edit", ["to room: a space more", "from room: open"])
def test_a_hello_line_edited_during_a_return_loses_nothing_that_was_said(
    room: net.Server, proxy: Proxy, stack: Stack, edit: str
) -> None:
    way, change, _ = HELLO_EDITS[edit]
    ann, bob = visit(stack, proxy.port), visit(stack, room.port, "Bob")
    ann.expects(net.Welcome)
    proxy.refuse()
    proxy.cut()
    proxy.edit_next(way, change)
    proxy.refuse(False)
    ann.client.say("meanwhile")
    ann.expects(net.Lost, lambda lost: lost.reason is net.Trouble.UNPROVEN)
    bob.hears("meanwhile")


@needs_tls
@pytest.mark.parametrize("way", ["to room", "from room"])
def test_one_flipped_bit_ends_the_connection_and_afterwards_everything_arrives_once(
    room: net.Server, proxy: Proxy, stack: Stack, way: str
) -> None:
    ann, bob = visit(stack, proxy.port), visit(stack, room.port, "Bob")
    ann.expects(net.Joined, lambda joined: joined.name == "Bob")
    proxy.edit_next(way, flipped)
    ann.client.say("1")
    assert ann.expects(net.Lost).reason is net.Trouble.GONE
    ann.client.say("2")
    ann.expects(net.Welcome)
    bob.client.say("3")
    for each in (ann, bob):
        assert sorted(each.expects(net.Said).text for _ in range(3)) == ["1", "2", "3"]


# Guessing ---------------------------------------------------------------------


def guess(room: net.Server, source: str | None = None) -> Message:
    """Enter a wrong password; the room's answer to hello. The room counts a guess before it answers it."""
    with Stranger(room.port, "not it", source) as stranger:
        answer = stranger.greet()
        if answer["type"] == "hello":
            with pytest.raises(ssl.SSLError):
                stranger.encrypt()
        return answer


def told_of_guesses(told: net.Events) -> list[net.WrongPassword]:
    """All that the host has been told about wrong passwords since the last call."""
    return [event for event in drain(told) if isinstance(event, net.WrongPassword)]


@needs_tls
def test_an_address_may_enter_five_wrong_passwords_and_then_one_every_ten_seconds(
    room: net.Server, told: net.Events, clock: Clock
) -> None:
    assert [guess(room)["type"] for _ in range(AT_ONCE - 1)] == ["hello"] * (AT_ONCE - 1)
    assert told_of_guesses(told) == [], "these may be mistakes"
    assert guess(room)["type"] == "hello"
    assert told_of_guesses(told) == [net.WrongPassword(LOOPBACK, AT_ONCE)]
    refused = guess(room)
    assert (refused["type"], refused["code"], refused["seconds"]) == ("refused", "wait", 10)
    clock.now += 9
    assert guess(room)["seconds"] == 1
    clock.now += 1
    assert guess(room)["type"] == "hello"
    assert told_of_guesses(told) == [net.WrongPassword(LOOPBACK, AT_ONCE + 1)]


@needs_tls
def test_where_somebody_is_in_guesses_delay_a_return_by_a_second_and_then_it_succeeds_automatically(
    room: net.Server, proxy: Proxy, stack: Stack, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "BACK_WITHIN", 10 * LIMIT)  # however slow this computer is, Ann stays in the list
    monkeypatch.setattr(net, "RETRIES", (0.05,))
    ann = visit(stack, proxy.port)
    ann.expects(net.Welcome)
    proxy.refuse()
    proxy.cut()
    assert [guess(room)["type"] for _ in range(AT_ONCE)] == ["hello"] * AT_ONCE
    assert guess(room)["seconds"] == 1
    proxy.refuse(False)
    assert ann.expects(net.Lost, lambda lost: lost.reason is net.Trouble.WAIT).retry_in == 1
    clock.now += 1
    ann.expects(net.Welcome)
    for _ in range(2 * AT_ONCE):
        assert guess(room)["type"] == "hello"
        clock.now += 1
    ann.close()
    until(lambda: 1 < guess(room).get("seconds", 0) <= 10, "these leave no long wait behind for those who come now")


@needs_tls
@needs_addresses
def test_the_host_is_told_of_each_address_that_must_wait_and_once_of_twenty_guesses_from_everywhere(
    room: net.Server, told: net.Events
) -> None:
    addresses = [f"127.0.0.{number}" for number in range(2, 7)]
    for address in addresses:
        assert [guess(room, address)["type"] for _ in range(AT_ONCE)] == ["hello"] * AT_ONCE
    each = [net.WrongPassword(address, AT_ONCE) for address in addresses]
    assert told_of_guesses(told) == [*each[:4], net.WrongPassword("", 20), *each[4:]]
    with Stranger(room.port) as ann:  # they delay nobody elsewhere
        ann.join("Ann")


HANDSHAKES: dict[str, Callable[[Stranger], object]] = {
    "nothing": lambda _stranger: None,
    "half a proof": lambda stranger: stranger.send_bytes(stranger.proof()[:100]),
    "no key": lambda stranger: stranger.encrypt(context_of(ssl.PROTOCOL_TLS_CLIENT, None)),
    "another identity": lambda them: them.encrypt(context_of(ssl.PROTOCOL_TLS_CLIENT, them.key, "chat-rooms")),
    "the proof alone": lambda stranger: stranger.send_bytes(stranger.proof()),
    "everything": lambda stranger: stranger.encrypt(),
}


@needs_tls
def test_silent_broken_and_right_handshakes_neither_cost_guesses_nor_give_any_back(
    room: net.Server, told: net.Events
) -> None:
    assert [guess(room)["type"] for _ in range(AT_ONCE - 1)] == ["hello"] * (AT_ONCE - 1)
    for name, handshake in HANDSHAKES.items():
        with Stranger(room.port) as stranger:
            assert stranger.greet()["type"] == "hello", name
            with contextlib.suppress(ssl.SSLError):
                handshake(stranger)
            with contextlib.suppress(OSError):  # TLS may have closed it already
                stranger.socket.shutdown(socket.SHUT_WR)
                stranger.receive_to_the_end()  # the room is done with this connection
    assert told_of_guesses(told) == []
    assert guess(room)["type"] == "hello"
    assert guess(room)["code"] == "wait"
