"""The constraints hold after every update, whatever stands in front of them; norms are taken in float64 by NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import jaxdl
from jaxdl import optimizers, training
from jaxdl.optimizers import max_norm, non_negative, project, unit_norm

FRONTS = {
    "adam": optax.adam(0.1),
    "momentum": optax.sgd(0.5, momentum=0.9),
    "rmsprop": optax.rmsprop(0.05),
    "none": optax.identity(),
}
DRAWS = np.random.RandomState(0)


def start():
    draws = np.random.RandomState(1)
    return {
        "Dense_0": {"kernel": jnp.asarray(draws.randn(7, 5), jnp.float32), "bias": jnp.full(5, 9.0)},
        "Conv_0": {"kernel": jnp.asarray(draws.randn(3, 3, 2, 4), jnp.float32), "bias": jnp.full(4, 9.0)},
    }


def trajectory(tx, params, steps=1000, size=1.0):
    """The parameters after each of many updates with random gradients, as one compiled scan."""

    def update(carry, grads):
        params, state = carry
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    draws = np.random.RandomState(2)
    grads = jax.tree.map(lambda leaf: (size * draws.randn(steps, *leaf.shape)).astype(leaf.dtype), params)
    return jax.jit(lambda params, grads: jax.lax.scan(update, (params, tx.init(params)), grads)[1])(params, grads)


def norms(kernels, axes):
    return np.sqrt(np.square(np.asarray(kernels, np.float64)).sum(axes))


@pytest.mark.parametrize("front", FRONTS)
def test_max_norm_holds_for_every_unit_after_each_of_1000_steps(front):
    bound = 1.5
    params = trajectory(optax.chain(FRONTS[front], max_norm(bound)), start())
    dense, conv = norms(params["Dense_0"]["kernel"], 1), norms(params["Conv_0"]["kernel"], (1, 2, 3))
    assert dense.shape == (1000, 5)
    assert conv.shape == (1000, 4)
    for values in (dense, conv):
        assert values.max() <= bound * (1 + 1e-6)
        assert values.max() > bound * (1 - 1e-6), "<= and not <: the bound is reached"
    assert np.abs(params["Dense_0"]["bias"]).max() > 9, "biases are free"


@pytest.mark.parametrize("front", FRONTS)
def test_unit_norm_holds_for_every_unit_after_each_of_1000_steps(front):
    params = trajectory(optax.chain(FRONTS[front], unit_norm()), start())
    np.testing.assert_allclose(norms(params["Dense_0"]["kernel"], 1), 1, atol=1e-6)
    np.testing.assert_allclose(norms(params["Conv_0"]["kernel"], (1, 2, 3)), 1, atol=1e-6)


@pytest.mark.parametrize("front", FRONTS)
def test_non_negative_weights_are_never_below_zero_and_sometimes_at_it(front):
    params = trajectory(optax.chain(FRONTS[front], non_negative()), start())
    for kernels in (params["Dense_0"]["kernel"], params["Conv_0"]["kernel"]):
        assert np.min(kernels) == 0.0
        assert np.max(kernels) > 0.0


def test_non_negative_acts_on_the_leaves_chosen():
    params = {"a": {"kernel": -jnp.ones((3, 2)), "bias": -jnp.ones(2)}, "b": {"bias": -jnp.ones(2)}}
    new = project(params, non_negative(where="a/bias"))
    np.testing.assert_array_equal(new["a"]["bias"], [0, 0])
    np.testing.assert_array_equal(new["a"]["kernel"], params["a"]["kernel"])
    np.testing.assert_array_equal(new["b"]["bias"], [-1, -1])


@pytest.mark.parametrize("last", [max_norm(1.5), unit_norm()], ids=["max_norm", "unit_norm"])
def test_non_negative_may_stand_before_the_others(last):
    kernels = trajectory(optax.chain(FRONTS["adam"], non_negative(), last), start())["Dense_0"]["kernel"]
    assert np.min(kernels) == 0.0
    assert norms(kernels, 1).max() <= 1.5 * (1 + 1e-6)


def test_a_step_is_the_projection_of_the_step_without_constraint():
    params, tx = start(), FRONTS["momentum"]
    grads = jax.tree.map(lambda leaf: 0.1 * leaf + 1, params)
    free = optax.apply_updates(params, tx.update(grads, tx.init(params), params)[0])
    kernel = np.asarray(free["Dense_0"]["kernel"], np.float64)
    lengths = norms(kernel, 0)
    expected = {
        max_norm(1.5): kernel * np.minimum(1, 1.5 / lengths),
        unit_norm(): kernel / lengths,
        non_negative(): np.maximum(kernel, 0),
    }
    for constraint, kernel in expected.items():
        chain = optax.chain(tx, constraint)
        updates, _ = chain.update(grads, chain.init(params), params)
        new = optax.apply_updates(params, updates)
        np.testing.assert_allclose(new["Dense_0"]["kernel"], kernel, rtol=2e-6, atol=1e-6)
        np.testing.assert_array_equal(new["Dense_0"]["bias"], free["Dense_0"]["bias"])


def test_an_update_that_obeys_is_not_touched():
    params = {"kernel": jnp.array([[0.3, 0.4], [0.1, 3.0]])}
    updates = {"kernel": jnp.array([[0.05, 0.1], [1e-9, 1.0]])}
    tx = max_norm(2.0)
    new, _ = tx.update(updates, tx.init(params), params)
    np.testing.assert_array_equal(new["kernel"][:, 0], updates["kernel"][:, 0])
    assert float(new["kernel"][1, 1]) < 0


# S18: the incoming weights of a unit are a column of an (in, out) kernel


def test_the_slides_last_axis_bounds_the_outgoing_weights_and_not_the_units():
    kernel = jnp.array([[3.0, 0.0, 0.0], [4.0, 0.0, 1.0]])
    np.testing.assert_allclose(project({"kernel": kernel}, unit_norm())["kernel"][:, 0], [0.6, 0.8], rtol=1e-6)
    slide = project({"kernel": kernel}, unit_norm(axis=-1))["kernel"]
    np.testing.assert_allclose(norms(slide, 1), [1, 1], atol=1e-6)
    assert abs(norms(slide, 0)[0] - 1) > 0.3


def test_a_bound_is_kept_when_it_is_reached():
    kernel = jnp.array([[3.0], [4.0]])
    np.testing.assert_array_equal(project({"kernel": kernel}, max_norm(5.0))["kernel"], kernel)


@pytest.mark.parametrize(
    ("module", "shape", "axis"),
    [
        (nn.Dense(3), (4,), None),
        (nn.Conv(3, (2, 2), padding="VALID"), (2, 2, 5), None),
        (nn.DenseGeneral((2, 3)), (4,), 0),
        (nn.DenseGeneral(3, axis=(-2, -1)), (4, 2), (0, 1)),
        (nn.ConvLocal(3, (2,), padding="VALID"), (5, 2), -2),
    ],
    ids=["Dense", "Conv", "DenseGeneral", "DenseGeneral of two axes", "ConvLocal"],
)
def test_every_layout_has_axes_that_run_over_what_comes_into_a_unit(module, shape, axis):
    """The gradient of a pre-activation with respect to the input is the unit's weights: its norm must be 1."""

    @jax.jit
    def jacobian(x):
        params = project(module.init(jax.random.key(0), x[None])["params"], unit_norm(axis=axis))
        return jax.jacobian(lambda x: module.apply({"params": params}, x[None])[0])(x)

    lengths = norms(jacobian(DRAWS.randn(*shape).astype(np.float32)), tuple(range(-len(shape), 0)))
    np.testing.assert_allclose(lengths, 1, atol=1e-6)
    assert lengths.size > 1


