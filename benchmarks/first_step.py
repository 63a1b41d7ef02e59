"""A small experiment in a process of its own, up to its first training; for `benchmarks.start_up`.

python -m benchmarks.first_step SUBJECT FOLDER SPAWNED, with the folder of compiled programs and the time of the start;
prints when it got where, in seconds and in seconds of the processor.
"""

import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

Moments = dict[str, tuple[float, float]]


def bare(folder: str, note: Callable[[str], None]) -> None:
    """One step of a perceptron on digits."""
    import jax
    import optax

    import jaxdl
    from jaxdl import training

    training.keep_compiled_programs(folder)
    digits = jaxdl.data.load("digits")
    note("imports")
    model, tx = jaxdl.models.MLP((30, 30, 10)), optax.adam(1e-3)
    metrics = {"accuracy": jaxdl.losses.correct}
    step = training.make_train_step(training.supervised(model, jaxdl.losses.softmax_cross_entropy, metrics=metrics), tx)
    state = training.init_state(model, tx, digits.train.x[:1], key=jax.random.key(0))
    training.fit(step, state, digits.train, steps=1, batch_size=32)
    note("first step")


def experiment(folder: str, note: Callable[[str], None]) -> None:
    """`python -m experiments vanishing_gradient --preset smoke`, until its first training returns."""
    from experiments import __main__ as command
    from jaxdl import training

    note("imports")
    run_many = training.run_many

    def run_and_leave(*args: Any, **options: Any) -> None:
        run_many(*args, **options)
        note("first step")
        raise SystemExit

    training.run_many = run_and_leave
    with tempfile.TemporaryDirectory() as out, contextlib.suppress(SystemExit):
        command.main(["vanishing_gradient", "--preset", "smoke", "--out", out])


SUBJECTS = {"bare": bare, "experiment": experiment}


def main() -> None:
    subject, folder, spawned = sys.argv[1], sys.argv[2], float(sys.argv[3])
    moments: Moments = {}

    def note(name: str) -> None:
        moments[name] = (time.time() - spawned, time.process_time())

    SUBJECTS[subject](folder, note)
    print(json.dumps(moments))


if __name__ == "__main__":
    main()
