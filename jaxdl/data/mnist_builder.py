"""MNIST for TensorFlow Datasets, prepared and read without TensorFlow.

TFDS's own `mnist` encodes its images as PNG by TensorFlow; this one stores them as bytes.
Importing this module imports TFDS: only `mnist.py` does, and only when nothing decoded is at hand.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxdl.data.idx import read_idx
from jaxdl.data.tfds_reader import import_tfds

tfds = import_tfds()

# Split, archive of images, archive of labels.
_FILES = (
    ("train", "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    ("test", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
)


# Not registered: a registered name would be global state, and is needed by nobody.
class JaxdlMnist(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # pyright: ignore[reportGeneralTypeIssues, reportCallIssue]
    """MNIST in the order of its archives: splits train (60,000) and test (10,000)."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, archives: Mapping[str, Path] | None = None, data_dir: Path) -> None:
        """Builder of the data set in the folder `data_dir`; `archives`, file name to path, serve to prepare it."""
        self._archives = dict(archives or {})
        super().__init__(data_dir=data_dir)

    def _info(self) -> Any:
        return tfds.core.DatasetInfo(
            builder=self,
            description="The MNIST database of handwritten digits, in the order of the original files.",
            features=tfds.features.FeaturesDict(
                {
                    # As bytes: three times as fast to write as a list of integers, and smaller.
                    "image": tfds.features.Tensor(shape=(28, 28, 1), dtype=np.uint8, encoding="bytes"),
                    "label": tfds.features.Scalar(dtype=np.uint8),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="http://yann.lecun.com/exdb/mnist/",
            # The book's split cuts the training file at 50,000, so its order must survive.
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        del dl_manager  # the archives are here already, see archives.py
        return {
            split: self._generate_examples(self._archives[images], self._archives[labels])
            for split, images, labels in _FILES
        }

    def _generate_examples(self, images_path: Path, labels_path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        images, labels = read_idx(images_path), read_idx(labels_path)
        if images.shape[1:] != (28, 28) or labels.shape != images.shape[:1]:
            raise ValueError(
                f"expected (N, 28, 28) images and (N,) labels, got {images.shape} in {images_path} and {labels.shape} "
                f"in {labels_path}. Replace the files."
            )
        for index, (image, label) in enumerate(zip(images[..., np.newaxis], labels, strict=True)):
            yield index, {"image": image, "label": label}
