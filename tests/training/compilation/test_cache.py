import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache

from jaxdl.training.compilation import keep_compiled_programs

CHECKOUT = Path(__file__).parents[3]

# Compiles a program before the cache is on, then trains for two epochs, and counts what the cache was asked for.
RUN = """
import sys
from collections import Counter
import jax, jax.numpy as jnp, numpy as np, optax
jax.jit(lambda x: x + 1)(jnp.ones(3)).block_until_ready()
counts = Counter()
jax.monitoring.register_event_listener(lambda event, **kwargs: counts.update([event.rsplit("/", 1)[1]]))
from jaxdl import losses, models, training
from jaxdl.training.compilation import keep_compiled_programs
keep_compiled_programs(sys.argv[1])
model, tx = models.MLP((10,)), optax.sgd(0.1)
x, y = np.ones((40, 5), np.float32), np.zeros(40, np.int32)
state = training.init_state(model, tx, x[:1], key=jax.random.key(0))
step = training.make_train_step(training.supervised(model, losses.softmax_cross_entropy), tx)
training.fit(step, state, (x, y), epochs=2, batch_size=10)
print(counts["compile_requests_use_cache"], counts["cache_hits"], counts["cache_misses"])
"""


def run(folder):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    environment["PYTHONPATH"] = str(CHECKOUT)
    command = [sys.executable, "-c", RUN, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return [int(count) for count in done.stdout.split()]


def test_a_second_process_compiles_nothing(tmp_path):
    folder = tmp_path / "deep" / "programs"
    requests, hits, misses = run(folder)
    assert hits + misses == requests
    assert misses > 5
    assert len(os.listdir(folder)) >= misses
    assert run(folder) == [requests, requests, 0]


OPTIONS = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)


@pytest.fixture
def restored():
    """Puts the session's own cache back."""
    before = {name: jax.config.values[name] for name in OPTIONS}
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.mark.parametrize(
    ("configured", "xdg", "expected"),
    [
        (None, None, "home/.cache/jaxdl/compiled"),
        (None, "xdg", "xdg/jaxdl/compiled"),
        ("own", "xdg", "own"),
    ],
)
def test_where_programs_are_kept(tmp_path, monkeypatch, restored, configured, xdg, expected):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if xdg is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / xdg))
    # What the variable JAX_COMPILATION_CACHE_DIR becomes when jax is imported.
    jax.config.update("jax_compilation_cache_dir", None if configured is None else str(tmp_path / configured))
    assert keep_compiled_programs() == tmp_path / expected
    jax.jit(lambda x: x + len(expected))(jnp.ones(2)).block_until_ready()
    assert os.listdir(tmp_path / expected), "a program that takes no time to compile is kept"
    assert keep_compiled_programs(tmp_path / "other") == tmp_path / "other"
    jax.jit(lambda x: x - len(expected))(jnp.ones(2)).block_until_ready()
    assert os.listdir(tmp_path / "other"), "a folder that is named wins, later too"


def test_a_folder_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"folder: expected a folder for compiled .* can be written to; got \[Errno"):
        keep_compiled_programs(tmp_path / "file")
    with pytest.raises(ValueError, match="Name another one, or set JAX_COMPILATION_CACHE_DIR"):
        keep_compiled_programs(tmp_path / "file" / "below")


def test_a_folder_without_permission(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the superuser may write anywhere
    with pytest.raises(ValueError, match="got one without permission to write"):
        keep_compiled_programs(tmp_path)
