"""Layer-sequential unit-variance initialization, for any model."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax.nn.initializers import orthogonal
from jax.tree_util import tree_flatten, tree_leaves, tree_unflatten

from jaxdl import checks
from jaxdl.jaxprs import Edit, Use, find_uses, readings, trace, vector_shape
from jaxdl.model import as_model
from jaxdl.tree import Where, is_kernel, leaf_paths, resolve

PyTree = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LSUV:
    """The result of `lsuv`; a pytree.

    Attributes:
      variables: those given, with new kernels.
      variances: of the pre-activations of each kernel at the end, one array for each of `kernels`: a scalar, or one
        value for every layer of a scanned stack. Within the tolerance of 1, unless the rounds were used up, or there
        is nothing to rescale: 0 where a layer puts out a constant, NaN where no data reached it or they are NaN.
      rounds: how often each kernel was rescaled, `(kernels,)` int32.
      kernels: their paths, in forward order.
    """

    variables: PyTree
    variances: list[jax.Array]
    rounds: jax.Array
    kernels: tuple[str, ...] = field(metadata={"static": True})


@dataclass(frozen=True)
class _Group:
    """Kernels that enter the same products, such as the gates of a cell concatenated; most often one alone."""

    members: tuple[int, ...]  # numbers among the leaves of the parameters
    uses: tuple[Use, ...]
    stack: tuple[int, ...]  # lengths of the scans that take one slice of it a turn
    stack_axes: tuple[int, ...]


def lsuv(
    model: Any,
    variables: PyTree,
    x: PyTree,
    *,
    key: jax.Array,
    tolerance: float = 0.02,
    max_rounds: int = 20,
    where: Where = is_kernel,
) -> LSUV:
    """Orthonormal kernels, rescaled layer by layer until the pre-activations of a batch have variance 1.

    In forward order, for each kernel W: `W <- W / sqrt(Var(W x))` until `|Var - 1| <= tolerance`, the variance taken
    over all entries of the layer's outputs before the bias. The kernels are found where the traced program multiplies
    data by them, so any model will do, unedited; a kernel used several times (or at every step of a recurrence) is
    measured over all its uses, and one that a later kernel feeds, in a recurrence, has its turn again. Kernels that
    are concatenated before the product, such as those of `nn.OptimizedLSTMCell`, are measured and rescaled as one.
    Traceable: under `jax.jit` it is one program, under `jax.vmap` one for many starts.

    Args:
      model: whatever `jaxdl.as_model` takes; it runs in evaluation mode.
      variables: as from the model's `init`.
      x: one large batch; scale it to variance 1 first, as the paper does.
      key: for the orthonormal start.
      tolerance: on the variance, > 0. The released code takes 0.02.
      max_rounds: of rescaling a kernel, a whole number >= 1; the released code stops after 20.
      where: which parameters are kernels.

    Returns:
      An `LSUV`. Parameters that are not chosen, or that are not used as plain factors of a product with data (such as
      embeddings, or kernels behind a weight normalization), stay.

    Raises:
      ValueError: a tolerance or number of rounds out of range, `variables` without "params", `where` chooses nothing,
        or none of the chosen parameters multiplies data, as it is, on the way to the outputs.

    References:
      Mishkin and Matas, "All you need is a good init", 2015, algorithm 1.
    """
    checks.one_key(key)
    checks.whole_number(max_rounds=max_rounds, minimum=1, remedy="20 is the default.")
    if not tolerance > 0:
        raise ValueError(f"tolerance: expected a number > 0; got {tolerance}. 0.02 is the default.")
    if not isinstance(variables, Mapping) or "params" not in variables:
        got = f"the keys {sorted(variables)}" if isinstance(variables, Mapping) else type(variables).__name__
        raise ValueError(
            f"variables: expected a mapping with 'params', as from the model's init; got {got}. "
            "Pass {'params': params, ...}."
        )
    apply, others = as_model(model).apply, {name: value for name, value in variables.items() if name != "params"}

    def outputs(params: PyTree, x: PyTree) -> PyTree:
        return apply({"params": params, **others}, x, train=False)[0]

    program = trace(outputs, variables["params"], x)
    leaves, structure = tree_flatten(variables["params"])
    groups = _groups(program, variables["params"], resolve(where, variables["params"]))
    keys = iter(jax.random.split(key, sum(len(group.members) for group in groups)))
    for group in groups:
        for i in group.members:
            leaves[i] = _orthonormal(next(keys), leaves[i], group)

    def moments(leaves: list[jax.Array], centres: list[jax.Array]) -> tuple[list[jax.Array], list[jax.Array]]:
        """Means and variances of every group's outputs, by their deviations from `centres`."""
        edits = []
        for group, centre in zip(groups, centres, strict=True):
            token = jnp.stack([centre, centre, centre], -1)
            # Where the scans' axes are not known, all turns share the group's one token.
            edits += [Edit(use, jnp.broadcast_to(token, vector_shape(program, use, (3,)))) for use in group.uses]
        read = iter(readings(program, [*leaves, *tree_leaves(x)], edits, _moments))
        means, variances = [], []
        for group, centre in zip(groups, centres, strict=True):
            total = jnp.zeros((*group.stack, 3))
            for _ in group.uses:
                total += jnp.reshape(next(read), (-1, *total.shape)).sum(0)
            count, first, second = jnp.moveaxis(total, -1, 0)
            means.append(centre + first / count)
            variances.append(second / count - jnp.square(first / count))
        return means, variances

    def variances(leaves: list[jax.Array]) -> list[jax.Array]:
        # In two passes, because a mean that is large beside the deviation would leave nothing of it.
        means, _ = moments(leaves, [jnp.zeros(group.stack) for group in groups])
        return moments(leaves, means)[1]

    # A stack settles layer by layer, since each one feeds the next.
    limits = jnp.array([max_rounds * (1 + sum(group.stack)) for group in groups])

    def waiting(state: _State) -> jax.Array:
        off = [jnp.any(_can_scale(v) & (jnp.abs(v - 1) > tolerance)) for v in state.variances]
        return jnp.stack(off) & (state.rounds < limits)

    def rescale(state: _State) -> _State:
        leaves, turn = list(state.leaves), jnp.argmax(waiting(state))  # the first in forward order
        for i, (group, variance) in enumerate(zip(groups, state.variances, strict=True)):
            now = (turn == i) & _can_scale(variance)
            factor = jnp.where(now, jax.lax.rsqrt(jnp.where(now, variance, 1)), 1)
            for number in group.members:
                leaf = leaves[number]
                leaves[number] = (leaf * _along(group, factor, leaf.ndim)).astype(leaf.dtype)
        return _State(leaves, variances(leaves), state.rounds.at[turn].add(1))

    start = _State(leaves, variances(leaves), jnp.zeros(len(groups), jnp.int32))
    end = jax.lax.while_loop(lambda state: jnp.any(waiting(state)), rescale, start)
    paths, of = list(leaf_paths(variables["params"])), [i for i, group in enumerate(groups) for _ in group.members]
    return LSUV(
        {**variables, "params": tree_unflatten(structure, end.leaves)},
        [end.variances[i] for i in of],
        end.rounds[jnp.array(of)],
        tuple(paths[number] for group in groups for number in group.members),
    )


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _State:
    leaves: list[jax.Array]
    variances: list[jax.Array]
    rounds: jax.Array


