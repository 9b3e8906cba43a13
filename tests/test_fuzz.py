"""What no honest program would say, by the thousand: to a room, and to a client. Hypothesis thinks it up.

What is counted are inputs: a line, a datagram, or the bytes of a file. With CHAT_TORTURE=long they are more than a
million. Over a socket an input is followed by the end of what is said; and then the other side must have noticed all of
it, in the right order, and everybody else must have been left alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
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
from tests.helpers import LIMIT, LONG, LOOPBACK, Message, Wire, drain, expect, needs_tls, until
from tests.test_client import FakeRoom, Guest
from tests.test_files import Member, kept
from tests.test_wire import FIELDS, JSON_VALUES

Test = Callable[..., None]


LONG_TIMES = 15  # as many, in the long form
Take = Callable[..., int]
CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large]  # left out: these examples are large on purpose


def feed(chance: random.Random, inputs: int, *strategies: st.SearchStrategy[Any]) -> Callable[[Take], None]:
    """Runs the function with examples until it has had so many inputs. It returns how many there were in one."""

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
    """A line with a message as it should be; or as it should be but for one field, or for a few bytes."""
    name = draw(st.sampled_from(sorted(types)))
    fields: dict[str, Any] = {"type": name}
    for field in dataclasses.fields(types[name]):
        fields[field.name] = draw(fixed.get(field.name, FIELDS[str(field.type)]))
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
    """Is printed short."""

    def __repr__(self) -> str:
        return f"{self[:1]!r} * {len(self)}"


NOISE = (st.binary(max_size=50) | JSON_LETTERS).map(lambda data: data.replace(b"\n", b""))
NOISE |= st.sampled_from([Repeated(b"x" * 70_000), Repeated(b"[" * 20_000), b"", b"{}", b"GET / HTTP/1.1\r"])
TOKENS = st.sampled_from(["0" * 32, "f" * 32, "x" * 32, ""])


def lines(types: net.Types, **fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[list[bytes]]:
    good = messages(types, **fixed)
    return st.lists(st.one_of(good, good, good, NOISE), min_size=1, max_size=12)


PIECES = st.lists(st.integers(1, 200), max_size=5)  # sizes of the first pieces in which it is sent


def send(wire: Wire, data: bytes, pieces: list[int]) -> None:
    """Says it, as far as the other side listens, and that this is the end."""
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
TABLES = [net.TO_ROOM, net.FROM_ROOM, net.FILE_FROM_ROOM, net.UDP, net._IN_THE_ROOM]


@pytest.mark.parametrize("_part", range(4 if LONG else 1))  # so that none takes so long that it seems to hang
def test_whatever_a_line_is_it_is_a_message_or_a_protocol_error(chance: random.Random, _part: int) -> None:
    """And a message that was read is written so that it is read as the same."""

    @feed(chance, 250_000 // LONG_TIMES + 1 if LONG else 10_000, lines(EVERYTHING), st.integers(0, 2**32))
    def take(some: list[bytes], seed: int) -> int:
        more = [line for line in some for line in mutants(line, random.Random(seed))]
        for line in more:
            for types in TABLES:
                with contextlib.suppress(net.ProtocolError):
                    message = net.decode(line, types)
                    if not isinstance(message, net.Unknown):
                        assert net.decode(net.encode(message).rstrip(b"\n"), types) == message
        return len(more)


def mutants(line: bytes, chance: random.Random) -> list[bytes]:
    """The line, and some that differ from it in one place: hypothesis alone would take hours for a million."""
    some = [line]
    for _ in range(20 if len(line) < 1000 else 0):
        start, end = sorted(chance.choices(range(len(line) + 1), k=2))
        some.append(line[:start] + chance.choice(SPARE_PARTS) + line[chance.choice([start, start + 1, end]) :])
    return some


SPARE_PARTS = [b"", b'"', b",", b"}", b"{}", b"[]", b"0", b"-1", b"1e5", b"true", b"null"]
SPARE_PARTS += [b"\\", b"\\ud800", b"\xff", b"\0"]


def test_however_lines_are_cut_on_their_way_they_come_out_whole(chance: random.Random) -> None:
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


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is waited for, and nothing is too long to be printed when a test fails."""
    monkeypatch.setattr(net, "MAX_TEXT", 50)
    monkeypatch.setattr(net, "BACK_WITHIN", 0.0)
    monkeypatch.setattr(net, "UNFINISHED_KEPT", 0.0)
    monkeypatch.setattr(net, "RETRIES", (0.0,))
    monkeypatch.setattr(net, "CLOSE_TIME", 0.1)
    monkeypatch.setattr(net, "MAX_WAIT", 0.0)


