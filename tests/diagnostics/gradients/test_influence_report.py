import numpy as np
import pytest

from jaxdl.diagnostics import Influence, Thresholds

SCORES = np.array([0.5, -2.0, 3.0, 0.25, 0.0, -0.25] + [0.01] * 94, np.float32)


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        (SCORES, ["97 % of 100 training examples lower the loss, by 4.69", "raise it by 2.25"]),
        (SCORES, ["example 2 (+3) and example 1 (-2)", "the first 2 of either side hold 82.9 %: few decide"]),
        (np.tile([1.0, -1.0], 50), ["50 % of 100", "hold 4 %: spread over many"]),
        (np.zeros(4), ["none of the 4 training examples moves the loss"]),
        (np.array([1.0, np.nan, 2.0]), ["not finite for 1 of 3 examples, the first of them 1"]),
    ],
)
def test_verdict(scores, words):
    sentence = Influence(scores, 2).verdict()
    for word in words:
        assert word in sentence, sentence


def test_thresholds_move_the_bounds():
    assert "spread" in Influence(SCORES, 2).verdict(Thresholds(concentrated_influence=0.9))
    assert "spread" in Influence(SCORES[:3], 1).verdict(), "all that there are are not few"


def test_table():
    lines = Influence(SCORES, 2).table().splitlines()
    assert lines[0].split() == ["rank", "proponent", "score", "opponent", "score"]
    assert [line.split() for line in lines[1:]] == [["1", "2", "3", "1", "-2"], ["2", "0", "0.5", "5", "-0.25"]]


def test_picture(tmp_path):
    figure = Influence(SCORES, 2).plot(tmp_path / "influence.png")
    assert (tmp_path / "influence.png").stat().st_size > 1000
    left, right = figure.axes
    np.testing.assert_allclose([bar.get_width() for bar in left.patches], [3.0, 0.5, -0.25, -2.0])
    assert [tick.get_text() for tick in left.get_yticklabels()] == ["2", "0", "5", "1"]
    np.testing.assert_allclose(right.lines[0].get_ydata(), np.sort(SCORES)[::-1])
    both = Influence(SCORES[:3], 3).plot(title="own")
    assert len(both.axes[0].patches) == 3, "who stands on both lists is drawn once"


def test_stacked_measurements_must_be_picked():
    stacked = Influence(np.stack([SCORES, SCORES]), 2)
    for report in (stacked.table, stacked.verdict, stacked.plot):
        with pytest.raises(ValueError, match=r"influence: expected one measurement, .* shape \(2, 100\)\. Pick one"):
            report()
    assert stacked[1].verdict() == Influence(SCORES, 2).verdict()
