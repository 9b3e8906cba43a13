"""The rules of a room, tested like a function: no thread, no socket, and no clock except one that the test holds."""

from __future__ import annotations

import dataclasses
import queue
import secrets
from collections.abc import Callable
from typing import TypeVar

import pytest

import net
from tests.helpers import Clock, drain

T = TypeVar("T")
HERE, THERE, ELSEWHERE = "192.0.2.1", "192.0.2.2", "192.0.2.3"  # computers of the classroom


class Member:
    """Somebody in the room: a person, and the feed of their newest connection."""

    def __init__(
        self, room: net.Room, name: str, token: str | None = None, *, at: str = HERE, room_id: str = "", after: int = 0
    ) -> None:
        """room_id: of the room in which `after` is the last event that they have seen; this one unless it is given."""
        self.room = room
        self.at = at
        self.token = token or secrets.token_hex(16)
        self.feed = net.Feed()
        self.person = room.join(net.Join(name, self.token, room_id or room.id, after), at, self.feed)
        self.who = self.person.who
        welcome, *self.files_and_history = self.hears()
        assert isinstance(welcome, net.Welcome)
        self.welcome = welcome

    @property
    def name(self) -> str:
        return self.person.name

    def again(self, name: str = "", *, at: str = "", after: int = 0) -> Member:
        """The same person by a new connection."""
        return Member(self.room, name or self.name, self.token, at=at or self.at, after=after)

    def hears(self) -> list[net.Message]:
        """Everything that has come since the last time."""
        messages: list[net.Message] = []
        while self.feed.life is not net.Life.CLOSED:
            piece = self.room.next_piece(self.feed, {})
            if piece is None or piece == net.END_OF_FEED:
                break
            for line in piece.splitlines():
                message = net.decode(line)
                assert not isinstance(message, net.Unknown), line
                messages.append(message)
        return messages

    def hears_last(self, kind: type[T]) -> T:
        """The newest message, which is of this kind."""
        last = self.hears()[-1]
        assert isinstance(last, kind), last
        return last

    def says(self, text: str, number: int | None = None) -> int:
        """The line's id; the next one that is free, unless the test chooses it."""
        number = self.person.last_id + 1 if number is None else number
        cleaned = net.clean_text(text)
        self.room.say(self.person, self.feed, number, cleaned, net.text_problem(cleaned))
        return number

    def shares(self, filename: str = "worksheet.pdf") -> str:
        """The id of the file."""
        upload = net.Upload(self.token, secrets.token_hex(16), filename, 10)
        self.room.share(self.person, upload, filename, "0" * 64)
        return upload.file

    def may_write(self) -> str:
        """Says something; "said", or the code with which it was rejected."""
        number = self.says("May I?")
        answer = self.hears()[-1]
        assert isinstance(answer, net.Said | net.Rejected), answer
        assert answer.id == number
        return answer.code if isinstance(answer, net.Rejected) else "said"

    def may_share(self) -> str:
        """Shares a file; "shared", or the code with which it was refused."""
        try:
            self.shares()
        except net.ProtocolError as refused:
            return refused.code
        return "shared"

    def leaves(self) -> None:
        self.room.leave(self.person, self.feed)

    def is_lost(self) -> None:
        self.feed.close()


def of_kind(kind: type[T], messages: list[net.Message]) -> list[T]:
    return [message for message in messages if isinstance(message, kind)]


def numbers(messages: list[net.Message]) -> list[int]:
    return [message.number for message in messages if isinstance(message, net.Numbered)]


def kinds(messages: list[net.Message]) -> list[type[net.Message]]:
    return [type(message) for message in messages]


def texts(messages: list[net.Message]) -> list[str]:
    return [said.text for said in of_kind(net.Said, messages)]


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
    return [(event.muted, event.removed) for event in of_kind(net.Controls, drain(told))]


# Coming in -----------------------------------------------------------------------------------------------------------


