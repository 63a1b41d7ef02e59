"""Rewritten convolutions are the same convolutions, of every kind and wherever they stand, and faster in a loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxdl.training.convolutions import CONVOLUTION, canonical_convolutions

KINDS = {
    "1d": (nn.Conv(3, (3,)), (2, 8, 2)),
    "2d": (nn.Conv(3, (3, 2)), (2, 6, 5, 2)),
    "3d": (nn.Conv(2, (2, 2, 2)), (2, 4, 4, 4, 1)),
    "strided": (nn.Conv(3, (3, 3), strides=2, padding="VALID"), (2, 7, 7, 2)),
    "dilated": (nn.Conv(3, (3, 3), kernel_dilation=2), (2, 7, 7, 2)),
    "input dilated": (nn.Conv(3, (3, 3), input_dilation=2, padding=((1, 1), (1, 1))), (2, 5, 5, 2)),
    "grouped": (nn.Conv(4, (3, 3), feature_group_count=2), (2, 5, 5, 4)),
    "depthwise": (nn.Conv(6, (3, 3), feature_group_count=3), (2, 5, 5, 3)),
    "transposed": (nn.ConvTranspose(3, (3, 3), strides=(2, 2)), (2, 5, 5, 2)),
    "local": (nn.ConvLocal(3, (3, 3)), (2, 5, 5, 2)),
}


def gradient_of(module):
    def gradient(params, x):
        value_and_grads = jax.value_and_grad(lambda p, x: jnp.sin(module.apply(p, x)).sum(), argnums=(0, 1))
        return value_and_grads(params, x)

    return gradient


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_with_both_its_gradients(kind):
    module, shape = KINDS[kind]
    x = jnp.asarray(np.random.RandomState(0).randn(*shape), jnp.float32)
    params = module.init(jax.random.key(0), x)
    plain, rewritten = gradient_of(module)(params, x), canonical_convolutions(gradient_of(module))(params, x)
    assert jax.tree.structure(plain) == jax.tree.structure(rewritten)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), plain, rewritten)


def layouts(jaxpr):
    """The dimension numbers of all convolutions of a program, at any depth."""
    for eqn in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        if eqn.primitive.name == CONVOLUTION:
            yield eqn.params["dimension_numbers"]
        for value in eqn.params.values():
            for item in value if isinstance(value, (tuple, list)) else (value,):
                if hasattr(getattr(item, "jaxpr", item), "eqns"):
                    yield from layouts(item)


WRAPPERS = {
    "jit": jax.jit,
    "remat": jax.checkpoint,
    "scan": lambda f: lambda x: jax.lax.scan(lambda c, _: (f(c), None), x, None, length=2)[0],
    "cond": lambda f: lambda x: jax.lax.cond(x.sum() > 0, f, lambda x: x, x),
    "jit in scan": lambda f: lambda x: jax.lax.scan(lambda c, _: (jax.jit(f)(c), None), x, None, length=2)[0],
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_convolutions_inside_other_programs(wrapper):
    kernel = jnp.asarray(np.random.RandomState(1).randn(2, 2, 3, 3), jnp.float32)
    convolve = lambda x: jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME")  # noqa: E731 (NCHW, OIHW)
    fn = lambda x: jax.grad(lambda x: WRAPPERS[wrapper](convolve)(x).sum())(x)  # noqa: E731
    x = jnp.asarray(np.random.RandomState(0).rand(2, 2, 5, 5), jnp.float32)
    np.testing.assert_allclose(canonical_convolutions(fn)(x), fn(x), rtol=1e-4, atol=1e-5)
    before, after = jax.make_jaxpr(fn)(x), jax.make_jaxpr(canonical_convolutions(fn))(x)
    found = list(layouts(after))
    assert len(found) == len(list(layouts(before))) > 0
    assert {(n.lhs_spec, n.rhs_spec, n.out_spec) for n in found} == {((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))}
    names = lambda jaxpr: [eqn.primitive.name for eqn in jaxpr.jaxpr.eqns if eqn.primitive.name != "transpose"]  # noqa: E731
    assert names(before) == names(after), "calls, loops and remats keep their kind"


def test_a_function_without_convolutions_is_called_as_it_is():
    calls = []

    def fn(x):
        calls.append(type(x))
        return 2 * x

    assert float(canonical_convolutions(fn)(jnp.float32(2))) == 4
    assert not issubclass(calls[-1], jax.core.Tracer)
