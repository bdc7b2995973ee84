"""Obligations of fixed-point at small instances: decisions over the reals, ball arithmetic and exact inertia.

They do not rest on the completed square: the loss is taken from the layer, and the closed form is only put in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import flint

from ..engines.balls import OnlyZero
from ..engines.decisions import Condition, Decision, Question
from ..engines.expressions import evaluate, rational
from ..engines.inertia import Inertia, inertia
from ..engines.layer import PROMPT, WEIGHTS, effective_preconditioner, population_loss, reduced_loss
from ..engines.matrices import Matrix
from ..engines.points import Kind, Point, make_point
from ..engines.refusals import RefutedError
from .obligation import Forms, Obligation

EQUATION, MINIMUM = "the stationary equation divided by the covariance", "the loss at the fixed point"

Rows = tuple[tuple[Fraction, ...], ...]


def fractions(*rows: str) -> Rows:
    """A matrix of rationals, rows as text."""
    return tuple(tuple(Fraction(entry) for entry in row.split()) for row in rows)


@dataclass(frozen=True)
class Law:
    """A law in rational numbers."""

    covariance: Rows
    task_covariance: Rows
    context_length: int
    noise_variance: Fraction

    @property
    def dimension(self) -> int:
        return len(self.covariance)

    def __str__(self) -> str:
        def rows(matrix: Rows) -> str:
            return "[" + ", ".join("[" + ", ".join(map(str, row)) + "]" for row in matrix) + "]"

        return (
            f"d = {self.dimension}, Lambda = {rows(self.covariance)}, Psi = {rows(self.task_covariance)}, "
            f"N = {self.context_length}, sigma2 = {self.noise_variance}"
        )

    def at(self, letters: Mapping[str, Kind]) -> Point:
        """A point with these numbers and symbols for the given letters."""
        point = make_point(letters, self.dimension, None, PROMPT)

        def matrix(rows: Rows) -> Matrix:
            return Matrix(tuple(tuple(point.one * rational(entry) for entry in row) for row in rows))

        return point.with_values(
            {
                "Lambda": matrix(self.covariance),
                "Psi": matrix(self.task_covariance),
                "sigma2": point.one * rational(self.noise_variance),
                "1/N": point.one * flint.fmpq(1, self.context_length),
                "N": point.one * self.context_length,
            }
        )


LAWS = (
    Law(fractions("2 1/2", "1/2 1"), fractions("1 1/3", "1/3 2"), 3, Fraction(1, 2)),
    Law(fractions("1 1/3 0", "1/3 2 1/4", "0 1/4 3"), fractions("2 0 1/2", "0 1 0", "1/2 0 1"), 2, Fraction(1)),
)


def number(polynomial: Any) -> Any:
    """A constant polynomial as rational number. Raises ValueError for any other."""
    if not polynomial.is_constant():
        raise ValueError(f"need a number, got {polynomial}")
    return polynomial.leading_coefficient() if polynomial != 0 else flint.fmpq(0)


def closed_form(forms: Forms, law: Law) -> tuple[Any, Any]:
    """(A* = left^-1 right, min L there) in rationals, from the derivation's forms."""
    point, d = law.at({}), law.dimension

    def at(name: str) -> Any:
        value = evaluate(forms.expression(EQUATION, name), point.values, point.one)
        return flint.fmpq_mat(d, d, [number(entry) for entry in value.entries()])

    try:
        star = at("left").solve(at("right"))
    except ZeroDivisionError:
        raise RefutedError(f"left is singular at {law}") from None
    A = Matrix.build(d, d, lambda i, j: point.one * star[i, j])
    minimum = evaluate(forms.expression(MINIMUM, "right"), {**point.values, "A_*": A}, point.one)
    return star, number(minimum)


# z3: no weights below the minimum, and the points where it is attained


