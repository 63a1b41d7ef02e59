"""`stream`, against Grain's own record-by-record pipeline."""

import json
from pathlib import Path

import grain
import jax
import numpy as np
import pytest

from jaxdl.data.streaming import stream


class Noise(grain.transforms.RandomMap):
    def random_map(self, element, rng):
        x, y = element
        return x + rng.normal(size=x.shape).astype(x.dtype), y


class Half(grain.transforms.Map):
    def map(self, element):
        return {"half": element[0] / 2}


def seeds(key):
    return [int(seed) for seed in jax.random.bits(key, (2,), np.uint32)]


def by_grain(records, key, batch_size, transform=None):
    """The same stream by Grain's nodes, one record at a time."""
    order, draws = seeds(key)
    dataset = grain.MapDataset.source(records).shuffle(seed=order)
    if transform is not None:
        dataset = dataset.random_map(transform, seed=draws)
    return dataset.batch(batch_size, drop_remainder=True).repeat()


@pytest.mark.parametrize("kind", ["table", "source", "bulk_source"])
def test_the_batches_are_those_of_grains_own_pipeline(kind, source, request, key, first, same_bytes):
    ours = first(stream(request.getfixturevalue(kind)(11), batch_size=3, key=key), 8)
    theirs = by_grain(source(11), key, 3)
    same_bytes(ours, [theirs[i] for i in range(8)])


def test_the_draws_of_a_random_map_are_those_of_grain(source, key, first, same_bytes):
    ours = first(stream(source(11), batch_size=3, key=key, transform=Noise()), 8)
    theirs = by_grain(source(11), key, 3, Noise())
    same_bytes(ours, [theirs[i] for i in range(8)])
    assert not np.array_equal(ours[0][0], first(stream(source(11), batch_size=3, key=key), 1)[0][0])


@pytest.mark.parametrize("transform", [Half(), lambda element: {"half": element[0] / 2}])
def test_a_transform_takes_one_example(transform, table, first):
    (batch,) = first(stream(table(5), batch_size=2, shuffle=False, transform=transform), 1)
    np.testing.assert_array_equal(batch["half"], [[0, 0], [0.5, -0.5]])


