"""Which training examples moved the loss of a test example, by the gradients at checkpoints of the training."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from jaxdl import checks
from jaxdl.diagnostics.gradients import influence_report
from jaxdl.diagnostics.gradients.chunks import over_chunks
from jaxdl.diagnostics.gradients.directional import Losses, inner_products, sum_of_gradients, widened
from jaxdl.diagnostics.per_example.norms import twice
from jaxdl.diagnostics.per_example.plan import make_plan
from jaxdl.diagnostics.reporting.stacked import Stackable
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds
from jaxdl.tree import num_examples

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PyTree = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Influence(Stackable):
    """Influence of every training example on the loss of a test example; a pytree of arrays.

    Attributes:
      scores: `(..., train)`; positive where a step on the training example lowers the loss of the test example.
      num: how many proponents and opponents are listed.
    """

    scores: jax.Array
    num: int = field(metadata={"static": True})

    @property
    def proponents(self) -> jax.Array:
        """`(..., num)`, the training examples of the largest scores, the largest first."""
        return jax.lax.top_k(self.scores, self.num)[1]

    @property
    def opponents(self) -> jax.Array:
        """`(..., num)`, the training examples of the lowest scores, the lowest first."""
        return jax.lax.top_k(-self.scores, self.num)[1]

    def table(self) -> str:
        """The strongest proponents and opponents with their scores, as text."""
        return influence_report.table(self)

    def verdict(self, thresholds: Thresholds = DEFAULTS) -> str:
        """A sentence with its numbers: the strongest examples, and whether few hold most of the influence."""
        return influence_report.verdict(self, thresholds)

    def plot(self, path: Any = None, *, title: str | None = None) -> "Figure":
        """Draws the scores of the strongest proponents and opponents."""
        return influence_report.plot(self, path, title=title)


def influential_examples(
    losses_fn: Losses,
    checkpoints: Sequence[PyTree],
    train_data: PyTree,
    test_example: PyTree,
    *,
    learning_rates: Sequence[float] | jax.Array,
    num: int = 10,
    batch_size: int = 256,
) -> Influence:
    """TracIn: `sum_k eta_k <grad l(w_k, z), grad l(w_k, z')>` for every training example z and a test example z'.

    To first order, what the steps on z changed of the loss of z'. The gradient of the test example is taken once a
    checkpoint; its inner products with those of a batch of training examples are one forward-mode pass, so that no
    gradient of a training example is formed.

    Args:
      losses_fn: `losses_fn(params, batch) -> (batch,)`, pure; see `per_example_gradient_norms`.
      checkpoints: the parameters w_k at several points of the training.
      train_data: pytree of arrays with a leading example axis.
      test_example: a batch of the same kind; of several examples the influence on their mean loss is taken.
      learning_rates: eta_k, one for each checkpoint; the steps between checkpoints only scale the scores.
      num: how many proponents and opponents to list; fewer where there are fewer training examples.
      batch_size: how many training examples are taken at a time.

    Returns:
      An `Influence` with scores `(train,)`, float32 at least.

    Raises:
      TypeError: `checkpoints` is no list or tuple; else as there.
      ValueError: no checkpoint, not one learning rate for each, no example, or a bad `num` or `batch_size`; else as
        `per_example_gradient_norms`, for losses that mix examples above all.

    Example:
      >>> x = jnp.array([[1.0, 0.0], [3.0, 4.0], [-2.0, 0.0]])
      >>> found = influential_examples(lambda w, x: x @ w, [jnp.ones(2)], x, x[:1], learning_rates=[0.1], num=1)
      >>> found.proponents, found.opponents
      (Array([1], dtype=int32), Array([2], dtype=int32))

    References:
      Pruthi, Liu, Kale and Sundararajan, "Estimating training data influence by tracing gradient descent", NeurIPS
      2020, section 3.3 (TracInCP).
    """
    if not isinstance(checkpoints, (list, tuple)):
        raise TypeError(
            f"checkpoints: expected a list of parameters; got {type(checkpoints).__name__}. Pass [params] for one."
        )
    rates = jnp.asarray(learning_rates)
    if not checkpoints or rates.shape != (len(checkpoints),):
        raise ValueError(
            f"learning_rates: expected one for each of one or more checkpoints; got shape {rates.shape} for "
            f"{len(checkpoints)} checkpoints. Pass those in use when the checkpoints were kept."
        )
    checks.whole_number(num=num, minimum=1, remedy="It is how many examples are listed on either side.")
    checks.whole_number(batch_size=batch_size, minimum=1, remedy="It is how many examples are taken at a time.")
    count = num_examples(train_data, argument="train_data")
    num_examples(test_example, argument="test_example")
    train_data, test_example = jax.tree.map(jnp.asarray, (train_data, test_example))
    # Where examples mix, the derivative along a direction would be that of something else, without a word.
    several = train_data if count > 1 else twice(train_data)
    make_plan(losses_fn, jax.tree.map(jnp.asarray, checkpoints[0]), several, alone=batch_size < count)
    total: Any = 0.0
    for params, rate in zip(checkpoints, rates, strict=True):
        params = jax.tree.map(jnp.asarray, params)
        total += rate * _scores(params, train_data, test_example, losses_fn=losses_fn, batch_size=batch_size)
    return Influence(total, min(num, count))


@partial(jax.jit, static_argnames=("losses_fn", "batch_size"))
def _scores(
    params: PyTree, train_data: PyTree, test_example: PyTree, *, losses_fn: Losses, batch_size: int
) -> jax.Array:
    total = sum_of_gradients(losses_fn, params, test_example)
    direction = jax.tree.map(lambda leaf: leaf / num_examples(test_example), total)

    def along(carry: None, part: PyTree) -> tuple[None, jax.Array]:
        return carry, widened(inner_products(losses_fn, params, part, direction))

    return over_chunks(along, None, train_data, size=batch_size)[1]
