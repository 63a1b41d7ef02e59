"""Modules of tests that need eight devices, each in a process of its own, since the number is fixed when JAX starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT

MODULES = sorted((Path(__file__).parent / "on_eight_devices").glob("*.py"))


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_on_eight_devices(module):
    run_module(module, marked="not slow")


@pytest.mark.slow
@pytest.mark.parametrize("stem", ["diagnostics", "law", "models"])
def test_the_slow_ones_on_eight_devices(stem):
    run_module(next(path for path in MODULES if path.stem == stem), marked="slow")


def run_module(module, *, marked):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", marked]
    environment = os.environ | {"XLA_FLAGS": flags.strip(), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [*command, str(module)], cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-4000:]
