"""Rows, tables and paired tests of members whose metrics are made up, and of real ones."""

import csv
import io

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from jaxdl import training
from jaxdl.training import History, ManyRuns, accuracy_interval, mean_interval

DRAWS = np.random.RandomState(0)


def made_up(values, *, rates=(0.1, 0.3), seeds=(5, 2, 9), train=None):
    """A result whose last validation losses are `values`, `(arms, seeds)`."""
    members = tuple({"learning_rate": rate, "seed": seed} for rate in rates for seed in seeds)
    losses = np.reshape(values, -1).astype(float)
    nothing = np.zeros(0, int)
    history = History(
        train={} if train is None else {"loss": train}, validation={"loss": np.stack([losses + 1, losses], 1)},
        validation_steps=nothing, measures=None, measure_steps=nothing, steps_per_epoch=2, engine="map",
        compile_seconds=0.0, run_seconds=0.0,
    )  # fmt: skip
    state = training.make_state(jnp.zeros(1), optax.sgd(0.1), key=jax.random.key(0))
    return ManyRuns(state, history, members, {}, len(members))


def test_rows_hold_the_last_evaluation_and_the_mean_of_the_last_epoch():
    train = np.arange(18, dtype=np.float32).reshape(6, 3)
    runs = made_up(np.arange(6), train=train)
    assert runs.rows()[4] == {"learning_rate": 0.3, "seed": 2, "validation_loss": 4.0, "train_loss": 13.5}
    assert runs.rows("train_loss")[0] == {"learning_rate": 0.1, "seed": 5, "train_loss": 1.5}
    np.testing.assert_array_equal(runs.values("validation_loss"), np.arange(6))
    assert runs.arms == ({"learning_rate": 0.1}, {"learning_rate": 0.3})


def test_it_unpacks_as_states_and_history():
    runs = made_up(np.arange(6))
    states, history = runs
    assert states is runs.states
    assert history is runs.history


def test_the_table_has_the_mean_and_its_t_interval():
    values = DRAWS.rand(2, 3)
    lines = made_up(values).table("validation_loss").splitlines()
    assert lines[0].split() == ["learning_rate", "validation_loss", "95", "%", "interval", "seeds"]
    for line, rate, row in zip(lines[1:], ("0.1", "0.3"), values, strict=True):
        low, high = stats.t.interval(0.95, 2, loc=row.mean(), scale=stats.sem(row))
        assert line.split() == [rate, f"{row.mean():.4g}", f"{low:.4g}", "to", f"{high:.4g}", "3"]
    assert len({len(line) for line in lines}) == 1


def test_the_table_says_which_members_are_in_no_mean():
    lines = made_up([[1.0, np.nan, 3.0], [np.inf] * 3]).table("validation_loss").splitlines()
    assert lines[1].endswith("2, 1 not finite")
    assert lines[1].split()[1] == "2"
    assert lines[2].split() == ["0.3", "-", "-", "0,", "3", "not", "finite"]


@pytest.mark.parametrize("arms", [(0, 1), ({"learning_rate": 0.1}, {"learning_rate": 0.3})])
def test_the_paired_test_is_that_of_scipy(arms):
    values = DRAWS.rand(2, 6)
    found = made_up(values, seeds=range(6)).paired("validation_loss", *arms)
    expected = stats.ttest_rel(*values)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-12)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)), rel=1e-12)
    assert found.difference == pytest.approx(values[0].mean() - values[1].mean())
    assert (found.seeds, found.left_out) == (tuple(range(6)), ())
    turned = made_up(values, seeds=range(6)).paired("validation_loss", *arms[::-1])
    assert turned.difference == pytest.approx(-found.difference)
    low, high = found.interval
    assert found.verdict() == (
        f"validation_loss of learning_rate 0.1 less that of learning_rate 0.3: {found.difference:.4g}, 95 % interval "
        f"{low:.4g} to {high:.4g}, p {found.p:.2g}, 6 seeds"
    )


def test_a_seed_without_a_finite_value_in_both_arms_is_left_out_and_named():
    values = np.array([[1.0, 2.0, np.nan, 4.0], [1.5, np.inf, 3.0, 3.0]])
    found = made_up(values, seeds=(4, 5, 6, 7)).paired("validation_loss", 0, 1)
    assert (found.seeds, found.left_out) == ((4, 7), (5, 6))
    assert found.p == pytest.approx(stats.ttest_rel([1.0, 4.0], [1.5, 3.0]).pvalue)
    assert found.verdict().endswith("2 seeds; NOT compared, since a value is not finite: seeds 5, 6")


