"""The claim that plain SGD is slow on a saddle and in a long valley, on functions of two numbers (O17, T48)."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

import jaxdl
from experiments.building_blocks.full_length import undecided
from experiments.harness import rules
from experiments.harness.claims import Result, Run
from experiments.training import minibatch_paths, surfaces
from experiments.training.optimizer_path_figures import path_figure
from experiments.training.surface_paths import (
    LEFT,
    NEAR,
    RATES,
    STEPS,
    Recipe,
    Tuned,
    arrival_time,
    judged_starts,
    leaving_time,
    logs,
    paths,
    tune,
)

PLAIN = "gradient_descent"
FIRST_ORDER = (PLAIN, "momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam")
SLOW = 2.0
DAMPING = 0.1
SNAPSHOTS = (2, 10, 50, 300)
BESIDE_THE_RIDGE = surfaces.BOUNDED_SADDLE._replace(name="beside the ridge", start=(1.0, 0.38), spread=(0.2, 0.02))
SHOWN = {
    "saddle": surfaces.BOUNDED_SADDLE,
    "valley": surfaces.VALLEY,
    "valley across the axes": surfaces.DIAGONAL_VALLEY,
    "Beale": surfaces.BEALE,
}
TO_LEAVE = f"to |y| > {LEFT:g} from |y| of about 0.001"
TO_ARRIVE = f"to within {NEAR:g} of the minimum"


def judge_paths(
    run: Run,
    *,
    recipes: Mapping[str, Recipe] | None = None,
    rates: Sequence[float] = RATES,
    steps: int = STEPS,
) -> None:
    """Judges the claim on the saddle and in the valley, Newton's methods on the saddle, noise, and mini-batches.

    Args:
      run: receives findings, records, tables and figures; `run.seeds` random starts are judged.
      recipes: `{method: rate -> optimizer}`, "gradient_descent" among them; None: the lecture's.
      rates: among which every method has its own.
      steps: length of a path.
    """
    methods = lecture_recipes() if recipes is None else recipes
    grid: dict[str, Any] = {"num_starts": run.seeds, "rates": rates, "steps": steps}
    tuned = {
        name: tune(methods, surface, leaving_time if name == "saddle" else arrival_time, **grid)
        for name, surface in SHOWN.items()
    }
    bowl = tune(methods, surfaces.BOWL, arrival_time, **grid)
    judge_slow(run, tuned["saddle"], "leave a saddle", TO_LEAVE)
    judge_every(run, tuned["saddle"], "leave a saddle", TO_LEAVE)
    judge_slow(run, tuned["valley"], "cross a long valley", TO_ARRIVE)
    judge_every(run, tuned["valley"], "cross a long valley", TO_ARRIVE)
    judge_every(
        run, tuned["valley across the axes"], "cross a valley that lies across the axes", TO_ARRIVE, control=True
    )
    judge_controls(run, methods, tuned["saddle"], bowl)
    judge_newton(run)
    judge_noise(run, methods)
    minibatch_paths.judge(run)
    report(run, tuned)
    draw(run, tuned, noisy_paths(methods, bowl))


def lecture_recipes() -> dict[str, Recipe]:
    """The first-order recipes of `jaxdl.optimizers`, whose first argument is the rate."""
    return {name: getattr(jaxdl.optimizers, name) for name in FIRST_ORDER}


def quickest(tuned: Tuned) -> str:
    """The quickest other than plain descent from the starts that chose the rates."""
    return min((name for name in tuned.before if name != PLAIN), key=lambda name: tuned.before[name])


def slower(plain: np.ndarray, other: np.ndarray, steps: int) -> Result:
    """ORD: plain descent takes more than SLOW times the steps of the other, in the geometric mean.

    Where plain descent has not arrived it counts as if it had with the last step, in its own favour.
    """
    return rules.exceeds(logs(np.minimum(plain, steps)) - logs(other), float(np.log(SLOW)))


def judge_slow(run: Run, tuned: Tuned, deed: str, what: str) -> None:
    """Plain descent against the quickest of the others."""
    rival = quickest(tuned)
    result = slower(tuned.times[PLAIN], tuned.times[rival], tuned.steps)
    untuned = [name for name in (PLAIN, rival) if name in tuned.ends]
    if untuned:
        detail = f"the best rate of {' and '.join(untuned)} is an end of the grid, so it is not tuned"
        result = undecided(result, detail)
    run.find(
        f"plain gradient descent is slow to {deed}: it takes more than {SLOW:g} times the steps of the quickest other "
        f"method, {rival} by the starts that chose the rates",
        f"lower 95 % limit of the mean of ln(steps of plain descent / steps of {rival}) above ln {SLOW:g}; {what}",
        result,
    )


def judge_every(run: Run, tuned: Tuned, deed: str, what: str, *, control: bool = False) -> None:
    """Plain descent against all the others, as in the animations."""
    plain = tuned.times[PLAIN]
    others = {name: times for name, times in tuned.times.items() if name != PLAIN}
    behind = [name for name, times in others.items() if not np.all(times < plain)]
    run.find(
        f"{'negative control, the rule must fail: ' if control else ''}every other method is quicker than plain "
        f"gradient descent to {deed}",
        f"{'must fail: ' if control else ''}in every seed each takes fewer steps, at its tuned rate; {what}",
        rules.every_seed(np.all([times < plain for times in others.values()], 0)),
        published="" if control else "plain SGD last (animation)",
        control=control,
        remark=f"not quicker in every seed: {', '.join(behind)}" if behind else "",
    )


def judge_controls(run: Run, recipes: Mapping[str, Recipe], saddle: Tuned, bowl: Tuned) -> None:
    """Where there is neither ridge nor valley, plain descent must not come out slow."""
    at_rates = {name: recipes[name](saddle.rates[name]) for name in (PLAIN, quickest(saddle))}
    on_slope = paths(at_rates, BESIDE_THE_RIDGE, judged_starts(BESIDE_THE_RIDGE, run.seeds), steps=saddle.steps)
    plain, other = leaving_time(on_slope)
    for where, result in (
        (
            f"at the same rates from |y| of about {BESIDE_THE_RIDGE.start[1]:g}, off the ridge",
            slower(plain, other, saddle.steps),
        ),
        ("in a round bowl", slower(bowl.times[PLAIN], bowl.times[quickest(bowl)], bowl.steps)),
    ):
        run.find(
            f"negative control, the rule must fail: plain gradient descent is slow {where}",
            "must fail: lower 95 % limit of the mean of ln(steps of plain descent / steps of the quickest other "
            f"method) above ln {SLOW:g}",
            result,
            control=True,
        )


def judge_newton(run: Run) -> None:
    """O10, O11: Newton's method is attracted to the saddle, the saddle-free one is not."""
    surface = surfaces.BOUNDED_SADDLE
    pair = {
        "newton": jaxdl.optimizers.newton(),
        "saddle_free_newton": jaxdl.optimizers.saddle_free_newton(damping=DAMPING),
    }
    found = np.asarray(paths(pair, surface, judged_starts(surface, run.seeds), steps=50))
    at_saddle = np.linalg.norm(found[0, :, -1], axis=-1) <= NEAR
    distances = [np.linalg.norm(found[1, :, -1] - minimum, axis=-1) for minimum in np.asarray(surface.minima)]
    steps = np.exp(logs(leaving_time(found[1])).mean())
    run.find(
        "from beside a saddle Newton's method converges to it, saddle-free Newton to a minimum",
        f"in every seed Newton's method is within {NEAR:g} of the saddle and saddle-free Newton within {NEAR:g} of a "
        "minimum after 50 steps",
        rules.every_seed(at_saddle & (np.min(distances, 0) <= NEAR)),
        published="attracted; repelled (Dauphin et al. 2014)",
        remark=f"saddle-free Newton, rate 1 and damping {DAMPING:g}, leaves after {steps:.0f} steps",
    )


