import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import jaxdl
from jaxdl import layers, regularizers

KEY = jax.random.key(0)
DRAWS = np.random.RandomState(0)
X = DRAWS.randn(6, 4).astype(np.float32)


class Linear(nn.Module):
    rate: float = 0.3

    @nn.compact
    def __call__(self, x, train):
        return nn.Dense(2)(nn.Dropout(self.rate, deterministic=not train)(x))


class Block(nn.Module):
    """Batch norm whose mode is an attribute, and one whose mode is an argument."""

    train: bool
    norm: type[nn.BatchNorm] = nn.BatchNorm

    @nn.compact
    def __call__(self, x):
        x = self.norm(use_running_average=not self.train)(nn.Dense(5)(x))
        x = nn.Dropout(0.3, deterministic=not self.train)(x)
        return self.norm()(x=x, use_running_average=not self.train)


JittedBlock = nn.jit(Block)  # at module level, where it keeps its traces from one call to the next


class Net(nn.Module):
    block: type[nn.Module] = Block
    norm: type[nn.BatchNorm] = nn.BatchNorm

    @nn.compact
    def __call__(self, x, train):
        return nn.Dense(3)(self.block(train, self.norm)(x))


def trained(module, seed=1):
    """Variables whose running statistics are not those of the start."""
    model = jaxdl.as_model(module)
    variables = model.init(jax.random.key(seed), X)
    state = model.apply(variables, X + 2, train=True, key=KEY)[1]
    return {"params": variables["params"], **state}


def test_mean_and_variance_of_a_linear_model():
    """E = Wx + b, Var = rate / (1 - rate) sum_i x_i^2 w_i^2, within 5 standard errors: a false alarm in 7e4 runs."""
    rate, samples = 0.3, 20_000
    variables = trained(Linear(rate))
    kernel, bias = (np.asarray(variables["params"]["Dense_0"][name], np.float64) for name in ("kernel", "bias"))
    mean, variance = regularizers.mc_predict(
        Linear(rate), variables, X, key=KEY, num_samples=samples, samples_at_once=1000
    )
    factor = rate / (1 - rate)
    terms = X.astype(np.float64)[:, :, None] * kernel
    expected = factor * np.sum(terms**2, 1)
    assert np.all(np.abs(mean - (X @ kernel + bias)) < 5 * np.sqrt(expected / samples))
    # Fourth central moment of a sum of independent terms t_i m_i: 3 var^2 + sum t_i^4 (m4 - 3 factor^2).
    m4 = rate + (1 - rate) * factor**4
    fourth = 3 * expected**2 + np.sum(terms**4, 1) * (m4 - 3 * factor**2)
    assert np.all(np.abs(variance - expected) < 5 * np.sqrt((fourth - expected**2) / samples))


@pytest.mark.parametrize("at_once", [1, 3, 7, 100])
def test_how_many_run_at_once_changes_nothing(at_once):
    variables = trained(Linear())
    expected = regularizers.mc_predict(Linear(), variables, X, key=KEY, num_samples=7)
    found = regularizers.mc_predict(Linear(), variables, X, key=KEY, num_samples=7, samples_at_once=at_once)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), expected, found)


def test_the_samples_are_those_of_training_mode():
    model, variables = jaxdl.as_model(Linear()), trained(Linear())
    passes = [jax.nn.softmax(model.apply(variables, X, train=True, key=k)[0]) for k in jax.random.split(KEY, 5)]
    mean, variance = regularizers.mc_predict(model, variables, X, key=KEY, num_samples=5, transform=jax.nn.softmax)
    np.testing.assert_allclose(mean, np.mean(passes, 0), rtol=1e-5)
    np.testing.assert_allclose(variance, np.var(passes, 0), rtol=1e-4, atol=1e-7)


def test_one_sample_has_no_variance():
    _, variance = regularizers.mc_predict(Linear(), trained(Linear()), X, key=KEY, num_samples=1)
    np.testing.assert_array_equal(variance, 0)


NETS = {
    "plain": Net(),
    "renorm": Net(norm=layers.BatchRenorm),
    "remat": Net(nn.remat(Block)),
    "jit": Net(JittedBlock),
}


@pytest.mark.parametrize("kind", NETS)
def test_one_example_does_not_depend_on_the_others(kind, same_bytes):
    variables = trained(NETS[kind])
    others = np.concatenate([X[:2], 10 + 3 * X[2:]])
    results = [regularizers.mc_predict(NETS[kind], variables, x, key=KEY, num_samples=4) for x in (X, others)]
    same_bytes(*([part[:2] for part in result] for result in results))
    assert not np.allclose(results[0][0][2:], results[1][0][2:])


@pytest.mark.parametrize("kind", NETS)
def test_training_before_and_after_is_untouched(kind, same_bytes):
    """An interception leaves nothing behind, not even in the traces that nn.jit keeps."""
    model = jaxdl.as_model(NETS[kind])
    variables = model.init(jax.random.key(2), X)
    first = regularizers.mc_predict(model, variables, X, key=KEY, num_samples=2)
    for _ in range(2):
        _, state = model.apply(variables, X, train=True, key=KEY)
        hidden = X @ np.asarray(jax.tree.leaves(variables["params"][next(iter(variables["params"]))]["Dense_0"])[1])
        moved = [leaf for path, leaf in jaxdl.tree.leaf_paths(state).items() if path.endswith("Norm_0/mean")
                 or path.endswith("Renorm_0/mean")]  # fmt: skip
        np.testing.assert_allclose(moved[0], 0.01 * hidden.mean(0), rtol=1e-3, atol=1e-6)
        same_bytes(first, regularizers.mc_predict(model, variables, X, key=KEY, num_samples=2))


