"""The training step: one pure function from state and batch to state and metrics."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax

from jaxdl import checks
from jaxdl.training.averaging import Weight, ema, polyak, updated
from jaxdl.training.gradients import GradientRule, Metrics
from jaxdl.training.objective import Objective
from jaxdl.training.parallel import Layout
from jaxdl.training.state import Average, TrainState

PyTree = Any


class Moment(NamedTuple):
    """What a `measure` sees of one step: the values BEFORE the update, and the update about to be applied.

    Attributes:
      objective: the objective of the step.
      params, model_state: before the update.
      batch: the batch of this step.
      key: the key this step's objective was given; with `microbatches` or `max_example_norm`, the one from which the
        keys of the parts or examples were split.
      grads: gradient of the mean loss, the regularizer not included; with `max_example_norm`, the mean of the clipped
        gradients of the examples.
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
Guard = Literal["skip", "stop", "raise"]
GUARDS: tuple[Guard, ...] = get_args(Guard)


@dataclass(frozen=True, eq=False)
class TrainStep:
    """`step(state, batch) -> (state, metrics)`, pure; made by `make_train_step`. Hashable by identity.

    Attributes:
      objective: what is minimized.
      tx: the optax chain.
      regularizer: penalty of the parameters, or None.
      measure: what is measured beside the update, or None.
      measure_every: updates from one measurement to the next.
      average: weights of a running average, or None.
      microbatches: parts that a batch is taken in.
      max_example_norm: bound of each example's gradient, or None.
      guard: what happens at numbers that are not finite, or None.
    """

    objective: Objective
    tx: optax.GradientTransformation
    regularizer: Callable[[PyTree], jax.Array] | None = None
    measure: Measure | None = None
    measure_every: int = 1
    average: Weight | None = None
    microbatches: int = 1
    max_example_norm: float | None = None
    guard: Guard | None = None

    def __call__(self, state: TrainState, batch: PyTree, *, layout: Layout | None = None) -> tuple[TrainState, Metrics]:
        """The state after one update, and the metrics before it."""
        metrics, model_state, opt_state, moment = self._moment(state, batch, layout)
        if self.measure is not None and self.measure_every == 1:
            metrics["measure"] = self.measure(moment)
        elif self.measure is not None:
            metrics["measure"] = self._measured_sometimes(state, batch, layout)
        params: Any = optax.apply_updates(state.params, moment.updates)
        new = replace(
            state,
            step=state.step + 1,
            params=params,
            model_state=model_state,
            opt_state=opt_state,
            average=self._averaged(state, params, model_state),
        )
        return (new, metrics) if self.guard is None else self._guarded(state, new, moment, metrics)

    @cached_property
    def unmeasured(self) -> "TrainStep":
        """The same step without its measure."""
        return self if self.measure is None else replace(self, measure=None)

    def measured(self, state: TrainState, batch: PyTree, *, layout: Layout | None = None) -> PyTree:
        """What the measure says of a state about to see a batch."""
        assert self.measure is not None
        return self.measure(self._moment(state, batch, layout)[-1])

    def _moment(
        self, state: TrainState, batch: PyTree, layout: Layout | None
    ) -> tuple[Metrics, PyTree, PyTree, Moment]:
        """Metrics, the new model state and optimizer state, and what a measure sees."""
        key = jax.random.fold_in(state.key, state.step)
        rule = GradientRule(self.objective, self.microbatches, self.max_example_norm, layout)
        at_hand: Any = dict(batch=batch, model_state=state.model_state, key=key)
        loss, means, model_state, grads = rule.gradient(state.params, **at_hand)
        metrics: Metrics = {"loss": loss, **means}
        total, value = grads, loss
        if self.regularizer is not None:
            metrics["penalty"], penalty_grads = jax.value_and_grad(self.regularizer)(state.params)
            total = jax.tree.map(jnp.add, grads, penalty_grads)
            value = loss + metrics["penalty"]

        def value_fn(params: PyTree) -> jax.Array:
            loss = rule.value(params, **at_hand)
            return loss if self.regularizer is None else loss + self.regularizer(params)

        # Line searches, second-order methods and rules that follow the loss ask for these; others do not see them.
        update = optax.with_extra_args_support(self.tx).update
        updates, opt_state = update(total, state.opt_state, state.params, value=value, grad=total, value_fn=value_fn)
        moment = Moment(self.objective, state.params, state.model_state, batch, key, grads, updates)
        return metrics, model_state, opt_state, moment

    def _averaged(self, state: TrainState, params: PyTree, model_state: PyTree) -> Average | None:
        if self.average is None:
            if state.average is not None:
                raise ValueError(
                    "state: expected one without an average, since this step keeps none and `averaged` would go on "
                    "to return the old one; got one with it. Make the step by make_train_step(..., "
                    "average=ema(0.999)), or drop the average by dataclasses.replace(state, average=None)."
                )
            return None
        if state.average is None:
            raise ValueError(
                "state: expected one with room for the average that this step keeps; got one without. "
                "Make it by init_state(..., average=True) or make_state(..., average=True)."
            )
        return updated(state.average, params, model_state, self.average)

    def _guarded(
        self, state: TrainState, new: TrainState, moment: Moment, metrics: Metrics
    ) -> tuple[TrainState, Metrics]:
        """The new state, or the old one a step later where a number is not finite, or was once and the run stops."""
        finite = finite_entries((metrics["loss"], moment.grads, moment.updates))
        # A running statistic that was never finite, such as a largest value that starts at -inf, is no illness.
        finite &= finite_entries(new.model_state) | ~finite_entries(state.model_state)
        bad = jnp.where((state.bad_step < 0) & ~finite, state.step, state.bad_step).astype(jnp.int32)
        keep = ~finite if self.guard == "skip" else bad >= 0
        select = lambda old, fresh: jax.tree.map(partial(jnp.where, keep), old, fresh)  # noqa: E731
        new = replace(
            new,
            params=select(state.params, new.params),
            model_state=select(state.model_state, new.model_state),
            opt_state=select(state.opt_state, new.opt_state),
            average=select(state.average, new.average),
            bad_step=bad,
        )
        return new, {**metrics, "skipped": keep.astype(jnp.float32)}

    def _measured_sometimes(self, state: TrainState, batch: PyTree, layout: Layout | None) -> PyTree:
        # The branch takes gradient and update anew: handed in, they would have to be kept at every step, which costs
        # more than taking them twice at some. `fit` needs no branch, see engines.many_measured_steps.
        measured = partial(self.measured, state, batch, layout=layout)
        shapes = jax.eval_shape(measured)
        nothing = lambda: jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)  # noqa: E731
        return jax.lax.cond(state.step % self.measure_every == 0, measured, nothing)


