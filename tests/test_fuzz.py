"""Thousands of messages that no honest program would send, to a room and to a client. Hypothesis invents them.

The tests count inputs: a line, a datagram, or the bytes of a file. With CHAT_TORTURE=long there are more than a
million. Over a socket, the end of the sending direction follows each input; then the other side must have dealt with
all of it, in the right order, and everyone else must have been left alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import queue
import random
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import net
from tests.conftest import OpenRoom
from tests.helpers import (
    LIMIT,
    LONG,
    LOOPBACK,
    Message,
    Wire,
    drain,
    expect,
    message,
    needs_tls,
    port_of,
    srp_hex,
    until,
)
from tests.test_wire import JSON_VALUES, values_of

LONG_TIMES = 15  # times as many inputs in the long form
Take = Callable[..., int]
CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large]  # switched off: these examples are large on purpose


def feed(chance: random.Random, inputs: int, *strategies: st.SearchStrategy[Any]) -> Callable[[Take], None]:
    """Calls the function with examples until it has had that many inputs. It returns how many one example held."""

    def run(take: Take) -> None:
        total = 0

        @settings(max_examples=200, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=CHECKS)
        @given(st.tuples(*strategies))
        def count(example: tuple[Any, ...]) -> None:
            nonlocal total
            total += take(*example)

        wanted = inputs * (LONG_TIMES if LONG else 1)
        while total < wanted:
            seed(chance.randrange(2**32))(count)()
        print(f"{total:,} inputs")

    return run


# What is said --------------------------------------------------------------------------------------------------------


@st.composite
def messages(draw: st.DrawFn, /, types: net.Types, **fixed: st.SearchStrategy[Any]) -> bytes:
    """A line with a correct message, or with one that is correct except for one field or for a few bytes."""
    name = draw(st.sampled_from(sorted(types)))
    fields = message(name)
    for field in dataclasses.fields(types[name]):
        fields[field.name] = draw(fixed.get(field.name, values_of(str(field.type))))
    what = draw(st.sampled_from(["good", "good", "value", "missing", "more", "bytes", "cut"]))
    if what == "value":
        fields[draw(st.sampled_from(sorted(fields)))] = draw(JSON_VALUES)
    elif what == "missing":
        del fields[draw(st.sampled_from(sorted(fields)))]
    elif what == "more":
        fields[draw(st.text(max_size=5))] = draw(JSON_VALUES)
    line = json.dumps(fields, ensure_ascii=draw(st.booleans())).encode(errors="surrogatepass")
    if what == "bytes":
        place = draw(st.integers(0, len(line)))
        line = line[:place] + draw(st.binary(max_size=3)) + line[place + draw(st.integers(0, 3)) :]
    elif what == "cut":
        line = line[draw(st.integers(0, 3)) : draw(st.integers(0, len(line)))]
    return line.replace(b"\n", b"")


JSON_LETTERS = st.text('0123456789{}[]",:.-+eE\\ul nfatrs').map(str.encode)


class Repeated(bytes):
    """Bytes that are printed in a short form."""

    def __repr__(self) -> str:
        return f"{self[:1]!r} * {len(self)}"


NOISE = (st.binary(max_size=50) | JSON_LETTERS).map(lambda data: data.replace(b"\n", b""))
NOISE |= st.sampled_from([Repeated(b"x" * 3_000), Repeated(b"x" * 70_000), Repeated(b"[" * 20_000)])
NOISE |= st.sampled_from([b"", b"{}", b"GET / HTTP/1.1\r"])
TOKENS = st.sampled_from(["0" * 32, "f" * 32, "x" * 32, ""])


def lines(types: net.Types, **fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[list[bytes]]:
    good = messages(types, **fixed)
    return st.lists(st.one_of(good, good, good, NOISE), min_size=1, max_size=12)


PIECES = st.lists(st.integers(1, 200), max_size=5)  # the sizes of the first pieces that are sent


def send(wire: Wire, data: bytes, pieces: list[int]) -> None:
    """Sends the data, as far as the other side listens, and then the end."""
    with contextlib.suppress(OSError):
        for size in pieces:
            wire.send_bytes(data[:size])
            data = data[size:]
        wire.send_bytes(data)
        wire.socket.shutdown(socket.SHUT_WR)


def as_lines(some: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in some)


# Bytes and messages --------------------------------------------------------------------------------------------------

EVERYTHING = {**net.TO_ROOM, **net.FROM_ROOM, **net.FILE_FROM_ROOM, **net.UDP}
TABLES = [net.TO_ROOM, net.FROM_ROOM, net.FILE_FROM_ROOM, net.UDP, net.IN_THE_ROOM]


@pytest.mark.parametrize("_part", range(4 if LONG else 1))  # in parts, so that none takes so long that it seems to hang
def test_every_line_is_a_message_or_a_protocol_error(chance: random.Random, _part: int) -> None:
    """A message that was read is also written so that it is read as the same message."""

    @feed(chance, 250_000 // LONG_TIMES + 1 if LONG else 10_000, lines(EVERYTHING), st.integers(0, 2**32))
    def take(some: list[bytes], seed: int) -> int:
        more = [line for line in some for line in mutants(line, random.Random(seed))]
        for line in more:
            for types in TABLES:
                with contextlib.suppress(net.ProtocolError):
                    decoded = net.decode(line, types)
                    if not isinstance(decoded, net.Unknown):
                        assert net.decode(net.encode(decoded).rstrip(b"\n"), types) == decoded
        return len(more)


def mutants(line: bytes, chance: random.Random) -> list[bytes]:
    """The line, and some that differ from it in one place: Hypothesis alone would take hours for a million."""
    some = [line]
    for _ in range(20 if len(line) < 1000 else 0):
        start, end = sorted(chance.choices(range(len(line) + 1), k=2))
        some.append(line[:start] + chance.choice(SPARE_PARTS) + line[chance.choice([start, start + 1, end]) :])
    return some


SPARE_PARTS = [b"", b'"', b",", b"}", b"{}", b"[]", b"0", b"-1", b"1e5", b"true", b"null"]
SPARE_PARTS += [b"\\", b"\\ud800", b"\xff", b"\0"]


def test_lines_come_out_whole_however_they_were_cut_on_their_way(chance: random.Random) -> None:
    @feed(chance, 1_000, lines(EVERYTHING), PIECES)
    def take(some: list[bytes], pieces: list[int]) -> int:
        reader, data = net.LineReader(net.MAX_LINE_FROM_ROOM), as_lines(some)
        read = []
        for size in [*pieces, len(data)]:
            reader.feed(data[:size])
            data = data[size:]
            while (line := reader.next()) is not None:
                read.append(line)
        assert read == some
        return len(some)


# To a room -----------------------------------------------------------------------------------------------------------

MAX_STORE = 100_000  # bytes


class Member(Wire):
    """Somebody in the room, who speaks the bare protocol."""

    def __init__(self, room: net.Server, name: str, token: str | None = None) -> None:
        super().__init__(room.port)
        self._numbers = itertools.count(1)
        self.join(name, token)

    def hears_all_up_to(self, text: str) -> list[Message]:
        """The events before this line of their own, which comes last."""
        self.say(next(self._numbers), text)
        events: list[Message] = []
        while (event := self.receive()) is not None:
            if event.get("text") == text:
                return events
            events.append(event)
        raise AssertionError("the connection ended")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for, and nothing is too long to be printed when a test fails."""
    monkeypatch.setattr(net, "MAX_TEXT", 50)
    monkeypatch.setattr(net, "BACK_WITHIN", 0.0)
    monkeypatch.setattr(net, "RETRIES", (0.0,))
    monkeypatch.setattr(net, "CLOSE_TIME", 0.1)
    monkeypatch.setattr(net, "MAX_WAIT", 0.0)


