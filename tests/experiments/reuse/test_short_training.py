"""The training path of `frozen_transfer` on dense layers."""

import jax
import numpy as np

import jaxdl
from experiments.reuse import frozen_transfer
from jaxdl import training
from tests.experiments import planted
from tests.experiments.reuse.dense import Dense, accuracy


def test_both_halves_are_trained_in_the_same_order_and_convolutions_stay(monkeypatch):
    calls, fit, names = [], training.fit, ("conv1", "conv2")

    def spy(step, state, data, **options):
        before = jax.tree.map(np.array, state.params)
        calls.append((before, np.array(jax.random.key_data(state.key)), data.y))
        state, history = fit(step, state, data, **options)
        ends.append(jax.tree.map(np.array, state.params))
        return state, history

    ends = []
    monkeypatch.setattr(training, "fit", spy)
    monkeypatch.setattr(frozen_transfer, "network", lambda: Dense(names))
    run = planted.planted_run("digits", {"epochs": {"digits": 2}}, seeds=1)
    low, high = jaxdl.data.split_by_class(planted.noise(140, 60, 60), range(5))
    found, curves = frozen_transfer.train(run, low, high)
    (old, key, y), (new, new_key, new_y), (random, *_), (last, *_) = calls
    for given, expected in ((y, low.train.y), (new_y, high.train.y), (calls[2][2], y), (calls[3][2], new_y)):
        np.testing.assert_array_equal(given, expected)
    for given, expected in ((calls[2][1], key), (calls[3][1], new_key)):
        np.testing.assert_array_equal(given, expected)
    jax.tree.map(np.testing.assert_array_equal, (new, last), (ends[0], ends[2]))
    for layer in names:
        np.testing.assert_array_equal(ends[1][layer]["kernel"], ends[0][layer]["kernel"])
        np.testing.assert_array_equal(ends[3][layer]["kernel"], random[layer]["kernel"])
        assert np.any(ends[0][layer]["kernel"] != old[layer]["kernel"])
        assert np.any(random[layer]["kernel"] != old[layer]["kernel"])
    assert np.any(ends[1]["dense_1"]["kernel"] != ends[0]["dense_1"]["kernel"])
    parts = ((ends[0], low), (ends[1], high), (ends[3], high), (ends[0], high))
    expected = [accuracy(params, names, part.test) for params, part in parts]
    np.testing.assert_allclose(np.ravel(found), expected, rtol=1e-5)
    assert {name: losses.shape for name, losses in curves.items()} == {"learned": (1, 4), "random": (1, 4)}
