"""Hyper-parameters chosen on validation data: all combinations, or random draws, as one program for each shape."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxdl import checks
from jaxdl.data import Splits
from jaxdl.procedures.distributions import Distribution
from jaxdl.procedures.search_result import Search, ranked_cells
from jaxdl.training import ManyRuns, ManyShapes, TrainState, TrainStep, run_many, run_shapes
from jaxdl.training.driver import metric_names
from jaxdl.training.sweep.cells import as_arrays, numeric_cells, product_or_list
from jaxdl.training.sweep.shapes import EXAMPLE

PyTree = Any
Values = Mapping[str, Sequence[Any]]
Cells = Sequence[Mapping[str, Any]]


def grid_search(
    make_step: Callable[..., TrainStep],
    init: Callable[..., TrainState],
    train: PyTree,
    validation: PyTree,
    *,
    hyperparameters: Values | Cells | None = None,
    shapes: Values | Cells | None = None,
    seeds: Sequence[int],
    metric: str = "loss",
    maximize: bool = False,
    fresh_seeds: Sequence[int] | None = None,
    **options: Any,
) -> Search:
    """Trains every combination with every seed, and ranks the combinations by the mean of a validation metric.

    The cells of one shape are one compiled program. The test split has no part in it, and cannot have.

    Args:
      make_step: `make_step(**cell) -> TrainStep`, as for `run_many`: hyper-parameters are traced numbers, shapes the
        values themselves.
      init: `init(key, **cell) -> TrainState`, likewise.
      train: what is fitted, such as `splits.train`.
      validation: what decides, such as `splits.validation`.
      hyperparameters: lists of numbers by name, or a list of cells: rates, strengths, momenta.
      shapes: lists of values by name, or a list of mappings: widths, depths, activations. At least one of the two.
      seeds: of every cell; several, or the choice is one of seeds.
      metric: of the validation data: "loss", or a metric of the objective.
      maximize: True for an accuracy.
      fresh_seeds: with these the chosen cell is run again. The best of many cells owes its place to luck as well as to
        merit (the winner's curse), so its figure in the search is too good; that of fresh seeds is not, as far as the
        luck is that of seeds.
      options: the other arguments of `run_many`: epochs, batch_size, evaluate_every, early_stopping, mode, folder, ...

    Returns:
      The `Search`: its `best` cell, `table()`, intervals, `optimism`. By `early_stopping` a cell is judged at its best
      evaluation.

    Raises:
      TypeError: all splits at once; functions that are none.
      ValueError: no cell, fresh seeds among the seeds, an unknown metric, what `run_many` refuses.

    Example:
      >>> found = grid_search(make_step, init, splits.train, splits.validation, seeds=range(3), epochs=5,
      ...     batch_size=32, hyperparameters={"learning_rate": [0.01, 0.1]}, shapes={"width": [30, 100]},
      ...     fresh_seeds=range(100, 105))  # doctest: +SKIP
      >>> print(found.table(), found.verdict())  # doctest: +SKIP
    """
    if hyperparameters is None and shapes is None:
        raise ValueError(
            "hyperparameters, shapes: expected at least one of them; got None for both. "
            "Pass for example hyperparameters={'learning_rate': [0.1, 0.3]}."
        )
    search = _Search(make_step, init, train, validation, metric, options)
    check_fresh(seeds, fresh_seeds)
    forms = [{}] if shapes is None else product_or_list("shapes", shapes, example=EXAMPLE)
    numbers = [{}] if hyperparameters is None else numeric_cells(hyperparameters)
    search.check_metric(forms[0], numbers[0])
    return search.result(search.run(seeds, hyperparameters, shapes), maximize, fresh_seeds, list(forms[0]))


def random_search(
    make_step: Callable[..., TrainStep],
    init: Callable[..., TrainState],
    train: PyTree,
    validation: PyTree,
    *,
    key: jax.Array,
    num_cells: int,
    hyperparameters: Mapping[str, Distribution] | None = None,
    shapes: Mapping[str, Distribution] | None = None,
    seeds: Sequence[int],
    metric: str = "loss",
    maximize: bool = False,
    fresh_seeds: Sequence[int] | None = None,
    **options: Any,
) -> Search:
    """`grid_search` over cells that are drawn at random.

    Where few of many hyper-parameters matter, draws try more values of each than a grid of the same size.

    Args:
      make_step, init, train, validation, seeds, metric, maximize, fresh_seeds, options: as for `grid_search`.
      key: typed key, of the draws alone.
      num_cells: how many cells are drawn.
      hyperparameters: by name, `LogUniform(1e-4, 1.0)`, `Uniform(0.0, 0.9)` or `Choice((0.0, 0.5))`, of numbers.
      shapes: likewise, of what decides a shape, such as `Choice((16, 32, 64))`. The cells of one combination of shapes
        are one program; every combination that is drawn has to be compiled.

    Returns:
      The `Search`. A cell that is drawn twice, as choices can be, is run once.

    Raises:
      TypeError: what `grid_search` refuses; a `key` that is none; something that is no distribution.
      ValueError: what `grid_search` refuses; `num_cells` below 1.

    References:
      Bergstra, Bengio, "Random search for hyper-parameter optimization", 2012.
    """
    checks.one_key(key)
    checks.whole_number(num_cells=num_cells, minimum=1, remedy="Try 20.")
    numbers, forms = dict(hyperparameters or {}), dict(shapes or {})
    both = sorted(set(numbers) & set(forms))
    if both or (not numbers and not forms):
        raise ValueError(
            f"hyperparameters, shapes: expected at least one name in all, each in one of them; got {both} in both of "
            f"{sorted(numbers)} and {sorted(forms)}. Pass for example hyperparameters={{'learning_rate': "
            "LogUniform(1e-4, 1.0)}."
        )
    for name, each in (numbers | forms).items():
        if not hasattr(each, "sample"):
            raise TypeError(
                f"{name}: expected a distribution; got {type(each).__name__}. "
                "Pass jaxdl.procedures.LogUniform(1e-4, 1.0), Uniform(0.0, 1.0) or Choice([...])."
            )
    search = _Search(make_step, init, train, validation, metric, options)
    check_fresh(seeds, fresh_seeds)
    names = [*forms, *numbers]
    keys = jax.random.split(key, len(names))
    columns = [(forms | numbers)[name].sample(keys[i], num_cells) for i, name in enumerate(names)]
    cells: list[dict[str, Any]] = []
    for drawn in zip(*columns, strict=True):
        cell = dict(zip(names, drawn, strict=True))
        if cell not in cells:
            cells.append(cell)
    shape = {name: value for name, value in cells[0].items() if name in forms}
    search.check_metric(shape, {name: cells[0][name] for name in numbers})
    return search.result(search.run_cells(seeds, cells, list(forms)), maximize, fresh_seeds, list(forms))


def check_fresh(seeds: Sequence[int], fresh_seeds: Sequence[int] | None) -> None:
    """Raises ValueError for fresh seeds that had a part in the choice."""
    shared = sorted(set(seeds) & set(fresh_seeds or ())) if not isinstance(seeds, int) else []
    if shared:
        raise ValueError(
            f"fresh_seeds: expected seeds that have no part in the choice; got {shared} among both. "
            "Pass for example range(1000, 1005)."
        )


class _Search:
    """The runs of a search; steps and starts of a shape are made once, so that its program is compiled once."""

    def __init__(
        self, make_step: Any, init: Any, train: PyTree, validation: PyTree, metric: str, options: dict[str, Any]
    ) -> None:
        for name, data in (("train", train), ("validation", validation)):
            if isinstance(data, Splits):
                raise TypeError(
                    f"{name}: expected one part of the data; got Splits, whose test part no search may see. "
                    "Pass splits.train, splits.validation."
                )
        if validation is None:
            raise ValueError("validation: expected the data that decide; got None. Pass splits.validation.")
        for name, fn in (("make_step", make_step), ("init", init)):
            if not callable(fn) or isinstance(fn, TrainStep):
                raise TypeError(
                    f"{name}: expected a function of hyper-parameters; got {type(fn).__name__}. "
                    "Write def make_step(learning_rate): return make_train_step(objective, optax.sgd(learning_rate))."
                )
        self._make_step, self._init, self._options, self._metric = make_step, init, options, metric
        self._train, self._validation = jax.device_put((train, validation))
        self._built: list[tuple[dict[str, Any], bool, tuple[Any, Any]]] = []

    def check_metric(self, shape: dict[str, Any], numbers: dict[str, Any]) -> None:
        """Raises ValueError for a metric that there is not; now, not after all has been trained."""
        try:
            cell = {**shape, **as_arrays(numbers)}
            step, state = (
                self._make_step(**cell),
                jax.eval_shape(lambda key: self._init(key, **cell), jax.random.key(0)),
            )
        except TypeError:
            return  # functions of other names, of which run_many says more
        if isinstance(step, TrainStep) and isinstance(state, TrainState):
            checks.one_of(
                metric=self._metric, among=sorted(metric_names(step, state, self._validation)),
                remedy="Name one of these, or add it to the objective.",
            )  # fmt: skip

    def run(self, seeds: Sequence[int], hyperparameters: Any, shapes: Any, folder: str = "") -> ManyRuns | ManyShapes:
        """All combinations."""
        options = {**self._options, "validation": self._validation, "hyperparameters": hyperparameters}
        if options.get("folder") is not None:
            options["folder"] = Path(os.fspath(options["folder"])) / folder
        if shapes is None:
            return run_many(self._make_step, self._init, self._train, seeds=seeds, **options)
        build = lambda **shape: self._build(shape, hyperparameters is not None)  # noqa: E731
        return run_shapes(build, self._train, shapes=shapes, seeds=seeds, **options)

    def run_cells(
        self, seeds: Sequence[int], cells: Sequence[dict[str, Any]], names: Sequence[str], folder: str = ""
    ) -> ManyRuns | ManyShapes:
        """Some cells, the shapes among their names one after the other."""
        shapes: list[dict[str, Any]] = []
        for cell in cells:
            shape = {name: cell[name] for name in names}
            if shape not in shapes:
                shapes.append(shape)
        parts = []
        for i, shape in enumerate(shapes):
            alike = [cell for cell in cells if all(cell[name] == value for name, value in shape.items())]
            numbers = [{name: value for name, value in cell.items() if name not in shape} for cell in alike]
            place = folder if len(shapes) == 1 else str(Path(folder) / f"shapes_{i}")
            parts.append(self.run(seeds, numbers if numbers[0] else None, [shape] if shape else None, place))
        if len(parts) == 1:
            return parts[0]
        members = tuple(member for part in parts for member in part.members)
        return ManyShapes(tuple(run for part in parts for run in part.runs), tuple(shapes), members)

    def result(
        self, runs: ManyRuns | ManyShapes, maximize: bool, fresh_seeds: Sequence[int] | None, names: Sequence[str]
    ) -> Search:
        """The ranking, and the winner once more with fresh seeds."""
        values = runs.values(f"validation_{self._metric}").reshape(len(runs.arms), -1)
        fresh = None
        if fresh_seeds is not None:
            chosen = runs.arms[ranked_cells(values, maximize=maximize)[0]]
            fresh = self.run_cells(fresh_seeds, [chosen], names, "fresh")
        return Search(runs, self._metric, maximize, np.asarray(values), fresh)

    def _build(self, shape: dict[str, Any], numbers: bool) -> tuple[Any, Any]:
        for known, with_numbers, built in self._built:
            if known == shape and with_numbers == numbers:
                return built
        step = partial(self._make_step, **shape)
        self._built.append((shape, numbers, (step if numbers else step(), partial(self._init, **shape))))
        return self._built[-1][2]
