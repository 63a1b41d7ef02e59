"""What a run was made of, as plain values, and how it differs from what a checkpoint was made of."""

import difflib
import json
import re
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxdl.tree import leaf_paths

PyTree = Any
Config = dict[str, Any]
UNKNOWN = "--------"  # in place of a checksum that one process alone cannot take
_ROWS = 64  # of each array, evenly spread, that are looked at to tell one data set from another


def plain(config: Mapping[str, Any] | None) -> Config:
    """The user's configuration as JSON would give it back.

    Raises:
      TypeError: it is no mapping from strings, or holds what JSON cannot.
    """
    if config is None:
        return {}
    if not isinstance(config, Mapping) or not all(isinstance(name, str) for name in config):
        raise TypeError(
            f"config: expected a mapping from names to plain values; got {config!r}. "
            "Pass for example config={'learning_rate': 0.1}."
        )
    try:
        return json.loads(json.dumps(dict(config), default=_number))
    except TypeError as error:
        raise TypeError(
            f"config: expected numbers, strings, None, lists and mappings of these; got {config!r} ({error}). "
            "Describe other things by their names."
        ) from None


def _number(value: Any) -> Any:
    if isinstance(value, (np.generic, np.ndarray, jax.Array)):
        return np.asarray(value).tolist()
    raise TypeError(f"{type(value).__name__} is not serializable")


def data_fingerprint(data: PyTree) -> dict[str, str]:
    """`{path: "shape dtype checksum"}` of arrays; the checksum is of some rows alone."""
    return {path or "(root)": _array_fingerprint(leaf) for path, leaf in leaf_paths(data).items()}


def _array_fingerprint(array: Any) -> str:
    chosen = np.unique(np.linspace(0, len(array) - 1, _ROWS).round().astype(int))
    checksum = UNKNOWN
    if not isinstance(array, jax.Array) or array.is_fully_addressable:
        checksum = f"{zlib.crc32(np.ascontiguousarray(array[chosen]).tobytes()):08x}"
    return f"{list(array.shape)} {array.dtype} {checksum}"


def program_text(fn: Any, *args: Any) -> str:
    """The traced program of a function, without what differs between two processes that trace the same."""
    closed = jax.make_jaxpr(fn)(*args)
    constants = "".join(
        f"const {_array_fingerprint(np.atleast_1d(np.asarray(c)))}\n" for c in map(_plain, closed.consts)
    )
    return constants + re.sub(r" at 0x[0-9a-f]+", "", str(closed.jaxpr)) + "\n"


def _plain(const: Any) -> Any:
    return jax.random.key_data(const) if jax.dtypes.issubdtype(const.dtype, jax.dtypes.prng_key) else const


def differences(saved: Mapping[str, Any], now: Mapping[str, Any], *, prefix: str = "") -> list[str]:
    """`["batch_size: 32 in the checkpoint, 64 now", ...]`, one entry for every value that differs."""
    found: list[str] = []
    for name in [*saved, *(name for name in now if name not in saved)]:
        old, new = saved.get(name, _ABSENT), now.get(name, _ABSENT)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, prefix=f"{prefix}{name}/")
        elif not _same(old, new):
            found.append(f"{prefix}{name}: {old} in the checkpoint, {new} now")
    return found


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, str) and isinstance(new, str) and UNKNOWN in (old[-len(UNKNOWN) :], new[-len(UNKNOWN) :]):
        return old[: -len(UNKNOWN)] == new[: -len(UNKNOWN)]
    return old == new


class _Absent:
    def __repr__(self) -> str:
        return "nothing"


_ABSENT = _Absent()


def first_difference(saved: str, now: str) -> str:
    """The first lines by which two texts differ: `- old` and `+ new`."""
    lines = difflib.unified_diff(saved.splitlines(), now.splitlines(), n=0, lineterm="")
    changed = [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    old = next((line for line in changed if line.startswith("-")), "- (nothing)")
    new = next((line for line in changed if line.startswith("+")), "+ (nothing)")
    return f"{' '.join(old.split())[:200]}\n{' '.join(new.split())[:200]}"
