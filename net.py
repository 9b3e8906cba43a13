"""Everything of the chat that travels: the room, the people in it, and what they say to each other.

Nothing here knows about a window. `run_server` and `run_client` work just as well from a script; everything that
happens arrives as small frozen objects (events) in a `queue.Queue`. Read the file from top to bottom:

    limits              the numbers that matter, with their units and reasons
    errors              those that both sides use
    messages, events    one frozen dataclass each; most of the room's messages are also events that the window shows
    entry points        run_server, run_client, find_rooms, get_local_ip, room_token
    wire format         bytes <-> messages, and the cleaning of names and text
    password and TLS    a password becomes a key; plain bytes <-> TLS records, in memory
    waiting, limiting   Deadline (how long to wait) and RateLimit (how much someone may do)
    connection          Feed (what a connection still gets) and Connection (its socket), the same on both sides
    sender              Loop (a thread that any other can wake) and Sender (it writes to joined connections)
    the room            History, Person, Room (the rules; no socket, no thread); Files, Units, Guesses, Admission and
                        Connections (how much everyone may take); Server (sockets and threads)
    a person            Dialer (the way in), Outbox (exactly once), Client
    files on their way  a client's uploads and downloads
    finding rooms       UDP questions and answers, and this computer's addresses

The history is the queue. The room numbers its events 1, 2, 3 ... and keeps the newest of them, encoded. A connection
is a cursor into that history: the number of the event that it gets next. A newcomer, someone who comes back, a slow
computer and a fast one differ only in where their cursors are. To broadcast is to append and to wake the sender. What
concerns one person only (the welcome, `muted`) waits as a private line in their connection's `Feed`.

A computer that stops reading costs the others nothing. It is disconnected when its cursor falls out of the history
(`Room.close_if_too_slow`), or when 1,000 private lines wait for it (`Feed.tell`). When it comes back, the room tells
it how many events it missed. A computer that sends no complete line for 15 s is disconnected, too.

    thread     how many            what it does
    main       the caller's        calls run_server, run_client, say, share, mute ...; of these, only `Server.close`
                                   waits, up to 2 s
    accept     1 per server        accepts connections and starts their readers; closes those that are over a limit
    reader     1 per connection    the only thread that receives from it: bytes -> messages. In a room, it waits up to
                                   15 s longer for a lost person to come back; a client has one for all its connections
    sender     1 per server,       the only thread that writes to joined connections; waits for none, and closes
               1 per client        them at the end (a room's reader closes one that never joined, or carried a file)
    finder     1 per server        answers "which rooms are here?" and watches this computer's addresses
               1 per Finder        asks that question and keeps the list of answers
    transfer   up to 4 uploading   in a client; each file has its own connection, so that chat never waits for a file,
               and 4 downloading   and its worker closes it (in a server, the reader of that connection does the work)
    look-up    1 per attempt       resolves a name; a daemon, because a look-up cannot be interrupted
    closing    1 after a failure   closes the room if the accept thread or the sender fails

So a host with three pupils, one of whom downloads a file, has: main, accept, finder, the server's sender, four readers
for the people in the room (the host is one of them) and one for the download, and a client's reader and sender.

The wire: TCP over IPv4, one JSON object per line, UTF-8, ended by a newline, except the raw bytes of files.
Version 2:

    both ways      hello       protocol tls [a] [salt] [b]      first, each way; a: with a password; after b: TLS
                   ping                                        when nothing was sent for 5 s since joining
    to the room    join        name token room after           token: who this is; after: the last event seen
                   say         id text                         the ids of a token rise, across reconnects
                   leave                                       the person leaves on purpose
                   upload      token file filename size        on its own connection; after `ready`: the bytes, `sent`
                   sent        sha256
                   download    token file offset               on its own connection; answered by `sending`
    from the room  welcome     room title who name host people files missed history last_id muted paused max_file
                   said        number time who name id text [taken_back]
                   joined      number time who name
                   left        number time who name reason     left | lost | removed
                   shared      number time who name file filename size sha256 [taken_back]
                   paused      number time on                  while on, only the host writes
                   taken_back  number time which               the host deleted that message or file
                   muted       on                              to that person only
                   rejected    id code reason                  that `say` will not appear
                   ready                                       the bytes of the upload may follow
                   stored                                      the whole file arrived unharmed, now or earlier
                   sending     size                            that many raw bytes of the download follow
                   refused     code reason [seconds]           then the connection closes
                   closed      reason                          the room is over, or this person's time in it
    UDP            find        protocol                        to everyone on the network
                   room        protocol room title port people password        the answer, to the sender of `find`

After the welcome come as many lines `shared` as its `files` says (files that are older than the history that follows,
still available, and new to this person), then as many events as its `history` says, then new events as they happen.

Exactly once: a new `say` is answered by `said` or `rejected`, in order, and both raise `last_id`. The client keeps a
line until it is answered (`Outbox`); the room drops every id that is not above `last_id` (`Room.say`). If the answer
is lost, the `last_id` of the next welcome tells the client (`Outbox.catch_up`). A line typed while the Wi-Fi is down
waits in the Outbox. If the visit ends or the room was opened again, it returns to its author as `Rejected`: "unsent",
or "unanswered" if the others may have received it.

What stops one pupil from taking everything: units of work, per person and address (`Units`); space on the disk, per
address (`Files`); connections and new people per address, files on their way per person (`Admission`, `Connections`);
wrong passwords per address (`Guesses`); the size of every field (the types from `Number` to `People`).

A new kind of message, say a "typing ..." notice, needs a dataclass for the way to the room and one for the way from it
(both in `Message`, the second also in `ClientEvent`); a method of `Client` that gives it to the connection's feed;
lines in `Server._take_lines` and `Client._take_message`; and a method of `Room` that gives it to each person's feed
(`Feed.tell`), because `broadcast` would keep it in the history. As older rooms refuse unknown messages, it also needs
a new PROTOCOL.

A room with a password is encrypted, an open room is not. The hello lines agree on a key by SRP-6a (RFC 2945, 5054),
and TLS 1.3 with that pre-shared key (RFC 8446, section 2.2) proves to each side that the other knows the password,
without a certificate. Nobody can find the password by recording the network. A guess needs a connection to the real
room, or a person's own attempt to join an impostor; both are limited (`Guesses`, `Dialer`). People who know the
password can pose as the room. Everyone in the room can read all messages.
"""

from __future__ import annotations

import collections
import contextlib
import copy
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
import sys
import tempfile
import threading
import time
import unicodedata
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for_futures
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeAlias, TypeVar, get_args, get_type_hints

if sys.platform != "win32":
    import fcntl
    import resource

log = logging.getLogger("net")

# ------------------------------------------------------------------------------------------------------------- limits

PROTOCOL = 2
PORT = 5252  # not registered for anything well known, and below every system's range for outgoing connections
PORTS = range(PORT, PORT + 10)  # if PORT is taken, a room takes the next free one of these

MAX_LINE_TO_ROOM = 64 * 1024  # bytes; the longest text takes 48,000 if each character is written as \uXXXX\uXXXX
MAX_LINE_FROM_ROOM = 256 * 1024  # bytes; a welcome with 1,000 people can have about 140,000
MAX_LINE_UNJOINED = 2_048  # bytes, until the other side is accepted; a hello line that starts encryption has about 600
MAX_PIECE = 256 * 1024  # bytes in one write or one piece of a file: large enough to be fast, small enough to be fair
SHORT_PIECE = 16 * 1024  # bytes; a shorter write takes about as long as one of this size
TLS_RECORD = 16 * 1024  # bytes; the most that one record holds (RFC 8446, section 5.1)
TLS_PIECE = 64 * 1024  # bytes encrypted at once; a connection keeps the memory for one such piece until it ends
USUAL_OVERHEAD = 1 / 32  # the share of received bytes that TLS itself may use; with full records it uses 1 / 745
MAX_OVERHEAD = 2 * TLS_RECORD  # bytes that TLS may use beyond USUAL_OVERHEAD, because the last record may be incomplete
ROOM_RECEIVES = 16 * 1024  # bytes at a time, except for files; fewer mean more thread switches: tests/bench/fanout.py
CLIENT_RECEIVES = 64 * 1024  # bytes at a time, except for files

MAX_INTEGER = 2**53  # JSON readers everywhere agree on integers below this one (RFC 8259, section 6)
MAX_SAY_ID = 2**52  # the highest id of a `say`; the first one, from the client's clock, is at most half of it
MAX_DEPTH = 32  # levels of nested brackets in a line; a welcome has 3
MAX_NAME = 32  # characters
MAX_TITLE = 60  # characters
MAX_TEXT = 4_000  # characters
MAX_TEXT_LINES = 100
MAX_REASON = 200  # characters
MAX_FILENAME = 120  # characters
MAX_FILENAME_BYTES = 200  # bytes in UTF-8; file systems allow 255, and ".0a1b2c3d.part" is added
MAX_ROOM_ID = 64  # characters
MAX_HISTORY = 10**6  # events; a room can promise a newcomer at most this many
MAX_TIME = 32_503_680_000  # the year 3000, in seconds since 1970
ROOM_PEOPLE = 1_000  # people in a room, including the host: the most that the protocol allows

KEPT_EVENTS = 2_000  # events; a newcomer gets at most this many, and the room keeps up to a quarter more: see `History`
KEPT_BYTES = 32 * 2**20  # bytes of encoded events in the history
MAX_PRIVATE_LINES = 1_000  # private lines queued for one connection; a computer that needs more has stopped reading
MAX_REMEMBERED = 10_000  # people whom a room remembers, whether they are in it or have left
MAX_WAITING_EVENTS = 10_000  # events in a client's queue; with more, the client's reader waits for the window

MAX_PEOPLE = 250 if sys.platform == "win32" else ROOM_PEOPLE  # on Windows, select takes at most 512 sockets
SPARE_CONNECTIONS = 200 if sys.platform == "win32" else 300  # connections beyond one per person: unjoined, or for files
RATE = 20.0  # units a person may use per second, and at once; `Units.pace` explains units
UNIT_BYTES = 1_024  # bytes that one unit covers: a message of 3 KiB costs 3 units
RATE_PER_ADDRESS = 10  # an address may use this many times one person's rate
NEWCOMERS = 40.0, 1.0  # new people from one address: at once, and then per second
MAX_UNJOINED = 200  # unjoined connections; if a thousand ended at the same moment, their threads would delay everyone
YOUNG = 0.5  # s; honest people join sooner, so of too many unjoined connections, ones older than this usually go first
CALLS_OF_ADDRESS = 40.0, 1.5  # connections from one address: at once, and then per second
CALLS_OF_ALL = 600.0, 40.0  # connections over their address's limit, all addresses together: at once, then per second
CROWD = 40  # people; in a full room, a person from a new address replaces the newest person of an address with more
GUESSES = 5.0, 0.1  # wrong passwords from one address: at once, and then per second
GUESSES_WHERE_KNOWN = 5.0, 1.0  # wrong passwords from the address of someone in the room: at once, and then per second
PROOFS = 5  # proofs that a client sends without getting one back; each lets an impostor test one password
PROOF_WAIT = 60.0  # s between two proofs, once the client has sent PROOFS without getting one back
TELL_GUESSES = 20  # wrong passwords from all addresses together, after which the host gets one warning about them all
SPREAD_TIME = 600.0  # s after a banned person leaves, in which new people from the same address still inherit the ban
TRANSFERS_PER_PERSON = 8  # files that one person may transfer at once

MAX_FILE = 100 * 2**20  # bytes of one file, by default; the welcome states the room's limit
MAX_STORE = 2**30  # bytes of all files of a room together, by default
MAX_FILES = 1_000  # files in a room
FILES_OF_OTHERS = 0.75, 800  # share of the store, and number of files, for all people together, except the host
FILES_OF_ADDRESS = 0.25, 200  # share of the store, and number of files, for all people at one address, except the host
STORED_IDS = 10_000  # ids of files that a room remembers, so that an upload whose answer was lost is not stored twice
MAX_TRANSFERS = 100  # files of one client, including those that wait for their turn
TRANSFERS_AT_ONCE = 4  # files of one client, in each direction
TRANSFER_ATTEMPTS = 5  # attempts without progress before a transfer gives up

TICK = 0.25 if sys.platform == "win32" else 1.0  # s; a reader looks at the clock at least this often
ASK_AGAIN = 0.25  # s between two checks of whether the result of a wait is still wanted
PING_AFTER = 5.0  # s without sending anything, after which a ping is sent
SILENCE = 15.0  # s without a complete line, or progress of a file, until a connection is lost: three pings are missing
FIRST_MESSAGE = 10.0  # s to the first message, from the connection or from the last bytes sent in the TLS handshake
FIRST_MESSAGE_SPREAD = 2.0  # s; a room adds up to this to FIRST_MESSAGE at random, so silent connections end one by one
BACK_WITHIN = 15.0  # s in which a lost person can come back without being announced as lost
PROGRESS_EVERY = 0.1  # s; a running transfer sends at most one `Progress` event in this time, and one more at the end
MAX_REST = 0.02  # s; the longest rest of the sender after short pieces, and of a reader after SRP: too short to notice
SCAN_TIME = 2.0  # s for which a virus scanner may hold a file open on Windows
LAST_WORDS = 1.0  # s within which a closing connection can deliver `refused` or `closed`
FEW_PIECES = 8  # an honest line or handshake usually arrives in at most this many pieces; after more, the reader rests
REST = 0.01  # s of pause after each further short piece, so that a flood of single bytes costs little
LOOK_UP_TIME = 10.0  # s to resolve a name; Windows asks several services, one after the other
CONNECT_TIME = 5.0  # s; a lost SYN is sent again after 1 and 3 s
CLOSE_TIME = 1.5  # s that `close` allows for work in progress; everything has ended within 2 s
RETRIES = (0.0, 1.0, 2.0, 4.0, 5.0)  # s before each new attempt; the last value repeats
MAX_WAIT = 60.0  # s; if a room asks for a longer wait, the client waits only this long
WINDOW_CHECK = 0.02  # s between two checks of a client's full queue
FAILURE_PAUSE = 0.25  # s before a `Loop` that failed tries again, or accept when the system has no descriptors left
BACKLOG = 1_024  # connections that wait for accept; the system may have a smaller maximum

MAX_DATAGRAM = 2_048  # bytes; an answer has at most about 900, even if its title is written as \uXXXX\uXXXX
MAX_ROOMS = 100  # rooms in a finder's list
ROOM_GONE_AFTER = 20.0  # s without an answer, after which a room is dropped from the list
ASK_EVERY = (2.0, 6.0)  # s between questions: on the first port, and on the other nine
ASK_LESS_AFTER = 10.0  # s after which the finder asks half as often
JITTER = 0.2  # share by which ASK_EVERY varies at random, so that thirty computers do not ask in step
DATAGRAMS_AT_ONCE, DATAGRAMS_TIME = 50, 0.02  # datagrams read at once, and s of rest after them: a flood costs little
TELL_EVERY = 0.25  # s; the list of rooms does not change more often than this
ADDRESSES_EVERY = 5.0  # s between two checks of the computer's own addresses

HOST = 1  # the host's number in every room of this program
LOOPBACK = "127.0.0.1"

# ------------------------------------------------------------------------------------------------------------- errors


