"""What holds for every test (the guards), and the screen that the window's tests draw on.

Two more are pytest's own, strict in .pytest.ini: a thread that dies, and a file or socket dropped without a close.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib.util
import itertools
import logging
import os
import random
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import net
from tests.helpers import LIMIT, LOOPBACK, Display, FakeRoom, Proxy, own_screen, skip_or_fail, stay_at_home, until

if TYPE_CHECKING:
    from tests.windows import Dialogs, FakeFinder, Person

# A Python without tkinter cannot even read these; CI has it, so there this is a failure.
NO_TKINTER = importlib.util.find_spec("_tkinter") is None and os.environ.get("CI") != "true"
collect_ignore_glob = ["test_window*.py"] if NO_TKINTER else []

TOP = Path(__file__).resolve().parent.parent
DESCRIPTORS = Path("/proc/self/fd")  # on Linux alone
OpenRoom = Callable[..., net.Server]  # title, and what run_server takes
needs_addresses = pytest.mark.skipif(sys.platform == "darwin", reason="macOS has one loopback address")


def pytest_report_header() -> str | None:
    return "the window's tests are left out: this Python has no tkinter" if NO_TKINTER else None


@pytest.fixture(autouse=True)
def leaves_nothing_behind(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test that leaves a thread or a socket behind, or that had something logged as an error.

    A test in which an error is logged on purpose looks at it, and then calls `caplog.clear()`.
    """
    threads_before, sockets_before = set(threading.enumerate()), open_sockets()
    yield
    complaints = []
    if names := threads_left(threads_before):
        complaints.append(f"threads left behind: {', '.join(names)}")
    if count := sockets_left(sockets_before):
        complaints.append(f"sockets left open: {count}")
    for phase in ("setup", "call", "teardown"):
        records = [record for record in caplog.get_records(phase) if record.levelno >= logging.ERROR]
        complaints.extend(f"logged as an error: {record.getMessage()}" for record in records)
    if complaints:
        pytest.fail("\n".join(complaints), pytrace=False)


@pytest.fixture(autouse=True)
def stays_at_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Looking for rooms asks this computer alone, and monkeypatch sees to it that this ends with the test."""
    monkeypatch.setattr(net, "ways_out", net.ways_out)
    stay_at_home()
    yield
    for thread in threading.enumerate():
        if thread.name == "finder":  # a Finder that was told to close may still be about to ask
            thread.join(LIMIT)


def threads_left(before: set[threading.Thread]) -> list[str]:
    """The names of the new threads that do not end."""
    deadline = time.monotonic() + LIMIT
    left = [thread for thread in threading.enumerate() if thread not in before]
    # A name look-up that hangs cannot be interrupted: the one thread that the design lets outlive its owner.
    left = [thread for thread in left if not (thread.daemon and thread.name.startswith("name look-up "))]
    for thread in left:
        thread.join(max(0.0, deadline - time.monotonic()))
    return sorted(thread.name for thread in left if thread.is_alive())


def sockets_left(before: set[str]) -> int:
    if not DESCRIPTORS.exists():
        gc.collect()  # elsewhere: whatever was dropped says so now, in the test that dropped it, as a ResourceWarning
        return 0
    with contextlib.suppress(AssertionError):  # counted and told by the caller, with the rest
        until(lambda: open_sockets() <= before, "all sockets are closed", min(LIMIT, 2.0))
    return len(open_sockets() - before)


def open_sockets() -> set[str]:
    """The sockets of this process, by a name that is not used again as a descriptor's number would be."""
    if not DESCRIPTORS.exists():
        return set()
    found = set()
    for descriptor in os.listdir(DESCRIPTORS):
        with contextlib.suppress(OSError):  # closed since it was listed (the listing's own one always is)
            target = os.readlink(DESCRIPTORS / descriptor)
            if target.startswith("socket:") and not is_tks(int(descriptor)):
                found.add(target)
    return found


def is_tks(descriptor: int) -> bool:
    # Tk keeps its connection to the X server after the last window is gone, and uses it again for the next.
    with socket.socket(fileno=os.dup(descriptor)) as copy:
        try:
            return ".X11-unix" in os.fsdecode(copy.getpeername())
        except (OSError, TypeError):  # it has no peer; or one with an address of another kind
            return False


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    """Whoever was opened last is closed first: people, and then their rooms."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture(autouse=True)
def disk(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files is this test's own, also for the processes that it starts."""
    folder = tmp_path_factory.mktemp("disk")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[int]]:
    """Tells the sizes of the files that rooms keep at the moment: they have no names by which one could find them."""
    opened: list[Any] = []
    really_open = tempfile.TemporaryFile

    def open_one(**how: Any) -> Any:
        opened.append(really_open(**how))
        return opened[-1]

    def sizes() -> list[int]:
        found = []
        for file in opened.copy():
            with contextlib.suppress(ValueError, OSError):  # it is closed, and so it is gone
                found.append(os.fstat(file.fileno()).st_size)
        return found

    monkeypatch.setattr(tempfile, "TemporaryFile", open_one)
    return sizes


