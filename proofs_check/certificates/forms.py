"""The forms of a derivation's steps as plain data, in the format that `engines.expressions` reads.

The only place where objects of theory/ become data for the engines; the engines never see the objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ...theory.algebra.trace_polynomials import Monomial, TracePolynomial
from ...theory.algebra.words import LINE, Letter
from ..engines.expressions import Factor, write_factor

if TYPE_CHECKING:
    import sympy as sp

    from ...theory.algebra.derivations import Derivation


def forms_of(derivation: Derivation) -> dict[str, dict[str, Any]]:
    """Step -> name -> plain data."""
    return {step.name: {name: plain_form(form) for name, form in step.forms.items()} for step in derivation.steps}


def plain_form(form: Any) -> Any:
    """A trace polynomial, a SymPy expression in scalars, or a SymPy matrix of these (rows of quotients)."""
    if isinstance(form, TracePolynomial):
        return plain_polynomial(form)
    if hasattr(form, "tolist"):
        return [[plain_quotient(entry) for entry in row] for row in form.tolist()]
    return plain_quotient(form)


def plain_polynomial(polynomial: TracePolynomial) -> dict[str, Any]:
    """A trace polynomial, its terms in a fixed order."""
    terms = [plain_term(monomial, Fraction(value)) for monomial, value in polynomial.terms.items()]
    sides = ("1" if space == LINE else "d" for space in (polynomial.rows, polynomial.cols))
    return dict(zip(("rows", "cols"), sides, strict=True)) | {"terms": sorted(terms, key=repr)}


def plain_term(monomial: Monomial, value: Fraction) -> list[Any]:
    closed = [[plain_letter(letter) for letter in word] for word in monomial.traces]
    opened = [plain_letter(letter) for letter in monomial.word]
    return [str(value), dict(monomial.scalars), closed, opened]


def plain_letter(letter: Letter) -> str:
    return write_factor(Factor(letter.name, letter.transposed, letter.inverse, letter.index))


def plain_quotient(expression: sp.Expr) -> dict[str, Any]:
    """A rational function of symbols as numerator and denominator without common factors."""
    import sympy as sp

    numerator, denominator = sp.fraction(sp.cancel(sp.together(expression)))
    symbols = sorted(expression.free_symbols, key=lambda symbol: str(symbol.name))
    return {"numerator": plain_scalar(numerator, symbols), "denominator": plain_scalar(denominator, symbols)}


def plain_scalar(expression: sp.Expr, symbols: list[sp.Symbol]) -> dict[str, Any]:
    import sympy as sp

    if not symbols:
        terms: Mapping[tuple[int, ...], Any] = {(): sp.Rational(expression)}
    else:
        terms = sp.Poly(expression, *symbols).as_dict()
    rows = [
        [str(value), {s.name: power for s, power in zip(symbols, powers, strict=True) if power}, [], []]
        for powers, value in sorted(terms.items())
    ]
    return {"rows": "1", "cols": "1", "terms": rows}
