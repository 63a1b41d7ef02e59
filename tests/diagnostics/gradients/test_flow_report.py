import numpy as np
import pytest

from jaxdl.diagnostics import GradientFlow, Thresholds


def flow(signal, weight=None, *, matrix=None, layers=None):
    signal = np.asarray(signal, np.float32)
    names = layers or tuple(f"layer_{i}" for i in range(signal.shape[-1]))
    weight = np.ones_like(signal) if weight is None else np.asarray(weight, np.float32)
    return GradientFlow(signal, weight, np.full_like(signal, np.nan), names, matrix or (True,) * len(names))


@pytest.mark.parametrize(
    ("signal", "words"),
    [
        ([0.00298, 0.0171, 0.0695, 0.285, 1.3], ["shrinks x0.22 per layer over 4 layers", "vanishing", "layer_0"]),
        ([8.0, 4.0, 1.0, 0.5], ["grows x2.8 per layer over 3 layers", "exploding", "x4 from layer_2 back to layer_1"]),
        ([1.0, 1.2, 0.9, 5.0], ["changes x1.1 per layer over 3 layers", "healthy"]),
        ([0.1, np.inf, 0.3, 1.0], ["gradient is not finite in 1 of 4 layers, the first of them layer_1"]),
        ([1.0], ["only 1 layer before the output has a gradient of its own: nothing to compare"]),
        ([0.1, 1.0], ["only 1 layer before the output has a gradient of its own: nothing to compare"]),
        ([0.001, 1.0], ["shrinks x0.001 per layer over 2 layers", "vanishing"]),
    ],
)
def test_verdict(signal, words):
    sentence = flow(signal).verdict()
    for word in words:
        assert word in sentence, sentence


def test_many_layers_that_each_shrink_a_little_vanish_in_total():
    assert "vanishing" in flow(0.8 ** np.arange(30)[::-1]).verdict()
    assert "healthy" in flow(0.8 ** np.arange(15)[::-1]).verdict()


def test_no_gradient_at_all():
    sentence = flow([0.2, 0.0, 0.3, 1.0], [1.0, 0.0, 1.0, 1.0]).verdict()
    assert sentence == "no gradient at all arrives at layer_1 (1 of 4 layers get none): blocked, cut off or dead"


def test_a_weight_gradient_that_is_not_finite():
    assert "not finite in 1 of 3 layers, the first of them layer_2" in flow([1, 1, 1.0], [1, 1, np.nan]).verdict()
    assert "not finite" in flow([np.nan, 1, 1], [np.nan, 1, 1]).verdict()


def test_a_layer_without_signal_is_no_illness():
    sentence = flow([1.0, np.nan, 1.0, 1.0], [1, np.nan, 1, 1], matrix=(True, False, True, True)).verdict()
    assert "healthy" in sentence
    assert sentence.startswith("gradient ")


@pytest.mark.parametrize("signal", [[1e-8, 0.5, 1e-8, 0.6, 1.0], [1e-3, 0.5, 2e-2, 0.6, 1.0]])
def test_a_normalized_network_is_judged_by_its_weight_gradients(signal):
    """Before a normalization the error signal is rounding noise, small in float32 and not so small in bfloat16."""
    sentence = flow(signal, [0.3, 0.1, 0.25, 0.1, 1.0], matrix=(True, False) * 2 + (True,)).verdict()
    assert sentence.startswith("weight gradient changes x1.2 per layer over 2 layers")
    assert "healthy" in sentence
    assert "vanishing" in flow(signal, [0.003, 0.1, 0.25, 0.1, 1.0], matrix=(True, False) * 2 + (True,)).verdict()


def test_a_shift_that_is_cancelled_without_a_normalization_layer_in_sight():
    assert "weight gradient" in flow([1e-8, 1e-8, 1.0], [0.3, 0.2, 1.0]).verdict()


def test_one_hidden_layer_before_a_normalization_is_not_compared_with_the_output():
    sentence = flow([1e-8, 0.5, 1.0], [0.1, 0.1, 1.0], matrix=(True, False, True)).verdict()
    assert "nothing to compare" in sentence


@pytest.mark.parametrize(
    ("factor", "word"), [(0.45, "vanishing"), (0.55, "healthy"), (1.9, "healthy"), (2.1, "exploding")]
)
def test_the_bounds_per_layer(factor, word):
    assert f": {word};" in flow([factor**2, factor, 1.0, 1.0]).verdict()


@pytest.mark.parametrize(
    ("total", "word"), [(0.009, "vanishing"), (0.011, "healthy"), (90.0, "healthy"), (110.0, "exploding")]
)
def test_the_bounds_in_total(total, word):
    assert f": {word};" in flow(np.append(total ** np.linspace(1, 0, 20), 1.0)).verdict()


def test_a_cliff_before_the_output_layer_counts():
    sentence = flow([1e-6, 1e-6, 1e-6, 1.0], [1e-6, 1e-6, 1e-6, 1.0]).verdict()
    assert "vanishing" in sentence
    assert "x1e-06 from layer_3 back to layer_2" in sentence
    assert "healthy" in flow([1.0, 1.0, 1.0, 20.0]).verdict()


def test_table():
    lines = flow([0.1, 0.2], layers=("first", "a/longer/name")).table().splitlines()
    assert [line.split()[0] for line in lines] == ["layer", "first", "a/longer/name"]
    assert lines[1].split() == ["first", "0.1", "0.5", "1", "-"]
    assert len({len(line) for line in lines}) == 1


def test_pictures(tmp_path):
    single = flow([0.1, 0.2, 1.0])
    figure = single.plot(tmp_path / "flow.png")
    assert (tmp_path / "flow.png").stat().st_size > 1000
    (axes,) = figure.axes
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [0.1, 0.2, 1.0])
    assert "vanishing" in figure.get_suptitle() or "healthy" in figure.get_suptitle()
    over_time = flow(np.ones((7, 3)) * [0.1, 0.2, 1.0]).plot(steps=np.arange(0, 70, 10))
    assert [line.get_label() for line in over_time.axes[0].lines] == ["layer_0", "layer_1", "layer_2"]
    np.testing.assert_array_equal(over_time.axes[0].lines[0].get_xdata(), np.arange(0, 70, 10))
    assert over_time.axes[0].get_yscale() == "log"


def test_all_zero_is_drawn_too(tmp_path):
    assert flow([0.0, 0.0, 0.0]).plot(tmp_path / "zero.svg").axes[0].get_yscale() == "linear"


def test_stacked_measurements_must_be_picked():
    stacked = flow(np.ones((2, 3)))
    for report in (stacked.table, stacked.verdict):
        with pytest.raises(ValueError, match=r"flow: expected one measurement, .* got shape \(2, 3\)\. Pick one"):
            report()
    assert "healthy" in stacked[1].verdict()
    with pytest.raises(ValueError, match=r"expected arrays \(layers,\) or \(time, layers\); got shape \(2, 2, 3\)"):
        flow(np.ones((2, 2, 3))).plot()


def test_thresholds_move_the_bounds():
    strict = Thresholds(shrinks_per_layer=0.95)
    assert "healthy" in flow([0.81, 0.9, 1.0]).verdict()
    assert "vanishing" in flow([0.81, 0.9, 1.0]).verdict(strict)
