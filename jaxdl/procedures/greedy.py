"""Greedy layer-wise pretraining, without labels and with them, and the fine-tuning of the stack."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxdl import checks, tree
from jaxdl.initializers import load_partial
from jaxdl.model import as_model
from jaxdl.training import FitResult, History, TrainState, TrainStep, fit, init_state, make_state

PyTree = Any
Encode = Callable[[dict[str, Any], Any], Any]


@dataclass(frozen=True, eq=False)
class LayerLearner:
    """The L of the algorithm: what one layer is learned with. Hashable by identity.

    Give the same one for layers of the same shape, and they are trained by one compiled program.

    Attributes:
      model: whatever `jaxdl.as_model` takes.
      step: from `make_train_step`, with an objective of this model, such as `reconstruction(model, loss)`.
      layer: path of the part of the parameters that is kept: `"encoder_0"` of an `Autoencoder`, `"hidden"` of an `RBM`.
      encode: `encode(variables, x) -> representation`, the learned f; None for the method `encode` of a Linen module.
    """

    model: Any
    step: TrainStep
    layer: str
    encode: Encode | None = None


class Pretrained(NamedTuple):
    """What greedy pretraining learned; each tuple has one entry a layer.

    Attributes:
      layers: parameters of the layers, to be put into a network by `with_layers`.
      states: of the learners after their training, with all their parameters (decoders, output layers).
      histories: of their training.
      x: the data as the last layer represents them, f(X).
    """

    layers: tuple[PyTree, ...]
    states: tuple[TrainState, ...]
    histories: tuple[History, ...]
    x: PyTree


def greedy_pretraining(
    learners: Sequence[LayerLearner], x: PyTree, *, key: jax.Array, validation: PyTree = None, folder: Any = None,
    **options: Any,
) -> Pretrained:  # fmt: skip
    """Greedy layer-wise unsupervised pretraining.

        f <- identity
        for k = 1, ..., K:    f_k = L(X);    f <- f_k o f;    X <- f_k(X)

    K is the number of layers. (One lecture calls it the number of iterations: there are many in every L.) The last line
    of the published algorithm, "if fine-tuning: f <- T(f, X, Y)", is `fine_tune`.

    Args:
      learners: L for each layer, the first one nearest to the data.
      x: inputs with a leading example axis.
      key: typed key; every layer has one of its own.
      validation: inputs that no layer learns from; they are represented along, and every layer is evaluated on them.
      folder: each layer has a folder `layer_0`, ... of its own in it, as for `fit`; a stopped run goes on.
      options: for `jaxdl.training.fit`, of every layer: `batch_size` and `epochs` or `steps`, and others.

    Returns:
      A `Pretrained`.

    Raises:
      TypeError: learners that are none, or that cannot encode.
      ValueError: no learner, or a layer there is not in the parameters; or what `fit` refuses.

    Example:
      >>> import jaxdl, optax
      >>> x, models = jnp.ones((8, 6)), [jaxdl.models.Autoencoder((size,), tied=True) for size in (4, 3)]
      >>> def learner(model):
      ...     objective = jaxdl.training.reconstruction(model, jaxdl.losses.sigmoid_cross_entropy)
      ...     return LayerLearner(model, jaxdl.training.make_train_step(objective, optax.sgd(0.1)), "encoder_0")
      >>> found = greedy_pretraining([learner(m) for m in models], x, key=jax.random.key(0), epochs=1, batch_size=4)
      >>> [layer["kernel"].shape for layer in found.layers]
      [(6, 4), (4, 3)]

    References:
      Hinton, Osindero, Teh, "A fast learning algorithm for deep belief nets", 2006; Bengio et al. 2007 (see
      `greedy_supervised`), algorithm in Goodfellow, Bengio, Courville, "Deep Learning", 2016, algorithm 15.1.
    """
    return _train_layers(learners, x, validation, lambda x, batch: x, lambda batch: batch, key, folder, options)


def greedy_supervised(
    learners: Sequence[LayerLearner], data: PyTree, *, key: jax.Array, validation: PyTree = None, folder: Any = None,
    **options: Any,
) -> Pretrained:  # fmt: skip
    """Greedy layer-wise supervised pretraining: x -> h1 -> y; h1 is kept, and h1 -> h2 -> y trained; and so on.

    Every learner is a network with one hidden layer, trained on the labels from the representation of the layers
    before it; its hidden layer is kept and its output layer left behind (in `states`). `fine_tune` trains the stack.

    Args:
      learners: for each layer; the model is for example `jaxdl.models.MLP((size, classes), activation)`, the layer
        `"Dense_0"`, and `encode=dense_encoding("Dense_0", activation)`.
      data: a pair (x, y).
      key, validation, folder, options: as for `greedy_pretraining`; `validation` is a pair, too.

    Returns:
      As `greedy_pretraining`.

    Raises:
      ValueError: data that are no pair, and what `greedy_pretraining` refuses.
      TypeError: as there.

    References:
      Bengio, Lamblin, Popovici, Larochelle, "Greedy layer-wise training of deep networks", 2007.
    """
    for name, value in (("data", data), ("validation", validation)):
        if not (isinstance(value, (tuple, list)) and len(value) == 2) and (name == "data" or value is not None):
            raise ValueError(
                f"{name}: expected a pair (x, y); got {type(value).__name__}. Without labels, use greedy_pretraining."
            )
    return _train_layers(
        learners, tuple(data), validation if validation is None else tuple(validation),
        lambda x, batch: (x, batch[1]), lambda batch: batch[0], key, folder, options,
    )  # fmt: skip


def dense_encoding(layer: str, activation: Callable[[jax.Array], jax.Array]) -> Encode:
    """`encode(variables, x) = activation(x W + b)`, W and b those of a dense layer, x flattened.

    Args:
      layer: path of the layer, such as "Dense_0".
      activation: the one the model has behind it.

    Returns:
      `encode(params, x)`, as `LayerLearner` takes it.

    Raises:
      ValueError: on use, no layer of that path.
    """

    def encode(variables: dict[str, Any], x: jax.Array) -> jax.Array:
        dense = part_at(variables["params"], layer)
        z = jnp.reshape(x, (jnp.shape(x)[0], -1)) @ dense["kernel"]
        return activation(z + dense["bias"][None, :] if "bias" in dense else z)

    return encode


def with_layers(params: PyTree, layers: Sequence[PyTree], *, name: str = "Dense_{}") -> PyTree:
    """A network's parameters with pretrained layers put in, the others as they are.

    Args:
      params: of the whole network, such as `MLP((64, 64, 10))`.
      layers: the first ones, as `Pretrained.layers` has them.
      name: path of layer number {} in `params`.

    Returns:
      Parameters of the structure of `params`.

    Raises:
      ValueError: no layer of that path, or of another shape; see `jaxdl.initializers.load_partial`.
    """
    source = {name.format(number): layer for number, layer in enumerate(layers)}
    return load_partial(params, source, where=list(tree.leaf_paths(source)))


def fine_tune(
    model: Any, step: TrainStep, data: PyTree, *, layers: Sequence[PyTree], key: jax.Array, name: str = "Dense_{}",
    **options: Any,
) -> FitResult:  # fmt: skip
    """Trains a whole network that begins with pretrained layers: T of `greedy_pretraining`.

    Args:
      model: of the whole network; what is not pretrained, such as the output layer, is drawn by its own start.
      step: from `make_train_step`, with an objective of the model.
      data: pair (x, y), or what the objective takes, its inputs first.
      layers: the first layers, as `Pretrained.layers` has them.
      key: typed key of start and run, as for `init_state`.
      name: path of layer number {} in the network's parameters.
      options: for `jaxdl.training.fit`.

    Returns:
      The final state and the history.

    Raises:
      TypeError: `key` is not one typed key.
      ValueError: layers that do not fit, see `with_layers`, or what `fit` refuses.
    """
    _check_step("step", step)
    x = data[0] if isinstance(data, (tuple, list)) else data
    start = init_state(model, step.tx, jax.tree.map(lambda leaf: leaf[:1], x), key=key)
    params = with_layers(start.params, layers, name=name)
    return fit(step, make_state(params, step.tx, key=start.key, model_state=start.model_state), data, **options)


def part_at(params: PyTree, path: str) -> PyTree:
    """The part of a nested mapping at a path.

    Raises:
      ValueError: there is none.
    """
    found = params
    for name in path.split("/"):
        if not (hasattr(found, "keys") and name in found):
            raise ValueError(
                f"layer: expected the path of a layer of the model; got {path!r}. Its parameters are: "
                f"{', '.join(tree.leaf_paths(params)) or '(none)'}."
            )
        found = found[name]
    return found


def _train_layers(
    learners: Sequence[LayerLearner], data: PyTree, validation: PyTree, with_inputs: Any, inputs: Any, key: jax.Array,
    folder: Any, options: dict[str, Any],
) -> Pretrained:  # fmt: skip
    checks.one_key(key)
    _check_learners(learners)
    layers, states, histories = [], [], []
    for number, learner in enumerate(learners):
        layer_key = jax.random.fold_in(key, number)
        example = jax.tree.map(lambda leaf: leaf[:1], inputs(data))
        state = init_state(learner.model, learner.step.tx, example, key=layer_key)
        part_at(state.params, learner.layer)  # a wrong path is noticed before the work
        place = {} if folder is None else {"folder": Path(folder) / f"layer_{number}"}
        state, history = fit(learner.step, state, data, validation=validation, **place, **options)
        variables = {"params": state.params, **state.model_state}
        data = with_inputs(_encoded(variables, inputs(data), learner=learner), data)
        if validation is not None:
            validation = with_inputs(_encoded(variables, inputs(validation), learner=learner), validation)
        layers.append(part_at(state.params, learner.layer))
        states.append(state)
        histories.append(history)
    return Pretrained(tuple(layers), tuple(states), tuple(histories), inputs(data))


@partial(jax.jit, static_argnames="learner")
def _encoded(variables: dict[str, Any], x: PyTree, *, learner: LayerLearner) -> PyTree:
    if learner.encode is None:
        return learner.model.apply(variables, x, method="encode")
    return learner.encode(variables, x)


def _check_learners(learners: Sequence[LayerLearner]) -> None:
    if not isinstance(learners, (tuple, list)) or not learners:
        got = "an empty one" if isinstance(learners, (tuple, list)) else type(learners).__name__
        raise ValueError(f"learners: expected a sequence of one LayerLearner a layer; got {got}. Give at least one.")
    for number, learner in enumerate(learners):
        if not isinstance(learner, LayerLearner):
            raise TypeError(
                f"learners[{number}]: expected a LayerLearner; got {type(learner).__name__}. "
                "Make it by LayerLearner(model, step, layer)."
            )
        as_model(learner.model)
        _check_step(f"learners[{number}].step", learner.step)
        if learner.encode is None and not (isinstance(learner.model, nn.Module) and hasattr(learner.model, "encode")):
            raise TypeError(
                f"learners[{number}].encode: expected a function (variables, x) -> representation, since the model has "
                f"no method encode; got None for {type(learner.model).__name__}. Pass for example "
                "dense_encoding('Dense_0', jnp.tanh)."
            )


def _check_step(argument: str, step: Any) -> None:
    if not isinstance(step, TrainStep):
        raise TypeError(
            f"{argument}: expected what make_train_step(objective, tx) returns; got {type(step).__name__}. "
            "Pass make_train_step(...)."
        )
