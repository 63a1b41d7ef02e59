"""Batch renormalization."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.linen.dtypes import canonicalize_dtype

from jaxdl import checks

Bound = float | Callable[[Any], Any]


class BatchRenorm(nn.BatchNorm):
    """Batch normalization corrected towards the running statistics, for batches that are small or not i.i.d.

        training:    y = scale * ((x - mean_B) / sigma_B * r + d) + bias
                     r = clip(sigma_B / sigma, 1 / r_max, r_max),    d = clip((mean_B - mean) / sigma, -d_max, d_max)
        evaluation:  y = scale * (x - mean) / sigma + bias,          as flax.linen.BatchNorm

    with sigma^2 = var + epsilon, mean and var the running statistics BEFORE the batch updates them. r and d are
    computed, neither learned nor differentiated. Where r_max = 1 and d_max = 0 it is batch normalization; where neither
    clip binds, training and evaluation agree.

    A subclass of `flax.linen.BatchNorm` with the same parameters and the same `batch_stats`, whose state it can take
    over. `var` is the running biased VARIANCE; the paper averages the standard deviation. A schedule keeps its `count`
    (int32) in `batch_stats` too: add a 0 to a state taken over.
    The other attributes and the arguments of the call are those of `flax.linen.BatchNorm`, with one default changed:
    the variance is E[(x - mean)^2] (`use_fast_variance=False`).

    In a cell of `flax.linen.RNN` there is one set of statistics for all time steps, as for `flax.linen.BatchNorm`. The
    scan carries them, cannot create what it carries, and refuses to carry what does not change:

        if self.is_initializing():
            cell(carry, x[:, 0])
        moves = train or self.is_initializing()
        carried, shared = ("batch_stats", "params") if moves else (False, ("params", "batch_stats"))
        y = nn.RNN(cell, variable_carry=carried, variable_broadcast=shared)(x)

    Attributes:
      r_max: bound of r, >= 1: a number, or a schedule of the number of training batches seen, such as optax's.
      d_max: bound of d, >= 0: a number or a schedule. 3 and 5 are the values to which the paper relaxes 1 and 0.
      use_fast_variance: False, see above.

    References:
      Ioffe, "Batch renormalization: towards reducing minibatch dependence in batch-normalized models", 2017,
      algorithm 1.
    """

    use_fast_variance: bool = False
    r_max: Bound = 3.0
    d_max: Bound = 5.0

    @nn.compact
    def __call__(
        self, x: jax.Array, use_running_average: bool | None = None, *, mask: jax.Array | None = None
    ) -> jax.Array:
        """Normalized inputs, in the shape of x.

        Args:
          x: inputs `(batch, ..., channels)`.
          use_running_average: True in evaluation; given here or as the attribute, not both.
          mask: boolean, broadcastable to x: the positions that count in the statistics of the batch.
        """
        self._check_bounds()
        evaluates = nn.merge_param("use_running_average", self.use_running_average, use_running_average)
        if evaluates or self.is_initializing():
            if self.is_initializing() and self._is_scheduled():
                self._count()
            return super().__call__(x, use_running_average, mask=mask)
        shape, spread = self._feature_shapes(x)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
        var = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32)
        y, batch_mean, batch_var = self._normalized_by_batch(x, mask, shape)

        sigma = jnp.sqrt(var.value + self.epsilon)
        r_max, d_max = self._bounds()
        r = jnp.clip(jnp.sqrt(batch_var + self.epsilon) / sigma, 1 / r_max, r_max)
        d = jnp.clip((batch_mean - mean.value) / sigma, -d_max, d_max)
        y = y * jax.lax.stop_gradient(r).reshape(spread) + jax.lax.stop_gradient(d).reshape(spread)
        for running, of_batch in ((mean, batch_mean), (var, batch_var)):
            moved = self.momentum * running.value + (1 - self.momentum) * of_batch
            running.value = moved.astype(running.value.dtype)  # a scan over steps carries it

        operands = [x]
        if self.use_scale:
            operands.append(self.param("scale", self.scale_init, shape, self.param_dtype))
            y = y * operands[-1].reshape(spread)
        if self.use_bias:
            operands.append(self.param("bias", self.bias_init, shape, self.param_dtype))
            y = y + operands[-1].reshape(spread)
        return y.astype(canonicalize_dtype(*operands, dtype=self.dtype))

    def _normalized_by_batch(
        self, x: jax.Array, mask: jax.Array | None, shape: tuple[int, ...]
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        # (x - mean_B) / sigma_B, mean_B and var_B, in float32 at least. With momentum 0 the running statistics of a
        # BatchNorm are those of the batch, so that its masks and its means over devices serve here too.
        batch_norm = nn.BatchNorm(
            use_running_average=False, axis=self.axis, momentum=0.0, epsilon=self.epsilon,
            dtype=jnp.promote_types(x.dtype, jnp.float32), use_bias=False, use_scale=False,
            axis_name=self.axis_name, axis_index_groups=self.axis_index_groups,
            use_fast_variance=self.use_fast_variance, parent=None,
        )  # fmt: skip
        start = {"mean": jnp.zeros(shape), "var": jnp.ones(shape)}
        y, updated = batch_norm.apply({"batch_stats": start}, x, mask=mask, mutable=["batch_stats"])
        stats: Any = updated["batch_stats"]
        return y, stats["mean"], stats["var"]

    def _feature_shapes(self, x: jax.Array) -> tuple[tuple[int, ...], tuple[int, ...]]:
        # Of the statistics, and the one in which they broadcast against x.
        axes = {axis % x.ndim for axis in np.atleast_1d(self.axis).tolist()}
        spread = tuple(length if axis in axes else 1 for axis, length in enumerate(x.shape))
        return tuple(x.shape[axis] for axis in sorted(axes)), spread

    def _is_scheduled(self) -> bool:
        return callable(self.r_max) or callable(self.d_max)

    def _count(self) -> nn.Variable:
        return self.variable("batch_stats", "count", jnp.zeros, (), jnp.int32)

    def _bounds(self) -> tuple[Any, Any]:
        if not self._is_scheduled():
            return self.r_max, self.d_max
        count = self._count()
        seen, count.value = count.value, count.value + 1
        r_max, d_max = (bound(seen) if callable(bound) else bound for bound in (self.r_max, self.d_max))
        return r_max, d_max

    def _check_bounds(self) -> None:
        remedy = "r_max=1 with d_max=0 is batch normalization; 3 and 5 are the values of the paper."
        if not callable(self.r_max):
            checks.number(r_max=self.r_max, minimum=1, finite=False, remedy=remedy)
        if not callable(self.d_max):
            checks.number(d_max=self.d_max, minimum=0, finite=False, remedy=remedy)
        if not self.force_float32_reductions:
            raise ValueError(
                "force_float32_reductions: expected True, since the ratio of two variances needs it; got False. "
                "Leave it out."
            )
