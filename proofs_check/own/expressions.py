"""Formulas as a user writes them: text or SymPy, in the parameters of a claim."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..claims.parameters import UsageError, nearest, quoted

if TYPE_CHECKING:
    import sympy as sp

FUNCTIONS = ("exp", "log", "sqrt", "sin", "cos", "tan", "tanh", "sinh", "cosh", "erf", "gamma", "binomial", "factorial",
             "Abs", "Min", "Max", "floor", "ceiling", "pi", "E")  # fmt: skip
LONGEST = 5000  # characters of a formula


def read_expression(written: Any, symbols: Iterable[str], what: str) -> sp.Expr:
    """A SymPy expression from text, a number or SymPy, with rationals in the place of decimals. Raises UsageError.

    symbols    the names that it may be made of
    """
    import sympy as sp

    names = list(symbols)
    found = parsed(written, names, what) if isinstance(written, str) else written
    if isinstance(found, int | float) and not isinstance(found, bool):
        found = sp.nsimplify(found, rational=True)
    if not isinstance(found, sp.Expr) or found.has(sp.nan, sp.zoo, sp.oo):
        raise UsageError(f"{what} needs a formula in text or SymPy, such as '(d + 1)/N', got {quoted(str(written))}")
    strangers = sorted(str(one) for one in found.free_symbols if str(one) not in names)
    if strangers:
        raise UsageError(f"{what} holds {strangers[0]}, which is no parameter; {nearest(strangers[0], names)}")
    # Symbols with assumptions (positive=True) are others than plain ones of the same name.
    plain = {one: sp.Symbol(str(one)) for one in found.free_symbols}
    return sp.nsimplify(found.subs(plain), rational=True)


def parsed(text: str, names: Iterable[str], what: str) -> Any:
    """Text as SymPy; N, S, I and the like are the user's own letters."""
    import sympy as sp
    from sympy.parsing.sympy_parser import parse_expr, rationalize, standard_transformations

    if len(text) > LONGEST:
        raise UsageError(f"{what} has {len(text)} characters; a formula has at most {LONGEST}")
    known: dict[str, Any] = {name: getattr(sp, name) for name in (*FUNCTIONS, "Integer", "Float", "Rational", "Symbol")}
    letters = {name: sp.Symbol(name) for name in names}
    try:
        return parse_expr(text, letters, (*standard_transformations, rationalize), known)
    except UsageError:
        raise
    except Exception as error:
        mend = "write powers as ** and products with *"
        raise UsageError(f"{what} cannot be read: {quoted(text)} ({type(error).__name__}); {mend}") from None


def number_at(expression: sp.Expr, setting: Mapping[str, Any], what: str) -> float:
    """The value of an expression at a setting. Raises UsageError where it is no real number."""
    from ...theory.algebra.scalar_formulas import float_of

    try:
        return float_of(expression, setting)
    except (ValueError, ArithmeticError, TypeError) as error:
        raise UsageError(f"{what}: {error}") from None
