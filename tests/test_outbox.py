"""Exactly once, on the client's side: net.Outbox as a plain object, and several of them in a net.Room."""

from __future__ import annotations

import queue
import random
import secrets

import pytest

import net
from tests.helpers import drain

START = 1_700_000_000.0  # s since 1970
EVERYTHING = 10**9  # bytes


def outbox_at(seconds: float) -> net.Outbox:
    return net.Outbox(queue.Queue(), clock=lambda: seconds)


@pytest.fixture
def outbox() -> net.Outbox:
    """In the room "r1", and caught up."""
    made = outbox_at(START)
    enter(made)
    return made


def enter(outbox: net.Outbox, room: str = "r1", last_id: int = 0) -> None:
    """A welcome after a break in which nothing was missed."""
    outbox.enter(room, last_id, has_missed=False)
    outbox.catch_up()


def write(outbox: net.Outbox, *texts: str) -> list[int]:
    """The ids that these lines got."""
    return [outbox.say(text, None) for text in texts]


def says(data: bytes) -> list[net.Say]:
    """What goes out, as the room reads it."""
    messages = [net.decode(line) for line in data.splitlines()]
    return [message for message in messages if isinstance(message, net.Say)]


def sent(outbox: net.Outbox) -> list[str]:
    """The texts of everything that may go out now."""
    return [say.text for say in says(outbox.take(EVERYTHING))]


def codes(outbox: net.Outbox) -> list[tuple[int, str]]:
    """Ids, and the codes of their rejections, since the last call."""
    return [(event.id, event.code) for event in drain(outbox.events) if isinstance(event, net.Rejected)]


def test_ids_begin_at_the_clock_in_milliseconds_and_rise_above_the_highest_that_the_room_has_answered() -> None:
    """So they are above those of an earlier run of the program, and of another client, with the same token."""
    outbox = outbox_at(START)
    assert write(outbox, "one", "two", "three") == [1_700_000_000_000, 1_700_000_000_001, 1_700_000_000_002]
    enter(outbox, last_id=1_800_000_000_000)
    assert outbox.say("four", None) == 1_800_000_000_001


@pytest.mark.parametrize("seconds", [-(10.0**9), 0.0, 10.0**15])
def test_whatever_the_clock_says_the_ids_are_valid_and_leave_room_above(seconds: float) -> None:
    assert 1 <= outbox_at(seconds).say("one", None) <= net.MAX_SAY_ID // 2


def test_where_a_room_has_used_up_the_ids_nothing_is_sent_until_there_is_another_room(outbox: net.Outbox) -> None:
    enter(outbox, last_id=net.MAX_SAY_ID - 1)
    write(outbox, "the last one")
    assert sent(outbox) == ["the last one"]
    (number,) = write(outbox, "one")
    assert codes(outbox) == [(number, "unsent")]
    assert sent(outbox) == []
    enter(outbox, "r2")
    drain(outbox.events)
    (number,) = write(outbox, "one")
    outbox.give_up()
    assert codes(outbox) == [(number, "unsent")]  # although higher ids were sent, in the other room


def test_lines_go_out_once_in_order_and_about_as_much_as_is_asked_for(outbox: net.Outbox) -> None:
    one, two, _ = write(outbox, "one", "two", "three")
    assert says(outbox.take(1)) == [net.Say(one, "one")]
    assert says(outbox.take(1)) == [net.Say(two, "two")]
    assert sent(outbox) == ["three"]
    assert sent(outbox) == []


def test_nothing_goes_out_before_everything_that_was_missed_has_come() -> None:
    outbox = outbox_at(START)
    write(outbox, "before the welcome")
    assert sent(outbox) == []
    assert outbox.has_unsent  # so a client that closes waits for it
    outbox.enter("r1", 0, has_missed=False)
    write(outbox, "while catching up")
    assert sent(outbox) == []
    outbox.catch_up()
    assert sent(outbox) == ["before the welcome", "while catching up"]
    assert not outbox.has_unsent


def test_answers_to_lines_that_were_not_sent_or_never_written_send_nothing_else_away(outbox: net.Outbox) -> None:
    one, _ = write(outbox, "one", "two")
    outbox.answered(one)
    outbox.answered(7)
    assert sent(outbox) == ["two"]


def test_after_a_break_only_lines_that_the_room_has_not_answered_go_out_again(outbox: net.Outbox) -> None:
    answered, said, rejected, lost = write(outbox, "answered", "said", "rejected", "lost")
    outbox.take(EVERYTHING)
    outbox.answered(answered)
    outbox.close()
    (late,) = write(outbox, "late")
    assert (len(outbox), sent(outbox)) == (4, [])
    outbox.enter("r1", rejected, has_missed=False)
    outbox.answered(said)  # it is among the history; so the other one was not said
    outbox.catch_up()
    assert codes(outbox) == [(rejected, "unknown")]
    assert says(outbox.take(EVERYTHING)) == [net.Say(lost, "lost"), net.Say(late, "late")]
    outbox.close()
    (unsent,) = write(outbox, "unsent")  # and the room has had its id, from another client with the same token
    enter(outbox, last_id=unsent)
    assert codes(outbox) == [(lost, "unknown"), (late, "unknown"), (unsent, "unsent")]


