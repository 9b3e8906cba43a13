"""Thousands of messages that no honest program would send, to a room and to a client. Hypothesis invents them.

Over a socket, each example is followed by the end of the sending direction. Then the other side must have dealt with
all of it, in the right order, and everyone else must have been left alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
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
from tests.helpers import LIMIT, LONG, LOOPBACK, FakeRoom, Member, Message, Person, Wire, message, until
from tests.test_wire import as_lines, values_of

LONG_TIMES = 50  # times as many examples in the long form
Take = Callable[..., None]
OPTIONS = settings(
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],  # the examples are large on purpose
)


def feed(chance: random.Random, examples: int, *strategies: st.SearchStrategy[Any]) -> Callable[[Take], None]:
    """Calls the function with so many examples."""
    number = examples * (LONG_TIMES if LONG else 1)

    def run(take: Take) -> None:
        @seed(chance.randrange(2**32))
        @settings(OPTIONS, max_examples=number)
        @given(st.tuples(*strategies))
        def try_one(example: tuple[Any, ...]) -> None:
            take(*example)

        try_one()

    return run


# What is said --------------------------------------------------------------------------------------------------------

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def messages(draw: st.DrawFn, /, types: list[str], **fixed: st.SearchStrategy[Any]) -> bytes:
    """A line with a correct message, or with one that is correct except for one field or for a few bytes."""
    name = draw(st.sampled_from(types))
    fields = message(name)
    for field in dataclasses.fields(net.TYPES[name]):
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
        cut = draw(st.integers(0, len(line)))
        line = line[:cut] + draw(st.binary(max_size=3)) + line[cut + draw(st.integers(0, 3)) :]
    elif what == "cut":
        line = line[draw(st.integers(0, 3)) : draw(st.integers(0, len(line)))]
    return line.replace(b"\n", b"")


JSON_LETTERS = st.text('0123456789{}[]",:.-+eE\\ul nfatrs').map(str.encode)
NOISE = (st.binary(max_size=50) | JSON_LETTERS).map(lambda data: data.replace(b"\n", b""))
NOISE |= st.sampled_from([b"x" * 3_000, b"x" * 70_000, b"[" * 20_000])
NOISE |= st.sampled_from([b"", b"{}", b"GET / HTTP/1.1\r"])
TOKENS = st.sampled_from(["0" * 32, "f" * 32, "x" * 32, ""])
PIECES = st.lists(st.integers(1, 200), max_size=5)  # the sizes of the first pieces that are sent


IN_THE_ROOM = ["say", "ping", "leave"]
TO_ROOM = [*IN_THE_ROOM, "hello", "join", "upload", "sent", "download"]
FILE_FROM_ROOM = ["hello", "refused", "ready", "stored", "sending"]
EVENTS = ["said", "joined", "left", "shared", "paused", "taken_back"]
FROM_ROOM = [*EVENTS, "hello", "welcome", "muted", "rejected", "refused", "closed", "ping"]


def lines(types: list[str], **fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[list[bytes]]:
    good = messages(types, **fixed)
    return st.lists(st.one_of(good, good, good, NOISE), min_size=1, max_size=12)


def read(line: bytes) -> net.Message | net.Unknown | None:
    """None: the line is not a message."""
    try:
        return net.decode(line)
    except net.ProtocolError:
        return None


def send(wire: Wire, data: bytes, pieces: list[int]) -> None:
    """Sends the data, as far as the other side listens, and then the end."""
    with contextlib.suppress(OSError):
        for size in pieces:
            wire.send_bytes(data[:size])
            data = data[size:]
        wire.send_bytes(data)
        wire.socket.shutdown(socket.SHUT_WR)


# To a room -----------------------------------------------------------------------------------------------------------

MAX_STORE = 100_000  # bytes


def all_up_to(alice: Member, kind: str, **fields: object) -> list[Message]:
    """The events up to this one. The room itself breaks no limit in any of them."""
    events = alice.all_up_to(kind, **fields)
    for event in events:
        net.decode(json.dumps(event).encode())
        assert event["type"] not in ("joined", "left") or event["name"] == net.clean_name(event["name"]) != ""
        assert event["type"] != "said" or event["text"] == net.clean_text(event["text"])
    return events


def heard_before_a_line_of_her_own(alice: Member) -> list[Message]:
    """The events before a line that she says now."""
    marker = f"marker {secrets.token_hex(8)}"
    alice.says(marker)
    return all_up_to(alice, "said", text=marker)[:-1]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for, nobody is silent, and nothing is too long to be printed when a test fails."""
    monkeypatch.setattr(net, "MAX_TEXT", 50)
    monkeypatch.setattr(net, "BACK_WITHIN", 0.0)
    monkeypatch.setattr(net, "RETRIES", (0.0,))
    monkeypatch.setattr(net, "CLOSE_TIME", 0.1)
    monkeypatch.setattr(net, "MAX_WAIT", 0.0)
    monkeypatch.setattr(net, "SILENCE", 600.0)  # Hypothesis may need long for its first example


