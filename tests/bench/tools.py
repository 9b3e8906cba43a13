"""What the benchmarks share: this machine in a line, and what another process has cost."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import re
import socket
import statistics
from collections.abc import Iterator
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100  # of /proc's clock, in a second


def machine() -> str:
    """For the first line of each table: figures of two machines cannot be compared."""
    processor = ""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        if found := re.search(r"model name\s*: (.*)", file.read()):
            processor = f" ({found[1]})"
    return (
        f"Python {platform.python_version()}, {platform.system()} {platform.release()} {platform.machine()}, "
        f"{os.cpu_count()} cores{processor}, load average {os.getloadavg()[0]:.2f}"
    )


@contextlib.contextmanager
def kept_port() -> Iterator[int]:
    """A port for a server that is about to start: the system gives it to nobody by itself while it is kept.

    On Linux a server that allows address reuse, as all do, may listen on a port that is bound, but not listened on.
    """
    with socket.socket() as keeper:
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeper.bind(("127.0.0.1", 0))
        yield keeper.getsockname()[1]


def is_listening(port: int) -> bool:
    """Whether a server has started. To connect would be an answer too, but also a client that is gone again."""
    table = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(address.endswith(f":{port:04X}") and state == "0A" for _, address, _, state, *_ in table)


def percentiles(some: list[float]) -> list[float]:
    """Of what was measured, 1 to 99; not numbers where that was too little."""
    return statistics.quantiles(some, n=100, method="inclusive") if len(some) > 1 else [math.nan] * 99


def cpu_seconds(pid: int) -> float:
    """The processor time that another process has used so far, all of its threads, in the system too."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory(pid: int, peak: bool = False) -> float:
    """MiB that another process holds now, or has held at its peak."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"{'VmHWM' if peak else 'VmRSS'}:\s*(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024
