"""Constraints on the weights: optax transformations that END a chain and hold after every update.

`optax.chain(optax.adam(1e-3), max_norm(3.0))`: whatever stands in front, the new parameters obey. They are projections
p + u -> P(p + u), returned as the update P(p + u) - p. A unit's incoming weights are a column of a (in, out) kernel,
and K[..., j] of a convolution's: all axes but the LAST are reduced. (Listings that normalise along the last axis bound
the outgoing weights.) Initial parameters are made to obey by `project`, and so is what one loads.

`optax.inject_hyperparams` takes every callable for a schedule, the default of `where` too: write
`optax.inject_hyperparams(max_norm, static_args=("axis", "where"))(max_value=3.0)`. In front of them it needs nothing.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxdl import checks, tree
from jaxdl.optimizers.landing import land
from jaxdl.optimizers.subtrees import on_chosen

PyTree = Any
Axis = int | tuple[int, ...] | None


def max_norm(
    max_value: float | jax.Array, *, axis: Axis = None, where: tree.Where = tree.is_kernel
) -> optax.GradientTransformation:
    """`w_j <- w_j min(1, c / |w_j|)` for the incoming weights w_j of every unit j: |w_j| <= c.

    Args:
      max_value: the bound c > 0, reached and kept (<=, not <); a number or a traced scalar. Beside dropout, 3 to
        4 is typical (Srivastava et al., appendix A).
      axis: the axes that run over the incoming weights of one unit, kept apart by all others. None: all but the last,
        right for `Dense` and `Conv`. `nn.DenseGeneral` with several output axes: the input axes, such as 0;
        `nn.ConvLocal` and layers stacked by a scan: -2.
      where: the constrained leaves, see `jaxdl.tree`.

    Returns:
      An optax transformation, to be the last of a chain. Norms are at most c (1 + 1e-6) in float32, c (1 + 2^-8) in
      bfloat16. An update that keeps the norm is not touched, and NaN stays NaN.

    Raises:
      TypeError: `axis` is something else.
      ValueError: `max_value` is not positive; at `init`, a `where` that matches nothing; at `update`, no `params`, or
        an axis that a leaf has not.

    Example:
      >>> tx = optax.chain(optax.sgd(1.0), max_norm(2.0))
      >>> params = {"kernel": jnp.array([[3.0, 0.3], [4.0, 0.4]])}
      >>> updates, _ = tx.update({"kernel": jnp.zeros((2, 2))}, tx.init(params), params)
      >>> tree.norm(optax.apply_updates(params, updates)["kernel"], axis=0)
      Array([2. , 0.5], dtype=float32)

    References:
      Srebro and Shraibman, "Rank, trace-norm and max-norm", 2005;
      Srivastava et al., "Dropout", 2014, section 5.1.
    """
    checks.number(max_value=max_value, minimum=0, exclusive=True, remedy="It bounds a norm; 3.0 is usual.")
    _check_axis(axis)

    def shortened(path: str, w: jax.Array) -> jax.Array:
        norm = _unit_norms(path, w, axis)
        long = norm > max_value
        return jnp.where(long, w / jnp.where(long, norm, 1) * max_value, w)

    return _ending(shortened, where)


def unit_norm(*, axis: Axis = None, where: tree.Where = tree.is_kernel) -> optax.GradientTransformation:
    """`w_j <- w_j / |w_j|` for the incoming weights w_j of every unit j.

    Args:
      axis: as for `max_norm`.
      where: the constrained leaves, see `jaxdl.tree`.

    Returns:
      An optax transformation, to be the last of a chain. Norms are 1 within 1e-6 in float32, 2^-7 in bfloat16. A unit
      whose weights are all 0 has no direction, and stays 0; NaN stays NaN. From norms of 10 and more the first
      update lands as near to 1 as p + u can, to some 1e-7 |p|: use `project` on such parameters first.

    Raises:
      TypeError: `axis` is something else.
      ValueError: at `init`, a `where` that matches nothing; at `update`, no `params`, or an axis that a leaf has not.
    """
    _check_axis(axis)

    def normalized(path: str, w: jax.Array) -> jax.Array:
        norm = _unit_norms(path, w, axis)
        return w / jnp.where(norm == 0, 1, norm)

    return _ending(normalized, where)


def non_negative(*, where: tree.Where = tree.is_kernel) -> optax.GradientTransformation:
    """`w <- max(0, w)`: `optax.keep_params_nonnegative` on the chosen leaves. Zero is allowed.

    Args:
      where: the constrained leaves, see `jaxdl.tree`.

    Returns:
      An optax transformation, to be the last of a chain, or to stand before `max_norm` or `unit_norm`, which keep
      signs. NaN stays NaN.

    Raises:
      ValueError: at `init`, a `where` that matches nothing; at `update`, no `params`.
    """
    return on_chosen(optax.keep_params_nonnegative(), where)


def project(params: PyTree, *constraints: optax.GradientTransformation) -> PyTree:
    """Parameters that obey: each constraint in turn applied to the parameters themselves.

    Args:
      params: pytree of parameters, however far from obeying.
      constraints: `max_norm(...)`, `non_negative(...)`, `unit_norm(...)`, in the order of the chain, for the leaves
        that their `where` chooses. Not inside of `freeze`, whose leaves would come out as 0.

    Returns:
      Parameters of the same structure, shapes and dtypes.

    Raises:
      ValueError: no constraint.

    Example:
      >>> project({"kernel": jnp.array([[30.0], [-40.0]])}, non_negative(), unit_norm())
      {'kernel': Array([[1.],
             [0.]], dtype=float32)}
    """
    if not constraints:
        raise ValueError("constraints: expected at least one; got none. Pass for example max_norm(3.0).")
    for constraint in constraints:
        checks.optimizer(constraint)
        # An update of all the parameters, from the origin: so the difference P - p costs no digit.
        origin = jax.tree.map(jnp.zeros_like, params)
        updates, _ = constraint.update(params, constraint.init(params), origin)
        params = optax.apply_updates(origin, updates)
    return params


def _ending(target: Any, where: tree.Where) -> optax.GradientTransformation:
    return on_chosen(optax.stateless(lambda updates, params: land(target, updates, params)), where)


def _check_axis(axis: Any) -> None:
    axes = axis if isinstance(axis, tuple) else (axis,)
    if axis is not None and not all(isinstance(a, (int, np.integer)) and not isinstance(a, bool) for a in axes):
        raise TypeError(
            f"axis: expected None, an integer or a tuple of integers; got {axis!r}. Leave it out for Dense."
        )


def _unit_norms(path: str, w: jax.Array, axis: Axis) -> jax.Array:
    """Norms over `axis`, which is kept with length 1."""
    if axis is None:
        if w.ndim < 2:
            raise ValueError(
                f"axis: expected to be given for {path!r}, which has shape {w.shape} and so no axis of units besides "
                "that of their weights; got None. Pass axis=0 for one norm of the whole vector, or leave it out by "
                "where=."
            )
        return tree.norm(w, axis=tuple(range(w.ndim - 1)), keepdims=True)
    axes = axis if isinstance(axis, tuple) else (axis,)
    if not all(-w.ndim <= a < w.ndim for a in axes) or len({a % w.ndim for a in axes}) < len(axes):
        raise ValueError(
            f"axis: expected distinct axes of {path!r}, which has shape {np.shape(w)}; got {axis}. "
            "Choose by where= the leaves that have them."
        )
    return tree.norm(w, axis=axis, keepdims=True)
