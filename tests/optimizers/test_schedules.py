"""Schedules against NumPy at counts near and far, and the plateau's scale against a transcription."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl.optimizers import gradient_descent, momentum, reduce_on_plateau, schedules
from tests.optimizers.descent import float64
from tests.reference import update_rules

COUNTS = [0, 1, 2, 3, 9, 10, 99, 100, 249, 250, 499, 500, 750, 999, 10_000, 100_000, 1_000_000]
SCHEDULES = {
    "inverse_time_decay": (
        schedules.inverse_time_decay(0.5, 100), lambda t: update_rules.inverse_time(t, 0.5, 100)
    ),
    "inverse_sqrt_decay": (schedules.inverse_sqrt_decay(0.5), lambda t: update_rules.inverse_sqrt(t, 0.5)),
    "exponential_approach": (
        schedules.exponential_approach(0.5, 0.99, 300), lambda t: update_rules.exponential_approach(t, 0.5, 0.99, 300)
    ),
    "an approach from above": (
        schedules.exponential_approach(0.9, 0.1, 50), lambda t: update_rules.exponential_approach(t, 0.9, 0.1, 50)
    ),
    "sutskever_momentum": (schedules.sutskever_momentum(0.99), lambda t: update_rules.sutskever(t, 0.99)),
    "sutskever_momentum, period 3": (
        schedules.sutskever_momentum(0.9, period=3), lambda t: update_rules.sutskever(t, 0.9, period=3)
    ),
    "constant_schedule": (schedules.constant_schedule(0.3), lambda t: 0.3),
    "linear_schedule": (schedules.linear_schedule(0.5, 0.99, 400), lambda t: update_rules.linear(t, 0.5, 0.99, 400)),
    "exponential_decay": (
        schedules.exponential_decay(0.5, 5000, 0.9), lambda t: update_rules.exponential(t, 0.5, 5000, 0.9)
    ),
    "piecewise_constant_schedule": (
        schedules.piecewise_constant_schedule(0.5, {10: 0.1, 250: 0.5}),
        lambda t: update_rules.stairs(t, 0.5, {10: 0.1, 250: 0.5}),
    ),
    "cosine_decay_schedule": (
        schedules.cosine_decay_schedule(0.5, 1000, alpha=0.1),
        lambda t: update_rules.warmup_cosine(t, 0.0, 0.5, 0.05, 0, 1000),
    ),
    "warmup_cosine_decay_schedule": (
        schedules.warmup_cosine_decay_schedule(0.1, 0.5, 100, 1000, end_value=0.01),
        lambda t: update_rules.warmup_cosine(t, 0.1, 0.5, 0.01, 100, 1000),
    ),
    "join_schedules": (
        schedules.join_schedules([schedules.constant_schedule(0.2), schedules.inverse_sqrt_decay(0.5)], [100]),
        lambda t: 0.2 if t < 100 else update_rules.inverse_sqrt(t - 100, 0.5),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_values_as_in_numpy(name):
    """Of a number, of an array under jit, and of counts side by side."""
    schedule, in_numpy = SCHEDULES[name]
    expected = np.array([in_numpy(t) for t in COUNTS])
    np.testing.assert_allclose([schedule(t) for t in COUNTS], expected, rtol=1e-5)
    counts = jnp.asarray(COUNTS, jnp.int32)
    np.testing.assert_allclose(jax.jit(jax.vmap(schedule))(counts), expected, rtol=1e-5)


def test_every_schedule_is_tested():
    assert {name.split(",")[0] for name in SCHEDULES} >= set(schedules.__all__)


def test_the_published_values():
    """Halves, quarters and sixths of Sutskever et al., and the released dropout networks' 100,000 steps."""
    ramp = schedules.sutskever_momentum(0.999)
    np.testing.assert_allclose(
        [ramp(t) for t in (0, 249, 250, 500, 750)], [1 / 2, 1 / 2, 3 / 4, 5 / 6, 7 / 8], rtol=1e-6
    )
    assert float(ramp(10**6)) == pytest.approx(0.999, rel=1e-6)
    assert float(schedules.sutskever_momentum(0.0)(0)) == 0.0
    released = schedules.exponential_approach(0.5, 0.99, 100_000)
    assert float(released(0)) == 0.5
    assert float(released(100_000)) == pytest.approx(0.99 - 0.49 / np.e, rel=1e-6)
    assert float(schedules.inverse_time_decay(1.0, 10_000)(10_000)) == pytest.approx(0.5, rel=1e-6)
    assert float(schedules.inverse_sqrt_decay(0.1)(0)) == pytest.approx(0.1, rel=1e-6)


