"""The lectures' claims as experiments: `python -m experiments` lists them, `python -m experiments NAME` runs one."""

import importlib

from experiments.claims import Experiment

NAMES = (
    "vanishing_gradient",
    "depth",
    "initialization",
    "activations",
    "normalization",
    "optimizers",
    "per_example",
    "signal",
    "saddle_points",
    "baselines",
    "representation",
    "permutation",
    "shifts",
    "backprop_cost",
    "regression",
    "overfitting",
    "ensembles",
    "deep_rescue",
    "row_by_row",
    "transfer",
    "distillation",
)


def find(name: str) -> Experiment:
    """The experiment of that name.

    Raises:
      ValueError: there is none.
    """
    if name not in NAMES:
        raise ValueError(f"NAME: expected one of {', '.join(NAMES)}; got {name!r}. Run without a name to list them.")
    return importlib.import_module(f"experiments.{name}").EXPERIMENT
