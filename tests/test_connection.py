"""Feeds, and one socket with its reader and its sender: driven here by hand, without a room."""

from __future__ import annotations

import contextlib
import itertools
import queue
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

import net
from tests.helpers import LIMIT, LOOPBACK, until

# Feeds ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def feed() -> net.Feed:
    feed = net.Feed()
    feed.open(1)
    return feed


def test_a_feed_is_given_nothing_before_it_joins_and_may_end_without_last_words() -> None:
    feed = net.Feed()
    feed.tell(b"too early")
    feed.end(1, net.Closed("too early"))
    assert (feed.pop_private_lines(), feed.life) == (None, net.Life.JOINING)
    feed.open(7)
    assert (feed.pop_private_lines(), feed.cursor, feed.life) == (None, 7, net.Life.OPEN)
    feed.end(7, None)
    assert (feed.cursor, feed.life) == (7, net.Life.ENDING)
    assert (feed.pop_private_lines(), feed.life) == (net.END_OF_FEED, net.Life.CLOSED)


def test_private_lines_wait_until_the_events_before_them_are_written(feed: net.Feed) -> None:
    for after, line in [(0, b"a"), (3, b"b"), (3, b"c"), (5, b"d")]:
        feed.tell(line, after)
    assert [feed.pop_private_lines() for _ in range(2)] == [b"a", None]
    feed.cursor = 4
    assert [feed.pop_private_lines() for _ in range(2)] == [b"bc", None]
    feed.cursor = 5
    assert feed.pop_private_lines() == b"d"


def test_what_belongs_before_the_end_still_comes_then_the_last_words_and_then_nothing(feed: net.Feed) -> None:
    feed.tell(b"before")
    feed.tell(b"later", 9)
    feed.end(3, net.Closed("goodbye"))
    feed.tell(b"too late")
    feed.end(1, net.Closed("again"))
    assert [feed.pop_private_lines() for _ in range(2)] == [b"before", None]
    feed.cursor = 3
    assert feed.pop_private_lines() == net.encode(net.Closed("goodbye"))
    feed.cursor = 9
    assert [feed.pop_private_lines() for _ in range(2)] == [net.END_OF_FEED, None]


def test_a_feed_that_is_closed_gets_not_even_last_words(feed: net.Feed) -> None:
    feed.tell(b"never")
    feed.close()
    feed.tell(b"never")
    feed.end(1, net.Closed("never"))
    assert feed.life is net.Life.CLOSED
    assert feed.pop_private_lines() is None


def test_a_feed_whose_computer_no_longer_reads_is_closed(feed: net.Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "MAX_PRIVATE_LINES", 3)
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


@contextlib.contextmanager
def open_line(receive_size: int) -> Iterator[Line]:
    with socket.create_server((LOOPBACK, 0)) as listener:
        there = socket.create_connection(listener.getsockname(), LIMIT)
        here = net.Connection(listener.accept()[0], receive_size)
    with there, contextlib.closing(here):
        yield Line(here, there)


@pytest.fixture
def line(stack: contextlib.ExitStack) -> Line:
    return stack.enter_context(open_line(receive_size=10))


def soon() -> net.Deadline:
    return net.Deadline(LIMIT)


@pytest.mark.parametrize("receive_size", [1, 2, 7, 1000])
def test_lines_come_out_one_by_one_however_they_were_received(stack: contextlib.ExitStack, receive_size: int) -> None:
    line = stack.enter_context(open_line(receive_size))
    lines = [b"one", b"two is longer than most receives", b"", b"four"]
    line.there.sendall(b"\n".join(lines) + b"\n")
    assert [line.here.wait_for_line(soon()) for _ in lines] == lines
    assert line.here.received == 43


def test_good_lines_before_one_that_is_too_long_are_given_first(line: Line) -> None:
    line.here.longest_line = 5
    line.there.sendall(b"1\n2\n345678")
    assert line.here.next_lines(LIMIT) == [b"1", b"2"]
    with pytest.raises(net.ProtocolError, match="longer than 5 bytes"):
        line.here.next_lines(LIMIT)


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
    while line.here.unsent:
        received += line.there.recv(1 << 20)
        line.here.flush()
    line.here.write(net.END_OF_FEED)
    while more := line.there.recv(1 << 20):
        received += more
    assert received == data


def test_to_somebody_who_goes_on_reading_everything_is_sent_however_long_that_takes(line: Line) -> None:
    """A second passes with each look at the clock, and the other side then reads all that has come."""
    line.there.setblocking(False)
    line.there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    line.here.keep_buffer_small()
    seconds = itertools.count(0.0)

    def look_and_read() -> float:
        with contextlib.suppress(BlockingIOError):
            while True:
                line.there.recv(1 << 20)
        return next(seconds)

    line.here.send_bytes(bytes(20_000_000), net.Deadline(10.0, clock=look_and_read))


def test_the_end_of_the_feed_ends_the_writing_but_not_the_reading(line: Line) -> None:
    assert line.here.write(b"bye\n")
    assert line.here.write(net.END_OF_FEED)
    assert [line.there.recv(10), line.there.recv(10)] == [b"bye\n", b""]
    line.there.sendall(b"bye too\n")
    assert line.here.wait_for_line(soon()) == b"bye too"


