"""The window in use: by keyboard alone; finding, links, copying and pasting, and saving the chat."""

from __future__ import annotations

import re
import sys
import threading
import time
import tkinter as tk
from collections.abc import Callable
from pathlib import Path
from tkinter import ttk

import pytest

import chat_gui
import net
from tests.helpers import until
from tests.windows import SMALL, USUAL, Dialogs, Open, Person, Size, feed, name_of, said, shared, shown

Words = chat_gui.Words
pytestmark = pytest.mark.usefixtures("unposted", "finders")
not_on_mac = pytest.mark.skipif(sys.platform == "darwin", reason="there it is Command")
on_x11 = pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="there the system decides about this")


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
        if widget is someone.box:
            return found
    raise AssertionError(f"the composer is not reached again: {[name_of(widget) for widget in found]}")


@pytest.mark.parametrize("size", [SMALL, USUAL])
def test_tab_reaches_every_part_of_the_window_and_shift_tab_goes_back(host: Person, ann: Person, size: Size) -> None:
    for someone in (host, ann):
        someone.resize(size)
        forwards = tab_round(someone, "Tab")
        wanted = {w for w in shown(someone.root) if isinstance(w, (ttk.Button, ttk.Entry, tk.Text, ttk.Treeview))}
        disabled = {w for w in wanted if isinstance(w, ttk.Button) and w.instate(["disabled"])}
        assert set(forwards) == wanted - disabled
        assert tab_round(someone, "Shift-Tab")[:-1] == forwards[-2::-1]


def test_up_in_an_empty_box_brings_back_the_last_message(host: Person) -> None:
    host.press("Up")
    assert host.typed() == ""
    host.say("one")
    host.paste("if x:\n    print")
    host.press("Return")
    for keys in (["Up"], ["Up", "Up"]):  # then it moves in the text as usual
        host.press(*keys)
        assert host.typed() == "if x:\n    print"


def test_escape_gives_the_keyboard_back_to_the_composer(host: Person) -> None:
    ways: list[Callable[[], None]] = [lambda: host.press("Control-f"), lambda: host.press("F1")]
    ways += [lambda: host.focus(host.log_text), lambda: host.focus(host.button(Words.send))]
    for go_elsewhere in ways:
        go_elsewhere()
        assert host.root.focus_get() is not host.box
        host.press("Escape")
        assert host.root.focus_get() is host.box
        assert not host.chat.find_bar.entry.winfo_ismapped()
        assert not host.chat.keys.text.winfo_ismapped()


@pytest.mark.parametrize("way", ["click", "Return"])
def test_after_send_the_composer_has_the_keyboard(host: Person, way: str) -> None:
    send = host.button(Words.send)
    host.type("hello")
    host.focus(send)  # as a real click does, and Tab
    host.click(send) if way == "click" else host.press(way)
    assert (host.root.focus_get(), host.typed()) == (host.box, "")


@not_on_mac
def test_typing_and_pasting_in_the_log_go_to_the_composer(host: Person) -> None:
    before = host.log()
    host.type("wrong")
    host.box.tag_add("sel", "1.0", "end-1c")
    host.focus(host.log_text)
    host.type("Hi.")
    assert (host.root.focus_get(), host.typed()) == (host.box, "Hi."), "it replaces what is selected"
    host.fill_clipboard(" pasted")
    host.press_in(host.log_text, "Control-v")
    assert (host.root.focus_get(), host.typed()) == (host.box, "Hi. pasted")
    assert host.log() == before


def test_keys_without_a_letter_and_a_blocked_box_take_nothing_that_is_typed_in_the_log(host: Person) -> None:
    keys = ["Control-k", "Tab", "Delete", "F5", "Left", "BackSpace"]
    keys += [] if sys.platform == "win32" else ["Mod1-x"]  # there Mod1 is Num Lock
    for key in keys:
        host.press_in(host.log_text, key)
    assert host.typed() == ""
    feed(host, net.Muted(True))
    host.press_in(host.log_text, "x", "Control-v")
    assert host.root.focus_get() is host.log_text
    feed(host, net.Muted(False))
    assert host.typed() == ""


def chosen(someone: Person) -> str:
    message = someone.chat.log.chosen()
    return "" if message is None else message.text


