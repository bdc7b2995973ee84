"""Obligations of baseline-risks: the step from the layer, least squares from symbols for the entries of X.

Main statements
    step                the layer's mean square error at A = eta I, Lambda = I, in every dimension
    projection          with symbols for the entries of the examples, det(G) (I - P) has trace (d - N) det(G), and its
                        mean over signed permutations is a multiple of the identity
    inverse Wishart     div(X G^-1) = (m - k - 1) tr G^-1 with symbols for the entries of X (m, k): by parts in the
                        normal density, E tr(X^T X G^-1) = k is (m - k - 1) E tr G^-1
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import flint

from ..engines.expressions import Expression, evaluate
from ..engines.identities import Identity
from ..engines.layer import DEGREE, PAIRS_OF_LEGS, PROMPT, reduced_loss
from ..engines.matrices import Matrix
from ..engines.points import Kind, Point, make_point
from ..engines.ratios import Ratio, difference, ratio_of
from ..engines.relations import Relations
from .fixed_point import value
from .mesa_rotations import group_mean, vanish
from .obligation import ClaimObligations, Forms, Obligation, Polynomial, Rational

STEP, RATE, ERROR = "one gradient step", "best rate", "error of least squares given the examples"
PROJECTION, INVERSE, LEAST_SQUARES = "projection", "inverse Wishart matrix", "least squares"
LENGTHS = range(1, 9)  # more than the powers of N in any product of forms here: N^-1 to N^3, by their kinds
BELOW = ((1, 2), (1, 3), (2, 3))
TALL = ((2, 1), (3, 1), (4, 1), (3, 2), (4, 2))
SIDES = tuple((n, n + 1 + gap) for n in (1, 2, 3, 4) for gap in (1, 2, 3, 4))


def step_obligation(forms: Forms) -> Identity:
    """2 reduced(eta I) at Lambda = I is the form."""
    form = forms.expression(STEP, "right")
    letters: dict[str, Kind] = {"Psi": "symmetric", "sigma2": "scalar", "1/N": "scalar", "eta": "scalar"}

    def gap(point: Point) -> Any:
        at = point.with_values({"Lambda": point["I"]})
        return reduced_loss(at, point.matrix("I").scaled(point["eta"])) * 2 - value(form, at)

    legs = max(PAIRS_OF_LEGS, form.pairs_of_legs(frozenset()))
    powers = max(2, form.largest_power("d"))  # a trace of I, or two, stands in the loss
    return Identity(gap, letters, PROMPT, legs, max(DEGREE + 2, form.degree()), powers, components=(1, 2, 3))


def coefficients(form: Expression, point: Point, length: int) -> tuple[Any, Any, Any]:
    """c_0, c_1, c_2 of the risk as a parabola in eta, at a given N."""

    def at(eta: int) -> Any:
        return evaluate(form, numbers(point, length, {"eta": point.one * eta}), point.one)

    half = flint.fmpq(1, 2)
    return at(0), (at(1) - at(-1)) * half, (at(1) + at(-1)) * half - at(0)


def numbers(point: Point, length: int, further: dict[str, Any]) -> dict[str, Any]:
    """The point's letters with numbers for N and 1/N."""
    one = point.one
    return {**point.values, "N": one * length, "1/N": one * flint.fmpq(1, length), **further}


def parabola_obligation(forms: Forms) -> Identity:
    """risk at W = psi d is the form of the first step at Psi = psi I."""
    form, scalars = forms.expression(STEP, "right"), forms.expression(RATE, "risk")

    def gap(point: Point) -> list[Any]:
        psi = point["psi"]
        found = []
        for n in LENGTHS:
            traced = numbers(point, n, {"Psi": point.matrix("I").scaled(psi)})
            plain = numbers(point, n, {"W": psi * point["d"]})
            found.append(evaluate(form, traced, point.one) - evaluate(scalars, plain, point.one))
        return found

    return in_scalars(gap, (form, scalars), ("psi", "sigma2", "eta"), 2)


def in_scalars(gap: Any, forms: tuple[Expression, ...], letters: tuple[str, ...], more: int) -> Identity:
    """An identity in commuting symbols and d."""
    degree = 2 * max(form.degree() for form in forms) + more
    powers = 2 * max(max(form.largest_power("d"), form.degree()) for form in forms) + more
    kinds: dict[str, Kind] = dict.fromkeys(letters, "scalar")
    return Identity(gap, kinds, {}, 1, degree, powers, components=(1, 2))


def best_obligation(forms: Forms) -> Identity:
    """The slope c_1 + 2 c_2 eta is 0 at the rate, and the parabola there is `least`."""
    risk, rate, least = forms.expression(RATE, "risk"), forms.quotient(RATE, "rate"), forms.quotient(RATE, "least")

    def gap(point: Point) -> list[Any]:
        found = []
        for n in LENGTHS:
            c_0, c_1, c_2 = coefficients(risk, point, n)
            eta, value_there = (ratio_of(one, numbers(point, n, {}), point.one) for one in (rate, least))
            found.append(c_1 * eta.bottom + c_2 * eta.top * 2)
            there = Ratio(c_0 * eta.bottom**2 + c_1 * eta.top * eta.bottom + c_2 * eta.top**2, eta.bottom**2)
            found.append(difference(there, value_there))
        return found

    return in_scalars(gap, (risk, *rate, *least), ("W", "sigma2"), 4)


