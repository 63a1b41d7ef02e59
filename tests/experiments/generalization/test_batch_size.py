from dataclasses import replace
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from experiments.generalization import batch_size
from experiments.generalization.batch_size_networks import RADII, Networks, Trained
from jaxdl import diagnostics
from tests.experiments.generalization.planted import images, judged, labels, of_dataset, ticks
from tests.experiments.planted import Drawn, heights

SPREAD = np.array([-0.02, -0.01, 0.0, 0.01, 0.02])


def small_run(dataset="digits", **settings):
    given = {"images": 40, "hidden": (6,), "probed": 20, "directions": 2, "lanczos": 4, **settings}
    return Drawn(dataset, images(), 5, of_dataset(dataset, **given))


def trained(train, test, rise=1.0, top=10.0):
    curve = np.tile(np.linspace(2.0, 0.1, 8), (5, 1))
    return Trained(train + SPREAD, test + SPREAD[::-1], 0.01 + 0 * SPREAD, curve, np.full((5, 4), rise), top + SPREAD)


def verdicts(judge, *arms, dataset="digits"):
    run = small_run(dataset)
    judge(run, *arms)
    return [finding.verdict for finding in run.findings], run.findings


def test_the_published_accuracies_pass_and_others_fail():
    small, large, early = trained(99.66, 98.03), trained(99.92, 97.81), trained(90.0, 89.0)
    found, findings = verdicts(batch_size.judge_accuracies, small, large, early, dataset="mnist")
    assert found == ["PASS"] * 3
    assert {finding.row for finding in findings} == {"X33"}
    assert "98.03" in findings[0].published
    found, findings = verdicts(batch_size.judge_accuracies, large, small, trained(99.0, 98.5))
    assert found == ["FAIL"] * 3
    assert not any(finding.published for finding in findings)
    alike = trained(100.0, 98.03)._replace(train=np.full(5, 100.0))
    other = alike._replace(test=alike.test - 0.051)
    found, told = verdicts(batch_size.judge_accuracies, alike, other, early)
    assert "both learn every image" in told[1].remark
    assert "both learn" not in findings[1].remark
    assert found[:2] == ["PASS", "FAIL"], "networks that both learn everything are not the other way round"


def test_basins_are_compared_in_both_measures():
    flat, sharp = trained(99, 98), trained(99, 98, rise=2.0, top=30.0)
    assert verdicts(batch_size.judge_basins, flat, sharp)[0] == ["PASS", "PASS"]
    assert verdicts(batch_size.judge_basins, sharp, flat)[0] == ["FAIL", "FAIL"]
    assert verdicts(batch_size.judge_basins, flat, sharp._replace(top=flat.top))[0] == ["PASS", "FAIL"]


def test_convergence_is_told():
    text = batch_size.converged(trained(99.5, 98))
    assert "2 in the first epoch, 0.643 at three quarters of 8 epochs, 0.1 in the last; all of the seeds" in text
    assert "not all of the seeds" in batch_size.converged(trained(99.0, 98))


def run_planted(monkeypatch, dataset, small, large, unfinished):
    """Batches of 2 and of a tenth of 40 images, the latter for 6 epochs and for 2."""
    run = small_run(dataset, batch=2, epochs=8, epochs_large=6)
    found = {(2, 8): small, (4, 6): large, (4, 2): unfinished}
    monkeypatch.setattr(Networks, "of_batch", lambda networks, batch, epochs: found[batch, epochs])
    batch_size.EXPERIMENT.run(run)
    return run


CLAIMS = ("small batches have", "training accuracies", "negative control", "training loss rises", "largest eigenvalue")


