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
LONG_ENOUGH = 0.05  # seconds: what is shorter is not well timed


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

    plans = []
    for share in shares:
        for each in modes:
            strategy = STRATEGIES[each](job, share)
            size = sized(strategy)
            seconds = 0.0
            if mode == "auto":
                seconds = _seconds(strategy, single, cell, size, segment[1]) * -(-num_members // size)
            plans.append((seconds, Plan(strategy, size, {name_of(strategy): seconds})))
    timings = {name: seconds for _, plan in plans for name, seconds in plan.timings.items()} if mode == "auto" else {}
    return min(plans, key=lambda pair: pair[0])[1]._replace(timings=timings)


def _seconds(strategy: SideBySide | OneByOne, single: TrainState, cell: Cell, size: int, most: int) -> float:
    """Seconds in which a group of `size` advances a step, the drawing of orders aside; of at most so many steps."""
    schedule = strategy.job.schedule
    count, times = strategy.sample(size)
    draws = np.random.RandomState(0)
    shared = schedule.order_key is not None or not schedule.shuffle
    orders = [draws.permutation(schedule.num_examples) for _ in range(1 if shared else count)]
    rows = np.asarray(orders[0] if shared else orders, np.int32)
    group = strategy.timed(strategy.muster([single] * count, [cell] * count, size), rows, 1)  # compiles
    steps, seconds = 1, []
    while len(seconds) < 3:
        before = time.perf_counter()
        group = strategy.timed(group, rows, steps)
        seconds.append(time.perf_counter() - before)
        if seconds[-1] < LONG_ENOUGH and steps < most:
            steps, seconds = min(4 * steps, most), []
    return min(seconds) / steps * times
