"""What a number may be: domains with both ends, and numbers known before a trace."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdl
from jaxdl import checks

OBJECTIVE = jaxdl.training.supervised(jaxdl.models.MLP((2,)), jaxdl.losses.softmax_cross_entropy)
PARAMS, BATCH = {"w": np.ones(2, np.float32)}, (np.ones((3, 2), np.float32), np.zeros(3, np.int32))


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


def test_losses_of_examples_are_told_from_objectives():
    for fn in (lambda params, batch: batch, lambda params, batch, *, scale=1: batch, jnp.add):
        checks.losses_fn(fn)

    def objective(params, batch, *, model_state, key, train):
        return batch

    with pytest.raises(
        TypeError, match=r"losses_fn: expected a function of \(params, batch\) alone; got one that needs model_state, "
        r"key, train, too, as objectives do\. Pass jaxdl\.diagnostics\.losses_of\(objective\)\."
    ):  # fmt: skip
        checks.losses_fn(objective)
    with pytest.raises(TypeError, match="losses_fn: expected a function of"):
        checks.losses_fn(3)


@pytest.mark.parametrize("measure", ["per_example_gradient_norms", "per_example_gradients", "gradient_statistics"])
def test_an_objective_in_the_place_of_losses_is_named(measure):
    with pytest.raises(TypeError, match=r"losses_of\(objective\)"):
        getattr(jaxdl.diagnostics, measure)(OBJECTIVE, PARAMS, BATCH)


def test_so_is_one_whose_influence_is_asked_for():
    one = tuple(array[:1] for array in BATCH)
    with pytest.raises(TypeError, match=r"losses_of\(objective\)"):
        jaxdl.diagnostics.influential_examples(OBJECTIVE, [PARAMS], BATCH, one, learning_rates=[0.1])


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
