"""Every keyboard, every script, every system: what differs between the computers that the program meets.

Windows is only imitated here, one difference at a time; nothing in this file needs it.
"""

from __future__ import annotations

import errno
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
from unittest.mock import Mock

import pytest

import chat_gui
import net
from tests.helpers import LIMIT, LOOPBACK, Display, skip_or_fail
from tests.test_start import pointer_away, run_python, xdotool

if TYPE_CHECKING:  # a Python without tkinter cannot read it, and runs all the tests that need no window
    from tests.windows import Person

LINUX = sys.platform == "linux"
KEYS = {"a": 38, "f": 41, "v": 55, "x": 53, "y": 29, "z": 52}  # X11's numbers of their places


@pytest.fixture
def russian_layout(display: Display) -> Iterator[None]:
    """The tests' own screen has a Russian keyboard."""
    if display.file is None:
        pytest.skip("the layout of a real keyboard is not changed")
    if shutil.which("setxkbmap") is None:
        pytest.skip("this test needs setxkbmap (on Debian and Ubuntu: apt install x11-xkb-utils)")
    if shutil.which("xdotool") is None:
        skip_or_fail("this test needs xdotool (on Debian and Ubuntu: apt install xdotool)")
    with pointer_away():
        subprocess.run(["setxkbmap", "ru"], check=True, timeout=LIMIT)
        yield
        subprocess.run(["setxkbmap", "us"], check=True, timeout=LIMIT)


# In this order, because Tk 8.6 sometimes crashes if a window opens after the layout has changed.
@pytest.mark.usefixtures("host", "russian_layout")
def test_real_keys_of_another_layout_edit_and_find(host: Person) -> None:
    host.focus_composer()
    box = host.box
    box.insert("1.0", "text")
    box.edit_separator()
    steps: list[tuple[str, Callable[[], object]]] = [
        ("a", lambda: box.tag_ranges("sel")),
        ("x", lambda: host.typed() == "" and host.root.clipboard_get().strip() == "text"),
        ("v", lambda: host.typed().strip() == "text"),
        ("z", lambda: host.typed() == ""),
        ("y", lambda: host.typed().strip() == "text"),
        ("f", lambda: host.root.focus_get() is host.chat.find_bar.entry),
    ]
    for letter, has_worked in steps:
        xdotool("key", f"ctrl+{KEYS[letter]}")
        host.wait(has_worked, f"Control and the key of {letter.upper()} work")


CYRILLIC_C, TURKISH_X, DVORAK_Z = "Cyrillic_es", "odiaeresis", "semicolon"


@pytest.mark.parametrize(
    ("system", "keysym", "place", "letter"),
    [
        *(("linux", CYRILLIC_C, 54, "c"), ("linux", "U10D0", KEYS["a"], "a"), ("linux", "c", 31, "")),
        *(("linux", TURKISH_X, KEYS["x"], ""), ("linux", DVORAK_Z, KEYS["z"], ""), ("linux", "dead_acute", 54, "")),
        *(("win32", CYRILLIC_C, ord("C"), "c"), ("win32", "??", ord("V"), "v"), ("win32", "Left", 0x25, "")),
        *(("linux", "hebrew_shin", KEYS["a"], "a"), ("darwin", CYRILLIC_C, 54, "")),
    ],
)
def test_the_place_of_a_key_counts_only_where_the_layout_has_no_latin_letters(
    monkeypatch: pytest.MonkeyPatch, system: str, keysym: str, place: int, letter: str
) -> None:
    """Turkish-F has \u00f6 in the place of X, and Dvorak a semicolon in that of Z; their own X and Z are elsewhere."""
    event = pytest.importorskip("tkinter").Event()
    event.keysym, event.keycode = keysym, place
    monkeypatch.setattr(sys, "platform", system)
    assert chat_gui.latin_letter(event) == letter


def test_whatever_ends_a_line_somewhere_becomes_a_newline() -> None:
    for end in ("\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"):
        assert net.clean_text(f"Water boils{end}at 100") == "Water boils\nat 100", ascii(end)


def test_joiners_stay_in_names_and_file_names_between_characters_that_need_them() -> None:
    sinhala, persian = "\u0dc1\u0dca\u200d\u0dbb\u0dd3", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
    man_at_a_computer, head_shakes = "\U0001f468\U0001f3fd\u200d\U0001f4bb", "\U0001f642\u200d\u2194"
    for name in (sinhala, persian, man_at_a_computer, head_shakes):
        assert net.clean_name(name) == name
        assert net.clean_filename(f"{name}.txt") == f"{name}.txt"
    assert net.clean_name("\U0001f3f3\ufe0f\u200d\U0001f308") == "\U0001f3f3\u200d\U0001f308", "the rainbow flag"


