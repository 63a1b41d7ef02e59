"""`fit` with optimizers that call the objective themselves, against SciPy's optimum and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.optimize import minimize

import jaxdl
from jaxdl import optimizers, regularizers, training
from tests.training.conftest import make_task

STRENGTH = 0.05
CHAINS = {
    "lbfgs": optimizers.lbfgs(),
    "newton": optax.chain(
        optimizers.newton(damping=1e-3), optax.scale_by_backtracking_linesearch(max_backtracking_steps=20)
    ),
    "descent": optax.chain(optax.sgd(1.0), optax.scale_by_zoom_linesearch(max_linesearch_steps=20)),
    "polyak": optax.polyak_sgd(max_learning_rate=1.0),
}


@pytest.fixture(scope="module")
def data():
    draws = np.random.RandomState(0)
    return draws.randn(60, 4).astype(np.float32), draws.randint(0, 3, 60).astype(np.int32)


def optimum(x, y):
    """Least value of the mean cross-entropy with an L2 term on the weights, in float64."""

    def cost(theta):
        kernel, bias = theta[:12].reshape(4, 3), theta[12:]
        logits = x.astype(np.float64) @ kernel + bias
        logits -= logits.max(1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        return -log_p[np.arange(len(y)), y].mean() + STRENGTH / 2 * np.sum(kernel**2)

    return minimize(cost, np.zeros(15), tol=1e-14).fun


def fitted(tx, data, steps, **options):
    model = jaxdl.models.MLP((3,))
    objective = training.supervised(model, jaxdl.losses.softmax_cross_entropy)
    step = training.make_train_step(objective, tx, regularizer=regularizers.l2(STRENGTH))
    state = training.init_state(model, tx, data[0][:1], key=jax.random.key(0))
    return training.fit(step, state, data, steps=steps, batch_size=60, **options)


@pytest.mark.parametrize(("name", "steps"), [("lbfgs", 25), ("newton", 12), ("descent", 60)])
def test_full_batches_reach_the_optimum(data, name, steps):
    history = fitted(CHAINS[name], data, steps).history
    total = history.train["loss"] + history.train["penalty"]
    assert total[-1] == pytest.approx(optimum(*data), rel=1e-5)
    assert total[0] > 1.1 * total[-1]


@pytest.mark.parametrize(
    "name", ["lbfgs", "polyak", *(pytest.param(name, marks=pytest.mark.slow) for name in ("newton", "descent"))]
)
def test_engines_give_the_same_bytes(data, name, same_bytes):
    states = [fitted(CHAINS[name], data, 4, engine=engine, chunk_size=3).state for engine in ("loop", "chunk", "epoch")]
    same_bytes(states[0], states[1])
    same_bytes(states[0], states[2])


def test_members_are_single_runs(digits_like):
    task = make_task(digits_like, optimizers.lbfgs())
    options = dict(steps=3, batch_size=120)
    many, _ = training.run_many(task.step, task.init, task.data, seeds=[3, 5], mode="vmap", **options)
    single = training.fit(task.step, task.init(jax.random.key(5)), task.data, **options).state
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
        training.member(many, 1).params,
        single.params,
    )


def test_one_newton_step_solves_least_squares_with_its_penalty():
    draws = np.random.RandomState(1)
    x, t = draws.randn(40, 5).astype(np.float32), draws.randn(40, 1).astype(np.float32)
    objective = lambda params, batch, **_: (  # noqa: E731
        jnp.square(batch[0] @ params["kernel"] - batch[1]).sum(-1) / 2,
        training.Aux({}, {}),
    )
    tx = optimizers.newton()
    step = training.make_train_step(objective, tx, regularizer=regularizers.l2(0.3))
    state = training.make_state({"kernel": jnp.ones((5, 1))}, tx, key=jax.random.key(0))
    state = training.fit(step, state, (x, t), steps=1, batch_size=40).state
    x64, t64 = x.astype(np.float64), t.astype(np.float64)
    ridge = np.linalg.solve(x64.T @ x64 / 40 + 0.3 * np.eye(5), x64.T @ t64 / 40)
    np.testing.assert_allclose(state.params["kernel"], ridge, rtol=1e-5, atol=1e-6)
