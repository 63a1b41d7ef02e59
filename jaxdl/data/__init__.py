"""Data sets as NumPy arrays, and preprocessing fitted on the training split."""

from jaxdl.data.datasets import load as load
from jaxdl.data.preprocessing import Standardizer as Standardizer
from jaxdl.data.preprocessing import standardize as standardize
from jaxdl.data.splits import Examples as Examples
from jaxdl.data.splits import Splits as Splits

__all__ = ["Examples", "Splits", "Standardizer", "load", "standardize"]
