"""Units and their deaths: tables, verdicts and pictures, on the host."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxdl.diagnostics.reporting.layer_axis import layer_curves, layer_ticks
from jaxdl.diagnostics.reporting.reports import canvas, finished, percent
from jaxdl.diagnostics.reporting.stacked import single
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jaxdl.diagnostics.signals.unit_deaths import UnitDeaths
    from jaxdl.diagnostics.signals.unit_health import UnitHealth


def table(health: "UnitHealth") -> str:
    """One line a layer: units, shares of dead, saturated and always active ones, the activation."""
    single("health", health.dead[0], ("units",), otherwise=", or fold them by unit_deaths")
    width = max(len("layer"), *(len(name) for name in (*health.layers, *health.without)))
    head = "".join(f"{name:>15}" for name in ("units", "dead", "saturated", "always active"))
    lines = [f"{'layer':<{width}}{head}  activation"]
    shares = np.stack(
        [np.asarray(s) for s in (health.dead_fraction, health.saturated_fraction, health.always_active_fraction)], 1
    )
    for name, units, row, activation in zip(health.layers, health.dead, shares, health.activations, strict=True):
        cells = "".join(f"{percent(share):>15}" for share in row)
        lines.append(f"{name:<{width}}{np.size(units):>15}{cells}  {activation}")
    lines += [f"{name:<{width}}{'no activation of its own':>27}" for name in health.without]
    return "\n".join(lines)


def verdict(health: "UnitHealth", thresholds: Thresholds = DEFAULTS) -> str:
    """A sentence that names the layers with more than a share of dead or saturated units, the worst first."""
    single("health", health.dead[0], ("units",), otherwise=", or fold them by unit_deaths")
    findings = []
    for word, flags, bound in (
        ("dead", health.dead, thresholds.dead),
        ("saturated", health.saturated, thresholds.stuck),
    ):
        counts = [(float(np.mean(units)), i) for i, units in enumerate(flags)]
        for share, i in sorted(counts, key=lambda pair: (-pair[0], pair[1])):
            if share >= bound and share > 0:
                count, total = int(np.sum(flags[i])), np.size(flags[i])
                findings.append(
                    f"{percent(share)} of the units of {health.layers[i]} are {word} "
                    f"({count} of {total}, {health.activations[i]})"
                )
    if findings:
        return "; ".join(findings)
    total = sum(np.size(units) for units in health.dead)
    dead, saturated = (sum(int(np.sum(units)) for units in flags) for flags in (health.dead, health.saturated))
    return f"healthy: of {total} units in {len(health.layers)} layers {dead} are dead and {saturated} saturated"


def plot(health: "UnitHealth", path: Any = None, *, title: str | None = None) -> "Figure":
    """Draws shares of dead, saturated and always active units as bars, a group for each layer.

    Args:
      health: a single measurement.
      path: where to save the picture; the ending sets its kind.
      title: above the picture; the verdict by default.

    Returns:
      The matplotlib figure, not shown.
    """
    single("health", health.dead[0], ("units",), otherwise=", or fold them by unit_deaths")
    positions = np.arange(len(health.layers))
    shares = (
        ("dead", health.dead_fraction, "C3"),
        ("saturated", health.saturated_fraction, "C1"),
        ("always active", health.always_active_fraction, "C0"),
    )
    figure, axes = canvas()
    for i, (label, values, colour) in enumerate(shares):
        axes.bar(positions + 0.27 * (i - 1), 100 * np.asarray(values), 0.25, label=label, color=colour)
    layer_ticks(axes, health.layers)
    axes.set(xlabel="layer, from input to output", ylabel="% of the units", ylim=(0, 100))
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
    return finished(figure, path, verdict(health) if title is None else title)


def deaths_table(deaths: "UnitDeaths") -> str:
    """One line a layer: units, dead ones, steps of the first, median and last death."""
    width = max(len("layer"), *(len(name) for name in deaths.layers))
    lines = [f"{'layer':<{width}}" + "".join(f"{name:>10}" for name in ("units", "dead", "first", "median", "last"))]
    for name, died in zip(deaths.layers, deaths.died, strict=True):
        when = np.sort(np.asarray(died)[np.asarray(died) >= 0])
        ends = (when[0], when[(len(when) - 1) // 2], when[-1]) if len(when) else ("-",) * 3
        lines.append(f"{name:<{width}}" + "".join(f"{cell!s:>10}" for cell in (np.size(died), len(when), *ends)))
    return "\n".join(lines)


def deaths_verdict(deaths: "UnitDeaths", thresholds: Thresholds = DEFAULTS) -> str:
    """A sentence that names the layers in which more than a share of the units died, the worst first."""
    last, found = int(np.asarray(deaths.steps)[-1]), []
    for name, died in zip(deaths.layers, map(np.asarray, deaths.died), strict=True):
        when = np.sort(died[died >= 0])
        if len(when) and len(when) >= thresholds.dead * len(died):
            share = len(when) / len(died)
            words = (
                f"{percent(share)} of the units of {name} died ({len(when)} of {len(died)}), the first by step "
                f"{when[0]}, half of them by step {when[(len(when) - 1) // 2]}"
            )
            found.append((share, words))
    if found:
        return "; ".join(words for _, words in sorted(found, key=lambda pair: -pair[0]))
    total, gone = sum(map(np.size, deaths.died)), sum(int(np.sum(np.asarray(died) >= 0)) for died in deaths.died)
    return f"healthy: of {total} units in {len(deaths.layers)} layers {gone} died by step {last}"


def plot_deaths(deaths: "UnitDeaths", path: Any = None, *, title: str | None = None) -> "Figure":
    """Draws the share of dead units of each layer over the steps.

    Args:
      deaths: what `unit_deaths` returned.
      path: where to save the picture; the ending sets its kind.
      title: above the picture; the verdict by default.

    Returns:
      The matplotlib figure, not shown.
    """
    figure, axes = canvas()
    shares = 100 * np.asarray(deaths.dead_over_time)
    layer_curves(axes, np.asarray(deaths.steps), shares, deaths.layers, drawstyle="steps-post")
    axes.set(xlabel="updates done", ylabel="% of the units dead for good", ylim=(-2, 102))
    return finished(figure, path, deaths_verdict(deaths) if title is None else title)
