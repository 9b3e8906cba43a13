"""How text is drawn; links, mentions, addresses, sizes and folders. No test here needs a window."""

from __future__ import annotations

import ast
import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import chat_gui
import net
from tests.conftest import TOP

Words = chat_gui.Words

FACES = "".join(map(chr, range(0x1F600, 0x1F640)))
BOX = "\u25a1"

# Letters, marks of both kinds, emoji, tabs, invisible characters, halves of surrogate pairs, and long runs of each.
LETTERS = ["a", "\n", "\t", " ", "\u4f60", "\u0301", "\u0489", "\ufe0f", "\u200b", "\u202e", "\U0001f600", "\ud800"]
RUNS = st.lists(st.tuples(st.sampled_from(LETTERS), st.integers(1, 300)), max_size=5)
TEXTS = RUNS.map(lambda runs: "".join(letter * count for letter, count in runs)) | st.text(max_size=60)


# How it is drawn --------------------------------------------------------------


def test_ordinary_text_is_drawn_unchanged() -> None:
    red_hearts = "\u2764\ufe0f" * 20
    burmese = "\u1000\u103b\u103d\u103e\u102d\u102f"  # a letter with five marks
    adlam = "".join(map(chr, range(0x1E900, 0x1E944)))  # outside the basic plane, but no emoji
    for text in ("", "a\nb", "na\u00efve \u4f60\u597d \u05e9\u05dc\u05d5\u05dd", red_hearts, burmese, adlam):
        assert chat_gui.drawable(text) == text


@settings(deadline=None, max_examples=50)
@given(TEXTS)
@example("\u4e00" * 4_000)
@example("x" * 4_000)
@example("a" + "\u0301" * 3_999)
@example("a" + "\u0489" * 3_999)
def test_any_text_is_drawn_harmlessly_with_one_part_for_each_character(text: str) -> None:
    parts = chat_gui.drawn_parts(text)
    drawn = chat_gui.drawable(text)
    assert len(parts) == len(text)
    assert "".join(parts) == drawn
    drawn.encode()  # no halves of surrogate pairs
    assert not set(drawn) & set("\x00\x07\x1b\r\t\u202e")
    for line in drawn.split("\n"):
        letters = [character for character in line if unicodedata.category(character) not in ("Mn", "Me")]
        assert len(letters) <= chat_gui.LONGEST_LINE + 4, "a tab is up to four spaces"
        assert not re.search(f"[\u2e80-\U0010ffff]{{{chat_gui.LONGEST_RUN + 1}}}", "".join(letters))
        assert not re.search(f"[\u0300-\u036f\u0489\ufe0f]{{{chat_gui.MOST_MARKS + 1}}}", line)


def test_a_tab_goes_to_the_next_fourth_column() -> None:
    assert chat_gui.drawable("\ta\tbcd\te\n\tf") == "    a   bcd e\n    f"


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\x7f", "\x85", "\u061c", "\u200e", "\u202e", "\u2066"])
def test_characters_that_could_harm_the_window_or_reorder_the_text_are_not_drawn(character: str) -> None:
    assert chat_gui.drawable(f"a{character}b") == "ab"
    assert chat_gui.drawable("a\ud800b") == "a\ufffdb", "half of a surrogate pair leaves a sign"


def test_on_x11_only_a_limited_number_of_emoji_are_drawn_in_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_gui, "DRAWS_BY_X11", True)
    kinds, most = chat_gui.MOST_KINDS_OF_EMOJI, chat_gui.MOST_EMOJI
    assert chat_gui.drawable(FACES) == FACES[:kinds] + BOX * (len(FACES) - kinds)
    assert chat_gui.drawable("\U0001f600" * (most + 5)) == "\U0001f600" * most + BOX * 5
    monkeypatch.setattr(chat_gui, "DRAWS_BY_X11", False)
    assert chat_gui.drawable(FACES * 3) == FACES * 3


@pytest.mark.parametrize("by_x11", [True, False])
@pytest.mark.parametrize("run", ["\u4e00", "\U0001f600", "\U0001f468\u200d", "\u304b\u3099"], ids=ascii)
def test_a_run_of_wide_letters_is_broken_into_lines(monkeypatch: pytest.MonkeyPatch, run: str, by_x11: bool) -> None:
    """Tk 9.1 on X11 ends the program at about 250 of them in a row."""
    monkeypatch.setattr(chat_gui, "DRAWS_BY_X11", by_x11)
    drawn = chat_gui.drawable(run * 300 + "\n" + run * 300)
    longest = max(sum(letter > "\u2e7f" or letter == BOX for letter in line) for line in drawn.split("\n"))
    assert longest <= chat_gui.LONGEST_RUN + chat_gui.MOST_MARKS < 250
    assert "\n" not in chat_gui.drawable((run * 3 + " ") * 90), "many short runs stay on one line"


