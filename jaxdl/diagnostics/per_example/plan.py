"""How the per-example gradients of each parameter will be had: decided from the traced program, before it runs."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Literal

from jaxdl import checks
from jaxdl.diagnostics.per_example.contraction import prefers_gram
from jaxdl.diagnostics.per_example.forms import Form, form_of
from jaxdl.jaxprs import Site, find_sites, scans_around, trace
from jaxdl.tree import leaf_paths

PyTree = Any
LossesFn = Callable[[PyTree, PyTree], jax.Array]


class Method(NamedTuple):
    """How one parameter's norms are had.

    Attributes:
      name: "outer" (one outer product an example), "gram" (products of positions), "product" (the gradient as one
        product of matrices), "rows" (of an embedding), "tied" (rows and products), "sum" (bias, scale), "formed" (from
        what its sites meet, through the parameter's own arithmetic), "vmap(grad)", or "unused".
      reason: why, where it is one of the slower ones.
      numbers: floating-point numbers that one example needs for it at once.
    """

    name: str
    reason: str
    numbers: int


@dataclass(frozen=True)
class Plan:
    """The traced program and how each parameter leaf is treated.

    Attributes:
      jaxpr: of `losses_fn(params, batch)`.
      sites: where parameters meet examples.
      turns: of each site, places and lengths of the scans around it.
      forms: of each leaf in closed form, the numbers of its sites and their forms.
      methods: of each leaf, by path.
      positional: where values differ from example to example without being an example's own.
    """

    jaxpr: Any
    sites: tuple[Site, ...]
    turns: tuple[Sequence[tuple[Any, int]], ...]
    forms: dict[int, list[tuple[int, Form]]]
    methods: dict[str, Method]
    positional: tuple[str, ...]

    @property
    def formed(self) -> tuple[int, ...]:
        """Leaves whose gradients are formed from their sites."""
        return self._had_by("formed")

    @property
    def fallback(self) -> tuple[int, ...]:
        """Leaves that need `vmap(grad)`."""
        return self._had_by("vmap(grad)")

    def _had_by(self, name: str) -> tuple[int, ...]:
        return tuple(leaf for leaf, method in enumerate(self.methods.values()) if method.name == name)

    @property
    def in_forward_order(self) -> tuple[tuple[str, Method], ...]:
        """Paths and methods by the first place where a parameter meets the examples; those without one last."""
        first: dict[int, int] = {}
        for number, site in enumerate(self.sites):
            for operand in site.operands:
                for leaf in sorted(site.labels[operand].leaves):
                    first.setdefault(leaf, number)
        pairs = list(self.methods.items())
        return tuple(
            pairs[leaf] for leaf in sorted(range(len(pairs)), key=lambda i: (first.get(i, len(self.sites)), i))
        )

    @property
    def numbers(self) -> int:
        """Floating-point numbers that one example needs at once: activations, and the largest method's own."""
        shapes = (var.aval.shape for eqn in _equations(self.jaxpr.jaxpr) for var in eqn.outvars)
        count = max(1, self.jaxpr.out_avals[0].shape[0])
        activations = sum(math.prod(shape) for shape in shapes) // count
        return activations + max((method.numbers for method in self.methods.values()), default=0)

    @property
    def bytes(self) -> int:
        """Bytes that one example needs at once, an upper bound from the shapes: as if nothing were freed before."""
        return self.numbers * max(4, *(aval.dtype.itemsize for aval in self.jaxpr.in_avals))

    def expectation(self, size: int, chunk: int) -> str:
        """What a run over `size` examples, `chunk` at a time, is expected to need, in words."""
        slow = [path for path, method in self.methods.items() if method.name == "vmap(grad)"]
        through = f"; by vmap(grad): {', '.join(slow)}" if slow else ""
        return (
            f"{size} examples, {chunk} at a time: at most {self.bytes * chunk / 2**20:.1f} MiB of activations{through}"
        )

    def table(self) -> str:
        """One line a parameter: how its norms will be had, what one example needs for it, and why if it is slow."""
        width = max(len("parameter"), *(len(path) for path in self.methods))
        lines = [f"{'parameter':<{width}} {'method':>12} {'numbers':>11}"]
        for path, method in self.in_forward_order:
            reason = f"  {method.reason}" if method.reason else ""
            lines.append(f"{path:<{width}} {method.name:>12} {method.numbers:>11,}{reason}")
        return "\n".join(lines)


def make_plan(losses_fn: LossesFn, params: PyTree, batch: PyTree, *, alone: bool = False, apart: bool = False) -> Plan:
    """Traces the losses and decides.

    Args:
      losses_fn, params, batch: of two examples at least.
      alone: whether some of the examples will be taken without the others.
      apart: whether the caller vouches that they do not mix, because the losses are vmapped; what cannot be proved is
        then no error, but left to `vmap(grad)`.

    Raises:
      ValueError: losses that mix examples, are not one per example, or are `alone` not what they are in the batch.
      TypeError: parameters that are not floating-point, or an objective in the place of `losses_fn`.
    """
    checks.losses_fn(losses_fn)
    leaves = leaf_paths(params)
    wrong = [path for path, leaf in leaves.items() if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating)]
    if wrong:
        dtype = jnp.result_type(leaves[wrong[0]])
        raise TypeError(
            f"params: expected real floating-point arrays, which have gradients; got {wrong[0] or '(root)'} of dtype "
            f"{dtype}. Close over what is no parameter, or put it into the batch."
        )
    size = len(jax.tree.leaves(batch)[0])
    jaxpr = trace(losses_fn, params, batch)
    shapes = [aval.shape for aval in jaxpr.out_avals]
    if shapes != [(size,)]:
        raise ValueError(
            f"losses_fn: expected one loss per example, one array of shape ({size},); got {len(shapes)} arrays of "
            f"shapes {shapes}. Sum each example over its own axes, return the losses alone, and take no mean over them."
        )
    found = find_sites(jaxpr, num_params=len(leaves))
    if found.losses.mixed and apart:
        why = f"cannot be followed through {found.losses.mixed.operation}"
        return _decided(jaxpr, (), dict.fromkeys(range(len(leaves)), why), (), leaves)
    if found.losses.mixed:
        operation, reason, place = found.losses.mixed
        raise ValueError(
            f"losses_fn: expected the loss of every example to depend on that example alone; got {operation}, which "
            f"{reason}, at {place}. Use statistics that are frozen (train=False) or an example's own (layer or group "
            "normalization), and leave terms that compare examples out of losses_fn."
        )
    if found.losses.examples is None:
        raise ValueError(
            "losses_fn: expected losses that depend on the batch; got losses made of params and constants alone. "
            "Compute them from the batch that is passed in, not from arrays of an outer scope."
        )
    plan = _decided(jaxpr, tuple(found.sites), found.opaque, tuple(found.positional), leaves)
    if plan.positional and (alone or plan.fallback):
        names = list(leaves)
        why = "they are taken in parts" if alone else f"{names[plan.fallback[0]]} needs them one by one"
        raise ValueError(
            f"losses_fn: expected examples that can be taken apart, since {why}; got values that go by an example's "
            f"position in the batch, in {plan.positional[0]}. Put them into the batch, for a random mask "
            "jax.random.split(key, B), or take the batch as a whole."
        )
    if alone or plan.fallback:
        _refuse_sizes(losses_fn, params, batch, jaxpr, size)
    return plan


