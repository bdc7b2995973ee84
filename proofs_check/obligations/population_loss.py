"""Obligations of population-loss: every mean is taken again from the layer, for symbolic d and N."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flint

from ..engines.expressions import Expression, Factor, Term, evaluate
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
    literal_layer,
    mean_product,
    odd_part,
)
from ..engines.matrices import Matrix, stack, total
from ..engines.points import Kind, Point
from .obligation import ClaimObligations, Forms, Obligation, Polynomial, of_law

PREDICTION, ODD, MIXED = "the layer's prediction", "the part of yhat odd in (w, eps)", "the mixed term has mean zero"
ODD_LOSS, EVEN_LOSS = "the odd part of the loss", "the even part of the loss"
LOSS, DECOMPOSITION = "the loss on all parameters", "decomposition"
VECTORS = frozenset({"u12", "u21", "w", "x", "x_q", "v"})
LABEL_NOISE = "eps"


def pairs(*expressions: Expression) -> int:
    """A bound on half of the legs of any of these, at least that of the model's means."""
    return max([PAIRS_OF_LEGS, *(expression.pairs_of_legs(VECTORS) for expression in expressions)])


def powers_of_d(*expressions: Expression) -> int:
    """The largest power of d in a coefficient."""
    return max((expression.largest_power("d") for expression in expressions), default=0)


def mean_identity(form: Expression, difference: Callable[[Point], Any], extra: int = 0) -> Identity:
    """A mean over prompts against an expression in the weights; `extra` factors stand in the place of a letter."""
    return Identity(
        difference, {**LAW, **WEIGHTS}, PROMPT, pairs(form), max(DEGREE, form.degree() + extra), powers_of_d(form)
    )


# The layer itself, prompt by prompt


def prompt_letters(n: int) -> dict[str, Kind]:
    """The letters of one prompt of n samples."""
    samples: dict[str, Kind] = {f"x[{i}]": "vector" for i in range(1, n + 1)}
    noise: dict[str, Kind] = {f"{LABEL_NOISE}[{i}]": "scalar" for i in range(1, n + 1)}
    return {**samples, **noise, "x_q": "vector", "w": "vector"}


def labels(point: Point, n: int, sign: int = 1) -> list[Any]:
    """y_i = w.x_i + eps_i, or what they are at (-w, -eps)."""
    return [((point["w"].T @ point[f"x[{i}]"])[0, 0] + point[f"{LABEL_NOISE}[{i}]"]) * sign for i in range(1, n + 1)]


def embedding(point: Point, ys: list[Any]) -> Matrix:
    """E = [[x_1 .. x_N, x_q], [y_1 .. y_N, 0]]."""
    covariates = [point[f"x[{i}]"] for i in range(1, len(ys) + 1)] + [point["x_q"]]
    return stack([covariates, [Matrix(((y,),)) for y in [*ys, point.one * 0]]])


def full_weights(point: Point) -> tuple[Matrix, Matrix]:
    """(W_PV, W_KQ) with ones where an entry does not enter the prediction."""
    d, one = point.dimension, point.one
    ones, row = Matrix.build(d, d, lambda i, j: one), Matrix.build(d, 1, lambda i, j: one)
    value = stack([[ones, row], [point["u12"].T, Matrix(((point["u"],),))]])
    return value, stack([[point["U"], row], [point["u21"].T, Matrix(((one,),))]])


def predicted(point: Point, n: int, sign: int = 1) -> Any:
    """f(E)[d, N] for this prompt."""
    return literal_layer(embedding(point, labels(point, n, sign)), *full_weights(point), flint.fmpq(1, n))


