"""Streams of names have the values, the order and the errors of `load`."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxdl.data import load
from jaxdl.data.streaming import CorruptRecordError, stream
from jaxdl.data.streaming.named import mnist_records
from jaxdl.data.tfds_reader import import_tfds


def prepare(folder: Path, *splits: str) -> None:
    """A small TFDS data set named `petals`."""
    tfds = import_tfds()

    class Petals(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # pyright: ignore
        VERSION = tfds.core.Version("1.0.0")

        def _info(self) -> Any:
            image = tfds.features.Tensor(shape=(5, 4, 3), dtype=np.uint8, encoding="bytes")
            features = {"image": image, "label": tfds.features.Scalar(np.int64)}
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(features),
                supervised_keys=("image", "label"),
                disable_shuffling=True,
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            return {split: self._generate_examples(split) for split in splits}

        def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
            draws = np.random.RandomState(len(split))
            for index in range(13):
                yield index, {"image": draws.randint(0, 256, (5, 4, 3), dtype=np.uint8), "label": index}

    Petals(data_dir=folder).download_and_prepare(file_format="array_record", download_dir=folder / "downloads")


def check(made: Any, examples: Any, same_bytes: Any) -> None:
    """The stream's one batch, all of the data, and its pass are the arrays of `load`."""
    assert made.num_examples == len(examples.y)
    same_bytes(next(iter(made)), examples)
    (batch, mask) = next(made.make_pass())
    assert mask.all()
    same_bytes(batch, examples)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("splits", [("train", "test"), ("train", "validation", "test")], ids=len)
def test_a_tfds_name(split, splits, tmp_path, same_bytes):
    prepare(tmp_path, *splits)
    examples = getattr(load("petals", cache_dir=tmp_path), split)
    options = dict(split=split, cache_dir=tmp_path, shuffle=False)
    made = stream("petals", batch_size=len(examples.y), **options)
    assert made.name == f"petals/{split}"
    check(made, examples, same_bytes)
    one_by_one = next(iter(stream("petals", batch_size=len(examples.y), transform=lambda e: e, **options)))
    same_bytes(one_by_one, examples)


def test_digits(same_bytes):
    for split, examples in zip(("train", "validation", "test"), load("digits"), strict=True):
        check(stream("digits", split=split, batch_size=len(examples.y), shuffle=False), examples, same_bytes)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_mnist_is_read_with_its_own_builder(split, tiny, tmp_path, same_bytes):
    examples = getattr(tiny.load(tmp_path / "load"), split)
    arguments = dict(data_dir=tiny.folder, source=tiny.source, num_validation=5)
    records = mnist_records(split, cache_dir=tmp_path / "stream", **arguments)
    assert records.name == f"tiny/{split}"
    same_bytes(records.batch(range(len(records))), examples)
    # Prepared by now: the archives are not needed any more.
    again = mnist_records(split, cache_dir=tmp_path / "stream", **(arguments | dict(data_dir=None)))
    same_bytes(again.example(3), type(examples)(*(leaf[3] for leaf in examples)))


def test_the_real_mnist(mnist, mnist_cache, key):
    made = stream("mnist", batch_size=64, key=key, cache_dir=mnist_cache)
    assert (made.num_examples, made.steps_per_epoch) == (50_000, 781)
    x, y = next(iter(made))
    lookup = {image.tobytes(): label for image, label in zip(mnist.train.x, mnist.train.y, strict=True)}
    assert all(lookup[image.tobytes()] == label for image, label in zip(x, y, strict=True))


def test_a_damaged_record_is_named_by_split_and_index(tmp_path):
    prepare(tmp_path, "train", "test")
    (path,) = tmp_path.rglob("petals-train*")
    draws = np.random.RandomState(5)
    pictures = [draws.randint(0, 256, (5, 4, 3), dtype=np.uint8) for _ in range(13)]
    content = bytearray(path.read_bytes())
    content[content.index(pictures[6].tobytes()) + 7] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(CorruptRecordError, match="data: record 6 of petals/train cannot be read: RuntimeError: Corrup"):
        next(iter(stream("petals", batch_size=11, cache_dir=tmp_path, shuffle=False)))


def test_data_prepared_in_a_format_without_random_access(tmp_path, key):
    prepare(tmp_path, "train", "test")
    info = tmp_path / "petals" / "1.0.0" / "dataset_info.json"
    info.write_text(info.read_text().replace('"array_record"', '"tfrecord"'))
    with pytest.raises(RuntimeError, match=r"'petals' is prepared in .*only TensorFlow reads.*Pass another cache_dir"):
        stream("petals", batch_size=4, key=key, cache_dir=tmp_path)


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        (
            "petals",
            dict(split="train[:5]"),
            ValueError,
            r"split: expected 'train', .* or 'test'; got 'train\[:5\]'.*data_s",
        ),
        ("mnits", {}, ValueError, "name: expected 'digits', 'mnist' or the name of a TFDS.*Did you mean 'mnist'"),
        ("digits", dict(batch_size=2000), ValueError, "batch_size: expected at most the number of examples, 1197"),
        ("mnist", dict(cache_dir="gs://bucket"), ValueError, "cache_dir: expected a local folder"),
    ],
)
def test_messages(name, options, error, message, key):
    with pytest.raises(error, match=message):
        stream(name, **(dict(batch_size=4, key=key) | options))


def test_missing_archives_are_named(key, offline):
    with pytest.raises(FileNotFoundError, match=r"train-images-idx3-ubyte\.gz"):
        stream("mnist", batch_size=4, key=key)


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is not None, reason="TensorFlow is here")
def test_where_tensorflow_is_needed_the_extra_is_named(key):
    with pytest.raises(ImportError, match=r"preparing it needs TensorFlow.*pip install '\.\[tensorflow\]'"):
        stream("cifar10", batch_size=4, key=key)
