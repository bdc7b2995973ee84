r"""Means of powers of the resolvent of a Wishart matrix: T_r = E tr (X^T X + lambda)^-r, X (n, d) standard normal.

Main statements
    de Bruijn      the m = min(n, d) eigenvalues of X^T X that are not 0 have the density prop. to prod |t_i - t_j| prod
                   w(t_i), w(t) = t^alpha e^(-t/2), alpha = (|n - d| - 1)/2 [muirhead1982aspects, Theorem 3.2.18], so
                   that [debruijn1955some], as in `one_layer.wishart`,
                       E sum_i g(t_i) = 1/2 tr(A^-1 A'),  A_ij = S(alpha + i, alpha + j),  A'_ij = G(i, j) - G(j, i),
                       S(a, b) = int int sgn(y - x) x^a y^b e^(-(x + y)/2),   G the same with g(x) besides,
                   both bordered by single integrals where m is odd
    by parts       y^b e^(-y/2) = 2 b y^(b-1) e^(-y/2) - 2 (y^b e^(-y/2))', and int sgn(y - x) f'(y) dy = -2 f(x) for
                   f(0) = 0 = f(oo). So for b > 0
                       S(a, b) = 2 b S(a, b - 1) + 4 Gamma(a + b + 1),   S(alpha, alpha) = 0,
                       G(a, b) = 2 b G(a, b - 1) + 4 K(a + b),           K(c) = int x^c e^-x g(x)
                   S(alpha + i, alpha + j) is a whole number, as 2 alpha is
    the pole       for g_r(x) = (x + lambda)^-r:  x g_r = g_(r-1) - lambda g_r, so that in each of S = G_0, K and the
                   single integrals L(a) = int x^a e^(-x/2) g_r
                       F_r(a + 1, ..) = F_(r-1)(a, ..) - lambda F_r(a, ..)
    starts         K_1(0) = e^lambda E_1(lambda); for odd |n - d| (alpha whole) from b = 0, where int sgn(y - x)
                   e^(-y/2) dy = 4 e^(-x/2) - 2; for even |n - d| from
                       L_1(-1/2) = pi lambda^(-1/2) e^(lambda/2) erfc(sqrt(lambda/2)),
                       G_1(-1/2, -1/2) = sqrt(2 pi) (L_1(-1/2) - 2 F),
                       F = int x^(-1/2) e^(-x/2) erf(sqrt(x/2)) g_1 = sqrt(2/pi) sum_k K_1(k)/(2k + 1)!!,
                   as erf(sqrt(x/2)) = sqrt(2/pi) e^(-x/2) sum_k x^(k + 1/2)/(2k + 1)!!; those of r = 2 by
                   d g_1/d lambda = -g_2, where
                       F' = F/2 - F/(2 lambda) - sqrt(2 pi)/(4 lambda) + K_1(0)/(sqrt(2 pi) lambda)
Errors
    All recursions are exact, and evaluated with as many digits as two evaluations with different numbers of digits need
    to agree to 1e-13: `mean_resolvent_powers` is right to about that, relative. So is T_1 - lambda T_2 of the fractions
    of `exact_resolvent_powers`, in which the eigenvalues 0 cancel and rounded ones would not. For |n - d| or lambda far
    from 0 the recursions cancel in hundreds of digits. There `one_layer.wishart` integrates, to 1e-12: T_1 and the sum
    of t/(t + lambda)^2, which is T_1 - lambda T_2, without a difference.
References
    The density and de Bruijn's formula as cited; the recursions are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import cache, lru_cache
from typing import Any, NamedTuple

from ..one_layer.assumptions import AssumptionError, FloatArray
from ..one_layer.wishart import mean_over_eigenvalues

LARGEST = 40
AGREEMENT = 13  # decimal digits in which two evaluations agree
MOST_DIGITS = 4000
FURTHEST, STRONGEST = 40, 1e3  # |n - d| and penalty of the recursions: up to there some tenths of a second
NO_PENALTY = 1e-60  # what is below changes no mean of 1/t^2 for |n - d| > FURTHEST, where that of 1/t^3 is finite
ORDERS = (1, 2)
SMALL = 20  # above it the continued fraction of E_n needs few terms


class ResolventPowers(NamedTuple):
    """E tr (X^T X + lambda)^-1 and E tr (X^T X + lambda)^-2, over all d eigenvalues."""

    first: float
    second: float


class ExactPowers(NamedTuple):
    """The same, before rounding to floats: T_1, T_2 and T_1 - lambda T_2 are each right to about 1e-12."""

    first: Fraction
    second: Fraction


def mean_resolvent_powers(samples: int, dimension: int, penalty: float) -> ResolventPowers:
    """T_1 and T_2 for penalty lambda > 0. Raises AssumptionError above LARGEST for the smaller side.

    >>> found = mean_resolvent_powers(20, 20, 1.0)
    >>> round(found.first, 12), round(found.second, 12)
    (4.179213670109, 2.417256802005)
    """
    found = exact_resolvent_powers(samples, dimension, penalty)
    try:
        return ResolventPowers(float(found.first), float(found.second))
    except OverflowError:
        raise AssumptionError(
            f"penalty needs a size at which means of 1/penalty^2 stay below 1e308, got {penalty:g}; give a larger one"
        ) from None


def exact_resolvent_powers(samples: int, dimension: int, penalty: float) -> ExactPowers:
    """T_1 and T_2 as fractions, the d - n eigenvalues 0 of fewer samples without any error."""
    m, difference = min(samples, dimension), abs(samples - dimension)
    if m > LARGEST:
        raise AssumptionError(
            f"means over Wishart eigenvalues are evaluated up to {LARGEST} of them, got {m}; lower the dimension or "
            "the number of examples"
        )
    null, exact = dimension - m, Fraction(penalty)
    first, second = means_over_positive(m, difference, penalty)
    return ExactPowers(first + null / exact, second + null / exact**2)


@lru_cache(maxsize=4096)
def means_over_positive(count: int, difference: int, penalty: float) -> tuple[Fraction, Fraction]:
    """E sum_i (t_i + lambda)^-r over the `count` positive eigenvalues, r = 1, 2, |n - d| = difference."""
    if count == 0:
        return Fraction(0), Fraction(0)
    if difference > FURTHEST or penalty > STRONGEST:
        return by_quadrature(count, difference, penalty)
    return by_recursion(count, difference, penalty)


def by_quadrature(count: int, difference: int, penalty: float) -> tuple[Fraction, Fraction]:
    """Both means, the larger one of T_1 - lambda T_2 and lambda T_2 as the difference of T_1 and the other."""
    pole = max(penalty, NO_PENALTY) if difference > FURTHEST else penalty

    def mean(function: Callable[[FloatArray], FloatArray]) -> Fraction:
        return Fraction(mean_over_eigenvalues(count + difference, count, function, pole))

    first, passed = mean(lambda t: 1 / (t + pole)), mean(lambda t: t / (t + pole) / (t + pole))
    if first > 2 * passed:
        return first, (first - passed) / Fraction(penalty)
    return first, mean(lambda t: 1 / (t + pole) / (t + pole))


def by_recursion(count: int, difference: int, penalty: float) -> tuple[Fraction, Fraction]:
    """Both means with as many digits as they need."""
    digits = first_digits(count, penalty)
    found = evaluated(count, difference, penalty, digits)
    while digits <= MOST_DIGITS:
        digits = digits * 3 // 2
        finer = evaluated(count, difference, penalty, digits)
        if agree(found, finer, Fraction(penalty)):
            return finer
        found = finer
    raise AssumptionError(
        f"the mean over {count} eigenvalues at penalty {penalty:g} needs more than {MOST_DIGITS} digits; give a "
        "penalty nearer to 1"
    )


def agree(found: tuple[Fraction, Fraction], finer: tuple[Fraction, Fraction], penalty: Fraction) -> bool:
    """Whether both means and the sum of t/(t + lambda)^2, their difference T_1 - lambda T_2, agree."""
    coarse, fine = ((*pair, pair[0] - penalty * pair[1]) for pair in (found, finer))
    return all(abs(a - b) <= abs(b) * Fraction(1, 10**AGREEMENT) for a, b in zip(coarse, fine, strict=True))


def first_digits(count: int, penalty: float) -> int:
    """Digits to begin with: the condition of the moments, and of differences S - lambda G for a large lambda."""
    import math

    return 40 + 3 * count + math.ceil((count + 4) * max(0.0, math.log10(penalty)))


def evaluated(count: int, difference: int, penalty: float, digits: int) -> tuple[Fraction, Fraction]:
    """Both means from tables with that many digits, as the fractions that the floats with these digits are."""
    import mpmath

    with mpmath.workdps(digits):
        tables = Tables(difference, count, mpmath.mpf(penalty))
        inverse = mpmath.inverse(mpmath.matrix(tables.skew()))
        slopes = [tables.slope(order) for order in ORDERS]
        means = [half_trace_of_product(inverse, slope) for slope in slopes]
        return as_fraction(means[0]), as_fraction(means[1])


def half_trace_of_product(left: Any, right: list[list[Any]]) -> Any:
    """1/2 tr(left right)."""
    size = len(right)
    return sum(left[i, j] * right[j][i] for i in range(size) for j in range(size)) / 2


def as_fraction(value: Any) -> Fraction:
    """The rational number that a float of many digits is."""
    sign, mantissa, exponent, _ = value._mpf_
    whole = Fraction(-int(mantissa) if sign else int(mantissa))
    return whole * (Fraction(2**exponent) if exponent >= 0 else Fraction(1, 2**-exponent))


class Tables:
    """S, G_r, the single integrals and K_r of one weight, with exponents counted from alpha, in the ring of `penalty`.

    By order r = 0 (without the penalty), 1 and 2. `penalty` may be of any field that holds the starts (`starts`).
    """

    def __init__(self, difference: int, count: int, penalty: Any, starts: Callable[..., Starts] | None = None) -> None:
        self.count, self.penalty = count, penalty
        self.alpha = Fraction(difference - 1, 2)
        given = (starts or numbers_at_start)(difference, penalty)
        self.pairs = [whole_pairs(difference, count)]
        self.singles, self.powers = [given.singles_without_penalty(count)], [factorials(difference + 2 * count)]
        for order in ORDERS:
            self.singles.append(self.column(self.singles[-1], given.singles[order - 1], count))
            # K_r(c), c = 0, 1, ..: those with c >= |n - d| are used
            self.powers.append(self.column(self.powers[-1], given.powers[order - 1], difference + 2 * count))
            self.pairs.append(self.table(order, given.pairs[order - 1], difference))

    def column(self, lower: list[Any], start: Any, length: int) -> list[Any]:
        """F_r from F_(r-1) and its first entry."""
        found = [start]
        for k in range(length - 1):
            found.append(lower[k] - self.penalty * found[k])
        return found

    def table(self, order: int, start: Any, difference: int) -> list[list[Any]]:
        """G_r(alpha + i, alpha + j): down by the pole, across by parts."""
        lower, K = self.pairs[order - 1], self.powers[order]
        first = self.column([row[0] for row in lower], start, self.count)
        return [
            row_by_parts(entry, self.alpha, [K[difference - 1 + i + j] for j in range(1, self.count)])
            for i, entry in enumerate(first)
        ]

    def skew(self) -> list[list[Any]]:
        """A, bordered for an odd number of eigenvalues."""
        return self.bordered(self.pairs[0], self.singles[0])

    def slope(self, order: int) -> list[list[Any]]:
        """A'."""
        G = self.pairs[order]
        turned = [[G[i][j] - G[j][i] for j in range(self.count)] for i in range(self.count)]
        return self.bordered(turned, self.singles[order])

    def bordered(self, square: list[list[Any]], edge: list[Any]) -> list[list[Any]]:
        if self.count % 2 == 0:
            return square
        return [*([*row, entry] for row, entry in zip(square, edge, strict=True)), [*(-entry for entry in edge), 0]]


