"""The flat graph of a traced program, against dependencies read off the source by eye."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.jaxprs import Tap, evaluate_tapped, recorded_turns, trace, written_out


def program(params, x):
    inside = jax.jit(lambda v: (v, v * params))(x)
    kept = jax.checkpoint(lambda pair: pair[0] + jnp.sin(pair[1]))(inside)
    counted = (x > 0).sum()  # no gradient passes an integer
    return kept * counted.astype(x.dtype), jax.lax.cond(counted > 1, jnp.cos, jnp.sin, kept)


def test_calls_are_opened_and_hand_values_through():
    jaxpr = trace(program, jnp.ones(2), jnp.ones(2))
    graph = written_out(jaxpr.jaxpr)
    names = [node.eqn.primitive.name for node in graph.nodes]
    assert {"mul", "add", "sin", "gt", "cond"} <= set(names)
    assert not {"jit", "pjit", "remat", "checkpoint", "remat2"} & set(names)
    (add,) = [node for node in graph.nodes if node.eqn.primitive.name == "add"]
    # x goes through two calls untouched, and is still the input itself where it is added.
    assert graph.inputs[1] in add.inputs
    assert graph.producers()[add.outputs[0]] == (add, 0)


def test_a_flow_takes_the_paths_of_gradients_only():
    jaxpr = trace(program, jnp.ones(2), jnp.ones(2))
    graph = written_out(jaxpr.jaxpr)
    join = lambda node, facts: frozenset().union(*facts) if facts else None  # noqa: E731
    facts = graph.flow({graph.inputs[0]: frozenset("p"), graph.inputs[1]: frozenset("x")}, join)
    assert [facts[value] for value in graph.outputs] == [frozenset("px")] * 2
    (compare,) = [node for node in graph.nodes if node.eqn.primitive.name == "gt" and graph.inputs[1] in node.inputs]
    (reduced,) = [node for node in graph.nodes if node.eqn.primitive.name == "reduce_sum"]
    assert compare.outputs[0] in facts  # its input is floating
    assert reduced.outputs[0] not in facts


def test_places_are_those_of_taps():
    jaxpr = trace(program, jnp.ones(2), jnp.arange(2.0))
    graph = written_out(jaxpr.jaxpr)
    (sine,) = [node for node in graph.nodes if node.eqn.primitive.name == "sin"]
    read = Tap(sine.where, lambda arguments, outputs, extra: (outputs, outputs[0]))
    found = evaluate_tapped(jaxpr, [jnp.full(2, 3.0), jnp.arange(2.0)], [read])[1][0]
    np.testing.assert_allclose(found, np.sin([0.0, 3.0]), rtol=1e-6)


def test_what_enters_the_turns_of_a_scan():
    def fn(w, x):
        return jax.lax.scan(lambda carry, v: ((carry[0] * w + v, carry[1] + 1), None), (0.0, 0), x, reverse=True)[0]

    jaxpr = trace(fn, jnp.asarray(2.0), jnp.arange(4.0))
    (scan,) = [node for node in written_out(jaxpr.jaxpr).nodes if node.eqn.primitive.name == "scan"]
    read = Tap(scan.where, lambda arguments, outputs, extra: (outputs, recorded_turns(scan.eqn, arguments)))
    turns = evaluate_tapped(jaxpr, [jnp.asarray(2.0), jnp.arange(4.0)], [read])[1][0]
    # In reverse: 0, then 3, then 2 * 3 + 2, then 2 * 8 + 1, each where its slice of x stands.
    np.testing.assert_array_equal(turns.carries[0], [17, 8, 3, 0])
    np.testing.assert_array_equal(turns.carries[1], [3, 2, 1, 0])
    np.testing.assert_array_equal(turns.xs[0], np.arange(4.0))