def test_up_and_down_choose_a_message_in_the_log(host: Person) -> None:
    feed(host, said(100, "one"), said(101, "two\nlines"), said(102, "three"))
    host.focus(host.log_text)
    assert chosen(host) == ""
    wanted = ["three", "two\nlines", "one", "two\nlines", "three", "three"]
    for key, text in zip(["Up", "Up", "Up", "Down", "Down", "Down"], wanted, strict=True):
        host.press(key)
        assert chosen(host) == text
    host.press("Up")
    assert host.tagged("chosen")[0].endswith("two\nlines\n")
    host.hear(200)
    host.press_in(host.log_text, *["Down"] * 60)
    assert host.log_text.bbox("chosen.first") is not None, "it is scrolled to"


def test_enter_opens_the_link_of_the_chosen_message(host: Person, pages: list[str]) -> None:
    feed(host, said(100, "see http://example.org/one please"), said(101, "no link"))
    host.press_in(host.log_text, "Return", "Up", "Return")
    assert pages == []
    host.press("Up", "Return")
    until(lambda: len(pages) == 1, "the page opens")
    host.press("KP_Enter")
    until(lambda: pages == ["http://example.org/one"] * 2, "the page opens")


@pytest.mark.parametrize("key", ["Menu", "Shift-F10"])
def test_the_menu_key_lists_the_chosen_messages_actions(ann: Person, key: str, unposted: list[tuple[int, int]]) -> None:
    feed(ann, shared(100, "map.png"), said(101, "after"))
    log = ann.log_text
    ann.press_in(log, key)
    assert ann.menu() == [Words.menu_save_chat]
    ann.press("Up", "Up", key)
    assert ann.menu() == [Words.copy_message, Words.save, Words.menu_save_chat]
    x, y = unposted[-1]
    assert log.winfo_rootx() <= x <= log.winfo_rootx() + log.winfo_width()
    assert log.winfo_rooty() <= y <= log.winfo_rooty() + log.winfo_height()
    ann.choose(Words.copy_message)
    assert ann.root.clipboard_get() == "shared map.png (5 bytes)"


def test_every_command_of_the_menu_has_a_key_or_is_a_button(host: Person, dialogs: Dialogs) -> None:
    host.press_in(host.button(Words.menu), "Return")
    assert host.menu()[0] == Words.pause
    for number, words in enumerate(host.menu()[1:], start=1):
        key = str(host.app.page.menu.entrycget(number, "accelerator")).strip()
        assert re.fullmatch(r"Ctrl ?[+\-]?\w?|F\d+", key), words
    host.choose(Words.find)
    assert host.chat.find_bar.entry.winfo_ismapped()
    host.choose(Words.menu_save_chat)
    host.press_in(host.box, "Control-o")
    assert [options["title"] for options in dialogs.asked] == [Words.save_chat, Words.choose_files]
    assert host.typed() == "", "Tk's own Control-o would make a new line"
    host.choose(Words.menu_larger)
    assert host.app.looks.percent == 110
    host.choose(Words.menu_keys)
    assert host.chat.keys.text.winfo_ismapped()


def test_f1_shows_the_keys_and_hides_them_and_tab_leads_away(host: Person) -> None:
    text = host.chat.keys.text
    host.press("F1")
    for keys, words in Words.keys:
        assert f"{keys}\t{words}" in host.everything()
    assert host.root.focus_get() is text
    shown = text.get("1.0", "end")
    host.press("x", "Return")
    assert text.get("1.0", "end") == shown
    host.press("F1")
    assert not text.winfo_ismapped()
    assert host.root.focus_get() is host.box
    for key in ("Tab", "Shift-Tab"):
        host.press_in(text, "F1", key)
        assert host.root.focus_get() is not text
        host.press("Escape")


def test_on_a_mac_the_keys_have_the_names_they_have_there(person: Open) -> None:
    someone = person("Ann")
    someone.app.looks.is_mac = True
    someone.host()
    someone.press("F1")
    assert "Command+F" in someone.everything()
    assert "Ctrl" not in someone.everything()
    someone.click(someone.button(Words.menu))
    assert str(someone.app.page.menu.entrycget(someone.menu().index(Words.find), "accelerator")).strip() == "Command+F"


@not_on_mac
def test_control_y_redoes_what_control_z_undid(host: Person) -> None:
    host.fill_clipboard("pasted")
    host.type("one")
    host.box.edit_separator()
    host.type("two")
    host.press("Control-z")
    assert host.typed() == "one"
    host.press("Control-y", "Control-y")
    assert host.typed() == "onetwo", "there is nothing more to redo, and it pastes nothing"


