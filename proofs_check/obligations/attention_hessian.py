"""Obligations of attention-hessian-inertia: the form and its squares for every prompt, signs at rational prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flint

from ..engines.expressions import Expression
from ..engines.identities import Identity
from ..engines.inertia import inertia
from ..engines.layer import DEGREE, WEIGHTS, dot, literal_layer, over
from ..engines.matrices import Matrix
from ..engines.points import Kind, Point, make_point
from ..engines.relations import Relation, Relations
from .gradient_step import LENGTHS, labels
from .obligation import ClaimObligations, Forms, Obligation, Polynomial
from .population_loss import TRUSTED, VECTORS, embedding, full_weights, powers_of_d, summed_over_samples
from .small_instances import hessian

FORM, SQUARES = "the prediction in the parameters", "difference of two squares"
INERTIA, RANK = "inertia", "how many"
AT_COUNTEREXAMPLE, COUNTEREXAMPLE = "the form at the counterexample", "counterexample"
LETTERS: dict[str, Kind] = {
    **{f"x[{i}]": "vector" for i in LENGTHS}, **{f"y[{i}]": "scalar" for i in LENGTHS}, "x_q": "vector", **WEIGHTS,
}  # fmt: skip
Rows = Sequence[Sequence[int]]
PROMPTS: tuple[Rows, ...] = (
    ((2, 1), (3, 0)),
    ((1, 2), (0, 0)),
    ((1, 0), (0, 1), (1, 0)),
    ((1, 2, 3), (2, -1, 1), (1, 3, 0)),
    ((1, 1, 3), (2, 2, 1), (1, 1, 0)),
    ((1, 2, 0, 1), (0, 1, 1, 2), (3, -1, 2, 0)),
    ((1, 2), (0, 1), (1, -1), (2, 0)),
)
NOISELESS: tuple[tuple[Rows, Sequence[int]], ...] = (
    (((2, 3),), (5,)),
    (((1, 2), (3, 1)), (2, 3)),
    (((1, 2, 1), (3, 1, 2)), (2, 3)),
    (((1, 2, 1, 4), (3, 1, 2, 1)), (2, 3)),
    (((1, 2), (3, 1), (1, 1)), (1, 2, 3)),
    (((1, 2, 1), (3, 1, 2), (1, 1, 4)), (1, 2, 3)),
)


def of_prompt(*further: str, powers: dict[str, tuple[int, ...]]) -> Polynomial:
    """A number made of one prompt and the parameters."""
    return Polynomial(
        "1", "1", frozenset({"x", "y", "x_q", "U", "u12", "u21", *further}), powers, frozenset({"x", "y"})
    )


def for_every_prompt(difference: Any, forms: Sequence[Expression]) -> Identity:
    """Both sides are (1/N)(sum_i g(sample i) + h): four lengths tell apart what three do (`population_loss`)."""
    pairs = max([4, *(form.pairs_of_legs(VECTORS) for form in forms)])
    degree = max([DEGREE, *(form.degree() + 2 for form in forms)])
    return Identity(
        lambda point: [difference(point, n) for n in LENGTHS], LETTERS, {}, pairs, degree, powers_of_d(*forms), (1, 2)
    )


def layer_at(point: Point, n: int) -> Any:
    return literal_layer(embedding(point, labels(point, n)), *full_weights(point), flint.fmpq(1, n))


def square(point: Point, n: int, sign: int) -> Any:
    """(a + sign b)^T G (a + sign b)/4 with a = (u12; u), b = (U; u21^T) x_q, G = E E^T/N."""
    x_q = point["x_q"]
    a, b = over(point["u12"], point["u"]), over(point["U"] @ x_q, dot(point["u21"], x_q))
    read = embedding(point, labels(point, n)).T @ (a + b * sign)
    return dot(read, read) * flint.fmpq(1, 4 * n)


def form_obligation(step: str) -> Any:
    def prepare(forms: Forms) -> Identity:
        form = forms.expression(step, "right")
        return for_every_prompt(lambda point, n: layer_at(point, n) - summed_over_samples(form, point, n), (form,))

    return prepare


def squares_obligation(forms: Forms) -> Identity:
    plus, minus = forms.expression(SQUARES, "plus"), forms.expression(SQUARES, "minus")

    def difference(point: Point, n: int) -> list[Any]:
        return [
            square(point, n, 1) - summed_over_samples(plus, point, n),
            square(point, n, -1) - summed_over_samples(minus, point, n),
            layer_at(point, n) - square(point, n, 1) + square(point, n, -1),
        ]

    return for_every_prompt(difference, (plus, minus))


# Signs at prompts of whole numbers


def parameter_point(E: Rows) -> tuple[Any, list[int]]:
    """f(E)[d, N] as a polynomial in the parameters, and their numbers: columns of [[U, u12], [u21^T, u]], stacked."""
    d, n = len(E) - 1, len(E[0]) - 1
    point = make_point(WEIGHTS, d, None, {})
    entries = Matrix.build(d + 1, n + 1, lambda i, j: point.one * E[i][j])
    polynomial = literal_layer(entries, *full_weights(point), flint.fmpq(1, n))
    U, u21, u12, u = (point.numbers[name] for name in ("U", "u21", "u12", "u"))
    columns = [[*(U[i * d + j] for i in range(d)), u21[j]] for j in range(d)]
    return polynomial, [k for column in [*columns, [*u12, *u]] for k in column]


def second_derivatives(E: Rows) -> list[list[Any]]:
    """Of the prediction in the parameters: 2 H."""
    polynomial, numbers = parameter_point(E)
    return hessian(polynomial, numbers, [flint.fmpq(0)] * len(numbers))


def rank(E: Rows) -> int:
    """The rank of E: the positive eigenvalues of E E^T."""
    return inertia([[flint.fmpq(sum(a * b for a, b in zip(p, q, strict=True))) for q in E] for p in E]).positive


def sign_relations() -> list[Relation]:
    found = []
    for E in PROMPTS:
        signs, expected = inertia(second_derivatives(E)), rank(E)
        found.append(Relation(f"negative eigenvalues at E = {written(E)}", signs.negative, "=", expected))
        found.append(Relation(f"positive eigenvalues at E = {written(E)}", signs.positive, "=", expected))
    return found


def written(E: Rows) -> str:
    return str([list(row) for row in E])


def rank_relations() -> list[Relation]:
    """rank E = min(d, N) + 1 at prompts with y_i = w.x_i."""
    found = []
    for X, w in NOISELESS:
        d, n = len(X), len(X[0]) - 1
        last = [sum(w[k] * X[k][i] for k in range(d)) for i in range(n)] + [0]
        found.append(Relation(f"rank E at d = {d}, N = {n}", rank([*X, last]), "=", min(d, n) + 1))
    return found


ONTO = (
    "The step 'inertia': for x_q != 0 the pair (a, b) takes every value, G is positive semi-definite of rank rank(E), "
    "and Sylvester's law of inertia counts the signs of a difference of two squares in independent coordinates."
)
ALMOST_SURELY = (
    "The step 'how many': the minors of E are polynomials in the prompt; one that does not vanish at a rational prompt "
    "vanishes with probability 0."
)


def obligations() -> ClaimObligations:
    """The four steps."""
    return ClaimObligations(
        "attention-hessian-inertia",
        ("every prompt (x_1, y_1) .. (x_N, y_N), x_q; the parameters u12, u, U, u21",),
        {
            FORM: {"right": of_prompt(powers={"N": (-1,), "u": (1,)})},
            SQUARES: {name: of_prompt(powers={"N": (-1,), "u": (1, 2)}) for name in ("plus", "minus")},
            INERTIA: {},
            RANK: {},
        },
        (
            Obligation(FORM, "f(E)[d, N] = right, for every prompt", form_obligation(FORM)),
            Obligation(
                SQUARES, "plus and minus are the two squares, and f(E)[d, N] = plus - minus", squares_obligation
            ),
            Obligation(INERTIA, "as many positive and negative eigenvalues as rank(E)", signs_obligation),
            Obligation(RANK, "rank(E) = min(d, N) + 1 where y_i = w.x_i", ranks_obligation),
        ),
        (TRUSTED[0], *TRUSTED[2:], ONTO, ALMOST_SURELY),
    )


def signs_obligation(forms: Forms) -> Relations:
    del forms
    return Relations(sign_relations)


def ranks_obligation(forms: Forms) -> Relations:
    del forms
    return Relations(rank_relations)


# The printed number

REFUTING: Rows = ((1, 0), (0, 1), (1, 0))


def printed_entries(E: Rows) -> list[list[Any]]:
    """2 H as printed: X (x) (E E^T/N)."""
    size, n = len(E), len(E[0]) - 1
    X = [[E[i][n] if j == size - 1 else E[j][n] if i == size - 1 else 0 for j in range(size)] for i in range(size)]
    X[size - 1][size - 1] = 0
    gram = [[sum(a * b for a, b in zip(p, q, strict=True)) for q in E] for p in E]
    places = range(size * size)
    return [[flint.fmpq(X[p // size][q // size] * gram[p % size][q % size], n) for q in places] for p in places]


def kronecker_obligation(forms: Forms) -> Relations:
    """The printed matrix is that of the layer there."""
    del forms

    def ask() -> list[Relation]:
        pairs = zip(second_derivatives(REFUTING), printed_entries(REFUTING), strict=True)
        differing = sum(a != b for left, right in pairs for a, b in zip(left, right, strict=True))
        return [Relation("entries of 2 H that differ from X (x) E E^T/N", differing, "=", 0)]

    return Relations(ask)


def counterexample_obligation(forms: Forms) -> Relations:
    del forms

    def ask() -> list[Relation]:
        negative, d = inertia(second_derivatives(REFUTING)).negative, len(REFUTING) - 1
        return [
            Relation("negative eigenvalues and d + 1", negative, "<", d + 1),
            Relation("negative eigenvalues and rank(E)", negative, "=", rank(REFUTING)),
        ]

    return Relations(ask)


def refutation() -> ClaimObligations:
    """The form, and its signs at one prompt."""
    return ClaimObligations(
        "audit-zfb-hessian",
        ("every prompt; one refutes it: d = 2, N = 1, x_1 = (1, 0), y_1 = 1, x_q = (0, 1)",),
        {AT_COUNTEREXAMPLE: {"right": of_prompt(powers={"N": (-1,), "u": (1,)})}, COUNTEREXAMPLE: {}},
        (
            Obligation(AT_COUNTEREXAMPLE, "f(E)[d, N] = right, for every prompt", form_obligation(AT_COUNTEREXAMPLE)),
            Obligation(AT_COUNTEREXAMPLE, "its second derivatives are X (x) (E E^T/N)", kronecker_obligation),
            Obligation(COUNTEREXAMPLE, "fewer than d + 1 negative eigenvalues", counterexample_obligation),
        ),
        (TRUSTED[0], *TRUSTED[2:], "That the statement is printed as quoted."),
    )
