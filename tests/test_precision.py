import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

import jaxdl
from jaxdl import training
from jaxdl.precision import mixed_precision

LOW = jnp.bfloat16


class Convolutional(nn.Module):
    """Convolution, batch and layer normalization, dropout."""

    @nn.compact
    def __call__(self, x, train):
        x = nn.relu(nn.BatchNorm(use_running_average=not train)(nn.Conv(4, (3, 3))(x)))
        x = nn.LayerNorm()(nn.Dense(6)(x.reshape(len(x), -1)))
        return nn.Dense(10)(nn.Dropout(0.5, deterministic=not train)(x))


class Recurrent(nn.Module):
    """A carry in float32 and weights in a loop."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(10)(nn.RNN(nn.LSTMCell(5))(x[..., 0])[:, -1])


class Attentive(nn.Module):
    """Products of two activations, and a layer that is taken twice rather than kept."""

    @nn.compact
    def __call__(self, x):
        x = nn.remat(nn.Dense)(8)(x[..., 0])
        return nn.Dense(10)(nn.MultiHeadDotProductAttention(2)(nn.LayerNorm()(x)).mean(1))


class Stacked(nn.Module):
    """Layers in a scan, and one that computes in float32 by itself."""

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(6)(x.reshape(len(x), -1))

        class Block(nn.Module):
            @nn.compact
            def __call__(self, carry, _):
                return nn.tanh(nn.Dense(6)(carry)), None

        scanned = nn.scan(Block, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)
        return nn.Dense(10, dtype=jnp.float32)(scanned()(x, None)[0])


class Factory(nnx.Module):
    """The NNX kind, with running statistics and dropout."""

    def __init__(self, rngs):
        self.conv = nnx.Conv(1, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.out = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x):
        return self.out(self.drop(nnx.relu(self.norm(self.conv(x))).reshape(len(x), -1)))


def pair():
    def init(key, x):
        return {"w": jax.random.normal(key, (16, 10)) / 4, "b": jnp.zeros(10)}

    return init, lambda p, x: x.reshape(len(x), -1) @ p["w"] + p["b"][None]


MODELS = {
    "mlp": jaxdl.models.MLP((8, 10)),
    "convolutional": Convolutional(),
    "recurrent": Recurrent(),
    "attentive": Attentive(),
    "stacked": Stacked(),
    "nnx": Factory,
    "functions": pair(),
}


def set_up(model, x, **step_options):
    tx = optax.adam(1e-2)
    objective = training.supervised(model, jaxdl.losses.softmax_cross_entropy, metrics={"right": jaxdl.losses.correct})
    state = training.init_state(model, tx, x[:1], key=jax.random.key(0), average=bool(step_options.get("average")))
    return training.make_train_step(objective, tx, **step_options), state


def products(jaxpr):
    """Operand dtypes of all matrix products and convolutions, however deep inside."""
    found = []
    for eqn in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        if eqn.primitive.name in ("dot_general", "conv_general_dilated"):
            found.append(tuple(str(var.aval.dtype) for var in eqn.invars))
        values = itertools.chain.from_iterable(v if isinstance(v, (tuple, list)) else [v] for v in eqn.params.values())
        for value in values:
            if hasattr(getattr(value, "jaxpr", value), "eqns"):
                found += products(value)
    return found


@pytest.mark.parametrize("kind", MODELS)
def test_every_product_of_a_step_has_half_the_bits_and_every_result_all(kind, digits_like):
    x, y = digits_like
    step, state = set_up(mixed_precision(MODELS[kind]), x, average=training.ema(0.9))
    batch = (jnp.asarray(x[:4]), jnp.asarray(y[:4]))
    operands = products(jax.make_jaxpr(step)(state, batch))
    assert len(operands) >= 2
    assert set(operands) == {("bfloat16", "bfloat16")}
    plain, plain_state = set_up(MODELS[kind], x, average=training.ema(0.9))
    assert len(operands) == len(products(jax.make_jaxpr(plain)(plain_state, batch)))
    shapes = lambda tree: jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), tree)  # noqa: E731
    after, metrics = jax.eval_shape(step, state, batch)
    assert shapes(after) == shapes(state) == shapes(plain_state)
    assert {str(leaf.dtype) for leaf in jax.tree.leaves((after.params, after.average.params))} == {"float32"}
    assert {str(metric.dtype) for metric in metrics.values()} == {"float32"}
    outputs, _ = step.objective.model.apply({"params": state.params, **state.model_state}, batch[0])
    assert outputs.dtype == jnp.float32


@pytest.mark.parametrize("kind", MODELS)
def test_results_are_those_of_float32_to_the_rounding(kind, digits_like):
    """Every number is rounded to 8 bits, relative error 2^-9, a few times on its way: 16 are allowed for here."""
    x = digits_like[0][:8]
    full, mixed = jaxdl.as_model(MODELS[kind]), mixed_precision(MODELS[kind])
    variables = full.init(jax.random.key(0), x[:1])
    expected, _ = full.apply(variables, x)
    outputs, _ = mixed.apply(variables, x)
    assert np.abs(outputs - expected).max() <= 16 * 2**-9 * np.abs(expected).max()
    assert np.abs(outputs - expected).max() > 0


def test_whole_numbers_come_through_unchanged():
    """What bfloat16 can hold exactly, and sums of it that it can hold, are exact."""
    model = (lambda key, x: jnp.zeros((64, 4)), lambda p, x: x @ p)
    draws = np.random.RandomState(0)
    x, w = draws.randint(-1, 2, (5, 64)).astype(np.float32), draws.randint(-1, 2, (64, 4)).astype(np.float32)
    outputs, _ = mixed_precision(model).apply({"params": w}, x)
    np.testing.assert_array_equal(outputs, x @ w)
    gradient = jax.grad(lambda w: mixed_precision(model).apply({"params": w}, x)[0].sum())(jnp.asarray(w))
    np.testing.assert_array_equal(gradient, np.broadcast_to(x.sum(0)[:, None], (64, 4)))
    assert gradient.dtype == jnp.float32


def rounded(x):
    return jnp.asarray(x, LOW).astype(jnp.float32)


FINE = 1 + 2.0**-12  # 1 in bfloat16


def test_where_the_model_computes_in_float32_parameters_come_unrounded():
    x = jax.random.normal(jax.random.key(0), (4, 6))
    layer = nn.LayerNorm(dtype=jnp.float32)
    params = {"scale": jnp.full(6, FINE), "bias": jnp.full(6, 2.0**-12)}
    outputs, _ = mixed_precision(layer).apply({"params": params}, x)
    np.testing.assert_allclose(outputs, layer.apply({"params": params}, rounded(x)), rtol=1e-6)
    unlike = layer.apply({"params": jax.tree.map(rounded, params)}, rounded(x))
    assert np.abs(outputs - unlike).max() > 1e-4
    moved = (lambda key, x: jnp.ones((2, 3)), lambda p, x: p.T.reshape(1, 6)[:, 1:3].astype(jnp.float32) * x)
    outputs, _ = mixed_precision(moved).apply({"params": jnp.full((2, 3), FINE)}, jnp.ones((4, 2)))
    np.testing.assert_array_equal(outputs, np.full((4, 2), FINE))


def test_running_statistics_are_those_of_float32():
    x = jnp.asarray(np.random.RandomState(0).randint(0, 8, (1000, 3)), jnp.float32)  # which rounding leaves alone
    model = nn.BatchNorm(momentum=0.5)
    variables = jaxdl.as_model(model).init(jax.random.key(0), x)
    _, expected = jaxdl.as_model(model).apply(variables, x, train=True)
    _, after = mixed_precision(model).apply(variables, x, train=True)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), after, expected)
    assert {leaf.dtype for leaf in jax.tree.leaves(after)} == {jnp.dtype("float32")}


def test_in_evaluation_the_state_is_handed_back_itself(digits_like):
    x = digits_like[0]
    model = mixed_precision(Convolutional())
    variables = model.init(jax.random.key(0), x[:1])
    state = {"batch_stats": variables["batch_stats"]}
    after = model.apply(variables, x)[1]
    assert all(a is b for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(state), strict=True))


def test_a_state_computed_in_half_precision_keeps_its_dtype():
    class Counting(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            seen = self.variable("seen", "total", lambda: jnp.zeros(()))
            count = self.variable("seen", "count", lambda: jnp.zeros((), jnp.int32))
            if train:
                seen.value, count.value = seen.value.astype(x.dtype) + x.sum(), count.value + 1
            return x

    model = mixed_precision(Counting())
    x = jnp.ones((4, 1))
    variables = model.init(jax.random.key(0), x)
    _, after = model.apply(variables, x, train=True)
    assert (after["seen"]["total"].dtype, float(after["seen"]["total"])) == (jnp.float32, 4)
    assert after["seen"]["count"].dtype == jnp.int32


# Sums of ones: in bfloat16, 256 + 1 is 256.
N = 4096
SUMS = {
    "product": lambda one: jnp.dot(one((8, N)), one((N, 8))).max(),
    "convolution": lambda one: jax.lax.conv(one((1, 64, 8, 8)), one((2, 64, 8, 8)), (1, 1), "VALID").max(),
    "grouped convolution": lambda one: jax.lax.conv_general_dilated(
        one((1, 128, 8, 8)), one((2, 64, 8, 8)), (1, 1), "VALID", feature_group_count=2
    ).max(),
    "sum": lambda one: jnp.sum(one((N, 3)), 0).max(),
    "reduction": lambda one: jax.lax.reduce(one((N, 3)), jnp.zeros((), LOW), jax.lax.add, (0,)).max(),
    "gradient of a bias": lambda one: jax.grad(lambda b: jnp.sum((one((N, 3)) + b).astype(jnp.float32)))(
        one((1, 3)) * 0
    ).max(),
    "gradient of a kernel": lambda one: jax.grad(lambda w: jnp.sum((one((N, 3)) @ w).astype(jnp.float32)))(
        one((3, 2))
    ).max(),
}


@pytest.mark.parametrize("sum_", SUMS)
@pytest.mark.parametrize("in_loop", [False, True])
def test_this_backend_accumulates_in_float32(sum_, in_loop):
    def total(scale):
        return SUMS[sum_](lambda shape: jnp.ones(shape, LOW) * scale)

    if in_loop:
        run = jax.jit(lambda scale: jax.lax.scan(lambda c, _: (c, total(scale)), 0, None, length=3)[1][1])
    else:
        run = jax.jit(total)
    assert float(run(jnp.ones((), LOW))) == N


class Words(nn.Module):
    """An embedding, plain, in a branch and in a scan."""

    @nn.compact
    def __call__(self, words):
        table = self.param("embedding", lambda key: jnp.ones((3, 2)))
        plain = table[words]
        branch = jax.lax.cond(words[0] == 0, lambda t: t[words], lambda t: 2 * t[words], table)
        looped = jax.lax.scan(lambda c, _: (c, jnp.take(table, words, axis=0)), 0, None, length=1)[1][0]
        return plain + branch + looped


def test_the_gradient_of_an_embedding_counts_beyond_256():
    model = mixed_precision(Words())
    words = jnp.zeros(N, jnp.int32)
    gradient = jax.grad(lambda p: model.apply({"params": p}, words)[0].sum())({"embedding": jnp.ones((3, 2))})
    np.testing.assert_array_equal(gradient["embedding"], [[3 * N, 3 * N], [0, 0], [0, 0]])
    naive = jax.grad(lambda t: t.astype(LOW)[words].astype(jnp.float32).sum())(jnp.ones((3, 2)))
    assert naive[0, 0] == 256


def test_sums_over_segments_count_beyond_256():
    model = (lambda key, x: {}, lambda p, x: jax.ops.segment_sum(x, jnp.zeros(len(x), jnp.int32), num_segments=2))
    outputs, _ = mixed_precision(model).apply({"params": {}}, jnp.ones((N, 1)))
    np.testing.assert_array_equal(outputs, [[N], [0]])


def test_kept_parameters_are_met_in_float32(digits_like):
    x = digits_like[0]
    model = mixed_precision(jaxdl.models.MLP((8, 10)), keep="Dense_1/*")
    variables = model.init(jax.random.key(0), x)
    operands = products(jax.make_jaxpr(lambda v, x: model.apply(v, x))(variables, x))
    assert operands == [("bfloat16", "bfloat16"), ("float32", "float32")]
    # The last layer on the rounded activations, and not rounded itself.
    hidden = mixed_precision(jaxdl.models.MLP((8,))).apply({"params": {"Dense_0": variables["params"]["Dense_0"]}}, x)
    last = variables["params"]["Dense_1"]
    outputs, _ = model.apply(variables, x)
    activation = jaxdl.models.MLP((8, 10)).activation
    expected = rounded(activation(hidden[0].astype(LOW))) @ last["kernel"] + last["bias"][None]
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)


def test_kept_parameters_inside_a_loop(digits_like):
    x = digits_like[0]
    model = mixed_precision(Recurrent(), keep="**/hi/*")
    variables = model.init(jax.random.key(0), x)
    operands = products(jax.make_jaxpr(lambda v, x: model.apply(v, x))(variables, x))
    assert set(operands) == {("bfloat16", "bfloat16"), ("float32", "float32")}
    assert operands.count(("float32", "float32")) == 1
    everything = mixed_precision(Recurrent(), keep=None)
    assert set(products(jax.make_jaxpr(lambda v, x: everything.apply(v, x))(variables, x))) == {("float32", "float32")}


def test_a_product_that_asks_for_precision_gets_it():
    model = (lambda key, x: jnp.ones((3, 2)), lambda p, x: jnp.dot(x.astype(jnp.float32), p, precision="highest"))
    params, x = jnp.full((3, 2), FINE), jnp.ones((4, 3))
    program = jax.make_jaxpr(lambda p, x: mixed_precision(model).apply({"params": p}, x))(params, x)
    assert products(program) == [("float32", "float32")]
    np.testing.assert_allclose(mixed_precision(model).apply({"params": params}, x)[0], np.full((4, 2), 3 * FINE), 1e-7)


def test_half_precision_parameters_of_its_own():
    model = mixed_precision(nn.Dense(3, param_dtype=LOW))
    x = jnp.ones((2, 4))
    variables = model.init(jax.random.key(0), x)
    outputs, _ = model.apply(variables, x)
    assert outputs.dtype == jnp.float32
    assert jax.grad(lambda v: model.apply(v, x)[0].sum())(variables)["params"]["kernel"].dtype == LOW


def test_float32_is_the_model_itself():
    model = jaxdl.as_model(nn.Dense(3))
    assert mixed_precision(model, compute=jnp.float32) is model


@pytest.mark.parametrize("compute", [jnp.float16, jnp.float64, jnp.int8])
def test_other_precisions(compute):
    with pytest.raises(ValueError, match=rf"compute: expected bfloat16 or float32; got {jnp.dtype(compute)}\. Numbers"):
        mixed_precision(nn.Dense(3), compute=compute)


def test_a_pattern_that_keeps_nothing():
    model = mixed_precision(nn.Dense(3), keep="**/scale")
    variables = model.init(jax.random.key(0), jnp.ones((2, 4)))
    with pytest.raises(ValueError, match=r"where='\*\*/scale' matches no leaf. The paths are: bias, kernel"):
        model.apply(variables, jnp.ones((2, 4)))


def test_inputs_that_are_no_numbers_stay_as_they_are():
    seen = []

    def apply(params, x):
        seen.append({name: str(leaf.dtype) for name, leaf in x.items()})
        return x["image"] * params

    x = {"image": np.ones((2, 3), np.float32), "label": np.ones(2, np.int32), "mask": np.ones(2, bool)}
    mixed_precision((lambda key, x: jnp.ones(()), apply)).apply({"params": jnp.ones(())}, x)
    assert seen == [{"image": "bfloat16", "label": "int32", "mask": "bool"}]


def test_engines_agree(digits_like, same_bytes):
    step, state = set_up(mixed_precision(Convolutional()), digits_like[0], average=training.ema(0.9))
    results = [
        training.fit(step, state, digits_like, steps=7, batch_size=20, engine=engine) for engine in ("loop", "epoch")
    ]
    same_bytes(*(result.state for result in results))


def test_it_can_be_stacked(digits_like):
    model = mixed_precision(Convolutional())
    variables = model.init(jax.random.key(0), digits_like[0][:1])

    def loss(params):
        outputs, _ = model.apply({**variables, "params": params}, digits_like[0][:5], train=True, key=jax.random.key(1))
        return jnp.mean(jnp.square(outputs))

    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), variables["params"])
    together = jax.jit(jax.vmap(jax.value_and_grad(loss)))(stacked)
    for i in range(2):
        alone = jax.jit(jax.value_and_grad(loss))(jax.tree.map(lambda leaf, i=i: leaf[i], stacked))
        for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(a[i], b, atol=8 * 2**-9 * np.abs(b).max())


def test_digits_are_learned_as_well():
    """Stated before it was run: over five seeds the mean accuracy differs by at most one point."""
    digits = jaxdl.data.load("digits")
    accuracies = []
    for model in (jaxdl.models.MLP((32, 10)), mixed_precision(jaxdl.models.MLP((32, 10)))):
        step, _ = set_up(model, digits.train.x)
        init = lambda key, model=model, step=step: training.init_state(model, step.tx, digits.train.x[:1], key=key)  # noqa: E731
        history = training.run_many(
            step, init, digits.train, seeds=range(5), epochs=15, batch_size=32, validation=digits.validation,
            evaluate_every=15, mode="map",
        ).history  # fmt: skip
        accuracies.append(history.validation["right"][:, -1])
    full, mixed = accuracies
    assert full.mean() > 0.9
    assert abs(mixed.mean() - full.mean()) <= 0.01
