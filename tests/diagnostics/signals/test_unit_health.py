"""Dead and saturated units, planted and counted by hand, in networks of every kind."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import jaxdl
from jaxdl import training
from jaxdl.diagnostics import Thresholds, UnitHealth, measure_unit_health, unit_deaths, unit_health

from .signal_networks import Cnn, Recurrent, ResNet, Stacked, draws

LOSS = jaxdl.losses.softmax_cross_entropy


def start(model, x):
    variables = dict(jaxdl.as_model(model).init(jax.random.key(0), x))
    return variables.pop("params"), variables


def look(model, x, params=None, **options):
    drawn, state = start(model, x)
    objective = training.supervised(model, LOSS)
    data = (x, np.arange(len(x)) % 3)
    return unit_health(objective, drawn if params is None else params, data, model_state=state, **options)


def test_forty_percent_of_dead_units_are_found_and_named():
    x = np.asarray(draws(23, 4))
    model = jaxdl.models.MLP((6, 10, 3), activation=nn.relu)
    params, _ = start(model, x)
    params["Dense_1"]["bias"] = params["Dense_1"]["bias"].at[jnp.array([1, 4, 5, 8])].set(-100.0)
    health = look(model, x, params, batch_size=5)
    kernels = [np.asarray(params[f"Dense_{i}"]["kernel"]) for i in range(2)]
    z = np.maximum(x @ kernels[0], 0) @ kernels[1] + np.asarray(params["Dense_1"]["bias"])
    np.testing.assert_array_equal(health.dead[1], (z <= 0).all(0))
    assert health.dead_fraction[1] >= 0.4
    assert "40 % of the units of Dense_1 are dead (4 of 10, relu)" in health.verdict()
    assert "Dense_0" not in health.verdict()
    assert health.without == ("Dense_2",)


@pytest.mark.parametrize("batch_size", [1, 4, 7, 11, 50])
def test_the_size_of_the_batches_does_not_matter(batch_size):
    """11 examples: one unit is alive, one saturated and one active on a single example only, the last or the first."""
    x = np.zeros((11, 3), np.float32)
    x[10, 0], x[0, 1], x[3, 2] = 1, 1, 1

    def losses(params, x):
        return (nn.relu(x @ params["a"]["w"] - params["a"]["b"][None]) @ params["b"]["w"]).sum(-1)

    w = np.array([[1, 0, 0, -1, 2], [0, 1, 0, -1, 2], [0, 0, 1, -1, 2]], np.float32)
    b = np.array([0.5, 0.5, 5.0, 0.5, -0.5], np.float32)
    health = unit_health(losses, {"a": {"w": w, "b": b}, "b": {"w": np.ones((5, 1))}}, x, batch_size=batch_size)
    np.testing.assert_array_equal(health.dead[0], [False, False, True, True, False])
    np.testing.assert_array_equal(health.always_active[0], [False, False, False, False, True])
    np.testing.assert_allclose(health.dead_fraction, [0.4])


def test_the_last_batch_is_not_compiled_anew():
    from jaxdl.diagnostics.signals.unit_health import _look

    model, x = jaxdl.models.MLP((4, 3), activation=nn.relu), draws(10, 4)
    objective = training.supervised(model, LOSS)
    before = _look._cache_size()
    for _ in range(2):
        unit_health(objective, start(model, x)[0], (x, np.zeros(10, int)), batch_size=4)
    assert _look._cache_size() == before + 1


def test_saturated_and_always_active_units():
    x = np.asarray(draws(9, 4))
    model = jaxdl.models.MLP((5, 3), activation=jnp.tanh)
    params, _ = start(model, x)
    params["Dense_0"]["bias"] = jnp.array([0.0, 50.0, -9.0, 0.0, 0.0])
    params["Dense_0"]["kernel"] = params["Dense_0"]["kernel"].at[:, 3].mul(0.01)
    health = look(model, x, params)
    slopes = 1 - np.tanh(x @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"][None]) ** 2
    np.testing.assert_array_equal(health.dead[0], [False, True, False, False, False])
    np.testing.assert_array_equal(health.saturated[0], (slopes < 0.05).all(0) & ~(slopes == 0).all(0))
    np.testing.assert_array_equal(health.always_active[0], (slopes >= 0.05).all(0))
    assert health.saturated_fraction[0] == pytest.approx(0.2)
    assert "20 % of the units of Dense_0 are dead (1 of 5, tanh)" in health.verdict()
    assert "20 % of the units of Dense_0 are saturated (1 of 5, tanh)" in health.verdict()


def test_channels_of_a_convolution_are_pooled_over_positions():
    x = np.array(draws(7, 8, 8, 2))
    params, _ = start(Cnn(), x)
    first = nn.Conv(5, (3, 3), strides=(2, 2)).apply({"params": params["first"]}, x)
    params["first"]["bias"] = params["first"]["bias"].at[2].set(-0.95 * np.asarray(first)[..., 2].max())
    params["second"]["bias"] = params["second"]["bias"].at[1].set(-8.0)
    health = look(Cnn(), x, params, batch_size=3)
    _, kept = Cnn().apply({"params": params}, x, capture_intermediates=True)
    z = np.asarray(kept["intermediates"]["first"]["__call__"][0])
    assert 0 < (z[..., 2] > 0).sum() < 10, "alive in few positions"
    assert not health.dead[0][2]
    np.testing.assert_array_equal(health.dead[0], (z <= 0).all((0, 1, 2)))
    np.testing.assert_array_equal(health.saturated[1], [False, True, False, False])
    assert [len(units) for units in health.dead] == [5, 4, 6]


@pytest.mark.parametrize("norm", [nn.GroupNorm, nn.BatchNorm])
def test_channels_behind_a_normalization(norm):
    model, x = ResNet(norm), draws(5, 6, 6, 2)
    params, _ = start(model, x)
    params["block1"]["norm1"]["bias"] = jnp.array([0.0, -50.0, 0.0, 0.0])
    health = look(model, x, params)
    rows = dict(zip(health.layers, health.dead, strict=True))
    np.testing.assert_array_equal(rows["block1/conv1"], [False, True, False, False])
    assert "25 % of the units of block1/conv1 are dead (1 of 4, relu)" in health.verdict()
    assert set(rows) == {"block1/conv1", "block1/conv2", "block1/shortcut", "block2/conv1", "block2/conv2"}


def test_units_behind_a_normalization_that_takes_them_apart_into_groups():
    x, w = draws(5, 3), np.asarray(draws(3, 6, seed=1))

    def losses(params, x):
        groups = (x @ params["a"]).reshape(len(x), 2, 3)
        z = (groups - groups.mean(2, keepdims=True)) / groups.std(2, keepdims=True)
        return (nn.relu(z.reshape(len(x), 6) + params["shift"][None]) @ params["b"]).sum(-1)

    shift = np.array([0, 0, -9, 0, -9, 0], np.float32)
    health = unit_health(losses, {"a": w, "b": draws(6, 1), "shift": shift}, x)
    np.testing.assert_array_equal(health.dead[0], shift < 0)


def test_units_of_a_recurrent_cell_are_pooled_over_time():
    x = np.zeros((6, 4, 3), np.float32)
    x[2, 3] = 1
    model = Recurrent()
    params, _ = start(model, x)
    params["cell"]["i"]["bias"] = jnp.array([30.0, 30.0, 0.0, 0.0, 0.0])
    params["cell"]["i"]["kernel"] = jnp.zeros((3, 5)).at[:, 1].set(-10.0)
    params["cell"]["h"]["kernel"] = jnp.zeros((5, 5))
    health = look(model, x, params, batch_size=4)
    rows = dict(zip(health.layers, health.dead, strict=True))
    for name in ("cell/i", "cell/h"):
        np.testing.assert_array_equal(rows[name], [True, False, False, False, False])


def test_units_of_stacked_layers_are_apart():
    x = draws(6, 4)
    params, _ = start(Stacked(), x)
    params["stack"]["dense"]["bias"] = jnp.zeros((3, 4)).at[1, 2].set(99.0)
    health = look(Stacked(), x, params)
    np.testing.assert_array_equal(health.dead[0], np.arange(12) == 1 * 4 + 2)


def test_a_layer_used_twice_is_alive_where_one_use_is():
    w = jnp.eye(3)

    def losses(params, x):
        return (nn.relu(-nn.relu(x @ params["a"]) @ params["a"] + 1) @ params["b"]).sum(-1)

    params = {"a": w, "b": jnp.ones((3, 1))}
    x = np.array([[2.0, -1.0, -1.0], [3.0, -1.0, -1.0]], np.float32)
    assert not np.any(unit_health(losses, params, x).dead[0])
    twice = lambda p, x: (nn.relu(nn.relu(x @ p["a"]) @ p["a"]) @ p["b"]).sum(-1)  # noqa: E731
    np.testing.assert_array_equal(unit_health(twice, params, x).dead[0], [False, True, True])


def test_training_mode_bfloat16_and_nan():
    x = draws(6, 4)
    model = jaxdl.models.MLP((5, 3), activation=nn.relu, dtype=jnp.bfloat16)
    assert look(model, x).dead_fraction.dtype == jnp.float32
    assert look(model, x, train=True).layers == ("Dense_0",)
    broken = np.full((6, 4), np.nan, np.float32)
    assert not np.any(look(jaxdl.models.MLP((5, 3), activation=jnp.tanh), broken).dead[0])


def test_it_rides_in_fit_and_tells_when_units_died(digits_like):
    """A learning rate far too large kills most of a ReLU network at once (T26)."""
    x, y = digits_like
    model = jaxdl.models.MLP((12, 10), activation=nn.relu)
    objective, tx = training.supervised(model, LOSS), optax.sgd(200.0)
    state = training.init_state(model, tx, x, key=jax.random.key(0))
    step = training.make_train_step(objective, tx, measure=measure_unit_health, measure_every=2)
    result = training.fit(step, state, (x, y), epochs=4, batch_size=60)
    history = result.history
    deaths = unit_deaths(history.measures, history.measure_steps)
    flags = np.asarray(history.measures.dead[0])
    assert flags.shape == (4, 12)
    for unit in range(12):
        alive = np.flatnonzero(~flags[:, unit])
        last = alive[-1] if len(alive) else -1
        expected = -1 if last == 3 else np.asarray(history.measure_steps)[last + 1]
        assert deaths.died[0][unit] == expected
    assert np.sum(np.asarray(deaths.died[0]) >= 0) >= 3
    at_end = unit_health(objective, result.state, (x, y))
    at_start = measure_unit_health_of(objective, state, (x, y))
    np.testing.assert_array_equal(at_start.dead[0], unit_health(objective, state, (x, y)).dead[0])
    assert at_end.dead_fraction[0] >= 0.5
    assert "% of the units of Dense_0 died" in deaths.verdict()


def measure_unit_health_of(objective, state, batch):
    moment = training.Moment(objective, state.params, state.model_state, batch, jax.random.key(0), None, None)
    return measure_unit_health(moment)


def stacked(*times):
    flags = jnp.array(times, bool)
    return UnitHealth((flags,), (flags & False,), (flags & False,), ("layer",), ("relu",))


def test_a_unit_is_dead_from_the_first_measurement_after_its_last_sign_of_life():
    measures = stacked([0, 0, 1, 1, 0], [1, 0, 1, 0, 1], [0, 1, 1, 0, 1], [0, 1, 1, 0, 1])
    deaths = unit_deaths(measures, [0, 10, 20, 30])
    np.testing.assert_array_equal(deaths.died[0], [-1, 20, 0, -1, 10])
    np.testing.assert_allclose(deaths.dead_over_time[:, 0], [0.2, 0.4, 0.6, 0.6])
    np.testing.assert_array_equal(jax.jit(unit_deaths)(measures).died[0], [-1, 2, 0, -1, 1])
    assert deaths.verdict() == (
        "60 % of the units of layer died (3 of 5), the first by step 0, half of them by step 10"
    )
    assert deaths.table().splitlines()[1].split() == ["layer", "5", "3", "0", "10", "20"]
    fine = unit_deaths(stacked([0, 0], [0, 0]))
    assert fine.verdict() == "healthy: of 2 units in 1 layers 0 died by step 1"
    assert fine.table().splitlines()[1].split() == ["layer", "2", "0", "-", "-", "-"]


def test_pictures_tables_and_thresholds(tmp_path):
    health = stacked([1, 1, 0, 0, 0])[0]
    figure = health.plot(tmp_path / "units.png")
    assert (tmp_path / "units.png").stat().st_size > 1000
    assert [patch.get_height() for patch in figure.axes[0].patches] == pytest.approx([40.0, 0.0, 0.0])
    assert health.table().splitlines()[1].split() == ["layer", "5", "40", "%", "0", "%", "0", "%", "relu"]
    healthy = "healthy: of 5 units in 1 layers 2 are dead and 0 saturated"
    assert health.verdict(Thresholds(dead=0.5)) == healthy
    assert stacked([0, 0])[0].verdict(Thresholds(dead=0.0)).startswith("healthy")
    deaths = unit_deaths(stacked([0, 0], [1, 0]), [0, 50])
    curve = deaths.plot(tmp_path / "deaths.svg").axes[0].lines[0]
    np.testing.assert_allclose(curve.get_ydata(), [0, 50])


def test_errors():
    params, x = {"w": jnp.ones((6, 2))}, jnp.ones((4, 6))
    losses = lambda p, x: (x @ p["w"]).sum(-1)  # noqa: E731
    with pytest.raises(ValueError, match=r"batch_size: expected a whole number >= 1; got 0\. .* examples at a time"):
        unit_health(losses, params, x, batch_size=0)
    with pytest.raises(ValueError, match=r"saturated_below: expected one finite number >= 0; got -1"):
        unit_health(losses, params, x, saturated_below=-1)
    with pytest.raises(ValueError, match=r"data: expected arrays that share one leading example axis of length >= 1"):
        unit_health(losses, params, x[:0])
    with pytest.raises(ValueError, match=r"expected a layer with an activation of its own before a later layer; got a"):
        unit_health(losses, params, x)
    with pytest.raises(ValueError, match=r"measures: expected stacked .* \(time, units\); got shape \(2,\)\. Pass"):
        unit_deaths(stacked([0, 1])[0])
    with pytest.raises(ValueError, match=r"steps: expected one number a measurement, shape \(1,\); got shape \(2,\)"):
        unit_deaths(stacked([0, 1]), [0, 1])
    for report in ("table", "verdict", "plot"):
        with pytest.raises(ValueError, match=r"health: expected one measurement, .* got shape \(1, 2\)\. Pick one"):
            getattr(stacked([0, 1]), report)()
