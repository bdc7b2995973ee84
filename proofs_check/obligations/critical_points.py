"""Obligations of critical-points: the loss of a leak from the layer, for symbolic d and N; the rest as algebra on it.

The quotient, the quartic and their limits are identities between rational functions of (d, N, t) alone, tested at
random numbers. The search of the faces of one law is theory's own exact arithmetic and is not repeated here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import flint

from ..engines.balls import PRECISION, OnlyZero
from ..engines.expressions import Quotient, evaluate
from ..engines.identities import Identity
from ..engines.inertia import Inertia, inertia
from ..engines.layer import DEGREE, LAW, PAIRS_OF_LEGS, PROMPT, WEIGHTS, dot, population_loss
from ..engines.matrices import Matrix
from ..engines.points import Kind, Point, make_point
from ..engines.refusals import RefutedError
from .any_start import first_axis, isotropic
from .obligation import ClaimObligations, Forms, Obligation, Rational, RationalMatrix
from .population_loss import ASSUMPTIONS, TRUSTED
from .small_instances import determinant, hessian, number

MINIMISER, NO_VALUE = "one minimiser for each (u12, u)", "points with u12 = 0, u = 0"
EDGE, PART = "the loss of a leak, isotropic law", "points that leak in part"
LONG, LARGE, DOMINANT = "long contexts", "threshold for large d", "a dominant eigenvalue"
EXAMPLE = "a wrong minimum, Lambda = diag(1, 2), N = 20"
UNKNOWNS = ("a", "z", "c")
PLACES = ("u12", "U_along", "U_across", "u21")  # u12 = (0, u12), U = diag(across, along), u21 = (0, u21)


def parts(quotient: Quotient, values: Mapping[str, Any], one: Any) -> tuple[Any, Any]:
    """Numerator and denominator at values."""
    return evaluate(quotient.numerator, values, one), evaluate(quotient.denominator, values, one)


# The loss at one leak


@dataclass(frozen=True)
class PositiveInK:
    """The second derivatives by K = (U; u21^T) are positive definite at some rational p, for some laws and sizes."""

    letters: Mapping[str, Kind] = field(default_factory=lambda: {"U": "matrix", "u21": "vector"})
    engine: str = field(default="python-flint (exact rational arithmetic)", init=False)
    sizes: tuple[tuple[int, int], ...] = ((1, 1), (2, 1), (2, 3), (3, 1))

    def evidence(self) -> dict[str, Any]:
        return {"sizes_d_N": [list(size) for size in self.sizes], "eigenvalues": "all (d+1) d positive"}

    def check(self, seed: str) -> None:
        for d, n in self.sizes:
            for u12, u in ((0, 1), (1, 0), (2, 3)):
                self.at(d, n, u12, u, seed)

    def at(self, d: int, n: int, u12: int, u: int, seed: str) -> None:
        drawn = make_point({"L": "matrix"}, d, seed, {})
        root = Matrix.build(d, d, lambda i, j: number(drawn["L"][i, j]))
        letters = make_point(self.letters, d, None, PROMPT)
        point = isotropic(letters.with_values({"N": letters.one * n}))
        Lambda = Matrix.build(d, d, lambda i, j: point.one * sum(root[i, k] * root[j, k] for k in range(d)))
        here = point.with_values(
            {
                "Lambda": Lambda, "u12": first_axis(point) * (point.one * u12), "u": point.one * u,
                "U": letters["U"], "u21": letters["u21"],
            }
        )  # fmt: skip
        unknowns = [k for name in self.letters for k in point.numbers[name]]
        signs = inertia(hessian(population_loss(here), unknowns, [flint.fmpq(0)] * len(unknowns)))
        if signs != Inertia(len(unknowns), 0, 0):
            raise RefutedError(f"d = {d}, N = {n}: the eigenvalues have the signs {dict(signs._asdict())}")


def minimiser_obligation(forms: Forms) -> PositiveInK:
    del forms
    return PositiveInK()


def no_value_obligation(forms: Forms) -> Identity:
    """The part of L that is odd in (u12, u): its linear part, L being quadratic in them."""
    del forms

    def difference(point: Point) -> Any:
        turned = point.with_values({"u12": -point["u12"], "u": -point["u"]})
        odd = (population_loss(point) - population_loss(turned)) * flint.fmpq(1, 2)
        pull = point["Lambda"] @ point["Psi"] @ point["Lambda"]
        return odd + dot(point["u12"], pull @ point["u21"]) + point["u"] * (pull @ point["U"]).trace()

    return Identity(difference, {**LAW, **WEIGHTS}, PROMPT, PAIRS_OF_LEGS, DEGREE)


def edge_obligation(forms: Forms) -> Identity:
    """H and b are the second and first derivatives of L by (a, z, c)."""
    H, b = forms.quotients(EDGE, "H"), [forms.quotient(EDGE, f"b_{k}") for k in range(3)]
    found = [*(entry for row in H for entry in row), *b]

    def difference(point: Point) -> Matrix:
        loss = loss_on_the_edge(point)
        unknowns, zero = [point.numbers[name][0] for name in UNKNOWNS], [flint.fmpq(0)] * 3
        second = hessian(loss, unknowns, zero)
        first = [number(loss.derivative(k).subs(dict(zip(unknowns, zero, strict=True)))) for k in unknowns]
        values = {**point.values, "t": point["v"] * point["v"]}

        def entry(i: int, j: int) -> Any:
            derived, form = (second[i][j], H[i][j]) if j < 3 else (-first[i], b[i])
            top, bottom = parts(form, values, point.one)
            return point.one * derived * bottom - top

        return Matrix.build(3, 4, entry)

    power = PAIRS_OF_LEGS + max(part.largest_power("d") for quotient in found for part in quotient)
    degree = max(DEGREE, 2 + 3 * max(part.degree() for quotient in found for part in quotient))
    variables: dict[str, Kind] = {**PROMPT, **dict.fromkeys(UNKNOWNS, "scalar")}
    return Identity(difference, {"N": "scalar", "v": "scalar"}, variables, 1, degree, power, ())


def loss_on_the_edge(point: Point) -> Any:
    """L of the isotropic law at u = 1, u12 = v e_1, U = diag(a, c, .., c), u21 = v z e_1."""
    e = first_axis(point)
    along = e @ e.T
    weights = {
        "u12": e * point["v"],
        "u": point.one,
        "U": along * point["a"] + (point["I"] - along) * point["c"],
        "u21": e * (point["v"] * point["z"]),
    }
    return population_loss(isotropic(point).with_values(weights))


# Algebra on the forms


def quotient_obligation(forms: Forms) -> Identity:
    """2 (P/Q) det H = b.adj(H) b."""
    H, b = forms.quotients(EDGE, "H"), [forms.quotient(EDGE, f"b_{k}") for k in range(3)]
    P, Q = forms.quotient(EDGE, "P"), forms.quotient(EDGE, "Q")
    found = [*(entry for row in H for entry in row), *b, P, Q]

    def difference(point: Point) -> Any:
        def at(quotient: Quotient) -> Any:
            top, bottom = (number(part) for part in parts(quotient, point.values, point.one))
            return top / bottom

        left = Matrix(tuple(tuple(at(entry) for entry in row) for row in H))
        right = [at(entry) for entry in b]
        solved = [replaced_column(left, right, k) for k in range(3)]
        reached = sum(x * y for x, y in zip(right, solved, strict=True))
        return point.one * (2 * at(P) * determinant(left) - at(Q) * reached)

    return of_numbers(difference, found)


def replaced_column(matrix: Matrix, column: list[Any], k: int) -> Any:
    """The determinant with a column replaced: Cramer's rule."""
    rows = tuple(tuple(column[i] if j == k else matrix[i, j] for j in range(3)) for i in range(3))
    return determinant(Matrix(rows))


