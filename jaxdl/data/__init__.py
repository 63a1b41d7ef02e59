"""Data sets as NumPy arrays, preprocessing fitted on the training split, augmentation, and toy problems."""

from jax.nn import one_hot as one_hot

from jaxdl.data import augmentation as augmentation
from jaxdl.data import colour as colour
from jaxdl.data import streaming as streaming
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
from jaxdl.data.streaming import CorruptRecordError as CorruptRecordError
from jaxdl.data.streaming import Stream as Stream
from jaxdl.data.streaming import as_stream as as_stream
from jaxdl.data.streaming import prefetch_to_device as prefetch_to_device
from jaxdl.data.streaming import stream as stream
from jaxdl.data.whitening import Whitening as Whitening

__all__ = [
    "CorruptRecordError",
    "Examples",
    "SealedSplits",
    "Splits",
    "Standardizer",
    "Stream",
    "Whitening",
    "as_stream",
    "augmentation",
    "colour",
    "expand_shifts",
    "load",
    "make_augmentation",
    "one_hot",
    "permute_pixels",
    "prefetch_to_device",
    "seal",
    "split_by_class",
    "standardize",
    "stream",
    "streaming",
    "toy",
]
