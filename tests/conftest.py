"""A strict session: warnings are errors (see pyproject.toml), implicit rank promotion is one, programs are cached."""

import gc
import itertools
import os
import tempfile
from pathlib import Path

# Before jax is imported: one cache for all workers and sessions of this user, small programs included.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(tempfile.gettempdir()) / f"jaxdl-tests-{os.getuid()}"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")

import jax
import jax.numpy as jnp
import numpy as np
import pytest

CHECKOUT = Path(__file__).parents[1]


def pytest_collection_modifyitems(items):
    """Tests of modules that start processes come first: they are the longest, and the last ones should be short."""
    items.sort(key=lambda item: not hasattr(item.module, "subprocess"))


def pytest_collection_finish():
    """What has been imported stays: the collector of garbage, a tenth of the time, need not look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """In place of `load`: modules stay whole, and a worker that is done takes tests over from the other's end."""
    if config.getvalue("dist") == "load":
        from xdist.scheduler import WorkStealingScheduling

        return WorkStealingScheduling(config, log)


@pytest.fixture
def digits_like() -> tuple[np.ndarray, np.ndarray]:
    """120 random 4x4 images in [0, 1] with labels of ten classes."""
    draws = np.random.RandomState(0)
    return draws.rand(120, 4, 4, 1).astype(np.float32), draws.randint(0, 10, 120).astype(np.int32)


@pytest.fixture
def same_bytes():
    """A check that two pytrees hold the very same bytes."""

    def check(a, b):
        unkeyed = lambda leaf: jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf  # noqa: E731
        ours, theirs = (jax.tree.leaves(jax.tree.map(unkeyed, tree)) for tree in (a, b))
        assert len(ours) == len(theirs) > 0
        for left, right in zip(ours, theirs, strict=True):
            assert np.asarray(left).tobytes() == np.asarray(right).tobytes()

    return check


# Every compiled program is some mappings of memory, of which Linux allows a process 65,530; beyond them XLA aborts.
MAPS, TESTS = Path("/proc/self/maps"), itertools.count(1)


@pytest.fixture(autouse=True)
def programs_are_freed():
    """Forgets compiled programs once they are many; looked at after every tenth test, since counting takes time."""
    yield
    if next(TESTS) % 10 == 0 and MAPS.exists() and MAPS.read_bytes().count(b"\n") > 20_000:
        jax.clear_caches()
        gc.collect()
