"""Batches on the device ahead of their use: states, errors, threads and their ends."""

import gc
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxdl.data.streaming import prefetch_to_device, stream

CHECKOUT = Path(__file__).parents[3]


def numbers(count, at=-1, error=None):
    """Batches 0, 1, ...; an error instead of one of them."""
    for i in range(count):
        if i == at:
            raise error
        yield np.full((2, 3), i, np.float32)


def ours():
    return [thread for thread in threading.enumerate() if "prefetch" in thread.name]


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    before = len(ours())
    yield
    gc.collect()
    deadline = time.monotonic() + 10
    while len(ours()) > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(ours()) <= before


@pytest.mark.parametrize("size", [0, 1, 5])
def test_batches_come_in_order_on_the_device(size, table, key, same_bytes):
    made = stream(table(11), batch_size=3, key=key)
    with prefetch_to_device(made, size=size) as batches:
        drawn = [next(batches) for _ in range(10)]
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(drawn))
    iterator = iter(made)
    same_bytes(drawn, [next(iterator) for _ in range(10)])


@pytest.mark.parametrize("size", [0, 1, 4])
def test_the_state_is_that_after_the_batches_consumed(size, table, key, same_bytes):
    made = stream(table(11), batch_size=3, key=key)
    plain = made.make_iterator()
    with prefetch_to_device(made, size=size) as batches:
        for _ in range(6):
            assert batches.get_state() == plain.get_state()
            time.sleep(0.01)  # time to run ahead
            same_bytes(next(batches), next(plain))
        state = batches.get_state()
        following = [next(batches) for _ in range(4)]
        batches.set_state(state)
        same_bytes([next(batches) for _ in range(4)], following)


def test_it_does_run_ahead_but_not_without_end():
    begun = []

    def watched():
        for i in range(100):
            begun.append(i)
            yield np.zeros(2)

    with prefetch_to_device(watched(), size=3) as batches:
        next(batches)
        deadline = time.monotonic() + 10
        while len(begun) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        assert len(begun) == 5  # the one used, three on the device, and one in the hand


class Trouble(Exception):
    pass


@pytest.mark.parametrize("size", [0, 2])
@pytest.mark.parametrize("error", [Trouble("here"), KeyError("x"), StopIteration], ids=["own", "key", "end"])
def test_an_exception_comes_in_its_place_with_its_type(size, error):
    kind = type(error) if isinstance(error, Exception) else error
    source = iter(numbers(3)) if error is StopIteration else numbers(9, at=3, error=error)
    batches = prefetch_to_device(source, size=size)
    assert [float(next(batches)[0, 0]) for _ in range(3)] == [0, 1, 2]
    for _ in range(3):  # and stays
        with pytest.raises(kind) as caught:
            next(batches)
        assert kind is StopIteration or caught.value is error
    assert batches.get_state() == {"batches": 3}
    batches.close()


def test_after_an_exception_another_place_can_be_gone_to(source, same_bytes):
    made = stream(source(8, broken=[3]), batch_size=2, shuffle=False)
    with prefetch_to_device(made) as batches:
        next(batches)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="record 3 of"):
                next(batches)
        batches.set_state({"batches": 2})
        assert next(batches)[1].tolist() == [4, 5]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()], ids=type)
def test_what_would_end_the_thread_does_not_hang_its_caller(error):
    with (
        prefetch_to_device(numbers(9, at=1, error=error)) as batches,
        pytest.raises(RuntimeError, match=f"data: the iterator raised {type(error).__name__}"),
    ):
        next(batches), next(batches)


def test_a_closed_one_is_refused():
    batches = prefetch_to_device(numbers(5))
    next(batches)
    batches.close()
    batches.close()
    with pytest.raises(ValueError, match="iterator: expected one that is open; it was closed"):
        next(batches)


@pytest.mark.parametrize("ahead", [0, 1, 50])
def test_dropping_it_ends_its_thread(ahead, table, key):
    batches = prefetch_to_device(stream(table(11), batch_size=3, key=key), size=2)
    for _ in range(ahead):
        next(batches)
    del batches  # the fixture looks for the thread


def test_skipped_records_are_counted_where_they_are_consumed(source):
    made = stream(source(8, broken=[3, 6]), batch_size=2, shuffle=False, on_corrupt="skip")
    with prefetch_to_device(made, size=4) as batches:
        counts = [(next(batches), batches.skipped)[1] for _ in range(4)]
    assert counts == [0, 1, 1, 2]


def test_plain_iterables_are_copied_and_counted():
    buffer = np.zeros(4096, np.float32)

    def fill():
        for i in range(6):
            buffer[...] = i
            yield buffer

    with prefetch_to_device(fill(), size=3) as batches:
        drawn = [next(batches) for _ in range(6)]
        assert [float(leaf.max()) for leaf in drawn] == [0, 1, 2, 3, 4, 5]
        assert batches.get_state() == {"batches": 6}
        assert batches.skipped == 0
        with pytest.raises(
            TypeError, match=r"iterator: expected one with get_state .* got a plain iterable.*as_stream"
        ):
            batches.set_state({"batches": 2})


def test_a_sharding_is_that_of_every_leaf():
    mesh = jax.make_mesh((1,), ("data",))
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    with prefetch_to_device([(np.arange(6.0).reshape(2, 3), np.arange(2))], sharding=sharding) as batches:
        x, y = next(batches)
    assert x.sharding.is_equivalent_to(sharding, 2)
    assert y.sharding.is_equivalent_to(sharding, 1)
    np.testing.assert_array_equal(x, np.arange(6.0).reshape(2, 3))


def test_double_precision_of_the_callers_context_reaches_the_thread():
    from importlib import import_module

    enable_x64 = (jax if hasattr(jax, "enable_x64") else import_module("jax.experimental")).enable_x64
    data = [np.full(3, 1 + 1e-12)] * 4
    with enable_x64(True), prefetch_to_device(data, size=2) as batches:
        assert next(batches).dtype == jnp.float64
    with prefetch_to_device(data, size=2) as batches:
        assert next(batches).dtype == jnp.float32


def test_arguments():
    with pytest.raises(ValueError, match="size: expected a whole number >= 0; got -1"):
        prefetch_to_device([np.zeros(1)], size=-1)
    with pytest.raises(TypeError, match="iterator: expected a Stream or an iterable of batches; got int"):
        prefetch_to_device(3)


SCRIPT = """
import threading, time
import jax, numpy as np
from jaxdl.data.streaming import as_stream, prefetch_to_device, stream

def slowly():
    while True:
        time.sleep(0.01)
        yield np.zeros((64, 1000))

batches = prefetch_to_device({iterator}, size=3)
next(batches)
{end}
"""


@pytest.mark.parametrize(
    ("iterator", "end", "code", "last"),
    [
        ("slowly()", "", 0, ""),
        ("slowly()", "raise ValueError('end')", 1, "ValueError: end"),
        ("stream(np.zeros((50, 3)), batch_size=5, key=jax.random.key(0))", "raise SystemExit(5)", 5, ""),
    ],
    ids=["return", "error", "exit"],
)
def test_a_process_ends_at_once_and_in_silence(iterator, end, code, last):
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT.format(iterator=iterator, end=end)],
        capture_output=True, text=True, cwd=CHECKOUT, timeout=120,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    lines = done.stderr.splitlines()
    assert (lines[-1] if lines else "") == last
    assert last or not lines
    assert time.monotonic() - started < 60
