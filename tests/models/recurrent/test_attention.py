import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import models
from tests.reference import recurrent as reference

LENGTHS = np.array([5, 2, 1])
MASK = np.arange(5)[None, :] < LENGTHS[:, None]


@pytest.fixture
def inputs():
    draws = np.random.RandomState(0)
    return draws.randn(3, 4).astype(np.float32), draws.randn(3, 5, 4).astype(np.float32)


def exact(variables):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables.get("params", {}))


ATTENTIONS = {
    "additive": models.AdditiveAttention(6),
    "dot": models.LuongAttention(),
    "general": models.LuongAttention("general"),
}


@pytest.mark.parametrize("name", ATTENTIONS)
def test_context_and_weights_against_the_transcription(name, inputs):
    query, memory = inputs
    attention = ATTENTIONS[name]
    variables = attention.init(jax.random.key(0), query, memory, MASK)
    context, weights = attention.apply(variables, query, memory, MASK)
    params = exact(variables)
    for i, length in enumerate(LENGTHS):
        q, m = query[i].astype(np.float64), memory[i, :length].astype(np.float64)
        if name == "additive":
            expected = reference.additive_attention(params, q, m)
        else:
            kernel = params["general"]["kernel"].T if name == "general" else None
            expected = reference.dot_attention(q, m, kernel)
        np.testing.assert_allclose(context[i], expected[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(weights[i, :length], expected[1], rtol=1e-4)
        np.testing.assert_array_equal(weights[i, length:], 0)


@pytest.mark.parametrize("name", ATTENTIONS)
def test_an_empty_memory_gives_nothing(name, inputs):
    query, memory = inputs
    attention = ATTENTIONS[name]
    variables = attention.init(jax.random.key(0), query, memory)
    nothing = np.zeros((3, 5), bool)

    def total(query):
        context, weights = attention.apply(variables, query, memory, nothing)
        return jnp.sum(context) + jnp.sum(weights)

    value, grad = jax.value_and_grad(total)(query)
    assert value == 0
    np.testing.assert_array_equal(grad, 0)


def test_large_scores_stay_finite_in_bfloat16(inputs):
    query, memory = (jnp.asarray(array * 100, jnp.bfloat16) for array in inputs)
    context, weights = models.LuongAttention().apply({}, query, memory, MASK)
    assert (context.dtype, weights.dtype) == (jnp.bfloat16, jnp.float32)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)


def test_what_is_refused(inputs):
    query, memory = inputs
    with pytest.raises(ValueError, match=r"score: expected one of 'dot', 'general'; got 'cosine'. 'dot' has no param"):
        models.LuongAttention("cosine").init(jax.random.key(0), query, memory)
    with pytest.raises(ValueError, match=r"score: expected a memory as wide as the query for 'dot'; got 4 and 3. Use"):
        models.LuongAttention().init(jax.random.key(0), query[:, :3], memory)
    with pytest.raises(ValueError, match=r"units: expected a whole number >= 1; got 0. Take as many as the decoder"):
        models.AdditiveAttention(0).init(jax.random.key(0), query, memory)
