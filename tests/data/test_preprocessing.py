"""Standardisation against NumPy in float64, scikit-learn, and the laws it must obey."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.preprocessing import StandardScaler

from jaxdl.data import Examples, Splits, Standardizer, standardize
from jaxdl.optimizers import gradient_descent


@pytest.fixture
def x() -> np.ndarray:
    """Examples of shape (50, 3, 2) with a mean far from 0; dimension (1, 0) is constant."""
    random = np.random.RandomState(0)
    x = (random.randn(50, 3, 2) * [[1, 2], [3, 4], [5, 6]] + 1000).astype(np.float32)
    x[:, 1, 0] = 0.1
    return x


def test_equal_scales_are_what_descent_likes() -> None:
    """T47, E02: of a linear model the Hessian is E[x x^T]; a rate above 2 / lambda_max diverges, and at the best rate
    the error shrinks a step by (kappa - 1) / (kappa + 1), kappa its condition number."""
    random = np.random.RandomState(1)
    raw = random.randn(400, 2) * [1.0, 10.0] + [0.0, 5.0]
    scaled = Standardizer.fit(raw, ddof=0).transform(raw)
    conditions = {}
    for name, x in (("raw", raw), ("scaled", scaled)):
        eigenvalues = np.linalg.eigvalsh(x.T @ x / len(x))
        conditions[name] = eigenvalues[1] / eigenvalues[0]

        def loss(w, x=x):
            return jnp.mean((jnp.asarray(x, jnp.float32) @ (w - 1)) ** 2) / 2

        def error_after(rate: float, loss=loss) -> float:
            tx = gradient_descent(rate)
            w, state = jnp.zeros(2), tx.init(jnp.zeros(2))
            for _ in range(20):
                updates, state = tx.update(jax.grad(loss)(w), state, w)
                w = optax.apply_updates(w, updates)
            return float(jnp.linalg.norm(w - 1))

        # Within the bound but for the rounding of float32, 20 times.
        shrinks = (conditions[name] - 1) / (conditions[name] + 1)
        assert error_after(2 / eigenvalues.sum()) <= np.sqrt(2) * shrinks**20 + 1e-5
        assert error_after(1.98 / eigenvalues[1]) < np.sqrt(2)
        assert error_after(2.5 / eigenvalues[1]) > np.sqrt(2)
    assert conditions["scaled"] < 1.5 < 100 < conditions["raw"]


@pytest.mark.parametrize("ddof", [0, 1])
def test_equals_numpy_in_float64(x: np.ndarray, ddof: int) -> None:
    standardizer = Standardizer.fit(x, ddof=ddof)
    deviation = x.std(axis=0, ddof=ddof, dtype=np.float64)
    varies = deviation > 1e-6
    assert varies.sum() == 5
    expected = (x - x.mean(axis=0, dtype=np.float64)) / np.where(varies, deviation, 1)
    z = standardizer.transform(x)
    assert z.dtype == np.float32
    assert z.shape == x.shape
    # The mean is stored in float32: half a unit in the last place of 1000 is 3e-5.
    np.testing.assert_allclose(z[:, varies], expected[:, varies], atol=1e-4)
    np.testing.assert_allclose(standardizer.deviation[varies], deviation[varies], rtol=1e-6)


def test_equals_scikit_learn_with_ddof_0(x: np.ndarray) -> None:
    flat = (x.reshape(50, 6) - 1000).astype(np.float64)
    flat[:, 2] = 7
    theirs = np.asarray(StandardScaler().fit_transform(flat))
    np.testing.assert_allclose(Standardizer.fit(flat, ddof=0).transform(flat), theirs, atol=1e-12)


def test_training_examples_get_mean_0_and_deviation_1() -> None:
    x = np.random.RandomState(1).rand(10_000, 7)  # more rows than one block of the sum of squares
    z = Standardizer.fit(x).transform(x)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(z.std(axis=0, ddof=1), 1, rtol=1e-12)


def test_constant_dimensions_map_to_0_and_back_to_their_mean(x: np.ndarray) -> None:
    standardizer = Standardizer.fit(x)
    other = x + 5
    assert standardizer.deviation[1, 0] == standardizer.precision[1, 0] == 0
    assert np.all(standardizer.transform(other)[:, 1, 0] == 0)
    back = standardizer.inverse(standardizer.transform(other))
    assert np.all(back[:, 1, 0] == np.float32(0.1))
    np.testing.assert_allclose(np.delete(back.reshape(50, 6), 2, 1), np.delete(other.reshape(50, 6), 2, 1), rtol=1e-6)


def test_constant_whose_mean_is_rounded_is_still_constant() -> None:
    x = np.full((50_000, 2), 0.1)
    assert np.all(x.mean(axis=0) != 0.1)  # so that its computed deviation is 1e-14, not 0
    assert np.all(Standardizer.fit(x).transform(x + 1) == 0)


def test_eps_decides_what_counts_as_constant() -> None:
    x = np.array([[0, 0, 5], [2e-3, 2, 5]], np.float32)  # deviations 1.4e-3, 1.4, 0
    for eps, varying in ((0.0, [True, True, False]), (1e-2, [False, True, False]), (10.0, [False] * 3)):
        standardizer = Standardizer.fit(x, eps=eps)
        assert ((standardizer.precision > 0) == varying).all()
        assert np.isfinite(standardizer.transform(x)).all()
    smallest = np.array([[1e-40], [3e-40]], np.float32)  # subnormal: 1 / deviation is no float32
    assert np.all(Standardizer.fit(smallest).transform(smallest) == 0)
    tiny = np.array([[1e-30], [3e-30]], np.float32)  # no hidden threshold
    np.testing.assert_allclose(Standardizer.fit(tiny).transform(tiny), [[-(0.5**0.5)], [0.5**0.5]], rtol=1e-6)


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_jax_arrays_under_strict_promotion(x: np.ndarray, transform: object) -> None:
    standardizer = Standardizer.fit(x)
    expected = standardizer.transform(x)
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        z = transform(standardizer.transform)(jnp.asarray(x))  # pyright: ignore[reportCallIssue]
        each = jax.vmap(transform(standardizer.transform))(jnp.asarray(x))  # pyright: ignore[reportCallIssue]
        back = transform(standardizer.inverse)(z)  # pyright: ignore[reportCallIssue]
        passed = transform(lambda fitted, x: fitted.transform(x))(standardizer, jnp.asarray(x))  # pyright: ignore
    for array in (z, each, passed):
        assert isinstance(array, jax.Array)
        assert array.dtype == jnp.float32
        np.testing.assert_allclose(array, expected, rtol=1e-6, atol=1e-6)
    assert back.dtype == jnp.float32
    np.testing.assert_allclose(back, x, rtol=1e-6)


def test_fit_takes_jax_arrays_and_is_frozen(x: np.ndarray) -> None:
    standardizer = Standardizer.fit(jnp.asarray(x))
    for ours, expected in zip(standardizer, Standardizer.fit(x), strict=True):
        np.testing.assert_array_equal(ours, expected)
        assert ours.dtype == np.float32
        assert ours.shape == (3, 2)
    with pytest.raises(AttributeError, match=r"mean|attribute"):
        standardizer.mean = x  # pyright: ignore[reportAttributeAccessIssue]


def test_float64_and_one_dimension_per_example() -> None:
    z = Standardizer.fit(np.array([1.0, 2.0, 3.0])).transform(np.array([3.0, 2.0]))
    assert z.dtype == np.float64
    assert z.tolist() == [1, 0]


def test_standardize_fits_on_train_only() -> None:
    def part(*values: float) -> Examples:
        return Examples(np.array(values, np.float32)[:, np.newaxis], np.arange(len(values), dtype=np.int32))

    splits = Splits(part(0, 2), part(3), part(100, 1))
    before = [part.x.copy() for part in splits]
    train, validation, test = standardize(splits, ddof=0)
    assert (train.x.tolist(), validation.x.tolist(), test.x.tolist()) == ([[-1], [1]], [[2]], [[99], [0]])
    assert all(part.x.dtype == np.float32 for part in (train, validation, test))
    assert test.y is splits.test.y
    assert all((part.x == old).all() for part, old in zip(splits, before, strict=True))


@pytest.mark.parametrize(
    ("x_train", "options", "error", "message"),
    [
        (np.zeros((3, 2), np.uint8), {}, TypeError, "x_train: expected a floating-point array, got uint8. Scale"),
        (np.zeros((1, 2)), {}, ValueError, r"x_train: expected more than ddof=1 examples, got shape \(1, 2\)"),
        (np.zeros((0, 2)), {"ddof": 0}, ValueError, r"x_train: expected more than ddof=0 examples, got shape \(0, 2\)"),
        (np.float64(3), {}, ValueError, r"x_train: expected more than ddof=1 examples, got shape \(\)"),
        (np.zeros((3, 2)), {"ddof": -1}, ValueError, "ddof: expected an integer >= 0, got -1"),
        (np.zeros((3, 2)), {"eps": -1e-3}, ValueError, "eps: expected a number >= 0, got -0.001"),
        (np.zeros((3, 2)), {"eps": np.nan}, ValueError, "eps: expected a number >= 0, got nan"),
        (np.array([[1, np.nan], [2, 3]]), {}, ValueError, "x_train: expected finite values, got 1 dimensions with NaN"),
        (np.array([[1, np.inf], [np.inf, 3]]), {}, ValueError, "x_train: expected finite values, got 2 dimensions"),
    ],
)
def test_fit_refuses_bad_input(x_train: np.ndarray, options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Standardizer.fit(x_train, **options)


def test_wrong_trailing_shape_is_an_error(x: np.ndarray) -> None:
    standardizer = Standardizer.fit(x)
    with pytest.raises(ValueError, match=r"x: expected shape \(\.\.\., 3, 2\) as in fit, got \(50, 6\)"):
        standardizer.transform(x.reshape(50, 6))
    with pytest.raises(ValueError, match=r"z: expected shape \(\.\.\., 3, 2\) as in fit, got \(2,\)"):
        standardizer.inverse(x[0, 0])


def test_67_pixels_of_mnist_are_constant_on_the_training_split(mnist: Splits) -> None:
    """S06: 67 of 784 on the first 50,000; every standardised value is finite all the same."""
    standardizer = Standardizer.fit(mnist.train.x)
    assert np.sum(standardizer.deviation == 0) == 67
    for split in standardize(mnist):
        assert np.isfinite(split.x).all()
        assert split.x.dtype == np.float32
        assert np.all(split.x[:, standardizer.deviation == 0] == 0)
