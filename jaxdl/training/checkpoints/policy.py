"""When a run is saved, and which of its checkpoints are kept."""

from dataclasses import dataclass
from typing import Literal

from jaxdl import checks


@dataclass(frozen=True)
class Checkpoints:
    """When `fit` saves and what it keeps; it also saves at the end of a run, and when it is interrupted.

    A run is saved between two stretches of steps: after an epoch under `engine="epoch"` (after `every_steps`, where
    that is shorter), after `chunk_size` steps otherwise. Signals and the clock are looked at there as well.

    Attributes:
      every_steps: save once so many steps are done since the last time, or None.
      every_minutes: save once so many minutes have passed since the last time, or None.
      keep_last: how many of the newest are kept, at least 1; with 1, a checkpoint that is damaged later has no other.
      keep_best: how many of the best by `metric` are kept besides; one that is among them is saved as soon as it has
        been evaluated. Needs validation data.
      metric: name of a validation metric.
      mode: "min" or "max": which values of the metric are better.
      asynchronous: write in the background while training goes on.

    Raises:
      ValueError: a number out of its range, an unknown mode.
    """

    every_steps: int | None = None
    every_minutes: float | None = 10.0
    keep_last: int = 2
    keep_best: int = 0
    metric: str = "loss"
    mode: Literal["min", "max"] = "min"
    asynchronous: bool = True

    def __post_init__(self) -> None:
        if self.every_steps is not None:
            checks.whole_number(every_steps=self.every_steps, minimum=1, remedy="None saves by the clock alone.")
        if self.every_minutes is not None:
            checks.number(
                every_minutes=self.every_minutes, minimum=0, exclusive=True, remedy="None saves by steps alone."
            )
        checks.whole_number(keep_last=self.keep_last, minimum=1, remedy="2 survives the damage of the newest.")
        checks.whole_number(keep_best=self.keep_best, minimum=0, remedy="0 keeps the newest alone.")
        checks.one_of(mode=self.mode, among=("min", "max"), remedy="'min' for a loss, 'max' for an accuracy.")


# Everything by hand, and nothing thrown away.
ALL = Checkpoints(every_minutes=None, keep_last=10**9, asynchronous=False)