def test_writing_to_somebody_who_is_gone_is_left_to_the_reader_to_notice(line: Line) -> None:
    line.there.close()
    with pytest.raises(net.ConnectionLost):
        until(lambda: line.here.write(b"x") and line.here.next_lines(0), "the connection is lost")
    assert line.here.write(b"too late")
    assert not line.here.unsent


def test_an_abort_wakes_the_reader(line: Line) -> None:
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(line.here.wait_for_line, soon())
        line.here.abort()
        with pytest.raises(net.ConnectionLost, match=net.Trouble.GONE.value):
            reading.result()


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


def test_only_a_complete_line_ends_a_silence_and_only_time_in_which_we_read_counts(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.here.feed.open(1)
    line.there.sendall(b"pin")
    until(lambda: line.here.next_lines(0.01) == [] and line.here.received == 3, "the beginning is here")
    assert [line.here.next_lines(0.01) for _ in range(5)] == [[]] * 5
    line.there.sendall(b"g\n")
    assert line.here.next_lines(LIMIT) == [b"ping"]
    monkeypatch.setattr(net, "SILENCE", 0.03)
    line.there.sendall(b"p")
    time.sleep(0.05)  # in which we do not read
    assert line.here.next_lines(0.01) == []
    with pytest.raises(net.ConnectionLost, match=net.Trouble.SILENT.value):
        until(lambda: line.here.next_lines(0.01), "the silence is too long")


def test_it_is_time_for_one_ping_after_a_while_in_which_nothing_was_sent(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.here.feed.open(1)
    now = time.monotonic()
    with monkeypatch.context() as clock:
        clock.setattr(time, "monotonic", lambda: now)
        assert not line.here.needs_ping()  # it is new
        clock.setattr(time, "monotonic", lambda: now + net.PING_AFTER + 0.1)
        assert line.here.needs_ping()
        line.here.write(b"ping\n")
        assert not line.here.needs_ping()


def test_the_reader_waits_a_moment_for_the_sender_to_write_the_last_words(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "LAST_WORDS", LIMIT)
    line.here.feed.open(1)
    line.there.shutdown(socket.SHUT_WR)
    reader = threading.Thread(target=line.here.linger)
    reader.start()
    line.here.write(b"goodbye\n")
    assert reader.is_alive()
    line.here.write(net.END_OF_FEED)
    reader.join(LIMIT / 2)
    assert not reader.is_alive()


# The sender ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def run_sender(next_writes: Callable[[], net.Writes], *connections: net.Connection) -> Iterator[net.Sender]:
    """A sender that has been woken; in the end these connections are released to it, and it has closed them."""
    sender = net.Sender("test sender", next_writes, on_failure=lambda: None)
    sender.wake()
    yield sender
    for connection in connections:
        sender.release(connection)
    sender.stop()
    sender.wake()  # harmless
    assert all(connection.socket.fileno() == -1 for connection in connections)


def test_a_stuck_connection_does_not_hold_up_the_sender_and_goes_on_when_it_can(
    line: Line, stack: contextlib.ExitStack
) -> None:
    other_line = stack.enter_context(open_line(receive_size=10))
    size = 20_000_000  # bytes; more than any system buffers
    work: list[tuple[net.Connection, bytes]] = [(line.here, bytes(size)), (other_line.here, b"one")]

    def next_writes() -> net.Writes:
        ready = [work.pop(0)] if work else []
        assert all(not connection.unsent for connection, _ in ready)
        return ready

    with run_sender(next_writes, line.here, other_line.here) as sender:
        assert other_line.there.recv(10) == b"one"
        work.append((other_line.here, b"two"))
        sender.wake()
        assert other_line.there.recv(10) == b"two"
        while size > 0:
            size -= len(line.there.recv(1 << 20))
        work.append((line.here, b"three"))
        sender.wake()
        assert line.there.recv(10) == b"three"


@pytest.mark.parametrize(("size", "rests"), [(0, False), (net.SHORT_PIECE - 1, True), (net.SHORT_PIECE, False)])
def test_the_sender_rests_for_a_moment_after_short_pieces_and_not_when_it_has_nothing_to_write(
    line: Line, monkeypatch: pytest.MonkeyPatch, size: int, rests: bool
) -> None:
    work = [[(line.here, bytes(size))]] if size > 0 else []
    rested: list[float] = []
    asked = queue.SimpleQueue[None]()

    def next_writes() -> net.Writes:
        if work:
            return work.pop()
        asked.put(None)
        return []

    def sleep(seconds: float, really: Callable[[float], None] = time.sleep) -> None:
        if threading.current_thread().name == "test sender":
            rested.append(seconds)
        really(seconds)

    monkeypatch.setattr(time, "sleep", sleep)
    with run_sender(next_writes, line.here) as sender:
        for _ in range(3):
            asked.get(timeout=LIMIT)
            sender.wake()
    assert [0 < seconds <= net.MAX_REST for seconds in rested] == [True] * rests


def test_a_sender_that_fails_again_and_again_still_closes_what_is_released_to_it(
    line: Line, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def next_writes() -> net.Writes:
        raise RuntimeError("nobody expected this")

    monkeypatch.setattr(net, "FAILURE_PAUSE", 0.01)
    with run_sender(next_writes) as sender:
        until(lambda: caplog.text.count("'test sender' failed") > 1, "the second failure is logged")
        sender.release(line.here)
        until(lambda: line.here.socket.fileno() == -1, "the connection is closed")
    caplog.clear()
