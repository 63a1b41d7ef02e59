"""Support vector machines with the parameters that scikit-learn had as its defaults in 2013."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from sklearn.svm import SVC

from experiments.building_blocks import ladder
from jaxdl.data import Examples

BOOK_SCALE = 255 / 256  # the book's data divide the bytes of MNIST by 256, ours by 255; the machine tells the two apart
CACHE = 1000  # megabytes
PART = 500  # images


def machine(gamma: Any = "auto") -> SVC:
    """Radial kernel; gamma "auto" is 1 / number of pixels, the default of 2013, "scale" that of today."""
    return SVC(C=1.0, kernel="rbf", gamma=gamma, cache_size=CACHE)


def accuracies(
    train: Examples, unseen: Examples, sizes: Sequence[int], gamma: Any = "auto", scale: float = 1.0
) -> dict[int, float]:
    """Accuracy in percent on `unseen` of machines fitted to the first images of `train`; pixels times `scale`."""
    images, held_out = (Examples(scale * part.x, part.y) for part in map(ladder.flat, (train, unseen)))
    found = {}
    for size in sizes:
        fitted = machine(gamma).fit(images.x[:size], images.y[:size])
        parts = [held_out.x[i : i + PART] for i in range(0, len(held_out.x), PART)]
        with ThreadPoolExecutor(2) as pool:  # libsvm lets go of the interpreter's lock
            guessed = np.concatenate(list(pool.map(fitted.predict, parts)))
        found[size] = ladder.percent(guessed, held_out.y)
        print(f"  support vector machine, {size} images: {found[size]:.2f} %")
    return found