def test_a_welcome_says_everything_about_the_room(room: net.Room, host: Member, ann: Member) -> None:
    ann.says("hello")
    late = Member(room, "Late")
    welcome = late.welcome
    assert (welcome.room, welcome.title, welcome.max_file) == (room.id, "Room 7", net.MAX_FILE)
    assert (welcome.who, welcome.name, welcome.host) == (late.who, "Late", host.who)
    assert welcome.people == ((1, "Mr Lee"), (2, "Ann"), (3, "Late"))
    assert (welcome.files, welcome.missed, welcome.history, welcome.last_id) == (0, 0, 4, 0)
    assert (welcome.muted, welcome.paused) == (False, False)
    assert numbers(late.files_and_history) == [1, 2, 3, 4]
    (said,) = of_kind(net.Said, late.files_and_history)
    assert (said.who, said.name, said.id, said.text) == (ann.who, "Ann", 1, "hello")
    joined = [(event.who, event.name) for event in of_kind(net.Joined, late.files_and_history)]
    assert joined == [(1, "Mr Lee"), (2, "Ann"), (3, "Late")]  # one's own joining is the last


@pytest.mark.parametrize(("history", "missed", "heard"), [(100, 0, "abcde"), (3, 2, "cde")])
def test_people_who_come_back_get_what_is_new(history: int, missed: int, heard: str) -> None:
    room = net.Room("Room 7", history=history)
    ann, bob = Member(room, "Ann"), Member(room, "Bob")
    for text in "abcde":
        ann.says(text)
    is_too_slow = room.next_piece(bob.feed, {}) == net.END_OF_FEED
    assert is_too_slow == (bob.feed.life is net.Life.CLOSED) == (missed > 0)
    again = bob.again(after=2)
    assert (again.welcome.missed, again.welcome.history) == (missed, len(heard))
    assert texts(again.files_and_history) == list(heard)


def test_a_history_of_long_messages_has_fewer_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "KEPT_BYTES", 1_000)
    room = net.Room("Room 7")
    ann = Member(room, "Ann")
    for _ in range(5):
        ann.says("x" * 300)
    assert texts(Member(room, "Late").files_and_history) == ["x" * 300] * 2


@pytest.mark.usefixtures("ann")
def test_a_position_in_another_room_or_in_the_future_does_not_count(room: net.Room) -> None:
    assert Member(room, "Bob", room_id="another", after=1).welcome.history == 3
    assert Member(room, "Carol", after=99).welcome.history == 4


def test_only_the_rooms_own_token_makes_the_host_who_is_unknown_while_not_in(room: net.Room) -> None:
    ann = Member(room, "Ann")
    assert (ann.who == net.HOST, ann.welcome.host) == (False, None)
    host = Member(room, "a name of no importance", room.host_token)
    assert (host.who, host.name) == (net.HOST, "Mr Lee")
    assert Member(room, "Bob").welcome.host == net.HOST
    host.leaves()
    assert Member(room, "Carol").welcome.host is None


def test_files_from_before_the_history_that_are_still_available_come_first() -> None:
    """Latecomers get all of them; people who come back, only those that are new."""
    room = net.Room("Room 7", history=3)
    ann, bob = Member(room, "Ann"), Member(room, "Bob")
    worksheet = ann.shares()
    bob.is_lost()
    ann.shares("deleted.pdf")
    map_ = ann.shares("map.png")
    room.delete(4)
    for text in "abcdef":
        ann.says(text)
    newest = ann.shares("newest.png")
    for member, files, missed in ((bob.again(after=3), [map_], 6), (Member(room, "Late"), [worksheet, map_], 9)):
        welcome = member.welcome
        assert (welcome.files, welcome.missed, welcome.history) == (len(files), missed, 3)
        assert [event.file for event in of_kind(net.Shared, member.files_and_history[: len(files)])] == files
        assert newest in [event.file for event in of_kind(net.Shared, member.files_and_history[len(files) :])]


# Names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("Ann", "Ann 2"),
        ("ANN", "ANN 2"),
        ("Ａ\u200bｎｎ ", "Ann 2"),
        ("Änn", "Änn"),  # names may look alike, except like the host's
        ("x" * 33, "x" * 32),
        ("An\ud800n", "An\ufffdn"),
    ],
)
def test_the_room_writes_the_names(ann: Member, asked: str, given: str) -> None:
    newcomer = Member(ann.room, net.replace_surrogates(asked))
    assert newcomer.name == newcomer.welcome.name == given
    assert ann.hears_last(net.Joined).name == given


