"""Per-example losses: each returns one value per example, shape `(batch,)`; `batch_mean` is the only mean.

All of them take `outputs` first and `targets` second, and sum over what an example holds: outputs, pixels, time steps.

Classification: `outputs` are logits (before softmax or sigmoid), `(batch, ..., classes)`; `targets` are integer labels
`(batch, ...)` or probabilities `(batch, ..., classes)`; a label outside of 0 ... classes - 1 gives NaN.
Regression: both have shape `(batch, ...)`; a pair `(batch,)` and `(batch, 1)` is refused, because it would broadcast
to `(batch, batch)` without a word.

Each takes `weights` and `mask` by name. `weights` multiply the loss of every position, `mask` says which positions
count; their shape is that of the positions (`(batch, ...)`, without the classes) or its first axes, such as
`(batch,)`. What a mask leaves out may be NaN, and reaches neither the value nor the gradient. The loss of an example
that is left out is 0; it still counts in `batch_mean`.
"""

from jaxdl.losses.classification import hinge as hinge
from jaxdl.losses.classification import kl_divergence as kl_divergence
from jaxdl.losses.classification import perceptron as perceptron
from jaxdl.losses.classification import rebalancing_weights as rebalancing_weights
from jaxdl.losses.classification import sigmoid_cross_entropy as sigmoid_cross_entropy
from jaxdl.losses.classification import softmax_cross_entropy as softmax_cross_entropy
from jaxdl.losses.classification import squared_hinge as squared_hinge
from jaxdl.losses.classification import weighted_cross_entropy as weighted_cross_entropy
from jaxdl.losses.examples import batch_mean as batch_mean
from jaxdl.losses.examples import correct as correct
from jaxdl.losses.regression import absolute_error as absolute_error
from jaxdl.losses.regression import cosine_proximity as cosine_proximity
from jaxdl.losses.regression import gaussian_nll as gaussian_nll
from jaxdl.losses.regression import mean_squared_error as mean_squared_error
from jaxdl.losses.regression import quadratic_cost as quadratic_cost
from jaxdl.losses.regression import squared_error as squared_error
from jaxdl.losses.sequences import sequence_correct as sequence_correct
from jaxdl.losses.sequences import step_accuracy as step_accuracy
from jaxdl.losses.sequences import step_mask as step_mask
from jaxdl.losses.sequences import step_mean as step_mean
from jaxdl.losses.teacher import distillation as distillation
from jaxdl.losses.teacher import hint as hint

__all__ = [
    "absolute_error",
    "batch_mean",
    "correct",
    "cosine_proximity",
    "distillation",
    "gaussian_nll",
    "hinge",
    "hint",
    "kl_divergence",
    "mean_squared_error",
    "perceptron",
    "quadratic_cost",
    "rebalancing_weights",
    "sequence_correct",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
    "squared_error",
    "squared_hinge",
    "step_accuracy",
    "step_mask",
    "step_mean",
    "weighted_cross_entropy",
]
