"""How long does the window stop answering while messages pour in?    python -m tests.bench.window [--quick]

A thread puts messages into the queue of a real window, as the network would; meanwhile a heartbeat of 5 ms runs in the
window, and the longest gap between two beats is what a person who types would feel. For comparison the same flood
comes to a poll that empties its queue at once and scrolls after each message, as the simple examples do.
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
Make = Callable[[int], str]


def chatter(number: int) -> str:
    return f"message {number}: what people write, of a usual length, some of it with a link or two"


def letters(number: int) -> str:
    """All kinds of Chinese letters, which Tk has to load one by one."""
    return "".join(map(chr, random.Random(number).sample(range(0x4E00, 0x9FA0), 2_000)))


def emoji(number: int) -> str:
    return "".join(map(chr, random.Random(number).sample(range(0x1F300, 0x1F640), 500)))


class Flood(threading.Thread):
    """Puts so many messages a second into the queue, in steps of 10 ms."""

    def __init__(self, events: net.Events, rate: int, seconds: float, make: Make) -> None:
        super().__init__(name="flood")
        self._events, self._rate, self._seconds, self._make = events, rate, seconds, make

    def run(self) -> None:
        start, sent = time.monotonic(), 0
        while (passed := time.monotonic() - start) < self._seconds:
            while sent < passed * self._rate:
                sent += 1
                who = 2 + sent % 30
                self._events.put(net.Said(sent + 10, time.time(), who, f"Pupil {who}", sent, self._make(sent)))
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
    assert person.app.session is not None
    events = person.app.session.events
    flood = Flood(events, rate, seconds, make)
    heart = Heart(person.root)
    flood.start()
    while flood.is_alive() or not events.empty():
        person.root.update()
        time.sleep(0.001)
    result = heart.stop()
    person.close()
    flood.join()
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
    print(f"{'':44} {'longest stall':>11} {'99 of 100':>11}")
    runs: list[tuple[str, Callable[[int, float, Make], str], int, Make]] = [
        ("a quiet room", measure, 1, chatter),
        ("1,000 messages a second", measure, 1_000, chatter),
        ("10,000 messages a second", measure, 10_000, chatter),
        ("20 a second of 2,000 Chinese letters each", measure, 20, letters),
        ("20 a second of 500 emoji each", measure, 20, emoji),
        ("1,000 a second, poll of the simple examples", measure_simple, 1_000, chatter),
        ("10,000 a second, poll of the simple examples", measure_simple, 10_000, chatter),
    ]
    for label, run, rate, make in runs:
        print(f"{label:44} {run(rate, seconds, make)}", flush=True)
        gc.collect()  # here, on the main thread: a widget that is collected on another one ends the process
    return 0


if __name__ == "__main__":
    on_linux = sys.platform.startswith("linux")
    with tempfile.TemporaryDirectory() as folder, own_screen(Path(folder)) if on_linux else contextlib.nullcontext():
        sys.exit(main())
