import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdl
from jaxdl.diagnostics import Sharpness, measure_sharpness, sharpness, top_eigenvalues

from .networks import LABELS, X, dense_hessian, every_network
from .test_spectrum import ONE, quadratic, with_eigenvalues


def test_few_iterations_come_near_from_below():
    network = every_network()["softmax"]
    top = np.linalg.eigvalsh(dense_hessian("softmax"))[-1]
    found = sharpness(network.losses, network.params, network.data, batch_size=9)
    assert found.num_lanczos == 10
    assert 0.95 * top < float(found.top) <= top * (1 + 1e-5)
    cut = sharpness(network.losses, network.params, network.data, num_lanczos=2)
    assert float(cut.top) < float(found.top)
    assert float(cut.residual) > float(found.residual)


def test_it_rides_in_a_training_step():
    model = jaxdl.models.MLP((4, 3), activation=jnp.tanh)
    objective = jaxdl.training.supervised(model, jaxdl.losses.softmax_cross_entropy)
    state = jaxdl.training.init_state(model, optax.sgd(0.5), X, key=jax.random.key(0))
    measure = functools.partial(measure_sharpness, num_lanczos=30)
    step = jax.jit(jaxdl.training.make_train_step(objective, optax.sgd(0.5), measure=measure, measure_every=2))
    for i in range(3):
        alone = top_eigenvalues(objective, state.params, (X, LABELS))
        state, metrics = step(state, (X, LABELS))
        expected = float(alone.largest[0]) if i % 2 == 0 else 0.0
        np.testing.assert_allclose(metrics["measure"].top, expected, rtol=1e-4)


def test_reports(tmp_path):
    one = Sharpness(jnp.float32(3.0), jnp.float32(0.001), 10)
    assert one.verdict() == "sharpness 3 (at least: 10 Lanczos iterations)"
    series = Sharpness(jnp.array([3.0, 8.0, 6.0]), jnp.array([0.001, 0.5, 0.01]), 10)
    assert series.verdict() == (
        "sharpness 3 at first, 6 at last, 8 at most, of 3 measurements (at least: 10 Lanczos iterations); "
        "1 of 3 not resolved, take more iterations"
    )
    assert series.table().splitlines()[2].split() == ["1", "8", "0.5"]
    bad = Sharpness(jnp.array([3.0, jnp.nan, jnp.nan]), jnp.array([0.0, jnp.nan, jnp.nan]), 10)
    assert bad.verdict() == "sharpness is not finite at measurement 1 of 3, the first such"
    figure = series.plot(tmp_path / "sharpness.png", steps=[0, 10, 20], learning_rate=0.5)
    assert (tmp_path / "sharpness.png").stat().st_size > 1000
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert "2 / learning rate" in labels
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), series)
    with pytest.raises(
        ValueError, match=r"sharpness: expected one measurement, or a series \(time,\); got shape \(2, 3"
    ):
        stacked.verdict()
    assert stacked[0].verdict() == series.verdict()


def test_of_few_parameters_it_is_exact_and_an_error():
    found = sharpness(quadratic(with_eigenvalues([1.0, 5.0, -9.0])), jnp.zeros(3), ONE)
    np.testing.assert_allclose(found.top, 5, rtol=1e-5)
    assert found.num_lanczos == 3
    with pytest.raises(ValueError, match="num_lanczos: expected a whole number >= 1; got 0"):
        sharpness(quadratic(np.eye(2)), jnp.zeros(2), ONE, num_lanczos=0)
