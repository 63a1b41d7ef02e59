import jax
import jax.numpy as jnp
import numpy as np

from experiments.theory.function_nodes import Node, apply, gradients, multiply, topological


def test_contributions_of_several_consumers_add():
    """l = x y + sin(x) x: x is used three times."""
    x, y = Node(jnp.float32(0.7)), Node(jnp.float32(-1.3))
    output = apply(jnp.add, multiply(x, y), multiply(apply(jnp.sin, x), x))
    np.testing.assert_allclose(output.value, 0.7 * -1.3 + np.sin(0.7) * 0.7, rtol=1e-6)
    found = gradients(output, [x, y])
    np.testing.assert_allclose(found, [-1.3 + np.cos(0.7) * 0.7 + np.sin(0.7), 0.7], rtol=1e-5)


def test_a_function_of_a_function():
    """E05b: l = g(f(x)) with f = alpha x + beta and g = gamma x + delta has l' = gamma alpha."""
    x, alpha, beta, gamma, delta = (Node(jnp.float32(value)) for value in (2.0, 3.0, 1.0, -0.5, 4.0))
    inner = apply(jnp.add, multiply(alpha, x), beta)
    outer = apply(jnp.add, multiply(gamma, inner), delta)
    np.testing.assert_allclose(gradients(outer, [x, alpha, beta, gamma, delta]), [-1.5, -1.0, -0.5, 7.0, 1.0])


def test_a_layer_against_jax_grad():
    draws = np.random.RandomState(0)
    arrays = [jnp.asarray(draws.randn(*shape), jnp.float32) for shape in ((5, 3), (3, 4), (5, 4))]
    loss = lambda x, kernel, targets: jnp.sum(jnp.square(jnp.tanh(x @ kernel) - targets))  # noqa: E731
    x, kernel, targets = nodes = [Node(array) for array in arrays]
    outputs = apply(jnp.tanh, apply(jnp.matmul, x, kernel))
    errors = apply(jnp.subtract, outputs, targets)
    found = gradients(apply(jnp.sum, multiply(errors, errors)), nodes)
    for ours, theirs in zip(found, jax.grad(loss, (0, 1, 2))(*arrays), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_node_of_ones_own_with_a_derivative_of_its_own():
    """E08: a step that hands gradients straight through."""

    @jax.custom_vjp
    def straight(x):
        return jnp.sign(x)

    straight.defvjp(lambda x: (jnp.sign(x), None), lambda kept, received: (received,))
    x = Node(jnp.float32(0.3))
    assert gradients(multiply(apply(straight, x), Node(jnp.float32(2.0))), [x])[0] == 2
    assert gradients(multiply(apply(jnp.sign, x), Node(jnp.float32(2.0))), [x])[0] == 0


def test_inputs_come_before_their_users_in_a_deep_graph_and_others_get_nothing():
    x = node = Node(jnp.float32(1.0))
    for _ in range(3000):  # deeper than Python recurses
        node = Node(node.value, (node, x), lambda received: (received, jnp.zeros_like(received)))
    order = topological(node)
    assert len(order) == 3001
    assert order[0] is x
    assert order[-1] is node
    stranger = Node(jnp.ones(2, jnp.float32))
    found = gradients(node, [x, stranger])
    assert found[0] == 1
    np.testing.assert_array_equal(found[1], [0, 0])
