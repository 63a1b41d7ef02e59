"""Regression under Gaussian noise (Allauzen's exercise): likelihood, precision, prior, and networks of both moments.

`python -m experiments regression`    makes its own data; the data set is not used
"""

from collections.abc import Mapping
from typing import Any

from experiments.harness.claims import Experiment, Run
from experiments.theory.linear_regression import (
    ALPHA,
    BETA,
    judge_closed_forms,
    judge_coverage,
    judge_few_points,
    judge_misfit,
)
from experiments.theory.regression_figures import band_figure, few_points_figure
from experiments.theory.regression_networks import judge_precision, judge_varying


def run(run: Run) -> None:
    """Linear models, then networks."""
    judge_closed_forms(run)
    judge_misfit(run)
    points = judge_few_points(run)
    judge_coverage(run)
    judge_precision(run)
    fitted = judge_varying(run)
    caption = (
        "What the networks say of a target: mean, two deviations, and the Gaussian of variance 1/beta around the mean "
        "at some x (red). The noise depends on x; left one precision for all x, right one for each."
    )
    run.figure("bands", band_figure(fitted), caption)
    caption = (
        "Ten noisy points of a sine. Left: the most likely polynomial. Right: the posterior with the precisions of "
        "largest evidence: most probable weights, draws of the weights, and the predictive band."
    )
    run.figure("few_points", few_points_figure(points), caption)
    run.note("The data are made here, from seeds: --dataset changes nothing.")


_DEFAULT: Mapping[str, Any] = {"seeds": 5, "steps": 3000, "draws": 100}

EXPERIMENT = Experiment(
    name="regression",
    lecture="Allauzen",
    claim="least squares is maximum likelihood under Gaussian noise, 1/beta the mean squared residual, weight decay a "
    "Gaussian prior with lambda = alpha/beta",
    setup=f"Linear: t = X w + noise of precision beta = {BETA:g}, prior of precision alpha = {ALPHA:g}; closed forms "
    "in float32 against the normal equations in float64, and full-batch gradient descent. Curves: t = sin x + noise, x "
    "uniform on (-pi, pi); polynomials of degree 9 on 10 and 300 points; networks with two hidden layers of 50 tanh "
    "units on 1,000 examples, Adam 0.01 with a cosine decay, batches of 100. Where the noise depends on x its "
    "deviation is 0.1 + 0.15 (1 + cos x). Validation data give the one precision, test data are used once.",
    source="Bishop 2006, sections 1.2.5, 3.1 to 3.5, 5.6 (closed forms)",
    seconds={"digits": 25, "mnist": 30},
    presets={
        "smoke": _DEFAULT | {"steps": 2000},
        "default": _DEFAULT,
        "full": _DEFAULT | {"seeds": 20, "steps": 6000, "draws": 400},
    },
    run=run,
    rows=("X38",),
)
