"""Whitening with statistics of the training split."""

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import numpy as np

from jaxdl.data.preprocessing import ROWS, aligned, finite_mean, floating, leading_axes

if TYPE_CHECKING:
    import jax

Array = TypeVar("Array", np.ndarray, "jax.Array")


class Whitening(NamedTuple):
    """Decorrelation to unit variance, the transform and its inverse, from C = V diag(lambda) V^T, the covariance.

        PCA: z = (lambda + floor)^(-1/2) V^T (x - mean)
        ZCA: z = V (lambda + floor)^(-1/2) V^T (x - mean)

    A pytree of arrays: close over it, or pass it through `jax.jit` as an argument. Make one by `Whitening.fit`.

    | direction in the training split | variance of the transform | inverse |
    |---|---|---|
    | varies, `floor` = 0 | 1 | gives x back |
    | varies, `floor` > 0 | lambda / (lambda + floor), below 1 | gives x back |
    | constant, see `fit` | 0: the transform is 0, whatever x is | the mean |
    | beyond `num_components` | left out | the mean |

    Attributes:
        mean: the training examples' mean, the shape of one example.
        eigenvalues: the variances lambda along the axes kept, largest first, shape (K,); 0 along constant directions.
        forward: the matrix of the transform, (K, ...) for PCA and (..., ...) for ZCA, "..." the shape of one example.
        backward: the matrix of the inverse, (..., K) or (..., ...).
    """

    mean: np.ndarray
    eigenvalues: np.ndarray
    forward: np.ndarray
    backward: np.ndarray

    @classmethod
    def fit(
        cls,
        x_train: "np.ndarray | jax.Array",
        *,
        kind: Literal["pca", "zca"],
        ddof: int = 1,
        floor: float = 0.0,
        num_components: int | None = None,
    ) -> "Whitening":
        """Mean and covariance of the training examples and its eigenvectors, on the host in float64.

            C = sum_n (x_n - mean) (x_n - mean)^T / (N - ddof)

        A direction counts as constant where its eigenvalue is no more than rounding can make it: D eps_64 of the
        largest eigenvalue, or the square of eps times the largest |x|, eps being that of the dtype of x. With fewer
        examples than features all but N - 1 directions are constant. An eigenvector's sign is free; its entry of
        largest magnitude is made positive.

        Args:
            x_train: floating-point training examples, shape (N, ...); never validation or test examples. Their D
                features make a D x D matrix.
            kind: "pca" for the axes of the covariance, "zca" for the whitened data closest to x.
            ddof: 1 for the unbiased covariance, 0 for the maximum-likelihood one.
            floor: what is added to every eigenvalue before the root is taken, in the unit of x squared, >= 0: no
                direction is then amplified by more than floor^(-1/2).
            num_components: for "pca", how many axes are kept, those of largest variance, 1 ... D; None for all.

        Returns:
            A Whitening of arrays of x_train's dtype.

        Raises:
            TypeError: x_train is not floating-point.
            ValueError: an argument out of its range, no more than `ddof` examples, or a value that is not finite.

        Example:
            >>> whitening = Whitening.fit(np.array([[0, 0], [4, 0], [0, 2], [4, 2]], np.float32), kind="pca", ddof=0)
            >>> whitening.transform(np.array([[6, 1]], np.float32))
            array([[2., 0.]], dtype=float32)

        References:
            Bell, Sejnowski, "The 'independent components' of natural scenes are edge filters", 1997 (ZCA).
        """
        x = floating(x_train)
        _check(x, kind, ddof, floor)
        shape, flat = x.shape[1:], x.reshape(len(x), -1)
        if num_components is not None:
            _check_components(num_components, kind, flat.shape[1])
        mean = finite_mean(flat)
        covariance = np.zeros((len(mean), len(mean)))
        for start in range(0, len(flat), ROWS):  # a float64 copy of all would double the memory
            centred = flat[start : start + ROWS] - mean
            covariance += centred.T @ centred
        eigenvalues, axes = np.linalg.eigh(covariance / (len(x) - ddof))
        eigenvalues, axes = eigenvalues[::-1], axes[:, ::-1]
        axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1, 1)
        noise = len(mean) * np.finfo(np.float64).eps * eigenvalues[0]
        varies = eigenvalues > max(noise, (np.finfo(x.dtype).eps * np.abs(flat).max()) ** 2)
        eigenvalues = np.where(varies, eigenvalues, 0)
        deviation = np.where(varies, np.sqrt(eigenvalues + floor), 0)
        precision = np.divide(1, deviation, out=np.zeros_like(deviation), where=varies)
        if kind == "zca":
            forward, backward = ((axes * scale) @ axes.T for scale in (precision, deviation))
            forward, backward = ((0.5 * (matrix + matrix.T)).reshape(shape * 2) for matrix in (forward, backward))
        else:
            kept = slice(num_components)
            eigenvalues = eigenvalues[kept]
            forward = (axes * precision).T[kept].reshape(-1, *shape)
            backward = (axes * deviation)[:, kept].reshape(*shape, -1)
        return cls(*(array.astype(x.dtype) for array in (mean.reshape(shape), eigenvalues, forward, backward)))

    def transform(self, x: Array) -> Array:
        """The whitened x, see the class.

        Args:
            x: floating-point examples, shape (..., *mean.shape): one example, a batch, or more leading axes.

        Returns:
            z: shape (..., K) for PCA, the shape of x for ZCA; the dtype of x where that is the dtype of the fit.

        Raises:
            ValueError: the trailing axes of x are not those of one training example.
        """
        return _apply(self.forward, x - aligned(self.mean, x, "x"), x.ndim - self.mean.ndim)

    def inverse(self, z: Array) -> Array:
        """x = mean + backward z; gives back what `transform` took, and the mean in constant or left out directions.

        Args:
            z: whitened examples, shape (..., K) for PCA, (..., *mean.shape) for ZCA.

        Returns:
            x: shape (..., *mean.shape), and the dtype of z where that is the dtype of the fit.

        Raises:
            ValueError: the trailing axes of z are not those of one whitened example.
        """
        x = _apply(self.backward, z, leading_axes(z, self.backward.shape[self.mean.ndim :], "z"))
        return x + aligned(self.mean, x, "x")


