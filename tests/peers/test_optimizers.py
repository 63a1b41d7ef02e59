"""A hundred steps of every recipe, schedule and decay on a net of two layers, beside PyTorch's."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import optimizers
from jaxdl.optimizers import schedules
from tests.peers.pull_back import draws

pytestmark = pytest.mark.peers

STEPS, RTOL = 100, 1e-5
X, TARGETS = draws(20, 5), draws(20, 2, seed=1)
STARTS = [0.5 * draws(5, 4, seed=2), draws(4, seed=3), 0.5 * draws(4, 2, seed=4), draws(2, seed=5)]


def ours(tx):
    def loss(params):
        hidden = jnp.tanh(X @ params[0] + params[1][None])
        return jnp.mean(jnp.square(hidden @ params[2] + params[3][None] - TARGETS))

    @jax.jit
    def update(params, state):
        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    params = [jnp.asarray(start) for start in STARTS]
    state = tx.init(params)
    for _ in range(STEPS):
        params, state = update(params, state)
    return np.concatenate([np.asarray(leaf).ravel() for leaf in params])


def theirs(torch, make_optimizer, make_scheduler=None):
    params = [torch.tensor(start, requires_grad=True) for start in STARTS]
    optimizer = make_optimizer(params)
    scheduler = make_scheduler and make_scheduler(optimizer)
    for _ in range(STEPS):
        optimizer.zero_grad()
        hidden = torch.tanh(torch.tensor(X) @ params[0] + params[1])
        torch.nn.functional.mse_loss(hidden @ params[2] + params[3], torch.tensor(TARGETS)).backward()
        optimizer.step()
        if scheduler:
            scheduler.step()
    return torch.cat([leaf.detach().ravel() for leaf in params]).numpy()


# name: ours, PyTorch's class and arguments, remark
RECIPES = {
    "gradient_descent": (optimizers.gradient_descent(0.1), "SGD", {"lr": 0.1}, "SGD"),
    "momentum": (optimizers.momentum(0.05), "SGD", {"lr": 0.05, "momentum": 0.9}, "SGD; a constant rate"),
    "nesterov": (
        optimizers.nesterov(0.05), "SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True},
        "SGD, nesterov; a constant rate; both are at the look-ahead point",
    ),
    "adagrad": (
        optimizers.adagrad(0.05, eps=0), "Adagrad", {"lr": 0.05, "eps": 0},
        "epsilon 0: PyTorch's is outside of the root",
    ),
    "rmsprop": (
        optimizers.rmsprop(0.003, eps=1e-2), "RMSprop", {"lr": 0.003, "alpha": 0.9, "eps": 1e-2},
        "alpha 0.9 (its default is 0.99); epsilon 1e-2, for paths that roundings do not part",
    ),
    "adadelta": (
        optimizers.adadelta(), "Adadelta", {"lr": 1.0, "rho": 0.95, "eps": 1e-6}, "rho 0.95 (its default is 0.9)",
    ),
    "adam": (optimizers.adam(0.01), "Adam", {"lr": 0.01}, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", list(RECIPES))
def test_recipes(torch, agree, name):
    tx, kind, arguments, remark = RECIPES[name]
    peer = theirs(torch, lambda params: getattr(torch.optim, kind)(params, **arguments))
    agree(f"optimizers.{name}", "torch", "parameters after 100 steps", ours(tx), peer, rtol=RTOL, remark=remark)
    assert np.abs(peer - np.concatenate([start.ravel() for start in STARTS])).max() > 0.1


DECAYS = {
    "coupled_l2, descent": (
        optax.chain(optimizers.coupled_l2(0.1, where=None), optimizers.gradient_descent(0.1)), "SGD", {"lr": 0.1},
    ),
    "coupled_l2, momentum": (
        optax.chain(optimizers.coupled_l2(0.1, where=None), optimizers.momentum(0.05)),
        "SGD", {"lr": 0.05, "momentum": 0.9},
    ),
    "coupled_l2, Adam": (
        optax.chain(optimizers.coupled_l2(0.1, where=None), optimizers.adam(0.01)), "Adam", {"lr": 0.01},
    ),
    "decoupled_decay": (
        optax.chain(optimizers.adam(0.01), optimizers.decoupled_decay(0.1, learning_rate=0.01, where=None)),
        "AdamW", {"lr": 0.01},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(DECAYS))
def test_decays(torch, agree, name):
    tx, kind, arguments = DECAYS[name]
    make = lambda params, decay: getattr(torch.optim, kind)(params, weight_decay=decay, **arguments)  # noqa: E731
    peer = theirs(torch, lambda params: make(params, 0.1))
    function, remark = f"optimizers.{name.split(',')[0]}", f"{kind}, weight_decay; biases too"
    agree(function, "torch", "parameters after 100 steps", ours(tx), peer, rtol=RTOL, remark=remark)
    assert np.abs(peer - theirs(torch, lambda params: make(params, 0.0))).max() > 0.05


SCHEDULES = {
    "exponential_decay": (schedules.exponential_decay(0.2, 1, 0.97), "ExponentialLR", {"gamma": 0.97}),
    "cosine_decay_schedule": (schedules.cosine_decay_schedule(0.2, STEPS), "CosineAnnealingLR", {"T_max": STEPS}),
    "piecewise_constant_schedule": (
        schedules.piecewise_constant_schedule(0.2, {20: 0.1, 60: 0.1}), "MultiStepLR", {"milestones": [20, 60]},
    ),
    "inverse_time_decay": (
        schedules.inverse_time_decay(0.2, 30), "LambdaLR", {"lr_lambda": lambda count: 1 / (1 + count / 30)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_schedules(torch, agree, name):
    schedule, kind, arguments = SCHEDULES[name]
    peer = theirs(
        torch,
        lambda params: torch.optim.SGD(params, lr=0.2),
        lambda optimizer: getattr(torch.optim.lr_scheduler, kind)(optimizer, **arguments),
    )
    own = ours(optimizers.gradient_descent(schedule))
    remark = f"{kind}; plain descent"
    agree(f"schedules.{name}", "torch", "parameters after 100 steps", own, peer, rtol=RTOL, remark=remark)


def test_reduce_on_plateau(torch, agree):
    values = np.round(np.abs(draws(60)) + np.linspace(2, 0, 60), 1)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.2)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=3, threshold=0.01)
    tx = optax.chain(optimizers.gradient_descent(0.2), optimizers.reduce_on_plateau(factor=0.5, patience=4, rtol=0.01))
    state, own, peer = tx.init(jnp.zeros(())), [], []
    for value in values:
        step, state = tx.update(jnp.ones(()), state, value=jnp.asarray(value))
        scheduler.step(value)
        own.append(-float(step))
        peer.append(optimizer.param_groups[0]["lr"])
    remark = "patience: it reduces at the value AFTER so many, optax at the last of them"
    agree("optimizers.reduce_on_plateau", "torch", "rates at 60 values", own, peer, remark=remark)
    assert peer[-1] <= 0.2 * 0.5**3
