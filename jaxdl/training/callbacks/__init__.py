"""Callbacks of `fit`: the log of a run, its tables, TensorBoard, the progress bar, and the protocol for one's own."""

from jaxdl.training.callbacks.bar import ProgressBar as ProgressBar
from jaxdl.training.callbacks.csv import CSVLog as CSVLog
from jaxdl.training.callbacks.dispatch import CallbackError as CallbackError
from jaxdl.training.callbacks.dispatch import Callbacks as Callbacks
from jaxdl.training.callbacks.jsonl import JSONLLog as JSONLLog
from jaxdl.training.callbacks.jsonl import read_log as read_log
from jaxdl.training.callbacks.protocol import Callback as Callback
from jaxdl.training.callbacks.protocol import Evaluation as Evaluation
from jaxdl.training.callbacks.protocol import Event as Event
from jaxdl.training.callbacks.protocol import RunEnd as RunEnd
from jaxdl.training.callbacks.protocol import RunStart as RunStart
from jaxdl.training.callbacks.protocol import Saved as Saved
from jaxdl.training.callbacks.protocol import Steps as Steps
from jaxdl.training.callbacks.tensorboard import TensorBoardLog as TensorBoardLog

__all__ = [
    "CSVLog",
    "Callback",
    "CallbackError",
    "Callbacks",
    "Evaluation",
    "Event",
    "JSONLLog",
    "ProgressBar",
    "RunEnd",
    "RunStart",
    "Saved",
    "Steps",
    "TensorBoardLog",
    "read_log",
]
