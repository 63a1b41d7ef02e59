"""Tiny recurrent models for the laws."""

import numpy as np
from flax import linen as nn

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

SOURCE = DRAWS.randint(0, 5, (NUM_EXAMPLES, 5)).astype(np.int32)
TARGET = DRAWS.randint(0, 4, (NUM_EXAMPLES, 3)).astype(np.int32)
IMAGES = DRAWS.rand(NUM_EXAMPLES, 4, 4, 1).astype(np.float32)
OVER_STEPS = jaxdl.losses.step_mean(jaxdl.losses.softmax_cross_entropy)
PAIRS = {"source": SOURCE, "lengths": LENGTHS, "target": TARGET}

CASES |= {
    "additive_attention": classifier(
        models.EncoderDecoder(5, 4, (4,), (4,), cell="gru"), PAIRS, TARGET, loss=OVER_STEPS
    ),
    "dot_attention": classifier(
        models.EncoderDecoder(5, 4, (4,), (4,), attention="dot", start="copy"), PAIRS, TARGET, loss=OVER_STEPS
    ),
    "gnmt": classifier(models.gnmt(5, 4, units=2, num_layers=3), PAIRS, TARGET, loss=OVER_STEPS),
    "captioner": classifier(
        models.Captioner(nn.Conv(2, (3, 3), (2, 2)), 4, (4,)),
        {"image": IMAGES, "target": TARGET},
        TARGET,
        loss=OVER_STEPS,
    ),
}
