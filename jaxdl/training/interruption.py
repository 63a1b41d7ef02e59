"""Signals that ask a run to end: they are kept until the run can save itself."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(KeyboardInterrupt):
    """A run was asked to end by a signal, and saved itself before it did.

    Args:
      message: what it says.
      received: the signal; the others are the attributes.

    Attributes:
      signal: which; None for one that another process got.
      state, history: what `fit` would have returned at this step.
    """

    def __init__(self, message: str, received: signal.Signals | None, state: Any, history: Any) -> None:
        super().__init__(message)
        self.signal, self.state, self.history = received, state, history


class Interruptions:
    """While it is entered, the first SIGTERM or SIGINT is kept in `received`; a second SIGINT interrupts at once.

    Python runs handlers in the main thread alone; in another thread nothing is kept, and signals act as they did.
    """

    def __init__(self, *, active: bool) -> None:
        self.active = active and threading.current_thread() is threading.main_thread()
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interruptions":
        """Takes the signals over."""
        if self.active:
            self._before = {which: signal.signal(which, self._keep) for which in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives them back."""
        for which, handler in self._before.items():
            signal.signal(which, signal.SIG_DFL if handler is None else handler)

    def _keep(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)