LOOKS_LIKE_MR_LEE = [
    *["Mr Lee", "MR LEE", "Ｍｒ\u3000Ｌｅｅ", "Mr\u200b Lee"],  # case, and other forms of the same letters
    *["MrLee", "M r L e e", "Mr-Lee", "_mr lee_", "Mr Lee.", "Mr\U0001d159Lee"],  # spaces and signs
    *["Mr Lee 2", "Mr Lee ²", "1 Mr Lee", "Mr Lee ٣", "Mr 1ee", "Mr Iee"],  # digits, and I in place of l
    *["Mr Lee 2 (host, you)", "Mr Lee (maths", "Mr Lee [teacher]", "(Mr Lee)", "Mr Lee （x）"],
    *["Mr Léé", "Mr Le\u0301e", "Mr Łee", "Mr Lee\u20e3"],  # accents and other marks
    *["Мr Lее", "Мг Lee", "Mr Lεε", "Μr Lee", "Mr Lee 👑", "Mr 🅛🅴🇪"],  # Cyrillic, Greek, pictures
]
INVISIBLE = ["", "\u200b\u202e", "\x07", "\u3164", "\u2800"]


@pytest.mark.parametrize("name", LOOKS_LIKE_MR_LEE + INVISIBLE)
def test_a_name_that_is_invisible_or_looks_like_the_hosts_is_refused(room: net.Room, name: str) -> None:
    assert refusal(room, name) == "bad"
    Member(room, "", room.host_token)
    assert refusal(room, name) == "bad"


@pytest.mark.parametrize(
    ("host_name", "names"),
    [
        ("Mr Lee", ["Mr Leeson", "Mr L", "Lee", "Tom Mr Lee", "(Mr Lee) Tom", "Mrs Lee", "李"]),
        ("123", ["456", "🐼", "+"]),  # nothing is left to compare, so it matches nothing
    ],
)
def test_a_name_that_does_not_look_like_the_hosts_is_anybodys(host_name: str, names: list[str]) -> None:
    room = net.Room("Room 7", host_name)
    assert [Member(room, name).name for name in names] == names


@pytest.mark.parametrize(("host_name", "asked"), [("Ann 2", "Ann"), ("x" * 32, "x" * 40)])
def test_nobody_is_given_the_hosts_name_by_being_cut_or_numbered(host_name: str, asked: str) -> None:
    assert refusal(net.Room("Room 7", host_name), asked) == "bad"


def test_equal_names_are_numbered_within_32_characters_and_past_numbers_that_people_chose(room: net.Room) -> None:
    names = [Member(room, "x" * 32).name for _ in range(11)]
    assert (names[0], names[1], names[10]) == ("x" * 32, "x" * 30 + " 2", "x" * 29 + " 11")
    names = [Member(room, name).name for name in ("Ann 2", "Ann", "Ann", "Ann 2")]
    assert names == ["Ann 2", "Ann", "Ann 3", "Ann 2 2"]
    almost = Member(room, "Mr Lee" + "1" * 24 + "xy").name  # cut for a number, it looks like the host's
    assert refusal(room, almost) == "bad"


def test_a_name_stays_with_its_token_while_the_person_is_in_the_list_and_is_then_free(bob: Member) -> None:
    bob.is_lost()
    assert Member(bob.room, "Bob").name == "Bob 2"
    again = bob.again("another name")
    assert again.name == "Bob"
    number = again.says("hi")
    again.leaves()
    assert Member(bob.room, "bob").name == "bob"
    back = again.again("Robert")
    assert (back.who, back.name, back.welcome.last_id) == (bob.who, "Robert", number)


def test_the_first_of_too_many_who_left_is_forgotten_unless_removed(
    room: net.Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "MAX_REMEMBERED", 5)
    present, removed, ann, bob, carol = (Member(room, name) for name in ("Present", "Removed", "Ann", "Bob", "Carol"))
    room.remove(removed.who, True)
    for person in (bob, carol, ann):
        person.leaves()
    newest = Member(room, "Newest")
    room.remove(removed.who, False)
    for person in (present, ann, carol, removed):
        assert person.again().who == person.who
    assert bob.again().who > newest.who


# Full rooms ----------------------------------------------------------------------------------------------------------


def test_a_full_room_refuses_strangers_and_nobody_whom_it_knows_until_somebody_is_gone() -> None:
    room = net.Room("Room 7", limit=2)
    Member(room, "Ann")
    bob = Member(room, "Bob", at=THERE)
    assert Member(room, "", room.host_token).who == net.HOST
    bob.is_lost()
    assert refusal(room) == "full"
    again = bob.again()
    assert again.who == bob.who
    room.remove(bob.who, True)
    carol = Member(room, "Bob")  # the name is free, too
    assert carol.name == "Bob"
    assert refusal(room, "Bob", bob.token) == "removed"  # not `full`, after which his program would try again
    carol.is_lost()
    room.take_from_list(carol.person, "lost")
    Member(room, "Dave")


