"""What does a room password cost?    python -m tests.bench.encryption [--quick]        (Python 3.13 or newer)

Two tables. In both, the room has a process of its own, on loopback.

Deliveries: as many members as are asked for, all in this process; one of them writes as fast as it can, all count what
they receive. Plain and encrypted take turns, so that both meet the same noise; the median of the rounds is told. The
members' share of the work (here: decrypting, counting lines) is part of it, as it is in a class.

Joins: one `net.Client` after the other joins and leaves. "Client" and "room" are the processor time that a join and a
leave cost each of them, all threads and the system's share included; "takes" is from `run_client` to `Welcome`, median
and 99th percentile. "Return" is the same for a client that was in already and lost the connection. "30 at once" is the
time until the last of thirty is in, all in this process. `--joins` prints this table alone, and `--net FOLDER` does so
with the net.py of another edition (for the first one, whose passwords were stretched with scrypt: --net /path/to/it).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import queue
import secrets
import selectors
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

if "--net" in sys.argv[1:-1]:
    sys.path.insert(0, str(Path(sys.argv[sys.argv.index("--net") + 1]).resolve()))

import net
from tests.bench.tools import cpu_seconds, percentiles

EDITION = Path(net.__file__).resolve().parent  # where net.py is
PASSWORD = "k7m-w3h"
ROOM = """
import net, sys
with net.run_server("Bench", host="127.0.0.1", port=0, rate=None, history=10**6, password=sys.argv[1] or None) as room:
    print(room.port, flush=True)
    sys.stdin.read()
"""
TEXT = "x" * 80


class Member:
    """A connection that has joined, and counts the lines that come."""

    def __init__(self, port: int, name: str, password: str) -> None:
        self.tls: net.Tls | None = None
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        a = secrets.randbits(256)
        public_a = net.SRP.power(a)
        mine = net.Hello(net.PROTOCOL, tls=bool(password), a=net.SRP.pad(public_a).hex() if password else None)
        self.socket.sendall(net.encode(mine))
        answer = self._line()
        hello = net.decode(answer.rstrip())
        assert isinstance(hello, net.Hello)
        if hello.salt is not None and hello.b is not None:
            x = net.SRP.x(bytes.fromhex(hello.salt), net.clean_password(password))
            secret = net.SRP.client_secret(a, x, public_a, int(hello.b, 16))
            key = net.session_key(secret, net.encode(mine).rstrip(), answer.rstrip())
            tls = net.Tls(lambda: key, is_room=False)
            done, data = tls.handshake_step(b"")
            while True:
                self.socket.sendall(data)
                if done:
                    break
                done, data = tls.handshake_step(self.socket.recv(65536))
            self.tls = tls
        self.send(net.Join(name, secrets.token_hex(16), None, 0))
        self.lines = 0

    def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            line += self.socket.recv(1)
        return line

    def send(self, *messages: net.Message) -> None:
        data = b"".join(map(net.encode, messages))
        self.socket.sendall(data if self.tls is None else self.tls.encrypt(data))

    def receive(self) -> None:
        data = self.socket.recv(65_536)
        self.lines += (data if self.tls is None else self.tls.decrypt(data)).count(b"\n")


@contextlib.contextmanager
def room(password: str) -> Iterator[tuple[int, int]]:
    """A room in a process of its own; the process's id and the room's port."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", ROOM, password]
    with subprocess.Popen(command, cwd=EDITION, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())


def deliveries_per_second(members: int, messages: int, password: str) -> float:
    with contextlib.ExitStack() as all_:
        _, port = all_.enter_context(room(password))
        class_ = [Member(port, f"Member {number}", password) for number in range(members)]
        for member in class_:
            all_.callback(member.socket.close)
        selector = all_.enter_context(selectors.DefaultSelector())
        for member in class_:
            selector.register(member.socket, selectors.EVENT_READ, member)
        # A welcome, and a `joined` for each who is in: then it can begin.
        _receive(selector, class_, lines=1 + members)
        start = time.perf_counter()
        writer = threading.Thread(target=_write, args=[class_[0], messages])
        writer.start()
        _receive(selector, class_, lines=1 + members + messages)
        seconds = time.perf_counter() - start
        writer.join()
    return members * messages / seconds


def _write(member: Member, messages: int) -> None:
    for first in range(0, messages, 20):
        member.send(*(net.Say(1 + number, TEXT) for number in range(first, min(first + 20, messages))))


def _receive(selector: selectors.BaseSelector, members: list[Member], lines: int) -> None:
    while any(member.lines < lines for member in members):
        for key, _ in selector.select():
            key.data.receive()


# Joins.


def visit(port: int, password: str, name: str) -> tuple[net.Client, queue.Queue[Any], float]:
    """Somebody joins; the client, its events, and how many seconds that took."""
    events: queue.Queue[Any] = queue.Queue()
    start = time.perf_counter()
    client = net.run_client("127.0.0.1", name, events, port=port, password=password or None)
    await_event(events, net.Welcome)
    return client, events, time.perf_counter() - start


def await_event(events: queue.Queue[Any], kind: type) -> None:
    while not isinstance(event := events.get(timeout=60), kind):
        assert not isinstance(event, (net.Refused, net.Closed)), event


def leave(client: net.Client) -> None:
    client.close()
    client.join(10)


