"""What is drawn of other people's text; links, mentions, addresses, sizes and folders. None of it needs a window."""

from __future__ import annotations

import os
import re
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import chat_gui
import net

Words = chat_gui.Words

ADLAM = "".join(map(chr, range(0x1E900, 0x1E944)))
MATHEMATICAL = "".join(map(chr, range(0x1D400, 0x1D440)))
RARE_CHINESE = "".join(map(chr, range(0x20000, 0x20040)))
FACES = "".join(map(chr, range(0x1F600, 0x1F640)))
BOX = "\u25a1"

# Letters, marks of both kinds, emoji, tabs, invisible characters, halves of surrogate pairs, and long runs of each.
TEXTS = st.lists(
    st.tuples(
        st.sampled_from(
            ["a", "\n", "\t", " ", "\u4f60", "\u0301", "\u0489", "\ufe0f", "\u200b", "\U0001f600", "\ud800"]
        ),
        st.integers(1, 300),
    ),
    max_size=8,
).map(lambda runs: "".join(character * count for character, count in runs)) | st.text(max_size=60)


# What is drawn ----------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "hello", "a\nb", "na\u00efve", "\u4f60\u597d", "\u05e9\u05dc\u05d5\u05dd"])
def test_ordinary_text_is_drawn_as_it_is(text: str) -> None:
    assert chat_gui.drawable(text) == text


@settings(deadline=None)
@given(TEXTS)
@example("\u4e00" * 4_000)
@example("x" * 4_000)
def test_there_is_one_part_for_each_character_and_together_they_are_what_is_drawn(text: str) -> None:
    parts = chat_gui.drawn_parts(text)
    assert len(parts) == len(text)
    assert "".join(parts) == chat_gui.drawable(text)


@settings(deadline=None)
@given(TEXTS)
@example("\u4e00" * 4_000)
@example("x" * 4_000)
@example("a" + "\u0301" * 3_999)
@example("a" + "\u0489" * 3_999)
def test_whatever_is_said_what_is_drawn_is_bounded_and_can_be_drawn(text: str) -> None:
    drawn = chat_gui.drawable(text)
    drawn.encode()  # no halves of surrogate pairs
    assert "\t" not in drawn
    for line in drawn.split("\n"):
        letters = [character for character in line if unicodedata.category(character) not in ("Mn", "Me")]
        assert len(letters) <= chat_gui.LONGEST_LINE + 4, "a tab is up to four spaces"
        assert not re.search(f"[\u2e80-\U0010ffff]{{{chat_gui.LONGEST_RUN + 1}}}", "".join(letters))
        assert not re.search(f"[\u0300-\u036f\u0489\ufe0f]{{{chat_gui.MOST_MARKS + 1}}}", line)


@pytest.mark.parametrize(
    "mark", ["\u0301", "\u0e47", "\u0489", "\ufe0f"], ids=["accent", "Thai", "circle", "variation"]
)
def test_a_pile_of_marks_is_thinned_also_where_they_have_no_combining_class(mark: str) -> None:
    assert chat_gui.drawable(f"a{mark * 50}b") == f"a{mark * chat_gui.MOST_MARKS}b"


def test_a_tab_goes_to_the_next_fourth_column() -> None:
    assert chat_gui.drawable("\ta\tbcd\te\n\tf") == "    a   bcd e\n    f"


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x1b", "\x7f", "\x85", "\u061c", "\u200e", "\u202e", "\u2066"])
def test_what_would_swap_the_text_around_it_or_harm_the_window_is_not_drawn(character: str) -> None:
    assert chat_gui.drawable(f"a{character}b") == "ab"


def test_half_of_a_surrogate_pair_is_drawn_as_the_sign_for_a_damaged_character() -> None:
    assert chat_gui.drawable("a\ud800b") == "a\ufffdb"


@pytest.mark.parametrize("letters", [ADLAM, MATHEMATICAL, RARE_CHINESE], ids=["Adlam", "mathematical", "rare Chinese"])
def test_letters_outside_the_basic_plane_are_no_emoji(letters: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_gui, "DRAWS_BY_X11", True)
    assert len(letters) > max(chat_gui.MOST_EMOJI, chat_gui.MOST_KINDS_OF_EMOJI)
    assert chat_gui.drawable(letters) == letters


