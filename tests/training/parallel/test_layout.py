"""What needs one device alone; the laws are in `on_eight_devices`."""

import jax
import numpy as np
import pytest

from jaxdl import training
from jaxdl.training.parallel import Layout, data_parallel
from tests.training.conftest import make_task


@pytest.fixture
def eight():
    """A layout over eight devices that need not exist: only numbers are asked of it."""
    mesh = jax.sharding.AbstractMesh((8,), ("data",))
    return Layout(mesh, None, "replicated")  # type: ignore[arg-type]


def test_one_device_gives_the_bytes_of_none(task, same_bytes):
    plain = training.fit(task.step, task.state, task.data, epochs=2, batch_size=10, validation=task.data)
    laid_out = training.fit(
        task.step, task.state, task.data, epochs=2, batch_size=10, validation=task.data, layout=data_parallel(1)
    )
    same_bytes(plain.state, laid_out.state)
    np.testing.assert_array_equal(plain.history.validation["loss"], laid_out.history.validation["loss"])


def test_a_batch_that_cannot_be_shared(eight):
    eight.check_batch(16)
    eight.check_batch(48, microbatches=3)
    with pytest.raises(ValueError, match=r"batch_size: expected a multiple of 8 devices, .*; got 20\. Use 16, or"):
        eight.check_batch(20)
    with pytest.raises(ValueError, match=r"a multiple of 8 devices x 3 microbatches, .*; got 16\. Use 24, or fewer"):
        eight.check_batch(16, microbatches=3)


def test_batches_of_evaluation_are_rounded_up(eight):
    assert [eight.evaluation_batch(size) for size in (1, 8, 9, 1000)] == [8, 8, 16, 1000]


def test_what_is_placed_stays(task):
    layout = data_parallel(1)
    placed = layout.place_data(task.data)
    assert layout.place_data(placed)[0] is placed[0]
    assert layout.replicate(placed)[0] is placed[0]
    with pytest.raises(TypeError, match="state: expected a TrainState; got dict"):
        layout.place_state(task.state.params)
    with pytest.raises(ValueError, match="data: expected arrays that share one leading example axis"):
        layout.place_data((task.data[0], task.data[1][:-1]))


def test_more_than_one_process_shows_one_bar(task, capsys, monkeypatch):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    training.fit(task.step, task.state, task.data, epochs=2, batch_size=10, progress=True)
    assert capsys.readouterr().err == ""


def test_a_step_takes_a_layout(digits_like):
    """The pure step, jitted by hand, constrains gradients and parts itself."""
    task = make_task(digits_like, microbatches=2)
    batch = tuple(array[:8] for array in task.data)
    layout = data_parallel(1)
    plain, _ = jax.jit(task.step)(task.state, batch)
    laid_out, _ = jax.jit(lambda state, batch: task.step(state, batch, layout=layout))(task.state, batch)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), plain.params, laid_out.params)
