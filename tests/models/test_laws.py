"""The laws of the design for every reference model: engines, resume, gradients of examples; devices have their own."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import training
from jaxdl.diagnostics import losses_of, per_example_gradient_norms
from jaxdl.training.engines import ENGINES
from tests.models.all_cases import CASES, begun, each_case

BATCH, STEPS = 4, 4
kept_step = cache(lambda name: begun(CASES[name]))  # a step is kept, and its programs with it


def run(name, *, steps=STEPS, engine="loop", **options):
    step, state = kept_step(name)
    data = CASES[name].data
    return training.fit(
        step, state, data, steps=steps, batch_size=BATCH, engine=engine, chunk_size=2, progress=False, **options
    ).state


@each_case
def test_engines_give_the_same_bytes_and_parameters_move(name, same_bytes):
    states = [run(name, engine=engine) for engine in ENGINES]
    for other in states[1:]:
        same_bytes(states[0], other)
    before, after = (jax.tree.leaves(state.params) for state in (kept_step(name)[1], states[0]))
    assert np.mean([bool(np.any(a != b)) for a, b in zip(before, after, strict=True)]) > 0.5
    assert all(np.isfinite(leaf).all() for leaf in after)


@each_case
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(name, tmp_path, same_bytes):
    run(name, steps=1, folder=tmp_path)
    same_bytes(run(name, folder=tmp_path), run(name))


@each_case
def test_gradients_of_examples_are_exact(name):
    case, state = CASES[name], kept_step(name)[1]
    losses_fn = losses_of(case.objective, model_state=state.model_state, key=jax.random.key(2))
    batch = jax.tree.map(lambda leaf: jnp.asarray(leaf[:BATCH]), case.data)
    one = jax.jit(lambda params, i: jax.grad(lambda params: losses_fn(params, batch)[i])(params))
    singles = [jax.tree.leaves(one(state.params, i)) for i in range(BATCH)]
    expected = [np.sqrt(sum((np.asarray(leaf, np.float64) ** 2).sum() for leaf in leaves)) for leaves in singles]
    norms = per_example_gradient_norms(losses_fn, state.params, batch)
    np.testing.assert_allclose(norms, expected, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.mixes])
def test_a_model_that_mixes_examples_is_refused(name):
    case, state = CASES[name], kept_step(name)[1]
    losses_fn = losses_of(case.objective, model_state=state.model_state, key=jax.random.key(2), train=True)
    with pytest.raises(ValueError, match=case.mixes):
        per_example_gradient_norms(losses_fn, state.params, jax.tree.map(lambda leaf: leaf[:BATCH], case.data))
