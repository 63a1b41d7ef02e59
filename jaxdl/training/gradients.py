"""The gradient of the mean loss of a batch: at once, from micro-batches, or from clipped examples."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdl.diagnostics.per_example import clip_factors, norms_inside
from jaxdl.losses import batch_mean
from jaxdl.training.objective import AVERAGED, RESERVED, Aux, Objective, taken_names
from jaxdl.training.parallel import Layout
from jaxdl.tree import num_examples

PyTree = Any
Metrics = dict[str, Any]


class BatchGradient(NamedTuple):
    """Mean loss of a batch, means of its metrics, the model state after it, and the gradient of the mean loss."""

    loss: jax.Array
    metrics: Metrics
    model_state: PyTree
    grads: PyTree


class GradientRule(NamedTuple):
    """How a batch becomes one gradient.

    Attributes:
      objective: as everywhere in `jaxdl.training`.
      microbatches: into how many equal parts the batch is cut; they follow one another.
      max_example_norm: bound of every example's gradient norm, or None.
      layout: devices that share the batch, and maybe the parameters.
    """

    objective: Objective
    microbatches: int
    max_example_norm: float | None
    layout: Layout | None = None

    def mean_loss(
        self, params: PyTree, batch: PyTree, *, model_state: PyTree, key: jax.Array
    ) -> tuple[jax.Array, tuple[PyTree, Metrics]]:
        """Mean loss of a batch taken at once, and `(model_state, metrics)`."""
        losses, aux = _checked(self.objective(params, batch, model_state=model_state, key=key, train=True))
        means = {name: jnp.mean(values) for name, values in aux.metrics.items()}
        return batch_mean(losses), (aux.model_state, means)

    def value(self, params: PyTree, batch: PyTree, *, model_state: PyTree, key: jax.Array) -> jax.Array:
        """The mean loss of a batch, by the keys of `gradient`: a function of `params` that line searches can call."""
        params = params if self.layout is None else self.layout.whole(params)
        one = self.mean_loss if self.max_example_norm is None else self._mean_loss_of_examples
        if self.microbatches == 1:
            return one(params, batch, model_state=model_state, key=key)[0]

        def body(model_state: PyTree, part: PyTree) -> tuple[PyTree, jax.Array]:
            part_key, examples = part
            loss, (model_state, _) = one(params, examples, model_state=model_state, key=part_key)
            return model_state, loss

        return jnp.mean(jax.lax.scan(body, model_state, self._parts(batch, key))[1])

    def gradient(self, params: PyTree, batch: PyTree, *, model_state: PyTree, key: jax.Array) -> BatchGradient:
        """Loss, metrics, model state and gradient of a batch."""
        params = params if self.layout is None else self.layout.whole(params)
        one = self._at_once if self.max_example_norm is None else self._of_clipped_examples
        if self.microbatches == 1:
            return one(params, batch, model_state=model_state, key=key)

        def body(carry: tuple[PyTree, PyTree], part: PyTree) -> tuple[Any, tuple[jax.Array, Metrics]]:
            model_state, total = carry
            part_key, examples = part
            of_part = one(params, examples, model_state=model_state, key=part_key)
            total = jax.tree.map(lambda sum_, grad: sum_ + grad.astype(sum_.dtype), total, of_part.grads)
            return (of_part.model_state, total), (of_part.loss, of_part.metrics)

        # A sum of many gradients in half precision would lose the last ones.
        zeros = jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.promote_types(p.dtype, jnp.float32)), params)
        (model_state, total), (losses, metrics) = jax.lax.scan(body, (model_state, zeros), self._parts(batch, key))
        grads = jax.tree.map(lambda sum_, p: (sum_ / self.microbatches).astype(p.dtype), total, params)
        return BatchGradient(jnp.mean(losses), jax.tree.map(partial(jnp.mean, axis=0), metrics), model_state, grads)

    def _at_once(self, params: PyTree, batch: PyTree, *, model_state: PyTree, key: jax.Array) -> BatchGradient:
        mean_loss = partial(self.mean_loss, batch=batch, model_state=model_state, key=key)
        (loss, (model_state, metrics)), grads = jax.value_and_grad(mean_loss, has_aux=True)(params)
        return BatchGradient(loss, metrics, model_state, grads)

    def _of_clipped_examples(
        self, params: PyTree, batch: PyTree, *, model_state: PyTree, key: jax.Array
    ) -> BatchGradient:
        assert self.max_example_norm is not None
        if jax.tree.leaves(model_state):
            raise ValueError(
                "max_example_norm: expected a model without running statistics, since in one that has them the "
                f"gradient of an example depends on the others; got the collections {sorted(model_state)}. "
                "Use layer or group normalization, or clip the gradient of the batch in the optax chain."
            )
        keys = jax.random.split(key, num_examples(batch, argument="batch"))

        def of_examples(params: PyTree, examples: PyTree) -> tuple[jax.Array, tuple[PyTree, Metrics]]:
            return _one_by_one(partial(self.mean_loss, params, model_state=model_state), *examples)

        # No gradient of an example is formed: the norms take one backward pass, the clipped mean another.
        losses_fn = lambda params, examples: of_examples(params, examples)[0]  # noqa: E731
        norms = norms_inside(losses_fn, params, (keys, batch), chunk=len(keys), apart=True).total
        factors = clip_factors(norms, self.max_example_norm)

        def weighted(params: PyTree) -> tuple[jax.Array, Any]:
            losses, (_, metrics) = of_examples(params, (keys, batch))
            return batch_mean(losses * factors.astype(losses.dtype)), (losses, metrics)

        grads, (losses, metrics) = jax.grad(weighted, has_aux=True)(params)
        metrics = {
            **jax.tree.map(partial(jnp.mean, axis=0), metrics),
            "clipped": jnp.mean(norms > self.max_example_norm),
        }
        return BatchGradient(batch_mean(losses), metrics, model_state, grads)

    def _mean_loss_of_examples(
        self, params: PyTree, batch: PyTree, *, model_state: PyTree, key: jax.Array
    ) -> tuple[jax.Array, tuple[PyTree, Metrics]]:
        keys = jax.random.split(key, num_examples(batch, argument="batch"))
        losses, (_, metrics) = _one_by_one(partial(self.mean_loss, params, model_state=model_state), keys, batch)
        return batch_mean(losses), (model_state, metrics)

    def _parts(self, batch: PyTree, key: jax.Array) -> tuple[jax.Array, PyTree]:
        size = num_examples(batch, argument="batch")
        if size % self.microbatches:
            raise ValueError(
                f"microbatches: expected a divisor of the batch of {size} examples, so that all parts weigh the same; "
                f"got {self.microbatches}. Change one of them."
            )
        parts = jax.tree.map(
            lambda leaf: jnp.reshape(leaf, (self.microbatches, size // self.microbatches, *leaf.shape[1:])), batch
        )
        # Split along their examples: the devices work on one part together, not on a part each.
        parts = parts if self.layout is None else self.layout.split(parts, axis=1)
        return jax.random.split(key, self.microbatches), parts


def _one_by_one(of_batch: Callable[..., Any], keys: jax.Array, batch: PyTree) -> Any:
    """`of_batch(batch, key=...)` of every example as a batch of its own, with a key of its own."""
    alone = lambda key, example: of_batch(jax.tree.map(lambda leaf: leaf[None], example), key=key)  # noqa: E731
    return jax.vmap(alone)(keys, batch)


def _checked(result: Any) -> tuple[jax.Array, Aux]:
    if not (isinstance(result, tuple) and len(result) == 2 and hasattr(result[1], "metrics")):
        raise TypeError(
            f"objective: expected (losses, Aux(model_state, metrics)) from it; got {type(result).__name__}. "
            "Return for example losses, jaxdl.training.Aux(model_state, {})."
        )
    taken = taken_names(result[1].metrics)
    if taken:
        raise ValueError(
            f"objective: expected metrics by other names than {', '.join(RESERVED)}, and these or its own behind "
            f"{AVERAGED!r}; got {taken}. Rename them."
        )
    losses, metrics = result[0], result[1].metrics
    for name, values in metrics.items():
        if jnp.shape(values) != jnp.shape(losses):
            raise ValueError(
                f"objective: expected a metric {name!r} of one value per example, shape {jnp.shape(losses)}; got shape "
                f"{jnp.shape(values)}. Reduce over every axis but the first, and leave the mean over examples to jaxdl."
            )
    return result
