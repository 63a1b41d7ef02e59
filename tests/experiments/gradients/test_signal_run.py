"""The whole of `signal` on planted measurements: worlds in which its claims hold, and others in which they do not."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.gradients import signal
from experiments.gradients import signal_networks as networks
from tests.experiments.planted import planted_run, verdicts

SETTINGS = {
    "width": 64, "depth": 6, "glorot_width": 20, "walk_width": 50, "walk_depth": 4, "walk_draws": 100,
    "sigma_w": (0.7, 1.0, 1.3, 1.6, 2.0), "sigma_b": (0.0, 0.3),
}  # fmt: skip
CLAIMS = [
    "mean-field theory says",
    "weights of 1.21 times the variance",
    "sigmoids with N(0, 1) weights",
    "sigmoids with LeCun, Glorot weights",
    "ReLU with LeCun, Glorot's start",
    "ReLU with He's start",
    "standard start: the variance of the error signal falls",
    "normalised start: the variance of the error signal is kept",
    "standard start: the variance of the error signal is kept",
    "linear units: over 3 layers of 50",
    "a variance of 1/(2N)",
    "ReLU units: over 3 layers of 50",
    "tanh: error signals keep their size on a border",
    "the border of a linear network",
    "on either side of the border",
]
# The walk answers X25, which the experiment does not say of itself.
ANSWERING = dataclasses.replace(signal.EXPERIMENT, rows=("X15", "X20", "X25"))
LINE = (np.array([1.0, 1.5]), np.array([0.0, 0.4]))
BENT = 1 / 16  # of the error signal's variance, over the four layers of standardized images


class World(NamedTuple):
    """How networks differ from those of the theory."""

    scale: float = 1.0
    biased: bool = True
    saturated: str = "N(0, 1)"
    walk: float = 1.0
    falls: str = "standard"


def curves(function, sigma_w, sigma_b, depth):
    """A theory as good as any: lengths are powers, the border of every activation lies at sigma_w = exp(sigma_b)."""
    layers = np.arange(depth)
    length = 2 * np.log(sigma_w) - (np.log(2) if function is jax.nn.relu else 0.0)
    return networks.Expected(layers * length, 0.5 ** (1 + layers), layers[::-1] * (np.log(sigma_w) - sigma_b))


@pytest.fixture
def judged(monkeypatch):
    def measure(function, sigmas, x, *, width, depth, seeds):
        draws = np.random.RandomState(0)
        shape = (seeds, len(sigmas), depth)
        if len(x) == 1:
            assert width == SETTINGS["walk_width"]
            steps = depth - 1
            theory = np.sqrt(steps / 100) if function is signal._identity else 0.5 * np.sqrt(5 * steps / 46)
            ends = draws.standard_normal((5, seeds // 5))
            ends = 2 * world.walk * theory * ends / ends.std(1, ddof=1, keepdims=True)
            errors = np.linspace(ends.reshape(-1), 0.0, depth, axis=-1)[:, None]
            return networks.Measured(errors, errors, errors, errors, errors)
        small = 1e-3 * draws.standard_normal((seeds, len(sigmas), 1)) * np.arange(depth)
        rows = [curves(function, world.scale * w, b if world.biased else 0.0, depth) for w, b in sigmas]
        square, cosine, error = (np.stack([row[i] for row in rows])[None] + small for i in range(3))
        kept, fallen = (0.0, 4 * np.log(1 / 3))
        ends = np.array([fallen if (w < 0.9) == (world.falls == "standard") else kept for w, _ in sigmas])
        if len(sigmas) == 1:
            assert abs(x.mean()) < 1e-6
            ends = np.array([np.log(BENT)])
        variance = np.linspace(ends, 0 * ends, depth, axis=-1)[None] + small
        large = {"N(0, 1)": np.sqrt(width), "LeCun, Glorot": 1.0}[world.saturated]
        saturation = np.broadcast_to(np.where([[[w == large] for w, _ in sigmas]], 0.75, 0.25), shape)
        return networks.Measured(square, cosine, error, variance, saturation)

    world = World()
    monkeypatch.setattr(networks, "measure", measure)
    monkeypatch.setattr(
        networks, "expected", lambda function, w, b, *, depth, length, correlation: curves(function, w, b, depth)
    )
    monkeypatch.setattr(networks, "critical_line", lambda activation, lengths: LINE)

    def judge(**differences):
        nonlocal world
        world = World(**differences)
        run = planted_run("digits", SETTINGS)
        signal.run(run)
        return run, dict(zip(CLAIMS, verdicts(run, ANSWERING, CLAIMS), strict=True))

    return judge


def failed(found):
    assert set(found.values()) <= {"PASS", "FAIL"}
    return [CLAIMS.index(claim) for claim, verdict in found.items() if verdict == "FAIL"]


def test_networks_as_theory_has_them_pass(judged):
    run, found = judged()
    assert failed(found) == []
    assert [finding.row for finding in run.findings] == [""] * 2 + ["X15"] * 2 + ["X20"] * 2 + ["X15"] * 3 + [
        "X25", "X25", "X25", "", "", "",
    ]  # fmt: skip
    assert f"the variance of the error signal falls to {BENT:.2g} over the five layers" in run.notes[0]
    amplitude = [record["value"] for record in run.records if record["quantity"] == "ln_amplitude"]
    np.testing.assert_allclose(amplitude[:5], -2.5 * np.log(2), atol=0.05)
    np.testing.assert_allclose(amplitude[5:], 0, atol=0.05)


def test_other_networks_fail(judged):
    assert failed(judged(scale=0.5**0.5)[1]) == [0, 4, 5, 12, 14]
    assert failed(judged(scale=1.1, biased=False)[1]) == [0, 1, 12, 13, 14]
    assert failed(judged(saturated="LeCun, Glorot")[1]) == [2, 3]
    assert failed(judged(falls="normalised")[1]) == [6, 7, 8]
    assert failed(judged(walk=0.5)[1]) == [9, 10, 11]


def test_the_pictures_show_what_was_measured(judged):
    run, _ = judged()
    left, right, _ = run.drawn["signal_map"].axes
    pairs = [label.get_text() for label in left.get_yticklabels()]
    assert len(pairs) == 12
    forward, backward = (np.asarray(axis.images[0].get_array()) for axis in (left, right))
    row = pairs.index("ReLU, LeCun, Glorot")
    np.testing.assert_allclose(forward[row], -np.arange(6) * np.log10(2) / 2, atol=0.01)
    row = pairs.index("tanh, He")
    np.testing.assert_allclose(backward[row], np.arange(5, -1, -1) * np.log10(2) / 4, atol=0.01)
    assert [text.get_text() for text in left.texts][pairs.index("ReLU, LeCun, Glorot")] == "-0.8"
    plane, cosines, _ = run.drawn["order_and_chaos"].axes
    theory, *draws = plane.get_lines()[:6]
    np.testing.assert_array_equal(theory.get_xydata().T, LINE)
    for draw in draws:
        np.testing.assert_allclose(draw.get_xdata(), np.exp([0.0, 0.3]), atol=0.03)
        np.testing.assert_array_equal(draw.get_ydata(), [0.0, 0.3])
    lines = cosines.get_lines()
    assert [line.get_label() for line in lines if not line.get_label().startswith("_")] == [
        "sigma_b = 0", "sigma_b = 0.3",
    ]  # fmt: skip
    np.testing.assert_array_equal(lines[0].get_ydata(), np.full(5, 0.5**6))
    np.testing.assert_allclose(lines[1].get_ydata(), 0.5**6, atol=0.03)


def test_activations_are_those_of_the_lectures():
    z = np.array([-1.0, 2.0])
    expected = {"sigmoid": 1 / (1 + np.exp(-z)), "tanh": np.tanh(z), "ReLU": [0.0, 2.0]}
    for name, function in signal.ACTIVATIONS.items():
        np.testing.assert_allclose(function(jnp.asarray(z)), expected[name], rtol=1e-6)
