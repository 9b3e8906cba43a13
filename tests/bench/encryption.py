"""What does a room password cost?    python -m tests.bench.encryption [--quick]        (Python 3.13 or newer)

A room in a process of its own, and here as many members as are asked for, on loopback; one of them writes as fast as it
can, all count what they receive. Plain and encrypted take turns, so that both meet the same noise; the median of the
rounds is told. The members' share of the work (here: decrypting, counting lines) is part of it, as it is in a class.
"""

from __future__ import annotations

import argparse
import contextlib
import platform
import secrets
import selectors
import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import net

TOP = Path(__file__).resolve().parent.parent.parent
PASSWORD = "qw36-q2gw-xmfz"
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
        hello = net.encode(net.Hello(net.PROTOCOL, tls=bool(password)))
        self.socket.sendall(hello)
        answer = self._line()
        salt = answer.partition(b'"salt":"')[2][:32].decode()
        if salt:
            tls = net.Tls(net.session_key(_stretched(password, salt), hello.rstrip(), answer.rstrip()), is_room=False)
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


_cache: dict[str, bytes] = {}


def _stretched(password: str, salt: str) -> bytes:
    if salt not in _cache:
        _cache[salt] = net.stretch(password, salt)
    return _cache[salt]


def deliveries_per_second(members: int, messages: int, password: str) -> float:
    command = [sys.executable, "-c", ROOM, password]
    with contextlib.ExitStack() as all_:
        pipe = subprocess.PIPE
        process = all_.enter_context(subprocess.Popen(command, cwd=TOP, stdin=pipe, stdout=pipe, text=True))
        assert process.stdout is not None
        port = int(process.stdout.readline())
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few messages, one round: does it run at all?")
    quick = parser.parse_args().quick
    if not net.CAN_ENCRYPT:
        print("This Python cannot encrypt; 3.13 or newer can.")
        return 0
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}; deliveries a second")
    print(f"{'members':>8} {'plain':>12} {'encrypted':>12} {'ratio':>7}")
    for members, messages in ((5, 100), (30, 100)) if quick else ((30, 10_000), (100, 3_000), (300, 1_000)):
        plain, encrypted = [], []
        for _ in range(1 if quick else 5):
            plain.append(deliveries_per_second(members, messages, ""))
            encrypted.append(deliveries_per_second(members, messages, PASSWORD))
        one, other = statistics.median(plain), statistics.median(encrypted)
        print(f"{members:8} {one:12,.0f} {other:12,.0f} {other / one:7.2f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
