"""Where things lie: one mesh axis over the examples of a batch, parameters replicated or sharded by rule.

The programs of `fit` and `evaluate` stay those of one device; a layout adds constraints to them, and XLA's partitioner
does the communication. Means over the batch, those of batch normalization included, are means over the whole batch, and
random numbers do not depend on the number of devices.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxdl.training.parallel import processes
from jaxdl.training.parallel.rules import AXIS, FullySharded
from jaxdl.training.state import TrainState, check_state
from jaxdl.tree import leaf_paths, num_examples, path_name

PyTree = Any
Examples = Literal["replicated", "sharded"]


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
            # Moments and averages have the path of their parameter behind one of their own; memories of several
            # gradients have leading axes, too.
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
        shardings = self.state_shardings(state)
        if all(jax.tree.leaves(jax.tree.map(lambda leaf, to: getattr(leaf, "sharding", None) == to, state, shardings))):
            return state
        if self.num_processes > 1:
            remedy = "Make it with the same key and from the same parameters."
            processes.agree("state", "the same one in every process", state, remedy)
        return jax.tree.map(processes.put, state, shardings)

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
            outline = jax.tree.map(lambda leaf: (np.shape(leaf), str(jnp.result_type(leaf))), data)
            expected = f"a part of the same shapes and dtypes in every process (here {count} examples)"
            remedy = "Drop what some parts have more, or place what every process has whole by layout.replicate(data)."
            processes.agree("data", expected, str(outline), remedy)
        owners = self.num_devices // self.num_processes
        if self.examples == "sharded" and count % owners:
            raise ValueError(
                f"data: expected a number of examples that {owners} devices can share equally; got {count}. "
                f"Drop {count % owners} of them, or place what every process has whole by layout.replicate(data)."
            )
        if self.num_processes == 1:
            return jax.device_put(data, self.batch_sharding if self.examples == "sharded" else self.replicated)
        return jax.tree.map(partial(processes.joined, sharding=self.batch_sharding), data)

    def replicate(self, tree: PyTree) -> PyTree:
        """The whole of every array on every device; several processes pass the same arrays, which is not checked."""
        return jax.tree.map(lambda leaf: leaf if self._holds(leaf) else processes.put(leaf, self.replicated), tree)

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
        return value if self.num_processes == 1 else processes.agreed(value)

    def paced(self, values: PyTree) -> PyTree:
        """The values; on several CPU devices only when they are there.

        XLA's collectives for CPU wait in threads of a pool that has few; with two programs under way they may wait for
        each other for ever.
        """
        cpus = self.num_devices > 1 and self.mesh.devices.flat[0].platform == "cpu"
        return jax.block_until_ready(values) if cpus else values

    # Inside of compiled programs:

    def split(self, batch: PyTree, *, axis: int = 0) -> PyTree:
        """Constrains arrays to be shared along an axis of examples."""
        spec = PartitionSpec(*(None,) * axis, AXIS)
        return jax.lax.with_sharding_constraint(batch, NamedSharding(self.mesh, spec))

    def whole(self, tree: PyTree) -> PyTree:
        """Constrains arrays to be whole on every device."""
        return jax.lax.with_sharding_constraint(tree, self.replicated)

    def settle(self, state: TrainState) -> TrainState:
        """Constrains a state to lie where `place_state` puts it, so that it can be overwritten in place."""
        return jax.lax.with_sharding_constraint(state, self.state_shardings(state))

    def _holds(self, leaf: Any) -> bool:
        sharding = getattr(leaf, "sharding", None)
        return isinstance(sharding, NamedSharding) and sharding.mesh == self.mesh
