"""Clipping of gradients: by value, by the norm of all, by the norm of each layer, and example by example.

To be the FIRST of a chain. `clip_by_value` is `optax.clip` and `clip_by_global_norm` optax's own. What they do with
gradients that have no ordinary size, beside the two written here:

| gradient                          | clip_by_value | clip_by_global_norm | clip_each_layer   | clip_examples         |
|-----------------------------------|---------------|---------------------|-------------------|-----------------------|
| within the bound, or 0            | same bits     | same bits           | same bits         | mean                  |
| of norm c                         | same bits     | itself, to rounding | same bits         | mean                  |
| no leaf                           | nothing       | nothing             | nothing           | error                 |
| an entry NaN                      | NaN there     | all NaN             | its layer NaN     | mean NaN              |
| an entry inf                      | c there       | NaN there, others 0 | the same, layer   | NaN there             |
| finite, squares overflow          | right         | all 0               | right             | right                 |
| (float32 1e20, float16 300)       |               |                     |                   |                       |
| finite, squares underflow (1e-30) | right         | not clipped         | right             | right                 |
| bfloat16, float16                 | kept          | kept                | kept, norm in     | kept, norm and mean   |
|                                   |               |                     | float32           | in float32            |
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxdl import checks, tree
from jaxdl.optimizers.subtrees import on_chosen

PyTree = Any

_REMEDY = "It bounds a norm; 1.0 is usual."


def clip_each_layer(max_norm: float | jax.Array, *, where: tree.Where = None) -> optax.GradientTransformation:
    """`g_l <- g_l min(1, c / |g_l|)` for every layer l: all its leaves, kernel and bias together, as one vector.

    Of `optax.clip_by_global_norm` one exploding layer shrinks the steps of all; here only its own. A layer is what
    holds a leaf: `Dense_0` for `Dense_0/kernel` and `Dense_0/bias`, see `jaxdl.tree.layer_of`.

    Args:
      max_norm: the bound c > 0, a number or a traced scalar.
      where: the leaves that are clipped and counted in the norms, see `jaxdl.tree`. None: all.

    Returns:
      An optax transformation, to be the first of a chain. Norms are at most c (1 + 1e-6) in float32, c (1 + 2^-8) in
      bfloat16. For zero, infinite and NaN gradients see the table of `jaxdl.optimizers.clipping`.

    Raises:
      ValueError: `max_norm` is not positive; at `init`, a `where` that matches nothing.

    Example:
      >>> tx = optax.chain(clip_each_layer(1.0), optax.sgd(0.1))

    References:
      Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013, algorithm 1.
    """
    checks.number(max_norm=max_norm, minimum=0, exclusive=True, remedy=_REMEDY)

    def clipped(updates: PyTree) -> PyTree:
        leaves = tree.leaf_paths(updates)
        layers: dict[str, list[str]] = {}
        for path in leaves:
            layers.setdefault(tree.layer_of(path), []).append(path)
        new: dict[str, jax.Array] = {}
        for paths in layers.values():
            bounded, _ = _bounded([leaves[path] for path in paths], max_norm)
            new.update({path: b.astype(leaves[path].dtype) for path, b in zip(paths, bounded, strict=True)})
        return jax.tree_util.tree_map_with_path(lambda path, _: new[tree.path_name(path)], updates)

    stateless = optax.stateless(lambda updates, params: clipped(updates))
    return on_chosen(stateless, where)


def clip_examples(grads: PyTree, max_norm: float | jax.Array) -> tuple[PyTree, jax.Array]:
    """The mean of per-example gradients, each clipped by its own norm: `1/B sum_i g_i min(1, c / |g_i|)`.

    One example then moves the mean by c / B at most. (`optax.per_example_global_norm_clip` returns the SUM, and drops
    examples whose squares overflow.)

    Args:
      grads: pytree of gradients per example, leaves `(B, ...)`.
      max_norm: the bound c > 0, a number or a traced scalar; |g_i| is taken over all leaves together.

    Returns:
      `(mean, share)`: the mean, with the structure and dtypes of `grads` and without the leading axis; the share of the
      examples that were longer than c, a float32 scalar. NaN is neither longer nor hidden: it is in the mean.

    Raises:
      ValueError: `max_norm` is not positive; leaves that do not share one leading axis.

    References:
      Abadi et al., "Deep learning with differential privacy", 2016, algorithm 1.
    """
    checks.number(max_norm=max_norm, minimum=0, exclusive=True, remedy=_REMEDY)
    tree.num_examples(grads, argument="grads")
    leaves, structure = jax.tree.flatten(grads)
    bounded, long = jax.vmap(lambda leaves: _bounded(leaves, max_norm))(leaves)
    means = [jnp.mean(b, 0).astype(jnp.asarray(leaf).dtype) for b, leaf in zip(bounded, leaves, strict=True)]
    return jax.tree.unflatten(structure, means), jnp.mean(long, dtype=jnp.float32)


def _bounded(leaves: list[jax.Array], max_norm: float | jax.Array) -> tuple[list[jax.Array], jax.Array]:
    """The leaves, as one vector no longer than `max_norm` and in float32 at least, and whether they were longer."""
    wide = [leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32)) for leaf in map(jnp.asarray, leaves)]
    # The norm of numbers that can be represented need not be.
    largest = jnp.max(jnp.stack([jnp.max(jnp.abs(leaf), initial=0) for leaf in wide]))
    unit = tree.divisor(jax.lax.stop_gradient(largest))
    scaled = [leaf / unit for leaf in wide]
    norm = tree.norm(jnp.stack([tree.norm(leaf) for leaf in scaled]))
    long = norm > max_norm / unit
    factor = jnp.where(long, max_norm / jnp.where(long, norm, 1), 1)
    new = [
        jnp.where(jnp.isnan(norm), norm, jnp.where(long, short * factor, leaf))
        for short, leaf in zip(scaled, wide, strict=True)
    ]
    return new, long
