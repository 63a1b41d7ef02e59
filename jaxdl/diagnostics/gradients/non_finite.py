"""When and where a gradient was first not finite, from stacked measurements of its flow."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.diagnostics.gradients.gradient_flow import GradientFlow
from jaxdl.diagnostics.reporting.layer_axis import MOST, evenly, short_names
from jaxdl.diagnostics.reporting.reports import finished
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NonFinite:
    """Which layers' gradients were not finite at which step.

    Attributes:
      broken: `(time, layers)` bool.
      steps: `(time,)` updates done at each measurement.
      layers: names, in forward order.
    """

    broken: jax.Array
    steps: jax.Array
    layers: tuple[str, ...] = field(metadata={"static": True})

    @property
    def step(self) -> int | None:
        """The first step with such a layer; None if there is none."""
        times = np.flatnonzero(np.asarray(self.broken).any(1))
        return int(np.asarray(self.steps)[times[0]]) if len(times) else None

    @property
    def layer(self) -> str | None:
        """The layer where it began at that step: the one nearest the output, since gradients come back from there."""
        times = np.flatnonzero(np.asarray(self.broken).any(1))
        return self.layers[np.flatnonzero(np.asarray(self.broken)[times[0]])[-1]] if len(times) else None

    def table(self) -> str:
        """One line a layer: the first step at which its gradient was not finite."""
        width = max(len("layer"), *map(len, self.layers))
        lines = [f"{'layer':<{width}} {'first not finite at step':>24}"]
        for name, column in zip(self.layers, np.asarray(self.broken).T, strict=True):
            first = np.asarray(self.steps)[np.argmax(column)] if column.any() else "-"
            lines.append(f"{name:<{width}} {first!s:>24}")
        return "\n".join(lines)

    def verdict(self, thresholds: Thresholds = DEFAULTS) -> str:
        """A sentence that names the step and the layer."""
        if self.step is None:
            count = len(np.asarray(self.steps))
            return f"gradient finite in all {len(self.layers)} layers at {count} measurements: healthy"
        time = int(np.argmax(np.asarray(self.broken).any(1)))
        number = int(np.asarray(self.broken)[time].sum())
        sentence = f"gradient first not finite at step {self.step}, in {number} of {len(self.layers)} layers"
        if number == len(self.layers):
            sentence += ": in all, so that the loss itself was not, see signal_propagation at that step"
        else:
            sentence += f", on its way back first at {self.layer}"
        before = np.asarray(self.steps)[time - 1] if time else None
        return sentence + (f"; last measured finite at step {before}" if before is not None else "")

    def plot(self, path: Any = None, *, title: str | None = None) -> "Figure":
        """Draws the layers over the measurements, dark where not finite."""
        from matplotlib.figure import Figure

        chosen_layers = evenly(len(self.layers), MOST)
        figure = Figure(figsize=(8, 1.5 + 0.25 * len(chosen_layers)), layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(np.asarray(self.broken).T, aspect="auto", cmap="Reds", vmin=0, vmax=1, interpolation="nearest")
        short = short_names(self.layers)
        axes.set_yticks(chosen_layers, [short[i] for i in chosen_layers], fontsize=8)
        steps = np.asarray(self.steps)
        chosen = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), 8)).astype(int))
        axes.set_xticks(chosen, [str(step) for step in steps[chosen]])
        axes.set_xlabel("updates done")
        return finished(figure, path, self.verdict() if title is None else title)


def first_non_finite(flow: GradientFlow, steps: jax.Array | np.ndarray) -> NonFinite:
    """The first layer and step with a gradient that is not finite, in stacked measurements of gradient flow.

    A layer is broken where its error signal or weight gradient is infinite, or where one of them is not a number and
    is one at another time, or a weight gradient is not one in a layer with a matrix.

    Args:
      flow: stacked `GradientFlow`, arrays `(time, layers)`, such as `history.measures`.
      steps: `(time,)` updates done at each measurement, such as `history.measure_steps`.

    Returns:
      A `NonFinite` with `.step` and `.layer`, both None if all is finite.

    Raises:
      ValueError: arrays that are not `(time, layers)`, no measurement, or another number of steps.
    """
    shape = jnp.shape(flow.error_signal)
    if len(shape) != 2 or shape[0] == 0:
        raise ValueError(
            f"flow: expected stacked measurements, arrays of shape (time, layers) with time >= 1; got shape {shape}. "
            "Pass what a training step stacks, such as history.measures."
        )
    if jnp.shape(steps) != shape[:1]:
        raise ValueError(
            f"steps: expected one for each of the {shape[0]} measurements; got shape {jnp.shape(steps)}. "
            "Pass for example history.measure_steps."
        )
    # A layer may have no error signal at all, or no weights: then it is NaN from the start, and says nothing.
    signal, weight = jnp.asarray(flow.error_signal), jnp.asarray(flow.weight_gradient)
    has_signal = ~jnp.isnan(signal).all(0, keepdims=True)
    has_weight = ~jnp.isnan(weight).all(0, keepdims=True) | jnp.asarray(flow.matrix)[None]
    broken = jnp.isinf(signal) | jnp.isinf(weight) | has_signal & jnp.isnan(signal) | has_weight & jnp.isnan(weight)
    return NonFinite(broken, jnp.asarray(steps), flow.layers)
