"""Files in the window: a host and two others share and save, cancel, and read what went wrong."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

import chat_gui
import net
from tests.helpers import Proxy, until
from tests.windows import Dialogs, Open, Person, everybody_sees, feed, said, shared

Words = chat_gui.Words
MEGABYTE = 1_000_000


def make(path: Path, size: int) -> Path:
    path.write_bytes(os.urandom(size))
    return path


def parts(someone: Person, kind: str) -> list[Any]:
    """The bars or buttons of the rows that show transfers."""
    return [part for part in someone.chat.transfers.frame.winfo_children() if kind in part.winfo_class().lower()]


def test_a_file_is_shared_with_one_click_and_saved_with_one_while_they_chat_and_connections_break(
    host: Person, person: Open, dialogs: Dialogs, tmp_path: Path
) -> None:
    original = make(tmp_path / "film.mp4", 4 * MEGABYTE)
    with Proxy(host.chat.port) as proxy:
        ann, bob = person("Ann"), person("Bob")
        for pupil in (ann, bob):
            pupil.join(proxy.port)
        dialogs.files = [original]
        with breaks_off(ann, proxy, proxy.to_room):
            ann.click(ann.chat.file)
        ann.say("it takes a while")
        everybody_sees([host, ann, bob], "it takes a while")
        for someone in (host, ann, bob):
            someone.sees("Ann\tshared film.mp4 (4.0 MB)   Save")
        dialogs.target = tmp_path / "Bob's.mp4"
        with breaks_off(bob, proxy, proxy.from_room):
            bob.click_link(Words.save)
        bob.say("here too")
        everybody_sees([host, ann, bob], "it takes a while", "here too")
        dialogs.target = tmp_path / "Lee's.mp4"
        host.click_link(Words.save)
        for someone, filename in ((host, "Lee's.mp4"), (bob, "Bob's.mp4")):
            someone.sees(Words.file_saved.format(filename=filename, folder=tmp_path))
            assert (tmp_path / filename).read_bytes() == original.read_bytes()
            assert parts(someone, "button") == [], "the row is gone"
        assert sorted(os.listdir(tmp_path)) == ["Bob's.mp4", "Lee's.mp4", "film.mp4"], "nothing else is left"


@contextlib.contextmanager
def breaks_off(someone: Person, proxy: Proxy, record: bytearray) -> Iterator[None]:
    """Cuts the network in the middle of the transfer that begins in here."""
    before = len(record)
    proxy.stall(MEGABYTE)
    yield
    someone.wait(lambda: len(record) >= before + MEGABYTE, "a part of the file has passed")
    proxy.cut()
    proxy.stall()


def test_several_files_can_be_chosen_at_once_or_none_at_all(host: Person, dialogs: Dialogs, tmp_path: Path) -> None:
    dialogs.files = [make(tmp_path / f"{name}.txt", 10) for name in "abc"]
    host.click(host.chat.file)
    for name in "abc":
        host.sees(f"shared {name}.txt (10 bytes)")
    before = host.log()
    dialogs.files = []
    host.click(host.chat.file)
    host.click_link(Words.save)
    host.say("marker")
    everybody_sees([host], "marker")
    assert host.log().startswith(before)
    assert "saved" not in host.log()


def test_a_newcomer_sees_the_files_and_what_was_said_before_but_not_who_came_and_went(host: Person) -> None:
    before = net.Joined(899, 0.0, 8, "Early"), said(900, "what was said last"), net.Left(901, 0.0, 8, "Early", "left")
    feed(host, host.welcome(room="another", files=1, history=3), shared(3, "worksheet.txt"), *before)
    feed(host, net.Joined(902, 0.0, 9, "Late"))
    assert host.said() == ["shared worksheet.txt (5 bytes)   Save", "what was said last"]
    assert "Early" not in host.everything()
    assert "Late joined" in host.log()


def test_the_chooser_starts_in_downloads_with_a_harmless_name(
    host: Person, dialogs: Dialogs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Tk 8.6 on X11 would look for the home of somebody called "$plan.docx"."""
    (tmp_path / "Downloads").mkdir()
    monkeypatch.setenv("USERPROFILE" if sys.platform == "win32" else "HOME", str(tmp_path))
    for number, filename in enumerate(("../../\u202egnp.exe", "~$plan.docx"), 3):
        feed(host, shared(number, filename))
        host.click_link(Words.save)
        host.rest(host.log_text)
    asked = [(options["initialdir"], options["initialfile"]) for options in dialogs.asked]
    assert asked == [(str(tmp_path / "Downloads"), name) for name in ("gnp.exe", "_$plan.docx")]


