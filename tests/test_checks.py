"""What a number may be: domains with both ends, and numbers known before a trace."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import checks


def test_a_closed_interval():
    for value in (0, 0.5, 1, np.float64(1), jnp.asarray(1.0), jnp.asarray(1.0, jnp.bfloat16)):
        checks.number(x=value, minimum=0, maximum=1, remedy="")
    with pytest.raises(ValueError, match=r"x: expected one finite number >= 0 and <= 1; got 1\.5\. Halve it\."):
        checks.number(x=1.5, minimum=0, maximum=1, remedy="Halve it.")


@pytest.mark.parametrize("value", [jnp.asarray(0.5), jnp.asarray(2)])
def test_an_array_known_before_a_trace_is_judged_inside_of_it(value):
    def judged(limit):
        checks.number(x=value, minimum=0, below=limit, remedy="")
        return jnp.zeros(())

    assert jax.jit(lambda: judged(3))() == 0
    with pytest.raises(ValueError, match=r"x: expected one finite number >= 0 and < 0\.25; got Array"):
        jax.jit(lambda: judged(0.25))()


def test_compiled_functions():
    checks.compiled_function(loss_fn=len, remedy="")
    with pytest.raises(TypeError, match=r"loss_fn: expected a function; got int\. Pass one\."):
        checks.compiled_function(loss_fn=1, remedy="Pass one.")
    unhashable = type("Losses", (), {"__call__": lambda self: 0, "__eq__": lambda a, b: True})()
    with pytest.raises(TypeError, match=r"loss_fn: expected something hashable, .*; got Losses, which is not\. Define"):
        checks.compiled_function(loss_fn=unhashable, remedy="")


@pytest.mark.parametrize("values", [(), (1,), [3, np.int64(4)]])
def test_sequences_of_whole_numbers(values):
    checks.whole_numbers(sizes=values, remedy="")
    checks.whole_numbers(sizes=values, length=len(values), remedy="")
    with pytest.raises(ValueError, match=r"sizes: expected a sequence of 9 whole numbers >= 1; got "):
        checks.whole_numbers(sizes=values, length=9, remedy="")


@pytest.mark.parametrize("values", [3, "12", None, (0,), (1, True), (1.0,), {1: 2}])
def test_what_is_no_sequence_of_whole_numbers(values):
    with pytest.raises(ValueError, match=r"sizes: expected a sequence of whole numbers >= 1; got .*\. Do this\."):
        checks.whole_numbers(sizes=values, remedy="Do this.")
    with pytest.raises(ValueError, match=r"sizes: expected a sequence of 3 whole numbers >= 1; got \(1, 2\)\. Do"):
        checks.whole_numbers(sizes=(1, 2), length=3, remedy="Do this.")


def test_batches_of_images():
    for batch in (0, 1, 5):
        checks.images(np.zeros((batch, 8, 9, 1)), minimum=8, remedy="")
    for shape in ((1, 7, 8, 1), (1, 8, 7, 1), (1, 8, 8, 0), (8, 8, 1), (1, 1, 8, 8, 1)):
        with pytest.raises(ValueError, match=r"x: expected images .* of at least 8 x 8 pixels; got shape .*\. Do this"):
            checks.images(np.zeros(shape), minimum=8, remedy="Do this.")
