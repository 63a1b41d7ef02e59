"""The rules of `distillation` on numbers made up, and what the arms are given."""

import jax
import numpy as np
import pytest

from experiments.harness.claims import Run
from experiments.reuse import distillation
from experiments.reuse import distillation_networks as networks
from experiments.reuse.distillation_networks import DISTILLED, HINTED, PLAIN, SHUFFLED, Trained
from jaxdl.data import Examples, Splits

WIDTHS = {"teacher": (12, 8), "student": (3,)}


@pytest.fixture
def splits():
    draws = np.random.RandomState(0)
    y = np.tile(np.arange(10, dtype=np.int32), 10)
    x = (draws.rand(100, 2, 3, 1) + 0.1 * y[:, None, None, None]).astype(np.float32)
    examples = Examples(x, y)
    return Splits(examples, examples, examples)


def verdicts(splits, gains, share=8.0):
    spread, none = np.array([-0.2, -0.1, 0.0, 0.1, 0.2]), np.zeros(1)
    run = Run("digits", splits, 5, {})
    trained = {
        arm: Trained(none, none, 90.0 + gain + (spread if arm != PLAIN else 0 * spread)) for arm, gain in gains.items()
    }
    distillation.judge(run, trained, share)
    return [finding.verdict for finding in run.findings]


def test_gains_pass_losses_fail_and_a_teacher_without_meaning_is_noticed(splits):
    gains = {PLAIN: 0.0, DISTILLED: 1.0, HINTED: 1.0, SHUFFLED: -5.0}
    assert verdicts(splits, gains) == ["PASS"] * 4
    assert verdicts(splits, {**gains, DISTILLED: -1.0, HINTED: 0.0}) == ["PASS", "FAIL", "INCONCLUSIVE", "PASS"]
    assert verdicts(splits, {**gains, SHUFFLED: 1.0})[-1] == "FAIL"
    assert verdicts(splits, gains, share=10.5)[0] == "FAIL"


def test_students_have_at_most_a_tenth_of_the_parameters():
    for dataset, shape in (("digits", (1, 8, 8, 1)), ("mnist", (1, 28, 28, 1))):
        models = networks.networks(distillation.WIDTHS[dataset])
        outlines = [jax.eval_shape(model.init, jax.random.key(0), np.zeros(shape, np.float32)) for model in models]
        sizes = [sum(leaf.size for leaf in jax.tree.leaves(outline)) for outline in outlines]
        assert sizes == {"digits": [17610, 1510], "mnist": [269322, 25450]}[dataset]
        assert sizes[1] <= 0.1 * sizes[0]


def test_the_task_holds_the_teachers_words_on_the_labelled_images(splits):
    teacher, student = networks.networks(WIDTHS)
    variables, accuracy = networks.train_teacher(teacher, splits, epochs=2)
    assert 0 <= accuracy <= 100
    task = networks.make_task(teacher, variables, splits, labels=7)
    np.testing.assert_array_equal(np.bincount(task.data.y), [7] * 10)
    np.testing.assert_allclose(task.logits, teacher.apply(variables, task.data.x), rtol=1e-5, atol=1e-5)
    first = variables["params"]["Dense_0"]
    hidden = task.data.x.reshape(70, -1) @ np.asarray(first["kernel"]) + np.asarray(first["bias"])[None]
    np.testing.assert_allclose(task.hints, np.maximum(hidden, 0), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(np.sort(task.shuffled, 0), np.sort(task.logits, 0))
    assert np.mean(np.any(task.shuffled != task.logits, 1)) > 0.5
    found = {
        arm: networks.train_arm(arm, student, task, {"temperature": 2.0, "strength": 1.0}, seeds=2, epochs=4)
        for arm in networks.ARMS
    }
    for arm, trained in found.items():
        assert trained.validation.shape == (2, 4), arm
        np.testing.assert_array_equal(trained.epochs, [1, 2, 3, 4])
        np.testing.assert_allclose(trained.test, trained.validation[:, -1], rtol=1e-6)
    cells = [{"temperature": 2.0, "strength": 0.0}, {"temperature": 3.0, "strength": 1.0}]
    assert networks.choose(student, task, cells, epochs=1) in cells
    figure = distillation.accuracy_figure(found, accuracy, "digits")
    assert len(figure.axes) == 2
