"""What a classmate with a Python prompt tries, from outside the room and from inside it.

Each attack here worked on the first edition, or on this one before it was tried. The others in the room must notice
nothing, and honest people must get in.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import queue
import secrets
import select
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import net
from tests.conftest import OpenRoom
from tests.helpers import LIMIT, LOOPBACK, Message, Proxy, Wire, drain, expect, message, needs_tls, port_of, until

# These addresses are all this computer's, but a room takes them for different computers.
ELSEWHERE = "127.0.0.2"
ATTACKER = "127.0.0.3"
needs_addresses = pytest.mark.skipif(sys.platform == "darwin", reason="macOS has one loopback address")
NOBODY = "0" * 32
SECRET = "horse battery"

Come = Callable[..., Wire]
Talk = Callable[["Visit"], None]


def addresses(count: int) -> list[str]:
    return [f"127.0.1.{number}" for number in range(1, count + 1)]


@pytest.fixture
def come(stack: contextlib.ExitStack) -> Come:
    """Connects to a room, perhaps from a given address; closed after the test."""

    def connect(room: net.Server, source: str | None = None) -> Wire:
        return stack.enter_context(Wire(room.port, source=source))

    return connect


@pytest.fixture
def enter(stack: contextlib.ExitStack) -> Callable[..., tuple[net.Client, net.Events]]:
    """Starts a client; it is closed after the test."""

    def start(port: int, name: str = "Ann", **settings: Any) -> tuple[net.Client, net.Events]:
        events: net.Events = queue.Queue()
        client = net.run_client(LOOPBACK, name, events, port=port, **settings)
        stack.callback(client.join, LIMIT)
        stack.callback(client.close)
        return client, events

    return start


class Visit:
    """One connection to a room that is not honest: a plain socket, and whatever its owner wants to say on it."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._file = sock.makefile("rb")

    def receive(self) -> Message:
        """The client's next message; {} at the end."""
        line = self._file.readline()
        return json.loads(line) if line else {}

    def send(self, *messages: Message) -> None:
        lines = [json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in messages]
        self.socket.sendall(b"".join(lines))

    def let_in(self, **different: Any) -> Message:
        """Says hello and welcome, as an honest room would apart from these fields; the client's `join`."""
        self.receive()
        self.send(message("hello", protocol=net.PROTOCOL, tls=False))
        join = self.receive()
        self.send(welcome(**different))
        return join

    def until_left(self) -> None:
        """Until the client is gone."""
        while self._file.read(64 * 1024):
            pass

    def close(self) -> None:
        self._file.close()


WELCOME = message("welcome", room="somewhere", title="Room 7", who=2, name="Ann", host=None, people=[[2, "Ann"]])
WELCOME.update(files=0, missed=0, history=0, last_id=0, muted=False, paused=False, max_file=100)


def welcome(**different: Any) -> Message:
    return {**WELCOME, **different}


@pytest.fixture
def hostile(stack: contextlib.ExitStack) -> Callable[[Talk], int]:
    """Opens a room that talks as it likes, with one client after the other; its port."""

    def open_one(talk: Talk) -> int:
        closing = threading.Event()
        listener = stack.enter_context(socket.create_server((LOOPBACK, 0)))

        def run() -> None:
            while True:
                sock, _ = listener.accept()
                with sock:
                    if closing.is_set():
                        return
                    sock.settimeout(LIMIT)
                    with contextlib.closing(Visit(sock)) as visit, contextlib.suppress(OSError):
                        talk(visit)

        def stop() -> None:
            closing.set()
            socket.create_connection((LOOPBACK, port_of(listener)), LIMIT).close()
            thread.join(LIMIT)

        thread = threading.Thread(target=run, name="hostile room")
        thread.start()
        stack.callback(stop)
        return port_of(listener)

    return open_one


def said(number: int, text: str, **different: Any) -> Message:
    fields = {"number": number, "time": 0, "who": 3, "name": "Bob", "id": number, "text": text}
    return message("said", **{**fields, **different})


# Forged answers ---------------------------------------------------------------


class Searcher:
    """Somebody who looks for rooms, and the address at which forged answers reach them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._senders: dict[tuple[str, int], socket.socket] = {}
        first = self._socket(LOOPBACK)
        monkeypatch.setattr(net, "PORTS", range(port_of(first), port_of(first) + 1))
        self.events: net.Events = queue.Queue()
        self._rooms: tuple[net.FoundRoom, ...] = ()
        finder = net.find_rooms(self.events, ways=[(LOOPBACK, LOOPBACK)])
        stack.callback(finder.join, LIMIT)
        stack.callback(finder.close)
        self._asker = first.recvfrom(2_048)[1]

    def _socket(self, address: str) -> socket.socket:
        sock = self._stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sock.settimeout(LIMIT)
        sock.bind((address, 0))
        return sock

    def answer(self, address: str, room: str, title: str = "Room 7", place: int = 0) -> None:
        """Sends an answer from there; `place`: from which of that address's ports."""
        if (address, place) not in self._senders:
            self._senders[address, place] = self._socket(address)
        sock = self._senders[address, place]
        fields = {"protocol": net.PROTOCOL, "room": room, "title": title, "people": 1, "password": False}
        data = json.dumps(message("room", **fields, port=port_of(sock)), ensure_ascii=False).encode()
        sock.sendto(data, self._asker)

    @property
    def rooms(self) -> tuple[net.FoundRoom, ...]:
        """The newest list."""
        for event in drain(self.events):
            self._rooms = event.rooms
        return self._rooms

    def addresses(self, room: str) -> set[str]:
        """Where the list says that this room is."""
        return {row.address for row in self.rooms if row.room == room}


