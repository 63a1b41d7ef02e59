"""Seed ensembles and bagging: the members trained as one program."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxdl import tree
from jaxdl.procedures.ensemble_model import check_stacked
from jaxdl.procedures.ensembles import bootstrap_samples
from jaxdl.training import ManyRuns, TrainState, TrainStep, make_state, member, run_many

PyTree = Any


@dataclass(frozen=True)
class Ensemble:
    """What `train_ensemble` returns.

    Attributes:
      runs: of the members: their states, histories, timings.
      samples: `(members, examples)`, the bootstrap sample of each as indices into the data; None without bagging.
    """

    runs: ManyRuns
    samples: np.ndarray | None = None

    @property
    def num_members(self) -> int:
        """How many there are."""
        return len(self.runs.members)

    @cached_property
    def variables(self) -> dict[str, Any]:
        """The members' variables with a leading member axis, as `ensemble_model` takes them.

        Of a member that early stopping has ended they are the best ones, where these are kept.
        """
        states = [member(self.runs.states, i) for i in range(self.num_members)]
        each = [{"params": state.params, **state.model_state} for state in states]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)

    @property
    def state(self) -> TrainState:
        """A state of the `variables`, for `evaluate`; it has no optimizer."""
        return as_state(self.variables)


def as_state(variables: dict[str, Any]) -> TrainState:
    """A state around the variables of any model, for `jaxdl.training.evaluate`; it has no optimizer.

    Args:
      variables: `{"params": ..., **model_state}`, of one model or stacked ones of an `ensemble_model`.

    Returns:
      A `TrainState` at step 0.
    """
    rest = {name: value for name, value in variables.items() if name != "params"}
    return make_state(variables["params"], optax.identity(), key=jax.random.key(0), model_state=rest)


def take_members(variables: PyTree, indices: Sequence[int]) -> PyTree:
    """Some members of stacked variables, in that order.

    Args:
      variables: leaves `(members, ...)`.
      indices: which.

    Returns:
      Leaves `(len(indices), ...)`.

    Raises:
      ValueError: no index, one of no member, or variables that are not stacked.
    """
    count, listed = check_stacked(variables), list(indices)
    if not listed or min(listed) < -count or max(listed) >= count:
        raise ValueError(
            f"indices: expected at least one, each from 0 to {count - 1}; got {listed}. Count members from 0."
        )
    return jax.tree.map(lambda leaf: leaf[jnp.asarray(listed)], variables)


def train_ensemble(
    step: TrainStep,
    init: Callable[[jax.Array], TrainState],
    data: PyTree,
    *,
    seeds: Sequence[int] = range(5),
    bagging: bool = False,
    **options: Any,
) -> Ensemble:
    """Trains the members of an ensemble by one compiled program.

    The member of a seed is the run `fit(step, init(jax.random.key(seed)), data, ...)`; with bagging, that on
    `data[samples[i]]`, its own bootstrap sample, epochs and batches included: exactly so, since its batches are
    gathered through the sample.

    Args:
      step, init, data: as for `jaxdl.training.run_many`, for any model and objective.
      seeds: one a member: of its start and its order of the data. For members of one start and different orders pass
        `init=lambda key: dataclasses.replace(start, key=key)`.
      bagging: draw a bootstrap sample for each, `bootstrap_samples(seeds, len(data))`.
      options: the other arguments of `run_many`: epochs, batch_size, validation, early_stopping, folder, mode, ...

    Returns:
      The `Ensemble`. `ensemble_model(model, len(seeds))` with its `variables` predicts; `evaluate(objective, its state,
      data)` with the objective of that model is exact for every number of examples.

    Raises:
      ValueError: hyper-parameters, which make no ensemble of one kind; `samples` beside `bagging`; what `run_many`
        refuses.

    Example:
      >>> found = train_ensemble(step, init, digits.train, epochs=20, batch_size=32)  # doctest: +SKIP
      >>> together = supervised(ensemble_model(model, 5), softmax_cross_entropy, metrics={"accuracy": correct})
      ... # doctest: +SKIP
      >>> evaluate(together, found.state, digits.validation)  # doctest: +SKIP

    References:
      Hansen, Salamon, "Neural network ensembles", 1990; Breiman, "Bagging predictors", 1996; Lakshminarayanan, Pritzel,
      Blundell, "Deep ensembles", 2017 (random starts and orders do better than bagging there).
    """
    if options.get("hyperparameters") is not None:
        raise ValueError(
            "hyperparameters: expected none, since members of an ensemble differ by their seeds alone; got "
            f"{options['hyperparameters']!r}. Choose them first, by jaxdl.procedures.grid_search."
        )
    samples = options.pop("samples", None)
    if bagging:
        if samples is not None:
            raise ValueError("samples: expected None where bagging draws them; got some. Drop one of the two.")
        samples = bootstrap_samples(list(seeds), tree.num_examples(data))
    runs = run_many(step, init, data, seeds=seeds, samples=samples, **options)
    return Ensemble(runs, None if samples is None else np.asarray(samples))
