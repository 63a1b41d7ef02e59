"""Members one after the other by one and the same program; on several devices they take turns among these."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding

from jaxdl.training.driver import timed_evaluation
from jaxdl.training.early_stopping import EarlyStopping
from jaxdl.training.state import TrainState
from jaxdl.training.sweep import member_programs, memory
from jaxdl.training.sweep.cells import Cell
from jaxdl.training.sweep.job import Group, Job, abstract, stacked
from jaxdl.training.sweep.memory import Device

PyTree = Any


class OneByOne:
    """The strategy `map`. Nothing waits for a member, so that every device works."""

    mode = "map"

    def __init__(self, job: Job, devices: Sequence[Device]) -> None:
        self.job, self.devices = job, devices
        shared = (job.data, job.validation, job.schedule.order_key)
        self._shared = [jax.device_put(shared, device) for device in devices]
        self._options: dict[str, Any] = dict(side_by_side=False, mesh=None)

    def muster(self, singles: Sequence[TrainState], cells: Sequence[Cell], size: int) -> Group:
        """Copies of the states, each on its device."""
        pairs = zip(singles, cells, strict=True)
        placed = [jax.device_put(jax.tree.map(jnp.copy, pair), self._device(i)) for i, pair in enumerate(pairs)]
        return Group([state for state, _ in placed], [cell for _, cell in placed], len(singles))

    def advance(self, group: Group, length: int) -> tuple[Group, PyTree]:
        """`length` steps of every member; metrics have a leading member axis."""
        options = self.job.epoch_options(length) | self._options
        states, metrics = [], []
        for i, (state, cell) in enumerate(zip(group.states, group.cells, strict=True)):
            data, _, order_key = self._shared[i % len(self.devices)]
            arguments = (state, cell, data, order_key)
            call = self.job.watch.compiled(member_programs.epoch_program, *arguments, **options)
            state, found = call(*arguments)
            states.append(state)
            metrics.append(found)
        return group._replace(states=states), self._together(metrics)

    def evaluate(self, group: Group) -> dict[str, np.ndarray]:
        """Validation metrics `(members,)`."""
        job, values = self.job, []
        for i, (state, cell) in enumerate(zip(group.states, group.cells, strict=True)):
            _, validation, _ = self._shared[i % len(self.devices)]
            values.append(timed_evaluation(job.watch, job.evaluated, job.evaluable(state, cell), validation))
        return jax.tree.map(lambda *each: np.stack(each), *values)

    def observed(self, group: Group, early_stopping: EarlyStopping, values: np.ndarray) -> Group:
        """The group after early stopping has seen the metric of every member, `(members,)`."""
        states = [
            member_programs.observe_program(
                state, np.float32(value), early_stopping=early_stopping, side_by_side=False
            )
            for state, value in zip(group.states, values, strict=True)
        ]  # fmt: skip
        return group._replace(states=states)

    def stopped(self, group: Group) -> np.ndarray:
        """Which members early stopping has ended, bool `(members,)`."""
        return np.asarray([int(state.stopping.stopped_at) >= 0 for state in group.states])

    def gathered(self, group: Group) -> TrainState:
        """The states with a leading member axis, on the first device."""
        return stacked([jax.device_put(state, self.devices[0]) for state in group.states])

    def sample(self, size: int) -> tuple[int, int]:
        """How many members tell the speed of so many, and how many times theirs the time of all is."""
        at_once = min(size, len(self.devices))
        return at_once, -(-size // at_once)

    def placed_orders(self, group: Group, orders: np.ndarray) -> list[jax.Array]:
        """Orders `(examples,)` or `(members, examples)` as `timed` takes them."""
        rows = np.broadcast_to(orders, (group.num_members, orders.shape[-1]))
        return [jax.device_put(row, self._device(i)) for i, row in enumerate(rows)]

    def timed(self, group: Group, orders: Sequence[jax.Array], count: int) -> Group:
        """The group `count` steps on, in orders from `placed_orders`, once that is done."""
        states = []
        for i, (state, cell) in enumerate(zip(group.states, group.cells, strict=True)):
            data, _, _ = self._shared[i % len(self.devices)]
            state, _ = member_programs.timing_program(
                state, cell, data, orders[i], jnp.asarray(count, jnp.int32), step=self.job.step,
                own_orders=False, static=tuple(self.job.batches.items()), **self._options,
            )  # fmt: skip
            states.append(state)
        return group._replace(states=jax.block_until_ready(states))

    def bytes_needed(self, single: TrainState, cell: Cell, size: int, length: int) -> int | None:
        """Bytes on each device for a group of `size`, the data aside: the program's, and the states of the others."""
        data, _, order_key = self._shared[0]
        like = partial(abstract, sharding=SingleDeviceSharding(self.devices[0]))
        arguments = (jax.tree.map(like, single), jax.tree.map(like, cell), data, order_key)
        options = self.job.epoch_options(length) | self._options
        program = memory.program_bytes(self.job.watch, member_programs.epoch_program, *arguments, data=data, **options)
        others = -(-size // len(self.devices)) - 1
        return None if program is None else program + others * memory.tree_bytes(single)

    def _device(self, i: int) -> Device:
        return self.devices[i % len(self.devices)]

    def _together(self, trees: Sequence[PyTree]) -> PyTree:
        if len(self.devices) > 1:
            trees = [jax.device_put(tree, self.devices[0]) for tree in trees]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
