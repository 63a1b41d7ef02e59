"""Encoder and decoder with attention, teacher-forced in training, and the eight-layer shape of GNMT."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxdl import checks
from jaxdl.models.recurrent.cells import MakeCell, make_cell
from jaxdl.models.recurrent.decoder import Decoder, DecoderState, Memory, embedding_width
from jaxdl.models.recurrent.network import RecurrentNetwork
from jaxdl.models.recurrent.sequences import Steps, inputs_and_mask

STARTS = ("copy", "dense", "zeros")


class EncoderDecoder(nn.Module):
    """`p(y_1 .. y_T | source) = prod_t p(y_t | y_1 .. y_{t-1}, source)`, by two recurrent networks.

    Input, in training: a dictionary of `source` `(batch, steps)` and `target` `(batch, steps)`, whole numbers, and
    `lengths` of the sources, where they are padded (or a mask). Output: logits `(batch, steps, target_vocabulary)`;
    that of step t has seen `target[:, :t]` (teacher forcing). The loss is
    `losses.step_mean(losses.softmax_cross_entropy)` of these and the target, with the target's lengths.

    `encode` and `decode_step` are one step of any search; `greedy` is the simplest:
    `model.apply(variables, {"source": source}, num_steps, method="greedy")`.

    Parts: `source_embedding`, `encoder` (a `RecurrentNetwork`), `starts_0` ..., `decoder` (a `Decoder`).

    Attributes:
      source_vocabulary, target_vocabulary: numbers of tokens.
      encoder_sizes, decoder_sizes: units of each layer.
      embedding: numbers for each token; None: as many as the first layer has units.
      cell: of both networks, see `RecurrentNetwork`.
      attention: None, "additive", "dot" or "general", see `Decoder`.
      bidirectional: of the encoder: "none", "first" or "all".
      residual_from: of both, see `RecurrentNetwork`; None for none.
      start: what the decoder's states start from: "dense", `tanh(W s)` of the encoder's top layer at its end s
        (Bahdanau et al.); "copy" of the encoder's states, layer by layer (Sutskever et al.); or "zeros".
      dropout_rate: probability to DROP, see `RecurrentNetwork` and `Decoder`.
      start_token: goes before the first token of a target.
      end_token: after which `greedy` gives nothing else; None for none.
      dtype: of the computation; `None` infers it from inputs and parameters.

    References:
      Sutskever, Vinyals, Le 2014; Bahdanau, Cho, Bengio 2015; Luong, Pham, Manning 2015.
    """

    source_vocabulary: int
    target_vocabulary: int
    encoder_sizes: Sequence[int]
    decoder_sizes: Sequence[int]
    embedding: int | None = None
    cell: str | MakeCell = "lstm"
    attention: Literal["additive", "dot", "general"] | None = "additive"
    bidirectional: Literal["none", "first", "all"] = "none"
    residual_from: int | None = None
    start: Literal["copy", "dense", "zeros"] = "dense"
    dropout_rate: float = 0.0
    start_token: int = 0
    end_token: int | None = None
    dtype: Any = None

    def setup(self) -> None:
        """Both networks."""
        checks.whole_number(source_vocabulary=self.source_vocabulary, minimum=1, remedy="Count the tokens.")
        checks.one_of(start=self.start, among=STARTS, remedy="'dense' fits networks of any shapes.")
        both: Any = dict(
            cell=self.cell, residual_from=self.residual_from, dropout_rate=self.dropout_rate, dtype=self.dtype
        )  # fmt: skip
        self.encoder = RecurrentNetwork(self.encoder_sizes, bidirectional=self.bidirectional, **both)
        self.source_embedding = nn.Embed(
            self.source_vocabulary, embedding_width(self.embedding, self.encoder_sizes), dtype=self.dtype
        )
        self.decoder = Decoder(
            self.target_vocabulary, self.decoder_sizes, self.embedding,
            attention=self.attention, **both,
        )  # fmt: skip
        if self.start == "dense":
            cells = [make_cell(self.cell, size) for size in self.decoder_sizes]
            carries = jax.eval_shape(lambda: [cell.initialize_carry(jax.random.key(0), (1, 1)) for cell in cells])
            self.starts = [nn.Dense(leaf.shape[-1], dtype=self.dtype) for leaf in jax.tree.leaves(carries)]

    def __call__(self, x: Mapping[str, Any], *, train: bool = False) -> jax.Array:
        """Logits `(batch, steps, target_vocabulary)`."""
        if "target" not in x:
            raise ValueError(
                f"x: expected a dictionary of source, target and, where sources are padded, lengths; got "
                f"{', '.join(x)}. Without a target call greedy, or encode and decode_step."
            )
        state, memory = self.encode(x, train=train)
        return self.decoder.forced(state, jnp.asarray(x["target"]), memory, self.start_token, train)

    def encode(self, x: Mapping[str, Any], *, train: bool = False) -> tuple[DecoderState, Memory | None]:
        """The decoder's first state, and what it attends to, of a dictionary of `source` and `lengths`."""
        source = x["source"] if x.get("lengths") is None else (x["source"], x["lengths"])
        tokens, mask = inputs_and_mask(source, num_axes=2)
        embedded = self.source_embedding(tokens if mask is None else jnp.where(mask, tokens, 0))
        outputs, carries = self.encoder(
            embedded if mask is None else (embedded, mask), train=train, return_carries=True
        )
        return self._start(outputs, mask, carries), self.decoder.remember(outputs, mask)

    def decode_step(
        self, state: DecoderState, tokens: jax.Array, memory: Memory | None
    ) -> tuple[DecoderState, jax.Array]:
        """The state after tokens `(batch,)`, and logits `(batch, target_vocabulary)` of the next ones."""
        return self.decoder.step(state, tokens, memory)

    def greedy(self, x: Mapping[str, Any], num_steps: int) -> jax.Array:
        """The likeliest token after the likeliest before it, `(batch, num_steps)` int32."""
        checks.whole_number(num_steps=num_steps, minimum=1, remedy="Give the most tokens that an answer has.")
        state, memory = self.encode(x)
        return self.decoder.greedy(state, memory, num_steps, self.start_token, self.end_token)

    def _start(self, outputs: jax.Array, mask: Steps, carries: tuple[Any, ...]) -> DecoderState:
        batch = outputs.shape[0]
        zeros = self.decoder.start(batch)
        if self.start == "zeros":
            return zeros
        leaves, structure = jax.tree.flatten(zeros.carries)
        if self.start == "dense":
            end = self.encoder.last(outputs, mask)
            begun = [nn.tanh(dense(end)) for dense in self.starts]
            return self.decoder.start(batch, carries=jax.tree.unflatten(structure, begun))
        copied, found = jax.tree.flatten(carries)
        if found != structure or [leaf.shape for leaf in copied] != [leaf.shape for leaf in leaves]:
            raise ValueError(
                f"start: expected an encoder with the layers of the decoder, one cell each, for 'copy'; got "
                f"{tuple(self.encoder_sizes)}, in both directions: {self.bidirectional}, and "
                f"{tuple(self.decoder_sizes)}. Use 'dense'."
            )
        return self.decoder.start(batch, carries=carries)


