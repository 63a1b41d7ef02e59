"""Per-example gradients the plain way: `vmap(grad)` of batches of one, and how far ours are from it."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.diagnostics import per_example_gradients, per_layer_gradient_norms
from jaxdl.tree import leaf_paths
from tests.optimizers.descent import float64

BOUNDS = {"float32": 1e-5, "float64": 1e-10}


def precision(dtype: str) -> contextlib.AbstractContextManager:
    """float32 as usual, or float64."""
    return contextlib.nullcontext() if dtype == "float32" else float64()


def as_dtype(tree, dtype):
    cast = lambda leaf: leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf  # noqa: E731
    return jax.tree.map(lambda leaf: cast(jnp.asarray(leaf)), tree)


def vmap_of_grad(losses_fn, params, batch):
    """Gradients `(B, ...)` from losses of one example at a time."""

    def loss(params, example):
        return losses_fn(params, jax.tree.map(lambda leaf: leaf[None], example))[0]

    return jax.jit(jax.vmap(jax.grad(loss), (None, 0)))(params, batch)


def assert_exact(losses_fn, params, batch, *, dtype="float32", gradients=False, methods=None):
    """Norms of every parameter and example, relative to the example's whole gradient, against `vmap(grad)`."""
    with precision(dtype):
        params, batch = as_dtype(params, dtype), as_dtype(batch, dtype)
        expected = leaf_paths(vmap_of_grad(losses_fn, params, batch))
        squares = {
            path: np.sum(np.square(np.asarray(g, np.float64)).reshape(len(g), -1), 1) for path, g in expected.items()
        }
        whole = np.sqrt(sum(squares.values()))
        assert np.all(whole > 0)
        found = per_layer_gradient_norms(losses_fn, params, batch)
        assert found.total.dtype == dtype
        np.testing.assert_allclose(found.total, whole, rtol=BOUNDS[dtype])
        for path, norms in found.leaves.items():
            far = np.max(np.abs(norms - np.sqrt(squares[path])) / whole)
            assert far <= BOUNDS[dtype], (path, dict(found.methods)[path], far)
        if gradients:
            for path, ours in leaf_paths(per_example_gradients(losses_fn, params, batch)).items():
                scale = np.reshape(whole, (-1, *(1 for _ in ours.shape[1:])))
                far = np.max(np.abs(ours - expected[path]) / scale)
                assert far <= BOUNDS[dtype], (path, far)
        if methods is not None:
            assert {path: method.name for path, method in found.methods} == methods
        return {path: method.name for path, method in found.methods}
