"""A room password in the window: how one is made, shown, asked for, and what is said where it does not fit."""

from __future__ import annotations

import contextlib
import io
import queue
import subprocess
import sys
import tkinter as tk
from collections.abc import Callable
from typing import Any

import pytest

import chat_gui
import net
from tests.conftest import TOP, OpenRoom
from tests.helpers import LOOPBACK, expect, needs_tls, until
from tests.test_finding import own_ports
from tests.windows import FakeFinder, Open, Person, feed

Words = chat_gui.Words
PASSWORD = "k7m-w3h"

pytestmark = pytest.mark.usefixtures("finders")


@pytest.fixture
def older_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "CAN_ENCRYPT", False)


@pytest.fixture(autouse=True)
def any_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rooms that are opened with a click are on a free port: 5252 may be taken."""
    monkeypatch.setattr(chat_gui.App.host, "__defaults__", (0,))


@pytest.fixture
def locked(open_room: OpenRoom) -> net.Server:
    """A room with the password."""
    return open_room("Mr Lee's room", host_name="Mr Lee", password=PASSWORD)


@pytest.fixture
def unlocked(open_room: OpenRoom) -> net.Server:
    return open_room("Mr Lee's room", host_name="Mr Lee")


@pytest.fixture
def lee(person: Open) -> Person:
    return person("Mr Lee")


@pytest.fixture
def ann(person: Open) -> Person:
    """Somebody at the join page."""
    someone = person("Ann")
    someone.click(someone.first_page.join)
    return someone


def host(someone: Person, password: str = "") -> None:
    """Types the password on the first page, and clicks Host."""
    type_into(someone, someone.first_page.password.entry, password)
    someone.click(someone.first_page.host)
    someone.wait_until_in()


def type_into(someone: Person, entry: tk.Entry, text: str) -> None:
    """In place of what stands there."""
    entry.focus_force()
    entry.delete(0, "end")
    someone.type(text)


def try_to_join(someone: Person, port: int, password: str = "") -> None:
    """Types address and password, and presses Enter."""
    if password:
        type_into(someone, someone.join_page.password.entry, password)
    type_into(someone, someone.join_page.address, f"{LOOPBACK}:{port}")
    someone.press("Return")


def is_told(someone: Person, words: str) -> None:
    """At the join page, when the attempt is over; the password can then be corrected."""
    someone.wait(lambda: someone.join_page.message.cget("text") == words, f"{words!r} is told")
    assert someone.app.session is None
    assert someone.join_page.join.instate(["!disabled"])
    assert someone.root.focus_lastfor() is someone.join_page.password.entry


def is_hidden(box: chat_gui.PasswordBox) -> bool:
    return str(box.entry.cget("show")) == chat_gui.HIDDEN


def find(someone: Person, finders: list[FakeFinder], *rooms: net.FoundRoom) -> None:
    finders[-1].found(*rooms)
    someone.wait(lambda: someone.join_page.rooms == rooms, "the rooms are shown")
    someone.look_here()


def found(port: int, *, password: bool, title: str = "Mr Lee's room") -> net.FoundRoom:
    return net.FoundRoom(title, title, LOOPBACK, port, 1, password)


# Making one -------------------------------------------------------------------


@needs_tls
def test_suggested_passwords_are_all_different_and_hidden_until_they_are_shown(lee: Person) -> None:
    page = lee.first_page
    suggested = set()
    for _ in range(3):
        page.suggest.invoke()
        suggested.add(page.password.get())
    assert len(suggested) == 3
    assert all(len(net.clean_password(password)) == 6 < len(password) for password in suggested)
    assert page.password_note.cget("text") == ""
    can_be_shown_and_hidden(lee, page.password)
    lee.click(page.join)
    can_be_shown_and_hidden(lee, lee.join_page.password)


def can_be_shown_and_hidden(someone: Person, box: chat_gui.PasswordBox) -> None:
    assert is_hidden(box)
    for words, hidden in ((Words.hide, False), (Words.show, True)):
        someone.click(box.button)
        assert is_hidden(box) == hidden
        assert box.button.cget("text") == words


@needs_tls
def test_a_password_that_is_easy_to_guess_is_warned_of_but_opens_a_room(lee: Person) -> None:
    page = lee.first_page
    for password, is_weak in (
        ("short", True),
        ("short but not for long", False),
        ("chemistry", True),
        ("31415926", True),
        ("k7m-w", True),
        (PASSWORD, False),
        ("", False),
        ("abc", True),
    ):
        type_into(lee, page.password.entry, password)
        lee.press("KeyRelease-space")
        assert page.password_note.cget("text") == (Words.weak_password if is_weak else "")
    host(lee, "abc")
    assert Words.encrypted_room in lee.everything()


def test_enter_in_the_password_box_opens_no_room(lee: Person) -> None:
    lee.first_page.password.entry.focus_force()
    lee.press("Return")
    assert lee.app.session is None
    assert lee.root.focus_get() is lee.first_page.host


# In the room ------------------------------------------------------------------


@needs_tls
def test_the_host_sees_the_password_when_asked_and_copies_it_without(
    lee: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_gui, "COPIED_TIME", 1)
    host(lee, PASSWORD)
    assert Words.encrypted_room in lee.everything()
    assert Words.open_room not in lee.everything()
    header = lee.chat.header
    header.copy_password.invoke()
    assert header.copy_password.cget("text") == Words.copied
    assert lee.root.clipboard_get() == PASSWORD
    assert PASSWORD not in lee.everything()
    lee.wait(lambda: header.copy_password.cget("text") == Words.copy_password, "the button can be used again")
    for words, is_shown in ((Words.hide_password, True), (Words.show_password, False)):
        lee.click(header.show_password)
        assert (PASSWORD in lee.everything()) == is_shown
        assert header.show_password.cget("text") == words
    lee.say("exit")
    assert lee.first_page.password.get() == PASSWORD, "it stays in the box for the next room"
    assert is_hidden(lee.first_page.password)


def test_a_host_without_a_password_reads_that_the_room_is_not_encrypted(lee: Person) -> None:
    host(lee)
    shows_no_password(lee, Words.open_room)


@needs_tls
@pytest.mark.parametrize(("room", "words"), [("locked", Words.encrypted_room), ("unlocked", Words.open_room)])
def test_others_read_whether_the_room_is_encrypted_but_no_password(
    ann: Person, request: pytest.FixtureRequest, room: str, words: str
) -> None:
    server = request.getfixturevalue(room)
    try_to_join(ann, server.port, PASSWORD if room == "locked" else "")
    ann.wait_until_in()
    shows_no_password(ann, words)


def shows_no_password(someone: Person, words: str) -> None:
    header = someone.chat.header
    assert {Words.encrypted_room, Words.open_room} & set(someone.everything().split("\n")) == {words}
    for hidden in (header.password, header.show_password, header.copy_password):
        assert not hidden.winfo_ismapped()


def test_the_host_is_told_of_wrong_passwords(lee: Person) -> None:
    host(lee)
    feed(lee, net.WrongPassword("10.0.0.9", 5), net.WrongPassword("", 20))
    assert Words.guessed.format(address="10.0.0.9", number=5) in lee.log()
    assert Words.guessed_everywhere.format(number=20) in lee.log()


# Joining ----------------------------------------------------------------------


@needs_tls
def test_a_teacher_and_a_pupil_agree_on_a_password_and_talk(lee: Person, ann: Person) -> None:
    lee.click(lee.first_page.suggest)
    password = lee.first_page.password.get()
    lee.click(lee.first_page.host)
    lee.wait_until_in()
    try_to_join(ann, lee.chat.port, password.replace("-", " "))
    ann.wait_until_in()
    ann.say("hello")
    lee.wait(lambda: lee.said() == ["hello"], "it is heard")


@needs_tls
def test_a_wrong_password_can_be_corrected_where_it_was_typed(ann: Person, locked: net.Server) -> None:
    try_to_join(ann, locked.port, "k7m-w3g")
    is_told(ann, Words.refused["wrong"])
    box = ann.join_page.password
    assert box.get() == "k7m-w3g", "it is still there"
    assert ann.join_page.address.get() == f"{LOOPBACK}:{locked.port}"
    ann.look_here()
    box.entry.selection_clear()
    box.entry.icursor("end")
    ann.press("BackSpace")
    ann.type("h")
    ann.press("Return")
    ann.wait_until_in()


@needs_tls
def test_the_password_that_a_room_was_joined_with_need_not_be_typed_again(ann: Person, locked: net.Server) -> None:
    try_to_join(ann, locked.port, "a wrong one")
    is_told(ann, Words.refused["wrong"])
    ann.click(ann.join_page.back)
    ann.click(ann.first_page.join)
    assert ann.join_page.password.get() == "", "a wrong one is not kept"
    try_to_join(ann, locked.port, PASSWORD)
    ann.wait_until_in()
    ann.say("exit")
    assert ann.first_page.password.get() == "", "a new room is open unless its host says otherwise"
    ann.click(ann.first_page.join)
    assert ann.join_page.address.get() == f"{LOOPBACK}:{locked.port}"
    assert ann.join_page.password.get() == PASSWORD, "it is offered for this room"
    assert is_hidden(ann.join_page.password)
    ann.press("Return")
    ann.wait_until_in()
    ann.say("exit")
    type_into(ann, ann.first_page.password.entry, "another")
    ann.click(ann.first_page.join)
    assert ann.join_page.password.get() == "another", "what was typed last counts"


@needs_tls
@pytest.mark.parametrize("where", ["join page", "first page"])
def test_a_password_that_let_somebody_into_a_room_is_offered_to_no_other(
    person: Open, locked: net.Server, open_room: OpenRoom, where: str
) -> None:
    someone = person("Ann")
    if where == "first page":
        type_into(someone, someone.first_page.password.entry, PASSWORD)
    someone.click(someone.first_page.join)
    try_to_join(someone, locked.port, PASSWORD if where == "join page" else "")
    someone.wait_until_in()
    someone.say("exit")
    someone.click(someone.first_page.join)
    try_to_join(someone, open_room("Another room", password=PASSWORD).port)
    is_told(someone, Words.password_missing)
    assert someone.join_page.password.get() == ""
    type_into(someone, someone.join_page.address, f"{LOOPBACK}:{locked.port}")
    assert someone.join_page.password.get() == PASSWORD


@needs_tls
def test_choosing_in_the_list_offers_each_room_its_own_password(ann: Person, finders: list[FakeFinder]) -> None:
    ann.app.passwords.update({(LOOPBACK, 1): PASSWORD, (LOOPBACK, 2): "another"})
    titles = ("Lee", "Kim", "Stranger")
    find(ann, finders, *(found(port, password=True, title=title) for port, title in enumerate(titles, 1)))
    page = ann.join_page
    page.list.focus_force()
    for key, password in (("Home", PASSWORD), ("Down", "another"), ("Down", ""), ("Up", "another")):
        ann.press(key)
        assert page.password.get() == password
    type_into(ann, page.password.entry, "typed")
    page.list.focus_force()
    ann.press("Home")
    assert page.password.get() == "typed", "what a person typed stays"


@needs_tls
def test_a_password_that_is_missing_for_a_typed_address_is_asked_for(ann: Person, locked: net.Server) -> None:
    try_to_join(ann, locked.port)
    is_told(ann, Words.password_missing)
    ann.type(PASSWORD)
    ann.press("Return")
    ann.wait_until_in()


@needs_tls
def test_a_password_that_is_missing_for_a_room_in_the_list_is_asked_for_before_it_is_tried(
    ann: Person, locked: net.Server, finders: list[FakeFinder], monkeypatch: pytest.MonkeyPatch
) -> None:
    room, page = found(locked.port, password=True), ann.join_page
    find(ann, finders, room)
    ways: list[Callable[[], None]] = [
        lambda: ann.press("Return"),
        lambda: ann.click(page.join),
        lambda: ann.click_row(page.list, chat_gui.row_of(room), times=2),
    ]
    with monkeypatch.context() as patch:
        patch.setattr(ann.app, "join", None)  # so trying it would fail
        for way in ways:
            page.say("")
            page.list.focus_force()
            way()
            is_told(ann, Words.password_missing)
    for password in ("wrong", PASSWORD):
        type_into(ann, page.password.entry, password)
        ann.press("Return")
        if password == "wrong":
            is_told(ann, Words.refused["wrong"])
    ann.wait_until_in()


@needs_tls
def test_a_room_without_a_password_is_not_joined_while_one_stands_in_the_box(
    ann: Person, unlocked: net.Server, finders: list[FakeFinder]
) -> None:
    """Anyone can answer with the title of the intended room, but must get neither the password nor a join."""
    type_into(ann, ann.join_page.password.entry, PASSWORD)
    find(ann, finders, found(unlocked.port, password=False))
    ann.join_page.list.focus_force()
    ann.press("Down", "Return")
    is_told(ann, Words.refused["open"].format(address=f"{LOOPBACK}:{unlocked.port}"))
    ann.look_here()
    ann.press("Key-BackSpace")  # all of it is selected
    assert ann.join_page.password.get() == ""
    ann.press("Return")
    ann.wait_until_in()


@needs_tls
def test_a_password_of_nothing_but_spaces_is_told_in_words(lee: Person, locked: net.Server) -> None:
    type_into(lee, lee.first_page.password.entry, "  ")
    lee.click(lee.first_page.host)
    assert lee.app.session is None
    assert Words.empty_password in lee.everything()
    lee.click(lee.first_page.join)
    try_to_join(lee, locked.port, "  ")
    is_told(lee, Words.empty_password)


@needs_tls
def test_after_too_many_wrong_passwords_the_page_counts_down_the_time_to_wait(
    ann: Person, open_room: OpenRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("GUESSES", "GUESSES_WHERE_KNOWN"):
        monkeypatch.setattr(net, limit, (2.0, 0.001))  # two at once, and then none for longer than any test takes
    room = open_room(password=PASSWORD)
    try_to_join(ann, room.port, "wrong")
    is_told(ann, Words.refused["wrong"])
    ann.join_page.say("")
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
    version = ".".join(map(str, sys.version_info[:2]))
    words = f"This computer has Python {version}; a room password needs 3.13 or newer."
    page = ann.first_page
    assert words in ann.everything()
    for closed in (page.password.entry, page.password.button, page.suggest):
        assert closed.instate(["disabled"])
    ann.click(page.suggest)
    assert page.password.get() == ""
    ann.click(page.join)
    assert words in ann.everything()
    for closed in (ann.join_page.password.entry, ann.join_page.password.button):
        assert closed.instate(["disabled"])


@pytest.mark.usefixtures("older_python")
def test_on_an_older_python_open_rooms_work_and_rooms_with_a_password_in_the_list_are_not_tried(
    lee: Person, ann: Person, finders: list[FakeFinder]
) -> None:
    lee.click(lee.first_page.host)
    lee.wait_until_in()
    find(ann, finders, found(net.PORT, password=True))
    ann.press("Return")
    assert ann.app.session is None
    assert ann.join_page.message.cget("text") == chat_gui.needs_new_python()
    try_to_join(ann, lee.chat.port)
    ann.wait_until_in()
    ann.say("hello")
    lee.wait(lambda: lee.said() == ["hello"], "it is heard")


@needs_tls
def test_on_an_older_python_a_room_with_a_password_is_told_as_such(
    ann: Person, locked: net.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "CAN_ENCRYPT", False)
    try_to_join(ann, locked.port)
    ann.sees(chat_gui.needs_new_python())


# The command line -------------------------------------------------------------


@needs_tls
def test_the_password_of_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for mode in (["--host"], ["--join", "pc"], []):
        assert chat_gui.parse_arguments([*mode, "--password", "a b"]).password == "a b"
        assert chat_gui.parse_arguments(mode).password == ""
    for typed in ("a b-c\n", "a b-c\r\n", "a b-c", "a b-c\nsomething else\n"):
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
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
@pytest.mark.parametrize(("password", "typed"), [("-", ""), ("-", "\n"), ("  ", "")])
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
    """Each program is a process of its own; this test is in the room too, and hears both."""
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
