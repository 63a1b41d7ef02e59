import jax
import numpy as np
import pytest

import jaxdl
from experiments.harness import rules
from experiments.harness.claims import Run
from experiments.training import normalization
from experiments.training import normalized_networks as networks
from jaxdl.data import Examples, Splits
from tests.experiments.training.planted import SPREAD, drive, labelled


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
    plain = jaxdl.training.supervised(model, jaxdl.losses.softmax_cross_entropy)

    @jax.jit
    def both(key, x, y):
        variables = jaxdl.as_model(model).init(key, x[:1])
        params, state = variables["params"], {"batch_stats": variables["batch_stats"]}
        context = dict(model_state=state, key=None, train=True)
        return networks.objective(model)(params, (x[None], y[None]), **context), plain(params, (x, y), **context)

    (grouped, aux), (losses, plain_aux) = both(jax.random.key(0), examples.x[:32], examples.y[:32])
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
    variables = jax.eval_shape(lambda key: model.init(key, examples.x[:1]), jax.random.key(0))
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


def driven(monkeypatch, dataset, renorm, bound, **options):
    """The whole experiment: batch norm at 90 % and, with batches of 2 labels, 60 %; renorm's are given by layout."""

    def train(run, layout, arm, rate, *, seeds=None):
        levels = {
            "batch norm": 60.0 if layout == normalization.SORTED else 90.0,
            "batch renorm": renorm[layout], "bound batch renorm": bound,
        }  # fmt: skip
        end = levels.get(arm, 80.0) - 10 * abs(rate - 0.1)
        spread = SPREAD if seeds is None else np.zeros(1)
        return normalization.Trained(rate, np.stack([0.5 * end + spread, end + spread], 1), end + spread)

    monkeypatch.setattr(normalization, "train", train)
    monkeypatch.setattr(normalization, "judge_equality", lambda run: run.record(quantity="equality"))
    return drive(normalization.EXPERIMENT, dataset, **options)


BETTER = tuple(f"beats batch normalization with {layout}" for layout in ("batches of 4", "batches of 32 with 2"))
CLAIMS = (*BETTER, "as good as mixed ones", "negative control")


def test_the_whole_experiment_where_renormalization_repairs(monkeypatch):
    renorm = {normalization.SMALL: 92.0, normalization.SORTED: 89.9, normalization.MIXED: 90.0}
    run = driven(monkeypatch, "mnist", renorm, 60.0)
    assert run.verdicts(*CLAIMS) == ["PASS"] * 4
    assert "better by 0.10 [0.10, 0.10] points; layer norm" in run.findings[2].remark
    assert "loses 0.00 by the order alone" in run.findings[2].remark
    assert run.tables[0].rows[:2] == [
        ["batch norm", "90.00 (0.1)", "60.00 (0.1)", "90.00 (0.1)"],
        ["batch renorm", "92.00 (0.1)", "89.90 (0.1)", "90.00 (0.1)"],
    ]
    assert run.tables[0].rows[3] == ["weight norm", "-", "-", "80.00 (0.1)"]
    assert run.records[0] == {"quantity": "equality"}
    assert len(run.records) == 1 + 5 * 13
    for axis, (layout, names) in zip(run.drawn["normalization"].axes, normalization.ARMS.items(), strict=True):
        lines = labelled(axis)
        assert tuple(lines) == names
        assert axis.get_title() == layout
        np.testing.assert_allclose(lines["batch renorm"], [0.5 * renorm[layout], renorm[layout]])
        dots = [line for line in axis.lines if line.get_marker() == "."]
        np.testing.assert_allclose(dots[1].get_ydata(), renorm[layout] + SPREAD)


def test_the_whole_experiment_where_it_does_not(monkeypatch):
    renorm = {normalization.SMALL: 89.0, normalization.SORTED: 59.0, normalization.MIXED: 90.0}
    run = driven(monkeypatch, "digits", renorm, 61.0, preset="smoke")
    assert run.verdicts(*CLAIMS) == ["FAIL"] * 4
    assert "layer norm" not in run.findings[2].remark, "it is not trained in this preset"
    assert [axis.get_title() for axis in run.drawn["normalization"].axes] == list(normalization.LAYOUTS)


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
