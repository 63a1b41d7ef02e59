"""Checksums of the files of a checkpoint, in the format of `sha256sum`, and what they say of it later."""

import hashlib
import json
from pathlib import Path

SUMS = "SHA256SUMS"
STEP_METADATA = "_CHECKPOINT_METADATA"
# Orbax writes these after the sums are taken; they hold no number of the run.
_LATER = ("commit_success.txt", SUMS)


def write_sums(folder: Path) -> None:
    """Writes the checksum of every file below `folder` into `folder/SHA256SUMS`."""
    lines = [f"{_digest(folder / name)}  {name}\n" for name in _files(folder)]
    (folder / SUMS).write_text("".join(lines))


def damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint, in words, or None if all its files are as they were written."""
    try:
        lines = (folder / SUMS).read_text().splitlines()
    except FileNotFoundError:
        return f"its list of checksums, {SUMS}, is missing"
    except (OSError, UnicodeDecodeError) as error:
        return f"its list of checksums, {SUMS}, cannot be read ({error})"
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    present = _files(folder)
    for name in [*listed, *present]:
        if name not in present:
            return f"the file {name} is missing"
        if name not in listed:
            return f"the file {name} is not in {SUMS}"
        try:
            if _digest(folder / name) != listed[name]:
                return f"the file {name} has changed since it was written"
        except (OSError, ValueError) as error:
            return f"the file {name} cannot be read ({error})"
    return None if listed else f"its list of checksums, {SUMS}, is empty"


def _files(folder: Path) -> list[str]:
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in files if name not in _LATER and not name.endswith("/commit_success.txt"))


def _digest(path: Path) -> str:
    if path.name == STEP_METADATA:
        # Orbax adds the time of the commit after the sums are taken.
        content = json.loads(path.read_text())
        content.pop("commit_timestamp_nsecs", None)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