def test_a_transfer_shows_how_far_it_is_and_can_be_cancelled(
    host: Person, person: Open, dialogs: Dialogs, tmp_path: Path
) -> None:
    with Proxy(host.chat.port) as proxy:
        someone = person("Ann")
        someone.enlarge()
        someone.join(proxy.port)
        dialogs.files = [make(tmp_path / "big.bin", 20 * MEGABYTE)]
        proxy.chop(50)  # a network so slow that the file is on its way for many seconds
        someone.click(someone.chat.file)
        for words in ("Sending big.bin", "of 20 MB"):
            someone.sees(words)
        (bar,), (cancel,) = parts(someone, "progressbar"), parts(someone, "button")
        someone.wait(lambda: 0 < float(str(bar.cget("value"))) < 20 * MEGABYTE, "the bar is on its way")
        frame = someone.chat.transfers.frame
        assert cancel.winfo_x() + cancel.winfo_width() == frame.winfo_width(), "it stands at the right edge"
        someone.click(cancel)
        assert someone.root.focus_lastfor() is someone.box, "what is typed next is a message"
        someone.sees(Words.cancelled.format(filename="big.bin"))
        assert someone.tagged("wrong") == [], "a notice, and no error"
        assert "Sending" not in someone.everything()
        proxy.chop()
        assert "shared" not in host.log()


def test_rows_say_what_they_are_doing_and_more_files_than_rows_are_counted(host: Person) -> None:
    feed(
        host,
        net.Progress(1, "waiting.txt", 0, 0, True, True),
        net.Progress(2, "half.txt", 1_500, 3_000, False, False),
        net.Progress(3, "all.txt", 3_000, 3_000, False, False),
        *(net.Progress(number, f"{number}.txt", 5, 10, True, False) for number in range(4, 8)),
    )
    others = Words.more_files.format(number=7 - chat_gui.TRANSFERS_SHOWN)
    states = (Words.file_waiting, "1.5 kB of 3.0 kB", Words.file_finishing)
    for words in ("Sending waiting.txt", "Saving half.txt", *states, others):
        host.sees(words)
    feed(host, *(net.Uploaded(number) for number in range(1, 5)))
    host.sees("Sending 7.txt")
    assert others not in host.everything()
    feed(host, *(net.Uploaded(number) for number in range(5, 8)))
    assert "Sending" not in host.everything()


# Troubles and folders ---------------------------------------------------------


def test_what_cannot_be_shared_or_saved_says_why(host: Person, dialogs: Dialogs, tmp_path: Path) -> None:
    for path, code in ((tmp_path / "gone.txt", "missing"), (tmp_path, "folder")):
        dialogs.files = [path]
        host.click(host.chat.file)
        host.sees(Words.not_shared.format(filename=path.name, reason=Words.share_failed[code]))
    dialogs.files, dialogs.target = [make(tmp_path / "a.txt", 1)], tmp_path / "none" / "a.txt"
    host.click(host.chat.file)
    host.click_link(Words.save)
    host.sees(Words.not_saved.format(filename="a.txt", reason=Words.save_failed["missing"]))


def test_every_code_that_net_gives_has_words(host: Person) -> None:
    def fail(code: str, words: str, is_upload: bool = True) -> None:
        feed(host, net.Progress(1, "a.txt", 0, 9, is_upload, False), net.Failed(1, "a.txt", code, words))

    of_the_room = ["bad", "removed", "unknown", "size", "space", "hash", "muted", "paused"]
    of_the_disk = ["missing", "folder", "permission", "changed", "disk_full"]
    for code in [*of_the_room, *of_the_disk, "many", "busy", "broken", "reopened", "over", "failed"]:
        fail(code, "UNTRANSLATED")
    assert "UNTRANSLATED" not in host.log()
    feed(host, net.Failed(0, "chat.txt", "disk", "No space left on device"))
    assert Words.not_saved.format(filename="chat.txt", reason="No space left on device") in host.log()
    assert "larger than 105 MB" in host.log()
    fail("disk", "Input/output error")
    assert "a.txt was not shared. Input/output error." in host.log()
    for is_upload in (True, False):  # Windows reports a file that another program has open in the same way
        fail("permission", "", is_upload)
        assert re.search("You are not allowed to .*another program has", host.log().splitlines()[-1])
    fail("moon", "Your account has expired. Open http://evil.example")
    assert 'a.txt was not shared. The room says: "Your account has expired. Open http://evil.example"' in host.log()


def test_the_folder_of_a_saved_file_opens_or_the_window_says_that_it_cannot(host: Person, tmp_path: Path) -> None:
    feed(host, net.Progress(1, "a.txt", 9, 9, False, False), net.Saved(1, str(tmp_path / "a.txt")))
    with patch.object(chat_gui, "show_folder", side_effect=[None, FileNotFoundError]) as show_folder:
        host.click_link(Words.open_folder)
        show_folder.assert_called_once_with(str(tmp_path))
        host.rest(host.log_text)
        host.click_link(Words.open_folder)
    host.wait(lambda: Words.cannot_open.format(folder=tmp_path) in host.log(), "it is told")
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
