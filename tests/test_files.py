"""The room's files: the store and its quotas as plain objects; uploads and downloads in plain bytes; file names."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import itertools
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import net
from tests.conftest import TOP, OpenRoom
from tests.helpers import LIMIT, LOOPBACK, Message, Wire, message, until

DATA = bytes(range(256)) * 40  # every byte there is, line ends too
HALF = len(DATA) // 2
LARGE = 8 * 2**20  # more than two sockets hold

Sizes = Callable[[], list[int]]


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
        self.say_ids = itertools.count(self.welcome["last_id"] + 1)

    def connects(self) -> Wire:
        """Another connection, for a file."""
        return Wire(self.room.port)

    def begins(self, size: int, **which: str) -> Wire:
        """A connection on which the room waits for the bytes of a file."""
        wire = self.connects()
        try:
            answer = wire.begin_upload(self.token, size, **which)
            assert answer["type"] == "ready", answer
        except BaseException:
            wire.close()
            raise
        return wire

    def shares(self, data: bytes = DATA, filename: str = "map.png") -> str:
        """The whole of it; the file's id."""
        file = secrets.token_hex(16)
        with self.connects() as wire:
            answer = wire.upload(self.token, data, filename, file)
            assert answer["type"] == "stored", answer
            assert wire.receive_all() == []
        return file

    def fetches(self, file: str, offset: int = 0) -> bytes:
        with self.connects() as wire:
            sending = wire.download(self.token, file, offset)
            assert sending["type"] == "sending", sending
            data = wire.receive_bytes(sending["size"] + 1)
        assert len(data) == sending["size"]
        return data

    def cannot_share(self, size: int, **which: str) -> str:
        """The code with which the room refuses a new file."""
        with self.connects() as wire:
            return code(wire, wire.begin_upload(self.token, size, **which))

    def cannot_save(self, file: str, offset: int = 0) -> str:
        """The code with which the room refuses a download."""
        with self.connects() as wire:
            return code(wire, wire.download(self.token, file, offset))

    def cannot_begin(self, first: Message) -> str:
        """The code with which the room refuses a connection that begins with this message."""
        with self.connects() as wire:
            wire.hello()
            wire.send(first)
            return code(wire, wire.receive())

    def hears_all_up_to(self, text: str) -> list[Message]:
        """The events before this line, which this member says now."""
        self.say(next(self.say_ids), text)
        events: list[Message] = []
        while not events or events[-1].get("text") != text:
            event = self.receive()
            assert event is not None, "the connection ended"
            events.append(event)
        return events[:-1]

    def talks(self) -> None:
        """So much that a short history forgets what was before."""
        for number in range(10):
            self.hears_all_up_to(str(number))


def code(wire: Wire, answer: Message | None) -> str:
    """The code of a refusal, after which the connection ends."""
    assert answer is not None, "the connection ended instead of a refusal"
    assert answer["type"] == "refused", answer
    assert answer["reason"]
    assert wire.receive_all() == []
    return str(answer["code"])


def sent(data: bytes) -> Message:
    return message("sent", sha256=hashlib.sha256(data).hexdigest())


def last_answer(wire: Wire, data: bytes) -> list[str]:
    """The kinds of messages with which the room answers that these were the bytes of the file."""
    wire.send(sent(data))
    return kinds(wire.receive_all())


def kinds(events: list[Message]) -> list[str]:
    return [event["type"] for event in events]


