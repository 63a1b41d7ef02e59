"""Training from the top downwards, stage by stage (P15): against NumPy, and through `fit`."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdl
from jaxdl import training
from jaxdl.optimizers import carry_over, freeze, max_norm, staged_unfreezing
from jaxdl.tree import is_kernel, leaf_paths

STAGES = ["Dense_2/*", "Dense_1/*"]  # Dense_0 is in no stage


def draws(*shape, seed=0):
    return np.random.RandomState(seed).randn(*shape)


PARAMS = {
    f"Dense_{i}": {
        "kernel": jnp.asarray(draws(3, 3, seed=i), jnp.float32),
        "bias": jnp.asarray(draws(3, seed=9 + i), jnp.float32),
    }
    for i in range(3)
}


def random_grads(step):
    state = np.random.RandomState(100 + step)
    return {layer: {name: state.randn(*leaf.shape) for name, leaf in PARAMS[layer].items()} for layer in PARAMS}


def through_stages(txs, steps_each):
    """Parameters and state after so many updates in each stage."""
    params, state = PARAMS, txs[0].init(PARAMS)
    for stage, tx in enumerate(txs):
        state = carry_over(state, tx, params)
        for i in range(steps_each):
            grads = jax.tree.map(lambda g: jnp.asarray(g, jnp.float32), random_grads(stage * steps_each + i))
            updates, state = tx.update(grads, state, params)
            params = optax.apply_updates(params, updates)
    return params, state


def test_momentum_through_stages_is_momentum_with_a_mask():
    """v <- 0.9 v + g and w <- w - 0.1 v on the leaves of the stages begun, in NumPy."""
    found, _ = through_stages(staged_unfreezing(optax.sgd(0.1, momentum=0.9), stages=STAGES), steps_each=10)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), PARAMS)
    velocity = jax.tree.map(np.zeros_like, params)
    for step in range(20):
        mask = {"Dense_2": 1, "Dense_1": int(step >= 10), "Dense_0": 0}
        grads = random_grads(step)
        for layer in params:
            for name in params[layer]:
                velocity[layer][name] = mask[layer] * (0.9 * velocity[layer][name] + grads[layer][name])
                params[layer][name] = params[layer][name] - 0.1 * velocity[layer][name]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), found, params)


def adam_by_numpy(start, grads):
    """Kingma and Ba with their defaults and rate 0.1, the bias correction counted from the first of these gradients."""
    w, m, v = np.asarray(start, np.float64), 0.0, 0.0
    for t, g in enumerate(grads, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        w = w - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return w


def test_adam_counts_the_updates_of_each_group_from_its_own_start():
    found, state = through_stages(staged_unfreezing(optax.adam(0.1), stages=STAGES), steps_each=5)
    for layer, first in (("Dense_2", 0), ("Dense_1", 5)):
        for name in ("kernel", "bias"):
            expected = adam_by_numpy(PARAMS[layer][name], [random_grads(i)[layer][name] for i in range(first, 10)])
            np.testing.assert_allclose(found[layer][name], expected, rtol=1e-5, atol=1e-5)
    assert [int(state[name][0].count) for name in ("stage_0", "stage_1")] == [10, 5]


def test_with_one_count_for_all_the_first_step_would_be_three_times_too_long():
    """(1 - beta1) / sqrt(1 - beta2) = 3.16 in the limit of a large count; the docstring's reason for states apart."""
    adam, late = optax.adam(0.1), 10_000
    state = freeze(adam, where="Dense_0/*").init(PARAMS)
    state = (state[0]._replace(count=jnp.asarray(late)), *state[1:])
    together = carry_over(state, adam, PARAMS)
    grads = jax.tree.map(jnp.ones_like, PARAMS)
    step = -float(adam.update(grads, together, PARAMS)[0]["Dense_0"]["bias"][0])
    assert step == pytest.approx(0.1 * 0.1 / np.sqrt(0.001), rel=1e-3)
    apart = staged_unfreezing(adam, stages=["Dense_2/*", "Dense_0/*"])
    state = carry_over(apart[0].init(PARAMS), apart[1], PARAMS)
    assert -float(apart[1].update(grads, state, PARAMS)[0]["Dense_0"]["bias"][0]) == pytest.approx(0.1, rel=1e-5)


