"""Obligations of ridge-risk: symbols for the examples, weights on points for the spectrum, moments by Bartlett.

Main statements
    given the spectrum    with symbols for the entries of X, lambda and the moments of w and e
    de Bruijn             the sum over x_1 < .. < x_m of prod (x_j - x_i) prod w(x_i) is the Pfaffian of the table, for
                          m = 1 .. 4 and any weights on five points
    table                 S(a, b) in polar form, x = r u, y = r (1 - u): 2^(a+b+2) Gamma(a + b + 2) times an integral of
                          a polynomial in u
    few eigenvalues       a combination of lambda^p, lambda^p K, lambda^p L is fixed by its coefficients in powers of
                          1/lambda; those of T_1 are the moments E tr W^k, here from W = T T^T, T lower triangular with
                          independent entries, T_jj^2 ~ chi^2 with max(n, d) - j + 1 degrees
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from math import factorial
from typing import Any

import flint

from ..engines.expressions import Expression, Quotient, evaluate, rational
from ..engines.gaussian_means import mean_by_moments
from ..engines.identities import Identity
from ..engines.matrices import Matrix, total
from ..engines.points import Kind, Point, make_point
from ..engines.ratios import Ratio, difference, ratio_of
from ..engines.refusals import UnreadableError
from ..engines.relations import Relation, Relations
from .mesa_rotations import vanish
from .mixture_baseline_risks import adjugate, in_scalars
from .obligation import ClaimObligations, Forms, Obligation, Polynomial, Rational

SPECTRUM, BAYES, DE_BRUIJN = "risk given the spectrum", "Bayes penalty", "de Bruijn's formula"
TABLE, FEW = "table without penalty", "few eigenvalues"
SIZES = ((1, 1), (1, 2), (2, 1), (2, 2), (3, 2))
POINTS = 5
PAIRS = ("S01", "S02", "S03", "S12", "S13", "S23")
POWERS_OF_D = tuple(range(1, 13))
WHOLE = range(14)  # alpha: one more than the coefficients of a polynomial that is read
CLOSED = ((1, 1), (1, 3), (2, 1), (2, 3), (3, 1))
ORDERS = 9  # moments E tr W^k, k below it
MOST_POWERS = 2  # of lambda in a closed form


def spectrum_obligation(forms: Forms) -> Relations:
    """det^2 (W/d |R X^T X - I|^2 + sigma2 |R X^T|^2) at T1 = tr adj/det, T2 = tr adj^2/det^2, with M = X^T X + lam."""
    risk = forms.expression(SPECTRUM, "risk")
    refuse_unless_linear(risk)

    def named() -> Iterator[tuple[str, Any]]:
        for n, d in SIZES:
            letters: dict[str, Kind] = {f"x{i}": "vector" for i in range(n)}
            letters.update(dict.fromkeys(("lam", "W", "sigma2"), "scalar"))
            point = make_point(letters, d, None, {})
            X = Matrix(tuple(tuple(point[f"x{i}"][j, 0] for j in range(d)) for i in range(n)))
            adj, det = adjugate(X.T @ X + point.matrix("I").scaled(point["lam"]), point.one)
            back = adj @ X.T
            lost = back @ X - point.matrix("I").scaled(det)
            share = point["W"] * flint.fmpq(1, d)
            mean = (lost.T @ lost).trace() * share + (back.T @ back).trace() * point["sigma2"]
            at = {
                **point.values, "1/d": point.one * flint.fmpq(1, d), "T1": adj.trace() * det, "T2": (adj @ adj).trace()
            }  # fmt: skip
            yield f"risk at N = {n}, d = {d}", mean - evaluate(risk, at, point.one)

    return vanish(named)


def refuse_unless_linear(risk: Expression) -> None:
    """Raises UnreadableError for a term without T1 and T2, or with both: (1 - 2/d) (T1 T2 - T1) is 0 in SIZES' d.

    c_1 T1 + c_2 T2 vanishes for all X in d = 1 or d = 2 only if c_1 and c_2 do, by the poles at lam = -t; and these
    are a + b/d.
    """
    if any(sum(symbol in ("T1", "T2") for symbol, _ in term.powers) != 1 for term in risk.terms):
        raise UnreadableError("each term of the risk is a multiple of either T1 or T2")


def eigenvalue_obligation(forms: Forms) -> Identity:
    """The share of one eigenvalue, and the risk at T_r = (t + lam)^-r."""
    risk, share = forms.expression(SPECTRUM, "risk"), forms.quotient(SPECTRUM, "eigenvalue")

    def gap(point: Point) -> list[Any]:
        t, lam, W, sigma2, d = (point[name] for name in ("t", "lam", "W", "sigma2", "d"))
        pole = t + lam
        direct = Ratio(lam * lam * W + d * sigma2 * t, d * pole * pole)
        at = {**point.values, "1/d": point.one * flint.fmpq(1, point.dimension), "T1": pole, "T2": point.one}
        found = ratio_of(share, point.values, point.one)
        return [difference(found, direct), evaluate(risk, at, point.one) * d * pole**2 - direct.top * pole**2]

    return in_scalars(gap, (risk, *share), ("t", "lam", "W", "sigma2"), 8)


def bayes_obligation(forms: Forms) -> Identity:
    """penalty W = d sigma2; slope is the derivative, and slope d (t + lam)^3 = 2 t (lam W - d sigma2)."""
    penalty, slope = forms.quotient(BAYES, "penalty"), forms.quotient(BAYES, "slope")
    share = forms.quotient(SPECTRUM, "eigenvalue")

    def gap(point: Point) -> list[Any]:
        t, lam, W, sigma2, d = (point[name] for name in ("t", "lam", "W", "sigma2", "d"))
        star, found = (ratio_of(one, point.values, point.one) for one in (penalty, slope))
        direct = Ratio(t * (lam * W - d * sigma2) * 2, d * (t + lam) ** 3)
        return [star.top * W - star.bottom * d * sigma2, difference(found, direct)]

    return in_scalars(gap, (*penalty, *slope, *share), ("t", "lam", "W", "sigma2"), 8)


def slope_obligation(forms: Forms) -> Relations:
    """The slope is the derivative of the eigenvalue's share by lambda, at d = 1, 2, 3."""
    slope, share = forms.quotient(BAYES, "slope"), forms.quotient(SPECTRUM, "eigenvalue")

    def named() -> Iterator[tuple[str, Any]]:
        for d in (1, 2, 3):
            point = make_point(dict.fromkeys(("t", "lam", "W", "sigma2"), "scalar"), d, None, {})
            at, found = (ratio_of(one, point.values, point.one) for one in (share, slope))
            derived = at.derivative((point.numbers["lam"][0], point.one))
            yield f"slope - d/d lambda, d = {d}", difference(derived, found)

    return vanish(named)


