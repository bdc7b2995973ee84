"""Altered formulas are refused by the same measurement, budget and rule that pass the right one.

The altered predictions are written here from the statement, not from the derivation; the checks do not know of them.
"""

import math
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from iclcheck.proofs_check.checking import check_claims
from iclcheck.proofs_check.claims import one_layer
from iclcheck.proofs_check.claims.claim import Budget, budget_for
from iclcheck.proofs_check.claims.registry import all_claims
from iclcheck.proofs_check.claims.stationarity import layer_weights
from iclcheck.proofs_check.records.store import RecordStore


def formula(
    setting: Any,
    *,
    one_over_n_in_gamma: Any = True,
    trace: Any = True,
    shift: Any = 0,
    trace_over_n: Any = True,
    factor: Any = 1.0,
) -> Any:
    """((1 + 1/N) Lambda + ((tr(Lambda Psi) + sigma^2)/N) Psi^-1)^-1 with parts left out, N + shift for N."""
    Lambda, Psi = np.array(setting["covariance"]), np.array(setting["task_covariance"])
    inverse_n = np.mean([1 / (n + shift) for n in setting["context_lengths"]])
    ridge = np.trace(Lambda @ Psi) * trace * (1 if not trace_over_n else inverse_n)
    ridge += setting["noise_variance"] * inverse_n
    if setting["covariates"] == "uniform":  # E z^4 - 3 = -6/5
        inverse = (1 + inverse_n * (1 - 1.2) * one_over_n_in_gamma) * Lambda + ridge * np.linalg.inv(Psi)
    else:
        inverse = (1 + inverse_n * one_over_n_in_gamma) * Lambda + ridge * np.linalg.inv(Psi)
    return factor * np.linalg.inv(inverse)


def at_mean_length(setting: Any) -> Any:
    """1/E[N] in the place of E[1/N]."""
    return formula({**setting, "context_lengths": [float(np.mean(setting["context_lengths"]))]})


ALTERATIONS = {
    "no 1/N before Lambda": lambda s: formula(s, one_over_n_in_gamma=False),
    "no 1/N before the trace": lambda s: formula(s, trace_over_n=False),
    "no trace": lambda s: formula(s, trace=False),
    "N + 1 for N": lambda s: formula(s, shift=1),
    "2 % too large": lambda s: formula(s, factor=1.02),
    "2 % too small": lambda s: formula(s, factor=0.98),
}

MAKERS = {
    "fixed-point": one_layer.fixed_point_claim,
    "preconditioned-gradient-step": one_layer.preconditioned_gradient_step_claim,
    "uniform-covariates": one_layer.uniform_covariates_claim,
    "random-context-length": one_layer.random_context_length_claim,
}


def relative_difference(altered: Any, predicted: Any, settings: Any) -> Any:
    """The largest relative difference of two predictors over settings."""
    pairs = [(altered(s), predicted(s)) for s in settings]
    return max(float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in pairs)


@pytest.fixture(scope="module")
def store(tmp_path_factory: Any) -> Any:
    """One store for the module, so that trainings are done once."""
    with RecordStore(tmp_path_factory.mktemp("records") / "records.sqlite") as opened:
        yield opened


def checks_by_kind(claim: Any, store: Any, budget: Any) -> Any:
    """Verdicts of a claim by the name of the check."""
    (found,) = check_claims([claim], budget, store, workers=2).verdicts
    return {verdict.check: verdict for verdict in found.verdicts}


SMALL = Budget(gap=0.04, gap_of_variants=0.04, replicas=132, training_steps=300)


