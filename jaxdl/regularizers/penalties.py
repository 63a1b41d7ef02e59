"""Penalties: each factory returns a pure `penalty(params) -> scalar`, to be added to the mean loss.

`make_train_step(objective, tx, regularizer=l2(1e-4))` takes any of them, and sums of them made by `add`. By default
they see the weights alone, `jaxdl.tree.is_kernel`: no bias, normalization scale or PReLU slope. Sums are taken in
float32 at least; gradients have the dtypes of the parameters.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxdl import checks, tree

PyTree = Any
Penalty = Callable[[PyTree], jax.Array]

_KL_EDGE = 1e-6


def l1(strength: float | jax.Array, *, where: tree.Where = tree.is_kernel) -> Penalty:
    """`strength * sum |w|`, with subgradient `strength * sign(w)`, 0 at 0.

    Descent along the subgradient makes weights small but not zero: it steps over zero and back. For exact zeros end
    the chain with `jaxdl.optimizers.proximal_l1`.

    Args:
      strength: number >= 0, or a traced scalar.
      where: the penalised leaves, see `jaxdl.tree`.

    Returns:
      `penalty(params) -> scalar`.

    Raises:
      ValueError: `strength` is negative or no scalar; on the first call, a leaf that is not floating-point.

    References:
      Tibshirani, "Regression shrinkage and selection via the lasso", 1996.
    """
    _check_strength(strength)
    return lambda params: strength * _sum(_magnitude, where, params)


def l2(strength: float | jax.Array, *, where: tree.Where = tree.is_kernel) -> Penalty:
    """`strength / 2 * sum w^2`, with gradient `strength * w`.

    Under plain gradient descent with learning rate eta it multiplies the weights by `1 - eta * strength` a step, as
    `optax.add_decayed_weights(strength)` before `optax.sgd(eta)` does; the decay of `optax.adamw` comes after the
    rescaling of the gradient and is another method. With the mean loss over n examples, Nielsen's lambda is
    `strength = lambda / n`, and the prior N(0, 1/alpha) under noise of precision beta is `strength = alpha / (beta n)`
    on half the squared error.

    Args:
      strength: number >= 0, or a traced scalar.
      where: the penalised leaves, see `jaxdl.tree`.

    Returns:
      `penalty(params) -> scalar`.

    Raises:
      ValueError: `strength` is negative or no scalar; on the first call, a leaf that is not floating-point.

    Example:
      >>> float(l2(0.1)({"kernel": jnp.array([[3.0], [4.0]]), "bias": jnp.ones(1)}))
      1.25

    References:
      Krogh and Hertz, "A simple weight decay can improve generalization", 1992.
    """
    _check_strength(strength)
    return lambda params: strength / 2 * _sum(jnp.square, where, params)


def orthogonal(
    strength: float | jax.Array, *, norm: Literal["l1", "fro2"] = "l1", where: tree.Where = tree.is_kernel
) -> Penalty:
    """`strength * sum |G - I|` or `strength * sum (G - I)^2`, with G the smaller Gram matrix of each kernel.

    A kernel is flattened to K of shape (fan_in, out), all axes but the last; G = K^T K where out <= fan_in, and
    K K^T otherwise, because the larger one has not the rank of an identity: the sum could not vanish.

    Args:
      strength: number >= 0, or a traced scalar.
      norm: "l1" for the sum of absolute entries, "fro2" for the sum of squares.
      where: the penalised leaves, see `jaxdl.tree`.

    Returns:
      `penalty(params) -> scalar`; 0 if and only if every kernel has orthonormal columns or orthonormal rows.

    Raises:
      ValueError: `strength` is negative or no scalar, `norm` is another word; on the first call, a leaf that is not
        floating-point or has fewer than two dimensions.

    References:
      Brock, Lim, Ritchie and Weston, "Neural photo editing with introspective adversarial networks", 2016, eq. 3.
    """
    _check_strength(strength)
    if norm not in ("l1", "fro2"):
        raise ValueError(f"norm: expected 'l1' or 'fro2'; got {norm!r}. Use 'fro2' for a smooth penalty.")
    entry = _magnitude if norm == "l1" else jnp.square
    return lambda params: strength * _sum(lambda kernel: entry(_gram_error(kernel)), where, params)


def kl_sparsity(strength: float | jax.Array, *, target: float | jax.Array = 0.05, where: tree.Where = None) -> Penalty:
    """`strength * sum_j KL(target || m_j)`, with m_j the mean activation of unit j.

        KL(t || m) = t ln(t / m) + (1 - t) ln((1 - t) / (1 - m))

    Unlike the others it takes ACTIVATIONS, in (0, 1) as a sigmoid gives them, so it is no `regularizer=` of a step but
    part of an objective, see the example. The mean is over all axes but the last, the batch among them: where a batch
    is split, the penalties of its parts do not average to that of the whole.

    Args:
      strength: number >= 0, or a traced scalar.
      target: the mean activation wanted, in (0, 1); a number, or a traced scalar.
      where: which leaves of the tree of activations; all by default.

    Returns:
      `penalty(activations) -> scalar`, for a tree with leaves of shape (..., units). A mean below 1e-6 or above
      1 - 1e-6 is given the value and the slopes at that edge, so they are finite at 0 and 1 and lead back from there.

    Raises:
      ValueError: `strength` is negative or no scalar, `target` is not inside (0, 1); on the first call, a leaf that
        is not floating-point or a scalar.

    Example: with a Linen module that says `self.sow("intermediates", "hidden", a)` of its hidden layer,
      >>> sparsity = kl_sparsity(0.1)
      >>> def objective(params, batch, *, model_state, key, train):
      ...     outputs, seen = module.apply({"params": params}, batch, mutable=["intermediates"])
      ...     losses = jaxdl.losses.squared_error(outputs, batch)
      ...     return losses + sparsity(seen["intermediates"]), jaxdl.training.Aux(model_state, {})

    References:
      Lee, Ekanadham and Ng, "Sparse deep belief net model for visual area V2", 2007 (the aim);
      Ng, "Sparse autoencoder", 2011 (this form).
    """
    _check_strength(strength)
    checks.number(target=target, minimum=0, below=1, exclusive=True, remedy="It is a mean activation; use 0.05.")

    def divergence(activations: jax.Array) -> jax.Array:
        if activations.ndim < 1:
            raise ValueError("activations: expected shape (..., units); got a scalar. Keep the axis of the units.")
        mean = _inside(jnp.mean(activations, axis=tuple(range(activations.ndim - 1))))
        return target * jnp.log(target / mean) + (1 - target) * jnp.log((1 - target) / (1 - mean))

    return lambda activations: strength * _sum(divergence, where, activations, argument="activations")


def add(*penalties: Penalty) -> Penalty:
    """The sum of several penalties, as one: `add(l1(1e-5), l2(1e-4, where="Dense_0/kernel"))`.

    Args:
      penalties: functions of the parameters, at least one.

    Returns:
      `penalty(params) -> ()`.

    Raises:
      ValueError: no penalty.
      TypeError: something that is not callable.
    """
    if not penalties:
        raise ValueError("penalties: expected at least one; got none. Pass regularizer=None for no penalty.")
    for penalty in penalties:
        if not callable(penalty):
            raise TypeError(
                f"penalties: expected functions params -> scalar; got {type(penalty).__name__}. "
                "Pass for example add(l1(1e-5), l2(1e-4))."
            )
    return lambda params: sum((penalty(params) for penalty in penalties[1:]), penalties[0](params))


def _check_strength(strength: Any) -> None:
    checks.number(strength=strength, minimum=0, remedy="It multiplies the penalty; 0 switches it off.")


def _sum(
    entries: Callable[[jax.Array], jax.Array], where: tree.Where, values: PyTree, *, argument: str = "params"
) -> jax.Array:
    chosen = tree.leaf_paths(tree.resolve(where, values))
    total = jnp.zeros(())
    for path, leaf in tree.leaf_paths(values).items():
        if chosen[path]:
            dtype = jnp.result_type(leaf)
            if not jnp.issubdtype(dtype, jnp.floating):
                raise ValueError(
                    f"{argument}: expected floating-point leaves; got {dtype} at {path!r}. Cast it, or leave it out "
                    "by where=."
                )
            total += jnp.sum(entries(jnp.asarray(leaf).astype(jnp.promote_types(dtype, jnp.float32))))
    return total


def _magnitude(values: jax.Array) -> jax.Array:
    # The derivative of jnp.abs at 0 is 1, and would drive away from 0 the weights that are there.
    return values * jax.lax.stop_gradient(jnp.sign(values))


def _gram_error(kernel: jax.Array) -> jax.Array:
    if kernel.ndim < 2:
        raise ValueError(
            f"params: expected kernels of two or more dimensions; got shape {kernel.shape}. Leave it out by where=."
        )
    matrix = kernel.reshape(-1, kernel.shape[-1])
    if matrix.shape[0] < matrix.shape[1]:
        matrix = matrix.T
    # At an accelerator's default precision the products alone would be off by some 1e-3 of an orthogonal kernel.
    gram = jnp.matmul(matrix.T, matrix, precision=jax.lax.Precision.HIGHEST)
    return gram - jnp.eye(gram.shape[0], dtype=gram.dtype)


def _inside(mean: jax.Array) -> jax.Array:
    clipped = jax.lax.stop_gradient(jnp.clip(mean, _KL_EDGE, 1 - _KL_EDGE))
    # A plain clip would have gradient 0 outside, and leave a dead or saturated unit as it is.
    return jnp.where(clipped == mean, mean, clipped + (mean - jax.lax.stop_gradient(mean)))
