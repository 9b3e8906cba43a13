"""A person in front of a window: real key and mouse events, and what the screen shows. Main thread.

Most tests know the parts of the program's pages only through this file.
"""

from __future__ import annotations

import gc
import sys
import time
import tkinter as tk
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tkinter import ttk
from typing import Any, ClassVar

import chat_gui
import net
from tests.helpers import LIMIT, LOOPBACK, until

Open = Callable[[str], "Person"]
Size = tuple[int, int]  # of a window, in widths of a digit at 100 %
SMALL, USUAL = chat_gui.SMALLEST, (95, 62)

_KEYSYMS = {" ": "space", "\n": "Shift-Return", ".": "period", ":": "colon", "-": "minus"}


@dataclass
class Dialogs:
    """Take the place of the system's dialogs for files."""

    files: Sequence[Path] = ()  # what the person chooses to share
    target: Path | str = ""  # what the person saves to
    asked: list[dict[str, str]] = field(default_factory=list)  # the options of each dialog that was shown

    def choose_files(self, **options: str) -> tuple[str, ...]:
        self.asked.append(options)
        return tuple(map(str, self.files))

    def choose_target(self, **options: str) -> str:
        self.asked.append(options)
        return str(self.target)


class FakeFinder:
    """Takes the place of net.Finder: the join page shows what the test says is found."""

    newest: ClassVar[FakeFinder]  # the one that was made last

    def __init__(self, events: net.Events) -> None:
        FakeFinder.newest = self
        self.events = events
        self.is_closed = False

    def found(self, *rooms: net.FoundRoom) -> None:
        self.events.put(net.Found(rooms))

    def close(self) -> None:
        self.is_closed = True


