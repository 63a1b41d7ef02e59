"""Restricted Boltzmann machines by summing over all states, and Hinton's update, in NumPy."""

import itertools

import numpy as np


def states(count: int) -> np.ndarray:
    """All binary vectors, `(2^count, count)`."""
    return np.array(list(itertools.product((0.0, 1.0), repeat=count))).reshape(-1, count)


def energies(v, h, W, b, c) -> np.ndarray:
    """E of every pair of rows, `(len(v), len(h))`, one term at a time."""
    out = np.zeros((len(v), len(h)))
    for n, visible in enumerate(v):
        for m, hidden in enumerate(h):
            for i in range(len(b)):
                out[n, m] -= b[i] * visible[i]
                for j in range(len(c)):
                    out[n, m] -= visible[i] * W[i, j] * hidden[j]
            for j in range(len(c)):
                out[n, m] -= c[j] * hidden[j]
    return out


def log_joint(W, b, c) -> np.ndarray:
    """ln p(v, h) over all states, `(2^visible, 2^hidden)`."""
    minus = -energies(states(len(b)), states(len(c)), W, b, c)
    return minus - np.log(np.exp(minus).sum())


def log_likelihood(data, W, b, c) -> float:
    """The mean of ln p(v) over the rows."""
    joint = np.exp(log_joint(W, b, c))
    index = {tuple(v): i for i, v in enumerate(states(len(b)))}
    return float(np.mean([np.log(joint[index[tuple(v)]].sum()) for v in data]))


def gibbs_matrix(W, b, c) -> np.ndarray:
    """T[v, v'] = sum_h p(v' | h) p(h | v), from the joint distribution alone."""
    joint = np.exp(log_joint(W, b, c))
    hidden_given = joint / joint.sum(1, keepdims=True)
    visible_given = joint / joint.sum(0, keepdims=True)
    return hidden_given @ visible_given.T


def logistic(z):
    return 1 / (1 + np.exp(-z))


def hinton_update(data, later, W, c) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """<v h> - <v_k h_k>, <v> - <v_k>, <h> - <h_k>: means over the examples, hidden units by their probabilities."""
    dW, db, dc = np.zeros(W.shape), np.zeros(W.shape[0]), np.zeros(W.shape[1])
    for sign, rows in ((1, data), (-1, later)):
        for v in rows:
            h = logistic(c + v @ W)
            dW += sign * np.outer(v, h) / len(rows)
            db += sign * v / len(rows)
            dc += sign * h / len(rows)
    return dW, db, dc
