"""The window in use: on a projector, in every size, by keyboard alone; finding, copying, links, and saving the chat."""

from __future__ import annotations

import ast
import errno
import os
import re
import sys
import threading
import time
import tkinter as tk
from collections.abc import Callable, Iterator
from pathlib import Path
from tkinter import filedialog, font, ttk
from typing import Any

import pytest

import chat_gui
import net
from tests.conftest import TOP
from tests.helpers import until
from tests.windows import Open, Person, feed, said

Words = chat_gui.Words
Size = tuple[int, int]  # widths of a digit at 100 %
pytestmark = pytest.mark.usefixtures("unposted", "finders")
not_on_mac = pytest.mark.skipif(sys.platform == "darwin", reason="there it is Command")
on_x11 = pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="there the system decides about this")

SMALL, NARROW, USUAL, LARGE = chat_gui.SMALLEST, (60, 70), (95, 62), (200, 110)
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


def feed_lines(someone: Person, count: int, text: str = "line", start: int = 100) -> None:
    feed(someone, *(said(start + n, f"{text} {n}") for n in range(count)))


def shared(number: int, who: int = 9, name: str = "Bob", size: int = 5) -> net.Shared:
    return net.Shared(number, 0.0, who, name, "0" * 32, "map.png", size, "0" * 64)


def answer(value: Any, *actions: Callable[..., object]) -> Callable[..., Any]:
    """A function that passes its arguments to these actions, and returns the value."""

    def do(*given: object, **options: object) -> Any:
        for action in actions:
            action(*given, **options)
        return value

    return do


def resize(someone: Person, size: Size) -> None:
    width, height = (each * someone.digit for each in size)
    someone.root.geometry(f"{width}x{height}")
    someone.wait(
        lambda: (someone.root.winfo_width(), someone.root.winfo_height()) == (width, height), f"the window is {size}"
    )
    settle(someone)


def zoom_to(someone: Person, percent: int) -> None:
    """By the keys that people use."""
    if isinstance(someone.app.page, chat_gui.ChatPage):
        someone.focus_composer()
    else:
        someone.look_here()
    someone.press("Control-0")
    steps = chat_gui.ZOOMS.index(percent) - chat_gui.ZOOMS.index(100)
    someone.press(*["Control-plus" if steps > 0 else "Control-minus"] * abs(steps))
    assert someone.app.looks.percent == percent
    settle(someone)


def settle(someone: Person) -> None:
    """Waits until the layout no longer changes."""
    before: object = None
    for _ in range(20):
        someone.root.update()
        now = [(str(w), w.winfo_geometry()) for w in shown(someone.root)]
        if now == before:
            return
        before = now
    raise AssertionError("the layout does not come to rest")


def shown(widget: tk.Misc) -> Iterator[tk.Misc]:
    for child in widget.winfo_children():
        if child.winfo_ismapped():
            yield child
            yield from shown(child)


def name_of(widget: tk.Misc) -> str:
    text = str(widget.cget("text")) if "text" in widget.keys() else ""  # noqa: SIM118 - a widget is no dictionary
    return f"{widget.winfo_class()} {text!r}"


def box(widget: tk.Misc) -> tuple[int, int, int, int]:
    x, y = widget.winfo_rootx(), widget.winfo_rooty()
    return x, y, x + widget.winfo_width(), y + widget.winfo_height()


def is_inside(widget: tk.Misc, window: tk.Misc) -> bool:
    x, y, right, bottom = box(widget)
    left, top, most_right, most_bottom = box(window)
    return left <= x < right <= most_right and top <= y < bottom <= most_bottom


