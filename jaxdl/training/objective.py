"""The objective contract, which training steps, evaluation and every diagnostic consume.

`objective(params, batch, *, model_state, key, train) -> (losses (batch,), Aux(model_state, metrics))`
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import jax

from jaxdl.model import Model, as_model

PyTree = Any
PerExample = Callable[[Any, Any], jax.Array]
Augment = Callable[[jax.Array, Any], Any]

# What a step reports itself; metrics of an objective have other names.
RESERVED = ("loss", "penalty", "measure", "clipped", "skipped")
AVERAGED = "averaged_"  # what precedes the names of the validation metrics of an average


class Aux(NamedTuple):
    """What an objective returns beside its losses.

    Attributes:
      model_state: the model's collections other than `params`, after the call.
      metrics: `{name: (batch,)}`, one value per example.
    """

    model_state: PyTree
    metrics: Mapping[str, jax.Array]


class Objective(Protocol):
    """Any callable with this signature; autoencoders and sequence models write their own in ten lines."""

    def __call__(
        self, params: PyTree, batch: PyTree, *, model_state: PyTree, key: jax.Array | None, train: bool
    ) -> tuple[jax.Array, Aux]:
        """Losses `(batch,)`, and what comes beside them."""
        ...


@dataclass(frozen=True, eq=False)
class Supervised:
    """The objective of a supervised task; made by `supervised`. Frozen, and hashable by identity."""

    model: Model
    loss: PerExample
    metrics: Mapping[str, PerExample] = field(default_factory=dict)
    augment: Augment | None = None

    def __call__(
        self, params: PyTree, batch: PyTree, *, model_state: PyTree, key: jax.Array | None, train: bool
    ) -> tuple[jax.Array, Aux]:
        """Losses and metrics of a batch `(x, y)`, each `(batch,)`."""
        if not (isinstance(batch, (tuple, list)) and len(batch) == 2):
            shape = getattr(batch, "shape", None)
            got = f"{type(batch).__name__} of {len(batch)}" if shape is None else f"an array of shape {shape}"
            raise ValueError(
                f"batch: expected a pair (x, y) for a supervised objective; got {got}. "
                "Pass data as (x, y), such as one split of jaxdl.data.load, or write an objective of your own."
            )
        x, targets = batch
        x, key = self.inputs(x, key, train=train)
        outputs, model_state = self.model.apply({"params": params, **model_state}, x, train=train, key=key)
        losses = _per_example("loss", self.loss(outputs, targets), x)
        metrics = {
            name: _per_example(f"metrics[{name!r}]", fn(outputs, targets), x) for name, fn in self.metrics.items()
        }
        return losses, Aux(model_state, metrics)

    def inputs(self, x: Any, key: jax.Array | None, *, train: bool) -> tuple[Any, jax.Array | None]:
        """What the model is given in place of `x`, and the key that is left for it."""
        if self.augment is None or not train:
            return x, key
        if key is None:
            raise ValueError(
                "key: expected a key in training mode, since the objective augments its inputs; got None. "
                "Pass key=jax.random.key(0), or train=False."
            )
        augment_key, key = jax.random.split(key)
        return self.augment(augment_key, x), key


def supervised(
    model: Any,
    loss: PerExample,
    *,
    metrics: Mapping[str, PerExample] | None = None,
    augment: Augment | None = None,
) -> Supervised:
    """The objective of classification and regression: `loss(model(x), y)` for batches `(x, y)`.

    Args:
      model: whatever `jaxdl.as_model` takes.
      loss: `loss(outputs, targets) -> (batch,)`, such as those of `jaxdl.losses`.
      metrics: `{name: metric(outputs, targets) -> (batch,)}`, reported as means; for instance
        `{"accuracy": jaxdl.losses.correct}`. The names `loss`, `penalty`, `measure` and `clipped` are
        taken, and so are these and the other metrics' behind `averaged_`.
      augment: `augment(key, x) -> x`, applied to the inputs in training mode only, inside the compiled step, such as
        `jaxdl.data.make_augmentation(...)`; its key is neither the step's nor the model's.

    Returns:
      An objective. It is compared by identity: keep it, and compiled programs are found again.

    Raises:
      TypeError: `loss`, a metric or `augment` is not callable.
      ValueError: a metric has a name that is taken; on the first call, a batch that is no pair, values that are
        not one per example, or no key for `augment`.
    """
    if metrics is not None and not isinstance(metrics, Mapping):
        raise TypeError(
            f"metrics: expected a mapping of names to functions; got {type(metrics).__name__}. "
            "Pass for example {'accuracy': jaxdl.losses.correct}."
        )
    metrics = dict(metrics or {})
    for name, fn in {"loss": loss, **{f"metrics[{name!r}]": fn for name, fn in metrics.items()}}.items():
        if not callable(fn):
            raise TypeError(
                f"{name}: expected a function (outputs, targets) -> (batch,); got {type(fn).__name__}. "
                "Pass the function itself, such as jaxdl.losses.softmax_cross_entropy."
            )
    taken = taken_names(metrics)
    if taken:
        raise ValueError(
            f"metrics: expected names other than {', '.join(RESERVED)}, which the step reports, and these or your own "
            f"behind {AVERAGED!r}; got {taken}. Rename them."
        )
    if augment is not None and not callable(augment):
        raise TypeError(
            f"augment: expected a function (key, x) -> x; got {type(augment).__name__}. "
            "Pass for example jaxdl.data.make_augmentation(shift_pixels=1)."
        )
    return Supervised(as_model(model), loss, metrics, augment)


def taken_names(metrics: Iterable[str]) -> list[str]:
    """The names among those of an objective's metrics under which `fit` reports something else."""
    metrics = set(metrics)
    reported = {*RESERVED, *metrics}
    return sorted(metrics & {*RESERVED, *(AVERAGED + name for name in reported)})


def _per_example(argument: str, values: jax.Array, x: jax.Array) -> jax.Array:
    batch = jax.tree.leaves(x)[0].shape[0]
    if values.shape != (batch,):
        raise ValueError(
            f"{argument}: expected one value per example, shape ({batch},); got shape {values.shape}. "
            "Reduce over every axis but the first, and leave the mean over examples to jaxdl."
        )
    return values
