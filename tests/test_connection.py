"""Deadlines, feeds, and one socket with its two threads and its wake-up call: driven here by hand, without a room."""

from __future__ import annotations

import contextlib
import queue
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

import net
from tests.helpers import LIMIT, LOOPBACK, until


class Clock:
    """A clock that moves only when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


# Feeds ---------------------------------------------------------------------------------------------------------------


def open_feed(cursor: int = 1) -> net.Feed:
    feed = net.Feed()
    feed.open(cursor)
    return feed


def test_a_feed_goes_through_its_life_in_order() -> None:
    assert list(net.Life) == [net.Life.JOINING, net.Life.OPEN, net.Life.ENDING, net.Life.CLOSED]
    feed = net.Feed()
    lives = [feed.life]
    feed.open(1)
    lives.append(feed.life)
    feed.end(1, None)
    lives.append(feed.life)
    assert feed.pop_private_lines() == net.END_OF_FEED
    lives.append(feed.life)
    assert lives == list(net.Life)


def test_a_feed_begins_where_it_is_opened() -> None:
    assert open_feed(7).cursor == 7


def test_a_feed_that_has_not_joined_is_given_nothing() -> None:
    feed = net.Feed()
    feed.tell(b"too early")
    feed.end(1, net.Closed("too early"))
    assert feed.life is net.Life.JOINING
    assert feed.pop_private_lines() is None


def test_a_feed_without_private_lines_has_none_to_give() -> None:
    assert open_feed().pop_private_lines() is None


def test_private_lines_wait_until_the_events_before_them_are_written() -> None:
    feed = open_feed(1)
    for after, line in [(0, b"a"), (3, b"b"), (3, b"c"), (5, b"d")]:
        feed.tell(line, after)
    assert feed.pop_private_lines() == b"a"
    assert feed.pop_private_lines() is None
    feed.cursor = 4
    assert feed.pop_private_lines() == b"bc"
    assert feed.pop_private_lines() is None
    feed.cursor = 5
    assert feed.pop_private_lines() == b"d"


def test_the_last_words_come_after_the_events_before_them_and_nothing_comes_after_them() -> None:
    feed = open_feed(1)
    feed.end(3, net.Closed("goodbye"))
    assert feed.pop_private_lines() is None
    feed.cursor = 3
    assert feed.pop_private_lines() == net.encode(net.Closed("goodbye"))
    assert feed.pop_private_lines() == net.END_OF_FEED
    assert feed.pop_private_lines() is None


def test_a_feed_may_end_without_last_words() -> None:
    feed = open_feed(3)
    feed.end(3, None)
    assert feed.pop_private_lines() == net.END_OF_FEED


def test_private_lines_from_before_the_end_still_come_and_those_for_later_do_not() -> None:
    feed = open_feed(1)
    feed.tell(b"before")
    feed.tell(b"later", 9)
    feed.end(3, net.Closed("goodbye"))
    assert feed.pop_private_lines() == b"before"
    feed.cursor = 3
    assert feed.pop_private_lines() == net.encode(net.Closed("goodbye"))
    feed.cursor = 9
    assert feed.pop_private_lines() == net.END_OF_FEED


def test_a_feed_that_is_ending_is_given_nothing_more() -> None:
    feed = open_feed(1)
    feed.end(1, net.Closed("first"))
    feed.tell(b"too late")
    feed.end(1, net.Closed("second"))
    assert feed.pop_private_lines() == net.encode(net.Closed("first"))
    assert feed.pop_private_lines() == net.END_OF_FEED


def test_a_feed_that_is_closed_gets_not_even_last_words() -> None:
    feed = open_feed(1)
    feed.tell(b"never")
    feed.close()
    feed.tell(b"never")
    feed.end(1, net.Closed("never"))
    assert feed.life is net.Life.CLOSED
    assert feed.pop_private_lines() is None


def test_a_feed_whose_computer_no_longer_reads_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "MAX_PRIVATE_LINES", 3)
    feed = open_feed(1)
    lives = []
    for _ in range(4):
        feed.tell(b"x")
        lives.append(feed.life)
    assert lives == [net.Life.OPEN] * 3 + [net.Life.CLOSED]
    assert feed.pop_private_lines() is None


# One socket ----------------------------------------------------------------------------------------------------------


@dataclass
class Line:
    """A connection that receives a few bytes at a time, and the socket at its other end."""

    here: net.Connection
    there: socket.socket


def open_line(receive_size: int) -> Line:
    with socket.create_server((LOOPBACK, 0)) as listener:
        there = socket.create_connection(listener.getsockname(), LIMIT)
        accepted, _ = listener.accept()
    return Line(net.Connection(accepted, receive_size), there)


@pytest.fixture
def line() -> Iterator[Line]:
    line = open_line(receive_size=10)
    yield line
    line.here.close()
    line.there.close()


@pytest.fixture
def wide_line() -> Iterator[Line]:
    line = open_line(receive_size=net.ROOM_RECEIVES)
    yield line
    line.here.close()
    line.there.close()


def soon() -> net.Deadline:
    return net.Deadline(LIMIT)


def lines_from(connection: net.Connection, count: int) -> list[bytes]:
    """The next lines, as `next_lines` gives them."""
    lines: list[bytes] = []
    while len(lines) < count:
        lines += connection.next_lines(LIMIT)
    return lines


def test_lines_come_out_one_by_one_however_they_were_received(line: Line) -> None:
    line.there.sendall(b"one\ntwo is longer than one receive\n\nfo")
    got = [line.here.wait_for_line(soon()) for _ in range(3)]
    assert got == [b"one", b"two is longer than one receive", b""]
    line.there.sendall(b"ur\n")
    assert line.here.wait_for_line(soon()) == b"four"


def test_lines_that_came_together_are_given_together(line: Line) -> None:
    line.there.sendall(b"one\ntwo\n3")
    assert line.here.next_lines(LIMIT) == [b"one", b"two"]
    assert line.here.next_lines(0) == []
    line.there.sendall(b"\n4\n")
    assert lines_from(line.here, 2) == [b"3", b"4"]


def test_good_lines_before_one_that_is_too_long_are_given_first(line: Line) -> None:
    line.here.accept(longest_line=5)
    line.there.sendall(b"1\n2\n345678")
    assert line.here.next_lines(LIMIT) == [b"1", b"2"]
    with pytest.raises(net.ProtocolError, match="longer than 5 bytes"):
        line.here.next_lines(LIMIT)


def test_asking_for_lines_without_a_wait_returns_at_once(line: Line) -> None:
    assert line.here.next_lines(0) == []
    line.there.sendall(b"here\n")
    until(lambda: line.here.next_lines(0) == [b"here"], "the line is here")


def test_waiting_for_a_line_ends_with_the_deadline(line: Line) -> None:
    clock = Clock()

    def is_wanted() -> bool:
        clock.now += 1.0  # each look at the deadline takes a second
        return True

    with pytest.raises(net.ConnectionLost) as lost:
        line.here.wait_for_line(net.Deadline(0.0, is_wanted=is_wanted, clock=clock))
    assert lost.value.trouble is net.Trouble.SILENT


def test_a_line_before_joining_may_have_2048_bytes_and_a_longer_one_later(wide_line: Line) -> None:
    wide_line.there.sendall(b"x" * 2_047 + b"\n" + b"y" * 2_048 + b"\n")
    assert wide_line.here.wait_for_line(soon()) == b"x" * 2_047
    wide_line.here.accept(net.MAX_LINE_TO_ROOM)
    assert wide_line.here.wait_for_line(soon()) == b"y" * 2_048


def test_a_longer_line_before_joining_is_a_protocol_error(wide_line: Line) -> None:
    wide_line.there.sendall(b"y" * 2_048)
    with pytest.raises(net.ProtocolError, match="longer than 2048 bytes"):
        wide_line.here.wait_for_line(soon())


def test_too_many_short_lines_before_joining_are_a_protocol_error(wide_line: Line) -> None:
    wide_line.there.sendall(b"short\n" * 20_000)  # 120,000 bytes
    with pytest.raises(net.ProtocolError, match="more than 65536 bytes before joining"):
        lines_from(wide_line.here, 20_000)


def test_there_is_no_limit_to_the_lines_of_somebody_who_has_joined(wide_line: Line) -> None:
    wide_line.here.accept(net.MAX_LINE_TO_ROOM)
    wide_line.there.sendall(b"short\n" * 20_000)
    assert len(lines_from(wide_line.here, 20_000)) == 20_000


def test_received_bytes_are_counted_as_they_came(line: Line) -> None:
    line.there.sendall(b"one\ntwo\n")
    lines_from(line.here, 2)
    assert line.here.received == 8


def test_raw_bytes_may_follow_a_line_and_a_line_may_follow_raw_bytes(line: Line) -> None:
    line.there.sendall(b"begin\nraw\nbytesend\n")
    assert line.here.wait_for_line(soon()) == b"begin"
    raw = b""
    while len(raw) < 9:
        raw += line.here.next_bytes(9 - len(raw), soon())
    assert raw == b"raw\nbytes"
    assert line.here.wait_for_line(soon()) == b"end"


def test_each_raw_byte_gives_the_whole_time_again(line: Line) -> None:
    clock = Clock()
    deadline = net.Deadline(2.0, clock=clock)
    for byte in b"slow":
        clock.now += 1.5
        line.there.sendall(bytes([byte]))
        assert line.here.next_bytes(1, deadline) == bytes([byte])
    clock.now += 2.0
    with pytest.raises(net.ConnectionLost):
        line.here.next_bytes(1, deadline)


def test_a_connection_that_the_other_side_ended_is_lost_but_not_before_its_last_line(line: Line) -> None:
    line.there.sendall(b"last\n")
    line.there.shutdown(socket.SHUT_WR)
    assert line.here.wait_for_line(soon()) == b"last"
    with pytest.raises(net.ConnectionLost):
        line.here.wait_for_line(soon())


def test_a_socket_that_seems_readable_and_is_not_is_a_wait_that_ends(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system may call a socket readable on which nothing has arrived."""
    kind = getattr(selectors, "PollSelector", selectors.SelectSelector)
    monkeypatch.setattr(kind, "select", lambda _selector, _wait: ["readable"])
    assert line.here.next_lines(LIMIT) == []


