"""What was said in a room: how it is kept, saved and copied. No test here needs a window."""

from __future__ import annotations

import errno
import os
import queue
import time
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import chat_gui
import net
from chat_gui import Message, Transcript
from tests.helpers import LIMIT
from tests.test_text import BOX, FACES

Words = chat_gui.Words
MORNING = time.mktime((2026, 11, 23, 10, 31, 5, 0, 0, -1))
LINE_ENDS = ["\n", "\r\n", "\r", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]


def said(text: str, number: int = 0, name: str = "Ann") -> Message:
    return Message(MORNING, text, 1, name, number)


def note(text: str) -> Message:
    return Message(MORNING, text)


def transcript_of(*messages: Message, **limits: int) -> Transcript:
    transcript = Transcript(**limits)
    for message in messages:
        transcript.add(message)
    return transcript


def texts(transcript: Transcript) -> list[str]:
    """What Ann said, as it is saved below the title; "" for a note."""
    return [line.partition("Ann: ")[2] for line in transcript.text("Room 7").split("\n")[2:-1]]


# Lines ------------------------------------------------------------------------


def test_a_message_is_a_line_with_its_time_and_its_author_and_a_note_has_no_author() -> None:
    assert said("good morning").line() == "10:31 Ann: good morning"
    assert note("Bob joined").line() == "10:31 Bob joined"


@pytest.mark.parametrize("end", LINE_ENDS, ids=ascii)
def test_further_lines_are_indented_so_that_no_message_or_name_can_look_like_two_messages(end: str) -> None:
    assert said(f"hi{end}10:32 Mr Lee: no").line() == "10:31 Ann: hi\n    10:32 Mr Lee: no"
    assert said("hi", name=f"Ann{end}10:32 Mr Lee").line() == "10:31 Ann\n    10:32 Mr Lee: hi"


def test_the_chat_is_saved_with_its_title_and_each_message_with_its_day_and_its_second() -> None:
    transcript = transcript_of(note("Bob joined"), said("one\n\ttwo"), said("\U0001f600 \u4f60\u597d", name="Bob"))
    assert transcript.text("Room 7").split("\n") == [
        "Room 7",
        "",
        "2026-11-23 10:31:05  Bob joined",
        "2026-11-23 10:31:05  Ann: one",
        "    \ttwo",
        "2026-11-23 10:31:05  Bob: \U0001f600 \u4f60\u597d",
        "",
    ]
    assert Transcript().text("Room 7") == "Room 7\n\n"


# Keeping and deleting ---------------------------------------------------------


def test_only_the_newest_messages_are_kept_and_the_others_are_counted_and_can_no_longer_be_deleted() -> None:
    transcript = transcript_of(*(said(f"line {number}", number) for number in range(5)), most_messages=3)
    assert Words.forgotten.format(number=2, kept=3) in transcript.text("Room 7")
    assert texts(transcript)[1:] == ["line 2", "line 3", "line 4"]
    assert [transcript.delete(number, keep_text=False) is None for number in (1, 2)] == [True, False]


def test_what_is_kept_is_limited_by_characters_too() -> None:
    transcript = transcript_of(*(said(str(number) * 4_000) for number in range(10)), most_characters=10_000)
    assert Words.forgotten.format(number=8, kept=2) in transcript.text("Room 7")
    assert texts(transcript)[1:] == ["8" * 4_000, "9" * 4_000]
    transcript.add(said("x" * 10_001))
    assert texts(transcript)[1:] == [], "one message that is too long is not kept either"
    transcript.add(said("again"))
    assert texts(transcript)[1:] == ["again"]


def test_a_message_is_deleted_once_and_keeps_only_its_author() -> None:
    transcript = transcript_of(said("one", 1), said("two", 2), note("a note has no number"))
    deleted = transcript.delete(1, keep_text=False)
    assert deleted is not None
    assert deleted.is_deleted
    assert texts(transcript) == [Words.deleted, "two", ""]
    assert [transcript.delete(number, keep_text=False) for number in (0, 1, 3)] == [None] * 3


# Copying and saving -----------------------------------------------------------


def test_a_selected_part_is_copied_as_it_was_written_however_it_was_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chat_gui.drawable("a\tb") == "a   b"
    assert chat_gui.original_part("a\tb", 1, 1) == ""
    assert chat_gui.original_part("a\tb", 2, 3) == "\t", "a part of a tab is the tab"
    line_break = chat_gui.drawable("x" * 1_500).index("\n")
    assert chat_gui.original_part("x" * 1_500, line_break - 5, line_break + 6) == "x" * 10, "it was only drawn"
    monkeypatch.setattr(chat_gui, "DRAWS_BY_X11", True)
    assert chat_gui.drawable(FACES)[-1] == BOX
    assert chat_gui.original_part(FACES, len(FACES) - 1, len(FACES)) == FACES[-1]


@settings(deadline=None)
@given(
    st.text(st.sampled_from("ab\n\t \u4f60\u0301\u0489\ufe0f\u200b\u202e\U0001f600\ud800"), max_size=300),
    st.integers(0, 400),
    st.integers(0, 400),
)
@example("\u4f60" * 1_000, 190, 210)
def test_every_part_of_what_is_drawn_leads_back_to_what_was_written(text: str, first: int, last: int) -> None:
    drawn = chat_gui.drawn_parts(text)
    first, last = (min(place, sum(map(len, drawn))) for place in sorted((first, last)))
    part = chat_gui.original_part(text, first, last)
    starts = [start for start in range(len(text) + 1) if text.startswith(part, start)]
    assert (part == "") == (first == last)
    assert first == last or any(
        sum(map(len, drawn[:start])) <= first and last <= sum(map(len, drawn[: start + len(part)])) for start in starts
    )


def save(path: Path, text: str) -> net.Event:
    events: net.Events = queue.Queue()
    chat_gui.save_text(os.fspath(path), text, events)
    return events.get(timeout=LIMIT)


def test_the_text_is_saved_and_half_of_a_surrogate_pair_costs_one_character(tmp_path: Path) -> None:
    target = tmp_path / "chat.txt"
    assert save(target, "good morning\n\u4f60\u597d \U0001f600\na\ud800b\n") == net.Saved(0, str(target))
    assert target.read_text(encoding="utf-8") == "good morning\n\u4f60\u597d \U0001f600\na?b\n"
    assert os.listdir(tmp_path) == ["chat.txt"]


@pytest.mark.parametrize(
    ("step", "error", "code"),
    [
        ("fsync", PermissionError(errno.EACCES, "Permission denied"), "permission"),
        ("replace", OSError(errno.ENOSPC, "No space left on device"), "disk"),
    ],
)
def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path, step: str, error: OSError, code: str) -> None:
    target = tmp_path / "chat.txt"
    target.write_text("old")
    with patch.object(os, step, side_effect=error):
        assert save(target, "new") == net.Failed(0, "chat.txt", code, str(error.strerror))
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["chat.txt"]
