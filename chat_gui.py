"""The window of the chat: everything that people see, click and type. net.py does everything on the network.

    python chat_gui.py                             shows the first page
    python chat_gui.py --host                      opens a room at once
    python chat_gui.py --join ADDRESS[:PORT]       joins that room at once
    --name NAME, --password P and --port PORT      can be added to --host and --join

The file from top to bottom:

    limits         the numbers that matter, with their units and reasons
    text           how other people's text is drawn; links, addresses, folders
    transcript     Message, and Transcript (the messages kept for saving); saving and copying; does not use tkinter
    looks          fonts, colours, styles, keys; the differences between systems
    widgets        Log (the messages), Composer (the box for typing), Transfers (files being sent and saved), FindBar,
                   Keys, People (who is here, and the host's buttons), PasswordBox
    pages          FirstPage and JoinPage, which scroll; ChatPage (a room) with its Header, Question, Layout (arranges
                   the parts), Files (sharing and saving) and Away (while there is no connection)
    App            Session (one visit to a room), and the window, which shows one page and polls for events
    command line   main
    words          the words that people read in the window

Almost everything here runs on the main thread, which is the only one that may use tkinter and which never waits for
the network. Threads of net.py put events into a queue. `App.poll` takes a limited number of them many times a second,
so the window stays responsive however many arrive. The few threads that this file starts (to end a visit, save the
chat, start a browser, and wait for a file manager) never use a widget.
"""

from __future__ import annotations

import argparse
import bisect
import collections
import contextlib
import enum
import functools
import gc
import getpass
import itertools
import logging
import math
import os
import queue
import re
import secrets
import subprocess
import sys
import threading
import time
import unicodedata
import webbrowser
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NoReturn, TypeVar


def cannot_start(problem: str) -> NoReturn:
    """Shows the problem and ends the program. Python 3.8 and 3.9 can parse this file, so they get this far."""
    if sys.stderr is not None:  # None under pythonw, which has no console
        print(f"chat_gui.py {problem}", file=sys.stderr)
    if sys.platform == "win32":  # after a double click, the console closes before anyone can read the problem
        with contextlib.suppress(Exception):  # without tkinter or a screen, there is no message box
            from tkinter import Tk, messagebox

            Tk().withdraw()
            messagebox.showerror("chat_gui.py", f"chat_gui.py {problem}")
    sys.exit(1)


if sys.version_info < (3, 10):  # noqa: UP036 - older versions do get here
    cannot_start(f"needs Python 3.10 or newer; this is {sys.version_info[0]}.{sys.version_info[1]}")

try:
    import net
except ModuleNotFoundError as error:
    if error.name != "net":
        raise
    cannot_start("needs net.py in the same folder")

tkinter_problem = ""
try:
    import tkinter as tk
    from tkinter import filedialog, font, ttk
except ImportError as error:  # main reports it
    tkinter_problem = str(error)

log = logging.getLogger("chat_gui")

# ------------------------------------------------------------------------------------------------------------- limits

POLL = 50  # ms between polls: people do not notice the delay, and polling takes less than 1 % of a processor
POLL_BUSY = 10  # ms between polls during BUSY_TIME
BUSY_TIME = 2.0  # s after the latest event, during which another one is likely
POLL_SOON = 1  # ms between polls while more events are waiting; 0 would leave no time for drawing
POLL_EVENTS = 400  # events in one poll, at most
POLL_BYTES = 16_000  # bytes of text in UTF-8 after which a poll handles no further event; ASCII is drawn fastest
POLL_TIME = 0.008  # s after which a poll handles no further event, so that the window responds to keys quickly
LOG_LINES = 5_000  # lines kept in the log; up to twice as many while its end is out of view
LOG_SLACK = 500  # further lines that the log may have before the oldest are deleted, so that this happens seldom
COMPOSER_LINES = 6  # the greatest height of the box for typing, in lines; longer text scrolls
MAX_PASTE = 50_000  # characters pasted at most: more would slow the box down, and a message is limited to net.MAX_TEXT
LONGEST_LINE = 1_000  # characters drawn before a line break: Tk lays out the whole line again after each change
LONGEST_RUN = 200  # wide characters before a break: about 250 crash Tk 9.1 on X11, and many make every version slow
MOST_MARKS = 5  # combining marks drawn on one letter: some scripts need that many
MOST_MARKED = 20  # links and mentions highlighted in one message: Tk is slow with many tagged pieces on a line
MOST_FOUND = 1_000  # matches highlighted at once (the newest ones): Tk is slow with more
MOST_EMOJI = 60  # symbols outside the basic plane drawn in one message (on X11)
MOST_KINDS_OF_EMOJI = 12  # distinct symbols drawn in one message: X11 keeps few coloured glyphs ready to draw
MOST_OF_A_NAME = 500  # characters drawn, at most, of a name, a title or a reason from the room
PEOPLE_WIDTH = 20  # the width of the list of people, in widths of a digit
NAME_WIDTH = 12  # the width of the log's column of names, in widths of a digit; longer names are shortened
NARROW_NAME_WIDTH = 8  # replaces NAME_WIDTH in a narrow window
NARROW = 72  # widths of a digit; in a narrower window, the list of people opens on request, and buttons have extra rows
LOW = 36  # widths of a digit; a lower window hides what is not urgent, and has most of its buttons in the menu
NARROW_LOW = 50  # replaces LOW in a narrow window, which has more parts below each other
MOST_WIDE = 60  # widths of a digit; the content of the first page and of the join page is at most this wide
SMALLEST = (46, 60)  # the smallest width and height of the window, in widths of a digit at 100 %
ZOOMS = (60, 70, 80, 90, 100, 110, 125, 150, 175, 200, 250)  # in %
KEPT_MESSAGES = 100_000  # messages kept for saving, enough for a lesson in which everyone writes all the time
KEPT_CHARACTERS = 20_000_000  # characters kept for saving; they take up to about 80 MB
MEASURE_TIME = 0.01  # s in one poll for measuring names, so that events are handled in between
NOTHING_FOUND_AFTER = 10.0  # s without a room before the join page says what else to try
MOVED_AFTER = net.ROOM_GONE_AFTER  # s without the old address, after which a room found at a new one counts as moved
TRANSFERS_SHOWN = 4  # rows; further transfers are only counted
PROGRESS_WIDTH = 24  # the length of the progress bar, in widths of a digit
COPIED_TIME = 1_500  # ms for which a button says "Copied"
DRAWS_BY_X11 = sys.platform not in ("win32", "darwin")
# If an event's state has one of these bits, the key types no letter: 0x4 is Control, 0x8 is Alt (macOS: Command).
NO_LETTER = 0x4 if sys.platform == "win32" else 0xC  # on Windows, 0x8 is Num Lock
ALT_GR = 0x20004  # Windows reports AltGr as Control and Alt together, although it types a letter

# --------------------------------------------------------------------------------------------------------------- text

# These are not drawn: direction marks could reverse the text around them; Tk draws the others as boxes or not at all.
_NOT_DRAWN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\U000e0000-\U000e007f]"
)


def drawable(text: str) -> str:
    """Returns the text as the window draws it: without anything that could harm the window or neighbouring lines."""
    if text.isascii() and text.isprintable() and len(text) <= LONGEST_LINE:  # the usual case
        return text
    return "".join(drawn_parts(text))


def drawn_parts(text: str) -> list[str]:
    """Returns what is drawn for each character of the text: itself (perhaps after a line break), a replacement, or "".

    Without limits, piles of combining marks would cover other lines, X11 would need seconds to draw many different
    emoji, and Tk would need seconds to lay out very long lines.
    """
    parts = []
    column = marks = emoji = run = 0
    kinds: set[str] = set()
    for character in text:
        part = character
        category = unicodedata.category(character)
        if character == "\n":
            column = marks = run = 0
            parts.append(part)
            continue
        if character == "\t":
            part = " " * (4 - column % 4)
        elif _NOT_DRAWN.match(character):
            part = ""
        elif "\ud800" <= character <= "\udfff":
            part = "\ufffd"
        elif category in ("Mn", "Me"):
            marks += 1
            part = character if marks <= MOST_MARKS else ""
        elif DRAWS_BY_X11 and character > "\uffff" and category[0] == "S":
            emoji += 1
            kinds.add(character)
            if emoji > MOST_EMOJI or len(kinds) > MOST_KINDS_OF_EMOJI:
                part = "\u25a1"
        if part and (character > "\u2e7f" or (run and category in ("Mn", "Me", "Cf"))):  # marks and joiners extend it
            run += 1
        elif part:
            run = 0
        if part and category not in ("Mn", "Me"):
            marks = 0
            width = len(part)
            if column >= LONGEST_LINE or run > LONGEST_RUN:
                part = f"\n{part}"
                column, run = 0, 1
            column += width
        parts.append(part)
    return parts


def drawable_name(name: str) -> str:
    """Returns a name, a title or a reason on one line, cut to MOST_OF_A_NAME characters."""
    return " ".join(drawable(name[:MOST_OF_A_NAME]).split())


def clock(seconds: float, form: str = "%H:%M") -> str:
    """Returns the local time of `seconds` (since 1970), or "--:--" if the system cannot convert it."""
    try:
        return time.strftime(form, time.localtime(seconds))
    except (ValueError, OverflowError, OSError):  # a year that this system does not support
        return "--:--"


def file_size(size: int) -> str:
    """Returns the size as people say it, in decimal units: 2,100,000 bytes are "2.1 MB"."""
    if size < 1_000:
        return counted(size, *Words.bytes)
    number, units = size / 1_000, [*Words.larger_sizes]
    while number >= 999.5 and len(units) > 1:
        number /= 1_000
        units.pop(0)
    return f"{number:.1f} {units[0]}" if number < 9.95 else f"{number:,.0f} {units[0]}"


def counted(number: int, one: str, several: str) -> str:
    """Returns the words for this number of things, in the singular or the plural."""
    return (one if number == 1 else several).format(number=number)


def home_folder(*inside: str) -> str:
    """Returns the home folder, or the folder `inside` it if that exists. Without a home, uses the current folder."""
    home = os.path.expanduser("~")
    if not os.path.isdir(home):
        home = os.getcwd()
    folder = os.path.join(home, *inside)
    return folder if os.path.isdir(folder) else home


def show_folder(folder: str) -> None:
    """Opens the folder in the system's file manager. Raises OSError if the system cannot start a program for it."""
    if sys.platform == "win32":
        os.startfile(folder)
    else:
        command = ["open" if sys.platform == "darwin" else "xdg-open", folder]
        opener = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        # The file manager may outlive this window. The thread waits for its end, so that no zombie process remains.
        threading.Thread(target=opener.wait, name="folder opened", daemon=True).start()


def show_page(address: str) -> None:
    """Opens the address in the system's browser, in a thread, because starting a browser can take seconds."""
    threading.Thread(target=webbrowser.open, args=[address], name="browser opened", daemon=True).start()


# A link ends before the punctuation of the sentence around it, including Chinese and Japanese punctuation.
WEB_ADDRESS = re.compile(r"(?<![A-Za-z0-9_])https?://[^\s<>\"\u3000-\u303f\uff00-\uffef]+", re.IGNORECASE)
_AFTER_LINK = ".,;:!?'\u2018\u2019\u201c\u201d\u2026\u00ab\u00bb"
_BRACKETS = {")": "(", "]": "[", "}": "{"}


def link_at(match: re.Match[str]) -> str:
    """Returns the link without trailing punctuation, which includes closing brackets that the link does not open."""
    link = match[0]
    while link and (link[-1] in _AFTER_LINK or link.count(link[-1]) > link.count(_BRACKETS.get(link[-1], link[-1]))):
        link = link[:-1]
    return link


def tidy(text: str) -> str:
    """Returns typed text as it is sent: no blank lines at the start, no white space at the end; indents stay."""
    return re.sub(r"\A(?:[^\S\n]*\n)+", "", text).rstrip()


def parse_address(text: str, port: int = net.PORT) -> tuple[str, int]:
    """Returns the typed address and port. People type "192.168.1.20", "192.168.1.20:5253", "http://..." or "a-name".

    Accepts other scripts' digits, a comma instead of a dot (number pads in much of Europe type one), blanks and
    invisible characters. If the text names no port, returns `port`. Raises ValueError, with words to show, if there is
    no address, or if the address or the port is invalid.
    """
    typed = net.visible_text(unicodedata.normalize("NFKC", text))
    if not typed:
        raise ValueError(Words.address_missing)
    bare = re.sub(r"(?i)^[a-z]+://", "", re.sub(r"\s", "", typed)).split("/")[0]
    bare = "".join(str(unicodedata.digit(c)) if unicodedata.digit(c, None) is not None else c for c in bare)
    if bare.count(":") > 1:
        raise ValueError(Words.only_ipv4)
    address, _, digits = bare.partition(":")
    if re.fullmatch(r"[0-9.,\u3002\uff61]+", address):
        address = re.sub(r"[,\u3002\uff61]", ".", address)
    address = address.rstrip(".")
    if not re.fullmatch(r"[\w.-]{1,253}", address) or (re.fullmatch(r"[\d.]+", address) and not is_ipv4(address)):
        raise ValueError(Words.address_wrong.format(text=typed[:60]))
    if is_ipv4(address):  # people read 010 as ten, but some resolvers read it as octal, which is eight
        address = ".".join(str(int(part)) for part in address.split("."))
    if digits:
        if not re.fullmatch(r"[0-9]{1,5}", digits) or not 0 < int(digits) < 65536:
            raise ValueError(Words.port_wrong.format(text=digits[:60]))
        port = int(digits)
    return address, port


def is_ipv4(address: str) -> bool:
    parts = address.split(".")
    return len(parts) == 4 and all(re.fullmatch(r"[0-9]{1,3}", part) and int(part) < 256 for part in parts)


def join_address(address: str, port: int) -> str:
    """Returns the address as people type it: with the port only if that is not the usual one."""
    return address if port == net.PORT else f"{address}:{port}"


def room_says(reason: str) -> str:
    """Marks a text as coming from the room, so that nobody takes it for the program's own words."""
    return Words.room_says.format(text=drawable_name(reason))


# --------------------------------------------------------------------------------------------------------- transcript


@dataclass(eq=False)
class Message:
    """One message in the log: something that a person said or shared, or a note by this program."""

    seconds: float  # since 1970
    text: str  # the original, not as drawn; for a file, its description
    who: int = 0  # the number of the person who said or shared it; 0 for a note
    name: str = ""
    number: int = 0  # the number of the room's event; 0 if there is none, or if it was in an earlier room
    tags: tuple[str, ...] = ()
    link: tuple[str, Callable[[], None]] | None = None  # words after the text, and what a click on them does
    is_deleted: bool = False
    reason: str = ""  # why the message was rejected
    height: int = 0  # lines in the log, not counting breaks where Tk wraps the text

    def line(self, form: str = "%H:%M") -> str:
        """Returns the message as text to copy or save. Indents further lines, so that it looks like one message."""
        text = self.text
        if self.who and self.is_deleted:
            name = Words.deleted_mark.format(name=self.name) if text else self.name
            text = f"{name}: {text or Words.deleted}"
        elif self.who:
            text = f"{self.name}: {text}"
        return "\n    ".join(f"{clock(self.seconds, form)} {text}".splitlines())  # splits wherever an editor may


class Transcript:
    """Keeps the newest messages for saving the chat, up to a maximum number of messages and of characters."""

    def __init__(self, most_messages: int = KEPT_MESSAGES, most_characters: int = KEPT_CHARACTERS) -> None:
        self._most_messages = most_messages
        self._most_characters = most_characters
        self._messages: collections.deque[Message] = collections.deque()
        self._characters = 0
        self._forgotten = 0

    def begin(self) -> None:
        """Prepares for another room, which numbers its events from 1 again. Earlier messages stay."""
        for message in self._messages:
            message.number = 0

    def add(self, message: Message) -> None:
        self._messages.append(message)
        self._characters += len(message.text)
        while len(self._messages) > self._most_messages or self._characters > self._most_characters:
            self._forgotten += 1
            self._characters -= len(self._messages.popleft().text)

    def delete(self, number: int, *, keep_text: bool) -> Message | None:
        """Marks a message as deleted and returns it, or returns None if it is unknown or already deleted."""
        message = next((each for each in reversed(self._messages) if each.number == number), None)
        if number == 0 or message is None or message.is_deleted:
            return None
        message.is_deleted = True
        if not keep_text:  # only the host's window keeps it
            self._characters -= len(message.text)
            message.text = ""
        return message

    def text(self, title: str) -> str:
        """Returns the title and all messages that are kept, as the text of a file."""
        lines = [title, ""]
        if self._forgotten:
            lines.append(Words.forgotten.format(number=self._forgotten, kept=len(self._messages)))
        lines += [message.line("%Y-%m-%d %H:%M:%S ") for message in self._messages]
        return "\n".join(lines) + "\n"


def original_part(text: str, first: int, last: int) -> str:
    """Returns the part of the original text that is drawn as the characters `first` to `last` (exclusive)."""
    ends = list(itertools.accumulate(map(len, drawn_parts(text))))
    return text[bisect.bisect_right(ends, first) : bisect.bisect_left(ends, last) + 1] if last > first else ""


def save_text(path: str, text: str, events: net.Events) -> None:
    """Writes the whole file or nothing, then puts `Saved` or `Failed` into the queue. Runs in its own thread."""
    try:
        with net.replacing(path) as file:
            net.write_all(file, text.replace("\n", os.linesep).encode("utf-8", "replace"))
            os.fsync(file.fileno())
        events.put(net.Saved(0, path))  # 0: no transfer has this number
    except OSError as error:
        code = "permission" if isinstance(error, PermissionError) else "disk"
        events.put(net.Failed(0, os.path.basename(path), code, error.strerror or str(error)))


# -------------------------------------------------------------------------------------------------------------- looks

PAGE = "#f3f4f7"
CARD = "#ffffff"
INK = "#1e2430"
QUIET = "#5c6573"  # contrast 5.9 : 1 on white
LINE = "#d5d9e0"
ACCENT = "#2457c5"
SELECTION = "#cfdcf7"
CURRENT = "#e9effb"
HOST = "#cdebd3"  # the background of the host's name, because another person's name may look the same
MENTION = "#fff1c2"
FOUND = "#fff1c2"
FOUND_NOW = "#ffd24d"
WRONG = "#b3261e"
# The colours of people's names. Each has a contrast of at least 4.6 : 1 with white and with CURRENT.
NAMES = ("#1a63dd", "#9a3412", "#187a39", "#8b2fb8", "#b42318", "#0e7490", "#a21a67", "#6b5900")


