"""What every recipe has to keep under jit, vmap, scan, in bfloat16, sharded, across a checkpoint, and injected.

A new recipe is one line of RECIPES: a factory of the learning rate. Updates get value=, grad= and value_fn= always.
"""

import functools
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxdl import optimizers
from jaxdl.optimizers import schedules
from tests.conftest import CHECKOUT

RECIPES = {
    "gradient_descent": optimizers.gradient_descent,
    "momentum": optimizers.momentum,
    "momentum, ramped": lambda learning_rate: optimizers.momentum(learning_rate, momentum=RAMP),
    "nesterov": optimizers.nesterov,
    "nesterov, ramped": lambda learning_rate: optimizers.nesterov(learning_rate, momentum=RAMP),
    "adagrad": optimizers.adagrad,
    "adadelta": optimizers.adadelta,
    "rmsprop": optimizers.rmsprop,
    "adam": optimizers.adam,
    "lbfgs": lambda learning_rate: optax.chain(optimizers.lbfgs(), optax.scale(learning_rate)),
    "newton, dense": lambda learning_rate: optimizers.newton(learning_rate=learning_rate, damping=1e-2),
    "newton, cg": lambda learning_rate: optimizers.newton(learning_rate=learning_rate, damping=1e-2, solver="cg"),
    "saddle_free_newton": lambda learning_rate: optimizers.saddle_free_newton(
        learning_rate=learning_rate, damping=1e-2
    ),
    "saddle_free_newton, lanczos": lambda learning_rate: optimizers.saddle_free_newton(
        learning_rate=learning_rate, damping=1e-2, num_lanczos=8
    ),
    "adam in a chain": lambda learning_rate: optax.chain(
        optimizers.add_noise(0.0, 0.55, 0),
        optimizers.coupled_l2(1e-2),
        optimizers.adam(learning_rate),
        optimizers.decoupled_decay(1e-2, learning_rate=learning_rate),
        optimizers.proximal_l1(1e-3, learning_rate=learning_rate),
        optimizers.max_norm(3.0),
        optimizers.reduce_on_plateau(factor=0.5, patience=2),
    ),
}
RAMP = schedules.linear_schedule(0.5, 0.9, 4)
RATE, STEPS = 0.1, 5
DRAWS = np.random.RandomState(0)
X, LABELS = DRAWS.randn(24, 6).astype(np.float32), DRAWS.randint(0, 4, 24)
PARAMS = {
    "dense": {"bias": np.full(4, 0.1, np.float32), "kernel": 0.5 * DRAWS.randn(6, 4).astype(np.float32)},
    "temperature": np.ones((), np.float32),
}
each_recipe = pytest.mark.parametrize("name", list(RECIPES))


def start(dtype=jnp.float32):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), PARAMS)


def loss(params):
    """Softmax regression, of a temperature, with a penalty that makes the minimum unique; in float32."""
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params)
    logits = (X @ params["dense"]["kernel"] + params["dense"]["bias"][None]) * params["temperature"]
    penalty = sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(params))
    return optax.safe_softmax_cross_entropy(logits, np.eye(4, dtype=np.float32)[LABELS]).mean() + 0.05 * penalty


def advance(tx, params, state):
    value, grads = jax.value_and_grad(loss)(params)
    updates, state = tx.update(grads, state, params, value=value, grad=grads, value_fn=loss)
    return optax.apply_updates(params, updates), state, updates


def loop(tx, params, *, update=None, steps=STEPS):
    state, update = tx.init(params), update or functools.partial(advance, tx)
    for _ in range(steps):
        params, state, _ = update(params, state)
    return params


def scan(tx, params, state):
    def body(carry, _):
        return advance(tx, *carry)[:2], None

    return jax.lax.scan(body, (params, state), length=STEPS)[0]


def scanned(tx, params):
    return scan(tx, params, tx.init(params))[0]


def assert_near(ours, theirs, *, rtol=1e-5):
    """Relative to the largest entry of all leaves."""
    ours, theirs = (
        np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(tree)])
        for tree in (ours, theirs)
    )
    assert np.abs(ours - theirs).max() <= rtol * np.abs(theirs).max()


@functools.cache
def reference(name, rate=RATE):
    """Eager, step by step."""
    return loop(RECIPES[name](rate), start())


@each_recipe
def test_it_goes_down(name):
    assert loss(reference(name)) < loss(start()) - 1e-3


@each_recipe
def test_jit_is_eager(name):
    tx = RECIPES[name](RATE)
    assert_near(loop(tx, start(), update=jax.jit(functools.partial(advance, tx))), reference(name))


@each_recipe
def test_scan_is_the_loop(name):
    tx = RECIPES[name](RATE)
    assert_near(jax.jit(functools.partial(scanned, tx))(start()), reference(name))


@each_recipe
def test_learning_rates_side_by_side_are_single_runs(name):
    rates = [RATE, RATE / 8]
    many = jax.jit(jax.vmap(lambda rate: scanned(RECIPES[name](rate), start())))(jnp.asarray(rates))
    for i, rate in enumerate(rates):
        assert_near(jax.tree.map(lambda leaf, i=i: leaf[i], many), reference(name, rate))


