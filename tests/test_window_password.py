"""A room password in the window: how one is made, shown, asked for, and what is said where it does not fit."""

from __future__ import annotations

import contextlib
import io
import queue
import subprocess
import sys
import tkinter as tk
from collections.abc import Iterator
from typing import Any

import pytest

import chat_gui
import net
from tests.conftest import TOP
from tests.helpers import LIMIT, LOOPBACK, expect, needs_tls, until
from tests.test_finding import own_ports
from tests.test_window import feed, port
from tests.windows import FakeFinder, Open, Person

Words = chat_gui.Words
PASSWORD = "k7m-w3h"
VERSION = ".".join(map(str, sys.version_info[:2]))

pytestmark = pytest.mark.usefixtures("finders")


@pytest.fixture
def older_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "CAN_ENCRYPT", False)


@pytest.fixture(autouse=True)
def any_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rooms that are opened with a click are on a port that is free: 5252 may be somebody's."""
    monkeypatch.setattr(chat_gui.App.host, "__defaults__", (0,))


@pytest.fixture
def guesses(monkeypatch: pytest.MonkeyPatch) -> int:
    """So many wrong passwords at once, and then none for longer than any test takes. For rooms opened after it."""
    monkeypatch.setattr(net, "GUESSES", (5.0, 0.001))
    monkeypatch.setattr(net, "GUESSES_WHERE_KNOWN", (5.0, 0.001))
    return 5


@pytest.fixture
def room() -> Iterator[net.Server]:
    """A room with the password."""
    with net.run_server("Mr Lee's room", host_name="Mr Lee", host=LOOPBACK, port=0, password=PASSWORD) as server:
        yield server


@pytest.fixture
def open_room() -> Iterator[net.Server]:
    with net.run_server("Mr Lee's room", host_name="Mr Lee", host=LOOPBACK, port=0) as server:
        yield server


@pytest.fixture
def ann(person: Open) -> Person:
    """Somebody at the join page."""
    someone = person("Ann")
    someone.click(someone.first_page.join)
    return someone


def host(someone: Person, password: str = "") -> None:
    """As people do it: by a click, with what stands in the box."""
    type_into(someone, someone.first_page.password.entry, password)
    someone.click(someone.first_page.host)
    is_in(someone)


def type_into(someone: Person, entry: tk.Entry, text: str) -> None:
    """In place of what stands there."""
    entry.focus_force()
    entry.delete(0, "end")
    someone.type(text)


def try_to_join(someone: Person, port: int, password: str = "") -> None:
    """Types address and password, and presses Enter."""
    page = someone.join_page
    if password:
        type_into(someone, page.password.entry, password)
    type_into(someone, page.address, f"{LOOPBACK}:{port}")
    someone.press("Return")


def is_in(someone: Person) -> None:
    someone.wait(lambda: isinstance(someone.app.page, chat_gui.ChatPage), "the room is joined")


def is_told(someone: Person, words: str) -> None:
    """At the join page, when the attempt is over."""
    someone.wait(lambda: someone.join_page.message.cget("text") == words, f"{words!r} is told")
    assert someone.app.session is None


def is_asked_for_the_password(someone: Person) -> None:
    assert someone.root.focus_lastfor() is someone.join_page.password.entry


def hear_room(someone: Person, finders: list[FakeFinder], on_port: int, password: bool) -> str:
    """The join page hears of one room, and it is chosen; its row."""
    finders[-1].found(net.FoundRoom("an id", "Mr Lee's room", LOOPBACK, on_port, 1, password))
    someone.wait(lambda: someone.join_page.list.get_children(), "the room is shown")
    someone.look_here()
    (row,) = someone.join_page.list.get_children()
    return row


def is_hidden(box: chat_gui.PasswordBox) -> bool:
    return str(box.entry.cget("show")) == chat_gui.HIDDEN


# Making one -------------------------------------------------------------------


@needs_tls
def test_suggest_fills_the_box_with_another_password_each_time(person: Open) -> None:
    page = person("Mr Lee").first_page
    suggested = set()
    for _ in range(3):
        page.suggest.invoke()
        suggested.add(page.password.get())
    assert len(suggested) == 3
    assert all(len(net.clean_password(password)) == 6 < len(password) for password in suggested)
    assert page.password_note.cget("text") == ""


