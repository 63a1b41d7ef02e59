"""What the lectures say of weight decay, as identities: shrinkage, priors and ridge regression, early stopping."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from scipy import optimize, stats

import jaxdl
from jaxdl import training, tree
from jaxdl.regularizers import l2

DRAWS = np.random.RandomState(0)
X = DRAWS.rand(12, 5).astype(np.float32)
Y = DRAWS.randint(0, 3, 12)
ETA, STRENGTH = 0.5, 0.1


def descend(step, state, data, steps):
    """The state after so many steps on all of the data."""
    return jax.jit(lambda state, data: jax.lax.scan(lambda state, _: step(state, data), state, length=steps)[0])(
        state, data
    )


def decayed(where=tree.is_kernel):
    return optax.add_decayed_weights(STRENGTH, mask=lambda params: tree.resolve(where, params))


def run(tx, steps, *, regularizer=None, loss=jaxdl.losses.softmax_cross_entropy):
    """The parameters of a small network before and after some full-batch steps."""
    model = jaxdl.models.MLP((6, 3), bias_init=nn.initializers.normal(1.0))
    step = training.make_train_step(training.supervised(model, loss), tx, regularizer=regularizer)
    state = training.init_state(model, tx, X, key=jax.random.key(0))
    return state.params, descend(step, state, (X, Y), steps).params


def same(a, b, **tolerance):
    jax.tree.map(lambda left, right: np.testing.assert_allclose(left, right, **tolerance), a, b)


def without_loss(outputs, targets):
    return 0.0 * outputs.sum(-1)


# R01


def test_the_penalty_is_weight_decay_before_plain_descent():
    _, penalised = run(optax.sgd(ETA), 20, regularizer=l2(STRENGTH))
    _, decay = run(optax.chain(decayed(), optax.sgd(ETA)), 20)
    same(penalised, decay, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("way", ["penalty", "decay"])
def test_without_a_gradient_of_the_loss_weights_shrink_by_one_minus_eta_lambda(way):
    """S22: (1 - eta lambda), not the slide's (1 + eta lambda); biases are free, as in Nielsen's chapter 3."""
    penalty = l2(STRENGTH) if way == "penalty" else None
    tx = optax.sgd(ETA) if way == "penalty" else optax.chain(decayed(), optax.sgd(ETA))
    before, after = run(tx, 10, regularizer=penalty, loss=without_loss)
    for layer in before:
        np.testing.assert_allclose(
            after[layer]["kernel"], before[layer]["kernel"] * (1 - ETA * STRENGTH) ** 10, rtol=1e-5
        )
        np.testing.assert_array_equal(after[layer]["bias"], before[layer]["bias"])
    assert np.linalg.norm(after["Dense_0"]["kernel"]) < np.linalg.norm(before["Dense_0"]["kernel"])


def test_the_decay_of_adamw_is_another_method_than_the_penalty_under_adam():
    """Z-19: adamw shrinks by 1 - eta lambda whatever the gradient; in Adam's gradient the penalty is rescaled away."""
    where = lambda params: tree.resolve(tree.is_kernel, params)  # noqa: E731
    before, decoupled = run(optax.adamw(0.01, weight_decay=STRENGTH, mask=where), 1, loss=without_loss)
    same(decoupled["Dense_0"]["kernel"], before["Dense_0"]["kernel"] * (1 - 0.01 * STRENGTH), rtol=1e-6)
    _, coupled = run(optax.adam(0.01), 1, regularizer=l2(STRENGTH), loss=without_loss)
    kernel = np.asarray(before["Dense_0"]["kernel"])
    np.testing.assert_allclose(coupled["Dense_0"]["kernel"], kernel - 0.01 * np.sign(kernel), atol=1e-6)
    _, in_front = run(optax.chain(decayed(), optax.adam(0.01)), 20)
    _, penalised = run(optax.adam(0.01), 20, regularizer=l2(STRENGTH))
    same(in_front, penalised, rtol=1e-4, atol=1e-5)


# R03, E03, E04: maximum likelihood and maximum a posteriori


@pytest.fixture(scope="module")
def regression():
    """30 examples of a line in five dimensions with Gaussian noise of deviation 0.3."""
    design = DRAWS.randn(30, 5)
    return design, design @ np.array([1.0, -2.0, 0.5, 0.0, 3.0]) + 0.3 * DRAWS.randn(30)


