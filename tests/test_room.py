"""The room, seen from outside: people who speak the bare protocol to it over real sockets."""

from __future__ import annotations

import contextlib
import errno
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import net
from tests.conftest import OpenRoom, open_sockets
from tests.helpers import LIMIT, LOOPBACK, Message, Wire, port_of, until
from tests.test_finding import own_ports

ENTER = {"type": "join", "room": None, "after": 0}
HELLO = {"type": "hello", "protocol": 1, "tls": False}


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

    @property
    def name(self) -> str:
        return str(self.welcome["name"])

    def say(self, text: str) -> None:
        self.last_id += 1
        self.send({"type": "say", "id": self.last_id, "text": text})

    def hears(self, text: str) -> Message:
        while (said := self.receive_until("said"))["text"] != text:
            pass
        return said

    def sees(self, kind: str, name: str) -> Message:
        while (event := self.receive_until(kind))["name"] != name:
            pass
        return event

    def catches_up(self) -> list[Message]:
        """The events that the welcome announced."""
        events = [self.receive() for _ in range(self.welcome["history"])]
        return [event for event in events if event is not None]

    def next(self) -> Message:
        message = self.receive()
        assert message is not None, "the connection ended"
        return message


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


def refusal(port: int, **join: object) -> Message:
    """What the room says instead of a welcome."""
    with Wire(port) as wire:
        wire.send(HELLO)
        wire.send({**ENTER, "name": "Mallory", "token": wire.token, **join})
        answer = wire.receive_all()[-1]
    assert answer["type"] == "refused", answer
    assert answer["reason"]
    return answer


# Coming in -----------------------------------------------------------------------------------------------------------


def test_a_welcome_says_all_about_the_room(room: net.Server, enter: Enter) -> None:
    enter(room, "whatever", token=room.token)
    ann = enter(room, "Ann")
    assert ann.welcome == {
        "type": "welcome",
        "room": room.id,
        "title": "Room 7",
        "who": 2,
        "name": "Ann",
        "host": 1,
        "people": [[1, "Host"], [2, "Ann"]],
        "missed": 0,
        "history": 2,
        "last_id": 0,
        "muted": False,
        "paused": False,
        "max_file": 104857600,
    }


def test_the_history_ends_with_ones_own_coming(room: net.Server, alice: Member, enter: Enter) -> None:
    alice.say("hello")
    alice.hears("hello")
    before = time.time()
    ann = enter(room, "Ann")
    first, said, last = ann.catches_up()
    assert (first["type"], first["number"], first["who"], first["name"]) == ("joined", 1, 2, "Alice")
    assert (said["type"], said["number"], said["who"], said["name"]) == ("said", 2, 2, "Alice")
    assert (said["id"], said["text"]) == (1, "hello")
    assert set(last) == {"type", "number", "time", "who", "name"}
    assert (last["type"], last["number"], last["who"], last["name"]) == ("joined", 3, 3, "Ann")
    assert before - 1 < last["time"] < time.time() + 1


def test_a_short_history_says_how_much_is_missing(open_room: OpenRoom, enter: Enter) -> None:
    room = open_room(history=3)
    alice = enter(room, "Alice")
    for text in "abcde":
        alice.say(text)
        alice.hears(text)  # one by one: who is too slow for so short a history falls out of it
    ann = enter(room, "Ann")  # 7 events by now
    assert (ann.welcome["missed"], ann.welcome["history"]) == (4, 3)
    assert [event["number"] for event in ann.catches_up()] == [5, 6, 7]


def test_a_history_of_one_event_is_ones_own_coming(open_room: OpenRoom, enter: Enter) -> None:
    room = open_room(history=1)
    enter(room, "Alice")
    ann = enter(room, "Ann")
    assert (ann.welcome["missed"], ann.welcome["history"]) == (1, 1)
    assert ann.next()["name"] == "Ann"


