import jax.numpy as jnp
import numpy as np
import pytest


def losses(params, batch):
    x, y = batch
    return 0.5 * jnp.square(jnp.tanh(x @ params["hidden"]["w"]) @ params["out"]["v"] - y)


@pytest.fixture
def small_net():
    """`(losses_fn, params, batch)` of 4 - 3 - 1 units and 11 examples."""
    draws = np.random.RandomState(0)
    params = {
        "hidden": {"w": jnp.asarray(draws.randn(4, 3), jnp.float32)},
        "out": {"v": jnp.asarray(draws.randn(3), jnp.float32)},
    }
    return losses, params, (draws.randn(11, 4).astype(np.float32), draws.randn(11).astype(np.float32))
