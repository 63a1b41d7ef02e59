"""The seal on the test part."""

import numpy as np
import pytest

from jaxdl.data import Examples, SealedSplits, Splits, seal


@pytest.fixture
def splits():
    return Splits(*(Examples(np.full((n, 2), n, np.float32), np.arange(n)) for n in (5, 3, 2)))


def test_train_and_validation_are_open_and_test_is_not(splits):
    sealed = seal(splits)
    assert isinstance(sealed, SealedSplits)
    assert sealed.train is splits.train
    assert sealed.validation is splits.validation
    with pytest.raises(RuntimeError, match=r"test: expected no access to the test split .* splits\.unseal\(\)\.test"):
        _ = sealed.test


def test_unsealing_gives_the_plain_splits(splits):
    assert seal(splits).unseal() is splits


def test_no_way_around_by_habit(splits):
    sealed = seal(splits)
    with pytest.raises(TypeError, match=r"unpack|iterable"):
        _, _, _ = sealed  # type: ignore[misc]
    with pytest.raises(TypeError, match="subscriptable"):
        _ = sealed[2]  # type: ignore[index]
    with pytest.raises(AttributeError, match="test"):
        sealed.test = splits.test  # type: ignore[misc]
    assert repr(sealed) == "SealedSplits(5 train, 3 validation, test sealed)"


def test_what_is_no_splits(splits):
    with pytest.raises(TypeError, match=r"splits: expected jaxdl\.data\.Splits; got tuple"):
        seal(tuple(splits))  # type: ignore[arg-type]
