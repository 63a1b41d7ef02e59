import numpy as np
import pytest

import jaxdl
from experiments.generalization import ensembles
from experiments.generalization.ensemble_networks import MEMBERS, Networks, Timing
from experiments.generalization.ensembles import Measured
from experiments.harness.claims import Run
from jaxdl import procedures, training
from jaxdl.data import Examples, Splits

SPREAD = np.array([-0.02, -0.01, 0.0, 0.01, 0.02])


@pytest.fixture(scope="module")
def small_run():
    draws = np.random.RandomState(0)
    examples = Examples(draws.rand(70, 3, 3, 1).astype(np.float32), draws.randint(0, 10, 70).astype(np.int32))
    settings = {
        "epochs": {"digits": 2}, "images": {"digits": 64}, "dropout_networks": 2, "margin": {"digits": 0.5},
    }  # fmt: skip
    return Run("digits", Splits(examples, examples, examples), 2, settings)


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
    import jax

    everyone = jax.tree.map(lambda *leaves: np.concatenate(leaves), *seeded)
    sizes = networks.by_size(seeded)
    assert len(sizes) == 2 * MEMBERS
    assert sizes[-1] == pytest.approx(
        procedures.compare_members(networks.model, everyone, networks.test).loss, rel=1e-5
    )
    assert sizes[0] == pytest.approx(networks.report(seeded[0]).member_losses[0], rel=1e-5)


def test_networks_trained_on_begin_at_the_first_member(networks, seeded, monkeypatch):
    import jax

    started = []
    monkeypatch.setattr(
        networks, "_train", lambda step, init, seeds, epochs: started.extend(init(jax.random.key(s)) for s in seeds)
    )
    with pytest.raises(AttributeError):  # nothing was trained
        networks.trained_on(seeded[:1])
    assert len(started) == MEMBERS
    for state in started:
        jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[0]), state.params, seeded[0]["params"])
    assert len({np.asarray(jax.random.key_data(state.key)).tobytes() for state in started}) == MEMBERS


def test_without_dropout_passes_and_scaling_agree(networks, monkeypatch):
    from experiments.generalization import ensemble_networks

    stacked = networks.with_dropout()
    assert np.abs(networks.dropout_differences(stacked, 1)).max() > 0
    monkeypatch.setattr(ensemble_networks, "DROPOUT", 0.0)
    np.testing.assert_array_equal(networks.dropout_differences(stacked, 3), [0, 0])
    assert isinstance(networks.model, jaxdl.models.MLP)
