"""The claims on gradient steps, preconditioning and delays: their controls, their bounds, and what they do not see."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from iclcheck.proofs_check.certificates.examining import StepRefusedError, examine
from iclcheck.proofs_check.certificates.forms import forms_of
from iclcheck.proofs_check.claims.alterable import mutants_of
from iclcheck.proofs_check.claims.claim import Budget
from iclcheck.proofs_check.claims.registry import find
from iclcheck.proofs_check.command_line import main
from iclcheck.proofs_check.mesa import gradient_step, partial_observation, preconditioning
from iclcheck.theory.mesa import iterations, printed_iteration

CLAIMS = ("mesa-gradient-step", "mesa-preconditioning", "mesa-partial-observation")


@pytest.mark.parametrize("claim", CLAIMS)
def test_at_least_twenty_altered_statements_count_and_at_most_a_third_are_equal(claim: str) -> None:
    mutants = mutants_of(find(claim), 0).mutants
    equal = sum(one.kind == "equal" for one in mutants)
    assert sum(one.kind == "counted" for one in mutants) >= 20
    assert equal <= len(mutants) / 3


@pytest.mark.slow
def test_each_claim_has_checks_that_agree_and_see_a_part_in_a_million(tmp_path: Any, capsys: Any) -> None:
    """Through the command line, controls included; the audit counts as its corrected claim does."""
    assert main(["check", *CLAIMS, "audit-mesa-richardson", "--record", str(tmp_path)]) == 0
    capsys.readouterr()


def test_the_bounds_of_the_models_checked_are_below_what_the_check_has_to_see() -> None:
    for iteration, _, _, steps, regulariser, energy in preconditioning.SETTINGS:
        low = 1 / regulariser
        assert iterations.residual_bound(iteration, steps, low, low + energy) < 1e-7


def test_tasks_follow_from_the_seed_alone() -> None:
    for claim in (gradient_step.step_claim(), preconditioning.preconditioning_claim(),
                  partial_observation.observation_claim()):  # fmt: skip
        for check in claim.checks:
            keys = [[task.key for task in check.tasks(Budget(seed=seed))] for seed in (0, 0)]
            assert keys[0] == keys[1]


def test_the_printed_iterate_is_a_power_of_two() -> None:
    assert printed_iteration.factor_at_counterexample() ** 3 == 1 / 8
    assert printed_iteration.counterexample()["printed limit"] == "2/3"


def test_a_row_of_equal_numbers_is_judged_by_the_one_nearest_to_its_bound() -> None:
    row = gradient_step.rows_of(np.array([1e-15, 3e-15]), np.array([1e-15, 1e-14]), np.array([1.0, 1.0]))
    assert row == (1e-15, 1e-15)


def test_weights_that_are_right_in_two_dimensions_only_are_refused() -> None:
    """Phi^2 - tr(Phi) Phi + det(Phi) I vanishes for d = 1 and 2 [Cayley and Hamilton], and nowhere above."""
    forms = forms_of(find("mesa-gradient-step").derivation())
    eta, Phi = {"eta": 1}, "Phi_0"
    forms["the weights"]["V_3"]["terms"] += [
        ["1", eta, [], [Phi, Phi]], ["-1", eta, [[Phi]], [Phi]],
        ["1/2", eta, [[Phi], [Phi]], []], ["-1/2", eta, [[Phi, Phi]], []],
    ]  # fmt: skip
    with pytest.raises(StepRefusedError, match="the weights"):
        examine("mesa-gradient-step", forms, "seed")


@pytest.mark.parametrize(("step", "name"), [("Chebyshev's steps", "R_2"), ("the best constant step", "rate")])
def test_a_residual_polynomial_off_by_a_factor_is_refused(step: str, name: str) -> None:
    forms = forms_of(find("mesa-preconditioning").derivation())
    for term in forms[step][name]["numerator"]["terms"]:
        term[0] = str(Fraction(term[0]) * Fraction(21, 20))
    with pytest.raises(StepRefusedError, match=step):
        examine("mesa-preconditioning", forms, "seed")
