"""All the Pythons of this computer in one room: each runs a small program of its own with this net.py."""

from __future__ import annotations

import contextlib
import queue
import subprocess
import sys
from pathlib import Path

import pytest

import net
from tests.conftest import TOP, OpenRoom
from tests.helpers import LIMIT, LOOPBACK, expect

VERSIONS = ["3.10", "3.11", "3.12", "3.13", "3.14", "3.15"]
LINES = 20  # of each

# Joins, says its lines, shares a file if it gets one, saves the file that is shared, and prints each line that it
# hears. It cannot use the tests' own helpers, which need packages that this Python may not have.
PROGRAM = """
import queue, sys, net
port, name, lines, everything, path, to = sys.argv[1:]
events = queue.Queue()
heard, saved = 0, False
with net.run_client("127.0.0.1", name, events, port=int(port)) as client:
    while heard < int(everything) or not saved:
        event = events.get(timeout=60)
        if isinstance(event, net.Welcome):
            for number in range(int(lines)):
                client.say(f"{name} {number}")
            if path:
                client.share(path)
        elif isinstance(event, net.Said):
            heard += 1
            print(event.text, flush=True)
        elif isinstance(event, net.Shared):
            client.save(event, to)
        elif isinstance(event, net.Saved):
            saved = True
        elif isinstance(event, (net.Failed, net.Rejected, net.Refused, net.Closed, net.Lost)):
            sys.exit(f"{event}")
assert client.join(10)
"""


def find_pythons() -> dict[str, str]:
    """Version -> the Python of that version, found as .ci/run finds them: by pyenv, or on the PATH."""
    found = {"{}.{}".format(*sys.version_info): sys.executable}
    for version in VERSIONS:
        for candidate in candidates(version):
            if version not in found and version_of(candidate) == version:
                found[version] = candidate
    return found


def candidates(version: str) -> list[str]:
    return [f"{ask('pyenv', 'prefix', version)}/bin/python", f"python{version}"]


def version_of(python: str) -> str:
    # It must say so itself: pyenv leaves a python3.X on the PATH for versions that are not installed.
    return ask(python, "-c", "import sys; print('{}.{}'.format(*sys.version_info))")


def ask(*command: str) -> str:
    """What the command prints, or nothing if it fails."""
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    except OSError:
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def test_all_pythons_of_this_computer_talk_and_share_a_file_in_one_room(
    stack: contextlib.ExitStack, open_room: OpenRoom, tmp_path: Path
) -> None:
    pythons = find_pythons()
    if len(pythons) < 2:
        pytest.skip(f"this computer has no other Python than {', '.join(pythons)}")
    picture = tmp_path / "picture.png"
    picture.write_bytes(bytes(range(256)) * 5000)
    events: net.Events = queue.Queue()
    room = open_room()
    stack.enter_context(net.run_client(LOOPBACK, "Host", events, port=room.port, token=room.token))
    expect(events, net.Joined)
    total = LINES * len(pythons)
    programs: dict[str, subprocess.Popen[str]] = {}
    for name, python in pythons.items():
        shared = "" if programs else str(picture)
        arguments = [room.port, f"Python {name}", LINES, total, shared, tmp_path / f"saved by {name}"]
        command = [python, "-c", PROGRAM, *map(str, arguments)]
        programs[name] = subprocess.Popen(command, cwd=TOP, stdout=subprocess.PIPE, text=True)
        stack.callback(programs[name].communicate)
        stack.callback(programs[name].kill)
    heard = [expect(events, net.Said).text for _ in range(total)]
    for name, program in programs.items():
        printed, _ = program.communicate(timeout=3 * LIMIT)
        assert program.returncode == 0
        assert printed.splitlines() == heard
        own = [line for line in heard if line.startswith(f"Python {name} ")]
        assert own == [f"Python {name} {number}" for number in range(LINES)]
        assert (tmp_path / f"saved by {name}").read_bytes() == picture.read_bytes()
