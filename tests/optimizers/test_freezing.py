"""Frozen parameters keep every bit and cost nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import serialization

import jaxdl
from jaxdl import training
from jaxdl.optimizers import clip_by_global_norm, freeze, max_norm, proximal_l1, unit_norm
from jaxdl.tree import is_bias, is_kernel

DRAWS = np.random.RandomState(0)


def draws(*shape):
    return jnp.asarray(DRAWS.randn(*shape), jnp.float32)


PARAMS = {
    "Dense_0": {"kernel": draws(4, 3), "bias": draws(3)},
    "Dense_1": {"kernel": draws(3, 2), "bias": draws(2)},
}
BOTTOM, TOP = "Dense_0/*", "Dense_1/*"


def train(tx, params=PARAMS, steps=5):
    """The parameters after some updates with fixed random gradients, in one program."""

    def step(carry, grads):
        params, state = carry
        updates, state = tx.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), None

    gradients = np.random.RandomState(1)
    grads = jax.tree.map(lambda leaf: jnp.asarray(gradients.randn(steps, *leaf.shape), leaf.dtype), params)
    return jax.jit(lambda params: jax.lax.scan(step, (params, tx.init(params)), grads)[0][0])(params)


def train_uncompiled(tx, params=PARAMS, steps=5):
    """The same, operation by operation: a compiler rounds with the leaves it sees."""
    with jax.disable_jit():
        return train(tx, params, steps)


def bits(values, kind):
    unsigned = {2: np.uint16, 4: np.uint32}[jnp.dtype(kind).itemsize]
    return jnp.asarray(np.array(values, unsigned).view(kind))


ODD_BITS = {  # -0.0, 0.0, the smallest numbers, NaN with a payload and a signalling one, infinity
    "float32": bits([0x80000000, 0, 1, 0x80000001, 0x00400000, 0x7FC01234, 0x7F801234, 0xFF800000], np.float32),
    "bfloat16": bits([0x8000, 0, 1, 0x8001, 0x7FC1, 0x7F81, 0xFF80], jnp.bfloat16),
    "float16": bits([0x8000, 0, 1, 0x8001, 0x7E01, 0x7C01, 0xFC00], np.float16),
    "int32": jnp.array([0, -1, 2**31 - 1], jnp.int32),
    "uint8": jnp.array([0, 255], jnp.uint8),
    "bool": jnp.array([True, False]),
}

TRANSFORMATIONS = {
    "sgd": optax.sgd(0.1),
    "adamw": optax.adamw(0.1, weight_decay=0.5),
    "noise": optax.chain(optax.add_noise(0.1, 0.5, 0), optax.sgd(0.1)),
    "max_norm": optax.chain(optax.sgd(0.1), max_norm(0.01, where="Dense_0/kernel")),
    "unit_norm": optax.chain(optax.adam(0.1), unit_norm()),
    "proximal_l1": optax.chain(optax.sgd(0.1), proximal_l1(1.0, learning_rate=0.1)),
    "injected": optax.inject_hyperparams(optax.adam)(learning_rate=0.1),
    "accumulated": optax.MultiSteps(optax.adam(0.1), 2).gradient_transformation(),
}


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_frozen_leaves_keep_their_bytes_whatever_the_chain_does(name, same_bytes):
    found = train(freeze(TRANSFORMATIONS[name], where=BOTTOM))
    same_bytes(found["Dense_0"], PARAMS["Dense_0"])
    moved = [np.any(np.asarray(found["Dense_1"][leaf] != PARAMS["Dense_1"][leaf])) for leaf in found["Dense_1"]]
    assert all(moved)


@pytest.mark.parametrize("name", [name for name in TRANSFORMATIONS if name != "noise"])
def test_the_others_are_trained_as_if_alone(name, same_bytes):
    """Rules that do not couple leaves give the same bytes as without freezing."""
    found, free = (train_uncompiled(tx) for tx in (freeze(TRANSFORMATIONS[name], where=BOTTOM), TRANSFORMATIONS[name]))
    same_bytes(found["Dense_1"], free["Dense_1"])
    assert not np.array_equal(found["Dense_0"]["kernel"], free["Dense_0"]["kernel"])


@pytest.mark.parametrize("kind", ODD_BITS)
def test_every_bit_stays_in_a_compiled_program(kind, same_bytes):
    params = {"odd": ODD_BITS[kind], "w": jnp.ones(2)}
    grads = {"odd": jnp.zeros_like(ODD_BITS[kind]), "w": jnp.ones(2)}
    tx = freeze(optax.adamw(0.1), where="odd")

    @jax.jit
    def step(params, state):
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    new, state = step(params, tx.init(params))
    same_bytes(new["odd"], ODD_BITS[kind])
    same_bytes(step(new, state)[0]["odd"], ODD_BITS[kind])
    assert float(new["w"][0]) == pytest.approx(1 - 0.1 * (1 + 1e-4), rel=1e-5)


def test_updates_added_by_hand_keep_all_but_subnormals_and_payloads():
    odd = jnp.concatenate([jnp.array([-0.0, 0.0, np.nan, -np.inf, 1e-37]), draws(5)])
    tx = freeze(optax.sgd(0.1), where="odd")
    params = {"odd": odd, "w": jnp.ones(2)}
    updates, _ = tx.update(params, tx.init(params))
    assert np.signbit(np.asarray(updates["odd"])).all()
    new = np.asarray(optax.apply_updates(params, updates)["odd"])
    np.testing.assert_array_equal(new, odd)
    np.testing.assert_array_equal(np.signbit(new[:2]), [True, False])


def test_integers_with_the_gradients_jax_gives_them():
    params = {"table": jnp.arange(3), "w": jnp.ones(3)}
    loss = lambda params: jnp.sum(params["w"] * params["table"])  # noqa: E731
    grads = jax.grad(loss, allow_int=True)(params)
    assert grads["table"].dtype == jax.dtypes.float0
    tx = freeze(optax.adam(0.1), where="table")
    updates, _ = tx.update(grads, tx.init(params), params)
    new = optax.apply_updates(params, updates)
    assert new["table"].dtype == params["table"].dtype
    np.testing.assert_array_equal(new["table"], [0, 1, 2])
    np.testing.assert_allclose(new["w"], [1.0, 0.9, 0.9], rtol=1e-6)


def test_numbers_that_are_no_arrays():
    tx, numbers = freeze(optax.sgd(0.5), where="a"), {"a": -0.0, "b": 1.0}
    new = optax.apply_updates(numbers, tx.update(numbers, tx.init(numbers), numbers)[0])
    assert np.signbit(new["a"])
    assert float(new["b"]) == 0.5


# Memory and time


@pytest.mark.parametrize("name", ["adamw", "injected", "accumulated"])
def test_frozen_leaves_have_no_memory(name):
    """The state is, leaf by leaf, that of a tree without them: its shapes, and so its bytes."""
    state = freeze(TRANSFORMATIONS[name], where=BOTTOM).init(PARAMS)
    alone = TRANSFORMATIONS[name].init({"Dense_1": PARAMS["Dense_1"]})
    kinds = lambda state: sorted((leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves(state))  # noqa: E731
    assert kinds(state) == kinds(alone)
    size = lambda state: sum(leaf.nbytes for leaf in jax.tree.leaves(state))  # noqa: E731
    trained = sum(leaf.size for leaf in jax.tree.leaves(PARAMS["Dense_1"]))
    scalars = sum(leaf.nbytes for leaf in jax.tree.leaves(alone) if leaf.ndim == 0)
    moments = {"adamw": 2, "injected": 2, "accumulated": 3}[name]
    assert size(state) == 4 * trained * moments + scalars
    assert size(TRANSFORMATIONS[name].init(PARAMS)) > 2 * size(state)


def flops(depth, width, batch, where):
    """Of one compiled step, from XLA's cost analysis."""
    model = jaxdl.models.MLP((*[width] * (depth - 1), 10), activation=jax.nn.sigmoid)
    tx = optax.sgd(0.1) if where is None else freeze(optax.sgd(0.1), where=where)
    step = training.make_train_step(training.supervised(model, jaxdl.losses.softmax_cross_entropy), tx)
    data = (jnp.zeros((batch, width)), jnp.zeros(batch, jnp.int32))
    state = training.init_state(model, tx, data[0], key=jax.random.key(0))
    cost = jax.jit(step).lower(state, data).compile().cost_analysis()
    return (cost[0] if isinstance(cost, list) else cost)["flops"]


