"""The training step: one pure function from state and batch to state and metrics."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxdl import checks
from jaxdl.losses import batch_mean
from jaxdl.training.objective import Aux, Objective
from jaxdl.training.state import TrainState

PyTree = Any
Metrics = dict[str, Any]


class Moment(NamedTuple):
    """What a `measure` sees of one step: the values BEFORE the update, and the update about to be applied.

    Attributes:
      objective: the objective of the step.
      params, model_state: before the update.
      batch: the batch of this step.
      key: the key this step's objective was given.
      grads: gradient of the mean loss, the regularizer not included.
      updates: what is added to `params`.
    """

    objective: Objective
    params: PyTree
    model_state: PyTree
    batch: PyTree
    key: jax.Array
    grads: PyTree
    updates: PyTree


Measure = Callable[[Moment], PyTree]


@dataclass(frozen=True, eq=False)
class TrainStep:
    """`step(state, batch) -> (state, metrics)`, pure; made by `make_train_step`. Hashable by identity."""

    objective: Objective
    tx: optax.GradientTransformation
    regularizer: Callable[[PyTree], jax.Array] | None = None
    measure: Measure | None = None
    measure_every: int = 1

    def __call__(self, state: TrainState, batch: PyTree) -> tuple[TrainState, Metrics]:
        """The state after one update, and the metrics before it."""
        metrics, model_state, opt_state, moment = self._moment(state, batch)
        if self.measure is not None and self.measure_every == 1:
            metrics["measure"] = self.measure(moment)
        elif self.measure is not None:
            metrics["measure"] = self._measured_sometimes(state, batch)
        return (
            replace(
                state,
                step=state.step + 1,
                params=optax.apply_updates(state.params, moment.updates),
                model_state=model_state,
                opt_state=opt_state,
            ),
            metrics,
        )

    @cached_property
    def unmeasured(self) -> "TrainStep":
        """The same step without its measure."""
        return self if self.measure is None else replace(self, measure=None)

    def measured(self, state: TrainState, batch: PyTree) -> PyTree:
        """What the measure says of a state about to see a batch."""
        assert self.measure is not None
        return self.measure(self._moment(state, batch)[-1])

    def _moment(self, state: TrainState, batch: PyTree) -> tuple[Metrics, PyTree, PyTree, Moment]:
        """Metrics, the new model state and optimizer state, and what a measure sees."""
        key = jax.random.fold_in(state.key, state.step)

        def mean_loss(params: PyTree) -> tuple[jax.Array, tuple[PyTree, Metrics]]:
            losses, aux = _checked(self.objective(params, batch, model_state=state.model_state, key=key, train=True))
            means = {name: jnp.mean(values) for name, values in aux.metrics.items()}
            return batch_mean(losses), (aux.model_state, means)

        (loss, (model_state, means)), grads = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
        metrics: Metrics = {"loss": loss, **means}
        total = grads
        if self.regularizer is not None:
            metrics["penalty"], penalty_grads = jax.value_and_grad(self.regularizer)(state.params)
            total = jax.tree.map(jnp.add, grads, penalty_grads)
        updates, opt_state = self.tx.update(total, state.opt_state, state.params)
        moment = Moment(self.objective, state.params, state.model_state, batch, key, grads, updates)
        return metrics, model_state, opt_state, moment

    def _measured_sometimes(self, state: TrainState, batch: PyTree) -> PyTree:
        # The branch takes gradient and update anew: handed in, they would have to be kept at every step, which costs
        # more than taking them twice at some. `fit` needs no branch, see engines.many_measured_steps.
        measured = partial(self.measured, state, batch)
        shapes = jax.eval_shape(measured)
        nothing = lambda: jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)  # noqa: E731
        return jax.lax.cond(state.step % self.measure_every == 0, measured, nothing)


def _checked(result: Any) -> tuple[jax.Array, Aux]:
    if not (isinstance(result, tuple) and len(result) == 2 and hasattr(result[1], "metrics")):
        raise TypeError(
            f"objective: expected (losses, Aux(model_state, metrics)) from it; got {type(result).__name__}. "
            "Return for example losses, jaxdl.training.Aux(model_state, {})."
        )
    taken = sorted({"loss", "penalty", "measure"} & set(result[1].metrics))
    if taken:
        raise ValueError(
            f"objective: expected metrics by other names than loss, penalty and measure; got {taken}. Rename them."
        )
    return result


def make_train_step(
    objective: Objective,
    tx: optax.GradientTransformation,
    *,
    regularizer: Callable[[PyTree], jax.Array] | None = None,
    measure: Measure | None = None,
    measure_every: int = 1,
) -> TrainStep:
    """Builds the pure step `step(state, batch) -> (state, metrics)`; jit, scan or vmap it as you like.

    Args:
      objective: see `jaxdl.training.objective`.
      tx: an optax chain.
      regularizer: `penalty(params) -> scalar`, added to the mean loss; reported as metric `penalty`.
      measure: any pure `measure(moment) -> pytree of arrays`, see `Moment`; reported as metric `measure`.
        `jaxdl.diagnostics.measure_gradient_flow` is one.
      measure_every: measure at the steps 0, K, 2K, ...; the step reports zeros between them, `fit` only what was
        measured.

    Returns:
      The step. Metrics are scalars: `loss`, the objective's metrics, `penalty`, and `measure`'s pytree.

    Raises:
      TypeError: an argument that is no function or no optax transformation.
      ValueError: `measure_every` below 1.
    """
    checks.objective(objective)
    checks.optimizer(tx)
    for name, value in (("regularizer", regularizer), ("measure", measure)):
        if value is not None and not callable(value):
            raise TypeError(f"{name}: expected a function; got {type(value).__name__}. See make_train_step's help.")
    checks.whole_number(measure_every=measure_every, minimum=1, remedy="Use 1 for every step.")
    return TrainStep(objective, tx, regularizer, measure, measure_every)
