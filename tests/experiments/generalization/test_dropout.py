from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.generalization import dropout
from experiments.generalization.dropout_networks import ARMS, TOO_MUCH, Networks, Tuned
from jaxdl import training
from tests.experiments.generalization.planted import PlantedRun, images, judged, labels, of_dataset, ticks

SPREAD = np.array([-0.02, -0.01, 0.0, 0.01, 0.02])


def small_run(dataset="digits", *, tuned=False, arms=tuple(ARMS), **settings):
    given = {"images": 40, "epochs": 4, "batch": 10, "hidden": (8, 6), **settings}
    return PlantedRun(dataset, images(), 5, {"tuned": tuned, "arms": arms, **of_dataset(dataset, **given)})


def small_networks(run=None):
    run = run or small_run()
    names = ("hidden", "images", "epochs", "batch")
    return Networks(run, **{name: run.settings[name][run.dataset] for name in names})


def verdicts(run):
    return [finding.verdict for finding in run.findings]


def test_the_published_ordering_passes_and_its_reverse_fails():
    errors = {"L2": 1.6 + SPREAD, "max-norm": 1.4 + SPREAD, "dropout + max-norm": 1.1 + SPREAD[::-1]}
    run = small_run()
    dropout.judge_orderings(run, errors, 30 + SPREAD)
    assert verdicts(run) == ["PASS", "PASS", "PASS"]
    assert all(finding.published == "" for finding in run.findings), "digits have no published figures"
    run = small_run("mnist")
    dropout.judge_orderings(run, errors | {"dropout + max-norm": 1.5 + SPREAD[::-1]}, 1.0 + SPREAD)
    assert verdicts(run) == ["PASS", "FAIL", "FAIL"], "a control that passes its rule is a FAIL"
    assert "1.05 against 1.62" in run.findings[0].published
    assert {finding.row for finding in run.findings} == {"X17"}


def test_the_published_error_is_judged_of_the_published_network_alone():
    short, full = small_run("mnist"), small_run("mnist", hidden=(1024, 1024, 2048), images=50_000, epochs=30)
    for run, error, expected in ((short, 1.1, "INCONCLUSIVE"), (full, 1.1, "PASS"), (full, 1.6, "FAIL")):
        run.findings.clear()
        dropout.judge_published(run, error + SPREAD)
        assert verdicts(run) == [expected]
    digits = small_run()
    dropout.judge_published(digits, 1.1 + SPREAD)
    assert not digits.findings


def run_planted(monkeypatch, run, errors, too_much):
    """Where the second strength is the best of all arms but max-norm, and its decay tells what it was tuned with."""
    names = {id(arm): name for name, arm in ARMS.items()}

    def tune(networks, arm, decay=0.0):
        cells = [dict(rate=0.1, strength=strength, decay=decay) for strength in arm.strengths]
        best = 0 if names[id(arm)] == "max-norm" else 1
        return Tuned(cells, np.arange(3.0), best)

    def errors_of(networks, arm, cell):
        assert cell["strength"] in arm.strengths
        return too_much if arm is TOO_MUCH else errors[names[id(arm)]]

    monkeypatch.setattr(Networks, "tune", tune)
    monkeypatch.setattr(Networks, "test_errors", errors_of)
    dropout.EXPERIMENT.run(run)


ORDERINGS = ("test error than L2", "test error than max-norm", "negative control")


def test_planted_errors_are_judged_told_and_drawn(monkeypatch):
    errors = {name: percent + SPREAD for name, percent in dropout.PUBLISHED.items()}
    errors["dropout + max-norm"] = 0.81 + SPREAD[::-1]
    run = small_run("mnist", tuned=True)
    run_planted(monkeypatch, run, errors, 30 + SPREAD)
    judged(run, dict.fromkeys(ORDERINGS, "PASS") | {"the published test error": "INCONCLUSIVE"}, rows=("X17",))
    table, pairs = run.tables
    assert [row[0] for row in table.rows] == list(errors)
    assert table.rows[0] == ["L2", "1.62", "1.60 to 1.64", "1.62", "0.1", "0.0003", "1.00"]
    assert [row[:2] for row in pairs.rows[-2:]] == [["max-norm less dropout + L2", "0.10"],
                                                    ["dropout + L2 less dropout + max-norm", "0.44"]]  # fmt: skip
    assert {record["arm"]: record["decay"] for record in run.records if record["decay"]} == {
        "L2 + late L1": 3e-4, "L2 + KL sparsity": 3e-4,
    }  # fmt: skip
    assert "those tried for: max-norm." in run.notes[0]
    assert "(8, 6) units" in run.notes[1]
    assert "40 images in place of 50,000" in run.notes[1]
    left, right = run.drawn["dropout"].axes
    assert labels(left) == ["mean"]
    assert labels(right) == ["here", "published"]
    assert ticks(left.yaxis) == ticks(right.yaxis) == list(errors)
    seeds, means = ([each.get_xdata() for each in left.lines[i::2]] for i in range(2))
    np.testing.assert_array_equal(seeds, list(errors.values()))
    np.testing.assert_allclose(np.ravel(means), [values.mean() for values in errors.values()])
    ours, published = (np.ravel([each.get_xdata() for each in right.lines[i::2]]) for i in range(2))
    np.testing.assert_allclose(ours[-1], 0.5)
    np.testing.assert_allclose(published, np.array(list(dropout.PUBLISHED.values())) / 1.62)
    assert left.yaxis_inverted()
    assert [each.get_color() for each in left.lines[1::2]] == ["tab:blue"] * 4 + ["tab:green"] * 2


