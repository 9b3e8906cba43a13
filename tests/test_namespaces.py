"""Tests that need other addresses than this computer has: each has a network of its own, with nothing else in it.

A test with `in_a_network` runs there, in a process of its own. It takes Linux, root and `ip`. What needs a second
computer as well is in test_networks.py.
"""

from __future__ import annotations

import contextlib
import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import net
from tests.conftest import TOP
from tests.helpers import LIMIT, LOOPBACK, Clock, Wire, skip_without_namespaces

pytestmark = pytest.mark.slow

Test = Callable[[], None]
OWN = "10.77.0.1"  # an address of this computer that is not loopback, and on no network either
LOOPBACK_UP = ["ip link set lo up"]
ONE_ADDRESS = [*LOOPBACK_UP, f"ip addr add {OWN}/32 dev lo"]
OTHERS = [f"127.0.0.{number}" for number in range(2, 10)]  # to a room, these are other computers' addresses


def adapter(name: str, address: str) -> list[str]:
    """Commands for an adapter: one end of a pair, whose other end leads nowhere."""
    return [
        f"ip link add {name} type veth peer name {name}-end",
        f"ip addr add {address}/24 dev {name}",
        f"ip link set {name} up",
        f"ip link set {name}-end up",
    ]


@pytest.fixture(scope="module", autouse=True)
def _namespaces() -> None:
    skip_without_namespaces()


def in_a_network(commands: list[str]) -> Callable[[Test], Test]:
    """The test runs in a network that these commands set up."""

    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        def run_there() -> None:
            script = "\n".join(["set -e", *commands, 'exec "$0" -c "$1"'])
            code = f"from tests import test_namespaces as t; t.{test.__name__}.__wrapped__()"
            command = ["unshare", "-n", "sh", "-c", script, sys.executable, code]
            result = subprocess.run(command, cwd=TOP, capture_output=True, text=True, timeout=3 * LIMIT, check=False)
            assert result.returncode == 0, result.stderr

        return run_there

    return decorate


def answers(source: str, port: int, times: int, host: str = LOOPBACK) -> list[str]:
    """So many new people come from that address and go again; how the room answers each of them."""
    given: list[str] = []
    for _ in range(times):
        with Wire(port, host, source) as wire:
            answer = wire.try_to_join("Ann")
            given.append(answer["code"] if answer["type"] == "refused" else answer["type"])
            if answer["type"] == "welcome":
                wire.leave()
                wire.receive_all()
    return given


# How a room counts addresses -----------------------------------------------------------------------------------------


@in_a_network(ONE_ADDRESS)
def test_forty_new_people_may_come_at_once_from_the_rooms_own_addresses_together_and_from_each_other_address() -> None:
    clock = Clock()
    vars(net)["RateLimit"] = functools.partial(net.RateLimit, clock=clock)
    with net.run_server("Room", port=0) as room:
        assert answers(OWN, room.port, 20, OWN) == ["welcome"] * 20
        assert answers(LOOPBACK, room.port, 21) == ["welcome"] * 20 + ["wait"]
        assert answers(OWN, room.port, 1, OWN) == ["wait"]
        assert answers(OTHERS[0], room.port, 1) == ["welcome"]
        clock.now += 1
        assert answers(OWN, room.port, 2, OWN) == ["welcome", "wait"]


@in_a_network(LOOPBACK_UP)
def test_when_connections_run_out_the_address_with_the_most_unjoined_ones_loses_its_oldest() -> None:
    net.SPARE_CONNECTIONS = 5  # so a room for five people has ten connections
    with net.run_server("Room", port=0, limit=5) as room, contextlib.ExitStack() as stack:
        few = [stack.enter_context(Wire(room.port, source=OTHERS[0])) for _ in range(3)]
        many = [stack.enter_context(Wire(room.port, source=OTHERS[1])) for _ in range(7)]
        newcomer = stack.enter_context(Wire(room.port, source=OTHERS[2]))
        newcomer.join("Ann")
        assert many[0].receive_all() == []
        for wire in [*few, *many[1:]]:
            assert wire.hello()["type"] == "hello"


@in_a_network(ONE_ADDRESS)
def test_the_hosts_token_counts_at_every_address_of_the_rooms_own_computer() -> None:
    with net.run_server("Room", port=0) as room:
        for source in (OWN, LOOPBACK):
            with Wire(room.port, source, source) as wire:
                assert wire.join("Host", room.token)["who"] == net.HOST


# This computer's address ---------------------------------------------------------------------------------------------


@in_a_network([])
def test_without_any_other_network_the_address_is_loopback() -> None:
    for loopback in ("down", "up"):
        subprocess.run(f"ip link set lo {loopback}".split(), check=True)
        assert net.local_addresses() == []
        assert net.get_local_ip() == "127.0.0.1"


TWO_NETWORKS = [*LOOPBACK_UP, *adapter("first", "10.77.0.1"), *adapter("second", "10.88.0.1")]


@in_a_network(TWO_NETWORKS)
def test_the_default_routes_address_comes_first_and_looking_for_it_sends_nothing() -> None:
    for address, other in (("10.88.0.1", "10.77.0.1"), ("10.77.0.1", "10.88.0.1")):
        subprocess.run(f"ip route replace default via {address[:-1]}2".split(), check=True)
        before = packets_sent()
        assert net.local_addresses() == [address, other]
        assert net.get_local_ip() == address
        assert packets_sent() == before


NOWHERE = [*adapter("docker0", "10.99.0.1"), *adapter("tun0", "10.8.0.1"), *adapter("alone", "169.254.7.7")]


@in_a_network([*NOWHERE, *TWO_NETWORKS, "ip route add default via 10.8.0.2"])
def test_addresses_that_lead_nowhere_come_last_even_with_the_default_route() -> None:
    """Adapters of virtual machines and tunnels, and addresses that a computer gave itself because no server did."""
    addresses = net.local_addresses()
    assert set(addresses[:2]) == {"10.77.0.1", "10.88.0.1"}
    assert addresses[2:] == ["10.8.0.1", "10.99.0.1", "169.254.7.7"]


def packets_sent() -> int:
    """How many IP packets this computer has tried to send in this network."""
    names, values = (line.split() for line in Path("/proc/net/snmp").read_text().splitlines()[:2])
    return int(values[names.index("OutRequests")])
