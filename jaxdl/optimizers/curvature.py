"""Steps from the Hessian of a function of one vector: exact for few entries, by Krylov subspaces for many.

All are `step(f, x, g, ...) -> s` with s of the shape of g, in the dtype of x. A gradient or a Hessian that is not
finite makes all of s NaN.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.sparse.linalg import cg

from jaxdl import tree

Scalar = float | jax.Array
Function = Callable[[jax.Array], jax.Array]
# Accelerators may round the factors of a product to bfloat16, which no basis stays orthogonal under.
HIGHEST = jax.lax.Precision.HIGHEST


def hessian_product(f: Function, x: jax.Array) -> Function:
    """`v -> H v` with H the Hessian of f at x: the derivative of the gradient along v, H itself never formed.

    The gradient at x is taken once, whatever the number of products.
    """
    return jax.linearize(jax.grad(f), x)[1]


def newton_step(f: Function, x: jax.Array, g: jax.Array, damping: Scalar) -> jax.Array:
    """`(H + damping I)^{-1} g` by elimination."""
    hessian = jax.hessian(f)(x)
    return _nan_unless_finite(hessian, g, jnp.linalg.solve(_damped(hessian, damping), g))


def conjugate_gradient_step(
    f: Function, x: jax.Array, g: jax.Array, damping: Scalar, *, tolerance: Scalar, max_iterations: int
) -> jax.Array:
    """`(H + damping I)^{-1} g` by conjugate gradients, one product with H an iteration."""
    product = hessian_product(f, x)
    # Of length 1, since the squares of g may over- or underflow.
    length, direction = _polar(g)
    # A residual below the precision is one of rounding, and the products after it underflow.
    within: Any = jnp.maximum(tolerance, jnp.finfo(g.dtype).eps)
    step, _ = cg(lambda v: product(v) + damping * v, direction, tol=within, maxiter=max_iterations)
    # To the solver a NaN looks like convergence.
    return _nan_unless_finite(product(direction), g, length * step)


def saddle_free_step(f: Function, x: jax.Array, g: jax.Array, damping: Scalar) -> jax.Array:
    """`(|H| + damping I)^{-1} g` from the eigendecomposition: |H| has the eigenvectors of H and `|lambda|`."""
    hessian = jax.hessian(f)(x)
    return _nan_unless_finite(hessian, g, jnp.matmul(_absolute_inverse(hessian, damping), g, precision=HIGHEST))


def krylov_saddle_free_step(f: Function, x: jax.Array, g: jax.Array, damping: Scalar, *, num_lanczos: int) -> jax.Array:
    """`V (|T| + damping I)^{-1} V^T g` with V, T from `lanczos` started at g."""
    length, _ = _polar(g)
    found = lanczos(hessian_product(f, x), g, num_vectors=num_lanczos)
    hessian = jnp.diag(found.diagonal) + jnp.diag(found.off_diagonal, 1) + jnp.diag(found.off_diagonal, -1)
    coefficients = _absolute_inverse(hessian, damping)[:, 0]  # V^T g = |g| e_1
    step = length * jnp.matmul(coefficients, found.basis, precision=HIGHEST)
    return _nan_unless_finite(hessian, g, step)


class Lanczos(NamedTuple):
    """An orthonormal basis of a Krylov subspace, and the operator in it, which is tridiagonal.

    Attributes:
      basis: `(k, n)`, orthonormal rows, the first along the start; rows of zeros where the subspace is smaller.
      diagonal: `(k,)`; for a row of zeros the operator's scale, an eigenvalue coupled to nothing.
      off_diagonal: `(k - 1,)`, not negative; 0 beside a row of zeros.
    """

    basis: jax.Array
    diagonal: jax.Array
    off_diagonal: jax.Array


def lanczos(product: Function, start: jax.Array, *, num_vectors: int, restart_key: jax.Array | None = None) -> Lanczos:
    """The Lanczos process for a symmetric `product`, every new vector made orthogonal to ALL before it, twice.

    Args:
      product: `v -> A v` of vectors `(n,)`, A symmetric.
      start: `(n,)`.
      num_vectors: k, from 1 to n.
      restart_key: where the subspace ends before k vectors, go on with a random direction orthogonal to it, in place
        of rows of zeros. The basis then always has k vectors, and repeated eigenvalues are found as often as they
        occur; with k = n all of them.

    References:
      Golub and Van Loan, "Matrix Computations", 4th edition, section 10.1; Giraud et al., "The loss of orthogonality
      in the Gram-Schmidt orthogonalization process", 2005 (twice is enough).
    """
    small = 10 * jnp.finfo(start.dtype).eps
    norm, direction = _polar(start)

    def grow(carry: tuple[jax.Array, ...], i: jax.Array) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
        basis, vector, scale = carry
        basis = basis.at[i].set(vector)
        image = product(vector)
        diagonal = jnp.vdot(vector, image, precision=HIGHEST)
        scale = jnp.maximum(scale, tree.norm(image))
        for _ in range(2):
            inside = jnp.matmul(basis, image, precision=HIGHEST)
            image = image - jnp.matmul(inside, basis, precision=HIGHEST)
        length = tree.norm(image)
        # What rounding leaves of an image inside the subspace has no direction.
        ended = length <= small * scale
        length = jnp.where(ended, 0, length)
        following = jnp.where(ended, 0, image / jnp.where(ended, 1, length))
        if restart_key is not None:
            fresh = partial(_outside, basis, jax.random.fold_in(restart_key, i))
            # Behind the last vector nothing follows, and of n vectors none is left.
            following = jax.lax.cond(ended & (i + 1 < num_vectors), fresh, lambda: following)
        return (basis, following, scale), (diagonal, length, jnp.any(vector != 0))

    empty = jnp.zeros((num_vectors, start.size), start.dtype)
    begun = (empty, jnp.where(norm == 0, 0, direction), jnp.zeros((), start.dtype))
    (basis, _, scale), (diagonal, lengths, alive) = jax.lax.scan(grow, begun, jnp.arange(num_vectors))
    decoupled = jnp.where(scale == 0, 1, scale)
    return Lanczos(basis, jnp.where(alive, diagonal, decoupled), lengths[:-1])


def _outside(basis: jax.Array, key: jax.Array) -> jax.Array:
    """A random direction orthogonal to the rows, and so to the subspace that they span."""
    vector = jax.random.normal(key, basis.shape[1:], basis.dtype)
    for _ in range(2):
        inside = jnp.matmul(basis, vector, precision=HIGHEST)
        vector = vector - jnp.matmul(inside, basis, precision=HIGHEST)
    return _polar(vector)[1]


def _polar(g: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Length and direction; a direction of 0 for 0, NaN where the length is not finite."""
    length = tree.norm(g).astype(g.dtype)
    return length, g / jnp.where(length == 0, 1, length)


def _damped(matrix: jax.Array, damping: Scalar) -> jax.Array:
    return matrix + damping * jnp.eye(len(matrix), dtype=matrix.dtype)


def _absolute_inverse(matrix: jax.Array, damping: Scalar) -> jax.Array:
    """`(|A| + damping I)^{-1}`."""
    values, vectors = jnp.linalg.eigh(matrix)
    return jnp.matmul(vectors / (jnp.abs(values) + damping)[None, :], vectors.T, precision=HIGHEST)


def _nan_unless_finite(curvature: jax.Array, g: jax.Array, step: jax.Array) -> jax.Array:
    # A NaN in one block of a block-diagonal Hessian would leave the others' steps as they are.
    return jnp.where(jnp.isfinite(curvature).all() & jnp.isfinite(g).all(), step, jnp.nan)
