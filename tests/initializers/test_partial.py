import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.initializers import load_partial

NEW = {"conv": {"kernel": jnp.zeros((3, 2)), "bias": jnp.zeros(2)}, "head": {"kernel": jnp.zeros((2, 5))}}
OLD = {
    "conv": {"kernel": np.arange(6.0).reshape(3, 2), "bias": np.ones(2)},
    "top": {"kernel": np.ones((2, 5))},
    "head": {"kernel": np.ones((2, 7))},
}


def test_chosen_leaves_come_from_the_source_and_the_others_stay():
    loaded = load_partial(NEW, OLD, where="conv/*")
    np.testing.assert_array_equal(loaded["conv"]["kernel"], OLD["conv"]["kernel"])
    np.testing.assert_array_equal(loaded["conv"]["bias"], 1)
    assert loaded["head"]["kernel"] is NEW["head"]["kernel"]


@pytest.mark.parametrize("rename", [{"head/kernel": "top/kernel"}, lambda path: path.replace("head", "top")])
def test_renamed_paths(rename):
    loaded = load_partial(NEW, OLD, rename=rename)
    np.testing.assert_array_equal(loaded["head"]["kernel"], 1)
    np.testing.assert_array_equal(loaded["conv"]["bias"], 1)


def test_dtypes_are_those_of_the_new_model():
    new = {"w": jnp.zeros(2, jnp.bfloat16)}
    assert load_partial(new, {"w": np.ones(2)})["w"].dtype == jnp.bfloat16


def test_all_that_does_not_fit_is_listed():
    with pytest.raises(
        ValueError,
        match=r"source: expected a leaf of the same shape.*conv/bias of shape \(2,\) from gone: no such leaf; "
        r"head/kernel of shape \(2, 5\) from head/kernel: shape \(2, 7\)\. .* The paths of source are: conv/bias",
    ):
        load_partial(NEW, OLD, rename={"conv/bias": "gone"})


def test_patterns_and_names_that_match_nothing():
    with pytest.raises(ValueError, match=r"where='nothing' matches no leaf"):
        load_partial(NEW, OLD, where="nothing")
    with pytest.raises(ValueError, match=r"rename: expected paths of params as keys; got \['tail'\]"):
        load_partial(NEW, OLD, rename={"tail": "top"})
