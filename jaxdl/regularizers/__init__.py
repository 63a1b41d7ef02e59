"""Regularizers: noise on activations or parameters, and averaging over it."""

from jaxdl.regularizers.monte_carlo import mc_predict as mc_predict
from jaxdl.regularizers.noise import alpha_dropout as alpha_dropout
from jaxdl.regularizers.noise import classic_dropout as classic_dropout
from jaxdl.regularizers.noise import dropout as dropout
from jaxdl.regularizers.noise import gaussian_dropout as gaussian_dropout
from jaxdl.regularizers.noise import gaussian_noise as gaussian_noise

__all__ = [
    "alpha_dropout",
    "classic_dropout",
    "dropout",
    "gaussian_dropout",
    "gaussian_noise",
    "mc_predict",
]