class ProtocolError(Exception):
    """The other side broke a rule, or the room refuses a request. `refused` carries the text, `code` and `seconds`."""

    def __init__(self, reason: str, code: str = "bad", seconds: int | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.seconds = seconds


class Trouble(enum.Enum):
    """Says why there is no connection at the moment. The window shows a message for each."""

    UNKNOWN_NAME = "the name does not resolve to an address"
    NO_NETWORK = "this computer cannot reach that address"
    NO_ROUTE = "the system says that there is no route to that computer"
    NO_ANSWER = "nothing answers at that address"
    NOBODY_LISTENS = "that computer answers, but no room is open on that port"
    NOT_A_ROOM = "something other than a chat room answers there"
    GONE = "the connection was closed"
    SILENT = "no complete message came for too long"
    UNPROVEN = "the other side could not prove that it knows the password"
    GAP = "an event is missing"
    FULL = "the room is full"
    WAIT = "the room asks this computer to wait"


class ConnectionLost(Exception):
    """The connection could not be made, or it ended; another attempt may succeed."""

    def __init__(self, trouble: Trouble = Trouble.GONE, seconds: float = 0.0) -> None:
        super().__init__(trouble.value)
        self.trouble = trouble
        self.seconds = seconds  # the next attempt should wait at least this long


# ------------------------------------------------------------------------------------------------- messages, events

# Codes that only the client uses. If a room could use them, it could imitate this program and ask for the password.
_OWN_CODES = (
    "open|password|wrong|unproven|failed|cancelled|many|busy|missing|folder|permission|changed|disk_full|disk|broken|"
    "reopened|over|unsent|unanswered"
)

# The types of the messages' fields, each with its limits: for a number, the highest value; for a text, the number of
# characters and sometimes a pattern or the number of lines; for a list, its length. `_codec` enforces the limits.
Number: TypeAlias = Annotated[int, MAX_INTEGER]  # of an event, person, port ...; a count of bytes, seconds or events
SayId: TypeAlias = Annotated[int, MAX_SAY_ID]
EventCount: TypeAlias = Annotated[int, MAX_HISTORY]
FileCount: TypeAlias = Annotated[int, MAX_FILES]
PersonCount: TypeAlias = Annotated[int, ROOM_PEOPLE]
Time: TypeAlias = Annotated[float, MAX_TIME]  # seconds since 1970, by the room's clock
Name: TypeAlias = Annotated[str, MAX_NAME]
Title: TypeAlias = Annotated[str, MAX_TITLE]
Text: TypeAlias = Annotated[str, MAX_TEXT, "", MAX_TEXT_LINES]
Reason: TypeAlias = Annotated[str, MAX_REASON]
Code: TypeAlias = Annotated[str, MAX_REASON, f"(?s)(?!({_OWN_CODES})$).*"]
Filename: TypeAlias = Annotated[str, MAX_FILENAME]
RoomId: TypeAlias = Annotated[str, MAX_ROOM_ID, "[ -~]+"]
Token: TypeAlias = Annotated[str, 32, "[0-9a-fA-F]{32}"]  # a person's token, a file's id, a salt
Sha256: TypeAlias = Annotated[str, 64, "([0-9a-fA-F]{64})?"]  # "" for a deleted file
Public: TypeAlias = Annotated[str, 512, "[0-9a-f]{512}"]  # A or B of SRP
People: TypeAlias = Annotated[tuple[tuple[int, str], ...], ROOM_PEOPLE]  # numbers and names


@dataclass(frozen=True)
class Hello:
    """The first line in each direction. `tls` says whether the client can encrypt, or whether the room has a password.

    A client that has a password sends `a`. If the room has a password, too, it answers with `b`, and TLS begins right
    after that line.
    """

    protocol: Number
    tls: bool
    a: Public | None = None
    salt: Token | None = None
    b: Public | None = None


@dataclass(frozen=True)
class Join:
    name: Name
    token: Token  # made once and kept secret
    room: RoomId | None  # the room that `after` is about
    after: Number  # the number of the last event seen


@dataclass(frozen=True)
class Say:
    id: SayId
    text: str  # limited only by the line's length: the room rejects a text that is too long, but keeps the connection


@dataclass(frozen=True)
class Ping:
    """Shows that this side is still there although it has nothing else to send."""


@dataclass(frozen=True)
class Leave:
    """The person leaves on purpose."""


@dataclass(frozen=True)
class Welcome:
    """The person has joined. Older files that are still available come next, and then the events of the history."""

    room: RoomId
    title: Title
    who: Number
    name: Name  # the name that the room gives this person: cleaned, and different from all others
    host: Number | None  # None while the host is not in the room
    people: People
    files: FileCount  # how many `shared` lines come before the history
    missed: Number  # how many events this person has not received and will not receive
    history: EventCount  # how many events follow the files
    last_id: SayId  # the highest id of this person's `say` lines that the room has answered
    muted: bool
    paused: bool
    max_file: Number  # bytes


@dataclass(frozen=True)
class Said:
    number: Number
    time: Time
    who: Number
    name: Name
    id: SayId
    text: Text
    taken_back: bool = False  # the host deleted the message; the text is empty


@dataclass(frozen=True)
class Joined:
    number: Number
    time: Time
    who: Number
    name: Name


@dataclass(frozen=True)
class Left:
    number: Number
    time: Time
    who: Number
    name: Name
    reason: Reason  # left | lost | removed


@dataclass(frozen=True)
class Shared:
    """Somebody shared a file. It is available unless `taken_back` is True."""

    number: Number
    time: Time
    who: Number
    name: Name
    file: Token  # the file's id
    filename: Filename  # an honest room has cleaned it with `clean_filename`
    size: Number  # bytes
    sha256: Sha256
    taken_back: bool = False  # the host deleted the file; there is nothing to save


@dataclass(frozen=True)
class Paused:
    """The host paused the room (`on`) or resumed it. While it is paused, only the host may write and share files."""

    number: Number
    time: Time
    on: bool


@dataclass(frozen=True)
class TakenBack:
    """The host deleted a message or a file."""

    number: Number
    time: Time
    which: Number  # the number of the deleted event


@dataclass(frozen=True)
class Muted:
    """The host muted this person, or unmuted them."""

    on: bool


@dataclass(frozen=True)
class Rejected:
    """The room did not publish this `say`, or the client cannot know whether it did (code "unanswered").

    Codes: muted, paused, empty, long; from the client alone: unsent, unanswered, unknown.
    """

    id: SayId
    code: Code
    reason: Reason


@dataclass(frozen=True)
class Refused:
    """This person cannot join, their visit ends, or the room refuses a file. Then the connection ends.

    The room's codes: bad, protocol, tls, full, wait, removed, unknown, size, space, hash, limit, muted, paused. The
    client's own codes, which no room may use: open, password, wrong, unproven, failed.
    """

    code: Code
    reason: Reason
    seconds: Number | None = None


@dataclass(frozen=True)
class Closed:
    """The room closed, removed this person, or let them join from somewhere else. The client does not reconnect."""

    reason: Reason  # the room's text


@dataclass(frozen=True)
class Find:
    """Asks everyone on the network which rooms are open."""

    protocol: Number


@dataclass(frozen=True)
class RoomHere:
    """The answer to `Find` (its type on the wire is "room"). The room is at the address that the answer comes from."""

    protocol: Number
    room: RoomId
    title: Title
    port: Number
    people: PersonCount
    password: bool


@dataclass(frozen=True)
class Upload:
    """Announces the file that this connection carries. The client repeats a broken upload from the first byte."""

    token: Token
    file: Token  # the id, chosen by the client
    filename: Filename
    size: Number  # bytes


@dataclass(frozen=True)
class Download:
    token: Token
    file: Token
    offset: Number  # bytes that this person already has


@dataclass(frozen=True)
class Ready:
    """Allows the client to send the bytes of the upload."""


@dataclass(frozen=True)
class Sent:
    """Ends an upload: all bytes of the file have been sent."""

    sha256: Sha256


@dataclass(frozen=True)
class Stored:
    """The room has stored the whole file with the right hash, and has announced it to everyone."""


@dataclass(frozen=True)
class RawBytes:
    """Announces `size` raw bytes of a download (its type on the wire is "sending")."""

    size: Number


# Events that the client creates itself.


@dataclass(frozen=True)
class Sending:
    """`Client.say` was called; this is its text, cleaned. `Said`, `Rejected` or `Settled` with the same id follows."""

    id: int
    text: str


@dataclass(frozen=True)
class Settled:
    """The room answered this line, but the answer was lost in a break. The line will not appear in this client."""

    id: int


@dataclass(frozen=True)
class Lost:
    """There is no connection; the next attempt begins in `retry_in` seconds."""

    reason: Trouble
    retry_in: float


@dataclass(frozen=True)
class Progress:
    """Tells how far a transfer has come. The first comes at once; `Uploaded`, `Saved` or `Failed` follows the last."""

    transfer: int  # the client's number for the transfer: see `Client.cancel`
    filename: str
    done: int  # bytes
    size: int  # bytes; 0 until the size is known
    is_upload: bool
    is_waiting: bool  # the transfer waits for its turn, or for a new connection


@dataclass(frozen=True)
class Uploaded:
    """The room has stored the whole file. `Shared` announces it to everyone."""

    transfer: int


@dataclass(frozen=True)
class Saved:
    transfer: int
    path: str


@dataclass(frozen=True)
class Failed:
    """The transfer ended without success and left no partial file.

    Codes: those of `refused`, and cancelled, many (too many transfers), busy (already being saved), missing,
    folder, permission, changed, disk_full, disk (`reason` is from the system), broken (too many breaks), reopened (the
    room was opened again), over (the visit has ended), failed (a fault of this program).
    """

    transfer: int
    filename: str
    code: str
    reason: str


# Events of a finder.


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
    """Lists the rooms that currently answer, in the order in which they were found."""

    rooms: tuple[FoundRoom, ...]


# Events of a server, for the host alone.


@dataclass(frozen=True)
class Reachable:
    """Lists this computer's addresses, the best one first, and says whether others can find the room."""

    addresses: tuple[str, ...]
    findable: bool


@dataclass(frozen=True)
class WrongPassword:
    """Says how many wrong passwords came from `address`, or from all addresses together if `address` is ""."""

    address: str
    times: int


@dataclass(frozen=True)
class Controls:
    """Lists the people who are muted, and those who are removed; comes whenever one of these lists changes."""

    muted: tuple[int, ...]  # numbers of people who are in the room
    removed: tuple[tuple[int, str], ...]  # numbers and names


@dataclass(frozen=True)
class RoomFailed:
    """A fault of this program or a lack of memory ended the room."""


Numbered = Said | Joined | Left | Shared | Paused | TakenBack  # the events of the history
ToRoom = Hello | Join | Say | Ping | Leave | Upload | Sent | Download
FromRoom = Hello | Welcome | Numbered | Muted | Rejected | Refused | Closed | Ping | Ready | Stored | RawBytes
Message = ToRoom | FromRoom | Find | RoomHere
ClientEvent = Welcome | Numbered | Muted | Rejected | Refused | Closed | Sending | Settled | Lost
TransferEvent = Progress | Uploaded | Saved | Failed
Event = ClientEvent | TransferEvent | Found | Reachable | WrongPassword | Controls | RoomFailed
Events: TypeAlias = "queue.Queue[Event]"

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
    """Opens a room and returns its running Server. Call `close` on it, or use it as a context manager. Any thread.

    host        the address to listen on; "" means all of this computer's addresses
    port        5252 to 5261: this port or the next free one up to 5261, else any; 0: any free port; others: only this
    password    encrypts the room; needs Python 3.13 or newer
    rate        units a person may use at once, and per second; None (for benchmarks) removes all limits per person
                and per address except the one on passwords
    history     events that are kept for latecomers and for people who come back
    limit       the highest number of people, not counting the host; 1,000 counts as 999
    max_file    the largest size of one file, in bytes
    max_store   the largest total size of all files, in bytes
    events      receives the events for the host alone: `Reachable`, `WrongPassword`, `Controls`, `RoomFailed`

    Raises ValueError for a title, a host's name or a password without a visible character, for a number out of its
    range, and for any password if this Python cannot encrypt. Raises OSError if no port is free, if `host` is not an
    address of this computer, or if the system lacks descriptors or threads.
    """
    if not 0 <= port < 65536:
        raise ValueError(f"expected a port from 0 to 65535, not {port}")
    if not 1 <= history <= MAX_HISTORY or not 1 <= limit <= MAX_PEOPLE or (rate is not None and rate <= 0):
        raise ValueError(f"history, limit and rate are above 0, and limit is at most {MAX_PEOPLE:,}")
    if not 0 <= max_file <= MAX_INTEGER or max_store < 0:
        raise ValueError("max_file and max_store are numbers of bytes")
    _check_password(password)
    room = Room(title, host_name, history=history, limit=limit, max_file=max_file, events=events)
    return Server(room, host, port, password, rate, limit, max_store)


def run_client(
    address: str, name: str, events: Events, *, port: int = PORT, password: str | None = None, token: str | None = None
) -> Client:
    """Returns a client at once; it connects to the room at `address` in the background. Any thread.

    password    the room's password; the client then joins only if the room proves that it knows the same one
    token       32 hex digits that identify a returning person; None makes a new one. The host's token is `Server.token`
    events      receives everything that happens until the client ends: `Welcome` after joining, `Lost` before each
                new attempt, `Refused` or `Closed` at the end, unless `Client.close` ended the visit

    Raises ValueError for an empty address, a port out of range or a password without a visible character, and for any
    password if this Python cannot encrypt. Raises OSError if the system lacks descriptors or threads.
    """
    _check_address(address, port)
    _check_password(password)
    return Client(address.strip(), port, name, token or secrets.token_hex(16), password, events)


def find_rooms(events: Events, *, ways: Sequence[tuple[str, str]] | None = None) -> Finder:
    """Looks for rooms until the Finder is closed; `Found` comes whenever the list of rooms changes. Any thread.

    ways        pairs (own address to send from, address to ask); None asks everyone on the network of each adapter,
                and this computer itself

    Raises OSError if the system lacks descriptors or threads.
    """
    return Finder(events, ways)


def room_token(secret: str | bytes, address: str, port: int) -> str:
    """Derives a person's token for one address and port from a secret that the token does not reveal. Any thread."""
    key = secret.encode() if isinstance(secret, str) else secret
    return hmac.new(key, f"{address.strip().lower()}:{port}".encode(), "sha256").hexdigest()[:32]


def get_local_ip() -> str:
    """Returns the address at which others probably reach this computer, else "127.0.0.1". Sends nothing. Any thread."""
    return (local_addresses() or [LOOPBACK])[0]


def _check_address(address: str, port: int) -> None:
    """Raises ValueError for an empty address, or for a port out of range."""
    if not address.strip():
        raise ValueError("expected an address")
    if not 0 < port < 65536:
        raise ValueError(f"expected a port from 1 to 65535, not {port}")


# -------------------------------------------------------------------------------------------------------- wire format

# The type of a message on the wire is its class's name in lower case, except for these three.
_OTHER_TYPE_NAMES = {"TakenBack": "taken_back", "RawBytes": "sending", "RoomHere": "room"}
_TYPE_NAMES = {kind: _OTHER_TYPE_NAMES.get(kind.__name__, kind.__name__.lower()) for kind in get_args(Message)}
TYPES: dict[str, type[Message]] = {name: kind for kind, name in _TYPE_NAMES.items()}

_SURROGATES = re.compile("[\ud800-\udfff]")


def replace_surrogates(text: str) -> str:
    """Replaces surrogates, which UTF-8 cannot encode; JSON's escapes, and text from Tk on Windows, can contain them."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


_json_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

FieldReader = Callable[[Any], Any]
FieldWriter = Callable[[Any], str]


def _codec(hint: Any) -> tuple[FieldReader, FieldWriter]:
    """Returns the functions that read and write a field. Reading raises TypeError or ValueError for a wrong value."""
    kind, *limits = get_args(hint) or (hint,)
    if limits == [type(None)]:  # the type ends in "| None"
        read, _ = _codec(kind)
        return (lambda value: None if value is None else read(value)), _json_encode
    if kind in (bool, int, float):
        return _number(kind, *limits), _json_encode if kind is bool else repr
    return (_string(*limits) if kind is str else _people(*limits)), _json_encode


def _number(kind: Any, most: float = 1) -> FieldReader:
    kinds = (int, float) if kind is float else (kind,)

    def read(value: Any) -> Any:
        if type(value) not in kinds or not 0 <= value <= most:  # not isinstance, because True is an int, too
            raise TypeError
        return float(value) if kind is float else value

    return read


def _string(most: int = MAX_LINE_TO_ROOM, pattern: str = "", lines: int = MAX_LINE_TO_ROOM) -> FieldReader:
    allowed = re.compile(pattern) if pattern else None

    def read(value: Any) -> str:
        if not isinstance(value, str) or len(value) > most or (allowed and not allowed.fullmatch(value)):
            raise TypeError
        if len(value) >= lines and value.count("\n") >= lines:
            raise TypeError
        return replace_surrogates(value)

    return read


def _people(most: int) -> FieldReader:
    (read_number, _), (read_name, _) = _codec(Number), _codec(Name)

    def read(value: Any) -> People:
        if not isinstance(value, list) or len(value) > most:
            raise TypeError
        return tuple((read_number(who), read_name(name)) for who, name in value)

    return read


# For each kind of message, the list of its fields: name, key on the wire, default (or MISSING, which no value equals),
# and the functions that read and write the value.
_FIELDS = {
    kind: [
        (name, f'"{name}":', getattr(kind, name, dataclasses.MISSING), *_codec(hint))
        for name, hint in get_type_hints(kind, include_extras=True).items()
    ]
    for kind in _TYPE_NAMES
}


def encode(message: Message) -> bytes:
    """Returns the message as one line, without the fields that have their default value. Any thread."""
    kind = type(message)
    parts = [f'{{"type":"{_TYPE_NAMES[kind]}"']
    for name, key, default, _, write in _FIELDS[kind]:  # this loop takes two thirds as long as encoding a dictionary
        value = getattr(message, name)
        if value != default:
            parts.append(key + write(value))
    return (",".join(parts) + "}\n").encode()


# `raw_decode` takes half the time of `decode`, which also looks for spaces at both ends. NaN and Infinity are not JSON,
# and `int` raises ValueError for them. Since 3.10.7, Python refuses integers with more than 4,300 digits, because
# converting them takes quadratic time.
_json_decode = json.JSONDecoder(parse_constant=int).raw_decode
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


def _is_too_deep(line: bytes) -> bool:
    """Returns True if brackets are nested more than MAX_DEPTH levels deep.

    `decode` checks this first: Python's own limit differs by version, and 3.13.18 crashes in threads with small stacks.
    """
    if line.count(b"[") + line.count(b"{") <= MAX_DEPTH:
        return False
    outside_strings = b"".join(line.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])
    steps = (1 if bracket in b"[{" else -1 for bracket in outside_strings.translate(None, _NOT_BRACKETS))
    return max(itertools.accumulate(steps), default=0) > MAX_DEPTH


@dataclass(frozen=True)
class Unknown:
    """A message of an unknown type, with its event number, if any. It never becomes an event."""

    number: int | None


def decode(line: bytes) -> Message | Unknown:
    """Decodes a line; returns Unknown for a type not in TYPES. Raises ProtocolError for a bad line. Any thread."""
    if _is_too_deep(line):
        raise ProtocolError("this line has too many brackets within brackets")
    try:
        text = line.strip().decode()
        fields, end = _json_decode(text)
        if end < len(text):
            raise ValueError("something follows its end")
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"this line is not JSON in UTF-8: {error}") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("type"), str):
        raise ProtocolError('expected a JSON object with a "type"')
    kind = TYPES.get(fields["type"])
    if kind is None:
        number = fields.get("number")
        return Unknown(number if type(number) is int and 0 <= number <= MAX_INTEGER else None)
    values: list[Any] = []
    for name, _, default, read, _ in _FIELDS[kind]:
        try:
            values.append(read(fields.get(name, default)))
        except (TypeError, ValueError):
            raise ProtocolError(f"{fields['type']} has a missing or wrong {name!r}") from None
    return kind(*values)


_Expected = TypeVar("_Expected", Hello, Welcome, Shared, Sent, Ready, Stored, RawBytes)


def _expect(message: Message | Unknown, kind: type[_Expected]) -> _Expected:
    """Returns the message if it is of this kind; raises ProtocolError otherwise."""
    if not isinstance(message, kind):
        raise ProtocolError(f"expected {_TYPE_NAMES[kind]}")
    return message


# These characters are invisible, although Unicode classifies nearly all of them as letters, marks or symbols.
_INVISIBLE = {*"\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180e\u180f\u2800\u3164\uffa0\U0001d159"}
_INVISIBLE.update(map(chr, [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]))  # variation selectors
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
# Between letters of these scripts, and between emoji, the joiners (ZWNJ and ZWJ) change how the text looks.
_JOINED = "\u0600-\u08ff\u0900-\u0dff\u1780-\u17ff\u2190-\u21ff\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff"
_STRAY_JOINER = re.compile(f"(?<![{_JOINED}])[\u200c\u200d]|[\u200c\u200d](?![{_JOINED}])")


def _is_visible(character: str) -> bool:
    return unicodedata.category(character)[0] not in "CZ" and character not in _INVISIBLE


def visible_text(text: str) -> str:
    """Returns the text as one line without invisible characters, except joiners between characters that need them."""
    text = "".join(c for c in text if c.isspace() or c in "\u200c\u200d" or _is_visible(c))
    return " ".join(_STRAY_JOINER.sub("", text).split())


def clean_name(name: str, longest: int = MAX_NAME) -> str:
    """Returns a name or title in NFKC on one line, cut to `longest`, without invisible characters; it may be empty."""
    name = name[: 32 * longest]
    before = None
    while name != before:  # removing a character may put two others side by side that NFKC combines
        before = name
        name = visible_text(unicodedata.normalize("NFKC", name))
    return visible_text(name[:longest])  # after the cut, the last character may be a space or a joiner


# Cyrillic, Greek and unusual Latin letters, each followed by the common Latin letter that it looks like.
_LOOKALIKES = (
    "АAВBЕEКKМMНHОOРPСCТTУYХXІIЈJЅSӀIԀDԚQԜWаaвbеeкkмmнhоoрpсcтtуyхxгrіiјjѕsһhӏlԁdԛqԝw"
    "ΑAΒBΕEΖZΗHΙIΚKΜMΝNΟOΡPΤTΥYΧXαaβbγyεeηnιiκkνvοoρpτtυuχxωwłlŁLøoØOđdĐDıiɑaɡg"
    "вbьbпnєeҽeүyҮYѵvѴVπnσoμuϳjͿJᴀaʙbᴄcᴅdᴇeꜰfɢgʜhɪiᴊjᴋkʟlᴍmɴnᴏoᴘpʀrꜱsᴛtᴜuᴠvᴡwʏyᴢz"
)
_TO_LATIN = str.maketrans(_LOOKALIKES[::2], _LOOKALIKES[1::2])
for _first in (0x1F150, 0x1F170, 0x1F1E6):  # letters in black circles and squares, and regional indicators (flags)
    _TO_LATIN.update({_first + place: ord("A") + place for place in range(26)})
_DIGITS_TO_LATIN = str.maketrans("01|", "oll")


def skeleton(name: str) -> str:
    """Returns a simplified form of a name; names with the same skeleton are easy to confuse.

    The skeleton has no accents, spaces, digits, punctuation or symbols, and no capital letters. Cyrillic and Greek
    letters become the Latin letters that they look like, and i becomes l. This is a small version of Unicode's UTS #39.
    """

    def is_kept(character: str) -> bool:
        is_letter = unicodedata.category(character)[0] in "LM" and unicodedata.category(character) != "Me"
        return is_letter and not unicodedata.combining(character) and character not in _INVISIBLE

    decomposed = unicodedata.normalize("NFKD", name).translate(_TO_LATIN).casefold()
    return "".join(filter(is_kept, unicodedata.normalize("NFKD", decomposed))).replace("i", "l")


def clean_text(text: str) -> str:
    """Returns the text without control characters except tab and newline; replaces other line ends and surrogates."""
    if text.isprintable():  # true for most texts, and ten times as fast as the replacements below
        return text
    return _CONTROL.sub("", _LINE_ENDS.sub("\n", replace_surrogates(text)))


# Windows reserves these names of devices, with or without a file name extension.
_RESERVED_NAME = re.compile(r"(?i)(con|prn|aux|nul|(conin|conout|clock)\$|(com|lpt)[0-9\xb9\xb2\xb3])\s*(\..*)?")


def clean_filename(name: str) -> str:
    """Returns a file name that every system can store: no path, no invisible characters, not too long."""
    name = re.split(r"[/\\]", replace_surrogates(name))[-1][-8 * MAX_FILENAME :]
    name = re.sub(r'[<>:"|?*]', "_", unicodedata.normalize("NFC", visible_text(name))).rstrip(". ")
    if _RESERVED_NAME.fullmatch(name):
        name = f"_{name}"
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension) > 20:
        stem, dot, extension = name, "", ""
    while len(stem + dot + extension) > MAX_FILENAME or len((stem + dot + extension).encode()) > MAX_FILENAME_BYTES:
        stem = stem[:-1]
    return visible_text(stem.rstrip() + dot + extension).rstrip(". ") or "file"


def text_problem(text: str) -> tuple[str, str] | None:
    """Returns (code, reason) if the room rejects this cleaned text, else None. Client and room both call this."""
    if len(text) > MAX_TEXT:
        return "long", f"A message has at most {MAX_TEXT:,} characters; this one has {len(text):,}."
    lines = text.count("\n") + 1
    if lines > MAX_TEXT_LINES:
        return "long", f"A message has at most {MAX_TEXT_LINES} lines; this one has {lines:,}."
    if not any(map(_is_visible, text)):
        return "empty", "The message is empty."
    return None


# --------------------------------------------------------------------------------------------------- password and TLS

# Pre-shared keys need Python 3.13; from 3.15 on, HAS_PSK_TLS13 says whether they work in TLS 1.3.
CAN_ENCRYPT = bool(getattr(ssl, "HAS_PSK", False) and getattr(ssl, "HAS_PSK_TLS13", True))

_PASSWORD_LETTERS = "23456789abcdefghjkmnpqrstvwxyz"  # without characters that look alike
_PASSWORD_LENGTH = 6  # characters, which make 29 bits; that is enough, because each guess costs a connection
_PSK_IDENTITY = "chat-room"
_WRONG_PASSWORD = {"BINDER_DOES_NOT_VERIFY", "SSLV3_ALERT_ILLEGAL_PARAMETER", "TLSV1_ALERT_DECRYPT_ERROR"}


def suggest_password() -> str:
    """Returns a random password that is easy to read aloud, such as "k7m-w3h", with both letters and digits."""
    letters = ""
    while is_weak_password(letters):
        letters = "".join(secrets.choice(_PASSWORD_LETTERS) for _ in range(_PASSWORD_LENGTH))
    return f"{letters[:3]}-{letters[3:]}"


def clean_password(password: str) -> str:
    """Returns the password in NFC; if it looks like a suggested one, in lower case and without dashes and spaces."""
    bare = re.sub(r"[\s-]", "", password).lower()
    if len(bare) == _PASSWORD_LENGTH and set(bare) <= set(_PASSWORD_LETTERS):
        return bare
    return unicodedata.normalize("NFC", replace_surrogates(password))


def is_weak_password(password: str) -> bool:
    """Returns True if the password is easy to guess: too short, only digits, or only letters."""
    clean = clean_password(password)
    return len(clean) < _PASSWORD_LENGTH or clean.isdigit() or clean.isalpha()


def _check_password(password: str | None) -> None:
    """Raises ValueError for a password without a visible character, or for any if this Python cannot encrypt."""
    if password is not None and not CAN_ENCRYPT:
        version = ".".join(map(str, sys.version_info[:2]))
        raise ValueError(f"this computer has Python {version}; a room password needs 3.13 or newer")
    if password is not None and not visible_text(clean_password(password)):
        raise ValueError("expected a password, or None")


@functools.lru_cache(maxsize=8)
def _table_of_powers(base: int, prime: int) -> list[list[int]]:
    """Returns 16 powers for each hex digit of a 256-bit exponent, lowest digit first: one per value of the digit."""
    table = []
    for _ in range(256 // 4):
        powers = [1]
        for _ in range(16):
            powers.append(powers[-1] * base % prime)
        base = powers.pop()
        table.append(powers)
    return table


def fixed_base_power(base: int, exponent: int, prime: int) -> int:
    """Returns base ** exponent % prime for an exponent of up to 256 bits, in a third of the time that `pow` takes.

    This suits bases used often: see "fixed-base windowing" in the Handbook of Applied Cryptography, 14.6.3. The
    first call for a base takes about 10 ms longer.
    """
    result = 1
    for powers in _table_of_powers(base, prime):
        result = result * powers[exponent & 15] % prime
        exponent >>= 4
    return result


class Srp:
    """SRP-6a, a password-authenticated key exchange (RFC 2945; RFC 5054 for padding, k and u). Any thread.

    prime, generator   define the group
    hash_name          a name that hashlib knows
    identity           what the RFCs call the user name

    The letters come from the RFCs: x is derived from the password, v from x; a and b are secret, A and B public; S is
    the shared secret. `pow` holds the GIL; with the 2048-bit group, A takes about 3 ms, B 1, and a room's S 4.
    """

    def __init__(self, prime: int, generator: int, hash_name: str, identity: str) -> None:
        self.prime, self.generator = prime, generator
        self._hash_name, self._identity = hash_name, identity
        self.k = self._hash(self.pad(prime), self.pad(generator))

    def pad(self, value: int) -> bytes:
        """Returns the value as big-endian bytes, padded on the left to the length of the prime."""
        return value.to_bytes((self.prime.bit_length() + 7) // 8, "big")

    def _hash(self, *parts: bytes) -> int:
        return int.from_bytes(hashlib.new(self._hash_name, b"".join(parts)).digest(), "big")

    def x(self, salt: bytes, password: str) -> int:
        inner = hashlib.new(self._hash_name, f"{self._identity}:{password}".encode()).digest()
        return self._hash(salt, inner)

    def power(self, exponent: int) -> int:
        """Returns generator ** exponent % prime: v if the exponent is x, A if it is a."""
        return pow(self.generator, exponent, self.prime)

    def public_b(self, v: int, b: int) -> int:
        return (self.k * v + fixed_base_power(self.generator, b, self.prime)) % self.prime

    def u(self, public_a: int, public_b: int) -> int:
        """Returns u. Raises ValueError for a public value or a u that would make S predictable."""
        u = self._hash(self.pad(public_a), self.pad(public_b))
        if not (0 < public_a < self.prime and 0 < public_b < self.prime and u):
            raise ValueError("a public value is out of range")
        return u

    def client_secret(self, a: int, x: int, public_a: int, public_b: int) -> int:
        """Returns S for the client. Raises ValueError as `u` does.

        The time that `pow` takes depends on its exponent. Adding a random multiple of prime - 1 to x does not change
        the result (Fermat's little theorem), but varies the time, so the time reveals nothing about x. In the other
        exponent, a + u * x, the random a has the same effect.
        """
        u = self.u(public_a, public_b)
        blinded = x + secrets.randbits(64) * (self.prime - 1)
        return pow(public_b - self.k * self.power(blinded), a + u * x, self.prime)

    def room_secret(self, b: int, v: int, public_a: int, public_b: int) -> int:
        """Returns S for the room. Raises ValueError as `u` does."""
        v_to_u = fixed_base_power(v, self.u(public_a, public_b), self.prime)
        return pow(public_a * v_to_u, b, self.prime)


_PRIME_2048 = """
    AC6BDB41324A9A9BF166DE5E1389582FAF72B6651987EE07FC3192943DB56050A37329CBB4A099ED8193E0757767A13DD52312AB4B03310DCD7F
    48A9DA04FD50E8083969EDB767B0CF6095179A163AB3661A05FBD5FAAAE82918A9962F0B93B855F97993EC975EEAA80D740ADBF4FF747359D041
    D5C33EA71D281E446B14773BCA97B43A23FB801676BD207A436C6481F1D2B9078717461A5B9D32E688F87748544523B524B0D57D5EA77A2775D2
    ECFA032CFBDBF52FB3786160279004E57AE6AF874E7303CE53299CCC041C7BC308D82A5698F3A8D0C38271AE35F8E9DBFBB694B5C803D89F7AE4
    35DE236D525F54759B65E372FCD68EF20FA7111F9E4AFF73"""
SRP = Srp(int("".join(_PRIME_2048.split()), 16), 2, "sha256", _PSK_IDENTITY)  # RFC 5054, appendix A


def session_key(secret: int, client_hello: bytes, room_hello: bytes) -> bytes:
    """Returns the key of one connection. It depends on both hello lines: if either is changed, the handshake fails."""
    shared = hashlib.new("sha256", SRP.pad(secret)).digest()
    return hmac.digest(shared, client_hello + b"\n" + room_hello + b"\n", "sha256")


class Tls:
    """Encrypts and decrypts bytes in memory with TLS, without a socket.

    OpenSSL allows only one call at a time for each connection, but two threads use it: the reader and the sender. So a
    lock guards all calls; no thread waits for the network while it holds the lock. Any thread.
    """

    def __init__(self, key: Callable[[], bytes], is_room: bool) -> None:
        """key: a function that returns the pre-shared key; the handshake calls it when it needs the key."""
        self._lock = threading.Lock()
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if is_room else ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if sys.version_info >= (3, 13):
            if is_room:
                context.num_tickets = 0  # with session tickets, a client that closes early would lose data
                context.set_psk_server_callback(lambda identity: key() if identity == _PSK_IDENTITY else b"")
            else:
                # verify_mode stays CERT_REQUIRED, and no authority is loaded, so no certificate is accepted.
                context.check_hostname = False
                context.set_psk_client_callback(lambda _hint: (_PSK_IDENTITY, key()))
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=is_room)
        self.failure: str | None = None  # why the handshake failed; a reason of OpenSSL's

    def handshake_step(self, received: bytes | memoryview) -> tuple[bool, bytes]:
        """Returns (whether the handshake has ended, the bytes to send); `failure` then says whether it failed."""
        with self._lock:
            self._incoming.write(received)
            try:
                self._object.do_handshake()
                if not self._object.session_reused:  # the other side showed a certificate instead
                    self.failure = "no pre-shared key was used"
            except ssl.SSLWantReadError:
                return False, self._outgoing.read()
            except ssl.SSLError as error:
                self.failure = error.reason or "no reason"
            return True, self._outgoing.read()

    def encrypt(self, plain: bytes | memoryview) -> bytes:
        """Returns all of `plain` as TLS records. Raises ssl.SSLError once a forged record has arrived."""
        pieces = []
        with self._lock:
            for start in range(0, len(plain), TLS_PIECE):
                self._object.write(plain[start : start + TLS_PIECE])
                pieces.append(self._outgoing.read())
        return b"".join(pieces)

    def decrypt(self, received: bytes | memoryview) -> bytes:
        """Decrypts what it can. Raises ConnectionLost for a forged record, too many key updates, or the end of TLS."""
        pieces = []
        with self._lock:
            self._incoming.write(received)
            try:
                while piece := self._object.read(TLS_RECORD):
                    pieces.append(piece)
                if not pieces:  # the other side ended TLS; further bytes would pile up unread
                    raise ConnectionLost
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                raise ConnectionLost from error
            if self._outgoing.pending > TLS_PIECE:  # the other side keeps asking for new keys, and our answers pile up
                raise ConnectionLost
        return b"".join(pieces)


# ----------------------------------------------------------------------------------------------- waiting and limiting


class Deadline:
    """Limits the time of a job; all steps of the job share one Deadline. Not thread-safe.

    seconds     from the start, or from the last `restart`, until the time is up
    trouble     the reason in the ConnectionLost that `left` raises
    is_wanted   returns whether the result is still wanted; None if only an `abort` can end the job early
    clock       returns monotonic seconds
    """

    def __init__(
        self,
        seconds: float,
        trouble: Trouble = Trouble.SILENT,
        is_wanted: Callable[[], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._trouble = trouble
        self._is_wanted = is_wanted
        self._clock = clock
        self._end = clock() + seconds

    def restart(self) -> None:
        """Starts the time again, because the job made progress."""
        self._end = self._clock() + self._seconds

    def left(self) -> float:
        """Returns how long one wait may last, in s. Raises ConnectionLost if time is up or `is_wanted` says no."""
        left = self._end - self._clock()
        if left <= 0 or (self._is_wanted is not None and not self._is_wanted()):
            raise ConnectionLost(self._trouble)
        return min(TICK if self._is_wanted is None else ASK_AGAIN, left)


class RateLimit:
    """Allows each key `at_once` units, and then `per_second` units per second (a token bucket). Any thread.

    A key is, for example, a person's number or an address. With `math.inf` units per second, there is no limit.
    """

    def __init__(self, at_once: float, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._at_once = at_once
        self._per_second = per_second
        self._clock = clock
        self._lock = threading.RLock()
        self._full_at: dict[Hashable, float] = {}  # when all units of a key will be available again
        self._many = 1_000  # above this number of keys, those whose units are all available are removed

    def wait(self, key: Hashable, units: float = 1.0) -> float:
        """Returns the seconds until `units` units will be available, or 0 if they are available now. Takes none."""
        if self._per_second == math.inf:
            return 0.0
        taken_until = max(self._full_at.get(key, 0.0) - self._clock(), 0.0)
        wait = taken_until + (units - self._at_once) / self._per_second
        return wait if wait > 1e-6 else 0.0  # less than a microsecond is a rounding error

    def take(self, key: Hashable, units: float = 1.0) -> float:
        """Takes the units, or gives them back if negative; returns the seconds until any debt that results is paid."""
        with self._lock:
            wait = self.wait(key, units)
            now = self._clock()
            self._full_at[key] = max(self._full_at.get(key, now), now) + units / self._per_second
            if len(self._full_at) > self._many:
                self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
                self._many = max(1_000, 2 * len(self._full_at))
            return wait

    def try_take(self, key: Hashable, units: float = 1.0) -> float:
        """Takes the units if they are available, and returns 0; otherwise only returns the seconds until they are."""
        with self._lock:
            wait = self.wait(key, units)
            return self.take(key, units) if wait == 0 else wait


# --------------------------------------------------------------------------------------------------------- connection


class Life(enum.Enum):
    """The states of a connection, in this order. Only the methods of its `Feed` change the state."""

    JOINING = "its reader receives the first messages, and answers itself; a file's connection stays here"
    OPEN = "it has joined: the sender writes, the reader reads"
    ENDING = "its last lines are on the way; what it says no longer counts"
    CLOSED = "nothing more is given to it"


END_OF_FEED = b""  # takes the place of a line and means that nothing more will be written


class Feed:
    """Holds what a connection still gets: private lines, and a cursor into the history. It uses no socket.

    The lock of the Server or Client that owns the feed guards it.
    """

    def __init__(self) -> None:
        self.life = Life.JOINING
        self.cursor = 0  # the number of the next event that the connection gets
        # Pairs (number, line): a line may be sent once `cursor` has reached its number.
        self.private_lines: collections.deque[tuple[int, bytes]] = collections.deque()

    def open(self, cursor: int) -> None:
        """Marks the connection as joined. It will get all events from number `cursor` on."""
        self.life = Life.OPEN
        self.cursor = cursor

    def tell(self, line: bytes, after: int = 0) -> None:
        """If the feed is open, queues a line to follow all events below `after`; closes the feed if too many wait."""
        if self.life is not Life.OPEN:
            return
        if len(self.private_lines) < MAX_PRIVATE_LINES:
            self.private_lines.append((after, line))
        else:  # the client has stopped reading; when it reconnects, the welcome says which lines were answered
            self.close()

    def end(self, after: int, last_words: Message | None) -> None:
        """Ends an open feed: it gets all events below `after`, the private lines due by then, and any last words."""
        if self.life is Life.OPEN:
            self.private_lines = collections.deque(line for line in self.private_lines if line[0] <= after)
            if last_words is not None:
                self.private_lines.append((after, encode(last_words)))
            self.private_lines.append((after, END_OF_FEED))
            self.life = Life.ENDING

    def close(self) -> None:
        """Ends the feed at once: it gets nothing more, not even last words."""
        self.private_lines.clear()
        self.life = Life.CLOSED

    def pop_private_lines(self) -> bytes | None:
        """Removes and returns all private lines due now, joined. None: none is due; END_OF_FEED: the feed is closed."""
        lines: list[bytes] = []
        while self.private_lines and self.private_lines[0][0] <= self.cursor:
            if self.private_lines[0][1] == END_OF_FEED:
                if not lines:
                    self.close()
                    return END_OF_FEED
                break
            lines.append(self.private_lines.popleft()[1])
        return b"".join(lines) if lines else None


# For one socket, poll is best: unlike epoll, it needs no descriptor; unlike select, it takes descriptors above 1,023.
_OneSocketSelector: type[selectors.BaseSelector] = getattr(selectors, "PollSelector", selectors.SelectSelector)


class Connection:
    """A socket that carries lines or a file, together with its feed.

    A connection that carries a file, or has not joined yet, belongs to one thread alone: its reader or, for a transfer
    of a client, the worker. A joined one has two threads: a reader, the only one that receives, and a sender, the only
    one that writes. The sender never waits for the reader; the reader waits for the sender only in `linger`. If the
    reader releases the connection, the sender closes the socket; otherwise the reader closes it. Any other thread may
    only `abort` it. After `start_tls`, everything that is sent is encrypted.

    The reader's methods raise ConnectionLost if the connection ends or takes too long, and ProtocolError if a line is
    too long. The constructor raises OSError if the connection has already ended.
    """

    def __init__(self, sock: socket.socket, receive_size: int) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)  # sends short lines at once (no Nagle)
        self.socket = sock
        self.address: str = sock.getpeername()[0]
        self.own_address: str = sock.getsockname()[0]
        self.feed = Feed()
        # Reader thread only:
        self.received = 0  # bytes from the network, before decryption
        self.overhead = 0.0  # bytes that TLS added beyond its usual share of `received`; negative if it added less
        self.longest_line = MAX_LINE_UNJOINED  # bytes, newline included; more once the other side is accepted
        self._receive_size = receive_size
        self._unread = b""  # received, and not yet returned
        self._shortage = 0  # bytes by which pieces were shorter than SHORT_PIECE since `next_lines` last had a line
        self._readable = _OneSocketSelector()
        self._readable.register(sock, selectors.EVENT_READ)
        self._buffer = memoryview(b"")  # reused for all pieces of a file, which saves time
        self._silence = 0.0  # s for which `next_lines` has waited since it last had a line
        # Sender thread only:
        self.unsent = b""  # the rest of a piece that is only partly written
        self._sent_at = time.monotonic()
        # Any thread:
        self._tls: Tls | None = None  # set before the connection joins, and never changed again
        self._all_written = threading.Event()  # set once nothing more will be written
        self._open_lock = threading.Lock()  # `abort` must not use a closed descriptor: a new socket may have it

    # Reader thread: receiving.

    def next_lines(self, wait: float, most: int = -1) -> list[bytes]:
        """Returns all complete lines, or up to `most`; may return []. Receives once, within `wait` s, if necessary.

        Once the connection is open, raises ConnectionLost if such waits without a line add up to SILENCE s.
        """
        start = time.monotonic()
        if b"\n" not in self._unread and len(self._unread) < self.longest_line:
            self._unread += self._receive(wait, self._receive_size)
        lines = self._unread.split(b"\n", most)
        if len(lines[0]) >= self.longest_line:
            raise ProtocolError(f"a line is longer than {self.longest_line} bytes")
        # If a later line is too long, the lines before it are returned first.
        good = list(itertools.takewhile(lambda line: len(line) < self.longest_line, lines[:-1]))
        self._unread = b"\n".join(lines[len(good) :])
        if good:
            self._shortage, self._silence = 0, 0.0
        else:
            self._silence += min(wait, time.monotonic() - start)
        if self._silence > SILENCE and self.feed.life is Life.OPEN:
            raise ConnectionLost(Trouble.SILENT)
        return good

    def wait_for_line(self, deadline: Deadline) -> bytes:
        """Returns the next line, and keeps later ones for the next call. Raises ProtocolError, ConnectionLost."""
        while not (lines := self.next_lines(deadline.left(), most=1)):
            pass
        return lines[0]

    def receive_bytes(self, size: int, deadline: Deadline) -> Iterator[bytes | memoryview]:
        """Yields `size` raw bytes in pieces, each valid until the next, and restarts the deadline with each piece."""
        self._buffer = memoryview(bytearray(MAX_PIECE))
        while size > 0:
            data = self._next_bytes(min(MAX_PIECE, size), deadline)
            deadline.restart()
            piece, self._unread = data[:size], bytes(data[size:])
            size -= len(piece)
            yield piece

    def start_tls(self, tls: Tls, deadline: Deadline, step: Callable[[bytes | memoryview], tuple[bool, bytes]]) -> None:
        """Does the TLS handshake; `step` is or wraps `tls.handshake_step`. Raises ConnectionLost, also if it fails."""
        has_ended, answer = step(b"")
        self.send_bytes(answer, deadline)
        while not has_ended:
            has_ended, answer = step(self._next_bytes(self._receive_size, deadline))  # all after the hello line is TLS
            self.send_bytes(answer, deadline)
        if tls.failure is not None:  # the last answer was an alert
            raise ConnectionLost
        self._tls = tls
        self._unread = tls.decrypt(b"")

    def _next_bytes(self, most: int, deadline: Deadline) -> bytes | memoryview:
        """Returns all unread bytes or, if there are none, up to `most` that arrive. Raises ConnectionLost."""
        data: bytes | memoryview = self._unread
        self._unread = b""
        while not data:
            data = self._receive(deadline.left(), most)
        return data

    def _receive(self, wait: float, most: int) -> bytes | memoryview:
        """Returns what arrives within `wait` s, decrypted, or b"" if nothing does. Raises ConnectionLost."""
        try:
            try:
                data = self._recv(most)
            except BlockingIOError:
                self._readable.select(wait)
                data = self._recv(most)  # even if nothing is readable: on Windows, only `recv` notices an `abort`
        except BlockingIOError:  # nothing has arrived
            return b""
        except OSError as error:
            raise ConnectionLost from error
        if not data:
            raise ConnectionLost
        self.received += len(data)
        self._shortage += SHORT_PIECE - len(data)
        if self._shortage > FEW_PIECES * SHORT_PIECE:  # many pieces, and short on average
            time.sleep(REST)
        if self._tls is None:
            return data
        plain = self._tls.decrypt(data)
        self.overhead += len(data) * (1 - USUAL_OVERHEAD) - len(plain)
        # Endless TLS key updates, or records of one byte; once the connection is open, `Units.pace` charges for them.
        if self.overhead > MAX_OVERHEAD and self.feed.life is Life.JOINING:
            raise ConnectionLost
        return plain

    def _recv(self, most: int) -> bytes | memoryview:
        if not self._buffer:
            return self.socket.recv(most)
        return self._buffer[: self.socket.recv_into(self._buffer, most)]

    # Reader thread: writing without the Sender (a file, or a connection that has not joined), and the end.

    def keep_buffer_small(self) -> None:
        """Makes the send buffer small before a file is sent, so that almost all bytes counted as sent have arrived.

        A small buffer is not slower than the megabytes that a system may use by default: see tests/bench/files.py.
        """
        with contextlib.suppress(OSError):  # macOS raises it if the other side is gone; the next `send` raises it, too
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_PIECE)

    def send_unjoined(self, message: Message) -> None:
        """Writes a message without the Sender. Raises ConnectionLost, also after LAST_WORDS s without progress."""
        self.send_bytes(encode(message), Deadline(LAST_WORDS))

    def send_bytes(self, data: bytes | memoryview, deadline: Deadline) -> None:
        """Writes all of `data`, and restarts the deadline whenever some of it is sent. Raises ConnectionLost."""
        try:
            rest = memoryview(data if self._tls is None else self._tls.encrypt(data))
            while rest:
                try:
                    rest = rest[self.socket.send(rest) :]
                    deadline.restart()
                except BlockingIOError:
                    with _OneSocketSelector() as writable:
                        writable.register(self.socket, selectors.EVENT_WRITE)
                        writable.select(deadline.left())
        except OSError as error:  # an SSLError is one, too
            raise ConnectionLost from error

    def linger(self) -> None:
        """Discards input for up to LAST_WORDS s while last words go out: closing with unread input could lose them."""
        if self.feed.life is Life.JOINING:  # otherwise the sender ends the writing
            self.write(END_OF_FEED)
        end = time.monotonic() + LAST_WORDS
        with contextlib.suppress(ConnectionLost):
            while (left := end - time.monotonic()) > 0:
                self._receive(min(TICK, left), MAX_PIECE)
                time.sleep(REST)
        self._all_written.wait(max(0.0, end - time.monotonic()))

    # Sender thread.

    def needs_ping(self) -> bool:
        """Returns True if the connection is open and has sent nothing for PING_AFTER s."""
        return self.feed.life is Life.OPEN and time.monotonic() - self._sent_at >= PING_AFTER

    def write(self, piece: bytes) -> bool:
        """Starts to write a piece; returns False if some of it is still unsent. END_OF_FEED ends the writing."""
        if piece == END_OF_FEED:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)
            self._all_written.set()
            return True
        try:
            self.unsent = piece if self._tls is None else self._tls.encrypt(piece)
        except ssl.SSLError:  # the reader received forged bytes, which broke TLS
            self.abort()
        return self.flush()

    def flush(self) -> bool:
        """Continues to write the piece; returns False if some of it is still unsent."""
        try:
            while self.unsent:
                self.unsent = self.unsent[self.socket.send(self.unsent) :]
        except BlockingIOError:
            return False
        except OSError:
            self.unsent = b""
            self.abort()  # the reader notices this, and ends the connection
        self._sent_at = time.monotonic()
        return True

    # Any thread.

    def abort(self) -> None:
        """Shuts the socket down at once, which wakes the reader (on Windows, the reader notices it within TICK s)."""
        with self._open_lock, contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Closes the socket. The last thread to use it calls this: the sender after a release, otherwise the reader."""
        with self._open_lock:
            self._readable.close()
            self.socket.close()


def _start_thread(
    run: Callable[[], None], name: str, undo: Callable[[], None] = lambda: None, is_daemon: bool = False
) -> threading.Thread:
    """Starts and returns a thread. If the system cannot start another one, calls `undo` and raises OSError."""
    thread = threading.Thread(target=run, name=name, daemon=is_daemon)
    try:
        thread.start()
    except RuntimeError as error:
        undo()
        raise OSError(errno.EAGAIN, "This computer cannot start another thread.") from error
    return thread


# ------------------------------------------------------------------------------------------------------------- sender

Writes = list[tuple[Connection, bytes]]  # at most one piece for each connection; END_OF_FEED ends the writing


Step = Callable[[selectors.BaseSelector], None]


class Loop:
    """A thread that repeats a step until it is closed. Any thread may call `wake` and `close`.

    step        called with the selector that watches the sockets; only this thread uses that selector
    on_failure  called on this thread after an unexpected error in `step`; then the loop continues, unless it was closed
    sockets     watched for reading; closed at the end, or if the constructor fails

    The constructor raises OSError if the system has no descriptor or thread left.
    """

    def __init__(self, name: str, step: Step, on_failure: Callable[[], None], *sockets: socket.socket) -> None:
        self._step = step
        self._on_failure = on_failure
        self._is_closing = False
        self._is_awake = False  # True while the socketpair holds an unread byte
        self._open_lock = threading.Lock()
        with contextlib.ExitStack() as undo:
            for sock in sockets:
                undo.enter_context(sock)
            self._selector = undo.enter_context(selectors.DefaultSelector())
            self._receiver, self._waker = map(undo.enter_context, socket.socketpair())
            for end in (self._receiver, self._waker):
                end.setblocking(False)
                if end.family == socket.AF_INET:  # on Windows a socketpair consists of TCP sockets
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
            for sock in (self._receiver, *sockets):
                self._selector.register(sock, selectors.EVENT_READ, sock)
            self._thread = _start_thread(self._run, name)
            undo.pop_all()

    def wake(self) -> None:
        """Ends a wait for the selector: sends a byte through a socketpair, unless an unread one is in it."""
        if self._is_awake:
            return
        self._is_awake = True
        with self._open_lock, contextlib.suppress(OSError):
            self._waker.send(b"!")

    def close(self) -> None:
        """Ends the loop after the current step. Returns at once."""
        self._is_closing = True
        self.wake()

    def join(self, timeout: float | None = None) -> bool:
        """Waits up to `timeout` s for the thread to end; returns True if it has. Any thread except the loop's own."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Ends the loop, and returns when its thread has ended. Any thread except the loop's own."""
        self.close()
        self.join()

    # The loop's own thread.

    def _run(self) -> None:
        try:
            while not self._is_closing:
                try:
                    self._step(self._selector)
                except Exception:
                    log.exception("the thread %r failed", threading.current_thread().name)
                    self._on_failure()
                    time.sleep(FAILURE_PAUSE)
        finally:
            self._finish()

    def _clear(self) -> None:
        """Removes what `wake` sent. A step that is woken to do work calls this before it looks for that work."""
        with contextlib.suppress(BlockingIOError):
            self._receiver.recv(64)
        # This must come last: in the other order, `recv` could remove the byte of a new `wake` while the flag stays
        # True, and no later `wake` would wake the thread.
        self._is_awake = False

    def _finish(self) -> None:
        """Closes everything that the selector watches, and the selector."""
        with self._open_lock:
            for key in self._selector.get_map().values():
                key.data.close()
            self._selector.close()
            self._waker.close()


class Sender(Loop):
    """The one thread that writes to joined connections, and closes them at the end. It never waits for any of them.

    next_writes   called on the sender's thread; returns the pieces to write now
    on_failure    called after an unexpected error; then the sender continues, so that it can still write last words

    If a socket's buffer is full, the selector watches the socket until it can take more. Meanwhile the sender spends no
    time on it. `stop` is called after the last `release`.
    """

    def __init__(self, name: str, next_writes: Callable[[], Writes], on_failure: Callable[[], None]) -> None:
        self._next_writes = next_writes
        self._released: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        super().__init__(name, self._write, on_failure)

    def release(self, connection: Connection) -> None:
        """Lets the sender close the connection. Its reader calls this when it no longer uses the connection."""
        self._released.put(connection)
        self.wake()

    # Sender thread.

    def _write(self, selector: selectors.BaseSelector) -> None:
        """Writes the pieces from `next_writes`, then waits for something to write.

        After short pieces, the sender rests as long as they took (at most MAX_REST s), so that the next pieces contain
        more lines. This is Nagle's idea (RFC 896) for a whole room: 900 people who join at once cause far fewer writes.
        """
        self._close_released()
        start = time.perf_counter()
        writes = self._next_writes()
        for connection, piece in writes:
            if not connection.write(piece):
                selector.register(connection.socket, selectors.EVENT_WRITE, connection)
        if sum(len(piece) for _, piece in writes) < SHORT_PIECE * len(writes):
            time.sleep(min(time.perf_counter() - start, MAX_REST))
        for key, _ in selector.select(0 if writes else TICK):  # after TICK, some connections may need a ping
            if key.data is self._receiver:
                self._clear()
            elif key.data.flush():
                selector.unregister(key.fileobj)

    def _close_released(self) -> None:
        while not self._released.empty():
            connection = self._released.get()
            with contextlib.suppress(KeyError):  # it is registered only while something is unsent
                self._selector.unregister(connection.socket)
            connection.close()

    def _finish(self) -> None:
        self._close_released()
        super()._finish()


# ----------------------------------------------------------------------------------------------------------- the room


class History:
    """Keeps the newest events of a room, encoded and numbered from 1. Not thread-safe.

    It keeps up to a quarter more events than it promises, so that a newcomer who starts at the oldest promised event
    has time to receive it, even while the others keep writing.
    """

    def __init__(self, most_events: int) -> None:
        self.most_promised = most_events
        self._most_kept = most_events * 5 // 4
        self.lines: dict[int, bytes] = {}  # by number; only `append` and `replace` change it
        self._size = 0  # bytes
        self.oldest = 1  # the number of the oldest kept event
        self.next = 1  # the number of the next event

    def append(self, line: bytes) -> None:
        self.lines[self.next] = line
        self._size += len(line)
        self.next += 1
        while len(self.lines) > self._most_kept or self._size > KEPT_BYTES:
            self._size -= len(self.lines.pop(self.oldest))
            self.oldest += 1

    def replace(self, number: int, line: bytes) -> None:
        """Replaces a kept event for everyone who has not received it yet."""
        self._size += len(line) - len(self.lines[number])
        self.lines[number] = line

    def piece(self, start: int, end: int) -> tuple[bytes, int]:
        """Joins as many events of range(start, end) as fit into a piece; returns them and the next event's number."""
        lines: list[bytes] = []
        size = 0
        for number in range(start, end):
            size += len(self.lines[number])
            if lines and size > MAX_PIECE:
                break
            lines.append(self.lines[number])
        return b"".join(lines), start + len(lines)


@dataclass(eq=False)
class Ban:
    """One use of Mute or Remove. People who inherit a ban share the object: unmuting one of them unmutes them all."""

    address: str | None  # new people from this address inherit the ban; None: nobody inherits it


@dataclass(eq=False)
class Person:
    """A person whom the room knows: in the list of people, or remembered after leaving."""

    who: int
    token: str = dataclasses.field(repr=False)
    name: str
    address: str  # of the newest connection; LOOPBACK if it came from this computer
    feed: Feed | None = None  # of the newest connection, the only one whose messages count; None: not in the list
    last_id: int = 0  # the highest id of a `say` that the room has answered
    muted: Ban | None = None
    removed: Ban | None = None
    left_at: float = -math.inf  # monotonic s; when they were last taken from the list

    @property
    def present(self) -> bool:
        """True while the person is in the list of people, where a lost person stays for BACK_WITHIN s."""
        return self.feed is not None


_REMOVED = "The host removed you from this room."
_NOT_IN = "Only people who are in the room share and save its files."
_NO_SPACE = "The room has no space left for this file."
_DISK_FAILS = "The disk of the host's computer is full or failing."
_MANY_NEW = "Too many new people came from this address"
_PING = encode(Ping())

Pieces = dict[tuple[int, int], tuple[bytes, int]]  # arguments of `History.piece` -> its result


class Room:
    """Implements the rules of a room: who is in it under which name, who may write, and what everyone gets.

    It uses no sockets and no threads: the Server calls it while holding a lock, and tests call it directly. It reaches
    people through their feeds. The constructor cleans `title` and `host_name`.
    """

    def __init__(
        self,
        title: str,
        host_name: str = "Host",
        *,
        history: int = KEPT_EVENTS,
        limit: int = MAX_PEOPLE,
        max_file: int = MAX_FILE,
        events: Events | None = None,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises ValueError if the title or the host's name has no visible characters."""
        self.id = secrets.token_hex(16)
        self.host_token = secrets.token_hex(16)
        self.title = clean_name(title, MAX_TITLE)
        self.host_name = clean_name(host_name)
        if not self.title or not self.host_name:
            raise ValueError("a room needs a title and a name for its host")
        self.max_file = max_file
        self.history = History(history)
        self._limit = limit
        self.events: Events = queue.Queue() if events is None else events  # events for the host only
        self._now = now  # seconds since 1970
        self._clock = clock  # monotonic seconds
        self._host_skeleton = skeleton(self.host_name)
        self._paused = False
        self._controls = Controls((), ())  # what the host was last told
        self.people: dict[str, Person] = {}  # token -> person; people who left come in the order in which they left
        self._banned: list[Person] = []  # everyone who is muted or removed; usually empty, so joining needs no search
        self._files: dict[int, tuple[Shared, bytes]] = {}  # event number -> (event, encoded event) of an available file
        self._numbers = itertools.count(HOST + 1)

    # What everyone gets.

    def broadcast(self, event: Numbered) -> None:
        """Appends an event to the history, from which everyone in the room gets it, now or later."""
        assert event.number == self.history.next
        self.history.append(encode(event))

    def next_piece(self, feed: Feed, pieces: Pieces) -> bytes | None:
        """Returns what this feed gets next, and advances its cursor. END_OF_FEED: the feed ends; None: nothing for now.

        All calls for one round of writing share `pieces`, so that feeds with the same cursor share one joined piece.
        """
        goal = self.history.next
        if self.close_if_too_slow(feed):
            return END_OF_FEED
        if feed.private_lines:
            if (lines := feed.pop_private_lines()) is not None:
                return lines
            goal = min(goal, feed.private_lines[0][0])
        if feed.cursor >= goal:
            return None
        key = (feed.cursor, goal)
        if key not in pieces:
            pieces[key] = self.history.piece(*key)
        piece, feed.cursor = pieces[key]
        return piece

    def close_if_too_slow(self, feed: Feed) -> bool:
        """Closes the feed and returns True if its next event is no longer kept; its client must then reconnect."""
        is_too_slow = feed.cursor < self.history.oldest
        if is_too_slow:
            feed.close()
        return is_too_slow

    # People come and go.

    def is_host(self, token: str) -> bool:
        return hmac.compare_digest(token, self.host_token)

    def present(self) -> list[Person]:
        """Returns everyone who is in the list of people."""
        return [person for person in self.people.values() if person.present]

    def join(self, join: Join, address: str, feed: Feed) -> Person:
        """Adds a person to the list if necessary; welcomes them on this feed. Raises ProtocolError to refuse them."""
        person = self.people.get(join.token) or self._new_person(join.token, address)
        if person.removed is not None:
            raise ProtocolError(_REMOVED, "removed")
        person.address = address
        if person.feed is None:
            self._add_to_list(person, join.name, feed)
        else:
            person.feed.end(person.feed.cursor, Closed("You have joined this room from somewhere else."))
            person.feed = feed
        self._welcome(person, join, feed)
        return person

    def _new_person(self, token: str, address: str) -> Person:
        """Creates a person without storing them, so that the room does not remember people whom it refuses."""
        if self.is_host(token):
            return Person(HOST, token, self.host_name, address)
        person = Person(next(self._numbers), token, "", address)
        person.muted = self._ban_at(address, lambda other: other.muted)
        person.removed = self._ban_at(address, lambda other: other.removed)
        return person

    def _ban_at(self, address: str, ban_of: Callable[[Person], Ban | None]) -> Ban | None:
        """Returns a ban on this address if anyone it bans is present or left in the last SPREAD_TIME s, else None."""
        for person in self._banned:
            ban = ban_of(person)
            is_near = person.present or self._clock() - person.left_at < SPREAD_TIME
            if ban is not None and ban.address == address and is_near:
                return ban
        return None

    def _add_to_list(self, person: Person, wanted: str, feed: Feed) -> None:
        """Adds a person and tells everyone. Raises ProtocolError if the name is not allowed or the room is full."""
        name = self.host_name if person.who == HOST else self._free_name(person, clean_name(wanted))
        if person.who != HOST:
            self._make_place(person.address)
        person.name = name
        person.feed = feed
        self.people[person.token] = person
        forgettable = (token for token, other in self.people.items() if not other.present and other.removed is None)
        if len(self.people) > MAX_REMEMBERED and (oldest := next(forgettable, None)) is not None:
            del self.people[oldest]
        self.broadcast(Joined(self.history.next, self._time(), person.who, name))
        self._people_changed()

    def _make_place(self, address: str) -> None:
        """If the room is full, sends away the newest person of a crowd. Raises ProtocolError if nobody may go."""
        others = [person for person in self.present() if person.who != HOST]
        if len(others) < min(self._limit, ROOM_PEOPLE - 1):  # ROOM_PEOPLE includes the host
            return
        crowds = collections.Counter(person.address for person in others)
        crowded, people = crowds.most_common(1)[0]
        if address in crowds or people <= CROWD:  # only someone from a new address may replace one of a crowd
            raise ProtocolError(f"The room is full: {len(others):,} people are in.", "full")
        newest = max((p for p in others if p.address == crowded), key=lambda p: p.who)
        self._send_away(newest, "lost", Refused("full", "The room is full.", int(BACK_WITHIN)))

    def _free_name(self, person: Person, name: str) -> str:
        """Returns a free name, numbered if necessary. Raises ProtocolError if `name` is empty or like the host's."""
        if person.muted is not None:  # muted people must not use their names to send messages
            name = "Guest" if not self._is_hosts("Guest") else "Visitor"
        if not name:
            raise ProtocolError("A name needs at least one visible character.")
        taken = {other.name.casefold() for other in self.present()}
        suffixes = ("" if number == 1 and person.muted is None else f" {number}" for number in itertools.count(1))
        names = (visible_text(name[: MAX_NAME - len(suffix)]) + suffix for suffix in suffixes)
        free = next(each for each in names if each.casefold() not in taken)
        if self._is_hosts(name) or self._is_hosts(free):  # the cut or the number can make a name look like the host's
            raise ProtocolError(f"{self.host_name} is the host's name. Please choose another one.")
        return free

    def _is_hosts(self, name: str) -> bool:
        """Returns True if the name looks like the host's, even if something in brackets follows."""
        bare = re.sub(r"[(\[{<].*", "", unicodedata.normalize("NFKC", name))
        with_letters = name.translate(_DIGITS_TO_LATIN)  # turns digits used as letters back into letters
        return self._host_skeleton != "" and self._host_skeleton in map(skeleton, (name, bare, with_letters))

    def _welcome(self, person: Person, join: Join, feed: Feed) -> None:
        """Finds where in the history to continue, opens the feed there, and queues the welcome and earlier files."""
        after = join.after if join.room == self.id and join.after < self.history.next else 0
        cursor = max(after + 1, self.history.oldest, self.history.next - self.history.most_promised)
        files = [line for number, (_, line) in self._files.items() if after < number < cursor]
        people = tuple(sorted((other.who, other.name) for other in self.present()))
        welcome = Welcome(
            room=self.id,
            title=self.title,
            who=person.who,
            name=person.name,
            host=HOST if people[0][0] == HOST else None,
            people=people,
            files=len(files),
            missed=cursor - after - 1 - len(files),
            history=self.history.next - cursor,
            last_id=person.last_id,
            muted=person.muted is not None,
            paused=self._paused,
            max_file=self.max_file,
        )
        feed.open(cursor)
        feed.tell(encode(welcome) + b"".join(files))

    def leave(self, person: Person, feed: Feed) -> None:
        """Ends the feed of a person who leaves on purpose, and takes them off the list."""
        if person.feed is feed:
            self.take_from_list(person, "left")
            feed.end(self.history.next, None)

    def _send_away(self, person: Person, reason: str, last_words: Message) -> None:
        if person.feed is not None:
            person.feed.end(self.history.next, last_words)
            self.take_from_list(person, reason)

    def take_from_list(self, person: Person, reason: str) -> None:
        """Takes a person off the list, and tells everyone. Moves them to the end of `people`, as they left last."""
        person.feed = None
        person.left_at = self._clock()
        self.people[person.token] = self.people.pop(person.token)
        self.broadcast(Left(self.history.next, self._time(), person.who, person.name, reason))
        self._people_changed()

    # What people do.

    def say(self, person: Person, feed: Feed, number: int, text: str, problem: tuple[str, str] | None) -> None:
        """Broadcasts or rejects cleaned text; ignores an old feed or id. `problem` is what `text_problem` returned."""
        if person.feed is not feed or number <= person.last_id:  # from an old connection, or already answered
            return
        person.last_id = number
        problem = self._silenced(person) or problem
        if problem is None:
            self.broadcast(Said(self.history.next, self._time(), person.who, person.name, number, text))
        else:
            feed.tell(encode(Rejected(number, *problem)), self.history.next)

    def check_may_write(self, person: Person) -> None:
        """Raises ProtocolError if the person is not in the room, or may not write or share."""
        if not person.present:
            raise ProtocolError(_NOT_IN, "unknown")
        if (problem := self._silenced(person)) is not None:
            raise ProtocolError(problem[1], problem[0])

    def _silenced(self, person: Person) -> tuple[str, str] | None:
        """Returns why this person may not write, as (code, reason), or None if they may."""
        if self._paused and person.who != HOST:
            return "paused", "The host paused the room."
        return None if person.muted is None else ("muted", "The host muted you.")

    def share(self, person: Person, upload: Upload, filename: str, sha256: str) -> None:
        """Tells everyone about a complete file. Raises ProtocolError if the person may no longer share."""
        self.check_may_write(person)
        number = self.history.next
        shared = Shared(number, self._time(), person.who, person.name, upload.file, filename, upload.size, sha256)
        self._files[number] = shared, encode(shared)
        self.broadcast(shared)

    # The host's controls.

    def mute(self, who: int, on: bool) -> None:
        """Mutes or unmutes a person. Raises ValueError for the host, and for a number that nobody has."""
        person = self._find(who)
        if on == (person.muted is not None):
            return
        ban = Ban(self._spreads_to(person, lambda other: other.muted is not None)) if on else None
        for other in [p for p in self.people.values() if p is person or (not on and p.muted is person.muted)]:
            other.muted = ban
            if other.feed is not None:
                other.feed.tell(encode(Muted(on)), self.history.next)
        self._people_changed()

    def remove(self, who: int, on: bool) -> list[str]:
        """Removes a person or lets them back in; returns the ids of files to delete. Raises ValueError like `mute`."""
        person = self._find(who)
        files = [shared for shared, _ in self._files.values() if on and shared.who == who]
        if not on:
            person.removed = None
        elif person.removed is None:
            person.removed = Ban(self._spreads_to(person, lambda _: False))
            self._send_away(person, "removed", Closed(_REMOVED))
        for shared in files:
            self.delete(shared.number)
        self._people_changed()
        return [shared.file for shared in files]

    def _find(self, who: int) -> Person:
        """Returns the person with this number. Raises ValueError for the host and for an unknown number."""
        for person in self.people.values():
            if person.who == who and who != HOST:
                return person
        raise ValueError(f"expected the number of somebody other than the host, not {who}")

    def _spreads_to(self, person: Person, is_equal: Callable[[Person], bool]) -> str | None:
        """Returns the person's address if `is_equal` is true of all other people present from it, else None."""
        neighbours = (p for p in self.present() if p.address == person.address and p is not person)
        return person.address if all(map(is_equal, neighbours)) else None

    def pause(self, on: bool) -> None:
        """Pauses the room (on), so that only the host may write and share files, or resumes it (off)."""
        if on != self._paused:
            self._paused = on
            self.broadcast(Paused(self.history.next, self._time(), on))

    def delete(self, number: int) -> str | None:
        """Deletes a message or file; returns a file's id or None. Raises ValueError for other events, if still kept."""
        if not 0 < number < self.history.next:
            raise ValueError(f"there is no event {number}")
        line = self.history.lines.get(number)
        if line is not None:  # otherwise it is too old to check, but windows may still show it
            event = decode(line)
            if isinstance(event, Said):
                blank: Said | Shared = dataclasses.replace(event, text="", taken_back=True)
            elif isinstance(event, Shared):
                blank = dataclasses.replace(event, filename="", size=0, sha256="", taken_back=True)
            else:
                raise ValueError(f"{event} is neither a message nor a file")
            if blank == event:
                return None
            self.history.replace(number, encode(blank))
        self.broadcast(TakenBack(self.history.next, self._time(), number))
        shared, _ = self._files.pop(number, (None, b""))
        return None if shared is None else shared.file

    def _people_changed(self) -> None:
        """Notes who is muted and who is removed, and tells the host if that has changed."""
        self._banned = [person for person in self.people.values() if person.muted or person.removed]
        muted = sorted(person.who for person in self._banned if person.present and person.muted)
        removed = sorted((person.who, person.name) for person in self._banned if person.removed)
        controls = Controls(tuple(muted), tuple(removed))
        if controls != self._controls:
            self._controls = controls
            self.events.put(controls)

    def _time(self) -> float:
        """Returns seconds since 1970, within the limits of the wire: some computers' clocks show a year before 1970."""
        return min(max(0, int(self._now() * 1000)) / 1000, float(MAX_TIME))


class StoredFile:
    """A file in the room's store. It is a temporary file, which the system deletes even if the program crashes."""

    def __init__(self, owner: Person, upload: Upload) -> None:
        """Raises ProtocolError if the disk has less than twice the file's size free, OSError if the disk fails."""
        self.id = upload.file
        self.owner = owner.who
        self.address = owner.address
        self.size = upload.size  # bytes
        self.received = 0  # bytes; the lock of `Files` guards this and `is_whole`
        self.is_whole = False  # all of it is here, and not deleted
        if shutil.disk_usage(tempfile.gettempdir()).free < 2 * self.size:
            raise ProtocolError(_DISK_FAILS, "space")
        self._disk: Any = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - stays open while it is stored
        self._lock = threading.Lock()  # held for one seek and read, or for one write, because several threads read

    def write(self, piece: bytes | memoryview) -> None:
        """Appends a piece. Raises OSError if the disk fails, ProtocolError if the file was deleted meanwhile."""
        with self._lock:
            if self._disk.closed:
                raise ProtocolError(_NO_SPACE, "space")
            write_all(self._disk, piece)

    def send(self, connection: Connection, offset: int) -> None:
        """Sends the file from byte `offset` on. Raises ConnectionLost, or ProtocolError if `offset` is too large."""
        if offset > self.size:
            raise ProtocolError(f"The file has {self.size} bytes, not {offset}.")
        connection.keep_buffer_small()
        connection.send_unjoined(RawBytes(self.size - offset))
        deadline = Deadline(SILENCE)
        buffer = memoryview(bytearray(MAX_PIECE))
        while offset < self.size:
            try:
                with self._lock:
                    self._disk.seek(offset)
                    count: int = self._disk.readinto(buffer)
            except (OSError, ValueError) as error:  # the disk fails, or the file was deleted: stop early
                raise ConnectionLost from error
            if count == 0:  # the rest is missing on the disk
                raise ConnectionLost
            connection.send_bytes(buffer[:count], deadline)
            offset += count

    def delete(self) -> None:
        with self._lock:
            self._disk.close()


class Files:
    """Keeps the files of a room, and limits how much space they take. Any thread may use it."""

    def __init__(self, max_file: int, max_store: int, max_files: int, per_address: bool = True) -> None:
        """max_files: the most files, as each needs a descriptor; per_address: whether to limit each address, too."""
        self._max_file = max_file
        self._max_store = max_store
        self._max_files = max_files
        self._per_address = per_address
        self._lock = threading.Lock()
        # Guarded by _lock:
        self._files: list[StoredFile] = []  # whole files and unfinished uploads; the newest comes last
        self._ids: dict[str, StoredFile] = {}  # file id -> file that is or was whole; up to STORED_IDS

    def is_stored(self, file_id: str) -> bool:
        """Returns True if a file with this id was stored before, even if it has been deleted since."""
        with self._lock:
            return file_id in self._ids

    def begin(self, owner: Person, upload: Upload) -> StoredFile:
        """Returns a new, empty file. Raises ProtocolError if a limit forbids it, OSError if the disk fails."""
        if upload.size > self._max_file:
            raise ProtocolError(f"A file has at most {self._max_file:,} bytes here.", "size")
        with contextlib.ExitStack() as undo:
            file = StoredFile(owner, upload)
            undo.callback(file.delete)
            with self._lock:
                # Removes an earlier attempt, whose next `write` or `finish` then raises ProtocolError.
                self._files = [f for f in self._files if f.is_whole or (f.id, f.owner) != (file.id, file.owner)]
                self._check_limits(owner, upload.size)
                self._files.append(file)
            undo.pop_all()
            return file

    def _check_limits(self, owner: Person, size: int) -> None:
        """Raises ProtocolError if a new file of this size exceeds a limit. The caller holds _lock."""
        others = [file for file in self._files if file.owner != HOST]
        if owner.who != HOST and self._per_address:
            theirs = [file for file in others if file.address == owner.address]
            most = max(FILES_OF_ADDRESS[0] * self._max_store, self._max_file)
            # An unfinished upload counts at its declared size; otherwise many new ones could claim all the space.
            if len(theirs) >= FILES_OF_ADDRESS[1] or sum(file.size for file in theirs) + size > most:
                if all(file.is_whole for file in theirs):
                    raise ProtocolError("The files from your computer already take all the space they may.", "space")
                raise ProtocolError("Too many files from your computer are on their way.", "limit")
        count = self._max_files * FILES_OF_OTHERS[1] // MAX_FILES
        has_too_many = len(self._files) >= self._max_files or (owner.who != HOST and len(others) >= count)
        if has_too_many or self._is_full_for(owner.who, size):
            raise ProtocolError(_NO_SPACE, "space")

    def _is_full_for(self, owner: int, more: int) -> bool:
        """Returns True if `more` bytes overfill the store or, if not the host's, FILES_OF_OTHERS. Needs _lock."""
        total = more + sum(file.received for file in self._files)
        of_host = sum(file.received for file in self._files if file.owner == HOST)
        return total > self._max_store or (owner != HOST and total - of_host > FILES_OF_OTHERS[0] * self._max_store)

    def receive(self, connection: Connection, file: StoredFile) -> str:
        """Receives and stores an upload; returns its SHA-256. Raises ProtocolError, ConnectionLost, OSError (disk)."""
        deadline = Deadline(SILENCE)
        digest = hashlib.sha256()
        for piece in connection.receive_bytes(file.size, deadline):
            digest.update(piece)
            self.write(file, piece)
        sent = _expect(decode(connection.wait_for_line(deadline)), Sent)
        if sent.sha256.lower() != digest.hexdigest():
            raise ProtocolError("The file was changed on its way, or while it was read.", "hash")
        return digest.hexdigest()

    def write(self, file: StoredFile, piece: bytes | memoryview) -> None:
        """Stores a piece; if the store is full, drops the newest unfinished uploads. Raises ProtocolError, OSError."""
        while True:
            with self._lock:
                if file not in self._files:  # dropped now, or earlier in favour of another upload
                    raise ProtocolError(_NO_SPACE, "space")
                if not self._is_full_for(file.owner, len(piece)):
                    file.received += len(piece)
                    break
                newest = next(f for f in reversed(self._files) if not f.is_whole and (f.owner != HOST or f is file))
                self._files.remove(newest)
            newest.delete()
        file.write(piece)

    def finish(self, file: StoredFile) -> bool:
        """Marks a file as whole; returns False if its id is already stored. Raises ProtocolError if it was dropped."""
        with self._lock:
            if file.id in self._ids:
                return False
            if file not in self._files:
                raise ProtocolError(_NO_SPACE, "space")
            file.is_whole = True
            self._ids[file.id] = file
            if len(self._ids) > STORED_IDS:
                del self._ids[next(old for old, stored in self._ids.items() if not stored.is_whole)]
            return True

    def get(self, file_id: str) -> StoredFile:
        """Returns the stored file. Raises ProtocolError if there is none with this id."""
        with self._lock:
            file = self._ids.get(file_id)
        if file is None or not file.is_whole:
            raise ProtocolError("The room does not have this file.", "unknown")
        return file

    def delete(self, file_id: str) -> None:
        """Deletes a file for good; `is_stored` still knows its id."""
        self.drop(self.get(file_id))

    def drop(self, file: StoredFile) -> None:
        """Frees the space of a file that was deleted, or whose upload broke off."""
        with self._lock:
            file.is_whole = False
            if file in self._files:
                self._files.remove(file)
        file.delete()

    def close(self) -> None:
        for file in [*self._files]:
            self.drop(file)


class Units:
    """Limits how much each person and each address may do, by reading more slowly. Only reader threads use it."""

    def __init__(self, rate: float, closing: threading.Event) -> None:
        """rate: units per second for a person."""
        self._of_person = RateLimit(rate, rate)
        self._of_address = RateLimit(rate * RATE_PER_ADDRESS, rate * RATE_PER_ADDRESS)
        self._closing = closing

    def charge(self, person: Person, units: float) -> float:
        """Takes the units; returns the seconds until neither the person nor the address is in debt."""
        return max(self._of_person.take(person.who, units), self._of_address.take(person.address, units))

    def pace(self, connection: Connection, person: Person, lines: list[bytes], received: int) -> Iterator[list[bytes]]:
        """Yields the lines as the limits allow: all at once, or one by one if the person or address is over a limit.

        A line costs one unit, which includes one KiB. Each further KiB received costs another unit, even if it carries
        no line (a TLS key update, for example).
        """
        units = max(len(lines), received / UNIT_BYTES)
        debt = max(self._of_person.wait(person.who, units), self._of_address.wait(person.address, units))
        self._wait(connection, person, units - len(lines))
        for some in [[line] for line in lines] if debt else [lines]:
            self._wait(connection, person, len(some))
            if connection.feed.life is not Life.OPEN:
                return
            yield some

    def take_one(self, connection: Connection, person: Person) -> None:
        """Takes a unit for a transfer or for coming back. Raises ProtocolError if the wait would exceed TICK s.

        Longer waits would let a person block a reader with each of many connections, and put their address into debt.
        """
        wait = max(self._of_person.wait(person.who), self._of_address.wait(person.address))
        _check_wait("Too much at once", wait, allowed=TICK)
        self._wait(connection, person, 1)

    def _wait(self, connection: Connection, person: Person, units: float) -> None:
        """Takes the units; waits until no debt is left, the feed ends or the room closes."""
        end = time.monotonic() + self.charge(person, units)
        while (left := end - time.monotonic()) > 0 and not self._closing.wait(min(left, TICK)):
            if connection.feed.life is not Life.OPEN:  # JOINING: `take_one` allows only one such wait
                return


class Guesses:
    """Limits wrong passwords from each address; lets one thread at a time check a proof. Any thread may use it."""

    def __init__(self, is_known: Callable[[str], bool], closing: threading.Event, events: Events) -> None:
        """is_known: returns True if somebody from the given address is in the room, and so knows the password."""
        self._is_known = is_known
        self._closing = closing
        self._events = events
        self._usual_limit = RateLimit(*GUESSES)
        self._limit_where_known = RateLimit(*GUESSES_WHERE_KNOWN)
        self._queues: dict[str, threading.Lock] = {}  # address -> lock: only one thread per address waits for _lock
        self._lock = threading.Lock()  # held while computing, so that a check of a proof sees all earlier results
        self._wrong: collections.Counter[str] = collections.Counter()  # address -> wrong passwords; guarded by _lock

    def wait(self, address: str) -> float:
        """Returns the seconds until this address may try a password."""
        return (self._limit_where_known if self._is_known(address) else self._usual_limit).wait(address)

    def judge(self, address: str, tls: Tls, received: bytes | memoryview) -> tuple[bool, bytes]:
        """Calls `tls.handshake_step`; counts a wrong password. Raises ConnectionLost if the address is over a limit."""
        with self.computing(address):
            if self.wait(address) > 0:
                raise ConnectionLost
            result = tls.handshake_step(received)
            if tls.failure in _WRONG_PASSWORD:
                self._count(address)
            return result

    @contextlib.contextmanager
    def computing(self, address: str) -> Iterator[None]:
        """Lets one thread at a time compute, then rest for as long (at most MAX_REST s), because `pow` holds the GIL.

        Only one thread of each address waits for `_lock`, so that many connections from one address do not delay the
        other addresses. Raises ConnectionLost if the room is closing.
        """
        with self._queues.setdefault(address, threading.Lock()), self._lock:
            if self._closing.is_set():
                raise ConnectionLost
            start = time.perf_counter()
            try:
                yield
            finally:
                time.sleep(min(time.perf_counter() - start, MAX_REST))

    def _count(self, address: str) -> None:
        """Counts a wrong password, and tells the host if there are many. The caller holds _lock."""
        self._usual_limit.try_take(address)  # `take` would run up a debt here while `_limit_where_known` allows guesses
        self._limit_where_known.try_take(address)
        self._wrong[address] += 1
        if self.wait(address) > 0:
            self._events.put(WrongPassword(address, self._wrong[address]))
        if self._wrong.total() == TELL_GUESSES:
            self._events.put(WrongPassword("", TELL_GUESSES))


class Admission:
    """Handles new connections up to the first message: limits per address, hello lines, TLS. Any thread may use it."""

    def __init__(self, password: str | None, is_unlimited: bool, guesses: Guesses) -> None:
        """password: None for an open room; is_unlimited: whether only wrong passwords are limited."""
        salt = secrets.token_hex(16)
        self.has_password = password is not None
        self._hello = Hello(PROTOCOL, tls=self.has_password, salt=salt if self.has_password else None)
        x = SRP.x(bytes.fromhex(salt), clean_password(password or ""))
        self._verifier = SRP.power(x) if self.has_password else 0
        unlimited = (math.inf, math.inf)
        self._calls = RateLimit(*(unlimited if is_unlimited else CALLS_OF_ADDRESS))
        self._calls_of_all = RateLimit(*CALLS_OF_ALL)
        self.newcomers = RateLimit(*(unlimited if is_unlimited else NEWCOMERS))
        self._guesses = guesses

    def may_connect(self, address: str) -> bool:
        """Counts a connection. Returns True if this address's own limit or, failing that, the shared one allows it."""
        return self._calls.try_take(address) == 0 or self._calls_of_all.try_take("all") == 0

    def receive_first(self, connection: Connection) -> Join | Upload | Download:
        """Exchanges hellos, starts TLS if needed, returns the first message. Raises ProtocolError, ConnectionLost."""
        deadline = Deadline(FIRST_MESSAGE + random.uniform(0, FIRST_MESSAGE_SPREAD))
        line = connection.wait_for_line(deadline)
        hello = _expect(decode(line), Hello)
        if hello.protocol != PROTOCOL:
            raise ProtocolError(f"This room speaks protocol {PROTOCOL}, not {hello.protocol}.", "protocol")
        if self.has_password and not hello.tls:
            raise ProtocolError("This room has a password, which needs Python 3.13 or newer.", "tls")
        if not self.has_password:
            connection.send_unjoined(self._hello)
        elif hello.a is None:
            connection.send_unjoined(self._hello)
            connection.linger()
            raise ConnectionLost
        else:
            self._begin_tls(connection, line, int(hello.a, 16), deadline)
        first = decode(connection.wait_for_line(deadline))
        if not isinstance(first, (Join, Upload, Download)):
            raise ProtocolError("expected join, upload or download")
        if self.has_password:  # the client knows it and gets the unit back; from then on, only a newcomer's join counts
            self.newcomers.take(connection.address, -1)
        return first

    def _begin_tls(self, connection: Connection, line: bytes, public_a: int, deadline: Deadline) -> None:
        """Answers the hello and starts TLS. Raises ConnectionLost, or ProtocolError for a limit or bad `public_a`."""
        _check_wait("Too many wrong passwords from this computer", self._guesses.wait(connection.address))
        _check_wait(_MANY_NEW, self.newcomers.try_take(connection.address))
        b = secrets.randbits(256)
        with self._guesses.computing(connection.address):
            connection.next_lines(0, most=0)  # raises ConnectionLost if the client is gone: nothing needs computing
            public_b = SRP.public_b(self._verifier, b)
        try:
            SRP.u(public_a, public_b)
        except ValueError as error:
            raise ProtocolError(str(error)) from None
        hello = dataclasses.replace(self._hello, b=SRP.pad(public_b).hex())
        connection.send_unjoined(hello)

        def make_key() -> bytes:
            secret = SRP.room_secret(b, self._verifier, public_a, public_b)
            return session_key(secret, line, encode(hello).rstrip(b"\n"))

        tls = Tls(make_key, is_room=True)
        try:
            connection.start_tls(tls, deadline, functools.partial(self._guesses.judge, connection.address, tls))
        except ConnectionLost:
            if tls.failure is not None:
                log.info("%s did not get in: %s", connection.address, tls.failure)
                connection.linger()
            raise


class Connections:
    """Keeps the connections of a room, and chooses one to cut if there are too many. The room lock guards it."""

    def __init__(self, most: int, is_unlimited: bool) -> None:
        self.most = most
        self._most_unjoined = most if is_unlimited else MAX_UNJOINED
        self._most_transfers = most if is_unlimited else TRANSFERS_PER_PERSON
        self.joined: set[Connection] = set()
        self.unjoined: dict[Connection, float] = {}  # connection -> when it came (monotonic s); the oldest first
        self.transfers: dict[Connection, tuple[int, Upload | Download]] = {}  # person's number, request; oldest first

    def add(self, connection: Connection) -> bool:
        """Adds a new connection, if necessary in place of another; returns False if there is no place for it."""
        is_full = len(self.joined) + len(self.unjoined) + len(self.transfers) >= self.most
        if is_full or len(self.unjoined) >= self._most_unjoined:
            to_cut = self._choose_to_cut()
            if to_cut is None:
                return False
            log.info("too many connections: one from %s was cut", to_cut.address)
            self.forget(to_cut)
            to_cut.abort()
        self.unjoined[connection] = time.monotonic()
        return True

    def _choose_to_cut(self) -> Connection | None:
        """Returns the connection to cut, or None if there are only joined ones."""
        if self.unjoined:  # cut the oldest one of the address that has the most
            young = time.monotonic() - YOUNG
            old = [connection for connection, since in self.unjoined.items() if since < young]
            # If all old ones have different addresses, they may be honest, delayed by a flood of young ones.
            some = old if len({connection.address for connection in old}) < len(old) else list(self.unjoined)
            crowd = collections.Counter(connection.address for connection in some).most_common(1)[0][0]
            return next(connection for connection in some if connection.address == crowd)
        if self.transfers:  # cut the newest one of the person who has the most
            greedy = collections.Counter(owner for owner, _ in self.transfers.values()).most_common(1)[0][0]
            return self.transfers_of(greedy)[-1][0]
        return None

    def join(self, connection: Connection) -> None:
        del self.unjoined[connection]
        self.joined.add(connection)

    def begin_transfer(self, connection: Connection, who: int, first: Upload | Download) -> None:
        """Registers a transfer. Raises ProtocolError if the person has too many, ConnectionLost if this one was cut."""
        if connection not in self.unjoined:
            raise ConnectionLost
        for older, file in self.transfers_of(who):
            if isinstance(first, Upload) and isinstance(file, Upload) and file.file == first.file:
                self.forget(older)  # an earlier attempt, whose reader has not noticed the break yet
                older.abort()
        if len(self.transfers_of(who)) >= self._most_transfers:
            raise ProtocolError(f"At most {self._most_transfers} of your files can be on their way.", "limit")
        del self.unjoined[connection]
        self.transfers[connection] = (who, first)

    def transfers_of(self, who: int) -> list[tuple[Connection, Upload | Download]]:
        return [(connection, file) for connection, (owner, file) in self.transfers.items() if owner == who]

    def forget(self, connection: Connection) -> None:
        self.joined.discard(connection)
        self.unjoined.pop(connection, None)
        self.transfers.pop(connection, None)


class Server(contextlib.AbstractContextManager["Server"]):
    """Runs a room's sockets and threads. `run_server` creates it; `id`, `title`, `port` and `token` never change.

    `token` is the host's token. Only the Server uses its Room, and always while it holds `_room_lock`
    (except for `is_host`). It holds the lock only briefly, never while it sends, receives, or reads or writes a file.
    """

    def __init__(
        self, room: Room, host: str, port: int, password: str | None, rate: float | None, limit: int, max_store: int
    ) -> None:
        """Opens the sockets and starts the threads. If that fails, closes and stops them again, and raises OSError."""
        self.id = room.id
        self.token = room.host_token
        self.title = room.title
        is_unlimited = rate is None
        self._closing = threading.Event()
        self._admission = Admission(password, is_unlimited, Guesses(self._knows, self._closing, room.events))
        most_connections = limit + SPARE_CONNECTIONS

        self._room_lock = threading.Lock()
        self._came_back = threading.Condition(self._room_lock)  # notified by `_admit`, `remove` and `_end_everything`
        # Guarded by _room_lock:
        self._room = room
        self._connections = Connections(most_connections, is_unlimited)
        self._readers: dict[Connection, threading.Thread] = {}

        self._units = Units(math.inf if rate is None else rate, self._closing)
        descriptors = _raise_descriptor_limit(most_connections + MAX_FILES + 100)
        max_files = max(1, min(MAX_FILES, descriptors - most_connections - 50))
        self._files = Files(room.max_file, max_store, max_files, per_address=not is_unlimited)
        with contextlib.ExitStack() as undo:
            self._listener = undo.enter_context(listen(host, port))
            self.port: int = self._listener.getsockname()[1]
            self._sender = Sender(f"sender {self.port}", self._next_writes, self._fail)
            undo.callback(self._sender.stop)
            self._answerer = Answerer(host, self.port, self._describe, room.events)
            undo.callback(self._answerer.stop)
            self._acceptor = Loop(f"accept {self.port}", self._accept, self._fail, self._listener)
            undo.pop_all()

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _changing_room(self) -> Iterator[Room]:
        """Holds the room lock for a change to the room or a feed, and then wakes the sender to write what is new."""
        with self._room_lock:
            yield self._room
        self._sender.wake()

    def close(self, reason: str = "The host closed the room.") -> None:
        """Tells everyone why, and ends the room's threads within 2 s. Any other thread may call it, even twice."""
        self._end_everything(reason)
        self._answerer.stop()
        self._acceptor.stop()
        end = time.monotonic() + CLOSE_TIME
        with self._room_lock:
            readers = dict(self._readers)
        for connection, reader in readers.items():
            reader.join(max(0.0, end - time.monotonic()))
            if reader.is_alive():
                connection.abort()
                reader.join()
        self._sender.stop()
        self._files.close()

    def _end_everything(self, reason: str) -> None:
        """Stops accepting connections, queues last words for everyone in the room, and aborts all other connections."""
        with self._changing_room() as room:
            self._closing.set()
            for connection in self._connections.joined:
                connection.feed.end(room.history.next, Closed(reason[:MAX_REASON]))
            for connection in [*self._connections.unjoined, *self._connections.transfers]:
                connection.abort()
            self._came_back.notify_all()

    def _fail(self) -> None:
        """Closes the room. The accept thread or the sender calls this after an unexpected error."""
        if not self._closing.is_set():
            self._end_everything("The host's computer had to close the room.")
            self._room.events.put(RoomFailed())
            with contextlib.suppress(OSError):  # without another thread, the room waits for its host to close it
                _start_thread(self.close, f"closing {self.port}")

    # The host's controls. Any thread except the room's own may call these; no message from the network triggers them.

    def mute(self, who: int, on: bool) -> None:
        """Mutes a person (on) or unmutes them (off). Raises ValueError for the host, and for an unknown number."""
        with self._changing_room() as room:
            room.mute(who, on)

    def remove(self, who: int, on: bool) -> None:
        """Removes a person and all their files (on), or lets them return (off). Raises ValueError as `mute` does."""
        with self._changing_room() as room:
            files = room.remove(who, on)
            if on:
                for connection, _ in self._connections.transfers_of(who):
                    connection.abort()
            self._came_back.notify_all()
        for file in files:
            self._files.delete(file)

    def pause(self, on: bool) -> None:
        """Pauses the room, so that only the host may write and share files (on), or resumes it (off)."""
        with self._changing_room() as room:
            room.pause(on)

    def delete(self, number: int) -> None:
        """Deletes a message or file for everyone, for good. Raises ValueError for other events, if still kept."""
        with self._changing_room() as room:
            file = room.delete(number)
        if file is not None:
            self._files.delete(file)

    # Accept thread.

    def _accept(self, selector: selectors.BaseSelector) -> None:
        selector.select()
        try:
            sock, (address, _) = self._listener.accept()
        except (BlockingIOError, ConnectionError):  # the other side is gone already, or the room is closing
            return
        except OSError as error:  # usually, no descriptors are left; the people in the room are not affected
            log.warning("cannot accept a connection: %s", error)
            time.sleep(FAILURE_PAUSE)
            return
        self._start_reader(sock, address)

    def _start_reader(self, sock: socket.socket, address: str) -> None:
        with contextlib.ExitStack() as undo:
            undo.enter_context(sock)
            if not self._admission.may_connect(address):
                return
            try:
                connection = Connection(sock, ROOM_RECEIVES)
            except OSError:  # the other side is gone already
                return
            reader = threading.Thread(target=self.handle_client, args=[connection], name=f"reader {address}")
            with self._room_lock:  # the reader is registered before it starts, so that `close` finds it
                # Up to twice as many readers as connections: a reader can outlive its connection by BACK_WITHIN s.
                has_place = len(self._readers) < 2 * self._connections.most and not self._closing.is_set()
                if not has_place or not self._connections.add(connection):
                    return
                self._readers[connection] = reader
            undo.pop_all()
            try:
                reader.start()
            except (RuntimeError, MemoryError) as error:  # no thread or memory left; nobody in the room is affected
                log.warning("cannot start a reader: %s", error)
                self._see_off(connection, None)

    # Reader threads: a connection comes in.

    def handle_client(self, connection: Connection) -> None:
        """Runs in a reader thread: exchanges hello lines, serves a person or a transfer, then calls `_see_off`."""
        person: Person | None = None
        try:
            if connection.address in (connection.own_address, *self._answerer.addresses):
                connection.address = LOOPBACK  # this computer counts as loopback, whichever of its addresses it uses
            first = self._admission.receive_first(connection)
            if isinstance(first, Join):
                person = self._admit(connection, first)
                threading.current_thread().name = f"reader {person.name}"
                self._run_connection(connection, person)
            else:
                self._run_transfer(connection, first)
            connection.linger()
        except ProtocolError as error:
            log.info("refused %s: %s (%s)", connection.address, error, error.code)
            self._refuse(connection, Refused(error.code, str(error)[:MAX_REASON], error.seconds))
        except ConnectionLost as loss:
            log.info("lost %s: %s", connection.address, loss)
        except Exception:
            log.exception("the reader of %s failed", connection.address)
        finally:
            self._see_off(connection, person)

    def _knows(self, address: str) -> bool:
        with self._room_lock:
            return any(person.address == address for person in self._room.present())

    def _admit(self, connection: Connection, join: Join) -> Person:
        """Lets a person join. Raises ProtocolError if they may not, ConnectionLost if the room cut the connection."""
        with self._room_lock:
            known = self._room.people.get(join.token)
        if self._room.is_host(join.token):
            if not _is_loopback(connection.address):
                raise ProtocolError("The host joins from the room's own computer.", "unknown")
        elif known is not None:
            self._units.take_one(connection, known)  # someone who returns pays one unit
        with self._changing_room() as room:  # one hold of the lock: nothing changes between the checks and the join
            if self._closing.is_set() or connection not in self._connections.unjoined:
                raise ConnectionLost
            is_newcomer = known is None and not room.is_host(join.token)
            if is_newcomer:
                _check_wait(_MANY_NEW, self._admission.newcomers.wait(connection.address))
            person = room.join(join, connection.address, connection.feed)
            if is_newcomer:  # only now: a refused join does not count
                self._admission.newcomers.take(connection.address)
            self._connections.join(connection)
            self._came_back.notify_all()
        connection.longest_line = MAX_LINE_TO_ROOM
        return person

    # Reader threads: a joined connection.

    def _run_connection(self, connection: Connection, person: Person) -> None:
        feed = connection.feed
        while feed.life is Life.OPEN:
            received = connection.received
            lines = connection.next_lines(TICK)
            if connection.received > received or lines:
                for some in self._units.pace(connection, person, lines, connection.received - received):
                    self._take_lines(connection, person, some)

    def _take_lines(self, connection: Connection, person: Person, lines: list[bytes]) -> None:
        """Passes messages to the room, all under one hold of the lock, so that the sender wakes only once."""
        calls: list[Callable[[], None]] = []
        try:
            for line in lines:
                message = decode(line)
                if isinstance(message, Say):
                    text = clean_text(message.text)
                    problem = text_problem(text)
                    calls.append(functools.partial(self._room.say, person, connection.feed, message.id, text, problem))
                elif isinstance(message, Leave):
                    calls.append(functools.partial(self._room.leave, person, connection.feed))
                elif not isinstance(message, Ping):
                    raise ProtocolError("expected say, ping or leave")
        finally:  # the messages before a bad line count
            if calls:
                with self._changing_room():
                    for call in calls:
                        call()

    # Reader threads: an upload or a download.

    def _run_transfer(self, connection: Connection, first: Upload | Download) -> None:
        """Serves an upload or a download. Raises ConnectionLost, or ProtocolError if the room refuses it."""
        with self._room_lock:
            person = self._room.people.get(first.token)
            if person is None or not person.present or (person.who == HOST and not _is_loopback(connection.address)):
                raise ProtocolError(_NOT_IN, "unknown")
            self._connections.begin_transfer(connection, person.who, first)
        threading.current_thread().name = f"{_TYPE_NAMES[type(first)]} {person.name}"
        try:
            self._units.take_one(connection, person)
            connection.longest_line = MAX_LINE_TO_ROOM
            if isinstance(first, Download):
                self._files.get(first.file).send(connection, first.offset)
            else:
                self._receive_file(connection, person, first)
        finally:
            self._units.charge(person, max(0.0, connection.overhead) / UNIT_BYTES)
            with self._room_lock:
                self._connections.forget(connection)

    def _receive_file(self, connection: Connection, person: Person, upload: Upload) -> None:
        if not self._files.is_stored(upload.file):
            with self._room_lock:
                self._room.check_may_write(person)
            try:
                file = self._files.begin(person, upload)
                try:
                    connection.send_unjoined(Ready())
                    sha256 = self._files.receive(connection, file)
                    with self._changing_room() as room:
                        room.check_may_write(person)
                        if self._files.finish(file):  # the file is available before it is announced
                            room.share(person, upload, clean_filename(upload.filename), sha256)
                finally:
                    if not file.is_whole:
                        self._files.drop(file)
            except OSError as error:
                log.warning("a file could not be stored: %s", error)
                raise ProtocolError(_DISK_FAILS, "space") from None
        connection.send_unjoined(Stored())

    # Reader threads: the end of a connection.

    def _refuse(self, connection: Connection, refused: Refused) -> None:
        if connection.feed.life is Life.JOINING:
            with contextlib.suppress(ConnectionLost):
                connection.send_unjoined(refused)
        else:
            with self._changing_room() as room:
                connection.feed.end(room.history.next, refused)
        connection.linger()

    def _see_off(self, connection: Connection, person: Person | None) -> None:
        """Closes or releases the connection, then waits up to BACK_WITHIN s for a lost person to come back."""
        with self._room_lock:
            self._connections.forget(connection)
            connection.feed.close()
        if person is None:
            connection.close()
        else:
            self._sender.release(connection)
            self._await_return(person, connection.feed)
        with self._room_lock:
            del self._readers[connection]

    def _await_return(self, person: Person, feed: Feed) -> None:
        with self._changing_room() as room:  # the feed is no longer theirs if they left or joined on another connection
            if not self._came_back.wait_for(lambda: person.feed is not feed or self._closing.is_set(), BACK_WITHIN):
                room.take_from_list(person, "lost")

    # Sender thread.

    def _next_writes(self) -> Writes:
        """Returns the next pieces, at most one for each joined connection, chosen under one hold of the room lock."""
        writes: Writes = []
        pieces: Pieces = {}
        with self._room_lock:
            for connection in self._connections.joined:
                feed = connection.feed
                if connection.unsent:
                    self._room.close_if_too_slow(feed)
                elif feed.life is not Life.CLOSED and (piece := self._room.next_piece(feed, pieces)) is not None:
                    writes.append((connection, piece))
                elif connection.needs_ping():
                    writes.append((connection, _PING))
        return writes

    # Finder thread.

    def _describe(self) -> RoomHere:
        """Returns what anyone on the network may know about the room."""
        with self._room_lock:
            people = len(self._room.present())
        return RoomHere(PROTOCOL, self.id, self.title, self.port, people, password=self._admission.has_password)


def _check_wait(reason: str, seconds: float, allowed: float = 0.0) -> None:
    """Raises ProtocolError, which says how long to wait, if that is longer than `allowed` s."""
    if seconds > allowed:
        raise ProtocolError(f"{reason}; please wait {math.ceil(seconds)} s.", "wait", math.ceil(seconds))


def _is_loopback(address: str) -> bool:
    return address.startswith("127.")


def _raise_descriptor_limit(wanted: int) -> int:
    """Raises the limit on descriptors (usually 256 or 1,024) toward `wanted`; returns the limit, capped at `wanted`."""
    if sys.platform == "win32":
        return wanted
    # An unlimited maximum is a very large number here, except on Linux, where this limit cannot be unlimited.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(wanted, hard)
    if soft < most:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
    return min(wanted, soft)


def listen(host: str, port: int) -> socket.socket:
    """Returns a socket listening on `port`; if that is in PORTS, the next free one or any will do. Raises OSError."""
    ports = range(port, PORTS.stop) if port in PORTS else range(0)
    for candidate in ports:
        try:
            return _listen_on(host, candidate)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):  # EACCES (10013): Windows reserves this port
                raise
            log.info("port %s is taken: %s", candidate, error)
    return _listen_on(host, 0 if ports else port)


def _listen_on(host: str, port: int) -> socket.socket:
    """Returns a non-blocking socket that listens on this port, or on any free one if `port` is 0. Raises OSError."""
    with contextlib.ExitStack() as undo:
        listener = undo.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        # SO_REUSEADDR would let two rooms share a port on Windows; elsewhere it makes bind ignore closed connections.
        exclusive = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)
        listener.setsockopt(socket.SOL_SOCKET, exclusive, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
        undo.pop_all()
        return listener


# ----------------------------------------------------------------------------------------------------------- a person

_NOT_SENT = ("unsent", "This was not sent.")
_NO_ANSWER = ("unanswered", "The connection ended before the room answered. Perhaps the others have this.")

_TROUBLES = {
    errno.ECONNREFUSED: Trouble.NOBODY_LISTENS,
    errno.ECONNRESET: Trouble.NOBODY_LISTENS,
    errno.ENETUNREACH: Trouble.NO_NETWORK,
    errno.ENETDOWN: Trouble.NO_NETWORK,
    errno.EHOSTUNREACH: Trouble.NO_ROUTE,  # on macOS also if the user denied access to the local network
    errno.EHOSTDOWN: Trouble.NO_ROUTE,
}  # any other error, such as ETIMEDOUT, means NO_ANSWER

_TRY_LATER = {"full": Trouble.FULL, "wait": Trouble.WAIT, "limit": Trouble.WAIT}
_WRONG = ("wrong", "This password does not fit the room that answered.")
_NOT_PROVEN = ("unproven", "What answered could not prove that it knows the password.")


class Ended(Exception):
    """The visit or a transfer is over, and the client does not try again. `code` (as in `Refused`) and text say why."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def read_reply(line: bytes) -> Message | Unknown:
    """Decodes a line. A bad one raises ProtocolError, a temporary refusal ConnectionLost, a final one Ended."""
    message = decode(line)
    if isinstance(message, Refused) and message.code in _TRY_LATER:
        raise ConnectionLost(_TRY_LATER[message.code], message.seconds or 0)
    if isinstance(message, Refused):
        raise Ended(message.code, message.reason)
    if isinstance(message, Closed):
        raise Ended("closed", message.reason)
    return message


def await_reply(connection: Connection, deadline: Deadline) -> Message:
    """Waits for the next message of a known type, and returns it. Raises as `read_reply` does."""
    while isinstance(message := read_reply(connection.wait_for_line(deadline)), Unknown):
        pass
    return message


class Dialer:
    """Connects to a room: resolves its address, opens a socket, exchanges hello lines and may begin TLS. Any thread.

    While a method waits, it calls the caller's `is_wanted` every ASK_AGAIN s, and raises ConnectionLost if it says no.
    """

    def __init__(self, address: str, port: int, password: str | None) -> None:
        self.address, self.port = address, port
        self.password = password
        self._lock = threading.Lock()
        # Changed only under _lock, because the threads of transfers use this Dialer, too:
        self._is_proven = False  # True once the room has proved that it knows the password
        self._proofs = 0  # proofs sent since the room last proved itself
        self._next_proof_at = 0.0  # monotonic s; applies once `_proofs` has reached PROOFS

    def connect(self, is_wanted: Callable[[], bool]) -> Connection:
        """Returns a connection on which nothing has been sent yet. Raises ConnectionLost."""
        try:
            where = (self._look_up(is_wanted), self.port)
            deadline = Deadline(CONNECT_TIME, Trouble.NO_ANSWER, is_wanted)
            with contextlib.ExitStack() as undo:
                sock = undo.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
                sock.setblocking(False)
                code = sock.connect_ex(where)
                if code in (errno.EINPROGRESS, errno.EWOULDBLOCK):
                    with _OneSocketSelector() as selector:
                        selector.register(sock, selectors.EVENT_WRITE)
                        while not selector.select(deadline.left()):
                            pass
                    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise ConnectionLost(_TROUBLES.get(code, Trouble.NO_ANSWER))
                if sock.getsockname() == sock.getpeername():  # TCP can connect a socket to itself
                    raise ConnectionLost(Trouble.NOBODY_LISTENS)
                connection = Connection(sock, CLIENT_RECEIVES)
                undo.pop_all()
                return connection
        except OSError as error:  # no descriptors or threads are left, or the connection ended at once
            raise ConnectionLost from error

    def _look_up(self, is_wanted: Callable[[], bool]) -> str:
        """Returns the IPv4 address, resolved if necessary. Raises ConnectionLost, or OSError if no thread is left."""
        with contextlib.suppress(ValueError):
            return str(ipaddress.IPv4Address(self.address))
        found: list[str] = []

        def look_up() -> None:
            with contextlib.suppress(OSError, UnicodeError):
                found.append(str(socket.getaddrinfo(self.address, None, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]))

        thread = _start_thread(look_up, f"name look-up {self.address}", is_daemon=True)
        deadline = Deadline(LOOK_UP_TIME, Trouble.UNKNOWN_NAME, is_wanted)
        while thread.is_alive():
            thread.join(deadline.left())
        if not found:
            raise ConnectionLost(Trouble.UNKNOWN_NAME)
        return found[0]

    def exchange_hellos(self, connection: Connection, deadline: Deadline) -> None:
        """Exchanges hello lines; with a password, begins TLS. Raises ConnectionLost, ProtocolError, Ended."""
        try:
            self._exchange_hellos(connection, deadline)
        except Ended:
            if self._is_proven:  # the password was right before, so this is probably an impostor: keep trying
                raise ConnectionLost(Trouble.UNPROVEN, PROOF_WAIT if self._proofs >= PROOFS else 0) from None
            raise

    def _exchange_hellos(self, connection: Connection, deadline: Deadline) -> None:
        a = secrets.randbits(256)
        public_a = 0 if self.password is None else SRP.power(a)
        mine = Hello(PROTOCOL, tls=CAN_ENCRYPT, a=SRP.pad(public_a).hex() if public_a else None)
        connection.send_unjoined(mine)
        line = connection.wait_for_line(deadline)
        hello = _expect(read_reply(line), Hello)
        if hello.protocol != PROTOCOL:
            raise Ended("protocol", f"That room speaks protocol {hello.protocol}, this program {PROTOCOL}.")
        if self.password is not None and not hello.tls:
            raise Ended("open", "This room has no password. Leave the box empty to join it.")
        if hello.tls and not CAN_ENCRYPT:
            raise Ended("tls", "This room has a password, which needs Python 3.13 or newer.")
        if hello.tls and self.password is None:
            raise Ended("password", "This room has a password.")
        if self.password is not None:
            try:
                if hello.salt is None or hello.b is None:
                    raise ValueError("a room with a password sends both")
                x = SRP.x(bytes.fromhex(hello.salt), clean_password(self.password))
                secret = SRP.client_secret(a, x, public_a, int(hello.b, 16))
            except ValueError:  # an honest room never sends such values
                raise Ended(*_NOT_PROVEN) from None
            key = session_key(secret, encode(mine).rstrip(b"\n"), line)
            self._prove(connection, Tls(lambda: key, is_room=False), deadline)
        connection.longest_line = MAX_LINE_FROM_ROOM

    def _prove(self, connection: Connection, tls: Tls, deadline: Deadline) -> None:
        """Begins TLS, which proves to the other side that we know the password. Raises ConnectionLost, Ended.

        An impostor can test one password with each proof. So after PROOFS proofs in a row without one in return, the
        client gives up or, if the room has proved itself before, sends only one proof every PROOF_WAIT s.
        """
        with self._lock:
            wait = self._next_proof_at - time.monotonic()
            if self._proofs >= PROOFS and wait > 0:  # the last proof was sent less than PROOF_WAIT s ago
                raise ConnectionLost(Trouble.UNPROVEN, wait)
            self._proofs += 1
            self._next_proof_at = time.monotonic() + PROOF_WAIT
        try:
            connection.start_tls(tls, deadline, tls.handshake_step)
        except ConnectionLost:
            if tls.failure in _WRONG_PASSWORD:
                raise Ended(*_WRONG) from None
            if tls.failure is not None or self._proofs >= PROOFS:
                raise Ended(*_NOT_PROVEN) from None
            raise
        with self._lock:
            self._is_proven = True
            self._proofs = 0


class Outbox:
    """Keeps the lines that the room has not answered yet, so that none is lost or published twice. It uses no socket.

    All lines belong to one room. After a break, the client first receives the room's newer events. Then `catch_up`
    settles the lines that the room had received, and the client sends the others. The Outbox reports all of this as
    events; the Client passes on the room's own answers. The Client's lock guards the Outbox.
    """

    def __init__(self, events: Events, clock: Callable[[], float] = time.time) -> None:
        """clock: returns seconds since 1970. The first id is the time in ms, so later clients use higher ids."""
        self.events = events
        self._clock = clock
        self._next_id = self._first_id()
        self.room: str | None = None  # the id of the room that gets the lines; None before the first welcome
        self._last_id = 0  # the highest id that the room had answered before the newest welcome
        self._has_missed = False  # True if any welcome since the last catch-up reported missed events
        self._lines: dict[int, bytes] = {}  # id -> encoded `say`; the ids rise
        self._sent_up_to = 0  # the highest id sent since the last catch-up
        self.is_open = False  # True while lines may be sent: from `catch_up` until `close`

    def _first_id(self) -> int:
        return min(max(1, int(self._clock() * 1000)), MAX_SAY_ID // 2)

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def has_unsent(self) -> bool:
        """Returns True if lines wait to be sent. Until `catch_up` is called, all lines without an answer count."""
        return next(reversed(self._lines), 0) > (self._sent_up_to if self.is_open else 0)

    def say(self, text: str, problem: tuple[str, str] | None) -> int:
        """Puts `Sending` into the queue; then queues the line or, if it has a problem, rejects it. Returns its id."""
        number = self._next_id
        self._next_id += 1
        self.events.put(Sending(number, text))
        if problem is None and number > MAX_SAY_ID:  # the room claimed a huge last id
            problem = _NOT_SENT
        if problem is None:
            self._lines[number] = encode(Say(number, text))
        else:
            self.events.put(Rejected(number, *problem))
        return number

    def answered(self, number: int) -> None:
        """Forgets a line, because the room has published or rejected it."""
        self._lines.pop(number, None)

    def enter(self, room: str, last_id: int, has_missed: bool) -> None:
        """Prepares for the room that sent a welcome. Rejects all lines if they belong to another room."""
        if self.room not in (None, room):
            self.give_up()
            self._sent_up_to = 0
            self._has_missed = False
            if self._next_id > MAX_SAY_ID // 2:  # the previous room claimed absurdly large ids
                self._next_id = self._first_id()
        self.room = room
        self._last_id = last_id
        self._has_missed = self._has_missed or has_missed
        self._next_id = max(self._next_id, last_id + 1)

    def catch_up(self) -> None:
        """Settles the lines that the room received before the break, and allows the others to be sent (again)."""
        for number in [number for number in self._lines if number <= self._last_id]:
            del self._lines[number]
            if number > self._sent_up_to:  # another client with our token used this id
                self.events.put(Rejected(number, *_NOT_SENT))
            elif self._has_missed:  # its `said` is probably among the events that this client will never get
                self.events.put(Settled(number))
            else:
                self.events.put(Rejected(number, "unknown", "The room did not take this. The reason was lost."))
        self._sent_up_to = 0
        self._has_missed = False
        self.is_open = True

    def close(self) -> None:
        """Stops sending until the next `catch_up`, because the connection is gone."""
        self.is_open = False

    def take(self, most: int) -> bytes:
        """Returns the next lines to send, joined: enough to reach `most` bytes, or all of them. They count as sent."""
        piece = bytearray()
        for number, line in self._lines.items():
            if self.is_open and number > self._sent_up_to and len(piece) < most:
                piece += line
                self._sent_up_to = number
        return bytes(piece)

    def give_up(self) -> None:
        """Rejects all lines, and says for each whether the others may have received it."""
        for number in self._lines:
            self.events.put(Rejected(number, *(_NO_ANSWER if number <= self._sent_up_to else _NOT_SENT)))
        self._lines.clear()


class Client(contextlib.AbstractContextManager["Client"]):
    """Keeps one person in a room, reconnects after each break, and runs their transfers. `run_client` creates it.

    Any thread may call `say`, `share`, `save`, `cancel`, `move` and `close`. These methods return at once. Events
    report the outcome; `join` waits for that of `close`.
    """

    def __init__(self, address: str, port: int, name: str, token: str, password: str | None, events: Events) -> None:
        """Raises OSError if the system lacks descriptors or threads."""
        self.events = events
        self._name = clean_name(name)

        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)  # notified by `move`, `_enter`, `_cancel` and `_end_visit`
        # Guarded by _lock (but any thread may read `token`, `dialer` and `room` without it):
        self.token = token
        self.dialer = Dialer(address, port, password)
        self.room: Welcome | None = None  # welcome of the current room; None while the client is in none
        self._outbox = Outbox(events)
        self._connection: Connection | None = None  # None while there is no connection
        self._transfers: dict[int, tuple[Transfer, Future[None]]] = {}
        self._uploads = ThreadPoolExecutor(TRANSFERS_AT_ONCE, "transfer, uploading")
        self._downloads = ThreadPoolExecutor(TRANSFERS_AT_ONCE, "transfer, downloading")
        self.transfer_numbers = itertools.count(1)

        # Reader thread only:
        self._failures = 1  # failures in a row; starts at 1, so that a failed first attempt is not repeated at once
        self._free_try_at = 0.0  # monotonic s; if the connection breaks after this, the first new attempt comes at once
        self._last = 0  # number of the newest event received or missed; after a break, the room continues after it
        self._people: set[int] = set()  # numbers of the people in the room

        # Any thread reads these two; `close` changes both, and the end of the visit sets `_closing`:
        self._closing = threading.Event()
        self._end = math.inf  # monotonic s; when a closing client stops waiting for the room
        self._sender = Sender("client sender", self._next_writes, self._fail)
        self._reader = _start_thread(self.receive_messages, "client reader", self._sender.stop)

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def address(self) -> str:
        return self.dialer.address

    @property
    def port(self) -> int:
        return self.dialer.port

    def say(self, text: str) -> None:
        """Sends text to everyone. `Sending` comes at once; `Said`, `Rejected` or `Settled` with the same id follows."""
        text = clean_text(text)
        problem = text_problem(text)
        with self._lock:
            self._outbox.say(text, _NOT_SENT if self._closing.is_set() else problem)
        self._sender.wake()

    def share(self, path: str) -> None:
        """Shares a file with everyone. `Progress` comes at once; `Uploaded` or `Failed` comes last."""
        self._start(Sharing(self, path))

    def save(self, file: Shared, to: str) -> None:
        """Saves a file as `to`, replacing any file there. `Progress` comes at once; `Saved` or `Failed` comes last."""
        self._start(Saving(self, file, to))

    def cancel(self, transfer: int) -> None:
        """Cancels a transfer. `Failed` with the code "cancelled" follows, unless it ends in another way first."""
        with self._lock:
            self._cancel(transfer)

    def move(self, address: str, port: int) -> None:
        """Connects to the same room at another address. Raises ValueError for an empty address or a port out of range.

        With a password, the room must prove that it knows the password, so the visit continues. Without one, an
        impostor could answer, so the client uses a new token and rejects all lines that have no answer yet.
        """
        _check_address(address, port)
        with self._lock:
            dialer = copy.copy(self.dialer)  # it starts with the same record of proofs
            dialer.address, dialer.port = address.strip(), port
            self.dialer = dialer
            if self.dialer.password is None:
                self.token = secrets.token_hex(16)
                self._outbox.give_up()
            self._changed.notify_all()
            if self._connection is not None:
                self._connection.abort()

    def close(self) -> None:
        """Returns at once. Within 2 s, the client sends the lines still waiting, if it can, and leaves the room."""
        with self._lock:
            self._end = min(self._end, time.monotonic() + CLOSE_TIME)
            self._end_visit()
        self._sender.wake()

    def join(self, timeout: float | None = None) -> bool:
        """Waits up to `timeout` s for the client to end; returns True if it has. Any thread except the client's own."""
        self._reader.join(timeout)
        return not self._reader.is_alive()

    # Reader thread: connecting and joining.

    def receive_messages(self) -> None:
        """Runs in the reader thread: connects, and reconnects after each break, until the visit is over."""
        last_event: Refused | Closed | None = None
        try:
            while self._visit():
                pass
        except Ended as ended:
            last_event = Closed(str(ended)) if ended.code == "closed" else Refused(ended.code, str(ended))
        except Exception:
            log.exception("the client's reader failed")
            last_event = Refused("failed", "Something in this program failed. Please join again.")
        with self._lock:
            self._outbox.give_up()
            self._end_visit()
            futures = [future for _, future in self._transfers.values()]
        wait_for_futures(futures, CLOSE_TIME)  # a slow disk may delay them
        if last_event is not None:
            self.events.put(last_event)
        self._sender.stop()

    def _visit(self) -> bool:
        """Connects once; after a failure or a break, waits. Returns True to try again. Raises Ended."""
        with self._lock:
            dialer = self.dialer
        try:
            self._run_connection(dialer, dialer.connect(lambda: self._is_wanted(dialer)))
            return False
        except ConnectionLost as lost:
            loss = lost
        except ProtocolError as error:
            log.info("%s is not a chat room: %s", dialer.address, error)
            loss = ConnectionLost(Trouble.NOT_A_ROOM)
        if self._closing.is_set():
            return False
        delay = max(RETRIES[min(self._failures, len(RETRIES) - 1)], min(loss.seconds, MAX_WAIT))
        if self._failures == 0:
            self._free_try_at = time.monotonic() + RETRIES[-1]
        self._failures += 1
        log.info("no connection to %s: %s; the next attempt is in %s s", dialer.address, loss, delay)
        self.events.put(Lost(loss.trouble, delay))
        with self._lock:
            self._changed.wait_for(lambda: self._closing.is_set() or self.dialer is not dialer, delay)
        return self._is_wanted(self.dialer)

    def _is_wanted(self, dialer: Dialer) -> bool:
        """Returns True while the client still needs a connection made by this Dialer. Any thread."""
        is_wanted = not self._closing.is_set() or (len(self._outbox) > 0 and time.monotonic() < self._end)
        return is_wanted and self.dialer is dialer

    def _run_connection(self, dialer: Dialer, connection: Connection) -> None:
        """Joins the room and handles its messages until `_end`. Raises ConnectionLost, ProtocolError, Ended."""
        with self._lock:
            self._connection = connection
        try:
            welcome = self._enter(dialer, connection)
            history_end = self._last + welcome.history
            while time.monotonic() < self._end:
                if not self._outbox.is_open and self._last >= history_end:  # the whole history has arrived
                    with self._lock:
                        self._outbox.catch_up()
                    self._sender.wake()
                while self.events.qsize() > MAX_WAITING_EVENTS and not self._closing.wait(WINDOW_CHECK):
                    pass  # nothing is received meanwhile, so TCP slows this connection
                lines = connection.next_lines(min(TICK, self._end - time.monotonic()))
                if time.monotonic() >= self._free_try_at:
                    self._failures = 0  # the last attempt without a delay was long enough ago to allow another
                for line in lines:
                    self._take_message(read_reply(line), welcome)
        finally:
            with self._lock:
                self.room = self._connection = None
                self._outbox.close()
                connection.feed.close()
            self._sender.release(connection)

    def _enter(self, dialer: Dialer, connection: Connection) -> Welcome:
        """Joins, and receives what precedes the history. Raises ConnectionLost, ProtocolError, Ended."""
        deadline = Deadline(FIRST_MESSAGE, is_wanted=lambda: self._is_wanted(dialer))
        dialer.exchange_hellos(connection, deadline)
        with self._lock:
            token = self.token
            if self.dialer is not dialer:  # `move` was called; the old address must not learn the new token
                raise ConnectionLost
        connection.send_unjoined(Join(self._name, token, self._outbox.room, self._last))
        welcome = _expect(await_reply(connection, deadline), Welcome)
        if self._outbox.room != welcome.room:
            self._last = 0
        history_start = self._last + welcome.missed + welcome.files
        if history_start + welcome.history > MAX_INTEGER:
            raise ProtocolError("these events cannot be numbered")
        self._people = {who for who, _ in welcome.people}
        with self._lock:
            connection.feed.open(0)
            self._outbox.enter(welcome.room, welcome.last_id, has_missed=welcome.missed > 0)
            self.events.put(welcome)
            self.room = welcome
            self._changed.notify_all()
        deadline = Deadline(SILENCE, is_wanted=lambda: time.monotonic() < self._end)
        for _ in range(welcome.files):
            file = _expect(read_reply(connection.wait_for_line(deadline)), Shared)
            deadline.restart()
            if not self._last < file.number <= history_start:
                raise ProtocolError("expected the files from before the history")
            self._last = file.number
            self.events.put(file)
        self._last = history_start
        return welcome

    # Reader thread: in the room.

    def _take_message(self, message: Message | Unknown, welcome: Welcome) -> None:
        """Handles a message. Raises ConnectionLost if an event is missing, ProtocolError if the room breaks a rule."""
        number = message.number if isinstance(message, Numbered | Unknown) else None
        if number is not None:
            if number <= self._last:
                return
            if number > self._last + 1:
                raise ConnectionLost(Trouble.GAP)
            self._last = number
        if isinstance(message, Joined):
            self._people.add(message.who)
            # Until the client has caught up, the history may name people who have already left, so allow twice as many.
            most = ROOM_PEOPLE if self._outbox.is_open else 2 * ROOM_PEOPLE
            if len(self._people) > most:
                raise ProtocolError(f"more than {ROOM_PEOPLE} people are in the room")
        elif isinstance(message, Left):
            self._people.discard(message.who)
        elif isinstance(message, Rejected) or (isinstance(message, Said) and message.who == welcome.who):
            with self._lock:
                self._outbox.answered(message.id)
        if isinstance(message, Numbered | Muted | Rejected):
            self.events.put(message)

    # Sender thread.

    def _next_writes(self) -> Writes:
        with self._lock:
            connection = self._connection
            if connection is None or connection.unsent or connection.feed.life is Life.CLOSED:
                return []
            feed = connection.feed
            if self._closing.is_set() and not self._outbox.has_unsent:
                feed.end(0, Leave())
            piece = feed.pop_private_lines()
            if piece is None:
                piece = self._outbox.take(MAX_PIECE) or None
            if piece is None and connection.needs_ping():
                piece = _PING
            return [] if piece is None else [(connection, piece)]

    def _fail(self) -> None:
        """Ends the connection after an unexpected error in the sender, so that the reader connects again."""
        with self._lock:
            if self._connection is not None:
                self._connection.abort()

    # Any thread: transfers. The caller of `_problem`, `_finish`, `_cancel` and `_end_visit` must hold the lock.

    def _start(self, transfer: Transfer) -> None:
        """Queues a transfer; it begins when a thread is free. If it cannot start, a `Failed` event says why."""
        with self._lock:
            transfer.tell(is_waiting=True)
            problem = self._problem(transfer)
            if problem is None:
                pool = self._uploads if transfer.is_upload else self._downloads
                try:
                    self._transfers[transfer.number] = transfer, pool.submit(self._run, transfer)
                except RuntimeError:
                    problem = ("failed", "This computer cannot start another thread.")
            if problem is not None:
                self._finish(transfer, Failed(transfer.number, transfer.filename, *problem))

    def _problem(self, transfer: Transfer) -> tuple[str, str] | None:
        """Returns why this transfer may not start, as (code, reason), or None."""
        if self._closing.is_set():
            return _OVER
        if len(self._transfers) >= MAX_TRANSFERS:
            return ("many", f"At most {MAX_TRANSFERS} files can be on their way at once.")
        downloads = [other.file for other, _ in self._transfers.values() if not other.is_upload]
        if not transfer.is_upload and transfer.file in downloads:
            return ("busy", "This file is being saved already.")
        return None

    def _run(self, transfer: Transfer) -> None:
        """Runs a transfer in a worker thread, and reports how it ended."""
        event = transfer.run()
        with self._lock:
            self._finish(transfer, event)

    def _finish(self, transfer: Transfer, event: Uploaded | Saved | Failed) -> None:
        """Removes a transfer, and reports how it ended."""
        self._transfers.pop(transfer.number, None)
        self.events.put(event)

    def _cancel(self, number: int) -> None:
        if number in self._transfers:
            transfer, future = self._transfers[number]
            transfer.cancel()
            if future.cancel():  # it was still waiting for a thread
                self._finish(transfer, Failed(number, transfer.filename, *self._why_cancelled()))
            self._changed.notify_all()

    def _why_cancelled(self) -> tuple[str, str]:
        return _OVER if self._closing.is_set() else _CANCELLED

    def await_room(self, transfer: Transfer) -> Welcome:
        """Waits until the client is in a room; returns its welcome. Raises Ended after a `cancel`. Worker threads."""
        with self._lock:
            self._changed.wait_for(lambda: self.room is not None or not transfer.is_wanted())
            if not transfer.is_wanted() or self.room is None:
                raise Ended(*self._why_cancelled())
            return self.room

    def _end_visit(self) -> None:
        """Cancels all transfers, and starts no more, because the visit is over or about to end."""
        self._closing.set()
        for number in [*self._transfers]:
            self._cancel(number)
        self._changed.notify_all()
        for pool in (self._uploads, self._downloads):
            pool.shutdown(wait=False)


# ----------------------------------------------------------------------------------------------- files on their way

_OVER = ("over", "You are no longer in the room.")
_CANCELLED = ("cancelled", "You cancelled it.")
_DISK_TROUBLES = {
    errno.ENOENT: "missing",
    errno.EISDIR: "folder",
    errno.EACCES: "permission",
    errno.EPERM: "permission",
    errno.ENOSPC: "disk_full",
    errno.EDQUOT: "disk_full",
}  # any other error has the code "disk"


class Transfer:
    """Transfers one file in a worker thread. After a break, a download continues and an upload starts again."""

    is_upload: ClassVar[bool]

    def __init__(self, client: Client, file: str, filename: str, size: int) -> None:
        self.number = next(client.transfer_numbers)
        self.file = file
        self.filename = filename
        self._client = client
        # Any thread:
        self._cancelled = threading.Event()
        self._connection: Connection | None = None  # the newest
        # Worker thread only, once the transfer runs:
        self._size = size
        self._done = 0  # bytes
        self._told_at = 0.0  # monotonic s

    def cancel(self) -> None:
        """Makes the transfer fail. Any thread."""
        self._cancelled.set()
        if self._connection is not None:
            self._connection.abort()

    def is_wanted(self) -> bool:
        """Returns False once the transfer is cancelled. Any thread."""
        return not self._cancelled.is_set()

    def tell(self, *, is_waiting: bool = False) -> None:
        """Sends a `Progress` event, at most one per PROGRESS_EVERY s unless the transfer waits or is complete."""
        now = time.monotonic()
        if is_waiting or now - self._told_at >= PROGRESS_EVERY or self._done == self._size:
            self._told_at = now
            progress = Progress(self.number, self.filename, self._done, self._size, self.is_upload, is_waiting)
            self._client.events.put(progress)

    # Worker thread.

    def run(self) -> Uploaded | Saved | Failed:
        """Runs the whole transfer; returns the event that says how it ended."""
        try:
            return self._carry()
        except (Ended, ProtocolError) as failure:
            code, reason = failure.code, str(failure)
        except ValueError as error:  # the path is invalid, for example because it contains NUL
            code, reason = "missing", str(error)
        except OSError as error:
            code, reason = _DISK_TROUBLES.get(error.errno or 0, "disk"), error.strerror or str(error)
        except Exception:
            log.exception("the transfer of %s failed", self.filename)
            code, reason = "failed", "Something in this program failed."
        return Failed(self.number, self.filename, code, reason)

    def _carry(self) -> Uploaded | Saved:
        """Transfers the file; returns the final event. Raises Ended, OSError, or ValueError for a bad path."""
        raise NotImplementedError

    def _over_breaks(self, transfer_once: Callable[[Connection, Deadline], None]) -> None:
        """Repeats `transfer_once` until it succeeds or too many attempts bring no progress. Raises as `_carry` does."""
        first_room = self._client.await_room(self).room
        furthest = attempts = failures = 0
        while True:
            room = self._client.await_room(self)
            if room.room != first_room:
                raise Ended("reopened", "The room was opened again meanwhile.")
            try:
                with self._connected() as connection:
                    return transfer_once(connection, Deadline(SILENCE, is_wanted=self.is_wanted))
            except Ended as ended:
                if ended.code != "unknown" or self._client.room is room:
                    raise
                lost = ConnectionLost(Trouble.WAIT)  # the client's own connection broke meanwhile: try again
            except ConnectionLost as error:
                lost = error
            log.info("%s broke off at %s: %s", self.filename, self._done, lost)
            failures += 1
            if lost.trouble not in (Trouble.WAIT, Trouble.UNPROVEN):
                attempts += 1
            if self._done > furthest:
                furthest, attempts, failures = self._done, 0, 0
            if attempts >= TRANSFER_ATTEMPTS and self.is_wanted():
                raise Ended("broken", "The connection broke off too often.")
            self.tell(is_waiting=True)
            self._cancelled.wait(max(RETRIES[min(failures, len(RETRIES) - 1)], min(lost.seconds, MAX_WAIT)))

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Connection]:
        """Yields a connection that is ready for the first message; closes it at the end. Raises ConnectionLost."""
        dialer = self._client.dialer
        with contextlib.closing(dialer.connect(self.is_wanted)) as connection:
            self._connection = connection
            try:
                dialer.exchange_hellos(connection, Deadline(FIRST_MESSAGE, is_wanted=self.is_wanted))
            except (Ended, ProtocolError):  # retry; if it is final, the client gets it too and ends all transfers
                raise ConnectionLost(Trouble.UNPROVEN) from None
            yield connection


class Sharing(Transfer):
    """Uploads a file from this computer to the room."""

    is_upload = True

    def __init__(self, client: Client, path: str) -> None:
        super().__init__(client, secrets.token_hex(16), clean_filename(os.path.basename(path)), 0)
        self._path = path

    def _carry(self) -> Uploaded:
        path = path_on_disk(self._path)
        if os.path.exists(path) and not os.path.isfile(path):
            raise Ended("folder", "Only files can be shared.")
        with open(path, "rb", buffering=0) as disk:
            status = os.fstat(disk.fileno())
            self._size = status.st_size
            self._over_breaks(functools.partial(self._upload, disk, status.st_mtime_ns))
        return Uploaded(self.number)

    def _upload(self, disk: io.FileIO, changed_at: int, connection: Connection, deadline: Deadline) -> None:
        connection.keep_buffer_small()
        connection.send_unjoined(Upload(self._client.token, self.file, self.filename, self._size))
        answer = await_reply(connection, deadline)
        if isinstance(answer, Stored):  # an earlier attempt succeeded, but its answer was lost
            return
        _expect(answer, Ready)
        self._done = 0
        digest = hashlib.sha256()
        disk.seek(0)
        buffer = memoryview(bytearray(MAX_PIECE))
        while count := disk.readinto(buffer[: self._size - self._done]):
            digest.update(buffer[:count])
            try:
                connection.send_bytes(buffer[:count], deadline)
            finally:  # even if that failed, read what the room says: it may refuse the file at any time
                for line in connection.next_lines(0):
                    read_reply(line)
            self._done += count
            self.tell()
        status = os.fstat(disk.fileno())
        if not disk.tell() == status.st_size == self._size or status.st_mtime_ns != changed_at:
            raise Ended("changed", "The file was changed while it was read.")
        connection.send_bytes(encode(Sent(digest.hexdigest())), deadline)
        _expect(await_reply(connection, deadline), Stored)


class Saving(Transfer):
    """Downloads a file from the room into a new file beside the target, and then replaces the target with it."""

    is_upload = False

    def __init__(self, client: Client, file: Shared, to: str) -> None:
        super().__init__(client, file.file, os.path.basename(to), file.size)
        self._sha256 = file.sha256.lower()
        self._to = to
        self._digest = hashlib.sha256()

    def _carry(self) -> Saved:
        with replacing(self._to) as part:
            self._over_breaks(functools.partial(self._download, part))
            if self._digest.hexdigest() != self._sha256:
                raise Ended("hash", "The file was changed on its way.")
        return Saved(self.number, self._to)

    def _download(self, part: io.FileIO, connection: Connection, deadline: Deadline) -> None:
        connection.send_unjoined(Download(self._client.token, self.file, self._done))
        rest = self._size - self._done
        if _expect(await_reply(connection, deadline), RawBytes).size != rest:
            raise ProtocolError("the file has another size")
        for piece in connection.receive_bytes(rest, deadline):
            self._digest.update(piece)
            write_all(part, piece)
            self._done += len(piece)
            self.tell()


def path_on_disk(path: str) -> str:
    """Returns the path in a form that `open` encodes as UTF-8. Raises ValueError if that is impossible.

    File names on the disk are in UTF-8, but in the C locale without UTF-8 mode, Python would encode them as ASCII.
    """
    path = os.fspath(path)
    return path if sys.platform == "win32" else os.fsdecode(path.encode("utf-8", "surrogateescape"))


@contextlib.contextmanager
def replacing(path: str) -> Iterator[io.FileIO]:
    """Yields a new file beside `path` to write to, and at the end replaces `path` with it; after an error, deletes it.

    Raises OSError, or ValueError for an invalid path.
    """
    target = path_on_disk(path)
    part = f"{target}.{secrets.token_hex(4)}.part"
    if os.path.isdir(target):
        raise IsADirectoryError(errno.EISDIR, "There is a folder with this name.")
    try:
        with open(part, "xb", buffering=0) as file:
            yield file
        outlast_scanner(os.replace, part, target)
    except BaseException:
        with contextlib.suppress(OSError):
            outlast_scanner(os.unlink, part)
        raise


def outlast_scanner(change: Callable[..., None], *paths: str) -> None:
    """Calls `change`. On Windows, retries for SCAN_TIME s: a virus scanner may hold the file. Raises OSError."""
    give_up_at = time.monotonic() + SCAN_TIME
    while True:
        try:
            return change(*paths)
        except PermissionError:
            if os.name != "nt" or time.monotonic() > give_up_at:
                raise
        time.sleep(0.1)


def write_all(disk: io.FileIO, piece: bytes | memoryview) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[disk.write(rest) :]


# ----------------------------------------------------------------------------------------- finding rooms and addresses


class Answerer(Loop):
    """Answers `find` on the UDP port with the same number as the room's TCP port, so that others can find the room.

    Its finder thread also reports `Reachable`, at the start and whenever this computer's addresses change.
    """

    def __init__(self, host: str, port: int, describe: Callable[[], RoomHere], events: Events) -> None:
        """Raises OSError if the system lacks descriptors or threads. If only UDP fails, others cannot find the room."""
        self._describe = describe
        self._events = events
        self.addresses: tuple[str, ...] = ()  # this computer's; any thread may read them
        # Finder thread only:
        self._told: tuple[str, ...] | None = None
        self._look_at = 0.0  # monotonic s; when to look at the addresses again
        self._socket = _open_udp(host, port)
        super().__init__(f"finder {port}", self._answer, self._fail, *filter(None, [self._socket]))

    # Finder thread.

    def _answer(self, selector: selectors.BaseSelector) -> None:
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + ADDRESSES_EVERY
            self.addresses = tuple(local_addresses())
            if self.addresses != self._told:
                self._told = self.addresses
                self._events.put(Reachable(self.addresses, findable=self._socket is not None))
        if selector.select(ADDRESSES_EVERY) and self._socket is not None:
            answer = encode(self._describe())
            for message, asker in _datagrams(self._socket):
                if message == Find(PROTOCOL):
                    _send_to(self._socket, answer, asker)
            time.sleep(DATAGRAMS_TIME)

    def _fail(self) -> None:
        self._events.put(Reachable(self.addresses, findable=False))
        self.close()


class Finder(Loop, contextlib.AbstractContextManager["Finder"]):
    """Asks for rooms until `close` is called, and keeps a list of those that answer. `find_rooms` creates it."""

    def __init__(self, events: Events, ways: Sequence[tuple[str, str]] | None) -> None:
        self._events = events
        self._ways = ways
        # Finder thread only:
        self._sockets: dict[tuple[str, str], socket.socket] = {}  # way (see `ways_out`) -> the socket for its questions
        self._own_addresses: list[str] = []
        self._rooms: dict[tuple[str, str], tuple[FoundRoom, float]] = {}  # (id, address) -> (room, time of last answer)
        self._told: tuple[FoundRoom, ...] = ()
        self._start = self._tell_at = time.monotonic()
        self._ask_at = dict.fromkeys(PORTS, self._start)
        super().__init__("finder", self._look, lambda: None)

    def __exit__(self, *_: object) -> None:
        self.close()

    # Finder thread.

    def _look(self, selector: selectors.BaseSelector) -> None:
        now = time.monotonic()
        ports = [port for port, at in self._ask_at.items() if at <= now]
        if ports:
            self._open_ways(selector)
        for port in ports:
            for way, sock in self._sockets.items():
                _send_to(sock, encode(Find(PROTOCOL)), (way[1], port))
            self._ask_at[port] = now + question_pause(port, now - self._start)
        if now >= self._tell_at:
            self._tell_at = now + TELL_EVERY
            self._tell(now)
        if selector.select(TELL_EVERY):
            for sock in self._sockets.values():
                for message, (address, port) in _datagrams(sock):
                    if isinstance(message, RoomHere) and message.port == port:
                        self._keep(message, address)
            time.sleep(DATAGRAMS_TIME)

    def _open_ways(self, selector: selectors.BaseSelector) -> None:
        """Opens a socket for each new way out, and closes the sockets of ways that are gone."""
        self._own_addresses = local_addresses()
        ways = ways_out(self._own_addresses) if self._ways is None else self._ways
        for way in [way for way in self._sockets if way not in ways]:
            sock = self._sockets.pop(way)
            selector.unregister(sock)
            sock.close()
        for way in ways:
            if way not in self._sockets and (new := _open_udp(way[0], 0)) is not None:
                self._sockets[way] = new
                selector.register(new, selectors.EVENT_READ, new)

    def _keep(self, message: RoomHere, address: str) -> None:
        """Adds or updates a room. Anyone can send answers, so an answer replaces only rooms at its sender's address."""
        title = clean_name(message.title, MAX_TITLE)
        if message.protocol != PROTOCOL or not title:
            return
        key = (message.room, LOOPBACK if address in self._own_addresses else address)
        if key in self._rooms:  # a room on this computer answers from several addresses: keep the first
            address = self._rooms[key][0].address
        room = FoundRoom(message.room, title, address, message.port, message.people, message.password)
        for other_key, (other, _) in list(self._rooms.items()):
            if other_key != key and (other.address, other.port) == (address, room.port):
                del self._rooms[other_key]  # that room was closed, and this one has its port now
        self._rooms[key] = (room, time.monotonic())
        if len(self._rooms) > MAX_ROOMS:  # the address with the most rooms loses its newest one
            rows = collections.Counter(place for _, place in self._rooms)
            most = max(rows.values())
            del self._rooms[next(newest for newest in reversed(self._rooms) if rows[newest[1]] == most)]

    def _tell(self, now: float) -> None:
        self._rooms = {key: row for key, row in self._rooms.items() if now - row[1] < ROOM_GONE_AFTER}
        rooms = tuple(room for room, _ in self._rooms.values())
        if rooms != self._told:
            self._told = rooms
            self._events.put(Found(rooms))


def ways_out(own_addresses: Sequence[str]) -> list[tuple[str, str]]:
    """Returns where to ask for rooms, as (own address, address to ask): loopback, and a broadcast from each address."""
    return [(LOOPBACK, LOOPBACK), *((address, "255.255.255.255") for address in own_addresses)]


def question_pause(port: int, asking_for: float) -> float:
    """Returns the seconds to wait before asking this port again if the search began `asking_for` seconds ago."""
    seconds = ASK_EVERY[0] if port == PORTS[0] else ASK_EVERY[1]
    slower = 2 if asking_for > ASK_LESS_AFTER else 1
    return seconds * slower * random.uniform(1 - JITTER, 1 + JITTER)


def _open_udp(host: str, port: int) -> socket.socket | None:
    """Returns a non-blocking UDP socket that may broadcast, or None if the system does not provide one."""
    try:
        with contextlib.ExitStack() as undo:
            sock = undo.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            if sys.platform == "win32" and port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            sock.bind((host, port))
            undo.pop_all()
            return sock
    except OSError as error:
        log.info("no UDP at %s port %s: %s", host or "any address", port, error)
        return None


def _datagrams(sock: socket.socket) -> Iterator[tuple[Message | Unknown, tuple[str, int]]]:
    """Yields the messages that have arrived, with their senders; reads at most DATAGRAMS_AT_ONCE datagrams."""
    for _ in range(DATAGRAMS_AT_ONCE):
        try:
            data, sender = sock.recvfrom(MAX_DATAGRAM)
            message = decode(data.rstrip(b"\n"))
        except BlockingIOError:
            return
        except (OSError, ProtocolError):
            continue  # invalid or, on Windows, too long (10040); 10054 means that one of ours found no listener
        yield message, sender


def _send_to(sock: socket.socket, datagram: bytes, address: tuple[str, int]) -> None:
    try:
        sock.sendto(datagram, address)
    except OSError as error:  # no route at the moment, or no permission; the next attempt may work
        log.debug("could not send to %s: %s", address, error)


_VIRTUAL = ("docker", "br-", "virbr", "veth", "vbox", "vmnet", "vnic", "bridge", "lxcbr", "cali")
_TUNNELS = ("tun", "tap", "utun", "wg", "zt", "ppp", "nordlynx", "tailscale")
# Computers without a DHCP server use 169.254.0.0/16; Internet providers and VPNs use 100.64.0.0/10.
_LAST_NETWORKS = tuple(map(ipaddress.ip_network, ("169.254.0.0/16", "100.64.0.0/10")))


def local_addresses() -> list[str]:
    """Returns this computer's IPv4 addresses except loopback, best first. Any thread.

    Addresses on tunnels, on virtual adapters and in _LAST_NETWORKS come last. The address of the default route comes
    first, unless it is one of these: VPNs often take that route, and nobody in the classroom could join through one.
    """
    addresses: dict[str, bool] = {}  # address -> whether its adapter comes last
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("192.0.2.1", 9))  # sends nothing; RFC 5737 reserves this address, so it is on the default route
        addresses[sock.getsockname()[0]] = False
    addresses.update(_adapters())

    def comes_last(address: str) -> bool:
        return addresses[address] or any(ipaddress.ip_address(address) in network for network in _LAST_NETWORKS)

    return sorted((each for each in addresses if each != "0.0.0.0" and not _is_loopback(each)), key=comes_last)


