import jax
import numpy as np
import pytest

from experiments.building_blocks import book
from experiments.harness.claims import Run
from experiments.training import weight_scale
from jaxdl.data import Examples, Splits
from tests.experiments.training.planted import drive, labelled, small_splits

SPREAD = np.array([-0.1, -0.05, 0.0, 0.05, 0.1])


def a_run(dataset="mnist", **settings):
    draws = np.random.RandomState(0)
    examples = Examples(draws.rand(60, 2, 2, 1).astype(np.float32), draws.randint(0, 10, 60).astype(np.int32))
    return Run(
        dataset, Splits(examples, examples, examples), 5, {"epochs": {dataset: 2}, "every": {dataset: 1}, **settings}
    )


def stored(shift=0.0, epochs=30):
    """Curves through the book's first and last values, with its means of the last ten epochs."""
    curves = {}
    for arm, (values, mean) in weight_scale.STORED.items():
        curve = np.full((5, epochs), mean) + SPREAD[:, None] + shift
        curve[:, 0] = values[0] + SPREAD
        curves[arm] = curve
    return curves


def verdicts(curves, dataset="mnist"):
    run = a_run(dataset)
    weight_scale.judge(run, curves)
    assert {finding.row for finding in run.findings} == {"X08"}
    return [finding.verdict for finding in run.findings]


def test_the_stored_curves_pass_and_others_fail():
    assert verdicts(stored()) == ["PASS"] * 8
    assert verdicts(stored(shift=2.0))[4:] == ["FAIL"] * 4
    swapped = stored()
    swapped[30, "1"][:, 0] = 92.0
    assert verdicts(swapped)[0] == "FAIL", "a lead of 0.7 points is none of 3"
    apart = stored()
    apart[30, "1"][:, -1] -= 2
    assert verdicts(apart)[2] == "FAIL"
    level = stored()
    level[30, "1/sqrt(fan_in)"][:, 0] = level[30, "1/sqrt(fan_in)"][:, -1] + 0.1 * SPREAD
    assert verdicts(level)[3] == "FAIL", "the control has to fail"


def test_short_runs_are_judged_by_the_first_epoch_alone():
    short = {arm: curve[:, :5] for arm, curve in stored().items()}
    assert verdicts(short) == ["PASS", "PASS", "INCONCLUSIVE", "PASS"] + ["INCONCLUSIVE"] * 4
    assert len(verdicts(stored(), "digits")) == 4


@pytest.mark.parametrize("dataset", ["mnist", "digits"])
def test_the_picture_holds_the_means_and_the_books_runs_on_mnist_alone(dataset, monkeypatch):
    curves, asked = stored(), []

    def train(model, objective, tx, data, watched, *, seeds, epochs, evaluate_every):
        assert watched is small.validation
        large = np.asarray(model.kernel_init(jax.random.key(0), (40, 40))).std() > 0.5
        asked.append((model.sizes[0], "1" if large else "1/sqrt(fan_in)", epochs, evaluate_every))
        return book.Trained(None, {"accuracy": curves[asked[-1][:2]]}, 1.0)

    small = small_splits()
    monkeypatch.setattr(book, "train", train)
    run = drive(weight_scale.EXPERIMENT, dataset, splits=small)
    epochs = {"mnist": (30, 1), "digits": (1260, 42)}[dataset]
    assert asked == [(width, start, *epochs) for width in (30, 100) for start in ("1/sqrt(fan_in)", "1")]
    for axis, width in zip(run.drawn["weight_scale"].axes, (30, 100), strict=True):
        assert axis.get_title() == f"{width} hidden units"
        assert axis.get_xscale() == "log"
        for start in weight_scale.STARTS:
            np.testing.assert_allclose(labelled(axis)[f"deviation {start}"], curves[width, start].mean(0))
        crosses = [tuple(line.get_ydata()) for line in axis.lines if line.get_marker() == "x"]
        books = [values for (w, _), (values, _) in weight_scale.STORED.items() if w == width]
        assert crosses == (books if dataset == "mnist" else [])
    assert len(run.records) == 20
    assert len(run.notes) == (dataset == "digits")
    assert [finding.verdict for finding in run.findings] == ["PASS"] * len(run.findings)


def test_the_arms_share_draws_and_differ_by_the_root_of_fan_in():
    run = a_run()
    large, small = (
        book.network(1, start=make and make()).init(jax.random.key(3), run.splits.train.x)["params"]
        for make in (weight_scale.STARTS["1"], weight_scale.STARTS["1/sqrt(fan_in)"])
    )
    for layer, fan_in in (("Dense_0", 4), ("Dense_1", 30)):
        ratio = np.asarray(large[layer]["kernel"]) / np.asarray(small[layer]["kernel"])
        np.testing.assert_allclose(ratio, np.sqrt(fan_in), rtol=1e-5)
        np.testing.assert_array_equal(large[layer]["bias"], small[layer]["bias"])


@pytest.mark.slow
def test_a_run_of_two_epochs_reports_every_seed():
    run = a_run("digits", widths=(30,))
    weight_scale.run(run)
    assert {record["seed"] for record in run.records} == set(range(5))
    assert all(len(record["percent_by_epoch"]) == 2 for record in run.records)
