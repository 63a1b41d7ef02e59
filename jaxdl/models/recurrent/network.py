"""Stacked recurrent layers, and classifiers of sequences and of their steps."""

from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxdl import checks
from jaxdl.layers import Dropout
from jaxdl.models.recurrent.cells import MakeCell, make_cell
from jaxdl.models.recurrent.recurrence import Recurrence
from jaxdl.models.recurrent.sequences import Steps, at_end, hide, inputs_and_mask

Carry = Any
DIRECTIONS = ("none", "first", "all")
RETURNS = ("steps", "last")


class RecurrentNetwork(nn.Module):
    """Layers of recurrent cells: `y_l = layer_l(y_{l-1})`, `y_0 = x`, and `y_l + y_{l-1}` from a chosen layer on.

    Input: an array `(batch, steps, features)`; or a pair `(array, lengths)`, or a dictionary of `x` and `lengths`, with
    lengths `(batch,)` or a mask `(batch, steps)` of the steps that count. Steps that do not count leave every state as
    it is, may hold anything, and give 0.

    Output: `(batch, steps, units)` or, with `returns="last"`, `(batch, units)`, the top layer at the last step that
    counts; its backward half, where there is one, at the first. With `num_outputs` a linear layer, `head`, is put on
    either. Layers are called `layer_1`, `layer_2`, ..., backward ones `layer_1_backward`; cells are under `cell`.

    Attributes:
      sizes: units of each layer.
      cell: "tanh", "relu", "irnn", "lstm" or "gru", "layer_norm_..." of tanh, lstm and gru, "weight_norm_..." of these;
        or a function `(features, dtype=...) -> cell`, such as `nn.GRUCell` or a `functools.partial` of one. Named LSTMs
        start with a forget bias of 1.
      num_outputs: of the linear layer on top; None for none.
      returns: "steps" or "last".
      bidirectional: "none", "first" or "all" layers have a second cell that runs from the end to the beginning; outputs
        are those of both, side by side.
      residual_from: the first layer, counted from 1, to whose output its input is added; None for none.
      dropout_rate: probability to DROP an entry of a layer's input, from the second layer on, and of the head's.
      dtype: of the computation, states included; `None` infers it from input and parameters.

    Example:
      >>> model = jaxdl.models.RecurrentNetwork((100,), "irnn", num_outputs=10, returns="last")  # doctest: +SKIP

    References:
      Elman 1990; Schuster, Paliwal 1997 (bidirectional); Zaremba, Sutskever, Vinyals 2014 (dropout between layers);
      Wu et al. 2016, equation 6 (residual connections).
    """

    sizes: Sequence[int]
    cell: str | MakeCell = "lstm"
    num_outputs: int | None = None
    returns: Literal["steps", "last"] = "steps"
    bidirectional: Literal["none", "first", "all"] = "none"
    residual_from: int | None = None
    dropout_rate: float = 0.0
    dtype: Any = None

    @nn.compact
    def __call__(
        self, x: Any, *, train: bool = False, carries: Sequence[Carry] | None = None, return_carries: bool = False
    ) -> Any:
        """Outputs; with `return_carries` a pair of these and the last carry of every layer.

        Args:
          x: sequences, see the class.
          train: whether entries are dropped.
          carries: what the layers start from, as they are returned: of a bidirectional layer a pair.
          return_carries: whether to return them.
        """
        self._check(carries)
        x, mask = inputs_and_mask(x)
        x, after = hide(x, mask), []
        for number, size in enumerate(self.sizes, start=1):
            if number > 1:
                x = Dropout(self.dropout_rate, name=f"dropout_{number}")(x, deterministic=not train)
            carry, y = self._layer(number, size, x, mask, None if carries is None else carries[number - 1])
            after.append(carry)
            x = x + _same_shape(number, x, y) if self.residual_from and number >= self.residual_from else y
        if self.returns == "last":
            x = self.last(x, mask)
        if self.num_outputs is not None:
            x = Dropout(self.dropout_rate, name="dropout_head")(x, deterministic=not train)
            x = nn.Dense(self.num_outputs, dtype=self.dtype, name="head")(x)
            x = hide(x, mask) if self.returns == "steps" else x
        return (x, tuple(after)) if return_carries else x

    @nn.nowrap
    def _two_ways(self, number: int) -> bool:
        return self.bidirectional == "all" or (self.bidirectional == "first" and number == 1)

    def _layer(self, number: int, size: int, x: jax.Array, mask: Steps, carry: Carry) -> tuple[Carry, jax.Array]:
        def one(name: str, carry: Carry, reverse: bool) -> tuple[Carry, jax.Array]:
            cell = make_cell(self.cell, size, dtype=self.dtype)
            return Recurrence(cell, reverse=reverse, dtype=self.dtype, name=name)(x, mask, carry=carry)

        if not self._two_ways(number):
            return one(f"layer_{number}", carry, False)
        there, back = (None, None) if carry is None else carry
        there, forward = one(f"layer_{number}", there, False)
        back, backward = one(f"layer_{number}_backward", back, True)
        return (there, back), jnp.concatenate([forward, backward], -1)

    @nn.nowrap
    def last(self, x: jax.Array, mask: Steps) -> jax.Array:
        """Of the top layer's outputs `(batch, steps, units)` those of "last", `(batch, units)`."""
        if not self._two_ways(len(self.sizes)):
            return at_end(x, mask)
        forward, backward = jnp.split(x, 2, -1)
        return jnp.concatenate([at_end(forward, mask), at_end(backward, mask, first=True)], -1)

    def _check(self, carries: Sequence[Carry] | None) -> None:
        if not self.sizes:
            raise ValueError("sizes: expected the units of at least one layer; got none. Give for example (100,).")
        checks.one_of(returns=self.returns, among=RETURNS, remedy="'last' for one output a sequence.")
        checks.one_of(bidirectional=self.bidirectional, among=DIRECTIONS, remedy="'none' runs forwards only.")
        if self.num_outputs is not None:
            checks.whole_number(num_outputs=self.num_outputs, minimum=1, remedy="None leaves the linear layer out.")
        if self.residual_from is not None:
            checks.whole_number(residual_from=self.residual_from, minimum=1, remedy="Wu et al. begin with layer 3.")
        if carries is not None and len(carries) != len(self.sizes):
            raise ValueError(
                f"carries: expected one for each of {len(self.sizes)} layers; got {len(carries)}. "
                "Pass those that return_carries=True gave."
            )


def _same_shape(number: int, x: jax.Array, y: jax.Array) -> jax.Array:
    if x.shape != y.shape:
        raise ValueError(
            f"residual_from: expected layer {number} to give as many units as it takes, since they are added; got "
            f"{y.shape[-1]} for {x.shape[-1]}. Begin at a later layer, or change sizes."
        )
    return y
