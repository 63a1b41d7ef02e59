"""The training state: one frozen pytree that holds all a run needs to go on."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxdl import checks
from jaxdl.model import as_model

PyTree = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Average:
    """Average of the iterates, see `jaxdl.training.averaged`.

    Attributes:
      count: iterates in it, int32 scalar.
      params: like the state's, in float32 at least.
      model_state: like the state's, in float32 at least where it is floating-point.
    """

    count: jax.Array
    params: PyTree
    model_state: PyTree


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Stopping:
    """What early stopping remembers, see `jaxdl.training.EarlyStopping`.

    Attributes:
      best: the best value of the metric so far, float32 scalar.
      best_step: updates done when it was seen, int32 scalar; -1 before the first evaluation.
      waited: evaluations since without an improvement, int32 scalar.
      stopped_at: updates done when the run stopped, int32 scalar; -1 while it goes on.
      kept: `(params, model_state, average)` of the best, or None where they are not kept.
    """

    best: jax.Array
    best_step: jax.Array
    waited: jax.Array
    stopped_at: jax.Array
    kept: PyTree = None


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
      average: of the iterates, where the step keeps one, else None.
      bad_step: updates done before the first step whose numbers were not finite, as far as the step's guard has seen
        it; int32 scalar, -1 for none.
      stopping: of early stopping, where there is any, else None.
    """

    step: jax.Array
    params: PyTree
    model_state: PyTree
    opt_state: PyTree
    key: jax.Array
    average: Average | None = None
    bad_step: jax.Array | int = -1
    stopping: Stopping | None = None


# Distinct from every value of an int32 step counter, so that data order and step noise never share a key.
_ORDER_STREAM = 0xFFFFFFFF


def epoch_order(key: jax.Array, epoch: jax.Array | int, num_examples: int) -> jax.Array:
    """The permutation `(num_examples,)`, int32, in which an epoch visits the examples; of key and epoch only."""
    order_key = jax.random.fold_in(jax.random.fold_in(key, jnp.uint32(_ORDER_STREAM)), epoch)
    return jax.random.permutation(order_key, num_examples).astype(jnp.int32)


def make_state(
    params: PyTree,
    tx: optax.GradientTransformation,
    *,
    key: jax.Array,
    model_state: PyTree | None = None,
    average: bool = False,
) -> TrainState:
    """A state at step 0 around parameters one already has.

    Args:
      params: pytree of arrays.
      tx: the optax chain; its state is made here.
      key: typed key, `jax.random.key(seed)`, from which all randomness of the run follows.
      model_state: the model's other collections.
      average: make room for the average that a step with `average=` keeps.

    Returns:
      A `TrainState`.

    Raises:
      TypeError: `key` is not one typed key.
    """
    checks.one_key(key)
    checks.optimizer(tx)
    model_state = {} if model_state is None else model_state
    room = Average(jnp.zeros((), jnp.int32), *map(_for_averages, (params, model_state))) if average else None
    none_yet = jnp.full((), -1, jnp.int32)
    return TrainState(jnp.zeros((), jnp.int32), params, model_state, tx.init(params), key, room, none_yet)


def _for_averages(tree: PyTree) -> PyTree:
    """Copies in float32 at least: in half precision an average would not move under small weights."""

    def copy(leaf: Any) -> jax.Array:
        dtype = jnp.result_type(leaf)
        return jnp.array(leaf, jnp.promote_types(dtype, jnp.float32) if jnp.issubdtype(dtype, jnp.floating) else dtype)

    return jax.tree.map(copy, tree)


def init_state(
    model: Any, tx: optax.GradientTransformation, x: PyTree, *, key: jax.Array, average: bool = False
) -> TrainState:
    """A state at step 0 with freshly drawn parameters.

    Args:
      model: whatever `jaxdl.as_model` takes.
      tx: the optax chain.
      x: a batch of inputs; only its shapes and dtypes matter, one example is enough.
      key: typed key; one half draws the parameters, the other becomes `state.key`.
      average: make room for the average that a step with `average=` keeps.

    Returns:
      A `TrainState`.

    Raises:
      TypeError: `key` is not one typed key, `tx` no optax chain, or `model` no model.
    """
    checks.one_key(key)
    params_key, run_key = jax.random.split(key)
    variables = dict(as_model(model).init(params_key, x))
    params = variables.pop("params")
    return make_state(params, tx, key=run_key, model_state=variables, average=average)


def check_state(state: Any, *, argument: str = "state") -> None:
    """Raises TypeError unless `state` is a `TrainState`."""
    if not isinstance(state, TrainState):
        raise TypeError(
            f"{argument}: expected a TrainState; got {type(state).__name__}. "
            "Make one with init_state(model, tx, x, key=key), or with make_state(params, tx, key=key)."
        )


def without_optimizer(state: TrainState) -> TrainState:
    """The state without what evaluation does not read: one program then serves every optimizer, and averages too."""
    return replace(state, opt_state=(), average=None, stopping=None)
