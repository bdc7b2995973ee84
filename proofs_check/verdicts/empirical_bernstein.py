r"""Comparing a mean with a prediction when the draws lie in a known interval and their variance is not known.

Main statement (an empirical Bernstein bound, after [audibert2009exploration]; the proof is short and given here)
    Let Z_1..Z_n be independent copies of Z in [0, R] with mean mu, and V = mean (Z_i - mean Z)^2. For L < n/2, with
    probability at least 1 - 3 exp(-L)
        |mean Z - mu| <= ( sqrt(2 V L/n) + (7/3) R L/n ) / (1 - sqrt(2 L/n)).
Proof
    Let s^2 = E (Z - mu)^2, delta = |mean Z - mu|. Bernstein's inequality, to both sides: but for probability
    2 exp(-L), delta <= s sqrt(2 L/n) + R L/(3 n). For the variables Y = (Z - mu)^2 in [0, R^2], E Y = s^2 and
    E Y^2 <= R^2 s^2; as exp(-x) <= 1 - x + x^2/2 for x >= 0, Markov's inequality for exp(-lambda sum Y_i) gives, but
    for probability exp(-L), s^2 - mean Y <= R s sqrt(2 L/n). Hence s <= sqrt(mean Y) + R sqrt(2 L/n), and
    mean Y = V + delta^2 gives s <= sqrt(V) + delta + R sqrt(2 L/n). Put this into the first bound.  QED
Use
    For statistics that are bounded by construction (a state of given length, turned by orthogonal matrices) the
    variance need not be known, whatever the law. The price against a known variance is the term in R.
"""

from __future__ import annotations

import math

from .heavy_tails import MeanComparison


def compare_mean_in_interval(
    count: int,
    total: float,
    total_of_squares: float,
    largest: float,
    *,
    predicted: float,
    false_alarm: float = 1e-6,
    miss: float = 1e-3,
) -> MeanComparison:
    """Compare the mean of `count` draws from [0, largest] with `predicted`.

    total, total_of_squares    sums of Z_i and Z_i^2
    Infinite intervals where the sample is too small for its rate. Raises ValueError for an empty sample, a bound that
    is not positive, a mean outside [0, largest], or rates outside (0, 1).
    """
    if count < 1 or not (math.isfinite(largest) and largest > 0):
        raise ValueError(f"need draws and a positive bound on them, got {count} draws and the bound {largest}")
    if not (0 < false_alarm < 1 and 0 < miss < 1):
        raise ValueError(f"need rates between 0 and 1, got false_alarm={false_alarm}, miss={miss}")
    mean = total / count
    if not 0 <= mean <= largest:
        raise ValueError(f"need draws between 0 and {largest}, got the mean {mean}")
    if not total_of_squares <= largest * total * (1 + 1e-9):  # Z^2 <= largest Z for every such draw
        raise ValueError(f"need draws between 0 and {largest}, got squares that add up to {total_of_squares}")
    variance = max(0.0, total_of_squares / count - mean**2)
    allowed = deviation(count, variance, largest, false_alarm)
    return MeanComparison(
        mean, predicted, allowed, allowed + deviation(count, variance, largest, miss), false_alarm, miss, count
    )


def deviation(count: int, variance: float, largest: float, rate: float) -> float:
    """The bound of the main statement at 3 exp(-L) = rate; infinite for L >= n/2.

    >>> round(deviation(10**6, 1.0, 10.0, 1e-6), 5)
    0.00584
    """
    L = math.log(3 / rate)
    share = math.sqrt(2 * L / count)
    if share >= 1:
        return math.inf
    return (math.sqrt(variance) * share + 7 / 3 * largest * L / count) / (1 - share)
