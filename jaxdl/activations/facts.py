"""What is known of each activation, as data that diagnostics and experiments read."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any, NamedTuple

import jax

from jaxdl import initializers
from jaxdl.activations.functions import maxout, prelu, rrelu, sign_pm1, step

SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


class Facts(NamedTuple):
    """Of one activation.

    Attributes:
      name: as in `jaxdl.activations`.
      function: of pre-activations, with its customary parameters.
      derivative_bound: the least upper bound of |f'(z)| over all z; for softmax, of the operator norm of its Jacobian;
        for maxout, of the derivative by a unit's largest piece. One layer shrinks or stretches an error signal by at
        most this times the norm of its weights.
      initializer: makes the initializer it is paired with; for maxout and the thresholds, the one that keeps a linear
        layer's variance.
      pieces: pre-activations of one unit: 1, or 2 for maxout.
      why: where the pairing comes from.
    """

    name: str
    function: Callable[[jax.Array], jax.Array]
    derivative_bound: float
    initializer: Callable[[], Any]
    pieces: int
    why: str


def _maxout(z: jax.Array) -> jax.Array:
    return maxout(z, pieces=2)


def _prelu(z: jax.Array) -> jax.Array:
    return prelu(z, 0.25)


def _leaky_he() -> Any:
    return initializers.he_normal(negative_slope=0.01)


def _rrelu_he() -> Any:
    return initializers.he_normal(negative_slope=11 / 48)


def _prelu_he() -> Any:
    return initializers.he_normal(negative_slope=0.25)


_GLOROT = "about linear at 0: Glorot and Bengio 2010"
_HE = "half of the pre-activations pass: He et al. 2015"
_LINEAR = "keeps the variance of the pre-activations: LeCun et al. 1998"

FACTS = MappingProxyType(
    {
        facts.name: facts
        for facts in (
            Facts("identity", jax.nn.identity, 1.0, initializers.lecun_normal, 1, _LINEAR),
            Facts("step", step, 0.0, initializers.lecun_normal, 1, _LINEAR),
            Facts("sign_pm1", sign_pm1, 0.0, initializers.lecun_normal, 1, _LINEAR),
            Facts("sigmoid", jax.nn.sigmoid, 0.25, initializers.glorot_normal, 1, _GLOROT),
            Facts("tanh", jax.nn.tanh, 1.0, initializers.glorot_normal, 1, _GLOROT),
            Facts("soft_sign", jax.nn.soft_sign, 1.0, initializers.glorot_normal, 1, _GLOROT),
            Facts("relu", jax.nn.relu, 1.0, initializers.he_normal, 1, _HE),
            Facts("leaky_relu", jax.nn.leaky_relu, 1.0, _leaky_he, 1, _HE),
            Facts("rrelu", rrelu, 1.0, _rrelu_he, 1, _HE),
            Facts("prelu", _prelu, 1.0, _prelu_he, 1, _HE),
            Facts("elu", jax.nn.elu, 1.0, initializers.he_normal, 1, _HE),
            Facts(
                "selu",
                jax.nn.selu,
                SELU_SCALE * SELU_ALPHA,
                initializers.lecun_normal,
                1,
                "the fixed point (0, 1) is that of weights N(0, 1/n): Klambauer et al. 2017",
            ),
            Facts(
                "maxout",
                _maxout,
                1.0,
                initializers.lecun_normal,
                2,
                "the larger of two independent N(0, 1) has mean square 1, like one of them",
            ),
            Facts("softmax", jax.nn.softmax, 0.5, initializers.glorot_normal, 1, _GLOROT),
        )
    }
)
"""What theory says of each activation, `{name: Facts}`; read-only."""


def facts(activation: str | Callable[..., Any]) -> Facts:
    """The facts of an activation, by its name or by the function itself.

    Args:
      activation: a name among `FACTS`, or the function.

    Returns:
      What theory says of it, with the sources.

    Raises:
      ValueError: it is not among `FACTS`.

    Example:
      >>> facts(jax.nn.sigmoid).derivative_bound
      0.25
    """
    for known in FACTS.values():
        if activation == known.name or activation is known.function:
            return known
    name = activation if isinstance(activation, str) else getattr(activation, "__name__", repr(activation))
    raise ValueError(
        f"activation: expected one of {', '.join(FACTS)}, or such a function of jaxdl.activations; got {name!r}. "
        "For your own, make a Facts."
    )
