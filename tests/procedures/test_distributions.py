"""Draws against their distribution functions, and ranges that are none."""

import jax
import numpy as np
import pytest
from scipy import stats

from jaxdl.procedures import Choice, LogUniform, Uniform

KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("distribution", "cdf"),
    [
        (Uniform(-2.0, 3.0), lambda x: (x + 2) / 5),
        (LogUniform(1e-4, 10.0), lambda x: np.log(x / 1e-4) / np.log(1e5)),
    ],
)
def test_draws_follow_the_distribution(distribution, cdf):
    drawn = np.array(distribution.sample(KEY, 2000))
    assert ((drawn >= distribution.low) & (drawn <= distribution.high)).all()
    # Kolmogorov and Smirnov; a false alarm once in 10,000 keys.
    assert stats.kstest(drawn, cdf).pvalue > 1e-4
    assert distribution.sample(KEY, 2000) == drawn.tolist()
    assert distribution.sample(jax.random.key(1), 3) != drawn[:3].tolist()
    assert all(isinstance(value, float) for value in distribution.sample(KEY, 3))


def test_choices_are_equally_likely():
    drawn = Choice(("relu", (16, 16), None)).sample(KEY, 3000)
    counts = [drawn.count(value) for value in ("relu", (16, 16), None)]
    assert sum(counts) == 3000
    # Deviation sqrt(3000 * 1/3 * 2/3) = 25.8; three counts within five deviations: false alarm 2e-6.
    assert max(abs(count - 1000) for count in counts) < 5 * 25.8


def test_ranges_that_are_none():
    with pytest.raises(ValueError, match=r"low: expected one finite number > 0; got 0\.0\. A logarithm needs it"):
        LogUniform(0.0, 1.0)
    for kind in (LogUniform, Uniform):
        with pytest.raises(ValueError, match=r"high: expected one finite number > 1; got 1\. It is the upper end"):
            kind(1, 1)
    with pytest.raises(ValueError, match=r"low: expected one finite number; got inf\. It is the lower end"):
        Uniform(float("inf"), 1.0)
    for values in ((), "abc", 3):
        with pytest.raises(ValueError, match="values: expected a list of at least one value; got"):
            Choice(values)  # type: ignore[arg-type]
