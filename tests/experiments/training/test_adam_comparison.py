"""The comparison around the training: what is tuned on which seeds, what is judged, and what is inconclusive."""

import numpy as np
import pytest

from experiments.building_blocks.hyperparameter_grid import Grid
from experiments.harness.claims import Run
from experiments.training import adam_comparison
from experiments.training.adam_comparison import LOGISTIC, NETWORK, Arm
from jaxdl.data import Examples, Splits

DRAWS = np.random.RandomState(0)
SETTINGS = {
    "networks": True, "tuning_seeds": 2, "width": {"digits": 4}, "adam_epochs": {"digits": (2, 1)},
}  # fmt: skip


@pytest.fixture
def run():
    examples = Examples(DRAWS.rand(140, 2, 2, 1).astype(np.float32), DRAWS.randint(0, 10, 140).astype(np.int32))
    return Run("digits", Splits(examples, examples, examples), 5, SETTINGS)


def findings(run, monkeypatch, *, best=2, **level):
    """Verdicts where the judged losses of an optimizer are about its level, and the rate numbered `best` best."""
    names = {id(arm): name for arms in (LOGISTIC, NETWORK) for name, arm in arms.items()}

    def grid(run, problem, model, arm, rates, seeds):
        if list(seeds) == list(range(run.seeds)):
            lost = len(rates) == 1 and rates[0] == LOGISTIC["Adam"].rates[0] and problem == "logistic"
            training = (100.0 if lost else level[names[id(arm)]]) * np.linspace(0.99, 1.01, run.seeds)[None]
        else:
            assert not set(seeds) & set(range(run.seeds)), "what is judged must not tune"
            place = best if best >= 0 else len(rates) + best
            training = 1.0 + np.abs(np.arange(len(rates)) - place)[:, None] + np.zeros((len(rates), len(seeds)))
        return Grid(training, {}, np.ones((*training.shape, 3)), None)

    monkeypatch.setattr(adam_comparison, "grid", grid)
    adam_comparison.judge_adam(run)
    return [finding.verdict for finding in run.findings]


SHOWN = {"Adam, constant rate": 0.01, "Nesterov, constant rate": 0.01}
SLOWER = {"Nesterov": 0.2, "Adagrad": 0.3, "RMSprop": 0.4, "Adadelta": 0.5} | SHOWN


def test_the_fastest_passes_everywhere(run, monkeypatch):
    assert findings(run, monkeypatch, Adam=0.1, **SLOWER) == ["PASS"] * 11
    assert {record["problem"] for record in run.records} == {"logistic", "network", "dropout"}
    assert run.tables[0].rows[0] == ["Adam", "0.1 (0.01)", "0.1 (0.001)", "0.1 (0.001)"]
    assert run.tables[0].rows[3][1] == "-"


def test_the_slowest_fails_where_it_is_judged(run, monkeypatch):
    assert findings(run, monkeypatch, Adam=0.9, **SLOWER) == ["FAIL", "PASS"] + ["FAIL"] * 8 + ["PASS"]


@pytest.mark.parametrize("best", [0, -1])
def test_a_best_rate_at_an_end_decides_nothing(run, monkeypatch, best):
    assert findings(run, monkeypatch, best=best, Adam=0.1, **SLOWER)[:-1] == ["INCONCLUSIVE"] * 10


def test_training_is_tuned_and_judged_at_the_chosen_rate(run):
    arm = Arm(LOGISTIC["Adam"].recipe, (1e-6, 0.1, 1e3))
    trained = adam_comparison.train(run, "logistic", adam_comparison.jaxdl.models.MLP((10,)), arm)
    assert trained.rate == 0.1
    assert trained.tuned
    assert trained.losses.shape == (5,)
    assert trained.curves.shape == (5, 2)
    assert (trained.curves[:, 1] < trained.curves[:, 0]).all()


def test_dropout_is_on_in_training_only():
    import jax

    model = adam_comparison.jaxdl.as_model(adam_comparison.Network(50, 0.5))
    x = np.ones((2, 3), np.float32)
    variables = model.init(jax.random.key(0), x)
    outputs = [model.apply(variables, x, train=True, key=jax.random.key(i))[0] for i in range(2)]
    assert np.abs(outputs[0] - outputs[1]).max() > 0
    plain = [model.apply(variables, x, train=False)[0] for _ in range(2)]
    np.testing.assert_array_equal(plain[0], plain[1])
