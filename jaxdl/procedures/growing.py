"""Growing depth: a trained network's layers in a deeper one, and the training in between."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import checks, tree
from jaxdl.initializers import identity, load_partial
from jaxdl.model import as_model
from jaxdl.training import History, TrainState, TrainStep, fit, init_state, make_state

PyTree = Any
New = Literal["fresh", "identity", "zeros"]


def grow_depth(
    variables: Mapping[str, Any], deeper: Any, x: PyTree, *, layers: Mapping[str, str], key: jax.Array,
    new: New = "fresh", model: Any = None,
) -> dict[str, Any]:  # fmt: skip
    """The variables of a deeper network, with the layers of a trained one where they belong.

    Args:
      variables: of the trained network, `{"params": ..., **model_state}`.
      deeper: the deeper model, whatever `jaxdl.as_model` takes.
      x: inputs; one example is enough for `"fresh"`. The others compare both networks on them.
      layers: `{layer of the deeper network: layer of the trained one}`, by path; all leaves of such a layer are taken,
        running statistics too. The other layers of the deeper network are the new ones; layers of the trained one that
        are not named are left behind.
      key: typed key of the deeper network's own start.
      new: how new layers start: `"fresh"`, as drawn; `"identity"`, kernels the identity (of a convolution, at its
        middle) and biases 0, which changes nothing where `s(s(z)) = s(z)`, as for ReLU and linear units; `"zeros"`,
        both 0, which changes nothing where the new layer is a residual branch with `s(0) = 0`.
      model: the trained model; needed, and compared with, where the function is to be kept.

    Returns:
      Variables of `deeper`.

    Raises:
      ValueError: a layer that neither network has, shapes that differ, an unknown `new`, no model to compare with, or
        a function that is not kept: the outputs differ by more than a thousandth of their size.

    Example:
      >>> import jaxdl
      >>> x, shallow, deep = jnp.ones((4, 3)), jaxdl.models.MLP((3, 2)), jaxdl.models.MLP((3, 3, 2))
      >>> trained = shallow.init(jax.random.key(0), x)
      >>> grown = grow_depth(trained, deep, x, layers={"Dense_0": "Dense_0", "Dense_2": "Dense_1"},
      ...                    key=jax.random.key(1), new="identity", model=shallow)
      >>> bool(jnp.allclose(deep.apply(grown, x), shallow.apply(trained, x)))
      True

    References:
      Simonyan, Zisserman, "Very deep convolutional networks for large-scale image recognition", 2014, section 3.1 (the
      deeper configurations start from the layers of the shallow one).
      Chen, Goodfellow, Shlens, "Net2Net: accelerating learning via knowledge transfer", 2015 (identity layers).
    """
    checks.one_key(key)
    checks.one_of(new=new, among=get_args(New), remedy="'fresh' draws new layers as the model does.")
    if new != "fresh" and model is None:
        raise ValueError(
            f"model: expected the trained model, since new={new!r} promises to keep its function; got None. "
            "Pass it, or new='fresh'."
        )
    fresh = as_model(deeper).init(key, x)
    grown, there = {}, {name: set(_layers(collection)) for name, collection in fresh.items()}
    unknown = sorted(set(layers) - set().union(*there.values()))
    if unknown:
        raise ValueError(
            f"layers: expected layers of the deeper network as keys; got {unknown}. It has: "
            f"{', '.join(_layers(fresh['params']))}."
        )
    for name, collection in fresh.items():
        old = {path: layers[_owner(path, layers)] for path in tree.leaf_paths(collection) if _owner(path, layers)}
        renamed = {path: there + path[len(_owner(path, layers)) :] for path, there in old.items()}
        start = _restarted(collection, set(old), new) if name == "params" else collection
        source = variables.get(name, {})
        grown[name] = load_partial(start, source, where=list(old), rename=renamed) if old else start
    if new != "fresh":
        _compare(model, variables, deeper, grown, x, new)
    return grown


@dataclass(frozen=True, eq=False)
class GrowthStage:
    """One depth of a network that grows.

    Attributes:
      model: of this depth, whatever `jaxdl.as_model` takes.
      step: from `make_train_step`, with an objective of this model.
      layers: see `grow_depth`; what is taken of the stage before. The first stage takes nothing.
      new: see `grow_depth`.
    """

    model: Any
    step: TrainStep
    layers: Mapping[str, str] | None = None
    new: New = "fresh"


class Grown(NamedTuple):
    """What a growing network learned; one entry a stage.

    Attributes:
      states: after the training of each stage; the last is that of the deepest network.
      histories: of their training.
    """

    states: tuple[TrainState, ...]
    histories: tuple[History, ...]


def train_growing(
    stages: Sequence[GrowthStage], data: PyTree, *, key: jax.Array, folder: Any = None, **options: Any
) -> Grown:
    """Trains the first network, drops in layers, trains on, and so on ("drop in layers as you go").

    Args:
      stages: from the shallowest to the deepest.
      data: a pair (x, y), or inputs alone, as the objectives take them.
      key: typed key; every stage has one of its own.
      folder: each stage has a folder `stage_0`, ... of its own in it, as for `fit`.
      options: for `jaxdl.training.fit`, of every stage: `batch_size` and `epochs` or `steps`, and others.

    Returns:
      What every stage gave, see `Grown`.

    Raises:
      ValueError: no stage, or layers missing from a stage after the first, or given for the first.
    """
    checks.one_key(key)
    if not isinstance(stages, (tuple, list)) or not all(isinstance(stage, GrowthStage) for stage in stages):
        raise TypeError(
            "stages: expected a sequence of GrowthStage; got something else. Pass [GrowthStage(model, step), ...]."
        )
    if [stage.layers is None for stage in stages] != [number == 0 for number in range(len(stages))] or not stages:
        raise ValueError(
            "stages: expected at least one, and layers={new: old} in all of them but the first; got layers for "
            f"{[number for number, stage in enumerate(stages) if stage.layers is not None]} of {len(stages)}. "
            "Say which layers a stage takes."
        )
    x = data[0] if isinstance(data, (tuple, list)) else data
    example = jax.tree.map(lambda leaf: leaf[:8], x)
    states, histories = [], []
    for number, stage in enumerate(stages):
        stage_key = jax.random.fold_in(key, number)
        if stage.layers is None:
            state = init_state(stage.model, stage.step.tx, example, key=stage_key)
        else:
            start_key, run_key = jax.random.split(stage_key)
            before = {"params": states[-1].params, **states[-1].model_state}
            variables = grow_depth(
                before, stage.model, example, layers=stage.layers, key=start_key, new=stage.new,
                model=stages[number - 1].model,
            )  # fmt: skip
            params = variables.pop("params")
            state = make_state(params, stage.step.tx, key=run_key, model_state=variables)
        place = {} if folder is None else {"folder": Path(folder) / f"stage_{number}"}
        state, history = fit(stage.step, state, data, **place, **options)
        states.append(state)
        histories.append(history)
    return Grown(tuple(states), tuple(histories))


def _layers(collection: PyTree) -> list[str]:
    """Paths of layers and of the modules above them."""
    prefixes = [path.split("/")[:cut] for path in tree.leaf_paths(collection) for cut in range(1, path.count("/") + 1)]
    return list(dict.fromkeys("/".join(prefix) for prefix in prefixes))


def _owner(path: str, layers: Mapping[str, str]) -> str:
    """The longest of the layers that a leaf lies in, or ""."""
    return max((layer for layer in layers if path.startswith(f"{layer}/")), key=len, default="")


def _restarted(params: PyTree, old: set[str], new: New) -> PyTree:
    if new == "fresh":
        return params
    place = identity() if new == "identity" else jax.nn.initializers.zeros

    def start(key_path: tuple[Any, ...], leaf: jax.Array) -> jax.Array:
        path = tree.path_name(key_path)
        if path in old:
            return leaf
        if tree.is_kernel(path, leaf):
            return place(jax.random.key(0), leaf.shape, leaf.dtype)  # neither looks at the key
        return jnp.zeros_like(leaf) if tree.is_bias(path, leaf) else leaf

    return jax.tree_util.tree_map_with_path(start, params)


def _compare(model: Any, variables: Any, deeper: Any, grown: Any, x: PyTree, new: New) -> None:
    was, now = (
        [np.asarray(leaf, np.float32) for leaf in jax.tree.leaves(as_model(thing).apply(dict(its), x)[0])]
        for thing, its in ((model, variables), (deeper, grown))
    )
    size = max(float(np.max(np.abs(leaf))) for leaf in was)
    off = max(float(np.max(np.abs(a - b))) for a, b in zip(was, now, strict=True))
    if not off <= 1e-3 * size:
        raise ValueError(
            f"new: expected new layers that leave the outputs as they are; got outputs that new={new!r} changes by "
            f"{off:.3g}, where the largest is {size:.3g}. 'identity' needs units with s(s(z)) = s(z) such as ReLU, "
            "'zeros' residual layers with s(0) = 0; else take 'fresh'."
        )
