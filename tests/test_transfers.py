"""Sharing and saving with the program's own client: over breaks, with disks that fail, and in rooms that lie."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import itertools
import os
import queue
import re
import secrets
import socket
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

import net
from tests.conftest import OpenRoom
from tests.helpers import LIMIT, LOOPBACK, Message, Proxy, Wire, drain, expect, needs_tls, until
from tests.test_client import FakeRoom, Guest

DATA = bytes(range(256)) * 40  # every byte there is, line ends too
HALF = len(DATA) // 2
LARGE = secrets.token_bytes(4 * 2**20)  # nothing in it comes twice
SLOWLY = 0.1  # s; of a delay that lets the LARGE take more than a second, and so longer than a computer stands still
End = net.Uploaded | net.Saved | net.Failed
T = TypeVar("T")


class Person:
    """Somebody with the program."""

    def __init__(self, name: str, port: int, password: str | None = None) -> None:
        self.events: net.Events = queue.Queue()
        self.client = net.run_client(LOOPBACK, name, self.events, port=port, password=password)

    def shares(self, path: Path | str) -> int:
        """The number of the transfer."""
        self.client.share(str(path))
        return self.begins()

    def saves(self, file: net.Shared, to: Path | str) -> int:
        self.client.save(file, str(to))
        return self.begins()

    def begins(self) -> int:
        first = expect(self.events, net.Progress, lambda progress: progress.done == 0)
        assert first.is_waiting
        return first.transfer

    def is_told(self) -> net.Shared:
        return expect(self.events, net.Shared)

    def moves(self, more_than: int = 0) -> net.Progress:
        return expect(self.events, net.Progress, lambda progress: progress.done > more_than)

    def waits(self) -> net.Progress:
        return expect(self.events, net.Progress, lambda progress: progress.is_waiting)

    def uploaded(self) -> net.Uploaded:
        return self._ends(net.Uploaded)

    def saved(self) -> net.Saved:
        return self._ends(net.Saved)

    def failed(self, code: str) -> net.Failed:
        failed = self._ends(net.Failed)
        assert failed.code == code, failed
        assert failed.reason
        return failed

    def _ends(self, kind: type[T]) -> T:
        end = expect(self.events, object, lambda event: isinstance(event, End))
        assert isinstance(end, kind), end
        return end

    def close(self) -> None:
        self.client.close()
        assert self.client.join(LIMIT), "the client does not end"


class Host:
    """A room that the test plays itself, with one person in it."""

    def __init__(self, room: FakeRoom, person: Person) -> None:
        self.room = room
        self.person = person
        self.guest = room.accepts()
        self.lets_in(self.guest)

    def lets_in(self, guest: Guest) -> None:
        guest.lets_in(max_file=2**40)
        expect(self.person.events, net.Welcome)

    def expects(self, kind: str) -> tuple[Guest, Message]:
        """The next connection, which begins with a message of this kind."""
        guest = self.room.accepts()
        guest.expects("hello")
        guest.send({"type": "hello", "protocol": 1, "tls": False})
        return guest, guest.expects(kind)

    def shared(self, data: bytes = DATA, **changes: Any) -> net.Shared:
        file: dict[str, Any] = {"number": 1, "time": 1.5, "who": 1, "name": "Host", "file": "0" * 32}
        file |= {"filename": "map.png", "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        return net.Shared(**file | changes)


def ready(offset: int) -> Message:
    return {"type": "ready", "offset": offset}


def sending(size: int) -> Message:
    return {"type": "sending", "size": size}


def sent(data: bytes) -> Message:
    return {"type": "sent", "sha256": hashlib.sha256(data).hexdigest()}


def refused(code: str) -> Message:
    return {"type": "refused", "code": code, "reason": f"{code}!"}


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def parts(folder: Path) -> list[int]:
    """The sizes of what is half here."""
    return [path.stat().st_size for path in folder.glob("*.part")]


def kept(disk: Path) -> list[int]:
    """The sizes of what is in the stores, but for the locks."""
    sizes = []
    for path in disk.glob("chat-room-*/*"):
        if path.name != "lock":
            with contextlib.suppress(FileNotFoundError):  # the room has removed it since it was listed
                sizes.append(path.stat().st_size)
    return sizes


def file_connections(proxy: Proxy, kind: str) -> list[bytes]:
    return re.findall(rb'\{"type":"%s".*?\}\n' % kind.encode(), bytes(proxy.to_room))


def offsets(record: bytearray, kind: str) -> list[int]:
    found = re.findall(rb'\{"type":"%s"[^}]*"offset":(\d+)\}\n' % kind.encode(), bytes(record))
    return [int(offset) for offset in found]


Come = Callable[..., Person]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has the time to wait between two tries, and every piece is told."""
    monkeypatch.setattr(net, "RETRIES", (0.0, 0.01, 0.02, 0.04, 0.05))
    monkeypatch.setattr(net, "PROGRESS_EVERY", 0.0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "SILENCE", 1.2)  # s, longer than a slow computer stands still
    monkeypatch.setattr(net, "PING_AFTER", 0.1)
    monkeypatch.setattr(net, "TICK", 0.1)


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """Where Ann has her files, and where others save them."""
    folder = tmp_path / "desk"
    folder.mkdir()
    return folder


@pytest.fixture
def picture(desk: Path) -> Path:
    path = desk / "map.png"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def film(desk: Path) -> Path:
    path = desk / "film.mp4"
    path.write_bytes(LARGE)
    return path


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    folder = tmp_path / "saved"
    folder.mkdir()
    return folder


@pytest.fixture
def room(open_room: OpenRoom) -> net.Server:
    return open_room()


@pytest.fixture
def come(stack: contextlib.ExitStack) -> Come:
    return lambda *who, **how: stack.enter_context(contextlib.closing(Person(*who, **how)))


@pytest.fixture
def proxy(stack: contextlib.ExitStack, room: net.Server) -> Proxy:
    """A network between Ann and the room."""
    return stack.enter_context(Proxy(room.port))


