import numpy as np

from experiments.harness.claims import Run
from experiments.images import permutation
from jaxdl.data import Examples, Splits


def splits(seed=0):
    draws = np.random.RandomState(seed)
    parts = [
        Examples(draws.rand(60, 4, 4, 1).astype(np.float32), draws.randint(0, 10, 60).astype(np.int32)) for _ in "123"
    ]
    return Splits(*parts)


def new_run():
    settings = dict(permutation.EXPERIMENT.presets["smoke"]) | {"width": {"digits": 6}}
    return Run("digits", splits(), 5, settings)


def test_all_splits_have_the_same_order():
    given = splits()
    permuted, order = permutation.permute(given)
    for before, after in zip(given, permuted, strict=True):
        np.testing.assert_array_equal(after.x.reshape(60, 16), before.x.reshape(60, 16)[:, order])
        np.testing.assert_array_equal(after.y, before.y)
    assert sorted(order.tolist()) == list(range(16))


def test_turned_with_the_pixels_the_outputs_are_the_same():
    given = splits()
    permuted, order = permutation.permute(given)
    kernel = np.random.RandomState(1).randn(16, 3).astype(np.float32)
    turned = permutation.coupled({"Dense_0": {"kernel": kernel, "bias": 0}, "Dense_1": 1}, order)
    x, moved = given.train.x.reshape(60, 16), permuted.train.x.reshape(60, 16)
    np.testing.assert_allclose(moved @ turned["Dense_0"]["kernel"], x @ kernel, rtol=1e-4, atol=1e-5)
    assert turned["Dense_1"] == 1


def test_the_coupled_law_holds_and_another_order_is_noticed(monkeypatch):
    run = new_run()
    permuted, order = permutation.permute(run.splits)
    monkeypatch.setattr(permutation, "OPTIMIZERS", {"SGD": permutation.OPTIMIZERS["SGD"]})
    permutation.judge_coupled(run, permuted, order)
    assert [finding.verdict for finding in run.findings] == ["PASS", "PASS"]
    run = new_run()
    permutation.judge_coupled(run, permuted, order[::-1])
    assert run.findings[0].verdict == "FAIL"


def test_the_rules_of_independent_starts(monkeypatch):
    spread = 0.1 * np.sin(np.arange(30))

    def judged(perceptron_loss, cnn_loss):
        def accuracies(network, splits, seeds, *, epochs, mode):
            loss = cnn_loss if mode == "map" else perceptron_loss
            return 90.0 - loss * (seeds.start >= permutation.OTHER_SEEDS) + spread[: len(seeds)]

        monkeypatch.setattr(permutation, "accuracies", accuracies)
        run = new_run()
        permutation.judge_independent(run, run.splits)
        return [finding.verdict for finding in run.findings]

    assert judged(0.0, 3.0) == ["PASS"] * 4
    assert judged(1.0, 3.0) == ["FAIL", "FAIL", "PASS", "FAIL"]
    assert judged(0.0, 0.0) == ["PASS", "PASS", "FAIL", "PASS"]
