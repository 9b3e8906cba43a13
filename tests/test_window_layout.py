"""The window in every size and at every zoom: what follows the end of the log, what stands where, and what it costs."""

from __future__ import annotations

import sys
import tkinter as tk
from collections.abc import Callable, Iterator
from tkinter import font, ttk
from typing import Any

import pytest

import chat_gui
import net
from tests.windows import SMALL, USUAL, Dialogs, Open, Person, Size, feed, has_option, name_of, said, shared, shown

Words = chat_gui.Words
pytestmark = pytest.mark.usefixtures("unposted", "finders")
on_x11 = pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="there the system decides about this")

NARROW, LARGE = (60, 70), (200, 110)
LONG_TITLE = "Everything about networks, and quite a lot of what is beyond"
LONG_NAME = "Maximiliana Featherstonehaugh"
LESSON = [
    (1, "Mr Lee", "Good morning! Today we find out what a network does with a message."),
    (2, "Ann", "hi!"),
    (4, LONG_NAME, "good morning\nwith two lines"),
    (1, "Mr Lee", "First comes the address, then the port: a building, and a door in it."),
]


def talk(someone: Person, lines: int = 4) -> None:
    feed(someone, *(said(100 + n, LESSON[n % 4][2], *LESSON[n % 4][:2]) for n in range(lines)))


def box(widget: tk.Misc) -> tuple[int, int, int, int]:
    x, y = widget.winfo_rootx(), widget.winfo_rooty()
    return x, y, x + widget.winfo_width(), y + widget.winfo_height()


def is_inside(widget: tk.Misc, window: tk.Misc) -> bool:
    x, y, right, bottom = box(widget)
    left, top, most_right, most_bottom = box(window)
    return left <= x < right <= most_right and top <= y < bottom <= most_bottom


def is_on_top(someone: Person, widget: tk.Misc) -> bool:
    """Its middle shows, and nothing is in front of it."""
    someone.root.lift()
    someone.wait_for_layout()
    x, y, right, bottom = box(widget)
    return widget.winfo_ismapped() and someone.root.winfo_containing((x + right) // 2, (y + bottom) // 2) is widget


def complaints(someone: Person) -> list[str]:
    """Widgets that cannot be seen and used as a whole."""
    found = overlaps(someone.root)
    for widget in shown(someone.root):
        if isinstance(widget, (ttk.Frame, tk.Frame, tk.Menu)):
            continue
        name, kind = name_of(widget), widget.winfo_class()
        if not is_inside(widget, someone.root):
            found.append(f"{name} stands outside")
        if min(widget.winfo_width(), widget.winfo_height()) <= 1:
            found.append(f"{name} does not show")
        if has_option(widget, "wraplength") and int(str(widget.cget("wraplength")) or 0) < 0:
            found.append(f"{name} wraps at less than nothing, which Tk 9.1 does not take")
        if kind == "TButton" and widget.winfo_width() < widget.winfo_reqwidth():
            found.append(f"{name} is cut")
        if kind in ("TButton", "TLabel") and widget.winfo_height() < widget.winfo_reqheight():
            found.append(f"{name} is cut below")
    if someone.log_text.winfo_height() < 2 * someone.app.looks.text.metrics("linespace"):
        found.append(f"the log shows less than two lines, {someone.log_text.winfo_height()} px")
    return found


def overlaps(parent: tk.Misc) -> list[str]:
    """Children of the same parent that overlap; one that is placed does so on purpose."""
    found = []
    children = [c for c in parent.winfo_children() if c.winfo_ismapped() and c.winfo_manager() != "place"]
    for number, one in enumerate(children):
        found += overlaps(one)
        for other in children[number + 1 :]:
            a, b = box(one), box(other)
            if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]:
                found.append(f"{name_of(one)} and {name_of(other)} overlap")
    return found


# Zoom -------------------------------------------------------------------------


def sizes(someone: Person) -> dict[str, object]:
    """All that the zoom decides in the log and in the lists."""
    looks, log = someone.app.looks, someone.log_text
    tags = {tag: (str(log.tag_cget(tag, "lmargin2")), str(log.tag_cget(tag, "spacing1"))) for tag in log.tag_names()}
    row = looks.style.lookup("Treeview", "rowheight")
    return {"tags": tags, "tabs": str(log.cget("tabs")), "digit": looks.digit, "row": row, "fonts": fonts(someone)}


