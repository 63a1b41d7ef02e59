"""The four equations of back-propagation (Nielsen 2015, ch. 2), written out in NumPy; imports nothing of jaxdl.

Column convention of the lectures: W of shape (out, in), z = W a + b; one example at a time.
"""

import numpy as np


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def backprop(weights, biases, x, y):
    """Gradients of the cross-entropy of independent sigmoid outputs for one example: lists of dC/dW and dC/db."""
    activations, zs = [x], []
    for w, b in zip(weights, biases, strict=True):
        zs.append(w @ activations[-1] + b)
        activations.append(sigmoid(zs[-1]))
    delta = activations[-1] - y  # BP1 for this cost: grad_a C * sigma'(z) = a - y
    weight_grads, bias_grads = [], []
    for layer in range(len(weights) - 1, -1, -1):
        bias_grads.insert(0, delta)  # BP3: dC/db = delta, the answer to the lecture's question
        weight_grads.insert(0, np.outer(delta, activations[layer]))  # BP4
        if layer:
            slope = activations[layer] * (1 - activations[layer])
            delta = (weights[layer].T @ delta) * slope  # BP2
    return weight_grads, bias_grads


def mean_backprop(weights, biases, xs, ys):
    """Mean of `backprop` over examples."""
    total_w, total_b = [np.zeros_like(w) for w in weights], [np.zeros_like(b) for b in biases]
    for x, y in zip(xs, ys, strict=True):
        grads_w, grads_b = backprop(weights, biases, x, y)
        total_w = [t + g for t, g in zip(total_w, grads_w, strict=True)]
        total_b = [t + g for t, g in zip(total_b, grads_b, strict=True)]
    return [t / len(xs) for t in total_w], [t / len(xs) for t in total_b]


def cost(weights, biases, xs, ys):
    """Mean cross-entropy summed over outputs."""
    total = 0.0
    for x, y in zip(xs, ys, strict=True):
        a = x
        for w, b in zip(weights, biases, strict=True):
            a = sigmoid(w @ a + b)
        total += -np.sum(y * np.log(a) + (1 - y) * np.log(1 - a))
    return total / len(xs)
