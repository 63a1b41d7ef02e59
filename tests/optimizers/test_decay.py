"""L2 in the gradient and decay beside it: the same under plain descent, two methods under Adam."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import regularizers, tree
from jaxdl.optimizers import adam, coupled_l2, decoupled_decay, gradient_descent, momentum, schedules
from tests.optimizers.descent import STEPS, WITHIN, assert_same_path, descend, gradient_of, start_of
from tests.reference import update_rules

RATE, STRENGTH = 0.1, 0.3
PARAMS = {"kernel": jnp.array([[2.0, -3.0], [0.5, 1.0]]), "bias": jnp.array([1.0, -1.0])}
GRADS = {"kernel": jnp.array([[0.1, 0.2], [-4.0, 1e-3]]), "bias": jnp.array([0.5, -0.5])}
# In softmax regression's vector the bias comes first.
KERNELS = np.repeat([0.0, 1.0], [3, 15])
each_dtype = pytest.mark.parametrize("dtype", list(WITHIN))


def transcribed(rule, **hyper):
    problem = "softmax_regression"
    return update_rules.run(rule, start_of(problem), gradient_of(problem), STEPS, mask=KERNELS, **hyper)


def halving(count):
    return schedules.exponential_decay(1.0, 50, 0.5)(jnp.asarray(count, int))


def halving_in_numpy(t):
    return update_rules.exponential(t, 1.0, 50, 0.5)


@each_dtype
@pytest.mark.parametrize("scheduled", [False, True], ids=["constant", "scheduled"])
@pytest.mark.parametrize(
    ("recipe", "rate"), [(gradient_descent, 1.0), (momentum, 0.3), (adam, 0.01)], ids=["descent", "momentum", "adam"]
)
def test_two_hundred_steps_as_in_numpy(recipe, rate, scheduled, dtype):
    """Rate and strength both constant, or both falling."""
    ours = (lambda t: rate * halving(t), lambda t: 0.1 * halving(t)) if scheduled else (rate, 0.1)
    theirs = (lambda t: rate * halving_in_numpy(t), lambda t: 0.1 * halving_in_numpy(t)) if scheduled else (rate, 0.1)
    rule = getattr(update_rules, recipe.__name__)
    paths = []
    for tx, decay in (
        (optax.chain(coupled_l2(ours[1]), recipe(ours[0])), {"l2": theirs[1]}),
        (optax.chain(recipe(ours[0]), decoupled_decay(ours[1], learning_rate=ours[0])), {"decay": theirs[1]}),
    ):
        path = transcribed(rule, rate=theirs[0], **decay)
        assert_same_path(descend(tx, "softmax_regression", dtype), path, dtype)
        assert np.abs(path[-1] - transcribed(rule, rate=theirs[0])[-1]).max() > 1e-3
        paths.append(path)
    if recipe is gradient_descent:
        np.testing.assert_allclose(*paths, atol=1e-12)
    else:
        assert np.abs(paths[0] - paths[1]).max() > 1e-3


def one_step(tx, params=PARAMS, grads=GRADS):
    return optax.apply_updates(params, tx.update(grads, tx.init(params), params)[0])


def test_under_plain_descent_both_shrink_by_one_minus_rate_times_strength():
    """S22: minus, not plus; and biases are left alone."""
    coupled = one_step(optax.chain(coupled_l2(STRENGTH), gradient_descent(RATE)))
    decoupled = one_step(optax.chain(gradient_descent(RATE), decoupled_decay(STRENGTH, learning_rate=RATE)))
    kernel = (1 - RATE * STRENGTH) * np.asarray(PARAMS["kernel"]) - RATE * np.asarray(GRADS["kernel"])
    for new in (coupled, decoupled):
        np.testing.assert_allclose(new["kernel"], kernel, rtol=1e-6)
        np.testing.assert_allclose(new["bias"], [0.95, -0.95], rtol=1e-6)


def test_under_adam_they_are_two_methods():
    """The first step: -eta sign(g + lambda w), against -eta sign(g) - eta lambda w."""
    w, g = np.asarray(PARAMS["kernel"]), np.asarray(GRADS["kernel"])
    coupled = one_step(optax.chain(coupled_l2(STRENGTH), adam(RATE)))
    decoupled = one_step(optax.chain(adam(RATE), decoupled_decay(STRENGTH, learning_rate=RATE)))
    np.testing.assert_allclose(coupled["kernel"], w - RATE * np.sign(g + STRENGTH * w), rtol=1e-5)
    np.testing.assert_allclose(decoupled["kernel"], w - RATE * np.sign(g) - RATE * STRENGTH * w, rtol=1e-5)
    np.testing.assert_allclose(coupled["bias"], decoupled["bias"], rtol=1e-6)


@pytest.mark.parametrize("rate", [RATE, schedules.cosine_decay_schedule(RATE, 20)], ids=["constant", "scheduled"])
def test_decoupled_behind_adam_is_adamw(rate):
    """Biases are not decayed here; optax is told so by its mask."""
    mask = {"kernel": True, "bias": False}
    ours = optax.chain(adam(rate), decoupled_decay(STRENGTH, learning_rate=rate))
    theirs = optax.adamw(rate, weight_decay=STRENGTH, mask=mask)
    left = right = PARAMS
    states = [ours.init(PARAMS), theirs.init(PARAMS)]
    for i in range(15):
        grads = jax.tree.map(lambda g, w, i=i: jnp.sin(i + 1.0) * g + w, GRADS, left)
        updates, states[0] = ours.update(grads, states[0], left)
        left = optax.apply_updates(left, updates)
        updates, states[1] = theirs.update(grads, states[1], right)
        right = optax.apply_updates(right, updates)
    for path, leaf in tree.leaf_paths(left).items():
        np.testing.assert_allclose(leaf, right[path], rtol=1e-5)


def test_the_sgd_of_nielsen():
    """O16: W <- (1 - eta lambda / n) W - eta / m sum of gradients, biases undecayed; n is the training set's size."""
    n, m, eta, strength = 50, 10, 0.5, 5.0
    per_example = np.random.RandomState(0).randn(m, 2, 2)
    tx = optax.chain(coupled_l2(strength / n), gradient_descent(eta))
    grads = {"kernel": jnp.asarray(per_example.mean(0), jnp.float32), "bias": jnp.ones(2)}
    new = one_step(tx, grads=grads)
    w = np.asarray(PARAMS["kernel"], np.float64)
    expected = (1 - eta * strength / n) * w - eta / m * per_example.sum(0)
    np.testing.assert_allclose(new["kernel"], expected, rtol=1e-6)
    np.testing.assert_allclose(new["bias"], [0.5, -1.5], rtol=1e-6)