def test_writing_never_waits_and_goes_on_where_it_stopped(line: Line) -> None:
    data = bytes(range(256)) * 80_000  # 20 MB: more than any system buffers
    assert not line.here.write(data)
    received = bytearray()
    while line.here.has_unsent:
        received += line.there.recv(1 << 20)
        line.here.flush()
    line.here.write(net.END_OF_FEED)
    while more := line.there.recv(1 << 20):
        received += more
    assert received == data


def test_the_end_of_the_feed_ends_the_writing_but_not_the_reading(line: Line) -> None:
    assert line.here.write(b"bye\n")
    assert line.here.write(net.END_OF_FEED)
    assert [line.there.recv(10), line.there.recv(10)] == [b"bye\n", b""]
    line.there.sendall(b"bye too\n")
    assert line.here.wait_for_line(soon()) == b"bye too"


def test_writing_to_somebody_who_is_gone_is_left_to_the_reader_to_notice(line: Line) -> None:
    line.there.close()
    until(lambda: line.here.write(b"x") and is_gone(line.here), "the connection is lost")
    assert not line.here.has_unsent


def is_gone(connection: net.Connection) -> bool:
    try:
        connection.next_lines(0)
    except net.ConnectionLost:
        return True
    return False


def test_a_file_is_written_as_the_other_side_takes_it(line: Line) -> None:
    data = bytes(range(256)) * 80_000
    received = bytearray()

    def take() -> None:
        while len(received) < len(data):
            received.extend(line.there.recv(1 << 20))

    taker = threading.Thread(target=take)
    taker.start()
    line.here.send_bytes(data, soon())
    taker.join(LIMIT)
    assert received == data


