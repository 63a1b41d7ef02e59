"""The laws of the whole package: light imports, nothing at import, the direction of dependencies, file rules."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
SOURCES = sorted(
    path for folder in ("jaxdl", "experiments", "benchmarks") for path in (CHECKOUT / folder).rglob("*.py")
)

# Each row may import from itself and the rows above it (design, section 3).
LEVELS = [
    {"version", "checks", "tree", "losses", "jaxprs", "model", "precision", "activations", "initializers"},
    {"layers", "regularizers", "optimizers", "data"},
    {"models", "diagnostics"},
    {"training"},
    {"procedures"},
    {"__main__"},
]


PUBLIC = (
    "activations", "data", "diagnostics", "initializers", "layers", "losses", "models", "optimizers",
    "procedures", "regularizers", "training", "tree",
)  # fmt: skip


def fresh(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_touches_no_device_and_no_tensorflow():
    heavy = (
        "tensorflow", "tensorflow_datasets", "sklearn", "matplotlib", "torch", "keras", "tensorboard", "orbax", "grain",
        "flax.nnx",
    )  # fmt: skip
    code = f"""
import sys, jaxdl
assert not {{"jaxdl.training", "jaxdl.diagnostics", "jaxdl.data"}} & set(sys.modules)
rooms = [getattr(jaxdl, name) for name in jaxdl.__all__]
from jax._src import xla_bridge
print(sorted(set({heavy!r}) & set(sys.modules)), xla_bridge.backends_are_initialized())
"""
    assert fresh(code) == "[] False"


def test_importing_configures_nothing():
    code = """
import jax, flax, optax
before = dict(jax.config.values)
import jaxdl, experiments
rooms = [getattr(jaxdl, name) for name in jaxdl.__all__]
print(before == dict(jax.config.values))
"""
    assert fresh(code) == "True"


def test_import_time_over_that_of_its_libraries_is_measured():
    """No limit is asserted, since clocks of shared machines are noisy; the figure is in the test's output (-rA)."""
    code = """
import time
import jax, flax.linen, flax.nnx, optax
before = time.perf_counter()
import jaxdl
print(time.perf_counter() - before)
"""
    seconds = float(fresh(code))
    print(f"import jaxdl adds {seconds:.3f} s to jax, flax and optax")
    assert seconds > 0


def test_a_room_there_is_not():
    import jaxdl

    with pytest.raises(AttributeError, match="module 'jaxdl' has no attribute 'cellar'"):
        _ = jaxdl.cellar
    assert set(jaxdl.__all__) <= set(dir(jaxdl))


def imported_modules(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    # What stands under TYPE_CHECKING or inside functions counts as well.
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    names |= {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    return names | {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_dependencies_point_one_way(path):
    parts = path.relative_to(CHECKOUT).with_suffix("").parts
    imports = {name for name in imported_modules(path) if name.split(".")[0] in ("jaxdl", "experiments", "benchmarks")}
    if parts[0] == "jaxdl":
        assert not [name for name in imports if not name.startswith("jaxdl")]
        if parts[1:] == ("__init__",):
            return
        level = next(i for i, rooms in enumerate(LEVELS) if parts[1] in rooms)
        allowed = set().union(*LEVELS[: level + 1])
        rooms = {name.split(".")[1] for name in imports if "." in name}
        assert rooms <= allowed, f"{parts[1]} may not import {sorted(rooms - allowed)}"
    elif parts[0] == "experiments":
        public = {
            "jaxdl",
            *(f"jaxdl.{room}" for room in PUBLIC),
        }
        deep = {
            name for name in imports if name.startswith("jaxdl") and name.rsplit(".", 1)[0] not in public | {"jaxdl"}
        }
        assert not deep - public, f"an experiment reaches past the public names: {sorted(deep)}"
        assert not [name for name in imports if name.startswith("benchmarks")]
        if len(parts) > 2:  # a room of experiments knows itself and what all of them stand on
            rooms = {name.split(".")[1] for name in imports if name.startswith("experiments.")}
            below = {"harness": set(), "building_blocks": {"harness"}}.get(parts[1], {"harness", "building_blocks"})
            assert rooms <= {parts[1], *below}, f"{parts[1]} may not import {sorted(rooms - below)}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_files_are_short_and_named_for_what_they_hold(path):
    assert path.stem not in ("util", "utils", "helper", "helpers", "misc", "common", "base", "core")
    assert len(path.read_text().splitlines()) < 400


def test_every_public_name_is_listed_and_documented():
    import inspect

    import jaxdl

    assert {"Model", "as_model", *PUBLIC} == set(jaxdl.__all__)
    for module in (getattr(jaxdl, room) for room in PUBLIC if room != "tree"):
        assert len(set(module.__all__)) == len(module.__all__)  # ruff keeps them in order
        for name in module.__all__:
            if callable(getattr(module, name)):
                assert inspect.getdoc(getattr(module, name)), f"{module.__name__}.{name} has no docstring"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_nothing_is_computed_at_import(path):
    """Module level holds definitions, constants and compiled-function declarations, never a jax.numpy array."""
    tree = ast.parse(path.read_text())
    for node in tree.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            calls = [ast.unparse(call.func) for call in ast.walk(node.value) if isinstance(call, ast.Call)]
            assert not [name for name in calls if name.startswith(("jnp.", "jax.numpy.", "jax.random.", "jax.devices"))]
