"""What a paper can cite: entries that say what the references say, sentences that say what the records say."""

import hashlib
import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import iclcheck
from iclcheck.proofs_check.appendix.latex_text import escape
from iclcheck.proofs_check.bibliography import AUTHOR, BY_KEY, TITLE, WORKS, Work, latex_text, toolkit_bibtex
from iclcheck.proofs_check.checking import check_claims
from iclcheck.proofs_check.citation import cite_claim, digest
from iclcheck.proofs_check.claims.claim import Claim, budget_for
from iclcheck.proofs_check.claims.registry import all_claims
from iclcheck.proofs_check.command_line import main, reviewing
from iclcheck.proofs_check.records.store import ReadRecords, RecordStore, read_records_json

ROOT = Path(__file__).parents[2]
QUICK = budget_for("quick")
STORE = Path(".iclcheck/records.sqlite")
ToyClaim = Callable[..., Claim]


def test_the_references_list_the_works_of_the_bibliography_word_for_word() -> None:
    lines = (ROOT / "docs/references.md").read_text(encoding="utf-8").splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if re.match(r"\| [a-z]+\d{4}[a-z]+ \|", line)]
    assert [(key, text) for key, text, _ in rows] == [(work.key, work.to_text()) for work in WORKS]


def test_every_source_of_a_claim_has_an_entry() -> None:
    keys = {source.key for claim in all_claims().values() for source in claim.derivation().statement.sources}
    assert keys - BY_KEY.keys() <= {"ours"}
    assert len(keys & BY_KEY.keys()) >= 5


def test_the_toolkit_is_cited_as_its_metadata_say() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    card = dict(re.findall(r'^(?:  - )?(\w[\w-]*): "(.*)"$', (ROOT / "CITATION.cff").read_text(), flags=re.M))
    assert (card["title"], card["name"], card["version"]) == (TITLE, AUTHOR, iclcheck.__version__)
    assert (project["authors"], project["version"]) == ([{"name": AUTHOR}], iclcheck.__version__)
    entry = toolkit_bibtex("1.2", "abc")
    assert all(text in entry for text in (TITLE, AUTHOR, "Version 1.2, commit abc"))
    assert "commit" not in toolkit_bibtex("1.2", None)


def entries(text: str) -> dict[str, dict[str, str]]:
    """The entries of a .bib file by key: fields and values, outer braces off. Text outside entries is skipped."""
    found = {}
    for _, key, body in re.findall(r"^@(\w+)\{([^,]+),\n(.*?)^\}$", text, flags=re.M | re.S):
        fields = re.findall(r"^  (\w+) = \{(.*)\},$", body, flags=re.M)
        assert len(fields) == len(body.splitlines())
        assert all(balanced(value) for _, value in fields)
        found[key] = dict(fields)
    return found


def balanced(text: str) -> bool:
    depth = 0
    for sign in re.sub(r"\\[{}]", "", text):
        depth += (sign == "{") - (sign == "}")
        if depth < 0:
            return False
    return depth == 0


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.key)
def test_an_entry_holds_the_work(work: Work) -> None:
    fields = entries(work.to_bibtex())[work.key]
    assert fields["title"].startswith("{")
    assert len(fields["author"].split(" and ")) == len(work.authors)
    assert fields["year"] == str(work.year)
    assert str(work.year) in work.key
    assert work.authors[0].split()[-1].lower() in work.key
    assert fields.get("eprint") == work.arxiv
    assert work.to_bibtex().isascii()


def test_commands_in_a_title_are_made_literal() -> None:
    odd = Work("a2000b", "article", ("Å. Ößi & Co",), r"50% of \input{x} $_^#~", "J {", 2000)
    fields = entries(odd.to_bibtex())["a2000b"]
    assert fields["title"] == (r"{50\% of \textbackslash{}input\{x\} \$\_\textasciicircum{}\#\textasciitilde{}}")
    assert fields["journal"] == r"J \{"
    assert latex_text("João") == r"Jo{\~{a}}o"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RecordStore:
    monkeypatch.chdir(tmp_path)
    return RecordStore(STORE)


