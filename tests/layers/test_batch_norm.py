"""Facts of flax's BatchNorm that the lectures' users rely on (catalogue N04, N05, Z-21), and its three modes."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxdl import layers

DRAWS = np.random.RandomState(0)
X = (DRAWS.randn(16, 3) * [1, 2, 3] + [5, 0, -2]).astype(np.float32)
MEAN, VAR = X.astype(np.float64).mean(0), X.astype(np.float64).var(0)  # NumPy's var is the biased one
SCALE, BIAS = np.array([2.0, 0.5, 1.0], np.float32), np.array([0.0, 1.0, -1.0], np.float32)
VARIABLES = {
    "params": {"scale": SCALE, "bias": BIAS},
    "batch_stats": {"mean": np.full(3, 0.5, np.float32), "var": np.full(3, 4.0, np.float32)},
}


def test_the_layers_of_flax_are_re_exported_unchanged():
    for name in ("BatchNorm", "LayerNorm", "WeightNorm"):
        assert getattr(layers, name) is getattr(nn, name)


def test_mode_training():
    """The batch's own statistics; momentum weighs the OLD value, and the running variance is the biased one."""
    module = nn.BatchNorm(use_running_average=False, momentum=0.9)
    y, state = module.apply(VARIABLES, X, mutable=["batch_stats"])
    np.testing.assert_allclose((np.asarray(y) - BIAS).mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(np.asarray(y).std(0), SCALE * np.sqrt(VAR / (VAR + 1e-5)), rtol=1e-5)
    np.testing.assert_allclose(state["batch_stats"]["mean"], 0.9 * 0.5 + 0.1 * MEAN, rtol=1e-5)
    np.testing.assert_allclose(state["batch_stats"]["var"], 0.9 * 4.0 + 0.1 * VAR, rtol=1e-5)
    unbiased = 0.9 * 4.0 + 0.1 * VAR * 16 / 15
    assert not np.allclose(state["batch_stats"]["var"], unbiased, rtol=1e-4)


def test_mode_evaluation():
    """Running averages, which stay; every example by itself."""
    module = nn.BatchNorm(use_running_average=True)
    y, state = module.apply(VARIABLES, X, mutable=["batch_stats"])
    np.testing.assert_allclose(y, SCALE * (X - 0.5) / np.sqrt(4.0 + 1e-5) + BIAS, rtol=1e-5, atol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, state["batch_stats"], VARIABLES["batch_stats"])
    np.testing.assert_allclose(module.apply(VARIABLES, X[:1]), y[:1], rtol=1e-6)


def test_mode_frozen():
    """Running averages while the rest trains: the gradient treats the statistics as constants."""
    by_x = lambda frozen: jax.grad(  # noqa: E731
        lambda x: nn.BatchNorm(use_running_average=frozen).apply(VARIABLES, x, mutable=["batch_stats"])[0][0].sum()
    )(X)
    expected = np.zeros_like(X)
    expected[0] = SCALE / np.sqrt(4.0 + 1e-5)
    np.testing.assert_allclose(by_x(True), expected, rtol=1e-5)
    # In training mode the other examples feel it, and the gradient over the batch sums to 0.
    np.testing.assert_allclose(np.asarray(by_x(False)).sum(0), 0, atol=1e-5)  # 16 terms of up to 2
    assert np.all(np.abs(by_x(False)[1:]) > 0)


def test_the_start_of_the_running_statistics():
    state = nn.BatchNorm(use_running_average=True).init(jax.random.key(0), X)["batch_stats"]
    np.testing.assert_array_equal(state["mean"], 0)
    np.testing.assert_array_equal(state["var"], 1)


def test_the_fast_variance_loses_large_offsets():
    x = X + np.float32(1e4)
    normalize = lambda fast: nn.BatchNorm(use_running_average=False, use_fast_variance=fast).apply(  # noqa: E731
        VARIABLES, x, mutable=["batch_stats"]
    )[0]
    spread = lambda fast: np.asarray(normalize(fast), np.float64).std(0) / SCALE  # noqa: E731
    np.testing.assert_allclose(spread(False), 1, atol=1e-3)
    assert np.max(np.abs(spread(True) - 1)) > 0.1


def test_on_the_input_it_standardises_up_to_the_batch():
    """Catalogue N05: with the whole training set as the batch it is N01 with 1/M in place of 1/(M-1)."""
    plain = {"params": {"scale": jnp.ones(3), "bias": jnp.zeros(3)}, "batch_stats": VARIABLES["batch_stats"]}
    y, _ = nn.BatchNorm(use_running_average=False, epsilon=0.0).apply(plain, X, mutable=["batch_stats"])
    np.testing.assert_allclose(y, (X - MEAN) / np.sqrt(VAR), rtol=1e-4, atol=1e-5)
