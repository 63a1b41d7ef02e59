"""Running statistics that stay as they are, for layers that are frozen or learn on other data."""

from typing import TYPE_CHECKING, Any

import jax

from jaxdl import tree
from jaxdl.model import Model, Variables, apply_on_running_averages, as_model, moved_state

if TYPE_CHECKING:
    from flax import nnx

PyTree = Any


def freeze_statistics(model: Any, *, where: tree.Where) -> Model:
    """The model whose chosen running statistics stay, and whose layers normalize by them in training mode, too.

        y = gamma (x - m) / sqrt(v + epsilon) + beta    with m and v of the past, for train=True as for train=False

    What Keras does with a frozen `BatchNormalization`. Without it the running statistics of a frozen layer drift to
    those of the new data, and its outputs go on to depend on the batch. `gamma` and `beta` are parameters: freeze
    those by `jaxdl.optimizers.freeze`. Dropout is as it was; a frozen layer still drops.

    Args:
      model: a `flax.linen` module, a factory of `flax.nnx` modules, or a `jaxdl.Model` made of a Linen module. Linen
        layers are put in evaluation mode by `use_running_average`, attribute or argument, as `BatchNorm` and
        `jaxdl.layers.BatchRenorm` have it, in blocks, scans and `nn.remat` as well; NNX layers by the attribute.
      where: the statistics by their paths, the collection left out: `"Block_0/**"`, see `jaxdl.tree`. A layer is
        frozen as a whole: one of its statistics stands for all.

    Returns:
      A `Model` with the same variables.

    Raises:
      TypeError: `model` is a pair of functions, which has no statistics, or no model.
      ValueError: at `init` and `apply`, a `where` that matches no statistic; at `apply`, statistics that would still
        move or can't be shown to stay. That is verified on the program, each time it is traced.

    Example:
      >>> model = freeze_statistics(Net(), where="Block_0/**")
      >>> tx = optimizers.freeze(optax.adam(1e-3), where="Block_0/**")
    """
    if isinstance(model, tuple) and not isinstance(model, Model):
        raise TypeError(
            "model: expected a model with running statistics; got a pair of functions, which has none. "
            "Pass a flax module, or the pair as it is."
        )
    plain = as_model(model)
    configured = as_model(model, configure=lambda module, train: _use_running_averages(module, where))

    def init(key: jax.Array, x: PyTree) -> Variables:
        variables = plain.init(key, x)
        _chosen(variables, where)
        return variables

    def apply(variables: Variables, x: PyTree, *, train: bool = False, key: jax.Array | None = None):
        chosen = _chosen(variables, where)
        if not train:
            return plain.apply(variables, x, train=False, key=key)
        layers = {_layer_of(path) for path in chosen.values()}

        def frozen_pass(variables: Variables, x: PyTree, key: jax.Array | None) -> tuple[Any, Variables]:
            return apply_on_running_averages(
                configured, variables, x, key=key, apart={"on running averages": _nested(layers)},
                chosen=lambda module: module.scope is not None and "/".join(module.path) in layers,
            )  # fmt: skip

        outputs, after = frozen_pass(variables, x, key)
        before, new = tree.leaf_paths(_state(variables)), tree.leaf_paths(after)
        if any(new.get(path) is not before[path] for path in chosen):
            # What leaves nn.jit, nn.remat or a scan is another array, be it handed through: only the program tells.
            _check_program(frozen_pass, plain, variables, x, key, set(chosen))
        return outputs, jax.tree_util.tree_map_with_path(
            lambda path, leaf: before[name] if (name := tree.path_name(path)) in chosen else leaf, after
        )

    return Model(init, apply)


def _check_program(
    frozen_pass: Any, plain: Model, variables: Variables, x: PyTree, key: jax.Array | None, chosen: set[str]
) -> None:
    params = {"params": variables["params"]}

    def moved_by(run: Any) -> set[str]:
        state_after = lambda state, params, x, key: run({**params, **state}, x, key)[1]  # noqa: E731
        return set(moved_state(state_after, _state(variables), params, x, key))

    moved = moved_by(frozen_pass)
    if moved & chosen:
        raise ValueError(
            f"model: expected layers that can be put on their running averages; got statistics that would still move: "
            f"{', '.join(sorted(moved & chosen))}. Give the layer an attribute or argument use_running_average; of an "
            "NNX module pass the factory, not a Model made of it."
        )
    stuck = moved_by(lambda variables, x, key: plain.apply(variables, x, train=True, key=key)) - moved - chosen
    if stuck:
        raise ValueError(
            f"model: expected layers that can be told apart; got statistics that would stay although where does not "
            f"choose them: {', '.join(sorted(stuck))}. flax.linen.jit takes one trace for layers that are alike: use "
            "jax.jit around the training step instead."
        )


def _state(variables: Variables) -> Variables:
    return {name: value for name, value in variables.items() if name != "params"}


def _inside(path: str) -> str:
    """The path without its collection."""
    return path.partition("/")[2]


def _chosen(variables: Variables, where: tree.Where) -> dict[str, str]:
    """All statistics of the layers chosen, `{path: path without its collection}`."""
    state = tree.leaf_paths(_state(variables))
    masks = tree.resolve(where, {_inside(path): leaf for path, leaf in state.items()})
    layers = {_layer_of(path) for path, mask in masks.items() if mask}
    return {path: _inside(path) for path in state if _layer_of(_inside(path)) in layers}


def _layer_of(path: str) -> str:
    # Not tree.layer_of, for which a leaf at the root is a layer: here it belongs to the module at the root.
    return path.rpartition("/")[0]


def _nested(paths: set[str]) -> dict[str, Any]:
    """Empty dictionaries at the paths."""
    root: dict[str, Any] = {}
    for path in sorted(paths):
        node = root
        for name in filter(None, path.split("/")):
            node = node.setdefault(name, {})
    return root


def _use_running_averages(module: "nnx.Module", where: tree.Where) -> None:
    from flax import nnx

    _, _, _, rest = nnx.split(module, nnx.Param, nnx.RngState, ...)
    layers = {_layer_of(path) for path in _chosen({"state": nnx.to_pure_dict(rest)}, where).values()}
    for path, node in nnx.iter_graph(module):
        if "/".join(map(str, path)) in layers and hasattr(node, "use_running_average"):
            node.use_running_average = True
