import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdl
from experiments.generalization import maxout
from experiments.generalization.maxout_networks import BOUND, Networks, Trained, masked_inputs
from jaxdl.data import Examples, Splits
from tests.experiments.generalization.planted import images, judged, labels, of_dataset, ticks
from tests.experiments.planted import Drawn, heights

SPREAD = np.array([-0.02, -0.01, 0.0, 0.01, 0.02])


def small_run(dataset="digits", **settings):
    given = {"units": 4, "images": 40, "epochs": 2, "batch": 10, **settings}
    return Drawn(dataset, images(), 5, of_dataset(dataset, **given))


def trained(error, largest=1.5):
    return Trained(error + SPREAD, np.ones((5, 3)), np.tile([0.5, largest], (5, 1)), 100)


def verdicts(run, **errors):
    networks = {name: trained(error) for name, error in errors.items()}
    names = {"maxout": "maxout", "relu": "ReLU", "plain": "maxout, no dropout", "linear": "linear"}
    run.findings.clear()
    maxout.judge(run, {names[name]: each for name, each in networks.items()})
    return [finding.verdict for finding in run.findings]


def test_the_published_result_passes_and_others_fail():
    full = small_run("mnist", **maxout.RELEASED)
    assert verdicts(full, maxout=1.2, relu=1.5, plain=1.7, linear=8.0) == ["PASS"] * 5
    assert verdicts(full, maxout=1.8, relu=1.5, plain=1.7, linear=1.0) == ["FAIL", "FAIL", "FAIL", "PASS", "FAIL"]
    short = small_run("mnist")
    assert verdicts(short, maxout=1.2, relu=1.5, plain=1.7, linear=8.0)[0] == "INCONCLUSIVE"
    assert verdicts(small_run(), maxout=3.0, relu=4.0, plain=5.0, linear=8.0) == ["PASS"] * 4


CLAIMS = ("ReLU network", "dropout lowers", "weights into every unit", "negative control")


def run_planted(monkeypatch, run, largest=1.5, **errors):
    """Networks told apart by the model and the masks they would be trained with."""

    def train(networks, model, dropout):
        if isinstance(model, jaxdl.models.MLP):
            assert model.sizes == (networks.relu_width(),) * 2 + (10,)
            name = "relu"
        else:
            name = "linear" if model.pieces == 1 else "maxout" if dropout else "plain"
        assert (model.dropout_rate, dropout) == ((0.0, False) if name == "plain" else (0.5, True))
        return trained(errors[name], largest)

    monkeypatch.setattr(Networks, "_train", train)
    maxout.EXPERIMENT.run(run)


def test_planted_networks_are_judged_told_and_drawn(monkeypatch):
    run = small_run("mnist")
    run_planted(monkeypatch, run, maxout=1.2, relu=1.5, plain=1.7, linear=8.0)
    judged(run, dict.fromkeys(CLAIMS, "PASS") | {"after the first phase": "INCONCLUSIVE"}, rows=("", "X40"))
    names = ["maxout", "ReLU", "maxout, no dropout", "linear"]
    assert [row[0] for row in run.tables[0].rows] == names
    assert run.tables[0].rows[3] == ["linear", "100", "8.00", "7.98 to 8.02", "1.5000"]
    assert "4 units in place of 240, 40 images in place of 50,000, 2 epochs in place of some 100" in run.notes[0]
    left, middle, right = run.drawn["maxout"].axes
    assert labels(left) == names
    np.testing.assert_array_equal(heights(left, "ReLU"), [1, 1, 1])
    assert [bar.get_width() for bar in middle.patches] == pytest.approx([1.2, 1.5, 1.7, 8.0])
    np.testing.assert_allclose(middle.lines[3].get_xdata(), 8 + SPREAD)
    assert ticks(middle.yaxis) == [f"{name}\n100 parameters" for name in names]
    assert heights(right, "bound").tolist() == [0, 1]
    assert right.lines[0].get_xdata() == [BOUND, BOUND]
    assert set(labels(right)) == {*names, "bound"}
    assert (left.get_yscale(), right.get_yscale()) == ("log", "log")
    assert len(run.figures) == 1


