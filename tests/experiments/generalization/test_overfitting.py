import jax
import numpy as np
import pytest

from experiments.building_blocks import book
from experiments.generalization import overfitting
from experiments.generalization.overfitting_networks import DECAY, Curves, Networks, Reached, network
from experiments.harness.claims import Run
from jaxdl.data import Examples, Splits

FIVE = np.ones(5)


def small_run(dataset="digits", epochs=3):
    draws = np.random.RandomState(0)
    examples = Examples(draws.rand(400, 3, 3, 1).astype(np.float32), draws.randint(0, 10, 400).astype(np.int32))
    settings = {"images": {dataset: 40}, "epochs": {dataset: epochs}}
    return Run(dataset, Splits(examples, examples, examples), 5, settings)


def curves(last, *, smallest_at=10, train=100.0, accuracy=82.0, epochs=400):
    cost = np.full((5, epochs), 1.2)
    cost[:, smallest_at] = 1.0
    cost[:, -1] = last
    reached = Reached(train * FIVE, accuracy * FIVE, last * FIVE, 50 * FIVE)
    return Curves(np.full((5, epochs), accuracy) + 0.01 * np.arange(5)[:, None], cost, reached)


def verdicts(run, none, decayed):
    run.findings.clear()
    overfitting.judge_curves(run, none, decayed)
    return [finding.verdict for finding in run.findings]


def test_the_published_curves_pass_and_others_fail():
    run = small_run("mnist")
    none, decayed = curves(1.47), curves(0.9, accuracy=87.0)
    assert verdicts(run, none, decayed) == ["PASS"] * 5
    assert verdicts(run, curves(1.2), decayed)[0] == "FAIL", "the cost did not rise"
    assert verdicts(run, curves(1.47, smallest_at=100), decayed)[0] == "FAIL", "the minimum came late"
    assert verdicts(run, curves(1.47, train=99.9), decayed)[0] == "FAIL", "not everything is learned"
    assert verdicts(run, none, curves(1.1, accuracy=83.5)) == ["PASS", "FAIL", "FAIL", "PASS", "FAIL"]
    short = verdicts(run, curves(1.47, epochs=50), curves(0.9, accuracy=87.0, epochs=50))
    assert set(short) == {"INCONCLUSIVE"}, "a shorter run is not judged by the published figures"
    assert verdicts(small_run(), none, decayed) == ["PASS", "PASS"], "other data have no published figures"


def test_cures_share_the_error_rate_and_the_control_must_fail():
    run = small_run()
    spread = np.array([-0.02, -0.01, 0.0, 0.01, 0.02])

    def arm(cost, *, train=100.0, test=80.0):
        return Reached(train * FIVE, test + spread, cost + spread, FIVE)

    none = curves(1.5)
    arms = {"none": arm(1.5), "L2": arm(1.0, test=85.0), "other": arm(2.0)}
    overfitting.judge_cures(run, arms, none)
    assert [finding.verdict for finding in run.findings] == ["PASS", "FAIL", "PASS", "PASS"]
    assert "95 % jointly over 2 cures" in run.findings[0].rule
    run.findings.clear()
    falling = none._replace(cost=np.tile(np.linspace(2.0, 1.0, 400), (5, 1)))
    overfitting.judge_cures(run, arms | {"L2": arm(1.0, train=90.0)}, falling)
    assert [finding.verdict for finding in run.findings] == ["PASS", "FAIL", "FAIL", "INCONCLUSIVE"]


def test_the_monitored_cost_is_the_books():
    """`C + lambda / (2 N) sum w^2` with N the number of EVALUATION examples, biases left out."""
    run = small_run()
    model = network()
    params = model.init(jax.random.key(0), run.splits.test.x[:1])["params"]
    monitored = book.Monitored(book.objective(model), 3.0, 400)
    batch = tuple(part[:7] for part in run.splits.test)
    losses, aux = monitored(params, batch, model_state={}, key=None, train=False)
    squares = sum(float(np.square(np.asarray(layer["kernel"], np.float64)).sum()) for layer in params.values())
    np.testing.assert_allclose(aux.metrics["cost"], np.asarray(losses) + 3.0 / 800 * squares, rtol=1e-5)
    # Each of the 30 * 9 + 300 weights is N(0, 1): the mean square has deviation sqrt(2 / 570) = 0.06; five of them.
    assert abs(squares / 570 - 1) < 5 * 0.06


def test_both_curves_are_the_runs_of_their_decay():
    networks = Networks(small_run())
    for curve, decay in zip(networks.pair(), (0.0, DECAY), strict=True):
        alone = networks.arm(decay=decay)
        np.testing.assert_allclose(curve.reached.cost, alone.cost, rtol=1e-4)
        np.testing.assert_allclose(curve.reached.norm, alone.norm, rtol=1e-4)
        np.testing.assert_allclose(curve.test[:, -1], alone.test, rtol=1e-5)
        assert curve.test.shape == curve.cost.shape == (5, 3)


def test_the_cures_are_what_they_say():
    networks = Networks(small_run())
    assert [len(part.y) for part in (networks.few, networks.more)] == [40, 200]
    plain = networks.arm()
    early = networks.stopped_early()
    assert early.cost.shape == (5,)
    _, rate = networks.dropped_out()
    assert rate in (0.1, 0.25, 0.5)
    assert not np.allclose(networks.augmented().cost, plain.cost)
    assert networks.narrow() == (40 - 11) // 20
    assert networks.parameters(1) == 10 + 20 < 40 < networks.parameters(2) == 50


def test_a_fifth_of_the_labels_of_digits_is_drawn_and_none_of_mnist():
    for dataset, share in (("digits", 0.18), ("mnist", 0.0)):
        run = small_run(dataset)
        networks = Networks(run)
        changed = np.mean(np.asarray(networks.more.y) != run.splits.train.y[:200])
        # A tenth of the labels drawn are right by chance; deviation sqrt(0.18 * 0.82 / 200) = 0.027; four of them.
        assert abs(changed - share) <= 4 * 0.027 * (share > 0)


def test_widths_are_compared_with_the_classical_rule():
    run = small_run()
    networks = Networks(run)
    spread = np.array([-0.2, -0.1, 0.0, 0.1, 0.2])
    level = {"none": 70.0, "L2": 80.0}
    arms = {
        (width, name): Reached(FIVE, (level[name] if width > 1 else 30.0) + spread, FIVE, FIVE)
        for width in (1, *overfitting.WIDTHS)
        for name in level
    }
    overfitting.judge_power(run, networks, arms)
    assert [finding.verdict for finding in run.findings] == ["PASS", "PASS"]
    assert "30 of the classical rule" in run.findings[0].claim
    with pytest.raises(KeyError):
        overfitting.judge_power(run, networks, {})
