"""A recurrent decoder of tokens: one step, teacher forcing, greedy decoding."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxdl import checks
from jaxdl.layers import Dropout
from jaxdl.models.recurrent.attention import AdditiveAttention, LuongAttention
from jaxdl.models.recurrent.cells import MakeCell, make_cell
from jaxdl.models.recurrent.recurrence import held, in_dtype
from jaxdl.models.recurrent.sequences import Steps

Carry = Any
ATTENTION = (None, "additive", "dot", "general")


class Memory(NamedTuple):
    """What a decoder attends to.

    Attributes:
      values: `(batch, steps, features)`.
      mask: which steps count, `(batch, steps)`; None for all.
      keys: of the attention, computed once; None where it has none.
    """

    values: jax.Array
    mask: Steps
    keys: jax.Array | None


class DecoderState(NamedTuple):
    """Between two steps of a decoder.

    Attributes:
      carries: of the cells, the bottom one first.
      query: `(batch, units)`, the bottom layer's last output, by which additive attention looks.
    """

    carries: tuple[Carry, ...]
    query: jax.Array


class Decoder(nn.Module):
    """Stacked cells that read a token and, by attention, a memory, and give logits of the next token.

    With "additive" attention (Bahdanau; Wu et al.) the bottom layer's output of the step before asks, and the context
    goes to every layer beside its input. With "dot" or "general" (Luong) the top layer's output h of this step asks,
    and `tanh(W [context, h])` goes on. None does without a memory.

    Attributes:
      vocabulary: number of tokens.
      sizes: units of each layer.
      embedding: numbers for each token that goes in; None: as many as the first layer has units.
      cell: see `RecurrentNetwork`.
      attention: None, "additive", "dot" or "general".
      residual_from: the first layer, counted from 1, to whose output its input is added; None for none. The context is
        no part of that input.
      dropout_rate: probability to DROP an entry of what goes into a layer and into the logits.
      dtype: of the computation; `None` infers it from inputs and parameters.
    """

    vocabulary: int
    sizes: Sequence[int]
    embedding: int | None = None
    cell: str | MakeCell = "lstm"
    attention: Literal["additive", "dot", "general"] | None = None
    residual_from: int | None = None
    dropout_rate: float = 0.0
    dtype: Any = None

    def setup(self) -> None:
        """Embedding, cells, attention and head."""
        checks.whole_number(vocabulary=self.vocabulary, minimum=1, remedy="Count the tokens, start and end included.")
        checks.one_of(attention=self.attention, among=ATTENTION, remedy="None does without.")
        self.embed = nn.Embed(self.vocabulary, embedding_width(self.embedding, self.sizes), dtype=self.dtype)
        self.cells = [make_cell(self.cell, size, dtype=self.dtype) for size in self.sizes]
        self.dropout = Dropout(self.dropout_rate)
        self.head = nn.Dense(self.vocabulary, dtype=self.dtype)
        if self.attention == "additive":
            self.attend = AdditiveAttention(self.sizes[0], dtype=self.dtype)
        elif self.attention is not None:
            self.attend = LuongAttention(self.attention, dtype=self.dtype)
            self.combine = nn.Dense(self.sizes[-1], use_bias=False, dtype=self.dtype)

    def remember(self, values: jax.Array, mask: Steps) -> Memory | None:
        """The memory of an encoder's outputs `(batch, steps, features)`; None without attention."""
        if self.attention is None:
            return None
        return Memory(values, mask, self.attend.keys(values) if self.attention == "additive" else None)

    def start(self, batch: int, *, carries: Sequence[Carry] | None = None) -> DecoderState:
        """The state before the first step: zeros, or the carries given."""
        if carries is None:
            key = jax.random.key(0)
            carries = [c.initialize_carry(key, (batch, n)) for c, n in zip(self.cells, self.sizes, strict=True)]
        params = jax.tree.leaves(self.variables.get("params", {}))
        dtype = self.dtype or jnp.result_type(*(leaf.dtype for leaf in params or [jnp.zeros(0)]))
        return DecoderState(in_dtype(tuple(carries), dtype), jnp.zeros((batch, self.sizes[0]), dtype))

    def advance(
        self, state: DecoderState, x: jax.Array, memory: Memory | None, train: bool = False
    ) -> tuple[DecoderState, jax.Array]:
        """The state after inputs `(batch, embedding)`, and features `(batch, units)` of the next token."""
        context = None
        if memory is not None and self.attention == "additive":
            context, _ = self.attend(state.query, memory.values, memory.mask, keys=memory.keys)
        carries, query = [], state.query
        for number, (cell, carry) in enumerate(zip(self.cells, state.carries, strict=True), start=1):
            read = self.dropout(x, deterministic=not train)
            read = read if context is None else jnp.concatenate([read, context.astype(read.dtype)], -1)
            after, y = cell(carry, read)
            carries.append(held(carry, after, None))
            query = y.astype(query.dtype) if number == 1 else query
            x = x + y if self.residual_from is not None and number >= self.residual_from else y
        if memory is not None and self.attention != "additive":
            context, _ = self.attend(x, memory.values, memory.mask)
            x = nn.tanh(self.combine(jnp.concatenate([context.astype(x.dtype), x], -1)))
        return DecoderState(tuple(carries), query), self.dropout(x, deterministic=not train)

    def step(
        self, state: DecoderState, tokens: jax.Array, memory: Memory | None, train: bool = False
    ) -> tuple[DecoderState, jax.Array]:
        """The state after tokens `(batch,)`, and logits `(batch, vocabulary)` of the next ones."""
        state, features = self.advance(state, self.embed(tokens), memory, train)
        return state, self.head(features)

    def forced(
        self, state: DecoderState, tokens: jax.Array, memory: Memory | None, start_token: int, train: bool = False
    ) -> jax.Array:
        """Logits `(batch, steps, vocabulary)` of tokens `(batch, steps)`, each after the true ones before it."""
        before = jnp.concatenate([jnp.full_like(tokens[:, :1], start_token), tokens[:, :-1]], 1)

        def turn(decoder: "Decoder", state: DecoderState, x: jax.Array) -> tuple[DecoderState, jax.Array]:
            return decoder.advance(state, x, memory, train)

        scan = nn.scan(
            turn, variable_broadcast="params", split_rngs={"params": False, "dropout": True}, in_axes=1, out_axes=1
        )
        _, features = scan(self, state, self.embed(before))
        return self.head(features)

    def greedy(
        self, state: DecoderState, memory: Memory | None, num_steps: int, start_token: int, end_token: int | None
    ) -> jax.Array:
        """The likeliest token after the likeliest before it, `(batch, num_steps)` int32; after an end only ends."""

        def turn(decoder: "Decoder", carry: Any, _: None) -> tuple[Any, jax.Array]:
            state, token, ended = carry
            state, logits = decoder.step(state, token, memory)
            token = jnp.argmax(logits, -1).astype(jnp.int32)
            if end_token is not None:
                token = jnp.where(ended, end_token, token)
                ended |= token == end_token
            return (state, token, ended), token

        batch = state.query.shape[0]
        scan = nn.scan(
            turn, variable_broadcast="params", split_rngs={"params": False}, length=num_steps,
            out_axes=1,
        )  # fmt: skip
        _, tokens = scan(self, (state, jnp.full(batch, start_token, jnp.int32), jnp.zeros(batch, bool)), None)
        return tokens


def embedding_width(embedding: int | None, sizes: Sequence[int]) -> int:
    """Numbers for each token: as given, or as many as the first layer has units.

    Raises:
      ValueError: no layer, or no number.
    """
    if not sizes:
        raise ValueError("sizes: expected the units of at least one layer; got none. Give for example (100,).")
    if embedding is None:
        return sizes[0]
    checks.whole_number(embedding=embedding, minimum=1, remedy="Take as many as the first layer has units.")
    return embedding
