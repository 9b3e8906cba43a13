"""Everything of the chat that travels: the room (Server), somebody in it (Client), and what they say to each other.

Nothing here knows of a window: `run_server` and `run_client` work just as well from a script, and what happens arrives
as small frozen objects (the events) in a `queue.Queue`. Read it from top to bottom; every idea is met once:

    limits         every number, with its unit and its reason
    errors         who is to blame
    messages       one frozen dataclass for each message; most of the room's are also the events that the window shows
    wire format    bytes <-> messages, and the cleaning of names and text
    encryption     a password becomes a key; plain bytes <-> TLS records, in memory
    connection     one socket, both sides; and the wake-up call
    sender         the one thread that writes
    server         the room: its history, its people, its readers; what the host can do
    client         one person's way into a room, and back into it
    files          what the room keeps of them; and one on its way, to the room or from it
    finding rooms  who asks the whole network is answered by every room on it
    entry points   run_server, run_client, find_rooms, get_local_ip

The history is the queue. The room numbers its events 1, 2, 3 ... and keeps the newest of them, encoded. A connection
is a *place* in that history: the number that it gets next. Somebody new, somebody who comes back, somebody slow and
somebody quick are the same case at different places; there is no outbox for each member, so a stuck computer costs
nobody anything, and to broadcast is to append and to wake the sender.

    thread      how many          what it does
    main        the caller's      calls run_server, run_client, say, share, mute, close ...; never waits for the network
    accept      1 in a server     accepts, starts a reader, nothing else
    reader      1 a connection    the only one that receives: bytes -> messages; keeps the time (ping, silence)
    sender      1 in a server,    the only one that writes to joined connections, never blocking; closes them last
                1 in a client
    finder      1 in a server     answers "which rooms are here?", and watches this computer's addresses
                1 in a Finder     asks it, and keeps the list of the rooms that have answered
    transfer    1 a file on its   in a client; on a connection of its own, so that chat never waits for a file (in a
                way               server the reader of that connection does this)
    name look-up                  a daemon, because a look-up that hangs cannot be interrupted

A docstring that begins with "Lock." or "Room lock." belongs to a helper that is called while that lock is held.

The wire: TCP over IPv4, one JSON object on one line, UTF-8, ended by a newline. Version 1:

    both ways       hello     protocol tls [salt]              one line each, before all else; with a salt, TLS follows
                    ping                                       when nothing was sent for 5 s
    to the room     join      name token room after            token: "the same person again"; after: last number seen
                    say       id text                          ids of a token rise, across reconnects
                    leave                                      going on purpose
                    upload    token file filename size         a file, on a connection of its own: after `ready` come
                    sent      sha256                           its bytes from there, and then `sent`
                    download  token file offset
    from the room   welcome   room title who name host people missed history last_id muted paused max_file
                    said      number time who name id text [taken_back]
                    joined    number time who name
                    left      number time who name reason      left | lost | removed
                    shared    number time who name file filename size sha256 [taken_back]
                    paused    number time on                   only the host writes
                    taken_back  number time which              that message or file is gone
                    muted     on                               to that person alone
                    rejected  id code reason                   this say will not appear
                    ready     offset                           an upload goes on from there; after `sent` comes ...
                    stored                                     ... all of it is here, and unharmed
                    sending   size                             of a download: so many raw bytes follow
                    refused   code reason [seconds]            then the connection closes
                    closed    reason                           the room is over, or this person's place in it
    UDP             find      protocol                         to everybody on the network
                    room      protocol room title port people password         the answer, to the asker alone

A `say` is answered, in order, by `said` or `rejected`, and until then the client keeps it; after a break it learns from
the welcome (`last_id`) what the room has, and says the rest again. That is why nothing is lost and nothing comes twice.

A room with a password is encrypted, an open room is not: TLS 1.3 with a pre-shared key (RFC 8446, 2.2) that both sides
make from the password, so that each proves to the other that it knows it, and nobody needs a certificate.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import enum
import errno
import functools
import hashlib
import hmac
import io
import ipaddress
import itertools
import json
import logging
import math
import os
import queue
import random
import re
import secrets
import selectors
import shutil
import socket
import ssl
import stat
import struct
import sys
import tempfile
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar, TypeAlias, TypeVar, get_args

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl
    import resource

log = logging.getLogger("net")

# ------------------------------------------------------------------------------------------------------------- limits

PROTOCOL = 1
PORT = 5252  # not registered for anything well known, and below every system's range for outgoing connections
PORTS = range(PORT, PORT + 10)  # where a room may be when PORT is taken

MAX_LINE_TO_ROOM = 64 * 1024  # bytes; the longest text, every character as \uXXXX\uXXXX, is 48,000
MAX_LINE_FROM_ROOM = 256 * 1024  # bytes; a welcome with 1,000 people is about 140,000
MAX_PIECE = 256 * 1024  # bytes joined for one write: large enough to be quick, small enough to be fair
SHORT_PIECE = 16 * 1024  # bytes; to write one takes about as long whether it is empty or as long as this
TLS_RECORD = 16 * 1024  # bytes; none holds more (RFC 8446, 5.1)
TLS_PIECE = 64 * 1024  # bytes encrypted at once; OpenSSL never gives the memory for them back
ROOM_RECEIVES = 16 * 1024  # bytes at a time; fewer would make threads change places more often, see bench/fanout
CLIENT_RECEIVES = 64 * 1024  # bytes at a time
MAX_INTEGER = 2**53  # the largest up to which JSON's readers everywhere agree (RFC 8259, section 6)

MAX_NAME = 32  # characters
MAX_NUMBER = 10_000  # after a name; enough for everybody, and an end where each of them is the host's name
MAX_TITLE = 60  # characters
MAX_TEXT = 4_000  # characters
MAX_TEXT_LINES = 100
MAX_FILE = 100 * 2**20  # bytes; told in the welcome
MAX_STORE = 2**30  # bytes of all files of a room together
MAX_FILES = 1_000  # of a room, however small
MAX_FILENAME = 120  # characters, and ...
MAX_FILENAME_BYTES = 200  # ... in UTF-8: file systems end at 255, and ".part" comes behind
MAX_UNFINISHED = 4  # uploads of one person
MAX_TRANSFERS = 100  # of one client, those that wait for their turn included
TRANSFERS_AT_ONCE = 4  # of one client, in each direction ...
MOST_AT_ONCE = 8  # ... and what the room allows to one person: connections are for all

KEPT_EVENTS = 2_000  # in the history
KEPT_BYTES = 32 * 2**20  # in the history
MAX_OWN_LINES = 1_000  # waiting for one person alone; more, and that computer has stopped reading
MAX_REMEMBERED = 10_000  # people, gone ones included

MAX_PEOPLE = 250 if sys.platform == "win32" else 1_000  # Windows: select takes 512, and who comes back has two
SPARE_CONNECTIONS = 300  # above the limit, for files, and for those who have to be told that the room is full
MAX_STRANGERS = 50  # connections from one address that have not said what they are for
JOINS, JOINS_TIME = 10, 10.0  # an address may join so often in so many seconds
RATE = 20.0  # messages a second from one person, and as many at once

TICK = 1.0  # s; a reader looks at the clock at least this often
PING_AFTER = 5.0  # s in which nothing was sent
SILENCE = 15.0  # s in which nothing was received: three pings lost
FIRST_MESSAGE = 10.0  # s from the connection to the first message
BACK_WITHIN = 15.0  # s in which somebody lost can come back unnoticed
UNFINISHED_KEPT = 60.0  # s after its last byte; an upload that broke off can go on until then
PROGRESS_EVERY = 0.1  # s between two events of a transfer
MAX_REST = 0.02  # s; of a sender: nobody notices
LAST_WORDS = 1.0  # s in which `refused` and `closed` may arrive
FREE_GUESSES = 5  # wrong passwords from one address; each one more costs it twice as long a wait ...
GUESS_WAITS = (2, 60)  # ... from 2 s to 60 s
GUESSES_AT_ONCE = 2  # handshakes under way, from an address that has guessed; the last one may just be ending
LOOK_UP_TIME = 10.0  # s for the address of a name; Windows asks several services, one after the other
CONNECT_TIME = 5.0  # s; a lost SYN is sent again after 1 and 3 s
CLOSE_TIME = 1.5  # s until a close stops being polite; all is gone within 2 s
RETRIES = (0.0, 1.0, 2.0, 4.0, 5.0)  # s before each new attempt; the last one again and again
MAX_WAIT = 60.0  # s; the longest that a room may ask for
SAME_PORT_TIME = 2.0  # s to wait for a port that a crash left behind
OUT_OF_FILES = 0.5  # s before accept is tried again when there are no descriptors
BACKLOG = 1_024  # connections that wait for accept; the system may have a smaller maximum

MAX_DATAGRAM = 2_048  # bytes; an answer with the longest title is about 900
MAX_ROOMS = 100  # in the list
MAX_ID = 64  # characters of a room's id, all of them plain ones
ROOM_GONE_AFTER = 20.0  # s without an answer
ASK_EVERY = (2.0, 6.0)  # s between questions: on the first port, on the other nine ...
ASK_LESS_AFTER = 10.0  # s ... and from then on half as often
JITTER = 0.2  # of these times, at random, so that thirty computers do not ask in step
DATAGRAMS_AT_ONCE, DATAGRAMS_TIME = 50, 0.02  # a finder reads so many, then rests for so many s: a flood costs little
TELL_EVERY = 0.25  # s; the list of rooms does not change more often than this
ADDRESSES_EVERY = 5.0  # s between two looks at the computer's own addresses

HOST = 1  # the host's number in every room of this program

# ------------------------------------------------------------------------------------------------------------- errors


class ProtocolError(Exception):
    """The other side broke the rules; `code`, the text and `seconds` are what it is told in `refused`."""

    def __init__(self, reason: str, code: str = "bad", seconds: int | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.seconds = seconds


class Trouble(enum.Enum):
    """Why there is no connection (now): what a window needs to know to say it in words."""

    UNKNOWN_NAME = "the name does not resolve to an address"
    NO_NETWORK = "this computer has no way to that address"
    NO_ROUTE = "the system says that there is no route to that computer"
    NO_ANSWER = "nothing answers at that address"
    NOBODY_LISTENS = "that computer is there, but no room is open on that port"
    NOT_A_ROOM = "something else is listening there"
    GONE = "the connection was closed"
    SILENT = "nothing, or not enough, was heard for too long"
    UNPROVEN = "whoever answers could not prove to know the password"
    GAP = "an event is missing"
    FULL = "the room is full"
    WAIT = "the room asks to wait"


class ConnectionLost(Exception):
    """There is no connection (any more); nobody is to blame."""

    def __init__(self, trouble: Trouble = Trouble.GONE, seconds: float = 0.0) -> None:
        super().__init__(trouble.value)
        self.trouble = trouble
        self.seconds = seconds  # not to be tried again earlier


# ----------------------------------------------------------------------------------------------------------- messages


@dataclass(frozen=True)
class Hello:
    """The first line, both ways. `tls`: "this computer can", or from a room "it begins right after this line"."""

    protocol: int
    tls: bool
    salt: str | None = None


@dataclass(frozen=True)
class Join:
    name: str
    token: str  # 32 hex digits, made once and kept secret
    room: str | None  # the room that `after` is about
    after: int  # the last number seen


@dataclass(frozen=True)
class Say:
    id: int
    text: str


@dataclass(frozen=True)
class Ping:
    """Nothing to say, but still here."""


@dataclass(frozen=True)
class Leave:
    """Going on purpose."""


@dataclass(frozen=True)
class Welcome:
    """You are in. `history` events follow that were before you; `missed` more are no longer kept."""

    room: str
    title: str
    who: int
    name: str  # as the room gave it
    host: int | None  # None while the host is not in
    people: tuple[tuple[int, str], ...]
    missed: int
    history: int
    last_id: int  # the highest id that the room has answered for this person
    muted: bool
    paused: bool
    max_file: int  # bytes


@dataclass(frozen=True)
class Said:
    number: int
    time: float  # seconds since 1970, the room's clock
    who: int
    name: str
    id: int
    text: str
    taken_back: bool = False  # by the host; the text is empty then


@dataclass(frozen=True)
class Joined:
    number: int
    time: float
    who: int
    name: str


@dataclass(frozen=True)
class Left:
    number: int
    time: float
    who: int
    name: str
    reason: str  # left | lost | removed


@dataclass(frozen=True)
class Shared:
    """There is a file to be had."""

    number: int
    time: float
    who: int
    name: str
    file: str  # for `Client.save`
    filename: str  # clean, if the room keeps the rules: see `clean_filename`
    size: int  # bytes
    sha256: str
    taken_back: bool = False  # by the host; there is nothing to save then


@dataclass(frozen=True)
class Paused:
    """While it is on, only the host writes and shares."""

    number: int
    time: float
    on: bool


@dataclass(frozen=True)
class TakenBack:
    """The host has taken back a message or a file."""

    number: int
    time: float
    which: int  # the number of its event


@dataclass(frozen=True)
class Muted:
    """The host has muted this person, or lets them write again."""

    on: bool


@dataclass(frozen=True)
class Rejected:
    """This say will not appear. Codes: muted, paused, empty, long; the client's own: unsent, unanswered, unknown."""

    id: int
    code: str
    reason: str


@dataclass(frozen=True)
class Refused:
    """Not let in, or thrown out; the connection ends.

    Codes: bad, protocol, tls, full, wait, removed, unknown, size, space, hash, busy, muted, paused; the client's own:
    open, password, wrong, unproven.
    """

    code: str
    reason: str
    seconds: int | None = None


@dataclass(frozen=True)
class Closed:
    """The room is over, or this person's place in it. The client does not come back."""

    reason: str


@dataclass(frozen=True)
class Find:
    """To everybody on the network: which rooms are here?"""

    protocol: int


@dataclass(frozen=True)
class Room:
    """The answer. The address is the one that it comes from."""

    protocol: int
    room: str
    title: str
    port: int
    people: int
    password: bool


# Those of a connection that carries a file.


@dataclass(frozen=True)
class Upload:
    """Here comes a file. Said again after a break, it goes on where it broke off."""

    token: str
    file: str  # 32 hex digits, chosen by the client
    filename: str
    size: int  # bytes


@dataclass(frozen=True)
class Download:
    token: str
    file: str
    offset: int  # bytes that are here already


@dataclass(frozen=True)
class Ready:
    """The room has so many bytes of the file; the others may come."""

    offset: int


@dataclass(frozen=True)
class Sent:
    """That was all of it."""

    sha256: str  # 64 hex digits


@dataclass(frozen=True)
class Stored:
    """The room has all of it, with the right hash; everybody is told."""


@dataclass(frozen=True)
class RawBytes:
    """So many raw bytes follow. On the wire its type is "sending"."""

    size: int


# Events of our own: a client's ...


@dataclass(frozen=True)
class Sending:
    """What was said under this id is on its way; `Said`, `Rejected` or `Settled` ends that."""

    id: int
    text: str


@dataclass(frozen=True)
class Settled:
    """The room took this line during a break, but no longer keeps it: sent, and never to be seen here as `Said`."""

    id: int


@dataclass(frozen=True)
class Lost:
    """No connection; the next attempt begins in `retry_in` seconds."""

    reason: Trouble
    retry_in: float


@dataclass(frozen=True)
class Progress:
    """How far a file is on its way; `Uploaded`, `Saved` or `Failed` ends that. The first one comes at once."""

    transfer: int  # the client's number for it: see `Client.cancel`
    filename: str
    done: int  # bytes
    size: int  # bytes; 0 until it is known
    is_upload: bool
    is_waiting: bool  # for its turn, or for the connection to come back


@dataclass(frozen=True)
class Uploaded:
    """The room has it; `Shared` tells everybody."""

    transfer: int


@dataclass(frozen=True)
class Saved:
    transfer: int
    path: str


@dataclass(frozen=True)
class Failed:
    """The transfer has ended, and left nothing behind.

    Codes: those of `refused`; and cancelled, many (are on their way), missing, folder, permission, changed, disk_full,
    disk (the reason is the system's), reopened (the room is another now), over (so is the visit), failed (a fault of
    this program's).
    """

    transfer: int
    filename: str
    code: str
    reason: str


