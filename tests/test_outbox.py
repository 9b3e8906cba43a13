"""Exactly once, on the client's side (net.Outbox): what becomes of a line until the room has answered it.

Plain objects: no thread, no socket, and the only clock is the test's. The last chapter lets outboxes and a net.Room
speak with each other over connections that break at every possible place.
"""

from __future__ import annotations

import random
import secrets
from dataclasses import dataclass, field

import pytest

import net

START = 1_700_000_000.0  # s since 1970
EVERYTHING = 10**9  # bytes


def outbox_at(seconds: float) -> net.Outbox:
    return net.Outbox(clock=lambda: seconds)


@pytest.fixture
def outbox() -> net.Outbox:
    """In the room "r1", and caught up."""
    made = outbox_at(START)
    enter(made)
    return made


def enter(outbox: net.Outbox, room: str = "r1", last_id: int = 0, *, has_missed: bool = False) -> list[object]:
    """A welcome, and at once everything that was missed; the events for the window."""
    return [*outbox.enter(room, last_id), *outbox.catch_up(last_id, has_missed)]


def write(outbox: net.Outbox, *texts: str) -> list[int]:
    """The ids that these lines got."""
    numbers = []
    for text in texts:
        numbers.append(outbox.next_id())
        assert outbox.say(numbers[-1], text)
    return numbers


def says(data: bytes) -> list[net.Say]:
    """What goes out, as the room reads it."""
    messages = [net.decode(line, net.TO_ROOM) for line in data.splitlines()]
    assert all(isinstance(message, net.Say) for message in messages)
    return [message for message in messages if isinstance(message, net.Say)]


def sent(outbox: net.Outbox) -> list[str]:
    """The texts of everything that may go out now."""
    return [say.text for say in says(outbox.take(EVERYTHING))]


def codes(events: list[object]) -> list[tuple[int, str]]:
    """Ids, and the codes of their rejections."""
    return [(event.id, event.code) for event in events if isinstance(event, net.Rejected)]


# Ids -----------------------------------------------------------------------------------------------------------------


def test_ids_begin_at_the_clock_in_milliseconds_and_rise_by_one() -> None:
    """So they are above those of an earlier run of the program with the same token."""
    outbox = outbox_at(START)
    assert [outbox.next_id() for _ in range(3)] == [1_700_000_000_000, 1_700_000_000_001, 1_700_000_000_002]


@pytest.mark.parametrize("seconds", [-(10.0**9), 0.0, 10.0**15])
def test_whatever_the_clock_says_the_ids_are_valid_and_leave_room_above(seconds: float) -> None:
    number = outbox_at(seconds).next_id()
    assert 1 <= number <= net.MAX_SAY_ID // 2


def test_ids_rise_above_the_highest_that_the_room_has_answered(outbox: net.Outbox) -> None:
    """After the clock was set back, or where another client with the same token was ahead."""
    far_ahead = outbox.next_id() + 10**6
    enter(outbox, last_id=far_ahead)
    assert outbox.next_id() == far_ahead + 1


def test_an_id_that_is_too_large_for_the_wire_is_not_sent(outbox: net.Outbox) -> None:
    enter(outbox, last_id=net.MAX_SAY_ID)
    assert not outbox.say(outbox.next_id(), "one")
    assert len(outbox) == 0
    assert sent(outbox) == []


def test_ids_that_one_room_used_up_are_available_again_in_another(outbox: net.Outbox) -> None:
    enter(outbox, last_id=net.MAX_SAY_ID)
    enter(outbox, "r2")
    write(outbox, "one")
    assert sent(outbox) == ["one"]


# Out, and answered ---------------------------------------------------------------------------------------------------


def test_lines_go_out_once_in_the_order_in_which_they_were_written(outbox: net.Outbox) -> None:
    one, two = write(outbox, "one", "two")
    assert says(outbox.take(EVERYTHING)) == [net.Say(one, "one"), net.Say(two, "two")]
    assert sent(outbox) == []


def test_about_as_much_goes_out_as_is_asked_for(outbox: net.Outbox) -> None:
    write(outbox, "one", "two", "three")
    pieces = [says(outbox.take(1)) for _ in range(4)]
    assert [[say.text for say in piece] for piece in pieces] == [["one"], ["two"], ["three"], []]


