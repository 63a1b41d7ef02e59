"""An ensemble as a model: its variables are the members' with a leading axis, and whatever takes a model takes it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import checks, tree
from jaxdl.model import Model, Variables, as_model
from jaxdl.procedures.ensembles import log_average_probabilities

PyTree = Any
Combine = Callable[[Any], Any]


def ensemble_model(model: Any, num_members: int, *, combine: Combine = log_average_probabilities) -> Model:
    """The model that lets several members of one architecture decide together.

        f(x) = combine(f_1(x), ..., f_M(x))

    Its variables are stacked: those of `train_ensemble(...).variables`, or of members stacked by `jax.tree.map`. It
    evaluates, saves, and goes through diagnostics like any other. To train it as it stands would be to minimise the
    loss of the combination, which is not the independent training of its members.

    Args:
      model: whatever `jaxdl.as_model` takes.
      num_members: M, at least 1.
      combine: `combine(outputs) -> outputs` from `(members, batch, ...)` to `(batch, ...)`. The default makes logits of
        the average of probabilities; `vote_scores` counts votes; `functools.partial(jax.numpy.mean, axis=0)` averages
        the outputs of a regression; `lambda outputs: outputs` leaves them apart.

    Returns:
      A `Model`. In training mode every member has a key of its own.

    Raises:
      TypeError: `model` is no model, `combine` no function.
      ValueError: `num_members` below 1; when called, a leaf without an axis of that length in front.

    References:
      Lakshminarayanan, Pritzel, Blundell, "Simple and scalable predictive uncertainty estimation using deep ensembles",
      2017.
    """
    model = as_model(model)
    checks.whole_number(num_members=num_members, minimum=1, remedy="Five are usual.")
    if not callable(combine):
        raise TypeError(
            f"combine: expected a function of outputs (members, batch, ...); got {type(combine).__name__}. "
            "Pass for example jaxdl.procedures.vote_scores."
        )

    def init(key: jax.Array, x: PyTree) -> Variables:
        return jax.vmap(lambda member_key: model.init(member_key, x))(jax.random.split(key, num_members))

    def apply(variables: Variables, x: PyTree, *, train: bool = False, key: jax.Array | None = None):
        check_stacked(variables, num_members)
        keys = None if key is None else jax.random.split(key, num_members)
        one = lambda variables, key: model.apply(variables, x, train=train, key=key)  # noqa: E731
        outputs, after = jax.vmap(one, in_axes=(0, None if keys is None else 0))(variables, keys)
        before = {name: value for name, value in variables.items() if name != "params"}
        return combine(outputs), after if train else before

    return Model(init, apply)


def check_stacked(variables: Any, num_members: int | None = None) -> int:
    """The number of members of stacked variables; ValueError where leaves have no leading axis of one length.

    Args:
      variables: a pytree whose leaves have a leading member axis.
      num_members: the length it has to have, or None.
    """
    lengths = {path: jnp.shape(leaf)[:1] for path, leaf in tree.leaf_paths(variables).items()}
    distinct = set(lengths.values())
    if len(distinct) != 1 or distinct & {(), (0,)} or distinct != {(num_members or next(iter(distinct))[0],)}:
        wanted = "one leading member axis" if num_members is None else f"a leading axis of {num_members} members"
        found = ", ".join(f"{path}: {length[0] if length else 'scalar'}" for path, length in lengths.items())
        raise ValueError(
            f"variables: expected leaves that have {wanted}; got {found or 'no array'}. "
            "Take them from train_ensemble(...).variables, or stack them by jax.tree.map(lambda *a: jnp.stack(a), ...)."
        )
    return next(iter(distinct))[0]
