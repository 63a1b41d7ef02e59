"""Losses: one value for each example and the gradients, for labels, probabilities, images of logits, extreme logits."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import losses
from tests.peers.pull_back import by_jax, by_keras, by_torch, draws

pytestmark = pytest.mark.peers

CLASSES = 7
LOGITS = {
    "ordinary": draws(5, CLASSES, scale=2),
    "large": draws(5, CLASSES, scale=1000),
    "small": draws(3, CLASSES, scale=1e-4),
    "images": draws(2, 3, 5, CLASSES),
}
each_logits = pytest.mark.parametrize("logits", list(LOGITS.values()), ids=list(LOGITS))
CLASSES_FIRST = "classes at axis 1"


def labels_of(logits):
    return np.random.RandomState(3).randint(0, CLASSES, logits.shape[:-1])


def probabilities_of(logits):
    raw = np.random.RandomState(4).rand(*logits.shape) ** 3
    return (raw / raw.sum(-1, keepdims=True)).astype(np.float32)


def summed(values):
    """Over the positions of each example."""
    return values.reshape(values.shape[0], -1).sum(-1)


def torch_cross_entropy(torch, targets, **options):
    """PyTorch's, with the classes at axis 1 and the sum over the positions of each example."""
    fn = torch.nn.functional.cross_entropy
    if targets.ndim > 1 and targets.dtype.kind == "f":
        targets = np.moveaxis(targets, -1, 1)
    return lambda f: summed(fn(f.movedim(-1, 1), torch.tensor(targets), reduction="none", **options))


@each_logits
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["labels", "probabilities"])
def test_softmax_cross_entropy(torch, keras, all_agree, logits, kind, smoothing):
    targets = labels_of(logits) if kind == "labels" else probabilities_of(logits)
    ours = by_jax(lambda f: losses.softmax_cross_entropy(f, jnp.asarray(targets), label_smoothing=smoothing), logits)
    remark = f"{kind}, label smoothing {smoothing}" if smoothing else kind
    theirs = by_torch(torch, torch_cross_entropy(torch, targets, label_smoothing=smoothing), logits)
    all_agree("losses.softmax_cross_entropy", "torch", ("logits",), ours, theirs, remark=f"{remark}; {CLASSES_FIRST}")

    soft = np.eye(CLASSES, dtype=np.float32)[targets] if kind == "labels" else targets
    loss = keras.losses.categorical_crossentropy
    theirs = by_keras(lambda f: summed(loss(soft, f, from_logits=True, label_smoothing=smoothing)), logits)
    all_agree("losses.softmax_cross_entropy", "keras", ("logits",), ours, theirs, remark=f"{remark}; from_logits")


def test_softmax_cross_entropy_with_an_excluded_class(torch, all_agree):
    logits, labels = np.where(np.arange(CLASSES) == 2, -np.inf, draws(5, CLASSES)).astype(np.float32), np.arange(5) % 2
    ours = by_jax(lambda f: losses.softmax_cross_entropy(f, jnp.asarray(labels)), logits)
    theirs = by_torch(torch, torch_cross_entropy(torch, labels), logits)
    remark = "a logit of minus infinity"
    all_agree("losses.softmax_cross_entropy", "torch", ("logits",), ours, theirs, remark=remark)


@each_logits
def test_class_weights(torch, all_agree, logits):
    weights, labels, soft = np.linspace(0.2, 3, CLASSES).astype(np.float32), labels_of(logits), probabilities_of(logits)
    ours = by_jax(lambda f: losses.weighted_cross_entropy(f, jnp.asarray(labels), jnp.asarray(weights)), logits)
    theirs = by_torch(torch, torch_cross_entropy(torch, labels, weight=torch.tensor(weights)), logits)
    remark = f"labels; {CLASSES_FIRST}"
    all_agree("losses.weighted_cross_entropy", "torch", ("logits",), ours, theirs, remark=remark)

    ours = by_jax(lambda f: losses.weighted_cross_entropy(f, jnp.asarray(soft), jnp.asarray(weights)), logits)
    own = torch.tensor(weights[soft.argmax(-1)])
    cross_entropy = torch.nn.functional.cross_entropy
    probabilities = torch.tensor(np.moveaxis(soft, -1, 1))
    theirs = by_torch(
        torch, lambda f: summed(own * cross_entropy(f.movedim(-1, 1), probabilities, reduction="none")), logits
    )
    remark = "probabilities: one weight, of the largest; PyTorch's own weight= has one for each term"
    all_agree("losses.weighted_cross_entropy", "torch", ("logits",), ours, theirs, remark=remark)


