"""Procedures: ways of training and predicting that take more than one run."""

from jaxdl.procedures.bayesian_regression import LinearFit as LinearFit
from jaxdl.procedures.bayesian_regression import LinearPosterior as LinearPosterior
from jaxdl.procedures.bayesian_regression import Predictive as Predictive
from jaxdl.procedures.bayesian_regression import linear_log_evidence as linear_log_evidence
from jaxdl.procedures.bayesian_regression import linear_log_likelihood as linear_log_likelihood
from jaxdl.procedures.bayesian_regression import linear_maximum_likelihood as linear_maximum_likelihood
from jaxdl.procedures.bayesian_regression import linear_posterior as linear_posterior
from jaxdl.procedures.bayesian_regression import posterior_predictive as posterior_predictive
from jaxdl.procedures.bayesian_regression import ridge_regression as ridge_regression
from jaxdl.procedures.ensembles import average_probabilities as average_probabilities
from jaxdl.procedures.ensembles import bootstrap as bootstrap
from jaxdl.procedures.ensembles import majority_vote as majority_vote
from jaxdl.procedures.noise_precision import fit_precision as fit_precision
from jaxdl.procedures.distillation import Distilled as Distilled
from jaxdl.procedures.distillation import distilled as distilled
from jaxdl.procedures.distillation import teacher_outputs as teacher_outputs
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
    "LinearFit",
    "LinearPosterior",
    "Predictive",
    "ReuseCurve",
    "Staged",
    "average_probabilities",
    "bootstrap",
    "distilled",
    "features",
    "fit_precision",
    "linear_log_evidence",
    "linear_log_likelihood",
    "linear_maximum_likelihood",
    "linear_posterior",
    "majority_vote",
    "posterior_predictive",
    "reuse_curve",
    "ridge_regression",
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
