"""The whole of `baselines` on planted accuracies, and what a rung is trained on."""

import jax
import numpy as np
import optax
import pytest

from experiments.building_blocks import ladder
from experiments.images import baselines
from experiments.images.baseline_figures import REFERENCES
from jaxdl import losses, training
from jaxdl.models import MLP
from tests.experiments import planted

GOOD = {"linear": 85.9, "softmax": 92.5, "network": 97.9, "dropout": 98.4, "dropout, falling rate": 98.6, "lenet": 99.3}
ORDERINGS = ("softmax above linear", "network above softmax", "lenet above network", "negative control")
FIGURES = (
    "linear with squared error", "softmax layer at its best", "one hidden layer of 100", "the slide's 90 %",
    "98.40 % after 20 epochs", "reaches 98.4 %", "falling to 0 by a cosine", "LeNet-class",
)  # fmt: skip


def run_of(monkeypatch, dataset, means):
    """The curve ends at the test accuracy, and its first epoch has 20 points less."""
    epochs = {"linear": 1, "softmax": 1, "network": 1, "dropout": 20, "lenet": 1}
    run = planted.planted_run(dataset, {"epochs": {dataset: epochs}}, splits=planted.noise(140, 20, 30))
    names = iter(means)

    def train(run, rung):
        test = means[next(names)] + planted.SPREAD
        curve = test[:, None] - np.array([[20.0, 1.0, 0.0]])
        return baselines.Trained(test, curve, curve[:, 0], 12.0)

    monkeypatch.setattr(baselines, "train", train)
    baselines.run(run)
    assert next(names, None) is None
    return run


def test_a_run_of_mnist_that_reaches_the_published_figures(monkeypatch):
    run = run_of(monkeypatch, "mnist", GOOD)
    found = planted.verdicts(run, baselines.EXPERIMENT, ORDERINGS + FIGURES)
    # 98.4 is never reached by all seeds where their mean is 98.4, and 90 is not 92.5.
    assert found == ["PASS"] * 4 + ["PASS"] * 3 + ["FAIL", "PASS", "FAIL", "PASS", "PASS"]
    assert "after the first epoch it has 72.50 %" in run.findings[7].remark
    (table,) = run.tables
    assert list(table.rows[1]) == ["softmax", "92.50", "92.48 to 92.52", "72.50", "12"]
    assert not run.notes
    (axis,) = run.drawn["ladder"].axes
    assert axis.get_yscale() == "log"
    errors = [patch.get_height() for patch in axis.patches]
    fixed = list(ladder.closed_forms(run.splits).values())
    np.testing.assert_allclose(errors, [100 - value for value in [*fixed, *GOOD.values()]])
    crosses = [line.get_ydata()[0] for line in axis.get_lines() if line.get_marker() == "x"]
    np.testing.assert_allclose(crosses, [100 - REFERENCES[name][0] for name in GOOD])
    (axis,) = run.drawn["curves"].axes
    assert planted.labels(axis) == list(GOOD)
    assert axis.get_xscale() == "log"
    np.testing.assert_allclose(planted.heights(axis, "lenet"), [79.3, 98.3, 99.3])


def test_a_run_of_mnist_that_falls_behind(monkeypatch):
    run = run_of(monkeypatch, "mnist", dict.fromkeys(GOOD, 2.0))
    found = planted.verdicts(run, baselines.EXPERIMENT, ORDERINGS + FIGURES)
    assert found == ["FAIL"] * 12, "the nearest class mean is above 2 % even of noise"


def test_a_run_of_digits_has_orderings_alone(monkeypatch):
    run = run_of(monkeypatch, "digits", GOOD | {"lenet": 97.0})
    assert planted.verdicts(run, baselines.EXPERIMENT, ORDERINGS) == ["PASS", "PASS", "FAIL", "PASS"]
    assert len(run.notes) == 1
    assert not [line for line in run.drawn["ladder"].axes[0].get_lines() if line.get_marker() == "x"]


def test_the_best_epoch_is_tested_where_patience_is_given(monkeypatch):
    splits = planted.noise(40, 30, 30)
    splits = splits._replace(test=splits.validation)
    run = planted.planted_run("digits", {}, splits=splits, seeds=2)
    kept, run_many = [], training.run_many

    def spy(*arguments, **options):
        kept.append(run_many(*arguments, **options))
        return kept[-1]

    monkeypatch.setattr(training, "run_many", spy)
    rung = baselines.Rung(MLP((10,)), losses.softmax_cross_entropy, optax.sgd(3.0), 4, 10, patience=4)
    found = baselines.train(run, rung)
    assert found.curve.shape == (2, 4)
    np.testing.assert_allclose(found.test, found.curve.max(1), atol=1e-4)
    assert (found.curve.max(1) > found.curve[:, -1]).any(), "else the last epoch would do as well"
    np.testing.assert_array_equal(found.first, found.curve[:, 0])
    params = jax.tree.map(np.asarray, kept[0].states.params["Dense_0"])
    outputs = splits.test.x.reshape(30, -1) @ params["kernel"] + params["bias"][:, None]
    np.testing.assert_allclose(100 * np.mean(outputs.argmax(-1) == splits.test.y[None], 1), found.curve[:, -1])


class Seen(Exception):
    pass


@pytest.mark.parametrize("all_labels", [False, True])
def test_what_is_trained_on_and_what_is_watched(all_labels, monkeypatch):
    def seen(step, init, data, **options):
        given.update(options, data=data)
        raise Seen

    run, given = planted.planted_run("digits", {}), {}
    monkeypatch.setattr(training, "run_many", seen)
    rung = baselines.Rung(MLP((10,)), losses.softmax_cross_entropy, optax.sgd(1.0), 3, 128, all_labels=all_labels)
    with pytest.raises(Seen):
        baselines.train(run, rung)
    train, validation, test = run.splits
    expected = np.concatenate([train.x, validation.x]) if all_labels else train.x
    np.testing.assert_array_equal(given["data"].x, expected)
    assert given["validation"] is (test if all_labels else validation)
    assert given["batch_size"] == 60
    assert given["early_stopping"] is None


def test_squared_error_is_the_mean_over_examples_and_outputs():
    outputs, y = np.random.RandomState(0).randn(4, 10).astype(np.float32), np.array([3, 0, 9, 3])
    found = np.mean(baselines.squared_error(outputs, y))
    np.testing.assert_allclose(found, np.mean((outputs - np.eye(10)[y]) ** 2), rtol=1e-5)
