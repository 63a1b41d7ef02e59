import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import training
from jaxdl.training.compilation import RecompilationError, compiled_once

from ..conftest import make_task

CHECKOUT = Path(__file__).parents[3]


def test_a_step_loop_is_compiled_once(digits_like):
    task = make_task(digits_like, optax.adam(0.01))
    step = compiled_once(task.step)
    x, y = digits_like
    state = task.state
    for start in range(0, 40, 10):
        state, _ = step(state, (x[start : start + 10], y[start : start + 10]))
    assert step.num_programs == 1
    reference = training.fit(task.step, task.state, task.data, steps=4, batch_size=10, shuffle=False)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), state.params, reference.state.params)
    with pytest.raises(
        RecompilationError, match=r"TrainStep: expected arguments .* argument `batch\[0\]`: float32\[9,4"
    ):
        step(state, (x[:9], y[:9]))


def test_nothing_is_compiled_before_it_is_refused():
    traces = []

    def double(x):
        traces.append(x.shape)
        return 2 * x

    guarded = compiled_once(double)
    np.testing.assert_array_equal(guarded(jnp.ones(3)), [2, 2, 2])
    message = (
        r"double: expected arguments for which it was compiled; got argument `x`: float32\[4\] now, float32\[3\] "
        r"before\. Keep shapes .* compiled_once\(\.\.\., max_programs=2\)"
    )
    with pytest.raises(RecompilationError, match=message):
        guarded(jnp.ones(4))
    assert traces == [(3,)]
    np.testing.assert_array_equal(guarded.jitted(jnp.ones(4)), [2, 2, 2, 2])
    assert (guarded.__name__, guarded.num_programs) == ("double", 1)


def test_as_many_programs_as_allowed():
    guarded = compiled_once(lambda x: x, max_programs=2)
    for length in (3, 4, 3, 4):
        guarded(jnp.ones(length))
    assert guarded.num_programs == 2
    with pytest.raises(RecompilationError, match=r"<lambda>: .* float32\[5\] now, float32\[3\] .* max_programs=3"):
        guarded(jnp.ones(5))
    assert guarded.num_programs == 2


@pytest.mark.parametrize("options", [dict(static_argnames="n"), dict(static_argnums=1), dict(static_argnums=(1,))])
def test_static_arguments(options):
    def repeat(x, n=2):
        return jnp.tile(x, n)

    guarded = compiled_once(repeat, **options)
    assert guarded(jnp.ones(1)).shape == (2,)
    assert guarded(jnp.ones(1), 2).shape == (2,)
    with pytest.raises(RecompilationError, match="static argument `n`: 3 now, 2 before"):
        guarded(jnp.ones(1), 3)


def test_options_reach_jit():
    guarded = compiled_once(lambda x: x + 1, donate_argnums=0)
    x = jnp.ones(1000)
    guarded(x)
    assert x.is_deleted()


def test_it_can_be_transformed():
    guarded = compiled_once(lambda x: jnp.sum(x**2))
    np.testing.assert_allclose(jax.vmap(jax.grad(guarded))(jnp.arange(6.0).reshape(3, 2)), [[0, 2], [4, 6], [8, 10]])


def test_shardings_of_one_device_are_alike():
    guarded = compiled_once(lambda x: x)
    mesh = jax.make_mesh((1,), ("data",))
    guarded(jnp.ones(4))
    guarded(jax.device_put(jnp.ones(4), jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))))
    assert guarded.num_programs == 1


TWO_DEVICES = """
import jax, jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from jaxdl.training.compilation import RecompilationError, compiled_once
mesh = jax.make_mesh((2,), ("data",))
guarded = compiled_once(lambda x: 2 * x)
split, whole = (jax.device_put(jnp.ones(4), NamedSharding(mesh, PartitionSpec(*spec))) for spec in (("data",), ()))
guarded(split)
guarded(jax.device_put(jnp.ones(4), NamedSharding(mesh, PartitionSpec(("data",)))))
try:
    guarded(whole)
except RecompilationError as error:
    print(error)
"""


def test_another_sharding_is_named():
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2", "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run([sys.executable, "-c", TWO_DEVICES], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "argument `x`: float32[4] on NamedSharding" in done.stdout
    assert " now, on NamedSharding" in done.stdout


def test_what_is_no_function():
    with pytest.raises(TypeError, match="fn: expected a function; got int"):
        compiled_once(3)
    with pytest.raises(ValueError, match="max_programs: expected a whole number >= 1; got 0"):
        compiled_once(len, max_programs=0)
