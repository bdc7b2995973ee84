"""The claims on the decoder: they agree at other seeds, wrong decoders do not, and forged certificates are refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from iclcheck.numerics.scan_and_snap import flows
from iclcheck.numerics.scan_decoder import class_logits, overlapping_decoder
from iclcheck.proofs_check.claims.claim import Budget, Check
from iclcheck.proofs_check.claims.registry import find

AUDITS = ("audit-scan-remark",)
MODULES = (class_logits, overlapping_decoder)
DESCENT = "stochastic gradient descent on the decoder"


def measured(task: Any) -> Any:
    """Measure here, without a store."""
    module, _, name = task.measurement.rpartition(".")[2].partition(":")
    (found,) = (one for one in MODULES if one.__name__.endswith(module))
    return getattr(found, name)(**task.parameters, device="cpu")


def run(tasks: Any) -> list[Any]:
    return [measured(task) for task in tasks]


def check_of(claim: str, name: str) -> Check:
    (found,) = (check for check in find(claim).checks if check.name == name)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("claim, seeds", [("scan-decoder", (1, 2, 3)), ("scan-equal-overlaps", (0,))])
def test_every_check_agrees_whatever_the_seed(claim: str, seeds: tuple[int, ...]) -> None:
    for seed in seeds:  # nothing is drawn for equal overlaps
        for check in find(claim).checks:
            assert check.judge(run, Budget(seed=seed)).outcome == "agrees", (check.name, seed)


Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def warmer(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(1.05 * logits, target)


def smoothed(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(logits, target, label_smoothing=0.1)


@pytest.mark.parametrize("name", [DESCENT, pytest.param("flow of M logits", marks=pytest.mark.slow)])
@pytest.mark.parametrize("loss", [smoothed, warmer])
def test_another_loss_is_contradicted(name: str, loss: Loss, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(class_logits, "cross_entropy", loss)
    assert check_of("scan-decoder", name).judge(run, Budget()).outcome == "contradicts"


@pytest.mark.parametrize("claim", AUDITS)
def test_the_printed_statements_are_contradicted(claim: str) -> None:
    for check in find(claim).checks:
        assert check.judge(run, Budget()).outcome == "contradicts", check.name


@pytest.mark.slow
def test_a_decoder_without_overlap_in_its_gradient_is_contradicted(monkeypatch: pytest.MonkeyPatch) -> None:
    # the reparametrised flow of the logits in the place of the flow of the loss
    def reparametrised(tasks: Any, eta_Y: float, times: Any, **rest: Any) -> dict[str, Any]:
        found = flows.reparametrised_flow(tasks, eta_Y, 0.0, times, **rest)
        f = class_logits.vectors_of(tasks[0]).numpy()
        inverse = f.T @ np.linalg.inv(f @ f.T)
        return {**found, "Y": np.einsum("mk,tbkc->tbmc", inverse, found["W"])}

    monkeypatch.setattr(overlapping_decoder, "decoder_flow", reparametrised)
    for name in ("leads at every time", "as many classes as tokens"):
        assert check_of("scan-equal-overlaps", name).judge(run, Budget()).outcome == "contradicts", name


# Certificates


FORGED = ["scan-decoder", pytest.param("scan-equal-overlaps", marks=pytest.mark.slow), *AUDITS]


@pytest.mark.parametrize("claim", FORGED)
def test_no_forged_form_passes(claim: str, every_forged_form_is_refused: Callable[..., None]) -> None:
    every_forged_form_is_refused(claim)
