"""Make the pictures anew:  python -m tests.pictures     (on Linux, with Xvfb: on a screen of its own, always alike)"""

from __future__ import annotations

import sys
import tempfile
import time
import tkinter as tk
from collections.abc import Iterator
from pathlib import Path

import chat_gui
import net
from tests.helpers import Display, own_screen, screenshot, stay_at_home, window_box
from tests.windows import Person

HERE = Path(__file__).parent
SIZE, DOUBLE_SIZE, SMALL_SIZE = "900x560+20+20", "1800x1120+20+20", "320x400+20+20"
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
    net.FoundRoom("3", "Chess club", ADDRESS, 5253, 7, True),
)
TITLE = "Mr Lee's room for everything about networks, and more of it"
MORNING = time.mktime((2026, 11, 23, 10, 31, 0, 0, 0, -1))
Picture = tuple[str, Person]
PEOPLE = ((1, "Mr Lee"), (2, "Ann"), (3, "Bob"), (4, "Maximiliana Featherstonehaugh"))


def open_window(name: str) -> Person:
    person = Person(name)
    person.root.geometry(SIZE)
    person.settle(0.1)
    return person


def fill(person: Person, *more: net.Event) -> None:
    """The same lesson in every picture, at the same time of day."""
    assert person.app.session is not None
    welcome = person.chat._welcome
    person.app.session.events.put(net.Welcome(**{**vars(welcome), "people": PEOPLE}))
    for number, (who, name, text) in enumerate(LESSON):
        person.app.session.events.put(net.Said(100 + number, MORNING + 40 * number, who, name, number, text))
    for event in more:
        person.app.session.events.put(event)
    person.wait(person.app.session.events.empty, "all is taken")
    person.settle(0.2)


def first_page() -> Iterator[Picture]:
    person = open_window("Mr Lee")
    yield "first", person
    person.close()


def join_page() -> Iterator[Picture]:
    person = open_window("Ann")
    person.app.show_join_page()
    page = person.join_page
    yield "join", person
    page.show_rooms(ROOMS)
    yield "join-found", person
    page.failed(chat_gui.Words.firewall.format(address=ADDRESS))
    yield "join-firewall", person
    page.failed(chat_gui.Words.refused["wrong"])
    page.password.set("blackboard")
    page.ask_for_password()
    yield "join-wrong-password", person
    page.password.set("")
    page.show_rooms(())
    page.address.insert(0, "192.168.1.21")
    page.failed(chat_gui.Words.cannot_join[net.Trouble.NO_ANSWER].format(address="192.168.1.21"))
    yield "join-failed", person
    page.say(chat_gui.Words.nothing_found)
    page.address.delete(0, "end")
    yield "join-nothing-found", person
    person.close()


def secret_page() -> Iterator[Picture]:
    """Pictures of a room with a password need a Python that can encrypt."""
    person = open_window("Mr Lee")
    person.first_page.password.set("qw36-q2gw-xmfz")
    person.first_page.password.toggle()
    yield "first-password", person
    person.app.password = "qw36-q2gw-xmfz"
    person.host()
    fill(person, net.WrongPassword("192.168.1.33", 5))
    yield "host-password", person
    person.close()


def host_page() -> Iterator[Picture]:
    person = open_window("Mr Lee")
    person.host()
    yield "host-alone", person
    fill(person, net.Joined(120, 0.0, 5, "Cem"))
    person.type("the answer is on page 12")
    yield "host", person
    person.chat.ask()
    yield "host-asked", person
    person.close()


def pupil_page() -> Iterator[Picture]:
    host = open_window("Mr Lee")
    person = open_window("Ann")
    person.join(host.host())
    person.root.lift()
    rejected = (net.Sending(9, "and this?"), net.Rejected(9, "paused", ""))
    sending = (net.Sending(7, "I write on, and it goes out when the cable is back"), net.Sending(8, "two:\n    lines"))
    fill(person, *rejected, *sending, net.Lost(net.Trouble.GONE, 2.0))
    yield "lost", person
    person.close()
    host.close()


def files_page() -> Iterator[Picture]:
    person = open_window("Ann")
    person.host()
    map_png = net.Shared(110, MORNING + 290, 3, "Bob", "0" * 32, "map.png", 2_100_000, "0" * 64)
    homework = net.Shared(111, MORNING + 290, 1, "Mr Lee", "1" * 32, "homework for Friday.pdf", 184_000, "0" * 64)
    sending = net.Progress(1, "our film.mp4", 38_400_000, 91_000_000, True, False)
    saving = net.Progress(2, "map.png", 1_300_000, 2_100_000, False, False)
    fill(person, map_png, homework, sending, saving)
    yield "files-on-their-way", person
    saved = net.Saved(2, "/media/stick/map.png")
    failed = net.Failed(1, "our film.mp4", "space", "")
    for event in (saved, failed):
        person.chat.handle(event)
    person.chat.flush()
    yield "files-saved-and-failed", person
    person.close()


