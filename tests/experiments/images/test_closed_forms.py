import numpy as np
import pytest

from experiments.building_blocks import ladder
from experiments.harness.claims import Run
from experiments.images import closed_forms
from jaxdl.data import Examples, Splits

SETTINGS = {"sample": {"mnist": 60, "digits": 60}, "machine_sample": 40, "machine_images": 0}


def a_run(dataset="mnist"):
    draws = np.random.RandomState(0)
    parts = [
        Examples(draws.rand(count, 3, 3, 1).astype(np.float32), draws.randint(0, 10, count).astype(np.int32))
        for count in (80, 40, 30)
    ]
    return Run(dataset, Splits(*parts), 5, SETTINGS)


def verdicts(run, judge, *arguments):
    run.findings.clear()
    judge(run, *arguments)
    assert {finding.row for finding in run.findings} == {"X05"}
    return [finding.verdict for finding in run.findings]


def test_the_table_passes_and_one_image_more_fails():
    run = a_run()
    fixed = {name: value for name, (value, *_) in ladder.PUBLISHED.items()}
    assert verdicts(run, closed_forms.judge_published, fixed) == ["PASS"] * 4
    moved = {name: value + 0.01 for name, value in fixed.items()}
    assert verdicts(run, closed_forms.judge_published, moved) == ["FAIL", "FAIL", "PASS", "PASS"]
    assert verdicts(run, closed_forms.judge_machine, 94.35) == ["PASS"]
    assert verdicts(run, closed_forms.judge_machine, 94.45) == ["FAIL"]


def test_fits_are_held_against_both_columns():
    run = a_run()
    expected = {"training accuracy": 85.65, "test accuracy": 86.09}
    near = closed_forms.Fit({"training accuracy": 85.66, "test accuracy": 86.05}, 0.038305)
    assert verdicts(run, closed_forms.judge_fit, 50_000, near, expected, 0.03831) == ["PASS", "PASS"]
    far = closed_forms.Fit({"training accuracy": 85.66, "test accuracy": 86.00}, 0.03800)
    assert verdicts(run, closed_forms.judge_fit, 50_000, far, expected, 0.03831) == ["FAIL", "FAIL"]


def test_a_fit_against_lstsq():
    run = a_run()
    train, _, test = map(ladder.flat, run.splits)
    found = closed_forms.fitted(train, {"training": train, "test": test})
    inputs = np.hstack([train.x, np.ones((80, 1))])
    weights, residuals, *_ = np.linalg.lstsq(inputs, np.eye(10)[train.y], rcond=None)
    assert found.error == pytest.approx(residuals.sum() / 800)
    guessed = (np.hstack([test.x, np.ones((30, 1))]) @ weights).argmax(1)
    assert found.accuracies["test"] == pytest.approx(100 * np.mean(guessed == test.y))


def test_the_images_of_every_finding_are_those_it_names(monkeypatch):
    """Recorded by the number of images and the first of them."""
    run, seen = a_run(), []
    monkeypatch.setattr(closed_forms, "TRAINING", 80)
    monkeypatch.setattr(closed_forms, "ALL", 120)
    monkeypatch.setattr(ladder, "by_darkness", lambda images, x: seen.append(images) or np.zeros(len(x), int))
    closed_forms.judge_fits(run)
    train, validation, _ = map(ladder.flat, run.splits)
    everything, last = seen
    assert len(everything.x) == 120
    assert len(last.x) == 80
    np.testing.assert_array_equal(everything.x[:80], train.x)
    np.testing.assert_array_equal(last.x[-40:], validation.x)
    np.testing.assert_array_equal(last.y[0], train.y[40])
    assert len(run.findings) == 6


def sampled(order, lead):
    spread = 0.1 * np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    accuracies = dict(zip(closed_forms.NAMES, order, strict=True))
    return [
        {name: value + offset for name, value in accuracies.items()}
        | {"SVM, gamma auto": 90 + offset, "SVM, gamma scale": 90 + lead - offset}
        for offset in spread
    ]


def test_orderings_can_fail():
    run = a_run()
    assert verdicts(run, closed_forms.judge_orderings, sampled((11, 22, 82, 86), 3.0)) == ["PASS"] * 3
    assert verdicts(run, closed_forms.judge_orderings, sampled((11, 22, 86, 82), -3.0)) == ["FAIL", "PASS", "FAIL"]
    assert verdicts(run, closed_forms.judge_orderings, sampled((11, 83, 82, 86), 3.0)) == ["FAIL", "FAIL", "PASS"]


def test_bootstrap_samples_are_paired_and_differ_by_seed():
    run = a_run()
    first, second, again = (closed_forms.bootstrapped(run, seed) for seed in (0, 1, 0))
    assert first == again
    assert first != second
    assert set(first) == {*closed_forms.NAMES, "SVM, gamma auto", "SVM, gamma scale"}