def fonts(someone: Person) -> list[int]:
    looks = someone.app.looks
    named = [font.nametofont(name, someone.root) for name in ("TkTextFont", "TkDefaultFont", "TkMenuFont")]
    own = [looks.text, looks.base, looks.bold, looks.italic, looks.small, looks.large]
    return [int(each.actual("size")) for each in own + named]


def test_zooming_back_and_forth_changes_nothing(host: Person, person: Open) -> None:
    talk(host)
    host.resize(USUAL)
    first = sizes(host), [(str(widget), widget.winfo_geometry()) for widget in shown(host.root)]
    for key, percent in (("Control-plus", 250), ("Control-minus", 60)):
        host.press(*[key] * 20)
        assert host.app.looks.percent == percent
    host.zoom_to(100)
    assert (sizes(host), [(str(widget), widget.winfo_geometry()) for widget in shown(host.root)]) == first
    other = person("Mr Lee")
    other.zoom_to(200)
    other.host()
    talk(other)
    other.zoom_to(100)
    other.resize(USUAL)
    assert sizes(other) == sizes(host), "so does a page that was made at another zoom"


@pytest.mark.skipif(sys.platform == "darwin", reason="there it is Command")
def test_the_keys_zoom_the_fonts_and_distances_stay(host: Person) -> None:
    looks = host.app.looks
    usual, digit, gap = fonts(host), looks.digit, looks.gap
    keys = [("Control-plus", "Control-minus", "Control-0"), ("Control-equal", "Control-KP_Subtract", "Control-Key-0")]
    for larger, smaller, same in keys:
        host.press(larger, larger)
        assert (looks.percent, looks.gap) == (125, gap)
        assert all(now > before for now, before in zip([*fonts(host), looks.digit], [*usual, digit], strict=True))
        assert int(looks.style.lookup("Treeview", "rowheight")) >= looks.text.metrics("linespace")
        host.press(smaller, smaller, smaller)
        assert looks.percent == 90
        assert all(now < before for now, before in zip(fonts(host), usual, strict=True))
        host.press(same)
        assert fonts(host) == usual


@on_x11
def test_names_of_removed_people_are_shortened_for_the_new_font(host: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_gui, "shortened", lambda text, _font, width: f"{width} px: {text}")
    feed(host, net.Controls((), ((9, "W" * 32),)))

    def name() -> str:
        return str(host.chat.people.list.set("removed 9", "name"))

    host.wait(lambda: "px" in name(), "it is shortened")
    before = name()
    host.app.zoom(2)
    host.wait(lambda: "px" in name() and name() != before, "it is shortened for the larger font")


def test_control_and_the_wheel_zoom_one_step_and_scroll_nothing(host: Person) -> None:
    talk(host, 100)
    feed(host, *(net.Joined(900 + n, 0.0, 70 + n, f"Pupil {n:02}") for n in range(39)))
    people = host.chat.people.list
    for widget in (host.log_text, people, host.box, host.button(Words.send)):
        for number, percent in ((4, 110), (4, 125), (5, 110), (5, 100), (5, 90), (4, 100)):
            widget.event_generate(f"<Control-Button-{number}>")
            host.root.update()
            assert host.app.looks.percent == percent
    assert host.sees_end()
    assert people.yview()[0] == 0.0
    held = "Command" if sys.platform == "darwin" else "Control"
    for delta, percent in ((120, 110), (-1, 100), (-240, 90)):  # some wheels report a distance
        host.log_text.event_generate(f"<{held}-MouseWheel>", delta=delta)
        host.root.update()
        assert host.app.looks.percent == percent


def test_an_entry_shows_its_text_in_its_middle_after_each_zoom(host: Person) -> None:
    """Tk's own entries keep the layout of their text until it changes."""
    host.press("Control-f")
    entry = host.chat.find_bar.entry
    entry.insert(0, "Gg")
    for percent in (250, 60, 100):
        host.zoom_to(percent)
        _, y, _, height = entry.bbox(0)
        assert height == host.app.looks.text.metrics("linespace"), f"at {percent} %"
        assert height <= entry.winfo_height()
        assert abs(y + height / 2 - entry.winfo_height() / 2) <= 1


# The log, whatever size -------------------------------------------------------


