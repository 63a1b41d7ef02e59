"""The whole of `initialization` on planted measurements, with which its claims hold and with which they do not."""

from types import SimpleNamespace

import numpy as np
import pytest

from experiments.building_blocks import propagation
from experiments.gradients import initialization
from experiments.gradients import initialization_theory as theory
from experiments.gradients.starts import Start, starts
from jaxdl import initializers
from jaxdl.activations import FACTS
from tests.experiments.planted import planted_run, verdicts

WIDTH, DEPTH = 64, 3
SETTINGS = {
    "width": WIDTH, "depth": DEPTH, "inputs": 2, "selu_depth": 4, "lsuv_depth": 1, "lsuv_width": 3, "lsuv_seeds": 5,
    "lsuv_batch": 4, "product_depths": (1, 10), "product_width": 4, "product_seeds": 5,
}  # fmt: skip
CLAIMS = [
    "the variance after 3 layers is what the theory",
    "weights of 1.1 times the variance",
    "a Gaussian of deviation 0.01 is too small",
    "SELU keeps variance 1 through 4 layers with LeCun",
    "SELU keeps mean 0",
    "SELU keeps variance 1 through 4 layers with He",
    "1-layer tanh network",
    "1-layer ReLU network",
    "1-layer maxout network",
    "the orthonormal start alone",
    "products of up to 10 orthogonal",
    "products of up to 10 Gaussian",
    "products of N(0, 1/N) matrices degenerate",
]
ROWS = ["X04"] * 6 + ["X26"] * 4 + ["X22"] * 3
LECUN, HE = (initializers.lecun_normal(), initializers.he_normal())


@pytest.fixture
def judged(monkeypatch):
    def expected(unit, gain, *, width, depth, orthogonal):
        return SimpleNamespace(mean=np.log(gain) * np.arange(1, depth + 1))

    def profiles(init, activations, *, width, depth, inputs, seeds):
        if len(activations) == 1:
            level, slope = world["selu"].pop(0)
            layers = np.arange(1, depth + 1)
            noise = 1e-3 * np.linspace(-1, 1, seeds)[:, None]
            return propagation.Profile(
                None, (level * layers + noise)[..., None], np.exp(slope * layers + noise)[..., None]
            )
        gain = world["gain"] * starts()[init].gain(width, width)
        if init == "N(0, 0.01^2)":
            gain *= world["small"]
        logs = np.log(gain) * np.arange(1, depth + 1)[None, :, None]
        noise = 1e-3 * np.random.RandomState(0).randn(seeds, 1, len(activations))
        return propagation.Profile(logs + noise, None, None)

    def singular_values(init, *, width, depths, seeds):
        by_depth = world["products"].pop(0)
        return {depth: np.full((seeds, width), by_depth**depth) for depth in depths}

    def largest_deviation(network, variables, x, key, tolerance):
        assert tolerance in (0.95 * 0.02, 1e9)
        return world["untouched"] if tolerance > 1 else world["rescaled"]

    world = {}
    # Gains of square layers serve as every start's: those of maxout's wider kernels are the theory's own affair.
    planted = {name: Start(name, lambda i, o, gain=start.gain: gain(i, i)) for name, start in starts().items()}  # pyright: ignore
    monkeypatch.setattr(initialization, "starts", lambda: planted)
    monkeypatch.setattr(theory, "expected", expected)
    monkeypatch.setattr(propagation, "profiles", profiles)
    monkeypatch.setattr(propagation, "singular_values", singular_values)
    monkeypatch.setattr(initialization, "_largest_deviation", largest_deviation)
    monkeypatch.setattr(initialization.jaxdl.models.MLP, "init", lambda *a: None)
    monkeypatch.setattr(initialization.MaxoutNetwork, "init", lambda *a: None)

    def judge(**differences):
        world.update(gain=1.0, small=1.0, selu=[(0.0, 0.0), (0.0, np.log(2))], rescaled=0.01, untouched=0.4)
        world.update({"products": [1.0, 0.7]} | differences)
        run = planted_run("digits", SETTINGS)
        if differences:
            for name in ("heat_map", "by_layer"):
                monkeypatch.setattr(initialization.figures, name, lambda *a: SimpleNamespace(
                    draw_without_rendering=lambda: None
                ))  # fmt: skip
        initialization.run(run)
        found = verdicts(run, initialization.EXPERIMENT, CLAIMS)
        assert set(found) <= {"PASS", "FAIL"}
        return run, [number for number, verdict in enumerate(found) if verdict == "FAIL"]

    return judge


def test_starts_as_theory_has_them_pass_and_are_drawn(judged):
    run, failed = judged()
    assert failed == []
    assert [finding.row for finding in run.findings] == ROWS
    names = [name for name in FACTS if name not in initialization.UNTRAINABLE]
    (table,) = run.tables
    assert list(table.header) == ["initializer", *names]
    rows = {name: cells for name, *cells in table.rows}
    decades = 3 * np.log10(2)
    assert rows["He normal"] == [f"{decades:.2f} ({decades:.2f})"] * len(names)
    assert run.findings[9].remark == "deviations of 0.40 to 0.40"

    grid = run.drawn["variance_by_pair"].axes[0]
    image = np.asarray(grid.images[0].get_array())
    assert image.shape == (len(starts()), len(names))
    np.testing.assert_allclose(image[list(starts()).index("He normal")], decades, atol=0.01)
    assert [label.get_text() for label in grid.get_xticklabels()] == names
    assert len(grid.patches) == len(names), "one framed pair for every activation"
    relu, selu, products = run.drawn["variance_by_layer"].axes
    by_label = {line.get_label(): line.get_ydata() for axis in (relu, selu, products) for line in axis.get_lines()}
    np.testing.assert_allclose(by_label["He normal"], np.arange(1, 4) * np.log10(2), atol=0.01)
    np.testing.assert_allclose(by_label["variance"], 1, atol=0.01)
    np.testing.assert_allclose(by_label["Gaussian, median"], [0.7, 0.7**10])
    np.testing.assert_allclose(by_label["orthogonal, median"], 1)
    assert products.get_xscale() == products.get_yscale() == "log"


@pytest.mark.parametrize(
    ("world", "failed"),
    [
        ({"gain": 1.1}, [0, 1]),
        ({"small": 1e4 / WIDTH}, [0, 2]),
        ({"selu": [(0.05, np.log(2)), (0.0, 0.0)], "rescaled": 0.03, "untouched": 0.01}, [3, 4, 5, 6, 7, 8, 9]),
        ({"products": [0.7, 1.0]}, [10, 11, 12]),
    ],
)
def test_other_starts_fail(judged, world, failed):
    assert judged(**world)[1] == failed


def test_what_is_predicted_is_the_start_times_the_activation():
    """He's gain 2 halved by ReLU keeps ln q at ln 2, but for terms of the width; maxout's counts its own kernel."""
    start = Start(HE, lambda i, o: 2.0 * o / i)
    found = initialization.predicted(start, FACTS["relu"], "He normal", WIDTH, DEPTH)
    assert found == pytest.approx(np.log(2) - 2 / WIDTH - (DEPTH - 1) * 5 / (2 * WIDTH), abs=1e-3)
    twice = initialization.predicted(start, FACTS["maxout"], "He normal", WIDTH, 1)
    assert twice == pytest.approx(np.log(4) - 2 / WIDTH, abs=1e-3)
