import jax
import numpy as np
import pytest

import jaxdl
from experiments.harness.claims import Run
from experiments.images import book_convolutions as convolutions
from experiments.images import book_networks as networks
from experiments.images.book_networks import ARMS, CONV, EXACT, FC, RELU, SHIFTED, TWO, Trained
from jaxdl.data import Examples, Splits

NOISE = np.array([0.02, -0.02, 0.01, -0.01, 0.0])
IMAGE = np.zeros((1, 28, 28, 1), np.float32)


def start(name):
    return networks.network(ARMS[name], "mnist").init(jax.random.key(0), IMAGE)["params"]


@pytest.mark.parametrize(
    ("name", "count"),
    [
        (FC, 784 * 100 + 100 + 1010),
        (CONV, (25 * 20 + 20) + (12 * 12 * 20 * 100 + 100) + 1010),
        (TWO, (25 * 20 + 20) + (25 * 20 * 40 + 40) + (4 * 4 * 40 * 100 + 100) + 1010),
    ],
)
def test_the_networks_have_the_books_sizes(name, count):
    assert jaxdl.tree.num_entries(start(name)) == count


def test_starts_go_by_the_number_of_outputs():
    params = start(TWO)
    # n_out = 20 * 25 / 4 = 125, 40 * 25 / 4 = 250, and 100; relative standard errors of 3.2, 0.5 and 0.3 %.
    for layer, n_out, tolerance in (("conv1", 125, 0.13), ("conv2", 250, 0.02), ("hidden", 100, 0.012)):
        assert np.std(params[layer]["kernel"]) * np.sqrt(n_out) == pytest.approx(1, rel=tolerance)
    assert np.std(params["hidden"]["bias"]) == pytest.approx(1, rel=0.3)
    for leaf in params["logits"].values():
        np.testing.assert_array_equal(leaf, 0)


def test_pooling_comes_before_the_activation():
    x = np.random.RandomState(0).rand(2, 28, 28, 1).astype(np.float32)
    model = networks.network(ARMS[CONV], "mnist")
    params = model.init(jax.random.key(1), x)["params"]
    kernel, bias = (np.asarray(params["conv1"][name], np.float64) for name in ("kernel", "bias"))
    z = np.zeros((2, 24, 24, 20))
    for i in range(5):
        for j in range(5):
            z += x[:, i : i + 24, j : j + 24] @ kernel[i, j]
    pooled = 1 / (1 + np.exp(-((z + bias).reshape(2, 12, 2, 12, 2, 20).max((2, 4)))))
    hidden, logits = params["hidden"], {"kernel": np.eye(100, 10), "bias": np.zeros(10)}
    a = 1 / (1 + np.exp(-(pooled.reshape(2, -1) @ np.asarray(hidden["kernel"]) + np.asarray(hidden["bias"]))))
    found = model.apply({"params": {**params, "logits": jax.tree.map(np.float32, logits)}}, x)
    np.testing.assert_allclose(found, a[:, :10], atol=2e-4)


def trained(mean, best=None):
    return Trained(mean + NOISE, np.full(5, best or mean), np.full((5, 2), mean))


def run_of(images, epochs, seeds=5):
    every = lambda value: {"mnist": dict.fromkeys(ARMS, value)}  # noqa: E731
    splits = Splits(*(Examples([0], [0]) for _ in range(3)))
    return Run("mnist", splits, seeds, {"images": every(images), "epochs": every(epochs)})


def test_orderings_on_made_up_accuracies():
    found = {FC: trained(97.8), CONV: trained(98.8), TWO: trained(98.5), RELU: trained(99.2), SHIFTED: trained(99.23)}
    found[RELU] = Trained(99.2 - NOISE, np.full(5, 99.2), np.full((5, 2), 99.2))
    run = run_of(50_000, 60)
    convolutions.judge(run, found, 10 + NOISE)
    verdicts = [finding.verdict for finding in run.findings]
    assert verdicts[:3] == ["PASS", "FAIL", "PASS"]
    assert verdicts[3] in ("FAIL", "INCONCLUSIVE")  # 0.03 points where 0.05 are claimed
    assert verdicts[4] == "PASS"
    assert run.findings[4].control
    assert all(finding.row == "X23" for finding in run.findings[:4])


def test_networks_that_have_hardly_begun_are_not_compared():
    run = run_of(3000, 8)
    convolutions.judge(run, {FC: trained(94.0), CONV: trained(96.0, best=89.9)}, 10 + NOISE)
    assert [finding.verdict for finding in run.findings] == ["INCONCLUSIVE", "PASS"]


@pytest.mark.parametrize(
    ("mean", "images", "epochs", "verdict"),
    [(97.75, 50_000, 60, "PASS"), (97.2, 50_000, 60, "FAIL"), (97.75, 50_000, 59, "INCONCLUSIVE")],
)
def test_the_published_figure_counts_at_the_books_length_only(mean, images, epochs, verdict):
    run = run_of(images, epochs)
    convolutions.judge_published(run, {EXACT: trained(mean), FC: trained(50.0)})
    assert [finding.verdict for finding in run.findings] == [verdict]


def test_the_best_of_three_runs_goes_by_validation():
    test, best = np.arange(15.0), np.tile([1.0, 3.0, 2.0], 5)
    np.testing.assert_array_equal(convolutions.best_of_three(Trained(test, best, best[:, None])), [1, 4, 7, 10, 13])
    assert len(convolutions.best_of_three(Trained(test[:14], best[:14], best[:14, None]))) == 14


def test_batches_come_in_the_order_of_the_data_and_the_best_epoch_is_kept(monkeypatch):
    draws = np.random.RandomState(0)
    examples = Examples(draws.rand(40, 8, 8, 1).astype(np.float32), draws.randint(0, 10, 40).astype(np.int32))
    settings = {"images": {"digits": {FC: 40}}, "epochs": {"digits": {FC: 3}}}
    given, run_many = {}, jaxdl.training.run_many

    def spy(*arguments, **options):
        given.update(options)
        return run_many(*arguments, **options)

    monkeypatch.setattr(networks.training, "run_many", spy)
    found = networks.train(Run("digits", Splits(examples, examples, examples), 2, settings), FC)
    assert given["shuffle"] is False
    assert given["batch_size"] == 10
    assert found.curve.shape == (2, 3)
    np.testing.assert_allclose(found.test, found.best, atol=1e-4)  # the same examples, at the best epoch
