"""Change the program in one random place at a time, and see whether the tests notice:

    python -m tests.mutate --places 100 --seed 1

Each change is made in a copy of the project in a temporary folder: another comparison, operator or number, a negated
condition, a statement less. Texts stay as they are. First run those tests that run the changed line, the quickest ones
first; if they pass, all tests of the default run. The survivors, listed at the end, are the changes that no test
noticed: each needs a better test, or makes no difference. The same seed gives the same places. It needs Linux and
Python 3.12. A change that is noticed takes about half a minute, a survivor as long as a default run.
"""

from __future__ import annotations

import argparse
import ast
import copy
import itertools
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from tests.__main__ import PYTHON, SIDE_BY_SIDE, TOP, prepare

MODULES = ("net.py", "chat_gui.py")
DEFAULT_RUN = [*SIDE_BY_SIDE, "-m", "not slow", "--ignore", "tests/test_house.py"]  # a copy is in no repository
QUICK = 30.0  # s that the tests that run the changed line may take together
SOME, ALL = "5m", "30m"  # for a run of some tests, and of all: one that hangs has noticed the change
MAP = "CHAT_MUTATE_MAP"  # in the environment: the file for what `pytest_runtest_protocol` finds out
FOUND = os.environ.get(MAP, "")  # read at once, because tests change the environment
OTHER: dict[type[ast.AST], Any] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
}  # fmt: skip


@dataclass(frozen=True)
class Change:
    module: str
    lines: range
    place: slice  # in the bytes of the source
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.module}:{self.lines[0]}: {self.before}  ->  {self.after}"


def changes(module: str, source: bytes) -> Iterator[Change]:
    """Every change that can be made to this module."""
    starts = [0, *itertools.accumulate(len(line) for line in source.splitlines(keepends=True))]
    for node, after in alternatives(ast.parse(source)):
        place = slice(starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset)
        yield Change(module, range(node.lineno, node.end_lineno + 1), place, source[place].decode(), after)


