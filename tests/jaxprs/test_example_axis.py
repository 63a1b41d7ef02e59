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
    "own positions": lambda w, x: (
        total(x[jnp.arange(4), jnp.argmax(x[:, :, 0], 1)] @ w)
        + total(x.at[jnp.arange(4), jnp.argmin(x[:, :, 1], 1)].set(0.0) ** 2)
    ),
    "own positions in two axes": lambda w, x: total(x[jnp.arange(4)[:, None], jnp.argmax(x, 1)[:, :2]]),
    "stacked": lambda w, x: total(jnp.stack([x, x @ w], -1)) * total(jnp.unstack(x, axis=1)[1]),
    "tiled": lambda w, x: total(jnp.tile(x, (1, 2, 1)) ** 2),
    "loop of each length": lambda w, x: jax.vmap(
        lambda x: lax.while_loop(lambda c: jnp.sum(c[0]) > 0.1, lambda c: (c[0] / 2 - c[1], c[1] + 1), (x, 0.0))[1]
    )(x),
    "loop over merged": lambda w, x: total(jnp.reshape(lax.map(jnp.sum, jnp.reshape(x, (12, 6))), (4, 3))),
    "tridiagonal": lambda w, x: total(
        lax.linalg.tridiagonal_solve(jnp.zeros((4, 3)), 1 + jnp.abs(x[..., 0]), jnp.zeros((4, 3)), x)
    ),
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
    "all in a loop over each": ("scan", lambda w, x: lax.map(lambda one: jnp.sum(one) * jnp.max(x), x)),
    "mean of loops": (
        "reduce_sum",
        lambda w, x: (
            total(x)
            * jnp.mean(
                jax.vmap(
                    lambda x: lax.while_loop(
                        lambda c: c[0] > 0.01, lambda c: (c[0] / 1.1, c[1] + 1), (jnp.sum(x * x), 0.0)
                    )[1]
                )(x)
            )
        ),
    ),
    "tridiagonal along": (
        "tridiagonal_solve",
        lambda w, x: total(
            lax.linalg.tridiagonal_solve(
                jnp.array([0.0, 1, 1, 1]), jnp.full((4,), 4.0), jnp.array([1.0, 1, 1, 0]), x[:, 0]
            )
        ),
    ),
    "own position of another": (
        "gather",
        lambda w, x: total(x[jnp.arange(4)[::-1], jnp.argmax(x[:, :, 0], 1)]),
    ),
    "tiled and parted": (
        ("reshape", "reduce_sum"),
        lambda w, x: total(jnp.reshape(jnp.tile(x, (2, 1, 1)), (4, 2, 3, 6))),
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


POSITIONAL = {
    "looped over": lambda w, x: lax.map(lambda a: jnp.sum(a[0]) * a[1], (x, jnp.arange(4.0))),
    "picked by each": lambda w, x: total(
        jnp.take_along_axis(jax.random.normal(jax.random.key(0), (4, 6)), jnp.argmax(x, -1), 1)
    ),
    "own positions as numbers": lambda w, x: total(
        jnp.concatenate([jnp.arange(4)[:, None], jnp.argmax(x, 1)], 1).astype(float)
    ),
}


@pytest.mark.parametrize("name", POSITIONAL)
def test_values_that_go_by_position_are_noted_in_loops_and_indices(name):
    found = find_sites(trace(POSITIONAL[name], W, X), num_params=1)
    assert found.losses.mixed is None
    assert found.positional


def test_constants_that_are_equal_for_all_examples_are_not_noted():
    constants = {
        "scattered": lambda: jnp.zeros((4, 3, 6)).at[:, 1].set(1.0),
        "norms": lambda: jnp.linalg.norm(jnp.ones((4, 3, 6)), axis=2, keepdims=True),
    }
    for constant in constants.values():
        assert not find_sites(trace(lambda w, x, c=constant: total(x * c()), W, X), num_params=1).positional


def test_a_derivative_of_its_own_that_mixes_examples():
    @jax.custom_vjp
    def centred(x):
        return x

    centred.defvjp(lambda x: (x, None), lambda kept, d: (d - jnp.mean(d, 0, keepdims=True),))
    label = label_of(lambda w, x: total(jnp.sin(centred(x @ w))))
    assert label.mixed is not None
    assert label.mixed.operation == "reduce_sum"
    assert "in the derivative of" in label.mixed.reason

    @jax.custom_vjp
    def turned(x):
        return x

    turned.defvjp(lambda x: (x, None), lambda kept, d: (-jnp.clip(d, -1, 1),))
    assert label_of(lambda w, x: total(jnp.sin(turned(x @ w)))).mixed is None