def test_frozen_leaves_have_no_memory_and_keep_their_bytes(same_bytes):
    txs = staged_unfreezing(optax.adam(0.1), stages=STAGES)
    sizes = [sum(leaf.size for leaf in jax.tree.leaves(tx.init(PARAMS)) if leaf.ndim) for tx in txs]
    layer = 3 * 3 + 3
    assert sizes == [2 * layer, 2 * 2 * layer]
    first, _ = through_stages(txs[:1], steps_each=5)
    same_bytes((first["Dense_0"], first["Dense_1"]), (PARAMS["Dense_0"], PARAMS["Dense_1"]))
    both, _ = through_stages(txs, steps_each=5)
    same_bytes(both["Dense_0"], PARAMS["Dense_0"])
    assert not np.array_equal(both["Dense_1"]["bias"], PARAMS["Dense_1"]["bias"])


def test_patterns_in_the_chain_are_for_the_whole_tree():
    """`Dense_1/kernel` is bounded from the stage on in which it is trained."""
    for where in ("Dense_1/kernel", is_kernel):
        tx = optax.chain(optax.sgd(0.5), max_norm(0.3, where=where))
        first, _ = through_stages(staged_unfreezing(tx, stages=STAGES)[:1], steps_each=3)
        both, _ = through_stages(staged_unfreezing(tx, stages=STAGES), steps_each=3)
        norms = [np.linalg.norm(params["Dense_1"]["kernel"], axis=0).max() for params in (first, both)]
        assert norms[0] > 1
        assert norms[1] <= 0.3 * (1 + 1e-6)


def test_line_searches_of_groups_side_by_side():
    """Each sees the value as a function of its own leaves, and lowers a separable function to its minimum."""
    loss = lambda params: sum(jnp.sum(jnp.square(leaf - 2)) for leaf in jax.tree.leaves(params))  # noqa: E731
    params = PARAMS
    for tx in staged_unfreezing(optax.lbfgs(), stages=STAGES)[1:]:
        state, update = tx.init(params), jax.jit(lambda *args, tx=tx, **kw: tx.update(*args, **kw, value_fn=loss))
        for _ in range(3):
            value, grads = jax.value_and_grad(loss)(params)
            updates, state = update(grads, state, params, value=value, grad=grads)
            params = optax.apply_updates(params, updates)
    for layer in ("Dense_1", "Dense_2"):
        np.testing.assert_allclose(params[layer]["kernel"], np.full((3, 3), 2.0), atol=1e-5)


# Through `fit`


def fitted(data, engine):
    """The states before and after each stage, and how often the objective was traced in each."""
    model = jaxdl.models.MLP((8, 6, 10), activation=jax.nn.sigmoid)
    objective = training.supervised(model, jaxdl.losses.softmax_cross_entropy)
    traces = []

    def counted(params, batch, **options):
        traces.append(1)
        return objective(params, batch, **options)

    txs = staged_unfreezing(optax.adam(0.01), stages=STAGES)
    state = training.init_state(model, txs[0], data[0], key=jax.random.key(0))
    stages = []
    for stage, tx in enumerate(txs, 1):
        before = replace(state, opt_state=carry_over(state.opt_state, tx, state.params))
        step, counts = training.make_train_step(counted, tx), []
        for epochs in (3 * stage - 2, 3 * stage - 1, 3 * stage):
            start = len(traces)
            state = training.fit(step, before if epochs == 3 * stage - 2 else state, data, epochs=epochs,
                                 batch_size=20, engine=engine).state  # fmt: skip
            counts.append(len(traces) - start)
        stages.append((before, state, counts))
    return stages


@pytest.mark.parametrize("engine", ["loop", "epoch"])
def test_fit_through_the_stages(engine, digits_like, same_bytes):
    (start, first, traced_first), (thawed, second, traced_second) = fitted(digits_like, engine)
    same_bytes(thawed.opt_state["stage_0"], first.opt_state["stage_0"])
    same_bytes(thawed.params, first.params)
    assert all(np.all(np.asarray(leaf) == 0) for leaf in jax.tree.leaves(thawed.opt_state["stage_1"]))
    for layer in ("Dense_0", "Dense_1"):
        same_bytes(first.params[layer], start.params[layer])
    same_bytes(second.params["Dense_0"], start.params["Dense_0"])
    for layer, before, after in (("Dense_2", start, first), ("Dense_2", first, second), ("Dense_1", first, second)):
        assert np.abs(np.asarray(after.params[layer]["kernel"] - before.params[layer]["kernel"])).max() > 0.01
    for traced in (traced_first, traced_second):
        assert traced[0] > 0
        assert traced[1:] == [0, 0], "one compilation a stage: none after its first epoch"
    assert traced_first == traced_second