class Person:
    """One window, and somebody who looks at it, types and clicks."""

    def __init__(self, name: str) -> None:
        self.root = tk.Tk()
        self.app = chat_gui.App(self.root, name)
        self.digit = self.app.looks.digit  # px: the width of a "0" at 100 %
        self.wait(self.root.winfo_viewable, "the window shows")
        self.look_here()

    def close(self) -> None:
        self.app.close()
        del self.app, self.root
        gc.collect()  # here, on the main thread: a widget that another thread collects ends the process

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Lets the window do its work until the condition holds."""

        def holds() -> object:
            self.root.update()
            return condition()

        try:
            until(holds, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; the window shows:\n{self.everything()}") from None

    # Hands.

    def look_here(self) -> None:
        """Gives the keyboard to this window, and there to the widget that had it last, as a window manager would."""
        self.root.update()
        (self.root.focus_lastfor() or self.root).focus_force()
        self.root.update()

    def click(self, widget: tk.Misc, x: int | None = None, y: int | None = None) -> None:
        """In its middle, or at this position. Nothing on the page moves between the call and the click."""
        if x is None or y is None:
            self.root.update()
            x, y = widget.winfo_width() // 2, widget.winfo_height() // 2
        for event in ("<Enter>", "<Motion>", "<ButtonPress-1>", "<ButtonRelease-1>"):
            widget.event_generate(event, x=x, y=y)
        self.root.update()

    def right_click(self, widget: tk.Misc, x: int, y: int) -> None:
        """Opens a menu; the fixture `unposted` keeps it from waiting for a real mouse."""
        self.press_mouse_button(2 if sys.platform == "darwin" else 3, widget, x, y)

    def click_row(self, table: ttk.Treeview, row: str, times: int = 1) -> None:
        """One click, or with `times=2` a double click."""
        x, y = self.middle_of_row(table, row)
        for _ in range(times):
            self.click(table, x, y)
        self.rest(table)

    def rest(self, widget: tk.Misc) -> None:
        """After this, the next click is no part of a double click, however soon it comes."""
        self.press_mouse_button(3 if sys.platform == "darwin" else 2, widget, 0, 0)  # the middle one means nothing here

    def press_mouse_button(self, button: int, widget: tk.Misc, x: int, y: int) -> None:
        widget.event_generate(f"<ButtonPress-{button}>", x=x, y=y)
        widget.event_generate(f"<ButtonRelease-{button}>", x=x, y=y)
        self.root.update()

    def middle_of_row(self, table: ttk.Treeview, row: str) -> tuple[int, int]:
        """The row is scrolled into view first."""
        table.see(row)
        self.root.update()
        x, y, width, height = map(int, table.bbox(row))
        return x + width // 2, y + height // 2

    def message_menu(self, text: str) -> list[str]:
        self.wait(lambda: text in self.log(), f"{text!r} is in the log")
        self.right_click(self.log_text, *self.point(text))
        return self.menu()

    def menu(self) -> list[str]:
        """The commands of the menu that was opened last."""
        menu = self.app.page.menu
        last = menu.index("end")
        return [] if last is None else [str(menu.entrycget(line, "label")) for line in range(last + 1)]

    def choose(self, words: str) -> None:
        """Invokes a command of the menu that was opened last."""
        self.app.page.menu.invoke(self.menu().index(words))
        self.root.update()

    def press(self, *keys: str) -> None:
        """Keys by Tk's names, to whatever has the focus."""
        if sys.platform == "win32" and "KP_" in "".join(keys):
            import pytest  # here, so that the pictures need nothing but Python

            pytest.skip("Windows does not distinguish the number pad's keys from the others")
        for key in keys:
            focus = self.root.focus_get()
            assert focus is not None, "nothing has the focus"
            name = key.replace("Menu", "App") if sys.platform == "win32" else key
            focus.event_generate(f"<{name}>")
            self.root.update()

    def press_in(self, widget: tk.Misc, *keys: str) -> None:
        self.focus(widget)
        self.press(*keys)

    def type(self, text: str) -> None:
        """Letters and a few signs; a newline is Shift+Enter."""
        self.look_here()
        self.press(*(_KEYSYMS.get(character, f"Key-{character}") for character in text))

    def say(self, text: str) -> None:
        self.focus_composer()
        self.type(text)
        self.press("Return")

    def paste(self, text: str) -> None:
        self.fill_clipboard(text)
        self.press("<Paste>")

    def type_into(self, entry: tk.Entry, text: str) -> None:
        """In place of what stands there."""
        self.focus(entry)
        entry.delete(0, "end")
        self.type(text)

    def focus_composer(self) -> None:
        self.focus(self.box)

    def focus(self, widget: tk.Misc) -> None:
        widget.focus_force()
        self.root.update()

    def fill_clipboard(self, text: str) -> None:
        self.root.clipboard_clear()
        self.root.clipboard_append(text)

    def enlarge(self) -> None:
        """Makes the window so large that nothing of a room is put away, whatever the fonts and the resolution."""
        self.root.geometry(f"{(chat_gui.NARROW + 10) * self.digit}x{(chat_gui.LOW + 20) * self.digit}+0+0")
        self.root.update()

    def resize(self, size: Size) -> None:
        width, height = (each * self.digit for each in size)
        self.root.geometry(f"{width}x{height}")
        self.wait(lambda: self.root.winfo_geometry().startswith(f"{width}x{height}+"), f"the window is {size} large")
        self.wait_for_layout()

    def zoom_to(self, percent: int) -> None:
        """By the keys that people use."""
        self.look_here()
        self.press("Control-0")
        steps = chat_gui.ZOOMS.index(percent) - chat_gui.ZOOMS.index(100)
        self.press(*["Control-plus" if steps > 0 else "Control-minus"] * abs(steps))
        assert self.app.looks.percent == percent
        self.wait_for_layout()

    def wait_for_layout(self) -> None:
        """Waits until the layout no longer changes."""
        before: object = None
        for _ in range(20):
            self.root.update()
            now = [(str(widget), widget.winfo_geometry()) for widget in shown(self.root)]
            if now == before:
                return
            before = now
        raise AssertionError("the layout does not come to rest")

    # Rooms.

    def host(self) -> int:
        """Opens a room on a free port, and returns the port."""
        self.app.host(port=0)
        assert self.app.session is not None
        nothing_yet = self.app.session.reachable
        self.wait_until_in()
        self.wait(lambda: self.chat.header.reachable is not nothing_yet, "the window knows where others can join")
        self.focus_composer()
        return self.chat.port

    def join(self, port: int) -> None:
        self.app.join("127.0.0.1", port)
        self.wait_until_in()
        self.focus_composer()

    def wait_until_in(self) -> None:
        """Until the room is joined, and its history is there."""
        self.wait(lambda: isinstance(self.app.page, chat_gui.ChatPage), "the room is joined")
        self.wait(lambda: self.chat.stage is chat_gui.Stage.IN, "the connection is there")
        self.wait(lambda: self.chat.history_left == 0, "its history is there")

    def welcome(self, **changes: object) -> net.Welcome:
        """The room's welcome once more, without a history and with these changes."""
        return replace(self.chat.welcome, **{"files": 0, "history": 0, **changes})  # type: ignore[arg-type]

    def hear(self, count: int, text: str = "line", start: int = 100) -> None:
        """As many messages from the room."""
        feed(self, *(said(start + n, f"{text} {n}") for n in range(count)))

    def scroll(self, *to: object) -> None:
        """Moves up in the log to read there; the arguments are those that a scrollbar of Tk passes."""
        self.chat.log.scroll(*to)
        self.root.update_idletasks()  # the log checks whether the reader still sees the end
        self.wait(lambda: not self.chat.log.follows, "the log stays where the reader is")

    # Eyes.

    @property
    def chat(self) -> chat_gui.ChatPage:
        assert isinstance(self.app.page, chat_gui.ChatPage), self.everything()
        return self.app.page

    @property
    def first_page(self) -> chat_gui.FirstPage:
        assert isinstance(self.app.page, chat_gui.FirstPage), self.everything()
        return self.app.page

    @property
    def join_page(self) -> chat_gui.JoinPage:
        assert isinstance(self.app.page, chat_gui.JoinPage), self.everything()
        return self.app.page

    def button(self, words: str) -> ttk.Button:
        for widget in shown(self.root):
            if isinstance(widget, ttk.Button) and str(widget.cget("text")) == words:
                return widget
        raise AssertionError(f"there is no button {words!r}; the window shows:\n{self.everything()}")

    @property
    def log_text(self) -> tk.Text:
        return self.chat.log.text

    @property
    def box(self) -> tk.Text:
        return self.chat.composer.text

    def log(self) -> str:
        return self.log_text.get("1.0", "end-1c")

    def typed(self) -> str:
        return self.box.get("1.0", "end-1c")

    def sees_end(self) -> bool:
        return self.log_text.bbox("end-2c") is not None

    def point(self, text: str) -> tuple[int, int]:
        """The middle of the first letter of this text in the log."""
        return self.middle_of_letter(self.log_text.search(text, "1.0"))

    def middle_of_letter(self, place: Any) -> tuple[int, int]:
        """At this place in the log, which is scrolled into view first."""
        self.log_text.see(place)
        self.root.update()
        x, y, width, height = self.log_text.bbox(place) or (0, 0, 0, 0)
        return x + width // 2, y + height // 2

    def tagged(self, tag: str) -> list[str]:
        """The pieces of the log with this tag."""
        return [self.log_text.get(start, end) for start, end in self._ranges(tag)]

    def _ranges(self, tag: str) -> list[tuple[Any, Any]]:
        ranges = self.log_text.tag_ranges(tag)
        return list(zip(ranges[::2], ranges[1::2], strict=True))

    def said(self) -> list[str]:
        """The texts of the lines in the log that have a time, without those that are still on their way."""
        return [text for when, _, text in self._lines() if ":" in when]

    def on_their_way(self) -> list[str]:
        return [text for _, who, text in self._lines() if who == chat_gui.Words.sending]

    def _lines(self) -> list[list[str]]:
        lines = [line.split("\t") for line in self.log().split("\n")]
        return [line for line in lines if len(line) == 3]

    def may_write(self) -> bool:
        return not self.chat.composer.is_blocked

    def hint(self) -> str:
        """What the empty composer shows."""
        hints = [child for child in self.box.winfo_children() if child.winfo_ismapped()]
        return "".join(str(hint.cget("text")) for hint in hints)

    def status(self) -> str:
        """The message at the foot of the page."""
        return str(self.app.page.message.cget("text"))

    def click_link(self, text: str) -> None:
        """The newest link in the log with this text."""
        self.wait(lambda: text in self.tagged("link"), f"there is a link {text!r}")
        links = [start for start, end in self._ranges("link") if self.log_text.get(start, end) == text]
        self.click(self.log_text, *self.middle_of_letter(links[-1]))

    def people(self) -> list[str]:
        return rows(self.chat.people.list)

    def sees(self, text: str) -> None:
        self.wait(lambda: text in self.everything(), f"the window shows {text!r}")

    def everything(self) -> str:
        """Every text in the window that is not hidden."""
        return "\n".join(text for widget in shown(self.root) for text in _texts(widget))

    def settle(self, seconds: float = 0.0) -> None:
        """Lets the window do what is waiting; with seconds, for that long: to see that something does *not* happen."""
        deadline = time.monotonic() + min(seconds, LIMIT)
        self.root.update()
        while time.monotonic() < deadline:
            self.root.update()
            time.sleep(0.005)