def of_numbers(difference: Callable[[Point], Any], found: list[Quotient]) -> Identity:
    """An identity between rational functions of d, N and t, at one random point."""
    degree = 12 * max(part.degree() for quotient in found for part in quotient)
    letters: dict[str, Kind] = {"d": "scalar", "N": "scalar", "t": "scalar"}
    return Identity(difference, letters, {}, 1, degree, 0, ())


def quartic_obligation(forms: Forms) -> Identity:
    """2 N^9 (P Q' - P' Q) = (d - 1)^2 (c_0 + .. + c_4 t^4), ' by t."""
    P, Q = forms.quotient(EDGE, "P"), forms.quotient(EDGE, "Q")
    c = [forms.quotient(PART, f"c_{k}") for k in range(5)]

    def difference(point: Point) -> Any:
        (t,) = point.numbers["t"]
        (p, below_p), (q, below_q) = (parts(quotient, point.values, point.one) for quotient in (P, Q))
        wronskian = p * q.derivative(t) - p.derivative(t) * q  # the denominators do not hold t
        total = point.one * 0
        for k, coefficient in enumerate(c):
            top, bottom = (number(part) for part in parts(coefficient, point.values, point.one))
            total = total + point["t"] ** k * (top / bottom)
        if below_p.derivative(t) != 0 or below_q.derivative(t) != 0:
            raise RefutedError("a denominator depends on t")
        return 2 * point["N"] ** 9 * wronskian - (point["d"] - point.one) ** 2 * total * below_p * below_q

    degree = 12 * max(part.degree() for quotient in (P, Q, *c) for part in quotient)
    return Identity(difference, {"d": "scalar", "N": "scalar"}, {"t": "scalar"}, 1, degree, 0, ())


