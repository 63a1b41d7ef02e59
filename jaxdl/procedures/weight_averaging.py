"""Averages of WEIGHTS: one network of many, where they lie in one basin; and batch statistics that fit it."""

from operator import itemgetter
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import checks, tree
from jaxdl.model import Model, Variables, as_model, moved_state
from jaxdl.procedures.ensemble_model import check_stacked

PyTree = Any
_FAR = 2.0**20  # a probe beside which statistics are small, so that what multiplies it is known to full precision
_CLOSE = 1e-3


def average_weights(variables: PyTree) -> PyTree:
    """The mean of the members' weights: one network, at the price of one.

        w = 1/M sum_m w_m

    It makes sense for members in one basin of the loss: iterates of one run (`make_train_step(average=polyak(...))`
    keeps their mean without storing them), or members trained on from one start that is trained itself, in different
    orders of the data. It makes NONE for members of different starts: their hidden units are permuted, and the mean of
    a unit of one with an unrelated unit of another computes nothing; average their probabilities then. Only of a model
    that is linear in its weights the mean network is the mean of the outputs. Running statistics of batch normalization
    are averaged as well, but belong to no network afterwards: follow with `recompute_statistics`.

    Args:
      variables: stacked, leaves `(members, ...)`, such as `train_ensemble(...).variables`, or their `params` alone.

    Returns:
      Leaves `(...)`, in their dtypes, the mean taken in float32 at least; of whole numbers and keys the last member's.

    Raises:
      ValueError: leaves without a common leading axis.

    References:
      Izmailov et al., "Averaging weights leads to wider optima and better generalization", 2018 (SWA); Wortsman et al.,
      "Model soups", 2022; Polyak, Juditsky, 1992.
    """
    check_stacked(variables)

    def mean(leaf: Any) -> jax.Array:
        leaf = jnp.asarray(leaf)
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf[-1]
        return jnp.mean(leaf, 0, dtype=jnp.promote_types(leaf.dtype, jnp.float32)).astype(leaf.dtype)

    return jax.tree.map(mean, variables)


def recompute_statistics(
    model: Any, variables: Variables, x: PyTree, *, batch_size: int | None = None, key: jax.Array | None = None
) -> Variables:
    """The variables with running statistics that are the means, over the batches of `x`, of the batch statistics.

    After weights are averaged the running means and variances are those of no network; this is SWA's pass over the
    data. It works with any model whose state in training mode is running averages, s <- m s + (1 - m) b: the momentum m
    is found by probing with two values of s, and b follows. With one batch of all examples the statistics are exactly
    theirs; with several, variances within batches are averaged, without the spread of the batch means.

    Args:
      model: whatever `jaxdl.as_model` takes.
      variables: `{"params": ..., **model_state}` of one network, not stacked.
      x: inputs, leaves with one leading example axis.
      batch_size: examples a batch, the last one may have fewer and counts less; None for all at once.
      key: for dropout and noise, where the model needs one in training mode.

    Returns:
      The variables; parameters, and state that training leaves alone, as they were; those of a model without statistics
      unchanged.

    Raises:
      ValueError: state that is no such running average, as where normalization itself uses it (batch renormalization);
        `x` without a common leading axis; `batch_size` below 1.

    References:
      Izmailov et al., "Averaging weights leads to wider optima and better generalization", 2018, section 3.2.
    """
    model = as_model(model)
    count = tree.num_examples(x, argument="x")
    if batch_size is not None:
        checks.whole_number(batch_size=batch_size, minimum=1, remedy="None takes all examples at once.")
    size = min(batch_size or count, count)
    batches = [jax.tree.map(itemgetter(slice(i, i + size)), x) for i in range(0, count, size)]
    params = variables["params"]
    state = {name: value for name, value in variables.items() if name != "params"}
    paths = _running(model, params, state, batches[0], key)
    if not paths:
        return dict(variables)

    @jax.jit
    def after(value: jax.Array, batch: PyTree) -> dict[str, jax.Array]:
        probe = jax.tree_util.tree_map_with_path(
            lambda path, leaf: jnp.full_like(leaf, value, jnp.float32) if tree.path_name(path) in paths else leaf, state
        )
        found = tree.leaf_paths(model.apply({"params": params, **probe}, batch, train=True, key=key)[1])
        return {path: found[path].astype(jnp.float32) for path in paths}

    nothing, unit, far = (after(jnp.float32(value), batches[0]) for value in (0.0, 1.0, _FAR))
    share = {path: 1 - (far[path] - nothing[path]) / _FAR for path in paths}
    for path in paths:
        _check_running_average(path, share[path], nothing[path], unit[path])
    total = jax.tree.map(jnp.zeros_like, nothing)
    for batch in batches:
        weight = tree.num_examples(batch) / count
        total = jax.tree.map(lambda sum_, new, part: sum_ + weight * new / part, total, after(0.0, batch), share)  # noqa: B023
    fresh = jax.tree_util.tree_map_with_path(
        lambda path, leaf: total[name].astype(leaf.dtype) if (name := tree.path_name(path)) in paths else leaf, state
    )
    return {"params": params, **fresh}


def _running(model: Model, params: PyTree, state: PyTree, batch: PyTree, key: jax.Array | None) -> list[str]:
    """Paths of the floating-point state that training changes."""
    if not jax.tree.leaves(state):
        return []

    def state_after(state: PyTree, params: PyTree, batch: PyTree, key: jax.Array | None) -> PyTree:
        return model.apply({"params": params, **state}, batch, train=True, key=key)[1]

    leaves = tree.leaf_paths(state)
    moved = moved_state(state_after, state, params, batch, key)
    return [path for path in moved if path in leaves and jnp.issubdtype(jnp.result_type(leaves[path]), jnp.floating)]


def _check_running_average(path: str, share: jax.Array, nothing: jax.Array, unit: jax.Array) -> None:
    one = jnp.mean(share)
    constant = jnp.all(jnp.abs(share - one) <= _CLOSE * one) & (one > 0) & (one <= 1)
    # The batch's part, found with s = 0 and with s = 1, has to be one and the same.
    apart = jnp.abs(unit - (1 - share) - nothing)
    same = jnp.all(apart <= _CLOSE * jnp.maximum(jnp.abs(nothing), one))
    if not bool(constant & same):
        raise ValueError(
            f"model: expected state that is running averages of batch statistics, s <- m s + (1 - m) b; that at {path} "
            "is not. Train on for an epoch with a learning rate of 0 in its place."
        )
