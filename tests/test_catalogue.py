"""The catalogue and the slide errors: every row has what imports and a test that exists, and no row is missing."""

import ast
import importlib
import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
PAGE = CHECKOUT / "docs" / "catalogue.md"
SLIPS = CHECKOUT / "docs" / "slide_errors.md"
GROUPS = {"A": 14, "I": 18, "L": 16, "O": 18, "R": 26, "N": 11, "D": 16, "B": 22, "M": 20, "P": 20, "T": 52}
EXERCISES = (
    "E01", "E02", *(f"E03{letter}" for letter in "abcdefg"), *(f"E04{letter}" for letter in "abc"), "E05a", "E05b",
    "E06a", "E06b", "E06c", "E07", "E08", "E09", "E10",
)  # fmt: skip
COLUMNS = ("id", "name", "lecture", "formula", "symbol", "library", "test")


def table(after: str) -> list[list[str]]:
    """The cells of the rows that have an ID, from one heading on to the next that holds another kind of rows."""
    text = PAGE.read_text().partition(after)[2]
    kinds = ("\n## What is no code\n", "\n## Exercises of the lectures\n")
    until = min((text.index(kind) for kind in kinds if kind in text), default=len(text))
    lines = [line for line in text[:until].splitlines() if re.match(r"\| [A-Z]\d\d[a-g]? ", line)]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]


def rows() -> list[dict[str, str]]:
    return [dict(zip(COLUMNS, cells, strict=True)) for cells in table("# Catalogue\n")]


NO_CODE = table("\n## What is no code\n")
ANSWERS = table("\n## Exercises of the lectures\n")
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


def holds_test(named: str) -> bool:
    """Whether there is that test, or any in that file."""
    path, _, function = named.partition("::")
    source = (CHECKOUT / path).read_text()
    functions = {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)}
    return function in functions if function else any(name.startswith("test_") for name in functions)


def test_every_row_of_the_groups_is_there_once():
    expected = [f"{group}{number:02}" for group, count in GROUPS.items() for number in range(1, count + 1)]
    no_code = [cells[0] for cells in NO_CODE]
    assert [row["id"] for row in rows()] == [name for name in expected if name not in no_code]
    assert no_code == [name for name in expected if name in no_code]
    assert [cells[0] for cells in ANSWERS] == list(EXERCISES)


@pytest.mark.parametrize("cells", NO_CODE, ids=lambda cells: cells[0])
def test_what_is_no_code_says_what_is_done_about_it(cells):
    _, name, lecture, done = cells
    assert name
    assert lecture
    assert len(done) > 10
    for symbol in re.findall(r"`([\w.]+)`", done):
        assert find(symbol) is not None, symbol


@pytest.mark.parametrize("cells", ANSWERS, ids=lambda cells: cells[0])
def test_every_exercise_has_an_answer_that_can_be_seen(cells):
    _, lecture, question, answer, seen = cells
    assert all((lecture, question, answer))
    places = re.findall(r"`([^`]+)`", seen)
    assert places
    for place in places:
        if place.startswith("tests/"):
            assert holds_test(place), place
        elif place.startswith("python -m experiments "):
            assert find("experiments.find")(place.split()[-1]).name == place.split()[-1]
        else:
            assert find(place) is not None


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
    assert holds_test(named)


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
