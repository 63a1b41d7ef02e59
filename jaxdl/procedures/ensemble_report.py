"""An ensemble against its members: accuracies, diversity, and the gain with its interval."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import losses, tree
from jaxdl.model import Model
from jaxdl.procedures.ensemble_model import check_stacked, ensemble_model
from jaxdl.procedures.ensemble_training import as_state
from jaxdl.procedures.ensembles import log_average_probabilities, vote_scores
from jaxdl.training import Aux, evaluate

PyTree = Any


@dataclass(frozen=True)
class EnsembleReport:
    """What `compare_members` returns; means over all examples.

    Attributes:
      accuracy: of the average of probabilities.
      vote_accuracy: of the majority.
      member_accuracies: `(members,)`.
      loss: negative log-likelihood of the average of probabilities, in nats.
      member_losses: `(members,)`; their mean is at least `loss`.
      disagreement: probability that two members, drawn without replacement, name different classes.
      gain: accuracy of the ensemble less the mean of its members'.
      gain_interval: `(low, high)`, its 95 % t-interval over examples, for these members: what other members would give
        it does not tell, several ensembles do.
      num_examples: how many there were.
    """

    accuracy: float
    vote_accuracy: float
    member_accuracies: np.ndarray
    loss: float
    member_losses: np.ndarray
    disagreement: float
    gain: float
    gain_interval: tuple[float, float]
    num_examples: int

    def verdict(self) -> str:
        """A sentence with its numbers."""
        low, high = (100 * end for end in self.gain_interval)
        return (
            f"{len(self.member_accuracies)} members at {100 * self.member_accuracies.mean():.2f} % on average "
            f"({100 * self.member_accuracies.min():.2f} to {100 * self.member_accuracies.max():.2f}), together "
            f"{100 * self.accuracy:.2f} %, by vote {100 * self.vote_accuracy:.2f} %: gain {100 * self.gain:.2f} "
            f"points, 95 % interval over examples {low:.2f} to {high:.2f}; two members differ on "
            f"{100 * self.disagreement:.2f} % of {self.num_examples} examples"
        )


@dataclass(frozen=True, eq=False)
class _Comparison:
    apart: Model

    def __call__(
        self, params: PyTree, batch: PyTree, *, model_state: PyTree, key: jax.Array | None, train: bool
    ) -> tuple[jax.Array, Aux]:
        x, labels = batch
        logits, _ = self.apart.apply({"params": params, **model_state}, x, train=train, key=key)
        members = range(len(logits))
        together = log_average_probabilities(logits)
        right = jnp.stack([losses.correct(logits[m], labels) for m in members])
        accuracy = losses.correct(together, labels)
        gain = accuracy - right.mean(0)
        metrics = {
            "accuracy": accuracy,
            "vote": losses.correct(vote_scores(logits), labels),
            "disagreement": _disagreement(jnp.argmax(logits, -1), logits.shape[-1]),
            "gain": gain,
            "gain_squared": jnp.square(gain),
        }
        metrics |= {f"accuracy_{m}": right[m] for m in members}
        metrics |= {f"loss_{m}": losses.softmax_cross_entropy(logits[m], labels) for m in members}
        return losses.softmax_cross_entropy(together, labels), Aux(model_state, metrics)


def _disagreement(labels: jax.Array, num_classes: int) -> jax.Array:
    """Share of the pairs of members that differ, `(batch,)`, by the votes of each class; 0 for one member."""
    count = len(labels)
    votes = jax.nn.one_hot(labels, num_classes, dtype=jnp.float32).sum(0)
    alike = jnp.sum(votes * (votes - 1), -1)
    return 1 - alike / (count * (count - 1)) if count > 1 else jnp.zeros(labels.shape[1])


def compare_members(model: Any, variables: PyTree, data: PyTree, *, batch_size: int = 1000) -> EnsembleReport:
    """Evaluates an ensemble of classifiers and each of its members, exactly for every number of examples.

    Args:
      model: of one member, whatever `jaxdl.as_model` takes; its outputs are logits.
      variables: stacked, leaves `(members, ...)`, such as `train_ensemble(...).variables`.
      data: `(x, y)` with labels y.
      batch_size: as for `evaluate`.

    Returns:
      The report. Disagreement is Kuncheva and Whitaker's measure, the mean over pairs.

    Raises:
      ValueError: variables that are not stacked, data without a common leading axis.

    References:
      Kuncheva, Whitaker, "Measures of diversity in classifier ensembles", 2003; Krogh, Vedelsby, 1995 (the gain comes
      of the members' differences).
    """
    members = check_stacked(variables)
    count = tree.num_examples(data)
    identity: Callable[[Any], Any] = lambda outputs: outputs  # noqa: E731
    objective = _Comparison(ensemble_model(model, members, combine=identity))
    found = evaluate(objective, as_state(variables), data, batch_size=batch_size)
    spread = max(found["gain_squared"] - found["gain"] ** 2, 0.0) * count / max(count - 1, 1)
    return EnsembleReport(
        accuracy=found["accuracy"],
        vote_accuracy=found["vote"],
        member_accuracies=np.array([found[f"accuracy_{m}"] for m in range(members)]),
        loss=found["loss"],
        member_losses=np.array([found[f"loss_{m}"] for m in range(members)]),
        disagreement=found["disagreement"],
        gain=found["gain"],
        gain_interval=_interval(found["gain"], spread, count),
        num_examples=count,
    )


def _interval(mean: float, variance: float, count: int) -> tuple[float, float]:
    if count < 2:
        return -np.inf, np.inf
    from scipy import stats

    half = float(stats.t.ppf(0.975, count - 1) * np.sqrt(variance / count))
    return mean - half, mean + half
