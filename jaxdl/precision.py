"""Mixed precision by policy: a model computed in bfloat16 around parameters and results in float32."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import tree
from jaxdl.jaxprs import bind, evaluate, open_jaxpr, rewrite_inside
from jaxdl.model import Model, Variables, as_model

PyTree = Any
FULL = jnp.float32

_PRODUCTS = ("dot_general", "conv_general_dilated")
_MOVES = ("broadcast_in_dim", "copy", "reshape", "slice", "squeeze", "transpose")  # numbers stay as they are


def mixed_precision(model: Any, *, compute: Any = jnp.bfloat16, keep: tree.Where = ()) -> Model:
    """The same model, computed in bfloat16; parameters, running statistics, outputs and gradients are float32.

    Parameters and floating-point inputs are rounded to `compute` on the way in, and outputs come back in float32, so
    that loss and metrics are taken there. In between

    * every matrix product and every convolution, those of the gradient included, multiplies numbers of `compute` and
      adds them up in float32; left alone are products with a parameter that is kept, and those that ask for a
      `precision`, whose parameters come unrounded;
    * what the model itself computes in float32 stays there, such as the statistics of Flax's normalization layers,
      and the parameters it meets there come unrounded, such as their scales and biases;
    * gathers and scatters add up in float32, above all in the gradient of an embedding, which in bfloat16 would stop
      growing at 256 examples;
    * the model state keeps its dtypes.

    The range of bfloat16 is that of float32, so no loss scale is needed. State, checkpoints, averages and optimizers
    never see the policy.

    Args:
      model: whatever `jaxdl.as_model` takes.
      compute: bfloat16, or float32, which changes nothing.
      keep: parameters that are not rounded (`where`, see `jaxdl.tree`; none by default). Products with them are in
        float32, and by promotion so is what is added or multiplied behind them: the outputs, with those of the last
        layer.

    Returns:
      A model with the same parameters.

    Raises:
      ValueError: another `compute`; when called, a `keep` that matches no parameter.

    References:
      Micikevicius et al., "Mixed precision training", 2018; Kalamkar et al., "A study of bfloat16 for deep learning
      training", 2019.

    Example:
      >>> fast = mixed_precision(jaxdl.models.MLP((512, 10)), keep="Dense_1/*")  # doctest: +SKIP
    """
    full = as_model(model)
    dtype = jnp.dtype(compute)
    if dtype == FULL:
        return full
    if dtype != jnp.bfloat16:
        raise ValueError(
            f"compute: expected bfloat16 or float32; got {dtype}. Numbers of float16 need a scale of the loss, without "
            "which small gradients are 0: use bfloat16."
        )

    def apply(
        variables: Variables, x: PyTree, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, Variables]:
        params = variables["params"]
        kept = tree.resolve(keep, params)
        low = jax.tree.map(lambda leaf, stays: leaf if stays else _cast(leaf, dtype), params, kept)
        state = {name: value for name, value in variables.items() if name != "params"}
        inputs = jax.tree.map(lambda leaf: _cast(leaf, dtype), x)

        def run(params: PyTree, state: Variables, x: PyTree, key: jax.Array | None) -> tuple[Any, Variables]:
            return full.apply({"params": params, **state}, x, train=train, key=key)

        arguments = (low, state, inputs, key)
        closed, shapes = jax.make_jaxpr(run, return_shape=True)(*arguments)
        policy = _Policy(dtype, jax.tree.leaves(low), jax.tree.leaves(params))
        leaves = evaluate(open_jaxpr(closed), closed.consts, jax.tree.leaves(arguments), policy.rule)
        outputs, after = jax.tree.unflatten(jax.tree.structure(shapes), leaves)
        outputs = jax.tree.map(lambda leaf: _cast(leaf, jnp.promote_types(leaf.dtype, FULL)), outputs)
        return outputs, _with_dtypes_of(state, after)

    return Model(full.init, apply)


class _Policy:
    """The rule by which a program is computed, traced with the parameters rounded; see `jaxprs.evaluate`.

    Values are told apart by identity, and kept here, so that none gets the identity of another.
    """

    def __init__(self, dtype: Any, low: Sequence[Any], full: Sequence[Any]) -> None:
        self._dtype = dtype
        # The parameter itself behind a rounded one, or one that is kept; as far as its numbers only move about.
        self._full = {id(a): (a, b) for a, b in zip(low, full, strict=True) if not _is_low(b)}

    def rule(self, position: int, eqn: Any, arguments: list[Any]) -> Sequence[Any] | None:
        """The outputs of an equation that is to be computed otherwise."""
        name = eqn.primitive.name
        full = self._of(arguments[0]) if arguments else None
        if name == "convert_element_type" and full is not None and full.dtype == eqn.params["new_dtype"]:
            return [full]
        if name in _MOVES and full is not None:
            outputs = bind(eqn, arguments)
            moved = outputs if full is arguments[0] else bind(eqn, [full, *arguments[1:]])
            self._full[id(outputs[0])] = (outputs[0], moved[0])
            return outputs
        if name in _PRODUCTS:
            return self._product(eqn, arguments)
        if name in _SUMS and _is_low(arguments[0]):
            operand = _cast(arguments[0], FULL) if full is None else full
            return [_SUMS[name](eqn, operand, *arguments[1:]).astype(arguments[0].dtype)]
        if name in ("jit", "pjit") and any(self._of(argument) is not None for argument in arguments):
            body = eqn.params["jaxpr"]
            return evaluate(open_jaxpr(body), body.consts, arguments, self.rule)
        kept = [self._is_kept(argument) for argument in arguments]

        def entered(inputs: Sequence[Any]) -> None:
            for value, is_kept in zip(reversed(inputs), reversed(kept), strict=False):
                if is_kept:
                    self._full[id(value)] = (value, value)

        return rewrite_inside(eqn, arguments, {*_PRODUCTS, *_SUMS}, self.rule, entered=entered)

    def _product(self, eqn: Any, arguments: list[Any]) -> Sequence[Any] | None:
        out = eqn.outvars[0].aval.dtype
        wide = jnp.issubdtype(out, jnp.floating) and any(argument.dtype != self._dtype for argument in arguments)
        # What asks for more than the default precision of this backend means it.
        asked = eqn.params["precision"] not in (None, (jax.lax.Precision.DEFAULT,) * 2)
        if wide and asked:
            return bind(eqn, [argument if self._of(argument) is None else self._of(argument) for argument in arguments])
        if not wide or any(map(self._is_kept, arguments)):
            return None
        rounded = [_cast(argument, self._dtype) for argument in arguments]
        # In its output, too, so that the products of the derivative have such operands as well.
        return [output.astype(out) for output in bind(eqn, rounded, preferred_element_type=self._dtype)]

    def _of(self, value: Any) -> Any:
        return self._full.get(id(value), (None, None))[1]

    def _is_kept(self, value: Any) -> bool:
        return self._of(value) is value


def _cast(leaf: Any, dtype: Any) -> Any:
    """A floating-point array in this precision; anything else as it is."""
    known = jnp.result_type(leaf)
    return jnp.asarray(leaf, dtype) if jnp.issubdtype(known, jnp.floating) and known != dtype else leaf


def _is_low(value: Any) -> bool:
    return jnp.issubdtype(value.dtype, jnp.floating) and value.dtype.itemsize < 4


def _gather(eqn: Any, operand: jax.Array, indices: jax.Array) -> jax.Array:
    return bind(eqn, [operand, indices])[0]


def _scatter_add(eqn: Any, operand: jax.Array, indices: jax.Array, updates: jax.Array) -> jax.Array:
    # Not bound again, since the equation holds its addition as a program of the old dtype.
    names = ("dimension_numbers", "indices_are_sorted", "unique_indices", "mode")
    options = {name: eqn.params[name] for name in names}
    return jax.lax.scatter_add(operand, indices, updates.astype(operand.dtype), **options)


# A scatter adds up in the precision of its operand, and the derivative of a gather is one.
_SUMS = {"gather": _gather, "scatter-add": _scatter_add}


def _with_dtypes_of(before: Variables, after: Variables) -> Variables:
    """The new state in the dtypes of the old one, where it has the same leaves."""
    old = tree.leaf_paths(before)
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: _cast(leaf, jnp.result_type(old.get(tree.path_name(path), leaf))), after
    )
