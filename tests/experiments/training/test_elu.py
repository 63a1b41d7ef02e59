import jax
import numpy as np
import optax
import pytest

from experiments.harness.claims import Run
from experiments.training import elu
from experiments.training import elu_networks as networks
from jaxdl import training
from jaxdl.data import Examples, Splits
from tests.experiments.training.planted import drive, labelled

SPREAD = np.linspace(-0.01, 0.01, 5)


def new_run(images=48, epochs=2):
    draws = np.random.RandomState(0)
    examples = Examples(draws.rand(60, 3, 3, 1).astype(np.float32), draws.randint(0, 10, 60).astype(np.int32))
    return Run("digits", Splits(examples, examples, examples), 5, {"images": {"digits": images}, "repeats": 2,
                                                                     "epochs": {"digits": epochs}})  # fmt: skip


def made(levels, losses):
    """Arms whose median of unit means ends at a level, and whose losses are flat but for the seeds' spread."""
    return {
        name: networks.Trained(
            np.exp(SPREAD)[:, None] * np.broadcast_to(losses[name], (5, 30)),
            (levels[name] + np.roll(SPREAD, i))[:, None] * np.ones(31),
            np.full((5, 8, 4), levels[name]),
        )
        for i, name in enumerate(networks.ACTIVATIONS)
    }


def judged(levels, losses):
    run, arms = new_run(), made(levels, losses)
    elu.judge_means(run, arms)
    elu.judge_losses(run, arms)
    assert [finding.row for finding in run.findings] == ["X21", "X21", "", "X21", "X21"]
    return [finding.verdict for finding in run.findings]


def test_the_order_claimed_passes_and_another_fails():
    claimed = {"ELU": -0.1, "leaky ReLU": 0.3, "ReLU": 0.5}
    lower = {"ELU": 0.1, "leaky ReLU": 0.2, "ReLU": 0.3}
    assert judged(claimed, lower) == ["PASS"] * 5
    assert judged({"ELU": -0.6, "leaky ReLU": 0.3, "ReLU": 0.5}, lower)[:2] == ["FAIL", "PASS"], "the size counts"
    assert judged(claimed, {"ELU": 0.25, "leaky ReLU": 0.2, "ReLU": 0.3})[3:] == ["FAIL", "PASS"]
    assert judged({"ELU": -1.0, "leaky ReLU": 0.3, "ReLU": 0.5}, lower)[2] == "FAIL", "raised by 1 these would be at 0"


MEANS = tuple(f"of {nearer} units are nearer to zero at the end" for nearer in ("ELU", "leaky ReLU"))
LOSSES = tuple(f"ELU has a lower training loss than {other} over epochs 5 to 2" for other in ("leaky ReLU", "ReLU"))
SECONDS = {"ELU": 0.003, "leaky ReLU": 0.0015, "ReLU": 0.001}


def driven(monkeypatch, dataset, levels, losses):
    arms = made(levels, losses)
    monkeypatch.setattr(elu, "train", lambda run, name, images: arms[name])
    monkeypatch.setattr(
        elu, "seconds_per_step",
        lambda run, images, *, repeats: {name: np.full(repeats, each) for name, each in SECONDS.items()},
    )  # fmt: skip
    return drive(elu.EXPERIMENT, dataset, splits=new_run().splits, images={dataset: 48}), arms


def test_the_whole_experiment_says_and_draws_what_was_measured(monkeypatch):
    falling = {"ELU": np.geomspace(1, 0.01, 30), "leaky ReLU": np.geomspace(1, 0.02, 30), "ReLU": np.ones(30)}
    run, arms = driven(monkeypatch, "mnist", {"ELU": -0.1, "leaky ReLU": 0.3, "ReLU": 0.5}, falling)
    assert run.verdicts(*MEANS, "negative control", *LOSSES) == ["PASS"] * 5
    assert run.findings[0].remark == "0.1 against 0.3"
    assert run.tables[0].rows[0] == ["ELU", "3", "3.00", "0.01"]
    assert "A step of ELU takes 3.00 times as long" in run.notes[0]
    assert "the first 48 training images for 30 epochs" in run.notes[-1]
    assert len(run.records) == 15
    left, middle, right = run.drawn["elu"].axes
    assert list(labelled(left)) == list(labelled(middle)) == list(labelled(right)) == list(networks.ACTIVATIONS)
    for name, arm in arms.items():
        np.testing.assert_allclose(labelled(left)[name], arm.medians.mean(0))
        np.testing.assert_allclose(labelled(middle)[name], arm.loss.mean(0))
    assert (middle.get_yscale(), right.get_yscale()) == ("log", "log")


