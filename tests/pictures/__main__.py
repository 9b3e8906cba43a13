"""Make the pictures anew:  python -m tests.pictures     (on Linux, with Xvfb: on a screen of its own, always alike)

Every change of a colour adds all of them to the history, so there are few: no more than MOST.
"""

from __future__ import annotations

import contextlib
import struct
import sys
import tempfile
import time
import tkinter as tk
import zlib
from collections.abc import Iterator
from pathlib import Path

import chat_gui
import net
from tests.helpers import Display, own_screen, stay_at_home
from tests.windows import Person, feed

HERE = Path(__file__).parent
SIZE, PROJECTOR = "900x560+20+20", "1920x1080+20+20"
MOST = 16
LARGE = ("first", "class-of-forty")  # once more at 250 %, as on a projector
ADDRESS = "192.168.1.20"  # as it looks at school, whatever this computer's is
PROGRAM = "import socket\nfor n in range(3):\n    print(socket.gethostname())"
LESSON = [
    (1, "Mr Lee", "Good morning! Today we find out what a network does with a message."),
    (2, "Ann", "hi!"),
    (3, "Bob", "good morning"),
    (1, "Mr Lee", f"Please run this and tell me what you see:\n{PROGRAM}"),
    (4, "Maximiliana Featherstonehaugh", "The name of my computer, three times."),
    (2, "Ann", "Same here. Is that how my window found yours?"),
    (1, "Mr Lee", "Almost. First comes the address, then the port: a building, and a door in it."),
]
ROOMS = (
    net.FoundRoom("1", "Mr Lee's room", ADDRESS, 5252, 24, False),
    net.FoundRoom("2", "Ms Kim's room", "192.168.1.30", 5252, 1, False),
    net.FoundRoom("3", "Chess club", "192.168.1.31", 5252, 7, True),
)
TITLE = "Mr Lee's room for everything about networks, and more of it"
MORNING = time.mktime((2026, 11, 23, 10, 31, 0, 0, 0, -1))
MAP = net.Shared(110, MORNING + 290, 3, "Bob", "0" * 32, "map.png", 2_100_000, "0" * 64)
HOMEWORK = net.Shared(111, MORNING + 290, 1, "Mr Lee", "1" * 32, "homework for Friday.pdf", 184_000, "0" * 64)
PASSWORD = "qw3-6q2"
Picture = tuple[str, Person]
PEOPLE = ((1, "Mr Lee"), (2, "Ann"), (3, "Bob"), (4, "Maximiliana Featherstonehaugh"))
CLASS = ((1, "Mr Lee"), (2, "Ann"), *((number, f"Pupil {number}") for number in range(3, 41)))


def open_window(name: str) -> Person:
    person = Person(name)
    person.root.geometry(SIZE)
    person.settle(0.1)
    return person


def fill(person: Person, *more: net.Event, **changes: object) -> None:
    """The same lesson in every picture, at the same time of day."""
    lesson = (
        net.Said(100 + number, MORNING + 40 * number, who, name, number, text)
        for number, (who, name, text) in enumerate(LESSON)
    )
    feed(person, person.welcome(**{"people": PEOPLE, **changes}), *lesson, *more)


def first_page() -> Iterator[Picture]:
    with contextlib.closing(open_window("Mr Lee")) as person:
        yield "first", person


def join_page() -> Iterator[Picture]:
    with contextlib.closing(open_window("Ann")) as person:
        person.app.show_join_page()
        page = person.join_page
        page.show_rooms(ROOMS)
        yield "join", person
        page.say(chat_gui.Words.firewall.format(address=ADDRESS), wrong=True)
        yield "join-firewall", person
        page.say(chat_gui.Words.refused["wrong"], wrong=True)
        page.password.set("blackboard")
        chat_gui.edit(page.password.entry)
        yield "join-wrong-password", person


def host_pages() -> Iterator[Picture]:
    with contextlib.closing(open_window("Mr Lee")) as person:
        person.host()
        yield "host-alone", person
        fill(person, net.Joined(120, 0.0, 5, "Cem"))
        person.type("the answer is on page 12")
        yield "host", person


def password_page() -> Iterator[Picture]:
    """Only a Python that can encrypt makes this one."""
    with contextlib.closing(open_window("Mr Lee")) as person:
        person.app.password = PASSWORD
        person.host()
        fill(person, net.WrongPassword("192.168.1.33", 5))
        yield "host-password", person


def lesson_pages() -> Iterator[Picture]:
    """What a teacher can do, as the teacher sees it."""
    with contextlib.closing(open_window("Mr Lee")) as person:
        person.host()
        silly = net.Said(112, MORNING + 295, 3, "Bob", 1, "something silly")
        controls = net.Controls((3,), ((6, "Dan"),))
        fill(person, MAP, silly, controls, net.TakenBack(113, MORNING + 296, 112), net.Paused(114, MORNING, True))
        person.chat.people.list.selection_set("3")
        yield "host-lesson", person
        person.chat.layout.toggle(person.chat.keys.frame, person.chat.keys.text)
        yield "keys", person


