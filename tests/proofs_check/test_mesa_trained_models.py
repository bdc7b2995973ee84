"""The claims on trained autoregressive models: what their exact checks refuse, and what counts as a hit."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from iclcheck.proofs_check.certificates.examining import StepRefusedError, examine
from iclcheck.proofs_check.certificates.forms import forms_of
from iclcheck.proofs_check.claims.claim import Budget, budget_for
from iclcheck.proofs_check.claims.registry import all_claims
from iclcheck.proofs_check.mesa import compressed_depth, probing
from iclcheck.proofs_check.mesa.trained_models import CountedTrainings, sizes_of, tasks_of
from iclcheck.proofs_check.records.measurement import Outcome, perform
from iclcheck.proofs_check.records.tasks import Task
from iclcheck.theory.mesa import equivariance, linear_probes

CLAIMS = ("mesa-compressed-depth", "mesa-probing")
QUICK = budget_for("quick")


def measured(task: Task) -> Any:
    found = perform(task.measurement, task.parameters, "cpu")
    assert isinstance(found, Outcome), found
    return found.values


def counted(identifier: str) -> list[CountedTrainings]:
    return [check for check in all_claims()[identifier].checks if isinstance(check, CountedTrainings)]


def values(**changes: Any) -> dict[str, Any]:
    """What a training gives that hits in every check."""
    losses = {"trained": 1.0, "fitted": 1.01, "projected": 1.02, "shallower": 1.5, **changes.get("losses", {})}
    probes = {
        "next": {"relative": [[0.9, 0.9, 0.9], [0.6, 0.4, 0.3], [0.5, 0.2, 0.1]]},
        "preconditioned": {"relative": [[0.3, 0.4, 0.4], [0.1, 0.2, 0.6], [0.1, 0.2, 0.7]]},
        **changes.get("probes", {}),
    }
    return {
        "losses": {name: {"sum": 10 * value, "count": 10} for name, value in losses.items()},
        "distance": 0.01, "line": {"losses": [1.0, 1.01]}, "probes": probes,
        "antisymmetric": {"KQ": [[0.0], [0.0]], "PV": [[0.0], [0.0]]},
        "outside": {"KQ": np.zeros((2, 1, 3, 3)).tolist(), "PV": np.zeros((2, 1, 3, 3)).tolist()},
    }  # fmt: skip


def judged(check: CountedTrainings, one: dict[str, Any]) -> Any:
    return check.judge(lambda tasks: [one] * len(tasks), QUICK)


@pytest.mark.parametrize("identifier", CLAIMS)
def test_trainings_that_hit_agree_and_the_verdict_says_how_many(identifier: str) -> None:
    for check in counted(identifier):
        verdict = judged(check, values())
        assert verdict.outcome == "agrees", verdict
        assert verdict.details["lower"] >= 0.5


MISSES: list[tuple[str, str, dict[str, Any]]] = [
    ("mesa-compressed-depth", "loss of the compressed algorithm, trained", {"losses": {"fitted": 1.06}}),
    ("mesa-compressed-depth", "one layer less, trained", {"losses": {"shallower": 1.04}}),
    ("mesa-probing", "next state with depth, trained", {
        "probes": {"next": {"relative": [[0.9, 0.9, 0.9], [0.6, 0.4, 0.3], [0.5, 0.41, 0.1]]}}}),
    ("mesa-probing", "next state with t, trained", {
        "probes": {"next": {"relative": [[0.9, 0.9, 0.9], [0.6, 0.4, 0.3], [0.5, 0.2, 0.21]]}}}),
    ("mesa-probing", "preconditioned inputs before the last layer, trained", {
        "probes": {"preconditioned": {"relative": [[0.3, 0.4, 0.4], [0.1, 0.41, 0.1], [0.1, 0.2, 0.1]]}}}),
]  # fmt: skip


@pytest.mark.parametrize(("identifier", "name", "change"), MISSES, ids=[one[1] for one in MISSES])
def test_trainings_that_miss_contradict_their_check_alone(identifier: str, name: str, change: dict[str, Any]) -> None:
    outcomes = {check.name: judged(check, values(**change)).outcome for check in counted(identifier)}
    assert outcomes.pop(name) == "contradicts"
    assert set(outcomes.values()) == {"agrees"}


def test_trainings_that_diverge_miss_every_statement() -> None:
    for identifier in CLAIMS:
        for check in counted(identifier):
            verdict = judged(check, {"diverged": "the loss is not finite"})
            assert verdict.outcome == "contradicts"
            assert verdict.details["diverged"] == 20


def test_late_positions_of_preconditioned_inputs_do_not_count() -> None:
    """t = 9 is beyond 1.5 n = 6: the domain says so."""
    late = {"preconditioned": {"relative": [[0.3, 0.4, 0.4], [0.1, 0.2, 5.0], [0.1, 0.2, 5.0]]}}
    (check,) = [one for one in counted("mesa-probing") if one.name.startswith("preconditioned")]
    assert judged(check, values(probes=late)).outcome == "agrees"


def test_statements_on_deep_models_count_deep_models_alone() -> None:
    (check,) = [one for one in counted("mesa-probing") if one.name.startswith("preconditioned")]
    deep = sum(run["shape"]["layers"] > 1 for run in sizes_of(QUICK).runs)
    assert judged(check, values()).details["replicas"] == deep == 16


@pytest.mark.parametrize("profile", ["quick", "full"])
def test_both_claims_ask_for_the_same_trainings(profile: str) -> None:
    budget = budget_for(profile)
    keys = [{task.key for check in counted(one) for task in check.tasks(budget)} for one in CLAIMS]
    assert keys[0] == keys[1]
    assert len(keys[0]) == len(tasks_of(budget)) == {"quick": 20, "full": 30}[profile]


def test_another_seed_asks_for_other_trainings() -> None:
    keys = [{task.key for task in tasks_of(budget_for("quick", seed=seed))} for seed in (0, 1)]
    assert not keys[0] & keys[1]


def test_a_smaller_budget_trains_less() -> None:
    (run,) = sizes_of(Budget(replicas=1, training_steps=3)).runs
    assert run["steps"] == 3


@pytest.mark.parametrize(
    ("claim", "name", "alter"),
    [
        (compressed_depth.compressed_depth_claim, "a1", equivariance.formula),
        (probing.probing_claim, "first", linear_probes.formula),
    ],
)
def test_the_exact_check_agrees_and_refuses_another_coefficient(claim: Any, name: str, alter: Any) -> None:
    formula = alter()
    altered = replace(formula, parts={**formula.parts, name: formula.parts[name] * 2})
    outcomes = []
    for one in (claim(), claim(lambda: altered)):
        check = one.checks[0]
        outcomes.append(check.judge(lambda tasks: [measured(task) for task in tasks], QUICK).outcome)
    assert outcomes == ["agrees", "contradicts"]


Forms = dict[str, dict[str, Any]]


def scaled(form: dict[str, Any], factor: int, **power: int) -> dict[str, Any]:
    """Every coefficient times a number, every term times powers of symbols."""
    terms = []
    for coefficient, powers, *words in form["terms"]:
        merged = {name: powers.get(name, 0) + power.get(name, 0) for name in {*powers, *power}}
        terms.append([str(factor * int(coefficient)), merged, *words])
    return {**form, "terms": terms}


def all_times_d(forms: Forms) -> None:
    forms["mean of a layer"] = {name: scaled(one, 1, d=1) for name, one in forms["mean of a layer"].items()}


def all_doubled(step: str) -> Callable[[Forms], None]:
    def forge(forms: Forms) -> None:
        forms[step] = {name: scaled(one, 2) for name, one in forms[step].items()}

    return forge


def exchanged(step: str, first: str, second: str) -> Callable[[Forms], None]:
    def forge(forms: Forms) -> None:
        forms[step][first], forms[step][second] = forms[step][second], forms[step][first]

    return forge


FORGERIES: list[tuple[str, str, Callable[[Forms], None]]] = [
    ("mesa-compressed-depth", "mean of a layer", all_times_d),
    ("mesa-compressed-depth", "mean of a layer", all_doubled("mean of a layer")),
    ("mesa-compressed-depth", "mean of a layer", exchanged("mean of a layer", "a2", "a3")),
    ("mesa-compressed-depth", "mean of a block", all_doubled("mean of a block")),
    ("mesa-probing", "probe", all_doubled("probe")),
    ("mesa-probing", "probe", exchanged("probe", "first", "second")),
    ("mesa-probing", "error of the probe", all_doubled("error of the probe")),
]


@pytest.mark.parametrize(("claim", "step", "forge"), FORGERIES)
def test_forged_means_and_probes_are_refused_at_their_step(
    claim: str, step: str, forge: Callable[[Forms], None]
) -> None:
    forms = deepcopy(forms_of(all_claims()[claim].derivation()))
    forge(forms)
    with pytest.raises(StepRefusedError) as refusal:
        examine(claim, forms, "seed")
    assert refusal.value.step == step


@pytest.mark.slow
def test_two_real_trainings_hit_in_every_check() -> None:
    """One of two layers and one of one, at the quick profile's size: what the claims count."""
    budget = replace(QUICK, replicas=3)
    tasks = [tasks_of(budget)[k] for k in (0, 2)]
    found = [measured(task) for task in tasks]
    for identifier in CLAIMS:
        for check in counted(identifier):
            for task, one in zip(tasks, found, strict=True):
                error = check.error(task.parameters["run"], one, tuple(task.parameters["positions"]))
                assert error is None or error <= check.margin, (check.name, error)
