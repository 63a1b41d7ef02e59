"""Parameter paths, one predicate language over them (`where`), and norms per leaf.

A path is the field names from the root to a leaf joined by "/": `Dense_0/kernel`, `layers/0/bias`.
A `where` is one of

* a glob string: `*` and `?` stay within one name, `**/` crosses any number of names, so `"**/kernel"`
  matches every kernel at any depth, the root included;
* a callable `fn(path, leaf) -> bool`, such as `is_bias`;
* a tuple or list of these: a leaf is chosen when any of them chooses it;
* `None`: every leaf.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from flax import serialization

PyTree = Any
Where = str | Callable[[str, Any], bool] | Sequence["str | Callable[[str, Any], bool]"] | None


@dataclass(frozen=True)
class _Outline:
    shape: tuple[int, ...]
    # Not compared: gradients may have another dtype than the parameters, and their trees must still be alike.
    dtype: Any = field(compare=False)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Absent:
    """Stands in a tree for a leaf that is left out, such as a frozen one.

    No leaf itself, so that nothing is mapped to it, allocated for it, or chosen of it by `resolve`; but the path is
    still known there, so that a pattern for the whole tree also fits the part.

    Attributes:
      outline: shape and dtype of the leaf.
    """

    outline: _Outline = field(metadata={"static": True})

    @classmethod
    def of(cls, leaf: Any) -> "Absent":
        """What stands for `leaf`."""
        return cls(_Outline(jnp.shape(leaf), jnp.result_type(leaf)))

    @property
    def leaf(self) -> jax.ShapeDtypeStruct:
        """The leaf, as far as it is known."""
        return jax.ShapeDtypeStruct(self.outline.shape, self.outline.dtype)


serialization.register_serialization_state(Absent, lambda absent: {}, lambda absent, state: absent)


def path_name(key_path: tuple[Any, ...]) -> str:
    """The "/"-joined name of a JAX key path; dictionary keys, attributes and indices all read alike.

    Args:
      key_path: from `jax.tree_util.tree_flatten_with_path`.

    Returns:
      The name, such as "Dense_0/kernel".
    """
    return "/".join(str(getattr(k, "key", getattr(k, "name", getattr(k, "idx", k)))) for k in key_path)


def leaf_paths(tree: PyTree) -> dict[str, Any]:
    """`{path: leaf}` in the order in which JAX flattens the tree.

    Args:
      tree: any pytree.

    Returns:
      The leaves by path.

    Raises:
      ValueError: two leaves have the same path, as in `{"a/b": 1, "a": {"b": 2}}`.
    """
    named = [(path_name(path), leaf) for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]]
    leaves = dict(named)
    if len(leaves) < len(named):
        names = [name for name, _ in named]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"tree: expected one leaf a path; got two called {twice!r}. Rename the key that holds a '/'.")
    return leaves


def layer_of(path: str) -> str:
    """The path of the layer that owns a leaf: all but the last name; a leaf at the root is its own layer.

    Args:
      path: of a leaf, such as "Dense_0/kernel".

    Returns:
      The layer's path, such as "Dense_0".
    """
    return path.rsplit("/", 1)[0]


def is_bias(path: str, leaf: Any) -> bool:
    """True for a leaf named `bias` or `b`.

    Args:
      path: of the leaf.
      leaf: the array; not looked at.

    Returns:
      Whether it is one.
    """
    return path.rsplit("/", 1)[-1] in ("bias", "b")


def is_kernel(path: str, leaf: Any) -> bool:
    """True for a weight: a leaf of two or more dimensions that is no bias, normalization scale or PReLU slope.

    The others are known by name (`bias`, `b`, `scale`, `negative_slope`), because stacking the layers of a scan or
    the members of an ensemble gives them a second dimension.

    Args:
      path: of the leaf.
      leaf: the array, or its shape and dtype.

    Returns:
      Whether it is one.
    """
    name = path.rsplit("/", 1)[-1]
    return jnp.ndim(leaf) >= 2 and not is_bias(path, leaf) and name not in ("scale", "negative_slope")


def _glob_regex(pattern: str) -> re.Pattern[str]:
    pieces = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.compile("".join(pieces.get(token, re.escape(token)) for token in tokens), re.DOTALL)


def _chooser(where: Any) -> Callable[[str, Any], bool]:
    if isinstance(where, str):
        regex = _glob_regex(where)
        return lambda path, leaf: regex.fullmatch(path) is not None
    if callable(where):
        return lambda path, leaf: bool(where(path, leaf))
    raise TypeError(
        f"where: expected a glob string, a callable (path, leaf) -> bool, a sequence of these, or None; "
        f"got {type(where).__name__}. Write for example where='**/kernel'."
    )


def resolve(where: Where, tree: PyTree) -> PyTree:
    """Resolves a `where` against a real tree.

    Args:
      where: see the module's description.
      tree: any pytree; leaves are only looked at, so abstract leaves do.

    Returns:
      A pytree of `bool` with the structure of `tree`, as optax masks expect. An `Absent` leaf stays absent.

    Raises:
      ValueError: a pattern or predicate that chooses no leaf, present or absent; the message lists the paths there are.
      TypeError: `where` is none of the accepted kinds.
    """
    leaves = leaf_paths(tree) | _absent_leaves(tree)
    if where is None:
        return jax.tree.map(lambda _: True, tree)
    choices = list(where) if isinstance(where, (list, tuple)) else [where]
    chosen: set[str] = set()
    for choice in choices:
        chooser = _chooser(choice)
        matched = {path for path, leaf in leaves.items() if chooser(path, leaf)}
        if not matched:
            raise ValueError(
                f"where={choice!r} matches no leaf. The paths are: {', '.join(leaves) or '(none)'}. "
                "Write a pattern that matches one of them, such as '**/kernel'."
            )
        chosen |= matched
    return jax.tree_util.tree_map_with_path(lambda path, _: path_name(path) in chosen, tree)


def _absent_leaves(tree: PyTree) -> dict[str, Any]:
    nodes = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda node: isinstance(node, Absent))[0]
    return {path_name(path): node.leaf for path, node in nodes if isinstance(node, Absent)}


def norm(array: jax.Array, *, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> jax.Array:
    """Euclidean norm over `axis` (all entries by default), in float32 at least.

    The squares neither overflow nor underflow. `keepdims` keeps the reduced axes with length 1.

    Args:
      array: numbers of any dtype, complex ones included.
      axis: one or several; None for all.
      keepdims: whether the reduced axes stay, with length 1.

    Returns:
      The norm over the axes, real.
    """
    magnitude = jnp.abs(array)
    magnitude = magnitude.astype(jnp.promote_types(magnitude.dtype, jnp.float32))
    largest = jax.lax.stop_gradient(jnp.max(magnitude, axis=axis, keepdims=True, initial=0))
    unit = divisor(largest)
    squares = jnp.sum(jnp.square(magnitude / unit), axis=axis, keepdims=True)
    plain = (largest > 0) & jnp.isfinite(largest)
    # The inner choice is for the derivative, which the root does not have at 0.
    norms = jnp.where(plain, unit * jnp.sqrt(jnp.where(plain, squares, 1)), largest)
    return norms if keepdims else jnp.squeeze(norms, axis)


def divisor(largest: jax.Array) -> jax.Array:
    """What to divide numbers by, the largest of which has this size, before they are squared and summed.

    The squares then neither overflow nor underflow. 1 where `largest` is 0 or not finite.

    Args:
      largest: the greatest magnitude, floating-point, any shape.

    Returns:
      A number > 0 of the same shape and dtype.
    """
    # A divisor near the largest float has a subnormal reciprocal, which XLA may multiply by, and flush to 0.
    limit = 2.0 ** (jnp.finfo(largest.dtype).maxexp - 28)
    return jnp.where((largest > 0) & jnp.isfinite(largest), jnp.minimum(largest, limit), 1)


def leaf_norms(tree: PyTree) -> dict[str, jax.Array]:
    """`norm` of every leaf, `{path: scalar}`.

    Args:
      tree: pytree of arrays.

    Returns:
      Scalars by path, float32 at least.

    Raises:
      ValueError: two leaves have the same path.
    """
    return {path: norm(jnp.asarray(leaf)) for path, leaf in leaf_paths(tree).items()}


def joint_norm(norms: Mapping[str, jax.Array], paths: Sequence[str]) -> jax.Array:
    """Norm of several leaves taken as one vector, from their `leaf_norms`; 0 for no path.

    Args:
      norms: scalars by path.
      paths: those of the leaves.

    Returns:
      `()`.
    """
    return norm(jnp.stack([norms[path] for path in paths])) if paths else jnp.zeros(())


def num_entries(tree: PyTree) -> int:
    """The number of numbers in all leaves together.

    Args:
      tree: pytree of arrays, or of shapes and dtypes.

    Returns:
      A whole number.
    """
    return sum(int(jnp.size(leaf)) for leaf in jax.tree.leaves(tree))


def num_examples(data: PyTree, *, argument: str = "data") -> int:
    """The common leading length of all leaves.

    Args:
      data: pytree of arrays.
      argument: what an error calls them.

    Returns:
      The length, at least 1.

    Raises:
      ValueError: no leaf, a leaf without a leading axis, an empty one, or lengths that differ.
    """
    lengths = {path or "(root)": jnp.shape(leaf)[:1] for path, leaf in leaf_paths(data).items()}
    distinct = set(lengths.values())
    if len(distinct) != 1 or distinct == {()} or distinct == {(0,)}:
        found = ", ".join(f"{path}: {length[0] if length else 'scalar'}" for path, length in lengths.items())
        raise ValueError(
            f"{argument}: expected arrays that share one leading example axis of length >= 1; "
            f"got {found or 'no array'}. Pass for example (x, y) with len(x) == len(y)."
        )
    return distinct.pop()[0]
