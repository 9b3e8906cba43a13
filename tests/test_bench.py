"""The benchmarks run, and print their tables. The figures are not checked, because this computer may be busy."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from typing import Any

import pytest

import net
from tests.conftest import TOP
from tests.helpers import LIMIT

# They take a minute. Where several Pythons run the tests one after the other, the newest is enough.
in_ci_once = pytest.mark.skipif(
    os.environ.get("CI") == "true" and sys.version_info < (3, 13), reason="in CI Python 3.13 runs the benchmarks"
)
pytestmark = [pytest.mark.slow, in_ci_once]
HELPERS = {"__init__", "rivals", "tools"}  # these are not benchmarks
SLOWEST = 6 * LIMIT  # s; a benchmark that hangs fails its test, and the others still run
ON_LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it needs /proc and epoll")
NEEDS_TLS = pytest.mark.skipif(not net.CAN_ENCRYPT, reason="this Python cannot encrypt a room")


def run(command: str, *rows: str, needs: Any = ()) -> Any:
    """A benchmark with its arguments, and some of what it prints, in this order."""
    return pytest.param(command, rows, marks=needs, id=command)


CONTENDERS = ("\nthis room  ", "\ntutorial  ", "\nbare copy loop  ")  # others, where they are installed
RUNS = [
    run("window", "longest stall", "10,000 messages a second"),
    run("feel", "of a processor", "\n5,000 messages a second"),
    run("hostile", "quiet"),
    run("misbehaving", "quiet", needs=ON_LINUX),
    run("misbehaving --password --only 'wrong passwords' 'key updates'", "key updates", needs=[ON_LINUX, NEEDS_TLS]),
    run("encryption", "encrypted", needs=NEEDS_TLS),
    run("files", "\nbare", "\nour upload", "\nour download", "\ndelivery, ", "\nfiles in this room"),
    run("fanout", *CONTENDERS, *CONTENDERS, needs=ON_LINUX),  # two tables: throughput and delivery time
    run("growth --only members", "a member more", needs=ON_LINUX),
    run("growth --only crowd lesson", "20 people at once", "after 2,000 messages", needs=ON_LINUX),
    run("growth --only window", "after 8,000 messages", needs=ON_LINUX),
]


@pytest.mark.parametrize(("command", "rows"), RUNS)
def test_a_benchmark_prints_its_tables(command: str, rows: tuple[str, ...], request: pytest.FixtureRequest) -> None:
    name, *arguments = shlex.split(command)
    if {"window", "feel"}.intersection([name, *arguments]):
        request.getfixturevalue("display")
    line = [sys.executable, "-m", f"tests.bench.{name}", "--quick", *arguments]
    result = subprocess.run(line, cwd=TOP, capture_output=True, text=True, timeout=SLOWEST, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Traceback" not in result.stderr, result.stderr  # perhaps of a process that it started
    assert re.search(".*".join(map(re.escape, rows)), result.stdout, re.DOTALL), result.stdout


def test_every_benchmark_is_run() -> None:
    found = {path.stem for path in (TOP / "tests" / "bench").glob("*.py")}
    assert found - HELPERS == {str(run.values[0]).split()[0] for run in RUNS}
