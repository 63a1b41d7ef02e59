"""How long deep linear networks learn, by depth: Gaussian starts slow down, orthogonal ones do not (Saxe et al.).

`python -m experiments linear_learning_time --dataset mnist`    100 units, 3 to 50 layers
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from experiments.building_blocks.propagation import singular_values
from experiments.gradients import linear_networks as networks
from experiments.gradients.linear_networks import STARTS, Times
from experiments.harness import rules
from experiments.harness.claims import Experiment, Run

LEVEL, MARGIN, SPECTRUM = 0.2, 1.1, 1e-4


def run(run: Run) -> None:
    """Times every start, depth, rate and seed, and looks at the products of the starts' kernels."""
    settings = run.settings
    width, depths = settings["width"][run.dataset], settings["depths"]
    problem = networks.task(run.splits.train, width)
    factors = np.geomspace(4e-3, 4.0, settings["rates"])
    found: dict[str, dict[int, Times]] = {name: {} for name in STARTS}
    for depth in depths:
        by_start = networks.costs(
            problem, width=width, depth=depth, factors=factors.tolist(), seeds=run.seeds, steps=settings["steps"]
        )
        for name, costs in by_start.items():
            found[name][depth] = networks.times(costs, LEVEL)
            updates, best = found[name][depth]
            print(f"  {depth} layers, {name}: {np.median(updates):g} updates (median)")
            for seed in range(run.seeds):
                run.record(
                    quantity="learning_time", start=name, depth=depth, seed=seed, updates=int(updates[seed]),
                    learning_rate=float(at_best(factors, best)[seed] / depth),
                )  # fmt: skip
    judge_times(run, found, len(factors))
    spectra = {
        name: singular_values(init, width=width, depths=depths, seeds=run.seeds) for name, init in STARTS.items()
    }
    judge_spectra(run, spectra)
    tell(run, found, spectra, factors)


def at_best(factors: np.ndarray, best: np.ndarray) -> np.ndarray:
    """The factor of every seed's fastest rate, NaN where none got there."""
    return np.where(best < 0, np.nan, factors[best])


def slopes(found: Mapping[int, Times]) -> np.ndarray:
    """Least-squares slope of ln(updates) on depth times the range of depths, `(seeds,)`."""
    depths = np.array(list(found), float)
    logs = np.log(np.stack([each.updates for each in found.values()]))
    centred = depths - depths.mean()
    return centred @ (logs - logs.mean(0)) / (centred @ centred) * np.ptp(depths)


def judge_times(run: Run, found: Mapping[str, Mapping[int, Times]], num_rates: int) -> None:
    """The slopes of log time on depth."""
    gaussian, orthogonal = slopes(found["Gaussian"]), slopes(found["orthogonal"])
    first, last = min(found["Gaussian"]), max(found["Gaussian"])
    late = sum(int((each.updates >= run.settings["steps"]).sum()) for each in found["Gaussian"].values())
    ends = {
        name: sum(int(np.isin(each.best, (0, num_rates - 1)).sum()) for each in by_depth.values())
        for name, by_depth in found.items()
    }
    run.find(
        f"scaled Gaussian starts slow down with depth, {first} to {last} layers, at the best rate of every network",
        "slope of ln(updates to the cost) on depth, times the range of depths: lower 95 % limit above 0",
        rules.exceeds(gaussian, 0.0),
        published="learning time grows with depth (Saxe et al. 2013)",
        remark=f"{late} networks did not get there and count as {run.settings['steps']} updates, which makes the slope "
        f"smaller; {ends['Gaussian']} times the best rate is an end of the grid",
        row="X22",
    )
    rule = f"the same quantity: 90 % interval within +-ln {MARGIN:g}, 10 % over the range"
    run.find(
        "from orthogonal starts the learning time does not depend on depth",
        rule,
        rules.equivalent(orthogonal, float(np.log(MARGIN))),
        published="independent of depth (Saxe et al. 2013)",
        remark=f"{ends['orthogonal']} times the best rate is an end of the grid",
        row="X22",
    )
    run.find(
        "negative control, the rule must fail: from Gaussian starts it does not either",
        f"must fail: {rule}",
        rules.equivalent(gaussian, float(np.log(MARGIN))),
        control=True,
        row="X22",
    )
    run.find(
        f"with {last} layers the orthogonal start is the faster one",
        "lower 95 % limit of the paired ln(updates, Gaussian / orthogonal) above 0",
        rules.exceeds(np.log(found["Gaussian"][last].updates / found["orthogonal"][last].updates), 0.0),
        row="X22",
    )


