"""Several computers: each is a network namespace, and a switch in one more namespace joins them. No packet leaves it.

The functions whose names begin with `on_it_` run on such a computer, in a process of their own. They print a line for
each thing that they see, and the tests wait for these lines. It takes Linux, root and `ip`.
"""

from __future__ import annotations

import contextlib
import queue
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

import net
from tests.conftest import TOP
from tests.helpers import LIMIT, LOOPBACK, expect, skip_without_namespaces

pytestmark = pytest.mark.slow

NAMES = ("Teacher", "Ann", "Bob", "Eve")
LINES, SAY_EVERY = 50, 0.1  # of each; s
NEAR, OTHER = "near", "other"  # the switches; by their computers' addresses they are 10.1.0.0/24 and 10.2.0.0/24


class Program:
    """A function of this file that runs on one of the computers."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, cwd=TOP, stdout=subprocess.PIPE, text=True)
        self.lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, name="reads what a program prints")
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.put(line.rstrip("\n"))

    def expect(self, line: str) -> None:
        """Waits until it prints this line; those before it are dropped."""
        expect(self.lines, str, lambda printed: printed == line)

    def end(self) -> None:
        with self._process:
            self._process.kill()
            self._reader.join()


class Computer:
    def __init__(self, network: Network) -> None:
        self._network = network
        self._name = f"chat-{secrets.token_hex(4)}"
        self.port = ""  # the switch's end of its newest cable
        ip(f"netns add {self._name}")
        network.stack.callback(ip, f"netns delete {self._name}")
        self.ip("link set lo up")

    def ip(self, command: str) -> None:
        ip(f"-n {self._name} {command}")

    def plug(self, address: str, *, switch: str = NEAR, adapter: str = "lan") -> None:
        """A cable from a new adapter with this address to the switch. No default route comes with it."""
        self.port = f"port{secrets.token_hex(4)}"
        self._network.switches.ip(f"link add {self.port} type veth peer name {adapter} netns {self._name}")
        self._network.switches.ip(f"link set {self.port} master {switch} up")
        self.ip(f"addr add {address}/24 brd + dev {adapter}")
        self.ip(f"link set {adapter} up")

    def run(self, function: Callable[..., None], *arguments: object) -> Program:
        code = f"from tests import test_networks; test_networks.{function.__name__}(*{arguments!r})"
        program = Program(["ip", "netns", "exec", self._name, sys.executable, "-c", code])
        self._network.stack.callback(program.end)
        return program


class Network:
    """Makes computers, and the switches between them. Unwinding the stack ends the programs there and removes it."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.stack = stack
        self.switches = Computer(self)
        for switch in (NEAR, OTHER):
            self.switches.ip(f"link add {switch} type bridge")
            self.switches.ip(f"link set {switch} up")

    def computer(self, address: str = "") -> Computer:
        computer = Computer(self)
        if address:
            computer.plug(address)
        return computer


def ip(command: str) -> None:
    subprocess.run(["ip", *command.split()], check=True, timeout=LIMIT)


@pytest.fixture
def network() -> Iterator[Network]:
    skip_without_namespaces()
    with contextlib.ExitStack() as stack:
        yield Network(stack)


# What runs on a computer ---------------------------------------------------------------------------------------------


def on_it_rooms(title: str) -> None:
    """Prints where the room can be reached: "10.1.0.1 10.2.0.1 can be found"."""
    net.ADDRESSES_EVERY = 0.1
    events: net.Events = queue.Queue()
    net.run_server(title, events=events)
    while isinstance(event := events.get(), net.Reachable):
        print(*event.addresses, "can be found" if event.findable else "cannot be found", flush=True)


def on_it_look() -> None:
    """Prints each list of rooms: "Blue at 10.1.0.1:5252, Red at 10.1.0.2:5252"."""
    net.ASK_EVERY = (0.1, 0.1)
    net.ROOM_GONE_AFTER = 1.0
    events: net.Events = queue.Queue()
    net.find_rooms(events)
    while isinstance(event := events.get(), net.Found):
        print(", ".join(sorted(f"{room.title} at {room.address}:{room.port}" for room in event.rooms)), flush=True)


def on_it_join(address: str, connect_time: float = 5.0) -> None:
    """Prints "in Blue", or what the trouble is."""
    net.CONNECT_TIME = connect_time
    events: net.Events = queue.Queue()
    net.run_client(address, "Ann", events)
    while True:
        match events.get():
            case net.Welcome(title=title):
                print("in", title, flush=True)
            case net.Lost(reason=trouble):
                print(trouble.name, flush=True)


def on_it_talk(address: str, name: str) -> None:
    """Says a line every so often. Prints "in", "lost SILENT", and at the end all the lines that were heard."""
    net.SILENCE, net.PING_AFTER, net.TICK = 1.0, 0.3, 0.1
    net.BACK_WITHIN = 6 * LIMIT
    events: net.Events = queue.Queue()
    heard: list[str] = []
    said, say_at = 0, time.monotonic()
    token = None
    if not address:  # the host
        room = net.run_server("Blue")
        address, token = LOOPBACK, room.token
    client = net.run_client(address, name, events, token=token)
    while len(heard) < LINES * len(NAMES):
        with contextlib.suppress(queue.Empty):
            match events.get(timeout=SAY_EVERY):
                case net.Welcome():
                    print("in", flush=True)
                case net.Lost(reason=trouble):
                    print("lost", trouble.name, flush=True)
                case net.Said(text=text):
                    heard.append(text)
                case net.Left() | net.Rejected() | net.Settled() as wrong:
                    print(wrong, flush=True)
                    heard.append("wrong")
        if said < LINES and time.monotonic() >= say_at:
            client.say(f"{name}-{said}")
            said += 1
            say_at += SAY_EVERY
    print("all:", *heard, flush=True)
    threading.Event().wait()  # the others may still need this computer


