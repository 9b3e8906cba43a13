"""The host's controls over real connections: what they do, and that no program of a pupil's own gets around them.

The rules themselves (whom a mute affects, what is deleted, who is told) are tested in tests/test_rules.py.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import random
import socket
import threading
from collections.abc import Callable
from unittest import mock

import pytest

import net
from tests import test_files
from tests.conftest import OpenRoom
from tests.helpers import LIMIT, Message, Proxy, Wire, drain, message, until
from tests.test_files import DATA, HALF, LARGE, finish_upload
from tests.test_torture import Person


class Pupil(test_files.Member):
    """Somebody in the room who also shares files. Files have connections of their own."""

    def begins_upload(self) -> Wire:
        """The room has taken the first half of DATA."""
        wire = self.begins(len(DATA))
        wire.send_bytes(DATA[:HALF])
        return wire

    def events_until_now(self) -> list[str]:
        """The kinds of all events that have come, up to a pause that begins now."""
        self.room.pause(True)
        return [each["type"] for each in self.all_up_to("paused", on=True)[:-1]]


def is_cut(wire: Wire) -> bool:
    """The download ends before all LARGE bytes have come."""
    with contextlib.suppress(ConnectionError):
        return len(wire.receive_bytes(LARGE)) < LARGE
    return True


Enter = Callable[..., Pupil]


@pytest.fixture
def enter(stack: contextlib.ExitStack) -> Enter:
    return lambda *who, **how: stack.enter_context(contextlib.closing(Pupil(*who, **how)))


@pytest.fixture
def told() -> net.Events:
    """What the room tells its host alone."""
    return queue.Queue()


@pytest.fixture
def room(open_room: OpenRoom, told: net.Events) -> net.Server:
    return open_room(events=told, max_store=3 * LARGE)


@pytest.fixture
def host(room: net.Server, enter: Enter) -> Pupil:
    """On the same computer as everybody else, so that no mute or removal spreads to new people there."""
    return enter(room, "Host", room.token)


@pytest.fixture
def ann(room: net.Server, enter: Enter, host: Pupil) -> Pupil:  # noqa: ARG001 - the host comes first
    return enter(room, "Ann")


@pytest.fixture
def bob(room: net.Server, enter: Enter, ann: Pupil) -> Pupil:  # noqa: ARG001 - Ann comes before Bob
    return enter(room, "Bob")


def reader_is_gone(name: str) -> bool:
    return all(thread.name != f"reader {name}" for thread in threading.enumerate())


# Mute, pause, remove and delete -------------------------------------------------------------------------------------


def leave(_room: net.Server, pupil: Pupil) -> None:
    pupil.leave()
    pupil.receive_until("left")


@pytest.mark.parametrize(
    ("control", "code", "saves"),
    [
        pytest.param(lambda room, ann: room.mute(ann.who, True), "muted", "sending", id="muted"),
        pytest.param(lambda room, _ann: room.pause(True), "paused", "sending", id="in a pause"),
        pytest.param(leave, "unknown", "unknown", id="gone"),
    ],
)
def test_people_who_may_not_write_share_nothing_not_even_what_is_on_its_way_and_the_host_may_do_all(
    open_room: OpenRoom, enter: Enter, control: Callable[[net.Server, Pupil], None], code: str, saves: str
) -> None:
    room = open_room(max_store=3 * len(DATA))
    host, ann = enter(room, "Host", room.token), enter(room, "Ann")
    file = ann.shares()
    with ann.begins_upload() as wire:
        control(room, ann)
        assert finish_upload(wire) == code
    assert (ann.may_share(), ann.may_save(file)) == (code, saves)
    assert (host.may_write(), host.may_save(file)) == ("said", "sending")
    host.shares(2 * DATA)  # nothing is kept of the upload: this needs all the rest of the store


@pytest.mark.parametrize("breaks_first", [True, False])
def test_nobody_waits_for_a_removed_person_to_come_back(
    room: net.Server, ann: Pupil, bob: Pupil, monkeypatch: pytest.MonkeyPatch, breaks_first: bool
) -> None:
    monkeypatch.setattr(net, "BACK_WITHIN", 10 * LIMIT)
    with mock.patch.object(net.Feed, "close", autospec=True, side_effect=net.Feed.close) as close:
        if breaks_first:
            ann.close()
            until(lambda: close.called, "the room notices that Ann is lost")
    room.remove(ann.who, True)
    ann.close()
    until(lambda: reader_is_gone("Ann"), "nobody waits for Ann any longer")
    assert bob.receive_until("left")["reason"] == "removed"
    assert bob.events_until_now() == []


def test_a_person_who_floods_and_reads_nothing_is_removed_and_nothing_of_them_is_heard_after_that(
    open_room: OpenRoom, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "LAST_WORDS", 0.2)  # the room soon gives up waiting for Ann to read them
    room = open_room(history=10**5)  # she does not fall out of it
    ann, bob = enter(room, "Ann"), enter(room, "Bob")
    ann.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)

    def flood() -> None:
        with contextlib.suppress(OSError):
            for number in itertools.count():
                ann.says("2 MB" if number == 500 else "x" * 4_000)

    flooding = threading.Thread(target=flood)
    flooding.start()
    bob.hears("2 MB")
    room.remove(ann.who, True)
    assert bob.receive_until("left")["reason"] == "removed"
    flooding.join(LIMIT)
    assert not flooding.is_alive()  # the room closes the connection
    until(lambda: reader_is_gone("Ann"), "the room is rid of Ann")
    bob.says("about Ann")
    assert bob.next()["text"] == "about Ann"


def test_the_files_of_a_removed_person_and_those_on_their_way_end_and_those_of_others_go_on(
    room: net.Server, ann: Pupil, bob: Pupil, stack: contextlib.ExitStack
) -> None:
    own, file = ann.shares(), bob.shares(bytes(LARGE))
    uploads = [stack.enter_context(member.begins_upload()) for member in (ann, bob)]
    downloads = [stack.enter_context(member.begins_download(file)) for member in (ann, bob)]
    room.remove(ann.who, True)
    assert uploads[0].receive_all() == []
    assert finish_upload(uploads[1]) == "stored"
    assert [is_cut(download) for download in downloads] == [True, False]
    assert (ann.may_share(), ann.may_save(file)) == ("unknown", "unknown")
    assert bob.events_until_now().count("shared") == 3
    room.remove(ann.who, False)
    assert bob.may_save(own) == "unknown"  # her files are gone for good


def test_a_deleted_file_ends_its_downloads_and_no_others_and_makes_room_for_another(
    open_room: OpenRoom, enter: Enter
) -> None:
    room = open_room(max_store=2 * LARGE)
    host, ann = enter(room, "Host", room.token), enter(room, "Ann")
    file, other = host.shares(bytes(LARGE)), host.shares(bytes(LARGE))
    assert host.may_share() == "space"
    with ann.begins_download(file) as download, ann.begins_download(other) as going_on:
        room.delete(ann.receive_until("shared")["number"])
        assert is_cut(download)
        assert not is_cut(going_on)
    assert [member.may_save(file) for member in (host, ann, enter(room, "Late"))] == ["unknown"] * 3
    host.shares(bytes(LARGE))


# Attempts and storms -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [message("mute", who=2, on=True), message("pause", on=True), message("taken_back", number=9, time=1.5, which=1)],
    ids=lambda line: str(line["type"]),
)
def test_controls_are_never_on_the_wire_not_even_the_hosts(
    room: net.Server, host: Pupil, ann: Pupil, bob: Pupil, told: net.Events, line: Message
) -> None:
    assert ann.may_write() == "said"
    with Wire(room.port) as stranger:
        stranger.hello()
        for wire in (host, ann, stranger):
            wire.send(line)
            assert wire.receive_until("refused")["code"] == "bad"
    assert bob.may_write() == "said"
    assert not {"paused", "taken_back"} & set(bob.events_until_now())
    assert not any(isinstance(event, net.Controls) for event in drain(told))


def test_the_hosts_token_from_another_computer_is_worth_nothing(
    room: net.Server, host: Pupil, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FromAnotherComputer(net.Connection):
        def __init__(self, sock: socket.socket, receive_size: int) -> None:
            super().__init__(sock, receive_size)
            self.address = "192.0.2.1"

    monkeypatch.setattr(net, "Connection", FromAnotherComputer)
    with Wire(room.port) as impostor:
        assert impostor.try_to_join("Host", room.token)["code"] == "unknown"
    assert host.may_share() == "unknown"


def test_controls_from_many_threads_keep_the_order_of_everything(
    room: net.Server, host: Pupil, enter: Enter, told: net.Events
) -> None:
    talkers = [enter(room, f"Talker {letter}") for letter in "abcd"]
    victim = enter(room, "Victim")
    lines = 150
    turns = threading.Semaphore(0)  # each line that is said gives one of the host's hands a turn

    def use_controls() -> None:
        for number in range(200):
            turns.acquire(timeout=LIMIT)
            is_on = number % 2 == 0
            room.pause(is_on)
            room.mute(talkers[number % 4].who, is_on)
            room.remove(victim.who, is_on)
            with contextlib.suppress(ValueError):
                room.delete(number)

    def talk(talker: Pupil) -> None:
        for number in range(lines):
            talker.says(f"{talker.who} {number}")
            turns.release()

    running = [threading.Thread(target=use_controls) for _ in range(3)]
    running += [threading.Thread(target=talk, args=[talker]) for talker in [host, *talkers]]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(LIMIT)
    for talker in talkers:
        room.mute(talker.who, False)
    room.remove(victim.who, False)
    room.pause(False)
    check_history(enter(room, "Late").all_up_to("joined", name="Late"))
    for talker in talkers:
        talker.says("the end")
        seen = talker.all_up_to("said", id=lines + 1, who=talker.who)
        numbers = [each["number"] for each in seen if "number" in each]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        own = [each for each in seen if each["type"] == "rejected" or each.get("who") == talker.who]
        answers = [each["id"] for each in own if each["type"] in ("said", "rejected")]
        assert answers == list(range(1, lines + 2))  # each one, once, in order
    last = [event for event in drain(told) if isinstance(event, net.Controls)][-1]
    assert (last.muted, last.removed) == ((), ())


def check_history(history: list[Message]) -> None:
    """Only the host is heard in a pause; pauses begin and end in turn; nothing is deleted twice."""
    assert [event["number"] for event in history] == list(range(1, len(history) + 1))
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


@pytest.mark.usefixtures("host")
def test_in_a_storm_of_breaks_and_controls_each_line_has_one_end_and_is_heard_once_or_not_at_all(
    room: net.Server, proxy: Proxy, enter: Enter, monkeypatch: pytest.MonkeyPatch, chance: random.Random
) -> None:
    monkeypatch.setattr(net, "RETRIES", (0.0, 0.01, 0.02, 0.04, 0.05))
    with contextlib.closing(Person("Ann", proxy.port)) as ann:
        who = ann.expects(net.Welcome).who
        ann.expects(net.Joined, lambda joined: joined.who == who)
        proxy.storm(chance.randrange(2**32), 3000)
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
            while number + 1 - len(ann.answered) > waiting:
                ann.take()
        proxy.calm()
        room.pause(False)
        room.mute(who, False)
        while len(ann.answered) < 120:
            ann.take()
    assert sorted(ann.answered) == list(ann.written_in)  # once each
    history = enter(room, "Late").all_up_to("joined", name="Late")
    assert [event["id"] for event in history if event["type"] == "said"] == [line.id for line in ann.lines]
    check_history(history)