@pytest.fixture
def room(stack: contextlib.ExitStack, quick: None) -> net.Server:  # noqa: ARG001
    return stack.enter_context(net.run_server("Room", host=LOOPBACK, port=0, rate=None))


@pytest.fixture
def alice(room: net.Server, stack: contextlib.ExitStack) -> Member:
    """Somebody honest, who is in the room all the time."""
    alice = stack.enter_context(contextlib.closing(Member(room, "Alice")))
    alice.receive_until("joined")
    return alice


def check_what_the_others_hear(events: list[Message]) -> None:
    for event in events:
        if event["type"] in ("joined", "left"):
            name = event["name"]
            assert name == net.clean_name(name) != ""
        elif event["type"] == "said":
            assert net.text_problem(event["text"]) is None
            assert event["text"] == net.clean_text(event["text"])


def hears_to_the_end(alice: Member) -> list[Message]:
    """What Alice hears while somebody is in the room."""
    alice.send({"type": "ping"})
    events: list[Message] = []
    while not events or events[-1]["type"] != "left":
        event = alice.receive()
        assert event is not None
        events.append(event)
    check_what_the_others_hear(events)
    return events


HELLO = b'{"type":"hello","protocol":1,"tls":false}\n'


def gets_in(room: net.Server, some: list[bytes]) -> bool:
    try:
        hello, join = (net.decode(line, net.TO_ROOM) for line in some[:2])
    except (net.ProtocolError, ValueError):  # ValueError: there is no second line
        return False
    if not isinstance(hello, net.Hello) or hello.protocol != 1 or not isinstance(join, net.Join):
        return False
    name = net.clean_name(join.name)
    return bool(net._TOKEN.fullmatch(join.token)) and name != "" and not room._is_hosts(name)


def test_whatever_comes_to_the_door_only_who_joins_is_heard_of(
    room: net.Server, alice: Member, chance: random.Random
) -> None:
    protocol = st.sampled_from([0, 1, 1, 1, 2])
    name = st.sampled_from(["Mallory", "host", " \u202e"]) | st.text()

    @feed(chance, 800, st.booleans(), lines(net.TO_ROOM, protocol=protocol, token=TOKENS, name=name), PIECES)
    def take(is_greeted: bool, some: list[bytes], pieces: list[int]) -> int:
        with Wire(room.port) as mallory:
            send(mallory, (HELLO if is_greeted else b"") + as_lines(some), pieces)
            answers = mallory.receive_all()
        kinds = [answer["type"] for answer in answers]
        assert kinds[:1] in ([], ["hello"], ["refused"])
        assert "refused" not in kinds[:-1]
        if gets_in(room, [HELLO.strip()] * is_greeted + some):
            hears_to_the_end(alice)
        else:
            assert "welcome" not in kinds
        assert alice.hears_all_up_to("marker") == []
        return len(some)


def test_whatever_somebody_says_in_the_room_the_good_lines_before_it_are_said_and_it_is_refused(
    room: net.Server, alice: Member, chance: random.Random
) -> None:
    ids, texts = st.integers(0, 20), st.sampled_from(["", "hi", "\u200b", "x" * 51]) | st.text()

    @feed(chance, 800, lines(net._IN_THE_ROOM, id=ids, text=texts), PIECES)
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
        if is_refused and answers:  # none: what was not read any more can reset the connection
            assert answers[-1]["code"] == "bad"
        return len(some)


