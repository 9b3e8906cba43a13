"""The room, seen from outside: people who speak the bare protocol to it over real sockets.

What needs no socket (names, the history, who may write) is tested in tests/test_rules.py.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import net
from tests.conftest import OpenRoom, open_sockets
from tests.helpers import LIMIT, LOOPBACK, Message, Wire, expect, message, port_of, until
from tests.test_finding import own_ports


class Member(Wire):
    """Somebody in the room."""

    def __init__(
        self, server: net.Server, name: str, *, token: str | None = None, room: str | None = None, after: int = 0
    ) -> None:
        super().__init__(server.port)
        self.last_id = 0
        try:
            self.welcome = self.join(name, token, room, after)
        except BaseException:
            self.close()
            raise
        self.who = int(self.welcome["who"])

    def says(self, text: str) -> None:
        self.last_id += 1
        self.say(self.last_id, text)

    def hears(self, text: str) -> Message:
        while (said := self.receive_until("said"))["text"] != text:
            pass
        return said

    def sees(self, kind: str, name: str) -> Message:
        while (event := self.receive_until(kind))["name"] != name:
            pass
        return event

    def next(self) -> Message:
        received = self.receive()
        assert received is not None, "the connection ended"
        return received


Enter = Callable[..., Member]


@pytest.fixture
def enter(stack: contextlib.ExitStack) -> Enter:
    """Lets people in: enter(room, name)."""
    return lambda *who, **how: stack.enter_context(contextlib.closing(Member(*who, **how)))


@pytest.fixture
def room(open_room: OpenRoom) -> net.Server:
    return open_room()


@pytest.fixture
def alice(room: net.Server, enter: Enter) -> Member:
    return enter(room, "Alice")


@pytest.fixture
def bob(room: net.Server, enter: Enter) -> Member:
    return enter(room, "Bob")


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost person is given up soon."""
    monkeypatch.setattr(net, "BACK_WITHIN", 0.1)


def refusal(port: int, name: str = "Mallory") -> Message:
    """What the room says instead of a welcome; the connection ends after it."""
    with Wire(port) as wire:
        answer = wire.try_to_join(name)
        assert answer["type"] == "refused", answer
        assert answer["reason"]
        assert wire.receive_all() == []
    return answer


# Coming in -----------------------------------------------------------------------------------------------------------


def test_a_newcomer_gets_a_welcome_and_the_history_with_the_times_of_the_rooms_clock(
    room: net.Server, alice: Member, enter: Enter
) -> None:
    alice.says("hello")
    alice.hears("hello")
    before = time.time()
    ann = enter(room, "Ann")
    assert (ann.welcome["room"], ann.welcome["title"]) == (room.id, "Room 7")
    assert (ann.welcome["files"], ann.welcome["missed"], ann.welcome["history"]) == (0, 0, 3)
    first, said, last = (ann.next() for _ in range(3))
    assert (first["type"], first["number"], first["name"]) == ("joined", 1, "Alice")
    assert (said["type"], said["number"], said["id"], said["text"]) == ("said", 2, 1, "hello")
    assert (last["type"], last["number"], last["name"]) == ("joined", 3, "Ann")
    assert before - 1 < last["time"] < time.time() + 1


def test_latecomers_get_the_worksheet_however_much_was_said_since(open_room: OpenRoom, enter: Enter) -> None:
    room = open_room(history=2)
    alice = enter(room, "Alice")
    with Wire(room.port) as wire:
        assert wire.upload(alice.token, b"1 + 1 =", "worksheet.txt")["type"] == "stored"
    for text in "abcde":
        alice.says(text)
        alice.hears(text)  # one by one: a person who is too slow for so short a history falls out of it
    ann = enter(room, "Ann")
    assert (ann.welcome["files"], ann.welcome["history"]) == (1, 2)
    shared = ann.next()
    assert (shared["type"], shared["filename"]) == ("shared", "worksheet.txt")
    assert [ann.next()["number"] for _ in range(2)] == [7, 8]
    with Wire(room.port) as wire:
        assert wire.receive_bytes(wire.download(ann.token, shared["file"])["size"]) == b"1 + 1 ="


