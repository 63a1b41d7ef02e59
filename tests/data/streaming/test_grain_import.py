"""Grain is imported late, and says nothing."""

import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[3]


def test_grain_is_imported_late_and_in_silence():
    code = """
import logging, sys
import jaxdl
print("grain" in sys.modules)
from jaxdl.data.streaming.grain_import import import_grain
print(import_grain() is sys.modules["grain"], import_grain().MapDataset.range(3)[2])
logging.getLogger("absl").warning("still heard")
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        timeout=120,
        check=True,
    )
    assert done.stdout.split() == ["False", "True", "2"]
    assert done.stderr.strip().splitlines() == ["WARNING:absl:still heard"]
