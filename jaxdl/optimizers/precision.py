"""The arithmetic of optimizers in float32 at least, whatever the parameters are stored in."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

PyTree = Any


def in_float32(tx: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """`tx` with memories and arithmetic in float32 at least; updates keep the gradients' dtypes.

    In bfloat16 Adam's 0.999 is 1 and a sum of squares stops growing at 256 of its summands. Memories also keep their
    dtypes beside a hyper-parameter of higher precision, so that the state can be carried by a scan.
    """
    inner = optax.with_extra_args_support(tx)

    def init(params: PyTree) -> PyTree:
        return inner.init(_raised(params))

    def update(
        updates: PyTree, state: PyTree, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, PyTree]:
        new_updates, new_state = inner.update(_raised(updates), state, _raised(params), **extra_args)
        return optax.tree.cast_like(new_updates, updates), optax.tree.cast_like(new_state, state)

    return optax.GradientTransformationExtraArgs(init, update)


def _raised(tree: PyTree) -> PyTree:
    return jax.tree.map(_raised_leaf, tree)


def _raised_leaf(leaf: Any) -> Any:
    dtype = jnp.result_type(leaf)
    return leaf.astype(jnp.float32) if jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits < 32 else leaf
