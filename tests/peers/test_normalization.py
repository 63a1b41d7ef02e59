"""Normalizations: outputs, gradients and running statistics of layers; treatments of the data."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from jaxdl import data, layers
from tests.peers.pull_back import by_jax, by_keras, by_torch, channels_first, draws

pytestmark = pytest.mark.peers

CHANNELS, EPSILON, MOMENTUM = 5, 1e-5, 0.9
SCALE, BIAS = np.linspace(-1, 2, CHANNELS).astype(np.float32), draws(CHANNELS, seed=8)
SHAPES = {"dense": (33, CHANNELS), "images": (4, 3, 7, CHANNELS)}
each_shape = pytest.mark.parametrize("shape", list(SHAPES.values()), ids=list(SHAPES))
BY = ("x", "scale", "bias")
# A mean over n terms and the terms of a gradient that cancel: more roundings than one entry's.
RTOL = 2e-6


def batches(shape, number=4):
    """Channels of different deviations, and means of up to one of them."""
    spread, centre = np.linspace(0.5, 3, CHANNELS), np.linspace(-1, 1, CHANNELS)
    return [((draws(*shape, seed=seed) + centre) * spread).astype(np.float32) for seed in range(number)]


def statistics():
    return {"mean": draws(CHANNELS, seed=9), "var": np.geomspace(0.05, 50, CHANNELS).astype(np.float32)}


def ours_normalizes(layer, stats=None):
    def apply(x, scale, bias):
        variables = {"params": {"scale": scale, "bias": bias}}
        if stats is None:
            return layer.apply(variables, x)
        return layer.apply({**variables, "batch_stats": stats}, x, mutable=["batch_stats"])[0]

    return apply


@each_shape
@pytest.mark.parametrize("train", [True, False], ids=["training", "evaluation"])
def test_batch_norm(torch, keras, all_agree, shape, train):
    (x,), stats = batches(shape, 1), statistics()
    layer = layers.BatchNorm(use_running_average=not train, momentum=MOMENTUM, epsilon=EPSILON)
    ours = by_jax(ours_normalizes(layer, stats), x, SCALE, BIAS)
    mode = "training" if train else "evaluation"

    def in_torch(x, scale, bias):
        mean, var = (torch.tensor(stats[name]) for name in ("mean", "var"))
        return torch.nn.functional.batch_norm(x, mean, var, scale, bias, train, 1 - MOMENTUM, EPSILON)

    theirs = by_torch(torch, in_torch if x.ndim == 2 else channels_first(in_torch), x, SCALE, BIAS)
    remark = f"{mode}; channels at axis 1"
    all_agree("layers.BatchNorm", "torch", BY, ours, theirs, rtol=RTOL, remark=remark)

    theirs_layer = keras.layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON)
    theirs_layer.build(shape)
    fixed = [jnp.asarray(stats["mean"]), jnp.asarray(stats["var"])]
    theirs = by_keras(
        lambda x, scale, bias: theirs_layer.stateless_call([scale, bias], fixed, x, training=train)[0], x, SCALE, BIAS
    )
    all_agree("layers.BatchNorm", "keras", BY, ours, theirs, rtol=RTOL, remark=f"{mode}; epsilon 1e-5")


@each_shape
def test_running_statistics_of_batch_norm_over_several_batches(torch, keras, agree, shape):
    layer = layers.BatchNorm(use_running_average=False, momentum=MOMENTUM, epsilon=EPSILON)
    stats = {"mean": jnp.zeros(CHANNELS), "var": jnp.ones(CHANNELS)}
    dimensions = {2: torch.nn.BatchNorm1d, 4: torch.nn.BatchNorm2d}
    in_torch = dimensions[len(shape)](CHANNELS, eps=EPSILON, momentum=1 - MOMENTUM)
    in_keras = keras.layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON)
    steps = batches(shape)
    for x in steps:
        variables = {"params": {"scale": SCALE, "bias": BIAS}, "batch_stats": stats}
        stats = layer.apply(variables, x, mutable=["batch_stats"])[1]["batch_stats"]
        in_torch(torch.tensor(np.moveaxis(x, -1, 1).copy()))
        in_keras(x, training=True)
    mean, var = in_torch.running_mean.numpy(), in_torch.running_var.numpy()
    agree("layers.BatchNorm", "torch", "running mean", stats["mean"], mean, rtol=RTOL, remark="momentum 1 - ours")
    start, number = MOMENTUM ** len(steps), np.prod(shape[:-1])
    biased = (var - start) * (number - 1) / number + start
    remark = "momentum 1 - ours; theirs is unbiased, times (n - 1) / n"
    agree("layers.BatchNorm", "torch", "running variance", stats["var"], biased, rtol=RTOL, remark=remark)
    mean, var = in_keras.moving_mean.value, in_keras.moving_variance.value
    agree("layers.BatchNorm", "keras", "running mean", stats["mean"], mean, rtol=RTOL)
    agree("layers.BatchNorm", "keras", "running variance", stats["var"], var, rtol=RTOL)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("name", ["BatchNorm", "LayerNorm"])
def test_inputs_far_from_zero(torch, agree, name, fast):
    """E[x^2] - E[x]^2 loses digits where the mean is many deviations: by about (mean / deviation)^2 roundings."""
    functional, (scale, bias) = torch.nn.functional, map(torch.tensor, (SCALE, BIAS))
    ratio, axis, x = 100.0, {"BatchNorm": 0, "LayerNorm": 1}[name], draws(64, CHANNELS)
    x = ((x - x.mean(axis, keepdims=True)) / x.std(axis, keepdims=True) + ratio).astype(np.float32)
    if name == "BatchNorm":
        layer = layers.BatchNorm(use_running_average=False, epsilon=EPSILON, use_fast_variance=fast)
        theirs = functional.batch_norm(torch.tensor(x), None, None, scale, bias, True, 0.1, EPSILON)
        stats = statistics()
    else:
        layer = layers.LayerNorm(epsilon=EPSILON, use_fast_variance=fast)
        theirs, stats = functional.layer_norm(torch.tensor(x), (CHANNELS,), scale, bias, EPSILON), None
    ours = ours_normalizes(layer, stats)(jnp.asarray(x), SCALE, BIAS)
    # Eight roundings of the mean in deviations are left in every output; or of its square.
    allowed = (ratio**2 if fast else ratio) * 8 * 2.0**-23
    remark = f"means of 100 deviations, use_fast_variance={fast}" + ", Flax's default" * fast
    agree(f"layers.{name}", "torch", "value", ours, theirs.numpy(), rtol=allowed, remark=remark)


@each_shape
@pytest.mark.parametrize("bounds", [(3.0, 5.0), (1.1, 0.1), (1.0, 0.0)])
def test_batch_renorm(keras, all_agree, shape, bounds):
    (x,), stats, (r_max, d_max) = batches(shape, 1), statistics(), bounds
    layer = layers.BatchRenorm(use_running_average=False, momentum=MOMENTUM, epsilon=EPSILON, r_max=r_max, d_max=d_max)
    ours = by_jax(ours_normalizes(layer, stats), x, SCALE, BIAS)
    in_keras = keras.layers.BatchNormalization(
        momentum=MOMENTUM, epsilon=EPSILON, renorm=True, renorm_clipping=dict(rmin=1 / r_max, rmax=r_max, dmax=d_max)
    )
    in_keras.build(shape)
    in_keras.renorm_mean.assign(stats["mean"])
    in_keras.renorm_stddev.assign(np.sqrt(stats["var"] + EPSILON))
    fixed = [variable.value for variable in in_keras.non_trainable_variables]
    theirs = by_keras(
        lambda x, scale, bias: in_keras.stateless_call([scale, bias], fixed, x, training=True)[0], x, SCALE, BIAS
    )
    remark = "training, from the same statistics; of several batches Keras averages the deviation"
    all_agree("layers.BatchRenorm", "keras", BY, ours, theirs, rtol=RTOL, remark=remark)


@pytest.mark.parametrize("shape", [(7, CHANNELS), (2, 3, 4, CHANNELS)])
@pytest.mark.parametrize("size", [1.0, 1e-3, 1e3])
def test_layer_norm(torch, keras, all_agree, shape, size):
    x = (draws(*shape) * size).astype(np.float32)
    ours = by_jax(ours_normalizes(layers.LayerNorm(epsilon=EPSILON)), x, SCALE, BIAS)
    layer_norm = torch.nn.functional.layer_norm
    theirs = by_torch(torch, lambda x, w, b: layer_norm(x, (CHANNELS,), w, b, EPSILON), x, SCALE, BIAS)
    remark = "epsilon 1e-5; Flax's default is 1e-6"
    all_agree("layers.LayerNorm", "torch", BY, ours, theirs, rtol=RTOL, remark=remark)
    in_keras = keras.layers.LayerNormalization(epsilon=EPSILON)
    in_keras.build(shape)
    theirs = by_keras(lambda x, w, b: in_keras.stateless_call([w, b], [], x)[0], x, SCALE, BIAS)
    remark = "epsilon 1e-5; Keras's default is 1e-3"
    all_agree("layers.LayerNorm", "keras", BY, ours, theirs, rtol=RTOL, remark=remark)


def test_weight_norm_of_a_dense_layer(torch, all_agree):
    x, v, g, bias = draws(9, 7), draws(7, CHANNELS, seed=1), SCALE, BIAS
    module = layers.WeightNorm(nn.Dense(CHANNELS))

    def ours(x, v, g, bias):
        params = {"layer_instance": {"kernel": v, "bias": bias}, "layer_instance/kernel/scale": g}
        return module.apply({"params": params}, x)

    linear = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(7, CHANNELS))

    def theirs(x, v, g, bias):
        originals = {"parametrizations.weight.original0": g[:, None], "parametrizations.weight.original1": v.T}
        return torch.func.functional_call(linear, {**originals, "bias": bias}, (x,))

    pulled = by_torch(torch, theirs, x, v, g, bias)
    by = ("x", "kernel", "scale", "bias")
    remark = "parametrizations.weight_norm, dim=0 of (out, in)"
    all_agree("layers.WeightNorm", "torch", by, by_jax(ours, x, v, g, bias), pulled, rtol=RTOL, remark=remark)


def test_weight_norm_of_a_convolution(torch, all_agree):
    x, v, g, bias = draws(2, 6, 7, 3), draws(3, 2, 3, CHANNELS, seed=1), SCALE, BIAS
    module = layers.WeightNorm(nn.Conv(CHANNELS, (3, 2), padding="VALID"))

    def ours(x, v, g, bias):
        params = {"layer_instance": {"kernel": v, "bias": bias}, "layer_instance/kernel/scale": g}
        return module.apply({"params": params}, x)

    conv = torch.nn.utils.parametrizations.weight_norm(torch.nn.Conv2d(3, CHANNELS, (3, 2)))

    def theirs(x, v, g, bias):
        originals = {
            "parametrizations.weight.original0": g[:, None, None, None],
            "parametrizations.weight.original1": v.permute(3, 2, 0, 1),
        }
        return torch.func.functional_call(conv, {**originals, "bias": bias}, (x,))

    pulled = by_torch(torch, channels_first(theirs), x, v, g, bias)
    by = ("x", "kernel", "scale", "bias")
    remark = "parametrizations.weight_norm, OIHW"
    all_agree("layers.WeightNorm", "torch", by, by_jax(ours, x, v, g, bias), pulled, rtol=RTOL, remark=remark)


@pytest.mark.parametrize("centered", [False, True])
def test_cosine_layers(torch, all_agree, centered):
    cosine = torch.nn.functional.cosine_similarity
    centre = (lambda rows: rows - rows.mean(-1, keepdim=True)) if centered else (lambda rows: rows)

    def theirs(x, kernel):
        return cosine(centre(x)[:, None], centre(kernel.T)[None], dim=-1, eps=1e-6)

    x, kernel = draws(9, 7), draws(7, 4, seed=1)
    layer = layers.CosineDense(4, centered=centered)
    ours = by_jax(lambda x, k: layer.apply({"params": {"kernel": k}}, x), x, kernel)
    remark = "cosine_similarity of rows" + ", centred" * centered
    pulled = by_torch(torch, theirs, x, kernel)
    all_agree("layers.CosineDense", "torch", ("x", "kernel"), ours, pulled, rtol=RTOL, remark=remark)

    def theirs_of_patches(x, kernel):
        patches = torch.nn.functional.unfold(x, (3, 2)).movedim(1, -1)
        rows = kernel.permute(3, 2, 0, 1).reshape(4, -1)
        return cosine(centre(patches)[:, :, None], centre(rows)[None, None], dim=-1, eps=1e-6).reshape(2, 4, 6, 4)

    x, kernel = draws(2, 6, 7, 3), draws(3, 2, 3, 4, seed=1)
    layer = layers.CosineConv(4, (3, 2), padding="VALID", centered=centered)
    ours = by_jax(lambda x, k: layer.apply({"params": {"kernel": k}}, x), x, kernel)
    remark = "cosine_similarity of unfold's patches" + ", centred" * centered
    pulled = by_torch(torch, lambda x, k: theirs_of_patches(x.permute(0, 3, 1, 2), k), x, kernel)
    all_agree("layers.CosineConv", "torch", ("x", "kernel"), ours, pulled, rtol=RTOL, remark=remark)


@pytest.mark.parametrize("size", [1.0, 1e-3, 1e4])
def test_unit_normalization_of_inputs(keras, all_agree, size):
    x = draws(7, 5, scale=size)
    layer = layers.CosineDense(5)
    ours = by_jax(lambda x: layer.apply({"params": {"kernel": jnp.eye(5)}}, x), x)
    theirs = by_keras(keras.layers.UnitNormalization(), x)
    remark = "UnitNormalization: here the kernel is the identity"
    all_agree("layers.CosineDense", "keras", ("x",), ours, theirs, rtol=RTOL, remark=remark)


def examples():
    x = draws(200, 6) @ draws(6, 6, seed=1) + 3 * draws(1, 6, seed=2)
    return x.astype(np.float32)


def test_standardizer(keras, agree):
    x = examples()
    ours = data.Standardizer.fit(x, ddof=0)
    theirs = keras.layers.Normalization()
    theirs.adapt(x)
    remark = "Normalization; its deviation is that of ddof=0, the default here 1"
    agree("data.Standardizer", "keras", "transform", ours.transform(x), theirs(x), rtol=RTOL, remark=remark)
    inverse = keras.layers.Normalization(mean=ours.mean, variance=ours.deviation**2, invert=True)
    z = ours.transform(x)
    agree("data.Standardizer", "keras", "inverse", ours.inverse(z), inverse(z), rtol=RTOL, remark="invert=True")
    theirs = StandardScaler().fit(x.astype(np.float64)).transform(x.astype(np.float64))
    agree("data.Standardizer", "scikit-learn", "transform", z, theirs, rtol=RTOL, remark="StandardScaler; ddof=0")


def test_whitening(agree):
    """An eigenvector's sign is free: ours makes its largest entry positive."""
    x = examples()
    pca = PCA(whiten=True, svd_solver="full").fit(x.astype(np.float64))
    theirs = pca.transform(x.astype(np.float64))
    signs = np.sign(pca.components_[np.arange(6), np.abs(pca.components_).argmax(1)])
    # The whitening matrix is rounded to float32 and amplifies by the root of the condition number, here about 30.
    allowed, ours = 30 * 1e-6, data.Whitening.fit(x, kind="pca")
    agree("data.Whitening", "scikit-learn", "transform", ours.transform(x), theirs * signs, rtol=allowed,
          remark="PCA(whiten=True) up to signs")  # fmt: skip
    agree("data.Whitening", "scikit-learn", "eigenvalues", ours.eigenvalues, pca.explained_variance_, remark="PCA")
    agree("data.Whitening", "scikit-learn", "inverse", ours.inverse(ours.transform(x)),
          pca.inverse_transform(theirs), rtol=allowed, remark="PCA(whiten=True)")  # fmt: skip
    zca = data.Whitening.fit(x, kind="zca").transform(x)
    agree("data.Whitening", "scikit-learn", "ZCA", zca, theirs @ pca.components_, rtol=allowed,
          remark="PCA(whiten=True), turned back by its components")  # fmt: skip
    condition = np.sqrt(pca.explained_variance_[0] / pca.explained_variance_[-1])
    assert condition < 30
