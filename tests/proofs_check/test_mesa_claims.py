"""The claims on the mesa layers: right layers agree, wrong ones do not, and forged certificates are refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from iclcheck.numerics.mesa_layer import layer_measurements
from iclcheck.numerics.mesa_layer.gated_measurements import gated_errors, gated_outputs
from iclcheck.numerics.mesa_layer.layer_measurements import layer_gradients, layer_outputs
from iclcheck.numerics.mesa_layer.least_squares_layer import outputs_by_direct_solve
from iclcheck.proofs_check.claims.claim import Budget, Check, Claim
from iclcheck.proofs_check.claims.registry import find

CLAIMS = ("mesa-layer", "mesanet-layer")
AUDITS = ("audit-mesa-limit", "audit-mn-objective")
MEASURED = {one.__name__: one for one in (layer_outputs, layer_gradients, gated_outputs, gated_errors)}


def run(tasks: Any) -> list[Any]:
    """Measure here, without a store."""
    return [MEASURED[task.measurement.partition(":")[2]](**task.parameters, device="cpu") for task in tasks]


def outcomes(claim: Claim, seed: int = 0) -> dict[str, str]:
    budget = Budget(seed=seed)
    return {check.name: check.judge(run, budget).outcome for check in claim.checks}


def check_of(claim: str, name: str) -> Check:
    (found,) = (check for check in find(claim).checks if check.name == name)
    return found


@pytest.mark.parametrize("claim", CLAIMS)
def test_every_check_agrees(claim: str) -> None:
    assert set(outcomes(find(claim)).values()) == {"agrees"}


@pytest.mark.parametrize("claim", CLAIMS)
def test_every_check_agrees_whatever_the_seed(claim: str) -> None:
    for seed in range(1, 5):
        assert set(outcomes(find(claim), seed).values()) == {"agrees"}, seed


@pytest.mark.parametrize("claim", AUDITS)
def test_the_printed_statements_are_contradicted(claim: str) -> None:
    assert set(outcomes(find(claim)).values()) == {"contradicts"}


def without_last_gate(keys: torch.Tensor, values: torch.Tensor, queries: torch.Tensor, **rest: Any) -> torch.Tensor:
    """A layer that forgets one step late."""
    late = torch.cat([torch.ones_like(rest["forget"][:1]), rest["forget"][:-1]])
    return outputs_by_direct_solve(keys, values, queries, rest["regulariser"], late)


def with_constant_regulariser(
    keys: torch.Tensor, values: torch.Tensor, queries: torch.Tensor, **rest: Any
) -> torch.Tensor:
    """A layer whose regulariser does not fade."""
    zeta = rest["forget"].cumprod(0)
    found = [
        outputs_by_direct_solve(keys, values, queries, rest["regulariser"] * z, rest["forget"])[t]
        for t, z in enumerate(zeta)
    ]
    return torch.stack(found)


@pytest.mark.parametrize("layer", [without_last_gate, with_constant_regulariser])
def test_another_layer_is_contradicted(layer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(layer_measurements.FORMS, "direct solve", layer)
    assert check_of("mesa-layer", "outputs at every t").judge(run, Budget()).outcome == "contradicts"
    assert check_of("mesa-layer", "small lambda").judge(run, Budget()).outcome == "contradicts"


def test_a_bound_of_95_percent_at_small_lambda_would_be_contradicted() -> None:
    verdict = check_of("mesa-layer", "the bound at small lambda").judge(run, Budget())
    assert verdict.measured > 0.95
    assert verdict.detectable < 0.05


# Certificates


@pytest.mark.parametrize("claim", [*CLAIMS, *AUDITS])
def test_no_forged_form_passes(claim: str, every_forged_form_is_refused: Callable[..., None]) -> None:
    every_forged_form_is_refused(claim)
