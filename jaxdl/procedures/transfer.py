"""Starting a model from a trained one, and how much of it is best reused."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
import optax

from jaxdl import checks, tree
from jaxdl.diagnostics.reporting.reports import text_table
from jaxdl.initializers import load_partial
from jaxdl.layers import freeze_statistics
from jaxdl.model import Model, Variables, as_model
from jaxdl.optimizers import freeze
from jaxdl.training import ManyRuns, Objective, TrainState, make_state, make_train_step, mean_interval, run_many

PyTree = Any
Source = Mapping[str, Any] | TrainState
Rename = Mapping[str, str] | Callable[[str], str]


def transfer(
    variables: Mapping[str, Any], source: Source, *, where: tree.Where = None, rename: Rename | None = None
) -> Variables:
    """`variables` with the chosen leaves taken from a trained model: parameters, and running statistics with them.

    Paths are those inside of a collection, `Conv_0/kernel`, so that one pattern takes a layer as a whole.

    Args:
      variables: of the new model, `{"params": ..., **model_state}`: they give structure, shapes and dtypes.
      source: variables of the trained model, or a `TrainState`, such as `fit` and `restore_checkpoint` return.
      where: which leaves to take, see `jaxdl.tree`; by default all. Take fewer where the new task has other classes.
      rename: from a path in `variables` to the path in `source`: a mapping of whole paths, or a function.

    Returns:
      Variables with the structure and the dtypes of `variables`.

    Raises:
      ValueError: as `jaxdl.initializers.load_partial`: leaves that `source` does not have in this shape are listed.

    Example:
      >>> source = restore_checkpoint("runs/old/checkpoints", like=old_state)
      >>> variables = transfer(model.init(key, x), source, where=["Conv_*/**", "BatchNorm_*/**"])

    References:
      Yosinski et al., "How transferable are features in deep neural networks?", 2014.
    """
    variables, theirs = dict(variables), variables_of(source)
    chosen, known = chosen_inside(variables, where), {_inside(path) for path in tree.leaf_paths(variables)}
    if isinstance(rename, Mapping):
        if set(rename) - known:
            raise ValueError(
                f"rename: expected paths in variables, without the collection, as keys; got "
                f"{sorted(set(rename) - known)}. The paths are: {', '.join(sorted(known))}."
            )
        names = rename
        rename = lambda path: names.get(path, path)  # noqa: E731

    def there(path: str) -> str:
        return path if rename is None else f"{path.partition('/')[0]}/{rename(_inside(path))}"

    return load_partial(variables, theirs, where=lambda path, leaf: _inside(path) in chosen, rename=there)


@dataclass(frozen=True)
class ReuseCurve:
    """What `reuse_curve` found.

    Attributes:
      runs: of k = 0, 1, ... reused layers, as `run_many` returns them.
    """

    runs: tuple[ManyRuns, ...]

    def values(self, metric: str) -> np.ndarray:
        """The final metric, such as `validation_accuracy`, `(layers + 1, seeds)`."""
        return np.stack([runs.values(metric) for runs in self.runs])

    def best(self, metric: str, *, mode: Literal["min", "max"]) -> int:
        """How many reused layers have the best mean over the seeds; the fewest of those that are level.

        Raises:
          ValueError: `mode` another word, an unknown metric, or no mean that is a number.
        """
        checks.one_of(mode=mode, among=("min", "max"), remedy="'min' for a loss, 'max' for an accuracy.")
        means = self.values(metric).mean(1)
        if np.isnan(means).all():
            raise ValueError(f"metric: expected numbers of {metric!r}; got NaN for every k. Lower the learning rate.")
        return int(np.nanargmax(means if mode == "max" else -means))

    def table(self, metric: str) -> str:
        """One line a number of reused layers, as text: mean over the seeds and its 95 % t-interval."""
        rows = []
        for k, values in enumerate(self.values(metric)):
            mean, low, high = mean_interval(values)
            rows.append([str(k), f"{mean:.4g}", f"{low:.4g} to {high:.4g}", str(len(values))])
        return text_table(["reused layers", metric, "95 % interval", "seeds"], rows)


def reuse_curve(
    model: Any,
    make_objective: Callable[[Model], Objective],
    tx: optax.GradientTransformation,
    source: Source | Callable[[jax.Array], Source],
    data: PyTree,
    *,
    layers: Sequence[tree.Where],
    seeds: Sequence[int],
    validation: PyTree,
    batch_size: int,
    frozen: bool = True,
    **options: Any,
) -> ReuseCurve:
    """For k = 0, 1, ..., all: starts the first k layers from a trained model, draws the others anew, and trains.

    With `frozen` the reused layers stay as they are, running statistics included: the curve AnB of Yosinski et al.;
    without, they are trained on (AnB+). k = 0 is training from scratch.

    Args:
      model: of the new task; whatever `jaxdl.as_model` takes.
      make_objective: `make_objective(model) -> objective`, for instance
        `lambda model: supervised(model, loss, metrics={"accuracy": correct})`.
      tx: the optax chain.
      source: trained variables or a `TrainState`; or a function `source(key)` of them, `key` that of the seed.
      data: as for `run_many`.
      layers: the layers in order, the lowest first, each by a `where` on paths such as `"Conv_0/**"`,
        or a list of these.
      seeds: one run each, for every k; see `run_many`.
      validation, batch_size: as for `run_many`.
      frozen: whether reused layers stay as they are.
      options: further ones of `run_many`, such as `epochs` (or `steps`) and `mode`.

    Returns:
      A `ReuseCurve`, all that is reported there is of validation data.

    Raises:
      TypeError: `layers` is one pattern instead of a sequence; `model` or `tx` is none.
      ValueError: no layer, and what `transfer`, `freeze` and `run_many` refuse.

    References:
      Yosinski et al., "How transferable are features in deep neural networks?", 2014, section 2 and figure 2.
    """
    checks.optimizer(tx)
    if isinstance(layers, str) or not isinstance(layers, Sequence):
        raise TypeError(
            f"layers: expected a sequence of patterns, the lowest layer first; got {type(layers).__name__}. "
            "Write for example layers=['Conv_0/*', 'Conv_1/*']."
        )
    if not layers:
        raise ValueError("layers: expected at least one; got none. Write for example layers=['Conv_0/*'].")
    new, found = as_model(model), []
    x = jax.tree.map(lambda leaf: leaf[:1], data[0])
    outline = jax.eval_shape(new.init, jax.random.key(0), x)
    for k in range(len(layers) + 1):
        reused: Any = [one for layer in layers[:k] for one in (layer if isinstance(layer, (list, tuple)) else [layer])]
        stays = frozen and k > 0
        chain = freeze(tx, where=reused) if stays else tx
        kept = _statistics(outline, reused) if stays else frozenset()
        here = freeze_statistics(model, where=lambda path, _, kept=kept: path in kept) if kept else new

        def init(key: jax.Array, *, k: int = k, reused: Any = reused, chain: Any = chain) -> TrainState:
            params_key, run_key = jax.random.split(key)
            variables = new.init(params_key, x)
            if k:
                variables = transfer(variables, source(key) if callable(source) else source, where=reused)
            params = variables.pop("params")
            return make_state(params, chain, key=run_key, model_state=variables)

        step = make_train_step(make_objective(here), chain)
        found.append(
            run_many(step, init, data, seeds=seeds, validation=validation, batch_size=batch_size, **options)
        )  # fmt: skip
    return ReuseCurve(tuple(found))


def chosen_inside(variables: Mapping[str, Any], where: tree.Where) -> frozenset[str]:
    """The paths, without their collection, of the leaves chosen; of any collection."""
    inside = {_inside(path): leaf for path, leaf in tree.leaf_paths(variables).items()}
    chosen = tree.leaf_paths(tree.resolve(where, inside))
    return frozenset(path for path, mask in chosen.items() if mask)


def _statistics(variables: Mapping[str, Any], where: tree.Where) -> frozenset[str]:
    chosen = chosen_inside(variables, where)
    state = tree.leaf_paths({name: value for name, value in variables.items() if name != "params"})
    return frozenset(_inside(path) for path in state) & chosen


def _inside(path: str) -> str:
    return path.partition("/")[2]


def variables_of(source: Source) -> Variables:
    """The variables of a state, or those given."""
    return {"params": source.params, **source.model_state} if isinstance(source, TrainState) else dict(source)
