"""Validators of arguments; each error says which argument, what was expected, what came, and what to do."""

import inspect
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.core import Tracer


def whole_number(*, minimum: int, remedy: str, **argument: Any) -> None:
    """Raises ValueError unless the one keyword left is an integer (no bool) of at least `minimum`."""
    ((name, value),) = argument.items()
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < minimum:
        raise ValueError(f"{name}: expected a whole number >= {minimum}; got {value!r}. {remedy}")


def one_of(*, among: Sequence[Any], remedy: str, **argument: Any) -> None:
    """Raises ValueError unless the one keyword left is among some values."""
    ((name, value),) = argument.items()
    if not any(value is choice or (type(value) is type(choice) and value == choice) for choice in among):
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, among))}; got {value!r}. {remedy}")


def one_key(key: Any, *, argument: str = "key") -> None:
    """Raises TypeError unless `key` is one typed PRNG key."""
    is_key = isinstance(key, jax.Array) and jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key)
    if not is_key or key.shape != ():
        got = f"shape {key.shape}, dtype {key.dtype}" if isinstance(key, jax.Array) else f"{type(key).__name__}"
        raise TypeError(f"{argument}: expected one typed key; got {got}. Make it with jax.random.key(0).")


def optimizer(tx: Any) -> None:
    """Raises TypeError unless `tx` is an optax transformation."""
    if not (hasattr(tx, "init") and hasattr(tx, "update")):
        raise TypeError(
            f"tx: expected an optax.GradientTransformation; got {type(tx).__name__}. Pass for example optax.sgd(0.1)."
        )


def objective(value: Any, *, argument: str = "objective") -> None:
    """Raises TypeError for what cannot be an objective: no function, a model, or something unhashable."""
    kind = type(value).__name__
    if hasattr(value, "init") and hasattr(value, "apply"):
        raise TypeError(
            f"{argument}: expected a function of (params, batch); got the model {kind}. "
            "Make an objective of it: jaxdl.training.supervised(model, loss)."
        )
    if not callable(value):
        raise TypeError(
            f"{argument}: expected a function of (params, batch); got {kind}. "
            "Pass for example jaxdl.training.supervised(model, loss)."
        )
    _hashable(argument, value)


def losses_fn(value: Any) -> None:
    """Raises TypeError for what cannot be `losses_fn(params, batch) -> (batch,)`, such as an objective."""
    objective(value, argument="losses_fn")
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):  # something built in
        return
    required = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY and each.default is each.empty]
    if required:
        raise TypeError(
            f"losses_fn: expected a function of (params, batch) alone; got one that needs {', '.join(required)}, "
            "too, as objectives do. Pass jaxdl.diagnostics.losses_of(objective)."
        )


def compiled_function(*, remedy: str, **argument: Any) -> None:
    """Raises TypeError unless the one keyword left is a function by which a compiled program can be kept."""
    ((name, value),) = argument.items()
    if not callable(value):
        raise TypeError(f"{name}: expected a function; got {type(value).__name__}. {remedy}")
    _hashable(name, value)


def _hashable(name: str, value: Any) -> None:
    try:
        hash(value)
    except TypeError:
        raise TypeError(
            f"{name}: expected something hashable, since compiled programs are kept by it; got {type(value).__name__}, "
            "which is not. Define __hash__, or wrap it in a function."
        ) from None


def number(
    *,
    minimum: float,
    maximum: float | None = None,
    below: float | None = None,
    exclusive: bool = False,
    finite: bool = True,
    remedy: str,
    **argument: Any,
) -> None:
    """Raises ValueError unless the one keyword left is a finite real scalar >= `minimum` (> it where `exclusive`).

    With `minimum=-math.inf` any will do, with `finite=False` infinity, too; with `maximum` it has to be at most that as
    well, and with `below` less than it.
    Of a traced scalar only shape and type are known, and checked.
    """
    ((name, value),) = argument.items()
    is_array = isinstance(value, (jax.Array, np.ndarray))
    kind = value.dtype if is_array else type(value)
    ok = not isinstance(value, bool) and np.ndim(value) == 0
    ok = ok and (jax.dtypes.issubdtype(kind, np.floating) or jax.dtypes.issubdtype(kind, np.integer))
    if ok and not isinstance(value, Tracer):
        known = np.asarray(value)  # of an array of jax, too: inside jit even two known numbers compare to a tracer
        ok = bool(np.isfinite(known) or not finite) and bool(known > minimum if exclusive else known >= minimum)
        ok = ok and (maximum is None or bool(known <= maximum)) and (below is None or bool(known < below))
    if not ok:
        got = f"shape {np.shape(value)} of {kind}" if is_array and np.ndim(value) else repr(value)
        domain = "" if minimum == -math.inf else f" {'>' if exclusive else '>='} {minimum:g}"
        domain += "" if maximum is None else f" and <= {maximum:g}"
        domain += "" if below is None else f" and < {below:g}"
        raise ValueError(f"{name}: expected one {'finite ' * finite}number{domain}; got {got}. {remedy}")


def whole_numbers(*, length: int | None = None, remedy: str, **argument: Any) -> None:
    """Raises ValueError unless the one keyword left is a sequence of integers >= 1, of a given length if there is one.

    An empty one will do where no length is given.
    """
    ((name, values),) = argument.items()
    ok = isinstance(values, Sequence) and not isinstance(values, str) and length in (None, len(values))
    if not ok or any(isinstance(v, bool) or not isinstance(v, (int, np.integer)) or v < 1 for v in values):
        count = "" if length is None else f"{length} "
        raise ValueError(f"{name}: expected a sequence of {count}whole numbers >= 1; got {values!r}. {remedy}")


def images(x: Any, *, minimum: int, remedy: str) -> None:
    """Raises ValueError unless `x` has the shape of a batch of images of at least `minimum` x `minimum` pixels."""
    shape = np.shape(x)
    if len(shape) != 4 or min(shape[1:3]) < minimum or shape[3] < 1:
        raise ValueError(
            f"x: expected images (batch, height, width, channels) of at least {minimum} x {minimum} pixels; "
            f"got shape {shape}. {remedy}"
        )
