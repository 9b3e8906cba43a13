"""The host's controls: what they do, for how long, and that no program of a pupil's own gets around them."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import random
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

import net
from tests.conftest import OpenRoom
from tests.helpers import LIMIT, LOOPBACK, Message, Proxy, Wire, drain, expect, port_of, until
from tests.test_client import FakeRoom, said
from tests.test_files import DATA, HALF, kept, ready, sent, threads

T = TypeVar("T")
HERE, THERE, ELSEWHERE = "10.0.0.1", "10.0.0.2", "10.0.0.3"  # computers of the classroom
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

    def says(self, text: str) -> int:
        """The id that it got."""
        self.last_id += 1
        self.send({"type": "say", "id": self.last_id, "text": text})
        return self.last_id

    def hears(self, text: str) -> Message:
        while (message := self.receive_until("said"))["text"] != text:
            pass
        return message

    def is_answered(self) -> Message:
        """`said` or `rejected`, of the newest line."""
        while True:
            message = self.next()
            if message.get("id") == self.last_id and message.get("who", self.who) == self.who:
                return message

    def is_silenced(self, code: str) -> bool:
        self.says("may I?")
        answer = self.is_answered()
        assert answer["type"] == "said" or (answer["code"] == code and answer["reason"]), answer
        return bool(answer["type"] == "rejected")

    def next(self) -> Message:
        message = self.receive()
        assert message is not None, "the connection ended"
        return message

    def catches_up(self) -> list[Message]:
        """The events that the welcome announced."""
        return [self.next() for _ in range(self.welcome["history"])]

    def all_up_to(self, kind: str, **fields: object) -> list[Message]:
        """What comes, up to and with the first of this kind."""
        seen = [self.next()]
        while seen[-1]["type"] != kind or any(seen[-1][name] != value for name, value in fields.items()):
            seen.append(self.next())
        return seen

    def leaves(self) -> None:
        self.send({"type": "leave"})
        self.receive_all()

    def is_lost(self) -> None:
        """The connection breaks, and the room has noticed."""
        self.close()
        with self.room._room_lock:
            person = self.room._people[self.token]
        until(lambda: person.connection is None, "the room notices that the connection is lost")

    # Files.

    def begins(self, message: Message) -> Call:
        """A connection for a file, which begins with this message."""
        wire = Call(self.room, self.at)
        try:
            assert wire.hello()["type"] == "hello"
            wire.send(message)
        except BaseException:
            wire.close()
            raise
        return wire

    def upload(self, size: int, file: str | None = None) -> Message:
        file = file or secrets.token_hex(16)
        return {"type": "upload", "token": self.token, "file": file, "filename": "map.png", "size": size}

    def download(self, file: str, offset: int = 0) -> Message:
        return {"type": "download", "token": self.token, "file": file, "offset": offset}

    def shares(self, data: bytes = DATA) -> str:
        """The whole of it; the file's id."""
        message = self.upload(len(data))
        with self.begins(message) as wire:
            assert wire.receive() == ready(0)
            wire.send_bytes(data)
            wire.send(sent(data))
            assert wire.receive_all() == [{"type": "stored"}]
        return str(message["file"])

    def is_refused(self, message: Message) -> str:
        """The code. Nothing comes before it, and the end after it."""
        with self.begins(message) as wire:
            (refused,) = wire.receive_all()
        assert refused["type"] == "refused", refused
        assert refused["reason"]
        return str(refused["code"])

    def fetches(self, file: str) -> bytes:
        with self.begins(self.download(file)) as wire:
            sending = wire.receive()
            assert sending is not None
            assert sending["type"] == "sending", sending
            return wire.receive_bytes(sending["size"] + 1)