class Costs:
    """What joins cost, one after the other."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.client: list[float] = []  # s of processor time, for each round
        self.room: list[float] = []
        self.takes: list[float] = []  # s, for each join

    def measure(self, times: int, join: Callable[[], float]) -> None:
        here, there = time.process_time(), cpu_seconds(self._pid)
        self.takes += [join() for _ in range(times)]
        self.client.append((time.process_time() - here) / times)
        self.room.append((cpu_seconds(self._pid) - there) / times)

    def tell(self, what: str) -> None:
        percent = percentiles(self.takes)
        figures = [statistics.median(self.client), statistics.median(self.room), percent[49], percent[98]]
        print(f"{what:22}", *(f"{1000 * seconds:8.1f} ms" for seconds in figures), flush=True)


def measure_joins(rounds: int, times: int, crowd: int) -> None:
    setattr(net, "RETRIES", (0.0,))  # noqa: B010 - a return is measured without the pause before it
    at_once: dict[str, list[float]] = {"": [], PASSWORD: []}
    costs: dict[tuple[str, str], Costs] = {}
    with contextlib.ExitStack() as all_:
        rooms = {password: all_.enter_context(room(password)) for password in at_once}
        for password, (pid, _) in rooms.items():
            for what in ("join", "return"):
                costs[what, password] = Costs(pid)
        for _ in range(rounds):
            for password, (_, port) in rooms.items():

                def join(port: int = port, password: str = password) -> float:
                    client, _, seconds = visit(port, password, "Member")
                    leave(client)
                    return seconds

                costs["join", password].measure(times, join)
                measure_returns(costs["return", password], port, password, times)
                at_once[password].append(crowd_joins(port, password, crowd))
    print(f"{'':22} {'client':>11} {'room':>11} {'takes':>11} {'p99':>11}")
    for (what, password), cost in costs.items():
        cost.tell(f"{what}, {'encrypted' if password else 'plain'}")
    for password, seconds in at_once.items():
        kind = "encrypted" if password else "plain"
        print(f"{f'{crowd} at once, {kind}':22} {'':23} {1000 * statistics.median(seconds):8.1f} ms", flush=True)


def measure_returns(costs: Costs, port: int, password: str, times: int) -> None:
    """The connection is cut by a relay between client and room."""
    with Relay(port) as relay:
        client, events, _ = visit(relay.port, password, "Member")

        def come_back() -> float:
            start = time.perf_counter()
            relay.cut()
            await_event(events, net.Welcome)
            return time.perf_counter() - start

        costs.measure(times, come_back)
        leave(client)


class Relay:
    """Passes on what one client and the room say, until it cuts the connection; then the client's next one."""

    def __init__(self, port_behind: int) -> None:
        self._port_behind = port_behind
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._is_over = False
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Relay:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._is_over = True
        self._listener.shutdown(socket.SHUT_RDWR)
        self.cut()
        self._thread.join()
        self._listener.close()

    def cut(self) -> None:
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        while not self._is_over:
            with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
                client = stack.enter_context(self._listener.accept()[0])
                behind = stack.enter_context(socket.create_connection(("127.0.0.1", self._port_behind)))
                self._sockets = [client, behind]
                self._pass_on(client, behind)

    def _pass_on(self, *both: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            for sock, other in (both, both[::-1]):
                selector.register(sock, selectors.EVENT_READ, (sock, other))
            while True:
                for key, _ in selector.select():
                    source, target = key.data
                    if not (data := source.recv(65_536)):
                        return
                    target.sendall(data)


def crowd_joins(port: int, password: str, crowd: int) -> float:
    """Seconds until the last of so many is in."""
    start = time.perf_counter()
    queues: list[queue.Queue[Any]] = [queue.Queue() for _ in range(crowd)]
    clients = [
        net.run_client("127.0.0.1", f"Pupil {number}", events, port=port, password=password or None)
        for number, events in enumerate(queues)
    ]
    for events in queues:
        await_event(events, net.Welcome)
    seconds = time.perf_counter() - start
    for client in clients:
        client.close()
    for client in clients:
        client.join(10)
    return seconds


def measure_deliveries(quick: bool) -> None:
    print("deliveries a second")
    print(f"{'members':>8} {'plain':>12} {'encrypted':>12} {'ratio':>7}")
    for members, messages in ((5, 100), (30, 100)) if quick else ((30, 10_000), (100, 3_000), (300, 1_000)):
        plain, encrypted = [], []
        for _ in range(1 if quick else 5):
            plain.append(deliveries_per_second(members, messages, ""))
            encrypted.append(deliveries_per_second(members, messages, PASSWORD))
        one, other = statistics.median(plain), statistics.median(encrypted)
        print(f"{members:8} {one:12,.0f} {other:12,.0f} {other / one:7.2f}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few messages, one round: does it run at all?")
    parser.add_argument("--joins", action="store_true", help="only what a join costs")
    parser.add_argument("--net", metavar="FOLDER", help="only what a join costs, with the net.py of that folder")
    arguments = parser.parse_args()
    quick = arguments.quick
    if not net.CAN_ENCRYPT:
        print("This Python cannot encrypt; 3.13 or newer can.")
        return 0
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores")
    if not (arguments.joins or arguments.net):
        measure_deliveries(quick)
    if sys.platform.startswith("linux"):  # elsewhere another process's time is not in /proc
        measure_joins(*((1, 3, 5) if quick else (5, 40, 30)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