def test_planted_networks_are_judged_told_and_drawn(monkeypatch):
    small, early = trained(99.66, 98.03), trained(90.0, 89.0)
    large = trained(99.92, 97.81, rise=2.0, top=30.0)
    large = large._replace(curve=3 * large.curve[:, :6], rise=large.rise * np.arange(1, 5))
    run = run_planted(monkeypatch, "mnist", small, large, early)
    judged(run, dict.fromkeys(CLAIMS, "PASS"), rows=("", "X33"))
    assert run.tables[0].rows[0][:3] == ["2", "160", "99.66 [99.64, 99.68]"]
    assert run.tables[0].rows[1] == ["4", "60", "99.92 [99.90, 99.94]", "97.81 [97.79, 97.83]", "0.01", "30", "2", "4",
                                     "6", "8"]  # fmt: skip
    assert "Batches of 4: training loss 6 in the first epoch" in run.notes[1]
    left, middle, right = run.drawn["batch_size"].axes
    assert labels(left) == labels(right) == ["batches of 2", "batches of 4"]
    np.testing.assert_allclose(heights(left, "batches of 4"), large.curve[0])
    assert {left.get_xscale(), left.get_yscale(), right.get_xscale(), right.get_yscale()} == {"log"}
    pairs = [each.get_ydata() for each in middle.lines[:-1]]
    np.testing.assert_array_equal(pairs, np.stack([small.test, large.test], 1))
    np.testing.assert_allclose(heights(middle, "mean"), [98.03, 97.81])
    assert ticks(middle.xaxis) == ["batches of 2", "batches of 4"]
    np.testing.assert_allclose(heights(right, "batches of 4"), [2, 4, 6, 8])
    assert ticks(right.xaxis) == ["0.05", "0.1", "0.2", "0.4"]
    assert len(run.figures) == 1


def test_planted_opposites_fail(monkeypatch):
    small, large = trained(99.92, 97.81, rise=2.0, top=30.0), trained(99.66, 98.03)
    run = run_planted(monkeypatch, "digits", small, large._replace(curve=large.curve[:, :6]), trained(99, 98.5))
    judged(run, dict.fromkeys(CLAIMS, "FAIL"), rows=("", "X33"))
    assert [record["test"] for record in run.records[5:]] == large.test.tolist()


@pytest.fixture(scope="module")
def networks():
    return Networks(small_run())


def test_a_batch_size_is_trained_and_probed(networks, monkeypatch):
    probed = []

    def basin_width(objective, params, data, *, model_state, **options):
        probed.append((data, jax.tree.leaves(params)[0].shape, model_state["batch_stats"]))
        assert objective is networks.objective
        assert options == {"radii": RADII, "num_directions": 2, "num_lanczos": 4}
        count = len(probed)
        return SimpleNamespace(increases=lambda: (count * np.array(RADII), None), top=float(count))

    monkeypatch.setattr(diagnostics, "basin_width", basin_width)
    found = networks.of_batch(networks.large, 3)
    assert networks.large == 4
    assert found.curve.shape == (5, 3)
    np.testing.assert_allclose(found.rise, np.arange(1, 6)[:, None] * np.array(RADII)[None])
    assert found.top.tolist() == [1, 2, 3, 4, 5]
    assert all(data is networks.probed for data, _, _ in probed)
    assert len(networks.probed.y) == 20
    statistics = [np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(stats)]) for _, _, stats in probed]
    assert len({each.tobytes() for each in statistics}) == 5, "each seed has its own"
    np.testing.assert_allclose(found.test * 60 / 100, np.round(found.test * 60 / 100), atol=1e-4)
    assert batch_size.row(networks, 4, found)[:2] == ["4", "30"]


@pytest.mark.slow
def test_probes_use_running_statistics(networks):
    state = networks._init(jax.random.key(0))
    moved = {"batch_stats": jax.tree.map(lambda leaf: leaf + 1, state.model_state["batch_stats"])}
    other = float(networks._basin(replace(state, model_state=moved)).loss)
    assert float(networks._basin(state).loss) != pytest.approx(other)
    alone = diagnostics.basin_width(networks.objective, state.params, networks.probed, radii=RADII, num_directions=2,
                                    num_lanczos=4, model_state=state.model_state)  # fmt: skip
    np.testing.assert_array_equal(networks._basin(state).losses, alone.losses)
