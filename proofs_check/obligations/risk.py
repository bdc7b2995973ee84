"""Obligations of test-risk: the risk from the layer, its parts, queries of another law, regrets, labels of any law."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import flint

from ..engines.expressions import Expression
from ..engines.gaussian_means import gaussian_mean
from ..engines.identities import Identity
from ..engines.layer import (
    DEGREE,
    LAW,
    covariance_of_forms,
    dot,
    half_mean_square,
    mean_of_forms,
    over_task_and_query,
    reading,
)
from ..engines.matrices import Matrix
from ..engines.points import Kind, Point
from ..engines.positivity import SumOfSquares
from .fixed_point import of_forms, value
from .obligation import ClaimObligations, Forms, Obligation, Polynomial, of_law
from .population_loss import ASSUMPTIONS, TRUSTED

RISK, PARTS = "risk on the test law", "bias and variance"
LENGTH, REGRET = "test length", "regret of training at N and testing at M"
ISOTROPIC = "regret for Psi = psi I"
QUERY, BEST = "query shift", "the best layer does not depend on the query"
LABELS = "labels of any law"
TRAINED = "labels of any law, at the trained layer (Psi = I, sigma = 0)"
TEST_NAMES = {"Lambda": "Lambda'", "Psi": "Psi'", "sigma2": "sigma2'", "1/N": "1/M"}


def tested(point: Point) -> Point:
    """The point with the names of the test law beside those of the engine."""
    return point.with_values({test: point[name] for name, test in TEST_NAMES.items()})


def risk_of(point: Point, A: Matrix) -> Any:
    """E (s^T A x_q - w.x_q)^2."""
    return half_mean_square(point, reading(point, A), 1) * 2


def risk_obligation(forms: Forms) -> Identity:
    form = forms.expression(RISK, "right")
    return of_forms(
        lambda point: risk_of(point, point["A"]) - value(form, tested(point)), (form,), {**LAW, "A": "matrix"}, 0
    )


def parts(point: Point, bias: Expression, sigma: Expression, query: str = "Lambda") -> Any:
    """bias + (1/M) tr(A^T Sigma A query)."""
    here, A = tested(point), point["A"]
    return value(bias, here) + (A.T @ value(sigma, here) @ A @ point.matrix(query)).trace() * point["1/N"]


def parts_obligation(forms: Forms) -> Identity:
    bias, sigma = forms.expression(PARTS, "bias"), forms.expression(PARTS, "Sigma")
    return of_forms(
        lambda point: risk_of(point, point["A"]) - parts(point, bias, sigma),
        (bias, sigma), {**LAW, "A": "matrix"}, 3,
    )  # fmt: skip


def bias_obligation(forms: Forms) -> Identity:
    """The bias is the mean over w and x_q of the squared mean of yhat - w.x_q, and does not know M."""
    bias = forms.expression(PARTS, "bias")

    def difference(point: Point) -> Any:
        error = mean_of_forms(point, reading(point, point["A"])) - dot(point["w"], point["x_q"])
        return over_task_and_query(point, error * error) - value(bias, tested(point))

    return of_forms(difference, (bias,), {**LAW, "A": "matrix"}, 0)


QUERY_LAW: dict[str, Kind] = {**LAW, "Q": "symmetric", "A": "matrix"}


def risk_of_query(point: Point, A: Matrix) -> Any:
    """E (s^T A x_q - w.x_q)^2 where x_q has a covariance of its own: w ~ N(0, Psi), then x_q ~ N(0, Q)."""
    forms = reading(point, A)
    error = mean_of_forms(point, forms) - dot(point["w"], point["x_q"])
    square = error * error + covariance_of_forms(point, forms, forms)
    over_task = gaussian_mean(square, point.numbers["w"], point["Psi"])
    return gaussian_mean(over_task, point.numbers["x_q"], point["Q"])


def query_obligation(forms: Forms) -> Identity:
    form = forms.expression(QUERY, "risk")
    return of_forms(lambda point: risk_of_query(point, point["A"]) - value(form, tested(point)), (form,), QUERY_LAW, 0)


def query_parts_obligation(forms: Forms) -> Identity:
    bias, sigma = forms.expression(QUERY, "bias"), forms.expression(QUERY, "Sigma")
    return of_forms(
        lambda point: risk_of_query(point, point["A"]) - parts(point, bias, sigma, "Q"), (bias, sigma), QUERY_LAW, 3
    )


def gradient_of_query_obligation(forms: Forms) -> Identity:
    """The slope along V, half a difference of two values of a quadratic."""
    M, C = forms.expression(BEST, "M"), forms.expression(BEST, "C")

    def difference(point: Point) -> Any:
        here, A, V = tested(point), point["A"], point["V"]
        slope = (risk_of_query(point, A + V) - risk_of_query(point, A - V)) * flint.fmpq(1, 2)
        return slope - (V.T @ (value(M, here) @ A - value(C, here)) @ point["Q"]).trace() * 2

    return of_forms(difference, (M, C), {**QUERY_LAW, "V": "matrix"}, 3)


def best_obligation(forms: Forms) -> Identity:
    return regret_from(forms.expression(BEST, "regret"), risk_of_query, QUERY_LAW)


def positive_obligation(forms: Forms) -> SumOfSquares:
    """Sigma as squares; the letters of the test law are read as those of the engine."""
    return SumOfSquares(renamed(forms.expression(PARTS, "Sigma")))


def renamed(form: Expression) -> Expression:
    """The form with the engine's names for the letters of the law."""
    names = {test: name for name, test in TEST_NAMES.items()}
    terms = tuple(
        term._replace(
            powers=tuple((names.get(s, s), p) for s, p in term.powers),
            closed=tuple(tuple(f._replace(name=names.get(f.name, f.name)) for f in word) for word in term.closed),
            open=tuple(f._replace(name=names.get(f.name, f.name)) for f in term.open),
        )
        for term in form.terms
    )
    return Expression(form.rows, form.cols, terms)


