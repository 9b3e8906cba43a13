"""The client: its way into a room and back, what becomes of a line, and rooms that behave as no room should."""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

import net
from net import Trouble
from tests.conftest import OpenRoom
from tests.helpers import LIMIT, LOOPBACK, Message, Proxy, Wire, drain, expect, nobodys_port, port_of, until

T = TypeVar("T")
RETRIES = net.RETRIES  # as they are, before the tests make them short

WELCOME: Message = {
    "type": "welcome",
    "room": "r1",
    "title": "Room 7",
    "who": 2,
    "name": "Ann",
    "host": 1,
    "people": [[1, "Host"], [2, "Ann"]],
    "missed": 0,
    "history": 0,
    "last_id": 0,
    "muted": False,
    "paused": False,
    "max_file": 0,
}


def said(number: int, text: str = "x", *, who: int = 3, id: int = 1) -> Message:
    return {"type": "said", "number": number, "time": 1.5, "who": who, "name": "Eve", "id": id, "text": text}


class Person:
    """Somebody with the program: a client, and the events that its window would show."""

    def __init__(self, name: str, port: int, *, address: str = LOOPBACK, token: str | None = None) -> None:
        self.events: net.Events = queue.Queue()
        self.client = net.run_client(address, name, self.events, port=port, token=token)

    def expects(self, kind: type[T], where: Callable[[T], object] = lambda _event: True) -> T:
        return expect(self.events, kind, where)

    def hears(self, text: str) -> net.Said:
        return self.expects(net.Said, lambda said: said.text == text)

    def says(self, text: str) -> int:
        """The id that it got."""
        self.client.say(text)
        return self.expects(net.Sending, lambda sending: sending.text == net.clean_text(text)).id

    def close(self) -> None:
        self.client.close()
        assert self.client.join(LIMIT), "the client does not end"


