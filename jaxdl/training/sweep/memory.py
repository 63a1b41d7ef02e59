"""How many members fit into memory at once."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxdl.training.programs import Stopwatch

PyTree = Any
Device = Any  # a jax.Device, which is no type to a type checker
SHARE = 0.5  # of the memory that is free, for a group of members


def program_bytes(watch: Stopwatch, program: Any, *args: Any, data: PyTree, **static: Any) -> int | None:
    """Bytes on each device that a program needs for these arguments beside `data`; None where nobody knows.

    The arguments may be shapes; the compilation is on the watch, and is found again by the call.
    """
    before = time.perf_counter()
    found = program.lower(*args, **static).compile().memory_analysis()
    watch.compile_seconds += time.perf_counter() - before
    if found is None:
        return None
    given = found.argument_size_in_bytes - tree_bytes(data)
    return given + found.output_size_in_bytes - found.alias_size_in_bytes + found.temp_size_in_bytes


def tree_bytes(tree: PyTree) -> int:
    """Bytes of all arrays; a key counts as its data."""
    arrays = [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array)]
    return sum(
        jax.random.key_data(leaf).nbytes if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf.nbytes
        for leaf in arrays
    )


def available_bytes(devices: Sequence[Device]) -> int | None:
    """Bytes that are free on each of the devices; None where nobody knows. CPU devices share the machine's."""
    stats = [device.memory_stats() for device in devices]
    known = [each["bytes_limit"] - each["bytes_in_use"] for each in stats if each and "bytes_limit" in each]
    if len(known) == len(devices):
        return min(known)
    free = _free_on_the_host() if devices[0].platform == "cpu" else None
    return None if free is None else free // len(devices)


def members_that_fit(needed: Callable[[int], int | None], available: int | None, most: int) -> int:
    """The largest group, of at most so many, whose `needed` bytes are within the share; one fits whatever it needs.

    The largest where the need is a constant and so much a member, as it is but for the compiler's whims; the one taken
    is within the share in any case.
    """
    size = most
    while size > 1 and available is not None:
        found = needed(size)
        if found is None or found <= SHARE * available:
            break
        size = max(1, min(size - 1, int(size * SHARE * available / found)))
    return size


def _free_on_the_host(path: Path = Path("/proc/meminfo")) -> int | None:
    lines = path.read_text().splitlines() if path.exists() else []
    kilobytes = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return 1024 * kilobytes[0] if kilobytes else None