def files_page() -> Iterator[Picture]:
    with contextlib.closing(open_window("Ann")) as person:
        person.host()
        saved = net.Saved(3, "/media/stick/map.png")
        sending = net.Progress(1, "our film.mp4", 38_400_000, 91_000_000, True, False)
        saving = net.Progress(2, "homework for Friday.pdf", 61_000, 184_000, False, False)
        started = net.Progress(4, "our other film.mp4", 0, 98_000_000, True, True)
        failed = net.Failed(4, "our other film.mp4", "space", "")
        fill(person, MAP, HOMEWORK, saved, started, failed, sending, saving)
        yield "files", person


def pupil_pages() -> Iterator[Picture]:
    with contextlib.closing(Person("Mr Lee")) as host:
        port = host.host()
        with contextlib.closing(open_window("Ann")) as person:
            person.join(port)
            person.root.lift()
            mention = "@Ann, look at https://docs.python.org/3/library/socket.html, please"
            mentioned = net.Said(110, MORNING + 290, 1, "Mr Lee", 1, mention)
            deleted = net.Said(111, MORNING + 294, 3, "Bob", 1, "", taken_back=True)
            rejected = (net.Sending(9, "and this?"), net.Rejected(9, "paused", ""))
            fill(person, mentioned, deleted, *rejected, net.Paused(112, MORNING + 296, True))
            yield "pupil-paused", person
            sending = net.Sending(7, "I write on, and it goes out when the cable is back")
            feed(person, net.Paused(113, MORNING + 297, False), sending, net.Sending(8, "two:\n    lines"))
            feed(person, net.Lost(net.Trouble.GONE, 2.0))
            yield "lost", person
        with contextlib.closing(open_window("Ann")) as person:
            person.join(port)
            person.root.lift()
            fill(person, room="another", title=TITLE, who=2, people=CLASS)
            yield "class-of-forty", person


def small_page() -> Iterator[Picture]:
    with contextlib.closing(Person("Mr Lee")) as person:
        width, height = (each * person.digit for each in chat_gui.SMALLEST)
        person.root.geometry(f"{width}x{height}+20+20")
        person.host()
        fill(person)
        yield "small", person


def hide_pointer(widget: tk.Misc) -> None:
    """It stands in the middle of the screen, and is nothing to look at."""
    widget.tk.call(widget, "configure", "-cursor", "none")
    for child in widget.winfo_children():
        hide_pointer(child)


def take(display: Display, person: Person, name: str) -> None:
    """Write what the window shows to a PNG file."""
    root = person.root
    hide_pointer(root)
    person.settle(0.2)
    root.winfo_pointerxy()  # a question to the X server, which answers after it has drawn what was sent before
    assert display.file is not None
    rows = list(rows_of_screen(display.file.read_bytes()))
    x, y, width, height = root.winfo_rootx(), root.winfo_rooty(), root.winfo_width(), root.winfo_height()
    # Before each row PNG expects the number of the filter that it was packed with: 0, none.
    pixels = b"".join(b"\0" + row[3 * x : 3 * (x + width)] for row in rows[y : y + height])
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits for each of red, green and blue
    path = HERE / f"{name}.png"
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(pixels)), (b"IEND", b"")):
            file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
    print(path)


def rows_of_screen(data: bytes) -> Iterator[bytes]:
    """Rows of red, green and blue bytes, from the format in which Xvfb keeps its screen."""
    header = struct.unpack(">25I", data[:100])
    header_size, width, height, row_size, colours = (header[i] for i in (0, 4, 5, 12, 19))
    begin = header_size + 12 * colours  # between header and pixels is a table of colours that nobody uses
    for start in range(begin, begin + height * row_size, row_size):
        row = data[start : start + 4 * width]
        colour = bytearray(3 * width)
        colour[0::3], colour[1::3], colour[2::3] = row[2::4], row[1::4], row[0::4]
        yield bytes(colour)


def make(display: Display) -> None:
    stay_at_home()
    clock = chat_gui.clock
    chat_gui.clock = lambda seconds, *form: clock(min(seconds, MORNING + 300), *form)
    chat_gui.join_address = lambda address, port: address if port == net.PORT else ADDRESS
    net.local_addresses = lambda: [ADDRESS]
    stories = [first_page, join_page, host_pages, lesson_pages, files_page, pupil_pages, small_page]
    if net.CAN_ENCRYPT:
        stories.append(password_page)
    for story in stories:
        for name, person in story():
            take(display, person, name)
            if name in LARGE:
                person.root.geometry(PROJECTOR)
                for _ in range(20):
                    person.app.zoom(1)
                person.settle(0.2)
                take(display, person, f"{name}-250")
    assert len([*HERE.glob("*.png")]) <= MOST


if __name__ == "__main__":
    if not sys.platform.startswith("linux"):
        sys.exit("The pictures are made on Linux, with Xvfb.")
    with tempfile.TemporaryDirectory() as folder, own_screen(Path(folder), "2000x1200") as screen:
        make(screen)
