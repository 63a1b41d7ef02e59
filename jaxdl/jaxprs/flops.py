"""Floating-point operations of a traced program's matrix products and convolutions, counted exactly."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxdl.jaxprs.evaluation import open_jaxpr


def matrix_flops(jaxpr: Any) -> int | None:
    """Floating-point operations of all matrix products and convolutions, a multiplication and an addition being two.

    A convolution's products with padding and with the zeros of a dilation are not counted, the turns of a scan all
    are; of branches the dearest counts. XLA's own figure counts every operation, but the body of a loop only once.

    Args:
      jaxpr: of `jax.make_jaxpr`.

    Returns:
      The number; None for a program with products in a loop of unknown length, or in a kernel of its own.
    """
    counts = [_of_equation(eqn) for eqn in open_jaxpr(jaxpr).eqns]
    return None if None in counts else sum(count for count in counts if count is not None)


def _of_equation(eqn: Any) -> int | None:
    name = eqn.primitive.name
    if name == "dot_general":
        (contracted, _), _ = eqn.params["dimension_numbers"]
        lhs = eqn.invars[0].aval.shape
        return 2 * math.prod(eqn.outvars[0].aval.shape) * math.prod(lhs[axis] for axis in contracted)
    if name == "conv_general_dilated":
        return _of_convolution(eqn)
    inner = [matrix_flops(body) for value in eqn.params.values() for body in _bodies(value)]
    if not any(count != 0 for count in inner):
        return 0
    if None in inner or name in ("while", "pallas_call"):
        return None
    counts = [count for count in inner if count is not None]
    if name == "cond":
        return max(counts)
    return sum(counts) * (eqn.params["length"] if name == "scan" else 1)


def _bodies(value: Any) -> list[Any]:
    """The programs in a parameter of an equation."""
    if isinstance(value, (tuple, list)):
        return [body for item in value for body in _bodies(item)]
    return [value] if hasattr(open_jaxpr(value), "eqns") else []


def _of_convolution(eqn: Any) -> int:
    (lhs, rhs), out, params = (var.aval.shape for var in eqn.invars), eqn.outvars[0].aval.shape, eqn.params
    numbers = params["dimension_numbers"]
    products = out[numbers.out_spec[0]] * out[numbers.out_spec[1]] * rhs[numbers.rhs_spec[1]]
    for i, axes in enumerate(zip(numbers.lhs_spec[2:], numbers.rhs_spec[2:], numbers.out_spec[2:], strict=True)):
        image, window, places = lhs[axes[0]], rhs[axes[1]], out[axes[2]]
        products *= _meetings(
            image, window, places,
            stride=params["window_strides"][i], padding=params["padding"][i],
            spread=(params["lhs_dilation"][i], params["rhs_dilation"][i]),
        )  # fmt: skip
    return 2 * products


def _meetings(
    image: int, window: int, places: int, *, stride: int, padding: Sequence[int], spread: tuple[int, int]
) -> int:
    """In how many places of a window along one axis one of its entries lies on an entry of the image."""
    positions = np.arange(places)[:, None] * stride + np.arange(window)[None] * spread[1] - padding[0]
    on_image = (positions >= 0) & (positions <= (image - 1) * spread[0]) & (positions % spread[0] == 0)
    return int(on_image.sum())
