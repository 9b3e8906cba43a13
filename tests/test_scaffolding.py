"""The tests' own tools: if these are wrong, the other tests prove nothing."""

from __future__ import annotations

import hashlib
import queue
import random
import shutil
import socket
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import net
from tests import helpers, mutate
from tests.conftest import DESCRIPTORS, TOP, OpenRoom
from tests.helpers import Display, Proxy, Wire, drain, expect, message, pump_until, screenshot, until, window_box

# Waiting ----------------------------------------------------------------------


def test_a_wait_that_fails_says_what_it_waited_for() -> None:
    until(lambda: True, "nothing")
    with pytest.raises(AssertionError, match="Ann has come"):
        until(lambda: False, "Ann has come", limit=0.01)


def test_expect_takes_the_first_event_that_fits_and_leaves_those_after_it() -> None:
    events: queue.Queue[object] = queue.Queue()
    for event in ("a", 1, 2, "b"):
        events.put(event)
    assert expect(events, int, lambda number: number > 1) == 2
    assert drain(events) == ["b"]


def test_expect_says_what_it_saw_instead() -> None:
    events: queue.Queue[object] = queue.Queue()
    events.put("something else")
    with pytest.raises(AssertionError, match=r"no such int.*\n.*something else"):
        expect(events, int, limit=0.01)


# The proxy and the client of plain bytes --------------------------------------


class Pair:
    """A client, and the socket behind the proxy that it is connected to."""

    def __init__(self, listener: socket.socket, proxy: Proxy) -> None:
        self.client = Wire(proxy.port)
        self.room, _ = listener.accept()
        self.room.settimeout(helpers.LIMIT)

    def close(self) -> None:
        self.client.close()
        self.room.close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((helpers.LOOPBACK, 0)) as listener:
        listener.settimeout(helpers.LIMIT)
        yield listener


@pytest.fixture
def proxy(listener: socket.socket) -> Iterator[Proxy]:
    with Proxy(helpers.port_of(listener)) as proxy:
        yield proxy


@pytest.fixture
def pair(listener: socket.socket, proxy: Proxy) -> Iterator[Pair]:
    pair = Pair(listener, proxy)
    yield pair
    pair.close()


