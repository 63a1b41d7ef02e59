"""Products of the Hessian and the Gauss-Newton matrix of a data set with a vector, neither ever formed."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import checks
from jaxdl.diagnostics.curvature.streaming import flat, mean_loss, problem, streamed_mean
from jaxdl.diagnostics.structure.preparation import prepared
from jaxdl.tree import leaf_paths

PyTree = Any


def hessian_vector_product(
    objective: Callable[..., Any],
    params: PyTree,
    data: PyTree,
    vector: PyTree,
    *,
    batch_size: int | None = None,
    model_state: PyTree | None = None,
    key: jax.Array | None = None,
    train: bool = False,
) -> PyTree:
    """`H v` with `H = d^2 C / d params^2` of the mean loss C over all examples: the gradient's derivative along v.

    One compiled program; the batches go through it in order, so that the same call gives the same bytes. About the
    price of two to three gradients.

    Args:
      objective: an objective such as `jaxdl.training.supervised(model, loss)`, or a plain
        `losses_fn(params, batch) -> (batch,)`.
      params: pytree of parameters, or a `TrainState`, which brings its `model_state` along.
      data: what the objective takes, such as `(x, y)`; a batch or a whole data set.
      vector: pytree v like `params`.
      batch_size: examples at a time. It bounds the memory and changes nothing else beyond rounding, unless the
        examples of a batch are mixed. None: all at once.
      model_state: the model's other collections, such as running statistics.
      key: for random layers where `train`; each batch has a key folded from it. `jax.random.key(0)` by default.
      train: whether the model runs in training mode. False by default, here and for all of curvature: with the
        statistics of the batch the loss is no mean over examples, and its Hessian depends on the batch size.

    Returns:
      A pytree like `vector`, in its dtypes; computed in the widest dtype among the parameters, float32 at least, with
      matrix products in full precision.

    Raises:
      ValueError: `vector` unlike `params`, parameters that are not floating point, losses that are not one value per
        example, data without a common example axis, or a batch size below 1.
      TypeError: `objective` or `key` of the wrong kind.

    Example:
      >>> losses = lambda w, x: jnp.square(x @ w)
      >>> hessian_vector_product(losses, jnp.zeros(2), jnp.eye(2), jnp.array([1.0, 2.0]), batch_size=1)
      Array([1., 2.], dtype=float32)

    References:
      Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6, 1994.
    """
    given = prepared(objective, params, data, model_state=model_state, key=key)
    vector = _like(vector, given.params)
    return _hessian(*given, vector, objective=objective, train=train, batch_size=batch_size)


def gauss_newton_vector_product(
    outputs_fn: Callable[[Any, Any], Any],
    loss_fn: Callable[[Any, Any], jax.Array],
    params: PyTree,
    data: PyTree,
    vector: PyTree,
    *,
    batch_size: int | None = None,
) -> PyTree:
    """`G v`, the generalised Gauss-Newton matrix `G = mean of J^T (d^2 l / dz^2) J` over examples, J = dz / dparams.

    The Hessian without the second derivatives of the model: positive semi-definite where the loss is convex in the
    outputs z, and the Hessian itself where the model is linear in its parameters.

    Args:
      outputs_fn: `outputs_fn(params, batch) -> z`, the model: any pytree of arrays with a leading example axis. For
        instance `lambda params, batch: model.apply({"params": params}, batch[0])`.
      loss_fn: `loss_fn(z, batch) -> (batch,)`, the loss of each example from ITS outputs, such as
        `lambda z, batch: jaxdl.losses.softmax_cross_entropy(z, batch[1])`. Where to cut is a choice: softmax belongs
        to the loss.
      params: pytree of parameters.
      data: what both take; a batch or a whole data set.
      vector: pytree v like `params`.
      batch_size: examples at a time, as in `hessian_vector_product`.

    Returns:
      A pytree like `vector`, in its dtypes.

    Raises:
      ValueError: as in `hessian_vector_product`.
      TypeError: `outputs_fn` or `loss_fn` is no function, or not hashable.

    References:
      Schraudolph, "Fast curvature matrix-vector products for second-order gradient descent", 2002; Martens, "Deep
      learning via Hessian-free optimization", 2010.
    """
    checks.compiled_function(outputs_fn=outputs_fn, remedy="It maps (params, batch) to the model's outputs.")
    checks.compiled_function(loss_fn=loss_fn, remedy="It maps (outputs, batch) to one loss per example.")
    params, data = jax.tree.map(jnp.asarray, (params, data))
    vector = _like(vector, params)
    return _gauss_newton(params, data, vector, outputs_fn=outputs_fn, loss_fn=loss_fn, batch_size=batch_size)


def _like(vector: PyTree, params: PyTree) -> PyTree:
    vector = jax.tree.map(jnp.asarray, vector)
    shapes, expected = ({path: leaf.shape for path, leaf in leaf_paths(tree).items()} for tree in (vector, params))
    differ = [path for path in {**expected, **shapes} if shapes.get(path) != expected.get(path)]
    if differ or jax.tree.structure(vector) != jax.tree.structure(params):
        path = differ[0] if differ else ""
        got, there = (
            (str(found[path]) if path in found else "nothing") if differ else type(tree).__name__
            for found, tree in ((shapes, vector), (expected, params))
        )
        raise ValueError(
            f"vector: expected a pytree like params; they differ at {path or '(root)'}: got {got}, params have "
            f"{there}. Make it for example by jax.tree.map(jnp.ones_like, params)."
        )
    return vector


@partial(jax.jit, static_argnames=("objective", "train", "batch_size"))
def _hessian(
    params: PyTree,
    data: PyTree,
    model_state: PyTree,
    key: jax.Array,
    vector: PyTree,
    *,
    objective: Any,
    train: bool,
    batch_size: int | None,
) -> PyTree:
    with jax.default_matmul_precision("highest"):
        at = problem(objective, params, data, model_state=model_state, key=key, train=train, batch_size=batch_size)
        image = at.product(flat(vector, argument="vector").point.astype(at.point.dtype))
    return _as(vector, at.unravel(image))


@partial(jax.jit, static_argnames=("outputs_fn", "loss_fn", "batch_size"))
def _gauss_newton(
    params: PyTree, data: PyTree, vector: PyTree, *, outputs_fn: Any, loss_fn: Any, batch_size: int | None
) -> PyTree:
    point, unravel = flat(params)
    v = flat(vector, argument="vector").point.astype(point.dtype)

    def of_batch(batch: PyTree, index: jax.Array | None) -> jax.Array:
        def outputs_at(x: jax.Array) -> PyTree:
            return outputs_fn(unravel(x), batch)

        def loss_at(outputs: PyTree) -> jax.Array:
            return mean_loss(loss_fn(outputs, batch), batch, index, point.dtype)

        outputs, pushed = jax.jvp(outputs_at, (point,), (v,))
        curved = jax.jvp(jax.grad(loss_at), (outputs,), (pushed,))[1]
        return jax.vjp(outputs_at, point)[1](curved)[0]

    with jax.default_matmul_precision("highest"):
        image = streamed_mean(of_batch, data, batch_size=batch_size)
    return _as(vector, unravel(image))


def _as(like: PyTree, tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf, other: leaf.astype(other.dtype), tree, like)
