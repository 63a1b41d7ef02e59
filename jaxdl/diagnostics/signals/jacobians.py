"""Singular values of the Jacobians from layer to layer and from end to end: the measurement."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from jaxdl import checks
from jaxdl.diagnostics.reporting.stacked import Stackable
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds
from jaxdl.diagnostics.signals import jacobian_report
from jaxdl.diagnostics.signals.singular_values import singular_values
from jaxdl.diagnostics.structure.chains import LayerMap, layer_maps
from jaxdl.diagnostics.structure.layers import Structure, find_structure, flat_inputs
from jaxdl.diagnostics.structure.preparation import as_objective, prepared
from jaxdl.jaxprs import Tap, evaluate_tapped
from jaxdl.tree import num_examples

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PyTree = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class JacobianSpectrum(Stackable):
    """Singular values of the Jacobian J of every map, example by example; the last map is the whole network.

    Attributes:
      mean: `(..., maps, examples)`, the mean singular value; NaN where there is no such map.
      largest, smallest: `(..., maps, examples)`; of a wide map the smallest is an upper bound.
      gain: `(..., maps, examples)`, `|J|_F / sqrt(outputs)`: by how much independent errors in the source's entries
        grow in an entry of the target, and on average (root mean square) the norm of a gradient on the way back.
      sources, targets: names of the layers at both ends, "input" for the network's input, "-" for none.
      exact: whether all singular values were taken, or estimates.
      reasons: why a map is missing; empty where it is not.
    """

    mean: jax.Array
    largest: jax.Array
    smallest: jax.Array
    gain: jax.Array
    sources: tuple[str, ...] = field(metadata={"static": True})
    targets: tuple[str, ...] = field(metadata={"static": True})
    exact: tuple[bool, ...] = field(metadata={"static": True})
    reasons: tuple[str, ...] = field(metadata={"static": True})

    def table(self) -> str:
        """One line a map, in forward order, means over the examples; the whole network last."""
        return jacobian_report.table(self)

    def verdict(self, thresholds: Thresholds = DEFAULTS) -> str:
        """A sentence with its numbers: isometric, healthy, vanishing, exploding or not finite, and where."""
        return jacobian_report.verdict(self, thresholds)

    def plot(self, path: Any = None, *, title: str | None = None) -> "Figure":
        """Draws mean and range of the singular values over the maps."""
        return jacobian_report.plot(self, path, title=title)


def jacobian_spectrum(
    objective: Callable[..., Any],
    params: PyTree,
    batch: PyTree,
    *,
    model_state: PyTree | None = None,
    key: jax.Array | None = None,
    train: bool = False,
    max_examples: int = 8,
    exact_up_to: int = 256,
    num_probes: int = 4,
    num_lanczos: int = 24,
) -> JacobianSpectrum:
    """Measures how every layer, and the network as a whole, stretches and shrinks: dynamical isometry.

    `J = dz^l / dz^k` with z the outputs of two matrix layers before the activation; for a chain `k = l - 1` and
    `J = W^T diag(phi'(z^k))` in the convention `z^l = phi(z^k) W`. Where a skip connection passes layers by, k is the
    last layer before l that all paths come through. The traced program is shifted at k and read at l, so that any
    model will do, unedited. Each example is run alone.

    Where the smaller side of J has at most `exact_up_to` entries all singular values are taken, else they are
    estimated by stochastic Lanczos quadrature: the mean within some per cent, the largest closely from below.

    Args:
      objective: an objective such as `jaxdl.training.supervised(model, loss)`, or a plain
        `losses_fn(params, batch) -> (batch,)`.
      params: pytree of parameters, or a `TrainState`, which brings its `model_state` along.
      batch: what the objective takes, such as `(x, y)`; the leading axis is the examples'.
      model_state: the model's other collections, such as running statistics.
      key: for random layers and probes; `jax.random.key(0)` by default.
      train: whether the model runs in training mode; not by default, since batch statistics of one example are none.
      max_examples: of the batch, the first so many are measured.
      exact_up_to: see above.
      num_probes: random vectors an estimate is the mean of.
      num_lanczos: products with `J^T J` for each of them.

    Returns:
      A `JacobianSpectrum` with arrays `(maps, examples)` float32.

    Raises:
      ValueError: `train=True` for a model with running statistics; a number below 1; no layer that meets the batch.

    References:
      Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear neural
      networks", 2014; Pennington, Schoenholz and Ganguli, "Resurrecting the sigmoid", 2017; for the estimates Ubaru,
      Chen and Saad, "Fast estimation of tr(f(A)) via stochastic Lanczos quadrature", 2017.

    Example:
      >>> spectrum = jacobian_spectrum(lambda w, x: (x @ w).sum(-1), 3 * jnp.eye(2), jnp.ones((5, 2)))
      >>> float(spectrum.mean[-1, 0])
      3.0
    """
    for name, value in dict(
        max_examples=max_examples, exact_up_to=exact_up_to, num_probes=num_probes, num_lanczos=num_lanczos
    ).items():
        checks.whole_number(minimum=1, remedy="The default is large enough for most models.", **{name: value})
    ready = prepared(objective, params, batch, model_state=model_state, key=key)
    if train and jax.tree.leaves(ready.model_state):
        raise ValueError(
            f"train: expected False for a model that keeps state ({', '.join(ready.model_state)}), since each example "
            "is run alone and has no batch statistics; got True. Leave train out."
        )
    return _measure(
        *ready, objective=objective, train=train, max_examples=max_examples, exact_up_to=exact_up_to,
        num_probes=num_probes, num_lanczos=num_lanczos,
    )  # fmt: skip


@partial(jax.jit, static_argnames=("objective", "train", "max_examples", "exact_up_to", "num_probes", "num_lanczos"))
def _measure(
    params: PyTree,
    batch: PyTree,
    model_state: PyTree,
    key: jax.Array,
    *,
    objective: Callable[..., Any],
    train: bool,
    max_examples: int,
    **effort: int,
) -> JacobianSpectrum:
    objective = as_objective(objective)
    count = min(max_examples, num_examples(batch, argument="batch"))

    def structure_of(example: PyTree, key: jax.Array) -> Structure:
        return find_structure(objective, params, example, model_state=model_state, key=key, train=train)

    first = jax.tree.map(lambda leaf: leaf[:1], batch)
    structure = structure_of(first, key)
    maps = layer_maps(structure, len(jax.tree.leaves(params)))
    exact: list[bool] = []

    def measure(turn: tuple[PyTree, jax.Array]) -> jax.Array:
        example, key = turn
        example = jax.tree.map(lambda leaf: leaf[None], example)
        model_key, *probe_keys = jax.random.split(key, 1 + len(maps))
        traced, inputs = structure_of(example, model_key), flat_inputs(params, example)
        rows = [_row(traced.jaxpr, inputs, *pair, **effort) for pair in zip(maps, probe_keys, strict=True)]
        exact[:] = [whole for _, whole in rows]
        return jnp.stack([row for row, _ in rows])

    examples = jax.tree.map(lambda leaf: leaf[:count], batch)
    found = jax.lax.map(measure, (examples, jax.random.split(key, count)))
    return JacobianSpectrum(
        *jnp.moveaxis(found, (2, 1), (0, 1)),
        sources=tuple(map_.source for map_ in maps),
        targets=tuple(map_.target for map_ in maps),
        exact=tuple(exact),
        reasons=tuple(map_.reason for map_ in maps),
    )


def _row(jaxpr: Any, inputs: list[Any], map_: LayerMap, key: jax.Array, **effort: int) -> tuple[jax.Array, bool]:
    """Mean, largest, smallest singular value and gain of one map, and whether they are exact."""
    if map_.end is None:
        return jnp.full(4, jnp.nan, jnp.float32), True

    def target(shifts: list[jax.Array]) -> jax.Array:
        moved, taps = list(inputs), []
        if map_.start is None:
            for leaf, shift in zip(map_.leaves, shifts, strict=True):
                moved[leaf] = moved[leaf] + shift
        else:
            taps = [Tap(map_.start, lambda _, outputs, shift: ([outputs[0] + shift], ()), shifts[0])]
        read = Tap(map_.end or (), lambda _, outputs, extra: (outputs, outputs[0]))
        return evaluate_tapped(jaxpr, moved, [*taps, read])[1][-1]

    if map_.start is None:
        sources = [inputs[leaf] for leaf in map_.leaves]
    else:
        read = Tap(map_.start, lambda _, outputs, extra: (outputs, outputs[0]))
        sources = jax.eval_shape(lambda: evaluate_tapped(jaxpr, inputs, [read])[1])
    return singular_values(target, [jnp.zeros(source.shape, source.dtype) for source in sources], key, **effort)
