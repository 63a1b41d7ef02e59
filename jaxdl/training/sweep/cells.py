"""Hyper-parameters as traced values: which cells there are, and the step and the start made of one."""

import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import checks
from jaxdl.training.objective import Aux
from jaxdl.training.state import TrainState
from jaxdl.training.step import TrainStep

PyTree = Any
Cell = dict[str, Any]
Grid = Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]]
EXAMPLE = "Pass for example {'learning_rate': [0.1, 0.3]}, or a list of mappings such as [{'learning_rate': 0.1}]."
TAKEN = ("train_", "validation_")  # what precedes the metrics in a row
SAMPLE = "sample of the data"  # a member's own examples travel beside its hyper-parameters, under no keyword's name


@dataclass(frozen=True)
class MadeStep:
    """The steps that a function makes of hyper-parameters. Compiled programs are found by that function."""

    make_step: Callable[..., TrainStep]

    def at(self, cell: Mapping[str, jax.Array]) -> TrainStep:
        """The step of a cell."""
        step = self.make_step(**{name: value for name, value in cell.items() if name != SAMPLE})
        if not isinstance(step, TrainStep):
            raise TypeError(
                "step: expected a function that returns what make_train_step(objective, tx) does; "
                f"it returned {type(step).__name__}. Return the step itself."
            )
        return step


@dataclass(frozen=True)
class MadeObjective:
    """The objective of a step that is made of hyper-parameters, which come beside the model state."""

    step: MadeStep

    def __call__(
        self, params: PyTree, batch: PyTree, *, model_state: PyTree, key: jax.Array | None, train: bool
    ) -> tuple[jax.Array, Aux]:
        """Losses of the objective at the cell."""
        model_state, cell = model_state
        return self.step.at(cell).objective(params, batch, model_state=model_state, key=key, train=train)


def with_cell(state: TrainState, cell: Mapping[str, jax.Array]) -> TrainState:
    """A state as `MadeObjective` reads it."""
    average = state.average
    if average is not None:
        average = replace(average, model_state=(average.model_state, cell))
    return replace(state, model_state=(state.model_state, cell), average=average)


def at_cell(step: TrainStep | MadeStep, cell: Mapping[str, jax.Array]) -> TrainStep:
    """The step itself, or the one made of the cell."""
    return step if isinstance(step, TrainStep) else step.at(cell)


def as_arrays(cell: Mapping[str, Any]) -> dict[str, jax.Array]:
    """The numbers as the traced programs are given them."""
    return {name: jnp.asarray(value, jnp.float32) for name, value in cell.items()}


def checked_samples(samples: Any, num_seeds: int, num_examples: int) -> np.ndarray:
    """The examples that the member of each seed trains on, `(seeds, size)` int32."""
    indices = np.asarray(samples)
    if (
        indices.ndim != 2
        or len(indices) != num_seeds
        or not indices.size
        or not np.issubdtype(indices.dtype, np.integer)
    ):
        raise ValueError(
            f"samples: expected indices of examples, whole numbers of shape ({num_seeds}, size), a row for each seed; "
            f"got shape {indices.shape}, dtype {indices.dtype}. Draw them by jaxdl.procedures.bootstrap_samples."
        )
    if indices.min() < 0 or indices.max() >= num_examples:
        raise ValueError(
            f"samples: expected indices from 0 to {num_examples - 1}; got {indices.min()} to {indices.max()}. "
            "They count the examples of the data."
        )
    return indices.astype(np.int32)


def product_or_list(
    argument: str, grid: Any, *, example: str, checked: Callable[[str, Any], Any] | None = None
) -> list[Cell]:
    """The cells of a mapping of names to values (all combinations), or of a list of mappings (as they stand).

    Args:
      argument: its name in messages.
      grid: what came.
      example: the remedy in messages.
      checked: `checked(name, value)` returns the value to keep, or raises.

    Raises:
      TypeError: neither a mapping nor a list of mappings, a name that is no string, values that are no list.
      ValueError: nothing in it, a name that is taken, names that differ, or the same cell twice.
    """
    if isinstance(grid, Mapping):
        values = {name: _listed(argument, name, each, example) for name, each in grid.items()}
        cells = [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]
    elif isinstance(grid, (list, tuple)) and all(isinstance(cell, Mapping) for cell in grid):
        cells = [dict(cell) for cell in grid]
    else:
        raise TypeError(
            f"{argument}: expected a mapping of names to lists, or a list of mappings; got {type(grid).__name__}. "
            f"{example}"
        )
    if not cells or not cells[0]:
        raise ValueError(f"{argument}: expected at least one name with at least one value; got {grid!r}. {example}")
    for cell in cells:
        if cell.keys() != cells[0].keys():
            raise ValueError(
                f"{argument}: expected the same names in every cell; got {sorted(cells[0])} and {sorted(cell)}. "
                "Give every cell a value for each name."
            )
    for name in cells[0]:
        _check_name(argument, name)
    cells = [{name: checked(name, value) if checked else value for name, value in cell.items()} for cell in cells]
    for i, cell in enumerate(cells):
        if cell in cells[:i]:
            raise ValueError(
                f"{argument}: expected each cell once; got {cell} twice. Drop one: seeds make the repeats."
            )
    return cells


