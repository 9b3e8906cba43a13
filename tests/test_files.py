"""The room's files, seen from outside: uploads and downloads in plain bytes, the store on the disk, and names."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import re
import secrets
import select
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import net
from tests.conftest import TOP, OpenRoom
from tests.helpers import LIMIT, LOOPBACK, Message, Wire, until

DATA = bytes(range(256)) * 40  # every byte there is, line ends too
HALF = len(DATA) // 2
LARGE = 8 * 2**20  # more than two sockets hold
SENT_AT_ONCE = 2**20


class Usage(NamedTuple):
    total: int
    used: int
    free: int


class Member(Wire):
    """Somebody in the room."""

    def __init__(self, room: net.Server, name: str, token: str | None = None) -> None:
        super().__init__(room.port)
        self.room = room
        self.welcome = self.join(name, token)

    def begins(self, message: Message) -> Wire:
        """A connection for a file, which begins with this message."""
        wire = Wire(self.room.port)
        try:
            assert wire.hello()["type"] == "hello"
            wire.send(message)
        except BaseException:
            wire.close()
            raise
        return wire

    def upload(self, size: int, file: str | None = None, filename: str = "map.png") -> Message:
        file = file or secrets.token_hex(16)
        return {"type": "upload", "token": self.token, "file": file, "filename": filename, "size": size}

    def download(self, file: str, offset: int = 0) -> Message:
        return {"type": "download", "token": self.token, "file": file, "offset": offset}

    def shares(self, data: bytes = DATA, filename: str = "map.png") -> str:
        """The whole of it; the file's id."""
        message = self.upload(len(data), filename=filename)
        with self.begins(message) as wire:
            assert wire.receive() == ready(0)
            wire.send_bytes(data)
            wire.send(sent(data))
            assert wire.receive_all() == [{"type": "stored"}]
        return str(message["file"])

    def breaks_off(self, message: Message, data: bytes) -> None:
        """Sends so much of it, and is gone; returns when the room has noticed."""
        before = resting(self.room)
        with self.begins(message) as wire:
            assert wire.receive() == ready(0)
            wire.send_bytes(data)
        until(lambda: resting(self.room) == before + 1, "the room notices that it broke off")

    def asks(self, message: Message) -> Message:
        """The first answer."""
        with self.begins(message) as wire:
            answer = wire.receive()
        assert answer is not None, "the connection ended instead of an answer"
        return answer

    def is_refused(self, message: Message) -> str:
        """The code. Nothing comes before it, and the end after it."""
        with self.begins(message) as wire:
            (refused,) = wire.receive_all()
        assert refused["type"] == "refused", refused
        assert refused["reason"]
        return str(refused["code"])

    def fetches(self, file: str, offset: int = 0) -> bytes:
        with self.begins(self.download(file, offset)) as wire:
            sending = wire.receive()
            assert sending is not None
            assert sending["type"] == "sending", sending
            data = wire.receive_bytes(sending["size"] + 1)
        assert len(data) == sending["size"]
        return data

    def hears_all_up_to(self, text: str) -> list[Message]:
        """The events up to this line of one's own, which comes last."""
        self.send({"type": "say", "id": time.time_ns() // 1000, "text": text})
        events: list[Message] = []
        while not events or events[-1].get("text") != text:
            event = self.receive()
            assert event is not None, "the connection ended"
            events.append(event)
        return events[:-1]


def resting(room: net.Server) -> int:
    """How many uploads have broken off. Looking inside, because nothing outside shows when the room has noticed."""
    with room._files._lock:
        return sum(file.resting_since is not None for file in room._files._files.values())


def has_the_turn(room: net.Server, wire: Wire) -> bool:
    """Whether this is the newest connection of its file."""
    with room._files._lock:
        newest = [turn[-1].socket for turn in room._files._turns.values()]
        return wire.socket.getsockname() in [sock.getpeername() for sock in newest]


def threads(kind: str) -> list[str]:
    """The room's, that carry a file."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(f"{kind} ")]


def ready(offset: int) -> Message:
    return {"type": "ready", "offset": offset}


def sent(data: bytes) -> Message:
    return {"type": "sent", "sha256": hashlib.sha256(data).hexdigest()}


def kinds(events: list[Message]) -> list[str]:
    return [event["type"] for event in events]


def stores(disk: Path) -> list[Path]:
    return sorted(disk.glob("chat-room-*"))


def kept(disk: Path) -> list[bytes]:
    """What is in the stores, but for the locks."""
    contents = []
    for path in [path for store in stores(disk) for path in store.iterdir()]:
        if path.name != "lock":
            with contextlib.suppress(FileNotFoundError):  # the room has removed it since it was listed
                contents.append(path.read_bytes())
    return contents


Enter = Callable[..., Member]


@pytest.fixture
def enter(stack: contextlib.ExitStack) -> Enter:
    return lambda *who, **how: stack.enter_context(contextlib.closing(Member(*who, **how)))


@pytest.fixture
def room(open_room: OpenRoom) -> net.Server:
    return open_room()


@pytest.fixture
def ann(room: net.Server, enter: Enter) -> Member:
    return enter(room, "Ann")


@pytest.fixture
def bob(room: net.Server, enter: Enter) -> Member:
    return enter(room, "Bob")


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What broke off is given up soon."""
    monkeypatch.setattr(net, "UNFINISHED_KEPT", 0.1)


@pytest.fixture
def give_up(monkeypatch: pytest.MonkeyPatch, room: net.Server) -> Callable[[], None]:
    """What has broken off is given up when this is called, as if its time were up, and not before."""
    changed = room._files._changed
    really_wait_for = changed.wait_for
    is_up = False

    def wait_for(predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        really_wait_for(lambda: predicate() or (is_up and timeout is not None), timeout)
        return predicate()

    def time_is_up() -> None:
        nonlocal is_up
        with changed:
            is_up = True
            changed.notify_all()

    monkeypatch.setattr(changed, "wait_for", wait_for)
    return time_is_up


@pytest.fixture
def lose_patience(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """From when this is called, connections on which nothing moves for so many seconds are over."""
    monkeypatch.setattr(net, "TICK", 0.02)  # s; so often they look at the clock

    def lose_patience(seconds: float) -> None:
        monkeypatch.setattr(net, "SILENCE", seconds)

    return lose_patience


SLOW = 0.1  # s between two pieces of a file that is slow on purpose, and ...
SLOW_PIECES = 16  # ... so many of them last longer than ...
PATIENCE = 1.2  # ... s, which is longer than a slow computer stands still


# Messages ------------------------------------------------------------------------------------------------------------

TOKEN = b"0123456789abcdef" * 2
LINES_TO_ROOM = [
    b'{"type":"upload","token":"%s","file":"%s","filename":"map.png","size":123}' % (TOKEN, TOKEN[::-1]),
    b'{"type":"sent","sha256":"%s"}' % (2 * TOKEN),
    b'{"type":"download","token":"%s","file":"%s","offset":0}' % (TOKEN, TOKEN[::-1]),
]
LINES_FROM_ROOM = [
    b'{"type":"hello","protocol":1,"tls":false}',
    b'{"type":"ready","offset":0}',
    b'{"type":"stored"}',
    b'{"type":"sending","size":123}',
    b'{"type":"refused","code":"hash","reason":"changed"}',
]
EVERY_LINE = [(line, net.TO_ROOM) for line in LINES_TO_ROOM]
EVERY_LINE += [(line, net.FILE_FROM_ROOM) for line in LINES_FROM_ROOM]


@pytest.mark.parametrize(("line", "types"), EVERY_LINE)
def test_each_line_of_the_design_is_read_and_written_back_byte_for_byte(line: bytes, types: net.Types) -> None:
    message = net.decode(line, types)
    assert not isinstance(message, net.Unknown)
    assert net.encode(message) == line + b"\n"


def test_the_design_has_a_line_for_everything_that_a_room_says_to_a_file_s_connection() -> None:
    assert {json.loads(line)["type"] for line in LINES_FROM_ROOM} == set(net.FILE_FROM_ROOM)


# Sharing -------------------------------------------------------------------------------------------------------------


def test_everybody_is_told_of_a_file_once_the_room_has_all_of_it(ann: Member, bob: Member) -> None:
    message = ann.upload(len(DATA), filename="map.png")
    with ann.begins(message) as wire:
        assert wire.receive() == ready(0)
        wire.send_bytes(DATA)
        assert "shared" not in kinds(bob.hears_all_up_to("not yet"))
        before = time.time()
        wire.send(sent(DATA))
        assert wire.receive_all() == [{"type": "stored"}]
    for member in (ann, bob):
        shared = member.receive_until("shared")
        assert before - 1 < shared.pop("time") < time.time() + 1
        assert shared == {
            "type": "shared",
            "number": 4,
            "who": 2,
            "name": "Ann",
            "file": message["file"],
            "filename": "map.png",
            "size": len(DATA),
            "sha256": hashlib.sha256(DATA).hexdigest(),
        }


def test_a_file_is_saved_as_it_was_shared_again_and_again(ann: Member, bob: Member) -> None:
    file = ann.shares()
    for member in (bob, bob, ann):
        assert member.fetches(file) == DATA


def test_who_comes_later_hears_of_the_file_and_can_save_it(ann: Member, enter: Enter) -> None:
    file = ann.shares()
    late = enter(ann.room, "Late")
    assert late.receive_until("shared")["file"] == file
    assert late.fetches(file) == DATA


def test_who_comes_back_can_save_it(ann: Member, bob: Member, enter: Enter) -> None:
    file = ann.shares()
    bob.close()
    assert enter(ann.room, "Bob", token=bob.token).fetches(file) == DATA


def test_a_file_stays_when_the_person_who_shared_it_goes(ann: Member, bob: Member) -> None:
    file = ann.shares()
    ann.send({"type": "leave"})
    bob.receive_until("left")
    assert bob.fetches(file) == DATA


def test_the_rest_of_a_file_is_saved_from_any_place_in_it(ann: Member) -> None:
    file = ann.shares()
    for offset in (1, HALF, len(DATA) - 1, len(DATA)):
        assert ann.fetches(file, offset) == DATA[offset:]


def test_an_empty_file_is_a_file(ann: Member, bob: Member) -> None:
    file = ann.shares(b"", "empty.txt")
    assert bob.receive_until("shared")["size"] == 0
    assert bob.fetches(file) == b""


def test_files_of_several_people_travel_at_once(ann: Member, bob: Member, stack: contextlib.ExitStack) -> None:
    contents = [bytes([number]) * 10_000 for number in range(6)]
    people = [ann, bob] * 3
    messages = [person.upload(10_000) for person in people]
    wires = [stack.enter_context(person.begins(what)) for person, what in zip(people, messages, strict=True)]
    for half in (slice(0, 4_000), slice(4_000, None)):
        for wire, content in zip(wires, contents, strict=True):
            wire.send_bytes(content[half])
    for wire, content in zip(wires, contents, strict=True):
        wire.send(sent(content))
        assert wire.receive_all() == [ready(0), {"type": "stored"}]
    for message, content in zip(messages, contents, strict=True):
        assert bob.fetches(message["file"]) == content


def test_bytes_that_come_with_the_first_message_are_not_lost(ann: Member) -> None:
    message = ann.upload(len(DATA))
    with ann.begins(message) as wire:
        wire.send_bytes(DATA[:HALF])
        wire.send_bytes(DATA[HALF:] + b'{"type":"sent","sha256":"' + sent(DATA)["sha256"].upper().encode() + b'"}\n')
        assert wire.receive_all() == [ready(0), {"type": "stored"}]
    assert ann.fetches(message["file"]) == DATA


def test_a_file_may_come_with_its_first_and_last_message_at_once(ann: Member) -> None:
    message = ann.upload(3)
    with Wire(ann.room.port) as wire:
        assert wire.hello()["type"] == "hello"
        wire.send_bytes(json.dumps(message).encode() + b"\na\nb" + json.dumps(sent(b"a\nb")).encode() + b"\n")
        assert wire.receive_all() == [ready(0), {"type": "stored"}]
    assert ann.fetches(message["file"]) == b"a\nb"


def test_a_file_goes_both_ways_in_pieces_and_never_as_a_whole(ann: Member, bob: Member) -> None:
    block = bytes(SENT_AT_ONCE)
    digest = hashlib.sha256()
    message = ann.upload(LARGE)
    tracemalloc.start()
    try:
        with ann.begins(message) as wire:
            for _ in range(LARGE // SENT_AT_ONCE):
                wire.send_bytes(block)
                digest.update(block)
            wire.send({"type": "sent", "sha256": digest.hexdigest()})
            assert wire.receive_all() == [ready(0), {"type": "stored"}]
        with bob.begins(bob.download(message["file"])) as wire:
            assert wire.receive() == {"type": "sending", "size": LARGE}
            for _ in range(LARGE // SENT_AT_ONCE):
                assert wire.receive_bytes(SENT_AT_ONCE) == block
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < LARGE / 2


def test_sharing_is_braked_like_talking(open_room: OpenRoom, enter: Enter) -> None:
    ann = enter(open_room(rate=2), "Ann")
    begin = time.monotonic()
    for _ in range(3):
        ann.shares(b"x")
    assert time.monotonic() - begin > 0.4


def test_who_opens_many_connections_for_files_has_only_a_few_that_wait(open_room: OpenRoom, enter: Enter) -> None:
    room = open_room(rate=0.1)
    ann = enter(room, "Ann")
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(ann.begins(ann.download("0" * 32))) for _ in range(12)]
        until(lambda: sum(has_an_answer(wire) for wire in wires) == 10, "ten have an answer")
        answered = [wire for wire in wires if has_an_answer(wire)]
        assert [wire.receive_all()[0]["code"] for wire in answered] == ["busy"] * 10
        # Those who wait are strangers still, of whom there are only so many. (With this rate two are a second's worth.)
        until(lambda: len(room._strangers) == 2, "the room is rid of the others")
        assert enter(room, "Bob").welcome["name"] == "Bob"


def has_an_answer(wire: Wire) -> bool:
    return bool(select.select([wire.socket], [], [], 0)[0])


def test_nothing_is_remembered_of_a_connection_that_has_carried_its_file(ann: Member) -> None:
    ann.fetches(ann.shares())
    (person,) = ann.room._people.values()
    until(lambda: not person.carriers, "both are forgotten")


@pytest.mark.parametrize("kind", ["upload", "download"])
def test_who_is_removed_while_the_brake_holds_a_file_back_is_not_served(
    room: net.Server, enter: Enter, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    ann, bob = enter(room, "Ann"), enter(room, "Bob")
    file = bob.shares()
    message = ann.upload(len(DATA)) if kind == "upload" else ann.download(file)
    monkeypatch.setattr(room, "_brake", lambda *_: room.remove(ann.welcome["who"], True))
    assert ann.is_refused(message) == "unknown"


# Limits --------------------------------------------------------------------------------------------------------------


def test_without_other_wishes_a_file_has_at_most_100_mib_and_a_room_1_gib(ann: Member) -> None:
    assert ann.welcome["max_file"] == 100 * 2**20
    assert ann.is_refused(ann.upload(100 * 2**20 + 1)) == "size"
    assert ann.room._files._max_store == 2**30


def test_a_file_of_exactly_the_limit_is_taken_and_a_byte_more_is_not(open_room: OpenRoom, enter: Enter) -> None:
    ann = enter(open_room(max_file=1_000), "Ann")
    assert ann.welcome["max_file"] == 1_000
    assert ann.is_refused(ann.upload(1_001)) == "size"
    assert ann.fetches(ann.shares(b"x" * 1_000)) == b"x" * 1_000


def test_a_room_takes_exactly_as_much_as_it_should(open_room: OpenRoom, enter: Enter) -> None:
    ann = enter(open_room(max_store=1_000), "Ann")
    ann.shares(b"x" * 400)
    assert ann.is_refused(ann.upload(601)) == "space"
    ann.shares(b"x" * 600)
    assert ann.is_refused(ann.upload(1)) == "space"
    ann.shares(b"")


def test_what_is_on_its_way_counts_with_the_size_that_it_will_have(open_room: OpenRoom, enter: Enter) -> None:
    ann = enter(open_room(max_store=1_000), "Ann")
    with ann.begins(ann.upload(900)) as wire:
        assert wire.receive() == ready(0)
        assert ann.is_refused(ann.upload(101)) == "space"
    until(lambda: resting(ann.room), "the room notices that it broke off")
    assert ann.is_refused(ann.upload(101)) == "space"


def test_a_room_takes_only_so_many_files_however_small(ann: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "MAX_FILES", 2)
    ann.shares(b"")
    ann.shares(b"")
    assert ann.is_refused(ann.upload(0)) == "space"


def test_a_disk_with_less_than_twice_the_size_free_takes_no_file(
    ann: Member, monkeypatch: pytest.MonkeyPatch, disk: Path
) -> None:
    looked_at = []

    def disk_usage(path: str) -> Usage:
        looked_at.append(Path(path))
        return Usage(10_000, 9_000, 1_000)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    assert ann.is_refused(ann.upload(501)) == "space"
    assert looked_at == stores(disk)
    ann.shares(b"x" * 500)


def test_a_disk_that_cannot_tell_is_not_trusted(ann: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    def disk_usage(_path: str) -> Usage:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    assert ann.is_refused(ann.upload(1)) == "space"


@pytest.mark.parametrize("wrong", [{"max_file": -1}, {"max_store": -1}, {"max_file": 2**53 + 1}])
def test_limits_that_are_none_are_told_to_the_host(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="numbers of bytes"):
        net.run_server("Room 7", host=LOOPBACK, port=0, **wrong)  # type: ignore[arg-type]


def test_a_fifth_unfinished_upload_waits_while_four_are_live(
    ann: Member, bob: Member, stack: contextlib.ExitStack
) -> None:
    for _ in range(4):
        assert stack.enter_context(ann.begins(ann.upload(10))).receive() == ready(0)
    assert ann.is_refused(ann.upload(10)) == "busy"
    bob.shares()


def test_a_broken_off_upload_makes_room_for_a_fifth(
    ann: Member, stack: contextlib.ExitStack, disk: Path
) -> None:
    messages = [ann.upload(10) for _ in range(4)]
    live = stack.enter_context(ann.begins(messages[0]))
    assert live.receive() == ready(0)
    for message in messages[1:]:
        ann.breaks_off(message, b"%d" % messages.index(message))
    fifth = stack.enter_context(ann.begins(ann.upload(10)))
    assert fifth.receive() == ready(0)
    until(lambda: sorted(kept(disk)) == [b"", b"", b"2", b"3"], "the one that has waited longest is gone")
    until(lambda: len(threads("upload")) == 4, "and nobody waits for it any more")
    live.send_bytes(b"0123456789")
    live.send(sent(b"0123456789"))
    assert live.receive_all() == [{"type": "stored"}]


def test_finished_files_are_not_counted_as_unfinished(ann: Member) -> None:
    for _ in range(6):
        ann.shares(b"x")


# Breaks --------------------------------------------------------------------------------------------------------------


def test_an_upload_that_broke_off_goes_on_where_it_was(ann: Member, bob: Member, disk: Path) -> None:
    message = ann.upload(len(DATA))
    ann.breaks_off(message, DATA[:HALF])
    assert kept(disk) == [DATA[:HALF]]
    with ann.begins(message) as wire:
        assert wire.receive() == ready(HALF)
        wire.send_bytes(DATA[HALF:])
        wire.send(sent(DATA))
        assert wire.receive_all() == [{"type": "stored"}]
    assert bob.fetches(message["file"]) == DATA
    assert kinds(bob.hears_all_up_to("once")).count("shared") == 1


def test_an_upload_that_broke_off_just_before_its_hash_needs_only_that(ann: Member) -> None:
    message = ann.upload(len(DATA))
    ann.breaks_off(message, DATA)
    with ann.begins(message) as wire:
        assert wire.receive() == ready(len(DATA))
        wire.send(sent(DATA))
        assert wire.receive_all() == [{"type": "stored"}]
    assert ann.fetches(message["file"]) == DATA


def test_said_again_after_the_end_it_is_stored_and_nobody_hears_of_it_twice(ann: Member, bob: Member) -> None:
    message = ann.upload(len(DATA))
    ann.shares()  # something else
    with ann.begins(message) as wire:
        wire.send_bytes(DATA)
        wire.send(sent(DATA))
        assert wire.receive_all() == [ready(0), {"type": "stored"}]
    for last_word in (None, sent(DATA), sent(b"")):
        with ann.begins(message) as wire:
            if last_word:
                wire.send(last_word)
            assert wire.receive_all() == [ready(len(DATA)), {"type": "stored"}]
    assert kinds(bob.hears_all_up_to("once")).count("shared") == 2
    assert bob.fetches(message["file"]) == DATA


def test_last_words_arrive_because_the_room_reads_on_for_a_moment(
    ann: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "LAST_WORDS", LIMIT)  # the moment is as long as a slow computer needs
    message = ann.upload(len(DATA), ann.shares())
    with ann.begins(message) as wire:
        assert wire.receive() == ready(len(DATA))
        assert wire.receive() == {"type": "stored"}
        for _ in range(3):
            wire.send(sent(DATA))  # a connection that was closed would be reset by the first of them
            assert wire.receive() is None


def test_a_file_that_was_shared_is_kept_even_if_who_shared_it_does_not_hear_of_it(
    ann: Member, bob: Member, monkeypatch: pytest.MonkeyPatch, disk: Path
) -> None:
    def encode(message: net.Message) -> bytes:
        if isinstance(message, net.Stored):
            raise net.ConnectionLost
        return really_encode(message)

    really_encode = net.encode
    monkeypatch.setattr(net, "encode", encode)
    monkeypatch.setattr(net, "UNFINISHED_KEPT", 0.0)
    with ann.begins(ann.upload(len(DATA))) as wire:
        wire.send_bytes(DATA)
        wire.send(sent(DATA))
        assert wire.receive_all() == [ready(0)]
    until(lambda: not threads("upload"), "the room has ended the upload")
    assert kept(disk) == [DATA]
    assert bob.fetches(bob.receive_until("shared")["file"]) == DATA


def test_a_file_can_be_saved_from_the_moment_at_which_everybody_is_told(
    ann: Member, bob: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    def share(room: net.Server, connection: net.Connection, upload: net.Upload, *file: str) -> None:
        really_share(room, connection, upload, *file)
        answers.append(bob.asks(bob.download(upload.file)))

    answers: list[Message] = []
    really_share = net.Server._share
    monkeypatch.setattr(net.Server, "_share", share)
    ann.shares()
    assert answers == [{"type": "sending", "size": len(DATA)}]


def test_the_newest_connection_of_an_upload_wins(ann: Member) -> None:
    message = ann.upload(len(DATA))
    with ann.begins(message) as old:
        assert old.receive() == ready(0)
        old.send_bytes(DATA[:HALF])
        until(lambda: [file.done for file in ann.room._files._files.values()] == [HALF], "the room has half of it")
        with ann.begins(message) as new:
            assert new.receive() == ready(HALF)
            assert old.receive_all() == []
            new.send_bytes(DATA[HALF:])
            new.send(sent(DATA))
            assert new.receive_all() == [{"type": "stored"}]


def test_of_many_connections_of_one_upload_the_last_one_wins(ann: Member, stack: contextlib.ExitStack) -> None:
    message = ann.upload(len(DATA))
    wires = []
    for _ in range(20):
        wires.append(stack.enter_context(ann.begins(message)))
        until(lambda: has_the_turn(ann.room, wires[-1]), "it is the newest one for the room too")
    *others, last = wires
    assert last.receive() == ready(0)
    last.send_bytes(DATA)
    last.send(sent(DATA))
    assert last.receive_all() == [{"type": "stored"}]
    for other in others:
        assert other.receive_all() in ([], [ready(0)])


def test_an_upload_is_written_by_one_connection_at_a_time(
    ann: Member, monkeypatch: pytest.MonkeyPatch, stack: contextlib.ExitStack
) -> None:
    def write_all(file: io.FileIO, piece: bytes) -> None:
        writing.set()
        assert go_on.wait(LIMIT)
        file.write(piece)

    def begin(files: net.Files, upload: net.Upload) -> net.StoredFile:
        begun.append(upload)
        return really_begin(files, upload)

    writing, go_on = threading.Event(), threading.Event()
    begun: list[net.Upload] = []
    really_begin = net.Files._begin
    monkeypatch.setattr(net, "_write_all", write_all)
    monkeypatch.setattr(net.Files, "_begin", begin)
    message = ann.upload(4)
    first = stack.enter_context(ann.begins(message))
    try:
        first.send_bytes(b"12")
        assert writing.wait(LIMIT)
        second = stack.enter_context(ann.begins(message))
        turn = ann.room._files._turns[net.Upload, ann.token, message["file"]]
        until(lambda: len(turn) == 2, "the second one is there")
        third = stack.enter_context(ann.begins(message))
        assert second.receive_all() == []
        assert len(begun) == 1
    finally:
        go_on.set()
    assert third.receive() == ready(2)
    assert len(begun) == 2
    third.send_bytes(b"34")
    third.send(sent(b"1234"))
    assert third.receive_all() == [{"type": "stored"}]
    until(lambda: ann.room._files._turns == {}, "nothing is remembered of turns that have ended")


def test_who_waited_for_the_rest_waits_no_more_when_it_comes(ann: Member) -> None:
    message = ann.upload(len(DATA))
    ann.breaks_off(message, DATA[:HALF])
    assert len(threads("upload")) == 1
    with ann.begins(message) as wire:
        assert wire.receive() == ready(HALF)
        until(lambda: len(threads("upload")) == 1, "the one that waited is gone")
        assert resting(ann.room) == 0
        wire.send_bytes(DATA[HALF:])
        wire.send(sent(DATA))
        assert wire.receive_all() == [{"type": "stored"}]
    assert ann.fetches(message["file"]) == DATA


def test_the_newest_connection_of_a_download_wins(ann: Member) -> None:
    file = ann.shares(bytes(LARGE))
    with ann.begins(ann.download(file)) as old:
        old.receive()
        assert ann.fetches(file, LARGE - 5) == bytes(5)
        with contextlib.suppress(ConnectionError):
            assert len(old.receive_bytes(LARGE)) < LARGE


def test_what_others_save_does_not_end_a_download(ann: Member, bob: Member) -> None:
    file = ann.shares(bytes(LARGE))
    with ann.begins(ann.download(file)) as mine:
        mine.receive()
        assert bob.fetches(file, LARGE - 5) == bytes(5)
        assert mine.receive_bytes(LARGE) == bytes(LARGE)


@pytest.mark.usefixtures("soon")
def test_an_upload_that_broke_off_for_too_long_is_gone(ann: Member, disk: Path) -> None:
    message = ann.upload(len(DATA))
    with ann.begins(message) as wire:
        assert wire.receive() == ready(0)
        wire.send_bytes(DATA[:HALF])
        until(lambda: kept(disk) == [DATA[:HALF]], "the room has half of it")
    until(lambda: kept(disk) == [], "it goes")
    assert ann.asks(message) == ready(0)


def test_an_upload_that_broke_off_is_kept_for_60_s() -> None:
    assert net.UNFINISHED_KEPT == 60


def test_an_upload_on_which_nothing_comes_has_broken_off(
    ann: Member, disk: Path, lose_patience: Callable[[float], None]
) -> None:
    with ann.begins(ann.upload(len(DATA))) as wire:
        assert wire.receive() == ready(0)
        wire.send_bytes(DATA[:HALF])
        until(lambda: kept(disk) == [DATA[:HALF]], "the room has half of it")
        lose_patience(0.2)
        assert wire.receive_all() == []
        assert kept(disk) == [DATA[:HALF]]


def test_an_upload_that_is_slow_but_moves_goes_on(ann: Member, lose_patience: Callable[[float], None]) -> None:
    lose_patience(PATIENCE)
    with ann.begins(ann.upload(SLOW_PIECES)) as wire:
        assert wire.receive() == ready(0)
        for _ in range(SLOW_PIECES):
            time.sleep(SLOW)  # slowness is what is tested
            wire.send_bytes(b"x")
        wire.send(sent(b"x" * SLOW_PIECES))
        assert wire.receive_all() == [{"type": "stored"}]


@pytest.mark.usefixtures("soon")
def test_an_upload_without_its_hash_is_not_shared(
    ann: Member, enter: Enter, disk: Path, lose_patience: Callable[[float], None]
) -> None:
    message = ann.upload(len(DATA))
    with ann.begins(message) as wire:
        assert wire.receive() == ready(0)
        wire.send_bytes(DATA)
        until(lambda: kept(disk) == [DATA], "the room has all of it")
        lose_patience(0.2)
        assert wire.receive_all() == []
    until(lambda: kept(disk) == [], "it goes")
    lose_patience(LIMIT)  # for Bob, who comes only now: he is silent, too
    assert "shared" not in kinds(enter(ann.room, "Bob").hears_all_up_to("nothing"))


@pytest.mark.parametrize("how", ["another size", "a download"])
def test_who_comes_back_for_something_else_does_not_keep_a_half_file_for_ever(
    ann: Member, disk: Path, how: str, give_up: Callable[[], None]
) -> None:
    message = ann.upload(len(DATA))
    ann.breaks_off(message, DATA[:HALF])
    if how == "another size":
        assert ann.is_refused({**message, "size": 1}) == "bad"
    else:
        assert ann.is_refused(ann.download(message["file"])) == "unknown"
    assert kept(disk) == [DATA[:HALF]]
    give_up()
    until(lambda: kept(disk) == [], "it goes")


def test_a_disk_that_fails_refuses_the_rest_and_keeps_nothing(
    ann: Member, bob: Member, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(file: io.FileIO, piece: bytes) -> None:
        file.write(piece[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    message = ann.upload(len(DATA))
    with monkeypatch.context() as patch, ann.begins(message) as wire:
        patch.setattr(net, "_write_all", fails)
        assert wire.receive() == ready(0)
        wire.send_bytes(DATA[:HALF])
        (refused,) = wire.receive_all()
    assert (refused["type"], refused["code"]) == ("refused", "space")
    assert kept(disk) == []
    assert "shared" not in kinds(bob.hears_all_up_to("nothing"))
    assert ann.asks(message) == ready(0)


def test_a_file_that_the_disk_has_lost_ends_the_download(ann: Member, disk: Path) -> None:
    file = ann.shares()
    (path,) = [path for path in stores(disk)[0].iterdir() if path.name != "lock"]
    path.unlink()
    with ann.begins(ann.download(file)) as wire:
        assert wire.receive_all() == []


def test_a_disk_that_takes_only_a_part_at_a_time_gets_all(tmp_path: Path) -> None:
    class Slow(io.FileIO):
        def write(self, data: Any) -> int:
            return super().write(bytes(data)[:7])

    with Slow(tmp_path / "file", "wb") as file:
        net._write_all(file, DATA)
    assert (tmp_path / "file").read_bytes() == DATA


# Who may -------------------------------------------------------------------------------------------------------------


def test_a_token_that_is_not_in_the_room_neither_shares_nor_saves(ann: Member, bob: Member) -> None:
    file = ann.shares()
    for token in (secrets.token_hex(16), "", ann.room.token):  # the host is not in
        assert ann.is_refused({**ann.upload(1), "token": token}) == "unknown"
        assert ann.is_refused({**ann.download(file), "token": token}) == "unknown"
    bob.send({"type": "leave"})
    ann.receive_until("left")
    assert bob.is_refused(bob.upload(1)) == "unknown"
    assert bob.is_refused(bob.download(file)) == "unknown"


def test_who_is_lost_but_may_come_back_still_has_a_part_in_the_files(ann: Member, bob: Member) -> None:
    file = ann.shares()
    bob.close()
    assert bob.fetches(file) == DATA
    bob.shares()


def test_the_host_shares_from_the_rooms_own_computer_alone(
    room: net.Server, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = enter(room, "", token=room.token)
    host.shares()
    monkeypatch.setattr(net, "_is_loopback", lambda _address: False)
    assert host.is_refused(host.upload(1)) == "unknown"


def test_who_leaves_in_the_middle_shares_nothing(ann: Member, bob: Member, disk: Path) -> None:
    message = ann.upload(len(DATA))
    with ann.begins(message) as wire:
        assert wire.receive() == ready(0)
        ann.send({"type": "leave"})
        bob.receive_until("left")
        wire.send_bytes(DATA)
        wire.send(sent(DATA))
        (refused,) = wire.receive_all()
    assert refused["code"] == "unknown"
    assert "shared" not in kinds(bob.hears_all_up_to("nothing"))
    assert kept(disk) == []
    assert bob.is_refused(bob.download(message["file"])) == "unknown"


@pytest.mark.parametrize("whole", [True, False])
def test_the_id_of_another_persons_file_is_refused(ann: Member, bob: Member, whole: bool, disk: Path) -> None:
    message = ann.upload(len(DATA))
    ann.breaks_off(message, DATA[:HALF])
    if whole:
        with ann.begins(message) as wire:
            wire.send_bytes(DATA[HALF:])
            wire.send(sent(DATA))
            assert wire.receive_all() == [ready(HALF), {"type": "stored"}]
    assert bob.is_refused({**message, "token": bob.token}) == "bad"
    assert kept(disk) == [DATA if whole else DATA[:HALF]]
    assert ann.asks(message) == ready(len(DATA) if whole else HALF)


def test_another_size_for_a_file_that_is_whole_is_refused_and_leaves_it_alone(ann: Member) -> None:
    file = ann.shares()
    assert ann.is_refused(ann.upload(1, file)) == "bad"
    assert ann.fetches(file) == DATA


@pytest.mark.parametrize("file", ["", "x" * 32, "0" * 31, "0" * 33, "../" * 10 + "ab", "0" * 32 + "\n"])
def test_a_file_id_is_32_hex_digits(ann: Member, file: str) -> None:
    assert ann.is_refused({**ann.upload(1), "file": file}) == "bad"


def test_a_file_that_is_not_there_is_unknown(ann: Member) -> None:
    assert ann.is_refused(ann.download(secrets.token_hex(16))) == "unknown"
    assert ann.is_refused(ann.download("../lock")) == "unknown"


def test_a_file_that_is_not_whole_cannot_be_saved(ann: Member, bob: Member) -> None:
    message = ann.upload(len(DATA))
    with ann.begins(message) as wire:
        assert wire.receive() == ready(0)
        wire.send_bytes(DATA)
        assert bob.is_refused(bob.download(message["file"])) == "unknown"


def test_a_place_beyond_the_end_of_a_file_is_refused(ann: Member) -> None:
    file = ann.shares()
    assert ann.is_refused(ann.download(file, len(DATA) + 1)) == "bad"


# Hostile -------------------------------------------------------------------------------------------------------------


def test_a_wrong_hash_is_refused_and_nothing_is_kept(ann: Member, bob: Member, disk: Path) -> None:
    message = ann.upload(len(DATA))
    with ann.begins(message) as wire:
        wire.send_bytes(DATA)
        wire.send(sent(DATA[:-1]))
        assert wire.receive() == ready(0)
        (refused,) = wire.receive_all()
    assert (refused["type"], refused["code"]) == ("refused", "hash")
    assert kept(disk) == []
    assert "shared" not in kinds(bob.hears_all_up_to("nothing"))
    assert ann.is_refused(ann.download(message["file"])) == "unknown"
    assert ann.asks(message) == ready(0)


@pytest.mark.parametrize("ending", [b"x" * 200_000, b"x\n", b"\n", b'{"type":"say","id":1,"text":"x"}\n'])
def test_more_bytes_than_were_announced_are_cut_off(ann: Member, bob: Member, disk: Path, ending: bytes) -> None:
    with ann.begins(ann.upload(len(DATA))) as wire:
        assert wire.receive() == ready(0)
        with contextlib.suppress(ConnectionError):
            wire.send_bytes(DATA + ending)
            wire.send(sent(DATA + ending))
        messages = wire.receive_all()
    assert [message.get("code") for message in messages] in (["bad"], [])  # [] where a reset was quicker
    until(lambda: kept(disk) == [], "nothing is kept")
    assert "shared" not in kinds(bob.hears_all_up_to("nothing"))


def test_a_message_in_place_of_a_file_s_first_one_is_refused(ann: Member) -> None:
    for message in (sent(b""), {"type": "say", "id": 1, "text": "x"}, {"type": "ready", "offset": 0}):
        assert ann.is_refused(message) == "bad"
    for wrong in ({"size": -1}, {"size": True}, {"size": 2**53 + 1}, {"size": "1"}, {"filename": None}):
        assert ann.is_refused({**ann.upload(1), **wrong}) == "bad"
    assert ann.is_refused({**ann.download("0" * 32), "offset": -1}) == "bad"


def test_fifty_uploads_of_one_person_at_once_hold_up_nobody(
    ann: Member, bob: Member, stack: contextlib.ExitStack, disk: Path
) -> None:
    wires = [stack.enter_context(ann.begins(ann.upload(10))) for _ in range(50)]
    answers = [wire.receive() for wire in wires]
    assert answers.count(ready(0)) == 4
    assert [answer["code"] for answer in answers if answer and answer["type"] == "refused"] == ["busy"] * 46
    assert bob.fetches(bob.shares()) == DATA
    assert ann.hears_all_up_to("here I am")
    until(lambda: len(kept(disk)) == 5, "four are being written, and one is whole")


def test_one_person_fetches_only_a_few_files_at_once(
    ann: Member, bob: Member, stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connections are for everybody."""
    files = [bob.shares() for _ in range(net.MOST_AT_ONCE + 1)]
    pieces, go_on = net._pieces, threading.Event()

    def wait(disk: io.FileIO, size: int) -> Iterator[memoryview]:
        assert go_on.wait(LIMIT)
        return pieces(disk, size)

    monkeypatch.setattr(net, "_pieces", wait)
    stack.callback(go_on.set)
    *few, last = files
    wires = [stack.enter_context(ann.begins(ann.download(file))) for file in few]
    for wire in wires:
        assert wire.receive() == {"type": "sending", "size": len(DATA)}
    assert ann.is_refused(ann.download(last)) == "busy"
    with bob.begins(bob.download(last)) as other:
        assert other.receive() == {"type": "sending", "size": len(DATA)}
    again = stack.enter_context(ann.begins(ann.download(few[0])))  # the same file counts once
    go_on.set()
    assert again.receive() == {"type": "sending", "size": len(DATA)}
    assert again.receive_bytes(len(DATA) + 1) == DATA
    assert wires[1].receive_bytes(len(DATA) + 1) == DATA
    assert ann.fetches(last) == DATA


def test_fifty_people_share_at_once(room: net.Server, enter: Enter, stack: contextlib.ExitStack) -> None:
    people = [enter(room, f"P{number}") for number in range(50)]
    messages = [person.upload(len(DATA)) for person in people]
    wires = [stack.enter_context(person.begins(what)) for person, what in zip(people, messages, strict=True)]
    for wire in wires:
        wire.send_bytes(DATA)
        wire.send(sent(DATA))
    for wire in wires:
        assert wire.receive_all() == [ready(0), {"type": "stored"}]
    assert kinds(people[0].hears_all_up_to("all")).count("shared") == 50
    assert people[0].fetches(messages[-1]["file"]) == DATA


def test_who_takes_nothing_of_a_download_holds_up_nobody(ann: Member, bob: Member) -> None:
    file = ann.shares(bytes(LARGE))
    with bob.begins(bob.download(file)) as stuck, bob.begins(bob.upload(10)) as silent:
        assert stuck.receive() is not None
        assert silent.receive() == ready(0)
        assert len(ann.fetches(file)) == LARGE
        ann.hears_all_up_to("here I am")
        bob.hears_all_up_to("and I")


def test_who_takes_nothing_of_a_download_is_let_go(ann: Member, lose_patience: Callable[[float], None]) -> None:
    file = ann.shares(bytes(LARGE))
    with ann.begins(ann.download(file)) as stuck:
        assert stuck.receive() is not None
        lose_patience(0.2)
        until(lambda: not threads("download"), "the room gives up")
        with contextlib.suppress(ConnectionError):
            assert len(stuck.receive_bytes(LARGE)) < LARGE


def test_who_takes_a_download_slowly_gets_all_of_it(ann: Member, lose_patience: Callable[[float], None]) -> None:
    file = ann.shares(bytes(LARGE))
    lose_patience(PATIENCE)
    with ann.begins(ann.download(file)) as slow:
        assert slow.receive() is not None
        for _ in range(SLOW_PIECES):
            time.sleep(SLOW)  # slowness is what is tested
            assert len(slow.receive_bytes(LARGE // SLOW_PIECES)) == LARGE // SLOW_PIECES


def test_who_asks_and_is_gone_leaves_nothing_running(ann: Member) -> None:
    file = ann.shares(bytes(LARGE))
    ann.begins(ann.download(file)).close()
    until(lambda: not threads("download"), "the room ends the download")


def test_a_file_s_connection_names_its_thread(ann: Member) -> None:
    with ann.begins(ann.upload(1)) as wire:
        assert wire.receive() == ready(0)
        assert "upload Ann" in [thread.name for thread in threading.enumerate()]


def test_who_saves_a_file_has_said_what_for_and_is_not_sent_away_by_strangers(
    ann: Member, monkeypatch: pytest.MonkeyPatch, stack: contextlib.ExitStack
) -> None:
    monkeypatch.setattr(net, "_is_loopback", lambda _address: False)
    monkeypatch.setattr(net, "MAX_STRANGERS", 2)
    with ann.begins(ann.download(ann.shares(bytes(LARGE)))) as wire:
        assert wire.receive() == {"type": "sending", "size": LARGE}
        strangers = [stack.enter_context(contextlib.closing(Wire(ann.room.port))) for _ in range(4)]
        assert strangers[-1].hello()["type"] == "hello"
        assert strangers[0].receive_all() == []
        assert wire.receive_bytes(LARGE) == bytes(LARGE)


# The store -----------------------------------------------------------------------------------------------------------


def test_the_store_is_private_and_its_names_are_the_rooms_own(ann: Member, disk: Path) -> None:
    ann.shares(filename="../../secret.txt")
    ann.shares(filename="secret.txt")
    (store,) = stores(disk)
    assert list(disk.iterdir()) == [store]
    assert sorted(path.name for path in store.iterdir()) == ["1", "2", "lock"]
    if sys.platform != "win32":  # there it is private because it is within the user's own folder
        assert stat.S_IMODE(store.stat().st_mode) == 0o700


def test_nothing_is_left_when_the_room_closes(
    open_room: OpenRoom, enter: Enter, stack: contextlib.ExitStack, disk: Path
) -> None:
    room = open_room()
    ann = enter(room, "Ann")
    file = ann.shares(bytes(LARGE))
    ann.breaks_off(ann.upload(10), b"x")
    live = [stack.enter_context(ann.begins(message)) for message in (ann.upload(10), ann.download(file))]
    for wire in live:
        assert wire.receive() is not None
    begin = time.monotonic()
    room.close()
    assert time.monotonic() - begin < 2
    assert list(disk.iterdir()) == []
    assert live[0].receive_all() == []


def test_a_room_that_is_closed_twice_is_closed(open_room: OpenRoom, disk: Path) -> None:
    room = open_room()
    room.close()
    room.close()
    assert list(disk.iterdir()) == []


def test_a_room_without_a_disk_is_a_room_without_files(
    open_room: OpenRoom, enter: Enter, disk: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(disk / "nowhere"))
    room = open_room()
    assert "no files can be shared" in caplog.text
    ann = enter(room, "Ann")
    assert ann.is_refused(ann.upload(0)) == "space"
    ann.hears_all_up_to("hello")
    room.close()


def test_a_room_that_lives_keeps_its_store_and_a_killed_one_is_cleared_away_by_the_next(
    open_room: OpenRoom, disk: Path
) -> None:
    code = (
        "import sys, tempfile, net\n"
        "tempfile.tempdir = sys.argv[1]\n"
        "net.run_server('Other', host='127.0.0.1', port=0)\n"
        "print('open', flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(disk)]
    with subprocess.Popen(command, cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline().split() == [b"open"]
            (others,) = stores(disk)
            (others / "1").write_bytes(DATA)
            mine = open_room()
            assert others in stores(disk)
            assert len(stores(disk)) == 2
            assert sorted(path.name for path in others.iterdir()) == ["1", "lock"]
        finally:
            other.kill()
    mine.close()
    assert stores(disk) == [others]
    room = open_room()
    assert len(stores(disk)) == 1
    assert not others.exists()
    room.close()


def test_two_rooms_of_one_program_have_a_store_each(open_room: OpenRoom, enter: Enter, disk: Path) -> None:
    first, second = open_room(), open_room()
    people = [enter(first, "Ann"), enter(second, "Bob")]
    files = [person.shares(person.token.encode()) for person in people]
    assert len(stores(disk)) == 2
    second.close()
    assert len(stores(disk)) == 1
    assert people[0].fetches(files[0]) == people[0].token.encode()


@pytest.mark.parametrize("content", [[], ["lock"], ["lock", "1", "2"]])
def test_whatever_a_killed_program_left_is_cleared_away(open_room: OpenRoom, disk: Path, content: list[str]) -> None:
    left = disk / "chat-room-left"
    left.mkdir()
    for name in content:
        (left / name).write_bytes(b"")
    open_room()
    assert not left.exists()


def test_a_room_has_files_where_nobody_may_list_the_folder_for_them(
    open_room: OpenRoom, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a computer that many use: everybody may put something there, and nobody sees what others have."""

    def scandir(path: str) -> Any:
        if path == tempfile.gettempdir():
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return really_scandir(path)

    really_scandir = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)
    ann = enter(open_room(), "Ann")
    assert ann.fetches(ann.shares()) == DATA


def test_a_program_that_is_killed_while_it_clears_away_leaves_the_rest_to_the_next(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def unlink(path: str, **how: Any) -> None:
        if os.path.basename(path) == "lock":
            raise Killed
        really_unlink(path, **how)

    really_unlink = os.unlink
    folder, lock = net._make_store()
    for number in range(20):
        Path(folder, str(number)).write_bytes(b"")
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", unlink)
        with lock, pytest.raises(Killed):
            net._remove_store(folder, lock)
    assert kept(disk) == []  # as long as there is anything, the lock is there too
    net._remove_left_stores()
    assert stores(disk) == []


def test_what_is_not_a_rooms_is_left_alone(open_room: OpenRoom, disk: Path, tmp_path: Path) -> None:
    others = [disk / "room-chat", disk / "my-chat-room-1", tmp_path / "elsewhere"]
    for folder in others:
        folder.mkdir()
        for name in ("lock", "precious"):
            (folder / name).write_bytes(b"")
    (disk / "chat-room-a-file").write_bytes(b"")
    with contextlib.suppress(OSError):  # Windows may not allow it
        (disk / "chat-room-a-link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    before = sorted(disk.iterdir())
    open_room().close()
    assert sorted(disk.iterdir()) == before
    for folder in others:
        assert sorted(path.name for path in folder.iterdir()) == ["lock", "precious"]


@pytest.mark.parametrize("thief", ["before the lock is there", "before it is locked", "while it is being locked"])
def test_a_store_that_another_program_takes_for_left_behind_is_made_again(
    disk: Path, monkeypatch: pytest.MonkeyPatch, thief: str
) -> None:
    mkdtemp, try_lock = tempfile.mkdtemp, net._try_lock
    stolen: list[str] = []

    def stealing_mkdtemp(prefix: str) -> str:
        folder = mkdtemp(prefix=prefix)
        if thief == "before the lock is there" and not stolen:
            stolen.append(folder)
            net._remove_left_stores()
        return folder

    def stealing_lock(file: Any) -> bool:
        if thief != "before the lock is there" and not stolen:
            stolen.append(os.path.dirname(file.name))
            if thief == "before it is locked":
                net._remove_left_stores()
            else:
                with open(file.name, "r+b") as other:
                    return try_lock(other) and try_lock(file)
        return try_lock(file)

    if sys.platform == "win32" and thief == "before it is locked":
        pytest.skip("Windows removes no file that is open")
    monkeypatch.setattr(tempfile, "mkdtemp", stealing_mkdtemp)
    monkeypatch.setattr(net, "_try_lock", stealing_lock)
    folder, lock = net._make_store()
    assert stolen
    assert folder not in stolen
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    net._remove_left_stores()
    assert stores(disk) == [Path(folder)]
    net._remove_store(folder, lock)
    assert stores(disk) == []


def test_where_no_file_can_be_locked_a_room_opens_without_files(
    open_room: OpenRoom, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    def no_locks(_file: object) -> bool:
        nonlocal tries
        tries += 1
        if tries > 1_000:
            pytest.fail("it never stops trying")
        return False

    monkeypatch.setattr(net, "_try_lock", no_locks)
    ann = Member(open_room(), "Ann")
    with ann, ann.begins(ann.upload(3)) as wire:
        assert [message["code"] for message in wire.receive_all()] == ["space"]
    assert stores(disk) == []


@pytest.mark.skipif(sys.platform == "win32", reason="every user has a folder of their own there")
def test_what_another_user_has_laid_out_is_no_store(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner could put a link to anything in its place, while a program that trusts it is clearing it away."""
    bait = disk / "chat-room-bait"
    bait.mkdir()
    for name in ("lock", "1"):
        (bait / name).write_bytes(b"")
    with monkeypatch.context() as patch:
        patch.setattr(os, "getuid", lambda: bait.stat().st_uid + 1)
        net._remove_left_stores()
    assert sorted(path.name for path in bait.iterdir()) == ["1", "lock"]
    net._remove_left_stores()
    assert stores(disk) == []


# Names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("map.png", "map.png"),
        ("Übung 3.pdf", "Übung 3.pdf"),
        ("教室.txt", "教室.txt"),
        ("archive.tar.gz", "archive.tar.gz"),
        (".profile", ".profile"),
        ("", "file"),
        (".", "file"),
        ("..", "file"),
        ("/", "file"),
        ("a/", "file"),
        ("\u200b\u202e", "file"),
        ("/etc/passwd", "passwd"),
        ("../../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("C:\\Users\\Ann\\map.png", "map.png"),
        ("C:map.png", "C_map.png"),
        ("map.png::$DATA", "map.png__$DATA"),
        ('a<b>c:d"e|f?g*h.txt', "a_b_c_d_e_f_g_h.txt"),
        ("map.png.", "map.png"),
        ("map.png . . ", "map.png"),
        ("  map.png", "map.png"),
        ("map .png", "map.png"),
        ("a\t\r\n\x0b b\u3000\xa0c.txt", "a b c.txt"),
        ("a\x00\x1b\x7f\x85b.txt", "a b.txt"),
        ("exe.\u202egnp.exe", "exe.gnp.exe"),
        ("photo\u202e\u2066\u2067\u200f\u061cgnp.exe", "photognp.exe"),
        ("map\u3164\u2800\ufe0f.png", "map.png"),
        ("e\u0301.txt", "\xe9.txt"),
        ("e\u200b\u0301.txt", "\xe9.txt"),
        ("half \ud83d.txt", "half \ufffd.txt"),
        ("CON", "_CON"),
        ("con.txt", "_con.txt"),
        ("NUL .tar.gz", "_NUL .tar.gz"),
        ("nul.", "_nul"),
        ("Aux", "_Aux"),
        ("prn.c", "_prn.c"),
        ("COM1", "_COM1"),
        ("com9.log", "_com9.log"),
        ("LPT\xb9", "_LPT\xb9"),
        ("lpt0.x", "_lpt0.x"),
        ("CONIN$", "_CONIN$"),
        ("conout$.txt", "_conout$.txt"),
        ("CLOCK$", "_CLOCK$"),
        ("C\u200bON", "_CON"),
        ("console.txt", "console.txt"),
        ("COM10", "COM10"),
        ("nulls", "nulls"),
        ("a" * 300, "a" * 120),
        ("a" * 300 + ".png", "a" * 116 + ".png"),
        ("a" * 300 + "." + "b" * 20, "a" * 99 + "." + "b" * 20),
        ("a" * 119 + "." + "b" * 100, "a" * 119),
        ("a" * 118 + ". " + "b" * 100, "a" * 118),
        ("教" * 300 + ".png", "教" * 65 + ".png"),
        ("con." + "a" * 300 + ".png", "_con." + "a" * 111 + ".png"),
    ],
)
def test_a_file_name_is_made_harmless(name: str, clean: str) -> None:
    assert net.clean_filename(name) == clean


def test_a_very_long_name_keeps_its_ending_and_costs_nothing() -> None:
    begin = time.thread_time()  # in which a computer that stands still does not count
    assert net.clean_filename("\u0301\u0323" * 32_000 + ".png").endswith(".png")
    assert time.thread_time() - begin < 0.1


ODD_LETTERS = "/\\.:~$ \t\n\x00\u202e\u2066\u200b\u0301\u0338\ufe0f\xa0\u3000\ud800<>="
ODD = st.sampled_from([*ODD_LETTERS, "con", "nul", "COM1", ".png"])
ODD_NAMES = st.lists(ODD | st.characters(), max_size=150).map("".join)


@settings(deadline=None)
@given(ODD_NAMES)
@example("con." + "a" * 300)
@example("con." + "\u6559" * 64 + ".png")
@example("a" * 119 + "." + "b" * 30)
@example(">\u200b\u0338")
@example("\u1100\u200b\u1161\u200b\u11a8")
def test_what_holds_for_every_file_name(name: str) -> None:
    clean = net.clean_filename(name)
    assert clean == net.clean_filename(clean)
    assert 1 <= len(clean) <= net.MAX_FILENAME
    assert len(clean.encode()) <= net.MAX_FILENAME_BYTES
    assert not set(clean) & set('/\\<>:"|?*')
    assert clean == clean.strip()
    assert not clean.endswith(".")
    assert not [c for c in clean if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    assert not re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)\s*(\..*)?", clean)


@settings(deadline=None)
@given(ODD_NAMES.filter(lambda name: not re.search(r"[/\\]", name)))
def test_a_file_name_of_any_kind_can_be_stored(name: str) -> None:
    clean = net.clean_filename(name)
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder, clean + ".part")
        part.write_bytes(b"x")
        part.rename(Path(folder, clean))
        found = os.listdir(folder)
    assert [unicodedata.normalize("NFC", other) for other in found] == [clean]


def test_the_room_cleans_the_name_that_everybody_sees(ann: Member, bob: Member) -> None:
    ann.shares(filename="../C:\\exe.\u202egnp.exe. ")
    assert bob.receive_until("shared")["filename"] == "exe.gnp.exe"


def test_two_files_of_one_name_are_two_files(ann: Member) -> None:
    files = [ann.shares(data) for data in (b"1", b"2")]
    assert [ann.fetches(file) for file in files] == [b"1", b"2"]