def row_by_parts(first: Any, alpha: Fraction, singles: list[Any]) -> list[Any]:
    """F(a, alpha + j) = 2 (alpha + j) F(a, alpha + j - 1) + 4 (single integral) for j = 1, 2, .."""
    found = [first]
    for j, single in enumerate(singles, start=1):
        factor = 2 * alpha + 2 * j  # whole
        found.append(int(factor) * found[-1] + 4 * single)
    return found


def factorials(count: int) -> list[int]:
    """K_0(c) = int x^c e^-x = c!."""
    found = [1]
    for c in range(1, count):
        found.append(c * found[-1])
    return found


@cache
def whole_pairs(difference: int, count: int) -> list[list[int]]:
    """S(alpha + i, alpha + j), whole numbers: across by parts from the first column, which is minus the first row.

    >>> whole_pairs(1, 3)
    [[0, 4, 24], [-4, 0, 24], [-24, -24, 0]]
    """
    alpha, table = Fraction(difference - 1, 2), list[list[int]]()
    gamma = factorials(difference + 2 * count + 1)
    for i in range(count):
        start = -table[0][i] if i else 0
        table.append(row_by_parts(start, alpha, [gamma[difference - 1 + i + j] for j in range(1, count)]))
    return table


# Where the recursions start


class Starts(NamedTuple):
    """For r = 1, 2: L_r(alpha), K_r(0), G_r(alpha, alpha); and the single integrals without penalty, so many."""

    singles: tuple[Any, Any]
    powers: tuple[Any, Any]
    pairs: tuple[Any, Any]
    singles_without_penalty: Callable[[int], list[Any]]


