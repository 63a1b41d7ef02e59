"""The data-dependent start of weight normalization."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.core import Tracer

from jaxdl import tree
from jaxdl.model import mode_arguments

PyTree = Any

_LAYERS = (nn.Dense, nn.DenseGeneral, nn.Conv, nn.ConvTranspose)
_SEEN = "weight_norm_start"


def start_weight_norm(module: nn.Module, variables: PyTree, x: PyTree) -> PyTree:
    """Sets scale and bias of every `flax.linen.WeightNorm` so that the first batch's pre-activations are standard.

        t = v . x / |v|,    g = 1 / s[t],    b = -m[t] / s[t]

    with the mean m and the (biased) deviation s of a unit's t over examples and positions. Layers are set in the
    order of one forward pass, each on inputs that the layers before it, already set, have made. `flax.linen.WeightNorm`
    itself starts with g = 1 whatever the kernel's initializer was.

    Args:
      module: a Linen module that holds `nn.WeightNorm(nn.Dense(...))`, around a dense or convolutional layer with a
        bias, at any depth; it is not edited. It runs in evaluation mode.
      variables: as `module.init` returned them.
      x: one batch of inputs, hundreds of examples rather than one.

    Returns:
      The variables with the new scales and biases; all other leaves are those passed.

    Raises:
      TypeError: `module` is no Linen module.
      ValueError: no WeightNorm; one around another kind of layer, without bias or scale, called twice, or in a scan;
        a unit whose pre-activations do not vary (not checked under `jax.jit`, where such a unit becomes NaN).

    Example:
      >>> module = nn.WeightNorm(nn.Dense(8))
      >>> variables = start_weight_norm(module, module.init(key, x), x)

    References:
      Salimans, Kingma, "Weight normalization", 2016, section 3.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"module: expected a flax.linen module; got {type(module).__name__}. Pass the module, not a jaxdl.Model."
        )
    with nn.intercept_methods(_standardize_units):
        _, updated = module.apply(variables, x, mutable=["params", _SEEN], **mode_arguments(module.__call__, False))
    deviations = tree.leaf_paths(updated.get(_SEEN, {}))
    if not deviations:
        raise ValueError(
            f"module: expected at least one flax.linen.WeightNorm; {type(module).__name__} calls none. "
            "Wrap its layers: nn.WeightNorm(nn.Dense(...))."
        )
    for path, relative in deviations.items():
        if not isinstance(relative, Tracer):
            _check_varies(tree.layer_of(path), np.asarray(relative))
    return {**variables, "params": updated["params"]}


def _standardize_units(
    call: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext
) -> jax.Array:
    norm = context.module
    outputs = call(*args, **kwargs)
    if not isinstance(norm, nn.WeightNorm) or context.method_name != "__call__":
        return outputs
    layer, where = norm.layer_instance, "/".join(norm.path)
    scales = {name: value for name, value in norm.variables.get("params", {}).items() if name.endswith("/scale")}
    _check_layer(norm, layer, scales, where)
    (scale_name,) = scales
    scale, bias = scales[scale_name], layer.variables["params"]["bias"]

    pre_activations = outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))
    axes = tuple(range(outputs.ndim - 1))
    mean = jnp.mean(pre_activations, axes)
    deviation = jnp.std(pre_activations, axes)
    # From whatever g and b are: g t + b becomes (g t + b - mean) / deviation.
    norm.put_variable("params", scale_name, (scale / deviation).astype(scale.dtype))
    layer.put_variable("params", "bias", ((bias - mean) / deviation).astype(bias.dtype))
    # Through the variables rather than by the side, so that it also leaves a nn.jit or nn.remat.
    norm.put_variable(_SEEN, "relative_deviation", deviation / jnp.maximum(jnp.abs(mean), deviation))
    spread = (1,) * len(axes) + (-1,)
    return ((pre_activations - mean.reshape(spread)) / deviation.reshape(spread)).astype(outputs.dtype)


def _check_layer(norm: nn.WeightNorm, layer: nn.Module, scales: dict[str, jax.Array], where: str) -> None:
    params = layer.variables.get("params", {})
    shapes = {path: jnp.shape(value) for path, value in tree.leaf_paths({**scales, **params}).items()}
    standard = {"kernel", "bias"} == set(params) and len(scales) == 1
    if not isinstance(layer, _LAYERS) or not standard or shapes["bias"] != shapes[next(iter(scales))]:
        raise ValueError(
            f"module: expected every WeightNorm around a dense or convolutional layer with a bias, one scale and one "
            f"bias a unit; got {type(layer).__name__} at {where or '(root)'} with {shapes}. Wrap its dense or "
            "convolutional layers one by one, with use_bias=True, use_scale=True and the default filter and axes."
        )
    if not norm.is_mutable_collection(_SEEN):
        raise ValueError(
            f"module: expected every WeightNorm outside of scans, whose steps see different inputs; got one inside, at "
            f"{where}. Start the cell by itself, on the inputs of one step."
        )
    if norm.has_variable(_SEEN, "relative_deviation"):
        raise ValueError(
            f"module: expected every WeightNorm to be called once; the one at {where or '(root)'} is called again, on "
            "other inputs. Start it by itself, on the inputs of your choice."
        )


def _check_varies(where: str, relative_deviation: np.ndarray) -> None:
    # Below that the rounding of the mean is no longer small beside the deviation.
    constant = np.flatnonzero(~(relative_deviation > 1e-5))
    if len(constant):
        raise ValueError(
            f"x: expected pre-activations that vary over the batch; units {constant.tolist()} of {where} do not. "
            "Pass more examples, or look for inputs that are all zero."
        )