# ... a finder's ...


@dataclass(frozen=True)
class FoundRoom:
    room: str
    title: str
    address: str
    port: int
    people: int
    password: bool


@dataclass(frozen=True)
class Found:
    """The rooms that are heard at the moment, in the order in which they were found."""

    rooms: tuple[FoundRoom, ...]


# ... and, for the host alone, a server's.


@dataclass(frozen=True)
class Reachable:
    """Where others can join: this computer's addresses, the best one first; and whether the room can be found."""

    addresses: tuple[str, ...]
    findable: bool


@dataclass(frozen=True)
class WrongPassword:
    """Somebody at this address has tried so many wrong passwords in a row, and now has to wait."""

    address: str
    times: int


@dataclass(frozen=True)
class Controls:
    """How the host has set `mute` and `remove`; comes when that changes."""

    muted: tuple[int, ...]  # numbers of people who are in the list
    removed: tuple[tuple[int, str], ...]  # number and name


Numbered = Said | Joined | Left | Shared | Paused | TakenBack  # the events of the room, in the order of their numbers
ToRoom = Hello | Join | Say | Ping | Leave | Upload | Sent | Download
FromRoom = Hello | Welcome | Numbered | Muted | Rejected | Refused | Closed | Ping
Message = ToRoom | FromRoom | Ready | Stored | RawBytes | Find | Room
_TransferEvent = Progress | Uploaded | Saved | Failed
_ClientEvent = Welcome | Numbered | Muted | Rejected | Refused | Closed | Sending | Settled | Lost | _TransferEvent
Event = _ClientEvent | Found | Reachable | WrongPassword | Controls
Events: TypeAlias = "queue.Queue[Event]"

# -------------------------------------------------------------------------------------------------------- wire format

Types = dict[str, type[Message]]


def _types(*kinds: type[Message]) -> Types:
    """The name of a type on the wire is its class's, in small letters: TakenBack is "taken_back"."""
    return {re.sub("(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower(): kind for kind in kinds}


TO_ROOM = _types(*get_args(ToRoom))
FROM_ROOM = _types(*get_args(FromRoom))
FILE_FROM_ROOM = {**_types(Hello, Refused, Ready, Stored), "sending": RawBytes}
UDP = _types(Find, Room)
_TYPE_NAMES = {kind: name for types in (TO_ROOM, FROM_ROOM, FILE_FROM_ROOM, UDP) for name, kind in types.items()}

_SURROGATES = re.compile("[\ud800-\udfff]")


def _mend(text: str) -> str:
    """Half a surrogate pair cannot be written as UTF-8; JSON's escapes (and Tk, on Windows) can bring one in."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def _read_integer(value: object) -> int:
    if type(value) is not int or not 0 <= value <= MAX_INTEGER:  # `type`, because True is an int too
        raise TypeError
    return value


def _read_number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MAX_INTEGER:
        raise TypeError
    return float(value)


def _read_bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _read_string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return _mend(value)


def _read_people(value: object) -> tuple[tuple[int, str], ...]:
    if not isinstance(value, list):
        raise TypeError
    return tuple((_read_integer(who), _read_string(name)) for who, name in value)


_json_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

# How a field is read and written, by the type that its dataclass gives it.
_FIELD_TYPES: dict[str, tuple[Callable[[object], object], Callable[[Any], str]]] = {
    "int": (_read_integer, repr),
    "int | None": (lambda value: None if value is None else _read_integer(value), _json_encode),
    "float": (_read_number, repr),
    "bool": (_read_bool, _json_encode),
    "str": (_read_string, _json_encode),
    "str | None": (lambda value: None if value is None else _read_string(value), _json_encode),
    "tuple[tuple[int, str], ...]": (_read_people, _json_encode),
}
# Of each kind of message: a field's name, its key on the wire, its default (or MISSING, which no field can be), and the
# two from above.
_FIELDS = {
    kind: [
        (field.name, f'"{field.name}":', field.default, *_FIELD_TYPES[str(field.type)])
        for field in dataclasses.fields(kind)
    ]
    for kind in _TYPE_NAMES
}


def encode(message: Message) -> bytes:
    """The message as one line. Optional fields that have their default value are left out. Any thread."""
    kind = type(message)
    parts = [f'{{"type":"{_TYPE_NAMES[kind]}"']
    for name, key, default, _, write in _FIELDS[kind]:  # one by one: two thirds of what json takes for a dictionary
        value = getattr(message, name)
        if value != default:
            parts.append(key + write(value))
    return (",".join(parts) + "}\n").encode()


def _parse_float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _parse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


# Its `decode` would look for spaces at both ends for as long as for all the rest. Integers of more than 4,300 digits,
# which would take quadratic time, Python refuses by itself (from 3.10.7 on).
_json_decode = json.JSONDecoder(parse_float=_parse_float, parse_constant=_parse_constant).raw_decode


@dataclass(frozen=True)
class Unknown:
    """A message of a type that this version does not know; it may still have taken a number. Never an event."""

    number: int | None


def decode(line: bytes, types: Types) -> Message | Unknown:
    """Reads one line (without its newline) as one of `types`. Raises ProtocolError. Any thread."""
    try:
        text = line.strip().decode()
        fields, end = _json_decode(text)
        if end < len(text):
            raise ValueError("there is more behind its end")
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"this line is not JSON in UTF-8: {error}") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("type"), str):
        raise ProtocolError("expected a JSON object with a \"type\"")
    kind = types.get(fields["type"])
    if kind is None:
        number = fields.get("number")
        return Unknown(number if type(number) is int else None)
    values: list[Any] = []
    for name, _, default, read, _ in _FIELDS[kind]:
        try:
            values.append(read(fields.get(name, default)))
        except (TypeError, ValueError):
            raise ProtocolError(f"{fields['type']} has a missing or wrong {name!r}") from None
    return kind(*values)


_Expected = TypeVar("_Expected", Hello, Welcome, Sent, Ready, Stored, RawBytes)


def _expect(message: Message | Unknown, kind: type[_Expected]) -> _Expected:
    """Where only this kind is right. Raises ProtocolError for another."""
    if not isinstance(message, kind):
        raise ProtocolError(f"expected {_TYPE_NAMES[kind]}")
    return message


class LineReader:
    """Bytes in, lines out: it does not matter how the network cut them. One thread."""

    def __init__(self, longest: int) -> None:
        self._longest = longest  # bytes, newline included
        self._lines: collections.deque[bytes] = collections.deque()
        self._rest = b""  # of a line whose end has not come yet

    def feed(self, data: bytes | memoryview) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._lines.extend(lines)

    def next(self) -> bytes | None:
        """The next whole line, without its newline, or None. Raises ProtocolError where a line is too long."""
        line = self._lines.popleft() if self._lines else None
        if len(self._rest if line is None else line) >= self._longest:
            raise ProtocolError(f"a line is longer than {self._longest} bytes")
        return line

    def take_all(self) -> bytes:
        """Everything that is not read yet, as the bytes that it came in: it is for somebody else."""
        taken = b"".join(line + b"\n" for line in self._lines) + self._rest
        self._lines.clear()
        self._rest = b""
        return taken


# Drawn as nothing at all, although Unicode calls them letters, marks or symbols.
_INVISIBLE = {*"\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180e\u180f\u2800\u3164\uffa0"}
_INVISIBLE.update(map(chr, [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]))  # variation selectors
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_LINE_ENDS = re.compile("\r\n?|[\u2028\u2029]")


def _is_visible(character: str) -> bool:
    return unicodedata.category(character)[0] not in "CZ" and character not in _INVISIBLE


def _seen(text: str) -> str:
    """One line of what can be seen."""
    return " ".join("".join(c for c in text if c.isspace() or _is_visible(c)).split())


def clean_name(name: str, longest: int = MAX_NAME) -> str:
    """A name or title as the room writes it: NFKC, one line, nothing that cannot be seen; perhaps nothing is left."""
    name = name[: 32 * longest]
    before = None
    while name != before:  # what is taken out may bring together what NFKC then joins
        before = name
        name = _seen(unicodedata.normalize("NFKC", name))
    return name[:longest].rstrip()


def clean_text(text: str) -> str:
    """A text as the room passes it on: no control characters but tab and newline, no halves of surrogate pairs."""
    if text.isprintable():  # one line without any of these, as most are; to ask is a tenth of the work
        return text
    return _CONTROL.sub("", _LINE_ENDS.sub("\n", _mend(text)))


# Devices of Windows, whatever ending they have.
_RESERVED_NAME = re.compile(
    r"(con|prn|aux|nul|(conin|conout|clock)\$|(com|lpt)[0-9\xb9\xb2\xb3])\s*(\..*)?", re.IGNORECASE
)


def clean_filename(name: str) -> str:
    """A name that every system can store, and that shows what it is: no path, nothing unseen, not too long."""
    name = re.split(r"[/\\]", _mend(name))[-1][-8 * MAX_FILENAME :]
    name = re.sub(r'[<>:"|?*]', "_", unicodedata.normalize("NFC", _seen(name))).rstrip(". ")
    if _RESERVED_NAME.fullmatch(name):
        name = f"_{name}"
    stem, dot, ending = name.rpartition(".")
    if not stem or len(ending) > 20:
        stem, dot, ending = name, "", ""
    while len(stem + dot + ending) > MAX_FILENAME or len((stem + dot + ending).encode()) > MAX_FILENAME_BYTES:
        stem = stem[:-1]
    return (stem.rstrip() + dot + ending).rstrip(". ") or "file"


def text_problem(text: str) -> tuple[str, str] | None:
    """Why the room rejects this cleaned text, as (code, reason), or None. The same rule on both sides."""
    if len(text) > MAX_TEXT:
        return "long", f"A message has at most {MAX_TEXT:,} characters; this one has {len(text):,}."
    lines = text.count("\n") + 1
    if lines > MAX_TEXT_LINES:
        return "long", f"A message has at most {MAX_TEXT_LINES} lines; this one has {lines:,}."
    if not any(map(_is_visible, text)):
        return "empty", "There is nothing to read in this message."
    return None


# --------------------------------------------------------------------------------------------------------- encryption

# Python 3.13 is the first that lets a program give OpenSSL a key of its own; 3.15 says for each version of TLS.
CAN_ENCRYPT = bool(getattr(ssl, "HAS_PSK", False) and getattr(ssl, "HAS_PSK_TLS13", True))

_PASSWORD_LETTERS = "23456789abcdefghjkmnpqrstvwxyz"  # without those that look alike
_PASSWORD_LENGTH = 12  # of 30 letters: 58.9 bits, which scrypt makes as dear to guess as about 76
_PSK_IDENTITY = "chat-room"
_WRONG_PASSWORD = {"BINDER_DOES_NOT_VERIFY", "SSLV3_ALERT_ILLEGAL_PARAMETER", "TLSV1_ALERT_DECRYPT_ERROR"}


def suggest_password() -> str:
    """A password that is worth it, in groups of four to read aloud."""
    letters = "".join(secrets.choice(_PASSWORD_LETTERS) for _ in range(_PASSWORD_LENGTH))
    return "-".join(letters[start : start + 4] for start in range(0, _PASSWORD_LENGTH, 4))


def clean_password(password: str) -> str:
    """As both sides use it: a suggested one may be typed without dashes and in capitals; others are as typed."""
    bare = re.sub(r"[\s-]", "", password).lower()
    if len(bare) == _PASSWORD_LENGTH and set(bare) <= set(_PASSWORD_LETTERS):
        return bare
    return unicodedata.normalize("NFC", _mend(password))


def _check_password(password: str | None) -> None:
    """Raises ValueError."""
    if password is not None and not CAN_ENCRYPT:
        version = ".".join(map(str, sys.version_info[:2]))
        raise ValueError(f"this computer has Python {version}; a room password needs 3.13 or newer")
    if password is not None and not clean_password(password).strip():
        raise ValueError("expected a password, or None")


def stretch(password: str, salt: str) -> bytes:
    """Makes each guess of a password slow: scrypt (RFC 7914), about 0.3 s and 32 MiB. `salt`: 32 hex digits."""
    clean = clean_password(password).encode()
    return hashlib.scrypt(clean, salt=bytes.fromhex(salt), n=2**15, r=8, p=3, maxmem=64 * 2**20, dklen=32)


def session_key(stretched: bytes, client_hello: bytes, room_hello: bytes) -> bytes:
    """The key of one connection. Both hello lines are in it: whoever edits one of them only makes it fail."""
    return hmac.digest(stretched, client_hello + b"\n" + room_hello + b"\n", "sha256")


class HandshakeError(Exception):
    """The other side has not shown that it knows the password. `alert` is still to be sent: it says why."""

    def __init__(self, reason: str, alert: bytes) -> None:
        super().__init__(reason)
        self.is_wrong_password = reason in _WRONG_PASSWORD
        self.alert = alert


class Tls:
    """Bytes in, bytes out: TLS in memory, which knows no socket.

    OpenSSL must not be called twice at the same time for one connection, and a reader, a sender and a close are three
    threads. So everything goes through one lock, which is held only while memory is moved. Any thread.
    """

    def __init__(self, key: bytes, is_room: bool) -> None:
        self._lock = threading.Lock()
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = _tls_context(key, is_room).wrap_bio(self._incoming, self._outgoing, server_side=is_room)

    def shake_hands(self, received: bytes | memoryview) -> tuple[bool, bytes]:
        """One step: whether it is done, and what is to be sent. Raises HandshakeError."""
        with self._lock:
            self._incoming.write(received)
            try:
                self._object.do_handshake()
                if not self._object.session_reused:  # a certificate is not what we asked for
                    raise HandshakeError("no pre-shared key was used", b"")
            except ssl.SSLWantReadError:
                return False, self._outgoing.read()
            except ssl.SSLError as error:
                raise HandshakeError(error.reason or "", self._outgoing.read()) from None
            return True, self._outgoing.read()

    def encrypt(self, plain: bytes | memoryview) -> bytes:
        """All of it, as records. Raises ssl.SSLError once something was received that was not from the other side."""
        pieces = []
        with self._lock:
            for start in range(0, len(plain), TLS_PIECE):
                self._object.write(plain[start : start + TLS_PIECE])
                pieces.append(self._outgoing.read())
        return b"".join(pieces)

    def decrypt(self, received: bytes | memoryview) -> bytes:
        """All that can be read by now. Raises ConnectionLost where a record was changed on its way."""
        pieces = []
        with self._lock:
            self._incoming.write(received)
            try:
                while piece := self._object.read(TLS_RECORD):
                    pieces.append(piece)
                if not pieces:  # the other side has ended TLS; whatever it sends now would pile up unread
                    raise ConnectionLost
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                raise ConnectionLost from error
            if self._outgoing.pending > TLS_PIECE:  # it asks for new keys again and again, and reads no answer
                raise ConnectionLost
        return b"".join(pieces)


def _tls_context(key: bytes, is_room: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if is_room else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if sys.version_info >= (3, 13):
        if is_room:
            context.num_tickets = 0  # a client that closes early would lose data over them
            context.set_psk_server_callback(lambda identity: key if identity == _PSK_IDENTITY else b"")
        else:
            # verify_mode stays CERT_REQUIRED with no authority loaded: no certificate in the world is good enough.
            context.check_hostname = False
            context.set_psk_client_callback(lambda _hint: (_PSK_IDENTITY, key))
    return context


# --------------------------------------------------------------------------------------------------------- connection

# One socket is waited for at a time. A PollSelector has no descriptor of its own, and takes any number of a descriptor.
_OneSocketSelector: type[selectors.BaseSelector] = getattr(selectors, "PollSelector", selectors.SelectSelector)

Patience = Callable[[], float]  # how long to wait now, in s; or it raises, for the time is up


def _time_left(deadline: float, trouble: Trouble) -> float:
    """How long to wait now, in s. Raises ConnectionLost when the time is up."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise ConnectionLost(trouble)
    return min(TICK, left)


class Connection:
    """A socket that carries lines or a file, and its place in the room's history.

    A connection that carries a file belongs to one thread. Any other has two: a reader, the only one that receives, and
    a sender, the only one that writes once the connection has joined. Neither ever waits for the other. Whoever writes
    last closes: the sender if it has joined, else the reader. Any other thread may only `abort` it and, under its
    owner's lock, say where it ends. After `start_tls` no plain byte leaves.
    """

    def __init__(self, sock: socket.socket, longest_line: int, receive_size: int) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)  # a short line must not wait for the next one
        self.socket = sock
        self.address: str = sock.getpeername()[0]
        # Reader thread only:
        self._receive_size = receive_size
        self._lines = LineReader(longest_line)
        self._readable = _OneSocketSelector()
        self._readable.register(sock, selectors.EVENT_READ)
        self._buffer = memoryview(b"")  # for a file: new memory for each piece would take longer than to receive it
        self.heard_at = time.monotonic()
        # Sender thread only:
        self._unsent = b""
        # Guarded by the lock of the Server or Client that it belongs to:
        self.place = 0  # the number that it gets next
        self.own_lines: collections.deque[tuple[int, bytes]] = collections.deque()  # (when its place is here, line)
        self.end = MAX_INTEGER  # the place at which it ends
        self.end_at = math.inf  # monotonic s; when last words must have arrived
        self.finished = False  # nothing will be given to the sender any more
        # Any thread:
        self._tls: Tls | None = None  # begins before the connection joins, and never ends
        self.all_written = threading.Event()  # last words included; or it cannot be done
        self.sent_at = time.monotonic()
        self._open_lock = threading.Lock()  # so that nobody touches a descriptor that was closed, and is another's now

    # Reader thread.

    def next_line(self, wait: float) -> bytes | None:
        """The next line, if there is one within `wait` s, or None. Raises ProtocolError, ConnectionLost."""
        line = self._lines.next()
        if line is None and (data := self._receive_plain(wait, self._receive_size)):
            self._lines.feed(data)
            line = self._lines.next()
        return line

    def first_line(self, patience: Patience) -> bytes:
        """The next line. Raises ProtocolError, ConnectionLost."""
        while (line := self.next_line(patience())) is None:
            pass
        return line

    def next_lines(self, wait: float) -> Iterator[bytes]:
        """The next line, as from `next_line`, and those that came together with it; none after its last words."""
        line = self.next_line(wait)
        while line is not None:
            yield line
            line = None if self.ending else self._lines.next()

    def next_bytes(self, most: int, patience: Patience) -> bytes | memoryview:
        """Raw bytes, at least one; they are there until the next call. Raises ConnectionLost."""
        if not self._buffer:
            self._buffer = memoryview(bytearray(MAX_PIECE))
        data: bytes | memoryview = self._lines.take_all()
        while not data:
            data = self._receive_plain(patience(), most)
        if len(data) > most:
            self._lines.feed(data[most:])
        return data[:most]

    def _receive_plain(self, wait: float, most: int) -> bytes | memoryview:
        data = self._receive(wait, most)
        return self._tls.decrypt(data) if data and self._tls is not None else data

    def _receive(self, wait: float, most: int) -> bytes | memoryview:
        """What has come within `wait` s, or nothing. Raises ConnectionLost."""
        try:
            try:
                data = self._take(most)
            except BlockingIOError:
                if not self._readable.select(max(0.0, wait)):
                    return b""
                data = self._take(most)
        except BlockingIOError:  # readable, and then it was not: allowed
            return b""
        except OSError as error:
            raise ConnectionLost from error
        if not data:
            raise ConnectionLost
        self.heard_at = time.monotonic()
        return data

    def _take(self, most: int) -> bytes | memoryview:
        if not self._buffer:
            return self.socket.recv(most)
        return self._buffer[: self.socket.recv_into(self._buffer, most)]

    def start_tls(self, tls: Tls, patience: Patience) -> None:
        """From here on everything is encrypted. Raises HandshakeError, ConnectionLost."""
        received: bytes | memoryview = self._lines.take_all()  # what came after the hello line is TLS already
        try:
            while True:
                done, answer = tls.shake_hands(received)
                self._send_first(answer)
                if done:
                    break
                while not (received := self._receive(patience(), self._receive_size)):
                    pass
        except HandshakeError as error:
            with contextlib.suppress(ConnectionLost):
                self._send_first(error.alert)
            raise
        self._tls = tls
        self._lines.feed(tls.decrypt(b""))

    def keep_time(self) -> bool:
        """Whether it is time for a ping. Raises ConnectionLost when nothing was received for too long."""
        now = time.monotonic()
        if now - self.heard_at > SILENCE:
            raise ConnectionLost(Trouble.SILENT)
        if now - self.sent_at < PING_AFTER:
            return False
        self.sent_at = now  # one ping is enough, even if it cannot go out yet
        return True

    def moving(self) -> float:
        """A file's connection: how long to wait now, in s. Raises ConnectionLost when nothing moves any more."""
        return _time_left(max(self.heard_at, self.sent_at) + SILENCE, Trouble.SILENT)

    def keep_buffer_small(self) -> None:
        """A file's connection, before its bytes go out.

        What has gone into a small buffer is nearly there: the progress is true. Nor is it slower than the megabytes
        that a system may give otherwise: see tests/bench/files.py.
        """
        with contextlib.suppress(OSError):  # macOS, where it is gone already: the next use will tell
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_PIECE)

    def send_bytes(self, data: bytes | memoryview, patience: Patience) -> None:
        """A file's connection: writes all of it, as fast as the other side takes it. Raises ConnectionLost."""
        try:
            rest = memoryview(data if self._tls is None else self._tls.encrypt(data))
            while rest:
                try:
                    rest = rest[self.socket.send(rest) :]
                    self.sent_at = time.monotonic()
                except BlockingIOError:
                    with _OneSocketSelector() as writable:
                        writable.register(self.socket, selectors.EVENT_WRITE)
                        writable.select(patience())
        except OSError as error:  # OpenSSL's errors among them
            raise ConnectionLost from error

    def send_first(self, message: Message) -> None:
        """Writes before the sender knows this connection. These lines are short and the buffer is empty: no wait.

        Raises ConnectionLost.
        """
        self._send_first(encode(message), self._tls)

    def _send_first(self, data: bytes, tls: Tls | None = None) -> None:
        try:
            self.socket.sendall(data if tls is None else tls.encrypt(data))
        except OSError as error:
            raise ConnectionLost from error

    def finish_first(self, message: Message | None) -> None:
        """Last words on a connection that has not joined. Raises ConnectionLost."""
        if message is not None:
            self.send_first(message)
        self.write(b"")
        self.end_at = time.monotonic() + LAST_WORDS
        self.linger()

    def linger(self) -> None:
        """Until `end_at`: reads and drops (to close with unread bytes would reset it), and lets the sender finish."""
        with contextlib.suppress(ConnectionLost):
            while (left := self.end_at - time.monotonic()) > 0:
                self._receive(min(TICK, left), self._receive_size)
        self.all_written.wait(max(0.0, self.end_at - time.monotonic()))

    @property
    def ending(self) -> bool:
        """Whether its last words are spoken, or waiting to be."""
        return self.end_at < math.inf

    # Sender thread.

    @property
    def busy(self) -> bool:
        """Whether a piece is unfinished."""
        return bool(self._unsent)

    def write(self, piece: bytes) -> bool:
        """Begins a piece (an empty one ends the writing); False if it could not all be written yet."""
        if not piece:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)
            self.all_written.set()
            return True
        try:
            self._unsent = piece if self._tls is None else self._tls.encrypt(piece)
        except ssl.SSLError:  # the reader has met something that was not from the other side
            self._give_up()
        return self.flush()

    def flush(self) -> bool:
        """Goes on with the unfinished piece; False if there is still something left of it."""
        try:
            while self._unsent:
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
        except BlockingIOError:
            return False
        except OSError:
            self._give_up()
        self.sent_at = time.monotonic()
        return True

    def _give_up(self) -> None:
        """It cannot be written to any more; its reader notices, and ends it."""
        self._unsent = b""
        self.all_written.set()
        self.abort()

    # Any thread.

    def abort(self) -> None:
        """Ends it at once; its reader wakes up."""
        with self._open_lock, contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Gives the descriptor back. Only its last user: the sender if it has joined, else the reader."""
        with self._open_lock:
            self._readable.close()
            self.socket.close()


class WakeUp:
    """A selector that any thread can make return: with a socketpair, and hardly ever more than a byte on its way."""

    def __init__(self) -> None:
        with contextlib.ExitStack() as undo:
            self.selector = undo.enter_context(selectors.DefaultSelector())  # the waiting thread's
            self.receiver, self._sender = socket.socketpair()
            undo.pop_all()
        self.receiver.setblocking(False)
        self._sender.setblocking(False)
        self.selector.register(self.receiver, selectors.EVENT_READ)
        self._is_set = False
        self._open_lock = threading.Lock()

    def set(self) -> None:
        """Any thread, also after close."""
        if self._is_set:
            return
        self._is_set = True
        with self._open_lock, contextlib.suppress(OSError):
            self._sender.send(b"!")

    def clear(self) -> None:
        """The waiting thread, before it looks for work."""
        with contextlib.suppress(BlockingIOError):
            self.receiver.recv(64)
        self._is_set = False  # only now: a `set` between the two is seen as work, the other way round it would be lost

    def close(self) -> None:
        """The waiting thread, at its end."""
        with self._open_lock:
            self.selector.close()
            self.receiver.close()
            self._sender.close()


def _start_thread(run: Callable[[], None], name: str) -> threading.Thread:
    """Raises OSError where the system has no thread left."""
    thread = threading.Thread(target=run, name=name)
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, "This computer cannot start another thread.") from error
    return thread


# ------------------------------------------------------------------------------------------------------------- sender

Due = list[tuple[Connection, bytes]]  # a piece for each connection that has none; an empty piece ends the writing


class Sender:
    """The one thread that writes to joined connections, and closes them in the end. It never waits for any of them.

    `due` is asked, on that thread, what there is to write now. A connection that cannot take more is watched until it
    can, and costs nothing meanwhile. To make one raises OSError where the system has no descriptor or thread left.
    """

    def __init__(self, name: str, due: Callable[[], Due]) -> None:
        self._due = due
        self._released: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        self._stopping = False
        with contextlib.ExitStack() as undo:
            self._wake_up = undo.enter_context(contextlib.closing(WakeUp()))
            self._thread = _start_thread(self._run, name)
            undo.pop_all()

    def wake(self) -> None:
        """Any thread: there may be something due."""
        self._wake_up.set()

    def release(self, connection: Connection) -> None:
        """The connection's reader, as its last act: nothing more is due to it, close it."""
        self._released.put(connection)
        self.wake()

    def stop(self) -> None:
        """Any thread, when all connections are released; returns when all is closed."""
        self._stopping = True
        self.wake()
        self._thread.join()

    def _run(self) -> None:
        busy = False
        selector = self._wake_up.selector
        while not self._stopping:
            for key, _ in selector.select(0 if busy else None):
                if key.data is None:
                    self._wake_up.clear()
                elif key.data.flush():
                    selector.unregister(key.fileobj)
            self._close_released()
            busy = self._write_what_is_due()
        self._close_released()
        self._wake_up.close()

    def _write_what_is_due(self) -> bool:
        """Whether there was anything.

        After short pieces it rests for as long as they took to write, so that more comes together: Nagle's idea
        (RFC 896) for a whole room. Otherwise, when 900 people come at once, it would tell 900 people of each.
        """
        begun = time.perf_counter()
        due = self._due()
        for connection, piece in due:
            if not connection.write(piece):
                self._wake_up.selector.register(connection.socket, selectors.EVENT_WRITE, connection)
        if sum(len(piece) for _, piece in due) < SHORT_PIECE * len(due):
            time.sleep(min(time.perf_counter() - begun, MAX_REST))
        return bool(due)

    def _close_released(self) -> None:
        while not self._released.empty():
            connection = self._released.get()
            if connection.busy:
                self._wake_up.selector.unregister(connection.socket)
            connection.close()


