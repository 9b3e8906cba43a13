"""The room's files: the store and its quotas as plain objects; uploads and downloads in plain bytes; file names."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import re
import secrets
import shutil
import sys
import tempfile
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import net
from tests import helpers
from tests.conftest import OpenRoom
from tests.helpers import LOOPBACK, Message, Wire, message, until

DATA = bytes(range(256)) * 40  # every byte there is, line ends too
HALF = len(DATA) // 2
LARGE = 8 * 2**20  # bytes; more than two sockets hold

Sizes = Callable[[], list[int]]


class Member(helpers.Member):
    """Somebody in the room, with files."""

    def connects(self) -> Wire:
        """Another connection, for a file."""
        return Wire(self.room.port)

    def begins(self, size: int, **which: str) -> Wire:
        """A connection on which the room waits for the bytes of a file."""
        wire = self.connects()
        answer = wire.begin_upload(self.token, size, **which)
        assert answer["type"] == "ready", answer
        return wire

    def shares(self, data: bytes = DATA, filename: str = "map.png", file: str | None = None) -> str:
        """The whole of it; the file's id."""
        file = file or secrets.token_hex(16)
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

    def begins_download(self, file: str) -> Wire:
        """A connection on which the bytes of this file come."""
        wire = self.connects()
        assert wire.download(self.token, file)["type"] == "sending"
        return wire

    def may_share(self, size: int = 1) -> str:
        """Asks to share a new file; "ready", or the code with which the room refuses it."""
        with self.connects() as wire:
            return verdict(wire, wire.begin_upload(self.token, size))

    def may_save(self, file: str, offset: int = 0) -> str:
        """Asks for the file; "sending", or the code with which the room refuses it."""
        with self.connects() as wire:
            return verdict(wire, wire.download(self.token, file, offset))

    def is_told_of(self) -> list[str]:
        """The files that appeared since this member was last asked."""
        marker = secrets.token_hex(4)
        self.says(marker)
        return [event["file"] for event in self.all_up_to("said", text=marker) if event["type"] == "shared"]


def verdict(wire: Wire, answer: Message) -> str:
    """The type of the answer or, if it is a refusal, its code; after a refusal the connection ends."""
    if answer["type"] != "refused":
        return str(answer["type"])
    assert answer["reason"]
    assert wire.receive_all() == []
    return str(answer["code"])


def sent(data: bytes) -> Message:
    return message("sent", sha256=hashlib.sha256(data).hexdigest())


def finish_upload(wire: Wire, rest: bytes = DATA[HALF:], data: bytes = DATA) -> str:
    """Sends the rest of this data, and its hash; "stored", or the code with which the room refuses it."""
    wire.send_bytes(rest)
    wire.send(sent(data))
    (answer,) = wire.receive_all()
    return verdict(wire, answer)


Enter = Callable[..., Member]


@pytest.fixture
def enter(stack: contextlib.ExitStack) -> Enter:
    return lambda *who, **how: stack.enter_context(contextlib.closing(Member(*who, **how)))


@pytest.fixture
def ann(room: net.Server, enter: Enter) -> Member:
    return enter(room, "Ann")


@pytest.fixture
def bob(room: net.Server, enter: Enter) -> Member:
    return enter(room, "Bob")


def replace_the_rooms_disk(monkeypatch: pytest.MonkeyPatch, disk: Path, kind: type[io.FileIO]) -> None:
    """From now on the room keeps its files on a disk of this kind."""
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_how: kind(disk / secrets.token_hex(8), "x+b"))


# The store, as plain objects -----------------------------------------------------------------------------------------

OpenFiles = Callable[..., net.Files]


def pupil(who: int, address: str | None = None) -> net.Person:
    """Somebody other than the host, at an address of their own unless it is given."""
    return net.Person(who, "", f"Person {who}", address or f"192.0.2.{who}")


HOST = net.Person(net.HOST, "", "Host", LOOPBACK)
ANN, BEN = pupil(2, "192.0.2.2"), pupil(3, "192.0.2.2")  # at one computer
CARA, DAN, EVE, FINN = pupil(4), pupil(5), pupil(6), pupil(7)


def begin(files: net.Files, person: net.Person, size: int) -> net.StoredFile:
    return files.begin(person, net.Upload("", secrets.token_hex(16), "map.png", size))


def keep(files: net.Files, person: net.Person, size: int) -> str:
    """Stores a whole file; its id."""
    file = begin(files, person, size)
    files.write(file, bytes(size))
    assert files.finish(file)
    return file.id