@dataclass(frozen=True)
class LeadingTerm:
    """The highest power of `variable` on both sides of an identity between polynomials, up to a shift of the power.

    sides       names of the letters -> (left, right) polynomials; left's leading coefficient is that of right
    """

    sides: Callable[[], tuple[Any, Any, int, int]]
    letters: Mapping[str, str]
    engine: str = field(default="python-flint (exact rational arithmetic)", init=False)

    def evidence(self) -> dict[str, Any]:
        _, _, _, power = self.sides()
        return {"leading_power": power}

    def check(self, seed: str) -> None:
        del seed
        left, right, variable, power = self.sides()
        if leading(left, variable) != (power, leading(right, variable)[1]):
            raise RefutedError("the leading terms differ")


def leading(polynomial: Any, variable: int) -> tuple[int, dict[Any, Any]]:
    """The highest power of a variable, and its coefficient as a table of the other powers."""
    table = polynomial.to_dict()
    highest = max(int(powers[variable]) for powers in table)
    kept = {
        tuple(0 if k == variable else int(power) for k, power in enumerate(powers)): value
        for powers, value in table.items()
        if int(powers[variable]) == highest
    }
    return highest, kept


def long_obligation(forms: Forms) -> LeadingTerm:
    """(d/2 - P/Q) n against the limit at t = k n, N = n^2: cross-multiplied, equal highest powers of n."""
    P, Q, limit = forms.quotient(EDGE, "P"), forms.quotient(EDGE, "Q"), forms.quotient(LONG, "limit")

    def sides() -> tuple[Any, Any, int, int]:
        point = make_point({}, 1, None, {"d": "scalar", "k": "scalar", "n": "scalar"})
        d, k, n = (point[name] for name in ("d", "k", "n"))
        values = {**point.values, "t": k * n, "N": n * n}
        (p, below_p), (q, below_q) = (parts(quotient, values, point.one) for quotient in (P, Q))
        top, bottom = parts(limit, values, point.one)
        # d/2 - (p/below_p)/(q/below_q) = (d below_p q - 2 p below_q)/(2 below_p q)
        left = (d * below_p * q - 2 * p * below_q) * n * bottom
        right = 2 * below_p * q * top
        (variable,) = point.numbers["n"]
        return left, right, variable, leading(right, variable)[0]

    return LeadingTerm(sides, {"d": "scalar", "k": "scalar", "n": "scalar"})


def large_obligation(forms: Forms) -> LeadingTerm:
    """The quartic at N = c d^2, t = theta d against c^8 d^21 (leading part): equal highest powers of d."""
    c = [forms.quotient(PART, f"c_{k}") for k in range(5)]
    wanted = forms.quotient(LARGE, "leading part")

    def sides() -> tuple[Any, Any, int, int]:
        point = make_point({}, 1, None, {"d": "scalar", "c": "scalar", "theta": "scalar"})
        d, ratio, theta = (point[name] for name in ("d", "c", "theta"))
        values = {**point.values, "N": ratio * d * d}
        left = point.one * 0
        for k, coefficient in enumerate(c):
            top, bottom = parts(coefficient, values, point.one)
            left = left + top * (theta * d) ** k * (1 / number(bottom))
        top, bottom = parts(wanted, values, point.one)
        (variable,) = point.numbers["d"]
        return left, top * (1 / number(bottom)) * ratio**8 * d**21, variable, 21

    return LeadingTerm(sides, {"d": "scalar", "c": "scalar", "theta": "scalar"})


# A dominant eigenvalue

SIZES_OF_DOMINANT = (2, 3, 4)