# De Bruijn's formula on points


def bruijn_obligation(forms: Forms) -> Identity:
    """Pf A = the sum over ordered tuples, for every weight on points x_1 < .. < x_5."""
    del forms
    letters: dict[str, Kind] = {f"{name}{k}": "scalar" for name in ("gap", "w") for k in range(POINTS)}

    def gap(point: Point) -> list[Any]:
        places, x = [], point.one * 0
        for k in range(POINTS):
            x = x + point[f"gap{k}"]
            places.append(x)
        weights = [point[f"w{k}"] for k in range(POINTS)]
        return [ordered_sum(places, weights, m) - pfaffian(table(places, weights, m)) for m in (1, 2, 3, 4)]

    return Identity(gap, letters, {}, 1, 40, 0, components=())


def ordered_sum(places: list[Any], weights: list[Any], count: int) -> Any:
    """sum over i_1 < .. < i_m of prod (x_j - x_i) prod w."""
    terms = []
    for chosen in combinations(range(len(places)), count):
        term = weights[chosen[0]]
        for i in chosen[1:]:
            term = term * weights[i]
        for i, j in combinations(chosen, 2):
            term = term * (places[j] - places[i])
        terms.append(term)
    return total(iter(terms))


def table(places: list[Any], weights: list[Any], count: int) -> list[list[Any]]:
    """A_ij = sum sgn(y - x) x^i y^j w w, bordered for odd m."""
    powers = [[w * x**k for x, w in zip(places, weights, strict=True)] for k in range(count)]
    zero = weights[0] * 0

    def signed(a: list[Any], b: list[Any]) -> Any:
        return sum((a[i] * b[j] - a[j] * b[i] for i, j in combinations(range(len(a)), 2)), zero)

    rows = [[signed(a, b) for b in powers] for a in powers]
    if count % 2 == 0:
        return rows
    edge = [sum(row, zero) for row in powers]
    return [*([*row, entry] for row, entry in zip(rows, edge, strict=True)), [*(-entry for entry in edge), zero]]