def what_is_said(some: list[bytes]) -> tuple[list[str], bool, str]:
    """The texts that appear; whether a bad line follows them; why this person is gone then."""
    texts: list[str] = []
    last_id = 0
    for line in some:
        try:
            if len(line) >= net.MAX_LINE_TO_ROOM:
                raise net.ProtocolError("too long")
            message = net.decode(line, net._IN_THE_ROOM)
        except net.ProtocolError:
            return texts, True, "lost"
        if isinstance(message, net.Unknown):
            return texts, True, "lost"
        if isinstance(message, net.Leave):
            return texts, False, "left"
        if isinstance(message, net.Say) and message.id > last_id:
            last_id = message.id
            text = net.clean_text(message.text)
            texts += [text] if net.text_problem(text) is None else []
    return texts, False, "lost"


FILE_BYTES = st.binary(max_size=300)


def test_only_what_has_the_right_size_and_hash_is_shared_and_nothing_else_is_kept(
    alice: Member, chance: random.Random, disk: Path
) -> None:
    hashes = st.sampled_from(["right", "right", "RIGHT", "wrong"])
    sizes: list[int] = []

    @feed(chance, 800, FILE_BYTES, st.integers(-2, 2), hashes, st.none() | lines(net.TO_ROOM), PIECES)
    def take(data: bytes, more: int, sha256: str, instead: list[bytes] | None, pieces: list[int]) -> int:
        size = max(0, len(data) + more)
        digest = hashlib.sha256(data[:size]).hexdigest()
        digest = {"right": digest, "RIGHT": digest.upper(), "wrong": "0" * 64}[sha256]
        last = as_lines([net.encode(net.Sent(digest)).strip()] if instead is None else instead)
        with alice.begins(alice.upload(size)) as wire:
            assert wire.receive_until("ready")["offset"] == 0
            send(wire, data + last, pieces)
            answers = wire.receive_all()
        events = alice.hears_all_up_to("marker")
        whole, (line, *_) = (data + last)[:size], (data + last)[size:].split(b"\n")
        sent = is_sent(line, whole) and b"\n" in (data + last)[size:]
        assert [event["size"] for event in events] == ([size] if sent else [])
        assert [answer["type"] for answer in answers if answer["type"] == "stored"] == (["stored"] if sent else [])
        sizes.extend([size] if sent else [])
        return 1 + len(instead or "1")

    assert len(sizes) > 10
    until(lambda: sorted(map(len, kept(disk))) == sorted(sizes), "nothing is kept but what is shared")


def is_sent(line: bytes, whole: bytes) -> bool:
    """Whether this is the message that says that this was all of it."""
    try:
        message = net.decode(line, net.TO_ROOM)
    except net.ProtocolError:
        return False
    return isinstance(message, net.Sent) and message.sha256.lower() == hashlib.sha256(whole).hexdigest()


def test_whatever_is_asked_of_a_file_its_bytes_come_from_there_or_a_refusal(
    room: net.Server, alice: Member, chance: random.Random, disk: Path
) -> None:
    data = secrets.token_bytes(1000)
    file = alice.shares(data)
    types = net._types(net.Upload, net.Download)
    tokens, files = st.sampled_from([alice.token, "0" * 32]), st.sampled_from([file, file, "0" * 32, "x"])
    numbers = st.integers(0, 1100) | st.integers(0, 2**53)
    alice.hears_all_up_to("begin")

    @feed(chance, 400, messages(types, token=tokens, file=files, offset=numbers, size=numbers))
    def take(first: bytes) -> int:
        with Wire(room.port) as wire:
            send(wire, HELLO + first + b"\n", [])
            assert wire.receive() == {"type": "hello", "protocol": 1, "tls": False}
            answer = wire.receive()
            rest = wire.receive_bytes(2000)
        assert answer is None or answer["type"] in ("refused", "sending", "ready", "stored")
        if answer is not None and answer["type"] == "sending":
            assert len(rest) == answer["size"]
            assert data.endswith(rest)
        assert alice.hears_all_up_to("marker") == []
        return 1

    until(lambda: kept(disk) == [data], "nothing is kept but what was shared")


