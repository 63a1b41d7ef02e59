import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdl
from jaxdl import losses, training
from jaxdl.models import MeanAndPrecision

X = np.random.RandomState(0).randn(8, 2, 2).astype(np.float32)


def test_the_layers_written_out():
    model = MeanAndPrecision((3, 5), num_outputs=2)
    variables = model.init(jax.random.key(0), X)
    # The precision's kernel starts at zero; elsewhere it shows.
    params = jax.tree.map(lambda leaf: leaf + 0.1, variables["params"])
    mean, log_precision = model.apply({"params": params}, X)
    h = X.reshape(8, 4)
    for name in ("Dense_0", "Dense_1"):
        layer = params["hidden"][name]
        h = np.tanh(h @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"]))
    for found, name in ((mean, "mean"), (log_precision, "log_precision")):
        expected = h @ np.asarray(params[name]["kernel"]) + np.asarray(params[name]["bias"])
        assert found.shape == (8, 2)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert jaxdl.tree.num_entries(params) == 4 * 3 + 3 + 3 * 5 + 5 + 2 * (5 * 2 + 2)


def test_every_precision_starts_at_one():
    model = MeanAndPrecision((3,))
    mean, log_precision = model.apply(model.init(jax.random.key(0), X), X)
    np.testing.assert_array_equal(log_precision, 0)
    assert np.ptp(mean) > 0


def test_without_hidden_layers_it_is_linear():
    model = MeanAndPrecision(())
    params = model.init(jax.random.key(0), X)["params"]
    assert set(params) == {"mean", "log_precision"}
    assert model.apply({"params": params}, X)[0].shape == (8, 1)


def test_it_learns_the_deviation_of_each_of_two_inputs():
    """Where x is 0 or 1 alone, the most likely mean and variance are those of the targets there: a closed form."""
    draws = np.random.RandomState(1)
    x = np.repeat([0.0, 1.0], 50)[:, None].astype(np.float32)
    t = (np.where(x == 0, 1.0 + 0.2 * draws.randn(100, 1), -1.0 + 0.8 * draws.randn(100, 1))).astype(np.float32)
    model = jaxdl.as_model(MeanAndPrecision(()))
    objective, tx = training.supervised(model, losses.gaussian_nll), optax.adam(optax.cosine_decay_schedule(0.05, 1500))
    step = training.make_train_step(objective, tx)
    state = training.init_state(model, tx, x[:1], key=jax.random.key(0))
    state, _ = training.fit(step, state, (x, t), steps=1500, batch_size=100)
    mean, log_precision = model.apply({"params": state.params}, np.array([[0.0], [1.0]], np.float32))[0]
    groups = t.reshape(2, 50)
    np.testing.assert_allclose(mean[:, 0], groups.mean(1), atol=2e-3)
    np.testing.assert_allclose(np.exp(-log_precision[:, 0] / 2), groups.std(1), rtol=0.01)


def test_the_dtype_of_the_computation():
    model = MeanAndPrecision((3,), dtype=jnp.bfloat16)
    outputs = model.apply(model.init(jax.random.key(0), X), X)
    assert {output.dtype for output in outputs} == {jnp.dtype(jnp.bfloat16)}


def test_a_model_without_targets():
    with pytest.raises(ValueError, match=r"num_outputs: expected a whole number >= 1; got 0\. It is the targets of an"):
        MeanAndPrecision((3,), num_outputs=0).init(jax.random.key(0), X)
