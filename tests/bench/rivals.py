"""Other people's servers, as tests.bench.fanout starts them, each a process:    python -m tests.bench.rivals NAME PORT

    tutorial     as the tutorials have it: a thread for each client, which sends what it gets to all others, in a loop
    bare         the floor: one thread and epoll copy what comes from one to all others, and look at nothing
    websockets   `websockets.broadcast`, as its documentation shows it

They know nothing of net.py, so that their memory is their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import select
import socket
import sys
import threading
from typing import Any

LOOPBACK = "127.0.0.1"


def tutorial(port: int) -> None:
    clients: list[socket.socket] = []

    def handle(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            while data := client.recv(1024):
                for other in clients.copy():
                    if other is not client:
                        other.sendall(data)
        clients.remove(client)

    with socket.create_server((LOOPBACK, port), backlog=1000) as listener:
        while True:
            client, _ = listener.accept()
            clients.append(client)
            threading.Thread(target=handle, args=[client], daemon=True).start()


def bare(port: int) -> None:
    clients: dict[int, socket.socket] = {}
    with socket.create_server((LOOPBACK, port), backlog=1000) as listener, select.epoll() as epoll:
        epoll.register(listener, select.EPOLLIN)
        while True:
            for descriptor, _ in epoll.poll():
                if descriptor == listener.fileno():
                    client, _ = listener.accept()
                    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    clients[client.fileno()] = client
                    epoll.register(client, select.EPOLLIN)
                elif data := clients[descriptor].recv(65_536):
                    for number, other in clients.items():
                        if number != descriptor:
                            other.sendall(data)
                else:
                    epoll.unregister(descriptor)
                    clients.pop(descriptor).close()


def websockets(port: int) -> None:
    server: Any = importlib.import_module("websockets.asyncio.server")
    connections: set[Any] = set()

    async def handle(connection: Any) -> None:
        connections.add(connection)
        try:
            async for message in connection:
                server.broadcast(connections - {connection}, message)
        finally:
            connections.remove(connection)

    async def serve() -> None:
        async with server.serve(handle, LOOPBACK, port, compression=None, ping_interval=None, backlog=1000):
            await asyncio.get_running_loop().create_future()

    asyncio.run(serve())


if __name__ == "__main__":
    {"tutorial": tutorial, "bare": bare, "websockets": websockets}[sys.argv[1]](int(sys.argv[2]))