@needs_tls
def test_whatever_comes_in_place_of_a_handshake_lets_nobody_in(
    stack: contextlib.ExitStack, quick: None, chance: random.Random, monkeypatch: pytest.MonkeyPatch  # noqa: ARG001
) -> None:
    monkeypatch.setattr(net, "stretch", lambda _password, _salt: b"k" * 32)
    monkeypatch.setattr(net, "FREE_GUESSES", 10**9)
    room = stack.enter_context(net.run_server("Room", host=LOOPBACK, port=0, rate=None, password="secret"))
    events: net.Events = queue.Queue()
    alice = stack.enter_context(net.run_client(LOOPBACK, "Alice", events, port=room.port, password="secret"))
    expect(events, net.Joined)
    client_hello = net.Tls(b"w" * 32, is_room=False).shake_hands(b"")[1]
    edits = st.lists(st.tuples(st.integers(0, len(client_hello)), st.binary(max_size=4)), max_size=3)

    @feed(chance, 300, edits | st.binary(max_size=400), PIECES)
    def take(what: list[tuple[int, bytes]] | bytes, pieces: list[int]) -> int:
        data = what if isinstance(what, bytes) else edited(client_hello, what)
        with Wire(room.port) as mallory:
            mallory.send({"type": "hello", "protocol": 1, "tls": True})
            hello = mallory.receive()
            assert hello is not None
            assert hello["tls"] is True
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


def test_whatever_is_asked_by_udp_only_a_question_is_answered(
    room: net.Server, chance: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "DATAGRAMS_TIME", 0.0)
    question = net.encode(net.Find(1))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(LIMIT)
        asker.connect((LOOPBACK, room.port))

        @feed(chance, 2_000, lines(net._types(net.Find, net.Room, net.Join), protocol=st.sampled_from([0, 1, 1, 2])))
        def take(some: list[bytes]) -> int:
            some = [line[:2000] for line in some]
            for line in [*some, question]:
                asker.send(line)
            for _ in range(sum(map(is_question, some)) + 1):
                assert json.loads(asker.recv(4096))["room"] == room.id
            return len(some)

        asker.setblocking(False)
        with pytest.raises(BlockingIOError):
            asker.recv(4096)


def is_question(line: bytes) -> bool:
    try:
        return net.decode(line, net.UDP) == net.Find(1)
    except net.ProtocolError:
        return False


# To a client ---------------------------------------------------------------------------------------------------------


class Person:
    """Somebody with the program, who joins again whenever a room has ended it; and all that happened to them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.events: net.Events = queue.Queue()
        self.client = self._join()
        self._unanswered: set[int] = set()
        self._room, self._number = "", 0
        self._transfer = 0

    def _join(self) -> net.Client:
        self._room, self._number = "", 0
        return net.run_client(LOOPBACK, "Ann", self.events, port=self._port)

    def is_lost(self) -> None:
        """Waits until the connection has ended; comes again."""
        while not isinstance(event := self._next(), net.Lost):
            if isinstance(event, net.Refused | net.Closed):
                assert self.client.join(LIMIT)
                self.client = self._join()
                return

    def transfer_is_over_or_waits(self) -> net.Event | None:
        """Waits until the file's connection has ended; how the transfer has, if it has."""
        while True:
            event = self._next()
            if isinstance(event, net.Uploaded | net.Saved | net.Failed):
                return event
            if isinstance(event, net.Progress) and event.is_waiting and not self._begins(event):
                return None

    def _begins(self, progress: net.Progress) -> bool:
        """Whether this is the first that is heard of this transfer."""
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
            case net.Said() | net.Joined() | net.Left() | net.Shared() | net.Paused() | net.TakenBack():
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


def test_whatever_a_room_says_the_client_goes_on_or_comes_back(
    fake: FakeRoom, stack: contextlib.ExitStack, chance: random.Random
) -> None:
    ann = stack.enter_context(contextlib.closing(Person(fake.port)))
    small = st.integers(0, 8)
    rooms = st.sampled_from(["r1", "r2"])
    codes = st.sampled_from(["wait", "full", "full", "bad"])
    known: dict[str, st.SearchStrategy[Any]] = {"number": small, "missed": small, "history": small, "who": small}
    known |= {"room": rooms, "code": codes, "last_id": st.integers(0, 2**53)}
    known |= {"protocol": st.just(1), "tls": st.just(False)}
    said_by_rooms = lines(net.FROM_ROOM, **known)

    @feed(chance, 800, st.integers(0, 2), said_by_rooms, PIECES)
    def take(stage: int, some: list[bytes], pieces: list[int]) -> int:
        guest = fake.accepts()
        if stage == 1:
            guest.send({"type": "hello", "protocol": 1, "tls": False})
        elif stage == 2:
            guest.lets_in(history=chance.randrange(5))
        ann.client.say("hello?")
        send(guest, as_lines(some), pieces)
        drop_what_comes(guest)
        ann.is_lost()
        return len(some)

    guest = fake.accepts()
    guest.lets_in(room="a good one", history=0)
    # What is said before the client knows in which room it is now would be for the room before.
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


