"""Runs with different states that see the same batches."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import training
from jaxdl.jaxprs import open_jaxpr
from jaxdl.training.engines import ENGINES
from jaxdl.training.sweep import member_programs

OPTIONS = dict(epochs=3, batch_size=10)
ROUNDING = dict(rtol=1e-4, atol=1e-6)


def batches(order_key, **options):
    """What the steps of a run on the examples 0 to 20 see, `(steps, batch)`."""

    def objective(params, batch, *, model_state, key, train):
        return batch + 0 * params, training.Aux(model_state, {})

    step = training.make_train_step(objective, optax.sgd(0.0), measure=lambda moment: moment.batch)
    state = training.make_state(jnp.zeros(()), optax.sgd(0.0), key=jax.random.key(0))
    data = np.arange(21, dtype=np.float32)
    return training.fit(step, state, data, batch_size=5, order_key=order_key, **options).history.measures


@pytest.mark.parametrize("engine", ENGINES)
def test_the_order_is_the_permutation_of_the_key_and_the_epoch(engine):
    key = jax.random.key(5)
    seen = batches(key, epochs=3, engine=engine, chunk_size=3)
    stream = jax.random.fold_in(key, np.uint32(0xFFFFFFFF))
    orders = [jax.random.permutation(jax.random.fold_in(stream, epoch), 21)[:20] for epoch in range(3)]
    np.testing.assert_array_equal(seen.reshape(3, 20), orders)
    assert not np.array_equal(seen, batches(None, epochs=3, engine=engine))
    in_order = batches(key, epochs=1, engine=engine, shuffle=False)
    np.testing.assert_array_equal(in_order.ravel(), np.arange(20))


@pytest.mark.parametrize("engine", ENGINES)
def test_the_states_own_key_is_what_none_stands_for(task, same_bytes, engine):
    options = dict(engine=engine, chunk_size=7, **OPTIONS)
    own = training.fit(task.step, task.state, task.data, **options)
    given = training.fit(task.step, task.state, task.data, order_key=task.state.key, **options)
    same_bytes(own.state, given.state)
    np.testing.assert_array_equal(own.history.train["loss"], given.history.train["loss"])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("cut", [1, 17, 24])
def test_a_run_cut_anywhere_goes_on_in_the_same_order(task, same_bytes, engine, cut):
    options = dict(batch_size=10, engine=engine, chunk_size=4, order_key=jax.random.key(9))
    whole = training.fit(task.step, task.state, task.data, steps=30, **options | dict(engine="epoch"))
    first = training.fit(task.step, task.state, task.data, steps=cut, **options)
    same_bytes(whole.state, training.fit(task.step, first.state, task.data, steps=30, **options).state)


@pytest.mark.parametrize("mode", ["vmap", "map"])
def test_every_member_is_its_single_run_in_the_shared_order(task, same_bytes, mode):
    options = dict(validation=task.data, order_key=jax.random.key(8), **OPTIONS)
    states, history = training.run_many(task.step, task.init, task.data, seeds=[4, 1], mode=mode, **options)
    for i, seed in enumerate([4, 1]):
        single = training.fit(task.step, task.init(jax.random.key(seed)), task.data, **options)
        ours = training.member(states, i)
        if mode == "map":
            same_bytes(ours, single.state)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **ROUNDING), ours.params, single.state.params)
        np.testing.assert_allclose(history.train["loss"][i], single.history.train["loss"], **ROUNDING)
        np.testing.assert_allclose(history.validation["loss"][i], single.history.validation["loss"], **ROUNDING)


def gathered_shapes(value, table):
    """Shapes of what the equations of a program, and of those inside it, gather from an array of shape `table`."""
    if isinstance(value, (tuple, list)):
        return [shape for item in value for shape in gathered_shapes(item, table)]
    found = []
    for eqn in getattr(open_jaxpr(value), "eqns", ()):
        if eqn.primitive.name == "gather" and eqn.invars[0].aval.shape == table:
            found.append(eqn.outvars[0].aval.shape)
        found += [shape for item in eqn.params.values() for shape in gathered_shapes(item, table)]
    return found


@pytest.mark.parametrize(("shared", "gathered"), [(True, (10, 4, 4, 1)), (False, (3, 10, 4, 4, 1))])
def test_members_side_by_side_gather_a_shared_batch_once(task, shared, gathered):
    states = jax.vmap(task.init)(jax.random.split(jax.random.key(0), 3))
    states = replace(states, step=jnp.zeros((), jnp.int32))
    static = dict(batch_size=10, steps_per_epoch=12, num_examples=120, shuffle=True, length=12)
    options = dict(step=task.step, side_by_side=True, mesh=None, static=tuple(static.items()))
    program = jax.make_jaxpr(lambda *args: member_programs.epoch_program(*args, **options))(
        states, {}, jax.device_put(task.data), jax.random.key(1) if shared else None
    )
    assert gathered_shapes(program, (120, 4, 4, 1)) == [gathered]


def test_what_is_not_finite_is_found_again_in_the_given_order(task):
    x, y = task.data
    spoiled = x.copy()
    spoiled[7] = np.nan
    key = jax.random.key(2)
    stream = jax.random.fold_in(jax.random.fold_in(key, np.uint32(0xFFFFFFFF)), 0)
    at = int(np.flatnonzero(np.asarray(jax.random.permutation(stream, 120)) == 7)[0]) // 10
    message = rf"not finite at step {at} \(.* The batch of that step holds numbers that are not finite, in its leaf '0'"
    for engine in ENGINES:
        with pytest.raises(FloatingPointError, match=message):
            training.fit(
                task.step, task.state, (spoiled, y), epochs=1, batch_size=10, order_key=key, engine=engine, chunk_size=4
            )


@pytest.mark.parametrize("order_key", [3, np.zeros(2, np.uint32)])
def test_an_order_key_that_is_none(task, order_key):
    message = r"order_key: expected one typed key; got \w+\. Make it with jax\.random\.key\(0\)"
    with pytest.raises(TypeError, match=message):
        training.fit(task.step, task.state, task.data, order_key=order_key, **OPTIONS)
    with pytest.raises(TypeError, match=message):
        training.run_many(task.step, task.init, task.data, seeds=[0], order_key=order_key, **OPTIONS)