def test_who_comes_back_gets_only_what_is_new(room: net.Server, alice: Member, bob: Member, enter: Enter) -> None:
    last = bob.sees("joined", "Bob")["number"]
    bob.close()
    alice.say("meanwhile")
    alice.hears("meanwhile")
    again = enter(room, "Bob", token=bob.token, room=room.id, after=last)
    assert (again.welcome["missed"], again.welcome["history"]) == (0, 1)
    assert again.next()["text"] == "meanwhile"


def test_who_was_away_for_long_is_told_how_much_is_missing(open_room: OpenRoom, enter: Enter) -> None:
    room = open_room(history=3)
    alice, bob = enter(room, "Alice"), enter(room, "Bob")
    bob.close()
    for text in "abcde":
        alice.say(text)
        alice.hears(text)  # one by one: who is too slow for so short a history falls out of it
    again = enter(room, "Bob", token=bob.token, room=room.id, after=2)
    assert (again.welcome["missed"], again.welcome["history"]) == (2, 3)
    assert [event["text"] for event in again.catches_up()] == ["c", "d", "e"]


@pytest.mark.usefixtures("alice")
def test_the_place_in_another_room_does_not_count(room: net.Server, enter: Enter) -> None:
    ann = enter(room, "Ann", room="another", after=1)
    assert (ann.welcome["missed"], ann.welcome["history"]) == (0, 2)


def test_who_comes_in_the_middle_of_a_flood_gets_every_number_once(
    room: net.Server, alice: Member, enter: Enter
) -> None:
    def flood() -> None:
        for number in range(1500):
            alice.say(str(number))

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


def test_host_is_null_while_the_host_is_not_in(room: net.Server, enter: Enter) -> None:
    assert enter(room, "Ann").welcome["host"] is None
    enter(room, "whatever", token=room.token)
    assert enter(room, "Bob").welcome["host"] == 1


def test_only_the_rooms_own_token_makes_the_host(room: net.Server, alice: Member, enter: Enter) -> None:
    assert alice.welcome["who"] == 2  # although she was first
    host = enter(room, "a name of no importance", token=room.token)
    assert (host.welcome["who"], host.name) == (1, "Host")


def test_a_full_room_refuses_until_somebody_has_left(open_room: OpenRoom, enter: Enter) -> None:
    room = open_room(limit=2)
    alice, bob = enter(room, "Alice"), enter(room, "Bob")
    assert refusal(room.port)["code"] == "full"
    bob.send({"type": "leave"})
    alice.sees("left", "Bob")
    enter(room, "Ann")


def test_a_full_room_has_a_place_for_its_host(open_room: OpenRoom, enter: Enter) -> None:
    room = open_room(limit=1)
    enter(room, "Alice")
    assert enter(room, "Host", token=room.token).welcome["who"] == net.HOST


def test_somebody_of_a_full_room_can_come_back_to_it(open_room: OpenRoom, enter: Enter) -> None:
    room = open_room(limit=1)
    alice = enter(room, "Alice")
    alice.close()
    assert enter(room, "Alice", token=alice.token).welcome["who"] == alice.welcome["who"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"title": "\u200b"},
        {"host_name": " "},
        {"port": -1},
        {"port": 65536},
        {"history": 0},
        {"limit": 0},
        {"rate": 0},
        {"rate": -1.0},
    ],
)
def test_a_room_that_cannot_be_is_the_callers_mistake(open_room: OpenRoom, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"title|port|above 0"):
        open_room(**wrong)


# Names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("Alice", "Alice 2"),
        ("ALICE", "ALICE 2"),
        ("A\u200blice\u202e", "Alice 2"),
        ("Ａｌｉｃｅ", "Alice 2"),
        (" Alice\t ", "Alice 2"),
        ("Alice B", "Alice B"),
        ("x" * 33, "x" * 32),
        ("Hosta", "Hosta"),
        ("Ho\ud800st", "Ho\ufffdst"),
    ],
)
def test_the_room_writes_the_names(room: net.Server, alice: Member, enter: Enter, asked: str, given: str) -> None:
    newcomer = enter(room, asked)
    assert newcomer.name == given
    assert alice.sees("joined", given)["who"] == newcomer.welcome["who"]


