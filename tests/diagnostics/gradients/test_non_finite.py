import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.diagnostics import GradientFlow, first_non_finite, gradient_flow

NAMES = ("first", "norm", "second", "head")


def history(**broken):
    """Five healthy measurements of four layers, the second a scale without error signal, with entries spoilt."""
    signal, weight = np.ones((5, 4)), np.ones((5, 4))
    signal[:, 1] = np.nan
    for time, layer, value in broken.get("signal", ()):
        signal[time, layer] = value
    for time, layer, value in broken.get("weight", ()):
        weight[time, layer] = value
    return GradientFlow(signal, weight, np.ones((5, 4)), NAMES, (True, False, True, True))  # type: ignore[arg-type]


STEPS = np.arange(0, 50, 10)


def test_all_finite():
    found = first_non_finite(history(), STEPS)
    assert (found.step, found.layer) == (None, None)
    assert found.verdict() == "gradient finite in all 4 layers at 5 measurements: healthy"
    assert found.table().splitlines()[1].split() == ["first", "-"]


def test_a_layer_whose_gradient_breaks_what_comes_before_it():
    spoilt = [(3, 0, np.nan), (3, 2, np.inf), (4, 3, np.nan)]
    found = first_non_finite(history(signal=spoilt, weight=[(3, 0, np.nan), (3, 1, np.nan)]), STEPS)
    assert (found.step, found.layer) == (30, "second")
    assert found.verdict() == (
        "gradient first not finite at step 30, in 3 of 4 layers, on its way back first at second; "
        "last measured finite at step 20"
    )
    assert found.table().splitlines()[4].split() == ["head", "40"]


def test_a_loss_that_is_not_a_number():
    spoilt = [(0, i, np.nan) for i in range(4)]
    sentence = first_non_finite(history(signal=spoilt, weight=spoilt), STEPS).verdict()
    assert "at step 0, in 4 of 4 layers: in all, so that the loss itself was not" in sentence
    assert "last measured" not in sentence


def test_a_matrix_that_is_broken_from_the_start_to_the_end():
    found = first_non_finite(history(weight=[(time, 2, np.nan) for time in range(5)]), STEPS)
    assert (found.step, found.layer) == (0, "second")


def test_measured_flows():
    """A length has no derivative at 0: the loss is finite there, and every gradient that comes back past it is not."""

    def losses(p, x):
        h = jnp.tanh(x @ p["a"]["w"])
        return ((h * jnp.sqrt(jnp.square(h @ p["b"]["w"]).sum(-1, keepdims=True))) @ p["c"]["w"]).sum(-1)

    stacked = {name: {"w": jnp.ones((3, 4, 4))} for name in "abc"}
    stacked["b"]["w"] = stacked["b"]["w"].at[1].set(0)
    measure = jax.vmap(lambda p: gradient_flow(losses, p, jnp.ones((2, 4))))
    found = first_non_finite(measure(stacked), jnp.array([0, 50, 100]))
    assert (found.step, found.layer) == (50, "b")
    np.testing.assert_array_equal(found.broken, [[False] * 3, [True, True, False], [False] * 3])
    compiled = jax.jit(lambda p: first_non_finite(measure(p), jnp.array([0, 50, 100])))(stacked)
    np.testing.assert_array_equal(compiled.broken, found.broken)


def test_picture(tmp_path):
    figure = first_non_finite(history(signal=[(3, 2, np.inf)]), STEPS).plot(tmp_path / "broken.png")
    assert (tmp_path / "broken.png").stat().st_size > 1000
    (image,) = figure.axes[0].images
    drawn = np.asarray(image.get_array())
    assert drawn.shape == (4, 5)
    assert drawn.sum() == drawn[2, 3] == 1


def test_errors():
    with pytest.raises(ValueError, match=r"flow: expected stacked measurements, .* got shape \(4,\)"):
        first_non_finite(history()[0], STEPS)
    with pytest.raises(ValueError, match=r"flow: expected stacked measurements, .* got shape \(0, 4\)"):
        first_non_finite(history()[:0], STEPS[:0])
    with pytest.raises(ValueError, match=r"steps: expected one for each of the 5 measurements; got shape \(4,\)"):
        first_non_finite(history(), STEPS[:4])
