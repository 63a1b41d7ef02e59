"""The walk over a traced program: order of first use, and the kind of each use."""

import jax
import jax.numpy as jnp
import pytest

from jaxdl.jaxprs import find_uses, trace


def uses_of(fn, params, *batch):
    jaxpr = trace(lambda params, batch: fn(params, *batch), params, batch)
    return find_uses(jaxpr, num_params=len(jax.tree.leaves(params)))


W, X = jnp.ones((3, 3)), jnp.ones((2, 3))


def test_forward_order_is_not_the_order_of_the_tree():
    uses = uses_of(lambda p, x: (x @ p["b"]) @ p["a"], {"a": W, "b": W}, X)
    assert [use.params for use in uses] == [{1}, {0}]


def test_arithmetic_among_parameters_waits_for_the_data():
    uses = uses_of(lambda p, x: x @ (p[0] * p[1].T), [W, W], X)
    assert [(use.primitive, use.params) for use in uses] == [("dot_general", {0, 1})]


def test_constants_are_no_data():
    uses = uses_of(lambda p, x: (jnp.ones((2, 3)) @ p + x) @ jnp.ones((3, 1)), W, X)
    assert [use.primitive for use in uses] == ["add"]


@pytest.mark.parametrize(
    ("fn", "axes", "shape"),
    [
        (lambda p, x: jnp.einsum("bi,ij->bj", x, p), (1,), (3,)),
        (lambda p, x: jnp.einsum("ij,bi->jb", p, x), None, (3,)),
        (lambda p, x: jnp.take(p, x.astype(int), axis=0), (2,), (3,)),
        (lambda p, x: x[:, None] * p[None], None, ()),
    ],
)
def test_feature_axes(fn, axes, shape):
    (use,) = [use for use in uses_of(fn, W, X) if use.primitive not in ("lt", "select_n")]
    assert use.feature_shape == shape
    if axes is not None:
        assert use.feature_axes == axes


def test_a_bias_is_additive_and_a_kernel_is_not():
    uses = uses_of(lambda p, x: x @ p["w"] + p["b"][None], {"b": jnp.ones(3), "w": W}, X)
    assert [(use.params, use.additive) for use in uses] == [({1}, False), ({0}, True)]


def test_a_parameter_carried_by_a_loop_meets_data_in_a_later_turn():
    def fn(p, x):
        # In the first turn the carry is made of constants alone.
        return jax.lax.scan(lambda carry, row: (carry @ p + row, carry), jnp.zeros(3), x)[0]

    assert [use.primitive for use in uses_of(fn, W, X)] == ["dot_general"]


def test_the_same_program_gives_the_same_places():
    fn = lambda p, x: jax.jit(lambda w, x: jnp.tanh(x @ w))(p, jax.jit(lambda w, x: x @ w)(p, x))  # noqa: E731
    first, second = uses_of(fn, W, X), uses_of(fn, W, X)
    assert first == second
    assert len({use.where for use in first}) == 2
