import time
from functools import partial

import jax
import jax.numpy as jnp
import pytest

from jaxdl.training.compilation import RecompilationWarning, Stopwatch


@partial(jax.jit, static_argnames="power")
def program(x, y, *, power):
    return (x + y) ** power


def test_each_program_is_compiled_once():
    watch = Stopwatch()
    x = jnp.ones(3)
    for power in (2, 3, 2, 3):
        call = watch.compiled(program, x, x, power=power)
        assert call(x, x).tolist() == [2.0**power] * 3
    assert len(watch.executables) == 2
    assert watch.compile_seconds > 0


def test_another_shape_is_named():
    watch = Stopwatch()
    watch.compiled(program, jnp.ones(3), jnp.ones(3), power=2)
    with pytest.warns(
        RecompilationWarning, match=r"program is compiled once more, for argument `y`: float32\[1\] now, "
    ):
        watch.compiled(program, jnp.ones(3), jnp.ones(1), power=2)
    watch.compiled(program, jnp.ones(3), jnp.ones(1), power=2)
    assert len(watch.executables) == 2


def test_a_weak_type_is_compiled_for_without_a_word():
    watch = Stopwatch()
    watch.compiled(program, jnp.ones(3), 1.0, power=2)
    watch.compiled(program, jnp.ones(3), jnp.float32(1), power=2)
    assert len(watch.executables) == 2


def test_the_rest_is_run_seconds():
    watch = Stopwatch()
    before = time.perf_counter()
    watch.compiled(program, jnp.ones(5), jnp.ones(5), power=7)
    time.sleep(0.05)
    seconds = time.perf_counter() - before
    assert 0.05 <= watch.run_seconds
    assert watch.run_seconds + watch.compile_seconds == pytest.approx(seconds, abs=0.05)
