"""The rules of a room, tested like a function: no thread, no socket, and no clock except one that the test holds."""

from __future__ import annotations

import queue
import secrets
from collections.abc import Callable
from typing import TypeVar

import pytest

import net
from tests.helpers import drain

T = TypeVar("T")
HERE, THERE, ELSEWHERE = "192.0.2.1", "192.0.2.2", "192.0.2.3"  # computers of the classroom
MANY = net.CROWD + 1  # people at one address, so many that one of them may have to make place


class Clock:
    """Time stands still until the test says otherwise."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


class Member:
    """Somebody in the room: a person, and the feed of their newest connection."""

    def __init__(
        self, room: net.Room, name: str, token: str | None = None, *, at: str = HERE, after: int | None = None
    ) -> None:
        """`after`: the last event that they have seen of this room; None if they have not been here before."""
        self.room = room
        self.at = at
        self.token = token or secrets.token_hex(16)
        self.feed = net.Feed()
        join = net.Join(name, self.token, None if after is None else room.id, after or 0)
        self.person = room.join(join, at, self.feed)
        self.who = self.person.who
        welcome, *self.files_and_history = self.hears()
        assert isinstance(welcome, net.Welcome)
        self.welcome = welcome

    @property
    def name(self) -> str:
        return self.person.name

    def hears(self) -> list[net.Message]:
        """Everything that has come since the last time."""
        messages = []
        while self.feed.life is not net.Life.CLOSED:
            piece = self.room.next_piece(self.feed, {})
            if piece is None or piece == net.END_OF_FEED:
                break
            messages += [read(line) for line in piece.splitlines()]
        return messages

    def hears_last(self, kind: type[T]) -> T:
        """The newest message, which is of this kind."""
        last = self.hears()[-1]
        assert isinstance(last, kind), last
        return last

    def says(self, text: str, number: int | None = None) -> int:
        """The line's id; the next one that is free, unless the test chooses it."""
        number = self.person.last_id + 1 if number is None else number
        self.room.say(self.person, self.feed, number, net.clean_text(text), net.text_problem(net.clean_text(text)))
        return number

    def may_write(self) -> str:
        """Says something; "said", or the code with which it was rejected."""
        number = self.says("May I?")
        answer = self.hears()[-1]
        assert isinstance(answer, net.Said | net.Rejected), answer
        assert answer.id == number
        return answer.code if isinstance(answer, net.Rejected) else "said"

    def shares(self, filename: str = "worksheet.pdf") -> str:
        """The id of the file."""
        upload = net.Upload(self.token, secrets.token_hex(16), filename, 10)
        self.room.share(self.person, upload, filename, "0" * 64)
        return upload.file

    def leaves(self) -> None:
        self.room.leave(self.person, self.feed)

    def is_lost(self) -> None:
        assert self.room.lose(self.person, self.feed)


def read(line: bytes) -> net.Message:
    message = net.decode(line, net.FROM_ROOM)
    assert not isinstance(message, net.Unknown), line
    return message


def numbers(messages: list[net.Message]) -> list[int]:
    return [message.number for message in messages if isinstance(message, net.Numbered)]


def kinds(messages: list[net.Message]) -> list[type[net.Message]]:
    return [type(message) for message in messages]


def texts(messages: list[net.Message]) -> list[str]:
    return [message.text for message in messages if isinstance(message, net.Said)]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def told() -> net.Events:
    """What the room tells its host alone."""
    return queue.Queue()


@pytest.fixture
def room(clock: Clock, told: net.Events) -> net.Room:
    return net.Room("Room 7", "Mr Lee", events=told, clock=clock)


@pytest.fixture
def host(room: net.Room) -> Member:
    return Member(room, "", room.host_token, at=net.LOOPBACK)


@pytest.fixture
def ann(room: net.Room, host: Member) -> Member:  # noqa: ARG001 - the host comes first
    return Member(room, "Ann")


@pytest.fixture
def bob(room: net.Room, ann: Member) -> Member:  # noqa: ARG001 - Ann comes before Bob
    return Member(room, "Bob", at=THERE)


def refusal(room: net.Room, name: str = "Somebody", token: str | None = None, *, at: str = ELSEWHERE) -> str:
    """The code with which the room refuses this person; nobody else notices anything."""
    before = room.history.next
    with pytest.raises(net.ProtocolError) as refused:
        Member(room, name, token, at=at)
    assert str(refused.value)
    assert room.history.next == before
    return refused.value.code


def controls(told: net.Events) -> list[tuple[tuple[int, ...], tuple[tuple[int, str], ...]]]:
    """What the host was told since the last time, as (muted, removed)."""
    return [(event.muted, event.removed) for event in drain(told) if isinstance(event, net.Controls)]


# Coming in -----------------------------------------------------------------------------------------------------------


def test_a_welcome_says_everything_about_the_room(room: net.Room, host: Member, ann: Member) -> None:
    welcome = ann.welcome
    assert (welcome.room, welcome.title, welcome.max_file) == (room.id, "Room 7", net.MAX_FILE)
    assert (welcome.who, welcome.name, welcome.host) == (ann.who, "Ann", host.who)
    assert welcome.people == ((1, "Mr Lee"), (2, "Ann"))
    assert (welcome.files, welcome.missed, welcome.history, welcome.last_id) == (0, 0, 2, 0)
    assert (welcome.muted, welcome.paused) == (False, False)


def test_the_history_ends_with_ones_own_coming(ann: Member) -> None:
    ann.says("hello")
    first, said, last = Member(ann.room, "Late").files_and_history[1:]
    assert isinstance(first, net.Joined)
    assert isinstance(said, net.Said)
    assert isinstance(last, net.Joined)
    assert [(event.number, event.who, event.name) for event in (first, said, last)] == [
        (2, ann.who, "Ann"), (3, ann.who, "Ann"), (4, 3, "Late"),
    ]  # fmt: skip
    assert (said.id, said.text) == (1, "hello")


@pytest.mark.parametrize(
    ("history", "missed", "numbers_seen"), [(3, 5, [6, 7, 8]), (1, 7, [8]), (100, 0, [1, 2, 3, 4, 5, 6, 7, 8])]
)
def test_a_short_history_says_how_much_is_missing(history: int, missed: int, numbers_seen: list[int]) -> None:
    room = net.Room("Room 7", history=history)
    ann = Member(room, "Ann")
    for text in "abcdef":
        ann.says(text)
    late = Member(room, "Late")
    assert (late.welcome.missed, late.welcome.history) == (missed, len(numbers_seen))
    assert numbers(late.files_and_history) == numbers_seen


def test_people_who_come_back_get_only_what_is_new(ann: Member, bob: Member) -> None:
    seen = numbers(bob.files_and_history)[-1]
    bob.is_lost()
    ann.says("meanwhile")
    again = Member(bob.room, "Bob", bob.token, after=seen)
    assert (again.welcome.missed, again.welcome.history) == (0, 1)
    assert texts(again.files_and_history) == ["meanwhile"]


def test_people_who_were_away_for_too_long_are_told_how_much_they_missed() -> None:
    room = net.Room("Room 7", history=3)
    ann, bob = Member(room, "Ann"), Member(room, "Bob")
    bob.is_lost()
    for text in "abcde":
        ann.says(text)
    again = Member(room, "Bob", bob.token, after=2)
    assert (again.welcome.missed, again.welcome.history) == (2, 3)
    assert texts(again.files_and_history) == ["c", "d", "e"]


