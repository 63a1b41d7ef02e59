"""The recipes against their NumPy transcriptions, and the figures by which the lectures' formulas and optax's part."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import optimizers
from jaxdl.optimizers import adadelta, adagrad, adam, gradient_descent, momentum, nesterov, rmsprop, schedules
from tests.optimizers.descent import PROBLEMS, STEPS, WITHIN, assert_same_path, descend, float64, gradient_of, start_of
from tests.reference import update_rules

# RMSprop with its own eps of 1e-8 comes to oscillate with a vanishing gradient, by which it divides: then any two
# roundings part, in float64 too. With 1e-2 it does not get there. Its own eps has the given gradients below.
CALM = {"rmsprop": {"eps": 1e-2}}
RATES = {
    "gradient_descent": (1.0, 1.0, 0.1), "momentum": (0.3, 0.3, 0.02), "nesterov": (0.3, 0.3, 0.02),
    "adagrad": (0.3, 0.3, 0.3), "rmsprop": (0.003, 0.003, 0.003), "adadelta": (1.0, 1.0, 1.0),
    "adam": (0.01, 0.01, 0.01),
}  # fmt: skip
EACH = [(name, problem, rate) for name, rates in RATES.items() for problem, rate in zip(PROBLEMS, rates, strict=True)]
each_dtype = pytest.mark.parametrize("dtype", list(WITHIN))
each_recipe = pytest.mark.parametrize("name", list(RATES))


def transcribed(name, problem, **hyper):
    """The parameters' path; Nesterov's are the points at which the gradient is taken."""
    if name == "nesterov":
        return update_rules.nesterov(start_of(problem), gradient_of(problem), STEPS, **hyper)[1]
    return update_rules.run(getattr(update_rules, name), start_of(problem), gradient_of(problem), STEPS, **hyper)


@each_dtype
@pytest.mark.parametrize(("name", "problem", "rate"), EACH)
def test_two_hundred_steps_as_in_numpy(name, problem, rate, dtype):
    hyper = CALM.get(name, {})
    ours = descend(getattr(optimizers, name)(rate, **hyper), problem, dtype)
    assert_same_path(ours, transcribed(name, problem, rate=rate, **hyper), dtype)


@each_dtype
@each_recipe
def test_under_a_schedule_of_the_rate(name, dtype):
    """Halved every 40 updates, and nothing before the third."""
    hyper, rate = CALM.get(name, {}), 2 * RATES[name][1]
    stairs = schedules.piecewise_constant_schedule(rate, {40: 0.5, 80: 0.5, 120: 0.5})
    schedule = schedules.join_schedules([schedules.constant_schedule(0.0), stairs], [2])
    ours = descend(getattr(optimizers, name)(schedule, **hyper), "softmax_regression", dtype)

    def in_numpy(t):
        return 0.0 if t < 2 else update_rules.stairs(t - 2, rate, {40: 0.5, 80: 0.5, 120: 0.5})

    assert_same_path(ours, transcribed(name, "softmax_regression", rate=in_numpy, **hyper), dtype)
    np.testing.assert_array_equal(ours[0], ours[2])


HYPER = {
    "adagrad": {"eps": 1e-3}, "rmsprop": {"decay": 0.7, "eps": 0.1}, "adadelta": {"rho": 0.8, "eps": 1e-3},
    "adam": {"b1": 0.7, "b2": 0.95, "eps": 1e-2}, "momentum": {"momentum": 0.5}, "nesterov": {"momentum": 0.5},
}  # fmt: skip


@pytest.mark.parametrize("name", list(HYPER))
def test_every_hyper_parameter_reaches_its_place(name):
    renamed = {"decay_rate" if key == "decay" else key: value for key, value in HYPER[name].items()}
    ours = descend(getattr(optimizers, name)(0.05, **HYPER[name]), "two_layers", "float64")
    theirs = transcribed(name, "two_layers", rate=0.05, **renamed)
    assert_same_path(ours, theirs, "float64")
    assert np.abs(theirs - transcribed(name, "two_layers", rate=0.05)).max() > 1e-2, "not the default's path"


GIVEN = np.random.RandomState(1).randn(STEPS, 12) * np.geomspace(1e-7, 1e4, 12)
GIVEN[:, 3] = 0
GIVEN[::3, 8] = 0
GIVEN[:50, 9] = 0


@each_dtype
@pytest.mark.parametrize("name", [name for name in RATES if name != "nesterov"])
def test_given_gradients_of_eleven_magnitudes_and_zeros(name, dtype):
    """The defaults, entry by entry: steps summed up from 0, relative to the entry's largest value."""
    with float64(dtype == "float64"):
        tx = getattr(optimizers, name)(0.5)
        zeros = jnp.zeros(12, dtype)

        def update(carry, g):
            total, state = carry
            step, state = tx.update(g, state, total)
            return (total + step, state), total + step

        ours = jax.lax.scan(update, (zeros, tx.init(zeros)), jnp.asarray(GIVEN, dtype))[1]
    given = iter(GIVEN)
    theirs = update_rules.run(getattr(update_rules, name), np.zeros(12), lambda theta: next(given), STEPS, rate=0.5)[1:]
    largest = np.abs(theirs).max(0)
    assert np.all((largest > 0) == (np.arange(12) != 3))
    difference = np.abs(np.asarray(ours, np.float64) - theirs)
    assert np.all(difference <= WITHIN[dtype] * largest)


