"""Linear models under Gaussian noise: what training finds is the closed form; few points need the prior."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxdl
from experiments.harness import rules
from experiments.harness.claims import Run
from jaxdl import procedures
from jaxdl.data import toy

ALPHA, BETA = 3.0, 25.0
EXAMPLES, WEIGHTS = 50, 6
DEGREE, FEW, MANY = 9, 10, 300
# Of sin x around its best line 3/pi^2 x, x uniform on (-pi, pi): 1/2 - 3/pi^2.
MISFIT = 0.5 - 3 / np.pi**2
CLOSE = 1e-4
PRIORS, NOISES = np.logspace(-4, 2, 13), np.logspace(0, 3, 13)  # precisions tried for the largest evidence


class FewPoints(NamedTuple):
    """One data set of few points, and what is made of it.

    Attributes:
      x, t: `(examples,)`.
      likeliest: weights of maximum likelihood.
      posterior: of the weights, its two precisions those of the largest evidence.
    """

    x: jax.Array
    t: jax.Array
    likeliest: jax.Array
    posterior: procedures.LinearPosterior


def judge_closed_forms(run: Run) -> None:
    """X38: theta_ML, 1/beta_ML and MAP = ridge, by training and in closed form, against the normal equations."""
    draws = np.random.RandomState(0)
    design = draws.randn(EXAMPLES, WEIGHTS)
    targets = design @ draws.randn(WEIGHTS) + BETA**-0.5 * draws.randn(EXAMPLES)
    gram, moments = design.T @ design, design.T @ targets
    likeliest = np.linalg.solve(gram, moments)
    most_probable = np.linalg.solve(gram + ALPHA / BETA * np.eye(WEIGHTS), moments)
    noise = float(np.mean((targets - design @ likeliest) ** 2))

    fitted = procedures.linear_maximum_likelihood(jnp.asarray(design), jnp.asarray(targets))
    posterior = procedures.linear_posterior(
        jnp.asarray(design), jnp.asarray(targets), prior_precision=ALPHA, noise_precision=BETA
    )
    pairs = [
        (fitted.weights, likeliest), (1 / fitted.precision, noise), (posterior.mean, most_probable),
        (posterior.covariance, np.linalg.inv(ALPHA * np.eye(WEIGHTS) + BETA * gram)),
    ]  # fmt: skip
    run.find(
        "closed forms in float32: theta_ML, 1/beta_ML, the most probable theta and its covariance",
        f"largest deviation from the normal equations in float64, over the largest entry, at most {CLOSE:g}",
        rules.exact(max(_deviation(*pair) for pair in pairs), 0.0, CLOSE),
        published="E03f, E04 (closed forms)",
    )
    ends = {strength: _descended(run, design, targets, strength) for strength in (0.0, ALPHA / BETA, ALPHA)}
    worst = {
        strength: max(_deviation(row, likeliest if strength == 0 else most_probable) for row in rows)
        for strength, rows in ends.items()
    }
    for seed in range(run.seeds):
        run.record(
            quantity="weights_by_descent", seed=seed,
            **{f"strength_{strength:g}": rows[seed].tolist() for strength, rows in ends.items()},
        )  # fmt: skip
    rule = f"largest deviation over all starts and weights, over the largest weight, at most {CLOSE:g}"
    run.find(
        "gradient descent on the squared error ends at the maximum of the likelihood, from every start",
        rule, rules.exact(worst[0.0], 0.0, CLOSE), published="E03d: least squares = maximum likelihood",
    )  # fmt: skip
    run.find(
        "with weight decay lambda = alpha/beta (on half the SUM of squares) it ends at the maximum of the posterior",
        rule, rules.exact(worst[ALPHA / BETA], 0.0, CLOSE), published="E04c: MAP = ridge with lambda = alpha/beta",
    )  # fmt: skip
    run.find(
        "negative control, the rule must fail: lambda = alpha, as the slide has it, on half the sum of squares",
        "must fail: " + rule, rules.exact(worst[ALPHA], 0.0, CLOSE), control=True,
        remark="S28: lambda = alpha belongs to the sum of negative log-likelihoods, whose squares carry beta/2",
    )  # fmt: skip


def _deviation(found: Any, expected: Any) -> float:
    return float(np.max(np.abs(np.asarray(found, np.float64) - expected)) / np.max(np.abs(expected)))


def _descended(run: Run, design: np.ndarray, targets: np.ndarray, strength: float) -> np.ndarray:
    """Weights after descent from a random start each, `(seeds, weights)`."""
    model = jaxdl.as_model((lambda key, x: {"kernel": jax.random.normal(key, (WEIGHTS, 1))}, _linear))
    objective, tx = jaxdl.training.supervised(model, jaxdl.losses.quadratic_cost), optax.sgd(0.3)
    decay = jaxdl.regularizers.l2(strength / EXAMPLES)  # of the mean of half the squares
    data = (jnp.asarray(design, jnp.float32), jnp.asarray(targets[:, None], jnp.float32))
    states, _ = jaxdl.training.run_many(
        jaxdl.training.make_train_step(objective, tx, regularizer=decay),
        lambda key: jaxdl.training.init_state(model, tx, data[0][:1], key=key),
        data, seeds=range(run.seeds), steps=1000, batch_size=EXAMPLES, mode="vmap",
    )  # fmt: skip
    return np.asarray(states.params["kernel"])[:, :, 0]


def _linear(params: Any, x: jax.Array) -> jax.Array:
    return x @ params["kernel"]


def judge_misfit(run: Run) -> None:
    """E03g: of a linear model on a curve, 1/beta is the noise and what the line misses."""
    ratios = []
    for seed in range(run.seeds):
        x, t = toy.noisy_curve(jax.random.key(seed), num_examples=10_000, precision=BETA)
        design = jnp.concatenate([jnp.ones_like(x), x], axis=1)
        ratios.append(float(1 / procedures.linear_maximum_likelihood(design, t[:, 0]).precision) * BETA)
        run.record(quantity="linear_misfit", seed=seed, variance_over_noise=ratios[-1])
    expected = 1 + BETA * MISFIT
    claim = "a line fitted to sin x: 1/beta_ML is the variance of the noise plus the mean square of the misfit"
    rule = "mean over seeds of 1/beta_ML over the sum of both within 3 % of 1"
    run.find(claim, rule, rules.mean_within(np.array(ratios) / expected, 0.97, 1.03), published="E03g")
    run.find(
        "negative control, the rule must fail: the noise alone", "must fail: " + rule,
        rules.mean_within(ratios, 0.97, 1.03), control=True,
    )  # fmt: skip


def judge_few_points(run: Run) -> FewPoints:
    """MAP against ML on few points; returns one of the data sets."""
    gains = {
        n: [_log_gain(seed, n, run.settings["draws"] // (1 if n == FEW else 5)) for seed in range(run.seeds)]
        for n in (FEW, MANY)
    }
    for seed in range(run.seeds):
        run.record(quantity="map_against_ml", seed=seed, **{f"log_gain_{n}": gains[n][seed] for n in gains})
    claim = f"a polynomial of degree {DEGREE} through %d noisy points of a sine: MAP has half the error of ML or less"
    rule = "lower 95 % limit of the mean log ratio of the root mean square errors (ML over MAP) above ln 2"
    remark = "alpha and beta are those of the largest evidence: chosen on the same points, without validation"
    run.find(claim % FEW, rule, rules.exceeds(gains[FEW], np.log(2)), remark=remark)
    run.find(
        f"negative control, the rule must fail: the same with {MANY} points", "must fail: " + rule,
        rules.exceeds(gains[MANY], np.log(2)), control=True, remark="with many points the prior hardly matters",
    )  # fmt: skip
    return few_points(jax.random.key(0), FEW)


def polynomial(x: jax.Array) -> jax.Array:
    """Powers of x/pi, `(examples, DEGREE + 1)`."""
    return (jnp.ravel(x)[:, None] / jnp.pi) ** jnp.arange(DEGREE + 1)[None, :]


def few_points(key: jax.Array, num_examples: int) -> FewPoints:
    """Draws points of a noisy sine and fits both."""
    x, t = toy.noisy_curve(key, num_examples=num_examples, precision=BETA)
    design, t = polynomial(x), t[:, 0]
    pairs = jnp.asarray(np.stack(np.meshgrid(PRIORS, NOISES), axis=-1).reshape(-1, 2), t.dtype)

    def evidence(pair: jax.Array) -> jax.Array:
        return procedures.linear_log_evidence(design, t, prior_precision=pair[0], noise_precision=pair[1])

    alpha, beta = pairs[jnp.argmax(jax.vmap(evidence)(pairs))]
    posterior = procedures.linear_posterior(design, t, prior_precision=alpha, noise_precision=beta)
    return FewPoints(x[:, 0], t, procedures.linear_maximum_likelihood(design, t).weights, posterior)


def _log_gain(seed: int, num_examples: int, draws: int) -> float:
    """Mean over data sets of ln(error of ML / error of MAP) against the sine itself, within the points' range."""

    def one(key: jax.Array) -> jax.Array:
        found = few_points(key, num_examples)
        x = jnp.linspace(jnp.min(found.x), jnp.max(found.x), 200)
        errors = [jnp.mean(jnp.square(polynomial(x) @ w - jnp.sin(x))) for w in (found.likeliest, found.posterior.mean)]
        return 0.5 * jnp.log(errors[0] / errors[1])

    return float(jnp.mean(jax.lax.map(one, jax.random.split(jax.random.key(seed), draws))))


