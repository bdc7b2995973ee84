r"""Comparing a mean with 0 when each draw has mean 0 and a known variance given something that was drawn before it.

Main statement
    Let (Z_i, H_i) be independent, E[Z_i | H_i] = 0 and E[Z_i^2 | H_i] = v_i, a function of H_i. Then, given H_1 .. H_n,
    the bound of `heavy_tails` holds for sum Z_i with sum v_i in the place of n v: for lambda > 0 fixed by the H_i
        P( sum Z_i >= L/lambda + (lambda/6) (sum Z_i^2 + 2 sum v_i) | H_1 .. H_n ) <= exp(-L),
    and so does all that is made of it there with v the mean of the v_i.
Proof
    Given the H_i the Z_i are independent, and E exp(lambda Z_i - lambda^2 Z_i^2/6) <= 1 + lambda^2 v_i/3 <=
    exp(lambda^2 v_i/3) as there; the product over the draws needs the sum of the v_i only, and sqrt(2 L/sum v_i), which
    lambda is, is known once the H_i are. Chebyshev's inequality, for the far root, needs no more than the sum.  QED
Use
    Z = g(H) (t - E[t | H]) with H what a predictor sees: v = g(H)^2 Var(t | H) is known from the law, so that no tail
    of g, which may be a trained model, has to be bounded. If the oracle that gives mean and variance is wrong, the
    error rates are not claimed, and the comparison is what refuses it.
"""

from __future__ import annotations

import math

from .heavy_tails import MeanComparison, compare_mean


def compare_with_zero(
    count: int,
    total: float,
    total_of_squares: float,
    total_of_variances: float,
    *,
    scale: float = 1.0,
    false_alarm: float = 1e-6,
    miss: float = 1e-3,
) -> MeanComparison:
    """Compare the mean of the Z_i with 0, in units of `scale`.

    total, total_of_squares    sums of Z_i and Z_i^2;  total_of_variances: the sum of the v_i, positive
    Raises ValueError where `compare_mean` does.
    """
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"need a positive unit, got {scale}")
    return compare_mean(
        count, total / scale, total_of_squares / scale**2, total_of_variances / count / scale**2,
        false_alarm=false_alarm, miss=miss,
    )  # fmt: skip
