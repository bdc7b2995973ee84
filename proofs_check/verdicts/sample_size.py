r"""How many draws a comparison of means needs, before any of them is made.

Main statement
    With n draws of second moment v the interval of `heavy_tails` is, up to lower order, sqrt(2 L v/n) at a rate of
    exp(-L) on each side. K components with second moments v_k then have the detectable gap
        ( sum_k (a_k + b_k)^2 )^(1/2),   a_k = sqrt(2 v_k log(2/false_alarm)/n),  b_k = sqrt(2 v_k log(1/miss)/n),
    decreasing in n; `draws_needed` is the smallest n for which the exact expression is at most the wanted gap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .heavy_tails import exponent, largest_deviation

MOST_DRAWS = 10**15  # years of computing: beyond it a gap is out of reach


def expected_gap(draws: int, second_moments: Sequence[float], *, false_alarm: float, miss: float) -> float:
    """The detectable gap, over all components, of `draws` draws whose spread is that of their law.

    second_moments (K,)    E Z_k^2; false_alarm, miss are those of one component.
    """
    return math.hypot(*(component_gap(draws, v, false_alarm, miss) for v in second_moments))


def component_gap(draws: int, second_moment: float, false_alarm: float, miss: float) -> float:
    """Allowed deviation plus what goes beyond it with probability `miss`, for one mean."""
    exponents = (exponent(draws, false_alarm, sides=2), exponent(draws, miss, sides=1))
    return sum(largest_deviation(draws, second_moment, second_moment, L) for L in exponents)


def draws_needed(gap: float, second_moments: Sequence[float], *, false_alarm: float, miss: float) -> int:
    """The smallest number of draws with an expected gap of at most `gap`.

    Raises ValueError for a gap that is not positive, or out of reach.

    >>> draws_needed(0.01, [1.0], false_alarm=1e-6, miss=1e-3)
    828781
    """
    if not gap > 0:
        raise ValueError(f"need a gap above 0 to plan for, got {gap}")
    if not all(v > 0 for v in second_moments):
        raise ValueError(f"need second moments above 0 to plan with, got {list(second_moments)}")
    few, many = 0, 1
    while expected_gap(many, second_moments, false_alarm=false_alarm, miss=miss) > gap:
        if many == MOST_DRAWS:
            raise ValueError(f"a gap of {gap:g} needs more than {MOST_DRAWS:.0e} draws; plan for a larger one")
        few, many = many, min(2 * many, MOST_DRAWS)
    while many - few > 1:
        middle = (few + many) // 2
        if expected_gap(middle, second_moments, false_alarm=false_alarm, miss=miss) > gap:
            few = middle
        else:
            many = middle
    return many
