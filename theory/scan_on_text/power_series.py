"""Truncated power series in t with rational coefficients: what a flow from rational weights is, order by order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Series:
    """c_0 + c_1 t + ... + c_k t^k, all further terms dropped; two series have equally many coefficients."""

    coefficients: tuple[Fraction, ...]

    def __add__(self, other: Series) -> Series:
        return Series(tuple(a + b for a, b in zip(self.coefficients, other.coefficients, strict=True)))

    def __mul__(self, other: Series) -> Series:
        a, b = self.coefficients, other.coefficients
        return Series(tuple(sum((a[i] * b[k - i] for i in range(k + 1)), Fraction(0)) for k in range(len(a))))

    def __sub__(self, other: Series) -> Series:
        return self + other.scaled(Fraction(-1))

    def scaled(self, factor: Fraction) -> Series:
        return Series(tuple(factor * c for c in self.coefficients))

    def integral(self) -> Series:
        """int_0^t, with one coefficient more."""
        return Series((Fraction(0), *(c / k for k, c in enumerate(self.coefficients, start=1))))

    def exp(self) -> Series:
        """e^s for c_0 = 0, by E' = s' E."""
        return solved(self, lambda s, E, k: sum((j * s[j] * E[k - j] for j in range(1, k + 1)), Fraction(0)) / k)

    def inverse(self) -> Series:
        """1/s for c_0 not 0."""
        first = 1 / self.coefficients[0]
        return solved(
            self, lambda s, E, k: -first * sum((s[j] * E[k - j] for j in range(1, k + 1)), Fraction(0)), first
        )

    def inverse_root(self, at_zero: Fraction) -> Series:
        """s^(-1/2) for c_0 = 1/at_zero^2, by s E' = -s' E/2."""
        inverse = at_zero**2

        def next_one(s: Sequence[Fraction], E: Sequence[Fraction], k: int) -> Fraction:
            moved = sum((j * s[j] * E[k - j] for j in range(1, k + 1)), Fraction(0)) / 2
            kept = sum((j * E[j] * s[k - j] for j in range(1, k)), Fraction(0))
            return -inverse * (moved + kept) / k

        return solved(self, next_one, at_zero)


Rule = Callable[[Sequence[Fraction], Sequence[Fraction], int], Fraction]


def solved(series: Series, rule: Rule, first: Fraction = Fraction(1)) -> Series:
    """Coefficients one after the other: the k-th from the series and the ones before."""
    found = [first]
    for k in range(1, len(series.coefficients)):
        found.append(rule(series.coefficients, found, k))
    return Series(tuple(found))


def constant(value: Fraction, order: int) -> Series:
    """A number, as a series up to t^order."""
    return Series((Fraction(value), *([Fraction(0)] * order)))


def total(series: Sequence[Series]) -> Series:
    """The sum of at least one series."""
    found = series[0]
    for one in series[1:]:
        found = found + one
    return found
