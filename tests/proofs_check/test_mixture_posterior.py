"""The claims on the Bayes predictor and its noiseless limit: forged certificates, other predictors, digits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor

from iclcheck.numerics.mixtures import noiseless_measurements, posterior_measurements
from iclcheck.numerics.mixtures.posterior import Posterior, posterior
from iclcheck.numerics.mixtures.prompt_laws import PromptLaw
from iclcheck.proofs_check.claims.claim import Budget, Check, Values
from iclcheck.proofs_check.claims.registry import find
from iclcheck.proofs_check.mixtures.mixture_posterior import ROTATED, posterior_claim, predicted
from iclcheck.proofs_check.records.tasks import Task, measured_unrecorded
from iclcheck.theory.mixtures import mixture_posterior as theory

ROTATIONS, GRIDS, CALIBRATION = "rotations at noise 1 to 1e-8", "prior times likelihood", "calibration, sampled"


def run(tasks: Sequence[Task]) -> list[Values]:
    return list(measured_unrecorded(tasks))


def check_of(name: str) -> Check:
    return next(check for check in find("mixture-posterior").checks if check.name == name)


def test_no_forged_form_passes(every_forged_form_is_refused: Callable[..., None]) -> None:
    every_forged_form_is_refused("mixture-posterior", least=100)


def test_posterior_and_prediction_agree_with_exact_enumeration_to_nine_digits() -> None:
    budget = Budget()
    (found,) = run(check_of(ROTATIONS).tasks(budget))
    for size, measured in zip(ROTATED, found["values"], strict=True):
        exact = predicted(theory.formula, size, budget.seed)
        assert measured[:2] == pytest.approx(exact[:2], abs=1e-9), size


def with_inverses(law: PromptLaw, xs: Tensor, ys: Tensor) -> Posterior:
    """Bayes' rule at the last position with the inverse of s2 I + v X X^T: what one would write at first."""
    n, prior = xs.shape[1] - 1, torch.tensor(law.weights, dtype=torch.float64)
    evidence, means = [], []
    for kind in law.classes:
        size = law.dimension if kind["kind"] == "dense" else kind["nonzeros"]
        logs, predictions = [], []
        for support in combinations(range(law.dimension), size):
            R = xs[0, :, list(support)]
            K = law.noise_variance * torch.eye(n, dtype=torch.float64) + kind["variance"] * R[:-1] @ R[:-1].T
            inverse = torch.linalg.inv(K)
            logs.append(-(ys[0, :-1] @ inverse @ ys[0, :-1] + torch.logdet(2 * math.pi * K)) / 2)
            predictions.append(kind["variance"] * R[-1] @ R[:-1].T @ inverse @ ys[0, :-1])
        weights = torch.stack(logs)
        evidence.append(weights.logsumexp(0) - math.log(len(logs)))
        means.append(weights.softmax(0) @ torch.stack(predictions))
    log_evidence = torch.stack(evidence)
    classes = (prior.log() + log_evidence).softmax(0)
    return Posterior(classes[None, None], torch.stack(means)[None, None], log_evidence[None, None])


def test_inverses_would_be_contradicted_at_little_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posterior_measurements, "posterior", with_inverses)
    assert check_of(ROTATIONS).judge(run, Budget()).outcome == "contradicts"


def without_the_volume(law: PromptLaw, xs: Tensor, ys: Tensor) -> Posterior:
    """The likelihood at the best fit in the place of the evidence: no price for a large model."""
    found = posterior(law, xs, ys)
    shrunk = found.log_evidence * torch.tensor([0.9, 1.0], dtype=torch.float64)
    prior = torch.tensor(law.weights, dtype=torch.float64).log()
    return Posterior((prior + shrunk).softmax(-1), found.by_class, shrunk)


@pytest.mark.parametrize("name", [ROTATIONS, CALIBRATION])
def test_another_evidence_is_contradicted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posterior_measurements, "posterior", without_the_volume)
    assert check_of(name).judge(run, Budget(prompts=800_000)).outcome == "contradicts"


def test_another_formula_is_contradicted_by_grids_too() -> None:
    words = "a coefficient 5 % larger in the term s2 v^-1 m^T m, residual"
    altered = next(one for how, one in theory.formula().altered() if how.description == words)
    check = next(one for one in posterior_claim(lambda: altered).checks if one.name == GRIDS)
    assert check.judge(run, Budget()).outcome == "contradicts"


def test_a_small_budget_is_enough_to_run() -> None:
    tiny = Budget(prompts=1, replicas=1, training_steps=1)
    outcomes: list[Any] = [check.judge(run, tiny).outcome for check in find("mixture-posterior").checks]
    assert "contradicts" not in outcomes


# Without noise


def noiseless_check(name: str) -> Check:
    return next(check for check in find("mixture-noiseless-limit").checks if check.name == name)


@pytest.mark.slow
def test_no_forged_form_of_the_limit_passes(every_forged_form_is_refused: Callable[..., None]) -> None:
    every_forged_form_is_refused("mixture-noiseless-limit", least=5)


def test_a_predictor_that_keeps_dense_functions_in_play_is_contradicted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posterior_measurements, "posterior", without_the_volume)
    assert noiseless_check("approach at noise 1e-7 and 1e-10").judge(run, Budget()).outcome == "contradicts"


def test_effective_noise_is_contradicted_as_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_noise(law: PromptLaw, xs: Tensor, ys: Tensor) -> Posterior:
        return posterior(replace(law, noise_variance=0.3), xs, ys)

    monkeypatch.setattr(noiseless_measurements, "posterior", with_noise)
    assert noiseless_check("risk without noise, sampled").judge(run, Budget()).outcome == "contradicts"


def test_supports_that_fit_by_a_smaller_rank_are_counted() -> None:
    cases = [{"X": [[1, 2, 3], [2, 4, 1]], "y": [1, 2], "sparsity": 1}]
    assert noiseless_measurements.supports_that_fit(cases, "cpu")["sparse"] == [2]


def test_a_small_budget_is_enough_for_the_limit() -> None:
    tiny = Budget(prompts=1, replicas=1, training_steps=1)
    outcomes: list[Any] = [check.judge(run, tiny).outcome for check in find("mixture-noiseless-limit").checks]
    assert "contradicts" not in outcomes
