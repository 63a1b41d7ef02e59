"""Stacked measurements."""

from dataclasses import dataclass, field

import jax
import numpy as np
import pytest

from jaxdl.diagnostics.reporting.stacked import Stackable, single


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Measured(Stackable):
    norms: jax.Array
    layers: tuple[str, ...] = field(metadata={"static": True})


def test_one_of_several_or_some_with_the_names_kept():
    stacked = Measured(jax.numpy.arange(6.0).reshape(3, 2), ("a", "b"))
    assert isinstance(stacked[1], Measured)
    assert stacked[1].layers == ("a", "b")
    np.testing.assert_array_equal(stacked[1].norms, [2, 3])
    np.testing.assert_array_equal(stacked[:2].norms, [[0, 1], [2, 3]])


@pytest.mark.parametrize(
    ("axes", "otherwise", "message"),
    [
        (("layers",), "", r"^flow: expected one measurement, arrays of shape \(layers,\); got shape \(2, 3, 4\)\. "
         r"Pick one, such as flow\[0\]\.$"),
        (("maps", "examples"), ", or fold them", r"shape \(maps, examples\); got .*flow\[0\], or fold them\.$"),
        ((), "", r"arrays of shape \(\); got shape"),
    ],
)  # fmt: skip
def test_a_report_of_several_is_refused(axes, otherwise, message):
    single("flow", np.ones((2,) * len(axes)), axes, otherwise=otherwise)
    with pytest.raises(ValueError, match=message):
        single("flow", np.ones((2, 3, 4)), axes, otherwise=otherwise)
