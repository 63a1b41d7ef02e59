"""Constructions and rules of the representation experiment, each against what is known and what must fail."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdl
from experiments.theory import approximation, linear_stacks, xor
from jaxdl.data import toy

X, Y = toy.xor()


def test_fourteen_of_the_sixteen_labellings_are_linear():
    """Minsky and Papert 1969: all but XOR and its complement; a search over weights finds the same ones."""
    found = {way for way in itertools.product((0, 1), repeat=4) if xor.separable(X, np.array(way))}
    grid = np.linspace(-1.5, 1.5, 13)
    reached = set()
    for w1, w2, b in itertools.product(grid, grid, grid):
        z = X @ np.array([w1, w2]) + b
        if np.all(np.abs(z) > 1e-6):
            reached.add(tuple((z > 0).astype(int).tolist()))
    assert found == reached
    assert len(found) == 14
    assert tuple(Y.tolist()) not in found


def test_the_best_linear_accuracy():
    assert xor.best_linear_accuracy(X, Y) == 0.75
    assert xor.best_linear_accuracy(X, (X[:, 0] == 1).astype(int)) == 1.0


@pytest.mark.parametrize("network", [xor.relu_xor, xor.threshold_xor])
def test_the_constructions_compute_exclusive_or(network):
    np.testing.assert_array_equal(network(jnp.asarray(X)), Y)
    np.testing.assert_array_equal(jax.jit(network)(jnp.asarray(X)[::-1]), Y[::-1])


def test_the_staircase_is_the_function_at_the_middle_of_each_cell():
    x = np.array([0.05, 0.12, 0.51, 0.99])
    steps = approximation.staircase(10, approximation.BUILT["threshold units"], x)
    np.testing.assert_allclose(steps, approximation.target(np.array([0.05, 0.15, 0.55, 0.95])), atol=1e-12)
    steep = approximation.staircase(10, approximation.BUILT["steep sigmoids"], x)
    np.testing.assert_allclose(steep, steps, atol=1e-3)


def test_the_slope_is_bounded_by_the_constant():
    slope = np.abs(np.diff(approximation.target(approximation.GRID)) / np.diff(approximation.GRID))
    assert 0.5 * approximation.LIPSCHITZ < slope.max() <= approximation.LIPSCHITZ


def test_stacked_linear_layers_are_one():
    """T05, in the slide's columns: W' = W3 W2 W1, b' = W3 W2 b1 + W3 b2 + b3."""
    draws = np.random.RandomState(0)
    shapes = [(3, 4), (4, 6), (6, 2)]
    params = {
        f"Dense_{i}": {"kernel": draws.randn(*shape).astype(np.float32), "bias": draws.randn(shape[1]).astype("f")}
        for i, shape in enumerate(shapes)
    }
    w1, w2, w3 = (params[f"Dense_{i}"]["kernel"].T for i in range(3))
    b1, b2, b3 = (params[f"Dense_{i}"]["bias"] for i in range(3))
    kernel, bias = linear_stacks.collapsed(params)
    np.testing.assert_allclose(kernel.T, w3 @ w2 @ w1, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(bias, w3 @ w2 @ b1 + w3 @ b2 + b3, rtol=1e-4, atol=1e-5)
    x = draws.randn(5, 3).astype(np.float32)
    model = jaxdl.models.MLP((4, 6, 2), activation=jaxdl.activations.identity)
    outputs = model.apply({"params": params}, x)
    np.testing.assert_allclose(outputs, x @ kernel + bias[None, :], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_every_stack_starts_at_the_same_map(depth):
    kernels = linear_stacks._aligned(jax.random.key(0), 3, depth)
    assert len(kernels) == depth
    np.testing.assert_allclose(linear_stacks.product(kernels), linear_stacks.START * np.eye(3), atol=1e-6)


def test_halfway_is_the_first_step_at_one_half():
    paths = np.array([[[0.1, 0.6], [0.5, 0.4], [0.9, 0.7]]])
    np.testing.assert_array_equal(linear_stacks._halfway(paths), [[1, 0]])
    np.testing.assert_array_equal(linear_stacks._halfway(0 * paths), [[linear_stacks.STEPS] * 2])
