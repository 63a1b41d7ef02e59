"""Data sets as NumPy arrays, preprocessing fitted on the training split, augmentation, and toy problems."""

from jax.nn import one_hot as one_hot

from jaxdl.data import augmentation as augmentation
from jaxdl.data import colour as colour
from jaxdl.data import toy as toy
from jaxdl.data.augmentation import expand_shifts as expand_shifts
from jaxdl.data.augmentation import make_augmentation as make_augmentation
from jaxdl.data.class_splits import split_by_class as split_by_class
from jaxdl.data.datasets import load as load
from jaxdl.data.permutation import permute_pixels as permute_pixels
from jaxdl.data.preprocessing import Standardizer as Standardizer
from jaxdl.data.preprocessing import standardize as standardize
from jaxdl.data.sealing import SealedSplits as SealedSplits
from jaxdl.data.sealing import seal as seal
from jaxdl.data.splits import Examples as Examples
from jaxdl.data.splits import Splits as Splits
from jaxdl.data.whitening import Whitening as Whitening

__all__ = [
    "Examples",
    "SealedSplits",
    "Splits",
    "Standardizer",
    "Whitening",
    "augmentation",
    "colour",
    "expand_shifts",
    "load",
    "make_augmentation",
    "one_hot",
    "permute_pixels",
    "seal",
    "split_by_class",
    "standardize",
    "toy",
]
