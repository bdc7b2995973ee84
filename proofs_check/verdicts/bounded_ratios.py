r"""The ratio of the means of two bounded statistics of the same draws.

Main statement
    Let (A_i, B_i) be independent copies of (A, B), A in an interval of length R, B in one of length S. Let a and b be
    the deviations of `empirical_bernstein` of both means at half of a rate, and r = mean A/mean B. If mean B > b, then
    but for that rate
        |r - E A/E B| <= (a + |r| b)/(mean B - b).
Proof
    But for the rate both |mean A - E A| <= a and |mean B - E B| <= b, so that E B >= mean B - b > 0; and
    r E B - E A = r (E B - mean B) + (mean A - E A), as r mean B = mean A. Divide by E B. No interval has to start at 0:
    the bound of `empirical_bernstein` does not change when all draws are moved.  QED
"""

from __future__ import annotations

import math
from typing import NamedTuple

from .empirical_bernstein import deviation


class Sums(NamedTuple):
    """Sums of the draws and of their squares, and the length of an interval that holds every draw."""

    total: float
    of_squares: float
    width: float


class Ratio(NamedTuple):
    """A ratio of means, and how far it may be off; infinite where the draws are too few."""

    ratio: float
    error: float


def ratio_of_means(count: int, above: Sums, below: Sums, false_alarm: float) -> Ratio:
    """The ratio of two means of `count` draws each; its error is exceeded with probability at most `false_alarm`.

    >>> found = ratio_of_means(10**6, Sums(5e5, 2.5e5, 1.0), Sums(1e6, 1e6, 1.0), 1e-6)
    >>> found.ratio, round(found.error, 7)
    (0.5, 5.49e-05)
    """
    (mean_above, a), (mean_below, b) = (mean_and_deviation(count, one, false_alarm / 2) for one in (above, below))
    ratio = mean_above / mean_below if mean_below else 0.0
    return Ratio(ratio, (a + abs(ratio) * b) / (mean_below - b) if mean_below > b else math.inf)


def mean_and_deviation(count: int, sums: Sums, rate: float) -> tuple[float, float]:
    """The mean, and what it may be off but for the rate."""
    mean = sums.total / count
    return mean, deviation(count, max(0.0, sums.of_squares / count - mean**2), sums.width, rate)
