"""Reference architectures of the lectures, as Flax Linen modules."""

from jaxdl.models.mlp import MLP as MLP
from jaxdl.models.recurrent import LayerNormGRUCell as LayerNormGRUCell
from jaxdl.models.recurrent import LayerNormLSTMCell as LayerNormLSTMCell
from jaxdl.models.recurrent import LayerNormSimpleCell as LayerNormSimpleCell
from jaxdl.models.recurrent import LSTMCell as LSTMCell
from jaxdl.models.recurrent import Recurrence as Recurrence
from jaxdl.models.recurrent import RecurrentNetwork as RecurrentNetwork
from jaxdl.models.recurrent import WeightNormCell as WeightNormCell
from jaxdl.models.recurrent import irnn as irnn
from jaxdl.models.recurrent import make_cell as make_cell

__all__ = [
    "MLP",
    "LSTMCell",
    "LayerNormGRUCell",
    "LayerNormLSTMCell",
    "LayerNormSimpleCell",
    "Recurrence",
    "RecurrentNetwork",
    "WeightNormCell",
    "irnn",
    "make_cell",
]
