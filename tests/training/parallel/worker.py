"""One of several processes on this machine: `python -m tests.training.parallel.worker PORT COUNT INDEX TASK FOLDER`."""

import contextlib
import json
import os
import signal
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import jax
import numpy as np

from jaxdl import training
from jaxdl.training.callbacks import Steps
from jaxdl.training.parallel import data_parallel, fully_sharded
from tests.training.parallel.tasks import Dropped, Normalized, make_data, make_run, plain

HEARTBEAT_TIMEOUT = 10
CASES = {
    "dropout": (Dropped, None, "loop"),
    "batch_norm": (Normalized, None, "epoch"),
    "fully_sharded": (Dropped, fully_sharded(min_size=32), "auto"),
}


def laws(count, index, folder):
    """Trains as one process would, and writes down what came out."""
    data = make_data(136)
    own = part(data, count, index)
    for case, (make_model, parameters, engine) in CASES.items():
        layout = data_parallel(parameters=parameters)
        step, state = make_run(make_model(), data)
        validation = layout.replicate(tuple(array[:101] for array in data))
        result = training.fit(
            step, state, own, epochs=2, batch_size=16, validation=validation, engine=engine, layout=layout
        )
        exact = training.evaluate(step.objective, result.state, own, batch_size=5, layout=layout)
        whole = jax.jit(lambda state: state, out_shardings=layout.replicated)(result.state)
        leaves = [*jax.tree.leaves(plain(whole)), *result.history.validation.values(), np.asarray(exact["loss"])]
        np.savez(folder / f"{case}-{index}.npz", *leaves, loss=result.history.train["loss"])


def refusals(count, index, folder):
    """Writes down what is said of what processes do not agree on, and of a batch that all of them hold parts of."""
    data = make_data(136)
    step, state = make_run(Dropped(), data)
    layout = data_parallel()
    own = part(data, count, index)
    spoiled = make_data(136)
    spoiled[0][40] = np.inf
    options = dict(epochs=1, batch_size=16, layout=layout)
    calls = {
        "unequal parts": lambda: training.fit(step, state, tuple(a[: len(a) - index] for a in own), **options),
        "another state": lambda: training.fit(step, make_run(Dropped(), data, key=index)[1], own, **options),
        "not finite": lambda: training.fit(step, state, part(spoiled, count, index), **options, shuffle=False),
        "replicated": lambda: data_parallel(examples="replicated"),
        "some devices": lambda: data_parallel(1),
    }
    messages = {name: message(call) for name, call in calls.items()}
    (folder / f"refusals-{index}.json").write_text(json.dumps(messages))


def message(call):
    try:
        call()
    except (ValueError, training.NotFiniteError) as error:
        return str(error)
    return "nothing was raised"


def endings(count, index, folder):
    """Writes down how runs end that do not come to their end, and that each goes on to where it was."""
    data, spoiled = make_data(136), make_data(136)
    spoiled[0][40] = np.inf
    layout = data_parallel(parameters=fully_sharded(min_size=32))
    own, own_spoiled = part(data, count, index), part(spoiled, count, index)

    def stopped_early():
        step, state = make_run(Dropped(), data)
        rule = training.EarlyStopping(patience=2, min_delta=10.0)
        options = dict(validation=own, early_stopping=rule, folder=folder / "early")
        training.fit(step, state, own, epochs=1, batch_size=16, layout=layout, **options)
        state, history = training.fit(step, state, own, epochs=9, batch_size=16, layout=layout, **options)
        return history.ended, int(state.step), len(history.train["loss"])

    def halted():
        step, state = make_run(Dropped(), data, guard="stop")
        options = dict(epochs=2, batch_size=16, layout=layout, shuffle=False, folder=folder / "halted")
        first, again = (training.fit(step, state, own_spoiled, **options) for _ in range(2))
        return first.history.ended, int(first.state.step), again.history.ended, int(again.state.step)

    def raised():
        step, state = make_run(Dropped(), data, guard="raise")
        options = dict(epochs=1, batch_size=16, layout=layout, shuffle=False, folder=folder / "raised")
        with contextlib.suppress(training.NotFiniteError):
            training.fit(step, state, own_spoiled, **options)
        return sorted(path.name for path in (folder / "raised" / "not_finite").iterdir())

    def interrupted():
        """A signal reaches the last process alone."""
        step, state = make_run(Dropped(), data)

        def interrupt(event):
            if index == count - 1 and event.step >= 8:
                os.kill(os.getpid(), signal.SIGTERM)

        options = dict(engine="chunk", chunk_size=4, callbacks=[interrupt], folder=folder / "interrupted")
        try:
            training.fit(step, state, own, epochs=9, batch_size=16, layout=layout, **options)
        except training.Interrupted as error:
            return int(error.state.step)

    found = {call.__name__: call() for call in (stopped_early, halted, raised, interrupted)}
    (folder / f"endings-{index}.json").write_text(json.dumps(found))


def run(count, index, folder):
    """Trains with a folder, and writes down what came out."""
    data = make_data(136)
    step, state = make_run(Normalized(), data)
    result = training.fit(
        step, state, part(data, count, index), epochs=4, batch_size=16, layout=data_parallel(), folder=folder / "run",
        checkpoints=training.Checkpoints(every_steps=4), callbacks=[partial(sit_down, index, folder)],
    )  # fmt: skip
    leaves = jax.tree.leaves(plain(result.state))
    np.savez(folder / f"run-{count}-{index}.npz", *leaves, loss=result.history.train["loss"])


def sit_down(index, folder, event):
    """The process that is to be killed waits for it, with two checkpoints complete and another one asked for."""
    if isinstance(event, Steps) and event.step > 12 and (folder / f"victim-{index}").exists():
        (folder / "sitting").touch()
        time.sleep(600)


def part(data, count, index):
    return tuple(np.split(array, count)[index] for array in data)


if __name__ == "__main__":
    warnings.simplefilter("error")
    port, count, index, task, folder = sys.argv[1:]
    if int(count) > 1:
        jax.distributed.initialize(
            f"127.0.0.1:{port}", int(count), int(index), heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT
        )
    for name in task.split("+"):
        {"laws": laws, "refusals": refusals, "endings": endings, "run": run}[name](int(count), int(index), Path(folder))
