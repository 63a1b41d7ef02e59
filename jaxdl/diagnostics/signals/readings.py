"""What is read at the places where layers act: moments, error signals, derivatives of activations."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdl.diagnostics.structure.layers import Structure, find_structure, flat_inputs
from jaxdl.diagnostics.structure.sites import Site, find_sites
from jaxdl.diagnostics.structure.spreading import Place
from jaxdl.jaxprs import Tap, evaluate_tapped
from jaxdl.jaxprs.levels import all_levels, written_out
from jaxdl.jaxprs.uses import Where
from jaxdl.tree import leaf_paths, norm

PyTree = Any


class Plan(NamedTuple):
    """A traced loss and the places to read in it; `sites` are those of each layer in `names`."""

    structure: Structure
    names: tuple[str, ...]
    sites: tuple[tuple[Site, ...], ...]
    num_examples: int

    @property
    def activations(self) -> tuple[str | None, ...]:
        """For each layer the name of its activation, if it has one."""
        return tuple(next((site.curve.name for site in sites if site.curve), None) for sites in self.sites)

    @property
    def meeting(self) -> tuple[int, ...]:
        """For each layer the number of the first one with the same activation in the same place."""
        curves = [{site.curve for site in sites if site.curve} for sites in self.sites]
        return tuple(next((j for j in range(i) if curves[j] and curves[j] == curves[i]), i) for i in range(len(curves)))


class Moments(NamedTuple):
    """Of the entries of an array, in float32 at least; `taken` is 0 where the branch it lies in was not taken."""

    mean: jax.Array
    variance: jax.Array
    square: jax.Array
    alike: jax.Array
    illness: jax.Array
    taken: jax.Array


def make_plan(objective: Any, params: PyTree, batch: PyTree, *, model_state: PyTree, key: Any, train: bool) -> Plan:
    """Traces the objective and finds where its layers act."""
    context: dict[str, Any] = dict(model_state=model_state, key=key, train=train)
    structure = find_structure(objective, params, batch, **context)
    (num_examples,) = jax.eval_shape(lambda p, b: objective(p, b, **context)[0], params, batch).shape

    def reshaped(where: Where) -> tuple[int, ...] | None:
        outline = lambda leaf, grow: jax.ShapeDtypeStruct((jnp.shape(leaf)[0] + grow, *jnp.shape(leaf)[1:]), leaf.dtype)  # noqa: E731
        grown = jax.tree.map(lambda leaf: outline(leaf, 1) if jnp.shape(leaf)[:1] == (num_examples,) else leaf, batch)
        try:
            larger = find_structure(objective, params, grown, **context)
        except (TypeError, ValueError):  # a program for this number of examples only
            return None
        nodes = {node.where: node for level in all_levels(written_out(larger.jaxpr)) for node in level.nodes}
        return nodes[where].eqn.outvars[0].aval.shape if where in nodes else None

    sites = find_sites(structure, num_params=len(leaf_paths(params)), num_examples=num_examples, reshaped=reshaped)
    names = [layer.name for layer in structure.layers if layer.matrix]
    return Plan(structure, tuple(names), tuple(map(tuple, sites)), num_examples)


class Signals(NamedTuple):
    """Of one site, arrays with the lengths of the scans around it; `gradient` then has the shape of the output."""

    given: jax.Array
    output: Moments
    passed: Moments
    gradient: jax.Array


def read_signals(plan: Plan, params: PyTree, batch: PyTree) -> tuple[jax.Array, list[list[Signals]]]:
    """The mean loss, and what is read at each site of each layer: one forward and one backward pass."""
    flat = [site for sites in plan.sites for site in sites]

    def loss(shifts: list[jax.Array]) -> tuple[jax.Array, Any]:
        taps = [tap for site, shift in zip(flat, shifts, strict=True) for tap in _signal_taps(site, shift)]
        (value,), read = evaluate_tapped(plan.structure.jaxpr, flat_inputs(params, batch), taps)
        return value, (value, read)

    zeros = [jnp.zeros((*(length for _, length in site.scans), *site.aval.shape), site.aval.dtype) for site in flat]
    gradients, (value, read) = jax.grad(loss, has_aux=True)(zeros)
    readings, signals = iter(read), []
    for site, gradient in zip(flat, gradients, strict=True):
        given, output = next(readings), next(readings)
        signals.append(Signals(given, output, next(readings) if site.curve else output, gradient))
    return value, _by_layer(plan, signals)


def _signal_taps(site: Site, shift: jax.Array) -> list[Tap]:
    def given(arguments: Sequence[Any], outputs: Sequence[Any], extra: Any) -> tuple[Sequence[Any], Any]:
        return outputs, jnp.stack([_illness(arguments[operand]) for operand in site.data_operands]).max()

    def read(place: Place, axis: int | None) -> Callable[..., tuple[Sequence[Any], Any]]:
        def visit(arguments: Sequence[Any], outputs: Sequence[Any], extra: Any) -> tuple[Sequence[Any], Any]:
            shifted = list(outputs)
            if extra is not None:
                shifted[place.output] = shifted[place.output] + extra
            return shifted, _moments(outputs[place.output], axis)

        return visit

    taps = [Tap(site.product, given), Tap(site.place.where, read(site.place, site.axes[0]), shift)]
    if site.curve:
        taps.append(Tap(site.curve.end.where, read(site.curve.end, None), None))
    return taps


def _moments(array: jax.Array, example_axis: int | None) -> Moments:
    values = array.astype(jnp.promote_types(array.dtype, jnp.float32))
    alike = (
        jnp.full((), jnp.nan, values.dtype) if example_axis is None else _alike(jnp.moveaxis(values, example_axis, 0))
    )
    return Moments(
        values.mean(), values.var(), jnp.square(values).mean(), alike, _illness(array), jnp.ones((), values.dtype)
    )


def _alike(values: jax.Array) -> jax.Array:
    """Mean cosine of two different rows; rows of zeros have no direction and are left out."""
    rows = values.reshape(len(values), -1)
    lengths = norm(rows, axis=1, keepdims=True)
    some = lengths > 0
    directions = jnp.where(some, rows / jnp.where(some, lengths, 1), 0)
    count = some.sum().astype(values.dtype)
    pairs = count * (count - 1)
    together = jnp.square(directions.sum(0)).sum() - count
    return jnp.where(pairs > 0, together / jnp.where(pairs > 0, pairs, 1), jnp.nan)


def _illness(array: jax.Array) -> jax.Array:
    """0 for finite numbers, 1 where there is an infinity, 2 where there is a NaN."""
    if not jnp.issubdtype(array.dtype, jnp.inexact):
        return jnp.zeros((), jnp.int8)
    return jnp.where(jnp.isnan(array).any(), 2, jnp.where(jnp.isinf(array).any(), 1, 0)).astype(jnp.int8)


def read_slopes(plan: Plan, params: PyTree, batch: PyTree) -> list[list[tuple[Site, jax.Array, jax.Array]]]:
    """For each layer the sites with an activation, its derivative there entry by entry, and whether it was met.

    The source of every activation is cut off from what came before, so that one backward pass of the sum of all ends
    has each one's own derivative in every entry.
    """
    flat = [site for sites in plan.sites for site in sites if site.curve]
    # Layers that meet before the activation have it in common.
    shared = list({site.curve: site for site in flat if site.curve}.values())

    def total(shifts: list[jax.Array]) -> tuple[jax.Array, list[jax.Array]]:
        taps = [tap for site, shift in zip(shared, shifts, strict=True) for tap in _slope_taps(site, shift)]
        read = evaluate_tapped(plan.structure.jaxpr, flat_inputs(params, batch), taps)[1]
        ends = read[1::2]
        return sum((end["sum"].sum() for end in ends), jnp.zeros(())), [end["taken"] for end in ends]

    zeros = []
    for site in shared:
        assert site.curve is not None
        aval = site.curve.start_aval
        zeros.append(jnp.zeros((*(length for _, length in site.scans), *aval.shape), aval.dtype))
    slopes, taken = jax.grad(total, has_aux=True)(zeros)
    found = {site.curve: (slope, met) for site, slope, met in zip(shared, slopes, taken, strict=True)}
    return [[(site, *found[site.curve]) for site in sites if site.curve] for sites in plan.sites]


def _slope_taps(site: Site, shift: jax.Array) -> list[Tap]:
    curve = site.curve
    assert curve is not None

    def start(arguments: Sequence[Any], outputs: Sequence[Any], extra: Any) -> tuple[Sequence[Any], Any]:
        cut = list(outputs)
        cut[curve.start.output] = jax.lax.stop_gradient(outputs[curve.start.output]) + extra
        return cut, ()

    def end(arguments: Sequence[Any], outputs: Sequence[Any], extra: Any) -> tuple[Sequence[Any], Any]:
        return outputs, {"sum": outputs[curve.end.output].sum(), "taken": jnp.ones((), jnp.float32)}

    return [Tap(curve.start.where, start, shift), Tap(curve.end.where, end, None)]


def _by_layer(plan: Plan, items: list[Any]) -> list[list[Any]]:
    each = iter(items)
    return [[next(each) for _ in sites] for sites in plan.sites]
