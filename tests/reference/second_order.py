"""Second-order methods in NumPy, in the precision of their start; imports nothing of jaxdl.

A problem has `value(x)`, `gradient(x)` and `hessian(x)`. Each method returns its path `(steps + 1, n)`.
"""

import numpy as np

SUFFICIENT, CURVATURE, NEARLY = (
    1e-4,
    0.9,
    1e-6,
)  # c_1 and c_2 of the Wolfe conditions; optax's "approximately no higher"


class Quadratic:
    """1/2 |M (x - c)|^2."""

    def __init__(self, matrix, centre):
        self.matrix, self.centre = matrix, centre

    def value(self, x):
        return ((self.matrix @ (x - self.centre)) ** 2).sum() / 2

    def gradient(self, x):
        return self.matrix.T @ (self.matrix @ (x - self.centre))

    def hessian(self, x):
        return self.matrix.T @ self.matrix


class Logistic:
    """mean ln(1 + exp(-t X x)) + strength/2 |x|^2, the signs t already multiplied into the rows of X."""

    def __init__(self, rows, strength):
        self.rows, self.strength = rows, strength

    def value(self, x):
        return np.logaddexp(0, -self.rows @ x).mean() + self.strength / 2 * (x @ x)

    def wrong(self, x):
        return 1 / (1 + np.exp(self.rows @ x))

    def gradient(self, x):
        return -self.rows.T @ self.wrong(x) / len(self.rows) + self.strength * x

    def hessian(self, x):
        wrong = self.wrong(x)
        weights = wrong * (1 - wrong) / len(self.rows)
        return (self.rows.T * weights) @ self.rows + self.strength * np.eye(len(x), dtype=x.dtype)


class Rosenbrock:
    """sum of 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2."""

    def value(self, x):
        return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()

    def gradient(self, x):
        g, miss = np.zeros_like(x), x[1:] - x[:-1] ** 2
        g[:-1] = -400 * x[:-1] * miss - 2 * (1 - x[:-1])
        g[1:] += 200 * miss
        return g

    def hessian(self, x):
        h = np.zeros((len(x), len(x)), x.dtype)
        for i in range(len(x) - 1):
            h[i, i] += 1200 * x[i] ** 2 - 400 * x[i + 1] + 2
            h[i, i + 1] = h[i + 1, i] = -400 * x[i]
            h[i + 1, i + 1] += 200
        return h


def newton(problem, x, steps, *, rate=1.0, damping=0.0):
    path = [x]
    for _ in range(steps):
        h = problem.hessian(path[-1]) + damping * np.eye(len(x), dtype=x.dtype)
        path.append(path[-1] - rate * np.linalg.solve(h, problem.gradient(path[-1])))
    return np.array(path)


def damped_newton(problem, x, steps, *, max_backtracking_steps=30):
    """Boyd and Vandenberghe's algorithm 9.5 with optax's constants; a length starts from 1.5 times the last."""
    path, length = [x], 1.0
    for _ in range(steps):
        x, g = path[-1], problem.gradient(path[-1])
        direction = -np.linalg.solve(problem.hessian(x), g)
        slope, length = direction @ g, min(1.5 * length, 1.0)
        for _ in range(max_backtracking_steps):
            if problem.value(x + length * direction) - problem.value(x) - length * SUFFICIENT * slope <= 0:
                break
            length *= 0.8
        path.append(x + length * direction)
    return np.array(path)


def absolute_inverse(h, damping):
    values, vectors = np.linalg.eigh(h)
    return (vectors / (np.abs(values) + damping)) @ vectors.T


def saddle_free_newton(problem, x, steps, *, damping, rate=1.0, num_lanczos=None):
    """With `num_lanczos` in the Krylov subspace, whose basis comes from a QR decomposition of (g, H g, H^2 g, ...)."""
    path = [x]
    for _ in range(steps):
        h, g = problem.hessian(path[-1]), problem.gradient(path[-1])
        if num_lanczos is None:
            step = absolute_inverse(h, damping) @ g
        else:
            basis = krylov_basis(h, g, num_lanczos)
            step = basis @ (absolute_inverse(basis.T @ h @ basis, damping) @ (basis.T @ g))
        path.append(path[-1] - rate * step)
    return np.array(path)


def krylov_basis(h, g, num_vectors):
    columns = [g]
    for _ in range(num_vectors - 1):
        columns.append(h @ columns[-1])
    return np.linalg.qr(np.stack(columns, 1))[0]


