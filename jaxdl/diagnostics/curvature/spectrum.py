"""The ends of the Hessian's spectrum, by Lanczos."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxdl import checks
from jaxdl.diagnostics.curvature import spectrum_report
from jaxdl.diagnostics.curvature.streaming import problem
from jaxdl.diagnostics.reporting.stacked import Stackable
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds
from jaxdl.diagnostics.structure.preparation import prepared
from jaxdl.optimizers.curvature import HIGHEST, Function, lanczos
from jaxdl.tree import norm, num_entries

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PyTree = Any
WHOLE, PART = 256, 64  # parameters up to which the whole space is taken, and Lanczos vectors beyond


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Eigenvalues(Stackable):
    """Eigenvalues at the ends of the spectrum of a Hessian H; a pytree of arrays.

    Attributes:
      largest: `(..., num)`, falling.
      smallest: `(..., num)`, rising, the most negative first; NaN, like all the rest, where H is not finite.
      largest_residuals, smallest_residuals: `(..., num)`, the norm |H u - lambda u| of each with its unit vector u,
        measured: an eigenvalue of H lies within this of lambda.
      largest_vectors, smallest_vectors: pytrees like the parameters with a leading axis `(num,)`, unit vectors; None
        unless asked for.
      num_parameters: n.
      num_lanczos: dimension of the subspace they were found in; with n of them nothing can have been missed.
    """

    largest: jax.Array
    smallest: jax.Array
    largest_residuals: jax.Array
    smallest_residuals: jax.Array
    largest_vectors: PyTree | None = None
    smallest_vectors: PyTree | None = None
    num_parameters: int = field(default=0, metadata={"static": True})
    num_lanczos: int = field(default=0, metadata={"static": True})

    def table(self) -> str:
        """One line an eigenvalue, as text."""
        return spectrum_report.table(self)

    def verdict(self, thresholds: Thresholds = DEFAULTS) -> str:
        """A sentence: the ends, their signs, and below which learning rate gradient descent does not overshoot."""
        return spectrum_report.verdict(self, thresholds)

    def plot(self, path: Any = None, *, title: str | None = None) -> "Figure":
        """Draws the eigenvalues with their residuals."""
        return spectrum_report.plot(self, path, title=title)


def top_eigenvalues(
    objective: Callable[..., Any],
    params: PyTree,
    data: PyTree,
    *,
    num: int = 1,
    which: Literal["both", "largest", "smallest"] = "both",
    vectors: bool = False,
    num_lanczos: int | None = None,
    batch_size: int | None = None,
    model_state: PyTree | None = None,
    key: jax.Array | None = None,
    train: bool = False,
) -> Eigenvalues:
    """The largest and smallest eigenvalues of the Hessian of the mean loss: `H u = lambda u`.

    Lanczos with full reorthogonalisation from a random start. `num_lanczos` products with H, one more for each
    eigenvalue to measure its residual, and as many vectors as large as the parameters.

    Args:
      objective, params, data, batch_size, model_state, train: as in `hessian_vector_product`.
      num: how many at each end.
      which: "both" ends, "largest" or "smallest" alone.
      vectors: whether to return the eigenvectors as well.
      num_lanczos: dimension k of the subspace, `num` at least. None: all n up to 256 parameters, which gives the
        eigenvalues of H as often as they occur; else 64, or 4 `num`. Of fewer than n, the ends come out best, and
        lie INSIDE the spectrum: the largest is too small, if anything, by at most its residual if it is the one
        meant; an eigenvalue that occurs several times counts once.
      key: of the start, and of random layers where `train`; `jax.random.key(0)` by default.

    Returns:
      `Eigenvalues`, in the widest dtype among the parameters, float32 at least. In float32 an eigenvalue is known to
      about 1e-6 of the largest magnitude there is.

    Raises:
      ValueError: `which`, `num` or `num_lanczos` out of range; what `hessian_vector_product` raises.

    Example:
      >>> found = top_eigenvalues(lambda w, x: x @ (jnp.array([3.0, 1.0, -2.0]) * w**2), jnp.ones(3), jnp.eye(3) * 3)
      >>> found.largest, found.smallest
      (Array([6.], dtype=float32), Array([-4.], dtype=float32))

    References:
      Golub and Van Loan, "Matrix Computations", 4th edition, chapter 10.
    """
    given = prepared(objective, params, data, model_state=model_state, key=key)
    if which not in ("both", "largest", "smallest"):
        raise ValueError(f"which: expected 'both', 'largest' or 'smallest'; got {which!r}. Leave it out for both.")
    n = num_entries(given.params)
    checks.whole_number(num=num, minimum=1, remedy="1 gives the very end.")
    if num > n:
        raise ValueError(f"num: expected at most the number of parameters, {n}; got {num}. Ask for fewer.")
    return _spectrum(
        *given, objective=objective, num=num, which=which, vectors=vectors, train=train, batch_size=batch_size,
        num_lanczos=lanczos_vectors(num_lanczos, n, num),
    )  # fmt: skip


def lanczos_vectors(num_lanczos: int | None, num_parameters: int, num: int = 1) -> int:
    """The dimension of the subspace: what was asked for, at most n, or a default.

    Raises:
      ValueError: less than `num`.
    """
    if num_lanczos is None:
        return num_parameters if num_parameters <= WHOLE else min(num_parameters, max(PART, 4 * num))
    checks.whole_number(num_lanczos=num_lanczos, minimum=num, remedy="It is the dimension of the subspace searched.")
    return min(num_lanczos, num_parameters)


class Ritz(NamedTuple):
    """Eigenvalues `(k,)` of an operator in a Krylov subspace, rising, and their coefficients `(k, k)` by columns."""

    values: jax.Array
    coefficients: jax.Array
    basis: jax.Array


def ritz(product: Function, start: jax.Array, *, num_vectors: int, restart_key: jax.Array | None = None) -> Ritz:
    """What Lanczos finds of a symmetric operator; all NaN where the operator is not finite."""
    found = lanczos(product, start, num_vectors=num_vectors, restart_key=restart_key)
    inside = jnp.diag(found.diagonal) + jnp.diag(found.off_diagonal, 1) + jnp.diag(found.off_diagonal, -1)
    values, coefficients = finite_eigh(inside)
    return Ritz(values, coefficients, found.basis)


def finite_eigh(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`jnp.linalg.eigh`, with NaN for a matrix that is not finite, which the decomposition itself never sees."""
    finite = jnp.isfinite(matrix).all()
    values, vectors = jnp.linalg.eigh(jnp.where(finite, matrix, 0))
    return jnp.where(finite, values, jnp.nan), jnp.where(finite, vectors, jnp.nan)


