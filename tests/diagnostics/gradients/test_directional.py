import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.diagnostics.gradients.directional import inner_products, polar, sum_of_gradients
from tests.reference import example_gradients as reference


@jax.custom_vjp
def backward_only(x):
    return jnp.tanh(x)


backward_only.defvjp(lambda x: (jnp.tanh(x), x), lambda x, ct: (ct * (1 - jnp.tanh(x) ** 2),))


def directed(params):
    return jax.tree.map(lambda leaf: jnp.cos(jnp.arange(leaf.size, dtype=jnp.float32)).reshape(leaf.shape), params)


def test_inner_products_with_every_gradient(small_net):
    losses, params, batch = small_net
    v = directed(params)
    flat_v = np.concatenate([np.ravel(v["hidden"]["w"]), np.ravel(v["out"]["v"])])
    expected = reference.flat(reference.gradients(params, batch)) @ flat_v
    np.testing.assert_allclose(inner_products(losses, params, batch, v), expected, rtol=1e-4, atol=1e-5)


def test_a_function_with_a_reverse_rule_alone(small_net):
    _, params, batch = small_net

    def losses(params, batch):
        return 0.5 * jnp.square(backward_only(batch[0] @ params["hidden"]["w"]) @ params["out"]["v"] - batch[1])

    v = directed(params)
    flat_v = np.concatenate([np.ravel(v["hidden"]["w"]), np.ravel(v["out"]["v"])])
    expected = reference.flat(reference.gradients(params, batch)) @ flat_v
    found = jax.jit(lambda p: inner_products(losses, p, batch, v))(params)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_other_errors_are_not_hidden(small_net):
    _, params, batch = small_net

    def broken(params, batch):
        raise TypeError("something else")

    with pytest.raises(TypeError, match="something else"):
        inner_products(broken, params, batch, params)


def test_the_sum_of_gradients_of_half_precision_is_wide(small_net):
    losses, params, batch = small_net
    expected = reference.gradients(params, batch)["out"]["v"].sum(0)
    np.testing.assert_allclose(sum_of_gradients(losses, params, batch)["out"]["v"], expected, rtol=1e-4, atol=1e-5)
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    assert sum_of_gradients(losses, half, batch)["out"]["v"].dtype == jnp.float32


def test_losses_of_another_shape_are_refused(small_net):
    _, params, batch = small_net
    with pytest.raises(ValueError, match=r"losses: expected one value per example"):
        sum_of_gradients(lambda p, b: b[0] @ p["hidden"]["w"], params, batch)


def test_polar_of_small_large_and_no_vectors():
    for size in (1e-30, 1.0, 1e30):
        length, direction = polar({"a": jnp.full(2, 3 * size), "b": jnp.array([4.0, 0.0]) * jnp.sqrt(2.0) * size})
        assert float(length) == pytest.approx(50**0.5 * size, rel=1e-6)
        np.testing.assert_allclose(direction["a"], 3 / 50**0.5, rtol=1e-6)
    length, direction = polar({"a": jnp.zeros(2)})
    assert float(length) == 0.0
    np.testing.assert_array_equal(direction["a"], 0)