def _adapters() -> dict[str, bool]:
    """Maps each adapter's address to whether it is a tunnel or virtual. Windows reports only the addresses."""
    found: dict[str, bool] = {}
    if sys.platform == "win32":
        with contextlib.suppress(OSError, UnicodeError):
            found.update(dict.fromkeys(socket.gethostbyname_ex(socket.gethostname())[2], False))
    else:
        # The requests are described in netdevice(7). macOS, like the BSDs, has other numbers for them.
        is_bsd = sys.platform == "darwin"
        get_address, get_flags, get_mask = (0xC0206921, 0xC0206911, 0xC0206925) if is_bsd else (0x8915, 0x8913, 0x891B)
        broadcast, point_to_point = 0x2, 0x10
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _, name in socket.if_nameindex():
                request = name.encode()[:15].ljust(256, b"\0")
                with contextlib.suppress(OSError):  # raised if this adapter has no IPv4 address
                    address = socket.inet_ntoa(fcntl.ioctl(sock.fileno(), get_address, request)[20:24])
                    flags = int.from_bytes(fcntl.ioctl(sock.fileno(), get_flags, request)[16:18], sys.byteorder)
                    is_alone = fcntl.ioctl(sock.fileno(), get_mask, request)[20:24] == b"\xff" * 4
                    is_tunnel = is_alone or flags & (broadcast | point_to_point) != broadcast
                    found[address] = is_tunnel or name.startswith(_VIRTUAL + _TUNNELS)
    return found
