"""Exact checks of what networks compute and how they are trained."""

import itertools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

import jaxdl
from experiments.building_blocks.propagation import double_precision
from experiments.theory.backpropagation import finite_differences, manual_backprop
from experiments.theory.exact_table import Check, each, relative
from experiments.theory.linear_stacks import collapsed
from jaxdl import optimizers, training

INPUTS, SIZES, EXAMPLES, DRAWN = 6, (5, 4), 6, 3
STEPS, PIXELS, CLASSES = 100, 25, 3


def stacked(seed: int, *, activation: Any) -> float:
    """T05: outputs of a network against those of the one affine map of its kernels and biases."""
    model = jaxdl.models.MLP((9, 7, 5), activation=activation, bias_init=jaxdl.initializers.normal(1.0))
    x = jax.random.normal(jax.random.key(1000 + seed), (50, INPUTS))
    params: Any = model.init(jax.random.key(seed), x)["params"]
    kernel, bias = collapsed(params)
    return relative(model.apply({"params": params}, x), x @ kernel + bias[None, :])


def back_propagation(seed: int, *, against: str, activation: Any) -> float:
    """T06, T10: BP1 to BP4 against automatic or central differences."""
    with double_precision():
        draws = np.random.RandomState(seed)
        layers = [
            {"kernel": jnp.asarray(draws.randn(n, m)), "bias": jnp.asarray(draws.randn(m))}
            for n, m in itertools.pairwise((INPUTS, *SIZES))
        ]
        x, labels = jnp.asarray(draws.randn(EXAMPLES, INPUTS)), jnp.asarray(draws.randint(0, SIZES[-1], EXAMPLES))
        vector, unravel = ravel_pytree(layers)

        def loss(vector: jax.Array) -> jax.Array:
            first, last = unravel(vector)
            logits = activation(x @ first["kernel"] + first["bias"][None]) @ last["kernel"] + last["bias"][None]
            return jnp.mean(jaxdl.losses.softmax_cross_entropy(logits, labels))

        theirs = jax.grad(loss)(vector) if against == "grad" else finite_differences(loss, vector, step=1e-5)
        return relative(ravel_pytree(manual_backprop(layers, x, labels, activation=activation))[0], theirs)


def _problem(seed: int) -> tuple[Any, Any, Any]:
    """Losses of a small network, its parameters, and some examples."""
    model, draws = jaxdl.models.MLP(SIZES, activation=jnp.tanh), np.random.RandomState(seed)
    x = jnp.asarray(draws.randn(EXAMPLES, INPUTS), jnp.float32)
    labels = jnp.asarray(draws.randint(0, SIZES[-1], EXAMPLES))
    params = model.init(jax.random.key(seed), x)["params"]

    def losses(params: Any, batch: Any) -> jax.Array:
        logits: Any = model.apply({"params": params}, batch[0])
        return jaxdl.losses.softmax_cross_entropy(logits, batch[1])

    return losses, params, (x, labels)


def mean_of_examples(seed: int) -> float:
    """T08: the mean of the gradients of the examples against the gradient of the mean."""
    losses, params, batch = _problem(seed)
    single = jaxdl.diagnostics.per_example_gradients(losses, params, batch)
    whole = jax.grad(lambda p: jnp.mean(losses(p, batch)))(params)
    return relative(ravel_pytree(jax.tree.map(lambda leaf: leaf.mean(0), single))[0], ravel_pytree(whole)[0])


def all_batches(seed: int, *, factor: float) -> float:
    """T09: `factor` times the sum over a batch, averaged over all batches, against the sum over all examples."""
    losses, params, (x, labels) = _problem(seed)
    rows = jnp.array(list(itertools.combinations(range(EXAMPLES), DRAWN)))
    summed = jax.grad(lambda p, x, y: jnp.sum(losses(p, (x, y))))
    parts = jax.vmap(summed, (None, 0, 0))(params, x[rows], labels[rows])
    mean = jax.tree.map(lambda leaf: factor * leaf.mean(0), parts)
    return relative(ravel_pytree(mean)[0], ravel_pytree(summed(params, x, labels))[0])


def permuted(seeds: int, *, tx: optax.GradientTransformation, coupled: bool = True) -> np.ndarray:
    """T27: losses of 100 steps on permuted pixels, from W'_0 = W_0 R^T, against those on the pixels as they were."""
    draws = np.random.RandomState(0)
    x = jnp.asarray(draws.rand(60, 5, 5, 1), jnp.float32)
    labels = jnp.asarray(np.argmax(draws.randn(60, CLASSES) + 3 * np.asarray(x)[:, :CLASSES, 0, 0], 1), jnp.int32)
    turned, order = jaxdl.data.permute_pixels(jax.random.key(1), x)
    model = jaxdl.models.MLP((10, CLASSES))
    step = training.make_train_step(training.supervised(model, jaxdl.losses.softmax_cross_entropy), tx)

    def losses(x: jax.Array, order: Any) -> np.ndarray:
        def init(key: jax.Array) -> training.TrainState:
            params: Any = model.init(key, x[:1])["params"]
            first = {**params["Dense_0"], "kernel": params["Dense_0"]["kernel"][order]}
            return training.make_state({**params, "Dense_0": first}, tx, key=key)

        runs = training.run_many(
            step, init, (x, labels), seeds=range(seeds), steps=STEPS, batch_size=20, mode="vmap", progress=False
        )
        return runs.history.train["loss"]

    same = jnp.arange(PIXELS)
    return np.abs(losses(turned, order if coupled else same) - losses(x, same)).max(1)


