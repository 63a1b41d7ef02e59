"""Published absolute figures belong to runs as long as the published ones."""

from dataclasses import replace

from experiments.harness.claims import Result, Run


def at_full_length(run: Run, result: Result, *, length: float, published: float, unit: str = "epochs") -> Result:
    """Inconclusive for a run on MNIST that is shorter than the published one; the result itself otherwise."""
    if run.dataset != "mnist" or length >= published:
        return result
    detail = f"the reference has {published:,.0f} {unit}, this run {length:,.0f}: use --preset full"
    return replace(result, verdict="INCONCLUSIVE", detail=detail)
