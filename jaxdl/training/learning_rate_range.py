"""The learning-rate range test: one short run whose rate grows from step to step."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxdl import checks
from jaxdl.diagnostics.reporting.reports import finished
from jaxdl.training.objective import Objective
from jaxdl.training.state import TrainState, check_state
from jaxdl.training.step import make_train_step
from jaxdl.training.sweep import run_many

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PyTree = Any
DIVERGED = 4.0  # times the lowest loss so far
# Standard errors of the first average. Noise alone falls as far in 0.4 % of runs as usually smoothed, 3 % unsmoothed.
CLEAR = 5.0
MEDIAN_OF_NORMAL = 0.6745  # the median of |z|, z standard normal


@dataclass(frozen=True)
class LearningRateRange:
    """What a range test found.

    Attributes:
      rates: `(steps,)` float64, the learning rate of each step.
      losses: `(steps,)` float32, mean loss of the batch before each step; may be NaN at the end.
      smoothed: `(steps,)` float64, averages of the losses with weights that fall on both sides alike, so that none
        lags behind its rate; what is judged. NaN from where the loss is lost.
      smoothing: d of these weights, d^k.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    smoothing: float

    @property
    def end(self) -> int:
        """Steps before the loss was lost: not finite, or above four times the lowest average so far."""
        return int(np.isfinite(self.smoothed).sum())

    @property
    def diverged_at(self) -> float | None:
        """The first rate at which the loss is lost, or None."""
        return float(self.rates[self.end]) if self.end < len(self.rates) else None

    @property
    def lowest(self) -> float:
        """The rate at the lowest smoothed loss; it is too large to train with."""
        return float(self.rates[int(np.argmin(self.smoothed[: self.end]))]) if self.end else math.nan

    @property
    def steepest(self) -> float:
        """The rate of the step, on the way to the lowest smoothed loss, that lowers it most; NaN where none does.

        Past the lowest the loss falls steeply as well, each time it comes back from having been thrown up.
        """
        lowest = int(np.argmin(self.smoothed[: self.end])) if self.end else 0
        slope = np.diff(self.smoothed[: lowest + 1])  # losses are taken before a step: entry i is what step i did
        return float(self.rates[int(np.argmin(slope))]) if len(slope) and slope.min() < 0 else math.nan

    def verdict(self) -> str:
        """One sentence with its numbers."""
        first, last = self.rates[0], self.rates[-1]
        lost = "" if self.diverged_at is None else f", and is lost at {self.diverged_at:.2g}"
        if self.end < 2:
            return f"the loss is lost from the start, at rate {first:.2g}: try a smaller min_rate"
        # Of n steps of noise one is always the lowest; a fall is one that the noise of neighbours does not make.
        fallen = self.smoothed[0] - self.smoothed[: self.end].min()
        # The median, since the last steps before the loss is lost swing wider than any noise.
        noise = np.median(np.abs(np.diff(self.losses[: self.end]))) / (MEDIAN_OF_NORMAL * math.sqrt(2))
        weights = self.smoothing ** np.arange(self.end)
        of_first = noise * np.sqrt(np.square(weights).sum()) / weights.sum()
        if math.isnan(self.steepest) or fallen <= CLEAR * of_first:
            return f"the loss does not fall between {first:.2g} and {last:.2g}{lost}: try other rates, or more steps"
        return (
            f"the loss falls fastest at rate {self.steepest:.2g} and is lowest at {self.lowest:.2g}{lost}: "
            f"try about {self.steepest:.1g}"
        )

    def table(self, *, rows: int = 12) -> str:
        """Rate, loss and smoothed loss at evenly spaced steps, as aligned text."""
        checks.whole_number(rows=rows, minimum=2, remedy="12 shows the shape.")
        chosen = np.unique(np.linspace(0, len(self.rates) - 1, rows).round().astype(int))
        lines = [f"{'step':>5}  {'rate':>9}  {'loss':>10}  {'smoothed':>10}"]
        lines += [f"{i:>5}  {self.rates[i]:>9.3g}  {self.losses[i]:>10.4g}  {self.smoothed[i]:>10.4g}" for i in chosen]
        return "\n".join(lines)

    def plot(self, path: Any = None, *, title: str | None = None) -> "Figure":
        """Draws the loss against the rate, with the steepest and the lowest point marked.

        Args:
          path: where to save the picture; the ending sets its kind.
          title: above the picture; the verdict by default.

        Returns:
          The matplotlib figure, not shown.
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.subplots()
        axes.plot(self.rates, self.losses, ".", markersize=3, color="0.7", label="batches")
        axes.plot(self.rates, self.smoothed, label="smoothed")
        for name, rate, style in (("steepest", self.steepest, "--"), ("lowest", self.lowest, ":")):
            if not math.isnan(rate):
                axes.axvline(rate, linestyle=style, color="k", linewidth=1, label=f"{name}: {rate:.2g}")
        seen = self.smoothed[: self.end]
        if len(seen):
            room = 0.1 * max(np.ptp(seen), 1e-12)
            axes.set_ylim(seen.min() - room, seen.max() + room)
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss of the batch")
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
        return finished(figure, path, self.verdict() if title is None else title)


def learning_rate_range(
    objective: Objective,
    recipe: Callable[[Any], optax.GradientTransformation],
    state: TrainState,
    data: PyTree,
    *,
    batch_size: int,
    min_rate: float = 1e-6,
    max_rate: float = 10.0,
    num_steps: int = 100,
    smoothing: float = 0.8,
    regularizer: Callable[[PyTree], jax.Array] | None = None,
) -> LearningRateRange:
    """Trains `num_steps` steps while the rate grows from `min_rate` to `max_rate` by a constant factor.

    Args:
      objective: as for `make_train_step`.
      recipe: `recipe(learning_rate) -> tx`, such as `optimizers.adam` or `lambda rate: optax.chain(clip, sgd(rate))`;
        it is given a schedule, of which every step has to be one update (so no `optax.MultiSteps`).
      state: where to start: its params, model state and key; its optimizer state is not used. It stays valid.
      data: as for `fit`.
      batch_size: that of the training to come; a larger batch bears a larger rate.
      min_rate, max_rate: the range, both > 0.
      num_steps: at least 10.
      smoothing: d in [0, 1); losses k steps away weigh d^k in the averages that are judged.
      regularizer: as for `make_train_step`.

    Returns:
      Rates and losses, with `.verdict()`, `.table()` and `.plot()`.

    Raises:
      TypeError: `recipe` is no function, or what `make_train_step` refuses.
      ValueError: a range that is none, or what `fit` refuses.

    Example:
      >>> found = learning_rate_range(objective, optimizers.adam, state, digits.train, batch_size=32)  # doctest: +SKIP
      >>> found.plot().savefig("range.png")  # doctest: +SKIP

    References:
      Smith, "Cyclical learning rates for training neural networks", 2017, section 3.3.
    """
    check_state(state)
    if not callable(recipe):
        raise TypeError(
            f"recipe: expected a function learning_rate -> optax chain; got {type(recipe).__name__}. "
            "Pass for example jaxdl.optimizers.adam, without calling it."
        )
    checks.number(min_rate=min_rate, minimum=0, exclusive=True, remedy="1e-6 is below every useful rate.")
    checks.number(max_rate=max_rate, minimum=min_rate, exclusive=True, remedy="It ends the range; 10.0 is usual.")
    checks.whole_number(num_steps=num_steps, minimum=10, remedy="100 is usual.")
    checks.number(smoothing=smoothing, minimum=0, below=1, remedy="0.8 is usual.")
    growth = (max_rate / min_rate) ** (1 / (num_steps - 1))
    tx = recipe(optax.exponential_decay(min_rate, transition_steps=1, decay_rate=growth))
    checks.optimizer(tx)
    step = make_train_step(objective, tx, regularizer=regularizer)
    start = replace(state, step=jnp.zeros((), jnp.int32), opt_state=tx.init(state.params), average=None)
    # A member of run_many goes on where fit would stop: past the rate at which the loss is lost.
    _, history = run_many(
        step, lambda key: start, data, seeds=[0], steps=num_steps, batch_size=batch_size, mode="map", progress=False
    )
    losses = history.train["loss"][0]
    return LearningRateRange(min_rate * growth ** np.arange(num_steps), losses, _smoothed(losses, smoothing), smoothing)


def _smoothed(losses: np.ndarray, decay: float) -> np.ndarray:
    losses = losses.astype(np.float64)
    known = losses[: _end(losses, decay)]
    steps = np.arange(len(known))
    weights = decay ** np.abs(steps - steps[:, None]) if decay else np.eye(len(known))
    means = np.full(len(losses), np.nan)
    means[: len(known)] = weights @ known / weights.sum(1)
    return means


def _end(losses: np.ndarray, decay: float) -> int:
    mean, weight, lowest = 0.0, 0.0, math.inf
    for i, loss in enumerate(losses):
        if not math.isfinite(loss) or loss - lowest > (DIVERGED - 1) * abs(lowest):
            return i
        mean, weight = decay * mean + loss, decay * weight + 1
        lowest = min(lowest, mean / weight)
    return len(losses)
