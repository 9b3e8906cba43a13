"""The host's controls over real connections: what they do, and that no program of a pupil's own gets around them.

The rules themselves (whom a mute affects, what is deleted, who is told) are tested in tests/test_rules.py.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import queue
import random
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

import net
from tests.conftest import OpenRoom
from tests.helpers import LIMIT, LOOPBACK, Message, Proxy, Wire, drain, expect, message, port_of, until

T = TypeVar("T")
HERE, THERE, ELSEWHERE = "192.0.2.1", "192.0.2.2", "192.0.2.3"  # computers of the classroom
DATA = bytes(range(256)) * 40
HALF = len(DATA) // 2
LARGE = 8 * 2**20  # bytes; more than two sockets hold

_pretended: dict[int, str] = {}  # port that a connection comes from -> address that it seems to come from


class Call(Wire):
    """A connection from any computer of the classroom."""

    def __init__(self, room: net.Server, at: str = LOOPBACK) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(LIMIT)
        self.socket.bind((LOOPBACK, 0))
        _pretended[port_of(self.socket)] = at
        self.socket.connect((LOOPBACK, room.port))
        self.token = secrets.token_hex(16)
        self._received = b""

    def __enter__(self) -> Call:
        return self

    def sends_the_rest(self, data: bytes) -> None:
        """The second half of an upload, and its hash."""
        self.send_bytes(data[HALF:])
        self.send(message("sent", sha256=hashlib.sha256(data).hexdigest()))


class Member(Call):
    """Somebody in the room, with a program of their own."""

    def __init__(
        self, room: net.Server, name: str, token: str | None = None, *, at: str = LOOPBACK, after: int = 0
    ) -> None:
        super().__init__(room, at)
        self.room = room
        self.at = at
        try:
            self.welcome = self.join(name, token, room.id, after)
        except BaseException:
            self.close()
            raise
        self.who = int(self.welcome["who"])
        self.last_id = int(self.welcome["last_id"])

    def says(self, text: str) -> None:
        self.last_id += 1
        self.say(self.last_id, text)

    def is_answered(self) -> Message:
        """`said` or `rejected`, of the newest line."""
        while True:
            answer = self.next()
            if answer.get("id") == self.last_id and answer.get("who", self.who) == self.who:
                return answer

    def may_write(self) -> str:
        """Says something; "said", or the code with which it was rejected."""
        self.says("May I?")
        answer = self.is_answered()
        return str(answer.get("code", answer["type"]))

    def next(self) -> Message:
        received = self.receive()
        assert received is not None, "the connection ended"
        return received

    def catches_up(self) -> list[Message]:
        """The events that the welcome announced."""
        return [self.next() for _ in range(self.welcome["files"] + self.welcome["history"])]

    def all_up_to(self, kind: str, **fields: object) -> list[Message]:
        """What comes, up to and with the first of this kind."""
        seen = [self.next()]
        while seen[-1]["type"] != kind or any(seen[-1][name] != value for name, value in fields.items()):
            seen.append(self.next())
        return seen

    # Files have connections of their own.

    def calls(self) -> Call:
        return Call(self.room, self.at)

    def begins_upload(self, data: bytes = DATA, file: str | None = None) -> Call:
        """The room has taken the first half of a file."""
        wire = self.calls()
        try:
            assert wire.begin_upload(self.token, len(data), "map.png", file)["type"] == "ready"
            wire.send_bytes(data[:HALF])
        except BaseException:
            wire.close()
            raise
        return wire

    def begins_download(self, file: str) -> Call:
        wire = self.calls()
        try:
            assert wire.download(self.token, file)["type"] == "sending"
        except BaseException:
            wire.close()
            raise
        return wire

    def shares(self, data: bytes = DATA, file: str | None = None) -> str:
        """The whole of it; the file's id."""
        file = file or secrets.token_hex(16)
        with self.calls() as wire:
            assert wire.upload(self.token, data, "map.png", file)["type"] == "stored"
        return file

    def may_share(self) -> str:
        """"ready", or the code with which an upload is refused."""
        with self.calls() as wire:
            answer = wire.begin_upload(self.token, 1)
        return str(answer.get("code", answer["type"]))

    def may_save(self, file: str) -> str:
        """"sending", or the code with which the download is refused."""
        with self.calls() as wire:
            answer = wire.download(self.token, file)
        return str(answer.get("code", answer["type"]))

    def fetches(self, file: str) -> bytes:
        with self.calls() as wire:
            return wire.receive_bytes(wire.download(self.token, file)["size"])


