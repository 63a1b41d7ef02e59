from types import SimpleNamespace

import jax
import numpy as np
import pytest

from experiments.building_blocks import book
from experiments.generalization import overfitting
from experiments.generalization.overfitting_networks import DECAY, Curves, Networks, Reached, network
from jaxdl import procedures, training
from tests.experiments.generalization.planted import images, judged, labels, of_dataset, ticks
from tests.experiments.planted import Drawn, heights

FIVE, SPREAD = np.ones(5), np.array([-0.02, -0.01, 0.0, 0.01, 0.02])


def small_run(dataset="digits", epochs=3):
    return Drawn(dataset, images(400), 5, of_dataset(dataset, images=40, epochs=epochs))


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

    def arm(cost, *, train=100.0, test=80.0):
        return Reached(train * FIVE, test + SPREAD, cost + SPREAD, FIVE)

    none = curves(1.5)
    arms = {"none": arm(1.5), "L2": arm(1.0, test=85.0), "other": arm(2.0)}
    overfitting.judge_cures(run, arms, none)
    assert [finding.verdict for finding in run.findings] == ["PASS", "FAIL", "PASS", "PASS"]
    assert "95 % jointly over 2 cures" in run.findings[0].rule
    run.findings.clear()
    falling = none._replace(cost=np.tile(np.linspace(2.0, 1.0, 400), (5, 1)))
    overfitting.judge_cures(run, arms | {"L2": arm(1.0, train=90.0)}, falling)
    assert [finding.verdict for finding in run.findings] == ["PASS", "FAIL", "FAIL", "INCONCLUSIVE"]


CURES = ("L2", "dropout 0.25", "early stopping", "augmentation", "5 times the images", "10 units")


def run_planted(monkeypatch, run, none, decayed, *, cost, wide, narrow):
    """All cures at one cost; `wide` is the accuracy of 300 units with decay, all others have 80 %."""

    def arm(networks, *, width=30, rate=0.0, decay=0.0, augment=None, more=False, start=None, **options):
        asked.append("")
        if start is not None:
            assert options == {"epochs": 100}
            level = {(300, DECAY): wide, (networks.narrow(), 0.0): narrow}.get((width, decay), 80.0)
            return Reached(100 * FIVE, level + SPREAD, cost + SPREAD, FIVE)
        stopping = options.pop("early_stopping", None)
        if stopping is not None:
            assert options == {"validation": networks.validation}
            assert stopping == training.EarlyStopping(patience=10)
        chosen = {"10 units": width == 10, "augmentation": augment is not None, "5 times the images": more,
                  "early stopping": stopping is not None}  # fmt: skip
        (asked[-1],) = [name for name, was in chosen.items() if was]
        return Reached(90 * FIVE, 81 + SPREAD, cost + SPREAD, FIVE)

    asked = []
    monkeypatch.setattr(Networks, "arm", arm)
    monkeypatch.setattr(Networks, "pair", lambda networks: (none, decayed))
    dropped = Reached(95 * FIVE, 82 + SPREAD, cost + SPREAD, FIVE)
    monkeypatch.setattr(Networks, "dropped_out", lambda networks: (dropped, 0.25))
    overfitting.EXPERIMENT.run(run)
    return [name for name in asked if name]


def test_planted_networks_are_judged_told_and_drawn(monkeypatch):
    run = small_run("mnist", epochs=400)
    none, decayed = curves(1.47), curves(0.9, accuracy=87.0)
    asked = run_planted(monkeypatch, run, none, decayed, cost=1.1, wide=85.0, narrow=40.0)
    assert sorted(asked) == sorted(CURES[2:])
    shapes = ("cost of the test images falls", "weight decay raises", "last test cost lies below",
              "accuracy, without a cure", "accuracy, with weight decay")  # fmt: skip
    rest = ("negative control", "smaller weights", "of the classical rule", "network of 300 units")
    claims = (*shapes, *(f"{name}: a lower" for name in CURES), *rest)
    judged(run, dict.fromkeys(claims, "PASS"))
    assert [row[0] for row in run.tables[0].rows] == ["none", *CURES]
    assert run.tables[0].rows[2] == ["dropout 0.25", "95", "82", "1.1", "1"]
    assert not run.notes
    widths = [record["width"] for record in run.records if record["quantity"] == "width" and record["seed"] == 0]
    assert widths == [w for w in (1, 10, 30, 100, 300) for _ in range(2)]
    accuracy, cost, cures, by_width = run.drawn["overfitting"].axes
    assert labels(accuracy) == ["no cure", "weight decay"]
    np.testing.assert_allclose(heights(accuracy, "weight decay"), np.full(400, 87.02))
    np.testing.assert_allclose(heights(cost, "no cure"), none.cost[0])
    assert heights(cost, "its minimum").tolist() == [1.0]
    assert ticks(cures.yaxis) == ["none", *CURES]
    assert [bar.get_width() for bar in cures.patches] == pytest.approx([1.47, 0.9, *[1.1] * 5])
    assert cures.texts[2].get_text() == " 82.0 %"
    np.testing.assert_allclose(heights(by_width, "no cure"), [40, 80, 80, 80, 80])
    np.testing.assert_allclose(heights(by_width, "weight decay"), [80, 80, 80, 80, 85])
    assert ticks(by_width.xaxis) == ["1", "10", "30", "100", "300"]
    assert (cost.get_xscale(), by_width.get_xscale()) == ("log", "log")
    assert len(run.figures) == 1