def test_newcomers_in_the_middle_of_a_flood_get_every_number_once(
    room: net.Server, alice: Member, enter: Enter
) -> None:
    def flood() -> None:
        for number in range(1500):
            alice.says(str(number))

    flooding = threading.Thread(target=flood)
    flooding.start()
    newcomers = []
    for i in range(6):
        newcomers.append(enter(room, f"Newcomer {i}"))
        alice.hears(str(200 * i))  # so that they come at different times
    flooding.join(LIMIT)
    for newcomer in newcomers:
        seen = [newcomer.next()]
        while seen[-1].get("text") != "1499":
            seen.append(newcomer.next())
        assert [event["number"] for event in seen] == list(range(1, len(seen) + 1))
        assert [event["text"] for event in seen if event["type"] == "said"] == [str(i) for i in range(1500)]


def test_the_rooms_own_token_makes_the_host(room: net.Server, alice: Member, enter: Enter) -> None:
    assert alice.who != net.HOST  # although she was first
    host = enter(room, "a name of no importance", token=room.token)
    assert (host.who, host.welcome["name"]) == (net.HOST, room.host_name)


def test_a_full_room_refuses_until_somebody_has_left(open_room: OpenRoom, enter: Enter) -> None:
    room = open_room(limit=2)
    alice, bob = enter(room, "Alice"), enter(room, "Bob")
    assert refusal(room.port)["code"] == "full"
    bob.leave()
    alice.sees("left", "Bob")
    enter(room, "Ann")


def test_a_name_that_looks_like_the_hosts_is_refused(open_room: OpenRoom) -> None:
    assert refusal(open_room(host_name="Mr Lee").port, "Mr Lée (host)")["code"] == "bad"


@pytest.mark.parametrize(
    "wrong",
    [
        {"title": "\u200b"},
        {"host_name": " "},
        {"port": -1},
        {"port": 65536},
        {"history": 0},
        {"limit": 0},
        {"limit": net.MAX_PEOPLE + 1},
        {"rate": 0},
        {"rate": -1.0},
        {"max_file": -1},
        {"max_store": -1},
    ],
)
def test_a_room_that_cannot_exist_is_the_callers_mistake(open_room: OpenRoom, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"title|port|above 0|bytes"):
        open_room(**wrong)


# Lines ---------------------------------------------------------------------------------------------------------------


def test_each_line_is_cleaned_and_answered_in_order(alice: Member, bob: Member) -> None:
    for text in ("a\rb\r\nc", "", "\x1b[31mred", "x" * 4001, "last"):
        alice.says(text)
    alice.receive_until("joined")
    answers = [answer for answer in (alice.next() for _ in range(6)) if answer["type"] != "joined"]
    assert [(answer["id"], answer.get("code", answer["type"])) for answer in answers] == [
        (1, "said"), (2, "empty"), (3, "said"), (4, "long"), (5, "said"),
    ]  # fmt: skip
    assert [bob.receive_until("said")["text"] for _ in range(3)] == ["a\nb\nc", "[31mred", "last"]


def test_a_line_that_is_too_long_for_the_room_is_refused_and_the_others_go_on(alice: Member, bob: Member) -> None:
    alice.says("x" * net.MAX_LINE_TO_ROOM)
    assert alice.receive_until("refused")["code"] == "bad"
    bob.says("fine")
    bob.hears("fine")


# One person, one place -----------------------------------------------------------------------------------------------