def pfaffian(A: list[list[Any]]) -> Any:
    """By expansion along the first row."""
    if len(A) == 2:
        return A[0][1]
    terms = []
    for j in range(1, len(A)):
        kept = [k for k in range(1, len(A)) if k != j]
        minor = [[A[a][b] for b in kept] for a in kept]
        terms.append(A[0][j] * pfaffian(minor) * (-1) ** (j - 1))
    return total(iter(terms))


# The table


def table_obligation(forms: Forms) -> Relations:
    """form(D) D! = S(alpha + i, alpha + j) at whole alpha, more of them than a polynomial that is read has powers."""
    made = {name: forms.quotient(TABLE, name) for name in PAIRS}

    def asked() -> list[Relation]:
        found = []
        for name, form in made.items():
            if form.denominator.symbols():
                raise UnreadableError(f"{name} is a polynomial in D")
            i, j = int(name[1]), int(name[2])
            for alpha in WHOLE:
                D = 2 * alpha + 1
                value = number_at(form, D) * factorial(D)
                found.append(Relation(f"{name} at D = {D}", value, "=", polar(alpha + i, alpha + j)))
        return found

    return Relations(asked)


def number_at(form: Quotient, D: int) -> Any:
    """A form in D at a whole number."""
    sums = []
    for part in form:
        value = flint.fmpq(0)
        for term in part.terms:
            value += rational(term.coefficient) * flint.fmpq(D) ** dict(term.powers).get("D", 0)
        sums.append(value)
    return sums[0] / sums[1]


def polar(a: int, b: int) -> Any:
    """2^(a+b+2) Gamma(a + b + 2) (int_0^(1/2) - int_(1/2)^1) u^a (1 - u)^b du."""
    u, rest = flint.fmpq_poly([0, 1]), flint.fmpq_poly([1, -1])
    integral = (u**a * rest**b).integral()
    half, one = flint.fmpq(1, 2), flint.fmpq(1)
    signed = 2 * integral(half) - integral(flint.fmpq(0)) - integral(one)
    return signed * 2 ** (a + b + 2) * factorial(a + b + 1)


# Few eigenvalues


def few_obligation(forms: Forms) -> Relations:
    """The coefficients of every closed form in powers of 1/lambda are (-1)^k E tr W^k, and no other form has them."""
    made = {(m, D): forms.quotient(FEW, f"{m} of {m + D}") for m, D in CLOSED}

    def asked() -> list[Relation]:
        found = []
        for (m, D), form in made.items():
            basis = [(p, letter) for letter in ("", "K", "L") for p in range(MOST_POWERS + 1)]
            expected = [flint.fmpq(0)] * (MOST_POWERS + 1)
            expected += [flint.fmpq(moment) * (-1) ** k for k, moment in enumerate(moments(m, m + D))]
            columns = [series(p, letter) for p, letter in basis]
            matrix = flint.fmpq_mat(
                len(expected), len(basis), [row[k] for k in range(len(expected)) for row in columns]
            )
            chosen = flint.fmpq_mat(len(basis), 1, coefficients(form, basis))
            rest = matrix * chosen - flint.fmpq_mat(len(expected), 1, expected)
            size = sum((entry * entry for entry in rest.entries()), flint.fmpq(0))
            found.append(Relation(f"{m} of {m + D}: squares of all differences", size, "=", flint.fmpq(0)))
            found.append(Relation(f"{m} of {m + D}: rank of the basis", matrix.rank(), "=", len(basis)))
        return found

    return Relations(asked)


def coefficients(form: Quotient, basis: list[tuple[int, str]]) -> list[Any]:
    """Those of lambda^p, lambda^p K and lambda^p L. Raises UnreadableError for a form with other terms."""
    if form.denominator.symbols():
        raise UnreadableError("a closed form has a number as denominator")
    unit = sum((rational(term.coefficient) for term in form.denominator.terms), flint.fmpq(0))
    found = dict.fromkeys(basis, flint.fmpq(0))
    for term in form.numerator.terms:
        powers = dict(term.powers)
        p, letters = powers.pop("lam", 0), [name for name, power in powers.items() for _ in range(power)]
        if len(letters) > 1 or (p, "".join(letters)) not in found:
            raise UnreadableError(f"a closed form is linear in K and L, with lam^0 to lam^{MOST_POWERS}")
        found[p, "".join(letters)] += rational(term.coefficient) / unit
    return [found[one] for one in basis]


