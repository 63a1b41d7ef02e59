"""Groups of parameters: each leaf in one of them, moved by its optimizer as if the others were not there."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl.optimizers import clip_by_global_norm, freeze, groups, max_norm, proximal_l1
from jaxdl.tree import is_bias, is_kernel

DRAWS = np.random.RandomState(0)
KERNEL_RATE, BIAS_RATE = 0.1, 0.2


def draws(*shape):
    return jnp.asarray(DRAWS.randn(*shape), jnp.float32)


PARAMS = {
    "Dense_0": {"kernel": draws(4, 3), "bias": draws(3)},
    "Dense_1": {"kernel": draws(3, 2), "bias": draws(2)},
}


def train(tx, params=PARAMS, steps=5, **extra):
    """The parameters after some updates with fixed random gradients."""
    gradients, state, update = np.random.RandomState(1), tx.init(params), jax.jit(tx.update)
    for _ in range(steps):
        grads = jax.tree.map(lambda leaf: jnp.asarray(gradients.randn(*leaf.shape), leaf.dtype), params)
        updates, state = update(grads, state, params, **extra)
        params = optax.apply_updates(params, updates)
    return params


def momentum(rate):
    return optax.sgd(rate, momentum=0.9)


def test_separate_rates_for_weights_and_biases():
    """O12: v <- 0.9 v + g, w <- w - alpha_w v, b <- b - alpha_b v, in NumPy."""
    found = train(groups((is_kernel, momentum(KERNEL_RATE)), (is_bias, momentum(BIAS_RATE))), steps=20)
    gradients = np.random.RandomState(1)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), PARAMS)
    velocity = jax.tree.map(np.zeros_like, params)
    rate = {"kernel": KERNEL_RATE, "bias": BIAS_RATE}
    for _ in range(20):
        grads = jax.tree.map(lambda leaf: gradients.randn(*leaf.shape), params)
        for layer in params:
            for name in params[layer]:
                velocity[layer][name] = 0.9 * velocity[layer][name] + grads[layer][name]
                params[layer][name] -= rate[name] * velocity[layer][name]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), found, params)


def test_equal_optimizers_in_groups_are_one_optimizer(same_bytes):
    """Elementwise rules do not see which group a leaf is in; the state of a leaf is that of its group."""
    one = train(optax.adam(0.1))
    same_bytes(train(groups(("Dense_0/*", optax.adam(0.1)), ("Dense_1/*", optax.adam(0.1)))), one)
    same_bytes(train(groups(("Dense_0/*", optax.adam(0.1)), rest=optax.adam(0.1))), one)
    same_bytes(train(groups((("**/kernel", "Dense_0/bias"), optax.adam(0.1)), rest=optax.adam(0.1))), one)


def test_leaves_of_the_rest_may_stay_without_memory(same_bytes):
    tx = groups(("Dense_1/*", optax.adam(0.1)), rest=optax.set_to_zero())
    found = train(tx)
    same_bytes(found["Dense_0"], PARAMS["Dense_0"])
    same_bytes(found["Dense_1"], train(optax.adam(0.1))["Dense_1"])
    shapes = sorted(leaf.shape for leaf in jax.tree.leaves(tx.init(PARAMS)))
    assert shapes == [(), (2,), (2,), (3, 2), (3, 2)]


def test_a_rest_that_is_not_needed_is_not_started():
    tx = groups((is_kernel, optax.sgd(0.1)), (is_bias, optax.sgd(0.1)), rest=max_norm(1.0))
    jax.tree.map(np.testing.assert_array_equal, train(tx), train(optax.sgd(0.1)))


def test_norms_for_clipping_are_those_of_the_group():
    grads = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 100.0), PARAMS)
    clipped = optax.chain(clip_by_global_norm(1.0), optax.scale(-1.0))
    tx = groups((is_kernel, clipped), (is_bias, optax.sgd(1.0)))
    updates, _ = tx.update(grads, tx.init(PARAMS), PARAMS)
    kernels = [np.asarray(updates[layer]["kernel"]) for layer in updates]
    assert np.sqrt(sum(np.square(kernel).sum() for kernel in kernels)) == pytest.approx(1.0, rel=1e-6)
    np.testing.assert_array_equal(updates["Dense_1"]["bias"], [-100, -100])


def test_schedules_and_injected_rates_inside():
    """Rates 1/(1+n) for kernels and, injected, 2/(1+n) for biases, n = updates done before."""
    injected = optax.inject_hyperparams(optax.sgd)(learning_rate=lambda n: 2 / (1 + n))
    tx = groups((is_kernel, optax.sgd(lambda n: 1 / (1 + n))), (is_bias, injected))
    ones, state, params = jax.tree.map(jnp.ones_like, PARAMS), tx.init(PARAMS), PARAMS
    for _ in range(3):
        updates, state = tx.update(ones, state, params)
        params = optax.apply_updates(params, updates)
    for layer in PARAMS:
        for name, size in (("kernel", 1), ("bias", 2)):
            moved = PARAMS[layer][name] - params[layer][name]
            np.testing.assert_allclose(moved, np.full(moved.shape, size * (1 + 1 / 2 + 1 / 3)), rtol=1e-5)


# Constraints: `where` inside of a group chooses among the leaves of the group


@pytest.mark.parametrize("where", [is_kernel, "**/kernel", "Dense_0/kernel"])
def test_constraints_inside_of_a_group_hold_there(where):
    bounded = optax.chain(optax.sgd(1.0), max_norm(0.5, where=where))
    params = train(groups(("Dense_0/*", bounded), rest=optax.sgd(1.0)))
    assert np.linalg.norm(params["Dense_0"]["kernel"], axis=0).max() <= 0.5 * (1 + 1e-6)
    free = train(optax.sgd(1.0))
    jax.tree.map(np.testing.assert_array_equal, params["Dense_1"], free["Dense_1"])
    np.testing.assert_array_equal(params["Dense_0"]["bias"], free["Dense_0"]["bias"])


@pytest.mark.parametrize("where", [is_kernel, "**/kernel"])
def test_constraints_that_find_nothing_in_their_group_say_so(where):
    for constraint in (max_norm(0.5, where=where), proximal_l1(0.1, learning_rate=0.1, where=where)):
        tx = groups((is_bias, optax.chain(optax.sgd(0.1), constraint)), rest=optax.sgd(0.1))
        with pytest.raises(ValueError, match=r"matches no leaf\. The paths are: Dense_0/bias, Dense_1/bias"):
            tx.init(PARAMS)


def test_inside_of_freeze_a_group_may_be_frozen_altogether(same_bytes):
    tx = freeze(groups((is_kernel, momentum(0.1)), (is_bias, momentum(0.2))), where="**/bias")
    found = train(tx)
    for layer in PARAMS:
        same_bytes(found[layer]["bias"], PARAMS[layer]["bias"])
        np.testing.assert_array_equal(found[layer]["kernel"], train(momentum(0.1))[layer]["kernel"])
    assert len(jax.tree.leaves(tx.init(PARAMS))) == 2


def test_accumulated_gradients_in_front_and_inside(same_bytes):
    split = groups((is_kernel, momentum(0.1)), (is_bias, momentum(0.2)))
    whole = train(optax.MultiSteps(split, 2).gradient_transformation(), steps=6)
    inside = groups(
        (is_kernel, optax.MultiSteps(momentum(0.1), 2).gradient_transformation()),
        (is_bias, optax.MultiSteps(momentum(0.2), 2).gradient_transformation()),
    )
    same_bytes(whole, train(inside, steps=6))
    moved = np.abs(np.asarray(whole["Dense_0"]["kernel"] - PARAMS["Dense_0"]["kernel"]))
    assert moved.min() > 1e-3


# What an optimizer may ask for beside the gradients


def quadratic(params):
    """Coupled through its last term, so that the minimum over some leaves depends on the others."""
    flat, _ = jax.flatten_util.ravel_pytree(params)
    return jnp.sum(jnp.arange(1.0, len(flat) + 1) * jnp.square(flat - 1)) / 2 + jnp.square(flat.sum()) / 2


@pytest.mark.parametrize("wrap", ["groups", "freeze"])
def test_lbfgs_of_a_part_finds_the_minimum_over_that_part(wrap, same_bytes):
    """The gradient with respect to the part is 0 there, by NumPy; the others keep their bytes."""
    lbfgs = optax.lbfgs()
    tx = {
        "groups": groups(("Dense_1/*", lbfgs), rest=optax.set_to_zero()),
        "freeze": freeze(lbfgs, where="Dense_0/*"),
    }[wrap]

    def step(carry, _):
        params, state = carry
        value, grads = jax.value_and_grad(quadratic)(params)
        updates, state = tx.update(grads, state, params, value=value, grad=grads, value_fn=quadratic)
        return (optax.apply_updates(params, updates), state), value

    (params, _), values = jax.jit(lambda params: jax.lax.scan(step, (params, tx.init(params)), length=30))(PARAMS)
    same_bytes(params["Dense_0"], PARAMS["Dense_0"])
    assert np.all(np.diff(values) <= 1e-4)
    flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)]).astype(np.float64)
    slope = np.arange(1, len(flat) + 1) * (flat - 1) + flat.sum()
    assert np.abs(slope[15:]).max() < 1e-3 < 1 < np.abs(slope[:15]).max()


def test_a_value_fn_with_further_arguments_gets_them():
    def value_fn(params, batch):
        return quadratic(params) * batch

    tx = groups(("Dense_1/*", optax.lbfgs()), rest=optax.set_to_zero())
    value, grads = jax.value_and_grad(value_fn)(PARAMS, 2.0)
    updates, _ = tx.update(
        grads, tx.init(PARAMS), PARAMS, value=value, grad=grads, value_fn=value_fn, batch=jnp.float32(2.0)
    )
    assert float(value_fn(optax.apply_updates(PARAMS, updates), 2.0)) < float(value)


def test_what_reduces_on_a_plateau_sees_the_value():
    shrinking = optax.chain(optax.sgd(1.0), optax.contrib.reduce_on_plateau(factor=0.5, patience=1))
    tx = groups((is_kernel, shrinking), rest=optax.sgd(1.0))
    ones, state, sizes = jax.tree.map(jnp.ones_like, PARAMS), tx.init(PARAMS), []
    for _ in range(4):
        updates, state = tx.update(ones, state, PARAMS, value=jnp.float32(1.0))
        sizes.append((float(-updates["Dense_0"]["kernel"][0, 0]), float(-updates["Dense_0"]["bias"][0])))
    assert [bias for _, bias in sizes] == [1.0] * 4
    assert sizes[0][0] == 1.0
    assert sizes[-1][0] < 1.0


# Contracts


def test_under_vmap_over_rates():
    def after(rate):
        tx = groups((is_kernel, optax.sgd(rate)), (is_bias, optax.sgd(2 * rate)))
        grads = jax.tree.map(jnp.ones_like, PARAMS)
        return tx.update(grads, tx.init(PARAMS), PARAMS)[0]

    updates = jax.vmap(after)(jnp.array([0.1, 0.2]))
    np.testing.assert_allclose(updates["Dense_0"]["kernel"][:, 0, 0], [-0.1, -0.2], rtol=1e-6)
    np.testing.assert_allclose(updates["Dense_0"]["bias"][:, 0], [-0.2, -0.4], rtol=1e-6)


def test_bfloat16_stays():
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), PARAMS)
    found = train(groups((is_kernel, momentum(0.1)), (is_bias, momentum(0.2))), params)
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype(jnp.bfloat16)}


def test_optax_finds_the_parts_of_the_state_that_are_shaped_as_parameters():
    tx = groups((is_kernel, optax.adam(0.1)), (is_bias, optax.sgd(0.1, momentum=0.9)))
    state = tx.init(PARAMS)
    plus = optax.tree_utils.tree_map_params(tx, lambda leaf: leaf + 1, state)
    counts = [leaf for leaf in jax.tree.leaves(plus) if leaf.ndim == 0]
    assert [int(count) for count in counts] == [0]
    assert all(np.all(np.asarray(leaf) == 1) for leaf in jax.tree.leaves(plus) if leaf.ndim > 0)


# Errors


def test_leaves_that_two_groups_claim_are_listed_with_the_groups():
    tx = groups(("**/kernel", optax.sgd(0.1)), ("Dense_0/*", optax.sgd(0.1)), (is_bias, optax.sgd(0.1)))
    message = (
        r"pairs: expected every leaf in one group; got Dense_0/bias in group 1 \('Dense_0/\*'\) and group 2 "
        r"\(is_bias\), Dense_0/kernel in group 0 \('\*\*/kernel'\) and group 1 \('Dense_0/\*'\)\. Make the patterns"
    )
    with pytest.raises(ValueError, match=message):
        tx.init(PARAMS)


def test_leaves_that_no_group_claims_are_listed():
    tx = groups(("**/kernel", optax.sgd(0.1)), ("Dense_0/bias", optax.sgd(0.1)))
    message = r"pairs: expected every leaf in a group, since rest is None; got none for Dense_1/bias\. Add a pair"
    with pytest.raises(ValueError, match=message):
        tx.init(PARAMS)
    fine = groups(("**/kernel", optax.sgd(0.1)), ("Dense_0/bias", optax.sgd(0.1)), rest=optax.sgd(0.1))
    with pytest.raises(ValueError, match=message):
        tx.update(PARAMS, fine.init(PARAMS), PARAMS)


def test_a_pattern_that_matches_nothing_lists_what_there_is():
    tx = groups(("**/kernel", optax.sgd(0.1)), ("**/scale", optax.sgd(0.1)), rest=optax.sgd(0.1))
    with pytest.raises(ValueError, match=r"where='\*\*/scale' matches no leaf\. The paths are: Dense_0/bias, Dense"):
        tx.init(PARAMS)


def test_predicates_see_the_parameters_and_not_their_gradients():
    params = {"a": jnp.ones(2, jnp.bfloat16), "b": jnp.ones(2, jnp.float32)}
    narrow = lambda path, leaf: leaf.dtype == jnp.bfloat16  # noqa: E731
    tx = groups((narrow, optax.sgd(1.0)), rest=optax.set_to_zero())
    grads = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params)
    updates, _ = tx.update(grads, tx.init(params), params)
    np.testing.assert_array_equal(updates["a"], [-1, -1])
    np.testing.assert_array_equal(updates["b"], [0, 0])


def test_arguments_that_are_no_groups():
    with pytest.raises(ValueError, match=r"pairs: expected at least one \(where, tx\); got none"):
        groups(rest=optax.sgd(0.1))
    with pytest.raises(TypeError, match=r"pairs: expected pairs \(where, tx\); got str\. Write groups"):
        groups("**/kernel", optax.sgd(0.1))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"tx: expected an optax\.GradientTransformation; got float"):
        groups(("**/kernel", 0.1))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"tx: expected an optax\.GradientTransformation; got float"):
        groups(("**/kernel", optax.sgd(0.1)), rest=0.1)  # type: ignore[arg-type]
