"""Any image-classification data set of TensorFlow Datasets, read without TensorFlow."""

import difflib
import importlib.util
import warnings
from types import ModuleType
from typing import Any

import numpy as np

from jaxdl.data.splits import Splits, hold_out, scaled

_RECORDS = 4096
VALIDATION_FRACTION = 6


def import_tfds() -> ModuleType:
    """TFDS, imported when it is needed: it weighs more than the rest of this package."""
    with warnings.catch_warnings():
        # What TFDS and its protocol buffers deprecate is nothing our users could mend.
        warnings.simplefilter("ignore", DeprecationWarning)
        import tensorflow_datasets
    return tensorflow_datasets


def load_tfds(name: str, *, data_dir: str | None, cache_dir: str) -> Splits:
    """Splits of a TFDS data set with supervised keys (uint8 image of fixed shape, integer label).

    Splits are the builder's train, validation and test; without a validation split, the last sixth of train is held
    out, in the order TFDS prepared it (by the hash of the example's key).

    Args:
        name: a TFDS name, or that of a data set prepared in `cache_dir`.
        data_dir: folder of files that must be fetched by hand; None for none.
        cache_dir: folder of prepared data sets.

    Returns:
        Splits; x float32 in [0, 1], shape (N, height, width, channels); y int32, shape (N,).

    Raises:
        ValueError, FileNotFoundError, RuntimeError, ImportError: as `jaxdl.data.load`.
    """
    builder = prepared_builder(name, data_dir=data_dir, cache_dir=cache_dir)
    present = set(builder.info.splits)
    try:
        train, test = (scaled(*read_split(builder, split)) for split in ("train", "test"))
        if "validation" in present:
            return Splits(train, scaled(*read_split(builder, "validation")), test)
    except NotImplementedError as error:
        raise needs_tensorflow(builder, name) from error
    return Splits(*hold_out(train, num_validation=len(train.y) // VALIDATION_FRACTION), test)


def prepared_builder(name: str, *, data_dir: str | None, cache_dir: str) -> Any:
    """The TFDS builder of an image-classification data set with splits train and test, prepared if it was not."""
    tfds = import_tfds()
    try:
        builder = tfds.builder(name, data_dir=cache_dir)
    except ValueError as error:
        close = difflib.get_close_matches(name, ["digits", "mnist", *tfds.list_builders(with_community_datasets=False)])
        hint = f"Did you mean {' or '.join(map(repr, close))}?" if close else "See tfds.list_builders()."
        raise ValueError(
            "name: expected 'digits', 'mnist' or the name of a TFDS image-classification data set, "
            f"got {name!r}. {hint}"
        ) from error
    _check_features(builder, name)
    # By itself is_prepared logs a warning where there is no folder.
    if not (builder.data_path.is_dir() and builder.is_prepared()):
        _prepare(builder, name, data_dir=data_dir)
    present = set(builder.info.splits)
    if not {"train", "test"} <= present:
        raise ValueError(f"name: expected a data set with splits train and test, got {name!r} with {sorted(present)}.")
    return builder


def needs_tensorflow(builder: Any, name: str) -> RuntimeError:
    """What to raise for data prepared as TFRecord, of which TFDS makes no data source."""
    return RuntimeError(
        f"{name!r} is prepared in {builder.data_dir} as {builder.info.file_format}, which only TensorFlow reads. "
        "Pass another cache_dir, or prepare it anew with file_format='array_record'."
    )


def read_split(builder: Any, split: str) -> tuple[np.ndarray, np.ndarray]:
    """(images, labels) of one split of a prepared builder, in prepared order, in the builder's dtypes."""
    image_key, label_key = builder.info.supervised_keys
    features = builder.info.features
    records = builder.as_data_source(split)
    images = np.empty((len(records), *features[image_key].shape), features[image_key].np_dtype)
    labels = np.empty(len(records), features[label_key].np_dtype)
    for start in range(0, len(records), _RECORDS):
        chunk = records.__getitems__(range(start, min(start + _RECORDS, len(records))))
        images[start : start + len(chunk)] = [record[image_key] for record in chunk]
        labels[start : start + len(chunk)] = [record[label_key] for record in chunk]
    return images, labels


def _check_features(builder: Any, name: str) -> None:
    features, keys = builder.info.features, builder.info.supervised_keys
    if keys is not None and len(keys) == 2 and all(isinstance(key, str) for key in keys):
        image, label = (features[key] for key in keys)
        fixed = isinstance(image.shape, tuple) and len(image.shape) == 3 and None not in image.shape
        if fixed and image.np_dtype == np.uint8 and label.shape == () and np.issubdtype(label.np_dtype, np.integer):
            return
    raise ValueError(
        f"name: expected an image-classification data set (uint8 images of one fixed shape, integer labels), "
        f"got {name!r} with supervised_keys={keys} of {features}. Read it with TFDS itself."
    )


def _prepare(builder: Any, name: str, *, data_dir: str | None) -> None:
    from jaxdl.data.archives import unreachable

    tfds = import_tfds()
    encoded = any(isinstance(feature, tfds.features.Image) for feature in builder.info.features.values())
    # Asked before the download, which may be large: TFDS finds out only when it encodes the first image.
    if encoded and importlib.util.find_spec("tensorflow") is None:
        raise ImportError(
            f"{name!r} is not prepared in {builder.data_dir}, and preparing it needs TensorFlow, which is not "
            "installed. Run pip install '.[tensorflow]' in the checkout of jaxdl, or point cache_dir at prepared data."
        )
    urls = list(builder.url_infos or ())
    # TFDS retries an unreachable host for minutes, so we ask first.
    reason = unreachable(urls[0]) if urls else None
    if reason is not None:
        raise FileNotFoundError(
            f"{name!r} is not prepared in {builder.data_dir} and cannot be downloaded: {reason}. Connect to the "
            "network and load it once, or point cache_dir at data prepared as array_record elsewhere."
        )
    config = tfds.download.DownloadConfig(manual_dir=data_dir)
    builder.download_and_prepare(download_config=config, file_format="array_record")