def numeric_cells(hyperparameters: Any) -> list[Cell]:
    """The cells of `hyperparameters`, Python numbers that are finite as float32 too."""
    return product_or_list("hyperparameters", hyperparameters, example=EXAMPLE, checked=_checked_number)


def check_make_step(step: Any, cells: Sequence[Cell]) -> tuple[MadeStep, TrainStep]:
    """The step as a function of the hyper-parameters, and the one of the first cell.

    It is made of every cell once, so that a value out of its domain is noticed here; traced, it would not be.
    """
    if isinstance(step, TrainStep):
        raise TypeError(
            "step: expected, with hyperparameters, a function make_step(**cell) -> TrainStep; got a TrainStep. "
            "Wrap what builds it: def make_step(learning_rate): return make_train_step(objective, sgd(learning_rate))."
        )
    checks.compiled_function(step=step, remedy="Pass make_step(**cell) -> TrainStep.")
    names = ", ".join(cells[0])
    _check_call(
        step, (), cells[0],
        f"step: expected a function that takes the hyper-parameters {names} by name; got {{}}. "
        "Rename its arguments, or the hyper-parameters.",
    )  # fmt: skip
    made = MadeStep(step)
    return made, [made.at(as_arrays(cell)) for cell in cells][0]  # noqa: RUF015


def check_init(init: Any, cells: Sequence[Cell]) -> None:
    """Raises TypeError unless `init` can be called with a key and the hyper-parameters."""
    names = ", ".join(cells[0])
    _check_call(
        init, (None,), cells[0],
        f"init: expected, with hyperparameters, a function of a key and, by name, {names}; got {{}}. "
        "Write def init(key, **cell): return init_state(model, make_step(**cell).tx, x[:1], key=key).",
    )  # fmt: skip


def _check_call(fn: Any, positional: tuple[Any, ...], cell: Cell, message: str) -> None:
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):
        return  # nothing is known of it before it is called
    try:
        signature.bind(*positional, **cell)
    except TypeError:
        raise TypeError(message.format(f"{getattr(fn, '__name__', type(fn).__name__)}{signature}")) from None


def _listed(argument: str, name: Any, values: Any, example: str) -> list[Any]:
    is_array = isinstance(values, (np.ndarray, jax.Array)) and values.ndim == 1
    if not is_array and (isinstance(values, (str, bytes)) or not isinstance(values, Sequence)):
        raise TypeError(f"{argument}[{name!r}]: expected a list of values; got {values!r}. {example}")
    return list(values)


def _check_name(argument: str, name: Any) -> None:
    if not isinstance(name, str):
        raise TypeError(
            f"{argument}: expected names that are strings; got {name!r}. Use those of make_step's arguments."
        )
    if name == "seed" or name.startswith(TAKEN):
        raise ValueError(
            f"{argument}: expected names other than 'seed' and those that begin with {' or '.join(map(repr, TAKEN))}, "
            f"which the rows have besides; got {name!r}. Rename it."
        )


def _checked_number(name: str, given: Any) -> float:
    is_scalar = isinstance(given, (np.ndarray, np.generic, jax.Array)) and np.ndim(given) == 0
    value: Any = np.asarray(given).item() if is_scalar else given
    is_number = not isinstance(value, bool) and isinstance(value, (int, float))
    if not is_number or not np.isfinite(_as_float32(value)):
        raise ValueError(
            f"hyperparameters[{name!r}]: expected finite numbers, in float32 too; got {value!r}. "
            "What is no number, such as a width, goes through run_shapes."
        )
    return value


def _as_float32(value: float) -> np.float32:
    with np.errstate(over="ignore"):
        return np.float32(value) if abs(value) < 1e300 else np.float32(np.inf)  # a whole number may be larger still
