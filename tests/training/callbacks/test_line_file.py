import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from jaxdl.training.callbacks.line_file import LineFile, whole_lines

EVERYTHING = lambda lines: lines  # noqa: E731


def test_a_line_stands_in_the_file_at_once(tmp_path):
    path = tmp_path / "deep" / "log"
    file = LineFile(path, kept=EVERYTHING)
    file.append("one")
    assert path.read_bytes() == b"one\n"
    file.append("zwölf")
    assert path.read_bytes() == "one\nzwölf\n".encode()


def test_a_torn_line_is_dropped(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo\nthr")
    seen = []
    file = LineFile(path, kept=lambda lines: seen.extend(lines) or lines[:1])
    assert seen == ["one", "two"]
    file.append("new")
    assert path.read_bytes() == b"one\nnew\n"
    assert os.listdir(tmp_path) == ["log"]


def test_a_character_cut_in_two_is_torn_as_well():
    assert whole_lines("one\nzwölf".encode()[:-3]) == ["one"]


def test_what_stays_as_it_is_is_not_written_anew(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"one\n")
    before = path.stat().st_ino
    LineFile(path, kept=EVERYTHING)
    assert path.stat().st_ino == before


def test_a_full_disk_leaves_whole_lines(tmp_path):
    path = tmp_path / "log"
    file = LineFile(path, kept=EVERYTHING)
    file.append("a" * 50)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            file.append("b" * 50)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"a" * 50 + b"\n"
    file.append("c")
    assert path.read_bytes() == b"a" * 50 + b"\nc\n"


WRITER = """
import sys
from pathlib import Path
from jaxdl.training.callbacks.line_file import LineFile
file = LineFile(Path(sys.argv[1]), kept=lambda lines: lines)
for i in range(10**9):
    file.append(f"{i:09d}" * 100)
    if i % 50 == 0:
        file.rewrite([f"{j:09d}" * 100 for j in range(i + 1)])
"""


def test_kills_at_any_moment_leave_whole_lines(tmp_path):
    for kill in range(3):
        path = tmp_path / f"log{kill}"
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)])
        while not path.exists() or path.stat().st_size < 100_000:
            time.sleep(0.01)
            assert process.poll() is None
        time.sleep(0.013 * kill)
        process.send_signal(signal.SIGKILL)
        process.wait()
        lines = whole_lines(path.read_bytes())
        assert lines == [f"{i:09d}" * 100 for i in range(len(lines))]
        assert len(lines) > 100