def one_dimension(forms: Forms) -> Decision:
    """d = 1, Lambda = Psi = 1, sigma2 = 0 and every N: t = 1/N is any real in (0, 1]."""
    letters: dict[str, Kind] = {**WEIGHTS, "B": "scalar", "1/N": "scalar"}

    def ask() -> Question:
        point = make_point(letters, 1, None, PROMPT)
        point = point.with_values({"Lambda": point["I"], "Psi": point["I"], "sigma2": point.one * 0})
        B, t, one = Matrix(((point["B"],),)), point["1/N"], point.one
        left, right = (
            evaluate(forms.expression(EQUATION, name), point.values, one)[0, 0] for name in ("left", "right")
        )
        gap = population_loss(point) - evaluate(forms.expression(MINIMUM, "right"), {**point.values, "A_*": B}, one)
        hypotheses = [[Condition(-t, "< 0")], [Condition(t - one, "<= 0")], [Condition(left * B[0, 0] - right, "= 0")]]
        return Question(hypotheses, [[Condition(gap, "< 0")]], [[Condition(gap, "<= 0")]])

    return Decision(ask, letters, "L <= min L")


def reduced_minimum(law: Law) -> Any:
    """No A with reduced(A) <= min L other than A*."""
    letters: dict[str, Kind] = {"A": "matrix"}

    def prepare(forms: Forms) -> Decision:
        def ask() -> Question:
            point, (star, minimum) = law.at(letters), closed_form(forms, law)
            gap = reduced_loss(point, point["A"]) - point.one * minimum
            other = [
                Condition(entry - point.one * star[i, j], "!= 0")
                for i, row in enumerate(point["A"].rows)
                for j, entry in enumerate(row)
            ]
            at_most, below = [[Condition(gap, "<= 0")], other], [Condition(gap - flint.fmpq(1, 1000), "<= 0")]
            return Question([], at_most, [below, other])

        return Decision(ask, letters, "reduced(A) <= min L + 1/1000 elsewhere", assuming=False)

    return prepare


def even_part_coefficients(point: Point) -> Iterator[Any]:
    """The coefficients of the even part of the layer at N = 1 as a polynomial in x, eps, w and x_q."""
    from .population_loss import predicted

    even = (predicted(point, 1) + predicted(point, 1, -1)) * flint.fmpq(1, 2)
    drawn = {k for name in ("x[1]", "eps[1]", "w", "x_q") for k in point.numbers[name]}
    parts: dict[tuple[int, ...], Any] = {}
    generators = point.one.context().gens()
    for powers, coefficient in even.to_dict().items():
        monomial = point.one * coefficient
        for k, generator in enumerate(generators):
            if k not in drawn and powers[k]:
                monomial = monomial * generator ** int(powers[k])
        key = tuple(int(powers[k]) if k in drawn else 0 for k in range(len(generators)))
        parts[key] = parts.get(key, point.one * 0) + monomial
    yield from parts.values()


def uniqueness(d: int) -> Any:
    """yhat_even = 0 at N = 1 and det(u U + u12 u21^T) != 0 leave u12 = u21 = 0 only."""
    letters: dict[str, Kind] = dict(WEIGHTS)
    drawn: dict[str, Kind] = {"x[1]": "vector", "eps[1]": "scalar", "w": "vector", "x_q": "vector"}

    def prepare(forms: Forms) -> Decision:
        del forms

        def ask() -> Question:
            point = make_point({**letters, **drawn}, d, None, {})
            hypotheses = [[Condition(part, "= 0")] for part in even_part_coefficients(point)]
            regular = [Condition(determinant(effective_preconditioner(point)), "!= 0")]
            leak = [Condition(entry, "!= 0") for name in ("u12", "u21") for entry in point[name].entries()]
            return Question([*hypotheses, regular], [leak], [])

        return Decision(ask, letters, "the same without u12 = u21 = 0")

    return prepare


