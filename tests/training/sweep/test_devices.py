"""Members spread over eight simulated devices, uneven counts included: each is what it is on one."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]
ROUNDING = 1e-5
NAME = re.compile(r"(vmap|map) of (\d) on (\d), .*")


@pytest.fixture(scope="module")
def found():
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-W", "error", str(Path(__file__).with_name("eight_devices.py"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, env=environment, cwd=CHECKOUT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_members_are_what_they_are_on_one_device(found):
    cases = [(name, *NAME.fullmatch(name).groups()) for name in found if " at once, " in name]
    assert len(cases) == 7
    for name, mode, members, devices in cases:
        case = found[name]
        assert case["engine"] == f"{mode} on {min(int(devices), int(members))} devices", name
        assert case["shape"] == [int(members), 12], name
        assert case["members"] == int(members), name
        for part in ("params", "loss", "validation"):
            assert case[part] <= (ROUNDING if mode == "vmap" else 0), name


def test_auto_tries_one_device_and_all(found):
    assert set(found["auto"]["timings"]) == {"vmap", "map", "vmap on 2 devices", "map on 2 devices"}
    assert found["auto"]["engine"] in found["auto"]["timings"]


def test_members_side_by_side_exchange_nothing(found):
    assert found["exchanges"] == []