def numbers_at_start(difference: int, penalty: Any) -> Starts:
    """With the digits of the present mpmath context."""

    exponential = scaled_exponential_integral(1, penalty)
    powers = (exponential, 1 / penalty - exponential)
    if difference % 2:
        return whole_starts(difference, penalty, powers)
    return half_starts(difference, penalty, powers)


def gammas(exponent: Fraction, first: Any, count: int) -> list[Any]:
    """L_0(a + k) = 2^(a + k + 1) Gamma(a + k + 1), k = 0, 1, .., from the first."""
    found = [first]
    for k in range(1, count):
        found.append(2 * (exponent + k).numerator * found[-1] / (exponent + k).denominator)
    return found


def climbed(lower: list[Any], start: Any, penalty: Any, steps: int) -> Any:
    """F_r(a + steps) from F_r(a) and F_(r-1)(a), .., F_(r-1)(a + steps - 1)."""
    for k in range(steps):
        start = lower[k] - penalty * start
    return start


def whole_starts(difference: int, penalty: Any, powers: tuple[Any, Any]) -> Starts:
    """alpha = 0, 1, .. with L(0) = e^(lambda/2) E_1(lambda/2)."""
    half = scaled_exponential_integral(1, penalty / 2)
    return whole_starts_from(difference, penalty, powers, (half, 1 / penalty - half / 2))


