r"""The prediction of one layer as a quadratic form in its parameters, and the signs of its eigenvalues.

With V = [[U, u12], [u21^T, u]], a = V e_(d+1) = (u12; u), b = V (x_q; 0) = (U x_q; u21.x_q) and G = E E^T/N:
Main statements
    quadratic form    yhat = a^T G b = vec(V)^T H vec(V) with H = (1/2) X (x) G, X = [[0, x_q], [x_q^T, 0]]; the second
                      derivatives of yhat are 2 H
    two squares       yhat = (a + b)^T G (a + b)/4 - (a - b)^T G (a - b)/4
    inertia           for x_q != 0, H has rank(E) positive and rank(E) negative eigenvalues, the others are zero
    how many          rank(E) <= min(d, N) + 1; with y_i = w.x_i it is min(d, N) + 1 almost surely
Audited
    [zhang2024trained, Section 5.1] has "at least d + 1 negative eigenvalues": right where E has full rank d + 1, which
    takes N >= d; for N < d there are N + 1. H has a negative eigenvalue in any case, and the form is not convex.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ..algebra.alterations import Vocabulary
from ..algebra.derivations import Derivation, Source, Statement, Step, equality
from ..algebra.evaluation import evaluate_over_samples
from ..algebra.formulas import Formula, Values
from ..algebra.printing import to_text
from ..algebra.trace_polynomials import TracePolynomial, sum_over_samples
from ..algebra.words import LINE, Letter
from ..one_layer.assumptions import AssumptionError, check_shape, real_array
from ..one_layer.formulas import fractions, prompt_points
from ..one_layer.gradient_step import Y, numbers_at
from ..one_layer.layer import prediction
from ..one_layer.prompt_law import PromptLaw
from ..symbols import NEXT_LENGTH, U12, U21, X_Q, N, U, X, u

if TYPE_CHECKING:
    import sympy as sp

LARGEST_PROMPT = 2_000  # entries of E whose rank is taken in rational arithmetic


def quadratic_form() -> TracePolynomial:
    """yhat in the parameters and the prompt, its labels as letters."""
    return prediction(PromptLaw(), (X, Y))


def square_part(sign: int) -> TracePolynomial:
    """(a + sign b)^T G (a + sign b)/4."""
    direction, last = U12 + sign * (U * X_Q), u + sign * (U21.T * X_Q)
    of_sample = X.T * direction + Y * last
    of_query = X_Q.T * direction
    total = sum_over_samples(of_sample * of_sample, ("x", "y")) + of_query * of_query
    return N**-1 * total / 4


def at(polynomial: TracePolynomial, seed: int) -> Any:
    """The value at rational parameters and a rational prompt."""
    instance, values, samples = numbers_at(seed)
    return evaluate_over_samples(polynomial, {**values, **weights_of(instance.U, instance.u12, instance.u21)}, samples)


def weights_of(U_block: Any, u12: Any, u21: Any) -> dict[str, Any]:
    return {"U": U_block, "u12": u12, "u21": u21}


def embedding_at(seed: int) -> Any:
    """E of the prompt at a seed, (d+1, N+1)."""
    _, values, samples = numbers_at(seed)
    columns = [np.vstack([x, y]) for x, y in zip(samples["x"], samples["y"], strict=True)]
    return np.hstack([*columns, np.vstack([values["x_q"], [[0]]])])


def literal_prediction(E: Any, V: Any) -> Any:
    """f(E)[d, N] of the layer with the parameters V (d+1, d+1), by matrix products."""
    d, n = E.shape[0] - 1, E.shape[1] - 1
    W_PV, W_KQ = np.zeros((d + 1, d + 1), dtype=object), np.zeros((d + 1, d + 1), dtype=object)
    W_PV[d], W_KQ[:, :d] = V[:, d], V[:, :d]
    return E[d, n] + (W_PV @ E @ (E.T @ W_KQ @ E))[d, n] * Fraction(1, n)


def parameters_at(seed: int) -> Any:
    """V = [[U, u12], [u21^T, u]] at a seed."""
    instance, _, _ = numbers_at(seed)
    return np.vstack([np.hstack([instance.U, instance.u12]), np.hstack([instance.u21.T, [[instance.u]]])])


def form_matrix(E: Any) -> Any:
    """H with yhat = vec(V)^T H vec(V), columns of V stacked, by differences of the layer itself: exact."""
    size = len(E)
    units = [unit(size, k) for k in range(size**2)]
    rows = [[literal_prediction(E, p + q) - literal_prediction(E, p - q) for q in units] for p in units]
    return np.array(rows, dtype=object) / Fraction(4)


def unit(size: int, place: int) -> Any:
    """The parameters V with a one in one place, column by column."""
    flat = np.zeros(size * size, dtype=object)
    flat[place] = 1
    return flat.reshape(size, size).T


def exact(matrix: Any) -> sp.Matrix:
    """A matrix of rationals for SymPy."""
    import sympy as sp

    def entry(value: Any) -> Any:
        number = Fraction(value)
        return sp.Rational(number.numerator, number.denominator)

    return sp.Matrix([[entry(value) for value in row] for row in np.asarray(matrix)])


def signs(matrix: Any) -> tuple[int, int]:
    """How many eigenvalues of a symmetric rational matrix are positive and negative.

    All roots of its characteristic polynomial are real, so Descartes' rule of signs counts them exactly.
    """
    coefficients = [value for value in exact(matrix).charpoly().all_coeffs() if value != 0]
    degrees = [k for k, value in enumerate(exact(matrix).charpoly().all_coeffs()) if value != 0]
    mirrored = [value * (-1) ** k for k, value in zip(degrees, coefficients, strict=True)]
    return changes(coefficients), changes(mirrored)


def changes(values: list[Any]) -> int:
    """How often the sign changes along a list without zeros."""
    return sum((a > 0) != (b > 0) for a, b in pairwise(values))


def rank(E: Any) -> int:
    """The rank of a matrix of rationals (floats are rationals), exactly."""
    return int(exact(E).rank())


@cache
def derivation() -> Derivation:
    """The form, its two squares, and the count."""
    form, plus, minus = quadratic_form(), square_part(1), square_part(-1)
    steps = (
        equality(
            "the prediction in the parameters",
            ("f(E)[d, N] = a^T G b, with a = (u12; u), b = (U x_q; u21.x_q), G = E E^T/N", r"f(E)_{d,N} = a^\top G b"),
            form,
            "the layer multiplied out, the label y_i as a letter; the query column has label 0",
            lambda seed: (literal_prediction(embedding_at(seed), parameters_at(seed)), at(form, seed)),
        ),
        Step(
            "difference of two squares",
            "f(E)[d, N]",
            f"plus - minus, plus = {to_text(plus)}, minus: U -> -U, u21 -> -u21",
            r"f(E)_{d,N} = \tfrac14 (a+b)^\top G\,(a+b) - \tfrac14 (a-b)^\top G\,(a-b)",
            "a^T G b is symmetric in a and b: the polarisation identity",
            lambda seed: (literal_prediction(embedding_at(seed), parameters_at(seed)), at(plus - minus, seed)),
            forms={"plus": plus, "minus": minus},
        ),
        Step(
            "inertia",
            "(positive, negative) eigenvalues of H",
            "(rank E, rank E) for x_q != 0",
            r"\#\{\lambda(H)>0\} = \#\{\lambda(H)<0\} = \operatorname{rank} E\quad (x_q \neq 0)",
            "Sylvester's law of inertia on the two squares",
            lambda seed: (signs(form_matrix(embedding_at(seed))), (rank(embedding_at(seed)),) * 2),
            proof=(
                "For x_q != 0 the parameters give any pair (a, b), so a + b and a - b are independent coordinates; "
                "G = E E^T/N is positive semi-definite of rank r = rank E, so the first square has r positive "
                "directions, the second r negative ones."
            ),
        ),
        Step(
            "how many",
            "rank E with y_i = w.x_i, almost surely",
            "min(d, N) + 1",
            r"\operatorname{rank} E = \min(d, N) + 1\quad\text{(almost surely, } y_i = w^\top x_i)",
            "the columns (x_i; w.x_i) span min(d, N) dimensions; (x_q; 0) lies outside unless w.x_q = 0",
            lambda seed: ([rank(noiseless(seed, n)) for n in LENGTHS], [min(size_at(seed), n) + 1 for n in LENGTHS]),
        ),
    )
    results = {"form": form, "plus": plus, "minus": minus}
    return Derivation(replace(STATEMENT, latex=steps[2].latex), steps, results, lambda seed: seed)


LENGTHS = (1, 2, 3)


def size_at(seed: int) -> int:
    return len(embedding_at(seed)) - 1


def noiseless(seed: int, length: int) -> Any:
    """E of a prompt of this length with y_i = w.x_i, whole numbers in general position."""
    d = size_at(seed)
    covariates = [np.array([[(k + 2) ** (i + 1)] for i in range(d)], dtype=object) for k in range(length + 1)]
    w = np.array([[seed + i + 1] for i in range(d)], dtype=object)
    columns = [np.vstack([x, w.T @ x]) for x in covariates[:-1]]
    return np.hstack([*columns, np.vstack([covariates[-1], [[0]]])])


STATEMENT = Statement(
    identifier="attention-hessian-inertia",
    title="The prediction's quadratic form has exactly rank(E) negative eigenvalues",
    latex="",  # that of the step `inertia`, filled in by `derivation`
    text=(
        "As a quadratic form in the layer's parameters the prediction on a prompt E has exactly rank(E) negative and "
        "rank(E) positive eigenvalues where x_q is not 0; for noiseless labels that is min(d, N) + 1 almost surely."
    ),
    assumptions=("every prompt with x_q != 0; the parameters are U, u12, u21 and u",),
    conventions="yhat = vec(V)^T H vec(V), V = [[U, u12], [u21^T, u]], stacked columns; its second derivatives are 2 H",
    sources=(Source("zhang2024trained", "Lemma 5.1 (the form), Section 5.1 (at least d + 1)"), Source("ours", "")),
    uses=("population-loss",),
)


# The formula that is altered


@cache
def formula() -> Formula:
    """The prediction at V, and its polar form at V and another V'."""
    vectors = {"u12": (Letter("u21", cols=LINE),), "u21": (Letter("u12", cols=LINE),)}
    vocabulary = Vocabulary({"N": (NEXT_LENGTH,)}, {**vectors, "x_q": (Letter("x", index=1, cols=LINE),)})
    return Formula({"plus": square_part(1), "minus": square_part(-1)}, value_and_polar_form, vocabulary)


