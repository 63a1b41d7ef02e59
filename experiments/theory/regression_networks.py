"""Networks under Gaussian noise: how precise their predictions are, by one number or by one for each input."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

import jaxdl
from experiments.harness import rules
from experiments.harness.claims import Run
from jaxdl import losses, procedures, training
from jaxdl.data import toy
from jaxdl.models import MLP, MeanAndPrecision

PRECISION = 25.0
EXAMPLES, FEW, WIDTH, BATCH = 1000, 10, 50, 100
CONSTANT = MLP((WIDTH, WIDTH, 1), activation=nn.tanh)
VARYING = MeanAndPrecision((WIDTH, WIDTH))
GRID = np.linspace(-np.pi, np.pi, 201, dtype=np.float32)[:, None]

Noise = Callable[[jax.Array], jax.Array]


class Fitted(NamedTuple):
    """Both networks after training on the same data.

    Attributes:
      data: x and t, `(examples, 1)` each.
      mean, deviation: of the network with one precision, on the grid, `(points,)` and `()`.
      varying_mean, varying_deviation: of the one with a precision for each input, `(points,)`.
      gain: in log-likelihood of a held-out example by the varying precision, in nats.
    """

    data: tuple[jax.Array, jax.Array]
    mean: np.ndarray
    deviation: float
    varying_mean: np.ndarray
    varying_deviation: np.ndarray
    gain: float


def constant_noise(x: jax.Array) -> jax.Array:
    """Deviation 0.2 everywhere."""
    return jnp.full_like(x, PRECISION**-0.5)


def varying_noise(x: jax.Array) -> jax.Array:
    """Deviation from 0.1 at the ends to 0.4 in the middle."""
    return 0.1 + 0.15 * (1 + jnp.cos(x))


def draw(key: jax.Array, num_examples: int, noise: Noise) -> tuple[jax.Array, jax.Array]:
    """x uniform on (-pi, pi), t = sin x + noise(x) N(0, 1), `(examples, 1)` both."""
    x_key, noise_key = jax.random.split(key)
    x, t = toy.noisy_curve(x_key, num_examples=num_examples, precision=float("inf"))
    return x, t + noise(x) * jax.random.normal(noise_key, x.shape)


class Trainer:
    """Trains one network on data of one size; its programs are compiled once."""

    def __init__(self, model: Any, loss: Any, *, num_examples: int, steps: int):
        self.model = jaxdl.as_model(model)
        self.tx = optax.adam(optax.cosine_decay_schedule(0.01, steps))
        self.step = training.make_train_step(training.supervised(self.model, loss), self.tx)
        self.batch_size, self.steps = min(BATCH, num_examples), steps

    def __call__(self, key: jax.Array, data: tuple[jax.Array, jax.Array]) -> dict[str, Any]:
        """Variables after training from a start of its own."""
        state = training.init_state(self.model, self.tx, data[0][:1], key=key)
        state, _ = training.fit(
            self.step, state, data, steps=self.steps, batch_size=self.batch_size, progress=False
        )  # fmt: skip
        return {"params": state.params}


def judge_precision(run: Run) -> None:
    """X38: on held-out data the network's 1/beta_ML is the variance of the noise."""
    steps = run.settings["steps"]
    trainers = {n: Trainer(CONSTANT, losses.mean_squared_error, num_examples=n, steps=steps) for n in (EXAMPLES, FEW)}
    held_out, by_heart = [], []
    for seed in range(run.seeds):
        train_key, test_key, start_key = jax.random.split(jax.random.key(seed), 3)
        test = draw(test_key, EXAMPLES, constant_noise)
        for n, trainer in trainers.items():
            data = draw(train_key, n, constant_noise)
            variables = trainer(start_key, data)
            found = procedures.fit_precision(trainer.model, variables, *(test if n == EXAMPLES else data))
            (held_out if n == EXAMPLES else by_heart).append(PRECISION / float(found))
        run.record(quantity="noise_of_network", seed=seed, held_out=held_out[-1], own_few_examples=by_heart[-1])
    rule = "mean over seeds of 1/beta_ML over the true variance within 15 % of 1"
    run.find(
        f"a network trained on {EXAMPLES} examples: 1/beta_ML on {EXAMPLES} others is the variance of the noise",
        rule, rules.mean_within(held_out, 0.85, 1.15), published="within 15 %",
    )  # fmt: skip
    run.find(
        f"negative control, the rule must fail: 1/beta_ML of {FEW} examples on which the network itself was trained",
        "must fail: " + rule, rules.mean_within(by_heart, 0.85, 1.15), control=True,
        remark="what is learned by heart has no residual",
    )  # fmt: skip


