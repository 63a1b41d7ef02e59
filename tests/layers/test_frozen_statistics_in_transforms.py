"""Frozen running statistics inside of scans, nn.vmap and nn.jit, which keeps traces and shares them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxdl
from jaxdl.layers import freeze_statistics

X = np.random.RandomState(0).randn(6, 4).astype(np.float32)


def started(model):
    """Variables with running means of 0.5 and running variances of 1.5."""
    variables = model.init(jax.random.key(1), X)
    shifted = jax.tree.map(lambda leaf: leaf + 0.5, variables["batch_stats"])
    return {"params": variables["params"], "batch_stats": shifted}


class Cell(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        x = nn.BatchNorm(use_running_average=False, name="frozen")(nn.Dense(4)(x))
        return nn.BatchNorm(use_running_average=False, name="free")(x), None


class Stack(nn.Module):
    cell: type[nn.Module] = Cell

    @nn.compact
    def __call__(self, x):
        axes = {"params": 0, "batch_stats": 0}
        return nn.scan(self.cell, variable_axes=axes, split_rngs={"params": True}, length=3)(name="cells")(x, None)[0]


@pytest.mark.parametrize("cell", [Cell, nn.remat(Cell)], ids=["scan", "scan of remat"])
def test_layers_stacked_by_a_scan(cell, same_bytes):
    """Layer by layer: (x W + b - mean) / sqrt(var + eps) by the running statistics, then by those of the batch."""
    model = freeze_statistics(Stack(cell), where="cells/frozen/*")
    variables = started(model)
    for apply in (model.apply, jax.jit(model.apply, static_argnames="train")):
        outputs, state = apply(variables, X, train=True)
        same_bytes(state["batch_stats"]["cells"]["frozen"], variables["batch_stats"]["cells"]["frozen"])
        assert np.all(np.abs(state["batch_stats"]["cells"]["free"]["mean"] - 0.5) > 1e-3)
        hidden, dense = X.astype(np.float64), variables["params"]["cells"]["Dense_0"]
        for layer in range(3):
            hidden = hidden @ np.asarray(dense["kernel"][layer]) + np.asarray(dense["bias"][layer])
            hidden = (hidden - 0.5) / np.sqrt(1.5 + 1e-5)
            hidden = (hidden - hidden.mean(0)) / np.sqrt(hidden.var(0) + 1e-5)
        np.testing.assert_allclose(outputs, hidden, rtol=1e-3, atol=1e-3)


def test_batch_norm_over_time_and_over_members_of_a_vmap(same_bytes):
    class Vmapped(nn.Module):
        @nn.compact
        def __call__(self, x):
            norms = nn.vmap(nn.BatchNorm, variable_axes={"params": 0, "batch_stats": 0}, split_rngs={"params": True},
                            axis_size=2)  # fmt: skip
            return norms(use_running_average=False)(jnp.stack([x, 2 * x]))

    model = freeze_statistics(Vmapped(), where=None)
    variables = started(model)
    outputs, state = model.apply(variables, X, train=True)
    same_bytes(state, {"batch_stats": variables["batch_stats"]})
    np.testing.assert_allclose(outputs[1], (2 * X - 0.5) / np.sqrt(1.5 + 1e-5), rtol=1e-5, atol=1e-6)


JITTED_NORM = nn.jit(nn.BatchNorm)


class Jitted(nn.Module):
    @nn.compact
    def __call__(self, x):
        return JITTED_NORM(use_running_average=False, name="norm")(x)


def test_a_model_of_ones_own_that_hands_on_the_same_collections_always(same_bytes):
    """So that nn.jit would find the trace of training here, and one made here in training."""

    def apply(variables, x, *, train=False, key=None):
        only = {name: variables[name] for name in ("params", "batch_stats")}
        outputs, state = Jitted().apply(only, x, mutable=["batch_stats"])
        return outputs, dict(state)

    model = jaxdl.Model(lambda key, x: Jitted().init(key, x), apply)
    variables = started(model)
    expected = model.apply(variables, X, train=True)
    for _ in range(2):
        outputs, state = freeze_statistics(model, where="norm/*").apply(variables, X, train=True)
        np.testing.assert_allclose(outputs, (X - 0.5) / np.sqrt(1.5 + 1e-5), rtol=1e-5)
        same_bytes(state, {"batch_stats": variables["batch_stats"]})
        same_bytes(model.apply(variables, X, train=True), expected)


class Siblings(nn.Module):
    @nn.compact
    def __call__(self, x):
        return JITTED_NORM(use_running_average=False, name="b")(JITTED_NORM(use_running_average=False, name="a")(x))


@pytest.mark.parametrize("outer", [Siblings, nn.jit(Siblings)], ids=["jit", "jit in jit"])
def test_layers_alike_are_told_apart(outer):
    class Whole(nn.Module):
        @nn.compact
        def __call__(self, x):
            return outer(name="block")(x)

    for name in ("a", "b", "a"):
        model = freeze_statistics(Whole(), where=f"block/{name}/*")
        variables = started(model)
        for apply in (model.apply, model.apply, jax.jit(model.apply, static_argnames="train")):
            _, state = apply(variables, X, train=True)
            means = {layer: leaves["mean"] for layer, leaves in state["batch_stats"]["block"].items()}
            moved = {layer for layer, mean in means.items() if np.abs(mean - 0.5).max() > 1e-4}
            assert moved == {"a", "b"} - {name}


def test_layers_that_share_a_trace_are_never_frozen_together(same_bytes):
    class Twins(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            return JITTED_NORM(use_running_average=False, name="b")(JITTED_NORM(False, name="a")(x)), None

    model = freeze_statistics(Stack(Twins), where="cells/a/*")
    message = (
        r"model: expected layers that can be told apart; got statistics that would stay although where does not choose "
        r"them: batch_stats/cells/b/mean, batch_stats/cells/b/var\. flax\.linen\.jit takes one trace"
    )
    plain = jaxdl.as_model(Stack(Twins))
    variables = started(model)
    expected = plain.apply(variables, X, train=True)
    for _ in range(2):
        with pytest.raises(ValueError, match=message):
            model.apply(variables, X, train=True)
        same_bytes(plain.apply(variables, X, train=True), expected)
    outputs, _ = freeze_statistics(Stack(Twins), where=None).apply(variables, X, train=True)
    hidden = X.astype(np.float64)
    for _ in range(6):
        hidden = (hidden - 0.5) / np.sqrt(1.5 + 1e-5)
    np.testing.assert_allclose(outputs, hidden, rtol=1e-4, atol=1e-5)
