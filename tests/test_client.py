"""The client: its way into a room and back, what becomes of a line, and rooms that behave as no room should."""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import threading
import time
from collections.abc import Callable

import pytest

import net
from net import Trouble
from tests import helpers
from tests.conftest import OpenRoom
from tests.helpers import LIMIT, LOOPBACK, FakeRoom, Guest, Message, Person, Proxy, drain, message, nobodys_port, until

RETRIES = net.RETRIES  # as they are, before the tests shorten them
PASSWORD = "open sesame"


def said(number: int, text: str = "x") -> Message:
    """Eve says this."""
    return message("said", number=number, time=1.5, who=3, name="Eve", id=1, text=text)


def shared(number: int) -> Message:
    """Eve's file."""
    fields = {"file": "ab" * 16, "filename": "sheet.pdf", "size": 5, "sha256": "0" * 64}
    return message("shared", number=number, time=1.5, who=3, name="Eve", **fields)


def as_line(message: Message) -> bytes:
    return json.dumps(message).encode() + b"\n"


Come = Callable[..., Person]
Visit = tuple[Person, Guest]  # somebody, and the room's end of their connection


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits between two attempts are a hundredth of the real ones."""
    monkeypatch.setattr(net, "RETRIES", (0.0, 0.01, 0.02, 0.04, 0.05))


@pytest.fixture
def come(stack: contextlib.ExitStack) -> Come:
    """Starts clients: come(name, port)."""
    return lambda *who, **how: stack.enter_context(contextlib.closing(Person(*who, **how)))


@pytest.fixture
def ann(fake: FakeRoom, come: Come) -> Person:
    """Somebody on the way into the fake room."""
    return come("Ann", fake.port)


@pytest.fixture
def visit(fake: FakeRoom, ann: Person) -> Visit:
    """Ann in the fake room, and the room's end of her connection."""
    guest = fake.accepts()
    guest.lets_in()
    ann.expects(net.Welcome)
    return ann, guest


@pytest.fixture
def bob(room: net.Server, come: Come) -> Person:
    bob = come("Bob", room.port)
    bob.expects(net.Joined, lambda joined: joined.name == "Bob")
    return bob


@pytest.fixture
def cara(proxy: Proxy, come: Come) -> Person:
    """Somebody in a real room, on a bad network."""
    cara = come("Cara", proxy.port)
    cara.expects(net.Joined, lambda joined: joined.name == "Cara")
    return cara


# In the room ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "code"), [(" \n", "empty"), ("x" * 4001, "long")])
def test_a_line_that_the_room_would_reject_is_rejected_by_the_client_and_never_sent(
    visit: Visit, text: str, code: str
) -> None:
    ann, guest = visit
    assert ann.gets_back(ann.says(text)) == code
    ann.says("marker")
    assert guest.expects("say")["text"] == "marker"


def test_a_room_that_closes_ends_the_visit_and_later_lines_return_unsent(
    room: net.Server, cara: Person, fake: FakeRoom
) -> None:
    room.close("The lesson is over.")
    assert cara.client.join(LIMIT)
    cara.client.move(LOOPBACK, fake.port)  # this does nothing any more
    assert drain(cara.events)[-1] == net.Closed("The lesson is over.")
    assert cara.gets_back(cara.says("too late")) == "unsent"


@pytest.mark.parametrize(
    ("address", "port", "wrong"),
    [("", 5252, "address"), (" ", 5252, "address"), (LOOPBACK, 0, "port"), (LOOPBACK, 65536, "port")],
)
def test_an_empty_address_or_an_impossible_port_is_the_callers_mistake(
    cara: Person, address: str, port: int, wrong: str
) -> None:
    with pytest.raises(ValueError, match=wrong):
        net.run_client(address, "Ann", queue.Queue(), port=port)
    with pytest.raises(ValueError, match=wrong):
        cara.client.move(address, port)
    cara.says("still here")
    cara.hears("still here")


# Events and their numbers --------------------------------------------------------------------------------------------


def test_a_number_that_is_not_above_the_last_is_ignored(fake: FakeRoom, ann: Person) -> None:
    fake.accepts().lets_in(said(1), said(2), said(2, "again"), said(1, "again"), said(0, "never"), said(3, "marker"))
    assert [ann.expects(net.Said).text for _ in range(3)] == ["x", "x", "marker"]