def test_whatever_a_room_does_with_a_file_only_the_right_one_is_saved(
    fake: FakeRoom, stack: contextlib.ExitStack, chance: random.Random, tmp_path: Path
) -> None:
    """What was at the target stays until then, and nothing stays beside it."""
    ann = stack.enter_context(contextlib.closing(Person(fake.port)))
    main = fake.accepts()
    main.lets_in(max_file=2**40)
    picture, saved = tmp_path / "picture.png", tmp_path / "saved"
    data = secrets.token_bytes(100)
    picture.write_bytes(data)
    file = net.Shared(1, 1.5, 1, "Host", "0" * 32, "picture.png", len(data), hashlib.sha256(data).hexdigest())
    numbers = st.integers(0, 110) | st.integers(0, 2**53)
    codes = st.sampled_from(["busy", "wait", "space"])
    answers = lines(net.FILE_FROM_ROOM, offset=numbers, size=st.just(len(data)) | numbers, code=codes)
    ready, has_it_all = net.encode(net.Ready(0)), net.encode(net.Ready(len(data)))
    stored = net.encode(net.Stored())
    ends: list[net.Event] = []
    is_running = False

    @feed(chance, 500, st.sampled_from(["right", "wrong", "short", "none"]), answers, PIECES)
    def take(what: str, some: list[bytes], pieces: list[int]) -> int:
        nonlocal is_running
        if not is_running:
            saved.write_bytes(b"old")
            if chance.random() < 0.5:
                ann.client.share(str(picture))
            else:
                ann.client.save(file, str(saved))
            is_running = True
        main.send({"type": "ping"})
        guest = fake.accepts()
        guest.expects("hello")
        guest.send({"type": "hello", "protocol": 1, "tls": False})
        first = guest.receive()
        assert first is not None
        if first["type"] == "upload":
            begin = {"right": has_it_all + stored, "wrong": stored, "short": ready, "none": b""}[what]
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


def test_whatever_is_answered_by_udp_only_what_can_be_a_room_is_shown(
    chance: random.Random, stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "TELL_EVERY", 0.001)
    monkeypatch.setattr(net, "_pause", lambda _port, _asking_for: 1.0)  # without chance, which is hypothesis's here
    monkeypatch.setattr(net, "DATAGRAMS_TIME", 0.0)
    answerer = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    answerer.settimeout(LIMIT)
    answerer.bind((LOOPBACK, 0))
    port = answerer.getsockname()[1]
    monkeypatch.setattr(net, "PORTS", range(port, port + 1))
    events: net.Events = queue.Queue()
    finder = stack.enter_context(net.find_rooms(events, ways=[(LOOPBACK, LOOPBACK)]))
    _, asker = answerer.recvfrom(100)
    ports = st.sampled_from([port, port, port + 1])
    titles = st.sampled_from(["Blue", "\u202e", "x" * 100]) | st.text()
    markers = 0

    @feed(chance, 1_000, lines(net.UDP, protocol=st.sampled_from([0, 1, 1]), port=ports, title=titles))
    def take(some: list[bytes]) -> int:
        nonlocal markers
        markers += 1
        marker = net.Room(1, f"marker {markers}", "Marker", port, 1, password=False)
        for line in [*(line[:2000] for line in some), net.encode(marker)]:
            answerer.sendto(line, asker)
        shown: tuple[net.FoundRoom, ...] = ()
        while [room.room for room in shown] != [marker.room]:  # one port, one room: the newest
            shown = expect(events, net.Found).rooms
            (room,) = shown
            assert room.title == net.clean_name(room.title, net.MAX_TITLE) != ""
            assert (room.address, room.port) == (LOOPBACK, port)
        return len(some)

    finder.close()
    assert finder.join(LIMIT)
