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
