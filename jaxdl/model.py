"""`Model`: a pair of pure functions, and the adapters that make one from Flax modules or plain functions.

`flax.nnx` is imported where it is met, since it takes a fifth of the time of importing jax, flax and optax together.
"""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import jax
from flax import linen as nn
from flax.core import freeze
from flax.errors import ScopeCollectionNotFound

from jaxdl import tree
from jaxdl.jaxprs import forwarded_inputs

if TYPE_CHECKING:
    from flax import nnx

PyTree = Any
Variables = dict[str, Any]


class Apply(Protocol):
    """`apply(variables, x, *, train, key) -> (outputs, model_state)`."""

    def __call__(
        self, variables: Variables, x: PyTree, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, Variables]:
        """Outputs, and every collection but `params` after the call."""
        ...


class Model(NamedTuple):
    """Two pure functions, the twin of `optax.GradientTransformation(init, update)`.

    Attributes:
      init: `init(key, x) -> variables`, with `variables = {"params": ..., **model_state}`.
      apply: `apply(variables, x, *, train=False, key=None) -> (outputs, model_state)`; `model_state` is every
        collection but `params` after the call, the very one passed in when `train` is False.
    """

    init: Callable[[jax.Array, PyTree], Variables]
    apply: Apply


def as_model(thing: Any, *, configure: "Callable[[nnx.Module, bool], None] | None" = None) -> Model:
    """Makes a `Model` from whatever defines one.

    Args:
      thing: one of

        * a `Model` (returned unchanged);
        * a `flax.linen.Module`. Where its `__call__` names `train`, `is_train`, `training`, `is_training`,
          `deterministic` or `use_running_average`, the mode is passed by that name; the stream `dropout` is fed
          from `key`;
        * a factory of `flax.nnx` modules, `factory(rngs: nnx.Rngs) -> nnx.Module`, often the class itself;
        * a pair `(init, apply)` of plain functions, `init(key, x) -> params` and `apply(params, x) -> outputs`;
          `apply` is also given `train` and `key` where its signature names them.
      configure: `configure(module, train)`, the last word on the mode of an NNX module before it runs; other kinds
        are left alone.

    Returns:
      The model, a pair of pure functions.

    Raises:
      TypeError: anything else.
    """
    if isinstance(thing, Model):
        return thing
    if isinstance(thing, nn.Module):
        return _from_linen(thing)
    if isinstance(thing, tuple) and len(thing) == 2 and all(callable(part) for part in thing):
        return _from_functions(*thing)
    if isinstance(thing, type) and issubclass(thing, nn.Module):
        raise TypeError(f"model: expected an instance of a flax.linen module; got the class {thing.__name__}. Call it.")
    if callable(thing):
        from flax import nnx

        if not isinstance(thing, nnx.Module):
            return _from_nnx(thing, configure)
    raise TypeError(
        f"model: expected a jaxdl.Model, a flax.linen module, a factory of flax.nnx modules (rngs -> module) or "
        f"a pair of functions (init, apply); got {type(thing).__name__}. "
        "For an NNX module pass what makes it: lambda rngs: MyModule(..., rngs=rngs)."
    )


_AVERAGING = "use_running_average"
_SCRATCH = ("intermediates", "perturbations")  # what modules sow for an onlooker; never part of the state
_MODE_NAMES = {
    "train": True,
    "is_train": True,
    "training": True,
    "is_training": True,
    "deterministic": False,
    _AVERAGING: False,
}


def mode_arguments(call: Callable[..., Any], train: bool) -> dict[str, Any]:
    """The mode under the name by which a module's `__call__` takes it; empty where it takes none."""
    names = inspect.signature(call).parameters
    return {name: train if means_train else not train for name, means_train in _MODE_NAMES.items() if name in names}


def _from_linen(module: nn.Module) -> Model:
    def init(key: jax.Array, x: PyTree) -> Variables:
        params_key, dropout_key = jax.random.split(key)
        variables = module.init(
            {"params": params_key, "dropout": dropout_key}, x, **mode_arguments(module.__call__, False)
        )
        return {"params": {}} | {name: value for name, value in variables.items() if name not in _SCRATCH}

    def apply(variables: Variables, x: PyTree, *, train: bool = False, key: jax.Array | None = None):
        model_state = {name: value for name, value in variables.items() if name != "params"}
        arguments = mode_arguments(module.__call__, train)
        rngs = None if key is None else {"dropout": key}
        try:
            if not train:
                return module.apply(variables, x, rngs=rngs, **arguments), model_state
            outputs, updated = module.apply(variables, x, rngs=rngs, mutable=list(model_state), **arguments)
        except ScopeCollectionNotFound as error:
            raise ValueError(
                f"model_state: expected all that the model keeps beside its parameters; got {list(model_state)}. Pass "
                f"model_state={{...}}, what init gave beside 'params', or that of a TrainState. {error}"
            ) from error
        return outputs, model_state | dict(updated)

    return Model(init, apply)


def _from_functions(init_fn: Callable[..., PyTree], apply_fn: Callable[..., Any]) -> Model:
    named = inspect.signature(apply_fn).parameters

    def init(key: jax.Array, x: PyTree) -> Variables:
        return {"params": init_fn(key, x)}

    def apply(variables: Variables, x: PyTree, *, train: bool = False, key: jax.Array | None = None):
        arguments = {name: value for name, value in (("train", train), ("key", key)) if name in named}
        return apply_fn(variables["params"], x, **arguments), {}

    return Model(init, apply)


