"""Files in the window: a host and two others share and save, cancel, and read what went wrong."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tkinter import filedialog

import pytest

import chat_gui
import net
from tests.helpers import Proxy, until
from tests.test_window import ann, everybody_sees, feed, host, port  # noqa: F401 - fixtures
from tests.windows import Open, Person

Words = chat_gui.Words
MEGABYTE = 1_000_000
ON_A_STICK = os.path.abspath(os.path.join(os.sep, "media", "stick", "a.txt"))


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """What the person chooses in the system's dialogs, whenever one is shown."""

    def choose(*paths: Path, target: Path | str = "") -> None:
        monkeypatch.setattr(filedialog, "askopenfilenames", lambda **_: tuple(map(str, paths)))
        monkeypatch.setattr(filedialog, "asksaveasfilename", lambda **_: str(target))

    return choose


def make(path: Path, size: int) -> Path:
    path.write_bytes(os.urandom(size))
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_is_shared_with_one_click_and_saved_with_one_by_everybody(
    host: Person, ann: Person, choose: Callable[..., None], tmp_path: Path  # noqa: F811
) -> None:
    original = make(tmp_path / "map.png", 2_100_000)
    choose(original)
    ann.click(ann.chat.file)
    for someone in (host, ann):
        someone.sees("Ann\tshared map.png (2.1 MB)   Save")
        copy = tmp_path / f"copy of {someone.app.name}.png"
        choose(target=copy)
        someone.click_link(Words.save)
        someone.sees(Words.file_saved.format(filename=copy.name, folder=tmp_path))
        assert digest(copy) == digest(original)
        rows = someone.chat.transfers.frame.winfo_children
        someone.wait(lambda rows=rows: not rows()[1:], "no row is left")  # type: ignore[misc]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy of Ann.png", "copy of Mr Lee.png", "map.png"]


def test_a_file_goes_round_while_they_chat_and_the_connection_is_cut_twice(
    host: Person, person: Open, choose: Callable[..., None], tmp_path: Path  # noqa: F811
) -> None:
    original = make(tmp_path / "film.mp4", 30 * MEGABYTE)
    with Proxy(port(host)) as proxy:
        pupils = [person("Ann"), person("Bob")]
        for pupil in pupils:
            pupil.join(proxy.port)
        choose(original)
        with breaks_off(pupils[0], proxy, "upload"):
            pupils[0].click(pupils[0].chat.file)
        pupils[0].say("it takes a while")
        everybody_sees([host, *pupils], "it takes a while")
        with breaks_off(pupils[1], proxy, "download"):
            for someone in (host, *pupils):
                someone.sees("Ann\tshared film.mp4")
                choose(target=tmp_path / f"{someone.app.name}.mp4")
                someone.click_link(Words.save)
        pupils[1].say("here too")
        everybody_sees([host, *pupils], "it takes a while", "here too")
        for someone in (host, *pupils):
            someone.sees(f"{someone.app.name}.mp4 was saved")
            words = [text for text in someone.said() if not text.startswith("shared")]
            assert words == ["it takes a while", "here too"]
            assert digest(tmp_path / f"{someone.app.name}.mp4") == digest(original)
        assert len(list(tmp_path.iterdir())) == 4, "nothing else is left"


@contextlib.contextmanager
def breaks_off(someone: Person, proxy: Proxy, way: str) -> Iterator[None]:
    """Cuts the network when a part of the file has passed whose transfer begins in here."""
    record = proxy.to_room if way == "upload" else proxy.from_room
    before = len(record)
    proxy.chop(64_000)
    yield
    someone.wait(lambda: len(record) > before + 3 * MEGABYTE, f"a part of the {way} has passed")
    proxy.cut()
    proxy.chop()


def test_several_files_are_chosen_at_once(
    host: Person, choose: Callable[..., None], tmp_path: Path  # noqa: F811
) -> None:
    choose(*(make(tmp_path / f"{name}.txt", 10) for name in "abc"))
    host.click(host.chat.file)
    for name in "abc":
        host.sees(f"shared {name}.txt (10 bytes)")


