"""Running the plan: what the sites met and the cotangents of their outputs, by one backward pass, and norms of it."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import tree
from jaxdl.diagnostics.per_example.contraction import outer_norms, row_norms, sum_norms, tied_norms
from jaxdl.diagnostics.per_example.forms import Met
from jaxdl.diagnostics.per_example.plan import LossesFn, Plan
from jaxdl.diagnostics.per_example.single import narrowed, needs_value, single
from jaxdl.jaxprs import Site, Tap, evaluate_tapped

PyTree = Any
# Gradients that have to be formed are formed for so many examples at a time as need this many bytes.
FORMED_AT_ONCE = 2**26


def met_by_sites(plan: Plan, leaves: list[jax.Array], data: list[jax.Array]) -> tuple[jax.Array, list[Met]]:
    """Losses `(B,)`, and what every site of the plan met; of parameters only the values that are needed."""

    def tap(site: Site, shift: jax.Array) -> Tap:
        def visit(arguments: Any, outputs: Any, shift: jax.Array) -> tuple[Any, Any]:
            kept = [
                argument if i not in site.operands else narrowed(argument, site, i, 0) if needs_value(site, i) else None
                for i, argument in enumerate(arguments)
            ]
            return [outputs[0] + shift], kept

        return Tap(site.where, visit, shift)

    shapes = [
        (site.eqn.outvars[0].aval, [length for _, length in t]) for site, t in zip(plan.sites, plan.turns, strict=True)
    ]
    zeros = [jnp.zeros((*lengths, *aval.shape), aval.dtype) for aval, lengths in shapes]

    def total(shifts: list[jax.Array]) -> tuple[jax.Array, Any]:
        taps = [tap(site, shift) for site, shift in zip(plan.sites, shifts, strict=True)]
        (losses,), read = evaluate_tapped(plan.jaxpr, [*leaves, *data], taps)
        return jnp.sum(losses), (losses, read)

    cotangents, (losses, read) = jax.grad(total, has_aux=True)(zeros)
    return losses, [Met(kept, cotangent) for kept, cotangent in zip(read, cotangents, strict=True)]


def leaf_norms_of_examples(
    plan: Plan, losses_fn: LossesFn, params: PyTree, batch: PyTree
) -> tuple[dict[str, jax.Array], jax.Array]:
    """`{path: (B,)}` norms of every leaf's per-example gradients, and the losses `(B,)`."""
    leaves, data = jax.tree.leaves(params), jax.tree.leaves(batch)
    losses, met = met_by_sites(plan, leaves, data)
    norms: dict[int, jax.Array] = {}
    for leaf, forms in plan.forms.items():
        built = [(form, form.build(met[number])) for number, form in forms]
        name = list(plan.methods.values())[leaf].name
        # A matrix that is also used transposed has its factors the other way round there.
        left = next((form.left for form, _ in built if form.kind == "rows"), built[0][0].left)
        rows = [factors for form, factors in built if form.kind == "rows"]
        outers = [factors if form.left == left else factors.swapped for form, factors in built if form.kind == "outer"]
        # The axis of the rows need not be the leaf's first: a table can be taken transposed, or reshaped.
        num_rows = next((form.shape[2] for form, _ in built if form.kind == "rows"), 0)
        if name == "sum":
            norms[leaf] = sum_norms([array for _, array in built])
        elif name == "rows":
            norms[leaf] = row_norms(rows, num_rows)
        elif name == "tied":
            norms[leaf] = tied_norms(rows, outers, num_rows)
        else:
            norms[leaf] = outer_norms(outers)
    norms |= _formed(plan, leaves, data, met, plan.formed, _norm_of_each)
    norms |= by_vmap_of_grad(plan.fallback, losses_fn, params, batch, _norm_of_each)
    zero = jnp.zeros(losses.shape, jnp.float32)
    return {path: norms.get(leaf, zero) for leaf, path in enumerate(plan.methods)}, losses


def gradients_of_examples(plan: Plan, losses_fn: LossesFn, params: PyTree, batch: PyTree) -> list[jax.Array]:
    """`(B, ...)` per-example gradients of every leaf."""
    leaves = jax.tree.leaves(params)
    losses, met = met_by_sites(plan, leaves, jax.tree.leaves(batch))
    found = formed_gradients(plan, losses_fn, params, batch, met, tuple(range(len(leaves))))
    return [found.get(i, jnp.zeros((len(losses), *leaf.shape), leaf.dtype)) for i, leaf in enumerate(leaves)]


