import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import tree

PARAMS = {
    "kernel": np.ones((2, 2)),
    "block": {"Dense_0": {"kernel": np.full((2, 3), 2.0), "bias": np.zeros(3)}, "norm": {"scale": np.ones(3)}},
    "list": [np.zeros((1, 1)), np.zeros(1)],
}


def chosen(where):
    mask = tree.leaf_paths(tree.resolve(where, PARAMS))
    return {path for path, value in mask.items() if value}


def test_paths_name_dictionaries_and_sequences_alike():
    assert set(tree.leaf_paths(PARAMS)) == {
        "kernel", "block/Dense_0/kernel", "block/Dense_0/bias", "block/norm/scale", "list/0", "list/1",
    }  # fmt: skip


def test_paths_name_attributes():
    @jax.tree_util.register_dataclass
    @__import__("dataclasses").dataclass
    class Pair:
        left: jax.Array
        right: jax.Array

    assert list(tree.leaf_paths(Pair(jnp.zeros(1), jnp.zeros(1)))) == ["left", "right"]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("**/kernel", {"kernel", "block/Dense_0/kernel"}),
        ("*/kernel", set()),
        ("block/**", {"block/Dense_0/kernel", "block/Dense_0/bias", "block/norm/scale"}),
        ("block/*/scale", {"block/norm/scale"}),
        ("list/?", {"list/0", "list/1"}),
        (tree.is_bias, {"block/Dense_0/bias"}),
        (tree.is_kernel, {"kernel", "block/Dense_0/kernel", "list/0"}),
        (["kernel", tree.is_bias], {"kernel", "block/Dense_0/bias"}),
        (None, {"kernel", "block/Dense_0/kernel", "block/Dense_0/bias", "block/norm/scale", "list/0", "list/1"}),
    ],
)
def test_where(where, expected):
    if expected:
        assert chosen(where) == expected
    else:
        with pytest.raises(ValueError, match="matches no leaf"):
            chosen(where)


def test_weights_are_told_from_what_else_has_two_dimensions():
    """Names as flax gives them; stacked over three layers, every leaf but the scalar has two dimensions or more."""
    from flax import linen as nn

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.BatchNorm(use_running_average=True)(nn.Dense(4)(x))
            return nn.LayerNorm()(nn.PReLU()(x))

    params = Block().init(jax.random.key(0), np.ones((1, 4)))["params"]
    stacked = jax.tree.map(lambda leaf: jnp.stack([jnp.atleast_1d(leaf)] * 3), params)
    assert min(jnp.ndim(leaf) for leaf in jax.tree.leaves(stacked)) == 2
    for where in (params, stacked):
        mask = tree.leaf_paths(tree.resolve(tree.is_kernel, where))
        assert [path for path, value in mask.items() if value] == ["Dense_0/kernel"]


def test_a_dot_in_a_pattern_is_a_dot():
    assert tree.leaf_paths(tree.resolve("a.b", {"a.b": 1, "axb": 2})) == {"a.b": True, "axb": False}


def test_names_with_signs_of_patterns_and_of_expressions_in_them():
    names = {"k*[x]?": {"": 1.0, "n\n": 2.0}, "k(x)": {"n": 3.0}}
    for where, expected in (
        ("k?[x]?/**", {"k*[x]?/", "k*[x]?/n\n"}),
        ("**/n*", {"k*[x]?/n\n", "k(x)/n"}),
        ("k(x)/*", {"k(x)/n"}),
        ("*/", {"k*[x]?/"}),
    ):
        assert {path for path, keep in tree.leaf_paths(tree.resolve(where, names)).items() if keep} == expected


def test_a_pattern_that_matches_nothing_lists_the_paths():
    with pytest.raises(
        ValueError, match=r"where='\*\*/weight' matches no leaf\. The paths are: block/Dense_0/bias, .*"
    ):
        tree.resolve("**/weight", PARAMS)


def test_one_idle_pattern_among_several_is_an_error_too():
    with pytest.raises(ValueError, match="'nothing' matches no leaf"):
        tree.resolve(["**/kernel", "nothing"], PARAMS)


def test_where_of_another_kind():
    with pytest.raises(TypeError, match=r"where: expected a glob string.*got int"):
        tree.resolve(3, PARAMS)  # type: ignore[arg-type]


def test_norms_against_numpy():
    norms = tree.leaf_norms(PARAMS)
    assert float(norms["block/Dense_0/kernel"]) == pytest.approx(np.linalg.norm(PARAMS["block"]["Dense_0"]["kernel"]))
    joint = tree.joint_norm(norms, ["kernel", "block/norm/scale"])
    assert float(joint) == pytest.approx(np.sqrt(4 + 3))
    assert float(tree.joint_norm(norms, [])) == 0.0


