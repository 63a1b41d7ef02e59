"""Lower layers learned on the digits 0 to 4, reused on 5 to 9: frozen, thawed in stages, or not at all.

`python -m experiments transfer`                    on the embedded digits
`python -m experiments transfer --dataset mnist`    a few minutes on two cores
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import optax

import jaxdl
from experiments.harness import rules
from experiments.harness.claims import Experiment, Run
from experiments.reuse import transfer_networks as networks
from experiments.reuse.transfer_figures import transfer_figure
from experiments.reuse.transfer_networks import ARMS, FROZEN, RANDOM, SCRATCH, STAGED, Reached
from jaxdl.data import Splits

SHAPES: Mapping[str, Any] = {"digits": {"kernel": 3, "stride": 1}, "mnist": {"kernel": 5, "stride": 2}}
OLD_BATCH = 32
MARGIN = 1.0  # points by which staged unfreezing may fall behind where labels abound

Outcomes = Mapping[tuple[str, int], Sequence[Reached]]


def run(run: Run) -> None:
    """Trains the old task, then every arm at every number of labels from every seed, and compares test accuracies."""
    low, high = jaxdl.data.split_by_class(run.splits, range(5))
    counts, steps = run.settings["labels"][run.dataset], run.settings["steps"][run.dataset]
    model = networks.SmallCNN(**SHAPES[run.dataset])
    sources, accuracy = learned(run, model, low)
    arms, found = networks.Arms(model, steps=steps), {}
    for count in counts:
        for seed in range(run.seeds):
            data = networks.labelled(high.train, count, seed=seed)
            for arm in ARMS:
                reached = arms.train(arm, sources[seed], high, data, seed=seed)
                found.setdefault((arm, count), []).append(reached)
                run.record(
                    quantity="accuracy", arm=arm, labels_a_class=count, seed=seed, test_percent=reached.test,
                    validation_percent=reached.validation, stage=reached.stage, by_stage=list(reached.by_stage),
                )  # fmt: skip
        means = ", ".join(f"{arm} {test(found, arm, count).mean():.2f}" for arm in ARMS)
        print(f"  {count} labels a class: {means} %")
    judge(run, found, counts)
    fewest = counts[0]
    data = networks.labelled(high.train, fewest, seed=0)
    kinds = run.settings["curves"]
    curves = networks.reuse_curves(model, sources, data, high.validation, steps=steps, kinds=kinds)
    for kind, values in curves.items():
        for seed in range(run.seeds):
            run.record(quantity="reuse", kind=kind, seed=seed, validation_percent_by_layers=values[:, seed].tolist())
    report(run, found, counts, curves, accuracy)


def learned(run: Run, model: Any, low: Splits) -> tuple[list[Any], np.ndarray]:
    """The old task's variables, one a seed, and their validation accuracies in percent."""
    epochs = run.settings["epochs"][run.dataset]
    tx = optax.adam(networks.RATE)
    runs = jaxdl.training.run_many(
        jaxdl.training.make_train_step(networks.make_objective(model), tx),
        lambda key: jaxdl.training.init_state(model, tx, low.train.x[:1], key=key),
        low.train, seeds=range(run.seeds), epochs=epochs, batch_size=OLD_BATCH, validation=low.validation,
        evaluate_every=epochs, mode="map",
    )  # fmt: skip
    states = [jaxdl.training.member(runs.states, seed) for seed in range(run.seeds)]
    accuracy = 100 * runs.values("validation_accuracy")
    print(f"  the old task, 0-4: {accuracy.mean():.2f} %, {runs.history.run_seconds:.0f} s")
    return [{"params": jax.device_get(state.params)} for state in states], accuracy


def test(found: Outcomes, arm: str, count: int) -> np.ndarray:
    """Test accuracies `(seeds,)` in percent."""
    return np.array([reached.test for reached in found[arm, count]])


