"""The rules on errors made up for the purpose, and the errors themselves against a run by hand."""

import jax
import numpy as np
import pytest

import jaxdl
from experiments.harness.claims import Run
from experiments.training import rate_sensitivity
from experiments.training.rate_sensitivity import METHODS, Errors
from jaxdl import optimizers
from jaxdl.data import Examples, Splits

DRAWS = np.random.RandomState(0)
SETTINGS = {
    "sensitivity_hidden": {"digits": (5, 4), "mnist": (5, 4)}, "sensitivity_epochs": {"digits": 1, "mnist": 6},
}  # fmt: skip


def make_run(dataset):
    part = lambda: Examples(DRAWS.rand(60, 2, 2, 1).astype(np.float32), DRAWS.randint(0, 10, 60).astype(np.int32))  # noqa: E731
    return Run(dataset, Splits(part(), part(), part()), 5, SETTINGS)


def verdicts(dataset, monkeypatch, **worst):
    """Where the best error of every method is 2 %, its worst as given, and validation has its best in cell 1."""
    names = {id(cells): name for name, (_, cells) in METHODS.items()}

    def errors(run, recipe, cells):
        test = np.full((len(cells), 5), 2.0) + np.linspace(0, 0.01, 5)
        test[0] = worst.get(names[id(cells)], 3.0)
        validation = np.full_like(test, 2.0)
        validation[1] = 1.0
        return Errors(cells, validation, test)

    run = make_run(dataset)
    monkeypatch.setattr(rate_sensitivity, "errors", errors)
    rate_sensitivity.judge_sensitivity(run)
    return [finding.verdict for finding in run.findings], run


def test_the_published_pattern_passes(monkeypatch):
    found, run = verdicts("mnist", monkeypatch, SGD=58.0, Adadelta=2.6)
    assert found == ["PASS"] * 8
    assert run.findings[4].remark == "at learning rate 0.1"
    assert run.findings[7].remark == "at rho 0.95, eps 0.01"
    assert [table.rows[0][1] for table in run.tables] == ["58.00", "2.60"]


def test_thresholds_of_the_published_set_up_are_not_asked_of_another(monkeypatch):
    assert verdicts("digits", monkeypatch, SGD=58.0, Adadelta=2.6)[0] == ["PASS"] * 2


def test_a_sensitive_adadelta_fails_both_rules(monkeypatch):
    found, run = verdicts("mnist", monkeypatch, SGD=19.0, Adadelta=90.0)
    assert found[:4] == ["FAIL", "PASS", "FAIL", "FAIL"]
    assert run.findings[2].remark.startswith("spans from 44.")


def test_an_sgd_that_is_insensitive_spoils_the_control(monkeypatch):
    assert verdicts("digits", monkeypatch, SGD=2.5, Adadelta=2.6)[0][1] == "FAIL"


@pytest.mark.parametrize("name", ["momentum", "Adadelta"])
def test_every_cell_is_the_run_with_its_constants(name):
    run = make_run("digits")
    recipe, cells = METHODS[name]
    found = rate_sensitivity.errors(run, recipe, cells)
    cell, seed = 1, 2
    tx = {"momentum": optimizers.momentum(0.1), "Adadelta": optimizers.adadelta(rho=0.95, eps=1e-2)}[name]
    train, validation, test = run.splits
    model = jaxdl.models.MLP((5, 4, 10), activation=jax.numpy.tanh, kernel_init=jaxdl.initializers.glorot_normal())
    objective = jaxdl.training.supervised(
        model, jaxdl.losses.softmax_cross_entropy, metrics={"accuracy": jaxdl.losses.correct}
    )
    state = jaxdl.training.init_state(model, tx, train.x[:1], key=jax.random.key(seed))
    step = jaxdl.training.make_train_step(objective, tx)
    state = jaxdl.training.fit(step, state, train, epochs=1, batch_size=20).state
    for part, errors in ((validation, found.validation), (test, found.test)):
        accuracy = jaxdl.training.evaluate(objective, state, part)["accuracy"]
        assert errors[cell, seed] == pytest.approx(100 * (1 - accuracy), abs=1e-4)
    assert found.test.shape == (len(cells), 5)
