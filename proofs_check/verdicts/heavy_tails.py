r"""Comparing a mean with a prediction when the draws have heavy tails and an exactly known second moment.

Main statement (after [delyon2009exponential]; the proof is short and given here)
    Let Z_1..Z_n be independent copies of Z with mean mu and E (Z - mu)^2 <= v. For every lambda > 0 and L > 0
        P( sum (Z_i - mu) >= L/lambda + (lambda/6) (sum (Z_i - mu)^2 + 2 n v) ) <= exp(-L),
    whatever the tails of Z: no higher moment, no clipping, no normal approximation.
Proof
    f(x) = log(1 + x + x^2/3) - x + x^2/6 is defined for all real x (the quadratic has no root), f(0) = 0, and
    f'(x) = (x^3/9)/(1 + x + x^2/3) has the sign of x, so f >= 0 and exp(x - x^2/6) <= 1 + x + x^2/3. With
    x = lambda (Z - mu):  E exp(lambda (Z - mu) - lambda^2 (Z - mu)^2/6) <= 1 + lambda^2 v/3 <= exp(lambda^2 v/3).
    Multiply over the n draws and apply Markov's inequality to the product.  QED
    For deviations to the other side apply it to -Z.
Use
    lambda = sqrt(2 L/(n v)) is fixed before the data are seen. With sum (Z_i - mu)^2 near n v the bound is
    sqrt(2 L v/n) on the mean: 5.4 standard errors at a two-sided rate of 1e-6, against 4.9 for normal draws.
    A monstrous draw only widens the interval, through the sum of squares.
What `variance` has to be when the prediction is wrong
    The proof uses v >= E (Z - mu)^2 under the law that the draws have, mu being their own mean. A bound on
    E (Z - predicted)^2 = E (Z - mu)^2 + (mu - predicted)^2 under that law is enough, whether mu = predicted or not.
    Whether a plan still gives such a bound for a wrong prediction depends on the plan. It does for the gradient at
    given weights A: its second moment is a polynomial in A and the law of the prompt that holds at every A,
    stationary or not. It does for E Z^2 + predicted^2 where Z and the prediction are not negative and E Z^2 is
    exact. It does not where the law of the prompt itself is another one than the plan says.
    There the loss is gradual: if the variance is r v instead, the same proof gives exp(-L (5 - 2 r)/3) for exp(-L),
    because n lambda^2 (r - 1) v/3 = (2/3) (r - 1) L is what is missing; nothing is left from r = 5/2 on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class MeanComparison:
    """A sampled mean beside its prediction.

    allowed      what |measured - predicted| may be: if the prediction is right, it is exceeded with probability
                 at most `false_alarm`
    detectable   depends on the draws, through their spread. For each true gap g, if `variance` was a bound under
                 that gap too: with probability at most `miss` the comparison holds and detectable <= g.
                 It is no promise that g is refused because some run states g: other runs may state more, and hold.
    Both are infinite where the sample is too small for its rate.
    """

    measured: float
    predicted: float
    allowed: float
    detectable: float
    false_alarm: float
    miss: float
    draws: int

    @property
    def holds(self) -> bool:
        return abs(self.measured - self.predicted) <= self.allowed


def compare_mean(
    count: int,
    total: float,
    total_of_squares: float,
    variance: float,
    *,
    predicted: float = 0.0,
    false_alarm: float = 1e-6,
    miss: float = 1e-3,
) -> MeanComparison:
    """Compare the mean of `count` draws with `predicted`, valid for any tails.

    total, total_of_squares    sums of Z_i and Z_i^2
    variance                   an upper bound on E (Z - predicted)^2 under the law of the draws (the module says when
                               it has to hold for a wrong prediction too), not estimated from the same draws
    Two-sided for `allowed`. For `detectable` one side is enough: a gap g passes only if the mean errs by at least
    g - allowed towards the prediction. Raises ValueError for an empty sample, a variance that is not positive, or
    rates outside (0, 1).
    """
    check_sample(count, variance, false_alarm, miss)
    mean = total / count
    spread = max(0.0, total_of_squares / count - mean**2)  # about the sample mean
    allowed = largest_deviation(count, spread, variance, exponent(count, false_alarm, sides=2))
    beyond = largest_deviation(count, spread, variance, exponent(count, miss, sides=1))
    return MeanComparison(mean, predicted, allowed, allowed + beyond, false_alarm, miss, count)


def check_sample(count: int, variance: float, false_alarm: float, miss: float) -> None:
    """Refuse what the bound does not cover."""
    if count < 1:
        raise ValueError(f"need at least one draw to compare a mean, got {count}")
    if not (math.isfinite(variance) and variance > 0):
        raise ValueError(f"need a positive finite bound on the variance, got {variance}")
    if not (0 < false_alarm < 1 and 0 < miss < 1):
        raise ValueError(f"need rates between 0 and 1, got false_alarm={false_alarm}, miss={miss}")


def exponent(count: int, rate: float, *, sides: int) -> float:
    """L at which `largest_deviation` is exceeded with probability at most `rate`; infinite where n is too small."""
    left = rate - far_probability(count)
    return math.log(sides / left) if left > 0 else math.inf


def far_probability(count: int) -> float:
    """2 (n + 1) exp(-3 n/4), a bound on the probability that the mean deviates beyond the larger root.

    Both are those of `largest_deviation`. Say that delta is there, to one side. That the roots exist means
    (2/3) L/n + (lambda^2/9) (spread + 2 v) < 1, so spread + 2 v < 9/lambda^2 and 2 L < 3 n; and delta >= 3/lambda.
    - If 3 k/lambda <= delta < 6 k/lambda with k = 2^j, take the main statement at lambda' = lambda/(2 k), L' = 3 n/4:
          delta - (lambda'/6) delta^2 >= (9/4) k/lambda,  as the left side grows up to delta = 3/lambda' = 6 k/lambda,
          L'/(n lambda') + (lambda'/6) (spread + 2 v) < (3/2) k/lambda + (3/4)/(k lambda) <= (9/4) k/lambda,
      so its event has happened: probability at most exp(-3 n/4) for each j = 0 .. n - 1.
    - Else delta >= 3 2^n/lambda: by Chebyshev's inequality, to both sides together, at most 2 L/(9 n^2 4^n) <= 4^-n.
    """
    return 2 * (count + 1) * math.exp(-0.75 * count)


def half_width(count: int, second_moment: float, variance: float, L: float) -> float:
    """L/(n lambda) + (lambda/6)(second_moment + 2 v) at lambda = sqrt(2 L/(n v))."""
    rate = math.sqrt(2 * L / (count * variance))
    return L / (count * rate) + rate / 6 * (second_moment + 2 * variance)


def largest_deviation(count: int, spread: float, variance: float, L: float) -> float:
    """The deviation of the mean that is exceeded to one side with probability at most exp(-L) + `far_probability`.

    To either side: at most 2 exp(-L) + `far_probability`. spread is the second moment about the sample mean; about the
    true mean it is spread + delta^2. So but for probability exp(-L) a deviation delta to one side obeys
        delta - (lambda/6) delta^2 < half_width at second moment spread,
    that is: it is below the smaller root or beyond the larger one, which is at least 3/lambda. Infinite where the
    sample is too small for the two roots to exist, and for infinite L.
    """
    if math.isinf(L):
        return math.inf
    rate = math.sqrt(2 * L / (count * variance))
    base = half_width(count, spread, variance, L)
    discriminant = 1 - 4 * (rate / 6) * base
    # Not (1 - sqrt(discriminant))/(rate/3), which is the same root and loses every digit that n has over 1e8.
    return 2 * base / (1 + math.sqrt(discriminant)) if discriminant > 0 else math.inf
