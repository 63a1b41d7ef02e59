"""Which programs keep their examples apart: the walk's answer against the Jacobian of losses by examples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from jaxdl.jaxprs import find_sites, trace

X = jax.random.normal(jax.random.key(0), (4, 3, 6))
W = jax.random.normal(jax.random.key(1), (6, 6))


def total(values):
    return jnp.sum(jnp.reshape(values, (values.shape[0], -1)), 1)


def spd(x):
    return jnp.swapaxes(x, 1, 2) @ x + jnp.eye(6)[None]


APART = {
    "elementwise": lambda w, x: total(jnp.where(x > 0, x, jnp.exp(x)) ** 2),
    "product": lambda w, x: total(x @ w),
    "product from the left": lambda w, x: total(jnp.einsum("ij,btj->itb", w, x).transpose(2, 0, 1)),
    "products of an example with itself": lambda w, x: total(jnp.einsum("bti,bsi->bts", x, x @ w)),
    "positions merged and parted": lambda w, x: total(jnp.reshape(jnp.reshape(x, (12, 6)) @ w, (4, 3, 6))),
    "merged behind": lambda w, x: total(jnp.reshape(jnp.reshape(jnp.swapaxes(x, 0, 1), (12, 6)), (3, 4, 6))[0]),
    "sort": lambda w, x: total(jnp.sort(x, 1) * jnp.arange(3.0)[None, :, None]),
    "argmax picked": lambda w, x: jnp.take_along_axis(x[:, 0], jnp.argmax(x[:, 0], 1)[:, None], 1)[:, 0],
    "cumulative": lambda w, x: total(jnp.cumsum(x, 1) ** 2),
    "softmax": lambda w, x: total(jax.nn.log_softmax(x @ w)[:, :, 1]),
    "top k": lambda w, x: total(lax.top_k(x, 2)[0]),
    "pooling": lambda w, x: total(nn.max_pool(x, (2,)) * nn.avg_pool(x, (2,))),
    "convolution": lambda w, x: total(
        nn.Conv(2, (1,)).apply({"params": {"kernel": w[None, :, :2], "bias": w[0, :2]}}, x)
    ),
    "layer normalization": lambda w, x: total(jax.nn.standardize(x, axis=(1, 2)) ** 3),
    "flipped positions": lambda w, x: total(jnp.flip(x, 1) * x),
    "rolled positions": lambda w, x: total(jnp.roll(x, 1, 1) * x),
    "padded": lambda w, x: total(jnp.pad(x, ((0, 0), (1, 2), (0, 0))) ** 2),
    "dynamic slice": lambda w, x: total(lax.dynamic_slice_in_dim(x, 1, 2, axis=1)),
    "dynamic update": lambda w, x: total(x.at[:, 1].set(0.0) * x.at[:, 0, 2].add(1.0)),
    "update by each": lambda w, x: total(x.at[:, 1].set(x[:, 0]) * x.at[:, 0].multiply(x[:, 2])),
    "scatter by each": lambda w, x: total(
        jax.vmap(lambda x, i: x.at[i].add(1.0))(x, (x[:, 0, 0] > 0).astype(int)) ** 2
    ),
    "gather": lambda w, x: total(x[:, jnp.array([2, 0])] * 2),
    "vmapped": lambda w, x: jax.vmap(lambda one: jnp.sum(jnp.linalg.norm(one @ w, axis=0)))(x),
    "linear algebra": lambda w, x: jnp.linalg.slogdet(spd(x))[1] + total(jnp.linalg.cholesky(spd(x))),
    "solve": lambda w, x: total(jnp.linalg.solve(spd(x), jnp.swapaxes(x, 1, 2))),
    "eigenvalues": lambda w, x: total(jnp.linalg.eigvalsh(spd(x)) ** 2),
    "fourier": lambda w, x: total(jnp.abs(jnp.fft.rfft(x, axis=2))),
    "scan over positions": lambda w, x: total(
        lax.scan(lambda h, x: (jnp.tanh(x @ w + h), h), jnp.zeros((4, 6)), jnp.swapaxes(x, 0, 1))[1].swapaxes(0, 1)
    ),
    "loop over examples": lambda w, x: lax.map(lambda one: jnp.sum(jnp.sin(one @ w)), x),
    "branches": lambda w, x: total(lax.cond(w[0, 0] > 0, lambda: x @ w, lambda: x)),
    "fixed loop": lambda w, x: total(lax.fori_loop(0, 3, lambda i, h: jnp.tanh(h @ w), x)),
    "remat and jit": lambda w, x: total(jax.checkpoint(jax.jit(lambda x: jnp.tanh(x @ w)))(x)),
    "statistics that are not used": lambda w, x: (total(x @ w), jnp.mean(x @ w))[0],
    "one-hot": lambda w, x: total(jax.nn.one_hot((x[:, :, 0] > 0).astype(int), 6) * x),
}

MIXED = {
    "mean": ("reduce_sum", lambda w, x: total(x - jnp.mean(x, 0, keepdims=True))),
    "largest": ("reduce_max", lambda w, x: total(x / jnp.max(jnp.abs(x)))),
    "stopped mean": ("reduce_sum", lambda w, x: total(x * lax.stop_gradient(jnp.mean(x)))),
    "sorted examples": ("sort", lambda w, x: total(jnp.sort(x, 0) * jnp.arange(4.0)[:, None, None])),
    "cumulative": ("cumsum", lambda w, x: total(jnp.cumsum(x, 0))),
    "flipped": ("rev", lambda w, x: total(x[::-1])),
    "shifted": ("slice", lambda w, x: total(jnp.roll(x, 1, 0) * x)),
    "concatenated": (
        "concatenate",
        lambda w, x: total(jnp.concatenate([x, x]) ** 2)[:4] + jnp.sum(jnp.concatenate([x, x])),
    ),
    "contrastive": ("dot_general", lambda w, x: total(jnp.einsum("ati,bti->ab", x, x))),
    "contracted": (
        "dot_general",
        lambda w, x: total(jnp.einsum("bti,btj->tij", x, x)[:, 0])[:1] * jnp.ones(4) + total(x),
    ),
    "all pairs": ("sub", lambda w, x: total((x[:, None] - x[None]) ** 2)),
    "picked from others": ("gather", lambda w, x: total(x[(x[:, 0, 0] > 0).astype(int)])),
    "merged and reduced": ("reduce_sum", lambda w, x: total(x) * jnp.sum(jnp.reshape(x, (12, 6)) @ w)),
    "cut and reduced": ("reshape", lambda w, x: total(x) * jnp.max(jnp.reshape(x, (2, 2, 18)))),
    "batch norm": ("reduce_sum", lambda w, x: total(jax.nn.standardize(x @ w, axis=0) ** 3)),
    "carried along": ("scan", lambda w, x: lax.scan(lambda h, x: (h + jnp.sum(x), jnp.sum(x * h)), 0.0, x)[1]),
    "branch by all": (
        "reduce_sum",
        lambda w, x: lax.cond(jnp.sum(x) > jnp.sum(X) + 0.01, lambda: total(x), lambda: total(-x)),
    ),
    "pooled": (
        "reduce_window_max",
        lambda w, x: total(nn.max_pool(x.transpose(1, 0, 2), (2,), padding="SAME").transpose(1, 0, 2)),
    ),
    "convolved": (
        "conv_general_dilated",
        lambda w, x: total(
            lax.conv_general_dilated(x.transpose(1, 2, 0), jnp.stack([w, w], -1), (1,), "SAME").transpose(2, 0, 1)
        ),
    ),
    "fourier": ("fft", lambda w, x: total(jnp.abs(jnp.fft.fft(x, axis=0)))),
    "median of all": (("sort", "reduce_or"), lambda w, x: total(x) * jnp.median(x)),
    "written over": (("slice", "scatter"), lambda w, x: total(x.at[0].set(x[1]))),
}


def label_of(fn):
    return find_sites(trace(fn, W, X), num_params=1).losses


def entangled(fn):
    """Whether some loss changes with another example; found by changing them one after the other."""
    values = np.asarray(fn(W, X))
    for i in range(4):
        for shift in (0.3, -2.0):
            changed = np.asarray(fn(W, X.at[i].add(shift * jnp.sin(jnp.arange(18.0).reshape(3, 6)))))
            others = np.arange(4) != i
            if not np.allclose(changed[others], values[others], rtol=1e-5, atol=1e-6):
                return True
    return False


@pytest.mark.parametrize("name", APART)
def test_apart(name):
    label = label_of(APART[name])
    assert label.mixed is None, label.mixed
    assert label.examples == (0, 1, 1)
    assert not entangled(APART[name])


@pytest.mark.parametrize("name", MIXED)
def test_mixed(name):
    primitive, fn = MIXED[name]
    label = label_of(fn)
    assert label.mixed is not None
    assert label.mixed.operation.startswith(primitive), label.mixed
    assert entangled(fn)
    assert "test_example_axis.py:" in label.mixed.place or "flax" in label.mixed.place


def test_what_is_not_known_is_not_taken_to_be_apart():
    label = label_of(lambda w, x: total(jax.pure_callback(np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), x)))
    assert label.mixed is not None
    assert label.mixed[:2] == ("pure_callback", "is not known to keep examples apart")


def test_values_that_go_by_position_are_noted():
    found = find_sites(trace(lambda w, x: total((x @ w) * jnp.arange(4.0)[:, None, None]), W, X), num_params=1)
    assert found.losses.mixed is None
    assert len(found.positional) == 1
    assert found.positional[0].startswith("mul at ")
    for constant in (jnp.ones((4, 1, 1)), jnp.arange(6.0)[None, None]):
        same = find_sites(
            trace(lambda w, x, c=constant: total((x @ w) * jnp.ones((4, 3, 6)) * c[:1]), W, X), num_params=1
        )
        assert not same.positional


def test_a_parameter_with_an_entry_for_every_example_is_opaque():
    found = find_sites(trace(lambda w, x: total(x * w), jnp.ones((4, 3, 6)), X), num_params=1)
    assert found.opaque == {0: "has entries of its own for every example"}
    assert found.positional
