"""Products against dense matrices, for every way of cutting the data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.flatten_util import ravel_pytree

import jaxdl
from experiments.building_blocks.propagation import double_precision
from jaxdl.diagnostics import gauss_newton_vector_product, hessian_vector_product

from .networks import DRAWS, LABELS, TARGETS, X, dense_hessian, every_network

NETWORKS = every_network()


def vector_like(params):
    return jax.tree.map(lambda leaf: DRAWS.randn(*np.shape(leaf)).astype(np.float32), params)


def as_row(tree):
    return np.asarray(ravel_pytree(tree)[0], np.float64)


CUTS = [(name, 7) for name in NETWORKS] + [("recurrence", size) for size in (None, 1, 22, 23, 100)]


@pytest.mark.parametrize(("name", "batch_size"), CUTS)
def test_the_product_is_that_of_the_dense_hessian_however_the_data_are_cut(name, batch_size):
    network = NETWORKS[name]
    vector = vector_like(network.params)
    found = hessian_vector_product(network.losses, network.params, network.data, vector, batch_size=batch_size)
    assert jax.tree.structure(found) == jax.tree.structure(network.params)
    expected = dense_hessian(name) @ as_row(vector)
    np.testing.assert_allclose(as_row(found), expected, atol=2e-6 * np.abs(expected).max())


def test_in_double_precision_the_cut_is_lost_in_the_last_digits():
    with double_precision():
        network = NETWORKS["recurrence"]
        params, vector = (jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), t) for t in
                          (network.params, vector_like(network.params)))  # fmt: skip
        data = (jnp.asarray(X, jnp.float64), jnp.asarray(TARGETS, jnp.float64))
        whole = as_row(hessian_vector_product(network.losses, params, data, vector))
        expected = network._replace(params=params, data=data).dense() @ as_row(vector)
        np.testing.assert_allclose(whole, expected, atol=1e-13)
        for batch_size in (1, 4):
            found = hessian_vector_product(network.losses, params, data, vector, batch_size=batch_size)
            np.testing.assert_allclose(as_row(found), whole, atol=1e-14)


def test_the_same_call_gives_the_same_bytes(same_bytes):
    network = NETWORKS["recurrence"]
    vector = vector_like(network.params)
    first, second = (
        hessian_vector_product(network.losses, network.params, network.data, vector, batch_size=5) for _ in range(2)
    )
    same_bytes(first, second)


def test_many_batches_are_one_loop_and_one_batch_in_memory():
    """In the program there is the loss of one batch and of the rest; the loop holds no more than one batch's values."""
    rows = []

    def losses(w, x):
        rows.append(len(x))
        return jnp.tanh(x @ w)

    hessian_vector_product(losses, jnp.ones(5), X, jnp.ones(5), batch_size=4)
    assert set(rows) == {4, 3}


def gauss_newton_matrix(network, outputs_fn, loss_fn):
    """The mean over the examples of J^T H J, example by example."""
    flat, unravel = ravel_pytree(network.params)

    def of_one(example):
        one = jax.tree.map(lambda leaf: leaf[None], example)
        back = ravel_pytree(outputs_fn(network.params, one))[1]
        outputs_at = lambda v: ravel_pytree(outputs_fn(unravel(v), one))[0]  # noqa: E731
        curved = jax.hessian(lambda z: loss_fn(back(z), one)[0])(outputs_at(flat))
        return jax.jacobian(outputs_at)(flat), curved

    jacobians, curved = (np.asarray(a, np.float64) for a in jax.jit(jax.vmap(of_one))(network.data))
    return np.einsum("nzp,nzy,nyq->pq", jacobians, curved, jacobians) / len(X)