class Person:
    """Somebody with the program: a client, and the events that its window would show."""

    def __init__(self, name: str, port: int, *, token: str | None = None) -> None:
        self.events: net.Events = queue.Queue()
        self.client = net.run_client(LOOPBACK, name, self.events, port=port, token=token)

    def expects(self, kind: type[T], where: Callable[[T], object] = lambda _event: True) -> T:
        return expect(self.events, kind, where)

    def comes_in(self) -> net.Welcome:
        """The welcome, once everything that it announced is here, too."""
        welcome = self.expects(net.Welcome)
        if welcome.history:
            self.expects(net.Joined, lambda joined: joined.who == welcome.who)
        return welcome

    def says(self, text: str) -> int:
        self.client.say(text)
        return self.expects(net.Sending, lambda sending: sending.text == text).id

    def hears(self, text: str) -> net.Said:
        return self.expects(net.Said, lambda said: said.text == text)

    def fails(self) -> net.Failed:
        end = expect(self.events, object, lambda event: isinstance(event, (net.Uploaded, net.Saved, net.Failed)))
        assert isinstance(end, net.Failed), end
        return end

    def close(self) -> None:
        self.client.close()
        assert self.client.join(LIMIT), "the client does not end"


Enter = Callable[..., Member]
Come = Callable[..., Person]


