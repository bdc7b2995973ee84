"""The claims on the decoder: they agree at other seeds, wrong decoders do not, and forged certificates are refused."""

import copy
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from iclcheck.numerics.scan_and_snap import flows
from iclcheck.numerics.scan_decoder import class_logits, overlapping_decoder
from iclcheck.proofs_check.certificates.examining import obligations_of
from iclcheck.proofs_check.certificates.forms import forms_of
from iclcheck.proofs_check.claims.claim import Budget, Check
from iclcheck.proofs_check.claims.registry import find
from iclcheck.proofs_check.obligations.obligation import Forms

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


def altered(form: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A form with a coefficient 5 % larger, a term dropped or a symbol left out, one at a time."""
    for place, term in enumerate(form["terms"]):
        found = copy.deepcopy(form)
        found["terms"][place][0] = str(Fraction(term[0]) * Fraction(21, 20))
        yield found
        if len(form["terms"]) > 1:
            found = copy.deepcopy(form)
            del found["terms"][place]
            yield found
        for symbol in term[1]:
            found = copy.deepcopy(form)
            del found["terms"][place][1][symbol]
            yield found


def is_refused(claim: str, forms: dict[str, Any], step: str) -> bool:
    """Whether some obligation does not confirm the forms; those of the altered step are asked first."""
    wanted = obligations_of(claim)
    read = Forms(forms, wanted.steps)
    for one in sorted(wanted.obligations, key=lambda one: one.step != step):
        try:
            one.prepare(read).check("forged")
        except (ValueError, ZeroDivisionError):
            return True
    return False


FORGED = ["scan-decoder", pytest.param("scan-equal-overlaps", marks=pytest.mark.slow), *AUDITS]


@pytest.mark.parametrize("claim", FORGED)
def test_every_forged_form_is_refused(claim: str) -> None:
    forms = forms_of(find(claim).derivation())
    tried = 0
    for step, named in forms.items():
        for name, form in named.items():
            for other in altered(form):
                assert is_refused(claim, {**forms, step: {**named, name: other}}, step), (step, name, other)
                tried += 1
    assert tried
    assert not is_refused(claim, forms, "")
