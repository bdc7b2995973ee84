r"""Means of bounded draws whose second moment is not known.

Main statement
    Let Z_1 .. Z_n be independent copies of Z with |Z| <= b. But for probability exp(-L)
        E Z^2 <= (g + sqrt(g^2 + m))^2,    m = mean of Z_i^2,    g^2 = b^2 L/(2 n).
Proof
    X = Z^2 lies in [0, b^2], so E X^2 <= b^2 E X. For x >= 0, exp(-x) <= 1 - x + x^2/2, hence for lambda > 0
        E exp(-lambda X) <= 1 - lambda E X + lambda^2 b^2 E X/2 <= exp(-lambda E X + lambda^2 b^2 E X/2),
    and by Markov P(E X - mean X >= L/(n lambda) + lambda b^2 E X/2) <= exp(-L). If E X > 0, then
    lambda = sqrt(2 L/(n b^2 E X)) makes the right side sqrt(2 b^2 L E X/n) = 2 g sqrt(E X). So but for exp(-L),
    E X - 2 g sqrt(E X) < m: sqrt(E X) is below the larger root g + sqrt(g^2 + m) of that quadratic.  QED
Use
    A pilot of draws bounds the second moment, and with it the rest is compared as draws of known second moment
    (`heavy_tails`), because the pilot is independent of the rest. Half of the rate goes to either.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .heavy_tails import MeanComparison, compare_mean


def second_moment_bound(count: int, total_of_squares: float, bound: float, rate: float) -> float:
    """An upper bound on E Z^2 that fails with probability at most `rate`; never above bound^2.

    >>> round(second_moment_bound(10_000, 100.0, 1.0, 1e-6), 4)
    0.0168
    """
    if count < 1 or not 0 < rate < 1 or not 0 < bound < math.inf:
        raise ValueError(
            f"need at least 1 draw, a rate in (0, 1) and a positive finite bound, got {count}, {rate}, {bound}"
        )
    check_squares(count, total_of_squares, bound)
    g_squared = bound**2 * math.log(1 / rate) / (2 * count)
    return min(bound**2, (math.sqrt(g_squared) + math.sqrt(g_squared + total_of_squares / count)) ** 2)


def check_squares(count: int, total_of_squares: float, bound: float) -> None:
    """Refuse draws that pass their bound, up to rounding, or are no numbers: then the bound is wrong."""
    if not total_of_squares <= count * bound**2 * (1 + 1e-9):
        raise ValueError(f"need draws of at most {bound}, got {count} with squares that add up to {total_of_squares}")


def compare_bounded_mean(
    pilot: Sequence[float],
    main: Sequence[float],
    bound: float,
    *,
    predicted: float = 0.0,
    false_alarm: float = 1e-6,
    miss: float = 1e-3,
) -> MeanComparison:
    """Compare the mean of draws with |Z| <= bound with `predicted`.

    pilot, main   count, sum and sum of squares of independent draws; the pilot only bounds the second moment
    What bounds E (Z - predicted)^2 is (sqrt(E Z^2) + |predicted|)^2, whatever the mean is. The comparison and the pilot
    have half of the false-alarm rate each; for `detectable` the rate `miss` leaves the other half to the pilot, so it
    has to be at least `false_alarm`.
    """
    if miss < false_alarm:
        raise ValueError(f"need a miss rate of at least the false-alarm rate, got {miss} and {false_alarm}")
    check_squares(int(main[0]), main[2], bound)
    half = false_alarm / 2
    root = math.sqrt(second_moment_bound(int(pilot[0]), pilot[2], bound, half)) + abs(predicted)
    found = compare_mean(
        int(main[0]), main[1], main[2], max(root, 1e-300) ** 2, predicted=predicted, false_alarm=half, miss=miss / 2
    )
    return MeanComparison(
        found.measured, predicted, found.allowed, found.detectable, false_alarm, miss, int(pilot[0] + main[0])
    )
