"""What the benchmarks share: this machine in a line, and what another process has cost."""

from __future__ import annotations

import os
import platform
import re
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
