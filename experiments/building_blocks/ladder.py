"""Classifiers without training and without randomness: the floor of the ladder (references X05)."""

import numpy as np

from jaxdl.data import Examples, Splits

# Percent of the 10,000 test images of MNIST after the first 50,000 for training; the second tells the split.
PUBLISHED = {
    "majority class": (11.35, 0.0, "computed"),
    "average darkness": (22.25, 0.0, "Nielsen 2015, chapter 1"),
    "nearest class mean": (82.00, 0.05, "computed"),
    "least squares": (86.09, 0.05, "computed"),
}


def closed_forms(splits: Splits) -> dict[str, float]:
    """Test accuracy in percent of every classifier of `PUBLISHED`."""
    return by_closed_form(flat(splits.train), flat(splits.test))


def by_closed_form(train: Examples, test: Examples) -> dict[str, float]:
    """The same for images as rows of float64."""
    return {
        "majority class": percent(np.full(len(test.y), np.bincount(train.y).argmax()), test.y),
        "average darkness": percent(by_darkness(train, test.x), test.y),
        "nearest class mean": percent(nearest_mean(train.x, train.y, test.x), test.y),
        "least squares": percent(least_squares(train, test.x), test.y),
    }


def flat(examples: Examples) -> Examples:
    """Images as rows of float64."""
    return Examples(examples.x.reshape(len(examples.x), -1).astype(np.float64), examples.y)


def percent(found: np.ndarray, labels: np.ndarray) -> float:
    """Accuracy."""
    return 100 * float(np.mean(found == labels))


def nearest_mean(x: np.ndarray, y: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """The class whose mean image is nearest to each unseen one."""
    means = np.stack([x[y == label].mean(0) for label in range(10)])
    return np.argmin((means**2).sum(1) - 2 * unseen @ means.T, 1)


def by_darkness(train: Examples, unseen: np.ndarray) -> np.ndarray:
    """The class whose mean sum of pixels is nearest."""
    return nearest_mean(train.x.sum(1, keepdims=True), train.y, unseen.sum(1, keepdims=True))


def least_squares(train: Examples, unseen: np.ndarray) -> np.ndarray:
    """The largest output of the minimum-norm least-squares fit to one-hot rows, with intercept."""
    return np.argmax(design(unseen) @ linear_fit(train), 1)


def linear_fit(train: Examples) -> np.ndarray:
    """Its weights, `(pixels + 1, 10)`, the intercepts last."""
    inputs = design(train.x)
    # The normal equations, solved by pseudo-inverse: 67 pixels never vary, so the system has no full rank.
    return np.linalg.pinv(inputs.T @ inputs, rcond=1e-10, hermitian=True) @ (inputs.T @ np.eye(10)[train.y])


def design(x: np.ndarray) -> np.ndarray:
    """Rows with a 1 behind them."""
    return np.concatenate([x, np.ones((len(x), 1))], axis=1)