def test_a_scan_over_jitted_layers_trains_as_ever_after(same_bytes):
    """A scan does not hand on collections that it does not know, by which nn.jit might tell the two passes apart."""
    norm = nn.jit(nn.BatchNorm)

    class Cell(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            return norm(use_running_average=False)(x), None

    class Stack(nn.Module):
        @nn.compact
        def __call__(self, x):
            axes = {"params": 0, "batch_stats": 0}
            return nn.scan(Cell, variable_axes=axes, split_rngs={"params": True}, length=2)()(x, None)[0]

    model = jaxdl.as_model(Stack())
    variables = model.init(KEY, X)
    mean, _ = regularizers.mc_predict(model, variables, X, key=KEY, num_samples=2)
    np.testing.assert_allclose(mean, X / (1 + 1e-5), rtol=1e-5)
    _, state = model.apply(variables, X, train=True)
    moved = jax.tree.leaves(state["batch_stats"])[0]
    np.testing.assert_allclose(moved[0], 0.01 * X.mean(0), rtol=1e-4, atol=1e-7)
    same_bytes(mean, regularizers.mc_predict(model, variables, X, key=KEY, num_samples=2)[0])


def test_without_dropout_it_is_evaluation():
    class Normed(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            return nn.BatchNorm(use_running_average=not train)(nn.Dense(3)(x))

    variables = trained(Normed())
    mean, variance = regularizers.mc_predict(Normed(), variables, X, key=KEY, num_samples=3)
    expected, _ = jaxdl.as_model(Normed()).apply(variables, X)
    np.testing.assert_allclose(mean, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(variance, 0, atol=1e-10)


def test_batch_norm_in_a_scan():
    class Cell(nn.RNNCellBase):
        train: bool

        @nn.compact
        def __call__(self, carry, x):
            x = nn.BatchNorm(use_running_average=not self.train)(nn.Dense(4)(x))
            carry = nn.tanh(x + nn.Dense(4)(carry))
            return carry, carry

        def initialize_carry(self, rng, input_shape):
            return jnp.zeros((*input_shape[:-1], 4))

        @property
        def num_feature_axes(self):
            return 1

    class Recurrent(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            x = nn.Dropout(0.5, deterministic=not train)(x)
            cell = Cell(train)
            if self.is_initializing():
                cell(cell.initialize_carry(KEY, x[:, 0].shape), x[:, 0])
            return nn.RNN(cell, variable_carry="batch_stats")(x)[:, -1]

    x = DRAWS.randn(6, 3, 4).astype(np.float32)
    variables = jaxdl.as_model(Recurrent()).init(KEY, x)
    others = np.concatenate([x[:1], x[1:] + 5])
    a, b = (regularizers.mc_predict(Recurrent(), variables, inputs, key=KEY, num_samples=5) for inputs in (x, others))
    np.testing.assert_allclose(a[0][0], b[0][0], rtol=1e-5)
    assert np.all(np.asarray(a[1]) > 0)


def test_under_jit():
    variables = trained(Net())
    predict = lambda v, x, key: regularizers.mc_predict(Net(), v, x, key=key, num_samples=3)  # noqa: E731
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)  # noqa: E731
    jax.tree.map(close, jax.jit(predict)(variables, X, KEY), predict(variables, X, KEY))


def test_nnx_and_plain_functions():
    class Dropped(nnx.Module):
        def __init__(self, rngs):
            self.dense, self.dropout = nnx.Linear(4, 2, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x):
            return self.dense(self.dropout(x))

    plain = (
        lambda key, x: {"w": jnp.ones((4, 2))},
        lambda params, x, *, train, key: regularizers.dropout(key, x, rate=0.5) @ params["w"],
    )
    for thing in (Dropped, plain):
        model = jaxdl.as_model(thing)
        _, variance = regularizers.mc_predict(model, model.init(KEY, X), X, key=KEY, num_samples=20)
        assert np.all(np.asarray(variance) > 0)


def test_outputs_may_be_a_tree():
    plain = (lambda key, x: {}, lambda params, x: {"a": x, "b": x[:, 0]})
    mean, variance = regularizers.mc_predict(plain, {"params": {}}, X, key=KEY, num_samples=2)
    np.testing.assert_allclose(mean["b"], X[:, 0])
    assert variance["a"].shape == X.shape


def test_a_state_that_would_move():
    class Normed(nnx.Module):
        def __init__(self, rngs):
            self.norm = nnx.BatchNorm(4, rngs=rngs)

        def __call__(self, x):
            return self.norm(x)

    class Counting(nn.Module):
        @nn.compact
        def __call__(self, x):
            seen = self.variable("counts", "seen", jnp.zeros, ())
            seen.value += 1
            return x

    for thing, path in ((Normed, "state/norm/mean, state/norm/var"), (Counting(), "counts/seen")):
        variables = jaxdl.as_model(thing).init(KEY, X)
        with pytest.raises(
            ValueError, match=f"model: expected a model that leaves its state alone.*would change {path}"
        ):
            regularizers.mc_predict(thing, variables, X, key=KEY)


@pytest.mark.parametrize("option", ["num_samples", "samples_at_once"])
def test_counts(option):
    with pytest.raises(ValueError, match=f"{option}: expected a whole number >= 1; got 0"):
        regularizers.mc_predict(Linear(), trained(Linear()), X, key=KEY, **{option: 0})


def test_wants_one_typed_key():
    with pytest.raises(TypeError, match="key: expected one typed key"):
        regularizers.mc_predict(Linear(), trained(Linear()), X, key=jax.random.split(KEY))
