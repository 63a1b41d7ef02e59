"""Flax Linen layers: those of the lectures that Flax lacks, beside the ones it has, unchanged.

`BatchNorm`, `LayerNorm` and `WeightNorm` are those of `flax.linen`; `Dropout` is, too, but takes a traced rate. Where
the installed behaviour departs from the lectures: `Dropout.rate` is the DROP probability; `BatchNorm.momentum` weighs
the OLD value, and its running variance is the biased one; `BatchNorm` and `LayerNorm` take the variance as
E[x^2] - E[x]^2, which in float32 loses 4e-3 of the output where the mean is 100 deviations and all of it at 10,000:
pass `use_fast_variance=False` for raw inputs; `WeightNorm.scale` starts at one whatever the kernel's initializer was,
see `start_weight_norm`.
"""

from flax.linen import BatchNorm as BatchNorm
from flax.linen import LayerNorm as LayerNorm
from flax.linen import WeightNorm as WeightNorm

from jaxdl.layers.batch_renorm import BatchRenorm as BatchRenorm
from jaxdl.layers.cosine import CosineConv as CosineConv
from jaxdl.layers.cosine import CosineDense as CosineDense
from jaxdl.layers.dropout import Dropout as Dropout
from jaxdl.layers.frozen_statistics import freeze_statistics as freeze_statistics
from jaxdl.layers.local_response_norm import LocalResponseNorm as LocalResponseNorm
from jaxdl.layers.maxout import Maxout as Maxout
from jaxdl.layers.noise import AlphaDropout as AlphaDropout
from jaxdl.layers.noise import ClassicDropout as ClassicDropout
from jaxdl.layers.noise import GaussianDropout as GaussianDropout
from jaxdl.layers.noise import GaussianNoise as GaussianNoise
from jaxdl.layers.noise import MaskingNoise as MaskingNoise
from jaxdl.layers.rectifiers import PReLU as PReLU
from jaxdl.layers.rectifiers import RReLU as RReLU
from jaxdl.layers.residual import Residual as Residual
from jaxdl.layers.weight_norm import start_weight_norm as start_weight_norm

__all__ = [
    "AlphaDropout",
    "BatchNorm",
    "BatchRenorm",
    "ClassicDropout",
    "CosineConv",
    "CosineDense",
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "LayerNorm",
    "LocalResponseNorm",
    "MaskingNoise",
    "Maxout",
    "PReLU",
    "RReLU",
    "Residual",
    "WeightNorm",
    "freeze_statistics",
    "start_weight_norm",
]
