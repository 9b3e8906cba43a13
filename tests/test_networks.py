"""Several computers: each is a network namespace, and a switch in one more namespace joins them. No packet leaves it.

What runs on such a computer is a function of this file with `on_it_` in front, in a process of its own. It prints one
line for each thing that it sees, and the tests wait for these lines. It takes Linux, root and `ip`.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import secrets
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

import net
from tests.conftest import TOP
from tests.helpers import LIMIT, expect, skip_or_fail, until

NEAR, OTHER = "near", "other"  # the switches; by their computers' addresses they are 10.1.0.0/24 and 10.2.0.0/24


class Program:
    """A function of this file that runs on one of the computers."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, cwd=TOP, stdout=subprocess.PIPE, text=True)
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, name="reads what a program prints")
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))

    def expect(self, line: str) -> None:
        """Wait until it prints this line; those before it are dropped."""
        expect(self._lines, str, lambda printed: printed == line)

    def end(self) -> None:
        with self._process:
            self._process.kill()
            self._reader.join()


class Computer:
    def __init__(self, name: str, network: Network) -> None:
        self._name = name  # of its namespace
        self._network = network
        self.ip("link set lo up")

    def ip(self, command: str) -> None:
        ip(f"-n {self._name} {command}")

    def plug(self, address: str, *, switch: str = NEAR, adapter: str = "lan") -> None:
        """A cable from a new adapter with this address to the switch. No default route comes with it."""
        self._network.lay_cable(switch, adapter, self._name)
        self.ip(f"addr add {address}/24 brd + dev {adapter}")
        self.ip(f"link set {adapter} up")

    def drop_tcp(self, on: bool = True) -> None:
        """A firewall's work: who tries to join hears nothing, not even a refusal."""
        if shutil.which("iptables") is not None:
            rule = f"iptables {'--append' if on else '--delete'} INPUT --in-interface lan --protocol tcp --jump DROP"
            ip(f"netns exec {self._name} {rule}")
        else:  # no way back for TCP does the same
            self.ip(f"rule {'add' if on else 'delete'} ipproto tcp blackhole")

    def run(self, function: Callable[..., None], *arguments: object) -> Program:
        code = f"from tests import test_networks; test_networks.{function.__name__}(*{arguments!r})"
        return self._network.start(["ip", "netns", "exec", self._name, sys.executable, "-c", code])


