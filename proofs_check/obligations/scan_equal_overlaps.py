"""Obligations of scan-equal-overlaps: the planar flow from literal tables, its solution, and the force.

The forms are of degree at most two in K and in M (their kinds say so), so that literal tables of 2 to 7 classes and 1
to 3 tokens more speak for all. X stands for e^A and Z for e^B: their derivatives are X A' and Z B'.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import flint

from ..engines.expressions import Expression
from ..engines.identities import Identity
from ..engines.points import Point, make_point
from ..engines.relations import Relation, Relations
from .fixed_point import value
from .obligation import ClaimObligations, Forms, Obligation, Polynomial
from .population_loss import TRUSTED
from .scan_decoder import CALCULUS, in_scalars, slope_times_sum, total
from .small_instances import number

THREE, PLANAR, PHASE, TIME = "three values", "planar flow", "a phase makes it linear", "time"
FORCE, OTHER_FORCE, ENDS, LIMITS = "force on distinct tokens", "reparametrised force", "both ends", "no overlap; K = M"
CLASSES, MORE = (2, 3, 4, 5, 6, 7), (1, 2, 3)
Table = list[list[Any]]


def sizes() -> Iterator[tuple[int, int]]:
    """(K, M) of the literal tables; at least one token of no class."""
    return ((K, K + more) for K in CLASSES for more in MORE)


def table(K: int, M: int, own: Any, other: Any, rest: Any) -> Table:
    """Three values for every class and token."""
    return [[own if k == n else other if k < K else rest for k in range(M)] for n in range(K)]


def pulled(point: Point, K: int, M: int) -> Table:
    """S times -dl/dw of every class and token at exponentials X, Z and 1."""
    rows = table(K, M, point["X"], point["Z"], point.one)
    return [[slope_times_sum(row, n, k, point.one) for k in range(M)] for n, row in enumerate(rows)]


def mixed(point: Point, rows: Table, n: int, k: int) -> Any:
    """sum_j (f_n.f_j) rows_jk."""
    return total([row[k] if j == n else row[k] * point["rho"] for j, row in enumerate(rows)])


def at_sizes(form: Expression, point: Point, K: int, M: int) -> Any:
    """A form at literal K and M."""
    return value(form, point.with_values({"K": point.one * K, "M": point.one * M}))


def three_obligation(forms: Forms) -> Identity:
    """Every entry of the literal table of rates is one of the three forms."""
    parts = [forms.expression(THREE, name) for name in ("own", "other", "rest", "partition")]

    def difference(point: Point) -> list[Any]:
        found = []
        for K, M in sizes():
            own, other, rest, S = (at_sizes(part, point, K, M) for part in parts)
            slopes, expected = pulled(point, K, M), table(K, M, own, other, rest)
            found += [mixed(point, slopes, n, k) - expected[n][k] for n in range(K) for k in range(M)]
            found.append(total(table(K, M, point["X"], point["Z"], point.one)[0]) - S)
        return found

    return in_scalars(difference, "X Z rho")


def planar_obligation(forms: Forms) -> Identity:
    """A = own - rest, B = other - rest."""
    own, other, rest = (forms.expression(THREE, name) for name in ("own", "other", "rest"))
    A, B = (forms.expression(PLANAR, name) for name in ("A", "B"))

    def difference(point: Point) -> list[Any]:
        w = [value(part, point) for part in (own, other, rest)]
        return [w[0] - w[2] - value(A, point), w[1] - w[2] - value(B, point)]

    return in_scalars(difference, "X Z rho K M")


def phase_obligation(forms: Forms) -> Identity:
    """s A' - m B' = c (1 - rho) Z; Z' + Z phi' = s phi'/(1 - rho), times S; and Z = 1 at y = 1."""
    A, B = (forms.expression(PLANAR, name) for name in ("A", "B"))
    s, m, c = (forms.expression(PHASE, name) for name in ("s", "m", "c"))

    def difference(point: Point) -> list[Any]:
        d, Z = point.one - point["rho"], point["Z"]
        speed = d * Z  # S dphi/dtau
        grown = d * Z * (value(B, point) + speed) - value(s, point) * speed
        linear = value(s, point) * value(A, point) - value(m, point) * value(B, point) - value(c, point) * speed
        return [linear, grown, d - value(s, point) + point["rho"] * point["M"]]

    return in_scalars(difference, "Z rho K M")


