"""The window in use: on a projector, in every size, by keyboard alone; finding, copying, links, and saving the chat."""

from __future__ import annotations

import ast
import errno
import os
import queue
import re
import shutil
import subprocess
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
from tests.helpers import LIMIT, Display, until
from tests.test_window import ann, everybody_sees, feed, host, port, said  # noqa: F401 - fixtures
from tests.windows import Open, Person

Words = chat_gui.Words
Size = tuple[int, int]  # widths of a digit at 100 %
pytestmark = pytest.mark.usefixtures("unposted")


def answer(value: Any, *actions: Callable[..., object]) -> Callable[..., Any]:
    """A function that does this, with what it is given, and returns the value."""

    def do(*given: object, **options: object) -> Any:
        for action in actions:
            action(*given, **options)
        return value

    return do


SMALL, USUAL, LARGE = chat_gui.SMALLEST, (95, 62), (400, 220)
LONG_TITLE = "Everything about networks, and quite a lot of what is beyond"
LESSON = [
    (1, "Mr Lee", "Good morning! Today we find out what a network does with a message."),
    (2, "Ann", "hi!"),
    (4, "Maximiliana Featherstonehaugh", "good morning\nwith two lines"),
    (1, "Mr Lee", "First comes the address, then the port: a building, and a door in it."),
]


def talk(someone: Person, lines: int = 4) -> None:
    feed(someone, *(said(100 + n, LESSON[n % 4][2], *LESSON[n % 4][:2]) for n in range(lines)))


def resize(someone: Person, size: Size) -> None:
    width, height = (each * someone.digit for each in size)
    someone.root.geometry(f"{width}x{height}")
    someone.wait(
        lambda: (someone.root.winfo_width(), someone.root.winfo_height()) == (width, height), f"the window is {size}"
    )
    settle(someone)


def zoom_to(someone: Person, percent: int) -> None:
    """By the keys that people use."""
    someone.focus_composer()
    someone.press("Control-0")
    place = chat_gui.ZOOMS.index(percent) - chat_gui.ZOOMS.index(100)
    someone.press(*["Control-plus" if place > 0 else "Control-minus"] * abs(place))
    assert someone.app.looks.percent == percent
    settle(someone)


def settle(someone: Person) -> None:
    """Until a layout has no more consequences."""
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


def complaints(someone: Person) -> list[str]:
    """What does not stand where it can be seen and used as a whole."""
    found = []
    widgets = [w for w in shown(someone.root) if not isinstance(w, (ttk_frames, tk.Menu))]
    for widget in widgets:
        x, y, right, bottom = box(widget)
        left, top, most_right, most_bottom = box(someone.root)
        if x < left or y < top or right > most_right or bottom > most_bottom:
            found.append(f"{name_of(widget)} stands outside")
        if right - x <= 1 or bottom - y <= 1:
            found.append(f"{name_of(widget)} is not to be seen")
        if "wraplength" in widget.keys() and int(str(widget.cget("wraplength")) or 0) < 0:  # noqa: SIM118 - no dictionary
            found.append(f"{name_of(widget)} wraps at less than nothing, which Tk 9.1 does not take")
        if widget.winfo_class() == "TButton" and right - x < widget.winfo_reqwidth():
            found.append(f"{name_of(widget)} is cut")
        if widget.winfo_class() in ("TButton", "TLabel") and bottom - y < widget.winfo_reqheight():
            found.append(f"{name_of(widget)} is cut below")
    found += overlaps(someone.root)
    if someone.chat.log.text.winfo_height() < 2 * someone.app.looks.text.metrics("linespace"):
        found.append(f"the log shows less than two lines, {someone.chat.log.text.winfo_height()} px")
    return found


ttk_frames = (ttk.Frame, tk.Frame)


def overlaps(parent: tk.Misc) -> list[str]:
    """Which children of the same parent stand over one another; one that is placed does so on purpose."""
    found = []
    children = [c for c in parent.winfo_children() if c.winfo_ismapped() and c.winfo_manager() != "place"]
    for number, one in enumerate(children):
        found += overlaps(one)
        for other in children[number + 1 :]:
            a, b = box(one), box(other)
            if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]:
                found.append(f"{name_of(one)} and {name_of(other)} overlap")
    return found


def at_end(someone: Person) -> bool:
    return someone.chat.log.text.bbox("end-2c") is not None


# Zoom -------------------------------------------------------------------------


def sizes(someone: Person) -> dict[str, object]:
    """All fonts, and the places and sizes of all widgets."""
    found: dict[str, object] = {}
    for widget in shown(someone.root):
        found[str(widget)] = widget.winfo_geometry()
    looks = someone.app.looks
    log = someone.chat.log.text
    tags = {tag: (str(log.tag_cget(tag, "lmargin2")), str(log.tag_cget(tag, "spacing1"))) for tag in log.tag_names()}
    tags["tabs"] = (str(log.cget("tabs")), "")
    return {**found, "tags": tags, "digit": looks.digit, "row": looks.style.lookup("Treeview", "rowheight")}


def test_zooming_back_and_forth_twenty_times_changes_nothing(host: Person) -> None:  # noqa: F811
    talk(host)
    resize(host, USUAL)
    first = sizes(host)
    for _ in range(20):
        host.press("Control-plus")
    assert host.app.looks.percent == 250
    for _ in range(20):
        host.press("Control-minus")
    assert host.app.looks.percent == 60
    host.press("Control-0")
    settle(host)
    assert sizes(host) == first


@pytest.mark.parametrize(
    ("larger", "smaller", "same"),
    [("Control-plus", "Control-minus", "Control-0"), ("Control-equal", "Control-KP_Subtract", "Control-Key-0")],
)
@pytest.mark.skipif(sys.platform == "darwin", reason="there it is Command")
def test_the_keys_zoom_the_fonts_and_distances_stay(host: Person, larger: str, smaller: str, same: str) -> None:  # noqa: F811
    looks = host.app.looks
    usual = {name: int(each.actual("size")) for name, each in fonts(host).items()}
    digit, gap, pad = looks.digit, looks.gap, padding(host)
    host.press(larger, larger)
    assert looks.percent == 125
    assert all(int(each.actual("size")) > usual[name] for name, each in fonts(host).items())
    assert looks.digit > digit
    assert (looks.gap, padding(host)) == (gap, pad)
    host.press(smaller, smaller, smaller)
    assert looks.percent == 90
    assert all(int(each.actual("size")) < usual[name] for name, each in fonts(host).items())
    host.press(same)
    assert looks.percent == 100
    assert {name: int(each.actual("size")) for name, each in fonts(host).items()} == usual


def padding(someone: Person) -> int:
    return int(float(str(someone.chat.frame.cget("padding")[0])))


def fonts(someone: Person) -> dict[str, font.Font]:
    looks = someone.app.looks
    named = ("TkTextFont", "TkDefaultFont", "TkMenuFont")
    return {
        **{name: getattr(looks, name) for name in ("text", "base", "bold", "italic", "small", "large")},
        **{name: font.nametofont(name, someone.root) for name in named},
    }


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="there the wheel has no buttons")
@pytest.mark.parametrize("place", ["log", "people", "composer", "button", "page"])
def test_control_and_the_wheel_zoom_one_step_and_scroll_nothing(host: Person, place: str) -> None:  # noqa: F811
    talk(host, 100)
    feed(host, *(net.Joined(900 + n, 0.0, 70 + n, f"Pupil {n:02}") for n in range(39)))
    chat = host.chat
    places: dict[str, tk.Misc] = {
        "log": chat.log.text,
        "people": chat.people.list,
        "composer": chat.composer.text,
        "button": chat.send,
        "page": chat.frame,
    }
    for number, percent in ((4, 110), (4, 125), (5, 110), (5, 100), (5, 90)):
        places[place].event_generate(f"<Control-Button-{number}>")
        host.root.update()
        assert host.app.looks.percent == percent
    assert at_end(host)
    assert chat.people.list.yview()[0] == 0.0


def test_a_wheel_that_tells_its_way_zooms_too(host: Person) -> None:  # noqa: F811
    held = "Command" if sys.platform == "darwin" else "Control"
    for delta, percent in ((120, 110), (120, 125), (-120, 110), (-1, 100), (-240, 90)):
        host.chat.log.text.event_generate(f"<{held}-MouseWheel>", delta=delta)
        host.root.update()
        assert host.app.looks.percent == percent


def test_a_page_that_is_made_at_another_zoom_follows_too(host: Person, person: Open) -> None:  # noqa: F811
    someone = person("Mr Lee")
    someone.root.update()
    someone.press(*["Control-plus"] * 5)
    assert someone.app.looks.percent == 200
    someone.host()
    someone.press("Control-0")
    settle(someone)
    usual, same = sizes(host), sizes(someone)
    assert {name: usual[name] for name in ("tags", "digit", "row")} == {
        name: same[name] for name in ("tags", "digit", "row")
    }


def test_every_entry_shows_its_text_in_its_middle_after_each_zoom(
    person: Open, monkeypatch: pytest.MonkeyPatch, finders: list[object]  # noqa: ARG001
) -> None:
    """Tk's own entries keep the layout of their text until it changes."""
    monkeypatch.setattr(net, "CAN_ENCRYPT", True)
    someone = person("Gg")
    pages: list[Callable[[], object]] = [lambda: None, someone.app.show_join_page, someone.host]
    for go_there in pages:
        go_there()
        if isinstance(someone.app.page, chat_gui.ChatPage):
            someone.press("Control-f")
        settle(someone)
        entries = [widget for widget in shown(someone.root) if isinstance(widget, ttk.Entry)]
        assert entries
        for entry in entries:
            entry.insert(0, "Gg")
        for key in ("Control-0", *["Control-plus"] * 5, *["Control-minus"] * 9, "Control-0"):
            someone.root.event_generate(f"<{key}>")
            settle(someone)
            line = someone.app.looks.text.metrics("linespace")
            for entry in entries:
                _, y, _, height = entry.bbox(0)
                assert height == line, f"{name_of(entry)} at {someone.app.looks.percent} %"
                assert abs(y + height / 2 - entry.winfo_height() / 2) <= 1, "in the middle"
                assert entry.winfo_height() >= line


def test_what_was_put_away_stays_away_when_it_zooms(host: Person) -> None:  # noqa: F811
    host.press("Control-f", "Control-plus", "Escape", "Control-plus")
    settle(host)
    assert not host.chat.find_bar.frame.winfo_ismapped()
    assert host.root.focus_get() is host.chat.composer.text


def test_the_rows_of_the_join_page_grow_with_their_letters(person: Open, finders: list[object]) -> None:  # noqa: ARG001
    someone = person("Ann")
    someone.app.show_join_page()
    someone.look_here()
    rooms = someone.join_page.list
    for percent in (60, 100, 250):
        someone.press("Control-0")
        place = chat_gui.ZOOMS.index(percent) - chat_gui.ZOOMS.index(100)
        someone.press(*["Control-plus" if place > 0 else "Control-minus"] * abs(place))
        row = int(someone.app.looks.style.lookup("Treeview", "rowheight"))
        assert row >= someone.app.looks.text.metrics("linespace")
        assert int(rooms.column("people", "width")) >= someone.app.looks.text.measure("400 people")


# The log, whatever size -------------------------------------------------------


def test_the_log_follows_its_end_through_every_size_and_zoom(host: Person) -> None:  # noqa: F811
    talk(host, 200)
    number = 1000
    for size in (USUAL, (78, 100), (55, 60), (133, 88), SMALL):
        resize(host, size)
        host.wait(lambda: at_end(host), f"the end is seen at {size}")
        for percent in (150, 60, 125):
            zoom_to(host, percent)
            host.wait(lambda: at_end(host), f"the end is seen at {size} and {percent} %")
            number += 1
            feed(host, said(number, f"new {number}"))
            assert at_end(host), f"a new line is seen at {size} and {percent} %"
    assert not host.chat.log.jump.winfo_ismapped()


def tell_scrolled(log: chat_gui.Log, first: float, last: float) -> None:
    """As Tk does, when another part of the log shows."""
    tk_of_it = log.text.tk
    tk_of_it.call(*tk_of_it.splitlist(log.text.cget("yscrollcommand")), first, last)


