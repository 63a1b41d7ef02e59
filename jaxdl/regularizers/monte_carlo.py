"""Monte-Carlo dropout: mean and variance of the outputs over dropout masks, on any model."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxdl import checks
from jaxdl.model import Model, apply_on_running_averages, as_model, moved_state

PyTree = Any


def mc_predict(
    model: Any,
    variables: PyTree,
    x: PyTree,
    *,
    key: jax.Array,
    num_samples: int = 50,
    transform: Callable[[Any], PyTree] | None = None,
    samples_at_once: int | None = None,
) -> tuple[PyTree, PyTree]:
    """Mean and variance of the outputs over dropout masks that stay on at prediction.

        mean = sum_t f(x; r_t) / T,    variance = sum_t (f(x; r_t) - mean)^2 / T

    Dropout and noise layers act as in training. Batch normalization does not: every `flax.linen.BatchNorm`, and so
    `jaxdl.layers.BatchRenorm`, uses its running averages and leaves them alone, so that the result for one example
    does not depend on the others. To read the variance as that of a Bayesian posterior is an approximation.

    Args:
      model: whatever `jaxdl.as_model` takes; its only use of `key` should be the noise.
      variables: `{"params": ..., **model_state}`.
      x: a batch of inputs.
      key: one typed key, from which the key of every sample follows.
      num_samples: T, forward passes; 50 match weight scaling in Srivastava et al. 2014, figure 11.
      transform: applied to the outputs of every pass, such as `jax.nn.softmax`; the averages are of its results.
      samples_at_once: passes that run side by side; None for all of them. Fewer take less memory.

    Returns:
      `(mean, variance)`, each of the structure, shapes and dtypes of the (transformed) outputs. The variance
      leaves out the noise of the observations, 1/tau in the paper.

    Raises:
      ValueError: a count that is no whole number >= 1, or a model that would still change its state, whose outputs may
        then mix the examples of the batch.
      TypeError: `key` is not one typed key, or `model` is no model.

    References:
      Gal, Ghahramani, "Dropout as a Bayesian approximation", 2015.
    """
    checks.one_key(key)
    checks.whole_number(num_samples=num_samples, minimum=1, remedy="Try 50.")
    if samples_at_once is not None:
        checks.whole_number(samples_at_once=samples_at_once, minimum=1, remedy="Use None for all at once.")
    model = as_model(model)
    _check_state_stays(model, variables, x, key)

    def sample(sample_key: jax.Array) -> PyTree:
        outputs, _ = _noisy_pass(model, variables, x, sample_key)
        return outputs if transform is None else transform(outputs)

    at_once = num_samples if samples_at_once is None else min(samples_at_once, num_samples)
    samples = jax.lax.map(sample, jax.random.split(key, num_samples), batch_size=at_once)
    return jax.tree.map(lambda s: jnp.mean(s, 0), samples), jax.tree.map(lambda s: jnp.var(s, 0), samples)


def _noisy_pass(model: Model, variables: PyTree, x: PyTree, key: jax.Array) -> tuple[Any, Any]:
    return apply_on_running_averages(
        model, variables, x, key=key, chosen=lambda module: isinstance(module, nn.BatchNorm), apart={"mc_predict": {}}
    )


def _check_state_stays(model: Model, variables: PyTree, x: PyTree, key: jax.Array) -> None:
    params = {name: value for name, value in variables.items() if name == "params"}
    state = {name: value for name, value in variables.items() if name != "params"}

    def state_after(state: PyTree, params: PyTree, x: PyTree, key: jax.Array) -> PyTree:
        return _noisy_pass(model, {**params, **state}, x, key)[1]

    moved = moved_state(state_after, state, params, x, key)
    if moved:
        raise ValueError(
            f"model: expected a model that leaves its state alone under dropout; got one that would change "
            f"{', '.join(moved)}. Only flax.linen.BatchNorm and its subclasses are put on their running averages here; "
            "put other batch statistics on theirs in the model passed."
        )
