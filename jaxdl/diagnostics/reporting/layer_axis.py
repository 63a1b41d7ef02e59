"""Layers in pictures: as places along an axis, or as a curve each, legible for many of them and long paths."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LONGEST = 28  # characters of a name in a picture
ROW = 12  # names that stand side by side in slanted writing, and lines of a legend
MOST = 48  # names under one axis


def short_names(names: Sequence[str], longest: int = LONGEST) -> list[str]:
    """Names of at most so many characters: of long ones every word loses its end, since numbers tell layers apart."""
    cut = list(names)
    for letters in range(12, 2, -1):
        word = rf"([^\W\d_]{{{letters}}})[^\W\d_]+"
        cut = [re.sub(word, r"\1", name) for name in names]
        if max(map(len, cut), default=0) <= longest:
            break
    else:
        cut = [name if len(name) <= longest else f"…{name[1 - longest :]}" for name in cut]
    return list(names) if max(map(len, names), default=0) <= longest else cut


def layer_ticks(axes: "Axes", names: Sequence[str], *, longest: int = LONGEST) -> None:
    """Writes names below an axis at 0, 1, 2, ...: many of them upright and small, of very many some."""
    places = evenly(len(names), MOST)
    short = short_names(names, longest)
    labels = [short[i] for i in places]
    many = len(places) > ROW
    how: dict[str, Any] = dict(rotation=90, fontsize=7) if many else dict(rotation=30, ha="right", fontsize=8)
    axes.set_xticks(places, labels, **how)


def layer_curves(axes: "Axes", times: Any, columns: np.ndarray, names: Sequence[str], **how: Any) -> None:
    """Draws a curve for each layer, `(time, layers)`, from dark at the input to light; a legend of at most a dozen."""
    from matplotlib import colormaps

    named = set(evenly(len(names), ROW).tolist())
    for i, name in enumerate(short_names(names)):
        colour = colormaps["viridis"](0.9 * i / max(1, len(names) - 1))
        label = name if i in named else None
        axes.plot(times, columns[:, i], color=colour, label=label, **how)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)


def evenly(count: int, most: int) -> np.ndarray:
    """Places of at most `most` among `count`, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))
