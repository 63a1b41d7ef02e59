"""What the arms of `pretraining` start from, and that its rules can fail."""

import itertools
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from experiments.harness.claims import Run
from experiments.reuse import pretraining as experiment
from experiments.reuse import pretraining_networks as networks
from experiments.reuse.pretraining_networks import ARMS, AUTOENCODER, NONE, RBM, RELU, SHUFFLED, SUPERVISED, Plan
from jaxdl.data import Examples, Splits

DRAWS = np.random.RandomState(0)
EXAMPLES = Examples(DRAWS.rand(40, 3, 3, 1).astype(np.float32), DRAWS.randint(0, 10, 40).astype(np.int32))
SPLITS = Splits(EXAMPLES, EXAMPLES, EXAMPLES)
PLAN = Plan((6, 5), 10, 1, 2)


def drawn(arm, plan, train, *, seeds):
    """In place of what was learned: other layers for every arm and seed."""
    draws, sizes = np.random.RandomState(len(arm)), (9, *plan.widths)
    return [
        tuple({"kernel": draws.randn(m, n).astype(np.float32), "bias": np.zeros(n, np.float32)}
              for m, n in itertools.pairwise(sizes))
        for _ in range(seeds)
    ]  # fmt: skip


@pytest.fixture(scope="module", params=[drawn, pytest.param(None, marks=pytest.mark.slow)], ids=["drawn", "learned"])
def made(request):
    """All starts, and the layers they hold; learned ones take six programs, so that they are drawn by default."""
    layers, learn = {}, request.param or networks.pretrained

    def pretrained(arm, plan, train, *, seeds):
        layers[arm] = learn(arm, plan, train, seeds=seeds)
        return layers[arm]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "pretrained", pretrained)
        return networks.starts(PLAN, EXAMPLES, seeds=2), layers


@pytest.fixture
def starts(made):
    return made[0]


def test_every_arm_has_layers_of_its_own_and_an_output_layer_of_zeros(starts):
    assert tuple(starts) == ARMS
    for members in starts.values():
        assert len(members) == 2
        for params in members:
            assert {name: layer["kernel"].shape for name, layer in params.items()} == {
                "Dense_0": (9, 6), "Dense_1": (6, 5), "Dense_2": (5, 10),
            }  # fmt: skip
            assert not np.any(params["Dense_2"]["kernel"])
    kernels = {arm: np.asarray(starts[arm][0]["Dense_1"]["kernel"]) for arm in ARMS}
    for arm in (AUTOENCODER, RBM, SUPERVISED, SHUFFLED):
        assert not np.array_equal(kernels[arm], kernels[NONE])
        assert not np.array_equal(kernels[arm], np.asarray(starts[arm][1]["Dense_1"]["kernel"]))


def test_layers_of_every_seed_are_put_where_they_belong(made):
    starts, learned = made
    assert set(learned) == {AUTOENCODER, RBM, SUPERVISED}
    for arm, layers in learned.items():
        for seed in range(2):
            for number, layer in enumerate(layers[seed]):
                np.testing.assert_array_equal(starts[arm][seed][f"Dense_{number}"]["kernel"], layer["kernel"])


def test_a_layer_is_learned_from_every_seed():
    (first,), (second,) = networks.pretrained(AUTOENCODER, PLAN._replace(widths=(6,)), EXAMPLES, seeds=2)
    assert {name: leaf.shape for name, leaf in first.items()} == {"kernel": (9, 6), "bias": (6,)}
    assert np.any(np.asarray(first["kernel"]) != np.asarray(second["kernel"]))