@pytest.fixture
def ann(proxy: Proxy, come: Come) -> Person:
    ann = come("Ann", proxy.port)
    expect(ann.events, net.Joined, lambda joined: joined.name == "Ann")
    return ann


@pytest.fixture
def bob(room: net.Server, come: Come) -> Person:
    bob = come("Bob", room.port)
    expect(bob.events, net.Joined, lambda joined: joined.name == "Bob")
    return bob


@pytest.fixture
def fake(stack: contextlib.ExitStack) -> Iterator[FakeRoom]:  # noqa: ARG001 - so it is closed before the people are
    with contextlib.closing(FakeRoom()) as fake:
        yield fake


@pytest.fixture
def host(fake: FakeRoom, come: Come) -> Host:
    return Host(fake, come("Ann", fake.port))


# Both ways -----------------------------------------------------------------------------------------------------------


def test_a_file_is_shared_and_saved(ann: Person, bob: Person, picture: Path, saved: Path) -> None:
    number = ann.shares(picture)
    assert ann.uploaded() == net.Uploaded(number)
    file = bob.is_told()
    assert (file.name, file.filename, file.size) == ("Ann", "map.png", len(DATA))
    assert file.sha256 == hashlib.sha256(DATA).hexdigest()
    number = bob.saves(file, saved / "mine.png")
    assert bob.saved() == net.Saved(number, str(saved / "mine.png"))
    assert (saved / "mine.png").read_bytes() == DATA
    assert names(saved) == ["mine.png"]
    assert picture.read_bytes() == DATA


def test_whoever_shares_is_told_like_everybody_else_and_can_save_it(ann: Person, picture: Path, saved: Path) -> None:
    ann.client.share(str(picture))
    ann.saves(ann.is_told(), saved / "map.png")
    expect(ann.events, net.Saved)
    assert (saved / "map.png").read_bytes() == DATA


def test_who_comes_later_saves_it_too_and_as_often_as_wanted(
    ann: Person, come: Come, room: net.Server, picture: Path, saved: Path
) -> None:
    ann.shares(picture)
    ann.uploaded()
    late = come("Late", room.port)
    file = late.is_told()
    for name in ("1", "2", "2"):
        late.saves(file, saved / name)
        late.saved()
        assert (saved / name).read_bytes() == DATA
    assert names(saved) == ["1", "2"]


def test_several_files_at_once_go_both_ways(ann: Person, bob: Person, desk: Path, saved: Path) -> None:
    contents = {f"{number}.bin": secrets.token_bytes(30_000) for number in range(8)}
    for name, content in contents.items():
        (desk / name).write_bytes(content)
        ann.client.share(str(desk / name))
    for file in [bob.is_told() for _ in contents]:
        bob.client.save(file, str(saved / file.filename))
    for _ in contents:
        ann.uploaded()
        bob.saved()
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == contents


def test_an_empty_file_is_a_file(ann: Person, bob: Person, desk: Path, saved: Path) -> None:
    (desk / "empty").touch()
    ann.shares(desk / "empty")
    ann.uploaded()
    bob.saves(bob.is_told(), saved / "empty")
    bob.saved()
    assert (saved / "empty").read_bytes() == b""


def test_progress_is_told_from_nothing_to_all(ann: Person, bob: Person, film: Path, saved: Path) -> None:
    for person, is_upload in ((ann, True), (bob, False)):
        if is_upload:
            ann.client.share(str(film))
        else:
            bob.client.save(bob.is_told(), str(saved / "film.mp4"))
        told: list[net.Progress] = []
        while not isinstance(event := person.events.get(timeout=LIMIT), (net.Uploaded, net.Saved)):
            if isinstance(event, net.Progress):
                told.append(event)
        assert {(progress.transfer, progress.filename, progress.is_upload) for progress in told} == {
            (1, "film.mp4", is_upload)
        }
        assert (told[0].done, told[0].is_waiting) == (0, True)
        assert [progress.is_waiting for progress in told[1:]] == [False] * (len(told) - 1)
        done = [progress.done for progress in told]
        assert done == sorted(done)
        assert (done[-1], told[-1].size) == (len(LARGE), len(LARGE))
        assert len(set(done)) > 5


def test_progress_is_not_told_too_often(
    ann: Person, film: Path, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "PROGRESS_EVERY", 1_000.0)
    ann.client.share(str(film))
    file = ann.is_told()
    drain(ann.events)
    ann.client.save(file, str(saved / "film.mp4"))
    until(lambda: not ann.client._transfers, "both are done")
    told = [event.done for event in drain(ann.events) if isinstance(event, net.Progress) and not event.is_upload]
    assert told == [0, len(LARGE)]


def test_a_file_goes_in_pieces_and_never_as_a_whole(ann: Person, bob: Person, desk: Path, saved: Path) -> None:
    size = 16 * 2**20
    with (desk / "film").open("wb") as film:
        film.truncate(size)
    ann.client.close()  # its network remembers what it passed on
    tracemalloc.start()
    try:
        bob.shares(desk / "film")
        file = bob.is_told()
        bob.client.save(file, str(saved / "film"))
        expect(bob.events, net.Saved)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (saved / "film").stat().st_size == size
    assert most < size / 2


def test_a_strange_name_is_shown_as_the_room_will_write_it(ann: Person, desk: Path) -> None:
    (desk / "gnp.\u202eexe").write_bytes(DATA)
    ann.client.share(str(desk / "gnp.\u202eexe"))
    assert expect(ann.events, net.Progress).filename == "gnp.exe"
    assert ann.is_told().filename == "gnp.exe"


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="only Linux has names that are not UTF-8")
def test_a_name_that_is_not_utf_8_is_no_hindrance(ann: Person, desk: Path) -> None:
    path = os.path.join(os.fsencode(desk), b"\xff.txt")
    with open(path, "wb") as file:
        file.write(DATA)
    ann.client.share(os.fsdecode(path))
    assert ann.is_told().filename == "\ufffd.txt"


