"""Shares of skip connections against I + F' written out in NumPy (catalogue T16)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.diagnostics import NotApplicable, SkipShare, Thresholds, skip_share
from tests.diagnostics import networks

BLOCKS = 3
X = np.random.RandomState(0).randn(5, 4).astype(np.float32)
C = np.random.RandomState(1).randn(4).astype(np.float32)
A = 0.5 * np.random.RandomState(2).randn(BLOCKS, 4, 6).astype(np.float32)
B = 0.5 * np.random.RandomState(3).randn(BLOCKS, 6, 4).astype(np.float32)


def by_hand():
    """Both norms of every block of x + tanh(x A) B, examples together; the loss is the mean of x_K C."""
    states, x = [], X.astype(np.float64)
    for a, b in zip(A, B, strict=True):
        states.append(np.tanh(x @ a))
        x = x + states[-1] @ b
    g = np.broadcast_to(C / len(X), X.shape).astype(np.float64)
    rows = []
    for a, b, h in zip(A[::-1], B[::-1], states[::-1], strict=True):
        through = ((g @ b.T) * (1 - h**2)) @ a.T
        rows.append((np.linalg.norm(g), np.linalg.norm(through)))
        g = g + through
    return np.array(rows[::-1]).T


def block(x, a, b):
    return x + jnp.tanh(x @ a) @ b


def named(a=A, b=B):
    return {f"block_{i}": {"a": {"w": a[i]}, "b": {"w": b[i]}} for i in range(len(a))}


def chain(params, x):
    for weights in params.values():
        x = block(x, weights["a"]["w"], weights["b"]["w"])
    return x @ C


def test_blocks_against_the_chain_rule_by_hand():
    found = skip_share(chain, named(), X)
    assert found.blocks == ("block_0", "block_1", "block_2")
    identity, branch = by_hand()
    np.testing.assert_allclose(found.identity, identity, rtol=1e-4)
    np.testing.assert_allclose(found.branch, branch, rtol=1e-4)
    np.testing.assert_allclose(found.share, identity / (identity + branch), rtol=1e-4)


@pytest.mark.parametrize("wrapped", [lambda f: f, jax.checkpoint, jax.jit], ids=["plain", "remat", "jit"])
def test_a_stack_of_blocks_in_a_scan_is_a_row_for_each(wrapped):
    def stacked(params, x):
        turn = wrapped(lambda h, w: (block(h, w["a"], w["b"]), None))
        return jax.lax.scan(turn, x, params["stack"])[0] @ C

    found = skip_share(stacked, {"stack": {"a": A, "b": B}}, X)
    # Two weights under one name are one layer here, as everywhere.
    assert found.blocks == ("stack[0]", "stack[1]", "stack[2]")
    np.testing.assert_allclose([found.identity, found.branch], by_hand(), rtol=1e-4)


def test_a_stack_of_stacks():
    def nested(params, x):
        inner = lambda h, w: (block(h, w["a"], w["b"]), None)  # noqa: E731
        outer = lambda h, ws: (jax.lax.scan(inner, h, ws)[0], None)  # noqa: E731
        return jax.lax.scan(outer, x, params["stack"])[0] @ C

    both = {"a": jnp.stack([A[:1], A[1:2], A[2:]]), "b": jnp.stack([B[:1], B[1:2], B[2:]])}
    found = skip_share(nested, {"stack": both}, X)
    assert found.blocks == ("stack[0][0]", "stack[1][0]", "stack[2][0]")
    np.testing.assert_allclose([found.identity, found.branch], by_hand(), rtol=1e-4)


def test_a_block_that_recurs_is_one_row():
    def recurrent(params, x):
        return jax.lax.scan(lambda h, _: (block(h, params["a"], params["b"]), None), x, None, length=BLOCKS)[0] @ C

    found = skip_share(recurrent, {"a": A[0], "b": B[0]}, X)
    assert found.blocks == ("a, b",)
    unrolled = skip_share(chain, named(np.stack([A[0]] * BLOCKS), np.stack([B[0]] * BLOCKS)), X)
    np.testing.assert_allclose(found.identity[0], np.linalg.norm(unrolled.identity), rtol=1e-4)
    np.testing.assert_allclose(found.branch[0], np.linalg.norm(unrolled.branch), rtol=1e-4)


def test_another_way_past_the_block_is_no_part_of_either_share():
    """A U-net's long connection from x to the end adds to the gradient of x, and to neither norm."""
    long = lambda params, x: chain(params, x) + 100 * x.sum(-1)  # noqa: E731
    found = skip_share(long, named(), X)
    np.testing.assert_allclose([found.identity, found.branch], by_hand(), rtol=1e-4)

    def from_the_middle(params, x):
        x = block(x, A[0], B[0])
        y = block(x, params["block_1"]["a"]["w"], params["block_1"]["b"]["w"])
        y = block(y, params["block_2"]["a"]["w"], params["block_2"]["b"]["w"])
        return y @ C + 100 * x.sum(-1)

    found = skip_share(from_the_middle, named(), X)
    np.testing.assert_allclose([found.identity, found.branch], by_hand()[:, 1:], rtol=1e-4)


