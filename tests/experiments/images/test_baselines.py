import dataclasses

import numpy as np
import pytest

import jaxdl
from experiments.building_blocks import ladder
from experiments.harness.claims import Run
from experiments.images import baselines
from jaxdl.data import Examples, Splits


@pytest.fixture
def random_splits():
    draws = np.random.RandomState(0)
    parts = [
        Examples(draws.rand(count, 3, 3, 1).astype(np.float32), draws.randint(0, 10, count).astype(np.int32))
        for count in (60, 20, 30)
    ]
    return Splits(*parts)


def test_closed_forms_against_other_libraries(random_splits):
    from sklearn.neighbors import NearestCentroid

    train, test = (
        Examples(part.x.reshape(len(part.x), -1), part.y) for part in (random_splits.train, random_splits.test)
    )
    found = ladder.closed_forms(random_splits)
    design = lambda x: np.hstack([x.astype(np.float64), np.ones((len(x), 1))])  # noqa: E731
    weights = np.linalg.lstsq(design(train.x), np.eye(10)[train.y], rcond=None)[0]
    share = lambda guessed: 100 * np.mean(guessed == test.y)  # noqa: E731
    assert found["least squares"] == pytest.approx(share((design(test.x) @ weights).argmax(1)))
    assert found["nearest class mean"] == pytest.approx(share(NearestCentroid().fit(train.x, train.y).predict(test.x)))
    dark = [x.sum(1, keepdims=True) for x in (train.x, test.x)]
    assert found["average darkness"] == pytest.approx(share(NearestCentroid().fit(dark[0], train.y).predict(dark[1])))
    assert found["majority class"] == pytest.approx(share(np.bincount(train.y).argmax()))


def trained(mean, epochs=3):
    test = mean + np.array([-0.1, -0.05, 0.0, 0.05, 0.1])
    return baselines.Trained(test, np.tile(test[:, None], (1, epochs)), test - 5, 10.0)


PUBLISHED = {
    "linear": 85.9,
    "softmax": 92.5,
    "network": 97.9,
    "dropout": 98.4,
    "dropout, falling rate": 98.6,
    "lenet": 99.3,
}


def verdicts(splits, means, dropout_epochs=20):
    run = Run("mnist", splits, 5, {"epochs": {"mnist": {"dropout": dropout_epochs}}})
    baselines.judge_published(run, {name: trained(mean) for name, mean in means.items()})
    return [finding.verdict for finding in run.findings]


def test_the_published_figures_pass_but_for_the_slide_and_others_fail(random_splits):
    assert verdicts(random_splits, PUBLISHED) == ["PASS", "PASS", "PASS", "FAIL", "PASS", "FAIL", "PASS", "PASS"]
    assert verdicts(random_splits, PUBLISHED | {"dropout": 98.6})[5] == "PASS"
    assert verdicts(random_splits, {name: mean - 2 for name, mean in PUBLISHED.items()})[-1] == "FAIL"
    assert set(verdicts(random_splits, PUBLISHED, dropout_epochs=1)) == {"INCONCLUSIVE"}


@pytest.mark.slow
def test_smoke_on_digits():
    experiment = baselines.EXPERIMENT
    settings = {name: value for name, value in experiment.presets["smoke"].items() if name != "seeds"}
    settings["epochs"] = {"digits": dict.fromkeys(settings["epochs"]["digits"], 2)}
    run = Run("digits", jaxdl.data.load("digits"), 2, settings)
    experiment.run(run)
    assert {record["rung"] for record in run.records} == set(PUBLISHED)
    assert all(0 <= record["test"] <= 100 for record in run.records)
    (control,) = [finding for finding in run.findings if finding.control]
    assert control.claim.startswith("negative control")
    assert {picture.name for picture in run.figures} == {"ladder.png", "curves.png"}
    assert dataclasses.asdict(run.findings[0])["rule"]
