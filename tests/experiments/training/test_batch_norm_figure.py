import jax
import numpy as np
import pytest

import jaxdl
from experiments.harness.claims import Run
from experiments.training import batch_norm_figure as figure
from experiments.training import batch_norm_networks as networks
from experiments.training.batch_norm_networks import AFFINE, NORMALIZED, PLAIN, Trained
from jaxdl.data import Examples, Splits
from tests.experiments.training.planted import SPREAD, drive, labelled

DRAWS = np.random.RandomState(0)


def examples(count=130):
    return Examples(DRAWS.rand(count, 4, 4, 1).astype(np.float32), DRAWS.randint(0, 10, count).astype(np.int32))


@pytest.mark.parametrize(("arm", "more"), [(PLAIN, 0), (NORMALIZED, 600), (AFFINE, 600)])
def test_the_networks_have_the_parameters_of_the_paper(arm, more):
    variables = networks.network(arm).init(jax.random.key(0), np.zeros((1, 28, 28, 1), np.float32))
    assert jaxdl.tree.num_entries(variables["params"]) == 784 * 100 + 100 + 2 * (100 * 100 + 100) + 1010 + more
    kernel = np.asarray(variables["params"]["Dense_0"]["kernel"])
    assert kernel.std() == pytest.approx(0.1, rel=0.02)  # 78,400 draws: the standard error is 0.25 %


def test_arms_start_from_the_same_kernels():
    starts = [
        networks.network(arm).init(jax.random.key(3), np.zeros((1, 4, 4, 1), np.float32))["params"]
        for arm in (PLAIN, NORMALIZED, AFFINE)
    ]
    for name in ("Dense_0", "Dense_3"):
        for other in starts[1:]:
            np.testing.assert_array_equal(other[name]["kernel"], starts[0][name]["kernel"])


def test_pixels_are_cut_at_one_half():
    x = np.array([0.0, 0.49, 0.5, 0.51, 1.0], np.float32)
    np.testing.assert_array_equal(networks.binary(Examples(x, np.arange(5))).x, [0, 0, 0, 1, 1])


@pytest.mark.parametrize("arm", [PLAIN, NORMALIZED])
def test_the_input_of_the_last_sigmoids_by_numpy(arm):
    x = examples().x
    variables = networks.network(arm).init(jax.random.key(1), x[:1])
    params = jax.tree.map(np.asarray, variables["params"])
    state = {name: value for name, value in variables.items() if name != "params"}
    z = a = x.reshape(len(x), -1).astype(np.float64)
    for i in range(3):
        z = a @ params[f"Dense_{i}"]["kernel"] + params[f"Dense_{i}"]["bias"]
        if arm == NORMALIZED:
            z = (z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5)
        a = 1 / (1 + np.exp(-z))
    found = networks.sigmoid_inputs(networks.network(arm), arm, variables["params"], state, x)
    np.testing.assert_allclose(found, z, atol=2e-3)


def test_statistics_for_inference_are_averages_with_the_unbiased_variance():
    data = examples(count=2 * networks.BATCH + 7)  # the last seven fill no batch
    model = networks.network(NORMALIZED)
    state = jaxdl.training.init_state(model, jaxdl.optimizers.gradient_descent(0.1), data.x[:1], key=jax.random.key(0))
    found = networks.averaged_statistics(model, state, data).model_state["batch_stats"]["BatchNorm_0"]
    first = jax.tree.map(np.asarray, state.params["Dense_0"])
    z = (data.x.reshape(len(data.x), -1) @ first["kernel"] + first["bias"])[: 2 * networks.BATCH].reshape(2, 60, 100)
    np.testing.assert_allclose(found["mean"], z.mean((0, 1)), atol=1e-5)
    np.testing.assert_allclose(found["var"], z.var(1, ddof=1).mean(0), rtol=1e-4)


def trained(test, width=1.0, sway=1.0):
    time = np.tile([-sway, sway], 5)[None, :, None, None]
    percentiles = np.broadcast_to(time + np.array([-width / 2, 0, width / 2])[None, None, :, None], (5, 10, 3, 4))
    return Trained(np.asarray(test, float), np.zeros((5, 2)), np.arange(2), percentiles, np.arange(10))


def test_width_and_wandering_of_known_percentiles():
    np.testing.assert_allclose(figure.width(trained(np.zeros(5), width=3.0)), 3.0)
    np.testing.assert_allclose(figure.wandering(trained(np.zeros(5), sway=0.25)), 0.25)


