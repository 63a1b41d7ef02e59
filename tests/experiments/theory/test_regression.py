import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

from experiments.harness.claims import Run
from experiments.theory import linear_regression, regression_networks
from jaxdl.data import Examples, Splits


def new_run(**settings):
    examples = Examples(np.zeros((2, 2)), np.zeros(2, int))
    return Run("digits", Splits(examples, examples, examples), 5, {"steps": 50, "draws": 10} | settings)


def test_the_misfit_of_a_line_to_a_sine():
    slope = 3 / np.pi**2
    mean_square = integrate.quad(lambda x: (np.sin(x) - slope * x) ** 2, -np.pi, np.pi)[0] / (2 * np.pi)
    assert linear_regression.MISFIT == pytest.approx(mean_square)
    for other in (slope - 0.01, slope + 0.01):
        assert integrate.quad(lambda x: (np.sin(x) - other * x) ** 2, 0, np.pi)[0] / np.pi > mean_square  # noqa: B023


def test_closed_forms_pass_and_a_wrong_precision_is_noticed(monkeypatch):
    run = new_run()
    linear_regression.judge_closed_forms(run)
    linear_regression.judge_misfit(run)
    assert {finding.verdict for finding in run.findings} == {"PASS"}
    monkeypatch.setattr(linear_regression, "MISFIT", 0.1)
    run = new_run()
    linear_regression.judge_misfit(run)
    assert run.findings[0].verdict == "FAIL"


def test_the_predictive_covers_and_its_control_does_not():
    run = new_run(draws=40)
    linear_regression.judge_coverage(run)
    assert run.findings[1].result.verdict == "FAIL"
    shares = np.array([record["predictive"] for record in run.records])
    # 4,000 draws in all, 5 binomial errors; false alarm 6e-7.
    assert abs(shares.mean() - 0.95) < 5 * np.sqrt(0.95 * 0.05 / 4000)


def test_powers_of_x_over_pi():
    design = linear_regression.polynomial(jnp.array([-jnp.pi, 0.0, jnp.pi / 2]))
    np.testing.assert_allclose(design[0], [(-1.0) ** j for j in range(10)], rtol=1e-6)
    np.testing.assert_allclose(design[1], [1] + [0] * 9, atol=1e-7)
    np.testing.assert_allclose(design[2], 0.5 ** np.arange(10), rtol=1e-5)


def test_the_noise_of_the_data():
    """Variance of 20,000 draws in each of four ranges of x within 5 relative errors sqrt(2/n); false alarm 3e-6."""
    x, t = regression_networks.draw(jax.random.key(0), 20_000, regression_networks.varying_noise)
    residuals = np.asarray((t - jnp.sin(x)) / (0.1 + 0.15 * (1 + jnp.cos(x))))[:, 0]
    for low in (-np.pi, -np.pi / 2, 0, np.pi / 2):
        part = residuals[(np.asarray(x)[:, 0] >= low) & (np.asarray(x)[:, 0] < low + np.pi / 2)]
        assert np.mean(part**2) == pytest.approx(1, abs=5 * np.sqrt(2 / len(part)))
    x, t = regression_networks.draw(jax.random.key(1), 20_000, regression_networks.constant_noise)
    assert np.var(np.asarray(t - jnp.sin(x))) == pytest.approx(1 / 25, rel=5 * np.sqrt(2 / 20_000))


def test_the_rules_of_the_two_networks(monkeypatch):
    """On fits that are put in: the true deviation passes, a constant one does not."""
    true = np.asarray(regression_networks.varying_noise(jnp.asarray(regression_networks.GRID)))[:, 0]

    def judged(deviation, gain):
        def fitted(trainers, seed, noise):
            varying = noise is regression_networks.varying_noise
            return regression_networks.Fitted(
                (jnp.zeros((1, 1)),) * 2,
                true,
                0.25,
                true,
                deviation * (1 + 0.01 * seed),
                (gain + 0.001 * seed) * varying,
            )

        monkeypatch.setattr(regression_networks, "fit_both", fitted)
        run = new_run()
        regression_networks.judge_varying(run)
        return [finding.verdict for finding in run.findings]

    assert judged(true, 0.2) == ["PASS"] * 4
    assert judged(0 * true + 0.25, 0.0) == ["FAIL", "PASS", "FAIL", "PASS"]