@pytest.fixture
def room(open_room: OpenRoom) -> net.Server:
    return open_room("Room", max_file=MAX_STORE, max_store=MAX_STORE)


@pytest.fixture
def alice(room: net.Server, stack: contextlib.ExitStack) -> Member:
    alice = stack.enter_context(contextlib.closing(Member(room, "Alice")))
    alice.receive_until("joined")
    return alice


HELLO = net.encode(net.Hello(net.PROTOCOL, tls=False)).rstrip()


def test_the_others_hear_only_of_those_who_join_whatever_comes_before_that(
    room: net.Server, alice: Member, chance: random.Random
) -> None:
    protocol = st.sampled_from([0, 1, 2, 2, 2, 3])
    name = st.sampled_from(["Mallory", "host", " \u202e"]) | st.text()

    @feed(chance, 100, st.booleans(), lines(TO_ROOM, protocol=protocol, token=TOKENS, name=name), PIECES)
    def take(is_greeted: bool, some: list[bytes], pieces: list[int]) -> None:
        some = [HELLO] * is_greeted + some
        with Wire(room.port) as mallory:
            send(mallory, as_lines(*some), pieces)
            kinds = [answer["type"] for answer in mallory.receive_all()]
        assert kinds[:1] in ([], ["hello"], ["refused"])
        assert "refused" not in kinds[:-1]
        heard = heard_before_a_line_of_her_own(alice)
        assert heard or "welcome" not in kinds
        if heard:
            hello, join = (read(line) for line in some[:2])
            assert isinstance(hello, net.Hello)
            assert hello.protocol == net.PROTOCOL
            assert isinstance(join, net.Join)
            if heard[-1]["type"] != "left":
                all_up_to(alice, "left")


def test_a_bad_line_in_the_room_is_refused_and_the_good_ones_before_it_are_said(
    room: net.Server, alice: Member, chance: random.Random
) -> None:
    ids, texts = st.integers(0, 20), st.sampled_from(["", "hi", "\u200b", "x" * 51]) | st.text()

    @feed(chance, 100, lines(IN_THE_ROOM, id=ids, text=texts), PIECES)
    def take(some: list[bytes], pieces: list[int]) -> None:
        with Wire(room.port) as mallory:
            mallory.join("Mallory")
            send(mallory, as_lines(*some), pieces)
            answers = mallory.receive_all()
        joined, *events, left = all_up_to(alice, "left")
        expected, is_refused, reason = what_is_said(some)
        assert joined["type"] == "joined"
        assert [event["text"] for event in events] == expected
        assert left["reason"] == reason
        if is_refused and answers:  # none: lines that the room no longer read can reset the connection
            assert answers[-1]["code"] == "bad"


def what_is_said(some: list[bytes]) -> tuple[list[str], bool, str]:
    """The texts that appear; whether a bad line follows them; and why this person then leaves."""
    texts: list[str] = []
    last_id = 0
    for line in some:
        said = read(line)
        if not isinstance(said, net.Say | net.Ping | net.Leave) or len(line) >= net.MAX_LINE_TO_ROOM:
            return texts, True, "lost"
        if isinstance(said, net.Leave):
            return texts, False, "left"
        if isinstance(said, net.Say) and said.id > last_id:
            last_id = said.id
            text = net.clean_text(said.text)
            texts += [text] if net.text_problem(text) is None else []
    return texts, False, "lost"


