"""What a run will cost, before it starts: compilation, operations, memory, time."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import checks
from jaxdl.diagnostics.reporting.reports import text_table
from jaxdl.jaxprs import matrix_flops
from jaxdl.training import programs
from jaxdl.training.driver import Driver, shortest_seconds
from jaxdl.training.engines import ENGINES, Engine
from jaxdl.training.schedule import make_schedule
from jaxdl.training.state import TrainState
from jaxdl.training.step import TrainStep

PyTree = Any
COPIES = 3  # of the state beside the program's: the caller's, and two of `fit` to find a bad step again


@dataclass(frozen=True)
class Estimate:
    """What a run will cost. Bytes are those of one device; None stands for what a backend does not report.

    Attributes:
      steps: updates left to do.
      compile_seconds: seconds it took to compile the programs of the run, which `fit` then finds compiled.
      seconds_per_step: measured.
      flops_per_step: floating-point operations of the matrix products and convolutions of a step, see
        `jaxdl.jaxprs.matrix_flops`.
      argument_bytes: state, data and what else goes into the largest program.
      output_bytes: state and metrics that come out of it,
      aliased_bytes: of which so many take the place of arguments.
      temporary_bytes: what it needs beside them while it runs.
      state_bytes: parameters, optimizer and everything else in the state; `fit` keeps three copies.
      available_bytes: memory of the device.
    """

    steps: int
    compile_seconds: float
    seconds_per_step: float
    flops_per_step: int | None
    argument_bytes: int | None
    output_bytes: int | None
    aliased_bytes: int | None
    temporary_bytes: int | None
    state_bytes: int
    available_bytes: int | None

    @property
    def run_seconds(self) -> float:
        """Seconds of all steps, without compilation, validation and checkpoints."""
        return self.steps * self.seconds_per_step

    @property
    def peak_bytes(self) -> int | None:
        """The most memory in use at a time: the program's, and the copies of the state beside it."""
        parts = (self.argument_bytes, self.output_bytes, self.aliased_bytes, self.temporary_bytes)
        if None in parts:
            return None
        arguments, outputs, aliased, temporary = (part or 0 for part in parts)
        return arguments + outputs - aliased + temporary + COPIES * self.state_bytes

    def table(self) -> str:
        """One line a figure."""
        flops = self.flops_per_step
        rate = "-" if flops is None else f"{flops / self.seconds_per_step / 1e9:.3g} GFLOP/s"
        rows = [
            ("steps", f"{self.steps:,}"),
            ("seconds to compile", f"{self.compile_seconds:.3g}"),
            ("seconds a step", f"{self.seconds_per_step:.3g}"),
            ("seconds of all steps", f"{self.run_seconds:.3g}"),
            ("operations of products a step", "-" if flops is None else f"{flops:.4g}"),
            ("their rate", rate),
            ("arguments", _size(self.argument_bytes)),
            ("outputs", _size(self.output_bytes)),
            ("outputs in the place of arguments", _size(self.aliased_bytes)),
            ("temporaries", _size(self.temporary_bytes)),
            (f"state, kept {COPIES} times beside", _size(self.state_bytes)),
            ("peak memory", _size(self.peak_bytes)),
            ("memory of the device", _size(self.available_bytes)),
        ]
        return text_table(("estimate", ""), rows)

    def verdict(self, available_memory: int | None = None) -> str:
        """A sentence that says how long the run takes, and whether it fits.

        Args:
          available_memory: bytes there are; None: what the device reports.
        """
        if available_memory is not None:
            checks.whole_number(available_memory=available_memory, minimum=1, remedy="It is a number of bytes.")
        available = self.available_bytes if available_memory is None else available_memory
        sentence = (
            f"{self.steps:,} steps of {self.seconds_per_step:.3g} s take about {_duration(self.run_seconds)}, after "
            f"{_duration(self.compile_seconds)} of compiling; "
        )
        if self.peak_bytes is None:
            return sentence + "this backend does not report memory"
        sentence += f"peak memory {_size(self.peak_bytes)}"
        if available is None:
            return sentence + ", of how much is not known: pass available_memory"
        sentence += f" of {_size(available)}"
        if self.peak_bytes <= 0.9 * available:
            return sentence + ": fits"
        remedy = "take a smaller batch, microbatches, bfloat16 activations, or a layout of more devices"
        return sentence + (f": barely fits, {remedy}" if self.peak_bytes <= available else f": does not fit, {remedy}")


