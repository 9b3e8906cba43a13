"""The window of the chat: what people see, click and type. All that travels is in net.py.

    python chat_gui.py                           the first page
    python chat_gui.py --host                    straight into a room of one's own
    python chat_gui.py --join ADDRESS[:PORT]     straight into that room;  both with --password, if it has one

The file from top to bottom:

    words          every sentence that people read
    limits         every number, with its unit and its reason
    text           what may be drawn of what others have written; folders, addresses, the saving of the talk
    looks          fonts, colours, styles, the differences between systems
    widgets        Log (the messages), Composer (the box one types in), Transfers (files on their way), FindBar, Keys
                   (what they do), People (who is here, and what the host can do), Pair (a layout), PasswordBox
    pages          FirstPage and JoinPage, which are Scrolled, and ChatPage: each a frame, and what happens in it
    App            Session (one visit to a room), and the window itself: which page is shown, the poll
    command line   main

All of it runs on the main thread, the only one that may touch tkinter, and it never waits for the network. Threads of
net.py put events into a queue; `App.poll` empties it bit by bit, many times a second, so that the window stays alive
however much arrives. The few threads that are started here (to open and close a room, to save the talk, to wait for the
browser and for the program that shows folders) know a queue at most, never a widget.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeVar

import net

try:
    import tkinter as tk
    from tkinter import filedialog, font, ttk
except ImportError as error:  # main says it in words
    tkinter_problem = str(error)
else:
    tkinter_problem = ""

log = logging.getLogger("chat_gui")

# -------------------------------------------------------------------------------------------------------------- words


class Words:
    """Every sentence that people read; to translate the program is to translate this table."""

    program = "Classroom chat"
    slogan = "Talk with everybody on this network: nothing to install, no account."
    your_name = "Your name"
    room_password = "Room password (optional)"
    suggest = "Suggest"
    show = "Show"
    hide = "Hide"
    empty_password = "This password has only characters that cannot be seen."
    weak_password = "Easy to guess. Suggest makes a safe one."
    needs_new_python = "This computer has Python {version}; a room password needs 3.13 or newer."
    host = "Host a room"
    join = "Join a room"
    room_of = "{name}'s room"
    name_missing = "Please type your name first."
    opening = "Opening the room ..."
    not_opened = "The room could not be opened: {reason}."
    you_left = "You have left {room}."
    you_closed = "You have closed {room}."

    looking = "Looking for rooms on this network ..."
    found = "Rooms on this network"
    people_in = "{number:,} people"
    people_in_1 = "1 person"
    has_password = "password"
    nothing_found = (
        "No room is heard on this network. Ask the host which address their window shows, and type it here: that "
        "may work all the same. If it does not, both computers may be in different networks, or this Wi-Fi keeps "
        "computers apart."
    )
    address = "Or type the address of the room"
    address_help = "The host's window shows it, for example 192.168.1.20"
    join_password = "Password, if the room has one"
    password_missing = "This room has a password. Please type it and press Enter."
    join_button = "Join"
    back = "Back"
    address_missing = "Please type the address that the host's window shows."
    address_wrong = "{text} is not an address. It looks like 192.168.1.20, or 192.168.1.20:5253 with a port."
    port_wrong = "A port is a number from 1 to 65535, not {text}."
    connecting = "Connecting to {address} ..."

    title = "{room} - {program}"
    join_at = "Others join at"
    no_address = "no network"
    more_addresses = "{number} more"
    also_at = "If that does not work, try: {addresses}"
    nobody_yet = (
        "Nobody else is here yet. The others start this program, click 'Join a room', and choose '{room}' or type "
        "{address}. If Windows asks whether Python may be reached from the network, click Allow."
    )
    not_findable = "This room cannot be found by itself: the others have to type {address}."
    menu = "Menu"
    find = "Find"
    menu_save_talk = "Save the talk..."
    menu_larger = "Larger"
    menu_smaller = "Smaller"
    menu_full_screen = "Full screen"
    menu_keys = "Keys"
    file = "File..."
    cut = "Cut"
    copy = "Copy"
    paste = "Paste"
    select_all = "Select all"
    key_of: ClassVar = {
        find: "Ctrl+F",
        menu_save_talk: "Ctrl+S",
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
        ("Enter", "send;  Shift+Enter: a new line"),
        ("Up", "in an empty box: your last message again"),
        ("PgUp, PgDn", "scroll through what was said"),
        ("Tab, Shift+Tab", "go to the next part of the window, or back"),
        ("Up, Down", "in the messages: choose one; Enter follows its link, the menu key shows what can be done"),
        ("Escape", "back to the box that you write in"),
        ("Ctrl+F", "find words;  Enter: earlier, Shift+Enter: later"),
        ("Ctrl+S", "save the talk in a file"),
        ("Ctrl+O", "share files"),
        ("Ctrl+C", "copy what is selected;  Ctrl+A: select all"),
        ("Ctrl +, Ctrl -, Ctrl 0", "larger, smaller, as at first;  also Ctrl and the mouse wheel"),
        ("F11", "full screen, and back"),
        ("F1", "these keys"),
        ("exit", "written alone on a line: leave the room"),
    )
    close = "Close"
    not_found = "not found"
    save_talk = "Save the talk"
    talk_not_saved = "The talk was not saved. {reason}."
    talk_forgotten = "(Earlier messages that are not here: {number:,}. The window keeps {kept:,}.)"
    copy_selected = "Copy what is selected"
    copy_entry = "Copy this message"
    take_it_back = "Take back, for everybody"
    taken_back = "taken back by the host"
    taken_back_mark = "{name} (taken back by the host)"
    mute = "Mute"
    unmute = "Unmute"
    remove = "Remove"
    let_in = "Let in again"
    pause = "Pause the room"
    go_on = "Let all write again"
    muted = "The host has muted you: you can read, but not write."
    paused = "The host has paused the room: for now only the host writes."
    you_paused = "You have paused the room: only you can write."
    was_paused = "The host has paused the room."
    goes_on = "All can write again."
    not_known = "The room no longer has this person or message."
    over = "The visit to this room is over."
    muted_mark = "{name} (muted)"
    removed_mark = "{name} (removed)"
    unread_title = "({number:,}) {title}"
    copied = "Copied"
    open_room = "Not encrypted: anyone on this network can join"
    encrypted_room = "Encrypted: only people with the password can read or join"
    show_password = "Show password"
    hide_password = "Hide password"
    copy_password = "Copy it"
    guessed = "Somebody at {address} entered a wrong password {number:,} times and must wait now."
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

    you_are_in = "You are in {room} as {name}."
    renamed = "Somebody else is called {wanted}; here you are {name}."
    reopened = "{room} was opened again. What was said before is above."
    missed = "{number:,} earlier messages are not kept by the room any more."
    missed_1 = "1 earlier message is not kept by the room any more."
    joined = "{name} joined"
    left: ClassVar = {
        "left": "{name} left",
        "lost": "{name} lost the connection",
        "removed": "{name} was removed by the host",
    }
    sending = "sending"
    not_sent = "Not sent. {reason}"
    write_again = "Write it again"
    settled = "sent during the break; not kept by the room"
    _silenced: ClassVar = {
        "muted": "The host has muted you.",
        "paused": "The host has paused the room.",
    }
    rejected: ClassVar = {
        **_silenced,
        "empty": "There is nothing to read in it.",
        "unsent": "There was no connection to the room.",
        "unanswered": "The connection ended before the room answered; perhaps the others have it.",
        "unknown": "The room did not take it; the reason was lost with the connection.",
    }
    choose_files = "Share files with everybody"
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
    file_checking = "nearly there"
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
        "hash": "It was damaged on its way. Please try again.",
        "busy": "It is being saved already.",
        "broken": "The connection broke off too often. Please try again.",
        "many": "Too many files are on their way; please wait for some of them.",
        "unknown": "The room does not have it any more.",
        "removed": "The host has removed you from the room.",
        "changed": "It was changed while it was being sent. Please try again.",
        "disk_full": "The disk is full.",
        "reopened": "The room was closed and opened again. Please try again.",
        "over": over,
        "bad": "The room did not keep to the rules.",
        "failed": "Something went wrong in this program.",
    }
    share_failed: ClassVar = {
        "missing": "It is not there any more.",
        "folder": "A folder cannot be shared, only files.",
        "permission": "You are not allowed to read it.",
        "unknown": "You are not in the room any more.",
    }
    save_failed: ClassVar = {
        "missing": "That folder is not there any more.",
        "folder": "There is a folder of this name.",
        "permission": "You are not allowed to write there.",
    }
    too_long = "Characters too many: {number:,}"
    too_many_lines = "Lines too many: {number:,}"

    connected = "Connected"
    failed = "Something went wrong in this program. It tries to go on."
    cannot_join: ClassVar = {
        net.Trouble.UNKNOWN_NAME: "Nothing on this network is called {address}. Please check the spelling, or type the "
        "numbers that the host's window shows.",
        net.Trouble.NO_NETWORK: "This computer has no way to {address}. Is it connected to the network?",
        net.Trouble.NO_ROUTE: "There is no computer at {address}. Either the address is wrong, or that computer is "
        "switched off, or this Wi-Fi keeps computers apart.",
        net.Trouble.NO_ANSWER: "Nothing answers at {address}. Either the address is wrong, or a firewall on that "
        "computer is in the way, or this Wi-Fi keeps computers apart.",
        net.Trouble.NOBODY_LISTENS: "The computer {address} is there, but no room is open on it. Has the host opened "
        "the room already?",
        net.Trouble.NOT_A_ROOM: "Something answers at {address}, but it is not a chat room. Please check the address.",
        net.Trouble.GONE: "{address} ended the connection at once. Please try again.",
        net.Trouble.SILENT: "{address} takes the connection but says nothing. Is it a chat room?",
        net.Trouble.UNPROVEN: "What answers at {address} cannot prove that it knows the password.",
        net.Trouble.GAP: "{address} sent a damaged history. Please try again.",
        net.Trouble.FULL: "The room at {address} is full. Please try again when somebody has left.",
        net.Trouble.WAIT: "This computer has tried too often. Please wait {seconds:.0f} s and try again.",
    }
    lost: ClassVar = {
        net.Trouble.UNKNOWN_NAME: "The name {address} is not found any more.",
        net.Trouble.NO_NETWORK: "This computer has lost its network.",
        net.Trouble.NO_ROUTE: "There is no way to {address} at the moment.",
        net.Trouble.NO_ANSWER: "{address} does not answer.",
        net.Trouble.NOBODY_LISTENS: "The room at {address} is not open at the moment.",
        net.Trouble.NOT_A_ROOM: "Something else than the room answers at {address}.",
        net.Trouble.GONE: "The connection to {address} was lost.",
        net.Trouble.SILENT: "The connection to {address} was lost: nothing came for a while.",
        net.Trouble.UNPROVEN: "What answers at {address} cannot prove that it knows the password.",
        net.Trouble.GAP: "Something was lost on the way from {address}.",
        net.Trouble.FULL: "The room at {address} is full now.",
        net.Trouble.WAIT: "The room at {address} asks this computer to wait.",
    }
    not_allowed = (
        "macOS finds no way to {address}. Either the address is wrong, or this program may not use the local network: "
        "open System Settings, Privacy & Security, Local Network, switch on Python or Terminal, and start again."
    )
    firewall = (
        "The room at {address} is there, but a firewall on the host's computer keeps others out. On Windows, there:\n"
        "1. Open Windows Security, and in it Firewall & network protection.\n"
        "2. Click Allow an app through firewall.\n"
        "3. Tick Python, for private and for public networks.\n"
        "Whoever clicked Cancel when Windows asked for the first time has blocked Python for good. Only these steps "
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
    }
    closed_you_can_read = "{reason} You can still read and copy what was said."

    no_tkinter: ClassVar = {
        "linux": "This Python has no tkinter ({problem}). Install it with: sudo apt install python3-tk   (Fedora: sudo "
        "dnf install python3-tkinter)",
        "darwin": "This Python has no tkinter ({problem}). Install Python from python.org, or: brew install python-tk",
        "win32": "This Python has no tkinter ({problem}). Run Python's installer again and tick 'tcl/tk and IDLE'.",
    }
    no_screen = "There is no screen to open a window on ({problem}). Start the program from a desktop."


# ------------------------------------------------------------------------------------------------------------- limits

POLL = 40  # ms between two looks at the queue: below what people notice, under 1 % of a processor
POLL_SOON = 1  # ms, while there is more; not 0, which would leave no time for drawing
POLL_EVENTS = 400  # at most at once ...
POLL_TIME = 0.008  # s ... and no longer than this, so that a key never waits
LOG_LINES = 5_000  # kept in the window
LOG_SLACK = 500  # lines more before the oldest are taken away, so that it is seldom done
TOUCH_TIME = 2.0  # s; so long after a key or the wheel a move of the log is the reader's
COMPOSER_LINES = 6  # high, then it scrolls
MAX_PASTE = 50_000  # characters; more would only make the box slow, and no message is longer than net.MAX_TEXT
LONGEST_LINE = 1_000  # characters drawn before a break: Tk lays out a whole line again for each change
MOST_MARKS = 5  # on one letter: in some scripts it may have so many
MOST_MARKED = 20  # links and calls of one's own name in one message: Tk is slow with many pieces on a line
MOST_FOUND = 1_000  # places at once, the newest: Tk is slow with more
MOST_EMOJI = 60  # letters outside the basic plane in one message, and of these ...
MOST_KINDS_OF_EMOJI = 12  # ... different ones: X11 keeps only some dozens of coloured glyphs ready to draw
PEOPLE_WIDTH = 20  # of the list of people, in widths of a digit
MOST_OF_A_NAME = 500  # characters drawn of a name, a title or a room's reason
NAME_WIDTH = 12  # in the log, in widths of a digit; longer names are shortened there ...
NARROW_NAME_WIDTH = 8  # ... in a narrow window
NARROW = 64  # widths of a digit; in a window below that things stand one above the other
CRAMPED = 30  # widths of a digit; in a window below that, or as low as this, only the most important stays ...
CRAMPED_HEIGHT = 26  # ... where things stand side by side ...
NARROW_CRAMPED_HEIGHT = 36  # ... and where they stand one above the other
ROOMY = 86  # widths of a digit; from there on the host's address stands in large letters, for the last row of a class
MOST_WIDE = 60  # widths of a digit; of the first page and the join page
ZOOMS = (60, 70, 80, 90, 100, 110, 125, 150, 175, 200, 250, 300, 350, 400)  # %
SMALLEST = (320, 300)  # px; of the window
TALK_ENTRIES = 100_000  # kept for saving the talk: a lesson in which everybody writes all the time
NOTHING_FOUND_AFTER = 10_000  # ms without a room until the page says what else can be done
TRANSFERS_SHOWN = 4  # rows; the others are counted
PROGRESS_WIDTH = 24  # of the bar, in widths of a digit
COPIED_TIME = 1_500  # ms for which the button says so
NO_LETTER = 0x4 if sys.platform == "win32" else 0xC  # Control, Alt, Command (0x8 is Num Lock on Windows)

# --------------------------------------------------------------------------------------------------------------- text

# Direction marks could swap what stands around them; the others are drawn as boxes or not at all.
_NOT_DRAWN = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\U000e0000-\U000e007f]"
)
_HALF_PAIRS = re.compile("[\ud800-\udfff]")


def drawable(text: str) -> str:
    """The text as the window draws it: all of it, but for what can harm the window or the lines around it."""
    text = _HALF_PAIRS.sub("\ufffd", text.expandtabs(4))
    text = _NOT_DRAWN.sub("", text)
    if not text.isascii():
        text = _thin_out(text)
    if len(text) > LONGEST_LINE:
        text = "\n".join(part for line in text.split("\n") for part in _broken(line))
    return text


def _thin_out(text: str) -> str:
    """Piles of combining marks, which reach over other lines, and of emoji, which take seconds to draw."""
    drawn = []
    marks = emoji = 0
    kinds: set[str] = set()
    for character in text:
        if unicodedata.category(character) in ("Mn", "Me"):
            marks += 1
            if marks > MOST_MARKS:
                continue
        else:
            marks = 0
        if character > "\uffff":
            emoji += 1
            kinds.add(character)
            if emoji > MOST_EMOJI or len(kinds) > MOST_KINDS_OF_EMOJI:
                character = "\u25a1"
        drawn.append(character)
    return "".join(drawn)


def _broken(line: str) -> list[str]:
    return [line[start : start + LONGEST_LINE] for start in range(0, len(line) or 1, LONGEST_LINE)]


def drawable_name(name: str) -> str:
    """A name, a title or a reason, on one line, and no longer than a room that keeps the rules can make it."""
    return " ".join(drawable(name[:MOST_OF_A_NAME]).split())


def clock(seconds: float, form: str = "%H:%M") -> str:
    """The local time."""
    try:
        return time.strftime(form, time.localtime(seconds))
    except (ValueError, OverflowError, OSError):  # a year that this system cannot
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


def downloads_folder() -> str:
    """Where people look for what they have saved."""
    folder = Path.home() / "Downloads"
    return str(folder if folder.is_dir() else Path.home())


def show_folder(folder: str) -> None:
    """In the system's own program for files. Raises OSError where there is none."""
    if sys.platform == "win32":
        os.startfile(folder)
    else:
        command = ["open" if sys.platform == "darwin" else "xdg-open", folder]
        opener = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        # It may live longer than this window; somebody has to wait for its end all the same.
        threading.Thread(target=opener.wait, name="folder opened", daemon=True).start()