def test_the_log_follows_its_end_through_every_size_and_zoom(host: Person) -> None:
    talk(host, 200)
    for size in (USUAL, (55, 60), (133, 88), SMALL):
        host.resize(size)
        host.wait(host.sees_end, f"the end shows at {size}")
        for percent in (150, 60, 100):
            host.zoom_to(percent)
            host.wait(host.sees_end, f"the end shows at {size} and {percent} %")
            feed(host, said(1000, "new"))
            assert host.sees_end(), f"a new line shows at {size} and {percent} %"


def wheel(someone: Person, up: int) -> None:
    """This many steps; a negative number is down."""
    for _ in range(abs(up)):
        if tk.TkVersion < 9 and someone.app.looks.is_x11:
            someone.log_text.event_generate(f"<ButtonPress-{4 if up > 0 else 5}>")
        else:
            someone.log_text.event_generate("<MouseWheel>", delta=120 if up > 0 else -120)
        someone.root.update()


def drag_above(someone: Person) -> None:
    """The mouse selects, and rests above the log: Tk scrolls there again and again until it comes back."""
    log = someone.log_text
    top = log.index("@0,0")
    log.event_generate("<ButtonPress-1>", x=50, y=50)
    log.event_generate("<B1-Leave>", x=50, y=-20, state=0x100)
    someone.wait(lambda: log.index("@0,0") != top, "it scrolls")
    log.event_generate("<B1-Enter>", x=50, y=50, state=0x100)
    log.event_generate("<ButtonRelease-1>", x=50, y=50)


def drag_scrollbar_to_end(someone: Person) -> None:
    """Once Tk knows how high all lines are: before that, its idea of the end is a guess."""
    someone.root.tk.call(someone.log_text, "sync")
    someone.chat.log.scroll("moveto", 1.0)


def find_a_line(someone: Person) -> None:
    someone.chat.find_bar.open()
    someone.chat.find_bar.entry.insert(0, "line 3")
    someone.chat.find_bar.find(backwards=True)
    someone.focus_composer()


WAYS_UP: dict[str, Callable[[Person], object]] = {
    "wheel": lambda someone: wheel(someone, 1),
    "page": lambda someone: someone.press_in(someone.log_text, "Prior"),
    "page in the composer": lambda someone: someone.press_in(someone.box, "Prior"),
    "scrollbar": lambda someone: someone.chat.log.scroll("moveto", 0.5),
    "finding": find_a_line,
    "dragging out of the log": drag_above,
}
WAYS_DOWN: dict[str, Callable[[Person], object]] = {
    "wheel": lambda someone: wheel(someone, -60),
    "pages": lambda someone: someone.press_in(someone.log_text, *["Next"] * 30),
    "end": lambda someone: someone.press_in(someone.log_text, "Control-End"),
    "scrollbar": drag_scrollbar_to_end,
    "saying something": lambda someone: someone.say("me"),
    "button": lambda someone: someone.click(someone.button("1 new")),
}


@pytest.mark.parametrize("way", WAYS_UP)
def test_a_reader_who_scrolls_up_in_any_way_stays_there(host: Person, way: str) -> None:
    host.hear(300)
    WAYS_UP[way](host)
    host.wait(lambda: not host.chat.log.follows, "the log stays there")
    top = host.log_text.index("@0,0")
    host.type("half a thought")
    host.hear(20, "new", start=500)
    host.settle(0.1)
    assert host.log_text.index("@0,0") == top
    assert "20 new" in host.everything()
    assert host.typed() == "half a thought"


@pytest.mark.parametrize("way", WAYS_DOWN)
def test_a_reader_who_comes_to_the_end_in_any_way_follows_it_again(host: Person, way: str) -> None:
    host.hear(300)
    host.scroll("scroll", -40, "units")
    feed(host, said(500, "new"))
    assert "1 new" in host.everything()
    WAYS_DOWN[way](host)
    host.wait(lambda: host.chat.log.follows, "the log follows its end")
    if way == "button":
        assert host.root.focus_get() is host.box, "a click leaves the keyboard with the composer"
    assert "1 new" not in host.everything()
    host.hear(20, "newer", start=600)
    assert host.sees_end()


@pytest.fixture
def short_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """The window keeps only a few lines."""
    monkeypatch.setattr(chat_gui, "LOG_LINES", 50)
    monkeypatch.setattr(chat_gui, "LOG_SLACK", 10)


def top_line(someone: Person) -> str:
    return str(someone.log_text.get("@0,0 linestart", "@0,0 lineend"))


