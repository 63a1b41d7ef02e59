"""Programs with their calls written out, against programs whose answer can be read off."""

import jax
import jax.numpy as jnp
import pytest

from jaxdl.jaxprs import all_levels, arriving, carrying, elementwise, find_uses, trace, written_out

X = jnp.ones((2, 3))
W = jnp.ones((3, 3))


def names(level):
    return [node.eqn.primitive.name for node in level.nodes]


def test_calls_are_inlined_and_scans_are_levels():
    def fn(w, x):
        inner = jax.jit(lambda h: jnp.tanh(jax.checkpoint(jnp.sin)(h) @ w))
        return jax.lax.scan(lambda h, _: (inner(h), None), jnp.cos(x), None, length=3)[0]

    program = trace(fn, W, X)
    level = written_out(program)
    assert [node.eqn.primitive.name for node in level.nodes][-1] == "scan"
    outer, body = all_levels(level)
    assert outer is level
    assert names(body) == ["sin", "dot_general", "tanh"]
    (use,) = find_uses(program, num_params=1)
    assert body.nodes[1].where == use.where
    assert [len(node.calls) for node in body.nodes] == [2, 1, 1]
    assert body.nodes[2].calls[0] == body.nodes[0].calls[0]


def test_a_value_keeps_its_number_through_calls():
    fn = lambda w, x: jax.jit(lambda a, b: (b, a * b))(jnp.sin(x), jnp.cos(x))  # noqa: E731
    level = written_out(trace(fn, W, X))
    sin, cos, mul = level.nodes
    assert mul.ins == (sin.outs[0], cos.outs[0])
    assert level.outs == (cos.outs[0], mul.outs[0])


def turning(w, x):
    """The second value carried gets data only in the second turn; the third never does."""

    def body(carry, _):
        a, b, c = carry
        return (jnp.sin(a), jnp.cos(a) @ w, jnp.tanh(c)), jnp.exp(b)

    return jax.lax.scan(body, (x, jnp.zeros((2, 3)), jnp.zeros((2, 3))), None, length=4)


def test_data_go_round_a_loop():
    level = written_out(trace(turning, W, X))
    data = carrying(level, level.ins[1:])
    assert [number in data for number in level.outs] == [True, True, False, True]
    (body,) = all_levels(level)[1:]
    marked = {node.eqn.primitive.name: node.outs[0] in data for node in body.nodes}
    assert marked == {"sin": True, "cos": True, "dot_general": True, "tanh": False, "exp": True}


def test_what_arrives_goes_back_round_a_loop_and_out_of_it():
    level = written_out(trace(turning, W, X))
    (body,) = all_levels(level)[1:]
    (product,) = (node for node in body.nodes if node.eqn.primitive.name == "dot_general")
    found = arriving(level, product.ins[:1])
    marked = {node.eqn.primitive.name: node.outs[0] in found for node in body.nodes}
    assert marked == {"sin": True, "cos": True, "dot_general": False, "tanh": False, "exp": False}
    assert [number in found for number in level.ins] == [False, True]


def test_branches_hand_in_all_but_the_choice():
    fn = lambda w, x: jax.lax.cond(w.sum() > 0, lambda x: jnp.sin(x), lambda x: jnp.zeros_like(x), x)  # noqa: E731
    level = written_out(trace(fn, W, X))
    data = carrying(level, level.ins[1:])
    assert level.outs[0] in data
    assert len(all_levels(level)) == 3
    assert level.outs[0] not in carrying(level, [number for number in level.nodes[-1].ins[:1] if number is not None])


@jax.custom_jvp
def total(x):
    return x.sum(0)


total.defjvp(lambda primals, tangents: (total(*primals), tangents[0].sum(0)))


@jax.custom_vjp
def grown(x):
    return 2 * jnp.exp(x)


grown.defvjp(lambda x: (grown(x), x), lambda x, g: (g,))


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (jnp.tanh, True), (jax.nn.relu, True), (grown, True), (total, False), (lambda x: jnp.cumsum(x, 0), False),
        (lambda x: x.T, False), (lambda x: x.sum(0), False),
    ],
)  # fmt: skip
def test_entry_by_entry(fn, expected):
    nodes = written_out(trace(lambda w, x: fn(x), W, X)).nodes
    assert all(elementwise(node.eqn) for node in nodes) == expected
