"""The page with the table of the differences."""

import importlib.metadata
from typing import NamedTuple

GRADIENT = "gradient by "
PACKAGES = ("jax", "flax", "optax", "torch", "keras", "scikit-learn")
HEAD = """# Peers

What jaxdl computes beside what PyTorch, Keras and scikit-learn compute from the same float32 inputs, on CPU, by
{versions}.

```bash
pip install '.[test,bench]'
JAXDL_PEERS_TABLE=docs/peers.md python -m pytest -m peers
```

runs the comparisons and writes this page; without the variable they are only run, and without a peer its own are
skipped.

- Differences are *relative* to the peer's entry or to a scale, whichever is larger: the largest entry of the array, but
  1 for images, and at most 1 for activations. *Allowed* is what the test states: 1e-6, eight roundings of float32, or
  more for a reason that stands beside it. Rows with several inputs show the worst of each number.
- A gradient is the product of a random vector with the Jacobian.
- Of random draws, statistics are compared, and allowed is an interval that independent draws leave about once in a
  million runs.
- Keras runs on JAX and calls the functions of `jax.nn` and `jax.scipy` where jaxdl does: its rows test conventions
  (axes, signs, defaults), those of PyTorch the numbers too.
- Remarks name the peer's function, and how its definition was converted.

| function | peer | compared | max abs difference | relative | allowed | remark |
|---|---|---|---:|---:|---:|---|
"""


class Row(NamedTuple):
    function: str
    peer: str
    compared: str
    difference: float
    relative: float
    allowed: float
    remark: str


def merged(rows: list[Row]) -> list[Row]:
    """One row for all the inputs of a comparison and all its gradients, by function and peer."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        kind = GRADIENT if row.compared.startswith(GRADIENT) else row.compared
        groups.setdefault((row.function, row.peer, kind, row.remark), []).append(row)
    worst = [_worst(kind, group) for (_, _, kind, _), group in groups.items()]
    return sorted(worst, key=lambda row: (row.function.lower(), row.peer))


def _worst(kind: str, group: list[Row]) -> Row:
    if kind == GRADIENT:
        kind += ", ".join(dict.fromkeys(row.compared.removeprefix(GRADIENT) for row in group))
    difference, relative, allowed = (max(numbers) for numbers in zip(*(row[3:6] for row in group), strict=True))
    return group[0]._replace(compared=kind, difference=difference, relative=relative, allowed=allowed)


def page(rows: list[Row]) -> str:
    return HEAD.format(versions=", ".join(map(version, PACKAGES))) + "".join(map(line, merged(rows)))


def line(row: Row) -> str:
    numbers = (f"{number:.1e}" if number else "0" for number in (row.difference, row.relative, row.allowed))
    return f"| `{row.function}` | {row.peer} | {row.compared} | {' | '.join(numbers)} | {row.remark or ' '} |\n"


def version(package: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{package} (not installed)"
