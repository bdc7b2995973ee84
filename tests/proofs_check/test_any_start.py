"""Ends of runs from any start are judged by the gradient of the loss, and named by where they are."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from iclcheck.numerics.one_layer.cubature import population_gradient
from iclcheck.numerics.one_layer.prompts import PromptDistribution
from iclcheck.numerics.training.ends import trained_ends
from iclcheck.proofs_check.claims.any_start import (
    EndJudge,
    EndsAreStationary,
    ReachesPrediction,
    any_start_claim,
    in_words,
    predict_any_start,
)
from iclcheck.proofs_check.claims.claim import Budget
from iclcheck.proofs_check.claims.loss_checks import random_weights
from iclcheck.proofs_check.claims.settings import gaussian_setting
from iclcheck.theory.one_layer.any_start import leaking_point
from iclcheck.theory.one_layer.fixed_point import fixed_point
from iclcheck.theory.one_layer.population_loss import LossOnWeights, general_loss

SETTING = gaussian_setting("any start/test", 0, 2, [2], noise=True)
LAW = (SETTING["covariance"], 2, SETTING["task_covariance"], SETTING["noise_variance"])
JUDGE = EndJudge()


def runs_of(task: Any) -> Any:
    return trained_ends(**task.parameters, device="cpu")


def checks(judge: EndJudge = JUDGE) -> tuple[ReachesPrediction, EndsAreStationary]:
    reaches, stationary, _ = any_start_claim().checks
    assert isinstance(reaches, ReachesPrediction)
    assert isinstance(stationary, EndsAreStationary)
    runs = replace(stationary.runs, judge_end=judge)
    return replace(reaches, runs=runs), replace(stationary, runs=runs)


def test_the_global_minimum_is_named_and_has_ended() -> None:
    best = fixed_point(*LAW)
    end = JUDGE(SETTING, best.value_weights, best.key_query_weights, 100_000, 1.0)
    assert end.kind == "prediction"
    # rounding of a gradient of terms of size 1, in units of 1/sqrt(100,000)
    assert end.gradient < 1e-10
    assert end.error < 1e-12


def test_the_leaking_point_is_named_and_has_ended() -> None:
    point = leaking_point(*LAW)
    end = JUDGE(SETTING, point.value_weights, point.key_query_weights, 100_000, 1.0)
    assert end.kind == "leaking"
    assert end.gradient < 1e-10
    assert end.error > 0.5


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("d", [1, 2])
def test_the_polynomials_gradient_is_that_of_the_layer_at_gauss_nodes(d: int, n: int) -> None:
    setting = gaussian_setting(f"any start/test/{d}/{n}", 0, d, [n], noise=True)
    weights = random_weights(f"any start/test/{d}/{n}", 0, d, 0.5)
    exact = population_gradient(PromptDistribution.from_plain(setting), *weights)
    slope, at_zero = JUDGE.population_gradient(setting, weights)
    size = np.hypot(np.linalg.norm(exact.W_PV), np.linalg.norm(exact.W_KQ))
    # both are sums of some thousand products in float64
    assert slope == pytest.approx(size, rel=1e-10)
    assert at_zero == pytest.approx(np.trace(np.array(setting["covariance"]) @ setting["task_covariance"]) / 2)


def test_the_gradient_counts_in_units_of_its_sampling_error() -> None:
    weights = random_weights("units", 0, 2, 0.5)
    end = JUDGE(SETTING, *weights, 400, 9.0)
    slope, at_zero = JUDGE.population_gradient(SETTING, weights)
    assert end.gradient == pytest.approx(slope / (3 / 20))
    assert end.size == pytest.approx(slope * np.sqrt(sum(np.sum(W**2) for W in weights)) / at_zero)
    assert end.excess == max(end.gradient / np.sqrt(10), end.size / 0.2)
    assert end.kind == "not ended"


def test_few_prompts_cannot_hide_a_large_gradient() -> None:
    weights = random_weights("units", 0, 2, 0.5)
    end = JUDGE(SETTING, *weights, 1, 1e9)
    assert end.gradient < 0.01
    assert end.kind == "not ended"


def test_half_of_the_way_to_the_leaking_point_is_no_end() -> None:
    point = leaking_point(*LAW)
    end = JUDGE(SETTING, 0.7 * point.value_weights, 0.7 * point.key_query_weights, 100_000, 1.0)
    assert end.kind == "not ended"


def test_predict_gives_both_points() -> None:
    found = predict_any_start({"covariance": [[1.0, 0.0], [0.0, 1.0]], "context_length": 1})
    assert (found["loss"], found["leaking_loss"]) == (0.75, 0.875)
    np.testing.assert_allclose(np.linalg.eigvalsh(found["leaking_preconditioner"]), [0, 0.25], atol=1e-15)


def test_runs_draw_their_own_law_scale_and_start() -> None:
    runs = checks()[0].runs
    drawn = runs.configurations(Budget(replicas=100))
    assert len(drawn) == 200
    assert {len(one["distribution"]["covariance"]) for one in drawn} == {1, 2, 3}
    assert {one["distribution"]["context_lengths"][0] for one in drawn} == set(range(1, 9))
    assert all(0.1 < one["scale"] < 1 and one["start"] == "all-parameters" for one in drawn)
    assert len({one["scale"] for one in drawn}) == 200
    assert drawn == runs.configurations(Budget(replicas=100))
    assert drawn[0] != runs.configurations(Budget(replicas=100, seed=1))[0]


def test_runs_of_48_steps_have_not_ended() -> None:
    _, stationary = checks()
    verdict = stationary.judge(lambda tasks: [runs_of(task) for task in tasks], Budget(replicas=32, training_steps=12))
    assert verdict.outcome == "contradicts", verdict
    assert verdict.details["ends"]["not ended"] > 48


@pytest.mark.slow
def test_the_claim_is_contradicted_and_its_remainder_agrees_but_not_for_an_altered_loss() -> None:
    """128 replicas at the quick profile's steps; the same runs judged by the loss and by an altered one."""
    reaches, stationary = checks()
    budget = Budget(replicas=128)
    values = {task.key: runs_of(task) for task in stationary.tasks(budget)}

    def run(tasks: Any) -> Any:
        return [values[task.key] for task in tasks]

    verdict, ended = reaches.judge(run, budget), stationary.judge(run, budget)
    print(verdict, ended, sep="\n")
    assert verdict.outcome == "contradicts"
    assert ended.outcome != "contradicts"
    assert set(ended.details["ends"]) >= {"prediction", "leaking"}
    wrong = LossOnWeights(general_loss().loss * 1 + altered_linear_part())
    refused = checks(EndJudge(loss=lambda: wrong))[1].judge(run, budget)
    print(refused)
    assert refused.outcome == "contradicts"


def altered_linear_part() -> Any:
    """A twentieth of the terms of degree one in A."""
    from iclcheck.theory.algebra.trace_polynomials import degree, select, substitute
    from iclcheck.theory.one_layer.population_loss import effective_preconditioner, reduced_loss
    from iclcheck.theory.one_layer.prompt_law import PromptLaw

    linear = select(reduced_loss(PromptLaw()), lambda monomial: degree(monomial, "A") == 1)
    return substitute(linear, {"A": effective_preconditioner()}) / 20


def test_ends_are_counted_in_words() -> None:
    best, point = fixed_point(*LAW), leaking_point(*LAW)
    ends = [JUDGE(SETTING, one.value_weights, one.key_query_weights, 100, 1.0) for one in (best, best, point)]
    assert in_words(ends) == "2 prediction, 1 leaking"