@each_recipe
def test_bfloat16_parameters_stay_so_and_near_float32(name):
    """Parameters and gradients are rounded to 2^-9, in each of the steps; all else is float32."""
    tx = RECIPES[name](RATE)
    params = start(jnp.bfloat16)
    state, update = tx.init(params), jax.jit(functools.partial(advance, tx))
    for _ in range(STEPS):
        params, after, updates = update(params, state)
        assert {leaf.dtype for leaf in jax.tree.leaves((params, updates))} == {jnp.dtype(jnp.bfloat16)}
        assert all(np.all(np.isfinite(np.asarray(leaf, np.float32))) for leaf in jax.tree.leaves(updates))
        assert [leaf.dtype for leaf in jax.tree.leaves(after)] == [leaf.dtype for leaf in jax.tree.leaves(state)]
        state = after
    assert_near(params, reference(name), rtol=2 * STEPS * 2**-9)


@each_recipe
def test_the_second_call_is_not_traced_again(name):
    """Neither from the first state nor from later ones, nor for another rate or a new transformation inside."""
    traces = []

    @jax.jit
    def update(rate, params, state):
        traces.append(1)
        return advance(RECIPES[name](rate), params, state)[:2]

    params, state = start(), RECIPES[name](RATE).init(start())
    for rate in (RATE, RATE, RATE / 2):
        params, state = update(rate, params, state)
    assert len(traces) == 1


@each_recipe
def test_a_checkpoint_between_two_steps_changes_no_byte(name, tmp_path, same_bytes):
    tx = RECIPES[name](RATE)
    update = jax.jit(functools.partial(advance, tx))
    params, state = start(), tx.init(start())
    for _ in range(STEPS // 2):
        params, state, _ = update(params, state)
    saved = {"params": params, "opt_state": state}
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", saved)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "state", jax.eval_shape(lambda: saved))
    assert jax.tree.structure(restored) == jax.tree.structure(saved)
    same_bytes(restored, saved)
    for _ in range(STEPS - STEPS // 2):
        params, state, _ = update(params, state)
        restored["params"], restored["opt_state"], _ = update(restored["params"], restored["opt_state"])
    same_bytes(restored, {"params": params, "opt_state": state})


@each_recipe
def test_the_rate_can_be_injected_and_changed(name):
    tx = optax.inject_hyperparams(RECIPES[name])(learning_rate=RATE)
    update = jax.jit(functools.partial(advance, tx))
    assert_near(loop(tx, start(), update=update), reference(name))
    state = tx.init(start())
    state.hyperparams["learning_rate"] = jnp.asarray(RATE / 8)
    params, _, _ = update(start(), state)
    assert_near(params, loop(RECIPES[name](RATE / 8), start(), steps=1))


@pytest.fixture(scope="module")
def sharded_runs():
    """Of all recipes in one process with two devices."""
    code = "from tests.optimizers import test_contracts; test_contracts.run_sharded()"
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "2", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment, cwd=CHECKOUT, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def run_sharded():
    """Prints the parameters of every recipe, the kernel of which lies on two devices, and where the states lie."""
    runs = {}
    for kind in ("Auto", "Explicit"):
        mesh = Mesh(np.array(jax.devices()), ("devices",), axis_types=(getattr(AxisType, kind),))
        everywhere, split = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), (None, "devices")))
        shardings = {"dense": {"bias": everywhere, "kernel": split}, "temperature": everywhere}
        for name, recipe in RECIPES.items():
            tx = recipe(RATE)
            params = jax.device_put(start(), shardings)
            before = tx.init(params)
            params, after = jax.jit(functools.partial(scan, tx))(params, before)
            kernel = params["dense"]["kernel"]
            runs[f"{name}, {kind}"] = {
                "devices": len(kernel.sharding.device_set) if kernel.sharding.is_equivalent_to(split, 2) else 0,
                "params": jax.tree.map(lambda leaf: np.asarray(leaf).tolist(), params),
                "layouts": [layout(state, split) for state in (before, after)],
            }
    print(json.dumps(runs))


def layout(state, sharding):
    """For every memory of the kernel, whether it lies as the kernel does."""
    memories = [leaf for leaf in jax.tree.leaves(state) if jnp.shape(leaf) == PARAMS["dense"]["kernel"].shape]
    return [leaf.sharding.is_equivalent_to(sharding, 2) for leaf in memories]


@pytest.mark.parametrize("kind", ["Auto", "Explicit"])
@each_recipe
def test_sharded_parameters_and_states(name, kind, sharded_runs):
    run = sharded_runs[f"{name}, {kind}"]
    assert run["devices"] == 2
    assert_near(run["params"], reference(name))
    unsharded = jax.tree.leaves(jax.eval_shape(RECIPES[name](RATE).init, start()))
    memories = sum(leaf.shape == PARAMS["dense"]["kernel"].shape for leaf in unsharded)
    assert run["layouts"] == [[True] * memories] * 2
