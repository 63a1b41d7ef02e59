"""Splits whose test part stays closed until everything is chosen."""

from jaxdl.data.splits import Examples, Splits


class SealedSplits:
    """Splits without access to the test part: choose on `validation`, then `unseal()` once. Made by `seal`.

    Args:
        splits: the three parts.
    """

    __slots__ = ("_splits",)

    def __init__(self, splits: Splits) -> None:
        self._splits = splits

    @property
    def train(self) -> Examples:
        """The examples to fit on."""
        return self._splits.train

    @property
    def validation(self) -> Examples:
        """The examples to choose on."""
        return self._splits.validation

    @property
    def test(self) -> Examples:
        """Raises RuntimeError."""
        raise RuntimeError(
            "test: expected no access to the test split before everything is chosen; these splits are sealed. "
            "Choose on validation, then take splits.unseal().test and report it once."
        )

    def unseal(self) -> Splits:
        """The plain splits, for the one report at the end."""
        return self._splits

    def __repr__(self) -> str:
        return f"SealedSplits({len(self.train.y)} train, {len(self.validation.y)} validation, test sealed)"


def seal(splits: Splits) -> SealedSplits:
    """Closes the test part: `.train` and `.validation` as before, `.test` is an error until `unseal()`.

    Standardise or divide the splits before sealing them.

    Args:
        splits: as `jaxdl.data.load` returns them.

    Returns:
        The sealed splits; the arrays are not copied.

    Raises:
        TypeError: `splits` are no Splits.

    Example:
        >>> splits = seal(load("digits"))
        >>> splits.test
        Traceback (most recent call last):
        RuntimeError: test: expected no access to the test split before everything is chosen; ...
    """
    if not isinstance(splits, Splits):
        raise TypeError(
            f"splits: expected jaxdl.data.Splits; got {type(splits).__name__}. "
            "Pass what jaxdl.data.load returns, or Splits(train, validation, test)."
        )
    return SealedSplits(splits)
