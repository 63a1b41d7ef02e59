"""The one rule by which a chain of factors from layer to layer is called vanishing, exploding or healthy."""

import numpy as np
import pytest

from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, trend


@pytest.mark.parametrize(
    ("ratios", "word"),
    [
        ([0.4, 0.4, 0.4], "vanishing"),
        ([0.6, 0.6, 0.6], "healthy"),
        ([2.5, 2.5], "exploding"),
        ([0.47], "healthy"),  # one step is no trend: a default network of convolutions has it
        ([0.2], "vanishing"),
        ([3.0], "healthy"),
        ([5.0], "exploding"),
        ([0.8] * 30, "vanishing"),
        ([1.3] * 30, "exploding"),
        ([], "healthy"),
    ],
)
def test_a_word_for_a_chain(ratios, word):
    assert trend(np.array(ratios), float(np.prod(ratios)), DEFAULTS).word == word


def test_the_mean_factor_and_the_row_to_look_at():
    assert trend(np.array([0.5, 0.02, 0.1]), 0.001, DEFAULTS) == ("vanishing", "shrinks", pytest.approx(0.1), 1)
    assert trend(np.array([2.0, 0.5]), 1.0, DEFAULTS)[2:] == (pytest.approx(1.0), 0)
    assert trend(np.array([1.0, 1e5, 3.0]), 3e5, DEFAULTS)[3] == 1


def test_slack_widens_the_bounds_per_layer_but_not_from_end_to_end():
    assert trend(np.array([0.4, 0.4]), 0.16, DEFAULTS, slack=2).word == "healthy"
    assert trend(np.array([0.2, 0.2]), 0.04, DEFAULTS, slack=2).word == "vanishing"
    assert trend(np.array([0.3] * 4), 0.0081, DEFAULTS, slack=2).word == "vanishing"