def _groups(program: Any, params: PyTree, chosen: PyTree) -> list[_Group]:
    paths, flags = list(leaf_paths(params)), list(leaf_paths(chosen).values())
    uses = find_uses(program, num_params=len(paths))
    factors = []
    for i in dict.fromkeys(i for use in uses for i in sorted(use.params) if flags[i]):
        if all(_is_product(use) and i in use.rearranged for use in uses if i in use.params):
            factors.append(i)
    if not factors:
        listed = ", ".join(path for path, flag in zip(paths, flags, strict=True) if flag)
        raise ValueError(
            f"where: expected parameters that multiply data, as they are, on the way to the outputs; none of {listed} "
            "does. Choose kernels of dense or convolutional layers that nothing normalizes."
        )
    groups: list[_Group] = []
    for i in factors:
        if any(i in group.members for group in groups):
            continue
        members = {i}
        while joined := {j for use in uses if members & use.params for j in use.params if j in factors} - members:
            members |= joined
        own = tuple(use for use in uses if members & use.params)
        groups.append(_Group(tuple(j for j in factors if j in members), own, *_stack(program, own)))
    return groups


def _is_product(use: Use) -> bool:
    return use.primitive in ("dot_general", "conv_general_dilated") and use.feature_axes is not None


def _stack(program: Any, uses: Sequence[Use]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Lengths and axes of a stack; none where the uses differ or it is not known which axes: it is scaled as one."""
    (lengths, axes), *others = {(vector_shape(program, use, ()), use.sliced_axes) for use in uses}
    known = tuple(axis for axis in axes if axis is not None)
    return ((), ()) if others or len(known) < len(axes) else (lengths, known)


def _along(group: _Group, factor: jax.Array, ndim: int) -> jax.Array:
    """The factors of a stack's layers in the place of the stack's axes."""
    order = sorted(range(len(group.stack)), key=lambda i: group.stack_axes[i])
    spread = [1] * ndim
    for axis, length in zip(group.stack_axes, group.stack, strict=True):
        spread[axis] = length
    return jnp.reshape(jnp.transpose(factor, order), spread)


def _orthonormal(key: jax.Array, leaf: jax.Array, group: _Group) -> jax.Array:
    """A kernel in the shape of `leaf`, orthonormal between what its product sums over and the rest."""
    (summed, batch), *others = {(use.summed_axes, use.batch_axes) for use in group.uses}
    if others or summed is None:
        summed, batch = tuple(axis for axis in range(leaf.ndim - 1) if axis not in group.stack_axes), ()
    alone = (*group.stack_axes, *batch)
    units = tuple(axis for axis in range(leaf.ndim) if axis not in (*alone, *summed))
    order = (*alone, *summed, *units)
    lengths = [leaf.shape[axis] for axis in order]
    rows, columns = (math.prod(leaf.shape[axis] for axis in axes) for axes in (summed, units))
    # Nothing is factorised in half precision.
    make, dtype = orthogonal(), jnp.promote_types(leaf.dtype, jnp.float32)
    if alone:
        keys = jax.random.split(key, math.prod(leaf.shape[axis] for axis in alone))
        drawn = jax.vmap(lambda key: make(key, (rows, columns), dtype))(keys)
    else:
        drawn = make(key, (rows, columns), dtype)
    back = sorted(range(leaf.ndim), key=lambda i: order[i])
    return jnp.transpose(jnp.reshape(drawn, lengths), back).astype(leaf.dtype)


def _can_scale(variance: jax.Array) -> jax.Array:
    return (variance > 0) & jnp.isfinite(variance)


def _moments(output: jax.Array, token: jax.Array, use: Use) -> jax.Array:
    """Count, sum and sum of squares of the deviations from the token."""
    deviations = output.astype(token.dtype) - jnp.reshape(token[0], (1,) * output.ndim)
    return jnp.stack([jnp.asarray(output.size, token.dtype), deviations.sum(), jnp.square(deviations).sum()])
