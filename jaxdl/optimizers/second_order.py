"""Second order: L-BFGS, Newton's method, and Newton's method without its taste for saddle points.

They need the objective itself, as a function of the parameters alone, at every update:
`tx.update(grads, state, params, value=value, grad=grads, value_fn=value_fn)`. `jaxdl.training.make_train_step` passes
all three. They ask for its curvature at the parameters, so it has to be the same function for the whole update, and
for L-BFGS for the whole run.

They compute in the widest dtype among the parameters, float32 at least, and call `value_fn` with parameters of that
dtype; updates have the dtypes of the gradients. `optax.inject_hyperparams` turns whole numbers into arrays: name them,
as in `optax.inject_hyperparams(saddle_free_newton, static_args="num_lanczos")(...)`. Parameters
split over a mesh whose axes are Explicit are gathered for the update; over Auto axes the compiler decides.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import optax
from jax.flatten_util import ravel_pytree

from jaxdl import checks, tree
from jaxdl.optimizers import curvature
from jaxdl.optimizers.hyperparameters import ScalarOrSchedule, check_rate
from jaxdl.optimizers.value_functions import in_full_precision

PyTree = Any
DENSE_LIMIT = 1000
ITERATION_LIMIT = 1000


def lbfgs(memory_size: int = 10, *, max_linesearch_steps: int = 20) -> optax.GradientTransformationExtraArgs:
    """L-BFGS with a line search: `x <- x - eta P g`, with P ~ H^{-1} from the last changes of x and g.

    It is `optax.lbfgs`: the two-loop recursion, and a zoom line search from eta = 1 for the strong Wolfe conditions
    (sufficient decrease 1e-4, curvature 0.9). For DETERMINISTIC objectives only: the whole data set as one batch, no
    dropout, no augmentation. From batch to batch the change of g would be that of the batch, and P no inverse of
    anything.

    Args:
      memory_size: number of pairs of changes that are kept, each as large as the parameters twice.
      max_linesearch_steps: evaluations of value and gradient an update may take.

    Returns:
      An optax transformation; its update needs `value`, `grad` and `value_fn`. Where the line search finds nothing
      better within its steps, it takes the best it saw, and stays where every trial is NaN or infinite.

    Raises:
      ValueError: an argument that is no whole number >= 1; at `update`, something missing.

    Example:
      >>> tx = lbfgs()
      >>> value_fn = lambda x: jnp.sum(x**2)
      >>> x = jnp.array([3.0, 4.0])
      >>> value, grad = jax.value_and_grad(value_fn)(x)
      >>> updates, _ = tx.update(grad, tx.init(x), x, value=value, grad=grad, value_fn=value_fn)
      >>> x + updates  # the first step is of length 1
      Array([2.4, 3.2], dtype=float32)

    References:
      Liu and Nocedal, "On the limited memory BFGS method for large scale optimization", 1989;
      Nocedal and Wright, "Numerical Optimization", 2nd edition, algorithms 7.4, 3.5 and 3.6.
    """
    checks.whole_number(memory_size=memory_size, minimum=1, remedy="10 is usual.")
    checks.whole_number(max_linesearch_steps=max_linesearch_steps, minimum=1, remedy="20 is usual.")
    search = optax.scale_by_zoom_linesearch(max_linesearch_steps, initial_guess_strategy="one")
    inner = optax.lbfgs(memory_size=memory_size, linesearch=search)
    return in_full_precision(inner, needs=("value", "grad", "value_fn"))


def newton(
    *,
    learning_rate: ScalarOrSchedule = 1.0,
    damping: float | jax.Array = 0.0,
    solver: Literal["auto", "dense", "cg"] = "auto",
    cg_tolerance: float | jax.Array = 1e-6,
    cg_iterations: int | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Newton's method: `x <- x - eta (H + damping I)^{-1} g`, with H the Hessian of `value_fn` at x.

    One step with eta = 1 ends at the stationary point of a quadratic, WHICHEVER it is: Newton's method is attracted to
    saddles and maxima where H is not positive definite. There use `saddle_free_newton`, or damping above the most
    negative eigenvalue. Where the full step is too long, let a line search shorten it (Boyd and Vandenberghe's damped
    Newton method, for H + damping I positive definite):
    `optax.chain(newton(), optax.scale_by_backtracking_linesearch(max_backtracking_steps=30))`.

    Args:
      learning_rate: eta >= 0: number, traced scalar or optax schedule.
      damping: added to every eigenvalue, >= 0: number or traced scalar. With damping g / damping is the step along
        directions without curvature.
      solver: "dense" forms H and eliminates: n^2 numbers, n products with H. "cg" takes conjugate gradients, which
        need products with H alone, and H + damping I positive definite. "auto": dense up to 1,000 parameters.
      cg_tolerance: residual over |g| where conjugate gradients stop; no less than the precision of the floats.
      cg_iterations: and after how many products; None: 10 for each parameter, 1,000 at most. The step they have come
        to is taken; for positive definite H + damping I it leads downhill.

    Returns:
      An optax transformation; its update needs `value_fn`. The gradient is what arrives in the chain, so whatever
      stands in front changes g, but not H. For a singular H + damping I there is no Newton step: "dense" gives an
      update that is not finite, or huge along the null space where rounding hides the singularity; "cg" gives the
      shortest solution if g has no part in the null space. NaN or infinity in g or H makes the whole update NaN.

    Raises:
      ValueError: an argument out of its range; at `update`, no `params` or no `value_fn`.

    Example:
      >>> tx = newton()
      >>> value_fn = lambda x: jnp.sum(jnp.array([1.0, 100.0]) * (x - 2.0) ** 2)
      >>> x = jnp.array([5.0, -7.0])
      >>> updates, _ = tx.update(jax.grad(value_fn)(x), tx.init(x), x, value_fn=value_fn)
      >>> x + updates
      Array([2., 2.], dtype=float32)

    References:
      Boyd and Vandenberghe, "Convex Optimization", 2004, section 9.5; Nocedal and Wright, "Numerical Optimization",
      2nd edition, section 7.1 (conjugate gradients).
    """
    check_rate(learning_rate, remedy="1.0 is the full Newton step.")
    checks.number(damping=damping, minimum=0, remedy="It is added to the eigenvalues of the Hessian.")
    checks.number(cg_tolerance=cg_tolerance, minimum=0, remedy="1e-6 is the default.")
    if solver not in ("auto", "dense", "cg"):
        raise ValueError(f"solver: expected 'auto', 'dense' or 'cg'; got {solver!r}. Leave it out for 'auto'.")
    if cg_iterations is not None:
        checks.whole_number(cg_iterations=cg_iterations, minimum=1, remedy="None chooses by the number of parameters.")

    def step(f: curvature.Function, x: jax.Array, g: jax.Array) -> jax.Array:
        if solver == "dense" or (solver == "auto" and x.size <= DENSE_LIMIT):
            return curvature.newton_step(f, x, g, damping)
        limit = min(10 * x.size, ITERATION_LIMIT) if cg_iterations is None else cg_iterations
        return curvature.conjugate_gradient_step(f, x, g, damping, tolerance=cg_tolerance, max_iterations=limit)

    return _preconditioned(step, learning_rate)


