"""The laws of the design for every reference model: engines, resume, per-example gradients; devices have their own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import training
from jaxdl.diagnostics import losses_of, per_example_gradient_norms, per_example_gradients
from jaxdl.training.engines import ENGINES
from tests.models.all_cases import CASES, begun
from tests.models.cases import Case

BATCH, STEPS = 4, 5
each_case = pytest.mark.parametrize("name", CASES)


def run(case: Case, step, state, *, steps=STEPS, **options):
    return training.fit(step, state, case.data, steps=steps, batch_size=BATCH, progress=False, **options).state


@each_case
def test_engines_give_the_same_bytes_and_parameters_move(name, same_bytes):
    case = CASES[name]
    step, state = begun(case)
    states = [run(case, step, state, engine=engine, chunk_size=3) for engine in ENGINES]
    for other in states[1:]:
        same_bytes(states[0], other)
    moved = [bool(np.any(a != b)) for a, b in zip(*map(jax.tree.leaves, (state.params, states[0].params)), strict=True)]
    assert np.mean(moved) > 0.5
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(states[0].params))


@each_case
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(name, tmp_path, same_bytes):
    case = CASES[name]
    step, state = begun(case)
    run(case, step, state, steps=2, folder=tmp_path)
    same_bytes(run(case, step, state, folder=tmp_path), run(case, step, state))


@each_case
def test_gradients_of_examples_are_exact(name):
    case = CASES[name]
    _, state = begun(case)
    losses_fn = losses_of(case.objective, model_state=state.model_state, key=jax.random.key(2))
    batch = jax.tree.map(lambda leaf: jnp.asarray(leaf[:BATCH]), case.data)
    rows = jax.jit(jax.jacrev(lambda params: losses_fn(params, batch)))(state.params)
    squares = [(np.asarray(leaf, np.float64) ** 2).sum(tuple(range(1, leaf.ndim))) for leaf in jax.tree.leaves(rows)]
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)  # noqa: E731
    jax.tree.map(close, per_example_gradients(losses_fn, state.params, batch), rows)
    norms = per_example_gradient_norms(losses_fn, state.params, batch)
    np.testing.assert_allclose(norms, np.sqrt(sum(squares)), rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.mixes])
def test_a_model_that_mixes_examples_is_refused(name):
    case = CASES[name]
    _, state = begun(case)
    losses_fn = losses_of(case.objective, model_state=state.model_state, key=jax.random.key(2), train=True)
    with pytest.raises(ValueError, match=case.mixes):
        per_example_gradient_norms(losses_fn, state.params, jax.tree.map(lambda leaf: leaf[:BATCH], case.data))
