import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from scipy import optimize, stats

import jaxdl
from jaxdl.procedures import fit_precision


def setting(num_outputs=2):
    draws = np.random.RandomState(0)
    x, t = draws.randn(30, 3).astype(np.float32), draws.randn(30, num_outputs).astype(np.float32)
    model = jaxdl.as_model(jaxdl.models.MLP((4, num_outputs)))
    variables = model.init(jax.random.key(0), x)
    return model, variables, x, t, np.asarray(model.apply(variables, x)[0], np.float64)


def test_the_likelihood_is_largest_there():
    model, variables, x, t, outputs = setting()

    def minus_log_likelihood(log_beta):
        return -stats.norm.logpdf(t, outputs, np.exp(-log_beta / 2)).sum()

    best = optimize.minimize_scalar(minus_log_likelihood, bounds=(-10, 10), method="bounded", options={"xatol": 1e-9})
    assert float(fit_precision(model, variables, x, t)) == pytest.approx(np.exp(best.x), rel=1e-4)
    loss = lambda log_beta: jnp.mean(  # noqa: E731
        jaxdl.losses.gaussian_nll(model.apply(variables, x)[0], t, log_precision=log_beta)
    )
    slope = jax.grad(loss)(jnp.log(fit_precision(model, variables, x, t)))
    assert float(slope) == pytest.approx(0, abs=1e-5)


def test_one_for_each_output():
    model, variables, x, t, outputs = setting()
    found = fit_precision(model, variables, x, t, per_output=True)
    np.testing.assert_allclose(found, 1 / ((t - outputs) ** 2).mean(0), rtol=1e-5)
    assert 2 / (1 / found).sum() == pytest.approx(float(fit_precision(model, variables, x, t)), rel=1e-5)


def test_any_model_compiled_and_mapped_over_members():
    weights = jnp.arange(6.0).reshape(3, 2, 1)
    linear = (lambda key, x: jnp.zeros((2, 1)), lambda params, x: x @ params)
    x = np.random.RandomState(1).randn(20, 2).astype(np.float32)
    t = x[:, :1] + 1
    found = jax.jit(jax.vmap(lambda w: fit_precision(linear, {"params": w}, x, t)))(weights)
    expected = [1 / np.mean((t - x @ np.asarray(w)) ** 2) for w in weights]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_evaluation_mode_and_coarse_numbers():
    class Noisy(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            return nn.Dropout(0.5, deterministic=not train)(x)

    x = jnp.full((4, 1), 2.0, jnp.bfloat16)
    found = fit_precision(Noisy(), {"params": {}}, x, jnp.zeros((4, 1), jnp.bfloat16))
    assert found.dtype == jnp.float32
    assert float(found) == 0.25
    assert np.isposinf(fit_precision(Noisy(), {"params": {}}, x, x))


@pytest.mark.parametrize("targets", [np.zeros(30), np.zeros((29, 2)), np.zeros((30, 1))])
def test_targets_of_another_shape(targets):
    model, variables, x, *_ = setting()
    message = r"targets: expected the shape of the model's outputs.*outputs of shape \(30, 2\)\. Reshape the targets"
    with pytest.raises(ValueError, match=message):
        fit_precision(model, variables, x, targets)


def test_no_example_or_two_arrays_of_outputs():
    _, variables, x, t, _ = setting()
    same = (lambda key, x: {}, lambda params, x: x)
    with pytest.raises(ValueError, match=r"with at least one example; got \(0, 3\)"):
        fit_precision(same, {"params": {}}, jnp.zeros((0, 3)), jnp.zeros((0, 3)))
    pair = jaxdl.models.MeanAndPrecision((3,))
    with pytest.raises(ValueError, match="and tuple as outputs"):
        fit_precision(pair, pair.init(jax.random.key(0), x), x, t)
    with pytest.raises(TypeError, match="model: expected"):
        fit_precision(3, variables, x, t)
