"""How much somebody may do (RateLimit), how long something may take (Deadline), how many connections there may be."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest

import net
from net import Trouble
from tests.helpers import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limit(clock: Clock) -> net.RateLimit:
    """Five units at once, and then two a second."""
    return net.RateLimit(5, 2, clock)


# RateLimit -----------------------------------------------------------------------------------------------------------


def test_units_at_once_cost_no_wait_and_more_come_at_the_rate_a_second(limit: net.RateLimit, clock: Clock) -> None:
    assert [limit.try_take("Ann") for _ in range(6)] == [0, 0, 0, 0, 0, pytest.approx(0.5)]
    clock.now += 1
    assert [limit.try_take("Ann") for _ in range(3)] == [0, 0, pytest.approx(0.5)]


def test_a_long_pause_saves_up_no_more_than_the_units_at_once(limit: net.RateLimit, clock: Clock) -> None:
    limit.take("Ann", 5)
    clock.now += 1_000_000
    assert limit.try_take("Ann", 5) == 0
    assert limit.try_take("Ann") > 0


def test_a_unit_that_is_not_available_is_not_taken(limit: net.RateLimit, clock: Clock) -> None:
    """Anyone who asks too often waits no longer than anyone who asks once."""
    limit.take("Ann", 5)
    for _ in range(100):
        assert limit.try_take("Ann") == pytest.approx(0.5)
    clock.now += 0.5
    assert limit.try_take("Ann") == 0


def test_taking_may_make_a_debt_that_is_paid_after_the_time_it_returns(limit: net.RateLimit, clock: Clock) -> None:
    assert limit.take("Ann", 5) == 0
    assert limit.take("Ann", 4) == pytest.approx(2)
    assert limit.take("Ann", 4) == pytest.approx(4)
    clock.now += 4
    assert limit.wait("Ann", 0) == 0
    assert limit.try_take("Ann") == pytest.approx(0.5)


def test_units_that_are_given_back_are_available_again(limit: net.RateLimit) -> None:
    limit.take("Ann", 5)
    limit.take("Ann", -3)
    assert limit.try_take("Ann", 3) == 0
    assert limit.try_take("Ann") == pytest.approx(0.5)
    limit.take("Bob", -1)  # who has all of them
    assert limit.try_take("Bob", 6) > 0


def test_asking_for_the_wait_takes_nothing(limit: net.RateLimit) -> None:
    assert [limit.wait("Ann", 5) for _ in range(3)] == [0, 0, 0]
    assert limit.wait("Ann", 6) == pytest.approx(0.5)
    assert limit.try_take("Ann", 5) == 0
    assert [limit.wait("Ann", 2) for _ in range(3)] == [pytest.approx(1)] * 3


def test_infinitely_many_units_a_second_are_no_limit(clock: Clock) -> None:
    limit = net.RateLimit(math.inf, math.inf, clock)
    for _ in range(1_000):
        assert (limit.wait("Ann", 10**9), limit.take("Ann", 10**9), limit.try_take("Ann", 10**9)) == (0, 0, 0)


def test_after_the_wait_that_was_returned_the_units_are_available(clock: Clock, chance: random.Random) -> None:
    """However the fractions are rounded: otherwise somebody would wait, and be told to wait again."""
    limit = net.RateLimit(20, 20, clock)
    for _ in range(2_000):
        clock.now += chance.expovariate(50)
        units = chance.uniform(0, 20)
        if (wait := limit.try_take("Ann", units)) > 0:
            clock.now += wait
            assert limit.wait("Ann", units) == 0
            assert limit.try_take("Ann", units) == 0


def test_over_any_time_nobody_gets_more_than_the_units_at_once_and_the_rate(
    clock: Clock, chance: random.Random
) -> None:
    limit, start, taken = net.RateLimit(5, 2, clock), clock.now, 0.0
    for _ in range(2_000):
        clock.now += chance.expovariate(4)
        units = chance.uniform(0, 3)
        if limit.try_take("Ann", units) == 0:
            taken += units
        assert taken <= 5 + 2 * (clock.now - start) + 0.001


def test_a_debt_is_remembered_however_many_others_come_and_go(limit: net.RateLimit, clock: Clock) -> None:
    """Keys with all their units are forgotten when there are many; a key in debt must not be."""
    limit.take("Ann", 5 + 2 * 1_000)  # a debt for a thousand seconds
    for number in range(20_000):
        clock.now += 0.01
        assert limit.try_take(number) == 0
    assert limit.wait("Ann", 0) == pytest.approx(1_000 - 200)


# Deadline ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("is_wanted", "step"), [(None, net.TICK), (lambda: True, net.ASK_AGAIN)])
def test_a_deadline_waits_in_steps_and_no_longer_than_its_time(
    clock: Clock, is_wanted: Callable[[], bool] | None, step: float
) -> None:
    deadline = net.Deadline(2.5 * step, is_wanted=is_wanted, clock=clock)
    waits = []
    for _ in range(3):
        waits.append(deadline.left())
        clock.now += waits[-1]
    assert waits == pytest.approx([step, step, step / 2])


@pytest.mark.parametrize("late", [0.0, 0.001, 1_000.0])
def test_when_the_time_is_up_a_deadline_raises_its_trouble(clock: Clock, late: float) -> None:
    deadline = net.Deadline(2.5, Trouble.NO_ANSWER, clock=clock)
    clock.now += 2.5 + late
    with pytest.raises(net.ConnectionLost) as caught:
        deadline.left()
    assert caught.value.trouble is Trouble.NO_ANSWER


def test_a_deadline_raises_at_once_when_nobody_waits_any_longer(clock: Clock) -> None:
    wanted = True
    deadline = net.Deadline(2.5, is_wanted=lambda: wanted, clock=clock)
    assert deadline.left() > 0
    wanted = False
    with pytest.raises(net.ConnectionLost, match=Trouble.SILENT.value):
        deadline.left()


# Connections, and the numbers ---------------------------------------------------------------------------------------


def test_a_connection_that_is_over_makes_room_for_the_next() -> None:
    connections = net.Connections(most=1, is_unlimited=False)
    first: Any = object()
    second: Any = object()
    assert connections.add(first)
    connections.join(first)
    assert not connections.add(second)
    connections.forget(first)
    assert connections.add(second)


def test_the_limits_are_those_that_were_promised() -> None:
    assert (net.NEWCOMERS, net.CALLS_OF_ADDRESS, net.CALLS_OF_ALL) == ((40.0, 1.0), (40.0, 1.5), (600.0, 40.0))
    assert (net.GUESSES, net.GUESSES_WHERE_KNOWN) == ((5.0, 0.1), (5.0, 1.0))
    assert (net.RATE, net.RATE_PER_ADDRESS, net.CROWD, net.SPREAD_TIME, net.SILENCE) == (20.0, 10, 40, 600.0, 15.0)
