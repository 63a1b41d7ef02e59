"""MNIST: archive -> checksum -> TFDS -> array_record -> decoded arrays -> split, with tiny archives."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxdl.data import Splits, load
from jaxdl.data.mnist import MNIST


def _check(splits: Splits, tiny: Any) -> None:
    images = {"train": tiny.train_x[:15], "validation": tiny.train_x[15:], "test": tiny.test_x}
    labels = {"train": tiny.train_y[:15], "validation": tiny.train_y[15:], "test": tiny.test_y}
    for name, (x, y) in splits._asdict().items():
        assert x.dtype == np.float32
        assert y.dtype == np.int32
        np.testing.assert_allclose(x, images[name][..., np.newaxis] / 255.0, rtol=1e-7)
        np.testing.assert_array_equal(y, labels[name])


def test_archives_become_splits_in_their_order_by_way_of_array_record(
    tiny: Any, tmp_path: Path, listing: Callable[[Path], dict[str, bytes]]
) -> None:
    before, cache = listing(tiny.folder), tmp_path / "cache"
    _check(tiny.load(cache), tiny)
    assert listing(tiny.folder) == before
    files = {name for name, content in listing(cache).items() if content}
    assert {name.split("/")[-1].split("-")[0] for name in files if "array_record" in name} == {"jaxdl_mnist"}
    assert {f"jaxdl/tiny/{name}" for name in ("train_x.npy", "train_y.npy", "test_x.npy", "test_y.npy")} <= files
    assert not any("downloads" in name or "incomplete" in name or name.endswith(".tmp") for name in listing(cache))
    # The second load reads decoded arrays alone, the third the prepared records alone.
    (cache / "jaxdl_mnist").rename(cache / "away")
    _check(tiny.load(cache, data_dir=None), tiny)
    (cache / "away").rename(cache / "jaxdl_mnist")
    shutil.rmtree(cache / "jaxdl")
    _check(tiny.load(cache, data_dir=None), tiny)


def test_download_by_tfds_leaves_nothing_but_the_prepared_data(
    make_tiny: Callable[..., Any], serve: Callable[[Path], str], tmp_path: Path
) -> None:
    tiny = make_tiny(url=serve(tmp_path / "archives"))
    _check(tiny.load(tmp_path / "cache", data_dir=None), tiny)
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["jaxdl", "jaxdl_mnist"]


@pytest.mark.parametrize("part", ["manifest.json", "train_x.npy", "*test*array_record*", "dataset_info.json"])
def test_damaged_cache_is_rebuilt(tiny: Any, tmp_path: Path, part: str) -> None:
    cache = tmp_path / "cache"
    tiny.load(cache)
    (path,) = cache.rglob(part)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    if "jaxdl_mnist" in path.parts:
        shutil.rmtree(cache / "jaxdl")  # else the records would not be read
    _check(tiny.load(cache), tiny)
    _check(tiny.load(cache, data_dir=None), tiny)


def test_leftovers_of_a_killed_process_do_no_harm(tiny: Any, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for leftover in (
        "jaxdl_mnist/incomplete.ABC123_1.0.0/jaxdl_mnist-train.array_record",
        "jaxdl/tiny/train_x.npy.1.tmp",
    ):
        (cache / leftover).parent.mkdir(parents=True)
        (cache / leftover).write_bytes(b"half")
    (cache / "jaxdl" / "tiny" / "train_x.npy").write_bytes(b"\x93NUMPY half")
    _check(tiny.load(cache), tiny)


@pytest.mark.parametrize("moment", ["before the records are renamed", "after one array"])
def test_process_killed_in_the_middle_leaves_a_usable_cache(tiny: Any, tmp_path: Path, alone: str, moment: str) -> None:
    cache = tmp_path / "cache"
    script = f"""{alone}
import os
from pathlib import Path
from jaxdl.data import archives, mnist
replace = os.replace
def kill(source, target):
    if str(target).endswith("train_y.npy"):
        os._exit(9)
    replace(source, target)
if {moment!r} == "after one array":
    os.replace = kill
else:
    import jaxdl.data.mnist_builder as builder
    def records(*args):
        yield 0, {{"image": __import__("numpy").zeros((28, 28, 1), "uint8"), "label": 0}}
        os._exit(9)
    builder.JaxdlMnist._generate_examples = records
pairs = {[tuple(archive) for archive in tiny.source.archives]!r}
source = archives.ArchiveSet("tiny", "", tuple(archives.Archive(*pair) for pair in pairs))
mnist.load_mnist(data_dir=Path({str(tiny.folder)!r}), cache_dir=Path({str(cache)!r}), source=source, num_validation=5)
"""
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60).returncode == 9
    assert cache.exists()
    _check(tiny.load(cache), tiny)


@pytest.mark.parametrize("damage", ["altered", "missing"])
def test_failure_leaves_the_cache_as_it_was(
    tiny: Any, tmp_path: Path, offline: None, listing: Callable[[Path], dict[str, bytes]], damage: str
) -> None:
    cache = tmp_path / "cache"
    path = tiny.folder / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(b"altered") if damage == "altered" else path.unlink()
    error = ValueError if damage == "altered" else FileNotFoundError
    with pytest.raises(error, match="t10k-labels"):
        tiny.load(cache)
    assert not cache.exists()
    cache.mkdir()
    (cache / "other").write_text("of another data set")
    with pytest.raises(error, match="t10k-labels"):
        tiny.load(cache)
    assert listing(cache) == {"other": b"of another data set"}


def test_archives_that_do_not_fit_together_are_an_error(make_tiny: Callable[..., Any], tmp_path: Path) -> None:
    tiny = make_tiny()
    images, labels, *_ = tiny.source.archives
    swapped = tiny.source._replace(archives=(images._replace(sha256=labels.sha256), *tiny.source.archives[1:]))
    (tiny.folder / images.filename).write_bytes((tiny.folder / labels.filename).read_bytes())
    with pytest.raises(ValueError, match=r"expected \(N, 28, 28\) images and \(N,\) labels, got \(20,\)"):
        tiny.load(tmp_path / "cache", source=swapped)


def test_cache_that_cannot_be_written_costs_time_only(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("jaxdl.data.decoded_cache.write", full)
    _check(tiny.load(tmp_path / "cache"), tiny)
    assert "could not be kept" in caplog.text
    assert "No space left" in caplog.text


def test_cached_arrays_carry_the_checksums_of_their_archives(tiny: Any, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    tiny.load(cache)
    manifest = json.loads((cache / "jaxdl" / "tiny" / "manifest.json").read_text())
    assert manifest["identity"] == " ".join(archive.sha256 for archive in tiny.source.archives)


def test_without_files_and_network_one_error_says_what_goes_where(offline: None, tmp_path: Path) -> None:
    start = time.perf_counter()
    with pytest.raises(FileNotFoundError) as error:
        load("mnist", cache_dir=tmp_path / "cache")
    assert time.perf_counter() - start < 5
    for archive in MNIST.archives:
        assert archive.filename in str(error.value)
    for part in ("https://storage.googleapis.com/cvdf-datasets/mnist/", "data_dir", "JAXDL_DATA_DIR"):
        assert part in str(error.value)
    assert not (tmp_path / "cache").exists()


def test_address_and_checksums_are_those_tfds_pins() -> None:
    pinned = pytest.importorskip("tensorflow_datasets").builder_cls("mnist").url_infos
    assert {MNIST.url + archive.filename: archive.sha256 for archive in MNIST.archives} == {
        url: info.checksum for url, info in pinned.items()
    }
