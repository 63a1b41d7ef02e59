"""`load`: names, folders, digits, and what it does not import."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from jaxdl.data import Splits, load


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Arguments `load` hands to the MNIST reader."""
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr("jaxdl.data.datasets.load_mnist", lambda **arguments: calls.append(arguments))
    return calls


def test_digits_are_scikit_learns_in_a_frozen_order() -> None:
    splits = load("digits")
    assert isinstance(splits, Splits)
    assert [len(part.y) for part in splits] == [1197, 300, 300]
    # First and last of RandomState(0).permutation(1797), written down: the order must outlive NumPy's versions.
    original: Any = load_digits()
    for part, place, index in ((splits.train, 0, 1081), (splits.train, 1, 1707), (splits.test, -1, 684)):
        np.testing.assert_array_equal(part.x[place, :, :, 0] * 16, original.images[index])
        assert part.y[place] == original.target[index]
    x, y = (np.concatenate(arrays) for arrays in zip(*splits, strict=True))
    assert x.shape == (1797, 8, 8, 1)
    assert x.dtype == np.float32
    assert y.dtype == np.int32
    assert x.min() == 0
    assert x.max() == 1
    ours, theirs = np.column_stack([x.reshape(-1, 64) * 16, y]), np.column_stack([original.data, original.target])
    np.testing.assert_array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])  # each once, labels kept


def test_two_loads_are_equal_and_share_no_memory() -> None:
    first, second = load("digits"), load("digits")
    first.train.x[:] = 2
    assert second.train.x.max() == 1
    np.testing.assert_array_equal(load("digits").train.x, second.train.x)


def test_folders_come_from_arguments_then_environment_then_home(
    seen: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    load("mnist", data_dir=tmp_path / "a", cache_dir=str(tmp_path / "b"))
    monkeypatch.setenv("JAXDL_DATA_DIR", str(tmp_path / "c"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "d"))
    load("mnist")
    monkeypatch.setenv("JAXDL_DATA_DIR", "~/e")
    monkeypatch.setenv("TFDS_DATA_DIR", "")
    load("mnist")
    monkeypatch.delenv("JAXDL_DATA_DIR")
    load("mnist", cache_dir="~/f")
    home = Path.home()
    assert [tuple(call.values()) for call in seen] == [
        (tmp_path / "a", tmp_path / "b"),
        (tmp_path / "c", tmp_path / "d"),
        (home / "e", home / "tensorflow_datasets"),
        (None, home / "f"),
    ]


def test_bad_names_and_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match="name: expected a string such as 'digits' or 'mnist', got 3"):
        load(3)  # pyright: ignore[reportArgumentType]
    monkeypatch.setenv("TFDS_DATA_DIR", "gs://bucket/data")
    with pytest.raises(ValueError, match="cache_dir: expected a local folder for 'mnist', got 'gs://bucket/data'"):
        load("mnist")


def test_import_is_light(alone: str) -> None:
    script = f"""{alone}
import jaxdl.data
heavy = {{"tensorflow_datasets", "tensorflow", "sklearn", "requests"}} & sys.modules.keys()
assert not heavy, heavy
jaxdl.data.load("digits")
heavy = {{"tensorflow_datasets", "tensorflow", "requests"}} & sys.modules.keys()
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_no_load_imports_tensorflow_even_where_it_is_installed(tiny: Any, alone: str, tmp_path: Path) -> None:
    package = tmp_path / "site" / "tensorflow"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('tensorflow was imported')")
    script = f"""{alone}
sys.path.insert(0, {str(package.parent)!r})
from pathlib import Path
from jaxdl.data import load
from jaxdl.data.archives import Archive, ArchiveSet
from jaxdl.data.mnist import load_mnist
load("digits")
source = ArchiveSet("tiny", "", tuple(Archive(*pair) for pair in {[tuple(pair) for pair in tiny.source.archives]!r}))
cache = Path({str(tmp_path / "cache")!r})
load_mnist(data_dir=Path({str(tiny.folder)!r}), cache_dir=cache, source=source, num_validation=5)
load("jaxdl_mnist", cache_dir=cache)
assert "tensorflow_datasets" in sys.modules
assert "tensorflow" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