def test_nothing_goes_out_before_everything_that_was_missed_has_come() -> None:
    outbox = outbox_at(START)
    write(outbox, "before the welcome")
    assert sent(outbox) == []
    outbox.enter("r1", 0)
    write(outbox, "while catching up")
    assert sent(outbox) == []
    outbox.catch_up(0, has_missed=False)
    assert sent(outbox) == ["before the welcome", "while catching up"]


def test_without_a_connection_nothing_goes_out(outbox: net.Outbox) -> None:
    outbox.close()
    write(outbox, "one")
    assert sent(outbox) == []
    enter(outbox)
    assert sent(outbox) == ["one"]


def test_a_line_that_was_sent_and_not_answered_goes_out_again_on_the_next_connection(outbox: net.Outbox) -> None:
    one, _ = write(outbox, "one", "two")
    assert sent(outbox) == ["one", "two"]
    outbox.answered(one)
    outbox.close()
    assert enter(outbox, last_id=one) == []
    write(outbox, "three")
    assert sent(outbox) == ["two", "three"]


def test_a_line_is_kept_until_it_is_answered(outbox: net.Outbox) -> None:
    (number,) = write(outbox, "one")
    assert len(outbox) == 1
    outbox.take(EVERYTHING)
    assert len(outbox) == 1
    outbox.answered(number)
    assert len(outbox) == 0


def test_an_answer_to_a_line_that_is_not_there_changes_nothing(outbox: net.Outbox) -> None:
    write(outbox, "one")
    outbox.answered(7)
    assert sent(outbox) == ["one"]


def test_a_line_that_a_strange_room_answers_before_it_was_sent_is_not_sent(outbox: net.Outbox) -> None:
    one, _ = write(outbox, "one", "two")
    outbox.answered(one)
    assert sent(outbox) == ["two"]


def test_something_is_unsent_until_this_connection_has_had_it(outbox: net.Outbox) -> None:
    """A client that closes waits for that long."""
    steps = [outbox.has_unsent]
    write(outbox, "one")
    steps.append(outbox.has_unsent)
    outbox.take(EVERYTHING)
    steps.append(outbox.has_unsent)
    outbox.close()  # the room may not have received it, so it goes out once more
    steps.append(outbox.has_unsent)
    enter(outbox)
    steps.append(outbox.has_unsent)
    assert steps == [False, True, False, True, True]


# Settled after a break -----------------------------------------------------------------------------------------------


def test_a_line_that_the_room_answered_without_saying_it_was_rejected(outbox: net.Outbox) -> None:
    """Everything that was said has come, and this line was not among it."""
    (number,) = write(outbox, "one")
    outbox.take(EVERYTHING)
    outbox.close()
    assert codes(enter(outbox, last_id=number)) == [(number, "unknown")]
    assert (len(outbox), sent(outbox)) == (0, [])


def test_a_line_that_is_perhaps_among_the_events_no_longer_kept_is_settled(outbox: net.Outbox) -> None:
    (number,) = write(outbox, "one")
    outbox.take(EVERYTHING)
    outbox.close()
    assert enter(outbox, last_id=number, has_missed=True) == [net.Settled(number)]
    assert (len(outbox), sent(outbox)) == (0, [])


def test_a_line_that_came_with_what_was_missed_needs_no_other_answer(outbox: net.Outbox) -> None:
    (number,) = write(outbox, "one")
    outbox.take(EVERYTHING)
    outbox.close()
    outbox.enter("r1", number)
    outbox.answered(number)  # it is among the history
    assert outbox.catch_up(number, has_missed=False) == []


def test_only_lines_above_the_rooms_last_id_go_out_again(outbox: net.Outbox) -> None:
    numbers = write(outbox, "one", "two", "three", "four")
    outbox.take(EVERYTHING)
    outbox.close()
    assert codes(enter(outbox, last_id=numbers[1])) == [(numbers[0], "unknown"), (numbers[1], "unknown")]
    assert sent(outbox) == ["three", "four"]


