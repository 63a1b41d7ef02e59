"""What a run does: from which step to which, in which batches, evaluated when."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax

from jaxdl import checks
from jaxdl.training.state import TrainState, check_state
from jaxdl.training.step import TrainStep
from jaxdl.tree import num_examples

PyTree = Any


class Schedule(NamedTuple):
    """The steps of a run; checked once, by `make_schedule`."""

    first_step: int
    last_step: int
    steps_per_epoch: int
    num_examples: int
    batch_size: int
    shuffle: bool
    evaluate_every: int
    order_key: jax.Array | None
    total: str

    def begun_at(self, step: int) -> "Schedule":
        """The same run, begun with `step` updates done.

        Raises:
          ValueError: these are more than it has.
        """
        if self.last_step < step:
            raise ValueError(
                f"{self.total}: expected a total of at least the {step} steps this state has done; got "
                f"{self.last_step} steps. The total counts steps done before."
            )
        return self._replace(first_step=step)

    def segments(self, longest: int) -> Iterator[tuple[int, int]]:
        """`(start, length)` of stretches of steps that stay within an epoch and are no longer than `longest`."""
        start = self.first_step
        while start < self.last_step:
            end_of_epoch = (start // self.steps_per_epoch + 1) * self.steps_per_epoch
            length = min(end_of_epoch - start, longest, self.last_step - start)
            yield start, length
            start += length

    def evaluates_after(self, step: int) -> bool:
        """Whether validation is due with `step` updates done: every so many epochs, and at the end."""
        return step == self.last_step or self.ends_an_interval(step)

    def ends_an_interval(self, step: int) -> bool:
        """Whether `step` updates are a multiple of the epochs between two evaluations."""
        return step % (self.steps_per_epoch * self.evaluate_every) == 0


UNENDING = 2**31 - 1  # steps of an epoch of a stream that has none


def check_arguments(
    step: Any, state: Any, *, batch_size: Any, evaluate_every: Any, order_key: Any = None, epochs: Any, steps: Any
) -> None:
    """Raises TypeError or ValueError for arguments of a run that are wrong whatever the data."""
    if not isinstance(step, TrainStep):
        raise TypeError(
            f"step: expected what make_train_step(objective, tx) returns; got {type(step).__name__}. "
            "A step of your own is driven by your own jax.jit or jax.lax.scan."
        )
    check_state(state)
    checks.whole_number(batch_size=batch_size, minimum=1, remedy="Try 128.")
    checks.whole_number(evaluate_every=evaluate_every, minimum=1, remedy="Use 1 for every epoch.")
    if order_key is not None:
        checks.one_key(order_key, argument="order_key")
    if (epochs is None) == (steps is None):
        raise ValueError(f"epochs, steps: expected exactly one of them; got epochs={epochs}, steps={steps}. Drop one.")
    name, total = ("epochs", epochs) if steps is None else ("steps", steps)
    checks.whole_number(**{name: total}, minimum=0, remedy="It counts what shall be done in total.")


def scheduled(
    state: TrainState,
    *,
    num_examples: int,
    steps_per_epoch: int,
    epochs: int | None,
    steps: int | None,
    batch_size: int,
    evaluate_every: int,
    shuffle: bool,
    order_key: jax.Array | None,
) -> Schedule:
    """The steps of a run whose arguments are checked."""
    if steps is None and steps_per_epoch == UNENDING:
        raise ValueError(
            f"epochs: expected steps in their place, since this stream does not know its epochs; got epochs={epochs}. "
            "Pass steps=, or steps_per_epoch= beside epochs."
        )
    name, total = ("epochs", epochs) if steps is None else ("steps", steps)
    assert total is not None
    last_step = int(total) * (steps_per_epoch if steps is None else 1)
    schedule = Schedule(
        0, last_step, steps_per_epoch, num_examples, batch_size, shuffle, evaluate_every, order_key, name
    )  # fmt: skip
    return schedule.begun_at(int(state.step))


def make_schedule(
    step: TrainStep,
    state: TrainState,
    data: PyTree,
    validation: PyTree,
    *,
    epochs: int | None,
    steps: int | None,
    batch_size: int,
    evaluate_every: int,
    shuffle: bool,
    order_key: jax.Array | None,
) -> Schedule:
    """Checks the arguments of a run on arrays and works out its steps."""
    check_arguments(
        step, state, batch_size=batch_size, evaluate_every=evaluate_every, order_key=order_key, epochs=epochs,
        steps=steps,
    )  # fmt: skip
    count = num_examples(data)
    if validation is not None:
        num_examples(validation, argument="validation")  # now, not after an epoch of training
    check_batch_size(batch_size, count)
    return scheduled(
        state, num_examples=count, steps_per_epoch=count // batch_size, epochs=epochs, steps=steps,
        batch_size=batch_size, evaluate_every=evaluate_every, shuffle=shuffle, order_key=order_key,
    )  # fmt: skip


def check_batch_size(batch_size: int, count: int) -> None:
    """Raises ValueError unless there are as many examples."""
    if batch_size > count:
        raise ValueError(
            f"batch_size: expected at most the number of examples, {count}; got {batch_size}. Use a smaller batch."
        )
