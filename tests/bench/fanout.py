"""How fast does what one says reach all others?    python -m tests.bench.fanout [--quick] [--only NAME ...]

This room, and whatever else can be had on this computer, each a process of its own; on loopback; one generator (this
process) for them all, which costs as little as possible, so that the server is what is measured:

    this room, encrypted     the same with a password (Python 3.13 or newer)
    ngircd                   an IRC server in C (on Debian and Ubuntu: apt install ngircd)
    miniircd                 an IRC server in Python (pip install miniircd)
    websockets               the usual library's `broadcast` (pip install websockets)
    tutorial                 a thread for each client and sendall in a loop; see rivals.py
    bare copy loop           the floor: nothing is parsed, nothing kept, nobody has a name. What it copies are lines
                             as long as those that this room sends; all others get the text, and add what they add

Throughput: somebody writes as fast as the server takes it, but is never more than 2,000 messages ahead of what has
arrived. One member, the witness, receives all of it; of the others only the bytes are counted, and dropped within the
system before they are copied (encrypted: the record headers are walked along, and nothing is decrypted; what that
costs in a class is on the members' computers). The witness's bytes for each line tell how many messages the others
have. In the end each of them must have as many bytes as the witness, and the witness all that was said.

Delivery time: 30 members, 300 messages a second, evenly; from the call of `send` until the generator has each of them,
decrypted. It is the same generator's time for all of them.

All servers take turns in each round; told are medians. Linux alone (epoll, /proc).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import net
from tests.bench.encryption import PASSWORD, Member
from tests.bench.tools import TOP, cpu_seconds, is_listening, kept_port, machine, memory

LOOPBACK = "127.0.0.1"
TEXT, HELLO, LAST = (letter * 80 for letter in (b"x", b"h", b"l"))  # of messages; the latter two for `Load.rest`
AHEAD = 2_000  # messages that the writer may be ahead of what has arrived, on average
AT_LEAST = 50  # messages in one write
AT_ONCE = 65_536  # bytes to receive; for more, some systems would be asked for new memory each time
REST = 0.001  # s between two looks at the sockets, so that the generator does not take the server's processor
PATIENCE = 20.0  # s; a server that does nothing for so long has failed
RATE = 300  # messages a second, for the delivery time

ROOM = """
import net, sys
net.SILENCE = 3600.0  # the members do not ping, and to join an encrypted room takes the generator 70 ms for each
port, password, history = sys.argv[1:]
with net.run_server("Bench", host="127.0.0.1", port=int(port), rate=None, password=password or None,
                    history=int(history)):
    print("ready", flush=True)
    sys.stdin.read()
"""

NGIRCD = """
[Global]
Name = irc.bench.example
AdminEMail = nobody@bench.example
Info = Bench
Listen = 127.0.0.1
Ports = {port}
MotdPhrase = Bench
PidFile = {folder}/ngircd.pid
[Limits]
MaxConnections = 0
MaxConnectionsIP = 0
MaxJoins = 0
MaxPenaltyTime = 0
PingTimeout = 3600
[Options]
DNS = no
Ident = no
PAM = no
"""

# ------------------------------------------------------------------------------------------------------------- members


class Ear:
    """A member's socket, and how much has come."""

    def __init__(self, sock: socket.socket, tls: net.Tls | None = None) -> None:
        sock.setblocking(False)
        self.socket = sock
        self.tls = tls
        self.bytes = self.lines = 0
        self._tail = b""  # of what was heard last, where half a word may stand
        self._left = 0  # bytes until the next record header
        self._header = b""  # the part of it that has come

    def read(self) -> int:
        """Receives, decrypts, counts the lines; how many are new."""
        data = self._receive()
        self.bytes += len(data)
        lines = data.count(b"\n")
        self.lines += lines
        return lines

    def hear(self, word: bytes) -> bool:
        """Receives, decrypts; whether the word has come."""
        data = self._tail + self._receive()
        self._tail = data[1 - len(word) :]
        return word in data

    def _receive(self) -> bytes:
        data = self.socket.recv(AT_ONCE)
        if not data:
            raise ConnectionError("the server has closed a connection")
        return data if self.tls is None else self.tls.decrypt(data)

    def skip(self) -> int:
        """Only counts the (plain) bytes; how many are new."""
        before = self.bytes
        if self.tls is not None:
            self._walk_along_records()
        else:
            # MSG_TRUNC: TCP drops what it would have copied, see tcp(7).
            size = self.socket.recv_into(_scratch, len(_scratch), socket.MSG_TRUNC)
            if not size:
                raise ConnectionError("the server has closed a connection")
            self.bytes += size
        return self.bytes - before

    def _walk_along_records(self) -> None:
        """A record: 5 bytes of header (the last two: the length of the rest), the plain bytes, 17 of its own."""
        begun = len(self._header)
        _scratch[:begun] = self._header
        size = self.socket.recv_into(_scratch[begun:])
        if not size:
            raise ConnectionError("the server has closed a connection")
        size += begun
        place = self._left
        while place + 5 <= size:
            length = _scratch[place + 3] << 8 | _scratch[place + 4]
            self.bytes += length - 17
            place += 5 + length
        self._header = bytes(_scratch[place:size])
        self._left = max(0, place - size)


