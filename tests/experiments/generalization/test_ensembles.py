from types import SimpleNamespace

import jax
import numpy as np
import pytest

import jaxdl
from experiments.generalization import ensemble_networks, ensembles
from experiments.generalization.ensemble_networks import MEMBERS, Networks, Timing
from experiments.generalization.ensembles import Measured
from jaxdl import procedures, training
from tests.experiments.generalization.planted import images, judged, labels, of_dataset, ticks
from tests.experiments.planted import Drawn, heights

SPREAD = np.array([-0.02, -0.01, 0.0, 0.01, 0.02])


def a_run(dataset="digits", seeds=2):
    settings = of_dataset(dataset, epochs=2, images=64, margin=0.5)
    return Drawn(dataset, images(70), seeds, {**settings, "dropout_networks": 2})


@pytest.fixture(scope="module")
def small_run():
    return a_run()


@pytest.fixture(scope="module")
def networks(small_run):
    return Networks(small_run)


@pytest.fixture(scope="module")
def seeded(networks):
    return networks.seeded()


def measured(gain, vote):
    members = np.tile(97.0 + SPREAD[:, None], (1, MEMBERS))
    return Measured(members, members.mean(1) + gain + SPREAD, members.mean(1) + vote, np.ones(5), np.ones(5))


def verdicts(run, judge, *arguments):
    run.findings.clear()
    judge(run, *arguments)
    return [finding.verdict for finding in run.findings]


def test_a_gain_passes_and_none_fails(small_run):
    found = verdicts(small_run, ensembles.judge_members, measured(0.5, 0.4), measured(0.3, 0.2))
    assert found == ["PASS"] * 5
    found = verdicts(small_run, ensembles.judge_members, measured(-0.1, 0.9), measured(0.4, 0.0))
    assert found == ["FAIL", "PASS", "PASS", "FAIL", "FAIL"]


def test_members_that_are_not_together_or_not_alike_fail(small_run):
    alike = np.ones(5, bool)
    timings = [Timing(1.0, 3.0, True, alike, 20), Timing(1.0, 3.0, False, alike, 20)]
    timings.append(timings[0]._replace(alike=np.array([True, True, False, True, True])))
    found = [verdicts(small_run, ensembles.judge_program, timing) for timing in timings]
    assert found == [["PASS"], ["FAIL"], ["FAIL"]]
    assert "x3.00" in small_run.findings[0].remark


def test_the_control_is_what_averaging_destroys(small_run):
    means = dict.fromkeys(("different starts", "one trajectory", "one trained start"), 97.0 + SPREAD)
    good, destroyed = {name: 97.1 + SPREAD for name in means}, {name: 20.0 + SPREAD for name in means}
    one = good | {"different starts": destroyed["different starts"]}
    assert verdicts(small_run, ensembles.judge_weights, one, means) == ["PASS"] * 3
    assert verdicts(small_run, ensembles.judge_weights, good, means) == ["PASS", "PASS", "FAIL"]
    assert verdicts(small_run, ensembles.judge_weights, destroyed, means) == ["FAIL", "FAIL", "PASS"]


def test_dropout_is_judged_both_ways(small_run):
    near, far = 0.1 + SPREAD, -9.0 + SPREAD
    assert verdicts(small_run, ensembles.judge_dropout, {50: near, 1: far}) == ["PASS", "PASS"]
    assert verdicts(small_run, ensembles.judge_dropout, {50: far, 1: near}) == ["FAIL", "FAIL"]


def run_planted(monkeypatch, run, *, seeds, bagging, weights, masks, timing):
    """Every ensemble is its name and number; `seeds` and `bagging` are gains of the average and of the vote."""
    gains = {"seeds": seeds, "bagging": bagging, "one trained start": (0.0, 0.0)}

    def ensembles_of(name):
        return lambda networks, *others: [(name, k) for k in range(run.seeds)]

    def report(networks, variables):
        name, k = variables
        members = 0.97 + SPREAD[k] / 100 + 0.002 * np.linspace(-1, 1, MEMBERS)
        average, vote = members.mean() + np.array(gains[name]) / 100 + SPREAD[k] / 100
        return SimpleNamespace(
            member_accuracies=members, accuracy=average, vote_accuracy=vote, disagreement=0.01,
            member_losses=np.full(MEMBERS, 0.2),
        )  # fmt: skip

    def weight_average(networks, stacked):
        return weights["different starts" if stacked[0][0] == "seeds" else "one trained start"] + SPREAD

    planted = {
        "seeded": ensembles_of("seeds"), "bagged": ensembles_of("bagging"),
        "trained_on": ensembles_of("one trained start"),
        "with_dropout": lambda networks: "dropout", "timing": lambda networks: timing, "report": report,
        "weight_average": weight_average,
        "trajectory_average": lambda networks, stacked: weights["one trajectory"] + SPREAD,
        "dropout_differences": lambda networks, stacked, passes: masks[passes] + SPREAD,
        "by_size": lambda networks, stacked: np.linspace(0.2, 0.1, MEMBERS * len(stacked)),
    }  # fmt: skip
    for name, function in planted.items():
        monkeypatch.setattr(Networks, name, function)
    ensembles.EXPERIMENT.run(run)


NAMES = ("different starts", "one trajectory", "one trained start")
CLAIMS = ("different seeds, their probabilities", "bootstrap samples, their probabilities", "majority vote",
          "no better than the average", "bagging is no better", "trained by one program", "second half of a run",
          "one trained network", "negative control, the rule must fail: the mean weights", "average of 50 passes",
          "negative control, the rule must fail: one pass")  # fmt: skip


