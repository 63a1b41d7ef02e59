"""Procedures: ways of training and predicting that take more than one run."""

from jaxdl.procedures.ensembles import average_probabilities as average_probabilities
from jaxdl.procedures.ensembles import bootstrap as bootstrap
from jaxdl.procedures.ensembles import majority_vote as majority_vote

__all__ = ["average_probabilities", "bootstrap", "majority_vote"]
