"""Audits: what a printed statement that fails counts for, and what the tables say about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from iclcheck.proofs_check.appendix.document import gather
from iclcheck.proofs_check.appendix.errata import to_errata
from iclcheck.proofs_check.appendix.latex import to_latex
from iclcheck.proofs_check.appendix.markdown import literal, to_markdown
from iclcheck.proofs_check.checking import CheckRun, check_claims
from iclcheck.proofs_check.citation import citation
from iclcheck.proofs_check.claims.alterable import mutants_of
from iclcheck.proofs_check.claims.audit import Audit, counted, in_words, outcome_of_run
from iclcheck.proofs_check.claims.claim import Budget, Claim, ClaimVerdict
from iclcheck.proofs_check.claims.registry import all_claims, find, with_corrected
from iclcheck.proofs_check.command_line import main
from iclcheck.proofs_check.records.store import RecordStore
from iclcheck.proofs_check.status import status_report
from iclcheck.proofs_check.verdicts.verdict import Outcome

AUDITS = [claim for claim in all_claims().values() if claim.audit is not None]
EVERY_AUDIT = pytest.mark.parametrize("claim", AUDITS, ids=lambda claim: claim.identifier)
BUDGET = Budget(gap=0.3, gap_of_variants=0.3, prompts=8_000_000, replicas=1, training_steps=1)
PRINTED = Audit("1 + 4 = 6", "as it reads", lambda: {"sum": 5}, "right", "1 + 4 = 5", "that it is a number")
OUTCOMES: tuple[Outcome, ...] = ("agrees", "contradicts", "inconclusive")


def verdict(identifier: str, outcome: Outcome, audit: Audit | None = None) -> ClaimVerdict:
    return ClaimVerdict(identifier, outcome, (), audit=audit)


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_an_audit_alone_counts_as_what_its_checks_say(outcome: Outcome) -> None:
    assert outcome_of_run([verdict("audit-x", outcome, PRINTED)]) == outcome


@pytest.mark.parametrize("corrected", OUTCOMES)
def test_a_contradicted_audit_counts_as_its_corrected_claim(corrected: Outcome) -> None:
    run = [verdict("audit-x", "contradicts", PRINTED), verdict("right", corrected)]
    assert outcome_of_run(run) == corrected
    assert counted(run[0], {"right": corrected}) == corrected


@pytest.mark.parametrize("outcome", ["agrees", "inconclusive"])
def test_an_audit_that_is_not_contradicted_although_it_has_a_counterexample_decides_nothing(outcome: Outcome) -> None:
    assert outcome_of_run([verdict("audit-x", outcome, PRINTED), verdict("right", "agrees")]) == "inconclusive"


def test_no_other_claim_may_be_contradicted() -> None:
    run = [verdict("audit-x", "contradicts", PRINTED), verdict("right", "agrees"), verdict("other", "contradicts")]
    assert outcome_of_run(run) == "contradicts"
    assert outcome_of_run([verdict("one", "contradicts"), verdict("other", "agrees")]) == "contradicts"


def test_without_its_corrected_claim_a_contradicted_audit_decides_nothing() -> None:
    run = [verdict("audit-x", "contradicts", PRINTED), verdict("other", "agrees")]
    assert outcome_of_run(run) == "inconclusive"
    assert in_words(run[0], {"other": "agrees"}).endswith("corrected by right, not judged here")


def test_the_words_say_what_the_corrected_claim_does() -> None:
    audit = verdict("audit-x", "contradicts", PRINTED)
    expected = "audit: contradicted as printed; corrected by right, which "
    assert in_words(audit, {"right": "agrees"}) == f"{expected}agrees"
    assert in_words(audit, {"right": "contradicts"}) == f"{expected}is contradicted"
    assert in_words(verdict("right", "agrees"), {}) == ""


ToyClaims = Callable[[float], list[Claim]]


@pytest.fixture
def toys(toy_claim: Any, square_check: Any) -> ToyClaims:
    """An audit that is contradicted, and its corrected claim, which predicts the given number; 5 is right."""

    def made(corrected: float) -> list[Claim]:
        audit = replace(toy_claim("audit-x", square_check(6.0)), audit=PRINTED)
        return [audit, toy_claim("right", square_check(corrected))]

    return made


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with RecordStore(tmp_path / "records.sqlite") as opened:
        yield opened


def checked(claims: list[Claim], store: RecordStore) -> CheckRun:
    return check_claims(claims, BUDGET, store, workers=1)


def test_check_exits_by_the_verdict_alone_and_by_the_pair_together(toys: ToyClaims, store: RecordStore) -> None:
    audit, right = toys(5.0)
    _, wrong = toys(4.0)
    assert checked([audit], store).exit_status == 1
    assert checked([right], store).exit_status == 0
    assert checked([audit, right], store).exit_status == 0
    assert checked([audit, wrong], store).exit_status == 1


def test_check_writes_what_is_printed_and_what_it_counts_for(toys: ToyClaims, store: RecordStore) -> None:
    found = checked(toys(5.0), store).as_plain()
    audit, right = found["claims"]
    assert right["audit"] is None
    assert audit["outcome"] == "contradicts"
    assert audit["audit"]["counts_as"] == "agrees"
    assert audit["audit"]["printed"] == PRINTED.printed
    assert audit["audit"]["counterexample"] == {"sum": 5}


def test_status_counts_an_audit_as_check_does(toys: ToyClaims, store: RecordStore) -> None:
    claims = toys(5.0)
    checked(claims, store)
    report = status_report(claims, BUDGET, store)
    assert report.exit_status == 0
    assert report.audits()["audit-x"]["in_words"].endswith("corrected by right, which agrees")
    assert report.claims[0].level_text == "refutation derived"
    assert status_report(claims[:1], BUDGET, store).exit_status == 1


def test_the_appendix_and_the_errata_show_an_audit_with_its_correction(toys: ToyClaims, store: RecordStore) -> None:
    claims = toys(5.0)
    checked(claims, store)
    document = gather(claims, BUDGET, store)
    words = "audit: contradicted as printed; corrected by right, which agrees"
    for text in (to_markdown(document), to_latex(document), to_errata(document)):
        assert words in text
        assert "that it is a number" in text
    assert outcome_of_run(document.entries) == "agrees"
    assert "measured 5, printed 6 (units)" in to_errata(document)


def test_the_errata_of_unmeasured_claims_give_no_verdict(store: RecordStore) -> None:
    text = to_errata(gather([find("least-squares-hessian"), find("audit-acds-hessian")], BUDGET, store))
    assert text.count("| not measured |") == 1
    assert "contradicted as printed" not in text
    assert "Not measured." in text


def test_a_citation_says_that_the_statement_is_a_printed_one(toys: ToyClaims, store: RecordStore) -> None:
    claims = toys(5.0)
    checked(claims, store)
    (audit, right) = citation(claims, BUDGET, store).claims
    assert "The printed statement audited as audit-x" in audit.sentence
    assert "right in its place is right" in audit.sentence
    assert "printed" not in right.sentence


# The audits of the project


@EVERY_AUDIT
def test_an_audit_has_a_source_a_counterexample_and_a_corrected_claim(claim: Claim) -> None:
    assert claim.audit is not None
    assert claim.identifier.startswith("audit-")
    statement = claim.derivation().statement
    (source,) = statement.sources
    assert source.place
    assert claim.audit.counterexample()
    assert claim.audit.corrected in statement.uses
    corrected = find(claim.audit.corrected)
    assert corrected.audit is None
    assert len(mutants_of(corrected, 0).counted) >= 20


@EVERY_AUDIT
def test_an_audit_alters_nothing_and_says_so(claim: Claim) -> None:
    assert claim.audit is not None
    assert not claim.alterables
    assert "no formula of its own is altered" in claim.domain
    assert claim.audit.corrected in claim.domain


TRAINED = ("audit-mesa-one-step",)  # what corrects it counts trainings
SAMPLED = ("audit-zfb-failure", "audit-zfb-figure", "audit-mesa-one-step")  # or trained: half a minute and more
DEAR = ("audit-mesa-richardson",)  # half a minute, too


@pytest.mark.parametrize(
    "claim",
    [pytest.param(one, marks=pytest.mark.slow) if one.identifier in SAMPLED + DEAR else one for one in AUDITS],
    ids=lambda claim: claim.identifier,
)
def test_a_printed_statement_is_contradicted_and_its_correction_agrees(claim: Claim, tmp_path: Path) -> None:
    assert claim.audit is not None
    budget = replace(BUDGET, replicas=192, training_steps=768) if claim.identifier in TRAINED else BUDGET
    with RecordStore(tmp_path / "records.sqlite") as store:
        found = check_claims([claim, find(claim.audit.corrected)], budget, store, workers=1)
        assert [one.outcome for one in found.verdicts] == ["contradicts", "agrees"]
        assert found.exit_status == 0


def test_the_page_of_errata_has_a_section_for_every_audit_and_its_correction() -> None:
    page = (Path(__file__).parents[2] / "docs/errata.md").read_text(encoding="utf-8")
    for claim in AUDITS:
        assert claim.audit is not None
        assert f"## {claim.identifier} <a" in page
        assert literal(claim.audit.printed) in page
        assert literal(claim.audit.correction) in page


def test_only_audits_are_called_so() -> None:
    assert {name for name in all_claims() if name.startswith("audit-")} == {claim.identifier for claim in AUDITS}


def test_several_named_claims_bring_what_corrects_their_audits() -> None:
    audit, other = find("audit-acds-hessian"), find("fixed-point")
    assert [claim.identifier for claim in with_corrected([audit])] == ["audit-acds-hessian"]
    assert [claim.identifier for claim in with_corrected([audit, other])] == [
        "audit-acds-hessian",
        "fixed-point",
        "least-squares-hessian",
    ]


def test_the_command_line_exits_with_one_for_an_audit_alone_and_with_zero_among_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["check", "audit-acds-hessian", "--workers", "1"]) == 1
    assert "corrected by least-squares-hessian, not judged here" in " ".join(capsys.readouterr().out.split())
    assert main(["check", "audit-acds-hessian", "audit-zfb-hessian", "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert "attention-hessian-inertia" in said
    assert main(["controls", "audit-acds-hessian"]) == 0
    assert "see least-squares-hessian" in capsys.readouterr().out
    assert main(["show", "audit-acds-hessian"]) == 0
    said = capsys.readouterr().out
    assert all(
        word in said for word in ("Printed:", "Counterexample:", "Corrected by least-squares-hessian", "refutation")
    )