def _apply(matrix: np.ndarray, values: Any, num_leading: int) -> Any:
    axes = values.ndim - num_leading
    summed = (tuple(range(num_leading, values.ndim)), tuple(range(matrix.ndim - axes, matrix.ndim)))
    if isinstance(values, np.ndarray) and isinstance(matrix, np.ndarray):
        return np.tensordot(values, matrix, summed)
    import jax.numpy as jnp

    # Accelerators round the factors of a product to fewer bits, which whitening would amplify.
    return jnp.tensordot(values, matrix, summed, precision="highest")


def _check(x: np.ndarray, kind: str, ddof: int, floor: float) -> None:
    if kind not in ("pca", "zca"):
        raise ValueError(f"kind: expected 'pca' or 'zca', got {kind!r}. Use 'zca' to keep images looking like images.")
    _whole_number(ddof=ddof, minimum=0, remedy="Use 1 (unbiased) or 0 (maximum likelihood).")
    if x.ndim < 2 or len(x) <= ddof or x.size == 0:
        raise ValueError(
            f"x_train: expected more than ddof={ddof} examples, shape (N, features), got shape {x.shape}. "
            "Pass the whole training split."
        )
    if not 0 <= floor < np.inf:
        raise ValueError(f"floor: expected a number >= 0, got {floor}. Use 0 for the exact inverse root.")


def _whole_number(**options: Any) -> None:
    from jaxdl.checks import whole_number  # it needs jax, for which a process that only reads data shall not wait

    whole_number(**options)


def _check_components(num_components: Any, kind: str, num_features: int) -> None:
    if kind == "zca":
        raise ValueError(
            f"num_components: expected None for 'zca', which keeps the axes of x; got {num_components!r}. "
            "Use kind='pca', or leave it out."
        )
    _whole_number(num_components=num_components, minimum=1, remedy="Use None for all.")
    if num_components > num_features:
        raise ValueError(f"num_components: expected at most {num_features} features; got {num_components}. Use None.")