def test_layer_of_a_leaf():
    assert tree.layer_of("a/b/kernel") == "a/b"
    assert tree.layer_of("kernel") == "kernel"


def test_num_examples():
    assert tree.num_examples((np.zeros((5, 2)), np.zeros(5))) == 5


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ((np.zeros((5, 2)), np.zeros(4)), "0: 5, 1: 4"),
        ((), "no array"),
        (np.zeros(()), "scalar"),
        (np.zeros((0, 2)), "0"),
    ],
)
def test_num_examples_refuses(data, found):
    with pytest.raises(ValueError, match=f"data: expected arrays that share one leading example axis.*{found}"):
        tree.num_examples(data)


def test_two_leaves_of_one_path():
    with pytest.raises(ValueError, match="tree: expected one leaf a path; got two called 'a/b'"):
        tree.leaf_paths({"a/b": 1, "a": {"b": 2}})


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        ([3e-30, 4e-30], 5e-30),
        ([3e30, 4e30], 5e30),
        ([1.8e38, 2.4e38], 3e38),  # 1 / 2.4e38 is subnormal
        ([0.0, 0.0], 0.0),
        ([], 0.0),
        ([1.0, np.inf], np.inf),
        ([1.0, np.nan], np.nan),
        ([3 + 4j], 5.0),
    ],
)
def test_norms_neither_overflow_nor_underflow(array, expected):
    np.testing.assert_allclose(tree.norm(jnp.asarray(array)), expected, rtol=1e-6)


@pytest.mark.parametrize("axis", [0, -1, (0, 2), (0, 1, 2), None])
@pytest.mark.parametrize("keepdims", [False, True])
def test_norms_over_some_axes_against_numpy(axis, keepdims):
    array = np.random.RandomState(0).randn(3, 4, 5).astype(np.float32)
    expected = np.sqrt(np.square(array.astype(np.float64)).sum(axis, keepdims=keepdims))
    norms = tree.norm(array, axis=axis, keepdims=keepdims)
    assert norms.shape == expected.shape
    np.testing.assert_allclose(norms, expected, rtol=1e-6)


def test_the_norm_of_one_row_is_no_business_of_another():
    rows = jnp.array([[3e30, 4e30], [3e-30, 4e-30], [np.nan, 1.0], [0.0, 0.0]])
    np.testing.assert_allclose(tree.norm(rows, axis=1), [5e30, 5e-30, np.nan, 0.0], rtol=1e-6)


def test_half_precision_norms_are_float32():
    value = tree.norm(jnp.full(10_000, 100.0, jnp.float16))
    assert value.dtype == jnp.float32
    assert float(value) == pytest.approx(1e4)


def test_leaves_left_out_are_known_by_path_and_shape_but_not_chosen():
    part = {"a": {"kernel": tree.Absent.of(jnp.ones((2, 3))), "bias": jnp.ones(3)}, "b": tree.Absent.of(jnp.ones(2))}
    assert list(tree.leaf_paths(part)) == ["a/bias"]
    for where in (
        tree.is_kernel,
        "**/kernel",
        "b",
        lambda path, leaf: leaf.dtype == jnp.float32 and leaf.shape == (2,),
    ):
        assert jax.tree.leaves(tree.resolve(where, part)) == [False]
    assert jax.tree.leaves(tree.resolve(("b", tree.is_bias), part)) == [True]
    assert jax.tree.leaves(tree.resolve(None, part)) == [True]
    with pytest.raises(ValueError, match=r"where='c' matches no leaf\. The paths are: a/bias, a/kernel, b\."):
        tree.resolve("c", part)
    narrow = {**part, "b": tree.Absent.of(jnp.ones(2, jnp.bfloat16))}
    assert jax.tree.structure(part) == jax.tree.structure(narrow), "of the same structure whatever the dtype"


def test_the_norm_has_a_derivative_at_zero_too():
    np.testing.assert_array_equal(jax.grad(tree.norm)(jnp.zeros(3)), np.zeros(3))
    np.testing.assert_allclose(jax.grad(tree.norm)(jnp.array([3.0, -4.0])), [0.6, -0.8], rtol=1e-6)


def test_number_of_entries():
    assert tree.num_entries({"a": np.zeros((2, 3)), "b": [1.0, np.zeros(0)]}) == 7
    assert tree.num_entries({}) == 0
