import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.diagnostics import influential_examples
from tests.reference import example_gradients as reference


def later(params):
    return jax.tree.map(lambda leaf: 0.5 * leaf + 0.1, params)


@pytest.mark.parametrize("size", [1, 4, 256])
def test_against_the_gradients_written_out(small_net, size):
    losses, params, (x, y) = small_net
    test = (x[7:8] + 0.3, y[7:8] - 0.2)
    checkpoints, rates = [params, later(params)], [0.5, 0.1]
    found = influential_examples(losses, checkpoints, (x, y), test, learning_rates=rates, num=3, batch_size=size)
    expected = sum(
        rate * reference.flat(reference.gradients(p, (x, y))) @ reference.flat(reference.gradients(p, test))[0]
        for p, rate in zip(checkpoints, rates, strict=True)
    )
    np.testing.assert_allclose(found.scores, expected, rtol=1e-4, atol=1e-5)
    order = np.argsort(expected)
    np.testing.assert_array_equal(found.proponents, order[::-1][:3])
    np.testing.assert_array_equal(found.opponents, order[:3])


def test_the_score_is_what_a_small_step_on_the_example_does(small_net):
    losses, params, (x, y) = small_net
    test, rate = (x[2:3] + 0.1, y[2:3]), 1e-3
    scores = influential_examples(losses, [params], (x, y), test, learning_rates=[rate]).scores
    for i in range(3):
        grads = jax.grad(lambda p, i=i: losses(p, (x[i : i + 1], y[i : i + 1]))[0])(params)
        stepped = jax.tree.map(lambda p, g: p - rate * g, params, grads)
        gained = float(losses(params, test)[0]) - float(losses(stepped, test)[0])
        assert float(scores[i]) == pytest.approx(gained, rel=0.1, abs=1e-5)


def test_of_several_test_examples_the_mean(small_net):
    losses, params, (x, y) = small_net
    found = [
        influential_examples(losses, [params], (x, y), (x[rows], y[rows]), learning_rates=[1.0]).scores
        for rows in ([0], [1], [0, 1])
    ]
    np.testing.assert_allclose(found[2], (found[0] + found[1]) / 2, rtol=1e-4, atol=1e-5)


def test_few_examples_half_precision_and_jit(small_net):
    losses, params, (x, y) = small_net
    assert influential_examples(losses, [params], (x, y), (x[:1], y[:1]), learning_rates=[1.0], num=50).num == 11
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    found = influential_examples(losses, [half], (x, y), (x[:1], y[:1]), learning_rates=[1.0])
    assert found.scores.dtype == jnp.float32
    rates = jnp.array([0.3])
    jitted = jax.jit(lambda p, r: influential_examples(losses, [p], (x, y), (x[:1], y[:1]), learning_rates=r, num=2))(
        params, rates
    )
    plain = influential_examples(losses, [params], (x, y), (x[:1], y[:1]), learning_rates=[0.3], num=2)
    np.testing.assert_allclose(jitted.scores, plain.scores, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(jitted.proponents, plain.proponents)


def test_errors(small_net):
    losses, params, data = small_net
    test = (data[0][:1], data[1][:1])
    with pytest.raises(TypeError, match=r"checkpoints: expected a list of parameters; got dict\. Pass \[params\]"):
        influential_examples(losses, params, data, test, learning_rates=[1.0])
    with pytest.raises(ValueError, match=r"learning_rates: expected one for .* got shape \(1,\) for 2 checkpoints"):
        influential_examples(losses, [params, params], data, test, learning_rates=[1.0])
    with pytest.raises(ValueError, match=r"learning_rates: .* got shape \(0,\) for 0 checkpoints"):
        influential_examples(losses, [], data, test, learning_rates=[])
    with pytest.raises(ValueError, match=r"num: expected a whole number >= 1; got 0\. It is how many"):
        influential_examples(losses, [params], data, test, learning_rates=[1.0], num=0)
    with pytest.raises(ValueError, match=r"batch_size: expected a whole number >= 1; got 0\. It is how many"):
        influential_examples(losses, [params], data, test, learning_rates=[1.0], batch_size=0)
    with pytest.raises(ValueError, match="test_example: expected arrays that share one leading"):
        influential_examples(losses, [params], data, data[0][:0], learning_rates=[1.0])
    with pytest.raises(ValueError, match="train_data: expected arrays that share one leading"):
        influential_examples(losses, [params], data[0][:0], test, learning_rates=[1.0])
    with pytest.raises(ValueError, match=r"depend on that example alone; got reduce_sum"):
        influential_examples(
            lambda p, b: losses(p, b) - losses(p, b).mean(), [params], data, test, learning_rates=[1.0]
        )
