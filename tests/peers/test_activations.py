"""Activations: values and derivatives, for inputs that are ordinary, large, small, and at the kinks."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import activations, layers
from tests.peers.pull_back import by_jax, by_keras, by_torch, channels_first, cotangent, draws

pytestmark = pytest.mark.peers

INPUTS = {
    "ordinary": draws(7, 5, scale=3),
    "large": draws(3, 11, scale=1000),
    "small": draws(11, 3, scale=1e-4),
    "tiny": draws(2, 3, scale=1e-30),
}
ELEMENTWISE = {
    "relu": lambda torch: torch.nn.functional.relu,
    "elu": lambda torch: torch.nn.functional.elu,
    "selu": lambda torch: torch.nn.functional.selu,
    "sigmoid": lambda torch: torch.sigmoid,
    "tanh": lambda torch: torch.tanh,
    "soft_sign": lambda torch: torch.nn.functional.softsign,
    "leaky_relu": lambda torch: lambda x: torch.nn.functional.leaky_relu(x, 0.01),
    "rrelu": lambda torch: torch.nn.functional.rrelu,
}
KERAS = {"soft_sign": "softsign", **{name: name for name in ("relu", "elu", "selu", "sigmoid", "tanh")}}
SLOPE_AT_0 = "at 0 the derivative here is 1, PyTorch's the slope"


def unit(theirs):
    """At most 1, so that small values count as they are and bounded functions are not asked for digits of a 0."""
    return min(1.0, max(float(np.abs(np.asarray(array)).max()) for array in theirs[:1]))


@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_functions_against_torch(torch, all_agree, name, inputs):
    x = INPUTS[inputs]
    theirs = by_torch(torch, ELEMENTWISE[name](torch), x)
    remark = {"rrelu": "evaluation; " + SLOPE_AT_0, "leaky_relu": "slope 0.01; " + SLOPE_AT_0}.get(name, "")
    ours = by_jax(getattr(activations, name), x)
    all_agree(f"activations.{name}", "torch", ("x",), ours, theirs, scale=unit(theirs), remark=remark)


@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("name", [*KERAS, "leaky_relu"])
def test_elementwise_functions_against_keras(keras, all_agree, name, inputs):
    x = INPUTS[inputs]
    if name == "leaky_relu":
        theirs, remark = by_keras(lambda x: keras.activations.leaky_relu(x, negative_slope=0.01), x), "slope 0.01"
    else:
        theirs, remark = by_keras(getattr(keras.activations, KERAS[name]), x), ""
    ours = by_jax(getattr(activations, name), x)
    all_agree(f"activations.{name}", "keras", ("x",), ours, theirs, scale=unit(theirs), remark=remark)


@pytest.mark.parametrize("name", ["relu", "elu", "selu", "sigmoid", "tanh", "soft_sign"])
def test_values_and_derivatives_at_zero(torch, all_agree, name):
    x = np.array([0.0, -0.0], np.float32)
    ours, theirs = by_jax(getattr(activations, name), x), by_torch(torch, ELEMENTWISE[name](torch), x)
    all_agree(f"activations.{name}", "torch", ("x at 0",), ours, theirs)


@pytest.mark.parametrize(("name", "slope"), [("leaky_relu", 0.01), ("rrelu", 11 / 48)])
def test_the_derivative_of_leaky_rectifiers_at_zero_is_another_choice(torch, name, slope):
    x = np.zeros(1, np.float32)
    (_, ours), (_, theirs) = by_jax(getattr(activations, name), x), by_torch(torch, ELEMENTWISE[name](torch), x)
    np.testing.assert_allclose(ours, cotangent((1,)))
    np.testing.assert_allclose(theirs, slope * cotangent((1,)), rtol=1e-6)


@pytest.mark.parametrize("shape", [(7, 3), (2, 5, 4, 3)])
def test_prelu_with_a_slope_per_channel(torch, keras, all_agree, shape):
    x, slopes = draws(*shape), np.array([0.25, -0.5, 1.5], np.float32)
    prelu = torch.nn.functional.prelu if len(shape) == 2 else channels_first(torch.nn.functional.prelu)
    ours = by_jax(activations.prelu, x, slopes)
    remark = f"channels at axis 1; {SLOPE_AT_0}"
    all_agree("activations.prelu", "torch", ("x", "slope"), ours, by_torch(torch, prelu, x, slopes), remark=remark)

    layer = keras.layers.PReLU(shared_axes=list(range(1, len(shape) - 1)) or None)
    layer.build(shape)
    alpha = (1,) * (len(shape) - 2) + (3,)
    theirs = by_keras(lambda x, a: layer.stateless_call([a.reshape(alpha)], [], x)[0], x, slopes)
    ours = by_jax(lambda x, a: layers.PReLU().apply({"params": {"negative_slope": a}}, x), x, slopes)
    remark = "shared_axes, for one slope a channel"
    all_agree("layers.PReLU", "keras", ("x", "slope"), ours, theirs, remark=remark)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("inputs", ["ordinary", "large", "small", "offset", "excluded"])
def test_softmax(torch, keras, all_agree, name, inputs):
    x = {
        **INPUTS,
        "offset": draws(5, 7) + 1e4,
        "excluded": np.where(np.arange(7) == 3, -np.inf, draws(5, 7)),
    }[inputs].astype(np.float32)
    ours = by_jax(getattr(activations, name), x)
    theirs = by_torch(torch, lambda x: getattr(torch.nn.functional, name)(x, -1), x)
    all_agree(f"activations.{name}", "torch", ("x",), ours, theirs, scale=1.0)
    theirs = by_keras(getattr(keras.activations, name), x)
    all_agree(f"activations.{name}", "keras", ("x",), ours, theirs, scale=1.0)


@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_maxout_is_the_maximum_of_reshaped_features(torch, all_agree, pieces):
    z = np.round(draws(5, 4 * pieces), 1)
    z[0] = 0.5  # ties, whose derivative both share equally
    theirs = by_torch(torch, lambda z: z.reshape(5, 4, pieces).amax(-1), z)
    ours = by_jax(lambda z: activations.maxout(z, pieces=pieces), z)
    all_agree("activations.maxout", "torch", ("z",), ours, theirs, remark="reshape and amax, with ties")


def test_the_layer_of_maxout_units(torch, all_agree):
    x, kernel, bias = draws(5, 7), draws(7, 12, seed=1), draws(12, seed=2)

    def ours(x, kernel, bias):
        return layers.Maxout(4, pieces=3).apply({"params": {"Dense_0": {"kernel": kernel, "bias": bias}}}, x)

    theirs = by_torch(torch, lambda x, w, b: (x @ w + b).reshape(5, 4, 3).amax(-1), x, kernel, bias)
    all_agree(
        "layers.Maxout", "torch", ("x", "kernel", "bias"), by_jax(ours, x, kernel, bias), theirs,
        remark="linear, reshape and amax",
    )  # fmt: skip


def test_thresholds_are_those_of_heaviside_and_sign(torch, agree):
    x = np.concatenate([draws(9), [0.0, -0.0, np.inf, -np.inf]]).astype(np.float32)
    theirs = torch.heaviside(torch.tensor(x), torch.tensor(0.0)).numpy()
    agree("activations.step", "torch", "value", activations.step(jnp.asarray(x)), theirs, remark="heaviside, 0 at 0")
    away = x[x != 0]
    theirs = torch.sign(torch.tensor(away)).numpy()
    remark = "sign, which at 0 is 0 and here -1"
    agree("activations.sign_pm1", "torch", "value", activations.sign_pm1(jnp.asarray(away)), theirs, remark=remark)
