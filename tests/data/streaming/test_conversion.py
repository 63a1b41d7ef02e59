"""`as_stream`: whatever a run is given, batch by batch, resumed, and refused with a reason."""

import json

import grain
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.data.streaming import as_stream, evaluation_stream, is_streamed, stream


def batch(first, rows=4):
    y = np.arange(first, first + rows, dtype=np.int32)
    return {"x": y[:, None].astype(np.float32) / 2, "y": y}


BATCHES = [batch(0), batch(4), batch(8)]


class Iterable:
    """Batches made anew in every pass, of an unknown number."""

    def __init__(self, batches=BATCHES):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


class Loader(Iterable):
    """The same, of a known number, as data loaders have it."""

    def __len__(self):
        return len(self.batches)


def examples(count=12):
    return grain.MapDataset.source([jax.tree.map(lambda leaf: leaf[0], batch(i, 1)) for i in range(count)])


def map_dataset(count=12, **options):
    return examples(count).batch(4, **options)


class Records:
    """The same examples, which Grain's loader knows again by their representation."""

    def __len__(self):
        return 12

    def __getitem__(self, index):
        return jax.tree.map(lambda leaf: leaf[0], batch(index, 1))

    def __repr__(self):
        return "records"


def loader():
    return grain.DataLoader(
        data_source=Records(),
        sampler=grain.samplers.IndexSampler(12, shuffle=False, num_epochs=2),
        operations=[grain.transforms.Batch(4)],
        worker_count=0,
    )


ENDLESS = {
    "list": (lambda: BATCHES, 3),
    "loader": (Loader, 3),
    "iterable": (Iterable, None),
    "map dataset": (map_dataset, 3),
    "repeated map dataset": (lambda: map_dataset().repeat(), None),
    "map dataset with a short end": (lambda: map_dataset(14), 3),
    "list with a short end": (lambda: [*BATCHES, batch(12, 2)], 3),
    "iterable with a short end": (lambda: Iterable([*BATCHES, batch(12, 2)]), None),
    "jax arrays": (lambda: [jax.tree.map(jnp.asarray, b) for b in BATCHES], 3),
}
ENDING = {
    "generator": lambda: (b for b in BATCHES * 2),
    "generator with a short end": lambda: (b for b in [*BATCHES * 2, batch(12, 1)]),
    "iter dataset": lambda: map_dataset().repeat(2).to_iter_dataset(),
    "batched iter dataset": lambda: examples(12).repeat(2).to_iter_dataset().batch(4, drop_remainder=False),
    "iter dataset with a short end": lambda: examples(25).to_iter_dataset().map(wrap).batch(4),
    "data loader": loader,
}
SEEKABLE = ("map dataset", "repeated map dataset", "map dataset with a short end")


def wrap(example):
    """Example i of the 12, with i modulo 12; for the 24 of two epochs."""
    return {"x": example["x"] % 6, "y": example["y"] % 12}


@pytest.fixture
def expected():
    return lambda count: (BATCHES * count)[:count]


@pytest.mark.parametrize("kind", ENDLESS)
def test_batches_of_endless_kinds(kind, first, expected, same_bytes):
    make, steps = ENDLESS[kind]
    made = as_stream(make(), batch_size=4)
    assert (made.steps_per_epoch, made.batch_size, made.replayable) == (steps, 4, True)
    same_bytes(first(made, 8), expected(8))
    same_bytes(first(made, 2), expected(2))


@pytest.mark.parametrize("kind", ENDING)
def test_batches_of_kinds_with_an_end(kind, expected, same_bytes):
    made = as_stream(ENDING[kind](), batch_size=4)
    assert made.steps_per_epoch is None
    assert made.replayable == (not kind.startswith("generator"))
    same_bytes(list(made), expected(6))


@pytest.mark.parametrize("done", [0, 1, 3, 5])
@pytest.mark.parametrize("kind", [*ENDLESS, *ENDING])
def test_every_kind_is_resumed(kind, done, expected, same_bytes):
    make = ENDING.get(kind) or ENDLESS[kind][0]
    iterator = as_stream(make(), batch_size=4).make_iterator()
    for _ in range(done):
        next(iterator)
    state = json.loads(json.dumps(iterator.get_state()))
    assert state["batches"] == done
    for place in (state, {"batches": done}):  # by its state, and by counting
        resumed = as_stream(make(), batch_size=4).make_iterator()
        resumed.set_state(place)
        same_bytes(next(resumed), expected(6)[done])
        assert resumed.get_state()["batches"] == done + 1
        resumed.close()
    iterator.close()