def test_the_backward_pass_that_only_frozen_layers_need_is_not_computed():
    """With d hidden products of b w w multiply-adds: d forward and 2d - 1 backward, of which none is left."""
    depth, width, batch = 9, 64, 32
    whole, top = (
        flops(depth, width, batch, None),
        flops(depth, width, batch, [f"Dense_{i}/*" for i in range(depth - 1)]),
    )
    product = 2 * batch * width * width
    backward = 2 * (depth - 1) - 1
    assert whole - top == pytest.approx(backward * product, rel=0.05)
    assert top < 0.45 * whole


# A `where` in the chain


def test_patterns_in_the_chain_are_for_the_whole_tree():
    """They act on what is trained of what they choose, be that nothing."""
    for where in (is_kernel, "**/kernel", ("Dense_1/kernel", "Dense_0/kernel")):
        params = train(freeze(optax.chain(optax.sgd(1.0), max_norm(0.5, where=where)), where=BOTTOM))
        assert np.linalg.norm(params["Dense_1"]["kernel"], axis=0).max() <= 0.5 * (1 + 1e-6)
    for where in (is_kernel, "**/kernel", "Dense_0/kernel"):
        tx = freeze(optax.chain(optax.sgd(1.0), max_norm(0.5, where=where)), where=(is_kernel, "Dense_0/bias"))
        free = train(optax.sgd(1.0))
        np.testing.assert_array_equal(train(tx)["Dense_1"]["bias"], free["Dense_1"]["bias"])


