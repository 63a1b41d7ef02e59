"""Recurrent cells and networks."""

from jaxdl.models.recurrent.cells import LSTMCell as LSTMCell
from jaxdl.models.recurrent.cells import WeightNormCell as WeightNormCell
from jaxdl.models.recurrent.cells import irnn as irnn
from jaxdl.models.recurrent.cells import make_cell as make_cell
from jaxdl.models.recurrent.layer_norm_cells import LayerNormGRUCell as LayerNormGRUCell
from jaxdl.models.recurrent.layer_norm_cells import LayerNormLSTMCell as LayerNormLSTMCell
from jaxdl.models.recurrent.layer_norm_cells import LayerNormSimpleCell as LayerNormSimpleCell
from jaxdl.models.recurrent.network import RecurrentNetwork as RecurrentNetwork
from jaxdl.models.recurrent.recurrence import Recurrence as Recurrence

__all__ = [
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