def determinant(A: Matrix) -> Any:
    """The determinant by expansion along the first row."""
    if A.shape == (1, 1):
        return A[0, 0]
    n = A.shape[0]
    parts = []
    for j in range(n):
        minor = Matrix(tuple(tuple(row[:j] + row[j + 1 :]) for row in A.rows[1:]))
        parts.append(A[0, j] * determinant(minor) * (-1) ** j)
    return sum(parts[1:], parts[0])


# Balls and inertia: what the loss on all parameters does near A*


def only_critical_point(law: Law) -> Any:
    """With u = 1 the gradient of L vanishes at one point of the box about u12 = u21 = 0, U = A*."""

    def prepare(forms: Forms) -> OnlyZero:
        star, _ = closed_form(forms, law)
        d = law.dimension
        letters: dict[str, Kind] = {"u12": "vector", "U": "matrix", "u21": "vector"}
        point = law.at(letters)
        loss = population_loss(point.with_values({"u": point.one}))
        unknowns = [k for name in letters for k in point.numbers[name]]
        at = [*[flint.fmpq(0)] * d, *star.entries(), *[flint.fmpq(0)] * d]
        return OnlyZero([loss.derivative(k) for k in unknowns], unknowns, at, letters)

    return prepare


@dataclass(frozen=True)
class HessianSigns:
    """At u = 1, U = A*, u12 = u21 = 0 the Hessian of L has one eigenvalue zero, the others positive."""

    law: Law
    star: Any
    letters: Mapping[str, Kind] = field(default_factory=lambda: dict(WEIGHTS))
    engine: str = field(default="python-flint (exact rational arithmetic)", init=False)

    def expected(self) -> Inertia:
        return Inertia(self.law.dimension * (self.law.dimension + 2), 1, 0)

    def evidence(self) -> dict[str, Any]:
        return {"eigenvalues": dict(self.expected()._asdict()), "the_zero_one": "the scale (c W_PV, W_KQ/c)"}

    def check(self, seed: str) -> None:
        del seed
        point = self.law.at(WEIGHTS)
        loss, d = population_loss(point), self.law.dimension
        unknowns = [k for name in WEIGHTS for k in point.numbers[name]]
        zero = flint.fmpq(0)
        at = [*[zero] * d, flint.fmpq(1), *self.star.entries(), *[zero] * d]
        found = inertia(hessian(loss, unknowns, at))
        if found != self.expected():
            raise RefutedError(f"the Hessian at the closed form has eigenvalues {dict(found._asdict())}")


def hessian(polynomial: Any, unknowns: list[int], at: list[Any]) -> list[list[Any]]:
    """The second derivatives at a rational point."""
    place = dict(zip(unknowns, at, strict=True))
    slopes = [polynomial.derivative(k) for k in unknowns]
    return [[number(slope.derivative(k).subs(place)) for k in unknowns] for slope in slopes]


def hessian_signs(law: Law) -> Any:
    """At the closed form of the derivation."""

    def prepare(forms: Forms) -> HessianSigns:
        return HessianSigns(law, closed_form(forms, law)[0])

    return prepare


def small_instances(optimality: str, unique: str) -> tuple[Obligation, ...]:
    """The obligations on these instances, for the two steps of this name."""
    yield_laws = [
        obligation
        for law in LAWS
        for obligation in (
            Obligation(optimality, f"reduced(A) > min L for every A other than A*, at {law}", reduced_minimum(law)),
            Obligation(
                optimality, f"grad L = 0 with u = 1 at A* only, within the box, at {law}", only_critical_point(law)
            ),
            Obligation(optimality, f"A* is a strict local minimum of L up to scale, at {law}", hessian_signs(law)),
        )
    ]
    return (
        Obligation(
            optimality, "L >= min L for all weights and all N, at d = 1, Lambda = Psi = 1, sigma2 = 0", one_dimension
        ),
        *yield_laws,
        *(
            Obligation(unique, f"yhat_even = 0 and u U + u12 u21^T regular imply u12 = u21 = 0, d = {d}", uniqueness(d))
            for d in (2, 3)
        ),
    )
