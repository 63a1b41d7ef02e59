"""The lecture's argument that critical points are mostly saddles, against random matrices, of which it is not true."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import checks
from jaxdl.diagnostics.reporting.reports import canvas, finished, text_table
from jaxdl.diagnostics.reporting.stacked import Stackable, single
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DECAY = float(np.log(3) / 4)
CHUNK = 1024


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SignArgument(Stackable):
    """How many of the samples have positive signs only, in each dimension.

    Attributes:
      independent: `(..., dimensions)`, number of samples of K fair and independent signs that were all positive.
      matrices: `(..., dimensions)`, number of K x K matrices of the Gaussian orthogonal ensemble all of whose
        eigenvalues were positive.
      dimensions: K.
      num_samples: of each.
    """

    independent: jax.Array
    matrices: jax.Array
    dimensions: tuple[int, ...] = field(metadata={"static": True})
    num_samples: int = field(metadata={"static": True})

    @property
    def expected(self) -> np.ndarray:
        """`(dimensions,)`, 2^-K."""
        return 0.5 ** np.asarray(self.dimensions)

    @property
    def standard_errors(self) -> np.ndarray:
        """`(dimensions,)`, binomial, of a share whose expectation is 2^-K."""
        return np.sqrt(self.expected * (1 - self.expected) / self.num_samples)

    def offsets(self) -> np.ndarray:
        """`(..., dimensions)`, the share of independent samples less 2^-K, in standard errors."""
        return (np.asarray(self.independent) / self.num_samples - self.expected) / self.standard_errors

    def table(self) -> str:
        """One line a dimension, as text."""
        single("argument", self.independent, ("dimensions",))
        shares = np.stack([np.asarray(self.independent), np.asarray(self.matrices)], 1) / self.num_samples
        rows = [
            [str(k), f"{expected:.3g}", f"{a:.3g}", f"{offset:+.2f}", f"{b:.3g}"]
            for k, expected, (a, b), offset in zip(self.dimensions, self.expected, shares, self.offsets(), strict=True)
        ]
        return text_table(("K", "2^-K", "independent", "offset / s.e.", "random matrices"), rows)

    def verdict(self, thresholds: Thresholds = DEFAULTS) -> str:
        """A sentence: whether independent signs give 2^-K, and how far below random matrices lie."""
        single("argument", self.independent, ("dimensions",))
        far = float(np.abs(self.offsets()).max())
        holds = "as they must" if far <= thresholds.sampling_errors else "which they must not"
        last = int(np.argmax(self.dimensions))
        return (
            f"independent signs are all positive with probability 2^-K, {holds}: at most {far:.2g} standard errors off "
            f"over K = {min(self.dimensions)} to {max(self.dimensions)}; eigenvalues of random matrices repel: at K = "
            f"{self.dimensions[last]} all positive in {int(self.matrices[last])} of {self.num_samples} matrices, "
            f"where 2^-K is {self.num_samples * self.expected[last]:.3g}"
        )

    def plot(self, path: Any = None, *, title: str | None = None) -> "Figure":
        """Draws both probabilities over K, with 2^-K and the asymptote of random matrices."""
        single("argument", self.independent, ("dimensions",))
        dims = np.asarray(self.dimensions)
        figure, axes = canvas()
        axes.plot(dims, self.expected, color="tab:blue", label="2^-K")
        axes.errorbar(
            dims, np.asarray(self.independent) / self.num_samples, yerr=self.standard_errors, fmt="o", color="tab:blue",
            label="independent signs",
        )  # fmt: skip
        shares = np.asarray(self.matrices) / self.num_samples
        seen = shares > 0
        axes.plot(dims[seen], shares[seen], "s", color="tab:red", label="random matrices (GOE)")
        axes.plot(
            dims,
            np.exp(-DECAY * dims**2),
            "--",
            color="tab:red",
            label="a decay like exp(-K² ln 3 / 4), for comparison",
        )
        axes.set(xlabel="dimension K", ylabel="probability of a minimum", yscale="log")
        axes.set_ylim(0.3 / self.num_samples, 1)
        axes.legend()
        return finished(figure, path, self.verdict() if title is None else title)


def sign_argument(
    key: jax.Array, *, dimensions: Sequence[int] = tuple(range(1, 11)), num_samples: int = 100_000
) -> SignArgument:
    """Samples how probable it is that a critical point is a minimum: K eigenvalues, all of them positive.

    The lecture takes the signs for fair and independent: `P(minimum) = 2^-K`, `P(saddle) = 1 - 2 * 2^-K`. Of a random
    symmetric matrix (Gaussian orthogonal ensemble, off-diagonal variance half that of the diagonal) the eigenvalues
    repel each other, and `P(minimum) ~ exp(-K^2 ln(3) / 4)`: exactly 1/2, (2 - sqrt 2)/4 and (pi - 2 sqrt 2)/(4 pi)
    for K = 1, 2, 3. A Hessian at a low-lying critical point of a loss is neither; the argument is a toy.

    Args:
      key: for the draws.
      dimensions: K of each experiment, whole numbers >= 1.
      num_samples: of signs and of matrices, rounded up to a multiple of 1,024 beyond that. Each is drawn with the
        largest K, and looked at through its first K signs, or its leading K x K part, which is such a matrix again; so
        the counts of different K are not independent.

    Returns:
      `SignArgument` with counts `(dimensions,)`.

    Raises:
      TypeError: `key` is no typed key.
      ValueError: no dimension, or a number below 1.

    References:
      Dean and Majumdar, "Large deviations of extreme eigenvalues of random matrices", 2006; Dauphin et al., 2014.
    """
    checks.one_key(key)
    if not dimensions:
        raise ValueError("dimensions: expected one at least; got none. Pass for example range(1, 11).")
    for dimension in dimensions:
        checks.whole_number(dimensions=dimension, minimum=1, remedy="Each is the size of a Hessian.")
    checks.whole_number(num_samples=num_samples, minimum=1, remedy="100000 is the default.")
    size = min(num_samples, CHUNK)
    chunks = -(-num_samples // size)
    dimensions = tuple(int(dimension) for dimension in dimensions)
    independent, matrices = _counts(key, dimensions=dimensions, chunks=chunks, size=size)
    return SignArgument(independent, matrices, dimensions, chunks * size)


@partial(jax.jit, static_argnames=("dimensions", "chunks", "size"))
def _counts(key: jax.Array, *, dimensions: tuple[int, ...], chunks: int, size: int) -> tuple[jax.Array, jax.Array]:
    largest = max(dimensions)

    def count(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        signs_key, matrices_key = jax.random.split(key)
        draws = jax.random.normal(matrices_key, (size, largest, largest))
        positive = jax.random.bernoulli(signs_key, shape=(size, largest)), positive_pivots(draws + draws.swapaxes(1, 2))
        first, second = (jnp.sum(jnp.cumprod(kind.astype(jnp.int32), 1), 0) for kind in positive)
        return first, second

    totals = jax.tree.map(lambda counts: counts.sum(0), jax.lax.map(count, jax.random.split(key, chunks)))
    places = jnp.asarray(dimensions) - 1
    return totals[0][places], totals[1][places]


def positive_pivots(matrices: jax.Array) -> jax.Array:
    """Which pivots of elimination are positive, `(batch, K)`, up to the first that is not.

    By Sylvester the leading k x k part is positive definite where the first k are, all of its eigenvalues being so.
    """

    def eliminate(left: jax.Array, i: jax.Array) -> tuple[jax.Array, jax.Array]:
        pivot = left[:, i, i]
        column = left[:, :, i]
        factor = jnp.where(pivot > 0, 1 / jnp.where(pivot > 0, pivot, 1), 0)
        return left - factor[:, None, None] * column[:, :, None] * column[:, None, :], pivot > 0

    return jax.lax.scan(eliminate, matrices, jnp.arange(matrices.shape[-1]))[1].T