@pytest.mark.parametrize("arm", [RBM, SUPERVISED])
def test_layers_are_learned_with_labels_where_they_are_supervised(arm, monkeypatch):
    def greedy(data, **options):
        asked.append((data, options["batch_size"], options["epochs"]))
        return SimpleNamespace(layers=("layers",))

    asked = []
    monkeypatch.setattr(networks.procedures, "greedy_supervised", lambda chosen, data, **o: greedy(data, **o))
    monkeypatch.setattr(networks.procedures, "greedy_pretraining", lambda chosen, x, **o: greedy((x,), **o))
    assert networks.pretrained(arm, PLAN, EXAMPLES, seeds=2) == [("layers",)] * 2
    for data, batch, epochs in asked:
        assert (data[0].shape, len(data), batch, epochs) == ((40, 9), 1 + (arm == SUPERVISED), 10, 1)


def test_shuffled_weights_are_the_same_ones_elsewhere(starts):
    for name in ("Dense_0", "Dense_1"):
        learned, mixed = (np.asarray(starts[arm][0][name]["kernel"]) for arm in (AUTOENCODER, SHUFFLED))
        assert not np.array_equal(learned, mixed)
        np.testing.assert_array_equal(np.sort(learned, axis=None), np.sort(mixed, axis=None))


def test_the_start_of_sigmoids_is_four_times_glorots_interval():
    model = networks.network(NONE, (300,))
    image = np.zeros((1, 200), np.float32)
    kernel = np.asarray(jax.jit(lambda key: model.init(key, image)["params"]["Dense_0"]["kernel"])(jax.random.key(0)))
    bound = 4 * np.sqrt(6 / 500)
    assert np.abs(kernel).max() <= bound
    assert np.abs(kernel).max() > 0.999 * bound
    assert kernel.std() == pytest.approx(bound / np.sqrt(3), rel=0.01)


def test_corruption_grows_with_the_layers():
    rates = [learner.model.masking_rate for learner in networks.learners(AUTOENCODER, (4, 4, 4))]
    np.testing.assert_allclose(rates, [0.1, 0.2, 0.3])


def test_drift_is_numpys(starts):
    found = networks.fine_tuned({NONE: starts[NONE], RBM: starts[RBM]}, PLAN, EXAMPLES, EXAMPLES, EXAMPLES)
    assert set(found) == {NONE, RBM}
    for each in found.values():
        assert each.error.shape == (2,)
        assert each.curves.shape == each.loss.shape == (2, 2)
        assert each.distance.shape == each.cosine.shape == (2, 2)
        np.testing.assert_allclose(each.error, each.curves[:, -1], rtol=1e-5)  # here the same images
    # |w - w0|^2 / |w0|^2 = 1 + r^2 - 2 r cos with r = |w| / |w0|: r is real only if the two agree.
    d, c = found[NONE].distance, found[NONE].cosine
    assert (d**2 - 1 + c**2 >= -1e-4).all()
    assert (d > 0).all()


def verdicts(errors, dataset="mnist", full=True):
    sizes = {"widths": (1000,) * 3, "epochs": 36, "examples": None if full else 10_000}
    run = Run(dataset, SPLITS, 5, {name: {"mnist": value} for name, value in sizes.items()})
    noise = np.linspace(-0.01, 0.01, 5)
    experiment.judge(run, {arm: error + (i + 1) * noise for i, (arm, error) in enumerate(errors.items())})
    assert {finding.row for finding in run.findings} == {"X32"}
    return [finding.verdict for finding in run.findings]


def test_the_rules_pass_and_fail():
    good = {NONE: 3.0, AUTOENCODER: 1.4, RBM: 1.5, SUPERVISED: 2.0, SHUFFLED: 3.0, RELU: 1.5}
    assert verdicts(good) == ["PASS"] * 6
    assert verdicts(good, full=False)[-1] == "INCONCLUSIVE"
    assert len(verdicts(good, dataset="digits")) == 5
    bad = {NONE: 1.4, AUTOENCODER: 2.5, RBM: 2.4, SUPERVISED: 2.0, SHUFFLED: 1.4, RELU: 3.0}
    assert verdicts(bad) == ["FAIL"] * 6
