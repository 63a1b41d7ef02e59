"""The last link of a chain: an update that takes the parameters to a point of one's choosing."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import tree

PyTree = Any


def land(target: Callable[[str, jax.Array], jax.Array], updates: PyTree, params: PyTree | None) -> PyTree:
    """Updates u' with p + u' = target(p + u), leaf by leaf.

    Args:
      target: `target(path, w) -> point`, of a leaf after the update, in float32 at least; same shape and dtype.
      updates: what the chain so far would add to `params`.
      params: the parameters before the update.

    Returns:
      The new updates. Where `target` leaves a weight as it is, so is its update. A target of 0 is reached exactly. No
      other can be where p is so much larger that p + u' has no value so near to 0; the next one towards 0 is taken.

    Raises:
      ValueError: `params` is None.
    """
    if params is None:
        raise ValueError(
            "params: expected the parameters, on which this transformation depends; got None. "
            "Call tx.update(updates, state, params)."
        )
    return jax.tree_util.tree_map_with_path(
        lambda path, p, u: _landing_leaf(lambda w: target(tree.path_name(path), w), jnp.asarray(p), jnp.asarray(u)),
        params,
        updates,
    )


def _landing_leaf(target: Callable[[jax.Array], jax.Array], p: jax.Array, u: jax.Array) -> jax.Array:
    dtype = jnp.promote_types(p.dtype, jnp.float32)
    # An update coarser than its parameter could not even be -p.
    u = u.astype(jnp.promote_types(p.dtype, u.dtype))

    def applied(update: jax.Array) -> jax.Array:
        return (p + update).astype(p.dtype).astype(dtype)  # as optax.apply_updates rounds

    point = applied(u)
    goal = target(point)
    move = (goal - p.astype(dtype)).astype(u.dtype)
    beyond = jnp.abs(applied(move)) > jnp.abs(goal)
    move = jnp.where(beyond, jnp.nextafter(move, -p.astype(u.dtype)), move)
    return jnp.where(goal == point, u, move)
