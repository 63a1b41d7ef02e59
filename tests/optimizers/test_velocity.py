"""Momentum and Nesterov under schedules of rate and momentum, and the theta behind the look-ahead point."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl.optimizers import (
    coupled_l2,
    freeze,
    gradient_descent,
    groups,
    max_norm,
    momentum,
    nesterov,
    nesterov_eval_params,
    schedules,
    staged_unfreezing,
)
from tests.optimizers.descent import PROBLEMS, STEPS, WITHIN, assert_same_path, descend, gradient_of, start_of
from tests.reference import update_rules

RATES = dict(zip(PROBLEMS, (0.3, 0.3, 0.02), strict=True))
each_dtype = pytest.mark.parametrize("dtype", list(WITHIN))
each_problem = pytest.mark.parametrize("problem", PROBLEMS)


def ramp(count):
    # As int64 where float64 is enabled: of an int32 optax takes the quotient in float32 there, too.
    return schedules.linear_schedule(0.5, 0.99, 60)(jnp.asarray(count, int))


def ramp_in_numpy(t):
    return update_rules.linear(t, 0.5, 0.99, 60)


def falling(problem):
    """Schedules of a rate that halves at the 100th update, here and in NumPy."""
    rate = RATES[problem]
    return (
        schedules.piecewise_constant_schedule(rate, {100: 0.5}),
        lambda t: update_rules.stairs(t, rate, {100: 0.5}),
    )


@each_dtype
@each_problem
def test_momentum_under_schedules_of_both(problem, dtype):
    rate, in_numpy = falling(problem)
    theirs = update_rules.run(
        update_rules.momentum, start_of(problem), gradient_of(problem), STEPS, rate=in_numpy, momentum=ramp_in_numpy
    )
    assert_same_path(descend(momentum(rate, momentum=ramp), problem, dtype), theirs, dtype)


@each_dtype
@each_problem
def test_nesterov_under_schedules_of_both(problem, dtype):
    rate, in_numpy = falling(problem)
    tx = nesterov(rate, momentum=ramp)
    theta, points = update_rules.nesterov(
        start_of(problem), gradient_of(problem), STEPS, rate=in_numpy, momentum=ramp_in_numpy
    )
    assert_same_path(descend(tx, problem, dtype), points, dtype)
    assert_same_path(descend(tx, problem, dtype, evaluated=nesterov_eval_params), theta, dtype)
    assert np.abs(theta - points).max() > 0.01


@pytest.mark.parametrize("problem", ["two_layers"])
def test_nesterov_of_a_constant_momentum_gives_theta(problem):
    theta, _ = update_rules.nesterov(start_of(problem), gradient_of(problem), STEPS, rate=0.02)
    ours = descend(nesterov(0.02), problem, "float64", evaluated=nesterov_eval_params)
    assert_same_path(ours, theta, "float64")


def steps_along_one(tx, num_steps):
    """Sizes of the steps down a gradient of 1."""
    params = jnp.zeros(())
    state, sizes = tx.init(params), []
    for _ in range(num_steps):
        step, state = tx.update(jnp.ones(()), state, params)
        sizes.append(-float(step))
    return sizes


def test_the_rate_is_inside_of_the_velocity():
    """Z-14: after the rate's drop from 0.1 to 0.01 the velocity of 1 stays, but for friction; optax's step is 0.1."""
    drop = schedules.piecewise_constant_schedule(0.1, {300: 0.1})
    ours, theirs = (steps_along_one(tx, 301) for tx in (momentum(drop), optax.sgd(drop, momentum=0.9)))
    assert ours[299] == pytest.approx(1.0, rel=1e-5)
    assert ours[300] == pytest.approx(0.9 + 0.01, rel=1e-5)
    assert theirs[300] == pytest.approx(0.1, rel=1e-5)


def test_for_a_constant_rate_they_are_those_of_optax():
    assert steps_along_one(momentum(0.1), 20) == pytest.approx(steps_along_one(optax.sgd(0.1, momentum=0.9), 20))
    theirs = steps_along_one(optax.sgd(0.1, momentum=0.9, nesterov=True), 20)
    assert steps_along_one(nesterov(0.1), 20) == pytest.approx(theirs)
    assert steps_along_one(momentum(0.1), 20) != pytest.approx(theirs, rel=1e-2), (
        "Z-15: the look-ahead point is another"
    )


def test_no_momentum_is_descent_and_full_momentum_loses_nothing():
    for tx in (momentum(0.1, momentum=0.0), nesterov(0.1, momentum=0.0)):
        assert steps_along_one(tx, 5) == steps_along_one(gradient_descent(0.1), 5)
    assert steps_along_one(momentum(0.1, momentum=1.0), 5) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


def test_a_momentum_changed_by_hand_between_updates():
    """gamma of the look-ahead that was taken, whatever gamma is set for the next."""
    injected = optax.inject_hyperparams(nesterov)(0.1, momentum=0.5)
    gammas, theta, v = [0.5, 0.5, 0.8, 0.8, 0.2, 0.2], 1.0, 0.0
    params = jnp.asarray(1.0)
    state = injected.init(params)
    for t in range(5):
        np.testing.assert_allclose(params, theta - gammas[t] * v, rtol=1e-6)
        v = gammas[t] * v + 0.1 * 3 * (theta - gammas[t] * v)
        theta = theta - v
        state.hyperparams["momentum"] = jnp.asarray(gammas[t + 1])
        updates, state = injected.update(3 * params, state, params)
        params = optax.apply_updates(params, updates)
        np.testing.assert_allclose(nesterov_eval_params(state, params), theta, rtol=1e-5)


KERNEL = {"dense": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}, "scale": jnp.ones(4)}


def is_kernel_mask(params):
    return jax.tree_util.tree_map_with_path(lambda path, _: "kernel" in str(path), params)


def after_two_updates(tx):
    params, state = KERNEL, tx.init(KERNEL)
    for _ in range(2):
        updates, state = tx.update(params, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def theta_after_two_updates(gamma=0.9, rate=0.1):
    theta, v = 1.0, 0.0
    for _ in range(2):
        v = gamma * v + rate * (theta - gamma * v)
        theta = theta - v
    return theta


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tx: optax.chain(optax.clip(9.0), tx, optax.identity()),
        lambda tx: optax.inject_hyperparams(lambda rate: nesterov(rate))(rate=0.1),
        lambda tx: optax.apply_if_finite(optax.chain(coupled_l2(0.0), tx), 3),
        lambda tx: optax.MultiSteps(tx, 1).gradient_transformation(),
        lambda tx: optax.chain(optax.chain(tx), max_norm(9.0)),
    ],
    ids=["chain", "injected", "if finite", "accumulated", "constrained"],
)
def test_theta_is_found_inside_of_wrappers(wrap):
    params, state = after_two_updates(wrap(nesterov(0.1)))
    for leaf in jax.tree.leaves(nesterov_eval_params(state, params)):
        np.testing.assert_allclose(leaf, theta_after_two_updates(), rtol=1e-6)
    assert abs(float(params["scale"][0]) - theta_after_two_updates()) > 0.05


def test_theta_where_only_some_leaves_have_nesterov():
    tx = optax.partition(
        {"fast": nesterov(0.1), "slow": nesterov(0.1, momentum=0.5), "none": gradient_descent(0.1)},
        {"dense": {"kernel": "fast", "bias": "slow"}, "scale": "none"},
    )
    params, state = after_two_updates(tx)
    theta = nesterov_eval_params(state, params)
    np.testing.assert_allclose(theta["dense"]["kernel"], theta_after_two_updates(), rtol=1e-6)
    np.testing.assert_allclose(theta["dense"]["bias"], theta_after_two_updates(0.5), rtol=1e-6)
    np.testing.assert_array_equal(theta["scale"], params["scale"])


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tx: freeze(tx, where="scale"),
        lambda tx: staged_unfreezing(tx, stages=["dense/kernel", "dense/bias"])[1],
        lambda tx: groups(("dense/*", freeze(tx, where="dense/bias")), ("scale", gradient_descent(0.1))),
        lambda tx: freeze(groups(("dense/kernel", tx), rest=optax.set_to_zero()), where="scale"),
    ],
    ids=["frozen", "staged", "frozen in a group", "groups, frozen"],
)
def test_theta_where_other_leaves_are_frozen(wrap):
    params, state = after_two_updates(wrap(nesterov(0.1)))
    theta = nesterov_eval_params(state, params)
    np.testing.assert_allclose(theta["dense"]["kernel"], theta_after_two_updates(), rtol=1e-6)
    np.testing.assert_array_equal(theta["scale"], params["scale"])


def test_theta_under_a_mask_that_ends_above_the_leaves():
    tx = optax.masked(nesterov(0.1), {"dense": False, "scale": True})
    params = {"dense": {"kernel": jnp.ones((2, 3))}, "scale": jnp.ones(4)}
    updates, state = tx.update(params, tx.init(params), params)
    params = optax.apply_updates(params, updates)
    theta = nesterov_eval_params(state, params)
    np.testing.assert_allclose(theta["scale"], 0.9, rtol=1e-6)
    np.testing.assert_array_equal(theta["dense"]["kernel"], params["dense"]["kernel"])


def test_theta_of_numbers_that_are_no_arrays():
    tx = nesterov(0.1)
    assert float(nesterov_eval_params(tx.init({"w": 2.0}), {"w": 2.0})["w"]) == 2.0


def test_theta_of_bfloat16_and_under_jit_and_vmap():
    params = {"w": jnp.full((5, 2), 1.0, jnp.bfloat16)}

    def theta(rate, params):
        tx = nesterov(rate)
        updates, state = tx.update(params, tx.init(params), params)
        return nesterov_eval_params(state, optax.apply_updates(params, updates))["w"]

    rates = jnp.array([0.125, 0.25])
    found = jax.jit(jax.vmap(theta, in_axes=(0, None)))(rates, params)
    assert found.dtype == jnp.bfloat16
    assert found.shape == (2, 5, 2)
    np.testing.assert_allclose(np.asarray(found[:, 0, 0], np.float32), [0.875, 0.75], rtol=2**-7)


def test_states_without_nesterov_and_with_two():
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    for tx in (momentum(0.1), optax.adam(0.1)):
        with pytest.raises(
            ValueError, match=r"opt_state: expected.*nesterov in it; found none in tuple\. Parameters of"
        ):
            nesterov_eval_params(tx.init(params), params)
    twice = optax.chain(optax.masked(nesterov(0.1), {"kernel": True, "bias": False}), nesterov(0.1))
    with pytest.raises(ValueError, match=r"opt_state: expected one nesterov a leaf; got several for kernel\. Put one"):
        nesterov_eval_params(twice.init(params), params)