def linear_fit(regression, strength):
    """Full-batch descent on the mean of half the squared errors, plus the penalty, until it rests."""

    def objective(params, batch, *, model_state, key, train):
        design, answers = batch
        return jnp.square(design @ params["kernel"] - answers).sum(-1) / 2, training.Aux(model_state, {})

    step = training.make_train_step(objective, optax.sgd(0.3), regularizer=l2(strength))
    state = training.make_state({"kernel": jnp.zeros((5, 1))}, optax.sgd(0.3), key=jax.random.key(0))
    design, answers = regression
    data = (jnp.asarray(design, jnp.float32), jnp.asarray(answers[:, None], jnp.float32))
    return np.asarray(descend(step, state, data, 500).params["kernel"])[:, 0]


@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 4.0), (1.0, 10.0), (20.0, 4.0)])
def test_the_most_probable_weights_are_those_of_ridge_regression(regression, alpha, beta):
    """Noise of precision beta, prior N(0, 1/alpha): lambda = alpha / beta on half the SUM, lambda / n on the mean."""
    design, answers = regression
    found = linear_fit(regression, alpha / beta / len(design))
    ridge = np.linalg.solve(design.T @ design + alpha / beta * np.eye(5), design.T @ answers)
    np.testing.assert_allclose(found, ridge, rtol=1e-4, atol=1e-5)

    def log_posterior(w):
        prior = stats.norm.logpdf(w, scale=1 / np.sqrt(alpha)).sum() if alpha else 0.0
        return stats.norm.logpdf(answers, design @ w, 1 / np.sqrt(beta)).sum() + prior

    best = log_posterior(found.astype(np.float64))
    for direction in DRAWS.randn(20, 5):
        assert log_posterior(found + 0.05 * direction) < best


def test_the_variance_of_the_noise_is_the_mean_squared_residual(regression):
    """E03f: 1 / beta_ML = 1/N sum (t - y)^2, found by maximising the likelihood; E03g: noise plus misfit."""
    design, answers = regression
    residuals = answers - design @ linear_fit(regression, 0.0).astype(np.float64)

    def negative_log_likelihood(log_beta):
        return -stats.norm.logpdf(residuals, scale=np.exp(-log_beta / 2)).sum()

    beta = np.exp(optimize.minimize_scalar(negative_log_likelihood, bounds=(-10, 10), method="bounded").x)
    assert 1 / beta == pytest.approx(np.mean(residuals**2), rel=1e-4)
    # N s^2 / sigma^2 is chi-squared with 25 degrees of freedom; false alarm 1e-6.
    low, high = stats.chi2.ppf([5e-7, 1 - 5e-7], 25) * 0.09 / 30
    assert low < 1 / beta < high
    bent = answers + 0.5 * (design[:, 0] ** 2 - 1)
    misfit = bent - design @ linear_fit((design, bent), 0.0)
    assert np.mean(misfit**2) > np.mean(residuals**2) + 0.05


# R02


def test_weights_and_wiggles_fall_with_the_strength():
    """Strengths 0, 0.01, 0.1 and 1 beside the MEAN loss of a noisy sine: norm of the weights, bending of the curve."""
    x = np.linspace(-1, 1, 24, dtype=np.float32)[:, None]
    t = np.sin(3 * x) + 0.3 * np.random.RandomState(1).randn(24, 1).astype(np.float32)
    model, tx = jaxdl.models.MLP((30, 1), activation=nn.tanh, bias_init=nn.initializers.normal(1.0)), optax.adam(0.02)
    grid = np.linspace(-1, 1, 201, dtype=np.float32)[:, None]
    objective = training.supervised(model, jaxdl.losses.squared_error)
    state = training.init_state(model, tx, x, key=jax.random.key(0))

    def fitted(strength):
        params = descend(training.make_train_step(objective, tx, regularizer=l2(strength)), state, (x, t), 800).params
        return jnp.sqrt(2 * l2(1.0)(params)), jaxdl.as_model(model).apply({"params": params}, grid)[0][:, 0]

    norms, curves = jax.jit(jax.vmap(fitted))(jnp.array([0.0, 0.01, 0.1, 1.0]))
    norms = norms.tolist()
    bends = np.mean(np.square(np.diff(np.asarray(curves, np.float64), 2) / 0.01**2), 1).tolist()
    print("norms", norms, "mean squared second derivative", bends)
    assert norms == sorted(norms, reverse=True)
    assert bends == sorted(bends, reverse=True)
    assert norms[-1] < 0.2 * norms[0]
    assert bends[-1] < 0.01 * bends[0]


