"""Recurrent cells under the field's names: Flax's, configured, and those that Flax lacks."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import jax
from flax import linen as nn

from jaxdl import checks
from jaxdl.initializers import identity, normal
from jaxdl.models.recurrent.layer_norm_cells import LayerNormGRUCell, LayerNormLSTMCell, LayerNormSimpleCell

Carry = Any
MakeCell = Callable[..., nn.RNNCellBase]


class LSTMCell(nn.OptimizedLSTMCell):
    """`flax.linen.OptimizedLSTMCell`, whose forget gate may start with a bias.

    Attributes:
      forget_bias: added to what `bias_init` gives for the forget gate; with 1 a fresh cell remembers. Other attributes
        are Flax's.

    References:
      Gers, Schmidhuber, Cummins, "Learning to forget", 2000; Jozefowicz, Zaremba, Sutskever 2015, section 2.2.
    """

    forget_bias: float = 0.0

    @nn.compact
    def __call__(self, carry: Carry, inputs: jax.Array) -> tuple[Carry, jax.Array]:
        """The next `(c, h)`, and h."""
        outputs = super().__call__(carry, inputs)
        if self.is_initializing() and self.forget_bias:
            gate = self.variables["params"]["hf"]
            # Flax has one bias_init for all four gates.
            self.put_variable("params", "hf", {**gate, "bias": gate["bias"] + self.forget_bias})
        return outputs


class WeightNormCell(nn.RNNCellBase):
    """Any cell with every kernel's columns written as `g v / |v|`.

    Gains are at `weight_norm/...`, directions under `cell`. Gains start at 1, whatever the kernel's initializer: that
    keeps orthogonal recurrent kernels as they are, and the variance of LeCun's.

    Attributes:
      cell: a `flax.linen.RNNCellBase`.

    References:
      Salimans, Kingma, "Weight normalization", 2016, equation 2.
    """

    cell: nn.RNNCellBase

    @nn.compact
    def __call__(self, carry: Carry, inputs: jax.Array) -> tuple[Carry, jax.Array]:
        """What the cell returns."""
        return nn.WeightNorm(self.cell, name="weight_norm")(carry, inputs)

    @nn.nowrap
    def initialize_carry(self, rng: jax.Array, input_shape: tuple[int, ...]) -> Carry:
        """The cell's."""
        return self.cell.initialize_carry(rng, input_shape)

    @property
    def num_feature_axes(self) -> int:
        """The cell's."""
        return self.cell.num_feature_axes


def irnn(features: int, *, scale: float = 1.0, stddev: float = 0.001, dtype: Any = None) -> nn.SimpleCell:
    """A ReLU cell that starts by remembering: recurrent kernel `scale` times the identity, no bias, small inputs.

    Args:
      features: units.
      scale: of the identity, > 0; 1 keeps a state for ever, 0.01 forgets soon, which the paper takes for speech.
      stddev: of the input kernel, N(0, stddev^2), > 0. The paper's 0.001.
      dtype: of the computation.

    Returns:
      A `flax.linen.SimpleCell`.

    Raises:
      ValueError: a number out of its range.

    References:
      Le, Jaitly, Hinton, "A Simple Way to Initialize Recurrent Networks of Rectified Linear Units", 2015.
    """
    checks.number(scale=scale, minimum=0, exclusive=True, remedy="1 is the identity itself.")
    checks.number(stddev=stddev, minimum=0, exclusive=True, remedy="The paper takes 0.001.")
    return nn.SimpleCell(
        features, activation_fn=nn.relu, kernel_init=normal(stddev), recurrent_kernel_init=identity(scale), dtype=dtype
    )


def _weight_norm(make: MakeCell, features: int, *, dtype: Any = None) -> WeightNormCell:
    # Without parents: made inside a module's call, the inner cell would become that module's.
    return WeightNormCell(make(features, dtype=dtype, parent=None), parent=None)


CELLS: Mapping[str, MakeCell] = MappingProxyType(
    {
        "tanh": nn.SimpleCell,
        "relu": partial(nn.SimpleCell, activation_fn=nn.relu),
        "irnn": irnn,
        "lstm": partial(LSTMCell, forget_bias=1.0),
        "gru": nn.GRUCell,
        "layer_norm_tanh": LayerNormSimpleCell,
        "layer_norm_lstm": partial(LayerNormLSTMCell, forget_bias=1.0),
        "layer_norm_gru": LayerNormGRUCell,
        "weight_norm_tanh": partial(_weight_norm, nn.SimpleCell),
        "weight_norm_lstm": partial(_weight_norm, partial(LSTMCell, forget_bias=1.0)),
        "weight_norm_gru": partial(_weight_norm, nn.GRUCell),
    }
)


def make_cell(cell: str | MakeCell, features: int, *, dtype: Any = None) -> nn.RNNCellBase:
    """A cell, not yet part of any module.

    Args:
      cell: a name of `CELLS`, or a function `(features, dtype=...) -> cell`, such as a class of Flax's or a
        `functools.partial` of one.
      features: units, >= 1.
      dtype: of the computation; `None` infers it from inputs and parameters.

    Returns:
      The cell.

    Raises:
      ValueError: an unknown name, no unit.
      TypeError: no name and no function, or one that returns no cell.
    """
    checks.whole_number(features=features, minimum=1, remedy="100 are usual.")
    if isinstance(cell, str):
        checks.one_of(cell=cell, among=tuple(CELLS), remedy="Or pass a class of cells, such as nn.MGUCell.")
        cell = CELLS[cell]
    made = cell(features, dtype=dtype) if callable(cell) and not isinstance(cell, nn.Module) else cell
    if isinstance(made, type) or not isinstance(made, nn.RNNCellBase) or made is cell:
        raise TypeError(
            f"cell: expected a name, or a function (features, dtype=...) -> cell; got {type(made).__name__}. "
            "Pass for example 'lstm', nn.GRUCell, or a functools.partial of one."
        )
    return made.clone(parent=None, name=None)
