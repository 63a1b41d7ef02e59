"""Archives, folders and networks the data tests share."""

import gzip
import hashlib
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import requests

from jaxdl.data import Splits
from jaxdl.data.archives import Archive, ArchiveSet
from jaxdl.data.mnist import load_mnist

CHECKOUT = Path(__file__).resolve().parents[2]
MNIST_DIR = CHECKOUT.parent / "shared" / "data" / "mnist"
NOWHERE = "http://127.0.0.1:9/"


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing a test does by default reaches the user's folders, data or proxies."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "default_cache"))
    monkeypatch.delenv("JAXDL_DATA_DIR", raising=False)
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without network, whatever machine this is."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise requests.ConnectionError("no network")

    monkeypatch.setattr(requests, "get", refuse)
    monkeypatch.setattr(requests.Session, "request", refuse)


class TinyMnist(NamedTuple):
    """A look-alike of MNIST: its four archives in a folder, and what is in them."""

    source: ArchiveSet
    folder: Path
    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray

    def load(self, cache_dir: Path, **options: Any) -> Splits:
        """`load_mnist` of these archives, 5 of the 20 training images being the validation split."""
        arguments: dict[str, Any] = {"data_dir": self.folder, "source": self.source, "num_validation": 5} | options
        return load_mnist(cache_dir=cache_dir, **arguments)


def _idx(array: np.ndarray) -> bytes:
    """IDX by the letter of its specification: 00 00 08, number of axes, big-endian lengths, bytes."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def make_tiny(tmp_path: Path) -> Callable[..., TinyMnist]:
    """Factory: a tiny MNIST whose archives lie in `tmp_path / folder`."""

    def make(folder: str = "archives", *, url: str = NOWHERE) -> TinyMnist:
        random = np.random.RandomState(3)
        train_x = random.randint(0, 256, (20, 28, 28), dtype=np.uint8)
        test_x = random.randint(0, 256, (7, 28, 28), dtype=np.uint8)
        # Labels count up, so that any change of order shows.
        train_y, test_y = np.arange(20, dtype=np.uint8) % 10, np.arange(7, dtype=np.uint8)
        contents = {
            "train-images-idx3-ubyte.gz": train_x,
            "train-labels-idx1-ubyte.gz": train_y,
            "t10k-images-idx3-ubyte.gz": test_x,
            "t10k-labels-idx1-ubyte.gz": test_y,
        }
        (tmp_path / folder).mkdir(parents=True)
        archives = []
        for filename, array in contents.items():
            content = gzip.compress(_idx(array), mtime=0)
            (tmp_path / folder / filename).write_bytes(content)
            archives.append(Archive(filename, hashlib.sha256(content).hexdigest()))
        source = ArchiveSet("tiny", url, tuple(archives))
        return TinyMnist(source, tmp_path / folder, train_x, train_y, test_x, test_y)

    return make


@pytest.fixture
def tiny(make_tiny: Callable[..., TinyMnist]) -> TinyMnist:
    """A tiny MNIST in a folder, and an address where nobody answers."""
    return make_tiny()


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    """Factory: an HTTP server of a folder on this machine; returns its address."""
    servers = []

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    def start(folder: Path) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def listing() -> Callable[[Path], dict[str, bytes]]:
    """Function: every file and folder below a path, with its content."""

    def walk(folder: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")
        }

    return walk


@pytest.fixture(scope="session")
def mnist_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cache folder in which the real MNIST is prepared, once for all xdist workers."""
    if not MNIST_DIR.is_dir():
        pytest.skip(f"the original MNIST archives are not at {MNIST_DIR}")
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    cache, lock = shared / "mnist_cache", shared / "mnist_cache.lock"
    try:
        lock.mkdir()
    except FileExistsError:
        deadline = time.monotonic() + 60
        while not (lock / "done").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
    else:
        try:
            load_mnist(data_dir=MNIST_DIR, cache_dir=cache)
        finally:
            (lock / "done").touch()
    return cache


@pytest.fixture(scope="session")
def mnist(mnist_cache: Path) -> Splits:
    """The real MNIST."""
    return load_mnist(data_dir=MNIST_DIR, cache_dir=mnist_cache)


@pytest.fixture
def mnist_dir() -> Path:
    """Folder of the original MNIST archives."""
    if not MNIST_DIR.is_dir():
        pytest.skip(f"the original MNIST archives are not at {MNIST_DIR}")
    return MNIST_DIR


@pytest.fixture
def alone() -> str:
    """First lines of a script that imports jaxdl.data by itself, whatever `jaxdl/__init__.py` imports."""
    package = CHECKOUT / "jaxdl"
    return (
        "import sys, types\n"
        "package = types.ModuleType('jaxdl')\n"
        f"package.__path__, package.__file__ = [{str(package)!r}], {str(package / '__init__.py')!r}\n"
        "sys.modules['jaxdl'] = package\n"
    )
