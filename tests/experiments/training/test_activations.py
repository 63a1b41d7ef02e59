import jax
import numpy as np
import optax
import pytest

import jaxdl
from experiments.building_blocks.hyperparameter_grid import Grid
from experiments.building_blocks.tuned_comparison import TUNING_SEEDS
from experiments.harness.claims import Run
from experiments.training import activations
from jaxdl.data import Examples, Splits

DRAWS = np.random.RandomState(0)


@pytest.fixture
def small_run():
    examples = Examples(DRAWS.rand(70, 3, 3, 1).astype(np.float32), DRAWS.randint(0, 10, 70).astype(np.int32))
    return Run("digits", Splits(examples, examples, examples), 5, {"epochs": {"digits": 2}})


def verdicts(run, monkeypatch, best=2, **level):
    """Findings where each activation's judged losses are about `level`, at the rate numbered `best`."""
    rates, seeds = len(activations.RATES), TUNING_SEEDS + run.seeds
    names = iter(activations.COMPARED)

    def sweep(run, kind):
        spread = np.linspace(0.99, 1.01, seeds)
        training = np.tile(spread, (rates, 1)) * level.get(next(names), level["others"])
        training[0] = 2.0 * spread
        validation = 1.0 + np.abs(np.arange(rates) - best)[:, None] + np.zeros((rates, seeds))
        return Grid(training, {"loss": validation}, np.ones((rates, seeds, 2)), None)

    monkeypatch.setattr(activations, "sweep", sweep)
    run.findings.clear()
    activations.run(run)
    return [finding.verdict for finding in run.findings]


def test_a_faster_family_passes_and_a_slower_one_fails(small_run, monkeypatch):
    assert verdicts(small_run, monkeypatch, sigmoid=1.0, tanh=0.5, others=0.1) == ["PASS"] * 6
    assert verdicts(small_run, monkeypatch, sigmoid=0.1, tanh=0.1, others=0.5) == ["FAIL"] * 5 + ["PASS"]
    found = verdicts(small_run, monkeypatch, sigmoid=3.0, tanh=0.1, others=0.5)
    assert found == ["PASS"] * 4 + ["FAIL", "FAIL"], "where untuned ReLU wins too, the control tells nothing"


def test_the_seeds_that_tuned_are_not_judged(small_run, monkeypatch):
    def sweep(run, kind):
        training = np.tile(np.linspace(0.99, 1.01, 3 + run.seeds), (len(activations.RATES), 1))
        if kind is not activations.COMPARED["sigmoid"]:
            training[:, TUNING_SEEDS:] *= 2
            training[:, :TUNING_SEEDS] = 1e-6
        validation = 1.0 + np.abs(np.arange(len(activations.RATES)) - 2)[:, None] + np.zeros_like(training)
        return Grid(training, {"loss": validation}, np.ones((*training.shape, 2)), None)

    monkeypatch.setattr(activations, "sweep", sweep)
    activations.run(small_run)
    assert [finding.verdict for finding in small_run.findings][:4] == ["FAIL"] * 4


@pytest.mark.parametrize("best", [0, len(activations.RATES) - 1])
def test_a_best_rate_at_an_end_of_the_grid_decides_nothing(small_run, monkeypatch, best):
    assert verdicts(small_run, monkeypatch, best=best, sigmoid=1.0, others=0.1)[:5] == ["INCONCLUSIVE"] * 5


def test_every_member_is_the_single_run_with_its_rate_and_seed(small_run):
    kind = activations.COMPARED["tanh"]
    found = activations.sweep(small_run, kind)
    train = small_run.splits.train
    model = jaxdl.models.MLP(
        (64, 64, 64, 10),
        activation=jax.numpy.tanh,
        kernel_init=jax.nn.initializers.variance_scaling(1.0, "fan_avg", "normal"),
    )
    objective = jaxdl.training.supervised(model, jaxdl.losses.softmax_cross_entropy)
    for rate, seed in ((3, 0), (4, 6)):
        tx = optax.sgd(activations.RATES[rate])
        state = jaxdl.training.init_state(model, tx, train.x[:1], key=jax.random.key(seed))
        step = jaxdl.training.make_train_step(objective, tx)
        state, history = jaxdl.training.fit(step, state, train, epochs=2, batch_size=32)
        loss = jaxdl.training.evaluate(objective, state, train)["loss"]
        assert found.training[rate, seed] == pytest.approx(loss, rel=1e-4)
        assert found.validation["loss"][rate, seed] == pytest.approx(loss, rel=1e-4)
        np.testing.assert_allclose(found.curves[rate, seed], history.train["loss"].reshape(2, -1).mean(1), rtol=1e-4)
