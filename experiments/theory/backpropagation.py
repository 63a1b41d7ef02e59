"""Back-propagation of a multi-layer perceptron written out, the five steps of the lecture (Nielsen 2015, chapter 2).

Rows are examples and kernels are (in, out), as everywhere here: z = a K + b. With W = K^T and one column an example
these are the lectures' equations BP1 to BP4. Nothing here is needed for training, where `jax.grad` does the same.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Layer = dict[str, jax.Array]
Activation = Callable[[jax.Array], jax.Array]


class Pass(NamedTuple):
    """What the forward pass keeps: inputs a^{l-1} and pre-activations z^l of every layer, `(batch, units)` each."""

    inputs: list[jax.Array]
    pre_activations: list[jax.Array]


def feed_forward(layers: list[Layer], x: jax.Array, *, activation: Activation) -> Pass:
    """Steps 1 and 2: a^0 = x, z^l = a^{l-1} K^l + b^l, a^l = activation(z^l); the last layer is linear."""
    inputs, pre_activations = [x], []
    for layer in layers:
        pre_activations.append(inputs[-1] @ layer["kernel"] + layer["bias"][None, :])
        inputs.append(activation(pre_activations[-1]))
    return Pass(inputs[:-1], pre_activations)


def manual_backprop(layers: list[Layer], x: jax.Array, labels: jax.Array, *, activation: Activation) -> list[Layer]:
    """Gradients of the mean softmax cross-entropy, by the five steps: input, feed-forward, error, back, gradients.

        BP1  d^L = (softmax(z^L) - y) / N          BP2  d^l = (d^{l+1} K^{l+1 T}) o activation'(z^l)
        BP3  dC/db^l = sum over examples of d^l    BP4  dC/dK^l = a^{l-1 T} d^l

    Args:
      layers: `[{"kernel": (in, out), "bias": (out,)}, ...]`, the output last.
      x: inputs, (batch, features).
      labels: integers, (batch,).
      activation: of every layer but the last, element-wise; its derivative is taken by `jax.jvp`.

    Returns:
      The gradients, in the shape of `layers`.
    """
    kept = feed_forward(layers, x, activation=activation)
    logits = kept.pre_activations[-1]
    delta = (jax.nn.softmax(logits) - jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)) / len(x)  # BP1
    gradients: list[Layer] = []
    for level in range(len(layers) - 1, -1, -1):
        gradients.insert(0, {"kernel": kept.inputs[level].T @ delta, "bias": jnp.sum(delta, 0)})  # BP4, BP3
        if level:
            delta = (delta @ layers[level]["kernel"].T) * _slope(activation, kept.pre_activations[level - 1])  # BP2
    return gradients


def online_step(
    layers: list[Layer], x: jax.Array, label: jax.Array, *, activation: Activation, learning_rate: Any
) -> list[Layer]:
    """One step of on-line training (Allauzen): an example, forward, then layer by layer from the last to the first.

    A layer is updated only after its old kernel has carried the error to the layer below.

    Args:
      layers: as for `manual_backprop`.
      x: one example, (features,).
      label: its class, ().
      activation: of every layer but the last.
      learning_rate: eta > 0.

    Returns:
      The layers after the step.
    """
    kept = feed_forward(layers, x[None, :], activation=activation)
    logits = kept.pre_activations[-1]
    delta = jax.nn.softmax(logits) - jax.nn.one_hot(label[None], logits.shape[-1], dtype=logits.dtype)
    updated = list(layers)
    for level in range(len(layers) - 1, -1, -1):
        old = layers[level]
        updated[level] = {
            "kernel": old["kernel"] - learning_rate * kept.inputs[level].T @ delta,
            "bias": old["bias"] - learning_rate * delta[0],
        }
        if level:
            delta = (delta @ old["kernel"].T) * _slope(activation, kept.pre_activations[level - 1])
    return updated


def finite_differences(loss: Callable[[jax.Array], jax.Array], params: jax.Array, *, step: float) -> jax.Array:
    """`(loss(p + h e_j) - loss(p - h e_j)) / 2h` for every j: two evaluations a parameter.

    Args:
      loss: a vector to a scalar.
      params: `(parameters,)`.
      step: h > 0.
    """
    shifts = step * jnp.eye(len(params), dtype=params.dtype)
    return jax.vmap(lambda shift: (loss(params + shift) - loss(params - shift)) / (2 * step))(shifts)


def chain_gradient(weights: jax.Array, biases: jax.Array, x: jax.Array) -> jax.Array:
    """T11: dC/db_1 of a chain of single sigmoids with C = a_L, `sigma'(z_1) w_2 sigma'(z_2) ... w_L sigma'(z_L)`."""
    a, gradient = x, jnp.ones((), weights.dtype)
    for level, (w, b) in enumerate(zip(weights, biases, strict=True)):
        a = jax.nn.sigmoid(w * a + b)
        gradient = gradient * (w if level else 1.0) * a * (1 - a)
    return gradient


def _slope(activation: Activation, z: jax.Array) -> jax.Array:
    return jax.jvp(activation, (z,), (jnp.ones_like(z),))[1]
