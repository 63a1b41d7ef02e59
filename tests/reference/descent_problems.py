"""Three functions of a parameter vector with their gradients by hand, NumPy float64; imports nothing of jaxdl.

Vectors hold the leaves in alphabetical order: a layer's bias, then its (in, out) kernel.
"""

import numpy as np

DRAWS = np.random.RandomState(0)
ROTATION = np.linalg.qr(DRAWS.randn(8, 8))[0]
HESSIAN = ROTATION @ np.diag(np.geomspace(1e-3, 1.0, 8)) @ ROTATION.T
X, LABELS = DRAWS.randn(20, 5), DRAWS.randint(0, 3, 20)
ONE_HOT = np.eye(3)[LABELS]
TARGETS = np.stack([np.sin(X[:, 0]), X[:, 1] * X[:, 2]], 1)


def quadratic(theta):
    """1/2 theta^T H theta, of condition 1000."""
    return HESSIAN @ theta


def softmax_regression(theta):
    """Mean cross-entropy of 20 examples of 3 classes; bias (3,), kernel (5, 3)."""
    bias, kernel = theta[:3], theta[3:].reshape(5, 3)
    logits = X @ kernel + bias
    odds = np.exp(logits - logits.max(1, keepdims=True))
    errors = (odds / odds.sum(1, keepdims=True) - ONE_HOT) / len(X)
    return np.concatenate([errors.sum(0), (X.T @ errors).ravel()])


def two_layers(theta):
    """Mean of the squared error, summed over 2 outputs, of tanh layers 5-4-2; first layer, then second."""
    parts = np.split(theta, np.cumsum([4, 20, 2]))
    hidden = np.tanh(X @ parts[1].reshape(5, 4) + parts[0])
    second = parts[3].reshape(4, 2)
    errors = 2 * (hidden @ second + parts[2] - TARGETS) / len(X)
    back = (errors @ second.T) * (1 - hidden**2)
    return np.concatenate([back.sum(0), (X.T @ back).ravel(), errors.sum(0), (hidden.T @ errors).ravel()])


STARTS = {
    quadratic: ROTATION @ np.ones(8), softmax_regression: 0.1 * DRAWS.randn(18), two_layers: 0.5 * DRAWS.randn(34),
}  # fmt: skip
