"""The layout of the project: which module may know what, what stands at the top, and what the README promises."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys

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
    private = {name for module in MODULES for name in private_definitions(tree(module))}
    tests = {path.name: path.read_text(encoding="utf-8") for path in (TOP / "tests").rglob("*.py")}
    used = {name: uses(code, private) for name, code in tests.items()}
    assert not [(name, names) for name, names in used.items() if names]


def test_a_private_name_is_noticed_in_every_disguise() -> None:
    for disguise in ("room.people[0]._x", "getattr(room, '_x')", "set('net._x', 1)", "from net import _x", "self._x"):
        assert uses(disguise, {"_x"}), disguise
    for innocent in ("self._x = 1\nself._x", "def _x(): ...\n_x()", "net._y", "net.__x__"):
        assert not uses(innocent, {"_x"}), innocent


def private_definitions(code: ast.Module) -> set[str]:
    """The private names of functions, classes, variables and attributes that this code defines."""
    nodes = [node for node in ast.walk(code) if isinstance(getattr(node, "ctx", ast.Store()), ast.Store)]
    names = [getattr(node, field, "") for node in nodes for field in ("name", "attr", "id")]
    return {name for name in names if re.fullmatch(r"_[A-Za-z]\w*", str(name))}


def uses(code: str, private: set[str]) -> set[str]:
    """Those of these names that the code uses, except on `self` where it defines that name as well."""
    on_self = set(re.findall(r"\bself\.(_\w+)", code)) - private_definitions(ast.parse(code))
    elsewhere = re.findall(r"(?:(?<!\bself)\.|['\"]|\bimport .*)\b(_\w+)", code)
    return private & on_self.union(elsewhere)


@pytest.mark.parametrize("module", MODULES)
def test_no_function_is_longer_than_a_screen(module: str) -> None:
    too_long = {}
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef):
            docstring = ast.get_docstring(node, clean=False) or ""
            lines = (node.end_lineno or 0) - node.lineno + 1 - len(docstring.splitlines())
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
    readme = (TOP / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"(?:^    |`)python (.*?)(?:`|$)", readme, re.MULTILINE)
    assert {"chat_gui.py", "-m tests"} <= set(commands)
    for command in commands:
        if module := re.match(r"-m (tests[\w.]*)", command):
            path = TOP / module[1].replace(".", "/")
            assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), command
        else:
            script = re.match(r"(?:chat_gui\.py|tests/\S+)(?=\s|$)", command)
            assert script is not None, f"neither the program nor one of its tests: {command}"
            assert (TOP / script[0]).exists(), command
