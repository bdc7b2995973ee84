"""Obligations of a claim of a user's file: every equality of its derivation, as one between rational functions.

No engine knows the model of such a claim: what is confirmed is that both sides of each step are one function.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..engines.expressions import Quotient, read_quotient
from ..engines.identities import Identity
from ..engines.points import Kind, Point
from ..engines.ratios import difference, ratio_of
from ..engines.refusals import UndecidedError, UnreadableError
from .obligation import ClaimObligations, Forms, Obligation, Rational

TRUSTED = (
    "The claim is a user's own: that the sides of its steps say what its statement says of a model is on its author's "
    "word, since no engine knows the model. Confirmed is that both sides of every step, as SymPy reads them, are the "
    "same function.",
)
SIDES = 2


def obligations(claim: str, forms: Mapping[str, Mapping[str, Any]]) -> ClaimObligations:
    """One obligation for each step. Raises UndecidedError where the engines read nothing."""
    for step, named in forms.items():
        if len(named) != SIDES:
            raise UndecidedError(
                f"step {step!r} of {claim} is no equality of rational functions, which is what the engines read; "
                "write it with + - * / and whole powers, or leave it to iclcheck derive"
            )
    if not forms:
        raise UndecidedError(f"{claim} has no derivation to certify; give it steps=")
    kinds = {step: dict.fromkeys(named, Rational(frozenset())) for step, named in forms.items()}
    made = tuple(equality(step, *named) for step, named in forms.items())
    return ClaimObligations(claim, (), kinds, made, TRUSTED)


def equality(step: str, left: str, right: str) -> Obligation:
    """left = right."""
    return Obligation(step, f"{left} = {right}", lambda forms: identity(*sides(forms, step, left, right)))


def sides(forms: Forms, step: str, left: str, right: str) -> tuple[Quotient, Quotient]:
    """Both sides as read. Raises UndecidedError beyond the engines' limits."""
    try:
        first, second = (read_quotient(forms.plain(step, name)) for name in (left, right))
    except UnreadableError as error:
        raise UndecidedError(f"step {step!r} is beyond the limits of the engines: {error}") from None
    return first, second


def identity(left: Quotient, right: Quotient) -> Identity:
    """The two cross products as one polynomial that vanishes; the denominators are no zero polynomials."""
    symbols = sorted({symbol for side in (left, right) for part in side for symbol in part.symbols()})
    letters: dict[str, Kind] = dict.fromkeys(symbols or ["unused"], "scalar")

    def vanishes(point: Point) -> Any:
        values = {name: point[name] for name in symbols}
        return difference(ratio_of(left, values, point.one), ratio_of(right, values, point.one))

    degree = max(one.numerator.degree() + other.denominator.degree() for one, other in ((left, right), (right, left)))
    return Identity(vanishes, letters, {}, 0, max(degree, 1), components=(1,))
