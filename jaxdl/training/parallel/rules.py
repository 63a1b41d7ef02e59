"""Rules by which parameters are sharded."""

from dataclasses import dataclass
from typing import Any

from jax.sharding import PartitionSpec

from jaxdl import checks
from jaxdl.tree import Where, leaf_paths, resolve

PyTree = Any
AXIS = "data"


@dataclass(frozen=True)
class FullySharded:
    """A rule by which parameters are sharded; made by `fully_sharded`.

    Attributes:
      min_size: entries from which a parameter is sharded.
      where: parameters that may be sharded, see `jaxdl.tree`; None for all.
    """

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

    Returns:
      The rule.

    Raises:
      ValueError: `min_size` below 1; when used on several devices, nothing that can be sharded.

    References:
      Rajbhandari, Rasley, Ruwase, He, "ZeRO: memory optimizations toward training trillion parameter models", 2020.
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
