"""The comparison notices what differs, and the page shows what was compared."""

import numpy as np
import pytest

from tests.peers.table import Row, merged, page

ONES = np.ones(3)


@pytest.mark.parametrize(
    "theirs",
    [
        ONES + 1e-5, [1, np.nan, 1], [1, np.inf, 1], np.ones((3, 1)), np.ones(1), [1e-3, 1, 1],
    ],
)  # fmt: skip
def test_a_difference_is_noticed(agree, theirs):
    with pytest.raises(AssertionError):
        agree("f", "peer", "value", ONES, theirs)


def test_ours_that_is_not_finite_is_noticed(agree):
    with pytest.raises(AssertionError):
        agree("f", "peer", "value", [1, np.nan], [1, 1])
    with pytest.raises(AssertionError):
        agree("f", "peer", "value", [np.inf, 1], [-np.inf, 1])


def test_the_scale_is_the_largest_entry_unless_given(agree):
    agree("f", "peer", "value", [1000, 1e-4], [1000, 2e-4])
    with pytest.raises(AssertionError):
        agree("f", "peer", "value", [1000, 1e-4], [1000, 2e-4], scale=1.0)


def test_nothing_to_compare_is_an_error(agree):
    with pytest.raises(AssertionError):
        agree("f", "peer", "value", [], [])


def test_rows_of_one_comparison_are_merged_to_the_worst():
    rows = [
        Row("g", "torch", "gradient by x", 1e-7, 3e-7, 1e-6, "how"),
        Row("g", "torch", "gradient by w", 2e-7, 2e-7, 1e-6, "how"),
        Row("g", "torch", "value", 0.0, 0.0, 1e-6, "how"),
        Row("f", "keras", "value", 1e-8, 1e-8, 1e-6, ""),
    ]
    first, second, third = merged(rows)
    assert first == rows[3]
    assert second == Row("g", "torch", "gradient by x, w", 2e-7, 3e-7, 1e-6, "how")
    assert third == rows[2]
    assert page(rows).splitlines()[-1] == "| `g` | torch | value | 0 | 0 | 1.0e-06 | how |"
