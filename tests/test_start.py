"""The program as a terminal or a shortcut starts it: most tests run it as a process of its own."""

from __future__ import annotations

import ast
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import chat_gui
from tests.conftest import TOP
from tests.helpers import LIMIT, Wire, skip_or_fail, until
from tests.test_finding import own_ports
from tests.test_pythons import candidates, version_of

LINUX = sys.platform.startswith("linux")
MAIN = "import chat_gui, sys; sys.exit(chat_gui.main())"


def run_python(code: str, *arguments: object, status: int = 0, **changes: str) -> subprocess.CompletedProcess[str]:
    """Runs the code in a Python of its own, here in the project; it must end with this status."""
    return run([sys.executable, "-c", code, *map(str, arguments)], TOP, status, **changes)


def run(command: list[str], folder: Path, status: int, **changes: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **changes}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", timeout=3 * LIMIT, check=False
    )
    assert done.returncode == status, done.stderr
    return done


@contextmanager
def running(*arguments: str, before: str = "") -> Iterator[subprocess.Popen[str]]:
    # Scripts start what runs in the background with SIGINT ignored, and every process that it starts inherits that.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "import chat_gui, sys; from tests.helpers import stay_at_home; stay_at_home(); "
    command = [sys.executable, "-c", f"{code}{before}\nsys.exit(chat_gui.main())", *arguments]
    with subprocess.Popen(command, cwd=TOP, stderr=subprocess.PIPE, text=True) as program:
        try:
            yield program
        finally:
            program.kill()


def test_help_needs_no_screen_and_no_tkinter() -> None:
    printed = run_python(f"import sys; sys.modules['tkinter'] = None; {MAIN}", "--help", DISPLAY="").stdout
    for word in ("--host", "--join ADDRESS[:PORT]", "--name", "--port", "--password"):
        assert word in printed


@pytest.mark.skipif(not LINUX, reason="elsewhere there is always a screen")
def test_without_a_screen_one_line_says_so() -> None:
    told = run_python(MAIN, status=1, DISPLAY="").stderr
    assert "no screen" in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(("system", "hint"), [("freebsd", "python3-tk"), ("win32", "tcl/tk")])
def test_without_tkinter_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], system: str, hint: str
) -> None:
    monkeypatch.setattr(chat_gui, "tkinter_problem", "No module named 'tkinter'")
    monkeypatch.setattr(sys, "platform", system)
    assert chat_gui.main([]) == 1
    told = capsys.readouterr().err
    assert hint in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("version", ["3.8", "3.9"])
def test_a_python_that_is_too_old_can_parse_the_program_and_is_told_what_is_needed(version: str) -> None:
    ast.parse((TOP / "chat_gui.py").read_text(encoding="utf-8"), feature_version=(3, int(version[2:])))
    pythons = [python for python in candidates(version) if version_of(python) == version]
    if not pythons:
        pytest.skip(f"this computer has no Python {version}")
    told = run([pythons[0], "chat_gui.py"], TOP, status=1).stderr
    assert told == f"chat_gui.py needs Python 3.10 or newer; this is {version}\n"


def test_without_net_py_one_line_says_what_is_missing(tmp_path: Path) -> None:
    shutil.copy(TOP / "chat_gui.py", tmp_path)
    told = run([sys.executable, "chat_gui.py"], tmp_path, status=1, PYTHONPATH="").stderr
    assert told == "chat_gui.py needs net.py in the same folder\n"


@pytest.mark.parametrize("words", ["--host --join x", "--port x", "--port 65536", "--join a:99999", "--name \u200b"])
def test_a_wrong_command_line_is_explained(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        chat_gui.main(words.split(" "))
    assert left.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_a_port_may_be_given_behind_the_address_or_on_its_own() -> None:
    for words, port in (("pc", 5252), ("pc:6000", 6000), ("pc --port 6000", 6000)):
        assert chat_gui.parse_arguments(["--join", *words.split()]).join == ("pc", port)
    assert chat_gui.parse_arguments(["--host", "--port", "6000"]).port == 6000


# Closing the room takes longer than closing the window, and the thread that closes it then collects the garbage. Tk
# aborts the process if a thread other than the window's frees its objects.
LAST_WORDS_TAKE_LONG = """
import gc, net, time
close_room = net.Server.close
def close(self, *words):
    close_room(self, *words)
    time.sleep(0.2)
    gc.collect()
net.Server.close = close
gc.disable()
"""


@pytest.mark.usefixtures("display")
@pytest.mark.skipif(not LINUX, reason="drives the window from outside, through X11")
def test_a_teacher_and_a_pupil_need_only_a_keyboard_and_ctrl_c_closes_the_room() -> None:
    """From outside, with xdotool: the real program, real windows, and the keyboard of the X server."""
    if shutil.which("xdotool") is None:
        skip_or_fail("this test needs xdotool (on Debian and Ubuntu: apt install xdotool)")
    with (
        own_ports() as (port, *_),
        pointer_away(),
        running("--host", "--port", str(port), "--name", "Mr Lee", before=LAST_WORDS_TAKE_LONG) as program,
    ):
        until(lambda: windows("Mr Lee's room"), "the teacher's window shows the room")
        (teacher,) = windows("Mr Lee's room")  # the pupil's will have the same title
        with Wire(port) as watcher, running("--join", f"127.0.0.1:{port}", "--name", "Ann"):
            watcher.join("Watcher")
            while watcher.receive_until("joined")["name"] != "Ann":
                pass  # a latecomer also gets what happened before
            xdotool("windowfocus", "--sync", teacher, "type", "good morning")
            xdotool("key", "Return")
            said = watcher.receive_until("said")
            assert (said["name"], said["text"]) == ("Mr Lee", "good morning")
            program.send_signal(signal.SIGINT)
            assert watcher.receive_until("closed")["reason"] == "The host closed the room."
        assert program.wait(LIMIT) == 0, "no other thread frees what is left of the window"
        assert program.stderr is not None
        assert program.stderr.read() == ""


@contextmanager
def pointer_away() -> Iterator[None]:
    """Keeps the pointer in the corner, where no window is.

    Without a window manager, Tk takes the keyboard for the window below the pointer. It gives it back when another
    window appears there: in the middle of a word, and even if the window got the keyboard on purpose meanwhile.
    """
    x, y = (word.partition(":")[2] for word in xdotool("getmouselocation").split()[:2])
    xdotool("mousemove", "9999", "9999")
    try:
        yield
    finally:
        xdotool("mousemove", x, y)


def windows(title: str) -> list[str]:
    return xdotool("search", "--onlyvisible", "--name", title).split()


def xdotool(*arguments: str) -> str:
    return subprocess.run(["xdotool", *arguments], capture_output=True, text=True, timeout=LIMIT, check=False).stdout
