"""Inner products of every example's gradient with one direction, no gradient of an example formed."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.jaxprs import open_jaxpr, trace
from jaxdl.jaxprs.uses import inner_jaxprs
from jaxdl.losses import batch_mean
from jaxdl.tree import leaf_norms, norm

PyTree = Any
Losses = Callable[[PyTree, PyTree], jax.Array]


def inner_products(losses_fn: Losses, params: PyTree, batch: PyTree, direction: PyTree) -> jax.Array:
    """`<g_i, v>` for all examples at once, `(batch,)`: the derivative of their losses along v, one forward pass."""

    def losses(params: PyTree) -> jax.Array:
        return losses_fn(params, batch)

    direction = jax.tree.map(lambda v, p: v.astype(p.dtype), direction, params)
    if not _reverse_only(trace(losses_fn, params, batch)):
        return jax.jvp(losses, (params,), (direction,))[1]
    # The weights w are pulled back to sum_i w_i g_i, and the gradient by w of <sum_i w_i g_i, v> is what is sought.
    values, pull_back = jax.vjp(losses, params)
    return jax.vjp(lambda weights: pull_back(weights)[0], values)[1](direction)[0]


def _reverse_only(jaxpr: Any) -> bool:
    """Whether a function in it has a rule for reverse mode alone; forward mode then fails, once it is compiled."""
    return any(
        eqn.primitive.name.startswith("custom_vjp_call") or any(_reverse_only(body) for _, body, _ in inner_jaxprs(eqn))
        for eqn in open_jaxpr(jaxpr).eqns
    )


def sum_of_gradients(losses_fn: Losses, params: PyTree, batch: PyTree) -> PyTree:
    """`sum_i g_i` in float32 at least."""

    def total(params: PyTree) -> jax.Array:
        losses = losses_fn(params, batch)
        return batch_mean(losses) * losses.size

    return jax.tree.map(widened, jax.grad(total)(params))


def widened(leaf: jax.Array) -> jax.Array:
    """The array in float32 at least, in which sums are taken."""
    return leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))


def polar(tree: PyTree) -> tuple[jax.Array, PyTree]:
    """Length of a pytree taken as one vector, and its direction, of length 1 even where the squares underflow; or 0."""
    length = norm(jnp.stack(list(leaf_norms(tree).values())))
    return length, jax.tree.map(lambda leaf: leaf / jnp.where(length == 0, 1, length), tree)
