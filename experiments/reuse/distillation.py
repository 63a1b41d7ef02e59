"""A student with a tenth of the teacher's parameters: trained on labels, on the teacher's outputs, on its hints first.

`python -m experiments distillation`                    on the embedded digits
`python -m experiments distillation --dataset mnist`    a minute or two on two cores
"""

import itertools
from collections.abc import Mapping

import jax
import numpy as np
from matplotlib.figure import Figure

import jaxdl
from experiments.harness import rules
from experiments.harness.claims import Experiment, Run
from experiments.reuse import distillation_networks as networks
from experiments.reuse.distillation_networks import ARMS, DISTILLED, HINTED, PLAIN, SHUFFLED, Trained

SHARE = 10.0  # percent of the teacher's parameters that the student has at most


def run(run: Run) -> None:
    """Trains the teacher, chooses temperature and strength, trains every arm from every seed, and compares them."""
    settings = {name: value[run.dataset] for name, value in run.settings.items() if isinstance(value, Mapping)}
    teacher, student = networks.networks(settings["widths"])
    variables, teacher_accuracy = networks.train_teacher(teacher, run.splits, epochs=settings["teacher_epochs"])
    task = networks.make_task(teacher, variables, run.splits, labels=settings["labels"])
    drawn = student.init(jax.random.key(0), task.data.x[:1])
    sizes = [jaxdl.tree.num_entries(each) for each in (variables, drawn)]
    cells = [
        {"temperature": temperature, "strength": strength}
        for temperature, strength in itertools.product(run.settings["temperatures"], run.settings["strengths"])
    ]
    cell = networks.choose(student, task, cells, epochs=settings["epochs"]) if len(cells) > 1 else cells[0]
    chosen = f"temperature {cell['temperature']:g}, strength {cell['strength']:g}"
    print(f"  teacher: {teacher_accuracy:.2f} % on validation data; chosen: {chosen}")
    trained = {}
    for arm in ARMS:
        trained[arm] = networks.train_arm(arm, student, task, cell, seeds=run.seeds, epochs=settings["epochs"])
        print(f"  {arm}: {trained[arm].test.mean():.2f} %")
        for seed in range(run.seeds):
            run.record(
                quantity="accuracy", arm=arm, seed=seed, test_percent=float(trained[arm].test[seed]),
                validation_percent=trained[arm].validation[seed].tolist(), **cell,
            )  # fmt: skip
    judge(run, trained, 100 * sizes[1] / sizes[0])
    run.table(
        "test accuracy of the students in percent, and its paired difference to plain training, with 95 % intervals",
        ["arm", "test accuracy", "difference"],
        [
            [arm, _interval(trained[arm].test), "" if arm == PLAIN else _interval(gain(trained, arm))]
            for arm in ARMS
        ],
    )  # fmt: skip
    hinted = _interval(trained[HINTED].test - trained[DISTILLED].test)
    run.note(
        f"The teacher has {sizes[0]:,} parameters and {teacher_accuracy:.2f} % validation accuracy, the students "
        f"{sizes[1]:,}, and {len(task.data.y):,} labelled images. Chosen on validation data, by two other seeds: "
        f"{chosen}. Hints before distillation against distillation alone: {hinted} points; no rule is set for it."
    )
    figure = accuracy_figure(trained, teacher_accuracy, run.dataset)
    caption = (
        "Validation accuracy over the epochs (mean and range over the seeds) and gain in test accuracy (dots: seeds)."
    )
    run.figure("distillation", figure, caption)


def gain(trained: Mapping[str, Trained], arm: str) -> np.ndarray:
    """Paired differences `(seeds,)` of test accuracy to plain training, in points: same start, same order."""
    return trained[arm].test - trained[PLAIN].test


def judge(run: Run, trained: Mapping[str, Trained], share: float) -> None:
    """The claims on the size of the student, on distillation and on hints, and the control."""
    run.find(
        f"the student has at most {SHARE:g} % of the teacher's parameters",
        "counted",
        rules.exact(share, SHARE / 2, SHARE / 2, unit=" %"),
        published="30,000 of 361,000, 8 % (FitNets on MNIST)",
    )
    rule = "lower end of the 95 % interval of the paired difference of test accuracy above 0"
    published = {
        DISTILLED: "test error 0.65 against 1.9 % (FitNets on MNIST, all labels)",
        HINTED: "test error 0.51 against 1.9 % (FitNets on MNIST, all labels)",
    }
    for arm, figures in published.items():
        run.find(
            f"{arm}: the student beats the same student trained on the labels alone",
            rule,
            rules.exceeds(gain(trained, arm), 0.0, unit=" points"),
            published=figures,
        )
    run.find(
        "negative control, the rule must fail: with the teacher's outputs shuffled among the images, distillation "
        "beats plain training",
        f"must fail: {rule}",
        rules.exceeds(gain(trained, SHUFFLED), 0.0, unit=" points"),
        control=True,
    )