def test_a_reader_keeps_their_place_through_every_size_and_zoom_and_when_something_is_deleted(host: Person) -> None:
    host.resize(USUAL)
    feed(host, said(99, "three\nlines\nabove"))
    host.hear(300)
    host.scroll("150.0")
    top = top_line(host)
    assert "line 1" in top
    changes: tuple[int | Size, ...] = (150, (66, 60), 60, (133, 88), 100)
    for number, change in enumerate(changes):
        host.zoom_to(change) if isinstance(change, int) else host.resize(change)
        feed(host, said(1000 + number, "new"))
        assert top_line(host) == top, f"after {change}"
    feed(host, net.TakenBack(1100, 0.0, 99))
    assert top_line(host) == top
    assert f"{len(changes)} new" in host.everything()


@pytest.mark.usefixtures("short_log")
def test_a_reader_keeps_their_place_while_lines_pour_in_and_old_ones_go(host: Person) -> None:
    host.hear(50)
    host.scroll("45.0 -20 lines")
    top = top_line(host)
    host.hear(30, "more")
    assert top_line(host) == top
    assert "line 0\n" in host.log(), "nothing is taken away from under the reader yet"
    host.hear(60, "even more")
    assert "line 0\n" not in host.log(), "until there are twice as many"
    assert len(host.log().split("\n")) <= 2 * 50 + 10
    host.click(host.button("90 new"))
    feed(host, said(600, "newest"))
    assert host.sees_end()
    assert len(host.log().split("\n")) <= 60


@pytest.mark.usefixtures("short_log")
def test_lines_that_go_take_their_links_with_them(host: Person) -> None:
    feed(host, said(99, "http://example.org and more"))
    tags = host.log_text.tag_names()
    host.hear(200, "http://example.org/")
    assert host.log_text.tag_names() == tags, "with many tags Tk is slow"
    lines = host.log().split("\n")
    assert len(host.tagged("link")) == len(lines) <= 60


# Layout -----------------------------------------------------------------------


@pytest.fixture
def crowd(host: Person, ann: Person) -> dict[str, Person]:
    """A host and a pupil with forty people in a room with a long title, and a lesson in the log."""
    for someone in (host, ann):
        own = someone.chat.welcome.who
        people = {1: "Mr Lee", own: someone.app.name, **{99 - n: f"Pupil {n:02}" for n in range(39)}}
        feed(someone, someone.welcome(room="another", title=LONG_TITLE, people=tuple(people.items())[:40]))
        talk(someone, 20)
    return {"host": host, "pupil": ann}


@pytest.mark.parametrize("size", [SMALL, (46, 80), (63, 60), (64, 60), LARGE])
def test_every_button_and_box_stands_inside_the_window_and_on_no_other(crowd: dict[str, Person], size: Size) -> None:
    """Where the letters are far too large for the window, the host's address may be cut, and nothing else."""
    wrong = {}
    for who, someone in crowd.items():
        address = name_of(someone.chat.header.address)
        someone.focus_composer()
        someone.resize(size)
        for percent in (60, 100, 150, 250):
            someone.zoom_to(percent)
            found = complaints(someone)
            digit = someone.app.looks.digit
            if someone.root.winfo_width() < SMALL[0] * digit or someone.root.winfo_height() < SMALL[1] * digit:
                found = [each for each in found if each != f"{address} stands outside"]
            if found:
                wrong[who, percent] = found
            someone.wait(someone.sees_end, f"the end shows at {percent} %")
    assert not wrong


@pytest.mark.parametrize("can_encrypt", [True, False])
def test_no_window_is_smaller_than_the_smallest_in_which_no_page_needs_to_scroll(
    person: Open, monkeypatch: pytest.MonkeyPatch, can_encrypt: bool
) -> None:
    monkeypatch.setattr(net, "CAN_ENCRYPT", can_encrypt)
    someone = person("Ann")
    assert someone.root.minsize() == tuple(each * someone.digit for each in SMALL)
    someone.resize(SMALL)
    assert not someone.first_page.scrollbar.winfo_ismapped()
    someone.app.show_join_page()
    someone.wait_for_layout()
    assert not someone.join_page.scrollbar.winfo_ismapped()


