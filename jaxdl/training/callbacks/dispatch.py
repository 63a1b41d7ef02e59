"""Telling all callbacks everything, in the promised order."""

from collections.abc import Callable, Sequence
from typing import Any

from jaxdl.training.callbacks.protocol import Callback, Evaluation, Event, RunEnd, RunStart, Saved, Steps

METHODS = {
    RunStart: "on_start",
    Steps: "on_steps",
    Evaluation: "on_evaluation",
    Saved: "on_checkpoint",
    RunEnd: "on_end",
}


class CallbackError(RuntimeError):
    """A callback raised; its own exception is `__cause__`.

    Args:
      error: what it raised, for the message; the others are attributes.

    Attributes:
      callback: the one that raised.
      event: what it was told.
      state, history: what `fit` would have returned at this step.
    """

    state: Any = None
    history: Any = None

    def __init__(self, callback: Any, event: Event, error: BaseException) -> None:
        self.callback, self.event = callback, event
        super().__init__(
            f"callbacks: expected {name_of(callback)}.{METHODS[type(event)]} to return; it raised "
            f"{type(error).__name__}: {error} (at step {event.step}). Mend the callback, or leave it out, and go on "
            "from the state."
        )


class Callbacks:
    """The callbacks of one run, told every event in their order.

    `tell` checks that the events come as the protocol promises, so that nobody can break it unseen.

    Args:
      callbacks: `Callback`s or functions of one event.
    """

    def __init__(self, callbacks: Sequence[Callback | Callable[[Event], None]]) -> None:
        self._callbacks = tuple(self.checked(callbacks))
        self._step: int | None = None
        self._evaluated = self._saved = -1
        self._ended = False

    @staticmethod
    def checked(callbacks: Any) -> Sequence[Callback | Callable[[Event], None]]:
        """The callbacks, if they are some.

        Raises:
          TypeError: they are no list of callbacks.
        """
        if isinstance(callbacks, Callback) or not isinstance(callbacks, Sequence):
            raise TypeError(
                f"callbacks: expected a list of them; got {type(callbacks).__name__}. Put it into a list: [callback]."
            )
        for item in callbacks:
            if isinstance(item, type):
                raise TypeError(f"callbacks: expected objects; got the class {item.__name__}. Call it.")
            if not isinstance(item, Callback) and not callable(item):
                raise TypeError(
                    f"callbacks: expected a jaxdl.training.callbacks.Callback or a function of one event; got "
                    f"{type(item).__name__}. Derive its class from Callback."
                )
        return callbacks

    def tell(self, event: Event) -> None:
        """Tells every callback; raises the first error after all were told.

        Raises:
          CallbackError: a callback raised. What further ones raised stands in its notes. An interruption
            (`KeyboardInterrupt`, `SystemExit`) is raised as it is.
          RuntimeError: an event out of the promised order.
        """
        self._check_order(event)
        errors: list[tuple[Any, BaseException]] = []
        for callback in self._callbacks:
            try:
                listener = getattr(callback, METHODS[type(event)]) if isinstance(callback, Callback) else callback
                listener(event)
            except BaseException as error:  # the others are told first, above all of the end
                errors.append((callback, error))
        interruptions = [error for _, error in errors if not isinstance(error, Exception)]
        if interruptions:
            raise interruptions[0]
        if errors:
            first = CallbackError(errors[0][0], event, errors[0][1])
            for callback, error in errors[1:]:
                first.add_note(f"And {name_of(callback)} raised {type(error).__name__}: {error}")
            raise first from errors[0][1]

    def _check_order(self, event: Event) -> None:
        expected = self._unmet(event)
        if expected is not None:
            raise RuntimeError(
                f"event: expected {expected}; got {type(event).__name__} at step {event.step}. "
                "Tell events in the order of jaxdl.training.callbacks.protocol."
            )
        match event:
            case RunStart() | Steps():
                self._step = event.step
            case Evaluation():
                self._evaluated = event.step
            case Saved():
                self._saved = event.step
            case RunEnd():
                self._ended = True

    def _unmet(self, event: Event) -> str | None:
        """What is asked of an event and not so."""
        if self._ended:
            return "nothing after the end of the run"
        if isinstance(event, RunStart):
            return None if self._step is None else "one start of a run"
        if self._step is None:
            return "the start of the run first"
        match event:
            case Steps() if event.start != self._step:
                return f"steps that go on from step {self._step}"
            case Evaluation() if event.step != self._step:
                return f"an evaluation at step {self._step}, up to which steps were told"
            case Evaluation() if event.step == self._evaluated:
                return f"one evaluation at step {event.step}"
            case Saved() if not self._saved < event.step <= self._step:
                return f"a checkpoint after step {self._saved} and up to step {self._step}, up to which steps were told"
        return None


def name_of(callback: Any) -> str:
    """How messages call it."""
    return type(callback).__name__ if isinstance(callback, Callback) else getattr(callback, "__name__", repr(callback))