def accuracy_figure(trained: Mapping[str, Trained], teacher: float, dataset: str) -> Figure:
    """Left: validation accuracy over the epochs; right: what distillation gains on the test part, seed by seed."""
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    for i, (arm, found) in enumerate(trained.items()):
        left.plot(found.epochs, found.validation.mean(0), color=f"C{i}", label=arm)
        low, high = found.validation.min(0), found.validation.max(0)
        left.fill_between(found.epochs, low, high, color=f"C{i}", alpha=0.15, linewidth=0)
        if arm in (DISTILLED, HINTED):
            mean, low, high = rules.mean_interval(gain(trained, arm))
            right.errorbar([i], [mean], yerr=[[mean - low], [high - mean]], color=f"C{i}", capsize=6, marker="o")
            right.plot(np.full(len(found.test), i + 0.1), gain(trained, arm), ".", color=f"C{i}", alpha=0.5)
    left.axhline(teacher, color="k", linestyle=":", linewidth=1, label="teacher")
    finals = np.concatenate([trained[arm].validation[:, -1] for arm in (PLAIN, DISTILLED, HINTED)])
    left.set(xlabel="epoch", ylabel=f"validation accuracy on {dataset} (%)", ylim=(finals.min() - 6, 100))
    right.axhline(0, color=f"C{list(trained).index(PLAIN)}", label=PLAIN)
    places = [list(trained).index(arm) for arm in (DISTILLED, HINTED)]
    right.set(ylabel="gain in test accuracy (points)", xticks=places, xlim=(places[0] - 0.6, places[-1] + 0.6))
    right.set_xticklabels([DISTILLED, HINTED])
    right.set_title("against plain training: mean, 95 % interval, seeds", fontsize=10)
    for axis, place in ((left, "lower right"), (right, "best")):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, loc=place)
    return figure


def _interval(values: np.ndarray) -> str:
    mean, low, high = rules.mean_interval(values)
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]"


WIDTHS = {
    "digits": {"teacher": (100, 100), "student": (20,)},
    "mnist": {"teacher": (256, 256), "student": (32,)},
}
EXPERIMENT = Experiment(
    name="distillation",
    lecture="McKay",
    claim="a thin student learns better from a teacher's outputs than from labels alone, and from its hints as well",
    setup="Teacher: two hidden layers of ReLU (100 on the embedded digits, 256 on MNIST), trained on all labels of the "
    "training split. Students: one hidden layer (20, and 32), at most a tenth of the parameters, and labels for 20 "
    "images a class (MNIST: 100); the teacher's soft targets are those of the same images, so that the arms differ in "
    "their targets alone. Cross-entropy plus strength tau^2 times that of the softened outputs; temperature and "
    "strength of the best validation accuracy of two other seeds; Adam at 0.002, batches of 32. Hints: the student's "
    "first layer, through a dense regressor, learns the teacher's first, for a quarter of the epochs besides.",
    source="Romero et al., FitNets, 2015, table 4 (maxout convolutions, all labels)",
    seconds={"digits": 30, "mnist": 20},
    presets={
        "smoke": {
            "seeds": 5, "widths": WIDTHS, "labels": {"digits": 20, "mnist": 20},
            "teacher_epochs": {"digits": 30, "mnist": 1}, "epochs": {"digits": 60, "mnist": 20},
            "temperatures": (10.0,), "strengths": (1.0,),
        },
        "default": {
            "seeds": 10, "widths": WIDTHS, "labels": {"digits": 20, "mnist": 100},
            "teacher_epochs": {"digits": 60, "mnist": 8}, "epochs": {"digits": 200, "mnist": 120},
            "temperatures": (2.0, 5.0, 10.0), "strengths": (1.0, 10.0),
        },
        "full": {
            "seeds": 20, "widths": WIDTHS, "labels": {"digits": 20, "mnist": 100},
            "teacher_epochs": {"digits": 60, "mnist": 20}, "epochs": {"digits": 400, "mnist": 200},
            "temperatures": (1.0, 2.0, 5.0, 10.0, 20.0), "strengths": (0.3, 1.0, 3.0, 10.0),
        },
    },
    run=run,
    rows=("X35",),
)  # fmt: skip