def dominant_obligation(forms: Forms) -> Identity:
    """2 dF/d(u^2) = L_uu - L_uk L_kk^-1 L_ku over the entries k of U, at the leak, for d = 2, 3, 4."""
    slope = forms.quotient(DOMINANT, "slope")
    letters: dict[str, Kind] = {"N": "scalar", "r": "scalar"}
    variables: dict[str, Kind] = {**PROMPT, "u": "scalar", "a": "scalar", "c": "scalar"}

    def difference(point: Point) -> Any:
        e, r, n = first_axis(point), number(point["r"]), number(point["N"])
        others = point.dimension - 1
        gain = n / ((n + 1) * r + r + others)  # of u12 u21^T = g e e^T: the minimum over u21 is confirmed below
        U = (e @ e.T) * point["a"] + (point["I"] - e @ e.T) * point["c"]
        Lambda = point["I"] + (e @ e.T) * (point.one * (r - 1))
        here = isotropic(point).with_values({"Lambda": Lambda, "u12": e, "u": point["u"], "U": U})
        unknowns = [point.numbers[name][0] for name in ("u", "a", "c")]
        zero = [flint.fmpq(0)] * 3
        H = hessian(population_loss(here.with_values({"u21": e * (point.one * gain)})), unknowns, zero)
        off = Matrix(((H[1][1], H[1][2]), (H[2][1], H[2][2])))
        inner = determinant(off)
        crossed = H[0][1] ** 2 * H[2][2] - 2 * H[0][1] * H[0][2] * H[1][2] + H[0][2] ** 2 * H[1][1]
        still = here.with_values({"u": point.one * 0, "U": point["I"] * 0})
        up, down = (population_loss(still.with_values({"u21": e * (point.one * (gain + step))})) for step in (1, -1))
        top, bottom = (number(part) for part in parts(slope, {**point.values, "m": point.one * others}, point.one))
        return [point.one * ((H[0][0] * inner - crossed) * bottom - 2 * top * inner), up - down]

    degree = max(DEGREE, 6 * max(part.degree() for part in slope))
    return Identity(difference, letters, variables, 2, degree, len(SIZES_OF_DOMINANT) - 1, ())


def factor_obligation(forms: Forms) -> Any:
    """slope = criterion times a quotient without a negative coefficient."""
    return PositiveFactor(forms.quotient(DOMINANT, "slope"), forms.quotient(DOMINANT, "criterion"))


@dataclass(frozen=True)
class PositiveFactor:
    """`whole` is `part` times a rational function that is positive where all symbols are."""

    whole: Quotient
    part: Quotient
    letters: Mapping[str, str] = field(default_factory=lambda: {"N": "scalar", "r": "scalar", "m": "scalar"})
    engine: str = field(default="python-flint (exact rational arithmetic)", init=False)

    def evidence(self) -> dict[str, Any]:
        return {"coefficients_of_the_factor": "all positive"}

    def check(self, seed: str) -> None:
        del seed
        point = make_point({}, 1, None, {"N": "scalar", "r": "scalar", "m": "scalar"})
        (top, bottom), (criterion, below) = (
            parts(quotient, point.values, point.one) for quotient in (self.whole, self.part)
        )
        if sorted(coefficients_of_primitive(criterion)) != sorted(criterion.to_dict().values()) or below != 1:
            raise RefutedError("the criterion is not written with whole coefficients without a common divisor")
        factor, rest = divmod(top, criterion)
        tables = (factor.to_dict(), bottom.to_dict(), below.to_dict())
        if rest != 0 or any(value <= 0 for table in tables for value in table.values()):
            raise RefutedError("the slope is not visibly the criterion times a positive factor")


# One law


@dataclass(frozen=True)
class StrictMinimum(OnlyZero):
    """And the second derivatives are positive definite in the small box: every pivot of elimination is."""

    def evidence(self) -> dict[str, Any]:
        return {**super().evidence(), "positive_pivots": len(self.unknowns)}

    def check(self, seed: str) -> None:
        super().check(seed)
        before, flint.ctx.prec = flint.ctx.prec, PRECISION
        try:
            box = [flint.arb(value) + flint.arb(0, flint.arb(self.distance)) for value in self.point]
            rows = [[self.at(slope.derivative(k), box) for k in self.unknowns] for slope in self.system]
            if not all(pivot > 0 for pivot in pivots(rows)):
                raise RefutedError("the second derivatives are not positive definite there")
        finally:
            flint.ctx.prec = before


def pivots(rows: list[list[Any]]) -> Iterator[Any]:
    """Of Gaussian elimination in balls."""
    for k, row in enumerate(rows):
        yield row[k]
        for other in rows[k + 1 :]:
            share = other[k] / row[k]
            for j in range(k, len(row)):
                other[j] = other[j] - share * row[j]


