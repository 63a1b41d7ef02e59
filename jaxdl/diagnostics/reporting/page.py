"""One HTML page of findings: nothing beside it is needed, a phone shows it, paper too."""

import base64
import html
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

from jaxdl.diagnostics.reporting.thresholds import Thresholds

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 1.5rem auto; padding: 0 1rem; color: #1b1f24 }
h1 { font-size: 1.6rem; line-height: 1.2 } h2 { font-size: 1.25rem; margin-top: 2.5rem }
ul.verdicts { list-style: none; padding: 0 }
ul.verdicts li { border-left: 0.4rem solid #8c959f; padding: 0.3rem 0.8rem; margin: 0.5rem 0; background: #f6f8fa }
ul.verdicts li.sick { border-color: #a40e26; background: #fff0f1 } ul.verdicts li.failed { border-color: #bf8700 }
ul.verdicts li.healthy { border-color: #116329 }
b.sick { color: #a40e26 } b.failed { color: #7d4e00 } b.healthy { color: #116329 } b.none, b.measured { color: #57606a }
li, p, td { overflow-wrap: anywhere } a { color: inherit }
pre { overflow: auto; max-height: 32rem; background: #f6f8fa; padding: 0.8rem; font-size: 0.8rem; line-height: 1.35 }
figure { margin: 1rem 0 } img { max-width: 100%; height: auto }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.6rem; border-bottom: 1px solid #d0d7de }
td.number { white-space: nowrap } small { color: #57606a }
@media print {
  body { max-width: none; margin: 0; font-size: 11pt }
  pre { white-space: pre-wrap; max-height: none; font-size: 7pt }
  figure, li, tr { break-inside: avoid } h2 { break-after: avoid }
}
"""
# From what asks for attention to what does not.
_WORDS = {
    "sick": "sick",
    "failed": "failed",
    "measured": "measured",
    "healthy": "healthy",
    "none": "not applicable",
}


class Finding(NamedTuple):
    """What one diagnostic found.

    Attributes:
      name: of the diagnostic.
      status: "sick", "failed", "measured" (no judgement), "healthy" or "none" (does not apply).
      sentence: the verdict, or why there is none.
      table: as text; empty for none.
      picture: a PNG; None for none.
    """

    name: str
    status: str
    sentence: str
    table: str = ""
    picture: bytes | None = None


def by_urgency(findings: Sequence[Finding]) -> list[Finding]:
    """The sick ones first, those that do not apply last, otherwise in their order."""
    return sorted(findings, key=lambda finding: list(_WORDS).index(finding.status))


def headline(findings: Sequence[Finding]) -> str:
    """How many findings there are of each kind."""
    counts = {word: sum(finding.status == status for finding in findings) for status, word in _WORDS.items()}
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "nothing measured"


def page(title: str, findings: Sequence[Finding], facts: Mapping[str, str], thresholds: Thresholds) -> str:
    """The page: verdicts, then each finding with table and picture, then the thresholds."""
    escape = html.escape
    anchors = {finding.name: f"finding-{i}" for i, finding in enumerate(findings)}
    ordered = by_urgency(findings)
    verdicts = "".join(_line(finding, anchors[finding.name]) for finding in ordered)
    sections = "".join(_section(finding, anchors[finding.name]) for finding in ordered if finding.table)
    details = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>\n" for name, value in facts.items())
    bounds = "".join(
        f'<tr><th>{escape(name)}</th><td class="number">{value:g}</td><td>{escape(meaning)}</td></tr>\n'
        for name, value, meaning in _bounds(thresholds)
    )
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{_STYLE}</style></head><body>
<h1>{escape(title)}: {escape(headline(findings))}</h1>
<ul class="verdicts">
{verdicts}</ul>
{sections}
<h2>What was measured</h2>
<table>
{details}</table>
<h2>Thresholds</h2>
<p><small>The verdicts draw their lines here; pass others by
<code>thresholds=dataclasses.replace(Thresholds(), ...)</code>.</small></p>
<table>
{bounds}</table>
</body></html>
"""


def _line(finding: Finding, anchor: str) -> str:
    name = html.escape(finding.name)
    linked = f'<a href="#{anchor}">{name}</a>' if finding.table else name
    return (
        f'<li class="{finding.status}"><b class="{finding.status}">{_WORDS[finding.status]}</b> &middot; '
        f"{linked}: {html.escape(finding.sentence)}</li>\n"
    )


def _section(finding: Finding, anchor: str) -> str:
    escape = html.escape
    parts = [f'<h2 id="{anchor}">{escape(finding.name)}</h2>']
    parts.append(f'<p><b class="{finding.status}">{_WORDS[finding.status]}</b>: {escape(finding.sentence)}</p>')
    if finding.picture is not None:
        encoded = base64.b64encode(finding.picture).decode("ascii")
        parts.append(
            f'<figure><img alt="{escape(finding.name)}, drawn" src="data:image/png;base64,{encoded}"></figure>'
        )
    parts.append(f"<pre>{escape(finding.table)}</pre>")
    return "<section>" + "\n".join(parts) + "</section>\n"


def _bounds(thresholds: Thresholds) -> list[tuple[str, Any, str]]:
    """Name, value and meaning of every threshold; the meanings are those of the class's documentation."""
    text = inspect.getdoc(type(thresholds)) or ""
    described = re.findall(r"^  (\w[\w, ]*): (.*(?:\n    .*)*)", text.partition("Attributes:\n")[2], re.MULTILINE)
    meanings = {name: " ".join(meaning.split()) for names, meaning in described for name in names.split(", ")}
    return [(f.name, getattr(thresholds, f.name), meanings.get(f.name, "")) for f in fields(thresholds)]