@needs_tls
def test_a_password_is_hidden_until_it_is_shown(person: Open) -> None:
    lee = person("Mr Lee")
    box = lee.first_page.password
    lee.click(lee.first_page.suggest)
    assert is_hidden(box)
    lee.click(box.button)
    assert not is_hidden(box)
    assert box.button.cget("text") == Words.hide
    lee.click(box.button)
    assert is_hidden(box)
    assert box.button.cget("text") == Words.show


@needs_tls
def test_the_box_of_the_join_page_is_hidden_too(ann: Person) -> None:
    assert is_hidden(ann.join_page.password)
    ann.click(ann.join_page.password.button)
    assert not is_hidden(ann.join_page.password)


@needs_tls
def test_a_password_that_is_easy_to_guess_is_warned_of_while_it_is_typed(person: Open) -> None:
    lee = person("Mr Lee")
    page = lee.first_page
    type_into(lee, page.password.entry, "short")
    lee.press("KeyRelease-t")
    assert page.password_note.cget("text") == Words.weak_password
    lee.type(" but not for long")
    lee.press("KeyRelease-g")
    assert page.password_note.cget("text") == ""
    for weak in ("chemistry", "31415926", "k7m-w"):
        type_into(lee, page.password.entry, weak)
        lee.press("KeyRelease-space")
        assert page.password_note.cget("text") == Words.weak_password
    lee.click(page.suggest)
    assert page.password_note.cget("text") == ""
    page.password.entry.delete(0, "end")
    lee.press("KeyRelease-BackSpace")
    assert page.password_note.cget("text") == "", "no password is no weak one"


@needs_tls
def test_a_password_that_is_easy_to_guess_opens_a_room_all_the_same(person: Open) -> None:
    lee = person("Mr Lee")
    host(lee, "abc")
    assert Words.encrypted_room in lee.everything()


def test_enter_in_the_password_box_opens_no_room(person: Open) -> None:
    lee = person("Mr Lee")
    lee.first_page.password.entry.focus_force()
    lee.press("Return")
    assert lee.app.session is None
    assert lee.root.focus_get() is lee.first_page.host


# The host's row ---------------------------------------------------------------


@needs_tls
def test_the_host_sees_that_the_room_is_encrypted_and_the_password_when_asked(person: Open) -> None:
    lee = person("Mr Lee")
    host(lee, PASSWORD)
    assert Words.encrypted_room in lee.everything()
    assert Words.open_room not in lee.everything()
    assert PASSWORD not in lee.everything()
    lee.click(lee.chat.header.show_password)
    assert PASSWORD in lee.everything()
    assert lee.chat.header.show_password.cget("text") == Words.hide_password
    lee.click(lee.chat.header.show_password)
    assert PASSWORD not in lee.everything()
    assert lee.chat.header.show_password.cget("text") == Words.show_password


@needs_tls
def test_the_password_can_be_copied_without_being_shown(person: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_gui, "COPIED_TIME", 1)
    lee = person("Mr Lee")
    host(lee, PASSWORD)
    lee.chat.header.copy_password.invoke()
    assert lee.chat.header.copy_password.cget("text") == Words.copied
    assert lee.root.clipboard_get() == PASSWORD
    assert PASSWORD not in lee.everything()
    lee.wait(lambda: lee.chat.header.copy_password.cget("text") == Words.copy_password, "the button can be used again")


@pytest.mark.parametrize("hosting", [True, False])
def test_a_room_without_a_password_says_that_it_is_not_encrypted(
    person: Open, open_room: net.Server, hosting: bool
) -> None:
    someone = person("Ann")
    if hosting:
        host(someone)
    else:
        someone.join(open_room.port)
    assert Words.open_room in someone.everything()
    assert Words.encrypted_room not in someone.everything()
    for hidden in (someone.chat.header.password, someone.chat.header.show_password, someone.chat.header.copy_password):
        assert not hidden.winfo_ismapped()


