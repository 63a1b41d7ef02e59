"""The wheel and the sdist hold what they should, and work where the checkout is not."""

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from pathlib import Path

import pytest

from jaxdl.version import VERSION

CHECKOUT = Path(__file__).parents[1]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
FOLDERS = (".ci", "benchmarks", "docs", "experiments", "jaxdl", "notebooks", "tests")
FILES = (".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "MANIFEST.in", "README.md", "pyproject.toml")
MADE = ("__pycache__", "_build", "jupyter_execute", ".ipynb_checkpoints", "runs")
SMOKE = """
import subprocess, sys
import jax
import jax.numpy as jnp
import jaxdl

assert not {"tensorflow", "tensorflow_datasets"} & set(sys.modules)
params = [0.1 * jnp.eye(4)] * 3


def losses(params, x):
    for kernel in params:
        x = jnp.tanh(x @ kernel)
    return x.sum(-1)


flow = jaxdl.diagnostics.gradient_flow(losses, params, jnp.ones((2, 4)))
assert "vanishing" in flow.verdict(), flow.verdict()
listing = subprocess.run([sys.executable, "-m", "experiments"], capture_output=True, text=True, check=True).stdout
assert "vanishing_gradient" in listing
print(jaxdl.__file__)
"""


def copy_of_the_checkout(folder: Path) -> Path:
    """Without what was made in it; setuptools leaves its own traces where it builds."""
    for name in FOLDERS:
        shutil.copytree(CHECKOUT / name, folder / name, ignore=shutil.ignore_patterns(*MADE))
    for name in FILES:
        shutil.copy(CHECKOUT / name, folder / name)
    return folder


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def built(kind: str, source: Path, out: Path) -> Path:
    """By the hooks that pip and build call, with the setuptools of the running environment, hence without network."""
    code = f"import sys, setuptools.build_meta as backend; print(backend.build_{kind}(sys.argv[1]))"
    out.mkdir(exist_ok=True)
    done = subprocess.run([sys.executable, "-c", code, out], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return copy_of_the_checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def contents(source):
    """Names of the files that the project consists of, noted before anything is built."""
    return files_in(source)


@pytest.fixture(scope="module")
def wheel(source, contents, tmp_path_factory):
    return zipfile.ZipFile(built("wheel", source, tmp_path_factory.mktemp("wheel")))


@pytest.fixture(scope="module")
def sdist(source, contents, tmp_path_factory):
    """The folder that the sdist unpacks to."""
    out = tmp_path_factory.mktemp("sdist")
    with tarfile.open(built("sdist", source, out)) as archive:
        archive.extractall(out, filter="data")
    (folder,) = (path for path in out.iterdir() if path.is_dir())
    return folder


def metadata_of(wheel: zipfile.ZipFile) -> Message:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(wheel.read(name))


def test_the_wheel_is_the_two_packages_and_nothing_else(wheel, contents):
    about = {name for name in wheel.namelist() if ".dist-info/" in name}
    assert set(wheel.namelist()) - about == {name for name in contents if name.startswith(("jaxdl/", "experiments/"))}
    assert "jaxdl/py.typed" in wheel.namelist()
    assert {name.partition("/")[2] for name in about} == {
        "METADATA",
        "RECORD",
        "WHEEL",
        "top_level.txt",
        "licenses/LICENSE",
    }


def test_the_wheel_says_what_the_project_says(wheel):
    said = metadata_of(wheel)
    assert (said["Name"], said["Version"]) == ("jaxdl", VERSION)
    assert set(said["Requires-Python"].split(",")) == set(PROJECT["requires-python"].split(","))
    always = [line for line in said.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert sorted(always) == sorted(PROJECT["dependencies"])
    assert sorted(said.get_all("Provides-Extra", [])) == sorted(PROJECT["optional-dependencies"])
    assert said.get_all("Project-URL") is None  # no address is known yet


def test_every_folder_of_the_packages_is_a_package():
    """A folder without `__init__.py` is packed as well, but its modules are not found by everything that looks."""
    for room in ("jaxdl", "experiments"):
        folders = {path.parent for path in (CHECKOUT / room).rglob("*.py")}
        assert not [str(folder) for folder in folders if not (folder / "__init__.py").exists()]


def test_the_sdist_is_the_whole_checkout(sdist, contents):
    added = files_in(sdist) - contents
    assert not contents - files_in(sdist)
    assert not [name for name in added if not re.fullmatch(r"PKG-INFO|setup\.cfg|jaxdl\.egg-info/.*", name)]


def test_both_make_the_same_wheel(sdist, wheel, tmp_path):
    again = zipfile.ZipFile(built("wheel", sdist, tmp_path))
    assert sorted(again.namelist()) == sorted(wheel.namelist())
    assert all(again.read(name) == wheel.read(name) for name in wheel.namelist() if not name.endswith("/RECORD"))


def test_the_wheel_works_outside_of_the_checkout(wheel, tmp_path):
    wheel.extractall(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SMOKE], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).parent == tmp_path / "site" / "jaxdl"


def test_the_sdist_tests_itself(sdist):
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/test_checks.py",
        "tests/test_tree.py",
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(command, cwd=sdist, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^\d+ passed", done.stdout, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_both_install_in_a_clean_environment(source, contents, tmp_path):
    """`python -m build`, and each of its two files by pip; takes network and some minutes."""

    def run(*command):
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    for name in ("builder", "clean"):
        run(sys.executable, "-m", "venv", name)
    builder, clean = tmp_path / "builder" / "bin" / "python", tmp_path / "clean" / "bin" / "python"
    run(builder, "-m", "pip", "install", "-q", *PROJECT["optional-dependencies"]["release"])
    run(builder, "-m", "build", "--outdir", tmp_path / "dist", source)
    (wheel,), (sdist,) = (tmp_path / "dist").glob("*.whl"), (tmp_path / "dist").glob("*.tar.gz")
    for package, further in ((wheel, ()), (sdist, ("--force-reinstall", "--no-deps"))):
        run(clean, "-m", "pip", "install", "-q", *further, package)
        assert (tmp_path / "clean") in Path(run(clean, "-c", SMOKE)).parents
    run(clean, "-m", "pip", "check")
