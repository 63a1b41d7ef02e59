"""The peers, where they are installed, and the table of the differences, written where JAXDL_PEERS_TABLE says."""

import os
from pathlib import Path

import numpy as np
import pytest

from tests.peers.table import Row, page

ROW = "row of the table of peers"


@pytest.fixture(scope="session")
def torch():
    module = pytest.importorskip("torch", reason="PyTorch is not installed: pip install '.[bench]'")
    module.manual_seed(0)
    module.set_num_threads(1)  # threads that wait for each other take seconds on a busy machine
    return module


@pytest.fixture(scope="session")
def keras(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        # Before the import: the backend whose gradients jax takes, and a home without the user's settings.
        patch.setenv("KERAS_BACKEND", "jax")
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
        module = pytest.importorskip("keras", reason="Keras is not installed: pip install '.[bench]'")
    assert module.backend.backend() == "jax", "Keras was imported before with another backend"
    module.utils.set_random_seed(0)
    return module


@pytest.fixture
def agree(request):
    """`agree(function, peer, compared, ours, theirs)`: asserts that both agree, and puts a row into the table.

    |ours - theirs| <= rtol * max(|theirs|, scale), entry by entry; scale is the greatest |theirs| if it is not given.
    """

    def check(function, peer, compared, ours, theirs, *, rtol=1e-6, scale=None, remark=""):
        ours, theirs = (np.asarray(array, np.float64) for array in (ours, theirs))
        assert ours.size > 0
        assert ours.shape == theirs.shape
        finite = np.isfinite(theirs)
        np.testing.assert_array_equal(ours[~finite], theirs[~finite], err_msg=f"{function}, {compared}")
        ours, theirs = ours[finite], theirs[finite]
        difference, size = np.abs(ours - theirs), np.abs(theirs)
        unit = np.maximum(size, size.max(initial=0) if scale is None else scale)
        relative = np.divide(difference, unit, out=difference.copy(), where=unit > 0).max(initial=0)
        row = Row(function, peer, compared, float(difference.max(initial=0)), float(relative), rtol, remark)
        assert row.relative <= rtol, f"{row}\nours:\n{ours}\ntheirs:\n{theirs}"
        request.node.user_properties.append((ROW, row._asdict()))

    return check


@pytest.fixture
def all_agree(agree):
    """`agree` for a value and the gradients by each of the arguments `by`, as `tests.peers.pull_back` gives them."""

    def check(function, peer, by, ours, theirs, **options):
        for compared, left, right in zip(("value", *(f"gradient by {name}" for name in by)), ours, theirs, strict=True):
            agree(function, peer, compared, left, right, **options)

    return check


def pytest_configure(config):
    config.pluginmanager.register(Collector(), "table of peers")


class Collector:
    """Writes the page after a run of one process in which nothing failed."""

    def __init__(self):
        self.rows = []

    def pytest_runtest_logreport(self, report):
        if report.when == "call":
            self.rows += [Row(**row) for name, row in report.user_properties if name == ROW]

    def pytest_sessionfinish(self, session, exitstatus):
        path = os.environ.get("JAXDL_PEERS_TABLE")
        if path and self.rows and exitstatus == 0 and not hasattr(session.config, "workerinput"):
            Path(path).write_text(page(self.rows))
