"""The density of the Hessian's eigenvalues by stochastic Lanczos quadrature."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from jaxdl import checks
from jaxdl.diagnostics.curvature import density_report
from jaxdl.diagnostics.curvature.spectrum import lanczos_vectors, ritz
from jaxdl.diagnostics.curvature.streaming import problem
from jaxdl.diagnostics.reporting.stacked import Stackable
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds
from jaxdl.diagnostics.structure.preparation import prepared
from jaxdl.tree import num_entries

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PyTree = Any
MARGIN = 6  # standard deviations of the broadening that the grid reaches beyond the outermost nodes


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SpectralDensity(Stackable):
    """How the eigenvalues of a Hessian are distributed; a pytree of arrays.

    Attributes:
      grid: `(..., points)`, evenly spaced.
      density: `(..., points)`, share of the eigenvalues per unit; integrates to 1.
      nodes, weights: `(..., probes, k)`, the quadrature rule of each probe; its weights sum to 1.
      deviation: `(...)`, standard deviation of the Gaussian that each node is broadened to. Nothing narrower can be
        told from a peak of this width.
      num_parameters: n.
    """

    grid: jax.Array
    density: jax.Array
    nodes: jax.Array
    weights: jax.Array
    deviation: jax.Array
    num_parameters: int = field(default=0, metadata={"static": True})

    def moment(self, order: int) -> tuple[jax.Array, jax.Array]:
        """Mean of `lambda^order` over the eigenvalues, not broadened, and its standard error over the probes.

        Of each probe exact up to order 2k - 1.
        """
        return _mean_and_error((self.weights * self.nodes**order).sum(-1))

    def share_between(self, low: Any, high: Any) -> tuple[jax.Array, jax.Array]:
        """Share of the eigenvalues in [low, high], of the nodes not broadened, and its standard error over probes."""
        return self.share_of((self.nodes >= low) & (self.nodes <= high))

    def share_of(self, chosen: Any) -> tuple[jax.Array, jax.Array]:
        """Share of the eigenvalues at the nodes chosen, `(..., probes, k)` bool, and its standard error over probes."""
        return _mean_and_error(jnp.where(chosen, self.weights, 0).sum(-1))

    def table(self, thresholds: Thresholds = DEFAULTS) -> str:
        """Shares of negative, flat and positive eigenvalues, and the first two moments, as text."""
        return density_report.table(self, thresholds)

    def verdict(self, thresholds: Thresholds = DEFAULTS) -> str:
        """A sentence: from where to where, and what shares are negative, flat and positive."""
        return density_report.verdict(self, thresholds)

    def plot(self, path: Any = None, *, title: str | None = None) -> "Figure":
        """Draws the density on a logarithmic scale."""
        return density_report.plot(self, path, title=title)


def spectral_density(
    objective: Callable[..., Any],
    params: PyTree,
    data: PyTree,
    *,
    num_probes: int = 10,
    num_lanczos: int | None = None,
    broadening: float = 0.01,
    num_points: int = 1001,
    batch_size: int | None = None,
    model_state: PyTree | None = None,
    key: jax.Array | None = None,
    train: bool = False,
) -> SpectralDensity:
    """The density of eigenvalues of the Hessian of the mean loss, each broadened to a Gaussian.

    `phi(t) = 1/n sum_i N(t; lambda_i, sigma^2) = E[v^T N(t; H, sigma^2) v] / n` for v of independent signs +-1;
    Lanczos from v gives the nodes and weights of the Gauss quadrature of each expectation. `num_probes * num_lanczos`
    products with H.

    Args:
      objective, params, data, batch_size, model_state, train: as in `hessian_vector_product`.
      num_probes: m; what is estimated has a standard error that falls as 1/sqrt(m n).
      num_lanczos: k; None: n up to 256 parameters, else 64. Details finer than the range over k are not resolved.
      broadening: sigma over the range of the nodes, > 0 (over the largest magnitude where they are all one, absolute
        where that is 0).
      num_points: of the grid, which reaches 6 sigma beyond the nodes; at least `1/broadening + 13`, so that points
        are no farther apart than sigma.
      key: of the probes, and of random layers where `train`; `jax.random.key(0)` by default.

    Returns:
      `SpectralDensity`; all NaN where the Hessian is not finite.

    Raises:
      ValueError: an argument out of its range; what `hessian_vector_product` raises.

    References:
      Ubaru, Chen and Saad, "Fast estimation of tr(f(A)) via stochastic Lanczos quadrature", 2017; Ghorbani,
      Krishnan and Xiao, "An investigation into neural net optimization via Hessian eigenvalue density", 2019.
    """
    given = prepared(objective, params, data, model_state=model_state, key=key)
    checks.whole_number(num_probes=num_probes, minimum=1, remedy="10 is the default.")
    checks.number(broadening=broadening, minimum=0, exclusive=True, remedy="0.01 is one per cent of the range.")
    least = int(1 / broadening + 2 * MARGIN + 1)
    checks.whole_number(
        num_points=num_points, minimum=least, remedy=f"With broadening={broadening:g} the peaks need as many."
    )
    return _density(
        *given, jnp.asarray(broadening, jnp.float32), objective=objective, num_probes=num_probes,
        num_lanczos=lanczos_vectors(num_lanczos, num_entries(given.params)), num_points=num_points, train=train,
        batch_size=batch_size,
    )  # fmt: skip


@partial(jax.jit, static_argnames=("objective", "num_probes", "num_lanczos", "num_points", "train", "batch_size"))
def _density(
    params: PyTree,
    data: PyTree,
    model_state: PyTree,
    key: jax.Array,
    broadening: jax.Array,
    *,
    objective: Any,
    num_probes: int,
    num_lanczos: int,
    num_points: int,
    train: bool,
    batch_size: int | None,
) -> SpectralDensity:
    model_key, probe_key = jax.random.split(key)
    with jax.default_matmul_precision("highest"):
        at = problem(
            objective, params, data, model_state=model_state, key=model_key, train=train, batch_size=batch_size
        )

        def rule(key: jax.Array) -> tuple[jax.Array, jax.Array]:
            probe = jax.random.rademacher(key, at.point.shape, at.point.dtype)
            found = ritz(at.product, probe, num_vectors=num_lanczos)
            return found.values, found.coefficients[0] ** 2

        nodes, weights = jax.lax.map(rule, jax.random.split(probe_key, num_probes))
    # What has no weight are placeholders behind the end of a subspace.
    seen = ~(weights < jnp.finfo(weights.dtype).eps ** 2)
    low = jnp.min(jnp.where(seen, nodes, jnp.inf))
    high = jnp.max(jnp.where(seen, nodes, -jnp.inf))
    nodes = jnp.where(seen, nodes, low)
    magnitude = jnp.maximum(jnp.abs(low), jnp.abs(high))
    # Nodes that are one eigenvalue differ by rounding, which is no range to broaden by.
    apart = high - low > 100 * jnp.finfo(nodes.dtype).eps * magnitude
    unit = jnp.where(apart, high - low, jnp.where(magnitude > 0, magnitude, 1))
    deviation = broadening.astype(nodes.dtype) * unit
    grid = jnp.linspace(low - MARGIN * deviation, high + MARGIN * deviation, num_points)

    def add(total: jax.Array, probe: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        bells = jax.scipy.stats.norm.pdf(grid[:, None], probe[0][None], deviation)
        return total + jnp.sum(bells * probe[1][None], 1), None

    total, _ = jax.lax.scan(add, jnp.zeros_like(grid), (nodes, weights))
    return SpectralDensity(grid, total / num_probes, nodes, weights, deviation, num_parameters=at.point.size)


def _mean_and_error(values: jax.Array) -> tuple[jax.Array, jax.Array]:
    num = values.shape[-1]
    error = jnp.std(values, axis=-1, ddof=1) / jnp.sqrt(num) if num > 1 else jnp.full_like(values[..., 0], jnp.nan)
    return values.mean(-1), error