def test_a_gap_in_the_numbers_is_a_lost_connection_and_the_same_person_comes_back_for_the_rest(
    fake: FakeRoom, ann: Person
) -> None:
    first = fake.accepts().lets_in(said(1), said(3, "too early"))
    assert ann.expects(net.Said).number == 1
    assert ann.expects(net.Lost).reason is Trouble.GAP
    second = fake.accepts().lets_in(said(2), said(3, "in its turn"))
    assert [ann.expects(net.Said).text for _ in range(2)] == ["x", "in its turn"]
    assert (first["room"], first["after"]) == (None, 0)
    assert (second["room"], second["after"]) == ("r1", 1)
    assert first["token"] == second["token"]


def test_an_unknown_type_is_ignored_but_its_number_counts(fake: FakeRoom, ann: Person) -> None:
    guest = fake.accepts()
    guest.says_hello()
    guest.receive_until("join")
    guest.send(message("confetti"))
    guest.send(helpers.welcome())
    for each in (said(1), message("confetti", number=2), said(3), message("confetti", number="4"), said(4, "marker")):
        guest.send(each)
    assert isinstance(ann.events.get(timeout=LIMIT), net.Welcome)
    assert [ann.expects(net.Said).number for _ in range(3)] == [1, 3, 4]


# Breaks --------------------------------------------------------------------------------------------------------------


