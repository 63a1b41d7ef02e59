"""A tiny network of mean and precision."""

import numpy as np

from jaxdl import losses
from jaxdl.models import MeanAndPrecision
from tests.models.cases import NUM_EXAMPLES, classifier

_DRAWS = np.random.RandomState(0)

CASES = {
    "mean_and_precision": classifier(
        MeanAndPrecision((4,), num_outputs=2),
        _DRAWS.randn(NUM_EXAMPLES, 3).astype(np.float32),
        _DRAWS.randn(NUM_EXAMPLES, 2).astype(np.float32),
        loss=losses.gaussian_nll,
    )
}
