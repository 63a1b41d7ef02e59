"""The trace of the Hessian by Hutchinson's estimator."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import checks
from jaxdl.diagnostics.curvature.streaming import problem
from jaxdl.diagnostics.reporting.reports import canvas, finished, text_table
from jaxdl.diagnostics.reporting.stacked import Stackable, single
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds
from jaxdl.diagnostics.structure.preparation import prepared
from jaxdl.optimizers.curvature import HIGHEST

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PyTree = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TraceEstimate(Stackable):
    """Independent unbiased estimates of the trace of a Hessian.

    Attributes:
      samples: `(..., probes)`, one for each probe; NaN where the Hessian is not finite.
      num_parameters: n.
    """

    samples: jax.Array
    num_parameters: int = field(default=0, metadata={"static": True})

    @property
    def trace(self) -> jax.Array:
        """`(...)`, their mean."""
        return self.samples.mean(-1)

    @property
    def standard_error(self) -> jax.Array:
        """`(...)`, of the mean, from the spread of the samples; NaN for a single one."""
        num = self.samples.shape[-1]
        if num < 2:
            return jnp.full_like(self.trace, jnp.nan)
        return jnp.std(self.samples, axis=-1, ddof=1) / jnp.sqrt(num)

    def table(self) -> str:
        """Trace, standard error, mean eigenvalue and number of probes, as text."""
        single("estimate", self.samples, ("probes",))
        values = (float(self.trace), float(self.standard_error), float(self.trace) / self.num_parameters)
        cells = [*(f"{value:.4g}" for value in values), str(self.samples.shape[-1])]
        return text_table(("trace", "standard error", "mean eigenvalue", "probes"), [cells])

    def verdict(self, thresholds: Thresholds = DEFAULTS) -> str:
        """The trace with its standard error, and whether that tells its sign."""
        single("estimate", self.samples, ("probes",))
        trace, error = float(self.trace), float(self.standard_error)
        if not np.isfinite(trace):
            return "trace is not finite: the Hessian holds NaN or infinity"
        sentence = f"trace {trace:.4g} +- {error:.2g} (standard error of {self.samples.shape[-1]} probes)"
        if abs(trace) <= thresholds.standard_errors * error:
            return f"{sentence}: not told apart from 0, take more probes"
        return f"{sentence}: the eigenvalues are {trace / self.num_parameters:.3g} on average"

    def plot(self, path: Any = None, *, title: str | None = None) -> "Figure":
        """Draws the mean of the first probes, with its standard error, against their number."""
        single("estimate", self.samples, ("probes",))
        samples = np.asarray(self.samples, np.float64)
        counts = np.arange(1, len(samples) + 1)
        means = np.cumsum(samples) / counts
        errors = np.array([samples[:c].std(ddof=1) / np.sqrt(c) if c > 1 else np.nan for c in counts])
        figure, axes = canvas()
        axes.plot(counts, samples, ".", color="gray", alpha=0.5, label="single probes")
        axes.plot(counts, means, label="mean so far")
        axes.fill_between(counts, means - errors, means + errors, alpha=0.3, label="standard error")
        axes.set(xlabel="probes", ylabel="trace of the Hessian")
        axes.legend()
        return finished(figure, path, self.verdict() if title is None else title)


def hessian_trace(
    objective: Callable[..., Any],
    params: PyTree,
    data: PyTree,
    *,
    num_probes: int = 100,
    batch_size: int | None = None,
    model_state: PyTree | None = None,
    key: jax.Array | None = None,
    train: bool = False,
) -> TraceEstimate:
    """The trace of the Hessian of the mean loss: `tr H = E[v^T H v]` for v of independent signs +-1 (Rademacher).

    Its variance is `2 sum over i != j of H_ij^2`, the least among probes of independent entries, and 0 for a diagonal
    Hessian.

    Args:
      objective, params, data, batch_size, model_state, train: as in `hessian_vector_product`.
      num_probes: products with H, two at least for a standard error.
      key: of the probes, and of random layers where `train`; `jax.random.key(0)` by default.

    Returns:
      `TraceEstimate` with `num_probes` samples.

    Raises:
      ValueError: `num_probes` below 1; what `hessian_vector_product` raises.

    Example:
      >>> found = hessian_trace(lambda w, x: x @ w**2, jnp.ones(3), jnp.eye(3) * 3)
      >>> float(found.trace), float(found.standard_error)
      (6.0, 0.0)

    References:
      Hutchinson, "A stochastic estimator of the trace of the influence matrix", 1989.
    """
    given = prepared(objective, params, data, model_state=model_state, key=key)
    checks.whole_number(num_probes=num_probes, minimum=1, remedy="100 is the default.")
    return _trace(*given, objective=objective, num_probes=num_probes, train=train, batch_size=batch_size)


@partial(jax.jit, static_argnames=("objective", "num_probes", "train", "batch_size"))
def _trace(
    params: PyTree,
    data: PyTree,
    model_state: PyTree,
    key: jax.Array,
    *,
    objective: Any,
    num_probes: int,
    train: bool,
    batch_size: int | None,
) -> TraceEstimate:
    model_key, probe_key = jax.random.split(key)
    with jax.default_matmul_precision("highest"):
        at = problem(
            objective, params, data, model_state=model_state, key=model_key, train=train, batch_size=batch_size
        )

        def sample(key: jax.Array) -> jax.Array:
            probe = jax.random.rademacher(key, at.point.shape, at.point.dtype)
            return jnp.vdot(probe, at.product(probe), precision=HIGHEST)

        samples = jax.lax.map(sample, jax.random.split(probe_key, num_probes))
    return TraceEstimate(samples, num_parameters=at.point.size)