@needs_tls
def test_who_joins_sees_that_it_is_encrypted_but_no_password(ann: Person, room: net.Server) -> None:
    try_to_join(ann, room.port, PASSWORD)
    is_in(ann)
    assert Words.encrypted_room in ann.everything()
    for hidden in (ann.chat.header.password, ann.chat.header.show_password, ann.chat.header.copy_password):
        assert not hidden.winfo_ismapped()


@needs_tls
def test_the_host_is_told_of_somebody_who_guesses(person: Open, guesses: int) -> None:
    lee = person("Mr Lee")
    host(lee, PASSWORD)
    for _ in range(guesses):
        events: queue.Queue[Any] = queue.Queue()
        guesser = net.run_client(LOOPBACK, "Eve", events, port=port(lee), password="guess")
        assert guesser.join(LIMIT)
        assert expect(events, net.Refused).code == "wrong"
    lee.sees(Words.guessed.format(address=LOOPBACK, number=guesses))
    lee.say("go on")
    lee.wait(lambda: lee.said() == ["go on"], "the lesson goes on")


def test_the_host_is_told_of_many_wrong_passwords_from_all_addresses_together(person: Open) -> None:
    lee = person("Mr Lee")
    lee.host()
    feed(lee, net.WrongPassword("", 20))
    assert Words.guessed_everywhere.format(number=20) in lee.log()


@needs_tls
def test_a_password_stays_in_the_box_for_the_next_room(person: Open) -> None:
    lee = person("Mr Lee")
    host(lee, PASSWORD)
    lee.say("exit")
    assert lee.first_page.password.get() == PASSWORD
    assert is_hidden(lee.first_page.password)


# Joining ----------------------------------------------------------------------


@needs_tls
def test_a_teacher_and_a_pupil_agree_on_a_password_and_talk(person: Open) -> None:
    lee, ann = person("Mr Lee"), person("Ann")
    lee.click(lee.first_page.suggest)
    password = lee.first_page.password.get()
    lee.click(lee.first_page.host)
    is_in(lee)
    ann.click(ann.first_page.join)
    try_to_join(ann, lee.chat.port, password.replace("-", " "))
    is_in(ann)
    ann.say("hello")
    lee.wait(lambda: lee.said() == ["hello"], "it is heard")


@needs_tls
def test_the_password_of_the_first_page_is_the_one_that_is_joined_with(person: Open, room: net.Server) -> None:
    ann = person("Ann")
    type_into(ann, ann.first_page.password.entry, PASSWORD)
    ann.click(ann.first_page.join)
    assert ann.join_page.password.get() == PASSWORD
    try_to_join(ann, room.port)
    is_in(ann)


@needs_tls
def test_a_wrong_password_can_be_mended_where_it_was_typed(ann: Person, room: net.Server) -> None:
    try_to_join(ann, room.port, "k7m-w3g")
    is_told(ann, Words.refused["wrong"])
    is_asked_for_the_password(ann)
    box = ann.join_page.password
    assert box.get() == "k7m-w3g", "it is still there"
    assert ann.join_page.address.get() == f"{LOOPBACK}:{room.port}"
    ann.look_here()
    box.entry.selection_clear()
    box.entry.icursor("end")
    ann.press("BackSpace")
    ann.type("h")
    ann.press("Return")
    is_in(ann)


@needs_tls
def test_the_password_that_a_room_was_joined_with_need_not_be_typed_again(ann: Person, room: net.Server) -> None:
    try_to_join(ann, room.port, "a wrong one")
    is_told(ann, Words.refused["wrong"])
    ann.click(ann.join_page.back)
    ann.click(ann.first_page.join)
    assert ann.join_page.password.get() == "", "a wrong one is not kept"
    try_to_join(ann, room.port, PASSWORD)
    is_in(ann)
    ann.say("exit")
    assert ann.first_page.password.get() == "", "a room of one's own is open unless one says otherwise"
    ann.click(ann.first_page.join)
    assert ann.join_page.address.get() == f"{LOOPBACK}:{room.port}"
    assert ann.join_page.password.get() == PASSWORD, "it is offered for this room"
    assert is_hidden(ann.join_page.password)
    ann.press("Return")
    is_in(ann)
    ann.say("exit")
    type_into(ann, ann.first_page.password.entry, "another")
    ann.click(ann.first_page.join)
    assert ann.join_page.password.get() == "another", "what was typed last counts"


