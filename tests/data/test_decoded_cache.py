"""Decoded arrays on disk: whole, or not there."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from jaxdl.data import decoded_cache

_ARRAYS = {"x": np.arange(60, dtype=np.uint8).reshape(5, 3, 4), "y": np.arange(5, dtype=np.uint8)}


def _kept(folder: Path) -> None:
    arrays = decoded_cache.read(folder, identity="a")
    assert arrays is not None
    assert arrays.keys() == _ARRAYS.keys()
    for name, array in arrays.items():
        assert array.dtype == np.uint8
        np.testing.assert_array_equal(array, _ARRAYS[name])


def test_gives_back_what_was_written_for_the_same_identity_only(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    assert decoded_cache.read(folder, identity="a") is None
    decoded_cache.write(folder, _ARRAYS, identity="a")
    _kept(folder)
    np.testing.assert_array_equal(np.load(folder / "x.npy"), _ARRAYS["x"])  # plain .npy files, for other readers too
    assert decoded_cache.read(folder, identity="b") is None


@pytest.mark.parametrize("name", ["x.npy", "y.npy", "manifest.json"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "gone", "flipped", "garbage"])
def test_damage_is_detected_and_a_new_write_mends_it(tmp_path: Path, name: str, damage: str) -> None:
    decoded_cache.write(tmp_path, _ARRAYS, identity="a")
    path = tmp_path / name
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    else:
        content[-2] ^= 0xFF
        path.write_bytes({"truncated": content[:-2], "empty": b"", "flipped": content, "garbage": b"[1]"}[damage])
    assert decoded_cache.read(tmp_path, identity="a") is None
    decoded_cache.write(tmp_path, _ARRAYS, identity="a")
    _kept(tmp_path)


def test_manifest_of_another_make_is_refused(tmp_path: Path) -> None:
    decoded_cache.write(tmp_path, _ARRAYS, identity="a")
    for manifest in ({}, {"identity": "a"}, {"identity": "a", "crc32": [1]}, {"identity": "a", "crc32": None}):
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
        assert decoded_cache.read(tmp_path, identity="a") is None


@pytest.mark.parametrize("survivors", range(3))
def test_interrupted_write_leaves_the_old_arrays_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survivors: int
) -> None:
    decoded_cache.write(tmp_path, _ARRAYS, identity="old")
    replace, calls = os.replace, []

    def interrupted(source: Path, target: Path) -> None:
        if len(calls) == survivors:
            raise KeyboardInterrupt
        calls.append(target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    changed = {name: array + 1 for name, array in _ARRAYS.items()}
    with pytest.raises(KeyboardInterrupt):
        decoded_cache.write(tmp_path, changed, identity="a")
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.json", "x.npy", "y.npy"]
    assert decoded_cache.read(tmp_path, identity="a") is None
    old = decoded_cache.read(tmp_path, identity="old")
    assert (old is None) == (survivors > 0)  # never a mixture of old and new
    decoded_cache.write(tmp_path, _ARRAYS, identity="a")
    _kept(tmp_path)


def test_temporary_files_of_killed_processes_go_away_when_they_are_old(tmp_path: Path) -> None:
    old, young = tmp_path / "x.npy.1.tmp", tmp_path / "x.npy.2.tmp"
    for path in (old, young):
        path.write_bytes(b"half an array")
    hours_ago = time.time() - 7200
    os.utime(old, (hours_ago, hours_ago))
    decoded_cache.write(tmp_path, _ARRAYS, identity="a")
    assert not old.exists()
    assert young.exists()
    _kept(tmp_path)
