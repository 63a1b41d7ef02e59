import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.optimizers import clip_each_layer, coupled_l2, decoupled_decay, max_norm, proximal_l1


def is_narrow(path, leaf):
    return leaf.dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("tx", "narrow"),
    [
        (clip_each_layer(1.0, where=is_narrow), 0.5),
        (coupled_l2(0.5, where=is_narrow), 1.5),
        (decoupled_decay(1.0, learning_rate=0.5, where=is_narrow), 0.5),
        (proximal_l1(1.0, learning_rate=0.25, where=is_narrow), 0.75),
        (max_norm(1.0, where=is_narrow), -0.5),
    ],
    ids=["clipped", "coupled", "decoupled", "proximal", "bounded"],
)
def test_predicates_see_the_parameters_and_not_what_is_made_of_them(tx, narrow):
    """Two layers of norm 2, gradients of norm 2 each in the other's dtype."""
    params = {"a": {"kernel": jnp.ones((4, 1), jnp.bfloat16)}, "b": {"kernel": jnp.ones((4, 1), jnp.float32)}}
    grads = {"a": {"kernel": jnp.full((4, 1), 1.0)}, "b": {"kernel": jnp.full((4, 1), 1.0, jnp.bfloat16)}}
    updates, _ = tx.update(grads, tx.init(params), params)
    np.testing.assert_array_equal(updates["a"]["kernel"], np.full((4, 1), narrow, np.float32))
    assert updates["b"]["kernel"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(jnp.float32(updates["b"]["kernel"]), np.full((4, 1), 1, np.float32))
