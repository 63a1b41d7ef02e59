"""Layer-sequential unit-variance initialization, for any model."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.nn.initializers import orthogonal
from jax.tree_util import tree_flatten, tree_leaves, tree_unflatten

from jaxdl import checks
from jaxdl.jaxprs import Edit, Use, evaluate_edited, find_uses, trace, vector_shape
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
        value for every layer of a scanned stack. Within the tolerance of 1, unless the rounds were used up.
      rounds: how often each kernel was rescaled, `(kernels,)` int32.
      kernels: their paths, in forward order.
    """

    variables: PyTree
    variances: list[jax.Array]
    rounds: jax.Array
    kernels: tuple[str, ...] = field(metadata={"static": True})


@dataclass(frozen=True)
class _Kernel:
    number: int  # among the leaves of the parameters
    path: str
    uses: tuple[Use, ...]
    stack: tuple[int, ...]  # lengths of the scans that take one slice of it a turn


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
    measured over all its uses. Traceable: under `jax.jit` it is one program, under `jax.vmap` one for many starts.

    Args:
      model: whatever `jaxdl.as_model` takes; it runs in evaluation mode.
      variables: as from the model's `init`.
      x: one large batch; scale it to variance 1 first, as the paper does.
      key: for the orthonormal start.
      tolerance: on the variance, > 0. The released code takes 0.02.
      max_rounds: of rescaling a kernel, a whole number >= 1; the released code stops after 20.
      where: which parameters are kernels.

    Returns:
      An `LSUV`. Parameters that are not chosen, or that are not used as plain factors of a product with data, stay.

    Raises:
      ValueError: a tolerance or number of rounds out of range, `where` chooses nothing, or none of the chosen
        parameters multiplies data on the way to the outputs.

    References:
      Mishkin and Matas, "All you need is a good init", 2015, algorithm 1.
    """
    checks.one_key(key)
    checks.whole_number(max_rounds=max_rounds, minimum=1, remedy="20 is the default.")
    if not tolerance > 0:
        raise ValueError(f"tolerance: expected a number > 0; got {tolerance}. 0.02 is the default.")
    apply, others = as_model(model).apply, {name: value for name, value in variables.items() if name != "params"}

    def total(params: PyTree, x: PyTree) -> jax.Array:
        outputs = apply({"params": params, **others}, x, train=False)[0]
        return jnp.stack([jnp.sum(leaf).astype(jnp.float32) for leaf in tree_leaves(outputs)]).sum()

    program = trace(total, variables["params"], x)
    leaves, structure = tree_flatten(variables["params"])
    kernels = _kernels(program, variables["params"], resolve(where, variables["params"]))
    for kernel, own_key in zip(kernels, jax.random.split(key, len(kernels)), strict=True):
        leaves[kernel.number] = _orthonormal(own_key, leaves[kernel.number], len(kernel.stack))

    def moments(leaves: list[jax.Array], centres: list[jax.Array]) -> tuple[list[jax.Array], list[jax.Array]]:
        """Means and variances of every kernel's outputs; deviations are taken from `centres`."""

        def tapped(tokens: list[jax.Array]) -> jax.Array:
            edits = [Edit(use, token) for k, token in zip(kernels, tokens, strict=True) for use in k.uses]
            return evaluate_edited(program, [*leaves, *tree_leaves(x)], edits, _tap)[0]

        tokens = jax.grad(tapped)([jnp.stack([c, c, c], -1) for c in centres])
        count, first, second = zip(*(jnp.moveaxis(token, -1, 0) for token in tokens), strict=True)
        shifts = [a / n for a, n in zip(first, count, strict=True)]
        return (
            [c + d for c, d in zip(centres, shifts, strict=True)],
            [b / n - jnp.square(d) for b, n, d in zip(second, count, shifts, strict=True)],
        )

    def rescale(state: _State) -> _State:
        leaves = list(state.leaves)
        settled = jnp.stack([jnp.all(jnp.abs(v - 1) <= tolerance) for v in state.variances])[state.turn]
        # A stack settles layer by layer, since each one feeds the next.
        limits = jnp.array([max_rounds * (1 + sum(k.stack)) for k in kernels])
        done = settled | (state.rounds[state.turn] >= limits[state.turn])
        for i, (kernel, variance) in enumerate(zip(kernels, state.variances, strict=True)):
            now = ~done & (state.turn == i) & (variance > 0)
            factor = jnp.where(now, jax.lax.rsqrt(jnp.where(variance > 0, variance, 1)), 1)
            leaf = leaves[kernel.number]
            spread = jnp.reshape(factor, (*factor.shape, *(1 for _ in range(leaf.ndim - factor.ndim))))
            leaves[kernel.number] = leaf * spread.astype(leaf.dtype)
        means, variances = moments(leaves, state.means)
        rounds = state.rounds.at[state.turn].add(jnp.where(done, 0, 1))
        return _State(leaves, means, variances, rounds, state.turn + done)

    means, _ = moments(leaves, [jnp.zeros(kernel.stack) for kernel in kernels])
    start = _State(leaves, *moments(leaves, means), jnp.zeros(len(kernels), jnp.int32), jnp.zeros((), jnp.int32))
    end = jax.lax.while_loop(lambda state: state.turn < len(kernels), rescale, start)
    return LSUV(
        {**variables, "params": tree_unflatten(structure, end.leaves)},
        end.variances,
        end.rounds,
        tuple(kernel.path for kernel in kernels),
    )


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _State:
    leaves: list[jax.Array]
    means: list[jax.Array]
    variances: list[jax.Array]
    rounds: jax.Array
    turn: jax.Array