def test_layers_stacked_by_a_scan_are_constrained_one_by_one():
    params = {"kernel": jnp.asarray(DRAWS.randn(3, 4, 4), jnp.float32), "bias": jnp.ones((3, 4))}
    new = project(params, unit_norm(axis=-2))
    for layer in range(3):
        alone = project({"kernel": params["kernel"][layer]}, unit_norm())
        np.testing.assert_allclose(new["kernel"][layer], alone["kernel"], rtol=1e-6)
    np.testing.assert_array_equal(new["bias"], params["bias"])


# Numbers far apart


@pytest.mark.parametrize("size", [1e3, 1e20, 1e37])
def test_updates_of_any_size_land(size):
    params = trajectory(optax.chain(optax.scale(-1.0), max_norm(1.5)), start(), steps=50, size=size)
    assert norms(params["Dense_0"]["kernel"], 1).max() <= 1.5 * (1 + 1e-6)
    params = trajectory(optax.chain(optax.scale(-1.0), unit_norm()), start(), steps=50, size=size)
    np.testing.assert_allclose(norms(params["Dense_0"]["kernel"][1:], 1), 1, atol=1e-6)


@pytest.mark.parametrize("size", [1.0, 1e3, 1e6, 1e12, 1e30])
def test_max_norm_holds_at_once_even_from_parameters_far_too_large(size):
    """p + u has no value near a point 1e-8 p; the nearest one towards zero is taken, and may be zero."""
    params = {"kernel": size * jax.random.normal(jax.random.key(0), (20, 50))}
    tx = max_norm(2.0)
    updates, _ = tx.update({"kernel": jnp.zeros((20, 50))}, tx.init(params), params)
    landed = norms(optax.apply_updates(params, updates)["kernel"], 0)
    assert landed.max() <= 2 * (1 + 1e-6)
    spacing = np.sqrt(20) * np.spacing(np.float32(5 * size))
    assert landed.min() >= min(norms(params["kernel"], 0).min(), 2 * (1 - 1e-6) - spacing)