def refusal(action: Callable[..., object], *arguments: object) -> str:
    """The code with which the store refuses this."""
    with pytest.raises(net.ProtocolError) as caught:
        action(*arguments)
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


File = tuple[net.Person, int]  # whose, and how many bytes
EIGHT_EMPTY_FILES = [(pupil(who), 0) for who in range(2, 10)]
HERE, ALSO_HERE = pupil(2, LOOPBACK), pupil(3, LOOPBACK)  # pupils on the host's computer


@pytest.mark.parametrize(
    ("limits", "kept", "refused", "kept_instead"),
    [
        pytest.param({"max_file": 1_000}, [(HOST, 400)], (HOST, 601), (HOST, 600), id="the store"),
        pytest.param({"max_files": 10}, [(HOST, 0)] * 9 + [(ANN, 0)], (HOST, 0), None, id="the number of files"),
        pytest.param({}, [(ANN, 250), (CARA, 250), (DAN, 250)], (EVE, 1), (HOST, 250), id="three quarters of it"),
        pytest.param({"max_files": 10}, EIGHT_EMPTY_FILES, (pupil(10), 0), (HOST, 0), id="four fifths of the files"),
        pytest.param({"max_file": 100}, [(ANN, 100), (BEN, 100)], (ANN, 51), (BEN, 50), id="a quarter for an address"),
        pytest.param({"max_file": 600}, [(ANN, 600)], (BEN, 1), (CARA, 150), id="one large file for an address"),
        pytest.param({}, [(ANN, 0)] * 200, (BEN, 0), (CARA, 0), id="200 files for an address"),
        pytest.param({}, [(HOST, 250), (HERE, 250)], (ALSO_HERE, 1), (HOST, 250), id="the host's own address"),
        pytest.param({"per_address": False}, [(ANN, 250)] * 3, (ANN, 1), (HOST, 250), id="no limits by address"),
    ],
)
def test_nobody_may_store_more_than_their_share(
    open_files: OpenFiles, limits: dict[str, int], kept: list[File], refused: File, kept_instead: File | None
) -> None:
    files = open_files(**limits)
    for person, size in kept:
        keep(files, person, size)
    assert refusal(begin, files, *refused) == "space"
    if kept_instead is not None:
        keep(files, *kept_instead)


def test_an_upload_on_its_way_counts_against_its_address_with_its_declared_size(open_files: OpenFiles) -> None:
    """It is refused with "limit", which means "try later", because the upload on its way may still end."""
    files = open_files()
    file = begin(files, ANN, 200)
    assert refusal(begin, files, BEN, 51) == "limit"
    files.drop(file)
    keep(files, ANN, 200)
    assert refusal(begin, files, BEN, 51) == "space"


def test_an_upload_on_its_way_counts_against_the_store_with_its_received_bytes(open_files: OpenFiles) -> None:
    files = open_files()
    uploads = [begin(files, pupil(who), 250) for who in range(2, 10)]  # declared: twice the store
    for upload in uploads[:3]:
        files.write(upload, bytes(240))
    assert refusal(begin, files, pupil(10), 31) == "space"
    begin(files, pupil(10), 30)


def test_the_newest_upload_gives_way_when_the_store_fills_and_a_whole_file_never(
    open_files: OpenFiles, store: Sizes
) -> None:
    files = open_files()
    oldest, older, newer, newest = (begin(files, person, 250) for person in (ANN, CARA, DAN, EVE))
    for upload in (newest, newer, older):
        assert not gives_way(files, upload, 200)
    keep(files, FINN, 50)
    assert not gives_way(files, oldest, 250), "what the newest upload had is free now"
    assert gives_way(files, newest, 1)
    assert gives_way(files, newer, 101)
    assert not gives_way(files, older, 50)
    assert sorted(store()) == [50, 250, 250]


def test_an_upload_that_comes_again_needs_no_space_beside_its_own_beginning(open_files: OpenFiles) -> None:
    """Its connection broke, and the room may not have noticed that yet."""
    files = open_files()
    upload = net.Upload(ANN.token, secrets.token_hex(16), "notes.txt", 250)
    before = files.begin(ANN, upload)
    files.write(before, bytes(200))
    begin(files, CARA, 250)
    again = files.begin(ANN, upload)
    assert gives_way(files, before, 1)
    files.drop(before)
    assert not gives_way(files, again, 250)


