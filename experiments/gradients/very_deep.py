"""Thirty layers of ReLU stall from Xavier's start and train from He's; sixty train with skip connections.

`python -m experiments very_deep`                      64 units a layer, on the embedded digits
`python -m experiments very_deep --dataset mnist`      128 units
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from experiments.building_blocks.full_length import undecided
from experiments.building_blocks.tuned_comparison import faster
from experiments.gradients import very_deep_networks as networks
from experiments.gradients.very_deep_networks import HE, HE_RESIDUAL, RESIDUAL, TANH, XAVIER, Arm, AtStart, Trained
from experiments.harness import rules
from experiments.harness.claims import Experiment, Result, Run
from jaxdl.data import Examples

STALLED, LEARNED, FACTOR, GAIN = 2.2, 1.0, 3.0, 10.0
RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
DEPTH, STEPS = 30, 2000
LOOKED_AT, MEASURED_ON = 512, 10_000


def run(run: Run) -> None:
    """Looks at every arm before the first update, trains it at its own rate, and judges both."""
    depth, doubled, width = run.settings["depth"], run.settings["doubled"], run.settings["width"][run.dataset]
    arms = [Arm(start, depth) for start in (XAVIER, HE, HE_RESIDUAL, TANH)] + [Arm(HE, doubled), Arm(RESIDUAL, doubled)]
    train = run.splits.train
    first = Examples(train.x[:LOOKED_AT], train.y[:LOOKED_AT])
    starts = {arm: networks.at_start(arm, width, first, seeds=range(run.seeds)) for arm in arms}
    judge_start(run, {arm.start: starts[arm] for arm in arms if arm.depth == depth}, width)
    found = {}
    for arm in arms:
        found[arm] = networks.train(
            arm, width, run.splits, rates=run.settings["rates"], seeds=run.seeds, tuning_seeds=run.settings["tuning"],
            steps=run.settings["steps"], measured_on=Examples(train.x[:MEASURED_ON], train.y[:MEASURED_ON]),
        )  # fmt: skip
        reached = found[arm]
        print(
            f"  {arm.label}: rate {reached.rate:g}, loss {reached.loss.mean():.3g}, test {reached.accuracy.mean():.1f}"
        )
        for seed in range(run.seeds):
            run.record(
                start=arm.start, hidden_layers=arm.depth, seed=seed, learning_rate=reached.rate,
                train_loss=float(reached.loss[seed]), test_percent=float(reached.accuracy[seed]),
                amplitude=starts[arm].amplitude[seed].tolist(), bias_gradient=starts[arm].bias_gradient[seed].tolist(),
                weight_gradient=starts[arm].weight_gradient[seed].tolist(),
            )  # fmt: skip
    judge_training(run, found)
    tell(run, starts, found)


def judge_start(run: Run, starts: Mapping[str, AtStart], width: int) -> None:
    """Amplitudes and gradients before the first update."""
    depth = run.settings["depth"]
    ratio = {name: at.amplitude[:, -1] / at.amplitude[:, 0] for name, at in starts.items()}
    fallen = 2.0 ** (-(depth - 1) / 2)
    # The log-amplitude of one draw is a random walk (Sussillo and Abbott 2014), so that its mean over draws is judged.
    spread = 0.5 * np.sqrt(5 * (depth - 1) / (width - 4))
    rule = (
        f"ln of the amplitude of layer {depth} over that of layer 1, mean over draws, within ln {FACTOR:g} of the "
        "prediction"
    )
    for name, expected in ((XAVIER, fallen), (HE, 1.0)):
        run.find(
            f"{depth} layers of ReLU from {name}'s start: the amplitude is multiplied by {expected:.2g} at the start",
            rule,
            near(ratio[name], expected),
            published="2^-15 = 3.1e-5 for 30 layers" if name == XAVIER else "1",
            remark=f"ratios {ratio[name].min():.2g} to {ratio[name].max():.2g}; in theory the log of one draw has a "
            f"deviation of {spread:.2g}, and ln {FACTOR:g} is {np.log(FACTOR):.2g}",
            row="X20",
        )
    run.find(
        f"negative control, the rule must fail: He's start loses what Xavier's does, a factor {fallen:.2g}",
        f"must fail: {rule}",
        near(ratio[HE], fallen),
        control=True,
        row="X20",
    )
    rule = f"at least {GAIN:g} times as large as with {XAVIER} and no skip connection, in every seed"
    for quantity, control in (("bias_gradient", False), ("weight_gradient", True)):
        back = {name: getattr(at, quantity) for name, at in starts.items()}
        gain = _end_to_end(back[HE_RESIDUAL]) / _end_to_end(back[XAVIER])
        kind = "bias" if quantity == "bias_gradient" else "weights"
        run.find(
            ("negative control, the rule must fail: the same of the weights, where what the way forward loses makes up "
             "for what the way back loses" if control else
             f"skip connections: the gradient of the {kind} of layer 1, relative to layer {depth}'s, is kept"),
            ("must fail: " if control else "") + rule,
            rules.every_seed(gain >= GAIN),
            control=control,
            remark=", ".join(f"{name} {_span(_end_to_end(back[name]))}" for name in (HE_RESIDUAL, XAVIER, HE)),
            row="X20",
        )  # fmt: skip


def _end_to_end(norms: np.ndarray) -> np.ndarray:
    return norms[:, 0] / norms[:, -1]


def _span(values: np.ndarray) -> str:
    return f"{values.min():.2g} to {values.max():.2g}"


def near(ratio: np.ndarray, expected: float) -> Result:
    """The mean of the logarithms, within that of the factor about what is expected."""
    return rules.mean_within(np.log(ratio), np.log(expected / FACTOR), np.log(expected * FACTOR))


def full_length(run: Run, result: Result) -> Result:
    """The result, without a verdict where depth or budget are not those the thresholds are meant for."""
    depth, steps = run.settings["depth"], run.settings["steps"]
    if (depth, steps) == (DEPTH, STEPS):
        return result
    detail = f"meant for {DEPTH} layers and {STEPS} updates; this run has {depth} and {steps}: use --preset default"
    return undecided(result, detail)


def judge_training(run: Run, found: Mapping[Arm, Trained]) -> None:
    """Training losses after the budget, every arm at its own rate."""
    depth, doubled, steps = run.settings["depth"], run.settings["doubled"], run.settings["steps"]
    xavier, he, tanh = (found[Arm(name, depth)] for name in (XAVIER, HE, TANH))
    plain, residual = found[Arm(HE, doubled)], found[Arm(RESIDUAL, doubled)]
    stalled = f"training loss after {steps} updates at least {STALLED:g}, in every seed (ln 10 = 2.303 is chance)"
    learned = f"training loss after {steps} updates at most {LEARNED:g}, in every seed"
    for name, loss, holds, rule, control in (
        (f"{depth} layers of ReLU stall from {XAVIER}'s start", xavier.loss, xavier.loss >= STALLED, stalled, False),
        (f"they train from {HE}'s", he.loss, he.loss <= LEARNED, learned, False),
        (f"{depth} layers of tanh train from orthogonal kernels", tanh.loss, tanh.loss <= LEARNED, learned, False),
        (f"negative control, the rule must fail: they stall from {HE}'s", he.loss, he.loss >= STALLED, stalled, True),
    ):  # fmt: skip
        run.find(
            name + ("" if control else ", at the best rate of the grid"),
            ("must fail: " if control else "") + rule,
            rules.every_seed(holds) if control else full_length(run, rules.every_seed(holds)),
            control=control,
            remark=f"losses {loss.min():.3g} to {loss.max():.3g}",
            published="30 layers: no convergence from Xavier, convergence from He (He et al. 2015, images; secondary)"
            if name.startswith(f"{depth} layers of ReLU")
            else "",
            row="X20",
        )
    run.find(
        f"skip connections cure degradation: {doubled} layers with them (branches started small) reach a lower "
        f"training loss than {doubled} without",
        f"lower 95 % limit of the mean of ln(loss without / loss with) after {steps} updates above 0",
        faster(residual.loss, plain.loss),
        remark=f"without {_span(plain.loss)}, with {_span(residual.loss)}; {depth} layers without: {_span(he.loss)}",
        row="X20",
    )


def tell(run: Run, starts: Mapping[Arm, AtStart], found: Mapping[Arm, Trained]) -> None:
    """The table, the picture and what the literal sum does."""
    rates = run.settings["rates"]
    run.table(
        f"every arm at its own rate after {run.settings['steps']} updates: training loss, test accuracy in percent",
        ["arm", "rate", "training loss", "test", "amplitude, last / first", "bias gradient, first / last"],
        [
            [
                arm.label,
                f"{each.rate:g}" + (" (end of the grid)" if each.rate in (rates[0], rates[-1]) else ""),
                f"{np.median(each.loss):.3g} ({_span(each.loss)})",
                f"{each.accuracy.mean():.1f}",
                f"{np.median(starts[arm].amplitude[:, -1] / starts[arm].amplitude[:, 0]):.2g}",
                f"{np.median(_end_to_end(starts[arm].bias_gradient)):.2g}",
            ]
            for arm, each in found.items()
        ],
    )
    literal = found[Arm(HE_RESIDUAL, run.settings["depth"])]
    run.note(
        f"{HE_RESIDUAL}, x + relu(x W) with all of He's variance, does not vanish but grows by more than sqrt(2) a "
        f"layer both ways; {int(np.isinf(literal.loss).sum())} of {run.seeds} such networks end without a finite loss. "
        "He's residual networks have batch normalization in their branches; small ones do its work here, 1/depth of "
        "the deviation (after Hanin and Rolnick 2018)."
    )
    run.figure(
        "very_deep",
        picture(starts, found),
        "Left: root mean square of the activations by layer; middle: norm of the bias gradient by layer, both before "
        "the first update, one seed a line. Right: training loss of the batches (medians of a fortieth of "
        "the updates, over the seeds), grey: chance. Arms whose loss is not finite end where it stops being so.",
    )


def picture(starts: Mapping[Arm, AtStart], found: Mapping[Arm, Trained]) -> Figure:
    """Signals, gradients and losses."""
    figure = Figure(figsize=(15, 4.8), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for i, (arm, each) in enumerate(found.items()):
        layers = np.arange(1, arm.depth + 1)
        for axis, rows in ((left, starts[arm].amplitude), (middle, starts[arm].bias_gradient)):
            axis.plot(layers, rows.T, color=f"C{i}", linewidth=0.9, alpha=0.8)
        window = max(1, each.curves.shape[1] // 40)
        blocks = each.curves[:, : each.curves.shape[1] // window * window].reshape(len(each.curves), -1, window)
        values = np.median(blocks, axis=(0, 2))
        values = np.where(values < 10, values, np.nan)
        right.plot(window * (1 + np.arange(len(values))), values, color=f"C{i}", label=arm.label)
    right.axhline(np.log(10), color="tab:gray", linewidth=0.8)
    left.set(xlabel="layer", ylabel="amplitude", yscale="log")
    middle.set(xlabel="layer", ylabel="norm of the bias gradient", yscale="log")
    right.set(xlabel="updates", ylabel="training loss", yscale="log")
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=8)
    for axis in (left, middle, right):
        axis.grid(alpha=0.3)
    return figure


_DEFAULT = {
    "seeds": 5, "tuning": 1, "depth": DEPTH, "doubled": 60, "width": {"digits": 64, "mnist": 128}, "rates": RATES,
    "steps": STEPS,
}  # fmt: skip

EXPERIMENT = Experiment(
    name="very_deep",
    lecture="Fornax 2017; Misra L3; McKay 2017",
    claim="30 layers of ReLU stall from Xavier's start and train from He's; skip connections cure degradation",
    setup="30 hidden layers of 128 ReLU, ten logits, biases 0, pixels in [0, 1], plain SGD on batches of 32 for 2,000 "
    "updates; the rate of every arm from {0.001, 0.003, 0.01, 0.03, 0.1} by the validation loss of seeds that are not "
    "judged (one of them; full: three). Starts: Xavier N(0, 2/(in + out)), He N(0, 2/in), both from the same draws; "
    "He with skip connections x + relu(x W); 60 layers from He's, plain and with skip connections whose branches have "
    "1/60 of He's deviation; tanh with orthogonal kernels. The training loss is that of the first 10,000 training "
    "images. Digits: 64 units. Amplitudes at the start are judged by their mean over draws; a first record judged "
    "every draw, of which 4 of 5 lay within the factor 3, as theory has it.",
    source="He et al. 2015 (Delving deep into rectifiers; Deep residual learning); thresholds on losses are proposed",
    seconds={"digits": 100, "mnist": 330},
    presets={
        "smoke": {**_DEFAULT, "depth": 6, "doubled": 6, "width": {"digits": 32, "mnist": 32}, "rates": (1e-1,),
                  "steps": 60},
        "default": _DEFAULT,
        "full": {**_DEFAULT, "seeds": 10, "tuning": 3, "width": {"digits": 128, "mnist": 128}},
    },
    run=run,
    rows=("X20",),
)  # fmt: skip
