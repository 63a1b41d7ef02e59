"""The whole of `transfer` and `frozen_transfer` on planted accuracies."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

import jaxdl
from experiments.reuse import frozen_transfer, transfer, transfer_networks
from experiments.reuse.frozen_transfer import Reached
from experiments.reuse.transfer_networks import ARMS, CURVES, FROZEN, RANDOM, SCRATCH, STAGED
from jaxdl import procedures
from tests.experiments import planted
from tests.experiments.planted import SPREAD

GOOD = {
    (SCRATCH, 2): 85.0, (FROZEN, 2): 90.0, (STAGED, 2): 91.0, (RANDOM, 2): 82.0,
    (SCRATCH, 6): 95.0, (FROZEN, 6): 95.5, (STAGED, 6): 95.0, (RANDOM, 6): 90.0,
}  # fmt: skip
BAD = {key: {SCRATCH: 95.0, FROZEN: 80.0, STAGED: 85.0, RANDOM: 97.0}[key[0]] for key in GOOD}
CLAIMS = (
    "with 2 labels a class, frozen features beat", "with 2 labels a class, staged unfreezing beat",
    "with 2 labels a class, learned frozen", "with 6 labels a class, learned frozen",
    "with 6 labels a class, staged unfreezing is no worse", "keep every bit", "negative control",
)  # fmt: skip


def transfer_run(monkeypatch, means, *, unmoved=True):
    """Seed s stops at stage s % 3; validation accuracy has a maximum at one reused layer."""

    class Planted:
        def __init__(self, model, *, steps):
            assert (model.kernel, model.stride, steps) == (3, 1, 70)

        def train(self, arm, source, splits, data, *, seed):
            assert source == f"source {seed}"
            assert len(splits.train.y) == 60
            percent = float(means[arm, len(data.y) // 5] + SPREAD[(seed + ARMS.index(arm)) % 5])
            staged = (seed % 3, [50.0, 60.0]) if arm == STAGED else ()
            return transfer_networks.Reached(percent - 1, percent, unmoved, *staged)

    def reuse_curves(model, sources, data, validation, *, steps, kinds):
        assert len(data.y) == 10
        return {kind: np.array([70.0, 80.0, 75.0, 60.0])[:, None] + i + SPREAD for i, kind in enumerate(kinds)}

    sources = [f"source {seed}" for seed in range(5)]
    monkeypatch.setattr(transfer, "learned", lambda run, model, low: (sources, 98 + SPREAD))
    monkeypatch.setattr(transfer_networks, "Arms", Planted)
    monkeypatch.setattr(transfer_networks, "reuse_curves", reuse_curves)
    settings = {"labels": {"digits": (2, 6)}, "steps": {"digits": 70}, "curves": CURVES}
    run = planted.planted_run("digits", settings, splits=planted.noise(120, 60, 60))
    transfer.run(run)
    return run


def test_reuse_that_helps_is_confirmed_told_and_drawn(monkeypatch):
    run = transfer_run(monkeypatch, GOOD)
    assert planted.verdicts(run, transfer.EXPERIMENT, CLAIMS) == ["PASS"] * 7
    arms, layers = run.tables
    assert [row[0] for row in arms.rows] == list(ARMS)
    assert arms.rows[1][1].startswith("90.00 [89.98, 90.02]"), "2.776 * 0.0158 / sqrt 5 = 0.0196"
    assert [row[-1] for row in layers.rows] == ["1 of 3"] * 3
    assert "2: [1, 2, 3, 1, 2]; 6: [1, 2, 3, 1, 2]. The old task: 98.00 %" in run.notes[0]
    left, right = run.drawn["transfer"].axes
    assert (planted.labels(left), planted.labels(right)) == (list(ARMS), list(CURVES))
    for arm in ARMS:
        np.testing.assert_allclose(planted.heights(left, arm), [GOOD[arm, 2], GOOD[arm, 6]])
    np.testing.assert_allclose(planted.heights(right, CURVES[2]), [72.0, 82.0, 77.0, 62.0])
    assert [text.get_text() for text in left.get_xticklabels()] == ["2", "6"]
    stages = [r["stage"] for r in run.records if r["quantity"] == "accuracy" and r["arm"] == STAGED]
    assert stages == [0, 1, 2, 0, 1] * 2


def test_reuse_that_hurts_is_refuted(monkeypatch):
    run = transfer_run(monkeypatch, BAD, unmoved=False)
    assert planted.verdicts(run, transfer.EXPERIMENT, CLAIMS) == ["FAIL"] * 7


def test_reuse_curves_take_every_seeds_own_source(monkeypatch):
    asked = []

    def reuse_curve(model, make_objective, tx, pretrain, data, **options):
        asked.append(([pretrain(jax.random.key(seed)) for seed in options["seeds"]], options))
        return SimpleNamespace(values=lambda name: np.full((4, 2), len(asked) / 10))

    monkeypatch.setattr(procedures, "reuse_curve", reuse_curve)
    model = SimpleNamespace(init=lambda key, x: f"drawn {jax.random.key_data(key)[-1]}")
    data = jaxdl.data.Examples(np.zeros((20, 2, 2, 1)), np.zeros(20, int))
    found = transfer_networks.reuse_curves(model, ["a", "b"], data, data, steps=41, kinds=CURVES)
    assert [sources for sources, _ in asked] == [["a", "b"], ["a", "b"], ["drawn 2000", "drawn 2001"]]
    assert [options["frozen"] for _, options in asked] == [True, False, True]
    assert {(o["batch_size"], o["epochs"], o["layers"]) for _, o in asked} == {(10, 20, transfer_networks.LAYERS)}
    np.testing.assert_allclose([found[kind][0, 0] for kind in CURVES], [10.0, 20.0, 30.0])


HALVES = ("on 0 to 4, everything trained", "on 5 to 9, convolutions frozen", "serve 5 to 9 better", "negative control")


def frozen_run(monkeypatch, dataset, columns):
    """Losses fall from 2 to 1 above learned convolutions, from 2 to 1.5 above random ones."""
    curves = {"learned": np.tile(np.linspace(2, 1, 50), (5, 1)), "random": np.tile(np.linspace(2, 1.5, 50), (5, 1))}
    found = Reached(*(column + SPREAD for column in columns))
    monkeypatch.setattr(frozen_transfer, "train", lambda run, low, high: (found, curves))
    settings = {"images": {dataset: None}, "epochs": {dataset: 5}}
    run = planted.planted_run(dataset, settings)
    frozen_transfer.run(run)
    return run


def test_frozen_convolutions_as_published_and_otherwise(monkeypatch):
    run = frozen_run(monkeypatch, "mnist", (99.8, 99.2, 98.0, 20.0))
    assert planted.verdicts(run, frozen_transfer.EXPERIMENT, HALVES) == ["PASS"] * 4
    assert [list(row) for row in run.tables[0].rows][1] == ["5-9, learned convolutions", "99.20", "99.18 to 99.22"]
    left, right = run.drawn["frozen_transfer"].axes
    dots = [line.get_ydata() for line in left.get_lines()]
    np.testing.assert_allclose(dots, np.array([[99.8], [99.2], [98.0]]) + SPREAD[None, :])
    assert right.get_yscale() == "log"
    assert planted.labels(right) == ["learned", "random"]
    learned = planted.heights(right, "learned")
    np.testing.assert_allclose(learned, np.linspace(2, 1, 50).reshape(25, 2).mean(1))
    assert run.records[2]["random_loss"][-1] == 1.5
    other = frozen_run(monkeypatch, "mnist", (99.0, 98.0, 98.5, 99.0))
    assert planted.verdicts(other, frozen_transfer.EXPERIMENT, HALVES) == ["FAIL"] * 4


def test_frozen_convolutions_of_digits_have_the_ordering_alone(monkeypatch):
    run = frozen_run(monkeypatch, "digits", (97.0, 95.0, 90.0, 20.0))
    assert planted.verdicts(run, frozen_transfer.EXPERIMENT, HALVES[2:]) == ["PASS", "PASS"]
    assert len(run.notes) == 2
    assert "random ones reach 90.00 %" in run.findings[0].remark


@pytest.mark.parametrize("dataset", ["digits", "mnist"])
def test_shapes_of_the_data_sets_fit_the_network(dataset):
    side = {"digits": 8, "mnist": 28}[dataset]
    model = transfer_networks.SmallCNN(**transfer.SHAPES[dataset])
    image = np.zeros((2, side, side, 1), np.float32)
    assert jax.eval_shape(model.init_with_output, jax.random.key(0), image)[0].shape == (2, 5)
