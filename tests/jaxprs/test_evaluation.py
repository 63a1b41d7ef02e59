import jax
import jax.numpy as jnp
import pytest

from jaxdl.jaxprs import forwarded_inputs


def traced(f):
    return forwarded_inputs(jax.make_jaxpr(f)(jnp.ones(2), jnp.zeros(2)).jaxpr)


def scanned(a, b):
    (a, b), _ = jax.lax.scan(lambda carry, _: ((carry[0], carry[1] + 1), None), (a, b), length=3)
    return a, b


def sliced(a, b):
    """Slices handed on as they are, in remat, beside others that change; a constant in every slice is no input."""
    turn = jax.checkpoint(lambda carry, x: (carry, (x[1] * 2, x[0], carry)))
    carry, (changed, kept, repeated) = jax.lax.scan(turn, a[0], (a, b))
    return changed, kept, repeated, carry


def rotated(a, b):
    return jax.lax.scan(jax.checkpoint(lambda carry, _: (carry[::-1], None)), (a, b), length=3)[0]


def body(a, b):
    return b, a * 2, a, 1.0


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (body, [1, None, 0, None]),
        (jax.jit(body), [1, None, 0, None]),
        (jax.checkpoint(body), [1, None, 0, None]),
        (lambda a, b: jax.checkpoint(jax.jit(body))(b, a), [0, None, 1, None]),
        (lambda a, b: jax.checkpoint(body)(a + 0.0, b), [1, None, None, None]),
        (scanned, [0, None]),
        (sliced, [None, 0, None, None]),
        (rotated, [None, None]),
        (lambda a, b: jax.lax.cond(a[0] > 0, lambda: (a, b), lambda: (b, a)), [None, None]),
        (lambda a, b: jax.lax.while_loop(lambda c: c[0][0] < 3, lambda c: (c[0] + 1, c[1]), (a, b))[0], [None]),
        (lambda a, b: (), []),
    ],
    ids=["plain", "jit", "remat", "swapped", "changed_before", "scan", "slices", "rotated", "cond", "while", "nothing"],
)
def test_which_inputs_are_handed_through(f, expected):
    assert traced(f) == expected