def test_attempts_come_after_0_1_2_4_5_5_seconds(proxy: Proxy, cara: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(RETRIES) == [0.0, 1.0, 2.0, 4.0, 5.0]
    scaled = [seconds / 100 for seconds in (0, 1, 2, 4, 5, 5)]
    monkeypatch.setattr(net, "RETRIES", tuple(scaled[:-1]))
    for _ in range(2):  # once the client has been in, the waits begin anew
        proxy.refuse()
        proxy.cut()
        assert [cara.expects(net.Lost).retry_in for _ in scaled] == scaled
        proxy.refuse(False)
        cara.expects(net.Welcome)
        cara.says("marker")
        cara.hears("marker")


def test_a_room_that_drops_everyone_after_one_message_is_not_tried_again_and_again_without_a_wait(
    fake: FakeRoom, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "RETRIES", (0.0, 0.01, 1.5))  # the last one is longer than a slow computer may stall
    losses = []
    for number in range(1, 5):
        with contextlib.closing(fake.accepts()) as guest:
            guest.lets_in(said(number))
        losses.append(ann.expects(net.Lost))
    waits = (0.0, 0.01, 1.5, 0.0)  # before the fourth break it has waited
    assert losses == [net.Lost(Trouble.GONE, retry_in) for retry_in in waits]


def test_where_nobody_listens_a_client_that_has_never_been_in_waits_before_its_second_attempt(
    come: Come, stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "RETRIES", (0.0, 0.01, 0.02))
    ann = come("Ann", nobodys_port(stack))
    for retry_in in (0.01, 0.02, 0.02):
        assert ann.expects(net.Lost) == net.Lost(Trouble.NOBODY_LISTENS, retry_in)


def test_a_room_that_falls_silent_is_lost_and_the_client_comes_back(
    fake: FakeRoom, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, _ = visit
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(net, "SILENCE", 0.1)
        assert ann.expects(net.Lost).reason is Trouble.SILENT
    fake.accepts().lets_in(said(1, "here again"))
    ann.hears("here again")


def test_a_line_whose_answer_was_lost_is_settled_if_events_were_missed_and_otherwise_rejected(
    fake: FakeRoom, visit: Visit
) -> None:
    """It makes no difference if the connection breaks again before everything missed has come."""
    ann, guest = visit
    number = ann.says("one")
    guest.expects("say")
    guest.close()
    guest = fake.accepts()
    guest.lets_in(said(4, "much later"), missed=3, history=2, last_id=number)
    ann.hears("much later")
    guest.close()
    guest = fake.accepts()
    guest.lets_in(said(5, "later still"), last_id=number)
    assert ann.expects(net.Settled).id == number
    number = ann.says("two")
    guest.expects("say")
    guest.close()
    fake.accepts().lets_in(last_id=number)  # this time nothing was missed
    assert ann.gets_back(number) == "unknown"


@pytest.mark.parametrize(
    ("first", "last", "kind", "counts"),
    [
        (said(1), said(2), net.Said, {"history": 2}),
        (shared(2), shared(3), net.Shared, {"files": 2, "missed": 5, "history": 0}),
    ],
)
def test_what_was_missed_comes_before_what_is_sent(
    fake: FakeRoom, ann: Person, first: Message, last: Message, kind: type[net.Event], counts: dict[str, int]
) -> None:
    ann.client.say("one")
    guest = fake.accepts()
    guest.lets_in(first, **counts)
    ann.expects(net.Welcome)
    ann.expects(kind)
    guest.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        guest.socket.recv(1)
    guest.socket.settimeout(LIMIT)
    guest.send(last)
    assert guest.expects("say")["text"] == "one"


# Another room, and another address -----------------------------------------------------------------------------------


def test_in_another_room_at_the_same_address_lines_not_yet_answered_return_to_their_author(
    fake: FakeRoom, visit: Visit
) -> None:
    """Even if the room has the same title and host. They return before the welcome, so the window knows where."""
    ann, guest = visit
    sent = ann.says("sent")
    guest.expects("say")
    guest.close()
    ann.expects(net.Lost)
    unsent = ann.says("not sent")
    guest = fake.accepts()
    guest.lets_in(room="r2", last_id=unsent + 5)  # ids of that room's own lines, which answer none of these
    events = [ann.events.get(timeout=LIMIT) for _ in range(3)]
    returned = [(event.id, event.code) for event in events if isinstance(event, net.Rejected)]
    assert returned == [(sent, "unanswered"), (unsent, "unsent")]
    assert isinstance(events[2], net.Welcome)
    ann.says("meant for this room")
    assert guest.expects("say")["text"] == "meant for this room"


def test_after_a_move_from_an_open_room_the_client_is_a_new_person_and_its_lines_return(
    fake: FakeRoom, ann: Person, stack: contextlib.ExitStack
) -> None:
    """Anybody can open a room with the same id at another address, so that room must not get either."""
    guest = fake.accepts()
    before = guest.lets_in()
    number = ann.says("one")
    guest.expects("say")
    elsewhere = stack.enter_context(contextlib.closing(FakeRoom()))
    ann.client.move(LOOPBACK, elsewhere.port)
    assert ann.gets_back(number) == "unanswered"
    guest.receive_all()  # the old connection ends
    guest = elsewhere.accepts()
    assert guest.lets_in()["token"] != before["token"]
    ann.says("two")
    assert guest.expects("say")["text"] == "two"


@helpers.needs_tls
def test_after_a_move_from_a_room_with_a_password_the_visit_goes_on_where_it_was(
    open_room: OpenRoom, stack: contextlib.ExitStack, come: Come
) -> None:
    room = open_room(password=PASSWORD)
    old, new = (stack.enter_context(Proxy(room.port)) for _ in range(2))
    bob = come("Bob", room.port, password=PASSWORD)
    bob.expects(net.Welcome)
    ann = come("Ann", old.port, password=PASSWORD)
    for person in (bob, ann):
        person.expects(net.Joined, lambda joined: joined.name == "Ann")
    old.silence()
    number = ann.says("kept")
    bob.says("meanwhile")
    bob.hears("meanwhile")
    ann.client.move(LOOPBACK, new.port)
    assert ann.expects(net.Welcome).missed == 0
    ann.hears("meanwhile")
    assert ann.hears("kept").id == number
    assert isinstance(bob.events.get(timeout=LIMIT), net.Said)  # without `left` or `joined` before it


def test_a_move_ends_the_wait_between_two_attempts_and_may_name_the_computer(
    room: net.Server, come: Come, stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "RETRIES", (600.0,))
    ann = come("Ann", nobodys_port(stack))
    ann.expects(net.Lost)
    ann.client.move("localhost", room.port)
    ann.expects(net.Welcome)
    assert (ann.client.address, ann.client.port) == ("localhost", room.port)


def test_a_move_ends_an_attempt_at_the_old_address(
    room: net.Server, fake: FakeRoom, come: Come, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a room that answers late would keep the client, and learn its new token."""
    monkeypatch.setattr(net, "TICK", 0.02)
    monkeypatch.setattr(net, "FIRST_MESSAGE", 600.0)
    ann = come("Ann", fake.port)
    guest = fake.accepts()
    guest.expects("hello")
    ann.client.move(LOOPBACK, room.port)
    assert ann.expects(net.Welcome).room == room.id
    assert guest.receive_all() == []


# Files from before the history ---------------------------------------------------------------------------------------


def test_files_from_before_the_history_come_between_the_welcome_and_the_history(fake: FakeRoom, ann: Person) -> None:
    """Their numbers are no gap, and they do not count as missed."""
    fake.accepts().lets_in(shared(2), shared(5), said(10), said(11), files=2, missed=7, history=2)
    assert ann.expects(net.Welcome).missed == 7
    events = [ann.events.get(timeout=LIMIT) for _ in range(4)]
    assert [event.number for event in events if isinstance(event, net.Numbered)] == [2, 5, 10, 11]


def test_files_that_a_break_kept_away_are_asked_for_again_and_none_comes_twice(fake: FakeRoom, ann: Person) -> None:
    guest = fake.accepts()
    guest.lets_in(shared(2), files=3, missed=6, history=1)
    ann.expects(net.Shared)
    guest.close()
    ann.expects(net.Lost)
    join = fake.accepts().lets_in(shared(5), shared(7), said(10, "marker"), files=2, missed=5, history=1)
    assert (join["room"], join["after"]) == ("r1", 2)
    assert [ann.expects(net.Shared).number for _ in range(2)] == [5, 7]
    ann.hears("marker")


@pytest.mark.parametrize(
    ("files", "missed", "events"),
    [
        *[(2, 7, [event]) for event in (said(3), shared(10), message("confetti", number=3))],
        (2, 7, [shared(6), shared(5)]),
        (0, 2**53, [said(3)]),
    ],
)
def test_a_room_whose_files_or_numbers_cannot_be_right_is_not_a_room(
    fake: FakeRoom, ann: Person, files: int, missed: int, events: list[Message]
) -> None:
    fake.accepts().lets_in(*events, files=files, missed=missed)
    assert ann.expects(net.Lost).reason is Trouble.NOT_A_ROOM


# A window that does not keep up ---------------------------------------------------------------------------------------

MANY = 200  # events; far more than wait in the queue below, and few enough for any system's buffers


@pytest.fixture
def busy(fake: FakeRoom, come: Come, monkeypatch: pytest.MonkeyPatch) -> Visit:
    """Somebody whose window takes no events while many come; and the room's end of their connection."""
    monkeypatch.setattr(net, "CLIENT_RECEIVES", 1024)  # about ten events at a time
    monkeypatch.setattr(net, "MAX_WAITING_EVENTS", 10)
    monkeypatch.setattr(net, "TICK", 0.02)
    monkeypatch.setattr(net, "PING_AFTER", 0.1)
    ann, guest = come("Ann", fake.port), fake.accepts()
    guest.lets_in()
    guest.send_bytes(b"".join(as_line(said(number)) for number in range(1, MANY + 1)))
    until(lambda: ann.events.qsize() > net.MAX_WAITING_EVENTS, "more events wait than the window should have to take")
    return ann, guest


def test_while_too_many_events_wait_the_client_reads_no_more_of_them_but_still_pings_and_sends(busy: Visit) -> None:
    ann, guest = busy
    for _ in range(3):
        guest.receive_until("ping")
    ann.client.say("one")
    assert guest.receive_until("say")["text"] == "one"
    assert ann.events.qsize() < MANY / 2
    assert [ann.expects(net.Said).number for _ in range(MANY)] == list(range(1, MANY + 1))


def test_time_in_which_the_client_did_not_read_is_no_silence_of_the_room(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, guest = visit
    for name, value in {"MAX_WAITING_EVENTS": 0, "TICK": 0.02, "PING_AFTER": 0.1}.items():
        monkeypatch.setattr(net, name, value)
    guest.send_bytes(as_line(said(1)) + as_line(said(2, "marker"))[:-1])
    until(lambda: ann.events.qsize() > 0, "the client waits for its window")
    now = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + net.SILENCE)
    ann.hears("x")
    for _ in range(3):  # meanwhile the client reads again, and nothing comes
        guest.receive_until("ping")
    guest.send_bytes(b"\n")
    assert isinstance(ann.events.get(timeout=LIMIT), net.Said)


def test_a_close_wakes_a_client_that_waits_for_its_window(busy: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "CLOSE_TIME", 0.1)
    ann, _ = busy
    ann.close()


# Troubles ------------------------------------------------------------------------------------------------------------


def fill(stack: contextlib.ExitStack) -> int:
    """A port at which nothing answers: the queue of connections that wait for accept is full."""
    listener = stack.enter_context(socket.create_server((LOOPBACK, 0), backlog=0))
    first = stack.enter_context(socket.socket())
    first.connect(listener.getsockname())  # it is in the queue before the others try
    for _ in range(3):
        waiting = stack.enter_context(socket.socket())
        waiting.setblocking(False)
        waiting.connect_ex(listener.getsockname())
    return helpers.port_of(listener)


def look_up_hangs(stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look-ups wait for the end of the test."""
    go_on = threading.Event()
    stack.callback(go_on.set)

    def hang(*_question: object) -> None:
        go_on.wait()
        raise socket.gaierror("too late")

    monkeypatch.setattr(socket, "getaddrinfo", hang)


@pytest.mark.parametrize("name", ["nowhere.example", "a..b"])
def test_trouble_with_a_name_that_does_not_resolve(come: Come, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python rejects the second one itself, and no look-up happens."""

    def look_up(asked: str, *_question: object) -> None:
        asked.encode("idna")
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert come("Ann", 1, address=name).expects(net.Lost).reason is Trouble.UNKNOWN_NAME


def test_trouble_with_a_look_up_or_a_connection_that_takes_too_long(
    come: Come, stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up_hangs(stack, monkeypatch)
    monkeypatch.setattr(net, "LOOK_UP_TIME", 0.1)
    monkeypatch.setattr(net, "CONNECT_TIME", 0.1)
    assert come("Ann", 1, address="slow.example").expects(net.Lost).reason is Trouble.UNKNOWN_NAME
    assert come("Ann", fill(stack)).expects(net.Lost).reason is Trouble.NO_ANSWER


@pytest.mark.parametrize(
    ("code", "asked", "trouble", "waits"),
    [("full", None, Trouble.FULL, 0.01), ("wait", 1, Trouble.WAIT, 1.0), ("limit", 2**53, Trouble.WAIT, 60.0)],
)
def test_a_room_that_is_full_or_asks_to_wait_is_tried_again_after_that_time_but_within_a_minute(
    fake: FakeRoom, ann: Person, code: str, asked: int | None, trouble: Trouble, waits: float
) -> None:
    fake.accepts().refuses(code, seconds=asked)
    assert ann.expects(net.Lost) == net.Lost(trouble, waits)


def test_any_other_refusal_ends_the_visit(fake: FakeRoom, ann: Person) -> None:
    number = ann.says("hello?")
    fake.accepts().refuses("something new")
    assert ann.client.join(LIMIT)
    first, last = drain(ann.events)
    assert (first.id, first.code) == (number, "unsent")
    assert last == net.Refused("something new", "because")


@pytest.mark.parametrize(
    ("hello", "code"), [({"protocol": net.PROTOCOL + 1}, "protocol"), ({"tls": True, "salt": "00" * 16}, "tls")]
)
def test_a_room_that_this_program_cannot_join_ends_the_visit(
    fake: FakeRoom, come: Come, monkeypatch: pytest.MonkeyPatch, hello: Message, code: str
) -> None:
    monkeypatch.setattr(net, "CAN_ENCRYPT", False)
    ann = come("Ann", fake.port)
    fake.accepts().says_hello(**hello)
    assert ann.expects(net.Refused).code == code
    assert ann.client.join(LIMIT)


NOT_A_ROOM = {
    "another program": b"SSH-2.0-OpenSSH_9.6\r\n",
    "a line that is too long": as_line(message("ping", x="x" * 262_119)),  # 262,145 bytes
    "a refusal without a reason": as_line(message("refused", code="wait")),
    "a text that is too long": as_line(said(1, "x" * 4_001)),
}


@pytest.mark.parametrize("junk", NOT_A_ROOM.values(), ids=NOT_A_ROOM.keys())
@pytest.mark.parametrize("in_place_of", ["hello", "welcome", "an event"])
def test_a_room_that_breaks_the_rules_is_not_a_room_and_the_window_never_sees_what_it_says(
    fake: FakeRoom, ann: Person, junk: bytes, in_place_of: str
) -> None:
    guest = fake.accepts()
    if in_place_of == "an event":
        guest.lets_in()
        ann.expects(net.Welcome)
    elif in_place_of == "welcome":
        guest.says_hello()
    with contextlib.suppress(ConnectionError):  # the client need not read to the end
        guest.send_bytes(junk)
    event = ann.events.get(timeout=LIMIT)
    assert isinstance(event, net.Lost)
    assert event.reason is Trouble.NOT_A_ROOM
    fake.accepts().lets_in(said(1, "a good room"))
    ann.hears("a good room")


# Closing -------------------------------------------------------------------------------------------------------------


def test_closing_returns_at_once_and_is_done_within_two_seconds_whatever_the_client_does(
    come: Come, stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert net.CLOSE_TIME == 1.5  # s; shorter here, so that a slow computer has time for the rest as well
    monkeypatch.setattr(net, "CLOSE_TIME", 0.5)
    monkeypatch.setattr(net, "RETRIES", (600.0,))
    look_up_hangs(stack, monkeypatch)
    people = {
        "looking up": come("Ann", 1, address="slow.example"),
        "connecting": come("Ann", fill(stack)),
        "between two attempts": come("Ann", nobodys_port(stack)),
    }
    guests = {}
    for stage in ("before the hello", "before the welcome", "in the history", "in a room that does not read"):
        fake = stack.enter_context(contextlib.closing(FakeRoom()))
        people[stage] = come("Ann", fake.port)
        guests[stage] = fake.accepts()
    until(lambda: any(t.name.startswith("name look-up") for t in threading.enumerate()), "the look-up has begun")
    people["between two attempts"].expects(net.Lost)
    guests["before the hello"].expects("hello")
    guests["before the welcome"].says_hello()
    guests["before the welcome"].receive_until("join")
    guests["in the history"].lets_in(said(1, "marker"), history=2)
    guests["in a room that does not read"].lets_in(said(1, "marker"))
    for stage in ("in the history", "in a room that does not read"):
        people[stage].hears("marker")
    for _ in range(2000):  # 8 MB
        people["in a room that does not read"].client.say("x" * 4000)
    last_words = {stage: ann.says("bye") for stage, ann in people.items()}
    started = time.monotonic()
    for ann in people.values():
        ann.client.close()
    assert time.monotonic() - started < 1.0
    late = [stage for stage, ann in people.items() if not ann.client.join(max(0.0, started + 2.0 - time.monotonic()))]
    assert late == []
    for stage, number in last_words.items():  # no room has answered these, and none may stay "being sent"
        answered = {event.id for event in drain(people[stage].events) if isinstance(event, net.Rejected)}
        assert number in answered, stage


def test_lines_written_before_closing_are_still_delivered_and_then_the_person_has_left(
    cara: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "CLOSE_TIME", LIMIT / 2)  # a slow computer takes longer than usual
    for number in range(100):
        cara.client.say(str(number))
    cara.close()
    assert [bob.expects(net.Said).text for _ in range(100)] == [str(number) for number in range(100)]
    assert bob.expects(net.Left).reason == "left"
    assert [event.text for event in drain(cara.events) if isinstance(event, net.Said)][-1] == "99"
    cara.close()  # closing twice is harmless
    assert cara.gets_back(cara.says("too late")) == "unsent"


def test_a_line_written_before_closing_is_delivered_by_one_more_attempt(
    proxy: Proxy, cara: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net, "CLOSE_TIME", LIMIT / 2)  # a slow computer takes longer than usual
    monkeypatch.setattr(net, "RETRIES", (600.0,))
    proxy.refuse()
    proxy.cut()
    cara.expects(net.Lost)
    cara.client.say("bye")
    proxy.refuse(False)
    cara.close()
    bob.hears("bye")
    assert bob.expects(net.Left).reason == "left"


def test_a_line_that_returns_unsent_at_the_end_never_appears(
    open_room: OpenRoom, come: Come, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit holds back more lines than the room can answer before the end."""
    monkeypatch.setattr(net, "CLOSE_TIME", 0.3)
    monkeypatch.setattr(net, "BACK_WITHIN", 0.1)
    room = open_room(rate=20)
    bob, ann = come("Bob", room.port), come("Ann", room.port)
    ann.expects(net.Joined, lambda joined: joined.name == "Ann")
    for number in range(40):
        ann.client.say(str(number))
    ann.close()
    unsent = {event.id for event in drain(ann.events) if isinstance(event, net.Rejected) and event.code == "unsent"}
    appeared = set()
    while not isinstance(event := bob.events.get(timeout=LIMIT), net.Left):
        appeared |= {event.id} if isinstance(event, net.Said) else set()
    assert not unsent & appeared
