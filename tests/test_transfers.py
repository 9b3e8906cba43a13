"""Sharing and saving with the program's own client: over breaks, with disks that fail, and in rooms that lie."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import io
import os
import re
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

import net
from tests import helpers
from tests.conftest import OpenRoom
from tests.helpers import LIMIT, Clock, FakeRoom, Guest, Message, Proxy, drain, message, messages_in, needs_tls, until
from tests.test_files import DATA, HALF, Sizes, replace_the_rooms_disk, sent

LARGE = secrets.token_bytes(4 * 2**20)  # nothing in it comes twice
SOME = 500_000  # bytes of it, after which a network may stall
ATTEMPTS = net.TRANSFER_ATTEMPTS  # as they are, before the tests allow more
PASSWORD = "qw36-q2gw-xmfz"
End = net.Uploaded | net.Saved | net.Failed
T = TypeVar("T")


class Person(helpers.Person):
    """Somebody with the program."""

    def shares(self, path: Path | str) -> int:
        """The number of the transfer."""
        self.client.share(str(path))
        return self.begins()

    def saves(self, file: net.Shared, to: Path | str) -> int:
        """The number of the transfer."""
        self.client.save(file, str(to))
        return self.begins()

    def begins(self) -> int:
        first = self.expects(net.Progress, lambda progress: progress.done == 0)
        assert first.is_waiting
        return first.transfer

    def moves(self, more_than: int = 0) -> net.Progress:
        return self.expects(net.Progress, lambda progress: progress.done > more_than)

    def waits(self) -> net.Progress:
        return self.expects(net.Progress, lambda progress: progress.is_waiting)

    def failed(self, code: str) -> net.Failed:
        failed = self.ends(net.Failed)
        assert failed.code == code, failed
        assert failed.reason
        return failed

    def ends(self, *kinds: type[T]) -> T:
        """The next transfer that ends, ends in one of these ways."""
        end = self.expects(object, lambda event: isinstance(event, End))
        assert isinstance(end, kinds), end
        return end

    def hears_all_up_to(self, text: str) -> list[Any]:
        """The events before this line, which this person says now."""
        self.client.say(text)
        seen: list[Any] = []
        while not (seen and isinstance(seen[-1], net.Said) and seen[-1].text == text):
            seen.append(self.events.get(timeout=LIMIT))
        return seen[:-1]


LATER = message("weather", temperature=21)  # of a later version: it is ignored
READY = message("ready")
STORED = message("stored")
REFUSED = message("refused", code="unknown", reason="No such file.")


def shared(data: bytes = DATA, **changes: Any) -> net.Shared:
    """A file that a room offers; its hash as another program may write it."""
    file: dict[str, Any] = {"number": 1, "time": 1.5, "who": 1, "name": "Host", "file": "0" * 32}
    file |= {"filename": "map.png", "size": len(data), "sha256": hashlib.sha256(data).hexdigest().upper()}
    return net.Shared(**file | changes)


class Host:
    """A room that the test plays itself, with one person in it."""

    def __init__(self, room: FakeRoom, person: Person) -> None:
        self.room = room
        self.person = person
        self.guest = room.accepts()
        self.lets_in(self.guest)

    def lets_in(self, guest: Guest) -> None:
        guest.lets_in(max_file=2**40)
        self.person.expects(net.Welcome)

    def expects(self, kind: str) -> tuple[Guest, Message]:
        """The next connection, which begins with a message of this kind."""
        guest = self.room.accepts()
        guest.expects("hello")
        guest.says_hello()
        return guest, guest.expects(kind)

    def expects_upload(self) -> Guest:
        """The next connection, on which the room is ready for a file."""
        guest, _ = self.expects("upload")
        guest.send(LATER)
        guest.send(READY)
        return guest

    def expects_whole_upload(self, data: bytes = DATA) -> Guest:
        """The next connection, on which the room has got all of the file and has not answered yet."""
        guest = self.expects_upload()
        assert guest.receive_bytes(len(data)) == data
        assert guest.receive() == sent(data)
        guest.send(LATER)
        return guest

    def sends_next_download(self, data: bytes = DATA) -> None:
        guest, download = self.expects("download")
        send_part(guest, data, download["offset"], len(data))


def send_part(guest: Guest, data: bytes, start: int, stop: int) -> None:
    """A download from `start`, of which not everything may come."""
    guest.send(LATER)
    guest.send(message("sending", size=len(data) - start))
    guest.send_bytes(data[start:stop])


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def replace_the_clients_disk(monkeypatch: pytest.MonkeyPatch, kind: type[io.FileIO]) -> None:
    """From now on clients read and write files of this kind."""
    monkeypatch.setattr(net, "open", lambda path, mode, buffering: kind(path, mode), raising=False)  # noqa: ARG005


Come = Callable[..., Person]
Start = Callable[[str], int]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts follow each other at once, and there may be many of them; every piece is told."""
    monkeypatch.setattr(net, "RETRIES", (0.0, 0.01, 0.02, 0.04, 0.05))
    monkeypatch.setattr(net, "TRANSFER_ATTEMPTS", 10_000)
    monkeypatch.setattr(net, "PROGRESS_EVERY", 0.0)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "map.png"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(LARGE)
    return path


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Where people save files."""
    folder = tmp_path / "saved"
    folder.mkdir()
    return folder


@pytest.fixture
def come(stack: contextlib.ExitStack) -> Come:
    return lambda *who, **how: stack.enter_context(contextlib.closing(Person(*who, **how)))


@pytest.fixture
def ann(proxy: Proxy, come: Come) -> Person:
    ann = come("Ann", proxy.port)
    ann.expects(net.Joined, lambda joined: joined.name == "Ann")
    return ann


@pytest.fixture
def bob(room: net.Server, come: Come) -> Person:
    bob = come("Bob", room.port)
    bob.expects(net.Joined, lambda joined: joined.name == "Bob")
    return bob


@pytest.fixture
def bobs_film(ann: Person, bob: Person, film: Path) -> net.Shared:
    """A large file that Ann can save."""
    bob.shares(film)
    return ann.expects(net.Shared)


@pytest.fixture
def host(fake: FakeRoom, come: Come) -> Host:
    return Host(fake, come("Ann", fake.port))


@pytest.fixture
def start(host: Host, picture: Path, saved: Path) -> Start:
    """Starts an "upload" or a "download" of the picture; the number of the transfer."""

    def start_one(kind: str) -> int:
        if kind == "upload":
            return host.person.shares(picture)
        return host.person.saves(shared(), saved / "map.png")

    return start_one


# Both ways -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [DATA, b""])
def test_a_file_is_shared_with_everyone_who_is_in_or_comes_later(
    ann: Person, bob: Person, come: Come, room: net.Server, picture: Path, saved: Path, data: bytes
) -> None:
    picture.write_bytes(data)
    ann.client.share(str(picture))
    file = bob.expects(net.Shared)
    assert (file.name, file.filename, file.size) == ("Ann", "map.png", len(data))
    late = come("Late", room.port)
    for person in (ann, late):
        assert person.expects(net.Shared) == file
    for person in (ann, bob, late):
        person.client.save(file, str(saved / "mine.png"))
        assert person.expects(net.Saved).path == str(saved / "mine.png")
        assert (saved / "mine.png").read_bytes() == data
    assert names(saved) == ["mine.png"]
    assert picture.read_bytes() == data


def test_progress_is_told_from_nothing_to_all(ann: Person, bob: Person, film: Path, saved: Path) -> None:
    ann.client.share(str(film))
    bob.client.save(bob.expects(net.Shared), str(saved / "film.mp4"))
    for person, is_upload in ((ann, True), (bob, False)):
        told: list[net.Progress] = []
        while not isinstance(event := person.events.get(timeout=LIMIT), End):
            if isinstance(event, net.Progress):
                told.append(event)
        assert {(each.transfer, each.filename, each.is_upload) for each in told} == {(1, "film.mp4", is_upload)}
        assert [each.is_waiting for each in told] == [True] + [False] * (len(told) - 1)
        done = [each.done for each in told]
        assert done == sorted(done)
        assert (done[0], done[-1], told[-1].size) == (0, len(LARGE), len(LARGE))
        assert len(set(done)) > 5


only_linux = pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="only Linux has names that are not UTF-8")


@pytest.mark.parametrize(
    ("name", "shown"), [("gnp.\u202eexe", "gnp.exe"), pytest.param("\udcff.txt", "\ufffd.txt", marks=only_linux)]
)
def test_a_strange_name_is_shown_as_the_room_will_write_it(ann: Person, tmp_path: Path, name: str, shown: str) -> None:
    (tmp_path / name).write_bytes(DATA)
    ann.client.share(str(tmp_path / name))
    assert ann.expects(net.Progress).filename == shown
    assert ann.expects(net.Shared).filename == shown


def test_disks_that_take_only_a_part_at_a_time_get_all(
    ann: Person, picture: Path, saved: Path, monkeypatch: pytest.MonkeyPatch, disk: Path
) -> None:
    class Slow(io.FileIO):
        def write(self, data: Any) -> int:
            return super().write(bytes(data)[:700])

    replace_the_rooms_disk(monkeypatch, disk, Slow)
    replace_the_clients_disk(monkeypatch, Slow)
    ann.client.share(str(picture))
    ann.client.save(ann.expects(net.Shared), str(saved / "map.png"))
    ann.expects(net.Saved)
    assert (saved / "map.png").read_bytes() == DATA


@needs_tls
def test_a_room_with_a_password_carries_files_over_breaks_and_encrypted(
    open_room: OpenRoom, come: Come, proxy: Proxy, film: Path, saved: Path
) -> None:
    proxy.port_behind = open_room(password=PASSWORD).port
    ann = come("Ann", proxy.port, password=PASSWORD)
    ann.expects(net.Welcome)
    proxy.stall(SOME)
    ann.shares(film)
    ann.moves()
    proxy.cut()
    proxy.stall()
    file = ann.expects(net.Shared)
    proxy.stall(SOME)
    ann.client.save(file, str(saved / "film"))
    ann.expects(net.Progress, lambda progress: not progress.is_upload and progress.done > 0)
    proxy.cut()
    proxy.stall()
    ann.expects(net.Saved)
    for record in (proxy.to_room, proxy.from_room):
        assert len(record) > len(LARGE)
        assert LARGE[:16] not in bytes(record)
        assert b"film" not in bytes(record)
    assert (saved / "film").read_bytes() == LARGE


# Breaks --------------------------------------------------------------------------------------------------------------


def test_an_upload_that_was_cut_off_begins_anew_and_is_shared_once(
    ann: Person, bob: Person, proxy: Proxy, film: Path, saved: Path, store: Sizes
) -> None:
    proxy.stall(SOME)
    ann.shares(film)
    until(lambda: any(store()), "the room has some of it")
    ann.moves()
    proxy.cut()
    assert ann.waits().done > 0
    proxy.stall()
    ann.ends(net.Uploaded)
    first, again = messages_in(proxy.to_room, "upload")
    assert first == again
    bob.saves(bob.expects(net.Shared), saved / "film")
    bob.ends(net.Saved)
    assert (saved / "film").read_bytes() == LARGE
    assert store() == [len(LARGE)]
    assert not [event for event in bob.hears_all_up_to("Once") if isinstance(event, net.Shared)]


def test_a_download_that_was_cut_off_goes_on_where_it_was(
    ann: Person, bobs_film: net.Shared, proxy: Proxy, saved: Path
) -> None:
    proxy.stall(SOME)
    ann.saves(bobs_film, saved / "film")
    ann.moves(SOME // 2)
    proxy.refuse()
    proxy.cut()
    done = ann.waits().done
    assert done > SOME // 2
    (part,) = saved.iterdir()
    assert part.stat().st_size == done
    proxy.stall()
    proxy.refuse(False)
    ann.ends(net.Saved)
    assert [download["offset"] for download in messages_in(proxy.to_room, "download")] == [0, done]
    assert (saved / "film").read_bytes() == LARGE
    assert names(saved) == ["film"]


@pytest.mark.parametrize("when", ["before its hello", "in an upload", "after an upload", "in a download"])
def test_a_room_that_falls_silent_is_asked_again(
    host: Host, start: Start, film: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    clock = Clock()
    monkeypatch.setattr(net, "Deadline", functools.partial(net.Deadline, clock=clock))
    monkeypatch.setattr(net, "ASK_AGAIN", 0.01)
    if when == "in a download":
        start("download")
        send_part(host.expects("download")[0], DATA, 0, HALF)
        host.person.moves(HALF - 1)
    else:
        host.person.shares(film)
    if when == "before its hello":
        host.room.accepts().expects("hello")
    elif when == "in an upload":
        host.expects_upload()
        host.person.moves()
    elif when == "after an upload":
        host.expects_whole_upload(LARGE)

    def it_waits() -> bool:
        clock.now += 1.0
        return any(isinstance(event, net.Progress) and event.is_waiting for event in drain(host.person.events))

    until(it_waits, "the transfer waits for its next attempt")
    guest, again = host.expects("download" if when == "in a download" else "upload")
    assert again.get("offset", 0) == (HALF if when == "in a download" else 0)
    guest.refuses("space")
    host.person.failed("space")


@pytest.mark.parametrize("how", ["the room closes", "the person leaves", "the room opens again"])
def test_a_visit_that_is_over_ends_what_is_on_its_way(
    ann: Person, bobs_film: net.Shared, proxy: Proxy, room: net.Server, open_room: OpenRoom, film: Path, how: str
) -> None:
    proxy.stall(SOME)
    ann.shares(film)
    ann.moves()
    download = ann.saves(bobs_film, film.with_name("copy"))
    ann.expects(net.Progress, lambda progress: progress.transfer == download and progress.done > 0)
    if how == "the room closes":
        room.close()
    elif how == "the person leaves":
        ann.close()
    else:
        proxy.refuse()
        proxy.cut()
        proxy.stall()
        proxy.port_behind = open_room().port
        ann.expects(net.Lost)
        proxy.refuse(False)
    code = "reopened" if how == "the room opens again" else "over"
    assert {ann.failed(code).transfer for _ in range(2)} == {1, 2}
    assert names(film.parent) == [film.name]
    if code == "over":
        ann.shares(film)
        ann.failed("over")


def test_a_file_that_is_shared_before_the_room_is_reached_waits_for_it(
    proxy: Proxy, come: Come, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "TRANSFER_ATTEMPTS", 1)  # waiting for the room is no attempt
    proxy.refuse()
    ann = come("Ann", proxy.port)
    for _ in range(5):
        ann.expects(net.Lost)
    ann.shares(picture)
    proxy.refuse(False)
    ann.ends(net.Uploaded)


# Trying again, and giving up -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["upload", "download"])
def test_a_transfer_gives_up_after_five_attempts_that_got_no_further(
    host: Host, start: Start, saved: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(net, "TRANSFER_ATTEMPTS", ATTEMPTS)
    start(kind)
    for _ in range(5):
        host.expects(kind)[0].close()
    host.person.failed("broken")
    assert names(saved) == []


def test_a_download_that_got_further_tries_again_at_once_and_as_often_as_at_first(
    host: Host, start: Start, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "TRANSFER_ATTEMPTS", 3)
    monkeypatch.setattr(net, "RETRIES", (0.0, 0.0, 0.0, 1_000.0))
    start("download")
    for stop in (1, 2, HALF, len(DATA) - 1):
        for _ in range(2):
            host.expects("download")[0].close()
        guest, download = host.expects("download")
        send_part(guest, DATA, download["offset"], stop)
        guest.close()
    guest, download = host.expects("download")
    assert (download["token"], download["file"]) == (host.person.client.token, "0" * 32)
    assert download["offset"] == len(DATA) - 1
    send_part(guest, DATA, len(DATA) - 1, len(DATA))
    guest.send_bytes(b"more")
    host.person.ends(net.Saved)
    assert (saved / "map.png").read_bytes() == DATA


def test_an_upload_that_gets_no_further_than_before_gives_up(
    host: Host, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of its attempts begins at the first byte, so moving alone is no sign of hope."""
    monkeypatch.setattr(net, "TRANSFER_ATTEMPTS", 3)
    host.person.shares(film)
    for size in (len(LARGE) // 2, *[len(LARGE) // 8] * 3):
        guest = host.expects_upload()
        assert len(guest.receive_bytes(size)) == size
        guest.close()
    host.person.failed("broken")


def test_a_room_that_is_too_busy_is_asked_again_when_it_says_and_that_is_no_attempt(
    host: Host, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "TRANSFER_ATTEMPTS", 2)
    start("upload")
    for code in ("limit", "full", "wait"):
        host.expects("upload")[0].refuses(code)
    guest, _ = host.expects("upload")
    begin = time.monotonic()
    guest.refuses("limit", seconds=1)
    host.expects_whole_upload().send(STORED)
    host.person.ends(net.Uploaded)
    assert time.monotonic() - begin > 0.8


def test_a_person_whom_the_room_lost_meanwhile_tries_again_when_they_are_back(host: Host, start: Start) -> None:
    start("upload")
    guest, upload = host.expects("upload")
    host.guest.close()
    host.person.expects(net.Lost)
    guest.refuses("unknown")
    host.person.waits()
    host.lets_in(host.room.accepts())
    guest, again = host.expects("upload")
    assert again == upload
    assert re.fullmatch("[0-9a-f]{32}", upload["file"])
    assert (upload["filename"], upload["size"], upload["token"]) == ("map.png", len(DATA), host.person.client.token)
    guest.send(STORED)  # its answer to an earlier attempt was lost: the file is not sent again
    host.person.ends(net.Uploaded)
    assert guest.receive_all() == []


@pytest.mark.parametrize("answer", [b"garbage\n", b'{"type":"hello","protocol":999,"tls":false}\n', b""])
def test_something_other_than_the_room_that_answers_is_tried_again(host: Host, start: Start, answer: bytes) -> None:
    start("upload")
    for _ in range(2):
        guest = host.room.accepts()
        guest.expects("hello")
        guest.send_bytes(answer)
        guest.close()
    host.expects("upload")[0].refuses("space")
    host.person.failed("space")


# Cancelling, and turns -----------------------------------------------------------------------------------------------


def test_a_cancelled_upload_ends_at_once_and_the_room_forgets_it(
    ann: Person, proxy: Proxy, film: Path, store: Sizes
) -> None:
    proxy.stall(SOME)
    number = ann.shares(film)
    until(lambda: any(store()), "the room has some of it")
    ann.client.cancel(number)
    assert ann.failed("cancelled").transfer == number
    proxy.stall()
    until(lambda: store() == [], "the room has nothing left of it")
    assert not [event for event in ann.hears_all_up_to("Hello") if isinstance(event, (net.Shared, net.Lost))]


@pytest.mark.parametrize("far", ["hello", "ready", "the next attempt", "the next visit"])
def test_a_room_that_says_nothing_does_not_hold_up_a_cancel(
    host: Host, film: Path, monkeypatch: pytest.MonkeyPatch, far: str
) -> None:
    for name in ("SILENCE", "FIRST_MESSAGE"):
        monkeypatch.setattr(net, name, 1_000.0)
    monkeypatch.setattr(net, "RETRIES", (1_000.0 if far == "the next attempt" else 0.0,))
    monkeypatch.setattr(net, "TRANSFER_ATTEMPTS", 2 if far in ("the next attempt", "the next visit") else 1)
    number = host.person.shares(film)
    if far == "hello":
        host.room.accepts().expects("hello")
    elif far == "ready":
        host.expects_upload()
        host.person.moves()
    else:
        guest, _ = host.expects("upload")
        if far == "the next visit":
            host.guest.close()
            host.person.expects(net.Lost)
        guest.close()
        host.person.waits()
    host.person.client.cancel(number)
    host.person.failed("cancelled")


def test_four_files_are_on_their_way_each_way_and_the_fifth_waits_for_one_of_them(host: Host, tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / str(number)).write_bytes(b"%d" % number)
        host.person.client.share(str(tmp_path / str(number)))
    under_way = {}
    for _ in range(4):
        guest, upload = host.expects("upload")
        under_way[upload["filename"]] = guest
    assert sorted(under_way) == ["0", "1", "2", "3"]
    host.person.client.save(shared(), str(tmp_path / "saved"))
    download, _ = host.expects("download")  # and not the fifth upload, which was there first
    under_way["2"].send(STORED)
    host.person.ends(net.Uploaded)
    assert host.expects("upload")[1]["filename"] == "4"
    host.person.client.cancel(6)
    assert host.person.failed("cancelled").filename == "5"
    send_part(download, DATA, 0, len(DATA))
    host.person.ends(net.Saved)


def test_too_many_files_at_once_are_told_so(host: Host, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "MAX_TRANSFERS", 2)
    start("upload")
    start("upload")
    third = start("upload")
    assert host.person.failed("many").transfer == third
    host.person.client.cancel(1)
    host.person.failed("cancelled")
    host.person.client.cancel(start("upload"))
    host.person.failed("cancelled")  # and not "many"


def test_a_file_that_is_being_saved_is_not_saved_a_second_time_meanwhile(host: Host, saved: Path) -> None:
    first = host.person.saves(shared(), saved / "1")
    second = host.person.saves(shared(), saved / "2")
    assert host.person.failed("busy").transfer == second
    host.sends_next_download()
    assert host.person.ends(net.Saved).transfer == first
    assert names(saved) == ["1"]


# What cannot be shared or saved --------------------------------------------------------------------------------------


def test_only_files_are_shared(ann: Person, tmp_path: Path, proxy: Proxy) -> None:
    ann.shares(tmp_path / "nothing")
    ann.failed("missing")
    ann.shares(tmp_path)
    assert ann.failed("folder").filename == tmp_path.name
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "fifo")
        ann.shares(tmp_path / "fifo")
        ann.failed("folder")
    assert messages_in(proxy.to_room, "upload") == []


