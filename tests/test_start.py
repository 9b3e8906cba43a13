"""The program as it is started from a terminal or a shortcut: each test runs it as a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import chat_gui
from tests.conftest import TOP
from tests.helpers import LIMIT, Display, Wire, skip_or_fail, until
from tests.test_finding import own_ports

LINUX = sys.platform.startswith("linux")


def run(*arguments: str, before: str = "", screen: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs the program to its end; `before` is Python that runs first."""
    code = f"import sys; {before}\nimport chat_gui; sys.exit(chat_gui.main({[*arguments]!r}))"
    environment = {name: value for name, value in os.environ.items() if screen or name != "DISPLAY"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False)


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    code = "import chat_gui, sys; from tests.helpers import stay_at_home; stay_at_home(); sys.exit(chat_gui.main())"
    command = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(command, cwd=TOP, stderr=subprocess.PIPE, text=True) as program:
        try:
            yield program
        finally:
            program.kill()


@pytest.fixture
def port() -> Iterator[int]:
    """It takes a second until a program that is started has it; nobody else gets it meanwhile."""
    with own_ports() as ports:
        yield ports[0]


def wait_for_room(port: int) -> None:
    def is_open() -> bool:
        try:
            Wire(port).close()
        except OSError:
            return False
        return True

    until(is_open, f"a room is open on port {port}")


def test_help_needs_no_screen_and_no_tkinter() -> None:
    done = run("--help", before="sys.modules['tkinter'] = None", screen=False)
    assert done.returncode == 0
    for word in ("--host", "--join ADDRESS[:PORT]", "--name", "--port"):
        assert word in done.stdout


def test_without_tkinter_one_line_says_so() -> None:
    done = run(before="sys.modules['tkinter'] = None")
    assert done.returncode == 1
    assert "no tkinter" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("system", "hint"),
    [("linux", "python3-tk"), ("freebsd", "python3-tk"), ("darwin", "python.org"), ("win32", "tcl/tk")],
)
def test_without_tkinter_the_line_says_what_to_install_on_this_system(
    system: str, hint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(chat_gui, "tkinter_problem", "No module named 'tkinter'")
    monkeypatch.setattr(sys, "platform", system)
    assert chat_gui.main([]) == 1
    assert hint in capsys.readouterr().err


@pytest.mark.skipif(not LINUX, reason="elsewhere there is always a screen")
@pytest.mark.usefixtures("display")
def test_without_a_screen_one_line_says_so() -> None:
    done = run(screen=False)
    assert done.returncode == 1
    assert "no screen" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--host", "--join", "x"],
        ["--port", "0"],
        ["--port", "x"],
        ["--port", "65536"],
        ["--join", "1.2.3"],
        ["--join", "a:99999"],
        ["--name", "\u200b"],
        ["--nonsense"],
    ],
)
def test_a_wrong_command_line_is_told_in_words(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        chat_gui.main(arguments)
    assert left.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_the_ports_of_the_command_line() -> None:
    assert chat_gui.parse_arguments(["--join", "pc"]).join == ("pc", 5252)
    assert chat_gui.parse_arguments(["--join", "pc:6000"]).join == ("pc", 6000)
    assert chat_gui.parse_arguments(["--join", "pc", "--port", "6000"]).join == ("pc", 6000)
    assert chat_gui.parse_arguments(["--host", "--port", "6000"]).port == 6000


@pytest.mark.usefixtures("display")
@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl+C to a whole console, the tests' own included")
def test_ctrl_c_in_the_terminal_closes_the_room_properly(port: int) -> None:
    with running("--host", "--port", str(port), "--name", "Mr Lee") as program:
        wait_for_room(port)
        with Wire(port) as ann:
            ann.join("Ann")
            hear_of(ann, "Mr Lee")  # before, the window may not have begun to wait for keys, and for Ctrl+C
            program.send_signal(signal.SIGINT)
            assert ann.receive_until("closed")["reason"] == "The host closed the room."
        assert program.wait(LIMIT) == 0
        assert program.stderr is not None
        assert program.stderr.read() == ""


_LAST_WORDS_TAKE_LONG = """
import gc, chat_gui, time
goodbye, begin = chat_gui.Session._close, chat_gui.App._begin
def close(self):
    goodbye(self)
    time.sleep(0.2)
    gc.collect()
def begin_and_close(self, password):
    self.root.after(200, self.close)
    return begin(self, password)
chat_gui.Session._close, chat_gui.App._begin = close, begin_and_close
gc.disable()
"""


@pytest.mark.usefixtures("display")
def test_no_thread_takes_the_window_apart(port: int) -> None:
    """Tk aborts the process if what is left of it is thrown away by another thread than the window's."""
    done = run("--host", "--port", str(port), before=_LAST_WORDS_TAKE_LONG)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.usefixtures("display")
@pytest.mark.skipif(not LINUX, reason="drives the window from outside, through X11")
def test_a_teacher_and_a_pupil_with_nothing_but_a_keyboard(display: Display, port: int) -> None:
    """From outside, with xdotool: the real program, real windows, the keyboard of the X server."""
    assert display.file is not None
    if shutil.which("xdotool") is None:
        skip_or_fail("this test needs xdotool (on Debian and Ubuntu: apt install xdotool)")
    with pointer_away(), running("--host", "--port", str(port), "--name", "Mr Lee"):
        until(lambda: windows("Mr Lee's room"), "the teacher's window shows the room")
        (teacher,) = windows("Mr Lee's room")  # the pupil's will have the same title
        with Wire(port) as watcher, running("--join", f"127.0.0.1:{port}", "--name", "Ann"):
            watcher.join("Watcher")
            hear_of(watcher, "Ann")
            xdotool("windowfocus", "--sync", teacher, "type", "good morning")
            xdotool("key", "Return")
            said = watcher.receive_until("said")
            assert (said["name"], said["text"]) == ("Mr Lee", "good morning")


@contextmanager
def pointer_away() -> Iterator[None]:
    """In the corner, where no window is.

    Without a window manager Tk takes the keyboard for the window that comes below the pointer. It gives it back once
    another one lies there: in the middle of a word, and also if the keyboard was given to it on purpose meanwhile.
    """
    x, y = (word.partition(":")[2] for word in xdotool("getmouselocation").split()[:2])
    xdotool("mousemove", "9999", "9999")
    try:
        yield
    finally:
        xdotool("mousemove", x, y)


def hear_of(wire: Wire, name: str) -> None:
    """Wait until this person is in. What happened before is told too, to who comes late."""
    while wire.receive_until("joined")["name"] != name:
        pass


def windows(title: str) -> list[str]:
    return xdotool("search", "--onlyvisible", "--name", title).split()


def xdotool(*arguments: str) -> str:
    return subprocess.run(["xdotool", *arguments], capture_output=True, text=True, timeout=LIMIT, check=False).stdout
