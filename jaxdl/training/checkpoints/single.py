"""`save_checkpoint` and `restore_checkpoint`: one state, by hand."""

import os
from pathlib import Path
from typing import TypeVar

from jaxdl.training.checkpoints.policy import ALL
from jaxdl.training.checkpoints.store import CheckpointStore
from jaxdl.training.state import TrainState, check_state

Folder = str | os.PathLike[str]


def save_checkpoint(folder: Folder, state: TrainState) -> Path:
    """Saves a state as `folder/<step>`, and returns when it is on disk.

    Everything in it is saved: parameters, model state, optimizer state, average, early stopping, key data and the
    name of the key's implementation. A checkpoint appears under its name when it is complete, with the checksums of its
    files, or not at all.

    Args:
      folder: of the checkpoints of one run; it is made where it is missing.
      state: a `TrainState`; its arrays may be spread over devices and processes.

    Returns:
      The path of the checkpoint.

    Raises:
      TypeError: `state` is none.
      FileExistsError: there is a checkpoint of this step already; it stays.
      CheckpointWriteError: an OSError: the folder cannot be written, the disk is full; earlier checkpoints stay.

    Example:
      >>> save_checkpoint("runs/a", state)  # doctest: +SKIP
      >>> state = restore_checkpoint("runs/a", state)  # doctest: +SKIP
    """
    check_state(state)
    store = CheckpointStore(Path(folder), ALL)
    step = int(state.step)
    if step in store.steps():
        raise FileExistsError(
            f"folder: expected one without a checkpoint of step {step}; got {store.path(step)}. Pass another folder."
        )
    try:
        return store.save(step, state)
    finally:
        store.close()


State = TypeVar("State", bound=TrainState)


def restore_checkpoint(folder: Folder, like: State, *, step: int | None = None) -> State:
    """A saved state, its arrays on the devices on which those of `like` lie.

    Args:
      folder: that was given to `save_checkpoint`, or the `checkpoints` folder of a run's.
      like: a state made as the saved one was, such as `init_state(...)` of the same model and chain, for its structure,
        shapes, dtypes and shardings; arrays or `jax.ShapeDtypeStruct`. Other devices than at saving will do.
      step: which; the newest by default.

    Returns:
      The state, bit by bit as it was saved.

    Raises:
      FileNotFoundError: there is none.
      DamagedCheckpointError: a RuntimeError: its files are not as they were written; the newest intact one is named.
      ValueError: `like` has other leaves, shapes or dtypes; the message lists them.
    """
    check_state(like, argument="like")
    folder = Path(folder).absolute()
    store = CheckpointStore(folder, ALL) if folder.is_dir() else None
    steps = store.steps() if store else []
    wanted = step if step is not None else (steps[-1] if steps else None)
    if store is None or wanted not in steps:
        raise FileNotFoundError(
            f"folder: expected a checkpoint{'' if step is None else f' of step {step}'} in {folder}; "
            f"got {f'those of the steps {steps}' if steps else 'none'}. Pass the folder given to save_checkpoint, "
            "or the folder 'checkpoints' of a run."
        )
    assert wanted is not None
    return store.restore(wanted, like).state