@pytest.fixture
def long_farewell(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this computer is, everything that is still sent is read and dropped in time."""
    monkeypatch.setattr(net, "LAST_WORDS", LIMIT)


@pytest.mark.usefixtures("long_farewell")
@pytest.mark.parametrize("last", [message("say", id=1, text="not heard"), message("leave"), message("junk"), None])
def test_an_older_connection_of_the_same_person_is_closed_and_not_listened_to(
    room: net.Server, alice: Member, bob: Member, enter: Enter, last: Message | None
) -> None:
    again = enter(room, "Bob", token=bob.token)
    assert again.who == bob.who
    if last is not None:
        bob.send(last)
    assert bob.receive_all()[-1]["type"] == "closed"
    bob.close()
    again.says("from the new one")
    events = [alice.next() for _ in range(3)]
    assert [event["type"] for event in events] == ["joined", "joined", "said"]  # neither `left` nor another `joined`
    assert events[-1]["text"] == "from the new one"


def test_a_person_who_is_back_in_time_has_neither_left_nor_joined(
    room: net.Server, alice: Member, bob: Member, enter: Enter
) -> None:
    readers = len(room_threads(room))
    bob.close()
    again = enter(room, "Bob", token=bob.token)
    again.says("back")
    assert [alice.next()["type"] for _ in range(3)] == ["joined", "joined", "said"]
    until(lambda: len(room_threads(room)) == readers, "nobody waits for Bob any longer")


@pytest.mark.usefixtures("soon")
def test_a_person_who_is_not_back_in_time_has_left(alice: Member, bob: Member) -> None:
    bob.close()
    left = alice.receive_until("left")
    assert (left["who"], left["name"], left["reason"]) == (bob.who, "Bob", "lost")


def test_what_was_said_before_leaving_is_heard_and_what_comes_after_is_not(alice: Member, bob: Member) -> None:
    bob.says("bye")
    bob.leave()
    bob.says("not any more")
    alice.hears("bye")
    left = alice.next()
    assert (left["who"], left["name"], left["reason"]) == (bob.who, "Bob", "left")
    alice.says("marker")
    assert alice.next()["text"] == "marker"
    assert bob.receive_all()[-1] == left  # and nobody tells Bob that it is over: his program knows


def test_a_leaving_is_seen_at_once_whatever_comes_behind_it(
    alice: Member, bob: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "LAST_WORDS", 2 * LIMIT)  # nobody has to wait for the end of Bob's connection,
    monkeypatch.setattr(net, "PING_AFTER", 2 * LIMIT)  # or for the next time that the sender wakes anyway
    bob.send_bytes(net.encode(net.Leave()) + net.encode(net.Ping()))
    alice.sees("left", "Bob")


def test_a_person_who_left_is_not_lost_as_well(
    room: net.Server, alice: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost, back, and gone on purpose: the reader that waits for the return must not report a second going."""
    monkeypatch.setattr(net, "BACK_WITHIN", 2 * LIMIT)
    readers = len(room_threads(room))
    for number in range(20):
        token = f"{number:032x}"
        with Wire(room.port) as bob:
            bob.join("Bob", token)
        with Wire(room.port) as bob:
            bob.hello()
            # In one packet, so that the leaving follows the coming as closely as possible.
            bob.send_bytes(net.encode(net.Join("Bob", token, None, 0)) + net.encode(net.Leave()))
            bob.receive_all()
        assert alice.receive_until("left")["reason"] == "left"
    until(lambda: len(room_threads(room)) == readers, "nobody waits for Bob any longer")
    alice.says("marker")
    assert alice.next()["text"] == "marker"


# Last words ----------------------------------------------------------------------------------------------------------

MUCH_JUNK = b"junk\n" + b"more junk\n" * 100_000  # 1 MB


def send_junk(wire: Wire) -> None:
    """Most of it cannot even be sent before the room refuses it: it does not fit the buffers."""
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 1024)
    wire.send_bytes(MUCH_JUNK)


@pytest.mark.usefixtures("long_farewell")
def test_a_refusal_arrives_although_the_other_side_is_still_sending(alice: Member) -> None:
    send_junk(alice)
    assert alice.receive_until("refused")["code"] == "bad"


@pytest.mark.usefixtures("long_farewell")
def test_a_refusal_before_joining_arrives_although_the_other_side_is_still_sending(room: net.Server) -> None:
    with Wire(room.port) as wire:
        send_junk(wire)
        assert wire.receive_until("refused")["code"] == "bad"


@pytest.mark.usefixtures("long_farewell")
@pytest.mark.parametrize(("last", "answer"), [("junk", "refused"), ("leave", "left")])
def test_answers_and_last_words_arrive_although_the_other_side_has_shut_down(
    alice: Member, last: str, answer: str
) -> None:
    """It says 6 MB and only then begins to listen, so that most of the answers are still to be written."""
    for number in range(1500):
        alice.says(f"{number} " + "x" * 3900)
    alice.send(message(last))
    alice.socket.shutdown(socket.SHUT_WR)
    messages = alice.receive_all()
    said = [each["text"].split()[0] for each in messages if each["type"] == "said"]
    assert said == [str(number) for number in range(1500)]
    assert messages[-1]["type"] == answer


