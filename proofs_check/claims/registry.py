"""All claims by identifier. A claim's modules are loaded when it is asked for."""

from __future__ import annotations

from functools import cache

from .claim import Claim
from .parameters import UsageError, nearest


@cache
def all_claims() -> dict[str, Claim]:
    """Every claim, in the order in which they build on each other."""
    from . import any_start, nonlinear_targets, one_layer, random_covariance, relu_attention, risk

    found = (
        *one_layer.claims(), *any_start.claims(), *risk.claims(), *relu_attention.claims(), *nonlinear_targets.claims(),
        *random_covariance.claims(),
    )  # fmt: skip
    return {claim.identifier: claim for claim in found}


def find(identifier: str) -> Claim:
    """The claim of that identifier. Raises UsageError."""
    known = all_claims()
    if identifier not in known:
        raise UsageError(f"there is no claim {identifier!r}; {nearest(identifier, known)}")
    return known[identifier]
