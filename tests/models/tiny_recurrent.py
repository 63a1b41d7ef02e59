"""Tiny recurrent models for the laws."""

import numpy as np

import jaxdl
from jaxdl import models
from tests.models.cases import NUM_EXAMPLES, Case, classifier

DRAWS = np.random.RandomState(0)
X = DRAWS.randn(NUM_EXAMPLES, 5, 3).astype(np.float32)
LENGTHS = DRAWS.randint(1, 6, NUM_EXAMPLES).astype(np.int32)
Y = DRAWS.randint(0, 4, NUM_EXAMPLES).astype(np.int32)
STEPS = DRAWS.randint(0, 4, (NUM_EXAMPLES, 5)).astype(np.int32)


def network(cell: str, **options) -> models.RecurrentNetwork:
    return models.RecurrentNetwork((4,), cell, num_outputs=4, returns="last", **options)


CASES: dict[str, Case] = {
    **{
        cell: classifier(network(cell), X, Y)
        for cell in ("tanh", "irnn", "lstm", "gru", "layer_norm_tanh", "layer_norm_lstm", "layer_norm_gru")
    },
    "weight_norm_lstm": classifier(network("weight_norm_lstm"), X, Y),
    "lengths": classifier(network("gru", bidirectional="all"), {"x": X, "lengths": LENGTHS}, Y),
    "stacked": classifier(
        models.RecurrentNetwork((4, 4, 4), "lstm", num_outputs=4, residual_from=2, dropout_rate=0.2),
        (X, LENGTHS),
        (STEPS, LENGTHS),
        loss=jaxdl.losses.step_mean(jaxdl.losses.softmax_cross_entropy),
    ),
}