def saddle_free_newton(
    *, learning_rate: ScalarOrSchedule = 1.0, damping: float | jax.Array, num_lanczos: int | None = None
) -> optax.GradientTransformationExtraArgs:
    """Saddle-free Newton: `x <- x - eta (|H| + damping I)^{-1} g`; |H| has the eigenvectors of H and `|lambda|`.

    Downhill along every eigenvector, with steps as long as Newton's: along negative curvature it moves away from the
    stationary point, where Newton's method moves towards it.

    Args:
      learning_rate: eta >= 0: number, traced scalar or optax schedule.
      damping: added to every `|lambda|`, >= 0: number or traced scalar. It bounds the step by |g| / damping, which
        matters where an eigenvalue changes sign: with 0 there is no bound.
      num_lanczos: None: the eigendecomposition of H, for at most 1,000 parameters. k: within the Krylov subspace
        span(g, H g, ..., H^{k-1} g) by k products with H and k vectors as large as the parameters; a k above the
        number of parameters is cut to it.

    Returns:
      An optax transformation; its update needs `value_fn`. With `num_lanczos` the step stays in the subspace, as
      Dauphin's does; since g lies in it, nothing of g is lost outside, and from as many vectors as H has distinct
      eigenvalues on the step is exact. (Dauphin's algorithm 1 chooses the damping anew by a line search; here it is
      given.) A saddle is left only along directions that g has a part in: exactly on its stable manifold, and at its
      very centre, all methods of this kind stay. NaN or infinity in g or H makes the whole update NaN; so does
      damping 0 at an eigenvalue of 0.

    Raises:
      ValueError: an argument out of its range; at `init`, too many parameters for `num_lanczos=None`; at `update`, no
        `params` or no `value_fn`.

    References:
      Dauphin et al., "Identifying and attacking the saddle point problem in high-dimensional non-convex optimization",
      2014, section 5 and algorithm 1.
    """
    check_rate(learning_rate, remedy="1.0 is the full Newton step.")
    checks.number(damping=damping, minimum=0, remedy="It is added to the sizes of the Hessian's eigenvalues.")
    if num_lanczos is not None:
        checks.whole_number(num_lanczos=num_lanczos, minimum=1, remedy="Leave it out for the eigendecomposition.")

    def step(f: curvature.Function, x: jax.Array, g: jax.Array) -> jax.Array:
        if num_lanczos is None:
            return curvature.saddle_free_step(f, x, g, damping)
        return curvature.krylov_saddle_free_step(f, x, g, damping, num_lanczos=min(num_lanczos, x.size))

    def check_size(params: PyTree) -> None:
        size = tree.num_entries(params)
        if num_lanczos is None and size > DENSE_LIMIT:
            raise ValueError(
                f"num_lanczos: expected a number for more than {DENSE_LIMIT} parameters, since the eigendecomposition "
                f"takes too long; got None for {size}. Pass for example num_lanczos=20."
            )

    return _preconditioned(step, learning_rate, check_size)


def _preconditioned(
    step: Callable[..., jax.Array], learning_rate: ScalarOrSchedule, check: Callable[[PyTree], None] = lambda _: None
) -> optax.GradientTransformationExtraArgs:
    """`step(f, x, g)` of flat vectors as a transformation, times minus the learning rate."""

    def init(params: PyTree) -> optax.EmptyState:
        check(params)
        return optax.EmptyState()

    def update(
        updates: PyTree, state: Any, params: PyTree = None, *, value_fn: Any = None, **_: Any
    ) -> tuple[PyTree, Any]:
        x, unravel = ravel_pytree(params)
        if not x.size:
            return updates, state
        return unravel(step(lambda flat: value_fn(unravel(flat)), x, ravel_pytree(updates)[0])), state

    inner = optax.GradientTransformationExtraArgs(init, update)
    return in_full_precision(optax.chain(inner, optax.scale_by_learning_rate(learning_rate)), needs=("value_fn",))
