"""Controls: altered statements are refused by checks that pass the original, and blunt checks are told apart."""

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from iclcheck.proofs_check.checking import RecordedRun
from iclcheck.proofs_check.claims.alterable import Mutant, mutants_of
from iclcheck.proofs_check.claims.claim import Budget, Check, Claim, judge
from iclcheck.proofs_check.claims.registry import all_claims
from iclcheck.proofs_check.command_line.controlling import lines
from iclcheck.proofs_check.controls import ControlScore, controls, refusals_by_check
from iclcheck.proofs_check.records.store import RecordStore
from iclcheck.theory.algebra.formulas import solution_of_system
from iclcheck.theory.symbols import LAMBDA

BUDGET = Budget(gap=0.3, gap_of_variants=0.3, prompts=20_000, replicas=1, training_steps=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: Any) -> Any:
    """A `run` on one store for the module."""
    with RecordStore(tmp_path_factory.mktemp("controls") / "records.sqlite") as store:
        yield RecordedRun(store)


def exact(claim: Claim) -> Claim:
    """The claim with its exact checks alone, and with the altered statements that have such checks.

    What they say is certain, and takes milliseconds. Altered statements for sampled checks alone have tests of their
    own (oracle-never-beaten: in test_mixture_models).
    """

    def exact_checks(one: Claim) -> tuple[Check, ...]:
        return tuple(check for check in one.checks if check.cost_of_alteration == "exact")

    further = tuple(mutant for mutant in claim.further_mutants if exact_checks(mutant.claim))
    return replace(claim, checks=exact_checks(claim), further_mutants=further)


def score_of(claim: Claim, run: Any) -> ControlScore:
    return controls(claim, judge(claim, run, BUDGET), run, BUDGET)


# Ten seconds and more; the others stay in the fast lane.
DEAR = {
    "mesa-preconditioning", "mesa-gradient-step", "relu-attention", "nonlinear-targets", "critical-points",
    "scan-equal-overlaps",
}  # fmt: skip


@pytest.mark.parametrize(
    "identifier",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in DEAR else name
        for name, claim in all_claims().items()
        if name != "fixed-point-any-start" and claim.audit is None
    ],
)
def test_every_claim_has_twenty_altered_statements_that_count_and_refuses_all_of_them(
    identifier: str, run: Any
) -> None:
    score = score_of(exact(all_claims()[identifier]), run)
    assert len(score.results) >= 20
    assert not score.survivors, "\n".join(lines(score))
    assert sum(one.kind == "equal" for one in score.others) <= len(score.results) / 3
    assert all(result.mutant.difference is not None for result in score.results)


def test_the_altered_statements_are_of_every_kind() -> None:
    kinds = {mutant.alteration for mutant in mutants_of(all_claims()["fixed-point"], 0).counted}
    assert kinds == {"coefficient", "dropped term", "symbol", "exponent", "trace", "transpose", "letter", "leak"}


def test_gross_rescalings_do_not_count_and_small_ones_do() -> None:
    mutants = mutants_of(all_claims()["fixed-point"], 0)
    of_right = {one.description: one.kind for one in mutants.mutants if one.description.endswith("Psi, right")}
    assert of_right["a coefficient doubled in the term Psi, right"] == "rescaling"
    assert of_right["a coefficient 5 % larger in the term Psi, right"] == "counted"


def without_teeth(claim: Claim) -> Claim:
    """Altered claims whose check sees the right prediction: what a check that absorbs the statement would do."""
    right = claim.checks[0]

    def blunt(mutant: Mutant) -> Mutant:
        return replace(mutant, claim=replace(mutant.claim, checks=(right,)))

    mutants = tuple(blunt(mutant) for mutant in mutants_of(claim, 0).mutants)
    return replace(claim, alterables=(), further_mutants=mutants)


def test_survivors_are_counted_and_shown_with_the_gap_that_they_hid_under(run: Any) -> None:
    score = score_of(without_teeth(exact(all_claims()["fixed-point"])), run)
    assert len(score.survivors) == len(score.results) > 20
    assert str(score).startswith("0 of ")
    text = "\n".join(lines(score))
    assert text.count("SURVIVED") == len(score.survivors)
    assert "stationarity, enumerated would catch" in text


def test_a_statement_without_a_value_in_some_setting_is_not_refused_by_that_check(run: Any) -> None:
    """A singular system at one of a check's settings says nothing there; the run goes on to the next statement."""
    claim = exact(all_claims()["fixed-point"])
    name = claim.checks[0].name

    def singular(setting: Any) -> Any:
        return solution_of_system({"left": LAMBDA - LAMBDA, "right": LAMBDA}, {"Lambda": np.eye(2)})

    def without_value(mutant: Mutant) -> Mutant:
        checks: list[Any] = [check for check in mutant.claim.checks if check.name == name]
        return replace(mutant, claim=replace(mutant.claim, checks=(replace(checks[0], predicted=singular),)))

    some = tuple(without_value(mutant) for mutant in mutants_of(claim, 0).counted[:3])
    score = score_of(replace(claim, alterables=(), further_mutants=some), run)
    assert [result.outcomes for result in score.results] == [{name: "inconclusive"}] * 3


def test_a_check_that_does_not_agree_with_the_original_refuses_nothing(run: Any) -> None:
    """Two percent too large: the check contradicts the original, so its word against altered ones is worth nothing."""
    claim = exact(all_claims()["fixed-point"])
    wrong: Any = claim.checks[0]
    off = replace(wrong, predicted=lambda setting: 1.02 * wrong.predicted(setting))
    score = score_of(replace(claim, checks=(off,), further_mutants=()), run)
    assert score.refused == 0
    assert not refusals_by_check(score.results)


def test_the_difference_is_that_of_the_map_at_the_settings_of_the_checks() -> None:
    (mutant,) = (
        one for one in mutants_of(all_claims()["fixed-point"], 0).mutants
        if one.description == "a coefficient 5 % larger in the term Psi, right"
    )  # fmt: skip
    assert mutant.difference == pytest.approx(0.05, abs=1e-12)  # a quotient of solves: some eps


def test_the_verb_prints_every_statement_and_its_json_is_strict(tmp_path: Any) -> None:
    command = [sys.executable, "-m", "iclcheck", "controls", "uniform-covariates", "--workers", "1"]
    program = (
        "import sys; from dataclasses import replace\n"
        "from iclcheck.proofs_check.command_line import checking\n"
        "from iclcheck.proofs_check.claims.claim import Budget\n"
        "tiny = Budget(gap=3.0, gap_of_variants=3.0, prompts=500, replicas=1, training_steps=1)\n"
        "checking.budget_for = lambda *options: tiny\n"
        "from iclcheck.proofs_check.command_line import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *command[3:], "--record", str(tmp_path / "records"), "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout, parse_constant=lambda word: pytest.fail(word))["claims"]["uniform-covariates"]
    assert found["counted"] == found["refused"] == len(found["statements"]) >= 20
    assert found["survived"] == []
