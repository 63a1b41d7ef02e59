"""Running a traced program with the outputs of chosen uses edited, or measured.

An edit brings a vector, and a function says what becomes of a use's output and that vector: a virtual bias is added, a
measurement is taken. Where a scan takes another slice of a stacked parameter in every turn, it takes another slice of
the vector, too.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from jaxdl.jaxprs.taps import Tap, evaluate_tapped, scans_around
from jaxdl.jaxprs.uses import Use

# `alter(output, vector, use)` gives what stands in the output's place.
Alter = Callable[[jax.Array, jax.Array, Use], jax.Array]
# `measure(output, vector, use)` gives a reading of the vector's shape and dtype.
Measure = Callable[[jax.Array, jax.Array, Use], jax.Array]


class Edit(NamedTuple):
    """A use and the vector that comes to it; `vector` has the lengths of the scans that slice the parameter first."""

    use: Use
    vector: jax.Array


def vector_shape(closed_jaxpr: Any, use: Use, own: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a use's vector: lengths of the scans that slice the parameter, then `own`, that of one turn."""
    lengths = dict(scans_around(closed_jaxpr, use.where))
    return (*(lengths[scan] for scan in use.sliced_by), *own)


def evaluate_edited(closed_jaxpr: Any, inputs: Sequence[Any], edits: Sequence[Edit], alter: Alter) -> list[Any]:
    """Evaluates a closed jaxpr with `alter` applied to the outputs of the edits' uses."""

    def tap(edit: Edit) -> Tap:
        visit = lambda _, outputs, vector: ([alter(outputs[0], vector, edit.use)], ())  # noqa: E731
        return Tap(edit.use.where, visit, edit.vector, edit.use.sliced_by)

    return evaluate_tapped(closed_jaxpr, inputs, [tap(edit) for edit in edits])[0]


def readings(closed_jaxpr: Any, inputs: Sequence[Any], edits: Sequence[Edit], measure: Measure) -> list[jax.Array]:
    """What `measure` says of each edit's use, each in the shape of its vector; the program computes what it did.

    Readings of a use that is met several times, in a loop, are summed, unless every turn has a vector of its own; one
    in a branch that is not taken is 0.
    """

    def tap(edit: Edit) -> Tap:
        visit = lambda _, outputs, vector: (outputs, measure(outputs[0], vector, edit.use))  # noqa: E731
        return Tap(edit.use.where, visit, edit.vector, edit.use.sliced_by)

    def summed(edit: Edit, read: jax.Array) -> jax.Array:
        scans = [scan for scan, _ in scans_around(closed_jaxpr, edit.use.where)]
        return read.sum(tuple(axis for axis, scan in enumerate(scans) if scan not in edit.use.sliced_by))

    read = evaluate_tapped(closed_jaxpr, inputs, [tap(edit) for edit in edits])[1]
    return [summed(edit, reading) for edit, reading in zip(edits, read, strict=True)]
