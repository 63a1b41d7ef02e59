"""Extra arguments and dtypes for optimizers that ask for the objective itself."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec, reshard

from jaxdl.optimizers.subtrees import takes_parts

PyTree = Any


def in_full_precision(
    inner: optax.GradientTransformationExtraArgs, *, needs: tuple[str, ...]
) -> optax.GradientTransformationExtraArgs:
    """A transformation of a wide copy of everything.

    Args:
      inner: sees parameters, updates, state and extra arguments in the widest dtype among the parameters, float32 at
        least.
      needs: names of the extra arguments of its update: "value_fn", a function of the parameters alone, or "value",
        "grad" and "value_fn". It is given no others.

    Returns:
      A transformation whose updates have the dtypes of the updates that came in.

    Raises:
      ValueError: at `update`, an argument of `needs` or the parameters missing, or some hidden by a mask.
    """

    def init(params: PyTree) -> Any:
        state = inner.init(_cast(params, _dtype(params)))
        # Scalars of weak type would come back as others, and the second call compile anew; and one buffer that stands
        # in two places, as optax's line search has it, could not be donated.
        return jax.tree.map(lambda leaf: jnp.array(leaf, leaf.dtype), state)

    def update(updates: PyTree, state: Any, params: PyTree = None, **extra: Any) -> tuple[PyTree, Any]:
        for name, value in [("params", params), *((need, extra.get(need)) for need in needs)]:
            if value is None:
                arguments = ", ".join(["grads", "state", "params", *(f"{need}=..." for need in needs)])
                raise ValueError(
                    f"{name}: expected with every update of this optimizer; got None. jaxdl.training.make_train_step "
                    f"passes it; by hand call tx.update({arguments})."
                )
        if not takes_parts(extra["value_fn"]):
            _refuse_masked(params)
        dtype = _dtype(params)
        given_as = updates, state
        (updates, state), params, extra = _gathered((given_as, params, extra))
        wide = _cast(params, dtype)
        given = {"value_fn": extra["value_fn"]}
        if "grad" in needs:
            given["value"], given["grad"] = jnp.asarray(extra["value"], dtype), _cast(extra["grad"], dtype)
            if any(jnp.asarray(leaf).dtype != dtype for leaf in jax.tree.leaves(extra["grad"])):
                # Rounded to bfloat16 the value is no fit to be compared with those of the line search.
                given["value"], given["grad"] = jax.value_and_grad(extra["value_fn"])(wide)
        stepped, state = inner.update(_cast(updates, dtype), state, wide, **given)
        stepped = jax.tree.map(lambda u, like: u.astype(jnp.asarray(like).dtype), stepped, updates)
        return _split_as((stepped, state), given_as)

    return optax.GradientTransformationExtraArgs(init, update)


def _explicit(leaf: Any) -> NamedSharding | None:
    """How a leaf is split over a mesh with explicit axes; None where it is not."""
    sharding: Any = jax.typeof(leaf).sharding if isinstance(leaf, jax.Array) else None
    if sharding is None or sharding.mesh.empty or AxisType.Explicit not in sharding.mesh.axis_types:
        return None
    return sharding


def _gathered(values: PyTree) -> PyTree:
    """Whole arrays on every device of a mesh with explicit axes, on which split ones cannot be made one vector."""

    def gathered(leaf: Any) -> Any:
        sharding = _explicit(leaf)
        return leaf if sharding is None else reshard(leaf, NamedSharding(sharding.mesh, PartitionSpec()))

    return jax.tree.map(gathered, values)


def _split_as(values: PyTree, likes: PyTree) -> PyTree:
    def split(leaf: Any, like: Any) -> Any:
        sharding = _explicit(like)
        return leaf if sharding is None else reshard(leaf, sharding)

    return jax.tree.map(split, values, likes)


def _dtype(params: PyTree) -> Any:
    return jnp.result_type(jnp.float32, *(jnp.asarray(leaf).dtype for leaf in jax.tree.leaves(params)))


def _cast(values: PyTree, dtype: Any) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), values)


def _refuse_masked(params: PyTree) -> None:
    leaves = jax.tree.leaves(params, is_leaf=lambda node: isinstance(node, optax.MaskedNode))
    if any(isinstance(leaf, optax.MaskedNode) for leaf in leaves):
        raise ValueError(
            "params: expected all of them, since value_fn takes them all; got some hidden by a mask. Instead of "
            "optax.masked use jaxdl.optimizers.freeze or groups, which make value_fn a function of the others."
        )
