"""How fast are files, and does chat wait for them?    python -m tests.bench.files [--quick] [--only ...]

A file of 100 MiB, on loopback; the room, the person and the bare receivers each in a process of their own. All take
turns in each round, so that they meet the same noise; told are the medians of nine rounds, and of each round's ratios.

    bare            one process connects and sends the file with os.sendfile (encrypted: reads 256 KiB and gives it to
                    an ssl.SSLSocket, which has a context like the room's); the other receives up to 256 KiB into one
                    buffer, writes that to a file, and answers with one byte when it has all
    our upload      from `Client.share` to `Uploaded`, and ...
    our download    ... from `Client.save` to `Saved`: both connect anew, exchange hello lines, and tell the progress
    + SHA           with the hashing that a room cannot do without: the bare receiver and our download hash at one end,
                    our upload at both. The rows without are for the copy loops alone; then nothing is hashed

Then somebody writes 50 messages a second, and others in another process see how old each is when it is in their queue:
in a quiet room; while *another* room, in a process of its own, has an upload and ten downloads at once (which tells
what this computer's cores cost); while the room itself has them; and while they come and go no faster than a Gigabit
network carries them. What is downloaded is received and dropped, by one process for all ten.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import multiprocessing
import os
import platform
import queue
import secrets
import socket
import ssl
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import net
from tests.bench.tools import percentiles
from tests.helpers import context_of

LOOPBACK = "127.0.0.1"
PASSWORD = "qw36-q2gw-xmfz"
PIECE = 256 * 1024
SAY_EVERY = 0.02  # s
CABLE = 118_000_000  # bytes a second, each way: what a Gigabit network carries
BY_CABLE = "... at a Gigabit's speed"


class Worker:
    """A function in a process of its own, and a pipe to it. It first sends a word, and ends when it gets None."""

    def __init__(self, work: Callable[..., None], *arguments: object) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(target=work, args=[theirs, *arguments])
        self._process.start()
        theirs.close()
        self.pid = self._process.pid or 0
        self.first_word = self.answer()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._pipe.send(None)
        self._process.join()

    def ask(self, *words: object) -> Any:
        self.begin(*words)
        return self.answer()

    def begin(self, *words: object) -> None:
        self._pipe.send(words)

    def answer(self) -> Any:
        return self._pipe.recv()


# Ours.


class NoHash:
    """Instead of SHA-256."""

    def update(self, piece: bytes) -> None:
        pass

    def hexdigest(self) -> str:
        return "0" * 64


class Pace:
    """Keeps somebody to so many bytes a second."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._due = time.monotonic()

    def wait(self, size: int) -> None:
        if self._limit:
            self._due += size / self._limit
            time.sleep(max(0.0, self._due - time.monotonic()))


def leave_hashing_out() -> None:
    """In this process."""
    vars(hashlib)["sha256"] = NoHash


def room(pipe: Pipe, password: str | None, is_hashing: bool = True) -> None:
    if not is_hashing:
        leave_hashing_out()
    with net.run_server(
        "Bench", host=LOOPBACK, port=0, password=password, rate=None, history=10**5, max_store=2**40
    ) as server:
        pipe.send(server.port)
        pipe.recv()


def enter(port: int, name: str, password: str | None, events: net.Events) -> net.Client:
    client = net.run_client(LOOPBACK, name, events, port=port, password=password)
    while not isinstance(events.get(timeout=20), net.Welcome):
        pass
    return client


def person(pipe: Pipe, port: int, password: str | None, is_hashing: bool = True) -> None:
    """("share" or "save", path) -> the seconds that it took, and what was shared last. "share slowly": by a cable."""
    if not is_hashing:
        leave_hashing_out()
    pace = Pace(0)
    really_send = net.Connection.send_bytes

    def send(connection: net.Connection, data: bytes | memoryview, deadline: net.Deadline) -> None:
        pace.wait(len(data))
        really_send(connection, data, deadline)

    net.Connection.send_bytes = send  # type: ignore[method-assign, assignment]  # only uploads use it here
    events: net.Events = queue.Queue()
    with enter(port, "Person", password, events) as client:
        shared: net.Shared | None = None
        pipe.send("in")
        while (wish := pipe.recv()) is not None:
            what, path = wish
            start = time.perf_counter()
            if what.startswith("share"):
                pace = Pace(CABLE if what == "share slowly" else 0)
                shared = None
                client.share(path)
            elif shared is not None:
                client.save(shared, path)
            end = 0.0
            while not end or shared is None:
                event = events.get(timeout=60)
                assert not isinstance(event, (net.Failed, net.Lost)), event
                if isinstance(event, net.Shared):
                    shared = event
                elif isinstance(event, (net.Uploaded, net.Saved)):
                    end = time.perf_counter()
            pipe.send((end - start, shared))


