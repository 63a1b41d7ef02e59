"""The reconstruction objective: the target is the clean input."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdl
from jaxdl.data import Examples
from jaxdl.training import fit, init_state, make_train_step, reconstruction

X = np.random.RandomState(0).rand(6, 4).astype(np.float32)
KEY = jax.random.key(0)


def halves(params, x, train):
    """Outputs half the input in training, the input in evaluation: a known distance from the clean target."""
    return params["w"] * x * (0.5 if train else 1.0)


MODEL = (lambda key, x: {"w": jnp.ones(())}, halves)
LOSS = jaxdl.losses.squared_error


@pytest.mark.parametrize("batch", [X, (X, np.zeros(6)), Examples(X, np.zeros(6, np.int32)), [X, None]])
@pytest.mark.parametrize(("train", "factor"), [(True, 0.5), (False, 0.0)])
def test_the_losses_compare_outputs_with_clean_inputs(batch, train, factor):
    objective = reconstruction(MODEL, LOSS, metrics={"absolute": jaxdl.losses.absolute_error})
    losses, aux = objective({"w": jnp.ones(())}, batch, model_state={}, key=KEY, train=train)
    np.testing.assert_allclose(losses, ((factor * X) ** 2).sum(1), rtol=1e-5)
    np.testing.assert_allclose(aux.metrics["absolute"], (factor * X).sum(1), rtol=1e-5)


def test_a_corruption_from_outside_leaves_the_target_alone():
    objective = reconstruction((MODEL[0], lambda params, x: x), LOSS, augment=lambda key, x: jnp.zeros_like(x))
    losses, _ = objective({"w": jnp.ones(())}, X, model_state={}, key=KEY, train=True)
    np.testing.assert_allclose(losses, (X**2).sum(1), rtol=1e-5)
    losses, _ = objective({"w": jnp.ones(())}, X, model_state={}, key=None, train=False)
    np.testing.assert_array_equal(losses, np.zeros(6))


def test_a_linear_autoencoder_finds_the_principal_subspace():
    """Baldi and Hornik 1989: the least squared error of a code of two is the sum of the smaller eigenvalues."""
    draws = np.random.RandomState(1)
    data = (draws.randn(200, 2) @ draws.randn(2, 5) + 0.1 * draws.randn(200, 5)).astype(np.float32)
    data -= data.mean(0)
    model, tx = (
        jaxdl.models.Autoencoder((2,), activation=lambda z: z),
        optax.adam(optax.cosine_decay_schedule(0.05, 400)),
    )
    objective = reconstruction(model, LOSS)
    state = init_state(model, tx, data[:1], key=KEY)
    state, _ = fit(make_train_step(objective, tx), state, data, epochs=400, batch_size=200)
    least = np.sort(np.linalg.eigvalsh(data.T @ data / 200))[:3].sum()
    assert jaxdl.training.evaluate(objective, state, data)["loss"] == pytest.approx(least, rel=0.02)


def test_a_batch_that_is_none():
    objective = reconstruction(MODEL, LOSS)
    for batch, got in (({"x": X}, "dict"), ((X, X, X), "tuple")):
        with pytest.raises(ValueError, match=rf"batch: expected one array of inputs, or a pair \(x, y\); got {got}"):
            objective({"w": jnp.ones(())}, batch, model_state={}, key=KEY, train=True)
    with pytest.raises(TypeError, match="loss: expected a function"):
        reconstruction(MODEL, 3)  # pyright: ignore[reportArgumentType]
