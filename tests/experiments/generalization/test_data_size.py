import numpy as np
import pytest

from experiments.building_blocks import kernel_machine
from experiments.generalization import data_size
from jaxdl.data import Examples
from tests.experiments.generalization.planted import images, judged, labels
from tests.experiments.planted import Drawn, heights

SPREAD = np.array([-0.1, -0.05, 0.0, 0.05, 0.1])
NETWORK = {size: pair[0] + SPREAD for size, pair in data_size.STORED.items()}
MACHINES = {size: pair[1] for size, pair in data_size.STORED.items()}


def a_run(dataset="mnist", *, updates=8, largest=50):
    return Drawn(dataset, images(80), 5, {"updates": {dataset: updates}, "largest_machine": largest})


def verdicts(network=NETWORK, machines=MACHINES, updates=150_000, dataset="mnist"):
    run = a_run(dataset)
    data_size.judge(run, network, machines, updates)
    assert {finding.row for finding in run.findings} == {"X12"}
    return [finding.verdict for finding in run.findings]


def test_the_stored_figures_pass_and_others_fail():
    assert verdicts() == ["PASS"] * 7
    assert verdicts(NETWORK | {100: 69.09 + 2 + SPREAD})[3] == "FAIL"
    assert verdicts(NETWORK | {5000: 93.24 + 1 + SPREAD})[4] == "FAIL"
    assert verdicts(NETWORK | {50_000: 95.97 + 1 + SPREAD}) == ["PASS"] * 5 + ["FAIL", "PASS"], "growth ends at 20,000"
    assert verdicts(NETWORK | {50_000: 95.85 - 2 + SPREAD})[0] == "PASS"
    dip = NETWORK | {200: np.array([76.0, 76.0, 76.0, 76.0, 68.0])}
    assert verdicts(dip)[0] == "FAIL"
    assert verdicts(machines=MACHINES | {20_000: 95.8})[2] == "FAIL", "one seed is not above"
    assert verdicts(machines=MACHINES | {20_000: 93.48})[-1] == "FAIL", "one image more"
    falling = {size: 99.0 - 0.0005 * size + SPREAD for size in NETWORK}
    assert verdicts(falling)[:2] == ["FAIL", "FAIL"]


def run_planted(monkeypatch, run, network, machines):
    asked = []

    def accuracies(train, unseen, sizes, *, scale):
        asked.append(scale)
        return {size: machines[size] for size in sizes}

    monkeypatch.setattr(data_size, "accuracies", lambda run, size, updates: network[size])
    monkeypatch.setattr(data_size.kernel_machine, "accuracies", accuracies)
    data_size.EXPERIMENT.run(run)
    return asked


def test_planted_figures_of_the_book_are_judged_told_and_drawn(monkeypatch):
    run = a_run(updates=150_000, largest=50_000)
    assert run_planted(monkeypatch, run, NETWORK, MACHINES) == [255 / 256]
    claims = ("more images never", "negative control", "the network is above", "at most 1,000 images",
              "2,000 to 10,000 images", "20,000 and more images", "parameters of 2013")  # fmt: skip
    judged(run, dict.fromkeys(claims, "PASS"), rows=("X12",))
    assert run.tables[0].rows[0] == ["100", "69.09", "68.99 to 69.19", "69.09", "25.07", "25.07"]
    assert len(run.tables[0].rows) == 9
    assert len(run.notes) == 1, "all sizes, and the data of the book"
    accuracy, error = run.drawn["data_size"].axes
    assert labels(accuracy) == labels(error) == ["network", "SVM"]
    stored = np.array(list(data_size.STORED.values()))
    for axis, shown in ((accuracy, stored), (error, 100 - stored)):
        np.testing.assert_allclose(heights(axis, "network"), shown[:, 0])
        np.testing.assert_allclose(heights(axis, "SVM"), shown[:, 1])
        crosses = [each.get_ydata() for each in axis.lines if each.get_marker() == "x"]
        np.testing.assert_allclose(crosses, shown.T)
    assert (accuracy.get_xscale(), accuracy.get_yscale(), error.get_yscale()) == ("log", "linear", "log")


