"""The appendix: what it says with and without records, and that it says the same for the same records."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from iclcheck.proofs_check.appendix.document import Document, gather
from iclcheck.proofs_check.appendix.entry import ClaimEntry
from iclcheck.proofs_check.appendix.files import contents, write
from iclcheck.proofs_check.appendix.latex import display, outer_terms, to_latex
from iclcheck.proofs_check.appendix.latex_text import escape
from iclcheck.proofs_check.appendix.markdown import to_markdown
from iclcheck.proofs_check.certificates.certificate import to_bytes
from iclcheck.proofs_check.certificates.making import certify
from iclcheck.proofs_check.checking import check_claims
from iclcheck.proofs_check.claims.claim import Budget
from iclcheck.proofs_check.claims.registry import all_claims, find
from iclcheck.proofs_check.records.store import RecordStore

TINY = Budget(gap=0.3, gap_of_variants=0.3, prompts=20_000, replicas=2, training_steps=5)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> RecordStore:
    opened = RecordStore(tmp_path_factory.mktemp("appendix") / "records.sqlite")
    check_claims([find("fixed-point")], TINY, opened, workers=1)
    return opened


@pytest.fixture(scope="module")
def document(store: RecordStore) -> Document:
    return gather(list(all_claims().values()), TINY, store)


def entry_of(document: Document, identifier: str) -> ClaimEntry:
    return next(entry for entry in document.entries if entry.identifier == identifier)


def test_status_is_computed_from_steps_and_records(document: Document) -> None:
    measured, unmeasured = entry_of(document, "fixed-point"), entry_of(document, "uniform-covariates")
    assert measured.derivation_status == unmeasured.derivation_status == "derived"
    assert measured.evidence_status in ("inconclusive", "contradicts")  # two replicas of five steps show nothing
    assert unmeasured.evidence_status == "none"


def test_a_failed_step_takes_the_status_and_is_named(document: Document) -> None:
    entry = entry_of(document, "fixed-point")
    broken = replace(entry, failed_steps=("closed form",))
    assert broken.derivation_status == "stated"
    assert "**closed form.**" in to_markdown(Document("0", TINY, (broken,)))
    assert "(FAILED)" in to_markdown(Document("0", TINY, (broken,)))
    assert "closed form (FAILED)" in to_latex(Document("0", TINY, (broken,)))


def test_a_certificate_shows_in_every_format_with_what_it_leaves_to_trust(
    store: RecordStore, certificates: Path
) -> None:
    claim = "random-context-length"
    certificates.mkdir()
    content = certify(find(claim).derivation())
    (certificates / f"{claim}.json").write_bytes(to_bytes(content))
    shown = gather([find(claim)], TINY, store)
    assert entry_of(shown, claim).derivation_status == "certified (python-flint)"
    assert "| certified (python-flint) | none |" in to_markdown(shown)
    files = contents(shown)
    for name in ("appendix.md", "appendix.tex", "appendix.html"):
        text = files[name].decode()
        assert "eft to trust" in text
        assert "The mean over N is linear" in text
    sha256 = json.loads(to_bytes(content))["sha256"]
    assert sha256 in files["appendix.html"].decode()
    assert sha256 in files["records.json"].decode()


def test_the_same_records_give_the_same_bytes(store: RecordStore, tmp_path: Path) -> None:
    texts = []
    for name in ("first", "second"):
        paths = write(gather(list(all_claims().values()), TINY, store), tmp_path / name)
        texts.append([path.read_bytes() for path in paths])
    assert texts[0] == texts[1]


def test_every_claim_and_every_check_is_in_every_format(document: Document) -> None:
    for text in (to_markdown(document), to_latex(document)):
        for claim in all_claims().values():
            assert claim.identifier in text
        for check in find("fixed-point").checks:
            assert check.name in text


def test_latex_braces_and_environments_balance(document: Document) -> None:
    text = to_latex(document).replace(r"\{", "").replace(r"\}", "")
    assert text.count("{") == text.count("}")
    for environment in ("itemize", "enumerate", "multline*", "tabular", "center"):
        assert text.count(rf"\begin{{{environment}}}") == text.count(rf"\end{{{environment}}}")


@pytest.mark.parametrize("text", ["a_b ^2 50% {x} \\input{/etc/passwd} $ # & ~", "\\write18{rm}"])
def test_text_from_claims_cannot_become_a_latex_command(text: str) -> None:
    escaped = escape(text)
    for command in (r"\input", r"\write", " $", " %", " #", " &"):
        assert command not in escaped


def test_a_long_sum_is_broken_between_its_terms_only() -> None:
    formula = " + ".join(rf"\tfrac{{1}}{{2}} u^{{2}} \operatorname{{tr}}(\Lambda + {k})" for k in range(12))
    assert outer_terms(formula) == [("" if k == 0 else " + ") + part for k, part in enumerate(split(formula))]
    assert display(formula).startswith(r"\begin{multline*}")
    assert display("a + b") == r"\[ a + b \]"


def split(formula: str) -> list[str]:
    """The terms of the formula above, told apart by its own pattern."""
    first, *others = formula.split(r" + \tfrac")
    return [first, *(r"\tfrac" + other for other in others)]


def test_nothing_is_left_half_written(document: Document, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "appendix.md").write_text("before")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write(document, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["appendix.md"]
    assert (tmp_path / "appendix.md").read_text() == "before"
