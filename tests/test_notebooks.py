"""The notebooks run from top to bottom, hold nothing but their source, and install without replacing JAX."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

CHECKOUT = Path(__file__).parents[1]
NOTEBOOKS = sorted((CHECKOUT / "notebooks").glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
PREINSTALLED = {"jax", "jaxlib", "flax", "optax", "numpy"}


def cells(path: Path, kind: str) -> list[dict]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


def source(cell: dict) -> str:
    return "".join(cell["source"])


def installs(cell: dict) -> bool:
    return "install" in cell["metadata"].get("tags", ())


def test_there_are_three():
    assert [path.stem for path in NOTEBOOKS] == ["diagnose_your_model", "first_look", "many_seeds"]


@each_notebook
def test_only_source_is_stored(path):
    """Format 4.5 and nothing beside it: no outputs, no counts, no editor's or session's traces."""
    book = json.loads(path.read_text())
    assert book.keys() == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    assert book["metadata"].keys() <= {"kernelspec", "language_info", "accelerator", "colab"}
    assert book["metadata"].get("colab", {}).keys() <= {"gpuType"}
    ids = [cell["id"] for cell in book["cells"]]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[\w-]{1,64}", one) for one in ids)
    for cell in book["cells"]:
        of_code = {"outputs", "execution_count"} if cell["cell_type"] == "code" else set()
        assert cell.keys() == {"cell_type", "id", "metadata", "source"} | of_code
        assert cell["metadata"] in ({}, {"tags": ["install"]})
        assert all(isinstance(line, str) for line in cell["source"])
    for cell in cells(path, "code"):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


@each_notebook
def test_the_first_code_cell_installs_and_is_the_same_everywhere(path):
    first, *others = cells(path, "code")
    assert installs(first)
    assert not any(map(installs, others))
    assert source(first) == source(cells(NOTEBOOKS[0], "code")[0])


@each_notebook
def test_it_runs(path, tmp_path):
    """As one script in a folder of its own, warnings being errors; installing has tests below."""
    script = tmp_path / "notebook.py"
    script.write_text("\n\n".join(source(cell) for cell in cells(path, "code") if not installs(cell)))
    environment = {
        **os.environ,
        "PYTHONPATH": str(CHECKOUT),
        "MPLBACKEND": "Agg",
        "TQDM_DISABLE": "1",
        "JAX_NUMPY_RANK_PROMOTION": "allow",
        # Many seeds are spread over the devices there are.
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={2 if path.stem == 'many_seeds' else 1}",
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr


class Machine:
    """Stands for the shell: notes commands, and lets pip set another version of one package."""

    def __init__(self, monkeypatch, replaced=(), failing=""):
        self.commands, self.versions = [], dict.fromkeys(PREINSTALLED, "1.0")
        self.replaced, self.failing = replaced, failing
        monkeypatch.setattr(subprocess, "run", self.run)
        monkeypatch.setattr(metadata, "version", self.versions.__getitem__)

    def run(self, command, **options):
        self.commands.append(list(command))
        self.versions.update(dict.fromkeys(self.replaced, "2.0") if "pip" in command else {})
        return SimpleNamespace(returncode=int(self.failing in command), stderr="no such place")


def run_install_cell(address: str = "ADDRESS") -> None:
    text, count = re.subn('^REPOSITORY = ".*?"', f"REPOSITORY = {address!r}", source(cells(NOTEBOOKS[0], "code")[0]))
    assert count == 1
    exec(compile(ast.parse(text), "install", "exec"), {})  # parsed: there is no magic in it


def test_installing_clones_and_installs_the_folder(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    machine = Machine(monkeypatch)
    run_install_cell()
    clone, install = machine.commands
    assert clone == ["git", "clone", "-q", "ADDRESS", "jaxdl"]
    assert install == [sys.executable, "-m", "pip", "install", "-q", str(tmp_path / "jaxdl")]
    assert "jax 1.0" in capsys.readouterr().out


def test_nothing_is_cloned_twice(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jaxdl").mkdir()
    machine = Machine(monkeypatch)
    run_install_cell()
    assert [command[-1] for command in machine.commands] == [str(tmp_path / "jaxdl")]


def test_inside_a_checkout_nothing_is_cloned(monkeypatch):
    monkeypatch.chdir(CHECKOUT / "notebooks")
    machine = Machine(monkeypatch)
    run_install_cell()
    assert [command[-1] for command in machine.commands] == [str(CHECKOUT)]


@pytest.mark.parametrize("name", sorted(PREINSTALLED))
def test_a_replaced_package_is_an_error(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Machine(monkeypatch, replaced=[name])
    with pytest.raises(AssertionError, match=rf"pip replaced what was installed: .*'{name}': '2.0'"):
        run_install_cell()


@pytest.mark.parametrize("command", ["clone", "install"])
def test_a_command_that_fails_says_why(command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Machine(monkeypatch, failing=command)
    with pytest.raises(AssertionError, match=f"{command} .*\nno such place"):
        run_install_cell()


def test_the_requirements_are_met_by_stock_colab():
    """Else pip would replace there what the notebooks promise to leave alone."""
    listed = (CHECKOUT / ".ci" / "matrix").read_text().partition("colab=(")[2].partition(")")[0]
    stock = dict(re.findall(r"([\w-]+)==([\d.]+\d)", listed))
    assert stock.keys() >= PREINSTALLED
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    needed = {requirement.name: requirement for requirement in map(Requirement, project["dependencies"])}
    assert needed.keys() >= PREINSTALLED
    for name, version in stock.items():
        assert needed[name].specifier.contains(Version(version)), f"{needed[name]} replaces {name} {version}"


@pytest.mark.slow
def test_installing_for_real_replaces_nothing(monkeypatch, tmp_path):
    """In a new environment that sees the packages of the running one, from a repository; takes network and a minute."""
    repository, session = tmp_path / "repository", tmp_path / "session"
    for name in ("jaxdl", "experiments"):
        shutil.copytree(CHECKOUT / name, repository / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, repository / name)
    author = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-q", "-m", "all"]):
        subprocess.run(["git", *command], cwd=repository, check=True)
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    (there,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (there / "preinstalled.pth").write_text(f"{Path(pytest.__file__).parents[1]}\n")
    session.mkdir()
    cell = source(cells(NOTEBOOKS[0], "code")[0]).replace("ADDRESS_OF_THE_REPOSITORY", str(repository))
    after = "\nimport jaxdl\nprint(jaxdl.__file__)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([python, "-c", cell + after], cwd=session, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said, place = done.stdout.splitlines()
    assert f"jax {metadata.version('jax')}" in said
    assert "are as they were" in said
    assert Path(place).parent == there / "jaxdl"