def judge(run: Run, found: Outcomes, counts: Sequence[int]) -> None:
    """Compares the arms seed by seed: a seed has its own old task, labels, start and order, the same in every arm."""
    fewest, most = counts[0], counts[-1]
    accuracies = {key: test(found, *key) for key in found}
    for arm in (FROZEN, STAGED):
        run.find(
            f"with {fewest} labels a class, {arm} beat training from scratch",
            "lower end of the 95 % interval of the paired difference of test accuracy above 0",
            rules.exceeds(accuracies[arm, fewest] - accuracies[SCRATCH, fewest], 0.0, unit=" points"),
            published="99.2 % on 5-9 with frozen convolutions and all labels (Keras's example, another network)"
            if arm == FROZEN else "",
        )  # fmt: skip
    for count in counts:
        run.find(
            f"with {count} labels a class, learned frozen convolutions beat random frozen ones",
            f"lower end of the interval of the paired difference above 0 (95 % jointly over {len(counts)} comparisons)",
            rules.exceeds(
                accuracies[FROZEN, count] - accuracies[RANDOM, count], 0.0, confidence=1 - 0.05 / len(counts),
                unit=" points",
            ),
        )  # fmt: skip
    run.find(
        f"with {most} labels a class, staged unfreezing is no worse than training from scratch by more than "
        f"{MARGIN:g} point",
        f"upper end of the 95 % interval of the paired loss at most {MARGIN:g} point",
        rules.at_most(accuracies[SCRATCH, most] - accuracies[STAGED, most], MARGIN, unit=" points"),
    )
    run.find(
        "frozen parameters keep every bit",
        "in every seed the bytes of what is frozen are those before training, in every arm and at every number of "
        "labels",
        rules.every_seed(
            [all(reached[seed].unmoved for reached in found.values()) for seed in range(run.seeds)]
        ),
    )  # fmt: skip
    run.find(
        f"negative control, the rule must fail: with {most} labels a class, frozen random convolutions beat training "
        "from scratch",
        "must fail: lower end of the 95 % interval of the paired difference of test accuracy above 0",
        rules.exceeds(accuracies[RANDOM, most] - accuracies[SCRATCH, most], 0.0, unit=" points"),
        control=True,
    )


def report(
    run: Run, found: Outcomes, counts: Sequence[int], curves: Mapping[str, np.ndarray], accuracy: np.ndarray
) -> None:
    """Tables, picture and notes."""
    run.table(
        "test accuracy on 5-9 in percent: mean and 95 % interval over the seeds",
        ["arm", *(f"{count} labels a class" for count in counts)],
        [[arm, *(_interval(test(found, arm, count)) for count in counts)] for arm in ARMS],
    )
    rows = []
    for kind, values in curves.items():
        best = int(values.mean(1).argmax())
        rows.append([kind, *(_interval(each) for each in values), f"{best} of {len(values) - 1}"])
    layers = len(networks.LAYERS) + 1
    run.table(
        f"validation accuracy in percent with {counts[0]} labels a class (one drawing), by the number of reused layers",
        ["reused layers", *map(str, range(layers)), "best"],
        rows,
    )
    chosen = [f"{count}: {[reached.stage + 1 for reached in found[STAGED, count]]}" for count in counts]
    run.note(
        f"Stages kept by staged unfreezing, of {len(networks.STAGES)} (1 trains the last layer alone, "
        f"{len(networks.STAGES)} all), by labels a class, one a seed: {'; '.join(chosen)}. The old task: "
        f"{accuracy.mean():.2f} % validation accuracy on 0-4 (Keras's example: 99.8 %)."
    )
    figure = transfer_figure(
        {key: test(found, *key) for key in found}, curves, dataset=run.dataset, labels=counts[0]
    )  # fmt: skip
    run.figure(
        "transfer", figure,
        "Test accuracy by the number of labels, and validation accuracy by the number of reused layers: learned on 0-4 "
        "and frozen, learned and trained on, or random and frozen (lines: means; dots: seeds).",
    )  # fmt: skip


def _interval(values: np.ndarray) -> str:
    mean, low, high = rules.mean_interval(values)
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]"


EXPERIMENT = Experiment(
    name="transfer",
    lecture="Misra, AML lecture 3; McKay; ECE521",
    claim="lower layers learned on one task serve another; only the upper ones need to be learned again",
    setup="Two convolutions (8 and 16 channels, ReLU, 2x2 max-pooling) and dense layers of 64 and 5 units, learned on "
    "the digits 0-4 and reused on 5-9, of which 10, 100 and 1,000 a class have labels (of the embedded digits 10, and "
    "all of about 115). From scratch; the learned convolutions frozen below new dense layers; all but the last layer "
    "learned, and thawed in four stages from the top, the stage kept that is best on validation data; random "
    "convolutions frozen below new dense layers. Adam at 0.002, batches of 32 (half the labels where these are few), "
    "the same number of updates in every arm. A seed has its own old task, labels, start and order.",
    source="Keras example mnist_transfer_cnn; Oquab et al. 2014; Yosinski et al. 2014 (natural images)",
    seconds={"digits": 60, "mnist": 240},
    presets={
        "smoke": {
            "seeds": 5, "labels": {"digits": (100,), "mnist": (10,)}, "steps": {"digits": 200, "mnist": 100},
            "epochs": {"digits": 10, "mnist": 1}, "curves": ("learned, frozen",),
        },
        "default": {
            "seeds": 5, "labels": {"digits": (10, 100), "mnist": (10, 100, 1000)},
            "steps": {"digits": 800, "mnist": 800}, "epochs": {"digits": 40, "mnist": 3}, "curves": networks.CURVES,
        },
        "full": {
            "seeds": 10, "labels": {"digits": (10, 100), "mnist": (10, 100, 1000)},
            "steps": {"digits": 800, "mnist": 3000}, "epochs": {"digits": 40, "mnist": 10}, "curves": networks.CURVES,
        },
    },
    run=run,
    rows=("X19",),
)  # fmt: skip