def make_sharp() -> None:
    """On Windows, prevents a blurred window on a high-resolution screen. Must be called before Tk creates a window."""
    if sys.platform == "win32":
        import ctypes

        with contextlib.suppress(AttributeError, OSError):  # older than Windows 8.1
            ctypes.OleDLL("shcore").SetProcessDpiAwareness(1)  # 1: one scale for all screens; Tk cannot adapt to each


class Looks:
    """Fonts, styles and zoom, and the differences between systems. Created once, lives as long as the window.

    The zoom changes the fonts but not the distances between widgets. `gap` (px) is the usual distance. `digit` (px) is
    the width of a "0" at the current zoom; widths of columns and layouts are multiples of it.
    """

    def __init__(self, root: tk.Tk) -> None:
        self._root = root
        system = root.tk.call("tk", "windowingsystem")
        self.is_x11, self.is_mac = system == "x11", system == "aqua"
        self.text = font.nametofont("TkTextFont", root)
        self.base = font.nametofont("TkDefaultFont", root)
        size = 11 if self.is_x11 else abs(int(self.text.actual("size")))
        family = self.text.actual("family")
        self.bold = font.Font(root, family=family, weight="bold")
        self.italic = font.Font(root, family=family, slant="italic")
        self.small = font.Font(root, family=family)
        self.large = font.Font(root, family=family, weight="bold")
        usual = (self.text, self.base, font.nametofont("TkMenuFont", root), self.bold, self.italic)
        self._sizes = [(each, size) for each in usual]  # size in points at 100 %
        self._sizes += [(self.small, max(size - 1, 8)), (self.large, size + 9)]
        self.text.configure(size=size)
        self.gap = self.text.measure("0")  # px
        self.style = ttk.Style(root)
        if self.is_x11:
            self.style.theme_use("clam")
            root.configure(background=PAGE)
            for option, colour in (("foreground", INK), ("background", PAGE)):  # dialogs stay readable on dark desktops
                root.option_add(f"*{option}", colour)
            self._style_x11()
        self.zoom(100)

    def zoom(self, percent: int) -> None:
        self.percent = percent
        for each, size in self._sizes:
            each.configure(size=max(round(size * percent / 100), 4))
        self.digit = self.text.measure("0")  # px
        style = self.style
        style.configure("Treeview", rowheight=self.text.metrics("linespace") + self.gap, font=self.text, borderwidth=0)
        style.configure("Title.TLabel", font=self.large)
        style.configure("Quiet.TLabel", foreground=QUIET)
        style.configure("Wrong.TLabel", foreground=WRONG)
        style.configure("Bold.TLabel", font=self.bold)
        style.configure("Horizontal.TProgressbar", thickness=self.digit)
        self._lay_out_entries(self._root)

    def _lay_out_entries(self, parent: tk.Misc) -> None:
        """Sets the font of each ttk.Entry again, because it otherwise keeps its old layout until its text changes."""
        for widget in parent.winfo_children():
            if isinstance(widget, ttk.Entry):
                widget.configure(font=self.text)
            self._lay_out_entries(widget)

    def _style_x11(self) -> None:
        """Restyles the theme `clam`, because Tk's own look on X11 dates from the 1990s. Elsewhere, Tk looks native."""
        style, gap = self.style, self.gap
        flat = {"lightcolor": CARD, "darkcolor": CARD}
        style.configure(".", background=PAGE, foreground=INK, bordercolor=LINE, lightcolor=PAGE, darkcolor=PAGE)
        style.configure(".", troughcolor=PAGE, focuscolor=ACCENT, insertcolor=INK)
        style.map(".", background=[("disabled", PAGE)], foreground=[("disabled", QUIET)])
        style.map(".", selectbackground=[("!focus", SELECTION)], selectforeground=[("!focus", INK)])
        style.configure("TButton", padding=(gap, gap // 2), width=-6, background=CARD, **flat)
        shades = [("disabled", PAGE), ("pressed", "#e2e6ee"), ("active", "#eef1f6")]
        style.map("TButton", background=shades, bordercolor=[("focus", ACCENT)])
        accent = {"background": ACCENT, "lightcolor": ACCENT, "darkcolor": ACCENT}
        style.configure("Accent.TButton", foreground="white", bordercolor=ACCENT, focuscolor="white", **accent)
        shades = [("disabled", PAGE), ("pressed", "#1a4199"), ("active", "#1e4bad")]
        style.map("Accent.TButton", background=shades, bordercolor=[("disabled", LINE)])
        style.map("Accent.TButton", lightcolor=[("disabled", PAGE)], darkcolor=[("disabled", PAGE)])
        style.configure("TEntry", padding=gap // 2, fieldbackground=CARD, **flat)
        style.configure("TEntry", selectbackground=SELECTION, selectforeground=INK)
        style.map("TEntry", bordercolor=[("focus", ACCENT)], lightcolor=[("focus", ACCENT)])
        style.map("TEntry", fieldbackground=[("disabled", PAGE)], selectforeground=[("!focus", INK)])
        style.configure("Horizontal.TProgressbar", troughcolor=LINE, bordercolor=LINE, **accent)
        style.configure("Treeview", background=CARD, fieldbackground=CARD, foreground=INK, bordercolor=CARD, **flat)
        style.map("Treeview", background=[("selected", SELECTION)], foreground=[("selected", INK)])
        thumb = "#c3c9d4"
        hidden = [("disabled", CARD)]  # ttk disables a scrollbar when everything is visible
        style.configure("Vertical.TScrollbar", troughcolor=CARD, bordercolor=CARD, arrowsize=gap)
        style.configure("Vertical.TScrollbar", gripcount=0, gripsize=0)  # the names of one option in Tk 8.6 and in Tk 9
        style.configure("Vertical.TScrollbar", background=thumb, lightcolor=thumb, darkcolor=thumb)
        style.map("Vertical.TScrollbar", background=hidden, lightcolor=hidden, darkcolor=hidden)
        part = ("Vertical.Scrollbar.thumb", {"expand": "1", "sticky": "nswe"})
        style.layout("Vertical.TScrollbar", [("Vertical.Scrollbar.trough", {"sticky": "ns", "children": [part]})])  # type: ignore[list-item]

    def key(self, words: str) -> str:
        """Returns the words with this system's names for the keys: macOS has Command instead of Ctrl."""
        return words.replace("Ctrl", "Command") if self.is_mac else words

    def menu(self, parent: tk.Misc) -> tk.Menu:
        menu = tk.Menu(parent, tearoff=False, font=self.text)
        if self.is_x11:  # other systems draw menus in their own style
            menu.configure(background=CARD, foreground=INK, activebackground=SELECTION, activeforeground=INK)
            menu.configure(relief="solid", borderwidth=1, activeborderwidth=self.gap // 2)
        return menu

    @staticmethod
    def _make_card(frame: tk.Frame, widget: tk.Text | ttk.Treeview) -> None:
        """Gives the frame a thin border, which changes colour while the widget that fills it has the keyboard focus."""
        frame.configure(background=CARD, highlightbackground=LINE, highlightcolor=LINE, highlightthickness=1)
        frame.rowconfigure(0, weight=1)
        frame.columnconfigure(0, weight=1)
        widget.grid(row=0, column=0, sticky="nsew")
        widget.bind("<FocusIn>", lambda _: frame.configure(highlightbackground=ACCENT), add=True)
        widget.bind("<FocusOut>", lambda _: frame.configure(highlightbackground=LINE), add=True)

    def text_box(self, parent: tk.Misc, **options: Any) -> tuple[tk.Frame, tk.Text]:
        """Creates a frame with a thin border and, in it, a box for text with these further options. Returns both."""
        frame = tk.Frame(parent)
        text = tk.Text(frame, height=1, width=20, font=self.text, wrap="word", padx=self.gap, pady=self.gap // 2)
        text.configure(relief="flat", borderwidth=0, highlightthickness=0, background=CARD, foreground=INK)
        text.configure(insertbackground=INK, selectbackground=SELECTION, selectforeground=INK)
        text.configure(inactiveselectbackground="#dfe6f3", **options)
        text.bind("<Tab>", "focus [tk_focusNext %W]; break")
        text.bind("<Shift-Tab>", "focus [tk_focusPrev %W]; break")
        self._make_card(frame, text)
        return frame, text

    def table(self, parent: tk.Misc, columns: tuple[str, ...], height: int) -> tuple[tk.Frame, ttk.Treeview]:
        """Creates a frame as `text_box` does and, in it, a list in which one row can be selected. Returns both."""
        frame = tk.Frame(parent)
        made = ttk.Treeview(frame, columns=columns, show="", height=height, selectmode="browse")
        for key, row in (("<Home>", 0), ("<End>", -1)):
            made.bind(key, lambda _, row=row: choose_row(made, row))  # type: ignore[misc]
        for key, row in (("<Down>", 0), ("<Up>", -1)):  # Tk's own bindings do nothing before a row has the focus
            made.bind(key, lambda _, row=row: None if made.focus() else choose_row(made, row))  # type: ignore[misc]
        self._make_card(frame, made)
        self.scroll(made)
        return frame, made

    @staticmethod
    def scroll(view: Any) -> ttk.Scrollbar:
        """Adds a scrollbar to the right of the widget."""
        made = ttk.Scrollbar(view.master, command=view.yview)
        made.grid(row=0, column=1, sticky="ns")
        view.configure(yscrollcommand=made.set)
        return made


def shortened(text: str, text_font: font.Font, width: int) -> str:
    """Returns the text; if it is wider than `width` px, an ellipsis replaces its middle.

    Keeps the end, because of the number in names such as "Ann 2". Uses bisection, because measuring letters for the
    first time is slow.
    """
    if text_font.measure(text) <= width:
        return text
    end = text[-4:]
    counts = range(1, len(text) - 4)  # how many letters of the beginning may stay
    fits = bisect.bisect(counts, width, key=lambda count: text_font.measure(f"{text[:count]}\u2026{end}"))
    return f"{text[:fits]}\u2026{end}"


def bind(widget: tk.Misc, events: Iterable[str], action: Callable[[Any], object]) -> None:
    """Binds the events that this Tk knows: Windows lacks some keys, Tk 9 some mouse buttons, and Tk 8.6 touchpads."""
    for event in events:
        with contextlib.suppress(tk.TclError):
            widget.bind(event, action, add=True)


def on_enter(widget: tk.Misc, action: Callable[[], object]) -> None:
    """Makes both Enter keys run the action instead of what Tk does with them."""

    def act(_: object) -> str:
        action()
        return "break"

    bind(widget, ("<Return>", "<KP_Enter>"), act)


def later(widget: tk.Misc, action: Callable[[], object], wait: int | Literal["idle"] = "idle") -> str:
    """Calls the action when Tk is idle or after `wait` ms, unless the widget is gone by then. Returns the call's id."""
    # A callback of `widget.after` would fail once the widget is destroyed.
    return widget.winfo_toplevel().after(wait, lambda: widget.winfo_exists() and action())


def on_change(entry: ttk.Entry, action: Callable[[], object]) -> None:
    """Calls the action after each change of the text, by a person or by the program."""

    def accept() -> bool:  # Tk asks before each change
        later(entry, action)
        return True

    entry.configure(validate="key", validatecommand=accept)


def copy(widget: tk.Misc, text: str) -> None:
    widget.clipboard_clear()
    widget.clipboard_append(text)


def show(widget: tk.Widget, on: bool) -> None:
    """Shows the widget at its place in the grid, or hides it."""
    if on:
        widget.grid()
    else:
        widget.grid_remove()


def place_hidden(widget: tk.Widget, **options: Any) -> None:
    """Gives the widget a place in the grid, but does not show it yet."""
    widget.grid(**options)
    widget.grid_remove()


def choose_row(table: ttk.Treeview, number: int) -> str:
    rows = table.get_children()
    if rows:
        table.selection_set(rows[number])
        table.focus(rows[number])
        table.see(rows[number])
    return "break"


Rows = dict[str, dict[str, Any]]  # the rows of a table, in order: row id -> its values and tags


def show_rows(table: ttk.Treeview, before: Rows, rows: Rows) -> Rows:
    """Shows these rows instead of those `before`, and returns them. Changes only what differs; the selection stays."""
    table.delete(*(before.keys() - rows))
    for at, (row, options) in enumerate(rows.items()):
        if row not in before:
            table.insert("", at, iid=row, **options)
        elif before[row] != options:
            table.item(row, **options)
    if [row for row in before if row in rows] != [row for row in rows if row in before]:  # a row has moved
        table.set_children("", *rows)
    return rows


def in_a_row(gap: int, *widgets: tk.Widget, stretched: int = 0) -> None:
    """Places the widgets side by side in their parent, `gap` px apart; column `stretched` takes the remaining width."""
    for column, widget in enumerate(widgets):
        widget.grid(row=0, column=column, sticky="ew", padx=(0, 0 if widget is widgets[-1] else gap))
    widgets[0].master.columnconfigure(stretched, weight=1)


def edit(entry: ttk.Entry) -> None:
    """Focuses the entry and selects its text, so that typing replaces it."""
    entry.focus_set()
    entry.selection_range(0, "end")


def wheel_turn(event: tk.Event[tk.Misc]) -> int:
    """Returns 1 for a turn down, -1 for a turn up. Before Tk 9, X11 reports the wheel as buttons 4 and 5."""
    return 1 if event.num == 5 or event.delta < 0 else -1


def way_down(delta: int) -> int:
    """Returns the vertical part of a touchpad's `delta`: its lower 16 bits, signed. The upper bits are horizontal."""
    return (delta & 0x7FFF) - (delta & 0x8000)


Command = tuple[str, Callable[[], object]]  # a menu entry: its words and its action


def as_command(widget: ttk.Button) -> Command:
    """Returns a menu entry that does the same as the button."""
    return str(widget.cget("text")), widget.invoke


def button(
    parent: tk.Misc, text: str, action: Callable[[], object], style: str = "TButton", **options: Any
) -> ttk.Button:
    """Creates a button that both Enter and the space bar press."""
    made = ttk.Button(parent, text=text, command=action, style=style, **options)
    on_enter(made, made.invoke)
    return made


def wrapped(parent: tk.Misc, style: str = "TLabel", **options: Any) -> ttk.Label:
    """Creates a label that wraps its text at its own width."""
    label = ttk.Label(parent, style=style, **options)
    label.bind("<Configure>", lambda event: label.configure(wraplength=max(event.width - 4, 1)))  # px, less the border
    return label


# With a keyboard layout that has no Latin letters, shortcuts go by the position of the key on a US keyboard.
# X11 reports the position as a keycode (evdev's code + 8), Windows as a virtual key.
_X11_ROWS = {24: "qwertyuiop", 38: "asdfghjkl", 52: "zxcvbnm"}
_X11_LETTERS = {first + place: letter for first, row in _X11_ROWS.items() for place, letter in enumerate(row)}


def latin_letter(event: tk.Event[tk.Misc]) -> str:
    """Returns the US keyboard's letter if the key types one of another script. Otherwise, and on macOS, returns ""."""
    keysym = event.keysym
    if len(keysym) == 1 and keysym.isascii():
        return ""
    if sys.platform == "win32":
        return chr(event.keycode).lower() if ord("A") <= event.keycode <= ord("Z") else ""
    # On X11, letters of other scripts have names like "Greek_psi" or "U10D0", accented Latin letters like "odiaeresis".
    is_other_script = re.fullmatch("(?!dead_)[A-Za-z]+_.+|U[0-9A-Fa-f]{3,}", keysym)
    return _X11_LETTERS.get(event.keycode, "") if is_other_script and sys.platform != "darwin" else ""


_EDITING = {"a": "<<SelectAll>>", "c": "<<Copy>>", "v": "<<Paste>>", "x": "<<Cut>>", "y": "<<Redo>>", "z": "<<Undo>>"}


def bind_shortcuts(root: tk.Tk, control: str, shortcuts: dict[str, Callable[[], str]]) -> None:
    """Binds `control` (Command on macOS) with each letter to its action, in the whole window, even with Caps Lock on.

    Tk itself binds Ctrl+C and the like, but only to Latin letters. With a Russian, Greek, Hebrew or Arabic layout,
    those and the new shortcuts go by the position of the key (not on macOS).
    """

    def press_latin(event: tk.Event[tk.Misc]) -> str | None:
        letter = latin_letter(event)
        if letter in shortcuts:
            return shortcuts[letter]()
        if letter in _EDITING:
            event.widget.event_generate(_EDITING[letter])
            return "break"
        return None

    for where in ("Text", "TEntry", str(root)):  # in the first two, Ctrl+F would otherwise move the cursor
        for letter, action in shortcuts.items():
            for key in (letter, letter.upper()):
                root.bind_class(where, f"<{control}-{key}>", lambda _, action=action: action())  # type: ignore[misc]
        root.bind_class(where, "<Control-Key>", press_latin)


# ------------------------------------------------------------------------------------------------------------ widgets

Chunks = list[object]  # text and tags in turn, as Tk's insert takes them


class Log:
    """Shows the messages, read-only. `flush` draws all messages added since its last call in one insert and one scroll.

    Each message takes `height` lines of the widget, so the heights tell which line shows which message. The person's
    own messages that the room has not answered yet, `on_their_way`, are below all others, with the tag "sending";
    whenever `flush` draws anything, it draws these again.
    """

    def __init__(self, parent: tk.Misc, looks: Looks) -> None:
        self._looks = looks
        self.frame, self.text = looks.text_box(parent, state="disabled", takefocus=True, cursor="arrow")
        text = self.text
        self.scrollbar = looks.scroll(text)
        self.scrollbar.configure(command=self.scroll)
        text.configure(yscrollcommand=self._scrolled)
        # Tab skips this button, because it comes and goes. Ctrl+End in the log also goes to the end.
        self.jump = button(self.frame, "", self.go_to_end, "Accent.TButton", takefocus=False)
        self.follows = True  # whether the log stays at its end; False after the reader has scrolled up
        self._scheduled_check = ""  # id of the scheduled call of `_notice_end`; "" for none
        self._new = 0  # people's messages since the reader was last at the end
        self._drawn_messages: list[Message] = []  # oldest first
        self._added: list[Message] = []  # not drawn yet
        self.on_their_way: dict[int, str] = {}  # id -> text of a message that the room has not answered
        self._drawn_on_their_way: dict[int, str] = {}
        self._name_width = 0  # px, of the column of names
        self._fitting = functools.lru_cache(LOG_LINES)(lambda name: shortened(name, looks.bold, self._name_width))
        self._handed_out = ""
        self.mention = self._marked = WEB_ADDRESS
        self._host = net.HOST
        text.tag_bind("link", "<Enter>", lambda _: text.configure(cursor="hand2"))
        text.tag_bind("link", "<Leave>", lambda _: text.configure(cursor="arrow"))
        text.tag_bind("link", "<Button-1>", lambda _: self._follow_link("current"))
        text.tag_bind("link", "<Double-Button-1>", lambda _: None)  # a double click follows the link only once
        wheel = ("<MouseWheel>", "<Button-4>", "<Button-5>", "<TouchpadScroll>")
        bind(text, (*wheel, "<Key>", "<B1-Motion>", "<B1-Leave>", "<B2-Motion>"), lambda _: self._reader_scrolls())
        text.bind("<Up>", lambda _: self._step(-1))
        text.bind("<Down>", lambda _: self._step(1))
        on_enter(text, self._follow_first_link)
        text.bind("<<Copy>>", lambda _: self._copy())
        for kind in ("STRING", "UTF8_STRING"):
            text.selection_handle(self._hand_out, selection="PRIMARY", type=kind)

    def fit(self, *, is_narrow: bool) -> None:
        """Sets margins and columns for the font. In a narrow window, a message's further lines start below its time."""
        looks, text = self._looks, self.text
        if self._scheduled_check:  # check now: the new layout must not change `follows`, only the reader may
            text.winfo_toplevel().after_cancel(self._scheduled_check)
            self._notice_end()
        self._fitting.cache_clear()
        space = max(looks.gap, looks.text.measure(" "))  # Tk makes no tab narrower than a blank
        time_width = looks.small.measure("00:00") + space
        self._name_width = (NARROW_NAME_WIDTH if is_narrow else NAME_WIDTH) * looks.digit
        column = time_width + self._name_width + space
        indent = 2 * looks.gap if is_narrow else column
        text.configure(tabs=(time_width, column))
        gap = looks.gap // 3
        text.tag_configure("chosen", background=CURRENT)
        text.tag_configure("time", foreground=QUIET, font=looks.small, lmargin2=indent, spacing1=gap)
        text.tag_configure("text", lmargin1=indent, lmargin2=indent)
        text.tag_configure("quiet", foreground=QUIET, font=looks.small, lmargin1=indent, lmargin2=indent, spacing1=gap)
        text.tag_configure("sending", foreground=QUIET)
        text.tag_configure("wrong", foreground=WRONG)
        text.tag_configure("gone", foreground=QUIET, font=looks.italic)
        text.tag_configure("mention", background=MENTION, font=looks.bold)
        text.tag_configure("link", foreground=ACCENT, underline=True)
        for number, colour in enumerate(NAMES):
            text.tag_configure(f"name{number}", foreground=colour, font=looks.bold)
        text.tag_configure("host", background=HOST, foreground=INK, font=looks.bold)
        text.tag_configure("found", background=FOUND, foreground=INK)
        text.tag_configure("found now", background=FOUND_NOW, foreground=INK)
        text.tag_raise("sel")

    def begin(self, welcome: net.Welcome) -> None:
        """Sets what to highlight: the host's name and mentions of this person ("@Ann", not "@Anna" or "@Ann 2")."""
        self._host = welcome.host or net.HOST
        self.mention = mention(welcome.name)
        self._marked = re.compile(f"{WEB_ADDRESS.pattern}|{self.mention.pattern}", re.IGNORECASE)

    # Adding and changing messages.

    def add(self, message: Message) -> None:
        self._added.append(message)
        if message.who:
            self._new += 1

    def add_note(self, text: str, *, wrong: bool = False) -> Message:
        """Adds a note by this program to the log only; it is not saved with the chat."""
        message = Message(time.time(), text, tags=("wrong",) if wrong else ())
        self.add(message)
        return message

    def redraw(self, message: Message, *, is_gone: bool = False) -> None:
        """Draws a changed message again or, if `is_gone`, removes it."""
        self.flush()
        if message not in self._drawn_messages:  # it was too old and is no longer in the widget
            return
        line = self._line_of(message)
        end = line + message.height
        with self._writable():
            if is_gone:
                self._drawn_messages.remove(message)
                first, last = (f"{line - 1}.end", f"{end - 1}.end") if line > 1 else ("1.0", f"{end}.0")
                self.text.delete(first, last)
            else:
                self.text.delete(f"{line}.0", f"{end - 1}.end")
                self.text.insert(f"{line}.0", *self._chunks(message))  # type: ignore[arg-type]
        self.text.configure(cursor="arrow")
        if self.follows:
            self.go_to_end()

    # Drawing a message.

    def _chunks(self, message: Message) -> Chunks:
        """Returns the chunks to insert for the message, and sets its height."""
        margins = "text" if message.who else "quiet"
        note: Chunks = [drawable(message.text), (margins, *message.tags)]
        body = self._said(message) if message.who else note
        if message.link is not None and not message.is_deleted:
            body += ["   ", (margins,), message.link[0], (margins, "link")]
        message.height = 1 + sum(str(chunk).count("\n") for chunk in body[::2])
        return body

    def _said(self, message: Message) -> Chunks:
        chunks: Chunks = [f"{clock(message.seconds)}\t", ("time",)]
        name_tag = "host" if message.who == self._host else f"name{message.who % len(NAMES)}"
        chunks += [self._fitting(drawable_name(message.name)), ("text", name_tag), "\t", ("text",)]
        if message.is_deleted:
            return [*chunks, Words.deleted, ("text", "gone")]
        chunks += self._marked_text(message.text, ("text", "body", *message.tags))
        if message.reason:
            chunks += ["\n", (), drawable(message.reason), ("text", "wrong")]
        return chunks

    def _marked_text(self, text: str, tags: tuple[str, ...]) -> Chunks:
        """Returns the text as chunks. Marks web addresses as links, and "@" with this person's name as a mention."""
        if "://" not in text and "@" not in text:
            return [drawable(text), tags]
        parts = drawn_parts(text)  # of the whole text, because its drawn form may have a line break inside an address
        chunks: Chunks = []
        rest = 0
        for match in itertools.islice(self._marked.finditer(text), MOST_MARKED):
            kind = "mention" if match[0].startswith("@") else "link"
            start = match.start()
            end = start + len(link_at(match) if kind == "link" else match[0])
            chunks += ["".join(parts[rest:start]), tags, "".join(parts[start:end]), (*tags, kind)]
            rest = end
        return [*chunks, "".join(parts[rest:]), tags]

    # Showing messages.

    def flush(self) -> None:
        """Draws everything added since the last call, and draws the messages on their way again."""
        if not self._added and self._drawn_on_their_way == self.on_their_way:
            return
        added, self._added = self._added, []
        with self._writable():
            if self._drawn_on_their_way:
                self.text.delete("sending.first", "end-1c")
            chunks = [chunk for message in added for chunk in ("\n", (), *self._chunks(message))]
            if chunks:
                if not self._drawn_messages:  # the first message needs no newline before it
                    chunks[0] = ""
                self.text.insert("end-1c", *chunks)  # type: ignore[arg-type]
                self._drawn_messages += added
            for text in self.on_their_way.values():
                chunks = ["\n", ("sending",), f"\t{Words.sending}\t", ("time", "sending")]
                self.text.insert("end-1c", *chunks, drawable(text), ("text", "sending"))  # type: ignore[arg-type]
            self._drawn_on_their_way = dict(self.on_their_way)
            self._trim()
        if self.follows:
            self.go_to_end()
        elif self._new:
            self.jump.configure(text=Words.new_lines.format(number=self._new))
            self.jump.place(relx=1, rely=1, x=-3 * self._looks.gap, y=-self._looks.gap, anchor="se")

    def _trim(self) -> None:
        """Deletes old messages if the log exceeds LOG_LINES (twice that if scrolled up) by more than LOG_SLACK."""
        lines = int(self.text.index("end-1c").split(".")[0])
        if lines <= (LOG_LINES if self.follows else 2 * LOG_LINES) + LOG_SLACK:
            return
        gone = height = 0
        while lines - height > LOG_LINES and gone < len(self._drawn_messages):
            height += self._drawn_messages[gone].height
            gone += 1
        del self._drawn_messages[:gone]
        self.text.delete("1.0", f"{height + 1}.0")

    @contextlib.contextmanager
    def _writable(self) -> Iterator[None]:
        self.text.configure(state="normal")
        try:
            yield
        finally:
            self.text.configure(state="disabled")

    # Following the end. Only the reader's own actions change `follows`.

    def go_to_end(self) -> None:
        self.follows = True
        self._new = 0
        self.jump.place_forget()
        self.text.see("end")

    def scroll(self, *to: object) -> None:
        """Scrolls because the reader asked for it; takes the arguments that Tk's scrollbars pass."""
        self.text.yview(*to)
        self._reader_scrolls()

    def see(self, index: str) -> None:
        """Scrolls to this index because the reader asked for it."""
        self.text.see(index)
        self._reader_scrolls()

    def _reader_scrolls(self) -> None:
        """Checks, once Tk has scrolled, whether the reader can see the end."""
        if not self._scheduled_check:
            self._scheduled_check = later(self.text, self._notice_end)

    def _notice_end(self) -> None:
        self._scheduled_check = ""
        self.follows = self.text.yview()[1] >= 1.0
        if self.follows:
            self.go_to_end()

    def _scrolled(self, first: float, last: float) -> None:
        """Updates the scrollbar. If the reader follows the end, keeps it visible when layout or text changes."""
        self.scrollbar.set(first, last)
        if self.follows and float(last) < 1.0:
            later(self.text, self._stay_at_end)

    def _stay_at_end(self) -> None:
        if self.follows:
            self.text.see("end")

    # The reader's actions.

    def message_at(self, index: str) -> Message | None:
        """Returns the message that is drawn at this index of the widget, or None."""
        line = int(self.text.index(index).split(".")[0])
        last_lines = list(itertools.accumulate(message.height for message in self._drawn_messages))
        number = bisect.bisect_left(last_lines, line)
        return self._drawn_messages[number] if number < len(last_lines) else None

    def _line_of(self, message: Message) -> int:
        """Returns the number of the message's first line in the widget."""
        return 1 + sum(each.height for each in self._drawn_messages[: self._drawn_messages.index(message)])

    def chosen(self) -> Message | None:
        """Returns the message that was chosen with the arrow keys, or None."""
        return self.message_at("chosen.first") if self.text.tag_ranges("chosen") else None

    def _step(self, step: int) -> str:
        """Chooses the message above (-1) or below (1), beginning with the newest. Enter then opens its link."""
        if not self._drawn_messages:
            return "break"
        chosen = self.chosen()
        index = len(self._drawn_messages) - 1
        if chosen is not None:
            index = min(max(self._drawn_messages.index(chosen) + step, 0), index)
        message = self._drawn_messages[index]
        line = self._line_of(message)
        self.text.tag_remove("chosen", "1.0", "end")
        self.text.tag_add("chosen", f"{line}.0", f"{line + message.height}.0")
        self.see(f"{line}.0")
        return "break"

    def _follow_first_link(self) -> None:
        if self.text.tag_ranges("chosen") and (at := self.text.tag_nextrange("link", "chosen.first", "chosen.last")):
            self._follow_link(at[0])

    def _follow_link(self, index: str) -> None:
        """Opens the web address at this index, or runs the action of the link at the end of a message."""
        at = self.text.tag_prevrange("link", f"{index} +1c")
        if not at:
            return
        word, message = self.text.get(*at), self.message_at(at[0])
        if message is not None and message.link is not None and message.link[0] == word:
            message.link[1]()
        elif message is not None:
            show_page(self._original(message, *at))

    def selected(self) -> str:
        """Returns the text to copy: the exact selection if it is within one text or note, otherwise whole messages."""
        text = self.text
        if not text.tag_ranges("sel"):
            return ""
        first, last = self.message_at("sel.first"), self.message_at("sel.last-1c")
        if first is None or (first is last and not first.who):
            return text.get("sel.first", "sel.last")
        if first is last and "body" in text.tag_names("sel.first"):
            return self._original(first, "sel.first", "sel.last")
        start_index = self._drawn_messages.index(first)
        end_index = len(self._drawn_messages) if last is None else self._drawn_messages.index(last) + 1
        return "\n".join(message.line() for message in self._drawn_messages[start_index:end_index])

    def _original(self, message: Message, first: str, last: str) -> str:
        """Returns the part of the message's original text that is drawn between these indices of the widget."""
        begin = next(iter(self.text.tag_nextrange("body", f"{self._line_of(message)}.0")))
        return original_part(message.text, *(len(self.text.get(begin, end)) for end in (first, last)))

    def _copy(self) -> str:
        if text := self.selected():
            copy(self.text, text)
        return "break"

    def _hand_out(self, first: str, length: str) -> str:
        """Returns a piece of the selection. On X11, a paste with the middle mouse button asks for it piece by piece."""
        if first == "0":
            self._handed_out = self.selected()
        return self._handed_out[int(first) : int(first) + int(length)]


def mention(name: str) -> re.Pattern[str]:
    """Returns a pattern for mentions. For "Ann", it matches "@Ann", even before Chinese; not "@Anna" or "@Ann 2"."""
    follows = "" if re.search(r"[^\x00-\u2e7f]$", name) else r"(?![^\W\u2e80-\uffff])"
    return re.compile(rf"@{re.escape(drawable_name(name))}{follows}(?! ?\d)", re.IGNORECASE)


class Composer:
    """The box for typing: Enter sends, Shift+Enter starts a new line. The box grows to COMPOSER_LINES, then it scrolls.

    The program empties the box only on Enter or Send. The function `send` gets the text, tidied and not too long.
    """

    def __init__(self, parent: tk.Misc, looks: Looks, send: Callable[[str], None]) -> None:
        self._looks = looks
        self._send = send
        self.frame, self.text = looks.text_box(parent, pady=looks.gap * 3 // 4, undo=True, maxundo=200)
        self.problem = ttk.Label(parent, style="Wrong.TLabel")
        self.hint = tk.Label(self.text, text=Words.hint, font=looks.text, background=CARD, foreground=QUIET)
        self.hint.configure(anchor="w", justify="left", borderwidth=0, padx=0)
        self.hint.bind("<Button-1>", lambda _: self.text.focus_set())
        for way in ("<<ContextMenu>>", "<<PasteSelection>>"):  # passed on to the box, which the hint covers
            self.hint.bind(way, lambda event, way=way: self.text.event_generate(way, x=event.x, y=event.y))
        on_enter(self.text, self.send)
        bind(self.text, ("<Shift-Return>", "<Shift-KP_Enter>"), lambda _: self.insert("\n"))
        self.text.bind("<<Paste>>", lambda _: self.paste("CLIPBOARD"))
        self.text.bind("<<PasteSelection>>", self._paste_at)
        self.text.bind("<<Modified>>", lambda _: self._modified())
        self.text.bind("<Configure>", lambda _: self._fit())

    def get(self) -> str:
        return self.text.get("1.0", "end-1c")

    def send(self) -> None:
        self.text.focus_set()  # otherwise, a Send button that was pressed with a key would keep the focus
        text = tidy(net.clean_text(self.get()))
        if self.is_blocked or self._show_problem(text):
            return
        self.text.delete("1.0", "end")
        self.text.edit_reset()
        if text:
            self._send(text)  # last, because sending "exit" may close the page and destroy the box

    @property
    def is_blocked(self) -> bool:
        return str(self.text.cget("state")) == "disabled"

    def give_back(self, text: str) -> None:
        """Puts an earlier text into the box again, below what is already there."""
        self.text.insert("end-1c", f"\n{text}" if self.get() else text)
        self.text.mark_set("insert", "end-1c")
        self.text.see("insert")
        self.text.focus_set()

    def block(self, reason: str) -> None:
        """Blocks the box ("" unblocks it) and shows the reason while the box is empty. Text in the box stays there."""
        colours = (PAGE, QUIET) if reason else (CARD, INK)
        self.text.configure(state="disabled" if reason else "normal", background=colours[0], foreground=colours[1])
        self.hint.configure(text=reason or Words.hint, background=colours[0])
        self._fit()

    def _show_problem(self, text: str) -> bool:
        """Returns True if the text is too long; a line below the box then shows by how much."""
        problem = ""
        if (characters := len(text) - net.MAX_TEXT) > 0:
            problem = counted(characters, *Words.too_long)
        elif (lines := text.count("\n") + 1 - net.MAX_TEXT_LINES) > 0:
            problem = counted(lines, *Words.too_many_lines)
        self.problem.configure(text=problem)
        show(self.problem, problem != "")
        return problem != ""

    def insert(self, text: str) -> str:
        """Inserts the text at the cursor, or in place of the selection, as if it had been typed."""
        if self.text.tag_ranges("sel"):
            self.text.delete("sel.first", "sel.last")
        self.text.insert("insert", text)
        self.text.see("insert")
        return "break"

    def paste(self, selection: str) -> str:
        """Inserts CLIPBOARD or, on X11, PRIMARY (the text selected in any window). Every paste uses this method."""
        if not self.is_blocked:
            with contextlib.suppress(tk.TclError):  # the selection is empty or is not text
                pasted: str = self.text.selection_get(selection=selection)  # type: ignore[no-untyped-call]
                self.insert(net.clean_text(pasted[:MAX_PASTE]))
        return "break"

    def _paste_at(self, event: tk.Event[tk.Text]) -> str:
        """Pastes at the mouse pointer, for the middle mouse button."""
        self.text.focus_set()
        self.text.tag_remove("sel", "1.0", "end")
        self.text.mark_set("insert", f"@{event.x},{event.y}")
        return self.paste("PRIMARY")

    def _modified(self) -> None:
        if self.text.edit_modified():
            self.text.edit_modified(False)
            self._show_problem(tidy(self.get()))
            self._fit()

    def _fit(self) -> None:
        if self.get():
            self.hint.place_forget()
        else:
            self.hint.place(x=0, rely=0.5, anchor="w", relwidth=1)
        lines = int(self.text.tk.call(self.text, "count", "-displaylines", "1.0", "end"))
        width = self.text.winfo_width() - 2 * int(self.text.winfo_fpixels(str(self.text.cget("padx"))))
        self.hint.configure(wraplength=max(width, 1) if self.is_blocked else 0)
        if self.is_blocked and width > 0 and not self.get():  # the whole reason must be readable
            lines = self.hint.winfo_reqheight() // self._looks.text.metrics("linespace")
        height = min(max(lines, 1), COMPOSER_LINES)
        if height != int(self.text.cget("height")):
            self.text.configure(height=height)
            self.text.see("insert")


class Transfers:
    """Shows the files that are being sent and saved: the first ones in rows with a progress bar and a Cancel button.

    The others are only counted. `running` has the newest progress of each; `flush` draws it.
    """

    def __init__(self, parent: tk.Misc, looks: Looks, cancel: Callable[[int], None]) -> None:
        self._looks = looks
        self._cancel = cancel
        self.frame = ttk.Frame(parent)
        self.frame.columnconfigure(0, weight=1)
        self._more = ttk.Label(self.frame, style="Quiet.TLabel")
        place_hidden(self._more, row=TRANSFERS_SHOWN, column=0, sticky="w")
        self.running: dict[int, net.Progress] = {}  # the transfer's number -> its newest progress
        self._drawn: dict[int, net.Progress] | None = None  # those that are drawn; None: draw all of them again
        self._rows: dict[int, tuple[ttk.Label, ttk.Label, ttk.Progressbar, ttk.Button]] = {}
        self._is_narrow = False

    def fit(self, *, is_narrow: bool) -> None:
        self._is_narrow = is_narrow
        self._drawn = None

    def flush(self) -> None:
        if self._drawn == self.running:
            return
        self._drawn = dict(self.running)
        shown = list(self.running)[:TRANSFERS_SHOWN]
        for transfer in self._rows.keys() - shown:
            for widget in self._rows.pop(transfer):
                widget.destroy()
        for number, transfer in enumerate(shown):
            self._show_row(number, self.running[transfer])
        others = len(self.running) - len(shown)
        self._more.configure(text=Words.more_files.format(number=others))
        show(self._more, others > 0)
        show(self.frame, bool(shown))

    def _show_row(self, number: int, progress: net.Progress) -> None:
        parent, transfer = self.frame, progress.transfer
        if transfer not in self._rows:
            cancel = button(parent, Words.cancel, lambda: self._cancel(transfer))
            labels = ttk.Label(parent), ttk.Label(parent, style="Quiet.TLabel")
            self._rows[transfer] = (*labels, ttk.Progressbar(parent), cancel)
        name, state, bar, _ = self._rows[transfer]
        words = Words.sending_file if progress.is_upload else Words.saving_file
        digit, most = self._looks.digit, 10 if self._is_narrow else 40
        filename = shortened(drawable_name(progress.filename), self._looks.text, most * digit)
        name.configure(text=words.format(filename=filename))
        bar.configure(maximum=max(progress.size, 1), value=progress.done)
        bar.configure(length=(6 if self._is_narrow else PROGRESS_WIDTH) * digit)
        if progress.is_waiting:
            words = Words.file_waiting
        elif progress.done == progress.size:
            words = Words.file_finishing
        else:
            words = Words.file_progress.format(done=file_size(progress.done), size=file_size(progress.size))
        state.configure(text=words)
        for column, widget in enumerate(self._rows[transfer]):
            left = self._looks.gap // 2 if column else 0
            widget.grid(row=number, column=column, sticky="e" if column else "w", padx=(left, 0), pady=1)
        show(state, not self._is_narrow)


class FindBar:
    """Finds words in the log. Enter goes up to earlier messages, Shift+Enter goes down."""

    def __init__(self, page: ChatPage, looks: Looks) -> None:
        self._page, self._log = page, page.log
        self.frame = ttk.Frame(page.frame)
        label = ttk.Label(self.frame, text=Words.find)
        self.entry = ttk.Entry(self.frame, font=looks.text, width=8)
        up = button(self.frame, "\u2191", self.find, width=2)
        down = button(self.frame, "\u2193", lambda: self.find(backwards=False), width=2)
        close = button(self.frame, Words.close, self.close)
        in_a_row(looks.gap // 2, label, self.entry, up, down, close, stretched=1)
        self.state = ttk.Label(self.frame, text=Words.not_found, style="Wrong.TLabel")
        place_hidden(self.state, row=1, column=1, columnspan=4, sticky="w", padx=looks.gap // 2)
        on_enter(self.entry, self.find)
        bind(self.entry, ("<Shift-Return>", "<Shift-KP_Enter>"), lambda _: self.find(backwards=False))
        on_change(self.entry, self._typed)

    def open(self) -> None:
        self._page.layout.uncover()
        show(self.frame, True)
        edit(self.entry)

    def close(self) -> None:
        self._unmark()
        show(self.frame, False)
        self._page.focus()

    def _typed(self) -> None:
        self._unmark()
        self.find()

    def find(self, *, backwards: bool = True) -> None:
        """Marks the matches and shows the next one upwards or downwards; a new search starts with the lowest match."""
        text, wanted = self._log.text, self.entry.get()
        is_first = not text.tag_ranges("found now")
        here = text.index("end" if is_first else "found now.first" if backwards else "found now.last")
        self._unmark()
        places = self._places(wanted) if wanted else []
        show(self.state, wanted != "" and not places)
        if not places:
            return
        text.tag_add("found", *(f"{line}.{column}" for line, *columns in places for column in columns))
        line, column = map(int, here.split("."))
        earlier = sum(at < (line, column) for at in places)
        line, first, last = places[earlier - 1 if backwards or is_first else earlier % len(places)]
        text.tag_add("found now", f"{line}.{first}", f"{line}.{last}")
        text.tag_raise("found now", "found")
        self._log.see(f"{line}.{first}")

    def _places(self, wanted: str) -> list[tuple[int, int, int]]:
        """Returns (line, start, end) of the newest matches. Tk 8.6's search crashes on emoji when it ignores case."""
        pattern = re.compile(re.escape(_as_tk_counts(wanted)), re.IGNORECASE)
        lines = _as_tk_counts(self._log.text.get("1.0", "end-1c")).split("\n")
        newest = (
            (number, *match.span())
            for number in range(len(lines), 0, -1)
            for match in reversed([*pattern.finditer(lines[number - 1])])
        )
        return sorted(itertools.islice(newest, MOST_FOUND))

    def _unmark(self) -> None:
        for tag in ("found", "found now"):
            self._log.text.tag_remove(tag, "1.0", "end")


def _as_tk_counts(text: str) -> str:
    """Returns the text padded to Tk's count: before Tk 9, each character outside the basic plane counts as two."""
    return text if tk.TkVersion >= 9 else re.sub("[\U00010000-\U0010ffff]", "\\g<0>\0", text)


class Keys:
    """Shows the keyboard shortcuts. While open, covers the messages, the list of people, find bar and notice."""

    def __init__(self, parent: tk.Misc, looks: Looks) -> None:
        self._looks = looks
        self.frame, self.text = looks.text_box(parent, takefocus=True, cursor="arrow")
        for keys, words in Words.keys:
            self.text.insert("end", f"{looks.key(keys)}\t", "keys", f"{looks.key(words)}\n", "words")
        self.text.configure(state="disabled")
        self.text.tag_configure("keys", font=looks.bold, spacing1=looks.gap // 3)

    def fit(self, *, is_narrow: bool) -> None:
        """Aligns the explanations in a column; in a narrow window, each follows directly after its key."""
        column = (2 if is_narrow else 22) * self._looks.digit
        self.text.configure(tabs=(column,))
        self.text.tag_configure("words", lmargin2=column)


class People:
    """The list of people in the room. The host's list also has removed people, and buttons for one person or everyone.

    `flush` shows what has changed. It measures names for at most MEASURE_TIME, leaves the others to the next call, and
    remembers the results, because measuring a thousand unusual names takes seconds.
    """

    def __init__(self, page: ChatPage, app: App) -> None:
        self._page, self._app = page, app
        self._looks = looks = app.looks
        self.names: dict[int, str] = {}  # as drawn
        self._controls = net.Controls((), ())  # who is muted, and who was removed
        self._rows: Rows = {}  # what the list shows
        self._fitting: dict[str, str] = {}  # text -> the text shortened to the column's width
        self._changed = False
        gap = looks.gap
        self.frame = ttk.Frame(page.frame)
        self.frame.rowconfigure(1, weight=1)
        self.frame.columnconfigure(0, weight=1)
        self.title = ttk.Label(self.frame, style="Bold.TLabel")
        self.title.grid(row=0, column=0, sticky="w", pady=(0, gap // 2))
        card, self.list = looks.table(self.frame, ("name",), height=1)
        card.grid(row=1, column=0, sticky="nsew")
        self.list.tag_configure("quiet", foreground=QUIET)
        bar = ttk.Frame(self.frame)
        self.mute = button(bar, Words.mute, self._mute)
        self.remove = button(bar, Words.remove, self._remove)
        self.pause = button(bar, "", lambda: page.control(lambda room: room.pause(not page.welcome.paused)))
        in_a_row(gap, self.mute, self.remove)
        bar.columnconfigure((0, 1), weight=1, uniform="bar")
        self.pause.grid(row=1, column=0, columnspan=2, sticky="ew", pady=(gap, 0))
        if page.is_host:
            bar.grid(row=2, column=0, sticky="ew", pady=(gap, 0))
            self.list.bind("<<TreeviewSelect>>", lambda _: self._show_bar())
            self.list.bind("<<ContextMenu>>", self._show_menu)
            self.list.bind("<<MenuKey>>", lambda _: self._show_menu(None))
            on_enter(self.list, lambda: self._show_menu(None))
        self.fit()

    # Changes in the room.

    def begin(self, welcome: net.Welcome) -> None:
        self.names = {who: drawable_name(name) for who, name in welcome.people}
        self._changed = True

    def came(self, who: int, name: str) -> None:
        self.names[who] = drawable_name(name)
        self._changed = True

    def went(self, who: int) -> None:
        self.names.pop(who, None)
        self._changed = True

    def show_controls(self, controls: net.Controls) -> None:
        self._controls = controls
        self._changed = True

    def fit(self) -> None:
        """Adapts the list to the current font."""
        width = (PEOPLE_WIDTH + 1) * self._looks.digit + self._looks.gap
        self.list.column("name", width=width, minwidth=width, stretch=True)
        self._fitting.clear()
        self._changed = True

    # Showing them.

    def flush(self) -> bool:
        """Updates the list, the title and the buttons. Returns True if anything has changed since the last call."""
        changed, self._changed = self._changed, False
        if changed:
            self._show_rows()
            self.title.configure(text=Words.people.format(number=len(self.names)))
            self._show_bar()
        return changed

    def _show_rows(self) -> None:
        """Shows the host first, then the others alphabetically, then removed people."""
        stop_at = time.perf_counter() + MEASURE_TIME
        own, host = self._page.welcome.who, self._page.welcome.host or net.HOST
        muted = set(self._controls.muted)
        people = [(False, who != host, name.casefold(), who, name) for who, name in self.names.items()]
        people += [(True, True, name.casefold(), who, drawable_name(name)) for who, name in self._controls.removed]
        rows: Rows = {}
        for is_removed, is_other, _, who, name in sorted(people):
            is_muted = who in muted
            if is_removed:
                words = Words.removed_mark
            elif is_muted:
                words = Words.muted_mark
            elif who == own:
                words = Words.you_mark if is_other else Words.host_and_you_mark
            else:
                words = "{name}" if is_other else Words.host_mark
            words = self._shortened(words.replace("{name}", name), stop_at)
            row = f"removed {who}" if is_removed else str(who)
            rows[row] = {"values": (words,), "tags": ("quiet",) if is_removed or is_muted else ()}
        self._rows = show_rows(self.list, self._rows, rows)

    def _shortened(self, words: str, stop_at: float) -> str:
        """Returns the words as they fit into the column. After `stop_at`, leaves that to the next `flush`."""
        if words not in self._fitting:
            if time.perf_counter() > stop_at:
                self._changed = True
                return words
            if len(self._fitting) > LOG_LINES:
                self._fitting.clear()
            self._fitting[words] = shortened(words, self._looks.text, PEOPLE_WIDTH * self._looks.digit)
        return self._fitting[words]

    # The host's actions.

    def _chosen(self) -> tuple[int, bool]:
        """Returns the selected person's number and whether they were removed; (0, False) for nobody or for oneself."""
        for row in self.list.selection():
            if row != str(self._page.welcome.who):
                return int(row.split()[-1]), row.startswith("removed")
        return 0, False

    def _mute(self) -> None:
        who, _ = self._chosen()
        self._page.control(lambda room: room.mute(who, who not in self._controls.muted))

    def _remove(self) -> None:
        who, is_removed = self._chosen()
        self._page.control(lambda room: room.remove(who, not is_removed))

    def _show_bar(self) -> None:
        who, is_removed = self._chosen()
        self.mute.configure(text=Words.unmute if who in self._controls.muted else Words.mute)
        self.mute.state(["!disabled" if who and not is_removed else "disabled"])
        self.remove.configure(text=Words.let_in if is_removed else Words.remove)
        self.remove.state(["!disabled" if who else "disabled"])

    def _show_menu(self, event: tk.Event[ttk.Treeview] | None) -> str:
        """Shows a menu of `mute` and `remove`: at the mouse pointer or, after a key, below the selected person."""
        if event is not None:
            row = self.list.identify_row(event.y)
            if not row:  # below the last row
                return "break"
            self.list.selection_set(row)
            self.list.focus(row)
            self.list.focus_set()
        self._show_bar()
        buttons = [each for each in (self.mute, self.remove) if each.instate(["!disabled"])]
        if buttons:
            x, y, _, height = self.list.bbox(self.list.selection()[0]) or (0, 0, 0, 0)
            at = (event.x, event.y) if event is not None else (x, y + height)
            self._app.show_commands([as_command(each) for each in buttons], self.list, at)
        return "break"


HIDDEN = "\u2022"  # drawn in place of each character of a hidden password


class PasswordBox:
    """An entry for a password. It hides the text, because the window may be on a projector; a button shows it."""

    def __init__(self, row: ttk.Frame, looks: Looks, text: str) -> None:
        row.columnconfigure(0, weight=1)
        self.entry = ttk.Entry(row, font=looks.text, show=HIDDEN, width=8)
        self.entry.insert(0, text)
        self.entry.grid(row=0, column=0, sticky="ew")
        self.button = button(row, Words.show, self.toggle)
        self.button.grid(row=0, column=2, padx=(looks.gap, 0))
        if not net.CAN_ENCRYPT:
            self.entry.state(["disabled"])
            self.button.state(["disabled"])

    def get(self) -> str:
        return self.entry.get()

    def set(self, text: str) -> None:
        self.entry.delete(0, "end")
        self.entry.insert(0, text)

    def toggle(self) -> None:
        is_hidden = str(self.entry.cget("show")) == HIDDEN
        self.entry.configure(show="" if is_hidden else HIDDEN)
        self.button.configure(text=Words.hide if is_hidden else Words.show)


def is_blank(password: str) -> bool:
    return password != "" and not net.visible_text(net.clean_password(password))


def needs_new_python() -> str:
    return Words.needs_new_python.format(version=".".join(map(str, sys.version_info[:2])))


# -------------------------------------------------------------------------------------------------------------- pages


class Page:
    """What all pages have: a frame, a menu, and the label `message`, which subclasses create and `say` fills."""

    message: ttk.Label

    def __init__(self, app: App, padding: int = 0) -> None:
        self._app = app
        self._looks = app.looks
        self.frame = ttk.Frame(app.root, padding=padding)
        self.frame.grid(row=0, column=0, sticky="nsew")
        self.menu = app.looks.menu(self.frame)
        self._countdown: tuple[str, float] | None = None  # what `message` says, and until when (monotonic s)

    def say(self, text: str, *, wrong: bool = False, retry_in: float | None = None) -> None:
        """Shows the text; with `retry_in` (s), `flush` adds the time until the next attempt and counts it down."""
        self._countdown = None if retry_in is None else (text, time.monotonic() + retry_in)
        self.message.configure(text=text, style="Wrong.TLabel" if wrong else "Quiet.TLabel")

    def flush(self) -> None:
        """Each poll ends by calling this. Subclasses also show the effects of the events handled in the poll."""
        if self._countdown is not None:
            reason, retry_at = self._countdown
            seconds = math.ceil(retry_at - time.monotonic())
            again = Words.again_in.format(seconds=seconds) if seconds > 0 else Words.again_now
            text = f"{reason} {again}"
            if str(self.message.cget("text")) != text:  # the text changes once a second
                self.message.configure(text=text)

    def close(self) -> None:
        self.frame.destroy()


class Scrolled(Page):
    """A page that can scroll if the window is too small for it. It scrolls to the widget that has the keyboard focus.

    Subclasses put their widgets into `inner`, in one column.
    """

    def __init__(self, app: App, *, centred: bool) -> None:
        super().__init__(app)
        looks = app.looks
        self._centred = centred
        self.frame.rowconfigure(0, weight=1)
        self.frame.columnconfigure(0, weight=1)
        background = looks.style.lookup("TFrame", "background")
        self.canvas = tk.Canvas(self.frame, highlightthickness=0, background=background, width=1, height=1)
        self.canvas.grid(row=0, column=0, sticky="nsew")
        self.scrollbar = looks.scroll(self.canvas)
        show(self.scrollbar, False)
        self.inner = ttk.Frame(self.canvas, padding=(2 * looks.gap, looks.gap))
        self.inner.columnconfigure(0, weight=1)
        self._item = self.canvas.create_window(0, 0, window=self.inner, anchor="n")
        self._sizes = (0, 0, 0)  # px, from the last `_place`: width of what is visible, height of the page, free height
        self.canvas.bind("<Configure>", lambda _: self._place())
        self.inner.bind("<Configure>", lambda _: self._place())

    def add(self, widget: tk.Widget, *, above: int = 0, below: int = 0) -> None:
        """Adds the widget at the bottom of the page; `above` and `below` are the pixels of space above and below it."""
        widget.grid(column=0, sticky="ew", pady=(above, below))

    def _place(self) -> None:
        canvas, height = self.canvas, self.inner.winfo_reqheight()
        width, most = canvas.winfo_width(), MOST_WIDE * self._looks.digit + 4 * self._looks.gap
        free = canvas.winfo_height() - height
        top = max(0, free * 2 // 5) if self._centred else 0
        canvas.coords(self._item, width // 2, top)
        canvas.itemconfigure(self._item, width=min(width, most))
        canvas.configure(scrollregion=(0, 0, width, max(height, canvas.winfo_height())))
        if self._sizes != (width, height, free):  # Tk also calls this after scrolling, which must not be undone
            self._sizes = (width, height, free)
            # Wait until Tk is idle: a widget added to the grid while Tk is laying out that grid may stay invisible.
            later(self.frame, lambda: show(self.scrollbar, free < 0))
            later(self.frame, lambda: self.show(self.frame.focus_lastfor()))  # what is typed into stays visible

    def scroll(self, pixels: int) -> None:
        """Scrolls down by this many pixels, or up if the number is negative, but not beyond the ends of the page."""
        self.canvas.yview_moveto((self.canvas.canvasy(0) + pixels) / self.inner.winfo_height())

    def show(self, widget: tk.Misc | None) -> None:
        """Scrolls to the widget that has the keyboard focus, if it is on this page but not fully visible."""
        if widget and str(widget).startswith(f"{self.inner}."):
            widget.update_idletasks()  # lays out the page, so that the positions below are right
            top = widget.winfo_rooty() - self.canvas.winfo_rooty()  # px from the top of what is visible
            too_low = top + widget.winfo_height() - self.canvas.winfo_height()  # px of it that are not visible
            if top < 0 or too_low > 0:
                self.scroll((top + too_low) // 2)  # into the middle

    def fit(self) -> None:
        """Adapts the page to the current font. Most widgets adapt automatically; subclasses handle the others here."""


class FirstPage(Scrolled):
    """Asks for a name and an optional password. One main button opens a room, the other shows the join page."""

    def __init__(self, app: App) -> None:
        super().__init__(app, centred=True)
        looks, box, gap = app.looks, self.inner, app.looks.gap
        self.add(wrapped(box, "Title.TLabel", text=Words.program, anchor="center", justify="center"))
        slogan = wrapped(box, "Quiet.TLabel", text=Words.slogan, anchor="center", justify="center")
        self.add(slogan, above=gap // 2, below=3 * gap)
        self.add(ttk.Label(box, text=Words.your_name))
        self.name = ttk.Entry(box, font=looks.text, width=12)
        self.name.insert(0, app.name)
        self.add(self.name, above=gap // 3, below=gap)
        self.add(ttk.Label(box, text=Words.room_password))
        row = ttk.Frame(box)
        self.add(row, above=gap // 3)
        self.password = PasswordBox(row, looks, app.password)
        on_change(self.password.entry, self._warn)
        self.suggest = button(row, Words.suggest, lambda: self.password.set(net.suggest_password()))
        self.suggest.grid(row=0, column=1, padx=(gap, 0))
        self.password_note = wrapped(box, "Quiet.TLabel")
        self.add(self.password_note, above=gap // 3, below=gap)
        if not net.CAN_ENCRYPT:
            self.suggest.state(["disabled"])
            self.password_note.configure(text=needs_new_python())
        self.host = button(box, Words.host, self._host, "Accent.TButton")
        self.add(self.host)
        self.join = button(box, Words.join, self._join)
        self.add(self.join, above=gap, below=gap)
        self.message = wrapped(box, anchor="center", justify="center")
        self.add(self.message, above=gap, below=gap)
        for entry in (self.name, self.password.entry):
            on_enter(entry, self.host.focus_set)  # most people want to join, so Enter alone must not open a room

    def _warn(self) -> None:
        password = self.password.get()
        is_weak = password != "" and net.is_weak_password(password)
        self.password_note.configure(text=Words.weak_password if is_weak else "")

    def focus(self) -> None:
        edit(self.name)

    def _take_name(self) -> bool:
        self._app.password = self.password.get()
        self._app.name = net.clean_name(self.name.get())
        if not self._app.name:
            self.say(Words.name_missing, wrong=True)
            self.name.focus_set()
        return self._app.name != ""

    def _host(self) -> None:
        if is_blank(self.password.get()):
            self.say(Words.empty_password, wrong=True)
            self.password.entry.focus_set()
        elif self._app.session is None and self._take_name():  # a double click must not open two rooms
            self._app.host()

    def _join(self) -> None:
        if self._take_name():
            self._app.show_join_page()


class JoinPage(Scrolled):
    """Lists the rooms that were found, and has a box for an address. The Join button always uses this address."""

    def __init__(self, app: App) -> None:
        super().__init__(app, centred=False)
        self.rooms: dict[str, net.FoundRoom] = {}  # address, as people type it, also the row's id -> the room
        self._rows: Rows = {}  # what the list shows
        self._offered = ""  # the password that was filled in automatically for the address; "" for none
        self._found: net.Events = queue.Queue()
        self._finder = net.find_rooms(self._found)
        self._since = time.monotonic()
        looks, box, gap = app.looks, self.inner, app.looks.gap
        top = ttk.Frame(box)
        self.back = button(top, Words.back, lambda: app.leave(""))
        in_a_row(gap, ttk.Label(top, text=Words.join, style="Title.TLabel"), self.back)
        self.add(top, below=gap)
        self.heading = ttk.Label(box, text=Words.looking)
        self.add(self.heading)
        card, self.list = looks.table(box, ("title", "people", "password"), height=4)
        self.add(card, above=gap // 3, below=gap)
        self.add(ttk.Label(box, text=Words.address))
        row = ttk.Frame(box)
        self.address = ttk.Entry(row, font=looks.text, width=12)
        on_change(self.address, self._typed)
        self.address.insert(0, app.address)
        self.join = button(row, Words.join_button, self._join, "Accent.TButton")
        in_a_row(gap, self.address, self.join)
        self.add(row, above=gap // 3, below=gap // 3)
        self.add(wrapped(box, "Quiet.TLabel", text=Words.address_help))
        self.add(ttk.Label(box, text=Words.join_password), above=gap)
        row = ttk.Frame(box)
        self.password = PasswordBox(row, looks, app.password)
        self.add(row, above=gap // 3, below=gap // 3)
        if not net.CAN_ENCRYPT:
            self.add(wrapped(box, "Quiet.TLabel", text=needs_new_python()))
        self.message = wrapped(box)
        self.add(self.message, above=gap, below=gap)
        self.list.bind("<<TreeviewSelect>>", lambda _: self._take_chosen())
        self.list.bind("<Double-Button-1>", self._double_clicked)
        on_enter(self.list, self._join_chosen)
        for widget in (self.address, self.password.entry):
            on_enter(widget, self.join.invoke)
        self.fit()

    def _double_clicked(self, event: tk.Event[ttk.Treeview]) -> None:
        if self.list.identify_row(event.y):
            self._join_chosen()

    def fit(self) -> None:
        digit = self._looks.digit
        self.list.column("title", width=8 * digit, minwidth=8 * digit, stretch=True)
        self.list.column("people", width=10 * digit, minwidth=8 * digit, stretch=False, anchor="e")
        self.list.column("password", width=11 * digit, minwidth=4 * digit, stretch=False, anchor="center")

    def focus(self) -> None:
        edit(self.address)

    def show_failure(self, event: net.Lost | net.Refused | net.Closed) -> None:
        """Shows why this person could not join. Keeps everything that was typed here."""
        where = self._app.address
        if isinstance(event, net.Lost):
            message = self._cannot_join(event.reason, where).format(address=where)
        else:
            message = why_ended(event, where, was_in=False)
        self.say(message, wrong=True)
        self.join.state(["!disabled"])
        if isinstance(event, net.Refused) and event.code in ("password", "wrong", "open"):
            edit(self.password.entry)

    def _cannot_join(self, trouble: net.Trouble, where: str) -> str:
        no_answer = trouble in (net.Trouble.NO_ANSWER, net.Trouble.NO_ROUTE)
        if no_answer and where in self.rooms:
            return Words.firewall  # the room answers searches, so only the connection is blocked
        if trouble is net.Trouble.NO_ROUTE and sys.platform == "darwin":
            return Words.not_allowed
        return str(Words.cannot_join[trouble])

    def close(self) -> None:
        self._finder.close()
        super().close()

    # The list.

    def flush(self) -> None:
        """Shows the lists of rooms that have arrived since the last call, or says what else to try."""
        super().flush()
        while not self._found.empty():
            event = self._found.get()
            if isinstance(event, net.Found):
                self.show_rooms(event.rooms)
        if not self.rooms and not self.message.cget("text") and time.monotonic() > self._since + NOTHING_FOUND_AFTER:
            self.say(Words.nothing_found)

    def show_rooms(self, rooms: tuple[net.FoundRoom, ...]) -> None:
        """Shows the rooms that answer. If none did before, selects the first unless the person is typing or reading."""
        is_first = not self.rooms
        self.rooms = {join_address(room.address, room.port): room for room in rooms}
        self._rows = show_rows(self.list, self._rows, {where: {"values": self._row(where)} for where in self.rooms})
        self.heading.configure(text=Words.found if rooms else Words.looking)
        if is_first and rooms:
            if self.message.cget("text") == Words.nothing_found:
                self.say("")
            # Until the page is drawn, the window may still have the focus instead of the address box.
            is_there = self.frame.focus_lastfor() in (self.address, self.frame.winfo_toplevel())
            if is_there and self.address.get() in ("", self._app.address) and not self.message.cget("text"):
                self.list.focus_set()  # nobody is typing or reading, so Enter may join the room
                choose_row(self.list, 0)

    def _row(self, where: str) -> tuple[str, str, str]:
        room = self.rooms[where]
        people = counted(room.people, *Words.people_in)
        password = Words.has_password if room.password else ""
        title = drawable_name(room.title)
        others = [other for other in self.rooms.values() if other is not room]
        if any(other.room == room.room or drawable_name(other.title) == title for other in others):
            title = f"{title} ({where})"  # an impostor may copy an id or a title
        return f" {title}", people, password

    def _take_chosen(self) -> None:
        """Puts the address of the room selected in the list into the address box."""
        for where in self.list.selection():
            self.address.delete(0, "end")
            self.address.insert(0, where)

    def _typed(self) -> None:
        """Deselects the room in the list if the box has another address, and offers the password that last worked."""
        if self.list.selection() != (self.address.get(),):
            self.list.selection_set()
        if self.password.get() in ("", self._offered):  # no other password was typed
            with contextlib.suppress(ValueError):
                where = join_address(*parse_address(self.address.get()))
                self._offered = self._app.passwords.get(where, "")
                self.password.set(self._offered)

    def _join_chosen(self) -> None:
        """Joins the room selected in the list or, if none is selected, the one at the address in the box."""
        self._take_chosen()  # the event <<TreeviewSelect>>, which does the same, may still be waiting
        self.join.invoke()

    def _join(self) -> None:
        try:
            address, port = parse_address(self.address.get())
        except ValueError as error:
            self.say(str(error), wrong=True)
            self.focus()
            return
        self._typed()  # its call, scheduled by the last change, may still be waiting
        room = self.rooms.get(join_address(address, port))
        password = self.password.get()
        if is_blank(password):
            self.say(Words.empty_password, wrong=True)
            edit(self.password.entry)
        elif room is not None and room.password and not net.CAN_ENCRYPT:
            self.say(needs_new_python(), wrong=True)
        elif room is not None and room.password and not password:
            self.say(Words.password_missing)
            edit(self.password.entry)
        else:
            self._app.join(address, port, password)


class Header:
    """The part above the messages: the room's address, whether the room is encrypted, and buttons such as Leave."""

    def __init__(self, page: ChatPage, app: App, session: Session) -> None:
        self._page, self._app = page, app
        self._looks = looks = app.looks
        self._shows_all_addresses = self._shows_password = False
        self.reachable = session.reachable
        gap, password = looks.gap, session.password
        self.frame = ttk.Frame(page.frame)
        self.frame.columnconfigure(0, weight=1)
        left = self._left = ttk.Frame(self.frame)
        left.grid(row=0, column=0, sticky="ew")
        self.title = ttk.Label(left, text=Words.join_at, style="Bold.TLabel")
        self.address = ttk.Label(left, style="Title.TLabel" if page.is_host else "Quiet.TLabel")
        self.copy: ttk.Button = button(left, Words.copy, lambda: self._copy(self.copy, self.addresses()[0]))
        self.more = button(left, "", self._show_all_addresses)
        in_a_row(gap, self.title, self.address, self.copy, self.more, stretched=4)
        left.bind("<Configure>", lambda _: self.show_title())
        right = self._right = ttk.Frame(self.frame)
        self.people_button = button(right, "", lambda: page.layout.toggle(page.people.frame, page.people.list))
        self.menu_button = button(right, Words.menu, self._show_menu)
        self.leave_button = button(right, Words.leave, app.leave_room)
        in_a_row(gap // 2, self.people_button, self.menu_button, self.leave_button)
        self.menu_button.grid(padx=0)  # the gap belongs to leave_button, so that both disappear together
        self.leave_button.grid(padx=(gap // 2, 0))
        below = self._below = ttk.Frame(self.frame)
        place_hidden(below, row=2, column=0, columnspan=2, sticky="ew", pady=(gap // 2, 0))
        words = wrapped(below, "Quiet.TLabel", text=Words.encrypted_room if password else Words.open_room)
        self.password = ttk.Label(below, text=password, style="Bold.TLabel")
        self.show_password = button(below, Words.show_password, self._toggle_password)
        self.copy_password: ttk.Button = button(
            below, Words.copy_password, lambda: self._copy(self.copy_password, password)
        )
        in_a_row(gap // 2, words, self.password, self.show_password, self.copy_password)
        for each in (self.show_password, self.copy_password):
            show(each, password != "" and page.is_host)

    def fit(self) -> None:
        """Adapts to the window: shows what fits, puts buttons beside or below the address, and shortens the title."""
        is_narrow, is_low, is_host = self._page.layout.is_narrow, self._page.layout.is_low, self._page.is_host
        if is_narrow and not is_low:
            self._right.grid(row=1, column=0, sticky="w", pady=(self._looks.gap // 2, 0))
        else:
            self._right.grid(row=0, column=1, sticky="ne", pady=0)
        show(self.people_button, is_narrow and not is_low)
        show(self.leave_button, not is_low)
        show(self.copy, is_host and not is_narrow)
        show(self.more, is_host and not is_narrow and len(self.addresses()) > 1)
        show(self.title, not (is_host and is_narrow))
        show(self.address, is_host or not is_low)
        show(self._below, not is_low or self._shows_password)
        show(self.password, self._shows_password)
        self.show_title()

    def _show_menu(self) -> None:
        """Shows the menu, which also has entries for the buttons that do not fit into a window of this size."""
        app, page, layout, at = self._app, self._page, self._page.layout, self.menu_button
        commands: list[Command] = [as_command(page.people.pause)] if page.is_host else []
        commands += [
            (Words.find, page.find_bar.open),
            (Words.menu_save_chat, page.files.save_chat),
            (Words.menu_larger, lambda: app.zoom(1)),
            (Words.menu_smaller, lambda: app.zoom(-1)),
            (Words.menu_full_screen, app.toggle_full_screen),
            (Words.menu_keys, lambda: layout.toggle(page.keys.frame, page.keys.text)),
        ]
        if layout.is_narrow and page.is_host:
            commands.append((Words.copy_address, self.copy.invoke))
        if layout.is_low:
            secret = [self.show_password] if self.show_password.winfo_manager() else []
            people = [self.people_button] if layout.is_narrow else []
            commands += [as_command(each) for each in (page.file, *secret, *people, self.leave_button)]
        app.show_commands(commands, at, (0, at.winfo_height()))

    def show_title(self) -> None:
        """Shows the room's title and address or, for the host, the address at which others can join."""
        looks, addresses = self._looks, self.addresses()
        if self._page.is_host:
            self.address.configure(text=addresses[0] if addresses else Words.no_address)
            self.copy.state(["!disabled" if addresses else "disabled"])
            self.more.configure(text=Words.more_addresses.format(number=len(addresses) - 1))
        else:
            self.address.configure(text=self._page.where)
            taken = looks.text.measure(self._page.where) if self.address.winfo_manager() else 0
            free = max(self._left.winfo_width() - taken - 2 * looks.gap, 8 * looks.digit)
            self.title.configure(text=shortened(self._page.title, looks.bold, free))

    def _toggle_password(self) -> None:
        self._shows_password = not self._shows_password
        self.show_password.configure(text=Words.hide_password if self._shows_password else Words.show_password)
        self.fit()

    def _copy(self, pressed: ttk.Button, text: str) -> None:
        """Copies the text. The pressed button then says "Copied" for COPIED_TIME."""
        copy(pressed, text)
        self._page.focus()
        words = Words.copy if pressed is self.copy else Words.copy_password
        pressed.configure(text=Words.copied)
        later(pressed, lambda: pressed.configure(text=words), COPIED_TIME)

    # For the host: how others can join.

    def addresses(self) -> list[str]:
        return [join_address(address, self._page.port) for address in self.reachable.addresses]

    def _show_all_addresses(self) -> None:
        self._shows_all_addresses = not self._shows_all_addresses
        self._page.show_notice()

    def notices(self, *, had_company: bool) -> Iterator[str]:
        """Yields sentences that tell the host how others can join."""
        addresses = self.addresses()  # none if this is not the host's window
        if self._shows_all_addresses and len(addresses) > 1:
            yield Words.also_at.format(addresses=", ".join(addresses[1:]))
        if addresses and not self.reachable.findable:
            yield Words.not_findable.format(address=addresses[0])
        if addresses and not had_company:
            yield Words.nobody_yet.format(room=self._page.title, address=addresses[0])


class Question:
    """Asks for a decision with a sentence and two buttons, in the window itself instead of a dialog."""

    def __init__(self, parent: tk.Misc, looks: Looks, no: Callable[[], None], closed: Callable[[], None]) -> None:
        self._closed = closed
        self.frame = ttk.Frame(parent)
        self.frame.columnconfigure(0, weight=1)
        self.text = wrapped(self.frame, "Bold.TLabel")
        self.text.grid(row=0, column=0, sticky="ew")
        buttons = ttk.Frame(self.frame)
        buttons.grid(row=1, column=0, sticky="w", pady=(looks.gap // 2, 0))
        self.yes = button(buttons, "", no, "Accent.TButton")
        self.no = button(buttons, "", no)
        in_a_row(looks.gap // 2, self.yes, self.no)

    @property
    def is_open(self) -> bool:
        return self.frame.winfo_manager() != ""

    def ask(self, text: str, yes: str, no: str, answer: Callable[[], object]) -> None:
        """Shows the question. Calls `answer` if the person presses the button labelled `yes`."""
        self.text.configure(text=text)
        self.yes.configure(text=yes, command=answer)
        self.no.configure(text=no)
        show(self.frame, True)

    def close(self) -> None:
        """Hides the question. Calls `closed` if one of its buttons had the keyboard focus."""
        had_focus = self.frame.focus_lastfor() in (self.yes, self.no)
        show(self.frame, False)
        if had_focus:
            self._closed()


class Layout:
    """Arranges the parts of a ChatPage.

    The list of people is beside the log or, in a narrow window, opens in front of it. A low window hides most
    buttons, the hints on how to join and, unless it reports a problem, the status line.
    """

    def __init__(self, page: ChatPage, looks: Looks) -> None:
        self._page = page
        self._looks = looks
        self.is_narrow = self.is_low = False
        self.cover: tk.Widget | None = None  # what is open in front of the log: the keyboard shortcuts or the people
        self._above = above = (looks.gap // 2, 0)
        page.frame.rowconfigure(2, weight=1)
        page.frame.columnconfigure(0, weight=1)
        page.header.frame.grid(row=0, columnspan=2, sticky="ew", pady=(0, looks.gap // 2))
        page.log.frame.grid(row=2, column=0, sticky="nsew")
        place_hidden(page.keys.frame, row=2, rowspan=3, columnspan=2, sticky="nsew")
        parts = (page.find_bar.frame, page.notice, page.question.frame, page.transfers.frame)
        for row, part in enumerate(parts, 3):
            place_hidden(part, row=row, columnspan=2, sticky="ew", pady=above)
        page.composer.frame.grid(row=7, column=0, sticky="ew", pady=above)
        page.message.grid(row=9, columnspan=2, sticky="ew", pady=above)
        place_hidden(page.composer.problem, row=10, columnspan=2, sticky="ew")
        page.frame.bind("<Configure>", lambda _: self.measure())

    def measure(self) -> None:
        frame, digit = self._page.frame, self._looks.digit
        width, height = frame.winfo_width() / digit, frame.winfo_height() / digit
        is_narrow = width < NARROW
        is_low = height < (NARROW_LOW if is_narrow else LOW)
        if (is_narrow, is_low) != (self.is_narrow, self.is_low):
            self.is_narrow, self.is_low = is_narrow, is_low
            self.lay_out()

    def lay_out(self) -> None:
        """Arranges everything for the current size of the window and of the font."""
        page, people, is_narrow, gap = self._page, self._page.people.frame, self.is_narrow, self._looks.gap
        page.composer.frame.grid(columnspan=2 if is_narrow else 1)
        if is_narrow:  # the list of people covers everything between the header and the status line
            page.buttons.grid(row=8, column=0, columnspan=2, sticky="ew", padx=0, pady=self._above)
            people.grid(row=2, column=0, rowspan=7, columnspan=2, sticky="nsew", padx=0)
        else:
            page.buttons.grid(row=7, column=1, columnspan=1, sticky="sew", padx=(gap, 0), pady=self._above)
            people.grid(row=2, column=1, rowspan=1, columnspan=1, sticky="nsew", padx=(gap, 0))
            self.cover = None if self.cover is people else self.cover
        show(page.buttons, not self.is_low)
        show(people, not is_narrow or self.cover is people)
        page.header.fit()
        for each in (page.log, page.transfers, page.keys):
            each.fit(is_narrow=is_narrow)
        page.show_notice()

    def toggle(self, frame: tk.Widget, inner: tk.Widget) -> None:
        """Opens this frame in front of the log and focuses the widget in it, or closes the frame."""
        was_open = self.cover is frame
        self.uncover()
        if not was_open:
            self.cover = frame
            show(frame, True)
            frame.lift()
            inner.focus_set()

    def uncover(self) -> None:
        """Closes what is open in front of the log, and focuses the composer."""
        if self.cover is not None:
            show(self.cover, False)
            self.cover = None
            self._page.composer.text.focus_set()


class Files:
    """Shares and saves files, and saves the chat: asks for the paths and reports the results."""

    def __init__(self, page: ChatPage, client: net.Client) -> None:
        self._page = page
        self._client = client
        self._folder = ""  # the folder last used in a file dialog; "" before the first

    def choose(self) -> None:
        """Asks for files, and shares them with everyone in the room."""
        folder = self._folder or home_folder()
        for path in self._ask(filedialog.askopenfilenames, title=Words.choose_files, initialdir=folder):
            self._folder = os.path.dirname(path)
            self._client.share(path)

    def save(self, file: net.Shared) -> None:
        path = self._ask_where(Words.save_as, net.clean_filename(file.filename))
        if path:
            self._client.save(file, path)

    def save_chat(self) -> None:
        """Asks for a path and saves the transcript there, in a thread, because the disk may be slow."""
        title = self._page.title
        path = self._ask_where(Words.save_chat, net.clean_filename(f"{title} {time.strftime('%Y-%m-%d')}.txt"))
        if path:
            arguments = (path, self._page.transcript.text(title), self._client.events)
            threading.Thread(target=save_text, args=arguments, name="saving the chat").start()

    def _ask_where(self, title: str, name: str) -> str:
        """Asks for a path to save to. Returns "" if the person cancels."""
        folder = self._folder or home_folder("Downloads")
        name = re.sub(r"\A~", "_", name)  # Tk 8.6 would expand a leading ~ to a home folder
        path: str = self._ask(filedialog.asksaveasfilename, title=title, initialdir=folder, initialfile=name) or ""
        if path:
            self._folder = os.path.dirname(path)
        return path

    def _ask(self, dialog: Callable[..., Any], **options: str) -> Any:
        """Shows a file dialog. Returns the choice, or () if the page was closed while the dialog was open."""
        try:
            return dialog(parent=self._page.frame, filetypes=[(Words.all_files, "*")], **options)
        except tk.TclError:
            if self._page.stage is Stage.CLOSED:
                return ()
            raise

    # The results.

    def message(self, file: net.Shared) -> Message:
        """Returns the message for a file that somebody shared."""
        name = drawable_name(net.clean_filename(file.filename))
        text = "" if file.taken_back else Words.shared.format(filename=name, size=file_size(file.size))
        link = (Words.save, lambda: self.save(file))
        return Message(file.time, text, file.who, file.name, file.number, link=link, is_deleted=file.taken_back)

    def handle(self, event: net.Progress | net.Uploaded | net.Saved | net.Failed) -> None:
        transfers = self._page.transfers
        if isinstance(event, net.Progress):
            transfers.running[event.transfer] = event
            return
        progress = transfers.running.pop(event.transfer, None)
        if isinstance(event, net.Saved):
            folder, name = os.path.split(os.path.abspath(event.path))
            text = Words.file_saved.format(filename=drawable_name(name), folder=drawable_name(folder))
            self._page.log.add_note(text).link = (Words.open_folder, lambda: self._show(folder))
        elif isinstance(event, net.Failed):
            self._tell_failed(event, is_upload=progress is not None and progress.is_upload)

    def _show(self, folder: str) -> None:
        try:
            show_folder(folder)
        except OSError:
            self._page.log.add_note(Words.cannot_open.format(folder=drawable_name(folder)), wrong=True)

    def _tell_failed(self, failed: net.Failed, *, is_upload: bool) -> None:
        name = drawable_name(failed.filename)
        if failed.code == "cancelled":
            self._page.log.add_note(Words.cancelled.format(filename=name))
            return
        own = Words.share_failed if is_upload else Words.save_failed
        words = own.get(failed.code) or Words.file_failed.get(failed.code)
        if words:
            reason = words.format(limit=file_size(self._page.welcome.max_file))
        elif failed.code == "disk":
            reason = f"{drawable_name(failed.reason)}."
        else:
            reason = room_says(failed.reason)
        words = Words.not_shared if is_upload else Words.not_saved
        self._page.log.add_note(words.format(filename=name, reason=reason), wrong=True)


class Away:
    """While there is no connection, looks for the room, and offers to follow it to a new address."""

    def __init__(self, page: ChatPage, client: net.Client) -> None:
        self._page = page
        self._client = client
        self._finder: net.Finder | None = None
        self._since = 0.0  # monotonic s; when the connection broke
        self.rooms: tuple[net.FoundRoom, ...] = ()  # found since then

    def begin(self) -> None:
        if not self._page.is_host and is_ipv4(self._client.address):  # each attempt looks up a computer's name again
            self.rooms = ()
            self._since = time.monotonic()
            self._finder = net.find_rooms(self._client.events)

    def end(self) -> None:
        if self._finder is not None:
            self._finder.close()
            self._finder = None

    def flush(self) -> None:
        page = self._page
        if self._finder is None or page.question.is_open or time.monotonic() < self._since + MOVED_AFTER:
            return
        same = {join_address(room.address, room.port): room for room in self.rooms if room.room == page.welcome.room}
        if same and page.where not in same:  # the finder has dropped the old address, or it never answered
            address, room = next(iter(same.items()))
            text = Words.moved.format(room=page.title, address=address)
            page.question.ask(text, Words.move, Words.stay_here, lambda: page.follow(room))


class Stage(enum.Enum):
    """The state of a ChatPage."""

    IN = "connected"
    AWAY = "there is no connection, and the client tries to get one"
    OVER = "the visit ended for good; everything can still be read"
    CLOSED = "another page has taken the place of this one"


class ChatPage(Page):
    """The page of one room: its parts, the person's actions in it, and the handling of the client's events."""

    def __init__(self, app: App, session: Session, client: net.Client, welcome: net.Welcome) -> None:
        super().__init__(app, app.looks.gap)
        self._client, self._server = client, session.server
        self.is_host = session.server is not None
        self.port = client.port
        self.where = join_address(client.address, client.port)
        self.title = drawable_name(welcome.title)
        self.stage = Stage.IN
        self.welcome = welcome  # the newest one; also says whether this person is muted and the room is paused now
        self.history_left = 0  # older files and events of the history that have not arrived yet
        self._is_back = False  # whether the newest welcome came from the same room after a break
        self._had_company = False  # whether anyone else has been here; until then, the host reads how others can join
        self._last_own = ""
        self._away = Away(self, client)
        looks = app.looks
        self.transcript = Transcript()
        self.header = Header(self, app, session)
        self.log = Log(self.frame, looks)
        self.people = People(self, app)
        self.find_bar = FindBar(self, looks)
        self.notice = wrapped(self.frame, "Quiet.TLabel")
        self.question = Question(self.frame, looks, self.stay, self.focus)
        self.transfers = Transfers(self.frame, looks, self._cancel)
        self.files = Files(self, client)
        self.composer = Composer(self.frame, looks, self._say)
        self.buttons = ttk.Frame(self.frame)
        self.send = button(self.buttons, Words.send, self.composer.send, "Accent.TButton")
        self.file = button(self.buttons, Words.file, self.files.choose)
        in_a_row(looks.gap // 2, self.send, self.file)
        self.buttons.columnconfigure(1, weight=1)
        self.message = wrapped(self.frame, "Quiet.TLabel")  # the status line
        self.keys = Keys(self.frame, looks)
        self.layout = Layout(self, looks)
        self.layout.lay_out()
        box, messages = self.composer.text, self.log.text
        for text in (box, messages):  # Tk's own Page Up and Page Down stop before the end of the log
            text.bind("<Prior>", lambda _: self._scroll(-1))
            text.bind("<Next>", lambda _: self._scroll(1))
        box.bind("<Up>", lambda _: self._write_last_again())
        for widget in (messages, self.people.list):
            widget.bind("<Key>", self._write_instead, add=True)
        messages.bind("<<Paste>>", lambda _: self._paste_instead())
        messages.bind("<<ContextMenu>>", self._show_message_menu)
        messages.bind("<<MenuKey>>", lambda _: self._show_message_menu(None))

    def fit(self) -> None:
        """Adapts the page to the current font."""
        self.people.fit()
        self.layout.measure()
        self.layout.lay_out()
        self.flush()

    def focus(self) -> None:
        self.layout.uncover()
        self.composer.text.focus_set()

    def close(self) -> None:
        self.stage = Stage.CLOSED
        self._away.end()
        super().close()

    # The notice and the status line.

    def show_notice(self) -> None:
        """Updates the notice: how others can join, and limits on writing. Hides an ordinary status in a low window."""
        sentences: list[str] = []
        if not self.layout.is_low:
            sentences += self.header.notices(had_company=self._had_company)
        if self.welcome.paused and self.is_host:
            sentences.append(Words.you_paused)
        elif self.composer.is_blocked and self.stage is not Stage.OVER and self.composer.get():
            # The hint in an empty box says the same.
            sentences.append(Words.muted if self.welcome.muted else Words.paused)
        self.notice.configure(text="\n".join(sentences))
        show(self.notice, sentences != [])
        show(self.message, not self.layout.is_low or str(self.message.cget("style")) == "Wrong.TLabel")

    def say(self, text: str, *, wrong: bool = False, retry_in: float | None = None) -> None:
        super().say(text, wrong=wrong, retry_in=retry_in)
        self.show_notice()

    # The person's actions.

    def _say(self, text: str) -> None:
        if text.casefold() == "exit":
            self._app.leave_room()
        else:
            self._last_own = text
            self._client.say(text)
            self.log.go_to_end()

    def _scroll(self, pages: int) -> str:
        self.log.scroll("scroll", pages, "pages")
        return "break"

    def _write_last_again(self) -> str | None:
        if self.composer.get() or not self._last_own:
            return None
        self.composer.give_back(self._last_own)
        return "break"

    def _write_instead(self, event: tk.Event[Any]) -> str | None:
        """If somebody types in the log or the list of people, inserts the character into the composer."""
        state = int(event.state)
        is_command = state & NO_LETTER and state & ALT_GR != ALT_GR
        if not event.char or not event.char.isprintable() or is_command or self.composer.is_blocked:
            return None
        self.focus()
        return self.composer.insert(event.char)

    def _paste_instead(self) -> str:
        """If somebody pastes into the log, inserts the text into the composer."""
        if not self.composer.is_blocked:
            self.focus()
        return self.composer.paste("CLIPBOARD")

    def _write_again(self, message: Message, text: str) -> None:
        """Moves this person's rejected message from the log back into the composer, unless writing is blocked."""
        if not self.composer.is_blocked:
            self.log.redraw(message, is_gone=True)
            self.composer.give_back(text)

    def _cancel(self, transfer: int) -> None:
        self._client.cancel(transfer)
        self.focus()  # the Cancel button will disappear, and what is typed next belongs in the composer

    def escape(self) -> None:
        """Closes the find bar, the question and anything that covers the log, and focuses the composer."""
        self.find_bar.close()
        self.stay()

    def stay(self) -> None:
        """Answers no if a question is open, and focuses the composer."""
        if self.question.is_open:
            self._away.end()  # stop the search: following a room that has moved is offered only once per break
            self.question.close()
        self.focus()

    # Leaving.

    def ask(self) -> bool:
        """Asks the host before closing a room with others in it. Returns True if the person may leave at once."""
        is_asked = self.question.is_open and self.layout.cover is not self.people.frame  # a second attempt means yes
        if not self.is_host or self._others() < 1 or self.stage is Stage.OVER or is_asked:
            return True
        self.frame.winfo_toplevel().deiconify()  # people can close a minimized window, but they must see the question
        self.layout.uncover()
        self.question.ask(self._close_question(), Words.close_yes, Words.close_no, self._app.leave_room)
        return False

    def _others(self) -> int:
        return len(self.people.names) - 1

    def _close_question(self) -> str:
        return counted(self._others(), *Words.close_question)

    # The menu of a message, and the host's actions.

    def _show_message_menu(self, event: tk.Event[tk.Text] | None) -> str:
        """Shows the menu for the message under the mouse or, after a key (`event` is None), for the chosen message."""
        messages = self.log
        message = messages.chosen() if event is None else messages.message_at(f"@{event.x},{event.y}")
        commands: list[Command] = []
        if messages.selected():
            commands.append((Words.copy_selected, lambda: messages.text.event_generate("<<Copy>>")))
        if message is not None:
            text = message.text if not message.is_deleted else Words.deleted
            commands.append((Words.copy_message, lambda: copy(messages.text, text)))
            if message.link is not None and not message.is_deleted:
                commands.append(message.link)
            if self.is_host and message.number and not message.is_deleted:
                number = message.number
                commands.append((Words.delete, lambda: self.control(lambda room: room.delete(number))))
        commands.append((Words.menu_save_chat, self.files.save_chat))
        x, y, _, height = (messages.text.bbox("chosen.first") if messages.chosen() else None) or (0, 0, 0, 0)
        at = (event.x, event.y) if event is not None else (x, y + height)
        self._app.show_commands(commands, messages.text, at)
        return "break"

    def control(self, action: Callable[[net.Server], None]) -> None:
        """Applies the host's action to the room, unless the visit is over."""
        if self._server is not None and self.stage is not Stage.OVER:
            try:
                action(self._server)
            except ValueError:  # the room no longer knows this person or message
                self.log.add_note(Words.not_known, wrong=True)

    # Events from the client.

    def handle(self, event: net.Event) -> None:
        """Handles one event. The log, the list of people and the transfers show its effect at the next `flush`."""
        if isinstance(event, net.Numbered):
            is_history = self.history_left > 0
            if is_history:
                self.history_left -= 1
            self._handle_numbered(event, is_history)
        elif isinstance(event, net.Welcome):
            self._handle_welcome(event)
        elif isinstance(event, net.Muted):
            self.welcome = replace(self.welcome, muted=event.on)
            self._silence()
        elif isinstance(event, net.Sending):
            self.log.on_their_way[event.id] = event.text
        elif isinstance(event, net.Settled):
            text = self.log.on_their_way.pop(event.id, None)
            if text is not None:
                self._add(Message(time.time(), text, self.welcome.who, self.welcome.name))
                self._note(Words.settled)
        elif isinstance(event, net.Rejected):
            self._handle_rejected(event)
        elif isinstance(event, net.Lost):
            if self.stage is not Stage.AWAY:
                self.stage = Stage.AWAY
                self._away.begin()
            self.say(Words.lost[event.reason].format(address=self.where), wrong=True, retry_in=event.retry_in)
        elif isinstance(event, (net.Refused, net.Closed)):
            self._end(event)
        elif isinstance(event, (net.Progress, net.Uploaded, net.Saved, net.Failed)):
            self.files.handle(event)
        elif isinstance(event, net.Reachable):
            self.header.reachable = event
            self.header.fit()
            self.show_notice()
        elif isinstance(event, net.WrongPassword):
            words = Words.guessed if event.address else Words.guessed_everywhere
            self._note(words.format(address=event.address, number=event.times))
        elif isinstance(event, net.Controls):
            self.people.show_controls(event)
        elif isinstance(event, net.RoomFailed):
            self._note(Words.room_failed)
        elif isinstance(event, net.Found):
            self._away.rooms = event.rooms
        else:
            assert_never(event)

    def _handle_numbered(self, event: net.Numbered, is_history: bool) -> None:
        if isinstance(event, net.Said):
            if event.who == self.welcome.who:
                self.log.on_their_way.pop(event.id, None)
            message = Message(event.time, event.text, event.who, event.name, event.number, is_deleted=event.taken_back)
            self._add_heard(message, is_history)
        elif isinstance(event, net.Shared):
            self._add_heard(self.files.message(event), is_history)
        elif isinstance(event, net.TakenBack):
            deleted = self.transcript.delete(event.which, keep_text=self.is_host)
            if deleted is not None:
                self.log.redraw(deleted)
        elif is_history:
            pass  # the welcome already said who is here and whether the room is paused
        elif isinstance(event, net.Paused):
            self.welcome = replace(self.welcome, paused=event.on)
            self._note(Words.was_paused if event.on else Words.was_resumed)
            self._silence()
        elif isinstance(event, net.Joined):
            self.people.came(event.who, event.name)
            self._note_moving(Words.joined, event.name)
        elif isinstance(event, net.Left):
            self.people.went(event.who)
            self._note_moving(Words.left.get(event.reason, Words.left["left"]), event.name)
        else:
            assert_never(event)

    def _note_moving(self, words: str, name: str) -> None:
        """Notes that somebody came or went, except in a paused room, where names could be used to send messages."""
        if not self.welcome.paused:
            self._note(words.format(name=drawable_name(name)))

    def _handle_welcome(self, welcome: net.Welcome) -> None:
        before, self.welcome = self.welcome, welcome
        is_first = welcome is before  # the page was created with this same welcome
        self._is_back = not is_first and welcome.room == before.room
        if welcome.room != before.room:
            self.transcript.begin()
            self.title = drawable_name(welcome.title)
            self._app.show_title()
            self.header.show_title()
            if welcome.title == before.title:
                self._note(Words.reopened.format(room=self.title))
        if is_first or (welcome.title, welcome.name) != (before.title, before.name):
            name, wanted = drawable_name(welcome.name), drawable_name(net.clean_name(self._app.name))
            self._note(Words.you_are_in.format(room=self.title, name=name))
            if name != wanted and not welcome.muted:  # the room calls muted newcomers "Guest"
                self._note(Words.renamed.format(wanted=wanted, name=name))
        if welcome.missed:
            self._note(counted(welcome.missed, *Words.missed))
        self.log.begin(welcome)
        self.history_left = welcome.files + welcome.history
        self.stage = Stage.IN
        self.people.begin(welcome)
        self._silence()
        self._away.end()
        if not self.is_host:
            self.question.close()  # it offered to follow the room
        self.say(Words.connected)

    def _silence(self) -> None:
        """Blocks writing while this person is muted, the room is paused (except for its host), or the visit is over."""
        is_paused = self.welcome.paused
        reason = Words.muted if self.welcome.muted else Words.paused if is_paused and not self.is_host else ""
        if self.stage is Stage.OVER:
            reason = Words.over
        self.composer.block(reason)
        for each in (self.send, self.file):
            each.state(["disabled" if reason else "!disabled"])
        self.show_notice()
        self.people.pause.configure(text=Words.resume if is_paused else Words.pause)

    # Adding messages.

    def _add(self, message: Message) -> None:
        self.transcript.add(message)
        self.log.add(message)

    def _note(self, text: str) -> None:
        self._add(Message(time.time(), text))

    def _add_heard(self, message: Message, is_history: bool) -> None:
        """Adds what somebody said or shared. Notifies this person if others sent it after the visit began."""
        self._add(message)
        if message.who != self.welcome.who and (self._is_back or not is_history):
            is_for_us = message.who == (self.welcome.host or net.HOST) or self.log.mention.search(message.text)
            self._app.notice(rings=bool(is_for_us))

    def _handle_rejected(self, rejected: net.Rejected) -> None:
        text = self.log.on_their_way.pop(rejected.id, None)
        if text is not None:
            reason = Words.rejected.get(rejected.code) or room_says(rejected.reason)
            message = Message(time.time(), text, self.welcome.who, self.welcome.name, tags=("wrong",))
            words = Words.perhaps_sent if rejected.code == "unanswered" else Words.not_sent
            message.reason = words.format(reason=reason)
            message.link = (Words.write_again, lambda: self._write_again(message, text))
            self.log.add(message)

    # The room has moved, or the visit ends.

    def follow(self, room: net.FoundRoom) -> None:
        self.question.close()
        self.focus()
        self._client.move(room.address, room.port)
        self.where = self._app.address = join_address(room.address, room.port)
        self.header.show_title()

    def _end(self, event: net.Refused | net.Closed) -> None:
        self.stage = Stage.OVER
        self._away.end()
        self._silence()
        self.question.close()
        reason = why_ended(event, self.where, was_in=True)
        self.say(Words.closed_you_can_read.format(reason=reason), wrong=True)

    def flush(self) -> None:
        super().flush()
        self.log.flush()
        self.transfers.flush()
        self._away.flush()
        if self.people.flush():
            self.header.people_button.configure(text=self.people.title.cget("text"))
            if self.is_host:
                self._people_changed()

    def _people_changed(self) -> None:
        """Updates what depends on the number of others: the host's notices and question."""
        if self._others() > 0:
            self._had_company = True
            if self.question.is_open:
                self.question.text.configure(text=self._close_question())
        else:
            self.question.close()
        self.show_notice()


def why_ended(event: net.Refused | net.Closed, where: str, *, was_in: bool) -> str:
    """Returns why the visit to the room at `where` ended or, if `was_in` is False, why it did not begin."""
    if isinstance(event, net.Refused):
        if event.code == "tls" and not net.CAN_ENCRYPT:
            return needs_new_python()
        if event.code == "password" and was_in:  # the host opened the room again, now with a password
            return Words.password_now
        if event.code in Words.refused:
            return Words.refused[event.code].format(address=where)
    return room_says(event.reason)


# ---------------------------------------------------------------------------------------------------------------- App


class Session:
    """One visit to a room: the client, for a host also the server, and the queue of their events. Uses no widgets."""

    def __init__(self, password: str) -> None:
        self.password = password  # "" for none
        self.events: net.Events = queue.Queue()
        self.client: net.Client | None = None
        self.server: net.Server | None = None
        self.reachable = net.Reachable((), True)

    def close(self) -> None:
        """Closes the client before the room, so that what was said last is still delivered. May take seconds."""
        if self.client is not None:
            self.client.close()
            self.client.join()
        if self.server is not None:
            self.server.close()


AnyPage = TypeVar("AnyPage", "FirstPage", "JoinPage", "ChatPage")


class App:
    """The window. `host` and `join` begin a visit to a room, `leave` ends it; `close` also closes the window."""

    def __init__(self, root: tk.Tk, name: str = "", password: str = "") -> None:
        self.root = root
        self.looks = Looks(root)
        if self.looks.is_x11:  # with LC_ALL=C, Tk would read file names as Latin-1
            root.tk.call("encoding", "system", "utf-8")
        self.name = net.clean_name(name) or login_name()
        self.address = ""  # the address last used to join, as people type it
        self.password = password  # from the first page or command line; "" for none; cleared once it let this person in
        self.passwords: dict[str, str] = {}  # address, as people type it -> the password that let this person in
        self._secret = secrets.token_bytes(16)  # new in each run; tokens made from it let a room recognize this person
        self.session: Session | None = None
        root.rowconfigure(0, weight=1)
        root.columnconfigure(0, weight=1)
        self.page: FirstPage | JoinPage | ChatPage = FirstPage(self)
        self._closed = False
        digit, gap = self.looks.digit, self.looks.gap
        width = min(95 * digit, root.winfo_screenwidth() - 6 * gap)
        height = min(62 * digit, root.winfo_screenheight() - 10 * gap)
        root.geometry(f"{width}x{height}")
        root.minsize(SMALLEST[0] * digit, SMALLEST[1] * digit)
        root.protocol("WM_DELETE_WINDOW", self._close_clicked)
        self._unread = 0
        self._has_rung = False
        self._busy_until = 0.0  # monotonic s; polls are more frequent until then
        self._bind()
        root.report_callback_exception = self._report
        if self.looks.is_mac:
            root.createcommand("::tk::mac::Quit", self._close_clicked)
        self.show_title()
        self.page.focus()
        self._next_poll = root.after(POLL, self.poll)

    def _bind(self) -> None:
        """Binds the keys and mouse events that work everywhere in the window."""
        root = self.root
        control = "Command" if self.looks.is_mac else "Control"
        steps = {"plus": 1, "equal": 1, "KP_Add": 1, "minus": -1, "KP_Subtract": -1, "Key-0": 0, "KP_0": 0}
        for key, step in steps.items():
            bind(root, [f"<{control}-{key}>"], lambda _, step=step: self.zoom(step))  # type: ignore[misc]
        for wheel in ("MouseWheel", "Button-4", "Button-5"):
            bind(root, [f"<{wheel}>"], lambda event: self._scroll(6 * self.looks.gap * wheel_turn(event)))
            for where in ("Text", "Treeview", str(root)):  # Text and Treeview would otherwise scroll, too
                with contextlib.suppress(tk.TclError):
                    root.bind_class(where, f"<{control}-{wheel}>", lambda event: self.zoom(-wheel_turn(event)))
        # A click must not focus a button: the next letter belongs in the message, and Space must not press the button.
        root.tk.call("bind", "TButton", "<ButtonPress-1>", "%W instate !disabled {%W state pressed}")
        root.event_add("<<MenuKey>>", "<Shift-F10>", "<App>" if sys.platform == "win32" else "<Menu>")
        for where in ("Text", "TEntry"):
            root.bind_class(where, "<<ContextMenu>>", lambda at: self._show_edit_menu(at.widget, at.x, at.y))
            root.bind_class(where, "<<MenuKey>>", lambda event: self._show_edit_menu(event.widget))
            root.bind_class(where, f"<{control}-BackSpace>", self._delete_word)
        root.bind("<F11>", lambda _: self.toggle_full_screen())
        bind(root, ["<TouchpadScroll>"], lambda event: self._scroll(-way_down(event.delta)))  # new in Tk 9
        if self.looks.is_x11:
            for key in ("<Control-a>", "<Control-Lock-A>"):  # Tk moves to the line's start; people expect Select all
                root.event_delete("<<LineStart>>", key)
                root.event_add("<<SelectAll>>", key)
            root.event_delete("<<Paste>>", "<Control-y>")  # Tk pastes, as Emacs does; people expect Redo
        root.event_add("<<Redo>>", f"<{control}-y>")
        root.bind("<Escape>", lambda _: self._escape())
        root.bind("<F1>", lambda _: self._in_room(lambda page: page.layout.toggle(page.keys.frame, page.keys.text)))
        shortcuts = {
            "f": lambda: self._in_room(lambda page: page.find_bar.open()),
            "s": lambda: self._in_room(lambda page: page.files.save_chat()),
            "o": lambda: self._in_room(lambda page: page.file.invoke()),  # does nothing while the button is disabled
        }
        bind_shortcuts(root, control, shortcuts)
        root.bind("<FocusIn>", self._focus_came)

    # The person's actions.

    def zoom(self, step: int) -> str:
        """Zooms in (1) or out (-1), or resets the zoom (0)."""
        at = ZOOMS.index(self.looks.percent) + step if step else ZOOMS.index(100)
        self.looks.zoom(ZOOMS[min(max(at, 0), len(ZOOMS) - 1)])
        self.page.fit()
        return "break"

    def toggle_full_screen(self) -> None:
        self.root.attributes("-fullscreen", not self.root.attributes("-fullscreen"))

    @staticmethod
    def _delete_word(event: tk.Event[tk.Misc]) -> str:
        """Deletes the selection or, without one, the word before the cursor."""
        box: Any = event.widget
        if not (box.tag_ranges("sel") if isinstance(box, tk.Text) else box.selection_present()):
            box.event_generate("<<SelectPrevWord>>")
        box.event_generate("<<Clear>>")
        return "break"

    def host(self, port: int = net.PORT) -> None:
        session = Session(self.password)
        options: dict[str, Any] = {"port": port, "password": self.password or None, "events": session.events}
        try:  # this takes a few milliseconds, because it waits for nobody
            server = net.run_server(Words.room_of.format(name=self.name), host_name=self.name, **options)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            self.page.say(Words.not_opened.format(reason=reason), wrong=True)
        else:  # the host joins the room like everyone else; the token proves that this is the host
            self.page.say(Words.opening)
            session.server = server
            self._enter(session, "127.0.0.1", server.port, server.token)

    def join(self, address: str, port: int, password: str = "") -> None:
        self.address = join_address(address, port)  # a new join page shows it as if it had been typed there
        page = self.page if isinstance(self.page, JoinPage) else self._show(JoinPage(self))
        page.say(Words.connecting.format(address=self.address))
        page.join.state(["disabled"])
        self._enter(Session(password), address, port, net.room_token(self._secret, address, port))

    def show_join_page(self) -> None:
        self._show(JoinPage(self))

    def leave_room(self) -> None:
        """Leaves the room. Asks the host of others first; the answer yes, like a second attempt, calls this again."""
        if isinstance(self.page, ChatPage) and self.page.ask():
            words = Words.you_closed if self.page.is_host else Words.you_left
            self.leave(words.format(room=self.page.title))

    def leave(self, message: str, wrong: bool = False) -> None:
        """Ends the visit and shows the first page with the message."""
        self._end_session()
        self._show(FirstPage(self)).say(message, wrong=wrong)

    def _escape(self) -> None:
        if isinstance(self.page, JoinPage):
            self.leave("")
        else:
            self._in_room(ChatPage.escape)

    def _in_room(self, action: Callable[[ChatPage], object]) -> str:
        in_dialog = self.root.tk.call("grab", "current", self.root)  # on X11, a file dialog shares these key bindings
        if isinstance(self.page, ChatPage) and not in_dialog:
            action(self.page)
        return "break"

    # Menus.

    def show_commands(self, commands: Sequence[Command], widget: tk.Misc, at: tuple[int, int]) -> None:
        """Shows a menu of the commands at position `at` (x, y in pixels) in the widget."""
        menu = self.page.menu  # belongs to the page, so that both close together
        menu.delete(0, "end")
        for words, action in commands:
            key = self.looks.key(Words.key_of.get(words, ""))
            menu.add_command(label=words, accelerator=f"{key} ", command=action)
        menu.tk_popup(widget.winfo_rootx() + at[0], widget.winfo_rooty() + at[1])

    def _show_edit_menu(self, box: object, x: int = 0, y: int = 0) -> None:
        """Shows the menu of a text box, with Cut, Copy and Paste: many people know no other way to copy text."""
        if isinstance(box, tk.Text):
            is_open, is_hidden, is_selected = str(box.cget("state")) == "normal", False, bool(box.tag_ranges("sel"))
        elif isinstance(box, ttk.Entry):
            is_open, is_hidden = box.instate(["!disabled"]), str(box.cget("show")) != ""
            is_selected = box.selection_present()
        else:  # a widget of one of Tk's own dialogs
            return
        offered = (
            (Words.cut, "<<Cut>>", is_selected and is_open and not is_hidden),
            (Words.copy, "<<Copy>>", is_selected and not is_hidden),
            (Words.paste, "<<Paste>>", is_open),
            (Words.select_all, "<<SelectAll>>", True),
        )
        box.focus_set()
        commands = [(words, functools.partial(box.event_generate, event)) for words, event, on in offered if on]
        self.show_commands(commands, box, (x, y))

    # Title, bell and focus.

    def notice(self, *, rings: bool) -> None:
        """If the window has no focus, counts a message in the title. The first one with `rings` also rings the bell."""
        if not self.root.tk.call("focus", "-displayof", self.root):  # no window of this program has the focus
            self._unread += 1
            self.show_title()
            if rings and not self._has_rung:
                self._has_rung = True
                self.root.bell()

    def _scroll(self, pixels: int) -> None:
        """Handles the mouse wheel and the touchpad: scrolls a page that is too long for the window."""
        if isinstance(self.page, Scrolled):
            self.page.scroll(pixels)

    def _focus_came(self, event: tk.Event[tk.Misc]) -> None:
        self._has_rung = False
        self._unread = 0
        self.show_title()
        if isinstance(self.page, Scrolled):
            self.page.show(event.widget)

    def show_title(self) -> None:
        title = Words.program
        if isinstance(self.page, ChatPage):
            title = Words.title.format(room=self.page.title, program=title)
        self.root.title(Words.unread_title.format(number=self._unread, title=title) if self._unread else title)

    def _close_clicked(self) -> None:
        if not isinstance(self.page, ChatPage) or self.page.ask():
            self.close()

    def close(self) -> None:
        """Ends the session and the window."""
        if not self._closed:
            self._closed = True
            self.root.after_cancel(self._next_poll)
            self._end_session()
            self.page.close()
            self.root.destroy()

    # Pages and sessions.

    def _show(self, page: AnyPage) -> AnyPage:
        self.page.close()
        self.page = page
        self._unread = 0
        self.show_title()
        page.focus()
        return page

    def _enter(self, session: Session, address: str, port: int, token: str) -> None:
        self._end_session()
        self.session = session
        password = session.password or None
        session.client = net.run_client(address, self.name, session.events, port=port, password=password, token=token)

    def _end_session(self) -> None:
        session, self.session = self.session, None
        if session is not None:
            threading.Thread(target=session.close, name="closing the session").start()

    # Polling and events.

    def poll(self) -> None:
        """Handles a bounded number of events. The next poll comes sooner if more are waiting or one came recently."""
        more = False
        try:
            more = self._take_events()
        finally:  # even after an error, polling continues
            if not self._closed:
                wait = POLL_SOON if more else POLL_BUSY if time.monotonic() < self._busy_until else POLL
                self._next_poll = self.root.after(wait, self.poll)

    def _take_events(self) -> bool:
        """Handles events up to the limits of one poll. Returns True if there are more."""
        stop_at = time.perf_counter() + POLL_TIME
        bytes_left = POLL_BYTES
        for _ in range(POLL_EVENTS):
            session = self.session
            if session is None or session.events.empty() or bytes_left <= 0 or time.perf_counter() > stop_at:
                break
            event = session.events.get()
            bytes_left -= len(getattr(event, "text", "").encode(errors="replace"))
            self._busy_until = time.monotonic() + BUSY_TIME
            try:
                self._handle(session, event)
            except Exception:  # only this event is lost
                log.exception("an event could not be shown: %.300r", event)
        self.page.flush()
        return self.session is not None and not self.session.events.empty()

    def _handle(self, session: Session, event: net.Event) -> None:
        if isinstance(self.page, ChatPage):
            self.page.handle(event)
        elif isinstance(event, net.Reachable):
            session.reachable = event
        elif isinstance(event, net.Welcome):
            assert session.client is not None
            if session.server is None and session.password:
                self.passwords[self.address] = session.password
                if self.password == session.password:
                    self.password = ""  # the password belongs to that room: do not offer it for others
            self._show(ChatPage(self, session, session.client, event)).handle(event)
        elif isinstance(event, net.Lost) and event.reason in Words.waiting:
            words = Words.waiting[event.reason].format(address=self.address)
            self.page.say(words, retry_in=event.retry_in)
        elif isinstance(event, (net.Lost, net.Refused, net.Closed)) and isinstance(self.page, JoinPage):
            self._end_session()
            self.page.show_failure(event)
        elif isinstance(event, (net.Lost, net.Refused, net.Closed)):  # the host's own room ended at once
            self.leave(Words.room_failed, wrong=True)
        else:
            log.warning("unexpected before the welcome: %.300r", event)

    def _report(self, *error: object) -> None:
        """Logs a callback's exception. tkinter's method would also store the traceback, which keeps widgets alive."""
        if error[0] is KeyboardInterrupt:  # Ctrl+C in the terminal, during a callback
            self.close()
            return
        log.error("a callback failed", exc_info=error)  # type: ignore[arg-type]
        if not self._closed:
            self.page.say(Words.failed, wrong=True)


def assert_never(value: NoReturn) -> NoReturn:
    """Lets the type checker prove that no case is missing (`typing` has this function only since Python 3.11)."""
    raise AssertionError(value)


def login_name() -> str:
    try:
        return net.clean_name(getpass.getuser())
    except (OSError, ImportError, KeyError):  # the account has no name
        return ""


# ------------------------------------------------------------------------------------------------------- command line


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Reports what is wrong with the command line, even without a console."""
        if sys.stderr is None:
            cannot_start(f"cannot start: {message}")
        super().error(message)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(description="A chat for a classroom: one hosts a room, the others join it.")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--host", action="store_true", help="open a room at once")
    mode.add_argument("--join", metavar="ADDRESS[:PORT]", help="join the room at this address at once")
    parser.add_argument("--name", default="", help="your name in the room (default: your login name)")
    parser.add_argument("--password", help="the room's password; - reads it from standard input")
    parser.add_argument(
        "--port", type=int, default=net.PORT, help=f"the room's port (default: {net.PORT}, or the next that is free)"
    )
    arguments = parser.parse_args(argv)
    if arguments.name and not net.clean_name(arguments.name):
        parser.error(f"--name: {Words.invisible_name}")
    if arguments.password == "-":
        if sys.stdin is None:  # None under pythonw, which has no console
            parser.error("--password -: there is no standard input to read it from")
        arguments.password = sys.stdin.readline().rstrip("\r\n")
    if arguments.password is not None:
        if not net.CAN_ENCRYPT:
            parser.error(f"--password: {needs_new_python()}")
        if not arguments.password or is_blank(arguments.password):
            parser.error(f"--password: {Words.empty_password}")
    arguments.password = arguments.password or ""
    if not 0 < arguments.port < 65536:
        parser.error(f"--port: {Words.port_wrong.format(text=arguments.port)}")
    if arguments.join is not None:
        try:
            arguments.join = parse_address(arguments.join, arguments.port)
        except ValueError as error:
            parser.error(f"--join: {error}")
    return arguments


def main(argv: list[str] | None = None) -> int:
    """Runs the program. Returns the exit status: 1 if tkinter or a screen is missing, otherwise 0."""
    arguments = parse_arguments(argv)
    if sys.stderr is not None:  # None under pythonw, which has no console
        logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    if tkinter_problem:
        platform = sys.platform if sys.platform in Words.no_tkinter else "linux"
        print(Words.no_tkinter[platform].format(problem=tkinter_problem), file=sys.stderr)
        return 1
    make_sharp()
    try:
        root = tk.Tk(className="Chat")
    except tk.TclError as error:
        print(Words.no_screen.format(problem=error), file=sys.stderr)
        return 1
    app = App(root, arguments.name, arguments.password)
    try:
        if arguments.host:
            app.host(arguments.port)
        elif arguments.join is not None:
            address, port = arguments.join
            app.join(address, port, arguments.password)
        root.mainloop()
    except KeyboardInterrupt:  # Ctrl+C in the terminal
        app.close()
    del app, root
    gc.collect()  # frees the last Tk objects in this thread; if another thread freed them, Tk would abort the program
    return 0


# -------------------------------------------------------------------------------------------------------------- words


class Words:
    """The sentences and labels of the window, and some for the terminal. To translate them, translate this table."""

    program = "Classroom chat"
    slogan = "Chat with everyone on this network: nothing to install, no account."
    your_name = "Your name"
    room_password = "Room password (optional)"
    suggest = "Suggest"
    show = "Show"
    hide = "Hide"
    empty_password = "This password contains only invisible characters."
    invisible_name = "this name contains only invisible characters"
    weak_password = "Easy to guess. Suggest makes a safe one."
    needs_new_python = "This computer has Python {version}; a room password needs 3.13 or newer."
    host = "Host a room"
    join = "Join a room"
    room_of = "{name}'s room"
    name_missing = "Please type your name first."
    opening = "Opening the room ..."
    not_opened = "The room could not be opened: {reason}."
    you_left = "You left {room}."
    you_closed = "You closed {room}."

    looking = "Looking for rooms on this network ..."
    found = "Rooms on this network"
    people_in = ("1 person", "{number:,} people")
    has_password = "password"
    nothing_found = (
        "No rooms found on this network. Type the address that the host's window shows; that often works anyway. If it "
        "does not, the computers may be on different networks, or this Wi-Fi keeps computers apart."
    )
    address = "Address of the room"
    address_help = "Choose a room above, or type the address that the host's window shows, for example 192.168.1.20"
    join_password = "Password, if the room has one"
    password_missing = "This room has a password. Please type it and press Enter."
    password_now = "This room now has a password. Leave the room, and join it again."
    join_button = "Join"
    back = "Back"
    address_missing = "Please choose a room, or type the address that the host's window shows."
    address_wrong = "{text} is not an address. An address looks like 192.168.1.20, or 192.168.1.20:5253 with a port."
    only_ipv4 = "This is not an IPv4 address, and the chat uses IPv4 only. An IPv4 address looks like 192.168.1.20."
    port_wrong = "A port is a number from 1 to 65535, not {text}."
    connecting = "Connecting to {address} ..."
    room_says = 'The room says: "{text}"'

    title = "{room} - {program}"
    join_at = "Others join at"
    no_address = "(no network at the moment)"
    more_addresses = "{number} more"
    also_at = "If others can't join at the address above, they can try: {addresses}"
    nobody_yet = (
        "Nobody else is here yet. Ask the others to start this program, click 'Join a room', and choose '{room}' or "
        "type {address}. If Windows asks whether Python may use the network, click Allow."
    )
    not_findable = "Others can't find this room automatically. They need to type {address}."
    menu = "Menu"
    find = "Find"
    menu_save_chat = "Save chat..."
    menu_larger = "Zoom in"
    menu_smaller = "Zoom out"
    menu_full_screen = "Full screen"
    menu_keys = "Keyboard shortcuts"
    file = "File..."
    cut = "Cut"
    copy = "Copy"
    paste = "Paste"
    select_all = "Select all"
    key_of: ClassVar = {
        find: "Ctrl+F",
        menu_save_chat: "Ctrl+S",
        menu_larger: "Ctrl +",
        menu_smaller: "Ctrl -",
        menu_full_screen: "F11",
        menu_keys: "F1",
        file: "Ctrl+O",
        cut: "Ctrl+X",
        copy: "Ctrl+C",
        paste: "Ctrl+V",
        select_all: "Ctrl+A",
    }
    keys: ClassVar = (
        ("Enter", "send;  Shift+Enter: new line"),
        ("Up", "in an empty box: your last message again"),
        ("PgUp, PgDn", "scroll the messages"),
        ("Tab, Shift+Tab", "go to the next part of the window, or back"),
        ("Up, Down", "in the messages: select a message; Enter opens its link, the Menu key shows its actions"),
        ("Escape", "back to the box for typing"),
        ("Ctrl+F", "find words;  Enter: earlier, Shift+Enter: later"),
        ("Ctrl+S", "save the chat in a file"),
        ("Ctrl+O", "share files"),
        ("Ctrl+C", "copy the selection;  Ctrl+A: select all"),
        ("Ctrl+Z, Ctrl+Y", "undo, redo;  Ctrl+Backspace: delete a word"),
        ("Ctrl +, Ctrl -, Ctrl 0", "zoom in, zoom out, reset;  also Ctrl and the mouse wheel"),
        ("F11", "full screen, and back"),
        ("F1", "these keyboard shortcuts"),
        ("exit", "as the whole message: leave the room"),
    )
    close = "Close"
    not_found = "not found"
    save_chat = "Save chat"
    forgotten = "({number:,} earlier messages are not included. The window keeps {kept:,}.)"
    copy_selected = "Copy selection"
    copy_message = "Copy message"
    delete = "Delete for everyone"
    deleted = "deleted by the host"
    deleted_mark = "{name} (deleted by the host)"
    mute = "Mute"
    unmute = "Unmute"
    remove = "Remove"
    let_in = "Let in again"
    pause = "Pause the room"
    resume = "Resume the room"
    muted = "The host muted you: you can read, but not write."
    paused = "The host paused the room: only the host can write now."
    you_paused = "You paused the room: only you can write."
    was_paused = "The host paused the room."
    was_resumed = "Everyone can write again."
    not_known = "The room no longer knows this person or message."
    over = "You are no longer in this room."
    muted_mark = "{name} (muted)"
    removed_mark = "{name} (removed)"
    unread_title = "({number:,}) {title}"
    copied = "Copied"
    open_room = "Not encrypted: anyone on this network can join"
    encrypted_room = "Encrypted: only people with the password can read or join"
    show_password = "Show password"
    hide_password = "Hide password"
    copy_password = "Copy it"
    copy_address = "Copy address"
    guessed = "Someone at {address} entered a wrong password {number:,} times and must wait now."
    guessed_everywhere = "{number:,} wrong passwords have been entered. Someone may be trying to guess the password."
    room_failed = "This computer had to close the room. Please open it again."
    leave = "Leave"
    people = "People ({number:,})"
    host_mark = "{name} (host)"
    you_mark = "{name} (you)"
    host_and_you_mark = "{name} (host, you)"
    hint = "Write a message and press Enter"
    send = "Send"
    new_lines = "{number:,} new"
    close_question = ("Close the room for the other person?", "Close the room for {number:,} people?")
    close_yes = "Close the room"
    close_no = "Stay"
    moved = "{room} has moved to {address}."
    move = "Go there"
    stay_here = "Wait here"

    you_are_in = "You are in {room} as {name}."
    renamed = "{wanted} is taken. You appear as {name}."
    reopened = "{room} was opened again. What was said before is above."
    missed = ("1 earlier message is no longer available.", "{number:,} earlier messages are no longer available.")
    joined = "{name} joined"
    left: ClassVar = {
        "left": "{name} left",
        "lost": "{name} lost the connection",
        "removed": "{name} was removed by the host",
    }
    sending = "sending"
    not_sent = "Not sent. {reason}"
    perhaps_sent = "Perhaps not sent. {reason}"
    write_again = "Write it again"
    settled = "The connection was lost before the room answered, but the others probably have this message."
    _silenced: ClassVar = {"muted": "The host muted you.", "paused": was_paused}
    rejected: ClassVar = {
        **_silenced,
        "empty": "The message is empty.",
        "long": "The message is too long.",
        "unsent": "There was no connection to the room.",
        "unanswered": "The connection ended before the room answered. Ask the others whether they can see it.",
        "unknown": "The room did not accept it. The reason was lost with the connection.",
    }
    choose_files = "Share files with everyone"
    all_files = "All files"
    save_as = "Save the file"
    shared = "shared {filename} ({size})"
    save = "Save"
    sending_file = "Sending {filename}"
    saving_file = "Saving {filename}"
    cancel = "Cancel"
    bytes = ("1 byte", "{number} bytes")
    larger_sizes: ClassVar = ("kB", "MB", "GB")
    file_progress = "{done} of {size}"
    file_waiting = "waiting"
    file_finishing = "finishing"
    more_files = "and {number:,} more"
    file_saved = "{filename} was saved in {folder}."
    open_folder = "Open folder"
    cannot_open = "This computer has no program to show {folder}."
    cancelled = "{filename}: cancelled."
    not_shared = "{filename} was not shared. {reason}"
    not_saved = "{filename} was not saved. {reason}"
    file_failed: ClassVar = {
        **_silenced,
        "size": "It is larger than {limit}, the most that this room accepts.",
        "space": "The room has no space left for it.",
        "hash": "It was damaged on the way. Please try again.",
        "busy": "You are already saving it.",
        "broken": "The connection was lost too many times. Please try again.",
        "many": "Too many files at once. Please wait until some have finished.",
        "unknown": "The room no longer has it.",
        "removed": "The host removed you from the room.",
        "changed": "It was changed while it was being sent. Please try again.",
        "disk_full": "The disk is full.",
        "over": over,
        "bad": "The room sent something unexpected.",
        "failed": "Something went wrong in this program.",
    }
    share_failed: ClassVar = {
        "missing": "The file is no longer there.",
        "folder": "A folder cannot be shared, only files.",
        "permission": "You are not allowed to read it, or another program has it open.",
        "unknown": "You are no longer in the room.",
        "reopened": "The room was closed and opened again. Please try again.",
    }
    save_failed: ClassVar = {
        "missing": "The folder is no longer there.",
        "folder": "There is a folder with this name.",
        "permission": "You are not allowed to write there, or another program has the file open.",
        "reopened": "The room was closed and opened again, and no longer has it.",
    }
    too_long = ("1 character over the limit", "{number:,} characters over the limit")
    too_many_lines = ("1 line over the limit", "{number:,} lines over the limit")

    connected = "Connected"
    failed = "Something went wrong in this program. It will try to continue."
    _unproven = (
        "The computer at {address} could not prove that it knows the password. It may not be the real room. Ask the "
        "host."
    )
    cannot_join: ClassVar = {
        net.Trouble.UNKNOWN_NAME: "Nothing on this network is called {address}. Check the spelling, or type the "
        "address that the host's window shows.",
        net.Trouble.NO_NETWORK: "This computer can't reach {address}. Is this computer connected to the network?",
        net.Trouble.NO_ROUTE: "The computer at {address} can't be reached. Either the address is wrong, or that "
        "computer is switched off, or this Wi-Fi keeps computers apart.",
        net.Trouble.NO_ANSWER: "Nothing answers at {address}. Either the address is wrong, or a firewall on that "
        "computer is in the way, or this Wi-Fi keeps computers apart.",
        net.Trouble.NOBODY_LISTENS: "The computer at {address} is there, but no room is open on it. Has the host "
        "opened the room yet?",
        net.Trouble.NOT_A_ROOM: "Something answers at {address}, but it is not a chat room. Check the address.",
        net.Trouble.GONE: "{address} ended the connection at once. Please try again.",
        net.Trouble.SILENT: "{address} accepts the connection but does not answer. Check the address.",
        net.Trouble.UNPROVEN: _unproven,
        net.Trouble.GAP: "Something was lost on the way from {address}. Please try again.",
    }
    waiting: ClassVar = {
        net.Trouble.FULL: "The room at {address} is full.",
        net.Trouble.WAIT: "The room at {address} asks this computer to wait.",
    }
    lost: ClassVar = {
        **waiting,
        net.Trouble.UNKNOWN_NAME: "The name {address} can no longer be found.",
        net.Trouble.NO_NETWORK: "This computer lost its network connection.",
        net.Trouble.NO_ROUTE: "{address} can't be reached at the moment.",
        net.Trouble.NO_ANSWER: "{address} does not answer.",
        net.Trouble.NOBODY_LISTENS: "The room at {address} is not open at the moment.",
        net.Trouble.NOT_A_ROOM: "Something other than the room answers at {address}.",
        net.Trouble.GONE: "The connection to {address} was lost.",
        net.Trouble.SILENT: "The connection to {address} was lost: nothing came for a while.",
        net.Trouble.UNPROVEN: _unproven,
        net.Trouble.GAP: "Something was lost on the way from {address}.",
    }
    not_allowed = (
        "macOS can't reach {address}. Either the address is wrong, or macOS does not let this program use the network: "
        "open System Settings > Privacy & Security > Local Network, switch on Python or Terminal, and restart this "
        "program."
    )
    firewall = (
        "The room at {address} is there, but a firewall on the host's computer keeps others out. If that computer "
        "runs Windows, ask the host to do this there:\n"
        "1. Open Windows Security, then Firewall & network protection.\n"
        "2. Click Allow an app through firewall.\n"
        "3. Click Change settings, then tick Python for private and for public networks.\n"
        "If someone clicked Cancel when Windows asked for the first time, Python stays blocked. Only these steps "
        "unblock it, and they need an administrator."
    )
    again_now = "Trying again now."
    again_in = "Trying again in {seconds:.0f} s."
    refused: ClassVar = {
        "protocol": "The room at {address} has another version of this program. Please use the same chat_gui.py and "
        "net.py on both computers.",
        "password": password_missing,
        "wrong": "This password does not fit the room that answered. Check it; if it is right, ask the host: something "
        "else may be answering.",
        "unproven": _unproven,
        "open": "The room at {address} has no password and is not encrypted. To join it anyway, clear the password "
        "box.",
        "failed": "Something went wrong in this program. Please join again.",
        "removed": "The host removed you from this room.",
    }
    closed_you_can_read = "{reason} You can still read and copy what was said."

    no_tkinter: ClassVar = {
        "linux": "This Python has no tkinter ({problem}). Install it with: sudo apt install python3-tk   (Fedora: sudo "
        "dnf install python3-tkinter)",
        "darwin": "This Python has no tkinter ({problem}). Install Python from python.org, or: brew install python-tk",
        "win32": "This Python has no tkinter ({problem}). Run Python's installer again and tick 'tcl/tk and IDLE'.",
    }
    no_screen = "There is no screen to open a window on ({problem}). Start the program from a desktop."


if __name__ == "__main__":
    sys.exit(main())