def test_a_name_is_drawn_on_one_line_and_shortened() -> None:
    assert chat_gui.drawable_name("Mr\nLee\t \u202e2") == "Mr Lee 2"
    assert len(chat_gui.drawable_name("W" * 200_000)) == chat_gui.MOST_OF_A_NAME


@pytest.mark.parametrize("reason", ["Your account\nhas expired.", "{text}", "{", "%s", "{0!r}"])
def test_the_words_of_the_room_are_quoted_and_never_filled_in(reason: str) -> None:
    assert chat_gui.room_says(reason) == 'The room says: "{}"'.format(reason.replace("\n", " "))


def test_blank_lines_around_a_text_are_not_sent_but_its_indent_is() -> None:
    assert chat_gui.tidy("\n  \n    indented\n  more\n\n ") == "    indented\n  more"


# Links, mentions and addresses ------------------------------------------------


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("see http://a.org/b?c=d&e=f#g! now", ["http://a.org/b?c=d&e=f#g"]),
        ("HTTPS://A.ORG/" + "x" * 3_000, ["HTTPS://A.ORG/" + "x" * 3_000]),
        ("It is https://a.org/x... Or https://a.org/y\u2026", ["https://a.org/x", "https://a.org/y"]),
        ("(see https://a.org/Mercury_(planet))", ["https://a.org/Mercury_(planet)"]),
        ("[https://a.org/[b]] {https://a.org/{b}}.", ["https://a.org/[b]", "https://a.org/{b}"]),
        ("<https://a.org> 'https://b.org'", ["https://a.org", "https://b.org"]),
        ("\u201chttps://a.org.\u201d \u00abhttps://b.org\u00bb", ["https://a.org", "https://b.org"]),
        ("\u8bf7\u770bhttps://a.org\u3002\u597d \uff08https://b.org\uff09", ["https://a.org", "https://b.org"]),
        ("https://\u65e5\u672c.jp/\u9053", ["https://\u65e5\u672c.jp/\u9053"]),
        ("ftp://a.org javascript:alert(1) file:///etc/passwd xhttps://a.org https:// https:/x", []),
    ],
)
def test_only_web_addresses_are_links_without_the_punctuation_around_them(text: str, links: list[str]) -> None:
    assert [chat_gui.link_at(match) for match in chat_gui.WEB_ADDRESS.finditer(text)] == links


@pytest.mark.parametrize(
    ("name", "calls", "others"),
    [
        (
            "Ann",
            ["hello @ann, look", "@ANN's turn", "\u4f60\u597d@Ann\u4f60\u597d", "@Ann\u3055\u3093\u3002"],
            ["Ann", "@Anna", "@Ann\u00e4", "@Ann\u0430", "@Ann_b", "@Ann2", "@Ann 2"],
        ),
        ("\u5c0f\u660e", ["@\u5c0f\u660e\u4f60\u597d"], ["@\u5c0f\u660e2"]),
        ("Ann 2", ["@Ann 2: look"], ["@Ann", "@Ann 23"]),
        ("a.b (c) [d+", ["@a.b (c) [d+ look"], ["@axb (c) [d+"]),
    ],
    ids=ascii,
)
def test_a_mention_is_told_from_another_name(name: str, calls: list[str], others: list[str]) -> None:
    mention = chat_gui.mention(name)
    assert [text for text in calls + others if mention.search(text)] == calls


AS_PEOPLE_TYPE_IT = [
    *("  192.168.1.20\t", "192 . 168 . 1 . 20.", "192,168,1,20", "192\u3002168\u30021\u300220", "192.168.001.020"),
    "\uff11\uff19\uff12\uff0e\uff11\uff16\uff18\uff0e\uff11\uff0e\uff12\uff10",  # full-width
    "\u0661\u0669\u0662.\u0661\u0666\u0668.\u0661.\u0662\u0660",  # Arabic
    "\u0967\u096f\u0968.168.1.20",  # Devanagari
    "\ufeff192.168.\u202a1.20\u202c",  # with invisible characters
    *("HTTPS://192.168.1.20/room/7", "http://192.168.1.20:5252/"),
    *("192.168.1.20:", "192.168.1.20 : 5252", "192.168.1.20\uff1a\uff15\uff12\uff15\uff12"),
]


@pytest.mark.parametrize("typed", AS_PEOPLE_TYPE_IT)
def test_an_address_is_understood_as_people_type_it(typed: str) -> None:
    assert chat_gui.parse_address(typed) == ("192.168.1.20", 5252)


