"""Constraints and the proximal step, after steps of plain descent, on dense (in, out) and HWIO kernels."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import optimizers
from tests.peers.pull_back import draws

pytestmark = pytest.mark.peers

RATE, BOUND, KERAS_EPSILON = 0.1, 1.5, 1e-7
KERNELS = {"dense": (7, 5), "conv": (3, 2, 5, 4), "long": (1000, 3)}
each_shape = pytest.mark.parametrize("shape", list(KERNELS.values()), ids=list(KERNELS))


def kernel_and_gradient(shape):
    """Units of norms from far below the bound to the bound, and steps of norms to far above it; one unit is zero."""
    kernel, gradient = with_norms(draws(*shape), 1e-3, BOUND), with_norms(draws(*shape, seed=1), 1e4, 1e-2)
    kernel[..., -1] = 0
    gradient[..., -1] = 0
    return kernel, gradient


def with_norms(kernel, first, last):
    norms = np.sqrt((kernel**2).sum(tuple(incoming(kernel.shape)), keepdims=True))
    return (kernel / norms * np.geomspace(first, last, kernel.shape[-1])).astype(np.float32)


def far_and_near(shape):
    kernel = with_norms(draws(*shape), 1e-3, 1e3)
    kernel[..., 1] = 0
    return kernel


def descended(kernel, gradient, constraint):
    tx = optax.chain(optax.sgd(RATE), constraint)
    params = {"kernel": jnp.asarray(kernel)}
    updates, _ = tx.update({"kernel": jnp.asarray(gradient)}, tx.init(params), params)
    return optax.apply_updates(params, updates)["kernel"]


def incoming(shape):
    return list(range(len(shape) - 1))


def without_epsilon(constrained, kernel, shape):
    """Keras divides by norm + 1e-7; multiplied by (norm + 1e-7) / norm."""
    norms = np.sqrt((kernel.astype(np.float64) ** 2).sum(tuple(incoming(shape)), keepdims=True))
    return np.asarray(constrained, np.float64) * np.where(
        norms > 0, (norms + KERAS_EPSILON) / (norms + (norms == 0)), 1
    )


@each_shape
def test_max_norm(torch, keras, agree, shape):
    kernel, gradient = kernel_and_gradient(shape)
    stepped = kernel - np.float32(RATE) * gradient
    ours = descended(kernel, gradient, optimizers.max_norm(BOUND))
    theirs = keras.constraints.MaxNorm(BOUND, axis=incoming(shape))(stepped)
    remark = "axis: all but the last (its default is 0); its epsilon of 1e-7 taken out"
    theirs = without_epsilon(theirs, stepped, shape)
    agree("optimizers.max_norm", "keras", "kernel after a step", ours, theirs, remark=remark)
    theirs = torch.renorm(torch.tensor(stepped), 2, len(shape) - 1, BOUND)
    remark = "renorm along the last axis"
    agree("optimizers.max_norm", "torch", "kernel after a step", ours, theirs.numpy(), remark=remark)


@each_shape
def test_max_norm_projects_parameters(torch, agree, shape):
    kernel = far_and_near(shape)
    ours = optimizers.project({"kernel": jnp.asarray(kernel)}, optimizers.max_norm(BOUND))["kernel"]
    theirs = torch.renorm(torch.tensor(kernel), 2, len(shape) - 1, BOUND).numpy()
    agree("optimizers.project", "torch", "kernel", ours, theirs, remark="max_norm; renorm along the last axis")


@each_shape
def test_unit_norm(torch, keras, agree, shape):
    kernel = far_and_near(shape)
    ours = optimizers.project({"kernel": jnp.asarray(kernel)}, optimizers.unit_norm())["kernel"]
    theirs = keras.constraints.UnitNorm(axis=incoming(shape))(kernel)
    remark = "axis: all but the last (its default is 0); its epsilon of 1e-7 taken out"
    agree("optimizers.unit_norm", "keras", "kernel", ours, without_epsilon(theirs, kernel, shape), remark=remark)
    theirs = torch.nn.functional.normalize(torch.tensor(kernel).reshape(-1, shape[-1]), dim=0).reshape(shape)
    agree("optimizers.unit_norm", "torch", "kernel", ours, theirs.numpy(), remark="nn.functional.normalize")


@each_shape
def test_non_negative(torch, keras, agree, shape):
    kernel, gradient = kernel_and_gradient(shape)
    stepped = kernel - np.float32(RATE) * gradient
    ours = descended(kernel, gradient, optimizers.non_negative())
    agree("optimizers.non_negative", "keras", "kernel after a step", ours, keras.constraints.NonNeg()(stepped))
    theirs = torch.tensor(stepped).clamp(min=0).numpy()
    agree("optimizers.non_negative", "torch", "kernel after a step", ours, theirs, remark="clamp")


@each_shape
def test_the_proximal_step_is_soft_shrinkage(torch, agree, shape):
    kernel, gradient = draws(*shape), draws(*shape, seed=1)
    stepped = kernel - np.float32(RATE) * gradient
    ours = descended(kernel, gradient, optimizers.proximal_l1(3.0, learning_rate=RATE))
    theirs = torch.nn.functional.softshrink(torch.tensor(stepped), 3.0 * RATE).numpy()
    assert 0.05 < np.mean(theirs == 0) < 0.95
    agree("optimizers.proximal_l1", "torch", "kernel after a step", ours, theirs, remark="softshrink(rate * strength)")


@pytest.mark.parametrize("constraint", ["max_norm", "non_negative"])
def test_fifty_steps_of_training(torch, agree, constraint):
    """A linear model by descent, the constraint after every step, in both."""
    x, y = draws(30, 6), draws(30, 4, seed=1)
    weight = torch.zeros(6, 4, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=RATE)
    tx = optax.chain(
        optax.sgd(RATE), {"max_norm": optimizers.max_norm(0.1), "non_negative": optimizers.non_negative()}[constraint]
    )
    params = {"kernel": jnp.zeros((6, 4))}
    state = tx.init(params)
    for _ in range(50):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(torch.tensor(x) @ weight, torch.tensor(y)).backward()
        optimizer.step()
        with torch.no_grad():
            weight.copy_(torch.renorm(weight, 2, 1, 0.1) if constraint == "max_norm" else weight.clamp(min=0))
        gradient = jnp.asarray(x).T @ (jnp.asarray(x) @ params["kernel"] - y) * (2 / y.size)
        updates, state = tx.update({"kernel": gradient}, state, params)
        params = optax.apply_updates(params, updates)
    theirs = weight.detach().numpy()
    # Fifty steps, each rounded to 2^-24: fifty times what is allowed for one.
    agree(f"optimizers.{constraint}", "torch", "kernel after 50 steps", params["kernel"], theirs, rtol=5e-5)
