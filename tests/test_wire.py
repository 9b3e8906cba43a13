"""Bytes and messages, without a network; and what a room does with bytes that are none of its messages."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import string
import unicodedata
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import net
from tests.helpers import LOOPBACK, Wire

# A line of each type as DESIGN fixes it, byte for byte: other programs are tested against these.
LINES_TO_ROOM = [
    b'{"type":"hello","protocol":1,"tls":true}',
    b'{"type":"join","name":"Ann","token":"00112233445566778899aabbccddeeff","room":null,"after":0}',
    b'{"type":"say","id":1,"text":"hello"}',
    b'{"type":"ping"}',
    b'{"type":"leave"}',
    (
        b'{"type":"upload","token":"00112233445566778899aabbccddeeff","file":"ffeeddccbbaa99887766554433221100",'
        b'"filename":"map.png","size":123}'
    ),
    b'{"type":"sent","sha256":"' + 32 * b"0f" + b'"}',
    (
        b'{"type":"download","token":"00112233445566778899aabbccddeeff","file":"ffeeddccbbaa99887766554433221100",'
        b'"offset":0}'
    ),
]
LINES_FROM_ROOM = [
    b'{"type":"hello","protocol":1,"tls":true,"salt":"00112233445566778899aabbccddeeff"}',
    b'{"type":"hello","protocol":1,"tls":false}',
    (
        b'{"type":"welcome","room":"1f","title":"Mr Lee\'s room","who":2,"name":"Ann","host":1,'
        b'"people":[[1,"Mr Lee"],[2,"Ann"]],"missed":0,"history":12,"last_id":0,"muted":false,"paused":false,'
        b'"max_file":104857600}'
    ),
    b'{"type":"said","number":7,"time":1732.5,"who":2,"name":"Ann","id":1,"text":"hello"}',
    b'{"type":"joined","number":8,"time":1732.5,"who":3,"name":"Bob"}',
    b'{"type":"left","number":9,"time":1732.5,"who":3,"name":"Bob","reason":"left"}',
    (
        b'{"type":"shared","number":10,"time":1732.5,"who":2,"name":"Ann","file":"ffeeddccbbaa99887766554433221100",'
        b'"filename":"map.png","size":123,"sha256":"' + 32 * b"0f" + b'"}'
    ),
    b'{"type":"said","number":7,"time":1732.5,"who":2,"name":"Ann","id":1,"text":"","taken_back":true}',
    (
        b'{"type":"shared","number":10,"time":1732.5,"who":2,"name":"Ann","file":"ffeeddccbbaa99887766554433221100",'
        b'"filename":"","size":0,"sha256":"","taken_back":true}'
    ),
    b'{"type":"paused","number":11,"time":1732.5,"on":true}',
    b'{"type":"taken_back","number":12,"time":1732.5,"which":7}',
    b'{"type":"muted","on":true}',
    b'{"type":"rejected","id":5,"code":"muted","reason":"you are muted"}',
    b'{"type":"refused","code":"removed","reason":"you are out"}',
    b'{"type":"rejected","id":5,"code":"long","reason":"too long"}',
    b'{"type":"refused","code":"full","reason":"it is full"}',
    b'{"type":"refused","code":"wait","reason":"not so often","seconds":7}',
    b'{"type":"closed","reason":"the lesson is over"}',
    b'{"type":"ping"}',
]
LINES_WITH_A_FILE = [
    b'{"type":"ready","offset":0}',
    b'{"type":"stored"}',
    b'{"type":"sending","size":123}',
]
EVERY_LINE = [
    *((line, net.TO_ROOM) for line in LINES_TO_ROOM),
    *((line, net.FROM_ROOM) for line in LINES_FROM_ROOM),
    *((line, net.FILE_FROM_ROOM) for line in LINES_WITH_A_FILE),
]

# Messages and bytes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("line", "types"), EVERY_LINE)
def test_each_line_of_the_design_is_read_and_written_back_byte_for_byte(line: bytes, types: net.Types) -> None:
    message = net.decode(line, types)
    assert not isinstance(message, net.Unknown)
    assert net.encode(message) == line + b"\n"


def test_the_design_has_a_line_for_every_type() -> None:
    assert {json.loads(line)["type"] for line in LINES_TO_ROOM} == set(net.TO_ROOM)
    assert {json.loads(line)["type"] for line in LINES_FROM_ROOM} == set(net.FROM_ROOM)
    assert {json.loads(line)["type"] for line in LINES_WITH_A_FILE} | {"hello", "refused"} == set(net.FILE_FROM_ROOM)


INTEGERS = st.integers(0, 2**53)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
FIELDS: dict[str, st.SearchStrategy[object]] = {
    "int": INTEGERS,
    "int | None": st.none() | INTEGERS,
    "float": st.floats(0, 2**53),
    "bool": st.booleans(),
    "str": TEXTS,
    "str | None": st.none() | TEXTS,
    "tuple[tuple[int, str], ...]": st.lists(st.tuples(INTEGERS, TEXTS)).map(tuple),
}


@st.composite
def messages(draw: st.DrawFn) -> tuple[net.Message, net.Types]:
    types = draw(st.sampled_from([net.TO_ROOM, net.FROM_ROOM, net.FILE_FROM_ROOM]))
    name = draw(st.sampled_from(sorted(types)))
    kind: Callable[..., net.Message] = types[name]
    return kind(**{field.name: draw(FIELDS[str(field.type)]) for field in dataclasses.fields(types[name])}), types


@settings(deadline=None)
@given(messages())
def test_every_message_comes_out_as_it_went_in(sample: tuple[net.Message, net.Types]) -> None:
    message, types = sample
    line = net.encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert net.decode(line[:-1], types) == message


def test_keys_that_are_not_known_are_ignored() -> None:
    assert net.decode(b'{"type":"say","id":1,"text":"hi","colour":"red","more":[{}]}', net.TO_ROOM) == net.Say(1, "hi")


def test_what_was_not_taken_back_does_not_say_so_and_what_does_not_say_so_was_not_taken_back() -> None:
    line = b'{"type":"said","number":7,"time":1732.5,"who":2,"name":"Ann","id":1,"text":"x","taken_back":false}'
    said = net.decode(line, net.FROM_ROOM)
    assert said == net.Said(7, 1732.5, 2, "Ann", 1, "x") == net.Said(7, 1732.5, 2, "Ann", 1, "x", taken_back=False)
    assert b"taken_back" not in net.encode(net.Said(7, 1732.5, 2, "Ann", 1, "x"))


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"said","number":7,"time":1.5,"who":2,"name":"Ann","id":1,"text":"","taken_back":1}',
        b'{"type":"said","number":7,"time":1.5,"who":2,"name":"Ann","id":1,"text":"","taken_back":null}',
        b'{"type":"said","number":7,"time":1.5,"who":2,"name":"Ann","id":1,"taken_back":true}',
        b'{"type":"paused","number":11,"time":1732.5}',
        b'{"type":"paused","number":11,"time":1732.5,"on":1}',
        b'{"type":"paused","time":1732.5,"on":true}',
        b'{"type":"taken_back","number":12,"time":1732.5,"which":null}',
        b'{"type":"taken_back","number":12,"time":1732.5,"which":7.0}',
        b'{"type":"taken_back","number":true,"time":1732.5,"which":7}',
        b'{"type":"muted"}',
        b'{"type":"muted","on":"yes"}',
    ],
)
def test_a_room_s_line_with_a_missing_or_wrong_key_is_a_protocol_error(line: bytes) -> None:
    with pytest.raises(net.ProtocolError, match="missing or wrong"):
        net.decode(line, net.FROM_ROOM)


def test_half_a_surrogate_pair_becomes_a_replacement_character_and_a_whole_one_what_it_stands_for() -> None:
    line = rb'{"type":"say","id":1,"text":"a\ud83d b\ude00 c\ud83d\ude00"}'
    assert net.decode(line, net.TO_ROOM) == net.Say(1, "a\ufffd b\ufffd c\U0001f600")


def test_integers_up_to_2_to_the_53_are_integers() -> None:
    assert net.decode(b'{"type":"say","id":%d,"text":""}' % 2**53, net.TO_ROOM) == net.Say(2**53, "")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def almost_messages(draw: st.DrawFn) -> bytes:
    """The right type and the right keys, with anything behind them: this gets past the JSON parser."""
    kind = draw(st.sampled_from(sorted({**net.TO_ROOM, **net.FROM_ROOM}.items())))
    fields = {field.name: draw(JSON_VALUES) for field in dataclasses.fields(kind[1])}
    return json.dumps({"type": kind[0], **fields}).encode()


@settings(deadline=None)
@given(st.binary() | st.text(string.digits + '{}[]",:.-+eE\\ul nfatrs').map(str.encode) | almost_messages())
def test_whatever_comes_is_read_or_is_a_protocol_error(line: bytes) -> None:
    for types in (net.TO_ROOM, net.FROM_ROOM):
        with contextlib.suppress(net.ProtocolError):
            net.decode(line, types)


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


def test_a_line_that_is_too_long_is_known_as_such_before_it_ends() -> None:
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


# Names and texts -----------------------------------------------------------------------------------------------------

# Weighted towards what is to be taken out: any character at all, but often one of these.
NASTY = st.sampled_from("\0\t\n\r\x1b\x7f\x85\xa0\xad\u034f\u061c\u115f\u200b\u200d\u202e\u2066\u2028\u2800\u3000")
NASTY |= st.sampled_from("\u3164\ufe0f\ufeff\uffa0\ufdfa\u0301\U000e0041\U000e0100\ud800\udfff") | st.characters()
NASTY_TEXTS = st.text(NASTY, max_size=200)
DRAWN_AS_NOTHING = set("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {chr(c) for c in range(0xFE00, 0xFE10)}


@settings(deadline=None)
@given(NASTY_TEXTS)
def test_a_name_is_short_and_all_of_it_can_be_seen(raw: str) -> None:
    name = net.clean_name(raw)
    assert len(name) <= 32
    assert name == name.strip()
    assert "  " not in name
    for character in name.replace(" ", ""):
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
def test_a_text_has_no_control_characters_but_tab_and_newline(raw: str) -> None:
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
def test_names_as_the_room_writes_them(raw: str, clean: str) -> None:
    assert net.clean_name(raw) == clean


# Over a real socket --------------------------------------------------------------------------------------------------


class Member(Wire):
    """Somebody in the room, speaking the bare protocol."""

    def __init__(self, room: net.Server, name: str) -> None:
        super().__init__(room.port)
        self.join(name)

    def hears(self, text: str) -> None:
        while self.receive_until("said")["text"] != text:
            pass


@pytest.fixture
def room() -> Iterator[net.Server]:
    with net.run_server("Room 7", host=LOOPBACK, port=0, rate=None) as room:
        yield room


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
    """The last that comes is `refused`, with a reason that somebody can read."""
    refused = wire.receive_all()[-1]
    assert refused["type"] == "refused", refused
    assert refused["code"] == code
    assert refused["reason"]


def say(**changed: object) -> bytes:
    return json.dumps({"type": "say", "id": 2, "text": "bad", **changed}).encode()


MALFORMED_IN_THE_ROOM = {
    "an unknown type": b'{"type":"dance"}',
    "a type of the room's own": LINES_FROM_ROOM[3],
    "paused": b'{"type":"paused","number":11,"time":1732.5,"on":true}',
    "taken back": b'{"type":"taken_back","number":12,"time":1732.5,"which":1}',
    "muted": b'{"type":"muted","on":true}',
    "pause": b'{"type":"pause","on":true}',
    "take back": b'{"type":"take_back","number":1}',
    "mute": b'{"type":"mute","who":2,"on":true}',
    "remove": b'{"type":"remove","who":2,"on":true}',
    "a type that is no string": b'{"type":7}',
    "no type": b"{}",
    "a missing id": b'{"type":"say","text":"bad"}',
    "a missing text": b'{"type":"say","id":2}',
    "true as an integer": say(id=True),
    "a negative integer": say(id=-1),
    "2**53 + 1": say(id=2**53 + 1),
    "1.0 as an integer": say(id=1.0),
    "1e2 as an integer": b'{"type":"say","id":1e2,"text":"bad"}',
    "NaN": say(id=float("nan")),
    "Infinity": say(id=float("inf")),
    "-Infinity": say(id=float("-inf")),
    "1e999": b'{"type":"say","id":1e999,"text":"bad"}',
    "NaN behind a key that is not known": b'{"type":"ping","x":NaN}',
    "-Infinity behind a key that is not known": b'{"type":"ping","x":-Infinity}',
    "1e999 behind a key that is not known": b'{"type":"say","id":2,"text":"bad","x":1e999}',
    "null as an integer": say(id=None),
    "a string as an integer": say(id="2"),
    "null as a text": say(text=None),
    "an integer as a text": say(text=5),
    "a number of 5,000 digits": b'{"type":"say","id":' + b"1" * 5000 + b',"text":"bad"}',
    "a number of 5,000 digits behind a key that is not known": b'{"type":"ping","x":' + b"1" * 5000 + b"}",
    "UTF-8 that is none": b'{"type":"say","id":2,"text":"\xff"}',
    "a longer UTF-8 than needed": b'{"type":"say","id":2,"text":"\xc0\xaf"}',
    "half a surrogate pair in UTF-8": b'{"type":"say","id":2,"text":"\xed\xa0\x80"}',
    "JSON that does not end": b'{"type":"say"',
    "JSON with something behind it": b'{"type":"ping"} x',
    "an empty line": b"",
    "a byte order mark": b'\xef\xbb\xbf{"type":"ping"}',
    "lists too deep": b'{"type":"ping","x":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "objects too deep": b'{"x":' * 10_000 + b"1" + b"}" * 10_000,
    "a list": b'["ping"]',
    "a string": b'"ping"',
    "a number": b"1",
    "null": b"null",
    "a line that is too long": say(text="x" * 65_536),
    "hello again": LINES_TO_ROOM[0],
    "join again": LINES_TO_ROOM[1],
}


@pytest.mark.parametrize("line", MALFORMED_IN_THE_ROOM.values(), ids=MALFORMED_IN_THE_ROOM.keys())
def test_a_line_that_breaks_the_rules_is_refused_after_the_good_ones_before_it_and_harms_nobody(
    alice: Member, bob: Member, mallory: Wire, line: bytes
) -> None:
    mallory.join("Mallory")
    mallory.send_bytes(b'{"type":"say","id":1,"text":"good"}\n' + line + b'\n{"type":"say","id":3,"text":"late"}\n')
    expect_refusal(mallory)
    alice.hears("good")
    alice.send({"type": "say", "id": 1, "text": "still here"})
    assert bob.receive_until("said")["text"] == "good"
    assert bob.receive_until("said")["text"] == "still here"  # and neither "bad" nor "late"


def test_a_line_that_never_ends_is_refused_once_it_is_too_long(alice: Member, mallory: Wire) -> None:
    mallory.join("Mallory")
    mallory.send_bytes(b"x" * 65_536)
    expect_refusal(mallory)
    alice.send({"type": "say", "id": 1, "text": "still here"})
    alice.hears("still here")


def test_the_longest_line_of_all_is_read(alice: Member) -> None:
    start, end = b'{"type":"say","id":1,"text":"hi","x":"', b'"}\n'
    alice.send_bytes(start + b"x" * (65_536 - len(start) - len(end)) + end)
    alice.hears("hi")


def test_surrogates_and_unknown_keys_are_mended_and_ignored_on_the_way_through_the_room(
    alice: Member, bob: Member
) -> None:
    alice.send_bytes(rb'{"type":"say","id":1,"text":"a\ud800b","colour":"red"}' + b"\n")
    said = bob.receive_until("said")
    assert said["text"] == "a\ufffdb"
    assert "colour" not in said


HELLO = b'{"type":"hello","protocol":1,"tls":false}'


def join(**changed: object) -> bytes:
    fields = {"type": "join", "name": "Mallory", "token": "0" * 32, "room": None, "after": 0, **changed}
    return json.dumps(fields).encode()


MALFORMED_BEFORE = {
    "join before hello": [join()],
    "say before hello": [say()],
    "hello twice": [HELLO, HELLO],
    "say before join": [HELLO, say()],
    "ping before join": [HELLO, b'{"type":"ping"}'],
    "leave before join": [HELLO, b'{"type":"leave"}'],
    "an unknown type first": [b'{"type":"dance"}'],
    "an unknown type second": [HELLO, b'{"type":"dance"}'],
    "a browser": [b"GET / HTTP/1.1\r", b"Host: localhost\r", b"\r"],
    "hello without tls": [b'{"type":"hello","protocol":1}'],
    "hello with true as protocol": [b'{"type":"hello","protocol":true,"tls":false}'],
    "hello with 1 as tls": [b'{"type":"hello","protocol":1,"tls":1}'],
    "a token of 31 digits": [HELLO, join(token="0" * 31)],
    "a token of 33 digits": [HELLO, join(token="0" * 33)],
    "a token that is not hex": [HELLO, join(token="g" * 32)],
    "a token in other digits": [HELLO, join(token="٠" * 32)],
    "a token with a newline": [HELLO, join(token="0" * 32 + "\n")],
    "no token": [HELLO, join(token=None)],
    "no name": [HELLO, join(name=None)],
    "a negative after": [HELLO, join(after=-1)],
    "an integer as room": [HELLO, join(room=1)],
}


@pytest.mark.parametrize("lines", MALFORMED_BEFORE.values(), ids=MALFORMED_BEFORE.keys())
def test_who_breaks_the_rules_at_the_door_is_refused_and_nobody_inside_hears_of_it(
    alice: Member, mallory: Wire, lines: list[bytes]
) -> None:
    mallory.send_bytes(b"".join(line + b"\n" for line in lines))
    expect_refusal(mallory)
    assert alice.receive_until("joined")["name"] == "Alice"
    alice.send({"type": "say", "id": 1, "text": "marker"})
    marker = alice.receive()
    assert marker is not None
    assert (marker["type"], marker["number"]) == ("said", 2)


@pytest.mark.parametrize("protocol", [0, 2, 2**53])
def test_another_protocol_is_refused_as_such(mallory: Wire, protocol: int) -> None:
    mallory.send({"type": "hello", "protocol": protocol, "tls": False})
    expect_refusal(mallory, "protocol")


def cut_everywhere(data: bytes, send: Callable[[bytes], None]) -> None:
    for byte in data:
        send(bytes([byte]))


def test_a_room_reads_what_comes_byte_by_byte(alice: Member, mallory: Wire) -> None:
    cut_everywhere(HELLO + b"\n" + join() + b"\n" + say(text="slowly") + b"\n", mallory.send_bytes)
    alice.hears("slowly")
