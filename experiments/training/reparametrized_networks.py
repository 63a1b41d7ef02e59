"""Weight and cosine normalization: what is checked without training, and the networks that are trained."""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

import jaxdl
from experiments.training.normalized_networks import NormalizedMLP
from jaxdl import layers, training

NUM_CLASSES, LOGIT = 10, 10.0
WEIGHT, COSINE = "weight norm", "cosine"
CAP = float(np.e / (np.e + (NUM_CLASSES - 1) / np.e))  # of a softmax over cosines


class CosineOutput(nn.Module):
    """One hidden layer of 100 ReLU below an output layer of cosines, each times a learned factor or not."""

    use_scale: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits `(batch, 10)` of images."""
        x = nn.relu(nn.Dense(100)(x.reshape(x.shape[0], -1)))
        return layers.CosineDense(NUM_CLASSES, use_scale=self.use_scale, scale_init=nn.initializers.constant(LOGIT))(x)


class Effective(NamedTuple):
    """Of every weight-normalized layer, the lowest first: v, g and b."""

    directions: list[np.ndarray]
    scales: list[np.ndarray]
    biases: list[np.ndarray]


def parts(params: Any) -> Effective:
    """v `(in, out)`, g and b `(out,)` of the hidden layers of `NormalizedMLP("weight norm")`."""
    hidden = [f"Dense_{i}" for i in range(len(params) - 1) if f"WeightNorm_{i}" in params]
    scales = [np.asarray(jax.tree.leaves(params[name.replace("Dense", "WeightNorm")])[0]) for name in hidden]
    kernels, biases = ([np.asarray(params[name][leaf]) for name in hidden] for leaf in ("kernel", "bias"))
    return Effective(kernels, scales, biases)


def weight_norm_network() -> NormalizedMLP:
    """Two hidden layers of 100 ReLU with weight normalization, and ten logits."""
    return NormalizedMLP(WEIGHT, num_steps=1)


def first_pre_activations(params: Any, x: np.ndarray) -> list[np.ndarray]:
    """`g (x v / |v|) + b` of every hidden layer by NumPy in float64, `(batch, units)` each."""
    found, a = [], x.reshape(len(x), -1).astype(np.float64)
    for v, g, b in zip(*parts(params), strict=True):
        found.append(a @ (v.astype(np.float64) / np.linalg.norm(v.astype(np.float64), axis=0)) * g + b)
        a = np.maximum(found[-1], 0)
    return found


def identity_errors(params: Any, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """How far automatic gradients are from `dg = dw . v / |v|` and `dv = g / |v| dw - g dg / |v|^2 v`, relative.

    dw is the gradient of the plain network whose kernels are g v / |v|. `dot` is the cosine of dv and v, which is 0.
    """
    model, plain = weight_norm_network(), jaxdl.models.MLP((100, 100, NUM_CLASSES))
    v, g, b = parts(params)
    ours = jax.grad(_loss(model, train=False))(params, x, y)
    kernels = [one * (scale / np.linalg.norm(one, axis=0)) for one, scale in zip(v, g, strict=True)]
    straight = {f"Dense_{i}": {"kernel": k, "bias": bias} for i, (k, bias) in enumerate(zip(kernels, b, strict=True))}
    straight[f"Dense_{len(v)}"] = params[f"Dense_{len(v)}"]
    theirs = jax.grad(_loss(plain))(straight, x, y)
    dv, dg, _ = parts(ours)
    errors = {"scale": 0.0, "direction": 0.0, "without projection": np.inf, "dot": 0.0}
    for i, (one, scale) in enumerate(zip(v, g, strict=True)):
        dw, norm = np.asarray(theirs[f"Dense_{i}"]["kernel"], np.float64), np.linalg.norm(one, axis=0)
        expected_g = (dw * one).sum(0) / norm
        expected_v = scale / norm * dw - scale * expected_g / norm**2 * one
        errors["scale"] = max(errors["scale"], _apart(dg[i], expected_g))
        errors["direction"] = max(errors["direction"], _apart(dv[i], expected_v))
        errors["without projection"] = min(errors["without projection"], _apart(dv[i], scale / norm * dw))
        dots = np.abs((dv[i].astype(np.float64) * one).sum(0)) / (np.linalg.norm(dv[i]) * np.linalg.norm(one))
        errors["dot"] = max(errors["dot"], float(dots.max()))
    return errors


def _apart(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def _loss(model: Any, **mode: Any) -> Any:
    def loss(params: Any, x: Any, y: Any) -> jax.Array:
        return jnp.mean(jaxdl.losses.softmax_cross_entropy(model.apply({"params": params}, x, **mode), y))

    return loss


class Curves(NamedTuple):
    """Of one arm: training loss by step `(seeds, steps)`, validation accuracy by epoch and test accuracy in percent."""

    rate: float
    loss: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def train(
    model: Any, splits: Any, *, rates: Any, seeds: Any, epochs: int, batch_size: int, start: np.ndarray | None = None
) -> list[Curves]:
    """All seeds at every rate as one program; test accuracy only for a single rate.

    Args:
      model: of an arm.
      splits: of the data.
      rates: of plain descent.
      seeds: of start and order.
      epochs, batch_size: of the training.
      start: images that weight normalization starts from, or None.
    """
    objective = training.supervised(
        model, jaxdl.losses.softmax_cross_entropy, metrics={"accuracy": jaxdl.losses.correct}
    )

    def make_step(rate: Any) -> training.TrainStep:
        return training.make_train_step(objective, optax.sgd(rate))

    def init(key: jax.Array, rate: Any) -> training.TrainState:
        state = training.init_state(model, optax.sgd(rate), splits.train.x[:1], key=key)
        if start is None:
            return state
        return replace(state, params=layers.start_weight_norm(model, {"params": state.params}, start)["params"])

    runs = training.run_many(
        make_step, init, splits.train, seeds=seeds, hyperparameters={"rate": rates}, epochs=epochs,
        batch_size=batch_size, validation=splits.validation, mode="vmap", progress=False,
    )  # fmt: skip
    count, found = len(list(seeds)), []
    for i, rate in enumerate(rates):
        rows = slice(i * count, (i + 1) * count)
        test = [
            training.evaluate(objective, training.member(runs.states, j), splits.test)["accuracy"]
            for j in range(count)
            if len(rates) == 1
        ]
        accuracy = 100 * np.asarray(runs.history.validation["accuracy"])[rows]
        found.append(Curves(rate, np.asarray(runs.history.train["loss"])[rows], accuracy, 100 * np.array(test)))
    return found