def test_the_uploads_of_pupils_give_way_to_the_hosts_and_never_the_other_way_round(open_files: OpenFiles) -> None:
    files = open_files()
    first, caras, anns, newest = (begin(files, person, 250) for person in (HOST, CARA, ANN, HOST))
    for upload in (first, newest):
        assert not gives_way(files, upload, 400)
    assert gives_way(files, anns, 201)
    assert not gives_way(files, caras, 200)
    assert not gives_way(files, first, 100)
    assert gives_way(files, caras, 1)


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


def test_a_disk_with_less_than_twice_the_size_free_takes_no_file(
    open_files: OpenFiles, monkeypatch: pytest.MonkeyPatch, disk: Path
) -> None:
    free = {str(disk): 200}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free[path]))
    files = open_files()
    assert refusal(begin, files, HOST, 101) == "space"
    keep(files, HOST, 100)


# Sharing and saving --------------------------------------------------------------------------------------------------


def test_everyone_is_told_of_a_file_once_the_room_has_all_of_it(ann: Member, bob: Member) -> None:
    file = secrets.token_hex(16)
    with ann.begins(len(DATA), filename="../C:\\exe.\u202egnp.exe. ", file=file) as wire:
        wire.send_bytes(DATA)
        assert bob.is_told_of() == []
        assert bob.may_save(file) == "unknown"
        before = time.time()
        assert finish_upload(wire, b"") == "stored"
    for member in (ann, bob):
        shared = member.receive_until("shared")
        assert before - 1 < shared["time"] < time.time() + 1
        assert (shared["who"], shared["name"]) == (ann.who, "Ann")
        assert (shared["file"], shared["filename"], shared["size"]) == (file, "exe.gnp.exe", len(DATA))
        assert shared["sha256"] == hashlib.sha256(DATA).hexdigest()
        assert member.fetches(file) == DATA


def test_people_who_are_lost_share_and_save_and_their_files_stay_when_they_leave(
    ann: Member, bob: Member, enter: Enter
) -> None:
    file = ann.shares()
    bob.close()
    assert bob.fetches(file) == DATA
    bobs = bob.shares(b"1")
    bob = enter(bob.room, "Bob", token=bob.token)
    ann.leave()
    bob.receive_until("left")
    assert bob.fetches(file) == DATA
    assert bob.fetches(bobs) == b"1"


def test_a_download_begins_at_any_byte_up_to_the_end(ann: Member) -> None:
    file = ann.shares()
    for offset in (0, 1, HALF, len(DATA) - 1, len(DATA)):
        assert ann.fetches(file, offset) == DATA[offset:]
    assert ann.may_save(file, len(DATA) + 1) == "bad"


def test_only_people_who_are_in_the_room_share_and_save(ann: Member, bob: Member) -> None:
    file = ann.shares()
    bob.leave()
    ann.receive_until("left")
    for token in (secrets.token_hex(16), ann.room.token, bob.token):  # the host is not in either
        bob.token = token
        assert (bob.may_share(), bob.may_save(file)) == ("unknown", "unknown")


@pytest.mark.parametrize(("last", "refused"), [(sent(DATA[:-1]), "hash"), (message("say", id=1, text="x"), "bad")])
def test_an_upload_with_a_wrong_hash_or_without_one_is_refused_and_nothing_is_kept(
    ann: Member, bob: Member, store: Sizes, last: Message, refused: str
) -> None:
    file = secrets.token_hex(16)
    with ann.begins(len(DATA), file=file) as wire:
        wire.send_bytes(DATA)
        wire.send(last)
        assert verdict(wire, wire.receive() or {}) == refused
    assert store() == []
    assert bob.is_told_of() == []
    ann.shares(file=file)


# Limits --------------------------------------------------------------------------------------------------------------


def test_the_welcome_tells_the_largest_size_of_a_file_and_the_room_keeps_to_it(
    room: net.Server, open_room: OpenRoom, enter: Enter
) -> None:
    assert enter(room, "Ann").welcome["max_file"] == 100 * 2**20
    assert enter(open_room(max_file=0, max_store=0), "Ann").welcome["max_file"] == 0
    ann = enter(open_room(max_file=1_000), "Ann")
    assert ann.welcome["max_file"] == 1_000
    assert ann.may_share(1_001) == "size"
    assert ann.fetches(ann.shares(bytes(1_000))) == bytes(1_000)


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
    assert ann.may_share(0) == "space"
    host = enter(room, "", token=room.token)
    host.shares(b"")
    assert host.may_share(0) == "space"
    enter(room, "Bob")


