"""Wire format 2, byte for byte, and what a room does with bytes that are not messages of its own.

This is the only place that repeats how messages are written: every other test builds and reads them with tests/helpers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import re
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import net
from tests.conftest import OpenRoom
from tests.helpers import Member, Wire

TOKEN = b"00112233445566778899aabbccddeeff"
FILE = b"ffeeddccbbaa99887766554433221100"
SHA256 = 32 * b"0f"
PUBLIC = 256 * b"0f"  # A or B of SRP

# One line of each type, byte for byte as DESIGN fixes them: other programs are tested against these.
EVERY_LINE = [
    # To the room:
    b'{"type":"hello","protocol":2,"tls":true}',
    b'{"type":"hello","protocol":2,"tls":true,"a":"%s"}' % PUBLIC,
    b'{"type":"join","name":"Ann","token":"%s","room":null,"after":0}' % TOKEN,
    b'{"type":"join","name":"Ann","token":"%s","room":"1f","after":12}' % TOKEN,
    b'{"type":"say","id":1,"text":"hello"}',
    b'{"type":"ping"}',
    b'{"type":"leave"}',
    b'{"type":"upload","token":"%s","file":"%s","filename":"map.png","size":123}' % (TOKEN, FILE),
    b'{"type":"sent","sha256":"%s"}' % SHA256,
    b'{"type":"download","token":"%s","file":"%s","offset":0}' % (TOKEN, FILE),
    # From the room:
    b'{"type":"hello","protocol":2,"tls":false}',
    b'{"type":"hello","protocol":2,"tls":true,"salt":"%s"}' % TOKEN,
    b'{"type":"hello","protocol":2,"tls":true,"salt":"%s","b":"%s"}' % (TOKEN, PUBLIC),
    (
        b'{"type":"welcome","room":"1f","title":"Mr Lee\'s room","who":2,"name":"Ann","host":1,'
        b'"people":[[1,"Mr Lee"],[2,"Ann"]],"files":0,"missed":0,"history":12,"last_id":0,"muted":false,'
        b'"paused":false,"max_file":104857600}'
    ),
    (
        b'{"type":"welcome","room":"1f","title":"Room 7","who":2,"name":"Ann","host":null,"people":[[2,"Ann"]],'
        b'"files":3,"missed":5,"history":2000,"last_id":7,"muted":true,"paused":true,"max_file":0}'
    ),
    b'{"type":"said","number":7,"time":1732.5,"who":2,"name":"Ann","id":1,"text":"hello"}',
    b'{"type":"joined","number":8,"time":1732.5,"who":3,"name":"Bob"}',
    b'{"type":"left","number":9,"time":1732.5,"who":3,"name":"Bob","reason":"left"}',
    (
        b'{"type":"shared","number":10,"time":1732.5,"who":2,"name":"Ann","file":"%s",'
        b'"filename":"map.png","size":123,"sha256":"%s"}' % (FILE, SHA256)
    ),
    b'{"type":"said","number":7,"time":1732.5,"who":2,"name":"Ann","id":1,"text":"","taken_back":true}',
    (
        b'{"type":"shared","number":10,"time":1732.5,"who":2,"name":"Ann","file":"%s",'
        b'"filename":"","size":0,"sha256":"","taken_back":true}' % FILE
    ),
    b'{"type":"paused","number":11,"time":1732.5,"on":true}',
    b'{"type":"taken_back","number":12,"time":1732.5,"which":7}',
    b'{"type":"muted","on":true}',
    b'{"type":"rejected","id":5,"code":"muted","reason":"you are muted"}',
    b'{"type":"refused","code":"full","reason":"it is full"}',
    b'{"type":"refused","code":"wait","reason":"not so often","seconds":7}',
    b'{"type":"closed","reason":"the lesson is over"}',
    b'{"type":"ready"}',
    b'{"type":"stored"}',
    b'{"type":"sending","size":123}',
    # UDP:
    b'{"type":"find","protocol":2}',
    b'{"type":"room","protocol":2,"room":"1f","title":"Room 7","port":5252,"people":3,"password":false}',
]

# Messages and bytes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", EVERY_LINE)
def test_each_line_of_the_design_is_read_and_written_back_byte_for_byte(line: bytes) -> None:
    message = net.decode(line)
    assert not isinstance(message, net.Unknown)
    assert net.encode(message) == line + b"\n"


def test_the_design_has_a_line_for_every_type() -> None:
    assert {json.loads(line)["type"] for line in EVERY_LINE} == set(net.TYPES)


# How each type of field is generated: whatever its limit allows, and the limit itself more often than by chance.
CHARACTERS = st.characters(exclude_categories=["Cs"])
INTEGERS = st.integers(0, 2**53) | st.just(2**53)
NAMES = st.text(CHARACTERS, max_size=32)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "Number": INTEGERS,
    "SayId": st.integers(0, 2**52) | st.just(2**52),
    "EventCount": st.integers(0, 10**6),
    "FileCount": st.integers(0, 1_000),
    "PersonCount": st.integers(0, 1_000),
    "Time": st.floats(0, 32_503_680_000),
    "bool": st.booleans(),
    "str": st.text(CHARACTERS),
    "Name": NAMES,
    "Title": st.text(CHARACTERS, max_size=60),
    "Text": st.text(CHARACTERS, max_size=4_000).filter(lambda text: text.count("\n") < 100),
    "Reason": st.text(CHARACTERS, max_size=200),
    "Code": st.sampled_from(["bad", "full", "wait", "muted", "unknown", "something new"]),
    "Filename": st.text(CHARACTERS, max_size=120),
    "RoomId": st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=64),
    "Token": st.text("0123456789abcdefABCDEF", min_size=32, max_size=32),
    "Sha256": st.just("") | st.text("0123456789abcdefABCDEF", min_size=64, max_size=64),
    "Public": st.integers(0, 2**2048 - 1).map("{:0512x}".format),
    "People": st.lists(st.tuples(INTEGERS, NAMES)).map(tuple),
}


def values_of(annotation: str) -> st.SearchStrategy[Any]:
    """Values for a field of this type."""
    name, _, is_optional = annotation.partition(" | ")
    return st.none() | FIELDS[name] if is_optional else FIELDS[name]


@st.composite
def messages(draw: st.DrawFn) -> net.Message:
    kind: Callable[..., net.Message] = net.TYPES[draw(st.sampled_from(sorted(net.TYPES)))]
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    return kind(**{field.name: draw(values_of(str(field.type))) for field in fields})


@settings(deadline=None)
@given(messages())
def test_every_message_comes_out_as_it_went_in(message: net.Message) -> None:
    line = net.encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert net.decode(line[:-1]) == message


@pytest.mark.parametrize(
    ("number", "counts"), [(b"7", 7), (b"true", None), (b"-1", None), (b'"7"', None), (b"9007199254740993", None)]
)
def test_a_message_of_an_unknown_type_keeps_its_number(number: bytes, counts: int | None) -> None:
    assert net.decode(b'{"type":"waved","number":%s}' % number) == net.Unknown(counts)


def test_half_a_surrogate_pair_becomes_a_replacement_character_and_a_whole_pair_its_character() -> None:
    line = rb'{"type":"say","id":1,"text":"a\ud83d b\ude00 c\ud83d\ude00"}'
    assert net.decode(line) == net.Say(1, "a\ufffd b\ufffd c\U0001f600")


MALFORMED = {
    "a type that is no string": b'{"type":7}',
    "no type": b"{}",
    "a missing field": b'{"type":"say","id":2}',
    "1e2 as an integer": b'{"type":"say","id":1e2,"text":"x"}',
    "NaN": b'{"type":"said","number":7,"time":NaN,"who":2,"name":"Ann","id":1,"text":"x"}',
    "NaN behind an unknown key": b'{"type":"ping","x":NaN}',
    "1e999": b'{"type":"said","number":7,"time":1e999,"who":2,"name":"Ann","id":1,"text":"x"}',
    "a number of 5,000 digits": b'{"type":"say","id":' + b"1" * 5000 + b',"text":"x"}',
    "invalid UTF-8": b'{"type":"say","id":2,"text":"\xff"}',
    "JSON that does not end": b'{"type":"say"',
    "JSON with something after it": b'{"type":"ping"} x',
    "an empty line": b"",
    "a byte order mark": b'\xef\xbb\xbf{"type":"ping"}',
    "a list": b'["ping"]',
    "lists that are too deep": b'{"type":"ping","x":' + b"[" * 32 + b"]" * 32 + b"}",
    "objects that are too deep": b'{"x":' * 10_000 + b"1" + b"}" * 10_000,
    "brackets behind a quote that never closes": b'{"type":"ping","x":"' + b"[" * 50_000,
    "brackets behind an escaped quote": b'\\"' + b"[" * 50_000 + b'"',
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_line_is_a_protocol_error(what: str) -> None:
    line = MALFORMED[what]
    # Brackets are counted before the line is decoded: decoding them can crash Python in a thread with a small stack.
    with pytest.raises(net.ProtocolError, match="too many brackets" if "too deep" in what else None):
        net.decode(line)


def test_an_unknown_key_is_ignored_and_may_have_brackets_within_brackets_up_to_32() -> None:
    assert net.decode(b'{"type":"ping","x":' + b"[" * 31 + b"]" * 31 + b"}") == net.Ping()


@pytest.mark.parametrize("text", ["[" * 5_000, '\\"' * 50 + "{" * 5_000, "\\" + '"[{' * 1_000, "\\\\" + "[" * 40])
def test_brackets_in_a_text_do_not_count(text: str) -> None:
    assert net.decode(net.encode(net.Say(1, text)).rstrip(b"\n")) == net.Say(1, text)


# Limits of the fields, and names -------------------------------------------------------------------------------------


def changed(line: bytes, **fields: object) -> bytes:
    """The line with other values in these fields; a field that is set to `...` is missing."""
    message = {**json.loads(line), **fields}
    return json.dumps({key: value for key, value in message.items() if value is not ...}).encode()


def line_of(kind: str) -> bytes:
    """The first line of the design that has this type."""
    return next(line for line in EVERY_LINE if json.loads(line)["type"] == kind)


NUMBERS = {  # the largest value, and the fields that have this limit
    2**53: """
        hello.protocol join.after upload.size download.offset sending.size find.protocol room.protocol room.port
        welcome.who welcome.host welcome.missed welcome.max_file said.number said.who joined.number joined.who
        left.number left.who shared.number shared.who shared.size paused.number taken_back.number taken_back.which
        refused.seconds
    """,
    2**52: "say.id welcome.last_id said.id rejected.id",
    10**6: "welcome.history",
    1_000: "welcome.files room.people",
    32_503_680_000: "said.time joined.time left.time shared.time paused.time taken_back.time",
}
STRINGS = {  # the most characters, and the fields that have this limit
    32: "join.name welcome.name said.name joined.name left.name shared.name",
    60: "welcome.title room.title",
    64: "join.room welcome.room room.room",
    120: "upload.filename shared.filename",
    200: "left.reason rejected.code rejected.reason refused.code refused.reason closed.reason",
    4_000: "said.text",
}
AT_THE_LIMIT: list[tuple[str, object, object]] = [  # field, a value that is still allowed, and one that is not
    *((field, most, most + 1) for most, fields in NUMBERS.items() for field in fields.split()),
    *((field, "x" * most, "x" * (most + 1)) for most, fields in STRINGS.items() for field in fields.split()),
    ("said.text", "\n" * 99, "\n" * 100),
    ("said.time", 0, -0.001),
    ("said.time", 0.5, 32_503_680_000.5),
    ("said.time", 5, True),
    ("said.number", 0, -1),
    ("refused.seconds", None, "7"),
    ("paused.on", False, 1),
    ("muted.on", True, None),
    ("said.taken_back", ..., 1),
    ("shared.taken_back", ..., None),
    ("hello.tls", False, ...),
    ("welcome.muted", False, "no"),
    ("welcome.paused", False, None),
    ("room.password", False, 0),
    ("welcome.people", [[n, "x" * 32] for n in range(1_000)], [[n, "x"] for n in range(1_001)]),
    ("welcome.people", [[2**53, "x" * 32]], [[2**53 + 1, "x"]]),
    ("welcome.people", [[1, "x" * 32]], [[1, "x" * 33]]),
    ("welcome.people", [], [1]),
    ("welcome.people", [[1, "Ann"]], [[1, "Ann", 2]]),
    ("welcome.people", [[1, "Ann"]], [[True, "Ann"]]),
    ("welcome.people", [], {"1": "Ann"}),
    ("welcome.room", "~ !", "\x7f"),
    ("welcome.room", "x", ""),
    ("join.room", None, "\N{SNOWMAN}"),
    ("join.room", "x", ...),
    ("join.token", "aAfF" * 8, "0" * 31),
    ("upload.token", "0" * 32, "0" * 33),
    ("download.token", "0" * 32, "\N{ARABIC-INDIC DIGIT ZERO}" * 32),
    ("upload.file", "0" * 32, "g" * 32),
    ("download.file", "0" * 32, "0" * 31 + "\n"),
    ("shared.file", "0" * 32, ""),
    ("shared.sha256", "", "0" * 63),
    ("sent.sha256", "aA" * 32, "0" * 65),
    ("hello.a", "af09" * 128, "0" * 511),
    ("hello.a", None, "0" * 513),
    ("hello.b", "af09" * 128, "A" * 512),
    ("hello.salt", "aA" * 16, "0" * 31),
    ("say.text", "x" * 60_000, None),  # limited by the length of the line: the room then rejects the text
]


@pytest.mark.parametrize(
    ("field", "allowed", "too_much"),
    AT_THE_LIMIT,
    ids=[f"{number}: {field}" for number, (field, _, _) in enumerate(AT_THE_LIMIT)],
)
def test_a_field_may_reach_its_limit_and_not_exceed_it(field: str, allowed: object, too_much: object) -> None:
    kind, name = field.split(".")
    message = net.decode(changed(line_of(kind), **{name: allowed}))
    assert isinstance(message, net.TYPES[kind])
    with pytest.raises(net.ProtocolError, match=f"{kind} has a missing or wrong '{name}'"):
        net.decode(changed(line_of(kind), **{name: too_much}))


def test_every_field_has_a_test_of_its_limit() -> None:
    fields = {f"{kind}.{field.name}" for kind in net.TYPES for field in dataclasses.fields(net.TYPES[kind])}
    assert fields == {field for field, _, _ in AT_THE_LIMIT}


def test_the_longest_welcome_fits_its_line() -> None:
    people = tuple((2**53, "\N{GRINNING FACE}" * 32) for _ in range(1_000))
    welcome = net.Welcome("x" * 64, "\N{GRINNING FACE}" * 60, 2**53, "\N{GRINNING FACE}" * 32, 1, people, 1_000, 2**53,
                          10**6, 2**52, muted=False, paused=False, max_file=2**53)
    assert len(net.encode(welcome)) <= 262_144


# Any character at all, but often one of those that cleaning must remove.
NASTY = st.sampled_from("\0\t\n\r\x1b\x7f\x85\xa0\xad\u034f\u061c\u115f\u200b\u200d\u202e\u2066\u2028\u2800\u3000")
NASTY |= st.sampled_from("\u3164\ufe0f\ufeff\uffa0\ufdfa\u0301\U000e0041\U000e0100\ud800\udfff") | st.characters()
DRAWN_AS_NOTHING = set("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {chr(c) for c in range(0xFE00, 0xFE10)}


@settings(deadline=None)
@given(st.text(NASTY, max_size=200))
def test_a_clean_name_is_short_visible_and_not_changed_again(raw: str) -> None:
    name = net.clean_name(raw)
    assert net.clean_name(name) == name
    assert len(name) <= 32
    assert name == name.strip()
    assert "  " not in name
    for character in re.sub(r"(?<=\S)[\u200c\u200d](?=\S)", "", name).replace(" ", ""):  # some letters need these
        assert unicodedata.category(character)[0] not in "CZ"  # control, format (direction too), surrogate; separators
        assert character not in DRAWN_AS_NOTHING


# Over a real socket --------------------------------------------------------------------------------------------------

HELLO = b'{"type":"hello","protocol":2,"tls":false}'


def join(**fields: object) -> bytes:
    return changed(b'{"type":"join","name":"Mallory","token":"%s","room":null,"after":0}' % (b"0" * 32), **fields)


def say(number: int, text: str) -> bytes:
    return json.dumps({"type": "say", "id": number, "text": text}).encode()


def padded(line: bytes, size: int) -> bytes:
    """The line with an unknown key, so that it has `size` bytes with its newline."""
    start = line.removesuffix(b"}") + b',"x":"'
    return start + b"x" * (size - len(start) - 3) + b'"}'


def as_lines(*lines: bytes) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def next_lines(wire: Wire, count: int) -> list[bytes]:
    """The next lines, except pings. All times are 1732.5."""
    lines: list[bytes] = []
    while len(lines) < count:
        line = wire.receive_line()
        assert line is not None, f"the connection ended after {lines}"
        if line != b'{"type":"ping"}':
            lines.append(re.sub(rb'"time":[0-9.]+', b'"time":1732.5', line))
    return lines


def test_the_room_writes_a_whole_visit_as_the_design_says(open_room: OpenRoom) -> None:
    room = open_room("Mr Lee's room", host_name="Mr Lee", history=3)
    digest = hashlib.sha256(b"abc").hexdigest().encode()
    with Member(room, "Mr Lee", room.token) as lee, Wire(room.port) as ann:
        with Wire(room.port) as upload:
            upload.upload(room.token, b"abc", "map.png", FILE.decode())
        for number, text in enumerate(["one", "two", "three"], 1):
            lee.say(number, text)
            lee.receive_until("said")
        room.delete(4)
        lee.receive_until("taken_back")
        ann.send_bytes(as_lines(HELLO, join(name="Ann")))
        assert next_lines(ann, 6) == [
            HELLO,
            b'{"type":"welcome","room":"%s","title":"Mr Lee\'s room","who":2,"name":"Ann","host":1,'
            b'"people":[[1,"Mr Lee"],[2,"Ann"]],"files":1,"missed":3,"history":3,"last_id":0,"muted":false,'
            b'"paused":false,"max_file":104857600}' % room.id.encode(),
            b'{"type":"shared","number":2,"time":1732.5,"who":1,"name":"Mr Lee","file":"%s","filename":"map.png",'
            b'"size":3,"sha256":"%s"}' % (FILE, digest),
            b'{"type":"said","number":5,"time":1732.5,"who":1,"name":"Mr Lee","id":3,"text":"three"}',
            b'{"type":"taken_back","number":6,"time":1732.5,"which":4}',
            b'{"type":"joined","number":7,"time":1732.5,"who":2,"name":"Ann"}',
        ]
        ann.send_bytes(as_lines(say(5, "hello"), say(6, "")))
        assert next_lines(ann, 2) == [
            b'{"type":"said","number":8,"time":1732.5,"who":2,"name":"Ann","id":5,"text":"hello"}',
            b'{"type":"rejected","id":6,"code":"empty","reason":"The message is empty."}',
        ]
        room.mute(2, True)
        room.pause(True)
        ann.leave()
        assert next_lines(ann, 3) == [
            b'{"type":"muted","on":true}',
            b'{"type":"paused","number":9,"time":1732.5,"on":true}',
            b'{"type":"left","number":10,"time":1732.5,"who":2,"name":"Ann","reason":"left"}',
        ]
        assert ann.receive_bytes(1) == b""


def test_a_file_travels_byte_for_byte_as_the_design_says(alice: Member, room: net.Server) -> None:
    digest = hashlib.sha256(b"abc").hexdigest().encode()
    upload = b'{"type":"upload","token":"%s","file":"%s","filename":"a.txt","size":3}' % (alice.token.encode(), FILE)
    sent = b'abc{"type":"sent","sha256":"%s"}' % digest
    answers = as_lines(HELLO, b'{"type":"ready"}', b'{"type":"stored"}')
    assert answers_to(room, as_lines(HELLO, padded(upload, 2_048), sent)) == answers
    assert answers_to(room, as_lines(HELLO, upload)) == as_lines(HELLO, b'{"type":"stored"}')  # it was stored before
    download = b'{"type":"download","token":"%s","file":"%s","offset":1}' % (alice.token.encode(), FILE)
    assert answers_to(room, as_lines(HELLO, download)) == as_lines(HELLO, b'{"type":"sending","size":2}') + b"bc"


def answers_to(room: net.Server, data: bytes) -> bytes:
    """Every byte that the room answers to these, up to the end of the connection."""
    with Wire(room.port) as wire:
        wire.send_bytes(data)
        return b"".join(iter(lambda: wire.socket.recv(4096), b""))


@pytest.fixture
def alice(room: net.Server, stack: contextlib.ExitStack) -> Member:
    return stack.enter_context(contextlib.closing(Member(room, "Alice")))


@pytest.fixture
def mallory(room: net.Server, stack: contextlib.ExitStack) -> Wire:
    return stack.enter_context(Wire(room.port))


def expect_refusal(wire: Wire, code: str = "bad") -> None:
    """The last message is `refused`, with a reason that people can read."""
    refused = wire.receive_all()[-1]
    assert (refused["type"], refused["code"]) == ("refused", code)
    assert refused["reason"]


REFUSED_IN_THE_ROOM = {
    "a type that nobody knows": b'{"type":"dance"}',
    "a type that only rooms use": line_of("said"),
    "remove": b'{"type":"remove","who":2,"on":true}',
    "no JSON": b"GET / HTTP/1.1",
    "a wrong field": b'{"type":"say","id":-1,"text":"bad"}',
    "a line that is too long": padded(say(2, "bad"), 65_537),
    "hello again": HELLO,
}


@pytest.mark.parametrize("line", REFUSED_IN_THE_ROOM.values(), ids=REFUSED_IN_THE_ROOM.keys())
def test_a_line_that_breaks_the_rules_is_refused_after_the_good_ones_before_it_and_harms_nobody(
    alice: Member, mallory: Wire, line: bytes
) -> None:
    mallory.join("Mallory")
    mallory.send_bytes(as_lines(padded(say(1, "good"), 65_536), line, say(3, "late")))
    expect_refusal(mallory)
    assert alice.receive_until("said")["text"] == "good"
    alice.say(1, "still here")
    assert alice.receive_until("said")["text"] == "still here"  # and neither "bad" nor "late"


REFUSED_BEFORE_JOINING = {
    "join before hello": [join()],
    "say before hello": [say(2, "bad")],
    "say before join": [HELLO, say(2, "bad")],
    "leave before join": [HELLO, line_of("leave")],
    "an unknown type second": [HELLO, b'{"type":"dance"}'],
    "a browser": [b"GET / HTTP/1.1\r", b"Host: localhost\r", b"\r"],
    "a wrong field in the hello": [changed(HELLO, tls=1)],
    "an invisible name": [HELLO, join(name="\u200b")],
    "a hello of 2,049 bytes": [padded(HELLO, 2_049)],
    "a join of 2,049 bytes": [HELLO, padded(join(), 2_049)],
    "a hello that never ends": [b"x" * 2_048],
}


@pytest.mark.parametrize("lines", REFUSED_BEFORE_JOINING.values(), ids=REFUSED_BEFORE_JOINING.keys())
def test_somebody_who_breaks_the_rules_before_joining_is_refused_and_nobody_in_the_room_hears_of_it(
    alice: Member, mallory: Wire, lines: list[bytes]
) -> None:
    mallory.send_bytes(as_lines(*lines))
    expect_refusal(mallory)
    alice.say(1, "marker")
    assert alice.receive_until("said")["number"] == 2  # so nothing was told between Alice's coming and this


def test_each_line_before_joining_may_have_2048_bytes_and_the_next_one_need_not_wait_for_the_answer(
    alice: Member, mallory: Wire
) -> None:
    mallory.send_bytes(as_lines(padded(HELLO, 2_048), padded(join(), 2_048), say(1, "x" * 4_000)))
    alice.hears("x" * 4_000)


@pytest.mark.parametrize("protocol", [0, 1, 3, 2**53])
def test_another_protocol_is_refused_as_such(mallory: Wire, protocol: int) -> None:
    mallory.send_bytes(b'{"type":"hello","protocol":%d,"tls":false}\n' % protocol)
    expect_refusal(mallory, "protocol")
