"""Whatever takes more than this computer: each test has a network of its own, in which nothing else is.

The functions with `in_` in front run there, in a process of their own. It takes Linux, root and `ip`.
"""

from __future__ import annotations

import contextlib
import queue
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import net
from tests.conftest import TOP
from tests.helpers import LIMIT, LOOPBACK, Message, Wire, expect, skip_or_fail, until
from tests.test_encryption import Clock

ELSEWHERE = "10.77.0.1"  # an address that is not loopback, and on no network either
THIRD = "10.77.0.2"  # another one
LOOPBACK_UP = ["ip link set lo up"]
ONE_ADDRESS = [*LOOPBACK_UP, f"ip addr add {ELSEWHERE}/32 dev lo"]


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
    if sys.platform != "linux" or shutil.which("unshare") is None or shutil.which("ip") is None:
        skip_or_fail("networks of one's own need Linux, unshare and ip (on Debian and Ubuntu: apt install iproute2)")
    if subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode != 0:
        skip_or_fail("only root may make a network of its own")


def run_in(commands: list[str], scenario: Callable[[], None]) -> None:
    """Run the function in a network that these commands set up."""
    script = "\n".join(["set -e", *commands, 'exec "$0" -c "$1"'])
    code = f"from tests import test_namespaces; test_namespaces.{scenario.__name__}()"
    command = ["unshare", "-n", "sh", "-c", script, sys.executable, code]
    result = subprocess.run(command, cwd=TOP, capture_output=True, text=True, timeout=3 * LIMIT, check=False)
    assert result.returncode == 0, result.stderr


def answer_to_join(port: int, host: str, token: str = "") -> Message:
    with Wire(port, host) as wire:
        wire.hello()
        wire.send({"type": "join", "name": "Ann", "token": token or wire.token, "room": None, "after": 0})
        answer = wire.receive()
    assert answer is not None
    return answer


# Too often, too many -------------------------------------------------------------------------------------------------


def test_an_address_that_joins_too_often_is_asked_to_wait() -> None:
    run_in(ONE_ADDRESS, in_which_an_address_joins_eleven_times)


def in_which_an_address_joins_eleven_times() -> None:
    with net.run_server("Room", port=0) as room:
        answers = [answer_to_join(room.port, ELSEWHERE) for _ in range(11)]
        assert [answer["type"] for answer in answers] == ["welcome"] * 10 + ["refused"]
        assert answers[-1]["code"] == "wait"
        assert 1 <= answers[-1]["seconds"] <= 10
        assert answer_to_join(room.port, LOOPBACK)["type"] == "welcome"  # another address


def test_loopback_may_join_as_often_as_it_likes() -> None:
    run_in(LOOPBACK_UP, in_which_loopback_joins_thirty_times)


def in_which_loopback_joins_thirty_times() -> None:
    with net.run_server("Room", port=0) as room:
        for _ in range(30):
            assert answer_to_join(room.port, LOOPBACK)["type"] == "welcome"


def test_who_was_asked_to_wait_gets_in_by_itself_when_the_time_is_over() -> None:
    run_in(ONE_ADDRESS, in_which_somebody_waits)


def in_which_somebody_waits() -> None:
    net.JOINS_TIME = 1.0
    clock = Clock()  # so that the ten come in the same second, however slow this computer is
    vars(net)["time"] = clock
    events: net.Events = queue.Queue()
    with net.run_server("Room", port=0) as room:
        for _ in range(10):
            answer_to_join(room.port, ELSEWHERE)
        with net.run_client(ELSEWHERE, "Bob", events, port=room.port) as client:
            lost = expect(events, net.Lost)
            assert lost == net.Lost(net.Trouble.WAIT, 1.0)
            clock.jump(1)
            expect(events, net.Welcome)
        assert client.join(LIMIT)


def test_of_too_many_silent_connections_from_one_address_the_oldest_goes() -> None:
    run_in(ONE_ADDRESS, in_which_one_address_has_fifty_one_silent_connections)


def in_which_one_address_has_fifty_one_silent_connections() -> None:
    with net.run_server("Room", port=0) as room, contextlib.ExitStack() as stack:
        silent = [stack.enter_context(Wire(room.port, ELSEWHERE)) for _ in range(51)]
        assert silent[0].receive_all() == []
        for wire in silent[1:]:
            assert wire.hello()["type"] == "hello"


def test_loopback_may_have_as_many_silent_connections_as_it_likes() -> None:
    run_in(LOOPBACK_UP, in_which_loopback_has_eighty_silent_connections)


def in_which_loopback_has_eighty_silent_connections() -> None:
    with net.run_server("Room", port=0) as room, contextlib.ExitStack() as stack:
        silent = [stack.enter_context(Wire(room.port)) for _ in range(80)]
        stack.enter_context(Wire(room.port)).hello()  # so all of them have been let in
        for wire in silent:
            assert wire.hello()["type"] == "hello"


def test_those_who_have_joined_do_not_count_as_silent() -> None:
    run_in(ONE_ADDRESS, in_which_some_have_joined)


def in_which_some_have_joined() -> None:
    with net.run_server("Room", port=0) as room, contextlib.ExitStack() as stack:
        first = stack.enter_context(Wire(room.port, ELSEWHERE))
        first.join("Ann")
        for _ in range(51):
            stack.enter_context(Wire(room.port, ELSEWHERE))
        first.send({"type": "say", "id": 1, "text": "still here"})
        assert first.receive_until("said")["text"] == "still here"


# The host ------------------------------------------------------------------------------------------------------------


