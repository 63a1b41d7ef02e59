import jax
import numpy as np
import optax
import pytest

import jaxdl
from experiments.harness.claims import Run
from experiments.images import relu_speed
from jaxdl import training
from jaxdl.data import Examples, Splits


def new_run(dataset="mnist", steps=50):
    draws = np.random.RandomState(0)
    examples = Examples(draws.rand(60, 8, 8, 1).astype(np.float32), draws.randint(0, 10, 60).astype(np.int32))
    return Run(dataset, Splits(examples, examples, examples), 5, {"steps": {dataset: steps}})


def test_steps_to_the_target():
    errors = np.array([[9.0, 6.0, 5.0, 7.0, 1.0], [9, 8, 7, 6, 5.5], [1, 9, 9, 9, 9]])
    last = relu_speed.WINDOW + 4
    np.testing.assert_array_equal(relu_speed.steps_to(errors, 5.0), [last - 2, last, relu_speed.WINDOW])


def test_the_running_error_is_a_mean_over_the_last_batches():
    draws = np.random.RandomState(0).rand(2, 3, 100)
    found = relu_speed.trailing(draws)
    assert found.shape == (2, 3, 101 - relu_speed.WINDOW)
    for i in (0, 7, 60):
        np.testing.assert_allclose(found[..., i], draws[..., i : i + relu_speed.WINDOW].mean(-1))


def made(steps, rate=3, spread=0.05):
    draws = np.exp(spread * np.linspace(-1, 1, 5))
    return relu_speed.Sped(np.ones((6, 3)), rate, np.full((5, 500), 4.0), steps * draws)


def verdicts(relu, tanh, slow=400.0):
    run = new_run()
    relu_speed.judge(run, {"ReLU": relu, "tanh": tanh}, np.full(5, slow))
    return [finding.verdict for finding in run.findings], run.findings[0]


def test_fewer_steps_pass_and_more_fail():
    found, finding = verdicts(made(100.0), made(200.0, spread=0.06))
    assert found == ["PASS", "PASS"]
    assert "ratio 2.00 [1.98, 2.02]" in finding.remark, "2 exp(+-2.776 * 0.0079 / sqrt 5)"
    assert finding.row == "X24"
    assert verdicts(made(200.0), made(100.0))[0] == ["FAIL", "PASS"]
    assert verdicts(made(100.0), made(200.0), slow=150.0)[0][1] == "FAIL", "an untuned ReLU that wins tells nothing"
    ends = verdicts(made(100.0), made(200.0, rate=5))
    assert ends[0][0] == "INCONCLUSIVE"
    assert "tanh is an end of the grid" in ends[1].result.detail


def test_the_rate_is_chosen_on_seeds_that_are_not_judged(monkeypatch):
    asked = []

    def errors(run, name, rates, seeds):
        asked.append((name, tuple(rates), tuple(seeds)))
        fall = np.where(np.arange(60) < 10 + 10 * np.abs(np.arange(len(rates)) - 2)[:, None], 9.0, 1.0)
        return np.broadcast_to(fall[:, None], (len(rates), len(seeds), 60))

    monkeypatch.setattr(relu_speed, "running_errors", errors)
    found = relu_speed.tuned(new_run(), "tanh")
    assert found.rate == 2
    assert asked == [("tanh", relu_speed.RATES, (5, 6, 7)), ("tanh", (relu_speed.RATES[2],), (0, 1, 2, 3, 4))]


def test_the_network_and_its_runs():
    """5 x 5 convolutions of 28 x 28 pixels leave 24, 12, 8, 4; a member is the single run with its rate and seed."""
    model = relu_speed.network("ReLU", "mnist")
    params = model.init(jax.random.key(0), np.zeros((1, 28, 28, 1), np.float32))["params"]
    assert jaxdl.tree.num_entries(params) == 8 * 26 + 16 * (200 + 1) + 64 * (256 + 1) + 10 * 65
    for name, scale in (("ReLU", 2 / 256), ("tanh", 2 / 320)):
        variables = relu_speed.network(name, "mnist").init(jax.random.key(1), np.zeros((1, 28, 28, 1), np.float32))
        kernel = np.asarray(variables["params"]["dense1"]["kernel"], np.float64)
        # 16,384 normal entries: the standard error of the variance is 1.1 %.
        assert kernel.var() == pytest.approx(scale, rel=0.05)
    run = new_run("digits")
    found = relu_speed.running_errors(run, "tanh", [0.01, 0.03], [4, 9])
    tx = optax.sgd(0.03, momentum=0.9)
    model = relu_speed.network("tanh", "digits")
    objective = training.supervised(
        model, jaxdl.losses.softmax_cross_entropy, metrics={"accuracy": jaxdl.losses.correct}
    )
    state = training.init_state(model, tx, run.splits.train.x[:1], key=jax.random.key(9))
    _, history = training.fit(
        training.make_train_step(objective, tx), state, run.splits.train, steps=50, batch_size=20, progress=False
    )
    accuracy = history.train["accuracy"]
    expected = [100 - 100 * accuracy[i : i + relu_speed.WINDOW].mean() for i in range(11)]
    np.testing.assert_allclose(found[1, 1], expected, atol=0.2)