def regret_obligation(forms: Forms) -> Identity:
    """For B with M_M B = C, read off the gradient: risk(A) - risk(B) = regret(A, B) + its pull at B, which is zero."""
    return regret_from(forms.expression(REGRET, "regret"), risk_of, {**LAW, "A": "matrix"})


def regret_from(regret: Expression, risk: Callable[[Point, Matrix], Any], letters: dict[str, Kind]) -> Identity:
    """The excess of a risk at A over that at B, less its slope at B along A - B, is the regret."""

    def difference(point: Point) -> Any:
        A, B = point["A"], point["B"]
        here = tested(point)
        slope = (risk(point, B + (A - B)) - risk(point, B - (A - B))) * flint.fmpq(1, 2)
        return risk(point, A) - risk(point, B) - slope - value(regret, here, **{"A_*": B})

    return of_forms(difference, (regret,), {**letters, "B": "matrix"}, 0)


def isotropic_obligation(forms: Forms) -> Identity:
    """The curvature of the risk at Psi = psi I: half its mixed difference along A and B."""
    form = forms.expression(ISOTROPIC, "curvature")

    def difference(point: Point) -> Any:
        here = tested(point.with_values({"Psi": point.matrix("I").scaled(point["psi"])}))
        A, B = point["A"], point["B"]
        mixed = risk_of(here, A + B) - risk_of(here, A) - risk_of(here, B) + risk_of(here, A - A)
        derived = (A.T @ value(form, here) @ B @ point["Lambda"]).trace()
        return mixed * flint.fmpq(1, 2) - derived

    letters: dict[str, Kind] = {name: kind for name, kind in LAW.items() if name != "Psi"}
    power = max([1, *(len(term.closed) for term in form.terms)])  # tr(Lambda Psi) has no loop of its own at Psi = psi I
    identity = of_forms(difference, (form,), {**letters, "psi": "scalar", "A": "matrix", "B": "matrix"}, 3)
    return replace(identity, powers_of_d=max(identity.powers_of_d, power))


