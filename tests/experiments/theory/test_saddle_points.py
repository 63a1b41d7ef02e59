"""The search against functions whose critical points are known, and rules that can fail."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxdl
from experiments.building_blocks.propagation import double_precision
from experiments.harness import rules
from experiments.theory import critical_search, saddle_points
from jaxdl.diagnostics import CriticalPoint, critical_point


def two_wells(x):
    """Minima at (0, +-sqrt 2), a saddle at 0."""
    return x[0] ** 2 - x[1] ** 2 + x[1] ** 4 / 4


@pytest.mark.parametrize(
    ("start", "end"), [((0.7, 0.2), (0.0, 0.0)), ((0.7, -1.2), (0.0, -np.sqrt(2))), ((-3.0, 4.0), (0.0, np.sqrt(2)))]
)
def test_the_search_ends_at_saddles_as_well_as_at_minima(start, end):
    with double_precision():
        found = critical_search.shorten_gradient(two_wells, jnp.asarray(start), iterations=30)
        np.testing.assert_allclose(found, end, atol=1e-8)


def test_the_search_never_lengthens_the_gradient_and_stops_where_its_norm_has_a_minimum():
    f = lambda x: x + x**3 / 3  # noqa: E731  # g = 1 + x^2 is shortest at 0, and never 0
    with double_precision():
        start = jnp.asarray(2.0)
        norms = [
            abs(float(jax.grad(f)(critical_search.shorten_gradient(lambda x: f(x[0]), start[None], iterations=i)[0])))
            for i in (0, 1, 2, 5, 40)
        ]
    assert norms == sorted(norms, reverse=True)
    assert norms[-1] == pytest.approx(1)


def draw_params(seed=0):
    draws = np.random.RandomState(seed)
    shapes = {"b1": (4,), "b2": (5,), "w1": (6, 4), "w2": (4, 5)}
    assert sum(map(np.prod, shapes.values())) == critical_search.PARAMETERS
    return {name: draws.randn(*shape) for name, shape in shapes.items()}


def test_the_loss_is_that_of_numpy():
    draws = np.random.RandomState(1)
    x, labels, p = draws.randn(7, 6), draws.randint(0, 5, 7), draw_params()
    z = np.tanh(x @ p["w1"] + p["b1"]) @ p["w2"] + p["b2"]
    expected = np.log(np.exp(z).sum(1)) - z[np.arange(7), labels]
    expected += 0.5e-3 * sum(np.sum(leaf**2) for leaf in p.values())
    with double_precision():
        found = critical_search.losses(jax.tree.map(jnp.asarray, p), (jnp.asarray(x), jnp.asarray(labels)))
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_task_is_principal_components_of_five_classes():
    train = jaxdl.data.load("digits").train
    x, labels = critical_search.task(train, 3)
    assert x.shape == (100, 6)
    assert set(labels) == set(range(5))
    np.testing.assert_allclose(x.mean(0), 0, atol=1e-12)
    moments = x.T @ x / 100
    np.testing.assert_allclose(moments, np.diag(np.diag(moments)), atol=1e-12)
    assert moments[0, 0] == pytest.approx(1)
    assert np.all(np.diff(np.diag(moments)) < 0)
    assert not np.array_equal(labels, critical_search.task(train, 4)[1])


def test_a_small_search_finds_points_that_are_critical_by_their_own_measure():
    with double_precision():
        data = critical_search.task(jaxdl.data.load("digits").train, 0)
        found = critical_search.search(data, 0, starts=2, iterations=40)
    points = saddle_points._single(found)
    assert len(points) == 2 * len(critical_search.TIMES) == len(found.started_at)
    kinds = [point.kind(saddle_points.CRITICAL) for point in points]
    assert {"saddle"} <= set(kinds) <= {"saddle", "minimum", "degenerate", "not critical"}
    assert all(
        (float(point.gradient_norm) <= 1e-8) == (kind != "not critical")
        for point, kind in zip(points, kinds, strict=True)
    )


def test_symmetric_twins_count_once():
    draws = np.random.RandomState(1)
    data = (jnp.asarray(draws.randn(9, 6), jnp.float32), jnp.asarray(draws.randint(0, 5, 9)))
    p, other = draw_params(), draw_params(1)
    order, signs = [2, 0, 3, 1], np.array([1.0, -1.0, 1.0, 1.0])
    twin = {
        "b1": (p["b1"] * signs)[order], "b2": p["b2"], "w1": (p["w1"] * signs)[:, order],
        "w2": (p["w2"] * signs[:, None])[order],
    }  # fmt: skip
    with double_precision():
        points = [critical_point(critical_search.losses, params, data) for params in (p, twin, other)]
    kept = critical_search.distinct(points)
    assert [float(point.loss) for point in kept] == [float(points[0].loss), float(points[2].loss)]
    same_loss = CriticalPoint(points[0].loss, points[0].gradient_norm, points[2].eigenvalues, 53)
    assert len(critical_search.distinct([points[0], same_loss])) == 2
    assert critical_search.distinct([]) == []


def test_the_correlation_is_spearmans():
    losses, shares = np.array([1.0, 2.0, 3.0, 10.0, 4.0]), np.array([0.0, 0.1, 0.1, 0.3, 0.2])
    assert saddle_points._correlation(losses, shares) == pytest.approx(stats.spearmanr(losses, shares)[0])
    assert saddle_points._correlation(losses, np.zeros(5)) == 0
    assert saddle_points._correlation(losses[:2], shares[:2]) == 0


def test_chance_is_told_from_order(monkeypatch):
    """Of 20 unordered sets about one is beyond the 95 % bound of its permutations; four or more in 1.6 % of draws."""
    monkeypatch.setattr(saddle_points, "PERMUTATIONS", 199)
    draws = np.random.RandomState(0)
    ordered = [np.arange(12.0) + draws.rand(12) for _ in range(5)]
    assert saddle_points._beyond_chance(ordered, [np.arange(12.0)] * 5).all()
    assert saddle_points._beyond_chance([draws.rand(12) for _ in range(20)], [np.arange(12.0)] * 20).sum() < 4


def test_the_rule_on_shares():
    bounds, names = np.array([0.01, 0.001]), ["a", "b"]
    assert rules.shares_at_most(np.array([700, 50]), 100_000, bounds, names).verdict == "PASS"
    close = rules.shares_at_most(np.array([700, 99]), 100_000, bounds, names)
    assert close.verdict == "INCONCLUSIVE"
    assert "the nearest is b, 99 of 100000, bound 0.001" in close.detail
    far = rules.shares_at_most(np.array([2000, 50]), 100_000, bounds, names)
    assert (far.verdict, far.measured) == ("FAIL", "0.02")
    assert far.interval == rules.share_interval(2000, 100_000)
    assert rules.shares_at_most(np.array([0]), 100, np.array([0.01]), ["a"]).verdict == "INCONCLUSIVE", "3.6 % at most"
