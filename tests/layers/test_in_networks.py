"""Every normalization in dense, convolutional and recurrent nets, through the model and the training step."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import jaxdl
from jaxdl import layers, training, tree
from jaxdl.training.engines import ENGINES

KEY = jax.random.key(0)
DRAWS = np.random.RandomState(0)
LABELS = DRAWS.randint(0, 3, 12)
INPUTS = {
    "dense": DRAWS.randn(12, 6).astype(np.float32),
    "conv": DRAWS.randn(12, 5, 5, 2).astype(np.float32),
    "recurrent": DRAWS.randn(12, 7, 4).astype(np.float32),
}
NORMS = ["batch", "renorm", "layer", "weight", "cosine"]
WITH_STATE = ("batch", "renorm")


def affine(norm, kind, features):
    if norm == "cosine":
        return layers.CosineConv(features, (3, 3)) if kind == "conv" else layers.CosineDense(features, centered=True)
    layer = nn.Conv(features, (3, 3)) if kind == "conv" else nn.Dense(features)
    return layers.WeightNorm(layer) if norm == "weight" else layer


def normalized(norm, x, train):
    if norm == "layer":
        return layers.LayerNorm()(x)
    if norm in WITH_STATE:
        make = layers.BatchNorm if norm == "batch" else functools.partial(layers.BatchRenorm, r_max=1.5, d_max=0.5)
        return make(use_running_average=not train, momentum=0.9)(x)
    return x


class Cell(nn.RNNCellBase):
    norm: str
    train: bool

    @nn.compact
    def __call__(self, carry, x):
        z = normalized(self.norm, affine(self.norm, "recurrent", 5)(x), self.train)
        carry = nn.tanh(z + affine(self.norm, "recurrent", 5)(carry))
        return carry, carry

    def initialize_carry(self, rng, input_shape):
        return jnp.zeros((*input_shape[:-1], 5))

    @property
    def num_feature_axes(self):
        return 1


class Net(nn.Module):
    norm: str
    kind: str

    @nn.compact
    def __call__(self, x, train):
        if self.kind == "recurrent":
            cell = Cell(self.norm, train)
            if self.is_initializing():  # a scan cannot create the statistics that it carries
                cell(cell.initialize_carry(KEY, x[:, 0].shape), x[:, 0])
            # What does not change is broadcast: a scan refuses to carry it.
            moves = train or self.is_initializing()
            carried, shared = ("batch_stats", "params") if moves else (False, ("params", "batch_stats"))
            x = nn.RNN(cell, variable_carry=carried, variable_broadcast=shared)(x)[:, -1]
        else:
            for _ in range(2):
                x = nn.relu(normalized(self.norm, affine(self.norm, self.kind, 5)(x), train))
        return nn.Dense(3)(x.reshape(x.shape[0], -1))


def task(norm, kind):
    net, x = Net(norm, kind), INPUTS[kind]
    objective = training.supervised(net, jaxdl.losses.softmax_cross_entropy)
    step = training.make_train_step(objective, optax.sgd(0.1))
    return step, training.init_state(net, step.tx, x, key=KEY), (x, LABELS)


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("norm", NORMS)
def test_trains_with_finite_gradients(norm, kind, same_bytes):
    step, state, batch = task(norm, kind)
    after, metrics = jax.jit(step)(state, batch)
    assert np.isfinite(metrics["loss"])
    for (path, old), new in zip(tree.leaf_paths(state.params).items(), jax.tree.leaves(after.params), strict=True):
        assert np.all(np.isfinite(new)), path
        # The bias before a batch norm has no gradient; that of a recurrent net's second layer has one.
        idle = norm in WITH_STATE and re.search(r"(Dense_0|Conv_\d|^Dense_1)/bias", path)
        assert idle or not np.array_equal(old, new), path
    assert (after.model_state != {}) == (norm in WITH_STATE)
    for old, new in zip(jax.tree.leaves(state.model_state), jax.tree.leaves(after.model_state), strict=True):
        assert not np.array_equal(old, new)
    _, evaluated = step.objective.model.apply({"params": after.params, **after.model_state}, batch[0])
    jax.tree.map(np.testing.assert_array_equal, evaluated, after.model_state)
    loss = [training.evaluate(step.objective, after, batch, batch_size=size)["loss"] for size in (12, 5)]
    assert loss[0] == pytest.approx(loss[1], rel=1e-5)  # in evaluation no example depends on another


@pytest.mark.parametrize("norm", WITH_STATE)
def test_statistics_in_a_recurrent_net_are_of_all_time_steps(norm):
    """One running average, moved once a time step (catalogue N11), against the recursion in NumPy."""
    _, state, (x, _) = task(norm, "recurrent")
    model = jaxdl.as_model(Net(norm, "recurrent"))
    _, updated = model.apply({"params": state.params, **state.model_state}, x, train=True, key=KEY)
    kernel = np.asarray(state.params["Cell_0"]["Dense_0"]["kernel"], np.float64)
    mean, var = np.zeros(5), np.ones(5)
    for t in range(x.shape[1]):
        z = x[:, t].astype(np.float64) @ kernel
        mean, var = 0.9 * mean + 0.1 * z.mean(0), 0.9 * var + 0.1 * z.var(0)
    (stats,) = updated["batch_stats"]["Cell_0"].values()
    np.testing.assert_allclose(stats["mean"], mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(stats["var"], var, rtol=1e-4)


def test_weight_norm_around_a_whole_recurrent_layer():
    """The same outputs as a plain layer whose kernels have columns of unit norm."""
    module, x = nn.WeightNorm(nn.RNN(nn.SimpleCell(5))), INPUTS["recurrent"]
    variables = module.init(KEY, x)
    cell = variables["params"]["layer_instance"]["cell"]
    unit = jax.tree.map(lambda w: w / jnp.linalg.norm(w, axis=0, keepdims=True) if w.ndim == 2 else w, cell)
    expected = nn.RNN(nn.SimpleCell(5)).apply({"params": {"cell": unit}}, x)
    np.testing.assert_allclose(module.apply(variables, x), expected, rtol=1e-4, atol=1e-5)
    grads = jax.grad(lambda v: jnp.sum(module.apply(v, x) ** 2))(variables)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(grads))


class Renormed(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = x.reshape(x.shape[0], -1)
        x = nn.relu(layers.BatchRenorm(use_running_average=not train, momentum=0.9)(nn.Dense(8)(x)))
        ramp = optax.linear_schedule(1.0, 3.0, 50)
        x = layers.BatchRenorm(use_running_average=not train, momentum=0.9, r_max=ramp, d_max=lambda n: ramp(n) - 1)(x)
        return nn.Dense(10)(nn.Dropout(0.2, deterministic=not train)(x))


def test_engines_give_the_same_bytes_with_batch_renorm(digits_like, same_bytes):
    step = training.make_train_step(
        training.supervised(Renormed(), jaxdl.losses.softmax_cross_entropy), optax.sgd(0.05, momentum=0.9)
    )
    state = training.init_state(Renormed(), step.tx, digits_like[0][:1], key=KEY)
    results = [
        training.fit(step, state, digits_like, steps=40, batch_size=4, engine=engine, chunk_size=9)
        for engine in ENGINES
    ]
    for result in results[1:]:
        same_bytes(results[0].state, result.state)
    assert results[0].state.model_state["batch_stats"]["BatchRenorm_1"]["count"] == 40
    loss = results[0].history.train["loss"]
    assert np.mean(loss[-10:]) < np.mean(loss[:10])


def test_gradient_flow_reads_through_batch_renorm(digits_like):
    x, labels = digits_like
    model = jaxdl.as_model(Renormed())
    variables = model.init(KEY, x[:1])
    loss = jaxdl.losses.softmax_cross_entropy
    flow = jaxdl.diagnostics.gradient_flow(
        lambda params, batch: loss(model.apply({**variables, "params": params}, batch[0])[0], batch[1]),
        variables["params"],
        (x, labels),
    )
    assert [layer for layer in flow.layers if "Dense" in layer] == ["Dense_0", "Dense_1"]
