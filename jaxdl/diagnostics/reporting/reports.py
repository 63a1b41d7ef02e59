"""Text tables and empty pictures for the reports of measurements."""

import functools
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


TITLE_LINES = 5


def cell(value: float) -> str:
    """Four significant digits; "-" for what there is not."""
    return "-" if np.isnan(value) else f"{value:.4g}"


def percent(share: Any, digits: int = 3) -> str:
    """A share in per cent, to so many significant digits."""
    return f"{100 * float(share):.{digits}g} %"


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lines of equal length, the first column flush left, the others flush right."""
    lines = [list(header), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(text.rjust(w) for text, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    )


def canvas() -> "tuple[Figure, Axes]":
    """A figure with one set of axes, not shown."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(alpha=0.3)
    return figure, axes


def finished(figure: "Figure", path: Any, title: str) -> "Figure":
    """The figure with its title, broken into lines and cut after the fifth, and saved if there is a path.

    As the last value of a notebook's cell it is shown, also where `matplotlib.pyplot` was never imported.
    """
    import textwrap

    if title:
        width = int(13 * figure.get_figwidth())
        lines = (textwrap.wrap(line, width) for line in title.splitlines())
        broken = [part for parts in lines for part in parts]
        more = len(broken) > TITLE_LINES
        broken = [*broken[: TITLE_LINES - 1], f"{broken[TITLE_LINES - 1]} …"] if more else broken
        figure.suptitle("\n".join(broken), fontsize=9)
    if path is not None:
        figure.savefig(path, dpi=150)
    # A notebook knows how to draw figures once pyplot is imported; until then it asks the figure.
    vars(figure)["_repr_png_"] = functools.partial(png, figure)
    return figure


def png(figure: "Figure") -> bytes:
    """The picture of a figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