def judge_noise(run: Run, recipes: Mapping[str, Recipe]) -> None:
    """With curvature 1 and noise sigma a coordinate's variance V obeys V = (1 - eta)^2 V + eta^2 sigma^2."""
    surface, rate, copies = surfaces.NOISY_BOWL, 0.1, 16
    predicted = 2 * rate * surface.noise**2 / (2 - rate)
    starts = judged_starts(surface, copies)
    plain = {PLAIN: recipes[PLAIN](rate)}
    found = [
        np.square(np.asarray(paths(plain, surface, starts, steps=STEPS, key=jax.random.key(seed)))[0, :, STEPS // 4 :])
        for seed in range(run.seeds)
    ]
    run.find(
        f"in a bowl with noisy gradients plain SGD at the rate {rate:g} stays at a mean squared distance of "
        "2 eta sigma^2 / (2 - eta) from the minimum",
        f"mean within 10 % of {predicted:.4g}",
        rules.mean_within([squares.sum(-1).mean() for squares in found], 0.9 * predicted, 1.1 * predicted),
    )


def report(run: Run, tuned: Mapping[str, Tuned]) -> None:
    """Records, the table, and a note on what does not stay."""
    methods = list(tuned["saddle"].rates)
    for surface, each in tuned.items():
        for seed in range(run.seeds):
            steps = {name: float(times[seed]) for name, times in each.times.items()}
            run.record(quantity="steps", surface=surface, seed=seed, steps=steps, rates=each.rates)
    run.table(
        f"steps, geometric mean of {run.seeds} random starts (learning rate); saddle: to leave, others: to arrive",
        ["method", *tuned],
        [[name, *(cell(each, name) for each in tuned.values())] for name in methods],
    )
    ends = {name: np.linalg.norm(path[:, -1], axis=-1) for name, path in tuned["valley"].paths.items()}
    restless = [name for name, distances in ends.items() if np.any(distances > NEAR)]
    if restless:
        run.note(
            f"To arrive is not to stay: after {tuned['valley'].steps} steps in the valley {', '.join(restless)} are "
            f"farther than {NEAR:g} from the minimum in some seed, at the constant rates that bring them there soonest."
        )


def noisy_paths(recipes: Mapping[str, Recipe], bowl: Tuned) -> dict[str, np.ndarray]:
    """In the noisy quadratic, at a tenth of the rates that are quickest without noise: `{method: (steps + 1, 2)}`."""
    surface, methods = surfaces.NOISY_BOWL, {name: recipes[name](rate / 10) for name, rate in bowl.rates.items()}
    found = paths(methods, surface, judged_starts(surface, 1), steps=max(SNAPSHOTS), key=jax.random.key(0))
    return dict(zip(methods, np.asarray(found)[:, 0], strict=True))


def draw(run: Run, tuned: Mapping[str, Tuned], noisy: Mapping[str, np.ndarray]) -> None:
    """The strip of pictures."""
    run.figure(
        "optimizer_paths",
        path_figure(
            [*SHOWN.values(), surfaces.NOISY_BOWL],
            [{name: path[0] for name, path in each.paths.items()} for each in tuned.values()] + [noisy],
            snapshots=SNAPSHOTS,
        ),
        f"Every method from one random start, after {', '.join(map(str, SNAPSHOTS[:-1]))} and {SNAPSHOTS[-1]} steps, "
        "at its tuned rate; in the noisy bowl at a tenth of the rate tuned without noise, all in the same noise. Stars "
        "are minima.",
    )


def cell(tuned: Tuned, name: str) -> str:
    """A table's entry: steps and rate."""
    times = tuned.times[name]
    missing = int(np.sum(~np.isfinite(times)))
    steps = f"not in {missing} of {len(times)}" if missing else f"{np.exp(logs(times).mean()):.0f}"
    return f"{steps} ({tuned.rates[name]:.2g})"
