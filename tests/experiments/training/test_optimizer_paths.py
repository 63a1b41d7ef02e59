"""Surfaces and paths against closed forms; the judging with methods made for every verdict."""

import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdl
from experiments.harness import runner
from experiments.harness.claims import Run
from experiments.training import minibatch_paths, optimizer_path_figures, optimizer_paths, surface_paths, surfaces
from experiments.training.surface_paths import arrival_time, judged_starts, leaving_time, paths, tune

ALL = [value for value in vars(surfaces).values() if isinstance(value, surfaces.Surface)]
each_surface = pytest.mark.parametrize("surface", ALL, ids=lambda surface: surface.name)


def value(surface, *point):
    return float(surface.function(jnp.asarray(point, jnp.float32)))


@each_surface
def test_minima_are_minima_and_starts_lie_in_the_picture(surface):
    left, right, bottom, top = surface.limits
    for minimum in surface.minima:
        np.testing.assert_allclose(jax.grad(surface.function)(jnp.asarray(minimum)), 0, atol=1e-5)
        around = np.asarray(minimum) + 0.01 * np.stack([np.cos(np.arange(12)), np.sin(np.arange(12))], 1)
        assert np.all([value(surface, *point) > value(surface, *minimum) for point in around])
    starts = np.asarray(surface.draw(jax.random.key(0), 50))
    assert starts.shape == (50, 2)
    assert np.all((starts > [left, bottom]) & (starts < [right, top]))
    # Four standard errors of a mean of 50.
    assert np.all(np.abs(starts.mean(0) - surface.start) < 4 * np.asarray(surface.spread) / 50**0.5)


def test_values_of_the_surfaces():
    assert value(surfaces.SADDLE, 3, 2) == 5
    assert value(surfaces.BOUNDED_SADDLE, 3, 2) == 9
    assert value(surfaces.BOUNDED_SADDLE, 0, 2**0.5) == pytest.approx(-1)
    assert value(surfaces.VALLEY, 10, 3) == 5
    assert value(surfaces.BOWL, 4, 3) == 12.5
    assert value(surfaces.BEALE, 3, 0.5) == 0
    assert value(surfaces.BEALE, 0, 7) == pytest.approx(1.5**2 + 2.25**2 + 2.625**2)
    assert value(surfaces.BEALE, 1, 2) == pytest.approx(2.5**2 + 5.25**2 + 9.625**2)
    assert surfaces.NOISY_BOWL.noise == 1
    assert surfaces.SADDLE.start[1] == surfaces.BOUNDED_SADDLE.start[1] == 0  # on the ridge, but for the spread
    assert sum(surface.noise for surface in ALL) == 1


def test_the_valley_across_the_axes_is_the_valley_turned_by_45_degrees():
    turn = np.array([[1, 1], [-1, 1]]) / 2**0.5
    for point in np.random.RandomState(0).randn(5, 2):
        assert value(surfaces.DIAGONAL_VALLEY, *point) == pytest.approx(
            value(surfaces.VALLEY, *(turn @ point)), rel=1e-4
        )


def test_descent_in_a_valley_shrinks_each_coordinate_by_its_own_factor():
    starts = jnp.array([[-9.0, 1.0], [4.0, -2.0], [1.0, 0.5]])
    rates = {"slow": 0.5, "fast": 1.9}
    found = paths({name: optax.sgd(rate) for name, rate in rates.items()}, surfaces.VALLEY, starts, steps=30)
    assert found.shape == (2, 3, 31, 2)
    factors = np.array([[1 - rate / 100, 1 - rate] for rate in rates.values()])
    expected = np.asarray(starts)[None, :, None] * factors[:, None, None] ** np.arange(31)[:, None]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_descent_leaves_a_saddle_after_the_exact_number_of_steps(rate):
    """|y| grows by 1 + 2 eta a step."""
    heights = np.array([1e-3, -1e-2, 0.3])
    starts = jnp.asarray(np.stack([np.ones(3), heights], 1), jnp.float32)
    found = paths({"sgd": optax.sgd(rate)}, surfaces.SADDLE, starts, steps=150)
    np.testing.assert_allclose(found[0, :, 20, 1], heights * (1 + 2 * rate) ** 20, rtol=1e-4)
    exact = np.ceil(np.log(0.5 / np.abs(heights)) / np.log(1 + 2 * rate))
    np.testing.assert_array_equal(leaving_time(found)[0], exact)
    later = np.ceil(np.log(100 / np.abs(heights)) / np.log(1 + 2 * rate))
    np.testing.assert_array_equal(leaving_time(found, bound=100)[0], np.where(later > 150, np.inf, later))


