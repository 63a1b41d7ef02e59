import numpy as np
import pytest

from jaxdl.diagnostics import GradientSimilarity, Thresholds


def similarity(upper, norms=None):
    """From the cosines above the diagonal, row by row."""
    count = int((1 + (1 + 8 * len(upper)) ** 0.5) / 2)
    cosines = np.zeros((count, count))
    cosines[np.triu_indices(count, 1)] = upper
    cosines = cosines + cosines.T + np.eye(count)
    return GradientSimilarity(cosines, np.ones(count) if norms is None else np.asarray(norms))


@pytest.mark.parametrize(
    ("upper", "norms", "words"),
    [
        ([0.9, 0.8, 0.7], None, ["mean cosine 0.8 over 3 pairs", "0 % of them below -0.5: alike"]),
        ([0.9, 0.2, -0.4], None, [": diverse; the most alike are examples 0 and 1 (0.9)", "opposed 1 and 2 (-0.4)"]),
        ([0.9, 0.8, -0.6], None, ["33.3 % of them below -0.5: conflicting"]),
        ([np.nan, np.nan, 0.7], [0, 1, 1], ["over 1 pairs", "examples 1 and 2 (0.7)"]),
        ([np.nan] * 3, [0, 1, 0], ["only 1 of 3 examples has a gradient: nothing to compare"]),
        ([np.nan] * 3, [0, 1, np.inf], ["not finite for 1 of 3 examples, the first of them example 2"]),
    ],
)
def test_verdict(upper, norms, words):
    sentence = similarity(upper, norms).verdict()
    for word in words:
        assert word in sentence, sentence


def test_thresholds_move_the_bounds():
    assert "diverse" in similarity([0.9, 0.8, 0.7]).verdict(Thresholds(alike_gradients=0.85))
    assert "conflicting" in similarity([0.9, 0.8, -0.1]).verdict(Thresholds(opposed_gradients=0.0))
    assert "diverse" in similarity([0.9, 0.2, -0.6]).verdict(Thresholds(opposed_pairs=0.5))


def test_table():
    lines = similarity([0.9, 0.2, -0.4], [1, 2, 3]).table().splitlines()
    assert lines[1].split() == ["0", "1", "0.550", "1", "0.900", "2", "0.200"]
    assert lines[3].split() == ["2", "3", "-0.100", "0", "0.200", "1", "-0.400"]
    assert similarity([np.nan, np.nan, 0.7], [0, 1, 1]).table().splitlines()[1].split() == ["0", "0"] + ["-"] * 5


def test_picture(tmp_path):
    given = similarity([0.9, 0.2, -0.4])
    figure = given.plot(tmp_path / "similarity.png", order=np.array([2, 0, 1]))
    assert (tmp_path / "similarity.png").stat().st_size > 1000
    drawn = np.asarray(figure.axes[0].images[0].get_array())
    np.testing.assert_allclose(drawn, [[1, 0.2, -0.4], [0.2, 1, 0.9], [-0.4, 0.9, 1]])
    np.testing.assert_allclose(given.plot(title="own").axes[0].images[0].get_array(), given.cosines)
    with pytest.raises(ValueError, match=r"order: expected each of the 3 examples once; got shape \(2,\)\. Pass for"):
        given.plot(order=[0, 1])


def test_stacked_measurements_must_be_picked():
    one = similarity([0.9, 0.2, -0.4])
    stacked = GradientSimilarity(np.stack([one.cosines] * 2), np.stack([one.norms] * 2))
    for report in (stacked.table, stacked.verdict, stacked.plot):
        with pytest.raises(ValueError, match=r"similarity: expected one measurement, .* shape \(2, 3, 3\)\. Pick one"):
            report()
    assert stacked[0].verdict() == one.verdict()