def value_and_polar_form(parts: Mapping[str, TracePolynomial], values: Values) -> Any:
    """(q(V), (q(V + V') - q(V - V'))/4) of the difference q of the two parts."""
    difference = parts["plus"] - parts["minus"]
    letters = {name: value for name, value in values.items() if name not in ("samples", "V", "other")}

    def q(V: Any) -> Any:
        return evaluate_over_samples(difference, {**letters, **blocks(V)}, values["samples"])

    V, other = values["V"], values["other"]
    return np.array([q(V), (q(V + other) - q(V - other)) / 4])


def blocks(V: Any) -> dict[str, Any]:
    """The letters of the parameters V."""
    return {**weights_of(V[:-1, :-1], V[:-1, -1:], V[-1:, :-1].T), "u": V[-1, -1]}


def letters_of_prompt(E: Any, V: Any, other: Any) -> dict[str, Any]:
    """Values for the letters of `formula`: a prompt E (d+1, N+1), parameters V and V' (d+1, d+1)."""
    d, n = E.shape[0] - 1, E.shape[1] - 1
    samples = {"x": [E[:d, i : i + 1] for i in range(n)], "y": [E[d:, i : i + 1] for i in range(n)]}
    return {"samples": samples, "x_q": E[:d, n:], "N": n, NEXT_LENGTH: n + 1, "V": V, "other": other}


