"""What was said in a room, as it is kept, saved and copied. None of it needs a window."""

from __future__ import annotations

import errno
import os
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import chat_gui
from chat_gui import Message, Transcript
from tests.helpers import LIMIT

Words = chat_gui.Words
MORNING = time.mktime((2026, 11, 23, 10, 31, 5, 0, 0, -1))
LINE_ENDS = ["\n", "\r\n", "\r", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]


def said(text: str, number: int = 0, name: str = "Ann") -> Message:
    return Message(MORNING, text, 1, name, number)


def note(text: str) -> Message:
    return Message(MORNING, text)


def lines(transcript: Transcript) -> list[str]:
    """What is saved, below the title."""
    title, empty, *rest = transcript.text("Room 7").split("\n")
    assert (title, empty, rest.pop()) == ("Room 7", "", "")
    return rest


def texts(transcript: Transcript) -> list[str]:
    return [line.partition("Ann: ")[2] for line in lines(transcript)]


# One message as a line --------------------------------------------------------


def test_a_message_is_a_line_with_its_time_and_its_author() -> None:
    assert said("good morning").line() == "10:31 Ann: good morning"
    assert said("good morning").line("%Y-%m-%d %H:%M:%S ") == "2026-11-23 10:31:05  Ann: good morning"


def test_a_note_is_a_line_without_an_author() -> None:
    assert note("Bob joined").line() == "10:31 Bob joined"


@pytest.mark.parametrize("end", LINE_ENDS, ids=ascii)
def test_further_lines_are_indented_so_that_no_message_can_look_like_two(end: str) -> None:
    forged = said(f"hi{end}10:32 Mr Lee: No homework")
    assert forged.line() == "10:31 Ann: hi\n    10:32 Mr Lee: No homework"


@pytest.mark.parametrize("end", LINE_ENDS, ids=ascii)
def test_a_name_cannot_begin_a_new_line(end: str) -> None:
    assert said("hi", name=f"Ann{end}10:32 Mr Lee").line() == "10:31 Ann\n    10:32 Mr Lee: hi"


@settings(deadline=None)
@given(st.text())
def test_whatever_is_said_only_the_first_line_is_not_indented(text: str) -> None:
    first, *others = said(text).line().splitlines()
    assert first.startswith("10:31 Ann: ")
    assert all(line.startswith("    ") for line in others)


def test_several_messages_are_copied_as_they_are_saved() -> None:
    assert chat_gui.copied([said("one\ntwo"), note("Bob joined"), said("three", name="Bob")]) == (
        "10:31 Ann: one\n    two\n10:31 Bob joined\n10:31 Bob: three"
    )


# The whole chat ---------------------------------------------------------------


def test_the_chat_is_saved_with_its_title_and_each_message_with_its_day_and_its_second() -> None:
    transcript = Transcript()
    for message in (note("Bob joined"), said("one\n\ttwo"), said("\U0001f600 \u4f60\u597d", name="Bob")):
        transcript.add(message)
    assert transcript.text("Room 7").split("\n") == [
        "Room 7",
        "",
        "2026-11-23 10:31:05  Bob joined",
        "2026-11-23 10:31:05  Ann: one",
        "    \ttwo",
        "2026-11-23 10:31:05  Bob: \U0001f600 \u4f60\u597d",
        "",
    ]


def test_an_empty_chat_is_only_a_title() -> None:
    assert Transcript().text("Room 7") == "Room 7\n\n"


def test_only_the_newest_messages_are_kept_and_the_others_are_counted() -> None:
    transcript = Transcript(most_messages=3)
    for number in range(5):
        transcript.add(said(f"line {number}"))
    assert lines(transcript)[0] == Words.forgotten.format(number=2, kept=3)
    assert texts(transcript)[1:] == ["line 2", "line 3", "line 4"]


def test_what_is_kept_is_bounded_by_characters_too() -> None:
    transcript = Transcript(most_characters=10_000)
    for number in range(10):
        transcript.add(said(str(number) * 4_000))
    assert lines(transcript)[0] == Words.forgotten.format(number=8, kept=2)
    assert texts(transcript)[1:] == ["8" * 4_000, "9" * 4_000]
    transcript.add(said("short"))
    assert texts(transcript)[1:] == ["8" * 4_000, "9" * 4_000, "short"]


