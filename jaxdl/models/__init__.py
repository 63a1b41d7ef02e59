"""Reference architectures of the lectures, as Flax Linen modules."""

from jaxdl.models.mlp import MLP as MLP
from jaxdl.models.recurrent import AdditiveAttention as AdditiveAttention
from jaxdl.models.recurrent import Captioner as Captioner
from jaxdl.models.recurrent import Decoder as Decoder
from jaxdl.models.recurrent import DecoderState as DecoderState
from jaxdl.models.recurrent import EncoderDecoder as EncoderDecoder
from jaxdl.models.recurrent import LayerNormGRUCell as LayerNormGRUCell
from jaxdl.models.recurrent import LayerNormLSTMCell as LayerNormLSTMCell
from jaxdl.models.recurrent import LayerNormSimpleCell as LayerNormSimpleCell
from jaxdl.models.recurrent import LSTMCell as LSTMCell
from jaxdl.models.recurrent import LuongAttention as LuongAttention
from jaxdl.models.recurrent import Memory as Memory
from jaxdl.models.recurrent import Recurrence as Recurrence
from jaxdl.models.recurrent import RecurrentNetwork as RecurrentNetwork
from jaxdl.models.recurrent import WeightNormCell as WeightNormCell
from jaxdl.models.recurrent import gnmt as gnmt
from jaxdl.models.recurrent import irnn as irnn
from jaxdl.models.recurrent import make_cell as make_cell

__all__ = [
    "MLP",
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