@pytest.mark.parametrize("name", ["", "   ", "\u200b\u202e", "\x07", "\u3164", "\u2800"])
def test_a_name_of_which_nothing_can_be_seen_is_refused(room: net.Server, name: str) -> None:
    assert refusal(room.port, name=name)["code"] == "bad"


@pytest.mark.parametrize(
    "name", ["Mr Lee", "mr lee", "MR LEE 2", "Mr Lee2", "Ｍｒ\u3000Ｌｅｅ", "Mr\u200b Lee 0999", "Mr Lee ²",
             "Mr Lee.", "-Mr Lee-", "Mr Lee (host)", "Mr Lee 2 (host, you)", "_mr lee_", "Mr Lee (maths"],
)  # fmt: skip
def test_the_hosts_name_is_refused_to_others_whether_the_host_is_in_or_not(
    open_room: OpenRoom, enter: Enter, name: str
) -> None:
    room = open_room(host_name="Mr Lee")
    assert refusal(room.port, name=name)["code"] == "bad"
    enter(room, "", token=room.token)
    assert refusal(room.port, name=name)["code"] == "bad"


@pytest.mark.parametrize("name", ["Mr Leeson", "Mr Lee Jr", "Mr L", "Lee", "Tom Mr Lee", "(Mr Lee) Tom", "Mr-Lee"])
def test_a_name_that_only_resembles_the_hosts_is_anybodys(open_room: OpenRoom, enter: Enter, name: str) -> None:
    assert enter(open_room(host_name="Mr Lee"), name).name == name


def test_nobody_is_given_the_hosts_name_by_being_numbered(open_room: OpenRoom, enter: Enter) -> None:
    room = open_room(host_name="Ann 2")
    enter(room, "Ann")
    second = enter(room, "Ann")
    assert second.name != "Ann 2"


def test_a_name_whose_every_number_is_the_hosts_is_refused_and_the_room_goes_on(
    open_room: OpenRoom, enter: Enter
) -> None:
    """Cut to make place for a number, it is the host's name and digits, whatever the number."""
    room = open_room(host_name="Mr Lee")
    name = "Mr Lee" + "1" * 24 + "xy"
    assert enter(room, name).name == name
    assert refusal(room.port, name=name)["code"] == "bad"
    assert enter(room, "Ann").name == "Ann"


def test_nobody_is_given_the_hosts_name_by_being_cut(open_room: OpenRoom) -> None:
    room = open_room(host_name="x" * 32)
    assert refusal(room.port, name="x" * 40)["code"] == "bad"


def test_equal_names_are_numbered_within_32_characters(room: net.Server, enter: Enter) -> None:
    names = [enter(room, "x" * 32).name for _ in range(11)]
    assert names[0] == "x" * 32
    assert names[1] == "x" * 30 + " 2"
    assert names[10] == "x" * 29 + " 11"
    assert len(set(names)) == 11


def test_a_name_that_looks_numbered_is_numbered_past(room: net.Server, enter: Enter) -> None:
    assert [enter(room, name).name for name in ("Ann 2", "Ann", "Ann", "Ann 2")] == ["Ann 2", "Ann", "Ann 3", "Ann 2 2"]


def test_a_name_is_free_again_after_leaving(room: net.Server, alice: Member, bob: Member, enter: Enter) -> None:
    bob.send({"type": "leave"})
    alice.sees("left", "Bob")
    assert enter(room, "bob").name == "bob"


def test_a_name_stays_with_its_token_while_it_is_in_the_list(room: net.Server, bob: Member, enter: Enter) -> None:
    bob.close()
    assert enter(room, "Bob").name == "Bob 2"
    assert enter(room, "another name", token=bob.token).name == "Bob"