def _kernels(program: Any, params: PyTree, chosen: PyTree) -> list[_Kernel]:
    paths, flags = list(leaf_paths(params)), list(leaf_paths(chosen).values())
    uses = find_uses(program, num_params=len(paths))
    kernels = []
    for i in dict.fromkeys(i for use in uses for i in sorted(use.params) if flags[i]):
        own = [use for use in uses if i in use.params]
        factor = all(
            use.primitive in ("dot_general", "conv_general_dilated")
            and i in use.rearranged
            and use.feature_axes is not None
            for use in own
        )
        stacks = {vector_shape(program, use, ()) for use in own}
        if factor and len(stacks) == 1:
            stack = stacks.pop()
            leading = jnp.shape(tree_leaves(params)[i])[: len(stack)]
            # A stack that is not scanned along its first axes is measured and scaled as one.
            kernels.append(_Kernel(i, paths[i], tuple(own), stack if leading == stack else ()))
    if not kernels:
        listed = ", ".join(path for path, flag in zip(paths, flags, strict=True) if flag)
        raise ValueError(
            f"where: expected parameters that multiply data on the way to the outputs; none of {listed} does. "
            "Choose kernels of dense or convolutional layers."
        )
    return kernels


def _orthonormal(key: jax.Array, leaf: jax.Array, num_stacked: int) -> jax.Array:
    if num_stacked:
        keys = jax.random.split(key, leaf.shape[0])
        return jax.vmap(partial(_orthonormal, num_stacked=num_stacked - 1))(keys, leaf)
    return orthogonal()(key, leaf.shape, leaf.dtype)


@jax.custom_vjp
def _measured(output: jax.Array, token: jax.Array) -> jax.Array:
    """The output itself. The token's "cotangent" is (count, sum, sum of squares) of the deviations from the token.

    Reverse-mode sums it over all uses, turns of a scan included, which is what measuring them takes.
    """
    return output


def _measured_forward(output: jax.Array, token: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return output, (output, token)


def _measured_backward(kept: tuple[jax.Array, jax.Array], cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
    output, token = kept
    deviations = output.astype(token.dtype) - jnp.reshape(token[0], (1,) * output.ndim)
    return cotangent, jnp.stack([jnp.asarray(output.size, token.dtype), deviations.sum(), jnp.square(deviations).sum()])


_measured.defvjp(_measured_forward, _measured_backward)


def _tap(output: jax.Array, token: jax.Array, use: Use) -> jax.Array:
    return _measured(output, token)
