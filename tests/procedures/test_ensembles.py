"""Votes and averages by enumeration, bootstrap samples, and members trained by `run_many`."""

import itertools
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdl
from jaxdl import procedures, training
from jaxdl.procedures import average_probabilities, bootstrap, majority_vote

DRAWS = np.random.RandomState(0)


def softmax(logits):
    exponentials = np.exp(logits.astype(np.float64))
    return exponentials / exponentials.sum(-1, keepdims=True)


def test_averages_are_those_of_numpy():
    logits = DRAWS.randn(3, 5, 4).astype(np.float32)
    probabilities = average_probabilities(jnp.asarray(logits))
    np.testing.assert_allclose(probabilities, softmax(logits).mean(0), rtol=1e-5)
    geometric = np.exp(np.log(softmax(logits)).mean(0))
    expected = geometric / geometric.sum(-1, keepdims=True)
    np.testing.assert_allclose(average_probabilities(logits, mean="geometric"), expected, rtol=1e-5)
    assert average_probabilities(jnp.asarray(logits, jnp.bfloat16)).dtype == jnp.bfloat16


def test_every_vote_of_three_members_on_three_classes():
    """All 27 votes, each with the confidences that decide its ties, as one batch."""
    votes = np.array(list(itertools.product(range(3), repeat=3)))
    confidences = np.array([0.5, 0.7, 0.6])
    probabilities = np.full((3, 27, 3), np.nan)
    expected = []
    for i, vote in enumerate(votes):
        for member, choice in enumerate(vote):
            probabilities[member, i] = (1 - confidences[member]) / 2
            probabilities[member, i, choice] = confidences[member]
        winner, count = Counter(vote.tolist()).most_common(1)[0]
        expected.append(winner if count > 1 else vote[1])  # all differ: the most confident member decides
    labels = jax.jit(majority_vote)(jnp.log(probabilities))
    assert labels.dtype == jnp.int32
    np.testing.assert_array_equal(labels, expected)


def test_a_majority_of_timid_members_outvotes_a_sure_one():
    probabilities = np.array([[[0.51, 0.49]], [[0.51, 0.49]], [[0.01, 0.99]]])
    np.testing.assert_array_equal(majority_vote(jnp.log(probabilities)), [0])
    assert int(jnp.argmax(average_probabilities(jnp.log(probabilities)))) == 1


def test_a_tie_in_votes_and_in_probabilities_goes_to_the_lowest_class():
    logits = jnp.array([[[0.0, 2.0, -1.0]], [[2.0, 0.0, -1.0]]])
    np.testing.assert_array_equal(majority_vote(logits), [0])


def test_a_member_that_diverged_is_seen():
    logits = jnp.ones((3, 2, 4)).at[1, 0, 2].set(jnp.nan)
    labels = majority_vote(logits)
    assert int(labels[0]) == -1
    assert int(labels[1]) == 0
    assert np.isnan(average_probabilities(logits)[0]).all()


def test_one_member_is_its_own_opinion():
    logits = DRAWS.randn(1, 6, 4).astype(np.float32)
    np.testing.assert_array_equal(majority_vote(logits), logits[0].argmax(-1))


def test_weight_scaling_is_the_geometric_mean_of_all_thinned_networks():
    """R21, S03: 2^n subsets of the inputs (not permutations) of a linear softmax layer; exact, biases unscaled."""
    x, w, b = DRAWS.randn(5, 6), DRAWS.randn(6, 4), DRAWS.randn(4)
    subsets = np.array(list(itertools.product((0, 1), repeat=6)))
    assert len(subsets) == 2**6
    thinned = (x[None] * subsets[:, None]) @ w + b[None, None]
    scaled = softmax(x @ (0.5 * w) + b[None])
    np.testing.assert_allclose(average_probabilities(thinned, mean="geometric"), scaled, rtol=1e-4)
    assert np.abs(np.asarray(average_probabilities(thinned)) - scaled).max() > 0.05, "the arithmetic mean is another"


def test_a_bootstrap_sample_keeps_pairs_and_draws_with_replacement():
    n = 2000
    x, y = np.arange(2 * n, dtype=np.float32).reshape(n, 2), np.arange(n)
    drawn_x, drawn_y = bootstrap(jax.random.key(3), (x, y))
    assert drawn_x.shape == x.shape
    assert drawn_x.dtype == x.dtype
    np.testing.assert_array_equal(drawn_x, x[np.asarray(drawn_y)])
    indices = bootstrap(jax.random.key(3), jnp.arange(n))
    np.testing.assert_array_equal(indices, drawn_y)
    assert not np.array_equal(bootstrap(jax.random.key(4), jnp.arange(n)), indices)
    # Share of distinct examples: 1 - 1/e with deviation sqrt((1/e - 2/e^2) / n) = 0.0070; five of them: 6e-7.
    assert abs(len(np.unique(indices)) / n - (1 - np.exp(-1))) < 5 * 0.0070


