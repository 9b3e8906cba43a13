"""Sharing and saving with the program's own client: over breaks, with disks that fail, and in rooms that lie."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import itertools
import json
import os
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
from tests import test_client
from tests.conftest import OpenRoom
from tests.helpers import LIMIT, Message, Proxy, expect, message, messages_in, needs_tls, until
from tests.test_client import FakeRoom, Guest
from tests.test_files import DATA, HALF, replace_the_rooms_disk, sent

LARGE = secrets.token_bytes(4 * 2**20)  # nothing in it comes twice
SLOWLY = 0.2  # s; with this delay the LARGE one is under way for some seconds
ATTEMPTS = net.TRANSFER_ATTEMPTS  # as they are, before the tests allow more
PASSWORD = "qw36-q2gw-xmfz"
End = net.Uploaded | net.Saved | net.Failed
Sizes = Callable[[], list[int]]
T = TypeVar("T")


class Person(test_client.Person):
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

    def both_failed(self, code: str) -> set[int]:
        """The numbers of two transfers."""
        return {self.failed(code).transfer, self.failed(code).transfer}

    def hears_all_up_to(self, text: str) -> list[Any]:
        """The events before this line, which this person says now."""
        self.client.say(text)
        seen: list[Any] = []
        while not (seen and isinstance(seen[-1], net.Said) and seen[-1].text == text):
            seen.append(self.events.get(timeout=LIMIT))
        return seen[:-1]

    def _ends(self, kind: type[T]) -> T:
        end = expect(self.events, object, lambda event: isinstance(event, End))
        assert isinstance(end, kind), end
        return end


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
        guest.says_hello()
        return guest, guest.expects(kind)

    def expects_upload(self) -> Guest:
        """The next connection, on which the room is ready for a file."""
        guest, _ = self.expects("upload")
        guest.send(READY)
        return guest

    def stores_next_upload(self) -> None:
        guest, upload = self.expects("upload")
        guest.send(READY)
        data = guest.receive_bytes(upload["size"])
        assert guest.expects("sent") == sent(data)
        guest.send(STORED)

    def sends_next_download(self, data: bytes = DATA) -> None:
        guest, download = self.expects("download")
        guest.send(sending(len(data) - download["offset"]))
        guest.send_bytes(data[download["offset"] :])

    def shared(self, data: bytes = DATA, **changes: Any) -> net.Shared:
        file: dict[str, Any] = {"number": 1, "time": 1.5, "who": 1, "name": "Host", "file": "0" * 32}
        file |= {"filename": "map.png", "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        return net.Shared(**file | changes)


READY = message("ready")
STORED = message("stored")


def sending(size: int) -> Message:
    return message("sending", size=size)


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def parts(folder: Path) -> list[int]:
    """The sizes of the files that are not completely here yet."""
    return [path.stat().st_size for path in folder.glob("*.part")]


def offsets(proxy: Proxy) -> list[int]:
    """Where the downloads began."""
    return [download["offset"] for download in messages_in(proxy.to_room, "download")]


def replace_the_clients_disk(monkeypatch: pytest.MonkeyPatch, kind: type[io.FileIO]) -> None:
    """From now on clients read and write files of this kind."""
    monkeypatch.setattr(net, "open", lambda path, mode, buffering: kind(path, mode), raising=False)  # noqa: ARG005


Come = Callable[..., Person]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts follow each other at once, and there may be many of them; every piece is told."""
    monkeypatch.setattr(net, "RETRIES", (0.0, 0.01, 0.02, 0.04, 0.05))
    monkeypatch.setattr(net, "TRANSFER_ATTEMPTS", 10_000)
    monkeypatch.setattr(net, "PROGRESS_EVERY", 0.0)


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """Where people have the files that they share."""
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
    """Where people save files."""
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
def fake(stack: contextlib.ExitStack) -> Iterator[FakeRoom]:  # noqa: ARG001 - so it closes before the people do
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


def test_the_person_who_shares_is_told_like_everyone_else_and_can_save_it(
    ann: Person, picture: Path, saved: Path
) -> None:
    ann.client.share(str(picture))
    ann.saves(ann.is_told(), saved / "map.png")
    expect(ann.events, net.Saved)
    assert (saved / "map.png").read_bytes() == DATA


