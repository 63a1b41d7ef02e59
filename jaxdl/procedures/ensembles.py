"""Ensembles of models: bootstrap samples to train on, and ways of deciding together.

`train_ensemble` trains the members by one program; `ensemble_model` makes one model of them.
"""

from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import checks, tree

Tree = TypeVar("Tree", bound=Any)
_BAGGING = 0x0BA991  # apart from the splits and steps by which a run derives keys from its own


def average_probabilities(logits: jax.Array, *, mean: Literal["arithmetic", "geometric"] = "arithmetic") -> jax.Array:
    """The mean over members of their softmax outputs.

        p_j = 1/M sum_m softmax(z_m)_j        or        p_j proportional to prod_m softmax(z_m)_j^(1/M)

    The geometric mean is softmax(mean of logits). Of the 2^n thinned networks of a linear softmax layer it is what
    scaling the weights by the retain probability 1/2 gives, exactly; for deeper nets that scaling approximates it.

    Args:
      logits: shape (members, batch, classes).
      mean: "arithmetic", or "geometric", renormalised.

    Returns:
      Probabilities of shape (batch, classes), in the dtype of `logits`.

    Raises:
      ValueError: `logits` of another rank or without members, or `mean` another word.

    References:
      Breiman, "Bagging predictors", 1996; Srivastava et al., "Dropout", 2014; Warde-Farley et al., "An empirical
      analysis of dropout in piecewise linear networks", 2014, section 2 (the geometric mean).
    """
    _check_logits(logits)
    if mean == "arithmetic":
        return jnp.mean(jax.nn.softmax(logits, -1), 0)
    if mean == "geometric":
        return jax.nn.softmax(jnp.mean(logits, 0), -1)
    raise ValueError(f"mean: expected 'arithmetic' or 'geometric'; got {mean!r}. Use 'arithmetic' for bagging.")


def log_average_probabilities(logits: jax.Array) -> jax.Array:
    """The logarithm of `average_probabilities(logits)`, without underflow: logits of the ensemble.

        z_j = log(1/M sum_m softmax(z_m)_j)

    Their softmax is the average itself, so `jaxdl.losses.softmax_cross_entropy` of them is its negative log-likelihood,
    which by Jensen's inequality is at most the mean of the members'.

    Args:
      logits: shape (members, batch, classes).

    Returns:
      Shape (batch, classes), in the dtype of `logits`.

    Raises:
      ValueError: `logits` of another rank, or without members.
    """
    _check_logits(logits)
    return jax.nn.logsumexp(jax.nn.log_softmax(logits, -1), 0) - jnp.log(jnp.asarray(len(logits), logits.dtype))


def vote_scores(logits: jax.Array) -> jax.Array:
    """`majority_vote` as scores that `jaxdl.losses.correct` reads: 1 for the class voted for, 0 for the others.

    Args:
      logits: shape (members, batch, classes).

    Returns:
      Shape (batch, classes), in the dtype of `logits`; NaN where a logit of any member is.

    Raises:
      ValueError: `logits` of another rank, or without members.
    """
    winner = majority_vote(logits)[:, None]
    scores = (winner == jnp.arange(logits.shape[-1])[None]).astype(logits.dtype)
    return jnp.where(winner < 0, jnp.nan, scores)


def majority_vote(logits: jax.Array) -> jax.Array:
    """The class that most members hold largest.

    A tie goes to the tied class of the largest average probability, and a tie there to the lowest class.

    Args:
      logits: shape (members, batch, classes); of probabilities pass the logarithms.

    Returns:
      Labels of shape (batch,), int32; -1, which is no class, where a logit of any member is NaN.

    Raises:
      ValueError: `logits` of another rank, or without members.
    """
    _check_logits(logits)
    votes = jnp.sum(jax.nn.one_hot(jnp.argmax(logits, -1), logits.shape[-1], dtype=jnp.int32), 0)
    tied = votes == jnp.max(votes, -1, keepdims=True)
    winner = jnp.argmax(jnp.where(tied, average_probabilities(logits), -1), -1)
    return jnp.where(jnp.any(jnp.isnan(logits), (0, 2)), -1, winner).astype(jnp.int32)


def bootstrap(key: jax.Array, examples: Tree) -> Tree:
    """As many examples as there are, drawn independently with replacement.

    About 1 - 1/e = 63 % of the examples are among them, some more than once. `bootstrap(key, jnp.arange(n))` gives the
    indices alone.

    Args:
      key: typed key; another one for each member.
      examples: a pytree of arrays with one leading example axis, such as (x, y).

    Returns:
      A pytree of the same structure, shapes and dtypes; the same draw in every leaf.

    Raises:
      TypeError: `key` is not one typed key.
      ValueError: leaves without a common leading axis of length >= 1.

    References:
      Efron, "Bootstrap methods: another look at the jackknife", 1979; Breiman, "Bagging predictors", 1996.
    """
    checks.one_key(key)
    count = tree.num_examples(examples, argument="examples")
    draws = jax.random.randint(key, (count,), 0, count)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[draws], examples)


def bootstrap_samples(seeds: Sequence[int], num_examples: int) -> np.ndarray:
    """A bootstrap sample for the member of each seed, for `jaxdl.training.run_many(samples=...)`.

    Args:
      seeds: of the members; the draws of a seed depend on nothing else, and on nothing that its training draws.
      num_examples: examples there are, and in each sample.

    Returns:
      Indices of shape (seeds, num_examples), int32.

    Raises:
      ValueError: `num_examples` below 1.
    """
    checks.whole_number(num_examples=num_examples, minimum=1, remedy="Pass len(y).")
    drawn = [
        bootstrap(jax.random.fold_in(jax.random.key(seed), _BAGGING), jnp.arange(num_examples)) for seed in seeds
    ]  # fmt: skip
    return np.asarray(drawn, np.int32)


def _check_logits(logits: Any) -> None:
    shape = jnp.shape(logits)
    if len(shape) != 3 or shape[0] < 1 or shape[2] < 1:
        raise ValueError(
            f"logits: expected shape (members, batch, classes), with at least one member; got {shape}. "
            "Stack the members' outputs along a new first axis, or take them from jax.vmap over the parameters."
        )