@not_on_mac
def test_control_backspace_deletes_the_word_before_the_cursor(host: Person) -> None:
    words = {"one two  ": "one ", "": "", "a \u4f60\u597d": "a "}
    host.look_here()
    for before, after in words.items():
        host.box.delete("1.0", "end")
        host.box.insert("1.0", f"{before}|rest")
        host.box.mark_set("insert", f"1.0 +{len(before)}c")
        host.press("Control-BackSpace")
        assert host.typed() == f"{after}|rest"
    feed(host, net.Muted(True))
    host.press_in(host.box, "Control-BackSpace")
    assert host.typed() == "a |rest", "a blocked box stays as it is"
    host.press("Control-f")
    host.chat.find_bar.entry.insert(0, "Ann of Cleves")
    host.press("Control-BackSpace")
    assert host.chat.find_bar.entry.get() == "Ann of "


def test_f11_fills_the_screen_and_gives_it_back(host: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    state = [0]

    def attributes(name: str, *value: int) -> int:
        assert name == "-fullscreen"
        state.extend(value)
        return state[-1]

    monkeypatch.setattr(host.root, "attributes", attributes)  # without a window manager nothing would happen
    host.press("F11", "F11")
    assert state == [0, 1, 0]


def test_the_keys_of_a_room_do_nothing_outside(person: Open, dialogs: Dialogs) -> None:
    someone = person("Ann")
    before = someone.everything()
    someone.press("Control-f", "Control-s", "Control-o", "F1", "Escape")
    assert (someone.everything(), dialogs.asked) == (before, [])


# Finding and links ------------------------------------------------------------


def find(someone: Person, text: str) -> None:
    someone.press("Control-f")
    someone.chat.find_bar.entry.delete(0, "end")
    someone.chat.find_bar.entry.insert(0, text)
    someone.press("Return")


def found(someone: Person) -> list[int]:
    """The lines in which something is marked; the present one negative."""
    log = someone.log_text
    now = {str(index).split(".")[0] for index in log.tag_ranges("found now")}
    lines = [str(index).split(".")[0] for index in log.tag_ranges("found")[::2]]
    return [-int(line) if line in now else int(line) for line in lines]


def test_what_is_typed_is_found_at_once_the_newest_first(host: Person) -> None:
    feed(host, *(said(100 + n, text) for n, text in enumerate(["Apple", "pear", "an apple", "APPLE pie"])))
    a, b, c = (int(host.log_text.search(text, "1.0").split(".")[0]) for text in ("Apple", "an apple", "APPLE pie"))
    host.press("Control-f")
    for typed in ("app", "le"):
        host.type(typed)
        assert found(host) == [a, b, -c]
    host.press("Return")
    assert found(host) == [a, -b, c]
    host.press("KP_Enter")
    assert found(host) == [-a, b, c]
    host.press("Return")
    assert found(host) == [a, b, -c], "round the top"
    host.press("Shift-Return")
    assert found(host) == [-a, b, c], "round the end"
    feed(host, said(200, "one more apple"), said(201, "an apple that is deleted"), net.TakenBack(202, 0.0, 201))
    host.press("Return")
    assert [abs(line) for line in found(host)] == [a, b, c, c + 1]
    host.type("s")
    assert found(host) == []
    assert Words.not_found in host.everything()
    host.press("BackSpace")
    assert len(found(host)) == 4
    assert Words.not_found not in host.everything()
    host.hear(300, "pear")
    before = found(host)
    host.click(host.button("\u2191"))
    assert found(host) != before
    assert host.log_text.bbox("found now.first") is not None, "it is scrolled to"
    host.click(host.button("\u2193"))
    assert found(host) == before
    host.click(host.button(Words.close))
    assert found(host) == []


def test_of_very_many_places_the_newest_are_found(host: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a pupil who sends one letter a thousand times could hold up everyone who looks for it."""
    monkeypatch.setattr(chat_gui, "MOST_FOUND", 4)
    feed(host, said(100, "qq"), said(101, "qqqq"), said(102, "qq"))
    log = host.log_text
    find(host, "q")
    start = log.search("qqqq", "1.0")
    marked = [log.index(index) for index in log.tag_ranges("found")]
    assert marked == [log.index(f"{start}{place}") for place in ("+2c", "+4c", "+1l", "+1l+2c")]


def test_signs_and_letters_beside_emoji_are_found_as_they_are(host: Person) -> None:
    """Tk 8.6's own search ends the whole program where it ignores the case of an emoji."""
    feed(host, said(100, "abc"), said(101, "-nocase [x a.c $x { \\"))
    feed(host, said(102, "a\U0001f600\U0001f600 b\u00c9T\u00e9 bOB"))
    for wanted in ("-nocase", "[x", "a.c", "$x", "{", "\\", "bob", "\U0001f600 b", "\U0001f600", "\u00e9t\u00c9"):
        find(host, wanted)
        (at,) = host.tagged("found now")
        assert at.casefold() == wanted.casefold()


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the browser was asked to show."""
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    return opened


def test_a_click_on_a_link_opens_exactly_this_one_and_a_click_beside_it_nothing(host: Person, pages: list[str]) -> None:
    """A long one is drawn on several lines, and X11 draws only some kinds of emoji in a message."""
    links = ["http://a.org/1?b=c&d#e", "HTTPS://a.org/2"]
    text = f"ftp://a.org ({links[0]}) or\n{links[1]}, and more"
    feed(host, said(100, text))
    assert text in host.log()
    assert host.tagged("link") == links
    host.click(host.log_text, *host.point("and more"))
    assert not [thread for thread in threading.enumerate() if thread.name == "browser opened"]
    assert pages == []
    for number, link in enumerate(links, 1):
        host.click_link(link)
        until(lambda number=number: pages == links[:number], "the page opens")  # type: ignore[misc]
    faces = "".join(map(chr, range(0x1F600, 0x1F620)))
    links.append(f"https://a.org/{'x' * 2_000}{faces}")
    text = f"{faces}\t{links[-1]} {faces}"
    feed(host, said(101, text))
    assert host.log().count(chat_gui.drawable(text)) == 1, "all of it is drawn, once"
    *_, end = host.log_text.tag_ranges("link")
    host.click(host.log_text, *host.middle_of_letter(f"{end} -1c"))
    until(lambda: pages == links, "the page opens")


@pytest.mark.parametrize(("word", "tag"), [("http://a", "link"), ("@Mr Lee", "mention")])
def test_a_message_full_of_links_or_mentions_has_only_some_of_them_marked(host: Person, word: str, tag: str) -> None:
    """With many marked pieces on a line Tk takes seconds to draw it."""
    for number, between in enumerate([" ", "\n", " x\n"], 1):
        text = f"{word}{between}" * (net.MAX_TEXT_LINES - 1)
        feed(host, said(100, text))
        assert text.rstrip() in host.log()
        assert host.tagged(tag) == [word] * chat_gui.MOST_MARKED * number


# The edit menu and the middle button ------------------------------------------

EDIT = [Words.cut, Words.copy, Words.paste, Words.select_all]


def edit_menu(someone: Person, widget: tk.Misc, way: str = "mouse") -> list[str]:
    someone.look_here()
    if way == "mouse":
        someone.right_click(widget, 3, 3)
    else:
        someone.press_in(widget, way)
    return someone.menu()


def test_boxes_of_tks_own_dialogs_which_tkinter_does_not_know_have_no_edit_menu(host: Person) -> None:
    host.root.tk.eval("place [ttk::entry .box] -x 0 -y 0; update; event generate .box <<ContextMenu>>; destroy .box")
    assert host.menu() == []


def select_all(someone: Person, widget: tk.Misc) -> None:
    """With the command of the edit menu."""
    assert Words.select_all in edit_menu(someone, widget)
    someone.choose(Words.select_all)


def test_a_person_who_knows_only_the_menu_cuts_copies_and_pastes_in_every_box(host: Person) -> None:
    host.press("Control-f")
    boxes: list[tuple[tk.Misc, str]] = [(host.box, "mouse"), (host.chat.find_bar.entry, "Menu")]
    for widget, way in boxes:
        assert edit_menu(host, widget, way) == [Words.paste, Words.select_all], "there is nothing to copy"
        host.focus(widget)
        host.type("good")
        for words in (Words.copy, Words.cut):
            select_all(host, widget)
            assert edit_menu(host, widget, way) == EDIT
            host.root.clipboard_clear()
            host.choose(words)
            assert host.root.clipboard_get().strip() == "good", "in a text Tk selects the last newline too"
        assert edit_menu(host, widget, way) == [Words.paste, Words.select_all], "it was cut"
        host.choose(Words.paste)
        assert "good" in host.everything()
        assert host.root.focus_get() is widget
        select_all(host, widget)
        host.press("BackSpace")
    feed(host, said(100, "good"))
    edit_menu(host, host.chat.find_bar.entry)
    host.choose(Words.paste)
    assert len(found(host)) == 1, "what is pasted by mouse is looked for at once"


def test_a_password_is_copied_only_while_it_shows(person: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "CAN_ENCRYPT", True)
    someone = person("Ann")
    password = someone.first_page.password
    password.set("secret")
    select_all(someone, password.entry)
    assert edit_menu(someone, password.entry) == [Words.paste, Words.select_all]
    someone.click(password.button)
    assert edit_menu(someone, password.entry) == EDIT


def test_a_blocked_box_can_only_be_copied_and_the_hint_is_not_in_the_way(host: Person) -> None:
    assert edit_menu(host, host.chat.composer.hint) == [Words.paste, Words.select_all]
    assert host.root.focus_get() is host.box
    host.type("draft")
    feed(host, net.Muted(True))
    select_all(host, host.box)
    assert edit_menu(host, host.box) == [Words.copy, Words.select_all]


@on_x11
def test_the_middle_button_pastes_at_the_mouse_what_can_be_sent_and_not_too_much(host: Person) -> None:
    """A megabyte on one line would freeze the window for a minute."""
    elsewhere = tk.Text(tk.Toplevel(host.root))
    elsewhere.insert("1.0", "1\x07\t2")
    elsewhere.tag_add("sel", "1.0", "end-1c")
    host.type("ab")
    x, y, _, height = host.box.bbox("1.1") or (0, 0, 0, 0)
    host.press_mouse_button(2, host.box, x, y + height // 2)
    assert (host.root.focus_lastfor(), host.typed()) == (host.box, "a1\t2b")
    feed(host, net.Muted(True))
    host.press_mouse_button(2, host.box, x, y + height // 2)
    assert host.typed() == "a1\t2b", "a blocked box takes nothing"
    feed(host, net.Muted(False))
    host.box.delete("1.0", "end")
    elsewhere.insert("1.2", "x\n" * chat_gui.MAX_PASTE)
    host.press_mouse_button(2, host.box, 5, 5)
    assert len(host.typed()) == chat_gui.MAX_PASTE - 1, "the one that can't be sent counts too"


# Copying and saving -----------------------------------------------------------


def test_all_messages_are_copied_clean_and_with_the_original_text(host: Person) -> None:
    original = "\U0001f600" * 100 + "x" * 1500
    gone = net.Said(103, 0.0, 9, "Bob", 5, "", taken_back=True)
    first, second = said(100, "two\n  lines"), said(101, original, name="Ann")
    feed(host, first, second, gone, net.Sending(9, "on its way"))
    host.press_in(host.log_text, "Control-a", "Control-c")
    assert host.root.clipboard_get().split("\n")[-4:] == [
        f"{chat_gui.clock(first.time)} Bob: two",
        "      lines",
        f"{chat_gui.clock(second.time)} Ann: {original}",
        f"{chat_gui.clock(0.0)} Bob: {Words.deleted}",
    ]


@on_x11
def test_a_selection_within_a_message_is_copied_alone_and_a_longer_one_as_messages(host: Person) -> None:
    """By all ways to copy: the menu, the event of Ctrl+C, and the middle button."""
    log, now = host.log_text, time.time()
    code = "if x:\n\tprint() \U0001f600 @Mr Lee: http://a.org/a_(b) " + "\u4e00" * 300 + "a\u200be\u0301\u0301fx"
    long = "pear" + "y" * 9_000  # the middle button copies this in several pieces
    texts = ["apple pie", long, "two\n03:47 Mr Lee: no", code]
    feed(host, *(net.Said(100 + n, now, 9, "Bob", n, text) for n, text in enumerate(texts)))
    then = f"{chat_gui.clock(now)} Bob:"
    apple, pear, two = f"{then} apple pie", f"{then} {long}", f"{then} two\n    03:47 Mr Lee: no"
    line = log.index(f"{log.search('apple', '1.0')} linestart")
    host.fill_clipboard("mine")
    host.press_in(log, "Control-c")
    assert host.root.clipboard_get() == "mine", "nothing is selected"
    assert Words.copy_selected not in host.message_menu("pear")
    for start, end, copied in [
        (log.search("apple", "1.0"), log.search("pie", "1.0"), "apple "),
        (log.search("apple", "1.0"), f"{log.search('pear', '1.0')} +1c", f"{apple}\n{pear}"),
        (log.search("pie", "1.0"), f"{log.search('Lee: no', '1.0')} +1c", f"{apple}\n{pear}\n{two}"),
        (log.search("two", "1.0"), log.search(":47", "1.0"), "two\n03"),
        (log.search("You are", "1.0"), f"{log.search('You are', '1.0')} +7c", "You are"),  # in a note
        (line, f"{line} +1l", apple),  # with its time
        (log.search("if x", "1.0"), f"{log.search('fx', '1.0')} +1c", code[:-1]),  # as it was written
    ]:
        log.tag_remove("sel", "1.0", "end")
        log.tag_add("sel", start, end)
        host.right_click(log, 5, 5)
        host.choose(Words.copy_selected)
        assert host.root.clipboard_get() == copied
        host.root.clipboard_clear()
        log.event_generate("<<Copy>>")
        assert host.root.clipboard_get() == copied
        host.box.delete("1.0", "end")
        host.press_mouse_button(2, host.box, 5, 5)
        assert host.typed() == copied


def test_the_chat_is_saved_as_each_person_saw_it(
    host: Person, ann: Person, dialogs: Dialogs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialogs.target = target = tmp_path / "chat.txt"
    monkeypatch.setattr(chat_gui, "LOG_LINES", 2)  # what the log no longer shows is saved too
    monkeypatch.setattr(chat_gui, "LOG_SLACK", 1)
    for someone in (host, ann):
        feed(someone, said(101, "Gr\u00fc\u00dfe \u4f60 \U0001f600"), said(102, "silly"), net.TakenBack(103, 0.0, 102))
        feed(someone, shared(104, "map.png"), shared(105, "map.png"), net.TakenBack(106, 0.0, 105))
        assert "You are in" not in someone.log()
        someone.press_in(someone.box, "Control-s")
        someone.wait(lambda someone=someone: "chat.txt was saved" in someone.log(), "it is told")  # type: ignore[misc]
        lines = [line.rpartition("  ")[2] for line in target.read_text(encoding="utf-8").split("\n")]
        assert lines[:2] == ["Mr Lee's room", ""]
        assert f"You are in Mr Lee's room as {someone.app.name}." in lines
        assert ("Ann joined" in lines) == (someone is host)
        deleted = [f"Bob: {Words.deleted}"] * 2
        if someone is host:
            deleted = [f"Bob (deleted by the host): {text}" for text in ("silly", "shared map.png (5 bytes)")]
        saved = ["Bob: Gr\u00fc\u00dfe \u4f60 \U0001f600", deleted[0], "Bob: shared map.png (5 bytes)", deleted[1], ""]
        assert lines[-5:] == saved


def test_the_chooser_offers_room_and_day_as_a_name_and_nothing_is_saved_without_an_answer(
    host: Person, dialogs: Dialogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_gui, "save_text", lambda *_: pytest.fail("nothing is to be saved"))
    feed(host, host.welcome(room="another", title="a/b: c?"))
    host.press("Control-s")
    assert re.fullmatch(r"b_ c_ \d{4}-\d\d-\d\d\.txt", dialogs.asked[0]["initialfile"])


@pytest.mark.parametrize("dialog_goes_too", [True, False])
@pytest.mark.parametrize("way", ["left", "closed"])
def test_a_chooser_may_outlive_the_page_or_the_window(
    ann: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, dialog_goes_too: bool
) -> None:
    """The dialog is modal, but what the network brings goes on behind it. Tk's own dialog dies with the page."""
    target = tmp_path / "chat.txt"

    def end(**_: object) -> str:
        ann.app.leave("") if way == "left" else ann.app.close()
        if dialog_goes_too:
            raise tk.TclError
        return str(target)

    monkeypatch.setattr("tkinter.filedialog.asksaveasfilename", end)
    ann.focus_composer()
    ann.box.event_generate("<Control-s>")
    if not dialog_goes_too:
        until(target.exists, "it was asked for, so it is saved")


def test_work_started_on_a_page_that_is_gone_shows_no_error(host: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tk would show a window of its own for it."""
    monkeypatch.setattr(chat_gui, "COPIED_TIME", 100)
    host.root.tk.eval("set problems {}; proc bgerror text {lappend ::problems $text}")
    host.click(host.button(Words.copy))
    host.app.leave("")
    host.settle(0.2)
    assert host.root.tk.eval("set problems") == ""
