import jax.numpy as jnp
import numpy as np
import pytest

from experiments.building_blocks.shifted_images import shifted, small_cnn
from experiments.harness.claims import Run
from experiments.images import shifts
from jaxdl.data import Examples, Splits


@pytest.mark.parametrize("pixels", [-5, -2, 0, 1, 4, 5])
@pytest.mark.parametrize("axis", [1, 2])
def test_against_slices(pixels, axis):
    x = np.random.RandomState(0).rand(3, 5, 5, 2).astype(np.float32) + 1
    expected = np.zeros_like(x)
    for place in range(5):
        if 0 <= place - pixels < 5:
            target, source = [slice(None)] * 4, [slice(None)] * 4
            target[axis], source[axis] = place, place - pixels
            expected[tuple(target)] = x[tuple(source)]
    np.testing.assert_array_equal(shifted(jnp.asarray(x), pixels, axis=axis), expected)
    circular = shifted(jnp.asarray(x), pixels, axis=axis, edge="circular")
    np.testing.assert_array_equal(circular, np.roll(x, pixels, axis))
    assert shifted(jnp.asarray(x, jnp.bfloat16), pixels).dtype == jnp.bfloat16


def new_run():
    draws = np.random.RandomState(0)
    examples = Examples(draws.rand(40, 8, 8, 1).astype(np.float32), draws.randint(0, 10, 40).astype(np.int32))
    return Run("digits", Splits(examples, examples, examples), 5, dict(shifts.EXPERIMENT.presets["smoke"]))


def test_equivariance_holds_and_zeros_at_the_edge_are_noticed(monkeypatch):
    run = new_run()
    shifts.judge_equivariance(run)
    assert [finding.verdict for finding in run.findings] == ["PASS"] * 4
    monkeypatch.setattr(shifts, "shifted", lambda x, pixels, edge: shifted(x, pixels))
    run = new_run()
    shifts.judge_equivariance(run)
    assert [finding.verdict for finding in run.findings][:2] == ["FAIL", "FAIL"]


def test_a_network_that_does_not_mind_would_be_seen(monkeypatch):
    """The rules on curves that are put in: the CNN keeps more, or both the same, or one is invariant."""

    def judged(mlp, cnn):
        spread = 0.1 * np.arange(5)[:, None]
        kinds = {type(small_cnn(1)): np.array(cnn), "MLP": np.array(mlp)}
        monkeypatch.setattr(
            shifts, "accuracy_by_shift",
            lambda run, network, pixels: kinds.get(type(network), kinds["MLP"])[None, :] + spread,
        )  # fmt: skip
        run = new_run()
        shifts.judge_shifts(run)
        return [finding.verdict for finding in run.findings]

    falling, wider, flat = [10, 20, 50, 95, 50, 20, 10], [10, 30, 70, 95, 70, 30, 10], [95] * 7
    assert judged(falling, wider) == ["PASS"] * 4
    assert judged(falling, falling) == ["FAIL", "PASS", "PASS", "PASS"]
    assert judged(falling, flat) == ["PASS", "PASS", "PASS", "FAIL"]
    assert judged(falling, [100] * 3 + [101] + [100] * 3)[1] == "FAIL", "a better network is not what is claimed"