def test_a_pattern_in_the_chain_that_matches_nothing_anywhere_is_an_error():
    tx = freeze(optax.chain(optax.sgd(1.0), max_norm(0.5, where="Dense_7/kernel")), where=BOTTOM)
    with pytest.raises(ValueError, match=r"'Dense_7/kernel' matches no leaf\. The paths are: .*Dense_0/kernel"):
        tx.init(PARAMS)


def test_norms_for_clipping_do_not_count_what_is_frozen():
    grads = {"a": jnp.array([3.0, 4.0]), "b": jnp.array([1e6])}
    tx = freeze(clip_by_global_norm(1.0), where="b")
    updates, _ = tx.update(grads, tx.init(grads), grads)
    np.testing.assert_allclose(updates["a"], [0.6, 0.8], rtol=1e-6)


def test_frozen_twice_and_in_a_chain(same_bytes):
    inner = freeze(optax.adam(0.1), where=is_bias)
    found = train_uncompiled(optax.chain(optax.identity(), freeze(inner, where=BOTTOM)))
    for layer, name in (("Dense_0", "kernel"), ("Dense_0", "bias"), ("Dense_1", "bias")):
        same_bytes(found[layer][name], PARAMS[layer][name])
    same_bytes(found["Dense_1"]["kernel"], train_uncompiled(optax.adam(0.1))["Dense_1"]["kernel"])


def test_accumulated_gradients_around(same_bytes):
    tx = optax.MultiSteps(freeze(optax.adam(0.1), where=BOTTOM), 2).gradient_transformation()
    found = train(tx, steps=4)
    same_bytes(found["Dense_0"], PARAMS["Dense_0"])
    assert not np.array_equal(found["Dense_1"]["bias"], PARAMS["Dense_1"]["bias"])


# In training


