"""selection-boundary: its checks agree, other oracles and other models do not, and forged certificates are refused."""

from collections.abc import Callable
from typing import Any

import pytest

from iclcheck.numerics.decoders import effective_noise as measurement
from iclcheck.numerics.mixtures import posterior as oracle
from iclcheck.proofs_check.claims.claim import Budget, Check, Run
from iclcheck.proofs_check.claims.registry import find
from iclcheck.proofs_check.decoders.selection_boundary import SHIPPED

ODDS = "odds with orthogonal inputs"


def check_of(name: str) -> Check:
    (found,) = (check for check in find("selection-boundary").checks if check.name == name)
    return found


@pytest.mark.slow
def test_every_check_agrees_at_another_seed(run_here: Run) -> None:
    for check in find("selection-boundary").checks:
        assert check.judge(run_here, Budget(seed=1)).outcome == "agrees", check.name


def test_odds_agree_and_an_evidence_with_a_slip_is_contradicted(monkeypatch: pytest.MonkeyPatch, run_here: Run) -> None:
    assert check_of(ODDS).judge(run_here, Budget()).outcome == "agrees"
    plain = oracle.posterior

    def slipped(*given: Any) -> oracle.Posterior:
        found = plain(*given)
        return found._replace(log_evidence=found.log_evidence * (1 + 1e-9))

    monkeypatch.setattr(measurement, "posterior", slipped)
    assert check_of(ODDS).judge(run_here, Budget()).outcome == "contradicts"


def sums(mean: float, spread: float, count: int) -> list[float]:
    return [mean * count, (mean**2 + spread**2) * count]


def sweep(explained: float, nearer: float, count: int = 100_000) -> dict[str, Any]:
    """A sweep of one number of nonzeros with these shares."""
    distances = {
        "true": sums(0.05, 0.03, count), "second": sums(0.1, 0.03, count), "effective": sums(0.05, 0.03, count),
        "first": sums(0.05, 0.03, count), "explained": sums(0.05 * explained, 0.03, count),
        "nearer than the second": sums(0.1 * nearer, 0.03, count),
    }  # fmt: skip
    one = {"nonzeros": 1, "count": count, "scale": 1.0, "distances": distances, "readings": {}}
    return {"effective_noise": 0.2, "own": {}, "sweep": [one]}


@pytest.mark.parametrize(
    "explained, nearer, outcomes",
    [
        (0.1, 0.5, ["agrees", "agrees"]),
        (0.9, 0.5, ["contradicts", "agrees"]),  # a Bayes predictor with more noise
        (0.1, -0.5, ["agrees", "contradicts"]),  # one that follows the sparse class
    ],
)
def test_other_models_are_not_what_is_stated_of_the_shipped_one(
    explained: float, nearer: float, outcomes: list[str]
) -> None:
    found = sweep(explained, nearer)
    assert [check.judge(lambda tasks: [found], Budget()).outcome for check in SHIPPED] == outcomes


def test_too_few_prompts_decide_nothing() -> None:
    found = sweep(0.1, 0.5, count=100)
    assert [check.judge(lambda tasks: [found], Budget()).outcome for check in SHIPPED] == ["inconclusive"] * 2


def test_forged_certificates_are_refused(every_forged_form_is_refused: Callable[..., None]) -> None:
    every_forged_form_is_refused("selection-boundary", least=40)


def test_the_domain_says_of_the_shipped_model_what_a_check_can_decide() -> None:
    """A range that is widened by the error of the measurement is not refuted; it is not established."""
    domain = find("selection-boundary").domain
    assert "Not refuted, up to the gap that the verdict states: " in domain