def alternatives(node: ast.AST, is_run: bool = False) -> Iterator[tuple[Any, str]]:
    """What could stand for this node, or for one within it. `is_run`: by a function, not on import."""
    if isinstance(node, ast.JoinedStr | ast.Expr) and re.match(r"f['\"]|log\.", ast.unparse(node)):
        return
    if isinstance(node, ast.expr) and (other := other_expression(node)) is not None:
        yield node, f"({ast.unparse(other)})"
    match node:
        case ast.Expr(value=ast.Call()) | ast.Assign(targets=[ast.Attribute() | ast.Subscript(), *_]) if is_run:
            yield node, "pass"
        case ast.AugAssign() | ast.Raise() | ast.Return() | ast.Continue() | ast.Break() | ast.Delete() if is_run:
            yield node, "pass"
        case ast.If() | ast.While() | ast.IfExp():
            yield node.test, f"(not ({ast.unparse(node.test)}))"
    for name, value in ast.iter_fields(node):
        if name not in ("annotation", "returns", "decorator_list"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from alternatives(child, is_run or isinstance(node, ast.FunctionDef))


def other_expression(node: ast.expr) -> Any:
    other: Any = copy.deepcopy(node)
    match node:
        case ast.Compare(ops=[operator, *_]):
            other.ops[0] = OTHER[type(operator)]()
        case ast.BoolOp(op=operator) | ast.BinOp(op=operator) if type(operator) in OTHER:
            other.op = OTHER[type(operator)]()
        case ast.UnaryOp(op=ast.Not(), operand=other):
            pass
        case ast.Constant(value=int(value) | float(value)):
            other.value = not value if isinstance(value, bool) else value + 1
        case _:
            return None
    return other


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """With `-p tests.mutate`, pytest writes down how long a test takes, and which lines of the program it runs."""
    monitoring: Any = vars(sys)["monitoring"]
    events, tool, began, lines = monitoring.events, monitoring.COVERAGE_ID, time.monotonic(), set()

    def begin(code: CodeType, _offset: int) -> Any:
        # No Path here: a test may pretend that this is Windows.
        if os.path.dirname(code.co_filename) == os.path.dirname(FOUND):
            monitoring.set_local_events(tool, code, events.LINE)
        return monitoring.DISABLE

    def run(code: CodeType, line: int) -> Any:
        lines.add((os.path.basename(code.co_filename), line))
        return monitoring.DISABLE

    monitoring.use_tool_id(tool, "mutate")
    monitoring.register_callback(tool, events.PY_START, begin)
    monitoring.register_callback(tool, events.LINE, run)
    monitoring.set_events(tool, events.PY_START)
    monitoring.restart_events()
    try:
        return (yield)
    finally:
        monitoring.set_events(tool, 0)
        monitoring.free_tool_id(tool)
        with open(FOUND, "ab", buffering=0) as file:  # one write: other processes write there as well
            file.write(json.dumps([item.nodeid, time.monotonic() - began, sorted(lines)]).encode() + b"\n")


class Tests:
    """The tests of a folder, and which of them run a line."""

    def __init__(self, folder: Path, python: str, everything: list[str]) -> None:
        self._folder, self._python, self._everything = folder, python, everything
        self._by_line: dict[tuple[str, int], set[str]] = defaultdict(set)
        self._seconds: dict[str, float] = {}
        found = folder / "found.txt"
        if not self._pass(ALL, "-p", "tests.mutate", *everything, **{MAP: str(found)}):
            raise SystemExit("some tests fail without any change: run python -m tests")
        for text in found.read_text().splitlines():
            test, seconds, lines = json.loads(text)
            self._seconds[test] = seconds
            for module, line in lines:
                self._by_line[module, line].add(test)

    def notice(self, change: Change, source: list[str]) -> bool:
        """Whether one of them fails."""
        concerned = set().union(*(self._by_line[change.module, number] for number in change.lines))
        name = re.match(r"\s*(?:def |class )?(\w+)", source[change.lines[0] - 1])
        if not concerned and name is not None:  # run on import: ask those that run a line with the name in front
            numbers = [number for number, line in enumerate(source, 1) if re.search(rf"\b{name[1]}\b", line)]
            concerned = concerned.union(*(self._by_line[change.module, number] for number in numbers))
        tests = sorted(concerned, key=self._seconds.__getitem__)
        seconds = itertools.accumulate(self._seconds[test] for test in tests)
        chosen = [test for test, total in zip(tests, seconds, strict=True) if total <= QUICK]
        return bool(chosen and not self._pass(SOME, *chosen)) or not self._pass(ALL, *self._everything)

    def _pass(self, limit: str, *arguments: str, **environment: str) -> bool:
        # This ends whatever the tests have started, too.
        command = ["timeout", "--kill-after=10", limit, self._python, "-m", "pytest", "-x", "-q", *arguments]
        # Bytecode that a test's own process leaves behind could hide the next change.
        how = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment}
        quiet = subprocess.DEVNULL
        return subprocess.run(command, cwd=self._folder, env=how, stdout=quiet, stderr=quiet).returncode == 0


def survivors(tests: Tests, folder: Path, modules: Iterable[str], places: int, seed: int) -> Iterator[Change]:
    """Make so many changes, one at a time; those that no test notices."""
    sources = {module: (folder / module).read_bytes() for module in modules}
    possible = [change for module, source in sources.items() for change in changes(module, source)]
    for change in random.Random(seed).sample(possible, min(places, len(possible))):
        source = sources[change.module]
        changed = source[: change.place.start] + change.after.encode() + source[change.place.stop :]
        (folder / change.module).write_bytes(changed)
        noticed = tests.notice(change, source.decode().splitlines())
        (folder / change.module).write_bytes(source)
        print("noticed " if noticed else "SURVIVED", change, flush=True)
        if not noticed:
            yield change


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutate")
    parser.add_argument("--places", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    prepare()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "copy")
        shutil.copytree(TOP, folder, ignore=shutil.ignore_patterns(".git", ".venv-*", ".*_cache"))
        found = list(survivors(Tests(folder, str(PYTHON), DEFAULT_RUN), folder, MODULES, options.places, options.seed))
    print(f"== {len(found)} of {options.places} changes survived", *found, sep="\n")


if __name__ == "__main__":
    main()