@pytest.mark.parametrize(
    ("values", "difference", "p"),
    [
        ([[1.0, 2.0], [1.0, 2.0]], 0.0, np.nan),
        ([[1.0, 2.0], [3.0, 4.0]], -2.0, 0.0),
        ([[1.0, np.nan], [3.0, 4.0]], -2.0, np.nan),
        ([[np.nan, np.nan], [3.0, 4.0]], np.nan, np.nan),
    ],
)
def test_differences_without_a_spread(values, difference, p):
    found = made_up(values, seeds=(0, 1)).paired("validation_loss", 0, 1)
    np.testing.assert_equal((found.difference, found.p), (difference, p))


@pytest.mark.parametrize("given", [2, -1, True, {}, {"learning_rate": 0.2}, {"width": 3}, "0.1"])
def test_arms_that_are_not_there(given):
    runs = made_up(np.arange(6))
    message = (
        r"a: expected a number from 0 to 1, or names .* which fits [02]\. The arms are: \{'learning_rate': 0\.1\}; "
    )
    with pytest.raises(ValueError, match=message):
        runs.paired("validation_loss", given, 0)
    with pytest.raises(ValueError, match="b: expected a number from 0 to 1"):
        runs.paired("validation_loss", 0, given)


def test_an_arm_against_itself():
    with pytest.raises(ValueError, match=r"b: expected another arm than a; got \{'learning_rate': 0\.3\} for both"):
        made_up(np.arange(6)).paired("validation_loss", 1, {"learning_rate": 0.3})


def test_an_unknown_metric():
    with pytest.raises(ValueError, match="metric: expected one of validation_loss; got 'accuracy'"):
        made_up(np.arange(6)).table("accuracy")


def test_comma_separated_values_come_back(tmp_path):
    runs = made_up(DRAWS.rand(6), train=DRAWS.rand(6, 3).astype(np.float32))
    text = runs.to_csv(tmp_path / "runs.csv")
    assert (tmp_path / "runs.csv").read_text() == text == runs.to_csv()
    back = list(csv.DictReader(io.StringIO(text)))
    assert [{name: float(value) for name, value in row.items()} for row in back] == runs.rows()


@pytest.mark.parametrize("count", [2, 5, 30])
def test_the_mean_interval_is_that_of_scipy(count):
    values = DRAWS.randn(count)
    low, high = stats.t.interval(0.9, count - 1, loc=values.mean(), scale=stats.sem(values))
    assert mean_interval(values, 0.9) == pytest.approx((values.mean(), low, high), rel=1e-12)


def test_the_mean_interval_of_one_value_and_of_none():
    assert mean_interval([3.0]) == (3.0, -np.inf, np.inf)
    assert np.all(np.isnan(mean_interval([])))


def test_members_of_a_real_run_are_their_single_runs(task):
    options = dict(epochs=2, batch_size=10, validation=task.data)
    runs = training.run_many(task.step, task.init, task.data, seeds=[3, 0], mode="map", **options)
    single = training.fit(task.step, task.init(jax.random.key(0)), task.data, **options).history
    row = runs.rows()[1]
    assert set(row) == {"seed", "validation_loss", "validation_accuracy", "train_loss", "train_accuracy"}
    assert row["validation_accuracy"] == single.validation["accuracy"][-1]
    assert row["train_loss"] == pytest.approx(single.train["loss"][12:].mean(dtype=np.float64))
    assert runs.arms == ({},)
    assert len(runs.table("train_loss").splitlines()) == 2
    nothing = training.run_many(task.step, task.init, task.data, seeds=[0], steps=0, batch_size=10)
    with pytest.raises(ValueError, match=r"metric: expected one of \(none: no step was done\); got 'train_loss'"):
        nothing.table("train_loss")
    assert nothing.rows() == [{"seed": 0}]


@pytest.mark.parametrize(("right", "total"), [(9650, 10_000), (0, 20), (20, 20), (1, 1), (7, 13)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_the_accuracy_interval_is_wilsons(right, total, confidence):
    expected = stats.binomtest(right, total).proportion_ci(confidence, "wilson")
    found = accuracy_interval(right / total, total, confidence=confidence)
    assert found == pytest.approx((expected.low, expected.high), rel=1e-12, abs=1e-15)


def test_the_binomial_error_of_ten_thousand_examples():
    """T40: sqrt(p (1 - p) / N) is 0.18 points at 96.5 %."""
    low, high = accuracy_interval(0.965, 10_000, confidence=stats.norm.cdf(1) - stats.norm.cdf(-1))
    assert (high - low) / 2 == pytest.approx(0.0018, abs=5e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((96.5, 100, 0.95), r"accuracy: expected one finite number >= 0 and <= 1; got 96\.5\. Divide"),
        ((0.5, 0, 0.95), r"num_examples: expected .*; got 0\. Pass the size"),
        ((0.5, 10, 1), r"confidence: expected one finite number > 0 and < 1; got 1\. 0\.95 is usual"),
    ],
)
def test_accuracies_that_are_none(arguments, message):
    accuracy, total, confidence = arguments
    with pytest.raises(ValueError, match=message):
        accuracy_interval(accuracy, total, confidence=confidence)