def test_a_room_has_as_many_people_as_the_wire_allows_with_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "ROOM_PEOPLE", 3)
    room = net.Room("Room 7", limit=3)
    for _ in range(2):
        Member(room, "Pupil")
    assert refusal(room) == "full"
    Member(room, "", room.host_token)
    assert len(room.present()) == 3


def test_in_a_full_room_the_newest_of_more_than_forty_makes_room_for_somebody_from_elsewhere() -> None:
    room = net.Room("Room 7", limit=42)
    crowd = [Member(room, f"Crowd {number}", at=HERE) for number in range(41)]
    ann = Member(room, "Ann", at=THERE)
    host = Member(room, "", room.host_token, at=HERE)
    assert [refusal(room, at=at) for at in (HERE, THERE)] == ["full", "full"]
    newcomer = Member(room, "Newcomer", at=ELSEWHERE)
    left, joined = ann.hears()[-2:]
    assert isinstance(left, net.Left)
    assert (left.who, left.reason) == (crowd[-1].who, "lost")
    assert isinstance(joined, net.Joined)
    assert joined.who == newcomer.who
    last = crowd[-1].hears_last(net.Refused)
    assert last.code == "full"
    assert last.seconds
    for other in (host, crowd[0]):
        assert net.Refused not in kinds(other.hears())
    assert refusal(room, at="192.0.2.4") == "full"  # forty people at one address are a class, and stay


# What people say, and how they leave ---------------------------------------------------------------------------------


def test_each_line_is_answered_in_order_whatever_the_host_does(room: net.Room, ann: Member, bob: Member) -> None:
    """Rejections go to their writer alone, and so they have no number."""
    ann.hears()
    start = room.history.next
    changes: list[Callable[[], None]] = [lambda: None, lambda: room.mute(ann.who, True), lambda: room.pause(True)]
    for change in changes:
        change()
        for text in ("a", "", "b" * 4001):
            ann.says(text)
    answers = [answer for answer in ann.hears() if isinstance(answer, net.Said | net.Rejected)]
    assert [answer.id for answer in answers] == list(range(1, 10))
    codes = [answer.code if isinstance(answer, net.Rejected) else "said" for answer in answers]
    assert codes == ["said", "empty", "long", *["muted"] * 3, *["paused"] * 3]
    seen = bob.hears()
    assert kinds(seen) == [net.Said, net.Paused]
    assert numbers(seen) == [start, start + 1]


def test_an_id_that_is_not_above_the_last_one_answered_is_dropped_without_an_answer(ann: Member) -> None:
    ann.hears()
    for number in (5, 5, 4, 0, 7):
        ann.says(str(number), number)
    assert texts(ann.hears()) == ["5", "7"]
    ann.says("", 9)
    ann.says("9", 9)
    assert kinds(ann.hears()) == [net.Rejected]
    assert ann.again().welcome.last_id == 9


@pytest.mark.parametrize("now", [-86_400.0, 1e18])
def test_a_clock_before_1970_or_after_3000_writes_times_that_clients_accept(now: float) -> None:
    ann = Member(net.Room("Room 7", now=lambda: now), "Ann")
    ann.says("hello")
    assert texts(ann.hears()) == ["hello"]


def test_only_people_who_are_not_back_in_time_have_left(room: net.Room, ann: Member, bob: Member) -> None:
    ann.hears()
    bob.is_lost()
    assert bob.person.present
    again = bob.again()
    assert again.person.feed is again.feed
    assert ann.hears() == []
    again.is_lost()
    assert (bob.who, "Bob") in Member(room, "Carol").welcome.people
    room.take_from_list(bob.person, "lost")
    left = ann.hears_last(net.Left)
    assert (left.who, left.name, left.reason) == (bob.who, "Bob", "lost")
    assert (bob.who, "Bob") not in Member(room, "Dave").welcome.people


def test_people_who_leave_see_everything_up_to_their_own_leaving_and_nothing_after_it(ann: Member, bob: Member) -> None:
    bob.hears()
    bob.says("bye")
    bob.leaves()
    bob.says("not any more")
    ann.says("Bob is gone")
    said, left = bob.hears()
    assert texts([said]) == ["bye"]
    assert isinstance(left, net.Left)
    assert (left.who, left.reason) == (bob.who, "left")
    assert texts(ann.hears()) == ["bye", "Bob is gone"]


