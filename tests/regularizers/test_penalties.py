"""The four penalties against their formulas in NumPy, and their gradients at kinks and edges."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import jaxdl
from jaxdl import regularizers, training

DRAWS = np.random.RandomState(0)
PARAMS = {
    "Dense_0": {"kernel": DRAWS.randn(4, 3).astype(np.float32), "bias": DRAWS.randn(3).astype(np.float32)},
    "Conv_0": {"kernel": DRAWS.randn(3, 3, 2, 5).astype(np.float32), "bias": DRAWS.randn(5).astype(np.float32)},
    "norm": {"scale": DRAWS.randn(2, 3).astype(np.float32)},
    "PReLU_0": {"negative_slope": DRAWS.randn(2, 3).astype(np.float32)},
}
KERNELS = [PARAMS["Dense_0"]["kernel"].astype(np.float64), PARAMS["Conv_0"]["kernel"].astype(np.float64)]


def gram_error(kernel):
    matrix = kernel.reshape(-1, kernel.shape[-1])
    gram = matrix.T @ matrix if matrix.shape[1] <= matrix.shape[0] else matrix @ matrix.T
    return gram - np.eye(len(gram))


EXPECTED = {
    "l1": sum(np.abs(kernel).sum() for kernel in KERNELS),
    "l2": sum((kernel**2).sum() for kernel in KERNELS) / 2,
    "orthogonal": sum(np.abs(gram_error(kernel)).sum() for kernel in KERNELS),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_values_are_the_formulas_on_the_weights_alone(name):
    penalty = getattr(regularizers, name)(0.3)
    np.testing.assert_allclose(penalty(PARAMS), 0.3 * EXPECTED[name], rtol=1e-6)
    np.testing.assert_allclose(jax.jit(penalty)(PARAMS), 0.3 * EXPECTED[name], rtol=1e-6)


def test_gradients_of_l2_are_the_weights_times_the_strength():
    grads = jax.grad(regularizers.l2(0.25))(PARAMS)
    np.testing.assert_array_equal(grads["Conv_0"]["kernel"], 0.25 * PARAMS["Conv_0"]["kernel"])
    for path in (("Conv_0", "bias"), ("norm", "scale"), ("PReLU_0", "negative_slope")):
        assert not np.any(grads[path[0]][path[1]]), path


def test_the_subgradient_of_l1_is_zero_at_zero():
    grads = jax.grad(regularizers.l1(0.5))({"kernel": jnp.array([[-2.0, 0.0, 3.0]])})
    np.testing.assert_array_equal(grads["kernel"], [[-0.5, 0.0, 0.5]])


def test_an_orthogonal_kernel_is_left_alone():
    grads = jax.grad(regularizers.orthogonal(1.0))({"kernel": jnp.eye(4)[:, :3]})
    np.testing.assert_array_equal(grads["kernel"], np.zeros((4, 3)))


def test_where_chooses_other_leaves():
    biases = np.concatenate([PARAMS["Dense_0"]["bias"], PARAMS["Conv_0"]["bias"]])
    penalty = regularizers.l1(2.0, where="**/bias")
    np.testing.assert_allclose(penalty(PARAMS), 2 * np.abs(biases).sum(), rtol=1e-6)


def test_a_step_takes_a_penalty_and_a_sum_of_them():
    def objective(params, batch, *, model_state, key, train):
        return batch * 0.0 + 0.0 * params["kernel"].sum(), training.Aux(model_state, {})

    both = regularizers.add(regularizers.l1(0.5), regularizers.l2(0.25))
    step = training.make_train_step(objective, optax.sgd(1.0), regularizer=both)
    state = training.make_state({"kernel": jnp.array([[2.0, -4.0]])}, optax.sgd(1.0), key=jax.random.key(0))
    state, metrics = jax.jit(step)(state, jnp.ones(2))
    assert float(metrics["penalty"]) == 0.5 * 6 + 0.125 * 20
    np.testing.assert_array_equal(state.params["kernel"], [[2.0 - 0.5 - 0.5, -4.0 + 0.5 + 1.0]])


def test_a_traced_strength_gives_one_run_a_strength():
    penalties = jax.vmap(lambda strength: regularizers.l2(strength)(PARAMS))(jnp.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(penalties, np.array([0.0, 0.5, 1.0]) * EXPECTED["l2"], rtol=1e-6)


@pytest.mark.parametrize("penalty", [regularizers.l1(0.5), regularizers.l2(1e-3), regularizers.orthogonal(1.0)])
def test_bfloat16_weights_are_summed_in_float32_and_keep_their_gradients_dtype(penalty):
    params = {"kernel": jnp.full((100, 100), 0.1, jnp.bfloat16)}
    value, grads = jax.value_and_grad(penalty)(params)
    assert value.dtype == jnp.float32
    assert grads["kernel"].dtype == jnp.bfloat16
    exact = penalty({"kernel": np.asarray(params["kernel"]).astype(np.float32)})
    np.testing.assert_allclose(value, exact, rtol=1e-6)


def test_nothing_to_penalise_costs_nothing_and_nan_stays():
    assert float(regularizers.l2(1.0)({"kernel": jnp.zeros((0, 3))})) == 0.0
    assert np.isnan(regularizers.l1(1.0)({"kernel": jnp.array([[np.nan, 1.0]])}))


# R16 and S20


@pytest.mark.parametrize("norm", ["l1", "fro2"])
@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (2, 2, 3, 5), (1, 1, 2, 7)])
def test_the_orthogonal_penalty_vanishes_with_the_smaller_gram_matrix_and_could_not_with_the_larger(shape, norm):
    kernel = jax.nn.initializers.orthogonal()(jax.random.key(0), shape)
    penalty = regularizers.orthogonal(1.0, norm=norm)
    assert float(penalty({"kernel": kernel})) < 1e-5
    fan_in, out = int(np.prod(shape[:-1])), shape[-1]
    # W W^T of the slide is (out, out), its rank at most fan_in: out - fan_in eigenvalues 0 differ from those of I by 1.
    slide = np.asarray(kernel, np.float64).reshape(fan_in, out).T
    excess = slide @ slide.T - np.eye(out)
    assert np.square(excess).sum() == pytest.approx(max(0, out - fan_in), abs=1e-5)
    assert np.abs(excess).sum() > max(0, out - fan_in) - 1e-5


def test_the_gram_matrix_of_a_square_kernel_is_that_of_its_columns():
    """For [[2, 0], [1, 1]] K^T K - I is [[4, 1], [1, 0]]; K K^T - I would be [[3, 2], [2, 1]]."""
    assert float(regularizers.orthogonal(1.0)({"kernel": jnp.array([[2.0, 0.0], [1.0, 1.0]])})) == 6.0


def test_the_gram_matrix_is_asked_for_in_full_precision():
    program = str(jax.make_jaxpr(regularizers.orthogonal(1.0))({"kernel": jnp.eye(3)}))
    assert program.count("dot_general") == 1
    assert "HIGHEST" in program


def test_descent_on_the_squared_penalty_ends_at_orthonormal_rows():
    penalty = regularizers.orthogonal(1.0, norm="fro2")
    kernel = jnp.asarray(DRAWS.randn(3, 6).astype(np.float32)) * 0.3

    def descend(kernel, _):
        return kernel - 0.05 * jax.grad(penalty)({"kernel": kernel})["kernel"], None

    kernel = jax.lax.scan(descend, kernel, None, length=500)[0]
    np.testing.assert_allclose(np.linalg.svd(kernel)[1], np.ones(3), atol=1e-5)


def test_the_squared_orthogonal_penalty_has_its_textbook_gradient():
    kernel = DRAWS.randn(6, 3).astype(np.float32)
    grads = jax.grad(regularizers.orthogonal(0.5, norm="fro2"))({"kernel": kernel})["kernel"]
    np.testing.assert_allclose(grads, 0.5 * 4 * kernel @ gram_error(kernel), rtol=1e-4, atol=1e-4)


# R17


def kl(target, mean):
    return target * np.log(target / mean) + (1 - target) * np.log((1 - target) / (1 - mean))


def test_kl_sparsity_is_the_sum_over_units_of_every_layer():
    dense, conv = DRAWS.rand(7, 4).astype(np.float32), DRAWS.rand(7, 3, 3, 2).astype(np.float32)
    expected = kl(0.1, dense.astype(np.float64).mean(0)).sum() + kl(0.1, conv.astype(np.float64).mean((0, 1, 2))).sum()
    penalty = regularizers.kl_sparsity(0.5, target=0.1)
    np.testing.assert_allclose(penalty({"a": dense, "b": (conv,)}), 0.5 * expected, rtol=1e-5)
    chosen = regularizers.kl_sparsity(0.5, target=0.1, where="a")
    np.testing.assert_allclose(chosen({"a": dense, "b": conv}), 0.5 * kl(0.1, dense.mean(0)).sum(), rtol=1e-5)


def test_kl_sparsity_vanishes_at_its_target_alone():
    penalty = regularizers.kl_sparsity(1.0, target=0.25)
    value, slope = jax.value_and_grad(penalty)(jnp.full((4, 1), 0.25))
    assert float(value) == 0.0
    np.testing.assert_allclose(slope, 0.0, atol=1e-6)
    assert all(float(penalty(jnp.full((4, 1), mean))) > 0 for mean in (0.24, 0.26, 0.0, 1.0))


@pytest.mark.parametrize("mean", [0.0, 1e-30, 1.0, -0.3, 7.0, 1e6])
def test_kl_sparsity_and_its_slope_are_finite_everywhere_and_lead_back(mean):
    edge = float(np.clip(np.float32(mean), np.float32(1e-6), np.float32(1 - 1e-6)))
    value, slope = jax.value_and_grad(regularizers.kl_sparsity(1.0, target=0.05))(jnp.full((2, 1), mean))
    np.testing.assert_allclose(value, kl(0.05, edge), rtol=1e-4)
    np.testing.assert_allclose(slope, (-0.05 / edge + 0.95 / (1 - edge)) / 2, rtol=1e-4)


def test_targets_side_by_side_and_of_numpy():
    activations = jnp.full((4, 3), 0.4)
    of = lambda target: regularizers.kl_sparsity(1.0, target=target)(activations)  # noqa: E731
    targets = np.array([0.05, 0.4, 0.9], np.float32)
    expected = 3 * kl(targets.astype(np.float64), 0.4)
    np.testing.assert_allclose(jax.vmap(of)(targets), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose([of(target) for target in targets], expected, rtol=1e-5, atol=1e-6)


def test_a_nan_activation_is_seen():
    assert np.isnan(regularizers.kl_sparsity(1.0)(jnp.array([[np.nan], [0.5]])))


def test_an_objective_of_ten_lines_makes_a_sigmoid_autoencoder_sparse():
    class Autoencoder(nn.Module):
        @nn.compact
        def __call__(self, x):
            hidden = nn.sigmoid(nn.Dense(12)(x))
            self.sow("intermediates", "hidden", hidden)
            return nn.Dense(x.shape[-1])(hidden)

    module, x = Autoencoder(), DRAWS.rand(64, 8).astype(np.float32)
    sparsity = regularizers.kl_sparsity(1.0, target=0.05, where="hidden/*")

    def objective(params, batch, *, model_state, key, train):
        outputs, seen = module.apply({"params": params}, batch, mutable=["intermediates"])
        losses = jaxdl.losses.squared_error(outputs, batch)
        mean = seen["intermediates"]["hidden"][0].mean(-1)
        return losses + weight * sparsity(seen["intermediates"]), training.Aux(model_state, {"activation": mean})

    means = {}
    for weight in (0.0, 1.0):
        step = training.make_train_step(objective, optax.adam(0.02))
        state = training.init_state(module, step.tx, x, key=jax.random.key(0))
        run = jax.jit(lambda state, step=step: jax.lax.scan(lambda state, _: step(state, x), state, length=300)[1])
        means[weight] = run(state)["activation"]
    assert abs(means[1.0][0] - means[0.0][0]) < 1e-6
    assert means[1.0][-1] < 0.07 < 0.3 < means[0.0][-1]


# Errors


@pytest.mark.parametrize("strength", [-0.1, np.nan, np.inf, "0.1", None, True, np.ones(2), 1j])
@pytest.mark.parametrize(
    "factory", [regularizers.l1, regularizers.l2, regularizers.orthogonal, regularizers.kl_sparsity]
)
def test_a_strength_that_is_none(factory, strength):
    with pytest.raises(ValueError, match=r"strength: expected one finite number >= 0; got .* It multiplies"):
        factory(strength)


def test_a_traced_strength_must_be_a_scalar():
    with pytest.raises(ValueError, match=r"strength: expected one finite number >= 0; got shape \(2,\) of float32"):
        jax.jit(lambda strength: regularizers.l2(strength)(PARAMS))(jnp.ones(2))


@pytest.mark.parametrize("target", [0.0, 1.0, -0.1, True, "x", np.nan, np.ones(2) / 2])
def test_a_target_that_is_no_mean_activation(target):
    with pytest.raises(ValueError, match=r"target: expected one finite number > 0 and < 1; got .* a mean activation"):
        regularizers.kl_sparsity(1.0, target=target)


def test_what_cannot_be_penalised():
    with pytest.raises(ValueError, match=r"params: expected floating-point leaves; got int32 at 'kernel'"):
        regularizers.l2(1.0)({"kernel": jnp.ones((2, 2), jnp.int32)})
    with pytest.raises(ValueError, match=r"activations: expected floating-point leaves; got uint8 at 'hidden'"):
        regularizers.kl_sparsity(1.0)({"hidden": jnp.ones((2, 2), jnp.uint8)})
    with pytest.raises(ValueError, match=r"activations: expected shape \(\.\.\., units\); got a scalar"):
        regularizers.kl_sparsity(1.0)(jnp.ones(()))
    with pytest.raises(ValueError, match=r"params: expected kernels of two or more dimensions; got shape \(3,\)"):
        regularizers.orthogonal(1.0, where="**/bias")({"a": {"bias": jnp.ones(3)}})
    with pytest.raises(ValueError, match=r"norm: expected 'l1' or 'fro2'; got 'l2'"):
        regularizers.orthogonal(1.0, norm="l2")
    with pytest.raises(ValueError, match="matches no leaf"):
        regularizers.l2(1.0)({"bias": jnp.ones(3)})


def test_sums_of_nothing_or_of_something_else():
    with pytest.raises(ValueError, match="penalties: expected at least one; got none"):
        regularizers.add()
    with pytest.raises(TypeError, match="penalties: expected functions params -> scalar; got float"):
        regularizers.add(regularizers.l2(0.1), 0.1)


def test_public_names_are_sorted_and_documented():
    assert sorted(regularizers.__all__) == regularizers.__all__
    assert all(getattr(regularizers, name).__doc__ for name in regularizers.__all__)
