"""Every keyboard, every script, every system: what differs between the computers that the program meets.

Windows is only imitated here, one difference at a time; nothing in this file needs it.
"""

from __future__ import annotations

import errno
import json
import os
import queue
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import chat_gui
import net
from tests.conftest import TOP
from tests.helpers import LIMIT, LOOPBACK, Display, Wire, skip_or_fail
from tests.test_start import hear_of, pointer_away, port, wait_for_room, xdotool

if TYPE_CHECKING:  # a Python without tkinter cannot read it, and runs all the tests that need no window
    from tests.windows import Person

__all__ = ["port"]  # a fixture

LINUX = sys.platform == "linux"
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps the names of files in Unicode, always")


def run_python(code: str, *arguments: object, **changes: str) -> str:
    """Runs the code in a Python of its own, here in the project; returns what it prints."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = {**os.environ, **changes}
    done = subprocess.run(
        command, cwd=TOP, env=environment, capture_output=True, encoding="utf-8", timeout=3 * LIMIT, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# Other keyboard layouts ----------------------------------------------------------------------------------------------

KEYS = {"a": 38, "f": 41, "v": 55, "x": 53, "y": 29, "z": 52}  # X11's numbers of their places


@pytest.fixture
def set_layout(display: Display) -> Iterator[Callable[[str], None]]:
    """Changes the layout of the tests' own screen."""
    if display.file is None:
        pytest.skip("the layout of a real keyboard is not changed")
    if shutil.which("setxkbmap") is None:
        pytest.skip("this test needs setxkbmap (on Debian and Ubuntu: apt install x11-xkb-utils)")
    if shutil.which("xdotool") is None:
        skip_or_fail("this test needs xdotool (on Debian and Ubuntu: apt install xdotool)")

    def set_one(layout: str) -> None:
        subprocess.run(["setxkbmap", layout], check=True, timeout=LIMIT)

    with pointer_away():
        yield set_one
        set_one("us")


@pytest.mark.parametrize(("layout", "typed"), [("ru", "\u043c"), ("il", "\u05d4")])
def test_real_keys_of_another_layout_cut_paste_undo_and_find(
    set_layout: Callable[[str], None], host: Person, layout: str, typed: str
) -> None:
    set_layout(layout)
    host.focus_composer()
    box, entry = host.box, host.chat.find_bar.entry

    def has(text: str) -> bool:
        return host.chat.composer.get().strip() == text

    box.insert("1.0", "text")
    box.edit_separator()
    steps: list[tuple[str, Callable[[], object]]] = [
        ("a", lambda: box.tag_ranges("sel")),
        ("x", lambda: has("") and host.root.clipboard_get().strip() == "text"),
        ("v", lambda: has("text")),
        ("z", lambda: has("")),
        ("y", lambda: has("text")),
        ("f", lambda: host.root.focus_get() is entry),
    ]
    for letter, has_worked in steps:
        xdotool("key", f"ctrl+{KEYS[letter]}")
        host.wait(has_worked, f"Control and the key of {letter.upper()} work")
    xdotool("key", str(KEYS["v"]))
    host.wait(lambda: entry.get() == typed, "without Control, the key writes its letter")


@pytest.mark.parametrize(
    ("keysym", "place"),
    [("odiaeresis", "x"), ("semicolon", "z"), ("apostrophe", "x"), ("dead_circumflex", "y"), ("agrave", "x")],
)
def test_on_a_latin_layout_signs_and_accented_letters_are_no_shortcuts(
    monkeypatch: pytest.MonkeyPatch, keysym: str, place: str
) -> None:
    """Turkish-F has \u00f6 in the place of X, and Dvorak a semicolon in that of Z; their own X and Z are elsewhere."""
    tkinter = pytest.importorskip("tkinter")
    monkeypatch.setattr(sys, "platform", "linux")
    event = tkinter.Event()
    event.keysym, event.keycode = keysym, KEYS[place]
    assert chat_gui.latin_letter(event) == ""


# Names and text ------------------------------------------------------------------------------------------------------


def test_whatever_ends_a_line_somewhere_becomes_a_newline() -> None:
    for end in ("\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"):
        assert net.clean_text(f"Water boils{end}at 100") == "Water boils\nat 100", ascii(end)