@pytest.fixture
def room(open_room: OpenRoom, quick: None) -> net.Server:  # noqa: ARG001
    return open_room("Room", max_file=MAX_STORE, max_store=MAX_STORE)


@pytest.fixture
def alice(room: net.Server, stack: contextlib.ExitStack) -> Member:
    """Somebody honest who is in the room all the time."""
    alice = stack.enter_context(contextlib.closing(Member(room, "Alice")))
    alice.receive_until("joined")
    return alice


def check_what_the_others_hear(events: list[Message]) -> None:
    for event in events:
        net.decode(json.dumps(event).encode(), net.FROM_ROOM)  # it raises if the room itself breaks a limit
        if event["type"] in ("joined", "left"):
            name = event["name"]
            assert name == net.clean_name(name) != ""
        elif event["type"] == "said":
            assert net.text_problem(event["text"]) is None
            assert event["text"] == net.clean_text(event["text"])


def hears_to_the_end(alice: Member) -> list[Message]:
    """What Alice hears while somebody is in the room."""
    alice.ping()
    events: list[Message] = []
    while not events or events[-1]["type"] != "left":
        event = alice.receive()
        assert event is not None
        events.append(event)
    check_what_the_others_hear(events)
    return events


HELLO = net.encode(net.Hello(net.PROTOCOL, tls=False))