def test_only_a_file_with_the_right_size_and_hash_is_shared_and_nothing_else_is_stored(
    room: net.Server, alice: Member, chance: random.Random
) -> None:
    hashes = st.sampled_from(["right", "right", "RIGHT", "wrong"])
    more_bytes = st.sampled_from([0, 0, 0, -1, 1, 2])

    @feed(chance, 100, st.binary(max_size=300), more_bytes, hashes, st.none() | lines(TO_ROOM), PIECES)
    def take(data: bytes, more: int, sha256: str, instead: list[bytes] | None, pieces: list[int]) -> None:
        size = max(0, len(data) + more)
        digest = hashlib.sha256(data[:size]).hexdigest()
        digest = {"right": digest, "RIGHT": digest.upper(), "wrong": "0" * 64}[sha256]
        last = net.encode(net.Sent(digest)) if instead is None else as_lines(*instead)
        with Wire(room.port) as wire:
            assert wire.begin_upload(alice.token, size)["type"] == "ready"
            send(wire, data + last, pieces)
            answers = wire.receive_all()
        shared = heard_before_a_line_of_her_own(alice)
        file, rest = (data + last)[:size], (data + last)[size:]
        end = read(rest.split(b"\n")[0])
        is_right = isinstance(end, net.Sent) and end.sha256.lower() == hashlib.sha256(file).hexdigest()
        is_whole = b"\n" in rest and is_right
        assert [event["size"] for event in shared] == ([size] if is_whole else [])
        assert [answer["type"] for answer in answers if answer["type"] == "stored"] == (["stored"] if is_whole else [])
        for event in shared:
            with Wire(room.port) as wire:
                assert wire.download(alice.token, event["file"])["size"] == size
                assert wire.receive_bytes(size + 1) == file
            room.delete(event["number"])
            assert [event["type"] for event in heard_before_a_line_of_her_own(alice)] == ["taken_back"]

    def is_free() -> bool:
        with Wire(room.port) as wire:
            return bool(wire.upload(room.token, bytes(MAX_STORE))["type"] == "stored")

    with Member(room, "Host", room.token):  # who may use all of the store
        until(is_free, "nothing is left in the store")


# To a client ---------------------------------------------------------------------------------------------------------


class Stubborn(Person):
    """Somebody who joins again whenever a room has ended the visit; checks the numbers of the events."""

    def __init__(self, port: int) -> None:
        super().__init__("Ann", port)
        self._port = port
        self._room, self._last, self._files = "", 0, 0

    def loses_the_connection(self) -> None:
        while not isinstance(event := self.next(), net.Lost):
            if isinstance(event, net.Refused | net.Closed):
                assert self.client.join(LIMIT)
                self._room, self._last, self._files = "", 0, 0
                self.client = net.run_client(LOOPBACK, "Ann", self.events, port=self._port)
                return

    def transfer_ends_or_waits(self) -> net.Event | None:
        """Waits until the file's connection has ended; returns how the transfer ended, or None if it tries again."""
        while True:
            event = self.next()
            if isinstance(event, net.Uploaded | net.Saved | net.Failed):
                return event
            if isinstance(event, net.Progress) and event.is_waiting:
                return None

    def next(self) -> net.Event:
        event = self.events.get(timeout=LIMIT)
        if isinstance(event, net.Welcome):
            if event.room != self._room:
                self._room, self._last = event.room, 0
            self._last += event.missed
            self._files = event.files
        elif isinstance(event, net.Numbered) and self._files > 0:
            assert isinstance(event, net.Shared)
            self._files -= 1
        elif isinstance(event, net.Numbered):
            assert event.number > self._last
            self._last = event.number
        return event