# Bare.


def bare_receiver(pipe: Pipe, key: bytes | None, is_hashing: bool) -> None:
    context = None if key is None else context_of(ssl.PROTOCOL_TLS_SERVER, key)
    with socket.create_server((LOOPBACK, 0)) as listener:
        pipe.send(listener.getsockname()[1])
        while (wish := pipe.recv()) is not None:
            path, size = wish
            sock, _ = listener.accept()
            if context is not None:
                sock = context.wrap_socket(sock, server_side=True)
            digest = hashlib.sha256()
            buffer = memoryview(bytearray(PIECE))
            with sock, open(path, "wb", buffering=0) as disk:
                while size > 0 and (received := sock.recv_into(buffer)):
                    piece = buffer[:received]
                    disk.write(piece)
                    if is_hashing:
                        digest.update(piece)
                    size -= received
                sock.sendall(b"!")


def our_seconds(someone: Worker, what: str, path: Path) -> float:
    return float(someone.ask(what, path)[0])


def bare_seconds(receiver: Worker, key: bytes | None, path: Path, to: Path) -> float:
    context = None if key is None else context_of(ssl.PROTOCOL_TLS_CLIENT, key)
    size = path.stat().st_size
    receiver.begin(to, size)
    start = time.perf_counter()
    sock = socket.create_connection((LOOPBACK, receiver.first_word))
    if context is not None:
        sock = context.wrap_socket(sock)
    with sock, open(path, "rb", buffering=0) as disk:
        if isinstance(sock, ssl.SSLSocket):
            while piece := disk.read(PIECE):
                sock.sendall(piece)
        else:
            sock.sendfile(disk)  # a loop of os.sendfile, where there is one
        assert sock.recv(1) == b"!"
    return time.perf_counter() - start


def throughput(path: Path, password: str | None, rounds: int) -> None:
    key = None if password is None else secrets.token_bytes(32)
    to = path.with_name("to")
    size = path.stat().st_size / 2**20
    ways: dict[str, Callable[[], float]] = {}
    with contextlib.ExitStack() as all_:
        for hashing in (" + SHA", ""):
            receiver = all_.enter_context(Worker(bare_receiver, key, bool(hashing)))
            port = all_.enter_context(Worker(room, password, bool(hashing))).first_word
            someone = all_.enter_context(Worker(person, port, password, bool(hashing)))
            ways["bare" + hashing] = functools.partial(bare_seconds, receiver, key, path, to)
            ways["our upload" + hashing] = functools.partial(our_seconds, someone, "share", path)
            ways["our download" + hashing] = functools.partial(our_seconds, someone, "save", to)
        rates: dict[str, list[float]] = {label: [] for label in ways}
        for number in range(1 + rounds):
            for label, seconds in ways.items():
                rate = size / seconds()
                if number:  # the first round warms up
                    rates[label].append(rate)
                if to.exists():
                    assert to.read_bytes() == path.read_bytes()
                    to.unlink()  # some file systems take their time to write over a file
    print(f"{'encrypted' if password else 'plain':19} {'MiB/s':>8} {'of bare':>9} {'of bare + SHA':>15}")
    for label, some in rates.items():
        ratios = [
            statistics.median(one / other for one, other in zip(some, rates[bare], strict=True))
            for bare in ("bare", "bare + SHA")
        ]
        print(f"{label:19} {statistics.median(some):8,.0f} {ratios[0]:9.2f} {ratios[1]:15.2f}", flush=True)


# Chat meanwhile.


def speaker(pipe: Pipe, port: int, password: str | None) -> None:
    """Says what time it is. time.monotonic() is the same in all processes."""
    events: net.Events = queue.Queue()
    with enter(port, "Speaker", password, events) as client:
        pipe.send("in")
        due = time.monotonic()
        while not pipe.poll(max(0.0, due - time.monotonic())):
            client.say(repr(time.monotonic()))
            due += SAY_EVERY


