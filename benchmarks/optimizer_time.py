"""Times one jitted update of every recipe against that of the bare optax alias, on the parameters of an MLP.

python -m benchmarks.optimizer_time [--rounds 60] [--write]
"""

import time
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import report
from benchmarks.timing import Timing, take_turns
from jaxdl import optimizers

WIDTHS, RATE, DECAY, ALLOWED = (784, 512, 512, 10), 1e-3, 1e-4, 0.03
REPEATS, REPEATS_OF_SEARCHES = 200, 20
TITLE = "Optimizers: milliseconds of one update of the parameters of 784-512-512-10"
# name: (recipe, alias)
PAIRS = {
    "optax.sgd itself": (optax.sgd(RATE), optax.sgd(RATE)),  # what the clock makes of no difference
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
    "lbfgs": (optimizers.lbfgs(), optax.lbfgs()),
}


def bowl(params: Any) -> jax.Array:
    """A cheap function, so that a line search is no more than its own arithmetic."""
    return 0.5 * optax.tree.norm(params, squared=True)


class Updates:
    """A jitted update with its state donated; every call does some in a row and waits for the last."""

    def __init__(self, tx: optax.GradientTransformation, *, searches: bool) -> None:
        keys = jax.random.split(jax.random.key(0), len(WIDTHS))
        shapes = list(pairwise(WIDTHS))
        self.params = [
            {"kernel": jax.random.normal(key, shape) / 30, "bias": jnp.zeros(shape[1])}
            for key, shape in zip(keys, shapes, strict=False)
        ]
        self.grads = jax.tree.map(lambda leaf: jax.random.normal(keys[-1], leaf.shape) / 100, self.params)
        self.state = jax.tree.map(jnp.copy, tx.init(self.params))  # optax.lbfgs has one buffer in two places

        whole = optax.with_extra_args_support(tx).update

        @partial(jax.jit, donate_argnums=(0, 1))
        def update(params, state, grads):
            # Those that search a line need the gradient of what they search; for the others any will do.
            extra = dict(value=bowl(params), grad=params, value_fn=bowl) if searches else {}
            updates, state = whole(params if searches else grads, state, params, **extra)
            return optax.apply_updates(params, updates), state

        self.update = update
        self.repeats = REPEATS_OF_SEARCHES if searches else REPEATS

    def __call__(self) -> None:
        for _ in range(self.repeats):
            self.params, self.state = self.update(self.params, self.state, self.grads)
        jax.block_until_ready(self.params)


def main(arguments: Sequence[str] | None = None) -> None:
    report.measure_section("optimizer_time", __doc__, TITLE, section, rounds=60, arguments=arguments)


def section(*, rounds: int) -> str:
    timings = {name: (Timing(name), Timing(f"optax, {name}")) for name in PAIRS}
    for name, pair in PAIRS.items():
        running = []
        for timing, tx in zip(timings[name], pair, strict=True):
            started = time.perf_counter()
            call = Updates(tx, searches=name == "lbfgs")
            call()
            timing.warm_up = time.perf_counter() - started
            running.append((timing, call, call.repeats))
        # Side by side, one pair after the other: differences of a few percent do not survive a longer turn.
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
