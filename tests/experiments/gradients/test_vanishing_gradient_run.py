"""The whole of `vanishing_gradient` on planted norms."""

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from experiments.building_blocks import book
from experiments.gradients import vanishing_gradient as experiment
from experiments.gradients.vanishing_published import BANDS, STORED
from tests.experiments.planted import heights, labels, planted_run, verdicts

SEEDS, EPOCHS = 20, 40
ORDER = ["each layer's error signal is larger", "shrinks by more than 2 a layer"]
PUBLISHED = [*["the norms are those of the book's network"] * 4, *["ratio of last to first layer"] * 3]
CURVES = [*["learns more slowly than the last"] * 2, *["geometric mean over the epochs"] * 3]
CHAIN = ["error of the formula"]
CONTROLS = [
    f"ReLU + He, 4 hidden layers, {part}" for part in ("start: each", "start: the error", "training: the first")
]


@pytest.fixture
def judged(monkeypatch):
    def judge(dataset, factor, control):
        """Norms grow by `factor` a layer, and by `control` in the network of ReLU; 0: those of the book's samples."""

        def planted(model, count):
            depth = len(model.sizes) - 1
            if model.sizes == RELU.sizes and model.activation == RELU.activation:
                rows = control ** np.arange(depth)
            elif not factor:
                rows = np.array(BANDS[depth])[:, 0]
            else:
                rows = 0.01 * factor ** np.arange(depth)
            return rows * np.exp(1e-3 * np.random.RandomState(0).randn(count, 1))

        def curves(model, batch, seeds, epochs):
            return planted(model, seeds)[:, None] * np.exp(-0.1 * np.arange(epochs))[None, :, None]

        flow = SimpleNamespace(plot=lambda: Figure(), verdict=lambda: "as planted")
        monkeypatch.setattr(experiment, "start_norms", lambda model, batch, count: planted(model, count))
        monkeypatch.setattr(experiment, "learning_curves", curves)
        monkeypatch.setattr(experiment, "chain_error", lambda seed: 0.0 if factor != 1 else 1e-4)
        monkeypatch.setattr(book, "starter", lambda *a: lambda key: SimpleNamespace(params=None))
        monkeypatch.setattr(experiment.jaxdl.diagnostics, "gradient_flow", lambda *a, **k: flow)
        run = planted_run(dataset, {"starts": 15, "epochs": EPOCHS}, seeds=SEEDS)
        experiment.run(run)
        published = PUBLISHED if dataset == "mnist" else []
        claims = [*ORDER * 3, *published, *CURVES, *CHAIN, *CONTROLS]
        return run, verdicts(run, experiment.EXPERIMENT, claims)

    return judge


RELU = book.relu_he_network(4)


def test_norms_that_vanish_pass_and_are_drawn(judged):
    run, found = judged("digits", 5.0, 0.9)
    assert found == ["PASS"] * 15
    assert run.notes == [
        "Two hidden layers are the honest exception: at some epoch the first layer learned FASTER than the second in "
        "0 of 20 seeds, so 'always slower' is not a general law there.",
        "gradient_flow on four hidden layers, seed 0: as planted.",
    ]
    record = next(r for r in run.records if r["quantity"] == "curve" and r["hidden_layers"] == 3)
    np.testing.assert_allclose(np.array(record["norms"])[:, 0], record["norms"][0][0] * np.exp(-np.arange(4)))
    panels = run.drawn["start_norms"].axes
    assert [axis.get_title() for axis in panels] == [
        *(f"{d} hidden, sigmoid" for d in (2, 3, 4)), "control: 4 hidden, ReLU + He",
    ]  # fmt: skip
    np.testing.assert_allclose(panels[2].get_lines()[-1].get_ydata(), 0.01 * 5.0 ** np.arange(4), rtol=2e-3)
    for axis, d in zip(run.drawn["learning_speed"].axes, (2, 3, 4), strict=True):
        assert labels(axis) == [f"hidden layer {i + 1}" for i in range(d)]
        assert axis.get_yscale() == "log"
        expected = 0.01 * 5.0 ** (d - 1) * np.exp(-0.1 * np.arange(EPOCHS))
        np.testing.assert_allclose(heights(axis, f"hidden layer {d}"), expected, rtol=2e-3)


def test_level_norms_fail(judged):
    run, found = judged("digits", 1.0, 5.0)
    assert found == ["FAIL"] * 15
    assert {finding.remark for finding in run.findings[-3:]} == {"the rule should have failed here"}


def test_the_books_norms_are_its_own_and_level_ones_are_not(judged):
    run, found = judged("mnist", 0.0, 0.9)
    assert found[6:13] == ["PASS"] * 7
    assert all("the book's run" in finding.published for finding in run.findings[7:10])
    crosses = [line for line in run.drawn["learning_speed"].axes[0].get_lines() if line.get_marker() == "x"]
    stored = [row for epoch, row in STORED[2].items() if epoch < EPOCHS]
    np.testing.assert_array_equal([line.get_ydata() for line in crosses], np.transpose(stored))
    assert judged("mnist", 1.0, 0.9)[1][6:13] == ["FAIL"] * 7