def take_own_lines(connection: Connection) -> bytes:
    """What is for this person alone and may go now, joined. The lock of the connection's owner is held."""
    lines = []
    while connection.own_lines and connection.own_lines[0][0] <= connection.place:
        lines.append(connection.own_lines.popleft()[1])
    return b"".join(lines)


# ------------------------------------------------------------------------------------------------------------- server


class History:
    """The newest events of a room, numbered from 1, encoded. Every method requires the room lock.

    It keeps a quarter more than it promises: who begins at the oldest event that is promised has time to read it
    before it is gone, while the others talk on.
    """

    def __init__(self, most_events: int) -> None:
        self._most_promised = most_events
        self._most_kept = most_events * 5 // 4
        self._lines: dict[int, bytes] = {}
        self._size = 0  # bytes
        self.oldest = 1  # the number of the oldest that is kept
        self.next = 1  # the number that the next event gets

    def append(self, line: bytes) -> None:
        self._lines[self.next] = line
        self._size += len(line)
        self.next += 1
        while len(self._lines) > self._most_kept or self._size > KEPT_BYTES:
            self._size -= len(self._lines.pop(self.oldest))
            self.oldest += 1

    def get(self, number: int) -> bytes | None:
        return self._lines.get(number)

    def replace(self, number: int, line: bytes) -> None:
        """Whoever has not got that event yet gets this one. It is still kept."""
        self._size += len(line) - len(self._lines[number])
        self._lines[number] = line

    def promised(self) -> int:
        """The number of the oldest event that somebody who comes now gets."""
        return max(self.oldest, self.next - self._most_promised)

    def piece(self, start: int, end: int) -> tuple[bytes, int]:
        """The events from `start` up to, without, `end`, as many as make one piece; and the number after them."""
        lines = [self._lines[start]]
        size = len(lines[0])
        for number in range(start + 1, end):
            line = self._lines[number]
            size += len(line)
            if size > MAX_PIECE:
                break
            lines.append(line)
        return b"".join(lines), start + len(lines)


@dataclass(eq=False)
class Person:
    """Somebody the room knows: in the list of people, or gone and remembered. Guarded by the room lock."""

    who: int
    token: str = dataclasses.field(repr=False)
    name: str
    address: str = ""  # of the newest connection
    present: bool = False  # in the list; also for a while without a connection
    connection: Connection | None = None  # the only one that may speak for this person
    carriers: set[Connection] = dataclasses.field(default_factory=set)  # of files
    visits: int = 0  # connections so far
    last_id: int = 0  # the highest id that was answered
    allowance_at: float = 0.0  # monotonic s; when the brake's allowance is whole again

    @property
    def is_lost(self) -> bool:
        """In the list, without a connection: perhaps about to come back."""
        return self.present and self.connection is None


class Ban:
    """Whom the host has muted, or removed. Every method requires the room lock.

    A token lasts as long as a run of the program, so the address counts as well: but for loopback's, where it is
    everybody's. What is known of somebody grows with each visit.
    """

    def __init__(self) -> None:
        self.people: dict[int, set[str]] = {}  # who -> token and addresses

    def add(self, person: Person) -> None:
        self.people.setdefault(person.who, set()).update(_marks(person.token, person.address))

    def lift(self, person: Person) -> None:
        """Whatever had banned this person."""
        marks = self.people.get(person.who, set()) | _marks(person.token, person.address)
        self.people = {who: others for who, others in self.people.items() if not others & marks}

    def covers(self, token: str, address: str) -> bool:
        if not self.people:  # hardly ever is anybody, and each message asks
            return False
        marks = _marks(token, address)
        for others in self.people.values():
            if others & marks:
                others |= marks
                return True
        return False


def _marks(token: str, address: str) -> set[str]:
    return {token} if _is_loopback(address) else {token, address}


_IN_THE_ROOM = _types(Say, Ping, Leave)
_TOKEN = re.compile("[0-9a-fA-F]{32}")
_REMOVED = "The host has removed you from this room."
_MUTED = ("muted", "The host has muted you.")
_PAUSED = ("paused", "The host has paused the room.")
_NO_CONTROLS = Controls((), ())
_PING = encode(Ping())


