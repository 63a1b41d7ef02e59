"""Convolutional layers by their definitions, in NumPy: images NHWC, kernels HWIO."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def patches(x, size, stride):
    """`(batch, rows, columns, size, size, channels)`: what stands under the window at each position."""
    windows = sliding_window_view(x, (size, size), (1, 2))[:, ::stride, ::stride]
    return windows.transpose(0, 1, 2, 4, 5, 3)


def padded(x, padding, value=0.0):
    return np.pad(x, [(0, 0), (padding, padding), (padding, padding), (0, 0)], constant_values=value)


def conv(x, layer, *, stride=1, padding=0, groups=1):
    """Each group of maps sees its own share of the channels."""
    kernel = np.asarray(layer["kernel"], np.float64)
    inputs = np.split(padded(x, padding), groups, -1)
    outputs = [
        np.tensordot(patches(part, len(kernel), stride), filters, 3)
        for part, filters in zip(inputs, np.split(kernel, groups, -1), strict=True)
    ]
    return np.concatenate(outputs, -1) + np.asarray(layer.get("bias", 0.0), np.float64)


def local(x, layer, *, size, stride=1):
    """Filters of its own at every position; a filter's weights run over channels first, then over the window."""
    kernel, windows = np.asarray(layer["kernel"], np.float64), patches(x, size, stride)
    y = np.empty((*windows.shape[:3], kernel.shape[-1]))
    for row, column in np.ndindex(windows.shape[1:3]):
        seen = windows[:, row, column].transpose(0, 3, 1, 2).reshape(len(x), -1)
        y[:, row, column] = seen @ kernel[row, column]
    return y + np.asarray(layer["bias"], np.float64)


def max_pool(x, size=2, stride=2, padding=0):
    return patches(padded(x, padding, -np.inf), size, stride).max((3, 4))


def average_pool(x, size=2, stride=2):
    return patches(x, size, stride).mean((3, 4))


def local_response_norm(a, *, size=5, k=2.0, alpha=1e-4, beta=0.75):
    """Krizhevsky, Sutskever, Hinton 2012, section 3.3, one channel after the other."""
    b, maps = np.empty(a.shape), a.shape[-1]
    for i in range(maps):
        low, high = max(0, i - size // 2), min(maps - 1, i + size // 2)
        b[..., i] = a[..., i] / (k + alpha * np.sum(np.float64(a[..., low : high + 1]) ** 2, -1)) ** beta
    return b


def batch_norm(x, layer, statistics=None, *, epsilon=1e-5):
    """By the batch's own moments, or by running ones."""
    mean = x.mean((0, 1, 2)) if statistics is None else np.asarray(statistics["mean"], np.float64)
    var = x.var((0, 1, 2)) if statistics is None else np.asarray(statistics["var"], np.float64)
    return (x - mean) / np.sqrt(var + epsilon) * np.asarray(layer["scale"]) + np.asarray(layer["bias"])


def group_norm(x, layer, *, group_size, epsilon=1e-5):
    grouped = x.reshape(*x.shape[:3], -1, group_size)
    mean, var = grouped.mean((1, 2, 4), keepdims=True), grouped.var((1, 2, 4), keepdims=True)
    unit = ((grouped - mean) / np.sqrt(var + epsilon)).reshape(x.shape)
    return unit * np.asarray(layer["scale"]) + np.asarray(layer["bias"])


def relu(x):
    return np.maximum(x, 0)


def dense(x, layer):
    return x.reshape(len(x), -1) @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"], np.float64)


def dense_layers(x, params, activation=relu):
    """All of `dense1`, `dense2`, ... that there are, then `logits`."""
    i = 1
    while f"dense{i}" in params:
        x = activation(dense(x, params[f"dense{i}"]))
        i += 1
    return dense(x, params["logits"])
