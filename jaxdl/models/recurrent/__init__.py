"""Recurrent cells and networks."""

from jaxdl.models.recurrent.attention import AdditiveAttention as AdditiveAttention
from jaxdl.models.recurrent.attention import LuongAttention as LuongAttention
from jaxdl.models.recurrent.captioner import Captioner as Captioner
from jaxdl.models.recurrent.cells import LSTMCell as LSTMCell
from jaxdl.models.recurrent.cells import WeightNormCell as WeightNormCell
from jaxdl.models.recurrent.cells import irnn as irnn
from jaxdl.models.recurrent.cells import make_cell as make_cell
from jaxdl.models.recurrent.decoder import Decoder as Decoder
from jaxdl.models.recurrent.decoder import DecoderState as DecoderState
from jaxdl.models.recurrent.decoder import Memory as Memory
from jaxdl.models.recurrent.encoder_decoder import EncoderDecoder as EncoderDecoder
from jaxdl.models.recurrent.encoder_decoder import gnmt as gnmt
from jaxdl.models.recurrent.layer_norm_cells import LayerNormGRUCell as LayerNormGRUCell
from jaxdl.models.recurrent.layer_norm_cells import LayerNormLSTMCell as LayerNormLSTMCell
from jaxdl.models.recurrent.layer_norm_cells import LayerNormSimpleCell as LayerNormSimpleCell
from jaxdl.models.recurrent.network import RecurrentNetwork as RecurrentNetwork
from jaxdl.models.recurrent.recurrence import Recurrence as Recurrence

__all__ = [
    "AdditiveAttention",
    "Captioner",
    "Decoder",
    "DecoderState",
    "EncoderDecoder",
    "LSTMCell",
    "LayerNormGRUCell",
    "LayerNormLSTMCell",
    "LayerNormSimpleCell",
    "LuongAttention",
    "Memory",
    "Recurrence",
    "RecurrentNetwork",
    "WeightNormCell",
    "gnmt",
    "irnn",
    "make_cell",
]
