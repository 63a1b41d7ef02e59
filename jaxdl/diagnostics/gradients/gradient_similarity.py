"""Which examples of a batch pull the parameters the same way."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from jaxdl.diagnostics.gradients import similarity_report
from jaxdl.diagnostics.gradients.directional import Losses
from jaxdl.diagnostics.per_example import gradient_gram
from jaxdl.diagnostics.reporting.stacked import Stackable
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PyTree = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GradientSimilarity(Stackable):
    """Cosines between the gradients of the examples of a batch; a pytree of arrays.

    Attributes:
      cosines: `(..., batch, batch)`, symmetric, 1 on the diagonal; NaN for an example without gradient.
      norms: `(..., batch)`, of the gradients.
    """

    cosines: jax.Array
    norms: jax.Array

    def table(self) -> str:
        """One line an example: its norm, its mean cosine to the others, the most alike and the most opposed one."""
        return similarity_report.table(self)

    def verdict(self, thresholds: Thresholds = DEFAULTS) -> str:
        """A sentence with its numbers: alike, diverse or conflicting, and the extreme pairs."""
        return similarity_report.verdict(self, thresholds)

    def plot(self, path: Any = None, *, order: Any = None, title: str | None = None) -> "Figure":
        """Draws the matrix of cosines, its examples in `order`, such as `np.argsort(labels)`."""
        return similarity_report.plot(self, path, order=order, title=title)


def gradient_similarity(losses_fn: Losses, params: PyTree, batch: PyTree) -> GradientSimilarity:
    """Cosines between the gradients of every two examples, `<g_i, g_j> / (|g_i| |g_j|)`, from their Gram matrix.

    Squares of gradients below 1e-19 underflow, and such an example has none here.

    Args:
      losses_fn: `losses_fn(params, batch) -> (batch,)`, pure; see `per_example_gradient_norms`.
      params: pytree of parameters.
      batch: pytree of arrays with a leading example axis.

    Returns:
      A `GradientSimilarity` with arrays `(batch, batch)` and `(batch,)`, float32 at least.

    Raises:
      ValueError, TypeError: as `gradient_gram`.

    Example:
      >>> gradient_similarity(lambda w, x: x @ w, jnp.ones(2), jnp.array([[1.0, 0.0], [3.0, 4.0]])).cosines[0, 1]
      Array(0.6, dtype=float32)
    """
    params, batch = jax.tree.map(jnp.asarray, (params, batch))
    return _measure(params, batch, losses_fn=losses_fn)


@partial(jax.jit, static_argnames="losses_fn")
def _measure(params: PyTree, batch: PyTree, *, losses_fn: Losses) -> GradientSimilarity:
    gram = gradient_gram(losses_fn, params, batch)
    norms = jnp.sqrt(jnp.diag(gram))
    cosines = gram / norms[:, None] / norms[None, :]
    own = jnp.eye(len(norms), dtype=bool) & jnp.isfinite(cosines)
    return GradientSimilarity(jnp.where(own, 1, jnp.clip(cosines, -1, 1)), norms)
