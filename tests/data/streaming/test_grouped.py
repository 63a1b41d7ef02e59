"""Groups of batches, and the states within them."""

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec, SingleDeviceSharding

from jaxdl.data.streaming import as_stream, stream
from jaxdl.data.streaming.grouped import Groups, of_group


def batches(count, rows=2, width=3):
    return [np.full((rows, width), i, np.float32) for i in range(count)]


def values(group):
    return group[:, 0, 0].tolist()


@pytest.mark.parametrize(
    ("width", "length"), [(3, 64), (8 << 20 >> 5, 4), (8 << 20 >> 3, 1), (1 + (8 << 20 >> 3), 1), (0, 64)]
)
def test_the_length_follows_from_the_bytes(width, length):
    group = next(Groups(as_stream(iter(batches(64 if length == 64 else 8, width=width)), batch_size=2).make_iterator()))
    assert group.shape == (length, 2, width)  # 8 MiB, or 64 batches


def test_states_are_those_before_and_after_each_batch():
    iterator = as_stream(iter(batches(70)), batch_size=2).make_iterator()
    groups = Groups(iterator)
    assert groups.get_state()["batches"] == 0
    assert values(next(groups)) == list(range(64))
    assert [state["batches"] for state in groups.get_state()["states"]] == list(range(65))
    assert values(next(groups)) == [*range(64, 70), *[69] * 58]
    assert [state["batches"] for state in groups.get_state()["states"]] == list(range(64, 71))
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(groups)


def test_no_batch_is_drawn_from_stop_on():
    source = iter(batches(100))
    groups = Groups(as_stream(source, batch_size=2).make_iterator(), stop=66)
    next(groups)
    assert values(next(groups))[:3] == [64, 65, 65]
    with pytest.raises(StopIteration):
        next(groups)
    assert next(source)[0, 0] == 66


def test_nothing_is_drawn_for_a_run_that_is_done():
    source = iter(batches(3))
    groups = Groups(as_stream(source, batch_size=2).make_iterator(), stop=0)
    with pytest.raises(StopIteration):
        next(groups)
    assert next(source)[0, 0] == 0


def test_a_group_begins_where_a_state_says(key, table, same_bytes):
    made = stream(table(11), batch_size=3, key=key)
    groups = Groups(made.make_iterator())
    next(groups)
    place = groups.get_state()["states"][5]
    groups.set_state(place)
    assert groups.get_state()["batches"] == 5
    iterator = made.make_iterator()
    iterator.set_state(place)
    same_bytes([jax.tree.map(lambda leaf: leaf[0], next(groups))], [next(iterator)])


def test_an_error_waits_for_the_batches_before_it():
    def broken():
        yield from batches(3)
        raise KeyError("x")

    groups = Groups(as_stream(broken(), batch_size=2).make_iterator())
    next(groups)
    assert len(groups.get_state()["states"]) == 4
    for _ in range(2):
        with pytest.raises(KeyError):
            next(groups)
    assert groups.get_state()["batches"] == 3


def test_an_error_is_forgotten_when_going_elsewhere(source):
    groups = Groups(stream(source(8, broken=[5]), batch_size=2, shuffle=False).make_iterator())
    next(groups)
    with pytest.raises(RuntimeError, match="record 5 of"):
        next(groups)
    groups.set_state({"batches": 3})
    assert next(groups)[1][0].tolist() == [6, 7]
    groups.close()


def test_the_sharding_of_a_group_leaves_its_first_axis_whole():
    mesh = jax.make_mesh((1,), ("data",))
    assert of_group(NamedSharding(mesh, PartitionSpec("data"))).spec == PartitionSpec(None, "data")
    single = SingleDeviceSharding(jax.devices()[0])
    assert of_group(single) is single
    assert of_group(None) is None
