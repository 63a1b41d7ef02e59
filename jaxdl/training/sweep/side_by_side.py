"""All members in one call; on several devices each device has its share of them."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from jaxdl.training.driver import timed_evaluation
from jaxdl.training.early_stopping import EarlyStopping
from jaxdl.training.state import TrainState
from jaxdl.training.sweep import member_programs, memory
from jaxdl.training.sweep.cells import Cell
from jaxdl.training.sweep.job import Group, Job, abstract, each_member, stacked
from jaxdl.training.sweep.memory import Device

PyTree = Any


class SideBySide:
    """The strategy `vmap`. Copies of the last member fill up the last device."""

    mode = "vmap"

    def __init__(self, job: Job, devices: Sequence[Device]) -> None:
        self.job, self.devices = job, devices
        self._mesh = Mesh(np.array(devices), (member_programs.MEMBERS,)) if len(devices) > 1 else None
        self._everywhere: Sharding = SingleDeviceSharding(devices[0])
        self._spread: Sharding = self._everywhere
        if self._mesh is not None:
            self._everywhere = NamedSharding(self._mesh, PartitionSpec())
            self._spread = NamedSharding(self._mesh, PartitionSpec(member_programs.MEMBERS))
        self._data, self._validation, self._order_key = jax.device_put(
            (job.data, job.validation, job.schedule.order_key), self._everywhere
        )
        self._options = dict(side_by_side=True, mesh=self._mesh)

    def muster(self, singles: Sequence[TrainState], cells: Sequence[Cell], size: int) -> Group:
        """Stacked copies of the states, as many as `size`, so that groups share their program."""
        size += -size % len(self.devices)
        rows = [*range(len(singles)), *[-1] * (size - len(singles))]
        states = stacked([singles[i] for i in rows])
        values = {name: jnp.stack([cells[i][name] for i in rows]) for name in cells[0]}
        return Group(self._placed(states), jax.device_put(values, self._spread), len(singles))

    def advance(self, group: Group, length: int) -> tuple[Group, PyTree]:
        """`length` steps of every member in one call; metrics have a leading member axis."""
        options = self.job.epoch_options(length) | self._options
        arguments = (group.states, group.cells, self._data, self._order_key)
        states, metrics = self.job.watch.compiled(member_programs.epoch_program, *arguments, **options)(*arguments)
        return group._replace(states=states), self._without_copies(group, metrics)

    def evaluate(self, group: Group) -> dict[str, np.ndarray]:
        """Validation metrics `(members,)`."""
        states = self.job.evaluable(group.states, group.cells)
        values = timed_evaluation(self.job.watch, self.job.evaluated, states, self._validation, side_by_side=True)
        return self._without_copies(group, values)

    def observed(self, group: Group, early_stopping: EarlyStopping, values: np.ndarray) -> Group:
        """The group after early stopping has seen the metric of every member, `(members,)`."""
        states = member_programs.observe_program(
            group.states,
            jax.device_put(np.resize(np.float32(values), group.states.key.shape), self._spread),
            early_stopping=early_stopping,
            side_by_side=True,
        )
        return group._replace(states=self._placed(states))

    def stopped(self, group: Group) -> np.ndarray:
        """Which members early stopping has ended, bool `(members,)`."""
        return np.asarray(group.states.stopping.stopped_at)[: group.num_members] >= 0

    def gathered(self, group: Group) -> TrainState:
        """The states with a leading member axis."""
        return each_member(group.states, lambda leaf: leaf[: group.num_members])

    def sample(self, size: int) -> tuple[int, int]:
        """How many members tell the speed of so many, and how many times theirs the time of all is."""
        return size, 1

    def placed_orders(self, group: Group, orders: np.ndarray) -> jax.Array:
        """Orders `(examples,)` or `(members, examples)` as `timed` takes them."""
        if orders.ndim == 1:
            return jax.device_put(orders, self._everywhere)
        return jax.device_put(np.resize(orders, (group.states.key.shape[0], orders.shape[1])), self._spread)

    def timed(self, group: Group, orders: jax.Array, count: int) -> Group:
        """The group `count` steps on, in orders from `placed_orders`, once that is done."""
        states, _ = member_programs.timing_program(
            group.states, group.cells, self._data, orders, jnp.asarray(count, jnp.int32), step=self.job.step,
            own_orders=orders.ndim == 2, static=tuple(self.job.batches.items()), **self._options,
        )  # fmt: skip
        return group._replace(states=jax.block_until_ready(states))

    def bytes_needed(self, single: TrainState, cell: Cell, size: int, length: int) -> int | None:
        """Bytes on each device for a group of `size`, the data aside, by the compiled program's own account."""
        size += -size % len(self.devices)
        grown = partial(abstract, sharding=self._spread, leading=(size,))
        states = replace(each_member(single, grown), step=abstract(single.step, sharding=self._everywhere))
        arguments = (states, jax.tree.map(grown, cell), self._data, self._order_key)
        options = self.job.epoch_options(length) | self._options
        return memory.program_bytes(
            self.job.watch, member_programs.epoch_program, *arguments, data=self._data, **options
        )

    def _placed(self, states: TrainState) -> TrainState:
        return replace(
            jax.device_put(replace(states, step=()), self._spread), step=jax.device_put(states.step, self._everywhere)
        )

    def _without_copies(self, group: Group, tree: PyTree) -> PyTree:
        alone = group.states.key.shape[0] == group.num_members
        return tree if alone else jax.tree.map(lambda leaf: leaf[: group.num_members], tree)
