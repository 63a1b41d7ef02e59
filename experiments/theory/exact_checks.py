"""Every exact check of the lectures in one table (X04): identities, closed forms, exact moments.

`python -m experiments exact_checks`    makes its own data; the data set is not used
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from experiments.harness import rules
from experiments.harness.claims import Experiment, Run
from experiments.theory import exact_gradients, exact_layers, exact_starts
from experiments.theory.exact_table import Check

FLOOR = 1e-9  # where the picture ends
UNIT = 1e-6  # what deviations are shown in where nothing but 0 is let pass


def table() -> list[Check]:
    """All lines."""
    return [*exact_gradients.checks(), *exact_starts.checks(), *exact_layers.checks()]


def run(run: Run) -> None:
    """Measures every line for every seed; the worst seed decides."""
    lines, found = table(), []
    for check in lines:
        deviations = check.measure(run.seeds)
        found.append(deviations)
        judge(run, check, deviations)
    for seed in range(run.seeds):
        run.record(
            quantity="deviations", seed=seed,
            **{check.claim: float(each[seed]) for check, each in zip(lines, found, strict=True) if not check.control},
        )  # fmt: skip
    run.figure(
        "exact_checks",
        picture(lines, found),
        f"Deviation of every seed over its tolerance (over {UNIT:g} where only 0 will do). Left of 1 a check holds; "
        f"what is exactly 0, or below {FLOOR:g}, stands at the edge.",
    )
    run.note("Each check draws its own data: --dataset changes nothing.")


def judge(run: Run, check: Check, deviations: np.ndarray) -> None:
    """The worst seed within the tolerance; a control must be outside with every seed."""
    decisive = float(np.min(deviations) if check.control else np.max(deviations))
    run.find(
        check.claim,
        f"{'must fail: ' if check.control else ''}{check.unit}, every seed, at most {check.tolerance:g}",
        rules.exact(decisive, 0.0, check.tolerance),
        published=check.published, control=check.control, row="" if check.control else "X04",
    )  # fmt: skip


def picture(lines: Sequence[Check], found: Sequence[np.ndarray]) -> Figure:
    """A line a check."""
    figure = Figure(figsize=(11, 0.24 * len(lines) + 1), layout="constrained")
    axis = figure.subplots()
    for i, (check, deviations) in enumerate(zip(lines, found, strict=True)):
        ratios = np.maximum(deviations / (check.tolerance or UNIT), FLOOR)
        axis.plot(ratios, np.full(len(ratios), -i), "x" if check.control else "o", markersize=4,
                  color="C3" if check.control else "C0")  # fmt: skip
    labels = ["control" + check.claim.partition("must fail")[2] if check.control else check.claim for check in lines]
    axis.set_yticks([-i for i in range(len(lines))], [label[:95] for label in labels], fontsize=7)
    axis.axvline(1, color="black", linewidth=1)
    axis.set(
        xscale="log", xlabel="deviation / tolerance (dots: seeds; crosses: controls)", ylim=(0.7 - len(lines), 0.7)
    )
    axis.grid(alpha=0.3, axis="x")
    return figure


EXPERIMENT = Experiment(
    name="exact_checks",
    lecture="all",
    claim="what the lectures derive holds in the code to rounding: gradients, starts, noise, normalizations",
    setup="Small random networks, kernels, inputs and masks, a seed each: identities in float32 (finite differences in "
    "float64), variances of kernels of 400 x 600, SELU through 32 layers of 512, means over 4,000 masks within three "
    "standard errors (one in 370 of them would fail by chance; the seeds are fixed). Expected values are closed forms "
    "or NumPy's in float64. Other experiments have several of them at length: representation, backprop_cost, "
    "per_example, permutation, saddle_points, regression.",
    source="the papers named with each check; else computed",
    seconds={"digits": 15, "mnist": 25},
    presets={name: {"seeds": 5 if name != "full" else 20} for name in ("smoke", "default", "full")},
    run=run,
    rows=("X04",),
    record="digits",
)
