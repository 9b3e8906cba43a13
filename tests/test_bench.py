"""The benchmarks run, and print their tables. The figures are not checked, because this computer may be busy."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import TOP
from tests.helpers import LIMIT, needs_tls

# They take a minute. Where several Pythons run the tests one after the other, the newest is enough.
in_ci_once = pytest.mark.skipif(
    os.environ.get("CI") == "true" and sys.version_info < (3, 13), reason="in CI Python 3.13 runs the benchmarks"
)
pytestmark = [pytest.mark.slow, in_ci_once]
HELPERS = {"__init__", "rivals", "tools"}  # these are not benchmarks
SLOWEST = 6 * LIMIT  # s; a benchmark that hangs fails its test, and the others still run
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it needs /proc and epoll")


def run(name: str, *arguments: str) -> str:
    """Runs a benchmark; returns what it printed."""
    command = [sys.executable, "-m", f"tests.bench.{name}", "--quick", *arguments]
    result = subprocess.run(command, cwd=TOP, capture_output=True, text=True, timeout=SLOWEST, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Traceback" not in result.stderr, result.stderr  # perhaps of a process that it started
    return result.stdout


def test_all_benchmarks_are_here() -> None:
    found = {path.stem for path in (TOP / "tests" / "bench").glob("*.py")}
    assert found - HELPERS == {"encryption", "fanout", "feel", "files", "growth", "hostile", "misbehaving", "window"}


@pytest.mark.usefixtures("display")
def test_window() -> None:
    printed = run("window")
    assert "longest stall" in printed
    assert "10,000 messages a second" in printed


@pytest.mark.usefixtures("display")
def test_feel() -> None:
    printed = run("feel")
    assert "of a processor" in printed
    assert "\n5,000 messages a second" in printed


def test_hostile() -> None:
    assert "quiet" in run("hostile")


@on_linux
def test_misbehaving() -> None:
    assert "quiet" in run("misbehaving")


@on_linux
@needs_tls
def test_misbehaving_in_an_encrypted_room() -> None:
    assert "key updates" in run("misbehaving", "--password", "--only", "wrong passwords", "key updates")


@needs_tls
def test_encryption() -> None:
    assert "encrypted" in run("encryption")


def test_files() -> None:
    printed = run("files")
    for row in ("bare", "our upload", "our download", "delivery, ", "files in this room"):
        assert f"\n{row}" in printed


@on_linux
def test_fanout() -> None:
    printed = run("fanout")
    for row in ("this room", "tutorial", "bare copy loop"):  # others, where they are installed
        assert printed.count(f"\n{row}  ") == 2, printed  # in both tables: throughput and delivery time


@on_linux
def test_growth() -> None:
    printed = run("growth", "--only", "members", "crowd", "lesson")
    assert "a member more" in printed
    assert "20 people at once" in printed
    assert "after 2,000 messages" in printed


@on_linux
@pytest.mark.usefixtures("display")
def test_growth_of_the_window() -> None:
    assert "after 8,000 messages" in run("growth", "--only", "window")