def judge_varying(run: Run) -> Fitted:
    """A network of mean and precision where the noise depends on the input; returns what the first seed gave."""
    steps = run.settings["steps"]
    trainers = (
        Trainer(CONSTANT, losses.mean_squared_error, num_examples=EXAMPLES, steps=steps),
        Trainer(VARYING, losses.gaussian_nll, num_examples=EXAMPLES, steps=steps),
    )
    found = {
        noise: [fit_both(trainers, seed, noise) for seed in range(run.seeds)]
        for noise in (varying_noise, constant_noise)
    }
    true = np.asarray(varying_noise(jnp.asarray(GRID)))[:, 0]
    errors = [float(np.mean(np.abs(np.log(each.varying_deviation / true)))) for each in found[varying_noise]]
    constants = [float(np.mean(np.abs(np.log(each.deviation / true)))) for each in found[varying_noise]]
    for seed in range(run.seeds):
        run.record(
            quantity="varying_precision", seed=seed, log_error=errors[seed],
            log_error_constant=constants[seed], gain=found[varying_noise][seed].gain,
            gain_constant_noise=found[constant_noise][seed].gain,
        )  # fmt: skip
    rule = "mean over x of abs(ln(predicted / true deviation)): upper 95 % limit of the mean over seeds at most 0.2"
    run.find(
        "a network of mean and log precision finds how the deviation of the noise depends on x", rule,
        rules.at_most(errors, 0.2),
    )  # fmt: skip
    run.find(
        "negative control, the rule must fail: the network with one precision for all x", "must fail: " + rule,
        rules.at_most(constants, 0.2), control=True,
    )  # fmt: skip
    rule = "mean gain in log-likelihood of a held-out example: lower 95 % limit above 0.02 nats"
    run.find(
        "it makes held-out targets more likely than the network with one precision does", rule,
        rules.exceeds([each.gain for each in found[varying_noise]], 0.02, unit=" nats"),
    )  # fmt: skip
    run.find(
        "negative control, the rule must fail: the same where the noise does not depend on x", "must fail: " + rule,
        rules.exceeds([each.gain for each in found[constant_noise]], 0.02, unit=" nats"), control=True,
    )  # fmt: skip
    return found[varying_noise][0]


def fit_both(trainers: tuple[Trainer, Trainer], seed: int, noise: Noise) -> Fitted:
    """Trains both on one draw; the one precision is fitted to validation data, the gain measured on test data."""
    keys = jax.random.split(jax.random.key(seed), 5)
    data, validation, test = (draw(key, EXAMPLES, noise) for key in keys[:3])
    one, each = (trainer(key, data) for trainer, key in zip(trainers, keys[3:], strict=True))
    models = [trainer.model for trainer in trainers]
    precision = procedures.fit_precision(models[0], one, *validation)

    def outputs(x: Any) -> tuple[Any, Any]:
        return models[0].apply(one, x)[0], models[1].apply(each, x)[0]

    mean, pair = outputs(test[0])
    constant = losses.gaussian_nll(mean, test[1], log_precision=jnp.log(precision))
    gain = float(jnp.mean(constant - losses.gaussian_nll(pair, test[1])))
    mean, pair = outputs(GRID)
    varying_mean, log_precision = (np.asarray(array)[:, 0] for array in pair)
    return Fitted(
        data, np.asarray(mean)[:, 0], float(precision) ** -0.5, varying_mean, np.exp(-log_precision / 2), gain
    )