@pytest.mark.parametrize("engine", ["loop", "chunk", "epoch"])
def test_fit_leaves_frozen_layers_alone(engine, digits_like, same_bytes):
    model = jaxdl.models.MLP((8, 6, 10), activation=jax.nn.sigmoid)
    tx = freeze(optax.adamw(0.05, weight_decay=0.1), where=("Dense_0/*", "**/bias"))
    step = training.make_train_step(
        training.supervised(model, jaxdl.losses.softmax_cross_entropy), tx, regularizer=jaxdl.regularizers.l2(0.1)
    )
    state = training.init_state(model, tx, digits_like[0], key=jax.random.key(0))
    after = training.fit(step, state, digits_like, epochs=2, batch_size=10, engine=engine).state
    for layer, name in (("Dense_0", "kernel"), ("Dense_0", "bias"), ("Dense_1", "bias"), ("Dense_2", "bias")):
        same_bytes(after.params[layer][name], state.params[layer][name])
    for layer in ("Dense_1", "Dense_2"):
        assert np.abs(np.asarray(after.params[layer]["kernel"] - state.params[layer]["kernel"])).max() > 0.01


def test_members_side_by_side(same_bytes):
    params = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), PARAMS)
    found = jax.vmap(lambda params: train(freeze(optax.adam(0.1), where=BOTTOM), params))(params)
    same_bytes(found["Dense_0"], params["Dense_0"])
    one = train(freeze(optax.adam(0.1), where=BOTTOM))
    np.testing.assert_allclose(found["Dense_1"]["kernel"][0], one["Dense_1"]["kernel"], rtol=1e-6)


def test_states_are_saved_as_bytes_and_read_again(same_bytes):
    tx = freeze(optax.adam(0.1), where=BOTTOM)
    state = tx.update(PARAMS, tx.init(PARAMS), PARAMS)[1]
    again = serialization.from_bytes(tx.init(PARAMS), serialization.to_bytes(state))
    same_bytes(again, state)
    same_bytes(tx.update(PARAMS, again, PARAMS)[0], tx.update(PARAMS, state, PARAMS)[0])


def test_optax_finds_the_parts_of_the_state_that_are_shaped_as_parameters():
    tx = freeze(optax.adam(0.1), where=BOTTOM)
    plus = optax.tree_utils.tree_map_params(tx, lambda leaf: leaf + 1, tx.init(PARAMS))
    assert sorted((leaf.ndim, float(leaf.max())) for leaf in jax.tree.leaves(plus)) == [
        (0, 0), (1, 1), (1, 1), (2, 1), (2, 1)
    ]  # fmt: skip


def test_gradients_of_another_dtype_and_an_update_without_parameters():
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), PARAMS)
    tx = freeze(optax.sgd(0.1, momentum=0.9), where=BOTTOM)
    state = tx.init(params)
    for last in (params, None):
        updates, state = tx.update(PARAMS, state, last)
        assert float(jnp.abs(updates["Dense_0"]["kernel"]).max()) == 0
        new = optax.apply_updates(params, updates)
        assert {leaf.dtype for leaf in jax.tree.leaves(new)} == {jnp.dtype(jnp.bfloat16)}


# Errors


def test_a_pattern_that_matches_nothing_and_one_that_leaves_nothing():
    with pytest.raises(ValueError, match=r"where='Dense_9/\*' matches no leaf\. The paths are: Dense_0/bias"):
        freeze(optax.sgd(0.1), where="Dense_9/*").init(PARAMS)
    for where in (None, "**", (BOTTOM, TOP)):
        tx = freeze(optax.sgd(0.1), where=where)
        message = (
            r"where: expected a leaf to be left to train; got .*, which chooses all of them\. Choose fewer, or pass"
        )
        with pytest.raises(ValueError, match=message):
            tx.init(PARAMS)
        with pytest.raises(ValueError, match=message):
            tx.update(PARAMS, optax.sgd(0.1).init(PARAMS), PARAMS)


def test_what_is_no_transformation():
    with pytest.raises(TypeError, match=r"tx: expected an optax\.GradientTransformation; got str"):
        freeze("Dense_0", where=None)  # type: ignore[arg-type]