def judge_spectra(run: Run, spectra: Mapping[str, Mapping[int, np.ndarray]]) -> None:
    """Singular values of the products of square kernels, `{start: {depth: (seeds, width)}}`."""
    depths = list(spectra["orthogonal"])
    rule = f"every singular value within {SPECTRUM:g} of 1, at every depth, in every seed"
    for name, control in (("orthogonal", False), ("Gaussian", True)):
        off = np.max([np.abs(drawn - 1).max(1) for drawn in spectra[name].values()], axis=0)
        run.find(
            f"products of up to {max(depths)} {name} kernels keep all singular values at 1"
            + (": negative control, the rule must fail" if control else ""),
            ("must fail: " if control else "") + rule,
            rules.every_seed(off <= SPECTRUM),
            published="1" if not control else "",
            control=control,
            remark=f"largest deviation {off.max():.2g}",
            row="X22",
        )
    medians = np.stack([np.median(drawn, axis=1) for drawn in spectra["Gaussian"].values()], 1)
    run.find(
        "those of N(0, 1/N) kernels degenerate: the median singular value falls with every further depth",
        f"strictly falling over depths {', '.join(map(str, depths))}, in every seed",
        rules.every_seed(np.all(np.diff(medians, axis=1) < 0, axis=1)),
        remark=f"median {medians[:, -1].mean():.2g} after {max(depths)} layers",
        row="X22",
    )


def tell(
    run: Run,
    found: Mapping[str, Mapping[int, Times]],
    spectra: Mapping[str, Mapping[int, np.ndarray]],
    factors: np.ndarray,
) -> None:
    """The table and the picture."""
    run.table(
        f"updates until {100 * LEVEL:g} % of the cost is left (median and range over seeds), best rate times depth",
        ["start", *(f"{depth} layers" for depth in next(iter(found.values())))],
        [
            [name, *(cell(each, run.settings["steps"], factors) for each in by_depth.values())]
            for name, by_depth in found.items()
        ],
    )
    run.figure(
        "linear_learning_time",
        picture(found, spectra, factors, run.settings["steps"]),
        "Left: updates until a fifth of the zero map's cost is left, at the best of the rates, one point a network "
        "(dotted: the limit). Middle: that rate times the depth. Right: singular values of the product of the starts' "
        "square kernels, one seed a colour band: median, and 5 to 95 %.",
    )


def cell(each: Times, steps: int, factors: np.ndarray) -> str:
    """One entry of the table."""
    late = int((each.updates >= steps).sum())
    text = f"{np.median(each.updates):g} ({each.updates.min():g} to {each.updates.max():g})"
    return text + (f", {late} not there" if late else "") + f", {np.median(at_best(factors, each.best)):.2g}"


def picture(
    found: Mapping[str, Mapping[int, Times]],
    spectra: Mapping[str, Mapping[int, np.ndarray]],
    factors: np.ndarray,
    steps: int,
) -> Figure:
    """Times, rates and spectra over depth."""
    figure = Figure(figsize=(14, 4.3), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for i, (name, by_depth) in enumerate(found.items()):
        depths = list(by_depth)
        for axis, rows in (
            (left, [each.updates for each in by_depth.values()]),
            (middle, [at_best(factors, each.best) for each in by_depth.values()]),
        ):
            axis.plot(depths, np.median(rows, axis=1), color=f"C{i}", label=name)
            axis.plot(depths, rows, ".", color=f"C{i}", alpha=0.6)
        values = np.stack([np.maximum(drawn, 1e-12) for drawn in spectra[name].values()])
        low, middle_one, high = np.quantile(values, [0.05, 0.5, 0.95], axis=(1, 2))
        right.plot(depths, middle_one, color=f"C{i}", label=name)
        right.fill_between(depths, low, high, color=f"C{i}", alpha=0.2, linewidth=0)
    left.axhline(steps, color="tab:gray", linestyle=":")
    left.set(ylabel="updates", yscale="log")
    middle.set(ylabel="best rate times depth", yscale="log")
    right.set(ylabel="singular values", yscale="log")
    for axis in (left, middle, right):
        axis.set(xlabel="layers")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    return figure


_WIDTH: Mapping[str, int] = {"digits": 40, "mnist": 100}
_DEPTHS: Sequence[int] = (3, 10, 25, 50)

EXPERIMENT = Experiment(
    name="linear_learning_time",
    lecture="McKay 2017; Fornax 2017",
    claim="from Gaussian starts deep linear networks learn the slower the deeper they are, from orthogonal ones not",
    setup="linear networks of 3 to 50 layers of 100 units (full: 256) on as many principal components of the training "
    "images, their mean variance 1, one-hot targets, both centred, squared error, gradient descent on all images at "
    "once, at each of twenty rates from 0.004 to 4, divided by the depth (three decades, as in the paper). Starts: "
    "N(0, 1/fan_in) and random orthogonal kernels. Time: updates until the cost above the least-squares map's is a "
    "fifth of the zero map's, at the best rate of each network; at most 300. The paper's details on data, error and "
    "batches are not at hand: principal components, level and full batches are choices of ours. Its decoupled and its "
    "pretrained start are not in it. Digits: 40 units.",
    source="Saxe, McClelland, Ganguli 2013 (MNIST, 1,000 units, 3 to 100 layers; curves, no table)",
    seconds={"digits": 60, "mnist": 330},
    presets={
        "smoke": {"seeds": 5, "width": {"digits": 16, "mnist": 16}, "depths": (2, 5, 10), "rates": 8, "steps": 60},
        "default": {"seeds": 5, "width": _WIDTH, "depths": _DEPTHS, "rates": 20, "steps": 300},
        "full": {
            "seeds": 10, "width": {"digits": 60, "mnist": 256}, "depths": (3, 5, 10, 20, 30, 40, 50), "rates": 20,
            "steps": 2000,
        },
    },
    run=run,
    rows=("X22",),
)  # fmt: skip