def test_planted_opposites_fail_on_digits(monkeypatch):
    run = small_run(epochs=400)
    none, decayed = curves(1.1), curves(1.3, accuracy=81.0)
    none.cost[:, 200] = 1.3
    run_planted(monkeypatch, run, none, decayed, cost=1.4, wide=75.0, narrow=90.0)
    shapes = ("cost of the test images falls", "weight decay raises")
    rest = ("negative control", "smaller weights", "of the classical rule", "network of 300 units")
    judged(run, dict.fromkeys((*shapes, *(f"{name}: a lower" for name in CURES), *rest), "FAIL"))
    assert "only orderings and shapes are tested" in run.notes[0]


def test_the_monitored_cost_is_the_books():
    """`C + lambda / (2 N) sum w^2` with N the number of EVALUATION examples, biases left out."""
    run = small_run()
    model = network()
    params = jax.jit(model.init)(jax.random.key(0), run.splits.test.x[:1])["params"]
    monitored = book.Monitored(book.objective(model), 3.0, 400)
    batch = tuple(part[:7] for part in run.splits.test)
    losses, aux = jax.jit(lambda params: monitored(params, batch, model_state={}, key=None, train=False))(params)
    squares = sum(float(np.square(np.asarray(layer["kernel"], np.float64)).sum()) for layer in params.values())
    np.testing.assert_allclose(aux.metrics["cost"], np.asarray(losses) + 3.0 / 800 * squares, rtol=1e-5)
    # Each of the 30 * 9 + 300 weights is N(0, 1): the mean square has deviation sqrt(2 / 570) = 0.06; five of them.
    assert abs(squares / 570 - 1) < 5 * 0.06


@pytest.fixture(scope="module")
def networks():
    return Networks(small_run())


@pytest.fixture(scope="module")
def pair(networks):
    return networks.pair()


@pytest.mark.parametrize("place", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_both_curves_are_the_runs_of_their_decay(networks, pair, place):
    curve, alone = pair[place], networks.arm(decay=(0.0, DECAY)[place])
    np.testing.assert_allclose(curve.reached.cost, alone.cost, rtol=1e-4)
    np.testing.assert_allclose(curve.reached.norm, alone.norm, rtol=1e-4)
    np.testing.assert_allclose(curve.test[:, -1], alone.test, rtol=1e-5)
    assert curve.test.shape == curve.cost.shape == (5, 3)
    assert not np.allclose(pair[1 - place].reached.norm, alone.norm, rtol=1e-4), "decay makes a difference"


def test_dropout_is_tuned_for_other_seeds_and_judged_at_the_best_rate(networks, monkeypatch):
    def grid_search(make_step, init, images, validation, *, hyperparameters, seeds, **options):
        assert (images, validation) == (networks.few, networks.validation)
        assert hyperparameters == {"dropout_rate": (0.1, 0.25, 0.5)}
        assert not set(seeds) & set(range(networks.run.seeds))
        assert options["evaluate_every"] == options["epochs"] == 3
        state = jax.eval_shape(init, jax.random.key(0), 0.25)
        after, _ = jax.eval_shape(lambda rate, state: make_step(rate)(state, images), 0.25, state)
        assert after.params["Dense_0"]["kernel"].shape == (9, 30)
        return SimpleNamespace(best={"dropout_rate": 0.25})

    monkeypatch.setattr(procedures, "grid_search", grid_search)
    monkeypatch.setattr(networks, "arm", lambda **options: options)
    assert networks.dropped_out() == ({"rate": 0.25}, 0.25)


@pytest.mark.slow
def test_cures_change_the_networks(networks, pair):
    plain = pair[0].reached
    assert networks.stopped_early().cost.shape == (5,)
    reached, rate = networks.dropped_out()
    assert rate in (0.1, 0.25, 0.5)
    for cured in (reached, networks.augmented()):
        assert not np.allclose(cured.cost, plain.cost)


def test_more_images_and_the_classical_rule(networks):
    assert [len(part.y) for part in (networks.few, networks.more)] == [40, 200]
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
