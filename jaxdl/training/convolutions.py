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

from jaxdl.jaxprs import bind, evaluate, open_jaxpr

CONVOLUTION = "conv_general_dilated"


def canonical_convolutions(fn: Callable[..., Any]) -> Callable[..., Any]:
    """`fn` with the operands of every convolution transposed to NHWC and HWIO; the same function otherwise.

    Anywhere but on CPU, and for a function without convolutions, it is `fn` itself that is called.
    """

    def canonical(*args: Any) -> Any:
        if jax.default_backend() != "cpu":
            return fn(*args)
        closed, shapes = jax.make_jaxpr(fn, return_shape=True)(*args)
        if not _convolves(closed):
            return fn(*args)
        outputs = evaluate(open_jaxpr(closed), closed.consts, jax.tree.leaves(args), _rule)
        return jax.tree.unflatten(jax.tree.structure(shapes), outputs)

    return canonical


def _rule(position: int, eqn: Any, arguments: list[Any]) -> Any:
    if eqn.primitive.name == CONVOLUTION:
        return [_convolution(eqn, *arguments)]
    # Calls keep their kind (a remat stays one): only the program inside them is rewritten.
    replaced = {name: _rewritten(value) for name, value in eqn.params.items() if _convolves(value)}
    return bind(eqn, arguments, **replaced) if replaced else None


def _convolves(value: Any) -> bool:
    """Whether a parameter of an equation is a program, or programs, with a convolution in it."""
    if isinstance(value, (tuple, list)):
        return any(_convolves(item) for item in value)
    equations = getattr(open_jaxpr(value), "eqns", ())
    return any(eqn.primitive.name == CONVOLUTION or any(map(_convolves, eqn.params.values())) for eqn in equations)


def _rewritten(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return type(value)(_rewritten(item) if _convolves(item) else item for item in value)
    jaxpr, consts = open_jaxpr(value), getattr(value, "consts", ())
    inputs = [jax.ShapeDtypeStruct(var.aval.shape, var.aval.dtype) for var in jaxpr.invars]
    closed = jax.make_jaxpr(lambda *args: evaluate(jaxpr, consts, args, _rule))(*inputs)
    return closed if isinstance(value, type(closed)) else closed.jaxpr


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
