"""Parameters that stay as they are: for the whole of training, or until their stage begins."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxdl import checks, tree
from jaxdl.optimizers.subtrees import claims, part, update_chosen

PyTree = Any


def freeze(tx: optax.GradientTransformation, *, where: tree.Where) -> optax.GradientTransformationExtraArgs:
    """`tx` on all leaves but the chosen ones, which stay as they are: `theta <- theta`, without memory.

    Wrap the WHOLE chain: weight decay, noise and constraints inside of `tx` then leave frozen leaves alone, norms for
    clipping do not count them, and the compiler drops the part of the backward pass that only they need. The update of
    a frozen leaf is -0.0, which a compiled program leaves out: every bit stays. Added outside of one, or inside of
    `optax.MultiSteps`, it keeps all but subnormal numbers and the payload of NaN. Running statistics are no parameters,
    see `jaxdl.layers.freeze_statistics`.

    Args:
      tx: the optax chain. A `where` inside of it is resolved against the whole tree and acts on what is trained
        of it: a chain may name leaves that are frozen.
      where: the frozen leaves, see `jaxdl.tree`.

    Returns:
      An optax transformation whose state is that of `tx` on the trained leaves. A `value_fn` is handed to `tx` as a
      function of these, `grad` cut to them: L-BFGS is exact there.

    Raises:
      TypeError: `tx` is no optax transformation.
      ValueError: at `init` and `update`, a `where` that matches nothing, or everything.

    Example:
      >>> tx = freeze(optax.adam(1e-3), where="Block_*/**")  # only the layers on top of the blocks are trained

    References:
      Yosinski et al., "How transferable are features in deep neural networks?", 2014.
    """
    checks.optimizer(tx)
    tx = optax.with_extra_args_support(tx)

    def trained(params: PyTree) -> PyTree:
        chosen = jax.tree.map(lambda frozen: not frozen, tree.resolve(where, params))
        if not any(jax.tree.leaves(chosen)):
            raise ValueError(
                f"where: expected a leaf to be left to train; got {where!r}, which chooses all of them. "
                "Choose fewer, or pass optax.set_to_zero() instead of freeze(...)."
            )
        return chosen

    def init(params: PyTree) -> Any:
        return _init_chosen(tx, trained(params), params) if jax.tree.leaves(params) else tx.init(params)

    def update(updates: PyTree, state: Any, params: PyTree | None = None, **extra_args: Any) -> tuple[PyTree, Any]:
        chosen = trained(updates if params is None else params)
        updates, state = update_chosen(tx, chosen, updates, state, params, extra_args)
        return _kept_where_not(chosen, updates, params), state

    return optax.GradientTransformationExtraArgs(init, update)


def staged_unfreezing(
    tx: optax.GradientTransformation, *, stages: Sequence[tree.Where]
) -> tuple[optax.GradientTransformationExtraArgs, ...]:
    """One transformation a stage: in stage k the leaves of `stages[0]` to `stages[k]` are trained, all others frozen.

    Each of these groups has a state of `tx` to itself, made when its stage begins. With one state for all, Adam's count
    of updates would have run ahead of the moments of a newly thawed layer, which start at zero: its first step,
    m / sqrt(v) = (1 - beta1) / sqrt(1 - beta2) without the correction, would be three times too long. And a schedule
    starts anew with each group, and so does noise from the same key. What couples leaves, such as clipping by a global
    norm, acts within a group.
    Frozen leaves are those of `freeze`: same bits, no memory. Leaves in no stage stay frozen for ever.

    Args:
      tx: the optax chain, the same for all. A `where` inside of it is resolved against the whole tree, as in `freeze`.
      stages: the leaves that each stage adds, the first one trained (the top) first; see `jaxdl.tree`.

    Returns:
      Transformations, one a stage; `carry_over` takes the state from one to the next.

    Raises:
      TypeError: `tx` is no optax transformation; `stages` is one pattern instead of a sequence.
      ValueError: no stage; at `init` and `update`, a stage that matches nothing, or leaves in two stages, whose
        paths are listed.

    Example:
      >>> txs = staged_unfreezing(optax.adam(1e-3), stages=["Dense_2/*", "Dense_1/*"])  # Dense_0 stays frozen
      >>> state = init_state(model, txs[0], x, key=key)
      >>> for tx in txs:
      ...     state = replace(state, opt_state=carry_over(state.opt_state, tx, state.params))
      ...     state = fit(make_train_step(objective, tx), state, data, epochs=..., batch_size=128).state

    References:
      Howard and Ruder, "Universal language model fine-tuning for text classification", 2018, section 3.3.
    """
    checks.optimizer(tx)
    tx = optax.with_extra_args_support(tx)
    if isinstance(stages, str) or not isinstance(stages, Sequence):
        raise TypeError(
            f"stages: expected a sequence of patterns; got {type(stages).__name__}. Write stages=['Dense_1/*', ...]."
        )
    stages = list(stages)
    if not stages:
        raise ValueError(
            "stages: expected at least one; got none. Write for example stages=['Dense_1/*', 'Dense_0/*']."
        )
    return tuple(_stage(tx, stages, last) for last in range(len(stages)))


def _stage(
    tx: optax.GradientTransformationExtraArgs, stages: list[tree.Where], last: int
) -> optax.GradientTransformationExtraArgs:
    names = [f"stage_{stage}" for stage in range(last + 1)]

    def init(params: PyTree) -> dict[str, Any]:
        if not jax.tree.leaves(params):
            return {name: tx.init(params) for name in names}
        chosen = _leaves_of_stages(stages, params)
        return {name: _init_chosen(tx, mask, params) for name, mask in zip(names, chosen, strict=False)}

    def update(updates: PyTree, state: Any, params: PyTree | None = None, **extra_args: Any) -> tuple[PyTree, Any]:
        chosen = _leaves_of_stages(stages, updates if params is None else params)[: last + 1]
        # Every group sees the updates passed; `grad` among the extra arguments has the structure of these.
        new, new_state = updates, {}
        for name, mask in zip(names, chosen, strict=True):
            new, new_state[name] = update_chosen(tx, mask, new, state[name], params, extra_args)
        trained = jax.tree.map(lambda *masks: any(masks), *chosen)
        return _kept_where_not(trained, new, params), new_state

    return optax.GradientTransformationExtraArgs(init, update)


def _leaves_of_stages(stages: list[tree.Where], params: PyTree) -> list[PyTree]:
    claimed = claims(stages, params)
    twice = [f"{path} in {' and '.join(map(str, found))}" for path, found in claimed.items() if len(found) > 1]
    if twice:
        raise ValueError(
            f"stages: expected every leaf in one stage at most; got {', '.join(twice)}. "
            "Name in each stage only what it adds."
        )
    return [
        jax.tree_util.tree_map_with_path(lambda path, _, stage=stage: stage in claimed[tree.path_name(path)], params)
        for stage in range(len(stages))
    ]


def carry_over(opt_state: PyTree, tx: optax.GradientTransformation, params: PyTree) -> PyTree:
    """The state of `tx` in which every leaf that `opt_state` has, by path and shape, keeps its value.

    Args:
      opt_state: the state up to now.
      tx: the transformation to go on with, such as the next one of `staged_unfreezing`.
      params: the parameters.

    Returns:
      A state of `tx`; what `opt_state` does not have is as `tx.init(params)` makes it. From one `freeze` to one
      of fewer leaves, counts go on while the moments of thawed leaves start at zero: see `staged_unfreezing` for Adam.

    Raises:
      TypeError: `tx` is no optax transformation.
      ValueError: leaves of `opt_state` that the state of `tx` does not have, or has in another shape or dtype; the
        message lists their paths. Nothing is dropped.
    """
    checks.optimizer(tx)
    fresh = tx.init(params)
    old = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(opt_state)[0]}
    new = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(fresh)[0]}
    lost = [
        f"{path}, {_kind(leaf)} (now {_kind(new[path]) if path in new else 'not there'})"
        for path, leaf in old.items()
        if path not in new or _kind(leaf) != _kind(new[path])
    ]
    if lost:
        raise ValueError(
            f"opt_state: expected only leaves that the state of tx has too; got {'; '.join(lost)}. "
            "Pass the state of the stage before, or start from tx.init(params)."
        )
    return jax.tree_util.tree_map_with_path(lambda path, leaf: old.get(jax.tree_util.keystr(path), leaf), fresh)


def _init_chosen(tx: optax.GradientTransformation, chosen: PyTree, params: PyTree) -> Any:
    return tx.init(part(params, chosen, params))


def _kept_where_not(chosen: PyTree, updates: PyTree, params: PyTree | None) -> PyTree:
    """The updates; where not chosen -0.0, since p + 0.0 makes 0.0 of -0.0."""

    def kept(update: Any, p: Any) -> jax.Array:
        # Updates of integers may be of dtype float0, which nothing can be added to.
        given = getattr(update, "dtype", p.dtype)
        return jnp.full(jnp.shape(p), -0.0, p.dtype if given == jax.dtypes.float0 else given)

    like = updates if params is None else params
    return jax.tree.map(lambda keep, update, p: update if keep else kept(update, jnp.asarray(p)), chosen, updates, like)


def _kind(leaf: Any) -> str:
    return f"{jnp.result_type(leaf)}{list(jnp.shape(leaf))}"
