"""Every python block of the README and the documentation runs, in the order of its page."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import jaxdl

CHECKOUT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(?:python|\{code-cell\} python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[str]:
    """The code of a page; cells hidden from the reader make the page itself and run when it is built."""
    return [block for block in BLOCK.findall(page.read_text()) if "remove-input" not in block]


DOCS = CHECKOUT / "docs"
WRITTEN = [page for page in sorted(DOCS.rglob("*.md")) if "_build" not in page.parts]
PAGES = [page for page in (CHECKOUT / "README.md", *WRITTEN) if blocks(page)]
# A page of one diagnostic says of it what it is, what it costs, how to read it and where that fails.
DIAGNOSTICS = sorted(page for page in (DOCS / "diagnostics").glob("*.md") if page.name != "index.md")
SECTIONS = ["Definition", "Cost", "How to read it", "When it misleads"]

# Short pages share a process, since importing takes longer than most of them.
TOGETHER = 7
ONE_AFTER_THE_OTHER = """
import sys

for page in sys.argv[1:]:
    with open(page) as source:
        exec(compile(source.read(), page, "exec"), {"__name__": "__main__"})
"""


def scripts() -> list[tuple[Path, ...]]:
    """The pages that run in one process."""
    short = [page for page in PAGES if page in DIAGNOSTICS]
    alone: list[tuple[Path, ...]] = [(page,) for page in PAGES if page not in DIAGNOSTICS]
    return alone + [tuple(short[i : i + TOGETHER]) for i in range(0, len(short), TOGETHER)]


def test_there_are_pages_with_code():
    assert {"README.md", "start.md", "gradient_flow.md", "your_own_loop.md"} <= {page.name for page in PAGES}


@pytest.mark.parametrize("page", DIAGNOSTICS, ids=lambda page: page.name)
def test_a_page_of_a_diagnostic_has_its_sections_an_equation_and_code(page):
    text = page.read_text()
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS
    assert "$$" in text
    assert page in PAGES


def test_every_public_diagnostic_is_on_a_page_and_every_page_in_the_index():
    pages = [*DIAGNOSTICS, DOCS / "diagnostics" / "index.md"]
    named = set(re.findall(r"`(?:diagnostics\.)?(\w+)[(`]", "\n".join(page.read_text() for page in pages)))
    assert not set(jaxdl.diagnostics.__all__) - named
    index = (DOCS / "diagnostics" / "index.md").read_text()
    assert not [page.name for page in DIAGNOSTICS if f"({page.name})" not in index]


def test_every_page_is_in_a_table_of_contents():
    contents = set()
    for page in WRITTEN:
        for tree in re.findall(r"^```\{toctree\}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
            entries = [line for line in tree.splitlines() if line and not line.startswith(":")]
            contents |= {(page.parent / f"{entry}.md").resolve() for entry in entries}
    assert {page.resolve() for page in WRITTEN} - {(DOCS / "index.md").resolve()} == contents


def test_links_between_pages_lead_somewhere():
    broken = []
    for page in WRITTEN:
        targets = re.findall(r"\]\(([^)#:]+\.(?:md|png))[^)]*\)", page.read_text())
        broken += [(page.name, target) for target in targets if not (page.parent / target).exists()]
    assert not broken


# The build of the documentation runs every cell as well; by default the pages that a newcomer reads run here, with
# warnings as errors, and all of them under the marker.
FIRST = {"README.md", "start.md", "bring_your_own_model.md", "your_own_loop.md", "claims.md"}


@pytest.mark.parametrize(
    "pages",
    [
        pytest.param(
            pages,
            id="+".join(page.stem for page in pages),
            marks=() if {page.name for page in pages} <= FIRST else pytest.mark.slow,
        )
        for pages in scripts()
    ],
)
def test_blocks_run(pages, tmp_path):
    for page in pages:
        (tmp_path / f"{page.stem}.py").write_text("\n".join(blocks(page)))
    command = [f"{page.stem}.py" for page in pages]
    if len(pages) > 1:
        (tmp_path / "one_after_the_other.py").write_text(ONE_AFTER_THE_OTHER)
        command = ["one_after_the_other.py", *command]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "JAX_NUMPY_RANK_PROMOTION": "allow"}
    done = subprocess.run(
        [sys.executable, "-W", "error", *command], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stderr


def test_the_readme_has_its_two_commands():
    commands = re.findall(r"^```bash\n(python3 -m venv .*?)\n```$", (CHECKOUT / "README.md").read_text(), re.MULTILINE)
    assert len(commands) == 2
    assert all("pip install" in command for command in commands)
    for command in commands:
        # From the checkout, never by name: the public index has another project under it.
        assert not re.search(r"install[^&]* jaxdl", command)


def test_the_ci_runs_the_readmes_test_command():
    assert "## Test it" in (CHECKOUT / ".ci" / "run").read_text()
    section = (CHECKOUT / "README.md").read_text().split("## Test it")[1].split("##")[0]
    assert len(re.findall(r"^python3 ", section, re.MULTILINE)) == 1
