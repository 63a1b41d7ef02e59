"""A trained model cut at a layer, and new layers put on the cut."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.traverse_util import unflatten_dict

from jaxdl import tree
from jaxdl.model import Model, Variables, as_model

PyTree = Any


def features(model: Any, *, before: str | None = None, after: str | None = None) -> Model:
    """The model up to a layer: what goes into the layer `before`, or comes out of the layer `after`.

    `before` takes what lies between two layers along, such as activation, pooling and flattening. The variables are
    those of the whole model, under their paths, without the layers above the cut; so they are loaded by
    `transfer(variables, source)`. What lies above costs nothing once compiled.

    Args:
      model: a `flax.linen` module, or a `jaxdl.Model` made of one, such as `freeze_statistics(...)` returns.
      before, after: one of the two: the path of a module in the model, such as `"Dense_1"` or `"blocks/Conv_0"`. It
        has to be called once a pass. Inside of a scan, `nn.remat` or `nn.jit` name the module around it.

    Returns:
      A `Model`.

    Raises:
      TypeError: `model` is no model.
      ValueError: not exactly one of `before` and `after`; at `init` and `apply`, a path that no module has (the
        message lists those there are), one that is called several times, without an input, or inside of a transform.

    Example:
      >>> trunk = features(MLP((30, 30, 10)), before="Dense_2")  # the 30 features that the last layer sees

    References:
      Oquab et al., "Learning and transferring mid-level image representations", 2014, section 3.
    """
    whole = as_model(model)
    if (before is None) == (after is None):
        raise ValueError(
            f"before, after: expected the path of one layer by one of the two; got before={before!r}, "
            f"after={after!r}. Pass for example before='Dense_1'."
        )

    def cut(variables: Variables, x: PyTree, **mode: Any) -> tuple[Any, Variables, _Cut]:
        seen = _Cut(before, after)
        with nn.intercept_methods(seen):
            _, state = whole.apply(variables, x, **mode)
        return seen.features(), state, seen

    def init(key: jax.Array, x: PyTree) -> Variables:
        variables = whole.init(key, x)
        cuts: list[_Cut] = []
        jax.eval_shape(lambda variables, x: cuts.append(cut(variables, x)[2]), variables, x)
        return {"params": {}} | _nested({path: leaf for path, leaf in _flat(variables).items() if cuts[0].keeps(path)})

    def apply(variables: Variables, x: PyTree, *, train: bool = False, key: jax.Array | None = None):
        # Modules above the cut run as well, for the sake of the state below it; nothing depends on their numbers.
        outline = jax.eval_shape(whole.init, jax.random.key(0), x)
        present = _flat(variables)
        zeros = {
            path: jnp.zeros(leaf.shape, leaf.dtype) for path, leaf in _flat(outline).items() if path not in present
        }
        found, state, _ = cut({"params": {}} | _nested(zeros | present), x, train=train, key=key)
        model_state = {name: value for name, value in variables.items() if name != "params"}
        if train:
            after_call = _flat(state)
            model_state = jax.tree_util.tree_map_with_path(
                lambda path, leaf: after_call[tree.path_name(path)], model_state
            )
        return found, model_state

    return Model(init, apply)


def with_head(trunk: Any, head: Any, *, frozen: bool = False) -> Model:
    """Adaptation layers: `head(trunk(x))` as one model, whose parameters are `trunk/...` and `head/...`.

    Args:
      trunk: whatever `jaxdl.as_model` takes, such as `features(trained, before="Dense_2")`.
      head: whatever `jaxdl.as_model` takes, such as `MLP((64, 5))`, the layers FCa and FCb of Oquab et al.
      frozen: run the trunk in evaluation mode always, without derivative: no dropout, running averages used and kept
        to the bit. Freeze its parameters by `jaxdl.optimizers.freeze(tx, where="trunk/**")` besides, since decay and
        noise move what has no gradient, too.

    Returns:
      A `Model`; every collection of its variables has the keys `trunk` and `head`, where they have that collection.

    Raises:
      TypeError: `trunk` or `head` is no model.

    Example:
      >>> model = with_head(features(old, before="Dense_2"), MLP((64, 5)), frozen=True)
      >>> variables = model.init(key, x)
      >>> variables = transfer(variables, trained, where="trunk/**", rename=lambda path: path.removeprefix("trunk/"))
      >>> tx = optimizers.freeze(optax.adam(1e-3), where="trunk/**")

    References:
      Oquab et al., "Learning and transferring mid-level image representations", 2014, section 3.1 (FCa, FCb).
    """
    parts = {"trunk": as_model(trunk), "head": as_model(head)}

    def init(key: jax.Array, x: PyTree) -> Variables:
        trunk_key, head_key = jax.random.split(key)
        below = parts["trunk"].init(trunk_key, x)
        above = parts["head"].init(head_key, parts["trunk"].apply(below, x)[0])
        return _joined({"trunk": below, "head": above})

    def apply(variables: Variables, x: PyTree, *, train: bool = False, key: jax.Array | None = None):
        keys = (None, None) if key is None else jax.random.split(key)
        below, above = (
            {"params": {}} | {name: value[part] for name, value in variables.items() if part in value} for part in parts
        )
        found, lower = parts["trunk"].apply(below, x, train=train and not frozen, key=keys[0])
        found = jax.lax.stop_gradient(found) if frozen else found
        outputs, upper = parts["head"].apply(above, found, train=train, key=keys[1])
        if not train:
            return outputs, {name: value for name, value in variables.items() if name != "params"}
        return outputs, _joined({"trunk": lower, "head": upper})

    return Model(init, apply)


class _Call(NamedTuple):
    value: Any
    given: bool
    outside: bool  # of scans and the like, whose numbers belong to a trace of their own


class _Cut:
    """An interceptor that keeps what passes the cut, and which modules begin below and above it."""

    def __init__(self, before: str | None, after: str | None) -> None:
        self.argument, self.layer = ("before", before) if after is None else ("after", after)
        self.calls: list[_Call] = []
        self.below: set[str] = set()
        self.above: set[str] = set()
        self.trace: Any = None

    def __call__(self, call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        if context.module.scope is None:
            return call(*args, **kwargs)
        path, trace = "/".join(context.module.path), context.module.scope.trace_level
        self.trace = trace if self.trace is None else self.trace
        reached = path == self.layer and context.method_name == "__call__"
        if reached and self.argument == "before":
            self.calls.append(_Call(args[0] if args else None, bool(args), trace == self.trace))
        (self.above if self.calls else self.below).add(path)
        outputs = call(*args, **kwargs)
        if reached and self.argument == "after":
            self.calls.append(_Call(outputs, True, trace == self.trace))
        return outputs

    def keeps(self, path: str) -> bool:
        """Whether a variable belongs to the innermost module around it that began below the cut."""
        names = path.split("/")[1:]
        around = ["/".join(names[:end]) for end in range(len(names) - 1, -1, -1)]
        owner = next((name for name in around if name in self.below | self.above), "")
        return owner in self.below or owner not in self.above

    def features(self) -> Any:
        """What passed the cut."""
        modules = ", ".join(sorted(filter(None, self.below | self.above))) or "(none: this is no Linen module)"
        if not self.calls:
            raise ValueError(
                f"{self.argument}: expected the path of a module that the model calls; got {self.layer!r}. "
                f"The paths are: {modules}."
            )
        if len(self.calls) > 1:
            raise ValueError(
                f"{self.argument}: expected a module that is called once a pass; {self.layer!r} is called "
                f"{len(self.calls)} times. Name a module around it, or one next to it."
            )
        (call,) = self.calls
        if not call.given:
            raise ValueError(
                f"before: expected a module that is given its input by position; {self.layer!r} is not. "
                "Cut by after=, at the module below it."
            )
        if not call.outside:
            raise ValueError(
                f"{self.argument}: expected a module outside of scans, nn.remat and nn.jit, whose numbers cannot be "
                f"had from outside; {self.layer!r} is inside of one. Name the module around it."
            )
        return call.value


def _flat(variables: Mapping[str, Any]) -> dict[str, Any]:
    return tree.leaf_paths(dict(variables))


def _nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    return unflatten_dict(dict(leaves), sep="/")


def _joined(parts: Mapping[str, Variables]) -> Variables:
    """`{collection: {part: ...}}` of `{part: {collection: ...}}`."""
    names = dict.fromkeys(name for part in parts.values() for name in part)
    return {name: {part: value[name] for part, value in parts.items() if name in value} for name in names}
