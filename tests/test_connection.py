"""One socket, its two threads and its wake-up call: driven here by hand, without a room."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

import net
from tests.helpers import LIMIT, LOOPBACK, until


@dataclass
class Line:
    """A connection, and the socket at its other end."""

    here: net.Connection
    there: socket.socket


@pytest.fixture
def line() -> Iterator[Line]:
    with socket.create_server((LOOPBACK, 0)) as listener:
        there = socket.create_connection(listener.getsockname(), LIMIT)
        accepted, _ = listener.accept()
    line = Line(net.Connection(accepted, longest_line=100, receive_size=10), there)
    yield line
    line.here.close()
    line.there.close()


def test_lines_come_out_one_by_one_however_they_were_received(line: Line) -> None:
    line.there.sendall(b"one\ntwo is longer than one receive\n\nfo")
    got = [line.here.next_line(LIMIT)]
    while len(got) < 3:
        if (more := line.here.next_line(LIMIT)) is not None:
            got.append(more)
    assert got == [b"one", b"two is longer than one receive", b""]
    line.there.sendall(b"ur\n")
    until(lambda: line.here.next_line(0) == b"four", "the rest of the last line")


def test_lines_that_came_together_are_given_together_but_none_after_last_words(line: Line) -> None:
    line.there.sendall(b"one\ntwo\n3")
    assert list(line.here.next_lines(LIMIT)) == [b"one", b"two"]
    assert list(line.here.next_lines(0)) == []
    line.there.sendall(b"\n4\n")
    lines = line.here.next_lines(LIMIT)
    assert next(lines) == b"3"
    line.here.end_at = time.monotonic()
    assert list(lines) == []


def test_nothing_to_receive_is_none_and_not_a_wait_for_ever(line: Line) -> None:
    assert line.here.next_line(0) is None


def test_the_end_of_the_other_side_is_a_lost_connection_but_not_before_its_last_line(line: Line) -> None:
    line.there.sendall(b"last\n")
    line.there.shutdown(socket.SHUT_WR)
    assert line.here.next_line(LIMIT) == b"last"
    with pytest.raises(net.ConnectionLost):
        line.here.next_line(LIMIT)


def test_writing_never_waits_and_goes_on_where_it_stopped(line: Line) -> None:
    data = bytes(range(256)) * 80_000  # 20 MB: more than any system buffers
    assert not line.here.write(data)
    received = bytearray()
    while not line.here.flush():
        received += line.there.recv(1 << 20)
    line.here.write(b"")
    while more := line.there.recv(1 << 20):
        received += more
    assert received == data


def test_an_empty_piece_ends_the_writing_but_not_the_reading(line: Line) -> None:
    assert line.here.write(b"bye\n")
    assert line.here.write(b"")
    assert [line.there.recv(10), line.there.recv(10)] == [b"bye\n", b""]
    line.there.sendall(b"bye too\n")
    assert line.here.next_line(LIMIT) == b"bye too"


def test_writing_to_somebody_who_is_gone_is_left_to_the_reader_to_notice(line: Line) -> None:
    line.there.close()
    until(lambda: line.here.write(b"x") and gone(line.here), "the connection is lost")
    assert not line.here.busy


def gone(connection: net.Connection) -> bool:
    try:
        connection.next_line(0)
    except net.ConnectionLost:
        return True
    return False


def test_an_abort_wakes_the_reader(line: Line) -> None:
    lost = threading.Event()

    def read() -> None:
        with pytest.raises(net.ConnectionLost):
            line.here.next_line(LIMIT)
        lost.set()

    reader = threading.Thread(target=read)
    reader.start()
    line.here.abort()
    assert lost.wait(LIMIT)
    reader.join(LIMIT)


def test_an_abort_after_the_close_touches_nobody_elses_descriptor(line: Line) -> None:
    number = line.here.socket.fileno()
    line.here.close()
    with contextlib.ExitStack() as stack:
        while True:  # until the number that became free is taken; mostly that is at once
            one, other = map(stack.enter_context, socket.socketpair())
            if number in (one.fileno(), other.fileno()):
                break
        line.here.abort()
        one.sendall(b"fine")
        assert other.recv(10) == b"fine"


def test_silence_is_over_when_something_was_received(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "SILENCE", 0.0)
    with pytest.raises(net.ConnectionLost) as lost:
        line.here.keep_time()
    assert lost.value.trouble is net.Trouble.SILENT
    monkeypatch.setattr(net, "SILENCE", LIMIT)
    line.here.keep_time()


def test_one_ping_is_due_after_a_while_in_which_nothing_was_sent(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not line.here.keep_time()  # it is new
    monkeypatch.setattr(net, "PING_AFTER", 0.0)
    assert line.here.keep_time()
    monkeypatch.setattr(net, "PING_AFTER", LIMIT)
    assert not line.here.keep_time()  # the one that was due counts as sent


def test_linger_drops_what_comes_and_ends_with_the_other_side(line: Line) -> None:
    line.there.sendall(bytes(1000))
    line.there.shutdown(socket.SHUT_WR)
    line.here.end_at = float("inf")
    line.here.all_written.set()
    line.here.linger()
    assert line.here.socket.recv(10) == b""


def test_linger_goes_on_where_there_is_nothing_to_read_after_all(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A selector may say "readable" of a socket that is not."""
    monkeypatch.setattr(line.here._readable, "select", lambda _wait: ["readable"])
    line.here.end_at = time.monotonic() + 0.05
    line.here.all_written.set()
    line.here.linger()
    assert time.monotonic() >= line.here.end_at


