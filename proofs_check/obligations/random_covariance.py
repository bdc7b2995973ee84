"""Obligations of random-covariance: the equations for each covariance, and means over exponential entries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..engines.expressions import Expression, Quotient, evaluate
from ..engines.identities import Identity
from ..engines.layer import (
    DEGREE,
    LAW,
    PAIRS_OF_LEGS,
    PROMPT,
    WEIGHTS,
    effective_preconditioner,
    even_part,
    half_mean_square,
    layer,
    reduced_loss,
)
from ..engines.matrices import Matrix
from ..engines.points import Kind, Point
from ..engines.positivity import SumOfSquares
from ..engines.refusals import UnreadableError
from .fixed_point import half, of_forms, slope, value
from .obligation import ClaimObligations, Forms, Obligation, Polynomial, Rational
from .population_loss import ASSUMPTIONS, TRUSTED
from .risk import risk_of, tested
from .uniform_covariates import parts_of

EQUATIONS, LEAK, SQUARE = "normal equations", "no leak", "completing the square"
DIAGONAL, ROTATED = "diagonal laws", "rotated laws"
GAIN, ONE, RISK, LIMIT = (
    "gain for exponential entries",
    "risk on one covariance",
    "risk for exponential entries",
    "limit of long prompts",
)
PLAIN_LAW: dict[str, Kind] = {name: kind for name, kind in LAW.items() if name != "Psi"}


def plain(point: Point) -> Point:
    """Psi = I."""
    return point.with_values({"Psi": point.matrix("I")})


def of_plain_law(
    difference: Callable[[Point], Any], forms: tuple[Expression, ...], letters: dict[str, Kind], more: int
) -> Identity:
    """An identity at Psi = I, where tr(Lambda Psi) is tr(Lambda), and a loop of Psi alone may be d."""
    made = of_forms(lambda point: difference(plain(point)), forms, {**PLAIN_LAW, **letters}, more)
    return replace(made, powers_of_d=max(made.powers_of_d, 2))


def equations_obligation(forms: Forms) -> Identity:
    M, C = forms.expression(EQUATIONS, "M"), forms.expression(EQUATIONS, "C")

    def difference(point: Point) -> Any:
        A, V, Lambda = point["A"], point["V"], point["Lambda"]
        return slope(point, A, V) - (V.T @ (value(M, point) @ A - value(C, point)) @ Lambda).trace()

    return of_plain_law(difference, (M, C), {"A": "matrix", "V": "matrix"}, 3)


def leak_obligation(forms: Forms) -> Identity:
    """L = reduced(u U + u12 u21^T) + 1/2 E yhat_even^2 for one covariance."""
    del forms

    def difference(point: Point) -> Any:
        at = plain(point)
        whole = half_mean_square(at, layer(at), 1) - half_mean_square(at, even_part(at), 0)
        return whole - reduced_loss(at, effective_preconditioner(at))

    return Identity(difference, {**PLAIN_LAW, **WEIGHTS}, PROMPT, PAIRS_OF_LEGS, DEGREE + 4, 2)


def square_obligation(forms: Forms) -> Identity:
    M = forms.expression(EQUATIONS, "M")

    def difference(point: Point) -> Any:
        A, B = point["A"], point["B"]
        gap = A - B
        square = half((gap.T @ value(M, point) @ gap @ point["Lambda"]).trace())
        return reduced_loss(point, A) - reduced_loss(point, B) - slope(point, B, gap) - square

    return of_plain_law(difference, (M,), {"A": "matrix", "B": "matrix"}, 3)


def positive_obligation(forms: Forms) -> SumOfSquares:
    return SumOfSquares(forms.expression(EQUATIONS, "M"), definite=True)


def gamma_obligation(forms: Forms) -> Identity:
    M, gamma = forms.expression(EQUATIONS, "M"), forms.expression(DIAGONAL, "gamma")
    return of_plain_law(lambda point: value(gamma, point) @ point["Lambda"] - value(M, point), (M, gamma), {}, 1)


def rotated_obligation(forms: Forms) -> Identity:
    """The slope at a I along I is a bottom - top."""
    top, bottom = forms.expression(ROTATED, "top"), forms.expression(ROTATED, "bottom")

    def difference(point: Point) -> Any:
        eye = point.matrix("I")
        return slope(point, eye.scaled(point["a"]), eye) - (value(bottom, point) * point["a"] - value(top, point))

    return of_plain_law(difference, (top, bottom), {"a": "scalar"}, 3)


# Independent exponential entries

ENTRIES: dict[str, Kind] = {**PROMPT, "entries": "vector"}


def diagonal(point: Point) -> Point:
    """Lambda = diag(entries), Psi = I."""
    entries = point["entries"]
    zero = point.one * 0
    d = point.dimension
    Lambda = Matrix.build(d, d, lambda i, j: entries[i, 0] if i == j else zero)
    return plain(point).with_values({"Lambda": Lambda})


def over_entries(point: Point, polynomial: Any) -> Any:
    """E over independent Exp(1) entries: E z^k = k!, so that E p = sum_k p^(k)(0), one entry after the other."""
    total = polynomial
    for entry in point.numbers["entries"]:
        term, mean = total, total * 0
        while not term.is_zero():
            mean, term = mean + term.subs({entry: 0}), term.derivative(entry)
        total = mean
    return total


def at_length(point: Point, inverse_length: int) -> Point:
    return diagonal(point).with_values({"1/N": point.one * inverse_length})


def mean_slope(point: Point, gain: int, inverse_length: int) -> Any:
    """E of the slope at gain I along I."""
    at, eye = at_length(point, inverse_length), point.matrix("I")
    return over_entries(point, slope(at, eye.scaled(point.one * gain), eye))


def mean_risk(point: Point, gain: int, inverse_length: int) -> Any:
    """E of the risk at gain I."""
    at = at_length(point, inverse_length)
    return over_entries(point, risk_of(at, point.matrix("I").scaled(point.one * gain)))


def risk_coefficients(point: Point, inverse_length: int) -> tuple[Any, Any, Any]:
    """c0, c1, c2 of the mean risk c0 + c1 a + c2 a^2."""
    none, plus, minus = (mean_risk(point, gain, inverse_length) for gain in (0, 1, -1))
    return none, half(plus - minus), half(plus + minus) - none


def times_length(point: Point, length: str) -> list[Any]:
    """c0, c1, c2 times the length: each is affine in its inverse."""
    pairs = zip(risk_coefficients(point, 0), risk_coefficients(point, 1), strict=True)
    return [at_1 + (point[length] - point.one) * at_0 for at_0, at_1 in pairs]


def of_exponential_law(
    difference: Callable[[Point], Any], quotients: tuple[Quotient, ...], letters: tuple[str, ...]
) -> Identity:
    """An identity between rational functions, multiplied out: the means have powers of d up to 3."""
    power = 3 + sum(max(part.largest_power("d") for part in quotient) for quotient in quotients)
    degree = 12 + sum(max(part.degree() for part in quotient) for quotient in quotients)
    kinds: dict[str, Kind] = {name: "scalar" for name in letters}
    return Identity(difference, kinds, ENTRIES, 1, max(DEGREE, degree), power, (1, 2))


def gain_of(forms: Forms) -> Quotient:
    return limited(forms.quotient(GAIN, "gain"), 1)


def limited(quotient: Quotient, most: int) -> Quotient:
    """A quotient without higher powers of d: each takes a test in one dimension more, and means there are dear."""
    if max(part.largest_power("d") for part in quotient) > most:
        raise UnreadableError(f"a power of d above {most} is not read here")
    return quotient


def gain_obligation(forms: Forms) -> Identity:
    """The mean slope at gain I along I vanishes; it is affine in the gain and in 1/N."""
    gain = gain_of(forms)

    def difference(point: Point) -> Any:
        top, bottom = parts_of(gain, point)
        constant, linear = [], []
        for inverse_length in (0, 1):
            none, one = (mean_slope(point, a, inverse_length) for a in (0, 1))
            constant.append(none)
            linear.append(one - none)
        N = point["N"]
        at_none, at_linear = (pair[1] + (N - point.one) * pair[0] for pair in (constant, linear))
        return at_none * bottom + at_linear * top

    return of_exponential_law(difference, (gain,), ("N", "sigma2"))


def one_obligation(forms: Forms) -> Identity:
    form = forms.expression(ONE, "right")

    def difference(point: Point) -> Any:
        eye = point.matrix("I")
        return risk_of(point, eye.scaled(point["a"])) - value(form, tested(point))

    return of_plain_law(difference, (form,), {"a": "scalar"}, 3)


def at_gain_obligation(forms: Forms) -> Identity:
    risk = limited(forms.quotient(RISK, "at_gain"), 2)

    def difference(point: Point) -> Any:
        here = point.with_values({"sigma2'": point["sigma2"]})
        top, bottom = parts_of(risk, here)
        none, linear, square = times_length(point, "M")
        a = point["a"]
        return (none + linear * a + square * a**2) * bottom - top * point["M"]

    return of_exponential_law(difference, (risk,), ("a", "M", "sigma2"))


def trained_obligation(forms: Forms) -> Identity:
    gain, risk = gain_of(forms), limited(forms.quotient(RISK, "trained"), 3)

    def difference(point: Point) -> Any:
        (top, bottom), (above, below) = parts_of(gain, point), parts_of(risk, point)
        none, linear, square = times_length(point, "M")
        mean = none * bottom**2 + linear * top * bottom + square * top**2
        return mean * below - above * bottom**2 * point["M"]

    return of_exponential_law(difference, (gain, gain, risk), ("N", "M", "sigma2"))


# The limit, from the leading terms


def leading(form: Expression, symbol: str) -> tuple[int, Expression]:
    """The largest power of a symbol, and its coefficient."""
    largest = max(dict(term.powers).get(symbol, 0) for term in form.terms)
    kept = [term for term in form.terms if dict(term.powers).get(symbol, 0) == largest]
    terms = tuple(term._replace(powers=tuple(p for p in term.powers if p[0] != symbol)) for term in kept)
    return largest, Expression(form.rows, form.cols, terms)


def limit_identity(quotient: Quotient, limit: Quotient, symbols: tuple[str, ...]) -> Identity:
    """As the symbols grow one after the other the quotient tends to that of its leading coefficients: the limit."""
    top, bottom = quotient.numerator, quotient.denominator
    for symbol in symbols:
        (above, top), (below, bottom) = leading(top, symbol), leading(bottom, symbol)
        if above != below:
            raise ValueError(f"the two leading powers of {symbol} differ, so the limit is 0 or infinite")

    def difference(point: Point) -> Any:
        lead = [evaluate(part, point.values, point.one) for part in (top, bottom)]
        end = parts_of(limit, point)
        return lead[0] * end[1] - lead[1] * end[0]

    return of_exponential_law(difference, (quotient, limit), ("sigma2",))


def limit_of_gain_obligation(forms: Forms) -> Identity:
    return limit_identity(gain_of(forms), forms.quotient(LIMIT, "gain"), ("N",))


def limit_of_risk_obligation(forms: Forms) -> Identity:
    return limit_identity(limited(forms.quotient(RISK, "trained"), 3), forms.quotient(LIMIT, "risk"), ("N", "M"))


IN_LAMBDA = Polynomial("d", "d", frozenset({"Lambda"}), {"N": (-1,), "sigma2": (1,)})
AVERAGED = (
    "Each identity holds for every covariance, so it holds for the mean over tau; at the solution the mean slope is "
    "zero, which is the step from B to A*. Some Lambda_tau is definite, so the mean of the squares is."
)
FAMILIES = (
    "Diagonal laws: the equations of diagonal matrices part entry by entry. Rotated laws, and entries of one law: the "
    "one solution commutes with all rotations (permutations and signs), so it is a multiple of I."
)


def obligations() -> ClaimObligations:
    """The nine steps."""
    return ClaimObligations(
        "random-covariance",
        (*ASSUMPTIONS, "Psi = I; Lambda = Lambda_tau is drawn afresh for each prompt; u12 = u21 = 0 from step 4 on"),
        {
            EQUATIONS: {"M": IN_LAMBDA, "C": IN_LAMBDA},
            LEAK: {}, SQUARE: {},
            DIAGONAL: {"gamma": IN_LAMBDA},
            ROTATED: {name: replace(IN_LAMBDA, rows="1", cols="1") for name in ("top", "bottom")},
            GAIN: {"gain": Rational(frozenset({"d", "N", "sigma2"}))},
            ONE: {
                "right": Polynomial("1", "1", frozenset({"Lambda'"}), {"M": (-1,), "sigma2'": (1,), "a": (1, 2)})
            },
            RISK: {
                "at_gain": Rational(frozenset({"a", "d", "M", "sigma2'"})),
                "trained": Rational(frozenset({"d", "N", "M", "sigma2"})),
            },
            LIMIT: {"gain": Rational(frozenset()), "risk": Rational(frozenset({"d"}))},
        },
        (
            Obligation(EQUATIONS, "d reduced(A) along V = tr(V^T (M A - C) Lambda)", equations_obligation),
            Obligation(LEAK, "L - 1/2 E yhat_even^2 = reduced(u U + u12 u21^T)", leak_obligation),
            Obligation(
                SQUARE, "reduced(A) = reduced(B) + slope at B + 1/2 tr((A - B)^T M (A - B) Lambda)", square_obligation
            ),
            Obligation(SQUARE, "M is a sum of squares and at least a positive multiple of Lambda", positive_obligation),
            Obligation(DIAGONAL, "gamma Lambda = M", gamma_obligation),
            Obligation(ROTATED, "d reduced(a I) along I = a bottom - top", rotated_obligation),
            Obligation(GAIN, "the mean of d reduced(gain I) along I over Exp(1) entries is 0", gain_obligation),
            Obligation(ONE, "E (a s.x_q - w.x_q)^2 = right", one_obligation),
            Obligation(RISK, "the mean of E (a s.x_q - w.x_q)^2 over Exp(1) entries = at_gain", at_gain_obligation),
            Obligation(RISK, "the same at the gain = trained", trained_obligation),
            Obligation(LIMIT, "leading terms of the gain in N", limit_of_gain_obligation),
            Obligation(LIMIT, "leading terms of the trained risk in N, then in M", limit_of_risk_obligation),
        ),
        (*TRUSTED, AVERAGED, FAMILIES),
    )  # fmt: skip
