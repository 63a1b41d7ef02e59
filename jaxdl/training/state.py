"""The training state: one frozen pytree that holds all a run needs to go on."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxdl import checks
from jaxdl.model import as_model

PyTree = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """State of a run between two updates.

    Attributes:
      step: updates done, int32 scalar.
      params: pytree of parameters.
      model_state: the model's other collections (running statistics), `{}` if there are none.
      opt_state: state of the optax chain.
      key: typed PRNG key; it never changes, since all randomness is `fold_in(key, step)` or the epoch's.
    """

    step: jax.Array
    params: PyTree
    model_state: PyTree
    opt_state: PyTree
    key: jax.Array


# Distinct from every value of an int32 step counter, so that data order and step noise never share a key.
_ORDER_STREAM = 0xFFFFFFFF


def epoch_order(key: jax.Array, epoch: jax.Array | int, num_examples: int) -> jax.Array:
    """The permutation `(num_examples,)`, int32, in which an epoch visits the examples; of key and epoch only."""
    order_key = jax.random.fold_in(jax.random.fold_in(key, jnp.uint32(_ORDER_STREAM)), epoch)
    return jax.random.permutation(order_key, num_examples).astype(jnp.int32)


def make_state(
    params: PyTree, tx: optax.GradientTransformation, *, key: jax.Array, model_state: PyTree | None = None
) -> TrainState:
    """A state at step 0 around parameters one already has.

    Args:
      params: pytree of arrays.
      tx: the optax chain; its state is made here.
      key: typed key, `jax.random.key(seed)`, from which all randomness of the run follows.
      model_state: the model's other collections.

    Raises:
      TypeError: `key` is not one typed key.
    """
    checks.one_key(key)
    checks.optimizer(tx)
    return TrainState(
        jnp.zeros((), jnp.int32), params, {} if model_state is None else model_state, tx.init(params), key
    )


def init_state(model: Any, tx: optax.GradientTransformation, x: PyTree, *, key: jax.Array) -> TrainState:
    """A state at step 0 with freshly drawn parameters.

    Args:
      model: whatever `jaxdl.as_model` takes.
      tx: the optax chain.
      x: a batch of inputs; only its shapes and dtypes matter, one example is enough.
      key: typed key; one half draws the parameters, the other becomes `state.key`.
    """
    checks.one_key(key)
    params_key, run_key = jax.random.split(key)
    variables = dict(as_model(model).init(params_key, x))
    params = variables.pop("params")
    return make_state(params, tx, key=run_key, model_state=variables)


def check_state(state: Any, *, argument: str = "state") -> None:
    """Raises TypeError unless `state` is a `TrainState`."""
    if not isinstance(state, TrainState):
        raise TypeError(
            f"{argument}: expected a TrainState; got {type(state).__name__}. "
            "Make one with init_state(model, tx, x, key=key), or with make_state(params, tx, key=key)."
        )
