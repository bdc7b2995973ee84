r"""The Hessian of the in-context risk R(beta) = (1/2N) sum_i (beta.x_i - y_i)^2.

Main statements
    gradient    grad R(beta) = (1/N) sum_i x_i (x_i.beta - y_i)
    Hessian     (hess R) v = (1/N) sum_i x_i x_i^T v for every v: X X^T/N, whatever the labels
Audited
    [ahn2023transformers, Section 4.2] prints X X^T/(2n) for R(w) = (1/2n) (w - w*)^T X X^T (w - w*), which is this R at
    y_i = w*.x_i; at d = n = 1, x = 1 it is R = (w - w*)^2/2, with second derivative 1 and not 1/2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step, equality
from ..algebra.evaluation import evaluate_over_samples
from ..algebra.formulas import Formula, Values
from ..algebra.matrix_derivatives import gradient
from ..algebra.printing import to_latex, to_text
from ..algebra.trace_polynomials import TracePolynomial, sum_over_samples, vector
from ..algebra.words import LINE, Letter
from ..one_layer.assumptions import AssumptionError, real_array
from ..one_layer.formulas import prompt_points
from ..one_layer.gradient_step import BETA, least_squares_risk, numbers_at
from ..symbols import NEXT_LENGTH, N, X

DIRECTION = vector("v")


def risk_gradient() -> TracePolynomial:
    """grad R(beta)."""
    return gradient(least_squares_risk(), BETA)


def hessian_product() -> TracePolynomial:
    """(hess R) v: the gradient of v.grad R."""
    return gradient(DIRECTION.T * risk_gradient(), BETA)


def printed_product() -> TracePolynomial:
    """What is printed, times v: (1/2N) sum_i x_i x_i^T v."""
    return N**-1 * sum_over_samples(X * X.T * DIRECTION, ("x",)) / 2


Samples = dict[str, list[Any]]


def values_at(seed: int) -> tuple[dict[str, Any], Samples]:
    """Rational values of one prompt, of beta and of v."""
    instance, values, samples = numbers_at(seed)
    return {"N": values["N"], "beta": instance.u12 + instance.u21, "v": 2 * instance.u21 - instance.u12}, samples


def risk_at(beta: Any, samples: Samples) -> Fraction:
    """R(beta) of a prompt, as its definition reads."""
    errors = [(x.T @ beta - y)[0, 0] for x, y in zip(samples["x"], samples["y"], strict=True)]
    return Fraction(sum(error**2 for error in errors)) / (2 * len(errors))


def axes(d: int) -> Any:
    """Unit vectors (d, d, 1)."""
    return np.eye(d).astype(int).astype(object)[:, :, None]


def gradient_by_differences(seed: int) -> Any:
    """grad R(beta) by central differences of unit length, exact for a quadratic; (d, 1)."""
    values, samples = values_at(seed)
    beta = values["beta"]
    steps = [(risk_at(beta + e, samples) - risk_at(beta - e, samples)) / 2 for e in axes(len(beta))]
    return np.array([[step] for step in steps], dtype=object)


def second_difference(beta: Any, v: Any, samples: Samples) -> Fraction:
    """R(beta + v) - 2 R(beta) + R(beta - v) = v.(hess R) v, exact for a quadratic."""
    return risk_at(beta + v, samples) - 2 * risk_at(beta, samples) + risk_at(beta - v, samples)


def quadratic_form(product: TracePolynomial, values: dict[str, Any], samples: Samples) -> Any:
    """v.(product) of a Hessian-vector product."""
    found = evaluate_over_samples(DIRECTION.T * product, values, {"x": samples["x"]})
    return found


@cache
def derivation() -> Derivation:
    """Two derivatives of the risk."""
    hessian = hessian_product()
    steps = (
        equality(
            "gradient of the in-context risk",
            ("grad R(beta), R(beta) = (1/2N) sum_i (beta.x_i - y_i)^2", r"\nabla R(\beta)"),
            risk_gradient(),
            "each occurrence of beta in a word contributes the rest of the word",
            lambda seed: (gradient_by_differences(seed), evaluate_over_samples(risk_gradient(), *values_at(seed))),
        ),
        equality(
            "Hessian of the in-context risk",
            ("(hess R) v, for every v", r"(\nabla^2 R)\,v"),
            hessian,
            "the gradient of v.grad R; the labels stand in terms without beta",
            lambda seed: (curvature_at(seed), quadratic_form(hessian, *values_at(seed))),
        ),
    )
    results = {"gradient": risk_gradient(), "hessian": hessian}
    return Derivation(replace(STATEMENT, latex=steps[1].latex), steps, results, lambda seed: seed)


def curvature_at(seed: int) -> Fraction:
    """v.(hess R) v by a second difference."""
    values, samples = values_at(seed)
    return second_difference(values["beta"], values["v"], samples)


STATEMENT = Statement(
    identifier="least-squares-hessian",
    title="The Hessian of the in-context risk is X X^T/N",
    latex="",  # the derived formula, filled in by `derivation`
    text=(
        "The squared loss R(w) = (1/2N) sum (w.x_i - y_i)^2 of a prompt, on which the layer takes a gradient step, has "
        "the Hessian (1/N) sum x_i x_i^T, without a factor 1/2, for every prompt and every labels."
    ),
    assumptions=("every prompt (x_1, y_1) .. (x_N, y_N); labels of any kind",),
    conventions="R has the factor 1/2; X = [x_1 .. x_N] has the examples as columns; n of the paper is N",
    sources=(Source("ahn2023transformers", "Section 4.2 (with a factor 1/2 more)"), Source("ours", "")),
    uses=("preconditioned-gradient-step",),
)


# The formula that is altered


@cache
def formula() -> Formula:
    """grad R(beta) and (hess R) v of one prompt, stacked."""
    vocabulary = Vocabulary(
        {"N": (NEXT_LENGTH, "d")},
        {"beta": (Letter("v", cols=LINE),), "v": (Letter("beta", cols=LINE),)},
    )
    return Formula({"gradient": risk_gradient(), "hessian": hessian_product()}, stacked, vocabulary)


def stacked(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """Both at a prompt: values of its letters, x and y as lists under `samples`."""
    letters = {name: value for name, value in values.items() if name != "samples"}
    return np.vstack([evaluate_over_samples(part, letters, values["samples"]) for part in parts.values()])


def points(name: str) -> list[dict[str, Any]]:
    """Rational prompts with beta and v."""
    return [
        {
            "samples": one["samples"], "N": one["N"], NEXT_LENGTH: one[NEXT_LENGTH], "d": Fraction(len(one["x_q"])),
            "beta": one["x_q"], "v": one["U"] @ one["x_q"],
        }
        for one in prompt_points(name)
    ]  # fmt: skip


def letters_of_prompt(E: Any, beta: Any, v: Any) -> dict[str, Any]:
    """Values for the letters of `formula`: one prompt E (d+1, N+1), beta and v (d,), in float64."""
    d, n = E.shape[0] - 1, E.shape[1] - 1
    samples = {"x": [E[:d, i : i + 1] for i in range(n)], "y": [E[d:, i : i + 1] for i in range(n)]}
    columns = {"beta": np.asarray(beta)[:, None], "v": np.asarray(v)[:, None]}
    return {"samples": samples, "N": n, NEXT_LENGTH: n + 1, "d": d, **columns}


# The printed statement


ONE: Samples = {"x": [np.array([[1]], dtype=object)], "y": [np.array([[0]], dtype=object)]}
COUNTEREXAMPLE = {"N": Fraction(1), "beta": np.array([[0]], dtype=object), "v": np.array([[1]], dtype=object)}


def at_counterexample() -> tuple[Fraction, Fraction]:
    """(printed, found) at d = n = 1, x = 1."""
    found = second_difference(COUNTEREXAMPLE["beta"], COUNTEREXAMPLE["v"], ONE)
    return Fraction(quadratic_form(printed_product(), COUNTEREXAMPLE, ONE)), found


def counterexample() -> dict[str, Any]:
    """Plain numbers: R = (w - w*)^2/2 has the second derivative 1."""
    printed, found = at_counterexample()
    return {"d": 1, "n": 1, "x_1": "1", "w*": "0", "Hessian as printed": str(printed), "Hessian": str(found)}


@cache
def refutation() -> Derivation:
    """The printed Hessian at one number."""
    printed, found = at_counterexample()
    form = printed_product()
    steps = (
        Step(
            "as printed",
            "(hess R) v, as printed",
            to_text(form),
            rf"(\nabla^2 R)\,v \overset{{?}}{{=}} {to_latex(form)}",
            "the printed matrix times a vector",
            lambda seed: (printed_directly(seed), quadratic_form(form, *values_at(seed))),
            forms={"printed": form},
        ),
        Step(
            "counterexample",
            "hess R at d = n = 1, x = 1, w* = 0",
            f"{found}, printed {printed}",
            rf"\nabla^2 \tfrac12 w^2 = {found} \neq {to_latex_fraction(printed)}",
            "R(w) = w^2/2 there",
            lambda seed: (
                [second_difference(COUNTEREXAMPLE["beta"] + seed, COUNTEREXAMPLE["v"], ONE), 1],
                [quadratic_form(hessian_product(), COUNTEREXAMPLE, ONE), int(printed != found)],
            ),
        ),
    )
    return Derivation(PRINTED, steps, {}, lambda seed: seed)


def printed_directly(seed: int) -> Fraction:
    """v.(X X^T/(2n)) v at a rational prompt, sum by sum."""
    values, samples = values_at(seed)
    squares = [(x.T @ values["v"])[0, 0] ** 2 for x in samples["x"]]
    return Fraction(sum(squares)) / (2 * len(squares))


def to_latex_fraction(value: Fraction) -> str:
    return rf"\tfrac{{{value.numerator}}}{{{value.denominator}}}"


PRINTED = Statement(
    identifier="audit-acds-hessian",
    title="As printed: the Hessian of the in-context risk is X X^T/(2n)",
    latex=r"R(w) = \tfrac{1}{2n}(w-w^*)^\top X X^\top (w-w^*)\ \Rightarrow\ \nabla^2 R \overset{?}{=} "
    r"\tfrac{1}{2n} X X^\top",
    text="The Hessian of R(w) = (1/2n)(w - w*)^T X X^T (w - w*) is X X^T/(2n).",
    assumptions=("every prompt",),
    conventions="as printed; X has the n examples as columns",
    sources=(Source("ahn2023transformers", "Section 4.2"),),
    uses=("least-squares-hessian",),
)


def matrix_of(product: TracePolynomial, covariates: Any) -> Any:
    """The matrix (d, d) of a Hessian-vector product, column by column, for examples in rows (N, d).

    Raises AssumptionError for anything else than at least one example.
    """
    rows = real_array(covariates, "X")
    if rows.ndim != 2 or 0 in rows.shape:
        raise AssumptionError(f"X needs the shape (N, d) with N, d >= 1, got {rows.shape}; give one example per row")
    samples = {"x": [row[:, None] for row in rows]}
    units = np.eye(rows.shape[1])[:, :, None]
    columns = [evaluate_over_samples(product, {"N": len(rows), "v": unit}, samples) for unit in units]
    return np.hstack(columns)


def hessian(X: Any) -> dict[str, Any]:
    """hess R for a prompt of examples X (N, d), as plain data. Raises AssumptionError.

    >>> hessian([[1.0]])
    {'hessian': [[1.0]]}
    """
    return {"hessian": matrix_of(hessian_product(), X).tolist()}


def printed_hessian(X: Any) -> dict[str, Any]:
    """What is printed beside what is right. Raises AssumptionError.

    >>> printed_hessian([[1.0]])
    {'printed': [[0.5]], 'hessian': [[1.0]]}
    """
    return {"printed": matrix_of(printed_product(), X).tolist(), **hessian(X)}
