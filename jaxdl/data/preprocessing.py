"""Preprocessing with statistics of the training split."""

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from jaxdl.data.splits import Examples, Splits

if TYPE_CHECKING:
    import jax

Array = TypeVar("Array", np.ndarray, "jax.Array")

ROWS = 4096  # examples of one float64 copy


class Standardizer(NamedTuple):
    """Per-dimension standardisation z = (x - mean) / deviation, the transform and its inverse.

    A pytree of arrays: close over it, or pass it through `jax.jit` as an argument. Make one by `Standardizer.fit`.

    | dimension in the training split | transform | inverse |
    |---|---|---|
    | varies | (x - mean) / deviation | z * deviation + mean |
    | constant (deviation 0, or at most `eps`) | 0, whatever x is | mean |

    Attributes:
        mean: the training examples' mean, the shape of one example.
        deviation: their standard deviation, the same shape; 0 where the dimension counts as constant.
        precision: 1 / deviation, the same shape; 0 where the dimension counts as constant.
    """

    mean: np.ndarray
    deviation: np.ndarray
    precision: np.ndarray

    @classmethod
    def fit(cls, x_train: "np.ndarray | jax.Array", *, ddof: int = 1, eps: float = 0.0) -> "Standardizer":
        """Statistics of the training examples, computed on the host in float64 by the two-pass formula.

            mean = sum_n x_n / N,    deviation = sqrt(sum_n (x_n - mean)^2 / (N - ddof))

        Args:
            x_train: floating-point training examples, shape (N, ...); never validation or test examples.
            ddof: 1 for the unbiased variance, 0 for the maximum-likelihood one.
            eps: a dimension whose deviation is at most `eps` counts as constant, in the unit of x, >= 0.

        Returns:
            A Standardizer of arrays of shape `x_train.shape[1:]` and of x_train's dtype.

        Raises:
            TypeError: x_train is not floating-point.
            ValueError: `ddof` is negative, there are no more than `ddof` examples, `eps` is negative, or x_train has a
                value that is not finite.

        Example:
            >>> standardizer = Standardizer.fit(np.array([[1, 5], [3, 5]], np.float32), ddof=0)
            >>> standardizer.transform(np.array([[5, 9]], np.float32))
            array([[3., 0.]], dtype=float32)

        References:
            LeCun, Bottou, Orr, Mueller, "Efficient BackProp", 1998, section 4.3.
        """
        x = floating(x_train)
        if ddof < 0:
            raise ValueError(f"ddof: expected an integer >= 0, got {ddof}. Use 1 (unbiased) or 0 (maximum likelihood).")
        if x.ndim == 0 or len(x) <= ddof:
            raise ValueError(f"x_train: expected more than ddof={ddof} examples, got shape {x.shape}. Pass (N, ...).")
        if not eps >= 0:
            raise ValueError(
                f"eps: expected a number >= 0, got {eps}. Use 0 to spare only exactly constant dimensions."
            )
        mean = finite_mean(x)
        squares = np.zeros_like(mean)
        for start in range(0, len(x), ROWS):  # a float64 copy of all would double the memory
            squares += np.square(x[start : start + ROWS] - mean).sum(axis=0)
        deviation = np.sqrt(squares / (len(x) - ddof))
        # The rounding of the mean can leave a constant 0.1 a deviation of 1e-14, so equality decides, not a threshold.
        constant = (x.min(axis=0) == x.max(axis=0)) | (deviation <= eps)
        constant |= deviation < np.finfo(x.dtype).tiny  # its reciprocal would overflow
        deviation = np.where(constant, 0, deviation).astype(x.dtype)
        with np.errstate(divide="ignore"):
            precision = np.where(deviation == 0, 0, 1 / deviation).astype(x.dtype)
        return cls(mean.astype(x.dtype), deviation, precision)

    def transform(self, x: Array) -> Array:
        """z = (x - mean) / deviation, 0 in constant dimensions.

        Args:
            x: floating-point examples, shape (..., *mean.shape): one example, a batch, or more leading axes.

        Returns:
            z: the shape of x, and its dtype where that is the dtype of the fit.

        Raises:
            ValueError: the trailing axes of x are not those of one training example.
        """
        return (x - aligned(self.mean, x, "x")) * aligned(self.precision, x, "x")

    def inverse(self, z: Array) -> Array:
        """x = z * deviation + mean; gives back what `transform` took, and the mean in constant dimensions.

        Args:
            z: standardised examples, shape (..., *mean.shape).

        Returns:
            x: the shape of z, and its dtype where that is the dtype of the fit.

        Raises:
            ValueError: the trailing axes of z are not those of one training example.
        """
        return z * aligned(self.deviation, z, "z") + aligned(self.mean, z, "z")


def standardize(splits: Splits, *, ddof: int = 1, eps: float = 0.0) -> Splits:
    """Standardise all three splits with the statistics of `splits.train`; labels are passed on.

    Args:
        splits: data as `jaxdl.data.load` returns them.
        ddof: as in `Standardizer.fit`.
        eps: as in `Standardizer.fit`.

    Returns:
        Splits of the same shapes and dtypes.

    Raises:
        TypeError, ValueError: as `Standardizer.fit`.
    """
    standardizer = Standardizer.fit(splits.train.x, ddof=ddof, eps=eps)
    train, validation, test = (Examples(standardizer.transform(part.x), part.y) for part in splits)
    return Splits(train, validation, test)


def floating(x_train: Any) -> np.ndarray:
    """Training examples on the host; raises TypeError unless they are floating-point."""
    x = np.asarray(x_train)
    if not np.issubdtype(x.dtype, np.floating):
        raise TypeError(f"x_train: expected a floating-point array, got {x.dtype}. Scale or cast it first.")
    return x


def finite_mean(x: np.ndarray) -> np.ndarray:
    """Mean of training examples in float64; raises ValueError unless all of them are finite."""
    mean = x.mean(axis=0, dtype=np.float64)
    if not np.isfinite(mean).all():
        raise ValueError(
            f"x_train: expected finite values, got {np.sum(~np.isfinite(mean))} dimensions with NaN or infinity. "
            "Clean the training examples."
        )
    return mean


def leading_axes(x: Any, shape: tuple[int, ...], argument: str) -> int:
    """How many axes x has before those of one example; raises ValueError unless it ends in `shape`."""
    num_leading = x.ndim - len(shape)
    if num_leading < 0 or x.shape[num_leading:] != shape:
        raise ValueError(
            f"{argument}: expected shape (..., {', '.join(map(str, shape))}) as in fit, got {x.shape}. "
            "Reshape it, or fit on examples of this shape."
        )
    return num_leading


def aligned(statistic: np.ndarray, x: Any, argument: str) -> np.ndarray:
    """A statistic of one example with axes of length 1 before it, one for each leading axis of x."""
    # Leading axes of length 1 spell the broadcast out, as jax_numpy_rank_promotion="raise" demands.
    return statistic.reshape((1,) * leading_axes(x, statistic.shape, argument) + statistic.shape)