def test_the_whole_experiment_in_the_opposite_order(monkeypatch):
    opposite = {"ELU": 0.3, "leaky ReLU": 0.2, "ReLU": 0.1}
    run, _ = driven(monkeypatch, "digits", {"ELU": -1.0, "leaky ReLU": 0.9, "ReLU": 0.8}, opposite)
    assert run.verdicts(*MEANS, "negative control", *LOSSES) == ["FAIL"] * 5
    assert not any("Reduced" in note for note in run.notes)
    right = run.drawn["elu"].axes[2]
    for line, seconds in zip(right.lines, SECONDS.values(), strict=True):
        np.testing.assert_allclose(line.get_xdata(), 6 * seconds * np.arange(1, 31))  # six steps an epoch


def test_epochs_5_to_25_are_judged():
    columns = np.arange(1, 31)
    np.testing.assert_array_equal(elu.window(np.tile(columns, (2, 1)))[0], np.arange(5, 26))
    elsewhere = np.where((columns < 5) | (columns > 25), 9.0, 0.1)
    claimed = {"ELU": -0.1, "leaky ReLU": 0.3, "ReLU": 0.5}
    assert judged(claimed, {"ELU": elsewhere, "leaky ReLU": 0.2, "ReLU": 0.3})[3:] == ["PASS"] * 2


@pytest.mark.parametrize("name", list(networks.ACTIVATIONS))
def test_unit_means_against_numpy(name):
    x = np.random.RandomState(1).randn(6, 2, 2, 1).astype(np.float32)
    params = networks.network(name).init(jax.random.key(0), x)["params"]
    function = {
        "ELU": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
        "leaky ReLU": lambda z: np.where(z > 0, z, 0.1 * z),
        "ReLU": lambda z: np.maximum(z, 0),
    }[name]
    a, expected = x.reshape(6, -1).astype(np.float64), []
    for i in range(8):
        layer = params[f"Dense_{i}"]
        a = function(a @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"])[None])
        expected.append(a.mean(0))
    np.testing.assert_allclose(networks.unit_means(name, params, x), expected, rtol=1e-4, atol=1e-5)


def test_what_is_trained():
    """All activations start from the same weights; medians are of the start, of each epoch."""
    x = np.zeros((1, 28, 28, 1), np.float32)
    starts = [networks.network(name).init(jax.random.key(3), x)["params"] for name in networks.ACTIVATIONS]
    for other in starts[1:]:
        jax.tree.map(np.testing.assert_array_equal, starts[0], other)
    kernel = np.asarray(starts[0]["Dense_0"]["kernel"], np.float64)
    # 100,352 normal entries: the standard error of the variance is 0.45 %.
    assert kernel.var() * 784 == pytest.approx(2, rel=0.02)
    assert not np.asarray(starts[0]["Dense_0"]["bias"]).any()
    run = new_run()
    images = networks.images_of(run)
    assert len(images.y) == 48
    found = networks.train(run, "ELU", images)
    assert found.loss.shape == (5, 2)
    assert found.medians.shape == (5, 3)
    np.testing.assert_allclose(found.medians[:, -1], np.median(found.last_means, (1, 2)), rtol=1e-6)
    start = training.init_state(networks.network("ELU"), optax.sgd(0.1), images.x[:1], key=jax.random.key(2))
    median = np.median(networks.unit_means("ELU", start.params, images.x))
    assert found.medians[2, 0] == pytest.approx(median, rel=1e-4)


def test_every_activation_is_timed_the_same_number_of_times():
    run = new_run()
    seconds = networks.seconds_per_step(run, networks.images_of(run), repeats=2)
    assert {name: values.shape for name, values in seconds.items()} == dict.fromkeys(networks.ACTIVATIONS, (2,))
    assert min(values.min() for values in seconds.values()) > 0