# Rooms are found -----------------------------------------------------------------------------------------------------


def test_a_computer_with_two_adapters_finds_and_joins_the_rooms_on_both_networks(network: Network) -> None:
    """Without a default route, and with one that leads to the other network, as Wi-Fi that leads to the internet."""
    pupil, other = network.computer("10.1.0.9"), network.computer()
    pupil.plug("10.2.0.9", switch=OTHER, adapter="wifi")
    other.plug("10.2.0.1", switch=OTHER)
    network.computer("10.1.0.1").run(on_it_rooms, "Blue").expect("10.1.0.1 can be found")
    other.run(on_it_rooms, "Red").expect("10.2.0.1 can be found")
    pupil.run(on_it_look).expect("Blue at 10.1.0.1:5252, Red at 10.2.0.1:5252")
    pupil.run(on_it_join, "10.1.0.1").expect("in Blue")
    pupil.run(on_it_join, "10.2.0.1").expect("in Red")
    pupil.ip("route add default via 10.2.0.254")
    pupil.run(on_it_look).expect("Blue at 10.1.0.1:5252, Red at 10.2.0.1:5252")


def test_rooms_come_and_go_with_the_adapter_that_leads_to_them_and_with_their_own_addresses(network: Network) -> None:
    pupil, teacher = network.computer(), network.computer()
    pupil.plug("10.2.0.9", switch=OTHER, adapter="wifi")
    teacher.plug("10.2.0.1", switch=OTHER)
    room = teacher.run(on_it_rooms, "Red")
    network.computer("10.1.0.1").run(on_it_rooms, "Blue")
    looking = pupil.run(on_it_look)
    looking.expect("Red at 10.2.0.1:5252")
    pupil.plug("10.1.0.9")
    looking.expect("Blue at 10.1.0.1:5252, Red at 10.2.0.1:5252")
    pupil.ip("link set lan down")  # it keeps its address, and whatever is sent there fails
    looking.expect("Red at 10.2.0.1:5252")
    teacher.ip("addr delete 10.2.0.1/24 dev lan")
    teacher.ip("addr add 10.2.0.2/24 brd + dev lan")
    room.expect("10.2.0.2 can be found")
    looking.expect("Red at 10.2.0.2:5252")
    pupil.run(on_it_join, "10.2.0.2").expect("in Red")


def test_a_room_on_ones_own_computer_is_found_and_joined_without_any_network(network: Network) -> None:
    alone = network.computer()
    alone.run(on_it_rooms, "Blue").expect("can be found")
    alone.run(on_it_look).expect("Blue at 127.0.0.1:5252")
    alone.run(on_it_join, "127.0.0.1").expect("in Blue")


# No connection, or none any longer -----------------------------------------------------------------------------------


def test_a_firewall_lets_a_room_be_found_but_not_joined(network: Network) -> None:
    """It drops TCP silently, and refuses nothing, as that of Windows does until the user allows the program."""
    teacher, pupil = network.computer("10.1.0.1"), network.computer("10.1.0.9")
    teacher.run(on_it_rooms, "Blue")
    looking = pupil.run(on_it_look)
    looking.expect("Blue at 10.1.0.1:5252")
    teacher.ip("rule add ipproto tcp blackhole")
    joining = pupil.run(on_it_join, "10.1.0.1", 0.5)
    joining.expect("NO_ANSWER")
    pupil.run(on_it_look).expect("Blue at 10.1.0.1:5252")
    teacher.ip("rule delete ipproto tcp blackhole")
    joining.expect("in Blue")


def test_without_a_network_the_client_says_so_and_gets_in_once_there_is_one(network: Network) -> None:
    network.computer("10.1.0.1").run(on_it_rooms, "Blue").expect("10.1.0.1 can be found")
    pupil = network.computer()
    joining = pupil.run(on_it_join, "10.1.0.1")
    joining.expect("NO_NETWORK")
    pupil.plug("10.1.0.9")
    joining.expect("in Blue")


def test_a_cable_that_is_out_until_everyone_notices_loses_doubles_and_swaps_nothing(network: Network) -> None:
    """The teacher's cable: all pupils lose the room, and come back automatically. No program sees that it is out."""
    teacher, *pupils = [network.computer(f"10.1.0.{number}") for number in range(1, 5)]
    programs = [teacher.run(on_it_talk, "", "Teacher")]
    programs[0].expect("in")
    programs += [pupil.run(on_it_talk, "10.1.0.1", name) for pupil, name in zip(pupils, NAMES[1:], strict=True)]
    for program in programs[1:]:
        program.expect("in")
    network.switches.ip(f"link set {teacher.port} down")
    for program in programs[1:]:
        program.expect("lost SILENT")
    network.switches.ip(f"link set {teacher.port} up")
    heard, *others = (expect(each.lines, str, lambda line: line.startswith("all: "), 6 * LIMIT) for each in programs)
    assert others == [heard] * len(others)
    for name in NAMES:
        assert re.findall(rf"{name}-(\d+)", heard) == [str(number) for number in range(LINES)]
