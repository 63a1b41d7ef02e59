"""Published absolute figures belong to runs as long as the published ones."""

from dataclasses import replace

from experiments.harness.claims import Result, Run


def at_full_length(
    run: Run, result: Result, *, length: float, published: float, unit: str = "epochs", preset: str = "full"
) -> Result:
    """Inconclusive for a run on MNIST that is shorter than the published one; the result itself otherwise.

    Args:
      run: whose data set counts.
      result: of the rule.
      length: of this run.
      published: the length of the published one.
      unit: of both.
      preset: which is long enough.
    """
    if run.dataset != "mnist" or length >= published:
        return result
    return undecided(result, f"the reference has {published:,g} {unit}, this run {length:,g}: use --preset {preset}")


def undecided(result: Result, because: str) -> Result:
    """The result without its verdict, and why."""
    return replace(result, verdict="INCONCLUSIVE", detail=because)