def time_obligation(forms: Forms) -> Identity:
    """The terms' slopes by phi add up to S/Z: with v = s y - rho M the binomial sum is y^(K - 1), for K = 2 .. 7.

    sum_i C(K - 1, i) (rho M)^(K - 1 - i) v^i = (s y)^(K - 1); and c - m = (K - 1) s, so that X/Z = Z^(m/s
    - 1) y^(c/s) with Z = v/((1 - rho) y) is (v/(1 - rho))^(m/s - 1) y^K.
    """
    s, m, c = (forms.expression(PHASE, name) for name in ("s", "m", "c"))

    def difference(point: Point) -> list[Any]:
        found = []
        top, shared, y = value(s, point), point["rho"] * point["M"], point["y"]
        v = top * y - shared
        for K in CLASSES:
            terms, binomial = [], 1
            for i in range(K):
                terms.append(power(shared, K - 1 - i, point) * power(v, i, point) * binomial)
                binomial = binomial * (K - 1 - i) // (i + 1)
            found.append(total(terms) - power(top * y, K - 1, point))
        # y^(c/s) Z^(m/s - 1) with Z = v/(d y): the power of y is c/s - m/s + 1 = K
        found.append(value(c, point) - value(m, point) - (point["K"] - point.one) * top)
        return found

    return in_scalars(difference, "rho K M y")


def power(base: Any, exponent: int, point: Point) -> Any:
    """base^exponent."""
    found = point.one
    for _ in range(exponent):
        found = found * base
    return found


def force_obligation(forms: Forms) -> Identity:
    """S xi = S c_n - sum_j (f_n.f_j) S c_j from tables v = (a, b, 0), leads A, B of G v; det times it is the form."""
    form, det = forms.expression(FORCE, "force"), forms.expression(FORCE, "determinant")

    def difference(point: Point) -> list[Any]:
        found = []
        for K, M in sizes():
            written = table(K, M, point["a"], point["b"], point.one * 0)
            A, B = (mixed(point, written, 0, k) for k in (0, 1))
            slopes = pulled(point, K, M)[0]
            c = [total([x * g for x, g in zip(row, slopes, strict=True)]) for row in written]
            xi = c[0] - total([one if j == 0 else one * point["rho"] for j, one in enumerate(c)])
            here = point.with_values({"A": A, "B": B})
            found.append(xi * at_sizes(det, here, K, M) - at_sizes(form, here, K, M))
        return found

    return in_scalars(difference, "X Z rho a b")


def other_force_obligation(forms: Forms) -> Identity:
    """The force at A = u, B = 0, Z = 1 = (K - 1) rho u (1 + rho (M - 1))."""
    form, special = forms.expression(FORCE, "force"), forms.expression(OTHER_FORCE, "force")

    def difference(point: Point) -> list[Any]:
        one, rho, K, M = point.one, point["rho"], point["K"], point["M"]
        there = point.with_values({"A": point["u"], "B": one * 0, "Z": one})
        stated = (K - one) * rho * point["u"] * (one + rho * (M - one))
        return [value(form, there) - value(special, point), stated - value(special, point)]

    return in_scalars(difference, "u rho K M")


def ends_obligation(forms: Forms) -> Identity:
    """Both ratios, cross-multiplied, with s, c and the planar rates at their ends."""
    force_form, special = forms.expression(FORCE, "force"), forms.expression(OTHER_FORCE, "force")
    A, B = (forms.expression(PLANAR, name) for name in ("A", "B"))
    s, c = (forms.expression(PHASE, name) for name in ("s", "c"))
    early, early_under, late, late_under = (
        forms.expression(ENDS, name) for name in ("early", "early_under", "late", "late_under")
    )

    def difference(point: Point) -> list[Any]:
        one, rho, M = point.one, point["rho"], point["M"]
        d, top = one - rho, value(s, point)
        start = point.with_values({"Z": one, "A": one, "B": rho, "u": one})
        at_start = value(force_form, start) * value(early_under, point) - value(special, start) * value(early, point)
        # linear in Z: (1 - rho) times the force at Z = s/(1 - rho), for A = 1 and B = 0
        leads = {"A": one, "B": one * 0}
        fixed = value(force_form, point.with_values({**leads, "Z": one * 0}))
        slope = value(force_form, point.with_values({**leads, "Z": one})) - fixed
        loss, other = slope * top + fixed * d, value(special, start)
        at_end = loss * M * value(late_under, point) - other * d * value(c, point) * value(late, point)
        # at the ceiling S dA/dtau: (1 - rho) Z = s makes it c, and S dB/dtau 0
        rates = [value(form, point.with_values({"Z": one * 0})) for form in (A, B)]
        own_slope = value(A, point.with_values({"Z": one})) - rates[0]
        growth = own_slope * top + rates[0] * d - value(c, point) * d
        first = [value(A, start) - M, value(B, start) - rho * M]  # S = M there
        return [at_start, at_end, growth, rates[1] - top, *first]

    return in_scalars(difference, "rho K M")


