"""The table on the screen and the report: one HTML file that needs nothing beside it."""

import base64
import html as markup
import textwrap
from collections.abc import Sequence
from typing import Any

from experiments.harness.claims import Experiment, Finding, Picture, Run, Table

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24 }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem }
th, td { text-align: left; vertical-align: top; padding: 0.4rem 0.6rem; border-bottom: 1px solid #d0d7de }
.PASS { color: #116329 } .FAIL { color: #a40e26 } .INCONCLUSIVE { color: #7d4e00 }
.verdict { font-weight: 600; white-space: nowrap } small { color: #57606a } img { max-width: 100% }
figure { margin: 1.5rem 0 } figcaption { color: #57606a; font-size: 0.9rem }
"""


def interval(finding: Finding) -> str:
    """`[low, high]` with four significant digits."""
    return "[{:.4g}, {:.4g}]".format(*finding.result.interval)


def table(run: Run, width: int = 78) -> str:
    """The findings as text, one block each."""
    blocks = []
    for finding in run.findings:
        parts = [
            f"measured {finding.result.measured} {interval(finding)}"
            + (f", published {finding.published}" if finding.published else ""),
            finding.result.detail,
            finding.remark,
            "" if finding.verdict == "PASS" else f"rule: {finding.rule}",
        ]
        indent = " " * 13
        claim = textwrap.wrap(f"{finding.verdict:<12} {finding.claim}", width, subsequent_indent=indent)
        rest = textwrap.wrap("; ".join(filter(None, parts)), width, initial_indent=indent, subsequent_indent=indent)
        blocks.append("\n".join([*claim, *rest]))
    return "\n".join(blocks)


def columns(table: Table) -> str:
    """A table of the run as text."""
    lines = [list(table.header), *(list(row) for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    return "\n".join([table.caption, *(f"  {line.rstrip()}" for line in aligned)])


def html(experiment: Experiment, run: Run, manifest: dict[str, Any]) -> str:
    """The report, its pictures inside it."""
    escape = markup.escape
    verdicts = ", ".join(
        f'<span class="{name}">{number} {name}</span>' for name, number in manifest["verdicts"].items() if number
    )
    rows = "".join(_row(finding) for finding in run.findings)
    figures = "".join(map(_figure, run.figures))
    tables = "".join(map(_table, run.tables))
    notes = "".join(f"<p>{escape(note)}</p>" for note in run.notes)
    facts = {
        "command": manifest["command"],
        "seeds": f"{run.seeds} (0 to {run.seeds - 1})",
        "examples": ", ".join(f"{number:,} {name}" for name, number in manifest["examples"].items()),
        "took": f"{manifest['seconds']} s on {manifest['device']}",
        "versions": ", ".join(f"{name} {version}" for name, version in manifest["versions"].items()),
        "jaxdl": f"{manifest['jaxdl']} {manifest['commit']}",
        "finished": manifest["finished"],
    }
    details = "".join(f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in facts.items())
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{escape(experiment.name)} on {escape(run.dataset)}</title><style>{STYLE}</style></head><body>
<h1>{escape(experiment.name.replace("_", " "))} on {escape(run.dataset)}: {verdicts}</h1>
<p>{escape(experiment.claim)}.</p>
<p><small>Lectures: {escape(experiment.lecture)}. Source of the figures: {escape(experiment.source)}.</small></p>
{figures}
<h2>Claims</h2>
<table><thead>
<tr><th>verdict</th><th>claim and rule</th><th>measured [interval]</th><th>published</th></tr>
</thead>
<tbody>{rows}</tbody></table>
<p><small>Intervals are of 95 % where the rule names no other. PASS: the rule holds. FAIL: it does not; where it is
about a mean or median, the interval contradicts it. INCONCLUSIVE: the interval contradicts nothing yet, or there are
fewer seeds than the rule needs. A negative control is confirmed (PASS) when the rule fails on it.</small></p>
{tables}
<h2>Remarks</h2>{notes or "<p>None.</p>"}
<h2>Set-up</h2><p>{escape(experiment.setup)}</p><table>{details}</table>
</body></html>
"""


def _row(finding: Finding) -> str:
    escape = markup.escape
    remark = f"<br><small>{escape(finding.remark)}</small>" if finding.remark else ""
    return (
        f'<tr><td class="verdict {finding.verdict}">{finding.verdict}</td>'
        f"<td>{escape(finding.claim)}<br><small>rule: {escape(finding.rule)}</small>{remark}</td>"
        f"<td>{escape(finding.result.measured)} {interval(finding)}"
        f"<br><small>{escape(finding.result.detail)}</small></td>"
        f"<td>{escape(finding.published)}</td></tr>"
    )


def _figure(picture: Picture) -> str:
    encoded = base64.b64encode(picture.png).decode("ascii")
    alt = markup.escape(picture.caption)
    return f'<figure><img alt="{alt}" src="data:image/png;base64,{encoded}"><figcaption>{alt}</figcaption></figure>'


def _table(table: Table) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{markup.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(line(row, "td") for row in table.rows)
    head = f"<h2>{markup.escape(table.caption)}</h2><table><thead>{line(table.header, 'th')}</thead>"
    return f"{head}<tbody>{body}</tbody></table>"