def test_the_gauss_newton_product_is_that_of_the_dense_formula():
    model = jaxdl.models.MLP((4, 3), activation=jnp.tanh)
    outputs_fn = lambda p, batch: {"logits": model.apply({"params": p}, batch[0])}  # noqa: E731
    loss_fn = lambda z, batch: jaxdl.losses.softmax_cross_entropy(z["logits"], batch[1])  # noqa: E731
    params = model.init(jax.random.key(3), X)["params"]
    network = NETWORKS["softmax"]._replace(params=params)
    vector = vector_like(params)
    found = gauss_newton_vector_product(outputs_fn, loss_fn, params, network.data, vector, batch_size=7)
    matrix = gauss_newton_matrix(network, outputs_fn, loss_fn)
    expected = matrix @ as_row(vector)
    np.testing.assert_allclose(as_row(found), expected, atol=2e-6 * np.abs(expected).max())
    assert as_row(vector) @ as_row(found) > 0
    hessian = hessian_vector_product(lambda p, b: loss_fn(outputs_fn(p, b), b), params, network.data, vector)
    assert np.abs(as_row(hessian) - expected).max() > 1e-2, "the model is curved, so the two must differ"


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "squared_error"])
def test_of_a_linear_model_both_are_the_same(loss):
    y = LABELS if loss == "softmax_cross_entropy" else np.eye(3, dtype=np.float32)[LABELS]
    outputs_fn = lambda p, batch: batch[0] @ p["w"] + p["b"][None]  # noqa: E731
    loss_fn = lambda z, batch: getattr(jaxdl.losses, loss)(z, batch[1])  # noqa: E731
    params = {"w": DRAWS.randn(5, 3).astype(np.float32), "b": DRAWS.randn(3).astype(np.float32)}
    vector = vector_like(params)
    ours = gauss_newton_vector_product(outputs_fn, loss_fn, params, (X, y), vector, batch_size=10)
    theirs = hessian_vector_product(lambda p, b: loss_fn(outputs_fn(p, b), b), params, (X, y), vector)
    np.testing.assert_allclose(as_row(ours), as_row(theirs), atol=1e-6)


class Normalized(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.BatchNorm(use_running_average=not train)(nn.Dense(4)(x))
        return nn.Dense(3)(nn.Dropout(0.5, deterministic=not train)(nn.tanh(x)))


def test_batch_statistics_are_left_out_unless_asked_for():
    objective = jaxdl.training.supervised(Normalized(), jaxdl.losses.softmax_cross_entropy)
    variables = dict(Normalized().init(jax.random.key(0), X, train=False))
    params = variables.pop("params")
    vector = vector_like(params)

    def product(**options):
        return as_row(hessian_vector_product(objective, params, (X, LABELS), vector, model_state=variables, **options))

    np.testing.assert_allclose(product(batch_size=7), product(), atol=1e-5)
    assert np.abs(product(batch_size=7, train=True) - product(train=True)).max() > 1e-3
    keys = [jax.random.key(i) for i in (1, 1, 2)]
    first, again, other = (product(train=True, key=key, batch_size=7) for key in keys)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


def test_every_batch_has_a_key_of_its_own():
    """With one key for all, two copies of the data in two batches would give what three in three do."""

    def losses(params, batch, *, model_state, key, train):
        return jax.random.normal(key, (len(batch),)) * params**2, None

    def product(copies):
        return hessian_vector_product(
            losses, jnp.float32(1), np.tile(X, (copies, 1)), jnp.float32(1), batch_size=len(X)
        )

    draws = [2 * jax.random.normal(jax.random.fold_in(jax.random.key(0), i), (len(X),)).mean() for i in range(3)]
    np.testing.assert_allclose([product(2), product(3)], [np.mean(draws[:2]), np.mean(draws)], rtol=1e-5)


def test_a_state_brings_parameters_and_statistics_along():
    objective = jaxdl.training.supervised(Normalized(), jaxdl.losses.softmax_cross_entropy)
    state = jaxdl.training.init_state(Normalized(), jaxdl.optimizers.momentum(0.1), X, key=jax.random.key(0))
    vector = vector_like(state.params)
    whole = hessian_vector_product(objective, state, (X, LABELS), vector)
    parts = hessian_vector_product(objective, state.params, (X, LABELS), vector, model_state=state.model_state)
    np.testing.assert_array_equal(as_row(whole), as_row(parts))


def test_parameters_in_half_precision_are_computed_with_in_single():
    network = NETWORKS["softmax"]
    half = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), network.params)
    rounded = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), half)
    vector = vector_like(half)
    found = hessian_vector_product(network.losses, half, network.data, vector)
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype(jnp.float32)}
    expected = network._replace(params=rounded).dense() @ as_row(vector)
    np.testing.assert_allclose(as_row(found), expected, atol=2e-6 * np.abs(expected).max())
    low = hessian_vector_product(
        network.losses, half, network.data, jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), vector)
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(low)} == {jnp.dtype(jnp.bfloat16)}