def receive_exactly(sock: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size and (data := sock.recv(size - len(received))):
        received += data
    return received


def test_the_proxy_passes_and_records_both_ways(proxy: Proxy, pair: Pair) -> None:
    pair.client.send_bytes(b"to the room")
    assert receive_exactly(pair.room, 11) == b"to the room"
    pair.room.sendall(b"from the room")
    assert pair.client.receive_bytes(13) == b"from the room"
    assert bytes(proxy.to_room) == b"to the room"
    assert bytes(proxy.from_room) == b"from the room"


def test_last_words_pass_after_the_other_side_has_ended(proxy: Proxy, pair: Pair) -> None:
    pair.client.socket.shutdown(socket.SHUT_WR)
    assert pair.room.recv(1) == b""
    pair.room.sendall(net.encode(net.Closed("goodbye")))
    pair.room.close()
    assert pair.client.receive_all() == [message("closed", reason="goodbye")]
    until(lambda: proxy.connections == 0, "the proxy forgets the connection")


def test_a_cut_is_felt_at_both_ends(proxy: Proxy, pair: Pair) -> None:
    proxy.cut()
    for end in (pair.client.socket, pair.room):
        with pytest.raises(ConnectionError):
            end.recv(1)


def test_a_reset_at_one_end_reaches_the_other(pair: Pair) -> None:
    pair.client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    pair.client.close()
    with pytest.raises(ConnectionError):
        pair.room.recv(1)


def test_silence_holds_everything_back_until_it_speaks(proxy: Proxy, pair: Pair) -> None:
    proxy.silence()
    pair.client.send_bytes(b"held")
    with Wire(proxy.port) as other:
        other.send_bytes(b"new")
        # The proxy answers a second wish only after a whole turn in which it could have passed these on.
        proxy.silence()
        assert not proxy.to_room
        proxy.speak()
        assert receive_exactly(pair.room, 4) == b"held"
        until(lambda: b"new" in proxy.to_room, "the new connection goes on too")


def test_a_cable_can_come_back_with_the_connections_lost(listener: socket.socket, proxy: Proxy, pair: Pair) -> None:
    proxy.silence()
    pair.client.send_bytes(b"lost")
    proxy.speak(drop=True)
    with pytest.raises(ConnectionError):
        pair.room.recv(1)
    again = Pair(listener, proxy)
    again.client.send_bytes(b"back")
    assert receive_exactly(again.room, 4) == b"back"
    again.close()


def test_a_proxy_that_refuses_closes_new_connections_only(proxy: Proxy, pair: Pair) -> None:
    proxy.refuse()
    with Wire(proxy.port) as other:
        assert other.receive_all() == []
    pair.client.send_bytes(b"still")
    assert receive_exactly(pair.room, 5) == b"still"


def test_nobody_behind_the_proxy_is_an_end_and_another_port_can_be_put_there(proxy: Proxy, pair: Pair) -> None:
    port_before = proxy.port_behind
    with socket.socket() as deaf:  # it has the port, so that nobody else can be there, and does not listen
        deaf.bind((helpers.LOOPBACK, 0))
        proxy.port_behind = helpers.port_of(deaf)
        with Wire(proxy.port) as other:
            assert other.receive_all() == []
    proxy.port_behind = port_before
    with Wire(proxy.port):
        until(lambda: proxy.connections == 2, "the connection is led to the room that is back")
    pair.client.send_bytes(b"still")
    assert receive_exactly(pair.room, 5) == b"still"


def test_chopping_and_delay_lose_and_swap_nothing(proxy: Proxy, pair: Pair) -> None:
    data = random.Random(5).randbytes(5000)
    proxy.chop(7)
    proxy.delay(0.02)
    pair.client.send_bytes(data)
    pair.room.sendall(data)
    assert receive_exactly(pair.room, len(data)) == data
    assert pair.client.receive_bytes(len(data)) == data


def test_a_storm_cuts_every_connection_after_a_while(proxy: Proxy, pair: Pair) -> None:
    proxy.storm(seed=1, mean_bytes=1000)
    with pytest.raises(ConnectionError):
        pair.client.send_bytes(bytes(10_000_000))  # nobody reads it: without the storm this would time out
    assert 0 < len(proxy.to_room) < 100_000


def test_pings_are_left_out_unless_a_test_asks_for_them(pair: Pair) -> None:
    pair.room.sendall(net.encode(net.Ping()) * 2 + net.encode(net.Muted(True)) + net.encode(net.Ping()))
    assert pair.client.receive(pings=True) == message("ping")
    assert pair.client.receive() == message("muted", on=True)
    assert pair.client.receive_until("ping") == message("ping")


def test_a_client_of_plain_bytes_can_do_everything_that_people_do(open_room: OpenRoom) -> None:
    room = open_room()
    with Wire(room.port) as ann, Wire(room.port) as up, Wire(room.port) as down:
        assert ann.join("Ann")["name"] == "Ann"
        ann.ping()
        ann.say(1, "hello")
        assert ann.receive_until("said")["text"] == "hello"
        assert up.upload(ann.token, b"the file", "map.png") == message("stored")
        shared = ann.receive_until("shared")
        assert (shared["filename"], shared["sha256"]) == ("map.png", hashlib.sha256(b"the file").hexdigest())
        assert down.download(ann.token, shared["file"], offset=4) == message("sending", size=4)
        assert down.receive_bytes(5) == b"file"
        ann.leave()
        assert ann.receive_all()[-1]["reason"] == "left"


def test_a_client_of_plain_bytes_says_what_it_was_refused(open_room: OpenRoom) -> None:
    room = open_room(host_name="Mr Lee")
    with Wire(room.port) as eve, Wire(room.port) as old, Wire(room.port) as stranger:
        assert eve.try_to_join("MR LEE")["type"] == "refused"
        assert old.hello(protocol=1)["code"] == "protocol"
        assert stranger.begin_upload("0" * 32, 5)["code"] == "unknown"


# Pictures ---------------------------------------------------------------------


def test_a_picture_of_a_window_has_the_window_s_size_and_colours(display: Display, tmp_path: Path) -> None:
    import tkinter

    if display.file is None:
        pytest.skip("a real screen is not looked at")
    root = tkinter.Tk()
    root.geometry("120x80+30+40")
    root.configure(background="#204060")
    pump_until(root, root.winfo_viewable, "the window is shown")
    pump_until(root, lambda: root.winfo_width() == 120, "the window has its size")
    screenshot(display, tmp_path / "all.png")
    screenshot(display, tmp_path / "window.png", window_box(root))
    root.destroy()
    assert picture(tmp_path / "all.png")[:2] == (1280, 900)
    width, height, pixels = picture(tmp_path / "window.png")
    assert (width, height) == (120, 80)
    assert pixels == (b"\0" + bytes.fromhex("204060") * width) * height


def picture(path: Path) -> tuple[int, int, bytes]:
    """Width, height and pixels of a PNG file in three parts, as `screenshot` writes it."""
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", data[16:24])
    (size,) = struct.unpack(">I", data[33:37])
    assert data[37:41] == b"IDAT"
    return width, height, zlib.decompress(data[41 : 41 + size])


# The guards -------------------------------------------------------------------

CARELESS = """
    import logging, socket, threading, time
    kept = []

    def test_thread_left():
        threading.Thread(target=time.sleep, args=[60], name="forgotten", daemon=True).start()

    def test_slow_look_up():
        threading.Thread(target=time.sleep, args=[60], name="name look-up ann", daemon=True).start()

    def test_thread_died():
        threading.Thread(target=lambda: 1 / 0).start()

    def test_socket_kept():
        kept.append(socket.socket())

    def test_socket_dropped():
        socket.socket()

    def test_socket_closed_in_time():
        threading.Timer(0.1, kept.append(socket.socket()) or kept[-1].close).start()

    def test_error_logged():
        logging.getLogger("net").error("it went wrong")

    def test_error_expected(caplog):
        logging.getLogger("net").error("it went wrong")
        caplog.clear()
"""


@pytest.fixture
def run_inside(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A pytest run of its own, with this folder's guards and settings."""
    monkeypatch.setenv("PYTHONPATH", str(TOP))
    monkeypatch.setenv("CHAT_TEST_LIMIT", "3")  # two of its tests wait that long for something that does not come
    pytester.makeconftest("from tests.conftest import *")
    shutil.copy(TOP / ".pytest.ini", pytester.path)
    return pytester


def test_a_test_that_leaves_something_behind_fails(run_inside: pytest.Pytester) -> None:
    result = run_inside.runpytest_subprocess("-vv", run_inside.makepyfile(CARELESS))
    broken = ["thread_left", "thread_died", "socket_dropped", "error_logged"]
    broken += ["socket_kept"] if DESCRIPTORS.exists() else []
    fine = ["slow_look_up", "socket_closed_in_time", "error_expected"]
    output = result.stdout.str()
    for name in broken:
        assert f"test_{name} FAILED" in output or f"test_{name} ERROR" in output
    for name in fine:
        assert f"test_{name} PASSED" in output
        assert f"test_{name} ERROR" not in output
    result.stdout.fnmatch_lines_random(["threads left behind: forgotten", "logged as an error: it went wrong"])


def test_a_window_test_without_a_screen_is_skipped_but_fails_in_ci(
    run_inside: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = run_inside.makepyfile("from tests.helpers import skip_or_fail\ndef test_window(): skip_or_fail('no screen')")
    monkeypatch.delenv("CI", raising=False)
    run_inside.runpytest_subprocess(test).assert_outcomes(skipped=1)
    monkeypatch.setenv("CI", "true")
    run_inside.runpytest_subprocess(test).assert_outcomes(failed=1)


# Changes that tests should notice ---------------------------------------------

TOY = """
def is_adult(age):
    return age >= 18
"""
TOY_TEST = """
import toy

def test_children_and_adults():
    assert toy.is_adult(30)
    assert not toy.is_adult(17)
"""


@pytest.mark.skipif(sys.version_info < (3, 12) or sys.platform != "linux", reason="tests.mutate needs both")
def test_a_change_of_the_program_that_no_test_notices_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "toy.py").write_text(TOY)
    (tmp_path / "test_toy.py").write_text(TOY_TEST)
    tests = mutate.Tests(tmp_path, sys.executable, ["test_toy.py"])
    found = [str(change) for change in mutate.survivors(tests, tmp_path, ["toy.py"], 100, 1)]
    assert sorted(found) == ["toy.py:3: 18  ->  (19)", "toy.py:3: age >= 18  ->  (age > 18)"]
    assert "noticed  toy.py:3: return age >= 18  ->  pass" in capsys.readouterr().out
    assert (tmp_path / "toy.py").read_text() == TOY
