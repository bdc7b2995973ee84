"""All claims by identifier. A claim's modules are loaded when it is asked for."""

from __future__ import annotations

from functools import cache

from .claim import Claim
from .parameters import UsageError, nearest


@cache
def all_claims() -> dict[str, Claim]:
    """Every claim, in the order in which they build on each other."""
    from . import (
        any_start,
        conservation_law,
        flow_limit,
        gradient_flow,
        one_layer,
        pl_inequality,
        relu_attention,
        risk,
    )

    modules = (one_layer, any_start, risk, relu_attention, gradient_flow, conservation_law, pl_inequality, flow_limit)
    found = [claim for module in modules for claim in module.claims()]
    return {claim.identifier: claim for claim in found}


def find(identifier: str) -> Claim:
    """The claim of that identifier. Raises UsageError."""
    known = all_claims()
    if identifier not in known:
        raise UsageError(f"there is no claim {identifier!r}; {nearest(identifier, known)}")
    return known[identifier]
