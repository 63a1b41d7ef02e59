"""Numbers that are not finite: the step and the layer where they began, kept on disk, and found again there."""

import os
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.diagnostics import gradient_flow, signal_propagation
from jaxdl.training import engines
from jaxdl.training.checkpoints.encoding import Outline
from jaxdl.training.checkpoints.policy import ALL
from jaxdl.training.checkpoints.store import CheckpointStore
from jaxdl.training.parallel import Layout
from jaxdl.training.schedule import Schedule
from jaxdl.training.state import TrainState, check_state
from jaxdl.training.step import TrainStep
from jaxdl.tree import layer_of, leaf_paths, path_name

PyTree = Any


class NotFiniteError(FloatingPointError):
    """Numbers that are not finite ended a run.

    Args:
      message: what is said; the others are the attributes.

    Attributes:
      state: the state just before the step at which they appeared; change the learning rate, and go on from it.
      batch: the batch of that step.
      step: updates done before it.
      history: of the run so far.
      folder: where state and batch were saved for `replay`, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        state: TrainState,
        batch: PyTree,
        step: int,
        history: Any = None,
        folder: Path | None = None,
    ) -> None:
        super().__init__(message)
        self.state, self.batch, self.step, self.history, self.folder = state, batch, step, history, folder


class BadStep(NamedTuple):
    """A step whose numbers are not finite: the state before it, and its batch."""

    state: TrainState
    batch: PyTree


def found_again(
    step: TrainStep,
    start: TrainState,
    data: PyTree,
    schedule: Schedule,
    failed_step: int,
    *,
    layout: Layout | None = None,
) -> BadStep:
    """The failed step, by doing the steps from `start` once more, to the same bytes."""
    order = engines.order_of_epoch(
        start,
        schedule.order_key,
        num_examples=schedule.num_examples,
        steps_per_epoch=schedule.steps_per_epoch,
        shuffle=schedule.shuffle,
    )
    batches: dict[str, Any] = dict(
        batch_size=schedule.batch_size, steps_per_epoch=schedule.steps_per_epoch, layout=layout
    )
    batches_and_step = batches | dict(step=step.unmeasured)
    advance = jax.jit(lambda *args: engines.one_looped_step(*args, **batches_and_step)[0])
    state = start
    while int(state.step) < failed_step:
        state = advance(state, data, order, jnp.ones((), jnp.int32))
    return BadStep(state, jax.jit(partial(engines.batch_of_step, **batches))(state, data, order))


def explanation(step: TrainStep, bad: BadStep) -> str:
    """Where it began, in words: in the batch, in the parameters, in a layer's signal, or in its gradient."""
    if bad.batch is None:
        return (
            f"Its batch is gone with the stream, which cannot be read twice; the state is that before step "
            f"{int(bad.state.step)}."
        )
    spoiled = [path for path, leaf in leaf_paths(bad.batch).items() if not _finite(leaf)]
    if spoiled:
        return f"The batch of that step holds numbers that are not finite, in its leaf {spoiled[0] or '(root)'!r}."
    state = bad.state
    lost = [path for path, leaf in leaf_paths(state.params).items() if not _finite(leaf)]
    at_hand: Any = dict(model_state=state.model_state, key=jax.random.fold_in(state.key, state.step))
    flow = gradient_flow(step.objective, state.params, bad.batch, **at_hand)
    layers = [layer for layer in flow.layers if layer in {layer_of(path) for path in lost} | set(lost)]
    if layers:
        return f"The first layer whose parameters are not finite by then is {layers[0]}."
    return (
        f"All parameters are finite by then; {_examples(step, bad, at_hand)}{_signal(step, bad, at_hand)}"
        f"of the gradient: {flow.verdict()}."
    )


