"""Teacher and student of `distillation`, and how they are trained."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

import jaxdl
from jaxdl import procedures, training
from jaxdl.data import Examples, Splits
from jaxdl.models import MLP

BATCH = 32
RATE = 2e-3
LAYER = "Dense_0"  # the student's first layer is guided by the teacher's
TEACHER_SEED, TUNING_SEED = 500, 1000  # none of the seeds that are judged
METRICS = {"accuracy": jaxdl.losses.correct}
PLAIN, DISTILLED, HINTED, SHUFFLED = ARMS = (
    "plain training",
    "distillation",
    "hints, then distillation",
    "shuffled teacher",
)


class Task(NamedTuple):
    """What a student learns from.

    Attributes:
      data: the labelled images.
      logits: `(N, 10)`, the teacher's of these images.
      shuffled: the same, each of another image.
      hints: `(N, units)`, the teacher's first layer behind its activation.
      splits: for validation, and for the test at the end.
    """

    data: Examples
    logits: np.ndarray
    shuffled: np.ndarray
    hints: np.ndarray
    splits: Splits


class Trained(NamedTuple):
    """Of one arm: epochs of the evaluations, validation accuracy `(seeds, evaluations)`, test accuracy `(seeds,)`."""

    epochs: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def networks(widths: Mapping[str, Sequence[int]]) -> tuple[MLP, MLP]:
    """Teacher and student."""
    return MLP((*widths["teacher"], 10)), MLP((*widths["student"], 10))


def train_teacher(model: MLP, splits: Splits, *, epochs: int) -> tuple[Any, float]:
    """The teacher's variables, from all labels, and its validation accuracy in percent."""
    tx = optax.adam(1e-3)
    objective = training.supervised(model, jaxdl.losses.softmax_cross_entropy, metrics=METRICS)
    state = training.init_state(model, tx, splits.train.x[:1], key=jax.random.key(TEACHER_SEED))
    state, _ = training.fit(
        training.make_train_step(objective, tx), state, splits.train, epochs=epochs, batch_size=64, progress=False
    )
    accuracy = training.evaluate(objective, state, splits.validation)["accuracy"]
    return {"params": state.params}, 100 * accuracy


def make_task(teacher: MLP, variables: Any, splits: Splits, *, labels: int) -> Task:
    """The first `labels` images of every class, and what the teacher says of them."""
    y = splits.train.y
    rows = np.sort(np.concatenate([np.flatnonzero(y == label)[:labels] for label in np.unique(y)]))
    data = Examples(splits.train.x[rows], y[rows])
    logits = np.asarray(procedures.teacher_outputs(teacher, variables, data.x))
    shuffled = logits[np.random.default_rng(TEACHER_SEED).permutation(len(logits))]
    cut = procedures.features(teacher, before="Dense_1")
    below = procedures.transfer(cut.init(jax.random.key(0), data.x[:1]), variables)
    return Task(data, logits, shuffled, np.asarray(procedures.teacher_outputs(cut, below, data.x)), splits)


def choose(student: MLP, task: Task, cells: Sequence[Mapping[str, float]], *, epochs: int) -> dict[str, float]:
    """Temperature and strength of the best validation accuracy of another seed, all cells as one program."""
    tx = optax.adam(RATE)
    runs = training.run_many(
        lambda **cell: training.make_train_step(objective(student, **cell), tx),
        lambda key, **cell: training.init_state(student, tx, task.data.x[:1], key=key),
        (*task.data, task.logits), seeds=[TUNING_SEED, TUNING_SEED + 1], hyperparameters=list(cells),
        validation=task.splits.validation, epochs=epochs, evaluate_every=epochs, batch_size=BATCH, mode="vmap",
        progress=False,
    )  # fmt: skip
    accuracy = runs.values("validation_accuracy").reshape(len(cells), -1).mean(1)
    return dict(cells[int(accuracy.argmax())])


def objective(student: MLP, **options: Any) -> procedures.Distilled:
    """Distillation with the factor tau^2, which keeps the gradient's size over temperatures."""
    return procedures.distilled(student, temperature_squared=True, metrics=METRICS, **options)


def train_arm(arm: str, student: MLP, task: Task, cell: Mapping[str, float], *, seeds: int, epochs: int) -> Trained:
    """All seeds of an arm as one program."""
    tx, first = optax.adam(RATE), task.data.x[:1]
    options: dict[str, Any] = dict(
        seeds=range(seeds), batch_size=BATCH, mode="vmap", validation=task.splits.validation,
        evaluate_every=max(epochs // 20, 1), progress=False,
    )  # fmt: skip
    if arm == PLAIN:
        chosen: Any = training.supervised(student, jaxdl.losses.softmax_cross_entropy, metrics=METRICS)
        data: Any = task.data
    else:
        chosen = objective(student, **cell)
        data = (*task.data, task.shuffled if arm == SHUFFLED else task.logits)
    if arm == HINTED:
        runs = procedures.train_with_hints(
            chosen, tx, data, task.hints, guided=LAYER, hint_epochs=max(epochs // 4, 1), epochs=epochs, **options
        ).runs
    else:
        start = lambda key: training.init_state(student, tx, first, key=key)  # noqa: E731
        runs = training.run_many(training.make_train_step(chosen, tx), start, data, epochs=epochs, **options)
    test = [
        training.evaluate(chosen, training.member(runs.states, seed), task.splits.test)["accuracy"]
        for seed in range(seeds)
    ]
    per_epoch = len(task.data.y) // BATCH
    return Trained(
        np.asarray(runs.history.validation_steps) // per_epoch, 100 * runs.history.validation["accuracy"],
        100 * np.array(test),
    )  # fmt: skip