def judge_coverage(run: Run) -> None:
    """The posterior predictive says how sure it is, where the prior is right."""

    def covered(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        weights_key, design_key, noise_key = jax.random.split(key, 3)
        weights = ALPHA**-0.5 * jax.random.normal(weights_key, (WEIGHTS,))
        design = jax.random.normal(design_key, (FEW + 1, WEIGHTS))
        targets = design @ weights + BETA**-0.5 * jax.random.normal(noise_key, (FEW + 1,))
        posterior = procedures.linear_posterior(
            design[:FEW], targets[:FEW], prior_precision=ALPHA, noise_precision=BETA
        )
        mean, variance = procedures.posterior_predictive(posterior, design[FEW:])
        error = jnp.abs(targets[FEW] - mean[0])
        return error < 1.959964 * jnp.sqrt(variance[0]), error < 1.959964 * BETA**-0.5

    draws = 20 * run.settings["draws"]
    program = jax.jit(lambda keys: jax.lax.map(covered, keys, batch_size=100))
    shares = np.array(
        [[np.mean(flags) for flags in program(jax.random.split(jax.random.key(s), draws))] for s in range(run.seeds)]
    )
    for seed, (whole, noise_only) in enumerate(shares):
        run.record(quantity="coverage", seed=seed, predictive=float(whole), noise_only=float(noise_only))
    claim = f"95 % predictive intervals after {FEW} examples of {WEIGHTS} weights hold 95 % of new targets"
    rule = "mean share over seeds in [94, 96] %"
    run.find(claim, rule, rules.mean_within(100 * shares[:, 0], 94, 96, " %"), published="Bishop 2006, eq. 3.59")
    run.find(
        "negative control, the rule must fail: intervals of the noise alone around the most probable weights",
        "must fail: " + rule, rules.mean_within(100 * shares[:, 1], 94, 96, " %"), control=True,
    )  # fmt: skip
