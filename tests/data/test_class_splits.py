"""Division by class against plain masks."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.data import Examples, Splits, load, split_by_class


@pytest.fixture
def examples():
    y = np.array([3, 0, 7, 3, 9, 0, 7], np.int32)
    return Examples(np.arange(7, dtype=np.float32)[:, None] * [[1, 10]], y)


def test_examples_in_their_order_relabelled_in_the_order_of_classes(examples):
    first, second = split_by_class(examples, [7, 0])
    np.testing.assert_array_equal(first.x[:, 0], [1, 2, 5, 6])
    assert first.y.tolist() == [1, 0, 1, 0]
    np.testing.assert_array_equal(second.x[:, 0], [0, 3, 4])
    assert second.y.tolist() == [0, 0, 1]
    assert first.y.dtype == second.y.dtype == np.int32


def test_labels_may_stay(examples):
    first, second = split_by_class(examples, [7, 0], relabel=False)
    assert first.y.tolist() == [0, 7, 0, 7]
    assert second.y.tolist() == [3, 3, 9]


def test_splits_are_relabelled_alike_where_a_class_lacks():
    part = lambda *labels: Examples(np.array(labels, np.float32)[:, None], np.array(labels, np.int32))  # noqa: E731
    first, second = split_by_class(Splits(part(0, 1, 5, 6, 7), part(7, 0), part(6, 1)), [0, 1])
    assert [p.y.tolist() for p in first] == [[0, 1], [0], [1]]
    assert [p.y.tolist() for p in second] == [[0, 1, 2], [2], [1]]  # class 7 is 2 everywhere
    assert [p.x.ravel().tolist() for p in second] == [[5, 6, 7], [7], [6]]
    assert isinstance(first, Splits)


def test_digits_0_to_4_and_5_to_9():
    digits = load("digits")
    low, high = split_by_class(digits, range(5))
    for whole, a, b in zip(digits, low, high, strict=True):
        np.testing.assert_array_equal(a.x, whole.x[whole.y < 5])
        np.testing.assert_array_equal(a.y, whole.y[whole.y < 5])
        np.testing.assert_array_equal(b.x, whole.x[whole.y >= 5])
        np.testing.assert_array_equal(b.y, whole.y[whole.y >= 5] - 5)


def test_a_part_without_a_class_may_be_empty_and_jax_arrays_do():
    splits = Splits(*(Examples(jnp.ones((len(y), 1)), jnp.array(y)) for y in ([0, 1], [0], [1])))
    first, second = split_by_class(splits, [0])
    assert [len(p.y) for p in (*first, *second)] == [1, 1, 0, 1, 0, 1]
    assert first.test.x.shape == (0, 1)


@pytest.mark.parametrize("classes", [[], [0, 0], [1], [0, 3, 7, 9]])
def test_classes_that_divide_nothing(examples, classes):
    with pytest.raises(ValueError, match=r"classes: expected some, not all, of the classes \[0, 3, 7, 9\], each once"):
        split_by_class(examples, classes)


@pytest.mark.parametrize("classes", [[1.5], [0.0], ["0"], [[0, 3]], [True]])
def test_classes_that_are_no_indices(examples, classes):
    with pytest.raises(
        TypeError, match=r"classes: expected integer class indices; got \[.*Pass for example range\(5\)"
    ):
        split_by_class(examples, classes)


def test_classes_may_be_an_array(examples):
    for classes in (np.array([7, 0]), jnp.array([7, 0], jnp.uint8), (np.int32(7), 0)):
        assert split_by_class(examples, classes)[0].y.tolist() == [1, 0, 1, 0]


def test_refusals(examples):
    with pytest.raises(TypeError, match="data: expected Splits or Examples; got tuple"):
        split_by_class(tuple(examples), [0])  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="y: expected integer class indices; got float64"):
        split_by_class(Examples(examples.x, examples.y / 1), [0])
    with pytest.raises(ValueError, match=r"y: expected class indices of shape \(N,\); got \(7, 10\)"):
        split_by_class(Examples(examples.x, np.eye(10, dtype=int)[examples.y]), [0])
