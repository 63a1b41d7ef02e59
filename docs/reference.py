"""What the reference holds: every public module and name, with signature and docstring, and how a page shows them.

A module is public if `__all__` of a public one lists it, beginning with `jaxdl` itself; a name, if `__all__` of a
public module does. A module without `__all__` offers what it defines under a name without underscore.
"""

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any


def public_modules(module: ModuleType | None = None) -> dict[str, ModuleType]:
    """By name, outer ones before inner ones."""
    module = module or importlib.import_module("jaxdl")
    found = {module.__name__: module}
    for name in names_of(module):
        inner = getattr(module, name)
        if inspect.ismodule(inner) and inner.__name__.startswith("jaxdl."):
            found |= public_modules(inner)
    return found


def names_of(module: ModuleType) -> list[str]:
    """Public names of a module, those of modules included, in alphabetical order."""
    defined = [name for name in vars(module) if getattr(getattr(module, name), "__module__", None) == module.__name__]
    return sorted(getattr(module, "__all__", [name for name in defined if name[0] != "_"]), key=str.lower)


def entries(module: ModuleType) -> dict[str, Any]:
    """What a module's page shows: everything public but modules, which have pages of their own."""
    named = {name: getattr(module, name) for name in names_of(module)}
    return {name: thing for name, thing in named.items() if not inspect.ismodule(thing)}


def is_value(thing: Any) -> bool:
    """Whether it is neither a class nor something to call."""
    return not inspect.isclass(thing) and (not callable(thing) or type(thing).__module__ == "types")


def library(thing: Any) -> str:
    """The package that defines a class or function."""
    return thing.__module__.partition(".")[0]


def signature(name: str, thing: Any) -> str:
    """As one would write it, annotations left out where the docstring describes what they say."""
    kind = "class" if inspect.isclass(thing) else "def"
    try:
        found = inspect.signature(thing)
    except (TypeError, ValueError):
        return f"{kind} {name}"
    linen = {"parent", "name"} if hasattr(thing, "clone") else set()  # every module of Flax's has them
    bare = [p.replace(annotation=p.empty) for p in found.parameters.values() if p.name not in linen]
    shown = [p if p.default is p.empty else p.replace(default=_Shown(p.default)) for p in bare]
    return f"{kind} {name}{found.replace(parameters=shown, return_annotation=found.empty)}"


def documentation(module: ModuleType, name: str) -> str:
    """The docstring; of a value the string literal below its assignment."""
    thing = getattr(module, name)
    return _below_assignment(module.__name__, name) if is_value(thing) else inspect.getdoc(thing) or ""


def methods(thing: type) -> dict[str, Any]:
    """What the class and its bases in jaxdl define under public names: methods, properties and class methods."""
    found = {}
    for owner in reversed([base for base in thing.__mro__ if base.__module__.startswith("jaxdl")]):
        fields = getattr(owner, "__annotations__", {})
        for name, member in vars(owner).items():
            wrapped = getattr(member, "func", None) or getattr(member, "fget", None)
            function = wrapped or getattr(member, "__func__", member)
            if name[0] != "_" and name not in fields and inspect.isfunction(function):
                found[name] = function
    return found


class _Shown:
    """A default in a signature: a function by its name, and what is long or has an address as three dots."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        if callable(self.value):
            return getattr(self.value, "__name__", "...")
        text = repr(self.value)
        return text if len(text) <= 40 and " at 0x" not in text else "..."


def _below_assignment(module: str, name: str) -> str:
    """The string below the assignment, in the module or in the one that it imports the name from."""
    body = ast.parse(Path(inspect.getfile(importlib.import_module(module))).read_text(encoding="utf-8")).body
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.ImportFrom) and any((alias.asname or alias.name) == name for alias in node.names):
            return _below_assignment(node.module or "", name)
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            told = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            return inspect.cleandoc(after.value.value) if told else ""
    return ""


def blocks(module: ModuleType, name: str) -> Iterator[tuple[str, str]]:
    """What the page shows below the name: kinds (`code`, `words`, `text`) and contents."""
    thing, text = getattr(module, name), documentation(module, name)
    if is_value(thing):
        yield "code", f"{name}: {type(thing).__name__}"
    else:
        yield "code", signature(name, thing)
        if library(thing) != "jaxdl":
            yield "words", f"From {library(thing)}, as it is there."
    summary, _, rest = text.partition("\n\n")
    yield "words", " ".join(summary.split())
    if rest:
        yield "text", rest
    for method, function in methods(thing).items() if inspect.isclass(thing) else ():
        yield "code", signature(f"{name}.{method}", function)
        yield "text", inspect.getdoc(function) or ""


def setup(app: Any) -> dict[str, bool]:
    """Gives Sphinx the directive `api`, which fills the page of a module."""
    from docutils import nodes
    from docutils.parsers.rst import Directive

    class Reference(Directive):
        """`{api} jaxdl.training`: the module's docstring, and a section with an anchor for every name."""

        required_arguments = 1

        def run(self) -> list[Any]:
            """The nodes."""
            module = importlib.import_module(self.arguments[0])
            introduction = inspect.getdoc(module) or ""
            return [nodes.literal_block(introduction, introduction, language="text")] + [
                self.section(module, name) for name in entries(module)
            ]

        def section(self, module: ModuleType, name: str) -> Any:
            """Heading, signature, docstring and methods."""
            section = nodes.section(ids=[f"{module.__name__}.{name}"])  # as it is spelt: Sharpness and sharpness
            section += nodes.title(name, name)
            for kind, content in blocks(module, name):
                if kind == "words":
                    section += nodes.paragraph(content, content)
                else:
                    language = "python" if kind == "code" else "text"
                    section += nodes.literal_block(content, content, language=language)
            return section

    app.add_directive("api", Reference)
    return {"parallel_read_safe": True}
