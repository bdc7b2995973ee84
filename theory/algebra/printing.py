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
    "mu1": r"\mu_1",
    "mu2": r"\mu_2",
    "Lambda'": r"\Lambda'",
    "Psi'": r"\Psi'",
    "Sig": r"\mathrm{Sig}",
    "Phi": r"\Phi",
    "Phi'": r"\Phi'",
    "gamma": r"\gamma",
}


INDICES = "?ijklmnop"  # how the sample indices 1, 2, ... are written


def sum_over(monomial: Monomial, sign: str) -> str:
    """The sum over the sample indices of a monomial, `sign` being "sum" or its LaTeX; empty without indices."""
    used = sorted({letter.index for letter in monomial.letters() if letter.index})
    names = "".join(INDICES[index] for index in used)
    return f"{sign}_{names}" if len(names) == 1 else f"{sign}_{{{names}}}" if names else ""


def letter_text(letter: Letter) -> str:
    mark = {(False, False): "", (True, False): "^T", (False, True): "^-1", (True, True): "^-T"}
    return letter.name + (f"_{INDICES[letter.index]}" if letter.index else "") + mark[letter.transposed, letter.inverse]


def letter_latex(letter: Letter) -> str:
    name = LATEX_NAMES.get(letter.name, letter.name)
    if letter.index:
        name = f"{name}_{INDICES[letter.index]}"
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


def scalars_text(monomial: Monomial, value: Fraction) -> str:
    """Coefficient and commuting symbols: 1/2 N^-1 u^2."""
    factors = [s if e == 1 else f"{s}^{e}" for s, e in monomial.scalars]
    return " ".join([str(value), *factors] if value != 1 else factors)


def scalars_latex(monomial: Monomial, value: Fraction) -> str:
    """Coefficient and commuting symbols as one fraction."""
    above = [latex_power(s, e) for s, e in monomial.scalars if e > 0]
    below = [latex_power(s, -e) for s, e in monomial.scalars if e < 0]
    if value.denominator != 1 and not above and not below:
        return rf"\tfrac{{{value.numerator}}}{{{value.denominator}}}"
    above = [str(value.numerator), *above] if value.numerator != 1 else above
    below = [str(value.denominator), *below] if value.denominator != 1 else below
    return rf"\frac{{{' '.join(above) or 1}}}{{{' '.join(below)}}}" if below else " ".join(above)


def latex_power(symbol: str, exponent: int) -> str:
    """A commuting symbol to a positive power; sigma2 is a square already."""
    if symbol in ("sigma2", "sigma2'"):
        return rf"\sigma{symbol.removeprefix('sigma2')}^{{{2 * exponent}}}"
    name = LATEX_NAMES.get(symbol, symbol)
    base = f"{{{name}}}" if "^" in name else name
    return name if exponent == 1 else f"{base}^{{{exponent}}}"


def render(
    polynomial: TracePolynomial,
    scalars: Callable[[Monomial, Fraction], str],
    trace: Callable[[Word], str],
    word: Callable[[Word], str],
    sum_sign: str,
) -> str:
    """The sum of the terms, shortest first, with signs set between them."""
    identity = "" if polynomial.rows == LINE else "I"
    text = ""
    for monomial, value in sorted(polynomial.terms.items(), key=term_order):
        factors = [scalars(monomial, abs(value)), sum_over(monomial, sum_sign), *(trace(t) for t in monomial.traces)]
        factors.append(word(monomial.word) if monomial.word else identity)
        sign = (" - " if value < 0 else " + ") if text else ("-" if value < 0 else "")
        text += sign + (" ".join(factor for factor in factors if factor) or "1")
    return text or "0"


def term_order(item: tuple[Monomial, Fraction]) -> Any:
    monomial, _ = item
    length = len(monomial.word) + sum(len(t) for t in monomial.traces)
    return (-sum(e for s, e in monomial.scalars if s == "N"), length, monomial)


def to_text(polynomial: TracePolynomial) -> str:
    """One line of plain text."""

    def words(word: Word) -> str:
        return word_text(word, letter_text, "{}^{}")

    def closed(word: Word) -> str:
        return words(word) if word[0].rows == LINE else f"tr({words(word)})"

    return render(polynomial, scalars_text, closed, words, "sum")


def to_latex(polynomial: TracePolynomial) -> str:
    """LaTeX in math mode; needs only amsmath and amssymb."""

    def words(word: Word) -> str:
        return word_text(word, letter_latex, "{}^{{{}}}")

    def closed(word: Word) -> str:
        return words(word) if word[0].rows == LINE else rf"\operatorname{{tr}}({words(word)})"

    return render(polynomial, scalars_latex, closed, words, r"\sum")


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