@pytest.mark.usefixtures("long_farewell")
def test_a_closing_room_tells_people_who_are_still_sending(
    open_room: OpenRoom, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "CLOSE_TIME", LIMIT)
    room = open_room(history=10**6)  # however much she has not read yet, she does not fall out of it
    alice = enter(room, "Alice")

    def talk() -> None:
        with contextlib.suppress(OSError):
            while True:
                alice.says("and another thing")

    talking = threading.Thread(target=talk)
    talking.start()
    alice.hears("and another thing")
    closing = threading.Thread(target=room.close)
    closing.start()
    assert alice.receive_until("closed")["reason"]
    alice.socket.shutdown(socket.SHUT_RDWR)
    talking.join(LIMIT)
    closing.join(LIMIT)


# Silence -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The room looks at the clock often, and soon pings."""
    monkeypatch.setattr(net, "TICK", 0.02)
    monkeypatch.setattr(net, "PING_AFTER", 0.1)


@pytest.mark.usefixtures("quick")
def test_a_person_who_is_silent_is_lost(alice: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    assert alice.receive_until("joined")
    monkeypatch.setattr(net, "SILENCE", 0.4)  # only now, or a slow computer loses her before she is in
    assert alice.receive_all() == []  # only pings, and the end: nobody told it to go


@pytest.mark.usefixtures("quick")
def test_half_a_line_is_silence(alice: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    assert alice.receive_until("joined")
    monkeypatch.setattr(net, "SILENCE", 0.4)
    with contextlib.suppress(OSError):
        for _ in range(100):
            if alice.receive(pings=True) is None:
                return
            alice.send_bytes(b"x")  # something comes all the time, but no line is ever complete
        pytest.fail("the room waits for the rest of the line")


@pytest.mark.usefixtures("quick")
def test_a_person_who_says_nothing_but_pings_stays(alice: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "SILENCE", 1.5)  # longer than a slow computer stands still
    begin = time.monotonic()
    while time.monotonic() - begin < 2.0:
        alice.receive_until("ping")
        alice.ping()
    alice.says("still here")
    alice.hears("still here")


@pytest.mark.parametrize("said", ["nothing", "half a line", "hello"])
def test_a_connection_that_does_not_say_what_it_came_for_is_closed(
    room: net.Server, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    monkeypatch.setattr(net, "FIRST_MESSAGE", 0.3)
    with Wire(room.port) as wire:
        if said == "half a line":
            wire.send_bytes(b"{")
        elif said == "hello":
            wire.send(message("hello", protocol=net.PROTOCOL, tls=False))
        assert "welcome" not in [each["type"] for each in wire.receive_all()]


# Limits per person and per address -----------------------------------------------------------------------------------


def test_twenty_messages_are_free_and_then_the_rate_holds(open_room: OpenRoom, enter: Enter) -> None:
    alice = enter(open_room(rate=20), "Alice")
    begin = time.monotonic()
    for number in range(30):
        alice.says(str(number))
    alice.hears("29")
    assert time.monotonic() - begin > 0.4  # 10 lines at 20 a second; on a slow computer it takes longer


def test_the_others_are_heard_while_somebody_floods(open_room: OpenRoom, enter: Enter) -> None:
    room = open_room(rate=1)
    alice, bob = enter(room, "Alice"), enter(room, "Bob")
    for number in range(400):
        alice.says(str(number))
    bob.hears("0")
    bob.says("may I?")
    assert bob.hears("may I?")["number"] < 50  # long before the 400 lines are through


def test_each_kib_beyond_a_messages_first_costs_as_much_as_a_message(open_room: OpenRoom, enter: Enter) -> None:
    """Ten short lines are free; these have as many bytes as forty."""
    alice = enter(open_room(rate=20), "Alice")
    begin = time.monotonic()
    for number in range(10):
        alice.says(str(number) * 3950)
    alice.hears("9" * 3950)
    assert time.monotonic() - begin > 0.8


def test_time_in_which_the_limit_holds_somebody_back_is_not_silence(
    open_room: OpenRoom, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = enter(open_room(rate=1), "Alice")
    for text in ("at once", "a second later", "two seconds later"):
        alice.says(text)
    alice.hears("at once")
    monkeypatch.setattr(net, "SILENCE", 0.5)  # only now, while the room lets her wait
    alice.hears("two seconds later")


def test_a_room_that_reads_slowly_gives_a_sign_of_life_all_the_same(
    open_room: OpenRoom, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All these lines come at once, and it takes the room a quarter of an hour to read them."""
    monkeypatch.setattr(net, "TICK", 0.05)
    monkeypatch.setattr(net, "PING_AFTER", 0.1)
    alice = enter(open_room(rate=1), "Alice")
    alice.send_bytes(net.encode(net.Ping()) * 1000)
    for _ in range(3):
        alice.receive_until("ping")


def test_the_allowance_is_the_persons_and_not_the_connections(open_room: OpenRoom, enter: Enter) -> None:
    room = open_room(rate=4)
    alice = enter(room, "Alice")
    begin = time.monotonic()
    for number in range(4):
        alice.says(str(number))
    alice.hears("3")
    for _ in range(3):  # each return costs as much as a message
        alice = enter(room, "Alice", token=alice.token, room=room.id, after=5)
    alice.last_id = 4
    alice.says("four")
    alice.hears("four")
    assert time.monotonic() - begin > 0.9  # a new allowance would let it through at once


def test_the_people_of_one_address_share_ten_times_one_persons_allowance(open_room: OpenRoom, enter: Enter) -> None:
    room = open_room(rate=2)
    people = [enter(room, f"Person {number}") for number in range(15)]
    begin = time.monotonic()
    for person in people:
        person.says("one")
        person.says("two")
    for _ in range(30):
        people[0].receive_until("said")
    assert time.monotonic() - begin > 0.4  # 20 lines at once, and then 20 a second; alone, nobody would have to wait


def test_from_one_address_forty_new_people_come_at_once_and_the_next_is_told_when_to_come(
    open_room: OpenRoom, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "NEWCOMERS", (3.0, 0.01))
    room = open_room(rate=20)
    first, *_ = [enter(room, f"Pupil {number}") for number in range(3)]
    refused = refusal(room.port)
    assert refused["code"] == "wait"
    assert 1 <= refused["seconds"] <= 100
    assert enter(room, "", token=room.token).who == net.HOST  # the host is exempt
    assert enter(room, "Pupil 0", token=first.token).who == first.who  # and so are people whom the room knows


def test_a_client_that_is_told_to_wait_gets_in_automatically(
    open_room: OpenRoom, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "NEWCOMERS", (1.0, 1.0))
    room = open_room(rate=20)
    enter(room, "First")
    events: net.Events = queue.Queue()
    client = net.run_client(LOOPBACK, "Second", events, port=room.port)
    try:
        assert expect(events, net.Lost).reason is net.Trouble.WAIT
        expect(events, net.Welcome)
    finally:
        client.close()
        assert client.join(LIMIT)


def test_without_a_rate_there_is_no_limit(room: net.Server, alice: Member, enter: Enter) -> None:
    for number in range(1000):
        alice.says(str(number))
    alice.hears("999")  # it would take 49 s at the usual rate
    for _ in range(45):
        enter(room, "Pupil")  # the last of them would have to wait


def test_a_room_in_which_nobody_says_anything_wakes_nobody(alice: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    alice.says("that was all")
    alice.hears("that was all")
    ticks: queue.SimpleQueue[int] = queue.SimpleQueue()
    wakes: list[net.Sender] = []

    def keep_time(_connection: net.Connection) -> bool:
        ticks.put(len(wakes))
        return False

    with monkeypatch.context() as patch:
        patch.setattr(net, "TICK", 0.01)
        patch.setattr(net.Connection, "keep_time", keep_time)
        ticks.get(timeout=LIMIT)  # the sender was woken for what she said before this one
        patch.setattr(net.Sender, "wake", wakes.append)
        assert [ticks.get(timeout=LIMIT) for _ in range(5)] == [0] * 5


# Ports ---------------------------------------------------------------------------------------------------------------


def bind(port: int, *, listen: bool) -> socket.socket:
    """Some other program on that port."""
    taken = socket.socket()
    try:
        if listen:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((LOOPBACK, port))
        if listen:
            taken.listen()
    except OSError:
        taken.close()
        raise
    return taken


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> Iterator[range]:
    """Three ports that are this test's own, instead of those for rooms."""
    with own_ports() as ten:
        monkeypatch.setattr(net, "PORTS", ten[:3])
        monkeypatch.setattr(net, "SAME_PORT_TIME", 0.2)
        yield net.PORTS


def test_rooms_take_the_next_free_port_and_never_share_one(open_room: OpenRoom, ports: range) -> None:
    assert [open_room(port=ports[0]).port for _ in ports] == list(ports)


def test_a_room_may_begin_in_the_middle_of_the_range(open_room: OpenRoom, ports: range) -> None:
    assert [open_room(port=ports[1]).port for _ in range(2)] == [ports[1], ports[2]]


def test_rooms_that_open_at_the_same_time_get_ports_of_their_own(open_room: OpenRoom, ports: range) -> None:
    opened: queue.SimpleQueue[int] = queue.SimpleQueue()
    threads = [threading.Thread(target=lambda: opened.put(open_room(port=ports[0]).port)) for _ in ports]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert sorted(opened.get_nowait() for _ in ports) == list(ports)


def test_a_port_that_another_program_uses_is_passed_over(open_room: OpenRoom, ports: range) -> None:
    with bind(ports[0], listen=True):
        assert open_room(port=ports[0]).port == ports[1]


def test_a_port_that_is_reserved_is_passed_over(
    open_room: OpenRoom, ports: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows keeps ranges of ports for itself (error 10013, which Python calls EACCES)."""
    bind_anywhere = socket.socket.bind

    def bind_outside_the_range(sock: socket.socket, address: tuple[str, int]) -> None:
        if address[1] == ports[0]:
            raise PermissionError(errno.EACCES, "reserved")
        bind_anywhere(sock, address)

    monkeypatch.setattr(socket.socket, "bind", bind_outside_the_range)
    assert open_room(port=ports[0]).port == ports[1]


def test_when_all_ports_are_taken_there_is_no_room(open_room: OpenRoom, ports: range) -> None:
    for _ in ports:
        open_room(port=ports[0])
    with pytest.raises(OSError, match="are all taken"):
        open_room(port=ports[0])


def test_a_port_asked_for_by_number_is_that_one_or_an_error(open_room: OpenRoom) -> None:
    port = open_room().port
    with pytest.raises(OSError, match=r"in use|10048|only one usage"):
        open_room(port=port)


def test_the_room_waits_for_a_port_at_which_nobody_answers(
    open_room: OpenRoom, ports: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash may hold it for a moment; it becomes free here while the room waits."""
    crashed = bind(ports[0], listen=False)
    monkeypatch.setattr(net, "SAME_PORT_TIME", LIMIT)
    monkeypatch.setattr(time, "sleep", lambda _seconds: crashed.close())
    assert open_room(port=ports[0]).port == ports[0]


def test_the_room_does_not_wait_for_a_port_at_which_somebody_answers(
    open_room: OpenRoom, ports: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_room(port=ports[0])
    naps: list[float] = []
    monkeypatch.setattr(net, "SAME_PORT_TIME", LIMIT)
    monkeypatch.setattr(time, "sleep", naps.append)
    assert open_room(port=ports[0]).port == ports[1]
    assert naps == []


def test_the_room_does_not_wait_forever_for_a_port_that_stays_taken(open_room: OpenRoom, ports: range) -> None:
    with bind(ports[0], listen=False):
        assert open_room(port=ports[0]).port == ports[1]


# Closing -------------------------------------------------------------------------------------------------------------


def room_threads(room: net.Server) -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("reader ") or t.name.endswith(f" {room.port}")]


@pytest.mark.usefixtures("alice")
def test_every_thread_of_a_room_says_whose_it_is(room: net.Server) -> None:
    until(lambda: "reader Alice" in room_threads(room), "her reader is named for her")
    assert {f"accept {room.port}", f"sender {room.port}"} <= set(room_threads(room))


def test_a_closing_room_tells_everyone(room: net.Server, alice: Member, bob: Member) -> None:
    closing = threading.Thread(target=room.close, args=["The lesson is over."])
    closing.start()
    for person in (alice, bob):
        closed = person.receive_all()[-1]
        assert (closed["type"], closed["reason"]) == ("closed", "The lesson is over.")
        person.close()
    closing.join(LIMIT)


def test_a_room_is_gone_within_two_seconds_whatever_the_others_do(room: net.Server, enter: Enter) -> None:
    before = open_sockets()
    silent = Wire(room.port)
    half = Wire(room.port)
    half.hello()
    stuck, talker = enter(room, "Stuck"), enter(room, "Talker")
    for number in range(1500):  # 6 MB, which nobody reads
        talker.says(f"{number} " + "x" * 3900)
    until(lambda: len(room_threads(room)) == 7, "all are there")
    lost = enter(room, "Lost")
    lost.close()
    started = time.monotonic()
    room.close()
    assert time.monotonic() - started < 2.0
    assert room_threads(room) == []
    for wire in (silent, half, stuck, talker):
        wire.close()
    assert open_sockets() <= before


def test_a_room_is_gone_within_two_seconds_also_while_it_holds_somebody_back(open_room: OpenRoom, enter: Enter) -> None:
    room = open_room(rate=1)
    alice = enter(room, "Alice")
    for text in ("at once", *["much later"] * 100):
        alice.says(text)
    alice.hears("at once")
    started = time.monotonic()
    room.close()
    assert time.monotonic() - started < 2.0


def test_a_closed_room_can_be_closed_again_and_nobody_answers_at_its_port(room: net.Server) -> None:
    room.close()
    room.close()
    with pytest.raises(ConnectionRefusedError):
        Wire(room.port)


def test_the_room_ends_with_its_with_statement() -> None:
    with net.run_server("Room", host=LOOPBACK, port=0) as room:
        assert room_threads(room)
    assert room_threads(room) == []


def test_a_room_that_cannot_be_opened_leaves_nothing_behind() -> None:
    with socket.create_server((LOOPBACK, 0)) as other_program:
        threads, sockets = set(threading.enumerate()), open_sockets()
        with pytest.raises(OSError, match=r"in use|10048|only one usage"):
            net.run_server("Room", host=LOOPBACK, port=port_of(other_program))
        assert set(threading.enumerate()) <= threads
        assert open_sockets() <= sockets


# Short of threads and connections ------------------------------------------------------------------------------------


def test_without_threads_for_newcomers_the_people_in_the_room_go_on(
    room: net.Server, alice: Member, bob: Member, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def start_no_reader(thread: threading.Thread) -> None:
        if thread.name.startswith("reader "):
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as short:
        short.setattr(threading.Thread, "start", start_no_reader)
        with Wire(room.port) as ann:
            assert ann.receive_all() == []
        alice.says("fine")
        bob.hears("fine")
    enter(room, "Ann")


def test_when_connections_run_out_the_oldest_that_has_not_joined_makes_way(
    open_room: OpenRoom, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "SPARE_CONNECTIONS", 1)
    room = open_room(limit=2)
    alice = enter(room, "Alice")
    with Wire(room.port) as first:
        first.hello()
        with Wire(room.port) as second:
            second.hello()
            with Wire(room.port) as third:
                assert first.receive_all() == []
                assert third.try_to_join("Third")["type"] == "welcome"
                assert second.hello()["type"] == "refused"  # it is still there: two hellos are one too many
    alice.says("fine")
    alice.hears("fine")


def test_when_connections_run_out_and_everybody_has_joined_the_newcomer_is_closed(
    open_room: OpenRoom, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "SPARE_CONNECTIONS", 0)
    room = open_room(limit=2)
    alice, bob = enter(room, "Alice"), enter(room, "Bob")
    with Wire(room.port) as wire:
        assert wire.receive_all() == []
    alice.says("fine")
    bob.hears("fine")


def test_when_connections_run_out_the_newest_transfer_makes_way(
    open_room: OpenRoom, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "SPARE_CONNECTIONS", 2)
    room = open_room(limit=1)
    alice = enter(room, "Alice")
    with Wire(room.port) as older, Wire(room.port) as newer:
        for wire in (older, newer):
            assert wire.begin_upload(alice.token, 5)["type"] == "ready"
        with Wire(room.port) as newcomer:
            assert newer.receive_all() == []
            newcomer.hello()
            older.send_bytes(b"hello")
            older.send(message("sent", sha256=hashlib.sha256(b"hello").hexdigest()))
            assert older.receive_until("stored")
    alice.receive_until("shared")
