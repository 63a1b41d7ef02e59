import numpy as np
import pytest

from jaxdl.diagnostics import NoiseScale, Thresholds


def found(scale=100.0, low=80.0, high=130.0):
    return NoiseScale(*(np.float32(value) for value in (scale, low, high, 0.02, 2.0)), 500, 0.95)


@pytest.mark.parametrize(
    ("given", "batch_size", "words"),
    [
        ((), None, ["gradient noise scale 100 examples (95 % interval 80 to 130)"]),
        ((), 10, ["x11 the fewest steps and x1.1 the fewest examples", "small, more examples a step cost little"]),
        ((), 100, ["x2 the fewest steps and x2 the fewest examples: about right"]),
        ((), 22, [": about right"]),  # four times as many are within the interval
        ((), 450, [": about right"]),
        ((), 1000, ["large, most of its examples are wasted"]),
        ((100.0, 5.0, np.inf), None, ["5 to inf): uncertain, measure more examples"]),
        (
            (np.inf, 40.0, np.inf),
            None,
            ["no signal in the gradients of 500", "above 40 with 97.5 % confidence"],
        ),
        ((np.nan, np.nan, np.nan), None, ["the gradients of the 500 examples are 0 or not finite"]),
        ((0.0, 0.0, 0.0), 8, ["noise scale 0 examples", "x1 the fewest steps", "large"]),
    ],
)
def test_verdict(given, batch_size, words):
    sentence = found(*given).verdict(batch_size=batch_size)
    for word in words:
        assert word in sentence, sentence


def test_thresholds_move_the_bounds():
    assert "uncertain" not in found().verdict()
    assert "uncertain" in found().verdict(Thresholds(uncertain_scale=1.5))
    assert "about right" in found().verdict(batch_size=30)
    assert "small" in found().verdict(Thresholds(far_from_noise_scale=2.0), batch_size=30)


def test_table():
    lines = found().table().splitlines()
    assert lines[0].split() == ["noise", "scale,", "examples", "100"]
    assert lines[4].split() == ["|G|^2", "0.02"]
    assert lines[-1].split() == ["1000", "1.1", "11"]
    assert len(found(np.inf, 4.0, np.inf).table().splitlines()) == 6


def test_picture(tmp_path):
    figure = found().plot(tmp_path / "noise.png")
    assert (tmp_path / "noise.png").stat().st_size > 1000
    (axes,) = figure.axes
    steps, examples = (line.get_ydata() for line in axes.lines[:2])
    sizes = axes.lines[0].get_xdata()
    np.testing.assert_allclose(steps, 1 + 100 / sizes, rtol=1e-5)
    np.testing.assert_allclose(examples, 1 + sizes / 100, rtol=1e-5)
    assert "noise scale 100" in figure.get_suptitle()
    found(np.inf, 4.0, np.inf).plot(tmp_path / "none.svg", title="own")
    found(high=np.inf).plot(tmp_path / "open.svg")


def test_stacked_measurements_must_be_picked():
    stacked = NoiseScale(*(np.array([value] * 2) for value in (100.0, 80.0, 130.0, 0.02, 2.0)), 500, 0.95)
    for report in (stacked.table, stacked.verdict, stacked.plot):
        with pytest.raises(ValueError, match=r"scales: expected one measurement, .* got shape \(2,\)\. Pick one"):
            report()
    assert stacked[0].verdict() == found().verdict()