@pytest.mark.parametrize("size", [SMALL, USUAL])
def test_whatever_is_opened_stands_inside_too(crowd: dict[str, Person], size: Size) -> None:
    someone = crowd["host"]
    someone.resize(size)
    someone.focus_composer()
    someone.press("Control-f", "z", "q")
    someone.wait_for_layout()
    assert Words.not_found in someone.everything()
    assert not complaints(someone), "finding"
    someone.press("Escape")
    someone.click(someone.button(Words.leave))
    someone.wait_for_layout()
    assert not [each for each in complaints(someone) if not each.startswith("the log")], "the question"
    someone.look_here()
    someone.press("Escape", "F1")
    assert is_on_top(someone, someone.chat.keys.text)
    assert not [each for each in complaints(someone) if "overlap" not in each], "the keys stand in front of the log"


def test_in_a_narrow_window_the_people_show_on_request(crowd: dict[str, Person]) -> None:
    someone = crowd["host"]
    people = someone.chat.people
    someone.resize(SMALL)
    someone.focus_composer()
    assert not people.list.winfo_ismapped()
    button = someone.button("People (40)")
    someone.click(button)
    someone.wait_for_layout()
    assert someone.root.focus_get() is people.list
    for widget in (people.list, people.mute, people.remove, people.pause):
        assert is_inside(widget, someone.root), name_of(widget)
        assert is_on_top(someone, widget), name_of(widget)
    someone.press("Control-f")
    assert is_on_top(someone, someone.chat.find_bar.entry)
    someone.press("Escape")
    someone.wait_for_layout()
    assert not people.list.winfo_ismapped()
    assert someone.root.focus_get() is someone.box
    someone.click(button)
    someone.resize(USUAL)
    assert people.list.winfo_ismapped()
    assert not button.winfo_ismapped()
    someone.resize(SMALL)
    assert not people.list.winfo_ismapped(), "they do not come back over the composer"


def test_the_question_shows_before_a_second_click_closes_the_room(host: Person, ann: Person) -> None:
    host.resize(NARROW)
    leave = host.button(Words.leave)
    host.click(leave)
    stay = host.button(Words.close_no)
    assert is_on_top(host, stay)
    host.click(host.button("People (2)"))
    assert not is_on_top(host, stay)
    host.click(leave)
    assert is_on_top(host, stay)
    host.click(leave)
    ann.sees("The host closed the room.")


def test_the_question_counts_the_people_who_are_still_there(host: Person, ann: Person) -> None:
    feed(host, net.Joined(900, 0.0, 70, "Bob"))
    host.click(host.button(Words.leave))
    assert "Close the room for 2 people?" in host.everything()
    feed(host, net.Left(902, 0.0, 70, "Bob", "left"))
    assert Words.close_question[0] in host.everything()
    host.focus(host.button(Words.close_yes))
    feed(host, net.Left(904, 0.0, ann.chat.welcome.who, "Ann", "left"))
    assert Words.close_question[0] not in host.everything(), "nobody is left to ask for"
    assert host.root.focus_get() is host.box


def test_where_only_log_and_composer_fit_the_menu_has_all_the_rest(crowd: dict[str, Person], dialogs: Dialogs) -> None:
    someone = crowd["host"]
    someone.focus_composer()
    someone.resize(SMALL)
    rest = [someone.button(words) for words in (Words.leave, "People (40)", Words.send, Words.file)]
    address = someone.chat.header.address.cget("text")
    someone.zoom_to(250)
    assert not [name_of(widget) for widget in rest if widget.winfo_ismapped()]
    for widget in (someone.log_text, someone.chat.composer.hint, someone.button(Words.menu)):
        assert is_on_top(someone, widget)
    assert Words.connected not in someone.everything()
    feed(someone, net.Lost(net.Trouble.GONE, 1_000.0))
    assert "was lost" in someone.everything(), "what is wrong shows all the same"
    feed(someone, someone.welcome())
    someone.click(someone.button(Words.menu))
    someone.choose(Words.copy_address)
    assert someone.root.clipboard_get() == address
    someone.choose(Words.file)
    assert [options["title"] for options in dialogs.asked] == [Words.choose_files]
    someone.choose("People (40)")
    assert someone.chat.people.list.winfo_ismapped()
    someone.look_here()
    someone.press("Escape")
    someone.choose(Words.leave)
    assert "Close the room for 39 people?" in someone.everything()
    someone.press("Escape")
    someone.zoom_to(100)
    assert all(widget.winfo_ismapped() for widget in rest)
    assert someone.log_text.winfo_height() >= 10 * someone.app.looks.text.metrics("linespace")
    assert not complaints(someone)
    someone.click(someone.button(Words.menu))
    assert Words.leave not in someone.menu()