@pytest.fixture
def fast_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """For all deadlines from now on, a second passes with each look at the clock, however long it really takes."""
    really_make = net.Deadline

    def make(*arguments: Any, **how: Any) -> net.Deadline:
        return really_make(*arguments, **{"clock": functools.partial(next, itertools.count(0.0)), **how})

    monkeypatch.setattr(net, "Deadline", make)


@pytest.fixture
def open_room(stack: contextlib.ExitStack) -> OpenRoom:
    """Opens rooms without a brake; they are closed after the test."""

    def open_one(title: str = "Room 7", **settings: Any) -> net.Server:
        return stack.enter_context(net.run_server(title, **{"host": LOOPBACK, "port": 0, "rate": None, **settings}))

    return open_one


@pytest.fixture
def room(open_room: OpenRoom) -> net.Server:
    return open_room()


@pytest.fixture
def proxy(stack: contextlib.ExitStack, room: net.Server) -> Proxy:
    """A network in front of the room."""
    return stack.enter_context(Proxy(room.port))


@pytest.fixture
def fake(stack: contextlib.ExitStack) -> Iterator[FakeRoom]:  # noqa: ARG001 - so it closes before the people do
    with contextlib.closing(FakeRoom()) as fake:
        yield fake


@pytest.fixture
def chance() -> random.Random:
    """All that is random in a test. Its seed is shown if the test fails, and CHAT_TEST_SEED repeats it."""
    seed = int(os.environ.get("CHAT_TEST_SEED") or random.randrange(2**32))
    print(f"CHAT_TEST_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def person(display: Display, stack: contextlib.ExitStack) -> Callable[[str], Person]:  # noqa: ARG001 - a screen first
    """Opens a window for somebody; all are closed after the test."""
    from tests.windows import Person

    return lambda name: stack.enter_context(contextlib.closing(Person(name)))


@pytest.fixture
def lee(person: Callable[[str], Person]) -> Person:
    return person("Mr Lee")


@pytest.fixture
def host(lee: Person) -> Person:
    """Mr Lee, who has opened a room. His window is large enough for the people and for everything below the log."""
    lee.enlarge()
    lee.host()
    return lee


@pytest.fixture
def ann(person: Callable[[str], Person], host: Person) -> Person:
    """Ann is in the host's room, and the host's window shows it."""
    someone = person("Ann")
    someone.join(host.chat.port)
    host.wait(lambda: "Ann" in host.people(), "Ann is in the host's list")
    return someone


@pytest.fixture
def finders(monkeypatch: pytest.MonkeyPatch) -> list[FakeFinder]:
    """Join pages get a FakeFinder each; these are they."""
    from tests.windows import FakeFinder

    made: list[FakeFinder] = []

    def find_rooms(events: net.Events) -> FakeFinder:
        made.append(FakeFinder(events))
        return made[-1]

    monkeypatch.setattr(net, "find_rooms", find_rooms)
    return made


@pytest.fixture
def dialogs(monkeypatch: pytest.MonkeyPatch) -> Dialogs:
    from tests.windows import Dialogs

    dialogs = Dialogs()
    monkeypatch.setattr("tkinter.filedialog.askopenfilenames", dialogs.choose_files)
    monkeypatch.setattr("tkinter.filedialog.asksaveasfilename", dialogs.choose_target)
    return dialogs


@pytest.fixture(scope="session")
def display(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Display]:
    """A screen for windows: on Linux always one of our own, so that the tests never touch the user's."""
    if importlib.util.find_spec("_tkinter") is None:  # a Python without it runs all the other tests
        skip_or_fail("this Python has no tkinter (on Debian and Ubuntu: apt install python3-tk)")
    if sys.platform in ("darwin", "win32"):
        yield Display(None)
        return
    if shutil.which("Xvfb") is None:
        skip_or_fail("the window's tests need Xvfb (on Debian and Ubuntu: apt install xvfb)")
    with own_screen(tmp_path_factory.mktemp("screen")) as screen:
        yield screen


@pytest.fixture
def unposted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """A posted menu waits for a real mouse; here it is only filled. Where it would have been posted."""
    import tkinter as tk

    places: list[tuple[int, int]] = []
    monkeypatch.setattr(tk.Menu, "tk_popup", lambda _, x, y: places.append((x, y)))
    return places