# Mute and remove, both -----------------------------------------------------------------------------------------------

Ban = Callable[[net.Room, int, bool], object]
both_bans = pytest.mark.parametrize("ban", [net.Room.mute, net.Room.remove], ids=["mute", "remove"])


def stays(_member: Member) -> None:
    pass


def spreads_to(room: net.Room, at: str) -> bool:
    """Whether a new person from there is muted or removed. They leave again immediately."""
    try:
        newcomer = Member(room, "Newcomer", at=at)
    except net.ProtocolError as refused:
        if refused.code != "removed":
            raise
        return True
    newcomer.leaves()
    return newcomer.welcome.muted


@both_bans
def test_a_ban_spreads_to_new_people_from_that_address_alone(
    room: net.Room, ann: Member, bob: Member, ban: Ban
) -> None:
    there = ann.again(at=ELSEWHERE)  # what counts is where she is now
    ban(room, ann.who, True)
    assert [spreads_to(room, at) for at in (ELSEWHERE, HERE, THERE, net.LOOPBACK)] == [True, False, False, False]
    assert bob.may_write() == "said"
    ban(room, ann.who, False)
    assert not spreads_to(room, ELSEWHERE)
    assert there.again().may_write() == "said"


def is_given_up(member: Member) -> None:
    member.is_lost()
    member.room.take_from_list(member.person, "lost")


@both_bans
@pytest.mark.parametrize(
    ("happens", "spreads"), [(stays, False), (Member.is_lost, False), (is_given_up, True), (Member.leaves, True)]
)
def test_a_ban_does_not_spread_where_somebody_else_is_in_and_concerns_nobody_whom_the_room_knows(
    room: net.Room, ann: Member, ban: Ban, happens: Callable[[Member], None], spreads: bool
) -> None:
    """A whole class may sit behind one address. What counts is who was in, or could come back, at that moment."""
    neighbour = Member(room, "Neighbour", at=ann.at)
    happens(neighbour)
    ban(room, ann.who, True)
    assert spreads_to(room, ann.at) is spreads
    again = neighbour.again()
    assert again.may_write() == "said"
    again.leaves()
    assert spreads_to(room, ann.at) is spreads


@both_bans
def test_bans_spread_where_everybody_is_banned_and_are_undone_one_by_one(room: net.Room, ann: Member, ban: Ban) -> None:
    other = Member(room, "Other", at=ann.at)
    ban(room, ann.who, True)
    ban(room, other.who, True)
    assert spreads_to(room, ann.at)
    ban(room, ann.who, False)
    assert spreads_to(room, ann.at)
    ban(room, other.who, False)
    assert not spreads_to(room, ann.at)


@pytest.mark.usefixtures("ann")
@both_bans
@pytest.mark.parametrize("who", [0, net.HOST, 99, 2**53])
def test_the_host_and_people_who_do_not_exist_cannot_be_banned(room: net.Room, ban: Ban, who: int) -> None:
    for on in (True, False):
        with pytest.raises(ValueError, match=f"not {who}$"):
            ban(room, who, on)


def test_somebody_who_is_also_muted_comes_back_muted(room: net.Room, ann: Member) -> None:
    room.remove(ann.who, True)
    room.mute(ann.who, True)
    room.remove(ann.who, False)
    assert ann.again().may_write() == "muted"


# Mute ----------------------------------------------------------------------------------------------------------------


def test_a_muted_person_is_told_alone_reads_on_and_is_not_heard(room: net.Room, ann: Member, bob: Member) -> None:
    for each in (ann, bob):
        each.hears()
    for _ in range(2):  # to mute somebody twice is to mute them once
        room.mute(ann.who, True)
    assert ann.hears() == [net.Muted(True)]
    assert (ann.may_write(), ann.may_share()) == ("muted", "muted")
    bob.says("poor Ann")
    assert texts(ann.hears()) == texts(bob.hears()) == ["poor Ann"]
    for _ in range(2):
        room.mute(ann.who, False)
    assert ann.hears() == [net.Muted(False)]
    assert (ann.may_write(), ann.may_share()) == ("said", "shared")


