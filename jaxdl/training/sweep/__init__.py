"""Many runs: seeds, cells of hyper-parameters and shapes, and what they reached."""

from jaxdl.training.sweep.job import member as member
from jaxdl.training.sweep.many import run_many as run_many
from jaxdl.training.sweep.results import ManyRuns as ManyRuns
from jaxdl.training.sweep.shapes import ManyShapes as ManyShapes
from jaxdl.training.sweep.shapes import run_shapes as run_shapes
from jaxdl.training.sweep.statistics import Paired as Paired
from jaxdl.training.sweep.statistics import accuracy_interval as accuracy_interval
from jaxdl.training.sweep.statistics import mean_interval as mean_interval

__all__ = ["ManyRuns", "ManyShapes", "Paired", "accuracy_interval", "mean_interval", "member", "run_many", "run_shapes"]