def estimate(
    step: TrainStep,
    state: TrainState,
    data: PyTree,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int,
    engine: Engine = "epoch",
    chunk_size: int = 100,
    shuffle: bool = True,
    order_key: jax.Array | None = None,
    timed_steps: int = 10,
) -> Estimate:
    """Compiles the programs of a run ahead of it, and says what the run will cost.

    A `fit` with the same arguments then compiles none of its training programs anew. Validation, checkpoints and
    callbacks come on top.

    Args:
      step, state, data, epochs, steps, batch_size, engine, chunk_size, shuffle, order_key: as for `fit`; `data` are
        arrays. The state stays as it is.
      timed_steps: steps that are run four times on copies of the state, to be timed; take more where a step takes
        microseconds, since a call's own time counts with them.

    Returns:
      An `Estimate` with `.table()` and `.verdict()`.

    Raises:
      ValueError: nothing is left to do, `timed_steps` below 1, or what `fit` refuses.

    Example:
      >>> print(estimate(step, state, data, epochs=100, batch_size=128).verdict())  # doctest: +SKIP
    """
    schedule = make_schedule(
        step, state, data, None, epochs=epochs, steps=steps, batch_size=batch_size, evaluate_every=1,
        shuffle=shuffle, order_key=order_key,
    )  # fmt: skip
    checks.one_of(engine=engine, among=ENGINES, remedy="Use 'epoch'.")
    checks.whole_number(chunk_size=chunk_size, minimum=1, remedy="Try 100.")
    checks.whole_number(timed_steps=timed_steps, minimum=1, remedy="Try 10.")
    left = schedule.last_step - schedule.first_step
    if left == 0:
        raise ValueError("epochs, steps: expected a total beyond the steps this state has done; got none left to do.")
    data = jax.device_put(data)
    ahead = _Ahead()
    longest = schedule.steps_per_epoch if engine == "epoch" else chunk_size
    segments = {length: start for start, length in schedule.segments(longest)}
    for length, start in segments.items():
        Driver(step, data, schedule, ahead).advance(engine, state, start, length)
    timed = min(timed_steps, left, schedule.steps_per_epoch - schedule.first_step % schedule.steps_per_epoch)
    driver = Driver(step, data, schedule, programs.Stopwatch())
    kind: Engine = "loop" if engine == "loop" else "chunk"
    seconds = shortest_seconds(lambda state: driver.advance(kind, state, schedule.first_step, timed), state)
    batch = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((batch_size, *leaf.shape[1:]), leaf.dtype), data)
    return Estimate(
        steps=left,
        compile_seconds=ahead.compile_seconds,
        seconds_per_step=seconds / timed,
        flops_per_step=matrix_flops(jax.make_jaxpr(step.unmeasured)(state, batch)),
        **_largest(ahead.executables),
        state_bytes=sum(leaf.nbytes for leaf in jax.tree.leaves(jax.tree.map(jnp.asarray, state))),
        available_bytes=(jax.local_devices()[0].memory_stats() or {}).get("bytes_limit"),
    )


class _Ahead(programs.Stopwatch):
    """Compiles, and in place of running gives the shapes of what would come out."""

    def compiled(self, program: Any, *args: Any, **static: Any) -> Any:
        super().compiled(program, *args, **static)
        return lambda *args: jax.eval_shape(partial(program, **static), *args)


def _largest(executables: list[Any]) -> dict[str, int | None]:
    names = ("argument", "output", "alias", "temp")
    figures = []
    for executable in executables:
        memory = executable.memory_analysis()
        figures.append([getattr(memory, f"{name}_size_in_bytes", None) for name in names])
    known = [row for row in figures if None not in row]
    largest = max(known, key=lambda row: row[0] + row[1] - row[2] + row[3], default=[None] * 4)
    return dict(zip(("argument_bytes", "output_bytes", "aliased_bytes", "temporary_bytes"), largest, strict=True))


def _size(count: int | None) -> str:
    if count is None:
        return "-"
    unit, name = next((pair for pair in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if count >= pair[0]), (1, "B"))
    return f"{count / unit:.4g} {name}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
