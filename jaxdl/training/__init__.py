"""Training: objective, state, step, three engines, evaluation, and many runs as one program."""

from jaxdl.training.averaging import averaged as averaged
from jaxdl.training.averaging import ema as ema
from jaxdl.training.averaging import polyak as polyak
from jaxdl.training.evaluation import evaluate as evaluate
from jaxdl.training.fit import FitResult as FitResult
from jaxdl.training.fit import fit as fit
from jaxdl.training.history import History as History
from jaxdl.training.learning_rate_range import LearningRateRange as LearningRateRange
from jaxdl.training.learning_rate_range import learning_rate_range as learning_rate_range
from jaxdl.training.objective import Aux as Aux
from jaxdl.training.objective import Objective as Objective
from jaxdl.training.objective import supervised as supervised
from jaxdl.training.state import Average as Average
from jaxdl.training.state import TrainState as TrainState
from jaxdl.training.state import init_state as init_state
from jaxdl.training.state import make_state as make_state
from jaxdl.training.step import Moment as Moment
from jaxdl.training.step import TrainStep as TrainStep
from jaxdl.training.step import make_train_step as make_train_step
from jaxdl.training.streamed_evaluation import evaluate_stream as evaluate_stream
from jaxdl.training.sweep import member as member
from jaxdl.training.sweep import run_many as run_many

__all__ = [
    "Aux",
    "Average",
    "FitResult",
    "History",
    "LearningRateRange",
    "Moment",
    "Objective",
    "TrainState",
    "TrainStep",
    "averaged",
    "ema",
    "evaluate",
    "evaluate_stream",
    "fit",
    "init_state",
    "learning_rate_range",
    "make_state",
    "make_train_step",
    "member",
    "polyak",
    "run_many",
    "supervised",
]