def test_exactly_on_the_ridge_descent_and_newtons_methods_stay():
    from jaxdl.optimizers import newton, saddle_free_newton

    three = {"sgd": optax.sgd(0.3), "newton": newton(), "saddle-free": saddle_free_newton(damping=0.1)}
    found = paths(three, surfaces.BOUNDED_SADDLE, jnp.array([[1.0, 0.0]]), steps=20)
    np.testing.assert_allclose(found[:, 0, -1], 0, atol=1e-5)
    np.testing.assert_array_equal(leaving_time(found), np.inf)


def arrived(*points, surface=surfaces.VALLEY):
    return arrival_time(np.array(points, float), surface)


def test_arriving_is_being_near_a_minimum_without_having_gone_astray():
    assert arrived((-9, 1), (0.2, 0), (0, 0.04), (3, 0)) == 2
    assert arrived((0, 0), (3, 0)) == 0
    assert arrived((-9, 1), (1, 0)) == np.inf
    assert arrived((-9, 1), (8, 0), (0, 0)) == np.inf  # the valley is shown from -12 to 7
    assert arrived((-9, 1), (0, 0), (8, 0)) == 1
    assert arrived((-9, 1), (0, 3), (0, 0)) == np.inf
    assert arrived((-9, 1), (np.nan, 0), (0, 0)) == np.inf
    either = [(1, 0), (0, -1.43), (0, 1.4)]
    assert arrived(*either, surface=surfaces.BOUNDED_SADDLE) == 1
    np.testing.assert_array_equal(arrival_time(np.zeros((2, 3, 4, 2)), surfaces.BOWL), np.zeros((2, 3)))


def test_noise_is_shared_by_the_optimizers_and_its_own_for_every_start_and_key():
    surface, starts = surfaces.NOISY_BOWL, jnp.zeros((2, 2))
    pair = {"a": optax.sgd(1.0), "b": optax.sgd(1.0)}
    found = paths(pair, surface, starts, steps=50, key=jax.random.key(0))
    np.testing.assert_array_equal(found[0], found[1])
    # At the rate 1 every point is minus the noise of its step: independent, of mean 0 and variance 1.
    noise = np.asarray(found[0, :, 1:])
    assert np.all(np.abs(noise.mean((1, 2))) < 0.5)  # five standard errors
    assert np.all(np.abs(np.square(noise).mean((1, 2)) - 1) < 0.71)  # five, of the 100 squares of a start
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.5
    other = paths(pair, surface, starts, steps=50, key=jax.random.key(1))
    assert not np.any(np.asarray(other[0, :, 1:]) == noise)
    with pytest.raises(
        ValueError, match=r"key: expected one for the noise of 'noisy bowl'; got None\. Pass jax\.random"
    ):
        paths(pair, surface, starts, steps=1)


BOTH = {"gradient_descent": optax.sgd, "other": lambda rate: optax.sgd(0.5 * rate)}


def test_rates_are_chosen_on_the_tuning_starts_and_judged_on_others():
    """In a round bowl descent arrives in one step at the rate 1, and half of 2 is 1."""
    tuned = tune(BOTH, surfaces.BOWL, arrival_time, num_starts=3, steps=20, rates=(0.25, 1.0, 2.0, 4.0))
    assert tuned.rates == {"gradient_descent": 1.0, "other": 2.0}
    assert tuned.ends == ()
    assert tuned.before == {"gradient_descent": 0.0, "other": 0.0}
    for name in BOTH:
        np.testing.assert_array_equal(tuned.times[name], np.ones(3))
        assert tuned.paths[name].shape == (3, 21, 2)
        np.testing.assert_array_equal(tuned.paths[name][:, 0], judged_starts(surfaces.BOWL, 3))
    assert tune(BOTH, surfaces.BOWL, arrival_time, num_starts=1, steps=20, rates=(0.25, 1.0)).ends == (*BOTH,)
    np.testing.assert_array_equal(judged_starts(surfaces.BOWL, 5)[:3], judged_starts(surfaces.BOWL, 3))


