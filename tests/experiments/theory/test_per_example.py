import numpy as np
import pytest

from experiments.harness.claims import Run
from experiments.theory import per_example
from jaxdl.data import Examples, Splits


@pytest.fixture
def small_run():
    """Two hundred images of which the brightest column is the class."""
    draws = np.random.RandomState(0)
    y = draws.randint(0, 10, 200).astype(np.int32)
    x = 0.3 * draws.rand(200, 4, 10, 1).astype(np.float32)
    x[np.arange(200), :, y] += 1
    examples = Examples(x, y)
    return Run("digits", Splits(examples, examples, examples), 5, {"epochs": {"digits": 8}})


def hunts(monkeypatch, *, ahead):
    """Norms in which wrong labels are ahead of the others by so many standard deviations."""

    def hunt(run, seed):
        draws = np.random.RandomState(seed)
        flags = np.arange(400) < 20
        norms = draws.randn(400) + ahead * flags
        return per_example.Hunt([0.5, per_example.detection.area(norms, flags)], [0.5, 0.9], norms, flags)

    monkeypatch.setattr(per_example, "hunt", hunt)


@pytest.mark.parametrize(("ahead", "verdict"), [(3.0, "PASS"), (0.5, "FAIL"), (-3.0, "FAIL")])
def test_the_rule_follows_the_norms_and_the_control_never_does(small_run, monkeypatch, ahead, verdict):
    hunts(monkeypatch, ahead=ahead)
    per_example.judge_detection(small_run)
    claim, control = small_run.findings
    assert claim.verdict == verdict
    assert (control.control, control.verdict) == (True, "PASS")
    assert small_run.tables[0].rows[1][2] == "0.900"
    assert len(small_run.figures) == 1


def test_wrong_labels_are_found_and_are_other_labels_than_the_right_ones(small_run, monkeypatch):
    seen = []
    trained = per_example.trained
    monkeypatch.setattr(
        per_example, "trained", lambda state, data, **k: seen.append(data.y) or trained(state, data, **k)
    )
    found = [per_example.hunt(small_run, seed) for seed in range(2)]
    for hunt, labels in zip(found, (seen[0], seen[-1]), strict=True):
        np.testing.assert_array_equal(labels != small_run.splits.train.y, hunt.flags)
        assert hunt.flags.sum() == 10
        assert set(labels) <= set(range(10))
        assert len(hunt.by_norm) == 8
        assert hunt.by_norm[-1] > 0.9
        assert hunt.norms.shape == (200,)
    assert (found[0].flags != found[1].flags).any()


def test_the_pictures_show_the_largest_and_the_smallest(small_run):
    per_example.show_images(small_run)
    (figure,) = small_run.figures
    assert figure.name == "largest_gradients.png"
    assert "1 % of training images with the largest gradients" in small_run.notes[0]
    norms = np.random.RandomState(0).rand(200)
    drawn = per_example.per_example_figures.images(small_run.splits.train, norms, small_run.splits.train.y)
    titles = [axes.get_title().splitlines() for axes in drawn.axes]
    expected = np.concatenate([np.sort(norms)[::-1][:20], np.sort(norms)[::-1][-10:]])
    assert [title[1] for title in titles] == [f"{norm:.2g}" for norm in expected]
    assert not any("seen" in title[0] for title in titles)
