"""Which units of a network are dead, saturated or always active: the measurement."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import checks, tree
from jaxdl.diagnostics.reporting.stacked import Stackable
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds
from jaxdl.diagnostics.signals import unit_report
from jaxdl.diagnostics.signals.readings import Plan, make_plan, read_slopes
from jaxdl.diagnostics.signals.signal_propagation import SATURATED_BELOW
from jaxdl.diagnostics.structure.applicability import NotApplicable
from jaxdl.diagnostics.structure.preparation import as_objective, prepared
from jaxdl.diagnostics.structure.sites import Site

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PyTree = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class UnitHealth(Stackable):
    """What every unit of every layer with an activation did on some examples; a pytree, so it stacks.

    A unit is one entry of a layer's feature axes: a channel of a convolution in all its positions, a unit of a
    recurrent cell in all its turns, in each layer of a stack. Its derivative is that of the activation behind it.

    Attributes:
      dead: for each layer `(..., units)`: the derivative is 0 on all examples, for ReLU z <= 0.
      saturated: the same: it is smaller in size than the bound on all examples, and not 0 on all.
      always_active: the same: it is not smaller than the bound on any; a ReLU unit that is linear.
      layers: names in forward order.
      activations: names of the functions that follow.
      without: layers that multiply and have no activation of their own, such as the last.
    """

    dead: tuple[jax.Array, ...]
    saturated: tuple[jax.Array, ...]
    always_active: tuple[jax.Array, ...]
    layers: tuple[str, ...] = field(metadata={"static": True})
    activations: tuple[str, ...] = field(metadata={"static": True})
    without: tuple[str, ...] = field(default=(), metadata={"static": True})

    @property
    def dead_fraction(self) -> jax.Array:
        """`(..., layers)`, share of the units."""
        return _shares(self.dead)

    @property
    def saturated_fraction(self) -> jax.Array:
        """`(..., layers)`, share of the units."""
        return _shares(self.saturated)

    @property
    def always_active_fraction(self) -> jax.Array:
        """`(..., layers)`, share of the units."""
        return _shares(self.always_active)

    def table(self) -> str:
        """One line a layer, in forward order, as text."""
        return unit_report.table(self)

    def verdict(self, thresholds: Thresholds = DEFAULTS) -> str:
        """A sentence that names the layers with many dead or saturated units, and their shares."""
        return unit_report.verdict(self, thresholds)

    def plot(self, path: Any = None, *, title: str | None = None) -> "Figure":
        """Draws the shares over the layers; see `unit_report.plot`."""
        return unit_report.plot(self, path, title=title)


def unit_health(
    objective: Callable[..., Any],
    params: PyTree,
    data: PyTree,
    *,
    batch_size: int = 256,
    model_state: PyTree | None = None,
    key: jax.Array | None = None,
    train: bool = False,
    saturated_below: float = SATURATED_BELOW,
) -> UnitHealth:
    """Looks at every unit on every example of a data set, a batch at a time.

    A unit is dead where the derivative of its activation is 0 on ALL examples, so that no example moves the weights
    that lead to it (Lu et al. 2019). The last batch is filled up with examples seen before, which changes neither what
    holds for all of them nor what holds for any; nothing is compiled for it.

    Args:
      objective: an objective such as `jaxdl.training.supervised(model, loss)`, or a plain
        `losses_fn(params, batch) -> (batch,)`.
      params: pytree of parameters, or a `TrainState`, which brings its `model_state` along.
      data: what the objective takes, such as `(x, y)`, of as many examples as there are; may stay on the host.
      batch_size: examples at a time.
      model_state: the model's other collections, such as running statistics.
      key: for random layers; `jax.random.key(0)` by default, the same for all batches.
      train: whether the model runs in training mode; batch normalization then sees the batches.
      saturated_below: bound of a small derivative, as in `signal_propagation`.

    Returns:
      A `UnitHealth`; a derivative of NaN is neither 0 nor small.

    Raises:
      ValueError: a batch size below 1, data without a common leading axis; `NotApplicable`, which is one,
        where no layer has an activation.
      TypeError: `objective` of the wrong kind.

    Example:
      >>> losses = lambda p, x: (jax.nn.relu(x @ p["a"]["w"]) @ p["b"]["w"]).sum(-1)
      >>> params = {"a": {"w": jnp.array([[1.0, -1.0]])}, "b": {"w": jnp.ones((2, 1))}}
      >>> unit_health(losses, params, jnp.ones((3, 1))).verdict()
      '50 % of the units of a are dead (1 of 2, relu)'

    References:
      Lu et al., "Dying ReLU and initialization: theory and numerical examples", 2019.
    """
    checks.whole_number(batch_size=batch_size, minimum=1, remedy="It is the number of examples at a time.")
    checks.number(saturated_below=saturated_below, minimum=0, remedy="It bounds the size of a derivative.")
    total = tree.num_examples(data)
    first = jax.tree.map(lambda leaf: leaf[:1], data)
    params, _, model_state, key = prepared(objective, params, first, model_state=model_state, key=key)
    size = min(batch_size, total)
    found = None
    for start in range(0, total, size):
        chosen = np.arange(start, start + size) % total
        batch = jax.tree.map(lambda leaf, chosen=chosen: jnp.asarray(leaf[chosen]), data)
        seen = _look(params, batch, model_state, key, jnp.asarray(saturated_below), objective=objective, train=train)
        found = seen if found is None else jax.tree.map(jnp.logical_or, found, seen)
    assert found is not None
    return _health(found)


def measure_unit_health(moment: Any) -> UnitHealth:
    """What `unit_health` says of the batch of one step, as a `measure` of `make_train_step`.

    A unit that is dead on one batch need not be dead; `unit_deaths` finds out from many measurements.

    Args:
      moment: what the step hands to a measure, with `objective, params, model_state, batch, key`.

    Returns:
      A `UnitHealth` of that batch.

    Raises:
      NotApplicable: no layer has an activation of its own before a later one.
    """
    context: dict[str, Any] = dict(model_state=moment.model_state, key=moment.key, train=True)
    plan = make_plan(moment.objective, moment.params, moment.batch, **context)
    return _health(_seen(plan, moment.params, moment.batch, jnp.asarray(SATURATED_BELOW)))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Seen:
    """Per layer, what some example showed of each unit: some derivative at all, a large one, a small one."""

    alive: tuple[jax.Array, ...]
    large: tuple[jax.Array, ...]
    small: tuple[jax.Array, ...]
    layers: tuple[str, ...] = field(metadata={"static": True})
    activations: tuple[str, ...] = field(metadata={"static": True})
    without: tuple[str, ...] = field(metadata={"static": True})


@partial(jax.jit, static_argnames=("objective", "train"))
def _look(
    params: PyTree,
    batch: PyTree,
    model_state: PyTree,
    key: jax.Array,
    bound: jax.Array,
    *,
    objective: Callable[..., Any],
    train: bool,
) -> _Seen:
    plan = make_plan(as_objective(objective), params, batch, model_state=model_state, key=key, train=train)
    return _seen(plan, params, batch, bound)


def _seen(plan: Plan, params: PyTree, batch: PyTree, bound: jax.Array) -> _Seen:
    rows = []
    for name, sites, activation in zip(plan.names, read_slopes(plan, params, batch), plan.activations, strict=True):
        if activation is not None and _countable([site for site, *_ in sites]):
            rows.append((name, activation, *_of_units(sites, bound)))
    if not rows:
        raise NotApplicable(
            "objective: expected a layer with an activation of its own before a later layer; got a program without "
            "one. The units of the last layer count as part of the loss."
        )
    names, activations, alive, large, small = zip(*rows, strict=True)
    without = tuple(name for name in plan.names if name not in names)
    return _Seen(alive, large, small, names, activations, without)


def _countable(sites: Sequence[Site]) -> bool:
    """Whether it is known, of all places of a layer, which entries belong to which unit."""
    axes = [site.curve.axes[1:] for site in sites if site.curve]
    lengths = {_unit_lengths(site) for site in sites} if all(None not in own for own in axes) else set()
    return len(lengths) == 1


def _unit_lengths(site: Site) -> tuple[int, ...]:
    assert site.curve is not None
    stacked = [length for (_, length), own in zip(site.scans, site.stacked, strict=True) if own]
    return (*stacked, *(site.curve.start_aval.shape[axis] for axis in site.curve.axes[1:] if axis is not None))


def _of_units(
    sites: list[tuple[Site, jax.Array, jax.Array]], bound: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    shown = []
    for site, slope, met in sites:
        assert site.curve is not None
        turns = len(site.scans)
        units = [axis for axis, own in enumerate(site.stacked) if own]
        units += [turns + axis for axis in site.curve.axes[1:] if axis is not None]
        others = [axis for axis in range(slope.ndim) if axis not in units]
        taken = met.reshape(met.shape + (1,) * (slope.ndim - turns)) > 0
        size = jnp.abs(slope)
        each = (size != 0) & taken, ~(size < bound) & taken, (size < bound) & taken
        rows = [jnp.transpose(flags, (*units, *others)).reshape(math.prod(_unit_lengths(site)), -1) for flags in each]
        shown.append([row.any(1) for row in rows])
    alive, large, small = (jnp.stack(flags).any(0) for flags in zip(*shown, strict=True))
    return alive, large, small


def _health(seen: _Seen) -> UnitHealth:
    pairs = list(zip(seen.alive, seen.large, seen.small, strict=True))
    return UnitHealth(
        dead=tuple(~alive for alive in seen.alive),
        saturated=tuple(alive & ~large for alive, large, _ in pairs),
        always_active=tuple(large & ~small for _, large, small in pairs),
        layers=seen.layers,
        activations=seen.activations,
        without=seen.without,
    )


def _shares(flags: tuple[jax.Array, ...]) -> jax.Array:
    return jnp.stack([jnp.mean(jnp.asarray(units, jnp.float32), -1) for units in flags], -1)