def test_a_file_over_the_limit_is_refused_before_a_byte_is_sent_and_one_of_exactly_the_limit_is_shared(
    open_room: OpenRoom, come: Come, proxy: Proxy, picture: Path
) -> None:
    proxy.port_behind = open_room(max_file=len(DATA), max_store=2 * len(DATA)).port
    ann = come("Ann", proxy.port)
    ann.shares(picture)
    ann.ends(net.Uploaded)
    ann.shares(picture)
    ann.failed("space")
    picture.write_bytes(DATA + b"x")
    ann.shares(picture)
    assert f"{len(DATA):,}" in ann.failed("size").reason
    assert messages_in(proxy.to_room, "sent") == [sent(DATA)]


@pytest.mark.parametrize("change", ["shorter", "longer", "touched"])
def test_a_file_that_changes_while_it_is_read_is_not_shared(
    host: Host, start: Start, picture: Path, change: str
) -> None:
    start("upload")
    host.expects_upload().close()
    guest, _ = host.expects("upload")
    if change == "touched":
        os.utime(picture, ns=(1, 1))
    else:
        with picture.open("r+b") as file:
            file.truncate(HALF if change == "shorter" else 2 * len(DATA))
    guest.send(READY)
    host.person.failed("changed")
    assert guest.receive_bytes(2 * len(DATA)) == (DATA[:HALF] if change == "shorter" else DATA)


