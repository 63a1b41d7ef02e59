"""The records of a data set known by name, read where TFDS has prepared them."""

import os
from pathlib import Path
from typing import Any

from jaxdl.data.archives import ArchiveSet
from jaxdl.data.datasets import folders, load
from jaxdl.data.mnist import MNIST, NUM_VALIDATION, with_builder
from jaxdl.data.streaming.records import Pictures, Records, Table
from jaxdl.data.tfds_reader import VALIDATION_FRACTION, needs_tensorflow, prepared_builder

SPLITS = ("train", "validation", "test")


def named_records(
    name: str, split: str, *, data_dir: str | os.PathLike[str] | None, cache_dir: str | os.PathLike[str] | None
) -> Records:
    """The records of one of the splits that `jaxdl.data.load` gives, with its values, order and errors."""
    if split not in SPLITS:
        raise ValueError(
            f"split: expected 'train', 'validation' or 'test'; got {split!r}. For another split of TFDS, stream what "
            "tensorflow_datasets.data_source(name, split=...) returns."
        )
    if name == "digits":
        return Table(getattr(load(name), split), f"{name}/{split}")
    archives_dir, prepared_dir = folders(name, data_dir=data_dir, cache_dir=cache_dir)
    if name == "mnist":
        return mnist_records(split, data_dir=Path(archives_dir) if archives_dir else None, cache_dir=Path(prepared_dir))
    builder = prepared_builder(name, data_dir=archives_dir, cache_dir=prepared_dir)
    try:
        if split == "test" or "validation" in builder.info.splits:
            return _pictures(builder, split, f"{name}/{split}")
        return _part_of_train(builder, split, name, builder.info.splits["train"].num_examples // VALIDATION_FRACTION)
    except NotImplementedError as error:
        raise needs_tensorflow(builder, name) from error


def mnist_records(
    split: str,
    *,
    data_dir: Path | None,
    cache_dir: Path,
    source: ArchiveSet = MNIST,
    num_validation: int = NUM_VALIDATION,
) -> Records:
    """MNIST's records; the other arguments are those of `load_mnist`."""

    def read(builder: Any) -> Records:
        if split == "test":
            return _pictures(builder, split, f"{source.name}/{split}")
        return _part_of_train(builder, split, source.name, num_validation)

    return with_builder(read, source, data_dir=data_dir, cache_dir=cache_dir)


def _part_of_train(builder: Any, split: str, name: str, num_validation: int) -> Records:
    cut = builder.info.splits["train"].num_examples - num_validation
    return _pictures(builder, {"train": f"train[:{cut}]", "validation": f"train[{cut}:]"}[split], f"{name}/{split}")


def _pictures(builder: Any, split: str, name: str) -> Records:
    return Pictures(builder.as_data_source(split), name, builder.info.supervised_keys)