def test_a_file_that_the_other_side_does_not_take_is_given_up(line: Line) -> None:
    with pytest.raises(net.ConnectionLost) as lost:
        line.here.send_bytes(bytes(20_000_000), net.Deadline(0.05))
    assert lost.value.trouble is net.Trouble.SILENT


def test_an_abort_wakes_the_reader(line: Line) -> None:
    lost = threading.Event()

    def read() -> None:
        with pytest.raises(net.ConnectionLost):
            line.here.wait_for_line(soon())
        lost.set()

    reader = threading.Thread(target=read)
    reader.start()
    line.here.abort()
    assert lost.wait(LIMIT)
    reader.join(LIMIT)


def test_an_abort_after_the_close_does_not_touch_a_descriptor_of_somebody_else(line: Line) -> None:
    number = line.here.socket.fileno()
    line.here.close()
    with contextlib.ExitStack() as stack:
        while True:  # until something has the number that became free; usually that is at once
            one, other = map(stack.enter_context, socket.socketpair())
            if number in (one.fileno(), other.fileno()):
                break
        line.here.abort()
        one.sendall(b"fine")
        assert other.recv(10) == b"fine"


# Silence -------------------------------------------------------------------------------------------------------------


def be_silent(connection: net.Connection) -> None:
    """The last complete line was too long ago: a negative time in which nobody read moves it into the past."""
    connection.did_not_read(-net.SILENCE - 1)


def test_a_connection_ends_after_a_silence_that_is_too_long(line: Line) -> None:
    line.here.keep_time()
    be_silent(line.here)
    with pytest.raises(net.ConnectionLost) as lost:
        line.here.keep_time()
    assert lost.value.trouble is net.Trouble.SILENT


