import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from experiments.theory import detection

DRAWS = np.random.RandomState(0)


def test_the_area_is_the_share_of_pairs_in_order():
    scores, flags = np.round(DRAWS.rand(40), 1), DRAWS.rand(40) < 0.3  # with ties
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[flags] for b in scores[~flags]]
    assert detection.area(scores, flags) == pytest.approx(np.mean(pairs), rel=1e-12)
    assert detection.area(scores, flags) == pytest.approx(roc_auc_score(flags, scores), rel=1e-12)


def test_the_curve_encloses_the_area_and_ends_in_the_corners():
    scores, flags = np.round(DRAWS.rand(40), 1), DRAWS.rand(40) < 0.3
    alarms, found = detection.curve(scores, flags)
    assert (alarms[0], found[0], alarms[-1], found[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(found, alarms) == pytest.approx(detection.area(scores, flags), rel=1e-12)


def test_perfect_useless_and_reversed_scores():
    flags = np.array([True, True, False, False, False])
    assert detection.area(np.array([5, 4, 3, 2, 1.0]), flags) == 1
    assert detection.area(np.ones(5), flags) == 0.5
    assert detection.area(np.array([1, 2, 3, 4, 5.0]), flags) == 0
    np.testing.assert_array_equal(detection.curve(np.ones(5), flags), [[0, 1], [0, 1]])


@pytest.mark.parametrize("flagged", [0, 3])
def test_nothing_to_tell_apart(flagged):
    with pytest.raises(ValueError, match=rf"flags: expected some examples flagged and some not; got {flagged} of 3"):
        detection.area(np.ones(3), np.arange(3) < flagged)
