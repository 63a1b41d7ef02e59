"""The whole of `closed_forms` and `relu_speed` on planted results."""

import numpy as np
import pytest

from experiments.building_blocks import kernel_machine, ladder
from experiments.images import closed_forms, relu_speed
from experiments.images.relu_speed import RATES, WINDOW
from tests.experiments import planted

SAMPLED = dict(zip(closed_forms.NAMES, (11.0, 22.0, 82.0, 86.0), strict=True))


def closed_run(monkeypatch, dataset, off, lead):
    """All figures as published but for `off`; the machine of today is `lead` points better."""
    published = {name: value + off for name, (value, *_) in ladder.PUBLISHED.items()}
    machines = {"SVM, gamma auto": 90.0, "SVM, gamma scale": 90.0 + lead}
    samples = [
        {**{name: value - off * i for i, (name, value) in enumerate(SAMPLED.items())}, **machines} for _ in range(5)
    ]
    darkness = iter((closed_forms.DARKNESS_OF_ALL + off, closed_forms.DARKNESS_OF_LAST + off))
    columns = iter((0, 1))

    def fitted(train, sets):
        column = next(columns)
        accuracies = {name: (figures[column] or 0.0) + off for name, figures in closed_forms.FITS.items()}
        return closed_forms.Fit(accuracies, closed_forms.ERRORS[column] + off)

    monkeypatch.setattr(ladder, "closed_forms", lambda splits: published)
    monkeypatch.setattr(ladder, "percent", lambda found, labels: next(darkness))
    monkeypatch.setattr(closed_forms, "bootstrapped", lambda run, seed: samples[seed])
    monkeypatch.setattr(closed_forms, "fitted", fitted)
    monkeypatch.setattr(kernel_machine, "accuracies", lambda train, test, sizes, *, scale: {sizes[0]: 94.35 + off})
    run = planted.planted_run(dataset, {"machine_sample": 40, "machine_images": 50})
    closed_forms.run(run)
    return run


ORDER = ("majority class < average darkness", "negative control", "gamma='scale'")
TABLE = (
    *ladder.PUBLISHED, "average darkness of all", "average darkness of the last", "least squares on 50,000",
    "least squares on 50,000", "least squares on 60,000", "least squares on 60,000", "support vector machine",
)  # fmt: skip


def test_closed_forms_of_mnist_as_published(monkeypatch):
    run = closed_run(monkeypatch, "mnist", 0.0, 3.0)
    assert planted.verdicts(run, closed_forms.EXPERIMENT, ORDER + TABLE) == ["PASS"] * 14
    assert list(run.tables[0].rows[-1]) == ["SVM of 2013", "94.35"]
    axes = run.drawn["closed_forms"].axes
    assert len(axes) == 22
    bars = [bar.get_width() for bar in axes[21].patches]
    np.testing.assert_allclose(bars, [11.35, 22.25, 82.0, 86.09, 94.35])
    crosses = [line.get_xdata()[0] for line in axes[21].get_lines() if line.get_marker() == "x"]
    np.testing.assert_allclose(crosses, bars)
    images, y = run.splits.train
    np.testing.assert_allclose(axes[3].get_images()[0].get_array(), images[y == 3].mean(0)[..., 0], atol=1e-6)


def test_closed_forms_of_mnist_that_are_off(monkeypatch):
    run = closed_run(monkeypatch, "mnist", 61.0, -3.0)
    assert planted.verdicts(run, closed_forms.EXPERIMENT, ORDER + TABLE) == ["FAIL"] * 14


def test_closed_forms_of_digits_have_orderings_alone(monkeypatch):
    run = closed_run(monkeypatch, "digits", 0.0, 3.0)
    assert planted.verdicts(run, closed_forms.EXPERIMENT, ORDER) == ["PASS"] * 3
    assert len(run.notes) == 1
    assert len(run.tables[0].rows) == 4
    assert not run.drawn["closed_forms"].axes[21].get_lines()


def speed_run(monkeypatch, reach, *, best):
    """Errors fall to 1 % after `reach[name]` steps at rate number `best`, and 300 steps later a rate farther off."""

    def errors(run, name, rates, seeds):
        off = np.array([abs(RATES.index(rate) - best) for rate in rates])
        ends = reach[name] + 300 * off[:, None] + 2 * (np.array(seeds)[None, :] % 5)
        return np.where(np.arange(2000)[None, None, :] < ends[..., None] - WINDOW, 60.0, 1.0)

    monkeypatch.setattr(relu_speed, "running_errors", errors)
    run = planted.planted_run("mnist", {"steps": {"mnist": 2000}})
    relu_speed.run(run)
    return run


@pytest.mark.parametrize(
    ("reach", "best", "expected"),
    [
        ({"ReLU": 100, "tanh": 200}, 3, ["PASS", "PASS"]),
        ({"ReLU": 200, "tanh": 100}, 3, ["FAIL", "PASS"]),
        ({"ReLU": 100, "tanh": 200}, 0, ["INCONCLUSIVE", "FAIL"]),  # the best rate is the untuned one
    ],
)
def test_relu_and_tanh_at_planted_speeds(reach, best, expected, monkeypatch):
    run = speed_run(monkeypatch, reach, best=best)
    assert planted.verdicts(run, relu_speed.EXPERIMENT, ("ReLU reaches 5 %", "negative control")) == expected
    judged = [r for r in run.records if r["quantity"] == "steps_to_target" and r["activation"] == "tanh"]
    assert [record["steps"] for record in judged] == [reach["tanh"] + 2 * seed for seed in range(5)]
    assert {record["rate"] for record in judged} == {RATES[best]}
    left, right = run.drawn["relu_speed"].axes
    assert [axis.get_yscale() for axis in (left, right)] == ["log", "log"]
    assert planted.labels(left) == [f"{name}, eta {RATES[best]:g}" for name in reach]
    curve = planted.heights(left, f"tanh, eta {RATES[best]:g}")
    assert (curve[0], curve[-1]) == (60.0, 1.0)
    means = planted.heights(right, "ReLU")
    assert int(np.argmin(means)) == best
    tuning = reach["ReLU"] + np.array([0, 2, 4])  # of seeds 5, 6, 7
    assert means[best] == pytest.approx(np.exp(np.log(tuning).mean()))