def example_obligation(forms: Forms) -> StrictMinimum:
    """u = 1 fixes the scale; the derivative by u then vanishes with the others."""
    letters: dict[str, Kind] = {"u12": "vector", "U": "matrix", "u21": "vector"}
    point = make_point(letters, 2, None, PROMPT)
    here = isotropic(point.with_values({"N": point.one * 20}))
    Lambda = Matrix.build(2, 2, lambda i, j: point.one * (i + 1) * int(i == j))
    loss = population_loss(
        here.with_values({"Lambda": Lambda, "u": point.one, **{name: point[name] for name in letters}})
    )
    unknowns = [k for name in letters for k in point.numbers[name]]
    quotients = [parts(forms.quotient(EXAMPLE, name), point.values, point.one) for name in PLACES]
    leak, along, across, attended = (number(top) / number(bottom) for top, bottom in quotients)
    zero = flint.fmpq(0)
    values = [zero, leak, across, zero, zero, along, zero, attended]  # none of the four is 0: forms are not
    slopes = [loss.derivative(k) for k in unknowns]
    return StrictMinimum(slopes, unknowns, values, letters, radius="1e-7", distance="1e-13")


def coefficients_of_primitive(polynomial: Any) -> list[Any]:
    """The coefficients divided by their greatest common divisor."""
    values = [flint.fmpq(value) for value in polynomial.to_dict().values()]
    below = math.lcm(*(int(value.q) for value in values))
    common = math.gcd(*(int(value.p) * (below // int(value.q)) for value in values))
    return [value * below / common for value in values]


ALL = Rational(frozenset({"d", "N", "t"}), most_powers_of_d=8)
IN_T = frozenset({"d", "N", "t"})
OF_DOMINANT = Rational(frozenset({"N", "r", "m"}))
ROTATIONS = (
    "The isotropic law does not change under rotations of the covariates, so u12 is along the first axis; the one "
    "minimiser keeps the rotations that keep u12, so U is diag(a, c, .., c) and u21 along u12."
)
CONVEXITY = (
    f"The step {MINIMISER!r}: positive at the instances named; that it holds at every (u12, u) other than 0 is shown "
    "in words."
)
DEFINITE = "That Q has no zero for t >= 0: it is the determinant of a positive definite matrix, up to that step."
FACES = (
    "That the zeros of the polynomials on the faces are all found at a given law: theory's exact search by Bernstein "
    "coefficients, which no other engine repeats."
)


def obligations() -> ClaimObligations:
    """The eight steps."""
    return ClaimObligations(
        "critical-points",
        (*ASSUMPTIONS, "Psi = I, sigma2 = 0; from the third step on Lambda = I, in the last diag(r, 1, .., 1)"),
        {
            MINIMISER: {},
            NO_VALUE: {},
            EDGE: {
                "H": RationalMatrix(3, IN_T), **{f"b_{k}": Rational(IN_T) for k in range(3)}, "P": ALL, "Q": ALL,
            },
            PART: {f"c_{k}": ALL for k in range(5)},
            LONG: {"limit": Rational(frozenset({"d", "k"}))},
            LARGE: {"leading part": Rational(frozenset({"c", "theta"}))},
            DOMINANT: {"slope": OF_DOMINANT, "criterion": OF_DOMINANT},
            EXAMPLE: dict.fromkeys(PLACES, Rational(frozenset())),
        },
        (
            Obligation(MINIMISER, "L is strictly convex in K at random laws and three (u12, u)", minimiser_obligation),
            Obligation(
                NO_VALUE,
                "the part of L that is odd in (u12, u) is -(u12.Lambda Psi Lambda u21 + u tr(Lambda Psi Lambda U))",
                no_value_obligation,
            ),
            Obligation(EDGE, "L = d/2 - b.k + k.H k/2 at k = (a, z, c) for every d, N and t = v^2", edge_obligation),
            Obligation(EDGE, "2 (P/Q) det H = b.adj(H) b", quotient_obligation),
            Obligation(PART, "2 N^9 (P Q' - P' Q) = (d - 1)^2 (c_0 + .. + c_4 t^4)", quartic_obligation),
            Obligation(LONG, "n (d/2 - P/Q) at t = k n, N = n^2 tends to limit as n grows", long_obligation),
            Obligation(LARGE, "the quartic at N = c d^2, t = theta d is c^8 d^21 (leading part) + lower powers of d",
                       large_obligation),
            Obligation(DOMINANT, "slope = dF/d(u^2) at the leak, for d = 2, 3, 4, every N and r", dominant_obligation),
            Obligation(DOMINANT, "slope is criterion (primitive) times a positive factor", factor_obligation),
            Obligation(EXAMPLE, "one zero of grad L with u = 1 in the box, a strict local minimum", example_obligation),
        ),
        (*TRUSTED, ROTATIONS, CONVEXITY, DEFINITE, FACES),
    )  # fmt: skip