# A link ends before the signs of the sentence that it stands in.
_WEB = re.compile(r"\bhttps?://[^\s<>\"\u25a1]*[^\s<>\"\u25a1.,;:!?'\u2019\u201d)\]}]", re.IGNORECASE)


def show_page(address: str) -> None:
    """In the system's browser, which may take its time to start."""
    threading.Thread(target=webbrowser.open, args=[address], name="browser opened", daemon=True).start()


def talk_text(title: str, entries: list[Entry], forgotten: int) -> str:
    """The talk as a file. Lines that go on are indented, so that nobody can write a line in another one's name."""
    lines = [title, ""]
    if forgotten:
        lines.append(Words.talk_forgotten.format(number=forgotten, kept=len(entries)))
    for entry in entries:
        when = clock(entry.seconds, "%Y-%m-%d %H:%M:%S")
        text = entry.text
        if entry.who and entry.taken_back:
            name = Words.taken_back_mark.format(name=entry.name) if text else entry.name
            text = f"{name}: {text or Words.taken_back}"
        elif entry.who:
            text = f"{entry.name}: {text}"
        lines.append("\n    ".join(f"{when}  {text}".splitlines()))  # at all that any editor takes for a new line
    return "\n".join(lines) + "\n"


def save_text(path: str, text: str, answers: queue.SimpleQueue[tuple[str, str]]) -> None:
    """A thread of its own: the whole text at `path`, or what was there before. Puts (path, what went wrong or "")."""
    part = f"{path}.{secrets.token_hex(4)}.part"
    problem = ""
    try:
        with open(part, "x", encoding="utf-8", errors="replace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        problem = error.strerror or str(error)
        with contextlib.suppress(OSError):
            os.unlink(part)
    answers.put((path, problem))


def tidy(text: str) -> str:
    """What is sent of what was typed: without blank lines before and blanks after it; indents stay."""
    return re.sub(r"\A(?:[^\S\n]*\n)+", "", text).rstrip()


def parse_address(text: str, port: int = net.PORT) -> tuple[str, int]:
    """Address and port of "192.168.1.20", "192.168.1.20:5253" or "a-name". Raises ValueError with words to show."""
    text = text.strip()
    if not text:
        raise ValueError(Words.address_missing)
    address, _, digits = map(str.strip, text.partition(":"))
    if not re.fullmatch(r"[\w.-]{1,253}", address) or (re.fullmatch(r"[\d.]+", address) and not _is_ipv4(address)):
        raise ValueError(Words.address_wrong.format(text=text[:60]))
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
    """As people type it: the port only where it is not the usual one."""
    return address if port == net.PORT else f"{address}:{port}"


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
    """Fonts, and sizes that follow from them; styles; the zoom. Made once, lives as long as the window.

    Every length on every page is a multiple of `em`, and `zoom` changes them all: those that are given to widgets are
    found in the tree of widgets, so that no page has to know about it.
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
        self.em = 0  # px
        self.style = ttk.Style(root)
        if self.is_x11:
            self.style.theme_use("clam")
            root.configure(background=PAGE)
        self._lengths: dict[str, Lengths] = {}  # path of a widget -> its lengths in em
        self._set_sizes()

    def zoom(self, percent: int) -> None:
        before, self._lengths = self._lengths, {}  # without those of widgets that are gone
        self._note_lengths(self._root, before)
        self.percent = percent
        self._set_sizes()
        self._apply_lengths(self._root)

    def _set_sizes(self) -> None:
        for each, size in self._sizes:
            each.configure(size=max(round(size * self.percent / 100), 4))
        self.em = self.text.measure("0")
        self._style_all()
        if self.is_x11:
            self._style_x11()

    def _note_lengths(self, parent: tk.Misc, before: dict[str, Lengths]) -> None:
        """What is known from before stays: to take it anew each time would add up what is lost by rounding."""
        for widget in parent.winfo_children():
            known = self._lengths[str(widget)] = before.get(str(widget), {})
            for key, pixels in _lengths_of(widget).items():
                known.setdefault(key, tuple(px / self.em for px in pixels))
            self._note_lengths(widget, before)

    def _apply_lengths(self, parent: tk.Misc) -> None:
        for widget in parent.winfo_children():
            for (command, option), lengths in self._lengths[str(widget)].items():
                pixels = tuple(round(length * self.em) for length in lengths)
                if command == "configure":
                    widget.tk.call(str(widget), command, option, pixels)
                elif widget.winfo_manager() == command:
                    widget.tk.call(command, "configure", str(widget), option, pixels)
            self._apply_lengths(widget)

    def _style_all(self) -> None:
        style = self.style
        row = self.text.metrics("linespace") + self.em
        style.configure("Treeview", rowheight=row, font=self.text, borderwidth=0)
        style.configure("Title.TLabel", font=self.large)
        style.configure("Quiet.TLabel", foreground=QUIET)
        style.configure("Wrong.TLabel", foreground=WRONG)
        style.configure("Bold.TLabel", font=self.bold)
        style.configure("Horizontal.TProgressbar", thickness=self.em)

    def _style_x11(self) -> None:
        """Elsewhere Tk looks like the system. Here its own look is of the 1990s; only `clam` can be given another."""
        style, em = self.style, self.em
        flat = {"lightcolor": CARD, "darkcolor": CARD}
        style.configure(".", background=PAGE, foreground=INK, bordercolor=LINE, lightcolor=PAGE, darkcolor=PAGE)
        style.configure(".", troughcolor=PAGE, focuscolor=ACCENT, insertcolor=INK)
        style.map(".", background=[("disabled", PAGE)], foreground=[("disabled", QUIET)])
        style.map(".", selectbackground=[("!focus", SELECTION)])
        style.configure("TButton", padding=(em, em // 2), width=-6, background=CARD, **flat)
        shades = [("disabled", PAGE), ("pressed", "#e2e6ee"), ("active", "#eef1f6")]
        style.map("TButton", background=shades, bordercolor=[("focus", ACCENT)])
        accent = {"background": ACCENT, "lightcolor": ACCENT, "darkcolor": ACCENT}
        style.configure("Accent.TButton", foreground="white", bordercolor=ACCENT, focuscolor="white", **accent)
        shades = [("disabled", PAGE), ("pressed", "#1a4199"), ("active", "#1e4bad")]
        style.map("Accent.TButton", background=shades, bordercolor=[("disabled", LINE)])
        style.map("Accent.TButton", lightcolor=[("disabled", PAGE)], darkcolor=[("disabled", PAGE)])
        style.configure("TEntry", padding=em // 2, fieldbackground=CARD, **flat)
        style.configure("TEntry", selectbackground=SELECTION, selectforeground=INK)
        style.map("TEntry", bordercolor=[("focus", ACCENT)], lightcolor=[("focus", ACCENT)])
        style.map("TEntry", fieldbackground=[("disabled", PAGE)])
        style.configure("Horizontal.TProgressbar", troughcolor=LINE, bordercolor=LINE, **accent)
        style.configure("Treeview", background=CARD, fieldbackground=CARD, foreground=INK, bordercolor=CARD, **flat)
        style.map("Treeview", background=[("selected", SELECTION)], foreground=[("selected", INK)])
        thumb = "#c3c9d4"
        hidden = [("disabled", CARD)]  # while all is seen
        style.configure("Vertical.TScrollbar", troughcolor=CARD, bordercolor=CARD, gripcount=0, arrowsize=em)
        style.configure("Vertical.TScrollbar", background=thumb, lightcolor=thumb, darkcolor=thumb)
        style.map("Vertical.TScrollbar", background=hidden, lightcolor=hidden, darkcolor=hidden)
        part = ("Vertical.Scrollbar.thumb", {"expand": "1", "sticky": "nswe"})
        style.layout("Vertical.TScrollbar", [("Vertical.Scrollbar.trough", {"sticky": "ns", "children": [part]})])  # type: ignore[list-item]

    def key(self, words: str) -> str:
        """The name of a key, as it is called here."""
        return words.replace("Ctrl", "Command") if self.is_mac else words

    def card(self, parent: tk.Misc) -> tk.Frame:
        """A white field with a thin line around it."""
        return tk.Frame(parent, background=CARD, highlightbackground=LINE, highlightcolor=LINE, highlightthickness=1)

    def menu(self, parent: tk.Misc) -> tk.Menu:
        menu = tk.Menu(parent, tearoff=False, font=self.text)
        if self.is_x11:  # elsewhere it looks like the system's
            menu.configure(background=CARD, foreground=INK, activebackground=SELECTION, activeforeground=INK)
            menu.configure(relief="solid", borderwidth=1, activeborderwidth=self.em // 2)
        return menu

    @staticmethod
    def show_focus(card: tk.Frame, widget: tk.Misc) -> None:
        """The line around the card tells that what is in it has the keyboard."""
        widget.bind("<FocusIn>", lambda _: card.configure(highlightbackground=ACCENT), add=True)
        widget.bind("<FocusOut>", lambda _: card.configure(highlightbackground=LINE), add=True)

    def text_box(self, parent: tk.Misc, height: int) -> tk.Text:
        text = tk.Text(parent, height=height, width=20, font=self.text, wrap="word", padx=self.em, pady=self.em // 2)
        text.configure(relief="flat", insertbackground=INK, inactiveselectbackground="#dfe6f3", **FLAT)
        for key, there in (("<Tab>", text.tk_focusNext), ("<Shift-Tab>", text.tk_focusPrev)):
            text.bind(key, lambda _, there=there: go_to(there()))  # type: ignore[misc]
        return text

    def list_box(self, parent: tk.Misc) -> tk.Listbox:
        box = tk.Listbox(parent, height=1, width=PEOPLE_WIDTH, font=self.text, exportselection=False, **FLAT)
        box.configure(activestyle="none")
        return box

    @staticmethod
    def scrollbar(parent: tk.Misc, view: Any) -> ttk.Scrollbar:
        """On the right of what it scrolls."""
        made = ttk.Scrollbar(parent, command=view.yview)
        made.pack(side="right", fill="y")
        view.configure(yscrollcommand=made.set)
        return made


Lengths = dict[tuple[str, str], tuple[float, ...]]  # (command, option) -> one or two lengths


def _lengths_of(widget: tk.Misc) -> Lengths:
    """All lengths of a widget that are not the work of a layout: paddings, columns. In px."""
    call, path = widget.tk.call, str(widget)
    found: Lengths = {}
    for option in ("-padx", "-pady", "-padding", "-length"):
        with contextlib.suppress(tk.TclError):  # most widgets have few of these
            found["configure", option] = _pixels(widget, call(path, "cget", option))
    manager = widget.winfo_manager()
    if manager in ("pack", "grid"):
        info = widget.tk.splitlist(call(manager, "info", path))
        options = dict(zip(info[::2], info[1::2], strict=True))
        for option in ("-padx", "-pady"):
            found[manager, option] = _pixels(widget, options[option])
    return {key: pixels for key, pixels in found.items() if any(pixels)}


def _pixels(widget: tk.Misc, value: object) -> tuple[float, ...]:
    """One or two lengths, in whichever way this version of Tk gives them."""
    lengths = value if isinstance(value, tuple) else str(value).split()
    return tuple(widget.winfo_fpixels(str(length)) for length in lengths)


def shortened(text: str, text_font: font.Font, width: int) -> str:
    """The text, with its middle left out if it is wider than `width` px: the number in "Ann 2" is part of the name."""
    shown, start = text, len(text) - 4
    while text_font.measure(shown) > width and start > 0:
        start -= 1
        shown = f"{text[:start]}\u2026{text[-4:]}"
    return shown


def on_enter(widget: tk.Misc, action: Callable[[], object]) -> None:
    """Both Enter keys; and nothing else happens to them."""

    def act(_: object) -> str:
        action()
        return "break"

    widget.bind("<Return>", act)
    widget.bind("<KP_Enter>", act)


def on_change(entry: ttk.Entry, action: Callable[[], object]) -> None:
    """By keys or by mouse; Tk tells of it just before."""
    for way in ("<KeyRelease>", "<<Cut>>", "<<Paste>>", "<<PasteSelection>>"):
        entry.bind(way, lambda _: entry.after_idle(action), add=True)


def copy(widget: tk.Misc, text: str) -> None:
    widget.clipboard_clear()
    widget.clipboard_append(text)


def show(widget: tk.Widget, on: bool) -> None:
    """Whether it is to be seen, at the place that it has been given in the grid."""
    if on:
        widget.grid()
    else:
        widget.grid_remove()


def give_place(widget: tk.Widget, **place: Any) -> None:
    """In the grid; whether it is to be seen there does not change."""
    is_shown = widget.winfo_manager() != ""
    widget.grid(**place)
    show(widget, is_shown)


def go_to(widget: tk.Misc | None) -> str:
    if widget is not None:
        widget.focus_set()
    return "break"


Command = tuple[str, Callable[[], object]]  # of a menu: its words, and what it does


def as_command(widget: ttk.Button) -> Command:
    """The same in a menu."""
    return str(widget.cget("text")), widget.invoke


def button(parent: tk.Misc, text: str, action: Callable[[], object], style: str = "TButton") -> ttk.Button:
    """A button that Enter presses too, not the space bar alone."""
    made = ttk.Button(parent, text=text, command=action, style=style)
    on_enter(made, made.invoke)
    return made


# ------------------------------------------------------------------------------------------------------------ widgets

Chunks = list[object]  # text, tags, text, tags ... as Tk's insert takes them


@dataclass(eq=False, slots=True)
class Entry:
    """One thing that was said, shared or noted, as the log keeps it: what can be drawn, copied and saved."""

    seconds: float
    text: str  # the original; for a file its description
    who: int = 0  # 0: nobody, it is a note
    name: str = ""
    number: int = 0  # of the room's event; 0: none
    tags: tuple[str, ...] = ()
    link: tuple[str, Callable[[], None]] | None = None  # the word at its end, and what a click on it does
    taken_back: bool = False
    reason: str = ""  # why it was rejected
    height: int = 0  # lines in the log, without those that come from wrapping

    def plain(self) -> str:
        """As it is copied: "10:31 Ann: hi"."""
        if not self.who:
            return self.text
        text = Words.taken_back if self.taken_back else self.text
        return f"{clock(self.seconds)} {self.name}: {text}"


def _as_tk_counts(text: str) -> str:
    """Before version 9 a letter outside the basic plane, an emoji, takes two columns."""
    return text if tk.TkVersion >= 9 else re.sub("[\U00010000-\U0010ffff]", "\\g<0>\0", text)


class Log:
    """The messages, read-only. What is added shows at `flush`, with one insert and one scroll for all of it.

    Each entry has as many lines in the widget as its `height` says, so that a line leads to its entry and back. Below
    everything that the room has said stand one's own lines that are still on their way. That part, from the mark "own",
    is drawn anew at each flush.
    """

    def __init__(self, parent: tk.Misc, looks: Looks, focus_composer: Callable[[], None]) -> None:
        self._looks = looks
        self._focus_composer = focus_composer
        self.frame = looks.card(parent)
        self.text = looks.text_box(self.frame, height=1)
        self._scrollbar = looks.scrollbar(self.frame, self.text)
        self._scrollbar.configure(command=self.scroll)
        self.text.pack(side="left", fill="both", expand=True)
        looks.show_focus(self.frame, self.text)
        self.text.configure(state="disabled", takefocus=True, cursor="arrow", yscrollcommand=self._scrolled)
        self._jump = button(self.frame, "", self.go_to_end, "Accent.TButton")
        self._follow = True  # until the reader scrolls up
        self._new = 0  # messages below what the reader sees
        self._top = (0, 0)  # line and column that were at the top when the view last changed
        self._touched_at = -TOUCH_TIME  # monotonic s; when the reader last did something that may scroll
        self._entries: list[Entry] = []  # drawn, the oldest first
        self._added: list[Entry] = []  # to be drawn
        self._own_changed = False
        self.on_their_way: dict[int, str] = {}  # id -> text
        self._names: dict[str, str] = {}  # name -> as it fits into its column
        self._is_narrow = False
        self._marked = _WEB
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
        for way in ("<MouseWheel>", "<Button-4>", "<Button-5>", "<Key>", "<B1-Motion>", "<B2-Motion>"):
            text.bind(way, self._touch, add=True)
        with contextlib.suppress(tk.TclError):  # not known before Tk 9
            text.bind("<TouchpadScroll>", self._touch, add=True)
        text.bind("<Configure>", self._untouch, add=True)
        text.bind("<Up>", lambda _: self._step(-1))
        text.bind("<Down>", lambda _: self._step(1))
        on_enter(text, self._follow_first_link)
        text.bind("<<Copy>>", lambda _: self._copy())
        self._jump.bind("<Unmap>", lambda _: self._jump_went())

    def fit(self, *, is_narrow: bool) -> None:
        """Margins and columns for the font as it is now; in a narrow window a message goes on below its name."""
        looks, text = self._looks, self.text
        self._untouch()
        self._is_narrow = is_narrow
        self._names.clear()
        time_width = looks.small.measure("00:00") + looks.em
        column = time_width + (NARROW_NAME_WIDTH if is_narrow else NAME_WIDTH) * looks.em + looks.em
        indent = 2 * looks.em if is_narrow else column
        text.configure(tabs=(time_width, column))
        gap = looks.em // 3
        text.tag_configure("entry", background=CURRENT)
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
        """From now on the host's name stands out, and so does "@Ann" for Ann; not "@Anna" or "@Ann 2"."""
        self._host = welcome.host or net.HOST
        called = rf"@{re.escape(drawable_name(welcome.name))}(?!\w| ?\d)"
        self._marked = re.compile(f"{_WEB.pattern}|{called}", re.IGNORECASE)

    # What is added and changed.

    def add(self, entry: Entry) -> None:
        self._added.append(entry)
        if entry.who:
            self._new += 1

    def add_note(self, text: str, *, wrong: bool = False) -> Entry:
        """A quiet line that nobody said."""
        entry = Entry(time.time(), text, tags=("wrong",) if wrong else ())
        self.add(entry)
        return entry

    def add_on_its_way(self, number: int, text: str) -> None:
        self.on_their_way[number] = text
        self._own_changed = True

    def remove_on_its_way(self, number: int) -> str | None:
        """The text of one's own line that has been answered."""
        self._own_changed = True
        return self.on_their_way.pop(number, None)

    def remove(self, entry: Entry) -> None:
        self._replace(entry, None)

    def redraw(self, entry: Entry) -> None:
        """It looks different from now on."""
        self._replace(entry, entry)

    def _replace(self, entry: Entry, by: Entry | None) -> None:
        self.flush()
        if entry not in self._entries:  # so old that it is not drawn any more
            return
        place = self._entries.index(entry)
        line = 1 + sum(earlier.height for earlier in self._entries[:place])
        self._top = (0, 0)  # lines below may have other numbers now
        with self._writable():
            if by is not None:
                self.text.delete(f"{line}.0", f"{line + entry.height - 1}.end")
                chunks = self._drawn(by)
                chunks[0] = ""  # the line is there already
                self.text.insert(f"{line}.0", *chunks)  # type: ignore[arg-type]
            else:
                del self._entries[place]
                first = f"{line - 1}.end" if line > 1 else "1.0"
                self.text.delete(first, f"{line + entry.height - 1}.end" if line > 1 else f"{line + entry.height}.0")
            height = sum(each.height for each in self._entries)
            self.text.mark_set("own", f"{height}.end" if height else "1.0")
        self.text.configure(cursor="arrow")
        if self._follow:
            self.go_to_end()

    # How an entry is drawn. The first chunk is always the newline that ends the entry before.

    def _drawn(self, entry: Entry) -> Chunks:
        """The entry's chunks; notes its height."""
        margins = "text" if entry.who else "quiet"
        body = self._message(entry) if entry.who else [drawable(entry.text), (margins, *entry.tags)]
        if entry.link is not None and not entry.taken_back:
            body += ["   ", (margins,), entry.link[0], (margins, "link")]
        entry.height = 1 + sum(str(chunk).count("\n") for chunk in body[::2])
        return ["\n", (), *body]

    def _message(self, entry: Entry) -> Chunks:
        chunks: Chunks = [f"{clock(entry.seconds)}\t", ("time",)]
        name_tag = "host" if entry.who == self._host else f"name{entry.who % len(NAMES)}"
        chunks += [self._fitting(entry.name), ("text", name_tag), "\t", ("text",)]
        if entry.taken_back:
            return [*chunks, Words.taken_back, ("text", "gone")]
        chunks += self._marked_text(drawable(entry.text), ("text", *entry.tags))
        if entry.reason:
            chunks += ["\n", (), drawable(entry.reason), ("text", "wrong")]
        return chunks

    def _marked_text(self, text: str, tags: tuple[str, ...]) -> Chunks:
        """Words, with links where addresses of the web are, and one's own name made to stand out."""
        if "://" not in text and "@" not in text:
            return [text, tags]
        chunks: Chunks = []
        rest = 0
        for match in itertools.islice(self._marked.finditer(text), MOST_MARKED):
            kind = "mention" if match[0].startswith("@") else "link"
            chunks += [text[rest : match.start()], tags, match[0], (*tags, kind)]
            rest = match.end()
        return [*chunks, text[rest:], tags]

    def _fitting(self, name: str) -> str:
        """The name as it fits into its column."""
        if name not in self._names:
            if len(self._names) > LOG_LINES:
                self._names.clear()
            width = (NARROW_NAME_WIDTH if self._is_narrow else NAME_WIDTH) * self._looks.em
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
            chunks = [chunk for entry in added for chunk in self._drawn(entry)]
            if chunks:
                if not self._entries:
                    chunks[0] = ""  # no empty line at the top
                self._append(chunks)
                self._entries += added
            self.text.mark_set("own", "end-1c")
            self._append([chunk for text in self.on_their_way.values() for chunk in self._on_its_way(text)])
            self._trim()
        self._own_changed = False
        if self._follow:
            self.go_to_end()
        elif self._new:
            self._jump.configure(text=Words.new_lines.format(number=self._new))
            self._jump.place(relx=1, rely=1, x=-3 * self._looks.em, y=-self._looks.em, anchor="se")

    def _append(self, chunks: Chunks) -> None:
        if chunks:
            self.text.insert("end-1c", *chunks)  # type: ignore[arg-type]

    def _on_its_way(self, text: str) -> Chunks:
        return ["\n", (), f"\t{Words.sending}\t", ("time", "sending"), drawable(text), ("text", "sending")]

    def _trim(self) -> None:
        """Takes the oldest entries away; later than usual while the reader is up there."""
        lines = int(self.text.index("end-1c").split(".")[0])
        if lines <= (LOG_LINES if self._follow else 2 * LOG_LINES) + LOG_SLACK:
            return
        gone = height = 0
        while lines - height > LOG_LINES and gone < len(self._entries):
            height += self._entries[gone].height
            gone += 1
        del self._entries[:gone]
        self._top = (0, 0)  # lines have other numbers now
        self.text.delete("1.0", f"{height + 1}.0")

    @contextlib.contextmanager
    def _writable(self) -> Iterator[None]:
        self.text.configure(state="normal")
        try:
            yield
        finally:
            self.text.configure(state="disabled")

    def go_to_end(self) -> None:
        self._follow = True
        self._new = 0
        self._jump.place_forget()
        self.text.see("end")

    def _jump_went(self) -> None:
        """What is typed next would be lost if the button still had the keyboard."""
        if self._jump.focus_lastfor() is self._jump:
            self._focus_composer()

    def _scrolled(self, first: float, last: float) -> None:
        """Tk tells what part is seen. Only a reader who scrolls up ends the following, no new size, line or font."""
        self._scrollbar.set(first, last)
        line, _, column = self.text.index("@0,0").partition(".")
        before, self._top = self._top, (int(line), int(column))
        if float(last) >= 1.0:
            self._follow = True
            self._new = 0
            self._jump.place_forget()
        elif self._top < before and time.monotonic() < self._touched_at + TOUCH_TIME:
            self._follow = False
        elif self._follow:
            self.text.winfo_toplevel().after_idle(self._stay_at_end)  # the log may be gone by then

    def _touch(self, _: object = None) -> None:
        """The reader is about to scroll."""
        self._touched_at = time.monotonic()

    def _untouch(self, _: object = None) -> None:
        """What moves now does so because of a new size or font."""
        self._touched_at = -TOUCH_TIME

    def scroll(self, *to: object) -> None:
        """The reader scrolls, in the way that Tk's scrollbars ask for it."""
        self._touch()
        self.text.yview(*to)

    def _stay_at_end(self) -> None:
        if self.text.winfo_exists() and self._follow:
            self.text.see("end")

    # What the reader does.

    def entry_at(self, index: str) -> Entry | None:
        """The entry that is drawn at this index of the widget; None where there is none."""
        line = int(self.text.index(index).split(".")[0])
        for entry in self._entries:
            line -= entry.height
            if line <= 0:
                return entry
        return None

    def current(self) -> Entry | None:
        """The one that was chosen with the arrow keys."""
        return self.entry_at("entry.first") if self.text.tag_ranges("entry") else None

    def _step(self, step: int) -> str:
        """Up and Down choose an entry; Enter follows its link, the menu key has all that can be done with it."""
        self._touch()
        current = self.current()
        if not self._entries:
            return "break"
        place = len(self._entries) - 1
        if current is not None:
            place = min(max(self._entries.index(current) + step, 0), place)
        line = 1 + sum(entry.height for entry in self._entries[:place])
        self.text.tag_remove("entry", "1.0", "end")
        self.text.tag_add("entry", f"{line}.0", f"{line + self._entries[place].height}.0")
        self.text.see(f"{line}.0")
        return "break"

    def _follow_first_link(self) -> None:
        """Of the chosen entry."""
        if self.text.tag_ranges("entry") and (found := self.text.tag_nextrange("link", "entry.first", "entry.last")):
            self._follow_link(found[0])

    def _follow_link(self, index: str) -> None:
        """The address of a web page, or the word that its entry ends with."""
        place = self.text.tag_prevrange("link", f"{index} +1c")
        if not place:
            return
        word, entry = self.text.get(*place), self.entry_at(place[0])
        if entry is not None and entry.link is not None and entry.link[0] == word:
            entry.link[1]()
        else:
            show_page(word)

    def selected(self) -> str:
        """What is selected as it is copied: within one message the words, else whole entries with time and name."""
        if not self.text.tag_ranges("sel"):
            return ""
        first, last = self.entry_at("sel.first"), self.entry_at("sel.last-1c")
        if first is None or (first is last and "\t" not in self.text.get("sel.first", "sel.last")):
            return self.text.get("sel.first", "sel.last")
        start = self._entries.index(first)
        end = len(self._entries) if last is None else self._entries.index(last) + 1
        return "\n".join(entry.plain() for entry in self._entries[start:end])

    def _copy(self) -> str:
        if text := self.selected():
            copy(self.text, text)
        return "break"

    def find(self, wanted: str, *, backwards: bool) -> bool:
        """Marks the places, and shows the next one; from the end at first. Whether there is any."""
        self._touch()
        text = self.text
        is_first = not text.tag_ranges("found now")
        here = text.index("end" if is_first else "found now.first" if backwards else "found now.last")
        self.end_find()
        places = self._places(wanted) if wanted else []
        if not places:
            return False
        text.tag_add("found", *(f"{line}.{column}" for line, *columns in places for column in columns))
        line, column = map(int, here.split("."))
        earlier = sum(place < (line, column) for place in places)
        line, first, last = places[earlier - 1 if backwards or is_first else earlier % len(places)]
        text.tag_add("found now", f"{line}.{first}", f"{line}.{last}")
        text.tag_raise("found now", "found")
        text.see(f"{line}.{first}")
        return True

    def _places(self, wanted: str) -> list[tuple[int, int, int]]:
        """Line, column and column of the end. Tk 8.6 ends the program if it searches an emoji in capitals or small."""
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


class Composer:
    """The box one types in: Enter sends, Shift+Enter makes a new line, up to six lines high.

    Only sending ever empties it. `send` gets the text, tidied and not too long.
    """

    def __init__(self, parent: tk.Misc, looks: Looks, send: Callable[[str], None]) -> None:
        self._looks = looks
        self._send = send
        self.frame = looks.card(parent)
        self.text = looks.text_box(self.frame, height=1)
        self.text.configure(pady=looks.em * 3 // 4, undo=True, maxundo=200)
        self.text.pack(side="left", fill="both", expand=True)
        looks.show_focus(self.frame, self.text)
        self.problem = ttk.Label(parent, style="Wrong.TLabel")
        self._hint = tk.Label(self.text, text=Words.hint, font=looks.text, background=CARD, foreground=QUIET)
        self._hint.configure(anchor="w", justify="left")
        self._hint.bind("<Button-1>", lambda _: self.text.focus_set())
        for way in ("<<ContextMenu>>", "<<PasteSelection>>"):  # they are for the box, which it covers
            self._hint.bind(way, lambda event, way=way: self.text.event_generate(way, x=event.x, y=event.y))
        self._show_hint()
        on_enter(self.text, self.send)
        self.text.bind("<Shift-Return>", lambda _: None)  # Tk's own: a new line
        self.text.bind("<Shift-KP_Enter>", lambda _: self.insert("\n"))
        self.text.bind("<<Paste>>", lambda _: self.paste())
        self.text.bind("<<Modified>>", lambda _: self._modified())
        self.text.bind("<Configure>", lambda _: self._fit())

    def get(self) -> str:
        return self.text.get("1.0", "end-1c")

    def send(self) -> None:
        self.text.focus_set()  # a click on Send has taken the keyboard away
        text = tidy(net.clean_text(self.get()))
        if self.is_blocked or self._show_problem(text):
            return
        self.text.delete("1.0", "end")
        self.text.edit_reset()
        if text:
            self._send(text)  # the last act: it may have been "exit", and the box is gone

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
        """Nothing can be written for now, and why; "" allows it again. What has been written stays."""
        colours = (PAGE, QUIET) if reason else (CARD, INK)
        self.text.configure(state="disabled" if reason else "normal", background=colours[0], foreground=colours[1])
        self._hint.configure(text=reason or Words.hint, background=colours[0])
        self._fit()

    def _show_problem(self, text: str) -> bool:
        """Whether it is too long; if so, by how much is said below the box."""
        problem = ""
        if len(text) > net.MAX_TEXT:
            problem = Words.too_long.format(number=len(text) - net.MAX_TEXT)
        elif text.count("\n") >= net.MAX_TEXT_LINES:
            problem = Words.too_many_lines.format(number=text.count("\n") + 1 - net.MAX_TEXT_LINES)
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

    def paste(self) -> str:
        """Tk's own keeps what is selected (on X11), and what no message can have."""
        with contextlib.suppress(tk.TclError):  # the clipboard is empty, or holds no text
            self.insert(net.clean_text(self.text.clipboard_get())[:MAX_PASTE])
        return "break"

    def _modified(self) -> None:
        if self.text.edit_modified():
            self.text.edit_modified(False)
            self._show_hint()
            self._show_problem(tidy(self.get()))
            self._fit()

    def _show_hint(self) -> None:
        """In an empty box."""
        if self.get():
            self._hint.place_forget()
        else:
            self._hint.place(x=0, rely=0.5, anchor="w", relwidth=1)

    def _fit(self) -> None:
        lines = int(self.text.tk.call(self.text, "count", "-displaylines", "1.0", "end"))
        width = self.text.winfo_width() - 2 * self.text.winfo_fpixels(str(self.text.cget("padx")))
        self._hint.configure(wraplength=width if self.is_blocked else 0)
        if self.is_blocked and width > 0 and not self.get():  # all of the reason is to be read
            lines = self._hint.winfo_reqheight() // self._looks.text.metrics("linespace")
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
        give_place(self._more, row=TRANSFERS_SHOWN, column=0, sticky="w")
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
        if not shown:
            self.frame.configure(height=1)  # a frame that has lost its last child keeps its size


class _TransferRow:
    def __init__(self, parent: tk.Misc, looks: Looks, transfer: int, cancel: Callable[[int], None]) -> None:
        self._looks = looks
        self._name = ttk.Label(parent)
        self._state = ttk.Label(parent, style="Quiet.TLabel")
        self._bar = ttk.Progressbar(parent, length=PROGRESS_WIDTH * looks.em)
        self._button = button(parent, Words.cancel, lambda: cancel(transfer))

    def show(self, row: int, progress: net.Progress, is_narrow: bool) -> None:
        em = self._looks.em
        words = Words.sending_file if progress.is_upload else Words.saving_file
        name = shortened(drawable_name(progress.filename), self._looks.text, (10 if is_narrow else 40) * em)
        self._name.configure(text=words.format(filename=name))
        self._bar.configure(maximum=max(progress.size, 1), value=progress.done)
        self._bar.configure(length=(6 if is_narrow else PROGRESS_WIDTH) * em)
        if progress.is_waiting:
            state = Words.file_waiting
        elif progress.done == progress.size:
            state = Words.file_checking
        else:
            state = Words.file_progress.format(done=file_size(progress.done), size=file_size(progress.size))
        self._state.configure(text=state)
        for column, widget in enumerate((self._name, self._state, self._bar, self._button)):
            left = em // 2 if column else 0
            widget.grid(row=row, column=column, sticky="e" if column else "w", padx=(left, 0), pady=1)
        show(self._state, not is_narrow)

    def close(self) -> None:
        for widget in (self._name, self._state, self._bar, self._button):
            widget.destroy()


class FindBar:
    """Finds words in the log: Enter goes on upwards, to what was said before, Shift+Enter downwards."""

    def __init__(self, parent: tk.Misc, looks: Looks, messages: Log, closed: Callable[[], None]) -> None:
        self._looks = looks
        self._messages = messages
        self._closed = closed
        self.frame = ttk.Frame(parent)
        self.frame.columnconfigure(1, weight=1)
        ttk.Label(self.frame, text=Words.find).grid(row=0, column=0)
        self.entry = ttk.Entry(self.frame, font=looks.text, width=8)
        self.entry.grid(row=0, column=1, sticky="ew", padx=looks.em // 2)
        self.state = ttk.Label(self.frame, text=Words.not_found, style="Wrong.TLabel")
        give_place(self.state, row=1, column=1, columnspan=4, sticky="w", padx=looks.em // 2)
        for column, (sign, backwards) in enumerate((("\u2191", True), ("\u2193", False)), 2):
            arrow = button(self.frame, sign, lambda backwards=backwards: self.find(backwards=backwards))  # type: ignore[misc]
            arrow.configure(width=2)
            arrow.grid(row=0, column=column, padx=(0, looks.em // 2))
        button(self.frame, Words.close, self.close).grid(row=0, column=4)
        on_enter(self.entry, self.find)
        for key in ("<Shift-Return>", "<Shift-KP_Enter>"):
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
        self.text.pack(fill="both", expand=True)
        looks.show_focus(self.frame, self.text)

    def fit(self, *, is_narrow: bool) -> None:
        """Two columns; in a narrow window what a key does stands below it."""
        text, em = self.text, self._looks.em
        column = 2 * em if is_narrow else 22 * em
        text.configure(state="normal", tabs=(column,))
        text.delete("1.0", "end")
        for keys, words in Words.keys:
            end = "\n" if is_narrow else "\t"
            text.insert("end", self._looks.key(keys) + end, "keys", f"{self._looks.key(words)}\n", "words")
        text.configure(state="disabled")
        text.tag_configure("keys", font=self._looks.bold, spacing1=em // 3)
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
    """The list of who is here; for the host with what can be done to whoever is chosen in it, and to all.

    What changes shows at `flush`. `control` has something done by the host's own room; nobody else has it.
    """

    def __init__(self, parent: tk.Misc, looks: Looks, control: Control | None, show_commands: ShowCommands) -> None:
        self._looks = looks
        self._control = control
        self._show_commands = show_commands
        self.names: dict[int, str] = {}
        self._host = self._own = 0
        self._is_paused = False
        self._controls = net.Controls((), ())
        self._shown: list[tuple[int, bool]] = []  # number, is removed; of each line
        self._changed = False
        self.frame = ttk.Frame(parent)
        self.title = ttk.Label(self.frame, style="Bold.TLabel")
        self.title.pack(anchor="w", pady=(0, looks.em // 2))
        bar = ttk.Frame(self.frame)
        card = looks.card(self.frame)
        self.list = looks.list_box(card)
        self.list.pack(side="left", fill="both", expand=True, padx=looks.em // 2, pady=looks.em // 2)
        looks.scrollbar(card, self.list)
        looks.show_focus(card, self.list)
        self.mute = button(bar, Words.mute, self._mute)
        self.remove = button(bar, Words.remove, self._remove)
        self.pause = button(bar, Words.pause, self._pause)
        if control is not None:
            self._place_bar(bar)
            self._bind()
        card.pack(fill="both", expand=True)

    def _place_bar(self, bar: ttk.Frame) -> None:
        gap = self._looks.em // 2
        bar.pack(side="bottom", fill="x", pady=(gap, 0))
        bar.columnconfigure((0, 1), weight=1, uniform="bar")
        self.mute.grid(row=0, column=0, sticky="ew")
        self.remove.grid(row=0, column=1, sticky="ew", padx=(gap, 0))
        self.pause.grid(row=1, column=0, columnspan=2, sticky="ew", pady=(gap, 0))

    def _bind(self) -> None:
        self.list.bind("<<ListboxSelect>>", lambda _: self._show_bar())
        self.list.bind("<<ContextMenu>>", self._show_menu)
        self.list.bind("<<MenuKey>>", lambda _: self._show_menu(None))
        on_enter(self.list, lambda: self._show_menu(None))

    # What the room says.

    def begin(self, welcome: net.Welcome) -> None:
        self.names = dict(welcome.people)
        self._host, self._own = welcome.host or net.HOST, welcome.who
        self._changed = True

    def came(self, who: int, name: str) -> None:
        self.names[who] = name
        self._changed = True

    def went(self, who: int) -> None:
        self.names.pop(who, None)
        self._changed = True

    def show_controls(self, controls: net.Controls) -> None:
        """Who is muted, and who was removed."""
        self._controls = controls
        self._changed = True

    def show_paused(self, on: bool) -> None:
        self._is_paused = on
        self._show_bar()

    def fit(self) -> None:
        """For the font as it is now."""
        self._changed = True

    def flush(self) -> bool:
        """Whether there was anything new."""
        if not self._changed:
            return False
        self._changed = False
        self.title.configure(text=Words.people.format(number=len(self.names)))
        line = self.chosen_line()
        chosen = None if line is None else self._shown[line]
        where = self.list.yview()[0]
        lines = self._sorted()
        self._shown = [(who, is_removed) for who, is_removed, _ in lines]
        self.list.delete(0, "end")
        self.list.insert("end", *(words for _, _, words in lines))
        for line, (who, is_removed) in enumerate(self._shown):
            if is_removed or who in self._controls.muted:
                self.list.itemconfigure(line, foreground=QUIET)
        if chosen in self._shown:
            self.list.selection_set(self._shown.index(chosen))
            self.list.activate(self._shown.index(chosen))  # from there the arrow keys go on
        self.list.yview_moveto(where)
        self._show_bar()
        return True

    def _sorted(self) -> list[tuple[int, bool, str]]:
        """The host, the others in alphabetical order, and for the host those who were removed; each with its words."""
        marks = {(True, True): Words.host_and_you_mark, (True, False): Words.host_mark, (False, True): Words.you_mark}
        lines = []
        for who, name in sorted(self.names.items(), key=lambda person: (person[0] != self._host, person[1].casefold())):
            words = marks.get((who == self._host, who == self._own), "{name}")
            lines.append((who, False, self._marked(Words.muted_mark if who in self._controls.muted else words, name)))
        return lines + [(who, True, self._marked(Words.removed_mark, name)) for who, name in self._controls.removed]

    def _marked(self, words: str, name: str) -> str:
        looks = self._looks
        width = PEOPLE_WIDTH * looks.em - looks.text.measure(words.format(name=""))
        return words.format(name=shortened(drawable_name(name), looks.text, width))

    # What the host does.

    def chosen_line(self) -> int | None:
        lines: tuple[int, ...] = self.list.curselection()  # type: ignore[no-untyped-call]
        return lines[0] if lines else None

    def _chosen(self) -> tuple[int, bool]:
        """Number of the person who is chosen, and whether they were removed; 0 for nobody, or oneself."""
        line = self.chosen_line()
        who, is_removed = (0, False) if line is None else self._shown[line]
        return (who, is_removed) if who != self._own else (0, False)

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
        self.pause.configure(text=Words.go_on if self._is_paused else Words.pause)

    def _show_menu(self, event: tk.Event[tk.Listbox] | None) -> str:
        """What the buttons do, where the mouse is or, by keyboard, at the person who is chosen."""
        if event is not None:
            nearest = f"@{event.x},{event.y}"
            _, top, _, height = self.list.bbox(nearest) or (0, 0, 0, 0)
            if event.y >= top + height:  # below the last one
                return "break"
            self.list.selection_clear(0, "end")
            self.list.selection_set(nearest)
            self.list.focus_set()
        self._show_bar()
        buttons = [each for each in (self.mute, self.remove) if each.instate(["!disabled"])]
        if buttons:
            x, y, _, height = self.list.bbox(self.chosen_line() or 0) or (0, 0, 0, 0)
            place = (event.x, event.y) if event is not None else (x, y + height)
            self._show_commands([as_command(each) for each in buttons], self.list, place)
        return "break"


class Pair:
    """Two widgets side by side or, where that is too narrow, one above the other."""

    def __init__(self, parent: tk.Misc, looks: Looks) -> None:
        self._looks = looks
        self.frame = ttk.Frame(parent)
        self.frame.columnconfigure(0, weight=1)
        self.first = ttk.Frame(self.frame)
        self.second = ttk.Frame(self.frame)
        self.first.grid(row=0, column=0, sticky="ew")
        self.stack(False)

    def stack(self, on: bool) -> None:
        gap = self._looks.em
        row, column, left = (1, 0, 0) if on else (0, 1, gap)
        self.second.grid(row=row, column=column, sticky="w" if on else "e", padx=(left, 0), pady=(gap // 2 * on, 0))


def wrapped(parent: tk.Misc, style: str = "TLabel", **options: Any) -> ttk.Label:
    """A label that breaks its text where it is as wide as it may be: to be filled in x."""
    label = ttk.Label(parent, style=style, **options)
    label.bind("<Configure>", lambda event: label.configure(wraplength=event.width))
    return label


HIDDEN = "\u2022"  # drawn in place of each letter


class PasswordBox:
    """An entry whose text is hidden, because the window may be on a projector, with a button that shows it."""

    def __init__(self, row: ttk.Frame, looks: Looks, text: str, changed: Callable[[], None]) -> None:
        self.entry = ttk.Entry(row, font=looks.text, show=HIDDEN, width=8)
        self.entry.insert(0, text)
        on_change(self.entry, changed)
        self.button = button(row, Words.show, self.toggle)
        self.button.pack(side="right", padx=(looks.em, 0))
        self.entry.pack(side="right", fill="x", expand=True)  # last: what is too narrow is narrow here
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

    `inner` is to be filled, with a label `message` in it.
    """

    message: ttk.Label

    def __init__(self, app: App, *, centred: bool) -> None:
        self._app = app
        self._looks = looks = app.looks
        self._centred = centred
        self.frame = ttk.Frame(app.root)
        self.menu = looks.menu(self.frame)
        background = looks.style.lookup("TFrame", "background")
        self._canvas = tk.Canvas(self.frame, highlightthickness=0, background=background, width=1, height=1)
        self._scrollbar = ttk.Scrollbar(self.frame, command=self._canvas.yview)
        self._canvas.configure(yscrollcommand=self._scrollbar.set)
        self._canvas.pack(side="left", fill="both", expand=True)
        self.inner = ttk.Frame(self._canvas, padding=(2 * looks.em, looks.em))
        self._item = self._canvas.create_window(0, 0, window=self.inner, anchor="n")
        self._canvas.bind("<Configure>", lambda _: self._place())
        self.inner.bind("<Configure>", lambda _: self._place())

    def _place(self) -> None:
        canvas, height = self._canvas, self.inner.winfo_reqheight()
        width, most = canvas.winfo_width(), (MOST_WIDE + 4) * self._looks.em
        free = canvas.winfo_height() - height
        top = max(0, free * 2 // 5) if self._centred else 0
        canvas.coords(self._item, width // 2, top)
        canvas.itemconfigure(self._item, width=min(width, most))
        canvas.configure(scrollregion=(0, 0, width, max(height, canvas.winfo_height())))
        if free < 0:
            self._scrollbar.pack(side="right", fill="y")
        else:
            self._scrollbar.pack_forget()

    def scroll(self, units: int) -> None:
        """By the mouse wheel."""
        if self._scrollbar.winfo_ismapped():
            self._canvas.yview_scroll(units, "units")

    def drag(self, pixels: int) -> None:
        """By a touchpad: what is seen moves down by so much."""
        if self._scrollbar.winfo_ismapped():
            self._canvas.yview_moveto((self._canvas.canvasy(0) - pixels) / self.inner.winfo_height())

    def show(self, widget: tk.Misc) -> None:
        """It has got the keyboard."""
        if not str(widget).startswith(f"{self.inner}."):
            return
        height = max(self.inner.winfo_height(), 1)
        top, bottom = self._canvas.yview()
        first = (widget.winfo_rooty() - self.inner.winfo_rooty()) / height
        last = first + widget.winfo_height() / height
        if first < top or last > bottom:
            self._canvas.yview_moveto(max(0.0, (first + last - (bottom - top)) / 2))

    def say(self, text: str, wrong: bool = False) -> None:
        self.message.configure(text=text, style="Wrong.TLabel" if wrong else "Quiet.TLabel")

    def fit(self) -> None:
        """For the font as it is now: most changes by itself."""

    def flush(self) -> None:
        """Shows what has come since the last time."""

    def close(self) -> None:
        self.frame.destroy()


class FirstPage(Scrolled):
    """A name, and the two buttons."""

    def __init__(self, app: App) -> None:
        super().__init__(app, centred=True)
        looks, box = app.looks, self.inner
        wrapped(box, "Title.TLabel", text=Words.program, anchor="center", justify="center").pack(fill="x")
        slogan = wrapped(box, "Quiet.TLabel", text=Words.slogan, anchor="center", justify="center")
        slogan.pack(fill="x", pady=(looks.em // 2, 3 * looks.em))
        ttk.Label(box, text=Words.your_name).pack(anchor="w")
        self.name = ttk.Entry(box, font=looks.text, width=12)
        self.name.insert(0, app.name)
        self.name.pack(fill="x", pady=(looks.em // 3, looks.em))
        self._make_password(box, looks)
        self.host = button(box, Words.host, self._host, "Accent.TButton")
        self.host.pack(fill="x")
        self.join = button(box, Words.join, self._join)
        self.join.pack(fill="x", pady=looks.em)
        self.message = wrapped(box, anchor="center", justify="center")
        self.message.pack(fill="x", pady=looks.em)
        on_enter(self.name, self.host.focus_set)  # most people join: Enter alone must not open a room

    def _make_password(self, box: ttk.Frame, looks: Looks) -> None:
        ttk.Label(box, text=Words.room_password).pack(anchor="w")
        row = ttk.Frame(box)
        row.pack(fill="x", pady=(looks.em // 3, 0))
        self.password = PasswordBox(row, looks, self._app.password, self._warn)
        self.suggest = button(row, Words.suggest, self._suggest)
        self.suggest.pack(side="right", padx=(looks.em, 0), before=self.password.button)
        self.password_note = wrapped(box, "Quiet.TLabel")
        self.password_note.pack(fill="x", pady=(looks.em // 3, looks.em))
        on_enter(self.password.entry, lambda: self.host.focus_set())
        if not net.CAN_ENCRYPT:
            self.suggest.state(["disabled"])
            self.password_note.configure(text=needs_new_python())

    def _suggest(self) -> None:
        self.password.set(net.suggest_password())
        self._warn()

    def _warn(self) -> None:
        if net.CAN_ENCRYPT:
            is_weak = self.password.get() != "" and net.is_weak_password(self.password.get())
            self.password_note.configure(text=Words.weak_password if is_weak else "")

    def focus(self) -> None:
        self.name.focus_set()
        self.name.selection_range(0, "end")

    def busy(self, text: str) -> None:
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
    """The rooms that are found, and a box for the address of one that is not."""

    def __init__(self, app: App) -> None:
        super().__init__(app, centred=False)
        self.rooms: tuple[net.FoundRoom, ...] = ()
        self._wanted: tuple[str, int] | None = None  # address and port of the last attempt ...
        self._typed_then = app.address  # ... what stood in the address box then ...
        self._chosen_then: tuple[str, ...] = ()  # ... and what was chosen in the list, by hand or by itself
        self._pressed = ""  # the row on which the mouse button went down
        self._found: net.Events = queue.Queue()
        self._finder = net.find_rooms(self._found)
        looks, box = app.looks, self.inner
        top = ttk.Frame(box)
        top.pack(fill="x", pady=(0, looks.em))
        self.back = button(top, Words.back, lambda: app.leave(""))
        self.back.pack(side="right")
        ttk.Label(top, text=Words.join, style="Title.TLabel").pack(side="left")
        self.heading = ttk.Label(box, text=Words.looking)
        self.heading.pack(anchor="w")
        self._make_list(box, looks)
        ttk.Label(box, text=Words.address).pack(anchor="w")
        row = ttk.Frame(box)
        row.pack(fill="x", pady=looks.em // 3)
        self.address = ttk.Entry(row, font=looks.text, width=12)
        self.address.insert(0, app.address)
        self.address.pack(side="left", fill="x", expand=True)
        self.join = button(row, Words.join_button, self._join_typed, "Accent.TButton")
        self.join.pack(side="left", padx=(looks.em, 0))
        wrapped(box, "Quiet.TLabel", text=Words.address_help).pack(fill="x")
        ttk.Label(box, text=Words.join_password).pack(anchor="w", pady=(looks.em, 0))
        row = ttk.Frame(box)
        row.pack(fill="x", pady=looks.em // 3)
        self.password = PasswordBox(row, looks, app.password, lambda: None)
        on_enter(self.password.entry, self._join_again)
        if not net.CAN_ENCRYPT:
            wrapped(box, "Quiet.TLabel", text=needs_new_python()).pack(fill="x")
        self.message = wrapped(box)
        self.message.pack(fill="x", pady=looks.em)
        on_enter(self.address, self._join_typed)
        self._nothing_found = self.frame.after(NOTHING_FOUND_AFTER, self._tell_nothing_found)

    def _make_list(self, box: ttk.Frame, looks: Looks) -> None:
        card = looks.card(box)
        card.pack(fill="x", pady=(looks.em // 3, looks.em))
        self.list = ttk.Treeview(card, columns=("title", "people", "password"), show="", height=4, selectmode="browse")
        self.list.pack(side="left", fill="x", expand=True)
        self.fit()
        looks.scrollbar(card, self.list)
        on_enter(self.list, self._join_chosen)
        self.list.bind("<Button-1>", self._press)
        self.list.bind("<ButtonRelease-1>", self._release)

    def fit(self) -> None:
        """For the font as it is now."""
        em = self._app.looks.em
        self.list.column("title", width=8 * em, minwidth=8 * em, stretch=True)
        self.list.column("people", width=10 * em, minwidth=8 * em, stretch=False, anchor="e")
        self.list.column("password", width=11 * em, minwidth=4 * em, stretch=False, anchor="center")

    def focus(self) -> None:
        self.address.focus_set()
        self.address.selection_range(0, "end")

    def busy(self, text: str) -> None:
        self.say(text)
        self.join.state(["disabled"])

    def failed(self, text: str) -> None:
        self.say(text, wrong=True)
        self.join.state(["!disabled"])

    def ask_for_password(self) -> None:
        """It is missing, or wrong, or there should be none: that can be mended in its box."""
        self.password.entry.focus_set()
        self.password.entry.selection_range(0, "end")

    def close(self) -> None:
        self._finder.close()
        self.frame.after_cancel(self._nothing_found)
        super().close()

    def flush(self) -> None:
        """Shows the newest list of rooms, if there is a new one."""
        newest = None
        while not self._found.empty():
            newest = self._found.get()
        if isinstance(newest, net.Found):
            self.show_rooms(newest.rooms)

    def show_rooms(self, rooms: tuple[net.FoundRoom, ...]) -> None:
        """The rooms that are heard now. What is chosen stays chosen; the first room that comes is chosen by itself."""
        is_first = not self.rooms
        self.rooms = rooms
        shown = set(self.list.get_children())
        for room in rooms:
            values = self._row(room)
            if row_of(room) in shown:
                self.list.item(row_of(room), values=values)
            else:
                self.list.insert("", "end", iid=row_of(room), values=values)
        self.list.delete(*(shown - {row_of(room) for room in rooms}))
        self.heading.configure(text=Words.found if rooms else Words.looking)
        if rooms and not self.list.selection():
            self.list.selection_set(row_of(rooms[0]))
            self.list.focus(row_of(rooms[0]))
            self._chosen_then = (row_of(rooms[0]),)
        if is_first and rooms:
            if self.message.cget("text") == Words.nothing_found:
                self.say("")
            # The box may not have got the keyboard yet: it does so when it is drawn.
            is_there = self.frame.focus_lastfor() in (self.address, self.frame.winfo_toplevel())
            untouched = self.address.get() in ("", self._app.address) and is_there
            if untouched and not self.message.cget("text"):
                self.list.focus_set()  # nothing is being typed or told: Enter joins it

    def _row(self, room: net.FoundRoom) -> tuple[str, str, str]:
        people = Words.people_in_1 if room.people == 1 else Words.people_in
        password = Words.has_password if room.password else ""
        title = drawable_name(room.title)
        if any(o is not room and (o.room == room.room or drawable_name(o.title) == title) for o in self.rooms):
            title = f"{title} ({join_address(room.address, room.port)})"  # anybody may answer in another room's name
        return f" {title}", people.format(number=room.people), password

    def _tell_nothing_found(self) -> None:
        if not self.rooms and not self.message.cget("text"):
            self.say(Words.nothing_found)

    def _press(self, event: tk.Event[ttk.Treeview]) -> None:
        self._pressed = self.list.identify_row(event.y)

    def _release(self, event: tk.Event[ttk.Treeview]) -> None:
        """Whoever has thought better of it moves away before letting go."""
        if 0 <= event.x < self.list.winfo_width() and self.list.identify_row(event.y) == self._pressed:
            self._join_room(self._pressed)

    def _join_chosen(self) -> None:
        for name in self.list.selection():
            self._join_room(name)

    def _join_room(self, name: str) -> None:
        for room in self.rooms:
            if row_of(room) == name and self.join.instate(["!disabled"]):
                self._want(room.address, room.port)
                if room.password and not net.CAN_ENCRYPT:
                    self.say(needs_new_python(), wrong=True)
                elif room.password and not self.password.get():
                    self.say(Words.password_missing)
                    self.ask_for_password()
                else:
                    self._try(room.address, room.port)

    def _join_typed(self) -> None:
        if self.join.instate(["disabled"]):
            return
        try:
            address, port = parse_address(self.address.get())
        except ValueError as error:
            self.say(str(error), wrong=True)
            self.focus()
        else:
            self._app.address = join_address(address, port)
            self._want(address, port)
            self._try(address, port)

    def _want(self, address: str, port: int) -> None:
        if not self.password.get():  # what let us into a room is offered for that room, and for no other
            self.password.set(self._app.passwords.get((address, port), ""))
        self._wanted, self._typed_then, self._chosen_then = (address, port), self.address.get(), self.list.selection()

    def _try(self, address: str, port: int) -> None:
        if is_blank(self.password.get()):
            self.say(Words.empty_password, wrong=True)
            self.ask_for_password()
        else:
            self._app.join(address, port, self.password.get())

    def _join_again(self) -> None:
        """Enter in the password box: the room that asked for it, unless another one was typed or chosen since."""
        is_same_address = self.address.get() == self._typed_then
        if is_same_address and self.list.selection() not in ((), self._chosen_then):
            self._join_chosen()
        elif is_same_address and self._wanted is not None and self.join.instate(["!disabled"]):
            self._try(*self._wanted)
        elif self.address.get().strip():
            self._join_typed()
        else:
            self._join_chosen()


class ChatPage:
    """A room from within: header, messages, people, composer, status; for the host also the controls."""

    def __init__(self, app: App, session: Session, client: net.Client, welcome: net.Welcome) -> None:
        self._app, self._client, self._server = app, client, session.server
        self._hosting = session.server is not None
        self._where = join_address(client.address, client.port)
        self._welcome = welcome
        self.title = drawable_name(welcome.title)
        self._history_left = 0  # events that were before us, and are still to come
        self._is_back = False  # after a break, in the same room
        self._talk: collections.deque[Entry] = collections.deque()  # all of it, for saving
        self._forgotten = 0  # of the talk, because there was too much
        self._numbered: dict[int, Entry] = {}  # the room's number -> what it is about
        self._is_muted = self._is_paused = False
        self._last_own = ""
        self._trouble = ""  # why there is no connection ...
        self._retry_at = 0.0  # ... and when the next attempt begins; monotonic s
        self.over = self._is_gone = self._had_company = self._shows_all_addresses = False
        self._reachable = session.reachable
        self._saved_talks: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()  # path, what went wrong
        self._folder = ""  # where the last file was chosen or saved
        looks = app.looks
        self.frame = ttk.Frame(app.root, padding=looks.em)
        self.frame.rowconfigure(2, weight=1)
        self.frame.columnconfigure(0, weight=1)
        self._make_header(looks)
        self._make_secrecy(looks, session.password)
        self.log = Log(self.frame, looks, self.focus)
        self.people = People(self.frame, looks, self._control if self._hosting else None, app.show_commands)
        self._find = FindBar(self.frame, looks, self.log, self.focus)
        self.notice = wrapped(self.frame, "Quiet.TLabel")
        self._make_question(looks)
        self.transfers = Transfers(self.frame, looks, self._cancel)
        self._make_composer(looks)
        self.status = wrapped(self.frame, "Quiet.TLabel")
        self.menu = looks.menu(self.frame)
        self._keys = Keys(self.frame, looks, self.focus)
        self._is_narrow = self._is_cramped = self._is_roomy = False
        self._people_open = False  # in a narrow window
        self._lay_out()
        self._bind()

    # What it consists of.

    def _make_header(self, looks: Looks) -> None:
        self._header = Pair(self.frame, looks)
        left, right = self._header.first, self._header.second
        self._join_at = ttk.Label(left, text=Words.join_at)
        self._title_label = ttk.Label(left, text=self.title, style="Bold.TLabel")
        self.address = ttk.Label(left, text=self._where, style="Quiet.TLabel")
        self.copy = button(left, Words.copy, lambda: self._copy(self.copy, self.address.cget("text")))
        self.more = button(left, "", self._show_all_addresses)
        if self._hosting:
            self.address.configure(style="TLabel")
        else:
            self._title_label.pack(side="left", padx=(0, looks.em))
            left.bind("<Configure>", lambda event: self._fit_title(event.width))
        self.people_button = button(right, "", self._toggle_people)
        self.menu_button = button(right, Words.menu, self._show_menu)
        self.leave_button = button(right, Words.leave, self._app.ask_to_leave)
        self.menu_button.pack(side="right")

    def _make_secrecy(self, looks: Looks, password: str) -> None:
        """Encrypted or not; and the host's password, hidden until it is asked for."""
        self._secrecy = Pair(self.frame, looks)
        words = Words.encrypted_room if password else Words.open_room
        wrapped(self._secrecy.first, "Quiet.TLabel", text=words).pack(fill="x")
        right = self._secrecy.second
        self.password = ttk.Label(right, text=password, style="Bold.TLabel")
        self.show_password = button(right, Words.show_password, self._toggle_password)
        self.copy_password = button(right, Words.copy_password, lambda: self._copy(self.copy_password, password))
        if password and self._hosting:
            self.show_password.pack(side="left", padx=(0, looks.em // 2))
            self.copy_password.pack(side="left")

    def _toggle_password(self) -> None:
        if self.password.winfo_manager():
            self.password.pack_forget()
            self.show_password.configure(text=Words.show_password)
        else:
            self.password.pack(side="left", padx=(0, self._app.looks.em), before=self.show_password)
            self.show_password.configure(text=Words.hide_password)

    def _make_question(self, looks: Looks) -> None:
        """Asked inside the window: is a room with people in it to be closed?"""
        self._question = Pair(self.frame, looks)
        self.question = wrapped(self._question.first, "Bold.TLabel")
        self.question.pack(fill="x")
        right = self._question.second
        self.close_yes = button(right, Words.close_yes, self._app.leave_room, "Accent.TButton")
        self.close_yes.pack(side="left", padx=(0, looks.em // 2))
        self.close_no = button(right, Words.close_no, self.stay)
        self.close_no.pack(side="left")

    def _make_composer(self, looks: Looks) -> None:
        self.composer = Composer(self.frame, looks, self._say)
        self._buttons = ttk.Frame(self.frame)
        self.send = button(self._buttons, Words.send, self.composer.send, "Accent.TButton")
        self.send.pack(side="left", fill="x", expand=True)
        self.file = button(self._buttons, Words.file, self.choose_files)
        self.file.pack(side="left", fill="x", expand=True, padx=(looks.em // 2, 0))

    def _bind(self) -> None:
        box, messages = self.composer.text, self.log.text
        box.bind("<Prior>", lambda _: self._scroll(-1))
        box.bind("<Next>", lambda _: self._scroll(1))
        box.bind("<Up>", lambda _: self._write_last_again())
        messages.bind("<Key>", self._write_instead, add=True)
        messages.bind("<<Paste>>", lambda _: self._paste_instead())
        messages.bind("<<ContextMenu>>", self._show_entry_menu)
        messages.bind("<<MenuKey>>", lambda _: self._show_entry_menu(None))
        self.frame.bind("<Configure>", lambda _: self._measure())

    # Where it stands.

    def _measure(self) -> None:
        """How much room there is, in widths of a digit."""
        width, height = (size / self._app.looks.em for size in (self.frame.winfo_width(), self.frame.winfo_height()))
        is_narrow = width < NARROW
        is_cramped = width < CRAMPED or height < (NARROW_CRAMPED_HEIGHT if is_narrow else CRAMPED_HEIGHT)
        shape = (is_narrow, is_cramped, width >= ROOMY)
        if shape != (self._is_narrow, self._is_cramped, self._is_roomy):
            self._is_narrow, self._is_cramped, self._is_roomy = shape
            self._lay_out()

    def _lay_out(self) -> None:
        """Wide: log, and people beside it. Narrow: the people come when they are asked for. Cramped: log and composer;
        what the buttons do stands in the menu.
        """
        is_narrow, is_cramped, gap = self._is_narrow, self._is_cramped, self._app.looks.em
        above = (gap // 2, 0)
        wide: dict[str, Any] = {"column": 0, "columnspan": 2, "sticky": "ew"}
        self._header.frame.grid(row=0, pady=(0, gap // 2 if is_cramped else 0), **wide)
        self._secrecy.frame.grid(row=1, pady=(gap // 2, gap), **wide)
        self.log.frame.grid(row=2, column=0, sticky="nsew")
        give_place(self._keys.frame, row=2, rowspan=3, column=0, columnspan=2, sticky="nsew")
        give_place(self._find.frame, row=3, pady=above, **wide)
        give_place(self.notice, row=4, pady=above, **wide)
        give_place(self._question.frame, row=5, pady=(gap, 0), **wide)
        self.transfers.frame.grid(row=6, pady=above, **wide)
        self.composer.frame.grid(row=7, column=0, columnspan=2 if is_narrow else 1, sticky="ew", pady=above)
        if is_narrow:
            self._buttons.grid(row=8, padx=0, pady=above, **wide)
        else:
            self._buttons.grid(row=7, column=1, columnspan=1, sticky="sew", padx=(gap, 0), pady=above)
        self.status.grid(row=9, pady=above, **wide)
        give_place(self.composer.problem, row=10, **wide)
        show(self._secrecy.frame, not is_cramped)
        show(self._buttons, not is_cramped)
        self._show_people()
        self._show_status()
        self._lay_out_header()
        for pair in (self._secrecy, self._question):
            pair.stack(is_narrow)
        for fitting in (self.log, self.transfers, self._keys):
            fitting.fit(is_narrow=is_narrow)

    def _lay_out_header(self) -> None:
        looks, is_narrow, is_cramped = self._app.looks, self._is_narrow, self._is_cramped
        self._header.stack(is_narrow and not is_cramped)
        for each in (self._join_at, self.address, self.copy, self.people_button, self.leave_button):
            each.pack_forget()
        if is_narrow and not is_cramped:
            self.people_button.pack(side="left", padx=(0, looks.em // 2))
        if not is_cramped:
            self.leave_button.pack(side="right", before=self.menu_button)
        self.menu_button.pack(padx=0 if is_cramped else (0, looks.em // 2))
        if self._hosting:
            self.address.configure(font=looks.large if self._is_roomy else looks.bold)
            if self._is_roomy:
                self._join_at.pack(side="left", padx=(0, looks.em))
            self.address.pack(side="left", padx=(0, looks.em))
            if not is_cramped:
                self.copy.pack(side="left")
            self._show_addresses()
        elif not is_cramped:
            self.address.pack(side="left")

    def fit(self) -> None:
        """For the font as it is now."""
        self.people.fit()
        if not self._hosting:
            self._fit_title(self._header.first.winfo_width())
        self._measure()
        self._lay_out()
        self.flush()

    def _show_people(self) -> None:
        gap = self._app.looks.em
        if not self._is_narrow:
            self._people_open = False
            self.people.frame.grid(row=2, column=1, rowspan=1, columnspan=1, sticky="nsew", padx=(gap, 0))
        elif self._people_open:  # in front of everything down to the status
            self.people.frame.grid(row=2, column=0, rowspan=7, columnspan=2, sticky="nsew", padx=0)
            self.people.frame.lift()
        else:
            self.people.frame.grid_remove()

    def _toggle_people(self) -> None:
        self._people_open = not self._people_open
        self._show_people()
        (self.people.list if self._people_open else self.composer.text).focus_set()

    def _fit_title(self, width: int) -> None:
        looks = self._app.looks
        address = 0 if self._is_cramped else looks.text.measure(self._where) + looks.em
        free = max(width - address - looks.em, 8 * looks.em)
        self._title_label.configure(text=shortened(self.title, looks.bold, free))

    def _uncover(self) -> None:
        """Takes away what stands in front of the log, the question and the composer."""
        self._keys.hide()
        if self._people_open:
            self._toggle_people()

    def focus(self) -> None:
        self._uncover()
        self.composer.text.focus_set()

    def close(self) -> None:
        self._is_gone = True
        self.frame.destroy()

    # Where others can join, and what else is to be said below the log.

    def _show_addresses(self) -> None:
        addresses = self._addresses()
        self.address.configure(text=addresses[0] if addresses else Words.no_address)
        self.copy.state(["!disabled" if addresses else "disabled"])
        if len(addresses) > 1 and not self._is_cramped:
            self.more.configure(text=Words.more_addresses.format(number=len(addresses) - 1))
            self.more.pack(side="left", padx=self._app.looks.em, after=self.copy)
        else:
            self.more.pack_forget()
        self._show_notice()

    def _addresses(self) -> list[str]:
        return [join_address(address, self._client.port) for address in self._reachable.addresses]

    def _show_notice(self) -> None:
        sentences = self._about_addresses() if self._hosting and not self._is_cramped else []
        if self._is_paused and self._hosting:
            sentences.append(Words.you_paused)
        elif self.composer.is_blocked and not self.over and self.composer.get():  # an empty box says it itself
            sentences.append(Words.muted if self._is_muted else Words.paused)
        self.notice.configure(text="\n".join(sentences))
        show(self.notice, sentences != [])

    def _about_addresses(self) -> list[str]:
        sentences = []
        addresses = self._addresses()
        if self._shows_all_addresses and len(addresses) > 1:
            sentences.append(Words.also_at.format(addresses=", ".join(addresses[1:])))
        if addresses and not self._reachable.findable:
            sentences.append(Words.not_findable.format(address=addresses[0]))
        if addresses and not self._had_company:
            sentences.append(Words.nobody_yet.format(room=self.title, address=addresses[0]))
        return sentences

    def _show_all_addresses(self) -> None:
        self._shows_all_addresses = not self._shows_all_addresses
        self._show_addresses()

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
        """Whoever types while the log has the keyboard means the composer."""
        is_command = int(event.state) & NO_LETTER
        if not event.char or not event.char.isprintable() or is_command or self.composer.is_blocked:
            return None
        self.focus()
        return self.composer.insert(event.char)

    def _paste_instead(self) -> str:
        """The same for what is pasted."""
        if self.composer.is_blocked:
            return "break"
        self.focus()
        return self.composer.paste()

    def choose_files(self) -> None:
        if self.composer.is_blocked:
            return
        folder = self._folder or str(Path.home())
        self.share(*self._ask(filedialog.askopenfilenames, title=Words.choose_files, initialdir=folder))

    def share(self, *paths: str) -> None:
        """Gives files to everybody in the room."""
        for path in paths:
            self._folder = os.path.dirname(path)
            self._client.share(path)

    def _choose_target(self, file: net.Shared) -> None:
        path = self._ask_where(Words.save_as, net.clean_filename(file.filename))
        if path:
            self._client.save(file, path)

    def _ask_where(self, title: str, name: str) -> str:
        """A path; "" if the person has thought better of it."""
        folder = self._folder or downloads_folder()
        name = re.sub(r"\A~", "_", name)  # to Tk 8.6 that is somebody's home
        path: str = self._ask(filedialog.asksaveasfilename, title=title, initialdir=folder, initialfile=name) or ""
        if path:
            self._folder = os.path.dirname(path)
        return path

    def _ask(self, dialog: Callable[..., Any], **options: str) -> Any:
        """What the person chooses; nothing if the page has gone meanwhile, and its dialog with it."""
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

    def save_talk(self) -> None:
        """Asks where, and writes down all that this window has received; a thread does it, the disk may be slow."""
        name = f"{self.title} {time.strftime('%Y-%m-%d')}.txt"
        path = self._ask_where(Words.save_talk, net.clean_filename(name))
        if path:
            text = talk_text(self.title, list(self._talk), self._forgotten)
            arguments = (path, text, self._saved_talks)
            threading.Thread(target=save_text, args=arguments, name="saving the talk").start()

    def find(self) -> None:
        self._uncover()
        self._find.open()

    def toggle_keys(self) -> None:
        self._keys.toggle()

    def escape(self) -> None:
        """Puts away whatever was opened, and goes back to the composer."""
        if self._find.frame.winfo_ismapped():
            self._find.close()
        self.stay()

    def _write_again(self, entry: Entry, text: str) -> None:
        """One's own line that was not sent: into the composer again."""
        if not self.over and not self.composer.is_blocked:
            self.log.remove(entry)
            self.composer.give_back(text)

    def _cancel(self, transfer: int) -> None:
        self._client.cancel(transfer)
        self.focus()  # the button will be gone, and what one types next is a message

    def _copy(self, pressed: ttk.Button, text: str) -> None:
        words = str(pressed.cget("text"))
        copy(pressed, text)
        self.focus()
        if words != Words.copied:
            pressed.configure(text=Words.copied)
            root = pressed.winfo_toplevel()  # the button may be gone by then, and what it has asked for with it
            root.after(COPIED_TIME, lambda: pressed.winfo_exists() and pressed.configure(text=words))

    def ask(self) -> bool:
        """Before a room with others in it is closed. True if it was asked already: a second time is a yes."""
        is_asked = self._question.frame.winfo_ismapped() and not self._people_open  # else it is covered
        if not self._hosting or self._others() < 1 or self.over or is_asked:
            return True
        self.frame.winfo_toplevel().deiconify()  # it may be closed from the taskbar
        self._uncover()
        self._count_others()
        show(self._question.frame, True)
        self._question.frame.update_idletasks()
        return False

    def _others(self) -> int:
        return len(self.people.names) - 1

    def _count_others(self) -> None:
        """How many people the question is about."""
        words = Words.close_question if self._others() > 1 else Words.close_question_1
        self.question.configure(text=words.format(number=self._others()))

    def _end_question(self) -> None:
        """There is nothing to ask any more; whatever is being written goes on."""
        if self.frame.focus_lastfor() in (self.close_yes, self.close_no):
            self.focus()
        show(self._question.frame, False)

    def stay(self) -> None:
        show(self._question.frame, False)
        self.focus()

    # What the host does.

    def _control(self, action: Callable[[net.Server], None]) -> None:
        if self._server is not None and not self.over:
            try:
                action(self._server)
            except ValueError:  # somebody, or something, that is not known any more
                self.log.add_note(Words.not_known, wrong=True)

    # Menus.

    def _show_menu(self) -> None:
        app = self._app
        commands: list[Command] = [
            (Words.find, self.find),
            (Words.menu_save_talk, self.save_talk),
            (Words.menu_larger, lambda: app.zoom(1)),
            (Words.menu_smaller, lambda: app.zoom(-1)),
            (Words.menu_full_screen, app.toggle_full_screen),
            (Words.menu_keys, self.toggle_keys),
        ]
        if self._hosting:
            commands.insert(0, as_command(self.people.pause))
        if self._is_cramped:
            commands.append((Words.file, self.choose_files))
            if self._is_narrow:
                commands.append(as_command(self.people_button))
            commands.append((Words.leave, self._app.ask_to_leave))
        app.show_commands(commands, self.menu_button, (0, self.menu_button.winfo_height()))

    def _show_entry_menu(self, event: tk.Event[tk.Text] | None) -> str:
        """For the entry under the mouse or, by keyboard, the one that is chosen."""
        messages = self.log
        entry = messages.current() if event is None else messages.entry_at(f"@{event.x},{event.y}")
        commands: list[Command] = []
        if messages.selected():
            commands.append((Words.copy_selected, lambda: messages.text.event_generate("<<Copy>>")))
        if entry is not None:
            commands.append((Words.copy_entry, lambda: copy(messages.text, entry.plain())))
            if entry.link is not None and not entry.taken_back:
                commands.append(entry.link)
            if self._hosting and entry.number and not entry.taken_back:
                commands.append((Words.take_it_back, lambda: self._control(lambda room: room.delete(entry.number))))
        commands.append((Words.menu_save_talk, self.save_talk))
        x, y, _, height = (messages.text.bbox("entry.first") if messages.current() else None) or (0, 0, 0, 0)
        place = (event.x, event.y) if event is not None else (x, y + height)
        self._app.show_commands(commands, messages.text, place)
        return "break"

    # What the room says.

    def handle(self, event: net.Event) -> None:
        """Takes one event; it is seen after the next `flush`."""
        if isinstance(event, net.Numbered):
            is_history = self._history_left > 0
            if is_history:
                self._history_left -= 1
            self._handle_numbered(event, is_history)
            return
        match event:
            case net.Welcome():
                self._handle_welcome(event)
            case net.Muted():
                self._is_muted = event.on
                self._silence()
            case net.Sending():
                self.log.add_on_its_way(event.id, event.text)
            case net.Settled():
                text = self.log.remove_on_its_way(event.id)
                if text is not None:
                    self._add(Entry(time.time(), text, self._welcome.who, self._welcome.name))
                    self._note(Words.settled)
            case net.Rejected():
                self._handle_rejected(event)
            case net.Lost():
                self._tell_trouble(event)
            case net.Refused() | net.Closed():
                self._end(event)
            case net.Progress():
                self.transfers.show(event)
            case net.Uploaded():
                self.transfers.remove(event.transfer)
            case net.Saved():
                self.transfers.remove(event.transfer)
                self._tell_saved(event.path)
            case net.Failed():
                self._tell_failed(event, self.transfers.remove(event.transfer))
            case net.Reachable():
                self._reachable = event
                self._show_addresses()
            case net.WrongPassword():
                words = Words.guessed if event.address else Words.guessed_everywhere
                self._note(words.format(address=event.address, number=event.times))
            case net.Controls():
                self.people.show_controls(event)
            case net.RoomFailed():
                self._note(Words.room_failed)
            case net.Found():
                pass  # for the join page, which has a queue of its own
            case _:
                assert_never(event)

    def _handle_numbered(self, event: net.Numbered, is_history: bool) -> None:
        match event:
            case net.Said():
                if event.who == self._welcome.who:
                    self.log.remove_on_its_way(event.id)
                entry = Entry(event.time, event.text, event.who, event.name, event.number, taken_back=event.taken_back)
                self._add_heard(entry, is_history)
            case net.Shared():
                self._add_heard(self._file_entry(event), is_history)
            case net.TakenBack():
                self._handle_taken_back(event.which)
            case net.Paused():
                if not is_history:  # the welcome has told how it is now
                    self._is_paused = event.on
                    self._note(Words.was_paused if event.on else Words.goes_on)
                    self._silence()
            case net.Joined() | net.Left() if is_history:
                pass  # the list of people is already as it was after them
            case net.Joined():
                self.people.came(event.who, event.name)
                if not self._is_paused:  # else somebody could talk through names
                    self._note(Words.joined.format(name=drawable_name(event.name)))
            case net.Left():
                self.people.went(event.who)
                words = Words.left.get(event.reason, Words.left["left"])
                if not self._is_paused:
                    self._note(words.format(name=drawable_name(event.name)))
            case _:
                assert_never(event)

    def _handle_welcome(self, welcome: net.Welcome) -> None:
        before, self._welcome = self._welcome, welcome
        is_first = welcome is before  # the page was made with it
        self._is_back = not is_first and welcome.room == before.room
        if welcome.room != before.room:
            self._numbered.clear()
            self.title = drawable_name(welcome.title)
            self._app.show_title()
            self._fit_title(self._header.first.winfo_width())
            if welcome.title == before.title:
                self._note(Words.reopened.format(room=self.title))
        if is_first or (welcome.title, welcome.name) != (before.title, before.name):
            self._tell_name(welcome.name)
        if welcome.missed:
            words = Words.missed if welcome.missed > 1 else Words.missed_1
            self._note(words.format(number=welcome.missed))
        self.log.begin(welcome)
        self._history_left = welcome.files + welcome.history
        self.people.begin(welcome)
        self._is_muted, self._is_paused = welcome.muted, welcome.paused
        self._silence()
        self._trouble = ""
        self.say(Words.connected)

    def _tell_name(self, name: str) -> None:
        """The room and the name in it; and why it is not the one that was wanted."""
        self._note(Words.you_are_in.format(room=self.title, name=drawable_name(name)))
        wanted = net.clean_name(self._app.name)
        if name != wanted:
            self._note(Words.renamed.format(wanted=drawable_name(wanted), name=drawable_name(name)))

    def _silence(self) -> None:
        """Whether this person may write now."""
        reason = Words.muted if self._is_muted else Words.paused if self._is_paused and not self._hosting else ""
        if self.over:
            reason = Words.over
        self.composer.block(reason)
        for each in (self.send, self.file):
            each.state(["disabled" if reason else "!disabled"])
        self._show_notice()
        self.people.show_paused(self._is_paused)

    # What is kept and drawn.

    def _add(self, entry: Entry) -> None:
        self._talk.append(entry)
        if entry.number:
            self._numbered[entry.number] = entry
        if len(self._talk) > TALK_ENTRIES:
            self._forgotten += 1
            oldest = self._talk.popleft()
            if self._numbered.get(oldest.number) is oldest:  # else it was said in an earlier room
                del self._numbered[oldest.number]
        self.log.add(entry)

    def _note(self, text: str) -> None:
        self._add(Entry(time.time(), text))

    def _add_heard(self, entry: Entry, is_history: bool) -> None:
        """Somebody has said or shared something: perhaps whoever sits here looks elsewhere.

        What was before one came is nothing new; what was said during a break is.
        """
        self._add(entry)
        if entry.who != self._welcome.who and (self._is_back or not is_history):
            self._app.notice()

    def _file_entry(self, file: net.Shared) -> Entry:
        name = drawable_name(net.clean_filename(file.filename))
        text = "" if file.taken_back else Words.shared.format(filename=name, size=file_size(file.size))
        link = (Words.save, lambda: self._choose_target(file))
        return Entry(file.time, text, file.who, file.name, file.number, link=link, taken_back=file.taken_back)

    def _handle_taken_back(self, number: int) -> None:
        entry = self._numbered.get(number)
        if entry is not None and not entry.taken_back:
            entry.taken_back = True
            if not self._hosting:  # whoever has taken it back may still look up what it was
                entry.text = ""
            self.log.redraw(entry)

    def _handle_rejected(self, rejected: net.Rejected) -> None:
        text = self.log.remove_on_its_way(rejected.id)
        if text is not None:
            reason = Words.not_sent.format(reason=Words.rejected.get(rejected.code, drawable_name(rejected.reason)))
            entry = Entry(time.time(), text, self._welcome.who, self._welcome.name, tags=("wrong",), reason=reason)
            entry.link = (Words.write_again, lambda: self._write_again(entry, text))
            self.log.add(entry)

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
        limit = file_size(self._welcome.max_file)
        reason = words.format(limit=limit) if words else f"{drawable_name(failed.reason)}."
        words = Words.not_shared if is_upload else Words.not_saved
        self.log.add_note(words.format(filename=name, reason=reason), wrong=True)

    def _tell_trouble(self, lost: net.Lost) -> None:
        self._trouble = Words.lost[lost.reason].format(address=self._where)
        self._retry_at = time.monotonic() + lost.retry_in
        self._count_down()

    def _count_down(self) -> None:
        """To the next attempt; drawn anew only when it is another second."""
        seconds = math.ceil(self._retry_at - time.monotonic())
        again = Words.again_in.format(seconds=seconds) if seconds > 0 else Words.again_now
        if str(self.status.cget("text")) != f"{self._trouble} {again}":
            self.say(f"{self._trouble} {again}", wrong=True)

    def _end(self, event: net.Refused | net.Closed) -> None:
        self.over = True
        self._trouble = ""
        self._silence()
        self._end_question()
        self.say(Words.closed_you_can_read.format(reason=drawable_name(event.reason)), wrong=True)

    def say(self, text: str, wrong: bool = False) -> None:
        self.status.configure(text=text, style="Wrong.TLabel" if wrong else "Quiet.TLabel")
        self._show_status()

    def _show_status(self) -> None:
        show(self.status, not self._is_cramped or str(self.status.cget("style")) == "Wrong.TLabel")

    def flush(self) -> None:
        """Shows all that was handled since the last time."""
        self.log.flush()
        self.transfers.flush()
        if self._trouble:
            self._count_down()
        while not self._saved_talks.empty():
            path, problem = self._saved_talks.get()
            if problem:
                self.log.add_note(Words.talk_not_saved.format(reason=problem), wrong=True)
            else:
                self._tell_saved(path)
        if self.people.flush():
            self.people_button.configure(text=self.people.title.cget("text"))
            self._had_company |= self._others() > 0
            self._count_others()
            if self._others() < 1:
                self._end_question()
            if self._hosting:
                self._show_addresses()


# ---------------------------------------------------------------------------------------------------------------- App


class Session:
    """One visit to a room: what has to be closed when it ends. Knows no widget."""

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
    """The window. `host`, `join` and `leave` are what the buttons do; `close` ends it all."""

    def __init__(self, root: tk.Tk, name: str = "", password: str = "") -> None:
        self.root = root
        self.looks = Looks(root)
        self.name = net.clean_name(name) or login_name()
        self.address = ""  # last typed
        self.password = password  # last typed on the first page; "" for none
        self.passwords: dict[tuple[str, int], str] = {}  # address and port -> the password that let us in there
        self._trying = ("", net.PORT)  # address and port of the room that is being joined
        self._secret = secrets.token_bytes(16)  # of this run: a room knows the same person again
        self.session: Session | None = None
        self.page: FirstPage | JoinPage | ChatPage = FirstPage(self)
        self._closed = False
        em = self.looks.em
        width = min(95 * em, root.winfo_screenwidth() - 6 * em)
        height = min(62 * em, root.winfo_screenheight() - 10 * em)
        root.geometry(f"{width}x{height}")
        root.minsize(*SMALLEST)
        root.protocol("WM_DELETE_WINDOW", self._close_clicked)
        self._unread = 0
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
            root.bind(f"<{control}-{key}>", lambda _, step=step: self.zoom(step))  # type: ignore[misc]
        for place in ("Text", "Listbox", "Treeview", str(root)):  # in these the wheel would also scroll
            root.bind_class(place, f"<{control}-MouseWheel>", self._zoom_by_wheel)
            with contextlib.suppress(tk.TclError):  # from Tk 9 on there are no such buttons
                root.bind_class(place, f"<{control}-Button-4>", lambda _: self.zoom(1))
                root.bind_class(place, f"<{control}-Button-5>", lambda _: self.zoom(-1))
        root.event_add("<<MenuKey>>", "<Shift-F10>", "<App>" if sys.platform == "win32" else "<Menu>")
        for place in ("Text", "TEntry"):
            root.bind_class(place, "<<ContextMenu>>", lambda at: self._show_edit_menu(at.widget, at.x, at.y))
            root.bind_class(place, "<<MenuKey>>", lambda event: self._show_edit_menu(event.widget))
        root.bind("<F11>", lambda _: self.toggle_full_screen())
        root.bind("<MouseWheel>", lambda event: self._roll(-1 if event.delta > 0 else 1))
        with contextlib.suppress(tk.TclError):  # before Tk 9 a touchpad turns the wheel
            root.bind("<TouchpadScroll>", self._drag)
        if self.looks.is_x11:
            for key in ("<Control-a>", "<Control-Lock-A>"):  # to Tk it is Home there, to everybody else what it is here
                root.event_delete("<<LineStart>>", key)
                root.event_add("<<SelectAll>>", key)
            root.bind("<Button-4>", lambda _: self._roll(-1))
            root.bind("<Button-5>", lambda _: self._roll(1))
        root.bind("<Escape>", lambda _: self._escape())
        root.bind("<F1>", lambda _: self._in_room(ChatPage.toggle_keys))
        for key, action in (("f", ChatPage.find), ("s", ChatPage.save_talk), ("o", ChatPage.choose_files)):
            for place in ("Text", "TEntry", str(root)):  # in these the same keys move the cursor
                for each in (key, key.upper()):  # Caps Lock
                    root.bind_class(place, f"<{control}-{each}>", lambda _, action=action: self._in_room(action))  # type: ignore[misc]
        root.bind("<FocusIn>", self._focus_came)

    # What people do.

    def zoom(self, step: int) -> str:
        """Larger, smaller or, with 0, as at first."""
        place = ZOOMS.index(self.looks.percent) + step if step else ZOOMS.index(100)
        self.looks.zoom(ZOOMS[min(max(place, 0), len(ZOOMS) - 1)])
        self.page.fit()
        return "break"

    def _zoom_by_wheel(self, event: tk.Event[tk.Misc]) -> str:
        return self.zoom(1 if event.delta > 0 else -1)

    def toggle_full_screen(self) -> None:
        self.root.attributes("-fullscreen", not self.root.attributes("-fullscreen"))

    def host(self, port: int = net.PORT) -> None:
        page = self.page if isinstance(self.page, FirstPage) else self._show(FirstPage(self))
        page.busy(Words.opening)
        self._begin(self.password).open_room(Words.room_of.format(name=self.name), self.name, port)

    def join(self, address: str, port: int, password: str = "") -> None:
        page = self.page
        if not isinstance(page, JoinPage):
            self.address = join_address(address, port)  # as if it had been typed there
            page = self._show(JoinPage(self))
        page.busy(Words.connecting.format(address=join_address(address, port)))
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

    def show_commands(self, commands: Sequence[Command], widget: tk.Misc, place: tuple[int, int]) -> None:
        """A menu at this place in the widget."""
        menu = self.page.menu  # goes with its page, even while it is open
        menu.delete(0, "end")
        for words, action in commands:
            key = self.looks.key(Words.key_of.get(words, ""))
            menu.add_command(label=words, accelerator=f"{key} ", command=action)
        menu.tk_popup(widget.winfo_rootx() + place[0], widget.winfo_rooty() + place[1])

    def _show_edit_menu(self, box: object, x: int = 0, y: int = 0) -> None:
        """For what one types: many people know it only this way."""
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

    # Whether somebody looks at the window.

    def notice(self) -> None:
        """Something was said: where nobody looks, the title counts it, and the first one rings the bell."""
        if not self.root.tk.call("focus", "-displayof", self.root):  # no window of this program has the keyboard
            self._unread += 1
            self.show_title()
            if self._unread == 1:
                self.root.bell()

    def _roll(self, units: int) -> None:
        if isinstance(self.page, Scrolled):
            self.page.scroll(units)

    def _drag(self, event: tk.Event[tk.Misc]) -> None:
        """The way across is in the upper 16 bits of the delta, the way down in the lower ones, with their sign."""
        down = (event.delta & 0x7FFF) - (event.delta & 0x8000)
        if isinstance(self.page, Scrolled):
            self.page.drag(down)

    def _focus_came(self, event: tk.Event[tk.Misc]) -> None:
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
        self.page.frame.pack(fill="both", expand=True)
        self.page.focus()

    def _begin(self, password: str) -> Session:
        self._end_session()
        self.session = Session(password)
        return self.session

    def _end_session(self) -> None:
        session, self.session = self.session, None
        if session is not None:
            session.end()

    # What happens.

    def poll(self) -> None:
        """Takes what has arrived, a bounded amount, and comes back: soon if there is more."""
        more = False
        try:
            more = self._take_events()
        except Exception:
            log.exception("the poll failed")
        finally:  # whatever happens, the window goes on
            if not self._closed:
                self._next_poll = self.root.after(POLL_SOON if more else POLL, self.poll)

    def _take_events(self) -> bool:
        """Whether there are more."""
        stop_at = time.perf_counter() + POLL_TIME
        session = self.session
        if session is not None and not session.opened.empty():
            self._handle_opened(session, session.opened.get())
        for _ in range(POLL_EVENTS):
            if session is None or session is not self.session:
                break
            if session.events.empty() or time.perf_counter() > stop_at:
                break
            event = session.events.get()
            try:
                self._handle(session, event)
            except Exception:  # costs this event, and no other
                log.exception("an event could not be shown: %.300r", event)
        self.page.flush()
        return self.session is not None and not self.session.events.empty()

    def _handle_opened(self, session: Session, answer: net.Server | str) -> None:
        if isinstance(answer, str):
            self.leave(Words.not_opened.format(reason=answer), wrong=True)
            return
        session.server = answer
        # The host is in the room like everybody else; the token says who it is.
        self._enter(session, "127.0.0.1", answer.port, answer.token)

    def _enter(self, session: Session, address: str, port: int, token: str) -> None:
        self._trying = (address, port)
        password = session.password or None
        session.client = net.run_client(address, self.name, session.events, port=port, password=password, token=token)

    def _handle(self, session: Session, event: net.Event) -> None:
        match event:
            case _ if isinstance(self.page, ChatPage):
                self.page.handle(event)
            case net.Reachable():
                session.reachable = event
            case net.Welcome():
                assert session.client is not None
                if session.server is None and session.password:
                    self.passwords[self._trying] = session.password
                    if self.password == session.password:
                        self.password = ""  # it belongs to that room now
                self._show(ChatPage(self, session, session.client, event)).handle(event)
            case net.Lost() | net.Refused() | net.Closed():
                self._not_let_in(event)
            case _:
                log.warning("unexpected before the welcome: %.300r", event)

    def _not_let_in(self, event: net.Lost | net.Refused | net.Closed) -> None:
        """The first attempt failed: at the page where it can be mended, with everything still there."""
        where = join_address(*self._trying)
        if isinstance(event, net.Lost):
            message = self._cannot_join(event.reason).format(address=where, seconds=event.retry_in)
        elif isinstance(event, net.Refused):
            words = Words.refused.get(event.code)
            message = words.format(address=where) if words else drawable_name(event.reason)
            if event.code == "tls" and not net.CAN_ENCRYPT:
                message = needs_new_python()
        else:
            message = drawable_name(event.reason)
        self._end_session()
        page = self.page if isinstance(self.page, JoinPage) else self._show(JoinPage(self))
        page.failed(message)
        if isinstance(event, net.Refused) and event.code in ("password", "wrong", "open"):
            page.ask_for_password()

    def _cannot_join(self, trouble: net.Trouble) -> str:
        rooms = self.page.rooms if isinstance(self.page, JoinPage) else ()
        no_answer = trouble in (net.Trouble.NO_ANSWER, net.Trouble.NO_ROUTE)
        if no_answer and any((room.address, room.port) == self._trying for room in rooms):
            return Words.firewall  # finding has heard it, so it is there
        if trouble is net.Trouble.NO_ROUTE and sys.platform == "darwin":
            return Words.not_allowed
        return str(Words.cannot_join[trouble])

    def _report(self, *error: object) -> None:
        """A callback of tkinter's has failed. The traceback is not kept: it would keep widgets alive."""
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


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A chat for a classroom: one hosts a room, the others join it.")
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
        parser.error("--name: there is nothing to read in this name")
    if arguments.password == "-":
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
    """Runs the program; its exit status: 0, or 1 where there is no tkinter or no screen."""
    arguments = parse_arguments(argv)
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
    gc.collect()  # here: Tk ends the program if a thread, the one that still says goodbye, throws its last parts away
    return 0


if __name__ == "__main__":
    sys.exit(main())
