"""The catalogue and the slide errors: every row has what imports and a test that exists, and no row is missing."""

import ast
import importlib
import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
PAGE = CHECKOUT / "docs" / "catalogue.md"
SLIPS = CHECKOUT / "docs" / "slide_errors.md"
GROUPS = {"A": 14, "I": 18, "L": 16, "O": 18, "R": 26, "N": 11, "D": 16}
# Of these groups those rows that there are.
PARTS = {
    "B": (1, 2, 3, 4, 5, 7, *range(10, 19), 21, 22),
    "M": (2, 3, 4, 5, 6, 13, 14, 15, 17),
    "P": (1, 2, *range(5, 18)),
    "T": (*range(1, 15), 16, 17, 18, 21, *range(24, 30), 31, 33, 34, 38, 41, 42, 46, 49, 50, 51),
}
COLUMNS = ("id", "name", "lecture", "formula", "symbol", "library", "test")


def rows() -> list[dict[str, str]]:
    lines = [line for line in PAGE.read_text().splitlines() if re.match(r"\| [A-Z]\d\d ", line)]
    return [dict(zip(COLUMNS, (cell.strip() for cell in line.strip("| ").split(" | ")), strict=True)) for line in lines]


each_row = pytest.mark.parametrize("row", rows(), ids=lambda row: row["id"])


def find(dotted: str):
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for name in parts[cut:]:
            thing = getattr(thing, name)
        return thing
    raise ModuleNotFoundError(dotted)


def test_every_row_of_the_groups_is_there_once():
    expected = [f"{group}{number:02}" for group, count in GROUPS.items() for number in range(1, count + 1)]
    expected += [f"{group}{number:02}" for group, numbers in PARTS.items() for number in numbers]
    assert [row["id"] for row in rows()] == expected


@each_row
def test_no_cell_is_empty(row):
    assert not [name for name, cell in row.items() if not cell or cell == "-"]


@each_row
def test_the_symbols_import(row):
    symbols = re.findall(r"`([\w.]+)`", row["symbol"])
    assert symbols
    for symbol in symbols:
        assert find(symbol) is not None, symbol
        if symbol.startswith("jaxdl."):
            room, name = symbol.rsplit(".", 1)
            module = importlib.import_module(room)
            assert name in getattr(module, "__all__", dir(module)), f"{symbol} is not public"


@each_row
def test_the_test_exists(row):
    (named,) = re.findall(r"`([^`]+)`", row["test"])
    path, _, function = named.partition("::")
    source = (CHECKOUT / path).read_text()
    functions = {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)}
    assert function in functions if function else any(name.startswith("test_") for name in functions)


def test_every_slide_error_is_there_with_a_proof_that_exists():
    page = SLIPS.read_text()
    lines = [line for line in page.splitlines() if re.match(r"\| (S|Z-)\d\d ", line)]
    numbers = [line.strip("| ").split(" | ")[0] for line in lines]
    assert [number for number in numbers if number[0] == "S"] == [f"S{number:02}" for number in range(1, 41)]
    assert [number for number in numbers if number[0] == "Z"] == [f"Z-{number:02}" for number in range(1, 30)]
    functions = {
        node.name
        for path in (CHECKOUT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    cells = "\n".join(re.findall(r"^```\{code-cell\} python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    for line in lines:
        last = line.strip("| ").split(" | ")[-1]
        tests = re.findall(r"`(test_\w+)`", last)
        experiments = re.findall(r"`python -m experiments (\w+)`", last)
        proving = re.findall(r"cell (S\d\d|Z-\d\d)", last)
        assert tests or experiments or proving, line
        assert not set(tests) - functions, line
        for symbol in re.findall(r"`((?:jaxdl|experiments)\.[\w.]+)`", line):
            assert find(symbol) is not None, line
        for name in experiments:
            assert find("experiments.find")(name).name == name, line
        for cell in proving:
            assert re.search(rf"^# (?:\S+, )?{cell}\b", cells, re.MULTILINE), line


def test_a_symbol_that_does_not_exist_is_noticed():
    with pytest.raises((ModuleNotFoundError, AttributeError)):
        find("jaxdl.activations.no_such_activation")
