"""The cases of every family, and the training step and state that the laws are tried with."""

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest

from jaxdl import training
from tests.models.cases import Case

FAMILIES = sorted(path.stem for path in Path(__file__).parent.glob("tiny_*.py"))
CASES: dict[str, Case] = {
    name: case for family in FAMILIES for name, case in importlib.import_module(f"tests.models.{family}").CASES.items()
}
# Of every family some run by default; these take long to compile and have no module that the others lack.
SLOW = (
    "resnet14_group", "resnet10", "small_resnet", "small_resnet_group", "small_resnet_plain",
    "small_cnn_without_dropout", "convolutional autoencoder", "vgg_c", "vgg_a_lrn", "alexnet", "deepface", "gnmt",
    "captioner", "layer_norm_lstm", "layer_norm_tanh", "weight_norm_lstm", "dot_attention", "stacked",
)  # fmt: skip


def each_of(names: Iterable[str]) -> pytest.MarkDecorator:
    """Runs a test for each of the models as `name`."""
    marked = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in names]
    return pytest.mark.parametrize("name", marked)


each_case = each_of(CASES)


def drawn(case: Case) -> dict[str, Any]:
    """Variables of the shapes and scales of `case.init`, by NumPy: the laws hold for any, and initializers take as long
    to compile as all else."""
    draws = np.random.RandomState(0)

    def leaf(path: Any, like: jax.ShapeDtypeStruct) -> np.ndarray:
        name = path[-1].key
        if path[0].key != "params":
            return np.full(like.shape, float(name == "var"), like.dtype)
        spread = np.sqrt(2 / np.prod(like.shape[:-1])) if len(like.shape) > 1 else 0.1
        return (float(name == "scale") + spread * draws.standard_normal(like.shape)).astype(like.dtype)

    return jax.tree_util.tree_map_with_path(leaf, jax.eval_shape(case.init, jax.random.key(0)))


def begun(case: Case) -> tuple[training.TrainStep, training.TrainState]:
    """A step of momentum: Adam would make steps of full length of gradients that are 0 but for rounding."""
    tx = optax.sgd(0.05, momentum=0.9)
    variables = drawn(case)
    params = variables.pop("params")
    make = jax.jit(lambda *trees: training.make_state(trees[0], tx, key=jax.random.key(1), model_state=trees[1]))
    return training.make_train_step(case.objective, tx), make(params, variables)
