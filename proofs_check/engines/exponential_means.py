"""Means of polynomials over independent exponential variables: E lambda^k = k! for Exp(1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any


def exponential_mean(polynomial: Any, variables: Sequence[int]) -> Any:
    """E over the variables of these numbers in the ring, each Exp(1), independent."""
    generators = polynomial.context().gens()
    total = polynomial * 0
    for powers, coefficient in polynomial.to_dict().items():
        term = polynomial.context().constant(coefficient)
        for k, generator in enumerate(generators):
            exponent = int(powers[k])
            if exponent:
                term = term * (math.factorial(exponent) if k in variables else generator**exponent)
        total = total + term
    return total