def test_the_longest_messages_of_a_lesson_take_no_more_than_a_fraction_of_the_memory() -> None:
    transcript = Transcript()
    message = "\u4f60" * 4_000  # always the same, so that the test itself takes none
    for _ in range(10_000):
        transcript.add(said(message))
    assert len(transcript.text("Room 7")) < 1.1 * chat_gui.KEPT_CHARACTERS


def test_one_message_that_is_too_long_is_forgotten_itself() -> None:
    transcript = Transcript(most_characters=10)
    transcript.add(said("short"))
    transcript.add(said("x" * 11))
    transcript.add(said("again"))
    assert texts(transcript)[1:] == ["again"]


# Deleting ---------------------------------------------------------------------


def test_a_deleted_message_is_only_named() -> None:
    transcript = Transcript()
    for number in (1, 2, 3):
        transcript.add(said(f"line {number}", number))
    deleted = transcript.delete(2, keep_text=False)
    assert deleted is not None
    assert deleted.is_deleted
    assert deleted.text == ""
    assert texts(transcript) == ["line 1", Words.deleted, "line 3"]


def test_the_host_keeps_the_text_of_a_deleted_message_and_sees_that_it_was_deleted() -> None:
    transcript = Transcript()
    transcript.add(said("silly", 1))
    assert transcript.delete(1, keep_text=True) is not None
    assert lines(transcript) == ["2026-11-23 10:31:05  Ann (deleted by the host): silly"]


def test_what_is_unknown_or_deleted_already_is_not_deleted_again() -> None:
    transcript = Transcript()
    transcript.add(said("once", 1))
    transcript.add(note("a note has no number"))
    assert transcript.delete(1, keep_text=False) is not None
    for number in (0, 1, 2):
        assert transcript.delete(number, keep_text=False) is None


@pytest.mark.parametrize("limit", [{"most_messages": 2}, {"most_characters": 10}], ids=["messages", "characters"])
def test_what_is_forgotten_can_no_longer_be_deleted(limit: dict[str, int]) -> None:
    transcript = Transcript(**limit)
    for number in (1, 2, 3):
        transcript.add(said("12345", number))
    assert transcript.delete(1, keep_text=False) is None
    assert transcript.delete(2, keep_text=False) is not None


def test_a_deleted_text_makes_room_for_others() -> None:
    transcript = Transcript(most_characters=10)
    transcript.add(said("12345", 1))
    transcript.add(said("12345", 2))
    transcript.delete(1, keep_text=False)
    transcript.add(said("12345", 3))
    assert texts(transcript) == [Words.deleted, "12345", "12345"]


def test_in_another_room_the_numbers_begin_again() -> None:
    transcript = Transcript()
    transcript.add(said("of the first room", 1))
    transcript.begin()
    assert transcript.delete(1, keep_text=False) is None
    transcript.add(said("of the second room", 1))
    assert transcript.delete(1, keep_text=False) is not None
    assert texts(transcript) == ["of the first room", Words.deleted]


def test_forgetting_a_message_of_an_earlier_room_leaves_its_number_to_the_new_one() -> None:
    transcript = Transcript(most_messages=2)
    transcript.add(said("of the first room", 1))
    transcript.begin()
    transcript.add(said("of the second room", 1))
    transcript.add(said("newest", 2))
    assert transcript.delete(1, keep_text=False) is not None
    assert texts(transcript)[1:] == [Words.deleted, "newest"]


# Parts of a message -----------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "a\tb\t\tc",
        "two\nlines",
        "x" * 3_500,
        "\u4f60" * 1_000,
        "\U0001f600" * 100,
        "".join(map(chr, range(0x1F600, 0x1F640))),
        "a" + "\u0301" * 50 + "b",
    ],
    ids=["plain", "tabs", "lines", "long", "Chinese", "one emoji", "many emoji", "marks"],
)
def test_all_of_what_is_drawn_is_exactly_the_original(text: str) -> None:
    assert chat_gui.original_part(text, 0, len(chat_gui.drawable(text))) == text


def test_nothing_of_what_is_drawn_is_nothing() -> None:
    assert chat_gui.original_part("a\tb", 1, 1) == ""
    assert chat_gui.original_part("", 0, 0) == ""