def gnmt(
    source_vocabulary: int,
    target_vocabulary: int,
    *,
    units: int = 1024,
    num_layers: int = 8,
    dropout_rate: float = 0.0,
    start_token: int = 0,
    end_token: int | None = None,
    dtype: Any = None,
) -> EncoderDecoder:
    """The shape of Google's translator: eight LSTM layers each way, the encoder's first one in both directions.

    Residual connections from layer 3 on; additive attention, asked by the bottom decoder layer's output of the step
    before, and its context given to every decoder layer. The decoder starts from zeros; the paper does not say.

    Args:
      source_vocabulary, target_vocabulary: numbers of tokens; 32,000 word pieces in the paper.
      units: of every layer and embedding, the paper's 1,024.
      num_layers: of encoder and of decoder, the paper's 8.
      dropout_rate, start_token, end_token, dtype: see `EncoderDecoder`.

    Returns:
      An `EncoderDecoder`.

    Raises:
      ValueError: `num_layers` below 1.

    References:
      Wu et al., "Google's neural machine translation system", 2016, section 3.
    """
    checks.whole_number(num_layers=num_layers, minimum=1, remedy="The paper has 8.")
    sizes = (units,) * num_layers
    return EncoderDecoder(
        source_vocabulary, target_vocabulary, sizes, sizes, bidirectional="first", residual_from=3, start="zeros",
        dropout_rate=dropout_rate, start_token=start_token, end_token=end_token, dtype=dtype,
    )  # fmt: skip