def test_a_complete_line_ends_the_silence_and_the_beginning_of_one_does_not(line: Line) -> None:
    be_silent(line.here)
    line.there.sendall(b"pin")
    until(lambda: line.here.next_lines(0.01) == [] and line.here.received == 3, "the beginning is here")
    with pytest.raises(net.ConnectionLost):
        line.here.keep_time()
    line.there.sendall(b"g\n")
    assert line.here.next_lines(LIMIT) == [b"ping"]
    line.here.keep_time()


def test_time_in_which_we_did_not_read_is_no_silence(line: Line) -> None:
    be_silent(line.here)
    line.here.did_not_read(net.SILENCE)
    line.here.keep_time()


def test_it_is_time_for_one_ping_after_a_while_in_which_nothing_was_sent(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not line.here.keep_time()  # it is new
    monkeypatch.setattr(net, "PING_AFTER", 0.0)
    assert line.here.keep_time()
    monkeypatch.setattr(net, "PING_AFTER", LIMIT)
    assert not line.here.keep_time()  # that ping counts as sent


# Last words ----------------------------------------------------------------------------------------------------------


def test_last_words_arrive_although_the_other_side_has_sent_what_nobody_read(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing a socket with unread bytes would reset the connection, and the last words would be lost."""
    monkeypatch.setattr(net, "LAST_WORDS", LIMIT)
    line.there.sendall(bytes(100))
    line.there.shutdown(socket.SHUT_WR)
    start = time.monotonic()
    line.here.close_unjoined(net.Closed("goodbye"))
    line.here.close()
    assert time.monotonic() - start < LIMIT  # it ended with the other side, and not with the time
    assert line.there.recv(1000) == net.encode(net.Closed("goodbye"))
    assert line.there.recv(1000) == b""


def test_the_reader_waits_a_moment_for_the_sender_to_write_the_last_words(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "LAST_WORDS", LIMIT)
    line.there.shutdown(socket.SHUT_WR)
    reader = threading.Thread(target=line.here.linger)
    reader.start()
    line.here.write(b"goodbye\n")
    assert reader.is_alive()
    line.here.write(net.END_OF_FEED)
    reader.join(LIMIT / 2)
    assert not reader.is_alive()


def test_last_words_that_nobody_takes_are_waited_for_only_for_a_moment(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "LAST_WORDS", 0.05)
    line.here.linger()  # the other side never ends, and this one never has anything to write


# The wake-up call ----------------------------------------------------------------------------------------------------


@pytest.fixture
def wake_up() -> Iterator[net.WakeUp]:
    wake_up = net.WakeUp()
    yield wake_up
    wake_up.close()


def test_many_wake_up_calls_send_one_byte(wake_up: net.WakeUp) -> None:
    for _ in range(1000):
        wake_up.set()
    assert len(wake_up.receiver.recv(1000)) == 1


def test_a_wake_up_call_works_again_after_it_was_heard(wake_up: net.WakeUp) -> None:
    wake_up.set()
    wake_up.clear()
    with pytest.raises(BlockingIOError):
        wake_up.receiver.recv(1)
    wake_up.set()
    assert wake_up.receiver.recv(1)


def test_a_wake_up_call_after_the_close_is_harmless(wake_up: net.WakeUp) -> None:
    wake_up.close()
    wake_up.set()


def test_a_wake_up_call_ends_a_wait(wake_up: net.WakeUp) -> None:
    caller = threading.Thread(target=wake_up.set)
    caller.start()
    assert wake_up.selector.select(LIMIT)
    caller.join(LIMIT)


# The sender ----------------------------------------------------------------------------------------------------------


def nothing() -> None:
    pass


def test_a_stuck_connection_does_not_hold_up_the_sender(line: Line) -> None:
    """The same sender serves a connection that takes nothing more, and one that does."""
    other = open_line(receive_size=10)
    work: list[tuple[net.Connection, bytes]] = [(line.here, bytes(20_000_000)), (other.here, b"one")]

    def next_writes() -> net.Writes:
        ready = [work.pop(0)] if work else []
        assert all(not connection.has_unsent for connection, _ in ready)
        return ready

    sender = net.Sender("test sender", next_writes, nothing)
    sender.wake()
    assert other.there.recv(10) == b"one"
    work.append((other.here, b"two"))
    sender.wake()
    assert other.there.recv(10) == b"two"
    for connection in (line.here, other.here):
        sender.release(connection)
    sender.stop()
    assert line.here.socket.fileno() == other.here.socket.fileno() == -1
    other.there.close()


@pytest.mark.parametrize(
    ("size", "rests"), [(1, True), (net.SHORT_PIECE - 1, True), (net.SHORT_PIECE, False), (net.MAX_PIECE, False)]
)
def test_the_sender_rests_for_a_moment_after_short_pieces(
    line: Line, monkeypatch: pytest.MonkeyPatch, size: int, rests: bool
) -> None:
    work = [[(line.here, bytes(size))]]
    rested: list[float] = []
    again = threading.Event()

    def next_writes() -> net.Writes:
        if work:
            return work.pop()
        again.set()
        return []

    def sleep(seconds: float, really: Callable[[float], None] = time.sleep) -> None:
        if threading.current_thread().name == "test sender":
            rested.append(seconds)
        really(seconds)

    monkeypatch.setattr(time, "sleep", sleep)
    sender = net.Sender("test sender", next_writes, nothing)
    sender.wake()
    assert again.wait(LIMIT)
    sender.release(line.here)
    sender.stop()
    assert [0 < seconds <= net.MAX_REST for seconds in rested] == [True] * rests


def test_a_sender_with_nothing_to_write_does_not_rest(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = queue.SimpleQueue[None]()

    def next_writes() -> net.Writes:
        asked.put(None)
        return []

    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it rested"))
    sender = net.Sender("test sender", next_writes, nothing)
    for _ in range(3):
        sender.wake()
        asked.get(timeout=LIMIT)
    sender.release(line.here)
    sender.stop()


def test_a_sender_that_failed_once_can_still_write_last_words(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    work: list[net.Writes] = []
    failed = threading.Event()

    def next_writes() -> net.Writes:
        if not failed.is_set():
            raise RuntimeError("nobody expected this")
        return work.pop(0) if work else []

    def on_failure() -> None:
        work.append([(line.here, b"goodbye\n")])
        work.append([(line.here, net.END_OF_FEED)])
        failed.set()

    sender = net.Sender("test sender", next_writes, on_failure)
    sender.wake()
    assert line.there.recv(100) == b"goodbye\n"
    assert line.there.recv(100) == b""
    sender.release(line.here)
    sender.stop()
    assert "the sender failed" in caplog.text
    caplog.clear()


def test_a_sender_that_failed_twice_still_closes_what_is_released_to_it(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    def next_writes() -> net.Writes:
        raise RuntimeError("nobody expected this")

    sender = net.Sender("test sender", next_writes, nothing)
    sender.wake()
    until(lambda: "the sender failed again" in caplog.text, "the second failure is logged")
    sender.release(line.here)
    until(lambda: line.here.socket.fileno() == -1, "the connection is closed")
    sender.stop()
    caplog.clear()


# The history ---------------------------------------------------------------------------------------------------------


def test_a_history_keeps_the_newest() -> None:
    history = net.History(most_events=3)
    for number in range(1, 6):
        history.append(b"%d" % number)
    assert (history.oldest, history.next) == (3, 6)
    assert history.piece(3, 6) == (b"345", 6)
    assert history.piece(4, 5) == (b"4", 5)


def test_the_oldest_promised_event_is_kept_for_a_while() -> None:
    """A newcomer who begins there must have time to read it, even while the others go on talking."""
    history = net.History(most_events=8)
    for _ in range(20):
        history.append(b"x")
    begin = history.promised()
    assert history.next - begin == 8
    history.append(b"x")
    history.append(b"x")
    assert history.oldest == begin
    history.append(b"x")
    assert history.oldest > begin


def test_a_history_keeps_a_limited_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "KEPT_BYTES", 10)
    history = net.History(most_events=1000)
    for _ in range(5):
        history.append(b"1234")
    assert (history.oldest, history.next) == (4, 6)


def test_a_piece_of_history_is_small_enough_to_be_fair_but_never_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "MAX_PIECE", 10)
    history = net.History(most_events=1000)
    for line in (b"larger than a piece", b"1234", b"5678", b"90"):
        history.append(line)
    assert history.piece(1, 5) == (b"larger than a piece", 2)
    assert history.piece(2, 5) == (b"1234567890", 5)


def test_an_event_that_is_replaced_reads_differently_from_then_on() -> None:
    history = net.History(most_events=3)
    for line in (b"one", b"two", b"three"):
        history.append(line)
    history.replace(2, b"deleted")
    assert history.get(2) == b"deleted"
    assert history.piece(1, 4) == (b"onedeletedthree", 4)


def test_what_replaces_an_event_counts_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "KEPT_BYTES", 10)
    history = net.History(most_events=1000)
    history.append(b"12345678")
    history.replace(1, b"")
    history.append(b"1234567890")
    assert history.oldest == 1
