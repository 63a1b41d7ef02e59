"""Any pytree as a flat dictionary of plain arrays, and back."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.tree import leaf_paths

PyTree = Any
Outline = dict[str, list[Any]]


def is_key(leaf: Any) -> bool:
    """Whether a leaf holds typed PRNG keys, abstract ones included."""
    return jax.dtypes.issubdtype(getattr(leaf, "dtype", None), jax.dtypes.prng_key)


def outline(tree: PyTree) -> Outline:
    """`{path: [shape, dtype]}` of every leaf; keys are described by their implementation, `key<threefry2x32>`."""
    return {path: _described(leaf) for path, leaf in leaf_paths(tree).items()}


def _described(leaf: Any) -> list[Any]:
    kind = f"key<{key_implementation(leaf)}>" if is_key(leaf) else jnp.result_type(leaf).name
    return [list(jnp.shape(leaf)), kind]


def key_implementation(key: Any) -> str:
    """The name by which `jax.random.wrap_key_data` knows the implementation of a key."""
    return str(key.dtype._impl.name)


def encoded(tree: PyTree) -> dict[str, Any]:
    """`{path: array}` with key data in place of keys, and without the leaves that have no entry.

    The arrays are copies: what is written in the background must not be overwritten by the steps that follow.
    """
    plain = {path: jax.random.key_data(leaf) if is_key(leaf) else leaf for path, leaf in leaf_paths(tree).items()}
    return {path: jnp.copy(leaf) for path, leaf in plain.items() if np.size(leaf)}


def targets(like: PyTree) -> dict[str, jax.ShapeDtypeStruct]:
    """What `encoded(like)` looks like, with the shardings on which the leaves of `like` lie."""
    plain = {path: _key_data_of(leaf) if is_key(leaf) else leaf for path, leaf in leaf_paths(like).items()}
    return {path: _target(leaf) for path, leaf in plain.items() if np.prod(jnp.shape(leaf), dtype=int)}


def _target(leaf: Any) -> jax.ShapeDtypeStruct:
    # Without a sharding, arrays come back where they were saved from, which may be devices that are not there.
    sharding = getattr(leaf, "sharding", None) or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf), sharding=sharding)


def _key_data_of(leaf: Any) -> Any:
    if isinstance(leaf, jax.Array):
        return jax.random.key_data(leaf)
    return jax.eval_shape(jax.random.key_data, leaf)


def decoded(leaves: Mapping[str, Any], like: PyTree) -> PyTree:
    """The tree of `like` with the leaves that `encoded` gave."""

    def leaf(path: str, old: Any) -> Any:
        if path not in leaves:
            return jnp.zeros(jnp.shape(old), jnp.result_type(old))  # it has no entry
        return jax.random.wrap_key_data(leaves[path], impl=key_implementation(old)) if is_key(old) else leaves[path]

    structure = jax.tree.structure(like)
    return jax.tree.unflatten(structure, [leaf(path, old) for path, old in leaf_paths(like).items()])
