"""The results page: every claim with its verdict, made from the records of the runs; it needs nothing beside it."""

import base64
import html as markup
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.harness.claims import Experiment
from experiments.harness.records import Record
from experiments.harness.rows import ROWS

VERDICTS = ("PASS", "FAIL", "INCONCLUSIVE")
THUMBNAIL = 340  # pixels wide, at most
# Everything under one class, so that the page can stand inside another one.
STYLE = """
.results { font: 15px/1.45 system-ui, sans-serif; color: #1b1f24; max-width: 78rem; margin: auto }
.results table { border-collapse: collapse; width: 100%; font-size: 0.88em; background: #fff }
.results th, .results td { text-align: left; vertical-align: top; padding: 0.35rem 0.55rem }
.results tr { border-bottom: 1px solid #d0d7de }
.results .PASS { color: #116329 } .results .FAIL { color: #a40e26 } .results .INCONCLUSIVE { color: #7d4e00 }
.results .verdict { font-weight: 600; white-space: nowrap } .results small { color: #57606a }
.results section { margin: 2rem 0; overflow-x: auto }
.results img { max-width: 340px; float: right; margin: 0 0 0.6rem 1rem }
"""


@dataclass(frozen=True)
class Entry:
    """An experiment and the record of its run; None where there is none yet, or where the run broke."""

    experiment: Experiment
    dataset: str
    record: Record | None


def page(entries: Sequence[Entry], *, links: bool) -> str:
    """The page as HTML in ASCII.

    Args:
      entries: in the order of the page.
      links: whether to link each report, which stands in the folder of its run beside the page.
    """
    counts = {v: sum(e.record.manifest["verdicts"][v] for e in entries if e.record) for v in VERDICTS}
    missing = [entry.experiment.name for entry in entries if entry.record is None]
    seconds = sum(entry.record.manifest["seconds"] for entry in entries if entry.record)
    open_rows = [row for row in ROWS if not _answers(entries, row)]
    parts = [
        f'<meta charset="utf-8"><style>{STYLE}</style><div class="results">',
        "<h1>What became of the lectures' claims</h1>",
        f"<p>{len(entries) - len(missing)} of {len(entries)} experiments, {_counts(counts)}; "
        f"{seconds / 60:.0f} minutes in all. "
        "Every line has its rule and its interval (95 % where the rule names no other); a negative control is "
        "confirmed (PASS) when its rule fails. A claim that fails is published as FAIL.</p>",
    ]
    if missing:
        parts.append(f"<p><b>Not run:</b> {markup.escape(', '.join(missing))}.</p>")
    if open_rows:
        parts.append(f"<p><b>Without an answer:</b> {', '.join(open_rows)}.</p>")
    parts += [_index(entries), *(_section(entry, links) for entry in entries), "</div>\n"]
    return "\n".join(parts).encode("ascii", "xmlcharrefreplace").decode("ascii")


def _answers(entries: Sequence[Entry], row: str) -> list[tuple[Entry, dict[str, int]]]:
    """The entries that answer a row, with the number of their findings by verdict."""
    found = []
    for entry in entries:
        findings = entry.record.answers(row, entry.experiment.rows) if entry.record else []
        if findings:
            found.append((entry, {v: sum(finding["verdict"] == v for finding in findings) for v in VERDICTS}))
    return found


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f'<span class="{name}">{number} {name}</span>' for name, number in counts.items() if number)


def _index(entries: Sequence[Entry]) -> str:
    lines = []
    for row, title in ROWS.items():
        answers = _answers(entries, row)
        where = "<br>".join(
            f'<a href="#{entry.experiment.name}">{entry.experiment.name}</a>: {_counts(counts)}'
            for entry, counts in answers
        )
        lines.append(f"<tr><td>{row}</td><td>{markup.escape(title)}</td><td>{where or 'not run'}</td></tr>")
    head = "<tr><th>row</th><th>reference set-up</th><th>experiment and verdicts</th></tr>"
    table = f"<table><thead>{head}</thead><tbody>{''.join(lines)}</tbody></table>"
    return f"<section><h2>By reference set-up</h2>{table}</section>"


def _section(entry: Entry, links: bool) -> str:
    experiment, record = entry.experiment, entry.record
    escape = markup.escape
    title = f'<section id="{experiment.name}"><h2>{escape(experiment.name.replace("_", " "))}</h2>'
    if record is None:
        return f"{title}<p>{escape(experiment.claim)}.</p><p><b>Not run.</b></p></section>"
    manifest = record.manifest
    facts = [
        f"Lectures: {escape(experiment.lecture)}.",
        f"{len(manifest['seeds'])} seeds, {manifest['seconds']:.0f} s on {escape(manifest['device'])}, "
        f"jax {manifest['versions']['jax']}.",
        f"<code>{escape(manifest['command'])}</code>",
    ]
    if links:
        facts.append(f'<a href="{record.folder.name}/report.html">report</a>')
    picture = "".join(_picture(record.folder / name, experiment.claim) for name in manifest["figures"][:1])
    head = "<tr><th>verdict</th><th>claim</th><th>published</th><th>ours [interval]</th></tr>"
    return (
        f"{title}{picture}<p>{escape(experiment.claim)}.</p><p><small>{'<br>'.join(facts)}</small></p>"
        f"<table><thead>{head}</thead><tbody>{''.join(map(_line, record.findings))}</tbody></table></section>"
    )


def _line(finding: dict) -> str:
    escape = markup.escape
    result = finding["result"]
    ends = ", ".join("unbounded" if end is None else f"{end:.4g}" for end in result["interval"])
    verdict = finding["verdict"]
    row = f"<small>{finding['row']}</small> " if finding["row"] else ""
    rule = f"<br><small>rule: {escape(finding['rule'])}</small>"
    remark = f"<br><small>{escape(finding['remark'])}</small>" if finding["remark"] else ""
    return (
        f'<tr><td class="verdict {verdict}">{verdict}</td><td>{row}{escape(finding["claim"])}{rule}{remark}</td>'
        f"<td>{escape(finding['published'])}</td>"
        f"<td>{escape(result['measured'])} [{ends}]<br><small>{escape(result['detail'])}</small></td></tr>"
    )


def _picture(path: Path, caption: str) -> str:
    encoded = base64.b64encode(thumbnail(path)).decode("ascii")
    return f'<img alt="{markup.escape(caption)}" src="data:image/jpeg;base64,{encoded}">'


def thumbnail(path: Path) -> bytes:
    """The picture as a JPEG of at most `THUMBNAIL` pixels in width, each the mean of a square of the original."""
    from matplotlib import image

    pixels = np.asarray(image.imread(path), np.float32)[..., :3]
    side = -(-pixels.shape[1] // THUMBNAIL)
    height, width = (size // side for size in pixels.shape[:2])
    squares = pixels[: height * side, : width * side].reshape(height, side, width, side, 3)
    jpeg = io.BytesIO()
    image.imsave(jpeg, squares.mean((1, 3)), format="jpg", pil_kwargs={"quality": 80})
    return jpeg.getvalue()
