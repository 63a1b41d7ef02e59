"""Attention over the steps of a memory: additive (Bahdanau) and multiplicative (Luong)."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxdl import checks
from jaxdl.models.recurrent.sequences import Steps

SCORES = ("dot", "general")


class AdditiveAttention(nn.Module):
    """`e_j = v . tanh(W q + U m_j)`, `w = softmax(e)` over the steps that count, `context = sum_j w_j m_j`.

    Attributes:
      units: of the hidden layer.
      dtype: of the computation; `None` infers it from inputs and parameters.

    References:
      Bahdanau, Cho, Bengio, "Neural machine translation by jointly learning to align and translate", 2015, A.1.2.
    """

    units: int
    dtype: Any = None

    def setup(self) -> None:
        """The three linear maps."""
        checks.whole_number(units=self.units, minimum=1, remedy="Take as many as the decoder has.")
        self.query, self.key = (nn.Dense(self.units, use_bias=False, dtype=self.dtype) for _ in range(2))
        self.score = nn.Dense(1, use_bias=False, dtype=self.dtype)

    def keys(self, memory: jax.Array) -> jax.Array:
        """U m_j of a memory `(batch, steps, features)`; they stay the same while one decodes."""
        return self.key(memory)

    def __call__(
        self, query: jax.Array, memory: jax.Array, mask: Steps = None, *, keys: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Context `(batch, features)` and weights `(batch, steps)`, float32 at least.

        Args:
          query: `(batch, units of the decoder)`.
          memory: `(batch, steps, features)`.
          mask: which steps count, `(batch, steps)`; None for all. Where none does, weights and context are 0.
          keys: those of the memory, where they are at hand.
        """
        keys = self.keys(memory) if keys is None else keys
        scores = self.score(nn.tanh(self.query(query)[:, None, :] + keys))[..., 0]
        return _context(scores, memory, mask)


class LuongAttention(nn.Module):
    """`e_j = q . m_j` ("dot") or `q . W m_j` ("general"), then as for `AdditiveAttention`.

    Attributes:
      score: "dot", for a memory as wide as the query, or "general".
      dtype: of the computation; `None` infers it from inputs and parameters.

    References:
      Luong, Pham, Manning, "Effective approaches to attention-based neural machine translation", 2015, equation 8.
    """

    score: Literal["dot", "general"] = "dot"
    dtype: Any = None

    @nn.compact
    def __call__(
        self, query: jax.Array, memory: jax.Array, mask: Steps = None, *, keys: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Context and weights, see `AdditiveAttention`; `keys` has no use here."""
        checks.one_of(score=self.score, among=SCORES, remedy="'dot' has no parameters.")
        if self.score == "general":
            # The query is mapped, once, and not every step of the memory.
            query = nn.Dense(memory.shape[-1], use_bias=False, dtype=self.dtype, name="general")(query)
        elif query.shape[-1] != memory.shape[-1]:
            raise ValueError(
                f"score: expected a memory as wide as the query for 'dot'; got {memory.shape[-1]} and "
                f"{query.shape[-1]}. Use 'general', or as many units in the decoder as the encoder gives."
            )
        return _context(jnp.einsum("bf,bjf->bj", query, memory), memory, mask)


def _context(scores: jax.Array, memory: jax.Array, mask: Steps) -> tuple[jax.Array, jax.Array]:
    scores = scores.astype(jnp.promote_types(scores.dtype, jnp.float32))
    if mask is not None:
        scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
    weights = jax.nn.softmax(scores, -1)
    if mask is not None:  # of an empty memory every score is the same
        weights = jnp.where(mask, weights, 0)
    return jnp.einsum("bj,bjf->bf", weights.astype(memory.dtype), memory), weights