@needs_tls
@pytest.mark.parametrize("where", ["join page", "first page"])
def test_a_password_that_let_somebody_into_a_room_is_offered_to_no_other(
    person: Open, room: net.Server, where: str
) -> None:
    ann = person("Ann")
    if where == "first page":
        type_into(ann, ann.first_page.password.entry, PASSWORD)
    ann.click(ann.first_page.join)
    try_to_join(ann, room.port, PASSWORD if where == "join page" else "")
    is_in(ann)
    ann.say("exit")
    ann.click(ann.first_page.join)
    with net.run_server("Another room", host=LOOPBACK, port=0, password=PASSWORD) as other:
        try_to_join(ann, other.port)
        is_told(ann, Words.password_missing)
        assert ann.join_page.password.get() == ""
        type_into(ann, ann.join_page.address, f"{LOOPBACK}:{room.port}")
        assert ann.join_page.password.get() == PASSWORD


@needs_tls
def test_choosing_in_the_list_offers_each_room_its_own_password(
    ann: Person, room: net.Server, finders: list[FakeFinder]
) -> None:
    with net.run_server("Ms Kim's room", host=LOOPBACK, port=0, password="another") as kims:
        for on_port, password in ((room.port, PASSWORD), (kims.port, "another")):
            try_to_join(ann, on_port, password)
            is_in(ann)
            ann.say("exit")
            ann.click(ann.first_page.join)
        page = ann.join_page
        rooms = [
            net.FoundRoom(title, title, LOOPBACK, on_port, 1, True)
            for title, on_port in (("Lee", room.port), ("Kim", kims.port), ("Stranger", net.PORT))
        ]
        finders[-1].found(*rooms)
        ann.wait(lambda: len(page.list.get_children()) == 3, "the rooms are shown")
        page.list.focus_force()
        for keys, password in ((["Home"], PASSWORD), (["Down"], "another"), (["Down"], ""), (["Up"], "another")):
            ann.press(*keys)
            assert page.password.get() == password
        type_into(ann, page.password.entry, "typed")
        page.list.focus_force()
        ann.press("Home")
        assert page.password.get() == "typed", "what a person typed stays"


@needs_tls
def test_a_password_that_is_missing_for_a_typed_address_is_asked_for(ann: Person, room: net.Server) -> None:
    try_to_join(ann, room.port)
    is_told(ann, Words.password_missing)
    is_asked_for_the_password(ann)
    ann.type(PASSWORD)
    ann.press("Return")
    is_in(ann)


