"""A text file of whole lines, whatever kills the process while it writes."""

import os
from collections.abc import Callable
from pathlib import Path


class LineFile:
    """Appends lines, each by one write to the operating system.

    A line is in the file once `append` returns, as far as the death of the process goes. A last line without its end,
    which a kill in the middle of a write leaves behind, is dropped when the file is opened again.
    """

    def __init__(self, path: Path, *, kept: Callable[[list[str]], list[str]]) -> None:
        """Opens the file, making its folder, and keeps of the lines in it those that `kept` returns."""
        path.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes() if path.exists() else b""
        self._path = path
        self.rewrite(kept(whole_lines(content)), unless=content)

    def rewrite(self, lines: list[str], *, unless: bytes | None = None) -> None:
        """Replaces the whole file at once; readers and a kill see the old one or the new one."""
        content = "".join(f"{line}\n" for line in lines).encode()
        if content != unless:
            fresh = self._path.with_name(f"{self._path.name}.new")
            with fresh.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, self._path)

    def append(self, line: str) -> None:
        """Adds one line.

        Raises:
          OSError: it could not be written, to a full disk for one; no part of it stays in the file.
        """
        rest = memoryview(f"{line}\n".encode())
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            length = os.fstat(descriptor).st_size
            try:
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
            except BaseException:
                os.ftruncate(descriptor, length)  # or the next line would be glued to the stump
                raise
        finally:
            os.close(descriptor)


def whole_lines(content: bytes) -> list[str]:
    """The lines of a file that have their end."""
    return content.decode("utf-8", errors="replace").split("\n")[:-1]