# Labels of any law: s = Lambda a + zeta with zeta ~ (0, Sig/M), of which only these two moments count

LABEL_LETTERS: dict[str, Kind] = {
    "Lambda": "symmetric", "Sig": "symmetric", "a": "vector", "1/M": "scalar", "1/N": "scalar", "K": "symmetric",
    "A": "matrix",
}  # fmt: skip


def excess(point: Point, A: Matrix) -> Any:
    """E (A^T s - a)^T Lambda (A^T s - a): quadratic in zeta, so the Gaussian zeta has its mean."""
    zeta, a, Lambda = point["zeta"], point["a"], point["Lambda"]
    error = A.T @ (Lambda @ a + zeta) - a
    return gaussian_mean(dot(error, Lambda @ error), point.numbers["zeta"], point.matrix("Sig").scaled(point["1/M"]))


def labels_obligation(forms: Forms) -> Identity:
    form = forms.expression(LABELS, "right")
    legs = max(6, form.pairs_of_legs(frozenset({"a", "zeta"})))
    return Identity(
        lambda point: excess(point, point["A"]) - value(form, point),
        LABEL_LETTERS, {"zeta": "vector"}, legs, max(DEGREE, form.degree()), form.largest_power("d"),
    )  # fmt: skip


def trained_obligation(forms: Forms) -> Identity:
    """With R = Gamma^-1 as a symmetric letter and Lambda = R^-1 - K/N put in for Gamma: R (Lambda + K/N) = I.

    Lambda is the free letter; R is replaced by what multiplies out: the identity is tested for symmetric R and K with
    Lambda R = I - K R/N, that is, for Lambda' and R as letters and K = N (R^-1 - Lambda); at numbers, R is inverted.
    """
    form = forms.expression(TRAINED, "right")

    def difference(point: Point) -> Any:
        Lambda, N = point.matrix("Lambda"), point["N"]
        gamma = point.matrix("Gamma")
        inverse = inverted(gamma, point)
        K = (gamma - Lambda).scaled(N)
        here = point.with_values({"K": K, "Gamma^-1": inverse})
        return excess(here, inverse) - value(form, here)

    letters: dict[str, Kind] = {
        "Lambda": "symmetric", "Sig": "symmetric", "a": "vector", "1/M": "scalar", "Gamma": "symmetric", "N": "scalar",
    }  # fmt: skip
    legs = max(7, form.pairs_of_legs(frozenset({"a", "zeta"})))
    # Gamma^-1 = I + .. makes d expressible without the symbol: tr(Gamma Gamma^-1), where K = N (Gamma - Lambda). Only a
    # closed word can come to that, so there are at most as many powers of d as a term has closed words.
    loops = max(len(term.closed) for term in form.terms)
    degree = max(DEGREE, 2 * form.degree()) + 8 * (legs + loops)  # the adjugate and determinant of Gamma, twice
    return Identity(difference_at_numbers(difference), letters, {"zeta": "vector"}, legs, degree, loops, ())


def difference_at_numbers(difference: Any) -> Any:
    """With 1/N as the reciprocal of the number N."""

    def at(point: Point) -> Any:
        return difference(point.with_values({"1/N": point.one / point["N"].leading_coefficient()}))

    return at


def inverted(matrix: Matrix, point: Point) -> Matrix:
    """The inverse of a matrix of constants."""
    d = matrix.shape[0]
    numbers = flint.fmpq_mat(d, d, [entry.leading_coefficient() if entry != 0 else 0 for entry in matrix.entries()])
    inverse = numbers.inv()
    return Matrix.build(d, d, lambda i, j: point.one * inverse[i, j])


def tested_law(*further: str) -> Polynomial:
    """A number made of the letters of the test law."""
    return Polynomial("1", "1", frozenset({"Lambda'", "Psi'", *further}), {"M": (-1,), "sigma2'": (1,)})