def test_latecomers_save_it_too_and_as_often_as_they_want(
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


def test_latecomers_get_the_worksheet_no_matter_how_much_has_been_said_since(
    open_room: OpenRoom, come: Come, picture: Path, saved: Path
) -> None:
    room = open_room(history=4)
    ann = come("Ann", room.port)
    ann.shares(picture)
    ann.uploaded()
    for number in range(10):
        ann.hears_all_up_to(str(number))
    late = come("Late", room.port)
    assert expect(late.events, net.Welcome).missed > 0
    late.saves(late.is_told(), saved / "map.png")
    late.saved()
    assert (saved / "map.png").read_bytes() == DATA
    assert not [event for event in late.hears_all_up_to("Hello") if isinstance(event, net.Lost)]


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
    ann: Person, bob: Person, film: Path, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "PROGRESS_EVERY", 1_000.0)
    bob.shares(film)
    ann.client.save(ann.is_told(), str(saved / "film.mp4"))
    told: list[int] = []
    while not isinstance(event := ann.events.get(timeout=LIMIT), net.Saved):
        if isinstance(event, net.Progress):
            told.append(event.done)
    assert told == [0, len(LARGE)]


def test_a_file_goes_in_pieces_and_never_as_a_whole(bob: Person, desk: Path, saved: Path) -> None:
    size = 16 * 2**20
    with (desk / "film").open("wb") as film:
        film.truncate(size)
    tracemalloc.start()
    try:
        bob.shares(desk / "film")
        bob.client.save(bob.is_told(), str(saved / "film"))
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
def test_a_file_whose_name_is_not_utf_8_can_be_shared(ann: Person, desk: Path) -> None:
    path = os.path.join(os.fsencode(desk), b"\xff.txt")
    with open(path, "wb") as file:
        file.write(DATA)
    ann.client.share(os.fsdecode(path))
    assert ann.is_told().filename == "\ufffd.txt"


@needs_tls
def test_a_room_with_a_password_carries_files_over_breaks_and_encrypted(
    open_room: OpenRoom, come: Come, film: Path, saved: Path
) -> None:
    with Proxy(open_room(password=PASSWORD).port) as proxy:
        ann = come("Ann", proxy.port, password=PASSWORD)
        expect(ann.events, net.Welcome)
        proxy.delay(SLOWLY)
        ann.shares(film)
        ann.moves(500_000)
        proxy.cut()
        file = ann.is_told()
        ann.client.save(file, str(saved / "film"))
        expect(ann.events, net.Progress, lambda progress: not progress.is_upload and progress.done > 500_000)
        proxy.cut()
        proxy.delay(0)
        expect(ann.events, net.Saved)
        for record in (proxy.to_room, proxy.from_room):
            assert len(record) > len(LARGE)
            assert LARGE[:16] not in bytes(record)
            assert b"film" not in bytes(record)
        ann.close()
    assert (saved / "film").read_bytes() == LARGE


@needs_tls
def test_a_room_with_a_password_says_why_it_refuses_a_file(open_room: OpenRoom, come: Come, picture: Path) -> None:
    ann = come("Ann", open_room(password=PASSWORD, max_store=10).port, password=PASSWORD)
    ann.shares(picture)
    ann.failed("space")


# Breaks --------------------------------------------------------------------------------------------------------------


def test_an_upload_that_was_cut_off_begins_anew_and_is_shared_once(
    ann: Person, bob: Person, proxy: Proxy, film: Path, saved: Path, store: Sizes
) -> None:
    proxy.delay(SLOWLY)
    ann.client.share(str(film))
    until(lambda: len(proxy.to_room) > 500_000, "it is on its way")
    proxy.cut()
    assert ann.waits().done == 0  # so it waited at first
    assert ann.waits().done > 0
    proxy.delay(0)
    ann.uploaded()
    first, again = messages_in(proxy.to_room, "upload")
    assert first == again
    bob.saves(bob.is_told(), saved / "film")
    bob.saved()
    assert (saved / "film").read_bytes() == LARGE
    assert store() == [len(LARGE)]
    assert not [event for event in bob.hears_all_up_to("Once") if isinstance(event, net.Shared)]


