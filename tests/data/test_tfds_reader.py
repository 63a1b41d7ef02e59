"""Data sets of TFDS other than our own, prepared here without TensorFlow."""

import importlib.util
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jaxdl.data import load
from jaxdl.data.tfds_reader import import_tfds

_SIZES = {"train": 13, "validation": 4, "test": 3}


def _picture(split: str, index: int) -> np.ndarray:
    return np.random.RandomState(100 * len(split) + index).randint(0, 256, (5, 4, 3), dtype=np.uint8)


@pytest.fixture
def prepare(tmp_path: Path) -> Callable[..., Path]:
    """Factory: prepares a small data set named `petals` and returns the folder it lies in."""
    tfds = import_tfds()

    def make(*splits: str, encoded: bool = False, label: Any = None, keys: Any = ("image", "label")) -> Path:
        image = (
            tfds.features.Image(shape=(5, 4, 3)) if encoded else tfds.features.Tensor(shape=(5, 4, 3), dtype=np.uint8)
        )

        class Petals(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # pyright: ignore
            VERSION = tfds.core.Version("1.0.0")

            def _info(self) -> Any:
                kind = label or tfds.features.ClassLabel(num_classes=50)
                features = tfds.features.FeaturesDict({"image": image, "label": kind, "id": tfds.features.Text()})
                return tfds.core.DatasetInfo(
                    builder=self, features=features, supervised_keys=keys, disable_shuffling=True
                )

            def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
                return {split: self._generate_examples(split) for split in splits}

            def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
                for index in range(_SIZES[split]):
                    picture: Any = _picture(split, index)
                    if encoded:
                        file = io.BytesIO()
                        Image.fromarray(picture).save(file, format="PNG")
                        file.seek(0)
                        picture = file
                    yield index, {"image": picture, "label": index, "id": f"{split} {index}"}

        Petals(data_dir=tmp_path).download_and_prepare(file_format="array_record", download_dir=tmp_path / "downloads")
        return tmp_path

    return make


def _check(x: np.ndarray, y: np.ndarray, split: str, indices: range) -> None:
    assert x.dtype == np.float32
    assert y.dtype == np.int32
    np.testing.assert_array_equal(y, indices)
    np.testing.assert_allclose(x, np.stack([_picture(split, index) for index in indices]) / 255, rtol=1e-7)


@pytest.mark.parametrize("encoded", [False, True], ids=["tensor", "png"])
def test_prepared_data_are_read_with_their_own_validation_split(prepare: Callable[..., Path], encoded: bool) -> None:
    train, validation, test = load("petals", cache_dir=prepare("train", "validation", "test", encoded=encoded))
    _check(*train, "train", range(13))
    _check(*validation, "validation", range(4))
    _check(*test, "test", range(3))


def test_without_validation_split_the_last_sixth_of_train_is_held_out(prepare: Callable[..., Path]) -> None:
    train, validation, test = load("petals", cache_dir=prepare("train", "test"))
    _check(*train, "train", range(11))
    _check(*validation, "train", range(11, 13))
    _check(*test, "test", range(3))


def test_data_set_without_test_split_is_an_error(prepare: Callable[..., Path]) -> None:
    with pytest.raises(
        ValueError, match=r"expected a data set with splits train and test, got 'petals' with \['train'\]"
    ):
        load("petals", cache_dir=prepare("train"))


@pytest.mark.parametrize("fault", ["no keys", "float label"])
def test_what_is_no_image_classification_is_an_error(prepare: Callable[..., Path], fault: str) -> None:
    tfds = import_tfds()
    options = {"no keys": {"keys": None}, "float label": {"label": tfds.features.Scalar(np.float32)}}[fault]
    with pytest.raises(ValueError, match=r"name: expected an image-classification data set .*, got 'petals' with"):
        load("petals", cache_dir=prepare("train", "test", **options))


def test_data_prepared_in_a_format_without_random_access_is_an_error(prepare: Callable[..., Path]) -> None:
    folder = prepare("train", "test")
    info = folder / "petals" / "1.0.0" / "dataset_info.json"
    info.write_text(info.read_text().replace('"array_record"', '"tfrecord"'))
    with pytest.raises(RuntimeError, match=r"'petals' is prepared in .*only TensorFlow reads.*Pass another cache_dir"):
        load("petals", cache_dir=folder)


def test_unknown_name_says_what_is_known(tmp_path: Path) -> None:
    for name in ("no_such_data", "minst", "", "not a name!"):
        with pytest.raises(ValueError, match=f"name: expected 'digits', 'mnist' or .* TFDS .*, got '{name}'") as error:
            load(name, cache_dir=tmp_path / "cache")
        assert ("Did you mean 'mnist'" in str(error.value)) == (name == "minst")
    assert not (tmp_path / "cache").exists()


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is not None, reason="TensorFlow is installed")
def test_preparing_that_needs_tensorflow_names_the_extra_at_once(tmp_path: Path) -> None:
    start = time.perf_counter()
    with pytest.raises(ImportError, match=r"'fashion_mnist' .*needs TensorFlow.*pip install '\.\[tensorflow\]'"):
        load("fashion_mnist", cache_dir=tmp_path / "cache")
    assert time.perf_counter() - start < 10
    assert not (tmp_path / "cache").exists()


def test_preparing_offline_fails_at_once(monkeypatch: pytest.MonkeyPatch, offline: None, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())  # as if TensorFlow were there
    with pytest.raises(FileNotFoundError, match=r"'fashion_mnist' is not prepared in .* and cannot be downloaded: "):
        load("fashion_mnist", cache_dir=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