@pytest.mark.parametrize(
    ("gain", "end", "width", "verdicts"),
    [
        (8.0, 1.0, 0.5, ["PASS", "PASS", "PASS", "PASS", "PASS"]),
        (3.0, -1.0, 2.0, ["FAIL", "FAIL", "FAIL", "FAIL", "PASS"]),
    ],
)
def test_verdicts_on_made_up_numbers(gain, end, width, verdicts):
    run = Run("mnist", Splits(*(Examples([0], [0]) for _ in range(3))), 5, {})
    base = 80 + np.array([0.0, 0.1, -0.1, 0.05, -0.05])
    noise = np.array([0.1, -0.1, 0.0, 0.05, -0.05])
    starts = {PLAIN: trained(base), NORMALIZED: trained(base + gain + noise), AFFINE: trained(base + noise)}
    ends = {PLAIN: trained(base), NORMALIZED: trained(base + end + noise, width=width, sway=width)}
    figure.judge(run, ends, starts, steps=50_000, early=1000)
    assert [finding.verdict for finding in run.findings] == verdicts
    assert all(finding.row == "X16" for finding in run.findings if not finding.control)


CLAIMS = ("test accuracy after", "higher at the end", "is narrower", "moves less", "negative control")


def driven(monkeypatch, dataset, gain, width, affine=0.0, **options):
    asked = []

    def train(run, arm, *, steps, measure_every, deviation=networks.DEVIATION):
        asked.append((arm, steps, measure_every, deviation))
        better = {PLAIN: 0.0, NORMALIZED: gain, AFFINE: affine}[arm]
        found = trained(80 + better + SPREAD, *([width, width] if arm == NORMALIZED else [1.0, 1.0]))
        return found._replace(curve=np.linspace(50, 80 + better, 2) + SPREAD[:, None], steps=np.array([60, 120]))

    monkeypatch.setattr(networks, "train", train)
    return drive(figure.EXPERIMENT, dataset, **options), asked


def test_the_whole_experiment_on_a_gain_of_eight_points(monkeypatch):
    run, asked = driven(monkeypatch, "mnist", gain=8.0, width=0.5)
    assert run.verdicts(*CLAIMS) == ["PASS"] * 5
    assert asked == [
        (PLAIN, 20_000, 200, 0.1), (NORMALIZED, 20_000, 200, 0.1), (PLAIN, 1000, 1000, 0.1),
        (NORMALIZED, 1000, 1000, 0.1), (AFFINE, 1000, 1000, 0.1), (PLAIN, 1000, 1000, 0.01),
        (NORMALIZED, 1000, 1000, 0.01),
    ]  # fmt: skip
    assert [row[1:] for row in run.tables[0].rows] == [
        ["80.00", "80.00"], ["88.00", "88.00"], ["80.00", "-"], ["80.00", "-"], ["88.00", "-"]
    ]  # fmt: skip
    assert run.tables[0].rows[-1][0] == "batch norm, weights N(0, 0.01^2)"
    assert run.findings[2].remark == "0.5 against 1"
    assert len(run.records) == 10
    accuracy, plain, normalized = run.drawn["batch_norm"].axes
    np.testing.assert_allclose(labelled(accuracy)[PLAIN], [50, 80])
    np.testing.assert_allclose(labelled(accuracy)[NORMALIZED], [50, 88])
    time = np.tile([-1.0, 1.0], 5)
    for axis, width in ((plain, 1.0), (normalized, 0.5)):
        assert axis.get_ylim() == plain.get_ylim()
        for line, place in zip(axis.lines, (-width / 2, 0, width / 2), strict=True):
            np.testing.assert_allclose(line.get_ydata(), width * time + place)


def test_the_whole_experiment_where_normalization_harms_and_the_affine_part_helps(monkeypatch):
    run, asked = driven(monkeypatch, "digits", gain=-1.0, width=2.0, affine=1.0, preset="smoke")
    assert run.verdicts(*CLAIMS) == ["FAIL"] * 5
    assert len(asked) == len(run.tables[0].rows) + 2 == 5, "no smaller weights"


def test_the_full_preset_is_the_papers():
    assert figure.EXPERIMENT.presets["full"]["steps"]["mnist"] == 50_000
    assert (networks.BATCH, networks.HIDDEN, networks.WIDTH) == (60, 3, 100)
