"""How much of the start survives training (catalogue T42), against vectors whose angle and distance are known."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import training
from jaxdl.diagnostics import ParameterDrift, Thresholds, parameter_drift
from tests.diagnostics import networks


def test_against_numpy():
    draws = np.random.RandomState(0)
    start = {"a": {"kernel": draws.randn(3, 4), "bias": draws.randn(4)}, "b": {"kernel": draws.randn(4, 2)}}
    now = jax.tree.map(lambda w: w + 0.3 * draws.randn(*w.shape), start)
    found = parameter_drift(now, start)
    assert found.layers == ("a", "b")
    for i, name in enumerate("ab"):
        w, w0 = (np.concatenate([tree[name][leaf].ravel() for leaf in sorted(tree[name])]) for tree in (now, start))
        np.testing.assert_allclose(found.cosine[i], w @ w0 / np.linalg.norm(w) / np.linalg.norm(w0), rtol=1e-5)
        np.testing.assert_allclose(found.distance[i], np.linalg.norm(w - w0) / np.linalg.norm(w0), rtol=1e-5)


def test_known_angles():
    start = {name: {"w": jnp.array([3.0, 4.0])} for name in ("same", "twice", "turned", "back")}
    now = {"same": start["same"], "twice": {"w": jnp.array([6.0, 8.0])}, "turned": {"w": jnp.array([-4.0, 3.0])},
           "back": {"w": jnp.array([-3.0, -4.0])}}  # fmt: skip
    found = parameter_drift(now, start, layers=("same", "twice", "turned", "back"))
    np.testing.assert_allclose(found.cosine, [1, 1, 0, -1], atol=1e-6)
    np.testing.assert_allclose(found.distance, [0, 1, np.sqrt(2), 2], rtol=1e-6)
    assert "same stood still" in found.verdict()
    assert "most in back (2, cosine -1.00), least in same (0, cosine 1.00)" in found.verdict()


def test_zero_starts_and_numbers_that_are_not_finite():
    start = {"left": {"w": jnp.zeros(2)}, "stayed": {"w": jnp.zeros(2)}, "tiny": {"w": jnp.full(2, 1e-30)}}
    now = {"left": {"w": jnp.ones(2)}, "stayed": {"w": jnp.zeros(2)}, "tiny": {"w": jnp.full(2, 3e-30)}}
    found = parameter_drift(now, start)
    np.testing.assert_allclose(found.distance, [np.inf, 0, 2], rtol=1e-5)
    np.testing.assert_allclose(found.cosine, [np.nan, np.nan, 1], rtol=1e-5)
    assert parameter_drift({"w": jnp.ones(2)}, {"w": jnp.zeros(2)}).verdict() == (
        "all 1 layers started at zero and left it"
    )
    for value in (jnp.nan, jnp.inf):
        broken = parameter_drift({**now, "tiny": {"w": jnp.array([value, 1.0])}}, start)
        assert np.isnan(broken.distance[2])
        assert broken.verdict() == "parameters are not finite in 1 of 3 layers, the first of them tiny"


def test_order_states_vmap_and_bfloat16():
    names = [f"Dense_{i}" for i in (0, 1, 2, 10)]
    start = {name: {"kernel": jnp.ones((2, 2))} for name in names}
    found = parameter_drift(start, start)
    assert found.layers == tuple(names)
    assert parameter_drift(start, start, layers=names[::-1]).layers == tuple(names[::-1])
    _, params, _, _ = networks.mlp()
    states = [training.make_state(p, optax.sgd(0.1), key=jax.random.key(0))
              for p in (jax.tree.map(lambda w: 2 * w, params), params)]  # fmt: skip
    np.testing.assert_allclose(parameter_drift(*states).distance, 1, rtol=1e-6)
    scales = jnp.array([1.0, 4.0])
    many = jax.jit(jax.vmap(lambda c: parameter_drift(jax.tree.map(lambda w: c * w, start), start)))(scales)
    np.testing.assert_allclose(many[1].distance, 3, rtol=1e-6)
    half = parameter_drift({"w": jnp.full(9, 3, jnp.bfloat16)}, {"w": jnp.ones(9, jnp.bfloat16)})
    assert half.distance.dtype == jnp.float32
    np.testing.assert_allclose(half.distance, 2)


def test_table_picture_and_bound(tmp_path):
    found = ParameterDrift(jnp.array([1.0, 0.5]), jnp.array([0.01, 2.0]), ("a", "b"))
    assert [line.split() for line in found.table().splitlines()] == [
        ["layer", "cosine", "distance"], ["a", "1.0000", "0.01"], ["b", "0.5000", "2"],
    ]  # fmt: skip
    assert found.verdict().endswith("all layers moved")
    assert found.verdict(Thresholds(stands_still=0.1)).endswith("a stood still")
    figure = found.plot(tmp_path / "drift.png")
    assert (tmp_path / "drift.png").stat().st_size > 1000
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [0.01, 2])


def test_errors():
    with pytest.raises(ValueError, match=r"start: expected the same parameters as params, .* got others at a/w, b/w"):
        parameter_drift({"a": {"w": jnp.ones(2)}}, {"b": {"w": jnp.ones(2)}})
    with pytest.raises(ValueError, match="got others at w"):
        parameter_drift({"w": jnp.ones(2)}, {"w": jnp.ones(3)})
    with pytest.raises(ValueError, match=r"got others at \(no parameter\)"):
        parameter_drift({}, {})
    with pytest.raises(ValueError, match="layers: expected names among a; got b"):
        parameter_drift({"a": {"w": jnp.ones(2)}}, {"a": {"w": jnp.ones(2)}}, layers=("b",))
    stacked = ParameterDrift(jnp.ones((2, 1)), jnp.ones((2, 1)), ("a",))
    with pytest.raises(ValueError, match=r"drift: expected one measurement, .* got shape \(2, 1\)"):
        stacked.verdict()
