"""Wire format 2, byte for byte, and what a room does with bytes that are not messages of its own.

This is the only place that repeats how messages are written: every other test builds and reads them with tests/helpers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import queue
import re
import socket
import string
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import net
from tests.conftest import OpenRoom
from tests.helpers import LIMIT, LOOPBACK, Wire, port_of

TOKEN = b"00112233445566778899aabbccddeeff"
FILE = b"ffeeddccbbaa99887766554433221100"
SHA256 = 32 * b"0f"
PUBLIC = 256 * b"0f"  # A or B of SRP

# One line of each type, byte for byte as DESIGN fixes them: other programs are tested against these.
LINES_TO_ROOM = [
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
]
LINES_FROM_ROOM = [
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
    b'{"type":"rejected","id":5,"code":"long","reason":"too long"}',
    b'{"type":"refused","code":"removed","reason":"you are out"}',
    b'{"type":"refused","code":"full","reason":"it is full"}',
    b'{"type":"refused","code":"wait","reason":"not so often","seconds":7}',
    b'{"type":"refused","code":"limit","reason":"too many files"}',
    b'{"type":"closed","reason":"the lesson is over"}',
    b'{"type":"ping"}',
]
LINES_WITH_A_FILE = [
    b'{"type":"ready"}',
    b'{"type":"stored"}',
    b'{"type":"sending","size":123}',
]
DATAGRAMS = [
    b'{"type":"find","protocol":2}',
    b'{"type":"room","protocol":2,"room":"1f","title":"Room 7","port":5252,"people":3,"password":false}',
]
EVERY_LINE = [
    *((line, net.TO_ROOM) for line in LINES_TO_ROOM),
    *((line, net.FROM_ROOM) for line in LINES_FROM_ROOM),
    *((line, net.FILE_FROM_ROOM) for line in LINES_WITH_A_FILE),
    *((line, net.UDP) for line in DATAGRAMS),
]

# Messages and bytes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("line", "types"), EVERY_LINE)
def test_each_line_of_the_design_is_read_and_written_back_byte_for_byte(line: bytes, types: net.Types) -> None:
    message = net.decode(line, types)
    assert not isinstance(message, net.Unknown)
    assert net.encode(message) == line + b"\n"


def test_the_hello_lines_of_a_room_with_a_password_fit_before_joining() -> None:
    hellos = [line for line in LINES_TO_ROOM + LINES_FROM_ROOM if PUBLIC in line]
    assert len(hellos) == 2
    assert max(map(len, hellos)) < 1_000 < net.MAX_LINE_UNJOINED


def types_of(lines: list[bytes]) -> set[str]:
    return {json.loads(line)["type"] for line in lines}


def test_the_design_has_a_line_for_every_type() -> None:
    assert types_of(LINES_TO_ROOM) == set(net.TO_ROOM)
    assert types_of(LINES_FROM_ROOM) == set(net.FROM_ROOM)
    assert types_of(LINES_WITH_A_FILE) | {"hello", "refused"} == set(net.FILE_FROM_ROOM)
    assert types_of(DATAGRAMS) == set(net.UDP)
    assert set(net.IN_THE_ROOM) == {"say", "ping", "leave"}


def test_this_is_protocol_2() -> None:
    assert net.PROTOCOL == 2


# How each type of field is generated: whatever its limit allows, and the limit itself more often than by chance.
CHARACTERS = st.characters(exclude_categories=["Cs"])
INTEGERS = st.integers(0, 2**53) | st.just(2**53)
IDS = st.integers(0, 2**52) | st.just(2**52)
NAMES = st.text(CHARACTERS, max_size=32)
TOKENS = st.text("0123456789abcdefABCDEF", min_size=32, max_size=32)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "Number": INTEGERS,
    "SayId": IDS,
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
    "Filename": st.text(CHARACTERS, max_size=120),
    "RoomId": st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=64),
    "Token": TOKENS,
    "Sha256": st.just("") | st.text("0123456789abcdefABCDEF", min_size=64, max_size=64),
    "Public": st.integers(0, 2**2048 - 1).map("{:0512x}".format),
    "People": st.lists(st.tuples(INTEGERS, NAMES)).map(tuple),
}


def values_of(annotation: str) -> st.SearchStrategy[Any]:
    """Values for a field of this type."""
    name, _, is_optional = annotation.partition(" | ")
    return st.none() | FIELDS[name] if is_optional else FIELDS[name]


@st.composite
def messages(draw: st.DrawFn) -> tuple[net.Message, net.Types]:
    types = draw(st.sampled_from([net.TO_ROOM, net.FROM_ROOM, net.FILE_FROM_ROOM, net.UDP]))
    kind: Callable[..., net.Message] = types[draw(st.sampled_from(sorted(types)))]
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    return kind(**{field.name: draw(values_of(str(field.type))) for field in fields}), types


@settings(deadline=None)
@given(messages())
def test_every_message_comes_out_as_it_went_in(sample: tuple[net.Message, net.Types]) -> None:
    message, types = sample
    line = net.encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert net.decode(line[:-1], types) == message


def test_unknown_keys_are_ignored() -> None:
    assert net.decode(b'{"type":"say","id":1,"text":"hi","colour":"red","more":[{}]}', net.TO_ROOM) == net.Say(1, "hi")


def test_a_message_of_an_unknown_type_keeps_only_its_number() -> None:
    assert net.decode(b'{"type":"waved","number":7,"who":2}', net.FROM_ROOM) == net.Unknown(7)
    assert net.decode(b'{"type":"waved"}', net.FROM_ROOM) == net.Unknown(None)


@pytest.mark.parametrize("number", [b"true", b"-1", b"7.0", b'"7"', b"null", b"9007199254740993"])
def test_the_number_of_an_unknown_type_counts_only_if_it_is_one(number: bytes) -> None:
    assert net.decode(b'{"type":"waved","number":%s}' % number, net.FROM_ROOM) == net.Unknown(None)


def test_only_deleted_messages_carry_the_key_that_says_so() -> None:
    line = b'{"type":"said","number":7,"time":1732.5,"who":2,"name":"Ann","id":1,"text":"x","taken_back":false}'
    said = net.decode(line, net.FROM_ROOM)
    assert said == net.Said(7, 1732.5, 2, "Ann", 1, "x") == net.Said(7, 1732.5, 2, "Ann", 1, "x", taken_back=False)
    assert b"taken_back" not in net.encode(net.Said(7, 1732.5, 2, "Ann", 1, "x"))


def changed(line: bytes, **fields: object) -> bytes:
    """The line with other values in these fields; a field that is set to `...` is missing."""
    message = {**json.loads(line), **fields}
    return json.dumps({key: value for key, value in message.items() if value is not ...}).encode()


def line_of(kind: str) -> bytes:
    """The first line of the design that has this type."""
    return next(line for line, _ in EVERY_LINE if json.loads(line)["type"] == kind)


ALL_TYPES = {**net.TO_ROOM, **net.FILE_FROM_ROOM, **net.UDP, **net.FROM_ROOM}
REQUIRED = [
    (kind, field.name)
    for kind, message in ALL_TYPES.items()
    for field in dataclasses.fields(message)
    if field.default is dataclasses.MISSING
]
IMPOSSIBLE = [..., {}, [[]], "\N{SNOWMAN}" * 70_000, -1, 2**53 + 1, 1.5e300]


@pytest.mark.parametrize(("kind", "field"), REQUIRED)
def test_a_message_with_a_missing_or_impossible_field_is_a_protocol_error(kind: str, field: str) -> None:
    for value in IMPOSSIBLE:
        with pytest.raises(net.ProtocolError, match=f"{kind} has a missing or wrong '{field}'"):
            net.decode(changed(line_of(kind), **{field: value}), ALL_TYPES)


@pytest.mark.parametrize(
    "line",
    [
        changed(line_of("said"), taken_back=1),
        changed(line_of("said"), taken_back=None),
        changed(line_of("said"), text=..., taken_back=True),
        changed(line_of("said"), number=True),
        changed(line_of("said"), time=True),
        changed(line_of("said"), time="now"),
        changed(line_of("paused"), on=1),
        changed(line_of("paused"), on=None),
        changed(line_of("taken_back"), which=None),
        changed(line_of("taken_back"), which=7.0),
        changed(line_of("muted"), on="yes"),
        changed(line_of("refused"), seconds="7"),
        changed(line_of("welcome"), room=None),
        changed(line_of("welcome"), host="Mr Lee"),
        changed(line_of("welcome"), files=...),
        changed(line_of("welcome"), people=None),
        changed(line_of("welcome"), people=[1]),
        changed(line_of("welcome"), people=[[1]]),
        changed(line_of("welcome"), people=[[1, "Ann", 2]]),
        changed(line_of("welcome"), people=[["Ann", 1]]),
        changed(line_of("welcome"), people=[[True, "Ann"]]),
        changed(line_of("welcome"), people={"1": "Ann"}),
    ],
)
def test_a_line_from_the_room_with_a_field_of_the_wrong_type_is_a_protocol_error(line: bytes) -> None:
    with pytest.raises(net.ProtocolError, match="missing or wrong"):
        net.decode(line, net.FROM_ROOM)


def test_half_a_surrogate_pair_becomes_a_replacement_character_and_a_whole_pair_its_character() -> None:
    line = rb'{"type":"say","id":1,"text":"a\ud83d b\ude00 c\ud83d\ude00"}'
    assert net.decode(line, net.TO_ROOM) == net.Say(1, "a\ufffd b\ufffd c\U0001f600")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def almost_messages(draw: st.DrawFn) -> bytes:
    """The right type and the right keys with arbitrary values: this gets past the JSON parser."""
    kind = draw(st.sampled_from(sorted({**net.TO_ROOM, **net.FROM_ROOM}.items())))
    fields = {field.name: draw(JSON_VALUES) for field in dataclasses.fields(kind[1])}
    return json.dumps({"type": kind[0], **fields}).encode()


@settings(deadline=None)
@given(st.binary() | st.text(string.digits + '{}[]",:.-+eE\\ul nfatrs').map(str.encode) | almost_messages())
def test_every_line_is_a_message_or_a_protocol_error(line: bytes) -> None:
    for types in (net.TO_ROOM, net.FROM_ROOM):
        with contextlib.suppress(net.ProtocolError):
            net.decode(line, types)


# Limits of the fields ------------------------------------------------------------------------------------------------

NUMBERS = {  # every field that holds a number, and the largest that it may hold
    2**53: [
        ("hello", "protocol"),
        ("join", "after"),
        ("upload", "size"),
        ("download", "offset"),
        ("sending", "size"),
        ("welcome", "who"),
        ("welcome", "host"),
        ("welcome", "missed"),
        ("welcome", "max_file"),
        ("said", "number"),
        ("said", "who"),
        ("joined", "number"),
        ("left", "who"),
        ("shared", "size"),
        ("paused", "number"),
        ("taken_back", "which"),
        ("refused", "seconds"),
        ("find", "protocol"),
        ("room", "port"),
    ],
    2**52: [("say", "id"), ("welcome", "last_id"), ("said", "id"), ("rejected", "id")],
    10**6: [("welcome", "history")],
    1_000: [("welcome", "files"), ("room", "people")],
    32_503_680_000: [(kind, "time") for kind in ("said", "joined", "left", "shared", "paused", "taken_back")],
}
STRINGS = {  # every field that holds a string, and the most characters that it may have
    32: [(kind, "name") for kind in ("join", "welcome", "said", "joined", "left", "shared")],
    60: [("welcome", "title"), ("room", "title")],
    64: [("join", "room"), ("welcome", "room"), ("room", "room")],
    120: [("upload", "filename"), ("shared", "filename")],
    200: [
        ("left", "reason"),
        ("rejected", "code"),
        ("rejected", "reason"),
        ("refused", "code"),
        ("refused", "reason"),
        ("closed", "reason"),
    ],
    4_000: [("said", "text")],
}
# Type, field, the last value that is allowed, and the first that is not.
AT_THE_LIMIT: list[tuple[str, str, object, object]] = [
    *((kind, field, most, most + 1) for most, fields in NUMBERS.items() for kind, field in fields),
    *((kind, field, "x" * most, "x" * (most + 1)) for most, fields in STRINGS.items() for kind, field in fields),
    ("said", "text", "\n" * 99, "\n" * 100),
    ("said", "text", "x\n" * 99 + "x" * 3_802, "x\n" * 99 + "x" * 3_803),
    ("said", "time", 0, -0.001),
    ("said", "time", 0.5, 32_503_680_000.5),
    ("welcome", "people", [[n, "x" * 32] for n in range(1_000)], [[n, "x"] for n in range(1_001)]),
    ("welcome", "people", [[2**53, "x" * 32]], [[2**53 + 1, "x"]]),
    ("welcome", "people", [[0, ""]], [[0, "x" * 33]]),
    ("welcome", "room", "~ !", "\x7f"),
    ("welcome", "room", "x", ""),
    ("join", "room", None, "\N{SNOWMAN}"),
    ("join", "token", "0" * 32, "0" * 31),
    ("join", "token", "aAfF" * 8, "0" * 33),
    ("upload", "file", "0" * 32, "g" * 32),
    ("download", "file", "0" * 32, "0" * 31 + "\n"),
    ("shared", "file", "0" * 32, ""),
    ("shared", "sha256", "", "0" * 63),
    ("sent", "sha256", "aA" * 32, "0" * 65),
    ("hello", "a", "af09" * 128, "0" * 511),
    ("hello", "a", None, "0" * 513),
    ("hello", "b", "af09" * 128, "A" * 512),
    ("hello", "b", None, ""),
    ("hello", "salt", "aA" * 16, "0" * 31),
]
# A room may reject a text that is too long, so only the length of the line limits `say`.
WITHOUT_OWN_LIMIT = {("say", "text")}


@pytest.mark.parametrize(
    ("kind", "field", "allowed", "too_much"),
    AT_THE_LIMIT,
    ids=[f"{number}: {kind}, {field}" for number, (kind, field, _, _) in enumerate(AT_THE_LIMIT)],
)
def test_a_field_may_reach_its_limit_and_not_exceed_it(
    kind: str, field: str, allowed: object, too_much: object
) -> None:
    message = net.decode(changed(line_of(kind), **{field: allowed}), ALL_TYPES)
    assert isinstance(message, ALL_TYPES[kind])
    with pytest.raises(net.ProtocolError, match=f"{kind} has a missing or wrong '{field}'"):
        net.decode(changed(line_of(kind), **{field: too_much}), ALL_TYPES)


def test_every_kind_of_field_has_a_test_of_its_limit() -> None:
    tested = {(kind, field) for kind, field, _, _ in AT_THE_LIMIT} | WITHOUT_OWN_LIMIT
    every_field = {(kind, field.name) for kind in ALL_TYPES for field in dataclasses.fields(ALL_TYPES[kind])}
    tested_types = {field_type(kind, name) for kind, name in tested}
    assert {field_type(kind, name) for kind, name in every_field} - {"bool"} == tested_types


def field_type(kind: str, field: str) -> str:
    types = {each.name: str(each.type) for each in dataclasses.fields(ALL_TYPES[kind])}
    return types[field].removesuffix(" | None")


def test_a_text_to_the_room_may_be_too_long_so_that_the_room_can_reject_it() -> None:
    assert net.decode(changed(line_of("say"), text="x" * 60_000), net.TO_ROOM) == net.Say(1, "x" * 60_000)


def test_a_time_may_be_an_integer() -> None:
    joined = net.decode(changed(line_of("joined"), time=5), net.FROM_ROOM)
    assert isinstance(joined, net.Joined)
    assert math.isclose(joined.time, 5.0)


def test_the_longest_welcome_fits_its_line() -> None:
    people = tuple((2**53, "\N{GRINNING FACE}" * 32) for _ in range(1_000))
    welcome = net.Welcome("x" * 64, "\N{GRINNING FACE}" * 60, 2**53, "\N{GRINNING FACE}" * 32, 1, people, 1_000, 2**53,
                          10**6, 2**52, muted=False, paused=False, max_file=2**53)
    assert len(net.encode(welcome)) <= 262_144


@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"x":', b"}")], ids=["lists", "objects"])
def test_brackets_may_stand_within_brackets_but_not_too_deep(brackets: tuple[bytes, bytes]) -> None:
    def nested(depth: int) -> bytes:
        return b'{"type":"ping","x":' + brackets[0] * depth + b"1" + brackets[1] * depth + b"}"

    assert net.decode(nested(31), net.TO_ROOM) == net.Ping()
    with pytest.raises(net.ProtocolError, match="too many brackets"):
        net.decode(nested(32), net.TO_ROOM)
    with pytest.raises(net.ProtocolError, match="too many brackets"):
        net.decode(nested(10_000), net.TO_ROOM)


@pytest.mark.parametrize("text", ["[" * 5_000, '\\"' * 50 + "{" * 5_000, "\\" + '"[{' * 1_000, "\\\\" + "[" * 40])
def test_brackets_in_a_text_do_not_count(text: str) -> None:
    assert net.decode(net.encode(net.Say(1, text)).rstrip(b"\n"), net.TO_ROOM) == net.Say(1, text)


def test_many_brackets_side_by_side_are_not_deep() -> None:
    assert net.decode(changed(line_of("ping"), x=[[{}]] * 500), net.TO_ROOM) == net.Ping()


def test_brackets_behind_a_quote_that_never_closes_are_a_protocol_error() -> None:
    with pytest.raises(net.ProtocolError):
        net.decode(b'{"type":"ping","x":"' + b"[" * 50_000, net.TO_ROOM)
    with pytest.raises(net.ProtocolError):
        net.decode(b'\\"' + b"[" * 50_000 + b'"', net.TO_ROOM)


# Lines ---------------------------------------------------------------------------------------------------------------


def lines_of(reader: net.LineReader) -> Iterator[bytes]:
    while (line := reader.next()) is not None:
        yield line


@pytest.mark.parametrize(("line", "types"), EVERY_LINE)
def test_a_message_may_be_cut_at_every_byte(line: bytes, types: net.Types) -> None:
    stream = line + b"\n" + line + b"\n"
    for cut in range(len(stream) + 1):
        reader = net.LineReader(net.MAX_LINE_FROM_ROOM)
        lines: list[bytes] = []
        for part in (stream[:cut], stream[cut:]):
            reader.feed(part)
            lines += lines_of(reader)
        assert lines == [line, line]
        assert net.decode(lines[0], types) == net.decode(line, types)


def test_all_messages_may_come_byte_by_byte() -> None:
    reader = net.LineReader(net.MAX_LINE_FROM_ROOM)
    lines: list[bytes] = []
    for byte in b"".join(line + b"\n" for line in LINES_FROM_ROOM):
        reader.feed(bytes([byte]))
        lines += lines_of(reader)
    assert lines == LINES_FROM_ROOM


def test_a_line_may_be_as_long_as_the_limit_with_its_newline() -> None:
    reader = net.LineReader(10)
    reader.feed(b"123456789\n1234567890\n")
    assert reader.next() == b"123456789"
    with pytest.raises(net.ProtocolError, match="longer than 10 bytes"):
        reader.next()


def test_a_line_that_is_too_long_is_noticed_before_it_ends() -> None:
    reader = net.LineReader(10)
    reader.feed(b"123456789")
    assert reader.next() is None
    reader.feed(b"0")
    with pytest.raises(net.ProtocolError):
        reader.next()


def test_good_lines_before_one_that_is_too_long_are_still_read() -> None:
    reader = net.LineReader(10)
    reader.feed(b"1\n2\n" + b"3" * 10)
    assert [reader.next(), reader.next()] == [b"1", b"2"]
    with pytest.raises(net.ProtocolError):
        reader.next()


def test_the_limit_may_change_between_two_lines() -> None:
    reader = net.LineReader(10)
    reader.feed(b"short\na longer line\n")
    assert reader.next() == b"short"
    reader.longest = 100
    assert reader.next() == b"a longer line"


def test_what_was_not_read_as_lines_can_be_taken_as_raw_bytes() -> None:
    reader = net.LineReader(100)
    reader.feed(b"a line\nraw \n\nbytes")
    assert reader.next() == b"a line"
    assert reader.take_all() == b"raw \n\nbytes"
    assert reader.take_all() == b""
    reader.feed(b"the next line\n")
    assert reader.next() == b"the next line"


# Names and texts -----------------------------------------------------------------------------------------------------

# Any character at all, but often one of those that cleaning must remove.
NASTY = st.sampled_from("\0\t\n\r\x1b\x7f\x85\xa0\xad\u034f\u061c\u115f\u200b\u200d\u202e\u2066\u2028\u2800\u3000")
NASTY |= st.sampled_from("\u3164\ufe0f\ufeff\uffa0\ufdfa\u0301\U000e0041\U000e0100\ud800\udfff") | st.characters()
NASTY_TEXTS = st.text(NASTY, max_size=200)
DRAWN_AS_NOTHING = set("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {chr(c) for c in range(0xFE00, 0xFE10)}


@settings(deadline=None)
@given(NASTY_TEXTS)
def test_a_name_is_short_and_every_character_of_it_is_visible(raw: str) -> None:
    name = net.clean_name(raw)
    assert len(name) <= 32
    assert name == name.strip()
    assert "  " not in name
    for character in re.sub(r"(?<=\S)[\u200c\u200d](?=\S)", "", name).replace(" ", ""):  # some letters need these
        assert unicodedata.category(character)[0] not in "CZ"  # control, format (direction too), surrogate; separators
        assert character not in DRAWN_AS_NOTHING


@settings(deadline=None)
@given(NASTY_TEXTS)
def test_a_clean_name_is_not_changed_again(raw: str) -> None:
    assert net.clean_name(net.clean_name(raw)) == net.clean_name(raw)


@settings(deadline=None)
@given(NASTY_TEXTS)
def test_a_clean_text_is_not_changed_again(raw: str) -> None:
    assert net.clean_text(net.clean_text(raw)) == net.clean_text(raw)


@settings(deadline=None)
@given(NASTY_TEXTS)
def test_a_text_has_no_control_characters_except_tab_and_newline(raw: str) -> None:
    text = net.clean_text(raw)
    assert {c for c in text if unicodedata.category(c) in ("Cc", "Cs")} <= {"\t", "\n"}


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("Ann", "Ann"),
        ("  Ann \t  Lee\n", "Ann Lee"),
        ("Ａｎｎ", "Ann"),
        ("A\u200bn\u202en", "Ann"),
        ("Zoe\u0308", "Zo\xeb"),
        ("\u3164\u2800\u200b", ""),
        ("x" * 33, "x" * 32),
        ("x" * 31 + " y", "x" * 31),
        ("李雷 👍", "李雷 👍"),
    ],
)
def test_a_name_is_cleaned_as_the_room_writes_it(raw: str, clean: str) -> None:
    assert net.clean_name(raw) == clean


@pytest.mark.parametrize(
    ("name", "seen_as"),
    [
        ("Mr Lee", "mrlee"),
        ("MR. LEE!", "mrlee"),
        ("Mr Lée", "mrlee"),
        ("(Mr Lee) 2", "mrlee"),
        ("Мr Lее", "mrlee"),  # Cyrillic
        ("Μr Lεε", "mrlee"),  # Greek
        ("Ｍｒ Ｌｅｅ", "mrlee"),
        ("7 8 9", ""),
        ("李雷", "李雷"),
    ],
)
def test_names_with_the_same_skeleton_look_alike(name: str, seen_as: str) -> None:
    assert net.skeleton(name) == seen_as


# A visit, byte for byte ----------------------------------------------------------------------------------------------


def test_the_room_writes_a_whole_visit_as_the_design_says() -> None:
    room = net.Room("Mr Lee's room", "Mr Lee", now=lambda: 1732.5, history=3)
    host, ann = net.Feed(), net.Feed()
    lee = room.join(net.Join("", room.host_token, None, 0), LOOPBACK, host)
    room.share(lee, net.Upload(room.host_token, FILE.decode(), "map.png", 123), "map.png", SHA256.decode())
    for number, text in enumerate(["one", "two", "three"], 1):
        room.say(lee, host, number, text, None)
    room.delete(4)
    person = room.join(net.Join("Ann", "0" * 32, None, 0), LOOPBACK, ann)
    assert next_lines(room, ann) == [
        b'{"type":"welcome","room":"%s","title":"Mr Lee\'s room","who":2,"name":"Ann","host":1,'
        b'"people":[[1,"Mr Lee"],[2,"Ann"]],"files":1,"missed":3,"history":3,"last_id":0,"muted":false,'
        b'"paused":false,"max_file":104857600}' % room.id.encode(),
        b'{"type":"shared","number":2,"time":1732.5,"who":1,"name":"Mr Lee","file":"%s","filename":"map.png",'
        b'"size":123,"sha256":"%s"}' % (FILE, SHA256),
        b'{"type":"said","number":5,"time":1732.5,"who":1,"name":"Mr Lee","id":3,"text":"three"}',
        b'{"type":"taken_back","number":6,"time":1732.5,"which":4}',
        b'{"type":"joined","number":7,"time":1732.5,"who":2,"name":"Ann"}',
    ]
    room.say(person, ann, 5, "hello", None)
    room.say(person, ann, 6, "", ("empty", "The message is empty."))
    room.mute(2, True)
    assert next_lines(room, ann) == [
        b'{"type":"said","number":8,"time":1732.5,"who":2,"name":"Ann","id":5,"text":"hello"}',
        b'{"type":"rejected","id":6,"code":"empty","reason":"The message is empty."}',
        b'{"type":"muted","on":true}',
    ]
    room.pause(True)
    room.leave(person, ann)
    assert next_lines(room, ann) == [
        b'{"type":"paused","number":9,"time":1732.5,"on":true}',
        b'{"type":"left","number":10,"time":1732.5,"who":2,"name":"Ann","reason":"left"}',
    ]


def next_lines(room: net.Room, feed: net.Feed) -> list[bytes]:
    """All lines that this feed gets now."""
    received = b""
    while piece := room.next_piece(feed, {}):
        received += piece
    return received.splitlines()


# Over a real socket --------------------------------------------------------------------------------------------------


class Member(Wire):
    """Somebody in the room who speaks the bare protocol."""

    def __init__(self, room: net.Server, name: str) -> None:
        super().__init__(room.port)
        self.join(name)

    def hears(self, text: str) -> None:
        while self.receive_until("said")["text"] != text:
            pass


@pytest.fixture
def room(open_room: OpenRoom) -> net.Server:
    return open_room()


@pytest.fixture
def alice(room: net.Server) -> Iterator[Member]:
    with contextlib.closing(Member(room, "Alice")) as alice:
        yield alice


@pytest.fixture
def bob(room: net.Server) -> Iterator[Member]:
    with contextlib.closing(Member(room, "Bob")) as bob:
        yield bob


@pytest.fixture
def mallory(room: net.Server) -> Iterator[Wire]:
    with Wire(room.port) as mallory:
        yield mallory


def expect_refusal(wire: Wire, code: str = "bad") -> None:
    """The last message is `refused`, with a reason that people can read."""
    refused = wire.receive_all()[-1]
    assert refused["type"] == "refused", refused
    assert refused["code"] == code
    assert refused["reason"]


def say(**fields: object) -> bytes:
    return json.dumps({"type": "say", "id": 2, "text": "bad", **fields}).encode()


MALFORMED_IN_THE_ROOM = {
    "an unknown type": b'{"type":"dance"}',
    "a type that only rooms use": line_of("said"),
    "paused": line_of("paused"),
    "taken back": line_of("taken_back"),
    "muted": line_of("muted"),
    "pause": b'{"type":"pause","on":true}',
    "delete": b'{"type":"delete","number":1}',
    "take back": b'{"type":"take_back","number":1}',
    "mute": b'{"type":"mute","who":2,"on":true}',
    "remove": b'{"type":"remove","who":2,"on":true}',
    "a type that is no string": b'{"type":7}',
    "no type": b"{}",
    "a missing id": b'{"type":"say","text":"bad"}',
    "a missing text": b'{"type":"say","id":2}',
    "true as an integer": say(id=True),
    "a negative integer": say(id=-1),
    "an id of 2**52 + 1": say(id=2**52 + 1),
    "1.0 as an integer": say(id=1.0),
    "1e2 as an integer": b'{"type":"say","id":1e2,"text":"bad"}',
    "NaN": say(id=float("nan")),
    "Infinity": say(id=float("inf")),
    "-Infinity": say(id=float("-inf")),
    "1e999": b'{"type":"say","id":1e999,"text":"bad"}',
    "NaN behind an unknown key": b'{"type":"ping","x":NaN}',
    "-Infinity behind an unknown key": b'{"type":"ping","x":-Infinity}',
    "1e999 behind an unknown key": b'{"type":"say","id":2,"text":"bad","x":1e999}',
    "null as an integer": say(id=None),
    "a string as an integer": say(id="2"),
    "null as a text": say(text=None),
    "an integer as a text": say(text=5),
    "a number of 5,000 digits": b'{"type":"say","id":' + b"1" * 5000 + b',"text":"bad"}',
    "a number of 5,000 digits behind an unknown key": b'{"type":"ping","x":' + b"1" * 5000 + b"}",
    "invalid UTF-8": b'{"type":"say","id":2,"text":"\xff"}',
    "UTF-8 that is longer than needed": b'{"type":"say","id":2,"text":"\xc0\xaf"}',
    "half a surrogate pair in UTF-8": b'{"type":"say","id":2,"text":"\xed\xa0\x80"}',
    "JSON that does not end": b'{"type":"say"',
    "JSON with something after it": b'{"type":"ping"} x',
    "an empty line": b"",
    "a byte order mark": b'\xef\xbb\xbf{"type":"ping"}',
    "lists too deep": b'{"type":"ping","x":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "objects too deep": b'{"x":' * 10_000 + b"1" + b"}" * 10_000,
    "brackets 33 deep": b'{"type":"ping","x":' + b"[" * 32 + b"]" * 32 + b"}",
    "a list": b'["ping"]',
    "a string": b'"ping"',
    "a number": b"1",
    "null": b"null",
    "a line that is too long": say(text="x" * 65_536),
    "hello again": line_of("hello"),
    "join again": line_of("join"),
    "an upload": line_of("upload"),
    "a download": line_of("download"),
}


@pytest.mark.parametrize("line", MALFORMED_IN_THE_ROOM.values(), ids=MALFORMED_IN_THE_ROOM.keys())
def test_a_line_that_breaks_the_rules_is_refused_after_the_good_ones_before_it_and_harms_nobody(
    alice: Member, bob: Member, mallory: Wire, line: bytes
) -> None:
    mallory.join("Mallory")
    mallory.send_bytes(b'{"type":"say","id":1,"text":"good"}\n' + line + b'\n{"type":"say","id":3,"text":"late"}\n')
    expect_refusal(mallory)
    alice.hears("good")
    alice.say(1, "still here")
    assert bob.receive_until("said")["text"] == "good"
    assert bob.receive_until("said")["text"] == "still here"  # and neither "bad" nor "late"


def test_a_line_that_never_ends_is_refused_once_it_is_too_long(alice: Member, mallory: Wire) -> None:
    mallory.join("Mallory")
    mallory.send_bytes(b"x" * 65_536)
    expect_refusal(mallory)
    alice.say(1, "still here")
    alice.hears("still here")


def padded(line: bytes, size: int) -> bytes:
    """The line with an unknown key, so that it has `size` bytes with its newline."""
    start = line.removesuffix(b"}") + b',"x":"'
    return start + b"x" * (size - len(start) - 3) + b'"}\n'


def test_a_line_to_the_room_may_have_65536_bytes(alice: Member) -> None:
    alice.send_bytes(padded(b'{"type":"say","id":1,"text":"hi"}', 65_536))
    alice.hears("hi")


def test_a_line_of_65537_bytes_is_refused(mallory: Wire) -> None:
    mallory.join("Mallory")
    mallory.send_bytes(padded(b'{"type":"say","id":1,"text":"hi"}', 65_537))
    expect_refusal(mallory)


def test_a_text_that_is_too_long_is_rejected_and_the_connection_stays(alice: Member) -> None:
    for number, text in enumerate(["x" * 4_001, "x\n" * 100, "x" * 60_000], 1):
        alice.say(number, text)
        rejected = alice.receive_until("rejected")
        assert (rejected["id"], rejected["code"]) == (number, "long")
    alice.say(4, "x" * 4_000)
    alice.hears("x" * 4_000)
    alice.say(5, "x\n" * 99)
    alice.hears("x\n" * 99)


def test_half_surrogate_pairs_are_replaced_and_unknown_keys_ignored_on_the_way_through_the_room(
    alice: Member, bob: Member
) -> None:
    alice.send_bytes(rb'{"type":"say","id":1,"text":"a\ud800b","colour":"red"}' + b"\n")
    said = bob.receive_until("said")
    assert said["text"] == "a\ufffdb"
    assert "colour" not in said


HELLO = b'{"type":"hello","protocol":2,"tls":false}'


def join(**fields: object) -> bytes:
    return changed(b'{"type":"join","name":"Mallory","token":"%s","room":null,"after":0}' % (b"0" * 32), **fields)


MALFORMED_BEFORE_JOINING = {
    "join before hello": [join()],
    "say before hello": [say()],
    "hello twice": [HELLO, HELLO],
    "say before join": [HELLO, say()],
    "ping before join": [HELLO, b'{"type":"ping"}'],
    "leave before join": [HELLO, b'{"type":"leave"}'],
    "sent before join": [HELLO, line_of("sent")],
    "an unknown type first": [b'{"type":"dance"}'],
    "an unknown type second": [HELLO, b'{"type":"dance"}'],
    "a browser": [b"GET / HTTP/1.1\r", b"Host: localhost\r", b"\r"],
    "hello without tls": [b'{"type":"hello","protocol":2}'],
    "hello with true as protocol": [b'{"type":"hello","protocol":true,"tls":false}'],
    "hello with 1 as tls": [b'{"type":"hello","protocol":2,"tls":1}'],
    "an a of 511 digits": [changed(HELLO, a="0" * 511)],
    "an a of 513 digits": [changed(HELLO, a="0" * 513)],
    "an a in capitals": [changed(HELLO, a="F" * 512)],
    "an a that is a number": [changed(HELLO, a=1)],
    "a token of 31 digits": [HELLO, join(token="0" * 31)],
    "a token of 33 digits": [HELLO, join(token="0" * 33)],
    "a token that is not hex": [HELLO, join(token="g" * 32)],
    "a token in other digits": [HELLO, join(token="٠" * 32)],
    "a token with a newline": [HELLO, join(token="0" * 31 + "\n")],
    "no token": [HELLO, join(token=None)],
    "no name": [HELLO, join(name=None)],
    "a name of 33 characters": [HELLO, join(name="x" * 33)],
    "an invisible name": [HELLO, join(name="\u200b")],
    "a negative after": [HELLO, join(after=-1)],
    "an integer as room": [HELLO, join(room=1)],
    "a room of 65 characters": [HELLO, join(room="x" * 65)],
    "a hello of 2,049 bytes": [padded(HELLO, 2_049).rstrip(b"\n")],
    "a join of 2,049 bytes": [HELLO, padded(join(), 2_049).rstrip(b"\n")],
    "an upload of 2,049 bytes": [HELLO, padded(line_of("upload"), 2_049).rstrip(b"\n")],
    "a download of 2,049 bytes": [HELLO, padded(line_of("download"), 2_049).rstrip(b"\n")],
    "a file name of 121 characters": [HELLO, changed(line_of("upload"), filename="x" * 121)],
    "a hello that never ends": [b"x" * 2_048],
}


@pytest.mark.parametrize("lines", MALFORMED_BEFORE_JOINING.values(), ids=MALFORMED_BEFORE_JOINING.keys())
def test_somebody_who_breaks_the_rules_before_joining_is_refused_and_nobody_in_the_room_hears_of_it(
    alice: Member, mallory: Wire, lines: list[bytes]
) -> None:
    mallory.send_bytes(b"".join(line + b"\n" for line in lines))
    expect_refusal(mallory)
    assert alice.receive_until("joined")["name"] == "Alice"
    alice.say(1, "marker")
    marker = alice.receive()
    assert marker is not None
    assert (marker["type"], marker["number"]) == ("said", 2)


def test_each_line_before_joining_may_have_2048_bytes(alice: Member, mallory: Wire) -> None:
    mallory.send_bytes(padded(HELLO, 2_048) + padded(join(), 2_048))
    mallory.receive_until("welcome")
    mallory.say(1, "here")
    alice.hears("here")


def test_the_line_after_join_may_be_long_although_it_was_sent_before_the_answer(alice: Member, mallory: Wire) -> None:
    """The client need not wait for the welcome before it says more."""
    mallory.send_bytes(HELLO + b"\n" + join() + b"\n" + say(text="x" * 4_000) + b"\n")
    alice.hears("x" * 4_000)


def test_the_first_line_of_an_upload_may_have_2048_bytes(alice: Member, mallory: Wire) -> None:
    upload = b'{"type":"upload","token":"%s","file":"%s","filename":"a.txt","size":3}' % (alice.token.encode(), FILE)
    mallory.send_bytes(HELLO + b"\n" + padded(upload, 2_048) + b"abc")
    mallory.receive_until("ready")
    digest = hashlib.sha256(b"abc").hexdigest().encode()
    mallory.send_bytes(padded(b'{"type":"sent","sha256":"%s"}' % digest, 5_000))
    mallory.receive_until("stored")
    assert alice.receive_until("shared")["size"] == 3


@pytest.mark.parametrize("protocol", [0, 1, 3, 2**53])
def test_another_protocol_is_refused_as_such(mallory: Wire, protocol: int) -> None:
    mallory.send_bytes(b'{"type":"hello","protocol":%d,"tls":false}\n' % protocol)
    expect_refusal(mallory, "protocol")


def test_a_room_reads_what_comes_byte_by_byte(alice: Member, mallory: Wire) -> None:
    for byte in HELLO + b"\n" + join() + b"\n" + say(text="slowly") + b"\n":
        mallory.send_bytes(bytes([byte]))
    alice.hears("slowly")


def test_a_file_travels_byte_for_byte_as_the_design_says(alice: Member, room: net.Server) -> None:
    digest = hashlib.sha256(b"abc").hexdigest().encode()
    upload = b'{"type":"upload","token":"%s","file":"%s","filename":"a.txt","size":3}\n' % (alice.token.encode(), FILE)
    hello = HELLO + b"\n"
    sent = b'{"type":"sent","sha256":"%s"}\n' % digest
    assert answers_to(room, hello + upload + b"abc" + sent) == hello + b'{"type":"ready"}\n{"type":"stored"}\n'
    assert answers_to(room, hello + upload) == hello + b'{"type":"stored"}\n'  # it was stored before
    download = b'{"type":"download","token":"%s","file":"%s","offset":1}\n' % (alice.token.encode(), FILE)
    assert answers_to(room, hello + download) == hello + b'{"type":"sending","size":2}\nbc'


def answers_to(room: net.Server, data: bytes) -> bytes:
    """Every byte that the room answers to these, up to the end of the connection."""
    with Wire(room.port) as wire:
        wire.send_bytes(data)
        return b"".join(iter(lambda: wire.socket.recv(4096), b""))


# To a client ---------------------------------------------------------------------------------------------------------

WELCOME = changed(line_of("welcome"), history=0)
BROKEN_ROOMS = {
    "hello with an integer as tls": [b'{"type":"hello","protocol":2,"tls":0}'],
    "a browser's answer": [b"HTTP/1.1 400 Bad Request\r", b"\r"],
    "a title of 61 characters": [HELLO, changed(WELCOME, title="x" * 61)],
    "a name of 33 characters": [HELLO, changed(WELCOME, people=[[2, "x" * 33]])],
    "1,001 people": [HELLO, changed(WELCOME, people=[[who, "x"] for who in range(1_001)])],
    "1,001 files": [HELLO, changed(WELCOME, files=1_001)],
    "a last_id of 2**52 + 1": [HELLO, changed(WELCOME, last_id=2**52 + 1)],
    "a history of 10**6 + 1": [HELLO, changed(WELCOME, history=10**6 + 1)],
    "a line of 262,145 bytes": [HELLO, padded(WELCOME, 262_145).rstrip(b"\n")],
}


@pytest.mark.parametrize("lines", BROKEN_ROOMS.values(), ids=BROKEN_ROOMS.keys())
def test_a_room_that_breaks_a_limit_is_not_a_chat_room_for_the_client(lines: list[bytes]) -> None:
    (lost,) = trouble_with(b"".join(line + b"\n" for line in lines))
    assert trouble(lost) is net.Trouble.NOT_A_ROOM


BROKEN_EVENTS = {
    "a text of 4,001 characters": changed(line_of("said"), number=1, text="x" * 4_001),
    "a text of 101 lines": changed(line_of("said"), number=1, text="\n" * 100),
    "a file name of 121 characters": changed(line_of("shared"), number=1, filename="x" * 121),
    "a reason of 201 characters": changed(line_of("left"), number=1, reason="x" * 201),
    "a last word of 201 characters": changed(line_of("closed"), reason="x" * 201),
    "a time after the year 3000": changed(line_of("joined"), number=1, time=32_503_680_001),
}


@pytest.mark.parametrize("line", BROKEN_EVENTS.values(), ids=BROKEN_EVENTS.keys())
def test_the_window_never_sees_a_message_that_breaks_a_limit(line: bytes) -> None:
    welcome, lost = trouble_with(HELLO + b"\n" + WELCOME + b"\n" + line + b"\n")
    assert isinstance(welcome, net.Welcome)
    assert trouble(lost) is net.Trouble.NOT_A_ROOM


def test_a_line_from_the_room_may_have_262144_bytes() -> None:
    welcome, lost = trouble_with(HELLO + b"\n" + padded(WELCOME, 262_144))
    assert isinstance(welcome, net.Welcome)
    assert trouble(lost) is net.Trouble.GONE  # because the test's room then ends the connection


def trouble_with(data: bytes) -> list[net.Event]:
    """What a client tells its window about a room that sends exactly these bytes, up to the first `Lost`."""
    events: net.Events = queue.Queue()
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((LOOPBACK, 0)))
        listener.settimeout(LIMIT)
        client = stack.enter_context(net.run_client(LOOPBACK, "Ann", events, port=port_of(listener)))
        sock = stack.enter_context(listener.accept()[0])
        sock.settimeout(LIMIT)
        with contextlib.suppress(ConnectionError):  # the client may end the connection before it has read everything
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(4096):
                pass
        told = [events.get(timeout=LIMIT)]
        while not isinstance(told[-1], net.Lost):
            told.append(events.get(timeout=LIMIT))
    assert client.join(LIMIT)
    return told


def trouble(event: net.Event) -> net.Trouble:
    assert isinstance(event, net.Lost), event
    return event.reason