def test_a_line_whose_id_another_client_used_before_it_was_sent_returns_unsent(outbox: net.Outbox) -> None:
    """The same person's other computer, with a clock that is ahead."""
    outbox.close()
    (number,) = write(outbox, "one")
    assert codes(enter(outbox, last_id=number + 1000)) == [(number, "unsent")]
    assert sent(outbox) == []


# A line belongs to its room ------------------------------------------------------------------------------------------


def test_lines_written_before_the_first_welcome_belong_to_the_first_room() -> None:
    outbox = outbox_at(START)
    write(outbox, "one")
    assert enter(outbox, "r1") == []
    assert sent(outbox) == ["one"]


def test_in_another_room_all_lines_return_and_none_goes_out(outbox: net.Outbox) -> None:
    (one,) = write(outbox, "one")
    outbox.take(EVERYTHING)
    (two,) = write(outbox, "two")
    outbox.close()
    (three,) = write(outbox, "three")
    returned = enter(outbox, "r2", last_id=three + 5)
    assert codes(returned) == [(one, "unanswered"), (two, "unsent"), (three, "unsent")]
    assert (len(outbox), sent(outbox)) == (0, [])
    write(outbox, "four")
    assert sent(outbox) == ["four"]


def test_back_in_the_first_room_lines_of_the_second_return_too(outbox: net.Outbox) -> None:
    enter(outbox, "r2")
    (number,) = write(outbox, "one")
    outbox.close()
    assert codes(enter(outbox, "r1")) == [(number, "unsent")]


def test_a_line_not_sent_in_this_room_is_called_unsent_however_many_were_sent_in_the_one_before(
    outbox: net.Outbox
) -> None:
    write(outbox, *map(str, range(100)))
    outbox.take(EVERYTHING)
    outbox.close()
    enter(outbox, "r2")
    (number,) = write(outbox, "one")
    assert codes([*outbox.give_up()]) == [(number, "unsent")]


def test_at_the_end_every_line_returns_and_says_whether_the_others_may_have_it(outbox: net.Outbox) -> None:
    (one,) = write(outbox, "one")
    outbox.take(EVERYTHING)
    (two,) = write(outbox, "two")
    assert codes([*outbox.give_up()]) == [(one, "unanswered"), (two, "unsent")]
    assert outbox.give_up() == []
    assert not outbox.has_unsent
    assert sent(outbox) == []


# Outboxes and a room -------------------------------------------------------------------------------------------------


@dataclass
class Visitor:
    """A client without threads and sockets: an outbox, and what a connection to the room would carry each way."""

    name: str
    outbox: net.Outbox
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    feed: net.Feed | None = None  # of the connection, if there is one
    person: net.Person | None = None
    to_room: list[net.Say] = field(default_factory=list)  # on its way
    from_room: list[net.Message | net.Unknown] = field(default_factory=list)  # on its way
    late: list[tuple[net.Feed, net.Say]] = field(default_factory=list)  # of earlier connections
    welcome: net.Welcome | None = None
    last: int = 0  # number of the newest event
    catch_up_to: int = 0
    has_missed: bool = False
    is_caught_up: bool = False
    written: list[int] = field(default_factory=list)
    heard: list[net.Said] = field(default_factory=list)
    answers: list[tuple[int, str]] = field(default_factory=list)  # ids, and how they were answered