def gets_in(some: list[bytes]) -> bool:
    """Whether these lines are a hello and a join that an empty room accepts."""
    if len(some) < 2 or any(len(line) >= net.MAX_LINE_UNJOINED for line in some[:2]):
        return False
    try:
        hello, join = (net.decode(line, net.TO_ROOM) for line in some[:2])
        if not isinstance(hello, net.Hello) or hello.protocol != net.PROTOCOL or not isinstance(join, net.Join):
            return False
        net.Room("Room").join(join, LOOPBACK, net.Feed())
    except net.ProtocolError:
        return False
    return True


def test_the_others_hear_only_of_those_who_join_whatever_comes_before_that(
    room: net.Server, alice: Member, chance: random.Random
) -> None:
    protocol = st.sampled_from([0, 1, 2, 2, 2, 3])
    name = st.sampled_from(["Mallory", "host", " \u202e"]) | st.text()

    @feed(chance, 800, st.booleans(), lines(net.TO_ROOM, protocol=protocol, token=TOKENS, name=name), PIECES)
    def take(is_greeted: bool, some: list[bytes], pieces: list[int]) -> int:
        with Wire(room.port) as mallory:
            send(mallory, (HELLO if is_greeted else b"") + as_lines(some), pieces)
            answers = mallory.receive_all()
        kinds = [answer["type"] for answer in answers]
        assert kinds[:1] in ([], ["hello"], ["refused"])
        assert "refused" not in kinds[:-1]
        if gets_in([HELLO.strip()] * is_greeted + some):
            hears_to_the_end(alice)
        else:
            assert "welcome" not in kinds
        assert alice.hears_all_up_to("marker") == []
        return len(some)


def test_a_bad_line_in_the_room_is_refused_and_the_good_ones_before_it_are_said(
    room: net.Server, alice: Member, chance: random.Random
) -> None:
    ids, texts = st.integers(0, 20), st.sampled_from(["", "hi", "\u200b", "x" * 51]) | st.text()

    @feed(chance, 800, lines(net.IN_THE_ROOM, id=ids, text=texts), PIECES)
    def take(some: list[bytes], pieces: list[int]) -> int:
        with Wire(room.port) as mallory:
            mallory.join("Mallory")
            send(mallory, as_lines(some), pieces)
            answers = mallory.receive_all()
        joined, *events, left = hears_to_the_end(alice)
        expected, is_refused, reason = what_is_said(some)
        assert joined["type"] == "joined"
        assert [event["text"] for event in events] == expected
        assert left["reason"] == reason
        if is_refused and answers:  # none: lines that the room no longer read can reset the connection
            assert answers[-1]["code"] == "bad"
        return len(some)


def what_is_said(some: list[bytes]) -> tuple[list[str], bool, str]:
    """The texts that appear; whether a bad line follows them; and why this person then leaves."""
    texts: list[str] = []
    last_id = 0
    for line in some:
        try:
            if len(line) >= net.MAX_LINE_TO_ROOM:
                raise net.ProtocolError("too long")
            said = net.decode(line, net.IN_THE_ROOM)
        except net.ProtocolError:
            return texts, True, "lost"
        if isinstance(said, net.Unknown):
            return texts, True, "lost"
        if isinstance(said, net.Leave):
            return texts, False, "left"
        if isinstance(said, net.Say) and said.id > last_id:
            last_id = said.id
            text = net.clean_text(said.text)
            texts += [text] if net.text_problem(text) is None else []
    return texts, False, "lost"