def test_unit_norm_from_far_off_takes_a_second_update():
    params, tx, worst = {"kernel": 1e4 * jax.random.normal(jax.random.key(0), (20, 50))}, unit_norm(), []
    for _ in range(2):
        updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
        params = optax.apply_updates(params, updates)
        worst.append(np.abs(norms(params["kernel"], 0) - 1).max())
    assert 1e-5 < worst[0] < 1e-2
    assert worst[1] < 1e-6


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e8, 1e30])
def test_projected_parameters_obey_however_far_off_they_were(size):
    kernel = size * DRAWS.randn(30, 40)
    params = {"kernel": jnp.asarray(kernel, jnp.float32), "bias": jnp.ones(40)}
    lengths = np.linalg.norm(kernel, axis=0, keepdims=True)
    np.testing.assert_allclose(project(params, unit_norm())["kernel"], kernel / lengths, rtol=1e-5, atol=1e-7)
    shortened = project(params, max_norm(2.0))["kernel"]
    np.testing.assert_allclose(shortened, kernel * np.minimum(1, 2 / lengths), rtol=1e-5, atol=1e-37)
    both = project(params, non_negative(), unit_norm())
    assert np.min(both["kernel"]) == 0
    np.testing.assert_allclose(norms(both["kernel"], 0), 1, atol=1e-6)
    np.testing.assert_array_equal(both["bias"], np.ones(40))


def test_bfloat16_parameters_stay_bfloat16_and_obey():
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), start())
    kernels = trajectory(optax.chain(optax.sgd(0.05), max_norm(1.5)), params)["Dense_0"]["kernel"]
    assert kernels.dtype == jnp.bfloat16
    lengths = norms(np.asarray(kernels).astype(np.float64), 1)
    assert lengths.max() <= 1.5 * (1 + 2**-8)
    assert lengths.max() > 1.5 * (1 - 2**-8)
    kernels = trajectory(optax.chain(optax.sgd(0.05), unit_norm()), project(params, unit_norm()))["Dense_0"]["kernel"]
    np.testing.assert_allclose(norms(np.asarray(kernels).astype(np.float64), 1), 1, atol=2**-7)


