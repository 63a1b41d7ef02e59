"""What kind of point the parameters are at: minimum, maximum, saddle, flat, or not critical at all."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import checks
from jaxdl.diagnostics.curvature import critical_report
from jaxdl.diagnostics.curvature.spectrum import finite_eigh, ritz
from jaxdl.diagnostics.curvature.streaming import Problem, problem
from jaxdl.diagnostics.reporting.stacked import Stackable
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds
from jaxdl.diagnostics.structure.preparation import prepared
from jaxdl.tree import norm, num_entries

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PyTree = Any
Kind = Literal["minimum", "maximum", "saddle", "degenerate", "not critical", "not finite"]
DENSE_LIMIT = 1000


class Signs(NamedTuple):
    """How many eigenvalues lie below, within and above the tolerance."""

    negative: int
    flat: int
    positive: int


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CriticalPoint(Stackable):
    """Loss, gradient and spectrum at a point; what is made of them depends on `Thresholds`.

    Attributes:
      loss: `(...)`, mean loss.
      gradient_norm: `(...)`, Euclidean norm of its gradient.
      eigenvalues: `(..., m)`, rising, of the Hessian: all n of them, or m Ritz values in a Krylov subspace, which are
        spread like them, and of which no more are negative than of the eigenvalues.
      num_parameters: n.
    """

    loss: jax.Array
    gradient_norm: jax.Array
    eigenvalues: jax.Array
    num_parameters: int = field(default=0, metadata={"static": True})

    @property
    def complete(self) -> bool:
        """Whether all eigenvalues are known."""
        return np.shape(self.eigenvalues)[-1] == self.num_parameters

    def signs(self, thresholds: Thresholds = DEFAULTS) -> Signs:
        """Eigenvalues below, within and above `flat_curvature` times the largest magnitude among them."""
        return critical_report.signs(self, thresholds)

    def index(self, thresholds: Thresholds = DEFAULTS) -> int:
        """The number of negative eigenvalues beyond the tolerance; at least so many where not all are known."""
        return self.signs(thresholds).negative

    def kind(self, thresholds: Thresholds = DEFAULTS) -> Kind:
        """The class of the point.

        - "not finite": loss, gradient or Hessian is not;
        - "not critical": the gradient is longer than `critical_gradient`;
        - "saddle": eigenvalues of both signs, whatever flat directions there are besides;
        - "minimum", "maximum": all eigenvalues of one sign, none flat;
        - "degenerate": flat directions and one sign, or nothing else: second derivatives cannot tell. Also where all
          the Ritz values that are known have one sign, but not all eigenvalues are known.
        """
        return critical_report.kind(self, thresholds)

    def table(self, thresholds: Thresholds = DEFAULTS) -> str:
        """Loss, gradient norm, number of negative, flat and positive eigenvalues, ends of the spectrum, as text."""
        return critical_report.table(self, thresholds)

    def verdict(self, thresholds: Thresholds = DEFAULTS) -> str:
        """A sentence: the kind of point, its index, and the tolerances it was judged by."""
        return critical_report.verdict(self, thresholds)

    def plot(self, path: Any = None, *, title: str | None = None) -> "Figure":
        """Draws the eigenvalues in order, negative ones in another colour."""
        return critical_report.plot(self, path, title=title)


def critical_point(
    objective: Callable[..., Any],
    params: PyTree,
    data: PyTree,
    *,
    num_lanczos: int | None = None,
    batch_size: int | None = None,
    model_state: PyTree | None = None,
    key: jax.Array | None = None,
    train: bool = False,
) -> CriticalPoint:
    """Measures what decides the kind of a point: the gradient's norm and the eigenvalues of the Hessian.

    Args:
      objective, params, data, batch_size, model_state, train: as in `hessian_vector_product`.
      num_lanczos: None: all eigenvalues, from the whole Hessian, by n products with it; for at most 1,000 parameters.
        k: the k Ritz values of one Lanczos process, from which a saddle and a lower bound of its index can be told,
        but not a minimum.
      key: of the Lanczos start, and of random layers where `train`; `jax.random.key(0)` by default.

    Returns:
      `CriticalPoint`; its `.kind()`, `.index()` and `.verdict()` classify it.

    Raises:
      ValueError: no `num_lanczos` for more than 1,000 parameters, or one below 1; what `hessian_vector_product` raises.

    Example:
      >>> critical_point(lambda w, x: x @ jnp.array([1.0, -2.0]) * w @ w, jnp.zeros(2), jnp.ones((1, 2))).kind()
      'maximum'

    References:
      Dauphin et al., "Identifying and attacking the saddle point problem in high-dimensional non-convex
      optimization", 2014.
    """
    given = prepared(objective, params, data, model_state=model_state, key=key)
    n = num_entries(given.params)
    if num_lanczos is None and n > DENSE_LIMIT:
        raise ValueError(
            f"num_lanczos: expected a number for more than {DENSE_LIMIT} parameters, since their Hessian is too large "
            f"to be decomposed; got None for {n}. Pass for example num_lanczos=100."
        )
    if num_lanczos is not None:
        checks.whole_number(num_lanczos=num_lanczos, minimum=1, remedy="None takes the whole Hessian.")
        num_lanczos = min(num_lanczos, n)
    return _measure(*given, objective=objective, num_lanczos=num_lanczos, train=train, batch_size=batch_size)


@partial(jax.jit, static_argnames=("objective", "num_lanczos", "train", "batch_size"))
def _measure(
    params: PyTree,
    data: PyTree,
    model_state: PyTree,
    key: jax.Array,
    *,
    objective: Any,
    num_lanczos: int | None,
    train: bool,
    batch_size: int | None,
) -> CriticalPoint:
    model_key, start_key, restart_key = jax.random.split(key, 3)
    with jax.default_matmul_precision("highest"):
        at = problem(
            objective, params, data, model_state=model_state, key=model_key, train=train, batch_size=batch_size
        )
        if num_lanczos is None:
            eigenvalues = finite_eigh(dense_hessian(at))[0]
        else:
            start = jax.random.normal(start_key, at.point.shape, at.point.dtype)
            eigenvalues = ritz(at.product, start, num_vectors=num_lanczos, restart_key=restart_key).values
        loss, gradient = at.loss(at.point), at.gradient(at.point)
    return CriticalPoint(loss, norm(gradient), eigenvalues, num_parameters=at.point.size)


def dense_hessian(at: Problem, *, columns_at_once: int = 32) -> jax.Array:
    """The Hessian `(n, n)` by its products with the unit vectors, symmetric to the last bit."""
    units = jnp.eye(at.point.size, dtype=at.point.dtype)
    hessian = jax.lax.map(at.product, units, batch_size=columns_at_once)
    return (hessian + hessian.T) / 2