def test_no_judged_start_has_a_part_in_the_choice(monkeypatch):
    drawn, draw = [], surfaces.Surface.draw

    def noted(surface, key, num):
        drawn.append((jax.random.key_data(key).tobytes(), num))
        return draw(surface, key, num)

    monkeypatch.setattr(surfaces.Surface, "draw", noted)
    tune(BOTH, surfaces.BOWL, arrival_time, num_starts=3, steps=2, rates=(1.0,))
    of_seed = lambda seed: jax.random.key_data(jax.random.key(seed)).tobytes()  # noqa: E731
    assert drawn == [(of_seed(1000), 5), (of_seed(0), 1), (of_seed(1), 1), (of_seed(2), 1)]


def test_different_keys_draw_different_starts():
    drawn = np.concatenate(
        [surfaces.BOWL.draw(jax.random.key(surface_paths.TUNING_KEY), 5), judged_starts(surfaces.BOWL, 20)]
    )
    assert len(np.unique(drawn)) == drawn.size


def test_what_counts_where_a_path_does_not_arrive():
    slower = lambda plain, other: optimizer_paths.slower(np.array(plain), np.array(other), 100).verdict  # noqa: E731
    assert slower([50.0, 60, 55, 52, 58], [20.0, 21, 22, 19, 20]) == "PASS"
    assert slower([np.inf] * 5, [20.0] * 5) == "PASS"
    assert slower([np.inf] * 5, [60.0] * 5) == "FAIL"  # it may have arrived with step 101
    assert slower([np.inf] * 5, [np.inf] * 5) == "FAIL"
    assert slower([0.0] * 5, [0.0] * 5) == "FAIL"
    assert slower([50.0] * 4, [20.0] * 4) == "INCONCLUSIVE"


def test_a_quicker_method_confirms_the_claim_and_the_controls_fail(monkeypatch):
    monkeypatch.setattr(minibatch_paths, "EPOCHS", 30)
    run = Run("digits", None, 5, {})  # pyright: ignore
    adagrad = lambda rate: optax.adagrad(rate, initial_accumulator_value=0.0, eps=1e-8)  # noqa: E731
    recipes = {"gradient_descent": optax.sgd, "adagrad": adagrad}
    optimizer_paths.judge_paths(run, recipes=recipes, rates=(0.01, 0.1, 0.3, 1.0, 1.8, 10.0), steps=300)
    verdicts = {finding.claim: finding.verdict for finding in run.findings}
    assert len(verdicts) == 12
    assert set(verdicts.values()) == {"PASS"}
    assert sum(finding.control for finding in run.findings) == 4
    assert {record["quantity"] for record in run.records} == {"steps", "line"}
    assert json.dumps(runner.lines(run), allow_nan=False)
    assert [picture.name for picture in run.figures] == ["line_paths.png", "optimizer_paths.png"]
    assert [len(row) for row in run.tables[0].rows] == [5, 5]


def findings(recipes, rates):
    run = Run("digits", None, 5, {})  # pyright: ignore
    tuned = tune(recipes, surfaces.BOWL, arrival_time, num_starts=5, steps=20, rates=rates)
    optimizer_paths.judge_slow(run, tuned, "cross", "")
    optimizer_paths.judge_every(run, tuned, "cross", "")
    return run.findings


def test_a_rival_that_is_descent_itself_refutes_the_claim():
    refuted = findings(BOTH, (0.25, 1.0, 2.0, 4.0))
    assert [finding.verdict for finding in refuted] == ["FAIL"] * 2
    assert "not quicker in every seed: other" in refuted[1].remark


def test_one_seed_is_enough_to_be_named():
    run, times = Run("digits", None, 5, {}), {"gradient_descent": np.full(5, 10.0)}  # pyright: ignore
    times |= {"quick": np.full(5, 3.0), "at times": np.array([5.0, 5, 5, 5, 20])}
    tuned = surface_paths.Tuned({}, (), dict.fromkeys(times, 0.0), {}, times, 100)
    optimizer_paths.judge_every(run, tuned, "cross", "")
    (finding,) = run.findings
    assert (finding.verdict, finding.result.measured) == ("FAIL", "4/5")
    assert finding.remark == "not quicker in every seed: at times"