def test_a_file_costs_a_unit_and_a_person_far_over_the_limit_is_told_to_try_again_later(
    open_room: OpenRoom, enter: Enter
) -> None:
    room = open_room(rate=0.01)  # a file would have to wait for more than a minute
    ann = enter(room, "Ann")
    assert (ann.may_share(), ann.may_save("0" * 32)) == ("wait", "wait")
    assert enter(room, "Bob").welcome["name"] == "Bob"


def test_a_person_has_at_most_eight_files_on_their_way(
    open_room: OpenRoom, enter: Enter, stack: contextlib.ExitStack
) -> None:
    room = open_room(rate=1_000.0)
    ann, bob = enter(room, "Ann"), enter(room, "Bob")
    file = bob.shares(bytes(LARGE))
    begun = secrets.token_hex(16)
    first = stack.enter_context(ann.begins(1, file=begun))
    uploads = [stack.enter_context(ann.begins(1)) for _ in range(3)]
    for _ in range(4):
        stack.enter_context(ann.begins_download(file))
    assert (ann.may_share(), ann.may_save(file)) == ("limit", "limit")
    assert bob.fetches(bob.shares()) == DATA
    stack.enter_context(ann.begins(1, file=begun))  # in place of the older upload of this file
    assert first.receive_all() == []
    assert finish_upload(uploads[0], b"x", b"x") == "stored"
    stack.enter_context(ann.begins(1))


def test_when_connections_run_out_the_person_with_the_most_files_on_their_way_loses_the_newest(
    open_room: OpenRoom, enter: Enter, stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "SPARE_CONNECTIONS", 3)
    room = open_room(limit=2)
    ann, bob = enter(room, "Ann"), enter(room, "Bob")
    first, second = (stack.enter_context(ann.begins(1)) for _ in range(2))
    other = stack.enter_context(bob.begins(1))
    unknown = stack.enter_context(ann.connects())
    assert unknown.hello()["type"] == "hello"
    assert second.receive_all() == []
    assert stack.enter_context(ann.connects()).hello()["type"] == "hello"
    assert unknown.receive_all() == []  # unknown people make way before another file does
    assert [finish_upload(wire, b"x", b"x") for wire in (first, other)] == ["stored", "stored"]


# Breaks --------------------------------------------------------------------------------------------------------------


def test_an_id_that_was_stored_once_is_stored_whoever_sends_it_again_and_even_if_it_was_deleted_since(
    ann: Member, bob: Member, store: Sizes
) -> None:
    file = secrets.token_hex(16)
    with ann.begins(len(DATA), file=file) as wire:
        wire.send_bytes(DATA)
        wire.send(sent(DATA))  # and she is gone before the answer
    number = bob.receive_until("shared")["number"]

    def is_stored_at_once(member: Member, size: int) -> bool:
        with member.connects() as wire:
            return bool(wire.begin_upload(member.token, size, file=file)["type"] == "stored")

    assert is_stored_at_once(ann, len(DATA))
    assert is_stored_at_once(bob, 1)
    assert bob.fetches(file) == DATA
    ann.room.delete(number)
    assert store() == []
    assert is_stored_at_once(ann, len(DATA))
    assert ann.may_save(file) == "unknown"
    assert bob.is_told_of() == []


@pytest.mark.usefixtures("fast_clock")
def test_an_upload_on_which_nothing_comes_any_more_ends_and_is_not_shared_without_its_hash(
    ann: Member, bob: Member, store: Sizes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "FIRST_MESSAGE", 60.0)
    with ann.begins(len(DATA)) as wire:
        monkeypatch.setattr(net, "TICK", 0.02)  # from now on the room looks at the clock more often
        wire.send_bytes(DATA)
        assert wire.receive_all() == []
        until(lambda: store() == [], "nothing is left of it")
    assert bob.is_told_of() == []


@pytest.mark.usefixtures("fast_clock")
def test_a_file_that_takes_longer_than_a_silence_but_moves_arrives(ann: Member) -> None:
    """Both ways it goes in more pieces than there are seconds in a silence, and each of them takes a second."""
    assert net.SILENCE < LARGE / net.MAX_PIECE
    data = secrets.token_bytes(LARGE)
    assert ann.fetches(ann.shares(data)) == data


def test_a_person_who_takes_nothing_of_a_download_holds_up_nobody(ann: Member, bob: Member) -> None:
    file = ann.shares(bytes(LARGE))
    with bob.begins_download(file) as stuck, bob.begins(10):
        assert len(ann.fetches(file)) == LARGE
        assert (ann.may_write(), bob.may_write()) == ("said", "said")
        assert stuck.receive_bytes(LARGE) == bytes(LARGE)


