"""Parts of a tree of parameters: what an optimizer sees that works on some leaves only."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import jax
import optax

from jaxdl import tree

PyTree = Any
TAKES_PARTS = "takes_parts"


def part(whole: PyTree, chosen: PyTree, like: PyTree) -> PyTree:
    """The chosen leaves of `whole`; in place of the others stands what is known of those of `like`."""
    return jax.tree.map(lambda keep, leaf, known: leaf if keep else tree.Absent.of(known), chosen, whole, like)


def completed(piece: PyTree, whole: PyTree) -> PyTree:
    """`piece` with every leaf that is left out (`Absent`, or masked out by optax) taken from `whole`."""
    return jax.tree.map(lambda node, rest: rest if left_out(node) else node, piece, whole, is_leaf=left_out)


def left_out(node: Any) -> bool:
    """Whether a node of a part stands for what the part leaves out."""
    return isinstance(node, (tree.Absent, optax.MaskedNode))


def with_whole_value_fn(extra_args: dict[str, Any], params: PyTree | None) -> dict[str, Any]:
    """The extra arguments of an update, with a `value_fn` that also takes parts of `params`.

    The leaves a part leaves out keep their value, so a line search sees the objective as a function of its own leaves.
    """
    value_fn: Callable[..., Any] | None = extra_args.get("value_fn")
    if value_fn is None or params is None:
        return extra_args

    @wraps(value_fn)  # optax reads from the signature which extra arguments are the function's
    def of_part(piece: PyTree, *args: Any, **kwargs: Any) -> Any:
        return value_fn(completed(piece, params), *args, **kwargs)

    setattr(of_part, TAKES_PARTS, True)
    return {**extra_args, "value_fn": of_part}


def takes_parts(value_fn: Any) -> bool:
    """Whether a `value_fn` knows the leaves that are left out of its argument, see `with_whole_value_fn`."""
    return getattr(value_fn, TAKES_PARTS, False)


def claims(wheres: list[tree.Where], params: PyTree) -> dict[str, list[int]]:
    """Which of `wheres` choose each leaf, `{path: positions}`."""
    found: dict[str, list[int]] = {path: [] for path in tree.leaf_paths(params)}
    for position, where in enumerate(wheres):
        for path, chosen in tree.leaf_paths(tree.resolve(where, params)).items():
            if chosen:
                found[path].append(position)
    return found


def on_chosen(inner: optax.GradientTransformation, where: tree.Where) -> optax.GradientTransformationExtraArgs:
    """`optax.masked` by paths, where predicates see the parameters at every update, and not their gradients."""

    def masked(like: PyTree) -> optax.GradientTransformationExtraArgs:
        return optax.masked(inner, lambda _: tree.resolve(where, like))

    def update(updates: PyTree, state: Any, params: PyTree | None = None, **extra_args: Any) -> tuple[PyTree, Any]:
        return masked(updates if params is None else params).update(updates, state, params, **extra_args)

    return optax.GradientTransformationExtraArgs(lambda params: masked(params).init(params), update)


def update_chosen(
    tx: optax.GradientTransformationExtraArgs,
    chosen: PyTree,
    updates: PyTree,
    state: Any,
    params: PyTree | None,
    extra_args: dict[str, Any],
) -> tuple[PyTree, Any]:
    """`tx.update` on the chosen leaves alone; the updates of the others are those passed.

    Extra arguments that have the structure of the updates, such as `grad`, are cut to the part, too.
    """
    like = updates if params is None else params
    structure = jax.tree.structure(updates)

    def cut(argument: Any) -> Any:
        alike = structure != jax.tree.structure(0) and jax.tree.structure(argument) == structure
        return part(argument, chosen, like) if alike else argument

    extra_args = {name: cut(argument) for name, argument in with_whole_value_fn(extra_args, params).items()}
    pieces = None if params is None else part(params, chosen, like)
    new, state = tx.update(part(updates, chosen, like), state, pieces, **extra_args)
    return completed(new, updates), state
