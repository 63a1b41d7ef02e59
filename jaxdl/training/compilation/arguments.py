"""What a compiled program is bound to: structure, shapes, dtypes, shardings and static values of its arguments."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
from jax.core import Tracer

PyTree = Any
MOST = 5  # differences a message lists


class Leaf(NamedTuple):
    """One array of the arguments; what `jax.jit` compiles anew for when it changes."""

    shape: tuple[int, ...]
    dtype: Any
    weak: bool
    sharding: jax.sharding.Sharding | None

    def __str__(self) -> str:
        kind = f"{self.dtype}[{','.join(map(str, self.shape))}]"
        return f"weakly typed {kind}" if self.weak else kind


class Arguments(NamedTuple):
    """The arguments of a call, as far as they decide which program is run. Hashable.

    Attributes:
      names: of the arguments.
      structure: of all dynamic arguments together.
      leaves: of the dynamic arguments.
      static: `(name, value)` of the static ones.
    """

    names: tuple[str, ...]
    structure: Any
    leaves: tuple[Leaf, ...]
    static: tuple[tuple[str, Any], ...]

    @property
    def outline(self) -> "Arguments":
        """Without weak types and shardings, which may differ once, between the first call and what it returned."""
        return self._replace(leaves=tuple(leaf._replace(weak=False, sharding=None) for leaf in self.leaves))


def arguments_of(dynamic: Mapping[str, PyTree], static: Mapping[str, Any]) -> Arguments:
    """The `Arguments` of a call, by the names of its arguments.

    Raises:
      TypeError: a dynamic argument that holds something other than arrays and numbers.
    """
    leaves, structure = jax.tree.flatten(tuple(dynamic.values()))
    return Arguments(tuple(dynamic), structure, tuple(map(_leaf, leaves)), tuple(sorted(static.items())))


def changes(before: Arguments, now: Arguments) -> list[str]:
    """What differs, a sentence for each difference; empty if the same program serves both."""
    if before.names != now.names:
        return [f"arguments {_listed(now.names)} now, {_listed(before.names)} before"]
    old_static = dict(before.static)
    found = [
        f"static argument `{name}`: {_short(value)} now, {_short(old_static.get(name))} before"
        for name, value in now.static
        if name not in old_static or old_static[name] != value
    ]
    old, new = _by_path(before), _by_path(now)
    missing, added = [path for path in old if path not in new], [path for path in new if path not in old]
    if missing or added:
        found += [f"argument `{path}`: {new[path]} now, not there before" for path in added]
        found += [f"argument `{path}`: not there now, {old[path]} before" for path in missing]
    elif before.structure != now.structure:
        found.append(f"the structure of the arguments: {now.structure} now, {before.structure} before")
    both = [(path, old[path], new[path]) for path in new if path in old]
    return found + [f"argument `{path}`: {text}" for path, was, is_ in both if (text := _change(was, is_))]


def closest_changes(known: Iterable[Arguments], now: Arguments) -> list[str]:
    """What differs from the likest of those known; empty if the same program serves both, or none is known."""
    return min((changes(before, now) for before in known), key=len, default=[])


def explained(found: list[str]) -> str:
    """The first few differences as one clause."""
    more = f"; and {len(found) - MOST} more" if len(found) > MOST else ""
    return "; ".join(found[:MOST]) + more


def _leaf(value: Any) -> Leaf:
    aval = jax.typeof(value)
    concrete = isinstance(value, jax.Array) and not isinstance(value, Tracer)
    sharding = value.sharding if concrete else None
    return Leaf(aval.shape, aval.dtype, bool(getattr(aval, "weak_type", False)), sharding)


def _change(before: Leaf, now: Leaf) -> str:
    if (before.shape, before.dtype, before.weak) != (now.shape, now.dtype, now.weak):
        return f"{now} now, {before} before"
    a, b = before.sharding, now.sharding
    if a is None or b is None or a == b or a.is_equivalent_to(b, len(now.shape)):
        return ""
    return f"{now} on {b} now, on {a} before"


def _by_path(arguments: Arguments) -> dict[str, Leaf]:
    values = jax.tree.unflatten(arguments.structure, range(len(arguments.leaves)))
    paths = jax.tree_util.tree_flatten_with_path(values)[0]
    named = ((f"{arguments.names[path[0].idx]}{jax.tree_util.keystr(path[1:])}", leaf) for path, leaf in paths)
    return {name: arguments.leaves[position] for name, position in named}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "(none)"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