OWN = {
    "inverse_time_decay": lambda a: schedules.inverse_time_decay(a, 10 * a),
    "inverse_sqrt_decay": lambda a: schedules.inverse_sqrt_decay(a),
    "exponential_approach": lambda a: schedules.exponential_approach(a, 2 * a, 10 * a),
    "sutskever_momentum": lambda a: schedules.sutskever_momentum(a, period=2),
}


@pytest.mark.parametrize("name", list(OWN))
def test_precision_the_last_count_and_traced_arguments(name):
    make = OWN[name]
    assert make(0.5)(jnp.asarray(7, jnp.int32)).dtype == jnp.float32
    last = np.iinfo(np.int32).max
    assert np.isfinite(make(0.5)(jnp.asarray(last, jnp.int32))), "where the count of a state stays"
    both = jax.vmap(lambda a: make(a)(5))(jnp.array([0.25, 0.5]))
    np.testing.assert_allclose(both, [make(0.25)(5), make(0.5)(5)], rtol=1e-6)
    with float64():
        assert make(0.5)(jnp.asarray(7, jnp.int32)).dtype == jnp.float64


@pytest.mark.parametrize(
    ("tx", "expected"),
    [
        (gradient_descent(schedules.inverse_sqrt_decay(0.5)), [0.5, 0.5 / np.sqrt(2), 0.5 / np.sqrt(3)]),
        (momentum(1.0, momentum=lambda t: t / 8), [1, 1 + 1 / 8, 1 + (1 + 1 / 8) / 4]),
    ],
    ids=["rate", "momentum"],
)
def test_a_schedule_is_called_with_the_number_of_updates_before(tx, expected):
    params = jnp.zeros(())
    state, steps = tx.init(params), []
    for _ in range(3):
        step, state = tx.update(jnp.ones(()), state, params)
        steps.append(-float(step))
    assert steps == pytest.approx(expected)


def test_the_scale_falls_where_the_value_rests():
    """Z-27: behind the recipe, with value=; the recipe's own rate stays what it is."""
    values = [3.0, 2.0, 2.0, 1.9999, 2.5, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.9, np.nan, np.nan, np.nan, 0.5]
    tx = optax.chain(gradient_descent(0.1), reduce_on_plateau(factor=0.5, patience=3, rtol=1e-3))
    params = jnp.ones(())
    state, steps = tx.init(params), []
    for value in values:
        step, state = tx.update(jnp.ones(()), state, params, value=jnp.asarray(value), grad=params, value_fn=jnp.sum)
        steps.append(-float(step))
    expected = update_rules.plateau_scales(values, factor=0.5, patience=3, rtol=1e-3)
    np.testing.assert_allclose(steps, 0.1 * expected, rtol=1e-6)
    assert expected[-1] == 0.5**3


def test_arguments_that_make_no_schedule():
    for make in (lambda a: schedules.inverse_time_decay(a, 10), schedules.inverse_sqrt_decay):
        with pytest.raises(
            ValueError, match=r"init_value: expected one finite number >= 0; got -1\. It is the value of"
        ):
            make(-1)
    for make in (lambda a: schedules.inverse_time_decay(1.0, a), lambda a: schedules.exponential_approach(0.5, 0.9, a)):
        with pytest.raises(
            ValueError, match=r"time_constant: expected one finite number > 0; got 0\. It is the number of"
        ):
            make(0)
    with pytest.raises(
        ValueError, match=r"init_value: expected one finite number >= 0; got -0\.5\. It is the value of"
    ):
        schedules.exponential_approach(-0.5, 0.9, 10)
    with pytest.raises(
        ValueError, match=r"end_value: expected one finite number >= 0; got nan\. It is what the values"
    ):
        schedules.exponential_approach(0.5, float("nan"), 10)
    with pytest.raises(ValueError, match=r"max_value: expected one finite number >= 0 and <= 1; got 1\.5\. It bounds"):
        schedules.sutskever_momentum(1.5)
    with pytest.raises(ValueError, match=r"period: expected a whole number >= 1; got 0\. The paper's is 250 updates"):
        schedules.sutskever_momentum(0.9, period=0)
