"""Times one jitted update of every recipe against that of the bare optax alias, on the parameters of an MLP.

python -m benchmarks.optimizer_time [--rounds 60] [--write]
"""

import argparse
import time
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import report
from benchmarks.timing import Timing, take_turns
from jaxdl import optimizers

WIDTHS, RATE, DECAY, REPEATS, ALLOWED = (784, 512, 512, 10), 1e-3, 1e-4, 50, 0.03
TITLE = "Optimizers: milliseconds of one update of the parameters of 784-512-512-10"
# name: (recipe, alias)
PAIRS = {
    "gradient_descent": (optimizers.gradient_descent(RATE), optax.sgd(RATE)),
    "momentum": (optimizers.momentum(RATE), optax.sgd(RATE, momentum=0.9)),
    "nesterov": (optimizers.nesterov(RATE), optax.sgd(RATE, momentum=0.9, nesterov=True)),
    "adagrad": (optimizers.adagrad(RATE), optax.adagrad(RATE)),
    "rmsprop": (optimizers.rmsprop(RATE), optax.rmsprop(RATE, eps_in_sqrt=False)),
    "adadelta": (optimizers.adadelta(), optax.adadelta(1.0)),
    "adam": (optimizers.adam(RATE), optax.adam(RATE)),
    "adam, decoupled_decay": (
        optax.chain(optimizers.adam(RATE), optimizers.decoupled_decay(DECAY, learning_rate=RATE)),
        optax.adamw(RATE, weight_decay=DECAY, mask=partial(jax.tree.map, lambda leaf: leaf.ndim > 1)),
    ),
}


class Updates:
    """A jitted update with its state donated; every call does some in a row and waits for the last."""

    def __init__(self, tx: optax.GradientTransformation) -> None:
        keys = jax.random.split(jax.random.key(0), len(WIDTHS))
        shapes = list(pairwise(WIDTHS))
        self.params = [
            {"kernel": jax.random.normal(key, shape) / 30, "bias": jnp.zeros(shape[1])}
            for key, shape in zip(keys, shapes, strict=False)
        ]
        self.grads = jax.tree.map(lambda leaf: jax.random.normal(keys[-1], leaf.shape) / 100, self.params)
        self.state = tx.init(self.params)

        @partial(jax.jit, donate_argnums=(0, 1))
        def update(params, state, grads):
            updates, state = tx.update(grads, state, params)
            return optax.apply_updates(params, updates), state

        self.update = update

    def __call__(self) -> None:
        for _ in range(REPEATS):
            self.params, self.state = self.update(self.params, self.state, self.grads)
        jax.block_until_ready(self.params)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.optimizer_time", description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/RESULTS.md")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds: expected a number >= 1")
    report.warn_if_busy()
    body = f"{section(rounds=options.rounds)}\n\n{options.rounds} rounds. {report.machine()}"
    print(f"## {TITLE}\n\n{body}\n", flush=True)
    if options.write:
        report.write_section(TITLE, body)


def section(*, rounds: int) -> str:
    timings = {name: (Timing(name), Timing(f"optax, {name}")) for name in PAIRS}
    running = []
    for name, pair in PAIRS.items():
        for timing, tx in zip(timings[name], pair, strict=True):
            started = time.perf_counter()
            call = Updates(tx)
            call()
            timing.warm_up = time.perf_counter() - started
            running.append((timing, call, REPEATS))
    take_turns(running, rounds=rounds)
    lines = [["", "first call s", "min ms", "median ms", "optax: min ms", "median ms", "/ optax"]]
    lines.append(["---"] + ["---:"] * 6)
    for name, (own, alias) in timings.items():
        cells = [f"{1e3 * value:.3f}" for t in (own, alias) for value in (min(t.seconds), np.median(t.seconds))]
        lines.append([name, f"{own.warm_up:.1f}", *cells, report.ratio(own, alias)])
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    medians = {name: float(np.median(own.over(alias))) for name, (own, alias) in timings.items()}
    slow = [f"{name} {median - 1:+.1%}" for name, median in medians.items() if median > 1 + ALLOWED]
    verdict = f"over {ALLOWED:.0%}: {', '.join(slow)}" if slow else f"all within {ALLOWED:.0%}"
    return f"{table}\n\nMedian time over that of the bare alias: {verdict}."


if __name__ == "__main__":
    main()
