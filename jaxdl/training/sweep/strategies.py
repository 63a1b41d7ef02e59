"""Which way of advancing the members is taken, and how many of them at once: both measured where they are not given."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxdl.training.state import TrainState
from jaxdl.training.sweep import memory
from jaxdl.training.sweep.cells import Cell
from jaxdl.training.sweep.job import Job
from jaxdl.training.sweep.memory import Device
from jaxdl.training.sweep.one_by_one import OneByOne
from jaxdl.training.sweep.side_by_side import SideBySide

PyTree = Any
Mode = Literal["auto", "vmap", "map"]
STRATEGIES = {"vmap": SideBySide, "map": OneByOne}
LONG_ENOUGH = 0.04  # seconds; what is much shorter is not well timed
ROUNDS, ENOUGH = 4, 1.0  # at most so many, and no more after so many seconds


class Plan(NamedTuple):
    """How the members are going to advance.

    Attributes:
      strategy: what advances a group.
      size: members of a group, the last of which may have fewer.
      timings: `{name: seconds in which all members advance a step}` of the strategies that were measured.
    """

    strategy: SideBySide | OneByOne
    size: int
    timings: Mapping[str, float]


def name_of(strategy: SideBySide | OneByOne) -> str:
    """For the history: `vmap`, `map`, or `vmap on 4 devices`."""
    count = len(strategy.devices)
    return strategy.mode if count == 1 else f"{strategy.mode} on {count} devices"


def make_plan(
    job: Job,
    mode: Mode,
    devices: Sequence[Device],
    single: TrainState,
    cell: Cell,
    *,
    num_members: int,
    members_at_once: int | None,
) -> Plan:
    """Sizes the groups, and times the strategies against each other if asked to.

    Args:
      job: what the members have in common.
      mode: as for `run_many`.
      devices: as many of them are used as there are members.
      single, cell: start and hyper-parameters of one member; copies of it are what is timed.
      num_members: how many there are.
      members_at_once: as for `run_many`.
    """
    devices = devices[:num_members]
    modes = tuple(STRATEGIES) if mode == "auto" else (mode,)
    # Several devices may be one processor in disguise, and then cost more than they give.
    shares = [devices, devices[:1]] if mode == "auto" and len(devices) > 1 else [devices]
    segment = next(iter(job.schedule.segments(job.schedule.steps_per_epoch)), None)
    if segment is None:  # nothing is left to do
        return Plan(STRATEGIES[modes[0]](job, devices), members_at_once or num_members, {})

    def sized(strategy: SideBySide | OneByOne) -> int:
        if members_at_once is not None:
            return min(members_at_once, num_members)
        needed = lambda size: strategy.bytes_needed(single, cell, size, segment[1])  # noqa: E731
        most = memory.members_that_fit(needed, memory.available_bytes(strategy.devices), num_members)
        return -(-num_members // -(-num_members // most))  # in as many groups, but of the same size

    plans = [Plan(strategy, sized(strategy), {}) for strategy in (STRATEGIES[m](job, d) for d in shares for m in modes)]
    if mode != "auto":
        return plans[0]
    timers = [_Timer(plan.strategy, single, cell, size=plan.size, most=segment[1]) for plan in plans]
    spent = rounds = 0
    while rounds < ROUNDS and spent < ENOUGH:  # in turns, so that a slow moment of the machine is one for all of them
        spent += sum(timer.turn() for timer in timers)
        rounds += 1
    seconds = [timer.seconds_a_step() * -(-num_members // plan.size) for timer, plan in zip(timers, plans, strict=True)]
    timings = {name_of(plan.strategy): each for plan, each in zip(plans, seconds, strict=True)}
    return plans[int(np.argmin(seconds))]._replace(timings=timings)


class _Timer:
    """Times one strategy on copies of a state, in stretches of as many steps as it takes to time them."""

    def __init__(
        self, strategy: SideBySide | OneByOne, single: TrainState, cell: Cell, *, size: int, most: int
    ) -> None:
        self._strategy: Any = strategy  # each takes orders in its own form
        schedule = strategy.job.schedule
        count, self._times = strategy.sample(size)
        draws = np.random.RandomState(0)
        shared = schedule.order_key is not None or not schedule.shuffle
        orders = [draws.permutation(schedule.num_examples) for _ in range(1 if shared else count)]
        self._group = strategy.muster([single] * count, [cell] * count, size)
        self._orders = strategy.placed_orders(self._group, np.asarray(orders[0] if shared else orders, np.int32))
        self._steps = 1
        self._seconds: list[float] = []
        self.turn()  # compiles
        while (seconds := self.turn()) < LONG_ENOUGH / 2 and self._steps < most:
            self._steps = min(max(2 * self._steps, round(self._steps * LONG_ENOUGH / seconds)), most)
        self._seconds.clear()

    def turn(self) -> float:
        """Seconds of one more stretch."""
        before = time.perf_counter()
        self._group = self._strategy.timed(self._group, self._orders, self._steps)
        self._seconds.append(time.perf_counter() - before)
        return self._seconds[-1]

    def seconds_a_step(self) -> float:
        """In which the whole group advances a step, the drawing of orders aside."""
        return min(self._seconds) / self._steps * self._times