def test_in_front_it_is_the_gradient_of_the_penalty():
    added, _ = coupled_l2(STRENGTH).update(GRADS, coupled_l2(STRENGTH).init(PARAMS), PARAMS)
    penalty = jax.grad(regularizers.l2(STRENGTH))(PARAMS)
    for path, leaf in tree.leaf_paths(added).items():
        np.testing.assert_allclose(leaf, GRADS[path] + penalty[path], rtol=1e-6)


@pytest.mark.parametrize(
    "where", ["bias", lambda path, leaf: leaf.ndim == 1, ("bias",)], ids=["glob", "callable", "tuple"]
)
def test_the_leaves_of_ones_choice(where):
    for tx, bias in (
        (coupled_l2(1.0, where=where), GRADS["bias"] + PARAMS["bias"]),
        (decoupled_decay(1.0, learning_rate=0.5, where=where), GRADS["bias"] - 0.5 * PARAMS["bias"]),
    ):
        updates, _ = tx.update(GRADS, tx.init(PARAMS), PARAMS)
        np.testing.assert_allclose(updates["bias"], bias, rtol=1e-6)
        np.testing.assert_array_equal(updates["kernel"], GRADS["kernel"])


def test_injected_and_traced_strengths():
    injected = optax.inject_hyperparams(coupled_l2, static_args="where")(STRENGTH)
    state = injected.init(PARAMS)
    assert float(state.hyperparams["strength"]) == pytest.approx(STRENGTH)
    state.hyperparams["strength"] = jnp.asarray(1.0)
    updates, _ = injected.update(GRADS, state, PARAMS)
    np.testing.assert_allclose(updates["kernel"], GRADS["kernel"] + PARAMS["kernel"], rtol=1e-6)

    def kernel(strength, rate):
        tx = decoupled_decay(strength, learning_rate=rate)
        return tx.update(GRADS, tx.init(PARAMS), PARAMS)[0]["kernel"]

    both = jax.jit(jax.vmap(kernel))(jnp.array([0.0, 0.5]), jnp.array([0.1, 0.2]))
    np.testing.assert_allclose(both[0], GRADS["kernel"])
    np.testing.assert_allclose(both[1], GRADS["kernel"] - 0.1 * PARAMS["kernel"], rtol=1e-6)


def test_bfloat16_nan_and_a_strength_of_zero():
    params = {"kernel": jnp.array([[1.0, np.nan, 3.0]], jnp.bfloat16)}
    grads = {"kernel": jnp.array([[0.25, 0.5, 0.5]], jnp.bfloat16)}
    for strength in (0.5, jnp.float32(0.5), schedules.constant_schedule(np.float32(0.5))):
        for tx, expected in (
            (coupled_l2(strength), [[0.75, np.nan, 2.0]]),
            (decoupled_decay(strength, learning_rate=0.5), [[0.0, np.nan, -0.25]]),
        ):
            updates, _ = tx.update(grads, tx.init(params), params)
            assert updates["kernel"].dtype == jnp.bfloat16
            np.testing.assert_array_equal(np.asarray(updates["kernel"], np.float32), expected)
    off = coupled_l2(0.0)
    np.testing.assert_array_equal(off.update(grads, off.init(params), params)[0]["kernel"], grads["kernel"])


def test_arguments_that_make_no_decay():
    with pytest.raises(
        ValueError, match=r"strength: expected one finite number >= 0; got -1\.0\. It multiplies the weights"
    ):
        coupled_l2(-1.0)
    with pytest.raises(
        ValueError, match=r"strength: expected one finite number >= 0; got inf\. It multiplies the weights"
    ):
        decoupled_decay(float("inf"), learning_rate=0.1)
    with pytest.raises(ValueError, match=r"learning_rate: expected one finite number >= 0; got -0\.1\. It multiplies"):
        decoupled_decay(0.1, learning_rate=-0.1)
    for tx in (coupled_l2(0.1), decoupled_decay(0.1, learning_rate=0.1)):
        with pytest.raises(ValueError, match="matches no leaf"):
            tx.init({"bias": jnp.ones(2)})
        with pytest.raises(ValueError, match="requires the current value of parameters"):
            tx.update(PARAMS, tx.init(PARAMS))
