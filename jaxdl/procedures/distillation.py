"""Training a student on a teacher's outputs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import checks, losses, tree
from jaxdl.model import Model, Variables, as_model
from jaxdl.procedures.transfer import Source, variables_of
from jaxdl.training import Aux, TrainState
from jaxdl.training.objective import Augment, PerExample, Supervised, supervised

PyTree = Any
TEACHER, PROGRESS = "teacher", "distillation"  # collections of the state that are not the student's


@dataclass(frozen=True, eq=False)
class Distilled:
    """The objective of a student; made by `distilled`. Hashable by identity.

    Attributes:
      plain: the supervised objective of the student by itself.
      teacher: a model that runs inside of the step; None where its outputs come with the batch.
      temperature: tau > 0.
      strength: of the soft term, a number or a schedule.
      temperature_squared: whether the soft term is multiplied by tau^2.
    """

    plain: Supervised
    teacher: Model | None = None
    temperature: Any = 3.0
    strength: Any = 1.0
    temperature_squared: bool = False

    @property
    def student(self) -> Model:
        """The model that is trained."""
        return self.plain.model

    def start(self, state: TrainState, teacher_variables: Mapping[str, Any] | None = None) -> TrainState:
        """The state with what this objective keeps beside the student's own: teacher, and count of a schedule.

        Args:
          state: of the student.
          teacher_variables: of the teacher, where it runs inside of the step.

        Raises:
          ValueError: variables for no teacher, or none for one; a student with collections of these names.
        """
        taken = sorted({TEACHER, PROGRESS} & set(state.model_state))
        if taken:
            raise ValueError(
                f"state: expected one of the student, without the collections {TEACHER!r} and {PROGRESS!r}; got "
                f"{taken}. Start from the student's own state, see `finish`."
            )
        if (self.teacher is None) != (teacher_variables is None):
            given = "none" if teacher_variables is None else "some"
            raise ValueError(
                f"teacher_variables: expected them exactly where distilled(..., teacher=...) runs the teacher; got "
                f"{given}. Logits made in advance are part of the data instead."
            )
        extra = {} if teacher_variables is None else {TEACHER: dict(teacher_variables)}
        if callable(self.strength):
            extra[PROGRESS] = {"count": jnp.zeros((), jnp.int32)}
        return replace(state, model_state={**state.model_state, **extra})

    def finish(self, state: TrainState) -> TrainState:
        """The student's own state, as any other objective takes it."""
        return replace(state, model_state=_own(state.model_state))

    def __call__(
        self, params: PyTree, batch: PyTree, *, model_state: PyTree, key: jax.Array | None, train: bool
    ) -> tuple[jax.Array, Aux]:
        """Losses and metrics of a batch, each `(batch,)`; in evaluation the plain loss, which needs no teacher."""
        own = _own(model_state)
        if not train:
            values, aux = self.plain(params, batch[:2], model_state=own, key=key, train=False)
            return values, Aux(model_state, aux.metrics)
        if len(batch) != (3 if self.teacher is None else 2):
            expected = (
                "(x, y, teacher_logits)" if self.teacher is None else "(x, y), since the teacher runs in the step"
            )
            raise ValueError(
                f"batch: expected {expected}; got {len(batch)} parts. "
                "Logits are made in advance by teacher_outputs(teacher, variables, x)."
            )
        targets = batch[1]
        x, key = self.plain.inputs(batch[0], key, train=True)
        logits = batch[2] if self.teacher is None else self._taught(model_state, x)
        strength, progress = self._strength(model_state)
        outputs, new = self.student.apply({"params": params, **own}, x, train=True, key=key)
        values = losses.distillation(
            outputs, targets, logits, temperature=self.temperature, strength=strength,
            temperature_squared=self.temperature_squared,
        )  # fmt: skip
        metrics = {name: metric(outputs, targets) for name, metric in self.plain.metrics.items()}
        return values, Aux({**model_state, **new, **progress}, metrics)

    def _taught(self, model_state: PyTree, x: PyTree) -> jax.Array:
        assert self.teacher is not None
        if TEACHER not in model_state:
            raise ValueError(
                "model_state: expected the teacher's variables in it; got none. "
                "Begin with objective.start(state, teacher_variables)."
            )
        return self.teacher.apply(model_state[TEACHER], x, train=False)[0]

    def _strength(self, model_state: PyTree) -> tuple[Any, dict[str, Any]]:
        if not callable(self.strength):
            return self.strength, {}
        if PROGRESS not in model_state:
            raise ValueError(
                "model_state: expected the count that a schedule of the strength needs; got none. "
                "Begin with objective.start(state)."
            )
        count = model_state[PROGRESS]["count"]
        return self.strength(count), {PROGRESS: {"count": count + 1}}


