import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.diagnostics.gradients.chunks import over_chunks

X = np.random.RandomState(0).rand(7, 2).astype(np.float32)


def summed(carry, part):
    return carry + part["x"].sum(0), part["x"] * 2


@pytest.mark.parametrize("size", [1, 2, 3, 6, 7, 100, None])
def test_every_example_is_taken_once_and_in_order(size):
    total, out = over_chunks(summed, jnp.zeros(2), {"x": X}, size=size)
    np.testing.assert_allclose(total, X.sum(0), rtol=1e-6)
    np.testing.assert_array_equal(out, 2 * X)


@pytest.mark.parametrize(("size", "lengths"), [(3, [3, 1]), (7, [7]), (9, [7]), (1, [1])])
def test_no_part_is_longer_than_asked_for(size, lengths):
    seen = []

    def note(carry, part):
        seen.append(len(part))
        return carry, part

    jax.eval_shape(lambda x: over_chunks(note, None, x, size=size), X)
    assert sorted(set(seen), reverse=True) == lengths


@pytest.mark.parametrize(("size", "loops"), [(3, True), (7, False), (9, False), (None, False)])
def test_what_fits_is_taken_without_a_loop(size, loops):
    program = jax.make_jaxpr(lambda x: over_chunks(summed, jnp.zeros(2), {"x": x}, size=size))(X)
    assert ("scan" in {eqn.primitive.name for eqn in program.eqns}) == loops


def test_errors():
    with pytest.raises(ValueError, match="batch: expected arrays that share one leading example axis"):
        over_chunks(summed, jnp.zeros(2), {"x": X[:0]}, size=2)
