"""The reference has a page for every public module and an entry for every public name, and each entry says enough.

The template of a docstring: a summary of one line that ends with a period; `Args:` with every parameter, or for a class
`Attributes:` with every field; `Returns:` unless None comes back; `Raises:` where the function, or a private one of its
module that it calls, raises. Libraries' objects that are handed on have their own.
"""

import ast
import dataclasses
import functools
import importlib.util
import inspect
import pkgutil
import re
from pathlib import Path
from types import ModuleType

import pytest
from flax import linen

import jaxdl

CHECKOUT = Path(__file__).parents[1]
SECTIONS = ("Args", "Attributes", "Returns", "Raises", "Example", "References")


def loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", CHECKOUT / "docs" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference = loaded()
MODULES = reference.public_modules()
NAMES = [(module, name) for module in MODULES for name in reference.entries(MODULES[module])]
CALLABLES = {
    f"{module}.{name}": thing
    for module, name in NAMES
    for thing in [getattr(MODULES[module], name)]
    if not reference.is_value(thing) and reference.library(thing) == "jaxdl"
}


def sections(text: str) -> dict[str, str]:
    parts = re.split(rf"^({'|'.join(SECTIONS)}):[ \t]*$", text, flags=re.MULTILINE)
    return {"": parts[0]} | dict(zip(parts[1::2], parts[2::2], strict=True))


def described(text: str) -> set[str]:
    """Names before the colon of an entry, of several with commas; an entry is indented by two or four columns."""
    entries = re.findall(r"^(?:  |    )(\*{0,2}\w+(?:, \*{0,2}\w+)*): *\S?", text, re.MULTILINE)
    return {name.strip("* ") for names in entries for name in names.split(",")}


@functools.cache
def raising(path: str) -> set[str]:
    """Functions of a module that raise, or check by `jaxdl.checks`, or call one of the module that does."""
    functions = {
        node.name: node for node in ast.parse(Path(path).read_text()).body if isinstance(node, ast.FunctionDef)
    }

    def own(node: ast.AST, found: set[str]) -> bool:
        calls = [ast.unparse(call.func) for call in ast.walk(node) if isinstance(call, ast.Call)]
        raises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
        return raises or any(call.startswith("checks.") or call in found for call in calls)

    found: set[str] = set()
    while new := {name for name, node in functions.items() if own(node, found)} - found:
        found |= new
    return found


def fields_of(thing: type) -> list[str]:
    """What jaxdl's part of a class is made with."""
    own = {
        name for base in thing.__mro__ if base.__module__.startswith("jaxdl") for name in inspect.get_annotations(base)
    }
    if dataclasses.is_dataclass(thing):
        of_flax = {"parent", "name"} if issubclass(thing, linen.Module) else set()
        return [f.name for f in dataclasses.fields(thing) if f.init and f.name in own - of_flax]
    if "__init__" in vars(thing):
        return [name for name in inspect.signature(thing.__init__).parameters if name not in ("self", "args", "kwargs")]
    return list(getattr(thing, "_fields", ()))


def complaints(thing) -> list[str]:
    """What the docstring of a class or function lacks."""
    text = inspect.getdoc(thing) or ""
    has, summary = sections(text), text.partition("\n\n")[0]
    found = [] if summary.endswith(".") and "\n" not in summary else ["a summary of one line"]
    if inspect.isclass(thing):
        told = described(has.get("Attributes", "")) | described(has.get("Args", ""))
        return found + [name for name in fields_of(thing) if name not in told]
    parameters = inspect.signature(thing).parameters
    found += [name for name in parameters if name not in described(has.get("Args", ""))]
    function = inspect.unwrap(thing)
    returns = inspect.get_annotations(function).get("return")
    found += [] if returns is None or returns == "None" or "Returns" in has else ["Returns"]
    raises = function.__name__ in raising(inspect.getsourcefile(function) or "")
    return found + (["Raises"] if raises and "Raises" not in has else [])


def test_every_public_module_has_a_page():
    pages = {path.stem: path.read_text() for path in (CHECKOUT / "docs" / "api").glob("*.md")}
    assert sorted(pages) == sorted(MODULES)
    for module, page in pages.items():
        assert page == f"# {module}\n\n```{{api}} {module}\n```\n"
    index = (CHECKOUT / "docs" / "api.md").read_text()
    listed = re.findall(r"^api/(.+)$", index, re.MULTILINE)
    assert sorted(listed) == sorted(MODULES)
    assert sorted(re.findall(r"\(api/(.+)\.md\)", index)) == sorted(MODULES)
    assert {"jaxdl", *(f"jaxdl.{name}" for name in jaxdl.__all__ if inspect.ismodule(getattr(jaxdl, name)))} <= set(
        MODULES
    )


def test_no_name_that_a_room_offers_is_missing():
    """Walks the whole package: what an inner `__all__` of a public room lists is on a page, under whatever path."""
    shown = {id(getattr(MODULES[module], name)) for module, name in NAMES}
    for found in pkgutil.walk_packages(jaxdl.__path__, "jaxdl."):
        room = found.name.split(".")[1]
        if room not in jaxdl.__all__ or any(part[0] == "_" for part in found.name.split(".")):
            continue
        module = importlib.import_module(found.name)
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            assert inspect.ismodule(thing) or id(thing) in shown, f"{found.name}.{name} is on no page"


@pytest.mark.parametrize(("module", "name"), NAMES, ids=[".".join(pair) for pair in NAMES])
def test_every_name_has_an_entry_with_words(module, name):
    shown = list(reference.blocks(MODULES[module], name))
    assert shown[0][0] == "code"
    assert name in shown[0][1]
    assert " at 0x" not in shown[0][1]
    assert all(content.strip() for _, content in shown), "a part of the entry is empty"
    thing = getattr(MODULES[module], name)
    if not reference.is_value(thing) and reference.library(thing) != "jaxdl":
        assert ("words", f"From {reference.library(thing)}, as it is there.") in shown


@pytest.mark.parametrize("name", CALLABLES)
def test_docstrings_follow_the_template(name):
    assert complaints(CALLABLES[name]) == []


@pytest.mark.parametrize("name", [name for name, thing in CALLABLES.items() if inspect.isclass(thing)])
def test_methods_have_a_summary(name):
    for method, function in reference.methods(CALLABLES[name]).items():
        summary = (inspect.getdoc(function) or "").partition("\n\n")[0]
        assert summary.endswith(".") and "\n" not in summary, f"{name}.{method}: {summary!r}"  # noqa: PT018


def complete(a: int, *, b: int) -> int:
    """One line.

    Args:
      a, b: numbers.

    Returns:
      A number.

    Raises:
      ValueError: always.
    """
    raise ValueError


@pytest.mark.parametrize(
    ("taken", "put", "lacking"),
    [
        ("a, b:", "a:", ["b"]),
        ("Returns:", "Gives:", ["Returns"]),
        ("Raises:", "Or:", ["Raises"]),
        ("One line.", "No period", ["a summary of one line"]),
        ("One line.", "Two\n    lines.", ["a summary of one line"]),
    ],
)
def test_what_a_docstring_lacks_is_noticed(taken, put, lacking, monkeypatch):
    assert complaints(complete) == []
    monkeypatch.setattr(complete, "__doc__", (complete.__doc__ or "").replace(taken, put))
    assert complaints(complete) == lacking
