"""The objective of autoencoders: the inputs are the targets."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax

from jaxdl.training.objective import Augment, Aux, PerExample, Supervised, supervised

PyTree = Any


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """The objective of an autoencoder; made by `reconstruction`. Hashable by identity."""

    inner: Supervised

    def __call__(
        self, params: PyTree, batch: PyTree, *, model_state: PyTree, key: jax.Array | None, train: bool
    ) -> tuple[jax.Array, Aux]:
        """Losses and metrics of a batch `x`, each `(batch,)`."""
        x = inputs_of(batch)
        return self.inner(params, (x, x), model_state=model_state, key=key, train=train)


def reconstruction(
    model: Any,
    loss: PerExample,
    *,
    metrics: Mapping[str, PerExample] | None = None,
    augment: Augment | None = None,
) -> Reconstruction:
    """The objective `loss(model(x), x)`; the target is clean whatever the model or `augment` does to its input.

    Args:
      model: whatever `jaxdl.as_model` takes, with outputs of the shape of its inputs, such as
        `jaxdl.models.Autoencoder`, whose own corruption acts in training mode only.
      loss: `loss(outputs, x) -> (batch,)`, such as `jaxdl.losses.sigmoid_cross_entropy` for logits of pixels in [0, 1].
      metrics: `{name: metric(outputs, x) -> (batch,)}`, as for `supervised`.
      augment: `augment(key, x) -> x~`, the corruption of a model that has none of its own, in training mode only.

    Returns:
      An objective of batches `x`, or of pairs `(x, y)` whose labels it does not look at, so that the splits of
      `jaxdl.data.load` serve as they are. It is compared by identity: keep it.

    Raises:
      TypeError, ValueError: as `supervised`; when called, a batch that is neither one array nor a pair.

    Example:
      >>> import jaxdl
      >>> model = jaxdl.models.Autoencoder((32,), tied=True, masking_rate=0.3)
      >>> objective = reconstruction(model, jaxdl.losses.sigmoid_cross_entropy)
    """
    return Reconstruction(supervised(model, loss, metrics=metrics, augment=augment))


def inputs_of(batch: Any) -> jax.Array:
    """The inputs of a batch `x` or `(x, y)`.

    Raises:
      ValueError: it is neither.
    """
    if isinstance(batch, (tuple, list)) and len(batch) == 2:
        batch = batch[0]
    if not hasattr(batch, "shape"):
        raise ValueError(
            f"batch: expected one array of inputs, or a pair (x, y); got {type(batch).__name__}. "
            "Pass data as x alone, or one split of jaxdl.data.load."
        )
    return batch