FILE_BYTES = st.binary(max_size=300)


def test_only_a_file_with_the_right_size_and_hash_is_shared_and_nothing_else_is_stored(
    room: net.Server, alice: Member, chance: random.Random
) -> None:
    hashes = st.sampled_from(["right", "right", "RIGHT", "wrong"])
    shared: list[str] = []

    @feed(chance, 800, FILE_BYTES, st.integers(-2, 2), hashes, st.none() | lines(net.TO_ROOM), PIECES)
    def take(data: bytes, more: int, sha256: str, instead: list[bytes] | None, pieces: list[int]) -> int:
        size = max(0, len(data) + more)
        digest = hashlib.sha256(data[:size]).hexdigest()
        digest = {"right": digest, "RIGHT": digest.upper(), "wrong": "0" * 64}[sha256]
        last = net.encode(net.Sent(digest)) if instead is None else as_lines(instead)
        with Wire(room.port) as wire:
            assert wire.begin_upload(alice.token, size)["type"] == "ready"
            send(wire, data + last, pieces)
            answers = wire.receive_all()
        events = alice.hears_all_up_to("marker")
        whole, (line, *_) = (data + last)[:size], (data + last)[size:].split(b"\n")
        is_whole = is_sent(line, whole) and b"\n" in (data + last)[size:]
        assert [event["size"] for event in events] == ([size] if is_whole else [])
        assert [answer["type"] for answer in answers if answer["type"] == "stored"] == (["stored"] if is_whole else [])
        for event in events:
            shared.append(event["file"])
            assert fetched(room, alice, event["file"]) == whole
            room.delete(event["number"])
            assert [event["type"] for event in alice.hears_all_up_to("marker")] == ["taken_back"]
        return 1 + len(instead or "1")

    assert len(shared) > 10
    whole_store_is_free(room)


def fetched(room: net.Server, alice: Member, file: str) -> bytes:
    with Wire(room.port) as wire:
        sending = wire.download(alice.token, file)
        assert sending["type"] == "sending", sending
        return wire.receive_bytes(sending["size"] + 1)


def whole_store_is_free(room: net.Server) -> None:
    """Nothing is stored: the host can share a file that takes all of the store."""

    def is_free() -> bool:
        with Wire(room.port) as wire:
            return bool(wire.upload(room.token, bytes(MAX_STORE))["type"] == "stored")

    with contextlib.closing(Member(room, "Host", room.token)):
        until(is_free, "nothing is left in the store")


def is_sent(line: bytes, whole: bytes) -> bool:
    """Whether this message says that these were all bytes of the file."""
    try:
        sent = net.decode(line, net.TO_ROOM)
    except net.ProtocolError:
        return False
    return isinstance(sent, net.Sent) and sent.sha256.lower() == hashlib.sha256(whole).hexdigest()


def test_a_request_for_a_file_is_answered_by_its_bytes_or_a_refusal(
    room: net.Server, alice: Member, chance: random.Random
) -> None:
    data = secrets.token_bytes(1000)
    file = "f" * 32
    with Wire(room.port) as wire:
        assert wire.upload(alice.token, data, file=file)["type"] == "stored"
    types = {name: net.TO_ROOM[name] for name in ("upload", "download")}
    tokens, files = st.sampled_from([alice.token, "0" * 32]), st.sampled_from([file, file, "0" * 32, "x"])
    numbers = st.integers(0, 1100) | st.integers(0, 2**53)
    (shared,) = alice.hears_all_up_to("begin")

    @feed(chance, 400, messages(types, token=tokens, file=files, offset=numbers, size=numbers))
    def take(first: bytes) -> int:
        with Wire(room.port) as wire:
            assert wire.hello()["type"] == "hello"
            send(wire, first + b"\n", [])
            answer = wire.receive()
            rest = wire.receive_bytes(2000)
        assert answer is None or answer["type"] in ("refused", "sending", "ready", "stored")
        if answer is not None and answer["type"] == "sending":
            assert len(rest) == answer["size"]
            assert data.endswith(rest)
        assert alice.hears_all_up_to("marker") == []
        return 1

    room.delete(shared["number"])
    whole_store_is_free(room)


