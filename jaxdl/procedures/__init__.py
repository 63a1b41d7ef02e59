"""Procedures: ways of training and predicting that take more than one run."""

from jaxdl.procedures.ensembles import average_probabilities as average_probabilities
from jaxdl.procedures.ensembles import bootstrap as bootstrap
from jaxdl.procedures.ensembles import majority_vote as majority_vote
from jaxdl.procedures.greedy import LayerLearner as LayerLearner
from jaxdl.procedures.greedy import Pretrained as Pretrained
from jaxdl.procedures.greedy import dense_encoding as dense_encoding
from jaxdl.procedures.greedy import fine_tune as fine_tune
from jaxdl.procedures.greedy import greedy_pretraining as greedy_pretraining
from jaxdl.procedures.greedy import greedy_supervised as greedy_supervised
from jaxdl.procedures.greedy import with_layers as with_layers

__all__ = [
    "LayerLearner",
    "Pretrained",
    "average_probabilities",
    "bootstrap",
    "dense_encoding",
    "fine_tune",
    "greedy_pretraining",
    "greedy_supervised",
    "majority_vote",
    "with_layers",
]
