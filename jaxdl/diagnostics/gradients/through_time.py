"""How gradients fare through the turns of a recurrence: the measurement."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from jaxdl.diagnostics.gradients import time_report
from jaxdl.diagnostics.reporting.stacked import Stackable
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds
from jaxdl.diagnostics.structure.applicability import NotApplicable
from jaxdl.diagnostics.structure.layers import find_structure, flat_inputs
from jaxdl.diagnostics.structure.preparation import as_objective, prepared
from jaxdl.diagnostics.structure.recurrences import Recurrence, find_recurrences
from jaxdl.jaxprs import Tap, Turns, evaluate_tapped, recorded_turns, run_body
from jaxdl.tree import norm

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PyTree = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GradientsThroughTime(Stackable):
    """Norms at every time step of each recurrence, in the order of its turns; a pytree of arrays.

    Attributes:
      gradient: for each recurrence `(..., steps)`, |dC/dh_t| of the mean loss C with respect to the state h_t after
        turn t, over all examples and all arrays of the state.
      log_growth: for each recurrence `(..., steps)`, the natural logarithm of |(dh_T/dh_t)^T u| for a random direction
        u of length 1: what the recurrence itself makes of a gradient, whatever the loss and what follows. 0 at the
        last step, -inf where nothing comes back.
      cells: names, the common path of each recurrence's parameters.
    """

    gradient: tuple[jax.Array, ...]
    log_growth: tuple[jax.Array, ...]
    cells: tuple[str, ...] = field(metadata={"static": True})

    def table(self) -> str:
        """For each recurrence a line a time step; of many steps some."""
        return time_report.table(self)

    def verdict(self, thresholds: Thresholds = DEFAULTS) -> str:
        """A sentence for each recurrence with its numbers: healthy, vanishing, exploding; the sick ones first."""
        return time_report.verdict(self, thresholds)

    def plot(self, path: Any = None, *, title: str | None = None) -> "Figure":
        """Draws growth and gradient over the time steps."""
        return time_report.plot(self, path, title=title)


def gradients_through_time(
    objective: Callable[..., Any],
    params: PyTree,
    batch: PyTree,
    *,
    model_state: PyTree | None = None,
    key: jax.Array | None = None,
    train: bool = True,
) -> GradientsThroughTime:
    """Measures, step by step, what becomes of a gradient on its way back through a recurrent network.

    For `h_t = f(h_{t-1}, x_t)` the gradient comes back as `dC/dh_t = (dh_T/dh_t)^T dC/dh_T + ...` with
    `dh_T/dh_t = A_T ... A_{t+1}`, `A_s = df/dh`: for `h_t = phi(h_{t-1} W + ...)` a product of `W diag(phi')`, which
    grows or shrinks as the power of a spectral radius. Recurrences are scans of the traced program in which weights
    meet the carried state: `nn.RNN`, `nn.scan`, `jax.lax.scan`, in whatever model. A loop written out in Python is
    a chain of layers, see `gradient_flow`. One forward and two backward passes.

    Args:
      objective: an objective such as `jaxdl.training.supervised(model, loss)`, or a plain
        `losses_fn(params, batch) -> (batch,)`.
      params: pytree of parameters, or a `TrainState`, which brings its `model_state` along.
      batch: what the objective takes, such as `(x, y)`; the leading axis is the examples'.
      model_state: the model's other collections, such as running statistics.
      key: for random layers and the direction u; `jax.random.key(0)` by default.
      train: whether the model runs in training mode.

    Returns:
      A `GradientsThroughTime`, float32.

    Raises:
      NotApplicable: the model has no recurrence.

    References:
      Hochreiter 1991; Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013.
    """
    return _measure(
        *prepared(objective, params, batch, model_state=model_state, key=key), objective=objective, train=train
    )


@partial(jax.jit, static_argnames=("objective", "train"))
def _measure(
    params: PyTree, batch: PyTree, model_state: PyTree, key: jax.Array, *, objective: Callable[..., Any], train: bool
) -> GradientsThroughTime:
    model_key, probe_key = jax.random.split(key)
    structure = find_structure(
        as_objective(objective), params, batch, model_state=model_state, key=model_key, train=train
    )
    recurrences = find_recurrences(structure)
    if not recurrences:
        raise NotApplicable(
            "objective: expected a model with a recurrence, a scan in which weights meet what it carries; got one "
            "without. A loop written out in Python is a chain of layers: use gradient_flow."
        )
    inputs = flat_inputs(params, batch)
    keys = jax.random.split(probe_key, len(recurrences))
    return GradientsThroughTime(
        gradient=_gradients(structure.jaxpr, inputs, recurrences),
        log_growth=tuple(
            _log_growth(recurrence, turns, own_key)
            for recurrence, turns, own_key in zip(
                recurrences, _turns(structure.jaxpr, inputs, recurrences), keys, strict=True
            )
        ),
        cells=tuple(recurrence.name for recurrence in recurrences),
    )


def _gradients(jaxpr: Any, inputs: list[Any], recurrences: list[Recurrence]) -> tuple[jax.Array, ...]:
    """Norms of dC/dh_t by adding a zero to every state at every turn: one backward pass for all of them."""

    def shifted(shifts: list[list[jax.Array]]) -> jax.Array:
        taps = []
        for recurrence, own in zip(recurrences, shifts, strict=True):
            for state, shift in zip(recurrence.states, own, strict=True):
                taps.append(Tap(state.where, partial(_shifted, state.output), shift))
        return evaluate_tapped(jaxpr, inputs, taps)[0][0]

    zeros = [[jnp.zeros((_length(r), *state.shape), state.dtype) for state in r.states] for r in recurrences]
    grads = jax.grad(shifted)(zeros)
    return tuple(_in_order(r, _joint(own)) for r, own in zip(recurrences, grads, strict=True))


def _shifted(output: int, _: Any, outputs: Any, shift: jax.Array) -> tuple[list[Any], tuple[()]]:
    return [value + shift if i == output else value for i, value in enumerate(outputs)], ()


def _turns(jaxpr: Any, inputs: list[Any], recurrences: list[Recurrence]) -> list[Turns]:
    def record(eqn: Any, arguments: Any, outputs: Any, _: Any) -> tuple[Any, Turns]:
        return outputs, recorded_turns(eqn, arguments)

    taps = [Tap(recurrence.scan.where, partial(record, recurrence.scan.eqn)) for recurrence in recurrences]
    return evaluate_tapped(jaxpr, inputs, taps)[1]


def _log_growth(recurrence: Recurrence, turns: Turns, key: jax.Array) -> jax.Array:
    """Logarithms, since products of many Jacobians leave the range of floating-point numbers."""
    eqn = recurrence.scan.eqn
    carried = recurrence.carried

    def back(direction: list[jax.Array], turn: tuple[list[Any], list[Any]]) -> tuple[list[jax.Array], jax.Array]:
        carry, x = turn

        def advance(states: list[jax.Array]) -> list[jax.Array]:
            moved = list(carry)
            for i, state in zip(carried, states, strict=True):
                moved[i] = state
            outputs = run_body(eqn, turns.consts, moved, x)
            return [outputs[i] for i in carried]

        _, pull = jax.vjp(advance, [carry[i] for i in carried])
        (before,) = pull(direction)
        length = _joint([leaf[None] for leaf in before])[0]
        return _scaled(before, length), jnp.log(length)

    keys = jax.random.split(key, len(carried))
    probe = [
        jax.random.normal(own_key, turns.carries[i].shape[1:], jnp.float32).astype(turns.carries[i].dtype)
        for own_key, i in zip(keys, carried, strict=True)
    ]
    probe = _scaled(probe, _joint([leaf[None] for leaf in probe])[0])
    backwards = not eqn.params["reverse"]
    _, factors = jax.lax.scan(back, probe, (turns.carries, turns.xs), reverse=backwards)
    # Entry t of the factors leads from after turn t to before it; the first turn's leads to the initial state.
    last_first = _in_order(recurrence, factors)[:0:-1]
    return jnp.concatenate([jnp.zeros(1), jnp.cumsum(last_first)])[::-1]


def _scaled(leaves: list[jax.Array], length: jax.Array) -> list[jax.Array]:
    unit = jnp.where(length > 0, length, 1)
    return [(leaf / unit.astype(leaf.dtype)).astype(leaf.dtype) for leaf in leaves]


def _joint(stacked: list[jax.Array]) -> jax.Array:
    """Norm of all arrays together, for each entry of their leading axis."""
    return norm(jnp.stack([norm(leaf.reshape(len(leaf), -1), axis=1) for leaf in stacked]), axis=0)


def _length(recurrence: Recurrence) -> int:
    return recurrence.scan.eqn.params["length"]


def _in_order(recurrence: Recurrence, values: jax.Array) -> jax.Array:
    return values[::-1] if recurrence.scan.eqn.params["reverse"] else values
