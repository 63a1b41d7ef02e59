"""Programs run again with the outputs of uses shifted or read, against the same arithmetic written in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.jaxprs import Edit, evaluate_edited, find_uses, readings, trace, vector_shape

X = jax.random.normal(jax.random.key(0), (2, 3))
W = jax.random.normal(jax.random.key(1), (4, 3, 3))
SHIFT = np.arange(3.0, dtype=np.float32)


def prepared(fn, params):
    jaxpr = trace(fn, params, X)
    return jaxpr, find_uses(jaxpr, num_params=len(jax.tree.leaves(params)))


def shifted(output, vector, use):
    return output + jnp.reshape(vector, (1,) * (output.ndim - vector.ndim) + vector.shape)


def sums(output, vector, use):
    return vector + output.sum(0)


def stacked(params, x):
    return jax.lax.scan(lambda h, w: (h @ w, h), x, params)[0]


def looped(params, x):
    return jax.lax.scan(lambda h, _: (h @ params, None), x, None, length=3)[0]


def test_every_turn_of_a_stack_has_its_own_vector():
    jaxpr, (use,) = prepared(stacked, W)
    assert vector_shape(jaxpr, use, (3,)) == (4, 3)
    vectors = np.arange(12.0, dtype=np.float32).reshape(4, 3)
    h, before = np.asarray(X), []
    for kernel, vector in zip(np.asarray(W), vectors, strict=True):
        before.append((np.asarray(X) if not before else before[-1]) @ kernel)
        h = h @ kernel + vector
    edits = [Edit(use, jnp.asarray(vectors))]
    np.testing.assert_allclose(evaluate_edited(jaxpr, [W, X], edits, shifted)[0], h, rtol=1e-5)
    expected = vectors + np.sum(before, 1)
    np.testing.assert_allclose(readings(jaxpr, [W, X], edits, sums)[0], expected, rtol=1e-5, atol=1e-5)


def test_turns_that_share_a_vector_are_summed():
    jaxpr, (use,) = prepared(looped, W[0])
    assert vector_shape(jaxpr, use, (3,)) == (3,)
    h, total = np.asarray(X), 0
    for _ in range(3):
        h = h @ np.asarray(W[0])
        total = total + SHIFT + h.sum(0)
    (read,) = readings(jaxpr, [W[0], X], [Edit(use, jnp.asarray(SHIFT))], sums)
    np.testing.assert_allclose(read, total, rtol=1e-5)


def test_readings_of_branches_calls_and_several_edits_keep_their_order():
    def fn(params, x):
        u, v, w = params
        x = jax.checkpoint(lambda x: jax.jit(lambda x: x @ u)(x))(x)
        return jax.lax.cond(x[0, 0] > 0, lambda: x @ v, lambda: x @ w)

    params = [W[0], W[1], W[2]]
    jaxpr, uses = prepared(fn, params)
    edits = [Edit(use, jnp.asarray(SHIFT)) for use in reversed(uses)]
    for sign in (1.0, -1.0):
        x = sign * jnp.sign((X @ W[0])[0, 0]) * X
        read = dict(
            zip((use.params for use in reversed(uses)), readings(jaxpr, [*params, x], edits, sums), strict=True)
        )
        hidden = np.asarray(x) @ np.asarray(W[0])
        taken, other = (1, 2) if hidden[0, 0] > 0 else (2, 1)
        np.testing.assert_allclose(read[frozenset({0})], SHIFT + hidden.sum(0), rtol=1e-5)
        expected = SHIFT + (hidden @ np.asarray(W[taken])).sum(0)
        np.testing.assert_allclose(read[frozenset({taken})], expected, rtol=1e-5)
        np.testing.assert_array_equal(read[frozenset({other})], 0)


def test_under_jit_and_vmap():
    jaxpr, (use,) = prepared(stacked, W)
    one = lambda x: readings(jaxpr, [W, x], [Edit(use, jnp.zeros((4, 3)))], sums)[0]  # noqa: E731
    many = jax.jit(jax.vmap(one))(jnp.stack([X, 2 * X]))
    np.testing.assert_allclose(many[1], 2 * one(X), rtol=1e-5)
