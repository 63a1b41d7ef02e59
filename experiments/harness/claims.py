"""What an experiment declares and what it returns."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from jaxdl.data import Splits

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]


@dataclass(frozen=True)
class Result:
    """What a rule says of some measurements.

    Attributes:
      verdict: PASS, FAIL or INCONCLUSIVE.
      measured: the statistic, as text.
      interval: `(low, high)`, the confidence interval of the statistic.
      detail: in words, such as "20 of 20 seeds".
    """

    verdict: Verdict
    measured: str
    interval: tuple[float, float]
    detail: str


@dataclass(frozen=True)
class Finding:
    """A claim, the rule it was judged by, and the result.

    Attributes:
      claim: what is claimed, in a sentence.
      rule: when it counts as confirmed.
      published: the figure to compare with, or "" where there is none.
      result: of the rule.
      control: whether this is the negative control, where the rule must fail; the verdict is then turned round.
      remark: what a reader has to know besides.
      row: the reference set-up it answers, a key of `harness.rows.ROWS`, or "" for a finding beyond them.
    """

    claim: str
    rule: str
    result: Result
    published: str = ""
    control: bool = False
    remark: str = ""
    row: str = ""

    @property
    def verdict(self) -> Verdict:
        """PASS where the claim is confirmed or the control failed as it must."""
        turned: dict[Verdict, Verdict] = {"PASS": "FAIL", "FAIL": "PASS", "INCONCLUSIVE": "INCONCLUSIVE"}
        return turned[self.result.verdict] if self.control else self.result.verdict


class Picture(NamedTuple):
    """A figure of a run: file name, the file's content, and what it shows."""

    name: str
    png: bytes
    caption: str


class Table(NamedTuple):
    """Numbers of a run in rows and columns, as text."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass
class Run:
    """What the runner gives an experiment, and where the experiment leaves what it found."""

    dataset: str
    splits: Splits
    seeds: int
    settings: Mapping[str, Any]
    findings: list[Finding] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    figures: list[Picture] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def find(self, claim: str, rule: str, result: Result, **details: Any) -> None:
        """Adds a finding; `details` are the other fields of `Finding`."""
        self.findings.append(Finding(claim, rule, result, **details))

    def record(self, **values: Any) -> None:
        """Adds a line to `results.jsonl`; values are numbers, strings or lists of them."""
        self.records.append(values)

    def figure(self, name: str, figure: "Figure", caption: str) -> None:
        """Keeps the picture for `name.png` and the report."""
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=130)
        self.figures.append(Picture(f"{name}.png", png.getvalue(), caption))

    def table(self, caption: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Adds a table to the report and to the output."""
        self.tables.append(Table(caption, header, rows))

    def note(self, text: str) -> None:
        """Adds a paragraph to the report and to the output."""
        self.notes.append(text)


@dataclass(frozen=True)
class Experiment:
    """One family of claims.

    Attributes:
      name: as typed on the command line.
      lecture: which lectures make the claim.
      claim: in one line.
      setup: what is trained and measured, in a paragraph.
      source: of the published figures.
      seconds: about how long the default preset takes on two cores, `{dataset: seconds}`.
      presets: `{"smoke" | "default" | "full": settings}`; every one has `seeds`.
      run: does the work on a `Run`.
      rows: the reference set-ups it answers, keys of `harness.rows.ROWS`.
      record: the data set of the run that the results page shows.
    """

    name: str
    lecture: str
    claim: str
    setup: str
    source: str
    seconds: Mapping[str, int]
    presets: Mapping[str, Mapping[str, Any]]
    run: Callable[[Run], None]
    rows: tuple[str, ...] = ()
    record: Literal["digits", "mnist"] = "mnist"