class Server:
    """A room. Made by `run_server`; `id`, `port` and `token` (the host's own) are for any thread to read.

    What the room knows is guarded by one lock, `_room_lock`, held for a few lines and never while anything is received
    or sent.
    """

    def __init__(
        self, title: str, host_name: str, host: str, port: int, password: str | None, rate: float | None,
        history: int, limit: int, max_file: int, max_store: int, events: Events | None,
    ) -> None:
        self.id = secrets.token_hex(16)
        self.token = secrets.token_hex(16)
        self.title = clean_name(title, MAX_TITLE)
        self.host_name = clean_name(host_name)
        if not self.title or not self.host_name:
            raise ValueError("a room needs a title and a name for its host")
        _check_numbers(port, rate, history, limit, max_file, max_store)
        _check_password(password)
        salt = None if password is None else secrets.token_hex(16)
        self._hello = Hello(PROTOCOL, tls=salt is not None, salt=salt)
        self._stretched = stretch(password, salt) if password and salt else b""
        self._events = events
        self._rate = rate
        self._limit = limit
        _raise_file_limit(limit + 2 * SPARE_CONNECTIONS)

        self._room_lock = threading.Lock()
        self._came_back = threading.Condition(self._room_lock)  # somebody did, or the room closes
        # Guarded by _room_lock:
        self._history = History(history)
        self._muted = Ban()
        self._removed = Ban()
        self._paused = False
        self._shared: dict[int, str] = {}  # number of the event -> file
        self._controls = _NO_CONTROLS  # as last told
        self._people: dict[str, Person] = {}  # token -> person; the longest gone first
        self._numbers = itertools.count(HOST + 1)
        self._connections: set[Connection] = set()  # the joined ones
        self._strangers: dict[Connection, None] = {}  # not joined yet; the oldest first
        self._readers: dict[threading.Thread, Connection] = {}
        self._joins: dict[str, collections.deque[float]] = {}  # address -> when it joined lately, monotonic s
        self._guesses: dict[str, tuple[int, float]] = {}  # address -> wrong passwords, when it may try again
        self._handshakes: collections.Counter[str] = collections.Counter()  # address -> how many are under way

        self._closing = threading.Event()
        self._open(host, port, Files(max_file, max_store))

    def _open(self, host: str, port: int, files: Files) -> None:
        """Takes what the room needs of the system: all of it, or nothing. Raises OSError."""
        with contextlib.ExitStack() as undo:
            self._files = undo.enter_context(contextlib.closing(files))
            self._listener = undo.enter_context(_listen(host, port))
            self.port: int = self._listener.getsockname()[1]
            self._sender = Sender(f"sender {self.port}", self._due)
            undo.callback(self._sender.stop)
            answerer = _Answerer(host, self.port, self._describe, self._events)
            self._answerer = undo.enter_context(contextlib.closing(answerer))
            self._wake_accept = undo.enter_context(contextlib.closing(WakeUp()))
            self._wake_accept.selector.register(self._listener, selectors.EVENT_READ)
            self._accept_thread = _start_thread(self._accept, f"accept {self.port}")
            undo.pop_all()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self, reason: str = "The host closed the room.") -> None:
        """Tells everybody, and returns when all is gone, within 2 s. Any thread but the room's own; also twice."""
        with self._room_lock:
            self._closing.set()
            for connection in self._connections:
                self._end(connection, Closed(reason), self._history.next)
            for connection in self._readers.values():
                if connection not in self._connections:
                    connection.abort()
            self._came_back.notify_all()
        self._files.stop()
        self._sender.wake()
        self._wake_accept.set()
        self._answerer.close()
        self._accept_thread.join()
        self._listener.close()
        self._join_readers(time.monotonic() + CLOSE_TIME)
        self._sender.stop()
        self._files.close()

    def _join_readers(self, deadline: float) -> None:
        with self._room_lock:
            readers = dict(self._readers)
        for reader in readers:
            reader.join(max(0.0, deadline - time.monotonic()))
        for reader, connection in readers.items():
            if reader.is_alive():
                connection.abort()
                reader.join()

    # The host's controls: any thread but the room's own. They are in this process, and never on the wire.

    def mute(self, who: int, on: bool) -> None:
        """Somebody may only read, whatever their program does; also after leaving, and under another name.

        Raises ValueError for the host, and for a number that nobody has.
        """
        with self._room_lock:
            person = self._find(who)
            if on:
                self._muted.add(person)
            else:
                self._muted.lift(person)
            self._tell_controls()
        self._sender.wake()

    def remove(self, who: int, on: bool) -> None:
        """Somebody is out, and stays out; or may come in again. Raises ValueError as `mute` does."""
        with self._room_lock:
            person = self._find(who)
            if on:
                self._removed.add(person)
                for other in list(self._people.values()):
                    if other.present and self._is_banned(self._removed, other):
                        self._throw_out(other)
            else:
                self._removed.lift(person)
            self._tell_controls()
        self._sender.wake()

    def pause(self, on: bool) -> None:
        """Only the host may write; or all may again."""
        with self._room_lock:
            if on != self._paused:
                self._paused = on
                self.broadcast(Paused(self._history.next, _now(), on))
        self._sender.wake()

    def take_back(self, number: int) -> None:
        """A message or a file is gone, from every window and for all who come later. Cannot be undone.

        Raises ValueError where that number is none of a message or a file.
        """
        with self._room_lock:
            if not 0 < number < self._history.next:
                raise ValueError(f"there is no event {number}")
            line = self._history.get(number)
            if line is not None:  # else only the windows still have it
                event = decode(line, FROM_ROOM)
                blank = _blank(event)
                if blank == event:
                    return
                self._history.replace(number, encode(blank))
            self.broadcast(TakenBack(self._history.next, _now(), number))
            file = self._shared.pop(number, None)
        if file is not None:
            self._files.take_back(file)
        self._sender.wake()

    def _find(self, who: int) -> Person:
        """Room lock. Raises ValueError."""
        for person in self._people.values():
            if person.who == who and who != HOST:
                return person
        raise ValueError(f"expected the number of somebody else than the host, not {who}")

    def _is_banned(self, ban: Ban, person: Person) -> bool:
        """Room lock."""
        return person.who != HOST and ban.covers(person.token, person.address)

    def _muted_people(self) -> tuple[int, ...]:
        """Room lock. The numbers of those in the list who may not write."""
        people = self._people.values() if self._muted.people else ()
        return tuple(person.who for person in people if person.present and self._is_banned(self._muted, person))

    def _throw_out(self, person: Person) -> None:
        """Room lock."""
        connection, person.connection = person.connection, None
        if connection is not None:
            self._end(connection, Closed(_REMOVED), self._history.next)
        for carrier in person.carriers:
            carrier.abort()
        self._take_from_list(person, "removed")
        self._came_back.notify_all()

    def _tell_controls(self) -> None:
        """Room lock. Tells those who are muted or unmuted by what has happened, and the host, if there is news."""
        muted, out = self._muted_people(), self._removed.people
        if not muted and not out and self._controls == _NO_CONTROLS:  # as nearly always: whoever comes asks
            return
        for person in self._people.values():
            if person.connection is not None and (person.who in muted) != (person.who in self._controls.muted):
                self._tell(person.connection, encode(Muted(person.who in muted)), self._history.next)
        removed = sorted((person.who, person.name) for person in self._people.values() if person.who in out)
        controls = Controls(muted, tuple(removed))
        if controls != self._controls:
            self._controls = controls
            if self._events is not None:
                self._events.put(controls)

    # Accept thread.

    def _accept(self) -> None:
        while not self._closing.is_set():
            self._wake_accept.selector.select()
            try:
                sock, _ = self._listener.accept()
            except (BlockingIOError, ConnectionError):  # it was gone again before it was accepted
                continue
            except OSError as error:  # out of descriptors: those who are in go on
                log.warning("cannot accept a connection: %s", error)
                self._closing.wait(OUT_OF_FILES)
                continue
            self._start_reader(sock)
        self._wake_accept.close()

    def _start_reader(self, sock: socket.socket) -> None:
        try:
            connection = Connection(sock, MAX_LINE_TO_ROOM, ROOM_RECEIVES)
        except OSError:  # it is gone already
            sock.close()
            return
        reader = threading.Thread(target=self.handle_client, args=[connection], name=f"reader {connection.address}")
        if not self._register(reader, connection):
            log.warning("too many connections: one from %s was closed", connection.address)
            connection.close()
            return
        try:
            reader.start()
        except RuntimeError as error:  # out of threads: those who are in go on
            log.warning("cannot start a reader: %s", error)
            with self._room_lock:
                del self._readers[reader], self._strangers[connection]
            connection.close()

    def _register(self, reader: threading.Thread, connection: Connection) -> bool:
        """Before the reader starts, so that a close that comes now finds it; False if there are too many already."""
        with self._room_lock:
            if self._closing.is_set() or len(self._readers) >= self._limit + SPARE_CONNECTIONS:
                return False
            self._readers[reader] = connection
            self._strangers[connection] = None
            if not _is_loopback(connection.address):
                rivals = [other for other in self._strangers if other.address == connection.address]
                for rival in rivals[:-MAX_STRANGERS]:
                    rival.abort()
        return True

    # Reader threads: a connection comes in.

    def handle_client(self, connection: Connection) -> None:
        """One reader thread's whole life: hello, join, what this person says, and the end of the connection.

        Or, where the first message is `upload` or `download`: hello, and a file.
        """
        person: Person | None = None
        try:
            first = self._greet(connection)
            if isinstance(first, Join):
                person = self._let_in(connection, first)
                threading.current_thread().name = f"reader {person.name}"
                self._listen_to(connection, person)
            else:
                self._carry_file(connection, first)
        except ProtocolError as error:
            log.info("refused %s: %s (%s)", connection.address, error, error.code)
            self._refuse(connection, person, Refused(error.code, str(error), error.seconds))
        except ConnectionLost as loss:
            log.info("lost %s: %s", connection.address, loss)
        except Exception:
            log.exception("the reader of %s failed", connection.address)
        finally:
            self._see_off(connection, person)

    def _greet(self, connection: Connection) -> Join | Upload | Download:
        """Exchanges the hello lines, in a room with a password begins TLS, and receives the first message."""
        patience = functools.partial(_time_left, time.monotonic() + FIRST_MESSAGE, Trouble.SILENT)
        line = connection.first_line(patience)
        hello = _expect(decode(line, TO_ROOM), Hello)
        if hello.protocol != PROTOCOL:
            raise ProtocolError(f"This room speaks protocol {PROTOCOL}, not {hello.protocol}.", "protocol")
        if self._hello.tls:
            if not hello.tls:
                raise ProtocolError("This room has a password, which needs Python 3.13 or newer.", "tls")
            self._begin_tls(connection, line, patience)
        else:
            connection.send_first(self._hello)
        first = decode(connection.first_line(patience), TO_ROOM)
        if not isinstance(first, (Join, Upload, Download)):
            raise ProtocolError("expected join, upload or download")
        return first

    def _begin_tls(self, connection: Connection, client_hello: bytes, patience: Patience) -> None:
        """Says hello, and goes on only with somebody who knows the password. Raises ProtocolError, ConnectionLost."""
        self._check_guesses(connection.address)
        try:
            connection.send_first(self._hello)
            key = session_key(self._stretched, client_hello, encode(self._hello).rstrip(b"\n"))
            connection.start_tls(Tls(key, is_room=True), patience)
            with self._room_lock:
                self._guesses.pop(connection.address, None)
            return
        except HandshakeError as error:
            log.info("%s did not get in: %s", connection.address, error)
            if error.is_wrong_password:
                self._count_guess(connection.address)
        finally:
            with self._room_lock:
                self._handshakes -= collections.Counter([connection.address])  # keeps no zeros
        connection.finish_first(None)
        raise ConnectionLost

    def _check_guesses(self, address: str) -> None:
        """Begins to count a handshake. Raises ProtocolError for an address that has guessed too often.

        While somebody lost may come back to that address, it is let try: they are in already.
        """
        with self._room_lock:
            times, again_at = self._guesses.get(address, (0, 0.0))
            seconds = _seconds_until(again_at)
            if times and self._handshakes[address] >= max(GUESSES_AT_ONCE, FREE_GUESSES - times):  # guesses, perhaps
                seconds = max(seconds, 1)
            if any(person.is_lost and person.address == address for person in self._people.values()):
                seconds = 0
            self._handshakes[address] += seconds <= 0
        if seconds > 0:
            raise ProtocolError(f"Too many wrong passwords from this computer; wait {seconds} s.", "wait", seconds)

    def _count_guess(self, address: str) -> None:
        with self._room_lock:
            times = self._guesses.get(address, (0, 0.0))[0] + 1
            wait = 0.0
            if times >= FREE_GUESSES:
                doublings = min(times - FREE_GUESSES, 10)
                wait = min(GUESS_WAITS[0] * 2.0**doublings, GUESS_WAITS[1])
            self._guesses[address] = (times, time.monotonic() + wait)
        if wait and self._events is not None:
            self._events.put(WrongPassword(address, times))

    def _let_in(self, connection: Connection, join: Join) -> Person:
        """The whole of joining, in one step under the room lock: a name, a `joined`, a place in the history."""
        if not _TOKEN.fullmatch(join.token):
            raise ProtocolError("a token is 32 hex digits")
        is_host = hmac.compare_digest(join.token, self.token)
        if is_host and not _is_loopback(connection.address):
            raise ProtocolError("The host joins from the room's own computer.", "unknown")
        with self._room_lock:
            if self._closing.is_set():
                raise ConnectionLost
            self._check_joins(connection.address)
            if not is_host and self._removed.covers(join.token, connection.address):
                raise ProtocolError(_REMOVED, "removed")
            person = self._people.get(join.token)
            if person is None or not person.present:
                person = self._add_to_list(join, person, is_host)
            old, person.connection = person.connection, None
            person.visits += 1
            person.address = connection.address
            self._tell_controls()  # the welcome tells this person
            person.connection = connection
            if old is not None:
                self._end(old, Closed("You have joined this room from somewhere else."), old.place)
            self._welcome(connection, join, person)
            del self._strangers[connection]
            self._connections.add(connection)
            self._came_back.notify_all()
        self._sender.wake()
        return person

    def _check_joins(self, address: str) -> None:
        """Room lock. An address may join so often in so much time. Raises ProtocolError."""
        if _is_loopback(address):
            return
        now = time.monotonic()
        joins = self._joins.setdefault(address, collections.deque())
        while joins and joins[0] <= now - JOINS_TIME:
            joins.popleft()
        if len(joins) >= JOINS:
            seconds = _seconds_until(joins[0] + JOINS_TIME)
            raise ProtocolError(f"This computer has joined too often; wait {seconds} s.", "wait", seconds)
        joins.append(now)

    def _add_to_list(self, join: Join, person: Person | None, is_host: bool) -> Person:
        """Room lock. Puts somebody new, or somebody who was gone, into the list. Raises ProtocolError."""
        if not is_host and sum(other.present for other in self._people.values()) >= self._limit:
            raise ProtocolError(f"The room is full: {self._limit:,} people are in.", "full")
        name = self.host_name if is_host else self._free_name(clean_name(join.name))
        if person is None:
            person = Person(HOST if is_host else next(self._numbers), join.token, name)
        person.name = name
        person.present = True
        self._people[join.token] = person
        if len(self._people) > MAX_REMEMBERED:
            kept = self._removed.people  # the host may want to let them in again
            gone = (other.token for other in self._people.values() if not other.present and other.who not in kept)
            self._people.pop(next(gone, ""), None)
        self.broadcast(Joined(self._history.next, _now(), person.who, name))
        return person

    def _free_name(self, name: str) -> str:
        """Room lock. The name, with a number if somebody has it already. Raises ProtocolError."""
        if not name:
            raise ProtocolError("A name needs at least one character that can be seen.")
        taken = {person.name.casefold() for person in self._people.values() if person.present}
        if not self._is_hosts(name):
            for number in range(1, MAX_NUMBER):
                ending = f" {number}" if number > 1 else ""
                free = name[: MAX_NAME - len(ending)].rstrip() + ending
                if free.casefold() not in taken and not self._is_hosts(free):
                    return free
        raise ProtocolError(f"{self.host_name} is the host's name. Please choose another one.")

    def _is_hosts(self, name: str) -> bool:
        """Whether it reads like the host's name: perhaps with a number, signs, or something in brackets."""
        like_the_hosts = rf"[\W_]*{re.escape(self.host_name.casefold())}[\W\d_]*(\(.*)?"
        return re.fullmatch(like_the_hosts, name.casefold()) is not None

    def _welcome(self, connection: Connection, join: Join, person: Person) -> None:
        """Room lock. The connection gets its place, and the message that says what comes from there."""
        after = join.after if join.room == self.id and join.after < self._history.next else 0
        connection.place = max(after + 1, self._history.promised())
        people = tuple(sorted((other.who, other.name) for other in self._people.values() if other.present))
        welcome = Welcome(
            room=self.id,
            title=self.title,
            who=person.who,
            name=person.name,
            host=HOST if people[0][0] == HOST else None,
            people=people,
            missed=connection.place - after - 1,
            history=self._history.next - connection.place,
            last_id=person.last_id,
            muted=self._is_banned(self._muted, person),
            paused=self._paused,
            max_file=self._files.max_file,
        )
        connection.own_lines.append((0, encode(welcome)))

    # Reader threads: a file comes or goes.

    def _carry_file(self, connection: Connection, first: Upload | Download) -> None:
        with self._room_lock:
            person = self._present(first.token, connection)
            # A second's worth may wait, and one more: each of them keeps a thread.
            if self._rate is not None and person.allowance_at > time.monotonic() + 1.0 + 1 / self._rate:
                raise ProtocolError("You ask for too many files at once.", "busy")
        self._brake(connection, person)  # until then it is a stranger, of whom there are only so many
        with self._room_lock:
            self._check_file(connection, first)
            del self._strangers[connection]
            person.carriers.add(connection)
        threading.current_thread().name = f"{_TYPE_NAMES[type(first)]} {person.name}"
        try:
            if isinstance(first, Download):
                self._files.send(connection, first)
            else:
                self._files.receive(connection, first, functools.partial(self._share, connection, first))
        finally:
            with self._room_lock:
                person.carriers.remove(connection)
        connection.finish_first(None)

    def _check_file(self, connection: Connection, first: Upload | Download) -> None:
        """Room lock. Raises ProtocolError for somebody who is not in the room, or may not share."""
        person = self._present(first.token, connection)
        if isinstance(first, Upload) and first.file not in self._shared.values():  # else it only asks for `stored`
            self._check_may_write(person)

    def _present(self, token: str, connection: Connection) -> Person:
        """Room lock. Whose token this is. Raises ProtocolError for somebody who is not in the room."""
        person = self._people.get(token)
        if person is None or not person.present or (person.who == HOST and not _is_loopback(connection.address)):
            raise ProtocolError("Only people who are in the room share and save its files.", "unknown")
        return person

    def _check_may_write(self, person: Person) -> None:
        """Room lock. Raises ProtocolError for somebody who may not write or share."""
        problem = self._silenced(person)
        if problem is not None:
            raise ProtocolError(problem[1], problem[0])

    def _silenced(self, person: Person) -> tuple[str, str] | None:
        """Room lock. Why somebody may not write, as (code, reason)."""
        if self._paused and person.who != HOST:
            return _PAUSED
        return _MUTED if self._is_banned(self._muted, person) else None

    def _share(self, connection: Connection, upload: Upload, filename: str, sha256: str) -> None:
        """All of it is here: everybody is told. Raises ProtocolError if that is not allowed any more."""
        with self._room_lock:
            person = self._present(upload.token, connection)
            self._check_may_write(person)
            number = self._history.next
            self._shared[number] = upload.file
            self.broadcast(Shared(number, _now(), person.who, person.name, upload.file, filename, upload.size, sha256))
        self._sender.wake()

    # Reader threads: somebody is in.

    def _listen_to(self, connection: Connection, person: Person) -> None:
        while not connection.ending:
            line = None
            for line in connection.next_lines(TICK):
                message = decode(line, _IN_THE_ROOM)
                if isinstance(message, Unknown):
                    raise ProtocolError("expected say, ping or leave")
                if isinstance(message, Say):
                    self._say(connection, person, message)
                elif isinstance(message, Leave):
                    self._leave(connection, person)
                if self._brake(connection, person):
                    self._keep_time(connection)
            if line is not None:
                self._sender.wake()  # once for all the lines that came together
            self._keep_time(connection)
        connection.linger()

    def _keep_time(self, connection: Connection) -> None:
        if connection.keep_time():
            with self._room_lock:
                self._tell(connection, _PING, 0)
            self._sender.wake()

    def _say(self, connection: Connection, person: Person, say: Say) -> None:
        text = clean_text(say.text)
        problem = text_problem(text)
        with self._room_lock:
            if person.connection is not connection or say.id <= person.last_id:
                return
            person.last_id = say.id
            problem = self._silenced(person) or problem
            if problem is None:
                self.broadcast(Said(self._history.next, _now(), person.who, person.name, say.id, text))
            else:
                self._tell(connection, encode(Rejected(say.id, *problem)), self._history.next)

    def broadcast(self, event: Numbered) -> None:
        """Room lock. To everyone in the room, now and later: appends to the history. Wake the sender afterwards."""
        assert self._room_lock.locked()
        assert event.number == self._history.next
        self._history.append(encode(event))

    def _tell(self, connection: Connection, line: bytes, place: int) -> None:
        """Room lock. To one person alone, once all that comes before `place` is written."""
        if len(connection.own_lines) < MAX_OWN_LINES:
            connection.own_lines.append((place, line))
        else:  # it writes, but does not read: its client comes back, and `last_id` tells it all
            connection.abort()

    def _brake(self, connection: Connection, person: Person) -> bool:
        """Who writes faster than the rate is read more slowly, not cut off. A second's worth at once is free.

        Whether that took time.
        """
        if self._rate is None:
            return False
        now = time.monotonic()
        with self._room_lock:
            person.allowance_at = max(person.allowance_at, now - 1.0) + 1 / self._rate
            wait = person.allowance_at - now
        if wait > 0:
            self._sender.wake()
            self._closing.wait(wait)
            connection.heard_at = time.monotonic()  # it was not silent: nobody listened
        return wait > 0

    def _leave(self, connection: Connection, person: Person) -> None:
        with self._room_lock:
            if person.connection is connection:
                person.connection = None
                self._take_from_list(person, "left")
                self._end(connection, None, self._history.next)
        self._sender.wake()

    def _take_from_list(self, person: Person, reason: str) -> None:
        """Room lock. From now on the person is remembered, as the one who is gone for the shortest time."""
        person.present = False
        self._tell_controls()
        self._people[person.token] = self._people.pop(person.token)
        self.broadcast(Left(self._history.next, _now(), person.who, person.name, reason))

    # Reader threads: a connection comes to its end.

    def _end(self, connection: Connection, last_words: Message | None, place: int) -> None:
        """Room lock. Events from `place` on are not for this connection; after those before come its last words."""
        if connection.ending:
            return
        connection.own_lines = collections.deque(line for line in connection.own_lines if line[0] <= place)
        if last_words is not None:
            connection.own_lines.append((place, encode(last_words)))
        connection.end = place
        connection.end_at = time.monotonic() + LAST_WORDS

    def _refuse(self, connection: Connection, person: Person | None, refused: Refused) -> None:
        if person is None:
            with contextlib.suppress(ConnectionLost):
                connection.finish_first(refused)
            return
        with self._room_lock:
            self._end(connection, refused, self._history.next)
        self._sender.wake()
        connection.linger()

    def _see_off(self, connection: Connection, person: Person | None) -> None:
        """The reader's last act for its connection; it stays for a while to see whether a lost person comes back."""
        with self._room_lock:
            self._strangers.pop(connection, None)
            self._connections.discard(connection)
        if person is None:
            connection.close()
        else:
            self._sender.release(connection)
            self._await_return(connection, person)
        with self._room_lock:
            del self._readers[threading.current_thread()]

    def _await_return(self, connection: Connection, person: Person) -> None:
        with self._room_lock:
            if person.connection is not connection:  # it left, or is here by another connection
                return
            person.connection = None
            visits = person.visits

            def is_settled() -> bool:
                return person.visits > visits or not person.present or self._closing.is_set()

            if not self._came_back.wait_for(is_settled, BACK_WITHIN):
                self._take_from_list(person, "lost")
        self._sender.wake()

    # Sender thread.

    def _due(self) -> Due:
        """What each connection gets next, planned in one pass; a piece is joined once for all at the same place."""
        due: Due = []
        fallen_out = []
        pieces: dict[tuple[int, int], tuple[bytes, int]] = {}
        with self._room_lock:
            oldest, end = self._history.oldest, self._history.next
            for connection in self._connections:
                if connection.place < oldest:
                    fallen_out.append(connection)
                    continue
                if connection.busy or connection.finished:
                    continue
                goal = min(end, connection.end)
                if connection.own_lines:
                    if lines := take_own_lines(connection):
                        due.append((connection, lines))
                        continue
                    goal = min(goal, connection.own_lines[0][0])
                if connection.place < goal:
                    key = (connection.place, goal)
                    if key not in pieces:
                        pieces[key] = self._history.piece(connection.place, goal)
                    piece, connection.place = pieces[key]
                    due.append((connection, piece))
                elif connection.place >= connection.end:
                    connection.finished = True
                    due.append((connection, b""))
        for connection in fallen_out:
            connection.abort()  # its client comes back, and is told how many it missed
        return due

    # Finder thread.

    def _describe(self) -> Room:
        """What everybody on the network may know."""
        with self._room_lock:
            people = sum(person.present for person in self._people.values())
        return Room(PROTOCOL, self.id, self.title, self.port, people, password=self._hello.tls)