@pytest.mark.parametrize(
    ("goes", "comes"),
    [
        pytest.param(Member.leaves, Member.again, id="comes again"),
        pytest.param(Member.is_lost, Member.again, id="comes back after a break"),
        pytest.param(Member.leaves, lambda ann: Member(ann.room, "Nobody"), id="starts the program again"),
        pytest.param(stays, lambda ann: Member(ann.room, "Nobody"), id="starts a second program"),
        pytest.param(Member.is_lost, lambda ann: ann.again(at=THERE), id="goes to another computer"),
    ],
)
def test_a_muted_person_stays_muted_whatever_they_do_and_unmuting_them_there_undoes_all_of_it(
    room: net.Room, ann: Member, bob: Member, goes: Callable[[Member], None], comes: Callable[[Member], Member]
) -> None:
    room.mute(ann.who, True)
    goes(ann)
    there = comes(ann)
    assert there.welcome.muted
    assert there.may_write() == "muted"
    assert bob.may_write() == "said"
    assert spreads_to(room, ann.at)
    assert not spreads_to(room, bob.at)  # a mute follows the person, but not to the neighbours there
    there.hears()
    room.mute(there.who, False)
    assert there.hears() == [net.Muted(False)]
    assert there.may_write() == ann.again().may_write() == "said"
    assert not spreads_to(room, ann.at)


def test_a_mute_spreads_until_ten_minutes_after_the_last_has_left(room: net.Room, ann: Member, clock: Clock) -> None:
    room.mute(ann.who, True)
    clock.now += 10_000
    second = Member(room, "Second")
    assert second.welcome.muted  # Ann is still in
    ann.leaves()
    clock.now += 500
    second.leaves()
    clock.now += 599
    assert spreads_to(room, ann.at)
    clock.now += 601
    assert not spreads_to(room, ann.at)
    assert ann.again().welcome.muted  # the flag of a person does not end


def test_a_muted_person_who_joins_again_is_a_guest_with_a_number(room: net.Room, ann: Member) -> None:
    room.mute(ann.who, True)
    assert ann.name == "Ann"  # the host muted her under this name
    ann.is_lost()
    assert ann.again("Nobody listens").name == "Ann"  # she never left
    second = Member(room, "to me")
    room.take_from_list(ann.person, "lost")
    again = ann.again("so I write")
    assert [second.name, again.name, Member(room, "in names").name] == ["Guest 1", "Guest 2", "Guest 3"]
    room.mute(ann.who, False)
    again.leaves()
    assert ann.again("Ann").name == "Ann"


@pytest.mark.parametrize("host_name", ["Guest", "GUEST 7", "Guеst"])
def test_where_the_host_is_called_guest_a_muted_newcomer_is_a_visitor(host_name: str) -> None:
    room = net.Room("Room 7", host_name)
    ann = Member(room, "Ann")
    room.mute(ann.who, True)
    assert [Member(room, "Ann").name, Member(room, "Ann").name] == ["Visitor 1", "Visitor 2"]


# Remove, and what the host is told of it -----------------------------------------------------------------------------


def test_a_removed_person_reads_why_as_the_last_word(room: net.Room, ann: Member, bob: Member) -> None:
    for each in (ann, bob):
        each.hears()
    ann.says("before")
    room.remove(ann.who, True)
    ann.says("after")
    assert ann.may_share() == "unknown"
    bob.says("gone")
    said, closed = ann.hears()
    assert texts([said]) == ["before"]
    assert isinstance(closed, net.Closed)
    assert "removed" in closed.reason
    left = bob.hears()[1]
    assert isinstance(left, net.Left)
    assert (left.who, left.name, left.reason) == (ann.who, "Ann", "removed")
    assert Member(room, "Carol", at=ELSEWHERE).welcome.people == ((1, "Mr Lee"), (bob.who, "Bob"), (4, "Carol"))


def test_a_removed_person_stays_out_until_the_host_lets_them_in_and_newcomers_there_for_ten_minutes(
    room: net.Room, ann: Member, told: net.Events, clock: Clock
) -> None:
    room.remove(ann.who, True)
    for at in (ann.at, THERE, net.LOOPBACK):
        assert refusal(room, "Somebody Else", ann.token, at=at) == "removed"
    assert [spreads_to(room, at) for at in (ann.at, THERE)] == [True, False]
    assert controls(told) == [((), ((ann.who, "Ann"),))]  # none of these attempts is a person
    clock.now += 599
    assert spreads_to(room, ann.at)
    clock.now += 2  # the attempt has not made it longer
    assert not spreads_to(room, ann.at)
    assert refusal(room, "Ann", ann.token) == "removed"
    room.remove(ann.who, False)
    again = ann.again()
    assert again.who == ann.who
    assert again.may_write() == "said"