@needs_tls
def test_a_password_room_carries_files_over_breaks_and_encrypted(
    open_room: OpenRoom, come: Come, film: Path, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "stretch", lambda password, salt: hashlib.sha256(f"{password} {salt}".encode()).digest())
    room = open_room(password="qw36-q2gw-xmfz")
    with Proxy(room.port) as proxy:
        ann = come("Ann", proxy.port, password="qw36-q2gw-xmfz")
        expect(ann.events, net.Welcome)
        proxy.storm(seed=1, mean_bytes=2_000_000)
        ann.shares(film)
        file = ann.is_told()
        ann.client.save(file, str(saved / "film"))
        expect(ann.events, net.Saved)
        proxy.calm()
        for record in (proxy.to_room, proxy.from_room):
            assert len(record) > len(LARGE)
            assert LARGE[:16] not in bytes(record)
            assert b"film" not in bytes(record)
        ann.close()
    assert (saved / "film").read_bytes() == LARGE


@needs_tls
def test_a_password_room_refuses_what_it_should(
    open_room: OpenRoom, come: Come, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "stretch", lambda password, salt: hashlib.sha256(f"{password} {salt}".encode()).digest())
    ann = come("Ann", open_room(password="qw36-q2gw-xmfz", max_store=10).port, password="qw36-q2gw-xmfz")
    ann.shares(picture)
    ann.failed("space")


# Breaks --------------------------------------------------------------------------------------------------------------


def test_an_upload_that_was_cut_off_goes_on_where_it_was(
    ann: Person, bob: Person, proxy: Proxy, film: Path, saved: Path
) -> None:
    proxy.delay(SLOWLY)
    ann.client.share(str(film))
    until(lambda: len(proxy.to_room) > 500_000, "it is on its way")
    proxy.cut()
    ann.waits()
    proxy.delay(0)
    ann.uploaded()
    assert [offset > 400_000 for offset in offsets(proxy.from_room, "ready")] == [False, True]
    bob.saves(bob.is_told(), saved / "film")
    bob.saved()
    assert (saved / "film").read_bytes() == LARGE


def test_a_save_that_was_cut_off_goes_on_where_it_was(
    ann: Person, bob: Person, proxy: Proxy, film: Path, saved: Path
) -> None:
    bob.shares(film)
    file = ann.is_told()
    proxy.delay(SLOWLY)
    ann.saves(file, saved / "film")
    ann.moves(500_000)
    proxy.refuse()
    proxy.cut()
    assert ann.waits().done > 500_000
    assert parts(saved)[0] > 500_000
    assert names(saved) == ["film.part"]
    proxy.delay(0)
    proxy.refuse(False)
    ann.saved()
    assert [offset > 500_000 for offset in offsets(proxy.to_room, "download")] == [False, True]
    assert (saved / "film").read_bytes() == LARGE
    assert names(saved) == ["film"]


@pytest.mark.parametrize("seed", range(3))
def test_in_a_storm_everything_arrives(
    ann: Person, bob: Person, proxy: Proxy, film: Path, saved: Path, seed: int, disk: Path
) -> None:
    bob.shares(film)
    file = ann.is_told()
    proxy.storm(seed, 800_000)
    ann.client.share(str(film))
    ann.client.save(file, str(saved / "film"))
    ends = {type(expect(ann.events, object, lambda event: isinstance(event, End))) for _ in range(2)}
    assert ends == {net.Uploaded, net.Saved}
    proxy.calm()
    assert (saved / "film").read_bytes() == LARGE
    assert len(file_connections(proxy, "upload")) + len(file_connections(proxy, "download")) > 4
    assert any(offsets(proxy.from_room, "ready"))
    assert kept(disk) == [len(LARGE)] * 2
    expect(bob.events, net.Shared)
    own = expect(bob.events, net.Shared)
    bob.client.say("now")
    assert not [event for event in until_said(bob, "now") if isinstance(event, net.Shared)]
    bob.client.save(own, str(saved / "again"))
    expect(bob.events, net.Saved)
    assert (saved / "again").read_bytes() == LARGE


def until_said(person: Person, text: str) -> list[Any]:
    seen: list[Any] = []
    while not (seen and isinstance(seen[-1], net.Said) and seen[-1].text == text):
        seen.append(person.events.get(timeout=LIMIT))
    return seen


@pytest.mark.usefixtures("impatient")
def test_a_cable_that_is_pulled_and_put_back_costs_time_alone(
    ann: Person, bob: Person, proxy: Proxy, film: Path, saved: Path
) -> None:
    bob.shares(film)
    file = ann.is_told()
    proxy.delay(SLOWLY)
    ann.client.share(str(film))
    ann.client.save(file, str(saved / "film"))
    expect(ann.events, net.Progress, lambda progress: not progress.is_upload and progress.done > 0)
    proxy.silence()
    waiting: set[int] = set()
    while len(waiting) < 2:
        waiting.add(ann.waits().transfer)
    proxy.delay(0)
    proxy.speak(drop=True)
    ends = {type(expect(ann.events, object, lambda event: isinstance(event, End))) for _ in range(2)}
    assert ends == {net.Uploaded, net.Saved}
    assert (saved / "film").read_bytes() == LARGE


def test_a_break_before_the_last_word_shares_it_once(host: Host, picture: Path) -> None:
    host.person.shares(picture)
    guest, upload = host.expects("upload")
    guest.send(ready(0))
    assert guest.receive_bytes(len(DATA)) == DATA
    assert guest.receive() == sent(DATA)
    guest.close()
    again, said_again = host.expects("upload")
    assert said_again == upload
    again.send(ready(len(DATA)))
    again.send({"type": "stored"})
    host.person.uploaded()
    assert again.receive_all() in ([sent(DATA)], [])  # [] where it heard that it is stored before it could say that


