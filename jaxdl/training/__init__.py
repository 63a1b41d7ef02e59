"""Training: objective, state, step, three engines, evaluation, and many runs as one program."""

from jaxdl.precision import mixed_precision as mixed_precision
from jaxdl.training import callbacks as callbacks
from jaxdl.training.averaging import averaged as averaged
from jaxdl.training.averaging import ema as ema
from jaxdl.training.averaging import polyak as polyak
from jaxdl.training.callbacks import CallbackError as CallbackError
from jaxdl.training.checkpoints import Checkpoints as Checkpoints
from jaxdl.training.checkpoints import CheckpointWriteError as CheckpointWriteError
from jaxdl.training.checkpoints import DamagedCheckpointError as DamagedCheckpointError
from jaxdl.training.checkpoints import restore_checkpoint as restore_checkpoint
from jaxdl.training.checkpoints import save_checkpoint as save_checkpoint
from jaxdl.training.compilation import RecompilationError as RecompilationError
from jaxdl.training.compilation import RecompilationWarning as RecompilationWarning
from jaxdl.training.compilation import compiled_once as compiled_once
from jaxdl.training.compilation import keep_compiled_programs as keep_compiled_programs
from jaxdl.training.contrastive import contrastive_divergence as contrastive_divergence
from jaxdl.training.cost import Estimate as Estimate
from jaxdl.training.cost import estimate as estimate
from jaxdl.training.early_stopping import EarlyStopping as EarlyStopping
from jaxdl.training.early_stopping import best as best
from jaxdl.training.evaluation import evaluate as evaluate
from jaxdl.training.fit import FitResult as FitResult
from jaxdl.training.fit import fit as fit
from jaxdl.training.history import History as History
from jaxdl.training.interruption import Interrupted as Interrupted
from jaxdl.training.learning_rate_range import LearningRateRange as LearningRateRange
from jaxdl.training.learning_rate_range import learning_rate_range as learning_rate_range
from jaxdl.training.objective import Aux as Aux
from jaxdl.training.objective import Objective as Objective
from jaxdl.training.objective import supervised as supervised
from jaxdl.training.parallel import FullySharded as FullySharded
from jaxdl.training.parallel import Layout as Layout
from jaxdl.training.parallel import data_parallel as data_parallel
from jaxdl.training.parallel import fully_sharded as fully_sharded
from jaxdl.training.reconstruction import reconstruction as reconstruction
from jaxdl.training.replay import NotFiniteError as NotFiniteError
from jaxdl.training.replay import replay as replay
from jaxdl.training.state import Average as Average
from jaxdl.training.state import Stopping as Stopping
from jaxdl.training.state import TrainState as TrainState
from jaxdl.training.state import init_state as init_state
from jaxdl.training.state import make_state as make_state
from jaxdl.training.step import Moment as Moment
from jaxdl.training.step import TrainStep as TrainStep
from jaxdl.training.step import make_train_step as make_train_step
from jaxdl.training.streamed_evaluation import evaluate_stream as evaluate_stream
from jaxdl.training.sweep import ManyRuns as ManyRuns
from jaxdl.training.sweep import ManyShapes as ManyShapes
from jaxdl.training.sweep import Paired as Paired
from jaxdl.training.sweep import accuracy_interval as accuracy_interval
from jaxdl.training.sweep import mean_interval as mean_interval
from jaxdl.training.sweep import member as member
from jaxdl.training.sweep import run_many as run_many
from jaxdl.training.sweep import run_shapes as run_shapes

__all__ = [
    "Aux",
    "Average",
    "CallbackError",
    "CheckpointWriteError",
    "Checkpoints",
    "DamagedCheckpointError",
    "EarlyStopping",
    "Estimate",
    "FitResult",
    "FullySharded",
    "History",
    "Interrupted",
    "Layout",
    "LearningRateRange",
    "ManyRuns",
    "ManyShapes",
    "Moment",
    "NotFiniteError",
    "Objective",
    "Paired",
    "RecompilationError",
    "RecompilationWarning",
    "Stopping",
    "TrainState",
    "TrainStep",
    "accuracy_interval",
    "averaged",
    "best",
    "callbacks",
    "compiled_once",
    "contrastive_divergence",
    "data_parallel",
    "ema",
    "estimate",
    "evaluate",
    "evaluate_stream",
    "fit",
    "fully_sharded",
    "init_state",
    "keep_compiled_programs",
    "learning_rate_range",
    "make_state",
    "make_train_step",
    "mean_interval",
    "member",
    "mixed_precision",
    "polyak",
    "reconstruction",
    "replay",
    "restore_checkpoint",
    "run_many",
    "run_shapes",
    "save_checkpoint",
    "supervised",
]