def test_planted_opposites_fail_on_digits(monkeypatch):
    errors = {"L2": 1.6 + SPREAD, "max-norm": 1.4 + SPREAD, "dropout + max-norm": 2.1 + SPREAD[::-1]}
    run = small_run(arms=tuple(errors))
    run_planted(monkeypatch, run, errors, 1.0 + SPREAD)
    judged(run, dict.fromkeys(ORDERINGS, "FAIL"), rows=("X17",))
    assert not run.notes, "nothing was tuned, and digits have no published length"
    assert ticks(run.drawn["dropout"].axes[0].yaxis) == list(errors)


def test_neighbours_and_edges():
    lines = dropout.neighbours({"a": 2 + SPREAD, "b": 1 + SPREAD, "c": 3 + SPREAD})
    assert [line[:2] for line in lines] == [["a less b", "1.00"], ["b less c", "-2.00"]]
    cells = [{"strength": s} for s in (1.0, 2.0, 3.0)]
    assert [dropout.at_an_edge(Tuned(cells, np.zeros(3), i), (1.0, 2.0, 3.0)) for i in range(3)] == [True, False, True]


def test_an_arm_is_tuned_on_validation_images_and_tested():
    networks = small_networks(small_run(tuned=True, epochs=1))
    arm = ARMS["dropout + max-norm"]
    found = networks.tune(arm)
    assert len(found.cells) == 6
    assert found.errors[found.best] == found.errors.min()
    errors = networks.test_errors(arm, found.cell)
    assert errors.shape == (5,)
    np.testing.assert_allclose(errors * 60 / 100, np.round(errors * 60 / 100), atol=1e-4)  # of 60 images


@pytest.mark.parametrize("name", ARMS)
def test_every_arm_makes_a_step(name):
    networks = small_networks()
    model, objective, tx = networks.parts(ARMS[name], rate=0.1, strength=1e-3, decay=1e-3)
    step = training.make_train_step(objective, tx)
    state = training.init_state(model, tx, networks.train.x[:1], key=jax.random.key(0))
    after, metrics = jax.eval_shape(step, state, networks.train)
    assert jax.tree.map(jnp.shape, after.params) == jax.tree.map(jnp.shape, state.params)
    assert metrics["accuracy"].shape == ()


def test_without_tuning_the_middle_strength_is_taken():
    found = small_networks().tune(ARMS["max-norm"])
    assert found.cell == {"rate": 0.01, "strength": 2.0, "decay": 0.0}
    assert np.isnan(found.errors).all()


@pytest.fixture
def start():
    networks = small_networks()
    arm = ARMS["L2 + KL sparsity"]
    model, objective, _ = networks.parts(arm, rate=0.1, strength=0.3, decay=0.0)
    return networks, objective, model.init(jax.random.key(0), networks.train.x)["params"]


def test_the_sparsity_penalty_is_that_of_the_squashed_means(start):
    networks, objective, params = start
    batch = networks.train
    losses, _ = objective(params, batch, model_state={}, key=None, train=False)
    penalized, _ = objective(params, batch, model_state={}, key=None, train=True)
    a, penalty = np.asarray(batch.x, np.float64).reshape(40, -1), 0.0
    for layer in ("Dense_0", "Dense_1"):
        kernel, bias = (np.asarray(params[layer][part], np.float64) for part in ("kernel", "bias"))
        a = np.maximum(a @ kernel + bias, 0)
        mean = np.clip((a / (1 + a)).mean(0), 1e-6, 1 - 1e-6)
        penalty += 0.3 * np.sum(0.1 * np.log(0.1 / mean) + 0.9 * np.log(0.9 / (1 - mean)))
    np.testing.assert_allclose(penalized - losses, penalty, rtol=1e-4)


def test_l1_sets_in_with_the_last_quarter(start):
    networks, _, params = start
    assert networks.updates == 16
    _, _, tx = networks.parts(ARMS["L2 + late L1"], rate=0.1, strength=0.5, decay=0.0)
    state, zeros = tx.init(params), jax.tree.map(jnp.zeros_like, params)
    for update in range(13):
        updates, state = tx.update(zeros, state, params)
        moved = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(updates))
        # eta = 0.1 / (1 + 12 / 1.6), momentum 0.95 - 0.45 exp(-12 / 1.6): weights shrink by at most 0.5 eta / (1 - mu).
        reach = 0.5 * (0.1 / 8.5) / (0.05 + 0.45 * np.exp(-7.5))
        assert moved == pytest.approx(reach if update == 12 else 0.0, rel=1e-5), update


def test_the_bound_holds_for_every_unit_and_the_published_network_has_its_size():
    networks = small_networks(small_run(epochs=2))
    run = networks._runs(ARMS["max-norm"], [dict(rate=0.05, strength=0.5, decay=0.0)], [0])
    for layer in run.states.params.values():
        assert np.linalg.norm(layer["kernel"][0], axis=0).max() <= 0.5 * (1 + 1e-6)
    sizes = (784, *dropout.PUBLISHED_SIZES, 10)
    large = small_networks(small_run(hidden=dropout.PUBLISHED_SIZES))
    model, *_ = large.parts(ARMS["L2"], rate=0.1, strength=0.0, decay=0.0)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 784)))["params"]
    total = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
    assert total == sum((a + 1) * b for a, b in pairwise(sizes))
