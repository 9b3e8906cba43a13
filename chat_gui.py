"""The window of the chat: what people see, click and type. Everything that travels is in net.py.

    python chat_gui.py                               the first page
    python chat_gui.py --host [--password P]         opens a room at once
    python chat_gui.py --join ADDRESS[:PORT]         joins that room at once;  both take --name NAME and --port PORT

The file from top to bottom:

    limits         every number, with its unit and its reason
    text           what is drawn of other people's text; links, addresses, folders
    transcript     Message and Transcript: what was said, numbered, deleted, saved and copied; knows no tkinter
    looks          fonts, colours, styles, keys; the differences between systems
    widgets        Log (the messages), Composer (the box for typing), Transfers (files on their way), FindBar, Keys,
                   People (who is here, and what the host can do), PasswordBox
    pages          FirstPage and JoinPage, which scroll; ChatPage with its Header and its Question
    App            Session (one visit to a room), and the window: which page shows, and the poll
    command line   main
    words          every sentence that people read

Everything here runs on the main thread, the only one that may touch tkinter, and it never waits for the network.
Threads of net.py put events into a queue; `App.poll` takes a bounded amount out of it, many times a second, so that the
window answers however much arrives. The few threads that are started here (to open and close a room, to save the chat,
to start a browser) know a queue at most, and never a widget.
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
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn, TypeVar


def cannot_start(problem: str) -> NoReturn:
    """Says why in one line, also to people who started the program by a double click, and ends it.

    The whole file parses under Python 3.8, so that this can be said there.
    """
    if sys.stderr is not None:  # pythonw has no console
        print(f"chat_gui.py {problem}", file=sys.stderr)
    if sys.platform == "win32":  # after a double click, the console closes at once
        with contextlib.suppress(Exception):  # there is no tkinter, or no screen; it was printed anyway
            from tkinter import Tk, messagebox

            Tk().withdraw()
            messagebox.showerror("chat_gui.py", f"chat_gui.py {problem}")
    sys.exit(1)


if sys.version_info < (3, 10):  # noqa: UP036 - this is what an older Python says
    cannot_start(f"needs Python 3.10 or newer; this is {sys.version_info[0]}.{sys.version_info[1]}")

try:
    import net
except ModuleNotFoundError as error:
    if error.name != "net":
        raise
    cannot_start("needs net.py in the same folder")

try:
    import tkinter as tk
    from tkinter import filedialog, font, ttk
except ImportError as error:  # main says it in words
    tkinter_problem = str(error)
else:
    tkinter_problem = ""

log = logging.getLogger("chat_gui")

# ------------------------------------------------------------------------------------------------------------- limits

POLL = 40  # ms between two looks at the queue: below what people notice, under 1 % of a processor
POLL_BUSY = 10  # ms, for a while after something happened ...
BUSY_TIME = 2.0  # s ... which is that long
POLL_SOON = 1  # ms, while more is waiting; not 0, which would leave no time for drawing
POLL_EVENTS = 400  # at most in one step ...
POLL_CHARACTERS = 4_000  # ... and that many of other people's text, or a single message ...
POLL_TIME = 0.008  # s ... and no longer than this, so that a key never waits
LOG_LINES = 5_000  # kept in the window
LOG_SLACK = 500  # lines more before the oldest are deleted, so that it happens seldom
COMPOSER_LINES = 6  # high, then it scrolls
MAX_PASTE = 50_000  # characters; more would only make the box slow, and no message is longer than net.MAX_TEXT
LONGEST_LINE = 1_000  # characters drawn before a line break: Tk lays out a whole line again for each change
LONGEST_RUN = 200  # of wide characters: Tk 9.1 on X11 dies of about 250, and all versions are slow with many
MOST_MARKS = 5  # combining marks on one letter: some scripts need that many
MOST_MARKED = 20  # links and mentions in one message: Tk is slow with many pieces on a line
MOST_FOUND = 1_000  # places at once, the newest: Tk is slow with more
MOST_EMOJI = 60  # symbols outside the basic plane in one message, and of these ...
MOST_KINDS_OF_EMOJI = 12  # ... different ones: X11 keeps only some dozens of coloured glyphs ready to draw
MOST_OF_A_NAME = 500  # characters drawn of a name, a title or a room's reason
PEOPLE_WIDTH = 20  # of the list of people, in widths of a digit
NAME_WIDTH = 12  # in the log, in widths of a digit; longer names are shortened there ...
NARROW_NAME_WIDTH = 8  # ... and more so in a narrow window
NARROW = 64  # widths of a digit; in a narrower window, people show on request, and buttons are in the menu
LOW = 36  # widths of a digit; in a lower window, only the header, the log and the composer show ...
NARROW_LOW = 50  # ... and in a lower narrow one, where more stands one above the other
MOST_WIDE = 60  # widths of a digit; of the first page and the join page
SMALLEST = (46, 60)  # widths of a digit at 100 %; of the window
ZOOMS = (60, 70, 80, 90, 100, 110, 125, 150, 175, 200, 250)  # %
KEPT_MESSAGES = 100_000  # for saving the chat: a lesson in which everyone writes all the time ...
KEPT_CHARACTERS = 20_000_000  # ... and no more than this, about 80 MB
MEASURE_TIME = 0.01  # s; names are measured in slices of this length, while nothing else happens
NOTHING_FOUND_AFTER = 10_000  # ms without a room until the page says what else to try
MOVED_AFTER = 20.0  # s without an answer before a room that answers elsewhere counts as moved
TRANSFERS_SHOWN = 4  # rows; the others are counted
PROGRESS_WIDTH = 24  # of the bar, in widths of a digit
COPIED_TIME = 1_500  # ms for which a button says so
DRAWS_BY_X11 = sys.platform not in ("win32", "darwin")
NO_LETTER = 0x4 if sys.platform == "win32" else 0xC  # Control, Alt, Command (0x8 is Num Lock on Windows)
ALT_GR = 0x20004  # what Windows reports for AltGr: Control and the right Alt key

# --------------------------------------------------------------------------------------------------------------- text

# Direction marks could swap the text around them; the others are drawn as boxes or not at all.
_NOT_DRAWN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\U000e0000-\U000e007f]"
)


def drawable(text: str) -> str:
    """The text as the window draws it: all of it, except what could harm the window or the lines around it."""
    if text.isascii() and text.isprintable() and len(text) <= LONGEST_LINE:  # as most are
        return text
    return "".join(drawn_parts(text))


def drawn_parts(text: str) -> list[str]:
    """What is drawn for each character of the text: itself, something harmless, or nothing.

    Piles of combining marks would reach over other lines; many different emoji take X11 seconds to draw; lines that
    are too long take Tk seconds to lay out.
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
        elif character < "\x7f":
            part = "" if character < " " else character
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
        if part and (character > "\u2e7f" or (run and category in ("Mn", "Me", "Cf"))):  # such join it
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
    """A name, a title or a reason, on one line, and no longer than an honest room can make it."""
    return " ".join(drawable(name[:MOST_OF_A_NAME]).split())


def clock(seconds: float, form: str = "%H:%M") -> str:
    """The local time."""
    try:
        return time.strftime(form, time.localtime(seconds))
    except (ValueError, OverflowError, OSError):  # a year that this system does not know
        return "--:--"


def file_size(size: int) -> str:
    """As people say it: "2.1 MB", in thousands."""
    if size < 1_000:
        return Words.bytes_1 if size == 1 else Words.bytes.format(number=size)
    number, units = size / 1_000, [*Words.larger_sizes]
    while number >= 999.5 and len(units) > 1:
        number /= 1_000
        units.pop(0)
    return f"{number:.1f} {units[0]}" if number < 9.95 else f"{number:,.0f} {units[0]}"


def home_folder(*inside: str) -> str:
    """The person's own folder, or one inside it if that exists; some accounts have none."""
    home = os.path.expanduser("~")
    if not os.path.isdir(home):
        home = os.getcwd()
    folder = os.path.join(home, *inside)
    return folder if os.path.isdir(folder) else home


def show_folder(folder: str) -> None:
    """In the system's own program for files. Raises OSError if there is none."""
    if sys.platform == "win32":
        os.startfile(folder)
    else:
        command = ["open" if sys.platform == "darwin" else "xdg-open", folder]
        opener = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        # It may outlive this window, and some thread must wait for its end.
        threading.Thread(target=opener.wait, name="folder opened", daemon=True).start()


def show_page(address: str) -> None:
    """In the system's browser, which may take its time to start."""
    threading.Thread(target=webbrowser.open, args=[address], name="browser opened", daemon=True).start()


# A link ends before the punctuation of the sentence around it, also Chinese and Japanese punctuation.
WEB_ADDRESS = re.compile(r"(?<![A-Za-z0-9_])https?://[^\s<>\"\u3000-\u303f\uff00-\uffef]+", re.IGNORECASE)
_AFTER_LINK = ".,;:!?'\u2018\u2019\u201c\u201d\u2026\u00ab\u00bb"
_BRACKETS = {")": "(", "]": "[", "}": "{"}


def link_at(match: re.Match[str]) -> str:
    """The address, without what ends the sentence; a bracket belongs to it if it was opened in it."""
    link = match[0]
    while link:
        last = link[-1]
        if last in _AFTER_LINK or (last in _BRACKETS and link.count(last) > link.count(_BRACKETS[last])):
            link = link[:-1]
        else:
            break
    return link


def tidy(text: str) -> str:
    """What is sent of what was typed: without blank lines before and blanks after it; indents stay."""
    return re.sub(r"\A(?:[^\S\n]*\n)+", "", text).rstrip()


def parse_address(text: str, port: int = net.PORT) -> tuple[str, int]:
    """Address and port of "192.168.1.20", "192.168.1.20:5253", "http://..." or "a-name", as people type them.

    Other scripts' digits, a comma in place of a dot (the number pad of much of Europe gives one), blanks and invisible
    characters are understood. Raises ValueError with words to show.
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
    if not re.fullmatch(r"[\w.-]{1,253}", address) or (re.fullmatch(r"[\d.]+", address) and not _is_ipv4(address)):
        raise ValueError(Words.address_wrong.format(text=typed[:60]))
    if _is_ipv4(address):  # 010 is ten to people, but eight to some look-ups
        address = ".".join(str(int(part)) for part in address.split("."))
    if digits:
        if not re.fullmatch(r"[0-9]{1,5}", digits) or not 0 < int(digits) < 65536:
            raise ValueError(Words.port_wrong.format(text=digits[:60]))
        port = int(digits)
    return address, port


def _is_ipv4(address: str) -> bool:
    parts = address.split(".")
    return len(parts) == 4 and all(re.fullmatch(r"[0-9]{1,3}", part) and int(part) < 256 for part in parts)


def join_address(address: str, port: int) -> str:
    """As people type it: with the port only if it is not the usual one."""
    return address if port == net.PORT else f"{address}:{port}"


def room_says(reason: str) -> str:
    """A text that comes from the room must not look like the program's own words."""
    return Words.room_says.format(text=drawable_name(reason))


# --------------------------------------------------------------------------------------------------------- transcript


@dataclass(eq=False)
class Message:
    """Something that was said, shared or noted: what can be drawn, copied and saved."""

    seconds: float
    text: str  # the original; for a file its description
    who: int = 0  # 0: nobody, it is a note
    name: str = ""
    number: int = 0  # of the room's event; 0: none
    tags: tuple[str, ...] = ()
    link: tuple[str, Callable[[], None]] | None = None  # the word at its end, and what a click on it does
    is_deleted: bool = False
    reason: str = ""  # why it was rejected
    height: int = 0  # lines in the log, without those that come from wrapping

    def line(self, form: str = "%H:%M") -> str:
        """As it is copied and saved: "10:31 Ann: hi". Further lines are indented, so that one message cannot look like
        two."""
        text = self.text
        if self.who and self.is_deleted:
            name = Words.deleted_mark.format(name=self.name) if text else self.name
            text = f"{name}: {text or Words.deleted}"
        elif self.who:
            text = f"{self.name}: {text}"
        return "\n    ".join(f"{clock(self.seconds, form)} {text}".splitlines())  # what any editor takes for a new line


class Transcript:
    """What was said in a room, for saving and copying: the newest of it, by number and by characters."""

    def __init__(self, most_messages: int = KEPT_MESSAGES, most_characters: int = KEPT_CHARACTERS) -> None:
        self._most_messages = most_messages
        self._most_characters = most_characters
        self._messages: collections.deque[Message] = collections.deque()
        self._numbered: dict[int, Message] = {}  # the room's number -> message
        self._characters = 0
        self._forgotten = 0

    def begin(self) -> None:
        """Another room, whose numbers begin again."""
        self._numbered.clear()

    def add(self, message: Message) -> None:
        self._messages.append(message)
        self._characters += len(message.text)
        if message.number:
            self._numbered[message.number] = message
        while len(self._messages) > self._most_messages or self._characters > self._most_characters:
            self._forgotten += 1
            oldest = self._messages.popleft()
            self._characters -= len(oldest.text)
            if self._numbered.get(oldest.number) is oldest:  # otherwise it was said in an earlier room
                del self._numbered[oldest.number]

    def delete(self, number: int, *, keep_text: bool) -> Message | None:
        """The message with this number, if it is still there and was not deleted before. The host keeps its text."""
        message = self._numbered.get(number)
        if message is None or message.is_deleted:
            return None
        message.is_deleted = True
        if not keep_text:
            self._characters -= len(message.text)
            message.text = ""
        return message

    def text(self, title: str) -> str:
        """The whole chat as a file."""
        lines = [title, ""]
        if self._forgotten:
            lines.append(Words.forgotten.format(number=self._forgotten, kept=len(self._messages)))
        lines += [message.line("%Y-%m-%d %H:%M:%S ") for message in self._messages]
        return "\n".join(lines) + "\n"


def copied(messages: Iterable[Message]) -> str:
    """Whole messages, as they are copied."""
    return "\n".join(message.line() for message in messages)


def original_part(text: str, first: int, last: int) -> str:
    """What of the original text is drawn from character `first` up to but not including `last`."""
    ends = list(itertools.accumulate(map(len, drawn_parts(text))))
    return text[bisect.bisect_right(ends, first) : bisect.bisect_left(ends, last) + 1] if last > first else ""


