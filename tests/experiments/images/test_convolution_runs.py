"""The whole of `book_convolutions` and `cnn_baselines` on planted accuracies, and what is trained on what."""

from types import SimpleNamespace

import numpy as np
import optax
import pytest

from experiments.images import book_convolutions, book_networks, cnn_baselines
from experiments.images.book_networks import ARMS, CONV, FC, RELU, SHIFTED, TWO
from experiments.images.cnn_baselines import PUBLISHED_SWEEP, RATES, Reached
from experiments.images.cnn_examples import EQUINOX, KERAS, Example
from jaxdl import training
from jaxdl.models import MLP
from tests.experiments import planted
from tests.experiments.planted import SPREAD

BOOK = {name: arm.published for name, arm in ARMS.items()} | {SHIFTED: 99.37}
ORDERINGS = ("conv20 above FC100", "conv20-conv40 above conv20", "ReLU above", "shifted above", "negative control")


class Seen(Exception):
    pass


@pytest.fixture
def given(monkeypatch):
    """What `run_many` is asked for, which does nothing."""
    found = {}

    def seen(step, init, data, **options):
        found.update(options, data=data)
        raise Seen

    monkeypatch.setattr(training, "run_many", seen)
    return found


def book_run(monkeypatch, dataset, means, untrained):
    length = {"images": 50_000, "epochs": 60}
    settings = {name: {dataset: dict.fromkeys(means, value)} for name, value in length.items()}
    run = planted.planted_run(dataset, settings)

    def train(run, name):
        test = means[name] + SPREAD
        return book_networks.Trained(test, test + 0.3, test[:, None] + np.array([[-5.0, 0.3]]))

    monkeypatch.setattr(book_networks, "train", train)
    monkeypatch.setattr(book_networks, "untrained", lambda run, name: untrained + np.zeros(5) if name == TWO else None)
    book_convolutions.run(run)
    return run


def test_the_book_on_mnist_with_its_own_figures(monkeypatch):
    run = book_run(monkeypatch, "mnist", BOOK, 9.8)
    published = ("97.80 %", "98.78 %", "99.06 %", "99.23 %", "99.37 % of the test images with conv20-conv40 ReLU, shif")
    assert planted.verdicts(run, book_convolutions.EXPERIMENT, ORDERINGS + published) == ["PASS"] * 10
    assert [list(row) for row in run.tables[0].rows][2] == [CONV, "98.78", "98.76", "98.80", "98.78"]
    left, right = run.drawn["book_convolutions"].axes
    assert planted.labels(left) == list(ARMS)
    np.testing.assert_allclose(planted.heights(left, RELU), [94.23, 99.53])
    marks = [line.get_xdata()[0] for line in right.get_lines() if line.get_color() == "black"]
    np.testing.assert_allclose(marks, list(BOOK.values()))
    dots = [line.get_xdata() for line in right.get_lines() if line.get_marker() == "o"]
    np.testing.assert_allclose(dots[1], 97.8 + SPREAD)
    assert len(run.notes) == 1


def test_the_book_turned_round(monkeypatch):
    means = dict(zip(ARMS, (96.0, 96.0, 95.0, 94.0, 93.0, 92.0), strict=True))
    run = book_run(monkeypatch, "mnist", means, 97.0)
    published = ("97.80 %", "98.78 %", "99.06 %", "99.23 %", "99.37 %")
    assert planted.verdicts(run, book_convolutions.EXPERIMENT, ORDERINGS + published) == ["FAIL"] * 10


def test_the_book_on_digits_has_orderings_alone(monkeypatch):
    run = book_run(monkeypatch, "digits", {FC: 95.0, CONV: 97.0}, 10.0)
    claims = (ORDERINGS[0], ORDERINGS[-1])
    assert planted.verdicts(run, book_convolutions.EXPERIMENT, claims) == ["PASS", "PASS"]
    assert len(run.notes) == 2
    assert not [line for line in run.drawn["book_convolutions"].axes[1].get_lines() if line.get_color() == "black"]


def test_shifted_images_are_the_images_and_their_neighbours_in_another_order(given):
    settings = {"images": {"digits": {SHIFTED: 12}}, "epochs": {"digits": {SHIFTED: 2}}}
    run = planted.planted_run("digits", settings)
    with pytest.raises(Seen):
        book_networks.train(run, SHIFTED)
    x = run.splits.train.x[:12]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    moved = [padded[:, 1 + i : 4 + i, 1 + j : 4 + j] for i, j in ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))]
    rows = lambda images: np.asarray(images).reshape(60, 9)  # noqa: E731
    expected, found = rows(np.concatenate(moved)), rows(given["data"].x)
    np.testing.assert_array_equal(found[np.lexsort(found.T)], expected[np.lexsort(expected.T)])
    assert not np.array_equal(found[:12], x.reshape(12, 9))
    np.testing.assert_array_equal(np.bincount(given["data"].y), np.bincount(run.splits.train.y[:12]) * 5)
    assert (given["shuffle"], given["mode"], given["batch_size"]) == (False, "map", 10)


