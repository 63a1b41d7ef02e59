"""What `fit` tells its callbacks, and in which order.

1. `on_start`, once, first.
2. After each segment of steps, in the order of the steps: `on_steps` for all steps up to the segment's end, then
   `on_evaluation` where an evaluation was due there, then `on_checkpoint`. Metrics are fetched when the next segment is
   under way, so `on_steps` may come a segment late; but never after the evaluation or the checkpoint of its own end.
   Checkpoints are told once they are complete, which may be segments later.
3. `on_end`, once, last: after errors and interruptions too.

Every event reaches every callback, in the order of the list, also where one of them raises; then the error is raised.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

Reason = Literal["done", "stopped early", "not finite", "interrupted", "error"]
REASONS: tuple[Reason, ...] = get_args(Reason)


@dataclass(frozen=True)
class RunStart:
    """A run is about to begin.

    Attributes:
      folder: the run's folder, None without one.
      first_step: updates done before this run, counted from 0.
      last_step: updates that shall be done in total.
      steps_per_epoch: updates an epoch has.
      batch_size: examples a step.
      engine: as in `History`.
      resumed: whether the state came from a checkpoint of the folder.
      config: what the caller says of the run.
      members: number of members of `run_many`, None for a single run.
    """

    folder: Path | None
    first_step: int
    last_step: int
    steps_per_epoch: int
    batch_size: int
    engine: str
    resumed: bool = False
    config: Mapping[str, Any] = field(default_factory=dict)
    members: int | None = None

    @property
    def step(self) -> int:
        """Updates done."""
        return self.first_step


@dataclass(frozen=True, eq=False)
class Steps:
    """Consecutive steps were done.

    Attributes:
      start: updates done before them.
      metrics: `{name: (length,)}` float32, as in `History.train`; `(members, length)` of `run_many`.
    """

    start: int
    metrics: Mapping[str, np.ndarray]

    @property
    def length(self) -> int:
        """How many."""
        return next(iter(self.metrics.values())).shape[-1]

    @property
    def step(self) -> int:
        """Updates done after them."""
        return self.start + self.length


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The validation data were evaluated.

    Attributes:
      step: updates done.
      values: `{name: number}`, or `{name: (members,)}` of `run_many`.
    """

    step: int
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Saved:
    """A checkpoint is complete.

    Attributes:
      step: updates done by the state in it.
      path: its folder.
    """

    step: int
    path: Path


@dataclass(frozen=True)
class RunEnd:
    """The run is over.

    Attributes:
      step: updates done.
      reason: `"done"`, `"stopped early"`, `"not finite"`, `"interrupted"` or `"error"`.
      message: of the error, empty without one.
    """

    step: int
    reason: Reason
    message: str = ""

    def __post_init__(self) -> None:
        if self.reason not in REASONS:
            raise ValueError(f"reason: expected one of {', '.join(REASONS)}; got {self.reason!r}. Use 'error'.")


Event = RunStart | Steps | Evaluation | Saved | RunEnd
"""What a callback is told: one of the kinds of events."""


class Callback:
    """Base class of callbacks; override what you want to hear of. One object may serve several runs in turn.

    A callback sees host values only, and its time is the run's: the device works on, but the next segment waits.

    Example:
      >>> class Print(Callback):
      ...     def on_evaluation(self, evaluation):
      ...         print(evaluation.step, evaluation.values["loss"])
    """

    def on_start(self, run: RunStart) -> None:
        """The run is about to begin; where a callback before this one raised here, it ends at once."""

    def on_steps(self, steps: Steps) -> None:
        """Steps were done and their metrics are here."""

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """The validation data were evaluated; all steps before were told."""

    def on_checkpoint(self, saved: Saved) -> None:
        """A checkpoint is complete; all steps before were told."""

    def on_end(self, end: RunEnd) -> None:
        """The run is over, one way or another."""