def formed_gradients(
    plan: Plan, losses_fn: LossesFn, params: PyTree, batch: PyTree, met: list[Met], chosen: tuple[int, ...]
) -> dict[int, jax.Array]:
    """`(B, ...)` per-example gradients of the chosen leaves; of those that are not used, none."""
    of_sites = tuple(leaf for leaf in chosen if leaf not in plan.fallback)
    found = _formed(plan, jax.tree.leaves(params), jax.tree.leaves(batch), met, of_sites, _itself)
    one_by_one = tuple(leaf for leaf in chosen if leaf in plan.fallback)
    return found | by_vmap_of_grad(one_by_one, losses_fn, params, batch, _itself)


OfOne = Callable[[list[jax.Array]], list[jax.Array]]


def _itself(grads: list[jax.Array]) -> list[jax.Array]:
    return grads


def _norm_of_each(grads: list[jax.Array]) -> list[jax.Array]:
    return [tree.norm(grad) for grad in grads]


def _formed(
    plan: Plan, leaves: list[jax.Array], data: list[jax.Array], met: list[Met], chosen: tuple[int, ...], of_one: OfOne
) -> dict[int, jax.Array]:
    """`of_one` of the gradients of the chosen leaves, example by example, from what their sites met.

    The cotangent of what stands at a site goes back through the arithmetic that made it from the parameters.
    """
    numbers = [
        n for n, site in enumerate(plan.sites) if any(site.labels[i].leaves & set(chosen) for i in site.operands)
    ]
    if not numbers:
        return {}

    def standing(values: list[jax.Array]) -> list[Any]:
        """What the sites take of the parameters, turns of scans first."""
        replaced = dict(zip(chosen, values, strict=True))

        def tap(number: int) -> Tap:
            site = plan.sites[number]
            read = lambda arguments, outputs, _: (  # noqa: E731
                outputs, tuple(narrowed(arguments[i], site, i, 0) for i in site.operands)
            )  # fmt: skip
            return Tap(site.where, read)

        inputs = [*(replaced.get(i, leaf) for i, leaf in enumerate(leaves)), *data]
        return evaluate_tapped(plan.jaxpr, inputs, [tap(number) for number in numbers])[1]

    values = [leaves[leaf] for leaf in chosen]
    back = jax.vjp(standing, values)[1]
    of_sites = [single(plan.sites[n], met[n].operands, met[n].cotangent, len(plan.turns[n])) for n in numbers]

    def one(examples: list[Any]) -> list[jax.Array]:
        cotangents = [cotangent(example) for (_, cotangent), example in zip(of_sites, examples, strict=True)]
        return of_one(back(cotangents)[0])

    # Of every turn of a scan the cotangent stands alone until they go back together.
    standing_shapes = jax.tree.leaves(jax.eval_shape(standing, values))
    results = _each(one, [example for example, _ in of_sites], of_one, [*values, *standing_shapes])
    return dict(zip(chosen, results, strict=True))


def by_vmap_of_grad(
    chosen: tuple[int, ...], losses_fn: LossesFn, params: PyTree, batch: PyTree, of_one: OfOne
) -> dict[int, jax.Array]:
    """`of_one` of the gradients of the chosen leaves, from the losses of batches of one."""
    if not chosen:
        return {}
    leaves, treedef = jax.tree.flatten(params)

    def one(example: PyTree) -> list[jax.Array]:
        def loss(values: list[jax.Array]) -> jax.Array:
            replaced = dict(zip(chosen, values, strict=True))
            whole = treedef.unflatten([replaced.get(i, leaf) for i, leaf in enumerate(leaves)])
            return losses_fn(whole, jax.tree.map(lambda leaf: leaf[None], example))[0]

        return of_one(jax.grad(loss)([leaves[leaf] for leaf in chosen]))

    results = _each(one, batch, of_one, [leaves[leaf] for leaf in chosen])
    return dict(zip(chosen, results, strict=True))


def _each(one: Callable[[PyTree], Any], examples: PyTree, of_one: OfOne, formed: Sequence[Any]) -> Any:
    """`one` of every example; a few at a time, unless what is formed is wanted itself."""
    if of_one is _itself:
        return jax.vmap(one)(examples)
    at_once = max(1, FORMED_AT_ONCE // sum(max(1, value.size * value.dtype.itemsize) for value in formed))
    return jax.lax.map(one, examples, batch_size=at_once)