def summed_over_samples(expression: Expression, point: Point, n: int) -> Any:
    """The value of an expression with one summed sample, at a prompt of n samples."""
    values = {**point.values, "1/N": point.one * flint.fmpq(1, n)}
    summed = tuple(term for term in expression.terms if any(factor.sample for factor in term.factors()))
    single = tuple(term for term in expression.terms if term not in summed)
    rows, cols = expression.rows, expression.cols
    parts = [evaluate(Expression(rows, cols, single), values, point.one)]
    for i in range(1, n + 1):
        of_sample = tuple(at_sample(term, i) for term in summed)
        parts.append(evaluate(Expression(rows, cols, of_sample), values, point.one))
    return total(iter(parts))


def at_sample(term: Term, i: int) -> Term:
    """The term with sample i in the place of the summed one."""

    def renamed(word: tuple[Factor, ...]) -> tuple[Factor, ...]:
        return tuple(factor._replace(sample=i) if factor.sample else factor for factor in word)

    return term._replace(closed=tuple(renamed(word) for word in term.closed), open=renamed(term.open))


def per_prompt(form: Expression, side: Callable[[Point, int], Any]) -> Identity:
    """An identity for every prompt, tested at N = 1, 2, 3, 4.

    The layer is (1/N)(sum_i g(sample i) + h), a form of this kind sum_i (a1/N + a0)(sample i) + b1/N + b0. With all
    samples alike their difference is (g - a1) - N a0 + (h - b1)/N - b0: three lengths make each of a0, h - b1 and
    g - a1 - b0 vanish, and without a sample (x = 0, eps = 0) b0 too.
    """
    lengths = (1, 2, 3, 4)

    def differences(point: Point) -> list[Any]:
        return [side(point, n) - summed_over_samples(form, point, n) for n in lengths]

    letters: dict[str, Kind] = {**prompt_letters(lengths[-1]), **WEIGHTS}
    legs = form.pairs_of_legs(VECTORS)
    return Identity(differences, letters, {}, max(3, legs), max(DEGREE, form.degree() + 1), powers_of_d(form), (1, 2))


def bilinear(point: Point, n: int) -> Any:
    """a^T G b with G = (1/N)(sum z_i z_i^T + q q^T): the engine's form of the layer, for one prompt."""
    E = embedding(point, labels(point, n))
    (form,) = layer(point)
    return (form.a.T @ (E @ (E.T @ form.b)))[0, 0] * flint.fmpq(1, n)


def odd_in_labels(point: Point, n: int) -> Any:
    """Half the difference of the layer at (w, eps) and at (-w, -eps)."""
    return (predicted(point, n) - predicted(point, n, -1)) * flint.fmpq(1, 2)


def prediction_obligation(forms: Forms) -> Identity:
    form = forms.expression(PREDICTION, "right")
    return per_prompt(form, predicted)


def bilinear_obligation(forms: Forms) -> Identity:
    del forms
    letters: dict[str, Kind] = {**prompt_letters(3), **WEIGHTS}

    def differences(point: Point) -> list[Any]:
        return [predicted(point, n) - bilinear(point, n) for n in (1, 2, 3)]

    return Identity(differences, letters, {}, 3, DEGREE, 0, (1, 2))


def odd_obligation(forms: Forms) -> Identity:
    return per_prompt(forms.expression(ODD, "right"), odd_in_labels)


# The means


def mixed_obligation(forms: Forms) -> Identity:
    del forms
    return Identity(
        lambda point: mean_product(point, odd_part(point), even_part(point), 1, 0),
        {**LAW, **WEIGHTS}, PROMPT, PAIRS_OF_LEGS, DEGREE,
    )  # fmt: skip


def value_on_weights(form: Expression, point: Point) -> Any:
    """An expression in the weights, and in A = u U + u12 u21^T."""
    return evaluate(form, {**point.values, "A": effective_preconditioner(point)}, point.one)


def odd_loss_obligation(forms: Forms) -> Identity:
    form = forms.expression(ODD_LOSS, "right")
    return mean_identity(
        form, lambda point: half_mean_square(point, odd_part(point), 1) - value_on_weights(form, point), form.degree()
    )


