"""Starting from another model's parameters."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.tree import Where, leaf_paths, path_name, resolve

PyTree = Any


def load_partial(
    params: PyTree,
    source: PyTree,
    *,
    where: Where = None,
    rename: Mapping[str, str] | Callable[[str], str] | None = None,
) -> PyTree:
    """`params` with the chosen leaves taken from `source`, the others as they are.

    Args:
      params: the new model's parameters, which give structure, shapes and dtypes.
      source: the trained model's parameters; leaves that nobody asks for are passed over.
      where: which leaves of `params` to take, such as `"Conv_*/**"`; by default all.
      rename: from a path in `params` to the path in `source`: a mapping of whole paths (those it lacks keep their
        name), or a function.

    Returns:
      A pytree with the structure and the dtypes of `params`.

    Raises:
      ValueError: `where` chooses no leaf, `rename` names a path that is none of `params`, or `source` has no leaf of
        that path and shape; every one that is missing or does not fit is listed.

    Example:
      >>> new = load_partial({"a": jnp.zeros(2), "b": jnp.zeros(3)}, {"a": jnp.ones(2)}, where="a")
      >>> new["a"].tolist(), new["b"].tolist()
      ([1.0, 1.0], [0.0, 0.0, 0.0])
    """
    chosen, ours, theirs = leaf_paths(resolve(where, params)), leaf_paths(params), leaf_paths(source)
    if isinstance(rename, Mapping) and set(rename) - set(ours):
        raise ValueError(
            f"rename: expected paths of params as keys; got {sorted(set(rename) - set(ours))}. "
            f"The paths are: {', '.join(ours)}."
        )
    names = {path: path for path, taken in chosen.items() if taken}
    if callable(rename):
        wanted = {path: rename(path) for path in names}
    else:
        wanted = {path: (rename or {}).get(path, path) for path in names}
    faults = [
        f"{path} of shape {jnp.shape(ours[path])} from {there}: "
        + (f"shape {jnp.shape(theirs[there])}" if there in theirs else "no such leaf")
        for path, there in wanted.items()
        if there not in theirs or jnp.shape(theirs[there]) != jnp.shape(ours[path])
    ]
    if faults:
        raise ValueError(
            f"source: expected a leaf of the same shape for every one chosen; got {'; '.join(faults)}. "
            f"Narrow `where`, or map the names with `rename`. The paths of source are: {', '.join(theirs) or '(none)'}."
        )

    def take(key_path: tuple[Any, ...], leaf: Any) -> Any:
        path = path_name(key_path)
        return jnp.asarray(theirs[wanted[path]], jnp.result_type(leaf)) if path in wanted else leaf

    return jax.tree_util.tree_map_with_path(take, params)