def symmetric(seeds: int, *, broken: float) -> np.ndarray:
    """T29: the largest difference between hidden units after 100 steps, from kernels of one value each."""
    draws = np.random.RandomState(0)
    data = (
        jnp.asarray(draws.randn(40, INPUTS), jnp.float32),
        jnp.asarray(draws.randint(0, CLASSES, 40), jnp.int32),
    )
    model, tx = jaxdl.models.MLP((4, CLASSES), activation=jnp.tanh), optimizers.gradient_descent(0.3)
    step = training.make_train_step(training.supervised(model, jaxdl.losses.softmax_cross_entropy), tx)

    def init(key: jax.Array) -> training.TrainState:
        params = model.init(key, data[0][:1])["params"]
        values = jax.random.normal(key, (4,))
        alike = [jnp.full(leaf.shape, value) for leaf, value in zip(jax.tree.leaves(params), values, strict=True)]
        start: Any = jax.tree.unflatten(jax.tree.structure(params), alike)
        kernel = start["Dense_0"]["kernel"].at[0, 0].add(broken)
        return training.make_state({**start, "Dense_0": {**start["Dense_0"], "kernel": kernel}}, tx, key=key)

    runs = training.run_many(
        step, init, data, seeds=range(seeds), steps=STEPS, batch_size=20, mode="map", progress=False
    )
    kernel, last = (np.asarray(runs.states.params[f"Dense_{i}"]["kernel"]) for i in range(2))
    apart = np.abs(kernel - kernel[:, :, :1]).max((1, 2))
    return np.maximum(apart, np.abs(last - last[:, :1]).max((1, 2)))


def look_ahead(seed: int, *, tx: optax.GradientTransformation) -> float:
    """Z-15: iterates on a quadratic against theta - gamma v of the lecture's formula, by NumPy."""
    draws = np.random.RandomState(seed)
    root = draws.randn(5, 5)
    matrix, theta, v = root @ root.T / 5 + np.eye(5), draws.randn(5), np.zeros(5)
    params: Any = jnp.asarray(theta, jnp.float32)
    state, apart = tx.init(params), 0.0
    for _ in range(30):
        updates, state = tx.update(jnp.asarray(matrix, jnp.float32) @ params, state, params)
        params = optax.apply_updates(params, updates)
        v = GAMMA * v + ETA * matrix @ (theta - GAMMA * v)
        theta = theta - v
        apart = max(apart, float(np.abs(np.asarray(params) - (theta - GAMMA * v)).max()))
    return apart


ETA, GAMMA = 0.05, 0.9
_LOSSES = "difference of a loss over 100 steps"


def checks() -> list[Check]:
    """The lines of this part."""
    identity, tanh, sigmoid = jaxdl.activations.identity, jnp.tanh, jax.nn.sigmoid
    of_outputs = "largest difference over the largest output"
    of_gradient = "largest difference over the largest entry of the gradient"
    return [
        Check("stacked linear layers are one affine map", each(partial(stacked, activation=identity)), 1e-5,
              of_outputs, "W' = W3 W2 W1"),
        Check("negative control, the rule must fail: tanh between the layers", each(partial(stacked, activation=tanh)),
              1e-5, of_outputs, control=True),
        Check("BP1 to BP4 give what automatic differentiation gives",
              each(partial(back_propagation, against="grad", activation=sigmoid)), 1e-5, of_gradient, "Nielsen 2015"),
        Check("and what central differences give, in float64",
              each(partial(back_propagation, against="differences", activation=sigmoid)), 1e-6, of_gradient),
        Check("the mean of vmap(grad) is the gradient of the batch", each(mean_of_examples), 1e-5, of_gradient),
        Check("n/m times the gradient of a batch, averaged over all C(n, m) batches, is the full gradient",
              each(partial(all_batches, factor=EXAMPLES / DRAWN)), 1e-5, of_gradient, "T09"),
        Check("negative control, the rule must fail: without the factor n/m", each(partial(all_batches, factor=1.0)),
              1e-5, of_gradient, control=True),
        *(
            Check(f"permuted pixels with W'_0 = W_0 R^T train alike ({name})", partial(permuted, tx=tx), 1e-4, _LOSSES)
            for name, tx in {
                "SGD": optimizers.gradient_descent(0.1),
                "momentum": optimizers.momentum(0.05, momentum=0.9),
                "Adam": optimizers.adam(1e-2),
            }.items()
        ),
        Check("negative control, the rule must fail: pixels are permuted, the start is not",
              partial(permuted, tx=optimizers.gradient_descent(0.1), coupled=False), 1e-4, _LOSSES, control=True),
        Check("units that start alike stay alike, to the bit", partial(symmetric, broken=0.0), 0.0,
              "largest difference between hidden units after 100 steps of SGD"),
        Check("negative control, the rule must fail: one weight starts 0.001 away", partial(symmetric, broken=1e-3),
              0.0, "largest difference between hidden units after 100 steps of SGD", control=True),
        Check("Nesterov's iterates are the lecture's look-ahead points theta - gamma v",
              each(partial(look_ahead, tx=optax.sgd(ETA, GAMMA, nesterov=True))), 1e-6, "difference over 30 steps"),
        Check("and so are those of jaxdl.optimizers.nesterov",
              each(partial(look_ahead, tx=optimizers.nesterov(ETA, momentum=GAMMA))), 1e-6, "difference over 30 steps"),
        Check("negative control, the rule must fail: plain momentum",
              each(partial(look_ahead, tx=optimizers.momentum(ETA, momentum=GAMMA))), 1e-6, "difference over 30 steps",
              control=True),
    ]  # fmt: skip
