"""scan-text: its exact checks pass and refuse, and its counts read entropies as they say."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest

from iclcheck.proofs_check.certificates.examining import StepRefusedError, examine
from iclcheck.proofs_check.certificates.forms import forms_of
from iclcheck.proofs_check.claims.claim import Budget, budget_for
from iclcheck.proofs_check.claims.registry import all_claims
from iclcheck.proofs_check.records.measurement import Outcome, perform
from iclcheck.proofs_check.records.tasks import Task
from iclcheck.proofs_check.scan_and_snap import text
from iclcheck.theory.scan_on_text import text_attention

QUICK = budget_for("quick")


@cache
def values_of(measurement: str) -> Any:
    parameters = text.TEXT if measurement.endswith("early_attention") else text.SHORT
    found = perform(measurement, parameters, "cpu")
    assert isinstance(found, Outcome), found
    return found.values


def run(tasks: Sequence[Task]) -> list[Any]:
    return [values_of(task.measurement) for task in tasks]


def test_counts_predict_the_first_attention_of_the_real_layer_on_the_shipped_text() -> None:
    claim = all_claims()["scan-text"]
    for check in claim.checks[:2]:
        verdict = check.judge(run, QUICK)
        assert verdict.outcome == "agrees", verdict


def test_each_of_score_force_and_variance_is_needed() -> None:
    formula = text_attention.formula()
    for part in formula.parts:
        altered = next(
            other for one, other in formula.altered() if one.kind == "dropped term" and one.description.endswith(part)
        )
        verdict = text.scan_text_claim(lambda altered=altered: altered).checks[0].judge(run, QUICK)  # type: ignore[misc]
        assert verdict.outcome == "contradicts", (part, verdict)


def entropies(*rows: Sequence[float]) -> dict[str, Any]:
    return {"entropy": [[list(row) for row in rows]] * 6}


@pytest.mark.parametrize(
    "small, large, outcomes",
    [
        ([2.7, 2.4, 2.3], [2.7, 2.1, 2.0], ("agrees", "agrees", "agrees")),
        ([2.7, 2.7, 2.69], [2.7, 2.1, 2.0], ("contradicts", "contradicts", "agrees")),
        ([2.7, 2.4, 2.3], [2.7, 2.4, 2.29], ("agrees", "agrees", "contradicts")),
        ([2.7, 2.5, 2.3], [2.7, 2.1, 2.0], ("agrees", "contradicts", "agrees")),
        ([2.7, 2.4, 2.3], [2.7, float("nan"), float("nan")], ("contradicts", "contradicts", "contradicts")),
    ],
)
def test_counts_judge_fall_slowing_and_order(small: list[float], large: list[float], outcomes: tuple[str, ...]) -> None:
    for check, outcome in zip(text.TRAINED, outcomes, strict=True):
        verdict = check.judge(lambda tasks: [entropies(small, large) for _ in tasks], QUICK)
        assert verdict.outcome == outcome, verdict
        assert verdict.details["replicas"] == 18


def test_every_text_has_words_and_batches_of_its_own() -> None:
    tasks = text.training_tasks(QUICK)
    for name in ("texts", "keys"):
        given = [one for task in tasks for one in task.parameters[name]]
        assert len(set(given)) == len(given) == 18


def test_a_tiny_budget_is_inconclusive_and_trains_little() -> None:
    budget = Budget(replicas=1, training_steps=1)
    (task,) = text.training_tasks(budget)
    found = perform(task.measurement, task.parameters, "cpu")
    assert isinstance(found, Outcome), found
    assert np.shape(found.values["entropy"]) == (1, 2, 2)
    for check in text.TRAINED:
        assert check.judge(lambda tasks: [found.values], budget).outcome in ("inconclusive", "contradicts")


FORMS = forms_of(text_attention.derivation())


@pytest.mark.parametrize(
    "step, name, change",
    [
        ("shares", "right", 1),
        ("force", "right", 0),
        ("score", "right", 0),
        ("score", "right", 1),
        ("attention logits", "right", 1),
        ("entropy", "right", 0),
    ],
)
def test_a_term_of_another_size_is_not_certified(step: str, name: str, change: int) -> None:
    forms = {**FORMS, step: {**FORMS[step]}}
    terms = [list(term) for term in FORMS[step][name]["terms"]]
    terms[change][0] = "7/5"
    forms[step][name] = {**FORMS[step][name], "terms": terms}
    with pytest.raises(StepRefusedError):
        examine("scan-text", forms, "seed")


@pytest.mark.parametrize("step, name", [("remainder", "bound"), ("gain and loss", "loss"), ("presence", "threshold")])
def test_another_bound_loss_or_threshold_is_not_certified(step: str, name: str) -> None:
    forms = {**FORMS, step: {**FORMS[step]}}
    numerator = FORMS[step][name]["numerator"]
    terms = [list(term) for term in numerator["terms"]]
    terms[0][0] = "9/7"
    forms[step][name] = {**FORMS[step][name], "numerator": {**numerator, "terms": terms}}
    with pytest.raises(StepRefusedError):
        examine("scan-text", forms, "seed")