def test_draws_are_uniform():
    counts = jnp.bincount(
        jax.vmap(lambda key: bootstrap(key, jnp.arange(5)))(jax.random.split(jax.random.key(0), 4000)).ravel(), length=5
    )
    # Deviation sqrt(20000 * 0.2 * 0.8) = 56.6; five counts within five deviations: false alarm 3e-6.
    assert np.abs(np.asarray(counts) - 4000).max() < 5 * 56.6


@pytest.fixture(scope="module")
def blobs():
    labels = DRAWS.randint(0, 3, 90)
    centres = np.array([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    return (centres[labels] + 0.8 * DRAWS.randn(90, 2)).astype(np.float32), labels


def test_three_members_trained_as_one_program_vote(blobs):
    """Bagging (Breiman 1996): each member sees a bootstrap sample of its own, and is the single run on that sample."""
    x, y = blobs
    model, tx = jaxdl.models.MLP((8, 3)), optax.adam(0.05)
    supervised = training.supervised(model, jaxdl.losses.softmax_cross_entropy)

    def resampled(params, batch, *, model_state, key, train):
        drawn = model_state["draw"][batch]
        losses, _ = supervised(params, (x[drawn], y[drawn]), model_state={}, key=key, train=train)
        return losses, training.Aux(model_state, {})

    x, y = jnp.asarray(x), jnp.asarray(y)
    sample = lambda key: bootstrap(jax.random.fold_in(key, 7), jnp.arange(90))  # noqa: E731

    def init(key):
        fresh = training.init_state(model, tx, x[:1], key=key)
        return training.make_state(fresh.params, tx, key=fresh.key, model_state={"draw": sample(key)})

    step = training.make_train_step(resampled, tx)
    options = dict(epochs=15, batch_size=15)
    states, _ = training.run_many(step, init, jnp.arange(90), seeds=range(3), mode="vmap", **options)
    plain = training.make_train_step(supervised, tx)
    for i in range(3):
        key = jax.random.key(i)
        alone = training.init_state(model, tx, x[:1], key=key)
        alone = training.fit(plain, alone, bootstrap(jax.random.fold_in(key, 7), (x, y)), **options).state
        ours = training.member(states, i).params
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), ours, alone.params)

    apply = jaxdl.as_model(model).apply
    logits = jax.vmap(lambda params: apply({"params": params}, x)[0])(states.params)
    labels = [Counter(column).most_common(1)[0][0] for column in np.asarray(logits).argmax(-1).T.tolist()]
    unanimous = np.asarray(logits).argmax(-1).min(0) == np.asarray(logits).argmax(-1).max(0)
    vote = np.asarray(majority_vote(logits))
    np.testing.assert_array_equal(vote[unanimous], np.array(labels)[unanimous])
    assert np.mean(vote == np.asarray(y)) > 0.85
    assert len({leaf.tobytes() for leaf in np.asarray(logits)}) == 3


def test_what_is_no_ensemble():
    for logits in (jnp.ones((4, 3)), jnp.ones((0, 4, 3)), jnp.ones((2, 4, 0))):
        for decide in (majority_vote, average_probabilities):
            with pytest.raises(ValueError, match=r"logits: expected shape \(members, batch, classes\), with at least"):
                decide(logits)
    with pytest.raises(ValueError, match="mean: expected 'arithmetic' or 'geometric'; got 'median'"):
        average_probabilities(jnp.ones((1, 1, 1)), mean="median")  # type: ignore[arg-type]
    assert majority_vote(jnp.ones((2, 0, 3))).shape == (0,)


def test_what_cannot_be_resampled():
    with pytest.raises(ValueError, match="examples: expected arrays that share one leading example axis"):
        bootstrap(jax.random.key(0), (jnp.ones(3), jnp.ones(4)))
    with pytest.raises(TypeError, match=r"key: expected one typed key; got .* Make it with"):
        bootstrap(jax.random.PRNGKey(0), jnp.ones(3))


def test_public_names_are_sorted_and_documented():
    assert sorted(procedures.__all__) == procedures.__all__
    assert all(getattr(procedures, name).__doc__ for name in procedures.__all__)
