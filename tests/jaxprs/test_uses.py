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
        (lambda p, x: p.T @ x.T, (0,), (3,)),
        (lambda p, x: jnp.take(p, x.astype(int), axis=0), (2,), (3,)),
        (lambda p, x: x[:, None] * p[None], None, ()),
    ],
)
def test_feature_axes(fn, axes, shape):
    (use,) = [use for use in uses_of(fn, W, X) if use.primitive not in ("lt", "select_n")]
    assert (use.feature_axes, use.feature_shape) == (axes, shape)


@pytest.mark.parametrize(
    ("fn", "summed", "batch"),
    [
        (lambda p, x: jnp.einsum("bi,eij->bej", x, p), (1,), ()),
        (lambda p, x: jnp.einsum("ebi,eij->ebj", jnp.stack([x, x]), p), (1,), (0,)),
        (lambda p, x: jnp.einsum("bi,eji->bej", x, jax.lax.stop_gradient(p)), (2,), ()),
        (lambda p, x: jnp.einsum("bi,jei->bej", x, jnp.transpose(p, (1, 0, 2))), (2,), ()),
        (lambda p, x: jnp.einsum("bi,eij->bej", x, p[:, ::-1]), None, ()),
        (lambda p, x: x @ jnp.concatenate([p[0], p[1]], 1), None, ()),
        (lambda p, x: p * x[:, :, None], None, ()),
    ],
    ids=["heads", "batch", "last", "transposed", "reversed", "concatenated", "no_product"],
)
def test_axes_of_the_parameter_that_a_product_sums_over(fn, summed, batch):
    (use,) = [use for use in uses_of(fn, jnp.ones((2, 3, 3)), X) if use.primitive in ("dot_general", "mul")]
    assert (use.summed_axes, use.batch_axes) == (summed, batch)


@pytest.mark.parametrize("window", [(3,), (3, 3)])
def test_a_convolution_sums_over_all_axes_but_the_last(window):
    x, kernel = jnp.ones((2, *(5 for _ in window), 4)), jnp.ones((*window, 4, 6))
    spec = ("NHWC", "HWIO", "NHWC") if len(window) == 2 else ("NWC", "WIO", "NWC")
    convolve = lambda p, x: jax.lax.conv_general_dilated(x, p, (1,) * len(window), "SAME", dimension_numbers=spec)  # noqa: E731
    (use,) = uses_of(convolve, kernel, x)
    assert (use.summed_axes, use.feature_shape) == (tuple(range(len(window) + 1)), (6,))


@pytest.mark.parametrize(
    ("arranged", "sliced", "summed"),
    [
        (lambda p: p, (0,), (1,)),
        (lambda p: jnp.moveaxis(p, 1, 0), (1,), (0,)),
        (lambda p: jnp.moveaxis(p, -1, 0).astype(jnp.bfloat16).astype(jnp.float32), (2,), (0,)),
        (lambda p: p[::-1], (None,), None),
    ],
    ids=["first", "second", "last_cast", "reversed"],
)
def test_the_axis_that_a_scan_goes_along(arranged, sliced, summed):
    def fn(p, x):
        return jax.lax.scan(lambda h, w: (h @ w, None), x, arranged(p))[0]

    (use,) = uses_of(fn, jnp.ones((3, 3, 3)), X)
    assert (use.sliced_axes, use.summed_axes) == (sliced, summed)


def test_kernels_joined_along_different_axes_have_none_in_common():
    def fn(p, x):
        joined = lambda h, w: (h @ jnp.concatenate(w, 1)[:, :3], None)  # noqa: E731
        return jax.lax.scan(joined, x, (p[0], jnp.moveaxis(p[1], 1, 0)))[0]

    (use,) = uses_of(fn, [jnp.ones((3, 3, 2)), jnp.ones((3, 3, 2))], X)
    assert (use.params, use.sliced_axes, use.summed_axes) == ({0, 1}, (None,), None)


def test_a_kernel_transposed_in_one_branch_has_no_known_axes():
    def fn(p, x):
        return x @ jax.lax.cond(x[0, 0] > 0, lambda: p, lambda: p.T)

    (use,) = uses_of(fn, W, X)
    assert (use.primitive, use.summed_axes) == ("dot_general", None)


def test_two_scans_one_in_the_other():
    def fn(p, x):
        inner = lambda h, group: jax.lax.scan(lambda h, w: (h @ w.T, None), h, group)  # noqa: E731
        return jax.lax.scan(lambda h, group: inner(h, jnp.swapaxes(group, 0, 1)), x, p)[0]

    (use,) = uses_of(fn, jnp.ones((2, 3, 5, 3)), X)
    assert (use.sliced_axes, use.summed_axes) == ((0, 2), (3,))


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