def parts_obligation(forms: Forms) -> Identity:
    """late = 1/(1 - rho) + (M - K) rho/(s (1 + (K - 1) rho)) and early = (1 - rho)(1 + (K - 1) rho)/s: quotients."""
    early, early_under, late, late_under = (
        forms.expression(ENDS, name) for name in ("early", "early_under", "late", "late_under")
    )

    def difference(point: Point) -> list[Any]:
        one, rho, K, M = (point.one, *(point[name] for name in ("rho", "K", "M")))
        s, d, shared = one + rho * (M - one), one - rho, one + (K - one) * rho
        sides = (s * shared + (M - K) * rho * d, d * s * shared, d * shared, s)
        forms_at = [value(form, point) for form in (late, late_under, early, early_under)]
        return [a - b for a, b in zip(sides, forms_at, strict=True)]

    return in_scalars(difference, "rho K M")


def limits_obligation(forms: Forms) -> Identity:
    """At rho = 0 s = 1 and c = M; at K = M m = s and c = M s."""
    s, m, c = (forms.expression(PHASE, name) for name in ("s", "m", "c"))

    def difference(point: Point) -> list[Any]:
        one, M = point.one, point["M"]
        none, all_ = point.with_values({"rho": one * 0}), point.with_values({"K": M})
        return [
            value(s, none) - one, value(c, none) - M, value(m, all_) - value(s, all_),
            value(c, all_) - M * value(s, all_),
        ]  # fmt: skip

    return in_scalars(difference, "rho K M")


SERIES = (
    f"That a sum whose slope is S/Z is the time (step {TIME!r}), powers with real exponents, and the binomial theorem "
    "beyond seven classes."
)
LATE = f"The limits t -> 0 and t -> infinity (step {ENDS!r}): that A and u are ln t up to constants."
LITERAL = (
    "That literal tables of 2 to 7 classes and 1 to 3 tokens more speak for all: in K and M together the statements "
    "have degree at most five, in M at most two."
)


def polynomial(names: str) -> Polynomial:
    """The kind of a polynomial in these numbers: K, M and rho at most squared, the others linear."""
    squared: Sequence[str] = ("K", "M", "rho")
    powers = {name: ((1, 2, 3) if name == "rho" else (1, 2)) if name in squared else (1,) for name in names.split()}
    return Polynomial("1", "1", frozenset(), powers)


def obligations() -> ClaimObligations:
    """The eight steps."""
    sizes_only = polynomial("K M rho")
    return ClaimObligations(
        "scan-equal-overlaps",
        (
            "dw_n/dtau = sum_j (f_n.f_j)(e_j - softmax(w_j)) from 0, f_n.f_j = rho for different n, j; 2 <= K <= M",
            "X = e^A, Z = e^B, dphi/dtau = (1 - rho) Z/S",
        ),
        {
            THREE: {name: polynomial("X Z K M rho") for name in ("own", "other", "rest", "partition")},
            PLANAR: {name: polynomial("Z K M rho") for name in ("A", "B")},
            PHASE: dict.fromkeys(("s", "m", "c"), sizes_only),
            TIME: {},
            FORCE: {"force": polynomial("Z A B K M rho"), "determinant": polynomial("K rho")},
            OTHER_FORCE: {"force": polynomial("u K M rho")},
            ENDS: dict.fromkeys(("early", "early_under", "late", "late_under"), sizes_only),
            LIMITS: {},
        },
        (
            Obligation(THREE, "S dw/dtau is own, other and rest, for every class and token", three_obligation),
            Obligation(PLANAR, "own - rest = A, other - rest = B", planar_obligation),
            Obligation(PHASE, "s A - m B = c (1 - rho) Z, and (1 - rho) Z e^phi = s e^phi - rho M", phase_obligation),
            Obligation(TIME, "the sum's slope is X/Z, for K = 2 .. 7", time_obligation),
            Obligation(FORCE, "S det (c_n - sum_j (f_n.f_j) c_j) = force, for every class and token", force_obligation),
            Obligation(OTHER_FORCE, "force = (K - 1) rho s u at A = u, B = 0, Z = 1", other_force_obligation),
            Obligation(ENDS, "both ratios are those of the forces at their ends", ends_obligation),
            Obligation(ENDS, "and as printed in the step", parts_obligation),
            Obligation(LIMITS, "rho = 0: s = 1, c = M; K = M: m = s, c = M s", limits_obligation),
        ),
        (TRUSTED[0], TRUSTED[3], CALCULUS, SERIES, LATE, LITERAL),
    )


