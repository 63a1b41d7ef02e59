"""Algorithm 1 of Ioffe 2017, written out in NumPy float64 for inputs (batch, channels); imports nothing of jaxdl.

The running statistic is a variance here, not the paper's deviation, and `momentum` weighs the old value.
"""

import numpy as np


def corrections(x, mean, var, r_max, d_max, epsilon=1e-5):
    """r and d of one batch."""
    sigma = np.sqrt(var + epsilon)
    sigma_batch = np.sqrt(((x - x.mean(0)) ** 2).mean(0) + epsilon)
    r = np.minimum(np.maximum(sigma_batch / sigma, 1 / r_max), r_max)
    d = np.minimum(np.maximum((x.mean(0) - mean) / sigma, -d_max), d_max)
    return r, d


def forward(x, r, d, scale, bias, epsilon=1e-5):
    """The training output for given corrections."""
    sigma_batch = np.sqrt(((x - x.mean(0)) ** 2).mean(0) + epsilon)
    return scale * ((x - x.mean(0)) / sigma_batch * r + d) + bias


def updated(x, mean, var, momentum):
    """The running statistics after the batch."""
    batch_var = ((x - x.mean(0)) ** 2).mean(0)
    return momentum * mean + (1 - momentum) * x.mean(0), momentum * var + (1 - momentum) * batch_var


def gradients(x, r, d, scale, bias, weights, step=1e-5):
    """Central differences of sum(weights * forward) by x, scale and bias, r and d held fixed."""
    arrays, grads = [np.array(a, np.float64) for a in (x, scale, bias)], []
    for array in arrays:
        grad = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            kept, values = array[index], []
            for shifted in (kept + step, kept - step):
                array[index] = shifted
                values.append(np.sum(weights * forward(arrays[0], r, d, arrays[1], arrays[2])))
            array[index] = kept
            grad[index] = (values[0] - values[1]) / (2 * step)
        grads.append(grad)
    return grads
