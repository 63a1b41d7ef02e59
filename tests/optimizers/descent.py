"""Paths of optimizers on the problems of `tests.reference.descent_problems`, to be held against NumPy's."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from tests.reference import descent_problems

STEPS = 200
PROBLEMS = ("quadratic", "softmax_regression", "two_layers")
WITHIN = {"float64": 1e-6, "float32": 1e-5}  # of the largest entry of the parameters


def float64(enabled=True):
    return (jax if hasattr(jax, "enable_x64") else importlib.import_module("jax.experimental")).enable_x64(enabled)


def tree_of(theta, problem):
    if problem == "quadratic":
        return {"x": theta}
    if problem == "softmax_regression":
        return {"bias": theta[:3], "kernel": theta[3:].reshape(5, 3)}
    first, second = tree_of_layer(theta[:24], 4), tree_of_layer(theta[24:], 2)
    return {"first": first, "second": second}


def tree_of_layer(theta, width):
    return {"bias": theta[:width], "kernel": theta[width:].reshape(-1, width)}


def loss_of(problem, dtype):
    hessian, x, targets = (
        jnp.asarray(a, dtype) for a in (descent_problems.HESSIAN, descent_problems.X, descent_problems.TARGETS)
    )

    def affine(layer, inputs):
        return inputs @ layer["kernel"] + layer["bias"][None]

    def two_layers(params):
        outputs = affine(params["second"], jnp.tanh(affine(params["first"], x)))
        return jnp.mean(jnp.sum(jnp.square(outputs - targets), -1))

    def softmax_regression(params):
        losses = optax.softmax_cross_entropy_with_integer_labels(affine(params, x), descent_problems.LABELS)
        return jnp.mean(losses)

    return {
        "quadratic": lambda params: params["x"] @ hessian @ params["x"] / 2,
        "softmax_regression": softmax_regression,
        "two_layers": two_layers,
    }[problem]


def gradient_of(problem):
    return getattr(descent_problems, problem)


def start_of(problem):
    return descent_problems.STARTS[gradient_of(problem)]


def descend(tx, problem, dtype, *, evaluated=lambda state, params: params):
    """The path of the raveled parameters, (STEPS + 1, dim)."""
    with float64(dtype == "float64"):
        loss = loss_of(problem, dtype)
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), tree_of(start_of(problem), problem))

        def update(carry, _):
            params, state = carry
            updates, state = tx.update(jax.grad(loss)(params), state, params)
            params = optax.apply_updates(params, updates)
            return (params, state), ravel_pytree(evaluated(state, params))[0]

        path = jax.jit(lambda params: jax.lax.scan(update, (params, tx.init(params)), length=STEPS)[1])(params)
        assert path.dtype == dtype
        return np.concatenate([ravel_pytree(params)[0][None], path])


def assert_same_path(ours, theirs, dtype):
    largest = np.abs(theirs).max(1, keepdims=True)
    assert np.max(np.abs(ours - theirs) / largest) <= WITHIN[dtype]
    assert np.abs(theirs[-1] - theirs[0]).max() > 0.05, "it went somewhere"
