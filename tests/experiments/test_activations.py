import jax
import numpy as np
import optax
import pytest

import jaxdl
from experiments import activations
from experiments.claims import Run
from jaxdl.data import Examples, Splits

DRAWS = np.random.RandomState(0)


@pytest.fixture
def small_run():
    examples = Examples(DRAWS.rand(70, 3, 3, 1).astype(np.float32), DRAWS.randint(0, 10, 70).astype(np.int32))
    return Run("digits", Splits(examples, examples, examples), 5, {"epochs": {"digits": 2}})


def verdicts(run, monkeypatch, best=2, **level):
    """Findings where each activation's judged losses are about `level`, at the rate numbered `best`."""
    rates, seeds = len(activations.RATES), activations.TUNING_SEEDS + run.seeds
    names = iter(activations.COMPARED)

    def sweep(run, kind):
        spread = np.linspace(0.99, 1.01, seeds)
        training = np.tile(spread, (rates, 1)) * level.get(next(names), level["others"])
        training[0] = 2.0 * spread
        validation = 1.0 + np.abs(np.arange(rates) - best)[:, None] + np.zeros((rates, seeds))
        return activations.Sweep(training, validation, np.ones((rates, seeds, 2)))

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
            training[:, activations.TUNING_SEEDS :] *= 2
            training[:, : activations.TUNING_SEEDS] = 1e-6
        validation = 1.0 + np.abs(np.arange(len(activations.RATES)) - 2)[:, None] + np.zeros_like(training)
        return activations.Sweep(training, validation, np.ones((*training.shape, 2)))

    monkeypatch.setattr(activations, "sweep", sweep)
    activations.run(small_run)
    assert [finding.verdict for finding in small_run.findings][:4] == ["FAIL"] * 4


def test_four_comparisons_share_the_error_rate(small_run):
    """A mean log ratio of 1.02 times the 95 % half-width is enough for one comparison and not for one of four."""
    spread = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    ratio = 1.02 * 2.776 * spread.std(ddof=1) / np.sqrt(5) + spread
    losses, chosen = {"relu": np.exp(-ratio), "sigmoid": np.ones(5)}, {"relu": 2, "sigmoid": 2}
    for share in (1, 4):
        activations.judge(small_run, "relu", "sigmoid", losses, chosen, share=share)
    assert [finding.verdict for finding in small_run.findings] == ["PASS", "INCONCLUSIVE"]
    assert "jointly over 4" in small_run.findings[1].rule


@pytest.mark.parametrize("best", [0, len(activations.RATES) - 1])
def test_a_best_rate_at_an_end_of_the_grid_decides_nothing(small_run, monkeypatch, best):
    assert verdicts(small_run, monkeypatch, best=best, sigmoid=1.0, others=0.1)[:5] == ["INCONCLUSIVE"] * 5


def test_the_rate_is_chosen_by_validation_and_one_that_diverges_is_out():
    validation = np.array([[3.0, 3.0], [2.0, 2.2], [0.1, np.nan], [0.1, np.inf], [2.0, 2.3]])
    assert activations.choose(validation) == 1


def test_a_judged_run_that_diverges_is_the_slowest():
    ours, others = np.array([0.1, 0.1, 0.1, 0.1, 0.1]), np.array([1.0, 1.0, np.nan, 1.0, np.inf])
    assert activations.faster(ours, others).verdict != "FAIL"
    assert activations.faster(np.full(5, np.nan), np.array([1.0, 1.1, 1.2, 1.0, 0.9])).verdict == "FAIL"


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
        assert found.validation[rate, seed] == pytest.approx(loss, rel=1e-4)
        np.testing.assert_allclose(found.curves[rate, seed], history.train["loss"].reshape(2, -1).mean(1), rtol=1e-4)
