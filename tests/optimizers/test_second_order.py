"""L-BFGS and the Newton methods: NumPy transcriptions, quadratics, scikit-learn's optimum, saddles."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdl
from jaxdl.optimizers import lbfgs, newton, saddle_free_newton
from tests.optimizers.descent import float64
from tests.reference import second_order as reference

DRAWS = np.random.RandomState(0)
STEPS = 200
MATRIX = np.sqrt(np.geomspace(10, 1000, 4))[:, None] * np.linalg.qr(DRAWS.randn(4, 4))[0]
CENTRE = DRAWS.randn(4)
FEATURES = DRAWS.randn(40, 4) * [1, 1, 0.5, 0.5]
ROWS = FEATURES * np.sign(FEATURES @ DRAWS.randn(4) + DRAWS.randn(40))[:, None]
STRENGTH = 0.2
# The last start of the second line has an indefinite Hessian.
CONVEX = np.array([[3.0, -2.0, 1.0, 2.0], [0.0, 0.0, 0.0, 0.0], [1.2, 1.2, 1.2, 1.2]])
SADDLE = np.array([[3.0, -2.0, 1.0, 2.0], [0.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.5, 0.5]])

METHODS = {
    "newton": (newton(learning_rate=0.1), CONVEX, reference.newton, {"rate": 0.1}),
    "newton by cg": (
        newton(learning_rate=0.1, solver="cg", cg_tolerance=1e-12),
        CONVEX, reference.newton, {"rate": 0.1},
    ),
    "newton with damping": (newton(damping=0.5), CONVEX, reference.newton, {"damping": 0.5}),
    "newton by cg with damping": (newton(damping=0.5, solver="cg"), CONVEX, reference.newton, {"damping": 0.5}),
    "damped newton": (
        optax.chain(newton(), optax.scale_by_backtracking_linesearch(30)),
        CONVEX, reference.damped_newton, {},
    ),
    "saddle-free": (
        saddle_free_newton(damping=1.0, learning_rate=0.5),
        SADDLE, reference.saddle_free_newton, {"damping": 1.0, "rate": 0.5},
    ),
    "saddle-free by Lanczos": (
        saddle_free_newton(damping=100.0, num_lanczos=2),
        SADDLE, reference.saddle_free_newton, {"damping": 100.0, "num_lanczos": 2},
    ),
}  # fmt: skip


def problems():
    return reference.Quadratic(MATRIX, CENTRE), reference.Logistic(ROWS, STRENGTH), reference.Rosenbrock()


def updated(tx, value_fn, params, state, **extra):
    value, grad = jax.value_and_grad(value_fn)(params)
    updates, state = tx.update(grad, state, params, value=value, grad=grad, value_fn=value_fn, **extra)
    return optax.apply_updates(params, updates), state


def path_of(tx, value_fn, start, steps):
    """`(steps + 1, ...)` of every leaf, by one scan."""

    def step(carry, _):
        carry = updated(tx, value_fn, *carry)
        return carry, carry[0]

    _, path = jax.lax.scan(step, (start, tx.init(start)), length=steps)
    return jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), start, path)


def three_paths(tx, starts, dtype):
    matrix, centre, rows = (jnp.asarray(array, dtype) for array in (MATRIX, CENTRE, ROWS))
    functions = [
        lambda x: jnp.sum((matrix @ (x - centre)) ** 2) / 2,
        lambda x: jnp.mean(jnp.logaddexp(0, -rows @ x)) + STRENGTH / 2 * jnp.sum(x**2),
        lambda x: jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2),
    ]

    def path(i, start):
        return path_of(tx, lambda x: jax.lax.switch(i, functions, x), start, STEPS)

    run = jax.jit(lambda starts: jax.lax.map(lambda each: path(*each), (jnp.arange(3), starts)))
    found = np.asarray(run(jnp.asarray(starts, dtype)))
    assert found.dtype == dtype
    return found.astype(np.float64)


def apart(found, expected):
    """Largest difference at every step, relative to the largest entry; at a start of 0 nothing differs."""
    largest = np.abs(expected).max(-1)
    return np.abs(found - expected).max(-1) / np.where(largest == 0, 1, largest)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-6), (np.float32, 1e-5)])
@pytest.mark.parametrize("name", METHODS)
def test_200_steps_on_three_problems_are_those_of_the_transcription(name, dtype, tolerance):
    tx, starts, method, arguments = METHODS[name]
    expected = np.array([method(problem, x, STEPS, **arguments) for problem, x in zip(problems(), starts, strict=True)])
    with float64(dtype == np.float64):
        assert apart(three_paths(tx, starts, dtype), expected).max() < tolerance
    assert np.linalg.norm(expected[:, 0] - expected[:, -1], axis=-1).min() > 0.1


def test_200_steps_of_lbfgs_are_those_of_the_transcription():
    expected = np.array([reference.lbfgs(p, x, STEPS) for p, x in zip(problems(), CONVEX, strict=True)])
    with float64(True):
        assert apart(three_paths(lbfgs(), CONVEX, np.float64), expected).max() < 1e-6


def test_every_step_of_lbfgs_in_single_precision_is_the_transcriptions_from_the_same_history():
    """Paths in float32 part by rounding before they converge: the transcription's own from float64's by 1e-4."""
    found = three_paths(lbfgs(), CONVEX, np.float32)
    expected = np.array([reference.lbfgs(p, x[0], STEPS, given=x) for p, x in zip(problems(), found, strict=True)])
    assert apart(found, expected).max() < 1e-5
    minima = np.array([reference.newton(p, x, 20)[-1] for p, x in zip(problems(), CONVEX, strict=True)])
    assert apart(found[:, -1], minima).max() < 1e-5


@pytest.mark.parametrize("tx", [lbfgs(3), lbfgs(max_linesearch_steps=1)])
def test_memory_and_length_of_the_search_are_those_asked_for(tx):
    changed = (
        {"memory_size": 3} if tx.init(jnp.zeros(4))[0].weights_memory.shape == (3,) else {"max_linesearch_steps": 1}
    )
    with float64(True):
        found = three_paths(tx, CONVEX, np.float64)[:, :30]
    steps = {"steps": 29, **changed}
    expected = np.array([reference.lbfgs(p, x, **steps) for p, x in zip(problems(), CONVEX, strict=True)])
    plain = np.array([reference.lbfgs(p, x, 29) for p, x in zip(problems(), CONVEX, strict=True)])
    assert apart(found, expected).max() < 1e-6
    assert apart(found, plain).max() > 1e-3


def test_lbfgs_solves_logistic_regression_on_digits_and_finds_scikit_learns_optimum():
    from sklearn.linear_model import LogisticRegression

    splits = jaxdl.data.load("digits")
    x, y = splits.train.x.reshape(len(splits.train.x), -1).astype(np.float64), splits.train.y
    num, strength = len(x), 0.01
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = LogisticRegression(C=1 / (num * strength), tol=1e-9, solver="newton-cg", max_iter=1000).fit(x, y)
    with float64(True):
        inputs, labels = jnp.asarray(x), jnp.asarray(y)

        def value_fn(params):
            logits = inputs @ params["kernel"] + params["bias"][None]
            losses = jaxdl.losses.softmax_cross_entropy(logits, labels)
            return losses.mean() + strength / 2 * jnp.sum(params["kernel"] ** 2)

        tx = lbfgs()
        start = {"kernel": jnp.zeros((64, 10)), "bias": jnp.zeros(10)}
        norm = lambda params: optax.tree.norm(jax.grad(value_fn)(params))  # noqa: E731

        def more(carry):
            return (norm(carry[0]) > 1e-8) & (carry[2] < 500)

        @jax.jit
        def solve(start):
            one = lambda carry: (*updated(tx, value_fn, *carry[:2]), carry[2] + 1)  # noqa: E731
            return jax.lax.while_loop(more, one, (start, tx.init(start), 0))

        params, _, steps = solve(start)
        assert float(norm(params)) < 1e-8
        assert steps < 250
    kernel, bias = np.asarray(params["kernel"]), np.asarray(params["bias"])
    np.testing.assert_allclose(kernel.T, found.coef_, atol=1e-5)
    # A constant added to all biases changes nothing.
    np.testing.assert_allclose(bias - bias.mean(), found.intercept_ - found.intercept_.mean(), atol=1e-5)
    assert np.abs(found.coef_).max() > 0.5


def random_quadratic(eigenvalues):
    """1/2 (x - c)^T A (x - c) of a tree of three leaves, one a scalar."""
    draws = np.random.RandomState(1)
    n = len(eigenvalues)
    axes = np.linalg.qr(draws.randn(n, n))[0]
    matrix, centre = (axes * eigenvalues) @ axes.T, draws.randn(n)

    def flat(params):
        return jnp.concatenate([params["a"].ravel(), params["b"], params["c"][None]])

    def value_fn(params):
        d = flat(params) - jnp.asarray(centre, params["b"].dtype)
        return d @ (jnp.asarray(matrix, d.dtype) @ d) / 2

    return value_fn, flat, matrix, centre


def start_of(dtype, n=10):
    draws = np.random.RandomState(2)
    sizes = {"a": draws.randn(2, 3), "b": draws.randn(n - 7), "c": draws.randn()}
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), sizes)


EXACT = {
    "dense": newton(solver="dense"),
    "cg": newton(solver="cg", cg_tolerance=1e-13),
    "auto": newton(),
    "saddle-free": saddle_free_newton(damping=0.0),
    "saddle-free by Lanczos": saddle_free_newton(damping=0.0, num_lanczos=10),
    "more vectors than parameters": saddle_free_newton(damping=0.0, num_lanczos=99),
}


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-11), (np.float32, 1e-5)])
@pytest.mark.parametrize("name", EXACT)
def test_one_step_ends_at_the_minimum_of_a_quadratic(name, dtype, tolerance):
    value_fn, flat, _, centre = random_quadratic(np.geomspace(0.1, 10, 10))
    with float64(dtype == np.float64):
        start, tx = start_of(dtype), EXACT[name]
        new, _ = jax.jit(lambda params: updated(tx, value_fn, params, tx.init(params)))(start)
        assert {leaf.dtype for leaf in jax.tree.leaves(new)} == {np.dtype(dtype)}
        np.testing.assert_allclose(flat(new), centre, atol=tolerance)


def test_newton_is_attracted_to_saddles_and_the_saddle_free_step_is_reflected():
    eigenvalues = np.array([-2, -1, -0.5, 0.5, 1, 2, 3, 4, 5, 6.0])
    value_fn, flat, matrix, centre = random_quadratic(eigenvalues)
    start = start_of(np.float32)
    to_saddle, _ = updated(newton(), value_fn, start, newton().init(start))
    np.testing.assert_allclose(flat(to_saddle), centre, atol=1e-4)
    gradient = matrix @ (np.asarray(flat(start), np.float64) - centre)
    expected = np.asarray(flat(start)) - reference.absolute_inverse(matrix, 0.3) @ gradient
    for tx in (saddle_free_newton(damping=0.3), saddle_free_newton(damping=0.3, num_lanczos=10)):
        np.testing.assert_allclose(flat(updated(tx, value_fn, start, tx.init(start))[0]), expected, atol=1e-4)


def test_saddle_free_newton_leaves_a_saddle_that_newton_converges_to():
    value_fn = lambda p: p[0] ** 2 - p[1] ** 2 + p[1] ** 4 / 4  # noqa: E731
    starts = jnp.array([[0.5, 1e-3], [-1.0, 0.1], [0.3, -0.2]])
    path = lambda tx: jax.jit(jax.vmap(lambda p: path_of(tx, value_fn, p, 40)))(starts)  # noqa: E731
    np.testing.assert_allclose(path(newton())[:, -1], 0, atol=1e-6)
    minima = np.stack([np.zeros(3), np.sqrt(2) * np.sign(starts[:, 1])], 1)
    for tx in (saddle_free_newton(damping=0.1), saddle_free_newton(damping=0.1, num_lanczos=2)):
        np.testing.assert_allclose(path(tx)[:, -1], minima, atol=1e-6)


def test_a_line_search_keeps_newton_from_diverging():
    """Of sum sqrt(1 + x^2) the Newton step leads from x to -x^3 (Boyd and Vandenberghe, section 9.5)."""
    value_fn = lambda params: sum(jnp.sum(jnp.sqrt(1 + leaf**2)) for leaf in params)  # noqa: E731
    start = (jnp.array([2.0, -1.5]), jnp.array([[0.5]]))
    new, _ = updated(newton(), value_fn, start, newton().init(start))
    np.testing.assert_allclose(np.concatenate(jax.tree.map(np.ravel, new)), [-8.0, 1.5**3, -(0.5**3)], rtol=1e-5)
    tx = optax.chain(newton(), optax.scale_by_backtracking_linesearch(30))
    with float64(True):
        start = jax.tree.map(lambda leaf: leaf.astype(np.float64), start)
        path = jax.jit(lambda start: path_of(tx, value_fn, start, 15))(start)
        np.testing.assert_allclose(np.concatenate([np.ravel(leaf[-1]) for leaf in path]), 0, atol=1e-12)


def test_rates_and_starts_side_by_side():
    value_fn = lambda x: jnp.sum(jnp.array([1.0, 10.0]) * (x - 3) ** 2)  # noqa: E731
    rates = jnp.array([0.0, 0.25, 0.5, 1.0])
    for make in (
        lambda rate: newton(learning_rate=rate),
        lambda rate: newton(learning_rate=rate, solver="cg"),
        lambda rate: saddle_free_newton(learning_rate=rate, damping=0.0),
        lambda rate: saddle_free_newton(learning_rate=rate, damping=0.0, num_lanczos=2),
    ):
        paths = jax.jit(jax.vmap(lambda rate: path_of(make(rate), value_fn, jnp.array([1.0, 7.0]), 3)))(rates)  # noqa: B023
        left = (1 - np.asarray(rates))[:, None] ** np.arange(4)
        np.testing.assert_allclose(paths - 3, left[..., None] * np.array([-2.0, 4.0]), atol=1e-5)
    starts = jnp.asarray(DRAWS.randn(3, 4), jnp.float32)
    rosenbrock = lambda x: jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)  # noqa: E731
    side_by_side = jax.jit(jax.vmap(lambda x: path_of(lbfgs(), rosenbrock, x, 5)))(starts)
    step = jax.jit(lambda x, state: updated(lbfgs(), rosenbrock, x, state))
    for start, path in zip(starts, side_by_side, strict=True):
        state = lbfgs().init(start)
        for expected in path[1:]:
            start, state = step(start, state)
            np.testing.assert_allclose(start, expected, rtol=1e-3)


def test_schedules_and_traced_damping():
    value_fn = lambda x: jnp.sum(2 * x**2)  # noqa: E731
    rate = optax.piecewise_constant_schedule(1.0, {1: 0.5})
    path = path_of(newton(learning_rate=rate, damping=4.0), value_fn, jnp.array([8.0]), 3)
    np.testing.assert_allclose(path[:, 0], [8.0, 4.0, 3.0, 2.25])
    by_damping = jax.vmap(lambda d: path_of(newton(damping=d), value_fn, jnp.array([8.0]), 1)[-1, 0])
    np.testing.assert_allclose(by_damping(jnp.array([0.0, 4.0, 12.0])), [0.0, 4.0, 6.0])
    tx = optax.inject_hyperparams(saddle_free_newton, static_args="num_lanczos")(damping=4.0, num_lanczos=1)
    np.testing.assert_allclose(path_of(tx, value_fn, jnp.array([8.0]), 1)[-1], [4.0])


def test_what_stands_in_front_changes_the_gradient_but_not_the_hessian():
    value_fn = lambda x: jnp.sum(2 * x**2)  # noqa: E731
    tx = optax.chain(optax.add_decayed_weights(1.0), newton())
    new, _ = updated(tx, value_fn, jnp.array([8.0]), tx.init(jnp.array([8.0])))
    np.testing.assert_allclose(new, [8 - (4 * 8 + 8) / 4])


def test_dense_up_to_the_limit_and_conjugate_gradients_beyond():
    def program(n):
        value_fn = lambda x: jnp.sum(x**4)  # noqa: E731
        x = jnp.ones(n)
        return str(jax.make_jaxpr(lambda x: newton().update(x, newton().init(x), x, value_fn=value_fn)[0])(x))

    assert "1000,1000]" in program(1000)
    assert "1001,1001]" not in program(1001)


def test_the_second_call_compiles_nothing():
    traced = []

    def value_fn(x):
        traced.append(1)
        return jnp.sum(x**4)

    for tx in (lbfgs(), newton(), newton(solver="cg"), saddle_free_newton(damping=1.0, num_lanczos=2)):
        step = jax.jit(lambda x, state: updated(tx, value_fn, x, state))  # noqa: B023
        x, state = step(jnp.ones(3), tx.init(jnp.ones(3)))
        count = len(traced)
        step(x, state)
        assert len(traced) == count


def test_lbfgs_is_optaxs_to_the_byte(same_bytes):
    value_fn = lambda p: jnp.sum((p["w"] @ p["w"].T - 1) ** 2) + jnp.sum(p["b"] ** 4)  # noqa: E731
    start = {"w": jnp.asarray(DRAWS.randn(3, 2), jnp.float32), "b": jnp.ones(2)}
    ours, theirs = (jax.jit(lambda p, tx=tx: path_of(tx, value_fn, p, 10))(start) for tx in (lbfgs(), optax.lbfgs()))
    same_bytes(ours, theirs)


def test_singular_hessians_do_what_the_help_says():
    value_fn = lambda x: jnp.sum((x[0] + x[1] - 2) ** 2)  # noqa: E731
    start = jnp.array([3.0, 1.0])
    after = lambda tx: np.asarray(updated(tx, value_fn, start, tx.init(start))[0])  # noqa: E731
    assert not np.isfinite(after(newton())).all()
    np.testing.assert_allclose(after(newton(solver="cg")), [2.0, 0.0], atol=1e-6)
    shrunk = 4 / (4 + 0.5)  # H has the eigenvalue 4 along (1, 1)
    for tx in (newton(damping=0.5), saddle_free_newton(damping=0.5), saddle_free_newton(damping=0.5, num_lanczos=2)):
        np.testing.assert_allclose(after(tx), start - shrunk, atol=1e-6)


@pytest.mark.parametrize("name", ["dense", "cg", "saddle-free", "saddle-free by Lanczos"])
def test_no_step_at_a_stationary_point_and_nan_everywhere_from_nan_anywhere(name):
    tx, params = EXACT[name], {"a": jnp.ones(2), "b": jnp.array([1.0])}
    after = lambda f, grads: tx.update(grads, tx.init(params), params, value_fn=f)[0]  # noqa: E731
    good = lambda p: jnp.sum(p["a"] ** 2) + jnp.sum(p["b"] ** 2)  # noqa: E731
    zero = jax.tree.map(jnp.zeros_like, params)
    assert all(jnp.all(leaf == 0) for leaf in jax.tree.leaves(after(good, zero)))
    bad = lambda p: jnp.sum(p["a"] ** 2) + jnp.nan * jnp.sum(p["b"] ** 2)  # noqa: E731
    for f, grads in (
        (bad, params),
        (good, {**params, "b": jnp.array([jnp.nan])}),
        (good, {**params, "b": jnp.array([jnp.inf])}),
    ):
        assert all(jnp.isnan(leaf).all() for leaf in jax.tree.leaves(after(f, grads)))


def test_gradients_whose_squares_leave_the_range_of_floats():
    for scale in (1e-20, 1e20):
        value_fn = lambda x: jnp.sum(scale * (x - 2) ** 2)  # noqa: B023, E731
        for name in ("dense", "cg", "saddle-free", "saddle-free by Lanczos"):
            new, _ = updated(EXACT[name], value_fn, jnp.zeros(3), EXACT[name].init(jnp.zeros(3)))
            np.testing.assert_allclose(new, 2.0, rtol=1e-5)


def test_arguments_out_of_range():
    with pytest.raises(ValueError, match=r"memory_size: expected a whole number >= 1; got 0\. 10 is usual"):
        lbfgs(0)
    with pytest.raises(ValueError, match=r"max_linesearch_steps: expected a whole number >= 1; got 2\.5\. 20 is usual"):
        lbfgs(max_linesearch_steps=2.5)
    with pytest.raises(ValueError, match=r"learning_rate: expected one finite number >= 0; got -1\. 1\.0 is the full"):
        newton(learning_rate=-1)
    with pytest.raises(ValueError, match=r"damping: expected one finite number >= 0; got -1\. It is added to the eig"):
        newton(damping=-1)
    with pytest.raises(ValueError, match=r"cg_tolerance: expected one finite number >= 0; got nan\. 1e-6 is the def"):
        newton(cg_tolerance=float("nan"))
    with pytest.raises(ValueError, match=r"solver: expected 'auto', 'dense' or 'cg'; got 'lu'\. Leave it out for"):
        newton(solver="lu")
    with pytest.raises(ValueError, match=r"cg_iterations: expected a whole number >= 1; got 0\. None chooses by"):
        newton(cg_iterations=0)
    with pytest.raises(ValueError, match=r"learning_rate: expected one finite number >= 0; got 'x'\. 1\.0 is the full"):
        saddle_free_newton(learning_rate="x", damping=1.0)
    with pytest.raises(ValueError, match=r"damping: expected one finite number >= 0; got -1\. It is added to the siz"):
        saddle_free_newton(damping=-1)
    with pytest.raises(
        ValueError, match=r"num_lanczos: expected a whole number >= 1; got 0\. Leave it out for the eig"
    ):
        saddle_free_newton(damping=1.0, num_lanczos=0)
    with pytest.raises(
        ValueError, match=r"num_lanczos: expected a number for more than 1000 parameters.*None for 1001\."
    ):
        saddle_free_newton(damping=1.0).init({"a": jnp.zeros(1000), "b": jnp.zeros(())})