def distilled(
    student: Any,
    *,
    teacher: Any = None,
    temperature: Any = 3.0,
    strength: Any = 1.0,
    temperature_squared: bool = False,
    metrics: Mapping[str, PerExample] | None = None,
    augment: Augment | None = None,
) -> Distilled:
    """The objective `H(y, p) + strength H(q_tau, p_tau)` of a student, see `jaxdl.losses.distillation`.

    The teacher's logits are made once, by `teacher_outputs`, and are a part of the data: batches are
    `(x, y, teacher_logits)`. With `teacher` it runs in every step instead, in evaluation mode and without derivative,
    on what the student sees, augmented or not; batches are `(x, y)`, and its variables lie in the state, in the
    collection `teacher`, where they are arguments of the compiled program and keep their bits.

    In evaluation the loss is the plain cross-entropy, by which temperatures and strengths can be compared, and batches
    may be `(x, y)`.

    Args:
      student: whatever `jaxdl.as_model` takes; it returns logits.
      teacher: likewise, to run it in the step; the state is then begun by `objective.start(state, variables)`.
      temperature: tau, a number > 0; it may be traced, as a hyper-parameter of `run_many`.
      strength: a number, likewise, or a schedule `strength(count)`, such as `optax.linear_schedule(4.0, 0.0, 10_000)`;
        the state is then begun by `objective.start(state)`. It counts the passes in training, one a step or one a
        microbatch.
      temperature_squared: multiplies the soft term by tau^2 (Hinton et al.).
      metrics, augment: as for `jaxdl.training.supervised`.

    Returns:
      An objective, compared by identity.

    Raises:
      TypeError, ValueError: `temperature` or `strength` out of range, what `supervised` refuses; when called, batches
        or a state without what is needed.

    Example:
      >>> logits = teacher_outputs(teacher, teacher_variables, x)
      >>> objective = distilled(student, temperature=4.0, metrics={"accuracy": losses.correct})
      >>> fit(make_train_step(objective, tx), state, (x, y, logits), epochs=10, batch_size=32)  # doctest: +SKIP

    References:
      Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015.
      Romero et al., "FitNets: Hints for Thin Deep Nets", 2015, eq. 4.
    """
    checks.number(temperature=temperature, minimum=0, exclusive=True, remedy="3 is common; 1 softens nothing.")
    if not callable(strength):
        checks.number(strength=strength, minimum=0, remedy="1 weighs both terms alike; a schedule may fall to 0.")
    plain = supervised(student, losses.softmax_cross_entropy, metrics=metrics, augment=augment)
    return Distilled(plain, None if teacher is None else as_model(teacher), temperature, strength, temperature_squared)


def teacher_outputs(model: Any, variables: Source, x: PyTree, *, batch_size: int = 1000) -> Any:
    """What a model says of all examples, in evaluation mode, by one compiled program.

    Args:
      model: whatever `jaxdl.as_model` takes; `features(model, after="Conv_1")` gives the hints of that layer.
      variables: `{"params": ..., **model_state}`, or a `TrainState`.
      x: inputs with one leading example axis.
      batch_size: examples at a time; it changes memory and speed alone.

    Returns:
      The model's outputs, with the leading axis of `x`.

    Raises:
      ValueError: no example, leaves of different lengths, or `batch_size` below 1.
    """
    count = tree.num_examples(x, argument="x")
    checks.whole_number(batch_size=batch_size, minimum=1, remedy="Try 1000.")
    model, variables = as_model(model), variables_of(variables)
    size = min(batch_size, count)
    # The last batch is filled up with copies of the last example, so that one shape is compiled.
    rows = jnp.minimum(jnp.arange(-(-count // size) * size).reshape(-1, size), count - 1)

    @jax.jit
    def outputs(variables: Variables, x: PyTree) -> Any:
        one = lambda batch: model.apply(variables, jax.tree.map(lambda leaf: leaf[batch], x), train=False)[0]  # noqa: E731
        joined = lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:count]  # noqa: E731
        return jax.tree.map(joined, jax.lax.map(one, rows))

    return outputs(variables, jax.device_put(x))


def _own(model_state: PyTree) -> PyTree:
    return {name: value for name, value in model_state.items() if name not in (TEACHER, PROGRESS)}