def test_a_name_or_another_port_is_understood_and_the_usual_port_is_not_shown() -> None:
    assert chat_gui.parse_address("teacher_pc.local. : 6000") == ("teacher_pc.local", 6000)
    assert chat_gui.parse_address("b\u00fcro-7", 6000) == ("b\u00fcro-7", 6000)
    assert chat_gui.join_address("10.0.0.1", net.PORT) == "10.0.0.1"
    assert chat_gui.join_address("10.0.0.1", 5253) == "10.0.0.1:5253"


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (Words.address_missing, ["", "  ", "\u200b", " \ufeff\n"]),
        (Words.only_ipv4, ["::1", "[fe80::1]:5252", "2001:db8:0:0:0:0:0:1", "fe80::1%eth0"]),
        (Words.address_wrong, ["192.168.1", "192.168.1.300", "1.2.3.4.5", "20", "a&b", "{x}", "..", "http://", "a,b"]),
        (Words.port_wrong, ["pc7:0", "pc7:65536", "pc7:x", "pc7:-1", "pc7:5252x", "pc7:123456789"]),
    ],
)
def test_a_wrong_address_or_port_is_reported(words: str, texts: list[str]) -> None:
    for typed in texts:
        with pytest.raises(ValueError, match=re.escape(words.format(text=typed.removeprefix("pc7:")))):
            chat_gui.parse_address(typed)


@settings(deadline=None)
@given(st.text(max_size=40))
@example("x" * 10_000)
def test_anything_typed_is_an_address_or_a_short_complaint(typed: str) -> None:
    try:
        address, port = chat_gui.parse_address(typed)
    except ValueError as error:
        complaint = str(error)
        assert 0 < len(complaint) < 200
        return
    assert 0 < port < 65536
    assert chat_gui.parse_address(chat_gui.join_address(address, port)) == (address, port)


# Sizes, folders, names and words ----------------------------------------------


def test_a_size_reads_as_people_say_it() -> None:
    assert list(map(chat_gui.file_size, (0, 1, 999))) == ["0 bytes", "1 byte", "999 bytes"]
    assert list(map(chat_gui.file_size, (1_000, 9_949, 9_950, 999_499))) == ["1.0 kB", "9.9 kB", "10 kB", "999 kB"]
    assert list(map(chat_gui.file_size, (999_500, 2**53))) == ["1.0 MB", "9,007,199 GB"]


def test_downloads_or_home_or_the_current_folder_is_offered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = os.fspath(tmp_path)
    (tmp_path / "Downloads").mkdir()
    monkeypatch.setattr(os.path, "expanduser", lambda _: home)
    assert chat_gui.home_folder("Downloads") == os.path.join(home, "Downloads")
    assert chat_gui.home_folder("Desktop") == home, "there is none"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as the system does if it knows no better
    assert os.path.samefile(chat_gui.home_folder("Desktop"), tmp_path)


def test_a_login_name_is_offered_without_invisible_characters_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise OSError

    for getuser, offered in ((lambda: "pupil\u202e7", "pupil7"), (nobody, "")):
        monkeypatch.setattr("getpass.getuser", getuser)
        assert chat_gui.login_name() == offered


PROGRAM = (TOP / "chat_gui.py").read_text(encoding="utf-8")
NO_SENTENCES = {
    *("found now", "found now.first", "found now.last", "insert linestart"),  # Tk's indices and tags, and its language
    "%W instate !disabled {%W state pressed}",
}


def sentences(tree: ast.AST) -> Iterator[str]:
    """Constants with two words, without docstrings, the log and the names of threads."""
    for node in ast.iter_child_nodes(tree):
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_log = isinstance(node, ast.Call) and ast.unparse(node.func).startswith("log.")
        is_name = isinstance(node, ast.keyword) and node.arg == "name"
        if isinstance(node, ast.Constant) and re.search("[a-z]{2,}[,.:]? [a-z]{2,}", str(node.value)):
            yield str(node.value)
        if not is_docstring and not is_log and not is_name:
            yield from sentences(node)


def test_every_sentence_that_people_read_in_the_window_stands_in_the_table_of_words() -> None:
    classes = [node for node in ast.parse(PROGRAM).body if isinstance(node, ast.ClassDef)]
    others = ("Words", "Stage", "Parser")  # the table; never shown; the command line
    assert {text for each in classes if each.name not in others for text in sentences(each)} <= NO_SENTENCES


def test_no_word_of_the_table_is_unused() -> None:
    assert [name for name in vars(Words) if name[0] != "_" and f"Words.{name}" not in PROGRAM] == []