# The wake-up call ----------------------------------------------------------------------------------------------------


@pytest.fixture
def wake_up() -> Iterator[net.WakeUp]:
    wake_up = net.WakeUp()
    yield wake_up
    wake_up.close()


def test_many_wake_up_calls_are_one_byte(wake_up: net.WakeUp) -> None:
    for _ in range(1000):
        wake_up.set()
    assert len(wake_up.receiver.recv(1000)) == 1


def test_a_wake_up_call_can_be_made_again_once_it_was_heard(wake_up: net.WakeUp) -> None:
    wake_up.set()
    wake_up.clear()
    with pytest.raises(BlockingIOError):
        wake_up.receiver.recv(1)
    wake_up.set()
    assert wake_up.receiver.recv(1)


def test_a_wake_up_call_after_the_close_is_harmless(wake_up: net.WakeUp) -> None:
    wake_up.close()
    wake_up.set()


# The sender ----------------------------------------------------------------------------------------------------------


def test_a_stuck_connection_does_not_hold_up_the_sender(line: Line) -> None:
    """The same sender serves one that takes nothing more, and one that does."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        other_there = socket.create_connection(listener.getsockname(), LIMIT)
        other = net.Connection(listener.accept()[0], longest_line=100, receive_size=10)
    work: list[tuple[net.Connection, bytes]] = [(line.here, bytes(20_000_000)), (other, b"one")]

    def due() -> net.Due:
        ready = [work.pop(0)] if work else []
        assert all(not connection.busy for connection, _ in ready)
        return ready

    sender = net.Sender("test sender", due)
    sender.wake()
    assert other_there.recv(10) == b"one"
    work.append((other, b"two"))
    sender.wake()
    assert other_there.recv(10) == b"two"
    for connection in (line.here, other):
        sender.release(connection)
    sender.stop()
    assert line.here.socket.fileno() == other.socket.fileno() == -1
    other_there.close()


@pytest.mark.parametrize(
    ("size", "rests"), [(1, True), (net.SHORT_PIECE - 1, True), (net.SHORT_PIECE, False), (net.MAX_PIECE, False)]
)
def test_the_sender_rests_for_a_moment_after_short_pieces(
    line: Line, monkeypatch: pytest.MonkeyPatch, size: int, rests: bool
) -> None:
    work = [[(line.here, bytes(size))]]
    rested: list[float] = []
    again = threading.Event()

    def due() -> net.Due:
        if work:
            return work.pop()
        again.set()
        return []

    def sleep(seconds: float, really: Callable[[float], None] = time.sleep) -> None:
        if threading.current_thread().name == "test sender":
            rested.append(seconds)
        really(seconds)

    monkeypatch.setattr(time, "sleep", sleep)
    sender = net.Sender("test sender", due)
    sender.wake()
    assert again.wait(LIMIT)
    sender.release(line.here)
    sender.stop()
    assert [0 < seconds <= net.MAX_REST for seconds in rested] == [True] * rests


def test_a_sender_with_nothing_to_write_does_not_rest(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = queue.SimpleQueue[None]()

    def due() -> net.Due:
        asked.put(None)
        return []

    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it rested"))
    sender = net.Sender("test sender", due)
    for _ in range(3):
        sender.wake()
        asked.get(timeout=LIMIT)
    sender.release(line.here)
    sender.stop()


def test_lines_for_one_person_wait_for_their_place(line: Line) -> None:
    line.here.own_lines.extend([(0, b"a"), (3, b"b"), (3, b"c"), (5, b"d")])
    assert net.take_own_lines(line.here) == b"a"
    line.here.place = 4
    assert net.take_own_lines(line.here) == b"bc"
    assert net.take_own_lines(line.here) == b""


# The history ---------------------------------------------------------------------------------------------------------


def test_a_history_keeps_the_newest() -> None:
    history = net.History(most_events=3)
    for number in range(1, 6):
        history.append(b"%d" % number)
    assert (history.oldest, history.next) == (3, 6)
    assert history.piece(3, 6) == (b"345", 6)
    assert history.piece(4, 5) == (b"4", 5)


def test_the_oldest_event_that_is_promised_stays_for_a_while() -> None:
    """Who begins there must be able to read it, although the others talk on."""
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


def test_a_history_keeps_no_more_than_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "KEPT_BYTES", 10)
    history = net.History(most_events=1000)
    for _ in range(5):
        history.append(b"1234")
    assert (history.oldest, history.next) == (4, 6)


def test_a_piece_of_history_is_small_enough_to_be_fair_but_never_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "MAX_PIECE", 10)
    history = net.History(most_events=1000)
    for line in (b"larger than a piece", b"1234", b"5678", b"90"):
        history.append(line)
    assert history.piece(1, 5) == (b"larger than a piece", 2)
    assert history.piece(2, 5) == (b"1234567890", 5)