@pytest.mark.parametrize(
    ("to", "code"),
    [
        ("", "folder"),
        ("nowhere/map.png", "missing"),
        ("x" * 300, "missing" if sys.platform == "win32" else "disk"),
        ("a\0b", "missing"),
    ],
)
def test_a_place_where_no_file_can_be_saved_is_told(host: Host, saved: Path, to: str, code: str) -> None:
    host.person.saves(shared(), f"{saved}{os.sep}{to}" if to else saved)
    host.person.failed(code)
    assert names(saved) == []


@pytest.mark.parametrize(
    ("kind", "when", "number", "code"),
    [
        ("upload", "it is opened", errno.EACCES, "permission"),
        ("download", "it is opened", errno.EACCES, "permission"),
        ("download", "it is written", errno.EPERM, "permission"),
        ("download", "it is written", errno.ENOSPC, "disk_full"),
        ("download", "it is written", errno.EIO, "disk"),
        ("download", "it takes its name", errno.EACCES, "permission"),
    ],
)
def test_a_disk_that_fails_is_told_and_nothing_is_left(
    host: Host, start: Start, saved: Path, monkeypatch: pytest.MonkeyPatch, kind: str, when: str, number: int, code: str
) -> None:
    def fails(*_arguments: object) -> Any:
        raise OSError(number, os.strerror(number))

    class Failing(io.FileIO):
        if when == "it is opened":
            __init__ = fails
        elif when == "it is written":
            write = fails

    (saved / "map.png").write_bytes(b"old")
    replace_the_clients_disk(monkeypatch, Failing)
    if when == "it takes its name":
        monkeypatch.setattr(os, "replace", fails)
    start(kind)
    if when != "it is opened":
        host.sends_next_download()
    assert host.person.failed(code).reason == os.strerror(number)
    assert names(saved) == ["map.png"]
    assert (saved / "map.png").read_bytes() == b"old"