def threads(kind: str) -> list[str]:
    """The names of the room's threads that carry a file."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(f"{kind} ")]


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
def come_from_elsewhere(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """After this is called, the room sees connections as if they came from another computer."""

    class FromElsewhere(net.Connection):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.address = "192.0.2.1"

    return lambda: monkeypatch.setattr(net, "Connection", FromElsewhere)


def replace_the_rooms_disk(monkeypatch: pytest.MonkeyPatch, disk: Path, kind: type[io.FileIO]) -> None:
    """From now on the room keeps its files on a disk of this kind."""
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_how: kind(disk / secrets.token_hex(8), "x+b"))


# The store, as plain objects -----------------------------------------------------------------------------------------

HOST = net.Person(net.HOST, "", "Host", LOOPBACK)
OpenFiles = Callable[..., net.Files]


def pupil(who: int, address: str | None = None) -> net.Person:
    """Somebody other than the host, at an address of their own unless it is given."""
    return net.Person(who, "", f"Person {who}", address or f"192.0.2.{who}")


def begin(files: net.Files, person: net.Person, size: int) -> net.StoredFile:
    return files.begin(person, net.Upload("", secrets.token_hex(16), "map.png", size))


def keep(files: net.Files, person: net.Person, size: int) -> str:
    """Stores a whole file; its id."""
    file, file_id = begin(files, person, size), secrets.token_hex(16)
    files.write(file, bytes(size))
    assert files.finish(file, file_id)
    return file_id


def refusal(files: net.Files, person: net.Person, size: int) -> str:
    """The code with which a new file is refused."""
    with pytest.raises(net.ProtocolError) as caught:
        begin(files, person, size)
    return caught.value.code


def gives_way(files: net.Files, file: net.StoredFile, more: int) -> bool:
    """Whether this upload is the one that ends when so much more of it comes."""
    try:
        files.write(file, bytes(more))
    except net.ProtocolError as error:
        return error.code == "space"
    return False


@pytest.fixture
def open_files(stack: contextlib.ExitStack) -> OpenFiles:
    """Opens stores of 1,000 bytes, and files of at most 250, unless other numbers are given."""

    def open_some(max_file: int = 250, max_store: int = 1_000, max_files: int = 1_000, **how: bool) -> net.Files:
        return stack.enter_context(contextlib.closing(net.Files(max_file, max_store, max_files, **how)))

    return open_some


def test_the_quotas_are_those_of_the_design() -> None:
    assert (net.MAX_FILE, net.MAX_STORE, net.MAX_FILES) == (100 * 2**20, 2**30, 1_000)
    assert net.FILES_OF_OTHERS == (0.75, 800)
    assert net.FILES_OF_ADDRESS == (0.25, 200)
    assert net.STORED_IDS == 10_000
    assert net.TRANSFERS_PER_PERSON == 8


def test_a_file_of_exactly_the_largest_size_is_stored_and_one_with_a_byte_more_is_not(open_files: OpenFiles) -> None:
    files = open_files(max_file=250)
    assert refusal(files, HOST, 251) == "size"
    keep(files, HOST, 250)


def test_the_host_may_fill_the_store_to_the_last_byte(open_files: OpenFiles) -> None:
    files = open_files(max_file=1_000)
    keep(files, HOST, 400)
    assert refusal(files, HOST, 601) == "space"
    keep(files, HOST, 600)
    assert refusal(files, HOST, 1) == "space"
    keep(files, HOST, 0)


def test_everyone_except_the_host_together_may_fill_three_quarters_of_the_store(open_files: OpenFiles) -> None:
    files = open_files()
    for who in (2, 3, 4):
        keep(files, pupil(who), 250)
    assert refusal(files, pupil(5), 1) == "space"
    keep(files, HOST, 250)
    assert refusal(files, HOST, 1) == "space"


def test_everyone_except_the_host_together_may_have_four_fifths_of_the_files(open_files: OpenFiles) -> None:
    files = open_files(max_files=10)
    for who in range(2, 10):
        keep(files, pupil(who), 0)
    assert refusal(files, pupil(10), 0) == "space"
    for _ in range(2):
        keep(files, HOST, 0)
    assert refusal(files, HOST, 0) == "space"


def test_the_people_of_one_address_together_may_fill_a_quarter_of_the_store(open_files: OpenFiles) -> None:
    files = open_files(max_file=100)
    ann, ben = pupil(2, "192.0.2.2"), pupil(3, "192.0.2.2")
    keep(files, ann, 100)
    keep(files, ben, 100)
    assert refusal(files, ann, 51) == "space"
    assert refusal(files, ben, 51) == "space"
    keep(files, ben, 50)
    assert refusal(files, ann, 1) == "space"
    keep(files, pupil(4), 100)


def test_the_people_of_one_address_may_always_have_one_file_of_the_largest_size(open_files: OpenFiles) -> None:
    files = open_files(max_file=600)
    keep(files, pupil(2), 600)
    assert refusal(files, pupil(2), 1) == "space"


def test_the_people_of_one_address_may_have_only_so_many_files_however_small(
    open_files: OpenFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "FILES_OF_ADDRESS", (0.25, 3))
    files = open_files()
    for who in (2, 3, 4):
        keep(files, pupil(who, "192.0.2.2"), 0)
    assert refusal(files, pupil(2, "192.0.2.2"), 0) == "space"
    keep(files, pupil(5), 0)


def test_the_hosts_files_are_not_counted_against_pupils_on_the_hosts_computer(open_files: OpenFiles) -> None:
    files = open_files()
    keep(files, HOST, 250)
    keep(files, pupil(2, LOOPBACK), 250)
    assert refusal(files, pupil(3, LOOPBACK), 1) == "space"
    keep(files, HOST, 250)


def test_without_limits_per_address_one_address_may_have_as_much_as_all_others_together(open_files: OpenFiles) -> None:
    files = open_files(per_address=False)
    for _ in range(3):
        keep(files, pupil(2), 250)
    assert refusal(files, pupil(2), 1) == "space"


def test_an_upload_on_its_way_counts_against_its_address_with_its_declared_size(open_files: OpenFiles) -> None:
    """It is refused with "limit", which means "try later", because the upload on its way may still end."""
    files = open_files()
    file = begin(files, pupil(2), 200)
    assert refusal(files, pupil(2), 51) == "limit"
    files.drop(file)
    keep(files, pupil(2), 200)
    assert refusal(files, pupil(2), 51) == "space"


def test_an_upload_on_its_way_counts_against_the_store_with_its_received_bytes(open_files: OpenFiles) -> None:
    files = open_files()
    uploads = [begin(files, pupil(who), 250) for who in range(2, 10)]  # declared: twice the store
    for upload in uploads[:3]:
        files.write(upload, bytes(240))
    assert refusal(files, pupil(10), 31) == "space"
    begin(files, pupil(10), 30)


def test_the_newest_upload_gives_way_when_the_store_fills(open_files: OpenFiles, store: Sizes) -> None:
    files = open_files()
    oldest, older, newer, newest = (begin(files, pupil(who), 250) for who in range(2, 6))
    for upload in (newest, newer, older):
        assert not gives_way(files, upload, 200)
    assert not gives_way(files, oldest, 250), "what the newest one had is free now"
    assert gives_way(files, newest, 1)
    assert gives_way(files, newer, 101)
    assert not gives_way(files, older, 50)
    assert sorted(store()) == [250, 250]


def test_whole_files_never_give_way(open_files: OpenFiles, store: Sizes) -> None:
    files = open_files()
    first = begin(files, pupil(2), 250)
    for who in (3, 4, 5):
        keep(files, pupil(who), 240)
    assert gives_way(files, first, 250)
    assert store() == [240] * 3


def test_the_hosts_upload_does_not_give_way_to_the_upload_of_a_pupil(open_files: OpenFiles) -> None:
    files = open_files(max_file=500)
    pupils = begin(files, pupil(2), 400)
    hosts = [begin(files, HOST, 500), begin(files, HOST, 500)]
    for upload in hosts:
        assert not gives_way(files, upload, 400)
    assert gives_way(files, pupils, 201)
    assert not gives_way(files, hosts[0], 100)


def test_the_upload_of_a_pupil_gives_way_to_the_hosts(open_files: OpenFiles) -> None:
    files = open_files(max_file=1_000)
    hosts = begin(files, HOST, 1_000)
    pupils = begin(files, pupil(2), 250)
    assert not gives_way(files, pupils, 200)
    assert not gives_way(files, hosts, 1_000)
    assert gives_way(files, pupils, 1)


def test_an_upload_that_gave_way_just_before_its_end_is_not_shared(open_files: OpenFiles) -> None:
    files = open_files(max_file=750)
    older, newest = begin(files, pupil(2), 750), begin(files, pupil(3), 250)
    files.write(newest, bytes(250))
    files.write(older, bytes(750))
    with pytest.raises(net.ProtocolError) as caught:
        files.finish(newest, "newest")
    assert caught.value.code == "space"
    assert not files.is_stored("newest")
    assert files.finish(older, "older")


def test_of_two_uploads_with_one_id_only_the_first_to_end_is_stored(open_files: OpenFiles) -> None:
    files = open_files()
    first, second = begin(files, pupil(2), 1), begin(files, pupil(3), 1)
    for file, byte in ((first, b"1"), (second, b"2")):
        files.write(file, byte)
    assert files.finish(first, "id")
    assert not files.finish(second, "id")
    assert files.get("id") is first


def test_a_deleted_file_leaves_its_space_to_others_and_its_id_is_remembered(
    open_files: OpenFiles, store: Sizes
) -> None:
    files = open_files()
    file = keep(files, pupil(2), 250)
    assert refusal(files, pupil(2), 1) == "space"
    files.delete(file)
    assert store() == []
    assert files.is_stored(file)
    with pytest.raises(net.ProtocolError) as caught:
        files.get(file)
    assert caught.value.code == "unknown"
    keep(files, pupil(2), 250)
    files.delete(file)
    assert store() == [250]


def test_an_upload_that_broke_off_leaves_nothing_behind(open_files: OpenFiles, store: Sizes) -> None:
    files = open_files()
    file = begin(files, pupil(2), 250)
    files.write(file, bytes(200))
    assert store() == [200]
    files.drop(file)
    assert store() == []
    keep(files, pupil(2), 250)


def test_the_ids_of_deleted_files_are_forgotten_first_and_those_of_others_never(
    open_files: OpenFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "STORED_IDS", 3)
    files = open_files()
    kept, *deleted = [keep(files, HOST, 1) for _ in range(3)]
    for file in deleted:
        files.delete(file)
    assert [files.is_stored(file) for file in (kept, *deleted)] == [True, True, True]
    keep(files, HOST, 1)
    assert [files.is_stored(file) for file in (kept, *deleted)] == [True, False, True]


def test_several_people_read_one_file_at_once_each_from_their_own_place(open_files: OpenFiles) -> None:
    files = open_files()
    file = begin(files, HOST, 10)
    files.write(file, b"01234")
    files.write(file, b"56789")
    one, two = bytearray(3), bytearray(8)
    assert [file.read(0, memoryview(one)), file.read(4, memoryview(two)), file.read(3, memoryview(one))] == [3, 6, 3]
    assert one == b"345"
    assert two[:6] == b"456789"


def test_a_disk_that_takes_only_a_part_at_a_time_gets_all(
    open_files: OpenFiles, monkeypatch: pytest.MonkeyPatch, disk: Path
) -> None:
    class Slow(io.FileIO):
        def write(self, data: Any) -> int:
            return super().write(bytes(data)[:7])

    replace_the_rooms_disk(monkeypatch, disk, Slow)
    files = open_files()
    file = begin(files, HOST, 250)
    files.write(file, DATA[:250])
    buffer = bytearray(250)
    assert file.read(0, memoryview(buffer)) == 250
    assert buffer == DATA[:250]


def test_a_disk_with_less_than_twice_the_size_free_takes_no_file(
    open_files: OpenFiles, monkeypatch: pytest.MonkeyPatch, disk: Path
) -> None:
    looked_at = []

    def disk_usage(path: str) -> Usage:
        looked_at.append(Path(path))
        return Usage(10_000, 9_800, 200)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    files = open_files()
    assert refusal(files, HOST, 101) == "space"
    assert looked_at == [disk]
    keep(files, HOST, 100)


def test_a_disk_that_cannot_tell_how_much_is_free_takes_no_file(
    open_files: OpenFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disk_usage(_path: str) -> Usage:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    assert refusal(open_files(), HOST, 1) == "space"


# Sharing -------------------------------------------------------------------------------------------------------------


def test_everyone_is_told_of_a_file_once_the_room_has_all_of_it(ann: Member, bob: Member) -> None:
    file = secrets.token_hex(16)
    with ann.begins(len(DATA), filename="map.png", file=file) as wire:
        wire.send_bytes(DATA)
        assert "shared" not in kinds(bob.hears_all_up_to("not yet"))
        before = time.time()
        assert last_answer(wire, DATA) == ["stored"]
    for member in (ann, bob):
        shared = member.receive_until("shared")
        assert before - 1 < shared["time"] < time.time() + 1
        assert (shared["number"], shared["who"], shared["name"]) == (4, ann.welcome["who"], "Ann")
        assert (shared["file"], shared["filename"], shared["size"]) == (file, "map.png", len(DATA))
        assert shared["sha256"] == hashlib.sha256(DATA).hexdigest()


def test_a_person_who_comes_back_can_save_a_file(ann: Member, bob: Member, enter: Enter) -> None:
    file = ann.shares()
    bob.close()
    assert enter(ann.room, "Bob", token=bob.token).fetches(file) == DATA


def test_a_file_stays_when_the_person_who_shared_it_leaves(ann: Member, bob: Member) -> None:
    file = ann.shares()
    ann.leave()
    bob.receive_until("left")
    assert bob.fetches(file) == DATA


def test_a_download_begins_at_any_byte(ann: Member) -> None:
    file = ann.shares()
    for offset in (0, 1, HALF, len(DATA) - 1, len(DATA)):
        assert ann.fetches(file, offset) == DATA[offset:]


def test_the_bytes_may_come_before_the_room_is_ready_and_the_hash_in_capitals(ann: Member) -> None:
    file = secrets.token_hex(16)
    with ann.connects() as wire:
        wire.send(message("hello", protocol=net.PROTOCOL, tls=False))
        wire.send(message("upload", token=ann.token, file=file, filename="map.png", size=len(DATA)))
        wire.send_bytes(DATA)
        wire.send(message("sent", sha256=hashlib.sha256(DATA).hexdigest().upper()))
        assert kinds(wire.receive_all()) == ["hello", "ready", "stored"]
    assert ann.fetches(file) == DATA


def test_sharing_counts_against_the_limit_of_a_person_as_talking_does(open_room: OpenRoom, enter: Enter) -> None:
    ann = enter(open_room(rate=2), "Ann")
    begin = time.monotonic()
    for _ in range(3):
        ann.shares(b"x")
    assert time.monotonic() - begin > 0.4


# Latecomers ----------------------------------------------------------------------------------------------------------


def test_latecomers_are_told_first_of_the_files_that_are_older_than_the_history(
    open_room: OpenRoom, enter: Enter
) -> None:
    ann = enter(open_room(history=4), "Ann")
    files = [ann.shares(b"worksheet"), ann.shares(b"map")]
    ann.talks()
    late = enter(ann.room, "Late")
    assert (late.welcome["files"], late.welcome["history"]) == (2, 4)
    old = [late.receive_until("shared") for _ in files]
    assert [shared["file"] for shared in old] == files
    assert old[0]["number"] < old[1]["number"]
    seen = late.hears_all_up_to("here I am")
    assert len(seen) == 4
    assert "shared" not in kinds(seen)
    assert seen[0]["number"] == late.welcome["missed"] + late.welcome["files"] + 1
    assert late.fetches(files[0]) == b"worksheet"


def test_a_file_within_the_history_is_told_once(ann: Member, enter: Enter) -> None:
    file = ann.shares()
    late = enter(ann.room, "Late")
    assert late.welcome["files"] == 0
    assert [event["file"] for event in late.hears_all_up_to("here I am") if event["type"] == "shared"] == [file]


def test_a_person_who_comes_back_is_told_only_of_the_files_since_then(open_room: OpenRoom, enter: Enter) -> None:
    room = open_room(history=4)
    ann, bob = enter(room, "Ann"), enter(room, "Bob")
    ann.shares(b"1")
    seen = bob.receive_until("shared")
    bob.close()
    second = ann.shares(b"2")
    ann.talks()
    with Wire(room.port) as again:
        welcome = again.join("Bob", bob.token, room.id, seen["number"])
        assert welcome["files"] == 1
        assert again.receive_until("shared")["file"] == second
    with Wire(room.port) as again:
        assert again.join("Bob", bob.token, "another room", seen["number"])["files"] == 2


def test_latecomers_are_not_told_of_files_that_were_deleted(open_room: OpenRoom, enter: Enter) -> None:
    ann = enter(open_room(history=4), "Ann")
    ann.shares(b"1")
    number = ann.receive_until("shared")["number"]
    ann.talks()
    ann.room.delete(number)
    assert enter(ann.room, "Late").welcome["files"] == 0


# Limits --------------------------------------------------------------------------------------------------------------


def test_the_welcome_tells_the_largest_size_of_a_file_and_the_room_keeps_to_it(
    room: net.Server, open_room: OpenRoom, enter: Enter
) -> None:
    assert enter(room, "Ann").welcome["max_file"] == 100 * 2**20
    ann = enter(open_room(max_file=1_000), "Ann")
    assert ann.welcome["max_file"] == 1_000
    assert ann.cannot_share(1_001) == "size"
    assert ann.fetches(ann.shares(b"x" * 1_000)) == b"x" * 1_000


def test_the_store_of_a_room_is_as_large_as_it_was_told(open_room: OpenRoom, enter: Enter) -> None:
    ann = enter(open_room(max_store=1_000), "Ann")
    ann.shares(b"x" * 750)
    assert ann.cannot_share(1) == "space"
    host = enter(ann.room, "", token=ann.room.token)
    host.shares(b"x" * 250)
    assert host.cannot_share(1) == "space"


def test_only_a_room_with_a_rate_has_limits_per_address(open_room: OpenRoom, enter: Enter) -> None:
    ann = enter(open_room(max_store=1_000, max_file=100, rate=1_000.0), "Ann")
    for size in (100, 100, 50):
        ann.shares(bytes(size))
    assert ann.cannot_share(1) == "space"
    free = enter(open_room(max_store=1_000, max_file=100), "Ann")
    for size in (100, 100, 100):
        free.shares(bytes(size))


def test_a_pupil_whose_upload_gives_way_is_told_that_there_is_no_space(
    open_room: OpenRoom, enter: Enter, store: Sizes
) -> None:
    ann = enter(open_room(max_store=1_000, max_file=750), "Ann")
    with ann.begins(750) as older, ann.begins(500) as newer:
        newer.send_bytes(bytes(400))
        until(lambda: store() == [0, 400], "the room has a part of the newer one")
        older.send_bytes(bytes(750))
        until(lambda: store() == [750], "the room has all of the older one, and nothing of the newer one")
        newer.send_bytes(bytes(100))
        assert code(newer, newer.receive()) == "space"
        assert last_answer(older, bytes(750)) == ["stored"]
    assert kinds(ann.hears_all_up_to("all")).count("shared") == 1


def test_an_upload_that_gives_way_before_its_last_word_is_not_shared(
    open_room: OpenRoom, enter: Enter, store: Sizes
) -> None:
    ann = enter(open_room(max_store=1_000, max_file=750), "Ann")
    with ann.begins(750) as older, ann.begins(500) as newer:
        newer.send_bytes(bytes(500))
        until(lambda: store() == [0, 500], "the room has all of the newer one")
        older.send_bytes(bytes(750))
        until(lambda: store() == [750], "the newer one gave way")
        newer.send(sent(bytes(500)))
        assert code(newer, newer.receive()) == "space"
        assert last_answer(older, bytes(750)) == ["stored"]
    assert kinds(ann.hears_all_up_to("all")).count("shared") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_where_the_system_gives_too_few_descriptors_fewer_files_are_allowed_and_not_fewer_people(
    open_room: OpenRoom, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    few = 3 + net.SPARE_CONNECTIONS + 50 + 5  # for people, for other connections, for the program, and for files
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (few, few))
    room = open_room(limit=3)
    ann = enter(room, "Ann")
    for _ in range(4):
        ann.shares(b"")
    assert ann.cannot_share(0) == "space"
    host = enter(room, "", token=room.token)
    host.shares(b"")
    assert host.cannot_share(0) == "space"
    enter(room, "Bob")


@pytest.mark.parametrize("wrong", [{"max_file": -1}, {"max_store": -1}, {"max_file": 2**53 + 1}])
def test_a_host_who_asks_for_impossible_limits_is_told_so(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="numbers of bytes"):
        net.run_server("Room 7", host=LOOPBACK, port=0, **wrong)  # type: ignore[arg-type]


def test_a_person_has_at_most_eight_files_on_their_way(
    open_room: OpenRoom, enter: Enter, stack: contextlib.ExitStack
) -> None:
    room = open_room(rate=1_000.0)
    ann, bob = enter(room, "Ann"), enter(room, "Bob")
    file = bob.shares(bytes(LARGE))
    uploads = [stack.enter_context(ann.begins(1)) for _ in range(4)]
    for _ in range(4):
        assert stack.enter_context(ann.connects()).download(ann.token, file)["type"] == "sending"
    assert ann.cannot_share(1) == "limit"
    assert ann.cannot_save(file) == "limit"
    assert bob.fetches(bob.shares()) == DATA
    uploads[0].send_bytes(b"x")
    assert last_answer(uploads[0], b"x") == ["stored"]
    stack.enter_context(ann.begins(1))


def test_a_person_far_over_the_limit_is_told_to_try_again_later(open_room: OpenRoom, enter: Enter) -> None:
    """The room would otherwise keep a thread for each connection that waits."""
    room = open_room(rate=0.01)  # a file would have to wait for more than a minute
    ann = enter(room, "Ann")
    assert ann.cannot_share(1) == "wait"
    assert ann.cannot_save("0" * 32) == "wait"
    assert enter(room, "Bob").welcome["name"] == "Bob"


def test_when_connections_run_out_the_person_with_the_most_files_on_their_way_loses_the_newest(
    open_room: OpenRoom, enter: Enter, stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "SPARE_CONNECTIONS", 3)
    room = open_room(limit=2)
    ann, bob = enter(room, "Ann"), enter(room, "Bob")
    first, second = (stack.enter_context(ann.begins(1)) for _ in range(2))
    other = stack.enter_context(bob.begins(1))
    assert stack.enter_context(ann.connects()).hello()["type"] == "hello"
    assert second.receive_all() == []
    for wire in (first, other):
        wire.send_bytes(b"x")
        assert last_answer(wire, b"x") == ["stored"]


def test_unknown_people_do_not_push_out_a_file_on_its_way(
    open_room: OpenRoom, enter: Enter, stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "SPARE_CONNECTIONS", 3)
    ann = enter(open_room(limit=1), "Ann")
    with ann.begins(1) as wire:
        unknown = [stack.enter_context(ann.connects()) for _ in range(4)]
        assert unknown[-1].hello()["type"] == "hello"
        assert unknown[0].receive_all() == []
        wire.send_bytes(b"x")
        assert last_answer(wire, b"x") == ["stored"]


# Breaks --------------------------------------------------------------------------------------------------------------


def test_an_upload_that_breaks_off_leaves_nothing_behind_and_begins_anew(
    ann: Member, bob: Member, store: Sizes
) -> None:
    file = secrets.token_hex(16)
    with ann.begins(len(DATA), file=file) as wire:
        wire.send_bytes(DATA[:HALF])
        until(lambda: store() == [HALF], "the room has half of it")
    until(lambda: store() == [], "nothing is left of it")
    with ann.connects() as wire:
        assert wire.upload(ann.token, DATA, file=file)["type"] == "stored"
    assert bob.fetches(file) == DATA
    assert kinds(bob.hears_all_up_to("once")).count("shared") == 1


def test_an_upload_whose_answer_was_lost_is_stored_at_once_and_nobody_hears_of_it_twice(
    ann: Member, bob: Member
) -> None:
    file = ann.shares()
    ann.shares()
    for _ in range(2):
        with ann.connects() as wire:
            assert wire.begin_upload(ann.token, len(DATA), file=file)["type"] == "stored"
            assert wire.receive_all() == []
    assert kinds(bob.hears_all_up_to("twice")).count("shared") == 2
    assert bob.fetches(file) == DATA


def test_an_id_that_was_stored_once_is_stored_even_if_the_file_was_deleted_since(ann: Member, store: Sizes) -> None:
    file = ann.shares()
    ann.room.delete(ann.receive_until("shared")["number"])
    assert store() == []
    with ann.connects() as wire:
        assert wire.begin_upload(ann.token, len(DATA), file=file)["type"] == "stored"
    assert ann.cannot_save(file) == "unknown"
    assert "shared" not in kinds(ann.hears_all_up_to("nothing"))


def test_the_id_of_a_stored_file_is_no_way_to_change_it(ann: Member, bob: Member) -> None:
    file = ann.shares()
    for member, size in ((ann, 1), (bob, 1), (bob, len(DATA))):
        with member.connects() as wire:
            assert wire.begin_upload(member.token, size, file=file)["type"] == "stored"
    assert bob.fetches(file) == DATA
    assert kinds(bob.hears_all_up_to("once")).count("shared") == 1


def test_a_file_is_kept_even_if_the_person_who_shared_it_does_not_hear_of_it(
    ann: Member, bob: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encode(message: net.Message) -> bytes:
        if isinstance(message, net.Stored):
            raise net.ConnectionLost
        return really_encode(message)

    really_encode = net.encode
    file = secrets.token_hex(16)
    with monkeypatch.context() as patch, ann.begins(len(DATA), file=file) as wire:
        patch.setattr(net, "encode", encode)
        wire.send_bytes(DATA)
        assert last_answer(wire, DATA) == []
    assert bob.fetches(bob.receive_until("shared")["file"]) == DATA
    with ann.connects() as wire:
        assert wire.begin_upload(ann.token, len(DATA), file=file)["type"] == "stored"


def test_the_room_reads_on_for_a_moment_so_that_its_last_words_arrive(
    ann: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "LAST_WORDS", LIMIT)  # the moment is as long as a slow computer needs
    with ann.connects() as wire:
        assert wire.upload(ann.token, DATA)["type"] == "stored"
        for _ in range(3):
            wire.send(sent(DATA))  # a connection that was closed would be reset by the first of them
            assert wire.receive() is None


def test_a_new_upload_of_an_id_still_on_its_way_ends_the_older_one(ann: Member, store: Sizes) -> None:
    file = secrets.token_hex(16)
    with ann.begins(len(DATA), file=file) as old:
        old.send_bytes(DATA[:HALF])
        until(lambda: store() == [HALF], "the room has half of it")
        with ann.begins(len(DATA), file=file) as new:
            with contextlib.suppress(ConnectionError):
                assert old.receive_all() == []
            until(lambda: store() == [0], "the older one is gone")
            new.send_bytes(DATA)
            assert last_answer(new, DATA) == ["stored"]
    assert ann.fetches(file) == DATA


def test_of_many_uploads_of_one_id_the_last_one_wins(ann: Member, stack: contextlib.ExitStack, store: Sizes) -> None:
    file = secrets.token_hex(16)
    *others, last = [stack.enter_context(ann.begins(len(DATA), file=file)) for _ in range(20)]
    for other in others:
        assert other.receive_all() == []
    last.send_bytes(DATA)
    assert last_answer(last, DATA) == ["stored"]
    until(lambda: store() == [len(DATA)], "nothing is left of the others")
    assert kinds(ann.hears_all_up_to("once")).count("shared") == 1


def test_a_new_upload_of_an_id_still_on_its_way_needs_no_free_place(
    open_room: OpenRoom, enter: Enter, stack: contextlib.ExitStack
) -> None:
    ann = enter(open_room(rate=1_000.0), "Ann")
    files = [secrets.token_hex(16) for _ in range(net.TRANSFERS_PER_PERSON)]
    wires = [stack.enter_context(ann.begins(1, file=file)) for file in files]
    assert ann.cannot_share(1) == "limit"
    stack.enter_context(ann.begins(1, file=files[0]))
    assert wires[0].receive_all() == []


def test_two_people_who_use_one_id_share_one_file(ann: Member, bob: Member, store: Sizes) -> None:
    file = secrets.token_hex(16)
    with ann.begins(1, file=file) as anns, bob.begins(1, file=file) as bobs:
        bobs.send_bytes(b"b")
        assert last_answer(bobs, b"b") == ["stored"]
        anns.send_bytes(b"a")
        assert last_answer(anns, b"a") == ["stored"]
    until(lambda: store() == [1], "only one of them is kept")
    assert ann.fetches(file) == b"b"
    assert kinds(ann.hears_all_up_to("once")).count("shared") == 1


def test_the_downloads_of_others_do_not_end_a_download(ann: Member, bob: Member) -> None:
    file = ann.shares(bytes(LARGE))
    with ann.connects() as mine:
        assert mine.download(ann.token, file)["size"] == LARGE
        assert bob.fetches(file, LARGE - 5) == bytes(5)
        assert mine.receive_bytes(LARGE) == bytes(LARGE)


@pytest.mark.usefixtures("fast_clock")
@pytest.mark.parametrize("size", [len(DATA), HALF])
def test_an_upload_on_which_nothing_comes_any_more_ends_and_is_not_shared(
    ann: Member, bob: Member, store: Sizes, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """It may have come to its last byte: without the hash it is not shared."""
    monkeypatch.setattr(net, "FIRST_MESSAGE", 60.0)
    with ann.begins(len(DATA)) as wire:
        monkeypatch.setattr(net, "TICK", 0.02)  # from now on the room looks at the clock more often
        wire.send_bytes(DATA[:size])
        assert wire.receive_all() == []
        until(lambda: store() == [], "nothing is left of it")
    assert "shared" not in kinds(bob.hears_all_up_to("nothing"))


@pytest.mark.usefixtures("fast_clock")
def test_a_file_that_takes_longer_than_a_silence_but_moves_arrives(ann: Member) -> None:
    """Both ways it goes in more pieces than there are seconds in a silence, and each of them takes a second."""
    assert net.SILENCE < LARGE / net.MAX_PIECE
    data = secrets.token_bytes(LARGE)
    assert ann.fetches(ann.shares(data)) == data


@pytest.mark.usefixtures("fast_clock")
def test_a_download_that_its_owner_does_not_take_ends(ann: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    file = ann.shares(bytes(LARGE))
    with ann.connects() as stuck:
        assert stuck.download(ann.token, file)["size"] == LARGE
        monkeypatch.setattr(net, "TICK", 0.02)  # from now on the room looks at the clock more often
        until(lambda: not threads("download"), "the room gives up")
        with contextlib.suppress(ConnectionError):
            assert len(stuck.receive_bytes(LARGE)) < LARGE


def test_a_download_whose_owner_is_gone_leaves_nothing_running(ann: Member) -> None:
    file = ann.shares(bytes(LARGE))
    with ann.connects() as wire:
        assert wire.download(ann.token, file)["size"] == LARGE
    until(lambda: not threads("download"), "the room ends the download")


# Disks that fail -----------------------------------------------------------------------------------------------------


def test_a_disk_that_fails_refuses_the_rest_and_keeps_nothing(
    ann: Member, bob: Member, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            super().write(bytes(data)[:10])
            raise OSError(errno.ENOSPC, "No space left on device")

    file = secrets.token_hex(16)
    with monkeypatch.context() as patch:
        replace_the_rooms_disk(patch, disk, Full)
        with ann.begins(len(DATA), file=file) as wire:
            wire.send_bytes(DATA[:HALF])
            assert code(wire, wire.receive()) == "space"
    assert "shared" not in kinds(bob.hears_all_up_to("nothing"))
    with ann.connects() as wire:
        assert wire.upload(ann.token, DATA, file=file)["type"] == "stored"


@pytest.mark.parametrize("how", ["it fails", "it ends too early"])
def test_a_disk_that_has_lost_a_file_ends_the_download(
    ann: Member, disk: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    class Forgetful(io.FileIO):
        def readinto(self, _buffer: Any) -> int:
            if how == "it fails":
                raise OSError(errno.EIO, "Input/output error")
            return 0

    replace_the_rooms_disk(monkeypatch, disk, Forgetful)
    file = ann.shares()
    with ann.connects() as wire:
        assert wire.download(ann.token, file)["size"] == len(DATA)
        assert wire.receive_bytes(1) == b""


def test_a_room_without_a_disk_is_a_room_without_files(
    open_room: OpenRoom, enter: Enter, disk: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(disk / "nowhere"))
    ann = enter(open_room(), "Ann")
    assert ann.cannot_share(0) == "space"
    assert "could not be stored" in caplog.text
    ann.hears_all_up_to("hello")


# The store on the disk -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="there the system deletes the file when it is closed")
def test_the_files_of_a_room_have_no_names_on_the_disk(ann: Member, disk: Path, store: Sizes) -> None:
    ann.shares(filename="../../secret.txt")
    with ann.begins(10) as wire:
        wire.send_bytes(b"12345")
        until(lambda: sorted(store()) == [5, len(DATA)], "one file is there, and half of another one")
        assert list(disk.iterdir()) == []


def test_nothing_is_left_when_the_room_closes(
    open_room: OpenRoom, enter: Enter, stack: contextlib.ExitStack, disk: Path, store: Sizes
) -> None:
    room = open_room()
    ann = enter(room, "Ann")
    file = ann.shares(bytes(LARGE))
    upload = stack.enter_context(ann.begins(10))
    download = stack.enter_context(ann.connects())
    assert download.download(ann.token, file)["type"] == "sending"
    room.close()
    assert store() == []
    assert list(disk.iterdir()) == []
    assert upload.receive_all() == []
    room.close()


def test_a_room_that_is_killed_leaves_no_files_behind(disk: Path) -> None:
    code = (
        "import sys, net\n"
        "room = net.run_server('Room 7', host='127.0.0.1', port=0)\n"
        "print(room.port, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as room:
        try:
            assert room.stdout is not None
            port = int(room.stdout.readline())
            with Wire(port) as ann, Wire(port) as whole, Wire(port) as half:
                ann.join("Ann")
                assert whole.upload(ann.token, DATA)["type"] == "stored"
                assert half.begin_upload(ann.token, len(DATA))["type"] == "ready"
                half.send_bytes(DATA[:HALF])
                room.kill()
                room.wait()
        finally:
            room.kill()
    assert list(disk.iterdir()) == []


def test_two_rooms_of_one_program_have_their_own_files(open_room: OpenRoom, enter: Enter) -> None:
    first, second = open_room(), open_room()
    ann, bob = enter(first, "Ann"), enter(second, "Bob")
    anns, bobs = ann.shares(b"Ann"), bob.shares(b"Bob")
    assert ann.cannot_save(bobs) == "unknown"
    second.close()
    assert ann.fetches(anns) == b"Ann"


# Who may -------------------------------------------------------------------------------------------------------------


def test_only_people_who_are_in_the_room_share_and_save(ann: Member, bob: Member) -> None:
    file = ann.shares()
    for token in (secrets.token_hex(16), ann.room.token):  # the host is not in
        with ann.connects() as wire:
            assert code(wire, wire.begin_upload(token, 1)) == "unknown"
        with ann.connects() as wire:
            assert code(wire, wire.download(token, file)) == "unknown"
    bob.leave()
    ann.receive_until("left")
    assert bob.cannot_share(1) == "unknown"
    assert bob.cannot_save(file) == "unknown"


def test_a_lost_person_who_may_still_come_back_shares_and_saves(ann: Member, bob: Member) -> None:
    file = ann.shares()
    bob.close()
    assert bob.fetches(file) == DATA
    bob.shares()


def test_the_host_shares_only_from_the_rooms_own_computer(
    room: net.Server, enter: Enter, come_from_elsewhere: Callable[[], None]
) -> None:
    host = enter(room, "", token=room.token)
    file = host.shares()
    come_from_elsewhere()
    assert host.cannot_share(1) == "unknown"
    assert host.cannot_save(file) == "unknown"


def test_a_person_who_leaves_in_the_middle_of_an_upload_shares_nothing(
    ann: Member, bob: Member, store: Sizes
) -> None:
    file = secrets.token_hex(16)
    with ann.begins(len(DATA), file=file) as wire:
        ann.leave()
        bob.receive_until("left")
        wire.send_bytes(DATA)
        wire.send(sent(DATA))
        assert code(wire, wire.receive()) == "unknown"
    assert "shared" not in kinds(bob.hears_all_up_to("nothing"))
    assert store() == []
    assert bob.cannot_save(file) == "unknown"


def test_removing_a_person_deletes_their_files_for_good(ann: Member, bob: Member, store: Sizes) -> None:
    files = [ann.shares(b"1"), bob.shares(b"22"), ann.shares(b"333")]
    shared = {event["file"]: event["number"] for event in bob.hears_all_up_to("three") if event["type"] == "shared"}
    with ann.begins(10) as upload:
        ann.room.remove(ann.welcome["who"], True)
        with contextlib.suppress(ConnectionError):
            assert upload.receive_all() == []
    taken_back = {bob.receive_until("taken_back")["which"] for _ in range(2)}
    assert taken_back == {shared[files[0]], shared[files[2]]}
    until(lambda: store() == [2], "only the other person's file is kept")
    ann.room.remove(ann.welcome["who"], False)
    for file in (files[0], files[2]):
        assert bob.cannot_save(file) == "unknown"
    assert bob.fetches(files[1]) == b"22"


def test_removing_a_person_ends_the_downloads_of_their_files(ann: Member, bob: Member) -> None:
    file = ann.shares(bytes(LARGE))
    with bob.connects() as wire:
        assert wire.download(bob.token, file)["size"] == LARGE
        ann.room.remove(ann.welcome["who"], True)
        with contextlib.suppress(ConnectionError):
            assert len(wire.receive_bytes(LARGE)) < LARGE


@pytest.mark.parametrize("file", ["", "x" * 32, "0" * 31, "0" * 33, "../" * 10 + "ab", "0" * 32 + "\n"])
def test_a_file_id_is_32_hex_digits(ann: Member, file: str) -> None:
    upload = message("upload", token=ann.token, file=file, filename="map.png", size=1)
    assert ann.cannot_begin(upload) == "bad"
    assert ann.cannot_begin(message("download", token=ann.token, file=file, offset=0)) == "bad"


def test_a_file_that_does_not_exist_is_unknown(ann: Member) -> None:
    assert ann.cannot_save(secrets.token_hex(16)) == "unknown"


def test_a_file_that_is_not_whole_cannot_be_saved(ann: Member, bob: Member, store: Sizes) -> None:
    file = secrets.token_hex(16)
    with ann.begins(len(DATA), file=file) as wire:
        wire.send_bytes(DATA)
        until(lambda: store() == [len(DATA)], "the room has all of it, except the hash")
        assert bob.cannot_save(file) == "unknown"


def test_a_download_cannot_begin_beyond_the_end_of_a_file(ann: Member) -> None:
    file = ann.shares()
    assert ann.cannot_save(file, len(DATA) + 1) == "bad"


# Hostile -------------------------------------------------------------------------------------------------------------


def test_a_wrong_hash_is_refused_and_nothing_is_kept(ann: Member, bob: Member, store: Sizes) -> None:
    file = secrets.token_hex(16)
    with ann.begins(len(DATA), file=file) as wire:
        wire.send_bytes(DATA)
        wire.send(sent(DATA[:-1]))
        assert code(wire, wire.receive()) == "hash"
    assert store() == []
    assert "shared" not in kinds(bob.hears_all_up_to("nothing"))
    assert ann.cannot_save(file) == "unknown"
    ann.begins(len(DATA), file=file).close()


@pytest.mark.parametrize("ending", [b"x" * 200_000, b"x\n", b"\n"])
def test_more_bytes_than_were_announced_are_cut_off(ann: Member, bob: Member, store: Sizes, ending: bytes) -> None:
    with ann.begins(len(DATA)) as wire:
        with contextlib.suppress(ConnectionError):
            wire.send_bytes(DATA + ending)
            wire.send(sent(DATA + ending))
        messages = wire.receive_all()
    assert [message.get("code") for message in messages] in (["bad"], [])  # [] where a reset was quicker
    until(lambda: store() == [], "nothing is kept")
    assert "shared" not in kinds(bob.hears_all_up_to("nothing"))


def test_a_message_in_place_of_a_files_first_one_is_refused(ann: Member) -> None:
    for other in (sent(b""), message("say", id=1, text="x"), message("ready")):
        assert ann.cannot_begin(other) == "bad"
    upload = message("upload", token=ann.token, file="0" * 32, filename="map.png", size=1)
    for wrong in ({"size": -1}, {"size": True}, {"size": 2**53 + 1}, {"size": "1"}, {"filename": None}):
        assert ann.cannot_begin({**upload, **wrong}) == "bad"
    assert ann.cannot_begin(message("download", token=ann.token, file="0" * 32, offset=-1)) == "bad"


def test_a_message_in_place_of_the_last_one_is_refused(ann: Member, store: Sizes) -> None:
    with ann.begins(1) as wire:
        wire.send_bytes(b"x")
        wire.say(1, "x")
        assert code(wire, wire.receive()) == "bad"
    assert store() == []


def test_fifty_people_share_at_once(room: net.Server, enter: Enter, stack: contextlib.ExitStack) -> None:
    people = [enter(room, f"P{number}") for number in range(50)]
    files = [secrets.token_hex(16) for _ in people]
    shares = zip(people, files, strict=True)
    wires = [stack.enter_context(person.begins(len(DATA), file=file)) for person, file in shares]
    for wire in wires:
        wire.send_bytes(DATA)
        wire.send(sent(DATA))
    for wire in wires:
        assert kinds(wire.receive_all()) == ["stored"]
    assert kinds(people[0].hears_all_up_to("all")).count("shared") == 50
    assert people[0].fetches(files[-1]) == DATA


def test_a_person_who_takes_nothing_of_a_download_holds_up_nobody(ann: Member, bob: Member) -> None:
    file = ann.shares(bytes(LARGE))
    with bob.connects() as stuck, bob.begins(10):
        assert stuck.download(bob.token, file)["type"] == "sending"
        assert len(ann.fetches(file)) == LARGE
        ann.hears_all_up_to("here I am")
        bob.hears_all_up_to("and I")


def test_the_thread_of_a_file_is_named_after_its_person(ann: Member) -> None:
    with ann.begins(1):
        assert threads("upload") == ["upload Ann"]


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


def test_of_a_very_long_name_only_the_end_counts_so_that_it_costs_little() -> None:
    end = "\u0301\u0323" * 500 + ".png"
    assert net.clean_filename("\u0301\u0323" * 32_000 + end) == net.clean_filename(end)
    assert net.clean_filename(end).endswith(".png")


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


def test_the_room_cleans_the_name_that_everyone_sees(ann: Member, bob: Member) -> None:
    ann.shares(filename="../C:\\exe.\u202egnp.exe. ")
    assert bob.receive_until("shared")["filename"] == "exe.gnp.exe"


def test_two_files_of_one_name_are_two_files(ann: Member) -> None:
    files = [ann.shares(data) for data in (b"1", b"2")]
    assert [ann.fetches(file) for file in files] == [b"1", b"2"]
