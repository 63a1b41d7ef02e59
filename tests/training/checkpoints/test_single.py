"""One state, saved and restored by hand."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import training
from tests.training.checkpoints.conftest import make_state


def test_every_kind_of_leaf_comes_back_to_the_byte(state, tmp_path, same_bytes):
    assert training.save_checkpoint(tmp_path, state) == tmp_path / "7"
    blank = jax.tree.map(lambda leaf: leaf if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf * 0, state)
    restored = training.restore_checkpoint(tmp_path, blank)
    same_bytes(restored, state)
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    assert jax.random.key_impl(restored.key) == jax.random.key_impl(state.key)
    assert [leaf.dtype for leaf in jax.tree.leaves(restored)] == [leaf.dtype for leaf in jax.tree.leaves(state)]


def test_an_abstract_state_will_do(state, tmp_path, same_bytes):
    training.save_checkpoint(tmp_path, state)
    same_bytes(training.restore_checkpoint(tmp_path, jax.eval_shape(lambda: state)), state)


def test_leaves_without_an_entry(tmp_path, same_bytes):
    params = {"w": jnp.ones((2, 2)), "none": jnp.zeros((0, 3)), "scalar": jnp.asarray(2.5)}
    state = training.make_state(params, optax.sgd(0.1, momentum=0.9), key=jax.random.key(0))
    training.save_checkpoint(tmp_path, state)
    restored = training.restore_checkpoint(tmp_path, state)
    same_bytes(restored, state)
    assert restored.params["none"].shape == (0, 3)


def test_the_newest_or_the_one_asked_for(tmp_path):
    for step in (5, 40, 9):
        training.save_checkpoint(tmp_path, make_state(step=step))
    assert int(training.restore_checkpoint(tmp_path, make_state()).step) == 40
    assert int(training.restore_checkpoint(tmp_path, make_state(), step=9).step) == 9


def test_saving_twice_loses_nothing(state, tmp_path, same_bytes):
    training.save_checkpoint(tmp_path, state)
    other = replace(state, params=jax.tree.map(lambda leaf: leaf + 1, state.params))
    with pytest.raises(
        FileExistsError, match=r"folder: expected one without a checkpoint of step 7; got .*7\. Pass anot"
    ):
        training.save_checkpoint(tmp_path, other)
    same_bytes(training.restore_checkpoint(tmp_path, other), state)


def test_what_is_saved_is_the_state_of_that_moment(tmp_path, task):
    """The step that follows overwrites the buffers of the state."""
    state = jax.tree.map(jnp.copy, task.state)
    before = [np.asarray(leaf).copy() for leaf in jax.tree.leaves(state.params)]
    training.save_checkpoint(tmp_path, state)
    advance = jax.jit(task.step, donate_argnums=0)
    for _ in range(5):
        state, _ = advance(state, jax.tree.map(lambda leaf: leaf[:10], task.data))
    restored = training.restore_checkpoint(tmp_path, task.state)
    for old, leaf in zip(before, jax.tree.leaves(restored.params), strict=True):
        np.testing.assert_array_equal(leaf, old)


@pytest.mark.parametrize("folder", ["nothing", "."])
def test_no_checkpoint(tmp_path, state, folder):
    with pytest.raises(
        FileNotFoundError, match=r"folder: expected a checkpoint in .*; got none\. Pass the folder given"
    ):
        training.restore_checkpoint(tmp_path / folder, state)
    assert list(tmp_path.iterdir()) == []


def test_no_checkpoint_of_that_step(tmp_path, state):
    training.save_checkpoint(tmp_path, state)
    message = r"folder: expected a checkpoint of step 8 in .*; got those of the steps \[7\]\. Pass the folder"
    with pytest.raises(FileNotFoundError, match=message):
        training.restore_checkpoint(tmp_path, state, step=8)


def test_another_model_or_chain(tmp_path, state):
    training.save_checkpoint(tmp_path, state)
    message = (
        r"(?s)state: expected the leaves of the checkpoint .*7; they differ:.*"
        r"state/params/Dense_0/kernel: \[\[4, 3\], 'float32'\] in the checkpoint, \[\[4, 5\], 'float32'\] now"
        r".*Make the model, the optimizer chain and the state as they were"
    )
    with pytest.raises(ValueError, match=message):
        training.restore_checkpoint(tmp_path, make_state(width=5))
    with pytest.raises(ValueError, match=r"in the checkpoint, nothing now"):
        training.restore_checkpoint(tmp_path, make_state(chain=optax.sgd(0.1)))


def test_another_kind_of_key(tmp_path, state):
    training.save_checkpoint(tmp_path, state)
    with pytest.raises(
        ValueError, match=r"state/key: \[\[\], 'key<rbg>'\] in the checkpoint, \[\[\], 'key<threefry2x32>'\] now"
    ):
        training.restore_checkpoint(tmp_path, replace(state, key=jax.random.key(1)))


@pytest.mark.parametrize("function", [training.save_checkpoint, training.restore_checkpoint])
def test_what_is_no_state(tmp_path, function):
    with pytest.raises(TypeError, match=r"(state|like): expected a TrainState; got dict\. Make one with init_state"):
        function(tmp_path, {"a": 1})


def test_a_folder_that_cannot_be_made(tmp_path, state):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        training.CheckpointWriteError, match=r"folder: expected one that can be made and written to; got"
    ):
        training.save_checkpoint(tmp_path / "file" / "run", state)