def test_who_was_gone_comes_again_with_the_same_number_and_under_a_new_name(
    room: net.Server, alice: Member, bob: Member, enter: Enter
) -> None:
    bob.say("hi")
    bob.send({"type": "leave"})
    alice.sees("left", "Bob")
    again = enter(room, "Robert", token=bob.token)
    assert (again.welcome["who"], again.name, again.welcome["last_id"]) == (bob.welcome["who"], "Robert", 1)
    alice.sees("joined", "Robert")


def test_of_too_many_who_are_gone_the_longest_gone_is_forgotten(
    room: net.Server, alice: Member, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "MAX_REMEMBERED", 4)
    ann, bob, carol = (enter(room, name) for name in ("Ann", "Bob", "Carol"))
    for person in (bob, carol, ann):
        person.send({"type": "leave"})
        alice.sees("left", person.name)
    fifth = enter(room, "Fifth")
    for person in (ann, carol):
        assert enter(room, person.name, token=person.token).welcome["who"] == person.welcome["who"]
    assert enter(room, "Bob", token=bob.token).welcome["who"] > fifth.welcome["who"]


# Texts ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "empty"),
        (" \t\n ", "empty"),
        ("\x1b\x07", "empty"),
        ("\u200b\u3164", "empty"),
        ("x" * 4001, "long"),
        ("x\n" * 100, "long"),
        ("\r" * 100 + "x", "long"),
    ],
)
def test_a_text_that_cannot_appear_is_rejected_with_a_reason(alice: Member, text: str, code: str) -> None:
    alice.say(text)
    alice.say("marker")
    rejected = alice.receive_until("rejected")
    assert (rejected["id"], rejected["code"]) == (1, code)
    assert rejected["reason"]
    assert alice.receive_until("said")["text"] == "marker"


@pytest.mark.parametrize(
    ("text", "heard"),
    [
        ("x" * 4000, "x" * 4000),
        ("x\n" * 99 + "x", "x\n" * 99 + "x"),
        ("a\tb\nc", "a\tb\nc"),
        ("\x1b[31mred\x00\x7f\x9b", "[31mred"),
        ("👩\u200d👧 שלום", "👩\u200d👧 שלום"),
        ("x" * 4000 + "\x00", "x" * 4000),
    ],
)
def test_all_else_is_passed_on(alice: Member, bob: Member, text: str, heard: str) -> None:
    alice.say(text)
    bob.hears(heard)


def test_a_carriage_return_cannot_write_over_a_line(alice: Member, bob: Member) -> None:
    alice.say("a\rb\r\nc\u2028d")
    bob.hears("a\nb\nc\nd")


def test_answers_come_in_the_order_of_the_lines(alice: Member) -> None:
    for text in ("one", "", "two", "", "", "three"):
        alice.say(text)
    answers = [alice.next() for _ in range(7)][1:]
    assert [(answer["type"], answer["id"]) for answer in answers] == [
        ("said", 1),
        ("rejected", 2),
        ("said", 3),
        ("rejected", 4),
        ("rejected", 5),
        ("said", 6),
    ]


def test_a_rejection_is_for_its_writer_alone(alice: Member, bob: Member) -> None:
    alice.say("")
    alice.say("marker")
    assert [bob.next()["type"] for _ in range(3)] == ["joined", "joined", "said"]


def test_an_id_that_is_not_above_the_last_is_dropped(alice: Member) -> None:
    for number in (5, 5, 4, 0, 7):
        alice.send({"type": "say", "id": number, "text": str(number)})
    assert [alice.receive_until("said")["id"] for _ in range(2)] == [5, 7]


def test_a_rejected_id_is_settled_too(room: net.Server, alice: Member, enter: Enter) -> None:
    alice.send({"type": "say", "id": 9, "text": ""})
    alice.receive_until("rejected")
    again = enter(room, "Alice", token=alice.token)
    assert again.welcome["last_id"] == 9


