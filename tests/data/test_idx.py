"""IDX files, against bytes written by hand."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from jaxdl.data.idx import read_idx

_LABELS = bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 0, 255])
_IMAGES = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6])


def _file(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "file.gz"
    path.write_bytes(content)
    return path


def test_reads_labels_and_images_written_by_hand(tmp_path: Path) -> None:
    labels = read_idx(_file(tmp_path, gzip.compress(_LABELS, mtime=0)))
    assert labels.dtype == np.uint8
    assert labels.tolist() == [7, 0, 255]
    assert read_idx(_file(tmp_path, gzip.compress(_IMAGES, mtime=0))).tolist() == [[[1, 2, 3]], [[4, 5, 6]]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>not found</html>", "expected a gzip-compressed IDX file, got Not a gzipped file"),
        (b"", "expected a gzip-compressed IDX file"),
        (gzip.compress(_LABELS, mtime=0)[:-6], "expected a gzip-compressed IDX file"),
        (gzip.compress(b"\x00\x00", mtime=0), "expected a gzip-compressed IDX file"),
        (gzip.compress(_IMAGES[:9], mtime=0), "expected a gzip-compressed IDX file"),
        (gzip.compress(b"\x00\x00\x0d\x01" + _LABELS[4:], mtime=0), "unsigned bytes .*, got 00 00 0d 01"),
        (gzip.compress(b"\x01" + _LABELS[1:], mtime=0), "unsigned bytes .*, got 01 00 08 01"),
        (gzip.compress(_LABELS[:-1], mtime=0), r"expected 3 elements of \(3,\), got 2"),
        (gzip.compress(_LABELS + b"\x00", mtime=0), r"expected 3 elements of \(3,\), got 4"),
    ],
    ids=["web page", "empty", "cut archive", "no header", "cut header", "floats", "no magic", "too few", "too many"],
)
def test_refuses_what_is_no_idx_file_of_bytes(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=rf"file\.gz: .*{message}.*Replace the file"):
        read_idx(_file(tmp_path, content))