def _refuse_sizes(losses_fn: LossesFn, params: PyTree, batch: PyTree, jaxpr: Any, size: int) -> None:
    """Losses divided by the number of examples are others for a part of the batch: two sizes show it."""
    more = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((2 * size, *leaf.shape[1:]), leaf.dtype), batch)
    changed = _factors(jaxpr.jaxpr) - _factors(trace(losses_fn, params, more).jaxpr)
    if any(math.isclose(number, known, rel_tol=1e-6) for number in changed for known in (size, 1 / size)):
        raise ValueError(
            f"losses_fn: expected losses that do not go by the number of examples, since they are taken in parts; got "
            f"a product with or division by {size} or its inverse, which changes with the batch. Leave the mean over "
            "the examples to the caller."
        )


def _factors(jaxpr: Any) -> Counter[float]:
    """How often each number multiplies or divides in a program."""
    products = [eqn for eqn in _equations(jaxpr) if eqn.primitive.name in ("mul", "div")]
    numbers = [atom.val for eqn in products for atom in eqn.invars if isinstance(atom, Literal)]
    return Counter(float(number) for number in numbers if jnp.issubdtype(jnp.result_type(number), jnp.floating))


def _decided(
    jaxpr: Any, sites: tuple[Site, ...], opaque: dict[int, str], positional: tuple[str, ...], leaves: dict[str, Any]
) -> Plan:
    turns = tuple(scans_around(jaxpr, site.where) for site in sites)
    of_leaf: dict[int, list[int]] = {i: [] for i in range(len(leaves))}
    for number, site in enumerate(sites):
        for leaf in frozenset().union(*(site.labels[i].leaves for i in site.operands)):
            of_leaf[leaf].append(number)
    forms: dict[int, list[tuple[int, Form]]] = {}
    methods: dict[int, Method] = {}
    for leaf, value in enumerate(leaves.values()):
        size = math.prod(jnp.shape(value))
        if leaf in opaque:
            methods[leaf] = Method("vmap(grad)", opaque[leaf], size)
        elif not of_leaf[leaf]:
            methods[leaf] = Method("unused", "", 0)
        else:
            own = [form_of(sites[number], turns[number]) for number in of_leaf[leaf]]
            methods[leaf] = _method(own, size)
            if methods[leaf].name != "formed":
                forms[leaf] = [(n, form) for n, form in zip(of_leaf[leaf], own, strict=True) if form is not None]
    by_path = {path: methods[leaf] for leaf, path in enumerate(leaves)}
    return Plan(jaxpr, sites, turns, forms, by_path, positional)