def _from_nnx(factory: "Callable[[nnx.Rngs], Any]", configure: "Callable[[nnx.Module, bool], None] | None") -> Model:
    from flax import nnx

    def build(key: jax.Array, train: bool) -> Any:
        module = factory(nnx.Rngs(key))
        if not isinstance(module, nnx.Module):
            raise TypeError(
                f"model: expected a factory that returns a flax.nnx module; got {type(module).__name__} from it. "
                "Pass lambda rngs: MyModule(..., rngs=rngs), or a pair (init, apply) for plain functions."
            )
        module.train() if train else module.eval()
        if configure is not None:
            configure(module, train)
        return module

    def split(module: Any) -> Any:
        """Graph, parameters, random streams, and the rest of the state."""
        return nnx.split(module, nnx.Param, nnx.RngState, ...)

    def skeleton(train: bool) -> Any:
        # The graph (and its train/eval flags) is static; built abstractly, so that no array is made for it.
        return split(nnx.eval_shape(lambda: build(jax.random.key(0), train)))

    def init(key: jax.Array, x: PyTree) -> Variables:
        _, params, _, rest = split(build(key, False))
        state = nnx.to_pure_dict(rest)
        return {"params": nnx.to_pure_dict(params)} | ({"state": state} if state else {})

    def fresh_streams(streams: Any, key: jax.Array | None) -> Any:
        # Every random stream restarts from `key`, which keeps `apply` a pure function of its arguments.
        base = jax.random.key(0) if key is None else key
        leaves, treedef = jax.tree_util.tree_flatten(streams)
        values = [
            jax.random.fold_in(base, i)
            if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            else jax.numpy.zeros(leaf.shape, leaf.dtype)
            for i, leaf in enumerate(leaves)
        ]
        return jax.tree_util.tree_unflatten(treedef, values)

    def apply(variables: Variables, x: PyTree, *, train: bool = False, key: jax.Array | None = None):
        graph, params, streams, rest = skeleton(train)
        nnx.replace_by_pure_dict(params, variables["params"])
        nnx.replace_by_pure_dict(rest, variables.get("state", {}))
        module = nnx.merge(graph, params, fresh_streams(streams, key), rest)
        outputs = module(x)
        model_state = {name: value for name, value in variables.items() if name != "params"}
        if train and model_state:
            model_state = {"state": nnx.to_pure_dict(split(module)[3])}
        return outputs, model_state

    return Model(init, apply)


def apply_on_running_averages(
    model: Model,
    variables: Variables,
    x: PyTree,
    *,
    key: jax.Array | None,
    chosen: Callable[[nn.Module], bool],
    apart: Variables,
) -> tuple[Any, Variables]:
    """The model in training mode, save that the chosen normalizations of Linen modules use their running averages.

    Modules with the attribute or the argument `use_running_average` can be put on them; whether that sufficed, tells
    `moved_state`.

    Args:
      model, variables, x, key: as for `Model.apply`.
      chosen: `chosen(module) -> bool`.
      apart: a collection of a name of its own, without arrays. `flax.linen.jit` keeps what it traced, by module and by
        the structure of its variables: this keeps a trace made here out of the training that follows, and one made in
        training out of here. Names of modules in it keep those modules out of the traces of their likes.
    """

    def interceptor(call: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        module = context.module
        if module.scope is not None and module.scope.parent is None:
            # Scans do not hand on collections that they do not know, but flags; nn.jit goes by these, too.
            module.scope.flags = freeze({**module.scope.flags, "apart": repr(apart)})
        if context.method_name != "__call__" or not chosen(module):
            return call(*args, **kwargs)
        bound = inspect.signature(module.__call__).bind(*args, **kwargs)
        if not hasattr(module, _AVERAGING):
            if _AVERAGING in inspect.signature(module.__call__).parameters:
                bound.arguments[_AVERAGING] = True
            return call(*bound.args, **bound.kwargs)
        if getattr(module, _AVERAGING):
            return call(*args, **kwargs)
        # An unbound copy, because the attribute of a bound module can't be set, and excludes the argument.
        bound.arguments.pop(_AVERAGING, None)
        averaging = module.clone(use_running_average=True, parent=None, name=None)
        return averaging.apply(module.variables, *bound.args, **bound.kwargs)

    with nn.intercept_methods(interceptor):
        outputs, state = model.apply({**variables, **apart}, x, train=True, key=key)
    return outputs, {collection: value for collection, value in state.items() if collection not in apart}


def moved_state(state_after: Callable[..., Variables], state: Variables, *args: Any) -> list[str]:
    """Paths of the state that the traced program does not hand back as they came in, sorted.

    Args:
      state_after: `state_after(state, *args) -> state`.
      state: every collection but `params`.
      args: further arguments.
    """
    program, after = jax.make_jaxpr(state_after, return_shape=True)(state, *args)
    came_from = dict(zip(tree.leaf_paths(after), forwarded_inputs(program.jaxpr), strict=True))
    expected = {path: position for position, path in enumerate(tree.leaf_paths(state))}
    return sorted(path for path in came_from.keys() | expected.keys() if came_from.get(path) != expected.get(path))