def test_a_room_that_is_opened_again_in_the_middle_ends_it_in_plain_words(
    ann: Person, bob: Person, proxy: Proxy, open_room: OpenRoom, film: Path, saved: Path
) -> None:
    bob.shares(film)
    file = ann.is_told()
    other = open_room()
    proxy.delay(SLOWLY)
    ann.client.share(str(film))
    ann.client.save(file, str(saved / "film"))
    expect(ann.events, net.Progress, lambda progress: progress.is_upload and progress.done > 0)
    expect(ann.events, net.Progress, lambda progress: not progress.is_upload and progress.done > 0)
    proxy.refuse()
    proxy.cut()
    proxy.delay(0)
    proxy.port_behind = other.port
    until(lambda: ann.client._room is None, "Ann has noticed")
    proxy.refuse(False)
    assert {ann.failed("reopened").transfer, ann.failed("reopened").transfer} == {1, 2}
    assert names(saved) == []


def test_a_room_that_closes_ends_what_is_on_its_way(
    ann: Person, proxy: Proxy, room: net.Server, film: Path, disk: Path
) -> None:
    proxy.delay(SLOWLY)
    ann.shares(film)
    ann.moves()
    room.close()
    ann.failed("over")
    expect(ann.events, net.Closed)
    assert names(disk) == []
    ann.shares(film)
    ann.failed("over")


def test_a_visit_that_is_over_ends_what_is_on_its_way_at_once(host: Host, picture: Path, saved: Path) -> None:
    host.person.shares(picture)
    host.person.saves(host.shared(), saved / "map.png")
    for _ in range(2):
        host.room.accepts().send({"type": "hello", "protocol": 1, "tls": False})
    host.guest.send({"type": "closed", "reason": "That was all."})
    assert {host.person.failed("over").transfer, host.person.failed("over").transfer} == {1, 2}
    expect(host.person.events, net.Closed)
    assert names(saved) == []


