import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import losses


def test_correct_takes_labels_and_one_hot():
    outputs = jnp.array([[0.1, 0.9], [0.8, 0.2]])
    np.testing.assert_array_equal(losses.correct(outputs, jnp.array([1, 1])), [1.0, 0.0])
    np.testing.assert_array_equal(losses.correct(outputs, jnp.array([[0, 1], [1, 0]])), [1.0, 1.0])


@pytest.mark.parametrize(
    ("outputs", "targets"), [((4, 4), (4, 1)), ((4, 4, 3), (4, 4)), ((4, 3), (1,)), ((4,), (4,)), ((4, 3), (4, 2))]
)
def test_correct_refuses_what_would_broadcast(outputs, targets):
    with pytest.raises(ValueError, match=r"targets: expected labels \(batch,\) or rows \(batch, classes\) for outputs"):
        losses.correct(jnp.zeros(outputs), jnp.zeros(targets, int))


def test_the_mean_refuses_what_is_not_per_example():
    with pytest.raises(
        ValueError, match=r"losses: expected one value per example, shape \(batch,\); got shape \(2, 2\)"
    ):
        losses.batch_mean(jnp.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"got shape \(\)"):
        losses.batch_mean(jnp.zeros(()))
