"""Dropout and noise as pure functions of a key and a pytree, on the leaves that `where` chooses.

`rate` is always the probability to DROP. An array alone is a tree of one leaf. Every leaf has a key of its own, which
does not depend on `where`. On activations these are the usual layers; on parameters, `dropout(key, params, rate=0.5,
where="**/kernel")` is DropConnect (Wan et al. 2013).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import checks, tree

PyTree = Any
Rate = float | jax.Array

# Of the scaled exponential linear unit; jax.nn.selu has the same numbers and does not export them.
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848, 1.0507009873554804934


def dropout(key: jax.Array, x: PyTree, *, rate: Rate, where: tree.Where = None) -> PyTree:
    """Inverted dropout: `r * x / (1 - rate)`, with `r ~ Bernoulli(1 - rate)` for every entry.

    The expectation is x, so evaluation needs no change. For one array and the same key, the very values of
    `flax.linen.Dropout` arise.

    Args:
      key: one typed key.
      x: pytree of floating-point arrays.
      rate: probability to drop an entry, in [0, 1).
      where: leaves to act on (see `jaxdl.tree`); None for all of them.

    Returns:
      A pytree of the structure, shapes and dtypes of x.

    Raises:
      ValueError: `rate` outside of [0, 1), or a pattern that matches no leaf.
      TypeError: `key` is not one typed key, or a chosen leaf is not floating-point.

    References:
      Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, "Dropout", JMLR 15, 2014, section 10.
    """
    _check_rate(rate)
    return _on_leaves(key, x, where, lambda key, leaf: jnp.where(_kept(key, leaf, rate), leaf / (1 - rate), 0))


def classic_dropout(key: jax.Array | None, x: PyTree, *, rate: Rate, where: tree.Where = None) -> PyTree:
    """Dropout as first published: `r * x` in training, `(1 - rate) * x` in evaluation.

    The factor of evaluation is the RETAIN probability. "Scale down by p", with p the drop probability, agrees with it
    at p = 0.5 alone.

    Args:
      key: one typed key, in training; None in evaluation.
      x: pytree of floating-point arrays.
      rate: probability to drop an entry, in [0, 1).
      where: leaves to act on (see `jaxdl.tree`); None for all of them.

    Returns:
      A pytree of the structure, shapes and dtypes of x.

    Raises:
      ValueError, TypeError: as `dropout`.

    References:
      Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, "Dropout", JMLR 15, 2014, section 4.
    """
    _check_rate(rate)
    if key is None:
        return _on_leaves(None, x, where, lambda _, leaf: leaf * (1 - rate))
    return _on_leaves(key, x, where, lambda key, leaf: jnp.where(_kept(key, leaf, rate), leaf, 0))


def gaussian_dropout(key: jax.Array, x: PyTree, *, rate: Rate, where: tree.Where = None) -> PyTree:
    """Multiplicative Gaussian noise with the mean and variance of dropout: `x * n`, `n ~ N(1, rate / (1 - rate))`.

    Args:
      key: one typed key.
      x: pytree of floating-point arrays.
      rate: the drop probability of the Bernoulli dropout it stands for, in [0, 1).
      where: leaves to act on (see `jaxdl.tree`); None for all of them.

    Returns:
      A pytree of the structure, shapes and dtypes of x; its expectation is x.

    Raises:
      ValueError, TypeError: as `dropout`.

    References:
      Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, "Dropout", JMLR 15, 2014, section 10.
    """
    _check_rate(rate)
    stddev = (rate / (1 - rate)) ** 0.5
    return _on_leaves(key, x, where, lambda key, leaf: leaf * (1 + stddev * _normal(key, leaf)))


def alpha_dropout(key: jax.Array, x: PyTree, *, rate: Rate, where: tree.Where = None) -> PyTree:
    """Dropout for SELU networks: keeps mean 0 and variance 1 of activations that have them.

        a (r x + (1 - r) alpha') + b,    r ~ Bernoulli(q),    q = 1 - rate
        alpha' = -scale * alpha of SELU = -1.7581, what SELU tends to at minus infinity
        a = (q + alpha'^2 q (1 - q))^(-1/2),    b = -a (1 - q) alpha'

    Args:
      key: one typed key.
      x: pytree of floating-point arrays.
      rate: probability to set an entry to alpha', in [0, 1); 0.05 to 0.1 in use.
      where: leaves to act on (see `jaxdl.tree`); None for all of them.

    Returns:
      A pytree of the structure, shapes and dtypes of x.

    Raises:
      ValueError, TypeError: as `dropout`.

    References:
      Klambauer, Unterthiner, Mayr, Hochreiter, "Self-normalizing neural networks", 2017.
    """
    _check_rate(rate)
    keep, dropped = 1 - rate, -_SELU_ALPHA * _SELU_SCALE
    a = (keep + dropped**2 * keep * (1 - keep)) ** -0.5
    b = -a * (1 - keep) * dropped
    return _on_leaves(key, x, where, lambda key, leaf: a * jnp.where(_kept(key, leaf, rate), leaf, dropped) + b)


def gaussian_noise(key: jax.Array, x: PyTree, *, stddev: float | jax.Array, where: tree.Where = None) -> PyTree:
    """Additive noise: `x + stddev * n`, `n ~ N(0, 1)` for every entry.

    On the input of a linear model with squared error it is a ridge penalty of `stddev^2` per example; for other models
    that holds to leading order in `stddev`. (`optax.add_noise` perturbs gradients, a different thing.)

    Args:
      key: one typed key.
      x: pytree of floating-point arrays.
      stddev: standard deviation, in the unit of x, >= 0.
      where: leaves to act on (see `jaxdl.tree`); None for all of them.

    Returns:
      A pytree of the structure, shapes and dtypes of x.

    Raises:
      ValueError: a negative `stddev`, or a pattern that matches no leaf.
      TypeError: as `dropout`.

    References:
      Bishop, "Training with noise is equivalent to Tikhonov regularization", Neural Computation 7, 1995.
    """
    checks.number(stddev=stddev, minimum=0, remedy="Use 0 for no noise.")
    return _on_leaves(key, x, where, lambda key, leaf: leaf + stddev * _normal(key, leaf))


def _check_rate(rate: Rate) -> None:
    checks.number(rate=rate, minimum=0, below=1, remedy="It is the probability to drop; use 0 for none.")


def _kept(key: Any, leaf: jax.Array, rate: Rate) -> jax.Array:
    return jax.random.bernoulli(key, 1 - rate, leaf.shape)


def _normal(key: Any, leaf: jax.Array) -> jax.Array:
    # In float32 at least: drawn from a bfloat16 uniform, a normal would have no tails.
    return jax.random.normal(key, leaf.shape, jnp.promote_types(leaf.dtype, jnp.float32))


def _on_leaves(
    key: jax.Array | None, x: PyTree, where: tree.Where, noise: Callable[[Any, jax.Array], jax.Array]
) -> PyTree:
    if key is not None:
        checks.one_key(key)
    chosen = jax.tree.leaves(tree.resolve(where, x))
    leaves, treedef = jax.tree.flatten(x)
    # One array takes the key as it is, which makes these the values of flax.linen's layers.
    keys = [key] * len(leaves) if key is None or len(leaves) < 2 else jax.random.split(key, len(leaves))
    noisy = []
    for leaf_key, (path, leaf), is_chosen in zip(keys, tree.leaf_paths(x).items(), chosen, strict=True):
        if is_chosen and not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise TypeError(
                f"x: expected floating-point leaves; got {jnp.result_type(leaf)} at {path or '(root)'}. "
                "Leave it out by where=, or cast it."
            )
        array = jnp.asarray(leaf)
        noisy.append(noise(leaf_key, array).astype(array.dtype) if is_chosen else leaf)
    return treedef.unflatten(noisy)