def test_a_disk_that_does_not_answer_keeps_nobody_from_hearing_that_the_room_is_closed(
    host: Host, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def state(disk: io.FileIO) -> tuple[int, int]:
        asked.set()
        assert answers.wait(LIMIT)
        return really_state(disk)

    asked, answers = threading.Event(), threading.Event()
    really_state = net._state
    monkeypatch.setattr(net, "_state", state)
    monkeypatch.setattr(net, "CLOSE_TIME", 0.1)
    host.person.shares(picture)
    assert asked.wait(LIMIT)
    host.guest.send({"type": "closed", "reason": "That was all."})
    try:
        expect(host.person.events, net.Closed)
    finally:
        answers.set()
    host.person.failed("over")


def test_who_is_leaving_begins_nothing_new(host: Host, picture: Path) -> None:
    host.person.client.close()
    host.person.client.share(str(picture))
    assert host.person.client._transfers == {}
    host.person.failed("over")


def test_who_leaves_leaves_nothing_half_behind(
    ann: Person, bob: Person, proxy: Proxy, film: Path, saved: Path
) -> None:
    bob.shares(film)
    file = ann.is_told()
    proxy.delay(SLOWLY)
    ann.client.share(str(film))
    ann.saves(file, saved / "film")
    ann.moves()
    begin = time.monotonic()
    ann.close()
    assert time.monotonic() - begin < 2
    assert {ann.failed("cancelled").transfer, ann.failed("cancelled").transfer} == {1, 2}
    assert names(saved) == []
    ann.shares(film)
    ann.failed("over")


def test_a_file_that_is_given_before_the_room_is_reached_waits_for_it(
    room: net.Server, come: Come, picture: Path
) -> None:
    with Proxy(room.port) as proxy:
        proxy.refuse()
        ann = come("Ann", proxy.port)
        expect(ann.events, net.Lost)
        ann.shares(picture)
        proxy.refuse(False)
        ann.uploaded()
        ann.close()


# Cancelling ----------------------------------------------------------------------------------------------------------


def test_a_cancelled_upload_ends_at_once_and_the_room_forgets_it(
    ann: Person, proxy: Proxy, film: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "UNFINISHED_KEPT", 0.05)
    proxy.delay(SLOWLY)
    number = ann.shares(film)
    ann.moves()
    until(lambda: kept(disk), "the room has some of it")
    ann.client.cancel(number)
    assert ann.failed("cancelled").transfer == number
    until(lambda: kept(disk) == [], "the room has nothing left of it")
    ann.client.say("hello")
    assert not [event for event in until_said(ann, "hello") if isinstance(event, (net.Shared, net.Lost))]


def test_a_cancelled_save_leaves_nothing_and_what_was_there_before(
    ann: Person, bob: Person, proxy: Proxy, film: Path, saved: Path
) -> None:
    bob.shares(film)
    file = ann.is_told()
    (saved / "film").write_bytes(DATA)
    proxy.delay(SLOWLY)
    number = ann.saves(file, saved / "film")
    ann.moves()
    assert names(saved) == ["film", "film.part"]
    ann.client.cancel(number)
    assert ann.failed("cancelled") == net.Failed(number, "film", "cancelled", "It was cancelled.")
    assert names(saved) == ["film"]
    assert (saved / "film").read_bytes() == DATA
    proxy.delay(0)
    ann.saves(file, saved / "film")
    ann.saved()
    assert (saved / "film").read_bytes() == LARGE


def test_what_waits_for_the_room_can_be_cancelled(ann: Person, proxy: Proxy, picture: Path) -> None:
    proxy.refuse()
    proxy.cut()
    expect(ann.events, net.Lost)
    number = ann.shares(picture)
    ann.client.cancel(number)
    ann.failed("cancelled")


def test_what_waits_to_try_again_can_be_cancelled(
    host: Host, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "RETRIES", (1_000.0,))
    number = host.person.shares(picture)
    host.expects("upload")[0].close()
    host.person.waits()
    host.person.client.cancel(number)
    host.person.failed("cancelled")


@pytest.mark.parametrize("far", ["hello", "upload", "ready"])
def test_a_room_that_says_nothing_does_not_hold_up_a_cancel(host: Host, film: Path, far: str) -> None:
    number = host.person.shares(film)
    guest = host.room.accepts()
    if far != "hello":
        guest.send({"type": "hello", "protocol": 1, "tls": False})
        guest.expects("hello")
        guest.expects("upload")
    if far == "ready":
        guest.send(ready(0))
        host.person.moves()
    begin = time.monotonic()
    host.person.client.cancel(number)
    host.person.failed("cancelled")
    assert time.monotonic() - begin < 1


def test_cancelling_what_has_ended_or_never_was_is_nothing(ann: Person, picture: Path) -> None:
    number = ann.shares(picture)
    ann.uploaded()
    until(lambda: not ann.client._transfers, "it is over")
    drain(ann.events)
    ann.client.cancel(number)
    ann.client.cancel(99)
    ann.client.say("hello")
    assert not [event for event in until_said(ann, "hello") if isinstance(event, End)]


# Turns ---------------------------------------------------------------------------------------------------------------


def test_four_are_on_their_way_and_the_fifth_waits_for_one_of_them(host: Host, desk: Path) -> None:
    for number in range(6):
        (desk / str(number)).write_bytes(b"%d" % number)
        host.person.client.share(str(desk / str(number)))
    under_way = {}
    for _ in range(4):
        guest, upload = host.expects("upload")
        under_way[upload["filename"]] = guest
    assert sorted(under_way) == ["0", "1", "2", "3"]
    host.person.client.save(host.shared(), str(desk / "saved"))
    download, _ = host.expects("download")  # and not the fifth upload, which would have been first
    under_way["2"].send(ready(1))
    under_way["2"].send({"type": "stored"})
    host.person.uploaded()
    assert host.expects("upload")[1]["filename"] == "4"
    host.person.client.cancel(6)
    assert host.person.failed("cancelled").filename == "5"
    download.send(sending(len(DATA)))
    download.send_bytes(DATA)
    host.person.saved()


def test_too_many_at_once_are_told_so(host: Host, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "MAX_TRANSFERS", 2)
    host.person.shares(picture)
    host.person.shares(picture)
    third = host.person.shares(picture)
    assert host.person.failed("many").transfer == third
    host.person.client.cancel(1)
    host.person.failed("cancelled")
    host.person.shares(picture)
    until(lambda: len(host.person.client._transfers) == 2, "there is room for another one")


def test_a_file_that_is_being_saved_is_not_saved_a_second_time_meanwhile(host: Host, saved: Path) -> None:
    file = host.shared()
    first = host.person.saves(file, saved / "1")
    second = host.person.saves(file, saved / "2")
    assert host.person.failed("busy").transfer == second
    other = host.person.saves(host.shared(file="1" * 32), saved / "1")
    until(lambda: names(saved) == ["1.2.part", "1.part"], "both have begun")
    guests = [host.expects("download") for _ in range(2)]
    assert sorted(download["file"] for _, download in guests) == ["0" * 32, "1" * 32]
    for guest, _ in guests:
        guest.send(sending(len(DATA)))
        guest.send_bytes(DATA)
    assert {host.person.saved().transfer, host.person.saved().transfer} == {first, other}
    assert names(saved) == ["1"]


def test_a_computer_that_cannot_start_a_thread_says_so(
    ann: Person, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError(f"cannot start {thread.name}")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        ann.shares(picture)
        ann.failed("failed")
    ann.shares(picture)
    ann.uploaded()


def test_a_fault_of_the_program_ends_the_transfer_alone(
    ann: Person, picture: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def state(_disk: io.FileIO) -> tuple[int, int]:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(net, "_state", state)
        ann.shares(picture)
        ann.failed("failed")
    assert "the transfer of map.png failed" in caplog.text
    caplog.clear()
    ann.shares(picture)
    ann.uploaded()


# What cannot be shared -----------------------------------------------------------------------------------------------


def test_what_is_no_file_is_not_shared(ann: Person, desk: Path, proxy: Proxy) -> None:
    ann.shares(desk / "nothing")
    ann.failed("missing")
    ann.shares(desk)
    assert ann.failed("folder").filename == "desk"
    ann.shares(f"{desk}{os.sep}")
    ann.failed("folder")
    if hasattr(os, "mkfifo"):
        os.mkfifo(desk / "fifo")
        ann.shares(desk / "fifo")
        ann.failed("folder")
        ann.shares(os.devnull)
        ann.failed("folder")
    assert file_connections(proxy, "upload") == []


def test_a_file_that_may_not_be_read_is_not_shared(
    ann: Person, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def state(_disk: io.FileIO) -> tuple[int, int]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(net, "_state", state)
    ann.shares(picture)
    assert ann.failed("permission").reason == os.strerror(errno.EACCES)


def test_a_file_over_the_limit_is_refused_before_a_byte_is_sent(open_room: OpenRoom, come: Come, picture: Path) -> None:
    with Proxy(open_room(max_file=len(DATA) - 1).port) as proxy:
        ann = come("Ann", proxy.port)
        ann.shares(picture)
        assert f"{len(DATA):,}" in ann.failed("size").reason
        assert file_connections(proxy, "upload") == []
        ann.close()


def test_a_file_of_exactly_the_limit_is_shared_and_for_the_next_one_there_is_no_space(
    open_room: OpenRoom, come: Come, picture: Path
) -> None:
    ann = come("Ann", open_room(max_file=len(DATA), max_store=len(DATA)).port)
    ann.shares(picture)
    ann.uploaded()
    ann.shares(picture)
    ann.failed("space")


def test_a_room_whose_disk_is_full_in_the_middle_says_so(
    ann: Person, film: Path, monkeypatch: pytest.MonkeyPatch, disk: Path
) -> None:
    def fails(file: io.FileIO, piece: bytes) -> None:
        if file.tell() > 1_000_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        file.write(piece)

    monkeypatch.setattr(net, "_write_all", fails)
    ann.shares(film)
    ann.failed("space")
    assert kept(disk) == []


@pytest.mark.parametrize("change", ["shorter", "longer", "touched"])
def test_a_file_that_changes_while_it_is_read_is_not_shared(host: Host, picture: Path, change: str) -> None:
    host.person.shares(picture)
    guest, _ = host.expects("upload")
    if change == "touched":
        os.utime(picture, ns=(1, 1))
    else:
        with picture.open("r+b") as file:
            file.truncate(HALF if change == "shorter" else 2 * len(DATA))
    guest.send(ready(0))
    host.person.failed("changed")
    assert guest.receive_bytes(2 * len(DATA)) == (DATA[:HALF] if change == "shorter" else DATA)


def test_a_file_that_ends_too_early_is_not_shared_whatever_its_disk_says(
    host: Host, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "_state", lambda _disk: (len(DATA), 1))
    host.person.shares(picture)
    guest, _ = host.expects("upload")
    os.truncate(picture, HALF)
    guest.send(ready(0))
    host.person.failed("changed")
    assert guest.receive_bytes(len(DATA)) == DATA[:HALF]


def test_a_file_whose_beginning_changes_between_two_connections_is_not_shared(host: Host, picture: Path) -> None:
    host.person.shares(picture)
    guest, _ = host.expects("upload")
    guest.send(ready(0))
    guest.receive_bytes(HALF)
    guest.close()
    again, _ = host.expects("upload")
    picture.write_bytes(DATA[1:] + b"x")
    os.utime(picture, ns=(1, 1))
    again.send(ready(HALF))
    host.person.failed("changed")


# What cannot be saved ------------------------------------------------------------------------------------------------


def test_a_folder_is_not_replaced(host: Host, saved: Path) -> None:
    host.person.saves(host.shared(), saved)
    assert host.person.failed("folder").filename == "saved"
    assert names(saved.parent) == ["saved"]


def test_a_folder_that_does_not_exist_is_told(host: Host, saved: Path) -> None:
    host.person.saves(host.shared(), saved / "nowhere" / "map.png")
    assert host.person.failed("missing").reason == os.strerror(errno.ENOENT)


def test_a_name_that_the_disk_does_not_take_is_told(host: Host, saved: Path) -> None:
    host.person.saves(host.shared(), saved / ("x" * 300))
    assert host.person.failed("missing" if sys.platform == "win32" else "disk").reason
    assert names(saved) == []


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.EACCES, "permission"),
        (errno.EPERM, "permission"),
        (errno.ENOSPC, "disk_full"),
        (errno.EISDIR, "folder"),
        (errno.EIO, "disk"),
    ],
)
@pytest.mark.parametrize("when", ["it is opened", "it is written", "it takes its name"])
def test_a_disk_that_fails_is_told_and_nothing_is_left(
    ann: Person,
    bob: Person,
    picture: Path,
    saved: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    code: str,
    when: str,
) -> None:
    def fails(*_arguments: object) -> None:
        assert names(saved) == (["map.png"] if when == "it is opened" else ["map.png", "map.png.part"])
        raise OSError(number, os.strerror(number))

    bob.shares(picture)
    bob.uploaded()
    file = ann.is_told()
    (saved / "map.png").write_bytes(b"old")
    with monkeypatch.context() as patch:
        if when == "it is opened":
            patch.setattr(net, "_open_part", fails)
        elif when == "it is written":
            patch.setattr(net, "_write_all", fails)
        else:
            patch.setattr(os, "replace", fails)
        ann.saves(file, saved / "map.png")
        assert ann.failed(code).reason == os.strerror(number)
    assert names(saved) == ["map.png"]
    assert (saved / "map.png").read_bytes() == b"old"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit for the size of a file")
def test_a_disk_that_takes_only_half_of_a_piece_is_told(host: Host, saved: Path) -> None:
    import resource
    import signal

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (HALF, before[1]))
        host.person.saves(host.shared(), saved / "map.png")
        guest, _ = host.expects("download")
        guest.send(sending(len(DATA)))
        guest.send_bytes(DATA)
        assert host.person.failed("disk").reason == os.strerror(errno.EFBIG)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert names(saved) == []


