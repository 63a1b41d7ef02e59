"""The update rules of the lectures, their schedules and decays in NumPy float64; imports nothing of jaxdl.

theta and g are vectors. A rule takes the update's number t = 0, 1, ..., the gradient and its memories, two vectors that
start at 0, and returns what is added to theta and the new memories. Hyper-parameters are numbers or functions of t.
"""

import numpy as np


def at(value, t):
    return value(t) if callable(value) else value


def run(rule, theta, gradient, steps, *, rate, l2=0.0, decay=0.0, mask=1.0, **hyper):
    """The path, (steps + 1, dim). `l2` is added to the gradient, `decay` to the step; both where `mask` is 1."""
    memories, path = (np.zeros_like(theta), np.zeros_like(theta)), [theta]
    for t in range(steps):
        g = gradient(theta) + at(l2, t) * mask * theta
        step, memories = rule(t, g, memories, at(rate, t), **{name: at(value, t) for name, value in hyper.items()})
        theta = theta + step - at(rate, t) * at(decay, t) * mask * theta
        path.append(theta)
    return np.array(path)


def gradient_descent(t, g, memories, rate):
    return -rate * g, memories


def momentum(t, g, memories, rate, momentum=0.9):
    v = momentum * memories[0] + rate * g
    return -v, (v, memories[1])


def adagrad(t, g, memories, rate, eps=1e-8):
    squares = memories[0] + g**2
    return -rate * g / np.sqrt(squares + eps), (squares, memories[1])


def rmsprop(t, g, memories, rate, decay_rate=0.9, eps=1e-8):
    squares = decay_rate * memories[0] + (1 - decay_rate) * g**2
    return -rate * g / (np.sqrt(squares) + eps), (squares, memories[1])


def adadelta(t, g, memories, rate, rho=0.95, eps=1e-6):
    squares, deltas = memories
    squares = rho * squares + (1 - rho) * g**2
    delta = -np.sqrt(deltas + eps) / np.sqrt(squares + eps) * g
    return rate * delta, (squares, rho * deltas + (1 - rho) * delta**2)


def adam(t, g, memories, rate, b1=0.9, b2=0.999, eps=1e-8):
    m, v = b1 * memories[0] + (1 - b1) * g, b2 * memories[1] + (1 - b2) * g**2
    m_hat, v_hat = m / (1 - b1 ** (t + 1)), v / (1 - b2 ** (t + 1))
    return -rate * m_hat / (np.sqrt(v_hat) + eps), (m, v)


def nesterov(theta, gradient, steps, *, rate, momentum=0.9):
    """The path of theta, and that of the points where the gradient is taken, both (steps + 1, dim)."""
    v, path, points = np.zeros_like(theta), [theta], []
    for t in range(steps):
        points.append(theta - at(momentum, t) * v)
        v = at(momentum, t) * v + at(rate, t) * gradient(points[-1])
        theta = theta - v
        path.append(theta)
    return np.array(path), np.array([*points, theta - at(momentum, steps) * v])


def inverse_time(t, start, time_constant):
    return start / (1 + t / time_constant)


def inverse_sqrt(t, start):
    return start / np.sqrt(t + 1)


def exponential(t, start, steps, factor):
    return start * factor ** (t / steps)


def stairs(t, start, factors):
    """`factors`: {the first update that a factor holds for: factor}; those that hold multiply up."""
    return start * np.prod([factor for first, factor in factors.items() if t >= first])


def warmup_cosine(t, start, peak, end, warmup, steps):
    if t < warmup:
        return start + (peak - start) * t / warmup
    done = min((t - warmup) / (steps - warmup), 1.0)
    return end + (peak - end) * (1 + np.cos(np.pi * done)) / 2


def linear(t, start, end, steps):
    return start + (end - start) * min(t / steps, 1.0)


def exponential_approach(t, start, end, time_constant):
    return end - (end - start) * np.exp(-t / time_constant)


def sutskever(t, largest, period=250):
    return min(1 - 2.0 ** (-1 - np.log2(t // period + 1)), largest)


def plateau_scales(values, *, factor, patience, rtol):
    """The factor at every update: multiplied once `patience` values in a row were no better than the best by `rtol`."""
    scale, best, waited, scales = 1.0, np.inf, 0, []
    for value in values:
        waited = 0 if value < (1 - rtol) * best else waited + 1
        best = value if waited == 0 else best
        if waited == patience:
            scale, waited = scale * factor, 0
        scales.append(scale)
    return np.array(scales)