def points(name: str) -> list[dict[str, Any]]:
    """Rational prompts with two sets of parameters."""
    import random

    found = []
    for k, one in enumerate(prompt_points(name)):
        draw, size = random.Random(f"{name}/V/{k}"), len(one["x_q"]) + 1
        kept = {key: one[key] for key in ("samples", "x_q", "N", NEXT_LENGTH)}
        found.append({**kept, "V": fractions(draw, size, size), "other": fractions(draw, size, size)})
    return found


# The printed statement

COUNTEREXAMPLE = np.array([[1, 0], [0, 1], [1, 0]], dtype=object)  # d = 2, N = 1: x_1 = (1, 0), y_1 = 1, x_q = (0, 1)


def printed_count(E: Any) -> int:
    """What is printed: at least so many negative eigenvalues."""
    return len(E)


def counterexample() -> dict[str, Any]:
    """Plain numbers: one example in two dimensions."""
    _, negative = signs(form_matrix(COUNTEREXAMPLE))
    return {
        "d": 2,
        "N": 1,
        "E": COUNTEREXAMPLE.tolist(),
        "negative eigenvalues as printed": f"at least {printed_count(COUNTEREXAMPLE)}",
        "negative eigenvalues": negative,
    }


@cache
def refutation() -> Derivation:
    """The count at one prompt."""
    positive, negative = signs(form_matrix(COUNTEREXAMPLE))
    least, form = printed_count(COUNTEREXAMPLE), quadratic_form()
    steps = (
        Step(
            "the form at the counterexample",
            "f(E)[d, N], which at E = [[1, 0], [0, 1], [1, 0]] is vec(V)^T H vec(V)",
            f"{to_text(form)}, and H = (1/2) X (x) E E^T as printed",
            r"H = \tfrac12 X \otimes E E^\top,\quad E = \begin{pmatrix}1&0\\0&1\\1&0\end{pmatrix}",
            "Lemma 5.1, which holds",
            lambda seed: (form_matrix(COUNTEREXAMPLE), printed_form(COUNTEREXAMPLE)),
            forms={"right": form},
        ),
        Step(
            "counterexample",
            "negative eigenvalues of H at d = 2, N = 1",
            f"{negative}, printed at least {least}",
            rf"\#\{{\lambda(H)<0\}} = {negative} < {least} = d + 1",
            "Descartes' rule of signs on its characteristic polynomial",
            lambda seed: (
                [negative, positive, int(negative < least)],
                [rank(COUNTEREXAMPLE), rank(COUNTEREXAMPLE), 1],
            ),
        ),
    )
    return Derivation(PRINTED, steps, {}, lambda seed: seed)