def test_an_iterator_goes_back_by_its_state_where_it_can(expected, same_bytes):
    for make in (map_dataset, Iterable, lambda: map_dataset().to_iter_dataset(), loader):
        iterator = as_stream(make(), batch_size=4).make_iterator()
        next(iterator), next(iterator)
        iterator.set_state({"batches": 1})
        same_bytes(next(iterator), expected(2)[1])
        iterator.close()


def test_a_begun_iterator_does_not_go_back():
    iterator = as_stream(iter(BATCHES), batch_size=4).make_iterator()
    next(iterator), next(iterator)
    with pytest.raises(
        ValueError, match=r"state: expected at least the 2 batches drawn from this iterator already.*got 1"
    ):
        iterator.set_state({"batches": 1})


@pytest.mark.parametrize("make", [lambda: iter(BATCHES), lambda: map_dataset().to_iter_dataset()])
def test_resuming_beyond_the_end_is_named(make):
    with pytest.raises(
        ValueError, match=r"data: expected 5 batches; .* ended after 3\. Pass fewer steps, or let it rep"
    ):
        as_stream(make(), batch_size=4).make_iterator().set_state({"batches": 5})


def test_seeking_reads_nothing_in_between():
    read = []

    def note(batch):
        read.append(int(batch["y"][0]))
        return batch

    iterator = as_stream(map_dataset().map(note), batch_size=4).make_iterator()
    read.clear()
    iterator.set_state({"batches": 3_000_001})
    assert next(iterator)["y"][0] == 4
    assert 0 < len(read) < 10
    iterator.close()


def test_random_maps_of_a_map_dataset_draw_anew_in_every_epoch(first):
    def noise(element, rng):
        return element + rng.normal()

    drawn = grain.MapDataset.source(np.zeros(4)).seed(3).random_map(noise).batch(4)
    one, two = first(as_stream(drawn, batch_size=4), 2)
    assert not np.any(one == two)
    np.testing.assert_array_equal(two, drawn.repeat()[1])


def test_names_arrays_and_streams(key, first, same_bytes):
    x, y = np.arange(10.0), np.arange(10)
    for shuffle in (True, False):
        options = dict(batch_size=3, key=key, shuffle=shuffle)
        same_bytes(first(as_stream((x, y), **options), 5), first(stream((x, y), **options), 5))
        same_bytes(
            first(as_stream("digits", split="test", **options), 2), first(stream("digits", split="test", **options), 2)
        )
    made = stream(x, batch_size=3, key=key)
    assert as_stream(made, batch_size=3) is made
    with pytest.raises(ValueError, match=r"batch_size: expected that of the stream, 3; got 4. Pass the same to both"):
        as_stream(made, batch_size=4)


def test_what_is_streamed():
    for data in (
        "mnist",
        iter(BATCHES),
        (b for b in BATCHES),
        Loader(),
        map_dataset(),
        loader(),
        stream([1], batch_size=1, shuffle=False),
        5,
    ):
        assert is_streamed(data)
    for data in (np.zeros(3), jnp.zeros(3), (np.zeros(3), 1), BATCHES, {"x": np.zeros(2)}, None, [], np.float32(3)):
        assert not is_streamed(data)


def test_a_buffer_that_its_owner_uses_again_is_copied(first):
    buffer = np.zeros((4, 1000), np.float32)

    def fill():
        for i in range(6):
            buffer[...] = i
            yield buffer

    batches = [leaf.max() for leaf in first(as_stream(fill(), batch_size=4), 6)]
    assert batches == [0, 1, 2, 3, 4, 5]
    iterator = iter(as_stream([buffer], batch_size=4))
    held = next(iterator)
    buffer[...] = 9
    assert held.max() == 5


# Bad batches.


