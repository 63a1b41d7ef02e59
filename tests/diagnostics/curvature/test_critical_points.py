"""Kinds of points of which the Hessian is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.diagnostics import Thresholds, critical_point

from .networks import dense_hessian, every_network
from .test_spectrum import ONE, quadratic, with_eigenvalues


@pytest.mark.parametrize(
    ("eigenvalues", "kind", "index", "words"),
    [
        ([1.0, 2.0, 3.0], "minimum", 0, "minimum at loss 0, gradient norm 0: 0 of 3 eigenvalues negative, 0 flat"),
        ([-1.0, -2.0, -3.0], "maximum", 3, "maximum at loss 0"),
        ([-1.0, 2.0, 3.0], "saddle", 1, "saddle of index 1 at loss 0, gradient norm 0: 1 of 3 eigenvalues negative"),
        ([-1.0, -2.0, 0.0, 3.0], "saddle", 2, "saddle of index 2 at loss 0"),
        ([0.0, 2.0, 3.0], "degenerate", 0, "a minimum unless a flat or unseen direction leads down"),
        ([-1e-5, 2.0, 3.0], "degenerate", 0, "1 flat, 2 positive"),
        ([0.0, -2.0, -3.0], "degenerate", 2, "a maximum unless a flat or unseen direction leads up"),
        ([0.0, 0.0], "degenerate", 0, "flat in every direction looked at"),
        ([5.0], "minimum", 0, "0 of 1 eigenvalues negative"),
        ([-5.0], "maximum", 1, "1 of 1 eigenvalues negative"),
    ],
)
def test_kinds(eigenvalues, kind, index, words):
    size = len(eigenvalues)
    found = critical_point(quadratic(with_eigenvalues(eigenvalues)), jnp.zeros(size), ONE)
    assert (found.kind(), found.index()) == (kind, index)
    assert words in found.verdict()
    assert found.verdict().endswith(
        "(critical: gradient norm up to 0.0001; flat: within 0.0001 of the largest magnitude)"
    )
    np.testing.assert_allclose(found.eigenvalues, sorted(eigenvalues), atol=1e-5)


def test_an_inflection_and_a_monkey_saddle_are_degenerate():
    assert critical_point(lambda w, x: x * w**3, jnp.float32(0), ONE).kind() == "degenerate"
    assert critical_point(lambda w, x: x * (w[0] ** 3 - 3 * w[0] * w[1] ** 2), jnp.zeros(2), ONE).kind() == "degenerate"


def test_one_sigmoid_has_a_minimum_that_is_not_the_least():
    """T19: squared error of s(w x) on two examples; each makes a well of its own, at w = 0 and w = ln 9.

    The second is far out on the plateau of the first, whose loss is (1 - 0.1)^2 there (Auer, Herbster, Warmuth 1996).
    """
    batch = (jnp.array([1.0, 20.0]), jnp.array([0.9, 0.1]))

    def losses(w, batch):
        return jnp.square(jax.nn.sigmoid(w * batch[0]) - batch[1])

    poor = jnp.float32(np.log(9))
    found = critical_point(losses, poor, batch)
    assert found.kind() == "minimum"

    def mean(w):
        return float(losses(w, batch).mean())

    assert mean(poor) == pytest.approx(0.9**2 / 2, rel=1e-5)
    assert mean(poor) < min(mean(poor - 0.1), mean(poor + 0.1))
    assert min(mean(w) for w in np.linspace(-1, 0, 101)) < 0.3 * mean(poor)


def test_where_the_gradient_is_long_nothing_is_critical():
    losses = quadratic(np.diag([1.0, -2.0]))
    found = critical_point(losses, jnp.array([3e-4, 0.0]), ONE)
    assert found.kind() == "not critical"
    assert found.verdict().startswith("not critical at loss 4.5e-08, gradient norm 0.0003, above 0.0001: 1 of 2")
    assert found.kind(Thresholds(critical_gradient=1e-3)) == "saddle"
    assert found.signs(Thresholds(flat_curvature=0.6)) == (1, 1, 0)


def test_all_numbers_of_a_network():
    network = every_network()["softmax"]
    found = critical_point(network.losses, network.params, network.data, batch_size=6)
    flat = jax.flatten_util.ravel_pytree(jax.grad(lambda p: network.losses(p, network.data).mean())(network.params))[0]
    np.testing.assert_allclose(found.gradient_norm, np.linalg.norm(flat), rtol=1e-5)
    np.testing.assert_allclose(found.loss, network.losses(network.params, network.data).mean(), rtol=1e-5)
    expected = np.linalg.eigvalsh(dense_hessian("softmax"))
    np.testing.assert_allclose(found.eigenvalues, expected, atol=2e-6 * np.abs(expected).max())
    assert found.complete


def test_ritz_values_bound_the_index_from_below_and_prove_no_minimum():
    eigenvalues = np.linspace(-1, 2, 50)
    losses = quadratic(with_eigenvalues(eigenvalues))
    found = critical_point(losses, jnp.zeros(50), ONE, num_lanczos=10)
    assert not found.complete
    assert 1 <= found.index() < np.sum(eigenvalues < 0)
    assert f"saddle of index at least {found.index()} at" in found.verdict()
    assert "of 10 Ritz values negative" in found.verdict()
    bowl = critical_point(quadratic(with_eigenvalues(eigenvalues + 2)), jnp.zeros(50), ONE, num_lanczos=10)
    assert bowl.kind() == "degenerate"
    whole = critical_point(losses, jnp.zeros(50), ONE, num_lanczos=1000)
    assert (whole.complete, whole.index()) == (True, int(np.sum(eigenvalues < 0)))


@pytest.mark.parametrize(
    ("losses", "what"),
    [
        (lambda w, x: x * jnp.sum(jnp.log(w)), "loss"),
        (lambda w, x: x * jnp.sum(jnp.sqrt(w)), "gradient"),
        (lambda w, x: x * jnp.sum(w**1.5), "Hessian"),
    ],
)
def test_what_is_not_finite_is_named(losses, what):
    found = critical_point(losses, jnp.zeros(3), ONE)
    assert found.kind() == "not finite"
    assert found.verdict() == f"not finite: the {what} holds NaN or infinity"
    assert found.signs() == (0, 0, 0)


def test_reports(tmp_path):
    found = critical_point(quadratic(np.diag([-1.0, 0.0, 2.0])), jnp.zeros(3), ONE)
    assert found.table().splitlines()[1].split() == ["saddle", "0", "0", "1", "1", "1", "-1", "2"]
    figure = found.plot(tmp_path / "point.png")
    assert (tmp_path / "point.png").stat().st_size > 1000
    assert "saddle of index 1" in figure.get_suptitle()
    stacked = jax.vmap(lambda w: critical_point(quadratic(np.diag([-1.0, 2.0])), w, ONE))(jnp.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"point: expected one measurement, arrays of shape .*; got shape \(2, 2\)"):
        stacked.kind()
    assert stacked[1].kind() == "saddle"
    critical_point(quadratic(np.zeros((2, 2))), jnp.zeros(2), ONE).plot()


def test_errors():
    losses = lambda w, x: x * jnp.sum(w**2)  # noqa: E731
    with pytest.raises(
        ValueError, match=r"num_lanczos: expected a number for more than 1000 parameters.*None for 1001"
    ):
        critical_point(losses, jnp.zeros(1001), ONE)
    assert critical_point(losses, jnp.zeros(1001), ONE, num_lanczos=3).eigenvalues.shape == (3,)
    with pytest.raises(ValueError, match="num_lanczos: expected a whole number >= 1; got 0"):
        critical_point(losses, jnp.zeros(3), ONE, num_lanczos=0)
