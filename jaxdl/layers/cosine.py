"""Cosine normalization: layers whose pre-activation is the cosine of weights and inputs."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxdl import checks


class _Cosine(nn.Module, kw_only=True):
    """The attributes and the arithmetic that the dense and the convolutional layer share."""

    centered: bool = False
    use_scale: bool = False
    epsilon: float = 1e-6
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: Any = None
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
    scale_init: nn.initializers.Initializer = nn.initializers.ones_init()

    def _check(self, features: int) -> None:
        checks.whole_number(features=features, minimum=1, remedy="It is the number of units.")
        # Its square has to be a normal float32.
        checks.number(epsilon=self.epsilon, minimum=1e-18, remedy="It is the least norm; try 1e-6.")

    def _unit(self, vectors: jax.Array, axis: int | tuple[int, ...]) -> jax.Array:
        vectors = vectors.astype(jnp.promote_types(vectors.dtype, jnp.float32))
        if self.centered:
            vectors = vectors - jnp.mean(vectors, axis, keepdims=True)
        return vectors / self._at_least_epsilon(jnp.sum(jnp.square(vectors), axis, keepdims=True))

    def _at_least_epsilon(self, squared_norms: jax.Array) -> jax.Array:
        # Under the root, because the root has no derivative at 0.
        return jnp.sqrt(jnp.maximum(squared_norms, self.epsilon**2))

    def _product(self, x: jax.Array, kernel: jax.Array, dtype: Any) -> jax.Array:
        return jnp.matmul(
            self._unit(x, -1).astype(dtype), self._unit(kernel, 0).astype(dtype), precision=self.precision
        )

    def _scaled(self, y: jax.Array) -> jax.Array:
        if not self.use_scale:
            return y
        scale = self.param("scale", self.scale_init, y.shape[-1:], self.param_dtype)
        return y * scale.astype(y.dtype).reshape((1,) * (y.ndim - 1) + (-1,))


class CosineDense(_Cosine):
    """`y_j = scale_j * w_j . x / (|w_j| |x|)`, in [-1, 1] without the scale.

    With `centered`, x and every w_j first lose their means: Pearson's correlation. Scaling x or w changes nothing.
    A norm below `epsilon` counts as `epsilon`, so that x = 0 gives 0, with a finite derivative (at most 1 / epsilon).

    As an output layer it needs `use_scale`: logits in [-1, 1] hold the softmax of ten classes at or below
    e / (e + 9 / e) = 0.451, whatever the weights. Let the scale start above 1, such as by
    `scale_init=nn.initializers.constant(10.0)`.

    Input `(..., in)`, output `(..., features)`; parameters `kernel` `(in, features)` and, on demand, `scale`
    `(features,)`. There is no bias: the paper's units have none.

    Attributes:
      features: units.
      centered: Pearson's correlation in place of the cosine.
      use_scale: whether every unit has a learned factor.
      epsilon: least norm, in the unit of the inputs.
      dtype: of the product; None infers it from input and parameters. Norms are taken in float32 at least.
      param_dtype: of the parameters.
      precision: of the matrix product.
      kernel_init: initializer of the kernel; only the directions it gives matter.
      scale_init: initializer of the scale.

    References:
      Luo, Zhan, Xue, Wang, Ren, Yang, "Cosine normalization", 2017.
    """

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Cosines `(..., features)` of inputs `(..., in)`."""
        self._check(self.features)
        kernel = self.param("kernel", self.kernel_init, (jnp.shape(x)[-1], self.features), self.param_dtype)
        return self._scaled(self._product(x, kernel, self.dtype or jnp.result_type(x, kernel)))