@pytest.mark.parametrize("identifier", MAKERS)
def test_the_independent_formula_of_this_module_is_the_prediction(identifier: Any) -> None:
    # Both are solves of systems with condition numbers below 100: 1e-12 is 1e4 eps.
    check: Any = all_claims()[identifier].checks[0]
    for setting in check.settings(0):
        np.testing.assert_allclose(formula(setting), check.predicted(setting), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("alteration", ALTERATIONS)
@pytest.mark.parametrize("identifier", ["fixed-point", "uniform-covariates", "random-context-length"])
def test_the_enumerated_check_refuses_every_alteration(identifier: str, alteration: str, store: RecordStore) -> None:
    claim = MAKERS[identifier](ALTERATIONS[alteration])
    verdict = claim.checks[1].judge(runner(store), SMALL)
    assert verdict.outcome == "contradicts", verdict


@pytest.mark.parametrize("alteration", ["no 1/N before Lambda", "no 1/N before the trace", "no trace", "N + 1 for N"])
@pytest.mark.parametrize("identifier", MAKERS)
def test_the_sampled_check_refuses_what_it_says_that_it_would_catch(
    identifier: Any, alteration: Any, store: Any
) -> None:
    altered, right = MAKERS[identifier](ALTERATIONS[alteration]), MAKERS[identifier]()
    mine: Any = right.checks[0]
    verdict = altered.checks[0].judge(runner(store), SMALL)
    gap = right.checks[0].judge(runner(store), SMALL).detectable
    difference = relative_difference(ALTERATIONS[alteration], mine.predicted, mine.settings(0))
    assert verdict.outcome == "contradicts" or difference < gap, (verdict, difference, gap)
    if alteration != "no 1/N before Lambda":  # the uniform law has only -1/5 of it
        assert verdict.outcome == "contradicts", verdict


def test_the_gradient_along_the_leak_sees_a_leak(store: RecordStore) -> None:
    right: Any = MAKERS["fixed-point"]().checks[3]
    assert right.judge(runner(store), SMALL).outcome == "agrees"
    assert replace(right, leak=(1e-6, 0.0)).judge(runner(store), SMALL).outcome == "contradicts"


def test_a_step_without_the_transpose_is_another_function(store: RecordStore) -> None:
    right: Any = MAKERS["preconditioned-gradient-step"]().checks[2]
    assert right.judge(runner(store), SMALL).outcome == "agrees"
    assert replace(right, step=lambda A: A).judge(runner(store), SMALL).outcome == "contradicts"
    assert replace(right, step=lambda A: A.T * (1 + 1e-9)).judge(runner(store), SMALL).outcome == "contradicts"


@pytest.mark.slow
def test_settings_are_the_same_under_every_linear_algebra_kernel() -> None:
    """The keys of all tasks but those fed with trained weights; two kernels that round differently."""
    program = (
        "from iclcheck.proofs_check.claims.registry import all_claims\n"
        "from iclcheck.proofs_check.claims.claim import Budget\n"
        "for claim in all_claims().values():\n"
        "    for check in claim.checks:\n"
        "        for task in check.tasks(Budget(replicas=32)): print(task.key)\n"
    )
    keys = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "OPENBLAS_CORETYPE": kernel},
            capture_output=True, text=True, check=True,
        ).stdout
        for kernel in ("Prescott", "Haswell")
    ]  # fmt: skip
    assert keys[0] == keys[1]


def runner(store: Any) -> Any:
    """A `run` for `judge` that measures what the store lacks, in this process."""
    from iclcheck.proofs_check.records.tasks import run_tasks

    def run(tasks: Any) -> Any:
        found = run_tasks(tasks, store)
        return [found[task.key].values for task in tasks]

    return run


@pytest.mark.parametrize("alteration", ["no 1/N before the trace", "no trace", "N + 1 for N"])
def test_trained_weights_refuse_a_wrong_formula(alteration: Any, store: Any) -> None:
    right = MAKERS["fixed-point"]().checks[2].judge(runner(store), SMALL)
    wrong = MAKERS["fixed-point"](ALTERATIONS[alteration]).checks[2].judge(runner(store), SMALL)
    assert right.details["largest"] < wrong.details["largest"]
    assert wrong.outcome == "contradicts", wrong


def test_the_mean_length_in_place_of_the_mean_inverse_length_is_refused(store: Any) -> None:
    claim = one_layer.random_context_length_claim(at_mean_length)
    sampled, enumerated = (check.judge(runner(store), SMALL) for check in claim.checks[:2])
    assert sampled.outcome == enumerated.outcome == "contradicts", (sampled, enumerated)


def altered_loss(change: Any) -> Any:
    """The exact loss with one coefficient changed, and the gradients and paths that follow from it."""
    from iclcheck.theory.algebra.trace_polynomials import TracePolynomial
    from iclcheck.theory.one_layer.population_loss import LossOnWeights, noiseless_loss

    loss = noiseless_loss().loss
    terms = {m: v * change(k) for k, (m, v) in enumerate(sorted(loss.terms.items()))}
    return LossOnWeights(TracePolynomial(loss.rows, loss.cols, terms))


@pytest.mark.parametrize("term", range(31))
def test_every_coefficient_of_the_population_loss_is_seen_by_the_enumerated_check(term: Any, store: Any) -> None:
    altered = altered_loss(lambda k: 1 + 1e-6 * (k == term))
    claim = one_layer.population_loss_claim(lambda: altered)
    assert claim.checks[1].judge(runner(store), SMALL).outcome == "contradicts"


