"""Gradients of every example of the net `1/2 (v . tanh(W^T x) - y)^2`, written out."""

import numpy as np


def gradients(params, batch):
    """`{"hidden": {"w": (B, in, out)}, "out": {"v": (B, out)}}` in float64."""
    w, v = np.asarray(params["hidden"]["w"], np.float64), np.asarray(params["out"]["v"], np.float64)
    x, y = (np.asarray(array, np.float64) for array in batch)
    in_w, in_v = [], []
    for example, target in zip(x, y, strict=True):
        h = np.tanh(example @ w)
        residual = h @ v - target
        in_v.append(residual * h)
        in_w.append(np.outer(example, residual * v * (1 - h**2)))
    return {"hidden": {"w": np.array(in_w)}, "out": {"v": np.array(in_v)}}


def flat(tree):
    """`(B, parameters)`."""
    w, v = tree["hidden"]["w"], tree["out"]["v"]
    return np.concatenate([w.reshape(len(w), -1), v], 1)
