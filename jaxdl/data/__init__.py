"""Data sets as NumPy arrays, preprocessing fitted on the training split, augmentation, and toy problems."""

import importlib
from typing import TYPE_CHECKING, Any

from jaxdl.data.class_splits import split_by_class as split_by_class
from jaxdl.data.datasets import load as load
from jaxdl.data.preprocessing import Standardizer as Standardizer
from jaxdl.data.preprocessing import standardize as standardize
from jaxdl.data.sealing import SealedSplits as SealedSplits
from jaxdl.data.sealing import seal as seal
from jaxdl.data.splits import Examples as Examples
from jaxdl.data.splits import Splits as Splits
from jaxdl.data.whitening import Whitening as Whitening

if TYPE_CHECKING:
    from jax.nn import one_hot as one_hot

    from jaxdl.data import augmentation as augmentation
    from jaxdl.data import colour as colour
    from jaxdl.data import toy as toy
    from jaxdl.data.augmentation import expand_shifts as expand_shifts
    from jaxdl.data.augmentation import make_augmentation as make_augmentation
    from jaxdl.data.permutation import permute_pixels as permute_pixels

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

# A process that only reads data shall not wait for jax, so what needs it is imported when it is asked for.
_NEEDS_JAX = {
    "augmentation": "jaxdl.data.augmentation",
    "colour": "jaxdl.data.colour",
    "expand_shifts": "jaxdl.data.augmentation.expansion",
    "make_augmentation": "jaxdl.data.augmentation.pipeline",
    "one_hot": "jax.nn",
    "permute_pixels": "jaxdl.data.permutation",
    "toy": "jaxdl.data.toy",
}


def __getattr__(name: str) -> Any:
    if name not in _NEEDS_JAX:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(_NEEDS_JAX[name])
    return module if module.__name__ == f"{__name__}.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    return list(__all__)