def whole_starts_from(difference: int, penalty: Any, powers: tuple[Any, Any], halves: tuple[Any, Any]) -> Starts:
    """From K_r(0) and L_r(0), in any field: G_r(a, 0) = 4 K_r(a) - 2 L_r(a), and G_r(alpha, b) by parts."""
    alpha, unit = (difference - 1) // 2, penalty**0
    singles, K = [gammas(Fraction(0), 2 * unit, alpha + 1)], [factorials(difference + 1)]
    for start_L, start_K in zip(halves, powers, strict=True):
        singles.append([climbed(singles[-1], start_L, penalty, k) for k in range(alpha + 1)])
        K.append([climbed(K[-1], start_K, penalty, c) for c in range(difference + 1)])
    pairs = tuple(
        row_by_parts(
            4 * K[r][alpha] - 2 * singles[r][alpha], Fraction(0), [K[r][alpha + b] for b in range(1, alpha + 1)]
        )[-1]
        for r in ORDERS
    )
    first = singles[0][alpha]
    return Starts(
        (singles[1][alpha], singles[2][alpha]), powers, (pairs[0], pairs[1]),
        lambda count: gammas(Fraction(alpha), first, count),
    )  # fmt: skip


def half_starts(difference: int, penalty: Any, powers: tuple[Any, Any]) -> Starts:
    """alpha = -1/2, 1/2, ..: from a = b = -1/2 up, in both exponents."""
    import mpmath

    steps, lam = difference // 2, penalty
    low, pi = Fraction(-1, 2), mpmath.pi
    root = mpmath.sqrt(lam / 2)
    single = pi / mpmath.sqrt(lam) * mpmath.exp(lam / 2) * mpmath.erfc(root)
    # d/d lambda of the line above is -L_2(-1/2)
    second_single = single / (2 * lam) - single / 2 + mpmath.sqrt(pi / 2) / lam
    error = integral_with_erf(lam)
    second_error = (
        error / (2 * lam) - error / 2 + mpmath.sqrt(2 * pi) / (4 * lam) - powers[0] / (mpmath.sqrt(2 * pi) * lam)
    )
    scale = mpmath.sqrt(2 * pi)
    corner = (scale * (single - 2 * error), scale * (second_single - 2 * second_error))
    singles, K = [gammas(low, scale, steps + 1)], [factorials(difference + 1)]
    for start_L, start_K in zip((single, second_single), powers, strict=True):
        singles.append([climbed(singles[-1], start_L, lam, k) for k in range(steps + 1)])
        K.append([climbed(K[-1], start_K, lam, c) for c in range(difference + 1)])
    columns = [[row[0] for row in whole_pairs(0, steps + 1)]]
    pairs = list[Any]()
    for order, start in zip(ORDERS, corner, strict=True):
        columns.append([climbed(columns[-1], start, lam, k) for k in range(steps + 1)])
        pairs.append(
            row_by_parts(columns[order][steps], low, [K[order][steps - 1 + j] for j in range(1, steps + 1)])[-1]
        )
    first = singles[0][steps]
    return Starts(
        (singles[1][steps], singles[2][steps]), powers, (pairs[0], pairs[1]),
        lambda count: gammas(low + steps, first, count),
    )  # fmt: skip