def two_loops(g, pairs):
    """Nocedal and Wright's algorithm 7.4; without pairs the direction is g, cut to length 1 (optax's choice)."""
    if not pairs:
        return g * min(1.0, 1 / np.linalg.norm(g))
    q, alphas = g, []
    for s, y in reversed(pairs):
        alphas.append((s @ q) / (s @ y) if s @ y else 0)
        q = q - alphas[-1] * y
    s, y = pairs[-1]
    r = q * ((s @ y) / (y @ y) if y @ y else 1)
    for (s, y), alpha in zip(pairs, reversed(alphas), strict=True):
        r = r + s * (alpha - ((y @ r) / (s @ y) if s @ y else 0))
    return r


def lbfgs(problem, x, steps, *, memory_size=10, max_linesearch_steps=20, given=None):
    """Algorithm 7.5 with a line search from length 1; a pair with s.y = 0 counts but does nothing.

    With a `given` path point i + 1 is where the step from its points up to i leads, not from one's own.
    """
    path, pairs, g = [x], [], problem.gradient(x)
    for i in range(steps):
        old, direction = x, -two_loops(g, pairs)
        path.append(old + line_search(problem, old, direction, max_linesearch_steps) * direction)
        x = path[-1] if given is None else given[i + 1]
        new_g = problem.gradient(x)
        pairs, g = [*pairs, (x - old, new_g - g)][-memory_size:], new_g
    return np.array(path)


class Trial:
    """A length on the line, with value, slope, and by how much it violates the two conditions."""

    def __init__(self, problem, x, direction, length, begin=None):
        point = x + length * direction
        self.length, self.value, self.slope = length, problem.value(point), problem.gradient(point) @ direction
        if begin is None:
            return
        rise = self.value - begin.value
        # Hager and Zhang's approximate condition: near the minimum values say less than slopes.
        approximate = max(self.slope - (2 * SUFFICIENT - 1) * begin.slope, rise - NEARLY * abs(begin.value))
        self.decrease_error = max(min(approximate, rise - SUFFICIENT * length * begin.slope), 0)
        self.curvature_error = max(abs(self.slope) - CURVATURE * abs(begin.slope), 0)
        if np.isnan([self.value, self.slope]).any():
            self.decrease_error = self.curvature_error = np.inf
        self.decreases = self.decrease_error <= 0
        self.good = self.decreases and self.curvature_error <= 0


def line_search(problem, x, direction, max_steps):
    """Algorithms 3.5 (until an interval is found) and 3.6 (inside it); the length to go."""
    x_type = x.dtype.type
    begin = Trial(problem, x, direction, x_type(0))
    safe, interval, last = begin, None, begin
    for count in range(max_steps):
        if interval is None:
            trial = Trial(problem, x, direction, x_type(1) if count == 0 else 2 * last.length, begin)
            safe = trial if trial.decreases else safe
            if not trial.decreases or (count and trial.value >= last.value):
                interval = last, trial, last
            elif trial.slope >= 0:
                interval = trial, last, trial
            last, narrow = trial, False
        else:
            low, high, third = interval
            trial = Trial(problem, x, direction, between(low, high, third), begin)
            safe = trial if trial.decreases and trial.value < safe.value else safe
            narrow = abs(high.length - low.length) <= 1e-5
            if not trial.decreases or trial.value >= low.value:
                interval = low, trial, high
            elif trial.slope * (high.length - low.length) >= 0:
                interval = trial, low, high
            else:
                interval = trial, high, low
        if trial.good:
            return trial.length
        if narrow and safe.length > 0:
            break
    return safe.length if safe.length > 0 or trial.decrease_error == np.inf else trial.length


def between(low, high, third):
    """The minimum of a cubic through three values, else of a parabola through two, else the middle."""
    left, right, width = min(low.length, high.length), max(low.length, high.length), abs(high.length - low.length)
    b, c = high.length - low.length, third.length - low.length
    with np.errstate(divide="ignore", invalid="ignore"):
        rises = np.array([high.value - low.value - low.slope * b, third.value - low.value - low.slope * c])
        cube, square = np.array([[c**2, -(b**2)], [-(c**3), b**3]]) @ rises / ((b * c) ** 2 * (b - c))
        cubic = low.length + (-square + np.sqrt(square**2 - 3 * cube * low.slope)) / (3 * cube)
        parabolic = low.length - low.slope / (2 * rises[0] / b**2)
    if left + 0.2 * width < cubic < right - 0.2 * width:
        return cubic
    if left + 0.1 * width < parabolic < right - 0.1 * width:
        return parabolic
    return (low.length + high.length) / 2
