"""An optimizer for each group of parameters, by the paths of the parameters."""

from typing import Any

import jax
import optax

from jaxdl import checks, tree
from jaxdl.optimizers.subtrees import claims, with_whole_value_fn

PyTree = Any


def groups(
    *pairs: tuple[tree.Where, optax.GradientTransformation], rest: optax.GradientTransformation | None = None
) -> optax.GradientTransformationExtraArgs:
    """`optax.partition` by paths: every leaf belongs to exactly one group, and the group's optimizer moves it alone.

    Args:
      pairs: `(where, tx)`, one a group, in any order; see `jaxdl.tree`.
      rest: for the leaves that no pair chooses. None: there must be none; `optax.set_to_zero()` keeps them as they are
        without memory (see `freeze`).

    Returns:
      An optax transformation. Each group has its state, its count of updates and its norms to itself:
      `optax.clip_by_global_norm` inside of a group clips by the norm of that group. A `where` inside of a group chooses
      among the leaves of that group, so that `max_norm` on kernels in a group of biases is an error.
      `value_fn` is handed to a group as a function of its own leaves, all others at their present value, and `grad` cut
      to them. L-BFGS in one group beside `optax.set_to_zero()` is therefore exact; beside another group that
      moves at the same time, its line search does not see that move.

    Raises:
      TypeError: what is no pair of a `where` and an optax transformation.
      ValueError: no pair; at `init` and `update`, a `where` that matches nothing, leaves that two groups claim, leaves
        that none claims while `rest` is None; the message lists their paths.

    Example:
      >>> tx = groups((tree.is_kernel, optax.sgd(0.1)), (tree.is_bias, optax.sgd(0.2)))
      >>> params = {"kernel": jnp.ones((1, 1)), "bias": jnp.ones(1)}
      >>> tx.update(params, tx.init(params), params)[0]
      {'bias': Array([-0.2], dtype=float32), 'kernel': Array([[-0.1]], dtype=float32)}
    """
    _check_pairs(pairs)
    if rest is not None:
        checks.optimizer(rest)
    transforms: dict[Any, Any] = {f"group_{position}": tx for position, (_, tx) in enumerate(pairs)}
    if rest is not None:
        transforms["rest"] = rest

    def partition(params: PyTree) -> optax.GradientTransformationExtraArgs:
        labels = _labels(params, [where for where, _ in pairs], rest is not None)
        # Without leaves there is nothing to tell apart: so optax asks which parts of a state are shaped as parameters.
        used = set(jax.tree.leaves(labels)) or transforms.keys()
        kept = {name: tx for name, tx in transforms.items() if name in used}
        return optax.partition(kept, labels, mask_compatible_extra_args=True)

    def init(params: PyTree) -> Any:
        return partition(params).init(params)

    def update(updates: PyTree, state: Any, params: PyTree | None = None, **extra_args: Any) -> tuple[PyTree, Any]:
        chosen_of = updates if params is None else params
        extra_args = with_whole_value_fn(extra_args, params)
        return partition(chosen_of).update(updates, state, params, **extra_args)

    return optax.GradientTransformationExtraArgs(init, update)


def _labels(params: PyTree, wheres: list[tree.Where], has_rest: bool) -> PyTree:
    if not jax.tree.leaves(params):
        return params
    claimed = claims(wheres, params)
    twice = [
        f"{path} in {' and '.join(f'group {group} ({_shown(wheres[group])})' for group in found)}"
        for path, found in claimed.items()
        if len(found) > 1
    ]
    if twice:
        raise ValueError(
            f"pairs: expected every leaf in one group; got {', '.join(twice)}. Make the patterns exclude one another."
        )
    left = [path for path, found in claimed.items() if not found]
    if left and not has_rest:
        raise ValueError(
            f"pairs: expected every leaf in a group, since rest is None; got none for {', '.join(left)}. "
            "Add a pair for them, or pass rest=optax.set_to_zero() to keep them as they are."
        )
    labels = {path: f"group_{found[0]}" if found else "rest" for path, found in claimed.items()}
    return jax.tree_util.tree_map_with_path(lambda path, _: labels[tree.path_name(path)], params)


def _check_pairs(pairs: tuple[Any, ...]) -> None:
    if not pairs:
        raise ValueError("pairs: expected at least one (where, tx); got none. Pass for example ('**/kernel', tx).")
    for pair in pairs:
        if not (isinstance(pair, tuple) and len(pair) == 2):
            raise TypeError(
                f"pairs: expected pairs (where, tx); got {type(pair).__name__}. "
                "Write groups(('**/kernel', optax.sgd(0.1)), ('**/bias', optax.sgd(0.2)))."
            )
        checks.optimizer(pair[1])


def _shown(where: Any) -> str:
    return getattr(where, "__name__", repr(where))