NEED_JOINERS = [
    "\u0dc1\u0dca\u200d\u0dbb\u0dd3",  # Sinhala: Sri
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian: I want
    "\u0915\u094d\u200d\u0937",  # Devanagari
    "\U0001f468\U0001f3fd\u200d\U0001f4bb",  # a man at a computer
    "\U0001f408\u200d\u2b1b",  # a black cat
    "\U0001f642\u200d\u2194",  # a face that shakes its head
]


def test_joiners_stay_in_names_and_file_names_between_characters_that_need_them() -> None:
    for name in NEED_JOINERS:
        assert net.clean_name(name) == name
        assert net.clean_filename(f"{name}.txt") == f"{name}.txt"
    assert net.clean_name("\U0001f3f3\ufe0f\u200d\U0001f308") == "\U0001f3f3\u200d\U0001f308", "the rainbow flag"


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("A{}nn", "Ann"),
        ("{}Ann", "Ann"),
        ("Ann{}", "Ann"),
        ("\u0645{}", "\u0645"),
        ("{}\u0645", "\u0645"),
        ("\u0645 {}\u0645", "\u0645 \u0645"),
        ("\u0645{0}{0}\u0645", "\u0645\u0645"),
        ("{}", ""),
    ],
)
def test_joiners_are_removed_where_they_would_only_hide(name: str, clean: str) -> None:
    for joiner in ("\u200c", "\u200d"):
        assert net.clean_name(name.format(joiner)) == clean
        assert net.clean_filename(name.format(joiner)) == (clean or "file")


def test_a_name_that_is_cut_behind_a_joiner_does_not_end_with_it() -> None:
    assert net.clean_name("\u0645" * (net.MAX_NAME - 1) + "\u200c\u0645") == "\u0645" * (net.MAX_NAME - 1)
    filename = net.clean_filename("\u0645" * 99 + "\u200c\u0645" * 200)
    assert net.clean_filename(filename) == filename


# LC_ALL=C ------------------------------------------------------------------------------------------------------------

SHARE_AND_SAVE = r"""
import os, queue, sys, chat_gui, net
folder = sys.argv[1]
def expect(kind):
    while not isinstance(event := events.get(timeout=20), kind):
        assert not isinstance(event, (net.Failed, net.Rejected)), ascii(event)
    return event
with net.run_server("Room", host="127.0.0.1", port=0) as room:
    events = queue.Queue()
    with net.run_client("127.0.0.1", "Ann", events, port=room.port) as ann:
        expect(net.Welcome)
        ann.share(folder + "/\u00dcbung \u4f60.txt")
        shared = expect(net.Shared)
        ann.save(shared, folder + "/L\u00f6sung.txt")
        expect(net.Saved)
answers = queue.SimpleQueue()
chat_gui.save_text(folder + "/Gespr\u00e4ch.txt", "Gr\u00fc\u00dfe \u4f60", answers)
print(sys.getfilesystemencoding(), ascii(shared.filename), ascii(answers.get()[1]))
"""


@posix
@pytest.mark.parametrize("mode", ["0", "1"])
def test_without_a_locale_files_with_umlauts_are_shared_and_saved_and_so_is_the_chat(tmp_path: Path, mode: str) -> None:
    (tmp_path / "\u00dcbung \u4f60.txt").write_bytes(b"to do")
    printed = run_python(SHARE_AND_SAVE, tmp_path, LC_ALL="C", PYTHONUTF8=mode, PYTHONCOERCECLOCALE="0")
    assert printed.split(" ", 1)[1] == r"'\xdcbung \u4f60.txt' ''" + "\n"
    names = {"\u00dcbung \u4f60.txt", "L\u00f6sung.txt", "Gespr\u00e4ch.txt"}
    assert set(os.listdir(os.fsencode(tmp_path))) == {name.encode() for name in names}
    assert (tmp_path / "L\u00f6sung.txt").read_bytes() == b"to do"
    assert (tmp_path / "Gespr\u00e4ch.txt").read_text(encoding="utf-8") == "Gr\u00fc\u00dfe \u4f60"


@pytest.mark.skipif(not LINUX, reason="elsewhere Tk knows the names of files without a locale")
@pytest.mark.usefixtures("display")
def test_without_a_locale_the_dialogs_read_the_names_of_files_right(tmp_path: Path) -> None:
    (tmp_path / "\u00dcbung.txt").touch()
    code = "import sys, tkinter, chat_gui; app = chat_gui.App(tkinter.Tk()); "
    code += "print(ascii(app.root.tk.call('glob', '-directory', sys.argv[1], '-tails', '*'))); app.close()"
    assert r"\xdcbung.txt" in run_python(code, tmp_path, LC_ALL="C")