class Guest(Wire):
    """A client's connection, at the end of a room that the test plays itself."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.socket.settimeout(LIMIT)
        self._received = b""

    def expects(self, kind: str) -> Message:
        message = self.receive()
        assert message is not None, f"the connection ended instead of {kind!r}"
        assert message["type"] == kind
        return message

    def lets_in(self, *events: Message, **changed: object) -> Message:
        """Hello, and welcome with these events as the history; the `join`."""
        self.expects("hello")
        self.send({"type": "hello", "protocol": 1, "tls": False})
        join = self.expects("join")
        self.send({**WELCOME, "history": len(events), **changed})
        for event in events:
            self.send(event)
        return join


class FakeRoom:
    """A listening socket. What a room says there is the test's own."""

    def __init__(self) -> None:
        self._listener = socket.create_server((LOOPBACK, 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)  # soon full for who does not read
        self._listener.settimeout(LIMIT)
        self.port = port_of(self._listener)
        self._guests: list[Guest] = []

    def accepts(self) -> Guest:
        self._guests.append(Guest(self._listener.accept()[0]))
        return self._guests[-1]

    def close(self) -> None:
        for guest in self._guests:
            guest.close()
        self._listener.close()


Come = Callable[..., Person]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has the time to wait between two tries."""
    monkeypatch.setattr(net, "RETRIES", (0.0, 0.01, 0.02, 0.04, 0.05))


@pytest.fixture
def come(stack: contextlib.ExitStack) -> Come:
    """Starts clients: come(name, port)."""
    return lambda *who, **how: stack.enter_context(contextlib.closing(Person(*who, **how)))


@pytest.fixture
def open_fake(stack: contextlib.ExitStack) -> Iterator[Callable[[], FakeRoom]]:  # noqa: ARG001 - so it is closed later
    """Opens fake rooms. They end before the people do, who would else wait for them to answer."""
    with contextlib.ExitStack() as fakes:
        yield lambda: fakes.enter_context(contextlib.closing(FakeRoom()))


@pytest.fixture
def fake(open_fake: Callable[[], FakeRoom]) -> FakeRoom:
    return open_fake()


@pytest.fixture
def room(open_room: OpenRoom) -> net.Server:
    return open_room()


@pytest.fixture
def proxy(stack: contextlib.ExitStack, room: net.Server) -> Proxy:
    """A network between Ann and the room."""
    return stack.enter_context(Proxy(room.port))


@pytest.fixture
def host(room: net.Server, come: Come) -> Person:
    host = come("Host", room.port, token=room.token)
    host.expects(net.Welcome)
    return host


@pytest.fixture
def bob(room: net.Server, come: Come) -> Person:
    bob = come("Bob", room.port)
    bob.expects(net.Joined, lambda joined: joined.name == "Bob")
    return bob


@pytest.fixture
def ann(proxy: Proxy, come: Come) -> Person:
    """Somebody on a bad network."""
    ann = come("Ann", proxy.port)
    ann.expects(net.Joined, lambda joined: joined.name == "Ann")
    return ann


# In the room ---------------------------------------------------------------------------------------------------------


def test_who_comes_is_welcomed_and_sees_the_history(room: net.Server, bob: Person, come: Come) -> None:
    bob.says("hello")
    bob.hears("hello")
    ann = come("Ann", room.port)
    welcome = ann.expects(net.Welcome)
    assert (welcome.title, welcome.name, welcome.people) == ("Room 7", "Ann", ((2, "Bob"), (3, "Ann")))
    assert ann.expects(net.Joined).number == 1
    assert ann.expects(net.Said).number == 2
    assert ann.expects(net.Joined).number == 3


def test_a_line_is_being_sent_and_then_said(room: net.Server, bob: Person, come: Come) -> None:
    ann = come("Ann", room.port)
    welcome = ann.expects(net.Welcome)
    number = ann.says("hello")
    line = ann.hears("hello")
    assert (line.who, line.id) == (welcome.who, number)
    assert bob.hears("hello") == line


def test_lines_are_heard_in_the_order_in_which_they_were_said(ann: Person, bob: Person) -> None:
    texts = [str(number) for number in range(200)]
    for text in texts:
        ann.client.say(text)
    assert [bob.expects(net.Said).text for _ in texts] == texts


@pytest.mark.parametrize(
    ("text", "code"), [("", "empty"), (" \n", "empty"), ("x" * 4001, "long"), ("\n" * 100, "long")]
)
def test_a_line_that_the_room_would_reject_does_not_even_go_there(
    proxy: Proxy, ann: Person, text: str, code: str
) -> None:
    number = ann.says(text)
    rejected = ann.expects(net.Rejected)
    assert (rejected.id, rejected.code) == (number, code)
    ann.says("marker")
    ann.hears("marker")
    assert b'"id":%d' % number not in bytes(proxy.to_room)


def test_what_is_said_before_the_welcome_is_sent_after_it(room: net.Server, bob: Person, come: Come) -> None:
    ann = come("Ann", room.port)
    ann.client.say("already")
    bob.hears("already")
    ann.hears("already")


def test_who_has_nothing_to_say_pings(fake: FakeRoom, come: Come, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "TICK", 0.02)
    monkeypatch.setattr(net, "PING_AFTER", 0.1)
    come("Ann", fake.port)
    guest = fake.accepts()
    guest.lets_in()
    assert [guest.receive(pings=True) for _ in range(3)] == [{"type": "ping"}] * 3


def test_a_room_that_closes_ends_it(room: net.Server, ann: Person) -> None:
    room.close("The lesson is over.")
    assert ann.client.join(LIMIT)
    assert drain(ann.events)[-1] == net.Closed("The lesson is over.")


def test_a_second_client_of_the_same_person_ends_the_first(room: net.Server, come: Come) -> None:
    token = "a0" * 16
    ann = come("Ann", room.port, token=token)
    ann.expects(net.Welcome)
    again = come("Ann", room.port, token=token)
    again.expects(net.Welcome)
    ann.expects(net.Closed)
    assert ann.client.join(LIMIT)  # it does not fight for the place
    again.says("marker")
    again.hears("marker")


def test_what_is_said_when_it_is_over_is_not_sent(room: net.Server, ann: Person) -> None:
    room.close()
    assert ann.client.join(LIMIT)
    number = ann.says("too late")
    assert ann.expects(net.Rejected).id == number


def test_an_empty_address_or_an_impossible_port_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="address"):
        net.run_client(" ", "Ann", queue.Queue())
    for port in (0, 65536, -1):
        with pytest.raises(ValueError, match="port"):
            net.run_client(LOOPBACK, "Ann", queue.Queue(), port=port)


# Events and their numbers --------------------------------------------------------------------------------------------


def test_a_number_that_is_not_above_the_last_is_ignored(fake: FakeRoom, come: Come) -> None:
    ann = come("Ann", fake.port)
    fake.accepts().lets_in(said(1), said(2), said(2, "again"), said(1, "again"), said(0, "never"), said(3, "marker"))
    assert [ann.expects(net.Said).text for _ in range(3)] == ["x", "x", "marker"]


def test_a_gap_in_the_numbers_is_a_lost_connection(fake: FakeRoom, come: Come) -> None:
    ann = come("Ann", fake.port)
    fake.accepts().lets_in(said(1), said(3, "too early"))
    assert ann.expects(net.Said).number == 1
    assert ann.expects(net.Lost).reason is Trouble.GAP
    join = fake.accepts().lets_in(said(2), said(3, "in its turn"))
    assert (join["room"], join["after"]) == ("r1", 1)
    assert [ann.expects(net.Said).text for _ in range(2)] == ["x", "in its turn"]


def test_an_unknown_type_is_ignored_but_its_number_counts(fake: FakeRoom, come: Come) -> None:
    ann = come("Ann", fake.port)
    guest = fake.accepts()
    guest.lets_in(said(1), {"type": "confetti", "number": 2, "colour": "red"}, said(3, "after"))
    guest.send({"type": "balloons"})
    guest.send({"type": "balloons", "number": "4"})
    guest.send(said(4, "marker"))
    ann.hears("after")
    ann.hears("marker")
    assert drain(ann.events) == []


def test_an_unknown_type_is_ignored_before_the_welcome_too(fake: FakeRoom, come: Come) -> None:
    ann = come("Ann", fake.port)
    guest = fake.accepts()
    guest.send({"type": "hello", "protocol": 1, "tls": False})
    guest.expects("hello")
    guest.expects("join")
    guest.send({"type": "confetti"})
    guest.send(WELCOME)
    assert isinstance(ann.events.get(timeout=LIMIT), net.Welcome)


def test_one_person_is_the_same_person_on_each_connection(fake: FakeRoom, come: Come) -> None:
    ann = come("Ann", fake.port)
    guest = fake.accepts()
    first = guest.lets_in()
    guest.close()
    ann.expects(net.Lost)
    second = fake.accepts().lets_in()
    assert first["token"] == second["token"]
    assert (first["room"], second["room"]) == (None, "r1")


# Breaks --------------------------------------------------------------------------------------------------------------


def test_a_broken_connection_is_made_again_at_once_and_nothing_is_missing(
    bob: Person, proxy: Proxy, ann: Person
) -> None:
    bob.expects(net.Joined, lambda joined: joined.name == "Ann")
    proxy.refuse()
    proxy.cut()
    assert ann.expects(net.Lost) == net.Lost(Trouble.GONE, 0.0)
    bob.says("meanwhile")
    bob.hears("meanwhile")
    number = ann.says("and here")
    proxy.refuse(False)
    assert ann.expects(net.Welcome).missed == 0
    ann.hears("meanwhile")
    assert ann.hears("and here").id == number
    assert isinstance(bob.events.get(timeout=LIMIT), net.Said)  # neither `left` nor `joined` before it


def test_the_tries_come_after_0_1_2_4_5_5_seconds(proxy: Proxy, ann: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(RETRIES) == [0.0, 1.0, 2.0, 4.0, 5.0]
    scaled = [seconds / 100 for seconds in (0, 1, 2, 4, 5, 5)]
    monkeypatch.setattr(net, "RETRIES", tuple(scaled[:-1]))
    for _ in range(2):  # once it has been in, it begins anew
        proxy.refuse()
        proxy.cut()
        assert [ann.expects(net.Lost).retry_in for _ in scaled] == scaled
        proxy.refuse(False)
        ann.expects(net.Welcome)
        ann.says("marker")
        ann.hears("marker")


def test_a_room_that_drops_everybody_after_a_word_is_not_tried_again_and_again_without_a_wait(
    fake: FakeRoom, come: Come, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "RETRIES", (0.0, 0.01, 1.5))  # the last one is longer than a slow computer stands still
    ann = come("Ann", fake.port)
    waits = []
    for number in range(1, 5):
        with contextlib.closing(fake.accepts()) as guest:
            guest.lets_in(said(number), missed=0)
        waits.append(ann.expects(net.Lost).retry_in)
    assert waits == [0.0, 0.01, 1.5, 0.0]  # by the fourth it has waited


def test_who_never_was_in_waits_before_the_second_try(
    come: Come, stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "RETRIES", (0.0, 0.01, 0.02))
    ann = come("Ann", nobodys_port(stack))
    assert [ann.expects(net.Lost).retry_in for _ in range(3)] == [0.01, 0.02, 0.02]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody looks at the clock often, and soon pings."""
    monkeypatch.setattr(net, "TICK", 0.02)
    monkeypatch.setattr(net, "PING_AFTER", 0.1)


@pytest.mark.usefixtures("quick")
def test_a_pulled_cable_is_noticed_and_nothing_is_missing_when_it_is_back(
    bob: Person, proxy: Proxy, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob.expects(net.Joined, lambda joined: joined.name == "Ann")
    proxy.silence()
    ann.client.say("into the dark")
    bob.client.say("meanwhile")
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(net, "SILENCE", 0.5)  # only now, or a slow computer is silent before the cable is pulled
        assert ann.expects(net.Lost).reason is Trouble.SILENT
    proxy.speak(drop=True)
    ann.hears("meanwhile")
    ann.hears("into the dark")
    bob.hears("into the dark")
    bob.says("marker")
    bob.hears("marker")  # and "into the dark" was there once, or the numbers would not fit
    assert ann.hears("marker").number == 5


@pytest.mark.usefixtures("quick")
def test_a_short_pause_of_the_network_is_no_break(proxy: Proxy, ann: Person) -> None:
    proxy.silence()
    number = ann.says("a little later")
    proxy.speak()
    assert ann.hears("a little later").id == number
    assert proxy.connections == 1


def test_what_was_sent_but_not_answered_is_not_sent_again_if_the_room_has_it(fake: FakeRoom, come: Come) -> None:
    ann = come("Ann", fake.port)
    guest = fake.accepts()
    guest.lets_in()
    one, two = ann.says("one"), ann.says("two")
    assert [guest.expects("say")["id"] for _ in range(2)] == [one, two]
    guest.close()
    guest = fake.accepts()
    guest.lets_in(said(1, "one", who=2, id=one), last_id=one)
    assert guest.expects("say")["id"] == two
    assert ann.hears("one").id == one


def test_a_line_that_the_room_has_but_no_longer_keeps_is_settled(fake: FakeRoom, come: Come) -> None:
    ann = come("Ann", fake.port)
    guest = fake.accepts()
    guest.lets_in()
    number = ann.says("one")
    guest.expects("say")
    guest.close()
    guest = fake.accepts()
    guest.lets_in(said(4, "much later"), missed=3, last_id=number)
    assert ann.expects(net.Settled).id == number
    ann.says("two")
    assert guest.expects("say")["text"] == "two"


def test_a_line_is_settled_even_if_the_connection_breaks_again_before_all_that_was_missed_is_in(
    fake: FakeRoom, come: Come
) -> None:
    ann = come("Ann", fake.port)
    guest = fake.accepts()
    guest.lets_in()
    number = ann.says("one")
    guest.expects("say")
    guest.close()
    guest = fake.accepts()
    guest.lets_in(said(4, "much later"), missed=3, history=2, last_id=number)
    ann.hears("much later")
    guest.close()
    guest = fake.accepts()
    guest.lets_in(said(5, "later still"), last_id=number)
    assert ann.expects(net.Settled).id == number
    two = ann.says("two")
    guest.expects("say")
    guest.close()
    fake.accepts().lets_in(last_id=two)  # this time nothing was missed
    assert ann.expects(net.Rejected).code == "unknown"


def test_a_line_whose_rejection_was_lost_is_rejected_all_the_same(fake: FakeRoom, come: Come) -> None:
    ann = come("Ann", fake.port)
    guest = fake.accepts()
    guest.lets_in()
    number = ann.says("one")
    guest.expects("say")
    guest.close()
    fake.accepts().lets_in(last_id=number)
    rejected = ann.expects(net.Rejected)
    assert (rejected.id, rejected.code) == (number, "unknown")


def test_a_rejection_ends_the_sending(fake: FakeRoom, come: Come) -> None:
    ann = come("Ann", fake.port)
    guest = fake.accepts()
    guest.lets_in()
    number = ann.says("one")
    guest.send({"type": "rejected", "id": guest.expects("say")["id"], "code": "muted", "reason": "You are muted."})
    assert ann.expects(net.Rejected) == net.Rejected(number, "muted", "You are muted.")
    guest.close()
    guest = fake.accepts()
    guest.lets_in()
    ann.says("two")
    assert guest.expects("say")["text"] == "two"


def test_what_is_missed_comes_before_what_is_sent_again(fake: FakeRoom, come: Come) -> None:
    ann = come("Ann", fake.port)
    guest = fake.accepts()
    guest.lets_in(history=2)
    ann.says("one")
    guest.send({"type": "ping"})
    guest.send(said(1))
    ann.hears("x")
    guest.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        guest.socket.recv(1)
    guest.socket.settimeout(LIMIT)
    guest.send(said(2))
    assert guest.expects("say")["text"] == "one"


def test_ids_rise_above_what_the_room_has_of_another_client_of_this_person(fake: FakeRoom, come: Come) -> None:
    ann = come("Ann", fake.port)
    far_ahead = 2**52
    fake.accepts().lets_in(last_id=far_ahead)
    ann.expects(net.Welcome)
    assert ann.says("one") > far_ahead


def test_a_line_under_an_id_that_the_room_has_of_another_client_is_not_called_sent(fake: FakeRoom, come: Come) -> None:
    ann = come("Ann", fake.port)
    number = ann.says("one")
    fake.accepts().lets_in(last_id=2**52)
    rejected = ann.expects(net.Rejected)
    assert (rejected.id, rejected.code) == (number, "unsent")


# A room that was opened again ----------------------------------------------------------------------------------------


@dataclass
class Reopened:
    """Ann said "kept" while she was cut off; at the same place there is a new room now, whose host is not in yet."""

    room: net.Server
    number: int


Reopen = Callable[..., Reopened]


@pytest.fixture
def reopen(proxy: Proxy, ann: Person, open_room: OpenRoom) -> Reopen:
    def reopen(title: str = "Room 7", host_name: str = "Host") -> Reopened:
        proxy.refuse()
        proxy.cut()
        ann.expects(net.Lost)
        number = ann.says("kept")
        new = open_room(title, host_name=host_name)
        proxy.port_behind = new.port
        proxy.refuse(False)
        ann.expects(net.Welcome, lambda welcome: welcome.room == new.id)
        return Reopened(new, number)

    return reopen


@pytest.mark.usefixtures("host")
def test_into_the_same_room_opened_again_goes_what_was_not_sent(ann: Person, come: Come, reopen: Reopen) -> None:
    again = reopen()
    come("Host", again.room.port, token=again.room.token)
    joined = ann.expects(net.Joined, lambda joined: joined.who == net.HOST)
    line = ann.hears("kept")
    assert line.id == again.number
    assert line.number > joined.number  # not before it was sure whose room this is


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(("title", "host_name"), [("Room 8", "Host"), ("Room 7", "Mr Lee")])
def test_into_another_room_at_the_same_place_goes_nothing_that_was_not_meant_for_it(
    ann: Person, come: Come, reopen: Reopen, title: str, host_name: str
) -> None:
    again = reopen(title, host_name)
    come("", again.room.port, token=again.room.token)
    rejected = ann.expects(net.Rejected)
    assert (rejected.id, rejected.code) == (again.number, "unsent")
    ann.says("meant for it")
    assert ann.expects(net.Said).text == "meant for it"


def test_it_is_the_same_room_also_for_those_who_came_before_its_host(
    room: net.Server, ann: Person, come: Come, reopen: Reopen
) -> None:
    come("Host", room.port, token=room.token)
    ann.expects(net.Joined, lambda joined: joined.who == net.HOST)
    again = reopen()
    come("Host", again.room.port, token=again.room.token)
    answer = ann.expects(object, lambda event: isinstance(event, net.Said | net.Rejected))
    assert isinstance(answer, net.Said)


# Troubles ------------------------------------------------------------------------------------------------------------


def no_such_name(*_question: object) -> None:
    raise socket.gaierror("no such name")


def fill(stack: contextlib.ExitStack) -> int:
    """A port at which nothing answers: all the places where connections wait to be accepted are taken."""
    listener = stack.enter_context(socket.create_server((LOOPBACK, 0), backlog=0))
    first = stack.enter_context(socket.socket())
    first.connect(listener.getsockname())  # it has its place before anybody else comes
    for _ in range(3):
        waiting = stack.enter_context(socket.socket())
        waiting.setblocking(False)
        waiting.connect_ex(listener.getsockname())
    return port_of(listener)


def test_nobody_listens_there(come: Come, stack: contextlib.ExitStack) -> None:
    assert come("Ann", nobodys_port(stack)).expects(net.Lost).reason is Trouble.NOBODY_LISTENS


def test_a_name_that_nobody_knows(come: Come, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    assert come("Ann", 1, address="nowhere.example").expects(net.Lost).reason is Trouble.UNKNOWN_NAME


@pytest.mark.parametrize("name", ["x" * 64 + ".example", "a..b", "\u200b"])
def test_a_name_that_is_none(come: Come, name: str) -> None:
    """Python finds these out by itself, and asks nobody."""
    assert come("Ann", 1, address=name).expects(net.Lost).reason is Trouble.UNKNOWN_NAME


def test_a_name_that_is_looked_up_for_too_long(
    come: Come, stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up_hangs(stack, monkeypatch)
    monkeypatch.setattr(net, "LOOK_UP_TIME", 0.1)
    assert come("Ann", 1, address="slow.example").expects(net.Lost).reason is Trouble.UNKNOWN_NAME


def look_up_hangs(stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Until the event that it returns is set; then the name is this computer's."""
    go_on = threading.Event()
    stack.callback(go_on.set)

    def hang(*_question: object) -> list[Any]:
        go_on.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (LOOPBACK, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    return go_on


def test_nothing_answers_there(come: Come, stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "CONNECT_TIME", 0.1)
    assert come("Ann", fill(stack)).expects(net.Lost).reason is Trouble.NO_ANSWER


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.6\r\n", b"\0" * 300_000])
def test_something_else_listens_there(fake: FakeRoom, come: Come, answer: bytes) -> None:
    ann = come("Ann", fake.port)
    guest = fake.accepts()
    with contextlib.suppress(ConnectionError):  # it need not read to the end
        guest.send_bytes(answer)
    assert ann.expects(net.Lost).reason is Trouble.NOT_A_ROOM


def test_somebody_listens_there_and_says_nothing(
    fake: FakeRoom, come: Come, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "FIRST_MESSAGE", 0.1)
    assert come("Ann", fake.port).expects(net.Lost).reason is Trouble.SILENT


def test_somebody_listens_there_and_hangs_up(fake: FakeRoom, come: Come) -> None:
    ann = come("Ann", fake.port)
    fake.accepts().close()
    assert ann.expects(net.Lost).reason is Trouble.GONE


def test_a_full_room_is_tried_again(open_room: OpenRoom, come: Come) -> None:
    room = open_room(limit=1)
    bob = come("Bob", room.port)
    bob.expects(net.Welcome)
    ann = come("Ann", room.port)
    assert ann.expects(net.Lost).reason is Trouble.FULL
    bob.close()
    ann.expects(net.Welcome)


def test_a_room_that_asks_to_wait_is_tried_again_when_it_says(fake: FakeRoom, come: Come) -> None:
    ann = come("Ann", fake.port)
    fake.accepts().send({"type": "refused", "code": "wait", "reason": "not so often", "seconds": 1})
    assert ann.expects(net.Lost) == net.Lost(Trouble.WAIT, 1.0)


@pytest.mark.parametrize("code", ["bad", "protocol", "tls", "removed", "unknown", "something new"])
def test_any_other_refusal_ends_it(fake: FakeRoom, come: Come, code: str) -> None:
    ann = come("Ann", fake.port)
    number = ann.says("hello?")
    fake.accepts().send({"type": "refused", "code": code, "reason": "because"})
    assert ann.client.join(LIMIT)
    first, last = drain(ann.events)
    assert (first.id, first.code) == (number, "unsent")
    assert last == net.Refused(code, "because")


@pytest.mark.parametrize(
    ("hello", "code"),
    [({"protocol": 2, "tls": False}, "protocol"), ({"protocol": 1, "tls": True, "salt": "00" * 16}, "tls")],
)
def test_a_room_that_this_program_cannot_join_ends_it(
    fake: FakeRoom, come: Come, monkeypatch: pytest.MonkeyPatch, hello: Message, code: str
) -> None:
    monkeypatch.setattr(net, "CAN_ENCRYPT", False)
    ann = come("Ann", fake.port)
    fake.accepts().send({"type": "hello", **hello})
    assert ann.expects(net.Refused).code == code
    assert ann.client.join(LIMIT)


def test_nothing_more_is_sent_before_the_rooms_hello(fake: FakeRoom, come: Come) -> None:
    ann = come("Ann", fake.port)
    ann.client.say("one")
    guest = fake.accepts()
    assert guest.expects("hello") == {"type": "hello", "protocol": 1, "tls": net.CAN_ENCRYPT}
    guest.send({"type": "refused", "code": "bad", "reason": "go away"})
    assert guest.receive() is None


# Closing -------------------------------------------------------------------------------------------------------------


@dataclass
class Scene:
    """What a stage needs to bring Ann to where she is closed."""

    come: Come
    fake: FakeRoom
    stack: contextlib.ExitStack
    monkeypatch: pytest.MonkeyPatch


def looking_up(scene: Scene) -> Person:
    look_up_hangs(scene.stack, scene.monkeypatch)
    ann = scene.come("Ann", 1, address="slow.example")
    until(lambda: any(t.name.startswith("name look-up") for t in threading.enumerate()), "the look-up has begun")
    return ann


def connecting(scene: Scene) -> Person:
    return scene.come("Ann", fill(scene.stack))


def waiting_for_hello(scene: Scene) -> Person:
    ann = scene.come("Ann", scene.fake.port)
    scene.fake.accepts().expects("hello")
    return ann


def waiting_for_welcome(scene: Scene) -> Person:
    ann = scene.come("Ann", scene.fake.port)
    guest = scene.fake.accepts()
    guest.expects("hello")
    guest.send({"type": "hello", "protocol": 1, "tls": False})
    guest.expects("join")
    return ann


def in_the_history(scene: Scene) -> Person:
    ann = scene.come("Ann", scene.fake.port)
    scene.fake.accepts().lets_in(said(1, "marker"), history=2)
    ann.hears("marker")
    return ann


def in_the_room(scene: Scene) -> Person:
    ann = scene.come("Ann", scene.fake.port)
    scene.fake.accepts().lets_in(said(1, "marker"))
    ann.hears("marker")
    return ann


def in_a_room_that_does_not_read(scene: Scene) -> Person:
    ann = in_the_room(scene)
    for _ in range(2000):  # 8 MB
        ann.client.say("x" * 4000)
    return ann


def between_two_tries(scene: Scene) -> Person:
    scene.monkeypatch.setattr(net, "RETRIES", (600.0,))
    ann = scene.come("Ann", nobodys_port(scene.stack))
    ann.expects(net.Lost)
    return ann


STAGES = [looking_up, connecting, waiting_for_hello, waiting_for_welcome, in_the_history, in_the_room]
STAGES += [in_a_room_that_does_not_read, between_two_tries]


@pytest.mark.parametrize("last_words", [[], ["bye"]])
def test_closing_returns_at_once_and_is_done_within_two_seconds_whatever_the_client_is_at(
    come: Come,
    open_fake: Callable[[], FakeRoom],
    stack: contextlib.ExitStack,
    monkeypatch: pytest.MonkeyPatch,
    last_words: list[str],
) -> None:
    assert net.CLOSE_TIME == 1.5  # s; shorter here, so that a slow computer has as much time for the rest of both
    monkeypatch.setattr(net, "CLOSE_TIME", 1.0)
    people = {stage.__name__: stage(Scene(come, open_fake(), stack, monkeypatch)) for stage in STAGES}
    ids = {name: [ann.says(text) for text in last_words] for name, ann in people.items()}
    started = time.monotonic()
    for ann in people.values():
        ann.client.close()
    assert time.monotonic() - started < 1.0
    late = [name for name, ann in people.items() if not ann.client.join(max(0.0, started + 2.0 - time.monotonic()))]
    assert late == []
    for name, numbers in ids.items():  # nobody has answered these, and nothing stays "being sent"
        answered = {event.id for event in drain(people[name].events) if isinstance(event, net.Rejected)}
        assert answered >= set(numbers), name


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this computer is, all that can be delivered is."""
    monkeypatch.setattr(net, "CLOSE_TIME", LIMIT / 2)


@pytest.mark.usefixtures("unhurried")
def test_who_closes_has_left(ann: Person, bob: Person) -> None:
    ann.close()
    assert bob.expects(net.Left).reason == "left"


@pytest.mark.usefixtures("unhurried")
def test_what_was_said_before_closing_is_still_delivered(ann: Person, bob: Person) -> None:
    for number in range(100):
        ann.client.say(str(number))
    ann.close()
    assert [bob.expects(net.Said).text for _ in range(100)] == [str(number) for number in range(100)]
    assert bob.expects(net.Left).reason == "left"
    assert [event.text for event in drain(ann.events) if isinstance(event, net.Said)][-1] == "99"


@pytest.mark.usefixtures("unhurried")
def test_what_was_said_before_closing_is_delivered_even_if_it_was_not_in_yet(
    room: net.Server, bob: Person, come: Come
) -> None:
    ann = come("Ann", room.port)
    ann.client.say("hello and bye")
    ann.close()
    bob.hears("hello and bye")
    assert bob.expects(net.Left).reason == "left"


@pytest.mark.usefixtures("unhurried")
def test_what_was_said_before_closing_is_delivered_after_a_slow_look_up(
    room: net.Server, bob: Person, come: Come, stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = look_up_hangs(stack, monkeypatch)
    ann = come("Ann", room.port, address="slow.example")
    ann.client.say("hello and bye")
    ann.client.close()
    go_on.set()
    bob.hears("hello and bye")


@pytest.mark.usefixtures("unhurried")
def test_what_was_said_before_closing_is_delivered_by_one_more_try(
    proxy: Proxy, ann: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "RETRIES", (600.0,))
    proxy.refuse()
    proxy.cut()
    ann.expects(net.Lost)
    ann.client.say("bye")
    proxy.refuse(False)
    ann.close()
    bob.hears("bye")
    assert bob.expects(net.Left).reason == "left"


@pytest.mark.usefixtures("unhurried")
def test_what_was_said_before_closing_is_delivered_after_the_history(fake: FakeRoom, come: Come) -> None:
    ann = come("Ann", fake.port)
    guest = fake.accepts()
    guest.lets_in(history=1)
    ann.says("bye")
    ann.client.close()
    guest.send(said(1))
    assert [guest.expects("say")["text"], guest.expects("leave")["type"]] == ["bye", "leave"]
    assert guest.receive() is None


def test_what_is_called_unsent_at_the_end_never_appears(
    open_room: OpenRoom, come: Come, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The brake holds back more than can be answered before the end; the room has it all the same."""
    monkeypatch.setattr(net, "CLOSE_TIME", 0.3)
    monkeypatch.setattr(net, "BACK_WITHIN", 0.1)
    room = open_room(rate=20)
    bob, ann = come("Bob", room.port), come("Ann", room.port)
    ann.expects(net.Joined, lambda joined: joined.name == "Ann")
    for number in range(40):
        ann.client.say(str(number))
    ann.close()
    unsent = {event.id for event in drain(ann.events) if isinstance(event, net.Rejected) and event.code == "unsent"}
    appeared = set()
    while not isinstance(event := bob.events.get(timeout=LIMIT), net.Left):
        appeared |= {event.id} if isinstance(event, net.Said) else set()
    assert not unsent & appeared


def test_what_was_sent_but_not_answered_before_the_end_is_not_called_unsent(
    fake: FakeRoom, come: Come, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "CLOSE_TIME", 0.1)
    ann = come("Ann", fake.port)
    guest = fake.accepts()
    guest.lets_in()
    number = ann.says("bye")
    guest.expects("say")
    ann.close()
    rejected = ann.expects(net.Rejected)
    assert (rejected.id, rejected.code) == (number, "unanswered")


def test_what_is_said_after_closing_is_not_sent(ann: Person) -> None:
    ann.client.close()
    number = ann.says("too late")
    rejected = ann.expects(net.Rejected)
    assert (rejected.id, rejected.code) == (number, "unsent")


def test_closing_twice_is_harmless(ann: Person) -> None:
    ann.close()
    ann.close()


def test_the_client_ends_with_its_with_statement(room: net.Server, bob: Person) -> None:
    with net.run_client(LOOPBACK, "Ann", queue.Queue(), port=room.port) as client:
        client.say("hello")
        bob.hears("hello")
    assert client.join(LIMIT)
    assert bob.expects(net.Left).name == "Ann"


# Rooms that behave as no room should ---------------------------------------------------------------------------------

HOSTILE = {
    "a line that never ends": b"x" * 300_000,
    "a line that is too long": b'{"type":"ping","x":"' + b"x" * 300_000 + b'"}\n',
    "bytes that are no text": bytes(range(256)) + b"\n",
    "JSON that is too deep": b"[" * 100_000 + b"\n",
    "a number of 5,000 digits": b'{"type":"confetti","number":' + b"1" * 5000 + b"}\n",
    "a number that is a string": b'{"type":"said","number":"1","time":1,"who":3,"name":"Eve","id":1,"text":"x"}\n',
    "a negative time": b'{"type":"joined","number":1,"time":-1,"who":3,"name":"Eve"}\n',
    "a list": b"[]\n",
    "refused without a reason": b'{"type":"refused","code":"wait"}\n',
    "people who are none": json.dumps({**WELCOME, "people": [1]}).encode() + b"\n",
    "people without names": json.dumps({**WELCOME, "people": [[1], [2]]}).encode() + b"\n",
}


@pytest.mark.parametrize("junk", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("in_place_of", ["hello", "welcome", "an event"])
def test_a_client_survives_what_breaks_the_rules(fake: FakeRoom, come: Come, junk: bytes, in_place_of: str) -> None:
    ann = come("Ann", fake.port)
    guest = fake.accepts()
    if in_place_of == "an event":
        guest.lets_in()
    elif in_place_of == "welcome":
        guest.send({"type": "hello", "protocol": 1, "tls": False})
    with contextlib.suppress(ConnectionError):  # it need not read to the end
        guest.send_bytes(junk)
    assert ann.expects(net.Lost).reason is Trouble.NOT_A_ROOM
    fake.accepts().lets_in(said(1, "a good room"))
    ann.hears("a good room")


@pytest.mark.parametrize(
    "odd",
    [
        WELCOME,
        {"type": "hello", "protocol": 1, "tls": False},
        {"type": "confetti", "number": -(10**18)},
        {"type": "rejected", "id": 2**53, "code": "", "reason": ""},
        {"type": "said", "number": 0, "time": 2**53, "who": 0, "name": "", "id": 0, "text": ""},
    ],
)
def test_a_client_takes_no_notice_of_what_makes_no_sense(fake: FakeRoom, come: Come, odd: Message) -> None:
    ann = come("Ann", fake.port)
    guest = fake.accepts()
    guest.lets_in()
    guest.send(odd)
    guest.send(said(1, "marker"))
    ann.hears("marker")
    ann.says("fine")
    assert guest.expects("say")["text"] == "fine"


@pytest.mark.parametrize("key", ["missed", "history", "last_id"])
def test_a_client_survives_a_welcome_with_huge_numbers(fake: FakeRoom, come: Come, key: str) -> None:
    ann = come("Ann", fake.port)
    guest = fake.accepts()
    guest.lets_in(**{key: 2**53})
    ann.expects(net.Welcome)
    ann.says("one")
    guest.close()
    ann.expects(net.Lost)


def test_a_client_survives_being_asked_to_wait_for_ever(fake: FakeRoom, come: Come) -> None:
    ann = come("Ann", fake.port)
    fake.accepts().send({"type": "refused", "code": "wait", "reason": "go away", "seconds": 2**53})
    lost = ann.expects(net.Lost)
    assert lost.reason is Trouble.WAIT
    assert lost.retry_in <= 60


def test_a_client_survives_an_answer_to_what_it_has_not_sent_yet(fake: FakeRoom, come: Come) -> None:
    ann = come("Ann", fake.port)
    guest = fake.accepts()
    guest.lets_in()
    first = ann.says("first")
    guest.expects("say")
    for _ in range(2000):  # 8 MB, which are not read: the last line waits
        ann.client.say("x" * 4000)
    guest.send({"type": "rejected", "id": first + 2000, "code": "muted", "reason": "I know what you want to say"})
    ann.expects(net.Rejected)
    ann.client.say("marker")
    while guest.expects("say")["text"] != "marker":
        pass