# The disk, and the names on it ---------------------------------------------------------------------------------------


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
            assert verdict(wire, wire.receive() or {}) == "space"
    assert bob.is_told_of() == []
    ann.shares(file=file)


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
    open_room: OpenRoom, enter: Enter, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(disk / "nowhere"))
    ann = enter(open_room(), "Ann")
    assert (ann.may_share(0), ann.may_write()) == ("space", "said")


def test_the_files_of_a_room_have_no_names_on_the_disk_and_are_gone_when_it_closes(
    ann: Member, stack: contextlib.ExitStack, disk: Path, store: Sizes
) -> None:
    file = ann.shares(bytes(LARGE), "../../secret.txt")
    upload = stack.enter_context(ann.begins(10))
    upload.send_bytes(b"12345")
    until(lambda: sorted(store()) == [5, LARGE], "one file is there, and half of another one")
    if sys.platform != "win32":  # there the system deletes the file when it is closed
        assert list(disk.iterdir()) == []
    stack.enter_context(ann.begins_download(file))
    ann.room.close()
    assert store() == []
    assert list(disk.iterdir()) == []
    assert upload.receive_all() == []


GOOD_NAMES = ["map.png", "Übung 3.pdf", "教室.txt", ".profile", "console.txt", "COM10"]
DEVICES = ["CON", "con.txt", "NUL .tar.gz", "com9.log", "LPT\xb9", "CONIN$", "CLOCK$"]


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        *[(name, name) for name in GOOD_NAMES],
        *[(name, "file") for name in ("", "..", "a/", "\u200b\u202e")],
        *[(name, f"_{name}") for name in DEVICES],
        ("../../../etc/passwd", "passwd"),
        ("map.png::$DATA", "map.png__$DATA"),
        ('a<b>c:d"e|f?g*h.txt', "a_b_c_d_e_f_g_h.txt"),
        ("map.png . . ", "map.png"),
        ("a\t\r\n\x0b b\u3000\xa0c.txt", "a b c.txt"),
        ("a\x00\x1b\x7f\x85b.txt", "a b.txt"),
        ("photo\u202e\u2066\u2067\u200f\u061cgnp.exe", "photognp.exe"),
        ("e\u200b\u0301.txt", "\xe9.txt"),
        ("half \ud83d.txt", "half \ufffd.txt"),
        ("C\u200bON", "_CON"),
        ("a" * 300 + ".png", "a" * 116 + ".png"),
        ("a" * 300 + "." + "b" * 20, "a" * 99 + "." + "b" * 20),
        ("a" * 119 + "." + "b" * 100, "a" * 119),
        ("教" * 300 + ".png", "教" * 65 + ".png"),
        ("con." + "a" * 300 + ".png", "_con." + "a" * 111 + ".png"),
    ],
)
def test_a_file_name_is_made_harmless(name: str, clean: str) -> None:
    assert net.clean_filename(name) == clean


ODD_LETTERS = "/\\.:~$ \t\n\x00\u202e\u2066\u200b\u0301\u0338\ufe0f\xa0\u3000\ud800<>="
ODD = st.sampled_from([*ODD_LETTERS, "con", "nul", "COM1", ".png"])


@settings(deadline=None)
@given(st.lists(ODD | st.characters(), max_size=150).map("".join))
@example("con." + "a" * 300)
@example("con." + "\u6559" * 64 + ".png")
@example("a" * 119 + "." + "b" * 30)
@example(">\u200b\u0338")
@example("\u1100\u200b\u1161\u200b\u11a8")
def test_every_clean_name_is_harmless_stays_clean_and_can_be_stored(name: str) -> None:
    clean = net.clean_filename(name)
    assert clean == net.clean_filename(clean)
    assert 1 <= len(clean) <= net.MAX_FILENAME
    assert len(clean.encode()) <= net.MAX_FILENAME_BYTES
    assert not set(clean) & set('/\\<>:"|?*')
    assert clean == clean.strip()
    assert not clean.endswith(".")
    assert not [c for c in clean if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    assert not re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)\s*(\..*)?", clean)
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder, clean + ".0a1b2c3d.part")
        part.write_bytes(b"x")
        part.rename(Path(folder, clean))
        (found,) = Path(folder).iterdir()
    assert unicodedata.normalize("NFC", found.name) == clean
