"""Members with data of their own: each is the run on its sample, to the byte one after the other."""

import jax
import numpy as np
import optax
import pytest

from jaxdl import training

OPTIONS = dict(epochs=2, batch_size=7)
SAMPLES = np.random.RandomState(5).randint(0, 120, (3, 45))
ROUNDING = dict(rtol=1e-4, atol=1e-6)


def alone(task, seed, sample, **options):
    data = tuple(part[sample] for part in task.data)
    return training.fit(task.step, task.init(jax.random.key(seed)), data, **OPTIONS, **options).state


@pytest.mark.parametrize("order_key", [None, 11])
@pytest.mark.parametrize("mode", ["map", "vmap"])
def test_a_member_is_the_run_on_its_sample(task, same_bytes, mode, order_key):
    shared = {} if order_key is None else {"order_key": jax.random.key(order_key)}
    seeds = [0, 4, 2]
    states, history = training.run_many(
        task.step, task.init, task.data, seeds=seeds, samples=SAMPLES, mode=mode, **OPTIONS, **shared
    )
    assert history.train["loss"].shape == (3, 2 * (45 // 7)), "an epoch is one of the sample, not of the data"
    for i, seed in enumerate(seeds):
        expected = alone(task, seed, SAMPLES[i], **shared)
        if mode == "map":
            same_bytes(training.member(states, i), expected)
        else:
            close = lambda a, b: np.testing.assert_allclose(a, b, **ROUNDING)  # noqa: E731
            jax.tree.map(close, training.member(states, i).params, expected.params)


def test_every_cell_trains_a_seed_on_the_same_sample(task):
    def make_step(learning_rate):
        return training.make_train_step(task.objective, optax.sgd(learning_rate))

    runs = training.run_many(
        make_step, lambda key, learning_rate: task.init(key), task.data, seeds=[0, 1], samples=SAMPLES[:2],
        hyperparameters={"learning_rate": [0.5, 0.0]}, mode="auto", **OPTIONS,
    )  # fmt: skip
    assert set(runs.timings) == {"vmap", "map"}
    for i in range(2):
        expected = alone(task, i, SAMPLES[i]).params
        ours = training.member(runs.states, i).params
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **ROUNDING), ours, expected)
        start = task.init(jax.random.key(i)).params
        still = training.member(runs.states, 2 + i).params
        jax.tree.map(np.testing.assert_array_equal, still, start)


def test_groups_and_a_folder_keep_the_samples_apart(task, same_bytes, tmp_path):
    options = dict(seeds=[0, 4, 2], samples=SAMPLES, mode="map", members_at_once=2, folder=tmp_path)
    training.run_many(task.step, task.init, task.data, **options, epochs=1, batch_size=7)
    states, _ = training.run_many(task.step, task.init, task.data, **options, **OPTIONS)
    same_bytes(training.member(states, 2), alone(task, 2, SAMPLES[2]))
    with pytest.raises(ValueError, match="samples"):
        training.run_many(task.step, task.init, task.data, **{**options, "samples": SAMPLES[::-1]}, **OPTIONS)


@pytest.mark.parametrize("samples", [SAMPLES[:2], SAMPLES[0], SAMPLES / 2, SAMPLES[:, :0], [["a"]] * 3])
def test_what_is_no_sample(task, samples):
    with pytest.raises(ValueError, match=r"samples: expected indices of examples, whole numbers of shape \(3, size\)"):
        training.run_many(task.step, task.init, task.data, seeds=range(3), samples=samples, **OPTIONS)


@pytest.mark.parametrize("wrong", [-1, 120])
def test_an_index_of_no_example(task, wrong):
    with pytest.raises(ValueError, match=rf"samples: expected indices from 0 to 119; got .*{wrong}.* count the"):
        training.run_many(task.step, task.init, task.data, seeds=[0], samples=[[3, wrong, 5]], **OPTIONS)


def test_a_batch_larger_than_the_sample(task):
    with pytest.raises(ValueError, match="batch_size: expected at most the number of examples, 6"):
        training.run_many(task.step, task.init, task.data, seeds=[0], samples=[[0, 1, 2, 3, 4, 5]], **OPTIONS)
