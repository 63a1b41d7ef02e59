"""A cell, run over the steps of a batch of sequences."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxdl.models.recurrent.sequences import Steps, hide

Carry = Any


class Recurrence(nn.Module):
    """`(h_t, y_t) = cell(h_{t-1}, x_t)` at the steps that count; the others leave the carry as it is, and give 0.

    It differs from `flax.linen.RNN` in three ways: a carry starts in the dtype of the computation and keeps it, where
    Flax's is of the parameters' dtype, which a cell computed in bfloat16 may refuse; padding may hold anything, NaN
    included; a sequence may be empty, or padded in front.

    Attributes:
      cell: a `flax.linen.RNNCellBase`; its parameters are under `cell`.
      reverse: whether to run from the last step to the first; outputs stay in the order of the inputs.
      dtype: of the carry; `None` takes that of inputs and parameters.
    """

    cell: nn.RNNCellBase
    reverse: bool = False
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, mask: Steps = None, *, carry: Carry = None) -> tuple[Carry, jax.Array]:
        """The last carry, and outputs `(batch, steps, units)`, of inputs `(batch, steps, features)`.

        Args:
          x: inputs.
          mask: which steps count, `(batch, steps)` bool; None for all.
          carry: to start from, in place of the cell's own.
        """
        if carry is None:
            carry = self.cell.initialize_carry(jax.random.key(0), (x.shape[0], x.shape[2]))
        carry = in_dtype(carry, self.dtype or computed_in(self.cell, x))

        def turn(cell: nn.RNNCellBase, carry: Carry, step: tuple[jax.Array, Steps]) -> tuple[Carry, jax.Array]:
            x, counts = step
            after, y = cell(carry, x)
            return held(carry, after, counts), y

        # A mask that is None has no leaves, and what is not there is not scanned.
        scan = nn.scan(
            turn, variable_broadcast="params", split_rngs={"params": False, "dropout": True}, in_axes=1, out_axes=1,
            reverse=self.reverse,
        )  # fmt: skip
        carry, outputs = scan(self.cell, carry, (hide(x, mask), mask))
        return carry, hide(outputs, mask)


def held(carry: Carry, after: Carry, counts: Steps) -> Carry:
    """The carry after a step, in the dtypes of the one before; that one where the step does not count."""

    def choose(old: jax.Array, new: jax.Array) -> jax.Array:
        new = new.astype(old.dtype)
        if counts is None:
            return new
        return jnp.where(jnp.reshape(counts, (-1, *(1 for _ in old.shape[1:]))), new, old)

    return jax.tree.map(choose, carry, after)


def in_dtype(carry: Carry, dtype: Any) -> Carry:
    """The carry with its floating-point leaves in `dtype`."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, carry)


def computed_in(cell: nn.RNNCellBase, x: jax.Array) -> Any:
    """The dtype in which a cell with `dtype=None` computes: inputs and parameters, promoted."""
    params = jax.tree.leaves(cell.variables.get("params", {}))
    return jnp.result_type(x, *(leaf.dtype for leaf in params))