@pytest.mark.parametrize("percent", [100, 250])
def test_small_pages_scroll_to_what_gets_the_keyboard(person: Open, percent: int) -> None:
    someone = person("Ann")
    someone.resize(SMALL)
    for page in ("first", "join"):
        if page == "join":
            someone.app.show_join_page()
        someone.zoom_to(percent)
        seen = set()
        for _ in range(8):
            widget = someone.root.focus_get()
            assert widget is not None
            seen.add(str(widget))
            for size in (SMALL, LARGE, SMALL):
                someone.resize(size)
                assert is_inside(widget, someone.root), name_of(widget)
            someone.press("Tab")
        assert len(seen) >= 3, "Tab goes round"


def test_a_page_that_is_higher_than_the_window_scrolls_with_the_wheel_and_by_a_touchpad(person: Open) -> None:
    """Only Tk 9 has the touchpad's event, and sends it on macOS: here only its meaning is tested."""
    someone = person("Ann")
    page = someone.first_page
    someone.resize(SMALL)
    someone.zoom_to(250)
    page.join.focus_set()  # near the bottom: scrolling up leaves it behind
    for delta, end, at in ((-120, 1, 1.0), (120, 0, 0.0)):
        for _ in range(20):
            page.name.event_generate("<MouseWheel>", delta=delta)
        someone.settle()
        assert page.canvas.yview()[end] == at
    for across, down, at in ((0, -30, 30), (5, 12, 18), (-5, -2, 20), (-7, 0, 20), (0, 32_000, 0)):
        page.scroll(-chat_gui.way_down(across << 16 | down & 0xFFFF))
        assert round(page.canvas.canvasy(0)) == at


def test_all_of_the_reason_can_be_read_in_a_blocked_box(crowd: dict[str, Person]) -> None:
    someone = crowd["pupil"]
    feed(someone, net.Paused(900, 0.0, True))
    hint = someone.chat.composer.hint
    for size, percent in ((SMALL, 100), (SMALL, 150), (USUAL, 100), (LARGE, 250)):
        someone.resize(size)
        someone.zoom_to(percent)
        assert hint.winfo_ismapped()
        assert hint.winfo_reqwidth() <= hint.winfo_width(), f"{size}, {percent} %"
        assert hint.winfo_reqheight() <= someone.box.winfo_height(), f"{size}, {percent} %"
    feed(someone, net.Paused(901, 0.0, False))
    someone.zoom_to(100)
    assert someone.box.cget("height") == 1


@pytest.mark.parametrize("size", [SMALL, USUAL])
def test_the_keys_can_be_read_in_every_size_also_when_it_changes_meanwhile(host: Person, size: Size) -> None:
    host.press("F1")
    host.resize(size)
    text = host.chat.keys.text
    for percent in (100, 200):
        host.zoom_to(percent)
        start = text.search(Words.keys[0][1], "1.0")
        text.see("1.0")
        host.root.update()
        column, keys_end = text.bbox(start), text.bbox(f"{start} -2c")
        assert column is not None
        assert column[0] + 10 * host.app.looks.digit <= text.winfo_width(), f"room for its words at {percent} %"
        assert keys_end is not None
        assert keys_end[0] + keys_end[2] <= column[0] or keys_end[1] < column[1]


# Colours and columns ----------------------------------------------------------


def contrast(widget: tk.Misc, one: object, other: object) -> float:
    """As the Web Content Accessibility Guidelines compute it."""

    def light(colour: object) -> float:
        parts = [part / 65_535 for part in widget.winfo_rgb(str(colour))]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, bright = sorted((light(one), light(other)))
    return (bright + 0.05) / (dark + 0.05)