def test_a_part_that_is_there_already_is_somebody_elses(host: Host, saved: Path) -> None:
    for name in ("map.png.part", "map.png.2.part"):
        (saved / name).write_bytes(b"mine")
    host.person.saves(host.shared(), saved / "map.png")
    guest, _ = host.expects("download")
    assert names(saved) == ["map.png.2.part", "map.png.3.part", "map.png.part"]
    guest.send(sending(len(DATA)))
    guest.send_bytes(DATA)
    host.person.saved()
    assert names(saved) == ["map.png", "map.png.2.part", "map.png.part"]
    assert [path.read_bytes() for path in saved.glob("*.part")] == [b"mine"] * 2
    assert (saved / "map.png").read_bytes() == DATA


def test_the_target_is_the_old_file_until_the_new_one_is_whole(host: Host, saved: Path) -> None:
    (saved / "map.png").write_bytes(b"old")
    host.person.saves(host.shared(), saved / "map.png")
    guest, _ = host.expects("download")
    guest.send(sending(len(DATA)))
    guest.send_bytes(DATA[:-1])
    host.person.moves(len(DATA) - 2)
    assert (saved / "map.png").read_bytes() == b"old"
    assert parts(saved) == [len(DATA) - 1]
    guest.send_bytes(DATA[-1:])
    host.person.saved()
    assert (saved / "map.png").read_bytes() == DATA


# A room that lies ----------------------------------------------------------------------------------------------------

GARBAGE = [
    b"\n",
    b"garbage\n",
    b"\xff\xfe\n",
    b"[]\n",
    b"x" * (net.MAX_LINE_FROM_ROOM + 1),
    b'{"type":"sending","size":-1}\n',
    b'{"type":"ready","offset":true}\n',
    b'{"type":"ready","offset":1.5}\n',
    b'{"type":"stored"}\n',
    b'{"type":"hello","protocol":1,"tls":false}\n',
]