def _blank(event: Message | Unknown) -> Said | Shared:
    """What stays of a message or a file that is taken back. Raises ValueError for other events."""
    if isinstance(event, Said):
        return dataclasses.replace(event, text="", taken_back=True)
    if isinstance(event, Shared):
        return dataclasses.replace(event, filename="", size=0, sha256="", taken_back=True)
    raise ValueError(f"{event} is no message and no file")


def _check_numbers(port: int, rate: float | None, history: int, limit: int, max_file: int, max_store: int) -> None:
    """Raises ValueError."""
    if not 0 <= port < 65536:
        raise ValueError(f"expected a port from 0 to 65535, not {port}")
    if history < 1 or not 1 <= limit <= MAX_PEOPLE or (rate is not None and rate <= 0):
        raise ValueError(f"history, limit and rate are above 0, and limit is at most {MAX_PEOPLE:,}")
    if not 0 <= max_file <= MAX_INTEGER or max_store < 0:
        raise ValueError("max_file and max_store are numbers of bytes")


def _is_loopback(address: str) -> bool:
    return address.startswith("127.")


def _seconds_until(moment: float) -> int:
    """Whole seconds, never too few; a millionth too many is none."""
    return math.ceil(round(moment - time.monotonic(), 6))


def _now() -> float:
    return time.time_ns() // 1_000_000 / 1000


