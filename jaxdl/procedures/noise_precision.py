"""The precision of the noise around what a model predicts."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.model import Variables, as_model


def fit_precision(
    model: Any, variables: Variables, x: Any, targets: jax.Array, *, per_output: bool = False
) -> jax.Array:
    """The precision beta under which the targets are most likely around the model's outputs.

        1/beta = 1/N sum_i (t_i - y(x_i))^2

    On examples that the model was not trained on it estimates the noise together with what the model misses; on its
    training examples it is too large. `losses.gaussian_nll(y, t, log_precision=jnp.log(beta))` then scores predictions,
    and `y +- 2 / sqrt(beta)` covers about 95 % of the targets.

    Args:
      model: whatever `jaxdl.as_model` takes, with one array of outputs; it runs in evaluation mode.
      variables: `{"params": ..., **model_state}`; stacked members by `jax.vmap`.
      x: inputs, examples first. All of them go through the model at once; where memory does not do, `1/beta` is
        `evaluate(supervised(model, losses.mean_squared_error), state, (x, targets))["loss"]`.
      targets: t, the shape of the outputs.
      per_output: one precision for each output, not one for all.

    Returns:
      beta, `()`, or with `per_output` the shape of one example's outputs; in float32 at least. Infinite where every
      prediction is exact.

    Raises:
      TypeError: `model` is none.
      ValueError: no example, or targets of another shape than the outputs.

    References:
      Bishop 2006, eq. 5.15.
    """
    outputs, _ = as_model(model).apply(variables, x, train=False)
    shape = getattr(outputs, "shape", None)
    if shape is None or shape != jnp.shape(targets) or not shape or shape[0] < 1:
        got = f"outputs of shape {shape}" if shape is not None else f"{type(outputs).__name__} as outputs"
        raise ValueError(
            f"targets: expected the shape of the model's outputs, with at least one example; got "
            f"{jnp.shape(targets)} and {got}. Reshape the targets, for example t[:, None]."
        )
    dtype = jnp.promote_types(jnp.result_type(outputs, targets), jnp.float32)
    residuals = jnp.asarray(targets, dtype) - outputs.astype(dtype)
    return 1 / jnp.mean(jnp.square(residuals), axis=0 if per_output else None)