@pytest.mark.usefixtures("ann")
def test_a_position_in_another_room_or_in_the_future_does_not_count(room: net.Room) -> None:
    feed = net.Feed()
    room.join(net.Join("Bob", "b0" * 16, "another", 1), THERE, feed)
    assert b'"history":3' in (room.next_piece(feed, {}) or b"")
    assert Member(room, "Carol", after=99).welcome.history == 4


def test_the_host_is_unknown_while_not_in(room: net.Room) -> None:
    assert Member(room, "Ann").welcome.host is None
    host = Member(room, "", room.host_token)
    assert Member(room, "Bob").welcome.host == host.who
    host.leaves()
    assert Member(room, "Carol").welcome.host is None


def test_only_the_rooms_own_token_makes_the_host(room: net.Room) -> None:
    assert Member(room, "Ann").who != net.HOST
    host = Member(room, "a name of no importance", room.host_token)
    assert (host.who, host.name) == (net.HOST, "Mr Lee")


def test_latecomers_get_the_files_from_before_the_history_that_are_still_available() -> None:
    room = net.Room("Room 7", history=3)
    ann = Member(room, "Ann")
    worksheet, deleted, map_ = ann.shares("worksheet.pdf"), ann.shares("deleted.pdf"), ann.shares("map.png")
    room.delete(3)
    for text in "abcdef":
        ann.says(text)
    newest = ann.shares("newest.png")
    late = Member(room, "Late")
    assert (late.welcome.files, late.welcome.history) == (2, 3)
    shared = [event for event in late.files_and_history if isinstance(event, net.Shared)]
    assert [(event.number, event.file) for event in shared[:2]] == [(2, worksheet), (4, map_)]
    assert shared[2].file == newest  # an event of the history
    assert deleted not in [event.file for event in shared]
    assert kinds(late.files_and_history[:2]) == [net.Shared, net.Shared]  # the files come first


def test_people_who_come_back_get_only_the_files_that_they_have_not_seen() -> None:
    room = net.Room("Room 7", history=3)
    ann, bob = Member(room, "Ann"), Member(room, "Bob")
    ann.shares("old.png")
    bob.is_lost()
    new = ann.shares("new.png")
    for text in "abcdef":
        ann.says(text)
    again = Member(room, "Bob", bob.token, after=3)
    assert again.welcome.files == 1
    first = again.files_and_history[0]
    assert isinstance(first, net.Shared)
    assert (first.number, first.file) == (4, new)


def test_a_room_needs_a_title_and_a_name_for_its_host() -> None:
    for title, host_name in (("\u200b", "Host"), ("Room 7", " ")):
        with pytest.raises(ValueError, match="title"):
            net.Room(title, host_name)


@pytest.mark.parametrize(("computer_says", "room_says"), [(-5.0, 0.0), (1.23456, 1.234), (1e12, float(net.MAX_TIME))])
def test_a_clock_that_is_wrong_cannot_make_a_time_that_the_wire_forbids(computer_says: float, room_says: float) -> None:
    joined = Member(net.Room("Room 7", now=lambda: computer_says), "Ann").files_and_history[0]
    assert isinstance(joined, net.Joined)
    assert joined.time == room_says


# Names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("Ann", "Ann 2"),
        ("ANN", "ANN 2"),
        ("A\u200bnn\u202e", "Ann 2"),
        ("Ａｎｎ", "Ann 2"),
        (" Ann\t ", "Ann 2"),
        ("Ann B", "Ann B"),
        ("Änn", "Änn"),
        ("x" * 33, "x" * 32),
        ("An\ud800n", "An\ufffdn"),
    ],
)
def test_the_room_writes_the_names(ann: Member, asked: str, given: str) -> None:
    newcomer = Member(ann.room, net.replace_surrogates(asked))
    assert newcomer.name == newcomer.welcome.name == given
    assert ann.hears_last(net.Joined).name == given


@pytest.mark.parametrize("name", ["", "   ", "\u200b\u202e", "\x07", "\u3164", "\u2800"])
def test_a_name_with_nothing_visible_in_it_is_refused(room: net.Room, name: str) -> None:
    assert refusal(room, name) == "bad"


LOOKS_LIKE_MR_LEE = [
    *["Mr Lee", "mr lee", "MR LEE", "Ｍｒ\u3000Ｌｅｅ", "Mr\u200b Lee"],  # case, and other forms of the same letters
    *["MrLee", "Mr  Lee", "M r L e e", "Mr-Lee", "Mr.Lee", "_mr lee_", "Mr Lee.", "-Mr Lee-", "*Mr Lee*"],
    *["Mr Lee 2", "Mr Lee2", "Mr Lee 0999", "Mr Lee ²", "1 Mr Lee", "Mr Lee ٣"],
    *["Mr Lee (host)", "Mr Lee 2 (host, you)", "Mr Lee (maths", "Mr Lee [teacher]", "(Mr Lee)", "Mr Lee （x）"],
    *["Mr Léé", "Mr Le\u0301e", "Mr Łee", "Mr Lee\u20e3"],  # accents and other marks
    *["Мr Lее", "Мг Lee", "Mr Lεε", "Μr Lee"],  # Cyrillic and Greek
    *["Mr Lee 👑", "✓ Mr Lee"],
]


@pytest.mark.parametrize("name", LOOKS_LIKE_MR_LEE)
def test_a_name_that_looks_like_the_hosts_is_refused_whether_the_host_is_in_or_not(room: net.Room, name: str) -> None:
    assert refusal(room, name) == "bad"
    host = Member(room, "", room.host_token)
    assert refusal(room, name) == "bad"
    host.leaves()
    assert refusal(room, name) == "bad"


@pytest.mark.parametrize(
    "name", ["Mr Leeson", "Mr Lee Jr", "Mr L", "Lee", "Tom Mr Lee", "(Mr Lee) Tom", "Mrs Lee", "李"]
)
def test_a_name_that_only_resembles_the_hosts_is_anybodys(room: net.Room, name: str) -> None:
    assert Member(room, name).name == name


@pytest.mark.parametrize("host_name", ["123", "👩", "-", "007 (1)"])
def test_a_hosts_name_of_which_nothing_is_left_to_compare_matches_nothing(host_name: str) -> None:
    room = net.Room("Room 7", host_name)
    for name in ("456", "🐼", "+", "Ann"):
        assert Member(room, name).name == name


@pytest.mark.parametrize("name", ["Αnn", "Änn", "Ann (maths)"])
def test_names_that_look_alike_are_allowed_except_the_hosts(ann: Member, name: str) -> None:
    assert Member(ann.room, name).name == name


def test_nobody_is_given_the_hosts_name_by_being_numbered() -> None:
    room = net.Room("Room 7", "Ann 2")
    assert refusal(room, "Ann") == "bad"


def test_nobody_is_given_the_hosts_name_by_being_cut() -> None:
    assert refusal(net.Room("Room 7", "x" * 32), "x" * 40) == "bad"


