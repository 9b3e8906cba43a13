"""Does a room stay quick for the others while some do what they can to hold it up?    python -m tests.bench.hostile

Five people write 10 messages a second each, and each of them sees how old every message is when it is in their queue:
in a quiet room, and while others, in a process of their own, are at it:

    idle            500 connections from another address that say nothing at all
    half-open       50 connections from five others that have begun TLS and do not go on (encrypted rooms alone)
    not reading     somebody in the room who never receives
    flooding        somebody in the room who sends messages as fast as the room takes them: the brake is on
    all of it       at once

All take turns in each round, so that they meet the same noise; the room is in a process of its own. What is told are
the percentiles over all rounds, and the ratio to a quiet room's. --quick: one short round, to see that it runs at all.
On macOS, which has a single loopback address, the first two are left out.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import platform
import queue
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection as Pipe

import net
from tests.bench.files import LOOPBACK, PASSWORD, Worker, enter
from tests.bench.tools import percentiles

if sys.platform != "win32":
    import resource

IDLE = 500  # connections
IDLER = "127.0.0.9"
HALF_OPEN = [f"127.0.0.{2 + number % 5}" for number in range(50)]  # their addresses: one has 40 new people at once
PEOPLE = 5
SAY_EVERY = 0.1  # s, each of them
SETTLE = 0.5  # s


def room(pipe: Pipe, password: str | None) -> None:
    with net.run_server("Bench", host=LOOPBACK, port=0, password=password) as server:
        pipe.send(server.port)
        pipe.recv()


# The others.


def people(pipe: Pipe, port: int, password: str | None) -> None:
    """(seconds,) -> the age in s of each message of these people, at each of them, in so many seconds."""
    queues: list[net.Events] = [queue.Queue() for _ in range(PEOPLE)]
    clients = [enter(port, f"Person {number}", password, events) for number, events in enumerate(queues)]
    ages: list[float] = []

    def listen(events: net.Events) -> None:
        while not isinstance(event := events.get(), net.Closed):
            if isinstance(event, net.Said) and event.name.startswith("Person"):
                ages.append(time.monotonic() - float(event.text))

    def speak(client: net.Client, first_at: float) -> None:
        due = first_at
        while not ending.wait(max(0.0, due - time.monotonic())):
            client.say(repr(time.monotonic()))  # the same clock in all processes
            due += SAY_EVERY

    ending = threading.Event()
    begin = time.monotonic()
    threads = [threading.Thread(target=listen, args=[events]) for events in queues]
    threads += [
        threading.Thread(target=speak, args=[client, begin + SAY_EVERY * number / PEOPLE])
        for number, client in enumerate(clients)
    ]
    for thread in threads:
        thread.start()
    pipe.send("in")
    while (wish := pipe.recv()) is not None:
        time.sleep(SETTLE)
        del ages[:]
        time.sleep(wish[0])
        pipe.send(ages.copy())
    ending.set()
    for client, events in zip(clients, queues, strict=True):
        client.close()
        events.put(net.Closed("enough"))
    for thread in threads:
        thread.join()


# Those who hold it up.


def begin(port: int, password: str | None) -> net.Connection:
    """A connection on which hello was said, and TLS begun where there is a password."""
    dialer = net.Dialer(LOOPBACK, port, password)
    connection = dialer.connect(lambda: True)
    dialer.exchange_hellos(connection, net.Deadline(net.FIRST_MESSAGE))
    return connection


def join(port: int, name: str, password: str | None) -> net.Connection:
    connection = begin(port, password)
    connection.send_unjoined(net.Join(name, secrets.token_hex(16), None, 0))
    connection.wait_for_line(net.Deadline(net.FIRST_MESSAGE))
    return connection


@contextlib.contextmanager
def idle(port: int, password: str | None) -> Iterator[None]:  # noqa: ARG001 - it does not come to that
    with contextlib.ExitStack() as stack:
        for _ in range(IDLE):
            stack.enter_context(socket.create_connection((LOOPBACK, port), source_address=(IDLER, 0)))
        yield


@contextlib.contextmanager
def half_open(port: int, password: str | None) -> Iterator[None]:  # noqa: ARG001
    client_hello = net.Tls(lambda: b"k" * 32, is_room=False).handshake_step(b"")[1]
    with contextlib.ExitStack() as stack:
        for source in HALF_OPEN:
            sock = stack.enter_context(socket.create_connection((LOOPBACK, port), source_address=(source, 0)))
            hello = net.Hello(net.PROTOCOL, tls=True, a=net.SRP.pad(net.SRP.power(secrets.randbits(256))).hex())
            sock.sendall(net.encode(hello) + client_hello[:100])
        yield


@contextlib.contextmanager
def not_reading(port: int, password: str | None) -> Iterator[None]:
    with contextlib.closing(join(port, "Stuck", password)) as connection:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        yield


@contextlib.contextmanager
def flooding(port: int, password: str | None) -> Iterator[None]:
    connection = join(port, "Flood", password)
    ending = threading.Event()

    def forever() -> net.Deadline:
        return net.Deadline(math.inf, is_wanted=lambda: not ending.is_set())

    def flood() -> None:
        deadline = forever()
        with contextlib.suppress(net.ConnectionLost):
            for first in range(1, 10**9, 100):
                connection.send_bytes(b"".join(net.encode(net.Say(first + i, "flood")) for i in range(100)), deadline)

    def read() -> None:
        deadline = forever()
        with contextlib.suppress(net.ConnectionLost):
            for _ in connection.receive_bytes(net.MAX_INTEGER, deadline):
                pass

    threads = [threading.Thread(target=flood), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ending.set()
        connection.abort()  # wakes both
        for thread in threads:
            thread.join()
        connection.close()


@contextlib.contextmanager
def all_of_it(port: int, password: str | None) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for way in ways(password):
            if way is not all_of_it:
                stack.enter_context(way(port, password))
        yield


Way = Callable[[int, "str | None"], contextlib.AbstractContextManager[None]]


def ways(password: str | None) -> list[Way]:
    outside: list[Way] = [] if sys.platform == "darwin" else [idle, half_open] if password else [idle]
    return [*outside, not_reading, flooding, all_of_it]


def mob(pipe: Pipe, port: int, password: str | None) -> None:
    """(way,) -> when it has begun; then anything -> when it has ended."""
    if sys.platform != "win32":
        allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(allowed, min(2 * IDLE + 200, most)), most))
    by_name = {way.__name__: way for way in ways(password)}
    pipe.send("here")
    while (wish := pipe.recv()) is not None:
        with by_name[wish[0]](port, password):
            pipe.send("begun")
            pipe.recv()
        pipe.send("ended")


# What is told.


def measure(password: str | None, rounds: int, seconds: float) -> None:
    ages: dict[str, list[float]] = {"quiet": [], **{way.__name__: [] for way in ways(password)}}
    for _ in range(rounds):
        with contextlib.ExitStack() as all_:
            port = all_.enter_context(Worker(room, password)).first_word
            others = all_.enter_context(Worker(people, port, password))
            hostile = all_.enter_context(Worker(mob, port, password))
            for what, some in ages.items():
                if what != "quiet":
                    hostile.ask(what)
                some += others.ask(seconds)
                if what != "quiet":
                    hostile.ask("enough")
    print(f"{'encrypted' if password else 'plain':12} {'deliveries':>11} {'p50':>10} {'p99':>10} {'p99 of quiet':>14}")
    quiet = percentiles(ages["quiet"])[98]
    for what, some in ages.items():
        percent = percentiles(some)
        print(
            f"{what.replace('_', ' '):12} {len(some):11,} {percent[49] * 1000:7.1f} ms {percent[98] * 1000:7.1f} ms"
            f" {percent[98] / quiet:14.2f}",
            flush=True,
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round: does it run at all?")
    quick = parser.parse_args().quick
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores")
    for password in (None, PASSWORD) if net.CAN_ENCRYPT else (None,):
        measure(password, rounds=1 if quick else 5, seconds=1.0 if quick else 6.0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
