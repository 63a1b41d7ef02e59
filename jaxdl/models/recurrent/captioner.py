"""A convolutional network that feeds a recurrent one: naming pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxdl import checks
from jaxdl.model import mode_arguments
from jaxdl.models.recurrent.cells import MakeCell
from jaxdl.models.recurrent.decoder import Decoder, DecoderState, embedding_width


class Captioner(nn.Module):
    """`x_{-1} = W_i CNN(image)`, `x_t = W_e S_t`, `p(S_{t+1}) = softmax(RNN(x_t))`: the picture is the first input.

    Input, in training: a dictionary of `image`, as the features take it, and `target` `(batch, steps)`, whole numbers.
    Output: logits `(batch, steps, vocabulary)`; that of step t has seen the image and `target[:, :t]`.
    `model.apply(variables, {"image": image}, num_steps, method="greedy")` names pictures; `encode` and `decode_step`
    are one step of any search.

    Parts: `features`, `project` (W_i), `decoder` (a `Decoder`).

    Attributes:
      features: a module from images to `(batch, ...)`, such as a convolutional network without its last layer; what it
        gives is flattened. It is told the mode where its `__call__` asks for it.
      vocabulary: number of tokens.
      sizes: units of each recurrent layer.
      embedding: numbers for each token and for the image; None: as many as the first layer has units.
      cell: see `RecurrentNetwork`.
      dropout_rate: probability to DROP, see `Decoder`.
      start_token: goes before the first token of a caption.
      end_token: after which `greedy` gives nothing else; None for none.
      dtype: of the computation of the recurrent part; `None` infers it from inputs and parameters.

    References:
      Vinyals, Toshev, Bengio, Erhan, "Show and tell: a neural image caption generator", 2015, equations 10 to 12.
    """

    features: nn.Module
    vocabulary: int
    sizes: Sequence[int]
    embedding: int | None = None
    cell: str | MakeCell = "lstm"
    dropout_rate: float = 0.0
    start_token: int = 0
    end_token: int | None = None
    dtype: Any = None

    def setup(self) -> None:
        """The recurrent part."""
        if not isinstance(self.features, nn.Module):
            raise TypeError(
                f"features: expected a flax.linen module from images to features; got {type(self.features).__name__}. "
                "Pass for example nn.Sequential([nn.Conv(8, (3, 3)), nn.relu])."
            )
        width = embedding_width(self.embedding, self.sizes)
        self.project = nn.Dense(width, dtype=self.dtype)
        self.decoder = Decoder(
            self.vocabulary, self.sizes, width, cell=self.cell, dropout_rate=self.dropout_rate, dtype=self.dtype
        )

    def __call__(self, x: Mapping[str, Any], *, train: bool = False) -> jax.Array:
        """Logits `(batch, steps, vocabulary)`."""
        if "target" not in x:
            raise ValueError(
                f"x: expected a dictionary of image and target; got {', '.join(x)}. Without a target call greedy, or "
                "encode and decode_step."
            )
        state = self.encode(x, train=train)
        return self.decoder.forced(state, jnp.asarray(x["target"]), None, self.start_token, train)

    def encode(self, x: Mapping[str, Any], *, train: bool = False) -> DecoderState:
        """The decoder's state after it has seen the image."""
        features = self.features(x["image"], **mode_arguments(self.features.__call__, train))
        image = self.project(features.reshape(features.shape[0], -1))
        state, _ = self.decoder.advance(self.decoder.start(image.shape[0]), image, None, train)
        return state

    def decode_step(self, state: DecoderState, tokens: jax.Array) -> tuple[DecoderState, jax.Array]:
        """The state after tokens `(batch,)`, and logits `(batch, vocabulary)` of the next ones."""
        return self.decoder.step(state, tokens, None)

    def greedy(self, x: Mapping[str, Any], num_steps: int) -> jax.Array:
        """The likeliest token after the likeliest before it, `(batch, num_steps)` int32."""
        checks.whole_number(num_steps=num_steps, minimum=1, remedy="Give the most tokens that a caption has.")
        return self.decoder.greedy(self.encode(x), None, num_steps, self.start_token, self.end_token)
