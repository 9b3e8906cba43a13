"""A room password in the window: how one is made, shown, asked for, and what is said where it does not fit."""

from __future__ import annotations

import io
import queue
import sys
from typing import Any
from unittest.mock import patch

import pytest

import chat_gui
import net
from tests.conftest import OpenRoom
from tests.helpers import LOOPBACK, expect, needs_tls, own_ports, until
from tests.test_start import running
from tests.windows import Open, Person, feed, find, room_at

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
def ann(person: Open) -> Person:
    """Somebody at the join page."""
    someone = person("Ann")
    someone.click(someone.first_page.join)
    return someone


def host(someone: Person, password: str = "") -> None:
    """Types the password on the first page, and clicks Host."""
    someone.type_into(someone.first_page.password.entry, password)
    someone.click(someone.first_page.host)
    someone.wait_until_in()


def try_to_join(someone: Person, port: int, password: str = "") -> None:
    """Types address and password, and presses Enter."""
    if password:
        someone.type_into(someone.join_page.password.entry, password)
    someone.type_into(someone.join_page.address, f"{LOOPBACK}:{port}")
    someone.press("Return")


def is_told(someone: Person, words: str) -> None:
    """At the join page, when the attempt is over; the password can then be corrected."""
    someone.wait(lambda: someone.join_page.message.cget("text") == words, f"{words!r} is told")
    assert someone.app.session is None
    assert someone.join_page.join.instate(["!disabled"])
    assert someone.root.focus_lastfor() is someone.join_page.password.entry


def is_hidden(box: chat_gui.PasswordBox) -> bool:
    return str(box.entry.cget("show")) == chat_gui.HIDDEN


@needs_tls
def test_each_suggested_password_is_another_one_and_hidden_until_it_is_shown(lee: Person) -> None:
    page = lee.first_page
    page.suggest.invoke()
    suggested = page.password.get()
    page.suggest.invoke()
    assert page.password.get() != suggested
    assert len(net.clean_password(suggested)) == 6
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
    for password, is_weak in ((PASSWORD, False), ("chemistry", True), ("31415926", True), ("", False), ("abc", True)):
        lee.type_into(page.password.entry, password)
        assert page.password_note.cget("text") == (Words.weak_password if is_weak else "")
    host(lee, "abc")
    assert Words.encrypted_room in lee.everything()


# In the room ------------------------------------------------------------------


@needs_tls
def test_hosts_see_the_password_when_asked_and_copy_it_without(lee: Person, monkeypatch: pytest.MonkeyPatch) -> None:
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


@needs_tls
@pytest.mark.parametrize(("password", "words"), [(PASSWORD, Words.encrypted_room), ("", Words.open_room)])
def test_others_read_whether_the_room_is_encrypted_but_no_password(
    ann: Person, open_room: OpenRoom, password: str, words: str
) -> None:
    try_to_join(ann, open_room(password=password or None).port, password)
    ann.wait_until_in()
    header = ann.chat.header
    assert {Words.encrypted_room, Words.open_room} & set(ann.everything().split("\n")) == {words}
    for hidden in (header.password, header.show_password, header.copy_password):
        assert not hidden.winfo_ismapped()


def test_the_host_is_told_of_wrong_passwords(lee: Person) -> None:
    host(lee)
    feed(lee, net.WrongPassword("10.0.0.9", 5), net.WrongPassword("", 20))
    assert Words.guessed.format(address="10.0.0.9", number=5) in lee.log()
    assert Words.guessed_everywhere.format(number=20) in lee.log()


# Joining ----------------------------------------------------------------------


@needs_tls
def test_a_wrong_password_can_be_corrected_where_it_was_typed(ann: Person, locked: net.Server) -> None:
    try_to_join(ann, locked.port, "k7m-w3g")
    is_told(ann, Words.refused["wrong"])
    box = ann.join_page.password
    assert box.get() == "k7m-w3g", "it is still there"
    assert ann.join_page.address.get() == f"{LOOPBACK}:{locked.port}"
    ann.type(PASSWORD)  # what stands there is selected
    ann.press("Return")
    ann.wait_until_in()


@needs_tls
def test_a_password_that_let_somebody_into_a_room_is_offered_for_it_again_and_for_no_other(
    ann: Person, locked: net.Server, open_room: OpenRoom
) -> None:
    try_to_join(ann, locked.port, "a wrong one")
    is_told(ann, Words.refused["wrong"])
    ann.click(ann.join_page.back)
    ann.click(ann.first_page.join)
    assert ann.join_page.password.get() == "", "a wrong one is not kept"
    ann.click(ann.join_page.back)
    ann.type_into(ann.first_page.password.entry, PASSWORD)
    ann.click(ann.first_page.join)
    try_to_join(ann, locked.port)
    ann.wait_until_in()
    ann.say("exit")
    assert ann.first_page.password.get() == "", "a new room is open unless its host says otherwise"
    ann.click(ann.first_page.join)
    assert ann.join_page.address.get() == f"{LOOPBACK}:{locked.port}"
    assert ann.join_page.password.get() == PASSWORD, "it is offered for this room"
    assert is_hidden(ann.join_page.password)
    try_to_join(ann, open_room("Another room", password=PASSWORD).port)
    is_told(ann, Words.password_missing)
    assert ann.join_page.password.get() == ""
    ann.type_into(ann.join_page.address, f"{LOOPBACK}:{locked.port}")
    assert ann.join_page.password.get() == PASSWORD
    ann.press("Return")
    ann.wait_until_in()
    ann.say("exit")
    ann.type_into(ann.first_page.password.entry, "another")
    ann.click(ann.first_page.join)
    assert ann.join_page.password.get() == "another", "what was typed last counts"


