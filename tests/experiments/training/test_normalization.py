import jax
import numpy as np
import pytest

import jaxdl
from experiments.harness import rules
from experiments.harness.claims import Run
from experiments.training import normalization
from experiments.training import normalized_networks as networks
from jaxdl.data import Examples, Splits


@pytest.fixture
def examples():
    draws = np.random.RandomState(0)
    y = draws.randint(0, 10, 400).astype(np.int32)
    return Examples(draws.rand(400, 2, 2, 1).astype(np.float32), y)


def test_batches_of_two_labels_hold_sixteen_of_each_and_no_example_twice(examples):
    marked = Examples(np.arange(400.0).reshape(400, 1, 1, 1), examples.y)
    x, y = networks.arranged(marked, networks.Layout(32, labels=2), seed=0)
    assert x.shape[1:] == (32, 1, 1, 1)
    for batch in y:
        _, counts = np.unique(batch, return_counts=True)
        np.testing.assert_array_equal(counts, [16, 16])
    assert len(np.unique(x)) == x.size
    np.testing.assert_array_equal(examples.y[x.ravel().astype(int)], y.ravel())
    assert len(y) >= 9  # of 12 batches that 400 examples could fill


def test_mixed_batches_are_a_permutation(examples):
    x, y = networks.arranged(examples, networks.Layout(4), seed=1)
    assert x.shape == (100, 4, 2, 2, 1)
    np.testing.assert_array_equal(np.sort(y.ravel()), np.sort(examples.y))


def test_a_batch_kept_together_is_one_batch_of_the_plain_objective(examples):
    model = networks.network("batch norm", num_steps=10)
    variables = jaxdl.as_model(model).init(jax.random.key(0), examples.x[:1])
    params, state = variables["params"], {"batch_stats": variables["batch_stats"]}
    context = dict(model_state=state, key=None, train=True)
    grouped, aux = networks.objective(model)(params, (examples.x[None, :32], examples.y[None, :32]), **context)
    plain = jaxdl.training.supervised(model, jaxdl.losses.softmax_cross_entropy)
    losses, plain_aux = plain(params, (examples.x[:32], examples.y[:32]), **context)
    assert grouped.shape == (1,) == aux.metrics["accuracy"].shape
    assert float(grouped[0]) == pytest.approx(float(losses.mean()), rel=1e-6)
    for ours, theirs in zip(jax.tree.leaves(aux.model_state), jax.tree.leaves(plain_aux.model_state), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize(
    "name",
    [
        "batch norm",
        "batch renorm",
        "bound batch renorm",
        "layer norm",
        "weight norm",
        "cosine",
        "centred cosine",
        "none",
    ],
)
def test_every_arm_has_two_hidden_layers_of_the_same_width(name, examples):
    model = jaxdl.as_model(networks.network(name, num_steps=10))
    variables = model.init(jax.random.key(0), examples.x[:1])
    kernels = [leaf.shape for leaf in jax.tree.leaves(variables["params"]) if leaf.ndim == 2]
    assert sorted(kernels) == [(4, 100), (100, 10), (100, 100)]
    assert ("batch_stats" in variables) == ("batch" in name)


def make_run(examples, seeds=2):
    epochs = {"digits": {layout: 1 for layout in normalization.LAYOUTS}}
    settings = {"epochs": epochs, "rates": (0.01, 0.1, 0.3), "arms": normalization.ARMS}
    return Run("digits", Splits(examples, examples, examples), seeds, settings)


def test_the_rate_is_chosen_on_validation_by_a_seed_of_its_own(examples, monkeypatch):
    calls = []

    def train(run, layout, arm, rate, *, seeds=None):
        calls.append((rate, seeds))
        last = {0.01: 50.0, 0.1: 70.0, 0.3: 60.0}[rate]
        # The best rate by test accuracy, and by validation after the first epoch, would be another one.
        count = run.seeds if seeds is None else len(seeds)
        return normalization.Trained(rate, np.tile([[99 - last, last]], (count, 1)), np.full(count, 99 - last))

    monkeypatch.setattr(normalization, "train", train)
    chosen = normalization.train_arm(make_run(examples), normalization.MIXED, "batch norm")
    assert chosen.rate == 0.1
    assert calls == [(rate, [normalization.TUNING_SEED]) for rate in (0.01, 0.1, 0.3)] + [(0.1, None)]
    assert normalization.TUNING_SEED > max(preset["seeds"] for preset in normalization.EXPERIMENT.presets.values())


def test_the_test_split_is_not_read_while_a_rate_is_chosen(examples):
    run = make_run(examples)
    run.splits = run.splits._replace(test=None)
    tuned = normalization.train(run, normalization.MIXED, "none", 0.1, seeds=[normalization.TUNING_SEED])
    assert (tuned.validation.shape, tuned.test.shape) == ((1, 1), (0,))


def test_bound_batch_renormalization_is_found_equal_and_another_is_not(examples, monkeypatch):
    run = make_run(examples)
    normalization.judge_equality(run)
    renorm = networks.BatchRenorm
    monkeypatch.setattr(networks, "BatchRenorm", lambda **k: renorm(**{**k, "r_max": 2.0, "d_max": 1.0}))
    normalization.judge_equality(run)
    assert [finding.verdict for finding in run.findings] == ["PASS", "FAIL"]


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([0.1, 0.0, -0.1, 0.05, 0.0], "PASS"),
        ([0.9, 1.0, 1.1, 1.0, 0.9], "FAIL"),
        ([0.5, 0.1, 0.9, 0.2, 0.7], "INCONCLUSIVE"),
    ],
)
def test_equivalence_needs_the_whole_interval_inside_the_margin(values, verdict):
    assert rules.equivalent(values, 0.5).verdict == verdict
    assert rules.equivalent(values[:4], 0.5).verdict == "INCONCLUSIVE"
