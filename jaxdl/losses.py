"""Per-example losses: each returns one value per example, shape `(batch,)`; `batch_mean` is the only mean.

All of them take `outputs` first and `targets` second. For classification `outputs` are logits (before softmax or
sigmoid) of shape `(batch, classes)`, and `targets` are integer labels `(batch,)` or probabilities `(batch, classes)`;
a label outside of 0 ... classes - 1 gives NaN.
For regression both have shape `(batch, ...)`; a pair `(batch,)` and `(batch, 1)` is refused, because it would
broadcast to `(batch, batch)` without a word.
"""

import jax
import jax.numpy as jnp
import optax


def batch_mean(losses: jax.Array) -> jax.Array:
    """The mean of per-example losses `(batch,)`: the one place of the library where a loss is averaged."""
    if jnp.ndim(losses) != 1:
        raise ValueError(
            f"losses: expected one value per example, shape (batch,); got shape {jnp.shape(losses)}. "
            "Sum or average each example over its own axes first, and leave the mean over examples to jaxdl."
        )
    return jnp.mean(losses)


def softmax_cross_entropy(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """`-sum_j t_j log softmax(outputs)_j`, shape `(batch,)` (Bridle 1990)."""
    logits, probabilities = _class_targets(outputs, targets)
    return optax.softmax_cross_entropy(logits, probabilities)


def sigmoid_cross_entropy(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Cross-entropy of independent sigmoids, SUMMED over outputs, shape `(batch,)`.

    `-sum_j [t_j ln s(z_j) + (1 - t_j) ln(1 - s(z_j))]` (Nielsen 2015, eq. 63). A mean over ten outputs in place of
    the sum would divide the effective learning rate by ten.
    """
    logits, probabilities = _class_targets(outputs, targets)
    return optax.sigmoid_binary_cross_entropy(logits, probabilities).sum(-1)


def hinge(outputs: jax.Array, targets: jax.Array, *, margin: float = 1.0) -> jax.Array:
    """Multi-class hinge `sum_{j != y} max(0, f_j - f_y + margin)`, shape `(batch,)` (Weston and Watkins 1999).

    `targets` are integer labels. The maximum form of Crammer and Singer is `optax.losses.multiclass_hinge_loss`.
    """
    return _margin_violations(outputs, targets, margin).sum(-1)


def squared_hinge(outputs: jax.Array, targets: jax.Array, *, margin: float = 1.0) -> jax.Array:
    """`sum_{j != y} max(0, f_j - f_y + margin)^2`, shape `(batch,)`; `targets` are integer labels."""
    return jnp.square(_margin_violations(outputs, targets, margin)).sum(-1)


def squared_error(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """`sum_j (f_j - t_j)^2` over all axes but the first, shape `(batch,)`; half of it is the quadratic cost."""
    return _per_example_sum(optax.squared_error(*_same_shape(outputs, targets)))


def absolute_error(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """`sum_j |f_j - t_j|` over all axes but the first, shape `(batch,)`."""
    outputs, targets = _same_shape(outputs, targets)
    return _per_example_sum(jnp.abs(outputs - targets))


def correct(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """1.0 where the largest output is the example's class, else 0.0, shape `(batch,)`: its mean is the accuracy."""
    labels = targets if jnp.ndim(targets) == 1 else jnp.argmax(targets, -1)
    return (jnp.argmax(outputs, -1) == labels).astype(jnp.float32)


def _class_targets(outputs: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    shape = jnp.shape(outputs)
    if len(shape) == 2 and jnp.shape(targets) == shape:
        return outputs, targets
    is_label = jnp.issubdtype(jnp.result_type(targets), jnp.integer)
    if len(shape) == 2 and jnp.shape(targets) == shape[:1] and is_label:
        one_hot = jax.nn.one_hot(targets, shape[1], dtype=jnp.result_type(outputs))
        # A traced program cannot raise; a label that is no class must not count as an example without loss.
        in_range = (jnp.asarray(targets) >= 0) & (jnp.asarray(targets) < shape[1])
        return outputs, jnp.where(in_range[:, None], one_hot, jnp.nan)
    raise ValueError(
        f"targets: expected integer labels of shape {shape[:1]} or probabilities of shape {shape} for outputs "
        f"(logits, two-dimensional) of shape {shape}; got shape {jnp.shape(targets)} of {jnp.result_type(targets)}. "
        "Flatten further axes into the batch, or convert the labels to integers."
    )


def _margin_violations(outputs: jax.Array, targets: jax.Array, margin: float) -> jax.Array:
    outputs, one_hot = _class_targets(outputs, targets)
    own_score = jnp.sum(outputs * one_hot, -1, keepdims=True)
    return jax.nn.relu(outputs - own_score + margin) * (1.0 - one_hot)


def _same_shape(outputs: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    if jnp.shape(outputs) != jnp.shape(targets) or jnp.ndim(outputs) < 1:
        raise ValueError(
            f"targets: expected the shape of outputs, {jnp.shape(outputs)}, with the examples first; "
            f"got {jnp.shape(targets)}. Reshape one of them, for example y[:, None]."
        )
    return outputs, targets


def _per_example_sum(values: jax.Array) -> jax.Array:
    return values.reshape(values.shape[0], -1).sum(-1)