def test_planted_opposites_fail_on_digits(monkeypatch):
    run = a_run("digits", largest=200)
    falling = {size: 80 - 0.01 * size + SPREAD for size in data_size.SIZES["digits"]}
    assert run_planted(monkeypatch, run, falling, {50: 85.0, 100: 85.0, 200: 85.0}) == [1.0]
    judged(run, {"more images never": "FAIL", "negative control": "FAIL", "the network is above": "FAIL"},
           rows=("X12",))  # fmt: skip
    assert run.tables[0].rows[-1] == ["1,000", "70.00", "69.90 to 70.10", "-", "-", "-"]
    assert "at most 200 images here" in run.notes[1]
    assert "only orderings are tested" in run.notes[2]
    assert not [
        each for each in run.drawn["data_size"].axes[0].lines if each.get_marker() == "x" and len(each.get_xdata())
    ]


def test_short_runs_and_other_data_are_not_held_against_the_book():
    assert verdicts(updates=500) == ["INCONCLUSIVE", "PASS"] + ["INCONCLUSIVE"] * 4 + ["PASS"]
    assert len(verdicts(dataset="digits")) == 3


def test_the_tolerances_are_those_of_the_set_up():
    assert [data_size.tolerance(size) for size in data_size.STORED] == [1.5] * 4 + [0.8] * 3 + [0.6] * 2


def test_the_number_of_updates_and_the_decay_do_not_depend_on_the_size(monkeypatch):
    seen = []

    def train(model, objective, tx, data, watched, **options):
        params = {"Dense_0": {"kernel": np.ones((1, 1), np.float32), "bias": np.ones(1, np.float32)}}
        zero = {"Dense_0": {"kernel": np.zeros((1, 1), np.float32), "bias": np.zeros(1, np.float32)}}
        updates, _ = tx.update(zero, tx.init(params), params)
        seen.append((len(data.x), options["epochs"], float(updates["Dense_0"]["kernel"][0, 0])))
        return data_size.book.Trained(None, {"accuracy": np.zeros((5, 1))}, 0.0)

    monkeypatch.setattr(data_size.book, "train", train)
    for size in (20, 40, 80):
        data_size.accuracies(a_run(), size, 80)
    assert [(size, epochs) for size, epochs, _ in seen] == [(20, 40), (40, 20), (80, 10)]
    assert [size * epochs // 10 for size, epochs, _ in seen] == [80] * 3
    assert [decay for *_, decay in seen] == pytest.approx([-0.5e-4] * 3)


def test_the_machine_is_that_of_2013():
    """The decision values of its own support vectors, with gamma 1 / number of pixels, in NumPy."""
    draws = np.random.RandomState(1)
    x = draws.rand(60, 2, 2, 1).astype(np.float32)
    y = (x.sum((1, 2, 3)) > 2).astype(np.int32)
    data = Examples(x, y)
    flat = x.reshape(60, 4).astype(np.float64)
    fitted = kernel_machine.machine().fit(flat[:40], y[:40])
    distances = ((flat[:, None] - fitted.support_vectors_) ** 2).sum(-1)
    values = np.exp(-distances / 4) @ fitted.dual_coef_[0] + fitted.intercept_[0]
    np.testing.assert_allclose(values, fitted.decision_function(flat), atol=1e-9)
    assert np.abs(fitted.dual_coef_).max() <= 1.0
    found = kernel_machine.accuracies(data, data, [40])
    assert found == {40: pytest.approx(100 * np.mean((values > 0) == y))}
    halved = Examples(x / 2, y)
    assert kernel_machine.accuracies(data, data, [40], scale=0.5) == kernel_machine.accuracies(halved, halved, [40])
