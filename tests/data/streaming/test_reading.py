"""Records that cannot be read: named, or stood in for."""

import logging
from pathlib import Path

import grain
import jax
import numpy as np
import pytest
from array_record.python.array_record_data_source import ArrayRecordDataSource

from jaxdl.data.streaming import CorruptRecordError, stream


def number(element):
    return np.frombuffer(element, np.int32)[0]


def damaged(path: Path, record: bytes) -> ArrayRecordDataSource:
    """The file with one byte of a record flipped, in place."""
    content = bytearray(path.read_bytes())
    assert content.count(record) == 1
    content[content.find(record) + len(record) // 2] ^= 0xFF
    path.write_bytes(content)
    return ArrayRecordDataSource(str(path))


@pytest.fixture
def records() -> list[bytes]:
    draws = np.random.RandomState(0)
    return [np.int32(i).tobytes() + draws.bytes(296) for i in range(30)]


def test_a_damaged_array_record_is_named(array_record, records):
    files = damaged(array_record(records), records[17])
    iterator = iter(stream(files, batch_size=5, shuffle=False, transform=number))
    for _ in range(3):
        next(iterator)
    with pytest.raises(
        CorruptRecordError,
        match=r"data: record 17 of ArrayRecordDataSource cannot be read: RuntimeError: Corrupted Riegeli/records file.*"
        r"Replace the damaged file, or pass on_corrupt='skip'\.",
    ) as caught:
        next(iterator)
    assert (caught.value.index, caught.value.source) == (17, "ArrayRecordDataSource")
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_damaged_array_record_is_skipped(array_record, records):
    files = damaged(array_record(records), records[17])
    iterator = iter(stream(files, batch_size=5, shuffle=False, transform=number, on_corrupt="skip"))
    batches = [next(iterator).tolist() for _ in range(6)]
    assert batches[3] == [15, 16, 18, 18, 19]
    assert np.concatenate(batches[:3] + batches[4:]).tolist() == [*range(15), *range(20, 30)]


@pytest.mark.parametrize("kind", ["source", "bulk_source"])
def test_a_source_that_raises_is_named(kind, request):
    made = stream(request.getfixturevalue(kind)(10, broken=[4]), batch_size=3, shuffle=False)
    iterator = iter(made)
    next(iterator)
    for _ in range(2):  # it does not go on with the batch after it
        with pytest.raises(
            CorruptRecordError, match=r"record 4 of records of the test cannot be read: OSError: disk error at 4\. Repl"
        ):
            next(iterator)
    assert iterator.get_state()["batches"] == 1


@pytest.mark.parametrize("kind", ["source", "bulk_source"])
def test_skipping_is_counted_logged_once_and_wraps_around(kind, request, caplog):
    made = stream(request.getfixturevalue(kind)(6, broken=[2, 3, 5]), batch_size=3, shuffle=False, on_corrupt="skip")
    iterator = iter(made)
    counts = []
    with caplog.at_level(logging.WARNING):
        batches = [(next(iterator)[1].tolist(), counts.append(iterator.skipped))[0] for _ in range(4)]
    assert batches == [[0, 1, 4], [4, 4, 0], [0, 1, 4], [4, 4, 0]]
    assert counts == [1, 3, 4, 6]
    messages = [record.message for record in caplog.records]
    assert sorted(messages) == [
        f"skipping record {i} of records of the test: OSError: disk error at {i}." for i in (2, 3, 5)
    ]


def test_skipping_is_resumed_with_its_count(source, key, same_bytes):
    made = stream(source(20, broken=[1, 7, 8]), batch_size=4, key=key, on_corrupt="skip", num_threads=2)
    iterator = iter(made)
    for _ in range(7):
        next(iterator)
    resumed = iter(made)
    resumed.set_state(iterator.get_state())
    same_bytes([next(resumed) for _ in range(9)], [next(iterator) for _ in range(9)])
    assert resumed.skipped == iterator.skipped >= 3 * 3


def test_skipping_is_the_same_for_any_number_of_processes(source, key, same_bytes, first):
    def batches(**processes):
        made = stream(source(12, broken=[0, 5]), batch_size=4, key=key, on_corrupt="skip", **processes)
        return first(made, 6)

    parts = [batches(process_index=i, process_count=2) for i in range(2)]
    same_bytes(
        [jax.tree.map(lambda *rows: np.concatenate(rows), *part) for part in zip(*parts, strict=True)], batches()
    )


def test_corrupt_records_do_not_count_in_a_pass(source):
    made = stream(source(7, broken=[1, 6]), batch_size=3, shuffle=False, on_corrupt="skip")
    rows = [y[mask].tolist() for (_, y), mask in made.make_pass()]
    assert rows == [[0, 2], [3, 4, 5], []]


def test_a_transform_that_fails_is_reported_with_the_record(source, first):
    def fussy(element):
        if element[1] == 3:
            raise KeyError("label")
        return element

    options = dict(batch_size=5, shuffle=False, transform=fussy)
    with pytest.raises(
        CorruptRecordError, match=r"record 3 of records of the test cannot be read: KeyError: 'label'\. R"
    ):
        first(stream(source(5), **options), 1)
    assert first(stream(source(5), on_corrupt="skip", **options), 1)[0][1].tolist() == [0, 1, 2, 4, 4]


class Odd(list):
    name = "odd ones"


@pytest.mark.parametrize("odd", [np.zeros(3, np.float32), np.zeros(2), {"x": np.zeros(2, np.float32)}], ids=str)
def test_a_record_unlike_the_first_is_corrupt(odd, first):
    records = Odd([np.zeros(2, np.float32)] * 3 + [odd])
    with pytest.raises(
        CorruptRecordError,
        match=r"record 3 of odd ones cannot be read: ValueError: it is .*, where the first .* \(root\): float32\[2\]\.",
    ):
        first(stream(records, batch_size=4, shuffle=False), 1)
    (batch,) = first(stream(records, batch_size=4, shuffle=False, on_corrupt="skip"), 1)
    assert batch.shape == (4, 2)


def test_records_of_another_structure_are_corrupt_even_where_a_whole_batch_is(first):
    records = Odd([(1.0, 2.0)] * 2 + [[1.0, 2.0]] * 2)
    with pytest.raises(CorruptRecordError, match="record 2 of odd ones"):
        first(stream(records, batch_size=2, shuffle=False), 2)


def test_the_first_record_may_be_corrupt(source, first):
    with pytest.raises(CorruptRecordError, match="record 0 of"):
        stream(source(3, broken=[0]), batch_size=1, shuffle=False)
    assert first(stream(source(3, broken=[0]), batch_size=3, shuffle=False, on_corrupt="skip"), 1)[0][1].tolist() == [
        1,
        1,
        2,
    ]


@pytest.mark.parametrize(("count", "others"), [(3, 2), (300, 99)])
def test_there_is_no_skipping_everything(count, others, source):
    with pytest.raises(
        CorruptRecordError,
        match=rf"record 0 of .* disk error at {others}\. Nor can the {others} that follow it.*transform\.",
    ):
        stream(source(count, broken=range(count)), batch_size=1, shuffle=False, on_corrupt="skip")


def test_a_full_memory_is_no_corrupt_record(source):
    class Full(source):
        def __getitem__(self, index):
            if index == 2:
                raise MemoryError
            return super().__getitem__(index)

    for transform in (None, lambda element: element):
        iterator = iter(stream(Full(4), batch_size=4, shuffle=False, on_corrupt="skip", transform=transform))
        with pytest.raises(MemoryError):
            next(iterator)


def test_a_reader_that_fails_for_many_at_once_only_loses_nothing(bulk_source, first):
    class Timid(bulk_source):
        def __getitems__(self, indices):
            raise ConnectionError("too many at once")

    assert first(stream(Timid(4), batch_size=4, shuffle=False), 1)[0][1].tolist() == [0, 1, 2, 3]


def test_a_truncated_file_is_reported(array_record, records):
    path = array_record(records)
    path.write_bytes(path.read_bytes()[:5000])
    instruction = grain.sources.ArrayRecordDataSource
    with pytest.raises(RuntimeError):
        stream(instruction(str(path)), batch_size=2, shuffle=False, transform=number)
