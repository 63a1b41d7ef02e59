"""Hints: a student's lower layers learn a layer of the teacher, before the whole student is distilled."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from jaxdl import checks, losses, tree
from jaxdl.model import Variables
from jaxdl.procedures.distillation import Distilled
from jaxdl.procedures.features import features, with_head
from jaxdl.procedures.stages import starting_from
from jaxdl.procedures.transfer import Source, transfer
from jaxdl.training import ManyRuns, TrainState, init_state, make_state, make_train_step, run_many, supervised

PyTree = Any
KINDS = ("auto", "dense", "convolutional")


class HintRegressor(nn.Module):
    """`r(guided layer)`, which brings a student's layer to the shape of the teacher's hint; it is linear.

    Dense: `flatten -> W, b -> reshape`. Convolutional: one kernel of `(H_g - H_h + 1, W_g - W_h + 1)` without padding,
    `H_g x W_g` the guided map and `H_h x W_h` the hint, which takes far fewer parameters. Input `(batch, ...)`, output
    `(batch, *shape)`. The layer is named `regressor`.

    Attributes:
      shape: of the hint of one example, `(units,)` or `(height, width, channels)`.
      kind: "dense", "convolutional", or "auto": convolutional where both are maps and the guided one is no smaller.
      dtype: of the computation; `None` infers it from input and parameters.

    References:
      Romero et al., "FitNets: Hints for Thin Deep Nets", 2015, section 2.2 and eq. 3.
    """

    shape: Sequence[int]
    kind: Literal["auto", "dense", "convolutional"] = "auto"
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """The guided layer `(batch, ...)` in the hint's shape, `(batch, *shape)`."""
        checks.one_of(kind=self.kind, among=KINDS, remedy="Use 'auto'.")
        shape, guided = tuple(self.shape), jnp.shape(x)[1:]
        maps = len(shape) == len(guided) == 3 and guided[0] >= shape[0] and guided[1] >= shape[1]
        if self.kind == "convolutional" and not maps:
            raise ValueError(
                f"kind: expected maps (height, width, channels) for a convolutional regressor, the guided one no "
                f"smaller than the hint; got {guided} for a hint of {shape}. Use 'dense', or guide a lower layer."
            )
        if maps and self.kind != "dense":
            kernel = (guided[0] - shape[0] + 1, guided[1] - shape[1] + 1)
            return nn.Conv(shape[2], kernel, padding="VALID", dtype=self.dtype, name="regressor")(x)
        flat = jnp.reshape(x, (jnp.shape(x)[0], -1))
        outputs = nn.Dense(int(np.prod(shape)), dtype=self.dtype, name="regressor")(flat)
        return jnp.reshape(outputs, (-1, *shape))


class Hinted(NamedTuple):
    """What `train_with_hints` returns.

    Attributes:
      hints: the first stage, whose parameters are `trunk/...`, the student's, and `head/...`, the regressor's.
      runs: the second stage: the distilled students.
    """

    hints: ManyRuns
    runs: ManyRuns


def train_on_hints(
    student: Any,
    tx: optax.GradientTransformation,
    data: PyTree,
    *,
    guided: str,
    regressor: Any = None,
    seeds: Sequence[int],
    **options: Any,
) -> ManyRuns:
    """Stage 1: the student up to its guided layer, and a regressor on it, learn the teacher's hint: `losses.hint`.

    Args:
      student: a `flax.linen` module, or a `jaxdl.Model` made of one.
      tx: the optax chain.
      data: `(x, hints)`; the hints, `(N, ...)`, are those of
        `teacher_outputs(features(teacher, after="Conv_2"), teacher_variables, x)`.
      guided: path of the student's guided layer, see `features`, which ends the trunk behind it.
      regressor: whatever `jaxdl.as_model` takes, from the guided layer to the hint's shape; None for
        `HintRegressor(hints.shape[1:])`.
      seeds: one run each.
      options: further ones of `run_many`: `batch_size`, `epochs` or `steps`, `validation`, `mode`.

    Returns:
      What `run_many` does; parameters are `trunk/...` and `head/...`. `student_variables` puts a trunk into a student.

    Raises:
      ValueError, TypeError: no such layer, a regressor whose outputs have another shape than the hints, what `run_many`
        refuses.

    References:
      Romero et al., "FitNets: Hints for Thin Deep Nets", 2015, section 2.3, algorithm 1.
    """
    x, hints = data
    head = HintRegressor(np.shape(hints)[1:]) if regressor is None else regressor
    model = with_head(features(student, after=guided), head)
    step = make_train_step(supervised(model, losses.hint), tx)
    first = jax.tree.map(lambda leaf: leaf[:1], x)
    return run_many(step, lambda key: init_state(model, tx, first, key=key), data, seeds=seeds, **options)