def _examples(step: TrainStep, bad: BadStep, at_hand: Any) -> str:
    """Which examples have losses that are not finite, and their labels: one that is no class is told by that."""
    losses, _ = jax.jit(partial(step.objective, train=True))(bad.state.params, bad.batch, **at_hand)
    if not losses.is_fully_addressable:
        return ""
    rows = np.flatnonzero(~np.isfinite(np.asarray(losses, np.float32)))
    if not len(rows) or len(rows) == len(losses):
        return ""
    labels = [
        f"leaf {path!r} holds {np.asarray(leaf[int(rows[0])]).item()}"
        for path, leaf in leaf_paths(bad.batch).items()
        if leaf.ndim == 1 and jnp.issubdtype(leaf.dtype, jnp.integer)
    ]
    with_labels = f" (there {', '.join(labels)})" if labels else ""
    return (
        f"{len(rows)} of {len(losses)} examples have a loss that is not finite, the first at row {rows[0]} of the "
        f"batch{with_labels}; "
    )


def _signal(step: TrainStep, bad: BadStep, at_hand: Any) -> str:
    try:
        verdict = signal_propagation(step.objective, bad.state.params, bad.batch, **at_hand).verdict()
    except ValueError:  # no layer that multiplies
        return ""
    return f"of the signal: {verdict}; " if "not finite" in verdict else ""


def message(failed_step: int, where: str) -> str:
    """What a `NotFiniteError` says."""
    return (
        f"loss: expected finite numbers; it is not finite at step {failed_step} (counted from 0). {where} "
        "Use a smaller learning rate, clip the gradient, or check the data: a label that is no class gives NaN as well."
    )


def save_bad_step(folder: Path, bad: BadStep, text: str) -> Path:
    """Saves state, batch and explanation as a checkpoint below `folder`, and returns where."""
    store = CheckpointStore(folder, ALL)
    step = int(bad.state.step)
    try:
        if step not in store.steps():  # the same run, resumed, fails at the same step
            store.save(step, bad._asdict(), notes={"message": text})
    finally:
        store.close()
    return store.path(step)


def replay(folder: str | os.PathLike[str], step: TrainStep, state: TrainState, data: PyTree) -> str:
    """Does a step whose numbers were not finite once more, and says where they begin.

    In one command: `python -m jaxdl replay FOLDER module:function`, where the function returns `(step, state, data)`.

    Args:
      folder: `not_finite/<step>` in the folder of a run; a `NotFiniteError` names it.
      step: the run's step.
      state: made as the run's first state was; only its structure and shapes matter.
      data: the run's data, or one batch of them; only its structure matters.

    Returns:
      What was found, in words: the batch, the parameters, a layer's signal or its gradient, and what the step made of
      it.

    Raises:
      FileNotFoundError: `folder` holds no such step.
      ValueError: state or batch have other leaves than `state` and `data`.
      DamagedCheckpointError: the files are not as they were written.
    """
    check_state(state)
    place = Path(folder).absolute()
    if not place.name.isdigit() or not place.is_dir():
        inside = sorted(path.name for path in place.glob("*") if path.name.isdigit()) if place.is_dir() else []
        raise FileNotFoundError(
            f"folder: expected one like runs/a/not_finite/120; got {folder}. "
            + (f"Pass one of those in it: {inside}." if inside else "Pass the one that the NotFiniteError names.")
        )
    store = CheckpointStore(place.parent, ALL)
    outline = store.outline(int(place.name))
    batch = jax.tree_util.tree_map_with_path(lambda path, leaf: _saved(leaf, path_name(path), outline), data)
    bad = BadStep(**store.restore(int(place.name), dict(state=state, batch=batch)).state)
    after, metrics = jax.jit(step.unmeasured)(bad.state, bad.batch)
    found = [path for path, leaf in leaf_paths(after.params).items() if not _finite(leaf)]
    outcome = f"not finite in {len(found)} leaves, such as {found[0]}" if found else "finite"
    return (
        f"Step {int(bad.state.step)}: loss {float(metrics['loss']):.6g}; parameters after it {outcome}.\n"
        f"{explanation(step, bad)}"
    )


def _saved(leaf: Any, path: str, outline: Outline) -> jax.ShapeDtypeStruct:
    """What is known of a leaf of the saved batch; a path that was not saved is refused when it is restored."""
    name = f"batch/{path}" if path else "batch"
    shape, dtype = outline.get(name, (jnp.shape(leaf), jnp.result_type(leaf).name))
    return jax.ShapeDtypeStruct(tuple(shape), jnp.dtype(dtype))


def _finite(leaf: Any) -> bool:
    return not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) or bool(jnp.all(jnp.isfinite(leaf)))