def test_under_vmap_and_jit_over_points():
    points = jnp.asarray(DRAWS.randn(3, 5), jnp.float32)
    losses = lambda w, x: jnp.sin(x @ w)  # noqa: E731
    product = jax.jit(jax.vmap(lambda w: hessian_vector_product(losses, w, X, jnp.ones(5), batch_size=10)))
    curvature = -np.sin(X @ np.asarray(points).T)
    expected = [(X.T * curvature[:, i]) @ X.sum(1) / len(X) for i in range(3)]
    np.testing.assert_allclose(product(points), expected, atol=1e-5)


def test_errors():
    losses, w = (lambda w, x: jnp.tanh(x @ w)), jnp.ones(5)
    with pytest.raises(ValueError, match=r"vector: expected a pytree like params; they differ at \(root\): got \(4,\)"):
        hessian_vector_product(losses, w, X, jnp.ones(4))
    with pytest.raises(ValueError, match=r"they differ at b: got nothing, params have \(5,\)"):
        hessian_vector_product(lambda p, x: x @ p["b"], {"b": w}, X, {})
    with pytest.raises(ValueError, match=r"they differ at \(root\): got tuple, params have list\. Make it"):
        hessian_vector_product(lambda p, x: x @ p[0], [w], X, (w,))
    with pytest.raises(ValueError, match=r"params: expected arrays of floating-point numbers.*got n of int32\. Leave"):
        hessian_vector_product(lambda p, x: x @ p["w"], {"w": w, "n": jnp.arange(2)}, X, {"w": w, "n": jnp.arange(2)})
    with pytest.raises(ValueError, match=r"params: expected arrays of floating-point.*got no entry at all"):
        hessian_vector_product(lambda p, x: x.sum(-1), {}, X, {})
    with pytest.raises(ValueError, match=r"vector: expected arrays of floating-point numbers.*\(root\) of int32"):
        hessian_vector_product(losses, w, X, jnp.arange(5))
    with pytest.raises(ValueError, match=r"losses: expected one value per example, shape \(4,\); got shape \(20,\)"):
        hessian_vector_product(lambda w, x: (x * w[None]).ravel(), w, X, w, batch_size=4)
    with pytest.raises(ValueError, match=r"losses: expected one value per example, shape \(batch,\); got shape \(\)"):
        hessian_vector_product(lambda w, x: (x @ w).sum(), w, X, w)
    with pytest.raises(ValueError, match=r"batch_size: expected a whole number >= 1; got 0\. None takes all"):
        hessian_vector_product(losses, w, X, w, batch_size=0)
    with pytest.raises(ValueError, match="data: expected arrays that share one leading example axis"):
        hessian_vector_product(lambda w, b: b[0] @ w, w, (X, TARGETS[:3]), w, batch_size=4)
    with pytest.raises(TypeError, match=r"loss_fn: expected a function; got int\. It maps \(outputs, batch\)"):
        gauss_newton_vector_product(losses, 3, w, X, w)  # type: ignore[arg-type]
    unhashable = type("Outputs", (), {"__call__": lambda self, p, x: x, "__eq__": lambda a, b: True})()
    with pytest.raises(TypeError, match="outputs_fn: expected something hashable, since compiled programs"):
        gauss_newton_vector_product(unhashable, losses, w, X, w)
