"""Procedures: ways of training and predicting that take more than one run."""

from jaxdl.procedures.distillation import Distilled as Distilled
from jaxdl.procedures.distillation import distilled as distilled
from jaxdl.procedures.distillation import teacher_outputs as teacher_outputs
from jaxdl.procedures.ensembles import average_probabilities as average_probabilities
from jaxdl.procedures.ensembles import bootstrap as bootstrap
from jaxdl.procedures.ensembles import majority_vote as majority_vote
from jaxdl.procedures.features import features as features
from jaxdl.procedures.features import with_head as with_head
from jaxdl.procedures.hints import Hinted as Hinted
from jaxdl.procedures.hints import HintRegressor as HintRegressor
from jaxdl.procedures.hints import student_variables as student_variables
from jaxdl.procedures.hints import train_on_hints as train_on_hints
from jaxdl.procedures.hints import train_with_hints as train_with_hints
from jaxdl.procedures.stages import Staged as Staged
from jaxdl.procedures.stages import starting_from as starting_from
from jaxdl.procedures.stages import train_stages as train_stages
from jaxdl.procedures.stages import unfreezing_steps as unfreezing_steps
from jaxdl.procedures.transfer import ReuseCurve as ReuseCurve
from jaxdl.procedures.transfer import reuse_curve as reuse_curve
from jaxdl.procedures.transfer import transfer as transfer

__all__ = [
    "Distilled",
    "HintRegressor",
    "Hinted",
    "ReuseCurve",
    "Staged",
    "average_probabilities",
    "bootstrap",
    "distilled",
    "features",
    "majority_vote",
    "reuse_curve",
    "starting_from",
    "student_variables",
    "teacher_outputs",
    "train_on_hints",
    "train_stages",
    "train_with_hints",
    "transfer",
    "unfreezing_steps",
    "with_head",
]
