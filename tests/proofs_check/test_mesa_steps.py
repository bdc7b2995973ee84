"""The claims on gradient steps, preconditioning and delays: their controls, their bounds, and what they do not see."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

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
