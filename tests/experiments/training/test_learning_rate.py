import numpy as np
import pytest

from experiments.building_blocks import book
from experiments.harness.claims import Run
from experiments.training import learning_rate
from jaxdl.data import Examples, Splits
from tests.experiments.training.planted import drive, labelled

SPREAD = 0.001 * np.array([-2.0, -1.0, 0.0, 1.0, 2.0])[:, None]


def a_run(dataset="mnist"):
    draws = np.random.RandomState(0)
    examples = Examples(draws.rand(60, 2, 2, 1).astype(np.float32), draws.randint(0, 10, 60).astype(np.int32))
    return Run(dataset, Splits(examples, examples, examples), 5, {"epochs": {dataset: 3}, "every": {dataset: 1}})


def curves(epochs=30, jump=0.05):
    falling = np.geomspace(0.88, 0.34, epochs)
    jumping = np.where(np.arange(epochs) % 2 == 0, 1.0, -1.0)
    return {
        learning_rate.SLOW: falling + SPREAD,
        learning_rate.RIGHT: 0.33 + 0.006 * jumping + SPREAD,
        learning_rate.LARGE: 0.85 + jump * jumping + SPREAD,
    }


def verdicts(values, dataset="mnist"):
    run = a_run(dataset)
    learning_rate.judge(run, values)
    assert {finding.row for finding in run.findings} == {"X11"}
    return [finding.verdict for finding in run.findings]


def test_the_books_shapes_pass_and_others_fail():
    assert verdicts(curves()) == ["PASS"] * 7
    assert verdicts(curves(jump=0.02))[0] == "FAIL", "only three times as much"
    bumpy = curves()
    bumpy[learning_rate.SLOW][0, 5] += 0.2
    assert verdicts(bumpy)[1] == "PASS", "one exception"
    bumpy[learning_rate.SLOW][0, 9] += 0.2
    assert verdicts(bumpy)[1] == "FAIL", "two in one seed"
    calm = curves() | {learning_rate.LARGE: np.geomspace(0.3, 0.2, 30) + SPREAD}
    assert verdicts(calm)[2:] == ["FAIL", "FAIL", "PASS", "PASS", "FAIL"]
    short = verdicts(curves(epochs=12))
    assert short[:2] == ["INCONCLUSIVE"] * 2
    assert short[4:] == ["INCONCLUSIVE"] * 3
    assert len(verdicts(curves(), "digits")) == 4


@pytest.mark.parametrize("dataset", ["mnist", "digits"])
def test_the_picture_holds_every_seed_and_the_books_runs_on_mnist_alone(dataset, monkeypatch):
    values = curves()
    monkeypatch.setattr(learning_rate, "costs", lambda run, eta: values[eta])
    run = drive(learning_rate.EXPERIMENT, dataset)
    (axis,) = run.drawn["learning_rate"].axes
    assert axis.get_yscale() == "log"
    crosses = [tuple(line.get_ydata()) for line in axis.lines if line.get_marker() == "x"]
    assert crosses == (list(learning_rate.STORED.values()) if dataset == "mnist" else [])
    assert len(axis.lines) - len(crosses) == 15
    for eta in learning_rate.ETAS:
        np.testing.assert_allclose(labelled(axis)[f"rate {eta:g}"], values[eta][0])
    assert len(run.notes) == (dataset == "digits")
    assert [finding.verdict for finding in run.findings] == ["PASS"] * len(run.findings)


def test_equal_costs_count_as_a_rise():
    assert learning_rate.rises(np.array([[3.0, 2.0, 2.0, 1.0], [3.0, 2.0, 1.0, 0.5]])).tolist() == [1, 0]


def test_the_cost_holds_the_penalty_over_the_number_of_training_images(monkeypatch):
    """Against the cost without it: `(lambda / 2n) sum w^2` in NumPy, from the states that were trained."""
    run, kept = a_run("digits"), []
    train = book.train
    monkeypatch.setattr(book, "train", lambda *a, **k: kept.append(train(*a, **k)) or kept[-1])
    found = learning_rate.costs(run, learning_rate.RIGHT)
    (trained,) = kept
    layers = trained.states.params
    squares = sum(np.square(np.asarray(layer["kernel"], np.float64)).sum((1, 2)) for layer in layers.values())
    decay = 5.0 * 60 / 50_000
    expected = trained.watched["loss"][:, -1] + decay / (2 * 60) * squares
    assert found[:, -1] == pytest.approx(expected, rel=1e-5)
