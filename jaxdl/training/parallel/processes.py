"""Arrays of which other processes hold parts, and what all processes have to agree on."""

import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

PyTree = Any


def put(leaf: Any, sharding: NamedSharding) -> jax.Array:
    """An array on the devices of a sharding; other processes, which may own some of these, pass the same one."""
    if sharding.is_fully_addressable or not _is_local(leaf):
        return jax.device_put(leaf, sharding)
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        data = np.asarray(jax.random.key_data(leaf))
        return jax.random.wrap_key_data(_from_whole(sharding, data), impl=jax.random.key_impl(leaf))
    return _from_whole(sharding, _as_numpy(leaf))


def joined(part: Any, sharding: NamedSharding) -> jax.Array:
    """The parts of all processes, one behind the other, on the devices of a sharding of the leading axis."""
    return jax.make_array_from_process_local_data(sharding, _as_numpy(part))


def agree(argument: str, expected: str, value: Any, remedy: str) -> None:
    """Raises ValueError in every process unless all of them hold the same text, or arrays of the same bytes."""
    from jax.experimental import multihost_utils

    digests = np.ravel(multihost_utils.process_allgather(np.asarray(_digest(value), np.uint32)))
    others = np.flatnonzero(digests != digests[0]).tolist()
    if others:
        raise ValueError(f"{argument}: expected {expected}; got another than process 0 in {others}. {remedy}")


def agreed(value: bool) -> bool:
    """What process 0 says."""
    from jax.experimental import multihost_utils

    return bool(multihost_utils.broadcast_one_to_all(np.asarray(value)))


def _from_whole(sharding: NamedSharding, value: np.ndarray) -> jax.Array:
    return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])


def _as_numpy(leaf: Any) -> np.ndarray:
    return np.asarray(leaf, jnp.result_type(leaf))  # in JAX's precision, not in NumPy's double one


def _is_local(leaf: Any) -> bool:
    return not isinstance(leaf, jax.Array) or leaf.is_fully_addressable


def _digest(value: Any) -> int:
    if isinstance(value, str):
        return zlib.crc32(value.encode())
    digest = zlib.crc32(str(jax.tree.structure(value)).encode())
    for leaf in jax.tree.leaves(value):
        if _is_local(leaf):
            keys = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            array = np.asarray(jax.random.key_data(leaf) if keys else leaf)
            digest = zlib.crc32(f"{array.shape}{array.dtype}".encode() + array.tobytes(), digest)
    return digest
