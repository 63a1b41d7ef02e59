"""Label-preserving changes of images: given geometry, and random geometry inside the compiled step.

Images are floating-point, in any range and unit, standardised ones included: what comes out is a weighted mean of
their pixels and of `cval`. Integers such as uint8 are refused with a TypeError, because interpolated values would have
to be rounded: cast or scale them first. Only `expand_shifts`, which moves whole pixels, takes and keeps every dtype.
"""

from jaxdl.data.augmentation.displacement import elastic_displacement as elastic_displacement
from jaxdl.data.augmentation.expansion import expand_shifts as expand_shifts
from jaxdl.data.augmentation.geometry import affine as affine
from jaxdl.data.augmentation.geometry import elastic as elastic
from jaxdl.data.augmentation.geometry import flip as flip
from jaxdl.data.augmentation.geometry import rotate as rotate
from jaxdl.data.augmentation.geometry import shear as shear
from jaxdl.data.augmentation.geometry import shift as shift
from jaxdl.data.augmentation.geometry import zoom as zoom
from jaxdl.data.augmentation.matrices import compose as compose
from jaxdl.data.augmentation.matrices import rotations as rotations
from jaxdl.data.augmentation.matrices import shears as shears
from jaxdl.data.augmentation.matrices import shifts as shifts
from jaxdl.data.augmentation.matrices import zooms as zooms
from jaxdl.data.augmentation.pipeline import make_augmentation as make_augmentation

__all__ = [
    "affine",
    "compose",
    "elastic",
    "elastic_displacement",
    "expand_shifts",
    "flip",
    "make_augmentation",
    "rotate",
    "rotations",
    "shear",
    "shears",
    "shift",
    "shifts",
    "zoom",
    "zooms",
]