def test_on_x11_only_some_kinds_of_emoji_are_drawn_in_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_gui, "DRAWS_BY_X11", True)
    kinds = chat_gui.MOST_KINDS_OF_EMOJI
    assert chat_gui.drawable(FACES) == FACES[:kinds] + BOX * (len(FACES) - kinds)


def test_on_x11_only_some_emoji_are_drawn_in_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_gui, "DRAWS_BY_X11", True)
    most = chat_gui.MOST_EMOJI
    assert chat_gui.drawable("\U0001f600" * (most + 5)) == "\U0001f600" * most + BOX * 5


def test_where_the_system_draws_emoji_all_of_them_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_gui, "DRAWS_BY_X11", False)
    assert chat_gui.drawable(FACES * 3) == FACES * 3


@pytest.mark.parametrize(
    "letter", ["\u4f60", "\U00020000", "\uac00", "\U0001f600"], ids=["Chinese", "rare", "Korean", "emoji"]
)
def test_a_run_of_wide_characters_is_broken_into_lines_and_nothing_is_lost(
    letter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tk 9.1 on X11 dies of about 250 of them in a row."""
    monkeypatch.setattr(chat_gui, "DRAWS_BY_X11", False)  # it would draw boxes for most emoji, and they are narrow
    drawn = chat_gui.drawable(letter * 1_000)
    assert max(map(len, drawn.split("\n"))) <= chat_gui.LONGEST_RUN
    assert drawn.replace("\n", "") == letter * 1_000
    assert chat_gui.drawable(f"{letter * 150} {letter * 150}") == f"{letter * 150} {letter * 150}"


def test_a_long_line_is_broken_and_nothing_is_lost() -> None:
    drawn = chat_gui.drawable("x" * 3_500)
    assert [len(line) for line in drawn.split("\n")] == [1_000, 1_000, 1_000, 500]


def test_a_name_is_drawn_on_one_line_and_not_endlessly() -> None:
    assert chat_gui.drawable_name("Mr\nLee\t \u202e2") == "Mr Lee 2"
    assert len(chat_gui.drawable_name("W" * 200_000)) == chat_gui.MOST_OF_A_NAME


def test_the_rooms_words_never_look_like_the_programs_own() -> None:
    words = chat_gui.room_says("Your school account has expired.\nOpen http://evil.example")
    assert words == 'The room says: "Your school account has expired. Open http://evil.example"'


@pytest.mark.parametrize("reason", ["{text}", "{", "%s", "{0!r}"])
def test_the_rooms_words_are_no_pattern_to_be_filled_in(reason: str) -> None:
    assert chat_gui.room_says(reason) == f'The room says: "{reason}"'


def test_a_time_that_no_calendar_has_is_no_error() -> None:
    assert chat_gui.clock(1e300) == "--:--"


# Links ------------------------------------------------------------------------


def links(text: str) -> list[str]:
    return [chat_gui.link_at(match) for match in chat_gui.WEB_ADDRESS.finditer(text)]


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("see https://a.org now", "https://a.org"),
        ("see http://a.org/b?c=d&e=f#g!", "http://a.org/b?c=d&e=f#g"),
        ("HTTPS://A.ORG", "HTTPS://A.ORG"),
        ("Is it https://a.org?", "https://a.org"),
        ("It is https://a.org/x...", "https://a.org/x"),
        ("It is https://a.org/x\u2026", "https://a.org/x"),
        ("https://en.wikipedia.org/wiki/Mercury_(planet)", "https://en.wikipedia.org/wiki/Mercury_(planet)"),
        ("(see https://en.wikipedia.org/wiki/Mercury_(planet))", "https://en.wikipedia.org/wiki/Mercury_(planet)"),
        ("(https://a.org)", "https://a.org"),
        ("[https://a.org/[b]]", "https://a.org/[b]"),
        ("{https://a.org/{b}}.", "https://a.org/{b}"),
        ("<https://a.org>", "https://a.org"),
        ('"https://a.org"', "https://a.org"),
        ("\u201chttps://a.org.\u201d", "https://a.org"),
        ("\u201ehttps://a.org\u201c", "https://a.org"),
        ("\u00abhttps://a.org\u00bb", "https://a.org"),
        ("'https://a.org'", "https://a.org"),
        ("\u8bf7\u770bhttps://a.org", "https://a.org"),
        ("\u8bf7\u770bhttps://a.org\u3002\u597d", "https://a.org"),
        ("https://a.org/b\uff0c\u597d", "https://a.org/b"),
        ("\uff08https://a.org\uff09", "https://a.org"),
        ("\u300chttps://a.org\u300d\u3068", "https://a.org"),
        ("https://a.org\uff1fb", "https://a.org"),
        ("https://\u65e5\u672c.jp/\u9053", "https://\u65e5\u672c.jp/\u9053"),
        ("https://a.org/" + "x" * 3_000, "https://a.org/" + "x" * 3_000),
    ],
)
def test_a_link_ends_where_the_sentence_around_it_goes_on(text: str, link: str) -> None:
    assert links(text) == [link]


@pytest.mark.parametrize(
    "text", ["ftp://a.org", "javascript:alert(1)", "file:///etc/passwd", "xhttps://a.org", "https://"]
)
def test_nothing_but_a_web_address_is_a_link(text: str) -> None:
    assert links(text) == []


def test_each_of_several_links_is_found() -> None:
    assert links("https://a.org, http://b.org; (https://c.org)") == ["https://a.org", "http://b.org", "https://c.org"]


# Mentions ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Ann", "@Ann"),
        ("Ann", "hello @ann, look"),
        ("Ann", "@ANN!"),
        ("Ann", "@Ann's turn"),
        ("Ann", "@Ann\u4f60\u597d"),
        ("Ann", "@Ann\u3055\u3093"),
        ("Ann", "@Ann\u3002"),
        ("Ann", "\u4f60\u597d@Ann\u4f60\u597d"),
        ("\u5c0f\u660e", "@\u5c0f\u660e\u4f60\u597d"),
        ("\u5c0f\u660e", "@\u5c0f\u660e, look"),
        ("Ann 2", "@Ann 2: look"),
        ("a.b (c) [d+", "@a.b (c) [d+ look"),
    ],
)
def test_a_mention_is_seen(name: str, text: str) -> None:
    assert chat_gui.mention(name).search(text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Ann", "Ann"),
        ("Ann", "@Anna"),
        ("Ann", "@Ann\u00e4"),
        ("Ann", "@Ann\u0430"),
        ("Ann", "@Ann_b"),
        ("Ann", "@Ann2"),
        ("Ann", "@Ann 2"),
        ("\u5c0f\u660e", "@\u5c0f\u660e2"),
        ("a.b", "@axb"),
    ],
)
def test_somebody_elses_name_is_no_mention(name: str, text: str) -> None:
    assert not chat_gui.mention(name).search(text)


# What is sent -----------------------------------------------------------------


def test_blank_lines_around_a_text_are_not_sent_but_its_indent_is() -> None:
    assert chat_gui.tidy("\n  \n    indented\n  more\n\n ") == "    indented\n  more"


# Addresses --------------------------------------------------------------------


@pytest.mark.parametrize(
    "typed",
    [
        "192.168.1.20",
        "  192.168.1.20\t",
        "192 . 168 . 1 . 20",
        "192.168.1.20.",
        "192,168,1,20",
        "192\u3002168\u30021\u300220",
        "\uff11\uff19\uff12\uff0e\uff11\uff16\uff18\uff0e\uff11\uff0e\uff12\uff10",
        "\u0661\u0669\u0662.\u0661\u0666\u0668.\u0661.\u0662\u0660",
        "\u06f1\u06f9\u06f2.168.1.20",
        "\u0967\u096f\u0968.168.1.20",
        "192.168.001.020",
        "192.168.1.20\u200b",
        "\ufeff192.168.\u202a1.20\u202c",
        "http://192.168.1.20",
        "HTTPS://192.168.1.20/",
        "http://192.168.1.20/room/7",
        "192.168.1.20:",
        "192.168.1.20:5252",
        "192.168.1.20 : 5252",
        "192.168.1.20\uff1a\uff15\uff12\uff15\uff12",
        "192.168.1.20:\u0665\u0662\u0665\u0662",
        "http://192.168.1.20:5252/",
    ],
)
def test_an_address_is_understood_as_people_type_it(typed: str) -> None:
    assert chat_gui.parse_address(typed) == ("192.168.1.20", 5252)


@pytest.mark.parametrize(
    ("typed", "address", "port"),
    [
        ("192.168.1.20:5253", "192.168.1.20", 5253),
        ("teacher-pc", "teacher-pc", 5252),
        ("teacher_pc.local.", "teacher_pc.local", 5252),
        ("teacher-pc.local : 6000", "teacher-pc.local", 6000),
        ("b\u00fcro-7", "b\u00fcro-7", 5252),
        ("pc7:65535", "pc7", 65535),
    ],
)
def test_a_name_or_another_port_is_understood(typed: str, address: str, port: int) -> None:
    assert chat_gui.parse_address(typed) == (address, port)


def test_the_usual_port_can_be_another_one() -> None:
    assert chat_gui.parse_address("pc7", 6000) == ("pc7", 6000)
    assert chat_gui.parse_address("pc7:5252", 6000) == ("pc7", 5252)


@pytest.mark.parametrize("typed", ["", "  ", "\u200b", " \ufeff\n"])
def test_a_missing_address_is_told(typed: str) -> None:
    with pytest.raises(ValueError, match=re.escape(Words.address_missing)):
        chat_gui.parse_address(typed)


@pytest.mark.parametrize("typed", ["::1", "fe80::1", "[fe80::1]:5252", "2001:db8:0:0:0:0:0:1", "fe80::1%eth0"])
def test_an_ipv6_address_is_told_to_be_one(typed: str) -> None:
    with pytest.raises(ValueError, match="IPv4 only"):
        chat_gui.parse_address(typed)


@pytest.mark.parametrize(
    "typed", ["192.168.1", "192.168.1.300", "1.2.3.4.5", "20", "a&b", "{x}", "..", "http://", "a,b"]
)
def test_nonsense_is_told_with_what_was_typed(typed: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{typed} is not an address")):
        chat_gui.parse_address(typed)


def test_a_long_text_is_told_shortened() -> None:
    with pytest.raises(ValueError, match="is not an address") as told:
        chat_gui.parse_address("x" * 10_000)
    assert len(str(told.value)) < 200


@pytest.mark.parametrize("port", ["0", "65536", "x", "-1", "5252x", "123456789"])
def test_a_port_that_is_none_is_told(port: str) -> None:
    with pytest.raises(ValueError, match=re.escape(Words.port_wrong.format(text=port))):
        chat_gui.parse_address(f"192.168.1.20:{port}")


@settings(deadline=None)
@given(st.text(max_size=40))
def test_whatever_is_typed_is_an_address_or_told_in_words(typed: str) -> None:
    try:
        address, port = chat_gui.parse_address(typed)
    except ValueError as error:
        told = str(error)
        assert told.endswith((Words.address_missing, "with a port.", "IPv4 only. It looks like 192.168.1.20.")) or (
            told.startswith("A port is a number")
        )
    else:
        assert address
        assert 0 < port < 65536
        assert chat_gui.parse_address(chat_gui.join_address(address, port)) == (address, port)


def test_the_port_is_shown_only_where_it_is_not_the_usual_one() -> None:
    assert chat_gui.join_address("10.0.0.1", net.PORT) == "10.0.0.1"
    assert chat_gui.join_address("10.0.0.1", 5253) == "10.0.0.1:5253"


# Sizes and folders ------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1_000, "1.0 kB"),
        (9_949, "9.9 kB"),
        (9_950, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (2_100_000, "2.1 MB"),
        (104_857_600, "105 MB"),
        (2**53, "9,007,199 GB"),
    ],
)
def test_a_size_reads_as_people_say_it(size: int, words: str) -> None:
    assert chat_gui.file_size(size) == words


def test_the_home_folder_and_one_inside_it_are_offered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]
) -> None:
    home = os.fspath(tmp_path)
    monkeypatch.setattr(os.path, "expanduser", lambda _: home)
    assert chat_gui.home_folder() == home
    assert chat_gui.home_folder("Downloads") == home, "there is none yet"
    os.mkdir(os.path.join(home, "Downloads"))
    assert chat_gui.home_folder("Downloads") == os.path.join(home, "Downloads")


def test_an_account_without_a_home_folder_is_offered_the_current_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as it is where nobody knows better
    for inside in ((), ("Downloads",)):
        assert os.path.samefile(chat_gui.home_folder(*inside), tmp_path)