def test_a_part_of_a_tab_is_the_tab() -> None:
    assert chat_gui.drawable("a\tb") == "a   b"
    assert chat_gui.original_part("a\tb", 2, 3) == "\t"
    assert chat_gui.original_part("a\tb", 2, 5) == "\tb"


def test_a_box_that_stands_for_an_emoji_is_copied_as_the_emoji(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_gui, "DRAWS_BY_X11", True)
    faces = "".join(map(chr, range(0x1F600, 0x1F640)))
    last = len(faces) - 1
    assert chat_gui.drawable(faces)[last] == "\u25a1"
    assert chat_gui.original_part(faces, last, last + 1) == faces[last]


def test_a_line_break_that_was_only_drawn_is_not_copied() -> None:
    drawn = chat_gui.drawable("x" * 1_500)
    at = drawn.index("\n")
    assert chat_gui.original_part("x" * 1_500, at - 5, at + 6) == "x" * 10


@settings(deadline=None)
@given(
    st.text(st.sampled_from("ab\n\t \u4f60\u0301\u0489\ufe0f\u200b\u202e\U0001f600\ud800"), max_size=300),
    st.integers(0, 400),
    st.integers(0, 400),
)
@example("\u4f60" * 1_000, 190, 210)
def test_a_part_of_the_original_is_drawn_where_it_was_selected(text: str, first: int, last: int) -> None:
    drawn = chat_gui.drawn_parts(text)
    first, last = (min(place, sum(map(len, drawn))) for place in sorted((first, last)))
    part = chat_gui.original_part(text, first, last)
    starts = [start for start in range(len(text) + 1) if text.startswith(part, start)]
    assert any(
        sum(map(len, drawn[:start])) <= first and last <= sum(map(len, drawn[: start + len(part)])) for start in starts
    )
    assert (part == "") == (first == last)


# Saving -----------------------------------------------------------------------

Answers = queue.SimpleQueue[tuple[str, str]]


def save(path: Path, text: str) -> tuple[str, str]:
    answers: Answers = queue.SimpleQueue()
    chat_gui.save_text(os.fspath(path), text, answers)
    return answers.get(timeout=LIMIT)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "chat.txt"


def test_the_text_is_saved_as_it_is(target: Path) -> None:
    assert save(target, "good morning\n\u4f60\u597d \U0001f600\n") == (str(target), "")
    assert target.read_text(encoding="utf-8") == "good morning\n\u4f60\u597d \U0001f600\n"
    assert os.listdir(target.parent) == [target.name]


def test_half_of_a_surrogate_pair_costs_one_character_and_not_the_chat(target: Path) -> None:
    assert save(target, "a\ud800b") == (str(target), "")
    assert target.read_text(encoding="utf-8") == "a?b"


def fails_with(error: OSError) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_if_it_cannot_be_saved_what_was_there_stays_and_nothing_else_is_left(
    target: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    target.write_text("old")
    with monkeypatch.context() as patch:
        patch.setattr(os, step, fails_with(OSError(errno.ENOSPC, "No space left on device")))
        assert save(target, "new") == (str(target), "No space left on device.")
    assert target.read_text() == "old"
    assert os.listdir(target.parent) == [target.name]


def test_where_one_may_not_write_both_possible_reasons_are_told(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows reports a file that another program has open in the same way."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails_with(PermissionError(errno.EACCES, "Permission denied")))
        _, problem = save(target, "new")
    assert "not allowed to write there" in problem
    assert "another program has the file open" in problem
    assert os.listdir(target.parent) == []


def test_a_missing_folder_is_told(target: Path) -> None:
    path, problem = save(target.parent / "none" / "chat.txt", "new")
    assert path.endswith("chat.txt")
    assert problem


def test_two_savings_at_once_do_each_other_no_harm(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2, timeout=LIMIT)
    really_sync = os.fsync

    def sync(file: int) -> None:
        both.wait()
        really_sync(file)

    monkeypatch.setattr(os, "fsync", sync)
    answers: Answers = queue.SimpleQueue()
    savers = [threading.Thread(target=chat_gui.save_text, args=(str(target), text, answers)) for text in ("one", "two")]
    for saver in savers:
        saver.start()
    for saver in savers:
        saver.join(LIMIT)
    assert [answers.get(timeout=LIMIT) for _ in savers] == [(str(target), "")] * 2
    assert target.read_text() in ("one", "two")
    assert os.listdir(target.parent) == [target.name]
