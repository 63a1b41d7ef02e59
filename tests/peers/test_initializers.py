"""Initializers: draws of a million weights or so, ours beside theirs, by intervals of their statistics."""

import math

import jax
import numpy as np
import pytest
from scipy import stats

from jaxdl import initializers

pytestmark = pytest.mark.peers

DENSE, CONV = (400, 600), (3, 5, 60, 90)  # (in, out) and (height, width, in, out)
DEVIATIONS = 5.0  # of a statistic's sampling error: a false alarm in 1.7 million
# Relative variance of a sample's standard deviation times its size, (kurtosis - 1) / 4; a truncated one has less.
SPREAD = {"normal": 1 / 2, "uniform": 1 / 5}


def ours(initializer, shape, seed=0):
    return np.asarray(initializer(jax.random.key(seed), shape, np.float32), np.float64)


def theirs_of_torch(torch, initialize, shape):
    """A kernel (..., in, out) of PyTorch's weight (out, in, ...)."""
    weight = torch.empty(shape[-1], shape[-2], *shape[:-2])
    initialize(weight)
    return np.moveaxis(weight.numpy(), (0, 1), (-1, -2)).astype(np.float64)


def theirs_of_keras(initializer, shape):
    with jax.numpy_rank_promotion("allow"):
        return np.asarray(initializer(shape), np.float64)


def assert_same_distribution(agree, name, peer, left, right, family, remark=""):
    name, number = f"initializers.{name}", left.size
    deviation = right.std()
    interval = DEVIATIONS * math.sqrt(2 * SPREAD[family] / number)
    agree(name, peer, "standard deviation", left.std(), deviation, rtol=interval, remark=remark)
    interval = DEVIATIONS * math.sqrt(2 / number)
    agree(name, peer, "mean / deviation", left.mean() / deviation, right.mean() / deviation, rtol=interval, scale=1.0,
          remark=remark)  # fmt: skip
    if family == "uniform":
        # Each falls short of the bound by about 2 bound / number.
        agree(name, peer, "largest", np.abs(left).max(), np.abs(right).max(), rtol=30 / number, remark=remark)
    if "truncated" not in remark:
        # The whole distribution: Kolmogorov-Smirnov, with a false alarm in a million.
        statistic = stats.ks_2samp(left.ravel(), right.ravel(), method="asymp").statistic
        allowed = math.sqrt(-math.log(1e-6 / 2) / 2) * math.sqrt(2 / number)
        agree(name, peer, "distribution function", statistic, 0.0, rtol=allowed, scale=1.0, remark=remark)


@pytest.mark.parametrize("shape", [DENSE, CONV], ids=["dense", "conv"])
def test_gaussians_and_uniforms_against_torch(torch, agree, shape):
    init = torch.nn.init
    leaky = dict(a=0.25, nonlinearity="leaky_relu")
    for name, initializer, theirs, family, remark in (
        ("glorot_normal", initializers.glorot_normal(), init.xavier_normal_, "normal", "xavier_normal_"),
        ("glorot_uniform", initializers.glorot_uniform(), init.xavier_uniform_, "uniform", "xavier_uniform_"),
        ("he_normal", initializers.he_normal(),
         lambda w: init.kaiming_normal_(w, nonlinearity="relu"), "normal", "kaiming_normal_, relu"),
        ("he_normal", initializers.he_normal(negative_slope=0.25),
         lambda w: init.kaiming_normal_(w, **leaky), "normal", "kaiming_normal_, slope 0.25"),
        ("he_uniform", initializers.he_uniform(negative_slope=0.25),
         lambda w: init.kaiming_uniform_(w, **leaky), "uniform", "kaiming_uniform_, slope 0.25"),
        ("lecun_normal", initializers.lecun_normal(),
         lambda w: init.kaiming_normal_(w, nonlinearity="linear"), "normal", "kaiming_normal_, linear"),
        ("fan_out_normal", initializers.fan_out_normal(),
         lambda w: init.kaiming_normal_(w, mode="fan_out", nonlinearity="linear"), "normal",
         "kaiming_normal_, linear, fan_out"),
        ("standard_uniform", initializers.standard_uniform(),
         lambda w: init.kaiming_uniform_(w, a=math.sqrt(5)), "uniform", "the start of Linear and Conv2d"),
    ):  # fmt: skip
        left, right = ours(initializer, shape), theirs_of_torch(torch, theirs, shape)
        assert_same_distribution(agree, name, "torch", left, right, family, remark)


def test_the_start_of_torchs_linear_layer_is_the_standard_uniform(torch, agree):
    right = torch.nn.Linear(*DENSE).weight.detach().numpy().T.astype(np.float64)
    left = ours(initializers.standard_uniform(), DENSE)
    assert_same_distribution(agree, "standard_uniform", "torch", left, right, "uniform", "nn.Linear")


