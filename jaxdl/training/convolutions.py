"""Convolutions in loops at full speed on CPU, to the same bytes as outside them.

XLA's CPU compiler brings the convolutions of a program into the one layout its fast kernel knows, but only those
outside of loops; a convolution inside a scan, above all the gradient of one, runs a naive kernel several times slower
that also rounds differently (jax issue 12868). Here the same layout is made before XLA sees the program.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.lax import ConvDimensionNumbers

from jaxdl.jaxprs import bind, evaluate, mentions, open_jaxpr, rewrite_inside

CONVOLUTION = "conv_general_dilated"


def canonical_convolutions(fn: Callable[..., Any]) -> Callable[..., Any]:
    """`fn` with the operands of every convolution transposed to NHWC and HWIO; the same function otherwise.

    Anywhere but on CPU, and for a function without convolutions, it is `fn` itself that is called.
    """

    def canonical(*args: Any) -> Any:
        if jax.default_backend() != "cpu":
            return fn(*args)
        closed, shapes = jax.make_jaxpr(fn, return_shape=True)(*args)
        if not mentions(closed, {CONVOLUTION}):
            return fn(*args)
        outputs = evaluate(open_jaxpr(closed), closed.consts, jax.tree.leaves(args), _rule)
        return jax.tree.unflatten(jax.tree.structure(shapes), outputs)

    return canonical


def _rule(position: int, eqn: Any, arguments: list[Any]) -> Any:
    if eqn.primitive.name == CONVOLUTION:
        return [_convolution(eqn, *arguments)]
    return rewrite_inside(eqn, arguments, {CONVOLUTION}, _rule)


def _convolution(eqn: Any, lhs: jax.Array, rhs: jax.Array) -> jax.Array:
    numbers = eqn.params["dimension_numbers"]
    spatial = range(lhs.ndim - 2)
    # A spec lists batch, feature and spatial axes of an image, or output, input and spatial axes of a kernel.
    image = lambda spec: (spec[0], *spec[2:], spec[1])  # noqa: E731
    kernel = lambda spec: (*spec[2:], spec[1], spec[0])  # noqa: E731
    nhwc = (0, lhs.ndim - 1, *(axis + 1 for axis in spatial))
    canonical = ConvDimensionNumbers(nhwc, (lhs.ndim - 1, lhs.ndim - 2, *spatial), nhwc)
    operands = lhs.transpose(image(numbers.lhs_spec)), rhs.transpose(kernel(numbers.rhs_spec))
    (out,) = bind(eqn, operands, dimension_numbers=canonical)
    return out.transpose(np.argsort(image(numbers.out_spec)))
