"""A function's value, and its gradients for one random cotangent, by jax and by PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np


def draws(*shape, seed=0, scale=1.0):
    return (scale * np.random.RandomState(seed).randn(*shape)).astype(np.float32)


def by_jax(fn, *arrays):
    value, back = jax.vjp(fn, *map(jnp.asarray, arrays))
    return [value, *back(jnp.asarray(cotangent(value.shape)))]


def by_keras(fn, *arrays):
    with jax.numpy_rank_promotion("allow"):
        return by_jax(fn, *arrays)


def by_torch(torch, fn, *arrays):
    leaves = [torch.tensor(np.asarray(array), requires_grad=True) for array in arrays]
    value = fn(*leaves)
    value.backward(torch.tensor(cotangent(value.shape)))
    return [value.detach().numpy(), *(leaf.grad.numpy() for leaf in leaves)]


def cotangent(shape):
    return np.asarray(np.random.RandomState(99).randn(*shape), np.float32)


def channels_first(fn):
    """A function of (N, C, H, W), made one of (N, H, W, C)."""
    return lambda x, *rest: fn(x.permute(0, 3, 1, 2), *rest).permute(0, 2, 3, 1)
