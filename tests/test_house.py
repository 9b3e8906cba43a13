"""The layout of the project: which module may know what, what stands at the top, and what the README promises."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.conftest import TOP

MODULES = ("net.py", "chat_gui.py")
LONGEST_FUNCTION = 60  # lines, without its docstring: as many as fit on a screen


@functools.cache
def tree(module: str) -> ast.Module:
    return ast.parse((TOP / module).read_text(encoding="utf-8"))


def imported(module: str) -> set[str]:
    """The top-level names of everything that it imports, also inside its functions."""
    names: set[str] = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names


def tracked() -> list[str]:
    """All files of the repository, and those that `git add` would add: a stray one is noticed before it is in."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=TOP, capture_output=True, check=True).stdout.decode()
    return [name for name in listed.split("\0") if name and (TOP / name).is_file()]


def commands() -> Iterator[str]:
    """Each command that the README's code blocks tell a reader to run with Python, without the name of Python."""
    inside = False
    for line in (TOP / "README.md").read_text(encoding="utf-8").splitlines():
        if line.lstrip().startswith("```"):
            inside = not inside
        found = re.match(r"\s*(?:[$>] )?(?:python3?|py)\s+(.*)", line)
        if found is not None and (inside or line.startswith("    ")):
            yield found[1]


def test_the_part_that_travels_imports_no_window_and_the_window_no_sockets() -> None:
    assert not imported("net.py") & {"tkinter", "_tkinter", "chat_gui"}
    assert not imported("chat_gui.py") & {"socket", "ssl", "select", "selectors"}


@pytest.mark.parametrize("module", MODULES)
def test_the_program_needs_nothing_but_python(module: str) -> None:
    assert imported(module) <= sys.stdlib_module_names | {"net", "chat_gui"}


@pytest.mark.parametrize("module", MODULES)
def test_every_thread_has_a_name(module: str) -> None:
    calls = [node for node in ast.walk(tree(module)) if isinstance(node, ast.Call)]
    threads = [call for call in calls if ast.unparse(call.func) == "threading.Thread"]
    assert threads
    for call in threads:
        assert "name" in [keyword.arg for keyword in call.keywords], f"line {call.lineno} of {module}"


def test_no_test_uses_a_private_name_of_the_program() -> None:
    """So the code inside can change, and the tests still say what it promises."""
    of_the_program = {name for module in MODULES for name in private_definitions(tree(module))}
    used = []
    for path in sorted((TOP / "tests").rglob("*.py")):
        used += [f"{path.name}:{use}" for use in uses(ast.parse(path.read_text(encoding="utf-8")), of_the_program)]
    assert not used


def test_a_private_name_is_noticed_in_every_disguise() -> None:
    disguises = ("room.people[0]._x", "getattr(room, '_x')", "set('net._x', 1)", "from net import _x", "self._x")
    for disguise in disguises:
        assert list(uses(ast.parse(disguise), {"_x"})), disguise
    for innocent in ("self._x = 1\nself._x", "def _x(): ...\n_x()", "net._y", "net.__x__"):
        assert not list(uses(ast.parse(innocent), {"_x"})), innocent


PRIVATE = re.compile(r"_[A-Za-z]\w*")


def private_definitions(code: ast.Module) -> set[str]:
    """The private names of functions, classes, variables and attributes that this code defines."""
    found = set()
    for node in ast.walk(code):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return {name for name in found if PRIVATE.fullmatch(name)}


def uses(code: ast.Module, private: set[str]) -> Iterator[str]:
    """Where the code uses one of these names, except on `self` where it defines that name as well."""
    own = private_definitions(code)
    for node in ast.walk(code):
        names: list[str] = []
        if isinstance(node, ast.Attribute):
            is_own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls") and node.attr in own
            names = [] if is_own else [node.attr]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value.rpartition(".")[2]]  # as in monkeypatch.setattr(thing, "_name", ...)
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
        if private.intersection(names):
            yield f"{getattr(node, 'lineno', 0)}: {ast.unparse(node)}"


@pytest.mark.parametrize("module", MODULES)
def test_no_function_is_longer_than_a_screen(module: str) -> None:
    too_long = {}
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            docstring = (first.end_lineno or 0) - first.lineno + 1 if ast.get_docstring(node) else 0
            lines = (node.end_lineno or 0) - node.lineno + 1 - docstring
            if lines > LONGEST_FUNCTION:
                too_long[node.name] = lines
    assert not too_long


def test_nothing_else_stands_at_the_top() -> None:
    visible = {name.partition("/")[0] for name in tracked() if not name.startswith(".")}
    assert visible == {*MODULES, "README.md", "requirements-dev.txt", "tests"}


def test_no_file_names_a_place_on_one_computer() -> None:
    place = re.compile(r"(?<![\w.<])/(?:work|root|home|Users)\b")
    named = []
    for name in tracked():
        data = (TOP / name).read_bytes()
        if b"\0" not in data:  # a picture otherwise
            lines = enumerate(data.decode("utf-8").splitlines(), 1)
            named += [f"{name}:{number}: {line.strip()}" for number, line in lines if place.search(line)]
    assert not named


def test_every_command_in_the_readme_exists_and_it_says_how_to_run_the_program_and_the_tests() -> None:
    assert {"chat_gui.py", "-m tests"} <= set(commands())
    for command in commands():
        if module := re.match(r"-m (tests[\w.]*)", command):
            path = TOP / module[1].replace(".", "/")
            assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), command
        else:
            script = re.match(r"(?:chat_gui\.py|tests/\S+)(?=\s|$)", command)
            assert script is not None, f"neither the program nor one of its tests: {command}"
            assert (TOP / script[0]).exists(), command
