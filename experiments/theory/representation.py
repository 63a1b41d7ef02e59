"""What networks can represent: XOR, functions of one variable, and stacked linear layers.

`python -m experiments representation`    makes its own data; the data set is not used
"""

from collections.abc import Mapping
from typing import Any

from experiments.harness.claims import Experiment, Run
from experiments.theory.approximation import judge_approximation
from experiments.theory.linear_stacks import judge_stacks
from experiments.theory.xor import judge_xor


def run(run: Run) -> None:
    """All three parts; each leaves its findings, records and figures."""
    judge_xor(run)
    judge_approximation(run)
    judge_stacks(run)
    run.note("The data are made here: --dataset changes nothing.")


_DEFAULT: Mapping[str, Any] = {"seeds": 5, "steps": 2000, "widths": (2, 5, 20, 80)}

EXPERIMENT = Experiment(
    name="representation",
    lecture="McKay, Misra, Fornax",
    claim="a hidden layer computes XOR, which no linear classifier does; enough units approximate any continuous "
    "function on an interval; stacked linear layers collapse to one",
    setup="XOR: all 16 labellings of the four points by linear programming; 8 hidden units, Adam 0.05, 500 steps. "
    "Approximation: 1.5 sin(2 pi x) + 0.5 cos(7 pi x) on [0, 1] by a staircase of threshold units, by random hidden "
    "units with the best output layer, and by one hidden layer trained with Adam 0.03 and a cosine decay on 126 "
    "points. Linear layers: widths 7, 9, 5 in float64; and gradient descent (0.1 on the sum of squares) on a map of "
    "singular values 1, 0.3 and 0.1, one layer against three, from starts whose product is 0.01 I.",
    source="Minsky and Papert 1969; Cybenko 1989; Hornik et al. 1989; Leshno et al. 1993; Saxe et al. 2013",
    seconds={"digits": 15, "mnist": 15},
    presets={
        "smoke": _DEFAULT | {"steps": 600, "widths": (2, 80)},
        "default": _DEFAULT,
        "full": _DEFAULT | {"seeds": 20, "steps": 10_000},
    },
    run=run,
    rows=("X04",),
)