def _raise_file_limit(files: int) -> None:
    """A connection is an open file, and many systems allow only 256 or 1,024 of them unless asked for more."""
    if sys.platform != "win32":
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = files if hard == resource.RLIM_INFINITY else min(files, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            except (OSError, ValueError) as error:
                log.warning("only %s files may be open: %s", soft, error)


_TAKEN = {errno.EADDRINUSE, errno.EACCES}  # EACCES: in a range that Windows has reserved (10013)


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket on `port` or, among those for rooms, on the next that is free. Raises OSError."""
    ports = range(port, PORTS.stop if port in PORTS else port + 1)
    for candidate in ports:
        try:
            return _listen_at(host, candidate, patient=candidate == port)
        except OSError as error:
            if error.errno not in _TAKEN or port not in PORTS:
                raise
            log.info("port %s is taken: %s", candidate, error)
    raise OSError(errno.EADDRINUSE, f"the ports {ports[0]} to {ports[-1]} are all taken")


def _listen_at(host: str, port: int, patient: bool) -> socket.socket:
    """One port. A room that crashed may hold it for a moment; nobody answers there then, and it is worth waiting."""
    give_up_at = time.monotonic() + SAME_PORT_TIME
    answered = False
    while True:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            # On Windows SO_REUSEADDR would let two rooms share a port; elsewhere it only forgives finished connections.
            exclusive = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)
            listener.setsockopt(socket.SOL_SOCKET, exclusive, 1)
            listener.bind((host, port))
            listener.listen(BACKLOG)
            listener.setblocking(False)
            return listener
        except OSError as error:
            listener.close()
            if error.errno != errno.EADDRINUSE or not patient or time.monotonic() > give_up_at:
                raise
            answered_before, answered = answered, _answers(host, port)
            if answered_before and answered:  # once is not enough: a program that was killed may answer a last time
                raise
        time.sleep(0.1)


def _answers(host: str, port: int) -> bool:
    """Whether there is somebody at home (or, no answer within a second, perhaps is)."""
    try:
        socket.create_connection((host or "127.0.0.1", port), timeout=1.0).close()
    except ConnectionError:
        return False
    except OSError:
        pass
    return True


# ------------------------------------------------------------------------------------------------------------- client

_NOT_SENT = ("unsent", "This was not sent.")
_NO_ANSWER = ("unanswered", "The connection ended before the room answered. Perhaps the others have this.")
_ANSWER_LOST = ("unknown", "The room did not take this. Why was lost with the connection.")

_IN_PROGRESS = {errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN}
_TROUBLES = {
    errno.ECONNREFUSED: Trouble.NOBODY_LISTENS,
    errno.ECONNRESET: Trouble.NOBODY_LISTENS,
    errno.ENETUNREACH: Trouble.NO_NETWORK,
    errno.ENETDOWN: Trouble.NO_NETWORK,
    errno.EHOSTUNREACH: Trouble.NO_ROUTE,  # also macOS, where this program may not use the local network
    errno.EHOSTDOWN: Trouble.NO_ROUTE,
}  # all others, ETIMEDOUT above all: no answer


_TRY_LATER = {"full": Trouble.FULL, "wait": Trouble.WAIT}
_LEAVE = encode(Leave())
_WRONG = ("wrong", "That is not the room's password.")
_NOT_PROVEN = ("unproven", "That room could not show that it knows the password.")


class _Over(Exception):
    """The room has ended it for good."""

    def __init__(self, event: Refused | Closed) -> None:
        super().__init__(event)
        self.event = event


PatienceUntil = Callable[[float, Trouble], float]  # the same as `Patience`, for what has this deadline


def _read(line: bytes, types: Types) -> Message | Unknown:
    """Raises ProtocolError; and, where the room says no, ConnectionLost if that may change, else _Over."""
    message = decode(line, types)
    if isinstance(message, Refused) and message.code in _TRY_LATER:
        raise ConnectionLost(_TRY_LATER[message.code], message.seconds or 0)
    if isinstance(message, (Refused, Closed)):
        raise _Over(message)
    return message


class _Door:
    """The way to a room, as far as the first message: look-up, connection, hello lines, TLS. Any thread."""

    def __init__(self, address: str, port: int, password: str | None) -> None:
        self._address, self._port = address, port
        self.password = password
        self._stretched: tuple[str, bytes] = ("", b"")  # a room's salt, and the password stretched with it

    def connect(self, patience: PatienceUntil) -> Connection:
        """Raises ConnectionLost, OSError."""
        where = (self._look_up(patience), self._port)
        deadline = time.monotonic() + CONNECT_TIME
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            error = sock.connect_ex(where)
            if error in _IN_PROGRESS:
                with _OneSocketSelector() as selector:
                    selector.register(sock, selectors.EVENT_WRITE)
                    while not selector.select(patience(deadline, Trouble.NO_ANSWER)):
                        pass
                error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise ConnectionLost(_TROUBLES.get(error, Trouble.NO_ANSWER))
            if sock.getsockname() == sock.getpeername():  # TCP can meet itself, on a port of the system's own choice
                raise ConnectionLost(Trouble.NOBODY_LISTENS)
            return Connection(sock, MAX_LINE_FROM_ROOM, CLIENT_RECEIVES)
        except BaseException:
            sock.close()
            raise

    def _look_up(self, patience: PatienceUntil) -> str:
        """The address as four numbers. Raises ConnectionLost."""
        with contextlib.suppress(ValueError):
            return str(ipaddress.IPv4Address(self._address))
        answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        name = f"name look-up {self._address}"
        try:
            threading.Thread(target=_look_up_name, args=[self._address, answers], name=name, daemon=True).start()
        except RuntimeError as error:  # out of threads
            raise ConnectionLost(Trouble.UNKNOWN_NAME) from error
        deadline = time.monotonic() + LOOK_UP_TIME
        while True:
            with contextlib.suppress(queue.Empty):
                answer = answers.get(timeout=patience(deadline, Trouble.UNKNOWN_NAME))
                if answer is None:
                    raise ConnectionLost(Trouble.UNKNOWN_NAME)
                return answer

    def greet(self, connection: Connection, patience: Patience) -> None:
        """Exchanges the hello lines, begins TLS where there is a password.

        Raises ConnectionLost, ProtocolError, _Over.
        """
        mine = Hello(PROTOCOL, tls=CAN_ENCRYPT)
        connection.send_first(mine)
        line = connection.first_line(patience)
        hello = _expect(_read(line, FROM_ROOM), Hello)
        self._check_hello(hello)
        if self.password is None or hello.salt is None:
            return
        stretched = self._stretched
        if stretched[0] != hello.salt:
            stretched = self._stretched = (hello.salt, stretch(self.password, hello.salt))
        key = session_key(stretched[1], encode(mine).rstrip(b"\n"), line)
        try:
            connection.start_tls(Tls(key, is_room=False), patience)
        except HandshakeError as error:
            raise _Over(Refused(*(_WRONG if error.is_wrong_password else _NOT_PROVEN))) from None

    def _check_hello(self, hello: Hello) -> None:
        """Raises _Over where this client and that room do not fit, ProtocolError."""
        if hello.protocol != PROTOCOL:
            raise _Over(Refused("protocol", f"That room speaks protocol {hello.protocol}, this program {PROTOCOL}."))
        if self.password is not None and not hello.tls:
            raise _Over(Refused("open", "This room has no password. Leave the box empty to join it."))
        if hello.tls and not CAN_ENCRYPT:
            raise _Over(Refused("tls", "This room has a password, which needs Python 3.13 or newer."))
        if hello.tls and self.password is None:
            raise _Over(Refused("password", "This room has a password."))
        if hello.tls and not _TOKEN.fullmatch(hello.salt or ""):
            raise ProtocolError("a salt is 32 hex digits")


def _look_up_name(name: str, answers: queue.SimpleQueue[str | None]) -> None:
    """Name look-up thread: puts the first address, or None."""
    try:
        answers.put(str(socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]))
    except (OSError, UnicodeError):
        answers.put(None)


_Awaited = TypeVar("_Awaited")


class Client:
    """One person's way into a room, and back into it after each break. Made by `run_client`.

    `say`, `share`, `save`, `cancel` and `close` are for any thread, and return at once; what happens comes in `events`.
    """

    def __init__(
        self, address: str, port: int, name: str, token: str, password: str | None, events: Events
    ) -> None:
        _check_password(password)
        self.address, self.port = address, port
        self.door = _Door(address, port, password)
        self._name = clean_name(name)
        self.token = token
        self.events = events

        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)  # in or out of the room, or something about a transfer
        # Guarded by _lock:
        self._next_id = time.time_ns() // 1_000_000  # above the ids of an earlier client with this token
        self._pending: dict[int, bytes] = {}  # id -> line; said, not answered; whether there are any, all may ask
        self._unsent: collections.deque[int] = collections.deque()  # of these, what this connection has not had
        self._sent_up_to = 0  # the highest id that any connection has had
        self._connection: Connection | None = None  # once it has joined
        self._caught_up = False  # this connection may have what is pending
        self._is_over = False
        self._room: Welcome | None = None  # that it is in now
        self._transfers: dict[int, _Transfer] = {}
        self._transfer_numbers = itertools.count(1)

        # Reader thread only:
        self._failures = 1  # attempts without success; the first one, ever, has no free second try
        self._free_try_at = 0.0  # monotonic s; not before then is there another, for a room that keeps dropping us
        self._welcome: Welcome | None = None  # the newest
        self._who = 0  # one's own number
        self._last = 0  # number of the newest event
        self._catch_up_to = 0  # number of the newest event at the time of the welcome
        self._missed = 0  # events that were no longer kept, since all that could be had was in; perhaps by two welcomes
        self._host_name: str | None = None
        self._home = ("", "")  # title and host's name of the room that the pending lines are for
        self._moved = False  # this room has another id than that one

        # Written by close, read by any thread:
        self._closing = threading.Event()
        self._deadline = math.inf  # monotonic s; when a close stops being polite
        self._sender = Sender("client sender", self._due)
        try:
            self._reader = _start_thread(self.receive_messages, "client reader")
        except OSError:
            self._sender.stop()
            raise

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def say(self, text: str) -> None:
        """To everybody. `Sending` comes at once; `Said`, `Rejected` or `Settled` with the same id is the answer."""
        text = clean_text(text)
        problem = text_problem(text)
        with self._lock:
            number = self._next_id
            self._next_id += 1
            self.events.put(Sending(number, text))
            if self._is_over or self._closing.is_set():
                problem = _NOT_SENT
            if problem is None:
                self._pending[number] = encode(Say(number, text))
                self._unsent.append(number)
            else:
                self.events.put(Rejected(number, *problem))
        self._sender.wake()

    def share(self, path: str) -> None:
        """Gives a file to everybody. `Progress` comes at once; `Uploaded` or `Failed` with its number is the end."""
        with self._lock:
            self._start(_Sharing(self, next(self._transfer_numbers), path))

    def save(self, file: Shared, to: str) -> None:
        """Fetches a file, and replaces what is at `to`. `Progress` comes at once; `Saved` or `Failed` is the end."""
        with self._lock:
            self._start(_Saving(self, next(self._transfer_numbers), file, to))

    def cancel(self, transfer: int) -> None:
        """Ends a transfer; `Failed` with the code "cancelled" comes, unless it has ended already."""
        with self._lock:
            if transfer in self._transfers:
                self._transfers[transfer].cancel()
                self._changed.notify_all()

    def close(self) -> None:
        """Leaves. What was said before is still delivered if that can be done; all is gone within 2 s."""
        self._deadline = min(self._deadline, time.monotonic() + CLOSE_TIME)
        with self._lock:
            self._closing.set()
            for transfer in self._transfers.values():
                transfer.cancel()
            self._changed.notify_all()
        self._sender.wake()

    def join(self, timeout: float | None = None) -> bool:
        """Waits, at most `timeout` s, until all is gone; whether it is. Any thread but its own."""
        self._reader.join(timeout)
        return not self._reader.is_alive()

    # Reader thread: getting in.

    def receive_messages(self) -> None:
        """The reader thread's whole life: into the room, and back into it, until it is over."""
        last_event: Refused | Closed | None = None
        try:
            while self._visit():
                pass
        except _Over as over:
            last_event = over.event
        except Exception:
            log.exception("the client's reader failed")
            last_event = Closed("Something in this program failed. Please join again.")
        with self._lock:
            self._is_over = True
            for number in self._pending:
                self.events.put(Rejected(number, *(_NO_ANSWER if number <= self._sent_up_to else _NOT_SENT)))
            self._pending.clear()
            transfers = list(self._transfers.values())
            for transfer in transfers:
                transfer.cancel()
            self._changed.notify_all()
        deadline = time.monotonic() + CLOSE_TIME
        for transfer in transfers:  # they end at once, but for one that waits for a disk
            transfer.thread.join(max(0.0, deadline - time.monotonic()))
        if last_event is not None:
            self.events.put(last_event)
        self._sender.stop()

    def _visit(self) -> bool:
        """One attempt: a connection from its beginning to its loss, and the wait after it. Whether to try again."""
        try:
            self._talk(self.door.connect(self._patience))
            return False
        except ConnectionLost as lost:
            loss = lost
        except ProtocolError:
            loss = ConnectionLost(Trouble.NOT_A_ROOM)
        except OSError:  # it was gone as soon as it was there
            loss = ConnectionLost(Trouble.GONE)
        if self._closing.is_set():
            return False
        delay = max(RETRIES[min(self._failures, len(RETRIES) - 1)], min(loss.seconds, MAX_WAIT))
        if self._failures == 0:
            self._free_try_at = time.monotonic() + RETRIES[-1]
        self._failures += 1
        log.info("no connection to %s: %s; the next try is in %s s", self.address, loss, delay)
        self.events.put(Lost(loss.trouble, delay))
        return not self._closing.wait(delay) or bool(self._pending)

    def _patience(self, deadline: float, trouble: Trouble) -> float:
        """How long to wait now, in s. Raises ConnectionLost when the time is up, or nothing is left to wait for."""
        if self._closing.is_set() and not self._pending:
            raise ConnectionLost(trouble)
        return _time_left(min(deadline, self._deadline), trouble)

    def _talk(self, connection: Connection) -> None:
        """A connection's whole life. Raises ConnectionLost, ProtocolError, _Over."""
        try:
            self._begin(connection, self._enter(connection))
            while time.monotonic() < self._deadline:
                self._listen(connection)
        finally:
            with self._lock:
                joined = self._connection is connection
                self._connection = self._room = None
                self._caught_up = False
            if joined:
                self._sender.release(connection)
            else:
                connection.close()

    def _enter(self, connection: Connection) -> Welcome:
        """Gets in, as far as the welcome. Raises ConnectionLost, ProtocolError, _Over."""
        patience = functools.partial(self._patience, time.monotonic() + FIRST_MESSAGE, Trouble.SILENT)
        before = self._welcome
        try:
            self.door.greet(connection, patience)
        except _Over:
            if before is None or self.door.password is None:
                raise
            # The password was right before. Whoever cannot prove to know it cannot end the visit either.
            raise ConnectionLost(Trouble.UNPROVEN) from None
        connection.send_first(Join(self._name, self.token, before.room if before else None, self._last))
        while isinstance(welcome := _read(connection.first_line(patience), FROM_ROOM), Unknown):
            pass
        return _expect(welcome, Welcome)

    # Reader thread: being in.

    def _begin(self, connection: Connection, welcome: Welcome) -> None:
        """What was missed comes first; only then goes out what is pending."""
        before, self._welcome = self._welcome, welcome
        self._who = welcome.who
        if before is not None and before.room != welcome.room:
            self._moved = True
            self._last = self._missed = 0
            self._host_name = None
        self._last += welcome.missed
        self._missed += welcome.missed
        self._catch_up_to = self._last + welcome.history
        if welcome.host is not None:
            self._host_name = dict(welcome.people).get(welcome.host)
        with self._lock:
            self._connection = connection
            self._room = welcome
            self._changed.notify_all()
            self._next_id = max(self._next_id, welcome.last_id + 1)
        self.events.put(welcome)
        self._catch_up()

    def _listen(self, connection: Connection) -> None:
        """The next message, or a look at the clock."""
        line = connection.next_line(min(TICK, self._deadline - time.monotonic()))
        if time.monotonic() >= self._free_try_at:
            self._failures = 0  # a message, or a second in the room: it is no room that drops whoever comes in
        if line is not None:
            self._hear(_read(line, FROM_ROOM))
        if connection.keep_time():
            with self._lock:
                connection.own_lines.append((0, _PING))
            self._sender.wake()

    def _hear(self, message: Message | Unknown) -> None:
        number = message.number if isinstance(message, Numbered | Unknown) else None
        if number is not None:
            if number <= self._last:
                return
            if number > self._last + 1:
                raise ConnectionLost(Trouble.GAP)
            self._last = number
        if isinstance(message, Joined) and message.who == HOST and self._host_name is None:
            self._host_name = message.name
            if not self._moved:
                self._home = (self._home[0], message.name)
        if isinstance(message, Rejected) or (isinstance(message, Said) and message.who == self._who):
            with self._lock:
                self._pending.pop(message.id, None)
        if isinstance(message, Numbered | Muted | Rejected):
            self.events.put(message)
        self._catch_up()

    def _catch_up(self) -> None:
        """Once all that was missed is in (and, in another room, its host): what is pending is settled or goes out."""
        if self._caught_up or self._last < self._catch_up_to or (self._moved and self._host_name is None):
            return
        assert self._welcome is not None
        home = (self._welcome.title, self._host_name or self._home[1])
        not_ours = self._moved and home != self._home
        with self._lock:
            for number in list(self._pending):
                answer = Rejected(number, *_NOT_SENT) if not_ours else self._settle(number, self._welcome.last_id)
                if answer is not None:
                    del self._pending[number]
                    self.events.put(answer)
            self._unsent = collections.deque(self._pending)
            self._caught_up = True
        self._home, self._moved, self._missed = home, False, 0
        self._sender.wake()

    def _settle(self, number: int, last_id: int) -> Rejected | Settled | None:
        """What became of a pending line that is not among the events: None if the room has not had it yet."""
        if number > last_id:
            return None
        if number > self._sent_up_to:  # the id was another client's, with the same token and a clock ahead of ours
            return Rejected(number, *_NOT_SENT)
        return Settled(number) if self._missed else Rejected(number, *_ANSWER_LOST)

    # Transfers.

    def _start(self, transfer: _Transfer) -> None:
        """Lock. Begins it; or `Failed` says why not."""
        self._transfers[transfer.number] = transfer
        transfer.tell(is_waiting=True)
        problem = None
        if self._is_over or self._closing.is_set():
            problem = _OVER
        elif len(self._transfers) > MAX_TRANSFERS:
            problem = ("many", f"At most {MAX_TRANSFERS} files can be on their way at once.")
        elif any(transfer.is_rival(other) for other in self._transfers.values()):
            problem = ("busy", "This file is being saved already.")
        else:
            try:
                transfer.thread.start()
            except RuntimeError:
                problem = ("failed", "This computer cannot start another thread.")
        if problem is not None:
            del self._transfers[transfer.number]
            self.events.put(Failed(transfer.number, transfer.filename, *problem))

    def await_turn(self, transfer: _Transfer) -> None:
        """Transfer thread: returns when it is among the first of its direction. Raises TransferFailed."""

        def is_next() -> bool:
            ahead = (other for other in self._transfers.values() if other.is_upload == transfer.is_upload)
            return transfer in itertools.islice(ahead, TRANSFERS_AT_ONCE)

        self._await(transfer, is_next)

    def await_room(self, transfer: _Transfer) -> Welcome:
        """Transfer thread: its welcome, as soon as this client is in the room. Raises TransferFailed."""
        return self._await(transfer, lambda: self._room)

    def is_in(self, room: Welcome) -> bool:
        """Transfer thread: whether this is still the same visit."""
        with self._lock:
            return self._room is room

    def ended(self, transfer: _Transfer, event: Uploaded | Saved | Failed) -> None:
        """Transfer thread, as its last act."""
        with self._lock:
            del self._transfers[transfer.number]
            self._changed.notify_all()
            self.events.put(event)

    def _await(self, transfer: _Transfer, what: Callable[[], _Awaited | None]) -> _Awaited:
        """Waits until `what`, called with the lock held, gives something. Raises TransferFailed."""
        with self._lock:
            while not (found := what()) or self._is_over or transfer.is_cancelled:
                if self._is_over:
                    raise TransferFailed(*_OVER)
                if transfer.is_cancelled:
                    raise TransferFailed("cancelled", "It was cancelled.")
                self._changed.wait()
            return found

    # Sender thread.

    def _due(self) -> Due:
        with self._lock:
            connection = self._connection
            if connection is None or connection.busy or connection.finished:
                return []
            piece = bytearray(take_own_lines(connection))
            while self._caught_up and self._unsent and len(piece) < MAX_PIECE:
                number = self._unsent.popleft()
                if number in self._pending:  # a strange room may answer what it has not had
                    piece += self._pending[number]
                    self._sent_up_to = number
            if piece:
                return [(connection, bytes(piece))]
            if self._closing.is_set() and (self._caught_up or not self._pending):
                if not connection.ending:
                    connection.end_at = self._deadline
                    return [(connection, _LEAVE)]
                connection.finished = True
                return [(connection, b"")]
            return []


# -------------------------------------------------------------------------------------------------------------- files

# In the room ...

_STORE = "chat-room-"  # a store's folder begins with this, and ...
_STORE_LOCK = "lock"  # ... has this file in it, which stays locked while the room lives


@dataclass(eq=False)
class StoredFile:
    """A file of a room's, whole or on its way. Guarded by the lock of `Files`, or its receiving thread's alone."""

    owner: str  # token
    filename: str
    size: int  # bytes
    path: str
    is_whole: bool = False
    resting_since: float | None = None  # monotonic s; broken off then, and perhaps the rest will come
    # The receiving thread's:
    done: int = 0  # bytes
    digest: hashlib._Hash = dataclasses.field(default_factory=hashlib.sha256)


_Key = tuple[type, str, str]  # Upload or Download, token, file


class Files:
    """A room's files, in a private folder that goes with the room.

    On the disk a file's name is a number: nothing that comes from the network becomes part of a path. The newest
    connection for a token, a file and a direction wins: it begins when the older ones have ended, so that only one
    thread writes.
    """

    def __init__(self, max_file: int, max_store: int) -> None:
        self.max_file = max_file
        self._max_store = max_store
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)  # a connection comes, begins or goes; the room closes
        # Guarded by _lock:
        self._files: dict[str, StoredFile] = {}  # id -> file
        self._taken_back: dict[str, StoredFile] = {}  # id -> what was one; who has shared it may ask once more
        self._names = itertools.count(1)
        self._turns: dict[_Key, list[Connection]] = {}  # connections, the newest is the last
        self._stopping = False
        self._store: tuple[str, BinaryIO] | None = None  # folder, lock
        try:
            _remove_left_stores()
            self._store = _make_store()
        except OSError as error:  # a room without files is a room all the same
            log.warning("no files can be shared: %s", error)

    def stop(self) -> None:
        """Ends all waiting. The room has aborted the connections. Any thread."""
        with self._lock:
            self._stopping = True
            self._changed.notify_all()

    def close(self) -> None:
        """When no thread uses it any more: nothing is left on the disk."""
        if self._store is not None:
            _remove_store(*self._store)

    def take_back(self, file_id: str) -> None:
        """A file goes; whoever is fetching it is cut off. Any thread."""
        with self._lock:
            for (_, _, carried), turn in self._turns.items():
                for connection in turn if carried == file_id else ():
                    connection.abort()
            self._taken_back[file_id] = self._files[file_id]
            self._drop(file_id)

    # Reader threads.

    def receive(self, connection: Connection, upload: Upload, share: Callable[[str, str], None]) -> None:
        """A file comes; `share` gets its name and hash when all of it is here. Raises ProtocolError, ConnectionLost."""
        with self._turn(upload, connection):
            file = self._begin(upload)
            try:
                self._receive(connection, file, share)
                return
            except ConnectionLost:
                connection.close()
                broken_off_at = time.monotonic()
                with self._lock:
                    file.resting_since = None if file.is_whole else broken_off_at
            except (ProtocolError, OSError) as error:
                with self._lock:
                    self._drop(upload.file)
                if isinstance(error, ProtocolError):
                    raise
                log.warning("a file could not be stored: %s", error)
                raise ProtocolError("The disk of the host's computer is full, or fails.", "space") from None
        self._await_rest(upload.file, file, broken_off_at)
        raise ConnectionLost

    def send(self, connection: Connection, download: Download) -> None:
        """A file goes. Raises ProtocolError, ConnectionLost."""
        with self._turn(download, connection):
            with self._lock:
                file = self._files.get(download.file)
            if file is None or not file.is_whole:
                raise ProtocolError("The room does not have this file.", "unknown")
            if download.offset > file.size:
                raise ProtocolError(f"The file has {file.size} bytes, not {download.offset}.")
            try:
                with open(file.path, "rb", buffering=0) as disk:
                    disk.seek(download.offset)
                    connection.keep_buffer_small()
                    connection.send_first(RawBytes(file.size - download.offset))
                    for piece in _pieces(disk, file.size - download.offset):
                        connection.send_bytes(piece, connection.moving)
            except OSError as error:
                log.warning("a file could not be read: %s", error)
                raise ConnectionLost from error
            finally:
                with self._lock, contextlib.suppress(OSError):
                    if self._files.get(download.file) is not file:  # taken back; Windows removes no file that is open
                        os.unlink(file.path)

    @contextlib.contextmanager
    def _turn(self, message: Upload | Download, connection: Connection) -> Iterator[None]:
        """Returns when this connection is the only one for its key.

        Raises ConnectionLost if a newer one has come meanwhile, ProtocolError where somebody wants too many at once.
        """
        key = (type(message), message.token, message.file)
        with self._lock:
            if sum(other != key and other[:2] == key[:2] for other in self._turns) >= MOST_AT_ONCE:
                raise ProtocolError(f"At most {MOST_AT_ONCE} files can be on their way to or from you.", "busy")
            turn = self._turns.setdefault(key, [])
            for older in turn:
                older.abort()
            turn.append(connection)
            self._changed.notify_all()
            self._changed.wait_for(lambda: turn[0] is connection or turn[-1] is not connection)
        try:
            if turn[-1] is not connection:
                raise ConnectionLost
            yield
        finally:
            with self._lock:
                turn.remove(connection)
                if not turn:
                    del self._turns[key]
                self._changed.notify_all()

    def _begin(self, upload: Upload) -> StoredFile:
        """The file that was begun before, or a new one. Raises ProtocolError."""
        if not _TOKEN.fullmatch(upload.file):
            raise ProtocolError("a file's id is 32 hex digits")
        with self._lock:
            file = self._files.get(upload.file) or self._taken_back.get(upload.file)
            if file is None:
                folder = self._check_limits(upload)
                path = os.path.join(folder, str(next(self._names)))
                file = StoredFile(upload.token, clean_filename(upload.filename), upload.size, path)
                self._files[upload.file] = file
            elif (file.owner, file.size) != (upload.token, upload.size):
                raise ProtocolError("This is the id of another file.")
            file.resting_since = None
            self._changed.notify_all()
            return file

    def _check_limits(self, upload: Upload) -> str:
        """Lock. The folder for a new file. Raises ProtocolError where there is no room for it."""
        if upload.size > self.max_file:
            raise ProtocolError(f"A file has at most {self.max_file:,} bytes here.", "size")
        gives_way = ""  # one that was broken off
        own = [file_id for file_id, file in self._files.items() if file.owner == upload.token and not file.is_whole]
        if len(own) >= MAX_UNFINISHED:
            resting = [file_id for file_id in own if self._files[file_id].resting_since is not None]
            if not resting:
                raise ProtocolError(f"At most {MAX_UNFINISHED} files of yours can be on their way at once.", "busy")
            gives_way = resting[0]
        taken = sum(file.size for file_id, file in self._files.items() if file_id != gives_way)
        if len(self._files) >= MAX_FILES or taken + upload.size > self._max_store:
            raise ProtocolError("The room has no space left for this file.", "space")
        if self._store is None or _free_space(self._store[0]) < 2 * upload.size:
            raise ProtocolError("The disk of the host's computer has too little space.", "space")
        self._drop(gives_way)
        return self._store[0]

    def _receive(self, connection: Connection, file: StoredFile, share: Callable[[str, str], None]) -> None:
        connection.send_first(Ready(file.done))
        if not file.is_whole:
            with open(file.path, "ab", buffering=0) as disk:
                while file.done < file.size:
                    piece = connection.next_bytes(min(MAX_PIECE, file.size - file.done), connection.moving)
                    _write_all(disk, piece)
                    file.digest.update(piece)
                    file.done += len(piece)
            sent = _expect(decode(connection.first_line(connection.moving), TO_ROOM), Sent)
            if sent.sha256.lower() != file.digest.hexdigest():
                raise ProtocolError("The file was changed on its way, or while it was read.", "hash")
            with self._lock:
                file.is_whole = True  # before anybody can ask for it
            share(file.filename, file.digest.hexdigest())
        connection.send_first(Stored())

    def _await_rest(self, file_id: str, file: StoredFile, broken_off_at: float) -> None:
        """The upload broke off. If its rest does not come in time, what is here goes."""

        def is_settled() -> bool:
            return self._stopping or file.resting_since != broken_off_at

        with self._lock:
            if not self._changed.wait_for(is_settled, UNFINISHED_KEPT):
                self._drop(file_id)

    def _drop(self, file_id: str) -> None:
        """Lock. From the disk, too; if there is such a file."""
        file = self._files.pop(file_id, None)
        if file is not None:
            file.resting_since = None
            with contextlib.suppress(OSError):  # nothing was written yet
                os.unlink(file.path)


