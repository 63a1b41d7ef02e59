"""The equations written out against automatic differentiation, and against NumPy's transcription of the book."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxdl
from experiments.building_blocks.propagation import double_precision
from experiments.theory.backpropagation import (
    chain_gradient,
    feed_forward,
    finite_differences,
    manual_backprop,
    online_step,
)
from tests.reference import backprop


def network(sizes=(5, 4, 6, 3), num_examples=7, seed=0):
    draws = np.random.RandomState(seed)
    layers = [
        {"kernel": jnp.asarray(draws.randn(n, m), jnp.float32), "bias": jnp.asarray(draws.randn(m), jnp.float32)}
        for n, m in itertools.pairwise(sizes)
    ]
    x = jnp.asarray(draws.randn(num_examples, sizes[0]), jnp.float32)
    return layers, x, jnp.asarray(draws.randint(0, sizes[-1], num_examples))


def loss(layers, x, labels, activation):
    params = {f"Dense_{i}": layer for i, layer in enumerate(layers)}
    sizes = [layer["bias"].size for layer in layers]
    logits = jaxdl.models.MLP(sizes, activation=activation).apply({"params": params}, x)
    return jnp.mean(jaxdl.losses.softmax_cross_entropy(logits, labels))


@pytest.mark.parametrize("sizes", [(5, 3), (5, 4, 3), (5, 4, 6, 3), (1, 1, 1, 2)])
@pytest.mark.parametrize("activation", [nn.sigmoid, nn.relu, nn.tanh])
def test_the_five_steps_give_the_gradient(sizes, activation):
    layers, x, labels = network(sizes)
    found = jax.jit(lambda layers: manual_backprop(layers, x, labels, activation=activation))(layers)
    expected = jax.grad(loss)(layers, x, labels, activation)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_the_transcription_of_the_book_has_the_same_layers_below():
    """One sigmoid output with cross-entropy is a softmax of two outputs (0, z): BP2 to BP4 are those of the book."""
    layers, x, _ = network((5, 4, 1))
    labels = jnp.array([0, 1, 1, 0, 1, 0, 0])
    zero = {"kernel": jnp.pad(layers[1]["kernel"], ((0, 0), (1, 0))), "bias": jnp.pad(layers[1]["bias"], (1, 0))}
    found = manual_backprop([layers[0], zero], x, labels, activation=nn.sigmoid)
    weights = [np.asarray(layer["kernel"], np.float64).T for layer in layers]
    biases = [np.asarray(layer["bias"], np.float64) for layer in layers]
    expected = backprop.mean_backprop(weights, biases, np.asarray(x), np.asarray(labels, float)[:, None])
    np.testing.assert_allclose(found[0]["kernel"], expected[0][0].T, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found[0]["bias"], expected[1][0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found[1]["kernel"][:, 1], expected[0][1][0], rtol=1e-4, atol=1e-6)


def test_two_layers_of_relu_and_softmax_by_hand():
    """T10: dL/dw2 = (p - y) h'^T and dL/dw1 = ((w2^T (p - y)) o 1[h > 0]) x^T, one example, columns."""
    layers, x, labels = network((5, 4, 3), num_examples=1)
    found = manual_backprop(layers, x, labels, activation=nn.relu)
    w1, w2 = (np.asarray(layer["kernel"]).T for layer in layers)
    column = np.asarray(x).T
    h = w1 @ column + np.asarray(layers[0]["bias"])[:, None]
    outputs = w2 @ np.maximum(h, 0) + np.asarray(layers[1]["bias"])[:, None]
    p = np.exp(outputs) / np.exp(outputs).sum()
    error = p - np.eye(3)[:, [int(labels[0])]]
    np.testing.assert_allclose(found[1]["kernel"].T, error @ np.maximum(h, 0).T, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found[0]["kernel"].T, ((w2.T @ error) * (h > 0)) @ column.T, rtol=1e-4, atol=1e-6)


def test_an_on_line_step_uses_the_old_kernels():
    layers, x, labels = network()
    found = online_step(layers, x[0], labels[0], activation=nn.sigmoid, learning_rate=0.5)
    grads = jax.grad(loss)(layers, x[:1], labels[:1], nn.sigmoid)
    expected = jax.tree.map(lambda leaf, grad: leaf - 0.5 * grad, layers, grads)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_the_forward_pass_is_the_recursion():
    """z^l = a^{l-1} W + b, a^l = f(z^l), in NumPy."""
    layers, x, _ = network()
    kept = feed_forward(layers, x, activation=nn.tanh)
    a = np.asarray(x, np.float64)
    for layer, inputs, z in zip(layers, kept.inputs, kept.pre_activations, strict=True):
        np.testing.assert_allclose(inputs, a, rtol=1e-5, atol=1e-6)
        expected = a @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"], np.float64)
        np.testing.assert_allclose(z, expected, rtol=1e-5, atol=1e-5)
        a = np.tanh(expected)


def test_central_differences_of_a_cubic():
    with double_precision():
        point = jnp.array([1.0, -2.0, 0.5])
        found = finite_differences(lambda p: jnp.sum(p**3), point, step=1e-3)
        # (p + h)^3 - (p - h)^3 = 6 p^2 h + 2 h^3
        np.testing.assert_allclose(found, 3 * np.asarray(point) ** 2 + 1e-6, rtol=1e-9)


def test_the_chain_of_the_book():
    """sigma'(z1) w2 sigma'(z2) w3 sigma'(z3) w4 sigma'(z4), written out."""
    w, b, x = np.array([0.7, -1.2, 2.0, 0.4]), np.array([0.1, 0.3, -0.5, 0.2]), 0.8
    slopes, a = [], x
    for weight, bias in zip(w, b, strict=True):
        a = 1 / (1 + np.exp(-(weight * a + bias)))
        slopes.append(a * (1 - a))
    expected = slopes[0] * w[1] * slopes[1] * w[2] * slopes[2] * w[3] * slopes[3]
    found = chain_gradient(jnp.asarray(w, jnp.float32), jnp.asarray(b, jnp.float32), jnp.float32(x))
    assert float(found) == pytest.approx(expected, rel=1e-5)