def test_weights_of_examples(keras, all_agree):
    logits = LOGITS["ordinary"]
    labels, weights = labels_of(logits), np.array([0, 1, 0.5, 2, 1], np.float32)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)
    theirs = by_keras(lambda f: loss(labels, f, sample_weight=weights), logits)
    ours = by_jax(lambda f: losses.softmax_cross_entropy(f, jnp.asarray(labels), weights=jnp.asarray(weights)), logits)
    remark = "weights= is sample_weight"
    all_agree("losses.softmax_cross_entropy", "keras", ("logits",), ours, theirs, remark=remark)


@each_logits
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_sigmoid_cross_entropy(torch, keras, all_agree, logits, smoothing):
    targets = probabilities_of(logits)
    ours = by_jax(lambda f: losses.sigmoid_cross_entropy(f, jnp.asarray(targets), label_smoothing=smoothing), logits)
    binary = torch.nn.functional.binary_cross_entropy_with_logits
    smooth = torch.tensor((1 - smoothing) * targets + smoothing / 2)
    theirs = by_torch(torch, lambda f: summed(binary(f, smooth, reduction="none")), logits)
    remark = f"label smoothing {smoothing}, done by hand" if smoothing else ""
    all_agree("losses.sigmoid_cross_entropy", "torch", ("logits",), ours, theirs, remark=remark)

    loss = keras.losses.binary_crossentropy
    theirs = by_keras(lambda f: CLASSES * summed(loss(targets, f, from_logits=True, label_smoothing=smoothing)), logits)
    remark = f"label smoothing {smoothing}; " * bool(smoothing) + "the mean over classes times their number"
    all_agree("losses.sigmoid_cross_entropy", "keras", ("logits",), ours, theirs, remark=remark)


@pytest.mark.parametrize("name", ["hinge", "squared_hinge"])
@pytest.mark.parametrize("margin", [1.0, 0.25])
@pytest.mark.parametrize("inputs", ["ordinary", "large", "small"])
def test_multi_class_hinge(torch, all_agree, name, margin, inputs):
    logits = LOGITS[inputs]
    labels = labels_of(logits)
    ours = by_jax(lambda f: getattr(losses, name)(f, jnp.asarray(labels), margin=margin), logits)
    loss, power = torch.nn.functional.multi_margin_loss, {"hinge": 1, "squared_hinge": 2}[name]
    theirs = by_torch(
        torch,
        lambda f: CLASSES * loss(f, torch.tensor(labels), p=power, margin=margin, reduction="none"),
        logits,
    )
    remark = "PyTorch divides by the classes; times their number"
    all_agree(f"losses.{name}", "torch", ("logits",), ours, theirs, remark=remark)


OUTPUTS = {"ordinary": draws(5, 7), "large": draws(3, 5, scale=1e4), "small": draws(3, 1, scale=1e-4)}
OUTPUTS["images"] = draws(2, 3, 5, 2)
each_outputs = pytest.mark.parametrize("outputs", list(OUTPUTS.values()), ids=list(OUTPUTS))


@each_outputs
def test_differences_of_outputs_and_targets(torch, keras, all_agree, outputs):
    functional = torch.nn.functional
    targets = (outputs + draws(*outputs.shape, seed=1)).astype(np.float32)
    targets[0] = outputs[0]  # a tie, where the derivative is 0
    number = targets[0].size
    names = ("outputs", "targets")
    for name, theirs, remark in (
        ("squared_error", lambda f, t: summed(functional.mse_loss(f, t, reduction="none")), ""),
        ("quadratic_cost", lambda f, t: summed(functional.mse_loss(f, t, reduction="none")) / 2, "half of mse_loss"),
        ("mean_squared_error", lambda f, t: summed(functional.mse_loss(f, t, reduction="none")) / number, ""),
        ("absolute_error", lambda f, t: summed(functional.l1_loss(f, t, reduction="none")), "with ties"),
        ("hint", lambda f, t: summed(functional.mse_loss(f, t.detach(), reduction="none")) / 2, "targets detached"),
    ):
        ours = by_jax(getattr(losses, name), outputs, targets)
        arguments = names[:1] if name == "hint" else names
        if name == "hint":
            assert not np.any(ours.pop())
            pulled = by_torch(torch, lambda f, theirs=theirs: theirs(f, torch.tensor(targets)), outputs)
        else:
            pulled = by_torch(torch, theirs, outputs, targets)
        all_agree(f"losses.{name}", "torch", arguments, ours, pulled, remark=remark)

    flat = lambda a: a.reshape(len(a), -1)  # noqa: E731
    for name, loss, factor in (
        ("mean_squared_error", keras.losses.mean_squared_error, 1),
        ("absolute_error", keras.losses.mean_absolute_error, number),
    ):
        away = outputs[1:], targets[1:]  # Keras's derivative at a tie is jax.numpy's, 1
        ours = by_jax(getattr(losses, name), *away)
        theirs = by_keras(lambda f, t, loss=loss, factor=factor: factor * loss(flat(t), flat(f)), *away)
        remark = "the mean over outputs" + " times their number, without ties" * (factor > 1)
        all_agree(f"losses.{name}", "keras", names, ours, theirs, remark=remark)


