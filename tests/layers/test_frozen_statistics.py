"""Frozen running statistics: same bytes, and normalization by them in training mode, in every way to write a layer."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

import jaxdl
from jaxdl import optimizers, training
from jaxdl.layers import BatchRenorm, freeze_statistics
from jaxdl.tree import leaf_paths

KEY = jax.random.key(0)
DRAWS = np.random.RandomState(0)
X = DRAWS.randn(6, 4).astype(np.float32)


class Compact(nn.Module):
    """Batch norm whose mode is an attribute, and one whose mode is an argument, by position or by name."""

    norm: type[nn.BatchNorm] = nn.BatchNorm
    by_name: bool = True

    @nn.compact
    def __call__(self, x, train):
        x = self.norm(use_running_average=not train, name="by_attribute")(nn.Dense(4)(x))
        norm = self.norm(name="by_argument")
        return norm(x=x, use_running_average=not train) if self.by_name else norm(x, not train)


class Setup(nn.Module):
    def setup(self):
        self.dense, self.first, self.second = nn.Dense(4), nn.BatchNorm(), BatchRenorm()

    def __call__(self, x, train):
        x = self.first(self.dense(x), use_running_average=not train)
        return self.second(x, use_running_average=not train)


class OwnNorm(nn.Module):
    """One with no attribute for the mode, only an argument."""

    use_bias: bool = True

    @nn.compact
    def __call__(self, x, *, use_running_average):
        mean = self.variable("batch_stats", "mean", jnp.zeros, x.shape[-1:])
        of_batch = mean.value if use_running_average else jnp.mean(x, 0)
        if not use_running_average and not self.is_initializing():
            mean.value = 0.9 * mean.value + 0.1 * of_batch
        return x - of_batch.reshape(1, -1)


class Own(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = OwnNorm(name="by_attribute")(nn.Dense(4)(x), use_running_average=not train)
        return OwnNorm(name="by_argument")(x, use_running_average=not train)


class Net(nn.Module):
    """Two blocks, the first of which is to be frozen, with dropout in it."""

    block: type[nn.Module] = Compact
    options: tuple = ()

    @nn.compact
    def __call__(self, x, train):
        for i in range(2):
            x = self.block(**dict(self.options), name=f"Block_{i}")(x, train)
        return nn.Dense(3)(x)


NETS = {
    "compact": Net(),
    "by position": Net(options=(("by_name", False),)),
    "setup": Net(Setup),
    "renorm": Net(options=(("norm", BatchRenorm),)),
    "own": Net(Own),
    "remat": Net(nn.remat(Compact, static_argnums=(2,))),
    "jit": Net(nn.jit(Compact, static_argnums=(2,))),
}
each_net = pytest.mark.parametrize("kind", NETS)


def started(model, x=X):
    """Variables whose running statistics are not those of the start."""
    variables = model.init(jax.random.key(1), x)
    shifted = jax.tree.map(lambda leaf: leaf + 0.5, {name: v for name, v in variables.items() if name != "params"})
    return {"params": variables["params"], **shifted}


@each_net
def test_the_frozen_block_is_the_one_of_evaluation_and_the_other_that_of_training(kind, same_bytes):
    """The oracle: the first block by itself in evaluation mode, then the second by itself in training mode."""
    net = NETS[kind]
    model, variables = freeze_statistics(net, where="Block_0/**"), started(jaxdl.as_model(net))
    outputs, state = model.apply(variables, X, train=True, key=KEY)
    part = lambda name: {collection: leaves[name] for collection, leaves in variables.items()}  # noqa: E731
    block = net.block(**dict(net.options))
    hidden = block.apply(part("Block_0"), X, False)
    last, updated = block.apply(part("Block_1"), hidden, True, mutable=["batch_stats"])
    dense = variables["params"]["Dense_0"]
    np.testing.assert_allclose(outputs, last @ dense["kernel"] + dense["bias"].reshape(1, -1), rtol=1e-4, atol=1e-5)
    same_bytes(state["batch_stats"]["Block_0"], variables["batch_stats"]["Block_0"])
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), state["batch_stats"], variables["batch_stats"])
    assert min(jax.tree.leaves(moved["Block_1"])) > 1e-3
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)  # noqa: E731
    jax.tree.map(close, state["batch_stats"]["Block_1"], updated["batch_stats"])
    assert state.keys() == {"batch_stats"}


@each_net
def test_all_frozen_is_evaluation_whatever_the_other_examples(kind, same_bytes):
    net, model = NETS[kind], freeze_statistics(NETS[kind], where=None)
    variables = started(model)
    outputs, state = model.apply(variables, X, train=True, key=KEY)
    expected, _ = jaxdl.as_model(net).apply(variables, X)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)
    others = np.concatenate([X[:2], 10 + 3 * X[2:]])
    same_bytes(outputs[:2], model.apply(variables, others, train=True, key=KEY)[0][:2])
    same_bytes(state, {"batch_stats": variables["batch_stats"]})


@each_net
def test_the_model_itself_trains_as_ever_before_and_after(kind, same_bytes):
    """Nothing is left behind, not even in the traces that nn.jit keeps; nor do those of two choices mix."""
    plain = jaxdl.as_model(NETS[kind])
    variables = started(plain)
    expected = plain.apply(variables, X, train=True, key=KEY)
    for where in ("Block_0/**", "Block_1/**", "Block_0/**"):
        state = freeze_statistics(NETS[kind], where=where).apply(variables, X, train=True, key=KEY)[1]
        for block in ("Block_0", "Block_1"):
            stays = where.startswith(block)
            pairs = zip(*(jax.tree.leaves(s["batch_stats"][block]) for s in (state, variables)), strict=True)
            assert all(np.array_equal(a, b) == stays for a, b in pairs)
        same_bytes(plain.apply(variables, X, train=True, key=KEY), expected)


@each_net
def test_under_jit_and_for_gradients(kind):
    model = freeze_statistics(NETS[kind], where="Block_0/**")
    variables = started(model)

    def loss(params, variables):
        outputs, state = model.apply({**variables, "params": params}, X, train=True, key=KEY)
        return jnp.sum(outputs[:1] ** 2), state

    (eager, state), grads = jax.value_and_grad(loss, has_aux=True)(variables["params"], variables)
    (value, again), compiled = jax.jit(jax.value_and_grad(loss, has_aux=True))(variables["params"], variables)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)  # noqa: E731
    jax.tree.map(close, (eager, state, grads), (value, again, compiled))
    for a, b in zip(*(jax.tree.leaves(s["batch_stats"]["Block_0"]) for s in (again, variables)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_evaluation_and_variables_are_those_of_the_model(same_bytes):
    plain, model = jaxdl.as_model(Net()), freeze_statistics(Net(), where="Block_0/**")
    same_bytes(model.init(KEY, X), plain.init(KEY, X))
    variables = started(plain)
    same_bytes(model.apply(variables, X), plain.apply(variables, X))
    same_bytes(freeze_statistics(plain, where="Block_0/**").apply(variables, X, train=True),
               model.apply(variables, X, train=True))  # fmt: skip


def test_one_layer_at_the_root_and_patterns_of_several_kinds():
    norm = nn.BatchNorm()
    variables = started(jaxdl.as_model(norm))
    for where in ("mean", ("mean", "var"), lambda path, leaf: leaf.shape == (4,)):
        outputs, state = freeze_statistics(norm, where=where).apply(variables, X, train=True)
        np.testing.assert_allclose(outputs, (X - 0.5) / np.sqrt(1.5 + 1e-5), rtol=1e-5)
        np.testing.assert_array_equal(state["batch_stats"]["mean"], np.full(4, 0.5))


@pytest.mark.parametrize("kind", ["compact", "remat"])
def test_one_statistic_stands_for_all_of_its_layer(kind, same_bytes):
    variables = started(jaxdl.as_model(NETS[kind]))
    results = [
        freeze_statistics(NETS[kind], where=where).apply(variables, X, train=True, key=KEY)
        for where in ("Block_0/by_argument/*", "Block_0/by_argument/var")
    ]
    same_bytes(*results)


def test_dropout_in_a_frozen_block_still_drops():
    class Dropped(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            x = nn.BatchNorm(use_running_average=not train)(x)
            return nn.Dropout(0.5, deterministic=not train)(x)

    model = freeze_statistics(Dropped(), where="**")
    outputs, _ = model.apply(started(model), X + 3, train=True, key=KEY)
    assert 0 < np.mean(np.asarray(outputs) == 0) < 1


class NnxNet(nnx.Module):
    def __init__(self, rngs):
        self.first, self.second = nnx.BatchNorm(4, rngs=rngs), nnx.BatchNorm(4, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.second(self.dropout(self.first(x)))


@pytest.mark.parametrize("factory", [NnxNet, lambda rngs: NnxNet(rngs)], ids=["class", "function"])
def test_nnx(factory, same_bytes):
    model = freeze_statistics(factory, where="first/*")
    variables = started(model)
    for apply in (model.apply, jax.jit(model.apply, static_argnames="train")):
        outputs, state = apply(variables, X, train=True, key=KEY)
        same_bytes(state["state"]["first"], variables["state"]["first"])
        assert np.all(np.abs(np.asarray(state["state"]["second"]["mean"]) - 0.5) > 1e-4)
        np.testing.assert_allclose(np.mean(outputs, 0), np.zeros(4), atol=1e-5)
    frozen = freeze_statistics(factory, where=None)
    outputs, state = frozen.apply(variables, X, train=True, key=KEY)
    same_bytes(state, {"state": variables["state"]})
    normed = (X - 0.5) / np.sqrt(1.5 + 1e-5)
    either = [(dropped - 0.5) / np.sqrt(1.5 + 1e-5) for dropped in (0 * normed, 2 * normed)]
    kept = np.isclose(outputs, either[1], rtol=1e-4, atol=1e-5)
    assert np.all(kept | np.isclose(outputs, either[0], rtol=1e-4, atol=1e-5))
    assert 0 < kept.mean() < 1
    jax.tree.map(np.testing.assert_array_equal, frozen.apply(variables, X), jaxdl.as_model(factory).apply(variables, X))


def test_transfer_by_fit(digits_like, same_bytes):
    """Frozen parameters and statistics keep their bytes while the rest is trained; without, the statistics drift."""

    class Flat(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            return Net()(x.reshape(x.shape[0], -1)[:, :4], train)

    tx = optimizers.freeze(optax.adam(0.01), where="Net_0/Block_0/**")
    for model, stays in ((freeze_statistics(Flat(), where="Net_0/Block_0/**"), True), (jaxdl.as_model(Flat()), False)):
        objective = training.supervised(model, lambda outputs, y: jnp.sum(jnp.square(outputs), -1))
        state = training.init_state(model, tx, digits_like[0], key=KEY)
        after = training.fit(training.make_train_step(objective, tx), state, digits_like, epochs=2, batch_size=20).state
        same_bytes(after.params["Net_0"]["Block_0"], state.params["Net_0"]["Block_0"])
        old, new = (leaf_paths(s.model_state["batch_stats"]["Net_0"]) for s in (state, after))
        for path in old:
            assert np.array_equal(old[path], new[path]) == (stays and path.startswith("Block_0/")), path


# Errors


def test_patterns_are_resolved_against_the_statistics():
    model, message = (
        freeze_statistics(Net(), where="Dense_0/*"),
        r"where='Dense_0/\*' matches no leaf\. The paths are: ",
    )
    with pytest.raises(ValueError, match=message + "Block_0/by_argument/mean"):
        model.init(KEY, X)
    with pytest.raises(ValueError, match=message):
        model.apply(started(jaxdl.as_model(Net())), X)
    with pytest.raises(ValueError, match=r"matches no leaf\. The paths are: \(none\)"):
        freeze_statistics(nn.Dense(2), where="**").init(KEY, X)
    with pytest.raises(ValueError, match=message + "first/mean"):
        freeze_statistics(NnxNet, where="Dense_0/*").init(KEY, X)


class Counting(nn.Module):
    @nn.compact
    def __call__(self, x):
        seen = self.variable("counts", "seen", jnp.zeros, ())
        seen.value += 1
        return nn.BatchNorm(use_running_average=False)(x)


def test_statistics_that_would_still_move_are_never_handed_back():
    message = (
        r"model: expected layers that can be put on their running averages; got statistics that would still move: "
    )
    model = freeze_statistics(Counting(), where="seen")
    with pytest.raises(ValueError, match=message + r"counts/seen\. Give the layer an attribute or argument use_runn"):
        model.apply(started(model), X, train=True)
    frozen_norm_only = freeze_statistics(Counting(), where="BatchNorm_0/*")
    _, state = frozen_norm_only.apply(started(model), X, train=True)
    assert float(state["counts"]["seen"]) == 2.5

    of_nnx = freeze_statistics(jaxdl.as_model(NnxNet), where="first/*")
    with pytest.raises(ValueError, match=message + r"state/first/mean, state/first/var\. .*of an NNX module pass"):
        of_nnx.apply(started(of_nnx), X, train=True, key=KEY)


def test_what_has_no_statistics():
    pair = (lambda key, x: {}, lambda params, x: x)
    with pytest.raises(TypeError, match=r"model: expected a model with running statistics; got a pair of functions"):
        freeze_statistics(pair, where=None)
    with pytest.raises(TypeError, match=r"model: expected a jaxdl\.Model, .*got int"):
        freeze_statistics(3, where=None)
