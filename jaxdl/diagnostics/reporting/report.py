"""Everything that the diagnostics say of a model and a batch, on one page."""

import html
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import optax

from jaxdl.diagnostics.reporting.on_one_batch import DIAGNOSTICS, Diagnostic
from jaxdl.diagnostics.reporting.page import Finding, by_urgency, headline, page
from jaxdl.diagnostics.reporting.reports import png
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds
from jaxdl.diagnostics.structure.applicability import NotApplicable
from jaxdl.diagnostics.structure.preparation import prepared
from jaxdl.version import VERSION

PyTree = Any
# What a verdict says of something sick; a clause that says "healthy" is not searched.
_ILLNESS = re.compile(
    r"\b(vanishing|exploding|not finite|no gradient|nothing gets through|nothing comes back|saturated|dead|drowns|idle|"
    r"NaN)\b"
)


@dataclass(frozen=True)
class Report:
    """What was found; a notebook shows the page in place.

    Attributes:
      findings: of every diagnostic, the sick ones first.
      results: by name of the diagnostic; those that failed or do not apply are missing.
      path: of the page.
    """

    findings: tuple[Finding, ...]
    results: dict[str, Any]
    path: Path

    def verdict(self) -> str:
        """One line a diagnostic, the sick ones first."""
        lines = [f"{finding.name}: {finding.sentence}" for finding in self.findings]
        return "\n".join([headline(self.findings), *lines])

    def __str__(self) -> str:
        return f"{self.verdict()}\n{self.path}"

    def table(self) -> str:
        """The tables of all diagnostics, one below the other."""
        return "\n\n".join(f"{finding.name}\n{finding.table}" for finding in self.findings if finding.table)

    def _repr_html_(self) -> str:
        # In a frame, so that the page's styles stay on the page.
        text = html.escape(self.path.read_text(encoding="utf-8"))
        return f'<iframe srcdoc="{text}" style="width: 100%; height: 40rem; border: 1px solid #d0d7de"></iframe>'


def report(
    objective: Callable[..., Any],
    params: PyTree,
    batch: PyTree,
    *,
    path: Any,
    model_state: PyTree | None = None,
    key: jax.Array | None = None,
    train: bool = True,
    tx: optax.GradientTransformation | None = None,
    opt_state: PyTree | None = None,
    thresholds: Thresholds = DEFAULTS,
    diagnostics: Sequence[tuple[str, Diagnostic]] = DIAGNOSTICS,
    title: str = "Diagnostics",
) -> Report:
    """Runs all diagnostics that apply, and writes one HTML page with their verdicts, pictures and tables.

    The page needs nothing beside it. What is sick stands on top, in words that name the layers by path; a diagnostic
    that does not apply is said so in one line, and one that raises is reported with its message.

    Args:
      objective: an objective such as `jaxdl.training.supervised(model, loss)`, or a plain
        `losses_fn(params, batch) -> (batch,)`.
      params: pytree of parameters, or a `TrainState`, which brings its `model_state` along.
      batch: what the objective takes, such as `(x, y)`; the leading axis is the examples'.
      path: of the page, ending in `.html`; its folder is made.
      model_state: the model's other collections, such as running statistics.
      key: for random layers and probes, `jax.random.key(0)` by default; each diagnostic is given a part of it.
      train: whether the model runs in training mode, where a diagnostic leaves the choice.
      tx, opt_state: an optax chain and its state, for the updates it would make.
      thresholds: where the verdicts draw their lines; listed on the page.
      diagnostics: pairs of a name and a function `(objective, params, batch, *, model_state, key, train, tx,
        opt_state) -> result`, the result with `verdict(thresholds)`, `table()` and `plot(title=...)`; of the keywords
        a function is passed those it names.
      title: of the page.

    Returns:
      A `Report` with `.verdict()`, `.table()`, `.results` and `.path`.

    Raises:
      ValueError: `path` does not end in `.html`, no diagnostics, or two of one name.
      TypeError: `objective` or `key` of the wrong kind.
    """
    target = Path(path)
    if target.suffix.lower() not in (".html", ".htm"):
        raise ValueError(
            f"path: expected a name that ends in .html; got {str(path)!r}. Write for example 'report.html'."
        )
    names = [name for name, _ in diagnostics]
    if not names or len(set(names)) < len(names):
        raise ValueError(
            f"diagnostics: expected at least one, each with a name of its own; got {', '.join(names) or 'none'}. "
            "Add to jaxdl.diagnostics.DIAGNOSTICS, or leave it out."
        )
    ready = prepared(objective, params, batch, model_state=model_state, key=key)
    keys = jax.random.split(ready.key, len(names))
    findings, results = [], {}
    for (name, diagnostic), own_key in zip(diagnostics, keys, strict=True):
        given = {"model_state": ready.model_state, "key": own_key, "train": train, "tx": tx, "opt_state": opt_state}
        finding, result = _found(name, diagnostic, (objective, ready.params, ready.batch), given, thresholds)
        findings.append(finding)
        if result is not None:
            results[name] = result
    findings = tuple(by_urgency(findings))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page(title, findings, _facts(ready.params, ready.batch, train), thresholds), encoding="utf-8")
    return Report(findings, results, target)


def _found(
    name: str, diagnostic: Diagnostic, data: tuple[Any, ...], given: dict[str, Any], thresholds: Thresholds
) -> tuple[Finding, Any]:
    named = inspect.signature(diagnostic).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in named.values()):
        given = {keyword: value for keyword, value in given.items() if keyword in named}
    try:
        result = diagnostic(*data, **given)
        sentence = result.verdict(thresholds)
        return Finding(name, _status(sentence), sentence, result.table(), png(result.plot(title=""))), result
    except NotApplicable as reason:
        return Finding(name, "none", str(reason)), None
    except Exception as error:  # one diagnostic that breaks must not take the page with it
        return Finding(name, "failed", f"{type(error).__name__}: {error}"), None


def _status(sentence: str) -> str:
    if any(_ILLNESS.search(clause) for clause in sentence.split("; ") if "healthy" not in clause):
        return "sick"
    return "healthy" if "healthy" in sentence else "measured"


def _facts(params: PyTree, batch: PyTree, train: bool) -> dict[str, str]:
    leaves = jax.tree.leaves(params)
    arrays = ", ".join(f"{leaf.dtype}{list(leaf.shape)}" for leaf in jax.tree.leaves(batch))
    return {
        "parameters": f"{sum(leaf.size for leaf in leaves):,} in {len(leaves)} arrays",
        "batch": arrays,
        "mode": "training" if train else "evaluation",
        "device": jax.devices()[0].device_kind,
        "versions": f"jaxdl {VERSION}, jax {jax.__version__}",
    }
