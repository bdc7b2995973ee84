"""All claims by identifier: the built-in ones, or those of the files in use, which stand in their place.

A claim of a user's file does not load the built-in ones. Where files are in use (`own.claim_files`), "all claims" are
theirs, and a built-in one can still be named.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import cache
from types import ModuleType

from .claim import Claim
from .parameters import UsageError, guess

OWN: dict[str, Claim] = {}  # claims of the files in use
FILES: list[str] = []  # those files, as they were named


def all_claims() -> dict[str, Claim]:
    """Every built-in claim, or every one of the files in use."""
    return dict(OWN) if OWN else built_in_claims()


def claims_option() -> str:
    """The option that brings the files in use, for a command that is to be copied; with a space before it."""
    return "".join(f" --claims {shlex.quote(file)}" for file in FILES)


@cache
def built_in_claims() -> dict[str, Claim]:
    """Every built-in claim, in the order in which they build on each other."""
    from ..decoders import (
        class_selection,
        covariate_shift,
        decoder_parameters,
        mixture_weight,
        model_selection,
        oracle_never_beaten,
        out_of_distribution,
        selection_boundary,
    )
    from ..mesa import (
        compressed_depth,
        gradient_step,
        learning_rate,
        mesa_layer,
        mesanet_layer,
        partial_observation,
        preconditioning,
        probing,
        trained_layer,
    )
    from ..mixtures import baseline_risks, mixture_posterior, noiseless_limit, ridge_risk, sinusoids
    from ..scan_and_snap import (
        decoder,
        discriminative,
        equal_overlaps,
        frequency,
        joint_flow,
        printed_snap,
        snap,
        text,
        trained,
    )
    from ..scan_and_snap import learning_rates as attention_rates
    from . import (
        any_start,
        attention_hessian,
        conservation_law,
        critical_points,
        exponential_variances,
        flow_limit,
        gradient_flow,
        least_squares_hessian,
        merged_heads,
        nonlinear_targets,
        one_layer,
        pl_inequality,
        random_covariance,
        relu_attention,
        risk,
    )

    laws = (one_layer, any_start, risk, relu_attention, nonlinear_targets, random_covariance)
    dynamics = (gradient_flow, conservation_law, pl_inequality, flow_limit, critical_points)
    audited = (least_squares_hessian, attention_hessian, exponential_variances, merged_heads)
    mesa: tuple[ModuleType, ...] = (
        gradient_step,
        preconditioning,
        mesa_layer,
        mesanet_layer,
        partial_observation,
        learning_rate,
        trained_layer,
        compressed_depth,
        probing,
    )
    scan: tuple[ModuleType, ...] = (
        decoder,
        equal_overlaps,
        joint_flow,
        discriminative,
        frequency,
        snap,
        printed_snap,
        attention_rates,
        trained,
        text,
    )
    mixtures: tuple[ModuleType, ...] = (
        mixture_posterior,
        noiseless_limit,
        sinusoids,
        baseline_risks,
        ridge_risk,
        oracle_never_beaten,
        model_selection,
        mixture_weight,
        class_selection,
        selection_boundary,
        out_of_distribution,
        covariate_shift,
        decoder_parameters,
    )
    found = [claim for module in (*laws, *dynamics, *mesa, *scan, *mixtures, *audited) for claim in module.claims()]
    return {claim.identifier: claim for claim in found}


def find(identifier: str) -> Claim:
    """The claim of that identifier. Raises UsageError."""
    if identifier in OWN:
        return OWN[identifier]
    known = {**OWN, **built_in_claims()}
    if identifier not in known:
        raise UsageError(f"there is no claim {identifier!r}; {guess(identifier, known)}iclcheck list names all")
    return known[identifier]


def with_corrected(claims: Sequence[Claim]) -> list[Claim]:
    """The claims of a run: one alone as it is; among several, an audit brings the claim that is right in its place."""
    if len(claims) == 1:
        return list(claims)
    found = {claim.identifier: claim for claim in claims}
    for claim in claims:
        if claim.audit is not None and claim.audit.corrected not in found:
            found[claim.audit.corrected] = find(claim.audit.corrected)
    return list(found.values())
