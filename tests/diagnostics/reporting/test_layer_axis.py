import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.diagnostics import GradientFlow, UnitHealth, unit_deaths
from jaxdl.diagnostics.reporting.layer_axis import layer_curves, layer_ticks, short_names
from jaxdl.diagnostics.reporting.reports import canvas, finished

PATHS = [f"encoder/transformer_block_{i}/feed_forward_network/contraction" for i in range(60)]


def test_short_names_are_told_apart():
    assert short_names(["Dense_0", "a/b"]) == ["Dense_0", "a/b"]
    assert short_names(["encoder_block_7_expansion", "x"], 20) == ["encod_block_7_expan", "x"]
    cut = short_names(PATHS)
    assert max(map(len, cut)) <= 28
    assert len(set(cut)) == 60
    digits = "1234567890" * 4
    assert short_names([digits], 10) == ["…234567890"]
    assert short_names([]) == []


def test_many_long_paths_leave_room_for_the_picture(tmp_path):
    figure, axes = canvas()
    axes.plot(np.arange(60), np.ones(60))
    layer_ticks(axes, PATHS)
    finished(figure, tmp_path / "layers.png", "")  # a warning, an error here, if no room is left
    assert axes.get_position().height > 0.4
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert len(labels) == 48
    assert (labels[0], labels[-1]) == (short_names(PATHS)[0], short_names(PATHS)[-1])


def test_a_few_names_are_slanted():
    _, axes = canvas()
    layer_ticks(axes, ["a", "b"])
    assert [(label.get_text(), label.get_rotation()) for label in axes.get_xticklabels()] == [("a", 30), ("b", 30)]


def test_a_curve_for_each_layer_and_a_legend_of_a_dozen():
    _, axes = canvas()
    layer_curves(axes, np.arange(3), np.arange(180).reshape(3, 60), PATHS)
    assert len(axes.lines) == 60
    np.testing.assert_array_equal(axes.lines[59].get_ydata(), [59, 119, 179])
    legend = axes.get_legend()
    assert legend is not None
    assert len(legend.get_texts()) == 12


@pytest.mark.parametrize("kind", ["flow", "flow over time", "health", "deaths"])
def test_pictures_of_many_layers(kind, tmp_path):
    names, flags = tuple(PATHS[:30]), jnp.arange(8) < 4
    shape = (3, 30) if kind == "flow over time" else (30,)
    if kind.startswith("flow"):
        figure = GradientFlow(*(jnp.ones(shape),) * 3, layers=names, matrix=(True,) * 30).plot(tmp_path / "it.png")
    else:
        units = tuple(jnp.tile(flags, (3, 1)) if kind == "deaths" else flags for _ in names)
        health = UnitHealth(units, units, units, layers=names, activations=("relu",) * 30)
        figure = (unit_deaths(health) if kind == "deaths" else health).plot(tmp_path / "it.png")
    (axes,) = figure.axes
    position = axes.get_position()
    assert min(position.height, position.width) > 0.35