@pytest.fixture(autouse=True)
def _addresses(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each connection comes from where its `Call` says."""

    class ConnectionFromAnywhere(net.Connection):
        def __init__(self, sock: socket.socket, receive_size: int) -> None:
            super().__init__(sock, receive_size)
            self.address = _pretended.get(sock.getpeername()[1], self.address)

    monkeypatch.setattr(net, "Connection", ConnectionFromAnywhere)
    yield
    _pretended.clear()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients try again at once."""
    monkeypatch.setattr(net, "RETRIES", (0.0, 0.01, 0.02, 0.04, 0.05))


@pytest.fixture
def enter(stack: contextlib.ExitStack) -> Enter:
    return lambda *who, **how: stack.enter_context(contextlib.closing(Member(*who, **how)))


@pytest.fixture
def come(stack: contextlib.ExitStack) -> Come:
    return lambda *who, **how: stack.enter_context(contextlib.closing(Person(*who, **how)))


@pytest.fixture
def told() -> net.Events:
    """What the room tells its host alone."""
    return queue.Queue()


@pytest.fixture
def room(open_room: OpenRoom, told: net.Events) -> net.Server:
    return open_room(events=told)


@pytest.fixture
def host(room: net.Server, enter: Enter) -> Member:
    return enter(room, "Host", room.token)


@pytest.fixture
def ann(room: net.Server, enter: Enter, host: Member) -> Member:  # noqa: ARG001 - the host comes first
    return enter(room, "Ann", at=HERE)


@pytest.fixture
def bob(room: net.Server, enter: Enter, ann: Member) -> Member:  # noqa: ARG001 - Ann comes before Bob
    return enter(room, "Bob", at=THERE)


def refusal(room: net.Server, token: str | None = None, *, at: str = LOOPBACK) -> Message:
    """What the room says instead of a welcome; the connection ends after it."""
    with Call(room, at) as call:
        answer = call.try_to_join("Ann", token)
        assert answer["type"] == "refused", answer
        assert answer["reason"]
        assert call.receive_all() == []
    return answer


def controls(told: net.Events) -> list[tuple[tuple[int, ...], tuple[tuple[int, str], ...]]]:
    """What the host has been told up to now, as (muted, removed)."""
    return [(event.muted, event.removed) for event in drain(told) if isinstance(event, net.Controls)]


def has_thread(name: str) -> bool:
    return any(thread.name == name for thread in threading.enumerate())


def numbers(messages: list[Message]) -> list[int]:
    return [each["number"] for each in messages if "number" in each]


def kinds(messages: list[Message]) -> list[str]:
    return [each["type"] for each in messages]


def silence(room: net.Server, who: int, control: str) -> None:
    """Nobody but the host may write; or this person may not."""
    if control == "mute":
        room.mute(who, True)
    else:
        room.pause(True)


# Mute and pause ------------------------------------------------------------------------------------------------------


def test_a_muted_person_is_told_alone_reads_on_and_is_not_heard(room: net.Server, ann: Member, bob: Member) -> None:
    room.mute(ann.who, True)
    assert ann.receive_until("muted")["on"] is True
    ann.says("let me in")
    rejected = ann.next()
    assert (rejected["type"], rejected["id"], rejected["code"]) == ("rejected", 1, "muted")
    assert rejected["reason"]
    bob.says("poor Ann")
    seen = bob.all_up_to("said")
    assert kinds(seen) == ["joined", "joined", "joined", "said"]  # neither `muted` nor Ann's line
    assert seen[-1]["text"] == ann.next()["text"] == "poor Ann"
    room.mute(ann.who, False)
    assert ann.next()["on"] is False
    ann.says("thank you")
    assert bob.next()["text"] == "thank you"


def test_a_mute_is_shared_by_new_programs_on_that_computer_and_ends_with_it(
    room: net.Server, ann: Member, bob: Member, enter: Enter, told: net.Events
) -> None:
    room.mute(ann.who, True)
    second = enter(room, "Somebody else", at=HERE)
    assert (second.welcome["muted"], second.welcome["name"]) == (True, "Guest 1")
    assert second.may_write() == "muted"
    assert bob.may_write() == "said"
    room.mute(second.who, False)
    assert ann.may_write() == second.may_write() == "said"
    assert controls(told) == [((ann.who,), ()), ((ann.who, second.who), ()), ((), ())]


def test_a_mute_on_the_hosts_computer_affects_only_that_person(room: net.Server, host: Member, enter: Enter) -> None:
    first = enter(room, "First")
    room.mute(first.who, True)
    assert first.may_write() == "muted"
    assert host.may_write() == "said"
    assert enter(room, "Second").may_write() == "said"


def test_while_the_room_is_paused_only_the_host_is_heard_and_everyone_sees_it(
    room: net.Server, host: Member, ann: Member, bob: Member
) -> None:
    room.pause(True)
    for member in (host, ann, bob):
        assert member.receive_until("paused")["on"] is True
    assert ann.may_write() == "paused"
    host.says("listen")
    assert bob.next()["text"] == "listen"
    room.pause(False)
    assert bob.next()["on"] is False
    ann.says("at last")
    assert bob.next()["text"] == "at last"


def test_a_muted_person_saves_files_but_shares_none(room: net.Server, ann: Member, bob: Member) -> None:
    file = bob.shares()
    room.mute(ann.who, True)
    assert ann.fetches(file) == DATA
    assert ann.may_share() == "muted"
    room.mute(ann.who, False)
    ann.shares()


def test_in_a_paused_room_everyone_saves_files_but_only_the_host_shares_them(
    room: net.Server, host: Member, ann: Member, bob: Member
) -> None:
    file = ann.shares()
    room.pause(True)
    assert ann.may_share() == "paused"
    assert bob.fetches(file) == DATA
    host.shares()
    room.pause(False)
    ann.shares()


@pytest.mark.parametrize(("control", "code"), [("mute", "muted"), ("pause", "paused")])
def test_an_upload_that_ends_while_its_owner_may_not_write_is_refused_and_nothing_is_kept(
    open_room: OpenRoom, enter: Enter, control: str, code: str
) -> None:
    room = open_room(max_store=2 * len(DATA))
    host, ann = enter(room, "Host", room.token), enter(room, "Ann", at=HERE)
    with ann.begins_upload() as wire:
        silence(room, ann.who, control)
        wire.sends_the_rest(DATA)
        (refused,) = wire.receive_all()
    assert refused["code"] == code
    assert refused["reason"]
    host.shares(2 * DATA)  # it needs all of the store
    assert "shared" not in kinds(host.all_up_to("shared")[:-1])


def test_an_upload_that_lasts_longer_than_the_pause_is_shared(room: net.Server, ann: Member, bob: Member) -> None:
    with ann.begins_upload() as wire:
        room.pause(True)
        room.mute(ann.who, True)
        room.mute(ann.who, False)
        room.pause(False)
        wire.sends_the_rest(DATA)
        assert kinds(wire.receive_all()) == ["stored"]
    assert bob.receive_until("shared")["size"] == len(DATA)


@pytest.mark.parametrize("control", ["mute", "pause"])
def test_an_upload_whose_answer_was_lost_is_stored_although_its_owner_may_not_write_now(
    room: net.Server, ann: Member, bob: Member, control: str
) -> None:
    file = ann.shares()
    silence(room, ann.who, control)
    assert ann.shares(file=file) == file
    room.pause(control != "pause")
    assert kinds(bob.all_up_to("paused", on=control != "pause")).count("shared") == 1
    assert bob.fetches(file) == DATA


def test_a_flood_while_the_room_is_paused_is_answered_line_by_line_and_reaches_nobody(
    room: net.Server, ann: Member, bob: Member
) -> None:
    room.pause(True)
    for _ in range(800):
        ann.says("now")
    answers = [ann.receive_until("rejected") for _ in range(800)]
    assert [answer["id"] for answer in answers] == list(range(1, 801))
    assert {answer["code"] for answer in answers} == {"paused"}
    room.pause(False)
    ann.says("thanks")
    assert kinds(bob.all_up_to("said"))[-3:] == ["paused", "paused", "said"]


def test_a_person_who_floods_a_paused_room_and_reads_nothing_is_let_go_and_holds_up_nobody(
    room: net.Server, ann: Member, bob: Member, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "MAX_PRIVATE_LINES", 5)
    monkeypatch.setattr(net, "LAST_WORDS", 0.1)
    ann.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # so that it is soon full
    room.pause(True)
    with contextlib.suppress(OSError):  # the connection is closed
        while True:
            ann.says("now" * 1000)
            if ann.last_id % 1000 == 0:
                bob.ping()
    room.pause(False)
    assert bob.may_write() == "said"
    assert enter(room, "Ann", ann.token, at=HERE).may_write() == "said"


# Remove --------------------------------------------------------------------------------------------------------------


def test_a_removed_person_reads_why_as_the_last_word_and_the_others_see_it(
    room: net.Server, ann: Member, bob: Member
) -> None:
    bob.says("before")
    ann.receive_until("said")
    room.remove(ann.who, True)
    (closed,) = ann.receive_all()
    assert closed["type"] == "closed"
    assert closed["reason"]
    left = bob.receive_until("left")
    assert (left["who"], left["name"], left["reason"]) == (ann.who, "Ann", "removed")
    bob.says("after")
    assert bob.next()["number"] == left["number"] + 1  # it is said once


def test_a_removed_person_stays_out_until_the_host_lets_them_in_again(
    room: net.Server, ann: Member, enter: Enter
) -> None:
    room.remove(ann.who, True)
    for token, at in ((ann.token, HERE), (ann.token, ELSEWHERE), (ann.token, LOOPBACK), (None, HERE)):
        assert refusal(room, token, at=at)["code"] == "removed"
    room.remove(ann.who, False)
    assert enter(room, "Ann", ann.token, at=HERE).who == ann.who


def test_on_the_hosts_own_computer_a_removal_keeps_out_only_that_person(
    room: net.Server, host: Member, enter: Enter
) -> None:
    first = enter(room, "First")
    room.remove(first.who, True)
    assert refusal(room, first.token)["code"] == "removed"
    enter(room, "Second")
    assert host.may_write() == "said"
    enter(room, "Host", room.token)


@pytest.mark.parametrize("comes_first", ["the break", "the removal"])
def test_nobody_waits_for_a_removed_person_to_come_back(
    room: net.Server, ann: Member, bob: Member, monkeypatch: pytest.MonkeyPatch, comes_first: str
) -> None:
    monkeypatch.setattr(net, "BACK_WITHIN", 1000.0)
    until(lambda: has_thread("reader Ann"), "the room reads what Ann says")
    if comes_first == "the break":
        ann.close()
    room.remove(ann.who, True)
    ann.close()
    until(lambda: not has_thread("reader Ann"), "nobody waits for Ann any longer")
    assert bob.receive_until("left")["reason"] == "removed"
    room.pause(True)
    assert kinds(bob.all_up_to("paused")) == ["paused"]


def test_nothing_of_a_removed_person_is_heard_after_they_are_gone(room: net.Server, ann: Member, bob: Member) -> None:
    def flood() -> None:
        with contextlib.suppress(OSError):
            for number in itertools.count():
                ann.says(str(number))

    flooding = threading.Thread(target=flood)
    flooding.start()
    while bob.receive_until("said")["text"] != "50":
        pass
    room.remove(ann.who, True)
    bob.receive_until("left")
    flooding.join(LIMIT)
    assert not flooding.is_alive()  # the room closes the connection, whether they read their last words or not
    bob.says("silence at last")
    assert bob.next()["text"] == "silence at last"


def test_a_removed_person_who_goes_on_talking_reads_nothing_more(room: net.Server, ann: Member, bob: Member) -> None:
    room.remove(ann.who, True)
    with contextlib.suppress(OSError):
        for _ in range(5):
            ann.says("still here")
    until(lambda: not has_thread("reader Ann"), "the room has read everything that it ever reads of Ann")
    bob.says("about Ann")
    bob.is_answered()
    seen = ann.receive_all()
    assert "about Ann" not in [each.get("text") for each in seen]
    assert seen[-1]["type"] == "closed"


def test_a_person_who_reads_nothing_is_removed_all_the_same(room: net.Server, ann: Member, bob: Member) -> None:
    for _ in range(700):
        bob.says("x" * 4000)
    bob.is_answered()
    room.remove(ann.who, True)
    assert bob.receive_until("left")["reason"] == "removed"
    until(lambda: not has_thread("reader Ann"), "the room is rid of Ann")


def test_an_upload_of_a_removed_person_ends_and_is_never_shared(room: net.Server, ann: Member, bob: Member) -> None:
    with ann.begins_upload() as wire:
        room.remove(ann.who, True)
        assert wire.receive_all() == []
    assert ann.may_share() == "unknown"
    room.pause(True)
    assert "shared" not in kinds(bob.all_up_to("paused"))


def test_a_download_of_a_removed_person_ends(room: net.Server, ann: Member, bob: Member) -> None:
    file = bob.shares(bytes(LARGE))
    with ann.begins_download(file) as wire:
        room.remove(ann.who, True)
        with contextlib.suppress(ConnectionError):
            assert len(wire.receive_bytes(LARGE)) < LARGE
    until(lambda: not has_thread("download Ann"), "the room has stopped sending")
    assert ann.may_save(file) == "unknown"


def test_a_removal_deletes_the_persons_files_for_good(open_room: OpenRoom, enter: Enter) -> None:
    room = open_room(max_store=2 * len(DATA))
    host, ann = enter(room, "Host", room.token), enter(room, "Ann", at=HERE)
    file = ann.shares()
    room.remove(ann.who, True)
    assert host.may_save(file) == "unknown"
    host.shares(2 * DATA)  # it needs all of the store
    room.remove(ann.who, False)
    assert host.may_save(file) == "unknown"


def test_files_of_the_others_go_on_when_somebody_is_removed(
    room: net.Server, ann: Member, bob: Member, host: Member
) -> None:
    file = host.shares(bytes(LARGE))
    with bob.begins_download(file) as download, bob.begins_upload() as upload:
        room.remove(ann.who, True)
        assert len(download.receive_bytes(LARGE)) == LARGE
        upload.sends_the_rest(DATA)
        assert kinds(upload.receive_all()) == ["stored"]


# Delete --------------------------------------------------------------------------------------------------------------


def test_a_deleted_message_is_gone_for_latecomers_and_everyone_is_told(
    room: net.Server, ann: Member, bob: Member, enter: Enter
) -> None:
    ann.says("something silly")
    number = bob.receive_until("said")["number"]
    room.delete(number)
    for member in (ann, bob):
        assert member.receive_until("taken_back")["which"] == number
    late = enter(room, "Late").catches_up()
    assert numbers(late) == list(range(1, 7))
    assert (late[number - 1]["text"], late[number - 1]["taken_back"]) == ("", True)


def test_a_deleted_file_cannot_be_saved_by_anybody(room: net.Server, ann: Member, bob: Member, enter: Enter) -> None:
    other, file = ann.shares(DATA[:HALF]), ann.shares()
    number = bob.all_up_to("shared", file=file)[-1]["number"]
    room.delete(number)
    assert bob.next()["which"] == number
    for member in (ann, bob, enter(room, "Late")):
        assert member.may_save(file) == "unknown"
    assert bob.fetches(other) == DATA[:HALF]


def test_a_deleted_file_makes_room_for_another(open_room: OpenRoom, enter: Enter) -> None:
    room = open_room(max_store=2 * len(DATA))
    host = enter(room, "Host", room.token)
    host.shares(2 * DATA)
    assert host.may_share() == "space"
    room.delete(host.receive_until("shared")["number"])
    host.shares(2 * DATA)


def test_a_deleted_file_ends_its_downloads_and_no_others(
    room: net.Server, ann: Member, bob: Member, stack: contextlib.ExitStack
) -> None:
    file, other = ann.shares(bytes(LARGE)), ann.shares(bytes(LARGE))
    wires = [stack.enter_context(member.begins_download(file)) for member in (ann, bob)]
    going_on = stack.enter_context(bob.begins_download(other))
    room.delete(bob.receive_until("shared")["number"])
    for wire in wires:
        with contextlib.suppress(ConnectionError):
            assert len(wire.receive_bytes(LARGE)) < LARGE
    assert len(going_on.receive_bytes(LARGE)) == LARGE


def test_a_deleted_file_does_not_come_again_from_somebody_who_did_not_hear_that_it_was_stored(
    room: net.Server, ann: Member, bob: Member
) -> None:
    file = ann.shares()
    room.delete(bob.receive_until("shared")["number"])
    ann.shares(file=file)  # as her program does automatically; it is told that the file is stored
    for member in (ann, bob):
        assert member.may_save(file) == "unknown"
    room.pause(True)
    assert kinds(bob.all_up_to("paused")) == ["taken_back", "paused"]


# Nobody else ---------------------------------------------------------------------------------------------------------

WOULD_BE_CONTROLS: list[Message] = [
    message("mute", who=2, on=True),
    message("muted", on=False),
    message("remove", who=2, on=True),
    message("pause", on=True),
    message("paused", number=9, time=1.5, on=False),
    message("delete", number=1),
    message("taken_back", number=9, time=1.5, which=1),
    message("controls", muted=[], removed=[]),
]


@pytest.mark.parametrize("line", WOULD_BE_CONTROLS, ids=lambda line: str(line["type"]))
@pytest.mark.parametrize("who", ["host", "Ann"])
def test_controls_are_never_on_the_wire_not_even_the_hosts(
    room: net.Server, host: Member, ann: Member, bob: Member, enter: Enter, line: Message, who: str
) -> None:
    member = host if who == "host" else ann
    assert member.may_write() == "said"
    member.send(line)
    last = member.receive_all()[-1]
    assert (last["type"], last["code"]) == ("refused", "bad")
    assert bob.may_write() == "said"
    late = enter(room, "Late")
    assert not {"paused", "taken_back"} & set(kinds(late.catches_up()))
    assert (late.welcome["paused"], late.welcome["muted"]) == (False, False)
    with Call(room, ELSEWHERE) as call:
        call.hello()
        call.send(line)
        assert call.receive_all()[-1]["code"] == "bad"


def test_a_say_cannot_be_marked_as_something_else(ann: Member, bob: Member) -> None:
    ann.send(message("say", id=1, text="x", taken_back=True, number=99, which=1))
    said = bob.receive_until("said")
    assert (said["number"], said["text"]) == (4, "x")
    assert not {"taken_back", "which"} & set(said)


def test_the_hosts_token_from_another_computer_is_worth_nothing(room: net.Server, host: Member) -> None:
    room.pause(True)
    assert refusal(room, room.token, at=HERE)["code"] == "unknown"
    host.at = HERE
    assert host.may_share() == "unknown"


def test_a_program_that_ignores_that_it_is_muted_gets_nowhere(room: net.Server, ann: Member, bob: Member) -> None:
    room.mute(ann.who, True)
    for number in (5, 5, 4, 6, 1000, 7, net.MAX_SAY_ID):
        ann.say(number, "!")
    assert [ann.receive_until("rejected")["id"] for _ in range(4)] == [5, 6, 1000, net.MAX_SAY_ID]
    room.pause(True)
    assert "said" not in kinds(bob.all_up_to("paused"))


def test_controls_of_a_closed_room_harm_nobody(room: net.Server, host: Member, ann: Member) -> None:
    host.says("hello")
    number = host.is_answered()["number"]
    room.close()
    room.mute(ann.who, True)
    room.remove(ann.who, True)
    room.pause(True)
    room.delete(number)
    assert ann.receive_all()[-1]["type"] == "closed"


# The program's own client --------------------------------------------------------------------------------------------


def test_a_window_learns_of_everything(room: net.Server, host: Member, come: Come) -> None:
    ann = come("Ann", room.port)
    who = ann.comes_in().who
    room.mute(who, True)
    assert ann.expects(net.Muted).on
    room.pause(True)
    assert ann.expects(net.Paused).on
    room.mute(who, False)
    assert not ann.expects(net.Muted).on
    room.pause(False)
    assert not ann.expects(net.Paused).on
    host.says("oh")
    number = ann.hears("oh").number
    room.delete(number)
    taken_back = ann.expects(net.TakenBack)
    assert (taken_back.number, taken_back.which) == (number + 1, number)
    ann.says("still in step")
    assert ann.hears("still in step").number == number + 2


@pytest.mark.usefixtures("host")
def test_lines_that_wait_for_an_answer_are_rejected_by_a_paused_room_and_not_said_later(
    room: net.Server, come: Come, enter: Enter
) -> None:
    with Proxy(room.port) as proxy:
        ann = come("Ann", proxy.port)
        ann.comes_in()
        proxy.silence()
        room.pause(True)
        ids = [ann.says(str(number)) for number in range(20)]
        proxy.speak()
        rejected = [ann.expects(net.Rejected) for _ in ids]
        assert [(event.id, event.code) for event in rejected] == [(number, "paused") for number in ids]
        room.pause(False)
        ann.says("now")
        ann.hears("now")
        late = enter(room, "Late").catches_up()
        assert [event["text"] for event in late if event["type"] == "said"] == ["now"]


@pytest.mark.usefixtures("host")
def test_lines_said_during_a_break_go_to_a_paused_room_and_are_rejected_there(room: net.Server, come: Come) -> None:
    with Proxy(room.port) as proxy:
        ann = come("Ann", proxy.port)
        ann.comes_in()
        proxy.refuse()
        proxy.cut()
        ann.expects(net.Lost)
        room.pause(True)
        ids = [ann.says(str(number)) for number in range(5)]
        proxy.refuse(False)
        assert ann.expects(net.Welcome).paused
        rejected = [ann.expects(net.Rejected) for _ in ids]
        assert [(event.id, event.code) for event in rejected] == [(number, "paused") for number in ids]


@pytest.mark.usefixtures("host")
def test_a_line_of_ones_own_that_was_deleted_during_a_break_is_not_sent_again(
    room: net.Server, come: Come, enter: Enter
) -> None:
    with Proxy(room.port) as proxy:
        ann = come("Ann", proxy.port)
        ann.comes_in()
        proxy.silence()
        number = ann.says("something silly")
        # The room gets the line by another way, as if it had come through and only the answer had been lost.
        double = enter(room, "Ann", ann.client.token)
        double.say(number, "something silly")
        said = double.receive_until("said")
        room.delete(said["number"])
        proxy.speak(drop=True)
        again = ann.expects(net.Said)
        assert (again.id, again.text, again.taken_back) == (number, "", True)
        assert ann.expects(net.TakenBack).which == said["number"]
        ann.says("something else")
        ann.hears("something else")
        late = enter(room, "Late").catches_up()
        assert [event["text"] for event in late if event["type"] == "said"] == ["", "something else"]


@pytest.mark.usefixtures("host")
def test_a_window_that_is_removed_reads_why_and_does_not_come_back_automatically(
    room: net.Server, come: Come
) -> None:
    ann = come("Ann", room.port)
    who = ann.comes_in().who
    room.remove(who, True)
    assert "removed" in ann.expects(net.Closed).reason
    assert ann.client.join(LIMIT)
    again = come("Ann", room.port, token=ann.client.token)
    refused = again.expects(net.Refused)
    assert refused.code == "removed"
    assert "removed" in refused.reason
    assert again.client.join(LIMIT)
    room.remove(who, False)
    assert come("Ann", room.port, token=ann.client.token).expects(net.Welcome).who == who


@pytest.mark.usefixtures("host")
def test_a_window_that_is_removed_during_a_break_is_told_when_it_comes_back(room: net.Server, come: Come) -> None:
    with Proxy(room.port) as proxy:
        ann = come("Ann", proxy.port)
        who = ann.comes_in().who
        proxy.refuse()
        proxy.cut()
        ann.expects(net.Lost)
        waiting = ann.says("waiting")
        room.remove(who, True)
        proxy.refuse(False)
        rejected = ann.expects(net.Rejected)
        assert (rejected.id, rejected.code) == (waiting, "unsent")
        assert ann.expects(net.Refused).code == "removed"


def test_three_windows_that_save_a_file_which_is_deleted_are_left_with_nothing(
    room: net.Server, host: Member, come: Come, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "PROGRESS_EVERY", 0.0)
    target = tmp_path / "target"
    target.mkdir()
    with contextlib.ExitStack() as stack:
        people = []
        host.shares(bytes(2 * LARGE))
        for name in ("Ann", "Bob", "Carol"):
            proxy = stack.enter_context(Proxy(room.port))
            person = come(name, proxy.port)
            shared = person.expects(net.Shared)
            proxy.delay(0.1)  # 16 MiB take seconds, at so many KiB (HELD_AT_MOST) in this time
            person.client.save(shared, str(target / name))
            person.expects(net.Progress, lambda progress: progress.done > 0)
            proxy.silence()
            people.append((person, shared, proxy))
        room.delete(people[0][1].number)
        for _, _, proxy in people:
            proxy.delay()
            proxy.speak()
        for person, _, _ in people:
            assert person.fails().code == "unknown"
        assert list(target.iterdir()) == []


@pytest.mark.usefixtures("host")
def test_the_files_on_their_way_to_and_from_a_window_that_is_removed_fail_and_leave_nothing(
    room: net.Server, host: Member, come: Come, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "PROGRESS_EVERY", 0.0)
    data = tmp_path / "map.png"
    data.write_bytes(bytes(2 * LARGE))
    target = tmp_path / "target"
    target.mkdir()
    host.shares(bytes(2 * LARGE))
    with Proxy(room.port) as proxy:
        ann = come("Ann", proxy.port)
        welcome = ann.expects(net.Welcome)
        shared = ann.expects(net.Shared)
        proxy.delay(0.1)  # 16 MiB take seconds, at so many KiB (HELD_AT_MOST) in this time
        ann.client.save(shared, str(target / "copy"))
        ann.client.share(str(data))
        moving: set[bool] = set()
        while len(moving) < 2:
            moving.add(ann.expects(net.Progress, lambda progress: progress.done > 0).is_upload)
        proxy.silence()
        room.remove(welcome.who, True)
        proxy.delay()
        proxy.speak()
        assert {ann.fails().filename, ann.fails().filename} == {"map.png", "copy"}
        ann.expects(net.Closed)
    assert list(target.iterdir()) == []
    room.pause(True)
    assert kinds(host.all_up_to("paused")).count("shared") == 1


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(("control", "code"), [("mute", "muted"), ("pause", "paused")])
def test_a_window_that_shares_a_file_while_it_may_not_is_told_why(
    room: net.Server, come: Come, tmp_path: Path, control: str, code: str
) -> None:
    data = tmp_path / "map.png"
    data.write_bytes(DATA)
    ann = come("Ann", room.port)
    silence(room, ann.comes_in().who, control)
    ann.client.share(str(data))
    failed = ann.fails()
    assert failed.code == code
    assert failed.reason


# Everything at once --------------------------------------------------------------------------------------------------


def test_controls_from_many_threads_keep_the_order_of_everything(
    room: net.Server, host: Member, enter: Enter, told: net.Events
) -> None:
    talkers = [enter(room, f"Talker {'abcd'[number]}", at=f"198.51.100.{number}") for number in range(4)]
    victim = enter(room, "Victim", at=THERE)
    lines = 150
    turns = threading.Semaphore(0)  # each line that is said gives one of the host's hands a turn

    def toggle(control: Callable[[bool], None]) -> None:
        for number in range(60):
            turns.acquire(timeout=LIMIT)
            control(number % 2 == 0)

    def delete() -> None:
        for number in range(1, 200):
            turns.acquire(timeout=LIMIT)
            with contextlib.suppress(ValueError):
                room.delete(number)

    def talk(talker: Member) -> None:
        for number in range(lines):
            talker.says(f"{talker.who} {number}")
            turns.release()

    jobs: list[Callable[[], None]] = [
        lambda: toggle(room.pause),
        lambda: toggle(room.pause),
        lambda: toggle(lambda on: room.mute(talkers[0].who, on)),
        lambda: toggle(lambda on: room.mute(talkers[1].who, on)),
        lambda: toggle(lambda on: room.remove(victim.who, on)),
        delete,
        delete,
    ]
    jobs += [lambda talker=talker: talk(talker) for talker in [host, *talkers]]  # type: ignore[misc]
    running = [threading.Thread(target=job) for job in jobs]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(LIMIT)
    room.mute(talkers[0].who, False)
    room.remove(victim.who, False)
    room.pause(False)
    late = enter(room, "Late", at=ELSEWHERE)
    assert not late.welcome["paused"]
    history = late.catches_up()
    assert numbers(history) == list(range(1, len(history) + 1))
    check_history(history)
    for talker in talkers:
        talker.says("the end")
        seen = talker.all_up_to("said", id=lines + 1, who=talker.who)
        assert numbers(seen) == list(range(seen[0]["number"], seen[0]["number"] + len(numbers(seen))))
        own = [each for each in seen if each["type"] == "rejected" or each.get("who") == talker.who]
        answers = [each["id"] for each in own if each["type"] in ("said", "rejected")]
        assert answers == list(range(1, lines + 2))  # each one, once, in order
    assert controls(told)[-1] == ((), ())


def check_history(history: list[Message]) -> None:
    """Only the host is heard in a pause; pauses begin and end in turn; nothing is deleted twice."""
    paused = False
    deleted = []
    for event in history:
        if event["type"] == "paused":
            assert event["on"] is not paused
            paused = event["on"]
        elif event["type"] == "said":
            assert not paused or event["who"] == net.HOST
        elif event["type"] == "taken_back":
            deleted.append(event["which"])
    assert len(deleted) == len(set(deleted))
    texts = {event["number"]: event["text"] for event in history if event["type"] == "said"}
    assert all(texts[number] == "" for number in deleted)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.usefixtures("host")
def test_in_a_storm_of_breaks_and_controls_each_line_has_one_end_and_is_heard_once_or_not_at_all(
    room: net.Server, come: Come, enter: Enter, seed: int
) -> None:
    chance = random.Random(seed)
    sent_ids: set[int] = set()
    ends: dict[int, list[Any]] = {}

    def see_one_event(ann: Person, who: int) -> None:
        event = ann.events.get(timeout=LIMIT)
        if isinstance(event, net.Sending):
            sent_ids.add(event.id)
        elif isinstance(event, (net.Rejected, net.Settled)) or (isinstance(event, net.Said) and event.who == who):
            ends.setdefault(event.id, []).append(event)

    with Proxy(room.port) as proxy:
        ann = come("Ann", proxy.port)
        who = ann.comes_in().who
        proxy.storm(seed, 3000)
        for number in range(120):
            ann.client.say(str(number))
            if chance.random() < 0.3:
                room.pause(chance.random() < 0.4)
            if chance.random() < 0.3:
                room.mute(who, chance.random() < 0.4)
            if chance.random() < 0.1:
                with contextlib.suppress(ValueError):
                    room.delete(chance.randrange(1, 40))
            waiting = chance.randrange(1, 20)  # lines that may wait for an answer before she says the next one
            while number + 1 - len(ends) > waiting:
                see_one_event(ann, who)
        proxy.calm()
        room.pause(False)
        room.mute(who, False)
        while len(ends) < 120:
            see_one_event(ann, who)
        assert set(ends) == sent_ids
        assert all(len(end) == 1 for end in ends.values())
        history = enter(room, "Late").catches_up()
        heard = [event["id"] for event in history if event["type"] == "said"]
        assert heard == sorted(number for number, (end,) in ends.items() if isinstance(end, net.Said))
        check_history(history)