# Least squares, with symbols for the entries of the examples


def examples(length: int, dimension: int) -> tuple[Point, Matrix]:
    """X (n, d) with symbols for entries."""
    letters: dict[str, Kind] = {f"x{i}": "vector" for i in range(length)}
    point = make_point(letters, dimension, None, {})
    return point, Matrix(tuple(tuple(point[f"x{i}"][j, 0] for j in range(dimension)) for i in range(length)))


def adjugate(G: Matrix, one: Any) -> tuple[Matrix, Any]:
    """adj(G) and det(G) for 1 x 1 and 2 x 2."""
    if G.shape == (1, 1):
        return Matrix(((one,),)), G[0, 0]
    (a, b), (c, d) = G.rows
    return Matrix(((d, -b), (-c, a))), a * d - b * c


def error_obligation(forms: Forms) -> Relations:
    """P is a projection of trace N that keeps the examples, X^+ X = I above, and tr X^+ X^+T = tr G^-1."""
    del forms

    def named() -> Iterator[tuple[str, Any]]:
        for n, d in (*BELOW, *((d, n) for n, d in BELOW)):
            point, X = examples(n, d)
            where = f"N = {n}, d = {d}"
            below = n < d
            G = X @ X.T if below else X.T @ X
            adj, det = adjugate(G, point.one)
            back = X.T @ adj if below else adj @ X.T  # det(G) X^+
            yield f"tr X^+ X^+T - tr G^-1, {where}", (back @ back.T).trace() - adj.trace() * det
            P = back @ X  # det(G) P
            if below:
                yield f"P P - P, {where}", P @ P - P.scaled(det)
                yield f"X P - X, {where}", X @ P - X.scaled(det)
                yield f"tr P - N, {where}", P.trace() - det * n
            else:
                yield f"P - I, {where}", P - point.matrix("I").scaled(det)

    return vanish(named)


def share_obligation(forms: Forms) -> Relations:
    """bottom det(G) times the mean of O^T (I - P) O is top det(G) I."""
    share = forms.quotient(PROJECTION, "share")

    def named() -> Iterator[tuple[str, Any]]:
        for n, d in BELOW:
            point, X = examples(n, d)
            adj, det = adjugate(X @ X.T, point.one)
            eye = point.matrix("I")
            mean = group_mean(eye.scaled(det) - X.T @ adj @ X, point.one)
            at = ratio_of(share, {"N": point.one * n, "d": point.one * d}, point.one)
            yield (
                f"mean of O^T (I - P) O - share I, N = {n}, d = {d}",
                mean.scaled(at.bottom) - eye.scaled(det * at.top),
            )

    return vanish(named)


def trace_obligation(forms: Forms) -> Identity:
    """share d = d - N, for all N and d."""
    share = forms.quotient(PROJECTION, "share")

    def gap(point: Point) -> Any:
        at = ratio_of(share, point.values, point.one)
        return at.top * point["d"] - at.bottom * (point["d"] - point["N"])

    return in_scalars(gap, (*share,), ("N",), 2)


def divergence_obligation(forms: Forms) -> Relations:
    """det(G)^2 div(X G^-1) = gap det(G) tr adj(G) with gap = m - k - 1."""
    del forms

    def named() -> Iterator[tuple[str, Any]]:
        for m, k in TALL:
            point, X = examples(m, k)
            adj, det = adjugate(X.T @ X, point.one)
            field, total = X @ adj, point.one * 0
            for i in range(m):
                for j, number in enumerate(point.numbers[f"x{i}"]):
                    total += field[i, j].derivative(number) * det - field[i, j] * det.derivative(number)
            yield f"div(X G^-1) - (m - k - 1) tr G^-1, m = {m}, k = {k}", total - adj.trace() * det * (m - k - 1)

    return vanish(named)


def inverse_obligation(forms: Forms) -> Identity:
    """gap trace = k."""
    trace = forms.quotient(INVERSE, "trace")

    def gap(point: Point) -> Any:
        at = ratio_of(trace, point.values, point.one)
        return at.top * point["gap"] - at.bottom * point["k"]

    return in_scalars(gap, (*trace,), ("k", "gap"), 2)