def make_train_step(
    objective: Objective,
    tx: optax.GradientTransformation,
    *,
    regularizer: Callable[[PyTree], jax.Array] | None = None,
    measure: Measure | None = None,
    measure_every: int = 1,
    average: Weight | None = None,
    microbatches: int = 1,
    max_example_norm: float | None = None,
    guard: Guard | None = None,
) -> TrainStep:
    """Builds the pure step `step(state, batch) -> (state, metrics)`; jit, scan or vmap it as you like.

    Args:
      objective: see `jaxdl.training.objective`.
      tx: an optax chain. Its `update` is given `value`, `grad` and `value_fn` (loss and penalty of this batch) where
        it takes them, so `optimizers.lbfgs`, `optimizers.newton`, optax's line searches and `reduce_on_plateau` work.
      regularizer: `penalty(params) -> scalar`, added to the mean loss; reported as metric `penalty`.
      measure: any pure `measure(moment) -> pytree of arrays`, see `Moment`; reported as metric `measure`.
        `jaxdl.diagnostics.measure_gradient_flow` is one.
      measure_every: measure at the steps 0, K, 2K, ...; the step reports zeros between them, `fit` only what was
        measured.
      average: `ema(decay)` or `polyak(start=...)`: keep an average of the parameters and the model state, see
        `averaged`. The state needs room for it, `init_state(..., average=True)`; `fit` then also reports the
        validation metrics of the average, as `averaged_loss` and so on.
      microbatches: cut each batch into so many equal parts and take their gradients one after the other, for batches
        that do not fit into memory. The update is that of the whole batch; but batch normalization sees the parts,
        its running statistics move once a part, and each part has a key of its own.
      max_example_norm: scale the gradient g of every example by min(1, c / |g|) before the mean is taken; reported as
        metric `clipped`, the share of examples concerned. Every example is then a batch of its own, with a key of its
        own; the penalty is not clipped.
      guard: what to do, inside the compiled step, where the loss, its gradient, the update or a running statistic is
        not finite: `"skip"` leaves the state as it was, but for the step counter, and goes on with the next batch;
        `"stop"` and `"raise"` leave it so for good, and `fit` returns it, or raises `NotFiniteError` with it.
        `state.bad_step` keeps the first such step; metric `skipped` is 1 where nothing was updated.

    Returns:
      The step. Metrics are scalars: `loss`, the objective's metrics, `penalty`, `clipped`, `skipped`, and `measure`'s
      pytree.

    Raises:
      TypeError: an argument that is no function or no optax transformation.
      ValueError: `measure_every` or `microbatches` below 1, `max_example_norm` not positive, an unknown `guard`; when
        called, a batch that `microbatches` does not divide, no room for the average or one that the step does not keep,
        running statistics beside `max_example_norm`.
    """
    checks.objective(objective)
    checks.optimizer(tx)
    for name, value in (("regularizer", regularizer), ("measure", measure), ("average", average)):
        if value is not None and not callable(value):
            raise TypeError(f"{name}: expected a function; got {type(value).__name__}. See make_train_step's help.")
    for factory in (ema, polyak):
        if average is factory:
            raise TypeError(
                f"average: expected what {factory.__name__}(...) returns; got {factory.__name__} itself. "
                "Call it: average=ema(0.999), or average=polyak()."
            )
    checks.whole_number(measure_every=measure_every, minimum=1, remedy="Use 1 for every step.")
    checks.whole_number(microbatches=microbatches, minimum=1, remedy="1 takes the batch at once.")
    if max_example_norm is not None:
        checks.number(
            max_example_norm=max_example_norm, minimum=0, exclusive=True, remedy="It bounds the norm of a gradient."
        )
    if guard is not None:
        checks.one_of(guard=guard, among=GUARDS, remedy="None looks for bad numbers after the step alone.")
    return TrainStep(objective, tx, regularizer, measure, measure_every, average, microbatches, max_example_norm, guard)


def finite_entries(tree: PyTree) -> jax.Array:
    """Whether all floating-point numbers of a tree are finite, bool scalar."""
    floating = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    # x - x is 0 or NaN, and a sum of numbers is a faster loop than a conjunction of flags.
    sums = [jnp.sum(leaf - leaf, dtype=jnp.promote_types(leaf.dtype, jnp.float32)) for leaf in floating]
    return jnp.stack(sums).sum() == 0 if sums else jnp.bool_(True)