def test_planted_opposites_fail_on_digits(monkeypatch):
    run = small_run()
    run_planted(monkeypatch, run, largest=2.0, maxout=1.8, relu=1.5, plain=1.6, linear=1.0)
    judged(run, dict.fromkeys(CLAIMS, "FAIL"), rows=("", "X40"))
    assert not run.notes
    assert run.records[0]["largest_norm"] == 2.0


def test_a_norm_beyond_the_bound_is_found():
    networks = {name: trained(1.0) for name in ("maxout", "ReLU", "maxout, no dropout", "linear")}
    for largest, expected in ((BOUND, "PASS"), (BOUND * 1.0001, "FAIL")):
        run = small_run()
        maxout.judge(run, networks | {"maxout": trained(1.0, largest)})
        assert run.findings[2].verdict == expected


def test_relu_has_as_many_parameters():
    draws = np.zeros((40, 28, 28, 1), np.float32)
    examples = Examples(draws, np.zeros(40, np.int32))
    for units, expected in ((240, 1_233_610), (80, 347_210)):
        run = small_run(units=units)
        run.splits = Splits(examples, examples, examples)
        networks = Networks(run)
        width = networks.relu_width()
        count = lambda w: 785 * w + (w + 1) * w + (w + 1) * 10  # noqa: E731
        assert 785 * 5 * units + (units + 1) * 5 * units + (units + 1) * 10 == expected
        assert abs(count(width) - expected) == min(abs(count(w) - expected) for w in range(width - 3, width + 4))


def test_rate_and_momentum_are_the_released_ones():
    """Under a constant gradient of 1, from v = 0: v <- mu_t v + eta_t; 4 updates an epoch here."""
    networks = Networks(small_run())
    tx = networks.optimizer()
    params = {"Dense_0": {"kernel": jnp.zeros((1, 1)), "bias": jnp.zeros(1)}}
    state, velocity = tx.init(params), 0.0
    ones = jax.tree.map(jnp.ones_like, params)
    for t in range(6):
        updates, state = tx.update(ones, state, params)
        velocity = (0.5 + 0.2 * t / 1000) * velocity + 0.1 / 1.000004**t
        np.testing.assert_allclose(updates["Dense_0"]["bias"], -velocity, rtol=1e-5)


def test_inputs_are_masked_and_not_scaled():
    x = jnp.full((100, 50), 3.0)
    masked = np.asarray(masked_inputs(jax.random.key(0), x))
    assert set(np.unique(masked)) == {0.0, 3.0}
    # 5,000 draws, deviation sqrt(0.16 / 5000) = 0.0057; four of them.
    assert abs((masked == 0).mean() - 0.2) < 4 * 0.0057


def test_the_start_is_small_and_uniform():
    draws = np.asarray(Networks(small_run("mnist")).start(jax.random.key(0), (200, 200)))
    assert np.abs(draws).max() <= 0.005
    # Standard deviation 0.01 / sqrt(12), known to 0.6 % from 40,000 draws of a uniform; five of that.
    assert draws.std() == pytest.approx(0.01 / np.sqrt(12), rel=0.03)


def test_networks_are_trained_and_their_norms_are_those_of_the_columns():
    found = Networks(small_run()).maxout()
    assert found.parameters == 10 * 20 + 5 * 20 + 5 * 10
    assert found.norms.shape == (5, 20 + 20 + 10)
    assert found.curve.shape == (5, 2)
    assert found.norms.max() <= BOUND
    np.testing.assert_allclose(found.test * 60 / 100, np.round(found.test * 60 / 100), atol=1e-4)
    assert maxout.row("maxout", found)[1] == "350"