class Person:
    """Somebody with the program: a client, and the events that its window would show."""

    def __init__(self, name: str, port: int, *, token: str | None = None) -> None:
        self.events: net.Events = queue.Queue()
        self.client = net.run_client(LOOPBACK, name, self.events, port=port, token=token)

    def expects(self, kind: type[T], where: Callable[[T], object] = lambda _event: True) -> T:
        return expect(self.events, kind, where)

    def comes_in(self) -> net.Welcome:
        """The welcome, once all that it announced is here, too."""
        welcome = self.expects(net.Welcome)
        if welcome.history:
            self.expects(net.Joined, lambda joined: joined.who == welcome.who)
        return welcome

    def says(self, text: str) -> int:
        self.client.say(text)
        return self.expects(net.Sending, lambda sending: sending.text == text).id

    def hears(self, text: str) -> net.Said:
        return self.expects(net.Said, lambda said: said.text == text)

    def failed(self) -> net.Failed:
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
    begin = net.Connection.__init__

    def begin_elsewhere(self: net.Connection, sock: socket.socket, *limits: int) -> None:
        begin(self, sock, *limits)
        self.address = _pretended.get(sock.getpeername()[1], self.address)

    monkeypatch.setattr(net.Connection, "__init__", begin_elsewhere)
    yield
    _pretended.clear()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has the time to wait between two tries."""
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
def ann(room: net.Server, enter: Enter, host: Member) -> Member:  # noqa: ARG001 - who is there first
    return enter(room, "Ann", at=HERE)


@pytest.fixture
def bob(room: net.Server, enter: Enter, ann: Member) -> Member:  # noqa: ARG001 - who is there before
    return enter(room, "Bob", at=THERE)


def refusal(room: net.Server, token: str | None = None, *, name: str = "Ann", at: str = LOOPBACK) -> Message:
    """What the room says instead of a welcome."""
    with Call(room, at) as call:
        call.hello()
        call.send({"type": "join", "name": name, "token": token or call.token, "room": None, "after": 0})
        (refused,) = call.receive_all()
    assert refused["type"] == "refused", refused
    assert refused["reason"]
    return refused


def controls(told: net.Events) -> list[tuple[tuple[int, ...], tuple[tuple[int, str], ...]]]:
    """What the host has been told up to now, as (muted, removed)."""
    return [(event.muted, event.removed) for event in drain(told) if isinstance(event, net.Controls)]


def has_reader(name: str) -> bool:
    """Whether the room has a thread for this person."""
    return any(thread.name == f"reader {name}" for thread in threading.enumerate())


def numbers(messages: list[Message]) -> list[int]:
    return [message["number"] for message in messages if "number" in message]


def kinds(messages: list[Message]) -> list[str]:
    return [message["type"] for message in messages]


# Mute ----------------------------------------------------------------------------------------------------------------


def test_who_is_muted_is_told_alone_reads_on_and_is_not_heard(room: net.Server, ann: Member, bob: Member) -> None:
    room.mute(ann.who, True)
    assert ann.receive_until("muted") == {"type": "muted", "on": True}
    ann.says("let me in")
    rejected = ann.next()
    assert rejected.pop("reason")
    assert rejected == {"type": "rejected", "id": 1, "code": "muted"}
    bob.says("poor Ann")
    seen = bob.all_up_to("said")
    assert kinds(seen) == ["joined", "joined", "joined", "said"]  # neither `muted` nor Ann's line
    assert seen[-1]["text"] == "poor Ann"
    assert ann.next()["text"] == "poor Ann"


def test_who_is_not_muted_any_more_is_told_and_heard(room: net.Server, ann: Member, bob: Member) -> None:
    room.mute(ann.who, True)
    assert ann.is_silenced("muted")
    room.mute(ann.who, False)
    assert ann.next() == {"type": "muted", "on": False}
    ann.says("thank you")
    assert bob.receive_until("said")["text"] == "thank you"


def test_muting_twice_is_muting_once(room: net.Server, ann: Member, told: net.Events) -> None:
    for on in (True, True, False, False, True):
        room.mute(ann.who, on)
    assert [ann.receive_until("muted")["on"], ann.next()["on"], ann.next()["on"]] == [True, False, True]
    assert controls(told) == [((ann.who,), ()), ((), ()), ((ann.who,), ())]


def test_each_line_is_answered_in_order_whatever_happens_between(room: net.Server, ann: Member) -> None:
    changes: list[Callable[[], None]] = [
        lambda: None,
        lambda: room.mute(ann.who, True),
        lambda: room.pause(True),
        lambda: room.mute(ann.who, False),
        lambda: room.pause(False),
    ]
    answers = []
    for change in changes:
        change()
        for text in ("a", "", "b" * 4001):
            ann.says(text)
            answers.append(ann.is_answered())
    assert [answer["id"] for answer in answers] == list(range(1, 16))
    codes = [answer.get("code", answer["type"]) for answer in answers]
    assert codes == ["said", "empty", "long", *["muted"] * 3, *["paused"] * 6, "said", "empty", "long"]


def test_what_is_rejected_counts_as_answered(room: net.Server, ann: Member, enter: Enter) -> None:
    room.mute(ann.who, True)
    for _ in range(3):
        assert ann.is_silenced("muted")
    ann.is_lost()
    room.mute(ann.who, False)
    again = enter(room, "Ann", ann.token, at=HERE)
    assert (again.welcome["last_id"], again.welcome["muted"]) == (3, False)
    again.send({"type": "say", "id": 3, "text": "once more"})
    again.send({"type": "say", "id": 4, "text": "something new"})
    assert again.receive_until("said")["text"] == "something new"


def pause_and_go_on(room: net.Server, ann: Member, _enter: Enter) -> Member:
    room.pause(True)
    room.pause(False)
    return ann


def leave_and_come_back(room: net.Server, ann: Member, enter: Enter) -> Member:
    ann.leaves()
    return enter(room, "Ann", ann.token, at=ann.at)


def break_and_come_back(room: net.Server, ann: Member, enter: Enter) -> Member:
    ann.is_lost()
    return enter(room, "Ann", ann.token, at=ann.at)


def open_a_second_window(room: net.Server, ann: Member, enter: Enter) -> Member:
    return enter(room, "Ann", ann.token, at=ann.at)


def take_another_name(room: net.Server, ann: Member, enter: Enter) -> Member:
    ann.leaves()
    return enter(room, "Nobody", ann.token, at=ann.at)


def start_the_program_again(room: net.Server, ann: Member, enter: Enter) -> Member:
    ann.leaves()
    return enter(room, "Nobody", at=ann.at)


def start_a_second_program(room: net.Server, ann: Member, enter: Enter) -> Member:
    return enter(room, "Nobody", at=ann.at)


def go_to_another_computer(room: net.Server, ann: Member, enter: Enter) -> Member:
    ann.is_lost()
    return enter(room, "Ann", ann.token, at=ELSEWHERE)


def start_the_program_again_over_there(room: net.Server, ann: Member, enter: Enter) -> Member:
    go_to_another_computer(room, ann, enter).leaves()
    return enter(room, "Nobody", at=ELSEWHERE)


def go_back_to_the_first_computer(room: net.Server, ann: Member, enter: Enter) -> Member:
    go_to_another_computer(room, ann, enter).leaves()
    return enter(room, "Nobody", at=HERE)


def go_there_by_a_third_program(room: net.Server, ann: Member, enter: Enter) -> Member:
    other = start_the_program_again(room, ann, enter)
    other.leaves()
    return enter(room, "Nobody", other.token, at=ELSEWHERE)


WAYS_ROUND = [
    pause_and_go_on,
    leave_and_come_back,
    break_and_come_back,
    open_a_second_window,
    take_another_name,
    start_the_program_again,
    start_a_second_program,
    go_to_another_computer,
    start_the_program_again_over_there,
    go_back_to_the_first_computer,
    go_there_by_a_third_program,
]


@pytest.mark.parametrize("way", WAYS_ROUND)
def test_who_is_muted_stays_muted_whatever_they_do_and_can_be_unmuted_then(
    room: net.Server, ann: Member, bob: Member, enter: Enter, way: Callable[..., Member]
) -> None:
    room.mute(ann.who, True)
    again = way(room, ann, enter)
    assert again is ann or again.welcome["muted"]
    assert again.is_silenced("muted")
    assert not bob.is_silenced("muted")
    assert again.is_refused(again.upload(1)) == "muted"
    room.mute(again.who, False)
    assert not again.is_silenced("muted")
    assert not start_the_program_again(room, again, enter).welcome["muted"]


def test_who_is_muted_while_away_is_told_on_coming_back(
    room: net.Server, ann: Member, bob: Member, enter: Enter
) -> None:
    ann.is_lost()
    bob.leaves()
    for member in (ann, bob):
        room.mute(member.who, True)
        again = enter(room, "Ann", member.token, at=member.at)
        assert again.welcome["muted"]
        assert "muted" not in kinds(again.catches_up())  # the welcome has said it
        assert again.is_silenced("muted")


def test_a_window_that_is_replaced_is_told_nothing_but_that(room: net.Server, ann: Member, bob: Member) -> None:
    room.mute(ann.who, True)
    bob.says("here")
    bob.is_answered()
    with Member(room, "Bob", bob.token, at=HERE):  # where Ann is
        assert kinds(bob.receive_all()) == ["closed"]


def test_muting_once_more_forgets_nothing_of_what_the_room_knows(room: net.Server, ann: Member, enter: Enter) -> None:
    room.mute(ann.who, True)
    again = go_to_another_computer(room, ann, enter)
    room.mute(again.who, True)
    assert enter(room, "Nobody", at=HERE).is_silenced("muted")


def test_who_is_unmuted_while_away_is_told_on_coming_back(room: net.Server, ann: Member, enter: Enter) -> None:
    room.mute(ann.who, True)
    ann.is_lost()
    room.mute(ann.who, False)
    again = enter(room, "Ann", ann.token, at=HERE)
    assert not again.welcome["muted"]
    assert not again.is_silenced("muted")


def test_on_the_host_s_own_computer_the_address_is_everybody_s_and_does_not_count(
    room: net.Server, host: Member, enter: Enter
) -> None:
    first, second = enter(room, "First"), enter(room, "Second")
    room.mute(first.who, True)
    assert first.is_silenced("muted")
    assert not second.is_silenced("muted")
    assert not host.is_silenced("muted")
    third = enter(room, "Third", at="127.0.0.9")
    assert not third.welcome["muted"]
    room.mute(third.who, True)
    assert not enter(room, "Fourth", at="127.0.0.9").welcome["muted"]
    first.leaves()
    assert enter(room, "First", first.token).welcome["muted"]


def test_who_takes_the_mute_to_the_host_s_own_computer_takes_it_there_alone(
    room: net.Server, host: Member, ann: Member, enter: Enter
) -> None:
    room.mute(ann.who, True)
    ann.is_lost()
    assert enter(room, "Ann", ann.token, at=LOOPBACK).is_silenced("muted")
    assert not enter(room, "Other", at="127.0.0.9").welcome["muted"]
    assert not enter(room, "Other").welcome["muted"]
    assert not host.is_silenced("muted")


def test_two_people_at_one_address_are_muted_and_unmuted_together_and_both_are_told(
    room: net.Server, ann: Member, bob: Member, enter: Enter, told: net.Events
) -> None:
    other = enter(room, "Other", at=HERE)
    room.mute(ann.who, True)
    for member in (ann, other):
        assert member.receive_until("muted")["on"] is True
        assert member.is_silenced("muted")
    assert not bob.is_silenced("muted")
    room.mute(other.who, False)
    for member in (ann, other):
        assert member.receive_until("muted")["on"] is False
        assert not member.is_silenced("muted")
    assert controls(told) == [((ann.who, other.who), ()), ((), ())]


def test_who_is_muted_because_somebody_muted_comes_to_their_address_is_told(
    room: net.Server, ann: Member, bob: Member, enter: Enter, told: net.Events
) -> None:
    room.mute(ann.who, True)
    ann.is_lost()
    again = enter(room, "Ann", ann.token, at=THERE)  # where Bob is
    assert bob.receive_until("muted")["on"] is True
    assert bob.is_silenced("muted")
    assert controls(told)[-1] == ((ann.who, bob.who), ())
    room.mute(bob.who, False)
    assert bob.next() == again.receive_until("muted") == {"type": "muted", "on": False}  # Ann knew from her welcome
    assert not again.is_silenced("muted")


def test_who_is_muted_saves_files_but_shares_none(room: net.Server, ann: Member, bob: Member) -> None:
    file = bob.shares()
    room.mute(ann.who, True)
    assert ann.fetches(file) == DATA
    assert ann.is_refused(ann.upload(len(DATA))) == "muted"
    room.mute(ann.who, False)
    ann.shares()


@pytest.mark.parametrize("control", ["mute", "pause"])
def test_an_upload_that_ends_while_its_owner_may_not_write_is_refused_and_nothing_is_kept(
    room: net.Server, ann: Member, bob: Member, disk: Path, control: str
) -> None:
    with ann.begins(ann.upload(len(DATA))) as wire:
        assert wire.receive() == ready(0)
        wire.send_bytes(DATA[:HALF])
        if control == "mute":
            room.mute(ann.who, True)
        else:
            room.pause(True)
        wire.send_bytes(DATA[HALF:])
        wire.send(sent(DATA))
        (refused,) = wire.receive_all()
    assert refused["code"] == {"mute": "muted", "pause": "paused"}[control]
    assert refused["reason"]
    assert kept(disk) == []
    room.pause(True)
    room.pause(False)
    assert "shared" not in kinds(bob.all_up_to("paused", on=False))


def test_an_upload_that_lasts_longer_than_the_pause_is_shared(room: net.Server, ann: Member, bob: Member) -> None:
    with ann.begins(ann.upload(len(DATA))) as wire:
        assert wire.receive() == ready(0)
        wire.send_bytes(DATA[:HALF])
        room.pause(True)
        room.mute(ann.who, True)
        wire.send_bytes(DATA[HALF:])
        room.mute(ann.who, False)
        room.pause(False)
        wire.send(sent(DATA))
        assert wire.receive_all() == [{"type": "stored"}]
    assert bob.receive_until("shared")["size"] == len(DATA)


@pytest.mark.parametrize("control", ["mute", "pause"])
def test_said_again_after_the_end_a_file_is_stored_although_its_owner_may_not_write_now(
    room: net.Server, ann: Member, control: str
) -> None:
    file = ann.shares()
    if control == "mute":
        room.mute(ann.who, True)
    else:
        room.pause(True)
    with ann.begins(ann.upload(len(DATA), file)) as wire:  # as if `stored` had been lost on its way
        assert wire.receive_all() == [ready(len(DATA)), {"type": "stored"}]
    assert ann.is_refused(ann.upload(len(DATA) + 1, file)) == "bad"  # it is no way to change it
    assert ann.fetches(file) == DATA


@pytest.mark.parametrize("who", [0, 1, 99, 2**53])
@pytest.mark.parametrize("on", [True, False])
def test_the_host_and_people_who_are_not_there_can_neither_be_muted_nor_removed(
    room: net.Server, host: Member, who: int, on: bool
) -> None:
    for control in (room.mute, room.remove):
        with pytest.raises(ValueError, match=f"not {who}$"):
            control(who, on)
    assert not host.is_silenced("muted")


# Remove --------------------------------------------------------------------------------------------------------------


def test_who_is_removed_reads_why_as_the_last_word_and_the_others_see_it(
    room: net.Server, ann: Member, bob: Member
) -> None:
    bob.says("before")
    ann.hears("before")
    room.remove(ann.who, True)
    (closed,) = ann.receive_all()
    assert closed.pop("reason")
    assert closed == {"type": "closed"}
    left = bob.receive_until("left")
    assert (left["who"], left["name"], left["reason"]) == (ann.who, "Ann", "removed")
    bob.says("after")
    assert bob.next()["number"] == left["number"] + 1  # it is said once


def test_who_comes_after_a_removal_does_not_see_the_removed_person_in_the_list(
    room: net.Server, ann: Member, enter: Enter
) -> None:
    room.remove(ann.who, True)
    bob = enter(room, "Bob", at=THERE)
    assert bob.welcome["people"] == [[1, "Host"], [bob.who, "Bob"]]
    assert bob.catches_up()[-2]["reason"] == "removed"


@pytest.mark.parametrize(
    ("token_is_new", "at"), [(False, HERE), (False, ELSEWHERE), (False, LOOPBACK), (True, HERE)]
)
def test_who_is_removed_stays_out_until_the_host_lets_them_in_again(
    room: net.Server, ann: Member, enter: Enter, token_is_new: bool, at: str
) -> None:
    room.remove(ann.who, True)
    token = secrets.token_hex(16) if token_is_new else ann.token
    for name in ("Ann", "Somebody Else"):
        assert refusal(room, token, name=name, at=at)["code"] == "removed"
    assert refusal(room, at=HERE)["code"] == "removed"  # yet another start of the program
    room.remove(ann.who, False)
    again = enter(room, "Ann", token, at=at)
    assert (again.who == ann.who) is not token_is_new
    assert not again.is_silenced("muted")


def test_the_tries_of_somebody_removed_tell_the_room_more_about_them(
    room: net.Server, ann: Member, bob: Member, enter: Enter
) -> None:
    room.remove(ann.who, True)
    assert refusal(room, ann.token, at=ELSEWHERE)["code"] == "removed"
    third = secrets.token_hex(16)
    assert refusal(room, third, at=ELSEWHERE)["code"] == "removed"
    assert refusal(room, third, at=LOOPBACK)["code"] == "removed"
    assert not bob.is_silenced("muted")
    room.remove(ann.who, False)
    enter(room, "Ann", third, at=ELSEWHERE)


def test_on_the_host_s_own_computer_a_removed_person_s_address_keeps_nobody_out(
    room: net.Server, host: Member, enter: Enter
) -> None:
    first = enter(room, "First")
    room.remove(first.who, True)
    assert refusal(room, first.token)["code"] == "removed"
    enter(room, "Second")
    assert not host.is_silenced("muted")
    enter(room, "Host", room.token)


def test_the_host_comes_in_from_loopback_whoever_is_removed_there(room: net.Server, host: Member, enter: Enter) -> None:
    first = enter(room, "First")
    room.remove(first.who, True)
    host.is_lost()
    assert enter(room, "Host", room.token).who == net.HOST


def test_who_is_lost_and_then_removed_is_gone_at_once_and_once(room: net.Server, ann: Member, bob: Member) -> None:
    ann.is_lost()
    room.remove(ann.who, True)
    assert bob.receive_until("left")["reason"] == "removed"
    until(lambda: not has_reader("Ann"), "nobody waits for Ann to come back")
    assert refusal(room, ann.token, at=ELSEWHERE)["code"] == "removed"
    room.pause(True)
    assert "left" not in kinds(bob.all_up_to("paused"))


def test_nobody_waits_for_somebody_removed_to_come_back(
    room: net.Server, ann: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "BACK_WITHIN", 1000.0)
    ann.is_lost()
    assert has_reader("Ann")
    room.remove(ann.who, True)
    until(lambda: not has_reader("Ann"), "nobody waits for Ann any more")


def test_who_has_left_and_is_then_removed_does_not_leave_twice(room: net.Server, ann: Member, bob: Member) -> None:
    ann.leaves()
    assert bob.receive_until("left")["reason"] == "left"
    room.remove(ann.who, True)
    room.remove(ann.who, True)
    assert refusal(room, at=HERE)["code"] == "removed"
    bob.says("next")
    assert bob.next()["text"] == "next"


def test_removing_twice_is_removing_once_and_can_be_undone_once(
    room: net.Server, ann: Member, enter: Enter, told: net.Events
) -> None:
    for on in (True, True, False, False):
        room.remove(ann.who, on)
    again = enter(room, "Ann", ann.token, at=HERE)
    assert kinds(again.catches_up()) == ["joined", "joined", "left", "joined"]
    assert controls(told) == [((), ((ann.who, "Ann"),)), ((), ())]


def test_two_people_at_one_address_are_removed_together_and_let_in_again_together(
    room: net.Server, ann: Member, bob: Member, enter: Enter
) -> None:
    other = enter(room, "Other", at=HERE)
    room.remove(ann.who, True)
    for member in (ann, other):
        assert member.receive_all()[-1]["type"] == "closed"
    assert {bob.receive_until("left")["who"], bob.receive_until("left")["who"]} == {ann.who, other.who}
    room.remove(other.who, False)
    for member in (ann, other):
        enter(room, "Again", member.token, at=HERE)


def test_who_is_let_in_again_is_not_kept_out_because_of_somebody_else(
    room: net.Server, ann: Member, bob: Member, enter: Enter
) -> None:
    for member in (ann, bob):
        room.remove(member.who, True)
    assert refusal(room, ann.token, at=THERE)["code"] == "removed"  # she tries it where Bob was
    room.remove(ann.who, False)
    enter(room, "Ann", ann.token, at=THERE)


def test_to_let_somebody_in_again_puts_nobody_out(room: net.Server, ann: Member, bob: Member, enter: Enter) -> None:
    carol = enter(room, "Carol", at=ELSEWHERE)
    room.remove(ann.who, True)
    assert refusal(room, ann.token, at=THERE)["code"] == "removed"  # she tries it where Bob is
    room.remove(carol.who, False)
    assert not bob.is_silenced("muted")


def test_nothing_of_somebody_removed_is_heard_after_they_are_gone(room: net.Server, ann: Member, bob: Member) -> None:
    def flood() -> None:
        with contextlib.suppress(OSError):
            for number in itertools.count():
                ann.says(str(number))

    flooding = threading.Thread(target=flood)
    flooding.start()
    bob.hears("50")
    room.remove(ann.who, True)
    bob.receive_until("left")
    flooding.join(LIMIT)
    assert not flooding.is_alive()  # the room closes the connection, whether they read their last words or not
    bob.says("silence at last")
    assert bob.next()["text"] == "silence at last"


def test_who_is_removed_but_goes_on_talking_reads_nothing_more(room: net.Server, ann: Member, bob: Member) -> None:
    room.remove(ann.who, True)
    for _ in range(5):
        ann.says("still here")
    until(lambda: not has_reader("Ann"), "the room has read all that it ever reads of Ann")
    bob.says("about Ann")
    assert [message["text"] for message in bob.all_up_to("said")[-1:]] == ["about Ann"]
    seen = ann.receive_all()
    assert "about Ann" not in [message.get("text") for message in seen]
    assert seen[-1]["type"] == "closed"


def test_who_reads_nothing_is_removed_all_the_same(room: net.Server, ann: Member, bob: Member) -> None:
    for _ in range(700):
        bob.says("x" * 4000)
    bob.is_answered()
    room.remove(ann.who, True)
    assert bob.receive_until("left")["reason"] == "removed"
    until(lambda: not has_reader("Ann"), "the room is rid of Ann")


def test_an_upload_of_somebody_removed_ends_and_is_never_shared(room: net.Server, ann: Member, bob: Member) -> None:
    message = ann.upload(len(DATA))
    with ann.begins(message) as wire:
        assert wire.receive() == ready(0)
        wire.send_bytes(DATA[:HALF])
        room.remove(ann.who, True)
        assert wire.receive_all() == []
    assert ann.is_refused(message) == "unknown"
    room.pause(True)
    assert "shared" not in kinds(bob.all_up_to("paused"))


def test_a_download_of_somebody_removed_ends(room: net.Server, ann: Member, bob: Member) -> None:
    file = bob.shares(bytes(LARGE))
    with ann.begins(ann.download(file)) as wire:
        assert wire.receive_until("sending")["size"] == LARGE
        room.remove(ann.who, True)
        with contextlib.suppress(ConnectionError):
            assert len(wire.receive_bytes(LARGE)) < LARGE
    until(lambda: not threads("download"), "the room has stopped sending")
    assert ann.is_refused(ann.download(file)) == "unknown"


def test_files_of_the_others_go_on_when_somebody_is_removed(room: net.Server, ann: Member, bob: Member) -> None:
    file = ann.shares(bytes(LARGE))
    with bob.begins(bob.download(file)) as download, bob.begins(bob.upload(len(DATA))) as upload:
        assert download.receive_until("sending")["size"] == LARGE
        assert upload.receive() == ready(0)
        room.remove(ann.who, True)
        assert len(download.receive_bytes(LARGE)) == LARGE  # also what Ann had shared stays
        upload.send_bytes(DATA)
        upload.send(sent(DATA))
        assert upload.receive_all() == [{"type": "stored"}]


def test_a_removal_makes_room_in_a_full_room(open_room: OpenRoom, enter: Enter) -> None:
    room = open_room(limit=1)
    ann = enter(room, "Ann", at=HERE)
    assert refusal(room, at=THERE)["code"] == "full"
    room.remove(ann.who, True)
    assert refusal(room, ann.token, at=HERE)["code"] == "removed"
    enter(room, "Bob", at=THERE)
    assert refusal(room, ann.token, at=HERE)["code"] == "removed"  # and not `full`, after which she would come again


def test_a_removed_person_s_name_is_free(room: net.Server, ann: Member, enter: Enter) -> None:
    room.remove(ann.who, True)
    assert enter(room, "Ann", at=THERE).welcome["name"] == "Ann"


def test_who_was_removed_long_ago_can_still_be_let_in_again(
    room: net.Server, ann: Member, enter: Enter, monkeypatch: pytest.MonkeyPatch, told: net.Events
) -> None:
    room.remove(ann.who, True)
    monkeypatch.setattr(net, "MAX_REMEMBERED", 3)
    for number in range(5):  # the room forgets who was there
        enter(room, f"Visitor {number}").leaves()
    assert refusal(room, ann.token, at=HERE)["code"] == "removed"
    assert controls(told)[-1] == ((), ((ann.who, "Ann"),))
    room.remove(ann.who, False)
    assert controls(told)[-1] == ((), ())
    enter(room, "Ann", ann.token, at=HERE)


def test_who_is_removed_and_muted_comes_back_muted(room: net.Server, ann: Member, enter: Enter) -> None:
    room.mute(ann.who, True)
    room.remove(ann.who, True)
    room.remove(ann.who, False)
    assert enter(room, "Ann", at=HERE).welcome["muted"]


def test_who_is_muted_after_they_were_removed_comes_back_muted(room: net.Server, ann: Member, enter: Enter) -> None:
    room.remove(ann.who, True)
    room.mute(ann.who, True)
    room.remove(ann.who, False)
    again = enter(room, "Ann", ann.token, at=HERE)
    assert again.welcome["muted"]
    assert again.is_silenced("muted")


# What the host is told -----------------------------------------------------------------------------------------------


def test_the_host_is_told_who_is_muted_and_removed_whenever_that_changes(
    room: net.Server, ann: Member, bob: Member, enter: Enter, told: net.Events
) -> None:
    assert controls(told) == []
    room.mute(ann.who, True)
    assert controls(told) == [((ann.who,), ())]
    room.mute(bob.who, True)
    assert controls(told) == [((ann.who, bob.who), ())]
    ann.leaves()
    assert controls(told) == [((bob.who,), ())]  # only who is in the list
    again = enter(room, "Ann", ann.token, at=HERE)
    assert sorted(controls(told)[-1][0]) == [ann.who, bob.who]
    room.remove(bob.who, True)
    assert controls(told)[-1] == ((ann.who,), ((bob.who, "Bob"),))
    room.remove(again.who, True)
    assert controls(told)[-1] == ((), ((ann.who, "Ann"), (bob.who, "Bob")))
    room.remove(bob.who, False)
    assert controls(told) == [((), ((ann.who, "Ann"),))]
    room.remove(ann.who, False)
    assert controls(told) == [((), ())]


def test_the_host_is_told_of_somebody_new_who_is_muted_by_their_address(
    room: net.Server, ann: Member, enter: Enter, told: net.Events
) -> None:
    room.mute(ann.who, True)
    other = enter(room, "Other", at=HERE)
    assert controls(told) == [((ann.who,), ()), ((ann.who, other.who), ())]


@pytest.mark.usefixtures("ann")
def test_people_who_come_and_go_are_no_news_about_the_controls(
    room: net.Server, enter: Enter, told: net.Events
) -> None:
    enter(room, "Carol").leaves()
    room.pause(True)
    assert controls(told) == []


def test_a_room_that_tells_nobody_has_controls_all_the_same(open_room: OpenRoom, enter: Enter) -> None:
    room = open_room()
    ann = enter(room, "Ann")
    room.mute(ann.who, True)
    assert ann.is_silenced("muted")
    room.remove(ann.who, True)
    assert refusal(room, ann.token)["code"] == "removed"


def test_controls_of_a_closed_room_harm_nobody(room: net.Server, host: Member, ann: Member) -> None:
    number = host.says("hello") and host.is_answered()["number"]
    room.close()
    room.mute(ann.who, True)
    room.remove(ann.who, True)
    room.pause(True)
    room.take_back(number)
    assert ann.receive_all()[-1]["type"] == "closed"


# Pause ---------------------------------------------------------------------------------------------------------------


def test_while_the_room_is_paused_only_the_host_is_heard_and_all_see_it(
    room: net.Server, host: Member, ann: Member, bob: Member
) -> None:
    before = time.time()
    room.pause(True)
    for member in (host, ann, bob):
        paused = member.receive_until("paused")
        assert before - 1 < paused.pop("time") < time.time() + 1
        assert paused == {"type": "paused", "number": 4, "on": True}
    ann.says("but")
    rejected = ann.next()
    assert rejected.pop("reason")
    assert rejected == {"type": "rejected", "id": 1, "code": "paused"}
    host.says("listen")
    assert bob.next()["text"] == "listen"
    room.pause(False)
    assert bob.next()["on"] is False
    ann.says("at last")
    heard = bob.next()
    assert (heard["number"], heard["id"], heard["text"]) == (7, 2, "at last")


def test_pausing_twice_is_pausing_once(room: net.Server, host: Member) -> None:
    for on in (False, True, True, False, False, True):
        room.pause(on)
    seen = host.all_up_to("paused", number=4)
    assert [message["on"] for message in seen[1:]] == [True, False, True]
    host.says("next")
    assert host.next()["number"] == 5


def test_who_comes_into_a_paused_room_is_told(room: net.Server, host: Member, enter: Enter) -> None:
    room.pause(True)
    host.receive_until("paused")
    ann = enter(room, "Ann")
    assert ann.welcome["paused"]
    assert kinds(ann.catches_up()) == ["joined", "paused", "joined"]
    assert ann.is_silenced("paused")
    room.pause(False)
    assert not enter(room, "Bob").welcome["paused"]


def test_who_is_muted_in_a_paused_room_stays_muted_when_it_goes_on(room: net.Server, ann: Member) -> None:
    room.pause(True)
    room.mute(ann.who, True)
    assert ann.is_silenced("paused")
    room.pause(False)
    assert ann.is_silenced("muted")


def test_in_a_paused_room_files_are_saved_but_shared_by_the_host_alone(
    room: net.Server, host: Member, ann: Member, bob: Member
) -> None:
    file = ann.shares()
    room.pause(True)
    assert ann.is_refused(ann.upload(len(DATA))) == "paused"
    assert bob.fetches(file) == DATA
    host.shares()
    room.pause(False)
    ann.shares()


def test_a_flood_while_the_room_is_paused_is_answered_line_by_line_and_reaches_nobody(
    room: net.Server, ann: Member, bob: Member
) -> None:
    room.pause(True)
    lines = b"".join(b'{"type":"say","id":%d,"text":"now"}\n' % number for number in range(1, 801))
    ann.send_bytes(lines)
    answers = [ann.receive_until("rejected") for _ in range(800)]
    assert [answer["id"] for answer in answers] == list(range(1, 801))
    assert {answer["code"] for answer in answers} == {"paused"}
    room.pause(False)
    ann.last_id = 800
    ann.says("thanks")
    assert [message["type"] for message in bob.all_up_to("said")][-3:] == ["paused", "paused", "said"]


def test_who_floods_a_paused_room_and_reads_nothing_is_let_go_and_holds_up_nobody(
    room: net.Server, ann: Member, bob: Member, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "MAX_OWN_LINES", 5)
    room.pause(True)
    connection = room._people[ann.token].connection
    assert connection is not None
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # so that it is soon full
    ann.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with contextlib.suppress(OSError):
        for number in itertools.count(1):
            ann.send_bytes(b'{"type":"say","id":%d,"text":"now"}\n' % number)
            if number % 1000 == 0:
                bob.send({"type": "ping"})
            with room._room_lock:
                if room._people[ann.token].connection is None:
                    break
    room.pause(False)
    assert not bob.is_silenced("paused")
    again = enter(room, "Ann", ann.token, at=HERE)
    assert not again.is_silenced("paused")


# Take back -----------------------------------------------------------------------------------------------------------


def test_a_message_that_is_taken_back_is_gone_for_all_who_come_later_and_all_are_told(
    room: net.Server, ann: Member, bob: Member, enter: Enter
) -> None:
    ann.says("something silly")
    spoken = bob.hears("something silly")
    assert "taken_back" not in spoken
    before = time.time()
    room.take_back(spoken["number"])
    for member in (ann, bob):
        taken_back = member.receive_until("taken_back")
        assert before - 1 < taken_back.pop("time") < time.time() + 1
        assert taken_back == {"type": "taken_back", "number": spoken["number"] + 1, "which": spoken["number"]}
    late = enter(room, "Late").catches_up()
    assert numbers(late) == list(range(1, 7))
    assert late[spoken["number"] - 1] == {**spoken, "text": "", "taken_back": True}
    assert kinds(late)[-2:] == ["taken_back", "joined"]
    assert "silly" not in json.dumps(late)


def test_who_comes_back_gets_what_was_taken_back_meanwhile_without_its_text(
    room: net.Server, ann: Member, bob: Member, enter: Enter
) -> None:
    seen = bob.receive_until("joined")["number"]
    bob.is_lost()
    ann.says("something silly")
    number = ann.is_answered()["number"]
    room.take_back(number)
    again = enter(room, "Bob", bob.token, at=THERE, after=seen)
    assert "silly" not in json.dumps(again.catches_up())
    later = enter(room, "Bob", bob.token, at=THERE, after=number)
    assert [event["which"] for event in later.catches_up()] == [number]


def test_who_is_behind_never_gets_what_was_taken_back_before_it_was_sent(
    room: net.Server, ann: Member, bob: Member
) -> None:
    with room._room_lock:
        connection = room._people[bob.token].connection
    assert connection is not None
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    for _ in range(800):  # more than is held for somebody who does not read
        ann.says("x" * 4000)
    ann.says("something silly")
    number = ann.is_answered()["number"]
    room.take_back(number)
    with room._room_lock:
        assert connection.place <= number
    seen = bob.all_up_to("taken_back")
    assert numbers(seen) == list(range(seen[0]["number"], number + 2))
    assert (seen[-2]["text"], seen[-2]["taken_back"], seen[-2]["id"]) == ("", True, 801)


def test_taking_back_twice_is_taking_back_once(room: net.Server, host: Member) -> None:
    host.says("oh")
    number = host.is_answered()["number"]
    for _ in range(3):
        room.take_back(number)
    host.says("next")
    assert kinds(host.all_up_to("said")) == ["taken_back", "said"]


def test_only_messages_and_files_can_be_taken_back(room: net.Server, host: Member, ann: Member) -> None:
    ann.says("oh")
    said_number = ann.is_answered()["number"]
    room.pause(True)
    ann.leaves()
    room.take_back(said_number)
    events = host.all_up_to("taken_back")
    assert kinds(events) == ["joined", "joined", "said", "paused", "left", "taken_back"]
    for number in [-1, 0, *[event["number"] for event in events if event["type"] != "said"], 7, 2**60]:
        with pytest.raises(ValueError, match=r"no event|no message"):
            room.take_back(number)
    host.says("next")
    assert host.next()["number"] == 7


def test_what_has_fallen_out_of_the_history_is_taken_back_in_the_windows(open_room: OpenRoom, enter: Enter) -> None:
    room = open_room(history=4)
    ann = enter(room, "Ann")
    ann.says("something silly")
    number = ann.is_answered()["number"]
    file = ann.shares()
    shared = ann.receive_until("shared")["number"]
    for _ in range(6):
        ann.says("x")
        ann.is_answered()
    room.take_back(number)
    assert ann.next()["which"] == number
    for _ in range(2):  # the room does not remember that it has said so
        room.take_back(shared)
        assert ann.next()["which"] == shared
    assert ann.is_refused(ann.download(file)) == "unknown"


def test_every_message_and_file_can_be_taken_back_whoever_it_is_from(
    room: net.Server, host: Member, ann: Member, bob: Member
) -> None:
    for member in (host, ann, bob):
        member.says("from me")
        member.is_answered()
    ann.shares()
    ann.leaves()
    room.mute(bob.who, True)
    room.remove(bob.who, True)
    room.pause(True)
    events = host.all_up_to("paused")
    wanted = [event["number"] for event in events if event["type"] == "shared" or event.get("text") == "from me"]
    for number in wanted:
        room.take_back(number)
    assert len(wanted) == 3  # the host has heard the first one before
    assert [host.next()["which"] for _ in wanted] == wanted


def test_a_file_that_is_taken_back_is_deleted_and_its_name_is_gone(
    room: net.Server, ann: Member, bob: Member, enter: Enter, disk: Path
) -> None:
    other = ann.shares(DATA[:HALF])
    file = ann.shares()
    while (shared := bob.receive_until("shared"))["file"] != file:
        pass
    room.take_back(shared["number"])
    assert bob.next()["which"] == shared["number"]
    assert kept(disk) == [DATA[:HALF]]
    room.mute(bob.who, True)
    for member in (ann, bob):
        assert member.is_refused(member.download(file)) == "unknown"
    late = enter(room, "Late").catches_up()[shared["number"] - 1]
    assert late == {**shared, "filename": "", "size": 0, "sha256": "", "taken_back": True}
    assert bob.fetches(other) == DATA[:HALF]


def test_a_file_that_is_taken_back_makes_room_for_another(open_room: OpenRoom, enter: Enter) -> None:
    room = open_room(max_store=len(DATA))
    ann = enter(room, "Ann")
    ann.shares()
    assert ann.is_refused(ann.upload(1)) == "space"
    room.take_back(ann.receive_until("shared")["number"])
    ann.shares()


def test_a_file_that_is_taken_back_ends_its_downloads_and_no_others(
    room: net.Server, ann: Member, bob: Member, disk: Path, stack: contextlib.ExitStack
) -> None:
    file, other = ann.shares(bytes(LARGE)), ann.shares(bytes(LARGE))
    wires = [stack.enter_context(member.begins(member.download(file))) for member in (ann, bob)]
    going_on = stack.enter_context(bob.begins(bob.download(other)))
    for wire in (*wires, going_on):
        assert wire.receive_until("sending")["size"] == LARGE
    room.take_back(bob.receive_until("shared")["number"])
    for wire in wires:
        with contextlib.suppress(ConnectionError):
            assert len(wire.receive_bytes(LARGE)) < LARGE
    assert len(going_on.receive_bytes(LARGE)) == LARGE
    assert kept(disk) == [bytes(LARGE)]


def test_a_file_that_cannot_be_deleted_while_it_is_open_goes_when_its_last_download_has_ended(
    room: net.Server, ann: Member, bob: Member, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = ann.shares(bytes(LARGE))
    unlink = os.unlink
    refused: list[str] = []

    def unlink_as_on_windows(path: str, **how: Any) -> None:
        if not refused:
            refused.append(path)
            raise PermissionError(13, "The process cannot access the file because it is being used", path)
        unlink(path, **how)

    monkeypatch.setattr(os, "unlink", unlink_as_on_windows)
    with bob.begins(bob.download(file)) as wire:
        assert wire.receive_until("sending")["size"] == LARGE
        room.take_back(bob.receive_until("shared")["number"])
        until(lambda: kept(disk) == [], "the file is deleted")
    assert refused


def test_a_file_that_is_taken_back_does_not_come_again_from_who_has_not_heard_that_it_was_stored(
    room: net.Server, ann: Member, bob: Member, disk: Path
) -> None:
    message = ann.upload(len(DATA))
    with ann.begins(message) as wire:
        assert wire.receive() == ready(0)
        wire.send_bytes(DATA)
        wire.send(sent(DATA))
        room.take_back(bob.receive_until("shared")["number"])
    assert kept(disk) == []
    with ann.begins(message) as wire:  # as its program does, by itself
        assert wire.receive_all() == [ready(len(DATA)), {"type": "stored"}]
    for member in (ann, bob):
        assert member.is_refused(member.download(message["file"])) == "unknown"
    room.pause(True)
    assert "shared" not in kinds(bob.all_up_to("paused"))


def test_a_message_of_one_s_own_that_was_taken_back_during_a_break_is_not_sent_again(
    stack: contextlib.ExitStack,
) -> None:
    with contextlib.closing(FakeRoom()) as fake:
        ann = stack.enter_context(contextlib.closing(Person("Ann", fake.port)))
        guest = fake.accepts()
        guest.lets_in()
        number = ann.says("something silly")
        guest.expects("say")
        guest.close()
        gone = {**said(1, "", who=2, id=number), "taken_back": True}
        again = fake.accepts()
        again.lets_in(gone, {"type": "taken_back", "number": 2, "time": 1.5, "which": 1}, last_id=number)
        assert ann.expects(net.Said) == net.Said(1, 1.5, 2, "Eve", number, "", taken_back=True)
        assert ann.expects(net.TakenBack) == net.TakenBack(2, 1.5, 1)
        ann.client.say("something else")
        assert again.expects("say")["text"] == "something else"
        again.send({"type": "closed", "reason": "enough"})
        ended = [ann.expects(net.Rejected), ann.expects(net.Closed)]
        assert isinstance(ended[0], net.Rejected)
        assert ended[0].id != number


def test_a_replaced_event_counts_with_its_new_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "KEPT_BYTES", 1000)
    history = net.History(100)
    for _ in range(10):
        history.append(b"x" * 100)
    history.replace(3, b"y" * 10)
    history.append(b"x" * 90)
    assert history.oldest == 1  # exactly full
    history.replace(11, b"z" * 100)
    history.append(b"")
    assert history.oldest == 2
    history.append(b"x" * 100)
    assert history.oldest == 3
    history.append(b"x" * 100)
    assert history.oldest == 4  # the third one gave its new 10, and that is enough: exactly full again
    history.append(b"x")
    assert history.oldest == 5


def test_taking_back_thousands_of_short_messages_keeps_the_history_within_its_size(
    room: net.Server, host: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "KEPT_BYTES", 20_000)
    for _ in range(100):
        host.says("x")
    first = host.receive_until("said")["number"]
    host.is_answered()
    for number in range(first, first + 100):
        room.take_back(number)
    with room._room_lock:
        lines = room._history._lines
        assert room._history._size == sum(map(len, lines.values())) <= 20_000


# Nobody else ---------------------------------------------------------------------------------------------------------

WOULD_BE_CONTROLS: list[Message] = [
    {"type": "mute", "who": 2, "on": True},
    {"type": "muted", "on": False},
    {"type": "remove", "who": 2, "on": True},
    {"type": "pause", "on": True},
    {"type": "paused", "number": 9, "time": 1.5, "on": False},
    {"type": "take_back", "number": 1},
    {"type": "taken_back", "number": 9, "time": 1.5, "which": 1},
    {"type": "controls", "muted": [], "removed": []},
]


@pytest.mark.parametrize("line", WOULD_BE_CONTROLS, ids=lambda line: str(line["type"]))
@pytest.mark.parametrize("who", ["host", "Ann"])
def test_controls_are_never_on_the_wire_not_even_the_host_s(
    room: net.Server, host: Member, ann: Member, bob: Member, enter: Enter, line: Message, who: str
) -> None:
    member = host if who == "host" else ann
    member.says("mine")
    member.is_answered()
    member.send(line)
    last = member.receive_all()[-1]
    assert (last["type"], last["code"]) == ("refused", "bad")
    assert not bob.is_silenced("paused")
    late = enter(room, "Late")
    assert not {"paused", "taken_back"} & set(kinds(late.catches_up()))
    assert (late.welcome["paused"], late.welcome["muted"]) == (False, False)
    with Call(room, ELSEWHERE) as call:
        call.hello()
        call.send(line)
        assert call.receive_all()[-1]["code"] == "bad"


def test_a_say_cannot_be_marked_as_something_else(ann: Member, bob: Member) -> None:
    ann.send({"type": "say", "id": 1, "text": "x", "taken_back": True, "number": 99, "which": 1})
    assert set(bob.receive_until("said")) == {"type", "number", "time", "who", "name", "id", "text"}


def test_the_host_s_token_from_another_computer_writes_in_no_paused_room(
    room: net.Server, host: Member, disk: Path
) -> None:
    room.pause(True)
    assert refusal(room, room.token, at=HERE)["code"] == "unknown"
    host.at = HERE
    assert host.is_refused(host.upload(1)) == "unknown"
    assert kept(disk) == []


def test_a_program_that_ignores_that_it_is_muted_gets_nowhere(room: net.Server, ann: Member, bob: Member) -> None:
    room.mute(ann.who, True)
    for number in (5, 5, 4, 6, 1000, 7):
        ann.send({"type": "say", "id": number, "text": "!"})
    ann.send({"type": "say", "id": 2**53, "text": "last"})
    assert [ann.receive_until("rejected")["id"] for _ in range(4)] == [5, 6, 1000, 2**53]
    room.pause(True)
    assert "said" not in kinds(bob.all_up_to("paused"))


# Windows without any of this -----------------------------------------------------------------------------------------


def test_an_old_program_that_knows_no_controls_follows_the_numbers(
    room: net.Server, host: Member, ann: Member, come: Come, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = ("paused", "taken_back", "muted")
    monkeypatch.setattr(net, "FROM_ROOM", {name: kind for name, kind in net.FROM_ROOM.items() if name not in new})
    old = come("Old", room.port)
    who = old.comes_in().who
    ann.says("one")
    room.take_back(old.hears("one").number)
    room.pause(True)
    room.pause(False)
    room.mute(who, True)
    own = old.says("two")
    assert old.expects(net.Rejected).id == own
    room.mute(who, False)
    old.says("three")
    old.hears("three")
    host.says("four")
    old.hears("four")
    assert net.Lost not in map(type, drain(old.events))
    with room._room_lock:
        assert old.client._last == room._history.next - 1
        assert room._people[old.client.token].visits == 1


def test_a_number_is_given_to_each_event_that_all_get_and_to_nothing_else(
    room: net.Server, host: Member, ann: Member, enter: Enter
) -> None:
    room.mute(ann.who, True)
    room.pause(True)
    assert ann.is_silenced("paused")
    room.pause(False)
    assert ann.is_silenced("muted")
    host.says("x")
    room.take_back(host.is_answered()["number"])
    assert numbers(enter(room, "Late").catches_up()) == list(range(1, 8))


# The program's own client --------------------------------------------------------------------------------------------


def test_a_window_learns_of_everything(room: net.Server, host: Member, come: Come) -> None:
    ann = come("Ann", room.port)
    who = ann.comes_in().who
    room.mute(who, True)
    assert ann.expects(net.Muted) == net.Muted(True)
    room.pause(True)
    paused = ann.expects(net.Paused)
    assert (paused.number, paused.on) == (3, True)
    room.mute(who, False)
    assert ann.expects(net.Muted) == net.Muted(False)
    room.pause(False)
    assert not ann.expects(net.Paused).on
    host.says("oh")
    number = ann.hears("oh").number
    room.take_back(number)
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
        assert [ann.expects(net.Rejected) for _ in ids] == [
            net.Rejected(number, "paused", net._PAUSED[1]) for number in ids
        ]
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
        assert [(event.id, event.code) for event in (ann.expects(net.Rejected) for _ in ids)] == [
            (number, "paused") for number in ids
        ]


@pytest.mark.usefixtures("host")
def test_a_window_that_is_removed_reads_why_and_does_not_come_back_by_itself(room: net.Server, come: Come) -> None:
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
        assert ann.expects(net.Rejected) == net.Rejected(waiting, *net._NOT_SENT)
        assert ann.expects(net.Refused).code == "removed"


def test_three_windows_that_save_a_file_which_is_taken_back_are_left_with_nothing(
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
        room.take_back(people[0][1].number)
        for _, _, proxy in people:
            proxy.delay()
            proxy.speak()
        for person, _, _ in people:
            assert person.failed().code == "unknown"
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
        assert {ann.failed().filename, ann.failed().filename} == {"map.png", "copy"}
        ann.expects(net.Closed)
    assert list(target.iterdir()) == []
    room.pause(True)
    assert kinds(host.all_up_to("paused")).count("shared") == 1


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("control", ["mute", "pause"])
def test_a_window_that_shares_a_file_while_it_may_not_is_told_why(
    room: net.Server, come: Come, tmp_path: Path, control: str
) -> None:
    data = tmp_path / "map.png"
    data.write_bytes(DATA)
    ann = come("Ann", room.port)
    who = ann.comes_in().who
    if control == "mute":
        room.mute(who, True)
    else:
        room.pause(True)
    ann.client.share(str(data))
    failed = ann.failed()
    assert failed.code == {"mute": "muted", "pause": "paused"}[control]
    assert failed.reason


# Everything at once --------------------------------------------------------------------------------------------------


def test_controls_from_many_threads_keep_the_order_of_everything(
    room: net.Server, host: Member, enter: Enter, told: net.Events
) -> None:
    talkers = [enter(room, f"Talker {number}", at=f"10.0.1.{number}") for number in range(4)]
    victim = enter(room, "Victim", at="10.0.2.1")
    lines = 150

    def toggle(control: Callable[[bool], None]) -> None:
        for number in range(60):
            control(number % 2 == 0)
            time.sleep(0.001)

    def take_back() -> None:
        for number in range(1, 200):
            with contextlib.suppress(ValueError):
                room.take_back(number)
            time.sleep(0.0003)

    def talk(talker: Member) -> None:
        for number in range(lines):
            talker.says(f"{talker.who} {number}")

    jobs: list[Callable[[], None]] = [
        lambda: toggle(room.pause),
        lambda: toggle(room.pause),
        lambda: toggle(lambda on: room.mute(talkers[0].who, on)),
        lambda: toggle(lambda on: room.mute(talkers[1].who, on)),
        lambda: toggle(lambda on: room.remove(victim.who, on)),
        take_back,
        take_back,
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
        own = [message for message in seen if message["type"] == "rejected" or message.get("who") == talker.who]
        answers = [message["id"] for message in own if message["type"] in ("said", "rejected")]
        assert answers == list(range(1, lines + 2))  # each one, once, in order
    assert controls(told)[-1] == ((), ())


def check_history(history: list[Message]) -> None:
    """Nobody but the host is heard in a pause; pauses begin and end in turn; nothing is taken back twice."""
    paused = False
    taken_back = []
    for event in history:
        if event["type"] == "paused":
            assert event["on"] is not paused
            paused = event["on"]
        elif event["type"] == "said":
            assert not paused or event["who"] == net.HOST
        elif event["type"] == "taken_back":
            taken_back.append(event["which"])
    assert len(taken_back) == len(set(taken_back))
    texts = {event["number"]: event["text"] for event in history if event["type"] == "said"}
    assert all(texts[number] == "" for number in taken_back)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.usefixtures("host")
def test_in_a_storm_of_breaks_and_controls_each_line_has_one_end_and_is_heard_once_or_not_at_all(
    room: net.Server, come: Come, enter: Enter, seed: int
) -> None:
    chance = random.Random(seed)
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
                    room.take_back(chance.randrange(1, 40))
            time.sleep(chance.random() / 500)
        proxy.calm()
        room.pause(False)
        room.mute(who, False)
        ends: dict[int, list[Any]] = {}
        sent_ids: dict[int, str] = {}
        while not ends or len(ends) < 120:
            event = ann.events.get(timeout=LIMIT)
            if isinstance(event, net.Sending):
                sent_ids[event.id] = event.text
            elif isinstance(event, (net.Rejected, net.Settled)) or (isinstance(event, net.Said) and event.who == who):
                ends.setdefault(event.id, []).append(event)
        assert sorted(ends) == sorted(sent_ids)
        assert all(len(end) == 1 for end in ends.values())
        history = enter(room, "Late").catches_up()
        heard = [event["id"] for event in history if event["type"] == "said"]
        assert heard == sorted(number for number, (end,) in ends.items() if isinstance(end, net.Said))
        check_history(history)