def test_lines_that_go_from_above_are_no_scrolling_up(host: Person, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Tk may say so while it does not yet know how high the lines are."""
    monkeypatch.setattr(chat_gui, "LOG_LINES", 50)
    monkeypatch.setattr(chat_gui, "LOG_SLACK", 10)
    log = host.chat.log
    talk(host, 40)

    def add(lines: int) -> None:
        for number in range(lines):
            log.add(chat_gui.Message(0.0, f"more {number}", 9, "Bob"))
        log.flush()

    def remove_the_first() -> None:
        first = log.message_at("1.0")
        assert first is not None
        log.remove(first)

    changes: list[Callable[[], None]] = [remove_the_first, lambda: add(40)]
    for change in changes:
        change()
        tell_scrolled(log, 0.5, 0.99)
        add(1)
        host.settle()
        assert at_end(host)


WAYS_UP: dict[str, Callable[[Person], object]] = {
    "wheel": lambda someone: wheel(someone, 1),
    "page": lambda someone: press_in(someone, someone.chat.log.text, "Prior"),
    "home": lambda someone: press_in(someone, someone.chat.log.text, "Control-Home"),
    "page in the composer": lambda someone: press_in(someone, someone.chat.composer.text, "Prior"),
    "scrollbar": lambda someone: someone.chat.log.scroll("moveto", 0.5),
    "finding": lambda someone: someone.chat.log.find("line 3", backwards=True),
    "dragging out of the log": lambda someone: drag_out(someone, -1),
}
WAYS_DOWN: dict[str, Callable[[Person], object]] = {
    "wheel": lambda someone: wheel(someone, -60),
    "pages": lambda someone: press_in(someone, someone.chat.log.text, *["Next"] * 30),
    "end": lambda someone: press_in(someone, someone.chat.log.text, "Control-End"),
    "scrollbar": lambda someone: someone.chat.log.scroll("moveto", 1.0),
    "saying something": lambda someone: someone.say("me"),
}


def wheel(someone: Person, up: int) -> None:
    """So many steps."""
    log = someone.chat.log.text
    for _ in range(abs(up)):
        if tk.TkVersion < 9 and someone.app.looks.is_x11:
            log.event_generate(f"<ButtonPress-{4 if up > 0 else 5}>")
        else:
            log.event_generate("<MouseWheel>", delta=120 if up > 0 else -120)
        someone.root.update()


def press_in(someone: Person, widget: tk.Misc, *keys: str) -> None:
    widget.focus_force()
    someone.press(*keys)


def drag_out(someone: Person, way: int) -> None:
    """The mouse selects, and rests outside: Tk scrolls there again and again until it comes back."""
    log = someone.chat.log.text
    y = -20 if way < 0 else log.winfo_height() + 20
    top = log.index("@0,0")
    log.event_generate("<ButtonPress-1>", x=50, y=50)
    log.event_generate("<B1-Leave>", x=50, y=y, state=0x100)
    someone.wait(lambda: log.index("@0,0") != top, "it scrolls")
    someone.settle()
    log.event_generate("<B1-Enter>", x=50, y=50, state=0x100)
    log.event_generate("<ButtonRelease-1>", x=50, y=50)


@pytest.mark.parametrize("way", WAYS_UP)
def test_a_reader_who_scrolls_up_in_any_way_stays_there(host: Person, way: str) -> None:  # noqa: F811
    feed(host, *(said(100 + n, f"line {n}") for n in range(300)))
    host.settle()
    WAYS_UP[way](host)
    host.wait(lambda: not host.chat.log.follows, "the log stays there")
    top = host.chat.log.text.index("@0,0")
    feed(host, *(said(500 + n, f"new {n}") for n in range(20)))
    host.settle(0.1)
    assert host.chat.log.text.index("@0,0") == top
    assert host.chat.log.jump.winfo_ismapped()
    assert "20 new" in host.everything()


@pytest.mark.parametrize("way", WAYS_DOWN)
def test_a_reader_who_comes_to_the_end_in_any_way_follows_it_again(host: Person, way: str) -> None:  # noqa: F811
    feed(host, *(said(100 + n, f"line {n}") for n in range(300)))
    host.scroll("scroll", -40, "units")
    feed(host, said(500, "new"))
    WAYS_DOWN[way](host)
    host.wait(lambda: host.chat.log.follows, "the log follows its end")
    assert not host.chat.log.jump.winfo_ismapped()
    feed(host, *(said(600 + n, f"newer {n}") for n in range(20)))
    host.settle()
    assert at_end(host)


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="there the wheel has no buttons")
def test_zooming_with_the_wheel_over_the_log_is_no_scrolling_up(host: Person) -> None:  # noqa: F811
    feed(host, *(said(100 + n, f"{n} " + "a word and more words " * (n % 9)) for n in range(300)))
    for button in (4, 4, 4, 5, 5, 5, 5, 5, 5, 4) * 3:
        host.chat.log.text.event_generate(f"<Control-Button-{button}>")
        settle(host)
        assert host.chat.log.follows


def test_zooming_by_keys_in_the_log_is_no_scrolling_up(host: Person) -> None:  # noqa: F811
    feed(host, *(said(100 + n, f"{n} " + "a word and more words " * (n % 9)) for n in range(300)))
    host.chat.log.text.focus_force()
    for key in ("plus", "plus", "minus", "minus", "minus", "0", "plus"):
        host.press(f"Control-{key}")
        settle(host)
        assert host.chat.log.follows
        assert at_end(host)


@pytest.mark.parametrize("change", ["font", "size"])
def test_a_move_after_a_new_font_or_size_is_not_the_readers(host: Person, change: str) -> None:  # noqa: F811
    """Also when a key was pressed just before. Tk moves the log while it does not yet know how high the lines are."""
    resize(host, USUAL)
    talk(host, 200)
    log = host.chat.log
    log.text.focus_force()
    host.press("Shift_L")
    log.fit(is_narrow=False) if change == "font" else resize(host, (95, 70))
    tell_scrolled(log, 0.5, 0.99)
    host.settle()
    assert log.follows
    assert at_end(host)


def top_line(someone: Person) -> str:
    log = someone.chat.log.text
    return str(log.get("@0,0 linestart", "@0,0 lineend"))


def test_the_log_stays_at_what_the_reader_reads_through_every_size_and_zoom(host: Person) -> None:  # noqa: F811
    resize(host, USUAL)
    feed(host, *(said(100 + n, f"line {n}") for n in range(300)))
    host.scroll("150.0")
    top = top_line(host)
    assert "line 1" in top
    changes: tuple[int | Size, ...] = (150, (66, 60), 60, (133, 88), 100)
    for number, change in enumerate(changes):
        zoom_to(host, change) if isinstance(change, int) else resize(host, change)
        feed(host, said(1000 + number, f"new {number}"))
        assert top_line(host) == top, f"after {change}"
    assert f"{5} new" in host.everything()


def test_the_log_stays_at_what_the_reader_reads_while_lines_pour_in_and_old_ones_go(
    host: Person, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    monkeypatch.setattr(chat_gui, "LOG_LINES", 100)
    monkeypatch.setattr(chat_gui, "LOG_SLACK", 20)
    feed(host, *(said(100 + n, f"line {n}") for n in range(100)))
    host.scroll("95.0 -20 lines")
    top = top_line(host)
    feed(host, *(said(300 + n, f"more {n}") for n in range(60)))
    assert top_line(host) == top
    assert "line 0\n" in host.log(), "nothing is taken away from under the reader yet"
    feed(host, *(said(400 + n, f"even more {n}") for n in range(70)))
    assert "line 0\n" not in host.log(), "there is an end to it"
    assert len(host.log().split("\n")) <= 2 * 100 + 20
    feed(host, *(said(500 + n, f"and more {n}") for n in range(50)))
    host.click(host.chat.log.jump)
    feed(host, said(600, "newest"))
    assert at_end(host)
    assert len(host.log().split("\n")) <= 120


def drawn(log: chat_gui.Log) -> list[chat_gui.Message]:
    lines = range(1, int(log.text.index("end-1c").split(".")[0]) + 1)
    found = [log.message_at(f"{line}.0") for line in lines]
    return [message for number, message in enumerate(found) if message is not None and message not in found[:number]]


def test_what_is_taken_away_takes_its_links_with_it(host: Person, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(chat_gui, "LOG_LINES", 50)
    monkeypatch.setattr(chat_gui, "LOG_SLACK", 10)
    log = host.chat.log
    feed(host, said(99, "http://example.org and more"))
    tags = log.text.tag_names()
    feed(host, *(said(100 + n, f"http://example.org/{n} and more") for n in range(200)))
    assert log.text.tag_names() == tags, "with many tags Tk is slow"
    assert len(log.text.tag_ranges("link")) <= 2 * 61
    assert [message.text for message in drawn(log)] == [line.split("\t")[2] for line in host.log().split("\n")]


# Layout -----------------------------------------------------------------------

@pytest.fixture
def crowd(host: Person, ann: Person) -> dict[str, Person]:  # noqa: F811
    """A host and a pupil with forty people in a room with a long title, and a lesson in the log."""
    for someone in (host, ann):
        own = someone.chat.welcome.who
        people = {1: "Mr Lee", own: someone.app.name, **{99 - n: f"Pupil {n:02}" for n in range(39)}}
        people = dict([*people.items()][:40])
        feed(someone, someone.welcome(room="another", title=LONG_TITLE, people=tuple(people.items())))
        talk(someone, 20)
    return {"host": host, "pupil": ann}


def is_large_enough(someone: Person) -> bool:
    """As large as the smallest window at 100 %, in widths of a digit as it is now."""
    digit = someone.app.looks.digit
    size = someone.root.winfo_width() / digit, someone.root.winfo_height() / digit
    return size[0] >= SMALL[0] and size[1] >= SMALL[1]


@pytest.mark.parametrize("who", ["host", "pupil"])
@pytest.mark.parametrize("size", [SMALL, (46, 80), (63, 60), (64, 60), USUAL, (133, 88), LARGE])
def test_every_button_and_box_stands_inside_the_window_and_on_none_other(
    crowd: dict[str, Person], who: str, size: Size
) -> None:
    """Where the letters are far too large for the window, the host's address may be cut, and nothing else."""
    someone = crowd[who]
    address = name_of(someone.chat.header.address)
    wrong = {}
    resize(someone, size)
    for percent in (60, 80, 100, 125, 150, 200, 250):
        zoom_to(someone, percent)
        found = complaints(someone)
        if not is_large_enough(someone):
            found = [each for each in found if each != f"{address} stands outside"]
        if found:
            wrong[percent] = found
        assert at_end(someone)
    assert not wrong


@pytest.mark.parametrize("who", ["host", "pupil"])
def test_in_the_smallest_window_everything_shows_at_100_percent(crowd: dict[str, Person], who: str) -> None:
    someone = crowd[who]
    resize(someone, SMALL)
    page = someone.chat
    parts: list[tk.Misc] = [page.header.menu_button, page.header.leave_button, page.header.people_button]
    parts += [page.header.address, page.log.text, page.composer.text, page.send, page.file, page.status]
    assert all(part.winfo_ismapped() for part in parts)
    assert not complaints(someone)
    assert page.log.text.winfo_height() >= 10 * someone.app.looks.text.metrics("linespace")


def test_no_window_is_smaller_than_the_smallest(person: Open) -> None:
    someone = person("Ann")
    width, height = (each * someone.digit for each in SMALL)
    assert someone.root.minsize() == (width, height)


@pytest.mark.parametrize("can_encrypt", [True, False])
def test_in_the_smallest_window_no_page_needs_to_scroll_at_100_percent(
    person: Open, monkeypatch: pytest.MonkeyPatch, finders: list[object], can_encrypt: bool  # noqa: ARG001
) -> None:
    monkeypatch.setattr(net, "CAN_ENCRYPT", can_encrypt)
    someone = person("Ann")
    resize(someone, SMALL)
    assert not someone.first_page.scrollbar.winfo_ismapped()
    someone.app.show_join_page()
    settle(someone)
    assert not someone.join_page.scrollbar.winfo_ismapped()


@pytest.mark.parametrize("size", [SMALL, USUAL, LARGE])
def test_what_is_opened_stands_inside_too(crowd: dict[str, Person], size: Size) -> None:
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
    someone.press("Escape")
    someone.press("F1")
    settle(someone)
    assert not [each for each in complaints(someone) if "overlap" not in each], "the keys stand in front of the log"
    someone.root.lift()
    someone.root.update()
    x, y, right, bottom = box(someone.chat.log.text)
    assert someone.root.winfo_containing((x + right) // 2, (y + bottom) // 2) is someone.chat.keys.text


def test_in_a_narrow_window_the_people_come_when_they_are_asked_for(crowd: dict[str, Person]) -> None:
    someone = crowd["host"]
    resize(someone, SMALL)
    someone.root.lift()
    someone.focus_composer()
    assert not someone.chat.people.list.winfo_ismapped()
    assert someone.chat.header.people_button.cget("text") == "People (40)"
    someone.click(someone.chat.header.people_button)
    settle(someone)
    assert someone.root.focus_get() is someone.chat.people.list
    people = someone.chat.people
    for widget in (people.list, people.mute, people.remove, people.pause):
        x, y, right, bottom = box(widget)
        assert box(someone.root)[0] <= x < right <= box(someone.root)[2]
        assert box(someone.root)[1] <= y < bottom <= box(someone.root)[3]
        on_top = someone.root.winfo_containing((x + right) // 2, (y + bottom) // 2)
        assert on_top is widget, f"{name_of(widget)} is covered"
    someone.press("Escape")
    settle(someone)
    assert not someone.chat.people.list.winfo_ismapped()
    assert someone.root.focus_get() is someone.chat.composer.text
    resize(someone, USUAL)
    assert someone.chat.people.list.winfo_ismapped()
    assert not someone.chat.header.people_button.winfo_ismapped()


def is_on_top(someone: Person, widget: tk.Misc) -> bool:
    """In its middle it is seen, and nothing in front of it."""
    settle(someone)
    x, y, right, bottom = box(widget)
    return widget.winfo_ismapped() and someone.root.winfo_containing((x + right) // 2, (y + bottom) // 2) is widget


NARROW = (60, 70)


@pytest.mark.parametrize("people", ["before", "meanwhile"])
def test_the_question_is_seen_before_a_second_click_closes_the_room(host: Person, ann: Person, people: str) -> None:  # noqa: F811
    resize(host, NARROW)
    host.root.lift()
    if people == "meanwhile":
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
def test_finding_is_seen_whatever_was_in_front(host: Person, size: Size, covers: str) -> None:  # noqa: F811
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


def test_the_people_do_not_come_back_by_themselves_over_what_is_written(host: Person) -> None:  # noqa: F811
    resize(host, NARROW)
    host.root.lift()
    host.click(host.chat.header.people_button)
    assert is_on_top(host, host.chat.people.list)
    resize(host, USUAL)
    host.focus_composer()
    host.type("half")
    resize(host, NARROW)
    assert is_on_top(host, host.chat.composer.text)
    assert not host.chat.people.list.winfo_ismapped()
    host.click(host.chat.header.people_button)
    assert is_on_top(host, host.chat.people.list), "one click is enough"


@pytest.mark.parametrize("keyboard", ["button", "finding"])
def test_the_question_counts_those_who_are_still_there(host: Person, ann: Person, keyboard: str) -> None:  # noqa: F811
    feed(host, net.Joined(900, 0.0, 70, "Bob"), net.Joined(901, 0.0, 71, "Cem"))
    host.click(host.chat.header.leave_button)
    assert "Close the room for 3 people?" in host.everything()
    feed(host, net.Left(902, 0.0, 70, "Bob", "left"))
    assert "Close the room for 2 people?" in host.everything()
    feed(host, net.Left(903, 0.0, 71, "Cem", "left"))
    assert Words.close_question_1 in host.everything()
    host.look_here()
    if keyboard == "finding":
        host.press("Control-f")
    else:
        host.chat.question.yes.focus_force()
        host.root.update()
    before = host.root.focus_get()
    feed(host, net.Left(904, 0.0, ann.chat.welcome.who, "Ann", "left"))
    assert Words.close_question_1 not in host.everything(), "nobody is left to ask for"
    assert host.root.focus_get() is (before if keyboard == "finding" else host.chat.composer.text)


def test_where_only_log_and_composer_have_room_the_menu_has_all_the_rest(
    crowd: dict[str, Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[str] = []
    monkeypatch.setattr(filedialog, "askopenfilenames", answer((), lambda **_: chosen.append("files")))
    someone = crowd["host"]
    someone.root.lift()
    resize(someone, SMALL)
    zoom_to(someone, 250)
    page, header = someone.chat, someone.chat.header
    for widget in (header.leave_button, page.send, page.file, header.people_button, header.copy, page.status):
        assert not widget.winfo_ismapped()
    assert is_on_top(someone, page.log.text)
    assert is_on_top(someone, page.composer.hint)
    assert is_on_top(someone, header.menu_button)
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
    for widget in (header.leave_button, page.send, page.file, header.people_button, page.status):
        assert widget.winfo_ismapped()
    someone.click(header.menu_button)
    assert Words.leave not in someone.menu()
    talk(someone)
    assert not complaints(someone)


def test_a_long_title_is_shortened_beside_the_address(crowd: dict[str, Person]) -> None:
    someone = crowd["pupil"]
    resize(someone, USUAL)
    resize(someone, SMALL)
    name = str(someone.chat.header.title.cget("text"))
    assert "\u2026" in name
    assert LONG_TITLE.startswith(name.partition("\u2026")[0])
    resize(someone, LARGE)
    assert someone.chat.header.title.cget("text") == LONG_TITLE


@pytest.mark.parametrize("percent", [60, 100, 200, 250])
def test_small_pages_scroll_to_what_gets_the_keyboard(person: Open, percent: int, finders: list[object]) -> None:  # noqa: ARG001
    someone = person("Ann")
    resize(someone, SMALL)
    for page in ("first", "join"):
        if page == "join":
            someone.app.show_join_page()
        someone.look_here()
        someone.press("Control-0")
        steps = chat_gui.ZOOMS.index(percent) - chat_gui.ZOOMS.index(100)
        someone.press(*["Control-plus" if steps > 0 else "Control-minus"] * abs(steps))
        settle(someone)
        seen = set()
        for _ in range(12):
            widget = someone.root.focus_get()
            assert widget is not None
            seen.add(str(widget))
            settle(someone)
            x, y, right, bottom = box(widget)
            left, top, most_right, most_bottom = box(someone.root)
            assert left <= x < right <= most_right, name_of(widget)
            assert top <= y < bottom <= most_bottom, name_of(widget)
            someone.press("Tab")
        assert len(seen) >= 3, "round it goes"


def test_all_of_the_reason_is_read_in_a_box_that_is_blocked(crowd: dict[str, Person]) -> None:
    someone = crowd["pupil"]
    feed(someone, net.Paused(900, 0.0, True))
    for size, percent in ((SMALL, 100), (SMALL, 150), ((72, 60), 100), (USUAL, 150), (USUAL, 100), (LARGE, 250)):
        resize(someone, size)
        zoom_to(someone, percent)
        hint = someone.chat.composer.hint
        assert hint.winfo_ismapped()
        assert hint.winfo_reqwidth() <= hint.winfo_width(), f"{size}, {percent} %"
        assert hint.winfo_reqheight() <= someone.chat.composer.text.winfo_height(), f"{size}, {percent} %"
    feed(someone, net.Paused(901, 0.0, False))
    resize(someone, SMALL)
    assert someone.chat.composer.text.cget("height") == 1


# Colours ----------------------------------------------------------------------


def contrast(one: str, other: str) -> float:
    """As the Web Content Accessibility Guidelines compute it."""

    def light(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    lights = sorted((light(one), light(other)))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def colour(widget: tk.Misc, name: object) -> str:
    return "#" + "".join(f"{part // 256:02x}" for part in widget.winfo_rgb(str(name)))


def pairs(someone: Person) -> Iterator[tuple[str, str, str]]:
    """What it is, its text's colour, its background: of the log's tags, the styles and the other widgets."""
    log = someone.chat.log.text
    inks = {tag: str(log.tag_cget(tag, "foreground")) for tag in log.tag_names()}
    grounds = {tag: str(log.tag_cget(tag, "background")) for tag in log.tag_names()}
    order = {tag: place for place, tag in enumerate(log.tag_names())}  # the last decides
    for ground, background in {**grounds, "": str(log.cget("background"))}.items():
        for ink, foreground in {**inks, "": str(log.cget("foreground"))}.items():
            own = inks.get(ground) if order.get(ground, -1) > order.get(ink, -1) else ""
            if background:
                text = own or foreground or str(log.cget("foreground"))
                yield f"{ink or 'text'} on {ground or 'the log'}", colour(log, text), colour(log, background)
    yield "selected", colour(log, log.cget("selectforeground")), colour(log, log.cget("inactiveselectbackground"))
    for widget in shown(someone.root):
        options = {str(key) for key in widget.keys()}  # noqa: SIM118 - a widget is no dictionary
        for ink, ground in (("foreground", "background"), ("selectforeground", "selectbackground")):
            if {ink, ground} <= options and not isinstance(widget, ttk.Widget):
                yield f"{name_of(widget)} {ink}", colour(widget, widget.cget(ink)), colour(widget, widget.cget(ground))
    style = someone.app.looks.style
    states: list[list[str]] = [[], ["disabled"], ["pressed"], ["active"], ["focus"], ["selected"]]
    for name in ("TButton", "Accent.TButton", "TEntry", "TLabel", "Quiet.TLabel", "Wrong.TLabel", "Treeview"):
        for state in states:
            ground = "fieldbackground" if name == "TEntry" else "background"
            ink_of, ground_of = (style.lookup(name, option, state) for option in ("foreground", ground))
            # lookup gives "" for what is nowhere set: Tk draws that in the colours of "."
            ink_of, ground_of = ink_of or style.lookup(".", "foreground"), ground_of or style.lookup(".", "background")
            yield f"{name} {state}", colour(someone.root, ink_of), colour(someone.root, ground_of)


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


@pytest.mark.usefixtures("dark_desktop")
@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="X11 alone has such resources")
def test_on_a_dark_desktop_everything_can_be_read(person: Open) -> None:
    someone = person("Mr Lee")
    someone.host()
    talk(someone)
    someone.press("Control-f")
    weak = {what: round(contrast(*two), 2) for what, *two in pairs(someone)}
    assert {what: value for what, value in weak.items() if value < 4.5} == {}
    menu = someone.chat.menu
    for ink, ground in (("foreground", "background"), ("activeforeground", "activebackground")):
        assert contrast(colour(menu, menu.cget(ink)), colour(menu, menu.cget(ground))) >= 4.5


@pytest.mark.usefixtures("dark_desktop")
@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="there the dialog is the system's")
def test_on_a_dark_desktop_the_names_of_files_can_be_read(
    person: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "map.png").touch()
    someone = person("Mr Lee")
    someone.host()
    monkeypatch.setattr(chat_gui, "home_folder", lambda *_: str(tmp_path))
    root, dialog = someone.root, f"{someone.chat.frame}.__tk_filedialog.contents"
    canvas = f"{dialog}.icons.cHull.canvas"
    seen: list[tuple[str, str, str]] = []

    def look() -> None:
        for item in root.tk.splitlist(root.tk.call(canvas, "find", "all")):
            if root.tk.call(canvas, "type", item) == "text":
                text, fill = (str(root.tk.call(canvas, "itemcget", item, option)) for option in ("-text", "-fill"))
                seen.append((text, colour(root, fill), colour(root, root.tk.call(canvas, "cget", "-background"))))
        root.tk.call(f"{dialog}.f2.cancel", "invoke")

    root.after(50, look)
    someone.press("Control-o")
    assert [text for text, *_ in seen] == ["map.png"]
    assert contrast(seen[0][1], seen[0][2]) >= 4.5


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="there the styles are the system's")
def test_a_selected_name_can_be_read_also_while_something_else_has_the_keyboard(person: Open) -> None:
    someone = person("Mr Lee")
    style = someone.app.looks.style
    for state in ("focus", "!focus"):
        ink, ground = (style.lookup("TEntry", f"select{part}", [state]) for part in ("foreground", "background"))
        assert contrast(colour(someone.root, ink), colour(someone.root, ground)) >= 4.5


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="there the styles are the system's")
def test_every_text_stands_out_from_its_background(host: Person, ann: Person) -> None:  # noqa: F811
    talk(ann)
    ann.press("Control-f")
    host.click(host.chat.people.pause)
    ann.wait(lambda: ann.chat.composer.is_blocked, "the box is greyed")
    weak = {what: round(contrast(*two), 2) for someone in (host, ann) for what, *two in pairs(someone)}
    assert len(weak) > 100
    assert {what: value for what, value in weak.items() if value < 4.5} == {}


def test_the_order_of_the_computation_of_contrast_is_right() -> None:
    assert round(contrast("#000000", "#ffffff"), 1) == round(contrast("#ffffff", "#000000"), 1) == 21.0
    assert round(contrast("#767676", "#ffffff"), 2) == 4.54


def test_names_are_told_apart_by_more_than_colour(host: Person) -> None:  # noqa: F811
    """By what is written, also where it is shortened; and by a bold font from what they say."""
    names = ["Maximiliana Featherstonehaugh", "Maximiliana Featherstonehaugh 2", "Ann", "Anna"]
    feed(host, *(said(100 + n, "x", who=2 + n, name=name) for n, name in enumerate(names)))
    drawn = [line.split("\t")[1] for line in host.log().split("\n") if line.endswith("\tx")]
    assert len(set(drawn)) == 4
    log = host.chat.log.text
    for number in range(len(chat_gui.NAMES)):
        assert font.Font(log, log.tag_cget(f"name{number}", "font")).actual("weight") == "bold"
    assert len(set(chat_gui.NAMES)) == len(chat_gui.NAMES)


def test_all_messages_begin_in_the_same_column_whatever_the_names_are(host: Person) -> None:  # noqa: F811
    names = ["Maximiliana Featherstonehaugh", "W" * 32, "Al", "\u4e00" * 32, "illlllllllllllllllllll"]
    log = host.chat.log.text
    for start, (size, percent) in enumerate(((USUAL, 60), (USUAL, 100), (NARROW, 100), (LARGE, 250)), 1):
        resize(host, size)
        zoom_to(host, percent)
        feed(host, *(said(100 * start + n, f"{size} {n}", who=2 + n, name=name) for n, name in enumerate(names)))
        boxes = [log.bbox(log.search(f"{size} {n}", "1.0")) for n in range(len(names))]
        assert len({each[0] for each in boxes if each is not None}) == 1, f"at {size} and {percent} %"
        assert None not in boxes


def test_the_host_is_told_apart_from_one_whose_name_looks_the_same(host: Person, ann: Person) -> None:  # noqa: F811
    for someone in (host, ann):
        feed(someone, said(100, "from the host", 1, "Mr Lee"), said(101, "@Ann from another one", 9, "Mr Lee."))
        feed(someone, net.Shared(102, 0.0, 1, "Mr Lee", "0" * 32, "map.png", 5, "0" * 64))
        log = someone.chat.log.text
        ranges = log.tag_ranges("host")
        marked = [log.get(first, last) for first, last in zip(ranges[::2], ranges[1::2], strict=True)]
        assert marked == ["Mr Lee", "Mr Lee"]
        grounds = [str(log.tag_cget(tag, "background")) for tag in ("host", "mention", "found", "found now", "chosen")]
        assert grounds[0] not in ("", *grounds[1:])


def test_the_host_of_a_room_of_another_program_may_have_any_number(ann: Person) -> None:  # noqa: F811
    feed(ann, ann.welcome(room="another", host=9))
    feed(ann, said(100, "x", 1, "Bob"), said(101, "x", 9, "Mr Ray"))
    log = ann.chat.log.text
    assert log.get("host.last -6c", "host.last") == "Mr Ray"


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
        if widget is someone.chat.composer.text:
            return found
    raise AssertionError(f"the composer is not reached again: {[name_of(widget) for widget in found]}")


@pytest.mark.parametrize("who", ["host", "pupil"])
@pytest.mark.parametrize("size", [SMALL, USUAL])
def test_tab_reaches_every_part_of_the_window_and_shift_tab_goes_back(
    host: Person, ann: Person, who: str, size: Size  # noqa: F811
) -> None:
    someone = {"host": host, "pupil": ann}[who]
    host.wait(lambda: len(host.people()) == 2, "both are in")
    talk(someone)
    resize(someone, size)
    forwards = tab_round(someone, "Tab")
    takers = (ttk.Button, ttk.Entry, tk.Text, ttk.Treeview)
    wanted = {w for w in shown(someone.root) if isinstance(w, takers)}
    disabled = {w for w in wanted if isinstance(w, ttk.Button) and w.instate(["disabled"])}
    assert set(forwards) == wanted - disabled
    backwards = tab_round(someone, "Shift-Tab")
    assert backwards[:-1] == forwards[-2::-1]


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="there the styles are the system's")
def test_whatever_has_the_keyboard_shows_it(host: Person) -> None:  # noqa: F811
    for widget in (host.chat.log.text, host.chat.composer.text, host.chat.people.list):
        card = widget.master
        assert isinstance(card, tk.Frame)
        assert card.cget("highlightbackground") == chat_gui.LINE or widget is host.root.focus_get()
        widget.focus_force()
        host.root.update()
        assert card.cget("highlightbackground") == chat_gui.ACCENT
        host.chat.send.focus_force()
        host.root.update()
        assert card.cget("highlightbackground") == chat_gui.LINE
    style = host.app.looks.style
    for name, option in (("TButton", "bordercolor"), ("TEntry", "bordercolor")):
        assert style.lookup(name, option, ["focus"]) != style.lookup(name, option)


def test_pages_of_the_log_turn_while_one_writes(host: Person) -> None:  # noqa: F811
    feed(host, *(said(100 + n, f"line {n}") for n in range(200)))
    host.focus_composer()
    host.type("half a thought")
    before = top_line(host)
    host.press("Prior", "Prior")
    up = host.chat.log.text.yview()[0]
    assert top_line(host) != before
    host.press("Next")
    assert host.chat.log.text.yview()[0] > up
    host.press("Next", "Next", "Next")
    assert at_end(host)
    assert host.root.focus_get() is host.chat.composer.text
    assert host.chat.composer.get() == "half a thought"


def test_up_in_an_empty_box_brings_ones_last_message(host: Person) -> None:  # noqa: F811
    host.press("Up")
    assert host.chat.composer.get() == ""
    host.say("one")
    host.paste("if x:\n    print")
    host.press("Return")
    everybody_sees([host], "one")
    host.press("Up")
    assert host.chat.composer.get() == "if x:\n    print"
    host.press("Up", "Up", "Up")
    assert host.chat.composer.get() == "if x:\n    print", "then it moves in the text as ever"
    host.type("x")
    assert host.chat.composer.get().startswith(("x", "ifx")) or "x" in host.chat.composer.get().split("\n")[0]


@pytest.mark.parametrize("where", ["log", "people", "send", "find", "keys"])
def test_escape_gives_the_keyboard_back_to_the_composer(host: Person, where: str) -> None:  # noqa: F811
    chat = host.chat
    if where in ("find", "keys"):
        host.press({"find": "Control-f", "keys": "F1"}[where])
    else:
        {"log": chat.log.text, "people": chat.people.list, "send": chat.send}[where].focus_force()
        host.root.update()
    assert host.root.focus_get() is not chat.composer.text
    host.press("Escape")
    assert host.root.focus_get() is chat.composer.text
    assert not chat.find_bar.frame.winfo_ismapped()
    assert not chat.keys.text.winfo_ismapped()


@pytest.mark.parametrize("way", ["click", "Return"])
@pytest.mark.parametrize("text", ["hello", "x" * (net.MAX_TEXT + 1)])
def test_after_send_the_composer_has_the_keyboard(host: Person, way: str, text: str) -> None:  # noqa: F811
    host.look_here()
    host.paste(text)
    host.chat.send.focus_force()  # as a real click does, and Tab
    host.root.update()
    if way == "click":
        host.click(host.chat.send)
    else:
        host.press(way)
    assert host.root.focus_get() is host.chat.composer.text
    host.press("BackSpace", "x")
    assert host.chat.composer.get() == ("x" if text == "hello" else text)


def test_after_copy_the_composer_has_the_keyboard(host: Person) -> None:  # noqa: F811
    host.look_here()
    resize(host, USUAL)
    host.chat.header.copy.focus_force()
    host.root.update()
    host.click(host.chat.header.copy)
    assert host.root.focus_get() is host.chat.composer.text
    resize(host, NARROW)
    host.look_here()
    host.click(host.chat.header.people_button)
    host.wait(lambda: host.chat.header.copy.cget("text") == Words.copy, "it no longer says that it was copied")
    host.click(host.chat.header.menu_button)
    host.choose(Words.copy)
    assert host.root.focus_get() is host.chat.composer.text
    assert not host.chat.people.list.winfo_ismapped(), "it would cover what one types"


def test_typing_in_the_log_goes_to_the_composer(host: Person) -> None:  # noqa: F811
    talk(host)
    before = host.log()
    host.chat.log.text.focus_force()
    host.type("Hi.")
    host.press("space", "x")
    assert host.chat.composer.get() == "Hi. x"
    assert host.root.focus_get() is host.chat.composer.text
    assert host.log() == before


def test_typing_in_the_log_is_as_typing_in_the_composer(host: Person) -> None:  # noqa: F811
    box = host.chat.composer.text
    host.type("wrong")
    box.tag_add("sel", "1.0", "end-1c")
    host.chat.log.text.focus_force()
    host.press("x")
    assert host.chat.composer.get() == "x", "it replaces what is selected"
    host.type("\n" * (chat_gui.COMPOSER_LINES + 3))
    box.see("1.0")
    host.chat.log.text.focus_force()
    host.press("y")
    assert box.bbox("insert") is not None, "it is to be seen"


@pytest.mark.skipif(sys.platform == "darwin", reason="there it is Command+V")
def test_what_is_pasted_in_the_log_goes_to_the_composer(host: Person) -> None:  # noqa: F811
    host.type("a ")
    host.root.clipboard_clear()
    host.root.clipboard_append("pasted")
    host.chat.log.text.focus_force()
    host.press("Control-v")
    assert host.chat.composer.get() == "a pasted"
    assert host.root.focus_get() is host.chat.composer.text


@pytest.mark.parametrize("key", ["Mod1-x", "Control-k", "Tab", "Escape", "Delete", "F5", "Left", "BackSpace"])
def test_keys_that_write_nothing_write_nothing_from_the_log(host: Person, key: str) -> None:  # noqa: F811
    if key == "Mod1-x" and sys.platform == "win32":
        pytest.skip("there Mod1 is Num Lock")
    host.chat.log.text.focus_force()
    host.press(key)
    assert host.chat.composer.get() == ""


def test_a_blocked_box_takes_nothing_that_is_typed_in_the_log(host: Person) -> None:  # noqa: F811
    feed(host, net.Muted(True))
    host.chat.log.text.focus_force()
    host.press("x", "Control-v")
    assert host.root.focus_get() is host.chat.log.text
    feed(host, net.Muted(False))
    assert host.chat.composer.get() == ""


@pytest.mark.parametrize("way", ["click", "key", "scroll"])
def test_the_button_to_the_newest_messages_takes_the_keyboard_with_it_to_the_composer(host: Person, way: str) -> None:  # noqa: F811
    talk(host, 200)
    host.scroll("10.0")
    feed(host, said(1000, "new"))
    jump = host.chat.log.jump
    host.wait(jump.winfo_ismapped, "the button is there")
    if way == "click":
        host.click(jump)
    else:
        jump.focus_force()
        host.root.update()
        host.press("Return") if way == "key" else host.chat.log.scroll("moveto", 1.0)
    host.wait(lambda: not jump.winfo_ismapped(), "the button has gone")
    host.wait(lambda: host.root.focus_get() is host.chat.composer.text, "one can write")


def test_the_keyboard_stays_where_it_is_when_the_button_to_the_newest_messages_goes(host: Person) -> None:  # noqa: F811
    talk(host, 200)
    host.scroll("10.0")
    feed(host, said(1000, "new"))
    host.wait(host.chat.log.jump.winfo_ismapped, "the button is there")
    host.chat.log.text.focus_force()
    host.root.update()
    host.chat.log.scroll("moveto", 1.0)
    host.wait(lambda: not host.chat.log.jump.winfo_ismapped(), "the button has gone")
    host.settle()
    assert host.root.focus_get() is host.chat.log.text


def chosen(someone: Person) -> str:
    entry = someone.chat.log.chosen()
    return "" if entry is None else entry.text


def test_up_and_down_choose_an_entry_in_the_log(host: Person) -> None:  # noqa: F811
    feed(host, said(100, "one"), said(101, "two\nlines"), said(102, "three"))
    log = host.chat.log.text
    log.focus_force()
    host.root.update()
    assert chosen(host) == ""
    assert [self_pressed(host, key) for key in ("Up", "Up", "Up", "Down", "Down", "Down")] == [
        "three",
        "two\nlines",
        "one",
        "two\nlines",
        "three",
        "three",
    ]
    host.press("Up")
    start, end = log.tag_ranges("chosen")
    assert log.get(start, end).endswith("two\nlines\n")
    host.press("Escape", "x")
    log.focus_force()
    host.root.update()
    assert self_pressed(host, "Up") == "one", "it goes on where it was"
    host.press(*["Up"] * 20)
    assert chosen(host) == drawn(host.chat.log)[0].text


def self_pressed(someone: Person, key: str) -> str:
    someone.press(key)
    return chosen(someone)


def test_the_chosen_entry_is_scrolled_to(host: Person) -> None:  # noqa: F811
    talk(host, 200)
    log = host.chat.log.text
    log.focus_force()
    host.press(*["Up"] * 60)
    assert log.bbox("chosen.first") is not None
    feed(host, said(1000, "new"))
    assert log.bbox("chosen.first") is not None, "reading there goes on"


@pytest.mark.parametrize("key", ["Return", "KP_Enter"])
def test_enter_follows_the_link_of_the_chosen_entry(
    host: Person, pages: list[str], key: str  # noqa: F811
) -> None:
    feed(host, said(100, "see http://example.org/one please"), said(101, "no link"))
    host.chat.log.text.focus_force()
    host.press(key)
    host.press("Up", key)
    assert pages == []
    host.press("Up", key)
    until(lambda: pages == ["http://example.org/one"], "the page is shown")


@pytest.mark.parametrize("key", ["Menu", "Shift-F10"])
def test_the_menu_key_shows_what_can_be_done_with_the_chosen_entry(
    ann: Person, key: str, unposted: list[tuple[int, int]]  # noqa: F811
) -> None:
    feed(ann, net.Shared(100, 0.0, 9, "Bob", "0" * 32, "map.png", 5, "0" * 64), said(101, "after"))
    log = ann.chat.log.text
    log.focus_force()
    ann.press(key)
    assert ann.menu() == [Words.menu_save_chat]
    ann.press("Up", "Up", key)
    assert ann.menu() == [Words.copy_message, Words.save, Words.menu_save_chat]
    x, y, right, bottom = box(log)
    assert x <= unposted[-1][0] <= right
    assert y <= unposted[-1][1] <= bottom
    ann.choose(Words.copy_message)
    assert ann.root.clipboard_get() == "shared map.png (5 bytes)"


def test_every_command_of_the_menu_has_a_key_or_is_a_button(
    host: Person, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    host.chat.header.menu_button.focus_force()
    host.press("Return")
    assert host.menu()[0] == Words.pause
    assert host.menu()[-1] == Words.menu_keys
    for number, words in enumerate(host.menu()[1:], start=1):
        key = str(host.chat.menu.entrycget(number, "accelerator")).strip()
        assert re.fullmatch(r"Ctrl ?[+\-]?\w?|F\d+", key), words
    saved: list[str] = []
    monkeypatch.setattr(filedialog, "asksaveasfilename", answer("", lambda **options: saved.append(options["title"])))
    host.choose(Words.find)
    assert host.chat.find_bar.frame.winfo_ismapped()
    host.choose(Words.menu_save_chat)
    assert saved == [Words.save_chat]
    host.choose(Words.menu_larger)
    assert host.app.looks.percent == 110
    host.choose(Words.menu_smaller)
    host.choose(Words.menu_smaller)
    assert host.app.looks.percent == 90
    host.choose(Words.menu_keys)
    assert host.chat.keys.text.winfo_ismapped()


def test_f1_shows_the_keys_and_puts_them_away(host: Person) -> None:  # noqa: F811
    host.press("F1")
    settle(host)
    for keys, words in Words.keys:
        assert f"{keys}\t{words}" in host.everything()
    assert host.root.focus_get() is host.chat.keys.text
    host.press("F1")
    assert not host.chat.keys.text.winfo_ismapped()
    assert host.root.focus_get() is host.chat.composer.text


def test_tab_and_shift_tab_lead_away_from_the_keys(host: Person) -> None:  # noqa: F811
    for key in ("Tab", "Shift-Tab"):
        host.chat.focus()
        host.press("F1")
        settle(host)
        text = host.chat.keys.text
        assert host.root.focus_get() is text
        wanted = text.tk_focusNext() if key == "Tab" else text.tk_focusPrev()
        host.press(key)
        assert host.root.focus_get() is wanted is not text
        host.press("Escape")


def test_on_a_mac_the_keys_are_called_as_they_are_there(person: Open) -> None:
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
def test_the_keys_can_be_read_in_every_size_also_when_it_changes_meanwhile(host: Person, size: Size) -> None:  # noqa: F811
    resize(host, LARGE)
    host.press("F1")
    resize(host, size)
    for percent in (100, 200):
        zoom_to(host, percent)
        host.chat.keys.text.focus_force()
        text = host.chat.keys.text
        text.see("end")
        text.see("1.0")
        host.root.update()
        start = text.search(Words.keys[0][1], "1.0")
        column = text.bbox(start)
        assert column is not None
        assert column[0] + 10 * host.app.looks.digit <= text.winfo_width(), f"room for its words at {percent} %"
        keys_end = text.bbox(f"{start} -2c")
        assert keys_end is not None
        assert keys_end[0] + keys_end[2] <= column[0] or keys_end[1] < column[1]


@pytest.mark.skipif(sys.platform == "darwin", reason="there it is Command")
def test_control_y_does_again_what_control_z_undid(host: Person) -> None:  # noqa: F811
    host.root.clipboard_clear()
    host.root.clipboard_append("pasted")
    host.type("one")
    host.chat.composer.text.edit_separator()
    host.type("two")
    host.press("Control-z")
    assert host.chat.composer.get() == "one"
    host.press("Control-y")
    assert host.chat.composer.get() == "onetwo"
    host.press("Control-y")
    assert host.chat.composer.get() == "onetwo", "there is nothing more to do again, and it pastes nothing"


@pytest.mark.skipif(sys.platform == "darwin", reason="there it is Command")
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("one two", "one "),
        ("one two  ", "one "),
        ("one, ", "one"),
        ("one\ntwo", "one\n"),
        ("one\n", "one"),
        ("Gr\u00fc\u00dfe \u4f60\u597d", "Gr\u00fc\u00dfe "),
        ("x", ""),
        ("", ""),
    ],
)
def test_control_backspace_deletes_the_word_before_the_cursor(host: Person, before: str, after: str) -> None:  # noqa: F811
    box = host.chat.composer.text
    host.look_here()
    box.insert("1.0", f"{before}|rest")
    box.mark_set("insert", f"1.0 +{len(before)}c")
    host.press("Control-BackSpace")
    assert host.chat.composer.get() == f"{after}|rest"


@pytest.mark.skipif(sys.platform == "darwin", reason="there it is Command")
def test_control_backspace_works_in_entries_too_and_not_where_nothing_can_be_written(
    host: Person, person: Open  # noqa: F811
) -> None:
    someone = person("Ann of Cleves")
    someone.look_here()
    name = someone.first_page.name
    name.selection_clear()
    name.icursor("end")
    someone.press("Control-BackSpace")
    assert name.get() == "Ann of "
    host.type("draft")
    feed(host, net.Muted(True))
    press_in(host, host.chat.composer.text, "Control-BackSpace")
    press_in(host, host.chat.log.text, "Control-BackSpace")
    assert host.chat.composer.get() == "draft"
    assert "You are in" in host.log()


RUSSIAN = """xkb_keymap {
    xkb_keycodes { include "evdev+aliases(qwerty)" };
    xkb_types { include "complete" };
    xkb_compat { include "complete" };
    xkb_symbols { include "pc+ru+inet(evdev)" };
};
"""
PLACES = {"a": 38, "c": 54, "f": 41, "o": 32, "s": 39, "v": 55, "x": 53, "y": 29, "z": 52}  # of the keys, on X11


@pytest.fixture
def russian_keyboard(display: Display, tmp_path: Path) -> Iterator[None]:
    if display.file is None or shutil.which("xkbcomp") is None:
        pytest.skip("only the keyboard of the tests' own screen is changed, by xkbcomp")
    before, screen = str(tmp_path / "before.xkb"), os.environ["DISPLAY"]
    subprocess.run(["xkbcomp", "-w0", screen, before], check=True, timeout=LIMIT)
    subprocess.run(["xkbcomp", "-w0", "-", screen], input=RUSSIAN, text=True, check=True, timeout=LIMIT)
    yield
    subprocess.run(["xkbcomp", "-w0", before, screen], check=True, timeout=LIMIT)


@pytest.mark.usefixtures("russian_keyboard")
def test_with_a_russian_keyboard_control_and_a_key_do_what_they_do_elsewhere(
    host: Person, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(filedialog, "askopenfilenames", answer((), lambda **_: asked.append("o")))
    monkeypatch.setattr(filedialog, "asksaveasfilename", answer("", lambda **_: asked.append("s")))
    box = host.chat.composer.text

    def press(letter: str) -> None:
        host.look_here()
        focus = host.root.focus_get()
        assert focus is not None
        focus.event_generate("<Key>", keycode=PLACES[letter], state=4)
        host.root.update()

    box.insert("1.0", "text")
    for letter in ("a", "c"):
        press(letter)
    assert host.root.clipboard_get().strip() == "text"
    press("x")
    assert host.chat.composer.get() == ""
    press("v")
    assert host.chat.composer.get().strip() == "text"
    press("z")
    assert host.chat.composer.get() == ""
    press("y")
    assert host.chat.composer.get().strip() == "text"
    for letter in ("o", "s"):
        press(letter)
    assert asked == ["o", "s"]
    press("f")
    assert host.root.focus_get() is host.chat.find_bar.entry
    press("v")
    assert host.chat.find_bar.entry.get().strip() == "text", "in entries, too"


@pytest.mark.parametrize(
    ("keysym", "keycode", "letter"),
    [("Cyrillic_es", 54, "c"), ("Greek_psi", 54, "c"), ("hebrew_bet", 54, "c"), ("c", 31, ""), ("Left", 113, "")],
)
def test_the_place_of_a_key_counts_where_its_letter_is_not_latin(
    monkeypatch: pytest.MonkeyPatch, keysym: str, keycode: int, letter: str
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    event: tk.Event[tk.Misc] = tk.Event()
    event.keysym, event.keycode = keysym, keycode
    assert chat_gui.latin_letter(event) == letter


@pytest.mark.parametrize(
    ("keysym", "keycode", "letter"),
    [("Cyrillic_es", ord("C"), "c"), ("??", ord("V"), "v"), ("c", ord("C"), ""), ("Left", 0x25, "")],
)
def test_on_windows_the_virtual_key_says_which_letter_it_is(
    monkeypatch: pytest.MonkeyPatch, keysym: str, keycode: int, letter: str
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    event: tk.Event[tk.Misc] = tk.Event()
    event.keysym, event.keycode = keysym, keycode
    assert chat_gui.latin_letter(event) == letter


def test_f11_fills_the_screen_and_gives_it_back(host: Person, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    state = {"-fullscreen": 0}

    def attributes(name: str, *value: int) -> int:
        if value:
            state[name] = int(value[0])
        return state[name]

    monkeypatch.setattr(host.root, "attributes", attributes)  # without a window manager nothing would happen
    host.press("F11")
    assert state == {"-fullscreen": 1}
    host.press("F11")
    assert state == {"-fullscreen": 0}


def test_control_o_shares_a_file_and_writes_nothing(
    host: Person, monkeypatch: pytest.MonkeyPatch, tmp_path: Path  # noqa: F811
) -> None:
    (tmp_path / "a.txt").write_text("a")
    monkeypatch.setattr(filedialog, "askopenfilenames", lambda **_: (str(tmp_path / "a.txt"),))
    host.type("draft")
    host.press("Control-o")
    host.sees("shared a.txt (1 byte)")
    assert host.chat.composer.get() == "draft"


def test_the_keys_of_a_room_do_nothing_outside(person: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(**_: object) -> str:
        raise AssertionError("nothing is to be chosen here")

    monkeypatch.setattr(filedialog, "askopenfilenames", never)
    monkeypatch.setattr(filedialog, "asksaveasfilename", never)
    someone = person("Ann")
    before = someone.everything()
    someone.press("Control-f", "Control-s", "Control-o", "F1", "Escape")
    assert someone.everything() == before


# Tk 9 ------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="there the styles are the system's")
def test_the_thumb_of_a_scrollbar_has_no_gap(host: Person) -> None:  # noqa: F811
    for option in ("gripcount", "gripsize"):  # Tk 8.6; Tk 9
        assert str(host.app.looks.style.lookup("Vertical.TScrollbar", option)) == "0"


@pytest.mark.parametrize("by_x11", [True, False])
@pytest.mark.parametrize(
    "run", ["\U0001f600", "\u4e00", "\U00020000", "\U0001f600\ufe0f", "\U0001f468\u200d", "\u304b\u3099"]
)
def test_a_long_run_of_wide_letters_is_broken(monkeypatch: pytest.MonkeyPatch, run: str, by_x11: bool) -> None:
    """Tk 9.1 ends the program at about 250 of them."""
    monkeypatch.setattr(chat_gui, "DRAWS_BY_X11", by_x11)
    drawn = chat_gui.drawable(run * 300 + "\n" + run * 300)
    longest = max(sum(letter > "\u2e7f" or letter == "\u25a1" for letter in line) for line in drawn.split("\n"))
    assert longest <= chat_gui.LONGEST_RUN + chat_gui.MOST_MARKS < 250
    assert chat_gui.drawable((run * 3 + " ") * 90).count("\n") == 0, "many short ones are none"


# Finding ----------------------------------------------------------------------


def look_for(someone: Person, text: str) -> None:
    for letter in text:
        someone.type(letter)
        someone.press(f"KeyRelease-{letter}")


def found(someone: Person) -> list[int]:
    """The lines in which something is marked; the present one negative."""
    log = someone.chat.log.text
    now = {str(index).split(".")[0] for index in log.tag_ranges("found now")}
    lines = [str(index).split(".")[0] for index in log.tag_ranges("found")[::2]]
    return [-int(line) if line in now else int(line) for line in lines]


def test_what_is_typed_is_found_at_once_the_newest_first(host: Person) -> None:  # noqa: F811
    feed(host, *(said(100 + n, text) for n, text in enumerate(["Apple", "pear", "an apple", "APPLE pie"])))
    lines = [int(host.chat.log.text.search(text, "1.0").split(".")[0]) for text in ("Apple", "an apple", "APPLE pie")]
    a, b, c = lines
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


@pytest.mark.parametrize("key", ["Return", "Shift-Return"])
def test_finding_begins_at_the_end_whichever_way_it_goes(host: Person, key: str) -> None:  # noqa: F811
    feed(host, *(said(100 + n, "apple") for n in range(3)))
    host.press("Control-f")
    host.chat.find_bar.entry.insert(0, "apple")
    host.press(key)
    assert [line < 0 for line in found(host)] == [False, False, True]


def test_of_very_many_places_the_newest_are_found(host: Person, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """A pupil who sends one letter a thousand times, again and again, would else hold up whoever looks for it."""
    monkeypatch.setattr(chat_gui, "MOST_FOUND", 4)
    feed(host, said(100, "qq"), said(101, "qqqq"))
    log = host.chat.log.text
    start = log.search("qqqq", "1.0")
    host.press("Control-f")
    look_for(host, "q")
    assert log.index("found now.first") == log.index(f"{start}+3c")
    feed(host, said(102, "qq"))
    host.press("Return")
    marked = [log.index(index) for index in log.tag_ranges("found")]
    assert marked == [log.index(f"{start}{place}") for place in ("+2c", "+4c", "+1l", "+1l+2c")]


def test_what_is_found_is_scrolled_to_and_stays_there(host: Person) -> None:  # noqa: F811
    feed(host, said(100, "needle"), *(said(101 + n, f"hay {n}") for n in range(300)))
    host.press("Control-f")
    look_for(host, "needle")
    log = host.chat.log.text
    assert log.bbox("found now.first") is not None
    feed(host, said(900, "more hay"))
    host.settle()
    assert log.bbox("found now.first") is not None


@pytest.mark.parametrize("wanted", ["-nocase", "[x", "a.c", "$x", "{", "\\"])
def test_signs_are_found_as_they_are(host: Person, wanted: str) -> None:  # noqa: F811
    feed(host, said(100, "abc"), said(101, f"here {wanted} is"))
    host.press("Control-f")
    host.chat.find_bar.entry.insert(0, wanted)
    host.press("Return")
    assert len(found(host)) == 1
    assert host.chat.log.text.get("found now.first", "found now.last") == wanted


@pytest.mark.parametrize("wanted", ["b", "\U0001f600", "\U0001f600 Bo", "\u00e9t\u00c9"])
def test_words_are_found_beside_emoji(host: Person, wanted: str) -> None:  # noqa: F811
    """Tk's own search ends the whole program here (8.6, where capitals and small letters are the same)."""
    feed(host, said(100, "a\U0001f600\U0001f600 b\u00c9T\u00e9 \U0001f600 bOB", 8, "C"))
    host.press("Control-f")
    host.chat.find_bar.entry.insert(0, wanted)
    host.press("Return")
    assert host.chat.log.text.get("found now.first", "found now.last").casefold() == wanted.casefold()


def test_the_arrows_of_the_find_bar_go_both_ways_and_close_closes(host: Person) -> None:  # noqa: F811
    feed(host, *(said(100 + n, "apple") for n in range(3)))
    host.press("Control-f")
    look_for(host, "apple")
    buttons = {name_of(w).partition(" ")[2]: w for w in shown(host.chat.find_bar.frame) if "button" in str(w)}
    newest = found(host)
    host.click(buttons["'\u2191'"])
    assert found(host)[1] < 0
    host.click(buttons["'\u2193'"])
    assert found(host) == newest
    host.click(buttons[repr(Words.close)])
    assert found(host) == []
    assert not host.chat.find_bar.frame.winfo_ismapped()
    host.press("Control-f")
    assert host.chat.find_bar.entry.selection_present(), "typing replaces it"


def test_nothing_is_found_in_what_was_taken_back(host: Person) -> None:  # noqa: F811
    feed(host, said(100, "secret"), net.TakenBack(101, 0.0, 100))
    host.press("Control-f")
    look_for(host, "secret")
    assert Words.not_found in host.everything()
    host.press("Return")
    host.chat.find_bar.entry.delete(0, "end")
    host.press("Return")
    assert Words.not_found not in host.everything(), "of nothing, nothing is missed"


# Links ------------------------------------------------------------------------


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the browser was asked to show."""
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", answer(True, opened.append))
    return opened


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("see http://example.org.", "http://example.org"),
        ("(https://example.org/a?b=c&d#e)", "https://example.org/a?b=c&d#e"),
        ("HTTPS://EXAMPLE.ORG/x, and", "HTTPS://EXAMPLE.ORG/x"),
        ("<http://example.org/>", "http://example.org/"),
        ("\u201chttp://example.org/y\u201d", "http://example.org/y"),
        ("first\nhttp://192.168.1.20:8000/x!", "http://192.168.1.20:8000/x"),
    ],
)
def test_addresses_of_the_web_open_in_the_browser(
    host: Person, pages: list[str], text: str, address: str  # noqa: F811
) -> None:
    feed(host, said(100, text))
    assert text in host.log()
    host.click_link(address)
    until(lambda: pages == [address], "the page is shown")


@pytest.mark.parametrize(
    "text",
    ["file:///a.txt", "javascript:alert(1)", "ftp://example.org", "xhttp://example.org", "http://", "://", "https:/x"],
)
def test_nothing_else_is_a_link(host: Person, pages: list[str], text: str) -> None:  # noqa: F811
    feed(host, said(100, text))
    assert text in host.log()
    assert not host.chat.log.text.tag_ranges("link")
    assert pages == []


def test_each_of_two_links_opens_its_own_page(host: Person, pages: list[str]) -> None:  # noqa: F811
    feed(host, said(100, "http://example.org/1 http://example.org/2"), said(101, "http://example.org/3"))
    for number in (2, 3, 1):
        host.click_link(f"http://example.org/{number}")
    until(lambda: len(pages) == 3, "all are shown")
    assert sorted(pages) == [f"http://example.org/{number}" for number in (1, 2, 3)]


def test_a_link_that_is_clicked_twice_or_thrice_quickly_opens_once(host: Person, pages: list[str]) -> None:  # noqa: F811
    feed(host, said(100, "http://example.org/1"), said(101, "http://example.org/2"))
    log = host.chat.log.text
    x, y, _, height = log.bbox(log.search("http://example.org/1", "1.0")) or (0, 0, 0, 0)
    log.event_generate("<Motion>", x=x + 2, y=y + height // 2)
    for milliseconds in (1_000, 1_100, 1_200, 5_000):
        log.event_generate("<ButtonPress-1>", x=x + 2, y=y + height // 2, time=milliseconds)
        log.event_generate("<ButtonRelease-1>", x=x + 2, y=y + height // 2, time=milliseconds + 50)
    host.click_link("http://example.org/2")
    until(lambda: len(pages) >= 3 and "http://example.org/2" in pages, "all are shown")
    assert sorted(pages) == ["http://example.org/1", "http://example.org/1", "http://example.org/2"]


def test_what_can_be_clicked_at_the_end_of_an_entry_is_told_from_its_links(host: Person, pages: list[str]) -> None:  # noqa: F811
    feed(host, net.Sending(9, "http://example.org/1"), net.Rejected(9, "muted", ""))
    host.click_link("http://example.org/1")
    until(lambda: pages == ["http://example.org/1"], "the page is shown")
    host.click_link(Words.write_again)
    assert host.chat.composer.get() == "http://example.org/1"
    assert len(pages) == 1


@pytest.mark.parametrize("between", [" ", "\n", " x\n"])
@pytest.mark.parametrize(("word", "tag"), [("http://a", "link"), ("@Mr Lee", "mention")])
def test_a_message_full_of_links_or_calls_has_some_of_them_marked(
    host: Person, between: str, word: str, tag: str  # noqa: F811
) -> None:
    """With many marked pieces on a line Tk takes seconds to draw it."""
    text = f"{word}{between}" * (net.MAX_TEXT_LINES - 1)
    feed(host, said(100, text))
    assert text.rstrip() in host.log()
    log = host.chat.log.text
    ranges = log.tag_ranges(tag)
    marked = [log.get(first, last) for first, last in zip(ranges[::2], ranges[1::2], strict=True)]
    assert marked == [word] * chat_gui.MOST_MARKED


def test_a_click_beside_a_link_opens_nothing(host: Person, pages: list[str]) -> None:  # noqa: F811
    feed(host, said(100, "http://example.org/1 and more"))
    log = host.chat.log.text
    x, y, _, height = log.bbox(log.search("more", "1.0")) or (0, 0, 0, 0)
    host.click(log, x + 2, y + height // 2)
    host.settle(0.05)
    assert pages == []
    assert not [t for t in threading.enumerate() if t.name == "browser opened"]


# Copying ----------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "darwin", reason="there it is Command+A")
def test_control_a_selects_all_of_what_is_typed(host: Person, person: Open) -> None:  # noqa: F811
    host.type("wrong\nall of it")
    host.press("Control-a")
    host.type("right")
    assert host.chat.composer.get() == "right"
    someone = person("Ann")
    someone.first_page.name.focus_force()
    someone.press("Control-a", "Key-B", "Key-o", "Key-b")
    assert someone.first_page.name.get() == "Bob"


def edit_menu(someone: Person, widget: tk.Misc, way: str = "mouse") -> list[str]:
    someone.look_here()
    if way == "mouse":
        someone.right_click(widget, 3, 3)
    else:
        widget.focus_force()
        someone.press(way)
    return someone.menu()


def select_all(someone: Person, widget: tk.Misc) -> None:
    """By the menu."""
    assert Words.select_all in edit_menu(someone, widget)
    someone.choose(Words.select_all)


EDIT = [Words.cut, Words.copy, Words.paste, Words.select_all]


@pytest.mark.parametrize("way", ["mouse", "Menu", "Shift-F10"])
@pytest.mark.parametrize("where", ["composer", "find", "name", "address"])
def test_who_knows_only_the_mouse_cuts_copies_and_pastes_where_they_type(
    host: Person, person: Open, where: str, way: str  # noqa: F811
) -> None:
    someone = host if where in ("composer", "find") else person("x")
    if where == "find":
        host.press("Control-f")
    if where == "address":
        someone.app.show_join_page()
    widget: tk.Text | ttk.Entry
    if where in ("composer", "find"):
        widget = host.chat.composer.text if where == "composer" else host.chat.find_bar.entry
    else:
        widget = someone.first_page.name if where == "name" else someone.join_page.address
    widget.focus_force()
    someone.root.update()
    widget.event_generate("<<SelectAll>>")
    someone.press("BackSpace")
    assert edit_menu(someone, widget, way) == [Words.paste, Words.select_all], "there is nothing to copy"
    someone.type("good")
    select_all(someone, widget)
    assert edit_menu(someone, widget, way) == EDIT
    for words, left in ((Words.copy, "good"), (Words.cut, "")):
        someone.root.clipboard_clear()
        someone.choose(words)
        assert someone.root.clipboard_get().strip() == "good", "in a text Tk selects the last newline too"
        assert (widget.get("1.0", "end-1c") if isinstance(widget, tk.Text) else widget.get()) == left
    someone.choose(Words.paste)
    assert (widget.get("1.0", "end-1c") if isinstance(widget, tk.Text) else widget.get()).strip() == "good"
    assert someone.root.focus_get() is widget


def test_a_password_is_copied_only_while_it_is_shown(person: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "CAN_ENCRYPT", True)
    someone = person("Ann")
    box = someone.first_page.password
    box.set("secret")
    select_all(someone, box.entry)
    assert edit_menu(someone, box.entry) == [Words.paste, Words.select_all]
    someone.click(box.button)
    assert edit_menu(someone, box.entry) == EDIT


def test_a_blocked_box_offers_no_cutting_and_no_pasting(host: Person) -> None:  # noqa: F811
    host.type("draft")
    feed(host, net.Muted(True))
    select_all(host, host.chat.composer.text)
    assert edit_menu(host, host.chat.composer.text) == [Words.copy, Words.select_all]
    host.choose(Words.copy)
    assert host.root.clipboard_get().strip() == "draft"
    host.press("F1")
    assert edit_menu(host, host.chat.keys.text) == [Words.select_all]


def test_the_hint_in_the_empty_box_is_not_in_the_way(host: Person) -> None:  # noqa: F811
    talk(host)
    hint = host.chat.composer.hint
    assert edit_menu(host, hint) == [Words.paste, Words.select_all]
    assert host.root.focus_get() is host.chat.composer.text
    feed(host, net.Muted(True))
    assert edit_menu(host, hint) == [Words.select_all]


def middle_click(someone: Person, widget: tk.Misc, x: int = 5, y: int = 5) -> None:
    for event in ("<ButtonPress-2>", "<ButtonRelease-2>"):
        widget.event_generate(event, x=x, y=y)
    someone.root.update()


def select_somewhere(someone: Person, text: str) -> None:
    """In a window of another kind, as X11's other clipboard has it."""
    other = tk.Text(tk.Toplevel(someone.root))
    other.insert("1.0", text)
    other.tag_add("sel", "1.0", "end-1c")


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="there the middle button pastes nothing")
def test_the_middle_button_pastes_no_more_than_the_clipboard_does(host: Person) -> None:  # noqa: F811
    """A megabyte on one line would freeze the window for a minute."""
    select_somewhere(host, "x" * 1_000_000)
    middle_click(host, host.chat.composer.text)
    assert host.chat.composer.get() == "x" * chat_gui.MAX_PASTE


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="there the middle button pastes nothing")
def test_the_middle_button_pastes_at_the_mouse_what_can_be_sent(host: Person) -> None:  # noqa: F811
    host.type("ab")
    box = host.chat.composer.text
    box.tag_add("sel", "1.0", "1.1")
    select_somewhere(host, "1\x07\t2")
    x, y, _, height = box.bbox("1.1") or (0, 0, 0, 0)
    middle_click(host, box, x, y + height // 2)
    assert host.chat.composer.get() == "a1\t2b", "what is selected stays"
    assert host.root.focus_lastfor() is box
    feed(host, net.Muted(True))
    middle_click(host, box, x, y + height // 2)
    assert host.chat.composer.get() == "a1\t2b", "a blocked box takes nothing"


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="there the middle button pastes nothing")
def test_the_middle_button_copies_messages_as_the_clipboard_does(host: Person) -> None:  # noqa: F811
    now, texts = time.time(), ["hi\n03:47 Mr Lee: no", "x" * 9_000]
    feed(host, *(net.Said(100 + n, now, 9, "Bob", n, text) for n, text in enumerate(texts)))
    log = host.chat.log.text
    log.tag_add("sel", log.search("hi", "1.0"), "end")
    middle_click(host, host.chat.composer.text)
    then = chat_gui.clock(now)
    assert host.chat.composer.get() == f"{then} Bob: hi\n    03:47 Mr Lee: no\n{then} Bob: {'x' * 9_000}"


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="there the middle button pastes nothing")
def test_the_middle_button_pastes_on_the_hint_too(host: Person) -> None:  # noqa: F811
    talk(host)
    host.chat.log.text.tag_add("sel", "1.0", "1.5")
    selected = host.chat.log.text.get("1.0", "1.5")
    middle_click(host, host.chat.composer.hint)
    assert host.chat.composer.get() == selected


def test_what_is_pasted_by_mouse_is_found_and_warned_of_at_once(
    host: Person, person: Open, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    feed(host, said(100, "needle"))
    host.press("Control-f")
    host.root.clipboard_clear()
    host.root.clipboard_append("needle")
    edit_menu(host, host.chat.find_bar.entry)
    host.choose(Words.paste)
    assert len(found(host)) == 1
    monkeypatch.setattr(net, "CAN_ENCRYPT", True)
    someone = person("Ann")
    page = someone.first_page
    someone.root.clipboard_clear()
    someone.root.clipboard_append("short")
    edit_menu(someone, page.password.entry)
    someone.choose(Words.paste)
    assert page.password_note.cget("text") == Words.weak_password


def test_an_open_menu_goes_with_its_page(person: Open) -> None:
    someone = person("Ann")
    edit_menu(someone, someone.first_page.name)
    menu = someone.app.page.menu
    someone.app.show_join_page()
    assert not menu.winfo_exists()


def test_whole_lines_are_copied_clean_and_with_the_original_text(host: Person) -> None:  # noqa: F811
    original = "\U0001f600" * 100 + "x" * 1500
    file = net.Shared(102, 0.0, 9, "Bob", "0" * 32, "map.png", 5, "0" * 64)
    gone = net.Said(103, 0.0, 9, "Bob", 5, "", taken_back=True)
    first, second = said(100, "two\n  lines"), said(101, original, name="Maximiliana Featherstonehaugh")
    feed(host, first, second, file, gone)
    feed(host, net.Sending(9, "on its way"))
    host.chat.log.text.focus_force()
    host.press("Control-a")
    host.press("Control-c")
    then = chat_gui.clock(0.0)
    assert host.root.clipboard_get().split("\n")[-5:] == [
        f"{chat_gui.clock(first.time)} Bob: two",
        "      lines",
        f"{chat_gui.clock(second.time)} Maximiliana Featherstonehaugh: {original}",
        f"{then} Bob: shared map.png (5 bytes)",
        f"{then} Bob: {Words.deleted}",
    ]


@pytest.mark.parametrize(
    ("start", "end", "copied"),
    [
        ("apple", "pie", "apple "),  # within one message: the words alone
        ("apple", "pear", "{now} Bob: apple pie\n{now} Bob: pear"),
        ("pie", "lines", "{now} Bob: apple pie\n{now} Bob: pear\n{now} Bob: two\n    lines"),
        ("two", "nes", "two\nli"),
        ("lines", "nes", "li"),  # also within a further line of it
    ],
)
def test_what_is_selected_is_copied(host: Person, start: str, end: str, copied: str) -> None:  # noqa: F811
    now = time.time()
    texts = ["apple pie", "pear", "two\nlines"]
    feed(host, *(net.Said(100 + n, now, 9, "Bob", n, text) for n, text in enumerate(texts)))
    log = host.chat.log.text
    last = log.search(end, "1.0")
    log.tag_add("sel", log.search(start, "1.0"), last if end in ("pie", "nes") else f"{last}+1c")
    log.focus_force()
    host.root.update()
    log.event_generate("<<Copy>>")
    assert host.root.clipboard_get() == copied.format(now=chat_gui.clock(now))


COPIED = {
    "tabs": "if x:\n\tprint(1)\n\t\treturn",
    "emoji": "a\U0001f600b \U0001f600\U0001f601" + "".join(chr(0x1F400 + n) for n in range(40)) + "c",
    "a long line": "word " * 900 + "end",
    "a long run": "\u4e00\u4e8c" * 500 + "z",
    "links and mentions": "look at http://example.org/a_(b), @Mr Lee: http://example.org",
    "invisible signs": "xa\u200bb\u202ec\ufeffdx",
    "marks": "xe" + "\u0301" * 9 + "fx",
    "letters of rare scripts": "x\U0001e900\U0001e901\U0001d4d0y",
}


@pytest.mark.parametrize("kind", COPIED)
def test_what_is_selected_within_a_message_is_copied_as_it_was_written(host: Person, kind: str) -> None:  # noqa: F811
    """Whatever had to be drawn in another way."""
    text = COPIED[kind]
    feed(host, said(100, "before"), said(101, text), said(102, "after"))
    log = host.chat.log.text
    line = log.search("after", "1.0").split(".")[0]
    body = log.tag_prevrange("body", f"{line}.0")
    assert body
    start, end = body
    for first, last, wanted in ((start, end, text), (f"{start} +1c", f"{end} -1c", text[1:-1])):
        log.tag_remove("sel", "1.0", "end")
        log.tag_add("sel", first, last)
        log.event_generate("<<Copy>>")
        assert host.root.clipboard_get() == wanted


@pytest.mark.parametrize("kind", COPIED)
def test_each_part_of_what_is_drawn_leads_back_to_what_was_written(kind: str) -> None:
    text = COPIED[kind]
    parts = chat_gui.drawn_parts(text)
    drawn_at = [sum(map(len, parts[:number])) for number in range(len(parts) + 1)]
    for first, last in ((0, len(text)), (1, len(text)), (0, len(text) - 1), (2, 3), (len(text) // 2, len(text))):
        copied = chat_gui.original_part(text, drawn_at[first], drawn_at[last])
        assert copied.strip("\u200b\u202e\ufeff\u0301") == text[first:last].strip("\u200b\u202e\ufeff\u0301")
    assert chat_gui.original_part(text, 1, 1) == ""


def test_copy_message_copies_exactly_its_text(host: Person) -> None:  # noqa: F811
    text = "if x:\n\tprint()  # \U0001f600\n03:47 Mr Lee: No homework"
    feed(host, said(100, text))
    assert Words.copy_message in host.message_menu("if x")
    host.choose(Words.copy_message)
    assert host.root.clipboard_get() == text


@pytest.mark.parametrize("newline", ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029"])
def test_a_message_that_is_copied_with_others_cannot_look_like_two(newline: str) -> None:
    forged = f"{chat_gui.clock(0.0)} Mr Lee: No homework"
    messages = [message(1, f"hi{newline}{forged}"), message(2, "bye")]
    lines = chat_gui.copied(messages).splitlines()
    assert [line for line in lines if not line.startswith("    ")] == [
        f"{chat_gui.clock(0.0)} Bob: hi",
        f"{chat_gui.clock(0.0)} Bob: bye",
    ]


@pytest.mark.parametrize("with_its_end", [False, True])
def test_a_line_selected_with_its_time_is_copied_as_a_line(host: Person, with_its_end: bool) -> None:  # noqa: F811
    line_said = said(100, "apple pie")
    feed(host, line_said)
    log = host.chat.log.text
    feed(host, said(101, "pear"))
    line = int(log.search("apple", "1.0").split(".")[0])
    log.tag_add("sel", f"{line}.0", f"{line + 1}.0" if with_its_end else f"{line}.end")
    host.right_click(log, 5, 5)
    host.choose(Words.copy_selected)
    assert host.root.clipboard_get() == f"{chat_gui.clock(line_said.time)} Bob: apple pie"


def test_copying_nothing_leaves_the_clipboard_alone(host: Person) -> None:  # noqa: F811
    talk(host)
    host.root.clipboard_clear()
    host.root.clipboard_append("mine")
    host.chat.log.text.focus_force()
    host.press("Control-c")
    assert host.root.clipboard_get() == "mine"
    assert Words.copy_selected not in host.message_menu("hi!")


def test_dragging_selects_and_typing_does_not_change_it(host: Person) -> None:  # noqa: F811
    feed(host, said(100, "apple pie"))
    log = host.chat.log.text
    place = log.search("apple", "1.0")
    x, y, _, height = log.bbox(place) or (0, 0, 0, 0)
    to, *_ = log.bbox(f"{place}+5c") or (0, 0, 0, 0)
    host.root.update()
    log.event_generate("<ButtonPress-1>", x=x, y=y + height // 2)
    log.event_generate("<B1-Motion>", x=to, y=y + height // 2, state=0x100)
    log.event_generate("<ButtonRelease-1>", x=to, y=y + height // 2)
    host.root.update()
    assert log.get("sel.first", "sel.last") == "apple"
    feed(host, said(101, "more"))
    assert host.chat.log.selected() == "apple"


# Saving the chat --------------------------------------------------------------


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the person says that the talk shall go."""
    path = tmp_path / "chat.txt"
    monkeypatch.setattr(filedialog, "asksaveasfilename", lambda **_: str(path))
    return path


def save(someone: Person, path: Path) -> list[str]:
    before = someone.log().count("chat.txt was saved")
    someone.press("Control-s")
    someone.wait(lambda: someone.log().count("chat.txt was saved") > before, "it is told")
    return path.read_text(encoding="utf-8").split("\n")


def stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def test_the_chat_is_saved_as_it_is_seen(host: Person, ann: Person, target: Path) -> None:  # noqa: F811
    noon = time.mktime((2026, 11, 23, 12, 0, 0, 0, 0, -1))
    file = net.Shared(103, noon + 2, 9, "Bob", "0" * 32, "map.png", 2_100_000, "0" * 64)
    for someone in (host, ann):
        feed(someone, net.Said(101, noon, 9, "Bob", 1, "Gr\u00fc\u00dfe \u4f60 \U0001f600"))
        feed(someone, net.Said(102, noon + 1, 9, "Bob", 2, "silly"), file, net.TakenBack(104, noon, 102))
        someone.focus_composer()
        lines = save(someone, target)
        assert lines[:2] == ["Mr Lee's room", ""]
        deleted = "Bob (deleted by the host): silly" if someone is host else "Bob: deleted by the host"
        wanted = [
            f"{stamp(noon)}  Bob: Gr\u00fc\u00dfe \u4f60 \U0001f600",
            f"{stamp(noon + 1)}  {deleted}",
            f"{stamp(noon + 2)}  Bob: shared map.png (2.1 MB)",
            "",
        ]
        assert lines[-4:] == wanted
        joined = [line.partition("  ")[2] for line in lines]
        assert (f"You are in Mr Lee's room as {someone.app.name}.") in joined
        assert ("Ann joined" in joined) == (someone is host)


def test_a_file_that_is_taken_back_stays_named_in_the_hosts_chat_alone(
    host: Person, ann: Person, target: Path  # noqa: F811
) -> None:
    file = net.Shared(103, 0.0, 9, "Bob", "0" * 32, "map.png", 5, "0" * 64)
    for someone in (host, ann):
        feed(someone, file, net.TakenBack(104, 0.0, 103))
        someone.focus_composer()
        assert ("map.png" in "\n".join(save(someone, target))) == (someone is host)


@pytest.mark.parametrize("newline", ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029"])
def test_nobody_can_write_a_line_in_the_name_of_somebody_else(host: Person, target: Path, newline: str) -> None:  # noqa: F811
    forged = f"{stamp(0.0)}  Mr Lee: no homework"
    text = f"hi{newline}{forged}"
    feed(host, said(100, text), said(101, "x", name=text), net.Joined(102, 0.0, 9, text))
    feed(host, net.Shared(103, 0.0, 9, "Bob", "0" * 32, text, 5, "0" * 64))
    save(host, target)
    assert not [line for line in target.read_text(encoding="utf-8").splitlines() if line.startswith(forged)]


def test_the_chat_is_complete_also_what_the_log_has_forgotten(
    host: Person, target: Path, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    monkeypatch.setattr(chat_gui, "LOG_LINES", 50)
    monkeypatch.setattr(chat_gui, "LOG_SLACK", 10)
    feed(host, *(said(100 + n, f"line {n}.") for n in range(500)))
    lines = save(host, target)
    assert [line.rpartition(": ")[2] for line in lines if "Bob: line" in line] == [f"line {n}." for n in range(500)]
    assert "line 0." not in host.log()


def message(number: int, text: str) -> chat_gui.Message:
    return chat_gui.Message(0.0, text, 9, "Bob", number)


def bodies(transcript: chat_gui.Transcript) -> list[str]:
    """What is saved below the title."""
    return [line.rpartition(": ")[2] for line in transcript.text("Room").split("\n")[2:-1]]


def test_what_is_too_much_even_for_the_chat_is_counted() -> None:
    transcript = chat_gui.Transcript(most_messages=10)
    for number in range(1, 31):
        transcript.add(message(number, f"line {number}."))
    forgotten = "(20 earlier messages are not included. The window keeps 10.)"
    assert bodies(transcript) == [forgotten, *(f"line {number}." for number in range(21, 31))]
    assert transcript.delete(5, keep_text=True) is None
    deleted = transcript.delete(30, keep_text=False)
    assert deleted is not None
    assert deleted.is_deleted
    assert "line 30." not in transcript.text("Room")


def test_what_is_kept_is_also_bounded_by_its_characters() -> None:
    transcript = chat_gui.Transcript(most_characters=100)
    for number in range(1, 31):
        transcript.add(message(number, f"{number:10}"))
    assert bodies(transcript)[1:] == [f"{number:10}" for number in range(21, 31)]
    transcript.delete(30, keep_text=False)
    transcript.add(message(31, "x" * 10))
    assert len(bodies(transcript)) == 12, "what was deleted takes no place"
    transcript.add(message(32, "x" * 1_000))
    assert "x" * 1_000 not in transcript.text("Room"), "not even alone"


def test_a_lesson_of_long_messages_takes_no_more_memory_than_is_said() -> None:
    assert chat_gui.KEPT_CHARACTERS <= 20_000_000


def test_forgetting_a_line_of_an_earlier_room_forgets_none_of_this_one() -> None:
    transcript = chat_gui.Transcript(most_messages=2)
    transcript.add(message(500, "of the first room"))
    transcript.begin()
    transcript.add(message(500, "silly"))
    transcript.add(message(501, "x"))
    assert bodies(transcript)[1:] == ["silly", "x"]
    assert transcript.delete(500, keep_text=False) is not None
    assert "silly" not in transcript.text("Room")


def test_a_full_disk_leaves_the_old_file_whole_and_is_told(
    host: Person, target: Path, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    target.write_text("the lesson of yesterday")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    host.press("Control-s")
    host.sees(Words.chat_not_saved.format(reason=os.strerror(errno.ENOSPC)))
    assert target.read_text() == "the lesson of yesterday"
    assert [path.name for path in target.parent.iterdir()] == [target.name], "nothing else is left"


def test_a_path_that_cannot_be_written_is_told(host: Person, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "none" / "chat.txt", tmp_path / "folder"):
        monkeypatch.setattr(filedialog, "asksaveasfilename", lambda path=path, **_: str(path))
        before = host.log().count("The chat could not be saved.")
        host.press("Control-s")
        host.wait(lambda before=before: host.log().count("The chat could not be saved.") > before, "it is told")  # type: ignore[misc]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_the_old_file_is_there_until_the_new_one_is_whole(
    host: Person, target: Path, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    target.write_text("old")
    seen: queue.SimpleQueue[str] = queue.SimpleQueue()
    monkeypatch.setattr(os, "fsync", answer(None, os.fsync, lambda _: seen.put(target.read_text())))
    save(host, target)
    assert seen.get() == "old"
    assert target.read_text(encoding="utf-8") != "old"


def test_two_savings_at_once_do_each_other_no_harm(
    host: Person, target: Path, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    talk(host)
    may_go = threading.Barrier(2, timeout=LIMIT)
    monkeypatch.setattr(os, "fsync", answer(None, os.fsync, lambda _: may_go.wait()))
    host.press("Control-s", "Control-s")
    host.wait(lambda: host.log().count("chat.txt was saved") == 2, "both are told")
    assert target.read_text(encoding="utf-8").count("good morning") == 1
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_nothing_is_saved_without_being_asked_for(
    host: Person, monkeypatch: pytest.MonkeyPatch, tmp_path: Path  # noqa: F811
) -> None:
    monkeypatch.setattr(filedialog, "asksaveasfilename", lambda **_: "")
    monkeypatch.setattr(chat_gui, "save_text", lambda *_: pytest.fail("nothing is to be saved"))
    monkeypatch.chdir(tmp_path)
    talk(host)
    host.press("Control-s")
    host.app.leave_room()
    assert list(tmp_path.iterdir()) == []


def test_the_chooser_offers_the_room_and_the_day_as_a_name(host: Person, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    asked: list[dict[str, object]] = []
    monkeypatch.setattr(filedialog, "asksaveasfilename", answer("", lambda **options: asked.append(options)))
    host.chat.title = "a/b: c?"
    day, strftime = time.strptime("2026-11-23", "%Y-%m-%d"), time.strftime
    monkeypatch.setattr(time, "strftime", lambda form, *_: strftime(form, day))  # today may end in the middle of this
    host.press("Control-s")
    assert asked[0]["initialfile"] == "b_ c_ 2026-11-23.txt"
    assert asked[0]["title"] == Words.save_chat


@pytest.mark.parametrize("action", ["save", "share"])
@pytest.mark.parametrize("way", ["left", "closed", "over"])
def test_a_chooser_may_outlive_the_page_or_the_window(
    host: Person, ann: Person, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str, action: str  # noqa: F811
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
    talk(ann)
    if action == "save":
        ann.press("Control-s")
        until((tmp_path / "chat.txt").exists, "it was asked for, so it is saved")
    else:
        ann.press("Control-o") if way != "closed" else ann.chat.choose_files()
    if way != "closed":
        ann.settle(0.05)


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="there the dialog is the system's")
@pytest.mark.parametrize("way", ["left", "closed"])
def test_a_real_chooser_may_outlive_the_page_or_the_window(ann: Person, way: str) -> None:  # noqa: F811
    app, ended = ann.app, []

    def end() -> None:
        if way == "left":
            app.leave("")
        else:
            app.close()
        ended.append(way)

    app.root.after(50, end)
    ann.press("Control-s")
    until(lambda: ended, "it has ended")


def test_after_a_real_chooser_the_window_still_zooms(host: Person) -> None:  # noqa: F811
    if sys.platform in ("darwin", "win32"):
        pytest.skip("there the dialog is the system's")
    cancel = f"{host.chat.frame}.__tk_filedialog.contents.f2.cancel"
    host.root.after(50, lambda: host.root.tk.call(cancel, "invoke"))
    host.press("Control-s")
    host.focus_composer()
    host.press("Control-plus")
    assert host.app.looks.percent == 110


def test_what_was_started_on_a_page_that_is_gone_shows_no_error(host: Person) -> None:  # noqa: F811
    """Tk would show a window of its own for it."""
    host.root.tk.eval("set problems {}; proc bgerror text {lappend ::problems $text}")
    host.click(host.chat.header.copy)
    tell_scrolled(host.chat.log, 0.0, 0.5)
    host.app.leave("")
    host.settle(chat_gui.COPIED_TIME / 1000 + 0.1)
    assert host.root.tk.eval("set problems") == ""


# Words ------------------------------------------------------------------------

SPEAKING = {"say", "_note", "add_note", "busy", "failed", "leave", "block", "_tell", "button", "wrapped", "title"}
SPEAKING_OPTIONS = {"text", "label", "title", "message", "filetypes", "words"}


def spoken(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Constants that come to be read, outside the table of words: line, text."""
    for top in tree.body:
        if isinstance(top, ast.ClassDef) and top.name == "Words":
            continue
        for node in ast.walk(top):
            if isinstance(node, ast.Call):
                function = node.func
                name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
                told = [keyword.value for keyword in node.keywords if keyword.arg in SPEAKING_OPTIONS]
                told += node.args if name in SPEAKING else []
                told += [k.value for k in node.keywords] if name == "format" else []
                for part in (part for each in told for part in ast.walk(each)):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        yield part.lineno, part.value
            elif isinstance(node, ast.Return) and node.value is not None:
                for part in ast.walk(node.value):
                    if isinstance(part, ast.JoinedStr):
                        yield from ((part.lineno, str(v.value)) for v in part.values if isinstance(v, ast.Constant))


NO_WORDS = re.compile(r"(\w+\.)?T(Label|Button)|text|center")  # names of styles, options and their values


def test_every_sentence_that_people_read_stands_in_the_table_of_words() -> None:
    tree = ast.parse((TOP / "chat_gui.py").read_text(encoding="utf-8"))
    found = sorted(set(spoken(tree)))
    assert found, "the walk finds something"
    others = [(line, text) for line, text in found if re.search(r"[^\W\d_]{2}", text) and not NO_WORDS.fullmatch(text)]
    assert others == []


def test_the_walk_for_words_finds_what_it_looks_for() -> None:
    tree = ast.parse('class Words:\n    a = "in the table"\nttk.Label(x, text="a label")\nself.say(f"said {x}")\n')
    assert [text for _, text in spoken(tree)] == ["a label", "said "]


def test_no_word_of_the_table_is_forgotten() -> None:
    source = (TOP / "chat_gui.py").read_text(encoding="utf-8")
    names = [name for name in vars(Words) if not name.startswith("_")]
    unused = [name for name in names if f"Words.{name}" not in source.replace("\n", " ")]
    assert [name for name in unused if name != "password_missing"] == []


def scrolling(someone: Person) -> None:
    """Its page becomes higher than the window."""
    resize(someone, SMALL)
    someone.look_here()
    someone.press(*["Control-plus"] * 20)


def test_a_page_that_is_higher_than_the_window_scrolls_with_the_wheel(person: Open) -> None:
    someone = person("Ann")
    scrolling(someone)
    page = someone.first_page
    someone.wait(page.scrollbar.winfo_ismapped, "there is something to scroll")
    for delta, moved in ((-120, True), (120, False)):
        for _ in range(20):
            page.name.event_generate("<MouseWheel>", delta=delta)
        someone.settle()
        assert (page.canvas.yview()[0] > 0) is moved


def test_a_page_that_is_higher_than_the_window_scrolls_by_a_touchpad(person: Open) -> None:
    """Only Tk 9 has the event, and sends it on macOS: here only what it means is tried."""
    someone = person("Ann")
    scrolling(someone)
    page = someone.first_page
    someone.wait(page.scrollbar.winfo_ismapped, "there is something to scroll")

    def drag(across: int, down: int) -> None:
        page.drag(chat_gui.way_down(across << 16 | down & 0xFFFF))

    for across, down, moved in ((0, -30, 30), (5, 12, 18), (-5, -2, 20), (-7, 0, 20), (0, 32_000, 0)):
        drag(across, down)
        assert round(page.canvas.canvasy(0)) == moved
    drag(0, -32_000)
    assert page.canvas.yview()[1] == 1.0
