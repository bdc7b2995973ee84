"""Trace polynomials as text, as LaTeX, and (where they hold no words) as SymPy expressions.

Main statement
    The three printings go through one walk over the terms in a fixed order, so the same polynomial
    always prints the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import groupby
from typing import TYPE_CHECKING, Any

from .trace_polynomials import Monomial, TracePolynomial
from .words import LINE, Letter, Word

if TYPE_CHECKING:
    import sympy as sp

LATEX_NAMES = {
    "Lambda": r"\Lambda",
    "Psi": r"\Psi",
    "sigma2": r"\sigma^2",
    "Gamma": r"\Gamma",
    "kappa": r"\kappa",
    "lam": r"\lambda",
    "psi": r"\psi",
    "rho": r"\rho",
    "u12": "u_{12}",
    "u21": "u_{21}",
    "x_q": "x_q",
    "eps": r"\varepsilon",
    "m1": r"\mathbb{E}[N^{-1}]",
}


def letter_text(letter: Letter) -> str:
    mark = {(False, False): "", (True, False): "^T", (False, True): "^-1", (True, True): "^-T"}
    return letter.name + (f"_{letter.index}" if letter.index else "") + mark[letter.transposed, letter.inverse]


def letter_latex(letter: Letter) -> str:
    name = LATEX_NAMES.get(letter.name, letter.name)
    if letter.index:
        name = f"{name}_{{{letter.index}}}"
    mark = {(False, False): "", (True, False): r"^{\top}", (False, True): "^{-1}", (True, True): r"^{-\top}"}
    decorated = mark[letter.transposed, letter.inverse]
    return f"{{{name}}}{decorated}" if decorated and "_" in name else name + decorated


def word_text(word: Word, one: Callable[[Letter], str], power: str) -> str:
    """A word with equal neighbours written as powers."""
    parts = []
    for letter, run in groupby(word):
        length = len(list(run))
        plain = not letter.transposed and not letter.inverse
        parts.append(power.format(one(letter), length) if length > 1 and plain else " ".join([one(letter)] * length))
    return " ".join(parts)


def scalars_text(monomial: Monomial, names: Callable[[str], str], power: str) -> str:
    factors = [names(s) if e == 1 else power.format(names(s), e) for s, e in monomial.scalars]
    return " ".join(factors)


def render(
    polynomial: TracePolynomial,
    coefficient: Callable[[Fraction], str],
    scalars: Callable[[Monomial], str],
    trace: Callable[[Word], str],
    word: Callable[[Word], str],
) -> str:
    """The sum of the terms, shortest first, with signs set between them."""
    identity = "" if polynomial.rows == LINE else "I"
    text = ""
    for monomial, value in sorted(polynomial.terms.items(), key=term_order):
        factors = [scalars(monomial), *(trace(t) for t in monomial.traces)]
        factors.append(word(monomial.word) if monomial.word else identity)
        body = " ".join(f for f in factors if f)
        size = coefficient(abs(value)) if abs(value) != 1 or not body else ""
        sign = (" - " if value < 0 else " + ") if text else ("-" if value < 0 else "")
        text += sign + " ".join(f for f in (size, body) if f)
    return text or "0"


def term_order(item: tuple[Monomial, Fraction]) -> Any:
    monomial, _ = item
    length = len(monomial.word) + sum(len(t) for t in monomial.traces)
    return (-sum(e for s, e in monomial.scalars if s == "N"), length, monomial)


def to_text(polynomial: TracePolynomial) -> str:
    """One line of plain text."""
    return render(
        polynomial,
        str,
        lambda m: scalars_text(m, str, "{}^{}"),
        lambda w: (
            word_text(w, letter_text, "{}^{}") if w[0].rows == LINE else f"tr({word_text(w, letter_text, '{}^{}')})"
        ),
        lambda w: word_text(w, letter_text, "{}^{}"),
    )


def to_latex(polynomial: TracePolynomial) -> str:
    """LaTeX in math mode; needs only amsmath and amssymb."""

    def latex_word(word: Word) -> str:
        return word_text(word, letter_latex, "{}^{{{}}}")

    def latex_scalars(monomial: Monomial) -> str:
        above = [(s, e) for s, e in monomial.scalars if e > 0]
        below = [(s, -e) for s, e in monomial.scalars if e < 0]

        def side(powers: list[tuple[str, int]]) -> str:
            return " ".join(latex_symbol(s) if e == 1 else rf"{{{latex_symbol(s)}}}^{{{e}}}" for s, e in powers)

        return rf"\frac{{{side(above) or 1}}}{{{side(below)}}}" if below else side(above)

    def latex_number(value: Fraction) -> str:
        return str(value) if value.denominator == 1 else rf"\tfrac{{{value.numerator}}}{{{value.denominator}}}"

    return render(
        polynomial,
        latex_number,
        latex_scalars,
        lambda w: latex_word(w) if w[0].rows == LINE else rf"\operatorname{{tr}}({latex_word(w)})",
        latex_word,
    )


def latex_symbol(symbol: str) -> str:
    return LATEX_NAMES.get(symbol, symbol)


def to_sympy(polynomial: TracePolynomial) -> sp.Expr:
    """A scalar polynomial without words as a SymPy expression in positive symbols.

    Raises ValueError where traces or letters are left: substitute numbers or multiples of the identity first.
    """
    import sympy as sp

    if not polynomial.is_scalar or any(monomial.traces for monomial in polynomial.terms):
        raise ValueError(f"need a scalar without traces for SymPy, got {polynomial!r}")
    total = sp.Integer(0)
    for monomial, value in polynomial.terms.items():
        term = sp.Rational(value.numerator, value.denominator)
        for symbol, exponent in monomial.scalars:
            term *= sp.Symbol(symbol, positive=True) ** exponent
        total += term
    return total
