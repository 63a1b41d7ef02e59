"""Checkpoints: written by Orbax, sealed by checksums, restored to the byte, onto other devices too."""

from jaxdl.training.checkpoints.policy import Checkpoints as Checkpoints
from jaxdl.training.checkpoints.single import restore_checkpoint as restore_checkpoint
from jaxdl.training.checkpoints.single import save_checkpoint as save_checkpoint
from jaxdl.training.checkpoints.store import CheckpointStore as CheckpointStore
from jaxdl.training.checkpoints.store import CheckpointWriteError as CheckpointWriteError
from jaxdl.training.checkpoints.store import DamagedCheckpointError as DamagedCheckpointError
