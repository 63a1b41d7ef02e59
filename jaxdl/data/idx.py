"""The IDX file format of the MNIST archives."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

_UNSIGNED_BYTE = 0x08


def read_idx(path: Path) -> np.ndarray:
    """Read a gzip-compressed IDX file of unsigned bytes.

    The file is two zero bytes, the element type, the number of axes, one big-endian uint32 per axis, the elements.

    Args:
        path: file such as `train-images-idx3-ubyte.gz`.

    Returns:
        uint8 array of the shape the file states, in the file's order.

    Raises:
        ValueError: the file is no gzip-compressed IDX file of unsigned bytes, or its length is not the one it states.

    References:
        LeCun, Cortes, Burges, "The MNIST database of handwritten digits", section "File formats".
    """
    try:
        content = gzip.decompress(path.read_bytes())
        zeros, element, num_axes = struct.unpack_from(">HBB", content)
        shape = struct.unpack_from(f">{num_axes}I", content, offset=4)
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise ValueError(f"{path}: expected a gzip-compressed IDX file, got {error}. Replace the file.") from error
    if zeros != 0 or element != _UNSIGNED_BYTE:
        raise ValueError(
            f"{path}: expected an IDX file of unsigned bytes (first bytes 00 00 08), got {content[:4].hex(' ')}. "
            "Replace the file."
        )
    elements = np.frombuffer(content, np.uint8, offset=4 + 4 * num_axes)
    if elements.size != math.prod(shape):
        raise ValueError(
            f"{path}: expected {math.prod(shape)} elements of {shape}, got {elements.size}. Replace the file."
        )
    return elements.reshape(shape)
