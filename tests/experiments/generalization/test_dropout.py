from dataclasses import replace
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.generalization import dropout
from experiments.generalization.dropout_networks import ARMS, RATES, TOO_MUCH, TUNING_SEED, Networks, Tuned
from jaxdl import training
from tests.experiments.generalization.planted import images, judged, labels, of_dataset, ticks
from tests.experiments.planted import Drawn

SPREAD = np.array([-0.02, -0.01, 0.0, 0.01, 0.02])


def small_run(dataset="digits", *, tuned=False, arms=tuple(ARMS), **settings):
    given = {"images": 40, "epochs": 4, "batch": 10, "hidden": (8, 6), **settings}
    return Drawn(dataset, images(), 5, {"tuned": tuned, "arms": arms, **of_dataset(dataset, **given)})


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


def test_an_arm_is_tuned_on_validation_images_and_tested(monkeypatch):
    """One program trains all; errors by a transcription of the network, and the bound holds for every unit."""
    networks, kept, train = small_networks(small_run(tuned=True, epochs=2, hidden=(6,))), [], Networks._runs

    def runs(networks, arm, cells, seeds, **options):
        if options:
            assert list(seeds) == [TUNING_SEED]
            kept.append(train(networks, arm, cells, seeds, **options))
        else:
            assert cells == [found.cell]
            assert list(seeds) == list(range(5))
        return kept[0]

    monkeypatch.setattr(Networks, "_runs", runs)
    found = networks.tune(replace(ARMS["dropout + max-norm"], strengths=(0.5, 0.6, 0.7)))
    assert [(cell["strength"], cell["rate"]) for cell in found.cells] == [
        (strength, rate) for strength in (0.5, 0.6, 0.7) for rate in RATES["digits"]
    ]
    assert found.errors[found.best] == found.errors.min()
    layers = jax.tree.map(np.asarray, kept[0].states.params)
    for layer in layers.values():
        norms = np.linalg.norm(layer["kernel"], axis=1).max(1)
        assert np.all(norms <= np.repeat((0.5, 0.6, 0.7), 2) * (1 + 1e-6))
    x, y = networks.run.splits.test
    first, last = layers["Dense_0"], layers["Dense_1"]
    hidden = np.maximum(np.einsum("ni,mij->mnj", x.reshape(60, 9), first["kernel"]) + first["bias"][:, None], 0)
    guessed = (np.einsum("mni,mij->mnj", hidden, last["kernel"]) + last["bias"][:, None]).argmax(-1)
    wrong = 100 * (guessed != y[None]).mean(1)
    np.testing.assert_allclose(networks.test_errors(ARMS["dropout + max-norm"], found.cell), wrong, atol=1e-4)
    np.testing.assert_allclose(found.errors, wrong, atol=1e-4)  # the splits are the same images


@pytest.mark.parametrize("name", ARMS)
def test_every_arm_makes_a_step(name):
    networks = small_networks()
    model, objective, tx = networks.parts(ARMS[name], rate=0.1, strength=1e-3, decay=1e-3)
    step = training.make_train_step(objective, tx)
    init = lambda key: training.init_state(model, tx, networks.train.x[:1], key=key)  # noqa: E731
    state = jax.eval_shape(init, jax.random.key(0))
    after, metrics = jax.eval_shape(step, state, networks.train)
    assert jax.tree.map(jnp.shape, after.params) == jax.tree.map(jnp.shape, state.params)
    assert metrics["accuracy"].shape == ()


def test_without_tuning_the_middle_strength_is_taken():
    found = small_networks().tune(ARMS["max-norm"])
    assert found.cell == {"rate": 0.01, "strength": 2.0, "decay": 0.0}
    assert np.isnan(found.errors).all()


@pytest.fixture(scope="module")
def start():
    draws = np.random.RandomState(1)
    sizes = zip((9, 8, 6), (8, 6, 10), strict=True)
    return {f"Dense_{i}": {"kernel": draws.randn(*pair).astype(np.float32) / 3, "bias": np.zeros(pair[1], np.float32)}
            for i, pair in enumerate(sizes)}  # fmt: skip


def test_the_sparsity_penalty_is_that_of_the_squashed_means(start):
    networks = small_networks()
    _, objective, _ = networks.parts(ARMS["L2 + KL sparsity"], rate=0.1, strength=0.3, decay=0.0)

    @jax.jit
    def difference(params, batch):
        given = dict(model_state={}, key=None)
        return objective(params, batch, train=True, **given)[0] - objective(params, batch, train=False, **given)[0]

    a, penalty = np.asarray(networks.train.x, np.float64).reshape(40, -1), 0.0
    for layer in ("Dense_0", "Dense_1"):
        kernel, bias = (np.asarray(start[layer][part], np.float64) for part in ("kernel", "bias"))
        a = np.maximum(a @ kernel + bias, 0)
        mean = np.clip((a / (1 + a)).mean(0), 1e-6, 1 - 1e-6)
        penalty += 0.3 * np.sum(0.1 * np.log(0.1 / mean) + 0.9 * np.log(0.9 / (1 - mean)))
    np.testing.assert_allclose(difference(start, networks.train), penalty, rtol=1e-4)


def test_l1_sets_in_with_the_last_quarter(start):
    networks = small_networks()
    assert networks.updates == 16
    _, _, tx = networks.parts(ARMS["L2 + late L1"], rate=0.1, strength=0.5, decay=0.0)
    update, zeros = jax.jit(tx.update), jax.tree.map(np.zeros_like, start)
    state = jax.jit(tx.init)(start)
    for count in range(13):
        updates, state = update(zeros, state, start)
        moved = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(updates))
        # eta = 0.1 / (1 + 12 / 1.6), momentum 0.95 - 0.45 exp(-12 / 1.6): weights shrink by at most 0.5 eta / (1 - mu).
        reach = 0.5 * (0.1 / 8.5) / (0.05 + 0.45 * np.exp(-7.5))
        assert moved == pytest.approx(reach if count == 12 else 0.0, rel=1e-5), count


def test_the_published_network_has_its_size():
    sizes = (784, *dropout.PUBLISHED_SIZES, 10)
    large = small_networks(small_run(hidden=dropout.PUBLISHED_SIZES))
    model, *_ = large.parts(ARMS["L2"], rate=0.1, strength=0.0, decay=0.0)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 784)))["params"]
    total = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
    assert total == sum((a + 1) * b for a, b in pairwise(sizes))
