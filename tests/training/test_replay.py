"""A step whose numbers are not finite: found, saved, and replayed by one command."""

import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import jaxdl
from jaxdl import training
from tests.conftest import CHECKOUT


class Overflow(nn.Module):
    """Its second layer makes infinity of what comes in, once the first has grown."""

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(4, name="first")(x)
        return nn.Dense(10, name="last")(jnp.exp(nn.Dense(4, name="planted")(x)))


def failing(tmp_path):
    draws = np.random.RandomState(0)
    data = draws.rand(60, 4).astype(np.float32), draws.randint(0, 10, 60).astype(np.int32)
    data[0][33] = 1e6  # finite, and too much for exp
    step = training.make_train_step(
        training.supervised(Overflow(), jaxdl.losses.softmax_cross_entropy), optax.sgd(1e-3), guard="raise"
    )
    state = training.init_state(Overflow(), step.tx, data[0][:1], key=jax.random.key(0))
    with pytest.raises(training.NotFiniteError) as caught:
        training.fit(step, state, data, epochs=2, batch_size=10, shuffle=False, folder=tmp_path / "run")
    return step, state, data, caught.value


def test_the_layer_is_named_the_batch_saved_and_the_step_replayed(tmp_path, same_bytes):
    step, state, data, error = failing(tmp_path)
    assert error.step == 3
    assert "the activation exp of planted makes infinities of finite pre-activations" in str(error)
    assert error.folder == tmp_path / "run" / "not_finite" / "3"
    assert f"State and batch are in {error.folder}" in str(error)
    told = training.replay(error.folder, step, state, data)
    assert told.startswith("Step 3: loss nan; parameters after it finite.")  # the guard kept them
    assert "the activation exp of planted makes infinities of finite pre-activations" in told
    saved = training.checkpoints.CheckpointStore(error.folder.parent, training.Checkpoints()).restore(
        3, {"state": state, "batch": jax.tree.map(lambda leaf: leaf[:10], data)}
    )
    same_bytes(saved.state["state"], error.state)
    same_bytes(saved.state["batch"], jax.tree.map(jnp.asarray, jax.tree.map(lambda leaf: leaf[30:40], data)))
    # The run, started again, fails at the same step and keeps what it saved.
    with pytest.raises(training.NotFiniteError, match="at step 3 "):
        training.fit(step, state, data, epochs=2, batch_size=10, shuffle=False, folder=tmp_path / "run")


def test_one_command(tmp_path):
    _, _, _, error = failing(tmp_path)
    setup = """
        import jax, numpy as np, optax, jaxdl
        from jaxdl import training
        from tests.training.test_replay import Overflow

        def setup():
            data = np.zeros((10, 4), np.float32), np.zeros(10, np.int32)
            objective = training.supervised(Overflow(), jaxdl.losses.softmax_cross_entropy)
            step = training.make_train_step(objective, optax.sgd(1e-3))
            return step, training.init_state(Overflow(), step.tx, data[0][:1], key=jax.random.key(0)), data
    """
    (tmp_path / "my_run.py").write_text(textwrap.dedent(setup))
    command = [sys.executable, "-m", "jaxdl", "replay"]
    environment = {"PYTHONPATH": f"{tmp_path}:{CHECKOUT}", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    run = lambda *arguments: subprocess.run(  # noqa: E731
        [*command, *arguments], capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=200
    )
    done = run(str(error.folder), "my_run:setup")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Step 3: loss nan; parameters after it not finite in 6 leaves, such as first/bias.")
    assert "the activation exp of planted makes infinities of finite pre-activations" in done.stdout
    wrong = run(str(tmp_path / "nowhere"), "my_run:setup")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "FileNotFoundError: folder: expected one like runs/a/not_finite/120; got" in wrong.stderr


def test_what_cannot_be_replayed(tmp_path):
    step, state, data, error = failing(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"folder: expected one like .* Pass one of those in it: \['3'\]"):
        training.replay(error.folder.parent, step, state, data)
    with pytest.raises(ValueError, match=r"state/batch/0: .* in the checkpoint, nothing now"):
        training.replay(error.folder, step, state, {"x": data[0], "y": data[1]})
    with pytest.raises(TypeError, match=r"state: expected a TrainState; got dict"):
        training.replay(error.folder, step, {}, data)
    (error.folder / "notes" / "metadata").write_text("")
    with pytest.raises(training.DamagedCheckpointError, match="notes/metadata has changed since it was written"):
        training.replay(error.folder, step, state, data)


def test_bfloat16_batches_are_replayed(tmp_path):
    objective = lambda params, batch, *, model_state, key, train: (  # noqa: E731
        jnp.log(batch @ params["w"]).astype(jnp.float32), training.Aux(model_state, {})
    )  # fmt: skip
    step = training.make_train_step(objective, optax.sgd(0.1))
    state = training.make_state({"w": -jnp.ones(2, jnp.bfloat16)}, optax.sgd(0.1), key=jax.random.key(0))
    data = jnp.ones((20, 2), jnp.bfloat16)
    with pytest.raises(training.NotFiniteError) as caught:
        training.fit(step, state, data, epochs=1, batch_size=10, folder=tmp_path)
    assert caught.value.batch.dtype == jnp.bfloat16
    assert training.replay(caught.value.folder, step, state, data).startswith("Step 0: loss nan")