def test_choosing_nothing_does_nothing(
    host: Person, choose: Callable[..., None], tmp_path: Path  # noqa: F811
) -> None:
    choose(make(tmp_path / "a.txt", 1))
    host.click(host.chat.file)
    host.sees("shared a.txt (1 byte)")
    before = host.log()
    choose()
    host.click(host.chat.file)
    host.click_link(Words.save)
    host.say("marker")
    host.sees("marker")
    assert host.log().startswith(before)
    assert "saved" not in host.log()


def test_somebody_who_comes_late_saves_what_was_shared_before(
    host: Person, person: Open, choose: Callable[..., None], tmp_path: Path  # noqa: F811
) -> None:
    original = make(tmp_path / "a.txt", 1000)
    choose(original)
    host.click(host.chat.file)
    host.sees("shared a.txt")
    late = person("Late")
    late.join(port(host))
    choose(target=tmp_path / "b.txt")
    late.click_link(Words.save)
    late.sees("b.txt was saved")
    assert digest(tmp_path / "b.txt") == digest(original)


def test_somebody_who_comes_late_saves_a_file_that_is_older_than_the_history(
    person: Open, choose: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(net, "run_server", functools.partial(net.run_server, history=3))
    lee = person("Mr Lee")
    room_port = lee.host()
    original = make(tmp_path / "worksheet.txt", 1000)
    choose(original)
    lee.click(lee.chat.file)
    lee.sees("shared worksheet.txt")
    lines = [f"line {number}" for number in range(5)]
    for count, line in enumerate(lines, 1):  # one at a time: a window that falls behind by three events is cut off
        lee.say(line)
        everybody_sees([lee], *lines[:count])
    late = person("Late")
    late.join(room_port)
    late.wait(lambda: "line 4" in late.said(), "the history is shown")
    assert late.said()[0].startswith("shared worksheet.txt"), "the file comes first, where it was shared"
    assert "Late joined" not in late.log(), "the history ends where it should"
    choose(target=tmp_path / "copy.txt")
    late.click_link(Words.save)
    late.sees("copy.txt was saved")
    assert digest(tmp_path / "copy.txt") == digest(original)


def test_the_chooser_starts_in_downloads_with_a_clean_name(
    host: Person, monkeypatch: pytest.MonkeyPatch, tmp_path: Path  # noqa: F811
) -> None:
    (tmp_path / "Downloads").mkdir()
    monkeypatch.setenv("USERPROFILE" if sys.platform == "win32" else "HOME", str(tmp_path))
    asked: list[dict[str, object]] = []

    def ask(**options: object) -> str:
        asked.append(options)
        return ""

    monkeypatch.setattr(filedialog, "asksaveasfilename", ask)
    feed(host, net.Shared(3, 0.0, 2, "Ann", "0" * 32, "../../\u202egnp.exe", 5, "0" * 64))
    host.click_link(Words.save)
    assert [(options["initialdir"], options["initialfile"]) for options in asked] == [
        (str(tmp_path / "Downloads"), "gnp.exe")
    ]
    assert "shared gnp.exe (5 bytes)" in host.log()


def test_a_name_that_begins_like_a_home_can_be_saved(host: Person, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Tk 8.6 on X11 takes "~$plan.docx" for a file in the home of somebody called "$plan.docx", and fails."""
    asked: list[str] = []
    monkeypatch.setattr(filedialog, "asksaveasfilename", lambda **options: asked.append(options["initialfile"]))
    feed(host, net.Shared(3, 0.0, 2, "Ann", "0" * 32, "~$plan.docx", 5, "0" * 64))
    host.click_link(Words.save)
    assert asked == ["_$plan.docx"]


def test_a_transfer_shows_how_far_it_is_and_can_be_cancelled(
    host: Person, person: Open, choose: Callable[..., None], tmp_path: Path  # noqa: F811
) -> None:
    with Proxy(port(host)) as proxy:
        someone = person("Ann")
        someone.join(proxy.port)
        choose(make(tmp_path / "big.bin", 20 * MEGABYTE))
        proxy.chop(50)  # a network so slow that the file is on its way for many seconds
        someone.click(someone.chat.file)
        someone.sees("Sending big.bin")
        someone.sees("of 20 MB")
        (bar,) = (child for child in someone.chat.transfers.frame.winfo_children() if "progressbar" in str(child))
        someone.wait(lambda: 0 < float(str(bar.cget("value"))) < 20 * MEGABYTE, "the bar is on its way")
        (cancel,) = (child for child in someone.chat.transfers.frame.winfo_children() if "button" in str(child))
        someone.click(cancel)
        assert someone.root.focus_lastfor() is someone.chat.composer.text, "what is typed next is a message"
        someone.sees(Words.cancelled.format(filename="big.bin"))
        assert "Sending" not in someone.everything()
        proxy.chop()
        assert "shared" not in host.log()


def test_more_files_than_rows_are_counted(host: Person) -> None:  # noqa: F811
    feed(host, *(net.Progress(number, f"{number}.txt", 5, 10, True, False) for number in range(1, 8)))
    host.sees(Words.more_files.format(number=7 - chat_gui.TRANSFERS_SHOWN))
    feed(host, *(net.Uploaded(number) for number in range(1, 5)))
    host.sees("Sending 7.txt")
    assert Words.more_files.format(number=7 - chat_gui.TRANSFERS_SHOWN) not in host.everything()
    feed(host, *(net.Uploaded(number) for number in range(5, 8)))
    assert "Sending" not in host.everything()


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        (net.Progress(1, "a.txt", 0, 0, True, True), Words.file_waiting),
        (net.Progress(1, "a.txt", 1_500, 3_000, False, False), "1.5 kB of 3.0 kB"),
        (net.Progress(1, "a.txt", 3_000, 3_000, False, False), Words.file_finishing),
    ],
)
def test_a_row_says_what_it_is_doing(host: Person, progress: net.Progress, words: str) -> None:  # noqa: F811
    feed(host, progress)
    host.sees(words)
    host.sees("Sending a.txt" if progress.is_upload else "Saving a.txt")


def test_what_cannot_be_shared_says_why(
    host: Person, choose: Callable[..., None], tmp_path: Path  # noqa: F811
) -> None:
    choose(tmp_path / "gone.txt")
    host.click(host.chat.file)
    host.sees(Words.not_shared.format(filename="gone.txt", reason=Words.share_failed["missing"]))
    (tmp_path / "folder").mkdir()
    choose(tmp_path / "folder")
    host.click(host.chat.file)
    host.sees(Words.not_shared.format(filename="folder", reason=Words.share_failed["folder"]))


def test_what_cannot_be_saved_says_why(
    host: Person, choose: Callable[..., None], tmp_path: Path  # noqa: F811
) -> None:
    choose(make(tmp_path / "a.txt", 1), target=tmp_path / "none" / "a.txt")
    host.click(host.chat.file)
    host.click_link(Words.save)
    host.sees(Words.not_saved.format(filename="a.txt", reason=Words.save_failed["missing"]))


def test_every_code_that_net_gives_has_words(host: Person) -> None:  # noqa: F811
    of_the_room = ["bad", "removed", "unknown", "size", "space", "hash", "muted", "paused"]
    of_the_disk = ["missing", "folder", "permission", "changed", "disk_full"]
    for number, code in enumerate([*of_the_room, *of_the_disk, "many", "busy", "broken", "reopened", "over", "failed"]):
        feed(host, net.Progress(number, "a.txt", 0, 9, True, False), net.Failed(number, "a.txt", code, "UNTRANSLATED"))
    assert "UNTRANSLATED" not in host.log()
    assert "larger than 105 MB" in host.log()
    feed(host, net.Progress(99, "a.txt", 0, 9, True, False), net.Failed(99, "a.txt", "disk", "Input/output error"))
    assert "a.txt was not shared. Input/output error." in host.log()


def test_the_folder_of_a_saved_file_opens(host: Person, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    shown: list[str] = []
    monkeypatch.setattr(chat_gui, "show_folder", shown.append)
    feed(host, net.Progress(1, "a.txt", 9, 9, False, False), net.Saved(1, ON_A_STICK))
    host.click_link(Words.open_folder)
    assert shown == [os.path.dirname(ON_A_STICK)]


def test_a_computer_without_a_program_for_folders_says_so(
    host: Person, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    def show_folder(_: str) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(chat_gui, "show_folder", show_folder)
    feed(host, net.Saved(1, ON_A_STICK))
    host.click_link(Words.open_folder)
    host.wait(lambda: Words.cannot_open.format(folder=os.path.dirname(ON_A_STICK)) in host.log(), "it is told")
    assert host.status() == Words.connected


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="these have programs of their own")
def test_a_folder_is_opened_by_the_desktops_own_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "xdg-open"
    program.write_text(f'#!/bin/sh\nprintf %s "$1" > "{tmp_path}/opened"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    chat_gui.show_folder("/media/stick")
    opened = tmp_path / "opened"
    until(lambda: opened.exists() and opened.read_text() == "/media/stick", "it is opened")


def test_after_the_room_is_closed_no_file_can_be_chosen(host: Person, ann: Person) -> None:  # noqa: F811
    host.app.leave_room()
    ann.wait(lambda: ann.chat.stage is chat_gui.Stage.OVER, "the room is over")
    assert ann.chat.file.instate(["disabled"])


def test_a_reason_of_a_later_version_is_told_as_the_rooms_words(host: Person) -> None:  # noqa: F811
    failed = net.Failed(1, "a.txt", "moon", "Your account has expired. Open http://evil.example")
    feed(host, net.Progress(1, "a.txt", 0, 9, True, False), failed)
    assert 'a.txt was not shared. The room says: "Your account has expired. Open http://evil.example"' in host.log()


@pytest.mark.parametrize("is_upload", [True, False])
def test_where_one_may_not_read_or_write_both_possible_reasons_are_told(host: Person, is_upload: bool) -> None:  # noqa: F811
    """Windows tells a file that another program has open in the same way."""
    feed(host, net.Progress(1, "a.txt", 0, 9, is_upload, False), net.Failed(1, "a.txt", "permission", "..."))
    assert "You are not allowed to" in host.log()
    assert "another program has" in host.log()


def test_without_a_home_folder_files_can_be_shared_and_saved_and_so_can_the_chat(
    host: Person, monkeypatch: pytest.MonkeyPatch, tmp_path: Path  # noqa: F811
) -> None:
    """Some accounts have none, and then Python gives "~" back."""
    asked: list[object] = []

    def ask(**options: object) -> str:
        asked.append(options["initialdir"])
        return ""

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.setattr(filedialog, "askopenfilenames", ask)
    monkeypatch.setattr(filedialog, "asksaveasfilename", ask)
    feed(host, net.Shared(3, 0.0, 2, "Ann", "0" * 32, "a.txt", 5, "0" * 64))
    host.click(host.chat.file)
    host.click_link(Words.save)
    host.press("Control-s" if sys.platform != "darwin" else "Command-s")
    assert asked == [os.getcwd()] * 3
    assert host.status() == Words.connected


def test_a_chat_that_cannot_be_saved_says_why(
    host: Person, choose: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    def refuse(_: int) -> None:
        raise PermissionError

    choose(target=tmp_path / "chat.txt")
    monkeypatch.setattr(os, "fsync", refuse)
    host.chat.save_chat()
    host.sees(Words.chat_not_saved.format(reason=Words.save_failed["permission"]))
    assert list(tmp_path.iterdir()) == []