@pytest.mark.parametrize("shape", [DENSE, CONV], ids=["dense", "conv"])
def test_gaussians_and_uniforms_against_keras(keras, agree, shape):
    init, truncated = keras.initializers, "theirs truncated at 2 deviations"
    for name, initializer, theirs, family, remark in (
        ("lecun_normal", initializers.lecun_normal(), init.LecunNormal(seed=1), "normal", truncated),
        ("glorot_normal", initializers.glorot_normal(), init.GlorotNormal(seed=2), "normal", truncated),
        ("he_normal", initializers.he_normal(), init.HeNormal(seed=3), "normal", truncated),
        ("lecun_uniform", initializers.lecun_uniform(), init.LecunUniform(seed=4), "uniform", ""),
        ("glorot_uniform", initializers.glorot_uniform(), init.GlorotUniform(seed=5), "uniform", ""),
        ("he_uniform", initializers.he_uniform(), init.HeUniform(seed=6), "uniform", ""),
        ("normal", initializers.normal(0.01), init.RandomNormal(stddev=0.01, seed=7), "normal", ""),
    ):
        left, right = ours(initializer, shape), theirs_of_keras(theirs, shape)
        assert_same_distribution(agree, name, "keras", left, right, family, remark)


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (7, 7), (3, 3, 2, 5)])
def test_orthogonal_gram_matrices(torch, keras, agree, shape):
    def smaller_gram(kernel):
        matrix = kernel.reshape(-1, shape[-1])
        return matrix @ matrix.T if len(matrix) <= shape[-1] else matrix.T @ matrix

    left = smaller_gram(ours(initializers.orthogonal(1.5), shape))
    right = smaller_gram(theirs_of_torch(torch, lambda w: torch.nn.init.orthogonal_(w, gain=1.5), shape))
    agree("initializers.orthogonal", "torch", "smaller Gram matrix", left, right, remark="gain 1.5")
    right = smaller_gram(theirs_of_keras(keras.initializers.Orthogonal(gain=1.5, seed=8), shape))
    agree("initializers.orthogonal", "keras", "smaller Gram matrix", left, right, remark="gain 1.5")


def test_orthogonal_is_uniform_over_the_orthogonal_matrices(torch, agree):
    """Without the signs of R's diagonal a QR decomposition favours some; entry (0, 0) would show it."""
    number, shape = 4000, (3, 3)
    keys = jax.random.split(jax.random.key(1), number)
    left = np.asarray(jax.vmap(lambda key: initializers.orthogonal()(key, shape))(keys), np.float64)
    right = np.stack([torch.nn.init.orthogonal_(torch.empty(shape)).numpy() for _ in range(number)])
    allowed = math.sqrt(-math.log(1e-6 / 2) / 2) * math.sqrt(2 / number)
    for what, entry in (("first entry", lambda q: q[:, 0, 0]), ("trace", lambda q: np.trace(q, axis1=1, axis2=2))):
        statistic = stats.ks_2samp(entry(left), entry(right), method="asymp").statistic
        agree("initializers.orthogonal", "torch", f"distribution function of the {what}", statistic, 0.0, rtol=allowed,
              scale=1.0)  # fmt: skip


def test_sparse_counts(torch, agree):
    shape, num_nonzero = (64, 1000), 15
    left = ours(initializers.sparse(num_nonzero, stddev=0.5), shape)
    right = torch.empty(shape)
    torch.nn.init.sparse_(right, sparsity=1 - num_nonzero / shape[0], std=0.5)
    right = right.numpy().astype(np.float64)
    remark = "columns of (in, out); sparsity 1 - k / in"
    counts = [(kernel != 0).sum(0) for kernel in (left, right)]
    agree("initializers.sparse", "torch", "nonzero weights of each unit", *counts, remark=remark)
    counts = [(kernel != 0).sum(1) / kernel.shape[1] for kernel in (left, right)]
    share = num_nonzero / shape[0]
    interval = 6 * math.sqrt(2 * share * (1 - share) / shape[1])  # of 64 inputs: a false alarm in eight million
    agree("initializers.sparse", "torch", "share of the units of each input", *counts, rtol=interval, scale=1.0,
          remark=remark)  # fmt: skip
    left, right = left[left != 0], right[right != 0]
    assert_same_distribution(agree, "sparse", "torch", left, right, "normal", "the nonzero weights, std=0.5")


def test_identity(torch, keras, agree):
    left = ours(initializers.identity(), (3, 5))
    right = theirs_of_torch(torch, torch.nn.init.eye_, (3, 5))
    agree("initializers.identity", "torch", "kernel", left, right, remark="eye_")
    right = theirs_of_keras(keras.initializers.Identity(), (3, 5))
    agree("initializers.identity", "keras", "kernel", left, right)
    left = ours(initializers.identity(), (3, 5, 4, 6))
    right = theirs_of_torch(torch, torch.nn.init.dirac_, (3, 5, 4, 6))
    agree("initializers.identity", "torch", "kernel", left, right, remark="dirac_, windows of odd lengths")