def scaled_exponential_integral(order: int, x: Any) -> Any:
    """e^x E_order(x); for large x by the continued fraction 1/(x + n - n/(x + n + 2 - 2 (n + 1)/(x + n + 4 - ..)))."""
    import mpmath

    if x < SMALL:
        return mpmath.exp(x) * mpmath.expint(order, x)
    # Steed's sum of the differences of the convergents, which fall like exp(-4 sqrt(k x)) here
    b = x + order
    D = 1 / b
    total = step = D
    k = 0
    while abs(step) > abs(total) * mpmath.eps:
        k += 1
        b += 2
        factor = -k * (order + k - 1)
        D = 1 / (factor * D + b)
        step = (b * D - 1) * step
        total += step
    return total


def integral_with_erf(lam: Any) -> Any:
    """F, with the digits of the present context: terms fall like 2^-k, and all are positive."""
    import mpmath

    terms = int(3.4 * mpmath.mp.dps) + 20
    K, total, odd = exponential_integrals(lam, terms), mpmath.mpf(0), 1
    for k in range(terms):
        odd *= 2 * k + 1
        total += K[k] / odd
    return mpmath.sqrt(2 / mpmath.pi) * total


def exponential_integrals(lam: Any, count: int) -> list[Any]:
    """K_1(k) = k! e^lambda E_(k+1)(lambda), k < count, from k near lambda: up K(k+1) = k! - lambda K(k), and down.

    Away from k = lambda either direction damps errors: up they grow like lambda^k, slower than K(k) there; down
    like lambda^-k.
    """
    middle, gamma = min(int(lam), count - 1), factorials(count)
    found = [lam * 0] * count
    found[middle] = gamma[middle] * scaled_exponential_integral(middle + 1, lam)
    for k in range(middle, count - 1):
        found[k + 1] = gamma[k] - lam * found[k]
    for k in range(middle, 0, -1):
        found[k - 1] = (gamma[k - 1] - found[k]) / lam
    return found
