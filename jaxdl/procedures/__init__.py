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
from jaxdl.procedures.growing import Grown as Grown
from jaxdl.procedures.growing import GrowthStage as GrowthStage
from jaxdl.procedures.growing import grow_depth as grow_depth
from jaxdl.procedures.growing import train_growing as train_growing

__all__ = [
    "Grown",
    "GrowthStage",
    "LayerLearner",
    "Pretrained",
    "average_probabilities",
    "bootstrap",
    "dense_encoding",
    "fine_tune",
    "greedy_pretraining",
    "greedy_supervised",
    "grow_depth",
    "majority_vote",
    "train_growing",
    "with_layers",
]