def test_what_is_added_and_is_no_residual_block():
    gelu = lambda p, x: (jax.nn.gelu(x @ p["w"]) + jax.nn.softplus(x @ p["w"])).sum(-1)  # noqa: E731
    with pytest.raises(NotApplicable, match=r"expected a model with residual blocks, additions x \+ F\(x\)"):
        skip_share(gelu, {"w": A[0]}, X)
    projected = lambda p, x: (x @ p["u"] + jnp.tanh(x @ p["w"])).sum(-1)  # noqa: E731
    with pytest.raises(NotApplicable):
        skip_share(projected, {"u": A[0], "w": A[1]}, X)
    for network in (networks.mlp, networks.rnn, networks.seq2seq):
        with pytest.raises(NotApplicable):
            skip_share(*network()[:3])
    constant = jnp.asarray(np.ones((5, 4), np.float32))
    with pytest.raises(NotApplicable):
        skip_share(lambda p, x: (constant + (constant * x) @ p["w"]).sum(-1), {"w": A[0][:, :4]}, X)


def test_a_skip_that_is_cast_or_reshaped_and_one_on_the_left():
    def losses(params, x):
        for weights in params.values():
            h = x.astype(jnp.float16).astype(jnp.float32).reshape(5, 2, 2)
            x = (jnp.tanh(x @ weights["a"]["w"]) @ weights["b"]["w"]).reshape(5, 2, 2) + h
            x = x.reshape(5, 4)
        return x @ C

    found = skip_share(losses, named(), X)
    assert found.blocks == ("block_0", "block_1", "block_2")
    np.testing.assert_allclose([found.identity, found.branch], by_hand(), rtol=3e-3)


def test_the_resnet_in_flax_and_its_skips_cut():
    objective, params, batch, _ = networks.resnet(3)
    found = skip_share(objective, params, batch)
    assert found.blocks == ("block_0", "block_1", "block_2")
    # With zero weights at the end of a branch nothing comes back through it, and g is the same in every block.
    idle = jax.tree_util.tree_map_with_path(lambda path, leaf: 0 * leaf if "second" in str(path) else leaf, params)
    idled = skip_share(objective, idle, batch)
    np.testing.assert_allclose(idled.share, 1)
    np.testing.assert_allclose(idled.identity, idled.identity[-1], rtol=1e-5)
    assert "the branch is idle at block_0, block_1, block_2" in idled.verdict()


def test_vmap_and_bfloat16():
    many = jax.vmap(lambda p: skip_share(chain, p, X))(named(np.stack([A, A / 2], 1), np.stack([B, B], 1)))
    one = skip_share(chain, named(A / 2, B), X)
    np.testing.assert_allclose(many[1].branch, one.branch, rtol=1e-4)
    with pytest.raises(ValueError, match=r"skips: expected one measurement, .* got shape \(2, 3\)"):
        many.table()
    halves = jax.tree.map(lambda w: jnp.asarray(w, jnp.bfloat16), named())
    losses = lambda p, x: chain(p, x.astype(jnp.bfloat16)).astype(jnp.float32)  # noqa: E731
    half = skip_share(losses, halves, X)
    assert half.identity.dtype == jnp.float32
    np.testing.assert_allclose([half.identity, half.branch], by_hand(), rtol=0.05)


def skips(share):
    share = np.asarray(share, np.float64)
    return SkipShare(share, 1 - share, tuple(f"block_{i}" for i in range(len(share))))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (skips([0.4, 0.6]), ["50 % of the gradient flows through the skips of 2 residual blocks",
                             "from 40 % at block_0 to 60 % at block_1: healthy"]),
        (skips([0.4, 0.11]), ["healthy"]),
        (skips([0.4, 0.09]), ["the branch drowns the skip at block_1"]),
        (skips([0.989]), ["of 1 residual block,", "healthy"]),
        (skips([0.992, 0.5, 0.05]), ["drowns the skip at block_2 and the branch is idle at block_0"]),
        (skips([0.5, np.nan]), ["gradient is not finite at 1 of 2 residual blocks, the first of them block_1"]),
        (SkipShare(np.zeros(2), np.zeros(2), ("a", "b")),
         ["no gradient at all arrives at 2 of 2 residual blocks, the last of them b"]),
    ],
)  # fmt: skip
def test_verdict(found, words):
    for word in words:
        assert word in found.verdict(), found.verdict()


def test_table_picture_and_bounds(tmp_path):
    found = skips([0.25, 0.75, np.nan])
    lines = found.table().splitlines()
    assert lines[1].split() == ["block_0", "0.25", "0.75", "0.25"]
    assert lines[3].split() == ["block_2", "nan", "nan", "nan"]
    figure = found.plot(tmp_path / "skips.png")
    assert (tmp_path / "skips.png").stat().st_size > 1000
    assert [bar.get_height() for bar in figure.axes[0].patches] == [0.25, 0.75, 0, 0.75, 0.25, 0]
    assert "drowns" in skips([0.4]).verdict(Thresholds(drowned_skip=0.5))
    assert "idle" in skips([0.9]).verdict(Thresholds(idle_branch=0.2))