# carry_over


def test_every_old_leaf_keeps_its_bytes_and_the_rest_is_fresh(same_bytes):
    frozen, free = freeze(optax.adam(0.1), where="Dense_0/*"), optax.adam(0.1)
    state = frozen.update(PARAMS, frozen.init(PARAMS), PARAMS)[1]
    found = jax.jit(lambda state: carry_over(state, free, PARAMS))(state)
    assert jax.tree.structure(found) == jax.tree.structure(free.init(PARAMS))
    for layer in ("Dense_1", "Dense_2"):
        same_bytes((found[0].mu[layer], found[0].nu[layer]), (state[0].mu[layer], state[0].nu[layer]))
    assert int(found[0].count) == 1
    assert all(np.all(np.asarray(leaf) == 0) for leaf in jax.tree.leaves(found[0].mu["Dense_0"]))


def test_from_a_state_to_itself_nothing_changes(same_bytes):
    tx = optax.chain(optax.add_noise(0.1, 0.5, 0), optax.adam(0.1))
    state = tx.update(PARAMS, tx.init(PARAMS), PARAMS)[1]
    same_bytes(carry_over(state, tx, PARAMS), state)


def test_nothing_is_dropped():
    txs = staged_unfreezing(optax.sgd(0.1, momentum=0.9), stages=STAGES)
    message = (
        r"opt_state: expected only leaves that the state of tx has too; got \['stage_1'\].*\['Dense_1'\]\['bias'\], "
        r"float32\[3\] \(now not there\).*Pass the state of the stage before, or start from tx\.init\(params\)"
    )
    with pytest.raises(ValueError, match=message):
        carry_over(txs[1].init(PARAMS), txs[0], PARAMS)
    wide = {**PARAMS, "Dense_2": {"kernel": jnp.ones((3, 5)), "bias": jnp.ones(5)}}
    message = r"\['Dense_2'\]\['bias'\], float32\[3\] \(now float32\[5\]\)"
    with pytest.raises(ValueError, match=message):
        carry_over(txs[0].init(PARAMS), txs[0], wide)
    with pytest.raises(TypeError, match=r"tx: expected an optax\.GradientTransformation; got str"):
        carry_over((), "adam", PARAMS)  # type: ignore[arg-type]


# Errors


def test_stages_that_overlap_list_the_leaves():
    tx = staged_unfreezing(optax.sgd(0.1), stages=["Dense_2/*", "**/kernel"])[0]
    message = r"stages: expected every leaf in one stage at most; got Dense_2/kernel in 0 and 1\. Name in each stage"
    for call in (lambda: tx.init(PARAMS), lambda: tx.update(PARAMS, {"stage_0": ()}, PARAMS)):
        with pytest.raises(ValueError, match=message):
            call()


def test_every_stage_is_checked_in_the_first():
    tx = staged_unfreezing(optax.sgd(0.1), stages=["Dense_2/*", "Dense_7/*"])[0]
    with pytest.raises(ValueError, match=r"where='Dense_7/\*' matches no leaf\. The paths are: Dense_0/bias"):
        tx.init(PARAMS)


def test_arguments_that_are_no_stages():
    with pytest.raises(TypeError, match=r"stages: expected a sequence of patterns; got str\. Write stages=\["):
        staged_unfreezing(optax.sgd(0.1), stages="Dense_2/*")
    with pytest.raises(ValueError, match="stages: expected at least one; got none"):
        staged_unfreezing(optax.sgd(0.1), stages=[])
    with pytest.raises(TypeError, match=r"tx: expected an optax\.GradientTransformation; got float"):
        staged_unfreezing(0.1, stages=STAGES)  # type: ignore[arg-type]


def test_a_stage_may_be_several_patterns_and_the_last_may_be_all_that_is_left():
    rest = lambda path, leaf: not path.startswith("Dense_2/")  # noqa: E731
    txs = staged_unfreezing(optax.sgd(1.0), stages=[("Dense_2/kernel", "Dense_2/bias"), rest])
    moved = [
        {path for path, leaf in leaf_paths(tx.update(PARAMS, tx.init(PARAMS), PARAMS)[0]).items() if np.any(leaf != 0)}
        for tx in txs
    ]
    assert moved[0] == {"Dense_2/kernel", "Dense_2/bias"}
    assert moved[1] == set(leaf_paths(PARAMS))