@pytest.mark.parametrize("dtypes", [(jnp.float32, jnp.bfloat16), (jnp.bfloat16, jnp.float32)])
def test_updates_of_another_dtype_than_their_parameters(dtypes):
    params = {"kernel": jnp.asarray(DRAWS.randn(9, 4), dtypes[0])}
    updates = {"kernel": jnp.ones((9, 4), dtypes[1])}
    for tx, length in ((max_norm(0.5), 0.5), (unit_norm(), 1.0)):
        new = optax.apply_updates(params, tx.update(updates, tx.init(params), params)[0])["kernel"]
        assert new.dtype == dtypes[0]
        tolerance = 1e-6 if dtypes[0] == jnp.float32 else 2**-7
        np.testing.assert_allclose(norms(np.asarray(new).astype(np.float64), 0), length, rtol=tolerance)


# Zero, NaN, infinity


def test_a_unit_without_weights_has_no_direction_and_stays_zero():
    params = {"kernel": jnp.array([[0.0, 3.0], [0.0, 4.0]])}
    with jax.debug_nans(True):
        new = project(params, unit_norm(), max_norm(2.0))["kernel"]
    np.testing.assert_allclose(new, [[0.0, 0.6], [0.0, 0.8]], rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("tx", [max_norm(2.0), unit_norm(), non_negative()], ids=["max_norm", "unit_norm", "positive"])
def test_what_is_not_finite_stays_visible_and_in_its_unit(tx, bad):
    params = {"kernel": jnp.ones((3, 2))}
    updates = {"kernel": jnp.array([[bad, 5.0], [0.0, 5.0], [0.0, 5.0]])}
    new = optax.apply_updates(params, tx.update(updates, tx.init(params), params)[0])["kernel"]
    assert not np.isfinite(new[0, 0])
    assert np.all(np.isfinite(new[:, 1]))


# In larger trees


def test_members_of_a_sweep_may_have_bounds_of_their_own():
    def after(bound):
        return trajectory(optax.chain(optax.sgd(0.5), max_norm(bound)), start(), steps=20)["Dense_0"]["kernel"][-1]

    kernels = jax.vmap(after)(jnp.array([0.5, 1.0]))
    assert norms(kernels[0], 0).max() <= 0.5 * (1 + 1e-6)
    np.testing.assert_allclose(kernels[1], after(1.0), rtol=1e-5, atol=1e-6)


def test_groups_of_parameters_with_constraints_of_their_own():
    labels = {"Dense_0": {"kernel": "long", "bias": "free"}, "Conv_0": {"kernel": "unit", "bias": "free"}}
    tx = optax.multi_transform(
        {
            "long": optax.chain(optax.adam(0.1), max_norm(1.5)),
            "unit": optax.chain(optax.sgd(0.1), unit_norm()),
            "free": optax.sgd(0.1),
        },
        labels,
    )
    params = trajectory(tx, start(), steps=50)
    assert norms(params["Dense_0"]["kernel"], 1).max() <= 1.5 * (1 + 1e-6)
    np.testing.assert_allclose(norms(params["Conv_0"]["kernel"], (1, 2, 3)), 1, atol=1e-6)


def test_a_chain_inside_a_mask_and_one_that_steps_only_sometimes():
    tx = optax.chain(optax.masked(optax.chain(optax.adam(0.1), max_norm(1.5)), {"Dense_0": True, "Conv_0": False}))
    params = trajectory(optax.MultiSteps(tx, 2).gradient_transformation(), start(), steps=50)
    assert norms(params["Dense_0"]["kernel"][2:], 1).max() <= 1.5 * (1 + 1e-6)
    assert norms(params["Conv_0"]["kernel"], (1, 2, 3)).max() > 2


def test_a_network_trained_by_fit_obeys(digits_like):
    model, x = jaxdl.models.MLP((16, 10)), digits_like[0]
    tx = optax.chain(optax.adam(0.05), max_norm(0.8))
    step = training.make_train_step(training.supervised(model, jaxdl.losses.softmax_cross_entropy), tx)
    state = training.init_state(model, tx, x, key=jax.random.key(0))
    params = training.fit(step, state, digits_like, epochs=5, batch_size=10).state.params
    lengths = [norms(params[layer]["kernel"], 0) for layer in ("Dense_0", "Dense_1")]
    assert max(values.max() for values in lengths) <= 0.8 * (1 + 1e-6)
    assert max(values.max() for values in lengths) > 0.8 * (1 - 1e-6)


def test_optax_finds_the_parts_of_the_state_that_are_shaped_as_parameters():
    tx, params = optax.chain(optax.adam(0.1), max_norm(1.0), non_negative()), start()
    doubled = optax.tree_utils.tree_map_params(tx, lambda leaf: leaf + 1, tx.init(params))
    assert float(doubled[0][0].mu["Dense_0"]["bias"][0]) == 1.0


# Errors


def test_bounds_that_are_none():
    for bad in (0.0, -1.0, np.nan, "3", True):
        with pytest.raises(ValueError, match=r"max_value: expected one finite number > 0; got .* It bounds a norm"):
            max_norm(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("tx", [max_norm(2.0), unit_norm()], ids=["max_norm", "unit_norm"])
def test_an_update_without_parameters(tx):
    params = {"kernel": jnp.ones((3, 2))}
    with pytest.raises(
        ValueError, match=r"params: expected the parameters.*got None\. Call tx\.update\(updates, state, p"
    ):
        tx.update(params, tx.init(params))


def test_an_update_without_parameters_of_the_one_from_optax():
    params = {"kernel": jnp.ones((3, 2))}
    with pytest.raises(ValueError, match="not passing `params`"):
        non_negative().update(params, non_negative().init(params))


def test_leaves_without_the_axes_asked_for():
    params = {"a": {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}}
    with pytest.raises(ValueError, match=r"axis: expected to be given for 'a/bias', which has shape \(2,\)"):
        project(params, max_norm(1.0, where="**/bias"))
    np.testing.assert_allclose(project(params, unit_norm(axis=0, where="**/bias"))["a"]["bias"], np.sqrt([0.5, 0.5]))
    for axis in (2, -3, (0, -2), (0, 5)):
        with pytest.raises(
            ValueError, match=r"axis: expected distinct axes of 'a/kernel', which has shape \(3, 2\); g"
        ):
            project(params, unit_norm(axis=axis))


def test_constraints_that_choose_nothing_say_so_when_the_chain_starts():
    for tx in (max_norm(1.0), unit_norm(), non_negative()):
        with pytest.raises(ValueError, match=r"matches no leaf\. The paths are: bias"):
            tx.init({"bias": jnp.ones(2)})


@pytest.mark.parametrize("axis", [[0], 0.0, "0", (0, None), True])
def test_axes_that_are_none(axis):
    message = r"axis: expected None, an integer or a tuple of integers; got .* for Dense"
    with pytest.raises(TypeError, match=message):
        unit_norm(axis=axis)
    with pytest.raises(TypeError, match=message):
        max_norm(1.0, axis=axis)


def test_projecting_onto_nothing():
    with pytest.raises(ValueError, match="constraints: expected at least one; got none"):
        project({"kernel": jnp.ones((2, 2))})
    with pytest.raises(TypeError, match=r"tx: expected an optax\.GradientTransformation; got float"):
        project({"kernel": jnp.ones((2, 2))}, 3.0)  # type: ignore[arg-type]


def test_public_names_are_sorted_and_documented():
    assert sorted(optimizers.__all__) == optimizers.__all__
    assert all(getattr(optimizers, name).__doc__ for name in optimizers.__all__)
