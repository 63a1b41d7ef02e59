"""Original archives of a data set: find them, check them, download what is missing."""

import hashlib
import os
import threading
from pathlib import Path
from typing import NamedTuple

from jaxdl.data.tfds_reader import import_tfds


class Archive(NamedTuple):
    """One file as its publisher distributes it; `sha256` in hexadecimal digits."""

    filename: str
    sha256: str


class ArchiveSet(NamedTuple):
    """The archives of the data set `name`; `url` is their folder, with the slash at its end."""

    name: str
    url: str
    archives: tuple[Archive, ...]


def obtain(source: ArchiveSet, *, data_dir: Path | None, download_dir: Path) -> dict[str, Path]:
    """Paths of all archives, every one checked: those in `data_dir` as they lie, the others downloaded by TFDS.

    Args:
        source: which archives, and from where.
        data_dir: folder of original archives, only read; None for none.
        download_dir: folder for downloads.

    Returns:
        File name to path, for every archive of `source`.

    Raises:
        FileNotFoundError: `data_dir` is no folder, or archives are missing and `source.url` cannot be reached.
        ValueError: an archive is truncated or altered.
        RuntimeError: a download failed.
    """
    if data_dir is not None and not data_dir.is_dir():
        raise FileNotFoundError(
            f"data_dir: expected an existing folder, got {data_dir}. Correct data_dir or JAXDL_DATA_DIR."
        )
    paths = _find(source, data_dir)
    for archive in source.archives:
        if archive.filename in paths:
            _verify(paths[archive.filename], archive, url=source.url)
    missing = [archive for archive in source.archives if archive.filename not in paths]
    if missing:
        paths |= _download(source, missing, data_dir=data_dir, download_dir=download_dir)
    return paths


def _find(source: ArchiveSet, data_dir: Path | None) -> dict[str, Path]:
    folders = [] if data_dir is None else [data_dir, data_dir / source.name]  # the later folder wins
    candidates = [folder / archive.filename for folder in folders for archive in source.archives]
    return {path.name: path for path in candidates if path.is_file()}


def _verify(path: Path, archive: Archive, *, url: str) -> None:
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != archive.sha256:
        raise ValueError(
            f"archive {path} is truncated or altered: expected SHA-256 {archive.sha256}, got {actual}. "
            f"Replace it by {url}{archive.filename}"
        )


def _download(
    source: ArchiveSet, missing: list[Archive], *, data_dir: Path | None, download_dir: Path
) -> dict[str, Path]:
    where = "no data_dir was given" if data_dir is None else f"data_dir={data_dir} lacks them"
    remedy = (
        f"Missing: {', '.join(archive.filename for archive in missing)} ({where}). Fetch these files from {source.url} "
        f"and put them, still compressed, into <folder>/{source.name}/ or <folder>/; then pass data_dir=<folder> or "
        "set the environment variable JAXDL_DATA_DIR=<folder>."
    )
    urls = {archive.filename: source.url + archive.filename for archive in missing}
    # TFDS retries an unreachable host for minutes, so we ask first.
    reason = unreachable(next(iter(urls.values())))
    if reason is not None:
        raise FileNotFoundError(f"the archives of {source.name!r} cannot be downloaded: {reason}. {remedy}")
    tfds = import_tfds()
    try:
        manager = tfds.download.DownloadManager(download_dir=download_dir, dataset_name=source.name)
        fetched = {filename: Path(os.fspath(path)) for filename, path in manager.download(urls).items()}
    except Exception as error:  # TFDS passes on whatever its downloader, its checksums and its threads raise
        raise RuntimeError(f"the download of the archives of {source.name!r} failed: {error} {remedy}") from error
    for archive in missing:
        _verify(fetched[archive.filename], archive, url=source.url)
    return fetched


def unreachable(url: str, *, seconds: float = 8.0) -> str | None:
    """Why no connection to `url` is answered within `seconds`; None where one is."""
    import requests  # the library TFDS downloads with: same proxies, same certificates

    outcome = [f"no answer from {url} within {seconds:g} s"]

    def ask() -> None:
        try:
            with requests.get(url, stream=True, timeout=seconds) as response:
                outcome[0] = "" if response.ok else f"{url} answered with HTTP status {response.status_code}"
        except (requests.RequestException, OSError) as error:
            outcome[0] = f"{url} cannot be reached ({type(error).__name__})"

    # Name resolution and a host of many addresses outlast the timeout of requests; a daemon thread can be left behind.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return outcome[0] or None
