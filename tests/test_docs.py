"""Every python block of the README and the documentation runs, in the order of its page."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(?:python|\{code-cell\} python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[str]:
    """The code of a page; cells hidden from the reader make the page itself and run when it is built."""
    return [block for block in BLOCK.findall(page.read_text()) if "remove-input" not in block]


PAGES = [page for page in (CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))) if blocks(page)]


def test_there_are_pages_with_code():
    assert {"README.md", "start.md", "gradient_flow.md", "training.md"} <= {page.name for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_run(page, tmp_path):
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks(page)))
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "JAX_NUMPY_RANK_PROMOTION": "allow"}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)], capture_output=True, text=True, cwd=tmp_path, env=environment
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