# No console (pythonw) ------------------------------------------------------------------------------------------------

NO_CONSOLE = "import sys; sys.stdin = sys.stdout = sys.stderr = None\n"


def test_without_a_console_a_wrong_command_line_is_told_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def cannot_start(problem: str) -> None:
        told.append(problem)
        sys.exit(1)

    monkeypatch.setattr(chat_gui, "cannot_start", cannot_start)
    monkeypatch.setattr(sys, "stdin", None)
    monkeypatch.setattr(sys, "stderr", None)
    for arguments in (["--password", "-"], ["--port", "x"]):
        with pytest.raises(SystemExit):
            chat_gui.main(arguments)
    assert "no standard input" in told[0]
    assert "--port" in told[1]


def test_without_a_console_the_program_ends_as_usual_and_logging_fails_nowhere(tmp_path: Path) -> None:
    code = NO_CONSOLE + (
        "import chat_gui, logging, net\n"
        "ended = []\n"
        "chat_gui.tkinter_problem = 'none here'\n"
        "ended.append(chat_gui.main([]))\n"
        "try: chat_gui.main(['--password', '-'])\n"
        "except SystemExit as error: ended.append(error.code)\n"
        "for log in (chat_gui.log, net.log, logging.getLogger('other')): log.error('nobody reads this')\n"
        "open(sys.argv[1], 'w').write(str(ended))\n"
    )
    run_python(code, tmp_path / "ended")
    assert (tmp_path / "ended").read_text() == "[1, 1]"


@pytest.mark.usefixtures("display")
def test_without_a_console_a_room_opens_and_takes_people_in(port: int) -> None:
    code = NO_CONSOLE + "import chat_gui; from tests.helpers import stay_at_home; stay_at_home(); chat_gui.main()"
    command = [sys.executable, "-c", code, "--host", "--port", str(port), "--name", "Mr Lee"]
    with subprocess.Popen(command, cwd=TOP) as program:
        try:
            wait_for_room(port)
            with Wire(port) as ann:
                ann.join("Ann")
                hear_of(ann, "Mr Lee")
        finally:
            program.kill()


# The right address first ---------------------------------------------------------------------------------------------

UP, BROADCAST, POINT_TO_POINT = 0x1, 0x2, 0x10  # netdevice(7)
IN_CLASS = ("eth0", "192.168.1.20", UP | BROADCAST, 24)


def pretend_adapters(monkeypatch: pytest.MonkeyPatch, *adapters: tuple[str, str, int, int]) -> None:
    """This computer has these: name, address, flags, and the length of the network's prefix."""
    import fcntl

    def answer(_descriptor: int, question: int, request: bytes) -> bytes:
        name = request.split(b"\0")[0].decode()
        _, address, flags, prefix = next(adapter for adapter in adapters if adapter[0] == name)
        if question == 0x8913:
            return struct.pack("16sH", request[:16], flags)
        mask = struct.pack("!I", -(1 << 32 - prefix) % (1 << 32))
        return request[:20] + (socket.inet_aton(address) if question == 0x8915 else mask) + bytes(232)

    monkeypatch.setattr(socket, "if_nameindex", lambda: [*enumerate((name for name, *_ in adapters), 1)])
    monkeypatch.setattr(fcntl, "ioctl", answer)


@pytest.mark.skipif(not LINUX, reason="other systems number the questions about adapters differently")
@pytest.mark.parametrize(
    "other",
    [
        *((name, "10.8.0.2", UP | BROADCAST, 24) for name in ("tun0", "wg0", "ppp0", "nordlynx", "tailscale0")),
        *((name, "10.8.0.2", UP | BROADCAST, 24) for name in ("lxcbr0", "cali1f2e")),
        ("docker0", "172.17.0.1", UP | BROADCAST, 16),
        ("school-vpn", "10.8.0.2", UP | BROADCAST | POINT_TO_POINT, 24),
        ("school-vpn", "10.8.0.2", UP, 24),
        ("school-vpn", "10.8.0.2", UP | BROADCAST, 32),
        ("school-vpn", "100.64.0.1", UP | BROADCAST, 24),
        ("school-vpn", "100.127.255.1", UP | BROADCAST, 10),
        ("eth1", "169.254.3.4", UP | BROADCAST, 16),
    ],
)
def test_an_address_that_nobody_in_the_class_can_reach_comes_last(
    monkeypatch: pytest.MonkeyPatch, other: tuple[str, str, int, int]
) -> None:
    wlan = ("wlan0", "10.0.0.7", UP | BROADCAST, 8)
    pretend_adapters(monkeypatch, other, wlan, IN_CLASS)
    found = net.local_addresses()
    assert found.index("10.0.0.7") < found.index("192.168.1.20") < found.index(other[1]), "real ones keep their order"


