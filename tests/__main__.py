"""Check the program:

    python -m tests             ruff, mypy, and all tests except the slow ones
    python -m tests --all       the same with the slow tests: benchmarks, long torture, networks of several computers
    python -m tests -k room     only some tests, slow or not (all other arguments go to pytest)

A test is slow if it has the marker `slow`. CHAT_TORTURE=long makes the torture tests much longer.

What the tests need is kept in a virtual environment in a hidden folder, one for each version of Python, so that
nothing has to be installed by hand and nothing on the computer changes.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
REQUIREMENTS = TOP / "requirements-dev.txt"
HOME = TOP / ".venv-{}.{}".format(*sys.version_info)
PYTHON = HOME / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
SIDE_BY_SIDE = ["-n", "3", "--dist", "worksteal"]  # three tests at the same time: most of them wait most of the time
STAMP = HOME / "installed.txt"  # the requirements that were installed, word for word


class CannotRun(Exception):
    """The checks cannot even begin; the text says why, in one line."""


def main(arguments: list[str]) -> int:
    try:
        prepare()
    except (CannotRun, OSError) as error:
        print(f"cannot run the tests: {error}", file=sys.stderr)
        return 1
    everything = "--all" in arguments
    some = [argument for argument in arguments if argument != "--all"]
    # The tools' caches live in the environment: different Pythons may run at the same time.
    pytest = ["pytest", "-o", f"cache_dir={HOME / '.pytest_cache'}"]
    if some:
        return check("pytest", [*pytest, *some])
    pytest += SIDE_BY_SIDE if everything else [*SIDE_BY_SIDE, "-m", "not slow"]
    checks = {
        "ruff": ["ruff", "check", "--cache-dir", str(HOME / ".ruff_cache"), "."],
        "mypy": ["mypy", "--cache-dir", str(HOME / ".mypy_cache")],
        "pytest": pytest,
    }
    failed = [name for name, command in checks.items() if check(name, command) != 0]
    if not everything:
        print("== left out: benchmarks, long torture, networks of computers (python -m tests --all)", flush=True)
    print(f"== failed: {', '.join(failed)}" if failed else "== all checks passed", flush=True)
    return 1 if failed else 0


def check(name: str, command: list[str]) -> int:
    print(f"== {name}", flush=True)
    return subprocess.run([PYTHON, "-m", *command], cwd=TOP, check=False).returncode


def prepare() -> None:
    """Make sure that the environment is there, works, and holds what REQUIREMENTS asks for."""
    wanted = REQUIREMENTS.read_text(encoding="utf-8")
    if not works():
        make_environment()
    if not STAMP.exists() or STAMP.read_text(encoding="utf-8") != wanted:
        install()
        STAMP.write_text(wanted, encoding="utf-8")  # last, so that an install that was interrupted is done again


def works() -> bool:
    """Whether the environment runs, has pip, and belongs to the Python that is running now (which may have moved)."""
    question = "import pip, sys; print(ascii(sys.base_prefix))"
    try:
        answer = subprocess.run([PYTHON, "-c", question], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return answer.returncode == 0 and answer.stdout.strip() == ascii(sys.base_prefix)


def make_environment() -> None:
    # Debian and Ubuntu keep these two in a package of their own; asked first, because what venv says of it is a page.
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            raise CannotRun(f"this Python has no {module!r} module (on Debian and Ubuntu: apt install python3-venv)")
    print(f"== making {HOME.name}", flush=True)
    if HOME.exists():
        shutil.rmtree(HOME)
    run_quietly([sys.executable, "-m", "venv", str(HOME)], f"cannot make a virtual environment in {HOME}")


def install() -> None:
    print(f"== installing {REQUIREMENTS.name}", flush=True)
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "-r", str(REQUIREMENTS)]
    run_quietly(command, f"pip could not install {REQUIREMENTS.name} (it needs the network, once)")


def run_quietly(command: list[str], complaint: str) -> None:
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if result.returncode != 0:
        lines = [line.strip() for line in result.stdout.splitlines() if line.strip()] or ["it did not say why"]
        # pip ends with the error; its warnings and tries again come before it.
        reason = next((line for line in reversed(lines) if line.startswith("ERROR:")), lines[-1])
        raise CannotRun(f"{complaint}: {reason}")


if __name__ == "__main__":
    if sys.version_info < (3, 10):  # noqa: UP036 - the one line that an older Python gets to see
        sys.exit("cannot run the tests: they need Python 3.10 or newer")
    os.environ["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)  # what shells expect of a program that Ctrl+C ended