def test_until_a_file_is_whole_it_is_in_a_part_of_its_own_and_its_name_belongs_to_the_old_one(
    host: Host, start: Start, saved: Path
) -> None:
    (saved / "map.png").write_bytes(b"old")
    (saved / "map.png.part").write_bytes(b"mine")
    number = start("download")
    send_part(host.expects("download")[0], DATA, 0, len(DATA) - 1)
    host.person.moves(len(DATA) - 2)
    (part,) = {*names(saved)} - {"map.png", "map.png.part"}
    assert re.fullmatch(r"map\.png\.[0-9a-f]{8}\.part", part)
    host.person.client.cancel(number)
    failed = host.person.failed("cancelled")
    assert (failed.transfer, failed.filename) == (number, "map.png")
    assert names(saved) == ["map.png", "map.png.part"]
    assert (saved / "map.png").read_bytes() == b"old"
    start("download")
    host.sends_next_download()
    host.person.ends(net.Saved)
    assert names(saved) == ["map.png", "map.png.part"]
    assert [(saved / name).read_bytes() for name in names(saved)] == [DATA, b"mine"]


# A room that lies or refuses -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "answer", "code"),
    [
        ("upload", message("sending", size=1), "bad"),
        ("upload", REFUSED, "unknown"),
        ("download", READY, "bad"),
        ("download", message("sending", size=len(DATA) - 1), "bad"),
        ("download", message("sending", size=len(DATA) + 1), "bad"),
        ("download", REFUSED, "unknown"),
    ],
)
def test_a_refusal_is_told_with_its_reason_and_an_answer_that_makes_no_sense_ends_the_transfer(
    host: Host, start: Start, saved: Path, kind: str, answer: Message, code: str
) -> None:
    start(kind)
    host.expects(kind)[0].send(answer)
    failed = host.person.failed(code)
    assert failed.reason == answer.get("reason", failed.reason)
    assert names(saved) == []


def test_an_upload_that_the_room_does_not_call_stored_and_a_download_with_another_content_have_failed(
    host: Host, start: Start, saved: Path
) -> None:
    start("upload")
    host.expects_whole_upload().send(READY)
    host.person.failed("bad")
    start("download")
    host.sends_next_download(DATA[:-1] + b"!")
    host.person.failed("hash")
    assert names(saved) == []


def test_a_room_that_refuses_in_the_middle_is_heard(host: Host, film: Path) -> None:
    host.person.shares(film)
    guest = host.expects_upload()
    guest.receive_bytes(100_000)
    guest.refuses("muted")
    assert len(guest.receive_bytes(len(LARGE))) < len(LARGE) - 100_000  # a room reads on for a moment
    host.person.failed("muted")
