import jax
import jax.numpy as jnp
import pytest

from jaxdl.jaxprs import matrix_flops

DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def flops(fn, *args):
    return matrix_flops(jax.make_jaxpr(fn)(*args))


def xla_flops(fn, *args):
    """XLA's own count, which for a single product or convolution is exact as well."""
    return jax.jit(fn).lower(*args).cost_analysis()["flops"]


def convolve(**options):
    def fn(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, dimension_numbers=DIMENSIONS, **options)

    return fn


@pytest.mark.parametrize(
    ("fn", "shapes"),
    [
        (jnp.matmul, ((5, 7), (7, 3))),
        (jnp.matmul, ((4, 5, 7), (4, 7, 3))),
        (lambda x, y: jnp.einsum("abc,bcd->ad", x, y), ((2, 3, 4), (3, 4, 5))),
        (jnp.dot, ((7,), (7,))),
        (convolve(window_strides=(1, 1), padding="SAME"), ((2, 8, 9, 3), (3, 3, 3, 5))),
        (convolve(window_strides=(2, 3), padding="VALID"), ((2, 8, 9, 3), (3, 2, 3, 5))),
        (convolve(window_strides=(2, 2), padding=((2, 0), (1, 3))), ((1, 7, 7, 2), (3, 3, 2, 4))),
        (convolve(window_strides=(1, 1), padding="SAME", rhs_dilation=(2, 1)), ((1, 7, 7, 2), (3, 3, 2, 4))),
        (convolve(window_strides=(1, 1), padding=((1, 1), (2, 2)), lhs_dilation=(2, 3)), ((1, 4, 4, 2), (3, 3, 2, 4))),
        (convolve(window_strides=(1, 1), padding="SAME", feature_group_count=4), ((2, 6, 6, 4), (3, 3, 1, 8))),
        (convolve(window_strides=(1, 1), padding="VALID", batch_group_count=2), ((4, 6, 6, 3), (3, 3, 3, 4))),
    ],
)
def test_one_product_counts_as_xla_counts_it(fn, shapes):
    args = [jnp.ones(shape) for shape in shapes]
    assert flops(fn, *args) == xla_flops(fn, *args)


def test_gradients_of_a_strided_convolution():
    """Those of input and kernel cost what the convolution costs: the same products, summed over other axes."""
    fn = convolve(window_strides=(2, 2), padding="SAME")
    x, kernel = jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3, 5))
    forward = flops(fn, x, kernel)
    out, pullback = jax.vjp(fn, x, kernel)
    assert flops(pullback, out) == 2 * forward


def test_turns_of_a_scan_all_count():
    matrix = jnp.ones((4, 4))

    def fn(x):
        return jax.lax.scan(lambda carry, _: (carry @ matrix, None), x, None, length=10)[0]

    assert flops(fn, matrix) == 10 * 2 * 4**3
    assert flops(jax.vmap(fn), jnp.ones((3, 4, 4))) == 3 * 10 * 2 * 4**3
    assert flops(lambda x: jax.lax.fori_loop(0, 5, lambda _, c: c @ matrix, x), matrix) == 5 * 2 * 4**3


def test_programs_inside_of_programs():
    matrix = jnp.ones((4, 4))
    double = jax.checkpoint(jax.jit(lambda x: x @ matrix @ matrix))
    assert flops(double, matrix) == 2 * 2 * 4**3
    assert flops(lambda x: jax.nn.relu(x) @ matrix, matrix) == 2 * 4**3


def test_the_dearest_branch_counts():
    branches = (lambda x: x, lambda x: x @ x, lambda x: x @ x @ x)
    assert flops(lambda i, x: jax.lax.switch(i, branches, x), 1, jnp.ones((4, 4))) == 2 * 2 * 4**3


def test_a_loop_of_unknown_length():
    matrix = jnp.ones((4, 4))
    assert flops(lambda n, x: jax.lax.fori_loop(0, n, lambda _, c: c @ matrix, x), 3, matrix) is None
    assert flops(lambda n, x: jax.lax.fori_loop(0, n, lambda _, c: c + 1, x) @ x, 3, matrix) == 2 * 4**3
    assert flops(lambda n, x: jax.jit(lambda: jax.lax.fori_loop(0, n, lambda _, c: c @ c, x))(), 3, matrix) is None


def test_no_product_at_all():
    assert flops(lambda x: jnp.sum(jnp.exp(x)), jnp.ones(5)) == 0
