"""What share of the gradient flows through skip connections: the measurement."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.diagnostics.reporting.stacked import Stackable
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds
from jaxdl.diagnostics.signals import skip_report
from jaxdl.diagnostics.structure.applicability import NotApplicable
from jaxdl.diagnostics.structure.layers import find_structure, flat_inputs
from jaxdl.diagnostics.structure.preparation import as_objective, prepared
from jaxdl.diagnostics.structure.residuals import Residual, find_residuals
from jaxdl.jaxprs import Tap, Turns, evaluate_tapped, recorded_turns, scans_around
from jaxdl.tree import norm

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PyTree = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SkipShare(Stackable):
    """Norms of the two cotangents that arrive at the input x of each residual block `x + F(x)`, in forward order.

    Attributes:
      identity: `(..., blocks)`, |g| of the gradient g of the mean loss with respect to the block's output, which
        reaches x unchanged.
      branch: `(..., blocks)`, |F'(x)^T g|, what reaches x through the branch.
      blocks: names, the common path of the layers in the branch; with a number where a scan holds a stack of blocks.
    """

    identity: jax.Array
    branch: jax.Array
    blocks: tuple[str, ...] = field(metadata={"static": True})

    @property
    def share(self) -> jax.Array:
        """`(..., blocks)`, identity over the sum of both; NaN where nothing arrives."""
        return self.identity / (self.identity + self.branch)

    def table(self) -> str:
        """One line a block, in forward order, as text."""
        return skip_report.table(self)

    def verdict(self, thresholds: Thresholds = DEFAULTS) -> str:
        """A sentence with its numbers: healthy, or which blocks have an idle branch or drown their skip."""
        return skip_report.verdict(self, thresholds)

    def plot(self, path: Any = None, *, title: str | None = None) -> "Figure":
        """Draws the two shares of every block as one bar."""
        return skip_report.plot(self, path, title=title)


def skip_share(
    objective: Callable[..., Any],
    params: PyTree,
    batch: PyTree,
    *,
    model_state: PyTree | None = None,
    key: jax.Array | None = None,
    train: bool = True,
) -> SkipShare:
    """Measures how much of the gradient takes the skip connection of every residual block, and how much its branch.

    The derivative of `y = x + F(x)` is `I + F'`, so that of the gradient g at y there arrive g and `F'(x)^T g` at x.
    Residual blocks are the additions of the traced program in which one side is made from the other by layers with
    weights, in scans over stacked blocks, too; a shortcut with a weight of its own is none. Of branches side by side,
    `x + F(x) + G(x)`, the one that is added first is measured.

    Args:
      objective: an objective such as `jaxdl.training.supervised(model, loss)`, or a plain
        `losses_fn(params, batch) -> (batch,)`.
      params: pytree of parameters, or a `TrainState`, which brings its `model_state` along.
      batch: what the objective takes, such as `(x, y)`; the leading axis is the examples'.
      model_state: the model's other collections, such as running statistics.
      key: for random layers such as dropout; `jax.random.key(0)` by default.
      train: whether the model runs in training mode.

    Returns:
      A `SkipShare` with arrays `(blocks,)` float32.

    Raises:
      NotApplicable: the model has no residual addition.

    References:
      He, Zhang, Ren and Sun, "Identity mappings in deep residual networks", 2016, equation 5.
    """
    return _measure(
        *prepared(objective, params, batch, model_state=model_state, key=key), objective=objective, train=train
    )


@partial(jax.jit, static_argnames=("objective", "train"))
def _measure(
    params: PyTree, batch: PyTree, model_state: PyTree, key: jax.Array, *, objective: Callable[..., Any], train: bool
) -> SkipShare:
    structure = find_structure(as_objective(objective), params, batch, model_state=model_state, key=key, train=train)
    residuals = find_residuals(structure)
    if not residuals:
        raise NotApplicable(
            "objective: expected a model with residual blocks, additions x + F(x) of a value and what layers make of "
            "it; got one without. Use gradient_flow."
        )
    inputs = flat_inputs(params, batch)
    cotangents = _cotangents(structure.jaxpr, inputs, residuals)
    identity, branch, names = [], [], []
    for residual, cotangent in zip(residuals, cotangents, strict=True):
        through_branch = _through_branch(structure.jaxpr, inputs, residual, cotangent)
        identity.append(_by_block(cotangent, residual))
        branch.append(_by_block(through_branch, residual))
        stack = [cotangent.shape[axis] for axis, stacked in enumerate(residual.stacked) if stacked]
        names += [residual.name + "".join(f"[{i}]" for i in index) for index in np.ndindex(*stack)]
    return SkipShare(jnp.concatenate(identity), jnp.concatenate(branch), tuple(names))


def _cotangents(jaxpr: Any, inputs: list[Any], residuals: list[Residual]) -> list[jax.Array]:
    """Gradients of the mean loss with respect to all sums, in every turn: one backward pass."""

    def shifted(shifts: list[jax.Array]) -> jax.Array:
        add = lambda _, outputs, shift: ([outputs[0] + shift], ())  # noqa: E731
        taps = [Tap(residual.place, add, shift) for residual, shift in zip(residuals, shifts, strict=True)]
        return evaluate_tapped(jaxpr, inputs, taps)[0][0]

    read = [Tap(residual.place, lambda _, outputs, extra: (outputs, outputs[0])) for residual in residuals]
    shapes = jax.eval_shape(lambda: evaluate_tapped(jaxpr, inputs, read)[1])
    return jax.grad(shifted)([jnp.zeros(shape.shape, shape.dtype) for shape in shapes])


def _through_branch(jaxpr: Any, inputs: list[Any], residual: Residual, cotangent: jax.Array) -> jax.Array:
    """`F'(x)^T g`, in every turn of the scans around, from the values that enter the body there."""
    if not residual.scans:
        return _pulled(jaxpr, residual, inputs, cotangent)
    place, eqn = residual.scans[-1]
    record = Tap(place, lambda arguments, outputs, extra: (outputs, recorded_turns(eqn, arguments)))
    turns: Turns = evaluate_tapped(jaxpr, inputs, [record])[1][0]

    def one_scan(turns: Turns, cotangents: jax.Array) -> jax.Array:
        def one_turn(carry: list[Any], x: list[Any], cotangent: jax.Array) -> jax.Array:
            return _pulled(eqn.params["jaxpr"], residual, [*turns.consts, *carry, *x], cotangent)

        return jax.vmap(one_turn)(turns.carries, turns.xs, cotangents)

    for _ in scans_around(jaxpr, place):
        one_scan = jax.vmap(one_scan)
    return one_scan(turns, cotangent)


def _pulled(body: Any, residual: Residual, inputs: list[Any], cotangent: jax.Array) -> jax.Array:
    def branch(x: jax.Array) -> jax.Array:
        moved, taps = list(inputs), []
        if residual.origin is None:
            moved[residual.output] = x
        else:
            put = lambda _, outputs, x: ([*outputs[: residual.output], x, *outputs[residual.output + 1 :]], ())  # noqa: E731
            taps = [Tap(residual.origin, put, x)]
        read = Tap(residual.add, lambda arguments, outputs, extra: (outputs, arguments[residual.branch]))
        return evaluate_tapped(body, moved, [*taps, read])[1][-1]

    if residual.origin is None:
        x = inputs[residual.output]
    else:
        read = Tap(residual.origin, lambda _, outputs, extra: (outputs, outputs[residual.output]))
        x = evaluate_tapped(body, inputs, [read])[1][0]
    return jax.vjp(branch, x)[1](cotangent)[0]


def _by_block(cotangent: jax.Array, residual: Residual) -> jax.Array:
    """Norms `(blocks,)`: over all but the scans that hold a stack of blocks."""
    stacks = [axis for axis, stacked in enumerate(residual.stacked) if stacked]
    kept = jnp.moveaxis(cotangent, stacks, range(len(stacks)))
    blocks = int(np.prod(kept.shape[: len(stacks)]))
    return norm(kept.reshape(blocks, -1), axis=1)