def drawn(data, batch_size=4, count=8, **options):
    iterator = as_stream(data, batch_size=batch_size, **options).make_iterator()
    for _ in range(count):
        next(iterator)


ODD = [
    (batch(8, 5), r"data: expected batches of 4 examples; batch 2 of .* has 5\. Pass batch_size=5 times"),
    (batch(8, 3), r"data: expected batches of 4 examples; batch 2 of .* has 3\. Pass batch_size=3 times"),
    (
        {"x": batch(8)["x"], "y": batch(8)["y"][:3]},
        r"share one leading axis; batch 2 of .* x: float32\[4,1\], y: int32\[3\]",
    ),
    (
        {"x": batch(8)["x"], "y": np.int32(3)},
        r"share one leading axis; batch 2 of .* y: int32\[\]\. Batch the examples fi",
    ),
    (
        {"x": batch(8)["x"][:, :0], "y": batch(8)["y"]},
        r"like the first one, .*x: float32\[4,1\].*; batch 2 of .*\[4,0\]",
    ),
    (
        {"x": batch(8)["x"].astype(np.float64), "y": batch(8)["y"]},
        r"like the first one, .*batch 2 of .*x: float64\[4,1\]",
    ),
    (
        {"x": batch(8)["x"]},
        r"like the first one, x: .*, y: int32\[4\]; batch 2 of .* is x: float32\[4,1\]\. One program",
    ),
    ([batch(8)["x"], batch(8)["y"]], r"like the first one, x: .*; batch 2 of .* is 0: float32"),
    (batch(8, 0), r"expected batches of 4 examples; batch 2 of .* has 0"),
    ("text", r"data: expected arrays of numbers; batch 2 of .* has \(root\): <U4\[\]"),
    (None, r"data: expected arrays of numbers; batch 2 of .* has no array"),
    (3.0, r"share one leading axis; batch 2 of .* has \(root\): float64\[\]"),
]


MAKERS = {
    "iterable": Iterable,
    "iterator": iter,
    "iter dataset": lambda batches: grain.MapDataset.source(batches).to_iter_dataset(),
    "map dataset": grain.MapDataset.source,
    "loader": Loader,
}


@pytest.mark.parametrize(("bad", "message"), ODD)
@pytest.mark.parametrize("kind", MAKERS)
def test_odd_batches_are_named(kind, bad, message):
    if kind == "iter dataset" and bad is None:
        bad, message = batch(8, 5), "batch 2 of .* has 5"  # Grain leaves None out
    with pytest.raises(ValueError, match=message):
        drawn(MAKERS[kind]([*BATCHES[:2], bad, *BATCHES]))


def test_the_wrong_batch_size_is_named_with_the_right_one():
    for data in (Iterable(), iter(BATCHES), map_dataset(), loader(), BATCHES):
        with pytest.raises(
            ValueError, match=r"data: expected batches of 3 examples; batch 0 of .* has 4\. Pass batch_size=4"
        ):
            drawn(data, batch_size=3)
    for data in (Iterable(), iter(BATCHES), map_dataset(), loader(), BATCHES):
        with pytest.raises(
            ValueError, match=r"data: expected batches of 5 examples; batch 0 of .* has 4\. Pass batch_size=4"
        ):
            drawn(data, batch_size=5)


def test_a_process_has_its_share_of_the_batch(first):
    made = as_stream(Iterable(), batch_size=8, process_index=1, process_count=2)
    assert made.batch_size == 8
    assert first(made, 1)[0]["y"].shape == (4,)
    with pytest.raises(ValueError, match=r"data: expected batches of 2 examples; batch 0 of Iterable has 4"):
        drawn(Iterable(), batch_size=4, process_index=1, process_count=2)


def test_no_batch_at_all():
    with pytest.raises(ValueError, match=r"data: expected at least one batch; list has none"):
        as_stream([], batch_size=4)
    with pytest.raises(ValueError, match=r"data: expected at least one batch; Loader has none"):
        as_stream(Loader([]), batch_size=4)
    with pytest.raises(ValueError, match=r"data: expected at least one batch; .*MapDataset has none"):
        as_stream(map_dataset()[:0], batch_size=4)
    with pytest.raises(
        ValueError, match=r"data: expected a pass over Iterable to give at least one batches? of 4 ex.*gave 0"
    ):
        drawn(Iterable([]))
    with pytest.raises(
        ValueError, match=r"data: expected a pass over Iterable to give at least one batches? of 9 ex.*gave 0"
    ):
        drawn(Iterable(BATCHES[:1]), batch_size=9)