@needs_tls
def test_choosing_in_the_list_offers_each_room_its_own_password(ann: Person) -> None:
    ann.app.passwords.update({f"{LOOPBACK}:1": PASSWORD, f"{LOOPBACK}:2": "another"})
    titles = ("Lee", "Kim", "Stranger")
    find(ann, *(room_at(port, title, password=True) for port, title in enumerate(titles, 1)))
    page = ann.join_page
    page.list.focus_force()
    for key, password in (("Home", PASSWORD), ("Down", "another"), ("Down", ""), ("Up", "another")):
        ann.press(key)
        assert page.password.get() == password
    ann.type_into(page.password.entry, "typed")
    page.list.focus_force()
    ann.press("Home")
    assert page.password.get() == "typed", "what a person typed stays"


@needs_tls
def test_a_password_missing_for_a_room_in_the_list_is_asked_for_before_trying(ann: Person, locked: net.Server) -> None:
    find(ann, room_at(locked.port, password=True))
    with patch.object(ann.app, "join", None):  # so trying it would fail
        ann.press("Return")
        is_told(ann, Words.password_missing)
    ann.type(PASSWORD)
    ann.press("Return")
    ann.wait_until_in()


@needs_tls
def test_a_room_without_a_password_is_not_joined_while_one_stands_in_the_box(ann: Person, room: net.Server) -> None:
    """Anyone can answer with the title of the intended room, but must get neither the password nor a join."""
    ann.type_into(ann.join_page.password.entry, PASSWORD)
    find(ann, room_at(room.port))
    ann.join_page.list.focus_force()
    ann.press("Down", "Return")
    is_told(ann, Words.refused["open"].format(address=f"{LOOPBACK}:{room.port}"))
    ann.look_here()
    ann.press("Key-BackSpace")  # all of it is selected
    assert ann.join_page.password.get() == ""
    ann.press("Return")
    ann.wait_until_in()


@needs_tls
def test_a_password_of_nothing_but_spaces_is_told_in_words(lee: Person, locked: net.Server) -> None:
    lee.type_into(lee.first_page.password.entry, "  ")
    lee.click(lee.first_page.host)
    assert lee.app.session is None
    assert Words.empty_password in lee.everything()
    lee.click(lee.first_page.join)
    try_to_join(lee, locked.port, "  ")
    is_told(lee, Words.empty_password)


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
    ann.click(page.join)
    assert words in ann.everything()
    for closed in (ann.join_page.password.entry, ann.join_page.password.button):
        assert closed.instate(["disabled"])


@pytest.mark.usefixtures("older_python")
def test_on_an_older_python_open_rooms_work_and_others_in_the_list_are_not_tried(lee: Person, ann: Person) -> None:
    lee.click(lee.first_page.host)
    lee.wait_until_in()
    assert Words.open_room in lee.everything()
    find(ann, room_at(net.PORT, password=True))
    ann.press("Return")
    assert ann.app.session is None
    assert ann.join_page.message.cget("text") == chat_gui.needs_new_python()
    try_to_join(ann, lee.chat.port)
    ann.wait_until_in()
    ann.say("hello")
    lee.wait(lambda: lee.said() == ["hello"], "it is heard")


@needs_tls
def test_on_an_older_python_a_room_with_a_password_is_told_as_such(ann: Person, locked: net.Server) -> None:
    with patch.object(net, "CAN_ENCRYPT", False):
        try_to_join(ann, locked.port)
        ann.sees(chat_gui.needs_new_python())


# The command line -------------------------------------------------------------


@needs_tls
def test_the_password_of_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chat_gui.parse_arguments(["--join", "pc", "--password", "a b"]).password == "a b"
    assert chat_gui.parse_arguments(["--host"]).password == ""
    for typed in ("a b-c\r\n", "a b-c\nsomething else\n"):
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        assert chat_gui.parse_arguments(["--host", "--password", "-"]).password == "a b-c"


@pytest.mark.usefixtures("older_python")
def test_on_an_older_python_a_password_on_the_command_line_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        chat_gui.main(["--host", "--password", "secret"])
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
def test_a_room_with_a_password_is_hosted_from_the_command_line() -> None:
    events: queue.Queue[Any] = queue.Queue()
    with own_ports() as ports, running("--host", "--port", str(ports[0]), "--password", PASSWORD.upper()):
        with net.run_client(LOOPBACK, "Ann", events, port=ports[0], password=PASSWORD) as ann:
            expect(events, net.Welcome)
        until(lambda: ann.join(0), "Ann has left")
