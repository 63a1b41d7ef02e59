"""Losses of logits `(batch, ..., classes)` against labels or probabilities."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer

from jaxdl.losses.examples import floating, hidden, per_example


def softmax_cross_entropy(
    outputs: jax.Array, targets: jax.Array, *, label_smoothing: float = 0.0, weights: Any = None, mask: Any = None
) -> jax.Array:
    """`-sum_j t_j log softmax(outputs)_j`, shape `(batch,)` (Bridle 1990).

    Args:
      outputs: logits `(batch, ..., classes)`; a logit of minus infinity excludes a class.
      targets: labels `(batch, ...)` or probabilities `(batch, ..., classes)`.
      label_smoothing: s in [0, 1]: the targets become `(1 - s) t + s / classes` (Szegedy et al. 2016).
      weights: see the module's description.
      mask: likewise.

    Returns:
      One loss per example, `(batch,)`.

    Raises:
      ValueError: shapes that do not fit, or a smoothing outside of [0, 1].
    """

    def fn(logits: jax.Array, probabilities: jax.Array) -> jax.Array:
        smooth = optax.smooth_labels(probabilities, label_smoothing) if smoothed else probabilities
        return optax.safe_softmax_cross_entropy(logits, smooth)

    smoothed = _check_smoothing(label_smoothing)
    return _classified(fn, outputs, targets, weights, mask)


def sigmoid_cross_entropy(
    outputs: jax.Array, targets: jax.Array, *, label_smoothing: float = 0.0, weights: Any = None, mask: Any = None
) -> jax.Array:
    """Cross-entropy of independent sigmoids, SUMMED over outputs, shape `(batch,)`.

    `-sum_j [t_j ln s(z_j) + (1 - t_j) ln(1 - s(z_j))]` (Nielsen 2015, eq. 63). A mean over ten outputs in place of
    the sum would divide the effective learning rate by ten.

    Args:
      outputs: logits `(batch, ..., classes)`.
      targets: labels `(batch, ...)` or probabilities `(batch, ..., classes)`, which need not sum to 1.
      label_smoothing: s in [0, 1]: the targets become `(1 - s) t + s / 2`.
      weights: see the module's description.
      mask: likewise.

    Returns:
      One loss per example, `(batch,)`.

    Raises:
      ValueError: shapes that do not fit, or a smoothing outside of [0, 1].
    """

    def fn(logits: jax.Array, probabilities: jax.Array) -> jax.Array:
        smooth = (1 - label_smoothing) * probabilities + label_smoothing / 2 if smoothed else probabilities
        return optax.sigmoid_binary_cross_entropy(logits, smooth).sum(-1)

    smoothed = _check_smoothing(label_smoothing)
    return _classified(fn, outputs, targets, weights, mask)


def weighted_cross_entropy(
    outputs: jax.Array, targets: jax.Array, class_weights: jax.Array, *, weights: Any = None, mask: Any = None
) -> jax.Array:
    """`-v(t) sum_q t_q log softmax(outputs)_q`, v the weight of the target's class, shape `(batch,)`.

    For soft targets v is that of their largest entry (Zhang, Isola, Efros 2016, eq. 2 and 3).

    Args:
      outputs: logits `(batch, ..., classes)`.
      targets: labels `(batch, ...)` or probabilities `(batch, ..., classes)`.
      class_weights: `(classes,)`, such as those of `rebalancing_weights`.
      weights: see the module's description.
      mask: likewise.

    Returns:
      One loss per example, `(batch,)`.

    Raises:
      ValueError: `class_weights` of another shape, or targets that do not fit.
    """
    classes = jnp.shape(outputs)[-1:]
    if jnp.shape(class_weights) != classes:
        raise ValueError(
            f"class_weights: expected one for each class, shape {classes}; got {jnp.shape(class_weights)}. "
            "Make them with rebalancing_weights, or give one weight to every class."
        )

    def fn(logits: jax.Array, probabilities: jax.Array) -> jax.Array:
        v = jnp.asarray(class_weights, logits.dtype)[jnp.argmax(probabilities, -1)]
        return v * optax.safe_softmax_cross_entropy(logits, probabilities)

    return _classified(fn, outputs, targets, weights, mask)


def rebalancing_weights(frequencies: jax.Array, *, mix: float = 0.5) -> jax.Array:
    """Weights of classes `w_q` proportional to `1 / ((1 - mix) p_q + mix / Q)`, scaled so that `sum_q p_q w_q = 1`.

    Args:
      frequencies: how often each class occurs, `(classes,)`, counts or shares, none negative and not all 0.
      mix: share of the uniform distribution, in [0, 1]: 1 weighs all alike, 0 by the inverse frequency.

    Returns:
      `(classes,)`.

    Raises:
      ValueError: `mix` is outside of [0, 1], or `frequencies` is no vector.

    References:
      Zhang, Isola, Efros, "Colorful Image Colorization", 2016, eq. 4.
    """
    if not 0 <= mix <= 1:
        raise ValueError(f"mix: expected a number in [0, 1]; got {mix}. The paper takes 0.5.")
    if jnp.ndim(frequencies) != 1:
        raise ValueError(
            f"frequencies: expected one for each class, shape (classes,); got shape {jnp.shape(frequencies)}. "
            "Count the labels, for example with jnp.bincount(labels, length=classes)."
        )
    shares = jnp.asarray(frequencies) / jnp.sum(jnp.asarray(frequencies))
    raw = 1 / ((1 - mix) * shares + mix / shares.shape[0])
    # A class that never occurs has no inverse frequency; its share, 0, keeps it out of the scale.
    return raw / jnp.sum(jnp.where(shares > 0, shares * raw, 0))


def kl_divergence(outputs: jax.Array, targets: jax.Array, *, weights: Any = None, mask: Any = None) -> jax.Array:
    """`KL(t || p) = sum_j t_j ln(t_j / p_j)` with `p = softmax(outputs)`, shape `(batch,)` (Kullback, Leibler 1951).

    Args:
      outputs: logits, or log-probabilities, which are their own logits, `(batch, ..., classes)`.
      targets: probabilities `(batch, ..., classes)`, or labels `(batch, ...)`.
      weights: see the module's description.
      mask: likewise.

    Returns:
      One loss per example, `(batch,)`.

    Raises:
      ValueError: shapes that do not fit.
    """

    def fn(logits: jax.Array, probabilities: jax.Array) -> jax.Array:
        log_p = jnp.where(probabilities == 0, 0, jax.nn.log_softmax(logits))  # 0 ln(0 / 0) = 0
        return optax.kl_divergence(log_p, probabilities)

    return _classified(fn, outputs, targets, weights, mask)


def perceptron(outputs: jax.Array, targets: jax.Array, *, weights: Any = None, mask: Any = None) -> jax.Array:
    """`max(0, -t f)`, shape `(batch,)`: zero where the sign is right (Rosenblatt 1958).

    At f = 0 the example counts as a mistake and the derivative is -t, so that gradient descent with rate 1 is the
    perceptron rule from the zero start, too; that of `optax.losses.perceptron_loss` is -t / 2 there.

    Args:
      outputs: scores f, `(batch, ...)`.
      targets: -1 or +1, in the shape of outputs.
      weights: see the module's description.
      mask: likewise.

    Returns:
      One loss per example, `(batch,)`.

    Raises:
      ValueError: targets of another shape.
    """
    if jnp.shape(targets) != jnp.shape(outputs) or not jnp.ndim(outputs):
        raise ValueError(
            f"targets: expected -1 or +1 in the shape of outputs, {jnp.shape(outputs)}; got {jnp.shape(targets)}. "
            "Of a label 0 or 1 make 2 * label - 1."
        )
    outputs = floating(outputs)
    if mask is not None:
        outputs, targets = (hidden(a, mask, jnp.shape(outputs)) for a in (outputs, targets))
    margins = outputs * targets
    return per_example(jnp.where(margins > 0, jnp.zeros_like(margins), -margins), weights, mask)


def hinge(
    outputs: jax.Array, targets: jax.Array, *, margin: float = 1.0, weights: Any = None, mask: Any = None
) -> jax.Array:
    """Multi-class hinge `sum_{j != y} max(0, f_j - f_y + margin)`, shape `(batch,)` (Weston and Watkins 1999).

    Targets t that are no single class weigh both parts: `sum_j (1 - t_j) max(0, f_j - sum_k t_k f_k + margin)`.
    The maximum form of Crammer and Singer is `optax.losses.multiclass_hinge_loss`, the binary one `optax.hinge_loss`.

    Args:
      outputs: scores f, `(batch, ..., classes)`.
      targets: labels `(batch, ...)` or probabilities `(batch, ..., classes)`.
      margin: by which the right class has to win.
      weights: see the module's description.
      mask: likewise.

    Returns:
      One loss per example, `(batch,)`.

    Raises:
      ValueError: shapes that do not fit.
    """
    return _classified(lambda f, t: _violations(f, t, margin).sum(-1), outputs, targets, weights, mask)


def squared_hinge(
    outputs: jax.Array, targets: jax.Array, *, margin: float = 1.0, weights: Any = None, mask: Any = None
) -> jax.Array:
    """`sum_{j != y} max(0, f_j - f_y + margin)^2`, shape `(batch,)`.

    Args:
      outputs: scores f, `(batch, ..., classes)`.
      targets: labels `(batch, ...)` or probabilities `(batch, ..., classes)`.
      margin: by which the right class has to win.
      weights: see the module's description.
      mask: likewise.

    Returns:
      One loss per example, `(batch,)`.

    Raises:
      ValueError: shapes that do not fit.
    """
    return _classified(lambda f, t: jnp.square(_violations(f, t, margin)).sum(-1), outputs, targets, weights, mask)


def _violations(outputs: jax.Array, one_hot: jax.Array, margin: float) -> jax.Array:
    # Chosen before the sum, because a class that minus infinity excludes would make it NaN.
    own_score = jnp.sum(jnp.where(one_hot == 0, 0, outputs * one_hot), -1, keepdims=True)
    return jax.nn.relu(outputs - own_score + margin) * (1.0 - one_hot)


def _check_smoothing(label_smoothing: Any) -> bool:
    """Whether there is any; a traced number may be 0 or not."""
    if isinstance(label_smoothing, Tracer):
        return True
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing: expected a number in [0, 1]; got {label_smoothing}. 0.1 is common.")
    return bool(label_smoothing)


def _classified(
    fn: Callable[[jax.Array, jax.Array], jax.Array], outputs: Any, targets: Any, weights: Any, mask: Any
) -> jax.Array:
    """`fn(logits, probabilities)` gives a value for each position, `(batch, ...)`; the result is `(batch,)`."""
    outputs = floating(outputs)
    positions = outputs.shape[:-1]
    if mask is not None and jnp.shape(targets)[: len(positions)] == positions:
        outputs, targets = hidden(outputs, mask, positions), hidden(targets, mask, positions)
    return per_example(fn(*_class_targets(outputs, targets)), weights, mask)


def _class_targets(outputs: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    shape = jnp.shape(outputs)
    if len(shape) >= 2 and jnp.shape(targets) == shape:
        return outputs, floating(targets)
    is_label = jnp.issubdtype(jnp.result_type(targets), jnp.integer)
    if len(shape) >= 2 and jnp.shape(targets) == shape[:-1] and is_label:
        one_hot = jax.nn.one_hot(targets, shape[-1], dtype=jnp.result_type(outputs))
        # A traced program cannot raise; a label that is no class must not count as an example without loss.
        in_range = (jnp.asarray(targets) >= 0) & (jnp.asarray(targets) < shape[-1])
        return outputs, jnp.where(in_range[..., None], one_hot, jnp.nan)
    raise ValueError(
        f"targets: expected integer labels of shape {shape[:-1]} or probabilities of shape {shape} for outputs "
        f"(logits, the classes last) of shape {shape}; got shape {jnp.shape(targets)} of {jnp.result_type(targets)}. "
        "Give every example one label or one row of probabilities, and the outputs an axis of classes."
    )