@pytest.mark.parametrize("size", [1.0, 1e4, 1e-3])
def test_cosine_proximity(torch, keras, all_agree, size):
    f, t = draws(5, 9, scale=size), draws(5, 9, seed=1)
    theirs = by_keras(keras.losses.cosine_similarity, t, f)
    theirs = [theirs[0], theirs[2], theirs[1]]
    remark = "takes the targets first; its gradient at the zero vector is NaN, left out"
    ours, arguments = by_jax(losses.cosine_proximity, f, t), ("outputs", "targets")
    all_agree("losses.cosine_proximity", "keras", arguments, ours, theirs, remark=remark)

    f[0] = 0
    cosine = torch.nn.functional.cosine_similarity
    theirs = by_torch(torch, lambda f, t: -cosine(f, t, dim=-1, eps=1e-6), f, t)
    remark = "eps=1e-6, the floor of a norm; epsilon=1e-12 here, that of its square; the zero vector among them"
    all_agree("losses.cosine_proximity", "torch", arguments, by_jax(losses.cosine_proximity, f, t), theirs,
              remark=remark)  # fmt: skip


def test_cosine_proximity_of_vectors_below_the_floor(torch, all_agree):
    f, t = draws(5, 9, scale=1e-7), draws(5, 9, seed=1)
    normalize = torch.nn.functional.normalize
    theirs = by_torch(torch, lambda f, t: -(normalize(f, dim=-1, eps=1e-6) * normalize(t, dim=-1)).sum(-1), f, t)
    remark = "norms below the floor: by normalize, for cosine_similarity does not differentiate its own floor"
    ours = by_jax(losses.cosine_proximity, f, t)
    all_agree("losses.cosine_proximity", "torch", ("outputs", "targets"), ours, theirs, remark=remark)


@each_logits
def test_kl_divergence(torch, keras, all_agree, logits):
    functional, targets = torch.nn.functional, probabilities_of(logits)
    with_zeros = np.where(np.arange(CLASSES) == 1, 0, targets)
    for target, remark in ((targets, ""), (with_zeros, "; a target of 0")):
        ours = by_jax(lambda f, t=target: losses.kl_divergence(f, jnp.asarray(t)), logits)
        theirs = by_torch(
            torch,
            lambda f, t=target: summed(functional.kl_div(f.log_softmax(-1), torch.tensor(t), reduction="none")),
            logits,
        )
        remark = "kl_div(log p, t)" + remark
        all_agree("losses.kl_divergence", "torch", ("logits",), ours, theirs, remark=remark)
    if np.abs(logits).max() < 100:
        ours = by_jax(lambda f: losses.kl_divergence(f, jnp.asarray(targets)), logits)
        theirs = by_keras(lambda f: summed(keras.losses.kl_divergence(targets, keras.activations.softmax(f))), logits)
        remark = "takes probabilities, clipped at 1e-7; moderate logits"
        all_agree("losses.kl_divergence", "keras", ("logits",), ours, theirs, remark=remark)


@each_outputs
def test_gaussian_negative_log_likelihood(torch, all_agree, outputs):
    targets, log_precision = outputs + draws(*outputs.shape, seed=1), draws(*outputs.shape, seed=2)
    nll = torch.nn.functional.gaussian_nll_loss

    def theirs(y, log_beta, t):
        return summed(nll(y, t, torch.exp(-log_beta), full=True, reduction="none"))

    ours = by_jax(lambda y, log_beta, t: losses.gaussian_nll((y, log_beta), t), outputs, log_precision, targets)
    all_agree(
        "losses.gaussian_nll", "torch", ("means", "log_precision", "targets"), ours,
        by_torch(torch, theirs, outputs, log_precision, targets),
        remark="full=True, variance exp(-log_precision)",
    )  # fmt: skip


@each_logits
def test_distillation(torch, all_agree, logits):
    labels, teacher, tau = labels_of(logits), draws(*logits.shape, seed=5), 3.0
    hard = torch_cross_entropy(torch, labels)
    soft_targets = (torch.tensor(teacher) / tau).softmax(-1).numpy()
    soft = torch_cross_entropy(torch, soft_targets)
    theirs = by_torch(torch, lambda f: hard(f) + 0.5 * tau**2 * soft(f / tau), logits)
    ours = by_jax(
        lambda f: losses.distillation(
            f, jnp.asarray(labels), jnp.asarray(teacher), temperature=tau, strength=0.5, temperature_squared=True
        ),
        logits,
    )
    remark = "two cross_entropy, T=3"
    all_agree("losses.distillation", "torch", ("logits",), ours, theirs, remark=remark)