def room_at(port: int, title: str = "Mr Lee's room", people: int = 1, password: bool = False) -> net.FoundRoom:
    return net.FoundRoom(f"id of {title}", title, LOOPBACK, port, people, password)


def find(someone: Person, *rooms: net.FoundRoom) -> None:
    """These rooms answer now, and the join page shows them."""
    FakeFinder.newest.found(*rooms)
    someone.wait(lambda: tuple(someone.join_page.rooms.values()) == rooms, "the rooms are shown")


def everybody_sees(people: list[Person], *texts: str) -> None:
    for someone in people:
        someone.wait(lambda someone=someone: [t for t in someone.said() if t in texts] == [*texts], f"{texts} is said")  # type: ignore[misc]


def feed(someone: Person, *events: net.Event) -> None:
    """Puts events into the window's queue as the network would."""
    assert someone.app.session is not None
    events_queue = someone.app.session.events
    for event in events:
        events_queue.put(event)
    someone.wait(events_queue.empty, "the events are taken")
    someone.settle()


def said(number: int, text: str, who: int = 7, name: str = "Bob", ident: int = 1) -> net.Said:
    return net.Said(number, time.time(), who, name, ident, text)


def shared(number: int, filename: str, who: int = 7, name: str = "Bob") -> net.Shared:
    return net.Shared(number, time.time(), who, name, f"{number:032x}", filename, 5, "0" * 64)


def rows(table: ttk.Treeview) -> list[str]:
    """The text of each row. By `set`, because `item` takes the name "007" for the number 7."""
    columns = table.cget("columns")
    return [" ".join(str(table.set(row, column)) for column in columns) for row in table.get_children()]


def shown(widget: tk.Misc) -> Iterator[tk.Misc]:
    """All that is inside this widget and not hidden."""
    for child in widget.winfo_children():
        if child.winfo_ismapped():
            yield child
            yield from shown(child)


def _texts(widget: tk.Misc) -> list[str]:
    if isinstance(widget, tk.Text):
        return [widget.get("1.0", "end-1c")]
    if isinstance(widget, ttk.Treeview):
        return rows(widget)
    if isinstance(widget, tk.Entry):  # ttk's is one too
        return [widget.get()]
    return [str(widget.cget("text"))] if has_option(widget, "text") else []


def has_option(widget: tk.Misc, option: str) -> bool:
    return option in widget.keys()  # noqa: SIM118 - a widget is no dictionary


def name_of(widget: tk.Misc) -> str:
    text = str(widget.cget("text")) if has_option(widget, "text") else ""
    return f"{widget.winfo_class()} {text!r}"
