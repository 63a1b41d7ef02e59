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

__all__ = [
    "LinearFit",
    "LinearPosterior",
    "Predictive",
    "average_probabilities",
    "bootstrap",
    "fit_precision",
    "linear_log_evidence",
    "linear_log_likelihood",
    "linear_maximum_likelihood",
    "linear_posterior",
    "majority_vote",
    "posterior_predictive",
    "ridge_regression",
]