def test_the_hosts_token_counts_only_on_the_rooms_own_computer() -> None:
    run_in(ONE_ADDRESS, in_which_somebody_elsewhere_has_the_hosts_token)


def in_which_somebody_elsewhere_has_the_hosts_token() -> None:
    with net.run_server("Room", port=0) as room:
        refused = answer_to_join(room.port, ELSEWHERE, room.token)
        assert (refused["type"], refused["code"]) == ("refused", "unknown")
        assert answer_to_join(room.port, LOOPBACK, room.token)["who"] == net.HOST


def test_who_is_muted_or_removed_stays_so_with_a_new_start_of_the_program_on_that_computer_alone() -> None:
    run_in([*ONE_ADDRESS, f"ip addr add {THIRD}/32 dev lo"], in_which_a_computer_is_muted_and_removed)


def in_which_a_computer_is_muted_and_removed() -> None:
    with net.run_server("Room", port=0) as room, contextlib.ExitStack() as stack:

        def come(address: str) -> net.Events:
            events: net.Events = queue.Queue()
            stack.enter_context(net.run_client(address, "Ann", events, port=room.port))
            return events

        ann = come(ELSEWHERE)
        room.mute(expect(ann, net.Welcome).who, True)
        assert expect(ann, net.Muted).on
        again = come(ELSEWHERE)
        welcome = expect(again, net.Welcome)
        assert welcome.muted
        for address in (LOOPBACK, THIRD):
            assert not expect(come(address), net.Welcome).muted
        room.remove(welcome.who, True)
        for events in (ann, again):
            expect(events, net.Closed)
        assert expect(come(ELSEWHERE), net.Refused).code == "removed"
        for address in (LOOPBACK, THIRD):
            assert not expect(come(address), net.Welcome).muted
        room.remove(welcome.who, False)
        assert expect(come(ELSEWHERE), net.Welcome).muted


# This computer's address ---------------------------------------------------------------------------------------------


def test_without_any_network_the_address_is_loopback() -> None:
    run_in([], in_which_there_is_no_address)


def test_with_loopback_alone_the_address_is_loopback() -> None:
    run_in(LOOPBACK_UP, in_which_there_is_no_address)


def in_which_there_is_no_address() -> None:
    assert net.local_addresses() == []
    assert net.get_local_ip() == "127.0.0.1"


def test_without_a_default_route_the_address_is_found_all_the_same() -> None:
    run_in([*LOOPBACK_UP, *adapter("lan", "10.77.0.1")], in_which_there_is_one_network)


def in_which_there_is_one_network() -> None:
    assert net.local_addresses() == ["10.77.0.1"]
    assert net.get_local_ip() == "10.77.0.1"


TWO_NETWORKS = [*LOOPBACK_UP, *adapter("first", "10.77.0.1"), *adapter("second", "10.88.0.1")]


def test_the_default_routes_address_comes_first() -> None:
    run_in([*TWO_NETWORKS, "ip route add default via 10.88.0.2"], in_which_the_second_network_is_the_default)
    run_in([*TWO_NETWORKS, "ip route add default via 10.77.0.2"], in_which_the_first_network_is_the_default)


def in_which_the_second_network_is_the_default() -> None:
    assert net.local_addresses() == ["10.88.0.1", "10.77.0.1"]
    assert net.get_local_ip() == "10.88.0.1"


def in_which_the_first_network_is_the_default() -> None:
    assert net.local_addresses() == ["10.77.0.1", "10.88.0.1"]


def test_addresses_that_lead_nowhere_come_last() -> None:
    """Adapters of virtual machines, and addresses that a computer gave itself because nobody else did."""
    run_in(
        [*adapter("docker0", "10.99.0.1"), *adapter("alone", "169.254.7.7"), *TWO_NETWORKS],
        in_which_there_are_virtual_adapters,
    )


def in_which_there_are_virtual_adapters() -> None:
    addresses = net.local_addresses()
    assert set(addresses[:2]) == {"10.77.0.1", "10.88.0.1"}
    assert set(addresses[2:]) == {"10.99.0.1", "169.254.7.7"}


def test_looking_for_the_address_sends_nothing() -> None:
    run_in([*TWO_NETWORKS, "ip route add default via 10.88.0.2"], in_which_what_is_sent_is_counted)


def in_which_what_is_sent_is_counted() -> None:
    before = packets_sent()
    net.get_local_ip()
    assert packets_sent() == before


def packets_sent() -> int:
    """How many IP packets this computer has tried to send since it has this network."""
    names, values = (line.split() for line in Path("/proc/net/snmp").read_text().splitlines()[:2])
    return int(values[names.index("OutRequests")])


# No way there --------------------------------------------------------------------------------------------------------


def test_without_a_network_the_trouble_is_called_so() -> None:
    run_in(LOOPBACK_UP, in_which_there_is_no_way)


def in_which_there_is_no_way() -> None:
    assert trouble_with("192.0.2.1") is net.Trouble.NO_NETWORK


def test_where_no_computer_is_nothing_answers() -> None:
    run_in(adapter("lan", "10.77.0.1"), in_which_nobody_is_at_an_address)


def in_which_nobody_is_at_an_address() -> None:
    net.CONNECT_TIME = 0.3
    assert trouble_with("10.77.0.99") is net.Trouble.NO_ANSWER


def trouble_with(address: str) -> net.Trouble:
    events: net.Events = queue.Queue()
    with net.run_client(address, "Ann", events) as client:
        lost = expect(events, net.Lost)
    until(client.join, "the client is gone")
    return lost.reason