def test_a_download_that_was_cut_off_goes_on_where_it_was(
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
    first, again = offsets(proxy)
    assert first == 0
    assert again > 500_000
    assert (saved / "film").read_bytes() == LARGE
    assert names(saved) == ["film"]


@pytest.mark.parametrize("seed", range(3))
def test_in_a_storm_everything_arrives_once(
    ann: Person, bob: Person, proxy: Proxy, film: Path, desk: Path, saved: Path, seed: int, store: Sizes
) -> None:
    contents = {f"{number}.bin": secrets.token_bytes(100_000) for number in range(8)}
    bob.shares(film)
    file = ann.is_told()
    proxy.storm(seed, 400_000)
    for name, content in contents.items():
        (desk / name).write_bytes(content)
        ann.client.share(str(desk / name))
    ann.client.save(file, str(saved / "film"))
    for _ in (*contents, file):
        end = expect(ann.events, object, lambda event: isinstance(event, End))
        assert not isinstance(end, net.Failed), end
    proxy.calm()
    assert (saved / "film").read_bytes() == LARGE
    assert len(offsets(proxy)) > 1
    until(lambda: sorted(store()) == [100_000] * 8 + [len(LARGE)], "each file is kept once")
    told = [event for event in bob.hears_all_up_to("Once") if isinstance(event, net.Shared)]
    assert sorted(shared.filename for shared in told) == sorted(["film.mp4", *contents])


@pytest.mark.usefixtures("fast_clock")
def test_a_cable_that_is_pulled_out_and_put_back_costs_only_time(
    ann: Person, bob: Person, proxy: Proxy, film: Path, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "TICK", 0.1)
    monkeypatch.setattr(net, "FIRST_MESSAGE", 60.0)  # even over a slow network with this clock
    bob.shares(film)
    file = ann.is_told()
    proxy.delay(SLOWLY)
    ann.client.share(str(film))
    ann.client.save(file, str(saved / "film"))
    moving: set[int] = set()
    while len(moving) < 2:
        moving.add(ann.moves().transfer)
    proxy.silence()
    waiting: set[int] = set()
    while len(waiting) < 2:
        waiting.add(ann.waits().transfer)
    proxy.delay(0)
    proxy.speak(drop=True)
    ends = {type(expect(ann.events, object, lambda event: isinstance(event, End))) for _ in range(2)}
    assert ends == {net.Uploaded, net.Saved}
    assert (saved / "film").read_bytes() == LARGE


def test_an_upload_whose_answer_was_lost_is_not_sent_again(host: Host, picture: Path) -> None:
    host.person.shares(picture)
    guest, upload = host.expects("upload")
    guest.send(READY)
    assert guest.receive_bytes(len(DATA)) == DATA
    assert guest.receive() == sent(DATA)
    guest.close()
    again, said_again = host.expects("upload")
    assert said_again == upload
    again.send(STORED)
    host.person.uploaded()
    assert again.receive_all() == []


def test_a_room_that_is_opened_again_in_the_middle_ends_it_in_plain_words(
    ann: Person, bob: Person, proxy: Proxy, open_room: OpenRoom, film: Path, saved: Path
) -> None:
    bob.shares(film)
    file = ann.is_told()
    other = open_room()
    proxy.delay(SLOWLY)
    ann.client.share(str(film))
    ann.client.save(file, str(saved / "film"))
    moving: set[int] = set()
    while len(moving) < 2:
        moving.add(ann.moves().transfer)
    proxy.refuse()
    proxy.cut()
    proxy.delay(0)
    proxy.port_behind = other.port
    expect(ann.events, net.Lost)
    proxy.refuse(False)
    assert ann.both_failed("reopened") == {1, 2}
    assert names(saved) == []


def test_a_room_that_closes_ends_what_is_on_its_way(
    ann: Person, proxy: Proxy, room: net.Server, film: Path, store: Sizes
) -> None:
    proxy.delay(SLOWLY)
    ann.shares(film)
    ann.moves()
    room.close()
    ann.failed("over")
    expect(ann.events, net.Closed)
    assert store() == []
    ann.shares(film)
    ann.failed("over")


def test_a_visit_that_is_over_ends_what_is_on_its_way_at_once(host: Host, picture: Path, saved: Path) -> None:
    host.person.shares(picture)
    host.person.saves(host.shared(), saved / "map.png")
    for _ in range(2):
        host.room.accepts().says_hello()
    host.guest.send(message("closed", reason="That was all."))
    assert host.person.both_failed("over") == {1, 2}
    expect(host.person.events, net.Closed)
    assert names(saved) == []


def test_a_person_hears_that_the_room_is_closed_even_while_their_disk_does_not_answer(
    host: Host, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hanging(io.FileIO):
        def fileno(self) -> int:
            asked.set()
            assert answers.wait(LIMIT)
            return super().fileno()

    asked, answers = threading.Event(), threading.Event()
    replace_the_clients_disk(monkeypatch, Hanging)
    monkeypatch.setattr(net, "CLOSE_TIME", 0.1)
    host.person.shares(picture)
    assert asked.wait(LIMIT)
    host.guest.send(message("closed", reason="That was all."))
    try:
        expect(host.person.events, net.Closed)
    finally:
        answers.set()
    host.person.failed("over")


def test_a_person_who_is_leaving_begins_nothing_new(host: Host, picture: Path) -> None:
    host.person.client.close()
    host.person.client.share(str(picture))
    host.person.failed("over")


def test_a_person_who_leaves_leaves_no_parts_of_files_behind(
    ann: Person, bob: Person, proxy: Proxy, film: Path, saved: Path
) -> None:
    bob.shares(film)
    file = ann.is_told()
    proxy.delay(SLOWLY)
    ann.client.share(str(film))
    ann.saves(file, saved / "film")
    ann.moves()
    ann.close()
    assert ann.both_failed("over") == {1, 2}
    assert names(saved) == []
    ann.shares(film)
    ann.failed("over")


def test_the_files_of_a_person_who_is_removed_can_no_longer_be_saved(
    ann: Person, bob: Person, proxy: Proxy, room: net.Server, desk: Path, saved: Path, store: Sizes
) -> None:
    with (desk / "film").open("wb") as film:
        film.truncate(64 * 2**20)  # more than the network between Ann and the room holds
    bob.shares(desk / "film")
    file = ann.is_told()
    proxy.delay(SLOWLY)
    ann.saves(file, saved / "film")
    ann.moves()
    room.remove(file.who, True)
    proxy.delay(0)
    ann.failed("unknown")
    assert names(saved) == []
    assert store() == []


def test_a_file_that_is_shared_before_the_room_is_reached_waits_for_it(
    room: net.Server, come: Come, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "TRANSFER_ATTEMPTS", 1)  # waiting for the room is no attempt
    with Proxy(room.port) as proxy:
        proxy.refuse()
        ann = come("Ann", proxy.port)
        for _ in range(5):
            expect(ann.events, net.Lost)
        ann.shares(picture)
        proxy.refuse(False)
        ann.uploaded()
        ann.close()


# Giving up -----------------------------------------------------------------------------------------------------------


def test_a_transfer_gives_up_after_five_attempts() -> None:
    assert ATTEMPTS == 5


@pytest.mark.parametrize("kind", ["upload", "download"])
def test_a_transfer_gives_up_after_so_many_attempts_that_got_no_further(
    host: Host, picture: Path, saved: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(net, "TRANSFER_ATTEMPTS", 3)
    if kind == "upload":
        host.person.shares(picture)
    else:
        host.person.saves(host.shared(), saved / "map.png")
    for _ in range(3):
        host.expects(kind)[0].close()
    host.person.failed("broken")
    assert names(saved) == []


def test_the_attempts_count_anew_for_a_download_that_got_further(
    host: Host, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "TRANSFER_ATTEMPTS", 3)
    host.person.saves(host.shared(), saved / "map.png")
    for offset in range(4):
        for _ in range(2):
            host.expects("download")[0].close()
        guest, _ = host.expects("download")
        guest.send(sending(len(DATA) - offset))
        guest.send_bytes(DATA[offset : offset + 1])
        guest.close()
    host.sends_next_download()
    host.person.saved()


def test_an_upload_that_gets_no_further_than_before_gives_up(
    host: Host, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of its attempts begins at the first byte, so moving alone is no sign of hope."""
    monkeypatch.setattr(net, "TRANSFER_ATTEMPTS", 3)
    host.person.shares(film)
    guest = host.expects_upload()
    assert len(guest.receive_bytes(len(LARGE) // 2)) == len(LARGE) // 2
    guest.close()
    for _ in range(3):
        guest = host.expects_upload()
        host.person.moves()
        guest.close()
    host.person.failed("broken")


def test_a_wait_that_the_room_asks_for_is_no_attempt(
    host: Host, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "TRANSFER_ATTEMPTS", 1)
    host.person.shares(picture)
    for code in ("limit", "wait", "limit"):
        host.expects("upload")[0].refuses(code)
    host.stores_next_upload()
    host.person.uploaded()


# Cancelling ----------------------------------------------------------------------------------------------------------


def test_a_cancelled_upload_ends_at_once_and_the_room_forgets_it(
    ann: Person, proxy: Proxy, film: Path, store: Sizes
) -> None:
    proxy.delay(SLOWLY)
    number = ann.shares(film)
    ann.moves()
    until(lambda: any(store()), "the room has some of it")
    ann.client.cancel(number)
    assert ann.failed("cancelled").transfer == number
    until(lambda: store() == [], "the room has nothing left of it")
    assert not [event for event in ann.hears_all_up_to("Hello") if isinstance(event, (net.Shared, net.Lost))]


def test_a_cancelled_download_leaves_only_what_was_there_before(
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
    failed = ann.failed("cancelled")
    assert (failed.transfer, failed.filename) == (number, "film")
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


def test_what_waits_for_its_next_attempt_can_be_cancelled(
    host: Host, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "RETRIES", (1_000.0,))
    number = host.person.shares(picture)
    host.expects("upload")[0].close()
    host.person.waits()
    host.person.client.cancel(number)
    host.person.failed("cancelled")


@pytest.mark.parametrize("attempts", [1, 10_000])
@pytest.mark.parametrize("far", ["hello", "upload", "ready"])
def test_a_room_that_says_nothing_does_not_hold_up_a_cancel(
    host: Host, film: Path, monkeypatch: pytest.MonkeyPatch, far: str, attempts: int
) -> None:
    """And it is reported as a cancel, even in the last attempt."""
    for time_limit in ("SILENCE", "FIRST_MESSAGE"):
        monkeypatch.setattr(net, time_limit, 1_000.0)
    monkeypatch.setattr(net, "TRANSFER_ATTEMPTS", attempts)
    number = host.person.shares(film)
    if far == "hello":
        host.room.accepts().expects("hello")
    elif far == "upload":
        host.expects("upload")
    else:
        host.expects_upload()
        host.person.moves()
    host.person.client.cancel(number)
    host.person.failed("cancelled")


def test_cancelling_what_has_ended_or_never_began_does_nothing(ann: Person, picture: Path) -> None:
    number = ann.shares(picture)
    ann.uploaded()
    ann.client.cancel(number)
    ann.client.cancel(99)
    assert not [event for event in ann.hears_all_up_to("Hello") if isinstance(event, End)]


# Turns ---------------------------------------------------------------------------------------------------------------


def test_four_files_are_on_their_way_each_way_and_the_fifth_waits_for_one_of_them(host: Host, desk: Path) -> None:
    for number in range(6):
        (desk / str(number)).write_bytes(b"%d" % number)
        host.person.client.share(str(desk / str(number)))
    under_way = {}
    for _ in range(4):
        guest, upload = host.expects("upload")
        under_way[upload["filename"]] = guest
    assert sorted(under_way) == ["0", "1", "2", "3"]
    host.person.client.save(host.shared(), str(desk / "saved"))
    download, _ = host.expects("download")  # and not the fifth upload, which was there first
    under_way["2"].send(STORED)
    host.person.uploaded()
    assert host.expects("upload")[1]["filename"] == "4"
    host.person.client.cancel(6)
    assert host.person.failed("cancelled").filename == "5"
    download.send(sending(len(DATA)))
    download.send_bytes(DATA)
    host.person.saved()


def test_too_many_files_at_once_are_told_so(host: Host, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "MAX_TRANSFERS", 2)
    host.person.shares(picture)
    host.person.shares(picture)
    third = host.person.shares(picture)
    assert host.person.failed("many").transfer == third
    host.person.client.cancel(1)
    host.person.failed("cancelled")
    fourth = host.person.shares(picture)
    host.person.client.cancel(fourth)
    host.person.failed("cancelled")  # and not "many"


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
    class Faulty(io.FileIO):
        def fileno(self) -> int:
            raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        replace_the_clients_disk(patch, Faulty)
        ann.shares(picture)
        ann.failed("failed")
    assert "the transfer of map.png failed" in caplog.text
    caplog.clear()
    ann.shares(picture)
    ann.uploaded()


# What cannot be shared -----------------------------------------------------------------------------------------------


def test_only_files_are_shared(ann: Person, desk: Path, proxy: Proxy) -> None:
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
    assert messages_in(proxy.to_room, "upload") == []


def test_a_file_that_may_not_be_read_is_not_shared(
    ann: Person, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Forbidden(io.FileIO):
        def __init__(self, *_arguments: object) -> None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    replace_the_clients_disk(monkeypatch, Forbidden)
    ann.shares(picture)
    assert ann.failed("permission").reason == os.strerror(errno.EACCES)


def test_a_file_over_the_limit_is_refused_before_a_byte_is_sent(open_room: OpenRoom, come: Come, picture: Path) -> None:
    with Proxy(open_room(max_file=len(DATA) - 1).port) as proxy:
        ann = come("Ann", proxy.port)
        ann.shares(picture)
        assert f"{len(DATA):,}" in ann.failed("size").reason
        assert messages_in(proxy.to_room, "upload") == []
        ann.close()


def test_a_file_of_exactly_the_limit_is_shared_and_for_the_next_one_there_is_no_space(
    open_room: OpenRoom, come: Come, picture: Path
) -> None:
    ann = come("Ann", open_room(max_file=len(DATA), max_store=2 * len(DATA)).port)
    ann.shares(picture)
    ann.uploaded()
    ann.shares(picture)
    ann.failed("space")


def test_a_room_whose_disk_is_full_in_the_middle_says_so(
    ann: Person, film: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            if self.tell() > 1_000_000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)

    replace_the_rooms_disk(monkeypatch, tmp_path, Full)
    ann.shares(film)
    ann.failed("space")


@pytest.mark.parametrize("change", ["shorter", "longer", "touched"])
def test_a_file_that_changes_while_it_is_read_is_not_shared(host: Host, picture: Path, change: str) -> None:
    host.person.shares(picture)
    guest, _ = host.expects("upload")
    if change == "touched":
        os.utime(picture, ns=(1, 1))
    else:
        with picture.open("r+b") as file:
            file.truncate(HALF if change == "shorter" else 2 * len(DATA))
    guest.send(READY)
    host.person.failed("changed")
    assert guest.receive_bytes(2 * len(DATA)) == (DATA[:HALF] if change == "shorter" else DATA)


def test_a_file_that_ends_too_early_is_not_shared_whatever_its_disk_says(
    host: Host, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Short(io.FileIO):
        def readinto(self, buffer: Any) -> int:
            return 0 if self.tell() else super().readinto(buffer[:HALF])

    replace_the_clients_disk(monkeypatch, Short)
    host.person.shares(picture)
    guest = host.expects_upload()
    host.person.failed("changed")
    assert guest.receive_bytes(len(DATA)) == DATA[:HALF]


def test_a_file_that_changes_between_two_attempts_is_not_shared(host: Host, picture: Path) -> None:
    host.person.shares(picture)
    guest = host.expects_upload()
    guest.receive_bytes(HALF)
    guest.close()
    guest, _ = host.expects("upload")
    picture.write_bytes(DATA[1:] + b"x")
    os.utime(picture, ns=(1, 1))
    guest.send(READY)
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
    host.person.failed("missing" if sys.platform == "win32" else "disk")
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
    host: Host, saved: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str, when: str
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
    host.person.saves(host.shared(), saved / "map.png")
    if when != "it is opened":
        host.sends_next_download()
    assert host.person.failed(code).reason == os.strerror(number)
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
        host.sends_next_download()
        assert host.person.failed("disk").reason == os.strerror(errno.EFBIG)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert names(saved) == []


def test_a_part_that_exists_already_belongs_to_somebody_else(host: Host, saved: Path) -> None:
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

GARBAGE = [b"\n", b"garbage\n", b"\xff\xfe\n", b"[]\n", b"x" * (net.MAX_LINE_FROM_ROOM + 1)]
OTHER_MESSAGES = [sending(-1), message("hello", protocol=net.PROTOCOL, tls=False)]


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("kind", ["upload", "download"])
def test_garbage_in_place_of_an_answer_ends_the_transfer(
    host: Host, picture: Path, saved: Path, kind: str, garbage: bytes
) -> None:
    if kind == "upload":
        host.person.shares(picture)
    else:
        host.person.saves(host.shared(), saved / "map.png")
    host.expects(kind)[0].send_bytes(garbage)
    host.person.failed("bad")
    assert names(saved) == []


@pytest.mark.parametrize("other", [*OTHER_MESSAGES, READY, STORED])
def test_another_message_in_place_of_a_file_ends_a_download(host: Host, saved: Path, other: Message) -> None:
    host.person.saves(host.shared(), saved / "map.png")
    host.expects("download")[0].send(other)
    host.person.failed("bad")
    assert names(saved) == []


@pytest.mark.parametrize("other", [*OTHER_MESSAGES, sending(1)])
@pytest.mark.parametrize("when", ["before the bytes", "after the bytes"])
def test_another_message_in_place_of_an_answer_ends_an_upload(
    host: Host, picture: Path, other: Message, when: str
) -> None:
    host.person.shares(picture)
    guest, _ = host.expects("upload")
    if when == "after the bytes":
        guest.send(READY)
        guest.receive_bytes(len(DATA))
        guest.expects("sent")
    guest.send(other)
    host.person.failed("bad")


@pytest.mark.parametrize("size", [0, 1, len(DATA) - 1, len(DATA) + 1, 2**53])
def test_a_room_that_lies_about_the_size_is_not_believed(host: Host, saved: Path, size: int) -> None:
    host.person.saves(host.shared(), saved / "map.png")
    host.expects("download")[0].send(sending(size))
    host.person.failed("bad")
    assert names(saved) == []


def test_a_room_that_sends_another_content_is_not_believed(host: Host, saved: Path) -> None:
    host.person.saves(host.shared(), saved / "map.png")
    host.sends_next_download(DATA[:-1] + b"!")
    host.person.failed("hash")
    assert names(saved) == []


def test_no_more_bytes_are_taken_than_the_file_has(host: Host, saved: Path) -> None:
    host.person.saves(host.shared(sha256=hashlib.sha256(DATA).hexdigest().upper()), saved / "map.png")
    guest, download = host.expects("download")
    assert download["offset"] == 0
    guest.send(sending(len(DATA)))
    guest.send_bytes(DATA + b"more")
    host.person.saved()
    assert (saved / "map.png").read_bytes() == DATA


def test_the_rest_of_a_download_that_broke_off_is_asked_for(host: Host, saved: Path) -> None:
    host.person.saves(host.shared(), saved / "map.png")
    for start, stop in itertools.pairwise([0, 1, 1, HALF, len(DATA)]):
        guest, download = host.expects("download")
        assert (download["token"], download["file"]) == (host.person.client.token, "0" * 32)
        assert download["offset"] == start
        guest.send(sending(len(DATA) - start))
        guest.send_bytes(DATA[start:stop])
        guest.close()
    host.person.saved()
    assert (saved / "map.png").read_bytes() == DATA


def test_a_download_that_got_further_tries_again_at_once_and_otherwise_it_waits(
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
    host.sends_next_download()
    assert time.monotonic() - begin > 0.2
    host.person.saved()


def test_an_upload_says_what_it_is_and_sends_all_its_bytes(host: Host, picture: Path) -> None:
    host.person.shares(picture)
    guest, upload = host.expects("upload")
    assert re.fullmatch("[0-9a-f]{32}", upload["file"])
    assert (upload["filename"], upload["size"], upload["token"]) == ("map.png", len(DATA), host.person.client.token)
    guest.send(READY)
    assert guest.receive_bytes(len(DATA)) == DATA
    assert guest.receive() == sent(DATA)
    guest.send(STORED)
    host.person.uploaded()


def test_a_message_of_a_later_version_is_ignored(host: Host, picture: Path, saved: Path) -> None:
    later = message("weather", number=3, temperature=21)
    host.person.shares(picture)
    guest, _ = host.expects("upload")
    for each in (later, READY, later):
        guest.send(each)
    guest.receive_bytes(len(DATA))
    guest.expects("sent")
    for each in (later, STORED):
        guest.send(each)
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
        host.expects(kind)[0].refuses(code, f"{code}!")
        assert host.person.failed(code).reason == f"{code}!"
    assert names(saved) == []


def test_a_room_that_refuses_in_the_middle_is_heard(host: Host, film: Path) -> None:
    host.person.shares(film)
    guest = host.expects_upload()
    guest.receive_bytes(100_000)
    guest.refuses("muted")
    assert len(guest.receive_bytes(len(LARGE))) < len(LARGE) - 100_000  # a room reads on for a moment
    host.person.failed("muted")


def test_a_room_that_refuses_at_the_end_is_heard(host: Host, picture: Path) -> None:
    host.person.shares(picture)
    guest = host.expects_upload()
    guest.receive_bytes(len(DATA))
    guest.expects("sent")
    guest.refuses("hash")
    host.person.failed("hash")


@pytest.mark.parametrize("code", ["limit", "full", "wait"])
def test_a_room_that_is_too_busy_is_asked_again(host: Host, picture: Path, saved: Path, code: str) -> None:
    for kind in ("upload", "download"):
        if kind == "upload":
            host.person.shares(picture)
        else:
            host.person.saves(host.shared(), saved / "map.png")
        for _ in range(3):
            host.expects(kind)[0].refuses(code)
        if kind == "upload":
            host.stores_next_upload()
            host.person.uploaded()
        else:
            host.sends_next_download()
            host.person.saved()


def test_a_room_that_asks_to_wait_is_left_alone_for_so_long(host: Host, picture: Path) -> None:
    host.person.shares(picture)
    guest, _ = host.expects("upload")
    begin = time.monotonic()
    guest.refuses("wait", seconds=1)
    guest, _ = host.expects("upload")
    assert time.monotonic() - begin > 0.8
    guest.refuses("space")
    host.person.failed("space")


def test_a_person_whom_the_room_lost_meanwhile_tries_again_when_they_are_back(host: Host, picture: Path) -> None:
    host.person.shares(picture)
    guest, upload = host.expects("upload")
    host.guest.close()
    expect(host.person.events, net.Lost)
    guest.refuses("unknown")
    host.person.waits()
    host.lets_in(host.room.accepts())
    guest, again = host.expects("upload")
    assert again == upload
    guest.send(STORED)
    host.person.uploaded()


OTHER_PROTOCOL = message("hello", protocol=net.PROTOCOL + 1, tls=False)


@pytest.mark.parametrize("answer", [b"garbage\n", json.dumps(OTHER_PROTOCOL).encode() + b"\n", b""])
def test_something_other_than_the_room_that_answers_is_tried_again(host: Host, picture: Path, answer: bytes) -> None:
    host.person.shares(picture)
    for _ in range(2):
        guest = host.room.accepts()
        guest.expects("hello")
        guest.send_bytes(answer)
        guest.close()
    host.expects("upload")[0].refuses("space")
    host.person.failed("space")


def test_a_computer_without_a_socket_to_spare_tries_again(
    ann: Person, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(is_wanted: Callable[[], bool]) -> net.Connection:
        attempts.append(is_wanted)
        if len(attempts) < 3:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return really_connect(is_wanted)

    attempts: list[Callable[[], bool]] = []
    really_connect = ann.client.dialer.connect
    monkeypatch.setattr(ann.client.dialer, "connect", connect)
    ann.shares(picture)
    ann.uploaded()
    assert len(attempts) == 3


def test_the_system_holds_little_of_an_upload_so_that_its_progress_is_true(
    host: Host, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keep_buffer_small(connection: net.Connection) -> None:
        really_keep_small(connection)
        sizes.append(connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF))

    sizes: list[int] = []
    really_keep_small = net.Connection.keep_buffer_small
    monkeypatch.setattr(net.Connection, "keep_buffer_small", keep_buffer_small)
    host.person.shares(film)
    host.expects_upload()
    host.person.moves()
    (size,) = sizes
    assert size <= 2 * net.MAX_PIECE  # Linux doubles it


def test_a_connection_that_is_gone_before_it_can_be_set_up_is_not_a_fault_of_the_disk(
    host: Host, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def setsockopt(_sock: socket.socket, _level: int, option: int, _value: int) -> None:
        if option == socket.SO_SNDBUF:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))  # macOS, after a reset

    monkeypatch.setattr(socket.socket, "setsockopt", setsockopt)
    host.person.shares(picture)
    host.expects("upload")[0].refuses("space")
    host.person.failed("space")


@pytest.mark.usefixtures("fast_clock")
@pytest.mark.parametrize("when", ["hello", "answer", "middle", "end"])
def test_a_room_that_falls_silent_during_an_upload_is_asked_again(
    host: Host, film: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    monkeypatch.setattr(net, "TICK", 0.1)
    host.person.client.share(str(film))
    if when == "hello":
        host.room.accepts()
    elif when == "answer":
        host.expects("upload")
    else:
        guest = host.expects_upload()
        if when == "end":
            assert guest.receive_bytes(len(LARGE)) == LARGE
            assert guest.receive() == sent(LARGE)
    host.expects("upload")[0].refuses("space")
    host.person.failed("space")


@pytest.mark.usefixtures("fast_clock")
def test_a_room_that_falls_silent_during_a_download_is_asked_for_the_rest(
    host: Host, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "TICK", 0.1)
    host.person.client.save(host.shared(), str(saved / "map.png"))
    guest, _ = host.expects("download")
    guest.send(sending(len(DATA)))
    guest.send_bytes(DATA[:HALF])
    guest, download = host.expects("download")
    assert download["offset"] == HALF
    guest.send(sending(len(DATA) - HALF))
    guest.send_bytes(DATA[HALF:])
    host.person.saved()
    assert (saved / "map.png").read_bytes() == DATA
