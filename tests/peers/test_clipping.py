"""Clipping, against torch.nn.utils; PyTorch divides by norm + 1e-6, which is taken out."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import optimizers
from tests.peers.pull_back import draws

pytestmark = pytest.mark.peers

SHAPES = {"a": {"kernel": (7, 5), "bias": (5,)}, "b": {"kernel": (3, 3, 2, 4), "bias": (4,)}}
EPSILON = 1e-6


def gradients(size, seed=0):
    return {
        layer: {name: size * (1 + 9 * i) * draws(*shape, seed=seed + 10 * i + len(shape)) for name, shape in
                shapes.items()}
        for i, (layer, shapes) in enumerate(SHAPES.items())
    }  # fmt: skip


def update(tx, grads):
    grads = jax.tree.map(jnp.asarray, grads)
    return tx.update(grads, tx.init(grads))[0]


def parameters(torch, grads):
    made = []
    for grad in jax.tree.leaves(grads):
        made.append(torch.nn.Parameter(torch.zeros(grad.shape)))
        made[-1].grad = torch.tensor(grad)
    return made


def clipped_by_torch(torch, grads, bound):
    """`clip_grad_norm_` on all leaves, without the epsilon."""
    made = parameters(torch, grads)
    norm = float(torch.nn.utils.clip_grad_norm_(made, bound))
    factor = (norm + EPSILON) / norm if norm + EPSILON > bound else 1.0
    return [p.grad.numpy() * factor for p in made]


def flat(leaves):
    return np.concatenate([np.ravel(np.asarray(leaf)) for leaf in jax.tree.leaves(leaves)])


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_by_value_and_by_norms(torch, agree, size):
    grads, bound = gradients(size), 2.0
    made = parameters(torch, grads)
    torch.nn.utils.clip_grad_value_(made, bound)
    name = "clip_grad_value_"
    agree("optimizers.clip_by_value", "torch", "gradients", flat(update(optimizers.clip_by_value(bound), grads)),
          flat([p.grad.numpy() for p in made]), remark=name)  # fmt: skip
    theirs = flat(clipped_by_torch(torch, grads, bound))
    remark = "clip_grad_norm_; its epsilon of 1e-6 taken out"
    agree("optimizers.clip_by_global_norm", "torch", "gradients",
          flat(update(optimizers.clip_by_global_norm(bound), grads)), theirs, remark=remark)  # fmt: skip
    theirs = flat([clipped_by_torch(torch, grads[layer], bound) for layer in grads])
    ours = flat(update(optimizers.clip_each_layer(bound), grads))
    agree("optimizers.clip_each_layer", "torch", "gradients", ours, theirs, remark=f"{remark}; layer by layer")


def test_by_example(torch, agree):
    examples = [gradients(size, seed=i) for i, size in enumerate((1e-3, 0.1, 1.0, 1e3))]
    stacked = jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *examples)
    ours, share = optimizers.clip_examples(stacked, 2.0)
    assert 0 < float(share) < 1
    theirs = np.mean([flat(clipped_by_torch(torch, grads, 2.0)) for grads in examples], 0)
    agree("optimizers.clip_examples", "torch", "mean of gradients", flat(ours), theirs,
          remark="clip_grad_norm_ on every example; its epsilon taken out")  # fmt: skip


def test_twenty_steps_of_training(torch, agree):
    """A linear model whose gradients start at a norm of hundreds, in both."""
    x, y = draws(30, 6), 100 * draws(30, 4, seed=1)
    linear = torch.nn.Linear(6, 4)
    optimizer = torch.optim.SGD(linear.parameters(), lr=0.1)
    weight, bias = (jnp.asarray(p.detach().numpy()) for p in linear.parameters())
    params = {"linear": {"kernel": weight.T, "bias": bias}}
    tx = optax.chain(optimizers.clip_each_layer(1.0), optax.sgd(0.1))
    state = tx.init(params)
    loss = lambda p: jnp.mean(jnp.square(x @ p["kernel"] + p["bias"].reshape(1, -1) - y))  # noqa: E731
    for _ in range(20):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(linear(torch.tensor(x)), torch.tensor(y)).backward()
        norm = torch.nn.utils.clip_grad_norm_(linear.parameters(), 1.0)
        assert float(norm) > 10
        optimizer.step()
        updates, state = tx.update({"linear": jax.grad(loss)(params["linear"])}, state, params)
        params = optax.apply_updates(params, updates)
    # Twenty steps, each rounded to 2^-24 and clipped with an epsilon of 1e-6 beside a norm above 10.
    agree("optimizers.clip_each_layer", "torch", "kernel after 20 steps", params["linear"]["kernel"],
          linear.weight.detach().numpy().T, rtol=5e-6, remark="clip_grad_norm_")  # fmt: skip
