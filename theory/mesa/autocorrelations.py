r"""Moments of the autocorrelations c_k = s_t . s_(t+k) of a sequence s_(t+1) = W s_t with orthogonal W.

Main statements
    stationary      c_k = s_1^T W^k s_1 does not depend on t, and c_-k = c_k; so every statistic of a sequence that is
                    a polynomial in dot products is one in c_0, c_1, c_2, ..
    given W         with A_k = (W^k + W^-k)/2 and s_1 ~ N(0, I), by Isserlis' theorem
                        E[c_i c_j | W]     = tr A_i tr A_j + 2 tr A_i A_j
                        E[c_i c_j c_k | W] = tr A_i tr A_j tr A_k + 2 (three terms tr A_i tr A_j A_k) + 8 tr A_i A_j A_k
    power traces    the A_k commute and have eigenvalues cos(k theta), and a product of cosines is a mean over signs:
                    tr A_i A_j .. = mean over signs of p_(i +- j +- ..), p_k = tr W^k
    over W          the joint moments of the p_k under Haar measure (`haar_traces`), whole numbers; so those of the c_k
    sphere          c_k is |s_1|^2 times a function of W and the direction of s_1. So for s_1 uniform on the sphere of
                    squared radius n, a product of m factors has n^m / (n (n + 2) .. (n + 2m - 2)) times its mean
Assumptions
    W ~ Haar(O(n)) and s_1 ~ N(0, I_n) (or uniform on that sphere), independent; no noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from itertools import product

from ..algebra.gaussian_moments import RandomVector, expectation
from ..algebra.trace_polynomials import Monomial, TracePolynomial, identity, matrix, scalar, trace, vector
from .haar_traces import haar_traces

LETTERS = ("A", "B", "C")
STATE = RandomVector("s", identity())


@cache
def given_transition(count: int) -> TracePolynomial:
    """E of the product of `count` quadratic forms s^T A s, s^T B s, .. over s ~ N(0, I).

    >>> given_transition(2)
    tr(A) tr(B) + 2 tr(A B)
    """
    s, form = vector("s"), identity("1")
    for name in LETTERS[:count]:
        form = form * trace(s.T * matrix(name, symmetric=True) * s)
    return expectation(form, [STATE])


Index = tuple[int, ...]  # coefficients of the indices i, j, k in one exponent of W


def symbol_of(index: Index) -> str:
    """The name of p with that exponent, the first coefficient positive.

    >>> symbol_of((1, 0, -1))
    'p[i-k]'
    """
    names = ("i", "j", "k")
    parts = [("-" if c < 0 else "+") + names[place] for place, c in enumerate(index) if c]
    return f"p[{''.join(parts).removeprefix('+')}]"


def index_of(symbol: str, count: int) -> Index:
    """The inverse of `symbol_of`."""
    inside = symbol[2:-1]
    signs = {name: 0 for name in ("i", "j", "k")[:count]}
    sign = 1
    for character in inside:
        if character in "+-":
            sign = 1 if character == "+" else -1
        else:
            signs[character] = sign
    return tuple(signs.values())


def mean_over_signs(letters: Sequence[str], count: int) -> TracePolynomial:
    """tr of a product of A_i, A_j, .. in the p: the mean of p over the signs of all letters but the first."""
    places = sorted(LETTERS.index(name) for name in letters)
    total: TracePolynomial = 0 * identity("1")
    for signs in product((1, -1), repeat=len(places) - 1):
        index = [0] * count
        for place, sign in zip(places, (1, *signs), strict=True):
            index[place] += sign
        total = total + scalar(symbol_of(tuple(index)))
    mean: TracePolynomial = total / 2 ** (len(places) - 1)
    return mean


@cache
def in_power_traces(count: int) -> TracePolynomial:
    """E[c_i c_j (c_k) | W] as a polynomial in the p.

    >>> in_power_traces(2)
    p[i+j] + p[i-j] + p[i] p[j]
    """
    total = 0 * identity("1")
    for monomial, value in given_transition(count).terms.items():
        total = total + value * product_of_traces(monomial, count)
    return total


def product_of_traces(monomial: Monomial, count: int) -> TracePolynomial:
    factors = [mean_over_signs([letter.name for letter in word], count) for word in monomial.traces]
    result = identity("1")
    for factor in factors:
        result = result * factor
    return result


@dataclass(frozen=True)
class Autocorrelations:
    """E of products of two and three c_k, at one dimension n; whole numbers where the polynomials are the derived ones.

    pair, triple    polynomials in the p: those of `in_power_traces`, or altered ones
    of_traces       indices -> the mean of the product of tr W^k: over Haar measure, or for one matrix
    initial         the law of s_1: "gaussian" or "sphere"
    """

    n: int
    pair: TracePolynomial
    triple: TracePolynomial
    of_traces: Callable[..., Fraction | int]
    initial: str = "gaussian"

    @cached_property
    def known(self) -> dict[Index, Fraction]:
        return {}

    def moment(self, *indices: int) -> Fraction:
        """E c_i c_j or E c_i c_j c_k."""
        key = tuple(sorted(abs(k) for k in indices))
        if key not in self.known:
            mean = self.value(self.pair if len(key) == 2 else self.triple, key)
            self.known[key] = mean * radial_factor(self.n, len(key), self.initial)
        return self.known[key]

    def value(self, polynomial: TracePolynomial, indices: Index) -> Fraction:
        """The mean of a polynomial in the p. Raises ValueError for a product of more than three, or a quotient."""
        total = Fraction(0)
        for monomial, value in polynomial.terms.items():
            total += value * self.of_traces(*exponents(monomial, indices))
        return total


def exponents(monomial: Monomial, indices: Index) -> list[int]:
    """The exponents of W in a product of p, with multiplicity. Raises ValueError for a negative power of a p."""
    found: list[int] = []
    for name, power in monomial.scalars:
        if power < 0:
            raise ValueError(f"need powers of {name} that are not negative, got {power}")
        index = sum(c * k for c, k in zip(index_of(name, len(indices)), indices, strict=True))
        found += [index] * power
    return found


INITIALS = ("gaussian", "sphere")


def radial_factor(n: int, count: int, initial: str) -> Fraction:
    """E |s_1|^(2 count) relative to that of N(0, I_n).

    >>> radial_factor(2, 2, "sphere")
    Fraction(1, 2)
    """
    factor = Fraction(1)
    for k in range(count if initial == "sphere" else 0):
        factor *= Fraction(n, n + 2 * k)
    return factor


@cache
def autocorrelations(n: int, initial: str = "gaussian") -> Autocorrelations:
    """The derived moments under Haar measure."""
    return Autocorrelations(n, in_power_traces(2), in_power_traces(3), haar_traces(n).moment, initial)