def swept(best, slow):
    values = np.full((len(RATES), 5), 95.0)
    values[RATES.index(best)], values[0] = 99.0, slow
    return values + SPREAD[None, :]


def cnn_run(monkeypatch, dataset, found, values):
    run = planted.planted_run(dataset, {"examples": tuple(found), "steps": {dataset: None}})
    monkeypatch.setattr(cnn_baselines, "train", lambda run, example: Reached(found[named(example)] + SPREAD, 1234))
    monkeypatch.setattr(cnn_baselines, "sweep", lambda run: values)
    cnn_baselines.run(run)
    return run


def named(example):
    return {300: EQUINOX, 0: KERAS}[example.steps]


SHAPE = ("the best rate of momentum", "at 1e-05 the accuracy stays", "negative control")


@pytest.mark.parametrize(
    ("found", "best", "slow", "expected"),
    [
        ({EQUINOX: 90.4, KERAS: 99.2}, 1e-2, 88.0, "PASS"),
        ({EQUINOX: 88.0, KERAS: 98.0}, 1e-3, 93.0, "FAIL"),
    ],
)
def test_examples_and_sweep_on_mnist(found, best, slow, expected, monkeypatch):
    run = cnn_run(monkeypatch, "mnist", found, swept(best, slow))
    claims = ("Equinox's example: 90.4 %", "Keras's example: 99.25 %", *SHAPE)
    assert planted.verdicts(run, cnn_baselines.EXPERIMENT, claims) == [expected] * 5
    middle, low, high = (f"{found[KERAS] + offset:.2f}" for offset in (0, -0.02, 0.02))
    assert list(run.tables[0].rows[1]) == [KERAS, middle, low, high, "1,234", "99.25"]
    (axis,) = run.drawn["rates"].axes
    assert axis.get_xscale() == "log"
    np.testing.assert_allclose(planted.heights(axis, "mean over seeds"), swept(best, slow).mean(1))
    np.testing.assert_array_equal(planted.heights(axis, "published, 10,400 updates"), PUBLISHED_SWEEP)
    assert [record["quantity"] for record in run.records] == ["accuracy"] * 10 + ["sweep"] * 5
    np.testing.assert_allclose(run.records[-1]["validation_percent"], swept(best, slow)[:, -1])


def test_the_sweep_alone_on_digits(monkeypatch):
    run = cnn_run(monkeypatch, "digits", {}, swept(1e-2, 88.0))
    assert planted.verdicts(run, cnn_baselines.EXPERIMENT, SHAPE) == ["PASS"] * 3
    assert not run.tables
    assert planted.labels(run.drawn["rates"].axes[0]) == ["mean over seeds"]


@pytest.mark.parametrize(
    ("steps", "epochs", "limit", "expected"), [(0, 3, None, 24), (0, 3, 7, 7), (5, 0, None, 5), (5, 0, 9, 5)]
)
def test_examples_train_on_all_labels_as_long_as_they_say(steps, epochs, limit, expected, given):
    run = planted.planted_run("digits", {"steps": {"digits": limit}})
    with pytest.raises(Seen):
        cnn_baselines.train(run, Example(MLP((10,)), optax.sgd(0.1), 10, steps, epochs, 0.0))
    assert (given["steps"], given["batch_size"]) == (expected, 10)
    np.testing.assert_array_equal(given["data"].y, np.concatenate([part.y for part in run.splits[:2]]))


def test_the_sweep_is_momentum_at_every_rate_on_the_first_images(monkeypatch):
    def train_grid(model, objective, recipe, cells, **options):
        accuracies = np.arange(45.0).reshape(9, 5) / 100
        asked.update(options, recipe=recipe, cells=cells, features=model.features)
        return SimpleNamespace(validation={"accuracy": accuracies})

    asked = {}
    settings = {"images": {"digits": 40}, "epochs": {"digits": 3}, "features": {"digits": (4, 6)}}
    run = planted.planted_run("digits", settings)
    monkeypatch.setattr(cnn_baselines, "train_grid", train_grid)
    np.testing.assert_allclose(cnn_baselines.sweep(run), np.arange(45.0).reshape(9, 5))
    assert [cell["rate"] for cell in asked["cells"]] == list(RATES)
    np.testing.assert_array_equal(asked["train"].x, run.splits.train.x[:40])
    assert asked["validation"] is run.splits.validation
    assert (asked["batch_size"], asked["epochs"], asked["features"]) == (5, 3, (4, 6))
    tx = asked["recipe"](0.5)
    first, state = tx.update(np.float32(2.0), tx.init(np.float32(0.0)))
    second, _ = tx.update(np.float32(2.0), state)
    np.testing.assert_allclose([first, second], [-1.0, -1.9], rtol=1e-6)
