"""Polynomials as text, LaTeX and SymPy."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from iclcheck.theory.algebra.evaluation import evaluate
from iclcheck.theory.algebra.printing import to_latex, to_sympy, to_text
from iclcheck.theory.algebra.trace_polynomials import (
    TracePolynomial,
    identity,
    matrix,
    number,
    scalar,
    sum_over_samples,
    trace,
    vector,
    zero,
)
from iclcheck.theory.one_layer.population_loss import even_loss, population_loss, weight_gradients
from iclcheck.theory.one_layer.prompt_law import PromptLaw
from iclcheck.theory.symbols import EPS, LAMBDA, U12, U21, N, U, X, d, u

A = matrix("A")
SYMBOLS = ("u", "N", "d", "sigma2")


@pytest.mark.parametrize(
    "polynomial,text",
    [
        (zero(), "0"),
        (number(-1), "-1"),
        (-identity(), "-I"),
        (3 * identity() / 2, "3/2 I"),
        (u**2 * trace(A * A.T) - N**-1, "u^2 tr(A A^T) - N^-1"),
        (A**3 - A, "-A + A^3"),
        (A**-1 * A.T, "A^-1 A^T"),
        ((A**-1).T ** 2, "A^-T A^-T"),
        (U12.T * LAMBDA**2 * U12, "u12^T Lambda^2 u12"),
        (sum_over_samples(X.T * A * X + EPS, ("x", "eps")), "sum_i eps_i + sum_i x_i^T A x_i"),
    ],
)
def test_text_reads_as_written_by_hand(polynomial: TracePolynomial, text: str) -> None:
    assert to_text(polynomial) == text == repr(polynomial)


@pytest.mark.parametrize(
    "polynomial,latex",
    [
        (zero(), "0"),
        (trace(LAMBDA) * A / 2, r"\tfrac{1}{2} \operatorname{tr}(\Lambda) A"),
        (N**-1 * u**2 * A, r"\frac{u^{2}}{N} A"),
        (N**-2 * A, r"\frac{1}{N^{2}} A"),
        (U12.T * U * U12, r"{u_{12}}^{\top} U u_{12}"),
        (-A.T + identity(), r"I - A^{\top}"),
        (2 * (A**-1).T, r"2 A^{-\top}"),
        (scalar("sigma2") * d, r"d \sigma^{2}"),
        (scalar("sigma2'") * d, r"d \sigma'^{2}"),
        (N**-1 * trace(A) / 2, r"\frac{1}{2 N} \operatorname{tr}(A)"),
        (3 * scalar("sigma2") ** 2 * N**-2 / 2, r"\frac{3 \sigma^{4}}{2 N^{2}}"),
        (A**2, "A^{2}"),
    ],
)
def test_latex_reads_as_written_by_hand(polynomial: TracePolynomial, latex: str) -> None:
    assert to_latex(polynomial) == latex


def every_loss() -> list[TracePolynomial]:
    law = PromptLaw()
    loss = population_loss(law)
    return [loss, even_loss(law), *weight_gradients(loss).values()]


def test_latex_has_balanced_braces_and_no_double_scripts() -> None:
    for polynomial in every_loss():
        latex = to_latex(polynomial)
        depth = 0
        for character in latex.replace(r"\{", "").replace(r"\}", ""):
            depth += {"{": 1, "}": -1}.get(character, 0)
            assert depth >= 0, latex
        assert depth == 0, latex
        assert "}^{2}^" not in latex
        assert "^2^" not in latex, latex
        assert "_1}_" not in latex


def test_powers_of_symbols_that_carry_a_script_are_braced() -> None:
    assert to_latex(scalar("sigma2") ** 2) == r"\sigma^{4}"
    assert to_latex(scalar("m1") ** 2) == r"{\mathbb{E}[N^{-1}]}^{2}"
    assert to_latex(U21 * U12.T) == r"u_{21} {u_{12}}^{\top}"
    assert to_latex(sum_over_samples(X * X.T, ("x",))) == r"\sum_i x_i {x_i}^{\top}"


def test_the_same_polynomial_always_prints_the_same_way() -> None:
    loss = population_loss(PromptLaw())
    shuffled = TracePolynomial(loss.rows, loss.cols, dict(reversed(list(loss.terms.items()))))
    assert to_text(loss) == to_text(shuffled)
    assert to_latex(loss) == to_latex(shuffled)
    different = {to_text(polynomial) for polynomial in every_loss()}
    assert len(different) == len(every_loss())


terms = st.lists(st.tuples(st.integers(-4, 4), st.integers(1, 5), *[st.integers(-2, 3)] * len(SYMBOLS)), max_size=6)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(listed=terms)
def test_the_sympy_expression_has_the_value_of_the_polynomial(listed: list[tuple[int, ...]]) -> None:
    polynomial = zero()
    for top, bottom, *exponents in listed:
        term = number(Fraction(top, bottom))
        for symbol, exponent in zip(SYMBOLS, exponents, strict=True):
            term = term * scalar(symbol) ** exponent
        polynomial = polynomial + term
    values = {"u": Fraction(-2, 3), "N": Fraction(5), "d": Fraction(3), "sigma2": Fraction(7, 2)}
    exact = evaluate(polynomial, {**values, "A": np.array([[Fraction(1)]], dtype=object)})
    expression = to_sympy(polynomial)
    numbers = {sp.Symbol(name, positive=True): sp.Rational(v) for name, v in values.items()}
    assert expression.subs(numbers) == sp.Rational(exact)
    assert expression.free_symbols <= set(numbers)


def test_words_are_no_sympy_scalars() -> None:
    for polynomial in (trace(A), A, vector("v")):
        with pytest.raises(ValueError, match="need a scalar without traces for SymPy"):
            to_sympy(polynomial)
