"""Many devices: one mesh axis over the examples of a batch, parameters replicated or sharded by rule.

A `Layout` says where things lie; `fit` and `evaluate` take it, and their programs stay those of one device. XLA's
partitioner then does the communication: means over the batch, those of batch normalization included, are means over
the whole batch, and random numbers do not depend on the number of devices.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxdl import checks
from jaxdl.training.state import TrainState, check_state
from jaxdl.tree import Where, leaf_paths, num_examples, path_name, resolve

PyTree = Any
AXIS = "data"
Examples = Literal["replicated", "sharded"]


@dataclass(frozen=True)
class FullySharded:
    """A rule by which parameters are sharded; made by `fully_sharded`."""

    min_size: int
    where: Where

    def specs(self, params: PyTree, num_devices: int) -> dict[str, PartitionSpec]:
        """`{path: spec}` of the parameters that are sharded."""
        chosen = leaf_paths(resolve(self.where, params))
        large = {path: leaf for path, leaf in leaf_paths(params).items() if chosen[path] and leaf.size >= self.min_size}
        specs = {path: _largest_dimension(leaf.shape, num_devices) for path, leaf in large.items()}
        specs = {path: spec for path, spec in specs.items() if spec is not None}
        if not specs and num_devices > 1:
            raise ValueError(
                f"parameters: expected a rule that shards some parameter over {num_devices} devices; of those chosen "
                f"by where={self.where!r}, {len(large)} have at least {self.min_size} entries, and none of these a "
                "dimension that the devices divide. Lower min_size, choose others, or leave all replicated."
            )
        return specs


def fully_sharded(*, min_size: int = 4096, where: Where = None) -> FullySharded:
    """Rule for `data_parallel(parameters=...)`: each chosen parameter is cut along its largest divisible dimension.

    Optimizer state and averages follow their parameters, so that each of n devices keeps one n-th of them. The step
    gathers the parameters, and sums each gradient to where its part is kept.

    Args:
      min_size: entries from which a parameter is sharded; smaller ones are not worth the messages.
      where: parameters that may be sharded, see `jaxdl.tree`; None for all.

    Raises:
      ValueError: `min_size` below 1; when used on several devices, nothing that can be sharded.
    """
    checks.whole_number(min_size=min_size, minimum=1, remedy="4096 keeps biases replicated.")
    where = tuple(where) if isinstance(where, list) else where  # a layout is hashed
    return FullySharded(min_size, where)


def _largest_dimension(shape: tuple[int, ...], num_devices: int) -> PartitionSpec | None:
    divisible = [axis for axis, length in enumerate(shape) if length and length % num_devices == 0]
    if num_devices == 1 or not divisible:
        return None
    axis = max(divisible, key=lambda axis: shape[axis])
    return PartitionSpec(*(AXIS if i == axis else None for i in range(axis + 1)))


@dataclass(frozen=True)
class Layout:
    """Where state, data and batches of a run lie; made by `data_parallel`. Frozen and hashable.

    Attributes:
      mesh: one axis, "data", over the devices, those of a process beside each other.
      parameters: rule by which parameters are sharded, or None.
      examples: whether every device keeps the whole data, or an equal share.
    """

    mesh: Mesh
    parameters: FullySharded | None
    examples: Examples

    @property
    def num_devices(self) -> int:
        """Devices of all processes."""
        return self.mesh.size

    @property
    def num_processes(self) -> int:
        """Processes that own the devices."""
        return len({device.process_index for device in self.mesh.devices.flat})

    @property
    def replicated(self) -> NamedSharding:
        """The whole array on every device."""
        return NamedSharding(self.mesh, PartitionSpec())

    @property
    def batch_sharding(self) -> NamedSharding:
        """An equal share of the leading axis on every device."""
        return NamedSharding(self.mesh, PartitionSpec(AXIS))

    def state_shardings(self, state: TrainState) -> TrainState:
        """Of every leaf of a state, which may be abstract; what restores a checkpoint onto these devices."""
        specs = {} if self.parameters is None else self.parameters.specs(state.params, self.num_devices)
        shapes = {path: leaf.shape for path, leaf in leaf_paths(state.params).items()}

        def sharding(key_path: tuple[Any, ...], leaf: Any) -> NamedSharding:
            name = "/" + path_name(key_path)
            # Moments and averages have the path of their parameter behind one of their own.
            for path, spec in specs.items():
                extra = len(leaf.shape) - len(shapes[path])
                if name.endswith(f"/{path}" if path else "") and extra >= 0 and leaf.shape[extra:] == shapes[path]:
                    return NamedSharding(self.mesh, PartitionSpec(*(None,) * extra, *spec))
            return self.replicated

        return jax.tree_util.tree_map_with_path(sharding, state)

    def place_state(self, state: TrainState) -> TrainState:
        """The state on the devices. Several processes pass the same one.

        Raises:
          ValueError: processes passed states that differ.
        """
        check_state(state)
        if self.num_processes > 1:
            _agree("state", "the same in every process", state, "Make it with the same key and the same parameters.")
        return jax.tree.map(_put, state, self.state_shardings(state))

    def place_data(self, data: PyTree) -> PyTree:
        """Arrays with a leading example axis on the devices; of several processes, each passes its own part.

        One process keeps the whole data on every device, so that a batch is gathered without communication, or, with
        `examples="sharded"`, one n-th of them, at the price of one sum of the batch over the devices at every step.
        Several processes keep each its own part; the parts are the data in the order of the processes. What a method
        of this layout has placed stays where it is.

        Raises:
          ValueError: no common example axis, parts that are unequal, or a number of examples that cannot be shared.
        """
        leaves = jax.tree.leaves(data)
        if leaves and all(self._holds(leaf) for leaf in leaves):
            return data
        count = num_examples(data)
        if self.num_processes > 1:
            outline = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), jnp.result_type(leaf)), data)
            _agree(
                "data", f"parts of equal shapes and dtypes in every process (here {count} examples)", str(outline),
                "Drop the examples that some parts have more, or place data that every process has by "
                "layout.replicate(data).",
            )  # fmt: skip
        owners = self.num_devices // self.num_processes
        if self.examples == "sharded" and count % owners:
            raise ValueError(
                f"data: expected a number of examples that {owners} devices can share equally; got {count}. "
                f"Drop {count % owners}, or place data that every process has by layout.replicate(data)."
            )
        if self.num_processes == 1:
            return jax.device_put(data, self.batch_sharding if self.examples == "sharded" else self.replicated)
        local = lambda leaf: np.asarray(leaf, jnp.result_type(leaf))  # noqa: E731
        return jax.tree.map(partial(_from_parts, self.batch_sharding), jax.tree.map(local, data))

    def replicate(self, tree: PyTree) -> PyTree:
        """The whole of every array on every device; several processes pass the same arrays, which is not checked."""
        return jax.tree.map(lambda leaf: leaf if self._holds(leaf) else _put(leaf, self.replicated), tree)

    def _holds(self, leaf: Any) -> bool:
        sharding = getattr(leaf, "sharding", None)
        return isinstance(sharding, NamedSharding) and sharding.mesh == self.mesh

    def check_batch(self, batch_size: int, *, microbatches: int = 1) -> None:
        """Raises ValueError unless the devices can share every (part of a) batch equally."""
        needed = self.num_devices * microbatches
        if batch_size % needed:
            parts = f" x {microbatches} microbatches" if microbatches > 1 else ""
            raise ValueError(
                f"batch_size: expected a multiple of {self.num_devices} devices{parts}, so that each has an equal "
                f"share; got {batch_size}. Use {max(needed, batch_size - batch_size % needed)}, or fewer devices."
            )

    def evaluation_batch(self, batch_size: int) -> int:
        """The next size that the devices share equally; evaluation masks what is too many."""
        return -(-batch_size // self.num_devices) * self.num_devices

    def agreed(self, value: bool) -> bool:
        """What process 0 says of a decision that was measured."""
        if self.num_processes == 1:
            return value
        from jax.experimental import multihost_utils

        return bool(multihost_utils.broadcast_one_to_all(np.asarray(value)))

    # Inside of compiled programs:

    def split(self, batch: PyTree, *, axis: int = 0) -> PyTree:
        """Constrains arrays to be shared along an axis of examples."""
        spec = PartitionSpec(*(None,) * axis, AXIS)
        return jax.lax.with_sharding_constraint(batch, NamedSharding(self.mesh, spec))

    def whole(self, tree: PyTree) -> PyTree:
        """Constrains arrays to be whole on every device."""
        return jax.lax.with_sharding_constraint(tree, self.replicated)

    def like_parameters(self, grads: PyTree) -> PyTree:
        """Constrains gradients to lie where their parameters do."""
        specs = {} if self.parameters is None else self.parameters.specs(grads, self.num_devices)
        shardings = jax.tree_util.tree_map_with_path(
            lambda path, _: NamedSharding(self.mesh, specs.get(path_name(path), PartitionSpec())), grads
        )
        return jax.lax.with_sharding_constraint(grads, shardings)

    def settle(self, state: TrainState) -> TrainState:
        """Constrains a state to lie where `place_state` puts it, so that it can be overwritten in place."""
        return jax.lax.with_sharding_constraint(state, self.state_shardings(state))


def data_parallel(
    devices: int | Sequence[Any] | None = None,
    *,
    parameters: FullySharded | None = None,
    examples: Examples | None = None,
) -> Layout:
    """Data parallelism over 1 to n devices, of one process or of many: a `layout` for `fit` and `evaluate`.

    Args:
      devices: the devices, or how many of `jax.devices()`; None for all.
      parameters: None keeps a copy on every device; `fully_sharded(...)` shares the large ones.
      examples: `"replicated"`: every device keeps the whole data; `"sharded"`: each keeps an equal share. None
        replicates in one process, and shards over several, each of which then passes its own part.

    Returns:
      The layout. Two of the same arguments are equal, so that compiled programs are found again.

    Raises:
      ValueError: devices that there are not, twice the same, or not equally many of every process.
      TypeError: `parameters` is no rule.

    Example:
      >>> fit(step, state, data, epochs=1, batch_size=128, layout=data_parallel())  # doctest: +SKIP
    """
    available = jax.devices()
    if isinstance(devices, int):
        checks.whole_number(devices=devices, minimum=1, remedy="None takes all.")
        if devices > len(available):
            raise ValueError(
                f"devices: expected at most the {len(available)} there are; got {devices}. On CPU, XLA_FLAGS="
                f"--xla_force_host_platform_device_count={devices}, set before jax starts, makes as many."
            )
    chosen = available[:devices] if devices is None or isinstance(devices, int) else list(devices)
    if not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(f"devices: expected at least one, each once; got {chosen}. None takes all.")
    if parameters is not None and not isinstance(parameters, FullySharded):
        raise TypeError(
            f"parameters: expected None or what fully_sharded(...) returns; got {type(parameters).__name__}. "
            "Write parameters=fully_sharded()."
        )
    if examples not in (None, "replicated", "sharded"):
        raise ValueError(f"examples: expected 'replicated', 'sharded' or None; got {examples!r}. Use None.")
    owners = [device.process_index for device in chosen]
    counts = {owners.count(process) for process in range(jax.process_count())}
    if len(counts) > 1:
        raise ValueError(
            f"devices: expected equally many of each of {jax.process_count()} processes; got {sorted(counts)}. "
            "None takes all."
        )
    if examples == "replicated" and jax.process_count() > 1:
        raise ValueError(
            "examples: expected 'sharded' or None with several processes, each of which passes its own part; got "
            "'replicated'. Place data that every process has by layout.replicate(data)."
        )
    # Not jax.make_mesh, which may reorder: a process's part of the data has to be contiguous.
    ordered = sorted(chosen, key=lambda device: (device.process_index, device.id))
    mesh = Mesh(np.asarray(ordered), (AXIS,), axis_types=(AxisType.Auto,))
    return Layout(mesh, parameters, examples or ("replicated" if jax.process_count() == 1 else "sharded"))


def _put(leaf: Any, sharding: NamedSharding) -> jax.Array:
    """An array on the devices of a sharding, of which other processes may own some."""
    if sharding.is_fully_addressable or not _is_local(leaf):
        return jax.device_put(leaf, sharding)
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        data = np.asarray(jax.random.key_data(leaf))
        return jax.random.wrap_key_data(_from_whole(sharding, data), impl=jax.random.key_impl(leaf))
    return _from_whole(sharding, np.asarray(leaf, jnp.result_type(leaf)))


def _from_whole(sharding: NamedSharding, value: np.ndarray) -> jax.Array:
    return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])


def _from_parts(sharding: NamedSharding, part: np.ndarray) -> jax.Array:
    return jax.make_array_from_process_local_data(sharding, part)


def _is_local(leaf: Any) -> bool:
    return not isinstance(leaf, jax.Array) or leaf.is_fully_addressable


def _agree(argument: str, expected: str, value: Any, remedy: str) -> None:
    """Raises ValueError in every process unless all of them hold the same bytes."""
    from jax.experimental import multihost_utils

    mine = _digest(value)
    digests = np.asarray(multihost_utils.process_allgather(np.asarray(mine, np.uint32)))
    if np.any(digests != digests.flat[0]):
        raise ValueError(f"{argument}: expected {expected}; got some that differ. {remedy}")


def _digest(value: Any) -> int:
    if isinstance(value, str):
        return zlib.crc32(value.encode())
    digest = zlib.crc32(str(jax.tree.structure(value)).encode())
    for leaf in jax.tree.leaves(value):
        if not _is_local(leaf):
            continue
        keys = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        digest = zlib.crc32(np.asarray(jax.random.key_data(leaf) if keys else leaf).tobytes(), digest)
    return digest