@pytest.mark.parametrize(
    "change", ["a loss without its 1/2", "a loss without its linear terms", "a loss without its even part"]
)
def test_the_path_of_descent_refuses(change: Any, store: Any) -> None:
    from iclcheck.theory.one_layer.population_loss import NOISELESS, LossOnWeights, even_loss, noiseless_loss

    # The terms that pull towards the target: -u tr(Lambda^2 U) and -u12^T Lambda^2 u21.
    linear = [k for k, (m, v) in enumerate(sorted(noiseless_loss().loss.terms.items())) if v == -1]
    assert len(linear) == 2
    altered = {
        "a loss without its 1/2": altered_loss(lambda k: 2),
        "a loss without its linear terms": altered_loss(lambda k: int(k not in linear)),
        "a loss without its even part": LossOnWeights(noiseless_loss().loss - even_loss(NOISELESS)),
    }[change]
    right, wrong = one_layer.population_loss_claim(), one_layer.population_loss_claim(lambda: altered)
    assert right.checks[2].judge(runner(store), SMALL).outcome == "agrees"
    assert wrong.checks[2].judge(runner(store), SMALL).outcome == "contradicts"


def test_a_sampled_check_that_could_miss_too_much_is_inconclusive(store: Any) -> None:
    few = Budget(gap=0.3, gap_of_variants=0.3)
    verdict = MAKERS["fixed-point"]().checks[0].judge(runner(store), few)
    assert verdict.outcome == "inconclusive"
    assert verdict.detectable > 0.05
    assert math.isfinite(verdict.allowed)


def test_too_few_replicas_are_inconclusive(store: Any) -> None:
    assert MAKERS["fixed-point"]().checks[2].judge(runner(store), Budget(replicas=16, training_steps=400)).outcome == (
        "inconclusive"
    )


QUICK = budget_for("quick")


@pytest.mark.slow
@pytest.mark.parametrize("alteration", ALTERATIONS)
@pytest.mark.parametrize("identifier", MAKERS)
def test_in_the_quick_profile_an_alteration_is_refused_or_below_the_stated_gap(
    identifier: Any, alteration: Any, store: Any
) -> None:
    """Sampled stationarity and trained weights, each on its own; the table of docs/verdicts.md comes from here."""
    for mine, wrong in sampled_and_trained(MAKERS[identifier], ALTERATIONS[alteration]):
        plain = replace(MAKERS[identifier](), alterables=(), further_mutants=())
        check_claims([replace(plain, checks=(check,)) for check in (mine, wrong)], QUICK, store, workers=2)
        stated = mine.judge(runner(store), QUICK)
        verdict = wrong.judge(runner(store), QUICK)
        settings = settings_of(mine, QUICK)
        difference = relative_difference(ALTERATIONS[alteration], predictor_of(mine), settings)
        print(
            f"{identifier} | {alteration} | {mine.name} | {verdict.outcome} | differs by {difference:.1%}, "
            f"would catch {stated.detectable:.1%}"
        )
        assert verdict.outcome != "agrees" or difference < stated.detectable, verdict


def sampled_and_trained(maker: Any, alteration: Any) -> list[tuple[Any, Any]]:
    """The two checks of a claim whose names say so, of the right and of the altered claim."""
    pairs = zip(maker().checks, maker(alteration).checks, strict=True)
    return [pair for pair in pairs if "sampled" in pair[0].name or "train" in pair[0].name]


def predictor_of(check: Any) -> Any:
    """The prediction that a check compares with."""
    return check.predicted if hasattr(check, "predicted") else check.trained.predicted


def settings_of(check: Any, budget: Any) -> Any:
    """The laws that a check is made at."""
    if hasattr(check, "settings"):
        return check.settings(budget.seed)
    convergence = getattr(check, "trained", check)
    return [one["distribution"] for one in convergence.configurations(budget)]


@pytest.mark.parametrize("leak", [("W_PV", -1, 0), ("W_KQ", -1, 0)])
def test_a_leak_turns_a_hit_into_a_miss_though_A_is_exact(leak: tuple[str, int, int]) -> None:
    """u12 alone, or u21 alone: A and |u12| |u21| stay as they are."""
    check: Any = MAKERS["fixed-point"]().checks[2]
    setting = next(s for s in settings_of(check, SMALL) if len(s["covariance"]) == 2)
    weights = {name: np.array(W) for name, W in layer_weights(check.predicted(setting)).items()}
    assert check.error(setting, weights["W_PV"], weights["W_KQ"]) < 1e-10  # 2e-11 each from rounding u and U
    name, row, column = leak
    weights[name][row, column] = 0.5
    assert check.error(setting, weights["W_PV"], weights["W_KQ"]) > SMALL.margin
