"""`data_parallel`: a layout over the devices there are."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

from jaxdl import checks
from jaxdl.training.parallel.layout import Examples, Layout
from jaxdl.training.parallel.rules import AXIS, FullySharded


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
      ValueError: devices that there are not, twice the same, or not equally many of every process; `examples`.
      TypeError: `parameters` is no rule.

    Example:
      >>> fit(step, state, data, epochs=1, batch_size=128, layout=data_parallel())  # doctest: +SKIP
    """
    if parameters is not None and not isinstance(parameters, FullySharded):
        raise TypeError(
            f"parameters: expected None or what fully_sharded(...) returns; got {type(parameters).__name__}. "
            "Write parameters=fully_sharded()."
        )
    if examples not in (None, "replicated", "sharded"):
        raise ValueError(f"examples: expected 'replicated', 'sharded' or None; got {examples!r}. Use None.")
    if examples == "replicated" and jax.process_count() > 1:
        raise ValueError(
            "examples: expected 'sharded' or None with several processes, each of which passes its own part; got "
            "'replicated'. Place what every process has whole by layout.replicate(data)."
        )
    # Not jax.make_mesh, which may reorder: a process's part of the data has to be contiguous.
    ordered = sorted(_chosen(devices), key=lambda device: (device.process_index, device.id))
    mesh = Mesh(np.asarray(ordered), (AXIS,), axis_types=(AxisType.Auto,))
    return Layout(mesh, parameters, examples or ("replicated" if jax.process_count() == 1 else "sharded"))


def _chosen(devices: int | Sequence[Any] | None) -> list[Any]:
    available = jax.devices()
    number = isinstance(devices, (int, np.integer))
    if number:
        checks.whole_number(devices=devices, minimum=1, remedy="None takes all.")
        if devices > len(available):
            raise ValueError(
                f"devices: expected at most the {len(available)} there are; got {devices}. On CPU, XLA_FLAGS="
                f"--xla_force_host_platform_device_count={devices}, set before jax starts, makes as many."
            )
    chosen: list[Any] = available[:devices] if devices is None or number else list(devices)
    if not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(f"devices: expected at least one, each once; got {chosen}. None takes all.")
    owners = [device.process_index for device in chosen]
    counts = [owners.count(process) for process in range(jax.process_count())]
    if len(set(counts)) > 1:
        raise ValueError(
            f"devices: expected equally many of every process; got {counts} of processes 0 to {len(counts) - 1}. "
            "None takes all."
        )
    return chosen