def save_text(path: str, text: str, answers: queue.SimpleQueue[tuple[str, str]]) -> None:
    """A thread of its own: the whole text at `path`, or what was there before. Puts (path, what went wrong or "")."""
    problem = part = ""
    try:
        target = net.path_on_disk(path)
        part = f"{target}.{secrets.token_hex(4)}.part"
        with open(part, "x", encoding="utf-8", errors="replace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        net.replace_file(part, target)
    except PermissionError:
        problem = Words.save_failed["permission"]
    except OSError as error:
        problem = f"{error.strerror or error}."
    if problem:
        with contextlib.suppress(OSError):
            net.delete_file(part)
    answers.put((path, problem))


# -------------------------------------------------------------------------------------------------------------- looks

PAGE = "#f3f4f7"
CARD = "#ffffff"
INK = "#1e2430"
QUIET = "#5c6573"  # 5.9 : 1 on white
LINE = "#d5d9e0"
ACCENT = "#2457c5"
SELECTION = "#cfdcf7"
CURRENT = "#e9effb"
HOST = "#cdebd3"  # around the host's name: others may have one that looks the same
MENTION = "#fff1c2"
FOUND = "#fff1c2"
FOUND_NOW = "#ffd24d"
WRONG = "#b3261e"
FLAT: dict[str, Any] = {"background": CARD, "foreground": INK, "borderwidth": 0, "highlightthickness": 0}
FLAT.update(selectbackground=SELECTION, selectforeground=INK)
NAMES = ("#1a63dd", "#9a3412", "#187a39", "#8b2fb8", "#b42318", "#0e7490", "#a21a67", "#6b5900")  # at least 4.6 : 1


def make_sharp() -> None:
    """Windows: without this, and before the first window, it is drawn small and then blown up on a dense screen."""
    if sys.platform == "win32":
        import ctypes

        with contextlib.suppress(AttributeError, OSError):  # older than Windows 8.1
            ctypes.OleDLL("shcore").SetProcessDpiAwareness(1)  # of the system: Tk cannot follow from screen to screen


class Looks:
    """Fonts and styles, the zoom, and what is different on each system. Made once, lives as long as the window.

    The zoom changes the fonts; distances between things stay. `gap` is the usual distance, `digit` the width of a "0"
    as it is now: widths of columns and layouts are multiples of it.
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
        self._sizes = [(each, size) for each in usual]  # points, at 100 %
        self._sizes += [(self.small, max(size - 1, 8)), (self.large, size + 9)]
        self.percent = 100
        self._set_fonts()
        self.gap = self.digit  # px
        self.style = ttk.Style(root)
        if self.is_x11:
            self.style.theme_use("clam")
            root.configure(background=PAGE)
            for option, colour in (("foreground", INK), ("background", PAGE)):  # Tk's own dialogs, on a dark desktop
                root.option_add(f"*{option}", colour)
            self._style_x11()
        self._style_fonts()

    def zoom(self, percent: int) -> None:
        self.percent = percent
        self._set_fonts()
        self._style_fonts()
        self._lay_out_entries(self._root)

    def _set_fonts(self) -> None:
        for each, size in self._sizes:
            each.configure(size=max(round(size * self.percent / 100), 4))
        self.digit = self.text.measure("0")  # px

    def _lay_out_entries(self, parent: tk.Misc) -> None:
        """A ttk.Entry keeps the layout of its text until the text changes."""
        for widget in parent.winfo_children():
            if isinstance(widget, ttk.Entry):
                widget.configure(font=self.text)
            self._lay_out_entries(widget)

    def _style_fonts(self) -> None:
        style = self.style
        style.configure("Treeview", rowheight=self.text.metrics("linespace") + self.gap, font=self.text, borderwidth=0)
        style.configure("Title.TLabel", font=self.large)
        style.configure("Quiet.TLabel", foreground=QUIET)
        style.configure("Wrong.TLabel", foreground=WRONG)
        style.configure("Bold.TLabel", font=self.bold)
        style.configure("Horizontal.TProgressbar", thickness=self.digit)

    def _style_x11(self) -> None:
        """Elsewhere Tk looks like the system. Here its own look is from the 1990s; `clam` can be changed enough."""
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
        hidden = [("disabled", CARD)]  # while everything shows
        style.configure("Vertical.TScrollbar", troughcolor=CARD, bordercolor=CARD, arrowsize=gap)
        style.configure("Vertical.TScrollbar", gripcount=0, gripsize=0)  # Tk 8.6; Tk 9
        style.configure("Vertical.TScrollbar", background=thumb, lightcolor=thumb, darkcolor=thumb)
        style.map("Vertical.TScrollbar", background=hidden, lightcolor=hidden, darkcolor=hidden)
        part = ("Vertical.Scrollbar.thumb", {"expand": "1", "sticky": "nswe"})
        style.layout("Vertical.TScrollbar", [("Vertical.Scrollbar.trough", {"sticky": "ns", "children": [part]})])  # type: ignore[list-item]

    def key(self, words: str) -> str:
        """The name of a key, as it is called here."""
        return words.replace("Ctrl", "Command") if self.is_mac else words

    def card(self, parent: tk.Misc) -> tk.Frame:
        """A white field with a thin line around it."""
        card = tk.Frame(parent, background=CARD, highlightbackground=LINE, highlightcolor=LINE, highlightthickness=1)
        card.rowconfigure(0, weight=1)
        card.columnconfigure(0, weight=1)
        return card

    def menu(self, parent: tk.Misc) -> tk.Menu:
        menu = tk.Menu(parent, tearoff=False, font=self.text)
        if self.is_x11:  # elsewhere it looks like the system's
            menu.configure(background=CARD, foreground=INK, activebackground=SELECTION, activeforeground=INK)
            menu.configure(relief="solid", borderwidth=1, activeborderwidth=self.gap // 2)
        return menu

    @staticmethod
    def show_focus(card: tk.Frame, widget: tk.Misc) -> None:
        """The line around the card shows that the widget in it has the keyboard."""
        widget.bind("<FocusIn>", lambda _: card.configure(highlightbackground=ACCENT), add=True)
        widget.bind("<FocusOut>", lambda _: card.configure(highlightbackground=LINE), add=True)

    def text_box(self, parent: tk.Misc, height: int) -> tk.Text:
        text = tk.Text(parent, height=height, width=20, font=self.text, wrap="word", padx=self.gap, pady=self.gap // 2)
        text.configure(relief="flat", insertbackground=INK, inactiveselectbackground="#dfe6f3", **FLAT)
        for key, there in (("<Tab>", text.tk_focusNext), ("<Shift-Tab>", text.tk_focusPrev)):
            text.bind(key, lambda _, there=there: go_to(there()))  # type: ignore[misc]
        return text

    def table(self, parent: tk.Misc, columns: tuple[str, ...], height: int) -> ttk.Treeview:
        """A list in which one row can be chosen. Other than a Listbox it measures nothing that it does not draw."""
        made = ttk.Treeview(parent, columns=columns, show="", height=height, selectmode="browse")
        for key, row in (("<Home>", 0), ("<End>", -1)):
            made.bind(key, lambda _, row=row: choose_row(made, row))  # type: ignore[misc]
        for key, row in (("<Down>", 0), ("<Up>", -1)):  # Tk's own keys lead only from one row to the next
            made.bind(key, lambda _, row=row: None if made.focus() else choose_row(made, row))  # type: ignore[misc]
        return made

    @staticmethod
    def scroll(view: Any, column: int = 1) -> ttk.Scrollbar:
        """A scrollbar on the right of what it scrolls."""
        made = ttk.Scrollbar(view.master, command=view.yview)
        made.grid(row=0, column=column, sticky="ns")
        view.configure(yscrollcommand=made.set)
        return made


def shortened(text: str, text_font: font.Font, width: int) -> str:
    """The text, with its middle left out if it is wider than `width` px: the number in "Ann 2" is part of the name.

    By bisection: measuring letters for the first time is slow.
    """
    if text_font.measure(text) <= width:
        return text
    end = text[-4:]
    fits, too_many = 0, len(text) - 4
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if text_font.measure(f"{text[:middle]}\u2026{end}") <= width:
            fits = middle
        else:
            too_many = middle
    return f"{text[:fits]}\u2026{end}"


def on_enter(widget: tk.Misc, action: Callable[[], object]) -> None:
    """Both Enter keys; and nothing else happens to them."""

    def act(_: object) -> str:
        action()
        return "break"

    widget.bind("<Return>", act)
    with contextlib.suppress(tk.TclError):  # Windows has no such key
        widget.bind("<KP_Enter>", act)


def on_change(entry: ttk.Entry, action: Callable[[], object]) -> None:
    """By keys or by mouse; Tk tells of it just before."""

    def act() -> None:
        if entry.winfo_exists():  # the key may have been Escape, and the page is gone
            action()

    for way in ("<Key>", "<KeyRelease>", "<<Cut>>", "<<Paste>>", "<<PasteSelection>>"):
        entry.bind(way, lambda _: entry.after_idle(act), add=True)


def copy(widget: tk.Misc, text: str) -> None:
    widget.clipboard_clear()
    widget.clipboard_append(text)


def show(widget: tk.Widget, on: bool) -> None:
    """Whether it shows, at its place in the grid."""
    if on:
        widget.grid()
    else:
        widget.grid_remove()


def place(widget: tk.Widget, **options: Any) -> None:
    """At this place in the grid; whether it shows does not change, and at first it does not."""
    is_shown = widget.winfo_manager() != ""
    widget.grid(**options)
    show(widget, is_shown)


def choose_row(table: ttk.Treeview, number: int) -> str:
    rows = table.get_children()
    if rows:
        table.selection_set(rows[number])
        table.focus(rows[number])
        table.see(rows[number])
    return "break"


def go_to(widget: tk.Misc | None) -> str:
    if widget is not None:
        widget.focus_set()
    return "break"


def way_down(delta: int) -> int:
    """What a touchpad says: the way across is in the upper 16 bits, the way down in the lower ones, with their sign."""
    return (delta & 0x7FFF) - (delta & 0x8000)


Command = tuple[str, Callable[[], object]]  # of a menu: its words, and what it does


def as_command(widget: ttk.Button) -> Command:
    """The same in a menu."""
    return str(widget.cget("text")), widget.invoke


def button(parent: tk.Misc, text: str, action: Callable[[], object], style: str = "TButton") -> ttk.Button:
    """A button that Enter presses too, not only the space bar."""
    made = ttk.Button(parent, text=text, command=action, style=style)
    on_enter(made, made.invoke)
    return made


def wrapped(parent: tk.Misc, style: str = "TLabel", **options: Any) -> ttk.Label:
    """A label that breaks its text where its width ends."""
    label = ttk.Label(parent, style=style, **options)
    label.bind("<Configure>", lambda event: label.configure(wraplength=max(event.width, 1)))
    return label


# What a key with Control does where its letter is not Latin: by the place of the key (X11: evdev's code + 8; Windows:
# the virtual key), as on a US keyboard.
_X11_LETTERS = {24 + place: letter for place, letter in enumerate("qwertyuiop")}
_X11_LETTERS.update({38 + place: letter for place, letter in enumerate("asdfghjkl")})
_X11_LETTERS.update({52 + place: letter for place, letter in enumerate("zxcvbnm")})


def latin_letter(event: tk.Event[tk.Misc]) -> str:
    """The Latin letter at the place of the pressed key, if the keyboard layout has another letter there; or ""."""
    keysym = event.keysym
    if len(keysym) == 1 and keysym.isascii():
        return ""
    if sys.platform == "win32":
        return chr(event.keycode).lower() if ord("A") <= event.keycode <= ord("Z") else ""
    # X11 names letters of other scripts "Greek_psi" or "U10D0"; Latin ones with a sign are "odiaeresis" and the like.
    is_other_script = re.fullmatch("(?!dead_)[A-Za-z]+_.+|U[0-9A-Fa-f]{3,}", keysym)
    return _X11_LETTERS.get(event.keycode, "") if is_other_script and sys.platform != "darwin" else ""


_EDITING = {"a": "<<SelectAll>>", "c": "<<Copy>>", "v": "<<Paste>>", "x": "<<Cut>>", "y": "<<Redo>>", "z": "<<Undo>>"}


def bind_shortcuts(root: tk.Tk, shortcuts: dict[str, Callable[[], str]]) -> None:
    """Control (Command on macOS) and a letter, in the whole window, whether Caps Lock is on or not.

    Tk binds Ctrl+C and the like to Latin letters; with a Russian, Greek, Hebrew, Arabic ... keyboard the place of the
    key counts.
    """

    def press_latin(event: tk.Event[tk.Misc]) -> str | None:
        letter = latin_letter(event)
        if letter in shortcuts:
            return shortcuts[letter]()
        if letter in _EDITING:
            event.widget.event_generate(_EDITING[letter])
            return "break"
        return None

    control = "Command" if root.tk.call("tk", "windowingsystem") == "aqua" else "Control"
    for where in ("Text", "TEntry", str(root)):  # in the first two, the same keys move the cursor
        for letter, action in shortcuts.items():
            for key in (letter, letter.upper()):
                root.bind_class(where, f"<{control}-{key}>", lambda _, action=action: action())  # type: ignore[misc]
        root.bind_class(where, "<Control-Key>", press_latin)


# ------------------------------------------------------------------------------------------------------------ widgets

Chunks = list[object]  # text, tags, text, tags ... as Tk's insert takes them


def _as_tk_counts(text: str) -> str:
    """Before version 9, a character outside the basic plane takes two columns."""
    return text if tk.TkVersion >= 9 else re.sub("[\U00010000-\U0010ffff]", "\\g<0>\0", text)


class Log:
    """The messages, read-only. What is added shows at `flush`, with one insert and one scroll for all of it.

    Each message has as many lines in the widget as its `height` says, so that a line leads to its message and back.
    Below everything that the room has said stand the person's own lines that are still on their way. That part, from
    the mark "own", is drawn anew at each flush.
    """

    def __init__(self, parent: tk.Misc, looks: Looks, focus_composer: Callable[[], None]) -> None:
        self._looks = looks
        self._focus_composer = focus_composer
        self.frame = looks.card(parent)
        self.text = looks.text_box(self.frame, height=1)
        self.text.grid(row=0, column=0, sticky="nsew")
        self.scrollbar = looks.scroll(self.text)
        self.scrollbar.configure(command=self.scroll)
        looks.show_focus(self.frame, self.text)
        self.text.configure(state="disabled", takefocus=True, cursor="arrow", yscrollcommand=self._scrolled)
        self.jump = button(self.frame, "", self.go_to_end, "Accent.TButton")
        self.follows = True  # the end; until the reader scrolls up
        self._asking = ""  # what Tk calls the question whether the reader sees the end, until it is asked
        self._new = 0  # messages below what the reader sees
        self._drawn_messages: list[Message] = []  # the oldest first
        self._added: list[Message] = []  # to be drawn
        self._own_changed = False
        self.on_their_way: dict[int, str] = {}  # id -> text
        self._names: dict[str, str] = {}  # name -> as it fits into its column
        self._handed_out = ""
        self._is_narrow = False
        self._marked = WEB_ADDRESS
        self._host = net.HOST
        self.fit(is_narrow=False)
        self.text.mark_set("own", "end-1c")
        self.text.mark_gravity("own", "left")
        self._bind()

    def _bind(self) -> None:
        text = self.text
        text.tag_bind("link", "<Enter>", lambda _: text.configure(cursor="hand2"))
        text.tag_bind("link", "<Leave>", lambda _: text.configure(cursor="arrow"))
        text.tag_bind("link", "<Button-1>", lambda _: self._follow_link("current"))
        text.tag_bind("link", "<Double-Button-1>", lambda _: None)  # nor does a triple one open the page again
        ways = ["<MouseWheel>", "<Button-4>", "<Button-5>", "<TouchpadScroll>", "<Key>"]
        ways += ["<B1-Motion>", "<B1-Leave>", "<B2-Motion>"]
        for way in ways:
            with contextlib.suppress(tk.TclError):  # TouchpadScroll is new in Tk 9, which lacks the buttons
                text.bind(way, lambda _: self._reader_scrolls(), add=True)
        text.bind("<Up>", lambda _: self._step(-1))
        text.bind("<Down>", lambda _: self._step(1))
        on_enter(text, self._follow_first_link)
        text.bind("<<Copy>>", lambda _: self._copy())
        for kind in ("STRING", "UTF8_STRING"):
            text.selection_handle(self._hand_out, selection="PRIMARY", type=kind)
        self.jump.bind("<Unmap>", lambda _: self._jump_went())

    def fit(self, *, is_narrow: bool) -> None:
        """Margins and columns for the font as it is now; in a narrow window a message goes on below its name."""
        looks, text = self._looks, self.text
        self._is_narrow = is_narrow
        if self._asking:  # what moves now is not moved by the reader
            text.winfo_toplevel().after_cancel(self._asking)
            self._asking = ""
        self._names.clear()
        space = max(looks.gap, looks.text.measure(" "))  # a tab is never narrower than a blank
        time_width = looks.small.measure("00:00") + space
        column = time_width + (NARROW_NAME_WIDTH if is_narrow else NAME_WIDTH) * looks.digit + space
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
        """From now on the host's name stands out, and so does "@Ann" for Ann, but not "@Anna" or "@Ann 2"."""
        self._host = welcome.host or net.HOST
        self.mention = mention(welcome.name)
        self._marked = re.compile(f"{WEB_ADDRESS.pattern}|{self.mention.pattern}", re.IGNORECASE)

    # What is added and changed.

    def add(self, message: Message) -> None:
        self._added.append(message)
        if message.who:
            self._new += 1

    def add_note(self, text: str, *, wrong: bool = False) -> Message:
        """A quiet line that nobody said, and that is not saved."""
        message = Message(time.time(), text, tags=("wrong",) if wrong else ())
        self.add(message)
        return message

    def add_on_its_way(self, number: int, text: str) -> None:
        self.on_their_way[number] = text
        self._own_changed = True

    def remove_on_its_way(self, number: int) -> str | None:
        """The text of the person's own line that was answered."""
        self._own_changed = True
        return self.on_their_way.pop(number, None)

    def remove(self, message: Message) -> None:
        self._replace(message, None)

    def redraw(self, message: Message) -> None:
        """It looks different from now on."""
        self._replace(message, message)

    def _replace(self, message: Message, by: Message | None) -> None:
        self.flush()
        if message not in self._drawn_messages:  # so old that it is no longer drawn
            return
        index = self._drawn_messages.index(message)
        line = 1 + sum(earlier.height for earlier in self._drawn_messages[:index])
        with self._writable():
            if by is not None:
                self.text.delete(f"{line}.0", f"{line + message.height - 1}.end")
                chunks = self._chunks(by)
                chunks[0] = ""  # the line is there already
                self.text.insert(f"{line}.0", *chunks)  # type: ignore[arg-type]
            else:
                del self._drawn_messages[index]
                first = f"{line - 1}.end" if line > 1 else "1.0"
                last = f"{line + message.height - 1}.end" if line > 1 else f"{line + message.height}.0"
                self.text.delete(first, last)
            height = sum(each.height for each in self._drawn_messages)
            self.text.mark_set("own", f"{height}.end" if height else "1.0")
        self.text.configure(cursor="arrow")
        if self.follows:
            self.go_to_end()

    # How a message is drawn. The first chunk is always the newline that ends the message before.

    def _chunks(self, message: Message) -> Chunks:
        """Also notes the message's height."""
        margins = "text" if message.who else "quiet"
        body = self._said(message) if message.who else [drawable(message.text), (margins, *message.tags)]
        if message.link is not None and not message.is_deleted:
            body += ["   ", (margins,), message.link[0], (margins, "link")]
        message.height = 1 + sum(str(chunk).count("\n") for chunk in body[::2])
        return ["\n", (), *body]

    def _said(self, message: Message) -> Chunks:
        chunks: Chunks = [f"{clock(message.seconds)}\t", ("time",)]
        name_tag = "host" if message.who == self._host else f"name{message.who % len(NAMES)}"
        chunks += [self._fitting(message.name), ("text", name_tag), "\t", ("text",)]
        if message.is_deleted:
            return [*chunks, Words.deleted, ("text", "gone")]
        chunks += self._marked_text(message.text, ("text", "body", *message.tags))
        if message.reason:
            chunks += ["\n", (), drawable(message.reason), ("text", "wrong")]
        return chunks

    def _marked_text(self, text: str, tags: tuple[str, ...]) -> Chunks:
        """Words, with links where web addresses are, and mentions of the person's own name."""
        if "://" not in text and "@" not in text:
            return [drawable(text), tags]
        parts = drawn_parts(text)  # a long address is drawn on several lines
        chunks: Chunks = []
        rest = 0
        for match in itertools.islice(self._marked.finditer(text), MOST_MARKED):
            kind = "mention" if match[0].startswith("@") else "link"
            start = match.start()
            end = start + len(link_at(match) if kind == "link" else match[0])
            chunks += ["".join(parts[rest:start]), tags, "".join(parts[start:end]), (*tags, kind)]
            rest = end
        return [*chunks, "".join(parts[rest:]), tags]

    def _fitting(self, name: str) -> str:
        """The name as it fits into its column."""
        if name not in self._names:
            if len(self._names) > LOG_LINES:
                self._names.clear()
            width = (NARROW_NAME_WIDTH if self._is_narrow else NAME_WIDTH) * self._looks.digit
            self._names[name] = shortened(drawable_name(name), self._looks.bold, width)
        return self._names[name]

    # How it shows.

    def flush(self) -> None:
        """Draws what was added since the last time."""
        if not self._added and not self._own_changed:
            return
        added, self._added = self._added, []
        with self._writable():
            self.text.delete("own", "end-1c")
            chunks = [chunk for message in added for chunk in self._chunks(message)]
            if chunks:
                if not self._drawn_messages:
                    chunks[0] = ""  # no empty line at the top
                self._append(chunks)
                self._drawn_messages += added
            self.text.mark_set("own", "end-1c")
            self._append([chunk for text in self.on_their_way.values() for chunk in self._on_its_way(text)])
            self._trim()
        self._own_changed = False
        if self.follows:
            self.go_to_end()
        elif self._new:
            self.jump.configure(text=Words.new_lines.format(number=self._new))
            self.jump.place(relx=1, rely=1, x=-3 * self._looks.gap, y=-self._looks.gap, anchor="se")

    def _append(self, chunks: Chunks) -> None:
        if chunks:
            self.text.insert("end-1c", *chunks)  # type: ignore[arg-type]

    def _on_its_way(self, text: str) -> Chunks:
        return ["\n", (), f"\t{Words.sending}\t", ("time", "sending"), drawable(text), ("text", "sending")]

    def _trim(self) -> None:
        """Deletes the oldest messages; later than usual while the reader is up there."""
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

    # Following the end. Only the reader's own scrolling changes whether the log follows; everything else keeps it.

    def go_to_end(self) -> None:
        self.follows = True
        self._new = 0
        self.jump.place_forget()
        self.text.see("end")

    def scroll(self, *to: object) -> None:
        """The reader scrolls, in the way that Tk's scrollbars ask for it."""
        self.text.yview(*to)
        self._reader_scrolls()

    def _reader_scrolls(self) -> None:
        """Asked once it has happened: can the reader see the end?"""
        if not self._asking:
            self._asking = self.text.winfo_toplevel().after_idle(self._notice_end)

    def _notice_end(self) -> None:
        self._asking = ""
        if self.text.winfo_exists():  # the page may be gone by then
            self.follows = self.text.yview()[1] >= 1.0
            if self.follows:
                self._new = 0
                self.jump.place_forget()

    def _scrolled(self, first: float, last: float) -> None:
        """Tk says which part shows. A new size, line or font must not hide the end from a reader who follows it."""
        self.scrollbar.set(first, last)
        if self.follows and float(last) < 1.0:
            self.text.winfo_toplevel().after_idle(self._stay_at_end)

    def _stay_at_end(self) -> None:
        if self.text.winfo_exists() and self.follows:
            self.text.see("end")

    def _jump_went(self) -> None:
        """What is typed next would be lost if the button still had the keyboard."""
        if self.jump.focus_lastfor() is self.jump:
            self._focus_composer()

    # What the reader does.

    def message_at(self, index: str) -> Message | None:
        """The message that is drawn at this index of the widget; None if there is none."""
        line = int(self.text.index(index).split(".")[0])
        for message in self._drawn_messages:
            line -= message.height
            if line <= 0:
                return message
        return None

    def chosen(self) -> Message | None:
        """The message that was chosen with the arrow keys."""
        return self.message_at("chosen.first") if self.text.tag_ranges("chosen") else None

    def _step(self, step: int) -> str:
        """Up and Down choose a message; Enter opens its link, the Menu key shows its actions."""
        if not self._drawn_messages:
            return "break"
        chosen = self.chosen()
        index = len(self._drawn_messages) - 1
        if chosen is not None:
            index = min(max(self._drawn_messages.index(chosen) + step, 0), index)
        line = 1 + sum(message.height for message in self._drawn_messages[:index])
        self.text.tag_remove("chosen", "1.0", "end")
        self.text.tag_add("chosen", f"{line}.0", f"{line + self._drawn_messages[index].height}.0")
        self.text.see(f"{line}.0")
        self._reader_scrolls()
        return "break"

    def _follow_first_link(self) -> None:
        """Of the chosen message."""
        if self.text.tag_ranges("chosen") and (at := self.text.tag_nextrange("link", "chosen.first", "chosen.last")):
            self._follow_link(at[0])

    def _follow_link(self, index: str) -> None:
        """A web address, or the word that its message ends with."""
        at = self.text.tag_prevrange("link", f"{index} +1c")
        if not at:
            return
        word, message = self.text.get(*at), self.message_at(at[0])
        if message is not None and message.link is not None and message.link[0] == word:
            message.link[1]()
        elif message is not None:
            begin = self._body_start(message)
            show_page(original_part(message.text, *(len(self.text.get(begin, end)) for end in at)))

    def selected(self) -> str:
        """What is selected, as it is copied: within the text of one message exactly that, otherwise whole messages."""
        text = self.text
        if not text.tag_ranges("sel"):
            return ""
        first, last = self.message_at("sel.first"), self.message_at("sel.last-1c")
        if first is None:
            return text.get("sel.first", "sel.last")
        if first is last:
            if "body" in text.tag_names("sel.first"):
                begin = self._body_start(first)
                offsets = (len(text.get(begin, end)) for end in ("sel.first", "sel.last"))
                return original_part(first.text, *offsets)
            if not first.who:
                return text.get("sel.first", "sel.last")
        start_index = self._drawn_messages.index(first)
        end_index = len(self._drawn_messages) if last is None else self._drawn_messages.index(last) + 1
        return copied(self._drawn_messages[start_index:end_index])

    def _body_start(self, message: Message) -> str:
        """Where the text of a message begins."""
        line = 1 + sum(each.height for each in self._drawn_messages[: self._drawn_messages.index(message)])
        found = self.text.tag_nextrange("body", f"{line}.0")
        return found[0] if found else f"{line}.0"

    def _copy(self) -> str:
        if text := self.selected():
            copy(self.text, text)
        return "break"

    def _hand_out(self, first: str, length: str) -> str:
        """A piece of what is selected: on X11, the middle mouse button asks for one after the other."""
        if first == "0":
            self._handed_out = self.selected()
        return self._handed_out[int(first) : int(first) + int(length)]

    def find(self, wanted: str, *, backwards: bool) -> bool:
        """Marks the places and shows the next one, at first the last. Whether there is any."""
        text = self.text
        is_first = not text.tag_ranges("found now")
        here = text.index("end" if is_first else "found now.first" if backwards else "found now.last")
        self.end_find()
        places = self._places(wanted) if wanted else []
        if not places:
            return False
        text.tag_add("found", *(f"{line}.{column}" for line, *columns in places for column in columns))
        line, column = map(int, here.split("."))
        earlier = sum(at < (line, column) for at in places)
        line, first, last = places[earlier - 1 if backwards or is_first else earlier % len(places)]
        text.tag_add("found now", f"{line}.{first}", f"{line}.{last}")
        text.tag_raise("found now", "found")
        text.see(f"{line}.{first}")
        self._reader_scrolls()
        return True

    def _places(self, wanted: str) -> list[tuple[int, int, int]]:
        """Line, column and column of the end. Tk 8.6's own search dies if it ignores the case of an emoji."""
        pattern = re.compile(re.escape(_as_tk_counts(wanted)), re.IGNORECASE)
        lines = _as_tk_counts(self.text.get("1.0", "end-1c")).split("\n")
        newest = (
            (number, *match.span())
            for number in range(len(lines), 0, -1)
            for match in reversed([*pattern.finditer(lines[number - 1])])
        )
        return sorted(itertools.islice(newest, MOST_FOUND))

    def end_find(self) -> None:
        for tag in ("found", "found now"):
            self.text.tag_remove(tag, "1.0", "end")


def mention(name: str) -> re.Pattern[str]:
    """ "@Ann", but not "@Anna" or "@Ann 2"; Chinese and Japanese text may follow at once, as it has no spaces."""
    follows = "" if re.search(r"[^\x00-\u2e7f]$", name) else r"(?![^\W\u2e80-\uffff])"
    return re.compile(rf"@{re.escape(drawable_name(name))}{follows}(?! ?\d)", re.IGNORECASE)


class Composer:
    """The box for typing: Enter sends, Shift+Enter makes a new line, up to six lines high.

    Only sending ever empties it. `send` gets the text, tidied and not too long.
    """

    def __init__(self, parent: tk.Misc, looks: Looks, send: Callable[[str], None]) -> None:
        self._looks = looks
        self._send = send
        self.frame = looks.card(parent)
        self.text = looks.text_box(self.frame, height=1)
        self.text.configure(pady=looks.gap * 3 // 4, undo=True, maxundo=200)
        self.text.grid(row=0, column=0, sticky="nsew")
        looks.show_focus(self.frame, self.text)
        self.problem = ttk.Label(parent, style="Wrong.TLabel")
        self.hint = tk.Label(self.text, text=Words.hint, font=looks.text, background=CARD, foreground=QUIET)
        self.hint.configure(anchor="w", justify="left")
        self.hint.bind("<Button-1>", lambda _: self.text.focus_set())
        for way in ("<<ContextMenu>>", "<<PasteSelection>>"):  # they are for the box, which it covers
            self.hint.bind(way, lambda event, way=way: self.text.event_generate(way, x=event.x, y=event.y))
        self._show_hint()
        on_enter(self.text, self.send)
        self.text.bind("<Shift-Return>", lambda _: None)  # Tk's own: a new line
        with contextlib.suppress(tk.TclError):  # Windows has no such key
            self.text.bind("<Shift-KP_Enter>", lambda _: self.insert("\n"))
        self.text.bind("<<Paste>>", lambda _: self.paste("CLIPBOARD"))
        self.text.bind("<<PasteSelection>>", self._paste_at)
        self.text.bind("<<Modified>>", lambda _: self._modified())
        self.text.bind("<Configure>", lambda _: self._fit())

    def get(self) -> str:
        return self.text.get("1.0", "end-1c")

    def send(self) -> None:
        self.text.focus_set()  # a click on Send took the keyboard away
        text = tidy(net.clean_text(self.get()))
        if self.is_blocked or self._show_problem(text):
            return
        self.text.delete("1.0", "end")
        self.text.edit_reset()
        if text:
            self._send(text)  # last: it may have been "exit", and the box is gone

    @property
    def is_blocked(self) -> bool:
        return str(self.text.cget("state")) == "disabled"

    def give_back(self, text: str) -> None:
        """Puts a text that was not sent here again, below what is being written."""
        self.text.insert("end-1c", f"\n{text}" if self.get() else text)
        self.text.mark_set("insert", "end-1c")
        self.text.see("insert")
        self.text.focus_set()

    def block(self, reason: str) -> None:
        """Nothing can be written for now, and why; "" allows it again. What was written stays."""
        colours = (PAGE, QUIET) if reason else (CARD, INK)
        self.text.configure(state="disabled" if reason else "normal", background=colours[0], foreground=colours[1])
        self.hint.configure(text=reason or Words.hint, background=colours[0])
        self._fit()

    def _show_problem(self, text: str) -> bool:
        """Whether it is too long; if so, the line below the box says by how much."""
        problem = ""
        if (characters := len(text) - net.MAX_TEXT) > 0:
            problem = (Words.too_long if characters > 1 else Words.too_long_1).format(number=characters)
        elif (lines := text.count("\n") + 1 - net.MAX_TEXT_LINES) > 0:
            problem = (Words.too_many_lines if lines > 1 else Words.too_many_lines_1).format(number=lines)
        self.problem.configure(text=problem)
        show(self.problem, problem != "")
        return problem != ""

    def insert(self, text: str) -> str:
        """As if it had been typed there."""
        if self.text.tag_ranges("sel"):
            self.text.delete("sel.first", "sel.last")
        self.text.insert("insert", text)
        self.text.see("insert")
        return "break"

    def paste(self, selection: str) -> str:
        """The one way for everything that is pasted: CLIPBOARD, or on X11 PRIMARY, what is selected somewhere."""
        if not self.is_blocked:
            with contextlib.suppress(tk.TclError):  # there is nothing, or no text
                pasted: str = self.text.selection_get(selection=selection)  # type: ignore[no-untyped-call]
                self.insert(net.clean_text(pasted[:MAX_PASTE]))
        return "break"

    def _paste_at(self, event: tk.Event[tk.Text]) -> str:
        """The middle mouse button."""
        self.text.focus_set()
        self.text.tag_remove("sel", "1.0", "end")
        self.text.mark_set("insert", f"@{event.x},{event.y}")
        return self.paste("PRIMARY")

    def _modified(self) -> None:
        if self.text.edit_modified():
            self.text.edit_modified(False)
            self._show_hint()
            self._show_problem(tidy(self.get()))
            self._fit()

    def _show_hint(self) -> None:
        """In an empty box."""
        if self.get():
            self.hint.place_forget()
        else:
            self.hint.place(x=0, rely=0.5, anchor="w", relwidth=1)

    def _fit(self) -> None:
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
    """The files that are on their way: a row for each, with a bar and a button that cancels it.

    What comes shows at `flush`, however often it comes.
    """

    def __init__(self, parent: tk.Misc, looks: Looks, cancel: Callable[[int], None]) -> None:
        self._looks = looks
        self._cancel = cancel
        self.frame = ttk.Frame(parent)
        self.frame.columnconfigure(0, weight=1)
        self._more = ttk.Label(self.frame, style="Quiet.TLabel")
        place(self._more, row=TRANSFERS_SHOWN, column=0, sticky="w")
        self._running: dict[int, net.Progress] = {}
        self._rows: dict[int, _TransferRow] = {}
        self._changed = False
        self._is_narrow = False

    def fit(self, *, is_narrow: bool) -> None:
        self._is_narrow = is_narrow
        self._changed = True

    def show(self, progress: net.Progress) -> None:
        self._running[progress.transfer] = progress
        self._changed = True

    def remove(self, transfer: int) -> net.Progress | None:
        """It has ended. What was last known of it."""
        self._changed = True
        return self._running.pop(transfer, None)

    def flush(self) -> None:
        if not self._changed:
            return
        self._changed = False
        shown = list(self._running)[:TRANSFERS_SHOWN]
        for transfer in [transfer for transfer in self._rows if transfer not in shown]:
            self._rows.pop(transfer).close()
        for number, transfer in enumerate(shown):
            if transfer not in self._rows:
                self._rows[transfer] = _TransferRow(self.frame, self._looks, transfer, self._cancel)
            self._rows[transfer].show(number, self._running[transfer], self._is_narrow)
        others = len(self._running) - len(shown)
        self._more.configure(text=Words.more_files.format(number=others))
        show(self._more, others > 0)
        show(self.frame, bool(shown))


class _TransferRow:
    def __init__(self, parent: tk.Misc, looks: Looks, transfer: int, cancel: Callable[[int], None]) -> None:
        self._looks = looks
        self._name = ttk.Label(parent)
        self._state = ttk.Label(parent, style="Quiet.TLabel")
        self._bar = ttk.Progressbar(parent)
        self._button = button(parent, Words.cancel, lambda: cancel(transfer))

    def show(self, row: int, progress: net.Progress, is_narrow: bool) -> None:
        digit = self._looks.digit
        words = Words.sending_file if progress.is_upload else Words.saving_file
        name = shortened(drawable_name(progress.filename), self._looks.text, (10 if is_narrow else 40) * digit)
        self._name.configure(text=words.format(filename=name))
        self._bar.configure(maximum=max(progress.size, 1), value=progress.done)
        self._bar.configure(length=(6 if is_narrow else PROGRESS_WIDTH) * digit)
        if progress.is_waiting:
            state = Words.file_waiting
        elif progress.done == progress.size:
            state = Words.file_finishing
        else:
            state = Words.file_progress.format(done=file_size(progress.done), size=file_size(progress.size))
        self._state.configure(text=state)
        for column, widget in enumerate((self._name, self._state, self._bar, self._button)):
            left = self._looks.gap // 2 if column else 0
            widget.grid(row=row, column=column, sticky="e" if column else "w", padx=(left, 0), pady=1)
        show(self._state, not is_narrow)

    def close(self) -> None:
        for widget in (self._name, self._state, self._bar, self._button):
            widget.destroy()


class FindBar:
    """Finds words in the log: Enter goes up, to what was said earlier, Shift+Enter goes down."""

    def __init__(self, parent: tk.Misc, looks: Looks, messages: Log, closed: Callable[[], None]) -> None:
        self._messages = messages
        self._closed = closed
        self.frame = ttk.Frame(parent)
        self.frame.columnconfigure(1, weight=1)
        ttk.Label(self.frame, text=Words.find).grid(row=0, column=0)
        self.entry = ttk.Entry(self.frame, font=looks.text, width=8)
        self.entry.grid(row=0, column=1, sticky="ew", padx=looks.gap // 2)
        self.state = ttk.Label(self.frame, text=Words.not_found, style="Wrong.TLabel")
        place(self.state, row=1, column=1, columnspan=4, sticky="w", padx=looks.gap // 2)
        for column, (sign, backwards) in enumerate((("\u2191", True), ("\u2193", False)), 2):
            arrow = button(self.frame, sign, lambda backwards=backwards: self.find(backwards=backwards))  # type: ignore[misc]
            arrow.configure(width=2)
            arrow.grid(row=0, column=column, padx=(0, looks.gap // 2))
        button(self.frame, Words.close, self.close).grid(row=0, column=4)
        on_enter(self.entry, self.find)
        for key in ("<Shift-Return>", "<Shift-KP_Enter>"):
            with contextlib.suppress(tk.TclError):  # Windows has no second Enter key
                self.entry.bind(key, lambda _: self.find(backwards=False))
        on_change(self.entry, self._typed)
        self._last = ""

    def open(self) -> None:
        show(self.frame, True)
        self.entry.focus_set()
        self.entry.selection_range(0, "end")

    def find(self, *, backwards: bool = True) -> None:
        found = self._messages.find(self.entry.get(), backwards=backwards)
        show(self.state, not found and self.entry.get() != "")

    def close(self) -> None:
        self._messages.end_find()
        show(self.frame, False)
        self._closed()

    def _typed(self) -> None:
        if self.entry.get() != self._last:
            self._last = self.entry.get()
            self._messages.end_find()
            self.find()


class Keys:
    """What the keys do, in front of the messages and the people."""

    def __init__(self, parent: tk.Misc, looks: Looks, closed: Callable[[], None]) -> None:
        self._looks = looks
        self._closed = closed
        self.frame = looks.card(parent)
        self.text = looks.text_box(self.frame, height=1)
        self.text.configure(takefocus=True, cursor="arrow")
        self.text.grid(row=0, column=0, sticky="nsew")
        looks.show_focus(self.frame, self.text)

    def fit(self, *, is_narrow: bool) -> None:
        """Two columns; in a narrow window what a key does stands below it."""
        text, digit = self.text, self._looks.digit
        column = 2 * digit if is_narrow else 22 * digit
        text.configure(state="normal", tabs=(column,))
        text.delete("1.0", "end")
        for keys, words in Words.keys:
            end = "\n" if is_narrow else "\t"
            text.insert("end", self._looks.key(keys) + end, "keys", f"{self._looks.key(words)}\n", "words")
        text.configure(state="disabled")
        text.tag_configure("keys", font=self._looks.bold, spacing1=self._looks.gap // 3)
        text.tag_configure("words", lmargin1=column, lmargin2=column)

    def toggle(self) -> None:
        if self.text.winfo_ismapped():
            self.hide()
            return
        show(self.frame, True)
        self.frame.lift()
        self.text.focus_set()

    def hide(self) -> None:
        if self.frame.winfo_manager():
            show(self.frame, False)
            self._closed()


Control = Callable[[Callable[[net.Server], None]], None]
ShowCommands = Callable[[list[Command], "tk.Misc", tuple[int, int]], None]


class People:
    """The list of who is here; for the host also what can be done to the person chosen in it, and to everyone.

    Only rows that change are touched, and a name is measured once, in short slices while nothing else happens: with a
    thousand unusual names, measuring all of them takes seconds. `control` lets the host's own room do something.
    """

    def __init__(self, parent: tk.Misc, looks: Looks, control: Control | None, show_commands: ShowCommands) -> None:
        self._looks = looks
        self._control = control
        self._show_commands = show_commands
        self.names: dict[int, str] = {}
        self._host = self._own = 0
        self._is_paused = False
        self._controls = net.Controls((), ())
        self._order: list[tuple[bool, bool, str, str]] = []  # sorted: what the rows are sorted by; the last is the row
        self._keys: dict[str, tuple[bool, bool, str, str]] = {}  # row -> its place in that order
        self._to_measure: dict[str, None] = {}  # rows whose text may be too wide
        self._fitting: dict[str, str] = {}  # text -> as it fits
        self._measuring: str | None = None  # what Tk calls the next slice
        self._changed = False
        gap = looks.gap
        self.frame = ttk.Frame(parent)
        self.frame.rowconfigure(1, weight=1)
        self.frame.columnconfigure(0, weight=1)
        self.title = ttk.Label(self.frame, style="Bold.TLabel")
        self.title.grid(row=0, column=0, sticky="w", pady=(0, gap // 2))
        card = looks.card(self.frame)
        card.grid(row=1, column=0, sticky="nsew")
        self.list = looks.table(card, ("name",), height=1)
        self.list.grid(row=0, column=0, sticky="nsew")
        self.list.tag_configure("quiet", foreground=QUIET)
        looks.scroll(self.list)
        looks.show_focus(card, self.list)
        bar = ttk.Frame(self.frame)
        bar.columnconfigure((0, 1), weight=1, uniform="bar")
        self.mute = button(bar, Words.mute, self._mute)
        self.remove = button(bar, Words.remove, self._remove)
        self.pause = button(bar, Words.pause, self._pause)
        self.mute.grid(row=0, column=0, sticky="ew")
        self.remove.grid(row=0, column=1, sticky="ew", padx=(gap, 0))
        self.pause.grid(row=1, column=0, columnspan=2, sticky="ew", pady=(gap, 0))
        if control is not None:
            bar.grid(row=2, column=0, sticky="ew", pady=(gap, 0))
            self._bind()
        self.fit()

    def _bind(self) -> None:
        self.list.bind("<<TreeviewSelect>>", lambda _: self._show_bar())
        self.list.bind("<<ContextMenu>>", self._show_menu)
        self.list.bind("<<MenuKey>>", lambda _: self._show_menu(None))
        on_enter(self.list, lambda: self._show_menu(None))

    # What the room says.

    def begin(self, welcome: net.Welcome) -> None:
        self.list.delete(*self._keys)
        self._order.clear()
        self._keys.clear()
        self._to_measure.clear()
        self._host, self._own = welcome.host or net.HOST, welcome.who
        self.names = dict(welcome.people)
        self._controls = net.Controls((), self._controls.removed)
        rows = sorted((self._key(who, name), self._words(who, name)) for who, name in self.names.items())
        for key, words in rows:  # they are inserted in order, each at the end
            self._order.append(key)
            self._keys[key[-1]] = key
            self._insert(key[-1], "end", words)
        self._show_removed()
        self._changed = True

    def came(self, who: int, name: str) -> None:
        self.names[who] = name
        self._put(self._key(who, name), self._words(who, name))

    def went(self, who: int) -> None:
        self.names.pop(who, None)
        self._take_away(str(who))

    def show_controls(self, controls: net.Controls) -> None:
        """Who is muted, and who was removed."""
        changed = set(controls.muted) ^ set(self._controls.muted)
        before, self._controls = self._controls, controls
        for who in changed & self.names.keys():
            self._put(self._key(who, self.names[who]), self._words(who, self.names[who]))
        for who, _ in set(before.removed) - set(controls.removed):
            self._take_away(f"removed {who}")
        self._show_removed()
        self._show_bar()

    def _show_removed(self) -> None:
        for who, name in self._controls.removed:
            key = (True, False, name.casefold(), f"removed {who}")
            self._put(key, Words.removed_mark.replace("{name}", drawable_name(name)))

    def show_paused(self, on: bool) -> None:
        self._is_paused = on
        self._show_bar()

    # Rows.

    def _key(self, who: int, name: str) -> tuple[bool, bool, str, str]:
        """The host comes first, then the others in alphabetical order, then those who were removed."""
        return False, who != self._host, name.casefold(), str(who)

    def _words(self, who: int, name: str) -> str:
        if who in self._controls.muted:
            words = Words.muted_mark
        elif who == self._own:
            words = Words.host_and_you_mark if who == self._host else Words.you_mark
        else:
            words = Words.host_mark if who == self._host else "{name}"
        return words.replace("{name}", drawable_name(name))

    def _put(self, key: tuple[bool, bool, str, str], words: str) -> None:
        """A new row, or another text for it."""
        row = key[-1]
        if self._keys.get(row) == key:
            self._show_words(row, words)
        else:
            self._take_away(row)
            at = bisect.bisect(self._order, key)
            self._order.insert(at, key)
            self._keys[row] = key
            self._insert(row, at, words)
        self._changed = True

    def _take_away(self, row: str) -> None:
        if row in self._keys:
            del self._order[bisect.bisect_left(self._order, self._keys.pop(row))]
            self._to_measure.pop(row, None)
            self.list.delete(row)
        self._changed = True

    def _insert(self, row: str, at: int | str, words: str) -> None:
        self.list.insert("", at, iid=row)  # type: ignore[arg-type]
        self._show_words(row, words)

    def _show_words(self, row: str, words: str) -> None:
        is_quiet = row.startswith("removed") or int(row) in self._controls.muted
        self.list.item(row, values=(self._fitting.get(words, words),), tags=("quiet",) if is_quiet else ())
        if words not in self._fitting and len(words) > PEOPLE_WIDTH // 2:  # fewer always fit
            self._to_measure[row] = None
            self._measure_later()

    def _measure_later(self) -> None:
        if self._measuring is None:
            self._measuring = self.list.after(1, self._measure)  # after_idle would leave no time for drawing

    def _measure(self) -> None:
        """One slice."""
        self._measuring = None
        end = time.perf_counter() + MEASURE_TIME
        while self._to_measure and time.perf_counter() < end:
            row = next(iter(self._to_measure))
            del self._to_measure[row]
            words = str(self.list.set(row, "name"))  # `item` would take digits for a number
            if len(self._fitting) > LOG_LINES:
                self._fitting.clear()
            self._fitting[words] = shortened(words, self._looks.text, PEOPLE_WIDTH * self._looks.digit)
            if self._fitting[words] != words:
                self.list.item(row, values=(self._fitting[words],))
        if self._to_measure:
            self._measure_later()

    def fit(self) -> None:
        """For the font as it is now."""
        width = (PEOPLE_WIDTH + 1) * self._looks.digit + self._looks.gap
        self.list.column("name", width=width, minwidth=width, stretch=True)
        self._fitting.clear()
        for who, name in self.names.items():
            self._show_words(str(who), self._words(who, name))
        self._changed = True

    def flush(self) -> bool:
        """Whether there was anything new."""
        changed, self._changed = self._changed, False
        if changed:
            self.title.configure(text=Words.people.format(number=len(self.names)))
            self._show_bar()
        return changed

    def close(self) -> None:
        if self._measuring is not None:
            self.list.after_cancel(self._measuring)

    # What the host does.

    def _chosen(self) -> tuple[int, bool]:
        """The number of the chosen person, and whether they were removed; 0 for nobody, or oneself."""
        for row in self.list.selection():
            who, is_removed = int(row.split()[-1]), row.startswith("removed")
            return (who, is_removed) if who != self._own else (0, False)
        return 0, False

    def _mute(self) -> None:
        who, _ = self._chosen()
        self._do(lambda room: room.mute(who, who not in self._controls.muted))

    def _remove(self) -> None:
        who, is_removed = self._chosen()
        self._do(lambda room: room.remove(who, not is_removed))

    def _pause(self) -> None:
        self._do(lambda room: room.pause(not self._is_paused))

    def _do(self, action: Callable[[net.Server], None]) -> None:
        if self._control is not None:
            self._control(action)

    def _show_bar(self) -> None:
        who, is_removed = self._chosen()
        self.mute.configure(text=Words.unmute if who in self._controls.muted else Words.mute)
        self.mute.state(["!disabled" if who and not is_removed else "disabled"])
        self.remove.configure(text=Words.let_in if is_removed else Words.remove)
        self.remove.state(["!disabled" if who else "disabled"])
        self.pause.configure(text=Words.resume if self._is_paused else Words.pause)

    def _show_menu(self, event: tk.Event[ttk.Treeview] | None) -> str:
        """What the buttons do, where the mouse is or, by keyboard, at the chosen person."""
        if event is not None:
            row = self.list.identify_row(event.y)
            if not row:  # below the last one
                return "break"
            self.list.selection_set(row)
            self.list.focus(row)
            self.list.focus_set()
        self._show_bar()
        buttons = [each for each in (self.mute, self.remove) if each.instate(["!disabled"])]
        if buttons:
            x, y, _, height = self.list.bbox(self.list.selection()[0]) or (0, 0, 0, 0)
            at = (event.x, event.y) if event is not None else (x, y + height)
            self._show_commands([as_command(each) for each in buttons], self.list, at)
        return "break"


HIDDEN = "\u2022"  # drawn in place of each letter


class PasswordBox:
    """An entry that hides its text, because the window may be on a projector, with a button that shows it."""

    def __init__(self, row: ttk.Frame, looks: Looks, text: str, changed: Callable[[], None]) -> None:
        row.columnconfigure(0, weight=1)
        self.entry = ttk.Entry(row, font=looks.text, show=HIDDEN, width=8)
        self.entry.insert(0, text)
        self.entry.grid(row=0, column=0, sticky="ew")
        on_change(self.entry, changed)
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
    return password != "" and not net.clean_password(password).strip()


def needs_new_python() -> str:
    return Words.needs_new_python.format(version=".".join(map(str, sys.version_info[:2])))


# -------------------------------------------------------------------------------------------------------------- pages


class Scrolled:
    """A page that scrolls where the window is too small for it, also to whatever gets the keyboard.

    `inner` has one column for everything on the page; one of the things in it is the label `message`.
    """

    message: ttk.Label

    def __init__(self, app: App, *, centred: bool) -> None:
        self._app = app
        self._looks = looks = app.looks
        self._centred = centred
        self.frame = ttk.Frame(app.root)
        self.frame.rowconfigure(0, weight=1)
        self.frame.columnconfigure(0, weight=1)
        self.menu = looks.menu(self.frame)
        background = looks.style.lookup("TFrame", "background")
        self.canvas = tk.Canvas(self.frame, highlightthickness=0, background=background, width=1, height=1)
        self.canvas.grid(row=0, column=0, sticky="nsew")
        self.scrollbar = looks.scroll(self.canvas)
        show(self.scrollbar, False)
        self.inner = ttk.Frame(self.canvas, padding=(2 * looks.gap, looks.gap))
        self.inner.columnconfigure(0, weight=1)
        self._item = self.canvas.create_window(0, 0, window=self.inner, anchor="n")
        self.canvas.bind("<Configure>", lambda _: self._place())
        self.inner.bind("<Configure>", lambda _: self._place())

    def add(self, widget: tk.Widget, *, above: int = 0, below: int = 0, fill: bool = True) -> None:
        """The next thing on the page, with so much space above and below it."""
        widget.grid(column=0, sticky="ew" if fill else "w", pady=(above, below))

    def _place(self) -> None:
        canvas, height = self.canvas, self.inner.winfo_reqheight()
        width, most = canvas.winfo_width(), MOST_WIDE * self._looks.digit + 4 * self._looks.gap
        free = canvas.winfo_height() - height
        top = max(0, free * 2 // 5) if self._centred else 0
        canvas.coords(self._item, width // 2, top)
        canvas.itemconfigure(self._item, width=min(width, most))
        canvas.configure(scrollregion=(0, 0, width, max(height, canvas.winfo_height())))
        if (free < 0) != (self.scrollbar.winfo_manager() != ""):
            # Later: Tk loses a widget that is about to show when the grid changes under its hands.
            self.frame.after_idle(self._show_scrollbar, free < 0)

    def _show_scrollbar(self, on: bool) -> None:
        if self.frame.winfo_exists():  # the page may be gone by then
            show(self.scrollbar, on)

    def scroll(self, units: int) -> None:
        """By the mouse wheel."""
        if self.scrollbar.winfo_ismapped():
            self.canvas.yview_scroll(units, "units")

    def drag(self, pixels: int) -> None:
        """By a touchpad: the page moves down by that much."""
        if self.scrollbar.winfo_ismapped():
            self.canvas.yview_moveto((self.canvas.canvasy(0) - pixels) / self.inner.winfo_height())

    def show(self, widget: tk.Misc) -> None:
        """It got the keyboard."""
        if not str(widget).startswith(f"{self.inner}."):
            return
        height = max(self.inner.winfo_height(), 1)
        top, bottom = self.canvas.yview()
        first = (widget.winfo_rooty() - self.inner.winfo_rooty()) / height
        last = first + widget.winfo_height() / height
        if first < top or last > bottom:
            self.canvas.yview_moveto(max(0.0, (first + last - (bottom - top)) / 2))

    def say(self, text: str, wrong: bool = False) -> None:
        self.message.configure(text=text, style="Wrong.TLabel" if wrong else "Quiet.TLabel")

    def fit(self) -> None:
        """For the font as it is now: most of the page changes automatically."""

    def flush(self) -> None:
        """Shows what came since the last time."""

    def close(self) -> None:
        self.frame.destroy()


class FirstPage(Scrolled):
    """A name, and the two buttons."""

    def __init__(self, app: App) -> None:
        super().__init__(app, centred=True)
        looks, box, gap = app.looks, self.inner, app.looks.gap
        self.add(wrapped(box, "Title.TLabel", text=Words.program, anchor="center", justify="center"))
        slogan = wrapped(box, "Quiet.TLabel", text=Words.slogan, anchor="center", justify="center")
        self.add(slogan, above=gap // 2, below=3 * gap)
        self.add(ttk.Label(box, text=Words.your_name), fill=False)
        self.name = ttk.Entry(box, font=looks.text, width=12)
        self.name.insert(0, app.name)
        self.add(self.name, above=gap // 3, below=gap)
        self._make_password(box, looks)
        self.host = button(box, Words.host, self._host, "Accent.TButton")
        self.add(self.host)
        self.join = button(box, Words.join, self._join)
        self.add(self.join, above=gap, below=gap)
        self.message = wrapped(box, anchor="center", justify="center")
        self.add(self.message, above=gap, below=gap)
        on_enter(self.name, self.host.focus_set)  # most people join: Enter alone must not open a room

    def _make_password(self, box: ttk.Frame, looks: Looks) -> None:
        self.add(ttk.Label(box, text=Words.room_password), fill=False)
        row = ttk.Frame(box)
        self.add(row, above=looks.gap // 3)
        self.password = PasswordBox(row, looks, self._app.password, self._warn)
        self.suggest = button(row, Words.suggest, self._suggest)
        self.suggest.grid(row=0, column=1, padx=(looks.gap, 0))
        self.password_note = wrapped(box, "Quiet.TLabel")
        self.add(self.password_note, above=looks.gap // 3, below=looks.gap)
        on_enter(self.password.entry, lambda: self.host.focus_set())
        if not net.CAN_ENCRYPT:
            self.suggest.state(["disabled"])
            self.password_note.configure(text=needs_new_python())

    def _suggest(self) -> None:
        self.password.set(net.suggest_password())
        self._warn()

    def _warn(self) -> None:
        if net.CAN_ENCRYPT:
            password = self.password.get()
            is_weak = password != "" and net.is_weak_password(password)
            self.password_note.configure(text=Words.weak_password if is_weak else "")

    def focus(self) -> None:
        self.name.focus_set()
        self.name.selection_range(0, "end")

    def show_busy(self, text: str) -> None:
        self.say(text)
        for each in (self.host, self.join):
            each.state(["disabled"])

    def _take_name(self) -> bool:
        name = net.clean_name(self.name.get())
        self._app.password = self.password.get()
        if name:
            self._app.name = name
        else:
            self.say(Words.name_missing, wrong=True)
            self.name.focus_set()
        return bool(name)

    def _host(self) -> None:
        if is_blank(self.password.get()):
            self.say(Words.empty_password, wrong=True)
            self.password.entry.focus_set()
        elif self._take_name() and not self.host.instate(["disabled"]):
            self._app.host()

    def _join(self) -> None:
        if self._take_name() and not self.join.instate(["disabled"]):
            self._app.show_join_page()


def row_of(room: net.FoundRoom) -> str:
    """Its row in the list. The same id at two addresses makes two rows: one of them may be an impostor's."""
    return f"{room.room} {room.address}"


class JoinPage(Scrolled):
    """The rooms that were found, and a box for the address. Join always joins what stands in that box."""

    def __init__(self, app: App) -> None:
        super().__init__(app, centred=False)
        self.rooms: tuple[net.FoundRoom, ...] = ()
        self._offered = ""  # the password that was put into its box for this address, not typed
        self._found: net.Events = queue.Queue()
        self._finder = net.find_rooms(self._found)
        looks, box, gap = app.looks, self.inner, app.looks.gap
        top = ttk.Frame(box)
        top.columnconfigure(0, weight=1)
        ttk.Label(top, text=Words.join, style="Title.TLabel").grid(row=0, column=0, sticky="w")
        self.back = button(top, Words.back, lambda: app.leave(""))
        self.back.grid(row=0, column=1)
        self.add(top, below=gap)
        self.heading = ttk.Label(box, text=Words.looking)
        self.add(self.heading, fill=False)
        card = looks.card(box)
        self.list = looks.table(card, ("title", "people", "password"), height=4)
        self.list.grid(row=0, column=0, sticky="ew")
        looks.scroll(self.list)
        looks.show_focus(card, self.list)
        self.add(card, above=gap // 3, below=gap)
        self.add(ttk.Label(box, text=Words.address), fill=False)
        row = ttk.Frame(box)
        row.columnconfigure(0, weight=1)
        self.address = ttk.Entry(row, font=looks.text, width=12)
        self.address.insert(0, app.address)
        self.address.grid(row=0, column=0, sticky="ew")
        self.join = button(row, Words.join_button, self._join, "Accent.TButton")
        self.join.grid(row=0, column=1, padx=(gap, 0))
        self.add(row, above=gap // 3, below=gap // 3)
        self.add(wrapped(box, "Quiet.TLabel", text=Words.address_help))
        self.add(ttk.Label(box, text=Words.join_password), above=gap, fill=False)
        row = ttk.Frame(box)
        self.password = PasswordBox(row, looks, app.password, lambda: None)
        self.add(row, above=gap // 3, below=gap // 3)
        if not net.CAN_ENCRYPT:
            self.add(wrapped(box, "Quiet.TLabel", text=needs_new_python()))
        self.message = wrapped(box)
        self.add(self.message, above=gap, below=gap)
        self.list.bind("<<TreeviewSelect>>", lambda _: self._take_chosen())
        self.list.bind("<Double-Button-1>", self._double_clicked)
        on_change(self.address, self._typed)
        on_enter(self.list, self._join_chosen)
        for widget in (self.address, self.password.entry):
            on_enter(widget, self._join)
        self.fit()
        self._offer_password()
        self._nothing_found = self.frame.after(NOTHING_FOUND_AFTER, self._tell_nothing_found)

    def _double_clicked(self, event: tk.Event[ttk.Treeview]) -> None:
        if self.list.identify_row(event.y):
            self._join_chosen()

    def fit(self) -> None:
        """For the font as it is now."""
        digit = self._looks.digit
        self.list.column("title", width=8 * digit, minwidth=8 * digit, stretch=True)
        self.list.column("people", width=10 * digit, minwidth=8 * digit, stretch=False, anchor="e")
        self.list.column("password", width=11 * digit, minwidth=4 * digit, stretch=False, anchor="center")

    def focus(self) -> None:
        self.address.focus_set()
        self.address.selection_range(0, "end")

    def show_busy(self, text: str) -> None:
        self.say(text)
        self.join.state(["disabled"])

    def show_failure(self, text: str) -> None:
        self.say(text, wrong=True)
        self.join.state(["!disabled"])

    def ask_for_password(self) -> None:
        """It is missing, or wrong, or there should be none."""
        self.password.entry.focus_set()
        self.password.entry.selection_range(0, "end")

    def close(self) -> None:
        self._finder.close()
        self.frame.after_cancel(self._nothing_found)
        super().close()

    # The list.

    def flush(self) -> None:
        """Shows the newest list of rooms, if there is a new one."""
        newest = None
        while not self._found.empty():
            newest = self._found.get()
        if isinstance(newest, net.Found):
            self.show_rooms(newest.rooms)

    def show_rooms(self, rooms: tuple[net.FoundRoom, ...]) -> None:
        """The rooms that answer now. What is chosen stays chosen; the first room that comes is chosen automatically."""
        is_first = not self.rooms
        self.rooms = rooms
        shown = set(self.list.get_children())
        for room in rooms:
            if row_of(room) not in shown:
                self.list.insert("", "end", iid=row_of(room))
            self.list.item(row_of(room), values=self._row(room))
        self.list.delete(*(shown - {row_of(room) for room in rooms}))
        self.heading.configure(text=Words.found if rooms else Words.looking)
        if is_first and rooms:
            if self.message.cget("text") == Words.nothing_found:
                self.say("")
            # The box may not have got the keyboard yet: that happens when it is drawn.
            is_there = self.frame.focus_lastfor() in (self.address, self.frame.winfo_toplevel())
            if is_there and self.address.get() in ("", self._app.address) and not self.message.cget("text"):
                self.list.focus_set()  # nobody is typing or reading: Enter joins the room
                self.list.focus(row_of(rooms[0]))
                self.list.selection_set(row_of(rooms[0]))

    def _row(self, room: net.FoundRoom) -> tuple[str, str, str]:
        people = Words.people_in_1 if room.people == 1 else Words.people_in
        password = Words.has_password if room.password else ""
        title = drawable_name(room.title)
        if any(o is not room and (o.room == room.room or drawable_name(o.title) == title) for o in self.rooms):
            title = f"{title} ({join_address(room.address, room.port)})"  # anyone may answer in another room's name
        return f" {title}", people.format(number=room.people), password

    def _tell_nothing_found(self) -> None:
        if not self.rooms and not self.message.cget("text"):
            self.say(Words.nothing_found)

    def _chosen(self) -> net.FoundRoom | None:
        """The room that is chosen in the list, if its address is what stands in the box."""
        for room in self.rooms:
            is_in_box = self.address.get() == join_address(room.address, room.port)
            if row_of(room) in self.list.selection() and is_in_box:
                return room
        return None

    def _take_chosen(self) -> None:
        """Choosing a room fills the address box."""
        for room in self.rooms:
            if row_of(room) in self.list.selection():
                self.address.delete(0, "end")
                self.address.insert(0, join_address(room.address, room.port))
                self._offer_password()

    def _typed(self) -> None:
        """An address that was typed replaces what was chosen."""
        if self._chosen() is None and self.list.selection():
            self.list.selection_set()
        self._offer_password()

    def _offer_password(self) -> None:
        """The password that let this person into a room is offered for that room, and for no other."""
        if self.password.get() not in ("", self._offered):
            return
        try:
            where = parse_address(self.address.get())
        except ValueError:
            return
        self._offered = self._app.passwords.get(where, "")
        self.password.set(self._offered)

    def _join_chosen(self) -> None:
        """From the list: Tk tells what is chosen only after the keys that were pressed already."""
        self._take_chosen()
        self._join()

    def _join(self) -> None:
        if self.join.instate(["disabled"]):
            return
        try:
            address, port = parse_address(self.address.get())
        except ValueError as error:
            self.say(str(error), wrong=True)
            self.focus()
            return
        room = self._chosen()
        password = self.password.get()
        if is_blank(password):
            self.say(Words.empty_password, wrong=True)
            self.ask_for_password()
        elif room is not None and room.password and not net.CAN_ENCRYPT:
            self.say(needs_new_python(), wrong=True)
        elif room is not None and room.password and not password:
            self.say(Words.password_missing)
            self.ask_for_password()
        else:
            self._app.address = join_address(address, port)
            self._app.join(address, port, password)


class Header:
    """What stands above the messages: where others can join, whether the room is encrypted, and the buttons."""

    def __init__(self, page: ChatPage, looks: Looks, password: str) -> None:
        self._page = page
        self._looks = looks
        self._is_host = page.is_host
        self._shows_all_addresses = self._had_company = False
        self.reachable = net.Reachable((), True)
        self.frame = ttk.Frame(page.frame)
        self.frame.columnconfigure(0, weight=1)
        left = self._left = ttk.Frame(self.frame)
        left.grid(row=0, column=0, sticky="ew")
        gap = looks.gap
        self.title = ttk.Label(left, text=page.title, style="Bold.TLabel")
        self.address = ttk.Label(left, text=page.where, style="Quiet.TLabel")
        self.copy: ttk.Button = button(left, Words.copy, lambda: page.copy(self.copy, self.address.cget("text")))
        self.more = button(left, "", self._show_all_addresses)
        if self._is_host:
            self.address.configure(style="Title.TLabel", text=Words.no_address)
            self.title.configure(text=Words.join_at)
            place(self.more, row=0, column=3, padx=(gap, 0))
        self.title.grid(row=0, column=0, sticky="w", padx=(0, gap))
        self.address.grid(row=0, column=1, sticky="w", padx=(0, gap))
        place(self.copy, row=0, column=2)
        left.bind("<Configure>", lambda event: self._fit_title(event.width))
        right = self._right = ttk.Frame(self.frame)
        self.people_button = button(right, "", page.toggle_people)
        self.menu_button = button(right, Words.menu, page.show_menu)
        self.leave_button = button(right, Words.leave, page.ask_to_leave)
        place(self.people_button, row=0, column=0, padx=(0, gap // 2))
        self.menu_button.grid(row=0, column=1)
        place(self.leave_button, row=0, column=2, padx=(gap // 2, 0))
        below = self._below = ttk.Frame(self.frame)
        below.columnconfigure(0, weight=1)
        place(below, row=2, column=0, columnspan=2, sticky="ew", pady=(gap // 2, 0))
        words = Words.encrypted_room if password else Words.open_room
        wrapped(below, "Quiet.TLabel", text=words).grid(row=0, column=0, sticky="ew")
        self.password = ttk.Label(below, text=password, style="Bold.TLabel")
        self.show_password = button(below, Words.show_password, self._toggle_password)
        self.copy_password: ttk.Button = button(
            below, Words.copy_password, lambda: page.copy(self.copy_password, password)
        )
        place(self.password, row=0, column=1, padx=(gap, 0))
        if password and self._is_host:
            self.show_password.grid(row=0, column=2, padx=(gap, 0))
            self.copy_password.grid(row=0, column=3, padx=(gap // 2, 0))

    def fit(self, *, is_narrow: bool, is_low: bool) -> None:
        """In a narrow window the buttons stand below; in a low one, the menu has what they do."""
        row, column = (1, 0) if is_narrow and not is_low else (0, 1)
        self._right.grid(row=row, column=column, sticky="w" if row else "ne", pady=(self._looks.gap // 2 * row, 0))
        show(self.people_button, is_narrow and not is_low)
        show(self.leave_button, not is_low)
        show(self.copy, self._is_host and not is_narrow)
        show(self._below, not is_low)
        if self._is_host:
            show(self.title, not is_narrow)
            self.show_addresses()
        else:
            show(self.address, not is_low)
        self._fit_title(self._left.winfo_width())

    def show_title(self) -> None:
        self._fit_title(self._left.winfo_width())

    def _fit_title(self, width: int) -> None:
        if not self._is_host:
            looks = self._looks
            address = looks.text.measure(self._page.where) if self.address.winfo_manager() else 0
            free = max(width - address - 2 * looks.gap, 8 * looks.digit)
            self.title.configure(text=shortened(self._page.title, looks.bold, free))

    def _toggle_password(self) -> None:
        is_shown = self.password.winfo_manager() != ""
        show(self.password, not is_shown)
        self.show_password.configure(text=Words.show_password if is_shown else Words.hide_password)

    # Addresses; for the host.

    def addresses(self) -> list[str]:
        return [join_address(address, self._page.port) for address in self.reachable.addresses]

    def show_reachable(self, reachable: net.Reachable) -> None:
        self.reachable = reachable
        self.show_addresses()

    def show_company(self) -> None:
        """Somebody else is here, so the way here is known."""
        self._had_company = True

    def show_addresses(self) -> None:
        addresses = self.addresses()
        self.address.configure(text=addresses[0] if addresses else Words.no_address)
        self.copy.state(["!disabled" if addresses else "disabled"])
        self.more.configure(text=Words.more_addresses.format(number=len(addresses) - 1))
        show(self.more, len(addresses) > 1 and self.copy.winfo_manager() != "")

    def _show_all_addresses(self) -> None:
        self._shows_all_addresses = not self._shows_all_addresses
        self._page.show_notice()

    def notices(self) -> list[str]:
        """What the host should know about the ways into the room."""
        sentences = []
        addresses = self.addresses()
        if self._shows_all_addresses and len(addresses) > 1:
            sentences.append(Words.also_at.format(addresses=", ".join(addresses[1:])))
        if addresses and not self.reachable.findable:
            sentences.append(Words.not_findable.format(address=addresses[0]))
        if addresses and not self._had_company:
            sentences.append(Words.nobody_yet.format(room=self._page.title, address=addresses[0]))
        return sentences


class Question:
    """Something to decide, asked inside the window: a sentence and two buttons."""

    def __init__(self, parent: tk.Misc, looks: Looks, no: Callable[[], None]) -> None:
        self._answer: Callable[[], object] = no
        self.frame = ttk.Frame(parent)
        self.frame.columnconfigure(0, weight=1)
        self.text = wrapped(self.frame, "Bold.TLabel")
        self.text.grid(row=0, column=0, sticky="ew")
        buttons = self._buttons = ttk.Frame(self.frame)
        self.yes = button(buttons, "", lambda: self._answer(), "Accent.TButton")
        self.yes.grid(row=0, column=0, padx=(0, looks.gap // 2))
        self.no = button(buttons, "", no)
        self.no.grid(row=0, column=1)
        self._gap = looks.gap
        self.fit(is_narrow=False)

    def fit(self, *, is_narrow: bool) -> None:
        row, column = (1, 0) if is_narrow else (0, 1)
        self._buttons.grid(row=row, column=column, sticky="w" if is_narrow else "e", padx=(self._gap * column, 0))

    @property
    def is_open(self) -> bool:
        return self.frame.winfo_manager() != ""

    def ask(self, text: str, yes: str, no: str, answer: Callable[[], object]) -> None:
        """`answer` is called for a yes."""
        self.text.configure(text=text)
        self.yes.configure(text=yes)
        self.no.configure(text=no)
        self._answer = answer
        show(self.frame, True)
        self.frame.update_idletasks()

    def close(self) -> bool:
        """Whether one of its buttons had the keyboard."""
        had_focus = self.frame.focus_lastfor() in (self.yes, self.no)
        show(self.frame, False)
        return had_focus


class Stage(enum.Enum):
    """The life of a ChatPage."""

    CONNECTING = "what was said before is still coming"
    IN = "connected"
    AWAY = "there is no connection, and the client tries to get one"
    OVER = "the visit ended for good; everything can still be read"


class ChatPage:
    """A room from within: header, messages, people, composer, status; for the host also the controls."""

    def __init__(self, app: App, session: Session, client: net.Client, welcome: net.Welcome) -> None:
        self._app, self._client, self._server = app, client, session.server
        self.is_host = session.server is not None
        self.where = join_address(client.address, client.port)
        self.port = client.port
        self.title = drawable_name(welcome.title)
        self.stage = Stage.CONNECTING
        self._is_gone = False
        self.welcome = welcome
        self._history_left = 0  # events from before us that are still to come
        self._is_back = False  # after a break, in the same room
        self._is_muted = self._is_paused = False
        self._last_own = ""
        self._trouble = ""  # why there is no connection ...
        self._retry_at = 0.0  # ... and when the next attempt begins; monotonic s
        self._away_since = 0.0  # monotonic s
        self._finder: net.Finder | None = None  # while away: perhaps the room has another address now
        self._found: net.Events = queue.Queue()
        self._rooms: tuple[net.FoundRoom, ...] = ()
        self._saved: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()  # path, what went wrong
        self._folder = ""  # where the last file was chosen or saved
        looks = app.looks
        self.transcript = Transcript()
        self.frame = ttk.Frame(app.root, padding=looks.gap)
        self.frame.rowconfigure(2, weight=1)
        self.frame.columnconfigure(0, weight=1)
        self.menu = looks.menu(self.frame)
        self.header = Header(self, looks, session.password)
        self.header.reachable = session.reachable
        self.log = Log(self.frame, looks, self.focus)
        self.people = People(self.frame, looks, self._control if self.is_host else None, app.show_commands)
        self.find_bar = FindBar(self.frame, looks, self.log, self.focus)
        self.notice = wrapped(self.frame, "Quiet.TLabel")
        self.question = Question(self.frame, looks, self.stay)
        self.transfers = Transfers(self.frame, looks, self._cancel)
        self.composer = Composer(self.frame, looks, self._say)
        self._buttons = ttk.Frame(self.frame)
        self._buttons.columnconfigure((0, 1), weight=1)
        self.send = button(self._buttons, Words.send, self.composer.send, "Accent.TButton")
        self.send.grid(row=0, column=0, sticky="ew")
        self.file = button(self._buttons, Words.file, self.choose_files)
        self.file.grid(row=0, column=1, sticky="ew", padx=(looks.gap // 2, 0))
        self.status = wrapped(self.frame, "Quiet.TLabel")
        self.keys = Keys(self.frame, looks, self.focus)
        self._is_narrow = self._is_low = self._people_open = False
        self._lay_out()
        self._bind()

    def _bind(self) -> None:
        box, messages = self.composer.text, self.log.text
        for text in (box, messages):  # Tk's own in the log would stop before its end
            text.bind("<Prior>", lambda _: self._scroll(-1))
            text.bind("<Next>", lambda _: self._scroll(1))
        box.bind("<Up>", lambda _: self._write_last_again())
        messages.bind("<Key>", self._write_instead, add=True)
        messages.bind("<<Paste>>", lambda _: self._paste_instead())
        messages.bind("<<ContextMenu>>", self._show_message_menu)
        messages.bind("<<MenuKey>>", lambda _: self._show_message_menu(None))
        self.frame.bind("<Configure>", lambda _: self._measure())

    # Layout: people beside the log, or on request; a low window shows only what is needed to read and write.

    def _measure(self) -> None:
        digit = self._app.looks.digit
        width, height = self.frame.winfo_width() / digit, self.frame.winfo_height() / digit
        is_narrow = width < NARROW
        shape = (is_narrow, height < (NARROW_LOW if is_narrow else LOW))
        if shape != (self._is_narrow, self._is_low):
            self._is_narrow, self._is_low = shape
            self._lay_out()

    def _lay_out(self) -> None:
        is_narrow, gap = self._is_narrow, self._app.looks.gap
        above = (gap // 2, 0)
        wide: dict[str, Any] = {"column": 0, "columnspan": 2, "sticky": "ew"}
        self.header.frame.grid(row=0, pady=(0, gap // 2), **wide)
        self.log.frame.grid(row=2, column=0, sticky="nsew")
        place(self.keys.frame, row=2, rowspan=3, column=0, columnspan=2, sticky="nsew")
        place(self.find_bar.frame, row=3, pady=above, **wide)
        place(self.notice, row=4, pady=above, **wide)
        place(self.question.frame, row=5, pady=above, **wide)
        place(self.transfers.frame, row=6, pady=above, **wide)
        self.composer.frame.grid(row=7, column=0, columnspan=2 if is_narrow else 1, sticky="ew", pady=above)
        if is_narrow:
            self._buttons.grid(row=8, padx=0, pady=above, **wide)
        else:
            self._buttons.grid(row=7, column=1, columnspan=1, sticky="sew", padx=(gap, 0), pady=above)
        show(self._buttons, not self._is_low)
        self.status.grid(row=9, pady=above, **wide)
        place(self.composer.problem, row=10, **wide)
        self._show_people()
        self._show_status()
        self.header.fit(is_narrow=is_narrow, is_low=self._is_low)
        for part in (self.log, self.transfers, self.keys, self.question):
            part.fit(is_narrow=is_narrow)
        self.show_notice()

    def fit(self) -> None:
        """For the font as it is now."""
        self.people.fit()
        self._measure()
        self._lay_out()
        self.flush()

    def _show_people(self) -> None:
        if not self._is_narrow:
            self._people_open = False
            gap = self._app.looks.gap
            self.people.frame.grid(row=2, column=1, rowspan=1, columnspan=1, sticky="nsew", padx=(gap, 0))
        elif self._people_open:  # in front of everything down to the status
            self.people.frame.grid(row=2, column=0, rowspan=7, columnspan=2, sticky="nsew", padx=0)
            self.people.frame.lift()
        else:
            self.people.frame.grid_remove()

    def toggle_people(self) -> None:
        self._people_open = not self._people_open
        self._show_people()
        (self.people.list if self._people_open else self.composer.text).focus_set()

    def _uncover(self) -> None:
        """Removes what stands in front of the log, the question and the composer."""
        self.keys.hide()
        if self._people_open:
            self.toggle_people()

    def focus(self) -> None:
        self._uncover()
        self.composer.text.focus_set()

    def close(self) -> None:
        self._is_gone = True
        self._stop_looking()
        self.people.close()
        self.frame.destroy()

    # The lines around the log.

    def show_notice(self) -> None:
        """What is good to know, between the log and the composer."""
        sentences = self.header.notices() if self.is_host and not self._is_low else []
        if self._is_paused and self.is_host:
            sentences.append(Words.you_paused)
        elif self.composer.is_blocked and self.stage is not Stage.OVER and self.composer.get():
            sentences.append(Words.muted if self._is_muted else Words.paused)  # an empty box says it itself
        self.notice.configure(text="\n".join(sentences))
        show(self.notice, sentences != [])

    def say(self, text: str, wrong: bool = False) -> None:
        """The status line."""
        self.status.configure(text=text, style="Wrong.TLabel" if wrong else "Quiet.TLabel")
        self._show_status()

    def _show_status(self) -> None:
        show(self.status, not self._is_low or str(self.status.cget("style")) == "Wrong.TLabel")

    # What the person does.

    def _say(self, text: str) -> None:
        if text.casefold() == "exit":
            self._app.ask_to_leave()
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

    def _write_instead(self, event: tk.Event[tk.Text]) -> str | None:
        """A person who types while the log has the keyboard means the composer."""
        state = int(event.state)
        is_command = state & NO_LETTER and state & ALT_GR != ALT_GR
        if not event.char or not event.char.isprintable() or is_command or self.composer.is_blocked:
            return None
        self.focus()
        return self.composer.insert(event.char)

    def _paste_instead(self) -> str:
        """The same for what is pasted."""
        if self.composer.is_blocked:
            return "break"
        self.focus()
        return self.composer.paste("CLIPBOARD")

    def choose_files(self) -> None:
        if self.composer.is_blocked:
            return
        folder = self._folder or home_folder()
        self.share(*self._ask_path(filedialog.askopenfilenames, title=Words.choose_files, initialdir=folder))

    def share(self, *paths: str) -> None:
        """Gives files to everyone in the room."""
        for path in paths:
            self._folder = os.path.dirname(path)
            self._client.share(path)

    def _choose_target(self, file: net.Shared) -> None:
        path = self._ask_where(Words.save_as, net.clean_filename(file.filename))
        if path:
            self._client.save(file, path)

    def _ask_where(self, title: str, name: str) -> str:
        """A path; "" if the person changed their mind."""
        folder = self._folder or home_folder("Downloads")
        name = re.sub(r"\A~", "_", name)  # to Tk 8.6 that is somebody's home
        path: str = self._ask_path(filedialog.asksaveasfilename, title=title, initialdir=folder, initialfile=name) or ""
        if path:
            self._folder = os.path.dirname(path)
        return path

    def _ask_path(self, dialog: Callable[..., Any], **options: str) -> Any:
        """What the person chooses; nothing if the page is gone meanwhile, and its dialog with it."""
        try:
            return dialog(parent=self.frame, filetypes=[(Words.all_files, "*")], **options)
        except tk.TclError:
            if self._is_gone:
                return ()
            raise

    def _show_folder(self, folder: str) -> None:
        try:
            show_folder(folder)
        except OSError:
            self.log.add_note(Words.cannot_open.format(folder=drawable_name(folder)), wrong=True)

    def save_chat(self) -> None:
        """Asks where, and writes everything this window has received; a thread does it, because disks may be slow."""
        name = f"{self.title} {time.strftime('%Y-%m-%d')}.txt"
        path = self._ask_where(Words.save_chat, net.clean_filename(name))
        if path:
            arguments = (path, self.transcript.text(self.title), self._saved)
            threading.Thread(target=save_text, args=arguments, name="saving the chat").start()

    def find(self) -> None:
        self._uncover()
        self.find_bar.open()

    def toggle_keys(self) -> None:
        self.keys.toggle()

    def escape(self) -> None:
        """Closes whatever was opened, and goes back to the composer."""
        if self.find_bar.frame.winfo_ismapped():
            self.find_bar.close()
        self.stay()

    def _write_again(self, message: Message, text: str) -> None:
        """The person's own line that was not sent: into the composer again."""
        if self.stage is not Stage.OVER and not self.composer.is_blocked:
            self.log.remove(message)
            self.composer.give_back(text)

    def _cancel(self, transfer: int) -> None:
        self._client.cancel(transfer)
        self.focus()  # the button will be gone, and what is typed next is a message

    def copy(self, pressed: ttk.Button, text: str) -> None:
        words = str(pressed.cget("text"))
        copy(pressed, text)
        self.focus()
        if words != Words.copied:
            pressed.configure(text=Words.copied)
            root = pressed.winfo_toplevel()  # the button may be gone by then, and what it asked for with it
            root.after(COPIED_TIME, lambda: pressed.winfo_exists() and pressed.configure(text=words))

    # Leaving.

    def ask_to_leave(self) -> None:
        self._app.ask_to_leave()

    def ask(self) -> bool:
        """Before a room with others in it is closed. True if it was asked already: a second time is a yes."""
        is_asked = self.question.is_open and self.question.frame.winfo_ismapped() and not self._people_open
        if not self.is_host or self._others() < 1 or self.stage is Stage.OVER or is_asked:
            return True
        self.frame.winfo_toplevel().deiconify()  # it may be closed from the taskbar
        self._uncover()
        self.question.ask(self._close_question(), Words.close_yes, Words.close_no, self._app.leave_room)
        return False

    def _others(self) -> int:
        return len(self.people.names) - 1

    def _close_question(self) -> str:
        words = Words.close_question if self._others() > 1 else Words.close_question_1
        return words.format(number=self._others())

    def stay(self) -> None:
        if self.question.is_open:
            self._stop_looking()  # where the room may be now; it was offered once
            self.question.close()
        self.focus()

    # Menus.

    def show_menu(self) -> None:
        app, header = self._app, self.header
        commands: list[Command] = [
            (Words.find, self.find),
            (Words.menu_save_chat, self.save_chat),
            (Words.menu_larger, lambda: app.zoom(1)),
            (Words.menu_smaller, lambda: app.zoom(-1)),
            (Words.menu_full_screen, app.toggle_full_screen),
            (Words.menu_keys, self.toggle_keys),
        ]
        if self.is_host:
            commands.insert(0, as_command(self.people.pause))
        if self._is_narrow and self.is_host:
            commands.append(as_command(header.copy))
        if self._is_low:
            commands.append((Words.file, self.choose_files))
            if self._is_narrow:
                commands.append(as_command(header.people_button))
            commands.append((Words.leave, app.ask_to_leave))
        app.show_commands(commands, header.menu_button, (0, header.menu_button.winfo_height()))

    def _show_message_menu(self, event: tk.Event[tk.Text] | None) -> str:
        """For the message under the mouse or, by keyboard, the chosen one."""
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
                commands.append((Words.delete, lambda: self._control(lambda room: room.delete(number))))
        commands.append((Words.menu_save_chat, self.save_chat))
        x, y, _, height = (messages.text.bbox("chosen.first") if messages.chosen() else None) or (0, 0, 0, 0)
        at = (event.x, event.y) if event is not None else (x, y + height)
        self._app.show_commands(commands, messages.text, at)
        return "break"

    def _control(self, action: Callable[[net.Server], None]) -> None:
        """Something that the host does."""
        if self._server is not None and self.stage is not Stage.OVER:
            try:
                action(self._server)
            except ValueError:  # a person or a message that the room no longer knows
                self.log.add_note(Words.not_known, wrong=True)

    # What the room says.

    def handle(self, event: net.Event) -> None:
        """Takes one event; it shows after the next `flush`."""
        if isinstance(event, net.Numbered):
            is_history = self._history_left > 0
            if is_history:
                self._history_left -= 1
            self._handle_numbered(event, is_history)
            if self._history_left == 0 and self.stage is Stage.CONNECTING:
                self.stage = Stage.IN
        elif isinstance(event, net.Welcome):
            self._handle_welcome(event)
        elif isinstance(event, net.Muted):
            self._is_muted = event.on
            self._silence()
        elif isinstance(event, net.Sending):
            self.log.add_on_its_way(event.id, event.text)
        elif isinstance(event, net.Settled):
            text = self.log.remove_on_its_way(event.id)
            if text is not None:
                self._add(Message(time.time(), text, self.welcome.who, self.welcome.name))
                self._note(Words.settled)
        elif isinstance(event, net.Rejected):
            self._handle_rejected(event)
        elif isinstance(event, net.Lost):
            self._tell_trouble(event)
        elif isinstance(event, (net.Refused, net.Closed)):
            self._end(event)
        elif isinstance(event, net.Progress):
            self.transfers.show(event)
        elif isinstance(event, net.Uploaded):
            self.transfers.remove(event.transfer)
        elif isinstance(event, net.Saved):
            self.transfers.remove(event.transfer)
            self._tell_saved(event.path)
        elif isinstance(event, net.Failed):
            self._tell_failed(event, self.transfers.remove(event.transfer))
        elif isinstance(event, net.Reachable):
            self.header.show_reachable(event)
            self.show_notice()
        elif isinstance(event, net.WrongPassword):
            words = Words.guessed if event.address else Words.guessed_everywhere
            self._note(words.format(address=event.address, number=event.times))
        elif isinstance(event, net.Controls):
            self.people.show_controls(event)
        elif isinstance(event, net.RoomFailed):
            self._note(Words.room_failed)
        elif isinstance(event, net.Found):
            pass  # for a finder's own queue
        else:
            assert_never(event)

    def _handle_numbered(self, event: net.Numbered, is_history: bool) -> None:
        if isinstance(event, net.Said):
            if event.who == self.welcome.who:
                self.log.remove_on_its_way(event.id)
            message = Message(event.time, event.text, event.who, event.name, event.number, is_deleted=event.taken_back)
            self._add_heard(message, is_history)
        elif isinstance(event, net.Shared):
            self._add_heard(self._file_message(event), is_history)
        elif isinstance(event, net.TakenBack):
            deleted = self.transcript.delete(event.which, keep_text=self.is_host)
            if deleted is not None:
                self.log.redraw(deleted)
        elif isinstance(event, net.Paused):
            if not is_history:  # the welcome said how it is now
                self._is_paused = event.on
                self._note(Words.was_paused if event.on else Words.was_resumed)
                self._silence()
        elif isinstance(event, (net.Joined, net.Left)):
            if not is_history:  # the list of people is already as it was after them
                self._handle_people(event)
        else:
            assert_never(event)

    def _handle_people(self, event: net.Joined | net.Left) -> None:
        if isinstance(event, net.Joined):
            self.people.came(event.who, event.name)
            words = Words.joined
        else:
            self.people.went(event.who)
            words = Words.left.get(event.reason, Words.left["left"])
        if not self._is_paused:  # otherwise people could talk through names
            self._note(words.format(name=drawable_name(event.name)))

    def _handle_welcome(self, welcome: net.Welcome) -> None:
        before, self.welcome = self.welcome, welcome
        is_first = welcome is before  # the page was made with it
        self._is_back = not is_first and welcome.room == before.room
        if welcome.room != before.room:
            self.transcript.begin()
            self.title = drawable_name(welcome.title)
            self._app.show_title()
            self.header.show_title()
            if welcome.title == before.title:
                self._note(Words.reopened.format(room=self.title))
        if is_first or (welcome.title, welcome.name) != (before.title, before.name):
            self._tell_name(welcome.name)
        if welcome.missed:
            words = Words.missed if welcome.missed > 1 else Words.missed_1
            self._note(words.format(number=welcome.missed))
        self.log.begin(welcome)
        self._history_left = welcome.files + welcome.history
        self.stage = Stage.CONNECTING if self._history_left else Stage.IN
        self.people.begin(welcome)
        self._is_muted, self._is_paused = welcome.muted, welcome.paused
        self._silence()
        self._stop_looking()
        self.say(Words.connected)

    def _tell_name(self, name: str) -> None:
        """The room and the name in it; and why it is not the one that the person wanted."""
        self._note(Words.you_are_in.format(room=self.title, name=drawable_name(name)))
        wanted = net.clean_name(self._app.name)
        if name != wanted:
            self._note(Words.renamed.format(wanted=drawable_name(wanted), name=drawable_name(name)))

    def _silence(self) -> None:
        """Whether this person may write now."""
        reason = Words.muted if self._is_muted else Words.paused if self._is_paused and not self.is_host else ""
        if self.stage is Stage.OVER:
            reason = Words.over
        self.composer.block(reason)
        for each in (self.send, self.file):
            each.state(["disabled" if reason else "!disabled"])
        self.show_notice()
        self.people.show_paused(self._is_paused)

    # What is kept and drawn.

    def _add(self, message: Message) -> None:
        self.transcript.add(message)
        self.log.add(message)

    def _note(self, text: str) -> None:
        self._add(Message(time.time(), text))

    def _add_heard(self, message: Message, is_history: bool) -> None:
        """Somebody said or shared something: perhaps the person here looks elsewhere.

        What was said before this person came is nothing new; what was said during a break is.
        """
        self._add(message)
        if message.who != self.welcome.who and (self._is_back or not is_history):
            is_for_us = message.who == (self.welcome.host or net.HOST) or self.log.mention.search(message.text)
            self._app.notice(rings=bool(is_for_us))

    def _file_message(self, file: net.Shared) -> Message:
        name = drawable_name(net.clean_filename(file.filename))
        text = "" if file.taken_back else Words.shared.format(filename=name, size=file_size(file.size))
        link = (Words.save, lambda: self._choose_target(file))
        return Message(file.time, text, file.who, file.name, file.number, link=link, is_deleted=file.taken_back)

    def _handle_rejected(self, rejected: net.Rejected) -> None:
        text = self.log.remove_on_its_way(rejected.id)
        if text is not None:
            reason = Words.rejected.get(rejected.code) or room_says(rejected.reason)
            message = Message(time.time(), text, self.welcome.who, self.welcome.name, tags=("wrong",))
            message.reason = Words.not_sent.format(reason=reason)
            message.link = (Words.write_again, lambda: self._write_again(message, text))
            self.log.add(message)

    def _tell_saved(self, path: str) -> None:
        folder, name = os.path.split(os.path.abspath(path))
        text = Words.file_saved.format(filename=drawable_name(name), folder=drawable_name(folder))
        self.log.add_note(text).link = (Words.open_folder, lambda: self._show_folder(folder))

    def _tell_failed(self, failed: net.Failed, progress: net.Progress | None) -> None:
        is_upload = progress is not None and progress.is_upload
        name = drawable_name(failed.filename)
        if failed.code == "cancelled":
            self.log.add_note(Words.cancelled.format(filename=name))
            return
        own = Words.share_failed if is_upload else Words.save_failed
        words = own.get(failed.code) or Words.file_failed.get(failed.code)
        if words:
            reason = words.format(limit=file_size(self.welcome.max_file))
        elif failed.code == "disk":
            reason = f"{drawable_name(failed.reason)}."
        else:
            reason = room_says(failed.reason)
        words = Words.not_shared if is_upload else Words.not_saved
        self.log.add_note(words.format(filename=name, reason=reason), wrong=True)

    # Away, and over.

    def _tell_trouble(self, lost: net.Lost) -> None:
        if self.stage is not Stage.AWAY:
            self.stage = Stage.AWAY
            self._away_since = time.monotonic()
            if not self.is_host:
                self._found = queue.Queue()  # the old one may hold what was true during an earlier break
                self._finder = net.find_rooms(self._found)
        self._trouble = Words.lost[lost.reason].format(address=self.where)
        self._retry_at = time.monotonic() + lost.retry_in
        self._count_down()

    def _count_down(self) -> None:
        """To the next attempt; drawn again only when it is another second."""
        text = f"{self._trouble} {retry_words(self._retry_at)}"
        if str(self.status.cget("text")) != text:
            self.say(text, wrong=True)

    def _look_elsewhere(self) -> None:
        """A room that answers neither TCP nor `find`, while the same id answers elsewhere, has moved."""
        while not self._found.empty():
            found = self._found.get()
            if isinstance(found, net.Found):
                self._rooms = found.rooms
        here = (self._client.address, self._client.port)
        same = [room for room in self._rooms if room.room == self.welcome.room]
        if any((room.address, room.port) == here for room in same):
            self._away_since = time.monotonic()
            return
        if not same or self.question.is_open or time.monotonic() < self._away_since + MOVED_AFTER:
            return
        room = same[0]
        where = join_address(room.address, room.port)
        text = Words.moved.format(room=self.title, address=where)
        self.question.ask(text, Words.move, Words.stay_here, lambda: self._move(room))

    def _move(self, room: net.FoundRoom) -> None:
        self.question.close()
        self.focus()
        self._client.move(room.address, room.port)
        self.where = self._app.address = join_address(room.address, room.port)
        self.header.address.configure(text=self.where)
        self.header.show_title()

    def _stop_looking(self) -> None:
        self._rooms = ()
        if self._finder is not None:
            self._finder.close()
            self._finder = None
            if self.question.close():
                self.focus()

    def _end(self, event: net.Refused | net.Closed) -> None:
        self.stage = Stage.OVER
        self._stop_looking()
        self._silence()
        if self.question.close():
            self.focus()
        own = Words.refused.get(event.code) if isinstance(event, net.Refused) else None
        reason = own.format(address=self.where) if own else room_says(event.reason)
        self.say(Words.closed_you_can_read.format(reason=reason), wrong=True)

    def flush(self) -> None:
        """Shows everything that was handled since the last time."""
        self.log.flush()
        self.transfers.flush()
        if self.stage is Stage.AWAY:
            self._count_down()
            if self._finder is not None:
                self._look_elsewhere()
        while not self._saved.empty():
            path, problem = self._saved.get()
            if problem:
                self.log.add_note(Words.chat_not_saved.format(reason=problem), wrong=True)
            else:
                self._tell_saved(path)
        if self.people.flush():
            self.header.people_button.configure(text=self.people.title.cget("text"))
            if self.is_host:
                self._people_changed()

    def _people_changed(self) -> None:
        """The host's notices and question depend on how many others are here."""
        if self._others() > 0:
            self.header.show_company()
        if self.question.is_open:
            if self._others() > 0:
                self.question.text.configure(text=self._close_question())
            elif self.question.close():
                self.focus()
        self.show_notice()


def retry_words(retry_at: float) -> str:
    """The time to the next attempt, which is at that moment (monotonic s)."""
    seconds = math.ceil(retry_at - time.monotonic())
    return Words.again_in.format(seconds=seconds) if seconds > 0 else Words.again_now


# ---------------------------------------------------------------------------------------------------------------- App


class Session:
    """One visit to a room: what must be closed when it ends. Knows no widget."""

    def __init__(self, password: str) -> None:
        self.password = password  # "" for none
        self.events: net.Events = queue.Queue()
        self.client: net.Client | None = None
        self.server: net.Server | None = None
        self.reachable = net.Reachable((), True)
        self.opened: queue.SimpleQueue[net.Server | str] = queue.SimpleQueue()  # the room, or why there is none
        self._opener: threading.Thread | None = None

    def open_room(self, title: str, host_name: str, port: int) -> None:
        """Opening may wait for a port, so a thread does it; the answer comes in `opened`."""
        self._opener = threading.Thread(target=self._open, args=[title, host_name, port], name="opening the room")
        self._opener.start()

    def _open(self, title: str, host_name: str, port: int) -> None:
        options: dict[str, Any] = {"port": port, "password": self.password or None, "events": self.events}
        try:
            self.opened.put(net.run_server(title, host_name=host_name, **options))
        except (OSError, ValueError) as error:
            self.opened.put(getattr(error, "strerror", None) or str(error))

    def end(self) -> None:
        """Returns at once; a thread says goodbye, first the client, so that its last words reach the room."""
        threading.Thread(target=self._close, name="closing the session").start()

    def _close(self) -> None:
        if self.client is not None:
            self.client.close()
            self.client.join()
        if self._opener is not None:
            self._opener.join()
            if not self.opened.empty():  # it was opened for somebody who has left already
                answer = self.opened.get()
                self.server = answer if isinstance(answer, net.Server) else None
        if self.server is not None:
            self.server.close()


Page = TypeVar("Page", "FirstPage", "JoinPage", "ChatPage")


class App:
    """The window. `host`, `join` and `leave` are what the buttons do; `close` ends everything."""

    def __init__(self, root: tk.Tk, name: str = "", password: str = "") -> None:
        self.root = root
        self.looks = Looks(root)
        if self.looks.is_x11:  # with LC_ALL=C, Tk would read the names of files as Latin-1
            root.tk.call("encoding", "system", "utf-8")
        self.name = net.clean_name(name) or login_name()
        self.address = ""  # last joined
        self.password = password  # last typed on the first page; "" for none
        self.passwords: dict[tuple[str, int], str] = {}  # address and port -> the password that let this person in
        self._trying = ("", net.PORT)  # address and port of the room that is being joined
        self._waiting: tuple[str, float] | None = None  # the room asks to wait: why, and until when (monotonic s)
        self._secret = secrets.token_bytes(16)  # of this run: a room knows the same person again
        self.session: Session | None = None
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
        self._busy_until = 0.0  # monotonic s; something happened a moment ago
        self._bind()
        root.report_callback_exception = self._report
        if self.looks.is_mac:
            root.createcommand("::tk::mac::Quit", self._close_clicked)
        self._show_page()
        self._next_poll = root.after(POLL, self.poll)

    def _bind(self) -> None:
        """The keys that work everywhere in the window."""
        root = self.root
        control = "Command" if self.looks.is_mac else "Control"
        steps = {"plus": 1, "equal": 1, "KP_Add": 1, "minus": -1, "KP_Subtract": -1, "Key-0": 0, "KP_0": 0}
        for key, step in steps.items():
            with contextlib.suppress(tk.TclError):  # Windows has no number pad of its own
                root.bind(f"<{control}-{key}>", lambda _, step=step: self.zoom(step))  # type: ignore[misc]
        for where in ("Text", "Treeview", str(root)):  # in these the wheel would also scroll
            root.bind_class(where, f"<{control}-MouseWheel>", self._zoom_by_wheel)
            with contextlib.suppress(tk.TclError):  # from Tk 9 on there are no such buttons
                root.bind_class(where, f"<{control}-Button-4>", lambda _: self.zoom(1))
                root.bind_class(where, f"<{control}-Button-5>", lambda _: self.zoom(-1))
        root.event_add("<<MenuKey>>", "<Shift-F10>", "<App>" if sys.platform == "win32" else "<Menu>")
        for where in ("Text", "TEntry"):
            root.bind_class(where, "<<ContextMenu>>", lambda at: self._show_edit_menu(at.widget, at.x, at.y))
            root.bind_class(where, "<<MenuKey>>", lambda event: self._show_edit_menu(event.widget))
        root.bind("<F11>", lambda _: self.toggle_full_screen())
        root.bind("<MouseWheel>", lambda event: self._roll(-1 if event.delta > 0 else 1))
        with contextlib.suppress(tk.TclError):  # before Tk 9 a touchpad turns the wheel
            root.bind("<TouchpadScroll>", self._drag)
        if self.looks.is_x11:
            for key in ("<Control-a>", "<Control-Lock-A>"):  # to Tk it is Home there, to everyone else what it is here
                root.event_delete("<<LineStart>>", key)
                root.event_add("<<SelectAll>>", key)
            root.bind("<Button-4>", lambda _: self._roll(-1))
            root.bind("<Button-5>", lambda _: self._roll(1))
        root.event_add("<<Redo>>", f"<{control}-y>")
        if self.looks.is_x11:
            root.event_delete("<<Paste>>", "<Control-y>")  # Emacs's; here it is Redo, as people expect
        root.bind_class("Text", f"<{control}-BackSpace>", self._delete_word)
        root.bind_class("TEntry", f"<{control}-BackSpace>", self._delete_word)
        root.bind("<Escape>", lambda _: self._escape())
        root.bind("<F1>", lambda _: self._in_room(ChatPage.toggle_keys))
        actions = {"f": ChatPage.find, "s": ChatPage.save_chat, "o": ChatPage.choose_files}
        bind_shortcuts(root, {key: functools.partial(self._in_room, action) for key, action in actions.items()})
        root.bind("<FocusIn>", self._focus_came)

    # What people do.

    def zoom(self, step: int) -> str:
        """In, out or, with 0, reset."""
        at = ZOOMS.index(self.looks.percent) + step if step else ZOOMS.index(100)
        self.looks.zoom(ZOOMS[min(max(at, 0), len(ZOOMS) - 1)])
        self.page.fit()
        return "break"

    def _zoom_by_wheel(self, event: tk.Event[tk.Misc]) -> str:
        return self.zoom(1 if event.delta > 0 else -1)

    def toggle_full_screen(self) -> None:
        self.root.attributes("-fullscreen", not self.root.attributes("-fullscreen"))

    @staticmethod
    def _delete_word(event: tk.Event[tk.Misc]) -> str:
        """The one before the cursor."""
        box = event.widget
        if isinstance(box, tk.Text):
            if str(box.cget("state")) == "normal":
                before = box.get("insert linestart", "insert") or "\n"
                length = len(before) - len(re.sub(r"(\w+|[^\w\s]+|\n)?\s*\Z", "", before))
                box.delete(f"insert - {max(length, 1)} chars", "insert")
        elif isinstance(box, ttk.Entry) and box.instate(["!disabled"]):
            at = box.index("insert")
            rest = re.sub(r"(\w+|[^\w\s]+)?\s*\Z", "", box.get()[:at])
            box.delete(len(rest), at)
        return "break"

    def host(self, port: int = net.PORT) -> None:
        page = self.page if isinstance(self.page, FirstPage) else self._show(FirstPage(self))
        page.show_busy(Words.opening)
        self._begin(self.password).open_room(Words.room_of.format(name=self.name), self.name, port)

    def join(self, address: str, port: int, password: str = "") -> None:
        page = self.page
        if not isinstance(page, JoinPage):
            self.address = join_address(address, port)  # as if it had been typed there
            page = self._show(JoinPage(self))
        page.show_busy(Words.connecting.format(address=join_address(address, port)))
        self._enter(self._begin(password), address, port, net.room_token(self._secret, address, port))

    def show_join_page(self) -> None:
        self._end_session()
        self._show(JoinPage(self))

    def ask_to_leave(self) -> None:
        if not isinstance(self.page, ChatPage) or self.page.ask():
            self.leave_room()

    def leave_room(self) -> None:
        message = ""
        if isinstance(self.page, ChatPage):
            words = Words.you_closed if self.session and self.session.server else Words.you_left
            message = words.format(room=self.page.title)
        self.leave(message)

    def leave(self, message: str, wrong: bool = False) -> None:
        """To the first page, which says why."""
        self._end_session()
        self._show(FirstPage(self)).say(message, wrong)

    def _escape(self) -> None:
        if isinstance(self.page, JoinPage):
            self.leave("")
        else:
            self._in_room(ChatPage.escape)

    def _in_room(self, action: Callable[[ChatPage], None]) -> str:
        in_dialog = self.root.tk.call("grab", "current", self.root)  # on X11 they are windows of this program
        if isinstance(self.page, ChatPage) and not in_dialog:
            action(self.page)
        return "break"

    # Menus.

    def show_commands(self, commands: Sequence[Command], widget: tk.Misc, at: tuple[int, int]) -> None:
        """A menu at this place in the widget."""
        menu = self.page.menu  # goes with its page, even while it is open
        menu.delete(0, "end")
        for words, action in commands:
            key = self.looks.key(Words.key_of.get(words, ""))
            menu.add_command(label=words, accelerator=f"{key} ", command=action)
        menu.tk_popup(widget.winfo_rootx() + at[0], widget.winfo_rooty() + at[1])

    def _show_edit_menu(self, box: object, x: int = 0, y: int = 0) -> None:
        """For boxes that people type in: many know cut and paste only this way."""
        if isinstance(box, tk.Text):
            is_open, is_hidden, is_selected = str(box.cget("state")) == "normal", False, bool(box.tag_ranges("sel"))
        elif isinstance(box, ttk.Entry):
            is_open, is_hidden = box.instate(["!disabled"]), str(box.cget("show")) != ""
            is_selected = box.selection_present()
        else:  # Tk's own, in a dialog
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

    # Whether anyone looks at the window.

    def notice(self, *, rings: bool) -> None:
        """Something was said: while nobody looks, the title counts it, and the first one that is meant for this person
        rings the bell. Thirty computers that beep at everything would be a nuisance.
        """
        if not self.root.tk.call("focus", "-displayof", self.root):  # no window of this program has the keyboard
            self._unread += 1
            self.show_title()
            if rings and not self._has_rung:
                self._has_rung = True
                self.root.bell()

    def _roll(self, units: int) -> None:
        if isinstance(self.page, Scrolled):
            self.page.scroll(units)

    def _drag(self, event: tk.Event[tk.Misc]) -> None:
        if isinstance(self.page, Scrolled):
            self.page.drag(way_down(event.delta))

    def _focus_came(self, event: tk.Event[tk.Misc]) -> None:
        self._has_rung = False
        if self._unread:
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

    def _show(self, page: Page) -> Page:
        self.page.close()
        self.page = page
        self._unread = 0
        self._show_page()
        return page

    def _show_page(self) -> None:
        self.show_title()
        self.root.rowconfigure(0, weight=1)
        self.root.columnconfigure(0, weight=1)
        self.page.frame.grid(row=0, column=0, sticky="nsew")
        self.page.focus()

    def _begin(self, password: str) -> Session:
        self._end_session()
        self.session = Session(password)
        return self.session

    def _end_session(self) -> None:
        session, self.session = self.session, None
        self._waiting = None
        if session is not None:
            session.end()

    # What happens.

    def poll(self) -> None:
        """Takes what arrived, a bounded amount, and comes back: soon if there is more, or was a moment ago."""
        more = False
        try:
            more = self._take_events()
        except Exception:
            log.exception("the poll failed")
        finally:  # whatever happens, the window goes on
            if not self._closed:
                wait = POLL_SOON if more else POLL_BUSY if time.monotonic() < self._busy_until else POLL
                self._next_poll = self.root.after(wait, self.poll)

    def _take_events(self) -> bool:
        """Whether there are more."""
        stop_at = time.perf_counter() + POLL_TIME
        characters = POLL_CHARACTERS
        session = self.session
        if session is not None and not session.opened.empty():
            self._handle_opened(session, session.opened.get())
        for _ in range(POLL_EVENTS):
            if session is None or session is not self.session:
                break
            if session.events.empty() or characters <= 0 or time.perf_counter() > stop_at:
                break
            event = session.events.get()
            characters -= len(getattr(event, "text", ""))
            self._busy_until = time.monotonic() + BUSY_TIME
            try:
                self._handle(session, event)
            except Exception:  # costs this event, and no other
                log.exception("an event could not be shown: %.300r", event)
        if self._waiting is not None and isinstance(self.page, JoinPage):
            self.page.say(f"{self._waiting[0]} {retry_words(self._waiting[1])}")
        self.page.flush()
        return self.session is not None and not self.session.events.empty()

    def _handle_opened(self, session: Session, answer: net.Server | str) -> None:
        if isinstance(answer, str):
            self.leave(Words.not_opened.format(reason=answer), wrong=True)
            return
        session.server = answer
        # The host is in the room like everyone else; the token says who it is.
        self._enter(session, "127.0.0.1", answer.port, answer.token)

    def _enter(self, session: Session, address: str, port: int, token: str) -> None:
        self._trying = (address, port)
        password = session.password or None
        session.client = net.run_client(address, self.name, session.events, port=port, password=password, token=token)

    def _handle(self, session: Session, event: net.Event) -> None:
        if isinstance(self.page, ChatPage):
            self.page.handle(event)
        elif isinstance(event, net.Reachable):
            session.reachable = event
        elif isinstance(event, net.Welcome):
            assert session.client is not None
            self._waiting = None
            if session.server is None and session.password:
                self.passwords[self._trying] = session.password
                if self.password == session.password:
                    self.password = ""  # it belongs to that room now
            self._show(ChatPage(self, session, session.client, event)).handle(event)
        elif isinstance(event, net.Lost) and event.reason in Words.waiting:
            words = Words.waiting[event.reason].format(address=join_address(*self._trying))
            self._waiting = words, time.monotonic() + event.retry_in
        elif isinstance(event, (net.Lost, net.Refused, net.Closed)):
            self._not_let_in(event)
        else:
            log.warning("unexpected before the welcome: %.300r", event)

    def _not_let_in(self, event: net.Lost | net.Refused | net.Closed) -> None:
        """The first attempt failed: on the page where that can be put right, with everything still there."""
        where = join_address(*self._trying)
        if isinstance(event, net.Lost):
            message = self._cannot_join(event.reason).format(address=where)
        elif isinstance(event, net.Refused):
            words = Words.refused.get(event.code)
            message = words.format(address=where) if words else room_says(event.reason)
            if event.code == "tls" and not net.CAN_ENCRYPT:
                message = needs_new_python()
        else:
            message = room_says(event.reason)
        self._end_session()
        page = self.page if isinstance(self.page, JoinPage) else self._show(JoinPage(self))
        page.show_failure(message)
        if isinstance(event, net.Refused) and event.code in ("password", "wrong", "open"):
            page.ask_for_password()

    def _cannot_join(self, trouble: net.Trouble) -> str:
        rooms = self.page.rooms if isinstance(self.page, JoinPage) else ()
        no_answer = trouble in (net.Trouble.NO_ANSWER, net.Trouble.NO_ROUTE)
        if no_answer and any((room.address, room.port) == self._trying for room in rooms):
            return Words.firewall  # finding heard the room, so it is there
        if trouble is net.Trouble.NO_ROUTE and sys.platform == "darwin":
            return Words.not_allowed
        return str(Words.cannot_join[trouble])

    def _report(self, *error: object) -> None:
        """A callback of tkinter's failed. The traceback is not kept: it would keep widgets alive."""
        if error[0] is KeyboardInterrupt:  # Ctrl+C in the terminal, while something was done here
            self.close()
            return
        log.error("a callback failed", exc_info=error)  # type: ignore[arg-type]
        if not self._closed:
            self.page.say(Words.failed, wrong=True)


def assert_never(value: NoReturn) -> NoReturn:
    """Proves to the type checker that no case was forgotten (typing has it from 3.11 on)."""
    raise AssertionError(value)


def login_name() -> str:
    try:
        return net.clean_name(getpass.getuser())
    except (OSError, ImportError, KeyError):  # there is none
        return ""


# ------------------------------------------------------------------------------------------------------- command line


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Says what is wrong with the command line, also where there is no console."""
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
        if sys.stdin is None:  # pythonw has no console
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
    """Runs the program; its exit status: 0, or 1 if there is no tkinter or no screen."""
    arguments = parse_arguments(argv)
    if sys.stderr is not None:  # pythonw has no console
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
    gc.collect()  # here: Tk ends the program if another thread, the one that still says goodbye, frees its last parts
    return 0


# -------------------------------------------------------------------------------------------------------------- words


class Words:
    """Every sentence that people read; to translate the program is to translate this table."""

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
    people_in = "{number:,} people"
    people_in_1 = "1 person"
    has_password = "password"
    nothing_found = (
        "No rooms found on this network. Type the address that the host's window shows; that often works anyway. If it "
        "does not, the computers may be on different networks, or this Wi-Fi keeps computers apart."
    )
    address = "Address of the room"
    address_help = "Choose a room above, or type the address that the host's window shows, for example 192.168.1.20"
    join_password = "Password, if the room has one"
    password_missing = "This room has a password. Please type it and press Enter."
    join_button = "Join"
    back = "Back"
    address_missing = "Please choose a room, or type the address that the host's window shows."
    address_wrong = "{text} is not an address. It looks like 192.168.1.20, or 192.168.1.20:5253 with a port."
    only_ipv4 = "This is not an IPv4 address, and the chat uses IPv4 only. It looks like 192.168.1.20."
    port_wrong = "A port is a number from 1 to 65535, not {text}."
    connecting = "Connecting to {address} ..."
    room_says = 'The room says: "{text}"'

    title = "{room} - {program}"
    join_at = "Others join at"
    no_address = "no network"
    more_addresses = "{number} more"
    also_at = "If that does not work, try: {addresses}"
    nobody_yet = (
        "Nobody else is here yet. The others start this program, click 'Join a room', and choose '{room}' or type "
        "{address}. If Windows asks whether Python may use the network, click Allow."
    )
    not_findable = "Others can't find this room automatically. They need to type {address}."
    menu = "Menu"
    find = "Find"
    menu_save_chat = "Save chat..."
    menu_larger = "Zoom in"
    menu_smaller = "Zoom out"
    menu_full_screen = "Full screen"
    menu_keys = "Keys"
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
        ("F1", "these keys"),
        ("exit", "alone on a line: leave the room"),
    )
    close = "Close"
    not_found = "not found"
    save_chat = "Save chat"
    chat_not_saved = "The chat could not be saved. {reason}"
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
    not_known = "The room no longer has this person or message."
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
    guessed = "Someone at {address} entered a wrong password {number:,} times and must wait now."
    guessed_everywhere = "Wrong passwords were entered {number:,} times, from several computers."
    room_failed = "This computer had to close the room. Please open it again."
    leave = "Leave"
    people = "People ({number:,})"
    host_mark = "{name} (host)"
    you_mark = "{name} (you)"
    host_and_you_mark = "{name} (host, you)"
    hint = "Write a message: Enter sends it, Shift+Enter begins a new line"
    send = "Send"
    new_lines = "{number:,} new"
    close_question = "Close the room for {number:,} people?"
    close_question_1 = "Close the room for the other person?"
    close_yes = "Close the room"
    close_no = "Stay"
    moved = "{room} now answers at {address}."
    move = "Go there"
    stay_here = "Wait here"

    you_are_in = "You are in {room} as {name}."
    renamed = "{wanted} is taken. You appear as {name}."
    reopened = "{room} was opened again. What was said before is above."
    missed = "{number:,} earlier messages are no longer available."
    missed_1 = "1 earlier message is no longer available."
    joined = "{name} joined"
    left: ClassVar = {
        "left": "{name} left",
        "lost": "{name} lost the connection",
        "removed": "{name} was removed by the host",
    }
    sending = "sending"
    not_sent = "Not sent. {reason}"
    write_again = "Write it again"
    settled = "sent during the break; no longer kept by the room"
    _silenced: ClassVar = {
        "muted": "The host muted you.",
        "paused": "The host paused the room.",
    }
    rejected: ClassVar = {
        **_silenced,
        "empty": "The message is empty.",
        "long": "The message is too long.",
        "unsent": "There was no connection to the room.",
        "unanswered": "The connection ended before the room answered; perhaps the others have it.",
        "unknown": "The room did not take it; the reason was lost with the connection.",
    }
    choose_files = "Share files with everyone"
    all_files = "All files"
    save_as = "Save the file"
    shared = "shared {filename} ({size})"
    save = "Save"
    sending_file = "Sending {filename}"
    saving_file = "Saving {filename}"
    cancel = "Cancel"
    bytes_1 = "1 byte"
    bytes = "{number} bytes"
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
        "size": "It is larger than {limit}, the most that this room takes.",
        "space": "There is no space left for it on the host's computer.",
        "hash": "It was damaged on the way. Please try again.",
        "busy": "It is being saved already.",
        "broken": "The connection broke off too often. Please try again.",
        "many": "Too many files are on their way; please wait for some of them.",
        "unknown": "The room no longer has it.",
        "removed": "The host removed you from the room.",
        "changed": "It was changed while it was being sent. Please try again.",
        "disk_full": "The disk is full.",
        "reopened": "The room was closed and opened again. Please try again.",
        "over": over,
        "bad": "The room sent something unexpected.",
        "failed": "Something went wrong in this program.",
    }
    share_failed: ClassVar = {
        "missing": "The file is no longer there.",
        "folder": "A folder cannot be shared, only files.",
        "permission": "You are not allowed to read it, or another program has it open.",
        "unknown": "You are no longer in the room.",
    }
    save_failed: ClassVar = {
        "missing": "The folder is no longer there.",
        "folder": "There is a folder with this name.",
        "permission": "You are not allowed to write there, or another program has the file open.",
    }
    too_long = "{number:,} characters over the limit"
    too_long_1 = "1 character over the limit"
    too_many_lines = "{number:,} lines over the limit"
    too_many_lines_1 = "1 line over the limit"

    connected = "Connected"
    failed = "Something went wrong in this program. It tries to go on."
    cannot_join: ClassVar = {
        net.Trouble.UNKNOWN_NAME: "Nothing on this network is called {address}. Check the spelling, or type the "
        "numbers that the host's window shows.",
        net.Trouble.NO_NETWORK: "This computer has no way to {address}. Is it connected to the network?",
        net.Trouble.NO_ROUTE: "There is no computer at {address}. Either the address is wrong, or that computer is "
        "switched off, or this Wi-Fi keeps computers apart.",
        net.Trouble.NO_ANSWER: "Nothing answers at {address}. Either the address is wrong, or a firewall on that "
        "computer is in the way, or this Wi-Fi keeps computers apart.",
        net.Trouble.NOBODY_LISTENS: "The computer {address} is there, but no room is open on it. Has the host opened "
        "the room yet?",
        net.Trouble.NOT_A_ROOM: "Something answers at {address}, but it is not a chat room. Check the address.",
        net.Trouble.GONE: "{address} ended the connection at once. Please try again.",
        net.Trouble.SILENT: "{address} takes the connection but says nothing. Is it a chat room?",
        net.Trouble.UNPROVEN: "What answers at {address} cannot prove that it knows the password.",
        net.Trouble.GAP: "{address} sent a damaged history. Please try again.",
    }
    waiting: ClassVar = {
        net.Trouble.FULL: "The room at {address} is full.",
        net.Trouble.WAIT: "The room at {address} asks this computer to wait.",
    }
    lost: ClassVar = {
        **waiting,
        net.Trouble.UNKNOWN_NAME: "The name {address} can no longer be found.",
        net.Trouble.NO_NETWORK: "This computer lost its network.",
        net.Trouble.NO_ROUTE: "There is no way to {address} at the moment.",
        net.Trouble.NO_ANSWER: "{address} does not answer.",
        net.Trouble.NOBODY_LISTENS: "The room at {address} is not open at the moment.",
        net.Trouble.NOT_A_ROOM: "Something other than the room answers at {address}.",
        net.Trouble.GONE: "The connection to {address} was lost.",
        net.Trouble.SILENT: "The connection to {address} was lost: nothing came for a while.",
        net.Trouble.UNPROVEN: "What answers at {address} cannot prove that it knows the password.",
        net.Trouble.GAP: "Something was lost on the way from {address}.",
    }
    not_allowed = (
        "macOS finds no way to {address}. Either the address is wrong, or this program may not use the local network: "
        "open System Settings, Privacy & Security, Local Network, switch on Python or Terminal, and start again."
    )
    firewall = (
        "The room at {address} is there, but a firewall on the host's computer keeps others out. On Windows, there:\n"
        "1. Open Windows Security, then Firewall & network protection.\n"
        "2. Click Allow an app through firewall.\n"
        "3. Tick Python, for private and for public networks.\n"
        "If someone clicked Cancel when Windows asked for the first time, Python is blocked for good. Only these steps "
        "undo that, and they need an administrator."
    )
    again_now = "Trying again now."
    again_in = "Trying again in {seconds:.0f} s."
    refused: ClassVar = {
        "protocol": "The room at {address} has another version of this program. Please use the same two files on both "
        "computers.",
        "password": password_missing,
        "wrong": "This password does not fit the room that answered. Check it; if it is right, ask the host: something "
        "else may be answering.",
        "unproven": "What answers at {address} cannot be the room: it did not prove that it knows the password.",
        "open": "The room at {address} has no password. Empty the password box to join it: it is not encrypted.",
        "full": "The room at {address} is full.",
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
