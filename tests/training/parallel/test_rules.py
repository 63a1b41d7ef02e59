import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec

from jaxdl.training.parallel import fully_sharded

PARAMS = {
    "conv": {"kernel": jnp.zeros((3, 3, 8, 24)), "bias": jnp.zeros(24)},
    "dense": {"kernel": jnp.zeros((100, 10)), "bias": jnp.zeros(10)},
    "scale": jnp.zeros(()),
    "empty": jnp.zeros((0, 8)),
}


@pytest.mark.parametrize(
    ("rule", "devices", "expected"),
    [
        (fully_sharded(min_size=1), 1, {}),
        (
            fully_sharded(min_size=1),
            2,
            {
                "conv/kernel": PartitionSpec(None, None, None, "data"),
                "conv/bias": PartitionSpec("data"),
                "dense/kernel": PartitionSpec("data"),
                "dense/bias": PartitionSpec("data"),
            },
        ),
        # The largest dimension is not divisible, the next one is.
        (fully_sharded(min_size=100), 5, {"dense/kernel": PartitionSpec("data")}),
        (fully_sharded(min_size=100), 3, {"conv/kernel": PartitionSpec(None, None, None, "data")}),
        (fully_sharded(min_size=1), 9, {}),
        (fully_sharded(min_size=1, where="dense/b*"), 10, {"dense/bias": PartitionSpec("data")}),
        (fully_sharded(min_size=1, where=["*/bias"]), 8, {"conv/bias": PartitionSpec("data")}),
    ],
)  # fmt: skip
def test_the_largest_dimension_that_the_devices_divide(rule, devices, expected):
    hash(rule)
    if devices > 1 and not expected:
        with pytest.raises(ValueError, match=r"parameters: expected a rule that shards some parameter over 9 devices"):
            rule.specs(PARAMS, devices)
    else:
        assert rule.specs(PARAMS, devices) == expected
        assert rule.specs(jax.eval_shape(lambda: PARAMS), devices) == expected


def test_another_dimension_where_the_largest_cannot_be_divided():
    rule = fully_sharded(min_size=1)
    assert rule.specs({"w": jnp.zeros((7, 6))}, 3) == {"w": PartitionSpec(None, "data")}


def test_errors():
    with pytest.raises(ValueError, match=r"min_size: expected a whole number >= 1; got 0\. 4096 keeps"):
        fully_sharded(min_size=0)
    message = (
        r"parameters: .* over 2 devices; of those chosen by where='dense/\*', 0 have at least 5000 entries, .* Lower"
    )
    with pytest.raises(ValueError, match=message):
        fully_sharded(min_size=5000, where="dense/*").specs(PARAMS, 2)
    with pytest.raises(ValueError, match=r"where='attention/\*' matches no leaf"):
        fully_sharded(where="attention/*").specs(PARAMS, 2)