def printed_form(E: Any) -> Any:
    """(1/2) X (x) (E E^T/N)."""
    size, n = len(E), E.shape[1] - 1
    X_block = np.zeros((size, size), dtype=object)
    X_block[:-1, -1], X_block[-1, :-1] = E[:-1, -1], E[:-1, -1]
    return np.kron(X_block, E @ E.T) * Fraction(1, 2 * n)


PRINTED = Statement(
    identifier="audit-zfb-hessian",
    title="As printed: H has at least d + 1 negative eigenvalues",
    latex=r"H = \tfrac12 X \otimes \bigl(\tfrac1N E E^\top\bigr),\ "
    r"X = \begin{pmatrix}0 & x_q\\ x_q^\top & 0\end{pmatrix}:\quad \#\{\lambda(H) < 0\} \overset{?}{\geq} d + 1",
    text="H = 1/2 X (x) (E E^T/N) with X = [[0, x_q], [x_q^T, 0]] has at least d + 1 negative eigenvalues.",
    assumptions=("every prompt, or almost every one; no lower bound on N is printed",),
    conventions="as printed; (x) is the Kronecker product",
    sources=(Source("zhang2024trained", "Section 5.1, after Lemma 5.1"),),
    uses=("attention-hessian-inertia",),
)


def prompt_matrix(X: Any, y: Any, x_query: Any) -> Any:
    """E (d+1, N+1) of examples in rows. Raises AssumptionError."""
    examples = real_array(X, "X")
    if examples.ndim != 2 or 0 in examples.shape:
        raise AssumptionError(f"X needs the shape (N, d) with N, d >= 1, got {examples.shape}; one example per row")
    n, d = examples.shape
    if (n + 1) * (d + 1) > LARGEST_PROMPT:
        raise AssumptionError(
            f"the rank is taken in exact arithmetic, for prompts of at most {LARGEST_PROMPT} numbers, got "
            f"{(n + 1) * (d + 1)}; give a shorter one"
        )
    labels, query = check_shape(y, (n,), "y"), check_shape(x_query, (d,), "x_query")
    if not query.any():
        raise AssumptionError("x_query is zero, where the form vanishes; the count is derived for x_query != 0")
    return np.vstack([np.hstack([examples.T, query[:, None]]), np.append(labels, 0.0)])


def eigenvalue_counts(X: Any, y: Any, x_query: Any) -> dict[str, Any]:
    """How many eigenvalues of H are negative, positive and zero, for one prompt. Raises AssumptionError.

    >>> eigenvalue_counts([[1, 0]], [1], [0, 1])
    {'negative': 2, 'positive': 2, 'zero': 5}
    """
    E = prompt_matrix(X, y, x_query)
    found = rank(E)
    return {"negative": found, "positive": found, "zero": len(E) ** 2 - 2 * found}


def printed_counts(X: Any, y: Any, x_query: Any) -> dict[str, Any]:
    """The printed bound beside the number. Raises AssumptionError.

    >>> printed_counts([[1, 0]], [1], [0, 1])
    {'printed_at_least': 3, 'negative': 2}
    """
    E = prompt_matrix(X, y, x_query)
    return {"printed_at_least": printed_count(E), "negative": rank(E)}