class Visitor:
    """A client without threads and sockets: an outbox, and what is on its way to the room and back."""

    def __init__(self, name: str, room: net.Room) -> None:
        self.name = name
        self.room = room
        self.outbox = outbox_at(START)
        self.token = secrets.token_hex(16)
        self.feed: net.Feed | None = None  # of the connection, if there is one
        self.person: net.Person | None = None
        self.to_room: list[tuple[net.Feed, net.Say]] = []
        self.late: list[tuple[net.Feed, net.Say]] = []  # from earlier connections
        self.from_room: list[net.Message | net.Unknown] = []
        self.room_id: str | None = None
        self.last = 0  # number of the newest event
        self.catch_up_to: int | None = None  # None: this has been done
        self.written: list[int] = []
        self.heard: list[net.Said] = []
        self.answers: list[tuple[int, str]] = []  # ids, and how they were answered

    def write(self) -> None:
        self.written += write(self.outbox, f"{self.name}: {len(self.written)}")

    def connect(self) -> None:
        if self.feed is None:
            self.feed = net.Feed()
            join = net.Join(self.name, self.token, self.room_id, self.last)
            self.person = self.room.join(join, "10.0.0.1", self.feed)

    def cut(self) -> None:
        self.feed = None
        self.from_room.clear()
        self.late += self.to_room
        self.to_room.clear()
        self.outbox.close()

    def send(self, size: int = 1) -> None:
        if self.feed is not None:
            self.to_room += [(self.feed, say) for say in says(self.outbox.take(size))]

    def deliver_to_room(self) -> None:
        self.deliver(self.to_room)

    def deliver_late_line(self) -> None:
        self.deliver(self.late)

    def deliver(self, lines: list[tuple[net.Feed, net.Say]]) -> None:
        if lines and self.person is not None:
            feed, say = lines.pop(0)
            self.room.say(self.person, feed, say.id, say.text, None)

    def send_back(self) -> None:
        """The room's sender."""
        piece = None if self.feed is None else self.room.next_piece(self.feed, {})
        if piece == net.END_OF_FEED:
            self.cut()
        elif piece is not None:
            self.from_room += [net.decode(line) for line in piece.splitlines()]

    def deliver_to_visitor(self) -> None:
        """What `Client` does with each message, as far as it matters here."""
        if not self.from_room:
            return
        message = self.from_room.pop(0)
        if isinstance(message, net.Welcome):
            self.room_id = message.room
            self.last += message.missed
            self.outbox.enter(message.room, message.last_id, has_missed=message.missed > 0)
            self.catch_up_to = self.last + message.history
        elif isinstance(message, net.Numbered):
            assert message.number == self.last + 1
            self.last = message.number
        if isinstance(message, net.Said):
            self.heard.append(message)
            if message.name == self.name:
                self.outbox.answered(message.id)
                self.answers.append((message.id, "said"))
        if self.catch_up_to is not None and self.last >= self.catch_up_to:
            self.outbox.catch_up()
            for answer in drain(self.outbox.events):
                if not isinstance(answer, net.Sending):
                    self.answers.append((answer.id, "settled" if isinstance(answer, net.Settled) else answer.code))
            self.catch_up_to = None

    def goes_on(self) -> bool:
        """Without a break; whether everything has arrived."""
        self.connect()
        self.send(EVERYTHING)
        self.deliver_to_room()
        self.send_back()
        self.deliver_to_visitor()
        return len(self.outbox) == 0 and not self.from_room and self.last == self.room.history.next - 1


@pytest.mark.parametrize("history", [10_000, 2])
def test_wherever_connections_break_each_line_is_said_and_answered_once(history: int, chance: random.Random) -> None:
    room = net.Room("Room 7", history=history, now=lambda: START, clock=lambda: START)
    visitors = [Visitor(f"Person {number}", room) for number in range(3)]
    actions = [Visitor.write, Visitor.connect, Visitor.cut, Visitor.send, Visitor.deliver_to_room, Visitor.send_back]
    actions += [Visitor.deliver_late_line, *[Visitor.deliver_to_visitor] * 3]
    for _ in range(4_000):
        chance.choice(actions)(chance.choice(visitors))
    for _ in range(10_000):
        is_done = [visitor.goes_on() for visitor in visitors]
        if all(is_done):
            break
    for visitor in visitors:
        assert sorted(number for number, _ in visitor.answers) == visitor.written
        assert {how for _, how in visitor.answers} <= ({"said"} if history == 10_000 else {"said", "settled"})
        for speaker in visitors:
            ids = [line.id for line in visitor.heard if line.name == speaker.name]
            assert ids == sorted(set(ids))  # none twice, none out of order
            if history == 10_000:
                assert ids == speaker.written