def test_planted_ensembles_are_judged_told_and_drawn(monkeypatch):
    run = a_run("mnist", seeds=5)
    weights = dict(zip(NAMES, (20.0, 97.1, 97.05), strict=True))
    timing = Timing(1.0, 3.0, True, np.ones(MEMBERS, bool), 20)
    run_planted(monkeypatch, run, seeds=(0.5, 0.4), bagging=(0.3, 0.2), weights=weights, masks={50: 0.1, 1: -9.0},
                timing=timing)  # fmt: skip
    judged(run, dict.fromkeys(CLAIMS, "PASS"))
    assert "two members differ on 1.00 %" in run.findings[0].remark
    control = next(finding for finding in run.findings if "mean weights of 5 networks of different" in finding.claim)
    assert control.remark == "20.00 % against 97.00 %: their hidden units are permuted"
    assert run.records[0]["average"] == pytest.approx(97.46)
    assert run.records[4]["weights"] == pytest.approx(dict(zip(NAMES, (20.02, 97.12, 97.07), strict=True)))
    left, middle, right = run.drawn["ensembles"].axes
    np.testing.assert_allclose(heights(left, "seeds: average"), 97.5 + 2 * SPREAD)
    np.testing.assert_allclose(heights(left, "bagging: mean member"), 97 + SPREAD)
    np.testing.assert_allclose(heights(left, "vote"), 97.4 + 2 * SPREAD)
    np.testing.assert_allclose(middle.lines[0].get_ydata(), np.linspace(0.2, 0.1, 25))
    np.testing.assert_allclose(heights(middle, "mean member"), 0.2)
    assert middle.lines[2].get_xdata() == [MEMBERS, MEMBERS]
    assert [bar.get_height() for bar in right.patches] == pytest.approx([97, 20, 97, 97.1, 97, 97.05])
    assert labels(right) == ["networks averaged", "mean weights"]
    assert ticks(right.xaxis) == [name.replace(" ", "\n", 1) for name in NAMES]
    assert len(run.figures) == 1


def test_planted_opposites_fail(monkeypatch):
    run = a_run(seeds=5)
    weights = dict(zip(NAMES, (97.1, 20.0, 20.0), strict=True))
    timing = Timing(1.0, 3.0, False, np.ones(MEMBERS, bool), 20)
    run_planted(monkeypatch, run, seeds=(-1.0, -0.1), bagging=(-0.2, 0.0), weights=weights, masks={50: -9.0, 1: 0.1},
                timing=timing)  # fmt: skip
    judged(run, dict.fromkeys(CLAIMS, "FAIL"))


def test_the_members_are_the_single_runs(networks, seeded):
    timing = networks.timing()
    assert timing.one_program
    assert timing.alike.all()
    assert len(seeded) == 2
    assert min(timing.together, timing.alone) > 0


def test_averages_of_weights_are_evaluated_on_the_test_split(networks, seeded, small_run):
    state = procedures.as_state(procedures.average_weights(seeded[1]))
    expected = 100 * training.evaluate(networks._objective, state, small_run.splits.test)["accuracy"]
    assert networks.weight_average(seeded)[1] == pytest.approx(expected)
    assert networks.trajectory_average(seeded).shape == (2,)


def test_all_together_are_the_last_of_the_sizes(networks, seeded):
    everyone = jax.tree.map(lambda *leaves: np.concatenate(leaves), *seeded)
    sizes = networks.by_size(seeded)
    assert len(sizes) == 2 * MEMBERS
    assert sizes[-1] == pytest.approx(
        procedures.compare_members(networks.model, everyone, networks.test).loss, rel=1e-5
    )
    assert sizes[0] == pytest.approx(networks.report(seeded[0]).member_losses[0], rel=1e-5)


def test_networks_trained_on_begin_at_the_first_member(networks, seeded, monkeypatch):
    started, asked = [], []

    def train(step, init, seeds, epochs):
        asked.append((seeds, epochs))
        started.extend(init(jax.random.key(s)) for s in seeds)
        return SimpleNamespace(variables="trained on")

    monkeypatch.setattr(networks, "_train", train)
    assert networks.trained_on(seeded) == ["trained on"] * 2
    assert asked == [(range(5), 1), (range(5, 10), 1)], "a quarter of the epochs, one at least"
    assert len(started) == 2 * MEMBERS
    for i, state in enumerate(started):
        first = seeded[i // MEMBERS]["params"]
        jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[0]), state.params, first)
    assert len({np.asarray(jax.random.key_data(state.key)).tobytes() for state in started}) == 2 * MEMBERS


def test_bagged_networks_have_the_seeds_of_the_others_and_samples(networks, monkeypatch):
    asked = []

    def train(step, init, seeds, epochs, **options):
        asked.append((seeds, epochs, options))
        return SimpleNamespace(variables=len(asked))

    monkeypatch.setattr(networks, "_train", train)
    assert networks.bagged() == [1, 2]
    assert asked == [(range(5), 2, {"bagging": True}), (range(5, 10), 2, {"bagging": True})]


def test_without_dropout_passes_and_scaling_agree(networks, monkeypatch):
    stacked = networks.with_dropout()
    assert np.abs(networks.dropout_differences(stacked, 1)).max() > 0
    monkeypatch.setattr(ensemble_networks, "DROPOUT", 0.0)
    np.testing.assert_array_equal(networks.dropout_differences(stacked, 3), [0, 0])
    assert isinstance(networks.model, jaxdl.models.MLP)