def test_a_name_that_looks_like_the_hosts_once_it_is_cut_for_a_number_is_refused(
    room: net.Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The room does not try every number, so nobody can keep it busy with such a name."""
    name = "Mr Lee" + "1" * 24 + "xy"
    assert Member(room, name).name == name
    compared: list[str] = []
    skeleton = net.skeleton

    def counted_skeleton(name: str) -> str:
        compared.append(name)
        return skeleton(name)

    monkeypatch.setattr(net, "skeleton", counted_skeleton)
    assert refusal(room, name) == "bad"
    assert len(compared) < 10
    assert Member(room, "Ann").name == "Ann"


def test_equal_names_are_numbered_within_32_characters(room: net.Room) -> None:
    names = [Member(room, "x" * 32).name for _ in range(11)]
    assert names[0] == "x" * 32
    assert names[1] == "x" * 30 + " 2"
    assert names[10] == "x" * 29 + " 11"
    assert len(set(names)) == 11


def test_a_name_that_looks_numbered_is_numbered_past(room: net.Room) -> None:
    names = [Member(room, name).name for name in ("Ann 2", "Ann", "Ann", "Ann 2")]
    assert names == ["Ann 2", "Ann", "Ann 3", "Ann 2 2"]


def test_a_name_is_free_again_after_leaving(room: net.Room, bob: Member) -> None:
    bob.leaves()
    assert Member(room, "bob").name == "bob"


def test_a_name_stays_with_its_token_while_the_person_is_in_the_list(room: net.Room, bob: Member) -> None:
    bob.is_lost()
    assert Member(room, "Bob").name == "Bob 2"
    assert Member(room, "another name", bob.token).name == "Bob"


def test_people_who_left_come_again_with_the_same_number_and_a_new_name(room: net.Room, bob: Member) -> None:
    number = bob.says("hi")
    bob.leaves()
    again = Member(room, "Robert", bob.token)
    assert (again.who, again.name, again.welcome.last_id) == (bob.who, "Robert", number)
    assert isinstance(again.files_and_history[-1], net.Joined)


def test_of_too_many_people_who_left_the_one_who_left_first_is_forgotten(
    room: net.Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "MAX_REMEMBERED", 3)
    ann, bob, carol = (Member(room, name) for name in ("Ann", "Bob", "Carol"))
    for person in (bob, carol, ann):
        person.leaves()
    newest = Member(room, "Newest")
    for person in (ann, carol):
        assert Member(room, person.name, person.token).who == person.who
    assert Member(room, "Bob", bob.token).who > newest.who


# Full rooms ----------------------------------------------------------------------------------------------------------


def test_a_full_room_refuses_until_somebody_has_left() -> None:
    room = net.Room("Room 7", limit=2)
    Member(room, "Ann")
    bob = Member(room, "Bob")
    assert refusal(room) == "full"
    bob.is_lost()
    assert refusal(room) == "full"  # Bob may come back
    room.give_up(bob.person)
    Member(room, "Carol")


def test_a_full_room_has_a_place_for_its_host_and_for_people_who_were_lost() -> None:
    room = net.Room("Room 7", limit=1)
    ann = Member(room, "Ann")
    assert Member(room, "", room.host_token).who == net.HOST
    ann.is_lost()
    assert Member(room, "Ann", ann.token).who == ann.who


def test_a_room_has_as_many_people_as_the_wire_allows_with_its_host() -> None:
    room = net.Room("Room 7", limit=net.ROOM_PEOPLE)
    for number in range(net.ROOM_PEOPLE - 1):
        room.join(net.Join(f"Person {number}", f"{number:032x}", None, 0), f"192.0.2.{number % 200}", net.Feed())
    assert refusal(room) == "full"
    Member(room, "", room.host_token)
    assert room.people_present() == net.ROOM_PEOPLE


def test_in_a_full_room_the_newest_of_a_crowd_makes_place_for_somebody_from_elsewhere() -> None:
    room = net.Room("Room 7", limit=MANY + 1)
    ann = Member(room, "Ann", at=THERE)
    crowd = [Member(room, f"Crowd {number}", at=HERE) for number in range(MANY)]
    newcomer = Member(room, "Newcomer", at=ELSEWHERE)
    assert newcomer.who in [who for who, _ in newcomer.welcome.people]
    left, joined = ann.hears()[-2:]
    assert isinstance(left, net.Left)
    assert (left.who, left.reason) == (crowd[-1].who, "lost")
    assert isinstance(joined, net.Joined)
    assert joined.who == newcomer.who
    last = crowd[-1].hears_last(net.Refused)
    assert last.code == "full"
    assert last.seconds
    assert net.Refused not in kinds(crowd[0].hears())


@pytest.mark.parametrize("at", [HERE, THERE])
def test_in_a_full_room_nobody_makes_place_where_somebody_of_that_address_is_in(at: str) -> None:
    room = net.Room("Room 7", limit=MANY + 1)
    Member(room, "Ann", at=THERE)
    for number in range(MANY):
        Member(room, f"Crowd {number}", at=HERE)
    assert refusal(room, at=at) == "full"


def test_in_a_full_room_forty_people_at_one_address_are_a_class_and_stay() -> None:
    room = net.Room("Room 7", limit=net.CROWD)
    for number in range(net.CROWD):
        Member(room, f"Pupil {number}", at=HERE)
    assert refusal(room, at=ELSEWHERE) == "full"


def test_the_host_is_never_the_one_who_makes_place() -> None:
    room = net.Room("Room 7", limit=MANY)
    crowd = [Member(room, f"Crowd {number}", at=net.LOOPBACK) for number in range(MANY)]
    host = Member(room, "", room.host_token, at=net.LOOPBACK)
    Member(room, "Newcomer", at=ELSEWHERE)
    assert net.Refused not in kinds(host.hears())
    assert not crowd[-1].person.present


# What people say -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "empty"),
        (" \t\n ", "empty"),
        ("\x1b\x07", "empty"),
        ("\u200b\u3164", "empty"),
        ("x" * 4001, "long"),
        ("x\n" * 100, "long"),
        ("\r" * 100 + "x", "long"),
    ],
)
def test_a_text_that_cannot_appear_is_rejected_with_a_reason(ann: Member, text: str, code: str) -> None:
    number = ann.says(text)
    rejected = ann.hears_last(net.Rejected)
    assert (rejected.id, rejected.code) == (number, code)
    assert rejected.reason


@pytest.mark.parametrize(
    ("text", "heard"),
    [
        ("x" * 4000, "x" * 4000),
        ("x\n" * 99 + "x", "x\n" * 99 + "x"),
        ("a\tb\nc", "a\tb\nc"),
        ("\x1b[31mred\x00\x7f\x9b", "[31mred"),
        ("👩\u200d👧 שלום", "👩\u200d👧 שלום"),
        ("x" * 4000 + "\x00", "x" * 4000),
        ("a\rb\r\nc\u2028d", "a\nb\nc\nd"),  # a carriage return would let the rest be written over the beginning
    ],
)
def test_every_other_text_is_passed_on(ann: Member, bob: Member, text: str, heard: str) -> None:
    ann.says(text)
    assert bob.hears_last(net.Said).text == heard


def test_each_line_is_answered_in_order_and_a_rejection_is_for_its_writer_alone(ann: Member, bob: Member) -> None:
    ann.hears()
    for text in ("one", "", "two", "", "", "three"):
        ann.says(text)
    answers = ann.hears()
    assert kinds(answers) == [net.Said, net.Rejected, net.Said, net.Rejected, net.Rejected, net.Said]
    assert [answer.id for answer in answers if isinstance(answer, net.Said | net.Rejected)] == [1, 2, 3, 4, 5, 6]
    assert kinds(bob.hears()) == [net.Said] * 3


def test_an_id_that_is_not_above_the_last_is_dropped_without_an_answer(ann: Member) -> None:
    ann.hears()
    for number in (5, 5, 4, 0, 7, net.MAX_SAY_ID, 8):
        ann.says(str(number), number)
    assert texts(ann.hears()) == ["5", "7", str(net.MAX_SAY_ID)]


def test_said_and_rejected_lines_both_count_as_answered(room: net.Room, ann: Member) -> None:
    ann.says("hello", 4)
    assert Member(room, "Ann", ann.token).welcome.last_id == 4
    again = Member(room, "Ann", ann.token)
    again.says("", 9)
    assert Member(room, "Ann", ann.token).welcome.last_id == 9


def test_each_line_is_answered_in_order_whatever_the_host_does_between_them(room: net.Room, ann: Member) -> None:
    ann.hears()
    changes: list[Callable[[], None]] = [
        lambda: None,
        lambda: room.mute(ann.who, True),
        lambda: room.pause(True),
        lambda: room.mute(ann.who, False),
        lambda: room.pause(False),
    ]
    for change in changes:
        change()
        for text in ("a", "", "b" * 4001):
            ann.says(text)
    answers = [answer for answer in ann.hears() if isinstance(answer, net.Said | net.Rejected)]
    assert [answer.id for answer in answers] == list(range(1, 16))
    codes = [answer.code if isinstance(answer, net.Rejected) else "said" for answer in answers]
    assert codes == ["said", "empty", "long", *["muted"] * 3, *["paused"] * 6, "said", "empty", "long"]


# One person, one connection that counts ------------------------------------------------------------------------------


def test_an_older_connection_of_the_same_person_is_closed_and_no_longer_counts(
    room: net.Room, ann: Member, bob: Member
) -> None:
    bob.hears()
    bobs = [bob, *[Member(room, "Bob", bob.token) for _ in range(3)]]
    for old in bobs[:-1]:
        old.says("not heard", 99)
        old.leaves()
        assert not room.lose(old.person, old.feed)
        assert kinds(old.hears()) == [net.Closed]
        assert old.feed.life is net.Life.CLOSED
    bobs[-1].says("heard")
    assert kinds(ann.hears()) == [net.Joined, net.Said]


def test_an_older_connection_is_told_nothing_but_that_it_is_over(room: net.Room, ann: Member, bob: Member) -> None:
    bob.hears()
    ann.says("not yet written to Bob's first connection")
    Member(room, "Bob", bob.token)
    assert kinds(bob.hears()) == [net.Closed]


def test_people_who_are_back_in_time_have_neither_left_nor_joined(room: net.Room, ann: Member, bob: Member) -> None:
    ann.hears()
    bob.is_lost()
    assert bob.person.is_lost
    again = Member(room, "Bob", bob.token)
    assert not again.person.is_lost
    again.says("back")
    assert kinds(ann.hears()) == [net.Said]


def test_people_who_are_not_back_in_time_have_left(room: net.Room, ann: Member, bob: Member) -> None:
    bob.is_lost()
    assert (bob.who, "Bob") in Member(room, "Carol").welcome.people
    room.give_up(bob.person)
    left = ann.hears_last(net.Left)
    assert (left.who, left.name, left.reason) == (bob.who, "Bob", "lost")
    assert (bob.who, "Bob") not in Member(room, "Dave").welcome.people


def test_people_who_leave_see_everything_up_to_their_own_leaving_and_nothing_after_it(
    ann: Member, bob: Member
) -> None:
    bob.hears()
    bob.says("bye")
    bob.leaves()
    bob.says("not any more")
    ann.says("Bob is gone")
    said, left = bob.hears()
    assert isinstance(said, net.Said)
    assert isinstance(left, net.Left)
    assert (said.text, left.who, left.reason) == ("bye", bob.who, "left")
    assert texts(ann.hears()) == ["bye", "Bob is gone"]


# What each feed gets -------------------------------------------------------------------------------------------------


def test_a_private_line_keeps_its_place_among_the_events_however_late_it_is_read(ann: Member, bob: Member) -> None:
    ann.hears()
    for text in ("before", "", "after"):
        ann.says(text)
    bob.says("and Bob")
    assert kinds(ann.hears()) == [net.Said, net.Rejected, net.Said, net.Said]


def test_a_piece_is_joined_once_for_all_who_are_at_the_same_event(ann: Member, bob: Member) -> None:
    for each in (ann, bob):
        each.hears()
    ann.says("hello")
    pieces: net.Pieces = {}
    first, second = (ann.room.next_piece(each.feed, pieces) for each in (ann, bob))
    assert first is second
    assert len(pieces) == 1
    assert ann.feed.cursor == bob.feed.cursor == ann.room.history.next


def test_a_piece_is_limited_and_the_rest_follows(ann: Member, bob: Member) -> None:
    bob.hears()
    for _ in range(100):
        ann.says("x" * 4000)
    sizes = []
    while (piece := bob.room.next_piece(bob.feed, {})) is not None:
        sizes.append(len(piece))
    assert len(sizes) == 2
    assert max(sizes) <= net.MAX_PIECE


def test_a_feed_that_has_everything_gets_nothing(ann: Member) -> None:
    ann.hears()
    assert ann.room.next_piece(ann.feed, {}) is None


def test_a_feed_that_fell_out_of_the_history_ends_and_is_told_at_the_next_join_what_it_missed() -> None:
    room = net.Room("Room 7", history=4)
    ann, bob = Member(room, "Ann"), Member(room, "Bob")
    for number in range(20):
        ann.says(str(number))
        ann.hears()
    assert room.next_piece(bob.feed, {}) == net.END_OF_FEED
    assert bob.feed.life is net.Life.CLOSED
    again = Member(room, "Bob", bob.token, after=2)
    assert (again.welcome.missed, again.welcome.history) == (16, 4)


def test_a_newcomer_has_time_to_read_the_oldest_event_while_the_others_go_on() -> None:
    room = net.Room("Room 7", history=4)
    ann = Member(room, "Ann")
    for number in range(20):
        ann.says(str(number))
    feed = net.Feed()
    room.join(net.Join("Late", "1a" * 16, None, 0), HERE, feed)
    room.next_piece(feed, {})  # the welcome
    ann.says("one more")
    piece = room.next_piece(feed, {})
    assert piece is not None
    assert len(piece.splitlines()) == 5


def test_a_connection_that_writes_but_does_not_read_its_answers_ends(
    ann: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "MAX_PRIVATE_LINES", 5)
    for _ in range(6):
        ann.says("")
    assert ann.feed.life is net.Life.CLOSED
    assert Member(ann.room, "Ann", ann.token).welcome.last_id == 6


@pytest.mark.parametrize(
    "happens",
    [
        lambda room, _ann: room.pause(True),
        lambda room, ann: room.mute(ann.who, True),
        lambda room, ann: room.remove(ann.who, True),
        lambda room, _ann: room.delete(3),
        lambda _room, ann: ann.says("said"),
        lambda _room, ann: ann.says(""),
        lambda _room, ann: ann.shares(),
        lambda _room, ann: ann.leaves(),
        lambda room, ann: room.give_up(ann.person),
        lambda room, ann: room.tell(ann.feed, net.Ping()),
        lambda room, ann: room.end(ann.feed, None),
        lambda room, ann: Member(room, "Ann", ann.token),
    ],
)
def test_whatever_gives_a_feed_something_says_that_there_is_news(
    room: net.Room, ann: Member, happens: Callable[[net.Room, Member], None]
) -> None:
    ann.says("this is event 3")
    room.has_news = False
    happens(room, ann)
    assert room.has_news


def test_the_history_keeps_a_limited_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "KEPT_BYTES", 1000)
    history = net.History(100)
    for _ in range(10):
        history.append(b"x" * 100)
    history.replace(3, b"y" * 10)
    history.append(b"x" * 90)
    assert history.oldest == 1  # exactly full
    history.replace(11, b"z" * 100)
    history.append(b"")
    assert history.oldest == 2
    history.append(b"x" * 100)
    assert history.oldest == 3
    history.append(b"x" * 100)
    assert history.oldest == 4  # the third one gave its new 10, and that is enough: exactly full again
    history.append(b"x")
    assert history.oldest == 5


# Mute ----------------------------------------------------------------------------------------------------------------


def test_a_muted_person_is_told_alone_reads_on_and_is_not_heard(room: net.Room, ann: Member, bob: Member) -> None:
    for each in (ann, bob):
        each.hears()
    room.mute(ann.who, True)
    assert ann.hears() == [net.Muted(True)]
    ann.says("let me in")
    bob.says("poor Ann")
    rejected, said = ann.hears()
    assert isinstance(rejected, net.Rejected)
    assert (rejected.code, texts([said])) == ("muted", ["poor Ann"])
    assert kinds(bob.hears()) == [net.Said]
    room.mute(ann.who, False)
    assert ann.hears() == [net.Muted(False)]
    assert ann.may_write() == "said"


def test_muting_twice_is_muting_once(room: net.Room, ann: Member, told: net.Events) -> None:
    ann.hears()
    for on in (True, True, False, False, True):
        room.mute(ann.who, on)
    assert ann.hears() == [net.Muted(True), net.Muted(False), net.Muted(True)]
    assert controls(told) == [((ann.who,), ()), ((), ()), ((ann.who,), ())]


def test_people_who_are_muted_while_away_learn_it_from_the_welcome(room: net.Room, ann: Member, bob: Member) -> None:
    ann.is_lost()
    bob.leaves()
    for member in (ann, bob):
        room.mute(member.who, True)
        again = Member(room, member.name, member.token, at=member.at)
        assert again.welcome.muted
        assert net.Muted not in kinds(again.files_and_history)
        assert again.may_write() == "muted"
        again.is_lost()
        room.mute(member.who, False)
        last = Member(room, member.name, member.token, at=member.at)
        assert not last.welcome.muted
        assert last.may_write() == "said"


def comes_again(ann: Member) -> Member:
    ann.leaves()
    return Member(ann.room, "Ann", ann.token)


def comes_back_after_a_break(ann: Member) -> Member:
    ann.is_lost()
    return Member(ann.room, "Ann", ann.token)


def opens_a_second_window(ann: Member) -> Member:
    return Member(ann.room, "Ann", ann.token)


def takes_another_name(ann: Member) -> Member:
    ann.leaves()
    return Member(ann.room, "Nobody", ann.token)


def starts_the_program_again(ann: Member) -> Member:
    ann.leaves()
    return Member(ann.room, "Nobody")


def starts_a_second_program(ann: Member) -> Member:
    return Member(ann.room, "Nobody")


def goes_to_another_computer(ann: Member) -> Member:
    ann.is_lost()
    return Member(ann.room, "Ann", ann.token, at=ELSEWHERE)


def starts_the_program_again_and_again(ann: Member) -> Member:
    return starts_the_program_again(starts_the_program_again(ann))


WAYS_AROUND = [
    comes_again,
    comes_back_after_a_break,
    opens_a_second_window,
    takes_another_name,
    starts_the_program_again,
    starts_a_second_program,
    goes_to_another_computer,
    starts_the_program_again_and_again,
]


@pytest.mark.parametrize("way_around", WAYS_AROUND)
def test_a_muted_person_stays_muted_whatever_they_do_and_can_then_be_unmuted(
    room: net.Room, ann: Member, bob: Member, way_around: Callable[[Member], Member]
) -> None:
    room.mute(ann.who, True)
    again = way_around(ann)
    assert again.welcome.muted
    assert again.may_write() == "muted"
    assert bob.may_write() == "said"
    room.mute(again.who, False)
    assert again.may_write() == "said"
    assert not starts_the_program_again(again).welcome.muted


@pytest.mark.parametrize("who_is_unmuted", ["Ann", "her second program"])
def test_unmuting_anybody_whom_one_mute_affects_undoes_all_of_it(
    room: net.Room, ann: Member, told: net.Events, who_is_unmuted: str
) -> None:
    room.mute(ann.who, True)
    second = Member(room, "Nobody")
    for each in (ann, second):
        each.hears()
    room.mute(ann.who if who_is_unmuted == "Ann" else second.who, False)
    assert ann.hears() == second.hears() == [net.Muted(False)]
    assert ann.may_write() == second.may_write() == "said"
    assert not Member(room, "Third").welcome.muted
    assert controls(told)[-1] == ((), ())


def test_a_mute_does_not_spread_where_somebody_else_is_in(room: net.Room, ann: Member) -> None:
    """A whole class may sit behind one address."""
    other = Member(room, "Other", at=ann.at)
    room.mute(ann.who, True)
    assert other.may_write() == "said"
    assert not Member(room, "Third", at=ann.at).welcome.muted
    other.leaves()
    assert not Member(room, "Fourth", at=ann.at).welcome.muted  # what counts is who was in at that moment


def test_a_mute_spreads_where_a_lost_neighbour_was_given_up_but_not_where_one_may_come_back(room: net.Room) -> None:
    for gives_up in (False, True):
        at = f"198.51.100.{int(gives_up)}"
        first, neighbour = Member(room, "First", at=at), Member(room, "Neighbour", at=at)
        neighbour.is_lost()
        if gives_up:
            room.give_up(neighbour.person)
        room.mute(first.who, True)
        assert Member(room, "Newcomer", at=at).welcome.muted is gives_up


def test_a_mute_spreads_where_everybody_is_muted(room: net.Room, ann: Member) -> None:
    other = Member(room, "Other", at=ann.at)
    room.mute(ann.who, True)
    room.mute(other.who, True)
    assert Member(room, "Third", at=ann.at).welcome.muted
    room.mute(ann.who, False)  # of two mutes only one is undone
    assert other.may_write() == "muted"
    assert Member(room, "Fourth", at=ann.at).welcome.muted
    room.mute(other.who, False)
    assert not Member(room, "Fifth", at=ann.at).welcome.muted


def test_a_mute_does_not_follow_a_person_to_another_address(room: net.Room, ann: Member, bob: Member) -> None:
    room.mute(ann.who, True)
    ann.is_lost()
    assert Member(room, "Ann", ann.token, at=bob.at).may_write() == "muted"
    assert bob.may_write() == "said"
    assert not Member(room, "Other", at=bob.at).welcome.muted


def test_a_mute_concerns_nobody_whom_the_room_knew_already(room: net.Room, ann: Member) -> None:
    known = Member(room, "Known", at=ann.at)
    known.leaves()
    room.mute(ann.who, True)
    assert not Member(room, "Known", known.token, at=ann.at).welcome.muted


def test_a_mute_spreads_until_ten_minutes_after_the_last_whom_it_affects_has_left(
    room: net.Room, ann: Member, clock: Clock
) -> None:
    room.mute(ann.who, True)
    clock.advance(10_000)
    second = Member(room, "Second")
    assert second.welcome.muted  # Ann is still in
    ann.leaves()
    clock.advance(500)
    second.leaves()
    clock.advance(599)
    third = Member(room, "Third")
    assert third.welcome.muted
    third.leaves()
    clock.advance(601)
    assert not Member(room, "Fourth").welcome.muted
    assert Member(room, "Ann", ann.token).welcome.muted  # the flag of a person does not end


def test_on_the_hosts_computer_a_mute_does_not_spread_while_the_host_is_in(room: net.Room, host: Member) -> None:
    first, second = Member(room, "First", at=host.at), Member(room, "Second", at=host.at)
    second.leaves()
    room.mute(first.who, True)
    assert first.may_write() == "muted"
    assert host.may_write() == "said"
    assert not Member(room, "Third", at=host.at).welcome.muted
    host.leaves()
    assert Member(room, "", room.host_token, at=host.at).may_write() == "said"


def test_the_host_is_never_muted_by_an_address(room: net.Room) -> None:
    first = Member(room, "First", at=net.LOOPBACK)
    room.mute(first.who, True)
    assert Member(room, "Second", at=net.LOOPBACK).welcome.muted
    assert Member(room, "", room.host_token, at=net.LOOPBACK).may_write() == "said"


def test_a_muted_person_who_joins_again_is_a_guest_with_a_number(room: net.Room, ann: Member) -> None:
    room.mute(ann.who, True)
    assert ann.name == "Ann"  # the host muted her under this name
    ann.is_lost()
    assert Member(room, "Nobody listens", ann.token).name == "Ann"  # she never left
    second = Member(room, "to me")
    ann.room.give_up(ann.person)
    assert [second.name, Member(room, "so I write", ann.token).name, Member(room, "in names").name] == [
        "Guest 1", "Guest 2", "Guest 3",
    ]  # fmt: skip


def test_a_guest_gets_the_name_they_ask_for_at_the_first_join_after_the_mute(room: net.Room, ann: Member) -> None:
    room.mute(ann.who, True)
    ann.leaves()
    again = Member(room, "Ann", ann.token)
    room.mute(ann.who, False)
    again.leaves()
    assert Member(room, "Ann", ann.token).name == "Ann"


@pytest.mark.parametrize("host_name", ["Guest", "GUEST 7", "Guеst"])
def test_where_the_host_is_called_guest_a_muted_newcomer_is_a_visitor(host_name: str) -> None:
    room = net.Room("Room 7", host_name)
    ann = Member(room, "Ann")
    room.mute(ann.who, True)
    assert [Member(room, "Ann").name, Member(room, "Ann").name] == ["Visitor 1", "Visitor 2"]


def test_a_muted_person_shares_no_files(room: net.Room, ann: Member) -> None:
    room.mute(ann.who, True)
    with pytest.raises(net.ProtocolError) as refused:
        ann.shares()
    assert refused.value.code == "muted"
    room.mute(ann.who, False)
    ann.shares()


@pytest.mark.parametrize("who", [0, net.HOST, 99, 2**53])
@pytest.mark.parametrize("on", [True, False])
def test_the_host_and_people_who_do_not_exist_can_be_neither_muted_nor_removed(
    room: net.Room, host: Member, who: int, on: bool
) -> None:
    for control in (room.mute, room.remove):
        with pytest.raises(ValueError, match=f"not {who}$"):
            control(who, on)
    assert host.may_write() == "said"


# Remove --------------------------------------------------------------------------------------------------------------


def test_a_removed_person_reads_why_as_the_last_word_and_the_others_see_it(
    room: net.Room, ann: Member, bob: Member
) -> None:
    for each in (ann, bob):
        each.hears()
    ann.says("before")
    room.remove(ann.who, True)
    ann.says("after")
    bob.says("gone")
    said, closed = ann.hears()
    assert texts([said]) == ["before"]
    assert isinstance(closed, net.Closed)
    assert "removed" in closed.reason
    left = bob.hears()[1]
    assert isinstance(left, net.Left)
    assert (left.who, left.name, left.reason) == (ann.who, "Ann", "removed")
    assert Member(room, "Carol", at=ELSEWHERE).welcome.people == ((1, "Mr Lee"), (bob.who, "Bob"), (4, "Carol"))


@pytest.mark.parametrize("token_is_new", [False, True])
def test_a_removed_person_stays_out_until_the_host_lets_them_in_again(
    room: net.Room, ann: Member, told: net.Events, token_is_new: bool
) -> None:
    room.remove(ann.who, True)
    token = secrets.token_hex(16) if token_is_new else ann.token
    for name in ("Ann", "Somebody Else"):
        assert refusal(room, name, token, at=ann.at) == "removed"
    assert refusal(room, at=ann.at) == "removed"  # yet another start of the program
    assert controls(told) == [((), ((ann.who, "Ann"),))]  # none of these attempts is a person
    room.remove(ann.who, False)
    again = Member(room, "Ann", token, at=ann.at)
    assert (again.who == ann.who) is not token_is_new
    assert again.may_write() == "said"


def test_a_removed_person_stays_out_from_every_address_and_takes_nobody_with_them(
    room: net.Room, ann: Member, bob: Member
) -> None:
    room.remove(ann.who, True)
    for at in (ann.at, bob.at, ELSEWHERE, net.LOOPBACK):
        assert refusal(room, "Ann", ann.token, at=at) == "removed"
    for at in (bob.at, ELSEWHERE, net.LOOPBACK):
        Member(room, "Other", at=at)
    assert bob.may_write() == "said"


def test_a_removal_does_not_spread_where_somebody_else_is_in(room: net.Room, ann: Member) -> None:
    other = Member(room, "Other", at=ann.at)
    room.remove(ann.who, True)
    assert other.may_write() == "said"
    Member(room, "Third", at=ann.at)
    other.leaves()
    Member(room, "Fourth", at=ann.at)
    assert refusal(room, "Ann", ann.token, at=ann.at) == "removed"


def test_a_removal_spreads_where_everybody_was_removed(room: net.Room, ann: Member) -> None:
    other = Member(room, "Other", at=ann.at)
    for each in (ann, other):
        room.remove(each.who, True)
    assert refusal(room, at=ann.at) == "removed"
    room.remove(ann.who, False)
    assert Member(room, "Ann", ann.token, at=ann.at).who == ann.who
    assert refusal(room, "Other", other.token, at=ann.at) == "removed"


def test_a_removal_spreads_for_ten_minutes(room: net.Room, ann: Member, clock: Clock) -> None:
    room.remove(ann.who, True)
    clock.advance(599)
    assert refusal(room, at=ann.at) == "removed"
    clock.advance(2)  # the attempt has not made it longer
    Member(room, "Other", at=ann.at)
    assert refusal(room, "Ann", ann.token, at=ann.at) == "removed"


def test_the_host_comes_in_whoever_is_removed_at_that_address(room: net.Room) -> None:
    first = Member(room, "First", at=net.LOOPBACK)
    room.remove(first.who, True)
    assert refusal(room, at=net.LOOPBACK) == "removed"
    assert Member(room, "", room.host_token, at=net.LOOPBACK).who == net.HOST


def test_a_person_is_gone_once_however_they_went_before_they_were_removed(
    room: net.Room, ann: Member, bob: Member, host: Member
) -> None:
    host.hears()
    ann.is_lost()
    bob.leaves()
    for member in (ann, bob):
        room.remove(member.who, True)
        room.remove(member.who, True)
        assert refusal(room, at=member.at) == "removed"
    reasons = [message.reason for message in host.hears() if isinstance(message, net.Left)]
    assert reasons == ["left", "removed"]


def test_removing_twice_is_removing_once_and_undone_once(room: net.Room, ann: Member, told: net.Events) -> None:
    for on in (True, True, False, False):
        room.remove(ann.who, on)
    again = Member(room, "Ann", ann.token)
    assert kinds(again.files_and_history) == [net.Joined, net.Joined, net.Left, net.Joined]
    assert controls(told) == [((), ((ann.who, "Ann"),)), ((), ())]


def test_a_removal_deletes_the_persons_files_and_no_others(room: net.Room, ann: Member, bob: Member) -> None:
    first, second = ann.shares(), ann.shares()
    kept = bob.shares()
    bob.hears()
    assert room.remove(ann.who, True) == [first, second]
    assert [message.which for message in bob.hears() if isinstance(message, net.TakenBack)] == [4, 5]
    late = Member(room, "Late", at=ELSEWHERE)
    available = [m.file for m in late.files_and_history if isinstance(m, net.Shared) and not m.taken_back]
    assert available == [kept]
    assert room.remove(ann.who, True) == []
    assert room.remove(ann.who, False) == []  # for good


def test_a_removal_makes_room_in_a_full_room() -> None:
    room = net.Room("Room 7", limit=1)
    ann = Member(room, "Ann", at=HERE)
    assert refusal(room, at=THERE) == "full"
    room.remove(ann.who, True)
    assert Member(room, "Ann", at=THERE).name == "Ann"  # the name is free, too
    assert refusal(room, "Ann", ann.token, at=HERE) == "removed"  # not `full`, after which she would come again


def test_somebody_removed_long_ago_can_still_be_let_in_again(
    room: net.Room, ann: Member, monkeypatch: pytest.MonkeyPatch, told: net.Events
) -> None:
    room.remove(ann.who, True)
    monkeypatch.setattr(net, "MAX_REMEMBERED", 3)
    for number in range(5):  # the room forgets who was there
        Member(room, f"Visitor {number}", at=THERE).leaves()
    assert refusal(room, "Ann", ann.token) == "removed"
    assert controls(told)[-1] == ((), ((ann.who, "Ann"),))
    room.remove(ann.who, False)
    assert controls(told)[-1] == ((), ())
    Member(room, "Ann", ann.token)


@pytest.mark.parametrize("first", ["mute", "remove"])
def test_somebody_who_is_also_muted_comes_back_muted(room: net.Room, ann: Member, first: str) -> None:
    for control in (room.mute, room.remove) if first == "mute" else (room.remove, room.mute):
        control(ann.who, True)
    room.remove(ann.who, False)
    assert Member(room, "Ann", ann.token).may_write() == "muted"


# What the host is told -----------------------------------------------------------------------------------------------


def test_the_host_is_told_who_is_muted_and_removed_whenever_that_changes(
    room: net.Room, ann: Member, bob: Member, told: net.Events
) -> None:
    assert controls(told) == []
    room.mute(ann.who, True)
    assert controls(told) == [((ann.who,), ())]
    room.mute(bob.who, True)
    assert controls(told) == [((ann.who, bob.who), ())]
    ann.leaves()
    assert controls(told) == [((bob.who,), ())]  # only people in the list
    again = Member(room, "Ann", ann.token)
    assert controls(told) == [((ann.who, bob.who), ())]
    second = Member(room, "Second")  # muted by the address
    assert controls(told) == [((ann.who, bob.who, second.who), ())]
    second.leaves()
    room.remove(bob.who, True)
    assert controls(told)[-1] == ((ann.who,), ((bob.who, "Bob"),))
    room.remove(again.who, True)
    assert controls(told)[-1] == ((), ((ann.who, "Guest 1"), (bob.who, "Bob")))
    for member in (bob, ann):
        room.remove(member.who, False)
    assert controls(told) == [((), ((ann.who, "Guest 1"),)), ((), ())]


def test_people_who_come_and_go_and_pauses_are_no_news_about_the_controls(
    room: net.Room, ann: Member, told: net.Events
) -> None:
    room.mute(ann.who, True)
    controls(told)
    Member(room, "Carol", at=THERE).leaves()
    room.pause(True)
    assert controls(told) == []


def test_a_room_that_tells_nobody_has_controls_all_the_same() -> None:
    room = net.Room("Room 7")
    ann = Member(room, "Ann")
    room.mute(ann.who, True)
    assert ann.may_write() == "muted"
    room.remove(ann.who, True)
    assert refusal(room, "Ann", ann.token) == "removed"


# Pause ---------------------------------------------------------------------------------------------------------------


def test_while_the_room_is_paused_only_the_host_is_heard_and_everyone_sees_it(
    room: net.Room, host: Member, ann: Member, bob: Member
) -> None:
    for each in (host, ann, bob):
        each.hears()
    room.pause(True)
    for each in (host, ann, bob):
        assert each.hears_last(net.Paused).on
    assert ann.may_write() == "paused"
    assert host.may_write() == "said"
    with pytest.raises(net.ProtocolError) as refused:
        ann.shares()
    assert refused.value.code == "paused"
    host.shares()
    room.pause(False)
    assert not bob.hears_last(net.Paused).on
    assert ann.may_write() == "said"
    ann.shares()


def test_pausing_twice_is_pausing_once(room: net.Room, host: Member) -> None:
    for on in (False, True, True, False, False, True):
        room.pause(on)
    assert [message.on for message in host.hears() if isinstance(message, net.Paused)] == [True, False, True]


def test_newcomers_to_a_paused_room_are_told(room: net.Room, host: Member) -> None:
    room.pause(True)
    ann = Member(room, "Ann")
    assert ann.welcome.paused
    assert kinds(ann.files_and_history) == [net.Joined, net.Paused, net.Joined]
    assert ann.may_write() == "paused"
    room.pause(False)
    assert not Member(room, "Bob").welcome.paused
    assert host.may_write() == "said"


def test_somebody_muted_in_a_paused_room_stays_muted_when_it_goes_on(room: net.Room, ann: Member) -> None:
    room.pause(True)
    room.mute(ann.who, True)
    assert ann.may_write() == "paused"
    room.pause(False)
    assert ann.may_write() == "muted"


# Delete --------------------------------------------------------------------------------------------------------------


def test_a_deleted_message_is_gone_for_latecomers_and_everyone_is_told(
    room: net.Room, ann: Member, bob: Member
) -> None:
    ann.says("something silly")
    said = bob.hears_last(net.Said)
    assert not said.taken_back
    assert room.delete(said.number) is None
    for each in (ann, bob):
        taken_back = each.hears_last(net.TakenBack)
        assert (taken_back.number, taken_back.which) == (said.number + 1, said.number)
    late = Member(room, "Late").files_and_history
    assert numbers(late) == list(range(1, 7))
    assert late[said.number - 1] == net.Said(
        said.number, said.time, said.who, said.name, said.id, "", taken_back=True
    )


def test_people_who_are_behind_never_get_the_text_of_a_message_that_was_deleted(
    room: net.Room, ann: Member, bob: Member
) -> None:
    bob.hears()
    ann.says("something silly")
    number = ann.hears_last(net.Said).number
    room.delete(number)
    said, taken_back = bob.hears()
    assert isinstance(said, net.Said)
    assert (said.number, said.text, said.taken_back) == (number, "", True)
    assert isinstance(taken_back, net.TakenBack)
    again = Member(room, "Bob", bob.token, after=number)
    assert kinds(again.files_and_history) == [net.TakenBack]


def test_a_deleted_file_is_named_once_and_nothing_of_it_is_left(room: net.Room, ann: Member, bob: Member) -> None:
    file = ann.shares("secret.txt")
    shared = bob.hears_last(net.Shared)
    assert room.delete(shared.number) == file
    assert room.delete(shared.number) is None
    late = Member(room, "Late").files_and_history[shared.number - 1]
    assert isinstance(late, net.Shared)
    assert (late.filename, late.size, late.sha256, late.taken_back) == ("", 0, "", True)
    assert kinds(bob.hears()) == [net.TakenBack, net.Joined]


def test_deleting_a_message_twice_is_deleting_it_once(room: net.Room, host: Member) -> None:
    host.says("oh")
    number = host.hears_last(net.Said).number
    for _ in range(3):
        room.delete(number)
    assert kinds(host.hears()) == [net.TakenBack]


def test_only_messages_and_files_can_be_deleted(room: net.Room, ann: Member) -> None:
    ann.says("oh")
    number = ann.hears_last(net.Said).number
    room.pause(True)
    ann.leaves()
    room.delete(number)
    events = Member(room, "Late").files_and_history
    not_deletable = [number for number, kind in zip(numbers(events), kinds(events), strict=True) if kind != net.Said]
    for other in [-1, 0, *not_deletable, room.history.next, 2**60]:
        with pytest.raises(ValueError, match=r"no event|neither a message nor a file"):
            room.delete(other)
    assert room.history.next == numbers(events)[-1] + 1


def test_every_message_and_file_can_be_deleted_whoever_it_is_from(room: net.Room, host: Member, ann: Member) -> None:
    bob = Member(room, "Bob")
    for member in (host, ann, bob):
        member.says("from me")
    ann.shares()
    ann.leaves()
    room.mute(bob.who, True)
    room.pause(True)
    events = [message for message in host.hears() if isinstance(message, net.Said | net.Shared)]
    for event in events:
        room.delete(event.number)
    assert [message.which for message in host.hears() if isinstance(message, net.TakenBack)] == [4, 5, 6, 7]


def test_what_is_no_longer_in_the_history_is_deleted_in_the_windows() -> None:
    room = net.Room("Room 7", history=4)
    ann = Member(room, "Ann")
    ann.says("something silly")
    number = ann.hears_last(net.Said).number
    file = ann.shares()
    shared = ann.hears_last(net.Shared).number
    for _ in range(6):
        assert ann.may_write() == "said"  # one by one: she must not fall out of so short a history
    assert room.delete(number) is None
    assert ann.hears_last(net.TakenBack).which == number
    assert [room.delete(shared), room.delete(shared)] == [file, None]
    assert ann.hears_last(net.TakenBack).which == shared
    assert Member(room, "Late").welcome.files == 0


def test_a_number_is_given_to_each_event_that_everyone_gets_and_to_nothing_else(
    room: net.Room, host: Member, ann: Member
) -> None:
    room.mute(ann.who, True)
    room.pause(True)
    assert ann.may_write() == "paused"
    room.pause(False)
    assert ann.may_write() == "muted"
    host.says("x")
    room.delete(host.hears_last(net.Said).number)
    assert numbers(Member(room, "Late").files_and_history) == list(range(1, 8))


def test_deleting_many_short_messages_keeps_the_history_within_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deleted message takes more space than a short one did, and telling everyone takes more still."""
    monkeypatch.setattr(net, "KEPT_BYTES", 10_000)
    room = net.Room("Room 7")
    ann = Member(room, "Ann")
    for _ in range(100):
        ann.says("x")
    for number in range(2, 102):
        room.delete(number)
    history, size = room.history, 0
    assert history.next == 202
    number = history.oldest
    while number < history.next:
        piece, number = history.piece(number, history.next)
        size += len(piece)
    assert 9_500 < size <= 10_000


# How fast ------------------------------------------------------------------------------------------------------------


def test_a_limit_allows_so_many_at_once_and_then_so_many_a_second(clock: Clock) -> None:
    limit = net.RateLimit(5, 0.5, clock)
    assert [limit.try_take("Ann") for _ in range(5)] == [0.0] * 5
    assert limit.try_take("Ann") == pytest.approx(2.0)
    assert limit.try_take("Ann") == pytest.approx(2.0)  # what is not given is not counted either
    assert limit.try_take("Bob") == 0.0
    clock.advance(2.0)
    assert limit.try_take("Ann") == 0.0
    assert limit.try_take("Ann") > 0.0


def test_a_limit_never_saves_up_more_than_it_allows_at_once(clock: Clock) -> None:
    limit = net.RateLimit(2, 1, clock)
    limit.take("Ann")
    clock.advance(1_000.0)
    assert [limit.try_take("Ann") == 0.0 for _ in range(3)] == [True, True, False]


def test_a_debt_is_waited_for(clock: Clock) -> None:
    limit = net.RateLimit(2, 1, clock)
    assert limit.take("Ann", 5) == pytest.approx(3.0)
    assert limit.wait("Ann", 0) == pytest.approx(3.0)
    clock.advance(3.0)
    assert limit.wait("Ann", 0) == 0.0
    assert limit.wait("Ann", 1) == pytest.approx(1.0)


def test_a_limit_of_infinitely_many_a_second_is_none(clock: Clock) -> None:
    limit = net.RateLimit(float("inf"), float("inf"), clock)
    assert [limit.take("Ann", 10**9), limit.try_take("Ann", 10**9), limit.wait("Ann", 10**9)] == [0.0] * 3


def test_a_limit_forgets_those_who_owe_nothing_and_only_those(clock: Clock) -> None:
    limit = net.RateLimit(2, 1, clock)
    limit.take("Ann", 1_000_000)
    for number in range(5_000):
        limit.take(number)
        clock.advance(1.0)
    assert limit.try_take("Ann") > 0.0