def is_on_top(someone: Person, widget: tk.Misc) -> bool:
    """Its middle shows, and nothing is in front of it."""
    settle(someone)
    x, y, right, bottom = box(widget)
    return widget.winfo_ismapped() and someone.root.winfo_containing((x + right) // 2, (y + bottom) // 2) is widget


def complaints(someone: Person) -> list[str]:
    """Widgets that cannot be seen and used as a whole."""
    found = []
    for widget in shown(someone.root):
        if isinstance(widget, (ttk.Frame, tk.Frame, tk.Menu)):
            continue
        name, kind = name_of(widget), widget.winfo_class()
        if not is_inside(widget, someone.root):
            found.append(f"{name} stands outside")
        if min(widget.winfo_width(), widget.winfo_height()) <= 1:
            found.append(f"{name} does not show")
        if "wraplength" in widget.keys() and int(str(widget.cget("wraplength")) or 0) < 0:  # noqa: SIM118 - no dictionary
            found.append(f"{name} wraps at less than nothing, which Tk 9.1 does not take")
        if kind == "TButton" and widget.winfo_width() < widget.winfo_reqwidth():
            found.append(f"{name} is cut")
        if kind in ("TButton", "TLabel") and widget.winfo_height() < widget.winfo_reqheight():
            found.append(f"{name} is cut below")
    found += overlaps(someone.root)
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


def test_zooming_back_and_forth_twenty_times_changes_nothing(host: Person) -> None:
    talk(host)
    resize(host, USUAL)
    first = sizes(host), [(str(widget), widget.winfo_geometry()) for widget in shown(host.root)]
    host.press(*["Control-plus"] * 20)
    assert host.app.looks.percent == 250
    host.press(*["Control-minus"] * 20)
    assert host.app.looks.percent == 60
    host.press("Control-0")
    settle(host)
    assert (sizes(host), [(str(widget), widget.winfo_geometry()) for widget in shown(host.root)]) == first


@not_on_mac
def test_the_keys_zoom_the_fonts_and_distances_stay(host: Person) -> None:
    looks = host.app.looks
    usual, digit, gap, pad = fonts(host), looks.digit, looks.gap, str(host.chat.frame.cget("padding")[0])
    keys = [("Control-plus", "Control-minus", "Control-0"), ("Control-equal", "Control-KP_Subtract", "Control-Key-0")]
    for larger, smaller, same in keys:
        host.press(larger, larger)
        assert looks.percent == 125
        assert all(now > before for now, before in zip(fonts(host), usual, strict=True))
        assert looks.digit > digit
        assert (looks.gap, str(host.chat.frame.cget("padding")[0])) == (gap, pad)
        host.press(smaller, smaller, smaller)
        assert looks.percent == 90
        assert all(now < before for now, before in zip(fonts(host), usual, strict=True))
        host.press(same)
        assert looks.percent == 100
        assert fonts(host) == usual


@on_x11
def test_control_and_the_wheel_zoom_one_step_and_scroll_nothing(host: Person) -> None:
    talk(host, 100)
    feed(host, *(net.Joined(900 + n, 0.0, 70 + n, f"Pupil {n:02}") for n in range(39)))
    chat = host.chat
    for place in (host.log_text, chat.people.list, host.box, chat.send, chat.frame):
        for number, percent in ((4, 110), (4, 125), (5, 110), (5, 100), (5, 90), (4, 100)):
            place.event_generate(f"<Control-Button-{number}>")
            host.root.update()
            assert host.app.looks.percent == percent
    assert host.sees_end()
    assert chat.people.list.yview()[0] == 0.0


def test_a_wheel_that_reports_a_distance_zooms_too(host: Person) -> None:
    held = "Command" if sys.platform == "darwin" else "Control"
    for delta, percent in ((120, 110), (120, 125), (-120, 110), (-1, 100), (-240, 90)):
        host.log_text.event_generate(f"<{held}-MouseWheel>", delta=delta)
        host.root.update()
        assert host.app.looks.percent == percent


def test_a_page_that_is_made_at_another_zoom_follows_too(host: Person, person: Open) -> None:
    someone = person("Mr Lee")
    zoom_to(someone, 200)
    someone.host()
    zoom_to(someone, 100)
    assert sizes(someone) == sizes(host)


def test_an_entry_shows_its_text_in_its_middle_after_each_zoom(host: Person) -> None:
    """Tk's own entries keep the layout of their text until it changes."""
    host.press("Control-f")
    entry = host.chat.find_bar.entry
    entry.insert(0, "Gg")
    for percent in (100, 250, 60, 100):
        zoom_to(host, percent)
        _, y, _, height = entry.bbox(0)
        assert height == host.app.looks.text.metrics("linespace"), f"at {percent} %"
        assert height <= entry.winfo_height()
        assert abs(y + height / 2 - entry.winfo_height() / 2) <= 1
    host.press("Escape", "Control-plus")
    settle(host)
    assert not host.chat.find_bar.frame.winfo_ismapped(), "what was closed stays closed"


def test_the_rows_of_the_join_page_grow_with_their_letters(person: Open) -> None:
    someone = person("Ann")
    someone.app.show_join_page()
    someone.look_here()
    looks = someone.app.looks
    for percent in (60, 250):
        zoom_to(someone, percent)
        assert int(looks.style.lookup("Treeview", "rowheight")) >= looks.text.metrics("linespace")
        assert int(someone.join_page.list.column("people", "width")) >= looks.text.measure("400 people")


# The log, whatever size -------------------------------------------------------


def test_the_log_follows_its_end_through_every_size_and_zoom(host: Person) -> None:
    talk(host, 200)
    for size in (USUAL, (55, 60), (133, 88), SMALL):
        resize(host, size)
        host.wait(host.sees_end, f"the end shows at {size}")
        for percent in (150, 60, 100):
            zoom_to(host, percent)
            host.wait(host.sees_end, f"the end shows at {size} and {percent} %")
            feed(host, said(1000, "new"))
            assert host.sees_end(), f"a new line shows at {size} and {percent} %"
    assert not host.chat.log.jump.winfo_ismapped()


def tell_scrolled(log: chat_gui.Log, first: float, last: float) -> None:
    """Reports, as Tk does, which part of the log shows."""
    tk_of_it = log.text.tk
    tk_of_it.call(*tk_of_it.splitlist(log.text.cget("yscrollcommand")), first, last)


@pytest.fixture
def short_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """The window keeps only a few lines."""
    monkeypatch.setattr(chat_gui, "LOG_LINES", 50)
    monkeypatch.setattr(chat_gui, "LOG_SLACK", 10)


@pytest.mark.usefixtures("short_log")
def test_lines_that_go_from_the_top_do_not_count_as_scrolling_up(host: Person) -> None:
    """Tk may report a move while it does not yet know how high the lines are."""
    log = host.chat.log
    talk(host, 40)
    first = log.message_at("1.0")
    assert first is not None
    changes: list[Callable[[], None]] = [lambda: log.remove(first), lambda: talk(host, 40)]
    for change in changes:
        change()
        tell_scrolled(log, 0.5, 0.99)
        talk(host, 1)
        assert host.sees_end()


def wheel(someone: Person, up: int) -> None:
    """This many steps; a negative number is down."""
    for _ in range(abs(up)):
        if tk.TkVersion < 9 and someone.app.looks.is_x11:
            someone.log_text.event_generate(f"<ButtonPress-{4 if up > 0 else 5}>")
        else:
            someone.log_text.event_generate("<MouseWheel>", delta=120 if up > 0 else -120)
        someone.root.update()


def press_in(someone: Person, widget: tk.Misc, *keys: str) -> None:
    someone.focus(widget)
    someone.press(*keys)


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


WAYS_UP: dict[str, Callable[[Person], object]] = {
    "wheel": lambda someone: wheel(someone, 1),
    "page": lambda someone: press_in(someone, someone.log_text, "Prior"),
    "home": lambda someone: press_in(someone, someone.log_text, "Control-Home"),
    "page in the composer": lambda someone: press_in(someone, someone.box, "Prior"),
    "scrollbar": lambda someone: someone.chat.log.scroll("moveto", 0.5),
    "finding": lambda someone: someone.chat.log.find("line 3", backwards=True),
    "dragging out of the log": drag_above,
}
WAYS_DOWN: dict[str, Callable[[Person], object]] = {
    "wheel": lambda someone: wheel(someone, -60),
    "pages": lambda someone: press_in(someone, someone.log_text, *["Next"] * 30),
    "pages in the composer": lambda someone: press_in(someone, someone.box, *["Next"] * 30),
    "end": lambda someone: press_in(someone, someone.log_text, "Control-End"),
    "scrollbar": drag_scrollbar_to_end,
    "saying something": lambda someone: someone.say("me"),
}


@pytest.mark.parametrize("way", WAYS_UP)
def test_a_reader_who_scrolls_up_in_any_way_stays_there(host: Person, way: str) -> None:
    feed_lines(host, 300)
    WAYS_UP[way](host)
    host.wait(lambda: not host.chat.log.follows, "the log stays there")
    top = host.log_text.index("@0,0")
    host.type("half a thought")
    feed_lines(host, 20, "new", start=500)
    host.settle(0.1)
    assert host.log_text.index("@0,0") == top
    assert "20 new" in host.everything()
    assert host.typed() == "half a thought"


@pytest.mark.parametrize("way", WAYS_DOWN)
def test_a_reader_who_comes_to_the_end_in_any_way_follows_it_again(host: Person, way: str) -> None:
    feed_lines(host, 300)
    host.scroll("scroll", -40, "units")
    feed(host, said(500, "new"))
    WAYS_DOWN[way](host)
    host.wait(lambda: host.chat.log.follows, "the log follows its end")
    assert not host.chat.log.jump.winfo_ismapped()
    feed_lines(host, 20, "newer", start=600)
    assert host.sees_end()


@pytest.mark.parametrize("change", ["font", "size"])
def test_a_move_after_a_new_font_or_size_does_not_count_as_scrolling(host: Person, change: str) -> None:
    """Also when a key was pressed just before. Tk moves the log while it does not yet know how high the lines are."""
    resize(host, USUAL)
    talk(host, 200)
    log = host.chat.log
    press_in(host, log.text, "Shift_L")
    log.fit(is_narrow=False) if change == "font" else resize(host, (95, 70))
    tell_scrolled(log, 0.5, 0.99)
    host.settle()
    assert log.follows
    assert host.sees_end()


def top_line(someone: Person) -> str:
    return str(someone.log_text.get("@0,0 linestart", "@0,0 lineend"))


def test_a_reader_keeps_their_place_through_every_size_and_zoom(host: Person) -> None:
    resize(host, USUAL)
    feed_lines(host, 300)
    host.scroll("150.0")
    top = top_line(host)
    assert "line 1" in top
    changes: tuple[int | Size, ...] = (150, (66, 60), 60, (133, 88), 100)
    for number, change in enumerate(changes):
        zoom_to(host, change) if isinstance(change, int) else resize(host, change)
        feed(host, said(1000 + number, "new"))
        assert top_line(host) == top, f"after {change}"
    assert f"{len(changes)} new" in host.everything()


@pytest.mark.usefixtures("short_log")
def test_a_reader_keeps_their_place_while_lines_pour_in_and_old_ones_go(host: Person) -> None:
    feed_lines(host, 50)
    host.scroll("45.0 -20 lines")
    top = top_line(host)
    feed_lines(host, 30, "more")
    assert top_line(host) == top
    assert "line 0\n" in host.log(), "nothing is taken away from under the reader yet"
    feed_lines(host, 60, "even more")
    assert "line 0\n" not in host.log(), "until there are twice as many"
    assert len(host.log().split("\n")) <= 2 * 50 + 10
    feed_lines(host, 30, "and more")
    host.click(host.chat.log.jump)
    feed(host, said(600, "newest"))
    assert host.sees_end()
    assert len(host.log().split("\n")) <= 60


@pytest.mark.usefixtures("short_log")
def test_lines_that_go_take_their_links_with_them(host: Person) -> None:
    feed(host, said(99, "http://example.org and more"))
    tags = host.log_text.tag_names()
    feed_lines(host, 200, "http://example.org/")
    assert host.log_text.tag_names() == tags, "with many tags Tk is slow"
    lines = host.log().split("\n")
    assert len(host.tagged("link")) == len(lines) <= 60
    for number, line in enumerate(lines, 1):
        message = host.chat.log.message_at(f"{number}.0")
        assert message is not None
        assert message.text == line.split("\t")[2]


# Layout -----------------------------------------------------------------------


@pytest.fixture
def crowd(host: Person, ann: Person) -> dict[str, Person]:
    """A host and a pupil with forty people in a room with a long title, and a lesson in the log."""
    for someone in (host, ann):
        own = someone.chat.welcome.who
        people = {1: "Mr Lee", own: someone.app.name, **{99 - n: f"Pupil {n:02}" for n in range(39)}}
        people = dict([*people.items()][:40])
        feed(someone, someone.welcome(room="another", title=LONG_TITLE, people=tuple(people.items())))
        talk(someone, 20)
    return {"host": host, "pupil": ann}


@pytest.mark.parametrize("size", [SMALL, (46, 80), (63, 60), (64, 60), USUAL, LARGE])
def test_every_button_and_box_stands_inside_the_window_and_on_no_other(crowd: dict[str, Person], size: Size) -> None:
    """Where the letters are far too large for the window, the host's address may be cut, and nothing else."""
    wrong = {}
    for who, someone in crowd.items():
        address = name_of(someone.chat.header.address)
        someone.focus_composer()
        resize(someone, size)
        for percent in (60, 100, 125, 150, 250):
            zoom_to(someone, percent)
            found = complaints(someone)
            digit = someone.app.looks.digit
            if someone.root.winfo_width() < SMALL[0] * digit or someone.root.winfo_height() < SMALL[1] * digit:
                found = [each for each in found if each != f"{address} stands outside"]
            if found:
                wrong[who, percent] = found
            assert someone.sees_end()
    assert not wrong


@pytest.mark.parametrize("can_encrypt", [True, False])
def test_no_window_is_smaller_than_the_smallest_in_which_no_page_needs_to_scroll(
    person: Open, monkeypatch: pytest.MonkeyPatch, can_encrypt: bool
) -> None:
    monkeypatch.setattr(net, "CAN_ENCRYPT", can_encrypt)
    someone = person("Ann")
    assert someone.root.minsize() == tuple(each * someone.digit for each in SMALL)
    resize(someone, SMALL)
    assert not someone.first_page.scrollbar.winfo_ismapped()
    someone.app.show_join_page()
    settle(someone)
    assert not someone.join_page.scrollbar.winfo_ismapped()


@pytest.mark.parametrize("size", [SMALL, USUAL])
def test_whatever_is_opened_stands_inside_too(crowd: dict[str, Person], size: Size) -> None:
    someone = crowd["host"]
    resize(someone, size)
    someone.focus_composer()
    someone.press("Control-f")
    look_for(someone, "zzz")
    settle(someone)
    assert Words.not_found in someone.everything()
    assert not complaints(someone), "finding"
    someone.press("Escape")
    someone.chat.ask()
    settle(someone)
    assert not [each for each in complaints(someone) if not each.startswith("the log")], "the question"
    someone.press("Escape", "F1")
    settle(someone)
    assert not [each for each in complaints(someone) if "overlap" not in each], "the keys stand in front of the log"
    someone.root.lift()
    assert is_on_top(someone, someone.chat.keys.text)


def test_in_a_narrow_window_the_people_show_on_request(crowd: dict[str, Person]) -> None:
    someone = crowd["host"]
    people, button = someone.chat.people, someone.chat.header.people_button
    resize(someone, SMALL)
    someone.root.lift()
    someone.focus_composer()
    assert not people.list.winfo_ismapped()
    assert button.cget("text") == "People (40)"
    someone.click(button)
    settle(someone)
    assert someone.root.focus_get() is people.list
    for widget in (people.list, people.mute, people.remove, people.pause):
        assert is_inside(widget, someone.root), name_of(widget)
        assert is_on_top(someone, widget), name_of(widget)
    someone.press("Escape")
    settle(someone)
    assert not people.list.winfo_ismapped()
    assert someone.root.focus_get() is someone.box
    someone.click(button)
    resize(someone, USUAL)
    assert people.list.winfo_ismapped()
    assert not button.winfo_ismapped()
    resize(someone, SMALL)
    assert not people.list.winfo_ismapped(), "they do not come back over the composer"


def test_the_question_shows_before_a_second_click_closes_the_room(host: Person, ann: Person) -> None:
    resize(host, NARROW)
    host.root.lift()
    host.click(host.chat.header.leave_button)
    assert is_on_top(host, host.chat.question.text)
    host.click(host.chat.header.people_button)
    assert not is_on_top(host, host.chat.question.text)
    host.click(host.chat.header.leave_button)
    assert is_on_top(host, host.chat.question.text)
    assert is_on_top(host, host.chat.question.no)
    host.click(host.chat.header.leave_button)
    assert host.first_page.message.cget("text") == "You closed Mr Lee's room."
    ann.sees("The host closed the room.")


@pytest.mark.parametrize(("size", "covers"), [(NARROW, "people"), (NARROW, "keys"), (USUAL, "keys")])
def test_the_find_bar_shows_whatever_was_in_front(host: Person, size: Size, covers: str) -> None:
    resize(host, size)
    host.root.lift()
    host.look_here()
    if covers == "people":
        host.click(host.chat.header.people_button)
    else:
        host.press("F1")
    assert is_on_top(host, host.chat.people.list if covers == "people" else host.chat.keys.text)
    host.press("Control-f")
    assert is_on_top(host, host.chat.find_bar.entry)
    assert host.root.focus_get() is host.chat.find_bar.entry


@pytest.mark.parametrize("keyboard", ["button", "finding"])
def test_the_question_counts_the_people_who_are_still_there(host: Person, ann: Person, keyboard: str) -> None:
    feed(host, net.Joined(900, 0.0, 70, "Bob"), net.Joined(901, 0.0, 71, "Cem"))
    host.click(host.chat.header.leave_button)
    assert "Close the room for 3 people?" in host.everything()
    feed(host, net.Left(902, 0.0, 70, "Bob", "left"))
    assert "Close the room for 2 people?" in host.everything()
    feed(host, net.Left(903, 0.0, 71, "Cem", "left"))
    assert Words.close_question_1 in host.everything()
    if keyboard == "finding":
        host.look_here()
        host.press("Control-f")
    else:
        host.focus(host.chat.question.yes)
    before = host.root.focus_get()
    feed(host, net.Left(904, 0.0, ann.chat.welcome.who, "Ann", "left"))
    assert Words.close_question_1 not in host.everything(), "nobody is left to ask for"
    assert host.root.focus_get() is (before if keyboard == "finding" else host.box)


def test_where_only_log_and_composer_have_room_the_menu_has_all_the_rest(
    crowd: dict[str, Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[str] = []
    monkeypatch.setattr(filedialog, "askopenfilenames", answer((), lambda **_: chosen.append("files")))
    someone = crowd["host"]
    page, header = someone.chat, someone.chat.header
    rest: list[tk.Misc] = [header.leave_button, header.people_button, page.send, page.file, page.status]
    someone.root.lift()
    someone.focus_composer()
    resize(someone, SMALL)
    zoom_to(someone, 250)
    assert not [name_of(widget) for widget in (*rest, header.copy) if widget.winfo_ismapped()]
    for widget in (page.log.text, page.composer.hint, header.menu_button):
        assert is_on_top(someone, widget)
    page.say("Something is wrong.", wrong=True)
    someone.sees("Something is wrong.")
    page.say(Words.connected)
    assert not page.status.winfo_ismapped()
    someone.click(header.menu_button)
    someone.choose(Words.copy)
    assert someone.root.clipboard_get() == header.address.cget("text")
    someone.choose(Words.file)
    assert chosen == ["files"]
    someone.choose("People (40)")
    settle(someone)
    assert page.people.list.winfo_ismapped()
    assert page.people.pause.winfo_ismapped()
    someone.press("Escape")
    someone.choose(Words.leave)
    assert "Close the room for 39 people?" in someone.everything()
    someone.press("Escape")
    zoom_to(someone, 100)
    assert all(widget.winfo_ismapped() for widget in rest)
    assert page.log.text.winfo_height() >= 10 * someone.app.looks.text.metrics("linespace")
    someone.click(header.menu_button)
    assert Words.leave not in someone.menu()
    talk(someone)
    assert not complaints(someone)


def test_a_long_title_is_shortened_beside_the_address(crowd: dict[str, Person]) -> None:
    someone = crowd["pupil"]
    resize(someone, SMALL)
    name = str(someone.chat.header.title.cget("text"))
    assert "\u2026" in name
    assert LONG_TITLE.startswith(name.partition("\u2026")[0])
    resize(someone, LARGE)
    assert someone.chat.header.title.cget("text") == LONG_TITLE


@pytest.mark.parametrize("percent", [100, 250])
def test_small_pages_scroll_to_what_gets_the_keyboard(person: Open, percent: int) -> None:
    someone = person("Ann")
    resize(someone, SMALL)
    for page in ("first", "join"):
        if page == "join":
            someone.app.show_join_page()
        someone.look_here()
        zoom_to(someone, percent)
        seen = set()
        for _ in range(12):
            widget = someone.root.focus_get()
            assert widget is not None
            seen.add(str(widget))
            settle(someone)
            assert is_inside(widget, someone.root), name_of(widget)
            someone.press("Tab")
        assert len(seen) >= 3, "Tab goes round"


def test_a_page_that_is_higher_than_the_window_scrolls_with_the_wheel_and_by_a_touchpad(person: Open) -> None:
    """Only Tk 9 has the touchpad's event, and sends it on macOS: here only its meaning is tested."""
    someone = person("Ann")
    page = someone.first_page
    resize(someone, SMALL)
    zoom_to(someone, 250)
    someone.wait(page.scrollbar.winfo_ismapped, "there is something to scroll")
    for delta, moved in ((-120, True), (120, False)):
        for _ in range(20):
            page.name.event_generate("<MouseWheel>", delta=delta)
        someone.settle()
        assert (page.canvas.yview()[0] > 0) is moved
    for across, down, at in ((0, -30, 30), (5, 12, 18), (-5, -2, 20), (-7, 0, 20), (0, 32_000, 0)):
        page.drag(chat_gui.way_down(across << 16 | down & 0xFFFF))
        assert round(page.canvas.canvasy(0)) == at
    page.drag(chat_gui.way_down(-32_000 & 0xFFFF))
    assert page.canvas.yview()[1] == 1.0


def test_all_of_the_reason_can_be_read_in_a_blocked_box(crowd: dict[str, Person]) -> None:
    someone = crowd["pupil"]
    feed(someone, net.Paused(900, 0.0, True))
    box, hint = someone.box, someone.chat.composer.hint
    someone.focus(box)
    for size, percent in ((SMALL, 100), (SMALL, 150), (USUAL, 150), (USUAL, 100), (LARGE, 250)):
        resize(someone, size)
        zoom_to(someone, percent)
        assert hint.winfo_ismapped()
        assert hint.winfo_reqwidth() <= hint.winfo_width(), f"{size}, {percent} %"
        assert hint.winfo_reqheight() <= box.winfo_height(), f"{size}, {percent} %"
    feed(someone, net.Paused(901, 0.0, False))
    zoom_to(someone, 100)
    assert box.cget("height") == 1


# Colours and columns ----------------------------------------------------------


def contrast(one: str, other: str) -> float:
    """As the Web Content Accessibility Guidelines compute it."""

    def light(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, bright = sorted((light(one), light(other)))
    return (bright + 0.05) / (dark + 0.05)


def colour(widget: tk.Misc, name: object) -> str:
    return "#" + "".join(f"{part // 256:02x}" for part in widget.winfo_rgb(str(name)))


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
    for widget in [*shown(someone.root), someone.chat.menu]:
        options = {str(key) for key in widget.keys()}  # noqa: SIM118 - a widget is no dictionary
        for kind in ("", "select", "active"):
            ink, ground = f"{kind}foreground", f"{kind}background"
            if {ink, ground} <= options and not isinstance(widget, ttk.Widget):
                yield f"{name_of(widget)} {ink}", widget.cget(ink), widget.cget(ground)
    for name in ("TButton", "Accent.TButton", "TEntry", "TLabel", "Quiet.TLabel", "Wrong.TLabel", "Treeview"):
        for state in ("", "disabled", "pressed", "active", "focus", "!focus", "selected"):
            for kind in ("", "select"):
                ink, ground = (style.lookup(name, f"{kind}{part}", [state]) for part in ("foreground", "background"))
                yield f"{name} {state} {ink}", ink or chat_gui.INK, ground or chat_gui.PAGE


LIGHT_ON_DARK = {"foreground": "#ffffff", "background": "#202020", "selectForeground": "#ffffff"}


@pytest.fixture
def dark_desktop(monkeypatch: pytest.MonkeyPatch) -> None:
    """X resources as a dark desktop sets them for all old programs."""
    make_root = tk.Tk

    def make_dark(*arguments: Any, **options: Any) -> tk.Tk:
        root = make_root(*arguments, **options)
        for name, colour in LIGHT_ON_DARK.items():
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
        compared = {what: round(contrast(*(colour(host.root, each) for each in two)), 2) for what, *two in pairs(host)}
        assert len(compared) > 50
        assert {what: value for what, value in compared.items() if value < 4.5} == {}


def test_names_are_told_apart_by_more_than_colour(host: Person) -> None:
    """By their letters, also where they are shortened; and by a bold font from the text."""
    names = [LONG_NAME, f"{LONG_NAME} 2", "Ann", "Anna"]
    feed(host, *(said(100 + n, "x", who=2 + n, name=name) for n, name in enumerate(names)))
    drawn = [line.split("\t")[1] for line in host.log().split("\n") if line.endswith("\tx")]
    assert len(set(drawn)) == 4
    tags = {name: host.log_text.tag_names(host.log_text.search(name, "1.0")) for name in drawn}
    assert len(set(tags.values())) == 4, "and by colour"
    for number in range(len(set(chat_gui.NAMES))):
        assert font.Font(host.root, host.log_text.tag_cget(f"name{number}", "font")).actual("weight") == "bold"


def test_all_messages_begin_in_the_same_column_whatever_the_names_are(host: Person) -> None:
    names = [LONG_NAME, "W" * 32, "Al", "\u4e00" * 32, "illlllllllllllllllllll"]
    for size, percent in ((USUAL, 60), (NARROW, 100), (LARGE, 250)):
        resize(host, size)
        zoom_to(host, percent)
        feed(host, *(said(100 + n, f"{size} {n}", who=2 + n, name=name) for n, name in enumerate(names)))
        boxes = [host.log_text.bbox(host.log_text.search(f"{size} {n}", "1.0")) for n in range(len(names))]
        assert len({each[0] for each in boxes if each is not None}) == 1, f"at {size} and {percent} %"
        assert None not in boxes


def test_the_host_is_told_apart_from_a_person_whose_name_looks_the_same(host: Person, ann: Person) -> None:
    for someone in (host, ann):
        feed(someone, said(100, "from the host", 1, "Mr Lee"), said(101, "@Ann from another one", 9, "Mr Lee."))
        feed(someone, shared(102, 1, "Mr Lee"))
        assert someone.tagged("host") == ["Mr Lee", "Mr Lee"]
        tags = ("host", "mention", "found", "found now", "chosen")
        grounds = [str(someone.log_text.tag_cget(tag, "background")) for tag in tags]
        assert grounds[0] not in ("", *grounds[1:])
    feed(ann, ann.welcome(room="another", host=9), said(100, "x", 1, "Bob"), said(101, "x", 9, "Mr Ray"))
    assert ann.tagged("host")[-1] == "Mr Ray", "in a room of another program the host may have any number"


# By keyboard alone ------------------------------------------------------------


def tab_round(someone: Person, key: str) -> list[tk.Misc]:
    """What gets the keyboard, one after the other, from the composer until it has it again."""
    someone.focus_composer()
    found: list[tk.Misc] = []
    for _ in range(40):
        someone.press(key)
        widget = someone.root.focus_get()
        assert widget is not None
        found.append(widget)
        if widget is someone.box:
            return found
    raise AssertionError(f"the composer is not reached again: {[name_of(widget) for widget in found]}")


@pytest.mark.parametrize("size", [SMALL, USUAL])
def test_tab_reaches_every_part_of_the_window_and_shift_tab_goes_back(host: Person, ann: Person, size: Size) -> None:
    for someone in (host, ann):
        talk(someone)
        resize(someone, size)
        forwards = tab_round(someone, "Tab")
        wanted = {w for w in shown(someone.root) if isinstance(w, (ttk.Button, ttk.Entry, tk.Text, ttk.Treeview))}
        disabled = {w for w in wanted if isinstance(w, ttk.Button) and w.instate(["disabled"])}
        assert set(forwards) == wanted - disabled
        assert tab_round(someone, "Shift-Tab")[:-1] == forwards[-2::-1]


@on_x11
def test_whatever_has_the_keyboard_shows_it(host: Person) -> None:
    for widget in (host.log_text, host.box, host.chat.people.list):
        card = widget.master
        assert isinstance(card, tk.Frame)
        host.focus(widget)
        assert card.cget("highlightbackground") == chat_gui.ACCENT
        host.focus(host.chat.send)
        assert card.cget("highlightbackground") == chat_gui.LINE
    style = host.app.looks.style
    for name in ("TButton", "TEntry"):
        assert style.lookup(name, "bordercolor", ["focus"]) != style.lookup(name, "bordercolor")


def test_up_in_an_empty_box_brings_back_the_last_message(host: Person) -> None:
    host.press("Up")
    assert host.typed() == ""
    host.say("one")
    host.paste("if x:\n    print")
    host.press("Return", "Up")
    assert host.typed() == "if x:\n    print"
    host.press("Up", "Up")
    assert host.typed() == "if x:\n    print", "then it moves in the text as usual"


def test_escape_gives_the_keyboard_back_to_the_composer(host: Person) -> None:
    chat = host.chat
    ways: list[Callable[[], None]] = [lambda: host.press("Control-f"), lambda: host.press("F1")]
    ways += [lambda: host.focus(host.log_text), lambda: host.focus(chat.people.list), lambda: host.focus(chat.send)]
    for go_elsewhere in ways:
        go_elsewhere()
        assert host.root.focus_get() is not host.box
        host.press("Escape")
        assert host.root.focus_get() is host.box
        assert not chat.find_bar.frame.winfo_ismapped()
        assert not chat.keys.text.winfo_ismapped()


@pytest.mark.parametrize("text", ["hello", "x" * (net.MAX_TEXT + 1)], ids=["sent", "too long"])
def test_after_send_the_composer_has_the_keyboard(host: Person, text: str) -> None:
    for way in ("click", "Return"):
        host.look_here()
        host.box.delete("1.0", "end")
        host.paste(text)
        host.focus(host.chat.send)  # as a real click does, and Tab
        host.click(host.chat.send) if way == "click" else host.press(way)
        assert host.root.focus_get() is host.box
        host.press("BackSpace", "x")
        assert host.typed() == ("x" if text == "hello" else text)


def test_after_copy_the_composer_has_the_keyboard(host: Person) -> None:
    resize(host, NARROW)
    host.look_here()
    host.click(host.chat.header.people_button)
    host.click(host.chat.header.menu_button)
    host.choose(Words.copy)
    assert host.root.focus_get() is host.box
    assert not host.chat.people.list.winfo_ismapped(), "it would cover the composer"


@not_on_mac
def test_typing_and_pasting_in_the_log_go_to_the_composer(host: Person) -> None:
    talk(host)
    before = host.log()
    host.type("wrong")
    host.box.tag_add("sel", "1.0", "end-1c")
    host.focus(host.log_text)
    host.type("Hi.")
    assert host.typed() == "Hi.", "it replaces what is selected"
    assert host.root.focus_get() is host.box
    host.fill_clipboard(" pasted")
    press_in(host, host.log_text, "Control-v")
    assert host.typed() == "Hi. pasted"
    assert host.root.focus_get() is host.box
    assert host.log() == before
    host.type("\n" * (chat_gui.COMPOSER_LINES + 3))
    host.box.see("1.0")
    press_in(host, host.log_text, "y")
    assert host.box.bbox("insert") is not None, "it scrolls there"


def test_keys_without_a_letter_and_a_blocked_box_take_nothing_that_is_typed_in_the_log(host: Person) -> None:
    keys = ["Control-k", "Tab", "Escape", "Delete", "F5", "Left", "BackSpace"]
    keys += [] if sys.platform == "win32" else ["Mod1-x"]  # there Mod1 is Num Lock
    for key in keys:
        press_in(host, host.log_text, key)
    assert host.typed() == ""
    feed(host, net.Muted(True))
    press_in(host, host.log_text, "x", "Control-v")
    assert host.root.focus_get() is host.log_text
    feed(host, net.Muted(False))
    assert host.typed() == ""


@pytest.mark.parametrize("way", ["click", "key", "scroll", "scroll elsewhere"])
def test_the_button_to_the_newest_messages_gives_its_keyboard_to_the_composer(host: Person, way: str) -> None:
    talk(host, 200)
    host.scroll("10.0")
    feed(host, said(1000, "new"))
    jump = host.chat.log.jump
    host.wait(jump.winfo_ismapped, "the button is there")
    host.focus(host.log_text if way == "scroll elsewhere" else jump)
    if way == "click":
        host.click(jump)
    elif way == "key":
        host.press("Return")
    else:
        drag_scrollbar_to_end(host)
    host.wait(lambda: not jump.winfo_ismapped(), "the button has gone")
    host.settle()
    assert host.sees_end()
    assert host.root.focus_get() is (host.log_text if way == "scroll elsewhere" else host.box)


def chosen(someone: Person) -> str:
    message = someone.chat.log.chosen()
    return "" if message is None else message.text


def test_up_and_down_choose_a_message_in_the_log(host: Person) -> None:
    feed(host, said(100, "one"), said(101, "two\nlines"), said(102, "three"))
    host.focus(host.log_text)
    assert chosen(host) == ""
    wanted = ["three", "two\nlines", "one", "two\nlines", "three", "three"]
    for key, text in zip(["Up", "Up", "Up", "Down", "Down", "Down"], wanted, strict=True):
        host.press(key)
        assert chosen(host) == text
    host.press("Up")
    assert host.tagged("chosen")[0].endswith("two\nlines\n")
    host.press("Escape", "x")
    press_in(host, host.log_text, "Up")
    assert chosen(host) == "one", "it goes on where it was"
    feed_lines(host, 200)
    press_in(host, host.log_text, *["Down"] * 60)
    assert host.log_text.bbox("chosen.first") is not None, "it is scrolled to"
    feed(host, said(1000, "new"))
    assert host.log_text.bbox("chosen.first") is not None, "and stays there"


def test_enter_opens_the_link_of_the_chosen_message(host: Person, pages: list[str]) -> None:
    feed(host, said(100, "see http://example.org/one please"), said(101, "no link"))
    host.focus(host.log_text)
    host.press("Return", "Up", "Return", "KP_Enter")
    assert pages == []
    host.press("Up", "Return")
    until(lambda: len(pages) == 1, "the page opens")
    host.press("KP_Enter")
    until(lambda: pages == ["http://example.org/one"] * 2, "the page opens")


@pytest.mark.parametrize("key", ["Menu", "Shift-F10"])
def test_the_menu_key_shows_the_actions_of_the_chosen_message(
    ann: Person, key: str, unposted: list[tuple[int, int]]
) -> None:
    feed(ann, shared(100), said(101, "after"))
    press_in(ann, ann.log_text, key)
    assert ann.menu() == [Words.menu_save_chat]
    ann.press("Up", "Up", key)
    assert ann.menu() == [Words.copy_message, Words.save, Words.menu_save_chat]
    x, y, right, bottom = box(ann.log_text)
    assert x <= unposted[-1][0] <= right
    assert y <= unposted[-1][1] <= bottom
    ann.choose(Words.copy_message)
    assert ann.root.clipboard_get() == "shared map.png (5 bytes)"


def test_every_command_of_the_menu_has_a_key_or_is_a_button(host: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    press_in(host, host.chat.header.menu_button, "Return")
    assert host.menu()[0] == Words.pause
    for number, words in enumerate(host.menu()[1:], start=1):
        key = str(host.chat.menu.entrycget(number, "accelerator")).strip()
        assert re.fullmatch(r"Ctrl ?[+\-]?\w?|F\d+", key), words
    asked: list[str] = []
    for dialog in ("asksaveasfilename", "askopenfilenames"):
        monkeypatch.setattr(filedialog, dialog, answer("", lambda **options: asked.append(options["title"])))
    host.choose(Words.find)
    assert host.chat.find_bar.frame.winfo_ismapped()
    host.choose(Words.menu_save_chat)
    host.focus_composer()
    host.press("Control-o")
    assert asked == [Words.save_chat, Words.choose_files]
    assert host.typed() == "", "Tk's own Control-o would make a new line"
    host.choose(Words.menu_larger)
    assert host.app.looks.percent == 110
    host.choose(Words.menu_smaller)
    assert host.app.looks.percent == 100
    host.choose(Words.menu_keys)
    assert host.chat.keys.text.winfo_ismapped()


def test_f1_shows_the_keys_and_hides_them_and_tab_leads_away(host: Person) -> None:
    text = host.chat.keys.text
    host.press("F1")
    settle(host)
    for keys, words in Words.keys:
        assert f"{keys}\t{words}" in host.everything()
    assert host.root.focus_get() is text
    host.press("F1")
    assert not text.winfo_ismapped()
    assert host.root.focus_get() is host.box
    for key, neighbour in (("Tab", text.tk_focusNext), ("Shift-Tab", text.tk_focusPrev)):
        host.press("F1")
        settle(host)
        wanted = neighbour()
        host.press(key)
        assert host.root.focus_get() is wanted is not text
        host.press("Escape")


def test_on_a_mac_the_keys_have_the_names_they_have_there(person: Open) -> None:
    someone = person("Ann")
    someone.app.looks.is_mac = True
    someone.host()
    someone.press("F1")
    settle(someone)
    assert "Command+F" in someone.everything()
    assert "Ctrl" not in someone.everything()
    someone.click(someone.chat.header.menu_button)
    assert str(someone.chat.menu.entrycget(someone.menu().index(Words.find), "accelerator")).strip() == "Command+F"


@pytest.mark.parametrize("size", [SMALL, USUAL])
def test_the_keys_can_be_read_in_every_size_also_when_it_changes_meanwhile(host: Person, size: Size) -> None:
    resize(host, LARGE)
    host.press("F1")
    resize(host, size)
    text = host.chat.keys.text
    for percent in (100, 200):
        zoom_to(host, percent)
        start = text.search(Words.keys[0][1], "1.0")
        text.see("1.0")
        host.root.update()
        column, keys_end = text.bbox(start), text.bbox(f"{start} -2c")
        assert column is not None
        assert column[0] + 10 * host.app.looks.digit <= text.winfo_width(), f"room for its words at {percent} %"
        assert keys_end is not None
        assert keys_end[0] + keys_end[2] <= column[0] or keys_end[1] < column[1]


@not_on_mac
def test_control_y_redoes_what_control_z_undid(host: Person) -> None:
    host.fill_clipboard("pasted")
    host.type("one")
    host.box.edit_separator()
    host.type("two")
    host.press("Control-z")
    assert host.typed() == "one"
    host.press("Control-y", "Control-y")
    assert host.typed() == "onetwo", "there is nothing more to redo, and it pastes nothing"


@not_on_mac
def test_control_backspace_deletes_the_word_before_the_cursor(host: Person, person: Open) -> None:
    words = {"one two": "one ", "one two  ": "one ", "one, ": "one", "one\ntwo": "one\n", "one\n": "one", "": ""}
    words["Gr\u00fc\u00dfe \u4f60\u597d"] = "Gr\u00fc\u00dfe "  # the last one
    host.look_here()
    for before, after in words.items():
        host.box.delete("1.0", "end")
        host.box.insert("1.0", f"{before}|rest")
        host.box.mark_set("insert", f"1.0 +{len(before)}c")
        host.press("Control-BackSpace")
        assert host.typed() == f"{after}|rest"
    feed(host, net.Muted(True))
    press_in(host, host.box, "Control-BackSpace")
    press_in(host, host.log_text, "Control-BackSpace")
    assert host.typed() == "Gr\u00fc\u00dfe |rest", "a blocked box stays as it is"
    assert "You are in" in host.log()
    someone = person("Ann of Cleves")
    someone.look_here()
    someone.first_page.name.selection_clear()
    someone.first_page.name.icursor("end")
    someone.press("Control-BackSpace")
    assert someone.first_page.name.get() == "Ann of "


LATIN_LETTERS = {
    "linux": [("Cyrillic_es", 54, "c"), ("Greek_psi", 54, "c"), ("hebrew_bet", 54, "c"), ("c", 31, "")],
    "win32": [("Cyrillic_es", ord("C"), "c"), ("??", ord("V"), "v"), ("c", ord("C"), ""), ("Left", 0x25, "")],
    "darwin": [("Cyrillic_es", 54, "")],
}


@pytest.mark.parametrize("system", LATIN_LETTERS)
def test_the_place_of_a_key_counts_where_its_letter_is_not_latin(monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    """With real keys: test_everywhere.py."""
    monkeypatch.setattr(sys, "platform", system)
    for keysym, keycode, letter in LATIN_LETTERS[system]:
        event: tk.Event[tk.Misc] = tk.Event()
        event.keysym, event.keycode = keysym, keycode
        assert chat_gui.latin_letter(event) == letter


def test_control_and_a_key_of_another_layout_do_what_its_latin_letter_does(
    host: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.type("text")
    for letter, typed in (("a", "text"), ("x", ""), ("v", "text"), ("z", ""), ("f", "")):
        monkeypatch.setattr(chat_gui, "latin_letter", lambda _, letter=letter: letter)
        host.press("Control-j")
        assert host.typed().strip() == typed
    assert host.root.focus_get() is host.chat.find_bar.entry


def test_f11_fills_the_screen_and_gives_it_back(host: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    state = [0]

    def attributes(name: str, *value: int) -> int:
        assert name == "-fullscreen"
        state.extend(value)
        return state[-1]

    monkeypatch.setattr(host.root, "attributes", attributes)  # without a window manager nothing would happen
    host.press("F11", "F11")
    assert state == [0, 1, 0]


def test_the_keys_of_a_room_do_nothing_outside(person: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filedialog, "askopenfilenames", lambda **_: pytest.fail("nothing is chosen here"))
    monkeypatch.setattr(filedialog, "asksaveasfilename", lambda **_: pytest.fail("nothing is saved here"))
    someone = person("Ann")
    before = someone.everything()
    someone.press("Control-f", "Control-s", "Control-o", "F1", "Escape")
    assert someone.everything() == before


# Finding ----------------------------------------------------------------------


def look_for(someone: Person, text: str) -> None:
    for letter in text:
        someone.type(letter)
        someone.press(f"KeyRelease-{letter}")


def find(someone: Person, text: str, key: str = "Return") -> None:
    someone.press("Control-f")
    someone.chat.find_bar.entry.delete(0, "end")
    someone.chat.find_bar.entry.insert(0, text)
    someone.press(key)


def found(someone: Person) -> list[int]:
    """The lines in which something is marked; the present one negative."""
    log = someone.log_text
    now = {str(index).split(".")[0] for index in log.tag_ranges("found now")}
    lines = [str(index).split(".")[0] for index in log.tag_ranges("found")[::2]]
    return [-int(line) if line in now else int(line) for line in lines]


def test_what_is_typed_is_found_at_once_the_newest_first(host: Person) -> None:
    feed(host, *(said(100 + n, text) for n, text in enumerate(["Apple", "pear", "an apple", "APPLE pie"])))
    a, b, c = (int(host.log_text.search(text, "1.0").split(".")[0]) for text in ("Apple", "an apple", "APPLE pie"))
    host.press("Control-f")
    look_for(host, "app")
    assert found(host) == [a, b, -c]
    look_for(host, "le")
    assert found(host) == [a, b, -c]
    host.press("Return", "KeyRelease-Return")
    assert found(host) == [a, -b, c]
    host.press("KP_Enter", "KeyRelease-KP_Enter")
    assert found(host) == [-a, b, c]
    host.press("Return")
    assert found(host) == [a, b, -c], "round the top"
    host.press("Shift-Return")
    assert found(host) == [-a, b, c], "round the end"
    host.press("Shift-KP_Enter")
    assert found(host) == [a, -b, c]
    feed(host, said(200, "one more apple"))
    host.press("Return")
    assert found(host)[0] == -a
    assert len(found(host)) == 4
    look_for(host, "s")
    assert found(host) == []
    assert Words.not_found in host.everything()
    host.press("BackSpace", "KeyRelease-BackSpace")
    assert len(found(host)) == 4
    assert Words.not_found not in host.everything()
    host.press("Escape")
    assert found(host) == []


def test_of_very_many_places_the_newest_are_found(host: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a pupil who sends one letter a thousand times could hold up everyone who looks for it."""
    monkeypatch.setattr(chat_gui, "MOST_FOUND", 4)
    feed(host, said(100, "qq"), said(101, "qqqq"))
    log = host.log_text
    start = log.search("qqqq", "1.0")
    host.press("Control-f")
    look_for(host, "q")
    assert log.index("found now.first") == log.index(f"{start}+3c")
    feed(host, said(102, "qq"))
    host.press("Return")
    marked = [log.index(index) for index in log.tag_ranges("found")]
    assert marked == [log.index(f"{start}{place}") for place in ("+2c", "+4c", "+1l", "+1l+2c")]


def test_the_place_that_was_found_is_scrolled_to_and_stays_there(host: Person) -> None:
    feed(host, said(99, "needle"))
    feed_lines(host, 300, "hay")
    find(host, "needle", "Shift-Return")
    assert host.log_text.bbox("found now.first") is not None
    feed(host, said(900, "more hay"))
    host.settle()
    assert host.log_text.bbox("found now.first") is not None


def test_signs_and_letters_beside_emoji_are_found_as_they_are(host: Person) -> None:
    """Tk 8.6's own search ends the whole program where it ignores the case of an emoji."""
    feed(host, said(100, "abc"), said(101, "-nocase [x a.c $x { \\"))
    feed(host, said(102, "a\U0001f600\U0001f600 b\u00c9T\u00e9 bOB"))
    for wanted in ("-nocase", "[x", "a.c", "$x", "{", "\\", "bob", "\U0001f600 b", "\U0001f600", "\u00e9t\u00c9"):
        find(host, wanted)
        (at,) = host.tagged("found now")
        assert at.casefold() == wanted.casefold()


def test_the_arrows_of_the_find_bar_go_both_ways_and_close_closes(host: Person) -> None:
    feed(host, *(said(100 + n, "apple") for n in range(3)))
    find(host, "apple", "Shift-Return")
    buttons = {str(w.cget("text")): w for w in shown(host.chat.find_bar.frame) if isinstance(w, ttk.Button)}
    newest = found(host)
    assert newest[-1] < 0, "whichever way it goes, it begins at the end"
    host.click(buttons["\u2191"])
    assert found(host)[1] < 0
    host.click(buttons["\u2193"])
    assert found(host) == newest
    host.click(buttons[Words.close])
    assert found(host) == []
    assert not host.chat.find_bar.frame.winfo_ismapped()
    host.press("Control-f")
    assert host.chat.find_bar.entry.selection_present(), "typing replaces it"


def test_a_deleted_message_is_not_found(host: Person) -> None:
    feed(host, said(100, "secret"), net.TakenBack(101, 0.0, 100))
    find(host, "secret")
    assert Words.not_found in host.everything()
    find(host, "")
    assert Words.not_found not in host.everything()


# Links ------------------------------------------------------------------------


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the browser was asked to show."""
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", answer(True, opened.append))
    return opened


def test_a_click_on_a_web_address_opens_it_and_one_beside_it_nothing(host: Person, pages: list[str]) -> None:
    text = "ftp://a.org (http://a.org/1?b=c&d#e) or\nHTTPS://a.org/2, and more"
    feed(host, said(100, text), said(101, "http://a.org/3"))
    assert text in host.log()
    host.click(host.log_text, *host.point("and more"))
    host.settle(0.05)
    assert pages == []
    assert not [thread for thread in threading.enumerate() if thread.name == "browser opened"]
    links = ["http://a.org/1?b=c&d#e", "HTTPS://a.org/2", "http://a.org/3"]
    assert host.tagged("link") == links
    for number, link in enumerate(links, 1):
        host.click_link(link)
        until(lambda number=number: pages == links[:number], "the page opens")  # type: ignore[misc]


def test_a_link_that_is_clicked_several_times_quickly_opens_once(host: Person, pages: list[str]) -> None:
    feed(host, said(100, "http://example.org/1"))
    x, y = host.point("http://example.org/1")
    host.log_text.event_generate("<Motion>", x=x, y=y)
    for milliseconds in (1_000, 1_100, 1_200, 5_000):
        host.log_text.event_generate("<ButtonPress-1>", x=x, y=y, time=milliseconds)
        host.log_text.event_generate("<ButtonRelease-1>", x=x, y=y, time=milliseconds + 50)
    until(lambda: len(pages) >= 2, "it opens at the first click and at the last")
    host.settle(0.05)
    assert pages == ["http://example.org/1"] * 2


def test_the_word_at_the_end_of_a_message_is_told_from_its_links(host: Person, pages: list[str]) -> None:
    feed(host, net.Sending(9, "http://example.org/1"), net.Rejected(9, "muted", ""))
    host.click_link("http://example.org/1")
    until(lambda: pages == ["http://example.org/1"], "the page opens")
    host.click_link(Words.write_again)
    assert host.typed() == "http://example.org/1"
    assert len(pages) == 1


@pytest.mark.parametrize(("word", "tag"), [("http://a", "link"), ("@Mr Lee", "mention")])
def test_a_message_full_of_links_or_mentions_has_only_some_of_them_marked(host: Person, word: str, tag: str) -> None:
    """With many marked pieces on a line Tk takes seconds to draw it."""
    for number, between in enumerate([" ", "\n", " x\n"], 1):
        text = f"{word}{between}" * (net.MAX_TEXT_LINES - 1)
        feed(host, said(100, text))
        assert text.rstrip() in host.log()
        assert host.tagged(tag) == [word] * chat_gui.MOST_MARKED * number


# The edit menu ----------------------------------------------------------------

EDIT = [Words.cut, Words.copy, Words.paste, Words.select_all]


def edit_menu(someone: Person, widget: tk.Misc, way: str = "mouse") -> list[str]:
    someone.look_here()
    if way == "mouse":
        someone.right_click(widget, 3, 3)
    else:
        press_in(someone, widget, way)
    return someone.menu()


def select_all(someone: Person, widget: tk.Misc) -> None:
    """With the command of the edit menu."""
    assert Words.select_all in edit_menu(someone, widget)
    someone.choose(Words.select_all)


@not_on_mac
def test_control_a_selects_all_of_what_is_typed(host: Person, person: Open) -> None:
    host.type("wrong\nall of it")
    host.press("Control-a")
    host.type("right")
    assert host.typed() == "right"
    someone = person("Ann")
    press_in(someone, someone.first_page.name, "Control-a", "Key-B", "Key-o", "Key-b")
    assert someone.first_page.name.get() == "Bob"


def test_a_person_who_knows_only_the_menu_cuts_copies_and_pastes_in_every_box(host: Person) -> None:
    host.press("Control-f")
    entry = host.chat.find_bar.entry
    boxes: list[tuple[tk.Misc, str]] = [(host.box, "mouse"), (entry, "Menu"), (host.box, "Shift-F10")]
    for widget, way in boxes:
        assert edit_menu(host, widget, way) == [Words.paste, Words.select_all], "there is nothing to copy"
        host.focus(widget)
        host.type("good")
        for words in (Words.copy, Words.cut):
            select_all(host, widget)
            assert edit_menu(host, widget, way) == EDIT
            host.root.clipboard_clear()
            host.choose(words)
            assert host.root.clipboard_get().strip() == "good", "in a text Tk selects the last newline too"
        assert edit_menu(host, widget, way) == [Words.paste, Words.select_all], "it was cut"
        host.choose(Words.paste)
        assert "good" in host.everything()
        assert host.root.focus_get() is widget
        select_all(host, widget)
        host.press("BackSpace")


def test_a_password_is_copied_only_while_it_shows(person: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "CAN_ENCRYPT", True)
    someone = person("Ann")
    password = someone.first_page.password
    password.set("secret")
    select_all(someone, password.entry)
    assert edit_menu(someone, password.entry) == [Words.paste, Words.select_all]
    someone.click(password.button)
    assert edit_menu(someone, password.entry) == EDIT


def test_a_blocked_box_can_only_be_copied_and_the_hint_is_not_in_the_way(host: Person) -> None:
    hint = host.chat.composer.hint
    assert edit_menu(host, hint) == [Words.paste, Words.select_all]
    assert host.root.focus_get() is host.box
    host.type("draft")
    feed(host, net.Muted(True))
    select_all(host, host.box)
    assert edit_menu(host, host.box) == [Words.copy, Words.select_all]
    host.choose(Words.copy)
    assert host.root.clipboard_get().strip() == "draft"


def test_text_that_is_pasted_by_mouse_is_looked_for_at_once(host: Person) -> None:
    feed(host, said(100, "needle"))
    host.press("Control-f")
    host.fill_clipboard("needle")
    edit_menu(host, host.chat.find_bar.entry)
    host.choose(Words.paste)
    assert len(found(host)) == 1


# The middle button ------------------------------------------------------------


def middle_click(someone: Person, widget: tk.Misc, x: int = 5, y: int = 5) -> None:
    for event in ("<ButtonPress-2>", "<ButtonRelease-2>"):
        widget.event_generate(event, x=x, y=y)
    someone.root.update()


def select_somewhere(someone: Person, text: str) -> None:
    """In a window of another kind, as X11's other clipboard has it."""
    other = tk.Text(tk.Toplevel(someone.root))
    other.insert("1.0", text)
    other.tag_add("sel", "1.0", "end-1c")


@on_x11
def test_the_middle_button_pastes_no_more_than_the_clipboard_does(host: Person) -> None:
    """A megabyte on one line would freeze the window for a minute."""
    select_somewhere(host, "x\n" * chat_gui.MAX_PASTE)
    middle_click(host, host.box)
    assert len(host.typed()) == chat_gui.MAX_PASTE


@on_x11
def test_the_middle_button_pastes_at_the_mouse_what_can_be_sent(host: Person) -> None:
    host.type("ab")
    host.box.tag_add("sel", "1.0", "1.1")
    select_somewhere(host, "1\x07\t2")
    x, y, _, height = host.box.bbox("1.1") or (0, 0, 0, 0)
    middle_click(host, host.box, x, y + height // 2)
    assert host.typed() == "a1\t2b", "the selected letter stays"
    assert host.root.focus_lastfor() is host.box
    feed(host, net.Muted(True))
    middle_click(host, host.box, x, y + height // 2)
    assert host.typed() == "a1\t2b", "a blocked box takes nothing"


@on_x11
def test_the_middle_button_copies_messages_as_the_clipboard_does(host: Person) -> None:
    now, texts = time.time(), ["hi\n03:47 Mr Lee: no", "x" * 9_000]
    feed(host, *(net.Said(100 + n, now, 9, "Bob", n, text) for n, text in enumerate(texts)))
    host.log_text.tag_add("sel", host.log_text.search("hi", "1.0"), "end")
    middle_click(host, host.chat.composer.hint)
    then = chat_gui.clock(now)
    assert host.typed() == f"{then} Bob: hi\n    03:47 Mr Lee: no\n{then} Bob: {'x' * 9_000}"


# Copying ----------------------------------------------------------------------


def test_whole_messages_are_copied_clean_and_with_the_original_text(host: Person) -> None:
    original = "\U0001f600" * 100 + "x" * 1500
    gone = net.Said(103, 0.0, 9, "Bob", 5, "", taken_back=True)
    first, second = said(100, "two\n  lines"), said(101, original, name=LONG_NAME)
    feed(host, first, second, shared(102), gone, net.Sending(9, "on its way"))
    press_in(host, host.log_text, "Control-a", "Control-c")
    then = chat_gui.clock(0.0)
    assert host.root.clipboard_get().split("\n")[-5:] == [
        f"{chat_gui.clock(first.time)} Bob: two",
        "      lines",
        f"{chat_gui.clock(second.time)} {LONG_NAME}: {original}",
        f"{then} Bob: shared map.png (5 bytes)",
        f"{then} Bob: {Words.deleted}",
    ]


def test_a_selection_within_a_message_is_copied_alone_and_a_longer_one_as_messages(host: Person) -> None:
    now, log = time.time(), host.log_text
    texts = ["apple pie", "pear", "two\nlines"]
    feed(host, *(net.Said(100 + n, now, 9, "Bob", n, text) for n, text in enumerate(texts)))
    apple, pear, two = (f"{chat_gui.clock(now)} Bob: {text}" for text in ("apple pie", "pear", "two\n    lines"))
    line = log.index(f"{log.search('apple', '1.0')} linestart")
    selections = [
        (log.search("apple", "1.0"), log.search("pie", "1.0"), "apple "),
        (log.search("apple", "1.0"), f"{log.search('pear', '1.0')} +1c", f"{apple}\n{pear}"),
        (log.search("pie", "1.0"), f"{log.search('lines', '1.0')} +1c", f"{apple}\n{pear}\n{two}"),
        (log.search("two", "1.0"), log.search("nes", "1.0"), "two\nli"),
        (log.search("lines", "1.0"), log.search("nes", "1.0"), "li"),
        (log.search("You are", "1.0"), f"{log.search('You are', '1.0')} +7c", "You are"),  # in a note
        (line, f"{line} lineend", apple),  # with its time
        (line, f"{line} +1l", apple),
    ]
    for start, end, copied in selections:
        log.tag_remove("sel", "1.0", "end")
        log.tag_add("sel", start, end)
        host.right_click(log, 5, 5)
        host.choose(Words.copy_selected)
        assert host.root.clipboard_get() == copied


def test_a_selection_within_a_message_is_copied_as_it_was_written(host: Person) -> None:
    """Also where it had to be drawn in another way; test_transcript.py has more of these."""
    text = "if x:\n\tprint() \U0001f600 @Mr Lee: http://example.org/a_(b) " + "\u4e00" * 300 + "a\u200be\u0301\u0301fx"
    feed(host, said(100, text), said(101, "after"))
    log = host.log_text
    start = log.search("if x", "1.0")
    end = f"{log.search('fx', start)} +2c"
    for first, last, wanted in ((start, end, text), (f"{start} +1c", f"{end} -1c", text[1:-1])):
        log.tag_remove("sel", "1.0", "end")
        log.tag_add("sel", first, last)
        log.event_generate("<<Copy>>")
        assert host.root.clipboard_get() == wanted


def test_copying_nothing_leaves_the_clipboard_alone(host: Person) -> None:
    talk(host)
    host.fill_clipboard("mine")
    press_in(host, host.log_text, "Control-c")
    assert host.root.clipboard_get() == "mine"
    assert Words.copy_selected not in host.message_menu("hi!")


# Saving the chat --------------------------------------------------------------


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the chat is saved."""
    path = tmp_path / "chat.txt"
    monkeypatch.setattr(filedialog, "asksaveasfilename", lambda **_: str(path))
    return path


def save(someone: Person, path: Path) -> list[str]:
    """The lines of the file, without their times."""
    before = someone.log().count("chat.txt was saved")
    someone.focus_composer()
    someone.press("Control-s")
    someone.wait(lambda: someone.log().count("chat.txt was saved") > before, "it is told")
    return [line.rpartition("  ")[2] for line in path.read_text(encoding="utf-8").split("\n")]


def test_the_chat_is_saved_as_each_person_saw_it(host: Person, ann: Person, target: Path) -> None:
    for someone in (host, ann):
        feed(someone, said(101, "Gr\u00fc\u00dfe \u4f60 \U0001f600"), said(102, "silly"), net.TakenBack(103, 0.0, 102))
        feed(someone, shared(104, size=2_100_000), shared(105), net.TakenBack(106, 0.0, 105))
        lines = save(someone, target)
        assert lines[:2] == ["Mr Lee's room", ""]
        assert f"You are in Mr Lee's room as {someone.app.name}." in lines
        assert ("Ann joined" in lines) == (someone is host)
        deleted = [f"Bob: {Words.deleted}"] * 2
        if someone is host:
            deleted = [f"Bob (deleted by the host): {text}" for text in ("silly", "shared map.png (5 bytes)")]
        saved = ["Bob: Gr\u00fc\u00dfe \u4f60 \U0001f600", deleted[0], "Bob: shared map.png (2.1 MB)", deleted[1], ""]
        assert lines[-5:] == saved


@pytest.mark.usefixtures("short_log")
def test_the_saved_chat_has_also_what_the_log_no_longer_shows(host: Person, target: Path) -> None:
    feed_lines(host, 200)
    assert [line for line in save(host, target) if "line" in line] == [f"Bob: line {n}" for n in range(200)]
    assert "line 0\n" not in host.log()


def test_a_chat_that_cannot_be_saved_is_reported(host: Person, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    host.press("Control-s")
    host.sees(Words.chat_not_saved.format(reason=os.strerror(errno.ENOSPC)))
    for path in (target.parent / "none" / "chat.txt", target.parent):
        monkeypatch.setattr(filedialog, "asksaveasfilename", lambda path=path, **_: str(path))
        before = host.log().count("The chat could not be saved.")
        host.press("Control-s")
        host.wait(lambda before=before: host.log().count("The chat could not be saved.") > before, "it is told")  # type: ignore[misc]
    assert list(target.parent.iterdir()) == []


def test_the_chooser_offers_room_and_day_as_a_name_and_nothing_is_saved_without_an_answer(
    host: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, object]] = []
    monkeypatch.setattr(filedialog, "asksaveasfilename", answer("", lambda **options: asked.append(options)))
    monkeypatch.setattr(chat_gui, "save_text", lambda *_: pytest.fail("nothing is to be saved"))
    feed(host, host.welcome(room="another", title="a/b: c?"))
    day, strftime = time.strptime("2026-11-23", "%Y-%m-%d"), time.strftime
    monkeypatch.setattr(time, "strftime", lambda form, *_: strftime(form, day))  # today may end in the middle of this
    host.press("Control-s")
    assert asked[0]["initialfile"] == "b_ c_ 2026-11-23.txt"
    assert asked[0]["title"] == Words.save_chat
    host.app.leave_room()


@pytest.mark.parametrize("way", ["left", "closed", "over"])
def test_a_chooser_may_outlive_the_page_or_the_window(
    host: Person, ann: Person, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    """The dialog is modal, but what the network brings goes on behind it."""
    (tmp_path / "a.txt").write_text("a")

    def end(**_: object) -> None:
        if way == "left":
            ann.app.leave("")
        elif way == "closed":
            ann.app.close()
        else:
            host.app.leave_room()
            ann.wait(lambda: ann.chat.stage is chat_gui.Stage.OVER, "the room is over")

    monkeypatch.setattr(filedialog, "asksaveasfilename", answer(str(tmp_path / "chat.txt"), end))
    monkeypatch.setattr(filedialog, "askopenfilenames", answer((str(tmp_path / "a.txt"),), end))
    page = ann.chat
    page.save_chat()
    until((tmp_path / "chat.txt").exists, "it was asked for, so it is saved")
    page.share(str(tmp_path / "a.txt"))  # as after the other chooser
    if way != "closed":
        ann.settle(0.05)


@on_x11
@pytest.mark.parametrize("way", ["left", "closed", "cancelled"])
def test_a_real_chooser_may_outlive_the_page_or_the_window(ann: Person, way: str) -> None:
    app, ended = ann.app, []
    cancel = f"{ann.chat.frame}.__tk_filedialog.contents.f2.cancel"

    def end() -> None:
        if way == "left":
            app.leave("")
        elif way == "closed":
            app.close()
        else:
            app.root.tk.call(cancel, "invoke")
        ended.append(way)

    app.root.after(50, end)
    ann.press("Control-s")
    until(lambda: ended, "it has ended")
    if way == "cancelled":
        zoom_to(ann, 110)


def test_work_that_was_started_on_a_page_that_is_gone_shows_no_error(
    host: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tk would show a window of its own for it."""
    monkeypatch.setattr(chat_gui, "COPIED_TIME", 100)
    host.root.tk.eval("set problems {}; proc bgerror text {lappend ::problems $text}")
    host.click(host.chat.header.copy)
    tell_scrolled(host.chat.log, 0.0, 0.5)
    host.app.leave("")
    host.settle(0.2)
    assert host.root.tk.eval("set problems") == ""


# Words ------------------------------------------------------------------------


NO_SENTENCES = {"found now", "found now.first", "found now.last", "insert linestart"}  # Tk's indices and tags


def sentences(tree: ast.AST) -> Iterator[str]:
    """Words that are shown, and constants with two words; without docstrings, the log and the names of threads."""
    for node in ast.iter_child_nodes(tree):
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_log = isinstance(node, ast.Call) and ast.unparse(node.func).startswith("log.")
        option = node.arg if isinstance(node, ast.keyword) else ""
        if is_docstring or is_log or option == "name":
            continue
        pattern = "[a-z]{2,}" if option in ("text", "label", "title") else r"[a-z]{2,}[,.:]? [a-z]{2,}"
        for part in (node, getattr(node, "value", None)):
            if isinstance(part, ast.Constant) and re.search(pattern, str(part.value)):
                yield str(part.value)
        yield from sentences(node)


def test_every_sentence_that_people_read_in_the_window_stands_in_the_table_of_words() -> None:
    tree = ast.parse((TOP / "chat_gui.py").read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    others = ("Words", "Stage", "Parser")  # the table; never shown; the command line
    found = {text for each in classes if each.name not in others for text in sentences(each)}
    assert found - NO_SENTENCES == set()


def test_no_word_of_the_table_is_unused() -> None:
    source = (TOP / "chat_gui.py").read_text(encoding="utf-8")
    names = [name for name in vars(Words) if not name.startswith("_")]
    assert [name for name in names if f"Words.{name}" not in source] == []
