import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.jaxprs import bind, evaluate, mentions, open_jaxpr, rewrite_inside


def loop(x):
    return jax.lax.scan(lambda c, row: (jnp.sin(c) + row, jnp.sin(row)), x[0], x)


def by_hand(x):
    """`loop`, with the cosine."""
    carry = x[0]
    for row in x:
        carry = np.cos(carry) + row
    return carry, np.cos(x)


# Each with what it computes with a cosine in place of the sine.
PROGRAMS = {
    "plain": (lambda x: jnp.sin(x), np.cos),
    "scan": (loop, by_hand),
    "jit": (jax.jit(lambda x: 2 * jnp.sin(x)), lambda x: 2 * np.cos(x)),
    "remat": (jax.checkpoint(lambda x: jnp.sin(jnp.sin(x))), lambda x: np.cos(np.cos(x))),
    "branch": (lambda x: jax.lax.cond(x[0] > 9, jnp.cos, lambda x: x + jnp.sin(2 * x), x), lambda x: x + np.cos(2 * x)),
    "while": (
        lambda x: jax.lax.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, jnp.sin(c[1])), (0, x))[1],
        lambda x: np.cos(np.cos(x)),
    ),
    "nested": (lambda x: jax.jit(loop)(x), by_hand),
    "none": (jax.nn.relu, lambda x: np.maximum(x, 0)),
}
X = jnp.arange(1.0, 4.0)


def with_cosine(fn, *args):
    """`fn` with a cosine in place of every sine, at every depth."""

    def rule(position, eqn, arguments):
        if eqn.primitive.name == "sin":
            return [jnp.cos(arguments[0])]
        return rewrite_inside(eqn, arguments, {"sin"}, rule)

    closed, shapes = jax.make_jaxpr(fn, return_shape=True)(*args)
    outputs = evaluate(open_jaxpr(closed), closed.consts, args, rule)
    return jax.tree.unflatten(jax.tree.structure(shapes), outputs)


@pytest.mark.parametrize("kind", PROGRAMS)
def test_programs_inside_are_rewritten(kind):
    fn, expected = PROGRAMS[kind]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), with_cosine(fn, X), expected(np.asarray(X)))
    assert not mentions(jax.make_jaxpr(lambda x: with_cosine(fn, x))(X), {"sin"})


def test_what_is_mentioned():
    program = jax.make_jaxpr(lambda x: jax.jit(loop)(x))(X)
    assert mentions(program, {"sin"})
    assert mentions([3, (program,)], {"sin", "tan"})
    assert not mentions(program, {"tan"})
    assert not mentions("sin", {"sin"})


def test_calls_keep_their_kind_and_inputs_are_told():
    seen = []

    def fn(a, x):
        return jax.lax.scan(lambda c, row: (c * a + row, None), x[0], x)[0]

    closed = jax.make_jaxpr(fn)(2.0, X)

    def rule(position, eqn, arguments):
        told = lambda inputs: seen.append((eqn.primitive.name, [i.shape for i in inputs]))  # noqa: E731
        return rewrite_inside(eqn, arguments, {"mul"}, lambda p, e, a: None, entered=told)

    (out,) = evaluate(open_jaxpr(closed), closed.consts, [jnp.float32(2), X], rule)
    assert float(out) == ((1 * 2 + 1) * 2 + 2) * 2 + 3
    assert seen == [("scan", [(), (), ()])]
    (scan,) = [eqn for eqn in closed.jaxpr.eqns if eqn.primitive.name == "scan"]
    assert rewrite_inside(scan, [], {"tan"}, rule) is None
    assert bind(scan, [jnp.float32(2), X[0], X])[0] == out
