"""Averages of weights: exact for a linear model, Polyak's for the iterates of a run, worthless under permutation."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

import jaxdl
from jaxdl import layers, training
from jaxdl.procedures import average_weights, recompute_statistics

DRAWS = np.random.RandomState(0)
X = (3 * DRAWS.randn(24, 4) + 5).astype(np.float32)


class Normalized(nn.Module):
    momentum: float = 0.99

    @nn.compact
    def __call__(self, x, train):
        for size in (5, 4):
            x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=self.momentum)(nn.Dense(size)(x)))
        return nn.Dense(3)(x)


def stack(trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def test_the_mean_in_float32_at_least_and_the_newest_counter():
    members = {"w": jnp.asarray([[1.0, 300.0], [2.0, 301.0], [3.0, 304.0]], jnp.bfloat16), "n": jnp.arange(3)}
    mean = average_weights(members)
    assert mean["w"].dtype == jnp.bfloat16
    exact = np.asarray(members["w"], np.float64).mean(0).astype(jnp.bfloat16)
    np.testing.assert_array_equal(mean["w"], exact)
    assert int(mean["n"]) == 2
    with pytest.raises(ValueError, match="variables: expected leaves that have one leading member axis; got w: scalar"):
        average_weights({"w": jnp.float32(1)})
    with pytest.raises(ValueError, match="got no array"):
        average_weights({})


def test_of_a_linear_model_it_is_the_mean_of_the_outputs():
    weights = DRAWS.randn(6, 4, 3).astype(np.float32)
    mean = average_weights({"w": jnp.asarray(weights)})["w"]
    np.testing.assert_allclose(X @ np.asarray(mean), np.einsum("nd,mdc->mnc", X, weights).mean(0), rtol=1e-4, atol=1e-5)


def test_of_the_iterates_of_a_run_it_is_polyaks(blob_task):
    tx = optax.sgd(0.1)
    step = training.make_train_step(blob_task.objective, tx, average=training.polyak(start=3))
    state = training.init_state(blob_task.model, tx, blob_task.data[0][:1], key=jax.random.key(0), average=True)
    iterates, advance = [], jax.jit(step)
    for _ in range(8):
        state, _ = advance(state, blob_task.data)
        iterates.append(state.params)
    ours, polyak = average_weights(stack(iterates[3:])), training.averaged(state).params
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), ours, polyak)


def test_one_function_permuted_is_destroyed():
    """Hidden units permuted leave the function as it is; the mean of the two weights is another one."""
    model = jaxdl.models.MLP((16, 3))
    params = model.init(jax.random.key(0), X)["params"]
    order = np.roll(np.arange(16), 5)
    permuted = {
        "Dense_0": jax.tree.map(lambda leaf: leaf[..., order], params["Dense_0"]),
        "Dense_1": {"kernel": params["Dense_1"]["kernel"][order], "bias": params["Dense_1"]["bias"]},
    }
    outputs = lambda params: np.asarray(model.apply({"params": params}, X))  # noqa: E731
    np.testing.assert_allclose(outputs(permuted), outputs(params), rtol=1e-4, atol=1e-4)
    between = outputs(average_weights(stack([params, permuted])))
    assert np.abs(between - outputs(params)).mean() > 0.3 * np.abs(outputs(params)).mean()
    np.testing.assert_allclose(outputs(average_weights(stack([params, params]))), outputs(params), rtol=1e-6)


def batch_statistics(variables, x):
    """NumPy: means and biased variances of the pre-activations of both layers, as batch normalization sees them."""
    found, x = {}, x.astype(np.float64)
    for i in range(2):
        dense, scale = variables["params"][f"Dense_{i}"], variables["params"][f"BatchNorm_{i}"]
        z = x @ np.asarray(dense["kernel"], np.float64) + np.asarray(dense["bias"])[None]
        found[f"BatchNorm_{i}"] = {"mean": z.mean(0), "var": z.var(0)}
        z = (z - z.mean(0, keepdims=True)) / np.sqrt(z.var(0, keepdims=True) + 1e-5)
        x = np.maximum(z * np.asarray(scale["scale"])[None] + np.asarray(scale["bias"])[None], 0)
    return found


@pytest.mark.parametrize("momentum", [0.0, 0.9, 0.99, 0.999])
@pytest.mark.parametrize("batch_size", [None, 8, 10])
def test_statistics_are_those_of_the_batches(momentum, batch_size):
    model = Normalized(momentum)
    variables = jaxdl.as_model(model).init(jax.random.key(1), X)
    fresh = recompute_statistics(model, variables, X, batch_size=batch_size)
    parts = [X] if batch_size is None else [X[i : i + batch_size] for i in range(0, 24, batch_size)]
    found = [batch_statistics(variables, part) for part in parts]
    expected = jax.tree.map(
        lambda *each: sum(len(part) / 24 * value for part, value in zip(parts, each, strict=True)), *found
    )
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)  # noqa: E731
    jax.tree.map(close, fresh["batch_stats"], expected)
    jax.tree.map(np.testing.assert_array_equal, fresh["params"], variables["params"])


def test_it_repairs_an_average():
    model = jaxdl.as_model(Normalized())
    variables = stack([model.init(jax.random.key(i), X) for i in range(2)])
    mean = average_weights(variables)
    repaired = recompute_statistics(model, mean, X)
    expected = model.apply(mean, X, train=True)[0]
    np.testing.assert_allclose(model.apply(repaired, X)[0], expected, rtol=1e-3, atol=1e-3)
    assert np.abs(np.asarray(model.apply(mean, X)[0] - expected)).max() > 0.1, "the average alone fits no network"


def test_other_kinds_of_models():
    factory = lambda rngs: nnx.Sequential(nnx.Linear(4, 3, rngs=rngs), nnx.BatchNorm(3, rngs=rngs))  # noqa: E731
    model = jaxdl.as_model(factory)
    variables = model.init(jax.random.key(0), X)
    fresh = recompute_statistics(model, variables, X)
    np.testing.assert_allclose(model.apply(fresh, X)[0], model.apply(variables, X, train=True)[0], rtol=1e-3, atol=1e-3)
    plain = jaxdl.models.MLP((5, 3))
    variables = {"params": plain.init(jax.random.key(0), X)["params"]}
    assert recompute_statistics(plain, variables, X) == variables


def test_state_that_training_leaves_alone_stays():
    class Scaled(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            scale = self.variable("constants", "scale", lambda: jnp.full((), 3.0))
            return nn.BatchNorm(use_running_average=not train)(x * scale.value)

    model = jaxdl.as_model(Scaled())
    fresh = recompute_statistics(model, model.init(jax.random.key(0), X), X)
    assert float(fresh["constants"]["scale"]) == 3.0
    np.testing.assert_allclose(fresh["batch_stats"]["BatchNorm_0"]["mean"], 3 * X.mean(0), rtol=1e-4)


def test_what_is_no_running_average():
    class Renormalized(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            for _ in range(2):
                x = layers.BatchRenorm(use_running_average=not train)(nn.Dense(5)(x))
            return x

    class Largest(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            largest = self.variable("seen", "largest", lambda: jnp.zeros(()))
            if train:
                largest.value = jnp.maximum(largest.value, x.max())
            return x

    for module in (Renormalized(), Largest()):
        model = jaxdl.as_model(module)
        with pytest.raises(ValueError, match="model: expected state that is running averages of batch statistics"):
            recompute_statistics(model, model.init(jax.random.key(0), X), X)


def test_bad_arguments():
    model = jaxdl.as_model(Normalized())
    variables = model.init(jax.random.key(0), X)
    with pytest.raises(ValueError, match=r"batch_size: expected a whole number >= 1; got 0\. None takes all"):
        recompute_statistics(model, variables, X, batch_size=0)
    with pytest.raises(ValueError, match="x: expected arrays that share one leading example axis"):
        recompute_statistics(model, variables, X[:0])
