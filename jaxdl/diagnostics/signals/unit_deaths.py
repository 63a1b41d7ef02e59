"""When units died: many measurements of one training run folded into the last sign of life of every unit."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds
from jaxdl.diagnostics.signals import unit_report
from jaxdl.diagnostics.signals.unit_health import UnitHealth

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class UnitDeaths:
    """The death of every unit, in forward layer order; a pytree of integer arrays.

    Attributes:
      died: for each layer `(units,)`: the step of the first measurement from which on the unit showed no derivative on
        any batch looked at; -1 for one alive at the last.
      steps: `(time,)`, updates done at each measurement.
      layers: names in forward order.
    """

    died: tuple[jax.Array, ...]
    steps: jax.Array
    layers: tuple[str, ...] = field(metadata={"static": True})

    @property
    def dead_over_time(self) -> jax.Array:
        """`(time, layers)`, share of the units dead from each measurement on, for good."""
        gone = [(units >= 0)[None, :] & (units[None, :] <= self.steps[:, None]) for units in self.died]
        return jnp.stack([jnp.mean(jnp.asarray(layer, jnp.float32), -1) for layer in gone], -1)

    def table(self) -> str:
        """One line a layer: units, dead ones, steps of the first, median and last death."""
        return unit_report.deaths_table(self)

    def verdict(self, thresholds: Thresholds = DEFAULTS) -> str:
        """A sentence that names the layers in which many units died, and when."""
        return unit_report.deaths_verdict(self, thresholds)

    def plot(self, path: Any = None, *, title: str | None = None) -> "Figure":
        """Draws the share of dead units over the steps; see `unit_report.plot_deaths`."""
        return unit_report.plot_deaths(self, path, title=title)


def unit_deaths(measures: UnitHealth, steps: Any = None) -> UnitDeaths:
    """Folds stacked measurements into the step at which each unit died.

    A unit counts as dead from its first measurement after the last one in which any example of its batch moved it. One
    batch is a sample: a unit alive on few examples can look dead near the end.

    Args:
      measures: of `measure_unit_health`, flags `(time, units)`, as in `history.measures`.
      steps: `(time,)` updates done at each measurement, as in `history.measure_steps`; 0, 1, 2, ... by default.

    Returns:
      A `UnitDeaths`.

    Raises:
      ValueError: flags that are not stacked along one axis of time, or steps of another number.
    """
    shape = jnp.shape(measures.dead[0])
    if len(shape) != 2 or shape[0] == 0:
        raise ValueError(
            f"measures: expected stacked measurements, flags of shape (time, units); got shape {shape}. Pass what fit "
            "keeps as history.measures."
        )
    steps = jnp.arange(shape[0]) if steps is None else jnp.asarray(steps)
    if steps.shape != shape[:1]:
        raise ValueError(
            f"steps: expected one number a measurement, shape ({shape[0]},); got shape {steps.shape}. Pass "
            "history.measure_steps."
        )

    def died(dead: jax.Array) -> jax.Array:
        # The number of measurements up to the last with a sign of life is the position of the first without.
        count = jnp.max(jnp.where(dead, 0, jnp.arange(1, shape[0] + 1)[:, None]), 0)
        return jnp.where(count == shape[0], -1, steps[jnp.minimum(count, shape[0] - 1)])

    return UnitDeaths(tuple(died(jnp.asarray(layer)) for layer in measures.dead), steps, measures.layers)
