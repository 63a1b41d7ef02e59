"""Deep linear networks on the principal components of images, trained by gradient descent on all of them at once.

The cost of a linear map K on centred inputs x of covariance L (diagonal in their principal components) and targets t
is `1/2 tr (K - B)^T L (K - B)` above that of the least-squares map B: all images enter through L and B alone, and a
step of gradient descent on the whole training set costs that of one on as many examples as there are classes.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxdl import initializers, training
from jaxdl.data import Examples

STARTS: dict[str, Callable[..., jax.Array]] = {
    "Gaussian": initializers.lecun_normal(),
    "orthogonal": initializers.orthogonal(),
}


class Task(NamedTuple):
    """Least squares on principal components.

    Attributes:
      deviations: `(inputs,)`, of the components, their mean square 1.
      target: `(classes, inputs)`, the least-squares map's outputs for components of unit variance, `B^T sqrt(L)`.
    """

    deviations: np.ndarray
    target: np.ndarray

    @property
    def zero(self) -> float:
        """The cost of the map that is 0, above the least-squares map's."""
        return 0.5 * float(np.square(self.target).sum())


def task(examples: Examples, inputs: int) -> Task:
    """Images as their first principal components, one-hot targets; both centred, so that no layer needs a bias."""
    x = np.asarray(examples.x, np.float64).reshape(len(examples.x), -1)
    t = np.eye(10)[examples.y]
    x, t = x - x.mean(0), t - t.mean(0)
    variances, directions = np.linalg.eigh(x.T @ x / len(x))
    variances, directions = variances[::-1][:inputs], directions[:, ::-1][:, :inputs]
    covariance = directions.T @ (x.T @ t) / len(x)
    return Task(np.sqrt(variances / variances.mean()), (covariance / np.sqrt(variances)[:, None]).T)


def objective(problem: Task) -> training.Objective:
    """The cost above the least-squares map's, as a mean over the classes; a batch has their unit vectors and targets.

    `column k of K = W_1 ... W_L e_k`: from the outputs' side a network has ten examples only.
    """
    deviations = jnp.asarray(problem.deviations, jnp.float32)

    def losses(params: Any, batch: Any, *, model_state: Any, key: Any, train: bool) -> Any:
        columns, target = batch
        for kernel in reversed(params):
            columns = columns @ kernel.T
        errors = columns * deviations[None, :] - target
        return 0.5 * len(problem.target) * jnp.square(errors).sum(1), training.Aux(model_state, {})

    return losses


def kernels(
    init: Callable[..., jax.Array], key: jax.Array, problem: Task, *, width: int, depth: int
) -> list[jax.Array]:
    """`depth` kernels: inputs, `depth - 1` hidden layers of this width, classes."""
    classes, inputs = problem.target.shape
    sizes = (inputs, *(width,) * (depth - 1), classes)
    keys = jax.random.split(key, depth)
    return [init(k, shape) for k, shape in zip(keys, itertools.pairwise(sizes), strict=True)]


def costs(
    problem: Task, *, width: int, depth: int, factors: Sequence[float], seeds: int, steps: int
) -> dict[str, np.ndarray]:
    """Cost over the zero map's before every update, `{start: (rates, seeds, steps)}`; rates are factor / depth."""
    measured = objective(problem)
    classes = len(problem.target)
    data = (np.eye(classes, dtype=np.float32), problem.target.astype(np.float32))

    def make_step(learning_rate: Any) -> training.TrainStep:
        return training.make_train_step(measured, optax.sgd(learning_rate))

    found = {}
    for name, draw in STARTS.items():

        def init(key: jax.Array, learning_rate: Any, draw: Any = draw) -> training.TrainState:
            params = kernels(draw, key, problem, width=width, depth=depth)
            return training.make_state(params, optax.sgd(learning_rate), key=key)

        runs = training.run_many(
            make_step, init, data, seeds=range(seeds), steps=steps, batch_size=classes, shuffle=False, mode="vmap",
            hyperparameters={"learning_rate": [factor / depth for factor in factors]}, progress=False,
        )  # fmt: skip
        found[name] = runs.history.train["loss"].reshape(len(factors), seeds, steps) / problem.zero
    return found


class Times(NamedTuple):
    """Of every seed at its fastest rate: updates until the cost is small enough, and that rate's number, or -1."""

    updates: np.ndarray
    best: np.ndarray


def times(costs: np.ndarray, level: float) -> Times:
    """From costs `(rates, seeds, steps)`; a run that does not get there counts as one of all steps."""
    small = costs <= level
    first = np.where(small.any(-1), small.argmax(-1), costs.shape[-1])
    return Times(first.min(0), np.where(small.any((0, 2)), first.argmin(0), -1))