@partial(jax.jit, static_argnames=("objective", "num", "which", "vectors", "num_lanczos", "train", "batch_size"))
def _spectrum(
    params: PyTree,
    data: PyTree,
    model_state: PyTree,
    key: jax.Array,
    *,
    objective: Any,
    num: int,
    which: str,
    vectors: bool,
    num_lanczos: int,
    train: bool,
    batch_size: int | None,
) -> Eigenvalues:
    model_key, start_key, restart_key = jax.random.split(key, 3)
    with jax.default_matmul_precision("highest"):
        at = problem(
            objective, params, data, model_state=model_state, key=model_key, train=train, batch_size=batch_size
        )
        start = jax.random.normal(start_key, at.point.shape, at.point.dtype)
        found = ritz(at.product, start, num_vectors=num_lanczos, restart_key=restart_key)
        top, bottom = (0 if which == other else num for other in ("smallest", "largest"))
        # Falling from the end, and rising from the start.
        chosen = [*range(num_lanczos - 1, num_lanczos - 1 - top, -1), *range(bottom)]
        places = jnp.array(chosen, jnp.int32)
        units = jnp.matmul(found.coefficients.T[places], found.basis, precision=HIGHEST)
        values = found.values[places]
        residuals = jax.lax.map(lambda pair: norm(at.product(pair[0]) - pair[1] * pair[0]), (units, values))
    trees = jax.vmap(at.unravel)(units) if vectors else None
    return Eigenvalues(
        largest=values[:top],
        smallest=values[top:],
        largest_residuals=residuals[:top],
        smallest_residuals=residuals[top:],
        largest_vectors=jax.tree.map(lambda leaf: leaf[:top], trees),
        smallest_vectors=jax.tree.map(lambda leaf: leaf[top:], trees),
        num_parameters=at.point.size,
        num_lanczos=num_lanczos,
    )