def _method(forms: Sequence[Form | None], size: int) -> Method:
    """The method for a leaf with these forms at its sites."""
    known = [form for form in forms if form is not None]
    if len(known) < len(forms):
        return Method("formed", "changed by arithmetic of its own, or used otherwise than as a weight", size)
    kinds = {form.kind for form in known}
    if len({(form.groups, frozenset((form.left, form.right))) for form in known}) > 1:
        return Method("formed", "used in several ways", size)
    groups, _, m, n = known[0].shape
    positions = sum(form.shape[1] for form in known)
    needed = groups * positions * (m + n)
    if kinds == {"sum"}:
        return Method("sum", "", groups * n)
    if kinds == {"rows"}:
        return Method("rows", "", positions * (n + min(m, positions)))
    if kinds == {"rows", "outer"} and not groups > 1:
        rows = next(form for form in known if form.kind == "rows")
        gram = prefers_gram(positions, *rows.shape[2:])
        return Method("tied", "", needed + (positions**2 if gram else m * n + positions * rows.shape[2]))
    if kinds != {"outer"}:
        return Method("formed", "used in several ways", size)
    if positions == 1:
        return Method("outer", "", needed)
    gram = prefers_gram(positions, m, n)
    return Method("gram" if gram else "product", "", needed + groups * (2 * positions**2 if gram else m * n))


def _equations(jaxpr: Any) -> Any:
    for eqn in jaxpr.eqns:
        inner = [p for p in eqn.params.values() if hasattr(p, "eqns") or hasattr(p, "jaxpr")]
        for closed in inner:
            yield from _equations(getattr(closed, "jaxpr", closed))
        if not inner:
            yield eqn
