"""The claims on exact risks: forged forms, bounds on draws, and checks that would see a wrong risk."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sympy as sp

from iclcheck.proofs_check.certificates.examining import StepRefusedError, examine
from iclcheck.proofs_check.certificates.forms import forms_of, plain_form
from iclcheck.proofs_check.claims.claim import Budget
from iclcheck.proofs_check.claims.registry import find
from iclcheck.proofs_check.mixtures import baseline_risks, ridge_risk
from iclcheck.theory.prompt_risks.ridge_risk import formula as of_ridge

CLAIMS = ("baseline-risks", "ridge-risk", "decoder-parameters", "audit-parameters")


@pytest.mark.parametrize("claim", CLAIMS)
def test_every_forged_form_is_refused(claim: str, every_forged_form_is_refused: Callable[..., None]) -> None:
    every_forged_form_is_refused(claim)


def test_forms_that_are_right_at_the_sizes_that_are_multiplied_out_alone_are_refused() -> None:
    N, d, D, lam = sp.symbols("N d D lam", positive=True)
    forms = {claim: forms_of(find(claim).derivation()) for claim in CLAIMS[:2]}
    share = (d - N) / d + (N - 1) * (N - 2) * (d - 2) * (d - 3)
    table = forms["ridge-risk"]["table without penalty"]["S01"]
    assert table == plain_form(sp.Integer(4) + 0 * D)
    for claim, step, name, form in (
        ("baseline-risks", "projection", "share", share),
        ("ridge-risk", "table without penalty", "S01", 4 + sp.prod([D - 2 * k - 1 for k in range(5)])),
        ("ridge-risk", "few eigenvalues", "1 of 2", sp.Symbol("L", positive=True) / 2 + lam**3),
    ):
        changed = {**forms[claim], step: {**forms[claim][step], name: plain_form(sp.expand(form))}}
        with pytest.raises(StepRefusedError):
            examine(claim, changed, "seed")


def test_the_bound_on_noisy_draws_is_above_what_is_drawn() -> None:
    """At 2,000 draws the mean square is below the bound: it is at least twice the value at these settings."""
    from iclcheck.numerics.mixtures.baseline_measurements import sampled_errors

    for case in baseline_risks.SAMPLED:
        if case.noise_variance:
            found = sampled_errors(**baseline_risks.sampled_task(case, 2000, Budget()).parameters)
            assert found["sum_of_squares"] / found["count"] < baseline_risks.second_moment(case)


def test_sampled_ridge_stays_below_its_largest_error() -> None:
    """The bound is proved; a draw beyond it would be refused by the comparison."""
    from iclcheck.numerics.mixtures.baseline_measurements import sampled_errors

    check = ridge_risk.sampled_ridge(of_ridge)
    rates = {"false_alarm": 1e-6, "miss": 1e-3}
    for case in ridge_risk.SAMPLED:
        found = sampled_errors(**ridge_risk.sampled_task(case, 500, Budget()).parameters)
        count, total, predicted = found["count"], found["sum"], check.predicted(case)
        assert check.compare(case, (count, total, found["sum_of_squares"]), predicted=predicted, **rates).holds
        with pytest.raises(ValueError, match="between 0 and"):
            check.compare(case, (count, total, 10 * total), predicted=predicted, **rates)
