"""Times a step shared by 1 to 8 simulated devices of this CPU, and by two processes, against one device without layout.

python -m benchmarks.devices [--rounds 20] [--write]
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import report
from benchmarks.device_workloads import STEPS, WORKLOADS, Run, make_run
from benchmarks.timing import Timing, take_turns
from jaxdl.training import data_parallel, fully_sharded

TITLE = "Devices: a step of the same batch of 128, shared by simulated devices of one CPU"
NOTE = (
    "What is simulated shares the cores, and each run already uses them all: the ratios are the price of cutting a "
    "batch up and summing its gradients, not what several processors gain. Eight devices on two cores take turns as "
    "well. `sharded data` keeps an eighth of the examples on each device and sums every batch; `fully sharded` keeps "
    "an eighth of parameters, moments and their like."
)
DEVICES = 8


def main(arguments: Sequence[str] | None = None) -> None:
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={DEVICES}"
    report.measure_section("devices", __doc__, TITLE, section, rounds=20, arguments=arguments)


def section(*, rounds: int) -> str:
    load = f"Load of the machine by other work when this began: {os.getloadavg()[0]:.1f}, on {os.cpu_count()} cores."
    return "\n\n".join([*(measured(name, rounds=rounds) for name in WORKLOADS), f"{NOTE} {load}"])


def measured(workload: str, *, rounds: int) -> str:
    layouts = {
        "no layout": None,
        **{f"{count} device{'s' * (count > 1)}": data_parallel(count) for count in (1, 2, 4, DEVICES)},
        f"{DEVICES}, sharded data": data_parallel(examples="sharded"),
        f"{DEVICES}, fully sharded": data_parallel(parameters=fully_sharded()),
    }
    running = [warmed_up(name, lambda layout=layout: make_run(workload, layout)) for name, layout in layouts.items()]
    with Processes(workload, count=2) as processes:
        running.append(warmed_up("2 processes", lambda: processes))
        take_turns(running, rounds=rounds)
    timings = [timing for timing, _, _ in running]
    return f"{WORKLOADS[workload].title}:\n\n{report.table(timings, timings[:1], unit='ms')}"


def warmed_up(name: str, make: Callable[[], Any]) -> tuple[Timing, Any, int]:
    started = time.perf_counter()
    run: Run | Processes = make()
    run()
    return Timing(name, time.perf_counter() - started), run, STEPS


class Processes:
    """Processes that do their steps when they are told to, and say when they are done."""

    def __init__(self, workload: str, *, count: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "benchmarks.device_workloads", workload, str(port), str(count)]
        environment = os.environ | {"XLA_FLAGS": ""}
        self._processes = [
            subprocess.Popen(
                [*command, str(index)], env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            for index in range(count)
        ]

    def __call__(self) -> None:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in self._processes:
            assert process.stdout is not None
            while (line := process.stdout.readline()) != "done\n":
                if not line:
                    raise RuntimeError("a process ended before it was done")

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes:
            process.wait()


if __name__ == "__main__":
    main()
