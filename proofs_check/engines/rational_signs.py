"""The sign of a rational function of one whole number, for all values from some number on.

Main statement
    If a polynomial p(m + e) has no negative coefficient in e and a positive constant term, then p > 0 at every real
    number from m on.
"""

from __future__ import annotations

from typing import Any

from .refusals import RefutedError


def positive_from(polynomial: Any, variable: int, start: int, name: str) -> list[str]:
    """The coefficients of p(start + e), as text; raises RefutedError where one is negative, or the first one 0."""
    generator = polynomial.context().gens()[variable]
    shifted = polynomial.compose(
        *(generator + start if k == variable else other for k, other in enumerate(polynomial.context().gens()))
    )
    coefficients = {int(powers[variable]): value for powers, value in shifted.to_dict().items()}
    if coefficients.get(0, 0) <= 0 or any(value < 0 for value in coefficients.values()):
        raise RefutedError(f"{name} is not visibly positive from {start} on")
    return [str(coefficients.get(k, 0)) for k in range(max(coefficients) + 1)]