@pytest.mark.parametrize("garbage", [*GARBAGE, b'{"type":"ready","offset":0}\n'])
def test_garbage_in_place_of_a_file_ends_a_save(host: Host, saved: Path, garbage: bytes) -> None:
    host.person.saves(host.shared(), saved / "map.png")
    guest, _ = host.expects("download")
    guest.send_bytes(garbage)
    host.person.failed("bad")
    assert names(saved) == []


@pytest.mark.parametrize("garbage", [*GARBAGE, b'{"type":"sending","size":1}\n'])
def test_garbage_in_place_of_an_answer_ends_an_upload(host: Host, picture: Path, garbage: bytes) -> None:
    host.person.shares(picture)
    guest, _ = host.expects("upload")
    guest.send_bytes(garbage)
    host.person.failed("bad")


@pytest.mark.parametrize("size", [0, 1, len(DATA) - 1, len(DATA) + 1, 2**53])
def test_a_room_that_lies_about_the_size_is_not_believed(host: Host, saved: Path, size: int) -> None:
    host.person.saves(host.shared(), saved / "map.png")
    guest, _ = host.expects("download")
    guest.send(sending(size))
    host.person.failed("bad")
    assert names(saved) == []


def test_a_room_that_sends_something_else_is_not_believed(host: Host, saved: Path) -> None:
    host.person.saves(host.shared(), saved / "map.png")
    guest, _ = host.expects("download")
    guest.send(sending(len(DATA)))
    guest.send_bytes(DATA[:-1] + b"!")
    host.person.failed("hash")
    assert names(saved) == []


def test_more_than_the_file_is_not_taken(host: Host, saved: Path) -> None:
    host.person.saves(host.shared(sha256=hashlib.sha256(DATA).hexdigest().upper()), saved / "map.png")
    guest, download = host.expects("download")
    assert download["offset"] == 0
    guest.send(sending(len(DATA)))
    guest.send_bytes(DATA + b"more")
    host.person.saved()
    assert (saved / "map.png").read_bytes() == DATA


def test_less_than_the_file_is_asked_for_again_from_there(host: Host, saved: Path) -> None:
    host.person.saves(host.shared(), saved / "map.png")
    for start, stop in itertools.pairwise([0, 1, 1, HALF, len(DATA)]):
        guest, download = host.expects("download")
        assert download == {"type": "download", "token": host.person.client.token, "file": "0" * 32, "offset": start}
        guest.send(sending(len(DATA) - start))
        guest.send_bytes(DATA[start:stop])
        guest.close()
    host.person.saved()
    assert (saved / "map.png").read_bytes() == DATA


def test_who_got_somewhere_tries_again_at_once_and_who_did_not_waits(
    host: Host, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "RETRIES", (0.0, 0.3, 1_000.0))
    host.person.saves(host.shared(), saved / "map.png")
    for start in range(5):
        guest, download = host.expects("download")
        assert download["offset"] == start
        guest.send(sending(len(DATA) - start))
        guest.send_bytes(DATA[start : start + 1])
        guest.close()
    guest, _ = host.expects("download")
    begin = time.monotonic()
    guest.close()
    guest, _ = host.expects("download")
    assert time.monotonic() - begin > 0.2
    guest.send(sending(len(DATA) - 5))
    guest.send_bytes(DATA[5:])
    host.person.saved()


@pytest.mark.parametrize("offset", [0, 1, HALF, len(DATA) - 1, len(DATA)])
def test_an_upload_begins_where_the_room_wants_it(host: Host, picture: Path, offset: int) -> None:
    host.person.shares(picture)
    guest, upload = host.expects("upload")
    assert re.fullmatch("[0-9a-f]{32}", upload["file"])
    assert (upload["filename"], upload["size"], upload["token"]) == ("map.png", len(DATA), host.person.client.token)
    guest.send(ready(offset))
    assert guest.receive_bytes(len(DATA) - offset) == DATA[offset:]
    assert guest.receive() == sent(DATA)
    guest.send({"type": "stored"})
    host.person.uploaded()


@pytest.mark.parametrize("offset", [len(DATA) + 1, 2**53])
def test_a_room_that_has_more_than_there_is_is_not_believed(host: Host, picture: Path, offset: int) -> None:
    host.person.shares(picture)
    guest, _ = host.expects("upload")
    guest.send(ready(offset))
    host.person.failed("bad")
    told = [event.done for event in drain(host.person.events) if isinstance(event, net.Progress)]
    assert not [done for done in told if done > len(DATA)]


def test_a_message_of_a_later_version_is_ignored(host: Host, picture: Path, saved: Path) -> None:
    later = {"type": "weather", "number": 3, "is": "fine"}
    host.person.shares(picture)
    guest, _ = host.expects("upload")
    for message in (later, ready(len(DATA)), later, later, {"type": "stored"}):
        guest.send(message)
    host.person.uploaded()
    host.person.saves(host.shared(), saved / "map.png")
    guest, _ = host.expects("download")
    guest.send(later)
    guest.send(sending(len(DATA)))
    guest.send_bytes(DATA)
    host.person.saved()


@pytest.mark.parametrize("code", ["bad", "size", "space", "hash", "unknown", "removed", "muted", "paused"])
def test_what_the_room_refuses_is_told_with_its_reason(host: Host, picture: Path, saved: Path, code: str) -> None:
    for kind in ("upload", "download"):
        if kind == "upload":
            host.person.shares(picture)
        else:
            host.person.saves(host.shared(), saved / "map.png")
        guest, _ = host.expects(kind)
        guest.send(refused(code))
        assert host.person.failed(code).reason == f"{code}!"
    assert names(saved) == []


