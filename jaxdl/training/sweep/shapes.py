"""`run_shapes`: widths, depths and whatever else decides a shape, as a loop around `run_many`."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxdl.training.checkpoints import configuration
from jaxdl.training.fit import check_kinds
from jaxdl.training.sweep.cells import product_or_list
from jaxdl.training.sweep.many import run_many
from jaxdl.training.sweep.results import ManyRuns, Members, members_of

PyTree = Any
EXAMPLE = "Pass for example {'width': [32, 64], 'depth': [1, 2]}, or a list of mappings such as [{'width': 32}]."


@dataclass(frozen=True)
class ManyShapes(Members):
    """What `run_shapes` returns.

    Attributes:
      runs: the result of each shape.
      shapes: `{name: value}` of each.
      members: of all results: shape, hyper-parameters and seed.
    """

    runs: tuple[ManyRuns, ...]
    shapes: tuple[dict[str, Any], ...]
    members: tuple[dict[str, Any], ...]

    def _values(self) -> dict[str, np.ndarray]:
        parts = [run._values() for run in self.runs]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def run_shapes(
    build: Callable[..., tuple[Any, Any]],
    data: PyTree,
    *,
    shapes: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]],
    seeds: Sequence[int],
    folder: str | os.PathLike[str] | None = None,
    **options: Any,
) -> ManyShapes:
    """`run_many` once for every shape, as one result.

    Args:
      build: `build(**shape) -> (step, init)`, called once a shape: what `run_many` takes, functions of hyper-parameters
        included. What it returns for a shape again, if it remembers it, is not compiled again.
      data: as for `run_many`.
      shapes: lists of values by name, all combinations of which are run; or a list of mappings of the same names to
        values. Values may be anything: numbers of units, tuples of them, names of activations.
      seeds: as for `run_many`.
      folder: in which every shape has a folder of its own, `shape_0`, `shape_1`, ..., as for `run_many`.
      options: the other arguments of `run_many`, `hyperparameters` among them.

    Returns:
      The results, and `.rows()`, `.table(metric)`, `.paired(metric, a, b)`, `.to_csv(path)` of all members together.

    Raises:
      TypeError: `build` is no function, or does not return a pair.
      ValueError: shapes that are none, a hyper-parameter of the same name, or what `run_many` refuses.

    Example:
      >>> def build(width):  # doctest: +SKIP
      ...     model = jaxdl.models.MLP((width, 10))
      ...     step = make_train_step(supervised(model, softmax_cross_entropy), tx)
      ...     return step, lambda key: init_state(model, tx, x[:1], key=key)
      >>> found = run_shapes(build, (x, y), shapes={"width": [8, 32]}, seeds=range(5), epochs=3, batch_size=32,
      ...                    validation=held_out)  # doctest: +SKIP
      >>> print(found.paired("validation_loss", {"width": 8}, {"width": 32}).verdict())  # doctest: +SKIP
    """
    if not callable(build):
        raise TypeError(
            f"build: expected a function build(**shape) -> (step, init); got {type(build).__name__}. "
            "It is called once for every shape."
        )
    listed = product_or_list("shapes", shapes, example=EXAMPLE)
    hyperparameters = options.get("hyperparameters")
    given = hyperparameters if isinstance(hyperparameters, Mapping) else (hyperparameters or [{}])[0]
    both = sorted(set(listed[0]) & set(given))
    if both:
        raise ValueError(f"shapes: expected names that no hyper-parameter has; got {both} in both. Rename one.")
    check_kinds(folder=folder)
    config = configuration.plain(options.get("config"))
    runs = []
    for i, shape in enumerate(listed):
        built = build(**shape)
        if not (isinstance(built, tuple) and len(built) == 2):
            raise TypeError(
                f"build: expected a function that returns (step, init); it returned {type(built).__name__}. "
                "Return what run_many takes as its first two arguments."
            )
        if folder is not None:
            options |= {"folder": Path(folder) / f"shape_{i}", "config": {**config, "shape": repr(shape)}}
        runs.append(run_many(*built, data, seeds=seeds, **options))
    return ManyShapes(tuple(runs), tuple(listed), members_of(runs, listed))
