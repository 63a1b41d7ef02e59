"""A function that is compiled once, and says what changed when it would be compiled again."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax

from jaxdl import checks
from jaxdl.training.compilation.arguments import Arguments, arguments_of, closest_changes, explained


class RecompilationError(RuntimeError):
    """A program would be compiled anew; the message names the argument that changed."""


class CompiledOnce:
    """`jax.jit` of a function, with a guard; made by `compiled_once`.

    Attributes:
      jitted: what `jax.jit` returned, to call without the guard.
    """

    def __init__(self, fn: Callable[..., Any], max_programs: int, options: dict[str, Any]) -> None:
        functools.update_wrapper(self, fn, updated=())
        self.jitted = jax.jit(fn, **options)
        self._signature = inspect.signature(fn)
        self._static = _static_names(self._signature, options)
        self._name = getattr(fn, "__name__", type(fn).__name__)
        self._max_programs = max_programs
        self._programs: list[Arguments] = []
        self._served: set[Arguments] = set()  # by one of the programs

    @property
    def num_programs(self) -> int:
        """Programs so far."""
        return len(self._programs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the compiled function.

        Raises:
          RecompilationError: it would have to be compiled once too often.
        """
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        static = {name: value for name, value in bound.arguments.items() if name in self._static}
        dynamic = {name: value for name, value in bound.arguments.items() if name not in static}
        arguments = arguments_of(dynamic, static)
        if arguments not in self._served:
            self._admit(arguments)
        return self.jitted(*args, **kwargs)

    def _admit(self, arguments: Arguments) -> None:
        changed = closest_changes(self._programs, arguments)
        if changed and len(self._programs) >= self._max_programs:
            raise RecompilationError(
                f"{self._name}: expected arguments for which it was compiled; got {explained(changed)}. Keep shapes "
                "(drop or pad the last batch), dtypes and structure the same from call to call, or allow another "
                f"program: compiled_once(..., max_programs={self._max_programs + 1})."
            )
        if changed or not self._programs:
            self._programs.append(arguments)
        self._served.add(arguments)


def compiled_once(fn: Callable[..., Any], *, max_programs: int = 1, **jit_options: Any) -> CompiledOnce:
    """`jax.jit(fn, **jit_options)` that refuses to be compiled more than once, and names the argument that changed.

    An argument that changes its shape, dtype, weak type, sharding or pytree structure, or a static one that changes
    its value, makes `jax.jit` compile anew without a word, which in a step loop can take most of the time. Here it is
    an error before anything is compiled: "argument `batch[0]`: float32[31,8] now, float32[32,8] before". The guard
    looks at every argument of every call, a few microseconds a leaf; take it off when the loop is right.

    Args:
      fn: the function, such as a step of `make_train_step`.
      max_programs: programs to allow, one for each set of shapes.
      jit_options: as for `jax.jit`: `donate_argnums`, `static_argnames` and so on.

    Returns:
      The guarded function; `.jitted` is the plain one.

    Raises:
      TypeError: `fn` is no function.
      ValueError: `max_programs` below 1.
      RecompilationError: when called, see above.

    Example:
      >>> step = compiled_once(make_train_step(objective, tx), donate_argnums=0)  # doctest: +SKIP
      >>> for batch in batches:  # doctest: +SKIP
      ...     state, metrics = step(state, batch)
    """
    if not callable(fn):
        raise TypeError(f"fn: expected a function; got {type(fn).__name__}. Pass for example a training step.")
    checks.whole_number(max_programs=max_programs, minimum=1, remedy="Allow one for each set of shapes.")
    return CompiledOnce(fn, max_programs, jit_options)


def _static_names(signature: inspect.Signature, options: dict[str, Any]) -> set[str]:
    names, numbers = options.get("static_argnames", ()), options.get("static_argnums", ())
    names = (names,) if isinstance(names, str) else names or ()
    numbers = (numbers,) if isinstance(numbers, int) else numbers or ()
    positional = list(signature.parameters)
    return {*names, *(positional[number] for number in numbers)}
