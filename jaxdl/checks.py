"""Validators of arguments; each error says which argument, what was expected, what came, and what to do."""

from typing import Any

import jax
import numpy as np


def whole_number(*, minimum: int, remedy: str, **argument: Any) -> None:
    """Raises ValueError unless the one keyword left is an integer (no bool) of at least `minimum`."""
    ((name, value),) = argument.items()
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < minimum:
        raise ValueError(f"{name}: expected a whole number >= {minimum}; got {value!r}. {remedy}")


def number(*, minimum: float, below: float | None = None, remedy: str, **argument: Any) -> None:
    """Raises ValueError unless the one keyword left is a number in [minimum, below); jax arrays pass, traced or not."""
    ((name, value),) = argument.items()
    if isinstance(value, jax.Array):
        return
    is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not is_number or not value >= minimum or (below is not None and not value < below):
        domain = f">= {minimum}" if below is None else f"in [{minimum}, {below})"
        raise ValueError(f"{name}: expected a number {domain}; got {value!r}. {remedy}")


def one_key(key: Any) -> None:
    """Raises TypeError unless `key` is one typed PRNG key."""
    is_key = isinstance(key, jax.Array) and jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key)
    if not is_key or key.shape != ():
        got = f"shape {key.shape}, dtype {key.dtype}" if isinstance(key, jax.Array) else f"{type(key).__name__}"
        raise TypeError(f"key: expected one typed key; got {got}. Make it with jax.random.key(0).")


def optimizer(tx: Any) -> None:
    """Raises TypeError unless `tx` is an optax transformation."""
    if not (hasattr(tx, "init") and hasattr(tx, "update")):
        raise TypeError(
            f"tx: expected an optax.GradientTransformation; got {type(tx).__name__}. Pass for example optax.sgd(0.1)."
        )


def objective(value: Any) -> None:
    """Raises TypeError for what cannot be an objective: no function, a model, or something unhashable."""
    kind = type(value).__name__
    if hasattr(value, "init") and hasattr(value, "apply"):
        raise TypeError(
            f"objective: expected a function of (params, batch); got the model {kind}. "
            "Make an objective of it: jaxdl.training.supervised(model, loss)."
        )
    if not callable(value):
        raise TypeError(
            f"objective: expected a function of (params, batch); got {kind}. "
            "Pass for example jaxdl.training.supervised(model, loss)."
        )
    try:
        hash(value)
    except TypeError:
        raise TypeError(
            f"objective: expected something hashable, since compiled programs are kept by it; got {kind}, which is "
            "not. Define __hash__, or wrap it in a function."
        ) from None