def student_variables(variables: Mapping[str, Any], hinted: TrainState) -> Variables:
    """The student's variables with those layers, statistics included, that stage 1 trained.

    Args:
      variables: of the whole student, `{"params": ..., **model_state}`.
      hinted: the state of one member of `train_on_hints`.

    Returns:
      Variables like `variables`.
    """
    parts: Source = {"params": hinted.params, **hinted.model_state}
    trained = {name: value["trunk"] for name, value in parts.items() if "trunk" in value}
    held = {path.partition("/")[2] for path in tree.leaf_paths(trained)}
    return transfer(variables, trained, where=lambda path, leaf: path in held)


def train_with_hints(
    objective: Distilled,
    tx: optax.GradientTransformation,
    data: PyTree,
    hints: Any,
    *,
    guided: str,
    regressor: Any = None,
    hint_tx: optax.GradientTransformation | None = None,
    hint_epochs: int,
    epochs: int,
    batch_size: int,
    seeds: Sequence[int],
    validation: PyTree = None,
    teacher_variables: Mapping[str, Any] | None = None,
    **options: Any,
) -> Hinted:
    """FitNets: stage 1 trains the student up to the guided layer on the hints, stage 2 distils the whole student.

    Args:
      objective: of stage 2, `distilled(student, ...)`; the student is a Linen module, or a `jaxdl.Model` made of one.
      tx: the optax chain.
      data: of stage 2, `(x, y, teacher_logits)`, or `(x, y)` where the teacher runs in the step. Stage 1 sees its x.
      hints, guided, regressor: see `train_on_hints`.
      hint_tx: the chain of stage 1; None for `tx`.
      hint_epochs, epochs: of the two stages.
      batch_size, seeds, validation: as for `run_many`; the validation data, `(x, y)`, are those of stage 2.
      teacher_variables: where the teacher runs in the step.
      options: further ones of `run_many`, for both stages.

    Returns:
      `Hinted(hints, runs)`.

    Raises:
      TypeError: `objective` is not what `distilled` returns.
      ValueError: what `train_on_hints` and `run_many` refuse.

    References:
      Romero et al., "FitNets: Hints for Thin Deep Nets", 2015, section 2.3, algorithm 1.
    """
    if not isinstance(objective, Distilled):
        raise TypeError(
            f"objective: expected what distilled(student, ...) returns; got {type(objective).__name__}. Make it so."
        )
    x = data[0]
    first = train_on_hints(
        objective.student, hint_tx or tx, (x, hints), guided=guided, regressor=regressor, seeds=seeds,
        epochs=hint_epochs, batch_size=batch_size, **options,
    )  # fmt: skip
    one = jax.tree.map(lambda leaf: leaf[:1], x)

    def start(key: jax.Array, hinted: TrainState) -> TrainState:
        fresh = init_state(objective.student, tx, one, key=key)
        variables = student_variables({"params": fresh.params, **fresh.model_state}, hinted)
        params = variables.pop("params")
        state = make_state(params, tx, key=fresh.key, model_state=variables)
        return objective.start(state, teacher_variables)

    second = run_many(
        make_train_step(objective, tx), starting_from(first, start), data, seeds=seeds, epochs=epochs,
        batch_size=batch_size, validation=validation, **options,
    )  # fmt: skip
    return Hinted(first, second)
