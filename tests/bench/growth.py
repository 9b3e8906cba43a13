"""What grows with the number of people, and what with time?    python -m tests.bench.growth [--quick] [--only ...]

    members     from 30 to 900: the room's processor time for each delivery, at 10 messages a second; its memory
    crowd       900 people come at the same moment: how long until each has been welcomed, and has heard of all others
    lesson      30 people, a message from each every 2 s, for an hour: these 54,000 messages one after the other as fast
                as all of them follow; the memory of the room, and of a client whose events are taken away
    window      the same, and as many again and again, into a real window, which keeps the newest of them for saving

The room, the client and the window each in a process of its own, on loopback. Linux alone (epoll, /proc).
"""

from __future__ import annotations

import argparse
import contextlib
import queue
import secrets
import select
import sys
import tempfile
import time
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import net
from tests.bench.fanout import AT_ONCE, PATIENCE, TEXT, Load, Room, connect, running
from tests.bench.files import Worker, enter
from tests.bench.tools import cpu_seconds, machine, memory
from tests.helpers import own_screen

LESSON = 54_000  # messages: 30 people, one every 2 s, an hour
STEP = 500  # messages at a time; the history keeps 2,000
ROOM = Room("this room", history=net.KEPT_EVENTS)
JOINED = b'{"type":"joined"'


def by_members(sizes: list[int], seconds: float) -> None:
    print(f"\n{'members':>8} {'CPU each':>10} {'memory':>11} {'a member more':>14}")
    before: tuple[int, float] | None = None
    for members in sizes:
        with running(ROOM) as (pid, port), contextlib.ExitStack() as stack:
            load = Load(ROOM, port, members, stack)
            now = memory(pid)
            cpu = cpu_seconds(pid)
            deliveries = len(load.delivery_times(seconds, rate=10))
            cpu = (cpu_seconds(pid) - cpu) / deliveries
        more = f"{(now - before[1]) / (members - before[0]) * 1024:8.1f} KiB" if before else "-"
        print(f"{members:8} {cpu * 1e6:7.2f} us {now:7.1f} MiB {more:>14}", flush=True)
        before = before or (members, now)


# A crowd.


class Comer:
    """Somebody who comes in: hello, join, welcome; then counts."""

    def __init__(self, port: int, number: int) -> None:
        self.socket = connect(port)
        self.socket.sendall(net.encode(net.Hello(net.PROTOCOL, tls=False)))
        self._join = net.encode(net.Join(f"Member {number}", secrets.token_hex(16), None, 0))
        self._begun = b""
        self._has_joined = False
        self.is_welcome = False
        self.people = 0  # whom the welcome names, and who came later
        self._end = b""  # of what has come, where half a word may stand

    def receive(self) -> None:
        data = self.socket.recv(AT_ONCE)
        assert data, "the room has closed a connection"
        if not self.is_welcome:
            self._begun += data
            if not self._has_joined and b"\n" in self._begun:
                self._has_joined = True
                self._begun = self._begun.partition(b"\n")[2]
                self.socket.sendall(self._join)
            line, end, data = self._begun.partition(b"\n")
            if not end:
                return
            welcome = net.decode(line)
            assert isinstance(welcome, net.Welcome), welcome
            self.is_welcome = True
            # All who joined before are also among the events that follow.
            self.people = len(welcome.people) - welcome.history
        data = self._end + data
        self.people += data.count(JOINED)
        self._end = data[1 - len(JOINED) :]


def crowd(members: int) -> None:
    with running(ROOM) as (pid, port), contextlib.ExitStack() as stack:
        epoll = stack.enter_context(select.epoll())
        start = time.perf_counter()
        comers: dict[int, Comer] = {}
        welcomed = 0.0
        for number in range(members):
            comer = Comer(port, number)
            stack.callback(comer.socket.close)
            comers[comer.socket.fileno()] = comer
            epoll.register(comer.socket, select.EPOLLIN)
        connected = time.perf_counter() - start
        while any(comer.people < members for comer in comers.values()):
            assert time.perf_counter() < start + PATIENCE, "not all have come in"
            for descriptor, _ in epoll.poll(0.1):
                comers[descriptor].receive()
            if not welcomed and all(comer.is_welcome for comer in comers.values()):
                welcomed = time.perf_counter() - start
        known = time.perf_counter() - start
        print(f"\n{members} people at once: connected after {connected:.2f} s, all welcome after {welcomed:.2f} s, "
              f"all know of all after {known:.2f} s; the room needed {cpu_seconds(pid):.2f} s of processor time and "
              f"{memory(pid, peak=True):.0f} MiB", flush=True)  # fmt: skip


