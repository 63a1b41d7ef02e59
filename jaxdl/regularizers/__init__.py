"""Regularizers: penalties on parameters or activations, noise, and predictions under noise."""

from jaxdl.regularizers.monte_carlo import mc_predict as mc_predict
from jaxdl.regularizers.noise import alpha_dropout as alpha_dropout
from jaxdl.regularizers.noise import classic_dropout as classic_dropout
from jaxdl.regularizers.noise import dropout as dropout
from jaxdl.regularizers.noise import gaussian_dropout as gaussian_dropout
from jaxdl.regularizers.noise import gaussian_noise as gaussian_noise
from jaxdl.regularizers.penalties import add as add
from jaxdl.regularizers.penalties import kl_sparsity as kl_sparsity
from jaxdl.regularizers.penalties import l1 as l1
from jaxdl.regularizers.penalties import l2 as l2
from jaxdl.regularizers.penalties import orthogonal as orthogonal

__all__ = [
    "add",
    "alpha_dropout",
    "classic_dropout",
    "dropout",
    "gaussian_dropout",
    "gaussian_noise",
    "kl_sparsity",
    "l1",
    "l2",
    "mc_predict",
    "orthogonal",
]
