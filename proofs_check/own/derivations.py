r"""Derivations of one's own: equalities between expressions, each checked alone.

Main statement
    A step left = right between rational functions is checked exactly, at random rational values of its letters; with
    other functions in it, to fifty digits at the same points. What the left side stands for is on its author's word:
    the toolkit knows no model of it.
A claim without steps states its formula, and is called so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ...theory.algebra.derivations import Derivation, Source, Statement, Step
from ...theory.algebra.scalar_formulas import random_rational
from ..bibliography import BY_KEY
from ..claims.parameters import UsageError
from .expressions import read_expression

if TYPE_CHECKING:
    import sympy as sp

AGREEING, WORKING = 50, 70  # digits that two sides share, and with which they are computed
OURS = "ours"  # the key of a source that is no work of the literature


@dataclass(frozen=True)
class WrittenStep:
    """A step as the user writes it."""

    name: str
    left: Any
    right: Any
    why: str


def step(name: str, left: Any, right: Any, why: str) -> WrittenStep:
    """One equality left = right of a derivation; both sides in text or SymPy, in any letters. Raises UsageError.

    why    the rule that gives it, in words
    """
    for what, text in (("a name", name), ("a reason why it holds", why)):
        if not isinstance(text, str) or not text.strip():
            raise UsageError(f"a step needs {what} in words; write step('mean', '2*a/2', 'a', 'cancelled')")
    return WrittenStep(name, left, right, why)


def source_of(written: str | None, file: str) -> Source:
    """A work of the bibliography with its place ("ahn2023transformers, Theorem 1"), or any text as the author's own."""
    if written is None:
        return Source(OURS, file)
    key, _, place = written.partition(",")
    return Source(key.strip(), place.strip()) if key.strip() in BY_KEY else Source(OURS, written)


def derivation_of(
    statement: Statement, steps: Sequence[WrittenStep], formulas: Mapping[str, sp.Expr | None], letters: Sequence[str]
) -> Derivation:
    """The derivation of a claim; without steps, its formulas as stated. Raises UsageError.

    formulas    quantity -> expression; None for one that a function gives
    letters     the parameters; steps may use further letters
    """
    if not steps:
        stated = [stated_step(name, formula) for name, formula in formulas.items()]
        return Derivation(statement, tuple(stated), dict(formulas), lambda seed: {})
    sides = [(one, *sides_of(one, letters)) for one in steps]
    names = [one.name for one in steps]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"two steps are called {twice[0]!r}; give each a name of its own")
    for name, formula in formulas.items():
        refuse_other_end(name, formula, [right for _, _, right in sides])
    symbols = sorted({str(symbol) for _, left, right in sides for symbol in (left - right).free_symbols})
    return Derivation(
        statement, tuple(checked_step(*one) for one in sides), dict(formulas), lambda seed: instance_of(symbols, seed)
    )


def sides_of(one: WrittenStep, letters: Sequence[str]) -> tuple[sp.Expr, sp.Expr]:
    """Both sides of a step, with sums and derivatives in them carried out."""
    left, right = (read_side(side, letters, f"step {one.name!r}").doit() for side in (one.left, one.right))
    return left, right


def read_side(written: Any, letters: Sequence[str], what: str) -> sp.Expr:
    """One side of a step: text may use any names that look like letters."""
    import re

    further = re.findall(r"[A-Za-z_]\w*", written) if isinstance(written, str) else []
    free = [str(one) for one in getattr(written, "free_symbols", ())]
    from .expressions import FUNCTIONS

    known = [name for name in (*further, *free) if name not in FUNCTIONS]
    return read_expression(written, dict.fromkeys((*letters, *known)), what)


def refuse_other_end(name: str, formula: sp.Expr | None, ends: Sequence[sp.Expr]) -> None:
    """Raises UsageError unless some step's right side is the predicted formula, at random rational points."""
    if formula is None:
        raise UsageError(f"steps derive formulas, and {name} is predicted by a function; give it as a formula too")
    for right in ends:
        symbols = sorted({str(one) for one in (formula - right).free_symbols})
        if all(is_zero_at(formula - right, instance_of(symbols, seed)) for seed in (0, 1)):
            return
    raise UsageError(f"no step ends in the prediction {name} = {formula}; let the last one have it on its right")


def stated_step(name: str, formula: sp.Expr | None) -> Step:
    """The formula itself, of which nothing is checked."""
    import sympy as sp

    right = "a function of the parameters" if formula is None else str(formula)
    latex = rf"\mathrm{{{latex_name(name)}}}" + ("" if formula is None else f" = {sp.latex(formula)}")
    return Step(name, name, right, latex, "stated by its author", proof="Stated, not derived.")


def latex_name(name: str) -> str:
    return name.replace("_", r"\_")


def checked_step(written: WrittenStep, left: sp.Expr, right: sp.Expr) -> Step:
    """A step with its check, and with its forms where both sides are rational functions."""
    import sympy as sp

    def check(instance: Mapping[str, Fraction]) -> tuple[Any, Any]:
        if is_zero_at(left - right, instance):
            return Fraction(0), Fraction(0)
        return Fraction(1), Fraction(0)

    rational = all(sp.cancel(side).is_rational_function() and not side.has(sp.pi, sp.E) for side in (left, right))
    return Step(
        written.name, text_of(written.left, left), text_of(written.right, right),
        f"{sp.latex(left)} = {sp.latex(right)}", written.why, check,
        forms=forms_of_sides(left, right) if rational else {},
    )  # fmt: skip


def forms_of_sides(left: sp.Expr, right: sp.Expr) -> dict[str, sp.Expr]:
    """Both sides as a certificate holds them: it knows no zero, and I is its identity matrix."""
    import sympy as sp

    added = next(c for c in range(3) if left + c != 0 and right + c != 0)
    suffix = f" + {added}" if added else ""
    renamed = {sp.Symbol("I"): sp.Symbol("I'")}
    return {f"left{suffix}": (left + added).subs(renamed), f"right{suffix}": (right + added).subs(renamed)}


def text_of(written: Any, read: sp.Expr) -> str:
    """A side as its author wrote it."""
    return written if isinstance(written, str) else str(read)


def instance_of(symbols: Sequence[str], seed: int) -> dict[str, Fraction]:
    """Random rational values."""
    return {name: random_rational(f"own derivation/{seed}/{name}") for name in symbols}


def is_zero_at(difference: sp.Expr, instance: Mapping[str, Fraction]) -> bool:
    """Whether an expression vanishes at rational values: exactly where it is rational there, else to fifty digits."""
    import sympy as sp

    values = {
        symbol: sp.Rational(instance[str(symbol)].numerator, instance[str(symbol)].denominator)
        for symbol in difference.free_symbols
    }
    found = difference.subs(values)
    if found.is_Rational:
        return bool(found == 0)
    digits = sp.N(found, WORKING, chop=False)
    return bool(digits.is_number and digits.is_finite and abs(digits) < sp.Rational(1, 10**AGREEING))