def test_a_removal_deletes_the_persons_files_and_no_others(room: net.Room, ann: Member, bob: Member) -> None:
    first, second = ann.shares(), ann.shares()
    kept = bob.shares()
    bob.hears()
    assert room.remove(ann.who, True) == [first, second]
    assert [taken_back.which for taken_back in of_kind(net.TakenBack, bob.hears())] == [4, 5]
    late = Member(room, "Late", at=ELSEWHERE)
    assert [shared.file for shared in of_kind(net.Shared, late.files_and_history) if not shared.taken_back] == [kept]
    assert room.remove(ann.who, True) == []
    assert room.remove(ann.who, False) == []  # for good


def test_the_host_is_told_who_is_muted_and_removed_whenever_that_changes(
    room: net.Room, ann: Member, bob: Member, told: net.Events
) -> None:
    room.mute(ann.who, True)
    room.mute(bob.who, True)
    ann.leaves()
    assert controls(told) == [((ann.who,), ()), ((ann.who, bob.who), ()), ((bob.who,), ())]  # only people in the list
    second = Member(room, "Second")  # muted by the address
    assert controls(told) == [((bob.who, second.who), ())]
    room.remove(bob.who, True)
    assert controls(told) == [((second.who,), ((bob.who, "Bob"),))]
    room.pause(True)
    assert controls(told) == []


# Pause and delete ----------------------------------------------------------------------------------------------------


def test_while_the_room_is_paused_only_the_host_writes_and_shares(room: net.Room, host: Member, ann: Member) -> None:
    for each in (host, ann):
        each.hears()
    for on in (False, True, True):  # to pause twice is to pause once
        room.pause(on)
    bob = Member(room, "Bob")
    for each in (host, ann):
        assert kinds(each.hears()) == [net.Paused, net.Joined]
    assert bob.welcome.paused
    assert kinds(bob.files_and_history)[-2:] == [net.Paused, net.Joined]
    for each in (ann, bob):
        assert (each.may_write(), each.may_share()) == ("paused", "paused")
    assert (host.may_write(), host.may_share()) == ("said", "shared")
    for _ in range(2):
        room.pause(False)
    assert [paused.on for paused in of_kind(net.Paused, bob.hears())] == [False]
    assert (ann.may_write(), ann.may_share()) == ("said", "shared")
    assert not Member(room, "Carol").welcome.paused


def test_a_deleted_message_is_gone_for_all_who_do_not_have_it_yet(room: net.Room, ann: Member, bob: Member) -> None:
    bob.hears()
    ann.says("something silly")
    said = ann.hears_last(net.Said)
    assert not said.taken_back
    for _ in range(2):
        assert room.delete(said.number) is None
    (taken_back,) = ann.hears()
    assert isinstance(taken_back, net.TakenBack)
    assert (taken_back.number, taken_back.which) == (said.number + 1, said.number)
    deleted = dataclasses.replace(said, text="", taken_back=True)
    assert bob.hears() == [deleted, taken_back]  # he was behind
    assert bob.again(after=said.number).files_and_history == [taken_back]
    late = Member(room, "Late").files_and_history
    assert numbers(late) == list(range(1, 7))
    assert late[said.number - 1] == deleted


def test_a_deleted_file_is_named_once_and_nothing_of_it_is_left(room: net.Room, ann: Member, bob: Member) -> None:
    file = ann.shares("secret.txt")
    number = bob.hears_last(net.Shared).number
    assert [room.delete(number), room.delete(number)] == [file, None]
    late = Member(room, "Late").files_and_history[number - 1]
    assert isinstance(late, net.Shared)
    assert (late.filename, late.size, late.sha256, late.taken_back) == ("", 0, "", True)


def test_messages_and_files_of_everybody_can_be_deleted_and_nothing_else(
    room: net.Room, host: Member, ann: Member, bob: Member
) -> None:
    for member in (host, ann, bob):
        member.says("from me")
    file = ann.shares()
    ann.leaves()
    room.pause(True)
    assert [room.delete(number) for number in (4, 5, 6, 7)] == [None, None, None, file]
    for number in (-1, 0, 1, 8, 9, room.history.next, 2**60):
        with pytest.raises(ValueError, match=str(number)):
            room.delete(number)


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