@pytest.fixture
def ann(stack: contextlib.ExitStack, fake: FakeRoom) -> Stubborn:
    return stack.enter_context(contextlib.closing(Stubborn(fake.port)))


def test_a_client_goes_on_or_comes_back_whatever_a_room_says(
    fake: FakeRoom, ann: Stubborn, chance: random.Random
) -> None:
    small = st.integers(0, 8)
    known: dict[str, st.SearchStrategy[Any]] = {"number": small, "missed": small, "history": small, "who": small}
    known |= {"room": st.sampled_from(["r1", "r2"]), "code": st.sampled_from(["wait", "full", "full", "limit", "bad"])}
    known |= {"files": st.sampled_from([0, 0, 1, 2]), "protocol": st.just(net.PROTOCOL), "tls": st.just(False)}

    @feed(chance, 60, st.integers(0, 2), small, lines(FROM_ROOM, **known), PIECES)
    def take(stage: int, history: int, some: list[bytes], pieces: list[int]) -> None:
        guest = fake.accepts()
        if stage == 1:
            guest.says_hello()
        elif stage == 2:
            guest.lets_in(history=history)
        ann.client.say("hello?")
        send(guest, as_lines(*some), pieces)
        guest.receive_to_the_end()
        guest.close()
        ann.loses_the_connection()

    guest = fake.accepts()
    guest.lets_in(room="a good one")
    # A line that is written before the client knows in which room it is now belongs to the room before.
    ann.expects(net.Welcome, lambda welcome: welcome.room == "a good one")
    ann.client.say("still here")
    while guest.receive_until("say")["text"] != "still here":
        pass
    guest.close()


def test_only_the_right_file_is_saved_whatever_a_room_does_with_it(
    fake: FakeRoom, ann: Stubborn, chance: random.Random, tmp_path: Path
) -> None:
    """The old file stays until then, and nothing is left beside it."""
    main = fake.accepts()
    main.lets_in(max_file=2**40)
    picture, saved = tmp_path / "picture.png", tmp_path / "saved"
    data = secrets.token_bytes(100)
    picture.write_bytes(data)
    file = net.Shared(1, 1.5, 1, "Host", "0" * 32, "picture.png", len(data), hashlib.sha256(data).hexdigest())
    numbers = st.integers(0, 110) | st.integers(0, 2**53)
    codes = st.sampled_from(["limit", "wait", "space"])
    answers = lines(FILE_FROM_ROOM, size=st.just(len(data)) | numbers, code=codes)
    ready, stored = net.encode(net.Ready()), net.encode(net.Stored())
    ends: list[net.Event] = []
    is_running = False

    def take(is_upload: bool, what: str, some: list[bytes], pieces: list[int]) -> None:
        nonlocal is_running
        if not is_running:
            saved.write_bytes(b"old")
            if is_upload:
                ann.client.share(str(picture))
            else:
                ann.client.save(file, str(saved))
            ann.expects(net.Progress)
            is_running = True
        main.ping()
        guest = fake.accepts()
        guest.expects("hello")
        guest.says_hello()
        first = guest.receive()
        assert first is not None
        if first["type"] == "upload":
            begin = {"right": ready + stored, "wrong": stored * 2, "short": ready, "none": b""}[what]
        else:
            rest = data[first["offset"] :]
            raw = {"right": rest, "wrong": b"x" * len(rest), "short": rest[:50], "none": b""}[what]
            begin = net.encode(net.RawBytes(len(rest))) + raw if raw else b""
        send(guest, begin + as_lines(*some), pieces)
        guest.receive_to_the_end()
        guest.close()
        end = ann.transfer_ends_or_waits()
        if end is not None:
            is_running = False
            ends.append(end)
            assert saved.read_bytes() == (data if isinstance(end, net.Saved) else b"old")
            assert sorted(os.listdir(tmp_path)) == ["picture.png", "saved"]

    feed(chance, 60, st.booleans(), st.sampled_from(["right", "wrong", "short", "none"]), answers, PIECES)(take)
    assert ends  # chance alone need not bring about each kind of end
    assert not any(isinstance(end, net.Failed) and end.code == "failed" for end in ends)