def test_methods_that_arrive_and_leave_again_are_named():
    steady, restless = np.zeros((5, 4, 2)), np.zeros((5, 4, 2))
    restless[2, -1] = [0.03, 0.05]
    run, times = Run("digits", None, 5, {}), {"a": np.full(5, 2.0), "b": np.full(5, 3.0)}  # pyright: ignore
    times["b"][1] = np.inf
    both = surface_paths.Tuned({"a": 0.1, "b": 0.25}, (), {}, {"a": steady, "b": restless}, times, 3)
    optimizer_paths.report(run, {"saddle": both, "valley": both})
    assert "after 3 steps in the valley b are farther than 0.05" in run.notes[0]
    assert run.tables[0].rows == [["a", *["2 (0.1)"] * 2], ["b", *["not in 1 of 5 (0.25)"] * 2]]


def test_a_rate_at_the_end_of_the_grid_decides_nothing():
    slow, _ = findings(BOTH, (0.25, 1.0))
    assert slow.verdict == "INCONCLUSIVE"
    assert "best rate of gradient_descent and other is an end of the grid" in slow.result.detail


def test_the_lectures_methods_are_those_of_the_optimizers(monkeypatch):
    names = ("gradient_descent", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam")
    made = {name: lambda rate: optax.sgd(rate) for name in names}
    for name, recipe in made.items():
        monkeypatch.setattr(jaxdl.optimizers, name, recipe, raising=False)
    assert optimizer_paths.lecture_recipes() == made


def test_descent_on_the_line_is_the_power_of_a_matrix():
    data = minibatch_paths.line_data(jax.random.key(3))
    assert data.x.shape == (128, 2)
    found = minibatch_paths.line_paths(data, batch_size=128, rate=0.3, seeds=2, epochs=20)
    assert found.shape == (2, 20, 2)
    best, hessian = minibatch_paths.minimum(data), data.x.T.astype(float) @ data.x / 128
    np.testing.assert_allclose(data.x.T @ (data.x @ best - data.y), 0, atol=1e-4)
    factor, distance = np.eye(2) - 0.3 * hessian, np.array(minibatch_paths.START) - best
    expected = best + np.array([np.linalg.matrix_power(factor, k) @ distance for k in range(20)])
    np.testing.assert_allclose(found[0], expected, atol=1e-5)
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    one_by_one = minibatch_paths.line_paths(data, batch_size=1, rate=0.3, seeds=2, epochs=2)
    assert one_by_one.shape == (2, 256, 2)
    moves = np.diff(one_by_one, axis=1)
    # With one example a step goes along that example's input (1, x).
    np.testing.assert_array_equal(
        np.isin(np.round(moves[0, :, 1] / moves[0, :, 0], 3), np.round(data.x[:, 1], 3)), True
    )
    assert np.any(one_by_one[0] != one_by_one[1])


def test_passes_and_spread_of_paths_made_by_hand():
    path = np.array([[[4.0, 0.0], [0.2, 0.0], [3.0, 0.0], [0.0, 1.0]], [[9.0, 9.0]] * 4])
    target = np.zeros(2)
    np.testing.assert_array_equal(minibatch_paths.passes_until_near(path, target, batch_size=8), [1 / 16, np.inf])
    np.testing.assert_array_equal(minibatch_paths.spread(path, target), [5.0, 162.0])


def test_a_panel_shows_the_path_up_to_its_snapshot():
    made = {
        "one": np.array([[1.0, 0.0], [0.5, 0.1], [0.0, 0.5]]),
        "two": np.array([[1.0, 0.0], [np.inf, 0.0], [2.0, 0.0]]),
    }
    chosen = [surfaces.SADDLE, surfaces.BOUNDED_SADDLE]
    figure = optimizer_path_figures.path_figure(chosen, [made, made], snapshots=[1, 2])
    assert len(figure.axes) == 4
    for axis, steps, stars in zip(figure.axes, (1, 2, 1, 2), (0, 0, 2, 2), strict=True):
        lines = [line for line in axis.lines if line.get_linestyle() == "-" and line.get_xydata().size]
        np.testing.assert_array_equal(lines[0].get_xydata(), made["one"][: steps + 1])
        assert np.isnan(lines[1].get_xydata()[1, 0])
        assert sum(line.get_marker() == "*" for line in axis.lines) == stars
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one", "two"]
    figure.savefig(io.BytesIO())
