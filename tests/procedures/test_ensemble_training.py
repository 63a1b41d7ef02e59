"""Members are single runs, bagged ones on their samples; one program serves them all."""

import jax
import numpy as np
import pytest

import jaxdl
from jaxdl import training
from jaxdl.procedures import as_state, bootstrap_samples, ensemble_model, take_members, train_ensemble

OPTIONS = dict(epochs=2, batch_size=16)


@pytest.mark.parametrize("bagging", [False, True])
def test_every_member_is_the_single_run_on_its_own_data(blob_task, same_bytes, bagging):
    """Bagging is exact: the epochs, batches and bytes of a run that holds only its bootstrap sample."""
    found = train_ensemble(
        blob_task.step, blob_task.init, blob_task.data, seeds=[3, 0, 8], bagging=bagging, mode="map", **OPTIONS
    )
    x, y = blob_task.data
    assert found.num_members == 3
    assert (found.samples is None) == (not bagging)
    for i, seed in enumerate([3, 0, 8]):
        rows = np.arange(97) if found.samples is None else found.samples[i]
        alone = training.fit(blob_task.step, blob_task.init(jax.random.key(seed)), (x[rows], y[rows]), **OPTIONS).state
        same_bytes(jax.tree.map(lambda leaf, i=i: leaf[i], found.variables["params"]), alone.params)


def test_the_ensemble_is_evaluated_exactly_for_every_batch_size(blob_task):
    found = train_ensemble(blob_task.step, blob_task.init, blob_task.data, mode="vmap", **OPTIONS)
    together = training.supervised(
        ensemble_model(blob_task.model, 5), jaxdl.losses.softmax_cross_entropy,
        metrics={"accuracy": jaxdl.losses.correct},
    )  # fmt: skip
    x, y = blob_task.data
    logits = np.stack(
        [np.asarray(blob_task.model.apply({"params": jax.tree.map(lambda a, m=m: a[m], found.variables["params"])}, x))
         for m in range(5)]
    ).astype(np.float64)  # fmt: skip
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    average = shares.mean(0)
    for batch_size in (1, 10, 97, 1000):
        values = training.evaluate(together, found.state, blob_task.data, batch_size=batch_size)
        assert values["accuracy"] == pytest.approx(np.mean(average.argmax(-1) == y))
        assert values["loss"] == pytest.approx(-np.log(average[np.arange(97), y]).mean(), rel=1e-5)


def test_a_member_that_stopped_early_gives_its_best(blob_task):
    rule = training.EarlyStopping(patience=1, min_delta=10.0)  # only the first evaluation is an improvement
    found = train_ensemble(
        blob_task.step, blob_task.init, blob_task.data, seeds=[0, 1], validation=blob_task.data, early_stopping=rule,
        mode="map", epochs=4, batch_size=16,
    )  # fmt: skip
    once = training.run_many(
        blob_task.step, blob_task.init, blob_task.data, seeds=[0, 1], mode="map", epochs=1, batch_size=16
    )
    jax.tree.map(np.testing.assert_array_equal, found.variables["params"], once.states.params)


def test_samples_of_a_seed_are_its_own():
    both, alone = bootstrap_samples([5, 6], 300), bootstrap_samples([6], 300)
    np.testing.assert_array_equal(both[1], alone[0])
    assert both.dtype == np.int32
    assert not np.array_equal(both[0], both[1])
    # Share of distinct examples: 1 - 1/e with deviation sqrt((1/e - 2/e^2) / 300) = 0.018; five of them, twice: 1.1e-6.
    for row in both:
        assert abs(len(np.unique(row)) / 300 - (1 - np.exp(-1))) < 5 * 0.018
    with pytest.raises(ValueError, match=r"num_examples: expected a whole number >= 1; got 0\. Pass len"):
        bootstrap_samples([0], 0)


def test_some_members(blob_task):
    found = train_ensemble(blob_task.step, blob_task.init, blob_task.data, seeds=range(3), mode="vmap", **OPTIONS)
    some = take_members(found.variables, [2, 0])
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, np.asarray(b)[[2, 0]]), some, found.variables)
    state = as_state(some)
    assert set(state.model_state) == set()
    for wrong in ([], [3], [-4]):
        with pytest.raises(ValueError, match="indices: expected at least one, each from 0 to 2; got"):
            take_members(found.variables, wrong)


def test_what_makes_no_ensemble(blob_task):
    arguments = (blob_task.step, blob_task.init, blob_task.data)
    with pytest.raises(ValueError, match="hyperparameters: expected none, since members of an ensemble differ by"):
        train_ensemble(*arguments, hyperparameters={"learning_rate": [0.1]}, **OPTIONS)
    with pytest.raises(ValueError, match="samples: expected None where bagging draws them"):
        train_ensemble(*arguments, bagging=True, samples=np.zeros((5, 97), int), **OPTIONS)
