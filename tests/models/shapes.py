"""Numbers of parameters, shapes of outputs, and whole training steps, without an array of the full size."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxdl
from jaxdl.training import init_state, make_train_step, supervised


def images(shape, *, batch=2):
    return jax.ShapeDtypeStruct((batch, *shape), jnp.float32)


def traced(module, shape, *, batch=2):
    """Parameters and output, as shapes alone."""
    output, variables = jax.eval_shape(module.init_with_output, jax.random.key(0), images(shape, batch=batch))
    return variables.get("params", {}), output


def params_of(module, shape):
    return traced(module, shape)[0]


def count(params):
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


def output_shape(module, shape, *, batch=2):
    return traced(module, shape, batch=batch)[1].shape


def assert_a_step_keeps_its_shapes(module, shape, *, batch=2):
    """One whole step on the full input: state in, the same state out, a scalar loss."""
    tx = optax.sgd(0.01, momentum=0.9)
    step = make_train_step(supervised(module, jaxdl.losses.softmax_cross_entropy), tx)
    x = images(shape, batch=batch)
    state = jax.eval_shape(lambda key, x: init_state(module, tx, x, key=key), jax.random.key(0), x)
    after, metrics = jax.eval_shape(step, state, (x, jax.ShapeDtypeStruct((batch,), jnp.int32)))
    like = lambda tree: jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), tree)  # noqa: E731
    assert like(after) == like(state)
    assert (metrics["loss"].shape, metrics["loss"].dtype) == ((), np.dtype("float32"))


def made(module, shape, *, batch=2, seed=0):
    """Random images and variables, drawn without a program to compile.

    Biases and scales are neither 0 nor 1, so that a missing one is noticed; running means are 0, variances 1.
    """
    draws = np.random.RandomState(seed)
    x = draws.rand(batch, *shape).astype(np.float32)
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)

    def drawn(leaf):
        values = draws.randn(*leaf.shape)
        scaled = 0.5 + 0.3 * values if leaf.ndim == 1 else values * np.sqrt(2 / np.prod(leaf.shape[-4:-1]))
        return jnp.asarray(scaled, leaf.dtype)

    params = jax.tree.map(drawn, shapes["params"])
    if "batch_stats" not in shapes:
        return x, {"params": params}
    fresh = lambda path, leaf: jnp.full(leaf.shape, float(path[-1].key == "var"), leaf.dtype)  # noqa: E731
    return x, {"params": params, "batch_stats": jax.tree_util.tree_map_with_path(fresh, shapes["batch_stats"])}


def outputs(module, variables, x, *, train=False):
    """The network's outputs, compiled as one program; in training with a key for dropout."""
    model, key = jaxdl.as_model(module), jax.random.key(0)
    return jax.jit(lambda variables, x: model.apply(variables, x, train=train, key=key)[0])(variables, x)
