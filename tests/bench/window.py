"""How long does the window stop answering while messages pour in?    python -m tests.bench.window [--quick]

A thread puts messages into the queue of a real window, as the network would; meanwhile a heartbeat of 5 ms runs in the
window, and the longest gap between two beats is what a person who types would feel. Some of the floods are the most
that ten people can send through an honest room; others are crowds with names of letters that the window has to measure
one by one. For comparison the same flood comes to a poll that empties its queue at once and scrolls after each message,
as the simple examples do.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import platform
import queue
import random
import sys
import tempfile
import threading
import time
import tkinter as tk
from collections.abc import Callable
from pathlib import Path

import net
from tests.helpers import own_screen
from tests.windows import Person

BEAT = 5  # ms
CROWD = 1_000  # people, as many as a room takes
Make = Callable[[int], net.Event]


def said(text: Callable[[int], str]) -> Make:
    """Messages of thirty pupils."""

    def make(number: int) -> net.Event:
        who = 2 + number % 30
        return net.Said(number + 10, time.time(), who, f"Pupil {who}", number, text(number))

    return make


def chatter(number: int) -> str:
    return f"message {number}: what people write, of a usual length, some of it with a link or two"


def letters(count: int) -> Callable[[int], str]:
    """All kinds of Chinese letters, which Tk has to load one by one."""
    return lambda number: "".join(map(chr, random.Random(number).sample(range(0x4E00, 0x9FA0), count)))


def emoji(count: int) -> Callable[[int], str]:
    return lambda number: "".join(map(chr, (random.Random(number).sample(range(0x1F300, 0x1F640), 500) * 4)[:count]))


unusual_name = letters(net.MAX_NAME)


def come_and_go(number: int) -> net.Event:
    """One of the crowd leaves and somebody else joins, in turn."""
    who = 2 + number // 2
    if number % 2:
        return net.Left(number + 10, time.time(), who, unusual_name(who), "left")
    return net.Joined(number + 10, time.time(), who + CROWD, unusual_name(who + CROWD))


class Flood(threading.Thread):
    """Puts so many events a second into the queue, in steps of 10 ms."""

    def __init__(self, events: net.Events, rate: int, seconds: float, make: Make) -> None:
        super().__init__(name="flood")
        self._events, self._rate, self._seconds, self._make = events, rate, seconds, make

    def run(self) -> None:
        start, sent = time.monotonic(), 0
        while (passed := time.monotonic() - start) < self._seconds:
            while sent < passed * self._rate:
                sent += 1
                self._events.put(self._make(sent))
            time.sleep(0.01)


class Heart:
    """Beats in the window; remembers the longest pause."""

    def __init__(self, root: tk.Tk) -> None:
        self._root = root
        self._last = time.perf_counter()
        self.gaps: list[float] = []
        self._beat()

    def _beat(self) -> None:
        now = time.perf_counter()
        self.gaps.append(now - self._last)
        self._last = now
        self._next = self._root.after(BEAT, self._beat)

    def stop(self) -> str:
        self._root.after_cancel(self._next)
        gaps = sorted([*self.gaps[1:], time.perf_counter() - self._last])
        return f"{gaps[-1] * 1000:8.0f} ms {gaps[len(gaps) * 99 // 100] * 1000:8.0f} ms"


def measure(rate: int, seconds: float, make: Make) -> str:
    person = Person("Bench")
    person.host()
    result = flood(person, rate, seconds, make)
    person.close()
    return result


def flood(person: Person, rate: int, seconds: float, make: Make) -> str:
    assert person.app.session is not None
    events = person.app.session.events
    flood = Flood(events, rate, seconds, make)
    heart = Heart(person.root)
    flood.start()
    while flood.is_alive() or not events.empty():
        person.root.update()
        time.sleep(0.001)
    flood.join()
    return heart.stop()


def welcome_crowd(person: Person, seconds: float) -> str:
    """The window learns who is there, and has so long for what follows from it."""
    others = ((who, unusual_name(who)) for who in range(2, CROWD + 1))
    welcome = person.welcome(people=((1, "Bench"), *others))
    assert person.app.session is not None
    heart = Heart(person.root)
    person.app.session.events.put(welcome)
    person.settle(seconds)
    return heart.stop()


def measure_welcome(_rate: int, seconds: float, _make: Make) -> str:
    person = Person("Bench")
    person.host()
    result = welcome_crowd(person, seconds)
    person.close()
    return result


def measure_crowd(rate: int, seconds: float, make: Make) -> str:
    person = Person("Bench")
    person.host()
    welcome_crowd(person, 2 * seconds)
    result = flood(person, rate, seconds, make)
    person.close()
    return result


def measure_simple(rate: int, seconds: float, make: Make) -> str:
    """The poll of the simple examples: to the bottom of the queue, a scroll for each message."""
    root = tk.Tk()
    text = tk.Text(root)
    text.pack(fill="both", expand=True)
    events: net.Events = queue.Queue()
    next_poll = ""

    def poll() -> None:
        nonlocal next_poll
        while not events.empty():
            event = events.get()
            assert isinstance(event, net.Said)
            text.insert("end", f"{event.name}: {event.text}\n")
            text.see("end")
            text.update_idletasks()
        next_poll = root.after(40, poll)

    flood = Flood(events, rate, seconds, make)
    heart = Heart(root)
    poll()
    flood.start()
    while flood.is_alive():
        root.update()
        time.sleep(0.001)
    result = heart.stop()
    root.after_cancel(next_poll)
    root.destroy()
    flood.join()
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a moment each: does it run at all?")
    seconds = 0.2 if parser.parse_args().quick else 5.0
    print(f"Python {platform.python_version()}, Tk {tk.TkVersion}, {platform.system()} {platform.machine()}")
    print(f"{'':46} {'longest stall':>11} {'99 of 100':>11}")
    runs: list[tuple[str, Callable[[int, float, Make], str], int, Make]] = [
        ("a quiet room", measure, 1, said(chatter)),
        ("1,000 messages a second", measure, 1_000, said(chatter)),
        ("10,000 messages a second", measure, 10_000, said(chatter)),
        ("20 a second of 2,000 Chinese letters each", measure, 20, said(letters(2_000))),
        ("20 a second of 500 emoji each", measure, 20, said(emoji(500))),
        # 4,000 Chinese letters are 12 kB, so one person may send 1.7 such messages a second; of 2,000 emoji, 2.5.
        ("10 at the limit: 4,000 Chinese letters each", measure, 17, said(letters(4_000))),
        ("10 at the limit: 2,000 emoji each", measure, 25, said(emoji(2_000))),
        ("a welcome with 1,000 unusual names", measure_welcome, 0, come_and_go),
        ("2 of 1,000 with such names come or go a second", measure_crowd, 2, come_and_go),
        ("20 of them a second", measure_crowd, 20, come_and_go),
        ("1,000 a second, poll of the simple examples", measure_simple, 1_000, said(chatter)),
        ("10,000 a second, poll of the simple examples", measure_simple, 10_000, said(chatter)),
    ]
    for label, run, rate, make in runs:
        print(f"{label:46} {run(rate, seconds, make)}", flush=True)
        gc.collect()  # here, on the main thread: a widget that is collected on another one ends the process
    return 0


if __name__ == "__main__":
    on_linux = sys.platform.startswith("linux")
    with tempfile.TemporaryDirectory() as folder, own_screen(Path(folder)) if on_linux else contextlib.nullcontext():
        sys.exit(main())