@pytest.mark.parametrize("data", [BATCHES[:1], map_dataset(4)], ids=["list", "map dataset"])
def test_a_batch_larger_than_the_data(data):
    with pytest.raises(ValueError, match=r"batch_size: expected at most the 4 examples of the only batch of .*; got 9"):
        as_stream(data, batch_size=9)


def test_a_loader_that_gives_another_number_than_its_length():
    with pytest.raises(ValueError, match=r"expected a pass over Loader to give 4 batches of 4 examples; it gave 3"):
        drawn(Loader([*BATCHES, batch(12, 2)]))


@pytest.mark.parametrize("data", [5, object(), b"ab", {"x": 3}])
def test_what_is_no_data(data):
    for convert in (as_stream, evaluation_stream):
        with pytest.raises(
            TypeError, match=r"data: expected the name of a data set, .* got (int|object|bytes|dict)\. Of"
        ):
            convert(data, batch_size=4)


# Passes.


@pytest.mark.parametrize("kind", [*ENDLESS, *ENDING])
def test_a_pass_has_every_example_once(kind):
    data = ENDING[kind]() if kind in ENDING else ENDLESS[kind][0]()
    if kind == "repeated map dataset":
        with pytest.raises(ValueError, match=r"data: expected data with an end, .* repeats without. Drop .repeat"):
            next(evaluation_stream(data).make_pass())
        return
    short = {
        "map dataset with": 14,
        "list with": 14,
        "iterable with": 14,
        "generator with": 25,
        "iter dataset with": 25,
    }
    count = next((n for name, n in short.items() if kind.startswith(name)), 12 if kind in ENDLESS else 24)
    for made in (evaluation_stream(data), as_stream(data, batch_size=4))[: 1 if kind.startswith("generator") else 2]:
        passed = list(made.make_pass())
        assert all(len(b["y"]) == len(mask) == 4 for b, mask in passed)
        seen = np.concatenate([np.asarray(b["y"])[mask] for b, mask in passed])
        assert len(seen) == count
        np.testing.assert_array_equal(seen[:12], np.arange(12))


def test_batches_of_a_pass_may_be_shorter_than_the_first():
    passed = list(evaluation_stream(Iterable([batch(0), batch(4, 1), batch(5, 3)])).make_pass())
    assert [b["y"][mask].tolist() for b, mask in passed] == [[0, 1, 2, 3], [4], [5, 6, 7]]
    for odd in (batch(4, 5), batch(4, 0)):
        with pytest.raises(
            ValueError, match=r"data: expected batches of 1 to 4 examples, .* batch 1 of .* has [05]\. Put"
        ):
            list(evaluation_stream(Iterable([batch(0), odd])).make_pass())
    with pytest.raises(ValueError, match=r"data: expected at least one batch; Iterable has none"):
        list(evaluation_stream(Iterable([])).make_pass())


def test_an_evaluation_stream_cuts_its_batches_to_the_data(key):
    assert evaluation_stream(np.arange(7.0)).batch_size == 7
    assert evaluation_stream(np.arange(7.0), batch_size=3).batch_size == 3
    assert evaluation_stream(np.arange(7.0), process_index=0, process_count=2).batch_size == 6
    assert evaluation_stream(np.arange(7.0), batch_size=1, process_index=0, process_count=2).batch_size == 2
    assert evaluation_stream("digits", split="test").batch_size == 300
    made = stream(np.arange(7.0), batch_size=2, key=key)
    assert evaluation_stream(made) is made
    with pytest.raises(ValueError, match=r"batch_size: expected a whole number >= 1; got 0. Try 1000"):
        evaluation_stream(np.arange(7.0), batch_size=0)


def test_an_evaluation_stream_of_batches_can_be_iterated_too(first, expected, same_bytes):
    same_bytes(first(evaluation_stream(BATCHES, batch_size=4), 2), expected(2))