# One person, one place -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("long_farewell")
@pytest.mark.parametrize("last", [b'{"type":"say","id":1,"text":"not heard"}\n', b'{"type":"leave"}\n', b"junk\n", b""])
def test_a_connection_whose_place_was_taken_is_closed_and_not_listened_to(
    room: net.Server, alice: Member, bob: Member, enter: Enter, last: bytes
) -> None:
    again = enter(room, "Bob", token=bob.token)
    assert again.welcome["who"] == bob.welcome["who"]
    bob.send_bytes(last)
    assert bob.receive_all()[-1]["type"] == "closed"
    bob.close()
    again.say("from the new one")
    events = [alice.next() for _ in range(3)]
    assert [event["type"] for event in events] == ["joined", "joined", "said"]  # neither `left` nor another `joined`
    assert events[-1]["text"] == "from the new one"


def test_the_last_of_many_connections_of_the_same_person_stays(room: net.Server, alice: Member, enter: Enter) -> None:
    bobs = [enter(room, "Bob", token="b0" * 16) for _ in range(5)]
    for old in bobs[:-1]:
        assert old.receive_all()[-1]["type"] == "closed"
    bobs[-1].say("here")
    alice.hears("here")


def test_who_is_back_in_time_has_neither_left_nor_joined(
    room: net.Server, alice: Member, bob: Member, enter: Enter
) -> None:
    bob.close()
    again = enter(room, "Bob", token=bob.token)
    again.say("back")
    assert [alice.next()["type"] for _ in range(3)] == ["joined", "joined", "said"]


def test_nobody_waits_any_longer_for_who_is_back(room: net.Server, bob: Member, enter: Enter) -> None:
    readers = len(room_threads(room))
    bob.close()
    enter(room, "Bob", token=bob.token)
    until(lambda: len(room_threads(room)) == readers, "the reader of the old connection is gone")


@pytest.mark.usefixtures("soon")
def test_who_is_not_back_in_time_has_left(alice: Member, bob: Member) -> None:
    bob.close()
    left = alice.receive_until("left")
    assert (left["who"], left["name"], left["reason"]) == (bob.welcome["who"], "Bob", "lost")


def test_who_leaves_has_left_at_once(alice: Member, bob: Member) -> None:
    bob.send({"type": "leave"})
    left = alice.receive_until("left")
    assert (left["who"], left["name"], left["reason"]) == (bob.welcome["who"], "Bob", "left")
    bob.receive_until("joined")
    assert all(event["type"] != "closed" for event in bob.receive_all())  # it knows


def test_what_was_said_before_leaving_is_heard_and_what_comes_after_is_not(alice: Member, bob: Member) -> None:
    bob.say("bye")
    bob.send({"type": "leave"})
    bob.say("not any more")
    alice.hears("bye")
    assert alice.next()["type"] == "left"
    alice.say("marker")
    assert alice.next()["text"] == "marker"


def test_a_leaving_is_seen_at_once_whatever_comes_behind_it(
    alice: Member, bob: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "LAST_WORDS", 2 * LIMIT)  # nobody has to wait for the end of Bob's connection,
    monkeypatch.setattr(net, "PING_AFTER", 2 * LIMIT)  # or for the next time that the sender wakes anyway
    bob.send_bytes(b'{"type":"leave"}\n{"type":"ping"}\n')
    alice.sees("left", "Bob")


