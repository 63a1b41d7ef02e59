"""Regularizers: penalties on parameters or activations."""

from jaxdl.regularizers.penalties import add as add
from jaxdl.regularizers.penalties import kl_sparsity as kl_sparsity
from jaxdl.regularizers.penalties import l1 as l1
from jaxdl.regularizers.penalties import l2 as l2
from jaxdl.regularizers.penalties import orthogonal as orthogonal

__all__ = ["add", "kl_sparsity", "l1", "l2", "orthogonal"]