def _free_space(folder: str) -> int:
    """Bytes; 0 where the system cannot tell."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


def _write_all(disk: io.FileIO, piece: bytes | memoryview) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[disk.write(rest) :]


def _make_store() -> tuple[str, BinaryIO]:
    """A new private folder, and the lock that says that somebody lives in it. Raises OSError."""
    for _ in range(10):  # until it is locked, it looks left behind to other programs; but some disks know no locks
        folder = tempfile.mkdtemp(prefix=_STORE)  # mode 0700
        lock = None
        with contextlib.suppress(FileNotFoundError):
            lock = open(os.path.join(folder, _STORE_LOCK), "xb")  # noqa: SIM115 - as long as the room
            if _try_lock(lock) and os.path.exists(lock.name):
                return folder, lock
        if lock is not None:
            lock.close()
        shutil.rmtree(folder, ignore_errors=True)
    raise OSError(errno.ENOLCK, "no folder can be locked here")


def _remove_left_stores() -> None:
    """What rooms that were killed have left behind. Living rooms' are locked."""
    folders: list[str] = []
    with contextlib.suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:  # perhaps nobody may list it
        folders = [entry.path for entry in entries if entry.name.startswith(_STORE) and _is_ours(entry)]
    for folder in folders:
        with contextlib.suppress(OSError):
            os.rmdir(folder)  # killed before there was anything in it
        with contextlib.suppress(OSError), open(os.path.join(folder, _STORE_LOCK), "r+b") as lock:
            if _try_lock(lock):
                _remove_store(folder, lock)


def _is_ours(entry: os.DirEntry[str]) -> bool:
    """Whether it is this user's folder; another could put a link in its place while it is cleared away."""
    with contextlib.suppress(OSError):  # it is gone already
        mine = sys.platform == "win32" or entry.stat(follow_symlinks=False).st_uid == os.getuid()
        return mine and entry.is_dir(follow_symlinks=False)
    return False


def _remove_store(folder: str, lock: BinaryIO) -> None:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name != _STORE_LOCK:  # it goes last, so that the next program sees what this one did not get to
                os.unlink(entry.path)
    shutil.rmtree(folder, ignore_errors=True)
    lock.close()
    shutil.rmtree(folder, ignore_errors=True)  # Windows removes no file that is open


def _try_lock(file: BinaryIO) -> bool:
    """Whether the lock is ours now; it ends with the program, however the program ends."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


# ... and at the other end.

_OVER = ("over", "The visit to the room is over.")
_DISK_TROUBLES = {
    errno.ENOENT: "missing",
    errno.EISDIR: "folder",
    errno.EACCES: "permission",
    errno.EPERM: "permission",
    errno.ENOSPC: "disk_full",
    errno.EDQUOT: "disk_full",
}  # all others: "disk"


class TransferFailed(Exception):
    """`code` and text are those of `Failed`."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class _Transfer:
    """A file on its way, over breaks of the connection: a thread, and one connection after the other.

    Made and started by a Client, with its lock held.
    """

    is_upload: ClassVar[bool]

    def __init__(self, client: Client, number: int, file: str, filename: str, size: int) -> None:
        self.number = number
        self.file = file
        self.filename = filename
        self.thread = threading.Thread(target=self._run, name=f"transfer {number}")
        # Any thread:
        self._cancelled = threading.Event()
        self._connection: Connection | None = None  # the newest
        # Transfer thread only, once it runs:
        self._client = client
        self._size = size
        self._done = 0  # bytes
        self._room: Welcome | None = None
        self._told_at = 0.0  # monotonic s

    def cancel(self) -> None:
        """Any thread."""
        self._cancelled.set()
        if self._connection is not None:
            self._connection.abort()

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    def is_rival(self, other: _Transfer) -> bool:
        """Whether the room would take these two for one."""
        return self is not other and (self.file, self.is_upload) == (other.file, other.is_upload)

    def tell(self, *, is_waiting: bool = False) -> None:
        """Says how far it is, not too often."""
        now = time.monotonic()
        if is_waiting or now - self._told_at >= PROGRESS_EVERY or self._done == self._size:
            self._told_at = now
            self._client.events.put(
                Progress(self.number, self.filename, self._done, self._size, self.is_upload, is_waiting)
            )

    # Transfer thread.

    def _run(self) -> None:
        try:
            end = self._carry()
        except TransferFailed as failure:
            end = Failed(self.number, self.filename, failure.code, str(failure))
        except ValueError as error:  # a path that no system has, with a NUL in it
            end = Failed(self.number, self.filename, "missing", str(error))
        except OSError as error:
            code = _DISK_TROUBLES.get(error.errno or 0, "disk")
            end = Failed(self.number, self.filename, code, error.strerror or str(error))
        except Exception:
            log.exception("the transfer of %s failed", self.filename)
            end = Failed(self.number, self.filename, "failed", "Something in this program failed.")
        self._client.ended(self, end)

    def _carry(self) -> Uploaded | Saved | Failed:
        """The whole of it. Raises TransferFailed, OSError from the disk."""
        raise NotImplementedError

    def _over_breaks(self, talk: Callable[[Connection], None]) -> None:
        """Until it is done; what broke off goes on where it was. Raises TransferFailed, OSError from the disk."""
        self._client.await_turn(self)
        failures = 0
        while True:
            room = self._client.await_room(self)
            if self._room is not None and self._room.room != room.room:
                raise TransferFailed("reopened", "The room was opened again meanwhile.")
            self._room = room
            before = self._done
            try:
                with self._connected() as connection:
                    return talk(connection)
            except ProtocolError as error:
                raise TransferFailed("bad", str(error)) from None
            except ConnectionLost as lost:
                log.info("%s broke off at %s: %s", self.filename, self._done, lost)
                failures = 0 if self._done > before else failures + 1
                self.tell(is_waiting=True)
                self._cancelled.wait(max(RETRIES[min(failures, len(RETRIES) - 1)], min(lost.seconds, MAX_WAIT)))

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Connection]:
        """A connection to the room, as far as the first message. Raises ConnectionLost."""
        try:
            connection = self._client.door.connect(self._patience)
        except OSError as error:
            raise ConnectionLost from error
        self._connection = connection
        patience = functools.partial(self._patience, time.monotonic() + FIRST_MESSAGE, Trouble.SILENT)
        try:
            try:
                self._client.door.greet(connection, patience)
            except (_Over, ProtocolError):  # if that is so for good, the client's own connection ends the visit
                raise ConnectionLost(Trouble.UNPROVEN) from None
            yield connection
        finally:
            connection.close()

    def _patience(self, deadline: float, trouble: Trouble) -> float:
        if self.is_cancelled:
            raise ConnectionLost(trouble)
        return _time_left(deadline, trouble)

    def _read(self, line: bytes) -> Message | Unknown:
        """Raises ProtocolError, TransferFailed, and ConnectionLost where trying again may help."""
        try:
            return _read(line, FILE_FROM_ROOM)
        except _Over as over:
            refused = over.event
        code = refused.code if isinstance(refused, Refused) else "over"
        assert self._room is not None
        if code == "busy" or (code == "unknown" and not self._client.is_in(self._room)):
            raise ConnectionLost(Trouble.WAIT)
        raise TransferFailed(code, refused.reason)

    def _expect(self, connection: Connection, kind: type[_Expected], line: bytes | None = None) -> _Expected:
        """The next message; `line`: it has come already."""
        while isinstance(message := self._read(line or connection.first_line(connection.moving)), Unknown):
            line = None
        return _expect(message, kind)


