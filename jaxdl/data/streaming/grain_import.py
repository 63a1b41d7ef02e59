"""Grain, imported when it is needed, and in silence."""

import logging
from types import ModuleType


def import_grain() -> ModuleType:
    """Grain; what it says of jaxlib as it is imported concerns worker processes, and there are none here."""
    logger = logging.getLogger("absl")
    silence = lambda record: False  # noqa: E731
    logger.addFilter(silence)
    try:
        import grain
    finally:
        logger.removeFilter(silence)
    return grain