class CosineConv(_Cosine):
    """The cosine of every filter and the patch of the input under it; see `CosineDense`.

    A patch is all `kernel_size x in` numbers, the zeros of the padding among them; scaling the input, or one patch
    of it, leaves the output unchanged. Channels are last: input `(batch, ..., in)`, output `(batch, ..., features)`,
    parameters `kernel` `(*kernel_size, in, features)` and, on demand, `scale` `(features,)`.
    `centered` lays the patches out in memory, `prod(kernel_size)` times the input: a variance as a difference of sums
    would give noise in place of 0 for every patch of one colour.

    Attributes:
      features: filters.
      kernel_size: lengths of the filter, an int for one axis.
      strides: steps between patches, an int for all axes.
      padding: "SAME", "VALID", or pairs (low, high), one an axis.
      centered: Pearson's correlation in place of the cosine.
      use_scale: whether every filter has a learned factor.
      epsilon: least norm, in the unit of the inputs.
      dtype: of the product; None infers it from input and parameters. Norms are taken in float32 at least.
      param_dtype: of the parameters.
      precision: of the products.
      kernel_init: initializer of the kernel; only the directions it gives matter.
      scale_init: initializer of the scale.

    References:
      Luo, Zhan, Xue, Wang, Ren, Yang, "Cosine normalization", 2017.
    """

    features: int
    kernel_size: int | Sequence[int]
    strides: int | Sequence[int] = 1
    padding: str | Sequence[tuple[int, int]] = "SAME"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Cosines `(batch, ..., features)` of inputs `(batch, ..., in)`; further leading axes are kept."""
        self._check(self.features)
        window = tuple(np.atleast_1d(self.kernel_size).tolist())
        strides = tuple(np.broadcast_to(self.strides, len(window)).tolist())
        if x.ndim <= len(window):
            raise ValueError(
                f"x: expected {len(window)} axes of positions and one of channels for kernel_size={window}; "
                f"got shape {x.shape}. Add the axes that are missing."
            )
        leading, single = x.shape[: -len(window) - 1], x.shape[-len(window) - 1 :]
        kernel = self.param("kernel", self.kernel_init, (*window, single[-1], self.features), self.param_dtype)
        dtype = self.dtype or jnp.result_type(x, kernel)
        padded = self._padded(x.reshape((math.prod(leading), *single)), window, strides)
        if self.centered:
            y = self._product(_patches(padded, window, strides), kernel.reshape(-1, self.features), dtype)
        else:
            y = self._cosines(padded, kernel, strides, dtype)
        return self._scaled(y).reshape((*leading, *y.shape[1:]))

    def _padded(self, x: jax.Array, window: tuple[int, ...], strides: tuple[int, ...]) -> jax.Array:
        pads = self.padding
        if isinstance(pads, str):
            if pads not in ("SAME", "VALID"):
                raise ValueError(f"padding: expected 'SAME', 'VALID' or pairs; got {pads!r}. Use 'SAME' or 'VALID'.")
            pads = jax.lax.padtype_to_pads(x.shape[1:-1], window, strides, pads)
        if len(pads) != len(window):
            raise ValueError(
                f"padding: expected one pair (low, high) an axis of kernel_size={window}; got {pads!r}. Use 'SAME'."
            )
        padded = jnp.pad(x, [(0, 0), *pads, (0, 0)])
        if any(length < size for length, size in zip(padded.shape[1:-1], window, strict=True)):
            raise ValueError(
                f"x: expected at least {window} positions with the padding; got {padded.shape[1:-1]}. "
                "Pad it, or take a smaller kernel."
            )
        return padded

    def _cosines(self, padded: jax.Array, kernel: jax.Array, strides: tuple[int, ...], dtype: Any) -> jax.Array:
        window, spatial = kernel.shape[:-2], "DHW"[-(kernel.ndim - 2) :]
        squares = jnp.sum(jnp.square(padded.astype(jnp.promote_types(padded.dtype, jnp.float32))), -1, keepdims=True)
        summed = jax.lax.reduce_window(squares, 0.0, jax.lax.add, (1, *window, 1), (1, *strides, 1), "VALID")
        directions = self._unit(kernel, tuple(range(kernel.ndim - 1)))
        products = jax.lax.conv_general_dilated(
            padded.astype(dtype), directions.astype(dtype), strides, "VALID", precision=self.precision,
            dimension_numbers=(f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"),
        )  # fmt: skip
        return (products / self._at_least_epsilon(summed)).astype(dtype)


def _patches(padded: jax.Array, window: tuple[int, ...], strides: tuple[int, ...]) -> jax.Array:
    """`(batch, ..., prod(window) * channels)`, in the order of a flattened kernel."""
    # Copies, where jax.lax.conv_general_dilated_patches convolves with an identity, which accelerators round.
    counts = [(n - size) // step + 1 for n, size, step in zip(padded.shape[1:-1], window, strides, strict=True)]
    taps = [
        jax.lax.slice(
            padded,
            (0, *tap, 0),
            (len(padded), *(t + (n - 1) * step + 1 for t, n, step in zip(tap, counts, strides, strict=True)),
             padded.shape[-1]),
            (1, *strides, 1),
        )
        for tap in np.ndindex(*window)
    ]  # fmt: skip
    return jnp.concatenate(taps, axis=-1)