# R22, T46


def test_early_stopping_is_l2_in_a_quadratic_model():
    """After tau steps from 0 an eigendirection of curvature h has 1 - (1 - eta h)^tau of its optimum, under a penalty
    h / (h + lambda). With tau eta = 1 / lambda the two agree to first order where h << lambda and where h >> lambda,
    and their ratio (1 - e^-r)(1 + r) / r, r = h / lambda, is never outside [1, 1.2985].
    """
    curvatures = np.logspace(-4, 0, 33).astype(np.float32)
    optimum = DRAWS.randn(33).astype(np.float32) + 2
    rotation = np.linalg.qr(DRAWS.randn(33, 33))[0].astype(np.float32)
    hessian = rotation * np.sqrt(curvatures)[None] @ rotation.T  # of half the squares of X (w - w*), with this X

    def objective(params, batch, *, model_state, key, train):
        return jnp.square((params["w"] - rotation @ optimum) @ batch.T) / 2, training.Aux(model_state, {})

    def after(steps, eta, penalty=None):
        # 33 examples, one a row of X: their mean is 1/33 of the quadratic form.
        step = training.make_train_step(objective, optax.sgd(33 * eta), regularizer=penalty)
        state = training.make_state({"w": jnp.zeros(33)}, optax.sgd(33 * eta), key=jax.random.key(0))
        w = descend(step, state, hessian, steps).params["w"]
        return rotation.T.astype(np.float64) @ np.asarray(w) / optimum

    strength, eta = 0.01, 0.05
    tau = round(1 / (strength * eta))
    stopped = after(tau, eta)
    h = curvatures.astype(np.float64)
    np.testing.assert_allclose(stopped, 1 - (1 - eta * h) ** tau, rtol=2e-3, atol=1e-4)
    ridge = after(3000, 0.5, l2(strength / 33, where="w"))
    np.testing.assert_allclose(ridge, h / (h + strength), rtol=2e-3, atol=1e-4)
    ratio = stopped / ridge
    assert ratio.min() > 0.99
    assert 1.25 < ratio.max() < 1.2985 + 0.01
    assert np.abs(ratio[h < strength / 50] - 1).max() < 0.02
    assert np.abs(ratio[h > strength * 50] - 1).max() < 0.03
    too_early = after(tau // 4, eta)
    assert (too_early / ridge).min() < 0.3, "the correspondence is one of tau with lambda"


# R24, B10


def count(module, shape):
    variables = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, *shape)))
    return sum(np.prod(leaf.shape) for path, leaf in tree.leaf_paths(variables["params"]).items() if "kernel" in path)


@pytest.mark.parametrize(("inputs", "window"), [(7, 3), (10, 4)])
def test_weight_sharing_has_fewer_weights_than_local_connections_and_these_fewer_than_dense_ones(inputs, window):
    """H hidden units of window k over n inputs: k weights tied, H k untied, H n dense."""
    units = inputs - window + 1
    tied = nn.Conv(1, (window,), padding="VALID")
    untied = nn.ConvLocal(1, (window,), padding="VALID")
    assert count(tied, (inputs, 1)) == window
    assert count(untied, (inputs, 1)) == units * window
    assert count(nn.Dense(units), (inputs,)) == units * inputs
    x = DRAWS.randn(2, inputs, 1).astype(np.float32)
    params = tied.init(jax.random.key(0), x)
    assert tied.apply(params, x).shape == untied.init_with_output(jax.random.key(0), x)[0].shape == (2, units, 1)
    # Tying is a constraint on the untied layer: with one window everywhere it is the convolution.
    kernel = jnp.broadcast_to(params["params"]["kernel"].reshape(1, window, 1), (units, window, 1))
    local = {"params": {"kernel": kernel, "bias": jnp.zeros((units, 1))}}
    np.testing.assert_allclose(untied.apply(local, x), tied.apply(params, x), rtol=1e-5, atol=1e-6)