def test_an_epoch_visits_every_example_once_but_for_the_left_over_ones(table, key, first):
    batches = first(stream(table(11), batch_size=4, key=key), 6)
    epochs = [np.concatenate([y for _, y in batches[i : i + 2]]) for i in (0, 2, 4)]
    assert all(len(set(epoch.tolist())) == 8 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    for x, y in batches:
        np.testing.assert_array_equal(x, np.stack([y, -y], 1))


def test_without_shuffling_the_order_is_that_of_the_data(table, first):
    batches = first(stream(table(7), batch_size=3, shuffle=False), 4)
    assert [y.tolist() for _, y in batches] == [[0, 1, 2], [3, 4, 5], [0, 1, 2], [3, 4, 5]]


def test_another_key_gives_another_order(table, key, first):
    one, two = (first(stream(table(50), batch_size=50, key=k), 1)[0][1] for k in (key, jax.random.key(8)))
    assert not np.array_equal(one, two)  # equal with probability 1/50!


def test_what_a_stream_says_of_itself(table, key):
    made = stream(table(11), batch_size=4, key=key)
    assert (made.steps_per_epoch, made.batch_size, made.num_examples, made.replayable) == (2, 4, 11, True)


def test_several_epochs_pass_without_end(table, key, first):
    assert len(first(stream(table(3), batch_size=2, key=key), 50)) == 50


def test_a_memory_mapped_file_is_read_row_by_row(tmp_path: Path, table, key, first, same_bytes):
    x, y = table(20)
    x.tofile(tmp_path / "x")
    mapped = np.memmap(tmp_path / "x", np.float32, "r", shape=x.shape)
    batches = first(stream((mapped, y), batch_size=4, key=key), 9)
    same_bytes(batches, first(stream((x, y), batch_size=4, key=key), 9))
    assert not isinstance(batches[0][0], np.memmap)


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_the_number_of_threads_changes_nothing(threads, source, key, first, same_bytes):
    made = stream(source(11), batch_size=3, key=key, num_threads=threads, transform=Noise())
    same_bytes(first(made, 12), first(stream(source(11), batch_size=3, key=key, transform=Noise()), 12))


@pytest.mark.parametrize("processes", [2, 3, 6])
def test_processes_together_read_what_one_reads(processes, source, key, first, same_bytes):
    def batches(**processes):
        return first(stream(source(20), batch_size=6, key=key, transform=Noise(), **processes), 7)

    parts = [batches(process_index=i, process_count=processes) for i in range(processes)]
    together = [jax.tree.map(lambda *rows: np.concatenate(rows), *part) for part in zip(*parts, strict=True)]
    same_bytes(together, batches())


def test_each_process_reads_its_own_records_only(source, key):
    read = []

    class Watched(source):
        def __getitem__(self, index):
            read.append(index)
            return super().__getitem__(index)

    records = Watched(100)
    iterator = iter(
        stream(records, batch_size=10, key=key, process_index=1, process_count=5, num_threads=0, shuffle=False)
    )
    read.clear()
    next(iterator)
    assert read == [2, 3]


@pytest.mark.parametrize("done", range(9))
def test_a_state_resumes_at_any_batch(done, source, key, same_bytes):
    made = stream(source(11), batch_size=3, key=key, transform=Noise())
    iterator = made.make_iterator()
    for _ in range(done):
        next(iterator)
    state = json.loads(json.dumps(iterator.get_state()))
    assert state["batches"] == done
    resumed, counted = made.make_iterator(), made.make_iterator()
    resumed.set_state(state)
    counted.set_state({"batches": done})
    expected = [next(iterator) for _ in range(7)]
    same_bytes([next(resumed) for _ in range(7)], expected)
    same_bytes([next(counted) for _ in range(7)], expected)


def test_a_state_is_resumed_by_another_number_of_processes(source, key, same_bytes):
    iterator = stream(source(20), batch_size=6, key=key).make_iterator()
    for _ in range(4):
        next(iterator)
    parts = []
    for i in range(3):
        part = stream(source(20), batch_size=6, key=key, process_index=i, process_count=3).make_iterator()
        part.set_state(iterator.get_state())
        parts.append(next(part))
    same_bytes(jax.tree.map(lambda *rows: np.concatenate(rows), *parts), next(iterator))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (dict(records=21), "records=20"),
        (dict(batch_size=5), "batch_size=6"),
        (dict(shuffle=False), "shuffle=True"),
        (dict(key=jax.random.key(1)), "seeds="),
    ],
)
def test_a_state_of_another_stream_is_refused(change, named, source, key):
    options = dict(records=20, batch_size=6, shuffle=True, key=key)
    state = stream(source(options.pop("records")), **options).make_iterator().get_state()
    options = dict(records=20, batch_size=6, shuffle=True, key=key) | change
    other = stream(source(options.pop("records")), **options).make_iterator()
    with pytest.raises(ValueError, match=rf"state: expected that of a stream like records of the test.*; got.*{named}"):
        other.set_state(state)