def test_the_sentence_says_what_the_records_say(
    lab: Path, toy_claim: ToyClaim, square_check: Any, store: RecordStore
) -> None:
    claim = toy_claim("toy", square_check(5.0), square_check(7.0, name="others"))
    start = "The claim toy (Random context lengths: E[1/N] in the place of 1/N), derived in steps of which"

    def cited(one: Claim) -> Any:
        return cite_claim(one, QUICK, store, "9.9")

    none = cited(claim)
    assert none.sentence.startswith(start)
    assert none.sentence.endswith("was not measured (iclcheck 9.9).")
    assert none.digest is None
    check_claims([toy_claim("toy", square_check(1.0, (1,)))], QUICK, store, workers=1)
    assert "1 of 2 measurements have no record" in cited(claim).sentence

    records = check_claims([claim], QUICK, store, workers=1).records
    full = cited(claim)
    for words in (
        "iclcheck 9.9 (profile quick, seed 0)",
        "1 of 2 checks agree with it (squares, gap 0.5 units) and 1 of 2 checks contradict it (others, gap 0.5 units)",
        "false alarm at a rate of at most 1e-06 and misses the gap stated with it at a rate of at most 1e-03",
        "refused 0 of 0 altered statements",
        "2 records",
        f"commit {str(records[0].environment['commit'])[:12]}",
        f"sha256 {digest(records)}",
    ):
        assert words in full.sentence
    assert full.keys == ("zhang2024trained",)
    lab.write_text(lab.read_text().replace("x * x", "x ** 2"))
    stale = cited(claim)
    assert "the code of 2 of its 2 recorded measurements has changed since" in stale.sentence
    assert stale.digest is None


def test_a_failing_derivation_is_not_cited_as_derived(toy_claim: ToyClaim, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = toy_claim("toy")
    monkeypatch.setattr(type(claim.derivation()), "failures", lambda self: ["closed form"])
    text = cite_claim(claim, QUICK, ReadRecords(), "9.9").sentence
    assert "whose derivation fails in 1 of" in text
    assert "derived in" not in text


def test_the_digest_can_be_computed_from_the_export_and_changes_with_any_record(
    toy_claim: ToyClaim, square_check: Any, store: RecordStore
) -> None:
    """A referee has records.json only: the sha256 of its sorted hashes, one on a line."""
    records = check_claims([toy_claim("toy", square_check(5.0))], QUICK, store, workers=1).records
    store.export_json("records.json")
    hashes = sorted(one["sha256"] for one in json.loads(Path("records.json").read_text())["records"])
    by_hand = hashlib.sha256("".join(f"{one}\n" for one in hashes).encode()).hexdigest()
    assert digest(records) == digest(records[::-1]) == digest(read_records_json("records.json")) == by_hand
    assert digest(records[:1]) != by_hand
    assert digest([replace(records[0], seconds=0.0), records[1]]) != by_hand


def test_the_output_is_a_bib_file_with_the_sentences_as_latex(
    toy_claim: ToyClaim,
    square_check: Any,
    store: RecordStore,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    claim = toy_claim("toy", square_check(5.0, name="50% of A_F"))
    check_claims([claim], QUICK, store, workers=1)
    known = {"toy": claim}
    monkeypatch.setattr(reviewing, "all_claims", lambda: known)
    monkeypatch.setattr(reviewing, "find", known.__getitem__)
    assert main(["cite", "--json"]) == 0
    plain = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert main(["cite"]) == 0
    text = capsys.readouterr().out
    assert set(entries(text)) == {"iclcheck", "zhang2024trained"}
    (one,) = plain["claims"]
    assert "50% of A_F" in one["sentence"]
    assert one["latex"] == escape(one["sentence"]) != one["sentence"]
    assert text.splitlines()[-1] == one["latex"]
    assert (one["evidence"], one["records"], len(one["sha256"])) == ("agrees", 2, 64)


@pytest.mark.slow
def test_without_records_every_claim_says_so_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["cite"]) == 0
    text = capsys.readouterr().out
    assert text.count("was not measured") == len(iclcheck.claims())
    assert len(entries(text)) == 14  # the toolkit, and the thirteen works that state the claims
    assert main(["cite", "uniform-covariates"]) == 0
    assert set(entries(capsys.readouterr().out)) == {"iclcheck", "vonoswald2023transformers"}
    assert list(tmp_path.iterdir()) == []