def test_where_adapters_have_no_names_as_on_windows_the_addresses_themselves_decide(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = ["100.100.1.1", "169.254.3.4", "192.168.1.20", "127.0.0.1"]
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(socket, "gethostbyname_ex", lambda name: (name, [], told))
    found = net.local_addresses()
    assert "127.0.0.1" not in found
    for useless in ("100.100.1.1", "169.254.3.4"):
        assert found.index("192.168.1.20") < found.index(useless)


# Windows, imitated ---------------------------------------------------------------------------------------------------


def held_by_a_scanner(monkeypatch: pytest.MonkeyPatch, name: str, times: int) -> list[str]:
    """Lets this function of `os` fail so many times, as it does on Windows while a scanner has the file open."""
    really, tried = getattr(os, name), []

    def try_to(path: str, *rest: str) -> None:
        tried.append(path)
        if len(tried) <= times:
            raise PermissionError(errno.EACCES, "used by another process")
        really(path, *rest)

    monkeypatch.setattr(os, name, try_to)
    monkeypatch.setattr(os, "name", "nt")
    return tried


def test_on_windows_a_file_that_a_scanner_holds_is_replaced_and_deleted_a_little_later(tmp_path: Path) -> None:
    part, target = str(tmp_path / "a.part"), str(tmp_path / "a")
    answers: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
    for path in (part, target):
        Path(path).write_text(path)
    with pytest.MonkeyPatch.context() as patch:
        tried = held_by_a_scanner(patch, "replace", 2)
        net.replace_file(part, target)
        assert len(tried) == 3
    assert Path(target).read_text() == part
    with pytest.MonkeyPatch.context() as patch:
        held_by_a_scanner(patch, "unlink", 1)
        net.delete_file(target)
    assert os.listdir(tmp_path) == []
    with pytest.MonkeyPatch.context() as patch:
        tried = held_by_a_scanner(patch, "replace", 1)
        chat_gui.save_text(target, "hello", answers)
        assert len(tried) == 2
    assert answers.get() == (target, "")
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("system", ["nt", "posix"])
def test_a_file_that_stays_forbidden_is_given_up(tmp_path: Path, system: str) -> None:
    """On Windows after a while. Elsewhere at once, because a PermissionError means what it says there."""
    part, target = str(tmp_path / "a.part"), str(tmp_path / "a")
    with pytest.MonkeyPatch.context() as patch:
        tried = held_by_a_scanner(patch, "replace", 1_000)
        patch.setattr(os, "name", system)
        patch.setattr(net, "SCAN_TIME", 0.2)
        with pytest.raises(PermissionError):
            net.replace_file(part, target)
    assert (len(tried) == 1) == (system == "posix")


def test_where_a_socketpair_is_tcp_a_wake_up_is_sent_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[socket.socket] = []

    def tcp_pair() -> tuple[socket.socket, socket.socket]:
        with socket.create_server((LOOPBACK, 0)) as listener:
            made.append(socket.create_connection(listener.getsockname()))
            made.append(listener.accept()[0])
        return made[0], made[1]

    monkeypatch.setattr(socket, "socketpair", tcp_pair)
    wake_up = net.WakeUp()
    try:
        assert all(end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for end in made)
        wake_up.set()
        assert wake_up.selector.select(LIMIT)
    finally:
        wake_up.close()


def test_where_abort_wakes_no_thread_a_wait_looks_at_the_clock_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "WAKES", False)
    monkeypatch.setattr(net, "TICK", 0.25)
    assert net.Deadline(10.0, net.Trouble.NO_ANSWER).left() <= 0.25


def test_on_windows_the_limits_fit_what_the_system_can_do() -> None:
    """There, select takes 512 sockets."""
    code = "import sys, json, importlib, net; sys.platform = 'win32'; importlib.reload(net); "
    code += "print(json.dumps([net.MAX_PEOPLE + net.SPARE_CONNECTIONS, net.TICK, net.WAKES]))"
    sockets, tick, wakes = json.loads(run_python(code))
    assert sockets <= 450
    assert tick <= 0.25
    assert wakes is False