def series(power: int, letter: str) -> list[Any]:
    """Coefficients of lambda^2, lambda, 1, z, z^2, .., z^ORDERS in lambda^p, lambda^p K or lambda^p L, z = 1/lambda."""
    found = [flint.fmpq(0)] * (MOST_POWERS + 1 + ORDERS)
    if not letter:
        found[MOST_POWERS - power] = flint.fmpq(1)
        return found
    base = 1 if letter == "K" else 2
    for k in range(ORDERS + MOST_POWERS):
        place = MOST_POWERS + (k + 1 - power)  # z^(k + 1 - p)
        if 0 <= place < len(found):
            found[place] = flint.fmpq((-1) ** k * factorial(k) * base ** (k + 1))
    return found


def moments(count: int, largest: int) -> list[Any]:
    """E tr W^k, k < ORDERS, for W = T T^T."""
    entries = [(i, j) for i in range(count) for j in range(i + 1)]
    context = flint.fmpq_mpoly_ctx.get([f"t{i}{j}" for i, j in entries], flint.Ordering.degrevlex)
    letters = dict(zip(entries, context.gens(), strict=True))
    zero = context.constant(0)
    T = Matrix.build(count, count, lambda i, j: letters.get((i, j), zero))
    W = T @ T.T
    tables = {place: even_moments(largest - i if i == j else 1) for place, (i, j) in enumerate(entries)}
    power, found = None, [flint.fmpq(count)]
    for _ in range(1, ORDERS):
        power = W if power is None else W @ power
        mean = mean_by_moments(power.trace(), tables)
        found.append(mean.leading_coefficient())
    return found


def even_moments(freedom: int) -> dict[int, Any]:
    """E s^(2 r) = freedom (freedom + 2) .. for s^2 ~ chi^2; a normal entry has one degree."""
    found, value = {}, 1
    for r in range(1, ORDERS + 1):
        value *= freedom + 2 * (r - 1)
        found[2 * r] = value
    return found


SYMBOLS = frozenset({"t", "lam", "W", "d", "sigma2"})
RISK_KIND = Polynomial(
    "1", "1", frozenset(), {"T1": (1,), "T2": (1,), "lam": (1, 2), "W": (1,), "d": (-1,), "sigma2": (1,)}
)  # fmt: skip
TRUSTED = (
    "python-flint's rational and polynomial arithmetic.",
    "That the law of the examples does not change when they are turned, and the density of the eigenvalues "
    "[muirhead1982aspects, Theorem 3.2.18].",
    "De Bruijn's formula for more than four eigenvalues and for integrals in the place of sums [debruijn1955some]; "
    "Jacobi's formula d log Pf A = 1/2 tr A^-1 dA.",
    "The recursions of the step 'few eigenvalues' for more than three eigenvalues and for even |n - d|: the code is "
    "the same; a quadrature of the density in floating point agrees with it (tests).",
)


def obligations() -> ClaimObligations:
    """The five steps."""
    closed = Rational(
        frozenset({"lam", "K", "L"}), powers={"lam": tuple(range(1, MOST_POWERS + 1)), "K": (1,), "L": (1,)}
    )
    return ClaimObligations(
        "ridge-risk",
        ("x_i, x_q ~ N(0, I_d), independent of w and e; E |w|^2 = W; e of mean 0 and variance sigma2", "lam > 0"),
        {
            SPECTRUM: {"eigenvalue": Rational(SYMBOLS), "risk": RISK_KIND},
            BAYES: {"penalty": Rational(SYMBOLS), "slope": Rational(SYMBOLS)},
            DE_BRUIJN: {},
            TABLE: dict.fromkeys(PAIRS, Rational(frozenset({"D"}), powers={"D": POWERS_OF_D})),
            FEW: {f"{m} of {m + D}": closed for m, D in CLOSED},
        },
        (
            Obligation(SPECTRUM, "the mean square error at symbols for X, w and e is risk", spectrum_obligation),
            Obligation(SPECTRUM, "eigenvalue, and risk at T_r = (t + lam)^-r", eigenvalue_obligation),
            Obligation(BAYES, "penalty W = d sigma2, slope has the sign of lam W - d sigma2", bayes_obligation),
            Obligation(BAYES, "slope is the derivative of eigenvalue by lam", slope_obligation),
            Obligation(DE_BRUIJN, "the sum over ordered points is the Pfaffian, m = 1 .. 4", bruijn_obligation),
            Obligation(TABLE, "form(D) D! is the double integral in polar form", table_obligation),
            Obligation(FEW, "coefficients in 1/lam are (-1)^k E tr W^k by Bartlett, and fix the form", few_obligation),
        ),
        TRUSTED,
    )  # fmt: skip