@pytest.mark.parametrize("state", [{}, 3, {"batches": -1}, {"batches": "2"}, {"batches": True}])
def test_what_is_no_state_is_refused(state, source, key):
    with pytest.raises(ValueError, match="state: expected what get_state"):
        stream(source(5), batch_size=2, key=key).make_iterator().set_state(state)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_pass_has_every_example_once_and_masks_the_rest(processes, source, key):
    masks, rows = [], []
    for i in range(processes):
        made = stream(source(7), batch_size=4, key=key, process_index=i, process_count=processes)
        for _ in range(2):  # again, too
            passed = list(made.make_pass())
        assert [len(mask) for _, mask in passed] == [4 // processes] * 2
        masks += [mask for _, mask in passed]
        rows += [y[mask] for (_, y), mask in passed]
    assert sorted(np.concatenate(rows).tolist()) == list(range(7))
    assert sum(map(np.sum, masks)) == 7


def test_nothing_needs_a_key_where_nothing_is_drawn(source, first):
    assert len(first(stream(source(5), batch_size=5, shuffle=False, transform=lambda e: e), 2)) == 2
    with pytest.raises(TypeError, match="key: expected one typed key; got NoneType"):
        stream(source(5), batch_size=5, shuffle=False, transform=Noise())
    with pytest.raises(TypeError, match="key: expected one typed key; got NoneType"):
        stream(source(5), batch_size=5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(batch_size=0), "batch_size: expected a whole number >= 1; got 0"),
        (dict(batch_size=2.0), "batch_size: expected a whole number >= 1; got 2.0"),
        (dict(batch_size=12), "batch_size: expected at most the number of examples, 11; got 12. Use a smaller"),
        (dict(on_corrupt="ignore"), "on_corrupt: expected 'raise' or 'skip'; got 'ignore'"),
        (dict(num_threads=-1), "num_threads: expected a whole number >= 0; got -1"),
        (dict(process_count=0), "process_count: expected a whole number >= 1; got 0"),
        (dict(process_index=-1), "process_index: expected a whole number >= 0; got -1"),
        (dict(process_index=2, process_count=2), "process_index: expected less than the 2 processes; got 2"),
        (dict(process_index=0, process_count=3), "batch_size: expected a multiple of the 3 processes.*got 4. Use 3"),
        (dict(process_index=0, process_count=5), "batch_size: expected a multiple of the 5 processes.*got 4. Use 5"),
    ],
)
def test_arguments_out_of_range(options, message, table, key):
    with pytest.raises(ValueError, match=message):
        stream(table(11), **(dict(batch_size=4, key=key) | options))


def test_a_transform_of_the_wrong_kind(table, key):
    with pytest.raises(TypeError, match=r"transform: expected a function of one example.*got str"):
        stream(table(11), batch_size=4, key=key, transform="flip")


def test_a_source_of_the_wrong_kind(key):
    with pytest.raises(TypeError, match=r"source: expected the name of a data set.*got generator.*as_stream"):
        stream((i for i in range(3)), batch_size=1, key=key)
    with pytest.raises(TypeError, match=r"source: expected examples.*MapDataset.*as_stream"):
        stream(grain.MapDataset.range(5), batch_size=1, key=key)


def test_arrays_of_different_lengths(key):
    with pytest.raises(ValueError, match="source: expected arrays that share one leading example axis"):
        stream((np.zeros(3), np.zeros(4)), batch_size=1, key=key)


def test_an_empty_source(source, key):
    with pytest.raises(ValueError, match="source: expected at least one record; records of the test has none"):
        stream(source(0), batch_size=1, key=key)
    with pytest.raises(ValueError, match="source: expected arrays that share one leading example axis of length >= 1"):
        stream(np.zeros((0, 3)), batch_size=1, key=key)


@pytest.mark.parametrize("element", ["text", b"bytes", None, {"id": "a"}, np.array(["a"])])
def test_records_of_anything_but_numbers(element, key):
    with pytest.raises(
        ValueError, match=r"data: expected arrays of numbers; a record of (list|arrays) has .*transform="
    ):
        stream([element] * 3, batch_size=1, key=key)


def test_python_numbers_are_scalars(first):
    (batch,) = first(stream([(1, 2.5)] * 3, batch_size=2, shuffle=False), 1)
    np.testing.assert_array_equal(batch[0], [1, 1])
    np.testing.assert_array_equal(batch[1], [2.5, 2.5])


def test_bfloat16_stays(first, key):
    (batch,) = first(stream(jax.numpy.arange(6, dtype=jax.numpy.bfloat16), batch_size=3, shuffle=False), 1)
    assert batch.dtype == jax.numpy.bfloat16
    np.testing.assert_array_equal(batch.astype(np.float32), [0, 1, 2])
