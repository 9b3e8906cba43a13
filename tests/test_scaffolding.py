"""The tests' own tools: if these are wrong, the other tests prove nothing."""

from __future__ import annotations

import re
import shutil
import socket
import sys
from pathlib import Path

import pytest

from tests import mutate
from tests.conftest import DESCRIPTORS, TOP
from tests.helpers import FakeRoom, Proxy, Wire, until


def test_a_wait_that_fails_says_what_it_waited_for() -> None:
    until(lambda: True, "nothing")
    with pytest.raises(AssertionError, match="Ann has come"):
        until(lambda: False, "Ann has come", limit=0.01)


def test_the_proxy_passes_and_records_both_ways_up_to_the_last_words(fake: FakeRoom) -> None:
    with Proxy(fake.port) as proxy, Wire(proxy.port) as client:
        room = fake.accepts()
        client.send_bytes(b"to the room")
        client.socket.shutdown(socket.SHUT_WR)
        assert room.receive_to_the_end() == b"to the room"
        room.send_bytes(b"from the room")
        room.close()
        assert client.receive_to_the_end() == b"from the room"
        assert (bytes(proxy.to_room), bytes(proxy.from_room)) == (b"to the room", b"from the room")
        until(lambda: proxy.connections == 0, "the proxy forgets the connection")


def test_silence_holds_everything_back_until_it_speaks_or_drops_it(fake: FakeRoom) -> None:
    with Proxy(fake.port) as proxy, Wire(proxy.port) as client:
        room = fake.accepts()
        proxy.silence()
        client.send_bytes(b"held")
        # The proxy answers a second wish only after a whole turn in which it could have passed these on.
        proxy.silence()
        assert not proxy.to_room
        proxy.speak()
        assert room.receive_bytes(4) == b"held"
        proxy.silence()
        client.send_bytes(b"lost")
        proxy.speak(drop=True)
        with pytest.raises(ConnectionError):
            room.receive_line()



CARELESS = """
    import logging, socket, threading, time
    kept = []

    def test_thread_left():
        threading.Thread(target=time.sleep, args=[60], name="forgotten", daemon=True).start()

    def test_slow_look_up():
        threading.Thread(target=time.sleep, args=[60], name="name look-up ann", daemon=True).start()

    def test_socket_kept():
        kept.append(socket.socket())

    def test_socket_closed_in_time():
        threading.Timer(0.1, kept.append(socket.socket()) or kept[-1].close).start()

    def test_error_logged():
        logging.getLogger("net").error("it went wrong")

    def test_error_expected(caplog):
        logging.getLogger("net").error("it went wrong")
        caplog.clear()
"""


def test_a_test_that_leaves_something_behind_fails(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(TOP))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they need a second to start
    monkeypatch.setenv("CHAT_TEST_LIMIT", "1")  # two of its tests wait that long for something that does not come
    pytester.makeconftest("from tests.conftest import *")
    shutil.copy(TOP / ".pytest.ini", pytester.path)
    result = pytester.runpytest_subprocess("-vv", pytester.makepyfile(CARELESS))
    noticed = {"thread_left", "error_logged"} | ({"socket_kept"} if DESCRIPTORS.exists() else set())
    assert set(re.findall(r"::test_(\w+) (?:FAILED|ERROR)", result.stdout.str())) == noticed
    result.stdout.fnmatch_lines_random(["threads left behind: forgotten", "logged as an error: it went wrong"])


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
def test_a_change_of_the_program_that_no_test_notices_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(TOP))  # there is tests.mutate
    (tmp_path / "toy.py").write_text(TOY)
    (tmp_path / "test_toy.py").write_text(TOY_TEST)
    tests = mutate.Tests(tmp_path, sys.executable, ["test_toy.py"])
    found = [str(change) for change in mutate.survivors(tests, tmp_path, ["toy.py"], 100, 1)]
    assert sorted(found) == ["toy.py:3: 18  ->  (19)", "toy.py:3: age >= 18  ->  (age > 18)"]
    assert "noticed  toy.py:3: return age >= 18  ->  pass" in capsys.readouterr().out
    assert (tmp_path / "toy.py").read_text() == TOY
