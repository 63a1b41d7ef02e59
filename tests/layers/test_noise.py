"""The noise layers against the functions they stand for, and the interface of nn.Dropout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.errors import InvalidRngError

import jaxdl
from jaxdl import layers, regularizers

KEY = jax.random.key(0)
X = jnp.asarray(np.random.RandomState(0).randn(6, 8), jnp.float32)
AMOUNT = 0.3
NAMES = {
    "ClassicDropout": lambda key, x: regularizers.classic_dropout(key, x, rate=AMOUNT),
    "MaskingNoise": lambda key, x: regularizers.classic_dropout(key, x, rate=AMOUNT),
    "GaussianDropout": lambda key, x: regularizers.gaussian_dropout(key, x, rate=AMOUNT),
    "AlphaDropout": lambda key, x: regularizers.alpha_dropout(key, x, rate=AMOUNT),
    "GaussianNoise": lambda key, x: regularizers.gaussian_noise(key, x, stddev=AMOUNT),
}


@pytest.mark.parametrize("name", NAMES)
def test_training_and_evaluation(name):
    layer = getattr(layers, name)(AMOUNT)
    np.testing.assert_array_equal(layer.apply({}, X, False, KEY), NAMES[name](KEY, X))
    evaluated = 0.7 * X if name == "ClassicDropout" else X
    np.testing.assert_allclose(layer.apply({}, X, deterministic=True), evaluated, rtol=1e-6)


@pytest.mark.parametrize("name", [*NAMES, "Dropout"])
def test_the_interface_of_flax_dropout(name):
    make = getattr(layers, name)
    by_attribute, by_argument = make(AMOUNT, deterministic=False), make(AMOUNT)
    rngs = {"dropout": KEY}
    y = by_attribute.apply({}, X, rngs=rngs)
    np.testing.assert_array_equal(y, by_argument.apply({}, X, deterministic=False, rngs=rngs))
    assert not np.array_equal(y, X)
    other = make(AMOUNT, deterministic=False, rng_collection="noise")
    assert other.apply({}, X, rngs={"noise": KEY}).shape == X.shape
    assert by_attribute.apply({}, X, rngs={"dropout": jax.random.PRNGKey(0)}).shape == X.shape  # an untyped key too
    assert jax.tree.leaves(by_attribute.init(KEY, X)) == []
    np.testing.assert_array_equal(make(0.0, deterministic=False).apply({}, X), X)  # asks for no stream
    with pytest.raises(InvalidRngError, match="dropout"):
        by_attribute.apply({}, X)
    with pytest.raises(ValueError, match="deterministic"):
        by_argument.apply({}, X)
    with pytest.raises(ValueError, match="deterministic"):
        by_attribute.apply({}, X, deterministic=False)


@pytest.mark.parametrize("name", NAMES)
def test_as_model_feeds_the_stream(name):
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            for _ in range(2):
                x = getattr(layers, name)(AMOUNT, deterministic=not train)(x)
            return x

    model = jaxdl.as_model(Net())
    variables = model.init(KEY, X)
    trained = [model.apply(variables, X, train=True, key=jax.random.key(i))[0] for i in (0, 0, 1)]
    np.testing.assert_array_equal(trained[0], trained[1])
    assert not np.array_equal(trained[0], trained[2])
    np.testing.assert_allclose(model.apply(variables, X)[0], X * (0.49 if name == "ClassicDropout" else 1), rtol=1e-6)


def test_two_layers_draw_two_masks():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return [layers.ClassicDropout(0.5, deterministic=False)(x) for _ in range(2)]

    a, b = Net().apply({}, jnp.ones(64), rngs={"dropout": KEY})
    assert not np.array_equal(a, b)


@pytest.mark.parametrize("name", NAMES)
def test_traced_amounts_side_by_side(name):
    """As a sweep passes them; 0 among them is no special case."""
    apply = lambda amount: getattr(layers, name)(amount).apply({}, X, False, KEY)  # noqa: E731
    swept = jax.jit(jax.vmap(apply))(jnp.array([0.0, AMOUNT]))
    np.testing.assert_allclose(swept[0], X, rtol=1e-6)
    np.testing.assert_allclose(swept[1], NAMES[name](KEY, X), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["ClassicDropout", "GaussianDropout", "AlphaDropout"])
def test_a_rate_that_is_no_probability(name):
    with pytest.raises(ValueError, match=r"rate: expected one finite number >= 0 and < 1; got 1"):
        getattr(layers, name)(1.0, deterministic=False).apply({}, X, rngs={"dropout": KEY})