@needs_tls
def test_whatever_comes_in_place_of_a_handshake_lets_nobody_in(
    open_room: OpenRoom, stack: contextlib.ExitStack, quick: None, chance: random.Random,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for limit in ("GUESSES", "GUESSES_WHERE_KNOWN"):
        monkeypatch.setattr(net, limit, (1e9, 1e9))
    room = open_room("Room", password="secret")
    events: net.Events = queue.Queue()
    alice = stack.enter_context(net.run_client(LOOPBACK, "Alice", events, port=room.port, password="secret"))
    expect(events, net.Joined)
    client_hello = net.Tls(lambda: b"w" * 32, is_room=False).handshake_step(b"")[1]
    edits = st.lists(st.tuples(st.integers(0, len(client_hello)), st.binary(max_size=4)), max_size=3)

    @feed(chance, 300, edits | st.binary(max_size=400), PIECES)
    def take(what: list[tuple[int, bytes]] | bytes, pieces: list[int]) -> int:
        data = what if isinstance(what, bytes) else edited(client_hello, what)
        with Wire(room.port) as mallory:
            assert "b" in mallory.hello(tls=True, a=srp_hex(4))
            send(mallory, data, pieces)
            with contextlib.suppress(ConnectionError):
                assert b"welcome" not in mallory.receive_bytes(10**6)
        alice.say("marker")
        expect(events, net.Said)
        return 1

    assert not any(isinstance(event, net.Joined | net.Lost) for event in drain(events))


def edited(data: bytes, edits: list[tuple[int, bytes]]) -> bytes:
    for place, new in edits:
        data = data[:place] + new + data[place + len(new) :]
    return data


def test_a_room_answers_only_questions_by_udp(
    room: net.Server, chance: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "DATAGRAMS_TIME", 0.0)
    question = net.encode(net.Find(net.PROTOCOL))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(LIMIT)
        asker.connect((LOOPBACK, room.port))

        types = {**net.UDP, "join": net.Join}

        @feed(chance, 2_000, lines(types, protocol=st.sampled_from([0, 1, 2, 2, 2, 3])))
        def take(some: list[bytes]) -> int:
            some = [line[:2000] for line in some]
            for line in [*some, question]:
                asker.send(line)
            for _ in range(sum(map(is_question, some)) + 1):
                answer = net.decode(asker.recv(4096), net.UDP)
                assert isinstance(answer, net.RoomHere)
                assert answer.room == room.id
            return len(some)

        asker.setblocking(False)
        with pytest.raises(BlockingIOError):
            asker.recv(4096)


def is_question(line: bytes) -> bool:
    try:
        return net.decode(line, net.UDP) == net.Find(net.PROTOCOL)
    except net.ProtocolError:
        return False


# To a client ---------------------------------------------------------------------------------------------------------


class Guest(Wire):
    """A client's connection, at the end of a room that the test plays."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.socket.settimeout(LIMIT)
        self._received = b""

    def says_hello(self) -> None:
        self.receive_until("hello")
        self.send(message("hello", protocol=net.PROTOCOL, tls=False))

    def lets_in(self, *, room: str = "r0", history: int = 0, max_file: int = 0) -> None:
        """Hello and welcome; `history` says how many events are to follow."""
        self.says_hello()
        self.receive_until("join")
        people = ((1, "Host"), (2, "Ann"))
        welcome = net.Welcome(room, "Room", 2, "Ann", 1, people, 0, 0, history, 0, False, False, max_file)
        self.send_bytes(net.encode(welcome))


class FakeRoom:
    """A listening socket. The test decides what a room says there."""

    def __init__(self) -> None:
        self._listener = socket.create_server((LOOPBACK, 0))
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


class Person:
    """Somebody with the program who joins again whenever a room has ended the visit; checks each event that comes."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.events: net.Events = queue.Queue()
        self.client = self._join()
        self._unanswered: set[int] = set()
        self._room, self._number, self._files = "", 0, 0
        self._transfer = 0

    def _join(self) -> net.Client:
        self._room, self._number, self._files = "", 0, 0
        return net.run_client(LOOPBACK, "Ann", self.events, port=self._port)

    def is_lost(self) -> None:
        """Waits until the connection has ended; joins again if the client will not."""
        while not isinstance(event := self._next(), net.Lost):
            if isinstance(event, net.Refused | net.Closed):
                assert self.client.join(LIMIT)
                self.client = self._join()
                return

    def transfer_is_over_or_waits(self) -> net.Event | None:
        """Waits until the file's connection has ended; returns how the transfer ended, or None if it goes on."""
        while True:
            event = self._next()
            if isinstance(event, net.Uploaded | net.Saved | net.Failed):
                return event
            if isinstance(event, net.Progress) and event.is_waiting and not self._begins(event):
                return None

    def _begins(self, progress: net.Progress) -> bool:
        """Whether this is the first event of this transfer."""
        is_new = progress.transfer != self._transfer
        self._transfer = progress.transfer
        return is_new

    def _next(self) -> net.Event:
        event = self.events.get(timeout=LIMIT)
        match event:
            case net.Welcome():
                if event.room != self._room:
                    self._room, self._number = event.room, 0
                self._number += event.missed
                self._files = event.files
            case net.Said() | net.Joined() | net.Left() | net.Shared() | net.Paused() | net.TakenBack():
                if self._files > 0:
                    assert isinstance(event, net.Shared)
                    self._files -= 1
                else:
                    assert event.number > self._number
                    self._number = event.number
            case net.Sending():
                self._unanswered.add(event.id)
        if isinstance(event, net.Rejected | net.Settled):
            self._unanswered.discard(event.id)
        return event

    def close(self) -> None:
        self.client.close()
        assert self.client.join(LIMIT)


@pytest.fixture
def fake(stack: contextlib.ExitStack, quick: None) -> FakeRoom:  # noqa: ARG001
    return stack.enter_context(contextlib.closing(FakeRoom()))


def test_a_client_goes_on_or_comes_back_whatever_a_room_says(
    fake: FakeRoom, stack: contextlib.ExitStack, chance: random.Random
) -> None:
    ann = stack.enter_context(contextlib.closing(Person(fake.port)))
    small = st.integers(0, 8)
    rooms = st.sampled_from(["r1", "r2"])
    codes = st.sampled_from(["wait", "full", "full", "limit", "bad"])
    known: dict[str, st.SearchStrategy[Any]] = {"number": small, "missed": small, "history": small, "who": small}
    known |= {"room": rooms, "code": codes, "files": st.sampled_from([0, 0, 1, 2])}
    known |= {"protocol": st.just(net.PROTOCOL), "tls": st.just(False)}
    said_by_rooms = lines(net.FROM_ROOM, **known)

    @feed(chance, 800, st.integers(0, 2), said_by_rooms, PIECES)
    def take(stage: int, some: list[bytes], pieces: list[int]) -> int:
        guest = fake.accepts()
        if stage == 1:
            guest.send(message("hello", protocol=net.PROTOCOL, tls=False))
        elif stage == 2:
            guest.lets_in(history=chance.randrange(5))
        ann.client.say("hello?")
        send(guest, as_lines(some), pieces)
        drop_what_comes(guest)
        ann.is_lost()
        return len(some)

    guest = fake.accepts()
    guest.lets_in(room="a good one")
    # A line that is written before the client knows in which room it is now belongs to the room before.
    expect(ann.client.events, net.Welcome, lambda welcome: welcome.room == "a good one")
    ann.client.say("still here")
    while guest.receive_until("say")["text"] != "still here":
        pass
    guest.close()


def drop_what_comes(guest: Guest) -> None:
    with contextlib.suppress(ConnectionError):
        while guest.socket.recv(2**16):
            pass
    guest.close()


def test_only_the_right_file_is_saved_whatever_a_room_does_with_it(
    fake: FakeRoom, stack: contextlib.ExitStack, chance: random.Random, tmp_path: Path
) -> None:
    """The old file stays until then, and nothing is left beside it."""
    ann = stack.enter_context(contextlib.closing(Person(fake.port)))
    main = fake.accepts()
    main.lets_in(max_file=2**40)
    picture, saved = tmp_path / "picture.png", tmp_path / "saved"
    data = secrets.token_bytes(100)
    picture.write_bytes(data)
    file = net.Shared(1, 1.5, 1, "Host", "0" * 32, "picture.png", len(data), hashlib.sha256(data).hexdigest())
    numbers = st.integers(0, 110) | st.integers(0, 2**53)
    codes = st.sampled_from(["limit", "wait", "space"])
    answers = lines(net.FILE_FROM_ROOM, size=st.just(len(data)) | numbers, code=codes)
    ready, stored = net.encode(net.Ready()), net.encode(net.Stored())
    ends: list[net.Event] = []
    is_running = False

    @feed(chance, 500, st.sampled_from(["right", "right", "wrong", "short", "none"]), answers, PIECES)
    def take(what: str, some: list[bytes], pieces: list[int]) -> int:
        nonlocal is_running
        if not is_running:
            saved.write_bytes(b"old")
            if chance.random() < 0.5:
                ann.client.share(str(picture))
            else:
                ann.client.save(file, str(saved))
            is_running = True
        main.ping()
        guest = fake.accepts()
        guest.says_hello()
        first = guest.receive()
        assert first is not None
        if first["type"] == "upload":
            begin = {"right": ready + stored, "wrong": stored * 2, "short": ready, "none": b""}[what]
        else:
            rest = len(data) - first["offset"]
            raw = {"right": data[-rest:], "wrong": b"x" * rest, "short": data[-rest:][:50], "none": b""}[what]
            begin = net.encode(net.RawBytes(rest)) + raw if raw else b""
        send(guest, begin + as_lines(some), pieces)
        drop_what_comes(guest)
        end = ann.transfer_is_over_or_waits()
        if end is not None:
            is_running = False
            ends.append(end)
            assert saved.read_bytes() == (data if isinstance(end, net.Saved) else b"old")
            assert sorted(os.listdir(tmp_path)) == ["picture.png", "saved"]
        return 1 + len(some)

    assert any(isinstance(end, net.Saved) for end in ends)
    assert any(isinstance(end, net.Uploaded) for end in ends)
    assert any(isinstance(end, net.Failed) for end in ends)
    assert not any(isinstance(end, net.Failed) and end.code == "failed" for end in ends)


def test_the_list_of_rooms_shows_only_answers_that_can_come_from_a_room(
    chance: random.Random, stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "TELL_EVERY", 0.001)
    monkeypatch.setattr(net, "random", random.Random(1))  # the module's own generator is Hypothesis's here
    monkeypatch.setattr(net, "DATAGRAMS_TIME", 0.0)
    answerer = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    answerer.settimeout(LIMIT)
    answerer.bind((LOOPBACK, 0))
    port = port_of(answerer)
    monkeypatch.setattr(net, "PORTS", range(port, port + 1))
    events: net.Events = queue.Queue()
    finder = stack.enter_context(net.find_rooms(events, ways=[(LOOPBACK, LOOPBACK)]))
    _, asker = answerer.recvfrom(100)
    ports = st.sampled_from([port, port, port + 1])
    titles = st.sampled_from(["Blue", "\u202e", "x" * 100]) | st.text()
    markers = 0

    @feed(chance, 1_000, lines(net.UDP, protocol=st.sampled_from([0, 1, 2, 2, 2]), port=ports, title=titles))
    def take(some: list[bytes]) -> int:
        nonlocal markers
        markers += 1
        marker = net.RoomHere(net.PROTOCOL, f"marker {markers}", "Marker", port, 1, password=False)
        for line in [*(line[:2000] for line in some), net.encode(marker)]:
            answerer.sendto(line, asker)
        shown: tuple[net.FoundRoom, ...] = ()
        while [room.room for room in shown] != [marker.room]:  # at one address and port is only the newest room
            shown = expect(events, net.Found).rooms
            (room,) = shown
            assert room.title == net.clean_name(room.title, net.MAX_TITLE) != ""
            assert (room.address, room.port) == (LOOPBACK, port)
        return len(some)

    finder.close()
    assert finder.join(LIMIT)