def lesson_pages() -> Iterator[Picture]:
    """What a teacher can do, as the teacher sees it."""
    person = open_window("Mr Lee")
    person.host()
    assert person.app.session is not None
    controls = net.Controls((3,), ((6, "Dan"),))
    map_png = net.Shared(110, MORNING + 290, 3, "Bob", "0" * 32, "map.png", 2_100_000, "0" * 64)
    silly = net.Said(111, MORNING + 295, 3, "Bob", 1, "something silly")
    fill(person, map_png, silly, controls, net.TakenBack(112, MORNING + 296, 111), net.Paused(113, MORNING, True))
    person.chat.people.list.selection_set(3)
    person.chat.people._show_bar()
    yield "host-lesson", person
    person.chat.find()
    person.chat._find.entry.insert(0, "name")
    person.chat._find.find()
    yield "find", person
    person.chat.escape()
    person.chat.toggle_keys()
    yield "keys", person
    person.chat.escape()
    person.close()


def class_pages() -> Iterator[Picture]:
    """And as the pupils see it; a class of forty, and the smallest window."""
    host = Person("Mr Lee")
    person = open_window("Ann")
    person.join(host.host())
    person.root.lift()
    call = "@Ann, look at https://docs.python.org/3/library/socket.html, please"
    called = net.Said(110, MORNING + 290, 1, "Mr Lee", 1, call)
    gone = net.Said(111, MORNING + 294, 3, "Bob", 1, "", taken_back=True)
    fill(person, called, gone, net.Muted(True))
    yield "pupil-muted", person
    for event in (net.Muted(False), net.Paused(112, MORNING + 296, True)):
        person.chat.handle(event)
    person.chat.flush()
    yield "pupil-paused", person
    person.close()
    person = open_window("Ann")
    person.join(port_of_session(host))
    person.root.lift()
    fill(person)
    own = person.chat._welcome.who
    person.chat.title = TITLE
    person.chat.people.names = {1: "Mr Lee", own: "Ann", **{99 - number: f"Pupil {number}" for number in range(3, 41)}}
    person.chat.people.fit()
    person.chat.fit()
    yield "class-of-forty", person
    person.close()
    host.close()


def small_pages() -> Iterator[Picture]:
    person = open_window("Mr Lee")
    person.root.geometry(SMALL_SIZE)
    yield "small-first", person
    person.app.show_join_page()
    person.join_page.show_rooms(ROOMS)
    yield "small-join", person
    person.host()
    fill(person)
    yield "small-host", person
    person.chat._toggle_people()
    yield "small-people", person
    person.close()


def port_of_session(host: Person) -> int:
    assert host.app.session is not None
    assert host.app.session.server is not None
    return host.app.session.server.port


def hide_pointer(widget: tk.Misc) -> None:
    """It stands in the middle of the screen, and is nothing to look at."""
    widget.tk.call(widget, "configure", "-cursor", "none")
    for child in widget.winfo_children():
        hide_pointer(child)


def make(display: Display) -> None:
    stay_at_home()
    clock = chat_gui.clock
    chat_gui.clock = lambda seconds, *form: clock(min(seconds, MORNING + 300), *form)
    chat_gui.join_address = lambda *_: ADDRESS
    net.local_addresses = lambda: [ADDRESS]
    stories = [first_page, join_page, host_page, pupil_page, files_page, lesson_pages, class_pages, small_pages]
    if net.CAN_ENCRYPT:
        stories.append(secret_page)
    for story in stories:
        for name, person in story():
            hide_pointer(person.root)
            person.settle(0.2)
            screenshot(display, HERE / f"{name}.png", window_box(person.root))
            size = person.root.geometry()
            person.root.geometry(DOUBLE_SIZE if not name.startswith("small") else "640x800")
            person.app.looks.zoom(200)
            for _ in range(2):  # the sizes, and what follows from them
                person.settle(0.1)
                assert person.app.page is not None
                person.app.page.fit()
            person.settle(0.2)
            screenshot(display, HERE / f"{name}-200.png", window_box(person.root))
            person.app.zoom(0)
            person.root.geometry(size)
            person.settle(0.2)
            print(HERE / f"{name}.png")


if __name__ == "__main__":
    if not sys.platform.startswith("linux"):
        sys.exit("The pictures are made on Linux, with Xvfb.")
    with tempfile.TemporaryDirectory() as folder, own_screen(Path(folder), "1920x1200") as screen:
        make(screen)
