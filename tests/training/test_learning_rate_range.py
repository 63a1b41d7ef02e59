"""The range test on a quadratic, whose losses are products known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import training
from jaxdl.training import learning_rate_range

CURVATURE = 4.0
DATA = jnp.zeros((8, 1))


def quadratic(params, batch, *, model_state, key, train):
    """c w^2 / 2: descent at rate r multiplies w by 1 - r c, and is lost where r > 2 / c."""
    return CURVATURE / 2 * params["w"] ** 2 * jnp.ones(len(batch)), training.Aux({}, {})


def state():
    return training.make_state({"w": jnp.ones(())}, optax.sgd(1.0), key=jax.random.key(0))


def found(**options):
    options = dict(batch_size=4, min_rate=1e-4, max_rate=100.0, num_steps=61) | options
    return learning_rate_range(quadratic, optax.sgd, state(), DATA, **options)


def test_rates_grow_by_a_factor_and_losses_are_those_of_descent():
    result = found()
    np.testing.assert_allclose(result.rates, np.geomspace(1e-4, 100, 61), rtol=1e-9)
    w = np.cumprod(np.concatenate([[1.0], 1 - CURVATURE * result.rates[:-1]]))
    known = result.end
    np.testing.assert_allclose(result.losses[:known], CURVATURE / 2 * w[:known] ** 2, rtol=1e-3, atol=1e-6)
    assert result.diverged_at > 2 / CURVATURE
    assert result.steepest < result.lowest < result.diverged_at
    assert result.steepest < 1 / CURVATURE
    assert result.verdict() == (
        f"the loss falls fastest at rate {result.steepest:.2g} and is lowest at {result.lowest:.2g}, "
        f"and is lost at {result.diverged_at:.2g}: try about {result.steepest:.1g}"
    )


def test_the_steepest_rate_is_that_of_the_step_which_lowers_the_loss_most():
    result = found(num_steps=25, smoothing=0.0)
    w = np.cumprod(np.concatenate([[1.0], 1 - CURVATURE * result.rates]))
    falls = -np.diff(CURVATURE / 2 * w**2)
    assert result.steepest == result.rates[np.argmax(falls)]


def test_the_penalty_is_trained_on_and_not_reported():
    result = found(max_rate=0.1, regularizer=lambda params: 3 * params["w"] ** 2)
    w = np.cumprod(np.concatenate([[1.0], 1 - (CURVATURE + 6) * result.rates[:-1]]))
    np.testing.assert_allclose(result.losses, CURVATURE / 2 * w**2, rtol=1e-3)


def test_a_state_with_an_average_starts_as_one_without():
    with_average = training.make_state({"w": jnp.ones(())}, optax.sgd(1.0), key=jax.random.key(0), average=True)
    result = learning_rate_range(quadratic, optax.sgd, with_average, DATA, batch_size=4, num_steps=20)
    expected = learning_rate_range(quadratic, optax.sgd, state(), DATA, batch_size=4, num_steps=20)
    np.testing.assert_array_equal(result.losses, expected.losses)


def scripted(losses, **options):
    """A range test that sees these losses, whatever is trained."""
    table = jnp.asarray(losses, jnp.float32)

    def objective(params, batch, *, model_state, key, train):
        loss = table[model_state["step"]] + 0 * params["w"]
        return loss * jnp.ones(len(batch)), training.Aux({"step": model_state["step"] + 1}, {})

    start = training.make_state(
        {"w": jnp.ones(())}, optax.sgd(1.0), key=jax.random.key(0), model_state={"step": jnp.int32(0)}
    )
    return learning_rate_range(objective, optax.sgd, start, DATA, batch_size=4, num_steps=len(losses), **options)


def test_a_fall_from_a_peak_behind_the_lowest_loss_is_not_the_steepest():
    losses = [2.0] * 5 + [1.8, 1.5, 1.1, 1.0] + [1.2, 2.9, 1.3, 2.8, 1.4]
    result = scripted(losses, smoothing=0.0)
    assert result.steepest == result.rates[6]
    assert result.lowest == result.rates[8]


def test_the_loss_is_lost_above_four_times_the_lowest_average():
    assert scripted([1.0] * 10 + [3.9] + [1.0] * 5 + [4.1] + [1.0] * 5).end == 16
    assert scripted([1.0] * 22).diverged_at is None


@pytest.mark.parametrize("smoothing", [0.0, 0.5, 0.8, 0.95])
def test_noise_is_no_fall(smoothing):
    for seed in range(5):
        # Noise alone falls as far in up to 3 % of runs (1,000 runs at each smoothing); these draws stay the same.
        noise = 1 + 0.1 * np.random.RandomState(seed).randn(60)
        assert "does not fall" in scripted(noise, smoothing=smoothing).verdict()
        assert "falls fastest" in scripted(noise - np.linspace(0, 1.0, 60), smoothing=smoothing).verdict()


def test_averages_are_symmetric_and_stop_where_the_loss_is_lost():
    result = found(smoothing=0.5)
    known = result.losses[: result.end].astype(np.float64)
    for i in (0, 7, result.end - 1):
        weights = 0.5 ** np.abs(np.arange(len(known)) - i)
        assert result.smoothed[i] == pytest.approx(np.sum(weights * known) / weights.sum())
    assert np.isnan(result.smoothed[result.end :]).all()
    plain = found(smoothing=0.0)
    np.testing.assert_array_equal(plain.smoothed[: plain.end], plain.losses[: plain.end].astype(np.float64))


def test_rates_that_are_too_small_or_too_large_to_learn():
    assert found(max_rate=1e-3, min_rate=1e-8).verdict().startswith("the loss falls fastest")
    flat = learning_rate_range(
        lambda params, batch, **_: (batch[:, 0] + 0 * params["w"], training.Aux({}, {})),
        optax.sgd, state(), jax.random.normal(jax.random.key(1), (64, 1)), batch_size=4, num_steps=50,
    )  # fmt: skip
    assert "does not fall between 1e-06 and 10" in flat.verdict()
    lost = found(min_rate=50.0)
    assert lost.verdict() == "the loss is lost from the start, at rate 50: try a smaller min_rate"
    assert np.isnan(lost.steepest)


def test_a_loss_that_is_no_number_ends_the_range():
    spoiled = lambda params, batch, **_: (jnp.log(params["w"]) * jnp.ones(len(batch)), training.Aux({}, {}))  # noqa: E731
    result = learning_rate_range(spoiled, optax.sgd, state(), DATA, batch_size=4, num_steps=30)
    assert 0 < result.end < 30
    assert not np.isfinite(result.losses[result.end])


def test_the_state_is_left_alone_and_its_count_does_not_matter():
    before = state()
    later = training.fit(training.make_train_step(quadratic, optax.sgd(0.0)), before, DATA, steps=3, batch_size=4).state
    options = dict(batch_size=4, num_steps=20)
    ours, theirs = (learning_rate_range(quadratic, optax.sgd, each, DATA, **options) for each in (before, later))
    np.testing.assert_array_equal(ours.losses, theirs.losses)
    assert int(later.step) == 3
    assert float(before.params["w"]) == 1.0


def test_table_and_plot_show_every_point_of_interest(tmp_path):
    result = found()
    assert len(result.table(rows=5).splitlines()) == 6
    figure = result.plot(tmp_path / "range.png")
    (axes,) = figure.axes
    assert (tmp_path / "range.png").stat().st_size > 1000
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert f"steepest: {result.steepest:.2g}" in labels
    assert axes.get_xscale() == "log"
    assert figure.get_suptitle().split() == result.verdict().split()
    assert result.plot(title="rates").get_suptitle() == "rates"
    found(min_rate=50.0).plot()
    with pytest.raises(ValueError, match="rows: expected a whole number >= 2; got 1"):
        result.table(rows=1)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (dict(min_rate=0.0), ValueError, "min_rate: expected one finite number > 0; got 0"),
        (dict(min_rate=1.0, max_rate=0.1), ValueError, r"max_rate: expected one finite number > 1; got 0\.1"),
        (dict(num_steps=3), ValueError, "num_steps: expected a whole number >= 10; got 3"),
        (dict(smoothing=1.0), ValueError, r"smoothing: expected one finite number >= 0 and < 1; got 1\.0"),
    ],
)
def test_arguments(options, error, message):
    with pytest.raises(error, match=message):
        found(**options)


def test_a_recipe_that_is_none():
    with pytest.raises(TypeError, match=r"recipe: expected a function learning_rate -> optax chain; got Gradient"):
        learning_rate_range(quadratic, optax.sgd(0.1), state(), DATA, batch_size=4)
    with pytest.raises(TypeError, match=r"tx: expected an optax\.GradientTransformation; got NoneType"):
        learning_rate_range(quadratic, lambda rate: None, state(), DATA, batch_size=4)
    with pytest.raises(TypeError, match="state: expected a TrainState; got dict"):
        learning_rate_range(quadratic, optax.sgd, {}, DATA, batch_size=4)
