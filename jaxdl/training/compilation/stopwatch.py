"""Compile seconds apart from run seconds, over the programs of one call of `fit`."""

import inspect
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

from jaxdl.training.compilation.arguments import Arguments, arguments_of, closest_changes, explained


class RecompilationWarning(UserWarning):
    """A program of a run was compiled anew, since an argument changed; the message names it."""


class Stopwatch:
    """Keeps compile seconds apart from run seconds, over the programs of one call."""

    def __init__(self) -> None:
        self.compile_seconds = 0.0
        self._started = time.perf_counter()
        self._executables: dict[Any, dict[Arguments, Any]] = {}

    @property
    def executables(self) -> list[Any]:
        """What was compiled, in its order."""
        return [compiled for by_arguments in self._executables.values() for compiled in by_arguments.values()]

    def compiled(self, program: Any, *args: Any, **static: Any) -> Callable[..., Any]:
        """Compiles `program` for these arguments unless this call has, and returns it; JAX keeps the executable.

        Warns where a program is compiled anew because of the shape, dtype or structure of an argument.
        """
        known = self._executables.setdefault((program, tuple(sorted(static.items()))), {})
        names = inspect.signature(program).parameters
        arguments = arguments_of(dict(zip(names, args, strict=False)), {})
        if arguments not in known:
            changed = closest_changes([before.outline for before in known], arguments.outline)
            if changed:
                warnings.warn(
                    f"{program.__name__} is compiled once more, for {explained(changed)}. Pad or drop what has another "
                    "shape, or filter this warning where a few shapes are meant.",
                    RecompilationWarning,
                    stacklevel=2,
                )
            before = time.perf_counter()
            known[arguments] = program.lower(*args, **static).compile()
            self.compile_seconds += time.perf_counter() - before
        return partial(program, **static)

    @property
    def run_seconds(self) -> float:
        """Seconds since the start, less those spent compiling."""
        return time.perf_counter() - self._started - self.compile_seconds
