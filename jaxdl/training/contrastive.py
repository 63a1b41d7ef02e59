"""Contrastive divergence as an objective: its gradient is the update."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxdl import checks
from jaxdl.training.objective import Aux
from jaxdl.training.reconstruction import inputs_of

PyTree = Any


@dataclass(frozen=True, eq=False)
class ContrastiveDivergence:
    """The objective of a Boltzmann machine; made by `contrastive_divergence`. Hashable by identity."""

    model: nn.Module
    num_steps: int
    persistent: bool

    def __call__(
        self, params: PyTree, batch: PyTree, *, model_state: PyTree, key: jax.Array | None, train: bool
    ) -> tuple[jax.Array, Aux]:
        """Losses of a batch `x`, `(batch,)`, and the chains after it."""
        x = jnp.asarray(inputs_of(batch))
        x = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.float32)
        if not train:
            return self._free_energy(params, x), Aux(model_state, {})
        if key is None:
            raise ValueError(
                "key: expected a key in training mode, since chains are sampled; got None. Pass "
                "key=jax.random.key(0), or train=False."
            )
        if not self.persistent:
            return self._free_energy(params, x) - self._free_energy(params, self._chain(params, x, key)), Aux(
                model_state, {}
            )
        if "chains" not in model_state:
            raise ValueError(
                f"model_state: expected chains beside the parameters; got the collections {sorted(model_state)}. "
                "Make the model with num_chains, such as RBM(500, num_chains=100)."
            )
        chains = self._chain(params, model_state["chains"]["particles"], key)
        losses = self._free_energy(params, x) - jnp.mean(self._free_energy(params, chains))
        return losses, Aux({**model_state, "chains": {"particles": chains}}, {})

    def _free_energy(self, params: PyTree, v: jax.Array) -> jax.Array:
        energies: Any = self.model.apply({"params": params}, v, method="free_energy")
        return energies

    def _chain(self, params: PyTree, v: jax.Array, key: jax.Array) -> jax.Array:
        held = jax.lax.stop_gradient(params)

        def turn(v: jax.Array, key: jax.Array) -> tuple[jax.Array, None]:
            after: Any = self.model.apply({"params": held}, key, v, method="gibbs")
            return after, None

        return jax.lax.stop_gradient(jax.lax.scan(turn, v, jax.random.split(key, self.num_steps))[0])


def contrastive_divergence(model: nn.Module, *, num_steps: int = 1, persistent: bool = False) -> ContrastiveDivergence:
    """The objective whose gradient is the update of CD-k, or of persistent contrastive divergence.

        losses = F(v) - F(v_k),    v_k after k Gibbs steps from v, held constant

    For a restricted Boltzmann machine its gradient in W is `-(v p(h|v)^T - v_k p(h|v_k)^T)`: the negative of
    <v h>_data - <v h>_k, with the means of the hidden units in both phases. The chains follow from the step's key, so
    `fit`, `run_many`, checkpoints and per-example gradients work as for any objective. The loss itself is no measure of
    progress: it is near 0 throughout.

    Args:
      model: a Linen module with the methods `free_energy(v) -> (batch,)` and `gibbs(key, v) -> v`, such as
        `jaxdl.models.RBM`.
      num_steps: k, >= 1.
      persistent: go on with the chains in `model_state["chains"]["particles"]`, `(num_chains, features)`, in place of
        new ones from the data; their mean free energy then stands in every example's loss.

    Returns:
      An objective of batches `x`, or of pairs `(x, y)` whose labels it does not look at. In evaluation mode, which has
      no key, the losses are the free energies F(v): up to ln Z, the same for all data, minus the log-likelihood; so
      the gap between validation and training data tells of overfitting.

    Raises:
      TypeError: a model without these methods.
      ValueError: `num_steps` below 1; when called, no key in training mode, or no chains to go on with.

    References:
      Hinton, "Training products of experts by minimizing contrastive divergence", Neural Computation 14, 2002.
      Tieleman, "Training restricted Boltzmann machines using approximations to the likelihood gradient", 2008.
      Hinton, "A practical guide to training restricted Boltzmann machines", 2010, sections 3 and 6 (free energies).
    """
    if not isinstance(model, nn.Module) or not (hasattr(model, "free_energy") and hasattr(model, "gibbs")):
        raise TypeError(
            f"model: expected a Linen module with the methods free_energy and gibbs; got {type(model).__name__}. "
            "Pass for example jaxdl.models.RBM(500)."
        )
    checks.whole_number(num_steps=num_steps, minimum=1, remedy="CD-1 takes 1.")
    return ContrastiveDivergence(model, num_steps, persistent)