# The printed remark

SUM, START, COUNTEREXAMPLE = "sum of the zeta_n", "at the start", "counterexample"


def sum_obligation(forms: Forms) -> Identity:
    """sum_n (M e_n - 1), token by token."""
    at_class, at_rest = (forms.expression(SUM, name) for name in ("at_class", "at_rest"))

    def difference(point: Point) -> list[Any]:
        found = []
        for K, M in sizes():
            for k in range(M):
                literal = sum(M * int(k == n) - 1 for n in range(K))
                found.append(at_sizes(at_class if k < K else at_rest, point, K, M) - point.one * literal)
        return found

    return in_scalars(difference, "rho")


def start_obligation(forms: Forms) -> Identity:
    """M dw_1/dtau at equal logits, token by token."""
    parts = [forms.expression(START, name) for name in ("own", "other", "rest")]

    def difference(point: Point) -> list[Any]:
        found = []
        for K, M in sizes():
            slopes = pulled(point.with_values({"X": point.one, "Z": point.one}), K, M)
            derived = [at_sizes(part, point, K, M) for part in parts]
            found += [mixed(point, slopes, 0, k) - derived[min(k, 1) if k < K else 2] for k in range(M)]
        return found

    return in_scalars(difference, "rho")


def counterexample_obligation(forms: Forms) -> Relations:
    """K = 2, M = 5, rho = 1/2: the other class's token from the literal table, and -(1 - rho)/M as printed."""
    other = forms.expression(START, "other")

    def ask() -> list[Relation]:
        half_ = flint.fmpq(1, 2)
        point = make_point({}, 1, None, {"unused": "scalar"})
        point = point.with_values({"X": point.one, "Z": point.one, "rho": point.one * half_})
        found = number(mixed(point, pulled(point, 2, 5), 0, 1)) / 5
        return [
            Relation("dw/dtau at the other class's token", found, "=", number(at_sizes(other, point, 2, 5)) / 5),
            Relation("dw/dtau there, and as printed", found, "!=", -(1 - half_) / 5),
            Relation("0 and dw/dtau there", flint.fmpq(0), "<", found),
        ]

    return Relations(ask)


def refutation() -> ClaimObligations:
    """The sum, the first moment, and one setting."""
    return ClaimObligations(
        "audit-scan-remark",
        (
            "dw_n/dtau = sum_j (f_n.f_j)(e_j - softmax(w_j)) at w = 0, f_n.f_j = rho; zeta_n = M/(M - 1) (e_n - 1/M)",
            "one setting refutes it: K = 2, M = 5, rho = 1/2",
        ),
        {
            SUM: {"at_class": polynomial("K M"), "at_rest": polynomial("K")},
            START: {name: polynomial("K M rho") for name in ("own", "other", "rest")},
            COUNTEREXAMPLE: {},
        },
        (
            Obligation(SUM, "sum_n (M e_n - 1) is at_class and at_rest, token by token", sum_obligation),
            Obligation(START, "M dw_1/dtau at equal logits is own, other and rest", start_obligation),
            Obligation(
                COUNTEREXAMPLE, "the other class's token gains, where it is printed to lose", counterexample_obligation
            ),
        ),
        (TRUSTED[0], TRUSTED[3], LITERAL, "That the statement is printed as quoted."),
    )