def even_loss_obligation(forms: Forms) -> Identity:
    form = forms.expression(EVEN_LOSS, "right")
    return mean_identity(
        form, lambda point: half_mean_square(point, even_part(point), 0) - value_on_weights(form, point)
    )


def loss_obligation(forms: Forms) -> Identity:
    form = forms.expression(LOSS, "right")
    return mean_identity(form, lambda point: half_mean_square(point, layer(point), 1) - value_on_weights(form, point))


def decomposition_obligation(forms: Forms) -> Identity:
    reduced, even = forms.expression(ODD_LOSS, "right"), forms.expression(EVEN_LOSS, "right")

    def difference(point: Point) -> Any:
        parts = value_on_weights(reduced, point) + value_on_weights(even, point)
        return half_mean_square(point, layer(point), 1) - parts

    return Identity(
        difference, {**LAW, **WEIGHTS}, PROMPT, pairs(reduced, even), max(DEGREE, 2 * reduced.degree(), even.degree()),
        powers_of_d(reduced, even),
    )  # fmt: skip


IN_WEIGHTS = of_law(
    "u12", "U", "u21", square=False, powers={"N": (-1, -2), "sigma2": (1, 2), "u": (1, 2)}
)  # the query's own part of the prediction brings 1/N^2
IN_PROMPT = Polynomial(
    "1", "1", frozenset({"x", "eps", "x_q", "w", "u12", "U", "u21"}), {"N": (-1,), "u": (1,)}, frozenset({"x", "eps"})
)


TRUSTED = (
    "This list of obligations says what the derivation says; it was written by hand.",
    "The law of the prompt: given w the columns (x_i; y_i) are independent and Gaussian with the covariance C of "
    "engines/layer.py, so that a mean of two predictions is a sum of pairings with coefficients in 1/N alone.",
    "Pairings of 2k legs are independent functions of matrices and vectors in every dimension d >= k: proved in words "
    "in engines/expressions.py [brauer1937algebras].",
    "python-flint and FLINT compute with rational polynomials as they say, and this package's engines are as written.",
)

ASSUMPTIONS = (
    "x_i, x_q ~ N(0, Lambda), w ~ N(0, Psi), eps_i ~ N(0, sigma2), all independent; y_i = w.x_i + eps_i",
    "Lambda, Psi symmetric; N a positive whole number, d any",
)


def obligations() -> ClaimObligations:
    """The seven steps."""
    return ClaimObligations(
        "population-loss",
        ASSUMPTIONS,
        {
            PREDICTION: {"right": IN_PROMPT}, ODD: {"right": IN_PROMPT}, MIXED: {},
            ODD_LOSS: {"right": of_law("A", square=False)}, EVEN_LOSS: {"right": IN_WEIGHTS},
            LOSS: {"right": IN_WEIGHTS}, DECOMPOSITION: {},
        },
        (
            Obligation(PREDICTION, "f(E)[d, N] = right, for every prompt", prediction_obligation),
            Obligation(PREDICTION, "f(E)[d, N] = a^T G b, for every prompt", bilinear_obligation),
            Obligation(ODD, "(f at (w, eps) - f at (-w, -eps))/2 = right, for every prompt", odd_obligation),
            Obligation(MIXED, "E (yhat_odd - w.x_q) yhat_even = 0", mixed_obligation),
            Obligation(ODD_LOSS, "1/2 E (yhat_odd - w.x_q)^2 = right at A = u U + u12 u21^T", odd_loss_obligation),
            Obligation(EVEN_LOSS, "1/2 E yhat_even^2 = right", even_loss_obligation),
            Obligation(LOSS, "1/2 E (yhat - w.x_q)^2 = right", loss_obligation),
            Obligation(
                DECOMPOSITION,
                "1/2 E (yhat - w.x_q)^2 = (odd part of the loss at A = u U + u12 u21^T) + (even part of the loss)",
                decomposition_obligation,
            ),
        ),
        TRUSTED,
    )  # fmt: skip
