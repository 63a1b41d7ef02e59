"""Archives: where they are looked for, how they are checked, what is said when they are missing."""

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jaxdl.data.archives import obtain, unreachable


def test_archives_lie_in_the_folder_or_in_one_named_like_the_data_set(tiny: Any, tmp_path: Path) -> None:
    expected = {archive.filename: tiny.folder / archive.filename for archive in tiny.source.archives}
    assert obtain(tiny.source, data_dir=tiny.folder, download_dir=tmp_path / "unused") == expected
    inner = tiny.folder / "tiny"
    inner.mkdir()
    name = tiny.source.archives[0].filename
    (tiny.folder / name).rename(inner / name)
    (tiny.folder / name).write_bytes(b"a file of the same name that is another data set's")
    assert obtain(tiny.source, data_dir=tiny.folder, download_dir=tmp_path / "unused")[name] == inner / name
    assert not (tmp_path / "unused").exists()


@pytest.mark.parametrize("damage", ["truncated", "altered"])
def test_damaged_archive_is_named_with_both_checksums(tiny: Any, tmp_path: Path, damage: str) -> None:
    archive = tiny.source.archives[2]
    path = tiny.folder / archive.filename
    content = path.read_bytes()
    path.write_bytes(content[:-1] if damage == "truncated" else content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match="is truncated or altered") as error:
        obtain(tiny.source, data_dir=tiny.folder, download_dir=tmp_path)
    for part in (str(path), f"expected SHA-256 {archive.sha256}, got ", f"Replace it by {tiny.source.url}"):
        assert part in str(error.value)


def test_missing_archives_offline_are_named_with_their_place_and_address(
    tiny: Any, tmp_path: Path, offline: None
) -> None:
    names = [archive.filename for archive in tiny.source.archives]
    with pytest.raises(FileNotFoundError, match="no data_dir was given") as error:
        obtain(tiny.source, data_dir=None, download_dir=tmp_path)
    for part in (
        *names,
        tiny.source.url,
        "<folder>/tiny/ or <folder>/",
        "data_dir=<folder>",
        "JAXDL_DATA_DIR=<folder>",
    ):
        assert part in str(error.value)
    for name in names[1:3]:
        (tiny.folder / name).unlink()
    with pytest.raises(
        FileNotFoundError, match=f"Missing: {names[1]}, {names[2]} \\(data_dir=.* lacks them\\)"
    ) as error:
        obtain(tiny.source, data_dir=tiny.folder, download_dir=tmp_path)
    assert names[0] not in str(error.value).split("Missing")[1]


def test_data_dir_that_is_no_folder_is_an_error(tiny: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"data_dir: expected an existing folder, got .*typo"):
        obtain(tiny.source, data_dir=tmp_path / "typo", download_dir=tmp_path)


def test_downloads_only_what_is_missing(
    make_tiny: Callable[..., Any], serve: Callable[[Path], str], tmp_path: Path
) -> None:
    tiny = make_tiny(url=serve(tmp_path / "archives"))
    name = tiny.source.archives[0].filename
    here = tmp_path / "here"
    here.mkdir()
    (here / name).write_bytes((tiny.folder / name).read_bytes())
    paths = obtain(tiny.source, data_dir=here, download_dir=tmp_path / "downloads")
    assert paths.pop(name) == here / name
    assert len(paths) == 3
    for filename, path in paths.items():
        assert (tmp_path / "downloads") in path.parents
        assert path.read_bytes() == (tiny.folder / filename).read_bytes()
    assert [path.name for path in here.iterdir()] == [name]


def test_altered_download_is_refused(
    make_tiny: Callable[..., Any], serve: Callable[[Path], str], tmp_path: Path
) -> None:
    tiny = make_tiny(url=serve(tmp_path / "archives"))
    archive = tiny.source.archives[1]
    (tiny.folder / archive.filename).write_bytes(b"another file")
    with pytest.raises(ValueError, match=f"truncated or altered: expected SHA-256 {archive.sha256}, got "):
        obtain(tiny.source, data_dir=None, download_dir=tmp_path / "downloads")


def test_failing_download_says_what_to_do(
    make_tiny: Callable[..., Any], serve: Callable[[Path], str], tmp_path: Path
) -> None:
    tiny = make_tiny(url=serve(tmp_path / "archives"))
    first, *_, last = (archive.filename for archive in tiny.source.archives)
    (tiny.folder / last).unlink()
    with pytest.raises(RuntimeError, match=f"download of the archives of 'tiny' failed: .*404.*Missing: .*{last}"):
        obtain(tiny.source, data_dir=None, download_dir=tmp_path / "downloads")
    (tiny.folder / first).unlink()
    with pytest.raises(FileNotFoundError, match=r"cannot be downloaded: .* answered with HTTP status 404. Missing"):
        obtain(tiny.source, data_dir=None, download_dir=tmp_path / "downloads")


def test_unreachable_gives_a_reason_within_its_time(serve: Callable[[Path], str], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    url = serve(tmp_path)
    assert unreachable(f"{url}file") is None
    assert "answered with HTTP status 404" in str(unreachable(f"{url}other"))
    assert "ConnectionError" in str(unreachable("http://127.0.0.1:9/file"))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.perf_counter()
        reason = unreachable(f"http://127.0.0.1:{silent.getsockname()[1]}/file", seconds=0.3)
        assert time.perf_counter() - start < 3
    assert "no answer" in str(reason) or "cannot be reached" in str(reason)
