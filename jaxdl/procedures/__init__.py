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
from jaxdl.procedures.distillation import Distilled as Distilled
from jaxdl.procedures.distillation import distilled as distilled
from jaxdl.procedures.distillation import teacher_outputs as teacher_outputs
from jaxdl.procedures.distributions import Choice as Choice
from jaxdl.procedures.distributions import LogUniform as LogUniform
from jaxdl.procedures.distributions import Uniform as Uniform
from jaxdl.procedures.ensemble_model import ensemble_model as ensemble_model
from jaxdl.procedures.ensemble_report import EnsembleReport as EnsembleReport
from jaxdl.procedures.ensemble_report import compare_members as compare_members
from jaxdl.procedures.ensemble_training import Ensemble as Ensemble
from jaxdl.procedures.ensemble_training import as_state as as_state
from jaxdl.procedures.ensemble_training import take_members as take_members
from jaxdl.procedures.ensemble_training import train_ensemble as train_ensemble
from jaxdl.procedures.ensembles import average_probabilities as average_probabilities
from jaxdl.procedures.ensembles import bootstrap as bootstrap
from jaxdl.procedures.ensembles import bootstrap_samples as bootstrap_samples
from jaxdl.procedures.ensembles import log_average_probabilities as log_average_probabilities
from jaxdl.procedures.ensembles import majority_vote as majority_vote
from jaxdl.procedures.ensembles import vote_scores as vote_scores
from jaxdl.procedures.features import features as features
from jaxdl.procedures.features import with_head as with_head
from jaxdl.procedures.greedy import LayerLearner as LayerLearner
from jaxdl.procedures.greedy import Pretrained as Pretrained
from jaxdl.procedures.greedy import dense_encoding as dense_encoding
from jaxdl.procedures.greedy import fine_tune as fine_tune
from jaxdl.procedures.greedy import greedy_pretraining as greedy_pretraining
from jaxdl.procedures.greedy import greedy_supervised as greedy_supervised
from jaxdl.procedures.greedy import with_layers as with_layers
from jaxdl.procedures.growing import Grown as Grown
from jaxdl.procedures.growing import GrowthStage as GrowthStage
from jaxdl.procedures.growing import grow_depth as grow_depth
from jaxdl.procedures.growing import train_growing as train_growing
from jaxdl.procedures.hints import Hinted as Hinted
from jaxdl.procedures.hints import HintRegressor as HintRegressor
from jaxdl.procedures.hints import student_variables as student_variables
from jaxdl.procedures.hints import train_on_hints as train_on_hints
from jaxdl.procedures.hints import train_with_hints as train_with_hints
from jaxdl.procedures.noise_precision import fit_precision as fit_precision
from jaxdl.procedures.search import grid_search as grid_search
from jaxdl.procedures.search import random_search as random_search
from jaxdl.procedures.search_result import Search as Search
from jaxdl.procedures.search_result import best_cell as best_cell
from jaxdl.procedures.stages import Staged as Staged
from jaxdl.procedures.stages import starting_from as starting_from
from jaxdl.procedures.stages import train_stages as train_stages
from jaxdl.procedures.stages import unfreezing_steps as unfreezing_steps
from jaxdl.procedures.transfer import ReuseCurve as ReuseCurve
from jaxdl.procedures.transfer import reuse_curve as reuse_curve
from jaxdl.procedures.transfer import transfer as transfer
from jaxdl.procedures.weight_averaging import average_weights as average_weights
from jaxdl.procedures.weight_averaging import recompute_statistics as recompute_statistics

__all__ = [
    "Choice",
    "Distilled",
    "Ensemble",
    "EnsembleReport",
    "Grown",
    "GrowthStage",
    "HintRegressor",
    "Hinted",
    "LayerLearner",
    "LinearFit",
    "LinearPosterior",
    "LogUniform",
    "Predictive",
    "Pretrained",
    "ReuseCurve",
    "Search",
    "Staged",
    "Uniform",
    "as_state",
    "average_probabilities",
    "average_weights",
    "best_cell",
    "bootstrap",
    "bootstrap_samples",
    "compare_members",
    "dense_encoding",
    "distilled",
    "ensemble_model",
    "features",
    "fine_tune",
    "fit_precision",
    "greedy_pretraining",
    "greedy_supervised",
    "grid_search",
    "grow_depth",
    "linear_log_evidence",
    "linear_log_likelihood",
    "linear_maximum_likelihood",
    "linear_posterior",
    "log_average_probabilities",
    "majority_vote",
    "posterior_predictive",
    "random_search",
    "recompute_statistics",
    "reuse_curve",
    "ridge_regression",
    "starting_from",
    "student_variables",
    "take_members",
    "teacher_outputs",
    "train_ensemble",
    "train_growing",
    "train_on_hints",
    "train_stages",
    "train_with_hints",
    "transfer",
    "unfreezing_steps",
    "vote_scores",
    "with_head",
    "with_layers",
]