class World:
    """One room, and visitors whose messages travel one at a time, until a connection breaks."""

    def __init__(self, history: int) -> None:
        self.room = net.Room("Room 7", history=history, now=lambda: START, clock=lambda: START)
        self.visitors = [Visitor(f"Person {number}", outbox_at(START)) for number in range(3)]

    def write(self, visitor: Visitor) -> None:
        visitor.written += write(visitor.outbox, f"{visitor.name}: {len(visitor.written)}")

    def connect(self, visitor: Visitor) -> None:
        if visitor.feed is None:
            visitor.feed = net.Feed()
            room_id = None if visitor.welcome is None else visitor.welcome.room
            join = net.Join(visitor.name, visitor.token, room_id, visitor.last)
            visitor.person = self.room.join(join, "10.0.0.1", visitor.feed)

    def cut(self, visitor: Visitor) -> None:
        """What is on its way to the visitor is lost; some of what is on its way to the room may still arrive."""
        if visitor.feed is not None:
            visitor.late += [(visitor.feed, say) for say in visitor.to_room]
        visitor.feed = None
        visitor.to_room.clear()
        visitor.from_room.clear()
        visitor.outbox.close()

    def send_some(self, visitor: Visitor, size: int = 1) -> None:
        if visitor.feed is not None:
            visitor.to_room += says(visitor.outbox.take(size))

    def deliver_to_room(self, visitor: Visitor) -> None:
        if visitor.feed is not None and visitor.person is not None and visitor.to_room:
            say = visitor.to_room.pop(0)
            self.room.say(visitor.person, visitor.feed, say.id, say.text, net.text_problem(say.text))

    def deliver_late(self, visitor: Visitor) -> None:
        if visitor.person is not None and visitor.late:
            feed, say = visitor.late.pop(0)
            self.room.say(visitor.person, feed, say.id, say.text, net.text_problem(say.text))

    def send_some_back(self, visitor: Visitor) -> None:
        """The room's sender."""
        if visitor.feed is None:
            return
        piece = self.room.next_piece(visitor.feed, {})
        if piece == net.END_OF_FEED:
            self.cut(visitor)
        elif piece is not None:
            visitor.from_room += [net.decode(line, net.FROM_ROOM) for line in piece.splitlines()]

    def deliver_to_visitor(self, visitor: Visitor) -> None:
        """What `Client` does with each message, as far as it matters here."""
        if not visitor.from_room:
            return
        message = visitor.from_room.pop(0)
        if isinstance(message, net.Welcome):
            visitor.welcome = message
            visitor.last += message.missed
            visitor.has_missed = visitor.has_missed or message.missed > 0
            visitor.is_caught_up = False
            assert visitor.outbox.enter(message.room, message.last_id) == []
            visitor.catch_up_to = visitor.last + message.history
        elif isinstance(message, net.Numbered):
            assert message.number == visitor.last + 1
            visitor.last = message.number
            if isinstance(message, net.Said):
                visitor.heard.append(message)
                if visitor.welcome is not None and message.who == visitor.welcome.who:
                    visitor.outbox.answered(message.id)
                    visitor.answers.append((message.id, "said"))
        if visitor.welcome is not None and not visitor.is_caught_up and visitor.last >= visitor.catch_up_to:
            visitor.is_caught_up = True
            for answer in visitor.outbox.catch_up(visitor.welcome.last_id, visitor.has_missed):
                visitor.answers.append((answer.id, "settled" if isinstance(answer, net.Settled) else answer.code))
            visitor.has_missed = False

    def calm_down(self) -> None:
        """Everyone is in, and everything arrives."""
        for _ in range(10_000):
            for visitor in self.visitors:
                self.connect(visitor)
                self.send_some(visitor, EVERYTHING)
                self.deliver_to_room(visitor)
                self.send_some_back(visitor)
                self.deliver_to_visitor(visitor)
            if all(self.is_done(visitor) for visitor in self.visitors):
                return
        raise AssertionError("it does not come to an end")

    def is_done(self, visitor: Visitor) -> bool:
        is_up_to_date = visitor.last == self.room.history.next - 1
        return is_up_to_date and len(visitor.outbox) == 0 and not visitor.to_room and not visitor.from_room


@pytest.mark.parametrize("history", [10_000, 10])
def test_wherever_connections_break_each_line_is_said_once_and_answered_once_in_order(
    history: int, chance: random.Random
) -> None:
    world = World(history)
    actions = [world.write, world.connect, world.cut, world.send_some, world.deliver_to_room, world.send_some_back]
    actions += [world.deliver_late, *[world.deliver_to_visitor] * 3]
    for _ in range(4_000):
        chance.choice(actions)(chance.choice(world.visitors))
    world.calm_down()
    for visitor in world.visitors:
        assert [number for number, _ in visitor.answers] == visitor.written
        assert {how for _, how in visitor.answers} <= ({"said"} if history == 10_000 else {"said", "settled"})
        for speaker in world.visitors:
            ids = [line.id for line in visitor.heard if line.name == speaker.name]
            assert ids == sorted(set(ids))  # none twice, none out of order
            if history == 10_000:
                assert ids == speaker.written
