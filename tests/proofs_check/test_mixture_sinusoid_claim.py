"""The claim on linear functions and sinusoids: agrees at other seeds; wrong oracles and forged forms are refused."""

from collections.abc import Callable
from typing import Any

import pytest

from iclcheck.numerics.mixtures import posterior, sinusoid_measurements, sinusoid_models
from iclcheck.proofs_check.claims.claim import Budget, Run
from iclcheck.proofs_check.claims.registry import find

CLAIM = "linear-sinusoid-posterior"


def outcomes(run: Run, budget: Budget) -> list[str]:
    return [check.judge(run, budget).outcome for check in find(CLAIM).checks]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_every_check_agrees_whatever_the_seed(seed: int, run_here: Run) -> None:
    assert outcomes(run_here, Budget(seed=seed)) == ["agrees", "agrees", "agrees"]


def test_a_tiny_budget_agrees_or_leaves_the_sampled_check_open(run_here: Run) -> None:
    assert outcomes(run_here, Budget(replicas=1, training_steps=1)) == ["agrees", "agrees", "inconclusive"]


def test_an_oracle_with_another_law_of_frequencies_is_contradicted(
    monkeypatch: pytest.MonkeyPatch, run_here: Run
) -> None:
    nodes = sinusoid_models.frequency_nodes

    def narrower(lowest: float, highest: float, count: int) -> Any:
        return nodes(lowest, highest - 0.1, count)

    monkeypatch.setattr(sinusoid_models, "frequency_nodes", narrower)
    assert outcomes(run_here, Budget(replicas=1))[:2] == ["contradicts", "contradicts"]


@pytest.mark.slow
def test_an_oracle_that_does_not_know_the_classes_is_contradicted_by_sampling(
    monkeypatch: pytest.MonkeyPatch, run_here: Run
) -> None:
    """One that always predicts by the sinusoids is off where the function is linear."""
    original = posterior.posterior

    def blind(law: Any, xs: Any, ys: Any) -> Any:
        found = original(law, xs, ys)
        classes = found.classes.clone()
        classes[..., 0], classes[..., 1] = 0.0, 1.0
        return found._replace(classes=classes)

    monkeypatch.setattr(sinusoid_measurements, "posterior", blind)
    assert find(CLAIM).checks[2].judge(run_here, Budget()).outcome == "contradicts"


def test_no_forged_form_passes(every_forged_form_is_refused: Callable[..., None]) -> None:
    every_forged_form_is_refused(CLAIM, least=40)
