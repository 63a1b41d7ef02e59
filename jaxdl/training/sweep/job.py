"""What all members have in common, and the pieces of which their states are put together."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Sharding

from jaxdl.training import programs
from jaxdl.training.early_stopping import EarlyStopping, best, stopped
from jaxdl.training.schedule import Schedule
from jaxdl.training.sources import Arrays, naming_shapes
from jaxdl.training.state import TrainState
from jaxdl.training.step import TrainStep
from jaxdl.training.sweep.cells import Cell, MadeObjective, MadeStep, with_cell

PyTree = Any


@dataclass(frozen=True)
class Job:
    """What all members have in common.

    Attributes:
      step: the step, or what makes it of a cell.
      example: the step of the first cell.
      data, validation: as given.
      schedule: that of every member.
      watch: that of the whole call.
      early_stopping: of every member for itself, or None.
    """

    step: TrainStep | MadeStep
    example: TrainStep
    data: PyTree
    validation: PyTree
    schedule: Schedule
    watch: programs.Stopwatch
    early_stopping: EarlyStopping | None = None

    @cached_property
    def batches(self) -> dict[str, int]:
        """Sizes that the engines are given."""
        return dict(batch_size=self.schedule.batch_size, steps_per_epoch=self.schedule.steps_per_epoch)

    def epoch_options(self, length: int) -> dict[str, Any]:
        """Static arguments of `member_programs.epoch_program` for a segment."""
        static = dict(num_examples=self.schedule.num_examples, shuffle=self.schedule.shuffle, length=length)
        return dict(step=self.step, static=tuple((self.batches | static).items()))

    @cached_property
    def evaluated(self) -> TrainStep:
        """The step whose objective is evaluated, on states as `evaluable` returns them."""
        return (
            self.step if isinstance(self.step, TrainStep) else replace(self.example, objective=MadeObjective(self.step))
        )

    def batch_outline(self) -> PyTree:
        """Shapes and dtypes of a batch."""
        return Arrays(self.data, None).outline(self.schedule.batch_size)

    def naming_shapes(self, argument: Literal["data", "validation"]) -> AbstractContextManager[None]:
        """While it is entered, an error about shapes says which data it is about."""
        return naming_shapes(Arrays(getattr(self, argument), None), self.schedule.batch_size, argument)

    def measure_structure(self, single: TrainState) -> Any:
        """The structure of one measurement, or None."""
        if self.example.measure is None:
            return None
        return jax.tree.structure(jax.eval_shape(self.example.measured, single, self.batch_outline()))

    def evaluable(self, states: TrainState, cells: Cell) -> TrainState:
        """The states, with the hyper-parameters that the objective is made of."""
        return states if isinstance(self.step, TrainStep) else with_cell(states, cells)


class Group(NamedTuple):
    """Members under way, in the form in which their strategy keeps them.

    Attributes:
      states: stacked, or a list.
      cells: their hyper-parameters, likewise.
      num_members: how many there are; copies that fill a device up come after them.
    """

    states: Any
    cells: Any
    num_members: int


def each_member(states: TrainState, fn: Callable[[Any], Any]) -> TrainState:
    """`fn` of every leaf that has a member axis: of all but the step counter."""
    return replace(jax.tree.map(fn, replace(states, step=())), step=states.step)


def one_of(states: TrainState, index: int) -> TrainState:
    """One of the states with a leading member axis, as it is."""
    return each_member(states, lambda leaf: leaf[index])


def stacked(singles: Sequence[TrainState]) -> TrainState:
    """States with a leading member axis; the step counter is the first one's."""
    together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(replace(single, step=()) for single in singles))
    return replace(together, step=jnp.copy(singles[0].step))


def abstract(leaf: Any, *, sharding: Sharding, leading: tuple[int, ...] = ()) -> jax.ShapeDtypeStruct:
    """A leaf as far as a compiler needs it, with so many more axes before its own.

    What is compiled for it is found again by arrays of that sharding.
    """
    return jax.ShapeDtypeStruct((*leading, *jnp.shape(leaf)), jnp.result_type(leaf), sharding=sharding)


def member(states: TrainState, index: int) -> TrainState:
    """The state of one member of `run_many`, as `fit` would have returned it.

    Of a member that early stopping has ended that is its best state, where it is kept. Under `guard="stop"` the step
    counter of a member has gone on; `bad_step` says where the others stand still.

    Args:
      states: the stacked states of `ManyRuns`.
      index: of the member; negative ones count from the end.

    Returns:
      A state without a member axis.

    Raises:
      IndexError: there is no such member.
    """
    count = states.key.shape[0]
    if not -count <= index < count:
        raise IndexError(f"index: expected a member from 0 to {count - 1}; got {index}. Count from 0.")
    alone = one_of(states, index)
    if alone.stopping is None or not stopped(alone):
        return alone
    keeps = alone.stopping.kept is not None and int(alone.stopping.best_step) >= 0
    return best(alone) if keeps else replace(alone, step=alone.stopping.stopped_at)