def test_who_left_is_not_lost_as_well(room: net.Server, alice: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost, back, and gone on purpose: the reader that waits for the return must not report a second going."""
    monkeypatch.setattr(net, "BACK_WITHIN", 2 * LIMIT)
    readers = len(room_threads(room))
    for number in range(20):
        token = f"{number:032x}"
        with Wire(room.port) as bob:
            bob.join("Bob", token)
        with Wire(room.port) as bob:
            bob.hello()
            # In one packet, so that the leaving follows the coming as closely as can be.
            join = b'{"type":"join","name":"Bob","token":"%s","room":null,"after":0}\n' % token.encode()
            bob.send_bytes(join + b'{"type":"leave"}\n')
            bob.receive_all()
        assert alice.receive_until("left")["reason"] == "left"
    until(lambda: len(room_threads(room)) == readers, "nobody waits for Bob any more")
    alice.say("marker")
    assert alice.next()["text"] == "marker"


# Last words ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def long_farewell(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this computer is, all that is sent is dropped in time."""
    monkeypatch.setattr(net, "LAST_WORDS", LIMIT)


@pytest.mark.usefixtures("long_farewell")
def test_a_refusal_arrives_although_the_other_side_is_still_sending(alice: Member) -> None:
    alice.send_bytes(b"junk\n" + b"more junk\n" * 2_000_000)  # 20 MB: more than any system buffers
    assert alice.receive_until("refused")["code"] == "bad"


@pytest.mark.usefixtures("long_farewell")
def test_a_refusal_at_the_door_arrives_although_the_other_side_is_still_sending(room: net.Server) -> None:
    with Wire(room.port) as wire:
        wire.send_bytes(b"junk\n" + b"more junk\n" * 2_000_000)
        assert wire.receive_until("refused")["code"] == "bad"


@pytest.mark.usefixtures("long_farewell")
@pytest.mark.parametrize(("last", "answer"), [(b"junk\n", "refused"), (b'{"type":"leave"}\n', "left")])
def test_answers_and_last_words_arrive_although_the_other_side_has_shut_down(
    alice: Member, last: bytes, answer: str
) -> None:
    """It says 6 MB and only then begins to listen, so that most of the answers are still to be written."""
    for number in range(1500):
        alice.say(f"{number} " + "x" * 3900)
    alice.send_bytes(last)
    alice.socket.shutdown(socket.SHUT_WR)
    messages = alice.receive_all()
    said = [message["text"].split()[0] for message in messages if message["type"] == "said"]
    assert said == [str(number) for number in range(1500)]
    assert messages[-1]["type"] == answer


@pytest.mark.usefixtures("long_farewell")
def test_a_closing_room_tells_those_who_are_still_sending(
    open_room: OpenRoom, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "CLOSE_TIME", LIMIT)
    room = open_room(history=10**6)  # however much she has not read yet, she does not fall out of it
    alice = enter(room, "Alice")

    def talk() -> None:
        with contextlib.suppress(OSError):
            while True:
                alice.say("and another thing")

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
def test_who_is_silent_is_lost(alice: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    assert alice.receive_until("joined")
    monkeypatch.setattr(net, "SILENCE", 0.4)  # only now, or a slow computer loses her before she is in
    assert alice.receive_all() == []  # but pings, and the end: nobody told it to go


@pytest.mark.usefixtures("quick")
def test_who_says_nothing_but_pings_stays(alice: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "SILENCE", 1.5)  # longer than a slow computer stands still
    begin = time.monotonic()
    while time.monotonic() - begin < 2.0:
        assert alice.receive_until("ping") == {"type": "ping"}
        alice.send({"type": "ping"})
    alice.say("still here")
    alice.hears("still here")


@pytest.mark.parametrize("said", [[], [b"{"], [b'{"type":"hello","protocol":1,"tls":false}\n']])
def test_who_does_not_say_what_it_came_for_is_closed(
    room: net.Server, monkeypatch: pytest.MonkeyPatch, said: list[bytes]
) -> None:
    monkeypatch.setattr(net, "FIRST_MESSAGE", 0.3)
    with contextlib.ExitStack() as stack:
        with room._room_lock:  # its reader, and with it the time, begins when all of it is there
            wire = stack.enter_context(Wire(room.port))
            for data in said:
                wire.send_bytes(data)
        assert wire.receive_all() == ([HELLO] if said and said[0].endswith(b"\n") else [])


# The brake -----------------------------------------------------------------------------------------------------------


def test_a_seconds_worth_is_free_and_then_the_rate_holds(
    open_room: OpenRoom, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return really_wait(seconds)

    room = open_room(rate=100)
    waits: list[float] = []
    really_wait = room._closing.wait
    monkeypatch.setattr(room._closing, "wait", wait)
    alice = enter(room, "Alice")
    for number in range(150):
        alice.say(str(number))
    times = [alice.receive_until("said")["time"] for _ in range(150)]
    assert times[149] - times[0] > 0.4  # 49 lines at 100 a second; on a slow computer it is more
    assert len(waits) <= 50  # one for each line that is not free; on a slow computer it is fewer


def test_others_are_heard_while_somebody_floods(open_room: OpenRoom, enter: Enter) -> None:
    room = open_room(rate=0.1)
    alice, bob = enter(room, "Alice"), enter(room, "Bob")
    for number in range(400):
        alice.say(str(number))
    bob.hears("0")
    bob.say("may I?")
    assert alice.hears("may I?")["number"] == 4  # both have come, "0" was said, and "1" has to wait for 10 s


def test_waiting_because_of_the_brake_is_not_silence(
    open_room: OpenRoom, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = enter(open_room(rate=1), "Alice")
    for text in ("at once", "at once too", "a second later"):
        alice.say(text)
    alice.hears("at once too")
    monkeypatch.setattr(net, "SILENCE", 0.5)  # only now, while the room lets her wait
    alice.hears("a second later")


def test_a_room_in_which_nobody_says_anything_wakes_nobody(
    room: net.Server, alice: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice.say("that was all")
    alice.hears("that was all")
    (connection,) = room._connections
    ticks: queue.SimpleQueue[int] = queue.SimpleQueue()
    wakes: list[int] = []

    def keep_time() -> bool:
        ticks.put(len(wakes))
        return False

    with monkeypatch.context() as patch:
        patch.setattr(net, "TICK", 0.01)
        patch.setattr(connection, "keep_time", keep_time)
        ticks.get(timeout=LIMIT)  # of what she has said the sender was told before this one
        patch.setattr(room._sender, "wake", lambda: wakes.append(1))
        assert [ticks.get(timeout=LIMIT) for _ in range(5)] == [0] * 5


def test_a_room_that_reads_slowly_gives_a_sign_of_life_all_the_same(
    open_room: OpenRoom, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All these lines come at once, and their turn is over in a quarter of an hour."""
    monkeypatch.setattr(net, "PING_AFTER", 0.1)
    alice = enter(open_room(rate=1), "Alice")
    alice.send_bytes(b'{"type":"ping"}\n' * 1000)
    for _ in range(3):
        alice.receive_until("ping")


def test_the_allowance_is_the_persons_and_not_the_connections(
    open_room: OpenRoom, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = open_room(rate=0.1)
    waits: list[float] = []
    monkeypatch.setattr(room._closing, "wait", waits.append)  # nobody has the time for that
    alice = enter(room, "Alice")
    alice.say("one")
    until(lambda: len(waits) == 1, "the brake holds her back")
    again = enter(room, "Alice", token=alice.token, room=room.id, after=2)
    again.last_id = 1
    again.say("two")
    until(lambda: len(waits) == 2, "it holds her back once more")
    assert waits[1] > 10  # a new allowance would make it 9 s, as the first time


def test_without_a_rate_there_is_no_brake(alice: Member) -> None:
    for number in range(1000):
        alice.say(str(number))
    alice.hears("999")  # it would take 49 s at the usual rate


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
    """Three ports of one's own, instead of those for rooms."""
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


def test_a_port_that_another_program_has_is_passed_over(open_room: OpenRoom, ports: range) -> None:
    with bind(ports[0], listen=True):
        assert open_room(port=ports[0]).port == ports[1]


def test_a_port_that_is_reserved_is_passed_over(
    open_room: OpenRoom, ports: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows keeps ranges for itself (error 10013, which Python calls EACCES)."""
    listen_at = net._listen_at

    def reserved(host: str, port: int, patient: bool) -> socket.socket:
        if port == ports[0]:
            raise PermissionError(errno.EACCES, "reserved")
        return listen_at(host, port, patient)

    monkeypatch.setattr(net, "_listen_at", reserved)
    assert open_room(port=ports[0]).port == ports[1]


def test_when_all_ports_are_taken_the_error_says_so(open_room: OpenRoom, ports: range) -> None:
    for _ in ports:
        open_room(port=ports[0])
    with pytest.raises(OSError, match=f"ports {ports[0]} to {ports[-1]} are all taken"):
        open_room(port=ports[0])


def test_a_port_asked_for_by_number_is_that_one_or_an_error(open_room: OpenRoom) -> None:
    port = open_room().port
    with pytest.raises(OSError, match=r"in use|10048|only one usage"):
        open_room(port=port)


def test_a_port_that_nobody_answers_at_is_waited_for(
    open_room: OpenRoom, ports: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash may hold it for a moment; it becomes free here while the room waits."""
    crashed = bind(ports[0], listen=False)
    monkeypatch.setattr(net, "SAME_PORT_TIME", LIMIT)
    monkeypatch.setattr(time, "sleep", lambda _seconds: crashed.close())
    assert open_room(port=ports[0]).port == ports[0]


def test_a_port_at_which_somebody_answers_is_not_waited_for(
    open_room: OpenRoom, ports: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for one more look: a program that was just killed may answer a last time."""
    open_room(port=ports[0])
    naps: list[float] = []
    monkeypatch.setattr(net, "SAME_PORT_TIME", LIMIT)
    monkeypatch.setattr(time, "sleep", naps.append)
    assert open_room(port=ports[0]).port == ports[1]
    assert len(naps) == 1


def test_a_killed_room_that_answers_a_last_time_leaves_its_port(
    open_room: OpenRoom, ports: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying = bind(ports[0], listen=True)
    monkeypatch.setattr(net, "SAME_PORT_TIME", LIMIT)
    monkeypatch.setattr(time, "sleep", lambda _seconds: dying.close())
    assert open_room(port=ports[0]).port == ports[0]


def test_a_port_that_stays_taken_is_not_waited_for_for_ever(open_room: OpenRoom, ports: range) -> None:
    with bind(ports[0], listen=False):
        assert open_room(port=ports[0]).port == ports[1]


# Closing -------------------------------------------------------------------------------------------------------------


def room_threads(room: net.Server) -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("reader ") or t.name.endswith(f" {room.port}")]


@pytest.mark.usefixtures("alice")
def test_every_thread_of_a_room_says_whose_it_is(room: net.Server) -> None:
    until(lambda: "reader Alice" in room_threads(room), "her reader is named for her")
    assert {f"accept {room.port}", f"sender {room.port}"} <= set(room_threads(room))


def test_a_closing_room_tells_everybody(room: net.Server, alice: Member, bob: Member) -> None:
    closing = threading.Thread(target=room.close, args=["The lesson is over."])
    closing.start()
    for person in (alice, bob):
        assert person.receive_all()[-1] == {"type": "closed", "reason": "The lesson is over."}
        person.close()
    closing.join(LIMIT)


def test_a_room_is_gone_within_two_seconds_whatever_the_others_do(room: net.Server, enter: Enter) -> None:
    before = open_sockets()
    silent = Wire(room.port)
    half = Wire(room.port)
    half.hello()
    stuck, talker = enter(room, "Stuck"), enter(room, "Talker")
    for number in range(1500):  # 6 MB, which nobody reads
        talker.say(f"{number} " + "x" * 3900)
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
    room = open_room(rate=0.1)
    alice = enter(room, "Alice")
    for text in ("at once", "10 s later", "20 s later"):
        alice.say(text)
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


# Short of threads ----------------------------------------------------------------------------------------------------


def test_out_of_threads_those_who_are_in_go_on(
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
        alice.say("fine")
        bob.hears("fine")
    enter(room, "Ann")


def test_more_connections_than_the_room_can_have_are_closed(
    open_room: OpenRoom, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "SPARE_CONNECTIONS", 1)
    room = open_room(limit=2)
    alice = enter(room, "Alice")
    with Wire(room.port), Wire(room.port), Wire(room.port) as third:
        assert third.receive_all() == []
        alice.say("fine")
        alice.hears("fine")