class Network:
    """Makes computers, and the switches between them. Unwinding the stack ends all that runs there, and removes it."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._name = f"chat-{secrets.token_hex(4)}"
        self._cables = itertools.count()
        self._switches = self._namespace("switches")
        for switch in (NEAR, OTHER):
            ip(f"-n {self._switches} link add {switch} type bridge")
            ip(f"-n {self._switches} link set {switch} up")

    def _namespace(self, purpose: str) -> str:
        name = f"{self._name}-{purpose}"
        ip(f"netns add {name}")
        self._stack.callback(ip, f"netns delete {name}")
        return name

    def computer(self, address: str = "") -> Computer:
        computer = Computer(self._namespace(secrets.token_hex(2)), self)
        if address:
            computer.plug(address)
        return computer

    def lay_cable(self, switch: str, adapter: str, namespace: str) -> None:
        port = f"port{next(self._cables)}"
        ip(f"-n {self._switches} link add {port} type veth peer name {adapter} netns {namespace}")
        ip(f"-n {self._switches} link set {port} master {switch} up")

    def start(self, command: list[str]) -> Program:
        program = Program(command)
        self._stack.callback(program.end)
        return program


def ip(command: str) -> None:
    subprocess.run(["ip", *command.split()], check=True, timeout=LIMIT)


@pytest.fixture
def network() -> Iterator[Network]:
    if sys.platform != "linux" or shutil.which("ip") is None:
        skip_or_fail("networks of one's own need Linux and ip (on Debian and Ubuntu: apt install iproute2)")
    if subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode != 0:
        skip_or_fail("only root may make a network of its own")
    with contextlib.ExitStack() as stack:
        yield Network(stack)


# What runs on a computer ---------------------------------------------------------------------------------------------


def on_it_rooms(*titles: str) -> None:
    """Prints where they can be reached: "10.1.0.1 10.2.0.1 can be found"."""
    net.ADDRESSES_EVERY = 0.1
    events: net.Events = queue.Queue()
    for title in titles:
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


def on_it_join(address: str, port: int = net.PORT, connect_time: float = net.CONNECT_TIME) -> None:
    """Prints "in Blue" or what the trouble is."""
    net.CONNECT_TIME = connect_time
    events: net.Events = queue.Queue()
    net.run_client(address, "Ann", events, port=port)
    while True:
        match events.get():
            case net.Welcome(title=title):
                print(f"in {title}", flush=True)
            case net.Lost(reason=trouble):
                print(trouble.name, flush=True)


def on_it_addresses() -> None:
    print(*net.local_addresses(), flush=True)


def on_it_window(name: str) -> None:
    """The program itself, with a window. Prints the titles of the rooms once the window shows them."""
    import chat_gui

    class JoinPage(chat_gui.JoinPage):
        def show_rooms(self, rooms: tuple[net.FoundRoom, ...]) -> None:
            super().show_rooms(rooms)
            print(*(room.title for room in rooms), flush=True)

    chat_gui.JoinPage = JoinPage  # type: ignore[misc]
    chat_gui.main(["--name", name])


# Rooms are found -----------------------------------------------------------------------------------------------------


def test_a_computer_with_two_adapters_finds_and_joins_the_rooms_on_both_networks(network: Network) -> None:
    pupil = network.computer("10.1.0.9")
    pupil.plug("10.2.0.9", switch=OTHER, adapter="wifi")
    other = network.computer()
    other.plug("10.2.0.1", switch=OTHER)
    network.computer("10.1.0.1").run(on_it_rooms, "Blue")
    other.run(on_it_rooms, "Red")
    pupil.run(on_it_look).expect("Blue at 10.1.0.1:5252, Red at 10.2.0.1:5252")
    pupil.run(on_it_join, "10.1.0.1").expect("in Blue")
    pupil.run(on_it_join, "10.2.0.1").expect("in Red")


def test_a_room_is_found_by_an_adapter_that_the_default_route_does_not_use(network: Network) -> None:
    """As at a computer whose Wi-Fi leads to the internet, and whose cable leads to the classroom."""
    pupil = network.computer("10.1.0.9")
    pupil.plug("10.2.0.9", switch=OTHER, adapter="wifi")
    pupil.ip("route add default via 10.2.0.254")
    network.computer("10.1.0.1").run(on_it_rooms, "Blue")
    pupil.run(on_it_look).expect("Blue at 10.1.0.1:5252")


def test_without_a_default_route_a_room_is_found_and_joined(network: Network) -> None:
    pupil = network.computer("10.1.0.9")
    network.computer("10.1.0.1").run(on_it_rooms, "Blue").expect("10.1.0.1 can be found")
    pupil.run(on_it_look).expect("Blue at 10.1.0.1:5252")
    pupil.run(on_it_join, "10.1.0.1").expect("in Blue")


def test_two_rooms_of_one_computer_are_both_found(network: Network) -> None:
    network.computer("10.1.0.1").run(on_it_rooms, "Blue", "Red")
    pupil = network.computer("10.1.0.9")
    pupil.run(on_it_look).expect("Blue at 10.1.0.1:5252, Red at 10.1.0.1:5253")
    pupil.run(on_it_join, "10.1.0.1", 5253).expect("in Red")


def test_an_adapter_that_comes_and_goes_while_somebody_looks(network: Network) -> None:
    pupil, teacher = network.computer(), network.computer()
    pupil.plug("10.2.0.9", switch=OTHER, adapter="wifi")
    teacher.plug("10.2.0.1", switch=OTHER)
    teacher.run(on_it_rooms, "Red")
    network.computer("10.1.0.1").run(on_it_rooms, "Blue")
    looking = pupil.run(on_it_look)
    looking.expect("Red at 10.2.0.1:5252")
    pupil.plug("10.1.0.9")
    looking.expect("Blue at 10.1.0.1:5252, Red at 10.2.0.1:5252")
    pupil.ip("link set lan down")  # it keeps its address, and whatever is sent there fails
    looking.expect("Red at 10.2.0.1:5252")
    pupil.ip("link set lan up")
    looking.expect("Blue at 10.1.0.1:5252, Red at 10.2.0.1:5252")
    pupil.ip("link delete lan")
    looking.expect("Red at 10.2.0.1:5252")


def test_a_host_whose_address_changes_is_told_and_found_at_the_new_one(network: Network) -> None:
    teacher, pupil = network.computer("10.1.0.1"), network.computer("10.1.0.9")
    room, looking = teacher.run(on_it_rooms, "Blue"), pupil.run(on_it_look)
    room.expect("10.1.0.1 can be found")
    looking.expect("Blue at 10.1.0.1:5252")
    teacher.ip("addr delete 10.1.0.1/24 dev lan")
    teacher.ip("addr add 10.1.0.2/24 brd + dev lan")
    room.expect("10.1.0.2 can be found")
    looking.expect("Blue at 10.1.0.2:5252")
    pupil.run(on_it_join, "10.1.0.2").expect("in Blue")


def test_one_finds_and_joins_a_room_on_ones_own_computer_without_any_network(network: Network) -> None:
    alone = network.computer()
    alone.run(on_it_rooms, "Blue").expect("can be found")
    alone.run(on_it_look).expect("Blue at 127.0.0.1:5252")
    alone.run(on_it_join, "127.0.0.1").expect("in Blue")


# This computer's addresses -------------------------------------------------------------------------------------------


def test_the_default_routes_address_is_told_first_and_those_that_lead_nowhere_last(network: Network) -> None:
    """The first adapters are those of virtual machines and tunnels, and one that gave itself an address."""
    computer = network.computer()
    for adapter, address in (("docker0", "172.17.0.1"), ("tun0", "10.8.0.1"), ("alone", "169.254.7.7")):
        computer.plug(address, adapter=adapter, switch=OTHER)
    computer.plug("10.1.0.1")
    computer.plug("10.2.0.1", adapter="wifi", switch=OTHER)
    computer.run(on_it_addresses).expect("10.1.0.1 10.2.0.1 172.17.0.1 10.8.0.1 169.254.7.7")
    computer.ip("route add default via 10.2.0.254")
    computer.run(on_it_addresses).expect("10.2.0.1 10.1.0.1 172.17.0.1 10.8.0.1 169.254.7.7")
    computer.ip("route replace default via 10.8.0.254")  # all goes through the tunnel
    computer.run(on_it_addresses).expect("10.8.0.1 10.1.0.1 10.2.0.1 172.17.0.1 169.254.7.7")


# Why there is no connection ------------------------------------------------------------------------------------------


def test_a_firewall_lets_a_room_be_found_but_not_joined(network: Network) -> None:
    """One that drops TCP without a word, as that of Windows does until somebody allows the program."""
    teacher, pupil = network.computer("10.1.0.1"), network.computer("10.1.0.9")
    teacher.run(on_it_rooms, "Blue")
    looking = pupil.run(on_it_look)
    looking.expect("Blue at 10.1.0.1:5252")
    teacher.drop_tcp()
    joining = pupil.run(on_it_join, "10.1.0.1", net.PORT, 0.5)
    joining.expect("NO_ANSWER")
    pupil.run(on_it_look).expect("Blue at 10.1.0.1:5252")
    teacher.drop_tcp(False)
    joining.expect("in Blue")


def test_where_no_room_is_open_nobody_listens(network: Network) -> None:
    network.computer("10.1.0.1")
    network.computer("10.1.0.9").run(on_it_join, "10.1.0.1").expect("NOBODY_LISTENS")


def test_where_no_computer_is_no_route_leads(network: Network) -> None:
    pupil = network.computer("10.1.0.9")
    pupil.ip("ntable change name arp_cache dev lan retrans 50")  # ms; otherwise it takes 3 s to find out
    pupil.run(on_it_join, "10.1.0.1").expect("NO_ROUTE")


def test_who_has_no_network_is_told_so_and_gets_in_once_there_is_one(network: Network) -> None:
    network.computer("10.1.0.1").run(on_it_rooms, "Blue").expect("10.1.0.1 can be found")
    pupil = network.computer()
    joining = pupil.run(on_it_join, "10.1.0.1")
    joining.expect("NO_NETWORK")
    pupil.plug("10.1.0.9")
    joining.expect("in Blue")


# The program itself --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("display")
def test_three_windows_meet_without_an_address_being_typed(network: Network) -> None:
    """Host, Join, Enter. The computers share nothing but the screen, and the keyboard in front of it."""
    if shutil.which("xdotool") is None:
        skip_or_fail("this test needs xdotool (on Debian and Ubuntu: apt install xdotool)")
    network.computer("10.1.0.1").run(on_it_window, "Mr Lee")
    press("Return", "Return")
    wait_for_people(1)
    for address, name, people in (("10.1.0.2", "Ann", 2), ("10.1.0.3", "Bob", 3)):
        window = network.computer(address).run(on_it_window, name)
        press("Return", "Tab", "Return")
        window.expect("Mr Lee's room")
        press("Return")
        wait_for_people(people)


FIRST_PAGE, IN_THE_ROOM = "^Classroom chat$", "^Mr Lee's room - Classroom chat$"  # windows' titles


def press(*keys: str) -> None:
    """Keys for the one window that is not in the room yet, once it is there."""
    until(lambda: windows(FIRST_PAGE), "a window shows")
    for key in keys:
        xdotool("windowfocus", "--sync", *windows(FIRST_PAGE), "key", key)


def wait_for_people(number: int) -> None:
    until(lambda: len(windows(IN_THE_ROOM)) == number, f"{number} windows show the room")


def windows(title: str) -> list[str]:
    return xdotool("search", "--onlyvisible", "--name", title).split()


def xdotool(*arguments: str) -> str:
    return subprocess.run(["xdotool", *arguments], capture_output=True, text=True, timeout=LIMIT, check=False).stdout
