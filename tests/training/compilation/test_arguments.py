import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from jaxdl.training.compilation.arguments import arguments_of, changes, closest_changes, explained

X = jnp.zeros((32, 8))


def changed(before, now, *, old_static=None, new_static=None):
    return changes(arguments_of(before, old_static or {}), arguments_of(now, new_static or {}))


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (dict(batch=(X, X)), dict(batch=(X, X + 1)), []),
        (dict(x=X), dict(x=np.zeros((32, 8))), []),
        (dict(x=1.0), dict(x=2.5), []),
        (dict(x=X), dict(x=X[:31]), ["argument `x`: float32[31,8] now, float32[32,8] before"]),
        (
            dict(state={"w": X}, batch=(X, X)),
            dict(state={"w": X}, batch=(X[1:], X.astype(jnp.bfloat16))),
            [
                "argument `batch[0]`: float32[31,8] now, float32[32,8] before",
                "argument `batch[1]`: bfloat16[32,8] now, float32[32,8] before",
            ],
        ),
        (
            dict(state={"layer": {"w": X}}),
            dict(state={"layer": {"w": np.zeros((32, 8), np.int32)}}),
            ["argument `state['layer']['w']`: int32[32,8] now, float32[32,8] before"],
        ),
        (dict(rate=jnp.float32(1)), dict(rate=1.0), ["argument `rate`: weakly typed float32[] now, float32[] before"]),
        (dict(n=1), dict(n=True), ["argument `n`: bool[] now, weakly typed int32[] before"]),
        (
            dict(tree={"a": X, "b": X}),
            dict(tree={"a": X, "c": X}),
            [
                "argument `tree['c']`: float32[32,8] now, not there before",
                "argument `tree['b']`: not there now, float32[32,8] before",
            ],
        ),
        (dict(x=None), dict(x=X), ["argument `x`: float32[32,8] now, not there before"]),
        (
            dict(x=(X,)),
            dict(x=[X]),
            ["the structure of the arguments: PyTreeDef(([*],)) now, PyTreeDef(((*,),)) before"],
        ),
        (dict(x=X), dict(x=X, y=X), ["arguments `x`, `y` now, `x` before"]),
        (
            dict(key=jax.random.key(0)),
            dict(key=jax.random.key(0, impl="rbg")),
            ["argument `key`: key<rbg>[] now, key<fry>[] before"],
        ),
    ],
)
def test_what_differs(before, now, said):
    assert changed(before, now) == said


def test_static_values():
    said = changed(dict(x=X), dict(x=X), old_static=dict(n=3, mode="a"), new_static=dict(n=4, mode="a"))
    assert said == ["static argument `n`: 4 now, 3 before"]
    (long,) = changed({}, {}, old_static=dict(n="a"), new_static=dict(n="b" * 100))
    assert long == f"static argument `n`: '{'b' * 56}... now, 'a' before"


def test_shardings_of_one_device_are_alike():
    device = jax.devices()[0]
    named = NamedSharding(Mesh(np.array([device]), ("data",)), PartitionSpec("data"))
    base = arguments_of(dict(x=X), {})
    assert base.leaves[0].sharding == SingleDeviceSharding(device)
    assert changes(base, base._replace(leaves=(base.leaves[0]._replace(sharding=named),))) == []
    assert changes(base, base._replace(leaves=(base.leaves[0]._replace(sharding=None),))) == []


def test_the_outline_leaves_out_what_may_differ_once():
    weak, strong = arguments_of(dict(x=1.0), {}), arguments_of(dict(x=jnp.float32(1)), {})
    assert weak != strong
    assert weak.outline == strong.outline
    assert weak.outline != arguments_of(dict(x=jnp.zeros(1)), {}).outline


def test_the_closest_is_explained():
    known = [arguments_of(dict(x=X, y=X), {}), arguments_of(dict(x=X[1:], y=X[1:]), {})]
    now = arguments_of(dict(x=X[1:], y=X[2:]), {})
    assert closest_changes(known, now) == ["argument `y`: float32[30,8] now, float32[31,8] before"]
    assert closest_changes(known, known[1]) == []
    assert closest_changes([], now) == []


def test_a_long_list_is_cut():
    assert explained(list("abc")) == "a; b; c"
    assert explained(list("abcdefg")) == "a; b; c; d; e; and 2 more"