@needs_tls
@pytest.mark.parametrize("way", ["Enter", "double click", "button"])
def test_a_password_that_is_missing_for_a_room_in_the_list_is_asked_for_before_it_is_tried(
    ann: Person, room: net.Server, finders: list[FakeFinder], way: str
) -> None:
    row = hear_room(ann, finders, room.port, password=True)
    assert ann.join_page.list.set(row, "password") == Words.has_password
    if way == "Enter":
        ann.press("Return")
    elif way == "button":
        ann.click(ann.join_page.join)
    else:
        x, y, width, height = map(int, ann.join_page.list.bbox(row))
        for _ in range(2):
            ann.click(ann.join_page.list, x + width // 2, y + height // 2)
    assert ann.app.session is None
    assert ann.join_page.message.cget("text") == Words.password_missing
    is_asked_for_the_password(ann)
    ann.type(PASSWORD)
    ann.press("Return")
    is_in(ann)


@needs_tls
def test_a_wrong_password_for_a_room_in_the_list_is_tried_again_there(
    ann: Person, room: net.Server, finders: list[FakeFinder]
) -> None:
    hear_room(ann, finders, room.port, password=True)
    ann.press("Return")
    ann.type("wrong")
    ann.press("Return")
    is_told(ann, Words.refused["wrong"])
    is_asked_for_the_password(ann)
    type_into(ann, ann.join_page.password.entry, PASSWORD)
    ann.press("Return")
    is_in(ann)


@needs_tls
def test_enter_in_the_password_box_joins_the_address_that_is_typed_now(
    ann: Person, room: net.Server, open_room: net.Server
) -> None:
    try_to_join(ann, open_room.port, PASSWORD)
    is_told(ann, Words.refused["open"].format(address=f"{LOOPBACK}:{open_room.port}"))
    type_into(ann, ann.join_page.address, f"{LOOPBACK}:{room.port}")
    type_into(ann, ann.join_page.password.entry, PASSWORD)
    ann.press("Return")
    is_in(ann)
    assert ann.chat.port == room.port


@needs_tls
def test_a_room_without_a_password_is_not_joined_with_one_unasked(ann: Person, open_room: net.Server) -> None:
    try_to_join(ann, open_room.port, PASSWORD)
    is_told(ann, Words.refused["open"].format(address=f"{LOOPBACK}:{open_room.port}"))
    is_asked_for_the_password(ann)
    ann.look_here()
    ann.press("Key-BackSpace")  # all of it is selected
    assert ann.join_page.password.get() == ""
    ann.press("Return")
    is_in(ann)
    assert Words.open_room in ann.everything()


@needs_tls
def test_an_open_room_in_the_list_is_not_joined_while_a_password_stands_in_the_box(
    ann: Person, open_room: net.Server, finders: list[FakeFinder]
) -> None:
    """Anybody can answer with the title of the room that is meant, but must not get the password, or a join."""
    type_into(ann, ann.join_page.password.entry, PASSWORD)
    hear_room(ann, finders, open_room.port, password=False)
    ann.join_page.list.focus_force()
    ann.press("Down", "Return")
    is_told(ann, Words.refused["open"].format(address=f"{LOOPBACK}:{open_room.port}"))
    is_asked_for_the_password(ann)


@needs_tls
@pytest.mark.parametrize("button", ["host", "join"])
def test_a_password_of_nothing_but_spaces_is_told_in_words(person: Open, room: net.Server, button: str) -> None:
    """However it is told: the page can be used again, and nothing has failed."""
    someone = person("Ann")
    if button == "host":
        type_into(someone, someone.first_page.password.entry, "  ")
        someone.click(someone.first_page.host)
        someone.wait(lambda: isinstance(someone.app.page, chat_gui.ChatPage) or can_go_on(someone), "it is over")
        assert "expected" not in someone.everything()
    else:
        someone.click(someone.first_page.join)
        try_to_join(someone, room.port, "  ")
        someone.wait(lambda: can_go_on(someone), "another try is possible")
        assert someone.app.session is None
        type_into(someone, someone.join_page.password.entry, PASSWORD)
        someone.press("Return")
        is_in(someone)


def can_go_on(someone: Person) -> bool:
    page = someone.app.page
    assert not isinstance(page, chat_gui.ChatPage)
    return page.join.instate(["!disabled"])


@needs_tls
def test_after_too_many_wrong_passwords_the_page_counts_down_the_time_to_wait(
    ann: Person, guesses: int, room: net.Server
) -> None:
    try_to_join(ann, room.port, "wrong")
    for _ in range(guesses - 1):
        is_told(ann, Words.refused["wrong"])
        ann.join_page.say("")
        ann.look_here()
        ann.press("Return")
    is_told(ann, Words.refused["wrong"])
    ann.press("Return")
    ann.sees(Words.waiting[net.Trouble.WAIT].format(address=f"{LOOPBACK}:{room.port}") + " Trying again in ")
    ann.click(ann.join_page.back)
    assert ann.app.session is None, "nobody has to wait for it"


# An older Python --------------------------------------------------------------


@pytest.mark.usefixtures("older_python")
def test_on_an_older_python_the_boxes_are_closed_and_say_why(person: Open) -> None:
    ann = person("Ann")
    words = f"This computer has Python {VERSION}; a room password needs 3.13 or newer."
    assert words in ann.everything()
    page = ann.first_page
    for each in (page.password.entry, page.password.button, page.suggest):
        assert each.instate(["disabled"])
    ann.click(page.suggest)
    ann.click(page.password.entry)
    assert page.password.get() == ""
    ann.click(page.join)
    assert words in ann.everything()
    assert ann.join_page.password.entry.instate(["disabled"])
    assert ann.join_page.password.button.instate(["disabled"])


@pytest.mark.usefixtures("older_python")
def test_on_an_older_python_open_rooms_are_as_before(person: Open) -> None:
    lee, ann = person("Mr Lee"), person("Ann")
    lee.click(lee.first_page.host)
    is_in(lee)
    ann.click(ann.first_page.join)
    try_to_join(ann, lee.chat.port)
    is_in(ann)
    ann.say("hello")
    lee.wait(lambda: lee.said() == ["hello"], "it is heard")


@pytest.mark.usefixtures("older_python")
def test_on_an_older_python_a_room_in_the_list_with_a_password_is_not_tried(
    ann: Person, finders: list[FakeFinder]
) -> None:
    hear_room(ann, finders, net.PORT, password=True)
    ann.press("Return")
    assert ann.app.session is None
    assert ann.join_page.message.cget("text") == chat_gui.needs_new_python()
    ann.settle()
    assert ann.join_page.join.instate(["!disabled"])


@needs_tls
def test_on_an_older_python_a_room_with_a_password_is_told_as_such(
    ann: Person, room: net.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "CAN_ENCRYPT", False)
    try_to_join(ann, room.port)
    is_told(ann, chat_gui.needs_new_python())


# The command line -------------------------------------------------------------


@needs_tls
def test_the_password_of_the_command_line() -> None:
    for mode in (["--host"], ["--join", "pc"], []):
        assert chat_gui.parse_arguments([*mode, "--password", "a b"]).password == "a b"
        assert chat_gui.parse_arguments(mode).password == ""


@needs_tls
@pytest.mark.parametrize("line", ["a b-c\n", "a b-c\r\n", "a b-c", "a b-c\nsomething else\n"])
def test_the_password_can_come_from_standard_input(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(line))
    assert chat_gui.parse_arguments(["--host", "--password", "-"]).password == "a b-c"


@pytest.mark.usefixtures("older_python")
@pytest.mark.parametrize("password", ["secret", "-"])
def test_on_an_older_python_a_password_on_the_command_line_is_an_error(
    password: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("secret\n"))
    with pytest.raises(SystemExit) as left:
        chat_gui.main(["--host", "--password", password])
    assert left.value.code == 2
    told = capsys.readouterr().err
    assert chat_gui.needs_new_python() in told
    assert "secret" not in told


@needs_tls
@pytest.mark.parametrize(
    ("password", "typed"), [("-", ""), ("-", "\n"), ("  ", "")], ids=["nothing", "an empty line", "spaces"]
)
def test_a_password_that_is_none_opens_no_room_for_everybody(
    password: str, typed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    with pytest.raises(SystemExit) as left:
        chat_gui.parse_arguments(["--host", "--password", password])
    assert left.value.code == 2
    assert "--password" in capsys.readouterr().err


@needs_tls
@pytest.mark.usefixtures("display")
def test_a_room_is_hosted_and_joined_from_the_command_line(stack: contextlib.ExitStack) -> None:
    """Each program a process of its own; this test is in the room too, and hears both."""
    port = stack.enter_context(own_ports())[0]
    home = "from tests.helpers import stay_at_home; stay_at_home()"
    command = [sys.executable, "-c", f"import chat_gui, sys; {home}; sys.exit(chat_gui.main())"]
    hosting = [*command, "--host", "--port", str(port), "--name", "Mr Lee", "--password", "-"]
    joining = [*command, "--join", f"{LOOPBACK}:{port}", "--name", "Ann", "--password", PASSWORD]
    events: queue.Queue[Any] = queue.Queue()
    with subprocess.Popen(hosting, cwd=TOP, stdin=subprocess.PIPE, text=True) as lee:
        try:
            assert lee.stdin is not None
            lee.stdin.write(f"{PASSWORD.upper()}\n")
            lee.stdin.close()
            with net.run_client(LOOPBACK, "Watcher", events, port=port, password=PASSWORD) as watcher:
                expect(events, net.Welcome)
                with subprocess.Popen(joining, cwd=TOP) as ann:
                    expect(events, net.Joined, lambda joined: joined.name == "Ann")
                    ann.kill()
            until(lambda: watcher.join(0), "the watcher has left")
        finally:
            lee.kill()