def listeners(pipe: Pipe, port: int, password: str | None, number_of: int) -> None:
    """("since last time",) -> the age in s of each message that has come, at each listener."""
    events: net.Events = queue.Queue()
    ages: list[float] = []

    def listen() -> None:
        while not isinstance(event := events.get(), net.Closed):
            if isinstance(event, net.Said):
                ages.append(time.monotonic() - float(event.text))

    clients = [enter(port, f"Listener {number}", password, events) for number in range(number_of)]
    thread = threading.Thread(target=listen)
    thread.start()
    pipe.send("in")
    while pipe.recv() is not None:
        taken = ages[:]
        del ages[: len(taken)]
        pipe.send(taken)
    for client in clients:
        client.close()
    events.put(net.Closed("enough"))


def downloaders(pipe: Pipe, port: int, password: str | None, number_of: int) -> None:
    """(file, bytes a second for all; 0: no limit) -> when all have received it. They hash and write nothing."""
    events: net.Events = queue.Queue()
    clients = [enter(port, f"Downloader {number}", password, events) for number in range(number_of)]

    def download(client: net.Client, file: net.Shared, pace: Pace) -> None:
        deadline = net.Deadline(net.SILENCE)
        connection = client.dialer.connect(lambda: True)
        client.dialer.exchange_hellos(connection, deadline)
        connection.send_unjoined(net.Download(client.token, file.file, 0))
        connection.wait_for_line(deadline)
        for piece in connection.receive_bytes(file.size, deadline):
            pace.wait(len(piece))
        connection.close()

    pipe.send("in")
    while (wish := pipe.recv()) is not None:
        paces = [Pace(wish[1] / len(clients)) for _ in clients]
        threads = [
            threading.Thread(target=download, args=[client, wish[0], pace])
            for client, pace in zip(clients, paces, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        pipe.send("done")
    for client in clients:
        client.close()


def delivery(path: Path, password: str | None, rounds: int, repeat: int, ears: int, downloads: int) -> None:
    ages: dict[str, list[float]] = {"quiet": [], "files in another room": [], "files in this room": []}
    ages[BY_CABLE] = []
    busy = []
    for _ in range(rounds):
        with contextlib.ExitStack() as all_:
            here = all_.enter_context(Worker(room, password)).first_word
            there = all_.enter_context(Worker(room, password)).first_word
            loads = []
            for port in (there, here):
                uploader = all_.enter_context(Worker(person, port, password))
                loads.append((uploader, all_.enter_context(Worker(downloaders, port, password, downloads))))
            heard = all_.enter_context(Worker(listeners, here, password, ears))
            all_.enter_context(Worker(speaker, here, password))
            shared = [uploader.ask("share", path)[1] for uploader, _ in loads]
            for (_, downloader), file in zip(loads, shared, strict=True):
                downloader.ask(file, 0)
            time.sleep(0.5)
            heard.ask("since last time")
            time.sleep(repeat)
            ages["quiet"] += heard.ask("since last time")
            for label, (uploader, downloader), file in zip(list(ages)[1:3], loads, shared, strict=True):
                for _ in range(repeat):
                    heard.ask("since last time")
                    start = time.perf_counter()
                    uploader.begin("share", path)
                    downloader.ask(file, 0)
                    uploader.answer()
                    ages[label] += heard.ask("since last time")
                    busy.append(time.perf_counter() - start)
                    time.sleep(0.2)
            uploader, downloader = loads[-1]
            heard.ask("since last time")
            uploader.begin("share slowly", path)
            downloader.ask(shared[-1], CABLE)
            uploader.answer()
            ages[BY_CABLE] += heard.ask("since last time")
    print(f"{'delivery, ' + ('encrypted' if password else 'plain'):24} {'deliveries':>11} {'p50':>10} {'p99':>10}")
    for label, some in ages.items():
        percent = percentiles(some)
        print(f"{label:24} {len(some):11,} {percent[49] * 1000:7.1f} ms {percent[98] * 1000:7.1f} ms")
    amount = path.stat().st_size * (1 + downloads) / 2**20
    print(f"({1 + downloads} files at once took {statistics.median(busy):.1f} s: "
          f"{amount / statistics.median(busy):,.0f} MiB/s)", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a small file, one round: does it run at all?")
    parser.add_argument("--only", choices=["throughput", "delivery"])
    arguments = parser.parse_args()
    quick = arguments.quick
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "file"
        path.write_bytes(os.urandom(2**20 if quick else 100 * 2**20))
        passwords = [None, PASSWORD] if net.CAN_ENCRYPT else [None]
        for password in passwords[-1:] if quick else passwords:
            if arguments.only != "delivery":
                throughput(path, password, rounds=1 if quick else 9)
            if arguments.only != "throughput":
                delivery(path, password, *((1, 1, 2, 2) if quick else (5, 3, 5, 10)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
