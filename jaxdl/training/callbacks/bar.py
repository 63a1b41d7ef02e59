"""The progress bar, in a terminal and in a notebook."""

import importlib.util
import sys
from typing import Any

import numpy as np
from tqdm import tqdm

from jaxdl.training.callbacks.protocol import Callback, Evaluation, RunEnd, RunStart, Steps


class ProgressBar(Callback):
    """A bar over the steps of a run with the newest loss and validation loss, touched once a segment.

    Of `run_many` it shows means over the members. It stands on stderr; in a notebook that has `ipywidgets` it is a
    widget.

    Args:
      progress: True or False; None shows a bar in a terminal and in a notebook, and none where stderr goes to a file
        or a pipe.
      description: what stands before the bar.
    """

    def __init__(self, progress: bool | None = None, *, description: str | None = None) -> None:
        if progress not in (True, False, None):
            raise ValueError(
                f"progress: expected True, False or None; got {progress!r}. None shows a bar where somebody looks."
            )
        self.progress, self.description = progress, description
        self._bar: Any = None
        self._news: dict[str, str] = {}

    def on_start(self, run: RunStart) -> None:
        """Draws it."""
        self._news = {}
        shown = in_terminal() or in_notebook() if self.progress is None else self.progress
        options = dict(total=run.last_step, initial=run.first_step, unit="step", desc=self.description, leave=False)
        self._bar = _kind()(**options) if shown else None

    def on_steps(self, steps: Steps) -> None:
        """Moves it."""
        self._tell("loss", steps.metrics.get("loss", np.zeros(0))[..., -1:], refresh=False)
        if self._bar is not None:
            self._bar.update(steps.length)

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """Shows the validation loss."""
        self._tell("validation loss", evaluation.values.get("loss", np.zeros(0)), refresh=True)

    def on_end(self, end: RunEnd) -> None:
        """Takes it away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _tell(self, name: str, values: Any, *, refresh: bool) -> None:
        if self._bar is not None and np.size(values):
            self._news[name] = f"{name} {np.mean(values):.4g}"
            self._bar.set_postfix_str(", ".join(self._news.values()), refresh=refresh)


def in_terminal() -> bool:
    """Whether stderr is one."""
    return sys.stderr is not None and sys.stderr.isatty()


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook, whose stderr is no terminal but is shown."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel")


def _kind() -> Any:
    # Without widgets tqdm's notebook bar raises, and tqdm.auto warns; the text bar works there, too.
    if in_notebook() and importlib.util.find_spec("ipywidgets") is not None:
        from tqdm.notebook import tqdm as widget

        return widget
    return tqdm
