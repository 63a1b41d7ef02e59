"""Data larger than memory: batches read as they are needed, resumable at any of them."""

from jaxdl.data.streaming.contract import BatchIterator as BatchIterator
from jaxdl.data.streaming.contract import Stream as Stream
from jaxdl.data.streaming.conversion import as_stream as as_stream
from jaxdl.data.streaming.conversion import evaluation_stream as evaluation_stream
from jaxdl.data.streaming.conversion import is_streamed as is_streamed
from jaxdl.data.streaming.indexed import stream as stream
from jaxdl.data.streaming.prefetch import prefetch_to_device as prefetch_to_device
from jaxdl.data.streaming.reading import CorruptRecordError as CorruptRecordError

__all__ = [
    "BatchIterator",
    "CorruptRecordError",
    "Stream",
    "as_stream",
    "evaluation_stream",
    "is_streamed",
    "prefetch_to_device",
    "stream",
]