COMMUTE = (
    "That K = Lambda + tr(Lambda) I, Gamma and Lambda commute for the layer trained at Psi = I, sigma = 0, which gives "
    "the three terms of ZFB Theorem 4.2."
)
MINIMUM = (
    "The slope at B vanishes where M_M B = C (fixed-point at length M), which is the step from B to A_M; M_M >= 0."
)
QUERY_MOMENTS = (
    "Query shift: the mean over x_q ~ N(0, Q) is that over any law with E x_q x_q^T = Q, for the square of an error "
    "that is linear in x_q is a quadratic form in it."
)
OWN_QUERY = "Labels of any law: the query is independent of the context and has E[x_q y_q] = Lambda a."


def obligations() -> ClaimObligations:
    """The nine steps."""
    return ClaimObligations(
        "test-risk",
        (*ASSUMPTIONS, "the same letters with a prime for the test law, 1/M in the place of 1/N; u12 = u21 = 0"),
        {
            RISK: {"right": tested_law("A")},
            PARTS: {"bias": tested_law("A"), "Sigma": replace(tested_law(), rows="d", cols="d")},
            QUERY: {
                "risk": tested_law("A", "Q"),
                "bias": tested_law("A", "Q"),
                "Sigma": replace(tested_law(), rows="d", cols="d"),
            },
            BEST: {
                "M": of_law(powers={"M": (-1,), "sigma2": (1,)}),
                "C": of_law(powers={"M": (-1,), "sigma2": (1,)}),
                "regret": of_law("A", "A_*", "Q", square=False, powers={"M": (-1,), "sigma2": (1,)}),
            },
            LENGTH: {},
            REGRET: {"regret": of_law("A", "A_*", square=False, powers={"M": (-1,), "sigma2": (1,)})},
            ISOTROPIC: {
                "curvature": Polynomial("d", "d", frozenset({"Lambda"}), {"M": (-1,), "sigma2": (1,), "psi": (1,)})
            },
            LABELS: {"right": Polynomial("1", "1", frozenset({"Lambda", "Sig", "a", "A"}), {"M": (-1,)})},
            TRAINED: {
                "right": Polynomial(
                    "1", "1", frozenset({"Lambda", "Sig", "a", "K", "Gamma^-1"}), {"M": (-1,), "N": (-2,)}
                )
            },
        },
        (
            Obligation(RISK, "E (s^T A x_q - w.x_q)^2 = right", risk_obligation),
            Obligation(PARTS, "E (s^T A x_q - w.x_q)^2 = bias + (1/M) tr(A^T Sigma A Lambda')", parts_obligation),
            Obligation(PARTS, "E (E[yhat | w, x_q] - w.x_q)^2 = bias", bias_obligation),
            Obligation(QUERY, "E (s^T A x_q - w.x_q)^2 = risk for x_q ~ N(0, Q)", query_obligation),
            Obligation(QUERY, "the same = bias + (1/M) tr(A^T Sigma A Q)", query_parts_obligation),
            Obligation(BEST, "slope of the risk along V = 2 tr(V^T (M A - C) Q)", gradient_of_query_obligation),
            Obligation(BEST, "risk(A) - risk(B) = (slope of the risk at B along A - B) + regret", best_obligation),
            Obligation(LENGTH, "Sigma is a sum of squares", positive_obligation),
            Obligation(REGRET, "risk(A) - risk(B) = (slope of the risk at B along A - B) + regret", regret_obligation),
            Obligation(
                ISOTROPIC, "half the mixed difference of the risk = tr(A^T curvature B Lambda)", isotropic_obligation
            ),
            Obligation(LABELS, "E (A^T s - a)^T Lambda (A^T s - a) = right", labels_obligation),
            Obligation(TRAINED, "the same at A = Gamma^-1, K = N (Gamma - Lambda)", trained_obligation),
        ),
        (*TRUSTED, COMMUTE, MINIMUM, QUERY_MOMENTS, OWN_QUERY),
    )  # fmt: skip
