import numpy as np
import pytest

from jaxdl.diagnostics import GradientStatistics, Thresholds


def statistics(signal=(1.0, 2.0), noise=(1.0, 1.0), norms=(1.0,) * 16, cosines=(0.5,) * 16):
    arrays = (np.asarray(a, np.float32) for a in (norms, cosines, signal, noise))
    return GradientStatistics(*arrays, tuple(f"layer_{i}" for i in range(len(signal))))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            dict(),
            [
                "of 16 examples is x6.32 its noise",
                "0 of 16 examples pull against it",
                "signal in each layer, 2 in all: clear",
            ],
        ),
        (dict(signal=(0.3, 2.0)), ["from noise in 1 of 2 layers, the first of them layer_0: noisy"]),
        (dict(signal=(0.3, 0.3)), ["x1.2 its noise", "cannot be told from noise in any layer: noise"]),
        (dict(cosines=(-0.5,) * 3 + (0.9,) * 13), ["3 of 16 examples pull against it"]),
        (dict(noise=(0.0, 0.0)), ["infinitely its noise", "signal in each layer, 2 in all: clear"]),
        (dict(signal=(0.0, 2.0), noise=(0.0, 1.0)), ["signal in each layer, 1 in all: clear"]),
        (dict(norms=(9.0,) + (1.0,) * 15), ["example 0 alone has 84.4 % of the squared norms"]),
        (dict(norms=(np.nan, 1, np.inf, 1)), ["not finite for 2 of 4 examples, the first of them example 0"]),
        (dict(norms=(0.0,) * 4), ["no example of 4 has a gradient: blocked"]),
    ],
)
def test_verdict(given, words):
    sentence = statistics(**given).verdict()
    for word in words:
        assert word in sentence, sentence


def test_thresholds_move_the_bounds():
    assert "noisy" not in statistics(signal=(0.4, 2.0)).verdict()
    assert "noisy" in statistics(signal=(0.4, 2.0)).verdict(Thresholds(noisy_gradient=3.0))
    assert "alone has" in statistics(norms=(2.0,) + (1.0,) * 15).verdict(Thresholds(dominant_example=0.2))


def test_table():
    lines = statistics(noise=(0.0, 4.0)).table().splitlines()
    assert lines[0].split() == ["layer", "mean", "gradient", "deviation", "signal/noise", "of", "16", "examples"]
    assert lines[1].split() == ["layer_0", "1", "0", "inf", "inf"]
    assert lines[2].split() == ["layer_1", "2", "4", "0.5", "2"]
    assert len({len(line) for line in lines}) == 1


def test_picture(tmp_path):
    figure = statistics(noise=(2.0, 4.0)).plot(tmp_path / "statistics.png")
    assert (tmp_path / "statistics.png").stat().st_size > 1000
    left, right = figure.axes
    np.testing.assert_allclose(left.lines[0].get_ydata(), [0.5] * 16)
    np.testing.assert_allclose(right.lines[0].get_ydata(), [1.0, 2.0])
    np.testing.assert_allclose(right.lines[2].get_ydata(), [0.5, 1.0])
    assert right.get_yscale() == "log"
    assert statistics(noise=(0.0, 0.0)).plot(title="own").axes[1].get_yscale() == "linear"


def test_stacked_measurements_must_be_picked():
    one = statistics()
    stacked = GradientStatistics(
        *(np.stack([a] * 2) for a in (one.norms, one.cosines, one.mean_norm, one.deviation)), one.layers
    )
    for report in (stacked.table, stacked.verdict, stacked.plot):
        with pytest.raises(
            ValueError, match=r"statistics: expected one measurement, .* got shape \(2, 16\)\. Pick one"
        ):
            report()
    assert stacked[1].verdict() == one.verdict()
