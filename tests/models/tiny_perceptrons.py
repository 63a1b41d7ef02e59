"""Tiny instances of the perceptron, of multi-layer perceptrons and of maxout networks."""

import jax.numpy as jnp
import numpy as np

import jaxdl
from jaxdl.models import MLP, MaxoutMLP, Perceptron
from tests.models.cases import NUM_EXAMPLES, classifier

draws = np.random.RandomState(0)
X = draws.randn(NUM_EXAMPLES, 3, 2, 1).astype(np.float32)
Y = draws.randint(0, 3, NUM_EXAMPLES).astype(np.int32)
SIGNS = np.where(Y > 0, 1.0, -1.0).astype(np.float32)

CASES = {
    "perceptron": classifier(Perceptron(), X, SIGNS, loss=jaxdl.losses.perceptron),
    "linear": classifier(MLP((3,)), X, Y),
    "mlp_residual_layer_norm": classifier(
        MLP((5, 5, 3), activation=(jnp.tanh, jnp.sin), normalization="layer", dropout_rate=0.2, residual=True), X, Y
    ),
    "mlp_batch_norm": classifier(MLP((5, 3), normalization="batch"), X, Y, mixes="BatchNorm_0"),
    "maxout": classifier(MaxoutMLP((4, 3), pieces=3, dropout_rate=0.5, input_dropout_rate=0.2), X, Y),
}
