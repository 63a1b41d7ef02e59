"""Training in stages, each a run of its own that begins where the one before ended."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
import optax

from jaxdl import checks, tree
from jaxdl.optimizers import carry_over, staged_unfreezing
from jaxdl.training import (
    History,
    ManyRuns,
    Objective,
    TrainState,
    TrainStep,
    evaluate,
    fit,
    make_state,
    make_train_step,
    member,
)

PyTree = Any


class Staged(NamedTuple):
    """What `train_stages` returns.

    Attributes:
      state: after the stage with the best validation.
      best: which stage that was, from 0.
      scores: `(stages,)`, the validation metric after each.
      histories: of each stage.
    """

    state: TrainState
    best: int
    scores: np.ndarray
    histories: tuple[History, ...]


def unfreezing_steps(
    objective: Objective, tx: optax.GradientTransformation, *, stages: Sequence[tree.Where], **options: Any
) -> tuple[TrainStep, ...]:
    """The training steps of unfreezing from the top, one a stage, for `train_stages`.

    In stage k the leaves of `stages[0]` to `stages[k]` are trained, all others keep every bit. Keep the steps, and
    compiled programs are found again.

    Args:
      objective: such as `supervised(...)`. Running statistics of layers that are frozen move as those of others do; to
        keep them, pass `freeze_statistics(model, where=...)` to the objective.
      tx: the optax chain; each stage's leaves have a state of their own, see `jaxdl.optimizers.staged_unfreezing`.
      stages: the leaves that each stage adds, the top first.
      options: of `make_train_step`.

    Returns:
      Training steps.

    Raises:
      TypeError, ValueError: what `make_train_step` and `staged_unfreezing` refuse.

    Example:
      >>> steps = unfreezing_steps(objective, optax.adam(1e-3), stages=["Dense_1/*", "Dense_0/*", "Conv_*/*"])
    """
    checks.objective(objective)
    return tuple(make_train_step(objective, each, **options) for each in staged_unfreezing(tx, stages=stages))


def train_stages(
    steps: Sequence[TrainStep],
    variables: Mapping[str, Any],
    data: PyTree,
    *,
    epochs: int | Sequence[int],
    batch_size: int,
    validation: PyTree,
    key: jax.Array,
    metric: str = "loss",
    mode: Literal["min", "max"] = "min",
    **options: Any,
) -> Staged:
    """Runs the stages by `fit`, evaluates after each, and keeps the one with the best validation.

    A stage goes on from the parameters, the model state and the optimizer state (`carry_over`) at the end of the one
    before, be that better or worse. It counts its updates from 0, and has a key of its own for order and noise.

    Args:
      steps: one a stage, such as those of `unfreezing_steps`: the depth to which layers are thawed is then chosen.
      variables: to begin with, `{"params": ..., **model_state}`, such as `transfer(...)` returns.
      data, batch_size: as for `fit`.
      epochs: of every stage, or one number a stage.
      validation: what the stages are compared on.
      key: typed key.
      metric: of the objective in evaluation; "loss" or one of its metrics.
      mode: "min" or "max": which values are better. Of stages that are level the first is taken.
      options: further ones of `fit`, such as `evaluate_every` and `early_stopping`; in a `folder` each stage has one of
        its own, `stage_0` and so on.

    Returns:
      `Staged(state, best, scores, histories)`.

    Raises:
      TypeError: a stage that is no training step.
      ValueError: no stage, another number of epochs, an unknown metric, or no score that is a number.

    References:
      Howard and Ruder, "Universal language model fine-tuning for text classification", 2018, section 3.3.
    """
    checks.one_key(key)
    checks.one_of(mode=mode, among=("min", "max"), remedy="'min' for a loss, 'max' for an accuracy.")
    steps = [steps] if isinstance(steps, TrainStep) else list(steps)
    for step in steps:
        if not isinstance(step, TrainStep):
            raise TypeError(
                f"steps: expected training steps; got {type(step).__name__}. Make them by unfreezing_steps(...), or "
                "by make_train_step(objective, tx), one a stage."
            )
    lengths = [epochs] * len(steps) if isinstance(epochs, (int, np.integer)) else list(epochs)
    if not steps or len(lengths) != len(steps):
        raise ValueError(
            f"steps, epochs: expected at least one stage, and as many numbers of epochs; got {len(steps)} stages and "
            f"{len(lengths)} numbers. Pass one number for all."
        )
    folder: str | os.PathLike[str] | None = options.pop("folder", None)
    kept, scores, histories = None, [], []
    model_state, opt_state = dict(variables), None
    params = model_state.pop("params")
    for k, (step, length) in enumerate(zip(steps, lengths, strict=True)):
        room = step.average is not None
        state = make_state(params, step.tx, key=jax.random.fold_in(key, k), model_state=model_state, average=room)
        if k > 0:
            state = replace(state, opt_state=carry_over(opt_state, step.tx, params))
        where = {} if folder is None else {"folder": Path(folder) / f"stage_{k}"}
        state, history = fit(
            step, state, data, epochs=length, batch_size=batch_size, validation=validation, **where, **options
        )
        values = evaluate(step.objective, state, validation)
        checks.one_of(metric=metric, among=tuple(values), remedy="Name one of these, or add it to the objective.")
        scores.append(values[metric])
        gain = values[metric] if mode == "max" else -values[metric]
        if kept is None or gain > kept[0] or np.isnan(kept[0]):
            kept = gain, state, k
        histories.append(history)
        params, model_state, opt_state = state.params, state.model_state, state.opt_state
    assert kept is not None
    if np.isnan(scores).all():
        raise ValueError(
            f"metric: expected {metric!r} to be a number after some stage; got NaN after all. Lower the rate."
        )
    return Staged(kept[1], kept[2], np.asarray(scores), tuple(histories))


def starting_from(
    runs: ManyRuns, start: Callable[[jax.Array, TrainState], TrainState]
) -> Callable[[jax.Array], TrainState]:
    """An `init` for the `run_many` of the next stage: the member of a seed starts from what that seed reached.

    Args:
      runs: of the stage before, one member a seed.
      start: `start(key, state) -> TrainState`, such as
        `lambda key, state: make_state(state.params, tx, key=key, model_state=state.model_state)`.

    Returns:
      `init(key)`, for keys `jax.random.key(seed)` of the seeds of `runs`.

    Raises:
      ValueError: runs over cells of hyper-parameters, several of which have the same seed; when called, a key of none
        of the seeds.

    Example:
      >>> runs = run_many(step, starting_from(pretrained, start), data, seeds=range(5), epochs=3, batch_size=32)
    """
    seeds = [each["seed"] for each in runs.members]
    if len(set(seeds)) < len(seeds):
        raise ValueError(
            f"runs: expected one member a seed; got {len(seeds)} members of {len(set(seeds))} seeds. "
            "Choose a cell of hyper-parameters first."
        )
    places = {_key_bytes(jax.random.key(seed)): i for i, seed in enumerate(seeds)}

    def init(key: jax.Array) -> TrainState:
        place = places.get(_key_bytes(key))
        if place is None:
            raise ValueError(
                f"key: expected that of one of the seeds {seeds}; got another. Pass seeds of the stage before."
            )
        return start(key, member(runs.states, place))

    return init


def _key_bytes(key: jax.Array) -> bytes:
    return np.asarray(jax.random.key_data(key)).tobytes()
