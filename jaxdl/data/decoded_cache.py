"""Decoded arrays on disk: written whole or not at all, checked when read."""

import io
import json
import os
import time
import uuid
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

_MANIFEST = "manifest.json"
_ABANDONED_SECONDS = 3600


def write(folder: Path, arrays: Mapping[str, np.ndarray], *, identity: str) -> None:
    """Keep arrays in a folder as .npy files beside a manifest of their CRC-32.

    Every file is written under a temporary name and renamed; the manifest comes last, so that a kill at any moment
    leaves either what was there, or files that `read` refuses.

    Args:
        folder: made where it does not exist.
        arrays: name to array.
        identity: what the arrays were made from; `read` gives them back for the same identity only.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob("*.tmp"):
        if time.time() - leftover.stat().st_mtime > _ABANDONED_SECONDS:  # younger: perhaps another process at work
            leftover.unlink(missing_ok=True)
    checks = {}
    for name, array in arrays.items():
        content = io.BytesIO()
        np.save(content, array, allow_pickle=False)
        checks[name] = zlib.crc32(content.getbuffer())
        _replace(folder / f"{name}.npy", content.getbuffer())
    manifest = json.dumps({"identity": identity, "crc32": checks}, indent=1)
    _replace(folder / _MANIFEST, manifest.encode())


def read(folder: Path, *, identity: str) -> dict[str, np.ndarray] | None:
    """The arrays `write` kept in a folder; None where they are missing, damaged, or of another identity."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_bytes())
        if manifest["identity"] != identity:
            return None
        arrays = {}
        for name, check in manifest["crc32"].items():
            path = folder / f"{name}.npy"
            if zlib.crc32(path.read_bytes()) != check:
                return None
            arrays[name] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, LookupError, TypeError, AttributeError):  # whatever a damaged file can cause
        return None
    return arrays


def _replace(path: Path, content: bytes | memoryview) -> None:
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")  # mkstemp would hide a shared cache from others
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