def sides_obligation(forms: Forms) -> Identity:
    """below = W share + sigma2 trace(k = N) and above = sigma2 trace(k = d), with the gaps as they are."""
    below, above = forms.expression(LEAST_SQUARES, "below"), forms.expression(LEAST_SQUARES, "above")
    gaps = [forms.expression(LEAST_SQUARES, f"gap {side}") for side in ("below", "above")]
    share, trace = forms.quotient(PROJECTION, "share"), forms.quotient(INVERSE, "trace")

    def at(point: Point, n: int, d: int, gap: int) -> dict[str, Any]:
        one = point.one
        return {
            **point.values, "N": one * n, "d": one * d, "gap": one * gap, "1/d": one * flint.fmpq(1, d),
            "1/gap": one * flint.fmpq(1, gap),
        }  # fmt: skip

    def difference_of(point: Point) -> list[Any]:
        one, W, sigma2 = point.one, point["W"], point["sigma2"]
        found = []
        for small, large in SIDES:
            gap = large - small - 1
            noise = ratio_of(trace, {"k": one * small, "gap": one * gap}, one)
            kernel = ratio_of(share, {"N": one * small, "d": one * large}, one)
            for form, place, bias in ((below, (small, large), kernel), (above, (large, small), Ratio(one * 0, one))):
                numbers_here = at(point, *place, gap)
                risk = Ratio(W * bias.top, bias.bottom) + Ratio(sigma2 * noise.top, noise.bottom)
                found.append(evaluate(form, numbers_here, one) * risk.bottom - risk.top)
            for form, place in zip(gaps, ((small, large), (large, small)), strict=True):
                found.append(evaluate(form, at(point, *place, gap), one) - one * gap)
        return found

    letters: dict[str, Kind] = {"W": "scalar", "sigma2": "scalar"}
    degree = 2 * max(form.degree() for form in (below, above, *share, *trace)) + 4
    return Identity(difference_of, letters, {}, 1, degree, 0, components=(1,))


SCALARS = frozenset({"N", "W", "d", "sigma2"})
STEP_KIND = Polynomial(
    "1", "1", frozenset({"Psi"}), {"N": (-1,), "d": (1,), "eta": (1, 2), "sigma2": (1,)}
)  # fmt: skip
PARABOLA = Polynomial("1", "1", frozenset(), {"N": (-1,), "d": (1,), "eta": (1, 2), "sigma2": (1,), "W": (1,)})
BEST_KIND = Rational(SCALARS, powers={"N": (1,)})
BELOW_KIND = Polynomial(
    "1", "1", frozenset(), {"N": (1,), "d": (-1,), "gap": (-1,), "W": (1,), "sigma2": (1,)}
)  # fmt: skip
ABOVE_KIND = Polynomial("1", "1", frozenset(), {"d": (1,), "gap": (-1,), "sigma2": (1,)})
GAP_KIND = Polynomial("1", "1", frozenset(), {"N": (1,), "d": (1,)})


TRUSTED = (
    "python-flint's rational and polynomial arithmetic.",
    "That the law of the examples does not change when they are turned, and that a symmetric matrix which commutes "
    "with all signed permutations is a multiple of the identity.",
    "Integration by parts in the normal density: E div F = E tr(X^T F) for F = X G^-1, whose both sides are integrable "
    "for m - k - 1 > 0; and div(X G^-1) = (m - k - 1) tr G^-1 for all m and k by the product rule, of which five sizes "
    "are multiplied out with symbols for the entries.",
)


def obligations() -> ClaimObligations:
    """The six steps."""
    return ClaimObligations(
        "baseline-risks",
        (
            "x_i, x_q ~ N(0, I_d), independent of w and e; E |w|^2 = W; e of mean 0 and variance sigma2",
            "gap > 0: N <= d - 2 or N >= d + 2",
        ),
        {
            STEP: {"right": STEP_KIND},
            RATE: {"risk": PARABOLA, "rate": BEST_KIND, "least": BEST_KIND},
            ERROR: {},
            PROJECTION: {"share": Rational(frozenset({"N", "d"}))},
            INVERSE: {"trace": Rational(frozenset({"k", "gap"}))},
            LEAST_SQUARES: {"below": BELOW_KIND, "above": ABOVE_KIND, "gap below": GAP_KIND, "gap above": GAP_KIND},
        },
        (
            Obligation(STEP, "the layer's mean square error at A = eta I, Lambda = I is right", step_obligation),
            Obligation(RATE, "risk is right at tr Psi = W", parabola_obligation),
            Obligation(RATE, "the slope is 0 at the rate, and the risk there is least", best_obligation),
            Obligation(ERROR, "P and X^+ for symbols as entries, N and d up to 3", error_obligation),
            Obligation(PROJECTION, "the mean of O^T (I - P) O is share I, N < d <= 3", share_obligation),
            Obligation(PROJECTION, "share d = d - N", trace_obligation),
            Obligation(INVERSE, "div(X G^-1) = (m - k - 1) tr G^-1 for symbols as entries", divergence_obligation),
            Obligation(INVERSE, "gap trace = k", inverse_obligation),
            Obligation(LEAST_SQUARES, "below and above are W share + sigma2 trace, with their gaps", sides_obligation),
        ),
        TRUSTED,
    )  # fmt: skip
