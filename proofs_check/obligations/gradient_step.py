"""Obligations of preconditioned-gradient-step: identities for every prompt, without a law."""

from __future__ import annotations

from typing import Any

import flint

from ..engines.expressions import Expression
from ..engines.identities import Identity
from ..engines.layer import DEGREE, LAW, PROMPT, dot, literal_layer, mean_of_forms, reading
from ..engines.matrices import Matrix, total
from ..engines.points import Kind, Point
from .obligation import ClaimObligations, Forms, Obligation, Polynomial
from .population_loss import ASSUMPTIONS, TRUSTED, VECTORS, embedding, full_weights, powers_of_d, summed_over_samples

SLOPE, LAYER = "gradient of the in-context risk at 0", "the layer at u12 = u21 = 0"
STEP, LIMIT = "layer = one preconditioned step", "infinite context"
LENGTHS = (1, 2, 3, 4)
LETTERS: dict[str, Kind] = {
    **{f"x[{i}]": "vector" for i in LENGTHS}, **{f"y[{i}]": "scalar" for i in LENGTHS},
    "x_q": "vector", "u": "scalar", "U": "matrix", "beta": "vector",
}  # fmt: skip


def labels(point: Point, n: int) -> list[Any]:
    """y_1 .. y_n as letters of their own."""
    return [point[f"y[{i}]"] for i in range(1, n + 1)]


def risk(point: Point, beta: Matrix, n: int) -> Any:
    """R(beta) = (1/2N) sum_i (beta.x_i - y_i)^2."""
    errors = [dot(beta, point[f"x[{i}]"]) - y for i, y in enumerate(labels(point, n), start=1)]
    return total(error * error for error in errors) * flint.fmpq(1, 2 * n)


def slope_at_zero(point: Point, beta: Matrix, n: int) -> Any:
    """beta.grad R(0): the central difference of a quadratic is exact."""
    return (risk(point, beta, n) - risk(point, -beta, n)) * flint.fmpq(1, 2)


def without_leak(point: Point, n: int) -> Any:
    """f(E)[d, N] at u12 = u21 = 0."""
    zero = point["x_q"] * 0
    W_PV, W_KQ = full_weights(point.with_values({"u12": zero, "u21": zero}))
    return literal_layer(embedding(point, labels(point, n)), W_PV, W_KQ, flint.fmpq(1, n))


def for_every_prompt(difference: Any, form: Expression) -> Identity:
    """Both sides are (1/N) sum_i g(sample i): N = 1 and 2 would do."""
    pairs = max(3, form.pairs_of_legs(VECTORS | {"beta"}))
    return Identity(
        lambda point: [difference(point, n) for n in LENGTHS],
        LETTERS, {}, pairs, max(DEGREE, form.degree() + 2), powers_of_d(form), (1, 2, 3),
    )  # fmt: skip


def slope_obligation(forms: Forms) -> Identity:
    form = forms.expression(SLOPE, "right")

    def difference(point: Point, n: int) -> Any:
        return slope_at_zero(point, point["beta"], n) - dot(point["beta"], summed_over_samples(form, point, n))

    return for_every_prompt(difference, form)


def layer_obligation(forms: Forms) -> Identity:
    form = forms.expression(LAYER, "right")
    return for_every_prompt(lambda point, n: without_leak(point, n) - summed_over_samples(form, point, n), form)


def step_obligation(forms: Forms) -> Identity:
    """x_q^T w_1 with w_1 = 0 - (u U)^T grad R(0), that is: minus the slope of R along u U x_q."""
    form = forms.expression(STEP, "step")

    def difference(point: Point, n: int) -> Any:
        direction = (point["U"] @ point["x_q"]) * point["u"]
        return without_leak(point, n) + slope_at_zero(point, direction, n)

    return for_every_prompt(difference, form)


def step_form_obligation(forms: Forms) -> Identity:
    form = forms.expression(STEP, "step")
    return for_every_prompt(lambda point, n: without_leak(point, n) - summed_over_samples(form, point, n), form)


def mean_obligation(forms: Forms) -> Identity:
    """E[s | w] = Lambda w: the mean of s^T v for every vector v, taken as the query of the reading with A = I."""
    del forms

    def difference(point: Point) -> Any:
        mean = mean_of_forms(point, reading(point, point["I"]))
        return mean - dot(point["w"], point["Lambda"] @ point["x_q"])

    return Identity(difference, LAW, PROMPT, 3, DEGREE)


IN_PROMPT = Polynomial("1", "1", frozenset({"x", "y", "x_q", "U"}), {"N": (-1,), "u": (1,)}, frozenset({"x", "y"}))
LARGE_NUMBERS = (
    f"The step {LIMIT!r}: s -> E[s | w] by the law of large numbers, and A* -> Lambda^-1 by the certificate of "
    "fixed-point, whose closed form gives u U."
)


def obligations() -> ClaimObligations:
    """The four steps."""
    return ClaimObligations(
        "preconditioned-gradient-step",
        ("every prompt (x_1, y_1) .. (x_N, y_N), x_q; u12 = u21 = 0", *ASSUMPTIONS[:1]),
        {
            SLOPE: {"right": Polynomial("d", "1", frozenset({"x", "y"}), {"N": (-1,)}, frozenset({"x", "y"}))},
            LAYER: {"right": IN_PROMPT},
            STEP: {"step": IN_PROMPT},
            LIMIT: {},
        },
        (
            Obligation(SLOPE, "the linear part of R(beta) = beta.right, for every prompt", slope_obligation),
            Obligation(LAYER, "f(E)[d, N] = right, for every prompt", layer_obligation),
            Obligation(STEP, "f(E)[d, N] = -(u U x_q).grad R(0), for every prompt", step_obligation),
            Obligation(STEP, "f(E)[d, N] = step, for every prompt", step_form_obligation),
            Obligation(LIMIT, "E[s | w] = Lambda w", mean_obligation),
        ),
        (*TRUSTED, LARGE_NUMBERS),
    )