@pytest.fixture
def searcher(monkeypatch: pytest.MonkeyPatch, stack: contextlib.ExitStack) -> Searcher:
    return Searcher(monkeypatch, stack)


@needs_addresses
def test_a_forged_answer_with_a_rooms_id_does_not_take_over_its_row(searcher: Searcher) -> None:
    searcher.answer(ELSEWHERE, "real")
    until(lambda: searcher.addresses("real") == {ELSEWHERE}, "the room is found")
    searcher.answer(ATTACKER, "real")
    until(lambda: ATTACKER in searcher.addresses("real"), "the forged answer is in the list")
    assert searcher.addresses("real") == {ELSEWHERE, ATTACKER}


@needs_addresses
def test_a_hundred_forged_rooms_do_not_keep_a_real_one_off_the_list(searcher: Searcher) -> None:
    for place in range(net.MAX_ROOMS):
        searcher.answer(ATTACKER, f"forged {place}", place=place)
    until(lambda: len(searcher.rooms) >= net.MAX_ROOMS // 2, "the forged rooms are in the list")

    def is_found() -> bool:
        searcher.answer(ELSEWHERE, "real")  # again and again, as it would when it is asked
        return searcher.addresses("real") == {ELSEWHERE}

    until(is_found, "the real room is in the list")


@needs_addresses
def test_forged_rooms_from_a_hundred_addresses_do_not_push_a_real_one_off_the_list(searcher: Searcher) -> None:
    searcher.answer(ELSEWHERE, "real")
    until(lambda: searcher.addresses("real"), "the room is found")
    last = addresses(net.MAX_ROOMS + 20)[-1]

    def all_are_heard() -> bool:
        for address in addresses(net.MAX_ROOMS + 20):
            searcher.answer(address, "forged")
        return len(searcher.rooms) == net.MAX_ROOMS

    until(all_are_heard, "the list is full")
    searcher.answer(last, "forged", "one more")
    assert searcher.addresses("real") == {ELSEWHERE}


@needs_addresses
def test_a_title_that_takes_long_to_clean_is_dropped_before_it_is_cleaned(searcher: Searcher) -> None:
    searcher.answer(ATTACKER, "forged", "\ufdfa" * 640)  # each is eighteen characters after NFKC
    searcher.answer(ELSEWHERE, "real")
    until(lambda: searcher.addresses("real"), "the real room is found")
    assert [room.room for room in searcher.rooms] == ["real"]


# Tokens -----------------------------------------------------------------------


def test_a_token_that_a_fake_room_learns_is_a_strangers_in_the_real_room(
    open_room: OpenRoom, come: Come, enter: Any, hostile: Callable[[Talk], int]
) -> None:
    learned: queue.Queue[str] = queue.Queue()

    def talk(visit: Visit) -> None:
        visit.receive()
        visit.send(message("hello", protocol=net.PROTOCOL, tls=False))
        learned.put(visit.receive()["token"])
        visit.send(message("refused", code="full", reason=""))

    fake = hostile(talk)
    real = open_room()
    enter(fake, token=net.room_token(SECRET, LOOPBACK, fake))
    _, events = enter(real.port, token=net.room_token(SECRET, LOOPBACK, real.port))
    ann = expect(events, net.Welcome)
    thief = come(real).join("Ann", learned.get(timeout=LIMIT))
    assert thief["who"] != ann.who
    assert thief["name"] == "Ann 2"
    assert len(thief["people"]) == 2


# A hostile room ---------------------------------------------------------------


def events_up_to_loss(events: net.Events) -> list[Any]:
    """All events up to the first `Lost`, which comes last."""
    seen: list[net.Event] = []
    while not seen or not isinstance(seen[-1], net.Lost):
        seen.append(events.get(timeout=LIMIT))
    return seen


BREAKS_A_LIMIT: dict[str, list[Message]] = {
    "80,000 lines": [welcome(), said(1, "\n" * 80_000)],
    "80,000 Chinese characters": [welcome(), said(1, "\u6c49" * 80_000)],
    "long names": [welcome(people=[[number, "x" * 499] for number in range(167)])],
    "last_id 2**53": [welcome(last_id=2**53)],
    "history 2**53": [welcome(history=2**53)],
    "missed 2**53, and then one": [welcome(missed=2**53, history=1)],
    "a name of two hundred lines": [welcome(), said(1, "Hi", name="\n" * 200)],
    "a reason of ten thousand characters": [message("refused", code="removed", reason="x" * 10_000)],
}


@pytest.mark.parametrize("breaks", BREAKS_A_LIMIT)
def test_a_room_that_breaks_a_limit_is_not_a_chat_room_and_the_window_never_sees_the_message(
    enter: Any, hostile: Callable[[Talk], int], breaks: str
) -> None:
    def talk(visit: Visit) -> None:
        visit.receive()
        visit.send(message("hello", protocol=net.PROTOCOL, tls=False))
        visit.receive()
        visit.send(*BREAKS_A_LIMIT[breaks])
        visit.until_left()

    _, events = enter(hostile(talk))
    seen = events_up_to_loss(events)
    assert seen[-1].reason is net.Trouble.NOT_A_ROOM
    assert not [each for each in seen if isinstance(each, (net.Said, net.Refused))]
    assert all(len(str(each)) < 1_000 for each in seen)


def test_a_room_that_more_and_more_people_join_is_not_a_chat_room(enter: Any, hostile: Callable[[Talk], int]) -> None:
    def talk(visit: Visit) -> None:
        visit.let_in()
        for start in range(1, 3_001, 100):
            joined = [message("joined", number=n, time=0, who=n + 2, name="X") for n in range(start, start + 100)]
            visit.send(*joined)
        visit.until_left()

    _, events = enter(hostile(talk))
    seen = events_up_to_loss(events)
    assert seen[-1].reason is net.Trouble.NOT_A_ROOM
    assert sum(isinstance(each, net.Joined) for each in seen) <= net.ROOM_PEOPLE


def test_a_full_room_in_which_others_were_before_is_a_chat_room(enter: Any, hostile: Callable[[Talk], int]) -> None:
    """The welcome names those who are in now; the history that follows may begin with a whole other class."""
    people = [[number, "X"] for number in range(2, net.ROOM_PEOPLE + 2)]
    before = range(1, 501)
    joined = [message("joined", number=n, time=0, who=2_000 + n, name="X") for n in before]
    left = [message("left", number=500 + n, time=0, who=2_000 + n, name="X", reason="left") for n in before]

    def talk(visit: Visit) -> None:
        visit.let_in(people=people, history=1_000)
        visit.send(*joined, *left)
        visit.until_left()

    _, events = enter(hostile(talk))
    expect(events, net.Left, lambda event: event.number == 1_000)


def test_events_without_end_wait_in_the_network_and_not_in_the_clients_memory(
    enter: Any, hostile: Callable[[Talk], int]
) -> None:
    done = threading.Event()
    muted = (json.dumps(message("muted", on=True)).encode() + b"\n") * 2_000

    def talk(visit: Visit) -> None:
        visit.let_in()
        for _ in range(500):
            if not select.select([], [visit.socket], [], 0.5)[1]:
                break
            visit.socket.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                rest = memoryview(muted)
                while rest:
                    rest = rest[visit.socket.send(rest) :]
        done.set()

    _, events = enter(hostile(talk))
    assert done.wait(LIMIT)
    assert events.qsize() < 10_000 + 5_000  # the limit, and what a last look brought


@pytest.mark.parametrize("last_id", [2**52, 2**53])
def test_a_room_that_uses_up_the_ids_does_not_spoil_the_next_one(
    open_room: OpenRoom, enter: Any, hostile: Callable[[Talk], int], stack: contextlib.ExitStack, last_id: int
) -> None:
    def talk(visit: Visit) -> None:
        visit.let_in(last_id=last_id)
        visit.until_left()

    real = open_room()
    proxy = stack.enter_context(Proxy(hostile(talk)))
    client, events = enter(proxy.port)
    expect(events, net.Lost if last_id > net.MAX_SAY_ID else net.Welcome)
    proxy.port_behind = real.port
    proxy.cut()
    expect(events, net.Welcome, lambda event: event.room == real.id)
    client.say("Hello")
    assert expect(events, net.Said).text == "Hello"


@pytest.mark.parametrize("is_in", [False, True])
def test_a_room_that_sends_single_bytes_is_silent(
    enter: Any, hostile: Callable[[Talk], int], monkeypatch: pytest.MonkeyPatch, is_in: bool
) -> None:
    monkeypatch.setattr(net, "SILENCE", 0.5)
    monkeypatch.setattr(net, "FIRST_MESSAGE", 0.5)
    monkeypatch.setattr(net, "TICK", 0.05)

    def talk(visit: Visit) -> None:
        if is_in:
            visit.let_in()
        while True:
            visit.socket.sendall(b" ")
            time.sleep(0.02)  # this is the attack

    _, events = enter(hostile(talk))
    assert expect(events, net.Lost).reason is net.Trouble.SILENT


OWN_CODES = ["password", "wrong", "open", "unproven", "failed", "over", "cancelled", "disk_full"]


@pytest.mark.parametrize("code", OWN_CODES)
def test_a_room_cannot_refuse_in_the_words_that_are_the_programs_own(
    enter: Any, hostile: Callable[[Talk], int], code: str
) -> None:
    """For example, one that says "password" would make the window ask for the password of the real room."""

    def talk(visit: Visit) -> None:
        visit.receive()
        visit.send(message("refused", code=code, reason="Your school account has expired. Open http://example.com"))
        visit.until_left()

    _, events = enter(hostile(talk))
    assert expect(events, net.Lost).reason is net.Trouble.NOT_A_ROOM


# Admission --------------------------------------------------------------------


def honest_people_get_in(room: net.Server, come: Come, sources: list[str]) -> None:
    for source in sources:
        assert come(room, source).join("Honest")["type"] == "welcome"


@needs_addresses
def test_silent_connections_from_many_addresses_keep_nobody_out(
    open_room: OpenRoom, come: Come, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "SPARE_CONNECTIONS", 50)
    room = open_room(limit=50, rate=20.0)
    for source in addresses(28) * 5:
        come(room, source)
    honest_people_get_in(room, come, [LOOPBACK] * 11)


@needs_addresses
def test_slow_transfers_keep_nobody_out(open_room: OpenRoom, come: Come, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "SPARE_CONNECTIONS", 50)
    room = open_room(limit=50)
    for _ in range(10):
        person = come(room, ATTACKER)
        person.join("Slow")
        for _ in range(12):
            upload = come(room, ATTACKER)
            upload.hello()
            upload.send(message("upload", token=person.token, file=secrets.token_hex(16), filename="a", size=9))
    honest_people_get_in(room, come, [LOOPBACK] * 11)


@needs_addresses
@pytest.mark.parametrize("first", ["join", "upload"])
def test_one_token_that_knocks_again_and_again_keeps_nobody_out(
    open_room: OpenRoom, come: Come, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """Every return and every transfer costs a unit. While somebody waits for theirs, a reader waits with them."""
    monkeypatch.setattr(net, "SPARE_CONNECTIONS", 30)
    room = open_room(limit=10, rate=0.5)
    bob = come(room, ATTACKER)
    bob.join("Bob")
    asks = {
        "join": message("join", name="Bob", token=bob.token, room=None, after=0),
        "upload": message("upload", token=bob.token, file=NOBODY, filename="a", size=9),
    }
    knock(room, come, asks[first], 100)

    def is_in() -> bool:
        with contextlib.suppress(OSError, AssertionError), Wire(room.port, source=ELSEWHERE) as honest:
            return bool(honest.try_to_join("Honest")["type"] == "welcome")
        return False

    until(is_in, "an honest person is in")


def knock(room: net.Server, come: Come, ask: Message, times: int) -> None:
    """Asks for this on one new connection after the other, without waiting for any answer."""
    for _ in range(times):
        connection = come(room, ATTACKER)
        with contextlib.suppress(OSError):  # it may have been cut already
            connection.send(message("hello", protocol=net.PROTOCOL, tls=False))
            connection.send(ask)


@needs_addresses
def test_what_one_person_asks_for_too_often_is_no_debt_of_the_neighbours(open_room: OpenRoom, come: Come) -> None:
    room = open_room(rate=1.0)  # 10 units at once and 10 a second for the whole address
    bob, neighbour = come(room, ATTACKER), come(room, ATTACKER)
    bob.join("Bob")
    neighbour.join("Ann")
    knock(room, come, message("join", name="Bob", token=bob.token, room=None, after=0), 400)
    neighbour.say(1, "Hello")
    neighbour.receive_until("said")


def test_a_class_behind_one_address_is_in_at_once(open_room: OpenRoom, enter: Any) -> None:
    room = open_room(rate=20.0)
    pupils = [enter(room.port, f"Pupil {number}")[1] for number in range(30)]
    for events in pupils:
        first = events.get(timeout=LIMIT)
        assert isinstance(first, net.Welcome), first


@needs_addresses
def test_a_class_behind_one_address_elsewhere_is_in_at_once(open_room: OpenRoom, come: Come) -> None:
    honest_people_get_in(open_room(rate=20.0), come, [ELSEWHERE] * 30)


@needs_addresses
def test_joins_that_are_refused_keep_no_neighbour_out(open_room: OpenRoom, come: Come) -> None:
    """Otherwise one pupil could keep a class behind one address out, and the host would see nobody do it."""
    room = open_room(rate=20.0)
    for _ in range(50):
        assert come(room, ELSEWHERE).try_to_join("\u200b")["code"] == "bad"
    honest_people_get_in(room, come, [ELSEWHERE] * 30)


# Files ------------------------------------------------------------------------


@needs_addresses
def test_one_pupil_cannot_share_so_many_files_that_others_cannot(open_room: OpenRoom, come: Come) -> None:
    room = open_room(rate=10_000.0)
    bob = come(room, ATTACKER)
    bob.join("Bob")
    answers = [come_and_upload(room, ATTACKER, bob.token)["type"] for _ in range(201)]
    assert answers == ["stored"] * 200 + ["refused"]
    ann = come(room, ELSEWHERE)
    ann.join("Ann")
    assert come_and_upload(room, ELSEWHERE, ann.token)["type"] == "stored"
    room.remove(2, True)
    assert len([each for each in come(room).join("Latecomer")["people"] if each[1] == "Bob"]) == 0
    carol = come(room, ATTACKER)
    assert carol.try_to_join("Carol")["code"] == "removed"


def come_and_upload(room: net.Server, source: str, token: str, data: bytes = b"") -> Message:
    with Wire(room.port, source=source) as sharing:
        return sharing.upload(token, data)


def test_four_addresses_cannot_share_so_many_files_that_the_host_cannot() -> None:
    files = net.Files(100, 10_000, 1_000)

    def store(who: int, address: str) -> None:
        owner = net.Person(who, secrets.token_hex(16), "X", address)
        file_id = secrets.token_hex(16)
        files.finish(files.begin(owner, net.Upload(owner.token, file_id, "a", 0)), file_id)

    with contextlib.closing(files):
        for number in range(800):
            store(2 + number, addresses(4)[number % 4])
        with pytest.raises(net.ProtocolError) as full:
            store(1_000, "127.0.2.1")
        assert full.value.code == "space"
        store(net.HOST, LOOPBACK)


@needs_addresses
def test_uploads_that_only_say_how_large_they_are_take_nothing_from_others(open_room: OpenRoom, come: Come) -> None:
    room = open_room(rate=10_000.0, max_file=100_000, max_store=1_000_000)
    for number in range(5):
        person = come(room, ATTACKER)
        person.join(f"Bob {number}")
        for _ in range(2):
            upload = come(room, ATTACKER)
            if upload.begin_upload(person.token, 100_000)["type"] == "ready":
                upload.send_bytes(b"four")
    ann = come(room, ELSEWHERE)
    ann.join("Ann")
    assert come_and_upload(room, ELSEWHERE, ann.token, bytes(100_000))["type"] == "stored"
    host = come(room)
    host.join("", room.token)
    assert come_and_upload(room, LOOPBACK, room.token, bytes(100_000))["type"] == "stored"


def test_two_uploads_with_one_id_are_one_file_that_is_gone_once_it_is_deleted(open_room: OpenRoom, come: Come) -> None:
    """Otherwise the first of the two would take space that nothing but the end of the room gives back."""
    room = open_room(max_file=100, max_store=100)
    host = come(room)
    host.join("", room.token)
    bob = come(room)
    bob.join("Bob")
    file = secrets.token_hex(16)
    first, second = come(room), come(room)
    for upload, token in ((first, room.token), (second, bob.token)):
        assert upload.begin_upload(token, 30, file=file)["type"] == "ready"
    digest = hashlib.sha256(bytes(30)).hexdigest()
    for upload in (first, second):
        upload.send_bytes(bytes(30))
        upload.send(message("sent", sha256=digest))
        assert upload.receive_until("stored")
    shared = host.receive_until("shared")
    room.delete(shared["number"])
    host.receive_until("taken_back")
    assert come_and_upload(room, LOOPBACK, room.token, bytes(100))["type"] == "stored"


# Bytes instead of messages ----------------------------------------------------


def test_a_long_text_costs_more_than_a_short_one(open_room: OpenRoom, come: Come) -> None:
    check_that_the_next_message_must_wait(
        open_room, come, json.dumps(message("say", id=1, text="\U0001f600" * 4_000)).encode() + b"\n"
    )


def test_a_ping_with_many_numbers_costs_more_than_a_ping(open_room: OpenRoom, come: Come) -> None:
    numbers = b",".join([b"1"] * 32_000)
    check_that_the_next_message_must_wait(open_room, come, b'{"type":"ping","numbers":[' + numbers + b"]}\n")


def check_that_the_next_message_must_wait(open_room: OpenRoom, come: Come, line: bytes) -> None:
    """After this line, which costs dozens of units, somebody else is heard first."""
    room = open_room(rate=1.0)
    eve, bob, ann = (come(room) for _ in range(3))
    for person, name in ((eve, "Eve"), (bob, "Bob"), (ann, "Ann")):
        person.join(name)
    eve.send_bytes(line)
    eve.say(2, "Me first")
    eve.ping()
    bob.say(1, "Hello")
    first = ann.receive_until("said")
    assert (first["name"], first["text"]) == ("Bob", "Hello")


def test_from_outside_a_long_line_is_refused(open_room: OpenRoom, come: Come) -> None:
    room = open_room()
    stranger = come(room)
    stranger.send(message("hello", protocol=net.PROTOCOL, tls=False, numbers=[1] * 2_000))
    answer = stranger.receive()
    assert answer is not None
    assert (answer["type"], answer["code"]) == ("refused", "bad")


def visit(dialer: net.Dialer, stack: contextlib.ExitStack, deadline: net.Deadline) -> net.Connection:
    """A connection to a room with a password, as far as the first message."""
    connection = dialer.connect(lambda: True)
    stack.callback(connection.close)
    dialer.exchange_hellos(connection, deadline)
    return connection


@needs_tls
def test_tls_that_carries_next_to_nothing_costs_units(open_room: OpenRoom) -> None:
    """The same as key updates, for which Python has no function: many records, and no message."""
    room = open_room(rate=1.0, password=SECRET)
    dialer = net.Dialer(LOOPBACK, room.port, SECRET)
    deadline = net.Deadline(LIMIT)
    with contextlib.ExitStack() as stack:
        eve, bob, ann = (visit(dialer, stack, deadline) for _ in range(3))
        for person, name in ((eve, "Eve"), (bob, "Bob"), (ann, "Ann")):
            person.send_unjoined(net.Join(name, secrets.token_hex(16), None, 0))
            person.wait_for_line(deadline)
        for _ in range(2_000):
            eve.send_bytes(b" ", deadline)
        eve.send_bytes(net.encode(net.Say(1, "Me first")), deadline)
        bob.send_bytes(net.encode(net.Say(1, "Hello")), deadline)
        while not isinstance(first := net.decode(ann.wait_for_line(deadline), net.FROM_ROOM), net.Said):
            pass
        assert (first.name, first.text) == ("Bob", "Hello")


@needs_tls
def test_an_upload_in_which_tls_carries_next_to_nothing_is_cut(open_room: OpenRoom) -> None:
    room = open_room(password=SECRET)
    dialer = net.Dialer(LOOPBACK, room.port, SECRET)
    deadline = net.Deadline(LIMIT)

    def send_a_byte_in_each_record() -> None:
        for _ in range(2**16):
            upload.send_bytes(b"x", deadline)

    with contextlib.ExitStack() as stack:
        bob, upload = visit(dialer, stack, deadline), visit(dialer, stack, deadline)
        token = secrets.token_hex(16)
        bob.send_unjoined(net.Join("Bob", token, None, 0))
        bob.wait_for_line(deadline)
        upload.send_unjoined(net.Upload(token, NOBODY, "a", 2**20))
        assert isinstance(net.decode(upload.wait_for_line(deadline), net.FILE_FROM_ROOM), net.Ready)
        with pytest.raises(net.ConnectionLost):
            send_a_byte_in_each_record()


# Bans -------------------------------------------------------------------------


@needs_addresses
def test_a_removed_person_who_knocks_from_many_addresses_shuts_nobody_else_out(open_room: OpenRoom, come: Come) -> None:
    room = open_room()
    bob = come(room, ATTACKER)
    who = bob.join("Bob")["who"]
    room.remove(who, True)
    for source in addresses(36):
        assert come(room, source).try_to_join("Bob", bob.token)["code"] == "removed"
    for source in addresses(36):
        assert come(room, source).join("Stranger")


@needs_addresses
@pytest.mark.parametrize("removes", [False, True])
def test_one_pupil_of_many_behind_one_address_is_muted_or_removed_alone(
    open_room: OpenRoom, come: Come, removes: bool
) -> None:
    room = open_room()
    pupils = [come(room, ELSEWHERE) for _ in range(9)]
    whos = [pupil.join(f"Pupil {number}")["who"] for number, pupil in enumerate(pupils)]
    if removes:
        room.remove(whos[0], True)
    else:
        room.mute(whos[0], True)
    for pupil in pupils[1:]:
        pupil.say(1, "I am still here")
        while pupil.receive_until("said")["who"] != whos[pupils.index(pupil)]:
            pass
    newcomer = come(room, ELSEWHERE)
    assert newcomer.join("Newcomer")["muted"] is False


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_who_is_given_a_muted_pupils_address_much_later_is_not_muted() -> None:
    clock = Clock()
    room = net.Room("Room 7", clock=clock)

    def join(name: str) -> tuple[net.Person, net.Feed]:
        feed = net.Feed()
        return room.join(net.Join(name, secrets.token_hex(16), None, 0), ELSEWHERE, feed), feed

    bob, feed = join("Bob")
    room.mute(bob.who, True)
    room.leave(bob, feed)
    clock.now += net.SPREAD_TIME - 1
    again, feed = join("Bob again")
    assert again.muted is not None
    room.leave(again, feed)
    clock.now += net.SPREAD_TIME + 1
    assert join("Ann")[0].muted is None


@needs_addresses
def test_a_removed_pupil_who_starts_the_program_again_stays_out(open_room: OpenRoom, come: Come) -> None:
    room = open_room()
    who = come(room, ATTACKER).join("Bob")["who"]
    room.remove(who, True)
    assert come(room, ATTACKER).try_to_join("Somebody new")["code"] == "removed"
    assert come(room, ELSEWHERE).join("Ann")


@needs_addresses
def test_a_second_person_kept_in_reserve_does_not_help_a_removed_pupil_for_long(
    open_room: OpenRoom, come: Come
) -> None:
    room = open_room()
    whos = [come(room, ATTACKER).join(name)["who"] for name in ("Bob", "Bob's reserve")]
    for who in whos:
        room.remove(who, True)
    assert come(room, ATTACKER).try_to_join("Bob is back")["code"] == "removed"


# Names ------------------------------------------------------------------------


@needs_addresses
def test_a_muted_person_cannot_talk_by_leaving_and_joining_under_new_names(open_room: OpenRoom, come: Come) -> None:
    room = open_room()
    ann = come(room)
    ann.join("Ann")
    bob = come(room, ATTACKER)
    who = bob.join("Bob")["who"]
    while ann.receive_until("joined")["name"] != "Bob":
        pass
    room.mute(who, True)
    bob.leave()
    for token in (bob.token, None, None):
        again = come(room, ATTACKER)
        again.join("Ann is a liar", token)
        assert ann.receive_until("joined")["name"].startswith("Guest ")
        again.leave()


LIKE_THE_HOSTS = [
    *["Mr. Lee", "Mr-Lee", "MrLee", "Mr L\u0435\u0435", "Mr L\u1eb9e", "Mr\U0001d159Lee"],
    *["Mr Iee", "Mr 1ee", "Mr |ee", "Mr \u04c0ee"],  # things that look like a small l
    *["M\u0280 L\u1d07\u1d07", "\U0001f17c\U0001f181 \U0001f17b\U0001f174\U0001f174"],  # small and boxed capitals
    *["\U0001f1f2\U0001f1f7 \U0001f1f1\U0001f1ea\U0001f1ea", "\U0001d4dc\U0001d4fb \U0001d4db\U0001d4ee\U0001d4ee"],
]


@pytest.mark.parametrize("name", LIKE_THE_HOSTS)
def test_a_name_like_the_hosts_is_refused(open_room: OpenRoom, come: Come, name: str) -> None:
    assert come(open_room(host_name="Mr Lee")).try_to_join(name)["type"] == "refused"


# What is left of a lesson -----------------------------------------------------


def test_a_latecomer_gets_the_worksheet_however_much_was_said_since(open_room: OpenRoom, come: Come) -> None:
    room = open_room(history=4)
    ann = come(room)
    ann.join("Ann")
    file = secrets.token_hex(16)
    with Wire(room.port) as sharing:
        assert sharing.upload(ann.token, b"1 + 1 =", "worksheet.txt", file)["type"] == "stored"
    for number in range(1, 21):
        ann.say(number, "Chatter")
        ann.receive_until("said")
    latecomer = come(room)
    assert latecomer.join("Latecomer")["files"] == 1
    shared = latecomer.receive()
    assert shared is not None
    assert (shared["type"], shared["file"]) == ("shared", file)
    with Wire(room.port) as saving:
        assert saving.download(latecomer.token, file)["size"] == 7
        assert saving.receive_bytes(7) == b"1 + 1 ="


# Passwords --------------------------------------------------------------------


@needs_tls
def test_guesses_in_parallel_are_counted_one_by_one(open_room: OpenRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "FIRST_MESSAGE", LIMIT)
    at_once, per_second = net.GUESSES
    told: net.Events = queue.Queue()
    room = open_room(password=SECRET, events=told)
    outcomes: list[str] = []
    together = threading.Barrier(48)

    def guess() -> None:
        guesser = net.Dialer(LOOPBACK, room.port, "not it")  # each a program of its own
        connection = guesser.connect(lambda: True)
        try:
            together.wait(LIMIT)
            guesser.exchange_hellos(connection, net.Deadline(LIMIT))
            outcomes.append("in")
        except net.VisitEnded as ended:
            outcomes.append(getattr(ended.event, "code", "closed"))
        except net.ConnectionLost:
            outcomes.append("not judged")
        finally:
            connection.close()

    began = time.monotonic()
    guessers = [threading.Thread(target=guess) for _ in range(48)]
    for thread in guessers:
        thread.start()
    for thread in guessers:
        thread.join()
    assert len(outcomes) == 48
    assert "in" not in outcomes
    judged = outcomes.count("wrong")
    assert 1 <= judged <= at_once + 1 + per_second * (time.monotonic() - began)
    assert expect(told, net.WrongPassword).address == LOOPBACK


# A fault inside ---------------------------------------------------------------


def run_out_of_memory(*_arguments: object, **_keywords: object) -> Any:
    raise MemoryError


def test_a_sender_without_memory_closes_the_room_and_says_so(
    open_room: OpenRoom, come: Come, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told: net.Events = queue.Queue()
    room = open_room(events=told)
    ann = come(room)
    ann.join("Ann")
    next_piece = net.Room.next_piece

    def fail_once(*_arguments: object) -> bytes | None:
        monkeypatch.setattr(net.Room, "next_piece", next_piece)
        raise MemoryError

    monkeypatch.setattr(net.Room, "next_piece", fail_once)
    ann.say(1, "Hello")
    assert [each["type"] for each in ann.receive_all()][-1] == "closed"
    expect(told, net.RoomFailed)
    check_that_nobody_answers(room)
    caplog.clear()


def test_a_sender_that_stays_without_memory_leaves_nobody_waiting(
    open_room: OpenRoom, come: Come, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told: net.Events = queue.Queue()
    room = open_room(events=told)
    ann = come(room)
    ann.join("Ann")
    monkeypatch.setattr(net.Room, "next_piece", run_out_of_memory)
    ann.say(1, "Hello")
    ann.receive_all()
    expect(told, net.RoomFailed)
    check_that_nobody_answers(room)
    caplog.clear()


def test_an_accept_thread_without_memory_closes_the_room_and_says_so(
    open_room: OpenRoom, come: Come, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told: net.Events = queue.Queue()
    room = open_room(events=told)
    ann = come(room)
    ann.join("Ann")
    with monkeypatch.context() as patch:
        patch.setattr(net, "Connection", run_out_of_memory)
        come(room)
        assert [each["type"] for each in ann.receive_all()][-1] == "closed"
    expect(told, net.RoomFailed)
    check_that_nobody_answers(room)
    caplog.clear()


def test_without_memory_for_another_reader_those_who_are_in_go_on(
    open_room: OpenRoom, come: Come, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = open_room()
    ann = come(room)
    ann.join("Ann")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", run_out_of_memory)
        assert come(room).receive() is None
    ann.say(1, "Hello")
    ann.receive_until("said")
    assert come(room).join("Bob")


def check_that_nobody_answers(room: net.Server) -> None:
    """Instead of a room that takes connections and says nothing."""

    def is_closed() -> bool:
        try:
            socket.create_connection((LOOPBACK, room.port), LIMIT).close()
        except OSError:
            return True
        return False

    until(is_closed, "nobody listens any more")


def test_a_finder_without_memory_leaves_the_room_open_and_tells_the_host(
    open_room: OpenRoom, come: Come, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told: net.Events = queue.Queue()
    room = open_room(events=told)
    expect(told, net.Reachable, lambda event: event.findable)
    with monkeypatch.context() as patch, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        patch.setattr(net, "RoomHere", run_out_of_memory)
        asker.sendto(json.dumps(message("find", protocol=net.PROTOCOL)).encode(), (LOOPBACK, room.port))
        expect(told, net.Reachable, lambda event: not event.findable)
    assert come(room).join("Ann")
    caplog.clear()


# Lines ------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [net.MAX_DEPTH + 1, 1_000, 30_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_brackets_too_deep_are_counted_before_anything_parses_them(opening: str, closing: str, depth: int) -> None:
    line = '{"type":"ping","x":' + opening * depth + "0" + closing * depth + "}"
    with pytest.raises(net.ProtocolError, match="brackets"):
        net.decode(line.encode(), net.IN_THE_ROOM)


def test_brackets_hidden_behind_quotes_and_backslashes_are_counted_too() -> None:
    for string in ('"', '\\"', '\\\\"', '\\\\\\"', '"]"', '[\\"'):
        text = json.dumps(string)
        line = f'{{"type":"ping","s":{text},"x":' + "[" * 1_000 + "]" * 1_000 + "}"
        with pytest.raises(net.ProtocolError, match="brackets"):
            net.decode(line.encode(), net.IN_THE_ROOM)


def test_brackets_in_a_text_are_just_characters(open_room: OpenRoom, come: Come) -> None:
    ann = come(open_room())
    ann.join("Ann")
    ann.say(1, "[{" * 2_000)
    assert ann.receive_until("said")["text"] == "[{" * 2_000


def test_a_room_survives_brackets_too_deep_for_a_small_stack(open_room: OpenRoom, come: Come) -> None:
    size = threading.stack_size(256 * 1024)
    try:
        room = open_room()
        eve, ann = come(room), come(room)
    finally:
        threading.stack_size(size)
    eve.join("Eve")
    ann.join("Ann")
    eve.send_bytes(b'{"type":"ping","x":' + b"[" * 30_000 + b"]" * 30_000 + b"}\n")
    assert eve.receive_until("refused")["code"] == "bad"
    ann.say(1, "Hello")
    assert ann.receive_until("said")


@pytest.mark.parametrize("now", [-86_400.0, 1e18])
def test_a_clock_before_1970_or_after_3000_writes_times_that_clients_accept(now: float) -> None:
    room = net.Room("Room 7", now=lambda: now)
    feed = net.Feed()
    ann = room.join(net.Join("Ann", secrets.token_hex(16), None, 0), LOOPBACK, feed)
    room.say(ann, feed, 1, "Hello", None)
    lines: list[bytes] = []
    while (piece := room.next_piece(feed, {})) is not None:
        lines += piece.splitlines()
    told = [net.decode(line, net.FROM_ROOM) for line in lines]
    assert [type(each) for each in told] == [net.Welcome, net.Joined, net.Said]