# An hour.


def joiner(pipe: Pipe, port: int) -> None:
    """A client, and somebody who takes its events; ("up to", number of messages) -> when it has so many."""
    events: net.Events = queue.Queue()
    with enter(port, "Joiner", None, events) as client:
        pipe.send("in")
        said = 0
        while (wish := pipe.recv()) is not None:
            while said < wish[1]:
                event = events.get(timeout=PATIENCE)
                assert not isinstance(event, (net.Lost, net.Closed)), event
                said += isinstance(event, net.Said) and event.text == TEXT.decode()
            pipe.send("has them")
        client.close()
        assert client.join(PATIENCE)


def print_head(title: str, columns: list[str]) -> None:
    print(f"\n{title:32} " + " ".join(f"{column:>13}" for column in columns), flush=True)


def print_row(label: str, *columns: float) -> None:
    print(f"{label:32} " + " ".join(f"{column:9.1f} MiB" for column in columns), flush=True)


def lesson(messages: int) -> None:
    with running(ROOM) as (pid, port), contextlib.ExitStack() as stack:
        load = Load(ROOM, port, 29, stack)
        someone = stack.enter_context(Worker(joiner, port))
        load.rest()
        print_head(f"a lesson of {messages:,} messages", ["room", "client"])
        print_row("before", memory(pid), memory(someone.pid))
        start = time.perf_counter()
        for said in range(STEP, messages + 1, STEP):
            load.say(STEP)
            someone.ask("up to", said)
            if said % (messages // 4) == 0:
                print_row(f"after {said:,} messages", memory(pid), memory(someone.pid))
        print(f"({messages / (time.perf_counter() - start):,.0f} messages a second)")


def window(pipe: Pipe) -> None:
    """("show", number of messages) -> when so many more have been shown."""
    with contextlib.ExitStack() as stack:
        if sys.platform.startswith("linux"):
            stack.enter_context(own_screen(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        from tests.windows import Person  # after the screen is there

        person = Person("Bench")
        person.host()
        assert person.app.session is not None
        events = person.app.session.events
        said = 0
        pipe.send("open")
        while (wish := pipe.recv()) is not None:
            for _ in range(0, wish[1], STEP):
                for _ in range(STEP):
                    said += 1
                    who = 2 + said % 30
                    text = f"message {said}: what people write, of a usual length, some of it with a link or two"
                    events.put(net.Said(said + 10, time.time(), who, f"Pupil {who}", said, text))
                while not events.empty():
                    person.root.update()
                    time.sleep(0.001)
            pipe.send("shown")
        person.close()


def window_memory(messages: int) -> None:
    with Worker(window) as screen:
        print_head("a window", ["memory"])
        print_row("before", memory(screen.pid))
        shown = 0
        for _ in range(4):
            shown += messages // 4
            screen.ask("show", messages // 4)
            print_row(f"after {shown:,} messages", memory(screen.pid))
        for _ in range(3):
            shown += messages
            screen.ask("show", messages)
            print_row(f"after {shown:,} messages", memory(screen.pid))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few people, a short lesson: does it run at all?")
    parts = ["members", "crowd", "lesson", "window"]
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    arguments = parser.parse_args()
    quick, only = arguments.quick, arguments.only
    print(machine(), flush=True)
    if "members" in only:
        by_members([5, 10] if quick else [30, 100, 300, 900], 0.2 if quick else 5.0)
    if "crowd" in only:
        crowd(20 if quick else 900)
    if "lesson" in only:
        lesson(2_000 if quick else LESSON)
    if "window" in only:
        window_memory(2_000 if quick else LESSON)
    return 0


if __name__ == "__main__":
    sys.exit(main())