def pairs(someone: Person) -> Iterator[tuple[str, object, object]]:
    """What it is, its text's colour, its background: of the log's tags, the other widgets and the styles."""
    log, style = someone.log_text, someone.app.looks.style
    for ground in ("mention", "chosen", ""):  # any text may stand on these
        background = log.tag_cget(ground, "background") if ground else log.cget("background")
        for ink in log.tag_names():
            yield f"{ink} on {ground}", log.tag_cget(ink, "foreground") or log.cget("foreground"), background
    for tag in ("host", "found", "found now"):  # these have a colour of their own
        yield tag, log.tag_cget(tag, "foreground"), log.tag_cget(tag, "background")
    yield "selected", log.cget("selectforeground"), log.cget("inactiveselectbackground")
    for widget in [*shown(someone.root), someone.app.page.menu]:
        for kind in ("", "select", "active"):
            ink, ground = f"{kind}foreground", f"{kind}background"
            if has_option(widget, ink) and has_option(widget, ground) and not isinstance(widget, ttk.Widget):
                yield f"{name_of(widget)} {ink}", widget.cget(ink), widget.cget(ground)
    for name in ("TButton", "Accent.TButton", "TEntry", "TLabel", "Quiet.TLabel", "Wrong.TLabel", "Treeview"):
        for state in ("", "disabled", "pressed", "active", "focus", "!focus", "selected"):
            for kind in ("", "select"):
                ink, ground = (style.lookup(name, f"{kind}{part}", [state]) for part in ("foreground", "background"))
                yield f"{name} {state} {ink}", ink or chat_gui.INK, ground or chat_gui.PAGE


@pytest.fixture
def dark_desktop(monkeypatch: pytest.MonkeyPatch) -> None:
    """X resources as a dark desktop sets them for all old programs."""
    make_root = tk.Tk

    def make_dark(*arguments: Any, **options: Any) -> tk.Tk:
        root = make_root(*arguments, **options)
        for name, colour in (("foreground", "white"), ("background", "#202020"), ("selectForeground", "white")):
            root.option_add(f"*{name}", colour, "userDefault")
        return root

    monkeypatch.setattr(tk, "Tk", make_dark)


@on_x11
@pytest.mark.usefixtures("dark_desktop")
def test_everything_can_be_read_also_on_a_dark_desktop(host: Person) -> None:
    talk(host)
    host.press("Control-f")
    dialog = (host.root.option_get(name, name.title()) for name in ("foreground", "background"))  # type: ignore[no-untyped-call]
    assert [*dialog] == [chat_gui.INK, chat_gui.PAGE], "Tk's own dialogs take these"
    for is_muted in (False, True):
        feed(host, net.Muted(is_muted))
        compared = {what: round(contrast(host.root, *two), 2) for what, *two in pairs(host)}
        assert len(compared) > 50
        assert {what: value for what, value in compared.items() if value < 4.5} == {}


def test_all_messages_begin_in_the_same_column_and_shortened_names_are_told_apart(host: Person) -> None:
    names = [LONG_NAME, f"{LONG_NAME} 2", "W" * 32, "Al", "\u4e00" * 32, "illlllllllllllllllllll"]
    for size, percent in ((USUAL, 60), (NARROW, 100), (LARGE, 250)):
        host.resize(size)
        host.zoom_to(percent)
        feed(host, *(said(100 + n, f"{size} {n}", who=2 + n, name=name) for n, name in enumerate(names)))
        boxes = [host.log_text.bbox(host.log_text.search(f"{size} {n}", "1.0")) for n in range(len(names))]
        (column,) = {each and each[0] for each in boxes}
        assert column is not None, f"at {size} and {percent} %"
        is_indented_less = column - int(str(host.log_text.tag_cget("text", "lmargin2"))) > 3 * host.app.looks.gap
        assert is_indented_less == (size == NARROW), "further lines begin below the time"
        drawn = [line.split("\t")[1] for line in host.log().split("\n") if f"\t{size} " in line]
        assert len(set(drawn)) == len(names)


def test_the_host_is_told_apart_from_a_person_whose_name_looks_the_same(ann: Person) -> None:
    feed(ann, said(100, "from the host", 1, "Mr Lee"), said(101, "@Ann from another one", 9, "Mr Lee."))
    feed(ann, shared(102, "map.png", 1, "Mr Lee"))
    assert ann.tagged("host") == ["Mr Lee", "Mr Lee"]
    tags = ("host", "mention", "found", "found now", "chosen")
    host, *others = (str(ann.log_text.tag_cget(tag, "background")) for tag in tags)
    assert host not in ("", *others)
    feed(ann, ann.welcome(room="another", host=9), said(100, "x", 1, "Bob"), said(101, "x", 9, "Mr Ray"))
    assert ann.tagged("host")[-1] == "Mr Ray", "in a room of another program the host may have any number"