def first_step(tx, gradient):
    params = jnp.zeros(())
    return -float(tx.update(jnp.asarray(gradient), tx.init(params), params)[0])


def test_adagrad_starts_from_nothing():
    """Z-16: the first step for g = 0.1 is eta, not 0.302 eta."""
    assert first_step(adagrad(1.0), 0.1) == pytest.approx(1.0, rel=1e-6)
    assert first_step(optax.adagrad(1.0), 0.1) == pytest.approx(0.1 / np.sqrt(0.11), rel=1e-5)


def test_rmsprop_has_eps_outside_of_the_root():
    """Z-17: for g = 1e-5 the first step is 3.15 eta, not 0.1 eta."""
    assert first_step(rmsprop(1.0), 1e-5) == pytest.approx(1e-5 / (1e-5 * np.sqrt(0.1) + 1e-8), rel=1e-5)
    assert first_step(optax.rmsprop(1.0), 1e-5) == pytest.approx(1e-5 / np.sqrt(1e-11 + 1e-8), rel=1e-5)


def test_rmsprop_starts_uncorrected():
    assert first_step(rmsprop(1.0), 1.0) == pytest.approx(1 / np.sqrt(0.1), rel=1e-6)


def test_the_first_step_of_adadelta_by_default():
    """Root of eps over root of the first average: 1e-3 g / sqrt(0.05 g^2 + 1e-6)."""
    assert first_step(adadelta(), 0.1) == pytest.approx(1e-4 / np.sqrt(0.05 * 0.01 + 1e-6), rel=1e-5)


def test_adadelta_goes_down_where_optax_goes_up():
    """Z-18, on |x|^2 from 3."""

    def after(tx, steps=200):
        params = jnp.ones(3)
        state = tx.init(params)
        for _ in range(steps):
            updates, state = tx.update(2 * params, state, params)
            params = optax.apply_updates(params, updates)
        return float(jnp.sum(params**2))

    assert after(adadelta()) < 1.0
    assert after(optax.adadelta()) > 15.0


@pytest.mark.parametrize("gradient", [1e-4, 1.0, -300.0])
def test_the_first_step_of_adam_is_the_rate(gradient):
    expected = 0.1 * np.sign(gradient) / (1 + 1e-8 / abs(gradient))
    assert first_step(adam(0.1), gradient) == pytest.approx(expected, rel=1e-5)


def test_batch_and_mini_batch_descent_follow_the_mean_loss():
    """O02: the sum over n examples wants an eta n times smaller."""
    x, t = np.random.RandomState(2).randn(2, 30)
    tx, of_sum = gradient_descent(0.3), gradient_descent(0.3 / 30)
    mean_gradient, params = np.mean((0.7 * x - t) * x), jnp.asarray(0.7)
    updates, _ = tx.update(jnp.asarray(mean_gradient), tx.init(params), params)
    assert float(updates) == pytest.approx(-0.3 * np.mean((0.7 * x - t) * x), rel=1e-6)
    assert float(of_sum.update(jnp.asarray(30 * mean_gradient), tx.init(params))[0]) == pytest.approx(
        float(updates), rel=1e-6
    )