class _Sharing(_Transfer):
    """From this computer to the room."""

    is_upload = True

    def __init__(self, client: Client, number: int, path: str) -> None:
        super().__init__(client, number, secrets.token_hex(16), clean_filename(os.path.basename(path)), 0)
        self._path = path

    def _carry(self) -> Uploaded:
        if not stat.S_ISREG(os.stat(self._path).st_mode):
            raise TransferFailed("folder", "Only files can be shared.")
        with open(self._path, "rb", buffering=0) as disk:
            state = _state(disk)
            self._size = state[0]
            most = self._client.await_room(self).max_file
            if self._size > most:
                raise TransferFailed("size", f"A file has at most {most:,} bytes here; this one has {self._size:,}.")
            self._over_breaks(lambda connection: self._talk(connection, disk, state))
        return Uploaded(self.number)

    def _talk(self, connection: Connection, disk: io.FileIO, state: tuple[int, int]) -> None:
        connection.keep_buffer_small()
        connection.send_first(Upload(self._client.token, self.file, self.filename, self._size))
        offset = self._expect(connection, Ready).offset
        if offset > self._size:
            raise ProtocolError("the room has more than there is")
        self._done = offset
        digest = hashlib.sha256()
        disk.seek(0)
        for piece in _pieces(disk, self._done):  # which the room has already
            digest.update(piece)
        for piece in _pieces(disk, self._size - self._done):
            digest.update(piece)
            self._send(connection, piece)
            self._done += len(piece)
            self.tell()
        if disk.tell() != self._size or _state(disk) != state:
            raise TransferFailed("changed", "The file was changed while it was read.")
        line = connection.next_line(0)
        if line is None:  # else the room has had all of it before, and may be gone already
            connection.send_bytes(encode(Sent(digest.hexdigest())), connection.moving)
        self._expect(connection, Stored, line)

    def _send(self, connection: Connection, piece: memoryview) -> None:
        """The room may refuse the rest at any time: it says why, and reads on for a moment before it closes."""
        try:
            connection.send_bytes(piece, connection.moving)
        finally:
            line = connection.next_line(0)
            if line is not None:
                self._read(line)


class _Saving(_Transfer):
    """From the room to this computer: into a file beside the target, which takes its place when it is right."""

    is_upload = False

    def __init__(self, client: Client, number: int, file: Shared, to: str) -> None:
        super().__init__(client, number, file.file, os.path.basename(to), file.size)
        self._sha256 = file.sha256.lower()
        self._to = to
        self._digest = hashlib.sha256()

    def _carry(self) -> Saved:
        if os.path.isdir(self._to):
            raise TransferFailed("folder", "There is a folder of this name.")
        part = _open_part(self._to)
        try:
            with part:
                self._over_breaks(lambda connection: self._talk(connection, part))
            if self._digest.hexdigest() != self._sha256:
                raise TransferFailed("hash", "The file was changed on its way.")
            os.replace(part.name, self._to)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part.name)
            raise
        return Saved(self.number, self._to)

    def _talk(self, connection: Connection, part: io.FileIO) -> None:
        connection.send_first(Download(self._client.token, self.file, self._done))
        if self._expect(connection, RawBytes).size != self._size - self._done:
            raise ProtocolError("the size is another one")
        while self._done < self._size:
            piece = connection.next_bytes(min(MAX_PIECE, self._size - self._done), connection.moving)
            _write_all(part, piece)
            self._digest.update(piece)
            self._done += len(piece)
            self.tell()


def _pieces(disk: io.FileIO, size: int) -> Iterator[memoryview]:
    """The next so many bytes of the file, or as many as there are. Each piece is there until the next one is."""
    buffer = memoryview(bytearray(MAX_PIECE))
    while size > 0 and (count := disk.readinto(buffer[:size])):
        size -= count
        yield buffer[:count]


def _state(disk: io.FileIO) -> tuple[int, int]:
    """What changes when somebody writes to the file: size, and time of the last change."""
    status = os.fstat(disk.fileno())
    return status.st_size, status.st_mtime_ns


def _open_part(path: str) -> io.FileIO:
    """A new file beside `path`, and never one that was there already. Raises OSError."""
    for number in itertools.count(1):
        part = f"{path}.{number}.part" if number > 1 else f"{path}.part"
        with contextlib.suppress(FileExistsError):
            return open(part, "xb", buffering=0)
    raise AssertionError  # there is always another number


# ------------------------------------------------------------------------------------------------------ finding rooms


_ROOM_ID = re.compile(f"[ -~]{{1,{MAX_ID}}}")


class _Answerer:
    """Tells everybody who asks that this room is here: a server's finder thread, on UDP and the room's port number.

    It also watches this computer's addresses, so that the host's window shows where others can join.
    """

    def __init__(self, host: str, port: int, describe: Callable[[], Room], events: Events | None) -> None:
        self._describe = describe
        self._events = events
        self._closing = threading.Event()
        with contextlib.ExitStack() as undo:
            self._wake_up = undo.enter_context(contextlib.closing(WakeUp()))
            self._socket = _open_udp(host, port)
            if self._socket is not None:
                undo.enter_context(self._socket)
                self._wake_up.selector.register(self._socket, selectors.EVENT_READ)
            self._thread = _start_thread(self._run, f"finder {port}")
            undo.pop_all()

    def close(self) -> None:
        """Any thread but its own; returns when it is gone."""
        self._closing.set()
        self._wake_up.set()
        self._thread.join()

    def _run(self) -> None:
        shown: list[str] | None = None
        look_at = 0.0
        while not self._closing.is_set():
            if self._events is not None and time.monotonic() >= look_at:
                look_at = time.monotonic() + ADDRESSES_EVERY
                addresses = local_addresses()
                if addresses != shown:
                    shown = addresses
                    self._events.put(Reachable(tuple(addresses), self._socket is not None))
            if self._wake_up.selector.select(ADDRESSES_EVERY) and self._socket is not None:
                self._answer(self._socket)
                self._closing.wait(DATAGRAMS_TIME)
        self._wake_up.close()
        if self._socket is not None:
            self._socket.close()

    def _answer(self, sock: socket.socket) -> None:
        answer = self._describe()
        for data, asker in _datagrams(sock):
            with contextlib.suppress(ProtocolError):
                if decode(data, UDP) == Find(PROTOCOL):
                    _send_to(sock, answer, asker)


class Finder:
    """Asks every network of this computer which rooms are there, until it is closed. Made by `find_rooms`."""

    def __init__(self, events: Events, ways: Sequence[tuple[str, str]] | None) -> None:
        self._events = events
        self._ways = ways
        # Finder thread only:
        self._sockets: dict[tuple[str, str], socket.socket] = {}  # way -> from where it is asked
        self._rooms: dict[str, tuple[FoundRoom, float]] = {}  # id -> room, when it was heard; the first found first
        self._told: tuple[FoundRoom, ...] = ()
        self._closing = threading.Event()
        with contextlib.ExitStack() as undo:
            self._wake_up = undo.enter_context(contextlib.closing(WakeUp()))
            self._thread = _start_thread(self._run, "finder")
            undo.pop_all()

    def __enter__(self) -> Finder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Returns at once; all is gone a moment later. Any thread."""
        self._closing.set()
        self._wake_up.set()

    def join(self, timeout: float | None = None) -> bool:
        """Waits, at most `timeout` s, until all is gone; whether it is. Any thread but its own."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    # Finder thread.

    def _run(self) -> None:
        begin = time.monotonic()
        ask_at = dict.fromkeys(PORTS, begin)
        tell_at = begin
        while not self._closing.is_set():
            now = time.monotonic()
            due = [port for port, at in ask_at.items() if at <= now]
            if due:
                self._open_ways()
            for port in due:
                self._ask(port)
                ask_at[port] = now + _pause(port, now - begin)
            if now >= tell_at:
                tell_at = now + TELL_EVERY
                self._tell(now)
            if self._wake_up.selector.select(TELL_EVERY):
                self._listen()
                self._closing.wait(DATAGRAMS_TIME)
        for sock in self._sockets.values():
            sock.close()
        self._wake_up.close()

    def _open_ways(self) -> None:
        """A socket for each way out; adapters come and go."""
        ways = _ways_out() if self._ways is None else self._ways
        for way in [way for way in self._sockets if way not in ways]:
            sock = self._sockets.pop(way)
            self._wake_up.selector.unregister(sock)
            sock.close()
        for way in ways:
            if way not in self._sockets and (new := _open_udp(way[0], 0)) is not None:
                self._sockets[way] = new
                self._wake_up.selector.register(new, selectors.EVENT_READ)

    def _ask(self, port: int) -> None:
        for way, sock in self._sockets.items():
            _send_to(sock, Find(PROTOCOL), (way[1], port))

    def _listen(self) -> None:
        for sock in self._sockets.values():
            for data, (address, port) in _datagrams(sock):
                with contextlib.suppress(ProtocolError):
                    message = decode(data, UDP)
                    if isinstance(message, Room) and message.port == port:
                        self._keep(message, address)

    def _keep(self, message: Room, address: str) -> None:
        """Whoever has answered can be anybody: only what can be a room is kept, and one for each address and port."""
        title = clean_name(message.title, MAX_TITLE)
        if message.protocol != PROTOCOL or not title or not _ROOM_ID.fullmatch(message.room):
            return
        room = FoundRoom(message.room, title, address, message.port, message.people, message.password)
        for other, _ in list(self._rooms.values()):
            if other.room != room.room and (other.address, other.port) == (address, room.port):
                del self._rooms[other.room]  # closed, and opened again
        if room.room in self._rooms or len(self._rooms) < MAX_ROOMS:
            self._rooms[room.room] = (room, time.monotonic())

    def _tell(self, now: float) -> None:
        self._rooms = {
            name: (room, heard_at) for name, (room, heard_at) in self._rooms.items() if now - heard_at < ROOM_GONE_AFTER
        }
        rooms = tuple(room for room, _ in self._rooms.values())
        if rooms != self._told:
            self._told = rooms
            self._events.put(Found(rooms))


def _ways_out() -> list[tuple[str, str]]:
    """Where this computer can ask, as (own address, address to ask): itself, and everybody behind each adapter."""
    return [("127.0.0.1", "127.0.0.1"), *((address, "255.255.255.255") for address in local_addresses())]


def _pause(port: int, asking_for: float) -> float:
    """Seconds until this port is asked again, when asking has gone on for so many seconds."""
    seconds = ASK_EVERY[0] if port == PORTS[0] else ASK_EVERY[1]
    slower = 2 if asking_for > ASK_LESS_AFTER else 1
    return seconds * slower * random.uniform(1 - JITTER, 1 + JITTER)


def _open_udp(host: str, port: int) -> socket.socket | None:
    """A UDP socket that may ask everybody; None if there is none to be had."""
    try:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    except OSError as error:  # out of descriptors
        log.warning("cannot look for rooms: %s", error)
        return None
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        if sys.platform == "win32" and port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        sock.bind((host, port))
        return sock
    except OSError as error:
        log.info("no UDP at %s port %s: %s", host or "any address", port, error)
        sock.close()
        return None


def _datagrams(sock: socket.socket) -> Iterator[tuple[bytes, tuple[str, int]]]:
    """What has arrived, a bounded number."""
    for _ in range(DATAGRAMS_AT_ONCE):
        try:
            data, sender = sock.recvfrom(MAX_DATAGRAM)
        except BlockingIOError:
            return
        except OSError:  # Windows: nobody listened where an earlier datagram went (10054), or it was too long (10040)
            continue
        yield data.rstrip(b"\n"), sender


def _send_to(sock: socket.socket, message: Message, address: tuple[str, int]) -> None:
    try:
        sock.sendto(encode(message), address)
    except OSError as error:  # no way there at the moment, or not allowed; the next time it may be
        log.debug("could not send to %s: %s", address, error)


# ------------------------------------------------------------------------------------------------------- entry points


def run_server(
    title: str,
    *,
    host_name: str = "Host",
    host: str = "",
    port: int = PORT,
    password: str | None = None,
    rate: float | None = RATE,
    history: int = KEPT_EVENTS,
    limit: int = MAX_PEOPLE,
    max_file: int = MAX_FILE,
    max_store: int = MAX_STORE,
    events: Events | None = None,
) -> Server:
    """Opens a room and returns it, running; `close` it, or use it as a context manager. Any thread.

    host        the address to listen at; "" is all of this computer's
    port        5252 to 5261: this one, or the next of them that is free; any other (0: one that is free): just this
    password    a room with one is encrypted, and needs Python 3.13 or newer
    rate        messages a second from one person; None for no brake
    history     events that are kept for those who come later or come back
    limit       people
    max_file    bytes of one file, and ...
    max_store   ... of all together
    events      gets what only the host is told: `Reachable`, at once and whenever the addresses change;
                `WrongPassword`, when somebody guesses; `Controls`, when whom the host mutes or removes changes

    It may take 2 s where a port is still held by a room that crashed, and 1 s with a password. Raises ValueError for a
    title, host's name or password in which nothing can be read, a number out of its range, a password where this
    Python cannot encrypt; OSError if there is no port, or the system has no descriptor or thread left.
    """
    return Server(title, host_name, host, port, password, rate, history, limit, max_file, max_store, events)


def run_client(
    address: str,
    name: str,
    events: Events,
    *,
    port: int = PORT,
    password: str | None = None,
    token: str | None = None,
) -> Client:
    """Returns at once a client that is on its way into the room at `address`. Any thread.

    password    the room's; with one, only a room is joined that proves to know it
    token       32 hex digits: "the same person again"; None makes one. The host's is `Server.token`
    events      gets all that happens, until the client is gone: `Welcome` when it is in, `Lost` before each new
                attempt, `Refused` or `Closed` when there will be none

    Raises ValueError for an empty address or password, a port out of range, a password where this Python cannot
    encrypt; OSError where the system has no descriptor or thread left.
    """
    if not address.strip():
        raise ValueError("expected an address")
    if not 0 < port < 65536:
        raise ValueError(f"expected a port from 1 to 65535, not {port}")
    return Client(address.strip(), port, name, token or secrets.token_hex(16), password, events)


def find_rooms(events: Events, *, ways: Sequence[tuple[str, str]] | None = None) -> Finder:
    """Looks for rooms until the Finder is closed; `Found` comes whenever the list changes. Any thread.

    ways        (own address to ask from, address to ask) of each way out; None: from each adapter to everybody on its
                network, and this computer itself

    Raises OSError where the system has no descriptor or thread left.
    """
    return Finder(events, ways)


def get_local_ip() -> str:
    """The address at which other computers reach this one, or "127.0.0.1". Sends nothing. Any thread."""
    return (local_addresses() or ["127.0.0.1"])[0]


def local_addresses() -> list[str]:
    """This computer's IPv4 addresses but loopback: the default route's first, then others, virtual adapters' last."""

    def comes_last(adapter: tuple[str, str]) -> bool:
        return adapter[0].startswith(_VIRTUAL) or adapter[1].startswith("169.254.")

    found = [_default_route_address(), *(address for _, address in sorted(_adapters(), key=comes_last))]
    return list(dict.fromkeys(address for address in found if address and not _is_loopback(address)))


def _default_route_address() -> str | None:
    """Connecting a UDP socket sends nothing: it only asks the routing table which way a packet would go."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("192.0.2.1", 9))  # an address for documentation, which is nowhere (RFC 5737)
        address = str(sock.getsockname()[0])
        if address != "0.0.0.0":
            return address
    return None


_VIRTUAL = ("docker", "br-", "virbr", "veth", "vbox", "vmnet", "vnic", "bridge", "tun", "tap", "utun", "wg", "zt")
_SIOCGIFADDR = 0xC0206921 if sys.platform == "darwin" else 0x8915  # "the address of this interface": netdevice(7)


def _adapters() -> list[tuple[str, str]]:
    """(adapter's name, address); on Windows the names stay empty."""
    if sys.platform == "win32":
        try:
            return [("", address) for address in socket.gethostbyname_ex(socket.gethostname())[2]]
        except (OSError, UnicodeError):
            return []
    else:
        found = []
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _, name in socket.if_nameindex():
                with contextlib.suppress(OSError):  # it has no address
                    answer = fcntl.ioctl(sock.fileno(), _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                    found.append((name, socket.inet_ntoa(answer[20:24])))
        return found
