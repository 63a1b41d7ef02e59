"""Which equations make every entry of their outputs from the same entry of their operands."""

from typing import Any

import jax.numpy as jnp

from jaxdl.jaxprs.evaluation import open_jaxpr

ELEMENTWISE = frozenset({
    "abs", "acos", "acosh", "add", "add_any", "and", "asin", "asinh", "atan", "atan2", "atanh", "bessel_i0e",
    "bessel_i1e", "bitcast_convert_type", "cbrt", "ceil", "clamp", "clz", "complex", "conj", "convert_element_type",
    "copy", "copy_p", "cos", "cosh", "digamma", "div", "eq", "eq_to", "erf", "erf_inv", "erfc", "exp", "exp2",
    "expm1", "floor", "ge", "gt", "igamma", "igamma_grad_a", "igammac", "imag", "integer_pow", "is_finite", "le",
    "le_to", "lgamma", "log", "log1p", "log2", "logistic", "lt", "layout_constraint", "lt_to", "max", "mesh_cast",
    "min", "mul", "name", "ne", "neg", "nextafter", "not", "one_minus_square", "or", "polygamma", "population_count",
    "pow", "pvary", "random_fold_in", "random_gamma_grad", "random_seed", "random_wrap_elements", "real",
    "reduce_precision", "regularized_incomplete_beta", "rem", "reshard", "round", "rsqrt", "select_n",
    "sharding_constraint", "shift_left", "shift_right_arithmetic", "shift_right_logical", "sign", "sin", "sinh", "sqrt",
    "square", "stop_gradient", "sub", "tan", "tanh", "threefry2x32", "xor", "zeta",
})  # fmt: skip


def elementwise(eqn: Any) -> bool:
    """Whether every entry of the outputs is made from the same entry of the operands, scalars apart."""
    name, shape = eqn.primitive.name, eqn.outvars[0].aval.shape
    alike = all(atom.aval.shape in (shape, ()) or atom.aval.size == 1 for atom in eqn.invars)
    if name in ELEMENTWISE:
        return True
    inside = next((eqn.params[key] for key in ("call_jaxpr", "fun_jaxpr", "jaxpr") if key in eqn.params), None)
    if inside is None or name in ("scan", "while", "cond"):
        return False
    return alike and all(_harmless(inner) for inner in open_jaxpr(inside).eqns)


def _harmless(eqn: Any) -> bool:
    grown = eqn.primitive.name in ("broadcast_in_dim", "reshape") and eqn.invars[0].aval.size == 1
    return grown or elementwise(eqn)


def is_floating(aval: Any) -> bool:
    """Whether arrays of this kind have a gradient."""
    return jnp.issubdtype(getattr(aval, "dtype", jnp.int32), jnp.inexact)


def is_real(aval: Any) -> bool:
    """Whether arrays of this kind have a gradient, and no imaginary part."""
    return jnp.issubdtype(getattr(aval, "dtype", jnp.int32), jnp.floating)