@each_recipe
def test_nan_stays_where_it_is(name):
    tx, params = getattr(optimizers, name)(0.1), jnp.ones(3)
    updates, _ = tx.update(jnp.array([1.0, np.nan, 1.0]), tx.init(params), params)
    assert np.isnan(updates).tolist() == [False, True, False]


def test_numbers_outside_of_their_range():
    for name in RATES:
        with pytest.raises(
            ValueError, match=r"learning_rate: expected one finite number >= 0; got -0\.1\. It multiplies"
        ):
            getattr(optimizers, name)(-0.1)
    for recipe in (momentum, nesterov):
        with pytest.raises(
            ValueError, match=r"momentum: expected one finite number >= 0 and <= 1; got 1\.1\. It keeps"
        ):
            recipe(0.1, momentum=1.1)
        recipe(0.1, momentum=1)
    for recipe, argument in ((rmsprop, "decay"), (adadelta, "rho"), (adam, "b1"), (adam, "b2")):
        expected = rf"{argument}: expected one finite number >= 0 and < 1; got 1\. It weighs the average"
        with pytest.raises(ValueError, match=expected):
            recipe(0.1, **{argument: 1})
    for recipe in (rmsprop, adadelta, adam):
        with pytest.raises(ValueError, match=r"eps: expected one finite number > 0; got 0\. It keeps 0 / 0 away"):
            recipe(0.1, eps=0)
    with pytest.raises(ValueError, match=r"eps: expected one finite number >= 0; got -1\. It keeps first steps finite"):
        adagrad(0.1, eps=-1)
    adagrad(0.1, eps=0)


def test_the_hyper_parameters_may_be_traced():
    params, grads = jnp.ones(3), jnp.array([0.1, -1.0, 2.0])

    def step(recipe, names, values):
        tx = recipe(values[0], **dict(zip(names, values[1:], strict=True)))
        state = tx.update(grads, tx.init(params), params)[1]
        return tx.update(grads, state, params)[0]

    for recipe, values in (
        (momentum, {"momentum": 0.5}), (nesterov, {"momentum": 0.5}), (adagrad, {"eps": 0.1}),
        (rmsprop, {"decay": 0.5, "eps": 0.1}), (adadelta, {"rho": 0.5, "eps": 0.1}),
        (adam, {"b1": 0.5, "b2": 0.9, "eps": 0.1}),
    ):  # fmt: skip
        one = jnp.array([0.1, *values.values()])
        both = jax.vmap(partial(step, recipe, list(values)))(jnp.stack([one, one / 2]))
        np.testing.assert_allclose(both[0], step(recipe, values, [0.1, *values.values()]), rtol=1e-5)
        np.testing.assert_allclose(
            both[1], step(recipe, values, [0.05, *(value / 2 for value in values.values())]), rtol=1e-5
        )


def test_the_optimizer_decides_which_minimum_is_found():
    """T37: of the many zeros of (a x - 1)^2 descent from 0 finds the nearest, a / |a|^2; Adam, whose first steps are
    equally long in every direction, finds 1 / sum |a| in each."""
    a = jnp.array([3.0, 1.0])

    def loss(x):
        return (jnp.dot(a, x) - 1) ** 2

    def found(tx, steps):
        def step(carry, _):
            x, state = carry
            updates, state = tx.update(jax.grad(loss)(x), state, x)
            return (optax.apply_updates(x, updates), state), None

        x = jnp.zeros(2)
        return jax.lax.scan(step, (x, tx.init(x)), None, length=steps)[0][0]

    descended, adapted = found(gradient_descent(0.02), 200), found(adam(1e-3), 2000)
    np.testing.assert_allclose([jnp.dot(a, descended), jnp.dot(a, adapted)], 1, atol=1e-4)
    np.testing.assert_allclose(descended, [0.3, 0.1], rtol=1e-3)
    np.testing.assert_allclose(adapted, [0.25, 0.25], rtol=1e-2)