@pytest.mark.parametrize("joiner", ["\u200c", "\u200d"])
def test_joiners_are_removed_where_they_would_only_hide(joiner: str) -> None:
    for name in ("A{}nn", "{}Ann", "\u0645{}", "{}\u0645", "\u0645 {}\u0645", "\u0645{0}{0}\u0645", "{}"):
        clean = name.replace("{}", "").replace("{0}", "")
        assert net.clean_name(name.format(joiner)) == clean
        assert net.clean_filename(name.format(joiner)) == (clean or "file")
    assert net.clean_name("\u0645" * (net.MAX_NAME - 1) + f"{joiner}\u0645") == "\u0645" * (net.MAX_NAME - 1)
    filename = net.clean_filename("\u0645" * 99 + f"{joiner}\u0645" * 200)
    assert net.clean_filename(filename) == filename, "a name that is cut does not end with one either"


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
chat_gui.save_text(folder + "/Gespr\u00e4ch.txt", "Gr\u00fc\u00dfe \u4f60", events)
expect(net.Saved)
print(sys.getfilesystemencoding(), ascii(shared.filename))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps the names of files in Unicode, always")
def test_without_a_locale_files_with_umlauts_are_shared_and_saved_and_so_is_the_chat(tmp_path: Path) -> None:
    (tmp_path / "\u00dcbung \u4f60.txt").write_bytes(b"to do")
    printed = run_python(SHARE_AND_SAVE, tmp_path, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0").stdout
    assert printed.split(" ", 1)[1] == r"'\xdcbung \u4f60.txt'" + "\n"
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
    assert r"\xdcbung.txt" in run_python(code, tmp_path, LC_ALL="C").stdout


def test_without_a_console_a_wrong_command_line_is_told_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    cannot_start = Mock(side_effect=SystemExit)
    monkeypatch.setattr(chat_gui, "cannot_start", cannot_start)
    monkeypatch.setattr(sys, "stdin", None)
    monkeypatch.setattr(sys, "stderr", None)
    for arguments in (["--password", "-"], ["--port", "x"]):
        with pytest.raises(SystemExit):
            chat_gui.main(arguments)
    no_input, wrong_port = (call.args[0] for call in cannot_start.call_args_list)
    assert "no standard input" in no_input
    assert "--port" in wrong_port


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
        ("tun0", "10.8.0.2", UP | BROADCAST, 24),
        ("docker0", "172.17.0.1", UP | BROADCAST, 16),
        ("school-vpn", "10.8.0.2", UP | BROADCAST | POINT_TO_POINT, 24),
        ("school-vpn", "10.8.0.2", UP, 24),
        ("school-vpn", "10.8.0.2", UP | BROADCAST, 32),
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
    assert found.index("192.168.1.20") < min(found.index("100.100.1.1"), found.index("169.254.3.4"))


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
    target = str(tmp_path / "a")
    events: net.Events = queue.Queue()
    with pytest.MonkeyPatch.context() as patch:
        tried = held_by_a_scanner(patch, "replace", 2)
        chat_gui.save_text(target, "hello", events)
        assert len(tried) == 3
    assert events.get() == net.Saved(0, target)
    assert os.listdir(tmp_path) == ["a"]
    with pytest.MonkeyPatch.context() as patch:
        held_by_a_scanner(patch, "unlink", 1)
        net.outlast_scanner(os.unlink, target)
    assert os.listdir(tmp_path) == []
    for system, is_tried_again in (("nt", True), ("posix", False)):
        with pytest.MonkeyPatch.context() as patch:
            tried = held_by_a_scanner(patch, "replace", 1_000)
            patch.setattr(os, "name", system)
            patch.setattr(net, "SCAN_TIME", 0.2)
            with pytest.raises(PermissionError):
                net.outlast_scanner(os.replace, target, target)
        assert (len(tried) > 1) == is_tried_again, "elsewhere a PermissionError means what it says"


def test_where_a_socketpair_is_tcp_a_wake_up_is_sent_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:
        pair = socket.create_connection(listener.getsockname()), listener.accept()[0]
    monkeypatch.setattr(socket, "socketpair", lambda: pair)
    sender = net.Sender("sender", list, lambda: None)
    assert all(end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for end in pair)
    sender.stop()


def test_on_windows_the_limits_fit_what_the_system_can_do() -> None:
    """There, select takes 512 sockets."""
    code = "import sys, importlib, net; sys.platform = 'win32'; importlib.reload(net); "
    code += "print(net.MAX_PEOPLE + net.SPARE_CONNECTIONS <= 450, net.TICK <= 0.25)"
    assert run_python(code).stdout == "True True\n"