def test_a_room_that_refuses_in_the_middle_is_heard(host: Host, film: Path) -> None:
    host.person.shares(film)
    guest, _ = host.expects("upload")
    guest.send(ready(0))
    guest.receive_bytes(100_000)
    guest.send(refused("muted"))
    assert len(guest.receive_bytes(len(LARGE))) < len(LARGE) - 100_000  # a room reads on for a moment
    host.person.failed("muted")


def test_a_room_that_refuses_at_the_end_is_heard(host: Host, picture: Path) -> None:
    host.person.shares(picture)
    guest, _ = host.expects("upload")
    guest.send(ready(0))
    guest.receive_bytes(len(DATA))
    guest.expects("sent")
    guest.send(refused("hash"))
    host.person.failed("hash")


@pytest.mark.parametrize("code", ["busy", "full", "wait"])
def test_a_room_that_has_no_time_is_asked_again(host: Host, picture: Path, saved: Path, code: str) -> None:
    for kind in ("upload", "download"):
        if kind == "upload":
            host.person.shares(picture)
        else:
            host.person.saves(host.shared(), saved / "map.png")
        for _ in range(3):
            guest, _ = host.expects(kind)
            guest.send(refused(code))
        guest, _ = host.expects(kind)
        if kind == "upload":
            guest.send(ready(len(DATA)))
            guest.send({"type": "stored"})
            host.person.uploaded()
        else:
            guest.send(sending(len(DATA)))
            guest.send_bytes(DATA)
            host.person.saved()


def test_a_room_that_asks_to_wait_is_left_alone_for_so_long(host: Host, picture: Path) -> None:
    host.person.shares(picture)
    guest, _ = host.expects("upload")
    begin = time.monotonic()
    guest.send({**refused("wait"), "seconds": 1})
    guest, _ = host.expects("upload")
    assert time.monotonic() - begin > 0.8
    guest.send(refused("space"))
    host.person.failed("space")


def test_who_is_not_known_because_the_visit_broke_off_tries_again_when_back(host: Host, picture: Path) -> None:
    host.person.shares(picture)
    guest, upload = host.expects("upload")
    host.guest.close()
    expect(host.person.events, net.Lost)
    guest.send(refused("unknown"))
    host.person.waits()
    host.lets_in(host.room.accepts())
    guest, again = host.expects("upload")
    assert again == upload
    guest.send(ready(len(DATA)))
    guest.send({"type": "stored"})
    host.person.uploaded()


@pytest.mark.parametrize("answer", [b"garbage\n", b'{"type":"hello","protocol":2,"tls":false}\n', b""])
def test_a_door_that_is_another_one_is_tried_again(host: Host, picture: Path, answer: bytes) -> None:
    host.person.shares(picture)
    for _ in range(2):
        guest = host.room.accepts()
        guest.expects("hello")
        guest.send_bytes(answer)
        guest.close()
    guest, _ = host.expects("upload")
    guest.send(refused("space"))
    host.person.failed("space")


def test_a_computer_without_a_socket_to_spare_tries_again(
    ann: Person, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(patience: net.PatienceUntil) -> net.Connection:
        tries.append(time.monotonic())
        if len(tries) < 3:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return really_connect(patience)

    tries: list[float] = []
    really_connect = ann.client.door.connect
    monkeypatch.setattr(ann.client.door, "connect", connect)
    ann.shares(picture)
    ann.uploaded()


def test_the_system_holds_little_of_an_upload_so_that_its_progress_is_true(host: Host, film: Path) -> None:
    host.person.shares(film)
    host.expects("upload")[0].send(ready(0))
    host.person.moves()
    connection = host.person.client._transfers[1]._connection
    assert connection is not None
    assert connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * net.MAX_PIECE  # Linux doubles it


def test_a_connection_that_is_gone_before_it_can_be_set_up_is_no_trouble_of_the_disk(
    host: Host, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def setsockopt(_sock: socket.socket, _level: int, option: int, _value: int) -> None:
        if option == socket.SO_SNDBUF:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))  # macOS, after a reset

    monkeypatch.setattr(socket.socket, "setsockopt", setsockopt)
    host.person.shares(picture)
    host.expects("upload")[0].send(refused("space"))
    host.person.failed("space")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("when", ["hello", "answer", "middle", "end"])
def test_a_room_that_falls_silent_is_asked_again(host: Host, film: Path, when: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(net, "FIRST_MESSAGE", 1.2)
    with keeps_talking(host.guest):
        host.person.client.share(str(film))
        guest = host.room.accepts()
        if when != "hello":
            guest.send({"type": "hello", "protocol": 1, "tls": False})
            guest.expects("hello")
            guest.expects("upload")
        if when in ("middle", "end"):
            guest.send(ready(0 if when == "middle" else len(LARGE)))
        if when == "end":
            assert guest.receive() == sent(LARGE)
        guest, _ = host.expects("upload")
        guest.send(refused("space"))
        host.person.failed("space")


@pytest.mark.usefixtures("impatient")
def test_a_save_that_falls_silent_is_asked_for_again_from_there(host: Host, saved: Path) -> None:
    with keeps_talking(host.guest):
        host.person.client.save(host.shared(), str(saved / "map.png"))
        guest, _ = host.expects("download")
        guest.send(sending(len(DATA)))
        guest.send_bytes(DATA[:HALF])
        guest, download = host.expects("download")
        assert download["offset"] == HALF
        guest.send(sending(len(DATA) - HALF))
        for start in range(HALF, len(DATA), HALF // 10):
            time.sleep(0.13)  # slow, but not silent; all of it lasts longer than the patience
            guest.send_bytes(DATA[start : start + HALF // 10])
        host.person.saved()
    assert (saved / "map.png").read_bytes() == DATA


@contextlib.contextmanager
def keeps_talking(guest: Wire) -> Iterator[None]:
    """The room pings, so that the visit itself does not break off."""
    done = threading.Event()

    def ping() -> None:
        while not done.wait(0.1):
            guest.send({"type": "ping"})

    thread = threading.Thread(target=ping, name="pings")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