_scratch = memoryview(bytearray(2**20))


def connect(port: int) -> socket.socket:
    sock = socket.create_connection((LOOPBACK, port), PATIENCE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def read_until(sock: socket.socket, word: bytes) -> None:
    seen = b""
    while word not in seen:
        data = sock.recv(65_536)
        if not data:
            raise ConnectionError(f"the server has closed the connection: {seen!r}")
        seen = seen[-len(word) :] + data


# ------------------------------------------------------------------------------------------------------------- servers


@dataclass(frozen=True)
class Contender:
    """A server, and how one talks to it."""

    label: str

    def why_not(self) -> str:
        """What is missing here; "" if nothing is."""
        return ""

    def command(self, port: int, folder: Path) -> list[str]:
        del folder
        return [sys.executable, "-m", "tests.bench.rivals", "bare", str(port)]

    def enter(self, port: int, number: int) -> Ear:
        del number
        return Ear(connect(port))

    def say(self, number: int, text: bytes = TEXT) -> bytes:
        return net.encode(net.Said(number, 1732.5, 2, "Member 1", number, text.decode()))


@dataclass(frozen=True)
class Tutorial(Contender):
    def say(self, number: int, text: bytes = TEXT) -> bytes:
        del number
        return text + b"\n"

    def command(self, port: int, folder: Path) -> list[str]:
        del folder
        return [sys.executable, "-m", "tests.bench.rivals", "tutorial", str(port)]


@dataclass(frozen=True)
class Room(Contender):
    password: str = ""
    history: int = 5_000  # so that nobody falls out of it

    def why_not(self) -> str:
        return "this Python cannot encrypt; 3.13 or newer can" if self.password and not net.CAN_ENCRYPT else ""

    def command(self, port: int, folder: Path) -> list[str]:
        del folder
        return [sys.executable, "-c", ROOM, str(port), self.password, str(self.history)]

    def enter(self, port: int, number: int) -> Ear:
        member = Member(port, f"Member {number}", self.password)
        return Ear(member.socket, member.tls)

    def say(self, number: int, text: bytes = TEXT) -> bytes:
        return b'{"type":"say","id":%d,"text":"%b"}\n' % (1 + number, text)


class _Irc(Contender):
    def enter(self, port: int, number: int) -> Ear:
        sock = connect(port)
        sock.sendall(b"NICK m%d\r\nUSER m 0 * :m\r\nJOIN #bench\r\n" % number)
        read_until(sock, b" 366 ")  # the end of the names: it is in
        return Ear(sock)

    def say(self, number: int, text: bytes = TEXT) -> bytes:
        del number
        return b"PRIVMSG #bench :" + text + b"\r\n"


@dataclass(frozen=True)
class Ngircd(_Irc):
    def why_not(self) -> str:
        return "" if self._path() else "ngircd is not installed (on Debian and Ubuntu: apt install ngircd)"

    def _path(self) -> str | None:
        return shutil.which("ngircd") or shutil.which("ngircd", path="/usr/sbin:/usr/local/sbin")

    def command(self, port: int, folder: Path) -> list[str]:
        config = folder / "ngircd.conf"
        config.write_text(NGIRCD.format(port=port, folder=folder))
        folder.chmod(0o755)  # started as root, it becomes somebody else
        return [self._path() or "ngircd", "--nodaemon", "--config", str(config)]


@dataclass(frozen=True)
class Miniircd(_Irc):
    def why_not(self) -> str:
        return "" if importlib.util.find_spec("miniircd") else "miniircd is not installed (pip install miniircd)"

    def command(self, port: int, folder: Path) -> list[str]:
        del folder
        as_root = ["--setuid", "root"] if os.geteuid() == 0 else []  # it asks to be told
        return [sys.executable, "-m", "miniircd", "--listen", LOOPBACK, "--ports", str(port), *as_root]


@dataclass(frozen=True)
class WebSockets(Contender):
    def why_not(self) -> str:
        return "" if importlib.util.find_spec("websockets") else "websockets is not installed (pip install websockets)"

    def command(self, port: int, folder: Path) -> list[str]:
        del folder
        return [sys.executable, "-m", "tests.bench.rivals", "websockets", str(port)]

    def enter(self, port: int, number: int) -> Ear:
        del number
        sock = connect(port)
        sock.sendall(
            b"GET / HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        read_until(sock, b"\r\n\r\n")
        return Ear(sock)

    def say(self, number: int, text: bytes = TEXT) -> bytes:
        del number
        # A whole text message (0x81) of so many bytes, masked (0x80) with nothing but zeros.
        return bytes([0x81, 0x80 | len(text) + 1, 0, 0, 0, 0]) + text + b"\n"


FLOOR, RIVAL = "bare copy loop", "ngircd"
CONTENDERS = [
    Room("this room"),
    Room("this room, encrypted", PASSWORD),
    Ngircd(RIVAL),
    Miniircd("miniircd"),
    WebSockets("websockets"),
    Tutorial("tutorial"),
    Contender(FLOOR),
]


@contextlib.contextmanager
def running(contender: Contender) -> Iterator[tuple[int, int]]:
    """The number of its process, and its port."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = stack.enter_context(kept_port())
        said = stack.enter_context((folder / "log").open("w+"))
        process = stack.enter_context(
            subprocess.Popen(
                contender.command(port, folder), cwd=TOP, text=True,
                stdin=subprocess.PIPE, stdout=said, stderr=subprocess.STDOUT,
            )
        )  # fmt: skip
        stack.callback(process.terminate)
        deadline = time.monotonic() + PATIENCE
        while not is_listening(port):
            if time.monotonic() > deadline or process.poll() is not None:
                said.seek(0)
                raise AssertionError(f"{contender.label} did not start: {said.read()}")
            time.sleep(0.02)
        yield process.pid, port


# ------------------------------------------------------------------------------------------------------- the generator


class Load:
    """Members who listen, and others who speak. All of them belong to one thread."""

    def __init__(
        self, contender: Contender, port: int, members: int, stack: contextlib.ExitStack, writers: int = 1
    ) -> None:
        self._contender = contender
        self._epoll = stack.enter_context(select.epoll())
        self._ears: dict[int, Ear] = {}
        for number in range(members + writers):
            ear = contender.enter(port, number)
            stack.callback(ear.socket.close)
            self._ears[ear.socket.fileno()] = ear
            self._epoll.register(ear.socket, select.EPOLLIN)
        ears = list(self._ears.values())
        self._speakers, self._witness, self._others = ears[:writers], ears[writers], ears[writers + 1 :]
        self._to_send = [memoryview(b"")] * writers
        self._number = 0  # of the next message
        self._said = 0  # messages, since it last came to rest
        self.rest()

    def rest(self) -> None:
        """Lets all of it arrive that joining has caused, and counts from there.

        Who hears anything is in; and when all are in, what is said then comes after all that joining has caused.
        """
        self._say_until_heard(HELLO)
        self._say_until_heard(LAST, once=True)
        self._said = 0
        for ear in self._ears.values():
            ear.bytes = ear.lines = 0

    def _say_until_heard(self, text: bytes, once: bool = False) -> None:
        """Says it, again and again if need be, until each member has heard it."""
        deadline = time.monotonic() + PATIENCE
        missing = {self._witness, *self._others}
        self._load(1, text)
        while missing:
            assert time.monotonic() < deadline, f"{self._contender.label}: {len(missing)} members hear nothing"
            self._send()
            ready = self._epoll.poll(0.05, self._members + 1)
            for descriptor, _ in ready:
                ear = self._ears[descriptor]
                if ear.hear(text):
                    missing.discard(ear)
            if not ready and not once and not any(self._to_send):
                self._load(1, text)

    @property
    def _members(self) -> int:
        return 1 + len(self._others)

    def say(self, messages: int) -> None:
        """Returns when all have them."""
        self._load(messages)
        self._finish()

    def throughput(self, seconds: float, pid: int) -> tuple[float, float]:
        """Deliveries a second, and the server's processor time for each, in s."""
        self._pour(seconds / 4)  # warms up
        before, cpu_before, start = self._delivered(), cpu_seconds(pid), time.perf_counter()
        self._pour(seconds)
        deliveries, cpu = self._delivered() - before, cpu_seconds(pid) - cpu_before
        rate = deliveries / (time.perf_counter() - start)
        self._finish()
        return rate, cpu / deliveries

    def _delivered(self) -> float:
        """Messages that have arrived, at all members together."""
        if not self._witness.lines:
            return 0.0
        size = self._witness.bytes / self._witness.lines
        return (self._witness.bytes + sum(ear.bytes for ear in self._others)) / size

    def _pour(self, seconds: float) -> None:
        """For so long, and until something has arrived."""
        end, before = time.perf_counter() + seconds, self._delivered()
        while time.perf_counter() < end or self._delivered() <= before:
            assert time.perf_counter() < end + PATIENCE, f"{self._contender.label}: nothing arrives"
            room = AHEAD - (self._said - self._delivered() / self._members)
            if not any(self._to_send) and room >= AT_LEAST:
                self._load(int(room))
            self._send()
            self._receive()
            time.sleep(REST)

    def _finish(self) -> None:
        """Each member must get what the witness gets, and the witness all that was said."""
        deadline = time.monotonic() + PATIENCE
        while any(ear.bytes < self._witness.bytes for ear in self._others) or self._witness.lines < self._said:
            assert time.monotonic() < deadline, f"{self._contender.label}: not all that was said has arrived"
            self._send()
            if self._receive():
                deadline = time.monotonic() + PATIENCE
            time.sleep(REST)
        assert self._witness.lines == self._said, "more has arrived than was said"

    def _load(self, messages: int, text: bytes = TEXT) -> None:
        numbers = range(self._number, self._number + messages)
        for place, speaker in enumerate(self._speakers):  # each of them says its share
            share = numbers[place :: len(self._speakers)]
            data = b"".join(self._contender.say(number, text) for number in share)
            self._to_send[place] = memoryview(data if speaker.tls is None else speaker.tls.encrypt(data))
        self._number += messages
        self._said += messages

    def _send(self) -> None:
        for place, speaker in enumerate(self._speakers):
            with contextlib.suppress(BlockingIOError):
                while self._to_send[place]:
                    self._to_send[place] = self._to_send[place][speaker.socket.send(self._to_send[place]) :]

    def _receive(self) -> bool:
        """Whether anything has come."""
        ready = self._epoll.poll(0, self._members + 1)
        for descriptor, _ in ready:
            ear = self._ears[descriptor]
            if ear is self._witness:
                ear.read()
            else:
                ear.skip()
        return bool(ready)

    def delivery_times(self, seconds: float, rate: float) -> list[float]:
        """Of each message to each member, in s. They are decrypted all the way: for a Load that did nothing else."""
        said_at: list[float] = []
        times: list[float] = []
        due = time.perf_counter()
        end = due + seconds
        while len(times) < len(said_at) * self._members or due < end:
            now = time.perf_counter()
            if now >= due and due < end:
                self._load(1)
                said_at.append(time.perf_counter())
                self._send()
                assert not any(self._to_send)
                due += 1 / rate
            assert now < end + PATIENCE, f"{self._contender.label}: not all that was said has arrived"
            for descriptor, _ in self._epoll.poll(max(0.0, min(due - now, 0.1))):
                ear = self._ears[descriptor]
                lines = ear.read()
                if ear not in self._speakers:
                    now = time.perf_counter()
                    times += [now - at for at in said_at[ear.lines - lines : ear.lines]]
        return times


# ---------------------------------------------------------------------------------------------------------- the tables


def measure_throughput(
    contender: Contender, members: int, seconds: float, writers: int
) -> tuple[float, float, float]:
    """Deliveries a second, server's processor time for each in s, its peak memory in MiB."""
    with running(contender) as (pid, port), contextlib.ExitStack() as stack:
        rate, cpu = Load(contender, port, members, stack, writers).throughput(seconds, pid)
        return rate, cpu, memory(pid, peak=True)


def measure_delivery(contender: Contender, members: int, seconds: float) -> tuple[list[float], float]:
    """All delivery times, and the server's processor time for each delivery, in s."""
    with running(contender) as (pid, port), contextlib.ExitStack() as stack:
        load = Load(contender, port, members, stack)
        before = cpu_seconds(pid)
        times = load.delivery_times(seconds, RATE)
        return times, (cpu_seconds(pid) - before) / len(times)


def throughput_table(
    contenders: list[Contender], members: int, rounds: int, seconds: float, writers: int
) -> None:
    results: dict[str, list[tuple[float, float, float]]] = {contender.label: [] for contender in contenders}
    for _ in range(rounds):
        for contender in contenders:
            results[contender.label].append(measure_throughput(contender, members, seconds, writers))
    title = f"{members:4} members, {writers} writing"
    print(f"\n{title:24} {'deliveries/s':>13} {'of ngircd':>10} {'of the floor':>13} "
          f"{'CPU each':>10} {'peak memory':>12}")  # fmt: skip
    for label, some in results.items():
        rate, cpu, peak = (statistics.median(column) for column in zip(*some, strict=True))
        ratios = [
            f"{statistics.median(one[0] / other[0] for one, other in zip(some, results[against], strict=True)):.2f}"
            if against in results
            else "-"
            for against in (RIVAL, FLOOR)
        ]
        print(f"{label:24} {rate:13,.0f} {ratios[0]:>10} {ratios[1]:>13} {cpu * 1e6:7.3f} us {peak:8.1f} MiB",
              flush=True)  # fmt: skip


def delivery_table(contenders: list[Contender], members: int, rounds: int, seconds: float) -> None:
    times: dict[str, list[list[float]]] = {contender.label: [] for contender in contenders}
    cpus: dict[str, list[float]] = {contender.label: [] for contender in contenders}
    for _ in range(rounds):
        for contender in contenders:
            some, cpu = measure_delivery(contender, members, seconds)
            percent = statistics.quantiles(some, n=100)
            times[contender.label].append([percent[49], percent[98]])
            cpus[contender.label].append(cpu)
    print(f"\n{members:4} members, {RATE} messages/s {'p50':>10} {'p99':>10} {'CPU each':>10}")
    for label, some_rounds in times.items():
        p50, p99 = (statistics.median(column) * 1000 for column in zip(*some_rounds, strict=True))
        print(f"{label:28} {p50:7.2f} ms {p99:7.2f} ms {statistics.median(cpus[label]) * 1e6:7.2f} us", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few members, one short round: does it run at all?")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="servers, by the beginnings of their names")
    parser.add_argument("--members", nargs="+", type=int, help="default: 30 300 900")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--writers", type=int, default=1, help="who write at once")
    arguments = parser.parse_args()
    print(machine(), flush=True)
    contenders = []
    for contender in CONTENDERS:
        if arguments.only and not contender.label.startswith(tuple(arguments.only)):
            continue
        if problem := contender.why_not():
            print(f"{contender.label} is left out: {problem}")
        else:
            contenders.append(contender)
    quick = arguments.quick
    rounds, seconds = (1, 0.1) if quick else (arguments.rounds, 2.0)
    for members in [5] if quick else arguments.members or [30, 300, 900]:
        throughput_table(contenders, members, rounds, seconds, arguments.writers)
    delivery_table(contenders, 5 if quick else 30, rounds, seconds if quick else 5.0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
