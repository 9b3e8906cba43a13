"""How the window feels: its start, from Enter to another window, and when nothing happens.

    python -m tests.bench.feel [--quick]

Each window is a process of its own, as in a classroom, and so is the room with the flood in it; but all of them share
this computer. "On the screen" is when Tk has drawn the letters (after `update_idletasks`), by one clock for all.
"""

from __future__ import annotations

import argparse
import contextlib
import platform
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tkinter as tk
from collections.abc import Callable
from pathlib import Path

import chat_gui
import net
from tests.helpers import LIMIT, expect, own_screen
from tests.windows import Person

MARK = "marker"
DONT_WAIT = 2  # TCL_DONT_WAIT


def run(*arguments: str) -> subprocess.Popen[str]:
    """This file again, in another process."""
    command = [sys.executable, "-m", "tests.bench.feel", *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def read(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.wait(LIMIT)
    process.stdout.close()


def work(root: tk.Tk) -> None:
    """One step of the main loop. `update` would not come back while messages pour in: there is always another poll."""
    if not root.tk.dooneevent(DONT_WAIT):
        time.sleep(0.001)


# In processes of their own ----------------------------------------------------


def start_window() -> None:
    """Until the first page is drawn; then says when that was."""
    root = tk.Tk(className="Chat")
    app = chat_gui.App(root, "Ann")
    while not root.winfo_viewable():
        root.update()
    root.update()
    print(time.monotonic(), flush=True)
    app.close()


def watch(port: int) -> None:
    """A window in the room, which says when it has drawn a marker; until the standard input ends."""
    person = Person("Bob")
    person.join(port)
    arrived: list[str] = []
    add = person.chat.log.add

    def note(message: chat_gui.Message) -> None:
        add(message)
        if message.text.startswith(MARK):
            arrived.append(message.text)

    person.chat.log.add = note  # type: ignore[method-assign]
    print("ready", flush=True)
    over = wait_for_the_end()
    while over.is_alive():
        work(person.root)
        if arrived:  # one step of the poll adds and draws
            person.root.update_idletasks()
            print(time.monotonic(), flush=True)
            arrived.pop(0)
    person.close()


def wait_for_the_end() -> threading.Thread:
    """A thread that lives until the standard input ends."""
    thread = threading.Thread(target=sys.stdin.read, name="waits for the end")
    thread.start()
    return thread


def rest(seconds: float) -> None:
    """A window in a room where nothing happens; says what part of a processor it takes."""
    person = Person("Ann")
    person.host()
    person.settle(1.0)
    done = False

    def stop() -> None:
        nonlocal done
        done = True
        person.root.quit()

    person.root.after(round(seconds * 1000), stop)
    before, began = time.process_time(), time.monotonic()
    while not done:
        person.root.mainloop()
    print((time.process_time() - before) / (time.monotonic() - began), flush=True)
    person.close()


def open_room(rate: int) -> None:
    """A room and, from the first line of the standard input until its end, somebody in it who writes so often."""
    events: net.Events = queue.Queue()
    # With a long history, a window that is too slow is late; with the usual one, it would miss the marker.
    with net.run_server("Bench", port=0, rate=None, history=10**6) as room:
        writer = net.run_client("127.0.0.1", "Flood", events, port=room.port)
        expect(events, net.Welcome)
        print(room.port, flush=True)
        sys.stdin.readline()  # all are in
        over = wait_for_the_end()
        began, said = time.monotonic(), 0
        while over.is_alive():
            due = int((time.monotonic() - began) * rate)
            for number in range(said, due):
                writer.say(f"message {number} of many, as long as messages are")
            said = due
            with contextlib.suppress(queue.Empty):
                while True:
                    events.get_nowait()
            time.sleep(0.01)
        writer.close()
        writer.join()


# What is measured ---------------------------------------------------------------


def starts(times: int) -> str:
    taken = []
    for _ in range(times):
        began = time.monotonic()
        process = run("--start")
        taken.append(float(read(process)) - began)
        end(process)
    return f"{statistics.median(taken) * 1000:.0f} ms (slowest of {times}: {max(taken) * 1000:.0f} ms)"


def types(rate: int, times: int) -> str:
    """From Enter in one window to the letters in another, and the longest that the typing window stood still."""
    room = run("--room", str(rate))
    port = read(room)
    watcher = run("--watch", port)
    person = Person("Ann")
    person.join(int(port))
    read(watcher)
    assert room.stdin is not None
    print("go", file=room.stdin, flush=True)
    taken, stall = [], 0.0
    box = person.chat.composer.text
    for number in range(times):
        box.insert("end", f"{MARK} {number}")
        last = began = time.monotonic()
        person.chat.composer.send()  # what Enter does: the keyboard itself belongs to one window alone
        while (now := time.monotonic()) < began + 0.1:  # the window works on meanwhile
            stall = max(stall, now - last)
            last = now
            work(person.root)
        taken.append(float(read(watcher)) - began)
    person.close()
    end(watcher)  # not by the end of the room: it may have thousands of messages to show before it comes to that
    end(room)
    taken.sort()
    middle, slow = statistics.median(taken), taken[len(taken) * 95 // 100]
    return f"{middle * 1000:6.0f} ms {slow * 1000:8.0f} ms {stall * 1000:8.0f} ms"


def measure(quick: bool) -> None:
    times = 3 if quick else 40
    print(f"Python {platform.python_version()}, Tk {tk.TkVersion}, {platform.system()} {platform.machine()}")
    print(f"from the command to the first page:  {starts(2 if quick else 9)}")
    process = run("--rest", "1" if quick else "20")
    print(f"a window in a quiet room takes {float(read(process)):.1%} of a processor")
    end(process)
    print(f"{'from Enter to another window':34} {'half':>9} {'95 of 100':>11} {'own stall':>11}")
    for label, rate in (("quiet", 0), ("1,000 messages a second", 1_000), ("5,000 messages a second", 5_000)):
        print(f"{label:34} {types(rate, times)}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few of each: does it run at all?")
    parser.add_argument("--start", action="store_true", help=argparse.SUPPRESS)
    for worker in ("--room", "--watch", "--rest"):
        parser.add_argument(worker, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    workers: list[tuple[str | None, Callable[[str], None]]] = [
        (arguments.room, lambda rate: open_room(int(rate))),
        (arguments.watch, lambda port: watch(int(port))),
        (arguments.rest, lambda seconds: rest(float(seconds))),
    ]
    if arguments.start:
        start_window()
        return 0
    for argument, work in workers:
        if argument is not None:
            work(argument)
            return 0
    screen = sys.platform.startswith("linux")
    with tempfile.TemporaryDirectory() as folder, own_screen(Path(folder)) if screen else contextlib.nullcontext():
        measure(arguments.quick)
    return 0


if __name__ == "__main__":
    sys.exit(main())
